/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __DRM_GPUSVM_MGR_H__
#define __DRM_GPUSVM_MGR_H__

#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/types.h>
#include <linux/wait.h>

#include <drm/drm_gpusvm.h>
#include <drm/drm_pagemap.h>

struct drm_device;
struct drm_gpusvm_instance;
struct drm_gpusvm_mapping;
struct drm_gpusvm_mgr;
struct drm_gpusvm_mgr_range;
struct drm_gpusvm_snapshot;
struct drm_gpuvm;
struct gpusvm_mgr_mirror;
struct gpusvm_mgr_mirror_span;

/** DRM_GPUSVM_MGR_MAX_INSTANCES - Most instances of one manager */
#define DRM_GPUSVM_MGR_MAX_INSTANCES	64

/**
 * enum drm_gpusvm_access - What a device wants to do with memory
 * @DRM_GPUSVM_ACCESS_READ: Read.
 * @DRM_GPUSVM_ACCESS_WRITE: Write.
 * @DRM_GPUSVM_ACCESS_ATOMIC: Read, change and write in one step.
 */
enum drm_gpusvm_access {
	DRM_GPUSVM_ACCESS_READ,
	DRM_GPUSVM_ACCESS_WRITE,
	DRM_GPUSVM_ACCESS_ATOMIC,
};

/**
 * struct drm_gpusvm_fault - One fault of a device
 * @addr: Virtual address of the device, any alignment.
 * @access: What the device tried.
 * @err: Out: 0, or the error as drm_gpusvm_mgr_fault() returns it.
 * @limit: Largest range wanted, bytes; 0: no limit. Used by the steps, which
 *	lower it where a larger range failed; drm_gpusvm_mgr_fault_batch() sets
 *	it itself.
 * @va: The library's: what is seen at @addr, an address of the process.
 * @generation: The library's: when that was looked up.
 */
struct drm_gpusvm_fault {
	unsigned long addr;
	enum drm_gpusvm_access access;
	int err;
	unsigned long limit;
	unsigned long va;
	u64 generation;
};

/**
 * enum drm_gpusvm_attr_type - What can be said of memory
 *
 * The first four are about where data lives. They belong to the process: what
 * was said last holds, whichever instance it was said through. The others are
 * about what the device of one instance may do.
 *
 * @DRM_GPUSVM_ATTR_LOCATION: Where data should be, an &enum drm_gpusvm_location.
 * @DRM_GPUSVM_ATTR_MIGRATION: What may be moved, an &enum drm_gpusvm_migration.
 * @DRM_GPUSVM_ATTR_GRANULARITY: How much moves at a time at most, log2 of pages;
 *	%DRM_GPUSVM_GRANULARITY_DEFAULT: as the library likes.
 * @DRM_GPUSVM_ATTR_RESIDENCE: How long data stays on a device before another one
 *	may have it, milliseconds; %DRM_GPUSVM_RESIDENCE_DEFAULT: as the library
 *	likes.
 * @DRM_GPUSVM_ATTR_ACCESS: An &enum drm_gpusvm_mode.
 * @DRM_GPUSVM_ATTR_READ_ONLY: 1: the device may not write; 0.
 * @DRM_GPUSVM_ATTR_ATOMICS: An &enum drm_gpusvm_atomics.
 * @DRM_GPUSVM_ATTR_TYPES: Number of these.
 */
enum drm_gpusvm_attr_type {
	DRM_GPUSVM_ATTR_LOCATION,
	DRM_GPUSVM_ATTR_MIGRATION,
	DRM_GPUSVM_ATTR_GRANULARITY,
	DRM_GPUSVM_ATTR_RESIDENCE,
	DRM_GPUSVM_ATTR_ACCESS,
	DRM_GPUSVM_ATTR_READ_ONLY,
	DRM_GPUSVM_ATTR_ATOMICS,
	DRM_GPUSVM_ATTR_TYPES,
};

/**
 * enum drm_gpusvm_location - Where data should be
 * @DRM_GPUSVM_LOCATION_DEFAULT: Where it is used: an instance that was attached
 *	with device memory wants it there.
 * @DRM_GPUSVM_LOCATION_SYSTEM: In system memory; no fault moves it from there.
 * @DRM_GPUSVM_LOCATION_DEVICE: In the memory of one device, whoever faults, as
 *	long as it can be reached from there.
 */
