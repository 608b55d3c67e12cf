// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Notifier: the start and the finish pass of an invalidation.
 */

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Invalidation
 *
 * mmu_notifier.c calls the start pass of every notifier first, then every
 * finish pass. The start pass zaps PTEs and starts one TLB flush on each
 * device that has something of the interval; the finish pass waits for all of
 * them, so that N devices cost the slowest one, not the sum. Then the finish
 * pass unmaps what is zapped, whoever zapped it: of two overlapping
 * invalidations the first one to come does it, neither needs the other to go
 * on, and nothing is allocated to remember the work.
 *
 * An invalidation that meets no range takes no lock and calls no driver. A
 * non-blockable one (of the OOM reaper) succeeds where nothing is present, and
 * is refused otherwise.
 *
 * Where jobs do not fault, the start pass only keeps new ones from being submitted,
 * and the finish pass waits for those at work before it zaps.
 *
 * No lock is held from the start pass to the finish pass, but the read side of
 * an SRCU domain: what the start pass has seen is not freed, and a slot is not
 * given to another instance, until the finish pass is through.
 */

static struct gpusvm_mgr_finish *gpusvm_mgr_finish_get(struct drm_gpusvm_mgr *mgr)
{
	unsigned int i;

	for (i = 0; i < GPUSVM_MGR_FINISHES; i++)
		if (!test_and_set_bit_lock(i, &mgr->finishes_used))
			return &mgr->finishes[i];

	return NULL;
}

static void gpusvm_mgr_finish_put(struct drm_gpusvm_mgr *mgr,
				  struct gpusvm_mgr_finish *finish)
{
	clear_bit_unlock(finish - mgr->finishes, &mgr->finishes_used);
}

/*
 * Marks the ranges that the event overlaps: who looked at the CPU's page tables
 * before this will see the sequence and look again. Returns the instances that
 * may have something of them.
 */
static unsigned long gpusvm_mgr_start_mark(struct drm_gpusvm_mgr *mgr,
					   const struct mmu_notifier_range *event,
					   unsigned long start, unsigned long last,
					   unsigned long seq, unsigned int *count,
					   bool *killed)
{
	struct drm_gpusvm_mgr_range *range;
	unsigned long present = 0;
	unsigned long index;

	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_OWN_RANGE)) {
		index = 0;
		while ((range = gpusvm_mgr_tree_next(&mgr->tree, &index, ULONG_MAX)))
			mmu_interval_set_seq(&range->shadow, seq);
	}

	index = start;
	while ((range = gpusvm_mgr_tree_next(&mgr->tree, &index, last))) {
		bool dying = event->event == MMU_NOTIFY_UNMAP &&
			     gpusvm_mgr_range_mark_dead(range);

		if (dying && gpusvm_mgr_broken(GPUSVM_MGR_STEP_BURY_LAST))
			gpusvm_mgr_range_bury(range);
		if (dying)
			gpusvm_mgr_window(GPUSVM_MGR_WINDOW_START_DEAD, range);
		mmu_interval_set_seq(&range->shadow, seq);
		/* Pairs with the barrier in commit, after the present bit. */
		smp_mb();
		if (dying && !gpusvm_mgr_broken(GPUSVM_MGR_STEP_BURY_LAST))
			gpusvm_mgr_range_bury(range);
		*killed |= dying;
		present |= gpusvm_mgr_range_present(range);
		(*count)++;
	}

	return present;
}

/* Zaps and starts the flush of one instance, whose lock is held for write. */
static void gpusvm_mgr_start_zap(struct drm_gpusvm_instance *instance,
				 unsigned long start, unsigned long last,
				 struct gpusvm_mgr_finish *finish)
{
	u64 generation = gpusvm_mgr_mapping_zap_span(instance, start, last);

	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_UNLOCK))
		gpusvm_mgr_flush_wait(instance, generation);
	up_write(&instance->svm.notifier_lock);

	atomic64_inc(&instance->stats.invalidations);
	if (finish && !gpusvm_mgr_broken(GPUSVM_MGR_STEP_TWO_PASS))
		finish->generation[instance->slot] = generation;
	else
		gpusvm_mgr_flush_wait(instance, generation);
}

