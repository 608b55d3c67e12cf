// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Fault: one fault, a batch of them, and the steps for drivers that batch
 * themselves.
 */

#include <linux/delay.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/jiffies.h>
#include <linux/magic.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include <drm/drm_print.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Faults
 *
 * A fault finds or makes the range at its address, takes the range's fault
 * mutex, and then goes one way: migration, snapshot, mapping, commit. Where the mapping is
 * in place already, or a snapshot that holds, the steps before it are left out.
 * Whatever changed on the way, and is noticed at commit, makes the fault look
 * again from the start, until a deadline.
 *
 * What a walk of a whole range cannot have, a smaller one may: of a file that
 * ends within the range, or of memory with holes that fault, each page is
 * tried by itself in the end, so that only an access to a page that cannot be
 * had fails.
 */

/* How often an atomic operation has data moved that will not all come. */
#define GPUSVM_MGR_EXCLUSIVE_TRIES	8

/* What one attempt at a group of faults is about. */
struct gpusvm_mgr_attempt {
	struct drm_gpusvm_instance *instance;
	/* When to give up, jiffies, if it has looked often enough. */
	unsigned long deadline;
	/* How often it has looked. */
	unsigned int looks;
	/* How often data that had to be moved was not, or not all of it. */
	unsigned int misses;
	/* Whose data is left alone until the fault is served; only compared. */
	const struct drm_gpusvm_mgr_range *stays;
};

static void gpusvm_mgr_attempt_begin(struct gpusvm_mgr_attempt *attempt)
{
	attempt->deadline = jiffies + msecs_to_jiffies(GPUSVM_MGR_FAULT_MS);
	attempt->looks = 0;
	attempt->misses = 0;
	attempt->stays = NULL;
}

static bool gpusvm_mgr_fault_is_write(const struct drm_gpusvm_fault *fault)
{
	return fault->access != DRM_GPUSVM_ACCESS_READ;
}

/*
 * Memory that nobody but the process may reach: HMM would hand it out, as
 * get_user_pages() does not. The core's vma_is_secretmem() is not exported.
 */
static bool gpusvm_mgr_vma_is_secret(const struct vm_area_struct *vma)
{
	return vma->vm_file &&
	       file_inode(vma->vm_file)->i_sb->s_magic == SECRETMEM_MAGIC;
}

/*
 * The VMA at an address, with the mmap lock held for read; or an errno for
 * what a device cannot do there.
 */
static struct vm_area_struct *gpusvm_mgr_fault_vma(struct mm_struct *mm,
						   unsigned long addr, bool write)
{
	struct vm_area_struct *vma;

	mmap_assert_locked(mm);

	vma = vma_lookup(mm, addr);
	if (!vma)
		return ERR_PTR(-EFAULT);
	if (vma->vm_flags & (VM_IO | VM_PFNMAP) || gpusvm_mgr_vma_is_secret(vma))
		return ERR_PTR(-EIO);
	/* A shadow stack is written by its own instructions only. */
	if (write && (!(vma->vm_flags & VM_WRITE) || vma->vm_flags & VM_SHADOW_STACK))
		return ERR_PTR(-EPERM);
	/* As HMM has it, no architecture here can write without read. */
	if (!(vma->vm_flags & VM_READ))
		return ERR_PTR(-EFAULT);
	return vma;
}

/* The largest range that attributes allow, bytes. */
static unsigned long gpusvm_mgr_hint_limit(const struct gpusvm_mgr_hint *hint)
{
	unsigned int order = hint->placement.granularity;

	return order < BITS_PER_LONG - PAGE_SHIFT ? PAGE_SIZE << order : ULONG_MAX;
}

/*
 * Makes a range around an address: within one VMA, and one interval of the
 * attributes. The mmap lock is held for read.
 */
static struct drm_gpusvm_mgr_range *
gpusvm_mgr_range_make(struct drm_gpusvm_mgr *mgr, struct vm_area_struct *vma,
		      const struct gpusvm_mgr_hint *hint, unsigned long addr,
		      unsigned long limit)
{
	unsigned long lower, upper, start, end;
	struct drm_gpusvm_mgr_range *range;
	int err;

	gpusvm_mgr_tree_gap(&mgr->tree, addr, &lower, &upper);
	lower = max3(lower, vma->vm_start, hint->start);
	upper = min3(upper, vma->vm_end, hint->last + 1);
	err = gpusvm_mgr_chunk_choose(mgr->chunks, addr, lower, upper,
				      min(limit, gpusvm_mgr_hint_limit(hint)),
				      &start, &end);
	if (err)	/* Taken meanwhile: look again. */
		return ERR_PTR(-EAGAIN);

	range = gpusvm_mgr_range_alloc(start, end, mgr->mm);
	if (!range)
		return ERR_PTR(-ENOMEM);
	range->mgr = mgr;

	err = gpusvm_mgr_tree_insert(&mgr->tree, range);
	if (err) {
		gpusvm_mgr_range_put(range);
		return ERR_PTR(err == -EEXIST ? -EAGAIN : err);
	}

	gpusvm_mgr_count(mgr, ranges_made);
	trace_gpusvm_mgr_range_insert(range);
	return range;
}

