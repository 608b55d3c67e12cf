// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What is seen of the process's memory, changed by DRM_VSVM_VM_BIND: spans of a VM
 * with mirrors that are taken out, or seen somewhere else, and user pointers of a VM
 * without.
 *
 * Both are a mirror map of the SVM manager: that of a VM with mirrors begins with all
 * of the process, that of a VM without has nothing but its user pointers, and is of an
 * instance that is attached with the first of them. Both need the library, which
 * allocates, waits for page faults and flushes, and so has no place on the path to a
 * fence. Hence binds that have to do with it are not queued: the call waits for the
 * syncobjs and for the binds that are queued, and performs it.
 *
 * A VM with mirrors has jobs at work meanwhile, which fault:
 *
 *	bind					job, its fault
 *	----					--------------
 *	bind lock, reservation objects
 *	clears PTEs of what is bound there,
 *	flushes
 *						accesses: fault
 *						library: nothing is seen there
 *						bind lock: waits
 *	library: takes spans out, flushes,
 *	adds others
 *	changes the tree
 *	writes PTEs of what is bound now
 *	changes + 1
 *	unlocks
 *						is bound: has a PTE; or neither that
 *						nor was "changes" what it was before
 *						the library was asked: once more
 *
 * At no time do library and bindings both have PTEs at an address: each time those of
 * one are gone, from the TLB, too, before the other one writes any. An access finds the
 * old or the new; that it finds neither, in between, is never the end of a job.
 *
 * A VM without mirrors has jobs that do not fault, and stand behind fences. So what
 * user pointers need is mapped before a job is submitted, and the library waits for
 * these jobs before it takes anything away; see DOC: Jobs that do not fault, of the
 * library. The locks, outermost first:
 *
 *	submit lock	from the mapping to the end of the submission, and while user
 *			pointers are bound or unbound. Page faults are served under it,
 *			for ever maybe: it is taken interruptibly, and by nobody who
 *			tears something down
 *	bind lock, reservation objects, room for the fence
 *	instance lock	for read, from the last look at what is mapped to where the
 *			fence can be found by vsvm_userptr_quiesce(). Nothing is
 *			allocated, and a stale look means: all again
 *
 * An invalidation waits for the last job of each queue: these are in order. A job in
 * turn may wait for other fences, but no fence waits for an invalidation.
 */

#include <linux/dma-resv.h>
#include <linux/jiffies.h>
#include <linux/slab.h>

#include <drm/drm_exec.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/* Times that user pointers are mapped for one job, at least, and how long. */
#define VSVM_USERPTR_LOOKS	32
#define VSVM_USERPTR_TIME	HZ

/* ---------------------------------------------------------------- user pointers */

/* Has the VM any? Both locks are held to write it, either to read it. */
static bool vsvm_userptr_attached(struct vsvm_vm *vm)
{
	/* Pairs with vsvm_userptr_attach(): the instance is complete. */
	return smp_load_acquire(&vm->bind.userptr);
}

/* The first user pointer. The submit lock is held, the bind lock is not. */
static int vsvm_userptr_attach(struct vsvm_vm *vm)
{
	struct drm_gpusvm_instance_params params = {
		.drm = &vm->dev->drm,
		.ops = &vsvm_svm_instance_ops,
		.name = "vsvm-userptr",
		.flags = DRM_GPUSVM_INSTANCE_EMPTY | DRM_GPUSVM_INSTANCE_FENCED,
	};
	struct vsvm_vm_bind *vmb = &vm->bind;
	int ret;

	lockdep_assert_held(&vmb->submit_lock);

	if (vmb->userptr)
		return 0;
	ret = drm_gpusvm_instance_attach(&vm->instance, &params);
	if (ret)
		return ret;

	/* Either the teardown finds it, or it was here before. */
	mutex_lock(&vmb->lock);
	ret = READ_ONCE(vm->dead);
	if (!ret) {
		/* Pairs with vsvm_userptr_attached(). */
		smp_store_release(&vmb->userptr, true);
	}
	mutex_unlock(&vmb->lock);
	if (ret) {
		drm_gpusvm_instance_detach(&vm->instance);
		vsvm_flush_drain(vm);
	}
	return ret;
}

/**
 * vsvm_userptr_kill() - Take what user pointers have mapped away, for good
 * @vm: The VM: dead, its jobs have ended.
 */