static void gpusvm_mgr_finish_unmap(struct drm_gpusvm_mgr *mgr,
				    unsigned long slots, unsigned long start,
				    unsigned long last)
{
	struct drm_gpusvm_instance *instance;
	unsigned long slot;

	gpusvm_mgr_window(GPUSVM_MGR_WINDOW_FINISH, mgr);

	for_each_set_bit(slot, &slots, GPUSVM_MGR_SLOTS) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (instance)
			gpusvm_mgr_mapping_unmap_span(instance, start, last);
	}
}

/* Zaps the instances whose jobs do not fault, when these have ended. */
static void gpusvm_mgr_zap_fenced(struct drm_gpusvm_mgr *mgr, unsigned long fenced,
				  unsigned long start, unsigned long last,
				  struct gpusvm_mgr_finish *finish)
{
	struct drm_gpusvm_instance *instance;
	unsigned long slot;

	for_each_set_bit(slot, &fenced, GPUSVM_MGR_SLOTS) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (!instance)
			continue;
		gpusvm_mgr_assert_may_wait(instance);
		if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_QUIESCE))
			instance->ops->quiesce(instance);
		down_write(&instance->svm.notifier_lock);
		gpusvm_mgr_start_zap(instance, start, last, finish);
		gpusvm_mgr_fenced_go(instance);
	}
}

/*
 * The end of an invalidation, whichever pass it is in: starts the removal of what
 * died, which has only to erase by now, and lets go of what was seen.
 */
static void gpusvm_mgr_invalidate_end(struct drm_gpusvm_mgr *mgr, bool killed,
				      int srcu_idx)
{
	if (killed)
		queue_work(system_dfl_wq, &mgr->gc_work);
	srcu_read_unlock(&gpusvm_mgr_srcu, srcu_idx);
}

static bool gpusvm_mgr_invalidate_start(struct mmu_interval_notifier *notifier,
					const struct mmu_notifier_range *event,
					unsigned long seq,
					struct mmu_interval_notifier_finish **base)
{
	struct drm_gpusvm_mgr *mgr =
		container_of(notifier, struct drm_gpusvm_mgr, notifier);
	unsigned long last = event->end - 1;
	unsigned long start = event->start;
	unsigned long present, busy, fenced = 0, slot;
	struct drm_gpusvm_instance *instance;
	struct gpusvm_mgr_finish *finish;
	unsigned int count = 0;
	bool killed = false;
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	gpusvm_mgr_count(mgr, invalidations);
	if (event->event == MMU_NOTIFY_RELEASE)
		WRITE_ONCE(mgr->exiting, true);

