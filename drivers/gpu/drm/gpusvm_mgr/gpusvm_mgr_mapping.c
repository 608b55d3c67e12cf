// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mapping: a range as one instance sees it. DMA mapping of a snapshot, the
 * present bit, commit, and the way back.
 */

#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include <drm/drm_device.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Present bits
 *
 * A bit per range and instance means: a PTE, a TLB entry or a DMA mapping may
 * exist. A filler sets it before it looks at the sequence, an invalidation
 * writes the sequence before it looks at the bit::
 *
 *	filler, instance lock for read	start pass
 *	------------------------------	----------
 *	set the bit			shadow.seq = 5
 *	full barrier			full barrier
 *	shadow.seq as in the snapshot?	bit set?
 *	  no: leave the bit, try again	  instance lock for write:
 *	  yes: DMA-map, write PTEs	    zap, start a flush
 *
 * Either the filler sees 5 and touches nothing, or the start pass sees the bit
 * and, with the instance lock, waits for the filler. The bit is cleared only
 * when the PTEs are zapped, the flush has completed and the DMA mapping is
 * gone. So an invalidation that finds the PTEs zapped by another one finds the
 * bit, too, and waits for the flush that is under way: its caller frees the
 * pages as soon as it returns.
 *
 * A filler that fails leaves the bit: another filler of the same mapping may
 * have set it as well and have succeeded. A bit too many costs one empty
 * invalidation.
 */

/**
 * gpusvm_mgr_mapping_find() - Find the mapping of an instance
 * @range: The range.
 * @instance: The instance.
 *
 * The caller holds the SRCU read lock; the fault mutex does not do, removal does
 * not take it.
 *
 * Return: the mapping or NULL.
 */
struct drm_gpusvm_mapping *
gpusvm_mgr_mapping_find(struct drm_gpusvm_mgr_range *range,
			const struct drm_gpusvm_instance *instance)
{
	struct drm_gpusvm_mapping *mapping;

	hlist_for_each_entry_srcu(mapping, &range->mappings, node,
				  srcu_read_lock_held(&gpusvm_mgr_srcu))
		if (mapping->instance == instance)
			return mapping;

	return NULL;
}

/* Frees one that was unlinked a grace period ago, or never linked. */
static void gpusvm_mgr_mapping_free(struct drm_gpusvm_mapping *mapping)
{
	const struct drm_gpusvm_instance_ops *ops = mapping->instance->ops;

	if (ops->mapping_free)
		ops->mapping_free(mapping);
	else
		kfree(mapping);
}

static struct drm_gpusvm_mapping *
gpusvm_mgr_mapping_get(struct drm_gpusvm_instance *instance,
		       struct drm_gpusvm_mgr_range *range)
{
	struct drm_gpusvm_mapping *mapping;
	bool dead;

	lockdep_assert_held(&range->fault_mutex);

	mapping = gpusvm_mgr_mapping_find(range, instance);
	if (mapping)
		return mapping;

	if (instance->ops->mapping_alloc)
		mapping = instance->ops->mapping_alloc(instance);
	else
		mapping = kzalloc_obj(*mapping);
	if (!mapping)
		return ERR_PTR(-ENOMEM);

	drm_gpusvm_init_pages(&mapping->pages, instance->drm);
	mapping->instance = instance;
	mapping->start = range->start;
	mapping->end = range->end;

	/*
	 * Removal sets dead, then unlinks with the lock held: either it finds
	 * this mapping, or this sees a dead range.
	 */
	spin_lock(&range->lock);
	dead = gpusvm_mgr_range_is_dead(range);
	if (!dead)
		hlist_add_head_rcu(&mapping->node, &range->mappings);
	spin_unlock(&range->lock);

	if (dead) {
		gpusvm_mgr_mapping_free(mapping);
		return ERR_PTR(-EAGAIN);
	}
	return mapping;
}

/**
 * gpusvm_mgr_mapping_unlink() - Take a mapping off its range's list
 * @range: The range.
 * @instance: Whose mapping, NULL: any.
 *
 * The caller holds the SRCU read lock. Nothing is mapped any more, and nobody
 * maps again. Of two callers one gets it.
 *
 * Return: the mapping, to be freed behind SRCU; or NULL.
 */
struct drm_gpusvm_mapping *
gpusvm_mgr_mapping_unlink(struct drm_gpusvm_mgr_range *range,
			  const struct drm_gpusvm_instance *instance)
{
	struct drm_gpusvm_mapping *mapping;

	spin_lock(&range->lock);
	hlist_for_each_entry(mapping, &range->mappings, node) {
		if (instance && mapping->instance != instance)
			continue;
		hlist_del_init_rcu(&mapping->node);
		spin_unlock(&range->lock);

		WARN_ON_ONCE(mapping->ptes ||
			     mapping->pages.flags.has_dma_mapping);
		/* Frees the array only, the DMA mapping is gone. */
		drm_gpusvm_free_pages(&mapping->instance->svm, &mapping->pages, 0);
		return mapping;
	}
	spin_unlock(&range->lock);

	return NULL;
}

