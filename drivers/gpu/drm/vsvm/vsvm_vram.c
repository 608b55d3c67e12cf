// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Device memory: who has which piece of it, and the bytes behind it. Nothing
 * here knows about virtual addresses or processes' page tables.
 *
 * The memory is device-private: the CPU has page frame numbers and struct pages
 * for it, but nothing that it could load from or store to. The bytes are in
 * pages that this file keeps to itself, and that only engines and copy engines
 * get to see. They exist while the piece is allocated, and hold rubbish to begin
 * with, as memory does.
 *
 * Each allocation is one block of a power-of-two size, aligned to its size.
 */

#include <linux/bitfield.h>
#include <linux/cgroup_dmem.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/* What memory holds that nobody has written to. */
#define VSVM_VRAM_RUBBISH	0xa5

/* Evictions for one allocation, before it is given up. */
#define VSVM_VRAM_EVICTIONS	64

/* Whose memory a device address names. Written under the faux lock. */
static struct vsvm_device __rcu *vsvm_vram_devs[VSVM_MAX_DEVICES];

/* Where allocations are freed, whose last page may go in atomic context. */
static struct workqueue_struct *vsvm_vram_wq;

/*
 * Where struct pages are destroyed, which takes locks of memory hotplug. Never
 * waited for with a lock held, as the other one is under the mmap lock.
 */
static struct workqueue_struct *vsvm_destroy_wq;

/**
 * vsvm_vram_addr() - The device address of a piece of device memory
 * @dev: Whose memory.
 * @offset: Where in it, bytes.
 *
 * Return: the address, good on all devices of the hive.
 */
u64 vsvm_vram_addr(struct vsvm_device *dev, u64 offset)
{
	return VSVM_VRAM_ADDR | FIELD_PREP(VSVM_VRAM_ADDR_DEVICE, dev->index) |
	       FIELD_PREP(VSVM_VRAM_ADDR_OFFSET, offset);
}

/**
 * vsvm_vram_map() - Make the device memory at a device address accessible
 * @dev: Who wants to access it.
 * @addr: The address, with %VSVM_VRAM_ADDR.
 *
 * As vsvm_mem_map(), which is the one to call.
 *
 * Return: a pointer that is good up to the end of the page, NULL where there is
 * no memory at the address, nobody has it, or no link leads there.
 */
void *vsvm_vram_map(struct vsvm_device *dev, u64 addr)
{
	unsigned int index = FIELD_GET(VSVM_VRAM_ADDR_DEVICE, addr);
	u64 offset = FIELD_GET(VSVM_VRAM_ADDR_OFFSET, addr);
	struct vsvm_device *target;
	struct page *page = NULL;

	if (index >= VSVM_MAX_DEVICES)
		return NULL;

	rcu_read_lock();
	target = rcu_dereference(vsvm_vram_devs[index]);
	if (target && target->hive == dev->hive && offset < target->vram.size)
		page = READ_ONCE(target->vram.pages[offset >> PAGE_SHIFT].page);
	rcu_read_unlock();

	if (!page)
		return NULL;
	return kmap_local_page(page) + offset_in_page(addr);
}

static void vsvm_vram_backing_free(struct vsvm_vram *vram, u64 offset, u64 size)
{
	u64 end = (offset + size) >> PAGE_SHIFT;
	u64 i;

	for (i = offset >> PAGE_SHIFT; i < end; i++) {
		struct page *page = vram->pages[i].page;

		vram->pages[i].devmem = NULL;
		WRITE_ONCE(vram->pages[i].page, NULL);
		if (page)
			__free_page(page);
	}
}

/* @devmem: NULL for a GEM object. */
static int vsvm_vram_backing_alloc(struct vsvm_vram *vram, u64 offset, u64 size,
				   struct vsvm_devmem *devmem)
{
	u64 end = (offset + size) >> PAGE_SHIFT;
	u64 i;