/*
 * What is seen at the address of a fault? The generation comes first: who finds it
 * unchanged at commit has seen what holds. See DOC: Advice.
 */
static int gpusvm_mgr_fault_translate(struct drm_gpusvm_instance *instance,
				      struct drm_gpusvm_fault *fault)
{
	struct gpusvm_mgr_mirror_span *span;
	int err = 0;

	drm_gpusvm_notifier_lock(&instance->svm);
	fault->generation = instance->generation;
	span = gpusvm_mgr_mirror_translate(instance->mirror, fault->addr, &fault->va);
	if (!span)
		err = -ENOENT;
	else if (span->read_only && gpusvm_mgr_fault_is_write(fault))
		err = -EPERM;
	drm_gpusvm_notifier_unlock(&instance->svm);
	return err;
}

/* Do the attributes allow what the device tried? */
static int gpusvm_mgr_fault_allowed(const struct gpusvm_mgr_hint *hint,
				    const struct drm_gpusvm_fault *fault)
{
	if (hint->access.mode == DRM_GPUSVM_MODE_NONE)
		return -EACCES;
	if (hint->access.read_only && gpusvm_mgr_fault_is_write(fault))
		return -EACCES;
	if (hint->access.atomics == DRM_GPUSVM_ATOMICS_CPU &&
	    fault->access == DRM_GPUSVM_ACCESS_ATOMIC)
		return -EACCES;
	return 0;
}

static void gpusvm_mgr_fault_want(const struct gpusvm_mgr_hint *hint,
				  const struct drm_gpusvm_mgr_range *range,
				  const struct drm_gpusvm_fault *fault,
				  struct gpusvm_mgr_want *want)
{
	*want = (struct gpusvm_mgr_want) {
		.page = (fault->va - range->start) >> PAGE_SHIFT,
		.write = gpusvm_mgr_fault_is_write(fault),
		.atomic = fault->access == DRM_GPUSVM_ACCESS_ATOMIC,
		.read_only = hint->access.read_only,
		.generation = fault->generation,
	};

	/* Not before the data is where they are to be done. */
	if (hint->access.atomics == DRM_GPUSVM_ATOMICS_CPU ||
	    (hint->access.atomics == DRM_GPUSVM_ATOMICS_DEVICE && !want->atomic))
		want->no_atomics = true;
}

/* Finds or makes the range of a fault, which was translated. */
static struct drm_gpusvm_mgr_range *
gpusvm_mgr_range_lookup(struct gpusvm_mgr_attempt *attempt,
			const struct drm_gpusvm_fault *fault,
			const struct gpusvm_mgr_hint *hint)
{
	struct drm_gpusvm_mgr *mgr = attempt->instance->mgr;
	struct drm_gpusvm_mgr_range *range;
	struct vm_area_struct *vma;

	range = gpusvm_mgr_tree_find(&mgr->tree, fault->va);
	if (range) {
		if (!gpusvm_mgr_range_is_dead(range))
			return range;
		gpusvm_mgr_range_put(range);
		gpusvm_mgr_gc_run(mgr);
		return ERR_PTR(-EAGAIN);
	}

	mmap_read_lock(mgr->mm);
	vma = gpusvm_mgr_fault_vma(mgr->mm, fault->va,
				   gpusvm_mgr_fault_is_write(fault));
	if (IS_ERR(vma))
		range = ERR_CAST(vma);
	else
		range = gpusvm_mgr_range_make(mgr, vma, hint, fault->va,
					      fault->limit ?: ULONG_MAX);
	mmap_read_unlock(mgr->mm);
	return range;
}

/*
 * Does a range that is there still suit its VMA? VMAs are split by changes that
 * unmap nothing (mprotect, madvise), and a walk over two of them would ask both
 * for what only one allows.
 */
static int gpusvm_mgr_range_check(struct drm_gpusvm_mgr_range *range,
				  unsigned long addr, bool write)
{
	struct mm_struct *mm = range->mgr->mm;
	struct vm_area_struct *vma;
	int err = 0;

	mmap_read_lock(mm);
	vma = gpusvm_mgr_fault_vma(mm, addr, write);
	if (IS_ERR(vma))
		err = PTR_ERR(vma);
	else if (range->start < vma->vm_start || range->end > vma->vm_end)
		err = -ESTALE;
	mmap_read_unlock(mm);
	return err;
}

/* Has a walk of this size failed for something that a smaller one may avoid? */
static bool gpusvm_mgr_fault_shrink(struct drm_gpusvm_fault *fault,
				    const struct drm_gpusvm_mgr_range *range,
				    int err)
{
	unsigned long size = range->end - range->start;

	if (err != -EFAULT && err != -EPERM)
		return false;

	size = gpusvm_mgr_chunk_smaller(range->mgr->chunks, size);
	if (!size)
		return false;

	fault->limit = min_not_zero(fault->limit, size);
	return true;
}

/*
 * Sees to it that the range has a snapshot that serves an access. Returns 0;
 * -ESTALE where the range has to go; or the errno of the fault.
 */