static void gpusvm_mgr_mapping_free_rcu(struct rcu_head *rcu)
{
	gpusvm_mgr_mapping_free(container_of(rcu, struct drm_gpusvm_mapping, rcu));
}

/**
 * gpusvm_mgr_mapping_free_later() - Free a mapping after a grace period
 * @mapping: The mapping, unlinked. The caller still holds the SRCU read lock
 *	under which it was unlinked: detach waits for that, then for the callback.
 */
void gpusvm_mgr_mapping_free_later(struct drm_gpusvm_mapping *mapping)
{
	call_srcu(&gpusvm_mgr_srcu, &mapping->rcu, gpusvm_mgr_mapping_free_rcu);
}

/**
 * drm_gpusvm_mapping_next_view() - Step to the next place where a mapping is seen
 * @mapping: The mapping.
 * @view: The cursor; zeroed to begin with.
 *
 * The instance lock is held. Not meant to be called directly, see
 * drm_gpusvm_mapping_for_each_view().
 *
 * Return: false behind the last one.
 */
bool drm_gpusvm_mapping_next_view(const struct drm_gpusvm_mapping *mapping,
				  struct drm_gpusvm_view *view)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	struct gpusvm_mgr_mirror_span *span;

	lockdep_assert_held(&instance->svm.notifier_lock);

	span = gpusvm_mgr_mirror_next_cpu(instance->mirror, view->span, mapping->start,
					  mapping->end - 1);
	if (!span)
		return false;

	view->span = span;
	view->va = max(span->cpu.start, mapping->start);
	view->start = span->gpu.start + (view->va - span->cpu.start);
	view->end = view->start + (min(span->cpu.last, mapping->end - 1) - view->va) + 1;
	return true;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mapping_next_view);

/**
 * drm_gpusvm_mapping_next_run() - Step to the next run of a mapping
 * @mapping: The mapping.
 * @run: The cursor; zeroed to begin with.
 *
 * Called from &drm_gpusvm_instance_ops.map. Not meant to be called directly, see
 * drm_gpusvm_mapping_for_each_run().
 *
 * Return: false behind the last one.
 */
bool drm_gpusvm_mapping_next_run(const struct drm_gpusvm_mapping *mapping,
				 struct drm_gpusvm_run *run)
{
	struct drm_gpusvm_view *view = &run->view;

	for (;;) {
		unsigned long end = view->va + (view->end - view->start);

		/* Runs are in the order of the process's addresses, as a view is. */
		while (view->span && run->index < mapping->nr_runs && run->next < end) {
			const struct drm_pagemap_addr *addr =
				&mapping->pages.dma_addr[run->index++];
			unsigned long va = max(run->next, view->va);
			unsigned long skip = va - run->next;

			run->next += PAGE_SIZE << addr->order;
			if (run->next <= view->va)
				continue;

			run->start = view->start + (va - view->va);
			run->size = min(run->next, end) - va;
			run->addr = addr->addr + skip;
			run->proto = addr->proto;
			run->write = addr->dir == DMA_BIDIRECTIONAL &&
				     !view->span->read_only;
			run->atomic = run->write && !mapping->no_atomics;
			return true;
		}

		if (!drm_gpusvm_mapping_next_view(mapping, view))
			return false;
		run->index = 0;
		run->next = mapping->start;
	}
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mapping_next_run);

static unsigned long gpusvm_mgr_mapping_pages(const struct drm_gpusvm_mapping *mapping)
{
	unsigned long pages = 0;
	unsigned int i;

	for (i = 0; i < mapping->nr_runs; i++)
		pages += 1UL << mapping->pages.dma_addr[i].order;

	return pages;
}

/* All pages of a run that a device may have written to. */
static void gpusvm_mgr_mapping_dirty(unsigned long run)
{
	struct page *page = hmm_pfn_to_page(run), *end = page + (1UL << hmm_pfn_to_map_order(run));

	/* On a device, too: the mark goes along when the page comes back. */
	if (is_zone_device_page(page) && !is_device_private_page(page))
		return;
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_DIRTY))
		return;

	while (page < end) {
		struct folio *folio = page_folio(page);

		folio_mark_dirty(folio);
		page += folio_nr_pages(folio) - folio_page_idx(folio, page);
	}
}

