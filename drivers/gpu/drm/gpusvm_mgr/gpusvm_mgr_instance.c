// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Instance: attach and detach of a device's VM.
 */

#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/iommu-dma.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#include <drm/drm_device.h>
#include <drm/drm_print.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Instances
 *
 * An instance is one VM of one device. It is attached to the address space of
 * the process that asks for it, and found by nobody else: there is no object
 * that a process could name. The notifier is registered with the first attach
 * and gone with the last detach, so that a process that does not use a device
 * pays nothing.
 *
 * An instance goes in two steps. drm_gpusvm_instance_kill() takes away all that
 * it has mapped, and keeps anything from being mapped again; it waits for
 * flushes only. drm_gpusvm_instance_detach() also waits for the faults that are
 * being served, which may take as long as a page fault of the CPU may (for ever,
 * if a userfaultfd is not served), and for a grace period: an invalidation or a
 * removal that knows the slot is through, and no callback of the driver runs
 * any more. Only then is the slot given to somebody else. So a driver kills the
 * instance where the process waits, and detaches it with the last reference to
 * its VM, of which each fault under way holds one. The device must answer
 * flushes until detach has returned.
 */

/*
 * A device whose DMA goes through bounce buffers would see copies, and so would one
 * for which caches have to be cleaned around each transfer. The checks
 * are those of hmm_dma_map_alloc(), and one for a kernel that was told to let all
 * DMA bounce, which that does not notice before the first page has. Behind an
 * IOMMU that translates, whole pages never bounce.
 */
static bool gpusvm_mgr_dma_bounces(struct device *dev)
{
	return dma_addressing_limited(dev) ||
	       (is_swiotlb_force_bounce(dev) && !use_dma_iommu(dev)) ||
	       (IS_ENABLED(CONFIG_DMA_NEED_SYNC) && !dev_dma_skip_sync(dev));
}

/* Tells lockdep the order before it is met. The instance lock's is upstream's. */
static void gpusvm_mgr_instance_prime(struct drm_gpusvm_mgr *mgr)
{
	struct drm_gpusvm_mgr_range *range;

	if (!IS_ENABLED(CONFIG_LOCKDEP))
		return;

	range = gpusvm_mgr_range_alloc(0, PAGE_SIZE, mgr->mm);
	if (!range)
		return;

	mutex_lock(&mgr->gc_lock);
	fs_reclaim_acquire(GFP_KERNEL);
	fs_reclaim_release(GFP_KERNEL);
	mutex_unlock(&mgr->gc_lock);

	mutex_lock(&mgr->hints.lock);
	mutex_lock(&range->fault_mutex);
	might_lock_read(&mgr->mm->mmap_lock);
	fs_reclaim_acquire(GFP_KERNEL);
	fs_reclaim_release(GFP_KERNEL);
	mutex_unlock(&range->fault_mutex);
	mutex_unlock(&mgr->hints.lock);
	gpusvm_mgr_range_put(range);
}

static int gpusvm_mgr_instance_init(struct drm_gpusvm_instance *instance,
				    const struct drm_gpusvm_instance_params *params)
{
	struct gpusvm_mgr_mirror_spares spares;
	int err;

	memset(instance, 0, sizeof(*instance));
	instance->mirror = kzalloc_obj(*instance->mirror);
	if (!instance->mirror)
		return -ENOMEM;
	gpusvm_mgr_mirror_init(instance->mirror);

	if (!(params->flags & DRM_GPUSVM_INSTANCE_EMPTY)) {
		err = gpusvm_mgr_mirror_spares_init(&spares, 1);
		if (!err)
			gpusvm_mgr_mirror_add(instance->mirror, 0, current->mm->task_size, 0,
					      false, &spares);
		gpusvm_mgr_mirror_spares_fini(&spares);
		if (err) {
			kfree(instance->mirror);
			return err;
		}
	}

	/* Cannot fail in pages-only mode. */
	drm_gpusvm_init(&instance->svm, params->name, NULL, 0, 0, 0, NULL, NULL, 0);
	instance->drm = params->drm;
	instance->gpuvm = params->gpuvm;
	instance->owner = params->owner;
	instance->dpagemap = drm_pagemap_get(params->dpagemap);
	instance->ops = params->ops;
	instance->name = params->name;
	instance->flags = params->flags;
	instance->stale = true;
	refcount_set(&instance->active, 1);
	init_completion(&instance->idle);
	init_waitqueue_head(&instance->flush_wait);
	return 0;
}

