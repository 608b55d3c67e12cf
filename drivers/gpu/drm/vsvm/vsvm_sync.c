// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Kernel fences and syncobjs: what jobs of VMs without mirrors and binds wait
 * for, and what they complete.
 *
 * Whoever has seen a fence may wait for it while he reclaims memory. So from the
 * moment at which a fence can be seen, nothing that its signal depends on
 * allocates, takes a lock under which memory is allocated, or waits for somebody
 * who does: all that is needed is there before. Lockdep is told where that path
 * is, by dma_fence_begin_signalling().
 *
 * Fences of others may signal in any context, hence a work item goes from one to
 * the next:
 *
 *	work				fence
 *	----				-----
 *	adds its callback
 *	returns
 *					signals: queues the work
 *	adds its callback to the next
 *	all have signalled: done()
 */

#include <linux/dma-fence-chain.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <drm/drm_file.h>
#include <drm/drm_print.h>
#include <drm/drm_syncobj.h>

#include "vsvm_drv.h"

struct workqueue_struct *vsvm_fence_wq;

static const char *vsvm_fence_driver_name(struct dma_fence *fence)
{
	return "vsvm";
}

static const char *vsvm_fence_timeline_name(struct dma_fence *fence)
{
	return container_of(fence, struct vsvm_fence, base)->timeline;
}

/* No release: the fence may outlive the module once it has signalled. */
static const struct dma_fence_ops vsvm_fence_ops = {
	.get_driver_name = vsvm_fence_driver_name,
	.get_timeline_name = vsvm_fence_timeline_name,
};

/**
 * vsvm_fence_alloc() - Allocate a fence
 *
 * Until vsvm_fence_init() it is freed with kfree().
 *
 * Return: the fence, NULL where there is no memory.
 */
struct vsvm_fence *vsvm_fence_alloc(void)
{
	return kzalloc_obj(struct vsvm_fence);
}

/**
 * vsvm_fence_init() - Make a fence
 * @fence: The fence, which then has one reference.
 * @dev: The device.
 * @what: What it stands for, one word.
 * @context: Its timeline.
 * @seqno: Its place there; fences of a timeline signal in this order.
 */
void vsvm_fence_init(struct vsvm_fence *fence, struct vsvm_device *dev, const char *what,
		     u64 context, u64 seqno)
{
	/* Here and not in the callback: the device may be gone by then. */
	BUILD_BUG_ON(offsetof(struct vsvm_fence, base));
	snprintf(fence->timeline, sizeof(fence->timeline), "vsvm.%u-%s", dev->index, what);
	dma_fence_init64(&fence->base, &vsvm_fence_ops, NULL, context, seqno);
}

static void vsvm_deps_cb(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	struct vsvm_deps *deps = container_of(cb, struct vsvm_deps, cb);

	queue_work(vsvm_fence_wq, &deps->work);
}

static void vsvm_deps_work(struct work_struct *work)
{
	struct vsvm_deps *deps = container_of(work, struct vsvm_deps, work);
	bool cookie = dma_fence_begin_signalling();

	while (!READ_ONCE(deps->cancelled)) {
		struct dma_fence *fence;

		if (deps->next == deps->count) {
			/* From here on it may be gone. */
			deps->done(deps);
			break;
		}
		fence = deps->fences[deps->next++];
		if (!dma_fence_add_callback(fence, &deps->cb, vsvm_deps_cb))
			break;
	}
	dma_fence_end_signalling(cookie);
}

/**
 * vsvm_deps_init() - Make a set of fences to wait for
 * @deps: The set.
 * @syncs: Whose fences it takes over.
 * @done: See &struct vsvm_deps.
 */
void vsvm_deps_init(struct vsvm_deps *deps, struct vsvm_syncs *syncs,
		    void (*done)(struct vsvm_deps *deps))
{
	deps->fences = syncs->in;
	deps->count = syncs->num_in;
	deps->next = 0;
	deps->cancelled = false;
	deps->done = done;
	INIT_LIST_HEAD(&deps->cb.node);
	INIT_WORK(&deps->work, vsvm_deps_work);
	syncs->in = NULL;
	syncs->num_in = 0;
}

/**
 * vsvm_deps_start() - Begin to wait
 * @deps: The set.
 */
void vsvm_deps_start(struct vsvm_deps *deps)
{
	queue_work(vsvm_fence_wq, &deps->work);
}

/**
 * vsvm_deps_wait() - Wait here and now
 * @deps: The set, never started.
 *
 * Return: 0, or -EINTR.
 */
int vsvm_deps_wait(struct vsvm_deps *deps)
{
	u32 i;

	for (i = 0; i < deps->count; i++)
		if (dma_fence_wait(deps->fences[i], true))
			return -EINTR;
	return 0;
}

/**
 * vsvm_deps_cancel() - Do not wait any longer
 * @deps: The set. Also where it was never started, or is done.
 *
 * When this returns, done() is not running and will not be called. Sleeps.
 */
void vsvm_deps_cancel(struct vsvm_deps *deps)
{
	/*
	 * After the first call no callback is added, because a work that runs
	 * later sees the flag; the callback that is removed may have queued the
	 * work just before.
	 */
	WRITE_ONCE(deps->cancelled, true);
	cancel_work_sync(&deps->work);
	if (deps->next)
		dma_fence_remove_callback(deps->fences[deps->next - 1], &deps->cb);
	cancel_work_sync(&deps->work);
}

/**
 * vsvm_deps_fini() - Let go of the fences
 * @deps: The set, done or cancelled.
 */
