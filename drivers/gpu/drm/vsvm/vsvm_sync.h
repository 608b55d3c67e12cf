/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __VSVM_SYNC_H__
#define __VSVM_SYNC_H__

#include <linux/dma-fence.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct dma_fence_chain;
struct drm_file;
struct drm_syncobj;
struct vsvm_device;

/**
 * struct vsvm_fence - A kernel fence of this driver
 * @base: The fence; freed as one.
 * @timeline: Name of the timeline, for debugging.
 */
struct vsvm_fence {
	struct dma_fence base;
	char timeline[24];
};

/**
 * struct vsvm_deps - Fences that something waits for
 * @fences: The fences, with a reference each.
 * @count: Their number.
 * @next: Index of the one that is waited for next. Of @work
 * @cancelled: No more waiting. Read without lock
 * @cb: Called by the fence that is waited for
 * @work: Goes from fence to fence
 * @done: Called once, when all have signalled; may free what this is part of. On
 *	the path to a fence: must not allocate
 */
struct vsvm_deps {
	struct dma_fence **fences;
	u32 count;
	u32 next;
	bool cancelled;
	struct dma_fence_cb cb;
	struct work_struct work;
	void (*done)(struct vsvm_deps *deps);
};

/**
 * struct vsvm_sync_out - A syncobj that gets a fence
 * @syncobj: The syncobj, with a reference.
 * @chain: What the point needs, NULL: it has none.
 * @point: The point.
 */
struct vsvm_sync_out {
	struct drm_syncobj *syncobj;
	struct dma_fence_chain *chain;
	u64 point;
};

/**
 * struct vsvm_syncs - The syncobjs of a call
 * @in: Fences to wait for, with a reference each. Taken over by vsvm_deps_init()
 * @num_in: Their number
 * @out: Those that get the call's fence
 * @num_out: Their number
 */
struct vsvm_syncs {
	struct dma_fence **in;
	u32 num_in;
	struct vsvm_sync_out *out;
	u32 num_out;
};

/* Where fences are waited for and binds performed. May be used in reclaim. */
extern struct workqueue_struct *vsvm_fence_wq;

struct vsvm_fence *vsvm_fence_alloc(void);
void vsvm_fence_init(struct vsvm_fence *fence, struct vsvm_device *dev, const char *what,
		     u64 context, u64 seqno);

void vsvm_deps_init(struct vsvm_deps *deps, struct vsvm_syncs *syncs,
		    void (*done)(struct vsvm_deps *deps));
void vsvm_deps_start(struct vsvm_deps *deps);
int vsvm_deps_wait(struct vsvm_deps *deps);
void vsvm_deps_cancel(struct vsvm_deps *deps);
void vsvm_deps_fini(struct vsvm_deps *deps);

int vsvm_syncs_parse(struct drm_file *file, u64 user, u32 count, struct vsvm_syncs *syncs);
int vsvm_syncs_share(const struct vsvm_syncs *syncs, struct vsvm_syncs *copy);
void vsvm_syncs_publish(struct vsvm_syncs *syncs, struct dma_fence *fence);
void vsvm_syncs_fini(struct vsvm_syncs *syncs);

int vsvm_sync_module_init(void);
void vsvm_sync_module_exit(void);

#endif /* __VSVM_SYNC_H__ */