	for (i = offset >> PAGE_SHIFT; i < end; i++) {
		struct page *page = alloc_page(GFP_KERNEL | __GFP_RETRY_MAYFAIL);

		if (!page) {
			vsvm_vram_backing_free(vram, offset, size);
			return -ENOMEM;
		}
		memset(page_address(page), VSVM_VRAM_RUBBISH, PAGE_SIZE);
		vram->pages[i].devmem = devmem;
		WRITE_ONCE(vram->pages[i].page, page);
	}
	return 0;
}

static void vsvm_vram_block_free(struct vsvm_vram *vram, struct list_head *blocks)
{
	mutex_lock(&vram->lock);
	gpu_buddy_free_list(&vram->buddy, blocks, 0);
	mutex_unlock(&vram->lock);
}

static int vsvm_vram_block_alloc(struct vsvm_vram *vram, u64 size,
				 struct list_head *blocks, u64 *offset)
{
	struct gpu_buddy_block *block;
	int ret;

	mutex_lock(&vram->lock);
	ret = gpu_buddy_alloc_blocks(&vram->buddy, 0, vram->size, size, size, blocks, 0);
	mutex_unlock(&vram->lock);
	if (ret)
		return ret;

	/* Of the very size, so it is one block. */
	block = list_first_entry(blocks, struct gpu_buddy_block, link);
	*offset = gpu_buddy_block_offset(block);
	return 0;
}

/**
 * vsvm_vram_window() - Hold the window of a race open, where a test asks for that
 * @vram: The memory.
 */
void vsvm_vram_window(struct vsvm_vram *vram)
{
	unsigned int ms = READ_ONCE(vram->window_ms);

	if (ms)
		msleep(ms);
}

/*
 * Drops the reference of an allocation. For tests, as if the last put took its time
 * between the end of the count and what it does about that: nobody can get it from
 * the cache meanwhile, and who wants to waits.
 */
static void vsvm_vram_pagemap_put(struct vsvm_vram *vram, struct drm_pagemap *dpagemap)
{
	if (READ_ONCE(vram->window_ms) && refcount_dec_if_one(&dpagemap->ref.refcount)) {
		vsvm_vram_window(vram);
		refcount_set(&dpagemap->ref.refcount, 1);
	}
	drm_pagemap_put(dpagemap);
}

static void vsvm_devmem_free_work(struct work_struct *work)
{
	struct vsvm_devmem *devmem = container_of(work, struct vsvm_devmem, free_work);
	struct drm_pagemap *dpagemap = devmem->base.dpagemap;
	struct vsvm_vram *vram = &devmem->dev->vram;

	if (devmem->backed) {
		spin_lock(&vram->lru_lock);
		list_del(&devmem->lru);
		spin_unlock(&vram->lru_lock);

		vsvm_vram_backing_free(vram, devmem->offset, devmem->base.size);
		vsvm_vram_block_free(vram, &devmem->blocks);
		dmem_cgroup_uncharge(devmem->pool, devmem->base.size);
		atomic64_sub(devmem->base.size, &vram->used);
	}
	mmdrop(devmem->mm);
	kfree(devmem);
	/* Keeps the device. */
	vsvm_vram_pagemap_put(vram, dpagemap);
}

static void vsvm_devmem_release(struct kref *ref)
{
	struct vsvm_devmem *devmem = container_of(ref, struct vsvm_devmem, ref);

	queue_work(vsvm_vram_wq, &devmem->free_work);
}

/**
 * vsvm_devmem_put() - Drop a reference to an allocation
 * @devmem: The allocation. Any context.
 */
void vsvm_devmem_put(struct vsvm_devmem *devmem)
{
	kref_put(&devmem->ref, vsvm_devmem_release);
}

/*
 * Whom to evict: the one that was not used for longest, or rather was not used
 * since it was looked at last. With a reference. Twice round at most: where all of
 * them were used, the first time does no more than note that.
 */
static struct vsvm_devmem *vsvm_vram_victim(struct vsvm_vram *vram,
					    struct dmem_cgroup_pool_state *limit)
{
	struct vsvm_devmem *devmem, *victim = NULL;
	size_t looks;
	bool low;