void vsvm_userptr_kill(struct vsvm_vm *vm)
{
	bool attached;

	mutex_lock(&vm->bind.lock);
	attached = vm->bind.userptr;
	mutex_unlock(&vm->bind.lock);
	if (attached)
		drm_gpusvm_instance_kill(&vm->instance);
}

/**
 * vsvm_userptr_detach() - Forget the user pointers
 * @vm: The VM: dead, no call is under way.
 */
void vsvm_userptr_detach(struct vsvm_vm *vm)
{
	if (vsvm_userptr_attached(vm))
		drm_gpusvm_instance_detach(&vm->instance);
}

/**
 * vsvm_userptr_flush_done() - A flush that the library asked for is complete
 * @vm: The VM.
 * @generation: Its number.
 */
void vsvm_userptr_flush_done(struct vsvm_vm *vm, u64 generation)
{
	drm_gpusvm_instance_flush_done(&vm->instance, generation);
}

/**
 * vsvm_userptr_read_stats() - Fill in the counters of the library
 * @vm: The VM, attached.
 * @data: Out: the counters.
 */
void vsvm_userptr_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data)
{
	if (vsvm_userptr_attached(vm))
		vsvm_svm_read_stats(vm, data);
}

/**
 * vsvm_userptr_quiesce() - Wait for the jobs of a VM
 * @instance: The VM's.
 *
 * See &drm_gpusvm_instance_ops.quiesce.
 */
void vsvm_userptr_quiesce(struct drm_gpusvm_instance *instance)
{
	struct vsvm_vm_bind *vmb = &to_vm(instance)->bind;
	struct dma_fence *fence;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(vmb->last_exec); i++) {
		spin_lock(&vmb->queue_lock);
		fence = dma_fence_get(vmb->last_exec[i]);
		spin_unlock(&vmb->queue_lock);
		if (!fence)
			continue;
		dma_fence_wait(fence, false);
		dma_fence_put(fence);
	}
}

/**
 * vsvm_userptr_add_job() - A job is being submitted
 * @vm: The VM.
 * @queue: The job's queue.
 * @fence: The job's fence.
 *
 * From here on invalidations wait for it. Allocates nothing.
 */
void vsvm_userptr_add_job(struct vsvm_vm *vm, unsigned int queue, struct dma_fence *fence)
{
	struct vsvm_vm_bind *vmb = &vm->bind;
	struct dma_fence *old;

	spin_lock(&vmb->queue_lock);
	old = vmb->last_exec[queue];
	vmb->last_exec[queue] = dma_fence_get(fence);
	spin_unlock(&vmb->queue_lock);
	dma_fence_put(old);
}

/**
 * vsvm_userptr_prepare() - Map all user pointers of a VM
 * @vm: The VM, with vsvm_vm_begin(). Its submit lock is held, and no other.
 *
 * Return: 0, or as drm_gpusvm_instance_submit_prepare().
 */
int vsvm_userptr_prepare(struct vsvm_vm *vm)
{
	lockdep_assert_held(&vm->bind.submit_lock);
	lockdep_assert_not_held(&vm->bind.lock);

	if (!vsvm_userptr_attached(vm))
		return 0;
	return drm_gpusvm_instance_submit_prepare(&vm->instance);
}

/**
 * vsvm_userptr_begin() - Are all user pointers mapped?
 * @vm: The VM. Submit lock and bind lock are held.
 *
 * If so nothing is taken away until vsvm_userptr_end(), and until the job has ended
 * that is told to vsvm_userptr_add_job() by then. Nothing is allocated meanwhile.
 *
 * Return: 0; -EAGAIN: not any more; or the errno with which the VM died.
 */
int vsvm_userptr_begin(struct vsvm_vm *vm)
{
	lockdep_assert_held(&vm->bind.submit_lock);

	if (!vsvm_userptr_attached(vm))
		return 0;
	return drm_gpusvm_instance_submit_begin(&vm->instance);
}

/**
 * vsvm_userptr_end() - End what vsvm_userptr_begin() began
 * @vm: The VM.
 */
void vsvm_userptr_end(struct vsvm_vm *vm)
{
	if (vsvm_userptr_attached(vm))
		drm_gpusvm_instance_submit_end(&vm->instance);
}

/**
 * vsvm_userptr_tries_begin() - Begin to count
 * @tries: The attempts at a submission.
 */