/* What a test is to notice: the device keeps its way to the memory, for good. */
static void gpusvm_mgr_mapping_dma_forget(struct drm_gpusvm_mapping *mapping)
{
	struct drm_gpusvm_pages *pages = &mapping->pages;
	struct drm_gpusvm_pages_flags flags = { .__flags = pages->flags.__flags };

	flags.has_dma_mapping = false;
	WRITE_ONCE(pages->flags.__flags, flags.__flags);
}

/*
 * Takes the DMA mapping away, whole or as far as it was made. The page is
 * dirty before it is out of the device's reach: the CPU's PTE may be writable
 * and clean (swapped in by a read, or MADV_FREE), and whoever invalidates may
 * be about to drop the page for that.
 */
static void gpusvm_mgr_mapping_dma_unmap(struct drm_gpusvm_mapping *mapping)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	struct drm_gpusvm_snapshot *snapshot = mapping->snapshot;
	const struct drm_gpusvm_ctx ctx = { .in_notifier = 1 };
	unsigned long nr_pages;
	unsigned int i;

	lockdep_assert_held_write(&instance->svm.notifier_lock);

	if (!mapping->pages.flags.has_dma_mapping)
		return;

	for (i = 0; i < mapping->nr_runs; i++)
		if (mapping->pages.dma_addr[i].dir == DMA_BIDIRECTIONAL)
			gpusvm_mgr_mapping_dirty(snapshot->runs[i]);

	if (instance->ops->unmapped)
		instance->ops->unmapped(mapping);

	nr_pages = gpusvm_mgr_mapping_pages(mapping);
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_UNMAP) && !mapping->pages.dpagemap)
		gpusvm_mgr_mapping_dma_forget(mapping);
	else
		drm_gpusvm_unmap_pages(&instance->svm, &mapping->pages, nr_pages, &ctx);
	trace_gpusvm_mgr_unmap(mapping, snapshot->seq);

	mapping->nr_runs = 0;
	mapping->snapshot = NULL;
	gpusvm_mgr_snapshot_put(snapshot);
	atomic64_inc(&instance->stats.unmaps);
	atomic64_sub((u64)nr_pages << PAGE_SHIFT, &instance->stats.dma_bytes);
}

/*
 * Maps a run of device memory, by the means of the driver whose memory it is.
 * The record has room for one device memory: -EXDEV where this is another one.
 */
static int gpusvm_mgr_mapping_device_map(struct drm_gpusvm_mapping *mapping,
					 unsigned long run, enum dma_data_direction dir,
					 struct drm_pagemap_addr *addr)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	struct drm_gpusvm_pages *pages = &mapping->pages;
	struct page *page = hmm_pfn_to_page(run);
	struct drm_pagemap *dpagemap;

	/* DAX, P2P and the like; and I-6, should HMM have it otherwise. */
	if (!is_device_private_page(page) || !instance->owner ||
	    page_pgmap(page)->owner != instance->owner)
		return -EIO;

	dpagemap = drm_pagemap_page_to_dpagemap(page);
	if (pages->dpagemap && pages->dpagemap != dpagemap)
		return -EXDEV;

	*addr = dpagemap->ops->device_map(dpagemap, instance->drm->dev, page,
					  hmm_pfn_to_map_order(run), dir);
	if (dma_mapping_error(instance->drm->dev, addr->addr))
		return -EIO;

	if (!pages->dpagemap)
		pages->dpagemap = drm_pagemap_get(dpagemap);
	return 0;
}

/*
 * Makes the DMA mapping, run by run. Written here and not by
 * drm_gpusvm_get_pages(), which does an HMM walk of its own for each device;
 * the record that it leaves is the same, so that upstream's unmapping works.
 * On failure what was made stays recorded, for gpusvm_mgr_mapping_dma_unmap().
 */