static void gpusvm_mgr_instance_fini(struct drm_gpusvm_instance *instance)
{
	drm_gpusvm_fini(&instance->svm);
	drm_pagemap_put(instance->dpagemap);
	gpusvm_mgr_mirror_fini(instance->mirror);
	kfree(instance->mirror);
}

/**
 * drm_gpusvm_instance_attach() - Attach a VM to the current process
 * @instance: The instance, embedded in the driver's VM. Uninitialized.
 * @params: How; copied.
 *
 * The first attach registers the notifier, which takes the mmap lock for
 * write: the caller holds no lock that is taken below that one, and none of
 * those that its callbacks take.
 *
 * Return: 0; -EINVAL: no ops, or a callback missing, an unknown flag, device
 * memory of another owner, or the caller is a kernel thread; -EOPNOTSUPP: the
 * device cannot reach memory without bounce buffers, or is not coherent with the
 * CPU's caches; -ENOSPC: all slots of the process are taken; -ENOMEM; -EINTR: a
 * fatal signal. Nothing is attached then, and the instance may be freed.
 */
int drm_gpusvm_instance_attach(struct drm_gpusvm_instance *instance,
			       const struct drm_gpusvm_instance_params *params)
{
	const struct drm_gpusvm_instance_ops *ops = params->ops;
	struct drm_gpusvm_mgr *mgr;
	unsigned int slot;
	int err;

	might_sleep();

	if (!current->mm || !ops || !ops->map || !ops->zap || !ops->flush ||
	    !ops->mapping_alloc != !ops->mapping_free ||
	    params->flags & ~(DRM_GPUSVM_INSTANCE_EAGER | DRM_GPUSVM_INSTANCE_EMPTY |
			      DRM_GPUSVM_INSTANCE_FENCED) ||
	    (params->flags & DRM_GPUSVM_INSTANCE_FENCED &&
	     (!ops->quiesce || !(params->flags & DRM_GPUSVM_INSTANCE_EMPTY)))) {
		drm_dbg(params->drm, "%s: bad attach: flags 0x%x\n",
			params->name, params->flags);
		return -EINVAL;
	}
	/* What the device cannot reach it cannot want. */
	if (params->dpagemap && (!params->owner ||
				 params->dpagemap->pagemap->owner != params->owner)) {
		drm_dbg(params->drm, "%s: bad attach: dpagemap of another owner\n",
			params->name);
		return -EINVAL;
	}
	if (gpusvm_mgr_dma_bounces(params->drm->dev)) {
		drm_dbg(params->drm, "%s: DMA would bounce, no SVM\n", params->name);
		return -EOPNOTSUPP;
	}

	mgr = gpusvm_mgr_get(current->mm);
	if (IS_ERR(mgr))
		return PTR_ERR(mgr);

	err = gpusvm_mgr_instance_init(instance, params);
	if (err)
		goto put_mgr;
	gpusvm_mgr_instance_prime(mgr);

	mutex_lock(&mgr->attach_lock);
	slot = find_first_zero_bit(mgr->slots_used, GPUSVM_MGR_SLOTS);
	if (slot == GPUSVM_MGR_SLOTS) {
		drm_dbg(params->drm, "%s: all %d slots taken\n", params->name,
			GPUSVM_MGR_SLOTS);
		err = -ENOSPC;
		goto unlock;
	}

	if (bitmap_empty(mgr->slots_used, GPUSVM_MGR_SLOTS)) {
		err = mmu_interval_notifier_insert(&mgr->notifier, mgr->mm, 0,
						   mgr->mm->task_size,
						   &gpusvm_mgr_notifier_ops);
		if (err)
			goto unlock;
	}

	instance->mgr = mgr;
	instance->slot = slot;
	set_bit(slot, mgr->slots_used);
	rcu_assign_pointer(mgr->slots[slot], instance);
	if (instance->flags & DRM_GPUSVM_INSTANCE_EAGER)
		WRITE_ONCE(mgr->eager, mgr->eager | BIT(slot));
	mutex_unlock(&mgr->attach_lock);

	trace_gpusvm_mgr_attach(instance);
	return 0;

unlock:
	mutex_unlock(&mgr->attach_lock);
	gpusvm_mgr_instance_fini(instance);
put_mgr:
	gpusvm_mgr_put(mgr);
	return err;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_attach);

