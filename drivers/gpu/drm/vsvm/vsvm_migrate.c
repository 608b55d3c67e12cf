// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Migration: what the driver does for drm_pagemap, so that data of a process
 * comes into the device's memory, and out of it again. And eviction, which
 * brings it back without anybody's mm.
 */

#include <linux/bitfield.h>
#include <linux/bitops.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/memcontrol.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/page-flags.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include <drm/drm_drv.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_pagemap_util.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

/* What is tried where a whole range cannot be had: somebody holds a page of it. */
#define VSVM_MIGRATE_PIECE	((u64)max(SZ_64K, PAGE_SIZE))

/* Passes over an allocation before its eviction is given up. */
#define VSVM_EVICT_PASSES	3

/*
 * Flags of a page that go with it when it is freed, as in the page allocator. Not the
 * low ones, which zone_device_page_init() clears, and of which one says that the folio
 * is a large one still; and not PG_reserved, which each page of a device has at first.
 */
#define VSVM_PAGE_FORGET	(PAGE_FLAGS_CHECK_AT_PREP & ~(0xffUL | BIT(PG_reserved)))

/**
 * struct vsvm_pagemap - The struct pages of a device's memory
 * @base: For drm_pagemap.
 * @ref: One of @base, one of the driver's bond with the device: when that ends
 *	the kernel lets go of @pagemap, and the cache of @base, which may be gone.
 * @bond: In &vsvm_vram.pagemaps. Protected by &vsvm_vram.lru_lock
 * @pagemap: For the kernel.
 * @peer: Its place among those that are linked.
 * @dev: The device. Immutable
 * @res: The physical addresses that nothing else gets. Immutable
 * @destroy_work: Destroys it where the last reference goes in atomic context
 *
 * Made when somebody needs it first, kept until the shrinker or the device's
 * removal takes it away.
 */
struct vsvm_pagemap {
	struct drm_pagemap base;
	struct kref ref;
	struct list_head bond;
	struct dev_pagemap pagemap;
	struct drm_pagemap_peer peer;
	struct vsvm_device *dev;
	struct resource *res;
	struct work_struct destroy_work;
};

/* Who is linked with whom. */
static DRM_PAGEMAP_OWNER_LIST_DEFINE(vsvm_owners);

/* As drm_pagemap has them, but for two. Filled in by the module. */
static struct dev_pagemap_ops vsvm_dev_pagemap_ops;

static struct vsvm_pagemap *to_vsvm_pagemap(struct drm_pagemap *dpagemap)
{
	return container_of(dpagemap, struct vsvm_pagemap, base);
}

static struct vsvm_pagemap *page_to_vsvm_pagemap(struct page *page)
{
	return container_of(page_pgmap(page), struct vsvm_pagemap, pagemap);
}

/* Of one hive. */
static bool vsvm_peers_linked(struct drm_pagemap_peer *one, struct drm_pagemap_peer *two)
{
	return one->private == two->private;
}

/**
 * vsvm_owner_acquire() - Find the owner of device memory that a device can reach
 * @dev: The device.
 * @peer: Its place among those that are linked, to be released with
 *	drm_pagemap_release_owner().
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_owner_acquire(struct vsvm_device *dev, struct drm_pagemap_peer *peer)
{
	/* Not the device itself: a peer may outlive it. */
	peer->private = (void *)(unsigned long)(dev->hive + 1);
	return drm_pagemap_acquire_owner(peer, &vsvm_owners, vsvm_peers_linked);
}

/**
 * vsvm_pagemap_offset() - Where a page is in its device's memory
 * @page: A page of device memory, kept by the caller.
 *
 * Return: bytes.
 */
u64 vsvm_pagemap_offset(struct page *page)
{
	return PFN_PHYS(page_to_pfn(page)) -
	       page_to_vsvm_pagemap(page)->pagemap.range.start;
}

/**
 * vsvm_pagemap_device() - On which device a page is
 * @page: A page of device memory, kept by the caller.
 *
 * Return: the device.
 */
struct vsvm_device *vsvm_pagemap_device(struct page *page)
{
	return page_to_vsvm_pagemap(page)->dev;
}

