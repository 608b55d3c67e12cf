// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Submitting jobs and waiting for their user fences.
 */

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_exec.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/*
 * A fence may also be written by the CPU or by another device, and nobody wakes
 * a waiter for that: so it looks again after this time, at the latest.
 */
#define VSVM_WAIT_POLL_NS	(10 * NSEC_PER_MSEC)

static int vsvm_exec_check(struct drm_device *drm, const struct drm_vsvm_exec *args)
{
	if (args->flags || args->pad || args->pad2) {
		drm_dbg(drm, "flags 0x%x, pad 0x%llx, pad2 0x%x: must be 0\n", args->flags,
			args->pad, args->pad2);
		return -EINVAL;
	}
	if (args->queue >= DRM_VSVM_MAX_QUEUES) {
		drm_dbg(drm, "queue %u: there are %u\n", args->queue, DRM_VSVM_MAX_QUEUES);
		return -EINVAL;
	}
	if (!args->num_instrs || args->num_instrs > DRM_VSVM_MAX_INSTRS) {
		drm_dbg(drm, "num_instrs %u: must be 1 to %u\n", args->num_instrs,
			DRM_VSVM_MAX_INSTRS);
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
	return 0;
}

/* The VM is locked: from here on others may see the job's fence. */
static void vsvm_exec_add_fence(struct vsvm_job *job, struct vsvm_fence *fence,
				struct drm_exec *exec)
{
	struct vsvm_vm_bind *bind = &job->vm->bind;
	u32 queue = job->queue->index;

	vsvm_fence_init(fence, job->vm->dev, "exec", bind->exec_context + queue,
			++bind->exec_seqno[queue]);
	job->fence = &fence->base;
	vsvm_userptr_add_job(job->vm, queue, job->fence);
	drm_gpuvm_resv_add_fence(&bind->gpuvm, exec, job->fence, DMA_RESV_USAGE_BOOKKEEP,
				 DMA_RESV_USAGE_BOOKKEEP);
}

/*
 * One attempt to submit a job that stands behind a kernel fence. What can fail comes
 * first: once the fence was seen, it signals. Returns -EAGAIN where user pointers have
 * to be mapped again. The job is taken over or not, whatever is returned.
 */
static int vsvm_exec_attempt(struct vsvm_job *job, struct vsvm_fence *fence,
			     struct vsvm_syncs *syncs, u64 *id, bool *taken)
{
	struct vsvm_vm *vm = job->vm;
	struct drm_exec exec;
	int ret;

	ret = vsvm_userptr_prepare(vm);
	if (ret)
		return READ_ONCE(vm->dead) ?: ret;
	if (mutex_lock_interruptible(&vm->bind.lock))
		return -EINTR;

	drm_exec_init(&exec, DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES, 0);
	ret = READ_ONCE(vm->dead) ?: vsvm_bind_exec_lock(vm, &exec);
	if (!ret)
		ret = vsvm_userptr_begin(vm);
	if (ret) {
		ret = READ_ONCE(vm->dead) ?: ret;
		goto unlock;
	}
	vsvm_job_wait_for(job, syncs);
	vsvm_exec_add_fence(job, fence, &exec);
	/* The job has the other reference, and may be gone soon. */
	dma_fence_get(&fence->base);
	*taken = true;
	ret = vsvm_engine_submit(job, id);
	vsvm_userptr_end(vm);
	if (!ret)
		vsvm_syncs_publish(syncs, &fence->base);
	dma_fence_put(&fence->base);
unlock:
	/*
	 * In this order: what is locked is bound, and stays so until the bind lock is
	 * given up. So none of these is the last reference to an object, which might
	 * have to lock another one to be freed.
	 */
	drm_exec_fini(&exec);
	mutex_unlock(&vm->bind.lock);
	/* The fence was seen, and has to signal. */
	if (ret && *taken)
		vsvm_engine_refuse(job, ret);
	return ret;
}

/* Submits a job that stands behind a kernel fence. Takes it over. */
static int vsvm_exec_fenced(struct vsvm_job *job, struct vsvm_syncs *syncs, u64 *id)
{
	struct vsvm_userptr_tries tries;
	struct vsvm_vm *vm = job->vm;
	struct vsvm_fence *fence;
	bool taken = false;
	int ret;

	fence = vsvm_fence_alloc();
	if (!fence) {
		ret = -ENOMEM;
		goto err_job;
	}
	ret = vsvm_engine_reserve(vm);
	if (ret)
		goto err_fence;
	/* To the end, so that the library knows the VM. */
	ret = vsvm_vm_begin(vm);
	if (ret)
		goto err_place;
	if (mutex_lock_interruptible(&vm->bind.submit_lock)) {
		vsvm_vm_end(vm);
		ret = -EINTR;
		goto err_place;
	}

	vsvm_userptr_tries_begin(&tries);
	do {
		ret = vsvm_exec_attempt(job, fence, syncs, id, &taken);
	} while (ret == -EAGAIN && vsvm_userptr_try_again(&tries));
	mutex_unlock(&vm->bind.submit_lock);
	vsvm_vm_end(vm);
	if (taken)
		return ret;
	if (ret == -EAGAIN)
		ret = -EBUSY;
err_place:
	vsvm_engine_unreserve(vm);
err_fence:
	kfree(fence);
err_job:
	vsvm_job_free(job);
	return ret;
}

/* Takes the job over. */
static int vsvm_exec_submit(struct vsvm_job *job, struct vsvm_syncs *syncs, u64 *id)
{
	if (vsvm_vm_bound_only(job->vm))
		return vsvm_exec_fenced(job, syncs, id);
	return vsvm_engine_submit_wait(job, id);
}

static struct vsvm_job *vsvm_exec_job(struct vsvm_vm *vm, const struct drm_vsvm_exec *args)
{
	struct drm_device *drm = &vm->dev->drm;
	struct drm_vsvm_instr *instrs;
	struct vsvm_job *job;
	bool hist;
	int ret;

	instrs = vmemdup_array_user(u64_to_user_ptr(args->instrs), args->num_instrs,
				    sizeof(*instrs));
	if (IS_ERR(instrs)) {
		drm_dbg(drm, "instrs 0x%llx: cannot be read, %pe\n", args->instrs, instrs);
		return ERR_CAST(instrs);
	}

	ret = vsvm_program_check(vm->dev, instrs, args->num_instrs, &hist);
	if (ret)
		goto err_free;
	job = vsvm_job_alloc(vm, instrs, args->num_instrs, hist);
	if (!job) {
		ret = -ENOMEM;
		goto err_free;
	}
	job->queue = &vm->queues[args->queue];
	job->fence_addr = args->fence_addr;
	job->fence_value = args->fence_value;
	return job;

err_free:
	kvfree(instrs);
	return ERR_PTR(ret);
}

/**
 * vsvm_exec_ioctl() - DRM_IOCTL_VSVM_EXEC
 * @drm: The device.
 * @data: A &struct drm_vsvm_exec.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_exec.
 */
int vsvm_exec_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_exec *args = data;
	struct vsvm_syncs syncs;
	struct vsvm_job *job;
	struct vsvm_vm *vm;
	int ret;

	ret = vsvm_exec_check(drm, args);
	if (ret)
		return ret;

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	/* Such a job may wait for a fault, and nobody may wait for it. */
	if (args->num_syncs && !vsvm_vm_bound_only(vm)) {
		drm_dbg(drm, "num_syncs %u: the VM has mirrors\n", args->num_syncs);
		ret = -EINVAL;
		goto put_vm;
	}

	ret = vsvm_syncs_parse(file, args->syncs, args->num_syncs, &syncs);
	if (ret)
		goto free_syncs;
	job = vsvm_exec_job(vm, args);
	if (IS_ERR(job)) {
		ret = PTR_ERR(job);
		goto free_syncs;
	}

	ret = vsvm_exec_submit(job, &syncs, &args->job_id);
	if (ret)
		drm_dbg(drm, "vm_id %u: job not accepted, %d\n", args->vm_id, ret);
free_syncs:
	vsvm_syncs_fini(&syncs);
put_vm:
	vsvm_vm_put(vm);
	return ret;
}