/**
 * drm_gpusvm_instance_kill() - Take all mappings of a VM away, for good
 * @instance: The instance, attached.
 *
 * When the call returns, the device reaches no memory of the process through
 * this instance, and never will. Faults on it fail with -ENODEV from here on.
 * May be called more than once, and with calls on the instance under way. Waits
 * for the device's flushes, for nothing else. The caller holds no lock that is
 * taken in a callback, and not the mmap lock.
 */
void drm_gpusvm_instance_kill(struct drm_gpusvm_instance *instance)
{
	u64 generation;
	int idx;

	might_sleep();

	idx = srcu_read_lock(&gpusvm_mgr_srcu);

	gpusvm_mgr_fenced_pause(instance);
	/* With the lock for write: no commit is under way that saw it alive. */
	down_write(&instance->svm.notifier_lock);
	WRITE_ONCE(instance->dead, true);
	generation = gpusvm_mgr_mapping_zap_span(instance, 0, ULONG_MAX);
	up_write(&instance->svm.notifier_lock);
	gpusvm_mgr_fenced_resume(instance);

	gpusvm_mgr_flush_wait(instance, generation);
	gpusvm_mgr_mapping_unmap_span(instance, 0, ULONG_MAX);

	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_kill);

/*
 * Takes the mappings of a dead and idle instance off their ranges' lists. Others
 * may be walking these: what was taken off keeps its way on for a grace period.
 */
