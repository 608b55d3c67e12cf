/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_INTERNAL_H__
#define __GPUSVM_MGR_INTERNAL_H__

#include <linux/bitmap.h>
#include <linux/hashtable.h>
#include <linux/hmm.h>
#include <linux/kref.h>
#include <linux/llist.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/workqueue.h>

#include <drm/drm_gpusvm_mgr.h>

#include "gpusvm_mgr_attr.h"
#include "gpusvm_mgr_mirror.h"
#include "gpusvm_mgr_range.h"

struct dentry;

#define GPUSVM_MGR_SLOTS	DRM_GPUSVM_MGR_MAX_INSTANCES

/*
 * Invalidations in flight at a time that can defer their waits to the finish
 * pass; further ones wait in the start pass.
 */
#define GPUSVM_MGR_FINISHES	8

/* How long a fault looks again before it gives up, milliseconds. */
#define GPUSVM_MGR_FAULT_MS	1000

/*
 * How often it looks at least: on a slow or busy machine a few looks, each with
 * its wait for the mmap lock, take longer than that.
 */
#define GPUSVM_MGR_FAULT_LOOKS	32

/*
 * How long a change of attributes waits for ranges that others are filling, so as to
 * move or map them, milliseconds. For what it forbids it does not wait at all.
 */
#define GPUSVM_MGR_ADVISE_MS	100

/**
 * struct gpusvm_mgr_finish - What a start pass leaves for its finish pass
 * @base: For mmu_notifier.c.
 * @start: First address of the event.
 * @last: Last address of the event, inclusive.
 * @slots: The instances that were zapped, or are to be.
 * @fenced: Of these, those that are to be: their jobs do not fault.
 * @generation: Per slot in @slots, the flush to wait for.
 * @srcu_idx: The SRCU read lock that the task holds from pass to pass.
 * @killed: Ranges died: their removal is to be started.
 */
struct gpusvm_mgr_finish {
	struct mmu_interval_notifier_finish base;
	unsigned long start;
	unsigned long last;
	unsigned long slots;
	unsigned long fenced;
	u64 generation[GPUSVM_MGR_SLOTS];
	int srcu_idx;
	bool killed;
};

/* Counters of a manager, one set per CPU: see struct drm_gpusvm_mgr_stats. */
struct gpusvm_mgr_counters {
	u64 invalidations;
	u64 invalidations_missed;
	u64 nonblock_refused;
	u64 finish_inline;
	u64 walks;
	u64 snapshot_hits;
	u64 seq_waits;
	u64 seq_wait_ns;
	u64 ranges_made;
	u64 ranges_removed;
	u64 migrations;
	u64 migrations_failed;
	u64 moves_back;
	u64 refused_resident;
	u64 refused_pinned;
	u64 refused_backoff;
	u64 pins;
	u64 prefetches;
	u64 attr_conflicts;
	u64 attr_widened;
};

/* Spans that were unmapped, and whose attributes are still to be dropped. */
#define GPUSVM_MGR_NOTES	16

/* Device memories that attributes can name. */
#define GPUSVM_MGR_LOCATIONS	64

/**
 * struct gpusvm_mgr_note - A span that was unmapped
 * @start: First address.
 * @last: Last address, inclusive.
 */
struct gpusvm_mgr_note {
	unsigned long start;
	unsigned long last;
};

/**
 * struct gpusvm_mgr_hints - What was said of a process's memory
 * @attrs: The attributes. Read under RCU, changed with @lock held.
 * @notes: Spans whose attributes are to be dropped. Protected by @note_lock
 * @nr_notes: Number of these. Likewise
 * @pending: There are some, or some are being dropped. Written under @note_lock
 * @locations: What &gpusvm_mgr_placement.location means, from
 *	%GPUSVM_MGR_LOCATION_DEVICE on; with a reference. Changed with @lock and
 *	@note_lock held
 */
