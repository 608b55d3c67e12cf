// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Submitting jobs and waiting for their user fences.
 */

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"

/*
 * A fence may also be written by the CPU or by another device, and nobody wakes
 * a waiter for that: so it looks again after this time, at the latest.
 */
#define VSVM_WAIT_POLL_NS	(10 * NSEC_PER_MSEC)

static int vsvm_exec_check(struct drm_device *drm, const struct drm_vsvm_exec *args)
{
	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%llx: must be 0\n", args->flags, args->pad);
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
		drm_dbg(drm, "fence_value 0x%llx: has the error bit, or no fence\n",
			args->fence_value);
		return -EINVAL;
	}
	return 0;
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
	struct drm_vsvm_instr *instrs;
	struct vsvm_job *job;
	struct vsvm_vm *vm;
	bool hist;
	int ret;

	ret = vsvm_exec_check(drm, args);
	if (ret)
		return ret;

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);

	instrs = vmemdup_array_user(u64_to_user_ptr(args->instrs), args->num_instrs,
				    sizeof(*instrs));
	if (IS_ERR(instrs)) {
		ret = PTR_ERR(instrs);
		drm_dbg(drm, "instrs 0x%llx: cannot be read, %d\n", args->instrs, ret);
		goto put_vm;
	}

	ret = vsvm_program_check(to_vsvm(drm), instrs, args->num_instrs, &hist);
	if (ret)
		goto free_instrs;

	job = vsvm_job_alloc(vm, instrs, args->num_instrs, hist);
	if (!job) {
		ret = -ENOMEM;
		goto free_instrs;
	}
	job->queue = &vm->queues[args->queue];
	job->fence_addr = args->fence_addr;
	job->fence_value = args->fence_value;

	/* From here on the job has the program, whatever happens. */
	ret = vsvm_engine_submit(job, &args->job_id);
	if (ret)
		drm_dbg(drm, "vm_id %u: job not accepted, %d\n", args->vm_id, ret);
	goto put_vm;

free_instrs:
	kvfree(instrs);
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