static int gpusvm_mgr_mapping_dma_map(struct drm_gpusvm_mapping *mapping,
				      struct drm_gpusvm_snapshot *snapshot)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	struct drm_gpusvm_pages *pages = &mapping->pages;
	struct drm_gpusvm_pages_flags flags = { .__flags = pages->flags.__flags };
	struct device *dev = instance->drm->dev;
	struct dma_iova_state *state = &pages->state;
	unsigned int i;
	int err = 0;

	lockdep_assert_held(&instance->svm.notifier_lock);

	*state = (struct dma_iova_state){};
	pages->state_offset = 0;
	refcount_inc(&snapshot->ref);
	mapping->snapshot = snapshot;
	mapping->nr_runs = 0;

	dma_iova_try_alloc(dev, state, 0, (size_t)snapshot->nr_pages << PAGE_SHIFT);

	for (i = 0; i < snapshot->nr_runs; i++) {
		unsigned long run = snapshot->runs[i];
		unsigned int order = hmm_pfn_to_map_order(run);
		size_t size = PAGE_SIZE << order;
		enum dma_data_direction dir = run & HMM_PFN_WRITE && !mapping->read_only ?
			DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
		dma_addr_t addr;

		if (gpusvm_mgr_map_fails()) {
			err = -ENOMEM;
			break;
		}

		if (is_zone_device_page(hmm_pfn_to_page(run))) {
			err = gpusvm_mgr_mapping_device_map(mapping, run, dir,
							    &pages->dma_addr[i]);
			if (err)
				break;
			flags.has_devmem_pages = true;
			mapping->nr_runs = i + 1;
			continue;
		}

		if (dma_use_iova(state)) {
			err = dma_iova_link(dev, state, hmm_pfn_to_phys(run),
					    pages->state_offset, size, dir,
					    DMA_ATTR_REQUIRE_COHERENT);
			if (err)
				break;
			addr = state->addr + pages->state_offset;
			pages->state_offset += size;
		} else {
			/* That devices share a page is what this is for. */
			addr = dma_map_page_attrs(dev, hmm_pfn_to_page(run), 0, size, dir,
						  DMA_ATTR_DEBUGGING_IGNORE_CACHELINES);
			if (dma_mapping_error(dev, addr)) {
				err = -ENOMEM;
				break;
			}
			/* Attach has refused who would bounce; should one do so. */
			if (dma_need_sync(dev, addr)) {
				dma_unmap_page(dev, addr, size, dir);
				err = -EIO;
				break;
			}
		}

		pages->dma_addr[i] =
			drm_pagemap_addr_encode(addr, DRM_INTERCONNECT_SYSTEM,
						order, dir);
		mapping->nr_runs = i + 1;
	}

	if (!err && dma_use_iova(state) && pages->state_offset)
		err = gpusvm_mgr_map_fails() ? -ENOMEM :
		      dma_iova_sync(dev, state, 0, pages->state_offset);

	/* WRITE_ONCE as upstream has it, for its opportunistic checks. */
	flags.has_dma_mapping = true;
	WRITE_ONCE(pages->flags.__flags, flags.__flags);
	atomic64_inc(&instance->stats.maps);
	atomic64_add((u64)gpusvm_mgr_mapping_pages(mapping) << PAGE_SHIFT,
		     &instance->stats.dma_bytes);
	return err;
}

/* Is what is mapped good for what is wanted? The instance lock is held. */
static bool gpusvm_mgr_mapping_permits(const struct drm_gpusvm_mapping *mapping,
				       const struct gpusvm_mgr_want *want)
{
	if (want->write && mapping->read_only)
		return false;
	if (want->atomic && mapping->no_atomics)
		return false;
	return gpusvm_mgr_snapshot_permits(mapping->snapshot, want->page, want->write);
}

/* The critical section of a commit. See DOC: Present bits. */
static int gpusvm_mgr_mapping_commit(struct drm_gpusvm_mapping *mapping,
				     struct drm_gpusvm_mgr_range *range,
				     struct drm_pagemap_addr **array,
				     unsigned int capacity,
				     const struct gpusvm_mgr_want *want, bool *undo)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	struct drm_gpusvm_snapshot *snapshot = range->snapshot;
	bool stale;
	int err;

	lockdep_assert_held(&range->fault_mutex);
	lockdep_assert_held_read(&instance->svm.notifier_lock);

	if (instance->dead)
		return -ENODEV;
	if (gpusvm_mgr_range_is_dead(range))
		return -EAGAIN;
	/* Attributes or mirror map have changed. See DOC: Advice. */
	if (instance->generation != want->generation)
		return -EAGAIN;
	/* Somebody mapped it before us, or nothing was ever taken away. */
	if (mapping->ptes)
		return gpusvm_mgr_mapping_permits(mapping, want) ? 0 : -EAGAIN;

	gpusvm_mgr_window(GPUSVM_MGR_WINDOW_ALIVE, mapping);
	if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_SET_BIT)) {
		set_bit(instance->slot, &range->present);
		/* Pairs with the barrier in the start pass, after shadow.seq. */
		smp_mb__after_atomic();
	}

	/*
	 * check_retry, not read_retry: the start pass does not take the
	 * instance lock before it has seen the bit, so this plain load is one
	 * side of the store-buffer pattern above.
	 */
	stale = mmu_interval_check_retry(&range->shadow, snapshot->seq);
	/* What follows is not done before the check. */
	smp_mb();
	gpusvm_mgr_window(GPUSVM_MGR_WINDOW_CHECKED, mapping);

	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_SET_BIT))
		set_bit(instance->slot, &range->present);
	if (stale && !gpusvm_mgr_broken(GPUSVM_MGR_STEP_RECHECK)) {
		if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_LEAVE_BIT))
			clear_bit(instance->slot, &range->present);
		return -EAGAIN;
	}

	/*
	 * With a sequence that holds, all invalidations before it are finished.
	 * Other zaps hold the fault mutex until they have unmapped, or have changed
	 * the generation, and gpusvm_mgr_mapping_fill() has tidied up after those
	 * that did before.
	 */
	if (WARN_ON_ONCE(mapping->pages.flags.has_dma_mapping))
		return -EAGAIN;

	if (*array) {
		swap(*array, mapping->pages.dma_addr);
		mapping->capacity = capacity;
	}

	*undo = true;
	mapping->read_only = want->read_only;
	mapping->no_atomics = want->no_atomics;
	err = gpusvm_mgr_mapping_dma_map(mapping, snapshot);
	if (err == -EXDEV) {
		/* Device memories that do not go together: gather, then again. */
		set_bit(GPUSVM_MGR_RANGE_GATHER, &range->flags);
		return -EAGAIN;
	}
	if (err)
		return err;

	/*
	 * Also where it fails: some are written, and the TLB may have them. Others look
	 * at the mapping with the same lock, for read too: pairs with the acquire in
	 * gpusvm_mgr_fenced_step().
	 */
	smp_store_release(&mapping->ptes, true);
	err = instance->ops->map(mapping);
	if (err)
		return err;

	*undo = false;
	trace_gpusvm_mgr_map(mapping, snapshot->seq);
	return 0;
}