void vsvm_deps_fini(struct vsvm_deps *deps)
{
	u32 i;

	for (i = 0; i < deps->count; i++)
		dma_fence_put(deps->fences[i]);
	kvfree(deps->fences);
	deps->fences = NULL;
	deps->count = 0;
}

static int vsvm_sync_parse(struct drm_file *file, const struct drm_vsvm_sync *sync,
			   struct vsvm_syncs *syncs)
{
	struct drm_device *drm = file->minor->dev;
	struct vsvm_sync_out *out;
	int ret;

	if (sync->flags & ~DRM_VSVM_SYNC_OUT) {
		drm_dbg(drm, "sync flags 0x%x: unknown ones\n", sync->flags);
		return -EINVAL;
	}

	if (!(sync->flags & DRM_VSVM_SYNC_OUT)) {
		ret = drm_syncobj_find_fence(file, sync->handle, sync->point, 0,
					     &syncs->in[syncs->num_in]);
		if (ret) {
			drm_dbg(drm, "sync handle %u, point %llu: nothing to wait for, %d\n",
				sync->handle, sync->point, ret);
			return ret;
		}
		syncs->num_in++;
		return 0;
	}

	out = &syncs->out[syncs->num_out];
	out->syncobj = drm_syncobj_find(file, sync->handle);
	if (!out->syncobj) {
		drm_dbg(drm, "sync handle %u: no such syncobj\n", sync->handle);
		return -ENOENT;
	}
	syncs->num_out++;
	out->point = sync->point;
	if (sync->point) {
		out->chain = dma_fence_chain_alloc();
		if (!out->chain)
			return -ENOMEM;
	}
	return 0;
}

/**
 * vsvm_syncs_parse() - Look up the syncobjs of a call
 * @file: Whose call.
 * @user: User pointer to an array of &struct drm_vsvm_sync.
 * @count: Their number.
 * @syncs: Out: what was found; to be released in any case.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_sync.
 */
int vsvm_syncs_parse(struct drm_file *file, u64 user, u32 count, struct vsvm_syncs *syncs)
{
	struct drm_device *drm = file->minor->dev;
	struct drm_vsvm_sync *array;
	int ret = 0;
	u32 i;

	memset(syncs, 0, sizeof(*syncs));
	if (count > DRM_VSVM_MAX_SYNCS) {
		drm_dbg(drm, "num_syncs %u: at most %u\n", count, DRM_VSVM_MAX_SYNCS);
		return -EINVAL;
	}
	if (!count)
		return 0;

	array = memdup_array_user(u64_to_user_ptr(user), count, sizeof(*array));
	if (IS_ERR(array)) {
		drm_dbg(drm, "syncs 0x%llx: cannot be read\n", user);
		return PTR_ERR(array);
	}

	syncs->in = kvcalloc(count, sizeof(*syncs->in), GFP_KERNEL);
	syncs->out = kvcalloc(count, sizeof(*syncs->out), GFP_KERNEL);
	if (!syncs->in || !syncs->out)
		ret = -ENOMEM;
	for (i = 0; i < count && !ret; i++)
		ret = vsvm_sync_parse(file, &array[i], syncs);
	kfree(array);
	return ret;
}

/**
 * vsvm_syncs_share() - Let something else wait for the same fences
 * @syncs: The syncobjs.
 * @copy: Out: the fences that are waited for, none that are completed; to be released
 *	where this succeeds.
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_syncs_share(const struct vsvm_syncs *syncs, struct vsvm_syncs *copy)
{
	u32 i;

	memset(copy, 0, sizeof(*copy));
	if (!syncs->num_in)
		return 0;
	copy->in = kvcalloc(syncs->num_in, sizeof(*copy->in), GFP_KERNEL);
	if (!copy->in)
		return -ENOMEM;
	for (i = 0; i < syncs->num_in; i++)
		copy->in[i] = dma_fence_get(syncs->in[i]);
	copy->num_in = syncs->num_in;
	return 0;
}

/**
 * vsvm_syncs_publish() - Give a fence to the syncobjs that want it
 * @syncs: The syncobjs.
 * @fence: The fence. Nothing can keep it from being signalled any more.
 */
void vsvm_syncs_publish(struct vsvm_syncs *syncs, struct dma_fence *fence)
{
	u32 i;

	for (i = 0; i < syncs->num_out; i++) {
		struct vsvm_sync_out *out = &syncs->out[i];

		if (out->chain)
			drm_syncobj_add_point(out->syncobj, out->chain, fence, out->point);
		else
			drm_syncobj_replace_fence(out->syncobj, fence);
		out->chain = NULL;
	}
}

/**
 * vsvm_syncs_fini() - Let go of what was not used
 * @syncs: The syncobjs.
 */
void vsvm_syncs_fini(struct vsvm_syncs *syncs)
{
	u32 i;

	for (i = 0; i < syncs->num_in; i++)
		dma_fence_put(syncs->in[i]);
	for (i = 0; i < syncs->num_out; i++) {
		dma_fence_chain_free(syncs->out[i].chain);
		drm_syncobj_put(syncs->out[i].syncobj);
	}
	kvfree(syncs->in);
	kvfree(syncs->out);
	memset(syncs, 0, sizeof(*syncs));
}

/**
 * vsvm_sync_module_init() - Begin, before the first device
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_sync_module_init(void)
{
	vsvm_fence_wq = alloc_workqueue("vsvm-fence", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return vsvm_fence_wq ? 0 : -ENOMEM;
}

/**
 * vsvm_sync_module_exit() - End, after the last device
 */
void vsvm_sync_module_exit(void)
{
	destroy_workqueue(vsvm_fence_wq);
}