	spin_lock(&vram->lru_lock);
	looks = 2 * list_count_nodes(&vram->lru);
	while (!victim && looks--) {
		/* It may change here; what is first is next in any case. */
		cond_resched_lock(&vram->lru_lock);
		devmem = list_first_entry_or_null(&vram->lru, struct vsvm_devmem, lru);
		if (!devmem)
			break;
		/* To the end in any case: one that cannot be evicted is not met again. */
		list_move_tail(&devmem->lru, &vram->lru);
		if (READ_ONCE(devmem->used)) {
			WRITE_ONCE(devmem->used, false);
			continue;
		}
		if (limit && !dmem_cgroup_state_evict_valuable(limit, devmem->pool,
							       true, &low))
			continue;
		if (kref_get_unless_zero(&devmem->ref))
			victim = devmem;
	}
	spin_unlock(&vram->lru_lock);
	return victim;
}

/*
 * Makes room. Returns false where there is nothing to evict, or there have been
 * evictions enough for this allocation.
 */
static bool vsvm_vram_make_room(struct vsvm_vram *vram,
				struct dmem_cgroup_pool_state *limit,
				unsigned int *evictions)
{
	struct vsvm_devmem *victim;

	/* It may be on its way. */
	flush_workqueue(vsvm_vram_wq);

	if ((*evictions)++ >= VSVM_VRAM_EVICTIONS)
		return false;
	victim = vsvm_vram_victim(vram, limit);
	if (!victim)
		return *evictions == 1;

	if (!vsvm_devmem_evict(victim))
		atomic64_inc(&vram->evictions);
	vsvm_devmem_put(victim);
	flush_workqueue(vsvm_vram_wq);
	return true;
}

static int vsvm_vram_charge(struct vsvm_vram *vram, u64 size,
			    struct dmem_cgroup_pool_state **pool,
			    unsigned int *evictions)
{
	struct dmem_cgroup_pool_state *limit = NULL;
	int ret;

	for (;;) {
		bool room;

		ret = dmem_cgroup_try_charge(vram->region, size, pool, &limit);
		if (ret != -EAGAIN)
			return ret;
		room = vsvm_vram_make_room(vram, limit, evictions);
		dmem_cgroup_pool_state_put(limit);
		if (!room)
			return -ENOSPC;
	}
}

/**
 * vsvm_devmem_create() - Prepare an allocation of device memory
 * @dev: The device.
 * @dpagemap: Its struct pages.
 * @mm: Whose data it is for.
 * @size: Bytes, a power of two, at least a page.
 *
 * Without memory, see vsvm_devmem_back().
 *
 * Return: the allocation with one reference, or an ERR_PTR(): -ENOSPC: there is not
 * so much memory at all; -ENOMEM.
 */
struct vsvm_devmem *vsvm_devmem_create(struct vsvm_device *dev,
				       struct drm_pagemap *dpagemap,
				       struct mm_struct *mm, u64 size)
{
	struct vsvm_devmem *devmem;

	if (size > dev->vram.size)
		return ERR_PTR(-ENOSPC);

	devmem = kzalloc_obj(*devmem);
	if (!devmem)
		return ERR_PTR(-ENOMEM);

	/* Eviction here does not depend on the mm; let nobody try it otherwise. */
	drm_pagemap_devmem_init(&devmem->base, dev->drm.dev, NULL, &vsvm_devmem_ops,
				dpagemap, size, NULL);
	kref_init(&devmem->ref);
	INIT_LIST_HEAD(&devmem->blocks);
	INIT_LIST_HEAD(&devmem->lru);
	INIT_WORK(&devmem->free_work, vsvm_devmem_free_work);
	drm_pagemap_get(dpagemap);
	mmgrab(mm);
	devmem->mm = mm;
	devmem->dev = dev;
	devmem->used = true;
	return devmem;
}