/**
 * gpusvm_mgr_mapping_ready() - Is a page mapped already as it is wanted?
 * @instance: The instance, a call on it was entered.
 * @range: The range. Its fault mutex is held.
 * @want: What is wanted.
 *
 * Return: true if the PTE is in place.
 */
bool gpusvm_mgr_mapping_ready(struct drm_gpusvm_instance *instance,
			      struct drm_gpusvm_mgr_range *range,
			      const struct gpusvm_mgr_want *want)
{
	struct drm_gpusvm_mapping *mapping;
	bool ready = false;
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	mapping = gpusvm_mgr_mapping_find(range, instance);
	if (mapping) {
		drm_gpusvm_notifier_lock(&instance->svm);
		ready = mapping->ptes && !gpusvm_mgr_range_is_dead(range) &&
			instance->generation == want->generation &&
			gpusvm_mgr_mapping_permits(mapping, want);
		drm_gpusvm_notifier_unlock(&instance->svm);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	return ready;
}

/* Has the driver allocate what it needs for each place where the range is seen. */
static int gpusvm_mgr_mapping_prepare(struct drm_gpusvm_mapping *mapping)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	unsigned long start, end, done = 0;
	struct drm_gpusvm_view view;
	int err = 0;

	if (!instance->ops->prepare)
		return 0;

	/*
	 * One after the other, as the callback sleeps; a map that changes
	 * meanwhile is noticed at commit. Each look goes by the device's address, not
	 * by the span, which may be gone; the views come in another order.
	 */
	do {
		bool found = false;

		drm_gpusvm_notifier_lock(&instance->svm);
		drm_gpusvm_mapping_for_each_view(mapping, &view) {
			if (view.start < done || (found && view.start >= start))
				continue;
			found = true;
			start = view.start;
			end = view.end;
		}
		drm_gpusvm_notifier_unlock(&instance->svm);
		if (!found)
			break;
		err = instance->ops->prepare(instance, start, end);
		done = end;
	} while (!err);
	return err;
}

/*
 * Is anything left of what was mapped that does not serve? Then it has to go
 * before it can be mapped again: it does not permit what is wanted, or it was
 * zapped by a change of attributes or of the mirror map. What an invalidation has
 * zapped is its own business, and the snapshot is of no use then.
 */
static bool gpusvm_mgr_mapping_outdated(struct drm_gpusvm_mapping *mapping,
					struct drm_gpusvm_mgr_range *range,
					const struct gpusvm_mgr_want *want)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	bool outdated;

	drm_gpusvm_notifier_lock(&instance->svm);
	if (mapping->ptes)
		outdated = !gpusvm_mgr_mapping_permits(mapping, want);
	else
		outdated = mapping->pages.flags.has_dma_mapping &&
			   !mmu_interval_check_retry(&range->shadow, range->snapshot->seq);
	drm_gpusvm_notifier_unlock(&instance->svm);
	return outdated;
}

/* Who has a range for itself has it no more when another one maps it. */
static void gpusvm_mgr_mapping_end_exclusive(struct drm_gpusvm_instance *instance,
					     struct drm_gpusvm_mgr_range *range)
{
	struct drm_gpusvm_instance *other;

	if (!range->exclusive || range->exclusive == instance->slot + 1)
		return;

	/* The slot may have gone to somebody else: one fault more, no harm. */
	other = gpusvm_mgr_instance_slot(range->mgr, range->exclusive - 1);
	range->exclusive = 0;
	if (other)
		gpusvm_mgr_mapping_revoke(other, range);
}

