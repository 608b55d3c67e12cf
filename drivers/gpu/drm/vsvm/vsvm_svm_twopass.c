// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The other back end for comparison: a VM with ranges and notifiers of its own,
 * as on drm_gpusvm, but invalidated in two passes, which is where upstream is
 * heading. So it can be told which gains come from the two passes alone, and
 * which from the manager. drm_gpusvm's own notifiers know one pass only, so that
 * these are made here; of drm_gpusvm the pages are used.
 *
 * The start pass zaps and starts the flush, the finish pass waits for it and
 * takes the DMA mappings away. No lock is held in between. What the finish pass
 * has to unmap it finds by looking again, so that nothing need be allocated to
 * remember it: a range that was zapped cannot be mapped before the invalidation
 * ends, as drm_gpusvm_get_pages() waits for that.
 *
 *	invalidation A			invalidation B of the same range
 *	--------------			--------------------------------
 *	start: zapped, flush 5
 *					start: zapped already, waits for 5 too
 *					finish: flush 5 is done, unmapped
 *	finish: nothing left to do
 *
 * Had B returned at once because there was nothing to zap, its caller would have
 * freed the page while a TLB still had it.
 */

#include <linux/hmm.h>
#include <linux/hugetlb_inline.h>
#include <linux/interval_tree.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "vsvm_drv.h"
#include "vsvm_svm_device.h"

/**
 * struct vsvm_tp_finish - What the start pass leaves for the finish pass
 * @base: For the MMU notifiers.
 * @generation: The flush to wait for.
 * @start: First address of the invalidation.
 * @last: Last address, inclusive.
 */
struct vsvm_tp_finish {
	struct mmu_interval_notifier_finish base;
	u64 generation;
	unsigned long start;
	unsigned long last;
};

/**
 * struct vsvm_tp_notifier - A notifier and its ranges
 * @base: For the MMU notifiers.
 * @svm: Whose. Immutable
 * @index: Number of the piece of the address space. Immutable
 * @ranges: &struct vsvm_tp_range. Changed with &vsvm_dev_svm.lock held and the
 *	notifier_lock held for read; read with the former, or the latter for write
 * @finish: For an invalidation that finds it free; a second one at the same time
 *	allocates.
 * @finish_used: It is not free. Protected by the notifier_lock, for write
 */
struct vsvm_tp_notifier {
	struct mmu_interval_notifier base;
	struct vsvm_dev_svm *svm;
	unsigned long index;
	struct rb_root_cached ranges;
	struct vsvm_tp_finish finish;
	bool finish_used;
};

/**
 * struct vsvm_tp_range - A range
 * @node: In its notifier.
 * @dev: What is common to the back ends without the manager.
 */
struct vsvm_tp_range {
	struct interval_tree_node node;
	struct vsvm_dev_range dev;
};

/**
 * struct vsvm_tp_svm - A VM's share of a process's address space
 * @dev: What is common.
 * @notifiers: &struct vsvm_tp_notifier by index. Protected by &vsvm_dev_svm.lock
 */
struct vsvm_tp_svm {
	struct vsvm_dev_svm dev;
	struct xarray notifiers;
};

static struct vsvm_tp_svm *to_tp_svm(struct vsvm_dev_svm *svm)
{
	return container_of(svm, struct vsvm_tp_svm, dev);
}

static struct vsvm_tp_range *to_tp_range(struct vsvm_dev_range *range)
{
	return container_of(range, struct vsvm_tp_range, dev);
}

static struct vsvm_tp_notifier *to_tp_notifier(struct mmu_interval_notifier *base)
{
	return container_of(base, struct vsvm_tp_notifier, base);
}

/* The first range that overlaps, and the next ones. @last is inclusive. */
#define vsvm_tp_for_each_range(range__, notifier__, start__, last__)		\
	for (struct interval_tree_node *node__ =				\
	     interval_tree_iter_first(&(notifier__)->ranges, start__, last__);	\
	     node__ && ((range__) = container_of(node__, struct vsvm_tp_range, node)); \
	     node__ = interval_tree_iter_next(node__, start__, last__))