/**
 * vsvm_devmem_back() - Give an allocation its memory
 * @devmem: The allocation, which nobody else knows yet.
 *
 * Where there is no room, others are evicted, whichever process they are of. That
 * is for nothing where the data cannot be moved after all, because somebody holds a
 * page of it; so this is called late, when it is known that it can.
 *
 * The data is locked then, and the CPU waits for it. What eviction does is all the
 * same to that: it takes other pages only, and those with a trylock; it allocates
 * memory, as whoever moves data to system memory does with pages locked; it waits
 * for copies and for what the workqueue frees, and neither takes a lock of a page.
 * The mmap lock of any process may be held for read.
 *
 * Return: 0; -ENOSPC: no room, and nothing could be evicted to make some; -ENOMEM.
 */
int vsvm_devmem_back(struct vsvm_devmem *devmem)
{
	struct vsvm_vram *vram = &devmem->dev->vram;
	u64 size = devmem->base.size;
	unsigned int evictions = 0;
	int ret;

	if (vsvm_fail_now(devmem->dev, &vram->fail_alloc))
		return -ENOSPC;

	ret = vsvm_vram_charge(vram, size, &devmem->pool, &evictions);
	if (ret)
		return ret;

	do {
		ret = vsvm_vram_block_alloc(vram, size, &devmem->blocks, &devmem->offset);
	} while (ret == -ENOSPC && vsvm_vram_make_room(vram, NULL, &evictions));
	if (ret)
		goto err_uncharge;

	ret = vsvm_vram_backing_alloc(vram, devmem->offset, devmem->base.size, devmem);
	if (ret)
		goto err_block;

	atomic64_add(size, &vram->used);
	atomic64_inc(&vram->allocations);
	devmem->backed = true;
	spin_lock(&vram->lru_lock);
	list_add_tail(&devmem->lru, &vram->lru);
	spin_unlock(&vram->lru_lock);
	return 0;

err_block:
	vsvm_vram_block_free(vram, &devmem->blocks);
err_uncharge:
	dmem_cgroup_uncharge(devmem->pool, size);
	return ret;
}

/**
 * vsvm_vram_object_alloc() - Allocate device memory for a GEM object
 * @dev: The device.
 * @size: Bytes, a multiple of the page size.
 * @blocks: Out: &struct gpu_buddy_block, in the order of their offset in the object.
 * @pool: Out: what it is charged to.
 *
 * What it holds is rubbish. Where there is no room, data of processes is evicted,
 * but no other object. May sleep, and be called with the mmap lock of any
 * process held for read and with reservation objects locked.
 *
 * Return: 0, -ENOSPC, or -ENOMEM.
 */
int vsvm_vram_object_alloc(struct vsvm_device *dev, u64 size, struct list_head *blocks,
			   struct dmem_cgroup_pool_state **pool)
{
	struct vsvm_vram *vram = &dev->vram;
	struct gpu_buddy_block *block;
	unsigned int evictions = 0;
	int ret;

	if (size > vram->size || vsvm_fail_now(dev, &vram->fail_alloc))
		return -ENOSPC;
	ret = vsvm_vram_charge(vram, size, pool, &evictions);
	if (ret)
		return ret;

	INIT_LIST_HEAD(blocks);
	do {
		mutex_lock(&vram->lock);
		ret = gpu_buddy_alloc_blocks(&vram->buddy, 0, vram->size, size, PAGE_SIZE,
					     blocks, 0);
		mutex_unlock(&vram->lock);
	} while (ret == -ENOSPC && vsvm_vram_make_room(vram, NULL, &evictions));
	if (ret)
		goto err_uncharge;

	list_for_each_entry(block, blocks, link) {
		ret = vsvm_vram_backing_alloc(vram, gpu_buddy_block_offset(block),
					      gpu_buddy_block_size(&vram->buddy, block),
					      NULL);
		if (ret)
			goto err_backing;
	}
	atomic64_add(size, &vram->used);
	return 0;

err_backing:
	list_for_each_entry_continue_reverse(block, blocks, link)
		vsvm_vram_backing_free(vram, gpu_buddy_block_offset(block),
				       gpu_buddy_block_size(&vram->buddy, block));
	vsvm_vram_block_free(vram, blocks);
err_uncharge:
	dmem_cgroup_uncharge(*pool, size);
	*pool = NULL;
	return ret;
}