/**
 * vsvm_pagemap_ours() - Is a page in the memory of a device of this driver?
 * @page: A page of some device's memory, kept by the caller.
 *
 * Return: whether it is.
 */
bool vsvm_pagemap_ours(struct page *page)
{
	return page_pgmap(page)->ops == &vsvm_dev_pagemap_ops;
}

/**
 * vsvm_pagemap_page() - Find the page at an address of device memory
 * @dpagemap: The memory.
 * @addr: The address, as device_map returned it.
 *
 * Return: the page.
 */
struct page *vsvm_pagemap_page(struct drm_pagemap *dpagemap, u64 addr)
{
	return pfn_to_page(PHYS_PFN(dpagemap->pagemap->range.start +
				    FIELD_GET(VSVM_VRAM_ADDR_OFFSET, addr)));
}

/* manual: device memory */
static struct drm_pagemap_addr
vsvm_device_map(struct drm_pagemap *dpagemap, struct device *mapper, struct page *page,
		unsigned int order, enum dma_data_direction dir)
{
	struct vsvm_device *dev = to_vsvm_pagemap(dpagemap)->dev;
	struct vsvm_device *to = dev_get_drvdata(mapper);
	u64 offset = vsvm_pagemap_offset(page);
	struct vsvm_devmem *devmem;

	/* No link. Its owner is another one, so that nobody asks for it. */
	if (WARN_ON_ONCE(to->hive != dev->hive))
		return drm_pagemap_addr_encode(DMA_MAPPING_ERROR, DRM_INTERCONNECT_DRIVER,
					       order, dir);

	devmem = dev->vram.pages[offset >> PAGE_SHIFT].devmem;
	if (devmem)
		WRITE_ONCE(devmem->used, true);
	atomic64_inc(&dev->vram.mapped);
	return drm_pagemap_addr_encode(vsvm_vram_addr(dev, offset),
				       DRM_INTERCONNECT_DRIVER, order, dir);
}

static void vsvm_device_unmap(struct drm_pagemap *dpagemap, struct device *mapper,
			      const struct drm_pagemap_addr *addr)
{
	atomic64_dec(&to_vsvm_pagemap(dpagemap)->dev->vram.mapped);
}

static void vsvm_devmem_release_op(struct drm_pagemap_devmem *base)
{
	vsvm_devmem_put(container_of(base, struct vsvm_devmem, base));
}

static int vsvm_devmem_pfns(struct drm_pagemap_devmem *base, unsigned long npages,
			    unsigned long *pfns)
{
	struct vsvm_devmem *devmem = container_of(base, struct vsvm_devmem, base);
	struct range *range = &to_vsvm_pagemap(base->dpagemap)->pagemap.range;
	unsigned long i;

	for (i = 0; i < npages; i++)
		pfns[i] = PHYS_PFN(range->start + devmem->offset) + i;
	return 0;
}

/*
 * All pages that are to be moved are collected by now, and nobody holds one: time to
 * make room for them.
 */
static int vsvm_populate_devmem_pfn(struct drm_pagemap_devmem *base, unsigned long npages,
				    unsigned long *pfns)
{
	int ret = vsvm_devmem_back(container_of(base, struct vsvm_devmem, base));

	return ret ?: vsvm_devmem_pfns(base, npages, pfns);
}

static int vsvm_devmem_copy(struct page **pages, struct drm_pagemap_addr *addrs,
			    unsigned long npages, bool in)
{
	unsigned long i;

	/*
	 * Pages of one device each time. But on the way out there may be others
	 * among them, which were looked at and stay: those have no address.
	 */
	for (i = 0; i < npages; i++)
		if (pages[i] && (in || addrs[i].addr))
			return vsvm_copy_run(page_to_vsvm_pagemap(pages[i])->dev, pages,
					     addrs, npages, in);
	return 0;
}

static int vsvm_copy_to_devmem(struct page **pages, struct drm_pagemap_addr *addrs,
			       unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return vsvm_devmem_copy(pages, addrs, npages, true);
}

static int vsvm_copy_to_ram(struct page **pages, struct drm_pagemap_addr *addrs,
			    unsigned long npages, struct dma_fence *pre_migrate_fence)
{
	return vsvm_devmem_copy(pages, addrs, npages, false);
}