static int gpusvm_mgr_snapshot_get(struct gpusvm_mgr_attempt *attempt,
				   struct drm_gpusvm_mgr_range *range,
				   struct drm_gpusvm_fault *fault)
{
	struct drm_gpusvm_instance *instance = attempt->instance;
	unsigned long page = (fault->va - range->start) >> PAGE_SHIFT;
	bool gather = test_bit(GPUSVM_MGR_RANGE_GATHER, &range->flags);
	bool write = gpusvm_mgr_fault_is_write(fault);
	int err;

	lockdep_assert_held(&range->fault_mutex);

	if (gpusvm_mgr_snapshot_usable(range, instance, page, write)) {
		atomic64_inc(&instance->stats.snapshot_hits);
		gpusvm_mgr_count(range->mgr, snapshot_hits);
		return 0;
	}

	err = gpusvm_mgr_range_check(range, fault->va, write);
	if (err)
		return err;

	atomic64_inc(&instance->stats.walks);
	err = gpusvm_mgr_snapshot_walk(range, gather ? NULL : instance->owner, write,
				       &attempt->deadline);
	if (!err && gather)
		clear_bit(GPUSVM_MGR_RANGE_GATHER, &range->flags);
	if (!err && !gather && !gpusvm_mgr_snapshot_permits(range->snapshot, page, write)) {
		set_bit(GPUSVM_MGR_RANGE_GATHER, &range->flags);
		return -EAGAIN;
	}
	if (err && gpusvm_mgr_fault_shrink(fault, range, err))
		return -ESTALE;
	/* Ran out of its time: ours decides, too, but it is extended by waits. */
	return err == -EBUSY ? -EAGAIN : err;
}

/*
 * Maps the published snapshot for one eager instance, as far as it goes: what
 * fails is left to a fault of its own. The range's fault mutex is held.
 */
static void gpusvm_mgr_fill_one(struct drm_gpusvm_instance *instance,
				struct drm_gpusvm_mgr_range *range, unsigned long page)
{
	struct drm_gpusvm_fault fault = {
		.access = DRM_GPUSVM_ACCESS_READ,
		.va = range->start + (page << PAGE_SHIFT),
	};
	struct gpusvm_mgr_hint hint;
	struct gpusvm_mgr_want want;
	bool seen;

	/* Before the look at the attributes. */
	drm_gpusvm_notifier_lock(&instance->svm);
	fault.generation = instance->generation;
	seen = gpusvm_mgr_mirror_next_cpu(instance->mirror, NULL, range->start,
					  range->end - 1);
	drm_gpusvm_notifier_unlock(&instance->svm);
	if (!seen)
		return;

	/* An edge may have come since the one that faulted has looked. */
	gpusvm_mgr_hints_look(instance, fault.va, &hint);
	if (hint.access.mode != DRM_GPUSVM_MODE_EAGER || hint.start > range->start ||
	    hint.last < range->end - 1)
		return;

	gpusvm_mgr_fault_want(&hint, range, &fault, &want);
	if (!gpusvm_mgr_mapping_ready(instance, range, &want) &&
	    gpusvm_mgr_snapshot_usable(range, instance, page, false) &&
	    !gpusvm_mgr_mapping_fill(instance, range, &want)) {
		atomic64_inc(&instance->stats.eager_maps);
		atomic64_inc(&instance->stats.snapshot_hits);
		gpusvm_mgr_count(range->mgr, snapshot_hits);
	}
}

/* Maps the published snapshot for the other eager instances, too. */
static void gpusvm_mgr_fill_eager(struct drm_gpusvm_instance *faulting,
				  struct drm_gpusvm_mgr_range *range,
				  unsigned long page, u64 eager)
{
	struct drm_gpusvm_mgr *mgr = range->mgr;
	unsigned long slots = eager;
	unsigned long slot;

	for_each_set_bit(slot, &slots, GPUSVM_MGR_SLOTS) {
		struct drm_gpusvm_instance *instance;
		int idx;

		idx = srcu_read_lock(&gpusvm_mgr_srcu);
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (instance && (instance == faulting || READ_ONCE(instance->dead) ||
				 !gpusvm_mgr_instance_enter(instance)))
			instance = NULL;
		srcu_read_unlock(&gpusvm_mgr_srcu, idx);
		if (!instance)
			continue;

		gpusvm_mgr_fill_one(instance, range, page);
		gpusvm_mgr_instance_exit(instance);
	}
}

/**
 * gpusvm_mgr_fault_eager() - Map what others have faulted in
 * @instance: The instance, a call on it was entered.
 * @range: A range that others may have mapped. Its fault mutex is held.
 *
 * For memory that has become eager. What fails is left to a fault.
 */
void gpusvm_mgr_fault_eager(struct drm_gpusvm_instance *instance,
			    struct drm_gpusvm_mgr_range *range)
{
	lockdep_assert_held(&range->fault_mutex);

	if (!gpusvm_mgr_range_is_dead(range))
		gpusvm_mgr_fill_one(instance, range, 0);
}

/* Is an access one that has to have the data for itself? */
static bool gpusvm_mgr_fault_exclusive(const struct gpusvm_mgr_hint *hint,
				       const struct drm_gpusvm_fault *fault)
{
	return fault->access == DRM_GPUSVM_ACCESS_ATOMIC &&
	       hint->access.atomics == DRM_GPUSVM_ATOMICS_DEVICE;
}

