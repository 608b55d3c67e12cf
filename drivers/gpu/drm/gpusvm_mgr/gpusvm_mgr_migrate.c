// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Migrate: has the data of a range moved into a device's memory where the
 * arbiter lets it, and keeps note of where it is.
 */

#include <linux/hmm.h>
#include <linux/ktime.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include <drm/drm_print.h>

#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_policy.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Migration
 *
 * An instance that was attached with a &struct drm_pagemap wants the data that
 * its device faults on in that memory. The arbiter serves such requests one at
 * a time per range, because it works under the range's fault mutex; requests
 * for different ranges run in parallel. A request that waited for another one
 * finds what that one did, and is content with it.
 *
 * The order of a fault is: look where the data is, ask the policy, move, walk,
 * map. Each of these may be wrong when the next begins: CPU faults and eviction
 * move data without asking anybody, and take none of the library's locks but
 * those of an invalidation. So nothing relies on it but the policy. The walk
 * says where the pages are in the end, and there they are mapped: a move that
 * was refused or failed, or that was undone meanwhile, never fails a fault.
 *
 * The policy counts moves; the ones that nobody asks for are noticed when a
 * device faults next, and one that is said to have failed is looked at.
 * Device-private pages are told apart by their page frame numbers alone as long as
 * no lock keeps them: their device may be on its way out, and then not even their
 * struct page is there any more.
 *
 * One DMA mapping holds pages of one device memory, besides those of system
 * memory. Where a walk finds those of two, or a page that is shared by
 * copy-on-write and to be written, which HMM hands out as it is, the range is
 * gathered: the next walk is done for nobody, so that HMM brings all of it back.
 */

static unsigned int gpusvm_mgr_residence_us = GPUSVM_MGR_RESIDENCE_US;
module_param_named(residence_us, gpusvm_mgr_residence_us, uint, 0644);
MODULE_PARM_DESC(residence_us,
		 "How long data stays on a device before another one may have it (us)");

static unsigned int gpusvm_mgr_bounce_moves = GPUSVM_MGR_BOUNCE_MOVES;
module_param_named(bounce_moves, gpusvm_mgr_bounce_moves, uint, 0644);
MODULE_PARM_DESC(bounce_moves,
		 "Moves within bounce_window_us that are no bouncing yet (at most 15)");

static unsigned int gpusvm_mgr_bounce_window_us = GPUSVM_MGR_BOUNCE_WINDOW_US;
module_param_named(bounce_window_us, gpusvm_mgr_bounce_window_us, uint, 0644);
MODULE_PARM_DESC(bounce_window_us, "How far bounce detection looks back (us, 0: off)");

static unsigned int gpusvm_mgr_bounce_pin_us = GPUSVM_MGR_BOUNCE_PIN_US;
module_param_named(bounce_pin_us, gpusvm_mgr_bounce_pin_us, uint, 0644);
MODULE_PARM_DESC(bounce_pin_us, "How long data that bounces is pinned (us)");

static unsigned int gpusvm_mgr_bounce_cost = GPUSVM_MGR_BOUNCE_COST;
module_param_named(bounce_cost, gpusvm_mgr_bounce_cost, uint, 0644);
MODULE_PARM_DESC(bounce_cost,
		 "bounce_window_us is so many times at least what a move takes (0: whatever it takes)");

static unsigned int gpusvm_mgr_backoff_us = GPUSVM_MGR_BACKOFF_US;
module_param_named(backoff_us, gpusvm_mgr_backoff_us, uint, 0644);
MODULE_PARM_DESC(backoff_us,
		 "How long nobody tries again to move what could not be moved, doubled each time (us)");

/**
 * struct gpusvm_mgr_home - Where the data of a range lives, and how it came there
 * @place: What the policy knows.
 * @pfns: The page frames of @place.location, while it is not NULL.
 * @away: A look found data on devices, on others than @place.location.
 */
struct gpusvm_mgr_home {
	struct gpusvm_mgr_place place;
	struct range pfns;
	bool away;
};