enum drm_gpusvm_location {
	DRM_GPUSVM_LOCATION_DEFAULT,
	DRM_GPUSVM_LOCATION_SYSTEM,
	DRM_GPUSVM_LOCATION_DEVICE,
};

/**
 * enum drm_gpusvm_migration - What faults may move
 * @DRM_GPUSVM_MIGRATION_ALL: Anything.
 * @DRM_GPUSVM_MIGRATION_NEVER: Nothing, also not for %DRM_GPUSVM_ATOMICS_DEVICE.
 * @DRM_GPUSVM_MIGRATION_SYSTEM: What is in system memory, but nothing from one
 *	device to another.
 */
enum drm_gpusvm_migration {
	DRM_GPUSVM_MIGRATION_ALL,
	DRM_GPUSVM_MIGRATION_NEVER,
	DRM_GPUSVM_MIGRATION_SYSTEM,
};

/**
 * enum drm_gpusvm_mode - How an instance comes to memory
 * @DRM_GPUSVM_MODE_DEFAULT: As it was attached: on demand, or eagerly with
 *	%DRM_GPUSVM_INSTANCE_EAGER. Only to be set, never got.
 * @DRM_GPUSVM_MODE_ON_DEMAND: By faults.
 * @DRM_GPUSVM_MODE_NONE: Not at all, a fault fails with -EACCES.
 * @DRM_GPUSVM_MODE_EAGER: What another instance faults in is mapped, too.
 * @DRM_GPUSVM_MODE_IN_PLACE: By faults, and nothing is moved on its behalf.
 */
enum drm_gpusvm_mode {
	DRM_GPUSVM_MODE_DEFAULT,
	DRM_GPUSVM_MODE_ON_DEMAND,
	DRM_GPUSVM_MODE_NONE,
	DRM_GPUSVM_MODE_EAGER,
	DRM_GPUSVM_MODE_IN_PLACE,
};

/**
 * enum drm_gpusvm_atomics - What atomic operations of the device are possible
 * @DRM_GPUSVM_ATOMICS_UNDEFINED: As %DRM_GPUSVM_ATOMICS_GLOBAL, without a
 *	promise.
 * @DRM_GPUSVM_ATOMICS_DEVICE: With respect to this device only: the data is
 *	moved into its memory, and taken from all others, before the operation;
 *	where it cannot be moved, or must not be (%DRM_GPUSVM_MIGRATION_NEVER,
 *	%DRM_GPUSVM_MODE_IN_PLACE), the fault fails with -EACCES.
 * @DRM_GPUSVM_ATOMICS_GLOBAL: With respect to everybody: the device has a
 *	coherent path to where the data is.
 * @DRM_GPUSVM_ATOMICS_CPU: The CPU's only: the fault fails with -EACCES.
 */
enum drm_gpusvm_atomics {
	DRM_GPUSVM_ATOMICS_UNDEFINED,
	DRM_GPUSVM_ATOMICS_DEVICE,
	DRM_GPUSVM_ATOMICS_GLOBAL,
	DRM_GPUSVM_ATOMICS_CPU,
};

/** DRM_GPUSVM_GRANULARITY_DEFAULT - No wish as to what moves at a time */
#define DRM_GPUSVM_GRANULARITY_DEFAULT	0xff
/** DRM_GPUSVM_RESIDENCE_DEFAULT - No wish as to how long data stays */
#define DRM_GPUSVM_RESIDENCE_DEFAULT	U32_MAX

/**
 * struct drm_gpusvm_attr - One attribute and its value
 * @type: Which.
 * @value: The value.
 * @dpagemap: The device memory, for %DRM_GPUSVM_LOCATION_DEVICE; else NULL. The
 *	library takes a reference of its own where it keeps it, and gives one to
 *	who gets it.
 * @mixed: Got only: parts of the span differ, @value is of no meaning.
 */
struct drm_gpusvm_attr {
	enum drm_gpusvm_attr_type type;
	u32 value;
	struct drm_pagemap *dpagemap;
	bool mixed;
};