/**
 * gpusvm_mgr_mapping_fill() - Map the published snapshot for an instance
 * @instance: The instance, a call on it was entered.
 * @range: The range. Its fault mutex is held, it has a snapshot.
 * @want: What the mapping shall be good for.
 *
 * Where the instance has a mapping that does not permit the access, that one
 * is taken away first, flush included: the DMA direction changes, too.
 *
 * Return: 0: the page is mapped so; -EAGAIN: the snapshot does not hold any
 * more, attributes or mirror map have changed, or the range is dead or to be
 * gathered, look again; -ENODEV: the instance was killed; -EIO: memory that devices
 * cannot use; -ENOMEM; or what &drm_gpusvm_instance_ops.prepare and
 * &drm_gpusvm_instance_ops.map return.
 */
int gpusvm_mgr_mapping_fill(struct drm_gpusvm_instance *instance,
			    struct drm_gpusvm_mgr_range *range,
			    const struct gpusvm_mgr_want *want)
{
	struct drm_gpusvm_snapshot *snapshot = range->snapshot;
	struct drm_pagemap_addr *array = NULL;
	struct drm_gpusvm_mapping *mapping;
	unsigned int capacity = 0;
	bool undo = false;
	int err, idx;

	lockdep_assert_held(&range->fault_mutex);

	/* Removal of a dead range does not wait for fillers, only for SRCU. */
	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	mapping = gpusvm_mgr_mapping_get(instance, range);
	if (IS_ERR(mapping)) {
		err = PTR_ERR(mapping);
		goto unlock_srcu;
	}

	gpusvm_mgr_mapping_end_exclusive(instance, range);
	if (gpusvm_mgr_mapping_outdated(mapping, range, want)) {
		bool upgrade = READ_ONCE(mapping->ptes);

		gpusvm_mgr_mapping_revoke(instance, range);
		if (upgrade && !gpusvm_mgr_range_is_dead(range))
			atomic64_inc(&instance->stats.upgrades);
	}

	if (mapping->capacity < snapshot->nr_runs) {
		capacity = snapshot->nr_runs;
		array = kvmalloc_objs(*array, capacity);
		if (!array) {
			err = -ENOMEM;
			goto unlock_srcu;
		}
	}

	err = gpusvm_mgr_mapping_prepare(mapping);
	if (err)
		goto free_array;

	drm_gpusvm_notifier_lock(&instance->svm);
	err = gpusvm_mgr_mapping_commit(mapping, range, &array, capacity, want, &undo);
	drm_gpusvm_notifier_unlock(&instance->svm);

	/* What a failed attempt has mapped goes; its bit, too. */
	if (undo)
		gpusvm_mgr_mapping_revoke(instance, range);

free_array:
	kvfree(array);
unlock_srcu:
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	return err;
}

/* The addresses of the device that a flush is about. */
struct gpusvm_mgr_flush {
	unsigned long start;
	unsigned long end;
};

#define GPUSVM_MGR_FLUSH_NONE	{ .start = ULONG_MAX }

static void gpusvm_mgr_mapping_zap(struct drm_gpusvm_mapping *mapping,
				   unsigned long start, unsigned long last,
				   struct gpusvm_mgr_flush *flush)
{
	struct drm_gpusvm_view view;

	drm_gpusvm_mapping_for_each_view(mapping, &view) {
		flush->start = min(flush->start, view.start);
		flush->end = max(flush->end, view.end);
	}

	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_ZAP_WHOLE)) {
		unsigned long old_start = mapping->start, old_end = mapping->end;

		mapping->start = max(old_start, start);
		mapping->end = min(old_end - 1, last) + 1;
		mapping->instance->ops->zap(mapping);
		mapping->start = old_start;
		mapping->end = old_end;
	} else {
		mapping->instance->ops->zap(mapping);
	}

	WRITE_ONCE(mapping->ptes, false);
	if (gpusvm_mgr_is_fenced(mapping->instance))
		WRITE_ONCE(mapping->instance->stale, true);
	trace_gpusvm_mgr_zap(mapping, mapping->snapshot->seq);
}

static u64 gpusvm_mgr_mapping_flush(struct drm_gpusvm_instance *instance,
				    const struct gpusvm_mgr_flush *flush)
{
	u64 generation = ++instance->flush_started;

	atomic64_inc(&instance->stats.flushes);
	trace_gpusvm_mgr_flush(instance, flush->start, flush->end, generation);
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_FLUSH))
		atomic64_set(&instance->flush_done, generation);
	else
		instance->ops->flush(instance, flush->start, flush->end, generation);
	return generation;
}

