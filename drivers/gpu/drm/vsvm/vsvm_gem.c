// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GEM objects: what is bound to addresses of a VM. An object is in system memory
 * (pages of a shmem file, which stay for as long as it is there) or in the
 * memory of its device, or it is somebody else's, who exported it.
 *
 * The CPU cannot reach device memory, so what it touches is moved to system
 * memory first, in the page fault. The way back is taken by who is allowed to
 * make others wait: a bind, or the submission of a job of a VM without mirrors.
 * Not by the fault of a device: that and the CPU could take an object from each
 * other for ever.
 *
 * Device memory of objects is evictable: for another object that needs room, and
 * when the device goes. It is not evicted for data that moves on its own, which
 * can as well stay where it is; the reverse is done.
 *
 * All of an object's state is protected by its reservation object. A move goes
 * like this:
 *
 *	lock the reservation object
 *	wait for all fences in it: jobs and binds that may use the addresses
 *	clear the PTEs of all bindings, start the flushes, wait for them
 *	copy
 *	unmap the old addresses for DMA, free the old memory
 *
 * Jobs of a VM with mirrors have no fence. They lose the PTEs and fault; the fault
 * waits for the lock and writes new ones.
 */

#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/gpu_buddy.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/scatterlist.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_prime.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

/* Evictions of other objects for one, before it stays in system memory. */
#define VSVM_GEM_EVICTIONS	16

/**
 * vsvm_gem_init() - No object yet
 * @gem: The objects of a device.
 */
void vsvm_gem_init(struct vsvm_gem *gem)
{
	spin_lock_init(&gem->lock);
	INIT_LIST_HEAD(&gem->bos);
}

static struct vsvm_device *vsvm_bo_dev(struct vsvm_bo *bo)
{
	return to_vsvm(bo->base.dev);
}

static struct vsvm_bo_run *vsvm_bo_runs_alloc(unsigned int count)
{
	return kvcalloc(count, sizeof(struct vsvm_bo_run), GFP_KERNEL);
}

static struct vsvm_bo_run *vsvm_bo_sgt_runs(struct sg_table *sgt, unsigned int *num)
{
	struct vsvm_bo_run *runs = vsvm_bo_runs_alloc(sgt->nents);
	struct vsvm_bo_run *run = NULL;
	struct scatterlist *sg;
	unsigned int i, n = 0;
	u64 offset = 0;

	if (!runs)
		return NULL;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		/* A segment may be shorter than what is in one piece. */
		if (!run || run->addr + run->size != sg_dma_address(sg)) {
			run = &runs[n++];
			run->offset = offset;
			run->addr = sg_dma_address(sg);
		}
		run->size += sg_dma_len(sg);
		offset += sg_dma_len(sg);
	}
	*num = n;
	return runs;
}

static struct vsvm_bo_run *vsvm_bo_block_runs(struct vsvm_device *dev,
					      struct list_head *blocks, unsigned int *num)
{
	struct vsvm_bo_run *runs = vsvm_bo_runs_alloc(list_count_nodes(blocks));
	struct gpu_buddy_block *block;
	unsigned int i = 0;
	u64 offset = 0;

	if (!runs)
		return NULL;
	list_for_each_entry(block, blocks, link) {
		runs[i].offset = offset;
		runs[i].size = gpu_buddy_block_size(&dev->vram.buddy, block);
		runs[i].addr = vsvm_vram_addr(dev, gpu_buddy_block_offset(block));
		offset += runs[i].size;
		i++;
	}
	*num = i;
	return runs;
}

/**
 * vsvm_bo_get_pages() - See to it that an object has system pages
 * @bo: The object, in system memory or nowhere. Its lock is held.
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_bo_get_pages(struct vsvm_bo *bo)
{
	struct page **pages;

	if (bo->pages)
		return 0;
	pages = drm_gem_get_pages(&bo->base);
	if (IS_ERR(pages))
		return PTR_ERR(pages);
	bo->pages = pages;
	if (bo->where == VSVM_WHERE_NOWHERE)
		bo->where = VSVM_WHERE_SYSTEM;
	return 0;
}

static void vsvm_bo_put_pages(struct vsvm_bo *bo)
{
	if (bo->pages)
		drm_gem_put_pages(&bo->base, bo->pages, true, true);
	bo->pages = NULL;
}

/**
 * vsvm_bo_unreach() - Take an object's addresses away from its device
 * @bo: The object. Its lock is held, and no PTE has any of them.
 */
