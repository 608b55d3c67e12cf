// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * SVM of one device, without the manager. What the back ends share that exist to
 * be compared with it: what a driver has to do by itself where each VM has its
 * own ranges, notifiers and HMM walks. How ranges are kept, and what happens in
 * a notifier, is theirs.
 *
 * A range is mapped in three steps, of which each later one can be undone alone:
 * drm_gpusvm_get_pages() walks and maps for DMA, the commit writes the PTEs. The
 * way back, in this order: zap, flush, wait, unmap. While it is on the way back
 * (@zapped) it cannot be mapped again:
 *
 *	fault					invalidation
 *	-----					------------
 *	get_pages: mapped for DMA
 *						notifier_lock for write:
 *						  zapped, flush begins
 *	notifier_lock for read:
 *	  zapped: look again
 *	get_pages waits for the invalidation
 *						flush done, notifier_lock for write:
 *						  DMA unmap, not zapped
 *						invalidation ends
 *	  walks again
 *
 * Whoever meets a zapped range waits for the flush that was started last, and
 * finds it unmapped then, or does so.
 */

#include <linux/dma-mapping.h>
#include <linux/hmm.h>
#include <linux/iommu-dma.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/swiotlb.h>

#include "vsvm_drv.h"
#include "vsvm_svm_device.h"
#include "vsvm_trace.h"

/* How long a fault looks again, and how often at least, as the manager does. */
#define VSVM_DEV_FAULT_TIME	HZ
#define VSVM_DEV_FAULT_LOOKS	3

/* Sizes of ranges, those of the manager. */
const unsigned long vsvm_dev_chunks[] = {
	SZ_2M,
#if PAGE_SIZE < SZ_64K
	SZ_64K,
#endif
	PAGE_SIZE,
};

const unsigned int vsvm_dev_num_chunks = ARRAY_SIZE(vsvm_dev_chunks);

static unsigned long vsvm_dev_chunk_smaller(unsigned long size)
{
	unsigned int i;

	for (i = 0; i < vsvm_dev_num_chunks; i++)
		if (vsvm_dev_chunks[i] < size)
			return vsvm_dev_chunks[i];
	return 0;
}

static unsigned long vsvm_dev_range_pages(const struct vsvm_dev_range *range)
{
	return (range->end - range->start) >> PAGE_SHIFT;
}

/**
 * vsvm_dev_flush_wait() - Wait for a flush
 * @svm: Whose.
 * @generation: Its number.
 */
void vsvm_dev_flush_wait(struct vsvm_dev_svm *svm, u64 generation)
{
	wait_event(svm->flush_wait,
		   (u64)atomic64_read(&svm->flush_done) >= generation);
}

/**
 * vsvm_dev_zap_flush() - Start the flush for what was zapped
 * @svm: Whose.
 * @zap: What was zapped.
 *
 * Called in the critical section of the zap.
 *
 * Return: number of the flush to wait for, where @zap.pending says so.
 */
u64 vsvm_dev_zap_flush(struct vsvm_dev_svm *svm, const struct vsvm_dev_zap *zap)
{
	lockdep_assert_held_write(&svm->svm.notifier_lock);

	if (zap->end)
		vsvm_flush_queue(svm->vm, zap->start, zap->end, ++svm->flush_started);
	/* What somebody else has zapped is covered by a flush before this one. */
	return svm->flush_started;
}

/**
 * vsvm_dev_range_zap() - Take the PTEs of a range away
 * @range: The range.
 * @zap: Is made to include it.
 *
 * The flush is the caller's business, in the same critical section.
 */
void vsvm_dev_range_zap(struct vsvm_dev_range *range, struct vsvm_dev_zap *zap)
{
	struct vsvm_vm *vm = range->svm->vm;
	unsigned int count;

	lockdep_assert_held_write(&range->svm->svm.notifier_lock);

	if (!range->pages.flags.has_dma_mapping)
		return;

	zap->pending = true;
	/* Also without PTEs: a fault may be about to write them. */
	range->zapped = true;
	if (!range->ptes)
		return;

	count = vsvm_pt_zap(&vm->pt, range->start, range->end);
	range->ptes = false;
	trace_vsvm_pte_zap(vm, range->start, range->end, count, range->police->live);

	if (!zap->end || range->start < zap->start)
		zap->start = range->start;
	zap->end = max(zap->end, range->end);
}

