/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __VSVM_DRV_H__
#define __VSVM_DRV_H__

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/gpu_buddy.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gpusvm_mgr.h>
#include <drm/drm_pagemap.h>
#include <drm/drm_pagemap_util.h>
#include <drm/vsvm_drm.h>

#include "vsvm_bind.h"
#include "vsvm_gem.h"
#include "vsvm_pt.h"
#include "vsvm_sync.h"
#include "vsvm_tlb.h"

/*
 * Lock order, outermost first:
 *
 *	vm->teardown_lock > dev->vms_lock, vm->attach_lock
 *	vm->attach_lock > [locks of the SVM library, the instance lock last] >
 *	dev->flush.lock, vm->police.lock, vm->gate > tlb.lock
 *	vm->bind.submit_lock > [locks of the SVM library, but for the instance lock] >
 *	mmap lock
 *	vm->bind.submit_lock > vm->bind.lock > reservation objects > vram->lock
 *	vm->bind.lock > that of another VM, where its address is the higher one
 *	mmap lock > reservation objects > [instance lock] > vm->bind.queue_lock
 *	vm->bind.queue_lock, dev->gem.lock: leaves
 *	dev->lock, vm->errors_lock: leaves
 *	[mmap lock for read] > vram->lock > [reclaim]
 *	vram->lru_lock, copy->lock: leaves
 *	edu->check_lock > edu->lock: nothing but the engine is waited for under them
 *	vm->gate > edu->flights_lock: a leaf
 *
 * dev->lock and vm->gate are never held together. An engine holds no lock when
 * it leaves a job that has to wait for a fault.
 */

#define VSVM_MAX_DEVICES	16
#define VSVM_MAX_ENGINES	16
#define VSVM_MAX_VMS		256
#define VSVM_MAX_VRAM_MIB	65536
#define VSVM_MAX_ERRORS		256
/* Those of the ABI, and one for the fences of prefetches. */
#define VSVM_QUEUES		(DRM_VSVM_MAX_QUEUES + 1)
#define VSVM_QUEUE_PREFETCH	DRM_VSVM_MAX_QUEUES

/* Most bytes that an engine touches under one look at the TLB. */
#define VSVM_ACCESS_MAX		4096
/* Most repetitions of an atomic under one look at the TLB. */
#define VSVM_ATOMIC_MAX		256
/* Steps of a job before an engine looks whether another one is waiting. */
#define VSVM_SLICE		1024
/* Faults on one access, in a row, before the job is given up. */
#define VSVM_MAX_REPLAYS	100000
/* Of these, those that could not be served in time; each takes a second. */
#define VSVM_MAX_BUSY		30

#define VSVM_FAULT_RING		64
#define VSVM_FAULT_BATCH	16
/* Flushes of a VM that are under way; further ones are merged. */
#define VSVM_FLUSH_DEPTH	16

struct dentry;
struct device;
struct dma_iova_state;
struct dmem_cgroup_pool_state;
struct dmem_cgroup_region;
struct file;
struct iommu_domain;
struct pci_dev;
struct seq_file;
struct vsvm_access;
struct vsvm_dev_svm;
struct vsvm_device;
struct vsvm_engine;
struct vsvm_job;
struct vsvm_vm;

/* The flush queue, vsvm_flush.c */

/**
 * struct vsvm_flush_req - A TLB flush under way
 * @link: In &vsvm_flush.queue or &vsvm_vm_flush.free.
 * @vm: Whose. Immutable.
 * @start: First address.
 * @end: End address, exclusive.
 * @generation: What is completed with it for the back end, 0: nothing.
 * @bind: The number of it for who changes bindings, 0: none of those.
 * @due: When the hardware is done.
 */
struct vsvm_flush_req {
	struct list_head link;
	struct vsvm_vm *vm;
	u64 start;
	u64 end;
	u64 generation;
	u64 bind;
	ktime_t due;
};

/**
 * struct vsvm_vm_flush - A VM's share of the flush queue
 * @reqs: All its requests, so that none is ever allocated.
 * @free: Those that are not queued. Protected by &vsvm_flush.lock
 * @last: The one that was queued last, while it is queued. Likewise
 * @queued: Those that are queued or being performed. Likewise
 * @bind_started: Number of the last flush of something bound. Likewise
 * @bind_done: Number of the last one of these that is complete
 * @bind_wait: Where that is waited for
 */
struct vsvm_vm_flush {
	struct vsvm_flush_req reqs[VSVM_FLUSH_DEPTH];
	struct list_head free;
	struct vsvm_flush_req *last;
	unsigned int queued;
	u64 bind_started;
	atomic64_t bind_done;
	wait_queue_head_t bind_wait;
};

/**
 * struct vsvm_flush - The flush queue of a device
 * @queue: &struct vsvm_flush_req, in the order of their start.
 * @wait: The thread waits here for work.
 * @drained: Where the end of a VM's flushes is waited for.
 * @thread: Performs the flushes.
 * @latency_us: How long a flush takes.
 * @suppress: Flushes that are to be acknowledged without being performed.
 */
struct vsvm_flush {
	/** @lock: Protects the queue. A leaf, taken under instance locks */
	spinlock_t lock;
	struct list_head queue;
	wait_queue_head_t wait;
	wait_queue_head_t drained;
	struct task_struct *thread;
	unsigned int latency_us;
	atomic_t suppress;
};

/* The policeman, vsvm_police.c */

/**
 * struct vsvm_police_slot - The identity of one DMA mapping after the other
 * @id: Index in &vsvm_police.slots. Immutable.
 * @generation: Number of identities so far. Written by the mapping's owner.
 * @live: The cookie in force, 0: none. Read without lock.
 * @link: In &vsvm_police.free.
 */
struct vsvm_police_slot {
	u32 id;
	u32 generation;
	u64 live;
	struct list_head link;
};

