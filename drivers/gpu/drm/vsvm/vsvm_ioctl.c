// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The files of a device and the life of the VMs on them: creation, and the
 * teardown, in which all parts of the device have their say.
 */

#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/* How long a teardown waits for faults that are being served. */
#define VSVM_TEARDOWN_WAIT	(HZ / 2)

/**
 * vsvm_file_open() - A file was opened
 * @drm: The device.
 * @file: The file.
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_file_open(struct drm_device *drm, struct drm_file *file)
{
	struct vsvm_file *vfile;

	vfile = kzalloc_obj(*vfile);
	if (!vfile)
		return -ENOMEM;

	xa_init_flags(&vfile->vms, XA_FLAGS_ALLOC1);
	vfile->next_id = 1;
	atomic_set(&vfile->count, 0);
	file->driver_priv = vfile;
	return 0;
}

/*
 * From a VM at work to one that only waits for its last reference. The order:
 *
 * 1. Kill: no queue becomes ready, no fault is raised, no job accepted.
 * 2. Reap: the engines leave within one step; all jobs have ended. Where several
 *    VMs go, this is done for all of them before the next step.
 * 3. The back end takes away all that is mapped, and then what is bound goes. Both
 *    wait for their flushes: the flush thread still works for this VM. From here
 *    on the device does not touch the memory of the process, which is what
 *    callers promise.
 * 4. Detach, so that the VM's place is free for the next one; but not while a
 *    fault is being served. That may take for ever: it may be with a
 *    userfaultfd that the process would have served, and which is closed only
 *    after this file, by the same exiting task. Each service of faults holds a
 *    reference to the VM, and with the last one it is detached.
 *
 * May be called by several at once (destroy or close, and the removal of the
 * device); all return when it is done.
 */
static void vsvm_vm_teardown(struct vsvm_vm *vm, int err)
{
	struct vsvm_device *dev = vm->dev;

	vsvm_engine_kill_vm(vm, err);

	mutex_lock(&vm->teardown_lock);
	if (vm->torn_down)
		goto unlock;

	vsvm_engine_reap_vm(vm);
	vm->svm->kill(vm);
	vsvm_bind_vm_teardown(vm);

	/* A flush that a test suppressed may have left something. */
	write_lock(&vm->gate);
	vsvm_tlb_flush(&dev->tlb, vm->asid, 0, U64_MAX);
	write_unlock(&vm->gate);

	mutex_lock(&dev->vms_lock);
	list_del_init(&vm->link);
	mutex_unlock(&dev->vms_lock);
	vm->torn_down = true;

	/* Bounded, and most often over before it begins. */
	if (wait_event_timeout(vm->wait, !READ_ONCE(vm->serving), VSVM_TEARDOWN_WAIT))
		vsvm_vm_detach(vm);
	else
		drm_dbg(&dev->drm, "VM %u: detached when its last fault is served\n", vm->id);
unlock:
	mutex_unlock(&vm->teardown_lock);
}

/* Takes the VM off its file; false where somebody else has done so. */
static bool vsvm_file_remove_vm(struct vsvm_file *vfile, struct vsvm_vm *vm)
{
	bool mine;

	xa_lock(&vfile->vms);
	mine = xa_load(&vfile->vms, vm->id) == vm;
	if (mine)
		__xa_erase(&vfile->vms, vm->id);
	xa_unlock(&vfile->vms);
	if (mine)
		atomic_dec(&vfile->count);
	return mine;
}

/**
 * vsvm_file_close() - The last reference to a file is gone
 * @drm: The device.
 * @file: The file.
 */
void vsvm_file_close(struct drm_device *drm, struct drm_file *file)
{
	struct vsvm_file *vfile = file->driver_priv;
	struct vsvm_vm *vm;
	unsigned long id;

	/* All at once, so that they need not wait one after the other. */
	xa_for_each(&vfile->vms, id, vm)
		vsvm_engine_kill_vm(vm, -ECANCELED);
	/*
	 * Their jobs end before anything else is waited for: somebody may wait for the
	 * fence of one VM's job with the lock of an object held that another VM's
	 * teardown needs.
	 */
	xa_for_each(&vfile->vms, id, vm)
		vsvm_engine_reap_vm(vm);

	xa_for_each(&vfile->vms, id, vm) {
		vsvm_file_remove_vm(vfile, vm);
		vsvm_vm_teardown(vm, -ECANCELED);
		vsvm_vm_put(vm);
	}

	xa_destroy(&vfile->vms);
	if (vfile->mm)
		mmdrop(vfile->mm);
	kfree(vfile);
	file->driver_priv = NULL;
}