/*
 * What the device could write is dirty before it is out of its reach: the CPU's
 * PTE may be writable and clean, and whoever invalidates may be about to drop
 * the page for that. drm_gpusvm_get_pages() does not hand pages out, and so they
 * are found by their device addresses.
 */
static void vsvm_dev_range_dirty(struct vsvm_dev_range *range)
{
	struct vsvm_device *dev = range->svm->vm->dev;
	unsigned long n, i;

	for (n = 0, i = 0; n < vsvm_dev_range_pages(range); i++) {
		const struct drm_pagemap_addr *addr = &range->pages.dma_addr[i];
		struct page *page;

		if (addr->proto == DRM_INTERCONNECT_SYSTEM)
			page = vsvm_mem_page(dev, addr->addr);
		else
			page = vsvm_pagemap_page(range->pages.dpagemap, addr->addr);
		if (!WARN_ON_ONCE(!page))
			set_page_dirty(page);
		n += 1UL << addr->order;
	}
}

/**
 * vsvm_dev_range_unmap() - Take the DMA mapping of a range away
 * @range: The range, without PTEs, and the flush is complete; or without a DMA
 *	mapping.
 */
void vsvm_dev_range_unmap(struct vsvm_dev_range *range)
{
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	struct vsvm_dev_svm *svm = range->svm;

	lockdep_assert_held_write(&svm->svm.notifier_lock);

	range->zapped = false;
	if (!range->pages.flags.has_dma_mapping)
		return;

	/* Where it was committed, and not only mapped for DMA. */
	if (range->police->live) {
		if (range->write)
			vsvm_dev_range_dirty(range);
		vsvm_police_retire(svm->vm, range->police, range->start, range->end);
		atomic64_inc(&svm->stats.unmaps);
		atomic64_sub(range->end - range->start, &svm->stats.dma_bytes);
	}
	drm_gpusvm_unmap_pages(&svm->svm, &range->pages, vsvm_dev_range_pages(range), &ctx);
}

/**
 * vsvm_dev_range_collect() - Something of a range was unmapped: remove it later
 * @range: The range.
 * @mmu_range: What was unmapped.
 */
void vsvm_dev_range_collect(struct vsvm_dev_range *range,
			    const struct mmu_notifier_range *mmu_range)
{
	struct vsvm_dev_svm *svm = range->svm;

	lockdep_assert_held_write(&svm->svm.notifier_lock);

	if (range->start < mmu_range->start || range->end > mmu_range->end)
		WRITE_ONCE(range->partial, true);
	/* Once, since whoever takes it off the list frees it. */
	if (range->unmapped || svm->dead)
		return;
	WRITE_ONCE(range->unmapped, true);

	spin_lock(&svm->gc_lock);
	list_add_tail(&range->gc_link, &svm->gc);
	spin_unlock(&svm->gc_lock);
	queue_work(vsvm_wq, &svm->gc_work);
}

/* Takes away all that is mapped of a range. */
static void vsvm_dev_range_drop(struct vsvm_dev_range *range)
{
	struct vsvm_dev_svm *svm = range->svm;
	struct vsvm_dev_zap zap = {};
	u64 generation;

	lockdep_assert_held(&svm->lock);

	down_write(&svm->svm.notifier_lock);
	vsvm_dev_range_zap(range, &zap);
	generation = vsvm_dev_zap_flush(svm, &zap);
	up_write(&svm->svm.notifier_lock);
	if (!zap.pending)
		return;

	vsvm_dev_flush_wait(svm, generation);

	/* An invalidation may have done so meanwhile. */
	down_write(&svm->svm.notifier_lock);
	vsvm_dev_range_unmap(range);
	up_write(&svm->svm.notifier_lock);
}