/**
 * gpusvm_mgr_mapping_zap_some() - Zap some of what an instance has in an interval
 * @instance: The instance. Its lock is held for write.
 * @start: First address.
 * @last: Last address, inclusive.
 * @which: Says which ranges are meant; NULL: all.
 * @data: For @which.
 *
 * Zaps whole mappings, those that only overlap, too: the DMA mapping goes as a
 * whole. Starts one flush for all of them. The caller holds the SRCU read lock.
 *
 * Return: the generation to wait for. Where others zapped before, that is the
 * last one that they started.
 */
u64 gpusvm_mgr_mapping_zap_some(struct drm_gpusvm_instance *instance,
				unsigned long start, unsigned long last,
				bool (*which)(struct drm_gpusvm_instance *instance,
					      struct drm_gpusvm_mgr_range *range,
					      const void *data),
				const void *data)
{
	struct drm_gpusvm_mgr *mgr = instance->mgr;
	struct gpusvm_mgr_flush flush = GPUSVM_MGR_FLUSH_NONE;
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = start;

	lockdep_assert_held_write(&instance->svm.notifier_lock);

	while ((range = gpusvm_mgr_tree_next(&mgr->tree, &index, last))) {
		struct drm_gpusvm_mapping *mapping;

		if (!test_bit(instance->slot, &range->present))
			continue;
		mapping = gpusvm_mgr_mapping_find(range, instance);
		if (!mapping || !mapping->ptes)
			continue;
		if (which && !which(instance, range, data))
			continue;

		gpusvm_mgr_mapping_zap(mapping, start, last, &flush);
	}

	if (flush.end)
		return gpusvm_mgr_mapping_flush(instance, &flush);
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_NOTE_FLUSH))
		return 0;
	return instance->flush_started;
}

/**
 * gpusvm_mgr_mapping_zap_span() - Zap what an instance has in an interval
 * @instance: The instance. Its lock is held for write.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * See gpusvm_mgr_mapping_zap_some().
 *
 * Return: the generation to wait for.
 */
u64 gpusvm_mgr_mapping_zap_span(struct drm_gpusvm_instance *instance,
				unsigned long start, unsigned long last)
{
	return gpusvm_mgr_mapping_zap_some(instance, start, last, NULL, NULL);
}

/* Unmaps what is zapped; the lock is held for write, the flush has completed. */
static void gpusvm_mgr_mapping_unmap(struct drm_gpusvm_instance *instance,
				     struct drm_gpusvm_mgr_range *range)
{
	struct drm_gpusvm_mapping *mapping;

	if (!test_bit(instance->slot, &range->present))
		return;

	mapping = gpusvm_mgr_mapping_find(range, instance);
	if (mapping) {
		/* Not one that we zapped: made after the end of our epoch. */
		if (mapping->ptes)
			return;
		gpusvm_mgr_mapping_dma_unmap(mapping);
	}

	/* Release: pairs with gpusvm_mgr_range_present(). */
	smp_mb__before_atomic();
	clear_bit(instance->slot, &range->present);
}

/**
 * gpusvm_mgr_mapping_unmap_span() - Unmap what is zapped in an interval
 * @instance: The instance.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * The caller holds the SRCU read lock, and has waited for the flush of all that
 * was zapped in the interval. Takes the instance lock for write. What another
 * one has unmapped meanwhile is left as it is.
 */
void gpusvm_mgr_mapping_unmap_span(struct drm_gpusvm_instance *instance,
				   unsigned long start, unsigned long last)
{
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = start;

	down_write(&instance->svm.notifier_lock);
	while ((range = gpusvm_mgr_tree_next(&instance->mgr->tree, &index, last)))
		gpusvm_mgr_mapping_unmap(instance, range);
	up_write(&instance->svm.notifier_lock);
}

/**
 * gpusvm_mgr_mapping_zap_range() - Zap what an instance has of a range
 * @instance: The instance.
 * @range: The range.
 *
 * The range is dead, or its fault mutex is held until
 * gpusvm_mgr_mapping_unmap_range(). Takes the instance lock for write.
 *
 * Return: the generation to wait for.
 */
u64 gpusvm_mgr_mapping_zap_range(struct drm_gpusvm_instance *instance,
				 struct drm_gpusvm_mgr_range *range)
{
	struct gpusvm_mgr_flush flush = GPUSVM_MGR_FLUSH_NONE;
	struct drm_gpusvm_mapping *mapping;
	u64 generation;

	down_write(&instance->svm.notifier_lock);
	mapping = gpusvm_mgr_mapping_find(range, instance);
	if (mapping && mapping->ptes)
		gpusvm_mgr_mapping_zap(mapping, range->start, range->end - 1, &flush);
	if (flush.end)
		generation = gpusvm_mgr_mapping_flush(instance, &flush);
	else
		generation = instance->flush_started;
	up_write(&instance->svm.notifier_lock);
	return generation;
}