struct gpusvm_mgr_hints {
	/** @lock: One change at a time, effects included */
	struct mutex lock;
	/** @note_lock: A leaf, taken in the start pass */
	spinlock_t note_lock;
	struct gpusvm_mgr_attrs attrs;
	struct gpusvm_mgr_note notes[GPUSVM_MGR_NOTES];
	unsigned int nr_notes;
	bool pending;
	struct drm_pagemap *locations[GPUSVM_MGR_LOCATIONS];
};

/**
 * struct gpusvm_mgr_hint - What holds for one instance at one address
 * @placement: Where the data should be.
 * @access: What the instance may do; @access.mode is never the default.
 * @eager: Slots of the instances to be mapped along.
 * @start: First address of the interval for which all of this holds.
 * @last: Its last address, inclusive.
 */
struct gpusvm_mgr_hint {
	struct gpusvm_mgr_placement placement;
	struct gpusvm_mgr_access access;
	u64 eager;
	unsigned long start;
	unsigned long last;
};

/**
 * struct gpusvm_mgr_want - What a mapping shall be good for
 * @page: Number of the page in the range that counts.
 * @write: It is to be written.
 * @atomic: By an atomic operation.
 * @read_only: An attribute forbids to write.
 * @no_atomics: An attribute wants atomic operations to fault.
 * @generation: Of the instance, when attributes and mirror map were looked at.
 */
struct gpusvm_mgr_want {
	unsigned long page;
	bool write;
	bool atomic;
	bool read_only;
	bool no_atomics;
	u64 generation;
};

#define gpusvm_mgr_count(mgr, counter) \
	gpusvm_mgr_add(mgr, counter, 1)
#define gpusvm_mgr_add(mgr, counter, value) \
	this_cpu_add(*(&(mgr)->counters->counter), (value))

/**
 * struct drm_gpusvm_mgr - The address space of a process, shared by devices
 *
 * Lock order, outermost first: @attach_lock, @hints.lock, @gc_lock, range's
 * fault_mutex, mmap_lock (read), [reclaim], instance lock, leaves (range's lock,
 * @hints.note_lock, those of the maple trees). See DOC: Locking.
 */
struct drm_gpusvm_mgr {
	/** @ref: One per attached instance, and those of lookups */
	struct kref ref;
	/** @mm: The process's mm, pinned by mmgrab(). Immutable */
	struct mm_struct *mm;
	/** @hash: In the registry. Protected by the registry lock */
	struct hlist_node hash;
	/** @id: For debugfs and traces. Immutable */
	unsigned int id;
	/** @notifier: Registered while instances are attached */
	struct mmu_interval_notifier notifier;
	/** @tree: The ranges */
	struct gpusvm_mgr_tree tree;
	/** @chunks: The sizes of ranges. Immutable while instances are attached */
	const struct gpusvm_mgr_chunks *chunks;
	/** @exiting: The process gave its memory up. Goes from false to true once */
	bool exiting;
	/** @attach_lock: Serialises attach and detach */
	struct mutex attach_lock;
	/** @slots_used: Slots that are taken. Protected by @attach_lock */
	DECLARE_BITMAP(slots_used, GPUSVM_MGR_SLOTS);
	/** @slots: The instances. Read under SRCU, written with @attach_lock held */
	struct drm_gpusvm_instance __rcu *slots[GPUSVM_MGR_SLOTS];
	/** @eager: Slots of the eager instances. Written with @attach_lock held */
	unsigned long eager;
	/** @hints: The attributes */
	struct gpusvm_mgr_hints hints;
	/** @gc_list: Dead ranges that nobody removes yet */
	struct llist_head gc_list;
	/** @gc_lock: Serialises removals, so that one can wait for another's */
	struct mutex gc_lock;
	/** @gc_work: Removes what no fault removes */
	struct work_struct gc_work;
	/** @finishes: Pool of finish objects */
	struct gpusvm_mgr_finish finishes[GPUSVM_MGR_FINISHES];
	/** @finishes_used: A bit per object in use, atomic */
	unsigned long finishes_used;
	/** @counters: Per CPU */
	struct gpusvm_mgr_counters __percpu *counters;
	/** @debugfs: The file of this manager */
	struct dentry *debugfs;
};