/**
 * vsvm_teardown_all() - Tear down all VMs, because the device goes
 * @dev: The device, unplugged: no VM is created any more.
 *
 * The VMs stay on their files, but nothing can be done with them.
 */
void vsvm_teardown_all(struct vsvm_device *dev)
{
	struct vsvm_vm *vm;

	/* First all jobs at once, then one VM after the other. */
	mutex_lock(&dev->vms_lock);
	list_for_each_entry(vm, &dev->vms, link)
		vsvm_engine_kill_vm(vm, -ENODEV);
	/* See vsvm_file_close(). */
	list_for_each_entry(vm, &dev->vms, link)
		vsvm_engine_reap_vm(vm);
	mutex_unlock(&dev->vms_lock);

	for (;;) {
		mutex_lock(&dev->vms_lock);
		vm = list_first_entry_or_null(&dev->vms, struct vsvm_vm, link);
		/*
		 * A VM whose last reference is being dropped is not on the list
		 * any more, because it was torn down before.
		 */
		if (vm)
			vsvm_vm_get(vm);
		mutex_unlock(&dev->vms_lock);
		if (!vm)
			break;

		vsvm_vm_teardown(vm, -ENODEV);
		vsvm_vm_put(vm);
	}
}

/**
 * vsvm_query_ioctl() - DRM_IOCTL_VSVM_QUERY
 * @drm: The device.
 * @data: A &struct drm_vsvm_query.
 * @file: The file.
 *
 * Return: 0, or -EINVAL.
 */
int vsvm_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vsvm_device *dev = to_vsvm(drm);
	struct drm_vsvm_query *args = data;

	if (args->pad) {
		drm_dbg(drm, "pad 0x%llx: must be 0\n", args->pad);
		return -EINVAL;
	}

	*args = (struct drm_vsvm_query){
		.abi_version = DRM_VSVM_ABI_VERSION,
		.index = dev->index,
		.engines = dev->num_engines,
		.dma = vsvm_mem_dma(dev),
		.page_size = PAGE_SIZE,
		.va_end = vsvm_va_end(),
		.vram_size = dev->vram.size,
		.tlb_entries = vsvm_tlb_size(&dev->tlb),
		.hive = dev->hive,
	};
	return 0;
}

static int vsvm_vm_create(struct drm_device *drm, struct drm_file *file, u32 flags, u32 *id)
{
	struct vsvm_file *vfile = file->driver_priv;
	struct vsvm_device *dev = to_vsvm(drm);
	struct vsvm_vm *vm;
	int ret;

	if (atomic_inc_return(&vfile->count) > VSVM_MAX_VMS) {
		drm_dbg(drm, "the file has %u VMs already\n", VSVM_MAX_VMS);
		ret = -ENOSPC;
		goto err_count;
	}

	vm = vsvm_vm_alloc(dev, flags);
	if (IS_ERR(vm)) {
		ret = PTR_ERR(vm);
		goto err_count;
	}

	/* A place without a VM, so that nothing can fail after the attach. */
	ret = xa_alloc_cyclic(&vfile->vms, &vm->id, NULL, XA_LIMIT(1, INT_MAX),
			      &vfile->next_id, GFP_KERNEL);
	if (ret < 0)
		goto err_put;

	ret = vm->svm->attach(vm);
	if (ret) {
		drm_dbg(drm, "not attached, %d\n", ret);
		goto err_erase;
	}
	vm->attached = true;

	/* Whose the file's memory is, see vsvm_show_fdinfo(). */
	if (!cmpxchg(&vfile->mm, NULL, current->mm))
		mmgrab(current->mm);

	mutex_lock(&dev->vms_lock);
	list_add_tail(&vm->link, &dev->vms);
	mutex_unlock(&dev->vms_lock);

	*id = vm->id;
	xa_store(&vfile->vms, vm->id, vm, GFP_KERNEL);
	return 0;

err_erase:
	xa_erase(&vfile->vms, vm->id);
err_put:
	vsvm_vm_put(vm);
err_count:
	atomic_dec(&vfile->count);
	return ret;
}

