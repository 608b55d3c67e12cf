// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Fenced: instances whose jobs do not fault.
 */

#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include <drm/drm_device.h>
#include <drm/drm_print.h>

#include "gpusvm_mgr_internal.h"

/**
 * DOC: Jobs that do not fault
 *
 * A job that completes a dma_fence must not wait for a page fault: memory may be
 * reclaimed only when that fence has signalled. So what such a job uses of its
 * process, user pointers, is mapped before it is submitted, and stays mapped
 * until it has ended. It is the invalidation that waits::
 *
 *	submission				invalidation
 *	----------				------------
 *	map all that is mirrored		start pass: stops + 1
 *	instance lock for read:			finish pass: wait for fences
 *	  stops, or anything not mapped?	  instance lock for write:
 *	  yes: again				    zap, stale, stops - 1
 *	  no: add the job's fence		  flush, wait, unmap as usual
 *
 * Either the job is submitted before the start pass has the lock, then its fence
 * is waited for; or it sees the stop, and what was zapped when that is over. All
 * other zaps stop submissions in the same way. The fences of such an instance are
 * the only ones that an invalidation waits for, and they never wait for it: what
 * submission has to wait for comes before the fence is there.
 */

/**
 * gpusvm_mgr_fenced_stop() - Have no job submitted
 * @instance: The instance. Takes its lock for write.
 *
 * Until gpusvm_mgr_fenced_go(). Does not wait for anything.
 */
void gpusvm_mgr_fenced_stop(struct drm_gpusvm_instance *instance)
{
	down_write(&instance->svm.notifier_lock);
	instance->stops++;
	up_write(&instance->svm.notifier_lock);
}

/**
 * gpusvm_mgr_fenced_go() - Have jobs submitted again
 * @instance: The instance. Takes its lock for write.
 */
void gpusvm_mgr_fenced_go(struct drm_gpusvm_instance *instance)
{
	down_write(&instance->svm.notifier_lock);
	WRITE_ONCE(instance->stops, instance->stops - 1);
	up_write(&instance->svm.notifier_lock);
	wake_up_all(&instance->flush_wait);
}

/**
 * gpusvm_mgr_fenced_pause() - Have no job at work, where jobs do not fault
 * @instance: The instance, any. None of its locks is held.
 *
 * Until gpusvm_mgr_fenced_resume(). To be called before a zap outside an
 * invalidation.
 */
void gpusvm_mgr_fenced_pause(struct drm_gpusvm_instance *instance)
{
	if (!gpusvm_mgr_is_fenced(instance))
		return;

	gpusvm_mgr_fenced_stop(instance);
	instance->ops->quiesce(instance);
}

/**
 * gpusvm_mgr_fenced_resume() - Undo gpusvm_mgr_fenced_pause()
 * @instance: The instance, any.
 */
void gpusvm_mgr_fenced_resume(struct drm_gpusvm_instance *instance)
{
	if (gpusvm_mgr_is_fenced(instance))
		gpusvm_mgr_fenced_go(instance);
}

/* The next span that is seen from an address on. */
static bool gpusvm_mgr_fenced_span(struct drm_gpusvm_instance *instance,
				   unsigned long addr, struct drm_gpusvm_view *view)
{
	struct gpusvm_mgr_mirror_span *span;

	drm_gpusvm_notifier_lock(&instance->svm);
	span = gpusvm_mgr_mirror_next_gpu(instance->mirror, NULL, addr, ULONG_MAX);
	if (span) {
		view->start = max(span->gpu.start, addr);
		view->end = span->gpu.last + 1;
		view->va = span->cpu.start + (view->start - span->gpu.start);
	}
	drm_gpusvm_notifier_unlock(&instance->svm);
	return span;
}

/* Maps the range at an address; where it may not be written, for reading. */
static int gpusvm_mgr_fenced_fill(struct drm_gpusvm_instance *instance,
				  unsigned long addr)
{
	struct drm_gpusvm_fault fault = {
		.addr = addr,
		.access = DRM_GPUSVM_ACCESS_WRITE,
	};
	int err;

	err = drm_gpusvm_mgr_fault(instance, &fault);
	if (err == -EPERM || err == -EACCES) {
		fault.access = DRM_GPUSVM_ACCESS_READ;
		err = drm_gpusvm_mgr_fault(instance, &fault);
	}
	return err;
}