void vsvm_bo_unreach(struct vsvm_bo *bo)
{
	kvfree(bo->runs);
	bo->runs = NULL;
	bo->num_runs = 0;
	if (!bo->sgt)
		return;
	if (bo->where == VSVM_WHERE_IMPORTED)
		dma_buf_unmap_attachment(bo->base.import_attach, bo->sgt,
					 DMA_BIDIRECTIONAL);
	else
		vsvm_bo_sgt_free(bo->base.dev->dev, bo->sgt, DMA_BIDIRECTIONAL);
	bo->sgt = NULL;
}

/* Gives the device addresses of what is in system memory, or was imported. */
static int vsvm_bo_reach(struct vsvm_bo *bo)
{
	struct sg_table *sgt;
	int ret;

	if (bo->runs)
		return 0;
	if (bo->where == VSVM_WHERE_IMPORTED) {
		sgt = vsvm_bo_import_sgt(bo);
	} else {
		ret = vsvm_bo_get_pages(bo);
		if (ret)
			return ret;
		sgt = vsvm_bo_sgt(bo, bo->base.dev->dev, DMA_BIDIRECTIONAL);
	}
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);

	bo->sgt = sgt;
	bo->runs = vsvm_bo_sgt_runs(sgt, &bo->num_runs);
	if (!bo->runs) {
		vsvm_bo_unreach(bo);
		return -ENOMEM;
	}
	return 0;
}

/**
 * vsvm_bo_invalidate() - Nobody shall use an object's addresses any more
 * @bo: The object. Its lock is held.
 * @intr: A signal may end the wait.
 *
 * When this returns no device can reach the data. Bindings stay, and get PTEs
 * again when they are needed.
 *
 * Return: 0, or -EINTR, and then nothing was changed.
 */
int vsvm_bo_invalidate(struct vsvm_bo *bo, bool intr)
{
	struct drm_gem_object *obj = &bo->base;

	dma_resv_assert_held(obj->resv);

	if (dma_resv_wait_timeout(obj->resv, DMA_RESV_USAGE_BOOKKEEP, intr,
				  MAX_SCHEDULE_TIMEOUT) < 0)
		return -EINTR;
	vsvm_bo_forget_peers(bo);
	vsvm_bind_zap_object(obj);
	return 0;
}

/* What is copied, where both sides are in pieces. */
static int vsvm_bo_copy(struct vsvm_device *dev, const struct vsvm_bo_run *to,
			unsigned int num_to, const struct vsvm_bo_run *from,
			unsigned int num_from)
{
	struct vsvm_copy_span *spans;
	unsigned int t = 0, f = 0, n = 0;
	u64 pos = 0;
	int ret;

	spans = kvcalloc(num_to + num_from, sizeof(*spans), GFP_KERNEL);
	if (!spans)
		return -ENOMEM;

	while (t < num_to && (!from || f < num_from)) {
		struct vsvm_copy_span *span = &spans[n++];
		u64 end = to[t].offset + to[t].size;

		if (from)
			end = min(end, from[f].offset + from[f].size);
		span->dst = to[t].addr + (pos - to[t].offset);
		span->len = end - pos;
		span->clear = !from;
		if (from)
			span->src = from[f].addr + (pos - from[f].offset);
		pos = end;
		if (pos == to[t].offset + to[t].size)
			t++;
		if (from && pos == from[f].offset + from[f].size)
			f++;
	}
	ret = vsvm_copy_spans(dev, spans, n);
	kvfree(spans);
	return ret;
}

static void vsvm_bo_unmap_cpu(struct vsvm_bo *bo)
{
	drm_vma_node_unmap(&bo->base.vma_node, bo->base.dev->anon_inode->i_mapping);
}

