// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Binds: the operations of a DRM_VSVM_VM_BIND on a VM, from when they are known to
 * their fence. The call itself, which may be about several VMs, is in vsvm_vm_bind.c.
 *
 * The tree of bindings is changed at once, in the call, under the VM's bind lock
 * and with all objects that are concerned locked. It says what will be bound when
 * all binds that are queued were performed. The PTEs follow when the syncobjs have
 * signalled that are waited for: that is the path to a fence, so it allocates
 * nothing, takes no lock under which somebody does, and cannot fail.
 *
 * Binds that have to do with the process's memory are not queued, see vsvm_mirror.c.
 *
 * All or nothing: what the operations may need is allocated before the first of
 * them is looked at: three bindings each (a new one, and what is left of two old
 * ones), page tables, system or device memory of the objects and its addresses,
 * the fence and its places.
 *
 * What binds remove is freed by a work item of its own: freeing an object locks
 * its reservation object, and who holds that may wait for the next bind.
 */

#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/string.h>

#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

/* See vsvm_binds_populate(). */
#define VSVM_BIND_PASSES	4

/* ------------------------------------------------------- what drm_gpuvm calls */

/* None of these fails: all of it is there, see vsvm_bind_op_alloc(). */

/**
 * vsvm_bind_step_map() - Make the new binding
 * @gop: What.
 * @priv: The &struct vsvm_bind_op.
 *
 * Return: 0.
 */
int vsvm_bind_step_map(struct drm_gpuva_op *gop, void *priv)
{
	struct vsvm_bind_op *op = priv;
	struct vsvm_va *va = op->map;

	op->mapped = true;
	drm_gem_object_get(op->obj);
	drm_gpuva_map(op->vm_bo->vm, &va->base, &gop->map);
	drm_gpuva_link(&va->base, op->vm_bo);
	drm_gpuvm_bo_extobj_add(op->vm_bo);
	va->write = op->write;
	/* This bind will see to it; where it is queued, later. */
	va->ptes = vsvm_vm_bound_only(gpuvm_to_vm(op->vm_bo->vm));
	return 0;
}

static void vsvm_bind_keep(struct vsvm_va *kept, const struct vsvm_va *old)
{
	drm_gem_object_get(kept->base.gem.obj);
	drm_gpuva_link(&kept->base, old->base.vm_bo);
	kept->write = old->write;
	kept->ptes = old->ptes;
}

static void vsvm_bind_remove(struct vsvm_bind_op *op, struct vsvm_va *old)
{
	/* It keeps the object, whose last binding this may be. */
	drm_gpuva_unlink(&old->base);
	list_add_tail(&old->link, &op->removed);
}

/**
 * vsvm_bind_step_remap() - Replace a binding by what is left of it
 * @gop: What.
 * @priv: The &struct vsvm_bind_op.
 *
 * Return: 0.
 */
int vsvm_bind_step_remap(struct drm_gpuva_op *gop, void *priv)
{
	struct vsvm_va *old = to_vsvm_va(gop->remap.unmap->va);
	struct vsvm_bind_op *op = priv;

	drm_gpuva_remap(&op->prev->base, &op->next->base, &gop->remap);
	if (gop->remap.prev) {
		op->kept_prev = true;
		old->prev = op->prev;
		vsvm_bind_keep(op->prev, old);
	}
	if (gop->remap.next) {
		op->kept_next = true;
		old->next = op->next;
		vsvm_bind_keep(op->next, old);
	}
	vsvm_bind_remove(op, old);
	return 0;
}

/**
 * vsvm_bind_step_unmap() - Remove a binding
 * @gop: What.
 * @priv: The &struct vsvm_bind_op.
 *
 * Return: 0.
 */
int vsvm_bind_step_unmap(struct drm_gpuva_op *gop, void *priv)
{
	struct vsvm_va *old = to_vsvm_va(gop->unmap.va);

	drm_gpuva_unmap(&gop->unmap);
	vsvm_bind_remove(priv, old);
	return 0;
}

/* ------------------------------------------------------------ making, freeing */