/*
 * The data is to be in the device's own memory, and nobody else is to have it
 * mapped, when an atomic operation is done there. That nobody else maps it after
 * that without taking it from this device is seen to by gpusvm_mgr_mapping_fill().
 */
static int gpusvm_mgr_make_exclusive(struct gpusvm_mgr_attempt *attempt,
				     struct drm_gpusvm_mgr_range *range,
				     const struct gpusvm_mgr_hint *hint,
				     struct drm_gpusvm_fault *fault)
{
	struct drm_gpusvm_instance *own = attempt->instance, *instance;
	unsigned long size = range->end - range->start;
	unsigned long present, slot;
	int err, idx;

	if (!own->dpagemap || hint->placement.policy == DRM_GPUSVM_MIGRATION_NEVER ||
	    hint->access.mode == DRM_GPUSVM_MODE_IN_PLACE)
		return -EACCES;

	err = gpusvm_mgr_range_check(range, fault->va, true);
	if (err)
		return err;
	/* A page that cannot be had is none of those that a smaller range has. */
	err = gpusvm_mgr_migrate_to(own, range, own->dpagemap, &attempt->deadline);
	if (err)
		return gpusvm_mgr_fault_shrink(fault, range, err) ? -ESTALE : err;
	/* Once it may have been somebody who was just looking at a page. */
	if (gpusvm_mgr_migrate_arrived(range, own->dpagemap, range->start, range->end) < size)
		return ++attempt->misses < GPUSVM_MGR_EXCLUSIVE_TRIES ? -EAGAIN : -EACCES;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	present = gpusvm_mgr_range_present(range);
	for_each_set_bit(slot, &present, GPUSVM_MGR_SLOTS) {
		instance = gpusvm_mgr_instance_slot(range->mgr, slot);
		if (instance && instance != own)
			gpusvm_mgr_mapping_revoke(instance, range);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	return 0;
}

/*
 * One look at one fault in its range, whose fault mutex is held. Returns 0,
 * -EAGAIN, -ESTALE where the range has to go, or the errno of the fault.
 */
static int gpusvm_mgr_range_serve(struct gpusvm_mgr_attempt *attempt,
				  struct drm_gpusvm_mgr_range *range,
				  struct drm_gpusvm_fault *fault)
{
	struct drm_gpusvm_instance *instance = attempt->instance;
	struct drm_pagemap *dpagemap;
	struct gpusvm_mgr_hint hint;
	struct gpusvm_mgr_want want;
	bool exclusive;
	int err;

	if (gpusvm_mgr_range_is_dead(range))
		return -EAGAIN;

	gpusvm_mgr_hints_look(instance, fault->va, &hint);
	err = gpusvm_mgr_fault_allowed(&hint, fault);
	if (err)
		return err;
	/* The interval was cut, or larger ranges are not wanted any more. */
	if (range->start < hint.start || range->end - 1 > hint.last ||
	    range->end - range->start > gpusvm_mgr_hint_limit(&hint))
		return -ESTALE;

	gpusvm_mgr_fault_want(&hint, range, fault, &want);
	if (gpusvm_mgr_mapping_ready(instance, range, &want))
		return 0;

	exclusive = gpusvm_mgr_fault_exclusive(&hint, fault);
	if (exclusive) {
		err = gpusvm_mgr_make_exclusive(attempt, range, &hint, fault);
		if (err)
			return err;
	} else {
		dpagemap = gpusvm_mgr_hints_target(instance, &hint);
		/*
		 * What was refused once is not asked for again in the next look: the walk
		 * in between has brought the data to system memory, if the device cannot
		 * reach the place where it was to stay, and now it could be had.
		 */
		if (dpagemap && attempt->stays != range &&
		    !gpusvm_mgr_migrate(instance, range, &hint.placement, dpagemap,
					&attempt->deadline))
			attempt->stays = range;
		drm_pagemap_put(dpagemap);
	}

	err = gpusvm_mgr_snapshot_get(attempt, range, fault);
	if (err)
		return err;

	/* Some of it has gone again, or has never come. */
	if (exclusive && !range->snapshot->all_device)
		return -EAGAIN;

	gpusvm_mgr_window(GPUSVM_MGR_WINDOW_WALKED, range);
	err = gpusvm_mgr_mapping_fill(instance, range, &want);
	if (err)
		return err;

