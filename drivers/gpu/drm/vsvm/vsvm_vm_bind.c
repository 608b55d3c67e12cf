// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A call of DRM_VSVM_VM_BIND: its arguments, and the locks. What it does to a VM is a
 * bind, see vsvm_bind.c.
 *
 * It may be about several VMs of the process, on whichever devices, and is done for all
 * of these or for none:
 *
 *	1. a bind is made for each of them, with all that it may need
 *	2. the bind locks are taken, in the order of the VMs' addresses; with them the
 *	   trees do not change
 *	3. all reservation objects that any of the binds is concerned with are locked in
 *	   one loop of drm_exec, in any order: who meets somebody else's begins anew
 *	4. objects are brought to where the devices reach them; this was the last thing
 *	   that can fail
 *	5. tree after tree is changed, bind after bind queued
 *
 * From then on the binds have nothing to do with each other: each waits for the
 * syncobjs, and for its turn in the queue of its VM. The syncobjs of the call get a
 * fence that stands for all of theirs.
 */

#include <linux/dma-fence-array.h>
#include <linux/file.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

#define VSVM_BIND_VMS	(1 + DRM_VSVM_MAX_BIND_VMS)

/**
 * struct vsvm_bind_call - A call
 * @drm: The device that it was made on
 * @syncs: Its syncobjs
 * @binds: One for each VM, with a reference, that of the device's own VM last
 * @vms: The VMs, in the order of their locks
 * @count: Their number
 * @array: Where there are several: will stand for all their fences
 * @fences: Belongs to @array, once that was initialized
 */
struct vsvm_bind_call {
	struct drm_device *drm;
	struct vsvm_syncs syncs;
	struct vsvm_bind *binds[VSVM_BIND_VMS];
	struct vsvm_vm *vms[VSVM_BIND_VMS];
	u32 count;
	struct dma_fence_array *array;
	struct dma_fence **fences;
};

/* --------------------------------------------------------------------- the locks */

static void vsvm_bind_call_unlock(struct vsvm_bind_call *call, u32 count)
{
	while (count--)
		mutex_unlock(&call->vms[count]->bind.lock);
}