/**
 * struct drm_gpusvm_instance_ops - What a driver does for the manager
 *
 * The callbacks run in the order in which a mapping lives: @mapping_alloc,
 * then any number of times @prepare, @map, @zap (followed by one @flush for
 * all that was zapped in the same critical section), @unmapped; and at last
 * @mapping_free.
 */
struct drm_gpusvm_instance_ops {
	/**
	 * @mapping_alloc: Allocate a mapping (optional)
	 *
	 * A driver that subclasses &struct drm_gpusvm_mapping returns the base
	 * of a zeroed object of its own. Called from the fault path, may sleep
	 * and allocate.
	 *
	 * Return: the mapping, NULL where there is no memory.
	 */
	struct drm_gpusvm_mapping *(*mapping_alloc)(struct drm_gpusvm_instance *instance);

	/**
	 * @mapping_free: Free what @mapping_alloc allocated (optional)
	 *
	 * Called from an SRCU callback, must not sleep. Not called any more
	 * once drm_gpusvm_instance_detach() has returned.
	 */
	void (*mapping_free)(struct drm_gpusvm_mapping *mapping);

	/**
	 * @prepare: Allocate the page tables that a mapping needs (optional)
	 *
	 * Called from the fault path before @map, without the instance lock,
	 * so that @map need not allocate; once for each interval of the device's
	 * addresses at which the range is seen, @start to @end (exclusive). May
	 * sleep and allocate. Calls for different ranges of one instance run in
	 * parallel.
	 *
	 * Return: 0, or a negative errno that ends the fault.
	 */
	int (*prepare)(struct drm_gpusvm_instance *instance,
		       unsigned long start, unsigned long end);

	/**
	 * @map: Write the PTEs of a mapping (required)
	 *
	 * Where what is written is said by drm_gpusvm_mapping_for_each_run():
	 * a part of the mapping may be seen at several addresses of the device,
	 * or at none. The instance lock is held for
	 * read: calls for different mappings of one instance run in parallel;
	 * must neither allocate with reclaim nor take a lock under which
	 * somebody does. There was no PTE of this mapping before. The PTEs are
	 * visible to the device before the call returns.
	 *
	 * Return: 0, or a negative errno that ends the fault; what was written
	 * until then is zapped and flushed as usual.
	 */
	int (*map)(struct drm_gpusvm_mapping *mapping);

	/**
	 * @zap: Clear all PTEs of a mapping (required)
	 *
	 * Those that @map wrote, at the same places: they are given by
	 * drm_gpusvm_mapping_for_each_view(). The instance lock is held for
	 * write. Must neither fail, nor allocate, nor wait for the device. TLB
	 * entries may live on until the @flush that follows in the same
	 * critical section.
	 */
	void (*zap)(struct drm_gpusvm_mapping *mapping);

	/**
	 * @flush: Start a TLB flush (required)
	 *
	 * Starts to drop all TLB entries of the instance from @start to @end
	 * (exclusive) and returns without waiting. The instance lock is held
	 * for write. When no access through an old entry is possible any more,
	 * the driver calls drm_gpusvm_instance_flush_done() with @generation.
	 * Flushes of one instance complete in the order of their start. The
	 * completion must never run on a thread that can wait for a fault, a
	 * lock under which memory is allocated, or memory; a device that is
	 * reset or gone completes all its flushes.
	 */
	void (*flush)(struct drm_gpusvm_instance *instance,
		      unsigned long start, unsigned long end, u64 generation);

	/**
	 * @quiesce: Wait for all jobs (with %DRM_GPUSVM_INSTANCE_FENCED)
	 *
	 * Returns when no job is at work that was submitted before. None will be
	 * until PTEs were zapped: drm_gpusvm_instance_submit_begin() waits. Called
	 * from invalidations, without the instance lock: waits for dma_fences, and
	 * for nothing that they may not wait for.
	 */
	void (*quiesce)(struct drm_gpusvm_instance *instance);

	/**
	 * @unmapped: The DMA mapping of a mapping is about to go (optional)
	 *
	 * Called with the instance lock held for write when the flush has
	 * completed, just before the addresses in @mapping->pages are
	 * unmapped. From here on the device must not use them. For devices
	 * that police themselves.
	 */
	void (*unmapped)(struct drm_gpusvm_mapping *mapping);
};