const struct drm_pagemap_devmem_ops vsvm_devmem_ops = {
	.devmem_release = vsvm_devmem_release_op,
	.populate_devmem_pfn = vsvm_populate_devmem_pfn,
	.copy_to_devmem = vsvm_copy_to_devmem,
	.copy_to_ram = vsvm_copy_to_ram,
};

static int vsvm_populate_piece(struct drm_pagemap *dpagemap, unsigned long start,
			       unsigned long end, struct mm_struct *mm,
			       unsigned long timeslice_ms, bool *came)
{
	const struct drm_pagemap_migrate_details details = {
		.timeslice_ms = timeslice_ms,
		/* Part of it may be here already, scattered. */
		.can_migrate_same_pagemap = true,
	};
	struct vsvm_device *dev = to_vsvm_pagemap(dpagemap)->dev;
	struct vsvm_devmem *devmem;
	int ret;

	/* Those that this device has, or a peer. */
	ret = vsvm_split_range(mm, start, end);
	if (ret) {
		ret = -EBUSY;
		goto trace;
	}

	devmem = vsvm_devmem_create(dev, dpagemap, mm, end - start);
	if (IS_ERR(devmem)) {
		ret = PTR_ERR(devmem);
		goto trace;
	}

	WRITE_ONCE(devmem->populating, current);
	/* Takes the reference over, whatever comes. */
	kref_get(&devmem->ref);
	ret = drm_pagemap_migrate_to_devmem(&devmem->base, mm, start, end, &details);
	WRITE_ONCE(devmem->populating, NULL);
	if (ret == -EBUSY)
		vsvm_vram_window(&dev->vram);
	/*
	 * It is all or nothing, but for a race at the very end; and a huge page
	 * that did not exist before counts as one that did not come (7.3). Where
	 * pages use the memory, some of the data is there; where others gave some
	 * back, it was.
	 */
	if (ret == -EBUSY && devmem->backed &&
	    (!completion_done(&devmem->base.detached) || READ_ONCE(devmem->left)))
		ret = 0;
	*came |= !ret && devmem->backed;
	vsvm_devmem_put(devmem);
trace:
	trace_vsvm_populate(dev, start, end, ret);
	return ret;
}

/*
 * All of it where possible. Where a page of it cannot be moved, or there is no
 * room in one piece, as much of it as can be: success is that some came.
 */
static int vsvm_populate_mm(struct drm_pagemap *dpagemap, unsigned long start,
			    unsigned long end, struct mm_struct *mm,
			    unsigned long timeslice_ms)
{
	struct vsvm_device *dev = to_vsvm_pagemap(dpagemap)->dev;
	unsigned long size = end - start;
	bool some = false, came = false;
	struct vm_area_struct *vma;
	int idx, ret = -EBUSY;

	/*
	 * KSM loses track of pages that are on a device, see the manager; who asked
	 * may have looked before madvise(), and this is under the mmap lock.
	 */
	vma = vma_lookup(mm, start);
	if (vma && vma->vm_flags & VM_MERGEABLE)
		return -EBUSY;

	/* The removal of the device waits for this, then it sees the memory. */
	if (!drm_dev_enter(&dev->drm, &idx))
		return -ENODEV;

	if (size <= VSVM_MIGRATE_PIECE || vsvm_split_possible())
		ret = vsvm_populate_piece(dpagemap, start, end, mm, timeslice_ms, &came);
	if (size > VSVM_MIGRATE_PIECE && (ret == -EBUSY || ret == -ENOSPC)) {
		for (; start < end; start += VSVM_MIGRATE_PIECE) {
			ret = vsvm_populate_piece(dpagemap, start,
						  start + VSVM_MIGRATE_PIECE, mm,
						  timeslice_ms, &came);
			some |= !ret;
			if (ret && ret != -EBUSY)
				break;
		}
	}
	if (came)
		atomic64_inc(&dev->vram.arrivals);
	drm_dev_exit(idx);
	return some ? 0 : ret;
}

/* manual: end */

static void vsvm_pagemap_free(struct kref *ref)
{
	kfree(container_of(ref, struct vsvm_pagemap, ref));
}

