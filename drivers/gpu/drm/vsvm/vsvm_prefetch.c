// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Prefetch: moving memory because user space asks for it, at once or behind a user
 * fence.
 *
 * It takes the mmap lock, allocates memory, and may wait for a userfaultfd, so no
 * dma_fence may stand for it. With a user fence it is a request in a list of the VM,
 * done by a work item of the VM's, one after the other; what then writes the fence
 * is the device itself, in a job of its own, as it would on hardware:
 *
 *	ioctl			worker			engine
 *	-----			------			------
 *	allocates the job
 *	queues the request
 *	returns the job's id	moves the memory
 *				submits the job		runs nothing, writes the
 *							fence, wakes
 *
 * Nothing can fail between the return of the ioctl and the fence but the prefetch
 * itself, which the fence then says, and the death of the VM, which is told to
 * whoever waits.
 */

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"

/**
 * struct vsvm_prefetch - A prefetch that has a fence
 * @link: In &vsvm_vm.prefetches. Protected by &vsvm_device.lock
 * @job: What writes the fence. Immutable
 * @start: First address. Immutable
 * @end: End address, exclusive. Immutable
 * @dpagemap: Where to, NULL: to system memory; with a reference. Immutable
 * @flags: DRM_GPUSVM_PREFETCH_*. Immutable
 */
struct vsvm_prefetch {
	struct list_head link;
	struct vsvm_job *job;
	unsigned long start;
	unsigned long end;
	struct drm_pagemap *dpagemap;
	unsigned int flags;
};

static_assert(DRM_VSVM_PREFETCH_MAP == DRM_GPUSVM_PREFETCH_MAP);

static int vsvm_prefetch_do(struct vsvm_vm *vm, unsigned long start, unsigned long end,
			    struct drm_pagemap *dpagemap, unsigned int flags, u64 *missed)
{
	int ret;

	ret = vsvm_vm_begin(vm);
	if (ret)
		return ret;
	ret = vm->svm->prefetch(vm, start, end, dpagemap, flags, missed);
	vsvm_vm_end(vm);
	/* The back end was killed after we had looked. */
	return ret == -ENODEV ? READ_ONCE(vm->dead) ?: ret : ret;
}

static struct vsvm_prefetch *vsvm_prefetch_first(struct vsvm_vm *vm)
{
	struct vsvm_prefetch *prefetch;

	spin_lock(&vm->dev->lock);
	prefetch = list_first_entry_or_null(&vm->prefetches, struct vsvm_prefetch, link);
	if (prefetch)
		list_del_init(&prefetch->link);
	spin_unlock(&vm->dev->lock);
	return prefetch;
}

static void vsvm_prefetch_work(struct work_struct *work)
{
	struct vsvm_vm *vm = container_of(work, struct vsvm_vm, prefetch_work);
	struct vsvm_prefetch *prefetch;
	u64 missed, id;

	while ((prefetch = vsvm_prefetch_first(vm))) {
		struct vsvm_job *job = prefetch->job;
		int ret;

		job->outcome = vsvm_prefetch_do(vm, prefetch->start, prefetch->end,
						prefetch->dpagemap, prefetch->flags,
						&missed);
		drm_pagemap_put(prefetch->dpagemap);
		kfree(prefetch);

		/* Frees the job where the VM has died: then there is no fence. */
		ret = vsvm_engine_submit_wait(job, &id);
		if (ret)
			drm_dbg(&vm->dev->drm, "VM %u: no fence of a prefetch, %d\n", vm->id,
				ret);

		spin_lock(&vm->dev->lock);
		WRITE_ONCE(vm->num_prefetches, vm->num_prefetches - 1);
		spin_unlock(&vm->dev->lock);
		vsvm_vm_wake(vm);
		cond_resched();
	}
	/* May be the last one, and then detaches. */
	vsvm_vm_put(vm);
}

/**
 * vsvm_prefetch_vm_init() - Make a VM's part of it
 * @vm: The VM.
 */
void vsvm_prefetch_vm_init(struct vsvm_vm *vm)
{
	INIT_LIST_HEAD(&vm->prefetches);
	INIT_WORK(&vm->prefetch_work, vsvm_prefetch_work);
}

/* Takes over the request and its job. */
static int vsvm_prefetch_queue(struct vsvm_vm *vm, struct vsvm_prefetch *prefetch, u64 *id)
{
	struct vsvm_device *dev = vm->dev;
	int ret;

	/* As vsvm_engine_reserve() does for jobs. */
	for (;;) {
		spin_lock(&dev->lock);
		ret = vm->dead;
		if (ret || vm->num_prefetches < DRM_VSVM_MAX_PREFETCHES)
			break;
		spin_unlock(&dev->lock);

		ret = wait_event_interruptible(vm->wait, READ_ONCE(vm->dead) ||
					       READ_ONCE(vm->num_prefetches) <
					       DRM_VSVM_MAX_PREFETCHES);
		if (ret)
			return -EINTR;
	}

	/* The lock is held; with @ret, the VM is dead. */
	if (!ret) {
		prefetch->job->id = ++vm->next_job;
		*id = prefetch->job->id;
		WRITE_ONCE(vm->num_prefetches, vm->num_prefetches + 1);
		list_add_tail(&prefetch->link, &vm->prefetches);
		vsvm_vm_get(vm);
	}
	spin_unlock(&dev->lock);
	if (ret)
		return ret;

	if (!queue_work(vsvm_wq, &vm->prefetch_work))
		vsvm_vm_put(vm);
	return 0;
}