/* What a look at a range has found, in pages. */
struct gpusvm_mgr_look {
	/* In the memory where the data is supposed to be. */
	unsigned long home;
	/* In the memory where it is wanted. */
	unsigned long there;
	/* In system memory, where the CPU has it mapped. */
	unsigned long system;
	/* In the memory of another device that can be seen. */
	unsigned long away;
};

static struct gpusvm_mgr_policy gpusvm_mgr_policy_now(void)
{
	return (struct gpusvm_mgr_policy) {
		.residence_ns = (u64)READ_ONCE(gpusvm_mgr_residence_us) * NSEC_PER_USEC,
		.bounce_moves = READ_ONCE(gpusvm_mgr_bounce_moves),
		.bounce_window_ns = (u64)READ_ONCE(gpusvm_mgr_bounce_window_us) *
				    NSEC_PER_USEC,
		.bounce_pin_ns = (u64)READ_ONCE(gpusvm_mgr_bounce_pin_us) *
				 NSEC_PER_USEC,
		.bounce_cost = READ_ONCE(gpusvm_mgr_bounce_cost),
		.backoff_ns = (u64)READ_ONCE(gpusvm_mgr_backoff_us) * NSEC_PER_USEC,
	};
}

static struct range gpusvm_mgr_pagemap_pfns(const struct drm_pagemap *dpagemap)
{
	const struct range *phys = &dpagemap->pagemap->range;

	return (struct range) {
		.start = PHYS_PFN(phys->start),
		.end = PHYS_PFN(phys->end),
	};
}

static bool gpusvm_mgr_pfns_contain(const struct range *pfns, unsigned long pfn)
{
	return pfn >= pfns->start && pfn <= pfns->end;
}

/*
 * Tells the policy of a move, which was made for an instance, or which it has come
 * across. The range's fault mutex is held.
 */
static void gpusvm_mgr_home_moved(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range,
				  struct drm_pagemap *to, const void *reach)
{
	const struct gpusvm_mgr_policy policy = gpusvm_mgr_policy_now();
	struct gpusvm_mgr_home *home = range->home;
	const void *owner = NULL;
	bool pinned;

	lockdep_assert_held(&range->fault_mutex);

	if (to) {
		owner = to->pagemap->owner;
		home->pfns = gpusvm_mgr_pagemap_pfns(to);
	} else {
		gpusvm_mgr_count(range->mgr, moves_back);
	}

	pinned = gpusvm_mgr_policy_moved(&policy, &home->place, to, owner, reach,
					 ktime_get_ns());
	if (pinned) {
		atomic64_inc(&instance->stats.pins);
		gpusvm_mgr_count(range->mgr, pins);
	}
	trace_gpusvm_mgr_moved(range, to ? to->drm->unique : NULL, pinned);
}

/*
 * May the memory of a range live on a device at all? And may it be moved there now:
 * not where KSM is at work. It forgets which addresses use a page that it does not
 * find in memory, and then, on the way back, nobody finds the migration entries that
 * are to be replaced: whoever touches such an address waits for ever (7.3).
 */
static bool gpusvm_mgr_range_migratable(struct drm_gpusvm_mgr_range *range, bool now)
{
	const vm_flags_t never = VM_SPECIAL | (now ? VM_MERGEABLE : 0);
	struct mm_struct *mm = range->mgr->mm;
	struct vm_area_struct *vma;
	bool migratable;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, range->start);
	migratable = vma && vma_is_anonymous(vma) && range->end <= vma->vm_end &&
		     !(vma->vm_flags & never);
	mmap_read_unlock(mm);
	return migratable;
}

/*
 * Looks where the pages of a range, or a part of it, are. Faults nothing in, and
 * sees device pages of one owner only; those of others look as if they were not
 * there. Which page of a huge one it is does not matter here, only on which device:
 * so it may be another one, see gpusvm_mgr_snapshot_shift().
 */
