// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Bindings: which part of which object is at which addresses of a VM, and the
 * PTEs for it. How they come and go is in vsvm_bind.c.
 *
 * Who writes the PTEs of a binding:
 *
 * - the bind that makes it, cuts it or takes it away, on the VM's queue;
 * - who moves the object, and takes them away;
 * - who validates it afterwards, because a job or a fault needs it: writes them
 *   again;
 * - the teardown of the VM.
 *
 * They exclude each other. All but the bind hold the object's reservation object
 * and wait for its fences first, or find &vsvm_va.ptes unset, which only a move
 * does. A bind has its fence in the reservation objects of all objects that it
 * touches, from before it is queued until it was performed:
 *
 *	bind				move
 *	----				----
 *	locks the reservation object
 *	tree changed, fence added
 *	unlocks
 *					locks
 *					waits for the fence
 *	writes PTEs
 *	signals
 *					clears PTEs, flushes
 *					unmaps the addresses
 *
 * A binding's PTEs carry a cookie, like those of a range of the SVM manager; it is
 * retired when its PTEs were zapped and flushed. A binding that is cut is replaced
 * by one or two new ones with cookies of their own, so that what was cut out is
 * policed, too; the PTEs that stay are never away meanwhile.
 */

#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/iommu-dma.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swiotlb.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

/**
 * vsvm_va_alloc() - Make a binding that is not one yet
 * @vm: The VM.
 *
 * Return: the binding, NULL where there is no memory.
 */
struct vsvm_va *vsvm_va_alloc(struct vsvm_vm *vm)
{
	struct vsvm_va *va = kzalloc_obj(*va);

	if (!va)
		return NULL;
	INIT_LIST_HEAD(&va->link);
	va->police = vsvm_police_slot_get(&vm->police);
	if (!va->police) {
		kfree(va);
		return NULL;
	}
	return va;
}

/**
 * vsvm_va_free() - Free a binding
 * @vm: The VM.
 * @va: The binding, NULL is fine. It is in no tree and has no PTE. Its object may
 *	go with it, so that the caller must hold no reservation object.
 */
void vsvm_va_free(struct vsvm_vm *vm, struct vsvm_va *va)
{
	if (!va)
		return;
	vsvm_police_slot_put(&vm->police, va->police);
	if (va->base.gem.obj)
		drm_gem_object_put(va->base.gem.obj);
	kfree(va);
}

static u64 vsvm_va_end_addr(const struct vsvm_va *va)
{
	return va->base.va.addr + va->base.va.range;
}

/**
 * vsvm_va_map() - Write the PTEs of a binding
 * @vm: The VM.
 * @va: The binding, without PTEs. The tables are there; its object has addresses.
 *
 * Neither fails nor allocates.
 */
void vsvm_va_map(struct vsvm_vm *vm, struct vsvm_va *va)
{
	struct vsvm_bo *bo = to_vsvm_bo(va->base.gem.obj);
	u64 first = va->base.gem.offset, end = first + va->base.va.range;
	unsigned int i, count = 0;
	u64 cookie;

	/* The last one was never said to be gone. */
	if (va->police->live)
		vsvm_police_report(vm, VSVM_VIOLATION_MAP, va->base.va.addr,
				   va->police->live, false);

	cookie = vsvm_police_begin(va->police);
	for (i = 0; i < bo->num_runs; i++) {
		const struct vsvm_bo_run *run = &bo->runs[i];
		u64 from = max(run->offset, first);
		u64 to = min(run->offset + run->size, end);
		u64 addr = va->base.va.addr + (from - first);

		if (from >= to)
			continue;
		if (vsvm_pt_map(&vm->pt, addr, to - from, run->addr + (from - run->offset),
				va->write ? VSVM_PT_WRITE | VSVM_PT_ATOMIC : 0, cookie))
			vsvm_police_report(vm, VSVM_VIOLATION_MAP, addr, cookie, false);
		count++;
	}
	trace_vsvm_pte_map(vm, va->base.va.addr, vsvm_va_end_addr(va), count, cookie);
}

static void vsvm_va_keep(struct vsvm_vm *vm, struct vsvm_va *kept)
{
	vsvm_pt_set_cookie(&vm->pt, kept->base.va.addr, vsvm_va_end_addr(kept),
			   vsvm_police_begin(kept->police));
}

/**
 * vsvm_va_cut() - Clear PTEs of a binding that was taken out of the tree
 * @vm: The VM.
 * @va: The binding, with PTEs.
 * @start: First address of what goes.
 * @end: Its end address, exclusive.
 *
 * What is kept of it gets the cookies of the bindings that have it now. A flush
 * of all of the old binding has to follow, then vsvm_va_retire(). Neither fails
 * nor allocates.
 */