/* Maps all that is seen. */
static int gpusvm_mgr_fenced_fill_all(struct drm_gpusvm_instance *instance)
{
	struct drm_gpusvm_mgr_range *range;
	struct drm_gpusvm_view view;
	unsigned long addr = 0;
	int err;

	/* By address, as spans may come and go. Ends: it only ever goes forward. */
	while (gpusvm_mgr_fenced_span(instance, addr, &view)) {
		unsigned long step = PAGE_SIZE;

		err = gpusvm_mgr_fenced_fill(instance, view.start);
		if (err == -ENOENT)
			err = 0;
		if (err)
			return err;

		range = gpusvm_mgr_tree_find(&instance->mgr->tree, view.va);
		if (range) {
			step = range->end - view.va;
			gpusvm_mgr_range_put(range);
		}
		addr = min(view.start + step, view.end);
		cond_resched();
	}
	return 0;
}

/* Has all that jobs need been mapped? If not, that is begun anew. */
static int gpusvm_mgr_fenced_validate(struct drm_gpusvm_instance *instance)
{
	int err;

	if (!READ_ONCE(instance->stale))
		return 0;

	/* Before: what is zapped meanwhile sets it again. */
	down_write(&instance->svm.notifier_lock);
	WRITE_ONCE(instance->stale, false);
	up_write(&instance->svm.notifier_lock);

	err = gpusvm_mgr_fenced_fill_all(instance);
	if (err) {
		down_write(&instance->svm.notifier_lock);
		WRITE_ONCE(instance->stale, true);
		up_write(&instance->svm.notifier_lock);
	}
	return err;
}

/**
 * drm_gpusvm_instance_submit_begin() - Begin to submit a job that does not fault
 * @instance: The instance, attached with %DRM_GPUSVM_INSTANCE_FENCED, see
 *	drm_gpusvm_mgr_fault_batch(). Submissions exclude each other by a lock of
 *	the caller's.
 *
 * Maps all that is mirrored. On success the instance lock is held for read: the
 * caller adds the job's fence to where &drm_gpusvm_instance_ops.quiesce will find
 * it, allocates nothing, and calls drm_gpusvm_instance_submit_end(). May sleep
 * until then.
 *
 * Return: 0; -EFAULT: a part of what is mirrored is not mapped in the process;
 * -EIO: or is memory that devices cannot use; -EBUSY: it was invalidated again and
 * again for a second; -ENODEV: the instance was killed; -ENOMEM; -EINTR: a fatal
 * signal.
 */
int drm_gpusvm_instance_submit_begin(struct drm_gpusvm_instance *instance)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(GPUSVM_MGR_FAULT_MS);
	unsigned int looks = 0;
	int err;

	might_sleep();

	for (;;) {
		/* Ends: who has stopped it waits for fences only. */
		err = wait_event_killable(instance->flush_wait, !READ_ONCE(instance->stops));
		if (err)
			return -EINTR;

		err = gpusvm_mgr_fenced_validate(instance);
		if (err)
			return err;

		drm_gpusvm_notifier_lock(&instance->svm);
		if (instance->dead)
			err = -ENODEV;
		else if (instance->stops || instance->stale)
			err = -EAGAIN;
		if (!err)
			return 0;
		drm_gpusvm_notifier_unlock(&instance->svm);
		if (err != -EAGAIN)
			return err;
		/* As gpusvm_mgr_serve() does. */
		if (++looks >= GPUSVM_MGR_FAULT_LOOKS && time_after(jiffies, deadline))
			return -EBUSY;
	}
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_submit_begin);

/**
 * drm_gpusvm_instance_submit_end() - The job is submitted, or will not be
 * @instance: The instance.
 */
void drm_gpusvm_instance_submit_end(struct drm_gpusvm_instance *instance)
{
	drm_gpusvm_notifier_unlock(&instance->svm);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_submit_end);