/* The word behind a fence: 1 where it is not there yet. */
static int vsvm_wait_look(u64 __user *ptr, u64 value)
{
	u64 word;

	if (get_user(word, ptr))
		return -EFAULT;
	if ((word & ~DRM_VSVM_FENCE_ERROR) < value)
		return 1;
	/* What the job wrote is seen by whoever sees its fence. */
	smp_rmb();
	return word & DRM_VSVM_FENCE_ERROR ? -EIO : 0;
}

/*
 *	waiter				engine
 *	------				------
 *	reads events: 7
 *	reads the word: old
 *					writes the word
 *					events: 8, wakes
 *	events are not 7: looks again
 */
static int vsvm_wait(struct vsvm_vm *vm, u64 __user *ptr, u64 value, s64 timeout_ns)
{
	ktime_t deadline = KTIME_MAX;
	int ret;

	if (timeout_ns >= 0)
		deadline = ktime_add_safe(ktime_get(), ns_to_ktime(timeout_ns));

	for (;;) {
		/* Dead before the word: a fence that was written in time counts. */
		int dead = READ_ONCE(vm->dead);
		int events = atomic_read_acquire(&vm->events);
		s64 left;

		ret = vsvm_wait_look(ptr, value);
		if (ret <= 0)
			return ret;
		if (dead) {
			/* An engine may be in its last step, and write the word. */
			wait_event(vm->wait, !READ_ONCE(vm->running));
			/* The word is read after that, not before. */
			smp_rmb();
			ret = vsvm_wait_look(ptr, value);
			return ret <= 0 ? ret : dead;
		}

		left = ktime_to_ns(ktime_sub(deadline, ktime_get()));
		if (left <= 0)
			return -ETIME;
		left = min_t(s64, left, VSVM_WAIT_POLL_NS);
		ret = wait_event_interruptible_timeout(vm->wait,
						       atomic_read(&vm->events) != events,
						       nsecs_to_jiffies(left) + 1);
		if (ret < 0)
			return -EINTR;
	}
}

/**
 * vsvm_wait_ioctl() - DRM_IOCTL_VSVM_WAIT
 * @drm: The device.
 * @data: A &struct drm_vsvm_wait.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_wait.
 */
int vsvm_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_wait *args = data;
	struct vsvm_vm *vm;
	int ret;

	if (args->pad) {
		drm_dbg(drm, "pad 0x%x: must be 0\n", args->pad);
		return -EINVAL;
	}
	if (!IS_ALIGNED(args->addr, sizeof(u64))) {
		drm_dbg(drm, "addr 0x%llx: not aligned\n", args->addr);
		return -EINVAL;
	}
	if (args->value & DRM_VSVM_FENCE_ERROR) {
		drm_dbg(drm, "value 0x%llx: has the error bit\n", args->value);
		return -EINVAL;
	}

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	ret = vsvm_wait(vm, u64_to_user_ptr(args->addr), args->value, args->timeout_ns);
	if (ret == -EFAULT)
		drm_dbg(drm, "addr 0x%llx: cannot be read\n", args->addr);
	vsvm_vm_put(vm);
	return ret;
}