static void gpusvm_mgr_instance_unlink(struct drm_gpusvm_instance *instance)
{
	struct drm_gpusvm_mgr_range *range;
	struct drm_gpusvm_mapping *mapping;
	unsigned long index = 0;
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	while ((range = gpusvm_mgr_tree_next(&instance->mgr->tree, &index, ULONG_MAX))) {
		mapping = gpusvm_mgr_mapping_unlink(range, instance);
		if (mapping)
			gpusvm_mgr_mapping_free_later(mapping);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
}

/**
 * drm_gpusvm_instance_detach() - Detach a VM from its process
 * @instance: The instance, attached. No new call on it begins.
 *
 * Kills the instance, waits for calls under way, and returns when no callback
 * runs any more. Cannot fail. Works after the process is gone, too. The caller
 * holds no lock that is taken in a callback, and not the mmap lock.
 */
void drm_gpusvm_instance_detach(struct drm_gpusvm_instance *instance)
{
	struct drm_gpusvm_mgr *mgr = instance->mgr;

	drm_gpusvm_instance_kill(instance);

	/*
	 * Ends: they look at dead each time they look again. Idle, because that
	 * may take as long as user space likes, and is no hung task then.
	 */
	gpusvm_mgr_instance_exit(instance);
	wait_for_completion_state(&instance->idle, TASK_IDLE);

	gpusvm_mgr_hints_forget(mgr, instance->slot);

	mutex_lock(&mgr->attach_lock);
	gpusvm_mgr_instance_unlink(instance);

	WRITE_ONCE(mgr->eager, mgr->eager & ~BIT(instance->slot));
	RCU_INIT_POINTER(mgr->slots[instance->slot], NULL);
	/* Whoever has read the slot is through, the finish passes included. */
	synchronize_srcu(&gpusvm_mgr_srcu);
	/* What we, or removals before us, have unlinked is freed. */
	srcu_barrier(&gpusvm_mgr_srcu);
	clear_bit(instance->slot, mgr->slots_used);

	if (bitmap_empty(mgr->slots_used, GPUSVM_MGR_SLOTS)) {
		/* No range outlives the registration that its sequence is of. */
		gpusvm_mgr_gc_all(mgr);
		mmu_interval_notifier_remove(&mgr->notifier);
		gpusvm_mgr_hints_forget_all(mgr);
	}
	mutex_unlock(&mgr->attach_lock);

	trace_gpusvm_mgr_detach(instance);
	gpusvm_mgr_instance_fini(instance);
	gpusvm_mgr_put(mgr);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_detach);

static bool gpusvm_mgr_mirror_valid(struct drm_gpusvm_instance *instance,
				    const struct drm_gpusvm_mirror_change *change)
{
	unsigned long task_size = instance->mgr->mm->task_size;
	bool add = change->flags & DRM_GPUSVM_MIRROR_ADD;

	if (change->flags & ~(DRM_GPUSVM_MIRROR_ADD | DRM_GPUSVM_MIRROR_READ_ONLY) ||
	    (!add && (change->flags || change->va))) {
		drm_dbg(instance->drm, "%s: mirror change: flags 0x%x, va 0x%lx: unknown, or not for a removal\n",
			instance->name, change->flags, change->va);
		return false;
	}
	if (!PAGE_ALIGNED(change->start | change->size | change->va) || !change->size ||
	    change->size > ULONG_MAX - change->start ||
	    (add && (change->va > task_size || change->size > task_size - change->va))) {
		drm_dbg(instance->drm, "%s: mirror change [0x%llx, size 0x%llx) at 0x%lx: not aligned, empty or too large\n",
			instance->name, change->start, change->size, change->va);
		return false;
	}
	return true;
}

static unsigned long gpusvm_mgr_change_last(const struct drm_gpusvm_mirror_change *change)
{
	return change->start + change->size - 1;
}

/* Will anything be seen of a span, when the first of some changes are made? */
static bool gpusvm_mgr_mirror_will_see(struct gpusvm_mgr_mirror *mirror,
				       const struct drm_gpusvm_mirror_change *changes,
				       unsigned int done, unsigned long addr,
				       unsigned long last)
{
	for (;;) {
		unsigned long until = last;
		unsigned int i;

		/* The latest one decides, up to where a later one begins. */
		for (i = done; i; i--) {
			const struct drm_gpusvm_mirror_change *change = &changes[i - 1];

			if (change->start > addr) {
				until = min_t(unsigned long, until, change->start - 1);
			} else if (gpusvm_mgr_change_last(change) >= addr) {
				until = min(until, gpusvm_mgr_change_last(change));
				break;
			}
		}
		if (i ? changes[i - 1].flags & DRM_GPUSVM_MIRROR_ADD :
			!!gpusvm_mgr_mirror_next_gpu(mirror, NULL, addr, until))
			return true;
		if (until == last)
			return false;
		addr = until + 1;
	}
}

static int gpusvm_mgr_mirror_check(struct gpusvm_mgr_mirror *mirror,
				   const struct drm_gpusvm_mirror_change *changes,
				   unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (changes[i].flags & DRM_GPUSVM_MIRROR_ADD &&
		    gpusvm_mgr_mirror_will_see(mirror, changes, i, changes[i].start,
					       gpusvm_mgr_change_last(&changes[i])))
			return -EEXIST;
	return 0;
}

/* What changes of a mirror map have done. */
struct gpusvm_mgr_mirror_zap {
	/* Addresses of the process that are seen in another way now. */
	unsigned long first;
	unsigned long last;
	/* The flush to wait for. */
	u64 generation;
};

static void gpusvm_mgr_mirror_zap(struct drm_gpusvm_instance *instance, unsigned long first,
				  unsigned long last, struct gpusvm_mgr_mirror_zap *zap)
{
	zap->generation = gpusvm_mgr_mapping_zap_span(instance, first, last);
	zap->first = min(zap->first, first);
	zap->last = max(zap->last, last);
}

/*
 * Makes one change. What is mapped there goes first, and as a whole: by the map as
 * it was, by which it was mapped. Where something is added it lacks PTEs.
 */
static void gpusvm_mgr_mirror_make(struct drm_gpusvm_instance *instance,
				   const struct drm_gpusvm_mirror_change *change,
				   struct gpusvm_mgr_mirror_spares *spares,
				   struct gpusvm_mgr_mirror_zap *zap)
{
	unsigned long start = change->start, last = gpusvm_mgr_change_last(change);
	struct gpusvm_mgr_mirror_span *span = NULL;

	lockdep_assert_held_write(&instance->svm.notifier_lock);

	if (change->flags & DRM_GPUSVM_MIRROR_ADD) {
		gpusvm_mgr_mirror_zap(instance, change->va, change->va + change->size - 1, zap);
		/* It was looked at before. */
		WARN_ON_ONCE(gpusvm_mgr_mirror_add(instance->mirror, start, change->size,
						   change->va,
						   change->flags & DRM_GPUSVM_MIRROR_READ_ONLY,
						   spares));
		WRITE_ONCE(instance->stale, true);
		return;
	}

	while ((span = gpusvm_mgr_mirror_next_gpu(instance->mirror, span, start, last))) {
		unsigned long offset = span->cpu.start - span->gpu.start;

		gpusvm_mgr_mirror_zap(instance, max(span->gpu.start, start) + offset,
				      min(span->gpu.last, last) + offset, zap);
	}
	gpusvm_mgr_mirror_remove(instance->mirror, start, last, spares);
}

/**
 * drm_gpusvm_instance_change_mirror() - Change what a device sees of its process
 * @instance: The instance, attached. No detach is under way.
 * @changes: What is added and what is taken out, in this order.
 * @count: Number of changes, not 0.
 *
 * All of them, or none. When the call returns no PTE and no TLB entry of the
 * library's is left of what was taken out, and none will come; faults there get
 * -ENOENT. Where nothing is seen, taking it out changes nothing. What is added need
 * not be memory. May sleep; waits for flushes, and for jobs that do not fault. The
 * caller holds no lock that is taken in a callback.
 *
 * Return: 0; -EINVAL: an unknown flag, or a span that is not aligned, empty, or beyond
 * the end of what there is; -EEXIST: something is seen already where something is to
 * be added; -ENOMEM. Nothing was changed then.
 */
int drm_gpusvm_instance_change_mirror(struct drm_gpusvm_instance *instance,
				      const struct drm_gpusvm_mirror_change *changes,
				      unsigned int count)
{
	struct gpusvm_mgr_mirror_zap zap = { .first = ULONG_MAX };
	struct gpusvm_mgr_mirror_spares spares;
	unsigned int i;
	int err, idx;

	might_sleep();

	for (i = 0; i < count; i++)
		if (!gpusvm_mgr_mirror_valid(instance, &changes[i]))
			return -EINVAL;

	err = gpusvm_mgr_mirror_spares_init(&spares, count);
	if (err)
		goto free_spares;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	gpusvm_mgr_fenced_pause(instance);
	down_write(&instance->svm.notifier_lock);
	err = gpusvm_mgr_mirror_check(instance->mirror, changes, count);
	if (!err) {
		for (i = 0; i < count; i++)
			gpusvm_mgr_mirror_make(instance, &changes[i], &spares, &zap);
		if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_GENERATION))
			WRITE_ONCE(instance->generation, instance->generation + 1);
	}
	up_write(&instance->svm.notifier_lock);
	gpusvm_mgr_fenced_resume(instance);
	if (zap.first <= zap.last) {
		gpusvm_mgr_flush_wait(instance, zap.generation);
		gpusvm_mgr_mapping_tidy(instance, zap.first, zap.last);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

free_spares:
	gpusvm_mgr_mirror_spares_fini(&spares);
	return err;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_change_mirror);

