// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Validate: a walker that checks the invariants of a manager's structures.
 */

#include <linux/export.h>

#include <drm/drm_print.h>

#include "gpusvm_mgr_internal.h"

/**
 * DOC: The walker
 *
 * drm_gpusvm_mgr_validate() checks, for each range: that it is aligned, in
 * order and overlaps no other; that it has a sequence and a reference; that
 * each bit of its present mask belongs to an instance; that its mappings are
 * of different, attached instances, and cover it; that a mapping without its
 * present bit has neither PTEs nor DMA; that what is mapped for DMA covers the
 * range, run by run, from a snapshot that may be written wherever the device
 * may; that what it maps of device memory is of one memory, and of its own
 * owner; and for each instance, that the bytes mapped are as many as it counts,
 * and that its mirror map is consistent; and that no two neighbouring intervals
 * have the same attributes.
 * Attach and detach wait meanwhile; faults and invalidations may go on, so what
 * they may change is looked at with the lock that keeps it.
 */

struct gpusvm_mgr_check {
	struct drm_gpusvm_mgr *mgr;
	struct drm_gpusvm_mgr_range *range;
	unsigned int errors;
	bool quiet;
};

#define gpusvm_mgr_expect(check, cond)						\
	do {									\
		if (!(cond))							\
			gpusvm_mgr_check_fail((check), #cond);			\
	} while (0)

static void gpusvm_mgr_check_fail(struct gpusvm_mgr_check *check, const char *what)
{
	const struct drm_gpusvm_mgr_range *range = check->range;

	check->errors++;
	if (check->quiet)
		return;
	pr_err("gpusvm_mgr %u: range [0x%lx-0x%lx): does not hold: %s\n",
	       check->mgr->id, range ? range->start : 0, range ? range->end : 0,
	       what);
}

/* One mapping; the instance lock is held for write. */
static void gpusvm_mgr_check_mapping(struct gpusvm_mgr_check *check,
				     const struct drm_gpusvm_mapping *mapping)
{
	const struct drm_gpusvm_mgr_range *range = check->range;
	const struct drm_gpusvm_instance *instance = mapping->instance;
	bool present = test_bit(instance->slot, &range->present);
	const struct drm_gpusvm_pages *pages = &mapping->pages;
	const struct drm_gpusvm_snapshot *snapshot = mapping->snapshot;
	bool mapped = pages->flags.has_dma_mapping;
	unsigned long covered = 0;
	unsigned int i;

	gpusvm_mgr_expect(check, mapping->start == range->start);
	gpusvm_mgr_expect(check, mapping->end == range->end);
	gpusvm_mgr_expect(check, pages->drm == instance->drm);
	gpusvm_mgr_expect(check, present || !mapping->ptes);
	gpusvm_mgr_expect(check, present || !mapped);
	gpusvm_mgr_expect(check, mapped || !mapping->ptes);
	gpusvm_mgr_expect(check, mapped == !!snapshot);
	gpusvm_mgr_expect(check, mapped || !mapping->nr_runs);
	if (!mapped || !snapshot || !mapping->ptes)
		return;

	/* I-6: device pages of the instance's own owner only, of one memory. */
	gpusvm_mgr_expect(check, pages->flags.has_devmem_pages == !!pages->dpagemap);
	gpusvm_mgr_expect(check, !pages->dpagemap ||
			  pages->dpagemap->pagemap->owner == instance->owner);
	gpusvm_mgr_expect(check, !pages->dpagemap || snapshot->owner == instance->owner);

	gpusvm_mgr_expect(check, refcount_read(&snapshot->ref) >= 1);
	gpusvm_mgr_expect(check, mapping->nr_runs == snapshot->nr_runs);
	for (i = 0; i < mapping->nr_runs; i++) {
		const struct drm_pagemap_addr *addr = &pages->dma_addr[i];

		gpusvm_mgr_expect(check, addr->order ==
				  hmm_pfn_to_map_order(snapshot->runs[i]));
		gpusvm_mgr_expect(check, addr->dir != DMA_BIDIRECTIONAL ||
				  snapshot->runs[i] & HMM_PFN_WRITE);
		gpusvm_mgr_expect(check, addr->dir != DMA_BIDIRECTIONAL ||
				  !mapping->read_only);
		covered += PAGE_SIZE << addr->order;
	}
	gpusvm_mgr_expect(check, covered == range->end - range->start);
}

static void gpusvm_mgr_check_range(struct gpusvm_mgr_check *check,
				   unsigned long previous_end)
{
	struct drm_gpusvm_mgr_range *range = check->range;
	struct drm_gpusvm_mgr *mgr = check->mgr;
	struct drm_gpusvm_mapping *mapping;
	unsigned long slots = 0, present;
	bool ready;

	gpusvm_mgr_expect(check, range->mgr == mgr);
	gpusvm_mgr_expect(check, range->start < range->end);
	gpusvm_mgr_expect(check, range->start >= previous_end);
	gpusvm_mgr_expect(check, PAGE_ALIGNED(range->start | range->end));
	gpusvm_mgr_expect(check, range->shadow.mm == mgr->mm);
	/* Pairs with the release in gpusvm_mgr_tree_insert(). */
	ready = smp_load_acquire(&range->ready);
	gpusvm_mgr_expect(check, !ready ||
			  READ_ONCE(range->shadow.invalidate_seq) & 1);
	/* Zero for a moment, when a removal is about to drop the last one. */
	gpusvm_mgr_expect(check, kref_read(&range->ref) >= 1 ||
			  gpusvm_mgr_range_is_dead(range));

	present = gpusvm_mgr_range_present(range);
	gpusvm_mgr_expect(check, !(present & ~mgr->slots_used[0]));

	hlist_for_each_entry_srcu(mapping, &range->mappings, node,
				  srcu_read_lock_held(&gpusvm_mgr_srcu)) {
		struct drm_gpusvm_instance *instance = mapping->instance;
		unsigned int slot = instance->slot;

		gpusvm_mgr_expect(check, rcu_access_pointer(mgr->slots[slot]) ==
				  instance);
		gpusvm_mgr_expect(check, !(slots & BIT(slot)));
		slots |= BIT(slot);

		/* For write: a filler has it for read. */
		down_write(&instance->svm.notifier_lock);
		gpusvm_mgr_check_mapping(check, mapping);
		up_write(&instance->svm.notifier_lock);
	}
}

/*
 * Bytes that an instance has mapped, to be compared with what it counts. The
 * instance lock held for write keeps both from changing.
 */
static void gpusvm_mgr_check_instance(struct gpusvm_mgr_check *check,
				      struct drm_gpusvm_instance *instance)
{
	struct drm_gpusvm_mgr *mgr = check->mgr;
	struct drm_gpusvm_mapping *mapping;
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = 0;
	u64 bytes = 0;

	check->range = NULL;
	down_write(&instance->svm.notifier_lock);
	while ((range = gpusvm_mgr_tree_next(&mgr->tree, &index, ULONG_MAX))) {
		unsigned int i;

		mapping = gpusvm_mgr_mapping_find(range, instance);
		if (!mapping || !mapping->pages.flags.has_dma_mapping)
			continue;
		for (i = 0; i < mapping->nr_runs; i++)
			bytes += PAGE_SIZE << mapping->pages.dma_addr[i].order;
	}
	gpusvm_mgr_expect(check, bytes == (u64)atomic64_read(&instance->stats.dma_bytes));
	gpusvm_mgr_expect(check, (u64)atomic64_read(&instance->flush_done) <=
			  instance->flush_started);
	gpusvm_mgr_expect(check, !gpusvm_mgr_mirror_validate(instance->mirror));
	up_write(&instance->svm.notifier_lock);
}

static int gpusvm_mgr_check(struct drm_gpusvm_mgr *mgr, bool quiet)
{
	struct gpusvm_mgr_check check = { .mgr = mgr, .quiet = quiet };
	unsigned long previous_end = 0;
	unsigned long index = 0;
	unsigned int slot;
	int idx;

	mutex_lock(&mgr->attach_lock);
	mutex_lock(&mgr->hints.lock);
	gpusvm_mgr_expect(&check, !gpusvm_mgr_attrs_validate(&mgr->hints.attrs));
	mutex_unlock(&mgr->hints.lock);

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	while ((check.range = gpusvm_mgr_tree_next(&mgr->tree, &index, ULONG_MAX))) {
		gpusvm_mgr_check_range(&check, previous_end);
		previous_end = check.range->end;
	}

	for_each_set_bit(slot, mgr->slots_used, GPUSVM_MGR_SLOTS)
		gpusvm_mgr_check_instance(&check, gpusvm_mgr_instance_slot(mgr, slot));

	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	mutex_unlock(&mgr->attach_lock);

	return check.errors ? -EUCLEAN : 0;
}

/**
 * drm_gpusvm_mgr_validate() - Check the invariants of a manager
 * @mgr: The manager, of an attached instance.
 *
 * Prints what does not hold. May sleep; the caller holds none of the library's
 * locks.
 *
 * Return: 0, or -EUCLEAN where something does not hold.
 */
int drm_gpusvm_mgr_validate(struct drm_gpusvm_mgr *mgr)
{
	return gpusvm_mgr_check(mgr, false);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_validate);

/**
 * gpusvm_mgr_validate_quiet() - Check without a line in the log
 * @mgr: The manager.
 *
 * Return: as drm_gpusvm_mgr_validate().
 */
int gpusvm_mgr_validate_quiet(struct drm_gpusvm_mgr *mgr)
{
	return gpusvm_mgr_check(mgr, true);
}
