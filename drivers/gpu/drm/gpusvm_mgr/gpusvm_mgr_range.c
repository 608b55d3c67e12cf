// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Range: the tree of a manager's ranges and their shadow sequences. Needs
 * neither HMM nor a device, so that it can be tested on UML.
 */

#include <linux/export.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <linux/xarray.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_range.h"

/**
 * DOC: Shadow sequences
 *
 * There is one registered notifier per process, over all of its address
 * space. Its sequence number changes whenever anything in the process is
 * unmapped, so a fault that compared against it would have to look again for
 * no reason. So each range carries a &struct mmu_interval_notifier of its own
 * that is never registered, its *shadow*. The start pass of an invalidation
 * copies the sequence into the shadows of the ranges that it overlaps, and
 * into no other; mmu_interval_read_begin(), mmu_interval_check_retry() and
 * hmm_range_fault() are given the shadow and work on it unchanged.
 *
 * A new range must not miss an invalidation that runs while it is inserted::
 *
 *	invalidation, sequence 5          insertion
 *	------------------------          ---------
 *	notifier.seq = 5                  shadow.seq = 0, ready = 0
 *	full barrier                      store in the tree
 *	look up ranges                    full barrier
 *	  for each: shadow.seq = 5        cmpxchg(shadow.seq, 0, notifier.seq)
 *	  full barrier                    ready = 1, with release
 *	  read the present mask
 *
 * Either the lookup finds the range, or the insertion reads 5. Where both
 * happen, cmpxchg() keeps what the start pass wrote, also where the insertion
 * read an older sequence before. And as nobody uses a range before it is
 * ready, nobody starts to read with a sequence from before the store: then
 * mmu_interval_read_begin() would not wait for the invalidation that found
 * nothing, and the copy that follows would make its end look like no change.
 */

DEFINE_SRCU(gpusvm_mgr_srcu);

#if IS_ENABLED(CONFIG_DRM_GPUSVM_MGR_BREAK)
unsigned long gpusvm_mgr_broken_steps;
atomic_t gpusvm_mgr_locked_waits;
void (*gpusvm_mgr_window_hook)(enum gpusvm_mgr_window window, void *object);
#endif

/* The last address is no user address; an entry there keeps the tree from ever
 * being empty.
 */
#define GPUSVM_MGR_SENTINEL	xa_mk_value(0)

/**
 * gpusvm_mgr_tree_init() - Initialize a tree
 * @tree: The tree.
 * @seq: Where the sequence of the registered notifier stands.
 *
 * A sentinel at ULONG_MAX stays for good: a lockless walk over a maple tree
 * must not see its last entry go.
 *
 * Ranges come into gaps and go whole, and nothing is ever stored over a part of one: so
 * the maple tree moves no bound in a node that readers may have, but makes new nodes,
 * and a walk sees the ranges as they were at one moment or at the next. That no event
 * misses a range depends on it.
 *
 * Return: 0, or -ENOMEM.
 */
int gpusvm_mgr_tree_init(struct gpusvm_mgr_tree *tree, const unsigned long *seq)
{
	mt_init_flags(&tree->mt, MT_FLAGS_USE_RCU);
	tree->seq = seq;
	return mtree_insert(&tree->mt, ULONG_MAX, GPUSVM_MGR_SENTINEL, GFP_KERNEL);
}

/**
 * gpusvm_mgr_tree_fini() - Release what a tree holds
 * @tree: The tree, without ranges.
 */
void gpusvm_mgr_tree_fini(struct gpusvm_mgr_tree *tree)
{
	unsigned long index = 0;

	WARN_ON(gpusvm_mgr_tree_next(tree, &index, ULONG_MAX));
	mtree_destroy(&tree->mt);
}

/**
 * gpusvm_mgr_tree_insert() - Insert a range and make it usable
 * @tree: The tree.
 * @range: A new range. The tree takes a reference of its own.
 *
 * The caller holds the mmap lock for read, so that the VMA from which the
 * range was cut is still there. May sleep. See DOC: Shadow sequences.
 *
 * Return: 0; -EEXIST where another range overlaps, look for that one; or
 * -ENOMEM.
 */
int gpusvm_mgr_tree_insert(struct gpusvm_mgr_tree *tree,
			   struct drm_gpusvm_mgr_range *range)
{
	unsigned long *shadow = &range->shadow.invalidate_seq;
	unsigned long seq = 0;
	int err;

	if (WARN_ON_ONCE(range->end - 1 >= ULONG_MAX - 1))
		return -EINVAL;

	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_STORE_FIRST))
		seq = READ_ONCE(*tree->seq);
	/* The early-visible range: with a sequence, but an old one. */
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_READY))
		WRITE_ONCE(*shadow, READ_ONCE(*tree->seq));
	gpusvm_mgr_window(GPUSVM_MGR_WINDOW_INSERT_COPY, range);
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_READY))
		store_release_wake_up(&range->ready, 1);

	kref_get(&range->ref);
	err = mtree_insert_range(&tree->mt, range->start, range->end - 1, range,
				 GFP_KERNEL);
	if (err) {
		/* Never the last one, the caller has its own. */
		refcount_dec(&range->ref.refcount);
		return err;
	}

	/* Pairs with the barrier in the start pass, before its lookup. */
	smp_mb();
	if (!seq)
		seq = READ_ONCE(*tree->seq);
	gpusvm_mgr_window(GPUSVM_MGR_WINDOW_INSERT_STORED, range);

	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_CMPXCHG) ||
	    gpusvm_mgr_broken(GPUSVM_MGR_STEP_READY))
		WRITE_ONCE(*shadow, seq);
	else
		cmpxchg(shadow, 0, seq);

	/* Pairs with the acquire in gpusvm_mgr_tree_find(). */
	store_release_wake_up(&range->ready, 1);
	return 0;
}

