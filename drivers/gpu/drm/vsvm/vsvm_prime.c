// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Objects that several devices share, by way of dma-bufs.
 *
 * An exported object may move: importers are told, and map it again when they
 * need it. A device of the same hive reaches the object in the exporter's memory,
 * over its link. For anybody else it is brought to system memory, and stays there
 * for as long as it is mapped: pages are mapped for the importer's DMA, in the
 * importer's domain.
 *
 * Exporter and importers share one reservation object, and so the fences in it
 * are those of all of them: who moves the object waits for the jobs of each.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <drm/drm_prime.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/**
 * struct vsvm_attach - What the exporter knows of an attachment
 * @link: In &vsvm_bo.peers, while it has addresses of device memory. Protected by
 *	the reservation object
 * @attach: The attachment. Immutable
 */
struct vsvm_attach {
	struct list_head link;
	struct dma_buf_attachment *attach;
};

static const struct dma_buf_attach_ops vsvm_attach_ops;

/* The device that imports, where it is one of ours; else NULL. */
static struct vsvm_device *vsvm_attach_dev(struct dma_buf_attachment *attach)
{
	struct drm_gem_object *obj = attach->importer_priv;

	return attach->importer_ops == &vsvm_attach_ops ? to_vsvm(obj->dev) : NULL;
}

/**
 * vsvm_bo_sgt() - Map an object's system pages for DMA
 * @bo: The object, with pages. Its lock is held.
 * @to: The device that is to reach them.
 * @dir: What it may do.
 *
 * Return: their addresses, to be freed with vsvm_bo_sgt_free(); or an ERR_PTR().
 */
struct sg_table *vsvm_bo_sgt(struct vsvm_bo *bo, struct device *to,
			     enum dma_data_direction dir)
{
	size_t max = min_t(size_t, dma_max_mapping_size(to), dma_get_max_seg_size(to));
	struct vsvm_device *dev = to_vsvm(bo->base.dev);
	struct sg_table *sgt = kzalloc_obj(*sgt);
	int ret;

	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table_from_pages_segment(sgt, bo->pages, bo->base.size >> PAGE_SHIFT,
						0, bo->base.size, max & PAGE_MASK, GFP_KERNEL);
	if (ret)
		goto err_free;
	ret = vsvm_fail_now(dev, &dev->mem.fail_map) ? -ENOMEM : dma_map_sgtable(to, sgt, dir, 0);
	if (ret)
		goto err_table;
	return sgt;

err_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

/**
 * vsvm_bo_sgt_free() - Undo vsvm_bo_sgt()
 * @to: See there.
 * @sgt: Its result.
 * @dir: See there.
 */
void vsvm_bo_sgt_free(struct device *to, struct sg_table *sgt, enum dma_data_direction dir)
{
	dma_unmap_sgtable(to, sgt, dir, 0);
	sg_free_table(sgt);
	kfree(sgt);
}

/* ----------------------------------------------------------------- the exporter */

static int vsvm_dmabuf_attach(struct dma_buf *dma_buf, struct dma_buf_attachment *attach)
{
	struct vsvm_device *dev = to_vsvm(((struct drm_gem_object *)dma_buf->priv)->dev);
	struct vsvm_device *to = vsvm_attach_dev(attach);
	struct vsvm_attach *ours = kzalloc_obj(*ours);

	if (!ours)
		return -ENOMEM;
	INIT_LIST_HEAD(&ours->link);
	ours->attach = attach;
	attach->priv = ours;
	attach->peer2peer = to && to->hive == dev->hive;
	return 0;
}

static void vsvm_dmabuf_detach(struct dma_buf *dma_buf, struct dma_buf_attachment *attach)
{
	struct vsvm_attach *ours = attach->priv;

	WARN_ON(!list_empty(&ours->link));
	kfree(ours);
}

/* For those who cannot be told that it moves. */
static int vsvm_dmabuf_pin(struct dma_buf_attachment *attach)
{
	struct vsvm_bo *bo = to_vsvm_bo((struct drm_gem_object *)attach->dmabuf->priv);
	int ret;

	dma_resv_assert_held(bo->base.resv);
	ret = vsvm_bo_to_system(bo, true);
	if (!ret)
		ret = vsvm_bo_get_pages(bo);
	if (!ret)
		bo->system_maps++;
	return ret;
}

static void vsvm_dmabuf_unpin(struct dma_buf_attachment *attach)
{
	struct vsvm_bo *bo = to_vsvm_bo((struct drm_gem_object *)attach->dmabuf->priv);

	dma_resv_assert_held(bo->base.resv);
	bo->system_maps--;
}

/* The length of an entry is 32 bits wide; a block of the buddy may be longer. */
#define VSVM_SG_PIECE	((u64)SZ_2G)

/* Addresses of device memory, without pages. */
static struct sg_table *vsvm_dmabuf_map_peer(struct vsvm_bo *bo, struct vsvm_attach *ours)
{
	struct sg_table *sgt = kzalloc_obj(*sgt);
	unsigned int i, count = 0;
	struct scatterlist *sg;
	u64 done, len;
	int ret;