static void vsvm_dev_range_remove(struct vsvm_dev_range *range)
{
	struct vsvm_dev_svm *svm = range->svm;

	/* So that it does not come to the list from here on. */
	down_write(&svm->svm.notifier_lock);
	WRITE_ONCE(range->unmapped, true);
	up_write(&svm->svm.notifier_lock);

	spin_lock(&svm->gc_lock);
	list_del_init(&range->gc_link);
	spin_unlock(&svm->gc_lock);

	vsvm_dev_range_drop(range);
	svm->ops->range_remove(range);
}

/**
 * vsvm_dev_range_init() - Begin a range
 * @range: The range, zeroed.
 * @svm: Whose.
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_dev_range_init(struct vsvm_dev_range *range, struct vsvm_dev_svm *svm)
{
	lockdep_assert_held(&svm->lock);

	range->police = vsvm_police_slot_get(&svm->vm->police);
	if (!range->police)
		return -ENOMEM;
	range->svm = svm;
	INIT_LIST_HEAD(&range->gc_link);
	drm_gpusvm_init_pages(&range->pages, &svm->vm->dev->drm);

	drm_gpusvm_notifier_lock(&svm->svm);
	list_add_tail(&range->link, &svm->ranges);
	drm_gpusvm_notifier_unlock(&svm->svm);
	atomic64_inc(&svm->stats.ranges);
	return 0;
}

/**
 * vsvm_dev_range_fini() - End a range
 * @range: The range; no notifier knows it any more, nothing of it is mapped.
 */
void vsvm_dev_range_fini(struct vsvm_dev_range *range)
{
	struct vsvm_dev_svm *svm = range->svm;

	lockdep_assert_held(&svm->lock);

	drm_gpusvm_notifier_lock(&svm->svm);
	list_del(&range->link);
	drm_gpusvm_notifier_unlock(&svm->svm);
	/* One that was got, but never committed, may be mapped for DMA still. */
	drm_gpusvm_free_pages(&svm->svm, &range->pages, vsvm_dev_range_pages(range));
	vsvm_police_slot_put(&svm->vm->police, range->police);
	atomic64_dec(&svm->stats.ranges);
}

/* Removes the ranges of which something was unmapped. */
static void vsvm_dev_svm_gc(struct vsvm_dev_svm *svm)
{
	struct vsvm_dev_range *range;

	lockdep_assert_held(&svm->lock);

	for (;;) {
		spin_lock(&svm->gc_lock);
		range = list_first_entry_or_null(&svm->gc, struct vsvm_dev_range, gc_link);
		if (range)
			list_del_init(&range->gc_link);
		spin_unlock(&svm->gc_lock);
		if (!range)
			break;

		/* What is left of it does not stay in device memory. */
		if (svm->dpagemap && READ_ONCE(range->partial))
			svm->ops->range_evict(range);
		vsvm_dev_range_remove(range);
	}
}

static void vsvm_dev_svm_gc_work(struct work_struct *work)
{
	struct vsvm_dev_svm *svm = container_of(work, struct vsvm_dev_svm, gc_work);

	mutex_lock(&svm->lock);
	vsvm_dev_svm_gc(svm);
	mutex_unlock(&svm->lock);
}

/* Writes the PTEs. */
static int vsvm_dev_range_map(struct vsvm_dev_range *range)
{
	struct vsvm_vm *vm = range->svm->vm;
	unsigned long va = range->start;
	unsigned int i;
	u64 cookie;
	int ret;

	cookie = vsvm_police_begin(range->police);
	for (i = 0; va < range->end; i++) {
		const struct drm_pagemap_addr *addr = &range->pages.dma_addr[i];
		unsigned long size = PAGE_SIZE << addr->order;

		ret = vsvm_pt_map(&vm->pt, va, size, addr->addr,
				  range->write ? VSVM_PT_WRITE | VSVM_PT_ATOMIC : 0, cookie);
		if (ret) {
			vsvm_pt_zap(&vm->pt, range->start, range->end);
			vsvm_svm_map_failed(vm, range->police, va, range->start, range->end,
					    ret);
			return ret;
		}
		va += size;
	}
	trace_vsvm_pte_map(vm, range->start, range->end, i, cookie);
	return 0;
}