/**
 * struct vsvm_police - Which DMA mappings of a VM the device may use
 * @slots: &struct vsvm_police_slot by id; they stay until the VM is gone.
 * @free: Slots without a mapping.
 */
struct vsvm_police {
	struct xarray slots;
	/** @lock: Protects @free. A leaf, taken in SRCU callbacks */
	spinlock_t lock;
	struct list_head free;
};

/* enum vsvm_violation - What was caught */
enum vsvm_violation {
	/* A PTE of a DMA mapping that is about to go. */
	VSVM_VIOLATION_PTE,
	/* A TLB entry of a DMA mapping that is about to go. */
	VSVM_VIOLATION_TLB,
	/* A read through a DMA mapping that is gone. */
	VSVM_VIOLATION_READ,
	/* A write through a DMA mapping that is gone; not performed. */
	VSVM_VIOLATION_WRITE,
	/* A device address that is not memory, or that no IOMMU translates. */
	VSVM_VIOLATION_DMA,
	/* A PTE written over another one. */
	VSVM_VIOLATION_MAP,
	/* Memory is not the same for the real engine as for the model. */
	VSVM_VIOLATION_ENGINE,
};

/* The fault ring, vsvm_fault.c */

/**
 * struct vsvm_fault_waiter - Who waits for a fault to be served
 * @link: In &vsvm_fault_slot.waiters or &vsvm_fault_ring.overflow.
 *	Protected by &vsvm_device.lock
 * @done: Called with &vsvm_device.lock held; @err is 0 where the access is to
 *	be tried again.
 */
struct vsvm_fault_waiter {
	struct list_head link;
	void (*done)(struct vsvm_fault_waiter *waiter, int err);
};

enum vsvm_fault_state {
	VSVM_FAULT_FREE = 0,
	VSVM_FAULT_PENDING,
	VSVM_FAULT_SERVING,
};

/**
 * struct vsvm_fault_slot - A place for a fault, in the ring or of a VM
 * @state: A &enum vsvm_fault_state
 * @vm: Whose fault
 * @page: Page-aligned address
 * @access: What was tried
 * @waiters: &struct vsvm_fault_waiter
 */
struct vsvm_fault_slot {
	enum vsvm_fault_state state;
	struct vsvm_vm *vm;
	unsigned long page;
	enum drm_gpusvm_access access;
	struct list_head waiters;
};

/**
 * struct vsvm_fault_ring - The fault ring of a device
 * @slots: The places. Protected by &vsvm_device.lock
 * @size: How many of them are used. Immutable
 * @overflow: Those who came when there was no place. Like @slots
 * @work: Empties the ring
 */
struct vsvm_fault_ring {
	struct vsvm_fault_slot slots[VSVM_FAULT_RING];
	unsigned int size;
	struct list_head overflow;
	struct work_struct work;
};

/* Jobs and queues, vsvm_engine.c */

enum vsvm_queue_state {
	/* No jobs, or the VM is dead. */
	VSVM_QUEUE_IDLE = 0,
	/* In &vsvm_device.ready. */
	VSVM_QUEUE_READY,
	/* An engine has it. */
	VSVM_QUEUE_RUNNING,
	/* Its first job waits for a fault, no engine has it. */
	VSVM_QUEUE_STALLED,
	/* Its first job waits for fences. */
	VSVM_QUEUE_BLOCKED,
};

/**
 * struct vsvm_queue - A queue of jobs, in order
 * @vm: Whose. Immutable.
 * @index: Its number. Immutable.
 * @state: A &enum vsvm_queue_state. Protected by &vsvm_device.lock
 * @resumed: The fault was served before the engine had left. Likewise
 * @jobs: &struct vsvm_job, the first one is the one at work. Likewise
 * @link: In &vsvm_device.ready. Likewise
 */
struct vsvm_queue {
	struct vsvm_vm *vm;
	unsigned int index;
	enum vsvm_queue_state state;
	bool resumed;
	struct list_head jobs;
	struct list_head link;
};

/**
 * struct vsvm_job - A job
 * @link: In &vsvm_queue.jobs. Protected by &vsvm_device.lock
 * @vm: Its VM; teardown of a VM ends all its jobs. Immutable
 * @queue: Its queue. Immutable
 * @id: Its number in the VM, 0: is given one when it is submitted. Immutable then
 * @outcome: How what it stands for ended, negative errno: it fails before it has
 *	begun. Immutable
 * @instrs: The program. Immutable
 * @num_instrs: Number of instructions. Immutable
 * @fence_addr: Address of the user fence, 0: none. Immutable
 * @fence_value: What is written there. Immutable
 * @fence: The kernel fence that it completes, with a reference, or NULL. Immutable
 *	once submitted
 * @deps: The fences that it waits for
 * @blocked: It waits for them. Protected by &vsvm_device.lock
 * @waiter: For the fault that it waits for
 * @fault_err: How the service of the fault ended, negative errno
 * @fault_va: Address of the access that faulted
 * @fault_op: What that access was, an &enum vsvm_access_op
 * @replays: Faults in a row on one access
 * @busy: Of these, those that could not be served in time
 * @pc: Index of the instruction at work
 * @pos: How far it is: bytes, repetitions, nodes or words
 * @acc: Its intermediate results
 * @hist: Those of a histogram, 256 words, or NULL
 * @started: It was begun
 * @fencing: The program has ended, the fence is being written
 * @error: How the program ended, negative errno
 * @deadline: When it is ended, if it has a kernel fence
 *
 * From @fault_err on, members belong to the engine that has the queue; while no
 * engine has it, to nobody, but for @fault_err.
 */
struct vsvm_job {
	struct list_head link;
	struct vsvm_vm *vm;
	struct vsvm_queue *queue;
	u64 id;
	int outcome;
	struct drm_vsvm_instr *instrs;
	u32 num_instrs;
	u64 fence_addr;
	u64 fence_value;