static void vsvm_bind_op_free(struct vsvm_vm *vm, struct vsvm_bind_op *op)
{
	struct vsvm_va *va, *next;

	list_for_each_entry_safe(va, next, &op->removed, link)
		vsvm_va_free(vm, va);
	if (!op->mapped)
		vsvm_va_free(vm, op->map);
	if (!op->kept_prev)
		vsvm_va_free(vm, op->prev);
	if (!op->kept_next)
		vsvm_va_free(vm, op->next);
	if (op->obj)
		drm_gem_object_put(op->obj);
}

static void vsvm_bind_free(struct kref *ref)
{
	struct vsvm_bind *bind = container_of(ref, struct vsvm_bind, ref);
	struct vsvm_vm *vm = bind->vm;
	u32 i;

	for (i = 0; i < bind->num_ops; i++)
		vsvm_bind_op_free(vm, &bind->ops[i]);
	vsvm_deps_cancel(&bind->deps);
	vsvm_deps_fini(&bind->deps);
	if (bind->initialized)
		dma_fence_put(&bind->fence->base);
	else
		kfree(bind->fence);
	kvfree(bind);
	vsvm_vm_put(vm);
}

/**
 * vsvm_bind_put() - Drop a reference to a bind
 * @bind: The bind. No reservation object is locked by the caller.
 *
 * Besides the queue, who has made it has one, for as long as he has anything locked:
 * else drm_exec_fini() might drop the last reference to an object that the bind has
 * removed, while others are locked.
 */
void vsvm_bind_put(struct vsvm_bind *bind)
{
	kref_put(&bind->ref, vsvm_bind_free);
}

static void vsvm_bind_free_work(struct work_struct *work)
{
	vsvm_bind_put(container_of(work, struct vsvm_bind, free_work));
}

static int vsvm_bind_op_check(struct vsvm_vm *vm, const struct drm_vsvm_bind_op *op)
{
	struct drm_device *drm = &vm->dev->drm;
	bool map = op->type == DRM_VSVM_BIND_MAP, mirror = op->type == DRM_VSVM_BIND_MIRROR;
	bool userptr = op->type == DRM_VSVM_BIND_USERPTR, new = map || mirror || userptr;

	if (op->type > DRM_VSVM_BIND_USERPTR) {
		drm_dbg(drm, "bind type %u: unknown\n", op->type);
		return -EINVAL;
	}
	if (op->pad || (op->flags & ~(new ? DRM_VSVM_BIND_READ_ONLY : 0)) ||
	    (op->handle && !map) || (op->offset && !new)) {
		drm_dbg(drm, "bind type %u: pad %u, flags 0x%x, handle %u, offset 0x%llx: one must be 0\n",
			op->type, op->pad, op->flags, op->handle, op->offset);
		return -EINVAL;
	}
	if (!op->range || !PAGE_ALIGNED(op->addr | op->range | op->offset)) {
		drm_dbg(drm, "bind addr 0x%llx, range 0x%llx, offset 0x%llx: empty or not aligned\n",
			op->addr, op->range, op->offset);
		return -EINVAL;
	}
	if (op->addr >= vsvm_va_end() || op->range > vsvm_va_end() - op->addr) {
		drm_dbg(drm, "bind addr 0x%llx, range 0x%llx: beyond the end\n", op->addr,
			op->range);
		return -EINVAL;
	}
	if ((mirror || userptr) &&
	    (op->offset >= TASK_SIZE || op->range > TASK_SIZE - op->offset)) {
		drm_dbg(drm, "bind offset 0x%llx, range 0x%llx: beyond the end of the process\n",
			op->offset, op->range);
		return -EINVAL;
	}
	if ((mirror || op->type == DRM_VSVM_BIND_UNMIRROR) && vsvm_vm_bound_only(vm)) {
		drm_dbg(drm, "bind type %u: the VM has no mirrors\n", op->type);
		return -EINVAL;
	}
	if (userptr && !vsvm_vm_bound_only(vm)) {
		drm_dbg(drm, "bind type %u: the VM has mirrors\n", op->type);
		return -EINVAL;
	}
	return 0;
}