	/*
	 * Always first, whatever the event overlaps: a range that is not in the
	 * tree yet copies this sequence when it is. See DOC: Shadow sequences.
	 */
	if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_SET_FIRST)) {
		mmu_interval_set_seq(notifier, seq);
		/* Pairs with the barrier in gpusvm_mgr_tree_insert(). */
		smp_mb();
		gpusvm_mgr_window(GPUSVM_MGR_WINDOW_START_SET, mgr);
	}

	present = gpusvm_mgr_start_mark(mgr, event, start, last, seq, &count,
					&killed);
	/* Also where no range is: attributes may have been set for later. */
	if (event->event == MMU_NOTIFY_UNMAP)
		gpusvm_mgr_hints_note(mgr, start, last);
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_SET_FIRST)) {
		gpusvm_mgr_window(GPUSVM_MGR_WINDOW_START_SET, mgr);
		mmu_interval_set_seq(notifier, seq);
	}
	if (gpusvm_mgr_broken(GPUSVM_MGR_STEP_MISS) && !present)
		present = READ_ONCE(mgr->slots_used[0]);

	trace_gpusvm_mgr_invalidate_start(mgr, event, seq, count, present);
	if (!count)
		gpusvm_mgr_count(mgr, invalidations_missed);
	if (!present) {
		gpusvm_mgr_invalidate_end(mgr, killed, idx);
		return true;
	}
	if (!mmu_notifier_range_blockable(event)) {
		/*
		 * The caller leaves the interval alone. That ranges were marked
		 * for nothing costs a walk at the next fault.
		 */
		gpusvm_mgr_count(mgr, nonblock_refused);
		gpusvm_mgr_invalidate_end(mgr, killed, idx);
		return false;
	}

	finish = gpusvm_mgr_finish_get(mgr);
	if (!finish)
		gpusvm_mgr_count(mgr, finish_inline);

	/*
	 * First those whose lock is free, so that a busy one does not delay the
	 * flush of another.
	 */
	busy = 0;
	for_each_set_bit(slot, &present, GPUSVM_MGR_SLOTS) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (!instance)
			__clear_bit(slot, &present);
		else if (gpusvm_mgr_is_fenced(instance))
			__set_bit(slot, &fenced);
		else if (finish && down_write_trylock(&instance->svm.notifier_lock))
			gpusvm_mgr_start_zap(instance, start, last, finish);
		else
			__set_bit(slot, &busy);
	}
	for_each_set_bit(slot, &busy, GPUSVM_MGR_SLOTS) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (!instance) {
			__clear_bit(slot, &present);
			continue;
		}
		down_write(&instance->svm.notifier_lock);
		gpusvm_mgr_start_zap(instance, start, last, finish);
	}
	if (fenced)
		gpusvm_mgr_window(GPUSVM_MGR_WINDOW_START_FENCED, mgr);
	/* Here only: what is submitted from now on is not waited for. */
	for_each_set_bit(slot, &fenced, GPUSVM_MGR_SLOTS) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		/* Detached since it was looked at, so it is quiet. */
		if (instance)
			gpusvm_mgr_fenced_stop(instance);
	}
	gpusvm_mgr_window(GPUSVM_MGR_WINDOW_START_ZAPPED, mgr);

	if (!finish) {
		gpusvm_mgr_zap_fenced(mgr, fenced, start, last, NULL);
		gpusvm_mgr_finish_unmap(mgr, present, start, last);
		gpusvm_mgr_invalidate_end(mgr, killed, idx);
		return true;
	}

	finish->start = start;
	finish->last = last;
	finish->slots = present;
	finish->fenced = fenced;
	finish->srcu_idx = idx;
	finish->killed = killed;
	*base = &finish->base;
	return true;
}

static void gpusvm_mgr_invalidate_finish(struct mmu_interval_notifier_finish *base)
{
	struct gpusvm_mgr_finish *finish =
		container_of(base, struct gpusvm_mgr_finish, base);
	struct drm_gpusvm_mgr *mgr =
		container_of(base->notifier, struct drm_gpusvm_mgr, notifier);
	struct drm_gpusvm_instance *instance;
	bool killed = finish->killed;
	int idx = finish->srcu_idx;
	unsigned long slot;

	gpusvm_mgr_zap_fenced(mgr, finish->fenced, finish->start, finish->last, finish);

	for_each_set_bit(slot, &finish->slots, GPUSVM_MGR_SLOTS) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (instance && !gpusvm_mgr_broken(GPUSVM_MGR_STEP_TWO_PASS))
			gpusvm_mgr_flush_wait(instance, finish->generation[slot]);
	}

	gpusvm_mgr_finish_unmap(mgr, finish->slots, finish->start, finish->last);
	trace_gpusvm_mgr_invalidate_finish(mgr, finish->start, finish->last,
					   finish->slots);
	gpusvm_mgr_finish_put(mgr, finish);
	gpusvm_mgr_invalidate_end(mgr, killed, idx);
}

/* One invalidate op is enough where there are two passes. */
const struct mmu_interval_notifier_ops gpusvm_mgr_notifier_ops = {
	.invalidate_start = gpusvm_mgr_invalidate_start,
	.invalidate_finish = gpusvm_mgr_invalidate_finish,
};