	if (!sgt)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < bo->num_runs; i++)
		count += DIV_ROUND_UP_ULL(bo->runs[i].size, VSVM_SG_PIECE);
	ret = sg_alloc_table(sgt, count, GFP_KERNEL);
	if (ret) {
		kfree(sgt);
		return ERR_PTR(ret);
	}
	sg = sgt->sgl;
	for (i = 0; i < bo->num_runs; i++) {
		for (done = 0; done < bo->runs[i].size; done += len, sg = sg_next(sg)) {
			len = min(bo->runs[i].size - done, VSVM_SG_PIECE);
			sg_set_page(sg, NULL, len, 0);
			sg_dma_address(sg) = bo->runs[i].addr + done;
			sg_dma_len(sg) = len;
		}
	}
	list_add(&ours->link, &bo->peers);
	return sgt;
}

static struct sg_table *vsvm_dmabuf_map(struct dma_buf_attachment *attach,
					enum dma_data_direction dir)
{
	struct vsvm_bo *bo = to_vsvm_bo((struct drm_gem_object *)attach->dmabuf->priv);
	struct vsvm_attach *ours = attach->priv;
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(bo->base.resv);

	/* Where there is room, and the device is there, it is or comes there. */
	if (attach->peer2peer && bo->placement == DRM_VSVM_PLACEMENT_DEVICE &&
	    bo->where == VSVM_WHERE_NOWHERE)
		vsvm_bo_populate(bo, true);
	if (attach->peer2peer && bo->where == VSVM_WHERE_DEVICE)
		return vsvm_dmabuf_map_peer(bo, ours);

	ret = vsvm_bo_to_system(bo, true);
	if (!ret)
		ret = vsvm_bo_get_pages(bo);
	if (ret)
		return ERR_PTR(ret);
	sgt = vsvm_bo_sgt(bo, attach->dev, dir);
	if (!IS_ERR(sgt))
		bo->system_maps++;
	return sgt;
}

static void vsvm_dmabuf_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			      enum dma_data_direction dir)
{
	struct vsvm_bo *bo = to_vsvm_bo((struct drm_gem_object *)attach->dmabuf->priv);
	struct vsvm_attach *ours = attach->priv;

	dma_resv_assert_held(bo->base.resv);
	if (list_empty(&ours->link)) {
		bo->system_maps--;
		vsvm_bo_sgt_free(attach->dev, sgt, dir);
		return;
	}
	list_del_init(&ours->link);
	sg_free_table(sgt);
	kfree(sgt);
}

static const struct dma_buf_ops vsvm_dmabuf_ops = {
	.attach = vsvm_dmabuf_attach,
	.detach = vsvm_dmabuf_detach,
	.pin = vsvm_dmabuf_pin,
	.unpin = vsvm_dmabuf_unpin,
	.map_dma_buf = vsvm_dmabuf_map,
	.unmap_dma_buf = vsvm_dmabuf_unmap,
	.release = drm_gem_dmabuf_release,
	.mmap = drm_gem_dmabuf_mmap,
};

/**
 * vsvm_bo_forget_peers() - Take an object's device memory from its importers
 * @bo: The object. Its lock is held, and no fence in there is pending.
 */