	gpusvm_mgr_migrate_observe(instance, range);
	if (exclusive)
		range->exclusive = instance->slot + 1;
	else
		gpusvm_mgr_fill_eager(instance, range, want.page, hint.eager);
	return 0;
}

/*
 * One look at the faults of one range: the first of @count sorted ones gives
 * the range, and those that lie in it are served along. Writes come first, as
 * one walk for writing serves the reads, too. Returns how many are done.
 */
static unsigned int gpusvm_mgr_attempt_group(struct gpusvm_mgr_attempt *attempt,
					     struct drm_gpusvm_fault **faults,
					     unsigned int count)
{
	struct drm_gpusvm_instance *instance = attempt->instance;
	struct drm_gpusvm_mgr *mgr = instance->mgr;
	struct drm_gpusvm_mgr_range *range;
	struct gpusvm_mgr_hint hint;
	unsigned int group, i;
	unsigned long limit = 0;
	bool stale = false;
	int pass, err;

	err = READ_ONCE(instance->dead) ? -ENODEV : gpusvm_mgr_hints_settle(mgr);
	if (!err)
		err = gpusvm_mgr_fault_translate(instance, faults[0]);
	if (err) {
		faults[0]->err = err;
		return 1;
	}

	/* Before a range is made for what is not allowed. */
	gpusvm_mgr_hints_look(instance, faults[0]->va, &hint);
	err = gpusvm_mgr_fault_allowed(&hint, faults[0]);
	range = err ? ERR_PTR(err) : gpusvm_mgr_range_lookup(attempt, faults[0], &hint);
	if (IS_ERR(range)) {
		faults[0]->err = PTR_ERR(range);
		return 1;
	}

	for (group = 1; group < count; group++)
		if (gpusvm_mgr_fault_translate(instance, faults[group]) ||
		    faults[group]->va < range->start || faults[group]->va >= range->end)
			break;

	/* Killable for the sake of the caller: the holder may be in a page fault. */
	if (mutex_lock_killable(&range->fault_mutex)) {
		for (i = 0; i < group; i++)
			faults[i]->err = -EINTR;
		gpusvm_mgr_range_put(range);
		return group;
	}
	for (pass = 0; pass < 2 && !stale; pass++) {
		for (i = 0; i < group; i++) {
			if (gpusvm_mgr_fault_is_write(faults[i]) == pass)
				continue;
			faults[i]->err = gpusvm_mgr_range_serve(attempt, range,
								faults[i]);
			if (faults[i]->err == -ESTALE) {
				limit = faults[i]->limit;
				stale = true;
				break;
			}
		}
	}
	if (stale) {
		/*
		 * Those behind it have not been looked at, the others are quick.
		 * All of them get along with the smaller range, or the first
		 * one would make it as large again.
		 */
		for (i = 0; i < group; i++) {
			faults[i]->err = -EAGAIN;
			if (limit)
				faults[i]->limit = limit;
		}
		gpusvm_mgr_range_kill(range);
	}
	mutex_unlock(&range->fault_mutex);

	if (stale)
		gpusvm_mgr_gc_run(mgr);
	gpusvm_mgr_range_put(range);
	return group;
}

/* Was it refused for what is not so any more? */
static bool gpusvm_mgr_fault_outdated(struct drm_gpusvm_instance *instance,
				      const struct drm_gpusvm_fault *fault)
{
	return (fault->err == -EFAULT || fault->err == -EPERM || fault->err == -EACCES ||
		fault->err == -ENOENT) &&
	       READ_ONCE(instance->generation) != fault->generation;
}

/*
 * Serves sorted faults. Each round looks at those that are open, group by group;
 * a fault stays open as long as it gets -EAGAIN: because the interval was
 * invalidated, its range died, or another range took its place. Each of these
 * means that somebody else got on; the deadline bounds it all the same. A few
 * looks it has in any case, as one that met a slow page fault may take longer
 * than the deadline.
 */
static void gpusvm_mgr_serve(struct drm_gpusvm_instance *instance,
			     struct drm_gpusvm_fault **faults,
			     unsigned int count)
{
	struct gpusvm_mgr_attempt attempt = { .instance = instance };
	unsigned int done = 0;

	gpusvm_mgr_attempt_begin(&attempt);
	while (done < count) {
		unsigned int group, i, open = 0;

		group = gpusvm_mgr_attempt_group(&attempt, &faults[done],
						 count - done);

		/* Keep the open ones, in their order, in front of the rest. */
		for (i = group; i-- > 0; ) {
			struct drm_gpusvm_fault *fault = faults[done + i];

			if (gpusvm_mgr_fault_outdated(instance, fault))
				fault->err = -EAGAIN;
			if (fault->err != -EAGAIN)
				continue;
			faults[done + i] = faults[done + group - 1 - open];
			faults[done + group - 1 - open] = fault;
			open++;
		}
		done += group - open;

		if (!open) {
			/* The next group has its own time. */
			gpusvm_mgr_attempt_begin(&attempt);
			continue;
		}

		if (++attempt.looks >= GPUSVM_MGR_FAULT_LOOKS &&
		    time_after(jiffies, attempt.deadline)) {
			for (i = 0; i < open; i++)
				faults[done++]->err = -EBUSY;
			/* Nor do those that follow pay for that. */
			gpusvm_mgr_attempt_begin(&attempt);
		} else {
			atomic64_inc(&instance->stats.retries);
			/* Whoever just looks at a page may need a moment to be done. */
			if (attempt.misses)
				fsleep(USEC_PER_MSEC << min(attempt.misses, 6U));
			else
				cond_resched();
		}
	}
}

static int gpusvm_mgr_fault_cmp(const void *a, const void *b)
{
	const struct drm_gpusvm_fault *const *one = a;
	const struct drm_gpusvm_fault *const *two = b;

	if ((*one)->addr == (*two)->addr)
		return 0;
	return (*one)->addr < (*two)->addr ? -1 : 1;
}

/**
 * drm_gpusvm_mgr_fault_batch() - Serve many faults of a device
 * @instance: The instance. The caller sees to it that it is attached when the
 *	call begins; detach waits for its end.
 * @faults: The faults, in any order; the order is kept.
 * @count: Number of @faults.
 *
 * Those that lie in one range are served together, with one snapshot and one
 * mapping. The result of each is in its @err, with the values that
 * drm_gpusvm_mgr_fault() returns.
 *
 * May sleep, for as long as the CPU's own fault handling does (userfaultfd, for
 * one), and tries each group of those for as long as one alone: one that nobody
 * can serve takes nothing from the others. The caller holds no lock that a flush or
 * an invalidation needs, nor the mmap lock.
 *
 * Return: 0 where all were served, else the error of the first in @faults that
 * was not.
 */
int drm_gpusvm_mgr_fault_batch(struct drm_gpusvm_instance *instance,
			       struct drm_gpusvm_fault *faults,
			       unsigned int count)
{
	struct drm_gpusvm_fault *few[16], **sorted = few;
	struct mm_struct *mm;
	unsigned int i;
	int err = 0;

	might_sleep();

	if (!gpusvm_mgr_instance_enter(instance)) {
		err = -ENODEV;
		goto fail_all;
	}

	mm = instance->mgr->mm;
	if (!mmget_not_zero(mm)) {
		gpusvm_mgr_instance_exit(instance);
		err = -EFAULT;
		goto fail_all;
	}

	if (count > ARRAY_SIZE(few))
		sorted = kvmalloc_objs(*sorted, count);
	if (!sorted) {
		err = -ENOMEM;
		for (i = 0; i < count; i++)
			faults[i].err = err;
		goto put_mm;
	}

	for (i = 0; i < count; i++) {
		sorted[i] = &faults[i];
		faults[i].err = -EAGAIN;
		faults[i].limit = 0;
	}
	sort(sorted, count, sizeof(*sorted), gpusvm_mgr_fault_cmp, NULL);
	gpusvm_mgr_serve(instance, sorted, count);
	if (sorted != few)
		kvfree(sorted);

	atomic64_add(count, &instance->stats.faults);
	for (i = 0; i < count; i++) {
		trace_gpusvm_mgr_fault(instance, &faults[i]);
		if (!faults[i].err)
			continue;
		if (!err)
			err = faults[i].err;
		drm_dbg(instance->drm, "%s: access %d at 0x%lx failed: %d\n",
			instance->name, faults[i].access, faults[i].addr,
			faults[i].err);
	}

put_mm:
	/* After all locks: the last one tears the address space down. */
	mmput_async(mm);
	gpusvm_mgr_instance_exit(instance);
	return err;

fail_all:
	for (i = 0; i < count; i++)
		faults[i].err = err;
	return err;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_fault_batch);

/**
 * drm_gpusvm_mgr_fault() - Serve one fault of a device
 * @instance: The instance, see drm_gpusvm_mgr_fault_batch().
 * @fault: The fault; its @err is set to the result.
 *
 * Return: 0: the page is mapped on the instance as the access needs it, unless
 * it was invalidated again; -ENOENT: nothing of the process is seen at the address;
 * -EACCES: an attribute forbids the access; -EFAULT: there is no memory at the
 * address, none that may be read, or the process is gone; -EPERM: a write to memory
 * that may not be written; -EIO: memory that devices cannot use; -EBUSY: it was
 * invalidated again and again for a second; -ENODEV: the instance was killed;
 * -ENOMEM; -EINTR: the calling task is being killed; or an error of the
 * driver's own callbacks.
 */
int drm_gpusvm_mgr_fault(struct drm_gpusvm_instance *instance,
			 struct drm_gpusvm_fault *fault)
{
	return drm_gpusvm_mgr_fault_batch(instance, fault, 1);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_fault);

/* One look at the range of a prefetch. */
static int gpusvm_mgr_prefetch_look(struct gpusvm_mgr_attempt *attempt,
				    struct drm_gpusvm_fault *fault,
				    const struct gpusvm_mgr_trip *trip,
				    unsigned long *end, unsigned long *arrived)
{
	struct drm_gpusvm_instance *instance = attempt->instance;
	struct drm_gpusvm_mgr_range *range;
	struct gpusvm_mgr_hint hint;
	struct gpusvm_mgr_want want;
	int err;

	if (READ_ONCE(instance->dead))
		return -ENODEV;
	err = gpusvm_mgr_hints_settle(instance->mgr);
	if (err)
		return err;

	drm_gpusvm_notifier_lock(&instance->svm);
	fault->generation = instance->generation;
	drm_gpusvm_notifier_unlock(&instance->svm);
	gpusvm_mgr_hints_look(instance, fault->va, &hint);
	range = gpusvm_mgr_range_lookup(attempt, fault, &hint);
	if (IS_ERR(range))
		return PTR_ERR(range);

	if (trip->wait)
		err = mutex_lock_killable(&range->fault_mutex);
	else
		err = mutex_trylock(&range->fault_mutex) ? 0 : -EBUSY;
	if (err)
		goto put_range;

	if (gpusvm_mgr_range_is_dead(range))
		err = -EAGAIN;
	else if (range->start < hint.start || range->end - 1 > hint.last)
		err = -ESTALE;
	else
		err = gpusvm_mgr_range_check(range, fault->va, false);
	if (!err) {
		err = gpusvm_mgr_migrate_to(instance, range, trip->dpagemap,
					    trip->ahead ? NULL : &attempt->deadline);
		/* A page that cannot be had must not keep its neighbours from it. */
		if (err && gpusvm_mgr_fault_shrink(fault, range, err))
			err = -ESTALE;
	}
	if (!err) {
		*end = min(range->end, *end);
		*arrived = gpusvm_mgr_migrate_arrived(range, trip->dpagemap, fault->va, *end);
		if (trip->map && !gpusvm_mgr_fault_allowed(&hint, fault)) {
			gpusvm_mgr_fault_want(&hint, range, fault, &want);
			if (!gpusvm_mgr_mapping_ready(instance, range, &want)) {
				err = gpusvm_mgr_snapshot_get(attempt, range, fault);
				if (!err)
					err = gpusvm_mgr_mapping_fill(instance, range, &want);
			}
		}
	}
	if (err == -ESTALE) {
		gpusvm_mgr_range_kill(range);
		err = -EAGAIN;
	}
	mutex_unlock(&range->fault_mutex);

put_range:
	gpusvm_mgr_range_put(range);
	if (err == -EAGAIN)
		gpusvm_mgr_gc_run(instance->mgr);
	return err;
}

/**
 * gpusvm_mgr_fault_prefetch() - Move the data of the range at an address
 * @instance: The instance, a call on it was entered.
 * @fault: Its @va is the address; the rest is used up.
 * @trip: What for. It is mapped, too, if the attributes allow to read. Where others
 *	are at the range, they are waited for, or it is -EBUSY.
 * @end: In: where the caller's interest ends; out: what was looked at ends there,
 *	where it could be.
 * @arrived: Out: bytes from @fault->va to @end that are there now.
 *
 * The caller holds a reference on the users of the mm.
 *
 * Return: 0, also where the data could not be moved; else as
 * drm_gpusvm_mgr_fault().
 */
int gpusvm_mgr_fault_prefetch(struct drm_gpusvm_instance *instance,
			      struct drm_gpusvm_fault *fault,
			      const struct gpusvm_mgr_trip *trip,
			      unsigned long *end, unsigned long *arrived)
{
	struct gpusvm_mgr_attempt attempt = { .instance = instance };
	int err;

	/* Bounded as the faults in gpusvm_mgr_serve() are. */
	gpusvm_mgr_attempt_begin(&attempt);
	for (;;) {
		*arrived = 0;
		err = gpusvm_mgr_prefetch_look(&attempt, fault, trip, end, arrived);
		if (err != -EAGAIN)
			return err;
		if (++attempt.looks >= GPUSVM_MGR_FAULT_LOOKS &&
		    time_after(jiffies, attempt.deadline))
			return -EBUSY;
		atomic64_inc(&instance->stats.retries);
		cond_resched();
	}
}

/**
 * DOC: Steps
 *
 * A driver that orders its faults itself can take the steps one by one::
 *
 *	range = drm_gpusvm_mgr_range_find_or_insert(instance, fault);
 *	err = drm_gpusvm_mgr_range_lock(range);
 *	drm_gpusvm_mgr_range_migrate(instance, range);
 *	err = drm_gpusvm_mgr_range_snapshot(instance, range, fault);
 *	err = drm_gpusvm_mgr_range_map(instance, range, fault);
 *	drm_gpusvm_mgr_range_unlock(range);
 *	drm_gpusvm_mgr_range_put(range);
 *
 * Any of them may return -EAGAIN, to look again from the first one; the driver
 * bounds that. It holds a reference on the users of the process's mm
 * meanwhile, and does not detach the instance.
 */

/**
 * drm_gpusvm_mgr_range_find_or_insert() - Find or make the range of a fault
 * @instance: The instance.
 * @fault: The fault.
 *
 * Return: the range with a reference; -EAGAIN: look again; or an error as
 * drm_gpusvm_mgr_fault() returns it.
 */
struct drm_gpusvm_mgr_range *
drm_gpusvm_mgr_range_find_or_insert(struct drm_gpusvm_instance *instance,
				    struct drm_gpusvm_fault *fault)
{
	struct gpusvm_mgr_attempt attempt = { .instance = instance };
	struct gpusvm_mgr_hint hint;
	int err;