/*
 * The last look before the PTEs are written, and the writing, in one critical
 * section. Returns 0, -EAGAIN where an invalidation was faster, or the errno of
 * the fault.
 */
static int vsvm_dev_range_commit(struct vsvm_dev_range *range, bool write)
{
	struct vsvm_dev_svm *svm = range->svm;
	int ret = 0;

	lockdep_assert_held(&svm->lock);

	drm_gpusvm_notifier_lock(&svm->svm);
	if (svm->dead) {
		ret = -ENODEV;
	} else if (range->unmapped || range->zapped ||
		   !drm_gpusvm_pages_valid(&svm->svm, &range->pages)) {
		ret = -EAGAIN;
	} else if (!range->ptes) {
		range->write = range->pages.dma_addr[0].dir == DMA_BIDIRECTIONAL;
		ret = vsvm_dev_range_map(range);
		if (!ret) {
			range->ptes = true;
			atomic64_inc(&svm->stats.maps);
			atomic64_add(range->end - range->start, &svm->stats.dma_bytes);
		}
	}
	if (!ret && write && !range->write)
		ret = -EAGAIN;
	drm_gpusvm_notifier_unlock(&svm->svm);
	return ret;
}

/*
 * May the device do that there? Returns 0 and whether it may write, or the errno
 * of the fault.
 */
static int vsvm_dev_check_vma(struct vsvm_dev_svm *svm, unsigned long addr, bool write,
			      bool *writable)
{
	struct vm_area_struct *vma;
	int ret = 0;

	mmap_read_lock(svm->mm);
	vma = vma_lookup(svm->mm, addr);
	if (!vma) {
		ret = -EFAULT;
		goto unlock;
	}
	*writable = vma->vm_flags & VM_WRITE && !(vma->vm_flags & VM_SHADOW_STACK);
	if (vma->vm_flags & (VM_IO | VM_PFNMAP) ||
	    (vma->vm_file && file_inode(vma->vm_file)->i_sb->s_magic == SECRETMEM_MAGIC))
		ret = -EIO;
	else if (write && !*writable)
		ret = -EPERM;
	else if (!(vma->vm_flags & VM_READ))
		ret = -EFAULT;
unlock:
	mmap_read_unlock(svm->mm);
	return ret;
}

/*
 * Is it mapped as the fault needs it? And if so, or got ready to be, for reading
 * only?
 */
static bool vsvm_dev_range_ready(struct vsvm_dev_range *range, bool write, bool *upgrade)
{
	bool ready, writable;

	drm_gpusvm_notifier_lock(&range->svm->svm);
	writable = range->pages.flags.has_dma_mapping &&
		   range->pages.dma_addr[0].dir == DMA_BIDIRECTIONAL;
	ready = range->ptes && !range->unmapped && (writable || !write);
	*upgrade = range->pages.flags.has_dma_mapping && write && !writable;
	drm_gpusvm_notifier_unlock(&range->svm->svm);
	return ready;
}

static void vsvm_dev_range_migrate(struct vsvm_dev_range *range)
{
	struct vsvm_dev_svm *svm = range->svm;
	bool here;

	if (!range->can_migrate)
		return;
	drm_gpusvm_notifier_lock(&svm->svm);
	here = range->pages.dpagemap == svm->dpagemap;
	drm_gpusvm_notifier_unlock(&svm->svm);
	if (here)
		return;

	if (drm_pagemap_populate_mm(svm->dpagemap, range->start, range->end, svm->mm, 0))
		atomic64_inc(&svm->stats.migrations_failed);
	else
		atomic64_inc(&svm->stats.migrations);
}