void vsvm_va_cut(struct vsvm_vm *vm, struct vsvm_va *va, u64 start, u64 end)
{
	unsigned int count;

	if (va->prev) {
		vsvm_pt_split(&vm->pt, start);
		vsvm_va_keep(vm, va->prev);
	}
	if (va->next) {
		vsvm_pt_split(&vm->pt, end);
		vsvm_va_keep(vm, va->next);
	}
	count = vsvm_pt_zap(&vm->pt, start, end);
	trace_vsvm_pte_zap(vm, start, end, count, va->police->live);
}

/**
 * vsvm_va_retire() - A binding's PTEs are gone
 * @vm: The VM.
 * @va: The binding. The flush is complete.
 */
void vsvm_va_retire(struct vsvm_vm *vm, struct vsvm_va *va)
{
	vsvm_police_retire(vm, va->police, va->base.va.addr, vsvm_va_end_addr(va));
}

/* Clears all PTEs of a binding and starts the flush. */
static void vsvm_va_zap(struct vsvm_vm *vm, struct vsvm_va *va)
{
	unsigned int count;

	if (!va->ptes)
		return;
	va->ptes = false;
	va->zapped = true;
	count = vsvm_pt_zap(&vm->pt, va->base.va.addr, vsvm_va_end_addr(va));
	trace_vsvm_pte_zap(vm, va->base.va.addr, vsvm_va_end_addr(va), count,
			   va->police->live);
	va->flush = vsvm_flush_bind(vm, va->base.va.addr, vsvm_va_end_addr(va));
}

/* Waits for what vsvm_va_zap() has started. */
static void vsvm_va_zap_end(struct vsvm_vm *vm, struct vsvm_va *va)
{
	if (!va->zapped)
		return;
	va->zapped = false;
	vsvm_flush_bind_wait(vm, va->flush);
	vsvm_va_retire(vm, va);
}

/**
 * vsvm_va_zap_span() - Take the PTEs of all bindings in a span away
 * @vm: The VM. All objects that are bound there are locked.
 * @addr: First address.
 * @range: Bytes.
 *
 * Also those of bindings that are in it only in part, and of all of these. When this
 * returns the device does not reach any of it. The bindings stay.
 */
void vsvm_va_zap_span(struct vsvm_vm *vm, u64 addr, u64 range)
{
	struct drm_gpuvm *gpuvm = &vm->bind.gpuvm;
	struct drm_gpuva *va;

	lockdep_assert_held(&vm->bind.lock);

	drm_gpuvm_for_each_va_range(va, gpuvm, addr, addr + range)
		vsvm_va_zap(vm, to_vsvm_va(va));
	drm_gpuvm_for_each_va_range(va, gpuvm, addr, addr + range)
		vsvm_va_zap_end(vm, to_vsvm_va(va));
}

/**
 * vsvm_va_map_span() - Give all bindings in a span PTEs
 * @vm: The VM. All objects that are bound there are locked and have addresses.
 * @addr: First address.
 * @range: Bytes.
 */
void vsvm_va_map_span(struct vsvm_vm *vm, u64 addr, u64 range)
{
	struct drm_gpuva *va;

	lockdep_assert_held(&vm->bind.lock);

	drm_gpuvm_for_each_va_range(va, &vm->bind.gpuvm, addr, addr + range) {
		if (to_vsvm_va(va)->ptes)
			continue;
		vsvm_va_map(vm, to_vsvm_va(va));
		to_vsvm_va(va)->ptes = true;
	}
}

/**
 * vsvm_bind_zap_object() - Take an object's PTEs away, on all VMs
 * @obj: The object. Its reservation object is locked, and all fences in there have
 *	signalled.
 *
 * When this returns no device reaches it any more. The flushes of all VMs are
 * started before the first one is waited for. Its bindings stay.
 */
void vsvm_bind_zap_object(struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;
	struct drm_gpuva *va;

	dma_resv_assert_held(obj->resv);

	drm_gem_for_each_gpuvm_bo(vm_bo, obj) {
		drm_gpuvm_bo_for_each_va(va, vm_bo)
			vsvm_va_zap(gpuvm_to_vm(vm_bo->vm), to_vsvm_va(va));
		drm_gpuvm_bo_evict(vm_bo, true);
	}
	drm_gem_for_each_gpuvm_bo(vm_bo, obj)
		drm_gpuvm_bo_for_each_va(va, vm_bo)
			vsvm_va_zap_end(gpuvm_to_vm(vm_bo->vm), to_vsvm_va(va));
}