	struct dma_fence *fence;
	struct vsvm_deps deps;
	bool blocked;

	struct vsvm_fault_waiter waiter;
	int fault_err;
	u64 fault_va;
	unsigned int fault_op;
	unsigned int replays;
	unsigned int busy;

	u32 pc;
	u64 pos;
	u64 acc[2];
	u64 *hist;
	bool started;
	bool fencing;
	int error;
	ktime_t deadline;
};

/**
 * struct vsvm_engine - One of the engines of a device
 * @dev: The device. Immutable
 * @index: Its number. Immutable
 * @thread: What runs it
 * @bounce: Two buffers, for what is copied or compared
 */
struct vsvm_engine {
	struct vsvm_device *dev;
	unsigned int index;
	struct task_struct *thread;
	u8 *bounce[2];
};

/* Device memory, vsvm_vram.c */

/*
 * A device address with the top bit set is in the memory of a device. No DMA
 * address has it: no IOMMU here translates that many bits.
 */
#define VSVM_VRAM_ADDR		BIT_ULL(63)
#define VSVM_VRAM_ADDR_DEVICE	GENMASK_ULL(62, 48)
#define VSVM_VRAM_ADDR_OFFSET	GENMASK_ULL(47, 0)

/**
 * struct vsvm_devmem - An allocation of device memory
 * @base: For drm_pagemap.
 * @ref: One for the pages in use, one for each evictor.
 * @dev: Whose memory. Immutable
 * @mm: For whose data, a reference to the struct only. Immutable
 * @blocks: Its one block.
 * @backed: It has memory: @blocks, @offset and @pool mean something, and it is in
 *	&vsvm_vram.lru. Written before anybody else knows of it
 * @offset: Where it is
 * @pool: What it is charged to
 * @lru: In &vsvm_vram.lru. Protected by &vsvm_vram.lru_lock
 * @populating: Who moves data into it, NULL later. Read without lock
 * @left: Data that had come was taken out again meanwhile. Likewise
 * @used: Mapped since eviction looked at it last. Read and written without lock
 * @free_work: Frees it
 */
struct vsvm_devmem {
	struct drm_pagemap_devmem base;
	struct kref ref;
	struct vsvm_device *dev;
	struct mm_struct *mm;
	struct list_head blocks;
	bool backed;
	u64 offset;
	struct dmem_cgroup_pool_state *pool;
	struct list_head lru;
	struct task_struct *populating;
	bool left;
	bool used;
	struct work_struct free_work;
};

/**
 * struct vsvm_vram_page - A page of device memory
 * @page: The bytes, NULL while it is not allocated. Read without lock
 * @devmem: What it is part of
 */
struct vsvm_vram_page {
	struct page *page;
	struct vsvm_devmem *devmem;
};

/**
 * struct vsvm_vram - The memory of a device
 * @size: Bytes, 0: it has none. Immutable
 * @buddy: Which parts are free. Protected by @lock
 * @lru: &struct vsvm_devmem, who is evicted next comes first. Protected by
 *	@lru_lock
 * @pages: Each page. Immutable, but for what is in it
 * @region: For the cgroups. Immutable
 * @cache: The &struct drm_pagemap, while there is one. Immutable
 * @pagemaps: &struct vsvm_pagemap that the device's driver core still knows.
 *	Protected by @lru_lock
 * @used: Bytes allocated
 * @mapped: Runs that are mapped on devices
 * @closed: The device goes: no struct pages are handed out any more. Protected by
 *	@lookup_lock
 * @evictions: Allocations evicted
 * @allocations: Allocations made
 * @arrivals: Spans of which data came here
 * @splits: Huge pages split because they were about to leave
 * @fail_alloc: Allocations that are to fail, for tests
 * @fail_split: Huge pages that are not to be split when they should, for tests
 * @fail_page: Allocations of system pages for eviction that are to fail, for tests
 * @window_ms: How long windows are held open, see vsvm_vram_window(), for tests
 */
struct vsvm_vram {
	u64 size;
	/** @lock: Protects @buddy. Memory is allocated under it */
	struct mutex lock;
	struct gpu_buddy buddy;
	/** @lru_lock: Protects @lru and @pagemaps. A leaf */
	spinlock_t lru_lock;
	struct list_head lru;
	struct vsvm_vram_page *pages;
	struct dmem_cgroup_region *region;
	struct drm_pagemap_cache *cache;
	struct list_head pagemaps;
	/**
	 * @lookup_lock: One lookup in @cache at a time, outside of that one's own
	 * lock. Held while a release gets on, and while struct pages are made
	 */
	struct mutex lookup_lock;
	bool closed;
	atomic64_t used;
	atomic64_t mapped;
	atomic64_t evictions;
	atomic64_t allocations;
	atomic64_t arrivals;
	atomic64_t splits;
	atomic_t fail_alloc;
	atomic_t fail_split;
	atomic_t fail_page;
	unsigned int window_ms;
};

/* The copy engine, vsvm_copy.c */

/**
 * struct vsvm_copy_span - What is copied in one piece, or cleared
 * @dst: Device address of where to.
 * @src: Device address of where from.
 * @len: Bytes, whole pages.
 * @clear: There is no @src: zeros.
 */
struct vsvm_copy_span {
	u64 dst;
	u64 src;
	u64 len;
	bool clear;
};

/**
 * struct vsvm_copy - The copy engine of a device
 * @queue: &struct vsvm_copy_req, in order. Protected by @lock
 * @stopped: Nothing is queued any more. Likewise
 * @wait: The thread waits here for work
 * @thread: Performs the copies
 * @context: Its fences. Immutable
 * @seqno: Number of the last fence
 * @mib_per_s: Bandwidth, MiB per second, 0: as fast as it can
 * @fail: Copies that are to fail, for tests
 * @copies: Copies that ended, failed ones included
 * @failed: Copies that failed
 * @bytes_in: Bytes from system to device memory
 * @bytes_out: Bytes from device to system memory
 * @bytes_peer: Bytes from one device memory to another, or the same
 * @bytes_cleared: Bytes of device memory cleared
 */