void vsvm_bo_forget_peers(struct vsvm_bo *bo)
{
	struct vsvm_attach *ours;

	/* Only our own importers are here, and they unmap at once. */
	while ((ours = list_first_entry_or_null(&bo->peers, struct vsvm_attach, link))) {
		dma_buf_invalidate_mappings(ours->attach->dmabuf);
		if (WARN_ON(list_first_entry_or_null(&bo->peers, struct vsvm_attach,
						     link) == ours))
			break;
	}
}

/**
 * vsvm_gem_export() - Export an object
 * @obj: The object.
 * @flags: For the file.
 *
 * Return: the dma-buf, or an ERR_PTR(): -EPERM: it is for one VM.
 */
struct dma_buf *vsvm_gem_export(struct drm_gem_object *obj, int flags)
{
	struct dma_buf_export_info info = {
		.exp_name = "vsvm",
		.owner = obj->dev->driver->fops->owner,
		.ops = &vsvm_dmabuf_ops,
		.size = obj->size,
		.flags = flags,
		.priv = obj,
		.resv = obj->resv,
	};

	if (to_vsvm_bo(obj)->resv_obj) {
		drm_dbg(obj->dev, "the object is for one VM\n");
		return ERR_PTR(-EPERM);
	}
	return drm_gem_dmabuf_export(obj->dev, &info);
}

/* ----------------------------------------------------------------- the importer */

/* The exporter moves it: what our VMs have of it goes now. */
static void vsvm_attach_invalidate(struct dma_buf_attachment *attach)
{
	struct vsvm_bo *bo = to_vsvm_bo((struct drm_gem_object *)attach->importer_priv);

	/* Our fences are in the exporter's reservation object. */
	if (dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_BOOKKEEP, false,
				  MAX_SCHEDULE_TIMEOUT) < 0)
		return;
	vsvm_bind_zap_object(&bo->base);
	vsvm_bo_unreach(bo);
}

static const struct dma_buf_attach_ops vsvm_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = vsvm_attach_invalidate,
};

/**
 * vsvm_bo_import_sgt() - Have an imported object mapped by its exporter
 * @bo: The object. Its lock is held.
 *
 * Return: its addresses, or an ERR_PTR().
 */
struct sg_table *vsvm_bo_import_sgt(struct vsvm_bo *bo)
{
	long ret;
	struct sg_table *sgt;

	sgt = dma_buf_map_attachment(bo->base.import_attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		return sgt;
	/* The exporter may be filling it still. */
	ret = dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_KERNEL, true,
				    MAX_SCHEDULE_TIMEOUT);
	if (ret < 0) {
		dma_buf_unmap_attachment(bo->base.import_attach, sgt, DMA_BIDIRECTIONAL);
		return ERR_PTR(-EINTR);
	}
	return sgt;
}

/**
 * vsvm_gem_import() - Import an object
 * @drm: The device.
 * @dma_buf: What is exported, by whomever.
 *
 * Return: the object with a reference, or an ERR_PTR().
 */
struct drm_gem_object *vsvm_gem_import(struct drm_device *drm, struct dma_buf *dma_buf)
{
	struct dma_buf_attachment *attach;
	struct drm_gem_object *obj;
	struct vsvm_bo *bo;

	if (dma_buf->ops == &vsvm_dmabuf_ops) {
		obj = dma_buf->priv;
		if (obj->dev == drm) {
			drm_gem_object_get(obj);
			return obj;
		}
	}
	if (!PAGE_ALIGNED(dma_buf->size)) {
		drm_dbg(drm, "dma-buf of 0x%zx bytes: not whole pages\n", dma_buf->size);
		return ERR_PTR(-EINVAL);
	}

	bo = vsvm_bo_alloc_imported(to_vsvm(drm), dma_buf);
	if (IS_ERR(bo))
		return ERR_CAST(bo);
	attach = dma_buf_dynamic_attach(dma_buf, drm->dev, &vsvm_attach_ops, &bo->base);
	if (IS_ERR(attach)) {
		/* Then it is not. */
		bo->where = VSVM_WHERE_NOWHERE;
		drm_gem_object_put(&bo->base);
		return ERR_CAST(attach);
	}
	get_dma_buf(dma_buf);
	bo->base.import_attach = attach;
	vsvm_bo_publish(bo);
	return &bo->base;
}

MODULE_IMPORT_NS("DMA_BUF");
