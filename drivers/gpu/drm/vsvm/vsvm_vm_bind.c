// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A call of DRM_VSVM_VM_BIND: its arguments, and the locks. What it does to a VM is a
 * bind, see vsvm_bind.c.
 */

#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/* The bind lock is held. The queue has the bind, too, where this succeeds. */
static int vsvm_vm_bind_queue(struct vsvm_vm *vm, struct vsvm_bind *bind,
			      struct vsvm_syncs *syncs)
{
	struct dma_fence *fence;
	struct drm_exec exec;
	int ret;

	ret = READ_ONCE(vm->dead);
	if (!ret)
		ret = vsvm_binds_begin(&bind, 1, &exec);
	if (ret)
		return ret;

	fence = vsvm_bind_commit(bind);
	vsvm_syncs_publish(syncs, fence);
	dma_fence_put(fence);
	drm_exec_fini(&exec);
	return 0;
}

/* Takes the caller's reference over. */
static int vsvm_vm_bind(struct vsvm_vm *vm, struct vsvm_bind *bind, struct vsvm_syncs *syncs)
{
	bool now;
	int ret;

	if (mutex_lock_interruptible(&vm->bind.lock)) {
		vsvm_bind_put(bind);
		return -EINTR;
	}
	now = vsvm_bind_is_now(bind);
	ret = now ? 0 : vsvm_vm_bind_queue(vm, bind, syncs);
	mutex_unlock(&vm->bind.lock);

	if (now)
		ret = vsvm_bind_now(bind, syncs);
	vsvm_bind_put(bind);
	return ret;
}

static int vsvm_vm_bind_check(struct drm_device *drm, const struct drm_vsvm_vm_bind *args)
{
	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%llx: must be 0\n", args->flags, args->pad);
		return -EINVAL;
	}
	if (!args->num_ops || args->num_ops > DRM_VSVM_MAX_BIND_OPS) {
		drm_dbg(drm, "num_ops %u: must be 1 to %u\n", args->num_ops,
			DRM_VSVM_MAX_BIND_OPS);
		return -EINVAL;
	}
	return 0;
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
	struct drm_vsvm_vm_bind *args = data;
	struct drm_vsvm_bind_op *ops;
	struct vsvm_syncs syncs;
	struct vsvm_bind *bind;
	struct vsvm_vm *vm;
	int ret;

	ret = vsvm_vm_bind_check(drm, args);
	if (ret)
		return ret;
	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	if (!vsvm_vm_bound_only(vm) && vm->svm != &vsvm_svm_mgr_ops) {
		drm_dbg(drm, "vm_id %u: mirrors without the manager\n", args->vm_id);
		ret = -EOPNOTSUPP;
		goto put_vm;
	}

	ops = vmemdup_array_user(u64_to_user_ptr(args->ops), args->num_ops, sizeof(*ops));
	if (IS_ERR(ops)) {
		ret = PTR_ERR(ops);
		drm_dbg(drm, "ops 0x%llx: cannot be read, %d\n", args->ops, ret);
		goto put_vm;
	}
	ret = vsvm_syncs_parse(file, args->syncs, args->num_syncs, &syncs);
	if (ret)
		goto free_syncs;
	bind = vsvm_bind_alloc(vm, ops, args->num_ops, file, &syncs);
	if (IS_ERR(bind)) {
		ret = PTR_ERR(bind);
		goto free_syncs;
	}

	ret = vsvm_vm_bind(vm, bind, &syncs);
	if (ret)
		drm_dbg(drm, "vm_id %u: bind not accepted, %d\n", args->vm_id, ret);
free_syncs:
	vsvm_syncs_fini(&syncs);
	kvfree(ops);
put_vm:
	vsvm_vm_put(vm);
	return ret;
}