struct vsvm_copy {
	/** @lock: Protects the queue. A leaf */
	spinlock_t lock;
	/** @fence_lock: For the fences. A leaf */
	spinlock_t fence_lock;
	struct list_head queue;
	bool stopped;
	wait_queue_head_t wait;
	struct task_struct *thread;
	u64 context;
	atomic_t seqno;
	unsigned int mib_per_s;
	atomic_t fail;
	atomic64_t copies;
	atomic64_t failed;
	atomic64_t bytes_in;
	atomic64_t bytes_out;
	atomic64_t bytes_peer;
	atomic64_t bytes_cleared;
};

/* The way to system memory, vsvm_mem.c */

/**
 * struct vsvm_mem - What stands between a device and system memory
 * @domain: Its IOMMU domain, NULL: none. Immutable
 * @translates: The domain translates. Immutable
 * @skew: DMA addresses that it keeps free. Immutable
 * @num_skew: Their number. Immutable
 * @fail_map: DMA mappings of the driver's own that are to fail, for tests: of an
 *	object, of a system page for eviction
 */
struct vsvm_mem {
	struct iommu_domain *domain;
	bool translates;
	struct dma_iova_state *skew;
	unsigned int num_skew;
	atomic_t fail_map;
};

/* The real DMA engine, vsvm_edu.c */

/* Most bytes of one transfer: the engine's buffer is a page, less a word. */
#define VSVM_EDU_MAX		4088

/**
 * struct vsvm_edu - The real DMA engine of a device, if it has one
 * @mmio: Its registers, NULL: there is none. Immutable
 * @msi: Its interrupt is a message. Immutable
 * @irq: Its interrupt. Immutable
 * @page: Where data is put for it, and it puts data. Protected by @lock
 * @page_addr: DMA address of @page. Immutable
 * @poison: Byte that the buffer was filled with last. Protected by @lock
 * @broken: It did not answer. Protected by @lock
 * @done: The interrupt has come
 * @model: What the model saw. Protected by @check_lock
 * @real: What the engine saw, or shall write. Likewise
 * @check_wrong: Checks that are to look at another address, for tests
 * @flights: &struct vsvm_flight under way. Protected by @flights_lock
 * @last_flight: Number of the last one. Likewise
 * @landed: Where the end of flights is waited for
 * @check_every: Every so many accesses one goes through the engine, 0: none
 * @accesses: Accesses that could have, for @check_every
 * @transfers: Transfers, each of them one DMA of the engine
 * @bytes: Bytes transferred
 * @checks: Accesses that went through it and were compared
 * @races: Of these, those whose memory others were changing
 * @mismatches: Of these, those where it saw, or left, other bytes
 * @timeouts: Transfers that did not end
 * @lost_irqs: Transfers whose end no interrupt told
 */
struct vsvm_edu {
	void __iomem *mmio;
	bool msi;
	int irq;
	/** @lock: One transfer at a time. Held across waits for the engine */
	struct mutex lock;
	u8 *page;
	dma_addr_t page_addr;
	u8 poison;
	bool broken;
	struct completion done;

	/** @check_lock: One check at a time. Taken outside @lock */
	struct mutex check_lock;
	u8 *model;
	u8 *real;
	atomic_t check_wrong;

	/** @flights_lock: Protects the flights. A leaf */
	spinlock_t flights_lock;
	struct list_head flights;
	u64 last_flight;
	wait_queue_head_t landed;

	u32 check_every;
	atomic_t accesses;
	atomic64_t transfers;
	atomic64_t bytes;
	atomic64_t checks;
	atomic64_t races;
	atomic64_t mismatches;
	atomic64_t timeouts;
	atomic64_t lost_irqs;
};

/**
 * struct vsvm_flight - An access that is under way in the real engine
 * @link: In &vsvm_edu.flights
 * @number: Its number, rising
 * @vm: Whose
 * @va: Virtual address
 * @len: Bytes
 */
struct vsvm_flight {
	struct list_head link;
	u64 number;
	struct vsvm_vm *vm;
	u64 va;
	u32 len;
};

/* The VM, vsvm_vm.c */

/**
 * struct vsvm_vm_stats - Counters of a VM
 * @jobs: Jobs that ended, failed ones included
 * @jobs_failed: Jobs that failed
 * @bytes_read: Bytes that jobs read
 * @bytes_written: Bytes that jobs wrote
 * @faults: Accesses that faulted
 * @faults_merged: Of these, those that joined one that waited already
 * @batches: Batches of faults that were served
 * @tlb_hits: Translations found in the TLB
 * @tlb_misses: Translations that walked the page table
 * @tlb_flushes: Flushes that the back end asked for
 * @tlb_flushed: Entries that flushes dropped
 * @binds: Operations on bindings that took effect
 * @rebinds: Bindings that got PTEs anew because their object had moved
 * @bind_retries: Times that a bind has begun to lock anew
 */
struct vsvm_vm_stats {
	atomic64_t jobs;
	atomic64_t jobs_failed;
	atomic64_t bytes_read;
	atomic64_t bytes_written;
	atomic64_t faults;
	atomic64_t faults_merged;
	atomic64_t batches;
	atomic64_t tlb_hits;
	atomic64_t tlb_misses;
	atomic64_t tlb_flushes;
	atomic64_t tlb_flushed;
	atomic64_t binds;
	atomic64_t rebinds;
	atomic64_t bind_retries;
};

/**
 * struct vsvm_error - An error record
 * @job_id: The job
 * @addr: Virtual address of the access, 0 if it was none
 * @instr: Index of the instruction
 * @flags: DRM_VSVM_ERROR_*
 * @error: Positive errno
 */