/**
 * vsvm_vm_create_ioctl() - DRM_IOCTL_VSVM_VM_CREATE
 * @drm: The device.
 * @data: A &struct drm_vsvm_vm_create.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_vm_create.
 */
int vsvm_vm_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_vm_create *args = data;
	int idx, ret;

	if (args->pad) {
		drm_dbg(drm, "pad 0x%llx: must be 0\n", args->pad);
		return -EINVAL;
	}
	if ((args->flags & ~(DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_EAGER |
			     DRM_VSVM_VM_MIGRATE | DRM_VSVM_VM_SHARED_RESV |
			     DRM_VSVM_VM_DEVICE_SVM)) ||
	    (args->flags & (DRM_VSVM_VM_EAGER | DRM_VSVM_VM_MIGRATE |
			    DRM_VSVM_VM_DEVICE_SVM) &&
	     !(args->flags & DRM_VSVM_VM_MIRROR))) {
		drm_dbg(drm, "flags 0x%x: unknown ones, or no mirror for what needs one\n",
			args->flags);
		return -EINVAL;
	}
	/* One back end at most; and what is eager is the manager. */
	if (hweight32(args->flags & (DRM_VSVM_VM_DEVICE_SVM | DRM_VSVM_VM_EAGER)) > 1) {
		drm_dbg(drm, "flags 0x%x: eager, and back ends, exclude each other\n",
			args->flags);
		return -EINVAL;
	}
	if (args->flags & DRM_VSVM_VM_MIGRATE && !to_vsvm(drm)->vram.size) {
		drm_dbg(drm, "flags 0x%x: there is no device memory to migrate to\n",
			args->flags);
		return -EOPNOTSUPP;
	}

	/* The removal of the device waits for this, then it sees the VM. */
	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	ret = vsvm_vm_create(drm, file, args->flags, &args->vm_id);
	drm_dev_exit(idx);
	return ret;
}

/**
 * vsvm_vm_destroy_ioctl() - DRM_IOCTL_VSVM_VM_DESTROY
 * @drm: The device.
 * @data: A &struct drm_vsvm_vm_destroy.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_vm_destroy.
 */
int vsvm_vm_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_vm_destroy *args = data;
	struct vsvm_vm *vm;
	int ret = 0;

	if (args->pad) {
		drm_dbg(drm, "pad 0x%x: must be 0\n", args->pad);
		return -EINVAL;
	}

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	if (!vsvm_file_remove_vm(file->driver_priv, vm)) {
		drm_dbg(drm, "vm_id %u: somebody else was faster\n", args->vm_id);
		ret = -ENOENT;
		goto put;
	}

	vsvm_vm_teardown(vm, -ECANCELED);
	/* The file's reference. */
	vsvm_vm_put(vm);
put:
	vsvm_vm_put(vm);
	return ret;
}

/**
 * vsvm_error_ioctl() - DRM_IOCTL_VSVM_ERROR
 * @drm: The device.
 * @data: A &struct drm_vsvm_error.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_error.
 */
int vsvm_error_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_error *args = data;
	struct vsvm_error error;
	struct vsvm_vm *vm;
	u64 lost;
	int ret;

	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%llx: must be 0\n", args->flags, args->pad);
		return -EINVAL;
	}

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	ret = vsvm_vm_error_take(vm, &error, &lost);
	if (!ret) {
		args->flags = error.flags;
		args->job_id = error.job_id;
		args->instr = error.instr;
		args->error = error.error;
		args->addr = error.addr;
		args->lost = lost;
	}
	vsvm_vm_put(vm);
	return ret;
}

/**
 * vsvm_stats_ioctl() - DRM_IOCTL_VSVM_STATS
 * @drm: The device.
 * @data: A &struct drm_vsvm_stats.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_stats.
 */
int vsvm_stats_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_stats_data stats;
	struct drm_vsvm_stats *args = data;
	struct vsvm_vm *vm;
	int ret = 0;

	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%x: must be 0\n", args->flags, args->pad);
		return -EINVAL;
	}

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	vsvm_vm_read_stats(vm, &stats);
	if (copy_to_user(u64_to_user_ptr(args->data), &stats,
			 min_t(size_t, args->size, sizeof(stats)))) {
		drm_dbg(drm, "data 0x%llx: cannot be written\n", args->data);
		ret = -EFAULT;
	} else {
		args->size = sizeof(stats);
	}
	vsvm_vm_put(vm);
	return ret;
}
