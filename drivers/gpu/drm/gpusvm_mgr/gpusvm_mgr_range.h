/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_RANGE_H__
#define __GPUSVM_MGR_RANGE_H__

#include <linux/kref.h>
#include <linux/llist.h>
#include <linux/maple_tree.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>

struct drm_gpusvm_mgr;
struct drm_gpusvm_snapshot;
struct gpusvm_mgr_home;

/* What a range, a mapping or a slot is freed behind. See DOC: Locking. */
extern struct srcu_struct gpusvm_mgr_srcu;

/**
 * struct drm_gpusvm_mgr_range - An interval of the process, shared by devices
 *
 * Ranges never overlap. A range that was unmapped is dead: it is removed and
 * never used again, what survives of its span becomes new ranges.
 */
struct drm_gpusvm_mgr_range {
	/** @mgr: The manager. Immutable */
	struct drm_gpusvm_mgr *mgr;
	/** @start: First address. Immutable */
	unsigned long start;
	/** @end: End address, exclusive. Immutable */
	unsigned long end;
	/**
	 * @shadow: Never registered, only @shadow.mm and
	 * @shadow.invalidate_seq are used: the sequence of the last
	 * invalidation that overlapped this range, for the helpers of
	 * mmu_notifier.c and hmm.c. 0: not yet set.
	 */
	struct mmu_interval_notifier shadow;
	/**
	 * @ready: The shadow's sequence is set, the range may be used. Goes
	 * from 0 to 1 once, with release
	 */
	u8 ready;
	/** @flags: Bits GPUSVM_MGR_RANGE_*, atomic */
	unsigned long flags;
#define GPUSVM_MGR_RANGE_DEAD	0
/* To be brought to system memory by the next walk. Under @fault_mutex */
#define GPUSVM_MGR_RANGE_GATHER	1
	/**
	 * @present: A bit per slot: a PTE, a TLB entry or a DMA mapping of
	 * that instance may exist. Atomic. Set with the instance lock held for
	 * read, cleared with it held for write.
	 */
	unsigned long present;
	/** @ref: The tree holds one while the range is in it */
	struct kref ref;
	/**
	 * @fault_mutex: One filler at a time; also held where something is
	 * zapped that must stay so
	 */
	struct mutex fault_mutex;
	/** @snapshot: The published one or NULL. Protected by @fault_mutex */
	struct drm_gpusvm_snapshot *snapshot;
	/**
	 * @home: Where the data lives, NULL: nobody has asked for it to be
	 * moved. Protected by @fault_mutex
	 */
	struct gpusvm_mgr_home *home;
	/**
	 * @exclusive: Slot, plus one, of the instance that has the data for itself,
	 * for atomic operations; 0: none. Protected by @fault_mutex
	 */
	unsigned int exclusive;
	/** @lock: Protects the links of @mappings, a leaf */
	spinlock_t lock;
	/**
	 * @mappings: List of &drm_gpusvm_mapping, one per instance at most.
	 * Read under SRCU, changed with @lock held
	 */
	struct hlist_head mappings;
	/** @gc_node: On the manager's list of dead ranges */
	struct llist_node gc_node;
	/** @rcu: For the freeing */
	struct rcu_head rcu;
};

/**
 * struct gpusvm_mgr_tree - The ranges of a manager
 * @mt: From address to range; has its own lock; never empty, see
 *	gpusvm_mgr_tree_init().
 * @seq: The sequence that a new range copies: that of the registered notifier.
 */
struct gpusvm_mgr_tree {
	struct maple_tree mt;
	const unsigned long *seq;
};

int gpusvm_mgr_tree_init(struct gpusvm_mgr_tree *tree, const unsigned long *seq);
void gpusvm_mgr_tree_fini(struct gpusvm_mgr_tree *tree);
int gpusvm_mgr_tree_insert(struct gpusvm_mgr_tree *tree,
			   struct drm_gpusvm_mgr_range *range);
void gpusvm_mgr_tree_erase(struct gpusvm_mgr_tree *tree,
			   struct drm_gpusvm_mgr_range *range);
struct drm_gpusvm_mgr_range *
gpusvm_mgr_tree_find(struct gpusvm_mgr_tree *tree, unsigned long addr);
struct drm_gpusvm_mgr_range *
gpusvm_mgr_tree_next(struct gpusvm_mgr_tree *tree, unsigned long *index,
		     unsigned long last);
void gpusvm_mgr_tree_gap(struct gpusvm_mgr_tree *tree, unsigned long addr,
			 unsigned long *start, unsigned long *end);

struct drm_gpusvm_mgr_range *
gpusvm_mgr_range_alloc(unsigned long start, unsigned long end,
		       struct mm_struct *mm);
void gpusvm_mgr_range_free(struct drm_gpusvm_mgr_range *range);

/**
 * gpusvm_mgr_range_is_dead() - Is the range on its way out?
 * @range: The range.
 *
 * Return: true once it is; it never comes back.
 */
static inline bool gpusvm_mgr_range_is_dead(const struct drm_gpusvm_mgr_range *range)
{
	return test_bit(GPUSVM_MGR_RANGE_DEAD, &range->flags);
}

/**
 * gpusvm_mgr_range_present() - The instances that may have a mapping
 * @range: The range.
 *
 * Pairs with the release that clears a bit: who sees a bit cleared sees the
 * DMA mapping gone.
 *
 * Return: one bit per slot.
 */
static inline unsigned long
gpusvm_mgr_range_present(const struct drm_gpusvm_mgr_range *range)
{
	/* Pairs with smp_mb__before_atomic() in gpusvm_mgr_mapping_unmap(). */
	return smp_load_acquire(&range->present);
}

/* gpusvm_mgr_geometry.c */

/**
 * struct gpusvm_mgr_chunks - Chunk sizes to choose from
 * @sizes: Bytes, powers of two, descending; the last one is PAGE_SIZE.
 * @count: Number of sizes.
 */
struct gpusvm_mgr_chunks {
	const unsigned long *sizes;
	unsigned int count;
};

extern const struct gpusvm_mgr_chunks gpusvm_mgr_default_chunks;

int gpusvm_mgr_chunk_choose(const struct gpusvm_mgr_chunks *chunks,
			    unsigned long addr, unsigned long lower,
			    unsigned long upper, unsigned long limit,
			    unsigned long *start, unsigned long *end);
unsigned long gpusvm_mgr_chunk_smaller(const struct gpusvm_mgr_chunks *chunks,
				       unsigned long size);
unsigned int gpusvm_mgr_run_order(unsigned long pfn, unsigned int map_order,
				  unsigned long max);

#endif /* __GPUSVM_MGR_RANGE_H__ */