static void vsvm_pagemap_unbond(struct vsvm_pagemap *vp)
{
	struct vsvm_vram *vram = &vp->dev->vram;

	spin_lock(&vram->lru_lock);
	list_del(&vp->bond);
	spin_unlock(&vram->lru_lock);
	kref_put(&vp->ref, vsvm_pagemap_free);
}

/* The last thing that happens when the driver is unbound from the device. */
static void vsvm_pagemap_unbond_all(void *arg)
{
	struct vsvm_vram *vram = arg;
	struct vsvm_pagemap *vp, *next;

	list_for_each_entry_safe(vp, next, &vram->pagemaps, bond)
		vsvm_pagemap_unbond(vp);
}

static void vsvm_pagemap_destroy_now(struct vsvm_pagemap *vp)
{
	struct device *dev = vp->dev->drm.dev;
	int idx;

	/* Else the removal of the device has done so, or is about to. */
	if (drm_dev_enter(&vp->dev->drm, &idx)) {
		devm_memunmap_pages(dev, &vp->pagemap);
		devm_release_mem_region(dev, vp->res->start, resource_size(vp->res));
		vsvm_pagemap_unbond(vp);
		drm_dev_exit(idx);
	}
	drm_pagemap_release_owner(&vp->peer);
	kref_put(&vp->ref, vsvm_pagemap_free);
}

static void vsvm_pagemap_destroy_work(struct work_struct *work)
{
	struct vsvm_pagemap *vp = container_of(work, struct vsvm_pagemap, destroy_work);
	struct drm_device *drm = &vp->dev->drm;

	vsvm_pagemap_destroy_now(vp);
	drm_dev_put(drm);
}

static void vsvm_pagemap_destroy(struct drm_pagemap *dpagemap, bool atomic_or_reclaim)
{
	struct vsvm_pagemap *vp = to_vsvm_pagemap(dpagemap);

	if (!atomic_or_reclaim) {
		vsvm_pagemap_destroy_now(vp);
		return;
	}
	drm_dev_get(&vp->dev->drm);
	vsvm_vram_queue_destroy(&vp->destroy_work);
}

static const struct drm_pagemap_ops vsvm_pagemap_ops = {
	.device_map = vsvm_device_map,
	.device_unmap = vsvm_device_unmap,
	.populate_mm = vsvm_populate_mm,
	.destroy = vsvm_pagemap_destroy,
};

/*
 * The CPU touches a page. If it is part of a huge one that is split first, and then
 * the CPU comes again. drm_pagemap would have migrate_vma_setup() split one that is
 * mapped page by page, while it collects all pages of it: but that keeps to the folio
 * of the fault as it was before the split, and so takes the first page for locked, and
 * the one of the fault for somebody else's (seen with 7.3: VM_BUG_ON in
 * folio_migrate_ksm()).
 */
static vm_fault_t vsvm_migrate_to_ram(struct vm_fault *vmf)
{
	struct folio *folio = page_folio(vmf->page);
	vm_fault_t ret;

	if (folio_test_large(folio)) {
		vsvm_split_page(vmf->page);
		return 0;
	}
	ret = drm_pagemap_pagemap_ops_get()->migrate_to_ram(vmf);
	/*
	 * Somebody keeps it, beside the fault and those that have it mapped. Where a process
	 * unmaps what it had locked, and another one has that, too, a CPU may do so for as
	 * long as it has nothing else to do; and migrate_device_unmap() asks none but its
	 * own. Who touches the page would come again and again.
	 */
	if (!ret && folio_mapped(folio) && folio_ref_count(folio) > folio_mapcount(folio) + 1)
		vsvm_evict_drain();
	return ret;
}

/*
 * What the page allocator does for pages of its own. free_zone_device_folio() leaves the
 * flags as they are, and zone_device_page_init() clears none but the low ones (7.3), so
 * that the next data in a page would begin with what the last was, and take it along:
 *
 * - munlock() passes over what is on a device, see mlock_pte_range(). That is freed as
 *   locked, and counts as such until data that is locked comes to that very page and
 *   goes; or for good, if the struct pages go first.
 * - A page that two processes have locked comes as an unevictable one. If an active one
 *   comes next, both is a bug to folio_migrate_flags() on the way out.
 *
 * Nobody has a reference, but somebody may just look at the flags.
 */