static int gpusvm_mgr_home_look(struct drm_gpusvm_mgr_range *range, void *owner,
				unsigned long start, unsigned long end,
				const struct range *wanted,
				struct gpusvm_mgr_look *look)
{
	unsigned long nr_pages = (end - start) >> PAGE_SHIFT;
	const struct gpusvm_mgr_home *home = range->home;
	struct hmm_range hmm = {
		.notifier = &range->shadow,
		.start = start,
		.end = end,
		.dev_private_owner = owner,
	};
	unsigned long i;
	int err;

	*look = (struct gpusvm_mgr_look){};

	hmm.hmm_pfns = kvcalloc(nr_pages, sizeof(*hmm.hmm_pfns), GFP_KERNEL);
	if (!hmm.hmm_pfns)
		return -ENOMEM;

	err = hmm_range_fault_unlocked_timeout(&hmm,
					       msecs_to_jiffies(GPUSVM_MGR_FAULT_MS));
	for (i = 0; !err && i < nr_pages; i++) {
		unsigned long pfn = hmm.hmm_pfns[i] & ~HMM_PFN_FLAGS;

		if (!(hmm.hmm_pfns[i] & HMM_PFN_VALID))
			continue;
		if (home->place.location && gpusvm_mgr_pfns_contain(&home->pfns, pfn))
			look->home++;
		/* No look at its struct page, which may be about to go. */
		if (gpusvm_mgr_pfns_contain(wanted, pfn))
			look->there++;
		else if (pfn_to_online_page(pfn))
			look->system++;
		else
			look->away++;
	}

	kvfree(hmm.hmm_pfns);
	return err;
}

/*
 * Brings what is noted of a range up to date: the CPU and eviction move data
 * without a word. Not needed where the last walk still holds.
 */
static int gpusvm_mgr_home_update(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range,
				  struct drm_pagemap *dpagemap)
{
	struct range wanted = gpusvm_mgr_pagemap_pfns(dpagemap);
	struct gpusvm_mgr_home *home = range->home;
	struct gpusvm_mgr_look look;
	void *owner = dpagemap->pagemap->owner;
	int err;

	if (range->snapshot &&
	    !mmu_interval_check_retry(&range->shadow, range->snapshot->seq))
		return 0;

	if (home->place.location)
		owner = (void *)home->place.owner;
	err = gpusvm_mgr_home_look(range, owner, range->start, range->end, &wanted, &look);
	if (err)
		return err;

	if (home->place.location && !look.home)
		gpusvm_mgr_home_moved(instance, range, NULL, NULL);

	/* A new range over data that devices have had before. */
	home->away = look.away;
	if (!home->place.location && look.there) {
		home->place.location = dpagemap;
		home->place.owner = dpagemap->pagemap->owner;
		home->place.since = ktime_get_ns();
		home->pfns = wanted;
	}
	return 0;
}

static enum gpusvm_mgr_verdict
gpusvm_mgr_home_ask(struct drm_gpusvm_instance *instance,
		    struct drm_gpusvm_mgr_range *range,
		    const struct gpusvm_mgr_placement *placement,
		    struct drm_pagemap *dpagemap)
{
	struct gpusvm_mgr_policy policy = gpusvm_mgr_policy_now();
	const struct gpusvm_mgr_place *place = &range->home->place;
	enum gpusvm_mgr_verdict verdict;

	if (placement->residence_ms != GPUSVM_MGR_RESIDENCE_DEFAULT)
		policy.residence_ns = (u64)placement->residence_ms * NSEC_PER_MSEC;

	verdict = gpusvm_mgr_policy_ask(&policy, place, dpagemap, ktime_get_ns());
	/* From one device to another only where that is wanted. */
	if (verdict == GPUSVM_MGR_MOVES && (place->location || range->home->away) &&
	    placement->policy == DRM_GPUSVM_MIGRATION_SYSTEM)
		verdict = GPUSVM_MGR_RESIDES;