	err = gpusvm_mgr_hints_settle(instance->mgr);
	if (!err)
		err = gpusvm_mgr_fault_translate(instance, fault);
	if (err)
		return ERR_PTR(err);

	gpusvm_mgr_hints_look(instance, fault->va, &hint);
	err = gpusvm_mgr_fault_allowed(&hint, fault);
	if (err)
		return ERR_PTR(err);
	return gpusvm_mgr_range_lookup(&attempt, fault, &hint);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_range_find_or_insert);

/**
 * drm_gpusvm_mgr_range_put() - Drop a reference to a range
 * @range: The range.
 */
void drm_gpusvm_mgr_range_put(struct drm_gpusvm_mgr_range *range)
{
	gpusvm_mgr_range_put(range);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_range_put);

/**
 * drm_gpusvm_mgr_range_lock() - Become the one filler of a range
 * @range: The range. The caller holds neither the mmap lock nor a lock that an
 *	invalidation needs.
 *
 * Return: 0, or -EINTR: a fatal signal.
 */
int drm_gpusvm_mgr_range_lock(struct drm_gpusvm_mgr_range *range)
{
	return mutex_lock_killable(&range->fault_mutex);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_range_lock);

/**
 * drm_gpusvm_mgr_range_unlock() - Let others fill a range
 * @range: The range, locked by drm_gpusvm_mgr_range_lock().
 */
void drm_gpusvm_mgr_range_unlock(struct drm_gpusvm_mgr_range *range)
{
	mutex_unlock(&range->fault_mutex);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_range_unlock);

/**
 * drm_gpusvm_mgr_range_migrate() - Have the data of a range moved to the device
 * @instance: The instance, attached with a &struct drm_pagemap, or else nothing
 *	happens.
 * @range: The range, locked by drm_gpusvm_mgr_range_lock().
 *
 * As far as the arbiter lets it. Where the data is in the end shows when it is
 * mapped; so there is nothing to return.
 */
void drm_gpusvm_mgr_range_migrate(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range)
{
	struct gpusvm_mgr_attempt attempt = { .instance = instance };
	struct drm_pagemap *dpagemap;
	struct gpusvm_mgr_hint hint;

	if (gpusvm_mgr_range_is_dead(range))
		return;

	gpusvm_mgr_hints_look(instance, range->start, &hint);
	dpagemap = gpusvm_mgr_hints_target(instance, &hint);
	if (!dpagemap)
		return;

	gpusvm_mgr_attempt_begin(&attempt);
	gpusvm_mgr_migrate(instance, range, &hint.placement, dpagemap, &attempt.deadline);
	drm_pagemap_put(dpagemap);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_range_migrate);

/**
 * drm_gpusvm_mgr_range_snapshot() - Get a snapshot that serves a fault
 * @instance: The instance.
 * @range: The range, locked by drm_gpusvm_mgr_range_lock().
 * @fault: The fault.
 *
 * Uses the published one, where it holds and permits the access, else walks the
 * CPU's page tables.
 *
 * Return: 0; -EAGAIN: look again; or an error as drm_gpusvm_mgr_fault() returns
 * it.
 */
int drm_gpusvm_mgr_range_snapshot(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range,
				  struct drm_gpusvm_fault *fault)
{
	struct gpusvm_mgr_attempt attempt = { .instance = instance };
	struct gpusvm_mgr_hint hint;
	int err = 0;