/** DRM_GPUSVM_INSTANCE_EAGER - Map what another instance faults in, too */
#define DRM_GPUSVM_INSTANCE_EAGER	BIT(0)
/**
 * DRM_GPUSVM_INSTANCE_EMPTY - Nothing of the process is seen to begin with
 *
 * Else all of it is, at the same addresses. See drm_gpusvm_instance_mirror().
 */
#define DRM_GPUSVM_INSTANCE_EMPTY	BIT(1)
/**
 * DRM_GPUSVM_INSTANCE_FENCED - Jobs do not fault, and complete dma_fences
 *
 * For user pointers: what is mirrored stays mapped while jobs are at work. See
 * DOC: Jobs that do not fault.
 */
#define DRM_GPUSVM_INSTANCE_FENCED	BIT(2)

/**
 * struct drm_gpusvm_instance_params - How to attach an instance
 * @drm: The device; its DMA mask is set already.
 * @gpuvm: The VM's VA space, or NULL. Kept for the driver, not used.
 * @owner: Owner of the device-private pages that the device can use, or NULL.
 * @dpagemap: Device memory that shall hold what the device faults on, of @owner;
 *	NULL: data stays where it is. A reference is taken.
 * @ops: The driver's callbacks.
 * @name: For debugfs and traces, a string that outlives the instance.
 * @flags: DRM_GPUSVM_INSTANCE_*
 */
struct drm_gpusvm_instance_params {
	struct drm_device *drm;
	struct drm_gpuvm *gpuvm;
	void *owner;
	struct drm_pagemap *dpagemap;
	const struct drm_gpusvm_instance_ops *ops;
	const char *name;
	unsigned int flags;
};

/**
 * struct drm_gpusvm_instance_stats - Counters of an instance
 * @faults: Faults that were served, failed ones included.
 * @retries: Times that a fault looked again, for whatever reason.
 * @walks: Snapshots built by a fault of this instance, an HMM walk each.
 * @snapshot_hits: Mappings made from a snapshot that was there.
 * @maps: Mappings made.
 * @unmaps: Mappings taken away.
 * @eager_maps: Mappings made because another instance faulted.
 * @upgrades: Read-only mappings replaced for a write.
 * @invalidations: Invalidations that met mappings of this instance.
 * @flushes: TLB flushes started.
 * @flush_waits: Waits for a flush.
 * @dma_bytes: Bytes mapped now, device memory included.
 * @migrations: Ranges moved into the device's memory for its faults, in part at
 *	least.
 * @migrations_failed: Moves that the arbiter let happen and that failed.
 * @migrations_resident: Moves refused because the data had come to another
 *	device just before.
 * @migrations_pinned: Moves refused because the data was moved too often.
 * @migrations_backed_off: Moves refused because one had failed just before.
 * @pins: Times that a range was pinned for bouncing when this instance had it
 *	moved, or found it moved.
 * @migrations_shared: Moves not needed because the data was there.
 */
struct drm_gpusvm_instance_stats {
	atomic64_t faults;
	atomic64_t retries;
	atomic64_t walks;
	atomic64_t snapshot_hits;
	atomic64_t maps;
	atomic64_t unmaps;
	atomic64_t eager_maps;
	atomic64_t upgrades;
	atomic64_t invalidations;
	atomic64_t flushes;
	atomic64_t flush_waits;
	atomic64_t dma_bytes;
	atomic64_t migrations;
	atomic64_t migrations_failed;
	atomic64_t migrations_resident;
	atomic64_t migrations_pinned;
	atomic64_t migrations_backed_off;
	atomic64_t pins;
	atomic64_t migrations_shared;
};

/**
 * struct drm_gpusvm_instance - One VM of one device on a manager
 *
 * Embedded in the driver's VM. All members are the library's; the driver may
 * read those that say so.
 */