static int vsvm_bind_op_alloc(struct vsvm_vm *vm, struct vsvm_bind_op *op,
			      const struct drm_vsvm_bind_op *args, struct drm_file *file)
{
	struct drm_device *drm = &vm->dev->drm;
	int ret;

	ret = vsvm_bind_op_check(vm, args);
	if (ret)
		return ret;

	op->type = args->type;
	op->write = !(args->flags & DRM_VSVM_BIND_READ_ONLY);
	op->addr = args->addr;
	op->range = args->range;
	op->offset = args->offset;
	op->prev = vsvm_va_alloc(vm);
	op->next = vsvm_va_alloc(vm);
	if (!op->prev || !op->next)
		return -ENOMEM;
	if (op->type != DRM_VSVM_BIND_MAP)
		return 0;

	op->map = vsvm_va_alloc(vm);
	if (!op->map)
		return -ENOMEM;
	op->obj = drm_gem_object_lookup(file, args->handle);
	if (!op->obj) {
		drm_dbg(drm, "bind handle %u: no such object\n", args->handle);
		return -ENOENT;
	}
	if (op->offset >= op->obj->size || op->range > op->obj->size - op->offset) {
		drm_dbg(drm, "bind offset 0x%llx, range 0x%llx: beyond the object's end\n",
			op->offset, op->range);
		return -EINVAL;
	}
	if (to_vsvm_bo(op->obj)->resv_obj && drm_gpuvm_is_extobj(&vm->bind.gpuvm, op->obj)) {
		drm_dbg(drm, "bind handle %u: is for another VM\n", args->handle);
		return -EINVAL;
	}
	return vsvm_pt_prepare(&vm->pt, op->addr, op->addr + op->range);
}

static void vsvm_bind_ready(struct vsvm_deps *deps)
{
	struct vsvm_bind *bind = container_of(deps, struct vsvm_bind, deps);
	struct vsvm_vm_bind *vmb = &bind->vm->bind;

	/* It is in the queue, so its VM is there. */
	spin_lock(&vmb->queue_lock);
	bind->ready = true;
	queue_work(vsvm_fence_wq, &vmb->work);
	spin_unlock(&vmb->queue_lock);
}

/**
 * vsvm_bind_alloc() - Make a bind
 * @vm: The VM.
 * @ops: What is to be done.
 * @count: Number of operations.
 * @file: Whose objects they name.
 * @syncs: The fences that it is to wait for; taken over where this succeeds.
 *
 * Return: the bind with one reference, or an ERR_PTR(), see &struct drm_vsvm_vm_bind.
 */
struct vsvm_bind *vsvm_bind_alloc(struct vsvm_vm *vm, const struct drm_vsvm_bind_op *ops,
				  u32 count, struct drm_file *file, struct vsvm_syncs *syncs)
{
	struct vsvm_syncs none = {};
	struct vsvm_bind *bind;
	int ret = 0;
	u32 i;

	bind = kvzalloc_flex(*bind, ops, count);
	if (!bind)
		return ERR_PTR(-ENOMEM);
	kref_init(&bind->ref);
	bind->num_ops = count;
	bind->vm = vsvm_vm_get(vm);
	INIT_LIST_HEAD(&bind->link);
	INIT_WORK(&bind->free_work, vsvm_bind_free_work);
	vsvm_deps_init(&bind->deps, &none, vsvm_bind_ready);
	for (i = 0; i < count; i++)
		INIT_LIST_HEAD(&bind->ops[i].removed);

	bind->fence = vsvm_fence_alloc();
	if (!bind->fence)
		ret = -ENOMEM;
	for (i = 0; i < count && !ret; i++)
		ret = vsvm_bind_op_alloc(vm, &bind->ops[i], &ops[i], file);
	if (ret) {
		vsvm_bind_put(bind);
		return ERR_PTR(ret);
	}
	vsvm_deps_init(&bind->deps, syncs, vsvm_bind_ready);
	return bind;
}

static struct drm_gpuvm_map_req vsvm_bind_req(const struct vsvm_bind_op *op)
{
	return (struct drm_gpuvm_map_req){
		.map.va.addr = op->addr,
		.map.va.range = op->range,
		.map.gem.obj = op->obj,
		.map.gem.offset = op->offset,
	};
}

/* ------------------------------------------------------- lock, prepare, commit */