static void vsvm_bo_free_blocks(struct vsvm_bo *bo)
{
	vsvm_vram_object_free(vsvm_bo_dev(bo), bo->base.size, &bo->blocks, bo->pool);
	bo->pool = NULL;
}

/**
 * vsvm_bo_to_system() - Move an object to system memory
 * @bo: The object. Its lock is held.
 * @intr: A signal may end the wait for those who use it.
 *
 * Return: 0; -EINTR; -ENOMEM; -EIO: the copy failed. Where it fails, the data is
 * where it was.
 */
int vsvm_bo_to_system(struct vsvm_bo *bo, bool intr)
{
	struct vsvm_device *dev = vsvm_bo_dev(bo);
	struct vsvm_bo_run *runs;
	struct sg_table *sgt;
	unsigned int num;
	int ret;

	dma_resv_assert_held(bo->base.resv);
	if (bo->where != VSVM_WHERE_DEVICE)
		return 0;

	ret = vsvm_bo_get_pages(bo);
	if (ret)
		return ret;
	sgt = vsvm_bo_sgt(bo, bo->base.dev->dev, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto err_pages;
	}
	runs = vsvm_bo_sgt_runs(sgt, &num);
	if (!runs) {
		ret = -ENOMEM;
		goto err_sgt;
	}

	ret = vsvm_bo_invalidate(bo, intr);
	if (!ret)
		ret = vsvm_bo_copy(dev, runs, num, bo->runs, bo->num_runs);
	if (ret)
		goto err_runs;

	vsvm_bo_unreach(bo);
	vsvm_bo_free_blocks(bo);
	bo->sgt = sgt;
	bo->runs = runs;
	bo->num_runs = num;
	bo->where = VSVM_WHERE_SYSTEM;
	atomic64_inc(&dev->gem.moves);
	trace_vsvm_gem_move(dev, bo->base.size, false);
	return 0;

err_runs:
	kvfree(runs);
err_sgt:
	vsvm_bo_sgt_free(bo->base.dev->dev, sgt, DMA_BIDIRECTIONAL);
err_pages:
	vsvm_bo_put_pages(bo);
	return ret;
}

/* The next object in device memory, with a reference; or NULL. */
static struct vsvm_bo *vsvm_gem_candidate(struct vsvm_gem *gem)
{
	struct vsvm_bo *bo, *candidate = NULL;

	spin_lock(&gem->lock);
	list_for_each_entry(bo, &gem->bos, link) {
		/* Only a hint without its lock. */
		if (data_race(bo->where) == VSVM_WHERE_DEVICE &&
		    kref_get_unless_zero(&bo->base.refcount)) {
			/* The next one is another one. */
			list_move_tail(&bo->link, &gem->bos);
			candidate = bo;
			break;
		}
	}
	spin_unlock(&gem->lock);
	return candidate;
}

/* An object in device memory whose lock nobody holds, locked; or NULL. */
static struct vsvm_bo *vsvm_gem_victim(struct vsvm_gem *gem)
{
	struct vsvm_bo *bo;
	size_t tries;

	spin_lock(&gem->lock);
	tries = list_count_nodes(&gem->bos);
	spin_unlock(&gem->lock);

	while (tries-- && (bo = vsvm_gem_candidate(gem))) {
		/* The caller may hold any, also this one. */
		if (dma_resv_trylock(bo->base.resv))
			return bo;
		drm_gem_object_put(&bo->base);
	}
	return NULL;
}

static bool vsvm_gem_make_room(struct vsvm_device *dev)
{
	struct vsvm_bo *bo = vsvm_gem_victim(&dev->gem);
	int ret;

	if (!bo)
		return false;
	ret = vsvm_bo_to_system(bo, true);
	dma_resv_unlock(bo->base.resv);
	drm_gem_object_put(&bo->base);
	return !ret;
}

static int vsvm_bo_alloc_blocks(struct vsvm_bo *bo, struct list_head *blocks,
				struct dmem_cgroup_pool_state **pool)
{
	struct vsvm_device *dev = vsvm_bo_dev(bo);
	unsigned int evictions = 0;
	int ret;