struct vsvm_error {
	u64 job_id;
	u64 addr;
	u32 instr;
	u32 flags;
	u32 error;
};

/**
 * struct vsvm_svm_ops - What shares a process's address space with a VM
 *
 * One back end is the manager. Two others exist to be compared with it, and know
 * nothing of other devices: drm_gpusvm, and the same with two-pass notifiers. The
 * last one is nothing, or the manager for user pointers alone, for VMs that see only
 * what is bound.
 */
struct vsvm_svm_ops {
	/** @attach: Begin; returns 0 or a negative errno */
	int (*attach)(struct vsvm_vm *vm);
	/**
	 * @kill: Take all mappings away, for good; faults fail from here on.
	 * Waits for flushes only
	 */
	void (*kill)(struct vsvm_vm *vm);
	/** @detach: End; waits for faults that are being served, too */
	void (*detach)(struct vsvm_vm *vm);
	/** @check_current: 0 where the caller is the process, -EPERM */
	int (*check_current)(struct vsvm_vm *vm);
	/** @exiting: The process's address space is going away */
	bool (*exiting)(struct vsvm_vm *vm);
	/** @fault_batch: Serve faults; may reorder @faults, sets each @err */
	int (*fault_batch)(struct vsvm_vm *vm, struct drm_gpusvm_fault *faults,
			   unsigned int count);
	/** @flush_done: The flush with this number is complete */
	void (*flush_done)(struct vsvm_vm *vm, u64 generation);
	/**
	 * @set_attrs: Say something about memory, see
	 * drm_gpusvm_instance_set_attrs(). This one and those that follow are
	 * optional: either all of them are there, or none
	 */
	int (*set_attrs)(struct vsvm_vm *vm, unsigned long start, unsigned long end,
			 const struct drm_gpusvm_attr *attrs, unsigned int count);
	/** @get_attrs: Ask, see drm_gpusvm_instance_get_attrs() */
	int (*get_attrs)(struct vsvm_vm *vm, unsigned long start, unsigned long end,
			 struct drm_gpusvm_attr *attrs);
	/** @next_attrs: Step, see drm_gpusvm_instance_next_attrs() */
	int (*next_attrs)(struct vsvm_vm *vm, unsigned long *start, unsigned long *end,
			  struct drm_gpusvm_attr *attrs);
	/** @reset_attrs: Take back, see drm_gpusvm_instance_reset_attrs() */
	int (*reset_attrs)(struct vsvm_vm *vm, unsigned long start, unsigned long end);
	/** @prefetch: Move, see drm_gpusvm_instance_prefetch() */
	int (*prefetch)(struct vsvm_vm *vm, unsigned long start, unsigned long end,
			struct drm_pagemap *dpagemap, unsigned int flags, u64 *missed);
	/** @read_stats: Fill in the counters that it keeps */
	void (*read_stats)(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data);
};

/**
 * struct vsvm_vm - A VM
 * @instance: What the SVM manager knows of it
 * @ref: References: the file, ioctls under way, the service of faults
 * @dev: The device, with a reference. Immutable
 * @svm: The back end. Immutable
 * @dev_svm: What it knows of the VM, where it is not the manager
 * @id: Its id on the file. Immutable after creation
 * @flags: DRM_VSVM_VM_*. Immutable
 * @asid: Its tag in the TLB. Immutable
 * @pid: Who created it, for debugfs. Immutable
 * @comm: Likewise
 * @link: In &vsvm_device.vms. Protected by &vsvm_device.vms_lock
 * @pt: The page table
 * @gate: Held for read by an engine from its look at the TLB to the end of the
 *	access, for write by a flush
 * @flush: The flushes under way
 * @police: The DMA mappings that may be used
 * @bind: The bindings
 * @queues: The queues
 * @dead: 0, or the negative errno with which its jobs end. Written under
 *	&vsvm_device.lock, read without
 * @unfinished: Jobs that have not ended. Protected by &vsvm_device.lock
 * @running: Engines that have one of its queues. Likewise
 * @serving: Faults that are being served, and calls of the back end about
 *	attributes and prefetches that are under way. Likewise
 * @faults: Faults that came out of the ring. Likewise
 * @next_job: Number of the next job. Likewise
 * @events: Counts what @wait is woken for
 * @wait: For the end of a job, of a fault, for a dead VM
 * @fault_work: Serves its faults
 * @prefetches: &struct vsvm_prefetch, in order. Protected by &vsvm_device.lock
 * @num_prefetches: Those that are not done. Likewise
 * @prefetch_work: Does them
 * @errors: The records, a ring
 * @errors_first: Index of the oldest
 * @errors_count: How many there are
 * @errors_lost: How many were dropped
 * @peer: Its place among those that reach the memory of its hive. Of the back
 *	end, while it is attached
 * @attached: The back end knows the VM
 * @torn_down: The teardown is done. Protected by @teardown_lock
 * @stats: Counters
 */
struct vsvm_vm {
	struct drm_gpusvm_instance instance;
	struct kref ref;
	struct vsvm_device *dev;
	const struct vsvm_svm_ops *svm;
	struct vsvm_dev_svm *dev_svm;
	u32 id;
	u32 flags;
	u32 asid;
	pid_t pid;
	char comm[TASK_COMM_LEN];
	struct list_head link;

	struct vsvm_pt pt;
	rwlock_t gate;
	struct vsvm_vm_flush flush;
	struct vsvm_police police;
	struct vsvm_vm_bind bind;

	struct vsvm_queue queues[VSVM_QUEUES];
	int dead;
	unsigned int unfinished;
	unsigned int running;
	unsigned int serving;
	struct vsvm_fault_slot faults[VSVM_QUEUES];
	u64 next_job;
	atomic_t events;
	wait_queue_head_t wait;
	struct work_struct fault_work;
	struct list_head prefetches;
	unsigned int num_prefetches;
	struct work_struct prefetch_work;