struct drm_gpusvm_instance {
	/** @svm: Pages-only SVM, its notifier lock is the instance lock */
	struct drm_gpusvm svm;
	/** @mgr: The manager. Immutable while attached. Drivers may read it */
	struct drm_gpusvm_mgr *mgr;
	/** @drm: The device. Immutable while attached. Drivers may read it */
	struct drm_device *drm;
	/** @gpuvm: The driver's VA space or NULL. Immutable while attached */
	struct drm_gpuvm *gpuvm;
	/** @owner: Owner of device-private pages. Immutable while attached */
	void *owner;
	/** @dpagemap: Where data is wanted, or NULL. Immutable while attached */
	struct drm_pagemap *dpagemap;
	/** @ops: The driver's callbacks. Immutable while attached */
	const struct drm_gpusvm_instance_ops *ops;
	/** @name: For debugfs and traces. Immutable while attached */
	const char *name;
	/** @flags: DRM_GPUSVM_INSTANCE_*. Immutable while attached */
	unsigned int flags;
	/** @slot: Number in the present masks. Immutable while attached */
	unsigned int slot;
	/**
	 * @dead: No mapping may be made any more. Written with the instance
	 * lock held for write
	 */
	bool dead;
	/**
	 * @mirror: What is seen where. The map is read with the instance lock
	 * held, and changed with it held for write
	 */
	struct gpusvm_mgr_mirror *mirror;
	/**
	 * @generation: Of the attributes and of @mirror, grows when they change.
	 * Written with the instance lock held for write
	 */
	u64 generation;
	/**
	 * @stale: Something that jobs need is not mapped. For fenced instances.
	 * Written with the instance lock held for write
	 */
	bool stale;
	/**
	 * @stops: Those who are about to zap; no job is submitted meanwhile. For
	 * fenced instances. Written with the instance lock held for write
	 */
	unsigned int stops;
	/** @active: Library calls under way on this instance, biased by one */
	refcount_t active;
	/** @idle: Completed when @active drops to zero */
	struct completion idle;
	/**
	 * @flush_started: Generation of the last flush that was started.
	 * Written with the instance lock held for write
	 */
	u64 flush_started;
	/** @flush_done: Generation of the last flush that completed */
	atomic64_t flush_done;
	/** @flush_wait: Those who wait for @flush_done, or for @stops */
	wait_queue_head_t flush_wait;
	/** @stats: Counters. Drivers may read them */
	struct drm_gpusvm_instance_stats stats;
};

/**
 * struct drm_gpusvm_mapping - A range as one instance sees it
 *
 * May be subclassed by the driver (base first or not, as it likes), see
 * &drm_gpusvm_instance_ops.mapping_alloc.
 */
struct drm_gpusvm_mapping {
	/**
	 * @pages: Device addresses in runs. Written with the instance lock
	 * held: for read together with the range's fault mutex, or for write
	 */
	struct drm_gpusvm_pages pages;
	/** @instance: Whose mapping. Immutable */
	struct drm_gpusvm_instance *instance;
	/** @start: First address. Immutable */
	unsigned long start;
	/** @end: End address, exclusive. Immutable */
	unsigned long end;
	/** @snapshot: What @pages were mapped from. Protected like @pages */
	struct drm_gpusvm_snapshot *snapshot;
	/**
	 * @capacity: Entries that @pages.dma_addr has room for. Protected by
	 * the range's fault mutex
	 */
	unsigned int capacity;
	/** @nr_runs: Runs in @pages.dma_addr. Protected like @pages */
	unsigned int nr_runs;
	/** @ptes: PTEs may be in place. Protected like @pages */
	bool ptes;
	/** @read_only: Mapped so, because of an attribute. Protected like @pages */
	bool read_only;
	/** @no_atomics: Likewise: atomic operations have to fault */
	bool no_atomics;
	/** @node: In the range's list, walked under SRCU */
	struct hlist_node node;
	/** @rcu: For the freeing */
	struct rcu_head rcu;
};

/**
 * struct drm_gpusvm_view - An interval of a device's addresses that shows a mapping
 * @start: First address of the device.
 * @end: End address, exclusive.
 * @va: What is seen at @start, an address of the process.
 * @span: The library's.
 */
struct drm_gpusvm_view {
	unsigned long start;
	unsigned long end;
	unsigned long va;
	struct gpusvm_mgr_mirror_span *span;
};

/**
 * struct drm_gpusvm_run - A piece of a view with consecutive addresses
 * @start: First virtual address of the device.
 * @size: Bytes.
 * @addr: What is there: an address that the device can use, for DMA or for memory
 *	of a device.
 * @proto: An &enum drm_interconnect_protocol, says what @addr is.
 * @write: The device may write.
 * @atomic: Atomic operations need not fault.
 * @view: The library's.
 * @index: The library's.
 * @next: The library's.
 */