void vsvm_userptr_tries_begin(struct vsvm_userptr_tries *tries)
{
	tries->looks = 0;
	tries->deadline = jiffies + VSVM_USERPTR_TIME;
}

/**
 * vsvm_userptr_try_again() - Is another attempt worth while?
 * @tries: The attempts at a submission.
 *
 * Return: false where it was invalidated again and again.
 */
bool vsvm_userptr_try_again(struct vsvm_userptr_tries *tries)
{
	return ++tries->looks < VSVM_USERPTR_LOOKS || time_before(jiffies, tries->deadline);
}

/* ------------------------------------------------- binds that are not queued */

/**
 * vsvm_bind_is_now() - Has a bind to be performed in the call?
 * @bind: The bind. The bind lock of its VM is held where this has no mirrors.
 *
 * Return: true where what the process has is seen in another way afterwards, or may be.
 */
bool vsvm_bind_is_now(struct vsvm_bind *bind)
{
	struct vsvm_vm *vm = bind->vm;
	u32 i;

	if (!vsvm_vm_bound_only(vm))
		return true;

	lockdep_assert_held(&vm->bind.lock);
	for (i = 0; i < bind->num_ops; i++) {
		struct vsvm_bind_op *op = &bind->ops[i];

		if (op->type == DRM_VSVM_BIND_USERPTR)
			return true;
		if (vm->bind.userptr &&
		    drm_gpusvm_instance_sees(&vm->instance, op->addr, op->range))
			return true;
	}
	return false;
}

/* What the library has to do for a bind: two changes for an operation, at most. */
static unsigned int vsvm_bind_changes(struct vsvm_bind *bind,
				      struct drm_gpusvm_mirror_change *changes)
{
	bool bound_only = vsvm_vm_bound_only(bind->vm);
	unsigned int count = 0;
	u32 i;

	for (i = 0; i < bind->num_ops; i++) {
		struct vsvm_bind_op *op = &bind->ops[i];
		bool add = op->type == DRM_VSVM_BIND_MIRROR || op->type == DRM_VSVM_BIND_USERPTR;
		bool remove = op->type != DRM_VSVM_BIND_MIRROR;

		/* What is mirrored stays there; a user pointer is bound. */
		if (op->type == DRM_VSVM_BIND_UNMAP && !bound_only)
			remove = false;
		if (remove)
			changes[count++] = (struct drm_gpusvm_mirror_change) {
				.start = op->addr,
				.size = op->range,
			};
		if (add)
			changes[count++] = (struct drm_gpusvm_mirror_change) {
				.start = op->addr,
				.size = op->range,
				.va = op->offset,
				.flags = DRM_GPUSVM_MIRROR_ADD |
					 (op->write ? 0 : DRM_GPUSVM_MIRROR_READ_ONLY),
			};
	}
	return count;
}

/*
 * Lets the bind take effect: the VM is locked, all is allocated but what the library
 * needs. Where that fails nothing has changed; PTEs of bindings that are missing then
 * come back with the next fault.
 */
static int vsvm_bind_take_effect(struct vsvm_bind *bind,
				 const struct drm_gpusvm_mirror_change *changes,
				 unsigned int count)
{
	struct vsvm_vm *vm = bind->vm;
	bool bound_only = vsvm_vm_bound_only(vm);
	int ret = 0;
	u32 i;

	for (i = 0; i < bind->num_ops && !bound_only; i++)
		if (bind->ops[i].type != DRM_VSVM_BIND_UNMIRROR)
			vsvm_va_zap_span(vm, bind->ops[i].addr, bind->ops[i].range);
	/* Where jobs do not fault, this waits for those of the VM. */
	if (count)
		ret = drm_gpusvm_instance_change_mirror(&vm->instance, changes, count);
	if (ret)
		return ret;

	vsvm_bind_change_tree(bind);
	if (bound_only) {
		vsvm_bind_perform(bind);
	} else {
		for (i = 0; i < bind->num_ops; i++)
			if (bind->ops[i].type == DRM_VSVM_BIND_MAP)
				vsvm_va_map_span(vm, bind->ops[i].addr, bind->ops[i].range);
		atomic64_inc(&vm->bind.changes);
	}
	return 0;
}