static int vsvm_prefetch_later(struct vsvm_vm *vm, const struct drm_vsvm_prefetch *args,
			       struct drm_pagemap *dpagemap, u64 *id)
{
	struct vsvm_prefetch *prefetch;
	int ret;

	prefetch = kzalloc_obj(*prefetch);
	if (!prefetch)
		return -ENOMEM;
	prefetch->start = args->start;
	prefetch->end = args->start + args->size;
	prefetch->dpagemap = drm_pagemap_get(dpagemap);
	prefetch->flags = args->flags;

	/* A program of no instructions: all that it does is to end. */
	prefetch->job = vsvm_job_alloc(vm, NULL, 0, false);
	if (!prefetch->job) {
		ret = -ENOMEM;
		goto err_free;
	}
	prefetch->job->queue = &vm->queues[VSVM_QUEUE_PREFETCH];
	prefetch->job->fence_addr = args->fence_addr;
	prefetch->job->fence_value = args->fence_value;

	ret = vsvm_prefetch_queue(vm, prefetch, id);
	if (ret)
		goto err_job;
	return 0;

err_job:
	vsvm_job_free(prefetch->job);
err_free:
	drm_pagemap_put(prefetch->dpagemap);
	kfree(prefetch);
	return ret;
}

static int vsvm_prefetch_check(struct drm_device *drm, const struct drm_vsvm_prefetch *args)
{
	if (args->flags & ~DRM_VSVM_PREFETCH_MAP || args->pad || args->missed) {
		drm_dbg(drm, "flags 0x%x, missed 0x%llx, pad 0x%llx: unknown, or must be 0\n",
			args->flags, args->missed, args->pad);
		return -EINVAL;
	}
	if ((args->location != DRM_VSVM_LOCATION_SYSTEM &&
	     args->location != DRM_VSVM_LOCATION_DEVICE) ||
	    (args->device && args->location != DRM_VSVM_LOCATION_DEVICE)) {
		drm_dbg(drm, "location %u, device %d: unknown, or must be 0\n",
			args->location, args->device);
		return -EINVAL;
	}
	if (!IS_ALIGNED(args->fence_addr, sizeof(u64))) {
		drm_dbg(drm, "fence_addr 0x%llx: not aligned\n", args->fence_addr);
		return -EINVAL;
	}
	if ((args->fence_value & DRM_VSVM_FENCE_ERROR) ||
	    (args->fence_value && !args->fence_addr)) {
		drm_dbg(drm, "fence_addr 0x%llx, fence_value 0x%llx: has the error bit, or no fence\n",
			args->fence_addr, args->fence_value);
		return -EINVAL;
	}
	return vsvm_attr_check_span(drm, args->start, args->size);
}

/**
 * vsvm_prefetch_ioctl() - DRM_IOCTL_VSVM_PREFETCH
 * @drm: The device.
 * @data: A &struct drm_vsvm_prefetch.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_prefetch.
 */
int vsvm_prefetch_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_prefetch *args = data;
	struct drm_pagemap *dpagemap = NULL;
	struct vsvm_vm *vm;
	u64 missed;
	int ret;

	ret = vsvm_prefetch_check(drm, args);
	if (ret)
		return ret;

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	if (!vm->svm->prefetch) {
		drm_dbg(drm, "vm_id %u: its back end has no prefetch\n", args->vm_id);
		ret = -EOPNOTSUPP;
		goto put_vm;
	}
	/* Said at once also where the rest is done later. */
	if (args->start + args->size > current->mm->task_size) {
		drm_dbg(drm, "start 0x%llx, size 0x%llx: beyond the end\n", args->start,
			args->size);
		ret = -EINVAL;
		goto put_vm;
	}
	if (args->location == DRM_VSVM_LOCATION_DEVICE) {
		dpagemap = vsvm_attr_pagemap(to_vsvm(drm), args->device);
		if (IS_ERR(dpagemap)) {
			ret = PTR_ERR(dpagemap);
			goto put_vm;
		}
	}

	if (args->fence_addr) {
		ret = vsvm_prefetch_later(vm, args, dpagemap, &args->job_id);
	} else {
		ret = vsvm_prefetch_do(vm, args->start, args->start + args->size, dpagemap,
				       args->flags, &missed);
		if (!ret) {
			args->missed = missed;
			args->job_id = 0;
		}
	}
	if (ret)
		drm_dbg(drm, "start 0x%llx, size 0x%llx: no prefetch, %d\n", args->start,
			args->size, ret);
	drm_pagemap_put(dpagemap);
put_vm:
	vsvm_vm_put(vm);
	return ret;
}