static void vsvm_folio_forget(struct folio *folio)
{
	long i, nr = folio_nr_pages(folio);

	if (folio_test_clear_mlocked(folio)) {
		zone_stat_mod_folio(folio, NR_MLOCK, -nr);
		count_vm_events(UNEVICTABLE_PGCLEARED, nr);
	}
	/* In the second one are flags of a large folio; the next may be a small one. */
	for (i = 0; i < nr; i++)
		set_mask_bits(&folio_page(folio, i)->flags.f, VSVM_PAGE_FORGET, 0UL);
}

/*
 * A page on the device is free. Those that the task frees that was about to move
 * data into them had not been used; what others free had been.
 */
static void vsvm_folio_free(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);
	struct vsvm_vram *vram = &vsvm_pagemap_device(page)->vram;
	struct vsvm_devmem *devmem =
		vram->pages[vsvm_pagemap_offset(page) >> PAGE_SHIFT].devmem;

	/* Before the last reference goes, with which whoever populates looks. */
	if (READ_ONCE(devmem->populating) != current)
		WRITE_ONCE(devmem->left, true);
	/* Afterwards the memory may be somebody else's. */
	vsvm_folio_forget(folio);
	drm_pagemap_pagemap_ops_get()->folio_free(folio);
}

/**
 * vsvm_pagemap_module_init() - Begin, before the first device
 */
void vsvm_pagemap_module_init(void)
{
	vsvm_dev_pagemap_ops = *drm_pagemap_pagemap_ops_get();
	vsvm_dev_pagemap_ops.folio_free = vsvm_folio_free;
	vsvm_dev_pagemap_ops.migrate_to_ram = vsvm_migrate_to_ram;
}

static struct vsvm_pagemap *vsvm_pagemap_create(struct vsvm_device *dev)
{
	struct device *parent = dev->drm.dev;
	struct vsvm_pagemap *vp;
	struct resource *res;
	void *addr;
	int ret;

	vp = kzalloc_obj(*vp);
	if (!vp)
		return ERR_PTR(-ENOMEM);
	vp->dev = dev;
	kref_init(&vp->ref);
	INIT_WORK(&vp->destroy_work, vsvm_pagemap_destroy_work);

	ret = vsvm_owner_acquire(dev, &vp->peer);
	if (ret)
		goto err_free;

	res = devm_request_free_mem_region(parent, &iomem_resource, dev->vram.size);
	if (IS_ERR(res)) {
		ret = PTR_ERR(res);
		goto err_owner;
	}

	vp->res = res;
	vp->pagemap.type = MEMORY_DEVICE_PRIVATE;
	vp->pagemap.range.start = res->start;
	/* The region may be larger, they come in sections. */
	vp->pagemap.range.end = res->start + dev->vram.size - 1;
	vp->pagemap.nr_range = 1;
	vp->pagemap.owner = vp->peer.owner;
	vp->pagemap.ops = &vsvm_dev_pagemap_ops;
	addr = devm_memremap_pages(parent, &vp->pagemap);
	if (IS_ERR(addr)) {
		ret = PTR_ERR(addr);
		goto err_region;
	}

	/* Last, because from here on only a put undoes it. */
	ret = drm_pagemap_init(&vp->base, &vp->pagemap, &dev->drm, &vsvm_pagemap_ops);
	if (ret)
		goto err_pages;

	kref_get(&vp->ref);
	spin_lock(&dev->vram.lru_lock);
	list_add(&vp->bond, &dev->vram.pagemaps);
	spin_unlock(&dev->vram.lru_lock);
	return vp;

err_pages:
	devm_memunmap_pages(parent, &vp->pagemap);
err_region:
	devm_release_mem_region(parent, res->start, resource_size(res));
err_owner:
	drm_pagemap_release_owner(&vp->peer);
err_free:
	kfree(vp);
	return ERR_PTR(ret);
}

/**
 * vsvm_pagemap_get() - Get the struct pages of a device's memory
 * @dev: The device.
 *
 * Makes them, where nobody has before.
 *
 * Return: them, with a reference; or an ERR_PTR(): -ENODEV: the device has no
 * memory, or is gone; -EINTR; -ENOMEM, and what else memremap_pages() gives.
 */