	/** @errors_lock: Protects the error records. A leaf */
	spinlock_t errors_lock;
	struct vsvm_error *errors;
	unsigned int errors_first;
	unsigned int errors_count;
	u64 errors_lost;

	struct drm_pagemap_peer peer;
	/**
	 * @attach_lock: Protects @attached, held while the back end is asked
	 * about something
	 */
	struct mutex attach_lock;
	bool attached;
	/** @teardown_lock: One teardown at a time */
	struct mutex teardown_lock;
	bool torn_down;

	struct vsvm_vm_stats stats;
};

/**
 * struct vsvm_device - A virtual GPU
 * @drm: The DRM device
 * @index: Its number. Immutable
 * @hive: The group of devices that it has links to. Immutable
 * @tlb: The TLB
 * @flush: The flush queue
 * @vram: Its memory
 * @copy: The copy engine
 * @mem: The way to system memory
 * @edu: The real DMA engine
 * @gem: The objects
 * @ready: &struct vsvm_queue that an engine can take
 * @faults: The fault ring
 * @engine_wait: Idle engines
 * @engines: The engines
 * @num_engines: Their number. Immutable
 * @next_asid: The asid that was given out last
 * @vms: All VMs that are not torn down
 * @violations: Accesses that I-1 forbids
 * @jobs: Jobs that ended, all VMs
 * @batches: Batches of faults, all VMs
 * @overflows: Faults that met a full ring
 * @flushes: Flushes that were asked for, all VMs
 * @flushes_merged: Of these, those that widened one that was queued
 * @flushes_suppressed: Flushes that were not performed, by request of a test
 * @fail_skip: Of what is to fail for tests, how many pass before, see vsvm_fail_now()
 */
struct vsvm_device {
	struct drm_device drm;
	unsigned int index;
	unsigned int hive;
	struct vsvm_tlb tlb;
	struct vsvm_flush flush;
	struct vsvm_vram vram;
	struct vsvm_copy copy;
	struct vsvm_mem mem;
	struct vsvm_edu edu;
	struct vsvm_gem gem;

	/** @lock: Protects the queues of all VMs, @ready and @faults. A leaf */
	spinlock_t lock;
	struct list_head ready;
	struct vsvm_fault_ring faults;
	wait_queue_head_t engine_wait;
	struct vsvm_engine engines[VSVM_MAX_ENGINES];
	unsigned int num_engines;
	atomic_t next_asid;

	/** @vms_lock: Protects @vms */
	struct mutex vms_lock;
	struct list_head vms;

	atomic64_t violations;
	atomic64_t jobs;
	atomic64_t batches;
	atomic64_t overflows;
	atomic64_t flushes;
	atomic64_t flushes_merged;
	atomic64_t flushes_suppressed;

	atomic_t fail_skip;
};

/**
 * struct vsvm_file - What belongs to an open file
 * @vms: &struct vsvm_vm by id
 * @next_id: Where the search for a free id begins
 * @count: Number of VMs, those that are being made included
 * @mm: The process that made the first one, a reference to the struct only; NULL
 *	before. Written once
 */
struct vsvm_file {
	struct xarray vms;
	u32 next_id;
	atomic_t count;
	struct mm_struct *mm;
};

#define to_vsvm(drm_)	container_of(drm_, struct vsvm_device, drm)
#define to_vm(inst_)	container_of(inst_, struct vsvm_vm, instance)
#define gpuvm_to_vm(gpuvm_)	container_of(gpuvm_, struct vsvm_vm, bind.gpuvm)

/* The VM sees nothing but what is bound: its jobs do not wait for faults. */
static inline bool vsvm_vm_bound_only(const struct vsvm_vm *vm)
{
	return !(vm->flags & DRM_VSVM_VM_MIRROR);
}

/**
 * vsvm_fail_now() - Shall this fail, because a test asks for it?
 * @dev: The device.
 * @knob: How many of its kind are to fail.
 *
 * &vsvm_device.fail_skip of them pass before; what is of a kind of which none is to fail
 * does not count. Any context: of several at the same time just as many pass and fail as
 * if they had come one after the other.
 *
 * Return: whether it shall.
 */
static inline bool vsvm_fail_now(struct vsvm_device *dev, atomic_t *knob)
{
	if (!atomic_read(knob))
		return false;
	if (atomic_dec_if_positive(&dev->fail_skip) >= 0)
		return false;
	/* Another one may have been the last. */
	return atomic_dec_if_positive(knob) >= 0;
}

/* Where faults are served, and prefetches are done. */
extern struct workqueue_struct *vsvm_wq;
/* The directory of the driver in debugfs. */
extern struct dentry *vsvm_debugfs_root;

/* vsvm_drv.c */
bool vsvm_is_device(const struct drm_device *drm);
struct drm_file *vsvm_file_from_fd(int fd, struct file **ref);
struct vsvm_device *vsvm_device_from_fd(int fd);
struct vsvm_device *vsvm_device_init(struct device *parent, int index);
int vsvm_device_register(struct vsvm_device *dev);
void vsvm_device_fini(struct vsvm_device *dev);

/* vsvm_faux.c */
int vsvm_faux_init(void);
void vsvm_faux_exit(void);

/* vsvm_pci.c */
#if IS_ENABLED(CONFIG_PCI)
int vsvm_pci_init(void);
void vsvm_pci_exit(void);
#else
static inline int vsvm_pci_init(void)
{
	return 0;
}

static inline void vsvm_pci_exit(void)
{
}
#endif