/* In a loop of drm_exec_until_all_locked(). */
static int vsvm_bind_lock(struct vsvm_bind *bind, struct drm_exec *exec)
{
	struct drm_gpuvm *gpuvm = &bind->vm->bind.gpuvm;
	int ret;
	u32 i;

	lockdep_assert_held(&bind->vm->bind.lock);

	ret = drm_gpuvm_prepare_vm(gpuvm, exec, 0);
	for (i = 0; i < bind->num_ops && !ret; i++) {
		struct vsvm_bind_op *op = &bind->ops[i];
		struct drm_gpuvm_map_req req = vsvm_bind_req(op);

		if (op->type == DRM_VSVM_BIND_MAP)
			ret = drm_gpuvm_sm_map_exec_lock(gpuvm, exec, 1, &req);
		else if (op->type != DRM_VSVM_BIND_UNMIRROR)
			ret = drm_gpuvm_sm_unmap_exec_lock(gpuvm, exec, op->addr, op->range);
	}
	return ret;
}

/*
 * The one loop: VMs may share a reservation object, and an object may be bound on
 * several of them, imported or not. Each of these is locked once.
 */
static int vsvm_binds_lock(struct vsvm_bind *const *binds, u32 count, struct drm_exec *exec)
{
	unsigned int attempts = 0;
	int ret = 0;
	u32 i;

	drm_exec_until_all_locked(exec) {
		for (i = 0; i < count && attempts; i++)
			atomic64_inc(&binds[i]->vm->stats.bind_retries);
		attempts++;
		for (i = 0; i < count; i++) {
			ret = vsvm_bind_lock(binds[i], exec);
			drm_exec_retry_on_contention(exec);
			if (ret)
				return ret;
		}
	}
	return 0;
}

/**
 * vsvm_bind_unprepare() - Undo what vsvm_binds_begin() prepared
 * @bind: The bind. All that it is concerned with is locked still.
 */
void vsvm_bind_unprepare(struct vsvm_bind *bind)
{
	u32 i;

	for (i = 0; i < bind->num_ops; i++) {
		drm_gpuvm_bo_put(bind->ops[i].vm_bo);
		bind->ops[i].vm_bo = NULL;
	}
}

/*
 * Sees to it that the devices can reach what is to be bound. What makes one reach it may
 * take it from another: an object that moves to its device's memory is taken from those
 * who have imported it, and so it is where one of these does not reach that memory, and
 * it moves back. Everybody gets it again then, from where it is. It does not move a
 * third time: who needs it in system memory keeps it there, and nobody else gets at
 * what is locked. So the last pass, at the latest, has nothing to do.
 */
static int vsvm_binds_populate(struct vsvm_bind *const *binds, u32 count)
{
	unsigned int pass = 0;
	bool again;
	u32 i, k;
	int ret;

	do {
		again = false;
		for (i = 0; i < count; i++) {
			for (k = 0; k < binds[i]->num_ops; k++) {
				struct vsvm_bind_op *op = &binds[i]->ops[k];

				if (op->type != DRM_VSVM_BIND_MAP ||
				    (pass && to_vsvm_bo(op->obj)->runs))
					continue;
				ret = vsvm_bo_populate(to_vsvm_bo(op->obj), !pass);
				if (ret)
					return ret;
				again = true;
			}
		}
	} while (again && ++pass < VSVM_BIND_PASSES);

	return drm_WARN_ON(&binds[0]->vm->dev->drm, again) ? -EIO : 0;
}

/* The last step that can fail; then nothing was changed. */
static int vsvm_binds_prepare(struct vsvm_bind *const *binds, u32 count, struct drm_exec *exec)
{
	struct drm_gem_object *obj;
	int ret = 0;
	u32 i, k;

	/* One of each bind, at most. */
	drm_exec_for_each_locked_object(exec, obj) {
		ret = dma_resv_reserve_fences(obj->resv, count);
		if (ret)
			return ret;
	}
	ret = vsvm_binds_populate(binds, count);
	if (ret)
		return ret;

	for (i = 0; i < count && !ret; i++) {
		for (k = 0; k < binds[i]->num_ops && !ret; k++) {
			struct vsvm_bind_op *op = &binds[i]->ops[k];
			struct drm_gpuvm_bo *vm_bo;

			if (op->type != DRM_VSVM_BIND_MAP)
				continue;
			vm_bo = drm_gpuvm_bo_obtain_locked(&binds[i]->vm->bind.gpuvm, op->obj);
			if (IS_ERR(vm_bo))
				ret = PTR_ERR(vm_bo);
			else
				op->vm_bo = vm_bo;
		}
	}
	for (i = 0; i < count && ret; i++)
		vsvm_bind_unprepare(binds[i]);
	return ret;
}