/**
 * struct drm_gpusvm_snapshot - What the CPU's page tables said, once
 *
 * Immutable once published.
 */
struct drm_gpusvm_snapshot {
	/** @ref: The range, and each mapping made from it, hold one */
	refcount_t ref;
	/** @seq: Sequence that it is good for */
	unsigned long seq;
	/** @owner: Whose device-private pages it may hold, NULL: none */
	void *owner;
	/** @nr_pages: Pages that it covers, those of the range */
	unsigned int nr_pages;
	/** @nr_runs: Number of @runs */
	unsigned int nr_runs;
	/** @all_write: All of it may be written */
	bool all_write;
	/** @all_device: All of it is in the memory of devices of @owner */
	bool all_device;
	/** @runs: HMM pfns; the order of each is the size of the run */
	unsigned long runs[] __counted_by(nr_runs);
};

/* gpusvm_mgr.c */
struct drm_gpusvm_mgr *gpusvm_mgr_get(struct mm_struct *mm);
void gpusvm_mgr_put(struct drm_gpusvm_mgr *mgr);

/**
 * gpusvm_mgr_instance_slot() - The instance in a slot
 * @mgr: The manager.
 * @slot: The slot.
 *
 * The caller holds the SRCU read lock from reading the present mask until it
 * is done with the instance.
 *
 * Return: the instance; NULL where it was detached meanwhile, then nothing of
 * it is mapped any more.
 */
static inline struct drm_gpusvm_instance *
gpusvm_mgr_instance_slot(struct drm_gpusvm_mgr *mgr, unsigned int slot)
{
	return srcu_dereference(mgr->slots[slot], &gpusvm_mgr_srcu);
}

/**
 * gpusvm_mgr_instance_enter() - Begin a call that may make mappings
 * @instance: The instance, attached, or just found in its slot.
 *
 * Detach waits for the end of such calls.
 *
 * Return: false where the instance is being detached.
 */
static inline bool gpusvm_mgr_instance_enter(struct drm_gpusvm_instance *instance)
{
	return refcount_inc_not_zero(&instance->active);
}

/**
 * gpusvm_mgr_instance_exit() - End a call that may make mappings
 * @instance: The instance; it may be gone when this returns.
 */
static inline void gpusvm_mgr_instance_exit(struct drm_gpusvm_instance *instance)
{
	if (refcount_dec_and_test(&instance->active))
		complete(&instance->idle);
}

/* gpusvm_mgr_fenced.c */
void gpusvm_mgr_fenced_stop(struct drm_gpusvm_instance *instance);
void gpusvm_mgr_fenced_go(struct drm_gpusvm_instance *instance);
void gpusvm_mgr_fenced_pause(struct drm_gpusvm_instance *instance);
void gpusvm_mgr_fenced_resume(struct drm_gpusvm_instance *instance);

static inline bool gpusvm_mgr_is_fenced(const struct drm_gpusvm_instance *instance)
{
	return instance->flags & DRM_GPUSVM_INSTANCE_FENCED;
}

/* gpusvm_mgr_notifier.c */
extern const struct mmu_interval_notifier_ops gpusvm_mgr_notifier_ops;

/* gpusvm_mgr_gc.c */
void gpusvm_mgr_range_put(struct drm_gpusvm_mgr_range *range);
bool gpusvm_mgr_range_mark_dead(struct drm_gpusvm_mgr_range *range);
void gpusvm_mgr_range_bury(struct drm_gpusvm_mgr_range *range);
bool gpusvm_mgr_range_kill(struct drm_gpusvm_mgr_range *range);
void gpusvm_mgr_gc_run(struct drm_gpusvm_mgr *mgr);
void gpusvm_mgr_gc_work(struct work_struct *work);
void gpusvm_mgr_gc_all(struct drm_gpusvm_mgr *mgr);

/* gpusvm_mgr_snapshot.c */
bool gpusvm_mgr_snapshot_permits(const struct drm_gpusvm_snapshot *snapshot,
				 unsigned long page, bool write);