/* The bind lock is held, and no bind is queued. */
static int vsvm_bind_locked(struct vsvm_bind *bind, struct vsvm_syncs *syncs,
			    const struct drm_gpusvm_mirror_change *changes, unsigned int count)
{
	struct vsvm_vm *vm = bind->vm;
	struct vsvm_vm_bind *vmb = &vm->bind;
	struct drm_exec exec;
	int ret;

	ret = READ_ONCE(vm->dead);
	if (ret)
		return ret;

	ret = vsvm_binds_begin(&bind, 1, &exec);
	if (ret)
		return ret;
	ret = vsvm_bind_take_effect(bind, changes, count);
	if (ret) {
		vsvm_bind_unprepare(bind);
		goto fini;
	}

	vsvm_fence_init(bind->fence, vm->dev, "bind", vmb->context, ++vmb->seqno);
	bind->initialized = true;
	dma_fence_signal(&bind->fence->base);
	vsvm_syncs_publish(syncs, &bind->fence->base);
fini:
	drm_exec_fini(&exec);
	return ret;
}

/* Takes the bind lock when no bind is queued. */
static int vsvm_bind_lock_idle(struct vsvm_vm *vm)
{
	struct vsvm_vm_bind *vmb = &vm->bind;

	/* Ends: each of them waits for fences only. More come with the lock only. */
	for (;;) {
		if (wait_event_interruptible(vmb->idle, !READ_ONCE(vmb->pending)))
			return -EINTR;
		if (mutex_lock_interruptible(&vmb->lock))
			return -EINTR;
		if (!READ_ONCE(vmb->pending))
			return 0;
		mutex_unlock(&vmb->lock);
	}
}

/**
 * vsvm_bind_now() - Perform a bind in the call
 * @bind: The bind. No lock is held.
 * @syncs: The syncobjs that it completes.
 *
 * When this returns it has taken effect, or nothing was changed. It belongs to the
 * caller in any case.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_vm_bind.
 */
int vsvm_bind_now(struct vsvm_bind *bind, struct vsvm_syncs *syncs)
{
	struct drm_gpusvm_mirror_change *changes;
	struct vsvm_vm *vm = bind->vm;
	unsigned int count;
	int ret;

	changes = kvcalloc(bind->num_ops, 2 * sizeof(*changes), GFP_KERNEL);
	if (!changes)
		return -ENOMEM;
	count = vsvm_bind_changes(bind, changes);

	ret = vsvm_deps_wait(&bind->deps);
	if (!ret)
		ret = vsvm_vm_begin(vm);
	if (ret)
		goto free;
	if (mutex_lock_interruptible(&vm->bind.submit_lock)) {
		ret = -EINTR;
		goto end;
	}
	if (vsvm_vm_bound_only(vm))
		ret = vsvm_userptr_attach(vm);
	if (!ret)
		ret = vsvm_bind_lock_idle(vm);
	if (!ret) {
		ret = vsvm_bind_locked(bind, syncs, changes, count);
		mutex_unlock(&vm->bind.lock);
	}
	mutex_unlock(&vm->bind.submit_lock);
end:
	vsvm_vm_end(vm);
free:
	kvfree(changes);
	return ret;
}

/* -------------------------------------------------------- faults on what is bound */

/**
 * vsvm_bind_fault() - Serve a fault where the library sees nothing of the process
 * @vm: The VM, with mirrors.
 * @addr: The page.
 * @write: It has to be writable.
 * @changes: &vsvm_vm_bind.changes from before the library was asked.
 *
 * The object is mapped where it is: it and the CPU could take it from each other for
 * ever.
 *
 * Return: 0: the access is to be tried again; -EFAULT: nothing is bound; -EPERM: it is
 * read-only; or as vsvm_bo_populate().
 */
int vsvm_bind_fault(struct vsvm_vm *vm, u64 addr, bool write, u64 changes)
{
	struct vsvm_vm_bind *vmb = &vm->bind;
	struct drm_gpuva *base;
	int ret;

	mutex_lock(&vmb->lock);
	base = vmb->dead ? NULL : drm_gpuva_find_first(&vmb->gpuvm, addr, PAGE_SIZE);
	if (!base) {
		ret = atomic64_read(&vmb->changes) == changes ? -EFAULT : 0;
	} else if (write && !to_vsvm_va(base)->write) {
		ret = -EPERM;
	} else {
		struct drm_gem_object *obj = base->gem.obj;

		dma_resv_lock(obj->resv, NULL);
		ret = vsvm_va_revive(base->vm_bo, false);
		dma_resv_unlock(obj->resv);
	}
	mutex_unlock(&vmb->lock);
	return ret;
}