struct drm_pagemap *vsvm_pagemap_get(struct vsvm_device *dev)
{
	struct drm_pagemap_cache *cache = dev->vram.cache;
	struct drm_pagemap *dpagemap;
	struct vsvm_pagemap *vp;
	int ret;

	if (!dev->vram.size)
		return ERR_PTR(-ENODEV);
	if (mutex_lock_interruptible(&dev->vram.lookup_lock))
		return ERR_PTR(-EINTR);
	/* Not drm_dev_enter(): see vsvm_pagemap_close(). */
	if (dev->vram.closed) {
		dpagemap = ERR_PTR(-ENODEV);
		goto unlock;
	}

	ret = drm_pagemap_cache_lock_lookup(cache);
	if (ret) {
		dpagemap = ERR_PTR(ret);
		goto unlock;
	}
	dpagemap = drm_pagemap_get_from_cache(cache);
	if (!dpagemap) {
		vp = vsvm_pagemap_create(dev);
		if (IS_ERR(vp)) {
			dpagemap = ERR_CAST(vp);
		} else {
			dpagemap = &vp->base;
			drm_pagemap_cache_set_pagemap(cache, dpagemap);
		}
	}
	drm_pagemap_cache_unlock_lookup(cache);
unlock:
	mutex_unlock(&dev->vram.lookup_lock);
	return dpagemap;
}

/**
 * vsvm_pagemap_close() - Let nobody look for a device's struct pages any more
 * @dev: The device, not unplugged yet.
 *
 * A lookup that meets struct pages whose last reference is just going waits in
 * drm_pagemap_get_from_cache() until they are in the cache. But from the moment
 * that the device is unplugged they do not go there, and nobody tells the lookup::
 *
 *	last put			lookup			removal
 *	count drops to 0
 *					count is 0: waits
 *								drm_dev_unplug()
 *	drm_dev_enter() fails:
 *	destroys them
 *								frees the cache
 *					waits for ever,
 *					on freed memory
 *
 * A lookup within drm_dev_enter() would keep the removal from going on, and both
 * would wait for ever. So lookups end before the device is unplugged: one that is
 * under way now gets what it waits for, since the last put still finds the cache
 * alive, and no other one begins.
 */
void vsvm_pagemap_close(struct vsvm_device *dev)
{
	mutex_lock(&dev->vram.lookup_lock);
	dev->vram.closed = true;
	mutex_unlock(&dev->vram.lookup_lock);
}

/**
 * vsvm_pagemap_init() - Prepare a device for struct pages
 * @dev: The device.
 *
 * Return: 0, or a negative errno; undone when the driver is unbound.
 */
int vsvm_pagemap_init(struct vsvm_device *dev)
{
	struct drm_pagemap_shrinker *shrinker;
	int ret;

	INIT_LIST_HEAD(&dev->vram.pagemaps);
	if (!dev->vram.size)
		return 0;
	/* Before the cache, so that it comes after the cache's end. */
	ret = devm_add_action(dev->drm.dev, vsvm_pagemap_unbond_all, &dev->vram);
	if (ret)
		return ret;
	shrinker = drm_pagemap_shrinker_create_devm(&dev->drm);
	if (IS_ERR(shrinker))
		return PTR_ERR(shrinker);
	dev->vram.cache = drm_pagemap_cache_create_devm(shrinker);
	return PTR_ERR_OR_ZERO(dev->vram.cache);
}

/**
 * struct vsvm_evict - An eviction
 * @src: Device pages, migrate pfns.
 * @dst: System pages, likewise.
 * @pages: The device pages that are copied.
 * @addrs: Where to.
 * @count: Number of each.
 */
struct vsvm_evict {
	unsigned long *src;
	unsigned long *dst;
	struct page **pages;
	struct drm_pagemap_addr *addrs;
	unsigned long count;
};

/* Has it been brought back before, and is only kept by somebody? */
static bool vsvm_evict_retired(struct page *page)
{
	return (unsigned long)folio_zone_device_data(page_folio(page)) &
	       DRM_PAGEMAP_ZDD_FLAG_MIGRATED;
}