/**
 * vsvm_dev_range_walk() - Walk the CPU's page tables of a range
 * @range: The range.
 * @hmm: What is wanted; out: the pages, to be freed with kvfree(), and the sequence.
 *
 * Return: 0, -ENOMEM, or what HMM says; then there is nothing to free.
 */
int vsvm_dev_range_walk(struct vsvm_dev_range *range, struct hmm_range *hmm)
{
	int ret;

	hmm->notifier = range->notifier;
	hmm->start = range->start;
	hmm->end = range->end;
	hmm->hmm_pfns = kvcalloc(vsvm_dev_range_pages(range), sizeof(*hmm->hmm_pfns),
				 GFP_KERNEL);
	if (!hmm->hmm_pfns)
		return -ENOMEM;
	ret = hmm_range_fault_unlocked_timeout(hmm, HZ);
	if (ret)
		kvfree(hmm->hmm_pfns);
	return ret;
}

/*
 * Is that the first page of a huge one, in place of one behind it? HMM counts the pages
 * of a huge one on a device from its start, wherever the walk began (7.3).
 */
static bool vsvm_dev_range_shifted(const struct vsvm_dev_range *range, unsigned long entry)
{
	return !IS_ALIGNED(range->start, PMD_SIZE) &&
	       hmm_pfn_to_map_order(entry) == PMD_SHIFT - PAGE_SHIFT &&
	       IS_ALIGNED(entry & ~HMM_PFN_FLAGS, PMD_SIZE >> PAGE_SHIFT);
}

/*
 * Device memory that HMM was asked for to write it is not always writable: it is
 * handed out as it is, be it that it is shared by copy-on-write since a fork, or
 * in a VMA that is read-only (7.3). And it is not always the right one, see above.
 * drm_gpusvm_get_pages() does not look, and does not show what it got. So this looks
 * for itself.
 *
 * Returns 0 where all of it may be used so, -EAGAIN where it was brought to
 * system memory, of which HMM makes sure, or was invalidated; or an errno.
 */
static int vsvm_dev_range_check_devmem(struct vsvm_dev_range *range, bool write)
{
	struct hmm_range hmm = { .dev_private_owner = range->svm->vm->peer.owner };
	struct vsvm_dev_svm *svm = range->svm;
	unsigned long i;
	bool good;
	int ret;

	if (!write && IS_ALIGNED(range->start, PMD_SIZE))
		return 0;
	ret = vsvm_dev_range_walk(range, &hmm);
	if (ret)
		return ret;
	good = !vsvm_dev_range_shifted(range, hmm.hmm_pfns[0]);
	for (i = 0; write && i < vsvm_dev_range_pages(range); i++)
		good &= !!(hmm.hmm_pfns[i] & HMM_PFN_WRITE);
	kvfree(hmm.hmm_pfns);

	if (hmm.notifier_seq != range->pages.notifier_seq)
		return -EAGAIN;
	if (good)
		return 0;
	vsvm_dev_range_drop(range);
	svm->ops->range_evict(range);
	return -EAGAIN;
}

/* Walks, and maps for DMA. */
static int vsvm_dev_range_get_pages(struct vsvm_dev_range *range,
				    const struct drm_gpusvm_ctx *ctx)
{
	struct vsvm_dev_svm *svm = range->svm;
	unsigned long sleeps = current->nvcsw, seq;
	int ret;

	/*
	 * Only to count: upstream waits and retries inside, where nobody sees it.
	 * One more look at the sequence is nothing beside a walk.
	 */
	seq = mmu_interval_read_begin(range->notifier);
	if (current->nvcsw != sleeps)
		atomic64_inc(&svm->stats.seq_waits);

	atomic64_inc(&svm->stats.walks);
	ret = drm_gpusvm_get_pages(&svm->svm, &range->pages, svm->mm, range->notifier,
				   range->start, range->end, ctx);
	if (ret)
		return ret;
	if (range->pages.notifier_seq != seq)
		atomic64_inc(&svm->stats.retries);
	if (range->pages.flags.has_devmem_pages)
		ret = vsvm_dev_range_check_devmem(range, !ctx->read_only);
	return ret;
}