struct drm_gpusvm_run {
	unsigned long start;
	unsigned long size;
	dma_addr_t addr;
	u64 proto;
	bool write;
	bool atomic;
	struct drm_gpusvm_view view;
	unsigned int index;
	unsigned long next;
};

bool drm_gpusvm_mapping_next_view(const struct drm_gpusvm_mapping *mapping,
				  struct drm_gpusvm_view *view);
bool drm_gpusvm_mapping_next_run(const struct drm_gpusvm_mapping *mapping,
				 struct drm_gpusvm_run *run);

/**
 * drm_gpusvm_mapping_for_each_view() - Walk the places where a mapping is seen
 * @mapping__: The mapping.
 * @view__: A &struct drm_gpusvm_view, the cursor.
 *
 * Only with the instance lock held, as it is in &drm_gpusvm_instance_ops.map and
 * &drm_gpusvm_instance_ops.zap.
 */
#define drm_gpusvm_mapping_for_each_view(mapping__, view__) \
	for (*(view__) = (struct drm_gpusvm_view){}; \
	     drm_gpusvm_mapping_next_view((mapping__), (view__));)

/**
 * drm_gpusvm_mapping_for_each_run() - Walk what is to be written into PTEs
 * @mapping__: The mapping.
 * @run__: A &struct drm_gpusvm_run, the cursor.
 *
 * View by view. Only in &drm_gpusvm_instance_ops.map.
 */
#define drm_gpusvm_mapping_for_each_run(mapping__, run__) \
	for (*(run__) = (struct drm_gpusvm_run){}; \
	     drm_gpusvm_mapping_next_run((mapping__), (run__));)

/**
 * struct drm_gpusvm_mgr_stats - Counters of a manager, summed over the CPUs
 * @invalidations: Invalidations of the process.
 * @invalidations_missed: Of these, those that met no range.
 * @nonblock_refused: Non-blockable invalidations that were refused.
 * @finish_inline: Invalidations that found no free finish object.
 * @walks: HMM walks.
 * @snapshot_hits: Mappings made without a walk.
 * @seq_waits: Waits for the end of an invalidation, in read_begin.
 * @seq_wait_ns: Time spent in them, nanoseconds.
 * @ranges_made: Ranges that were inserted.
 * @ranges_removed: Ranges that were removed.
 * @ranges: Ranges now.
 * @instances: Instances now.
 * @migrations: Moves of a range into device memory.
 * @migrations_failed: Those that the arbiter let happen and that failed.
 * @moves_back: Moves of a range to system memory that were noticed: for the CPU,
 *	by eviction, or for a device that cannot reach the memory.
 * @refused_resident: Moves refused because of the residence time.
 * @refused_pinned: Moves refused because of a pin.
 * @refused_backoff: Moves refused because one had failed just before.
 * @pins: Times that a range was pinned, for bouncing.
 * @prefetches: Ranges moved by drm_gpusvm_instance_prefetch(), or because a
 *	preferred location was set.
 * @attr_conflicts: Times that a preferred location of another instance was
 *	overwritten.
 * @attr_widened: Times that attributes were dropped too widely, see DOC: Advice.
 */
