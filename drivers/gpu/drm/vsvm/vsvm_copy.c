// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The copy engine: what brings data into a device's memory and out of it. It
 * has a thread of its own, and reaches both sides through device addresses, like
 * everything on the device. A copy is done when its fence signals.
 *
 * Copies are waited for with the mmap lock and folio locks held, by page faults
 * of the CPU among others. So the thread waits for nothing, takes no lock that
 * is held while memory is allocated, and allocates none.
 */

#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include <drm/drm_pagemap.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/* So much is copied before the bandwidth is looked at. */
#define VSVM_COPY_BURST		SZ_64K

/**
 * struct vsvm_copy_req - A copy
 * @fence: Signals when it is done.
 * @link: In &vsvm_copy.queue.
 * @pages: Pages of the device's own memory, see &struct drm_pagemap_devmem_ops.
 *	NULL where there is nothing to do.
 * @addrs: The other side, of which the order says how much is copied; 0: none.
 * @count: Number of both.
 * @in: Into the device's memory. Where there is no other side it is cleared.
 * @spans: Or else what is copied from where to where, NULL: see above.
 *
 * The arrays are the caller's, who waits.
 */
struct vsvm_copy_req {
	struct dma_fence fence;
	struct list_head link;
	struct page **pages;
	struct drm_pagemap_addr *addrs;
	unsigned long count;
	bool in;
	const struct vsvm_copy_span *spans;
};

static const char *vsvm_copy_driver_name(struct dma_fence *fence)
{
	return "vsvm";
}

static const char *vsvm_copy_timeline_name(struct dma_fence *fence)
{
	return "copy";
}

static const struct dma_fence_ops vsvm_copy_fence_ops = {
	.get_driver_name = vsvm_copy_driver_name,
	.get_timeline_name = vsvm_copy_timeline_name,
};

/* Lets time pass so that the copy has taken as long as its bandwidth says. */
static void vsvm_copy_pace(struct vsvm_copy *copy, ktime_t *due, u64 bytes)
{
	unsigned int mib_per_s = READ_ONCE(copy->mib_per_s);

	if (!mib_per_s)
		return;
	*due = ktime_add_ns(*due, div_u64(bytes * NSEC_PER_SEC,
					  mib_per_s) >> 20);
	if (ktime_before(ktime_get(), *due)) {
		set_current_state(TASK_IDLE);
		schedule_hrtimeout(due, HRTIMER_MODE_ABS);
	}
}

static int vsvm_copy_page(struct vsvm_device *dev, u64 dst, u64 src)
{
	void *to, *from;
	int ret = -EIO;

	from = vsvm_mem_map(dev, src);
	if (!from)
		return ret;
	to = vsvm_mem_map(dev, dst);
	if (to) {
		memcpy(to, from, PAGE_SIZE);
		vsvm_mem_unmap(to);
		ret = 0;
	}
	vsvm_mem_unmap(from);
	return ret;
}

static int vsvm_copy_clear(struct vsvm_device *dev, u64 dst)
{
	void *to = vsvm_mem_map(dev, dst);

	if (!to)
		return -EIO;
	memset(to, 0, PAGE_SIZE);
	vsvm_mem_unmap(to);
	return 0;
}