/**
 * struct vsvm_dev_attempt - A fault that is being served
 * @addr: Where.
 * @write: It is a write.
 * @limit: Largest range that may be made for it.
 * @migrated: A move was tried.
 */
struct vsvm_dev_attempt {
	unsigned long addr;
	bool write;
	unsigned long limit;
	bool migrated;
};

/*
 * Getting pages failed. Is there another way? A range may cover what only a
 * smaller one can be had of: VMAs were split, a file ends in it. Returns -EAGAIN
 * where there is one, or the errno of the fault.
 */
static int vsvm_dev_range_failed(struct vsvm_dev_attempt *attempt,
				 struct vsvm_dev_range *range, int err)
{
	struct vsvm_dev_svm *svm = range->svm;
	unsigned long smaller;

	switch (err) {
	case -EOPNOTSUPP:
		/* Device memories that do not go together. */
		svm->ops->range_evict(range);
		return -EAGAIN;
	case -EAGAIN:
	case -EBUSY:
		return -EAGAIN;
	case -EFAULT:
	case -EPERM:
	case -EHWPOISON:
		if (READ_ONCE(range->unmapped))
			return -EAGAIN;
		smaller = vsvm_dev_chunk_smaller(range->end - range->start);
		if (!smaller)
			return err == -EPERM ? -EAGAIN : -EFAULT;
		attempt->limit = smaller;
		vsvm_dev_range_remove(range);
		return -EAGAIN;
	default:
		return err;
	}
}

/* One look at a fault: 0, -EAGAIN, or its errno. */
static int vsvm_dev_svm_look(struct vsvm_dev_svm *svm, struct vsvm_dev_attempt *attempt)
{
	struct drm_gpusvm_ctx ctx = {
		.device_private_page_owner = svm->vm->peer.owner,
		.devmem_possible = !!svm->dpagemap,
		/* As xe has it, for the sake of small allocations. */
		.check_pages_threshold = svm->dpagemap ? SZ_64K : 0,
	};
	struct vsvm_dev_range *range;
	bool writable, upgrade;
	int ret;

	if (READ_ONCE(svm->dead))
		return -ENODEV;

	/* First, so that the view of the ranges is current. */
	vsvm_dev_svm_gc(svm);

	ret = vsvm_dev_check_vma(svm, attempt->addr, attempt->write, &writable);
	if (ret)
		return ret;
	ctx.read_only = !writable;

	range = svm->ops->range_get(svm, attempt->addr, attempt->limit, &ctx);
	if (IS_ERR(range)) {
		ret = PTR_ERR(range);
		/* The VMA changed since it was looked at. */
		if (ret == -ENOENT || ret == -EPERM)
			return -EAGAIN;
		return ret == -EINVAL ? -EFAULT : ret;
	}
	if (vsvm_dev_range_ready(range, attempt->write, &upgrade))
		return 0;
	/* The VMA was made writable. */
	if (upgrade)
		vsvm_dev_range_drop(range);

	if (svm->dpagemap && !attempt->migrated) {
		attempt->migrated = true;
		vsvm_dev_range_migrate(range);
	}

	ret = vsvm_pt_prepare(&svm->vm->pt, range->start, range->end);
	if (ret)
		return ret;

	ret = vsvm_dev_range_get_pages(range, &ctx);
	if (ret)
		return vsvm_dev_range_failed(attempt, range, ret);
	ret = vsvm_dev_range_commit(range, attempt->write);
	/* Killed meanwhile: then nobody else takes the DMA mapping away. */
	if (ret == -ENODEV)
		vsvm_dev_range_drop(range);
	return ret;
}

/*
 * Serves one fault. It looks again where the process changed what it was
 * looking at: then somebody else got on. The deadline bounds it all the same.
 */