static void vsvm_tp_unmap(struct vsvm_tp_notifier *notifier, unsigned long start,
			  unsigned long last)
{
	struct vsvm_tp_range *range;

	lockdep_assert_held_write(&notifier->svm->svm.notifier_lock);

	vsvm_tp_for_each_range(range, notifier, start, last)
		if (range->dev.zapped)
			vsvm_dev_range_unmap(&range->dev);
}

static struct vsvm_tp_finish *vsvm_tp_finish_get(struct vsvm_tp_notifier *notifier)
{
	lockdep_assert_held_write(&notifier->svm->svm.notifier_lock);

	if (!notifier->finish_used) {
		notifier->finish_used = true;
		return &notifier->finish;
	}
	return kmalloc_obj(struct vsvm_tp_finish, GFP_NOWAIT | __GFP_NOWARN);
}

static void vsvm_tp_finish_put(struct vsvm_tp_notifier *notifier,
			       struct vsvm_tp_finish *finish)
{
	lockdep_assert_held_write(&notifier->svm->svm.notifier_lock);

	if (finish == &notifier->finish)
		notifier->finish_used = false;
	else
		kfree(finish);
}

static bool vsvm_tp_invalidate_start(struct mmu_interval_notifier *base,
				     const struct mmu_notifier_range *mmu_range,
				     unsigned long seq,
				     struct mmu_interval_notifier_finish **out)
{
	struct vsvm_tp_notifier *notifier = to_tp_notifier(base);
	unsigned long start = mmu_range->start, last = mmu_range->end - 1;
	struct vsvm_dev_svm *svm = notifier->svm;
	struct vsvm_tp_finish *finish = NULL;
	struct vsvm_dev_zap zap = {};
	struct vsvm_tp_range *range;
	u64 generation;

	/* As upstream. */
	if (!mmu_notifier_range_blockable(mmu_range))
		return false;

	down_write(&svm->svm.notifier_lock);
	mmu_interval_set_seq(base, seq);
	vsvm_tp_for_each_range(range, notifier, start, last) {
		vsvm_dev_range_zap(&range->dev, &zap);
		if (mmu_range->event == MMU_NOTIFY_UNMAP) {
			/* For drm_gpusvm_get_pages(), which then gives up. */
			range->dev.pages.flags.unmapped = true;
			vsvm_dev_range_collect(&range->dev, mmu_range);
		}
	}
	generation = vsvm_dev_zap_flush(svm, &zap);
	if (zap.pending) {
		atomic64_inc(&svm->stats.invalidations);
		finish = vsvm_tp_finish_get(notifier);
	}
	if (finish) {
		finish->generation = generation;
		finish->start = start;
		finish->last = last;
		*out = &finish->base;
	}
	up_write(&svm->svm.notifier_lock);

	if (zap.pending && !finish) {
		/* No memory: in one pass, then. */
		vsvm_dev_flush_wait(svm, generation);
		down_write(&svm->svm.notifier_lock);
		vsvm_tp_unmap(notifier, start, last);
		up_write(&svm->svm.notifier_lock);
	}
	return true;
}

static void vsvm_tp_invalidate_finish(struct mmu_interval_notifier_finish *base)
{
	struct vsvm_tp_finish *finish = container_of(base, struct vsvm_tp_finish, base);
	struct vsvm_tp_notifier *notifier = to_tp_notifier(base->notifier);
	struct vsvm_dev_svm *svm = notifier->svm;

	vsvm_dev_flush_wait(svm, finish->generation);

	down_write(&svm->svm.notifier_lock);
	vsvm_tp_unmap(notifier, finish->start, finish->last);
	vsvm_tp_finish_put(notifier, finish);
	up_write(&svm->svm.notifier_lock);
}

static const struct mmu_interval_notifier_ops vsvm_tp_notifier_ops = {
	.invalidate_start = vsvm_tp_invalidate_start,
	.invalidate_finish = vsvm_tp_invalidate_finish,
};