/**
 * vsvm_binds_begin() - Lock all that binds are concerned with, and prepare them
 * @binds: The binds, of one VM each. The bind locks of all of these are held.
 * @count: Their number.
 * @exec: Out: what has locked it, where this succeeds.
 *
 * Nothing can fail afterwards: vsvm_bind_commit() for each of them, or
 * vsvm_bind_change_tree(), or vsvm_bind_unprepare(); then drm_exec_fini(), while the
 * caller has a reference to each bind still.
 *
 * Return: 0; -EINTR; -ENOMEM; -ENODEV: a device is gone; or what an exporter says. Then
 * nothing was changed, and nothing is locked.
 */
int vsvm_binds_begin(struct vsvm_bind *const *binds, u32 count, struct drm_exec *exec)
{
	int ret;

	drm_exec_init(exec, DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES, 0);
	ret = vsvm_binds_lock(binds, count, exec);
	if (!ret)
		ret = vsvm_binds_prepare(binds, count, exec);
	if (ret)
		drm_exec_fini(exec);
	return ret;
}

/**
 * vsvm_bind_change_tree() - Change what is bound
 * @bind: The bind, prepared. PTEs are to follow.
 *
 * Cannot fail.
 */
void vsvm_bind_change_tree(struct vsvm_bind *bind)
{
	struct vsvm_vm *vm = bind->vm;
	struct drm_gpuvm *gpuvm = &vm->bind.gpuvm;
	int ret;
	u32 i;

	lockdep_assert_held(&vm->bind.lock);

	for (i = 0; i < bind->num_ops; i++) {
		struct vsvm_bind_op *op = &bind->ops[i];
		struct drm_gpuvm_map_req req = vsvm_bind_req(op);

		ret = 0;
		if (op->type == DRM_VSVM_BIND_MAP)
			ret = drm_gpuvm_sm_map(gpuvm, op, &req);
		else if (op->type != DRM_VSVM_BIND_UNMIRROR)
			ret = drm_gpuvm_sm_unmap(gpuvm, op, op->addr, op->range);
		/* The addresses were looked at, and no step fails. */
		drm_WARN_ON(&vm->dev->drm, ret);
	}
	vsvm_bind_unprepare(bind);
	atomic64_add(bind->num_ops, &vm->stats.binds);
}

/*
 * Each object has the fences of those binds that are concerned with it, and no others:
 * a bind of another VM, locked in the same loop, may have to wait for long.
 */
static void vsvm_bind_add_fence(struct vsvm_bind *bind, struct dma_fence *fence)
{
	struct vsvm_va *va;
	u32 i;

	/* User space says itself what waits for what. Twice is once. */
	dma_resv_add_fence(drm_gpuvm_resv(&bind->vm->bind.gpuvm), fence,
			   DMA_RESV_USAGE_BOOKKEEP);
	for (i = 0; i < bind->num_ops; i++) {
		struct vsvm_bind_op *op = &bind->ops[i];

		if (op->obj)
			dma_resv_add_fence(op->obj->resv, fence, DMA_RESV_USAGE_BOOKKEEP);
		/* What is left of them has the same objects. */
		list_for_each_entry(va, &op->removed, link)
			dma_resv_add_fence(va->base.gem.obj->resv, fence,
					   DMA_RESV_USAGE_BOOKKEEP);
	}
}

/**
 * vsvm_bind_commit() - Let a bind take effect
 * @bind: The bind, see vsvm_binds_begin(). The VM's queue has a reference of its own
 *	afterwards.
 *
 * Cannot fail.
 *
 * Return: the bind's fence, with a reference.
 */
