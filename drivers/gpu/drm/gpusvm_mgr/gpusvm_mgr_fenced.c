// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Fenced: instances whose jobs do not fault.
 */

#include <linux/export.h>
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
 *	prepare: map all that is mirrored
 *						start pass: stops + 1
 *	begin: instance lock for read:		finish pass: wait for fences
 *	  stops, or anything not mapped?	  instance lock for write:
 *	  yes: again				    zap, stale, stops - 1
 *	  no: add the job's fence		  flush, wait, unmap as usual
 *	end: unlock
 *
 * Either the job is submitted before the start pass has the lock, then its fence
 * is waited for; or it sees the stop, and what was zapped when that is over. All
 * other zaps stop submissions in the same way. The fences of such an instance are
 * the only ones that an invalidation waits for, and they never wait for it: what
 * submission has to wait for comes before the fence is there.
 *
 * Preparing serves page faults, takes the mmap lock, allocates, and may take for
 * ever, with a userfaultfd that nobody serves: the driver does it without the locks
 * that its teardown needs. From begin to end nothing of the kind is allowed. A driver
 * that has locks for its objects takes them in between::
 *
 *	lock of submissions, interruptible
 *	again:
 *	drm_gpusvm_instance_submit_prepare()
 *	lock the VM and its objects, allocate, reserve a place for the fence
 *	drm_gpusvm_instance_submit_begin()
 *	  -EAGAIN: unlock all of that, again
 *	publish the fence, push the job
 *	drm_gpusvm_instance_submit_end()
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
	WRITE_ONCE(instance->stops, instance->stops + 1);
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
	gpusvm_mgr_assert_may_wait(instance);
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
				   unsigned long addr, struct drm_gpusvm_view *view,
				   bool *read_only)
{
	struct gpusvm_mgr_mirror_span *span;

	drm_gpusvm_notifier_lock(&instance->svm);
	span = gpusvm_mgr_mirror_next_gpu(instance->mirror, NULL, addr, ULONG_MAX);
	if (span) {
		view->start = max(span->gpu.start, addr);
		view->end = span->gpu.last + 1;
		view->va = span->cpu.start + (view->start - span->gpu.start);
		*read_only = span->read_only;
	}
	drm_gpusvm_notifier_unlock(&instance->svm);
	return span;
}

/* Maps the range at an address; where an attribute forbids writes, for reading. */
static int gpusvm_mgr_fenced_fill(struct drm_gpusvm_instance *instance,
				  unsigned long addr, bool read_only)
{
	struct drm_gpusvm_fault fault = {
		.addr = addr,
		.access = read_only ? DRM_GPUSVM_ACCESS_READ : DRM_GPUSVM_ACCESS_WRITE,
	};
	int err;

	err = drm_gpusvm_mgr_fault(instance, &fault);
	if (err == -EACCES && !read_only) {
		fault.access = DRM_GPUSVM_ACCESS_READ;
		err = drm_gpusvm_mgr_fault(instance, &fault);
	}
	return err;
}

/*
 * How far is it mapped, from an address on, as it is needed? Another instance may
 * have had pages walked for reading only, of which some could be written anyway.
 * Where it was zapped meanwhile the answer does not matter: it is stale.
 */
static unsigned long gpusvm_mgr_fenced_step(struct drm_gpusvm_instance *instance,
					    unsigned long va, bool read_only)
{
	struct drm_gpusvm_mgr_range *range = gpusvm_mgr_tree_find(&instance->mgr->tree, va);
	struct drm_gpusvm_mapping *mapping;
	unsigned long end;
	int idx;

	if (!range)
		return PAGE_SIZE;

	end = range->end;
	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	mapping = gpusvm_mgr_mapping_find(range, instance);
	drm_gpusvm_notifier_lock(&instance->svm);
	/* Another fault may be filling it; then its snapshot comes before this. */
	if (mapping && smp_load_acquire(&mapping->ptes) && !mapping->read_only && !read_only)
		end = range->start + PAGE_SIZE *
		      gpusvm_mgr_snapshot_writable(mapping->snapshot,
						   (va - range->start) >> PAGE_SHIFT);
	drm_gpusvm_notifier_unlock(&instance->svm);
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	gpusvm_mgr_range_put(range);
	return max(end - va, PAGE_SIZE);
}