static struct vsvm_tp_notifier *vsvm_tp_notifier_get(struct vsvm_dev_svm *svm,
						     unsigned long addr)
{
	unsigned long index = addr / VSVM_DEV_NOTIFIER_SIZE;
	struct xarray *notifiers = &to_tp_svm(svm)->notifiers;
	struct vsvm_tp_notifier *notifier;
	int ret;

	lockdep_assert_held(&svm->lock);

	notifier = xa_load(notifiers, index);
	if (notifier)
		return notifier;

	notifier = kzalloc_obj(*notifier);
	if (!notifier)
		return ERR_PTR(-ENOMEM);
	notifier->svm = svm;
	notifier->index = index;
	notifier->ranges = RB_ROOT_CACHED;

	ret = xa_err(xa_store(notifiers, index, notifier, GFP_KERNEL));
	if (ret)
		goto err_free;
	ret = mmu_interval_notifier_insert(&notifier->base, svm->mm,
					   index * VSVM_DEV_NOTIFIER_SIZE,
					   VSVM_DEV_NOTIFIER_SIZE, &vsvm_tp_notifier_ops);
	if (ret)
		goto err_erase;
	return notifier;

err_erase:
	xa_erase(notifiers, index);
err_free:
	kfree(notifier);
	return ERR_PTR(ret);
}

/* As upstream, a notifier without ranges goes. */
static void vsvm_tp_notifier_put(struct vsvm_tp_notifier *notifier)
{
	if (!RB_EMPTY_ROOT(&notifier->ranges.rb_root))
		return;
	/* Waits for the invalidations under way, finish passes included. */
	mmu_interval_notifier_remove(&notifier->base);
	xa_erase(&to_tp_svm(notifier->svm)->notifiers, notifier->index);
	kfree(notifier);
}

/* The largest chunk that fits; where nothing fits, something is there already. */
static unsigned long vsvm_tp_chunk(struct vsvm_tp_notifier *notifier,
				   const struct vm_area_struct *vma, unsigned long addr,
				   unsigned long limit)
{
	unsigned int i;

	for (i = 0; i < vsvm_dev_num_chunks; i++) {
		unsigned long size = vsvm_dev_chunks[i];
		unsigned long start = ALIGN_DOWN(addr, size), end = start + size;

		if (size <= limit && start >= vma->vm_start && end <= vma->vm_end &&
		    !interval_tree_iter_first(&notifier->ranges, start, end - 1))
			return size;
	}
	return 0;
}

static struct vsvm_tp_range *vsvm_tp_range_make(struct vsvm_tp_notifier *notifier,
						const struct vm_area_struct *vma,
						unsigned long addr, unsigned long limit)
{
	struct vsvm_dev_svm *svm = notifier->svm;
	unsigned long size = vsvm_tp_chunk(notifier, vma, addr, limit);
	struct vsvm_tp_range *range;

	if (!size)
		return ERR_PTR(-EINVAL);
	range = kzalloc_obj(*range);
	if (!range)
		return ERR_PTR(-ENOMEM);

	range->dev.notifier = &notifier->base;
	range->dev.start = ALIGN_DOWN(addr, size);
	range->dev.end = range->dev.start + size;
	range->dev.can_migrate = vma_is_anonymous(vma) && !is_vm_hugetlb_page(vma);
	if (vsvm_dev_range_init(&range->dev, svm)) {
		kfree(range);
		return ERR_PTR(-ENOMEM);
	}

	range->node.start = range->dev.start;
	range->node.last = range->dev.end - 1;
	drm_gpusvm_notifier_lock(&svm->svm);
	interval_tree_insert(&range->node, &notifier->ranges);
	drm_gpusvm_notifier_unlock(&svm->svm);
	return range;
}