/* One entry of a request; returns its order, or a negative errno. */
static int vsvm_copy_entry(struct vsvm_device *dev, struct vsvm_copy_req *req,
			   unsigned long i, ktime_t *due)
{
	struct page *page = req->pages[i];
	u64 other = req->addrs[i].addr, local, pos, size;
	unsigned int order = req->addrs[i].order;
	struct vsvm_copy *copy = &dev->copy;

	if (!page || (!other && !req->in))
		return 0;
	if (!other)
		order = folio_order(page_folio(page));

	/* Another device's offset would mean other data here. */
	if (drm_WARN_ON_ONCE(&dev->drm, vsvm_pagemap_device(page) != dev))
		return -EIO;
	local = vsvm_vram_addr(dev, vsvm_pagemap_offset(page));
	size = PAGE_SIZE << order;
	for (pos = 0; pos < size; pos += PAGE_SIZE) {
		int ret;

		if (!other)
			ret = vsvm_copy_clear(dev, local + pos);
		else if (req->in)
			ret = vsvm_copy_page(dev, local + pos, other + pos);
		else
			ret = vsvm_copy_page(dev, other + pos, local + pos);
		if (ret)
			return ret;
		if (IS_ALIGNED(pos + PAGE_SIZE, VSVM_COPY_BURST))
			vsvm_copy_pace(copy, due, VSVM_COPY_BURST);
	}
	vsvm_copy_pace(copy, due, size & (VSVM_COPY_BURST - 1));

	if (!other)
		atomic64_add(size, &copy->bytes_cleared);
	else if (other & VSVM_VRAM_ADDR)
		atomic64_add(size, &copy->bytes_peer);
	else
		atomic64_add(size, req->in ? &copy->bytes_in : &copy->bytes_out);
	return order;
}

static int vsvm_copy_one_span(struct vsvm_device *dev, const struct vsvm_copy_span *span,
			      ktime_t *due)
{
	struct vsvm_copy *copy = &dev->copy;
	bool from = span->src & VSVM_VRAM_ADDR, to = span->dst & VSVM_VRAM_ADDR;
	u64 pos;

	for (pos = 0; pos < span->len; pos += PAGE_SIZE) {
		int ret = span->clear ? vsvm_copy_clear(dev, span->dst + pos) :
			  vsvm_copy_page(dev, span->dst + pos, span->src + pos);

		if (ret)
			return ret;
		if (IS_ALIGNED(pos + PAGE_SIZE, VSVM_COPY_BURST))
			vsvm_copy_pace(copy, due, VSVM_COPY_BURST);
	}
	vsvm_copy_pace(copy, due, span->len & (VSVM_COPY_BURST - 1));

	if (span->clear)
		atomic64_add(span->len, &copy->bytes_cleared);
	else if (from && to)
		atomic64_add(span->len, &copy->bytes_peer);
	else
		atomic64_add(span->len, to ? &copy->bytes_in : &copy->bytes_out);
	return 0;
}

static int vsvm_copy_perform(struct vsvm_device *dev, struct vsvm_copy_req *req)
{
	ktime_t due = ktime_get();
	unsigned long i = 0;
	int ret;

	if (vsvm_fail_now(dev, &dev->copy.fail))
		return -EIO;

	for (; req->spans && i < req->count; i++) {
		ret = vsvm_copy_one_span(dev, &req->spans[i], &due);
		if (ret)
			return ret;
	}

	while (i < req->count) {
		ret = vsvm_copy_entry(dev, req, i, &due);
		if (ret < 0)
			return ret;
		i += 1UL << ret;
	}
	return 0;
}

static int vsvm_copy_thread(void *arg)
{
	struct vsvm_device *dev = arg;
	struct vsvm_copy *copy = &dev->copy;

	for (;;) {
		struct vsvm_copy_req *req;
		bool cookie;
		int ret;

		wait_event_idle(copy->wait, !list_empty(&copy->queue) ||
				kthread_should_stop());

		spin_lock(&copy->lock);
		req = list_first_entry_or_null(&copy->queue, struct vsvm_copy_req, link);
		if (req)
			list_del_init(&req->link);
		spin_unlock(&copy->lock);
		if (!req) {
			if (kthread_should_stop())
				break;
			continue;
		}

		/* For lockdep: what is taken here stands between a fence and its signal. */
		cookie = dma_fence_begin_signalling();
		ret = vsvm_copy_perform(dev, req);
		atomic64_inc(&copy->copies);
		if (ret) {
			atomic64_inc(&copy->failed);
			dma_fence_set_error(&req->fence, ret);
		}
		dma_fence_signal(&req->fence);
		dma_fence_end_signalling(cookie);
		dma_fence_put(&req->fence);
	}
	return 0;
}