/**
 * vsvm_va_revive() - Give all bindings of an object on a VM PTEs again
 * @vm_bo: Object and VM. The object is locked.
 * @move: Also move it to where it should be.
 *
 * Return: 0, or as vsvm_bo_populate().
 */
int vsvm_va_revive(struct drm_gpuvm_bo *vm_bo, bool move)
{
	struct vsvm_vm *vm = gpuvm_to_vm(vm_bo->vm);
	struct drm_gpuva *va;
	int ret;

	ret = vsvm_bo_populate(to_vsvm_bo(vm_bo->obj), move);
	if (ret)
		return ret;
	drm_gpuvm_bo_for_each_va(va, vm_bo) {
		if (to_vsvm_va(va)->ptes)
			continue;
		vsvm_va_map(vm, to_vsvm_va(va));
		to_vsvm_va(va)->ptes = true;
		atomic64_inc(&vm->stats.rebinds);
	}
	drm_gpuvm_bo_evict(vm_bo, false);
	return 0;
}

static int vsvm_va_validate(struct drm_gpuvm_bo *vm_bo, struct drm_exec *exec)
{
	return vsvm_va_revive(vm_bo, true);
}

/**
 * vsvm_bind_exec_lock() - Get a VM ready for a job that stands behind a fence
 * @vm: The VM. Its bind lock is held.
 * @exec: Initialized; all that is bound is locked afterwards, with room for a
 *	fence.
 *
 * Whatever is bound can be reached when this returns, and until the fence that is
 * then added signals.
 *
 * Return: 0, -EINTR, -ENOMEM, or what an exporter says. Locks are given up by
 * drm_exec_fini() in any case.
 */
int vsvm_bind_exec_lock(struct vsvm_vm *vm, struct drm_exec *exec)
{
	struct drm_gpuvm *gpuvm = &vm->bind.gpuvm;
	int ret;

	lockdep_assert_held(&vm->bind.lock);

	drm_exec_until_all_locked(exec) {
		ret = drm_gpuvm_prepare_vm(gpuvm, exec, 1);
		drm_exec_retry_on_contention(exec);
		if (ret)
			return ret;
		ret = drm_gpuvm_prepare_objects(gpuvm, exec, 1);
		drm_exec_retry_on_contention(exec);
		if (ret)
			return ret;
	}
	return drm_gpuvm_validate(gpuvm, exec);
}

/**
 * vsvm_bind_access_error() - Why does a VM without mirrors not translate?
 * @vm: The VM.
 * @va: The address.
 * @write: The access is a write.
 *
 * Takes no lock.
 *
 * Return: -EFAULT: nothing is bound; -EPERM: it is read-only; -EAGAIN: it has come
 * meanwhile.
 */
int vsvm_bind_access_error(struct vsvm_vm *vm, u64 va, bool write)
{
	struct vsvm_translation t;

	if (!vsvm_pt_walk(&vm->pt, va, &t))
		return -EFAULT;
	return write && !t.write ? -EPERM : -EAGAIN;
}

/* ----------------------------------------------------- the VM's part, its life */

static void vsvm_gpuvm_free(struct drm_gpuvm *gpuvm)
{
	/* Part of the VM. */
}

static const struct drm_gpuvm_ops vsvm_gpuvm_ops = {
	.vm_free = vsvm_gpuvm_free,
	.vm_bo_validate = vsvm_va_validate,
	.sm_step_map = vsvm_bind_step_map,
	.sm_step_remap = vsvm_bind_step_remap,
	.sm_step_unmap = vsvm_bind_step_unmap,
};

/**
 * vsvm_bind_vm_init() - Begin with nothing bound
 * @vm: The VM; its device and flags are set.
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_bind_vm_init(struct vsvm_vm *vm)
{
	struct vsvm_vm_bind *bind = &vm->bind;

	BUILD_BUG_ON(ARRAY_SIZE(bind->exec_seqno) != DRM_VSVM_MAX_QUEUES);

	bind->resv = vsvm_resv_get(&vm->dev->drm, vm->flags & DRM_VSVM_VM_SHARED_RESV);
	if (!bind->resv)
		return -ENOMEM;
	drm_gpuvm_init(&bind->gpuvm, "vsvm", 0, &vm->dev->drm, bind->resv, 0, vsvm_va_end(),
		       0, 0, &vsvm_gpuvm_ops);
	bind->context = dma_fence_context_alloc(1 + DRM_VSVM_MAX_QUEUES);
	bind->exec_context = bind->context + 1;
	mutex_init(&bind->submit_lock);
	mutex_init(&bind->lock);
	spin_lock_init(&bind->queue_lock);
	INIT_LIST_HEAD(&bind->queue);
	init_waitqueue_head(&bind->idle);
	INIT_WORK(&bind->work, vsvm_bind_work);
	return 0;
}

/**
 * vsvm_bind_vm_teardown() - Take all bindings of a VM away, for good
 * @vm: The VM: dead, no engine has it.
 *
 * Cannot fail.
 */