	if (verdict == GPUSVM_MGR_PINNED) {
		atomic64_inc(&instance->stats.migrations_pinned);
		gpusvm_mgr_count(range->mgr, refused_pinned);
	} else if (verdict == GPUSVM_MGR_RESIDES) {
		atomic64_inc(&instance->stats.migrations_resident);
		gpusvm_mgr_count(range->mgr, refused_resident);
	} else if (verdict == GPUSVM_MGR_BACKS_OFF) {
		atomic64_inc(&instance->stats.migrations_backed_off);
		gpusvm_mgr_count(range->mgr, refused_backoff);
	} else if (verdict == GPUSVM_MGR_STAYS) {
		atomic64_inc(&instance->stats.migrations_shared);
	}
	return verdict;
}

/*
 * Has a move failed, as the driver says? It may have raced at its end, with a fault
 * of the CPU for one, and have left some of the data there. That is a move like any
 * other, or else the data would go to and fro without being counted. What raced and
 * was fetched back since, only the driver can know.
 */
static bool gpusvm_mgr_home_failed(struct drm_gpusvm_mgr_range *range,
				   const struct drm_pagemap *dpagemap)
{
	const struct gpusvm_mgr_policy policy = gpusvm_mgr_policy_now();
	struct range wanted = gpusvm_mgr_pagemap_pfns(dpagemap);
	struct gpusvm_mgr_look look;

	if (!gpusvm_mgr_home_look(range, dpagemap->pagemap->owner, range->start, range->end,
				  &wanted, &look) && look.there)
		return false;

	gpusvm_mgr_policy_failed(&policy, &range->home->place, ktime_get_ns());
	return true;
}

/* Makes sure that it is known where the data of a range is. */
static bool gpusvm_mgr_home_begin(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range,
				  struct drm_pagemap *dpagemap)
{
	if (READ_ONCE(instance->dead) || !gpusvm_mgr_range_migratable(range, true))
		return false;
	if (!range->home)
		range->home = kzalloc_obj(*range->home);
	return range->home && !gpusvm_mgr_home_update(instance, range, dpagemap);
}

/* Is the data with devices from where this one cannot have it? */
static bool gpusvm_mgr_home_apart(const struct drm_gpusvm_mgr_range *range,
				  const struct drm_pagemap *dpagemap)
{
	const struct gpusvm_mgr_place *place = &range->home->place;

	return place->location && place->owner != dpagemap->pagemap->owner;
}

/* Moves it, and counts that. */
static int gpusvm_mgr_home_move(struct drm_gpusvm_instance *instance,
				struct drm_gpusvm_mgr_range *range,
				struct drm_pagemap *dpagemap)
{
	u64 begin = ktime_get_ns();
	int err;

	/* The arbiter alone lets data stay: a slice of time would block the CPU. */
	err = drm_pagemap_populate_mm(dpagemap, range->start, range->end,
				      range->mgr->mm, 0);
	trace_gpusvm_mgr_migrate(instance, range, err);
	if (err && gpusvm_mgr_home_failed(range, dpagemap)) {
		atomic64_inc(&instance->stats.migrations_failed);
		gpusvm_mgr_count(range->mgr, migrations_failed);
		drm_dbg(instance->drm, "%s: [0x%lx-0x%lx) is not moved here: %d\n",
			instance->name, range->start, range->end, err);
		return err;
	}

	atomic64_inc(&instance->stats.migrations);
	gpusvm_mgr_count(range->mgr, migrations);
	gpusvm_mgr_policy_took(&range->home->place, ktime_get_ns() - begin);
	gpusvm_mgr_home_moved(instance, range, dpagemap, instance->owner);
	return 0;
}

/**
 * gpusvm_mgr_migrate() - Move the data of a range into a device's memory
 * @instance: Whose device faulted.
 * @range: The range. Its fault mutex is held.
 * @placement: What attributes say of it.
 * @dpagemap: Where to; the instance can reach it.
 * @deadline: When the fault gives up, see gpusvm_mgr_snapshot_walk().
 *
 * As far as the arbiter lets it, and it is possible. The caller holds a reference
 * on the mm's users, and neither the mmap lock nor an instance lock.
 *
 * Return: false where the arbiter has the data stay where it is.
 */