	do {
		ret = vsvm_vram_object_alloc(dev, bo->base.size, blocks, pool);
	} while (ret == -ENOSPC && bo->base.size <= dev->vram.size &&
		 evictions++ < VSVM_GEM_EVICTIONS && vsvm_gem_make_room(dev));
	return ret;
}

/**
 * vsvm_bo_to_device() - Move an object to its device's memory
 * @bo: The object, that nobody needs in system memory. Its lock is held; the
 *	device cannot go meanwhile.
 *
 * Return: 0; -ENOSPC: there is no room; -EINTR; -ENOMEM; -EIO: the copy failed.
 * Where it fails, the data is where it was.
 */
int vsvm_bo_to_device(struct vsvm_bo *bo)
{
	struct vsvm_device *dev = vsvm_bo_dev(bo);
	struct dmem_cgroup_pool_state *pool;
	bool clear = bo->where == VSVM_WHERE_NOWHERE;
	struct vsvm_bo_run *runs;
	LIST_HEAD(blocks);
	unsigned int num;
	int ret;

	dma_resv_assert_held(bo->base.resv);
	if (bo->where == VSVM_WHERE_DEVICE)
		return 0;

	ret = vsvm_bo_alloc_blocks(bo, &blocks, &pool);
	if (ret)
		return ret;
	runs = vsvm_bo_block_runs(dev, &blocks, &num);
	if (!runs) {
		ret = -ENOMEM;
		goto err_blocks;
	}
	if (!clear) {
		ret = vsvm_bo_reach(bo);
		if (!ret)
			ret = vsvm_bo_invalidate(bo, true);
		if (ret)
			goto err_runs;
		/* It cannot come back without the lock. */
		vsvm_bo_unmap_cpu(bo);
	}
	ret = vsvm_bo_copy(dev, runs, num, clear ? NULL : bo->runs, bo->num_runs);
	if (ret)
		goto err_runs;

	vsvm_bo_unreach(bo);
	if (bo->pages) {
		vsvm_bo_put_pages(bo);
		shmem_truncate_range(file_inode(bo->base.filp), 0, (loff_t)-1);
	}
	list_splice_init(&blocks, &bo->blocks);
	bo->pool = pool;
	bo->runs = runs;
	bo->num_runs = num;
	bo->where = VSVM_WHERE_DEVICE;
	atomic64_inc(&dev->gem.moves);
	trace_vsvm_gem_move(dev, bo->base.size, true);
	return 0;

err_runs:
	kvfree(runs);
err_blocks:
	vsvm_vram_object_free(dev, bo->base.size, &blocks, pool);
	return ret;
}

/**
 * vsvm_bo_populate() - See to it that an object's device can reach it
 * @bo: The object. Its lock is held.
 * @move: Also move it to where it should be.
 *
 * Return: 0; -ENODEV: the device is gone; -EINTR; -ENOMEM, or what its exporter
 * says.
 */
int vsvm_bo_populate(struct vsvm_bo *bo, bool move)
{
	int idx, ret = 0;

	dma_resv_assert_held(bo->base.resv);
	if (!drm_dev_enter(bo->base.dev, &idx))
		return -ENODEV;

	if (bo->placement == DRM_VSVM_PLACEMENT_DEVICE && !bo->system_maps &&
	    (move || bo->where == VSVM_WHERE_NOWHERE))
		ret = vsvm_bo_to_device(bo);
	/* Where there is no room, and where it cannot be copied, it stays. */
	if (ret != -EINTR)
		ret = bo->runs ? 0 : vsvm_bo_reach(bo);
	drm_dev_exit(idx);
	return ret;
}

/* ------------------------------------------------------- objects, mmap, ioctls */

