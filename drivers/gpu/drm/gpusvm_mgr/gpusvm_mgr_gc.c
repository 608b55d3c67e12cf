// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GC: removal of dead ranges.
 */

#include <linux/slab.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Removal
 *
 * A range dies when a part of it is unmapped, when its VMA was changed so that
 * it does not fit any more, or with the last instance. It is then on the
 * manager's list, from which one remover takes it. The order of the removal is
 * that of an invalidation, and only then is the range erased: as long as
 * anything of it may be reached by a device, an invalidation finds it::
 *
 *	zap, start a flush, wait for it, unmap DMA, clear the bit	(each instance)
 *	erase from the tree
 *	free mappings and range behind SRCU
 *
 * A fault that meets a dead range removes what is on the list, and waits for
 * removals under way, before it looks again.
 */

static void gpusvm_mgr_range_free_rcu(struct rcu_head *rcu)
{
	gpusvm_mgr_range_free(container_of(rcu, struct drm_gpusvm_mgr_range, rcu));
}

static void gpusvm_mgr_range_release(struct kref *ref)
{
	struct drm_gpusvm_mgr_range *range =
		container_of(ref, struct drm_gpusvm_mgr_range, ref);

	gpusvm_mgr_snapshot_put(range->snapshot);
	call_srcu(&gpusvm_mgr_srcu, &range->rcu, gpusvm_mgr_range_free_rcu);
}

/**
 * gpusvm_mgr_range_put() - Drop a reference to a range
 * @range: The range.
 */
void gpusvm_mgr_range_put(struct drm_gpusvm_mgr_range *range)
{
	kref_put(&range->ref, gpusvm_mgr_range_release);
}

/**
 * gpusvm_mgr_range_mark_dead() - Mark a range dead
 * @range: The range, in the tree. The caller holds its fault mutex; or is in
 *	the start pass of its unmapping, and has not set its shadow's sequence.
 *
 * Does not sleep.
 *
 * Return: true where this call marked it. The caller then queues it with
 * gpusvm_mgr_range_bury(); in a start pass only when the sequence is set, with
 * a full barrier between: until then a filler that took the range for alive may
 * set its bit and go on, and the removal would miss it.
 */
bool gpusvm_mgr_range_mark_dead(struct drm_gpusvm_mgr_range *range)
{
	return !test_and_set_bit(GPUSVM_MGR_RANGE_DEAD, &range->flags);
}

/**
 * gpusvm_mgr_range_bury() - Queue a dead range for removal
 * @range: The range, see gpusvm_mgr_range_mark_dead().
 *
 * Does not sleep. The caller sees to it that the list is worked off.
 */
void gpusvm_mgr_range_bury(struct drm_gpusvm_mgr_range *range)
{
	trace_gpusvm_mgr_range_kill(range);
	llist_add(&range->gc_node, &range->mgr->gc_list);
}

/**
 * gpusvm_mgr_range_kill() - Mark a range dead and queue it for removal
 * @range: The range, in the tree. Its fault mutex is held.
 *
 * Return: true where this call did.
 */
bool gpusvm_mgr_range_kill(struct drm_gpusvm_mgr_range *range)
{
	lockdep_assert_held(&range->fault_mutex);

	if (!gpusvm_mgr_range_mark_dead(range))
		return false;

	gpusvm_mgr_range_bury(range);
	return true;
}

/* Zap, flush, unmap for every instance that may have something of it. */
static void gpusvm_mgr_gc_unmap(struct drm_gpusvm_mgr_range *range)
{
	struct drm_gpusvm_mgr *mgr = range->mgr;
	struct drm_gpusvm_instance *instance;
	unsigned long present, slot;

	/* Dead before the mask: pairs with the barrier in commit. */
	smp_mb();
	present = gpusvm_mgr_range_present(range);

	for_each_set_bit(slot, &present, GPUSVM_MGR_SLOTS) {
		u64 generation;

		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (!instance)
			continue;

		gpusvm_mgr_fenced_pause(instance);
		generation = gpusvm_mgr_mapping_zap_range(instance, range);
		gpusvm_mgr_fenced_resume(instance);
		gpusvm_mgr_window(GPUSVM_MGR_WINDOW_GC_ZAPPED, range);
		if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_ERASE_LAST))
			gpusvm_mgr_flush_wait(instance, generation);
		gpusvm_mgr_mapping_unmap_range(instance, range);
	}
}

static void gpusvm_mgr_gc_remove(struct drm_gpusvm_mgr_range *range)
{
	struct drm_gpusvm_mgr *mgr = range->mgr;
	struct drm_gpusvm_mapping *mapping;
	int idx;

	/* From the reading of the mask to the end of the unmap, and beyond. */
	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_ERASE_LAST))
		gpusvm_mgr_tree_erase(&mgr->tree, range);
	gpusvm_mgr_gc_unmap(range);
	if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_ERASE_LAST))
		gpusvm_mgr_tree_erase(&mgr->tree, range);

	while ((mapping = gpusvm_mgr_mapping_unlink(range, NULL)))
		gpusvm_mgr_mapping_free_later(mapping);
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

	gpusvm_mgr_count(mgr, ranges_removed);
	trace_gpusvm_mgr_range_remove(range);
	/* That of the tree. */
	gpusvm_mgr_range_put(range);
}

/**
 * gpusvm_mgr_gc_run() - Remove all ranges that are dead by now
 * @mgr: The manager.
 *
 * Also waits for a removal that somebody else is at. May sleep; the caller
 * holds no lock below &drm_gpusvm_mgr.gc_lock. Ends: each flush is answered,
 * and what dies meanwhile is left for the next.
 */
void gpusvm_mgr_gc_run(struct drm_gpusvm_mgr *mgr)
{
	struct drm_gpusvm_mgr_range *range, *next;

	mutex_lock(&mgr->gc_lock);
	llist_for_each_entry_safe(range, next, llist_del_all(&mgr->gc_list), gc_node)
		gpusvm_mgr_gc_remove(range);
	mutex_unlock(&mgr->gc_lock);
}

/**
 * gpusvm_mgr_gc_work() - Remove dead ranges that no fault meets
 * @work: The manager's &drm_gpusvm_mgr.gc_work.
 */
void gpusvm_mgr_gc_work(struct work_struct *work)
{
	gpusvm_mgr_gc_run(container_of(work, struct drm_gpusvm_mgr, gc_work));
}

/**
 * gpusvm_mgr_gc_all() - Remove every range
 * @mgr: The manager. No instance is attached, no call under way; the
 *	notifier is still registered.
 */
void gpusvm_mgr_gc_all(struct drm_gpusvm_mgr *mgr)
{
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = 0;
	int idx;

	lockdep_assert_held(&mgr->attach_lock);

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	while ((range = gpusvm_mgr_tree_next(&mgr->tree, &index, ULONG_MAX))) {
		mutex_lock(&range->fault_mutex);
		gpusvm_mgr_range_kill(range);
		mutex_unlock(&range->fault_mutex);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

	/*
	 * A start pass may have marked one and not yet queued it, nor the work.
	 * Those that begin later find them marked.
	 */
	synchronize_srcu(&gpusvm_mgr_srcu);
	gpusvm_mgr_gc_run(mgr);
	cancel_work_sync(&mgr->gc_work);
}