bool gpusvm_mgr_migrate(struct drm_gpusvm_instance *instance,
			struct drm_gpusvm_mgr_range *range,
			const struct gpusvm_mgr_placement *placement,
			struct drm_pagemap *dpagemap, unsigned long *deadline)
{
	enum gpusvm_mgr_verdict verdict;

	lockdep_assert_held(&range->fault_mutex);

	/* It is to be in one place first, whichever. */
	if (test_bit(GPUSVM_MGR_RANGE_GATHER, &range->flags))
		return true;
	if (!gpusvm_mgr_home_begin(instance, range, dpagemap))
		return true;
	verdict = gpusvm_mgr_home_ask(instance, range, placement, dpagemap);

	/*
	 * Another hive's memory cannot be read from here: by way of system
	 * memory, which is a move of its own, and may be one too many.
	 */
	if (verdict == GPUSVM_MGR_MOVES && gpusvm_mgr_home_apart(range, dpagemap)) {
		if (gpusvm_mgr_snapshot_walk(range, NULL, false, deadline))
			return true;
		gpusvm_mgr_home_moved(instance, range, NULL, instance->owner);
		verdict = gpusvm_mgr_home_ask(instance, range, placement, dpagemap);
	}

	if (verdict == GPUSVM_MGR_MOVES)
		gpusvm_mgr_home_move(instance, range, dpagemap);
	return verdict == GPUSVM_MGR_MOVES || verdict == GPUSVM_MGR_STAYS;
}

/**
 * gpusvm_mgr_migrate_is_at() - Is the data of a range where it should be?
 * @range: The range. Its fault mutex is held.
 * @dpagemap: Where, NULL: in system memory.
 *
 * As far as is known.
 *
 * Return: true if it is.
 */
bool gpusvm_mgr_migrate_is_at(struct drm_gpusvm_mgr_range *range,
			      const struct drm_pagemap *dpagemap)
{
	lockdep_assert_held(&range->fault_mutex);

	return (range->home ? range->home->place.location : NULL) == dpagemap;
}

/**
 * gpusvm_mgr_migrate_arrived() - How much of a range is where it should be?
 * @range: The range. Its fault mutex is held.
 * @dpagemap: Where, NULL: in system memory.
 * @start: Count from here, in the range.
 * @end: To here, exclusive, likewise.
 *
 * A move may succeed in part: a page that somebody has pinned stays where it is.
 *
 * Return: bytes; all of them where it cannot be seen because others change it.
 */
unsigned long gpusvm_mgr_migrate_arrived(struct drm_gpusvm_mgr_range *range,
					 const struct drm_pagemap *dpagemap,
					 unsigned long start, unsigned long end)
{
	struct gpusvm_mgr_look look;
	struct range wanted;

	if (!gpusvm_mgr_migrate_is_at(range, dpagemap))
		return 0;
	if (!dpagemap)
		return end - start;

	wanted = gpusvm_mgr_pagemap_pfns(dpagemap);
	if (gpusvm_mgr_home_look(range, dpagemap->pagemap->owner, start, end, &wanted, &look))
		return end - start;
	return look.there << PAGE_SHIFT;
}

/* Is some of a range neither where it should be nor where the CPU has it? */
static bool gpusvm_mgr_home_hidden(struct drm_gpusvm_mgr_range *range,
				   const struct drm_pagemap *dpagemap)
{
	struct range wanted = gpusvm_mgr_pagemap_pfns(dpagemap);
	struct gpusvm_mgr_look look;

	return !gpusvm_mgr_home_look(range, dpagemap->pagemap->owner, range->start,
				     range->end, &wanted, &look) &&
	       look.there + look.system < (range->end - range->start) >> PAGE_SHIFT;
}

/**
 * gpusvm_mgr_migrate_to() - Move the data of a range to where it is asked to be
 * @instance: Through which it is asked for.
 * @range: The range. Its fault mutex is held.
 * @dpagemap: Where to, NULL: to system memory.
 * @deadline: When the caller gives up, see gpusvm_mgr_snapshot_walk(). NULL: without
 *	a walk, as far as that goes.
 *
 * Whoever asks in so many words is not kept waiting by residence or pins; but the
 * move counts. What cannot be moved stays where it is, see
 * gpusvm_mgr_migrate_is_at().
 *
 * Return: 0, also where nothing was moved; -EFAULT, -EAGAIN, -ENOMEM or -EINTR from
 * a walk; -EBUSY: only a walk could bring it.
 */