/* vsvm_edu.c */
void vsvm_edu_init(struct vsvm_edu *edu);
int vsvm_edu_start(struct vsvm_device *dev, struct pci_dev *pdev);
void vsvm_edu_stop(struct vsvm_device *dev, struct pci_dev *pdev);
int vsvm_edu_read(struct vsvm_edu *edu, u64 addr, void *buf, u32 len);
int vsvm_edu_write(struct vsvm_edu *edu, u64 addr, const void *buf, u32 len);
void vsvm_edu_takeoff(struct vsvm_edu *edu, struct vsvm_flight *flight,
		      struct vsvm_vm *vm, u64 va, u32 len);
void vsvm_edu_land(struct vsvm_edu *edu, struct vsvm_flight *flight);
void vsvm_edu_wait(struct vsvm_edu *edu, struct vsvm_vm *vm, u64 start, u64 end);
void vsvm_edu_show(struct seq_file *m, struct vsvm_device *dev);

/* vsvm_check.c */
bool vsvm_check_due(struct vsvm_edu *edu, const struct vsvm_access *a, u64 addr);
bool vsvm_check_replaces(const struct vsvm_access *a);
int vsvm_check_access(struct vsvm_vm *vm, const struct vsvm_access *a, u64 addr, u64 cookie);

/* vsvm_mem.c */
int vsvm_mem_init(struct vsvm_device *dev);
const char *vsvm_mem_dma_name(struct vsvm_device *dev);
enum drm_vsvm_dma vsvm_mem_dma(struct vsvm_device *dev);
struct page *vsvm_mem_page(struct vsvm_device *dev, u64 addr);
void *vsvm_mem_map(struct vsvm_device *dev, u64 addr);
void vsvm_mem_unmap(void *kaddr);
void vsvm_mem_read_stale(void *dst, const void *src, size_t len);

/* vsvm_vram.c */
u64 vsvm_vram_addr(struct vsvm_device *dev, u64 offset);
void *vsvm_vram_map(struct vsvm_device *dev, u64 addr);
void vsvm_devmem_put(struct vsvm_devmem *devmem);
struct vsvm_devmem *vsvm_devmem_create(struct vsvm_device *dev,
				       struct drm_pagemap *dpagemap,
				       struct mm_struct *mm, u64 size);
int vsvm_devmem_back(struct vsvm_devmem *devmem);
void vsvm_vram_window(struct vsvm_vram *vram);
int vsvm_vram_object_alloc(struct vsvm_device *dev, u64 size, struct list_head *blocks,
			   struct dmem_cgroup_pool_state **pool);
void vsvm_vram_object_free(struct vsvm_device *dev, u64 size, struct list_head *blocks,
			   struct dmem_cgroup_pool_state *pool);
void vsvm_vram_evict_all(struct vsvm_device *dev);
void vsvm_vram_evict_some(struct vsvm_device *dev);
u64 vsvm_vram_resident(struct vsvm_vram *vram, const struct mm_struct *mm);
void vsvm_show_fdinfo(struct drm_printer *p, struct drm_file *file);
void vsvm_vram_publish(struct vsvm_device *dev);
void vsvm_vram_withdraw(struct vsvm_device *dev);
int vsvm_vram_init(struct vsvm_device *dev, u64 size);
int vsvm_vram_module_init(void);
void vsvm_vram_module_exit(void);
void vsvm_vram_queue_destroy(struct work_struct *work);

/* vsvm_copy.c */
int vsvm_copy_run(struct vsvm_device *dev, struct page **pages,
		  struct drm_pagemap_addr *addrs, unsigned long count, bool in);
int vsvm_copy_spans(struct vsvm_device *dev, const struct vsvm_copy_span *spans,
		    unsigned long count);
int vsvm_copy_start(struct vsvm_device *dev);
void vsvm_copy_stop(struct vsvm_device *dev);

/* vsvm_migrate.c */
extern const struct drm_pagemap_devmem_ops vsvm_devmem_ops;
int vsvm_owner_acquire(struct vsvm_device *dev, struct drm_pagemap_peer *peer);
u64 vsvm_pagemap_offset(struct page *page);
struct page *vsvm_pagemap_page(struct drm_pagemap *dpagemap, u64 addr);
struct vsvm_device *vsvm_pagemap_device(struct page *page);
bool vsvm_pagemap_ours(struct page *page);
struct drm_pagemap *vsvm_pagemap_get(struct vsvm_device *dev);
int vsvm_pagemap_init(struct vsvm_device *dev);
void vsvm_pagemap_close(struct vsvm_device *dev);
void vsvm_pagemap_module_init(void);
int vsvm_devmem_evict(struct vsvm_devmem *devmem);
void vsvm_evict_drain(void);

/* vsvm_split.c */
bool vsvm_split_possible(void);
int vsvm_split_page(struct page *page);
int vsvm_split_range(struct mm_struct *mm, unsigned long start, unsigned long end);

/* vsvm_police.c */
void vsvm_police_init(struct vsvm_police *police);
void vsvm_police_fini(struct vsvm_police *police);
struct vsvm_police_slot *vsvm_police_slot_get(struct vsvm_police *police);
void vsvm_police_slot_put(struct vsvm_police *police, struct vsvm_police_slot *slot);
u64 vsvm_police_begin(struct vsvm_police_slot *slot);
void vsvm_police_retire(struct vsvm_vm *vm, struct vsvm_police_slot *slot,
			u64 start, u64 end);
bool vsvm_police_live(struct vsvm_police *police, u64 cookie);
unsigned int vsvm_police_count(struct vsvm_police *police);
void vsvm_police_report(struct vsvm_vm *vm, enum vsvm_violation what, u64 va,
			u64 cookie, bool provoked);

/* vsvm_flush.c */
void vsvm_flush_init(struct vsvm_flush *flush, unsigned int latency_us);
int vsvm_flush_start(struct vsvm_device *dev);
void vsvm_flush_stop(struct vsvm_device *dev);
void vsvm_flush_vm_init(struct vsvm_vm *vm);
void vsvm_flush_queue(struct vsvm_vm *vm, u64 start, u64 end, u64 generation);
u64 vsvm_flush_bind(struct vsvm_vm *vm, u64 start, u64 end);
void vsvm_flush_bind_wait(struct vsvm_vm *vm, u64 bind);
void vsvm_flush_drain(struct vsvm_vm *vm);

