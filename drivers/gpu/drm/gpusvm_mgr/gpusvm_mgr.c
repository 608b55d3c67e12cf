// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mgr: the managers of all processes, and their lifetime.
 */

#include <linux/export.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "gpusvm_mgr_internal.h"

#define CREATE_TRACE_POINTS
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Overview
 *
 * A process that uses several GPUs wants one address space: each pointer that
 * the CPU can use, every GPU can use, and all see the same data. This library
 * is for the drivers of such GPUs. It has one manager per process (mm), which
 * holds
 *
 * - the *ranges*: intervals of the address space that devices have touched,
 *   shared by all devices, never overlapping;
 * - one registered &struct mmu_interval_notifier, which fans an invalidation
 *   out to the devices that are concerned, in two passes;
 * - a *snapshot* per range: one walk of the CPU's page tables, from which each
 *   device is mapped;
 * - the *instances*: a VM of a device each, with page tables, a TLB, an IOMMU
 *   domain and a lock of its own.
 *
 * A driver attaches an instance when its VM is created, hands the faults of its
 * device to drm_gpusvm_mgr_fault() or drm_gpusvm_mgr_fault_batch(), writes and
 * clears PTEs and starts TLB flushes when it is called back, and detaches the
 * instance when the VM goes. The manager has no uAPI: a process sees the
 * ioctls of each driver, on each driver's device.
 *
 * What attaching costs a process: each of its invalidations is an active one
 * for &struct mmu_interval_notifier, so that other users of interval notifiers
 * in the same mm see more deferred insertions, and waits for removals, than
 * without.
 */

/**
 * DOC: Locking
 *
 * Outermost first:
 *
 * 1. &drm_gpusvm_mgr.attach_lock, a mutex: attach and detach.
 * 2. The lock of the hints, a mutex: one change of attributes at a time.
 * 3. &drm_gpusvm_mgr.gc_lock, a mutex: one remover at a time.
 * 4. &drm_gpusvm_mgr_range.fault_mutex: one filler of a range at a time.
 * 5. mmap_lock, for read, around calls of the core mm only. (The registration
 *    of the notifier takes it for write, below the attach lock.)
 * 6. Reclaim may enter here: memory is allocated above, not below.
 * 7. The instance lock, &drm_gpusvm.notifier_lock of the instance, a rwsem:
 *    for read to map, for write to zap and to unmap, and to change what is seen
 *    where.
 * 8. Leaves: &drm_gpusvm_mgr_range.lock, the lock of the notes of what was
 *    unmapped, those of the maple trees.
 *
 * Beside these: the registry's lock, a leaf; and the SRCU domain, whose read
 * side is held from the start pass of an invalidation to the end of its finish
 * pass, by a removal, and by a filler around its commit. Under it one may wait
 * for a flush and allocate, but not for a fault. synchronize_srcu() is called
 * with the attach lock held and nothing else.
 *
 * Nobody holds an instance lock, or any lock that an invalidation takes, while
 * it waits for a flush. mmu_interval_read_begin() and HMM are called with the
 * fault mutex only.
 */

static DEFINE_SPINLOCK(gpusvm_mgr_registry_lock);
static DEFINE_HASHTABLE(gpusvm_mgr_registry, 6);
static unsigned int gpusvm_mgr_next_id;

static void gpusvm_mgr_free(struct drm_gpusvm_mgr *mgr)
{
	gpusvm_mgr_hints_fini(mgr);
	gpusvm_mgr_tree_fini(&mgr->tree);
	mutex_destroy(&mgr->attach_lock);
	mutex_destroy(&mgr->gc_lock);
	free_percpu(mgr->counters);
	mmdrop(mgr->mm);
	kfree(mgr);
}

static struct drm_gpusvm_mgr *gpusvm_mgr_alloc(struct mm_struct *mm)
{
	struct drm_gpusvm_mgr *mgr;

	mgr = kzalloc_obj(*mgr);
	if (!mgr)
		return NULL;

	mgr->counters = alloc_percpu(struct gpusvm_mgr_counters);
	if (!mgr->counters)
		goto free_mgr;
	if (gpusvm_mgr_tree_init(&mgr->tree, &mgr->notifier.invalidate_seq))
		goto free_counters;
	if (gpusvm_mgr_hints_init(mgr))
		goto fini_tree;

	kref_init(&mgr->ref);
	mmgrab(mm);
	mgr->mm = mm;
	mgr->chunks = &gpusvm_mgr_default_chunks;
	mutex_init(&mgr->attach_lock);
	init_llist_head(&mgr->gc_list);
	mutex_init(&mgr->gc_lock);
	INIT_WORK(&mgr->gc_work, gpusvm_mgr_gc_work);
	return mgr;

fini_tree:
	gpusvm_mgr_tree_fini(&mgr->tree);
free_counters:
	free_percpu(mgr->counters);
free_mgr:
	kfree(mgr);
	return NULL;
}

static struct drm_gpusvm_mgr *gpusvm_mgr_lookup(struct mm_struct *mm)
{
	struct drm_gpusvm_mgr *mgr;

	lockdep_assert_held(&gpusvm_mgr_registry_lock);