	if (gpusvm_mgr_range_is_dead(range))
		return -EAGAIN;

	gpusvm_mgr_attempt_begin(&attempt);

	gpusvm_mgr_hints_look(instance, fault->va, &hint);
	if (gpusvm_mgr_fault_exclusive(&hint, fault))
		err = gpusvm_mgr_make_exclusive(&attempt, range, &hint, fault);
	if (!err)
		err = gpusvm_mgr_snapshot_get(&attempt, range, fault);
	if (err != -ESTALE)
		return err;

	gpusvm_mgr_range_kill(range);
	queue_work(system_dfl_wq, &range->mgr->gc_work);
	return -EAGAIN;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_range_snapshot);

/**
 * drm_gpusvm_mgr_range_map() - Map the snapshot of a range for an instance
 * @instance: The instance.
 * @range: The range, locked by drm_gpusvm_mgr_range_lock() since
 *	drm_gpusvm_mgr_range_snapshot() succeeded.
 * @fault: The fault.
 *
 * Eager instances get it, too, as with drm_gpusvm_mgr_fault().
 *
 * Return: 0; -EAGAIN: look again; or an error as drm_gpusvm_mgr_fault() returns
 * it.
 */
int drm_gpusvm_mgr_range_map(struct drm_gpusvm_instance *instance,
			     struct drm_gpusvm_mgr_range *range,
			     const struct drm_gpusvm_fault *fault)
{
	struct gpusvm_mgr_hint hint;
	struct gpusvm_mgr_want want;
	int err;

	if (WARN_ON_ONCE(!range->snapshot))
		return -EINVAL;

	gpusvm_mgr_hints_look(instance, fault->va, &hint);
	err = gpusvm_mgr_fault_allowed(&hint, fault);
	if (err)
		return err;
	if (range->start < hint.start || range->end - 1 > hint.last) {
		gpusvm_mgr_range_kill(range);
		queue_work(system_dfl_wq, &range->mgr->gc_work);
		return -EAGAIN;
	}

	if (gpusvm_mgr_fault_exclusive(&hint, fault) && !range->snapshot->all_device)
		return -EAGAIN;

	gpusvm_mgr_fault_want(&hint, range, fault, &want);
	err = gpusvm_mgr_mapping_fill(instance, range, &want);
	if (err)
		return err;

	gpusvm_mgr_migrate_observe(instance, range);
	if (gpusvm_mgr_fault_exclusive(&hint, fault))
		range->exclusive = instance->slot + 1;
	else
		gpusvm_mgr_fill_eager(instance, range, want.page, hint.eager);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_range_map);