struct drm_gpusvm_mgr_stats {
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
	u64 ranges;
	u64 instances;
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

/** DRM_GPUSVM_MIRROR_ADD - The span is seen from now on; else it is taken out */
#define DRM_GPUSVM_MIRROR_ADD		BIT(0)
/** DRM_GPUSVM_MIRROR_READ_ONLY - The device may not write there: -EPERM */
#define DRM_GPUSVM_MIRROR_READ_ONLY	BIT(1)

/**
 * struct drm_gpusvm_mirror_change - A change of what an instance sees, and where
 * @start: First address of the device, aligned to PAGE_SIZE.
 * @size: Bytes, likewise.
 * @va: First address of the process, likewise; 0 where the span is taken out.
 * @flags: DRM_GPUSVM_MIRROR_*
 */
struct drm_gpusvm_mirror_change {
	u64 start;
	u64 size;
	unsigned long va;
	unsigned int flags;
};

/** DRM_GPUSVM_PREFETCH_MAP - Map what was moved on the instance, too */
#define DRM_GPUSVM_PREFETCH_MAP		BIT(0)

int drm_gpusvm_instance_attach(struct drm_gpusvm_instance *instance,
			       const struct drm_gpusvm_instance_params *params);
void drm_gpusvm_instance_kill(struct drm_gpusvm_instance *instance);
void drm_gpusvm_instance_detach(struct drm_gpusvm_instance *instance);
int drm_gpusvm_instance_check_current(const struct drm_gpusvm_instance *instance);
void drm_gpusvm_instance_flush_done(struct drm_gpusvm_instance *instance,
				    u64 generation);
bool drm_gpusvm_instance_exiting(const struct drm_gpusvm_instance *instance);

int drm_gpusvm_mgr_fault(struct drm_gpusvm_instance *instance,
			 struct drm_gpusvm_fault *fault);
int drm_gpusvm_mgr_fault_batch(struct drm_gpusvm_instance *instance,
			       struct drm_gpusvm_fault *faults,
			       unsigned int count);

struct drm_gpusvm_mgr_range *
drm_gpusvm_mgr_range_find_or_insert(struct drm_gpusvm_instance *instance,
				    struct drm_gpusvm_fault *fault);
void drm_gpusvm_mgr_range_put(struct drm_gpusvm_mgr_range *range);
int __must_check drm_gpusvm_mgr_range_lock(struct drm_gpusvm_mgr_range *range);
void drm_gpusvm_mgr_range_unlock(struct drm_gpusvm_mgr_range *range);
void drm_gpusvm_mgr_range_migrate(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range);
int drm_gpusvm_mgr_range_snapshot(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range,
				  struct drm_gpusvm_fault *fault);
int drm_gpusvm_mgr_range_map(struct drm_gpusvm_instance *instance,
			     struct drm_gpusvm_mgr_range *range,
			     const struct drm_gpusvm_fault *fault);

int drm_gpusvm_instance_change_mirror(struct drm_gpusvm_instance *instance,
				      const struct drm_gpusvm_mirror_change *changes,
				      unsigned int count);
int drm_gpusvm_instance_mirror(struct drm_gpusvm_instance *instance,
			       u64 start, u64 size, unsigned long va);
int drm_gpusvm_instance_unmirror(struct drm_gpusvm_instance *instance,
				 u64 start, u64 size);
bool drm_gpusvm_instance_sees(struct drm_gpusvm_instance *instance, u64 start, u64 size);

int __must_check drm_gpusvm_instance_submit_prepare(struct drm_gpusvm_instance *instance);
int __must_check drm_gpusvm_instance_submit_begin(struct drm_gpusvm_instance *instance);
void drm_gpusvm_instance_submit_end(struct drm_gpusvm_instance *instance);

int drm_gpusvm_instance_set_attrs(struct drm_gpusvm_instance *instance,
				  unsigned long start, unsigned long end,
				  const struct drm_gpusvm_attr *attrs,
				  unsigned int count);
int drm_gpusvm_instance_get_attrs(struct drm_gpusvm_instance *instance,
				  unsigned long start, unsigned long end,
				  struct drm_gpusvm_attr *attrs);
int drm_gpusvm_instance_next_attrs(struct drm_gpusvm_instance *instance,
				   unsigned long *start, unsigned long *end,
				   struct drm_gpusvm_attr *attrs);
void drm_gpusvm_attrs_put(struct drm_gpusvm_attr *attrs);
int drm_gpusvm_instance_reset_attrs(struct drm_gpusvm_instance *instance,
				    unsigned long start, unsigned long end);
int drm_gpusvm_instance_prefetch(struct drm_gpusvm_instance *instance,
				 unsigned long start, unsigned long end,
				 struct drm_pagemap *dpagemap, unsigned int flags,
				 u64 *missed);

void drm_gpusvm_mgr_read_stats(struct drm_gpusvm_mgr *mgr,
			       struct drm_gpusvm_mgr_stats *stats);
int drm_gpusvm_mgr_validate(struct drm_gpusvm_mgr *mgr);

#endif /* __DRM_GPUSVM_MGR_H__ */