/**
 * drm_gpusvm_instance_mirror() - Have a span of the process seen by the device
 * @instance: The instance, see drm_gpusvm_instance_change_mirror().
 * @start: First address of the device, aligned to PAGE_SIZE.
 * @size: Bytes, likewise.
 * @va: First address of the process, likewise.
 *
 * Return: as drm_gpusvm_instance_change_mirror().
 */
int drm_gpusvm_instance_mirror(struct drm_gpusvm_instance *instance,
			       u64 start, u64 size, unsigned long va)
{
	const struct drm_gpusvm_mirror_change change = {
		.start = start,
		.size = size,
		.va = va,
		.flags = DRM_GPUSVM_MIRROR_ADD,
	};

	return drm_gpusvm_instance_change_mirror(instance, &change, 1);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_mirror);

/**
 * drm_gpusvm_instance_unmirror() - Have a span not seen by the device any more
 * @instance: The instance, see drm_gpusvm_instance_change_mirror().
 * @start: First address of the device, aligned to PAGE_SIZE.
 * @size: Bytes, likewise.
 *
 * Return: as drm_gpusvm_instance_change_mirror().
 */
int drm_gpusvm_instance_unmirror(struct drm_gpusvm_instance *instance,
				 u64 start, u64 size)
{
	const struct drm_gpusvm_mirror_change change = { .start = start, .size = size };

	return drm_gpusvm_instance_change_mirror(instance, &change, 1);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_unmirror);