int gpusvm_mgr_migrate_to(struct drm_gpusvm_instance *instance,
			  struct drm_gpusvm_mgr_range *range,
			  struct drm_pagemap *dpagemap, unsigned long *deadline)
{
	bool moved;
	int err;

	lockdep_assert_held(&range->fault_mutex);

	/* Such memory is never anywhere else. */
	if (!gpusvm_mgr_range_migratable(range, dpagemap))
		return 0;

	if (!dpagemap || (range->home && gpusvm_mgr_home_apart(range, dpagemap))) {
		if (!deadline)
			return -EBUSY;
		/* HMM brings back what is with any device. */
		err = gpusvm_mgr_snapshot_walk(range, NULL, false, deadline);
		if (err)
			return err == -EBUSY ? -EAGAIN : err;
		if (range->home && range->home->place.location) {
			gpusvm_mgr_count(range->mgr, prefetches);
			gpusvm_mgr_home_moved(instance, range, NULL, NULL);
		}
		if (!dpagemap)
			return 0;
	}

	if (!gpusvm_mgr_home_begin(instance, range, dpagemap))
		return 0;

	/* Some of it may have stayed behind when it was moved. */
	if (gpusvm_mgr_migrate_arrived(range, dpagemap, range->start, range->end) ==
	    range->end - range->start)
		return 0;
	moved = !gpusvm_mgr_home_move(instance, range, dpagemap);

	/*
	 * What is swapped out, or with a device that this one does not know, is only
	 * found by a walk, which brings it back. Then once more, all of it.
	 */
	if (deadline && gpusvm_mgr_home_hidden(range, dpagemap)) {
		err = gpusvm_mgr_snapshot_walk(range, NULL, false, deadline);
		if (err)
			return err == -EBUSY ? -EAGAIN : err;
		if (range->home->place.location)
			gpusvm_mgr_home_moved(instance, range, NULL, instance->owner);
		moved = !gpusvm_mgr_home_move(instance, range, dpagemap);
	}
	if (moved)
		gpusvm_mgr_count(range->mgr, prefetches);
	return 0;
}

/**
 * gpusvm_mgr_migrate_observe() - Note where the data of a range turned out to be
 * @instance: For whom it was mapped.
 * @range: The range. Its fault mutex is held.
 */
void gpusvm_mgr_migrate_observe(struct drm_gpusvm_instance *instance,
				struct drm_gpusvm_mgr_range *range)
{
	struct gpusvm_mgr_home *home = range->home;
	struct drm_gpusvm_mapping *mapping;
	struct drm_pagemap *dpagemap;
	bool mapped = false;
	int idx;

	lockdep_assert_held(&range->fault_mutex);

	if (!home)
		return;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	mapping = gpusvm_mgr_mapping_find(range, instance);
	if (mapping) {
		/* What is mapped keeps its pages, and those their device. */
		drm_gpusvm_notifier_lock(&instance->svm);
		mapped = mapping->ptes;
		dpagemap = mapping->pages.dpagemap;
		if (mapped && dpagemap && !home->place.location) {
			/* Moved before there was anybody to take note of it. */
			home->place.location = dpagemap;
			home->place.owner = dpagemap->pagemap->owner;
			home->place.since = ktime_get_ns();
			home->pfns = gpusvm_mgr_pagemap_pfns(dpagemap);
		}
		drm_gpusvm_notifier_unlock(&instance->svm);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

	/*
	 * Who has fetched it? Where this instance cannot reach that memory, HMM
	 * has on its behalf, or would have; else the CPU or an eviction.
	 */
	if (mapped && !dpagemap && home->place.location)
		gpusvm_mgr_home_moved(instance, range, NULL,
				      home->place.owner == instance->owner ?
				      NULL : instance->owner);
}