static void vsvm_gem_free(struct drm_gem_object *obj)
{
	struct vsvm_device *dev = to_vsvm(obj->dev);
	struct vsvm_bo *bo = to_vsvm_bo(obj);

	if (bo->where == VSVM_WHERE_IMPORTED) {
		/* Its exporter knows it still, and may be about to move it. */
		dma_resv_lock(obj->resv, NULL);
		vsvm_bo_unreach(bo);
		dma_resv_unlock(obj->resv);
		drm_prime_gem_destroy(obj, NULL);
	} else {
		/*
		 * Nobody else knows it, so there is nothing to lock; and its lock may
		 * be that of a VM, held by whoever drops the last reference.
		 */
		vsvm_bo_unreach(bo);
		if (bo->where == VSVM_WHERE_DEVICE)
			vsvm_bo_free_blocks(bo);
		vsvm_bo_put_pages(bo);
	}

	/* The removal of the device waits until it is not in the list. */
	spin_lock(&dev->gem.lock);
	list_del(&bo->link);
	spin_unlock(&dev->gem.lock);

	drm_gem_object_release(obj);
	if (bo->resv_obj)
		drm_gem_object_put(bo->resv_obj);
	kfree(bo);
}

static vm_fault_t vsvm_gem_fault(struct vm_fault *vmf)
{
	struct drm_gem_object *obj = vmf->vma->vm_private_data;
	pgoff_t index = vmf->pgoff - drm_vma_node_start(&obj->vma_node);
	struct vsvm_bo *bo = to_vsvm_bo(obj);
	vm_fault_t fault = VM_FAULT_SIGBUS;
	int ret;

	if (index >= obj->size >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	/* With the mmap lock held: no fence waits for that one. */
	if (dma_resv_lock_interruptible(obj->resv, NULL))
		return VM_FAULT_NOPAGE;

	ret = vsvm_bo_to_system(bo, true);
	if (!ret)
		ret = vsvm_bo_get_pages(bo);
	if (!ret)
		fault = vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(bo->pages[index]));
	else if (ret == -EINTR)
		fault = VM_FAULT_NOPAGE;
	else if (ret == -ENOMEM)
		fault = VM_FAULT_OOM;
	dma_resv_unlock(obj->resv);
	return fault;
}

static const struct vm_operations_struct vsvm_gem_vm_ops = {
	.fault = vsvm_gem_fault,
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
};

static int vsvm_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	if (vma_is_cow_mapping(vma)) {
		drm_dbg(obj->dev, "mmap of an object: not shared\n");
		return -EINVAL;
	}
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_page_prot = vma_get_page_prot(vma);
	return 0;
}

static const struct drm_gem_object_funcs vsvm_gem_funcs = {
	.free = vsvm_gem_free,
	.export = vsvm_gem_export,
	.mmap = vsvm_gem_mmap,
	.vm_ops = &vsvm_gem_vm_ops,
};

static struct vsvm_bo *vsvm_bo_new(u32 placement)
{
	struct vsvm_bo *bo = kzalloc_obj(*bo);

	if (!bo)
		return NULL;
	bo->base.funcs = &vsvm_gem_funcs;
	bo->placement = placement;
	INIT_LIST_HEAD(&bo->link);
	INIT_LIST_HEAD(&bo->blocks);
	INIT_LIST_HEAD(&bo->peers);
	return bo;
}

/**
 * vsvm_bo_publish() - Let the device know of an object
 * @bo: The object, complete.
 */
void vsvm_bo_publish(struct vsvm_bo *bo)
{
	struct vsvm_gem *gem = &vsvm_bo_dev(bo)->gem;

	spin_lock(&gem->lock);
	list_add_tail(&bo->link, &gem->bos);
	spin_unlock(&gem->lock);
}

/**
 * vsvm_bo_alloc() - Make an object
 * @dev: The device.
 * @size: Bytes, a multiple of the page size.
 * @placement: An &enum drm_vsvm_placement.
 * @resv_obj: Whose reservation object it shall use, NULL: its own.
 *
 * Return: the object with one reference, or an ERR_PTR(): -ENOMEM.
 */
struct vsvm_bo *vsvm_bo_alloc(struct vsvm_device *dev, u64 size, u32 placement,
			      struct drm_gem_object *resv_obj)
{
	struct vsvm_bo *bo = vsvm_bo_new(placement);
	int ret;