static int vsvm_bind_call_lock(struct vsvm_bind_call *call)
{
	u32 i;

	/* Of the same class, told apart by the order. */
	BUILD_BUG_ON(VSVM_BIND_VMS > MAX_LOCKDEP_SUBCLASSES);

	for (i = 0; i < call->count; i++) {
		if (mutex_lock_interruptible_nested(&call->vms[i]->bind.lock, i)) {
			vsvm_bind_call_unlock(call, i);
			return -EINTR;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------ taking effect */

/* What the syncobjs get, with a reference. Cannot fail. */
static struct dma_fence *vsvm_bind_call_commit(struct vsvm_bind_call *call)
{
	struct dma_fence_array *array = call->array;
	u32 i;

	if (!array)
		return vsvm_bind_commit(call->binds[0]);
	for (i = 0; i < call->count; i++)
		call->fences[i] = vsvm_bind_commit(call->binds[i]);
	dma_fence_array_init(array, call->count, call->fences, dma_fence_context_alloc(1), 1);
	call->array = NULL;
	call->fences = NULL;
	return &array->base;
}

/*
 * Who tears a VM down takes its bind lock after this was set, and before the library
 * forgets the VM: from then on nothing is asked about its user pointers.
 */
static int vsvm_bind_call_dead(const struct vsvm_bind_call *call)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < call->count && !ret; i++)
		ret = READ_ONCE(call->vms[i]->dead);
	return ret;
}

/* The bind locks are held, and no VM is dead. */
static int vsvm_bind_call_queue(struct vsvm_bind_call *call)
{
	struct dma_fence *fence;
	struct drm_exec exec;
	int ret;

	ret = vsvm_binds_begin(call->binds, call->count, &exec);
	if (ret)
		return ret;
	fence = vsvm_bind_call_commit(call);
	vsvm_syncs_publish(&call->syncs, fence);
	dma_fence_put(fence);
	drm_exec_fini(&exec);
	return 0;
}

static int vsvm_bind_call_make(struct vsvm_bind_call *call)
{
	bool now = false;
	int ret;
	u32 i;

	ret = vsvm_bind_call_lock(call);
	if (ret)
		return ret;
	ret = vsvm_bind_call_dead(call);
	for (i = 0; i < call->count && !ret; i++)
		now |= vsvm_bind_is_now(call->binds[i]);
	if (!ret && !now)
		ret = vsvm_bind_call_queue(call);
	vsvm_bind_call_unlock(call, call->count);
	if (ret || !now)
		return ret;

	if (call->count > 1) {
		/* The library cannot change several instances or none. */
		drm_dbg(call->drm, "num_vms %u: the process's memory is concerned\n",
			call->count - 1);
		return -EOPNOTSUPP;
	}
	return vsvm_bind_now(call->binds[0], &call->syncs);
}

/* ------------------------------------------------------------------ its arguments */

static int vsvm_bind_call_check_num(struct drm_device *drm, u32 num_ops)
{
	if (num_ops && num_ops <= DRM_VSVM_MAX_BIND_OPS)
		return 0;
	drm_dbg(drm, "num_ops %u: must be 1 to %u\n", num_ops, DRM_VSVM_MAX_BIND_OPS);
	return -EINVAL;
}

/* Finds the VM's place in the order of the locks. */
static int vsvm_bind_call_add(struct vsvm_bind_call *call, struct vsvm_bind *bind)
{
	u32 i = call->count;

	while (i && (unsigned long)call->vms[i - 1] >= (unsigned long)bind->vm) {
		if (call->vms[i - 1] == bind->vm) {
			drm_dbg(call->drm, "vm_id %u: the same VM twice\n", bind->vm->id);
			return -EINVAL;
		}
		i--;
	}
	memmove(&call->vms[i + 1], &call->vms[i], (call->count - i) * sizeof(call->vms[0]));
	call->vms[i] = bind->vm;
	call->binds[call->count++] = bind;
	return 0;
}

/* Makes the bind of one VM. Takes the fences over that are waited for. */
static int vsvm_bind_call_vm(struct vsvm_bind_call *call, struct drm_file *file, u32 vm_id,
			     u64 user_ops, u32 num_ops, struct vsvm_syncs *syncs)
{
	struct drm_vsvm_bind_op *ops;
	struct vsvm_bind *bind;
	struct vsvm_vm *vm;
	int ret;

	vm = vsvm_vm_lookup(file, vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	if (!vsvm_vm_bound_only(vm) && vm->svm != &vsvm_svm_mgr_ops) {
		drm_dbg(call->drm, "vm_id %u: mirrors without the manager\n", vm_id);
		ret = -EOPNOTSUPP;
		goto put_vm;
	}

	ops = vmemdup_array_user(u64_to_user_ptr(user_ops), num_ops, sizeof(*ops));
	if (IS_ERR(ops)) {
		ret = PTR_ERR(ops);
		drm_dbg(call->drm, "ops 0x%llx: cannot be read, %d\n", user_ops, ret);
		goto put_vm;
	}
	bind = vsvm_bind_alloc(vm, ops, num_ops, file, syncs);
	kvfree(ops);
	if (IS_ERR(bind)) {
		ret = PTR_ERR(bind);
		goto put_vm;
	}
	ret = vsvm_bind_call_add(call, bind);
	if (ret)
		vsvm_bind_put(bind);
put_vm:
	/* The bind has a reference. */
	vsvm_vm_put(vm);
	return ret;
}

/* One of the other VMs. */
static int vsvm_bind_call_other(struct vsvm_bind_call *call, struct drm_file *file,
				const struct drm_vsvm_bind_vm *arg)
{
	struct vsvm_syncs syncs = {};
	struct file *ref = NULL;
	int ret;

	if (arg->pad) {
		drm_dbg(call->drm, "vms: pad 0x%x: must be 0\n", arg->pad);
		return -EINVAL;
	}
	ret = vsvm_bind_call_check_num(call->drm, arg->num_ops);
	if (ret)
		return ret;
	if (arg->device != DRM_VSVM_THIS_DEVICE) {
		file = vsvm_file_from_fd(arg->device, &ref);
		if (IS_ERR(file)) {
			drm_dbg(call->drm, "vms: device %d: no file of a vsvm device, %pe\n",
				arg->device, file);
			return PTR_ERR(file);
		}
	}

	ret = vsvm_syncs_share(&call->syncs, &syncs);
	if (!ret)
		ret = vsvm_bind_call_vm(call, file, arg->vm_id, arg->ops, arg->num_ops, &syncs);
	vsvm_syncs_fini(&syncs);
	if (ref)
		fput(ref);
	return ret;
}

static int vsvm_bind_call_others(struct vsvm_bind_call *call, struct drm_file *file,
				 const struct drm_vsvm_vm_bind *args)
{
	struct drm_vsvm_bind_vm *vms;
	int ret = 0;
	u32 i;

	if (!args->num_vms)
		return 0;

	vms = memdup_array_user(u64_to_user_ptr(args->vms), args->num_vms, sizeof(*vms));
	if (IS_ERR(vms)) {
		drm_dbg(call->drm, "vms 0x%llx: cannot be read, %pe\n", args->vms, vms);
		return PTR_ERR(vms);
	}
	for (i = 0; i < args->num_vms && !ret; i++)
		ret = vsvm_bind_call_other(call, file, &vms[i]);
	kfree(vms);
	if (ret)
		return ret;

	call->array = dma_fence_array_alloc(1 + args->num_vms);
	call->fences = kcalloc(1 + args->num_vms, sizeof(*call->fences), GFP_KERNEL);
	return call->array && call->fences ? 0 : -ENOMEM;
}

static int vsvm_vm_bind_check(struct drm_device *drm, const struct drm_vsvm_vm_bind *args)
{
	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%x: must be 0\n", args->flags, args->pad);
		return -EINVAL;
	}
	if (args->num_vms > DRM_VSVM_MAX_BIND_VMS || (args->vms && !args->num_vms)) {
		drm_dbg(drm, "num_vms %u, vms 0x%llx: at most %u, none of them nowhere\n",
			args->num_vms, args->vms, DRM_VSVM_MAX_BIND_VMS);
		return -EINVAL;
	}
	return vsvm_bind_call_check_num(drm, args->num_ops);
}

/**
 * vsvm_vm_bind_ioctl() - DRM_IOCTL_VSVM_VM_BIND
 * @drm: The device.
 * @data: A &struct drm_vsvm_vm_bind.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_vm_bind.
 */
int vsvm_vm_bind_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vsvm_bind_call call = { .drm = drm };
	struct drm_vsvm_vm_bind *args = data;
	u32 i;
	int ret;

	ret = vsvm_vm_bind_check(drm, args);
	if (ret)
		return ret;

	ret = vsvm_syncs_parse(file, args->syncs, args->num_syncs, &call.syncs);
	/* The others first, as the last one takes the fences over. */
	if (!ret)
		ret = vsvm_bind_call_others(&call, file, args);
	if (!ret)
		ret = vsvm_bind_call_vm(&call, file, args->vm_id, args->ops, args->num_ops,
					&call.syncs);
	if (!ret)
		ret = vsvm_bind_call_make(&call);
	if (ret)
		drm_dbg(drm, "vm_id %u: bind not accepted, %d\n", args->vm_id, ret);

	/* Nothing is locked any more: objects may go with the binds. */
	for (i = 0; i < call.count; i++)
		vsvm_bind_put(call.binds[i]);
	kfree(call.fences);
	kfree(call.array);
	vsvm_syncs_fini(&call.syncs);
	return ret;
}