unsigned long gpusvm_mgr_snapshot_writable(const struct drm_gpusvm_snapshot *snapshot,
					   unsigned long page);
bool gpusvm_mgr_snapshot_usable(struct drm_gpusvm_mgr_range *range,
				const struct drm_gpusvm_instance *instance,
				unsigned long page, bool write);
int gpusvm_mgr_snapshot_walk(struct drm_gpusvm_mgr_range *range, void *owner,
			     bool write, unsigned long *deadline);
void gpusvm_mgr_snapshot_shift(unsigned long *pfns, unsigned long start,
			       unsigned long nr_pages);
unsigned int gpusvm_mgr_snapshot_compress(unsigned long *pfns, unsigned long nr_pages);
void gpusvm_mgr_snapshot_put(struct drm_gpusvm_snapshot *snapshot);

/* gpusvm_mgr_mapping.c */
struct drm_gpusvm_mapping *
gpusvm_mgr_mapping_find(struct drm_gpusvm_mgr_range *range,
			const struct drm_gpusvm_instance *instance);
int gpusvm_mgr_mapping_fill(struct drm_gpusvm_instance *instance,
			    struct drm_gpusvm_mgr_range *range,
			    const struct gpusvm_mgr_want *want);
bool gpusvm_mgr_mapping_ready(struct drm_gpusvm_instance *instance,
			      struct drm_gpusvm_mgr_range *range,
			      const struct gpusvm_mgr_want *want);
void gpusvm_mgr_mapping_revoke(struct drm_gpusvm_instance *instance,
			       struct drm_gpusvm_mgr_range *range);
struct drm_gpusvm_mapping *
gpusvm_mgr_mapping_unlink(struct drm_gpusvm_mgr_range *range,
			  const struct drm_gpusvm_instance *instance);
void gpusvm_mgr_mapping_free_later(struct drm_gpusvm_mapping *mapping);
u64 gpusvm_mgr_mapping_zap_span(struct drm_gpusvm_instance *instance,
				unsigned long start, unsigned long last);
void gpusvm_mgr_mapping_unmap_span(struct drm_gpusvm_instance *instance,
				   unsigned long start, unsigned long last);
u64 gpusvm_mgr_mapping_zap_some(struct drm_gpusvm_instance *instance,
				unsigned long start, unsigned long last,
				bool (*which)(struct drm_gpusvm_instance *instance,
					      struct drm_gpusvm_mgr_range *range,
					      const void *data),
				const void *data);
void gpusvm_mgr_mapping_tidy(struct drm_gpusvm_instance *instance,
			     unsigned long start, unsigned long last);
u64 gpusvm_mgr_mapping_zap_range(struct drm_gpusvm_instance *instance,
				 struct drm_gpusvm_mgr_range *range);
void gpusvm_mgr_mapping_unmap_range(struct drm_gpusvm_instance *instance,
				    struct drm_gpusvm_mgr_range *range);
void gpusvm_mgr_assert_may_wait(const struct drm_gpusvm_instance *instance);
void gpusvm_mgr_flush_wait(struct drm_gpusvm_instance *instance, u64 generation);

/* gpusvm_mgr_migrate.c */
bool gpusvm_mgr_migrate(struct drm_gpusvm_instance *instance,
			struct drm_gpusvm_mgr_range *range,
			const struct gpusvm_mgr_placement *placement,
			struct drm_pagemap *dpagemap, unsigned long *deadline);
int gpusvm_mgr_migrate_to(struct drm_gpusvm_instance *instance,
			  struct drm_gpusvm_mgr_range *range,
			  struct drm_pagemap *dpagemap, unsigned long *deadline);
bool gpusvm_mgr_migrate_is_at(struct drm_gpusvm_mgr_range *range,
			      const struct drm_pagemap *dpagemap);
unsigned long gpusvm_mgr_migrate_arrived(struct drm_gpusvm_mgr_range *range,
					 const struct drm_pagemap *dpagemap,
					 unsigned long start, unsigned long end);