	if (!bo)
		return ERR_PTR(-ENOMEM);
	if (resv_obj)
		bo->base.resv = resv_obj->resv;
	ret = drm_gem_object_init(&dev->drm, &bo->base, size);
	if (ret) {
		drm_gem_private_object_fini(&bo->base);
		kfree(bo);
		/* What shmem says where it has no memory for an inode. */
		return ERR_PTR(ret == -ENOSPC ? -ENOMEM : ret);
	}
	/* Rather no memory than somebody killed for it. */
	mapping_set_gfp_mask(bo->base.filp->f_mapping,
			     GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
	ret = drm_gem_create_mmap_offset(&bo->base);
	if (ret) {
		drm_gem_object_release(&bo->base);
		kfree(bo);
		return ERR_PTR(ret);
	}
	if (resv_obj) {
		drm_gem_object_get(resv_obj);
		bo->resv_obj = resv_obj;
	}
	vsvm_bo_publish(bo);
	return bo;
}

/**
 * vsvm_bo_alloc_imported() - Make an object that somebody else exports
 * @dev: The device.
 * @dma_buf: What is exported; the caller attaches the device, takes a reference
 *	for the object, and publishes this then.
 *
 * Return: the object with one reference, or an ERR_PTR(): -ENOMEM.
 */
struct vsvm_bo *vsvm_bo_alloc_imported(struct vsvm_device *dev, struct dma_buf *dma_buf)
{
	struct vsvm_bo *bo = vsvm_bo_new(DRM_VSVM_PLACEMENT_SYSTEM);

	if (!bo)
		return ERR_PTR(-ENOMEM);
	bo->base.resv = dma_buf->resv;
	bo->where = VSVM_WHERE_IMPORTED;
	drm_gem_private_object_init(&dev->drm, &bo->base, dma_buf->size);
	return bo;
}

/**
 * vsvm_gem_evict_some() - Try to bring each object in device memory to system memory
 * @dev: The device.
 */
void vsvm_gem_evict_some(struct vsvm_device *dev)
{
	struct vsvm_bo *bo;
	size_t left;

	spin_lock(&dev->gem.lock);
	left = list_count_nodes(&dev->gem.bos);
	spin_unlock(&dev->gem.lock);

	while (left-- && (bo = vsvm_gem_victim(&dev->gem))) {
		vsvm_bo_to_system(bo, true);
		dma_resv_unlock(bo->base.resv);
		drm_gem_object_put(&bo->base);
	}
}

/* The first object in a list that is not being freed, with a reference; or NULL. */
static struct vsvm_bo *vsvm_gem_take(struct vsvm_gem *gem, struct list_head *bos)
{
	struct vsvm_bo *bo;