void vsvm_bind_vm_teardown(struct vsvm_vm *vm)
{
	struct vsvm_vm_bind *bind = &vm->bind;
	struct drm_gpuva *base, *next;
	struct vsvm_va *va;
	LIST_HEAD(gone);

	/* Binds that wait for others do not any more: nobody can tell. */
	mutex_lock(&bind->lock);
	spin_lock(&bind->queue_lock);
	bind->dead = true;
	spin_unlock(&bind->queue_lock);
	queue_work(vsvm_fence_wq, &bind->work);
	wait_event(bind->idle, !READ_ONCE(bind->pending));

	drm_gpuvm_for_each_va_safe(base, next, &bind->gpuvm) {
		struct drm_gem_object *obj = base->gem.obj;

		dma_resv_lock(obj->resv, NULL);
		vsvm_va_zap(vm, to_vsvm_va(base));
		drm_gpuva_remove(base);
		drm_gpuva_unlink(base);
		list_add_tail(&to_vsvm_va(base)->link, &gone);
		dma_resv_unlock(obj->resv);
	}
	mutex_unlock(&bind->lock);

	list_for_each_entry(va, &gone, link)
		vsvm_va_zap_end(vm, va);
	while (!list_empty(&gone)) {
		va = list_first_entry(&gone, struct vsvm_va, link);
		list_del(&va->link);
		vsvm_va_free(vm, va);
	}
}

/**
 * vsvm_bind_vm_fini() - Undo vsvm_bind_vm_init()
 * @vm: The VM: nothing is bound, its last reference is gone.
 */
void vsvm_bind_vm_fini(struct vsvm_vm *vm)
{
	struct vsvm_vm_bind *bind = &vm->bind;

	unsigned int i;

	/* It may be on its way out still. */
	cancel_work_sync(&bind->work);
	for (i = 0; i < ARRAY_SIZE(bind->last_exec); i++)
		dma_fence_put(bind->last_exec[i]);
	drm_gpuvm_put(&bind->gpuvm);
	drm_gem_object_put(bind->resv);
	mutex_destroy(&bind->lock);
	mutex_destroy(&bind->submit_lock);
}

/* --------------------------------------- the back end of a VM without mirrors */

static int vsvm_none_attach(struct vsvm_vm *vm)
{
	struct device *parent = vm->dev->drm.dev;

	/* As the SVM library has it: a device must not work on copies. */
	if (dma_addressing_limited(parent) ||
	    (is_swiotlb_force_bounce(parent) && !use_dma_iommu(parent)) ||
	    (IS_ENABLED(CONFIG_DMA_NEED_SYNC) && !dev_dma_skip_sync(parent)))
		return -EOPNOTSUPP;

	mmgrab(current->mm);
	vm->bind.mm = current->mm;
	return 0;
}

static void vsvm_none_detach(struct vsvm_vm *vm)
{
	vsvm_userptr_detach(vm);
	mmdrop(vm->bind.mm);
	vm->bind.mm = NULL;
}

static int vsvm_none_check_current(struct vsvm_vm *vm)
{
	return current->mm == vm->bind.mm ? 0 : -EPERM;
}

static bool vsvm_none_exiting(struct vsvm_vm *vm)
{
	return false;
}

/* Its engines raise none. */
static int vsvm_none_fault_batch(struct vsvm_vm *vm, struct drm_gpusvm_fault *faults,
				 unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		faults[i].err = -EFAULT;
	return -EFAULT;
}

/* No address of the process is seen, but for user pointers. */
const struct vsvm_svm_ops vsvm_svm_none_ops = {
	.attach = vsvm_none_attach,
	.kill = vsvm_userptr_kill,
	.detach = vsvm_none_detach,
	.check_current = vsvm_none_check_current,
	.exiting = vsvm_none_exiting,
	.fault_batch = vsvm_none_fault_batch,
	.flush_done = vsvm_userptr_flush_done,
	.read_stats = vsvm_userptr_read_stats,
};