/*
 * Is nothing in it that a process could want? What migrates a page unlocks it before
 * it drops the last reference; in between an eviction may find it, and take it for one
 * that is in use. A populate that was refused leaves one like that, which was never
 * mapped, and so does a move to another device, the source: its contents, and what it
 * was charged to, are those of the page in the other device now, and drm_pagemap marks
 * it only where it went to system memory. mem_cgroup_migrate() warns of either. It
 * goes by itself. The page is locked.
 */
static bool vsvm_evict_left(struct page *page)
{
	struct folio *folio = page_folio(page);

	return !folio_test_anon(folio) ||
	       (!mem_cgroup_disabled() && !folio_memcg_charged(folio));
}

static void vsvm_evict_retire(struct page *page)
{
	struct folio *folio = page_folio(page);
	unsigned long data = (unsigned long)folio_zone_device_data(folio);

	folio_set_zone_device_data(folio, (void *)(data | DRM_PAGEMAP_ZDD_FLAG_MIGRATED));
}

static struct folio *vsvm_evict_folio(struct vsvm_device *dev)
{
	if (vsvm_fail_now(dev, &dev->vram.fail_page))
		return NULL;
	return folio_alloc(GFP_HIGHUSER_MOVABLE, 0);
}

/* Finds a system page for each device page. What gets none stays. */
static unsigned long vsvm_evict_alloc(struct vsvm_device *dev, struct vsvm_evict *evict)
{
	unsigned long i, found = 0;

	for (i = 0; i < evict->count; i++) {
		struct page *page = migrate_pfn_to_page(evict->src[i]);
		struct folio *folio;

		if (!page || !(evict->src[i] & MIGRATE_PFN_MIGRATE))
			continue;
		if (vsvm_evict_retired(page) || vsvm_evict_left(page)) {
			/* Not for finalize: nobody holds its anon_vma any more. */
			folio_unlock(page_folio(page));
			folio_put(page_folio(page));
			evict->src[i] = 0;
			continue;
		}

		folio = vsvm_evict_folio(dev);
		if (!folio)
			continue;
		folio_lock(folio);
		evict->dst[i] = migrate_pfn(folio_pfn(folio));
		evict->pages[i] = page;
		found++;
	}
	return found;
}

static void vsvm_evict_unmap(struct device *dev, struct vsvm_evict *evict)
{
	unsigned long i;

	for (i = 0; i < evict->count; i++)
		if (evict->addrs[i].addr)
			dma_unmap_page(dev, evict->addrs[i].addr, PAGE_SIZE,
				       DMA_FROM_DEVICE);
}