/* vsvm_access.c */

enum vsvm_access_op {
	VSVM_ACCESS_READ,
	VSVM_ACCESS_WRITE,
	VSVM_ACCESS_FILL,
	VSVM_ACCESS_ADD,
	VSVM_ACCESS_ATOMIC_ADD,
	VSVM_ACCESS_RELEASE,
};

/**
 * struct vsvm_access - One access to memory
 * @va: Virtual address.
 * @len: Bytes, at most %VSVM_ACCESS_MAX, within one page.
 * @op: A &enum vsvm_access_op.
 * @buf: For %VSVM_ACCESS_READ and %VSVM_ACCESS_WRITE.
 * @value: For the others.
 * @count: Repetitions of %VSVM_ACCESS_ATOMIC_ADD.
 */
struct vsvm_access {
	u64 va;
	u32 len;
	enum vsvm_access_op op;
	void *buf;
	u64 value;
	u32 count;
};

u64 vsvm_va_end(void);
u32 vsvm_access_len(u64 va, u64 len);
enum drm_gpusvm_access vsvm_access_kind(enum vsvm_access_op op);
int vsvm_access(struct vsvm_vm *vm, const struct vsvm_access *a);

/* vsvm_svm.c */
extern const struct vsvm_svm_ops vsvm_svm_mgr_ops;
extern const struct drm_gpusvm_instance_ops vsvm_svm_instance_ops;
void vsvm_svm_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data);
void vsvm_svm_map_failed(struct vsvm_vm *vm, struct vsvm_police_slot *police, u64 where,
			 u64 start, u64 end, int err);

/* vsvm_svm_upstream.c, vsvm_svm_twopass.c */
extern const struct vsvm_svm_ops vsvm_svm_upstream_ops;
extern const struct vsvm_svm_ops vsvm_svm_twopass_ops;
extern const struct vsvm_svm_ops vsvm_svm_none_ops;

/* vsvm_vm.c */
struct vsvm_vm *vsvm_vm_alloc(struct vsvm_device *dev, u32 flags);
struct vsvm_vm *vsvm_vm_get(struct vsvm_vm *vm);
struct vsvm_vm *vsvm_vm_lookup(struct drm_file *file, u32 id);
void vsvm_vm_put(struct vsvm_vm *vm);
void vsvm_vm_detach(struct vsvm_vm *vm);
void vsvm_vm_wake(struct vsvm_vm *vm);
void vsvm_vm_error_add(struct vsvm_vm *vm, const struct vsvm_error *error);
int vsvm_vm_error_take(struct vsvm_vm *vm, struct vsvm_error *error, u64 *lost);
void vsvm_vm_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data);
int vsvm_vm_check_current(struct vsvm_vm *vm);
int vsvm_vm_begin(struct vsvm_vm *vm);
void vsvm_vm_end(struct vsvm_vm *vm);

/* vsvm_fault.c */
void vsvm_fault_init(struct vsvm_device *dev, unsigned int size);
void vsvm_fault_fini(struct vsvm_device *dev);
void vsvm_fault_vm_init(struct vsvm_vm *vm);
void vsvm_fault_push(struct vsvm_vm *vm, struct vsvm_fault_waiter *waiter,
		     u64 va, enum drm_gpusvm_access access);
void vsvm_fault_drop_pending(struct vsvm_vm *vm);

/* vsvm_program.c */
int vsvm_program_check(struct vsvm_device *dev, const struct drm_vsvm_instr *instrs,
		       u32 count, bool *hist);
int vsvm_program_step(struct vsvm_engine *engine, struct vsvm_job *job,
		      struct vsvm_access *a);

/* vsvm_engine.c */
int vsvm_engines_start(struct vsvm_device *dev, unsigned int count);
void vsvm_engines_stop(struct vsvm_device *dev);
int vsvm_engine_reserve(struct vsvm_vm *vm);
void vsvm_engine_unreserve(struct vsvm_vm *vm);
int vsvm_engine_submit(struct vsvm_job *job, u64 *id);
void vsvm_engine_refuse(struct vsvm_job *job, int err);
int vsvm_engine_submit_wait(struct vsvm_job *job, u64 *id);
void vsvm_job_wait_for(struct vsvm_job *job, struct vsvm_syncs *syncs);
void vsvm_job_free(struct vsvm_job *job);
struct vsvm_job *vsvm_job_alloc(struct vsvm_vm *vm, struct drm_vsvm_instr *instrs,
				u32 count, bool hist);
void vsvm_job_free(struct vsvm_job *job);
void vsvm_engine_kill_vm(struct vsvm_vm *vm, int err);
void vsvm_engine_reap_vm(struct vsvm_vm *vm);

/* vsvm_exec.c */
int vsvm_exec_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vsvm_attr.c */
struct drm_pagemap *vsvm_attr_pagemap(struct vsvm_device *dev, int fd);
int vsvm_attr_check_span(struct drm_device *drm, u64 start, u64 size);
int vsvm_attr_set_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_attr_get_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_attr_next_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_attr_reset_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vsvm_prefetch.c */
void vsvm_prefetch_vm_init(struct vsvm_vm *vm);
int vsvm_prefetch_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vsvm_ioctl.c */
int vsvm_file_open(struct drm_device *drm, struct drm_file *file);
void vsvm_file_close(struct drm_device *drm, struct drm_file *file);
void vsvm_teardown_all(struct vsvm_device *dev);
int vsvm_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_vm_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_vm_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_error_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vsvm_stats_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vsvm_debugfs.c */
void vsvm_debugfs_init(struct drm_minor *minor);

#endif /* __VSVM_DRV_H__ */