void gpusvm_mgr_migrate_observe(struct drm_gpusvm_instance *instance,
				struct drm_gpusvm_mgr_range *range);

/* gpusvm_mgr_hint.c */
int gpusvm_mgr_hints_init(struct drm_gpusvm_mgr *mgr);
void gpusvm_mgr_hints_fini(struct drm_gpusvm_mgr *mgr);
void gpusvm_mgr_hints_note(struct drm_gpusvm_mgr *mgr, unsigned long start,
			   unsigned long last);
int gpusvm_mgr_hints_settle(struct drm_gpusvm_mgr *mgr);
void gpusvm_mgr_hints_look(struct drm_gpusvm_instance *instance, unsigned long va,
			   struct gpusvm_mgr_hint *hint);
struct drm_pagemap *gpusvm_mgr_hints_target(struct drm_gpusvm_instance *instance,
					    const struct gpusvm_mgr_hint *hint);
bool gpusvm_mgr_span_mapped(struct mm_struct *mm, unsigned long start,
			    unsigned long last);
int gpusvm_mgr_location_number(struct drm_gpusvm_mgr *mgr, struct drm_pagemap *dpagemap);
struct drm_pagemap *gpusvm_mgr_location_get(struct drm_gpusvm_mgr *mgr,
					    unsigned int number);
int gpusvm_mgr_hints_change(struct drm_gpusvm_instance *instance, unsigned long start,
			    unsigned long last, const struct gpusvm_mgr_change *change,
			    bool holes, struct gpusvm_mgr_pieces *pieces);
void gpusvm_mgr_hints_forget(struct drm_gpusvm_mgr *mgr, unsigned int slot);
void gpusvm_mgr_hints_forget_all(struct drm_gpusvm_mgr *mgr);

/* gpusvm_mgr_fault.c */
struct gpusvm_mgr_attempt;

/**
 * struct gpusvm_mgr_trip - A span whose data is to be moved
 * @start: First address.
 * @end: End address, exclusive.
 * @limit: Largest size of a range that is made for it.
 * @dpagemap: Where to, NULL: to system memory.
 * @map: Map it on the instance, too.
 * @wait: Wait for those who are at a range, however long; else until @deadline.
 * @deadline: In jiffies.
 * @ahead: Somebody comes after, who does it all. Ends with the first range that others
 *	are at, of which nothing comes, or that wants a walk: nothing that user space
 *	could keep from ending is waited for.
 * @stop: Set by another thread to end it before the next range.
 */
struct gpusvm_mgr_trip {
	unsigned long start;
	unsigned long end;
	unsigned long limit;
	struct drm_pagemap *dpagemap;
	bool map;
	bool wait;
	unsigned long deadline;
	bool ahead;
	bool stop;
};

int gpusvm_mgr_fault_prefetch(struct drm_gpusvm_instance *instance,
			      struct drm_gpusvm_fault *fault,
			      const struct gpusvm_mgr_trip *trip,
			      unsigned long *end, unsigned long *arrived);
void gpusvm_mgr_fault_eager(struct drm_gpusvm_instance *instance,
			    struct drm_gpusvm_mgr_range *range);

/* gpusvm_mgr_validate.c */
int gpusvm_mgr_validate_quiet(struct drm_gpusvm_mgr *mgr);

/* gpusvm_mgr_debugfs.c */
void gpusvm_mgr_debugfs_add(struct drm_gpusvm_mgr *mgr);
void gpusvm_mgr_debugfs_remove(struct drm_gpusvm_mgr *mgr);
void gpusvm_mgr_debugfs_init(void);
void gpusvm_mgr_debugfs_exit(void);
#if IS_ENABLED(CONFIG_FAULT_INJECTION)
bool gpusvm_mgr_map_fails(void);
#else
static inline bool gpusvm_mgr_map_fails(void)
{
	return false;
}
#endif

#endif /* __GPUSVM_MGR_INTERNAL_H__ */