/**
 * vsvm_vram_object_free() - Free what vsvm_vram_object_alloc() allocated
 * @dev: The device.
 * @size: See there.
 * @blocks: See there; empty afterwards. Nothing can reach them any more.
 * @pool: See there.
 */
void vsvm_vram_object_free(struct vsvm_device *dev, u64 size, struct list_head *blocks,
			   struct dmem_cgroup_pool_state *pool)
{
	struct vsvm_vram *vram = &dev->vram;
	struct gpu_buddy_block *block;

	list_for_each_entry(block, blocks, link)
		vsvm_vram_backing_free(vram, gpu_buddy_block_offset(block),
				       gpu_buddy_block_size(&vram->buddy, block));
	vsvm_vram_block_free(vram, blocks);
	dmem_cgroup_uncharge(pool, size);
	atomic64_sub(size, &vram->used);
}

/**
 * vsvm_vram_evict_all() - Bring all data in a device's memory back
 * @dev: The device, unplugged: no data comes any more.
 *
 * Copies do not fail on purpose any more from here on. Returns when the memory
 * is empty: what cannot be moved now, because somebody is just looking at it,
 * can be soon.
 */
void vsvm_vram_evict_all(struct vsvm_device *dev)
{
	struct vsvm_vram *vram = &dev->vram;
	unsigned long complain = jiffies + 10 * HZ;
	bool complained = false;
	unsigned int rounds = 0;

	if (!vram->size)
		return;

	atomic_set(&dev->copy.fail, 0);
	for (;;) {
		struct vsvm_devmem *victim = vsvm_vram_victim(vram, NULL);

		if (victim) {
			vsvm_devmem_evict(victim);
			vsvm_devmem_put(victim);
		}
		flush_workqueue(vsvm_vram_wq);
		if (!atomic64_read(&vram->used))
			break;
		if (!complained && time_after(jiffies, complain)) {
			drm_warn(&dev->drm, "%lld bytes of device memory are still in use\n",
				 atomic64_read(&vram->used));
			complained = true;
		}
		if (!(++rounds % 64))
			vsvm_evict_drain();
		usleep_range(50, 200);
	}
}

/**
 * vsvm_vram_evict_some() - Try to evict each allocation of a device's memory
 * @dev: The device.
 */
void vsvm_vram_evict_some(struct vsvm_device *dev)
{
	struct vsvm_vram *vram = &dev->vram;
	struct vsvm_devmem *victim;
	size_t left;

	spin_lock(&vram->lru_lock);
	left = list_count_nodes(&vram->lru);
	spin_unlock(&vram->lru_lock);

	while (left-- && (victim = vsvm_vram_victim(vram, NULL))) {
		if (!vsvm_devmem_evict(victim))
			atomic64_inc(&vram->evictions);
		vsvm_devmem_put(victim);
		flush_workqueue(vsvm_vram_wq);
	}
}

/**
 * vsvm_vram_resident() - How much of a process's data is in a device's memory?
 * @vram: The memory.
 * @mm: The process.
 *
 * Return: bytes.
 */
u64 vsvm_vram_resident(struct vsvm_vram *vram, const struct mm_struct *mm)
{
	struct vsvm_devmem *devmem;
	u64 bytes = 0;

	spin_lock(&vram->lru_lock);
	list_for_each_entry(devmem, &vram->lru, lru)
		if (devmem->mm == mm)
			bytes += devmem->base.size;
	spin_unlock(&vram->lru_lock);
	return bytes;
}

/**
 * vsvm_show_fdinfo() - What a file costs
 * @p: Where to print it.
 * @file: The file.
 *
 * Device memory is shown for the process that made the file's first VM: data
 * that moves there on its own belongs to an address space, not to a file.
 */