/* Maps all that is seen. */
static int gpusvm_mgr_fenced_fill_all(struct drm_gpusvm_instance *instance)
{
	struct drm_gpusvm_view view;
	unsigned long addr = 0;
	bool read_only;
	int err;

	/* By address, as spans may come and go. Ends: it only ever goes forward. */
	while (gpusvm_mgr_fenced_span(instance, addr, &view, &read_only)) {
		err = gpusvm_mgr_fenced_fill(instance, view.start, read_only);
		if (err == -ENOENT)
			err = 0;
		if (err) {
			drm_dbg(instance->drm, "%s: 0x%lx, seen at 0x%lx: cannot be mapped, %d\n",
				instance->name, view.va, view.start, err);
			return err;
		}

		addr = min(view.start + gpusvm_mgr_fenced_step(instance, view.va, read_only),
			   view.end);
		cond_resched();
	}
	return 0;
}

static void gpusvm_mgr_fenced_set_stale(struct drm_gpusvm_instance *instance, bool stale)
{
	down_write(&instance->svm.notifier_lock);
	WRITE_ONCE(instance->stale, stale);
	up_write(&instance->svm.notifier_lock);
}

/**
 * drm_gpusvm_instance_submit_prepare() - Prepare to submit jobs that do not fault
 * @instance: The instance, attached with %DRM_GPUSVM_INSTANCE_FENCED. The caller
 *	keeps it from being detached until drm_gpusvm_instance_submit_end(): detach
 *	does not wait for what is between the faults that this serves. Submissions
 *	exclude each other, from here to there, by a lock of the caller's that nobody
 *	needs who must not wait for a page fault.
 *
 * Maps all that is mirrored, for writing where it is not mirrored read-only. Sleeps,
 * and serves page faults.
 *
 * Return: 0; -EFAULT: a part of what is mirrored is not mapped in the process;
 * -EPERM: or may not be written; -EIO: or is memory that devices cannot use; -EBUSY:
 * it was invalidated again and again for a second; -ENODEV: the instance was killed;
 * -ENOMEM; -EINTR: a fatal signal.
 */
int drm_gpusvm_instance_submit_prepare(struct drm_gpusvm_instance *instance)
{
	int err;

	might_sleep();

	/* Ends: who has stopped it waits for fences only. */
	if (wait_event_killable(instance->flush_wait, !READ_ONCE(instance->stops)))
		return -EINTR;
	if (!READ_ONCE(instance->stale))
		return 0;

	/* Before: what is zapped meanwhile sets it again. */
	gpusvm_mgr_fenced_set_stale(instance, false);
	err = gpusvm_mgr_fenced_fill_all(instance);
	if (err)
		gpusvm_mgr_fenced_set_stale(instance, true);
	return err;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_submit_prepare);

/**
 * drm_gpusvm_instance_submit_begin() - Begin to submit a job that does not fault
 * @instance: The instance, prepared.
 *
 * On success the instance lock is held for read: the caller adds the job's fence to
 * where &drm_gpusvm_instance_ops.quiesce will find it, allocates nothing, and calls
 * drm_gpusvm_instance_submit_end(). May sleep until then.
 *
 * Return: 0; -EAGAIN: not all of it is mapped any more, prepare again; -ENODEV: the
 * instance was killed.
 */
int drm_gpusvm_instance_submit_begin(struct drm_gpusvm_instance *instance)
{
	int err = 0;

	might_sleep();

	drm_gpusvm_notifier_lock(&instance->svm);
	if (instance->dead)
		err = -ENODEV;
	else if (instance->stops || instance->stale)
		err = -EAGAIN;
	if (err)
		drm_gpusvm_notifier_unlock(&instance->svm);
	return err;
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