struct dma_fence *vsvm_bind_commit(struct vsvm_bind *bind)
{
	struct vsvm_vm *vm = bind->vm;
	struct vsvm_vm_bind *vmb = &vm->bind;
	struct dma_fence *fence;

	lockdep_assert_held(&vmb->lock);

	vsvm_bind_change_tree(bind);
	vsvm_fence_init(bind->fence, vm->dev, "bind", vmb->context, ++vmb->seqno);
	bind->initialized = true;
	fence = dma_fence_get(&bind->fence->base);
	vsvm_bind_add_fence(bind, fence);

	kref_get(&bind->ref);
	spin_lock(&vmb->queue_lock);
	list_add_tail(&bind->link, &vmb->queue);
	WRITE_ONCE(vmb->pending, vmb->pending + 1);
	if (bind->deps.count) {
		vsvm_deps_start(&bind->deps);
	} else {
		bind->ready = true;
		queue_work(vsvm_fence_wq, &vmb->work);
	}
	spin_unlock(&vmb->queue_lock);
	return fence;
}

/* ------------------------------------------------------------------- the queue */

/**
 * vsvm_bind_perform() - Change PTEs as a bind has changed the tree
 * @bind: The bind, of a VM without mirrors; the first one whose PTEs are to follow.
 *
 * Neither fails nor allocates. Waits for a flush.
 */
void vsvm_bind_perform(struct vsvm_bind *bind)
{
	struct vsvm_vm *vm = bind->vm;
	u64 start = U64_MAX, end = 0;
	struct vsvm_va *va;
	u32 i;

	for (i = 0; i < bind->num_ops; i++) {
		struct vsvm_bind_op *op = &bind->ops[i];

		list_for_each_entry(va, &op->removed, link) {
			u64 first = va->base.va.addr, last = first + va->base.va.range;

			if (!va->ptes)
				continue;
			vsvm_va_cut(vm, va, max(first, op->addr),
				    min(last, op->addr + op->range));
			start = min(start, first);
			end = max(end, last);
		}
		if (op->mapped)
			vsvm_va_map(vm, op->map);
	}
	if (start >= end)
		return;

	vsvm_flush_bind_wait(vm, vsvm_flush_bind(vm, start, end));
	for (i = 0; i < bind->num_ops; i++)
		list_for_each_entry(va, &bind->ops[i].removed, link)
			if (va->ptes)
				vsvm_va_retire(vm, va);
}

/* The bind that is next, NULL where it has to wait, or there is none. */
static struct vsvm_bind *vsvm_bind_next(struct vsvm_vm_bind *vmb)
{
	struct vsvm_bind *bind;

	spin_lock(&vmb->queue_lock);
	bind = list_first_entry_or_null(&vmb->queue, struct vsvm_bind, link);
	if (bind && !bind->ready) {
		/* What it waits for may never come, and who waits for it is to know. */
		if (vmb->dead)
			dma_fence_set_error(&bind->fence->base, -ECANCELED);
		else
			bind = NULL;
	}
	spin_unlock(&vmb->queue_lock);
	return bind;
}

/**
 * vsvm_bind_work() - Perform the binds of a VM
 * @work: &vsvm_vm_bind.work
 *
 * One at a time, in order. Each has a reference to the VM until it is freed, by
 * another work item, and the VM waits for this one before it is freed.
 */
void vsvm_bind_work(struct work_struct *work)
{
	struct vsvm_vm_bind *vmb = container_of(work, struct vsvm_vm_bind, work);
	struct vsvm_bind *bind;
	bool cookie = dma_fence_begin_signalling();

	while ((bind = vsvm_bind_next(vmb))) {
		vsvm_bind_perform(bind);
		dma_fence_signal(&bind->fence->base);

		spin_lock(&vmb->queue_lock);
		list_del_init(&bind->link);
		WRITE_ONCE(vmb->pending, vmb->pending - 1);
		/* Who waits for it may have let go of the bind itself. */
		queue_work(vsvm_wq, &bind->free_work);
		wake_up_all(&vmb->idle);
		spin_unlock(&vmb->queue_lock);
	}
	dma_fence_end_signalling(cookie);
}
