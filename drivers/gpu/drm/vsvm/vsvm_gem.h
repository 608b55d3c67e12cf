/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __VSVM_GEM_H__
#define __VSVM_GEM_H__

#include <linux/dma-buf.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <drm/drm_gem.h>

struct dmem_cgroup_pool_state;
struct page;
struct sg_table;
struct vsvm_device;

/* enum vsvm_where - Where an object's data is */
enum vsvm_where {
	/* Nobody has needed any yet: it is all zeros. */
	VSVM_WHERE_NOWHERE = 0,
	VSVM_WHERE_SYSTEM,
	VSVM_WHERE_DEVICE,
	/* Its exporter knows. */
	VSVM_WHERE_IMPORTED,
};

/**
 * struct vsvm_bo_run - A piece of an object with consecutive addresses
 * @offset: Where in the object.
 * @size: Bytes.
 * @addr: Address that the object's device can use.
 */
struct vsvm_bo_run {
	u64 offset;
	u64 size;
	u64 addr;
};

/**
 * struct vsvm_bo - A GEM object
 * @base: For DRM. Its reservation object is "the lock" below.
 * @placement: Where it should be, an &enum drm_vsvm_placement. Immutable
 * @resv_obj: Whose reservation object it uses, with a reference; NULL: its own, or
 *	its exporter's. Immutable
 * @link: In &vsvm_gem.bos. Protected by &vsvm_gem.lock
 * @where: Where its data is. Protected by the lock
 * @pages: Its system pages, while it is in system memory. Likewise
 * @blocks: Its device memory, while it is there. Likewise
 * @pool: What that is charged to. Likewise
 * @sgt: DMA addresses of @pages, or of what was imported. Likewise
 * @runs: Addresses for its device, NULL: it cannot reach it now. Protected by the
 *	lock: it changes only where no fence in there is pending
 * @num_runs: Their number. Likewise
 * @system_maps: Mappings of importers, and pins, that need system memory. Protected
 *	by the lock
 * @peers: &struct vsvm_attach that reach its device memory. Likewise
 */
struct vsvm_bo {
	struct drm_gem_object base;
	u32 placement;
	struct drm_gem_object *resv_obj;
	struct list_head link;

	enum vsvm_where where;
	struct page **pages;
	struct list_head blocks;
	struct dmem_cgroup_pool_state *pool;
	struct sg_table *sgt;
	struct vsvm_bo_run *runs;
	unsigned int num_runs;
	unsigned int system_maps;
	struct list_head peers;
};

/**
 * struct vsvm_gem - The objects of a device
 * @bos: &struct vsvm_bo, those that are being freed included. Protected by @lock
 * @moves: Moves between system and device memory
 */
struct vsvm_gem {
	/** @lock: Protects @bos. A leaf */
	spinlock_t lock;
	struct list_head bos;
	atomic64_t moves;
};

#define to_vsvm_bo(obj_)	container_of(obj_, struct vsvm_bo, base)

/* vsvm_gem.c */
void vsvm_gem_init(struct vsvm_gem *gem);
struct vsvm_bo *vsvm_bo_alloc(struct vsvm_device *dev, u64 size, u32 placement,
			      struct drm_gem_object *resv_obj);
struct vsvm_bo *vsvm_bo_alloc_imported(struct vsvm_device *dev, struct dma_buf *dma_buf);
void vsvm_bo_publish(struct vsvm_bo *bo);
int vsvm_bo_populate(struct vsvm_bo *bo, bool move);
int vsvm_bo_to_system(struct vsvm_bo *bo, bool intr);
int vsvm_bo_to_device(struct vsvm_bo *bo);
int vsvm_bo_get_pages(struct vsvm_bo *bo);
int vsvm_bo_invalidate(struct vsvm_bo *bo, bool intr);
void vsvm_bo_unreach(struct vsvm_bo *bo);
void vsvm_gem_evict_some(struct vsvm_device *dev);
void vsvm_gem_evict_all(struct vsvm_device *dev);
int vsvm_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_gem_mmap_offset_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vsvm_prime.c */
struct sg_table *vsvm_bo_sgt(struct vsvm_bo *bo, struct device *to,
			     enum dma_data_direction dir);
void vsvm_bo_sgt_free(struct device *to, struct sg_table *sgt, enum dma_data_direction dir);
struct sg_table *vsvm_bo_import_sgt(struct vsvm_bo *bo);
void vsvm_bo_forget_peers(struct vsvm_bo *bo);
struct dma_buf *vsvm_gem_export(struct drm_gem_object *obj, int flags);
struct drm_gem_object *vsvm_gem_import(struct drm_device *drm, struct dma_buf *dma_buf);

#endif /* __VSVM_GEM_H__ */