/* Fills in the rest of a request, and waits until it is done. */
static int vsvm_copy_submit(struct vsvm_device *dev, struct vsvm_copy_req *req)
{
	struct vsvm_copy *copy = &dev->copy;
	bool queued;
	int ret;

	dma_fence_init(&req->fence, &vsvm_copy_fence_ops, &copy->fence_lock,
		       copy->context, atomic_inc_return(&copy->seqno));

	spin_lock(&copy->lock);
	queued = !copy->stopped;
	if (queued) {
		dma_fence_get(&req->fence);
		list_add_tail(&req->link, &copy->queue);
	}
	spin_unlock(&copy->lock);

	if (queued) {
		wake_up(&copy->wait);
		dma_fence_wait(&req->fence, false);
		ret = dma_fence_get_status(&req->fence);
		ret = min(ret, 0);
	} else {
		/* Nobody has seen it. */
		dma_fence_signal(&req->fence);
		ret = -ENODEV;
	}
	dma_fence_put(&req->fence);
	return ret;
}

/**
 * vsvm_copy_run() - Copy, and wait until it is done
 * @dev: Whose copy engine.
 * @pages: Pages of this device's memory, see &struct drm_pagemap_devmem_ops.
 * @addrs: The other side.
 * @count: Number of both.
 * @in: Into the device's memory, else out of it.
 *
 * Return: 0; -EIO: the copy failed, any part of it may be done; -ENODEV: the
 * device is gone; -ENOMEM.
 */
int vsvm_copy_run(struct vsvm_device *dev, struct page **pages,
		  struct drm_pagemap_addr *addrs, unsigned long count, bool in)
{
	struct vsvm_copy_req *req = kzalloc_obj(*req);

	if (!req)
		return -ENOMEM;
	req->pages = pages;
	req->addrs = addrs;
	req->count = count;
	req->in = in;
	return vsvm_copy_submit(dev, req);
}

/**
 * vsvm_copy_spans() - Copy, or clear, between device addresses
 * @dev: Whose copy engine.
 * @spans: What, in whole pages.
 * @count: Their number.
 *
 * Waits until it is done.
 *
 * Return: as vsvm_copy_run().
 */
int vsvm_copy_spans(struct vsvm_device *dev, const struct vsvm_copy_span *spans,
		    unsigned long count)
{
	struct vsvm_copy_req *req = kzalloc_obj(*req);

	if (!req)
		return -ENOMEM;
	req->spans = spans;
	req->count = count;
	return vsvm_copy_submit(dev, req);
}

/**
 * vsvm_copy_start() - Start the copy engine of a device
 * @dev: The device.
 *
 * Return: 0, or a negative errno.
 */
int vsvm_copy_start(struct vsvm_device *dev)
{
	struct vsvm_copy *copy = &dev->copy;
	struct task_struct *thread;

	spin_lock_init(&copy->lock);
	spin_lock_init(&copy->fence_lock);
	INIT_LIST_HEAD(&copy->queue);
	init_waitqueue_head(&copy->wait);
	copy->context = dma_fence_context_alloc(1);

	thread = kthread_run(vsvm_copy_thread, dev, "vsvm-copy/%u", dev->index);
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	copy->thread = thread;
	return 0;
}

/**
 * vsvm_copy_stop() - Stop the copy engine of a device
 * @dev: The device. What was queued is done first.
 */
void vsvm_copy_stop(struct vsvm_device *dev)
{
	struct vsvm_copy *copy = &dev->copy;

	if (!copy->thread)
		return;

	spin_lock(&copy->lock);
	copy->stopped = true;
	spin_unlock(&copy->lock);
	kthread_stop(copy->thread);
	copy->thread = NULL;
}