/**
 * gpusvm_mgr_mapping_unmap_range() - Unmap what was zapped of a range
 * @instance: The instance.
 * @range: The range, see gpusvm_mgr_mapping_zap_range().
 */
void gpusvm_mgr_mapping_unmap_range(struct drm_gpusvm_instance *instance,
				    struct drm_gpusvm_mgr_range *range)
{
	down_write(&instance->svm.notifier_lock);
	gpusvm_mgr_mapping_unmap(instance, range);
	up_write(&instance->svm.notifier_lock);
}

/**
 * gpusvm_mgr_mapping_revoke() - Take a mapping away outside an invalidation
 * @instance: The instance, a call on it was entered.
 * @range: The range. Its fault mutex is held, from the zap to the clearing of
 *	the bit: else a filler would map again from the snapshot, which still
 *	holds, and what it maps would be unmapped here.
 */
void gpusvm_mgr_mapping_revoke(struct drm_gpusvm_instance *instance,
			       struct drm_gpusvm_mgr_range *range)
{
	lockdep_assert_held(&range->fault_mutex);

	gpusvm_mgr_fenced_pause(instance);
	gpusvm_mgr_flush_wait(instance,
			      gpusvm_mgr_mapping_zap_range(instance, range));
	gpusvm_mgr_mapping_unmap_range(instance, range);
	gpusvm_mgr_fenced_resume(instance);
}

/**
 * gpusvm_mgr_mapping_tidy() - Unmap what a change has zapped, where that is easy
 * @instance: The instance.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * For after a zap without the ranges' fault mutexes. A range that somebody is
 * filling is passed over, and tidied by that one; see DOC: Advice. The caller holds
 * the SRCU read lock.
 */
void gpusvm_mgr_mapping_tidy(struct drm_gpusvm_instance *instance,
			     unsigned long start, unsigned long last)
{
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = start;

	while ((range = gpusvm_mgr_tree_next(&instance->mgr->tree, &index, last))) {
		struct drm_gpusvm_mapping *mapping;

		if (!test_bit(instance->slot, &range->present))
			continue;
		if (!mutex_trylock(&range->fault_mutex))
			continue;
		mapping = gpusvm_mgr_mapping_find(range, instance);
		/* Who would set it holds the mutex. */
		if (mapping && !READ_ONCE(mapping->ptes))
			gpusvm_mgr_mapping_revoke(instance, range);
		mutex_unlock(&range->fault_mutex);
	}
}

#ifdef CONFIG_LOCKDEP
/*
 * Does this task hold a lock of some instance, whichever, or one that spins, or RCU's?
 * All instance locks are of one class: that of upstream's drm_gpusvm_init().
 */
static bool gpusvm_mgr_inner_lock_held(const struct drm_gpusvm_instance *instance)
{
	int i;

	/* Where lockdep is off, what it knows is not kept up to date. */
	for (i = 0; debug_locks && i < current->lockdep_depth; i++) {
		const struct lockdep_map *held = current->held_locks[i].instance;

		if (held->key == instance->svm.notifier_lock.dep_map.key)
			return true;
		if (held->wait_type_inner == LD_WAIT_SPIN ||
		    held->wait_type_inner == LD_WAIT_CONFIG)
			return true;
	}
	return false;
}
#else
static bool gpusvm_mgr_inner_lock_held(const struct drm_gpusvm_instance *instance)
{
	return false;
}
#endif

/**
 * gpusvm_mgr_assert_may_wait() - Assert that a device may be waited for
 * @instance: Of the device.
 *
 * No instance lock is held, of this instance or of another, and no leaf: whoever
 * needs one would wait for the device, too, and the start pass of an invalidation
 * would keep the flushes of other devices back. The outer locks (see DOC: Locking) may
 * be held by the task whose call it is that invalidates, a migration for example;
 * nobody waits for these in a notifier.
 */
void gpusvm_mgr_assert_may_wait(const struct drm_gpusvm_instance *instance)
{
	if (gpusvm_mgr_inner_lock_held(instance))
		WARN_ON_ONCE(!gpusvm_mgr_count_locked_wait());
}

/**
 * gpusvm_mgr_flush_wait() - Wait for a TLB flush
 * @instance: The instance. See gpusvm_mgr_assert_may_wait().
 * @generation: The flush, or a later one.
 *
 * The device answers within its own time limit and waits for nobody.
 */
void gpusvm_mgr_flush_wait(struct drm_gpusvm_instance *instance, u64 generation)
{
	/* Also where it is complete already: next time it may not be. */
	gpusvm_mgr_assert_may_wait(instance);

	if (atomic64_read_acquire(&instance->flush_done) >= (s64)generation)
		return;

	atomic64_inc(&instance->stats.flush_waits);
	wait_event(instance->flush_wait,
		   atomic64_read_acquire(&instance->flush_done) >= (s64)generation);
}