static int vsvm_dev_svm_fault(struct vsvm_dev_svm *svm, const struct drm_gpusvm_fault *fault)
{
	struct vsvm_dev_attempt attempt = {
		.addr = fault->addr,
		.write = fault->access != DRM_GPUSVM_ACCESS_READ,
		.limit = vsvm_dev_chunks[0],
	};
	unsigned long deadline = jiffies + VSVM_DEV_FAULT_TIME;
	unsigned int looks = 0;
	int ret;

	mutex_lock(&svm->lock);
	for (;;) {
		ret = vsvm_dev_svm_look(svm, &attempt);
		if (ret != -EAGAIN)
			break;
		atomic64_inc(&svm->stats.retries);
		if (++looks >= VSVM_DEV_FAULT_LOOKS && time_after(jiffies, deadline)) {
			ret = -EBUSY;
			break;
		}
		cond_resched();
	}
	mutex_unlock(&svm->lock);
	return ret;
}

/**
 * vsvm_dev_svm_fault_batch() - Serve faults, one after the other
 * @vm: The VM.
 * @faults: The faults.
 * @count: Their number.
 *
 * Return: 0; how each fault ended is in it.
 */
int vsvm_dev_svm_fault_batch(struct vsvm_vm *vm, struct drm_gpusvm_fault *faults,
			     unsigned int count)
{
	struct vsvm_dev_svm *svm = vm->dev_svm;
	unsigned int i;

	if (!mmget_not_zero(svm->mm)) {
		for (i = 0; i < count; i++)
			faults[i].err = -EFAULT;
		return 0;
	}
	for (i = 0; i < count; i++)
		faults[i].err = vsvm_dev_svm_fault(svm, &faults[i]);
	mmput_async(svm->mm);
	return 0;
}

/**
 * vsvm_dev_svm_kill() - Take all that is mapped away, for good
 * @vm: The VM.
 *
 * A fault may be under way, and stuck, with the lock of the trees. So the list
 * is walked: with the notifier_lock held for write nobody changes it.
 */
void vsvm_dev_svm_kill(struct vsvm_vm *vm)
{
	struct vsvm_dev_svm *svm = vm->dev_svm;
	struct vsvm_dev_range *range;
	struct vsvm_dev_zap zap = {};
	u64 generation;

	down_write(&svm->svm.notifier_lock);
	WRITE_ONCE(svm->dead, true);
	list_for_each_entry(range, &svm->ranges, link)
		vsvm_dev_range_zap(range, &zap);
	generation = vsvm_dev_zap_flush(svm, &zap);
	up_write(&svm->svm.notifier_lock);

	vsvm_dev_flush_wait(svm, generation);

	down_write(&svm->svm.notifier_lock);
	list_for_each_entry(range, &svm->ranges, link)
		vsvm_dev_range_unmap(range);
	up_write(&svm->svm.notifier_lock);
}

/**
 * vsvm_dev_svm_check_current() - Is the caller the process of the VM?
 * @vm: The VM.
 *
 * Return: 0, or -EPERM.
 */
int vsvm_dev_svm_check_current(struct vsvm_vm *vm)
{
	return current->mm == vm->dev_svm->mm ? 0 : -EPERM;
}

/**
 * vsvm_dev_svm_exiting() - Is the process's address space going away?
 * @vm: The VM.
 *
 * Return: true where it is.
 */
bool vsvm_dev_svm_exiting(struct vsvm_vm *vm)
{
	return !atomic_read(&vm->dev_svm->mm->mm_users);
}

/**
 * vsvm_dev_svm_flush_done() - A flush is complete
 * @vm: The VM.
 * @generation: Its number; those before it are, too.
 */
void vsvm_dev_svm_flush_done(struct vsvm_vm *vm, u64 generation)
{
	struct vsvm_dev_svm *svm = vm->dev_svm;

	/* One thread per device, and it goes in order. */
	atomic64_set_release(&svm->flush_done, generation);
	wake_up_all(&svm->flush_wait);
}

/**
 * vsvm_dev_svm_read_stats() - Read the counters
 * @vm: The VM.
 * @data: Out: the counters; those of the manager stay 0.
 */