/**
 * drm_gpusvm_instance_sees() - Is anything of the process seen in a span?
 * @instance: The instance, attached.
 * @start: First address of the device.
 * @size: Bytes, not 0.
 *
 * For drivers that keep it from changing meanwhile.
 *
 * Return: true where it is, in a part of the span at least.
 */
bool drm_gpusvm_instance_sees(struct drm_gpusvm_instance *instance, u64 start, u64 size)
{
	bool seen;

	drm_gpusvm_notifier_lock(&instance->svm);
	seen = gpusvm_mgr_mirror_next_gpu(instance->mirror, NULL, start, start + size - 1);
	drm_gpusvm_notifier_unlock(&instance->svm);
	return seen;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_sees);

/**
 * drm_gpusvm_instance_check_current() - Does the VM belong to the caller?
 * @instance: The instance, attached.
 *
 * For a driver's ioctls: a file that was passed to another process, or
 * inherited over fork, gives no access to this one's memory.
 *
 * Return: 0, or -EPERM.
 */
int drm_gpusvm_instance_check_current(const struct drm_gpusvm_instance *instance)
{
	return current->mm == instance->mgr->mm ? 0 : -EPERM;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_check_current);

/**
 * drm_gpusvm_instance_exiting() - Has the process given its memory up?
 * @instance: The instance, attached.
 *
 * Return: true from the process's exit (or exec) on. Faults fail then.
 */
bool drm_gpusvm_instance_exiting(const struct drm_gpusvm_instance *instance)
{
	return READ_ONCE(instance->mgr->exiting);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_exiting);

/**
 * drm_gpusvm_instance_flush_done() - A TLB flush has completed
 * @instance: The instance.
 * @generation: As it was given to &drm_gpusvm_instance_ops.flush. Those before
 *	it have completed, too.
 *
 * No access through an entry that the flush covers is possible any more. Any
 * context.
 */
void drm_gpusvm_instance_flush_done(struct drm_gpusvm_instance *instance,
				    u64 generation)
{
	s64 done;
	int idx;

	/* A waiter that looks now may go on to detach, and free the instance. */
	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	trace_gpusvm_mgr_flush_done(instance, generation);
	done = atomic64_read(&instance->flush_done);
	while (done < (s64)generation)
		if (atomic64_try_cmpxchg(&instance->flush_done, &done, generation))
			break;

	/* The cmpxchg is the barrier between the store and the look for waiters. */
	wake_up_all(&instance->flush_wait);
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_flush_done);