	list_for_each_entry(bo, bos, link) {
		if (kref_get_unless_zero(&bo->base.refcount)) {
			list_move_tail(&bo->link, &gem->bos);
			return bo;
		}
	}
	return NULL;
}

/**
 * vsvm_gem_evict_all() - The device goes: take its addresses from all objects
 * @dev: The device, unplugged, its VMs torn down: nothing is bound any more, and
 *	no object gets an address.
 *
 * What is in the device's memory goes to system memory, where the CPU and other
 * devices find it still.
 */
void vsvm_gem_evict_all(struct vsvm_device *dev)
{
	struct vsvm_gem *gem = &dev->gem;
	struct vsvm_bo *bo;
	LIST_HEAD(bos);
	bool empty;

	atomic_set(&dev->copy.fail, 0);
	atomic_set(&dev->mem.fail_map, 0);
	spin_lock(&gem->lock);
	list_splice_init(&gem->bos, &bos);
	spin_unlock(&gem->lock);

	do {
		spin_lock(&gem->lock);
		bo = vsvm_gem_take(gem, &bos);
		/* What is left is being freed; that needs the device, too. */
		empty = list_empty(&bos);
		spin_unlock(&gem->lock);
		if (!bo) {
			cond_resched();
			continue;
		}

		dma_resv_lock(bo->base.resv, NULL);
		if (vsvm_bo_to_system(bo, false)) {
			/* No memory, so the data is lost; not the machine. */
			drm_warn(&dev->drm, "an object of %zu bytes is lost with the device\n",
				 bo->base.size);
			vsvm_bo_invalidate(bo, false);
			vsvm_bo_unreach(bo);
			vsvm_bo_free_blocks(bo);
			bo->where = VSVM_WHERE_NOWHERE;
		}
		vsvm_bo_unreach(bo);
		dma_resv_unlock(bo->base.resv);
		drm_gem_object_put(&bo->base);
	} while (bo || !empty);
}

static int vsvm_gem_create_check(struct drm_device *drm,
				 const struct drm_vsvm_gem_create *args)
{
	if (args->pad) {
		drm_dbg(drm, "pad 0x%llx: must be 0\n", args->pad);
		return -EINVAL;
	}
	if (args->flags & ~DRM_VSVM_GEM_VM) {
		drm_dbg(drm, "flags 0x%x: unknown ones\n", args->flags);
		return -EINVAL;
	}
	if (!(args->flags & DRM_VSVM_GEM_VM) && args->vm_id) {
		drm_dbg(drm, "vm_id %u: without the flag\n", args->vm_id);
		return -EINVAL;
	}
	if (args->placement > DRM_VSVM_PLACEMENT_DEVICE) {
		drm_dbg(drm, "placement %u: unknown\n", args->placement);
		return -EINVAL;
	}
	if (!args->size || !PAGE_ALIGNED(args->size) || args->size > S64_MAX) {
		drm_dbg(drm, "size 0x%llx: zero, not whole pages, or too many\n", args->size);
		return -EINVAL;
	}
	if (args->placement == DRM_VSVM_PLACEMENT_DEVICE && !to_vsvm(drm)->vram.size) {
		drm_dbg(drm, "placement %u: there is no device memory\n", args->placement);
		return -EOPNOTSUPP;
	}
	if (args->size >> PAGE_SHIFT > totalram_pages() / 4) {
		drm_dbg(drm, "size 0x%llx: more than a quarter of all memory\n", args->size);
		return -ENOMEM;
	}
	return 0;
}

/**
 * vsvm_gem_create_ioctl() - DRM_IOCTL_VSVM_GEM_CREATE
 * @drm: The device.
 * @data: A &struct drm_vsvm_gem_create.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_gem_create.
 */
int vsvm_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_gem_create *args = data;
	struct vsvm_vm *vm = NULL;
	struct vsvm_bo *bo;
	int ret;

	ret = vsvm_gem_create_check(drm, args);
	if (ret)
		return ret;
	if (args->flags & DRM_VSVM_GEM_VM) {
		vm = vsvm_vm_lookup(file, args->vm_id);
		if (IS_ERR(vm))
			return PTR_ERR(vm);
	}

	bo = vsvm_bo_alloc(to_vsvm(drm), args->size, args->placement,
			   vm ? vm->bind.resv : NULL);
	if (vm)
		vsvm_vm_put(vm);
	if (IS_ERR(bo))
		return PTR_ERR(bo);

	ret = drm_gem_handle_create(file, &bo->base, &args->handle);
	drm_gem_object_put(&bo->base);
	return ret;
}

/**
 * vsvm_gem_mmap_offset_ioctl() - DRM_IOCTL_VSVM_GEM_MMAP_OFFSET
 * @drm: The device.
 * @data: A &struct drm_vsvm_gem_mmap_offset.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_gem_mmap_offset.
 */
int vsvm_gem_mmap_offset_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_gem_mmap_offset *args = data;
	struct drm_gem_object *obj;
	int ret = 0;

	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%llx: must be 0\n", args->flags, args->pad);
		return -EINVAL;
	}
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj) {
		drm_dbg(drm, "handle %u: no such object\n", args->handle);
		return -ENOENT;
	}
	if (drm_gem_is_imported(obj)) {
		drm_dbg(drm, "handle %u: imported\n", args->handle);
		ret = -EINVAL;
	} else {
		args->offset = drm_vma_node_offset_addr(&obj->vma_node);
	}
	drm_gem_object_put(obj);
	return ret;
}