static struct vsvm_dev_range *
vsvm_tp_range_get(struct vsvm_dev_svm *svm, unsigned long addr, unsigned long limit,
		  const struct drm_gpusvm_ctx *ctx)
{
	struct interval_tree_node *node;
	struct vsvm_tp_notifier *notifier;
	struct vsvm_tp_range *range;
	struct vm_area_struct *vma;

	notifier = vsvm_tp_notifier_get(svm, addr);
	if (IS_ERR(notifier))
		return ERR_CAST(notifier);

	node = interval_tree_iter_first(&notifier->ranges, addr, addr);
	if (node)
		return &container_of(node, struct vsvm_tp_range, node)->dev;

	mmap_read_lock(svm->mm);
	vma = vma_lookup(svm->mm, addr);
	if (!vma)
		range = ERR_PTR(-ENOENT);
	else if (vma->vm_flags & (VM_IO | VM_PFNMAP))
		range = ERR_PTR(-EIO);
	else
		range = vsvm_tp_range_make(notifier, vma, addr, limit);
	mmap_read_unlock(svm->mm);

	if (IS_ERR(range)) {
		vsvm_tp_notifier_put(notifier);
		return ERR_CAST(range);
	}
	return &range->dev;
}

static void vsvm_tp_range_remove(struct vsvm_dev_range *base)
{
	struct vsvm_tp_notifier *notifier = to_tp_notifier(base->notifier);
	struct vsvm_tp_range *range = to_tp_range(base);
	struct vsvm_dev_svm *svm = base->svm;

	lockdep_assert_held(&svm->lock);

	drm_gpusvm_notifier_lock(&svm->svm);
	interval_tree_remove(&range->node, &notifier->ranges);
	drm_gpusvm_notifier_unlock(&svm->svm);

	vsvm_dev_range_fini(&range->dev);
	kfree(range);
	vsvm_tp_notifier_put(notifier);
}

/* Faulted in without an owner, device memory comes back to the system's. */
static int vsvm_tp_range_evict(struct vsvm_dev_range *range)
{
	struct hmm_range hmm = { .default_flags = HMM_PFN_REQ_FAULT };
	int ret;

	ret = vsvm_dev_range_walk(range, &hmm);
	if (!ret)
		kvfree(hmm.hmm_pfns);
	return ret;
}

static const struct vsvm_dev_svm_ops vsvm_tp_dev_ops = {
	.range_get = vsvm_tp_range_get,
	.range_remove = vsvm_tp_range_remove,
	.range_evict = vsvm_tp_range_evict,
};

static int vsvm_tp_attach(struct vsvm_vm *vm)
{
	struct vsvm_tp_svm *svm;
	int ret;

	svm = kzalloc_obj(*svm);
	if (!svm)
		return -ENOMEM;

	xa_init(&svm->notifiers);
	/* Cannot fail in pages-only mode. */
	drm_gpusvm_init(&svm->dev.svm, "vsvm", NULL, 0, 0, 0, NULL, NULL, 0);
	ret = vsvm_dev_svm_init(&svm->dev, vm, &vsvm_tp_dev_ops);
	if (ret)
		kfree(svm);
	return ret;
}

static void vsvm_tp_detach(struct vsvm_vm *vm)
{
	struct vsvm_tp_svm *svm = to_tp_svm(vm->dev_svm);
	struct vsvm_dev_range *range, *next;

	vsvm_dev_svm_quiesce(&svm->dev);
	mutex_lock(&svm->dev.lock);
	list_for_each_entry_safe(range, next, &svm->dev.ranges, link)
		vsvm_tp_range_remove(range);
	mutex_unlock(&svm->dev.lock);

	WARN_ON_ONCE(!xa_empty(&svm->notifiers));
	drm_gpusvm_fini(&svm->dev.svm);
	vsvm_dev_svm_fini(&svm->dev);
	xa_destroy(&svm->notifiers);
	kfree(svm);
}

/* SVM of one device in two passes as a back end. */
const struct vsvm_svm_ops vsvm_svm_twopass_ops = {
	.attach = vsvm_tp_attach,
	.kill = vsvm_dev_svm_kill,
	.detach = vsvm_tp_detach,
	.check_current = vsvm_dev_svm_check_current,
	.exiting = vsvm_dev_svm_exiting,
	.fault_batch = vsvm_dev_svm_fault_batch,
	.flush_done = vsvm_dev_svm_flush_done,
	.read_stats = vsvm_dev_svm_read_stats,
};