static int vsvm_evict_copy(struct vsvm_device *vdev, struct vsvm_evict *evict)
{
	struct device *dev = vdev->drm.dev;
	unsigned long i;
	int ret = 0;

	for (i = 0; i < evict->count && !ret; i++) {
		struct page *page = migrate_pfn_to_page(evict->dst[i]);
		dma_addr_t addr;

		if (!page)
			continue;
		addr = vsvm_fail_now(vdev, &vdev->mem.fail_map) ? DMA_MAPPING_ERROR :
		       dma_map_page(dev, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
		if (dma_mapping_error(dev, addr))
			ret = -ENOMEM;
		else
			evict->addrs[i] =
				drm_pagemap_addr_encode(addr, DRM_INTERCONNECT_SYSTEM, 0,
							DMA_FROM_DEVICE);
	}
	if (!ret)
		ret = vsvm_copy_run(vdev, evict->pages, evict->addrs, evict->count, false);
	vsvm_evict_unmap(dev, evict);
	return ret;
}

/*
 * Those pages of an allocation that are in use. Huge ones are split, and left out where
 * that fails, because somebody just looks at them. A page can only become smaller: an
 * allocation is filled once.
 */
static void vsvm_evict_pick(struct vsvm_devmem *devmem, struct vsvm_evict *evict)
{
	unsigned long i, j, nr, count = devmem->base.size >> PAGE_SHIFT;

	evict->count = 0;
	vsvm_devmem_pfns(&devmem->base, count, evict->src);
	for (i = 0; i < count; i += nr) {
		struct page *page = pfn_to_page(evict->src[i]);
		bool single = true;

		nr = 1;
		/* Not a free one, nor the tail of one. */
		if (!get_page_unless_zero(page))
			continue;
		if (folio_test_large(page_folio(page))) {
			nr = folio_nr_pages(page_folio(page));
			single = trylock_page(page);
			if (single) {
				/* Somebody else may have split it in between. */
				single = !folio_test_large(page_folio(page)) ||
					 !vsvm_split_page(page);
				unlock_page(page);
			}
		}
		put_page(page);
		/* To the front: never behind what was not looked at yet. */
		for (j = 0; single && j < nr; j++)
			evict->src[evict->count++] = evict->src[i + j];
	}
}

/**
 * vsvm_evict_drain() - Give back what CPUs have kept of pages for later
 *
 * Where memory is unmapped that was locked with mlock(), a CPU holds its pages until it
 * has some more of them; without an end where it has nothing to do. A module cannot.
 */
void vsvm_evict_drain(void)
{
	if (IS_BUILTIN(CONFIG_DRM_VSVM))
		lru_add_drain_all();
}

/* One pass: whatever can be moved now is. */
static int vsvm_evict_pass(struct vsvm_devmem *devmem, struct vsvm_evict *evict)
{
	unsigned long i;
	int ret;

	vsvm_evict_pick(devmem, evict);
	memset(evict->dst, 0, evict->count * sizeof(*evict->dst));
	memset(evict->pages, 0, evict->count * sizeof(*evict->pages));
	memset(evict->addrs, 0, evict->count * sizeof(*evict->addrs));

	ret = migrate_device_pfns(evict->src, evict->count);
	if (ret)
		return ret;

	if (vsvm_evict_alloc(devmem->dev, evict))
		ret = vsvm_evict_copy(devmem->dev, evict);
	for (i = 0; ret && i < evict->count; i++) {
		struct page *page = migrate_pfn_to_page(evict->dst[i]);

		if (page) {
			folio_unlock(page_folio(page));
			folio_put(page_folio(page));
			evict->dst[i] = 0;
		}
	}

	migrate_device_pages(evict->src, evict->dst, evict->count);
	for (i = 0; i < evict->count; i++)
		if (evict->src[i] & MIGRATE_PFN_MIGRATE &&
		    migrate_pfn_to_page(evict->src[i]))
			vsvm_evict_retire(migrate_pfn_to_page(evict->src[i]));
	migrate_device_finalize(evict->src, evict->dst, evict->count);
	return ret;
}

/**
 * vsvm_devmem_evict() - Bring what is in an allocation back to system memory
 * @devmem: The allocation; the caller has a reference.
 *
 * drm_pagemap_evict_to_ram() is not used, because it needs the mm that the
 * memory was allocated for: after a fork the child has the pages still when the
 * parent is gone. Nothing here needs an mm, and any process's mmap lock may be
 * held for read.
 *
 * Return: 0: nothing is left in it; -EBUSY: something is; -EIO: a copy failed;
 * -ENOMEM. What could be moved was moved.
 */
int vsvm_devmem_evict(struct vsvm_devmem *devmem)
{
	unsigned long count = devmem->base.size >> PAGE_SHIFT;
	struct vsvm_evict evict = {};
	unsigned int pass;
	int ret = -ENOMEM;

	evict.src = kvcalloc(count, sizeof(*evict.src), GFP_KERNEL);
	evict.dst = kvcalloc(count, sizeof(*evict.dst), GFP_KERNEL);
	evict.pages = kvcalloc(count, sizeof(*evict.pages), GFP_KERNEL);
	evict.addrs = kvcalloc(count, sizeof(*evict.addrs), GFP_KERNEL);
	if (!evict.src || !evict.dst || !evict.pages || !evict.addrs)
		goto free;

	for (pass = 0; pass < VSVM_EVICT_PASSES; pass++) {
		ret = vsvm_evict_pass(devmem, &evict);
		/* Freed, all of it. */
		if (completion_done(&devmem->base.detached)) {
			ret = 0;
			break;
		}
		ret = ret ?: -EBUSY;
		cond_resched();
	}
	trace_vsvm_evict(devmem->dev, devmem->offset, devmem->base.size, ret);
free:
	kvfree(evict.addrs);
	kvfree(evict.pages);
	kvfree(evict.dst);
	kvfree(evict.src);
	return ret;
}