/**
 * gpusvm_mgr_tree_erase() - Take a range out of the tree
 * @tree: The tree.
 * @range: A dead range of which nothing is mapped any more. The caller is its
 *	one remover; the reference of the tree is passed on to it.
 *
 * Removes this object, never another one at its address. May sleep, cannot
 * fail.
 */
void gpusvm_mgr_tree_erase(struct gpusvm_mgr_tree *tree,
			   struct drm_gpusvm_mgr_range *range)
{
	MA_STATE(mas, &tree->mt, range->start, range->start);

	mas_lock(&mas);
	/*
	 * mas_erase() may drop the lock to allocate. Nothing else can take the
	 * place meanwhile: an insertion does not overwrite, and there is no
	 * other remover.
	 */
	if (!WARN_ON_ONCE(mas_walk(&mas) != range))
		mas_erase(&mas);
	mas_unlock(&mas);
}

/**
 * gpusvm_mgr_tree_find() - Find the range at an address
 * @tree: The tree.
 * @addr: The address.
 *
 * Waits until a range that is just being inserted may be used. May sleep.
 *
 * Return: the range, with a reference, possibly dead; or NULL.
 */
struct drm_gpusvm_mgr_range *
gpusvm_mgr_tree_find(struct gpusvm_mgr_tree *tree, unsigned long addr)
{
	struct drm_gpusvm_mgr_range *range;
	int idx;

	if (addr == ULONG_MAX)
		return NULL;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	range = mtree_load(&tree->mt, addr);
	if (range && !kref_get_unless_zero(&range->ref))
		range = NULL;
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

	/* Ends: the inserter has nothing left that could block it. */
	if (range) {
		/* Pairs with the release in gpusvm_mgr_tree_insert(). */
		wait_var_event(&range->ready, smp_load_acquire(&range->ready));
	}
	return range;
}

/**
 * gpusvm_mgr_tree_next() - Step through the ranges of an interval
 * @tree: The tree.
 * @index: In: where to look from; out: behind the range that was found.
 * @last: Last address of the interval, inclusive.
 *
 * The caller holds the SRCU read lock for as long as it uses the range; it may
 * sleep between two steps, each of which begins a walk of its own.
 *
 * Return: the next range that overlaps, possibly not ready or dead; or NULL.
 */
struct drm_gpusvm_mgr_range *
gpusvm_mgr_tree_next(struct gpusvm_mgr_tree *tree, unsigned long *index,
		     unsigned long last)
{
	/* Never step onto the sentinel. */
	return mt_find(&tree->mt, index, min(last, ULONG_MAX - 1));
}

/**
 * gpusvm_mgr_tree_gap() - The free interval around an address
 * @tree: The tree.
 * @addr: An address.
 * @start: Out: its first address.
 * @end: Out: its end address, exclusive; equal to @start where @addr is taken.
 *
 * A hint: it may be taken when the call returns. The bounds are those of one moment all
 * the same, see gpusvm_mgr_tree_init().
 */
void gpusvm_mgr_tree_gap(struct gpusvm_mgr_tree *tree, unsigned long addr,
			 unsigned long *start, unsigned long *end)
{
	MA_STATE(mas, &tree->mt, addr, addr);

	rcu_read_lock();
	if (mas_walk(&mas)) {
		*start = addr;
		*end = addr;
	} else {
		*start = mas.index;
		*end = mas.last + 1;
	}
	rcu_read_unlock();
}

/**
 * gpusvm_mgr_range_alloc() - Allocate a range
 * @start: First address, aligned to PAGE_SIZE.
 * @end: End address, exclusive, aligned to PAGE_SIZE.
 * @mm: The process's mm, outlives the range.
 *
 * May sleep.
 *
 * Return: the range with one reference, NULL where there is no memory.
 */
struct drm_gpusvm_mgr_range *
gpusvm_mgr_range_alloc(unsigned long start, unsigned long end,
		       struct mm_struct *mm)
{
	struct drm_gpusvm_mgr_range *range;

	range = kzalloc_obj(*range);
	if (!range)
		return NULL;

	range->start = start;
	range->end = end;
	range->shadow.mm = mm;
	kref_init(&range->ref);
	mutex_init(&range->fault_mutex);
	spin_lock_init(&range->lock);
	INIT_HLIST_HEAD(&range->mappings);
	return range;
}

/**
 * gpusvm_mgr_range_free() - Free a range
 * @range: The range; nobody can reach it any more.
 *
 * A present bit may be left, of a commit that failed.
 */
void gpusvm_mgr_range_free(struct drm_gpusvm_mgr_range *range)
{
	WARN_ON_ONCE(!hlist_empty(&range->mappings));
	mutex_destroy(&range->fault_mutex);
	kfree(range->home);
	kfree(range);
}