void vsvm_dev_svm_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data)
{
	struct vsvm_dev_svm_stats *stats = &vm->dev_svm->stats;

	data->dma_mapped = atomic64_read(&stats->dma_bytes);
	data->dma_maps = atomic64_read(&stats->maps);
	data->dma_unmaps = atomic64_read(&stats->unmaps);
	data->snapshot_walks = atomic64_read(&stats->walks);
	data->invalidations = atomic64_read(&stats->invalidations);
	data->retries = atomic64_read(&stats->retries);
	data->migrations = atomic64_read(&stats->migrations);
	data->migrations_failed = atomic64_read(&stats->migrations_failed);
	data->vm_ranges = atomic64_read(&stats->ranges);
	data->vm_seq_waits = atomic64_read(&stats->seq_waits);
}

/* As the manager does it: a device would see copies. */
static bool vsvm_dev_dma_bounces(struct device *dev)
{
	return dma_addressing_limited(dev) ||
	       (is_swiotlb_force_bounce(dev) && !use_dma_iommu(dev)) ||
	       (IS_ENABLED(CONFIG_DMA_NEED_SYNC) && !dev_dma_skip_sync(dev));
}

/**
 * vsvm_dev_svm_init() - Begin
 * @svm: Zeroed, but for what the back end has filled in: @svm.svm.
 * @vm: The VM.
 * @ops: The back end.
 *
 * Return: 0; -EOPNOTSUPP: DMA would bounce; or what vsvm_owner_acquire() and
 * vsvm_pagemap_get() return.
 */
int vsvm_dev_svm_init(struct vsvm_dev_svm *svm, struct vsvm_vm *vm,
		      const struct vsvm_dev_svm_ops *ops)
{
	int ret;

	if (vsvm_dev_dma_bounces(vm->dev->drm.dev))
		return -EOPNOTSUPP;

	ret = vsvm_owner_acquire(vm->dev, &vm->peer);
	if (ret)
		return ret;
	if (vm->flags & DRM_VSVM_VM_MIGRATE) {
		svm->dpagemap = vsvm_pagemap_get(vm->dev);
		if (IS_ERR(svm->dpagemap)) {
			drm_pagemap_release_owner(&vm->peer);
			return PTR_ERR(svm->dpagemap);
		}
	}

	svm->vm = vm;
	svm->ops = ops;
	svm->mm = current->mm;
	mmgrab(svm->mm);
	mutex_init(&svm->lock);
	drm_gpusvm_driver_set_lock(&svm->svm, &svm->lock);
	INIT_LIST_HEAD(&svm->ranges);
	init_waitqueue_head(&svm->flush_wait);
	spin_lock_init(&svm->gc_lock);
	INIT_LIST_HEAD(&svm->gc);
	INIT_WORK(&svm->gc_work, vsvm_dev_svm_gc_work);
	vm->dev_svm = svm;
	return 0;
}

/**
 * vsvm_dev_svm_quiesce() - End: nothing is mapped, nobody maps any more
 * @svm: What; no fault is being served. The back end then removes the ranges.
 */
void vsvm_dev_svm_quiesce(struct vsvm_dev_svm *svm)
{
	vsvm_dev_svm_kill(svm->vm);
	/* Dead, so that no invalidation queues it again. */
	disable_work_sync(&svm->gc_work);
}

/**
 * vsvm_dev_svm_fini() - The end
 * @svm: What; without ranges and notifiers.
 */
void vsvm_dev_svm_fini(struct vsvm_dev_svm *svm)
{
	/* The flush thread may be between its mark and the wake-up. */
	vsvm_flush_drain(svm->vm);
	WARN_ON_ONCE(!list_empty(&svm->ranges));
	drm_pagemap_put(svm->dpagemap);
	drm_pagemap_release_owner(&svm->vm->peer);
	mutex_destroy(&svm->lock);
	mmdrop(svm->mm);
	svm->vm->dev_svm = NULL;
}