	/* One on its way out is passed over; it has taken nothing with it. */
	hash_for_each_possible(gpusvm_mgr_registry, mgr, hash, (unsigned long)mm)
		if (mgr->mm == mm && kref_get_unless_zero(&mgr->ref))
			return mgr;

	return NULL;
}

/**
 * gpusvm_mgr_get() - Find or make the manager of a process
 * @mm: The process's mm; the caller is a user of it.
 *
 * May sleep.
 *
 * Return: the manager with a reference, or ERR_PTR(-ENOMEM).
 */
struct drm_gpusvm_mgr *gpusvm_mgr_get(struct mm_struct *mm)
{
	struct drm_gpusvm_mgr *mgr, *fresh;

	spin_lock(&gpusvm_mgr_registry_lock);
	mgr = gpusvm_mgr_lookup(mm);
	spin_unlock(&gpusvm_mgr_registry_lock);
	if (mgr)
		return mgr;

	fresh = gpusvm_mgr_alloc(mm);
	if (!fresh)
		return ERR_PTR(-ENOMEM);

	spin_lock(&gpusvm_mgr_registry_lock);
	mgr = gpusvm_mgr_lookup(mm);
	if (!mgr) {
		fresh->id = gpusvm_mgr_next_id++;
		hash_add(gpusvm_mgr_registry, &fresh->hash, (unsigned long)mm);
	}
	spin_unlock(&gpusvm_mgr_registry_lock);

	if (mgr) {
		gpusvm_mgr_free(fresh);
		return mgr;
	}

	gpusvm_mgr_debugfs_add(fresh);
	return fresh;
}

static void gpusvm_mgr_release(struct kref *ref)
{
	struct drm_gpusvm_mgr *mgr = container_of(ref, struct drm_gpusvm_mgr, ref);

	spin_lock(&gpusvm_mgr_registry_lock);
	hash_del(&mgr->hash);
	spin_unlock(&gpusvm_mgr_registry_lock);

	gpusvm_mgr_debugfs_remove(mgr);
	gpusvm_mgr_free(mgr);
}

/**
 * gpusvm_mgr_put() - Drop a reference
 * @mgr: The manager. May sleep with the last one; no instance is attached then.
 */
void gpusvm_mgr_put(struct drm_gpusvm_mgr *mgr)
{
	kref_put(&mgr->ref, gpusvm_mgr_release);
}

/**
 * drm_gpusvm_mgr_read_stats() - Read the counters of a manager
 * @mgr: The manager, of an attached instance.
 * @stats: Out: the counters. They are not read at one moment.
 */
void drm_gpusvm_mgr_read_stats(struct drm_gpusvm_mgr *mgr,
			       struct drm_gpusvm_mgr_stats *stats)
{
	int cpu;

	*stats = (struct drm_gpusvm_mgr_stats){};
	/* First, so that they are not more than were made. */
	for_each_possible_cpu(cpu)
		stats->ranges_removed +=
			READ_ONCE(per_cpu_ptr(mgr->counters, cpu)->ranges_removed);
	for_each_possible_cpu(cpu) {
		const struct gpusvm_mgr_counters *counters =
			per_cpu_ptr(mgr->counters, cpu);

		stats->invalidations += READ_ONCE(counters->invalidations);
		stats->invalidations_missed += READ_ONCE(counters->invalidations_missed);
		stats->nonblock_refused += READ_ONCE(counters->nonblock_refused);
		stats->finish_inline += READ_ONCE(counters->finish_inline);
		stats->walks += READ_ONCE(counters->walks);
		stats->snapshot_hits += READ_ONCE(counters->snapshot_hits);
		stats->seq_waits += READ_ONCE(counters->seq_waits);
		stats->seq_wait_ns += READ_ONCE(counters->seq_wait_ns);
		stats->ranges_made += READ_ONCE(counters->ranges_made);
		stats->migrations += READ_ONCE(counters->migrations);
		stats->migrations_failed += READ_ONCE(counters->migrations_failed);
		stats->moves_back += READ_ONCE(counters->moves_back);
		stats->refused_resident += READ_ONCE(counters->refused_resident);
		stats->refused_pinned += READ_ONCE(counters->refused_pinned);
		stats->refused_backoff += READ_ONCE(counters->refused_backoff);
		stats->pins += READ_ONCE(counters->pins);
		stats->prefetches += READ_ONCE(counters->prefetches);
		stats->attr_conflicts += READ_ONCE(counters->attr_conflicts);
		stats->attr_widened += READ_ONCE(counters->attr_widened);
	}
	stats->ranges = stats->ranges_made - stats->ranges_removed;
	stats->instances = hweight64(READ_ONCE(mgr->slots_used[0]));
}
EXPORT_SYMBOL_GPL(drm_gpusvm_mgr_read_stats);

static int __init gpusvm_mgr_init(void)
{
	gpusvm_mgr_debugfs_init();
	return 0;
}

static void __exit gpusvm_mgr_exit(void)
{
	gpusvm_mgr_debugfs_exit();
	/* The last ranges and mappings. */
	srcu_barrier(&gpusvm_mgr_srcu);
}

module_init(gpusvm_mgr_init);
module_exit(gpusvm_mgr_exit);

MODULE_DESCRIPTION("One address space for several GPUs");
MODULE_LICENSE("Dual MIT/GPL");