void vsvm_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct vsvm_device *dev = to_vsvm(file->minor->dev);
	struct vsvm_file *vfile = file->driver_priv;
	const struct mm_struct *mm = READ_ONCE(vfile->mm);
	struct drm_memory_stats stats = {};

	if (!dev->vram.size)
		return;
	if (mm)
		stats.resident = vsvm_vram_resident(&dev->vram, mm);
	stats.private = stats.resident;
	drm_print_memory_stats(p, &stats, DRM_GEM_OBJECT_RESIDENT, "vram");
	drm_fdinfo_print_size(p, "drm", "memory", "vram", stats.resident);
}

/**
 * vsvm_vram_publish() - Let device addresses of a device's memory mean something
 * @dev: The device.
 */
void vsvm_vram_publish(struct vsvm_device *dev)
{
	if (dev->vram.size)
		rcu_assign_pointer(vsvm_vram_devs[dev->index], dev);
}

/**
 * vsvm_vram_withdraw() - Undo vsvm_vram_publish()
 * @dev: The device. Nothing in its memory is mapped any more.
 */
void vsvm_vram_withdraw(struct vsvm_device *dev)
{
	if (!dev->vram.size)
		return;
	RCU_INIT_POINTER(vsvm_vram_devs[dev->index], NULL);
	synchronize_rcu();
}

static void vsvm_vram_fini(struct drm_device *drm, void *unused)
{
	struct vsvm_vram *vram = &to_vsvm(drm)->vram;

	drm_WARN_ON(drm, !list_empty(&vram->lru));
	drm_WARN_ON(drm, atomic64_read(&vram->mapped));
	gpu_buddy_fini(&vram->buddy);
	kvfree(vram->pages);
}

/**
 * vsvm_vram_init() - Give a device its memory
 * @dev: The device.
 * @size: Bytes, rounded down to 2 MiB; 0: none.
 *
 * Return: 0, or a negative errno; what was done is undone with the device.
 */
int vsvm_vram_init(struct vsvm_device *dev, u64 size)
{
	struct vsvm_vram *vram = &dev->vram;
	struct dmem_cgroup_region *region;
	int ret;

	size = round_down(size, SZ_2M);
	spin_lock_init(&vram->lru_lock);
	INIT_LIST_HEAD(&vram->lru);
	ret = drmm_mutex_init(&dev->drm, &vram->lookup_lock);
	if (ret || !size)
		return ret;

	vram->pages = kvcalloc(size >> PAGE_SHIFT, sizeof(*vram->pages), GFP_KERNEL);
	if (!vram->pages)
		return -ENOMEM;
	ret = gpu_buddy_init(&vram->buddy, size, PAGE_SIZE);
	if (ret) {
		kvfree(vram->pages);
		return ret;
	}
	ret = drmm_add_action_or_reset(&dev->drm, vsvm_vram_fini, NULL);
	if (ret)
		return ret;
	ret = drmm_mutex_init(&dev->drm, &vram->lock);
	if (ret)
		return ret;

	region = drmm_cgroup_register_region(&dev->drm, "vram",
					     &(struct dmem_cgroup_init){ .size = size });
	if (IS_ERR(region))
		return PTR_ERR(region);
	vram->region = region;
	vram->size = size;
	return 0;
}

/**
 * vsvm_vram_module_init() - Begin, before the first device
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_vram_module_init(void)
{
	vsvm_vram_wq = alloc_workqueue("vsvm-vram", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!vsvm_vram_wq)
		return -ENOMEM;
	vsvm_destroy_wq = alloc_workqueue("vsvm-destroy", WQ_UNBOUND, 0);
	if (!vsvm_destroy_wq) {
		destroy_workqueue(vsvm_vram_wq);
		return -ENOMEM;
	}
	return 0;
}

/**
 * vsvm_vram_module_exit() - End, after the last device
 */
void vsvm_vram_module_exit(void)
{
	destroy_workqueue(vsvm_vram_wq);
	/* What is freed may have the last reference to what is destroyed. */
	destroy_workqueue(vsvm_destroy_wq);
}

/**
 * vsvm_vram_queue_destroy() - Have struct pages destroyed
 * @work: What does it.
 */
void vsvm_vram_queue_destroy(struct work_struct *work)
{
	queue_work(vsvm_destroy_wq, work);
}
