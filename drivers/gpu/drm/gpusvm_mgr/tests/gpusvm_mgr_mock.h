/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_MOCK_H__
#define __GPUSVM_MGR_MOCK_H__

#include <linux/completion.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>

#include <kunit/test.h>

#include "../gpusvm_mgr_break.h"
#include "../gpusvm_mgr_internal.h"

/*
 * A mock device over a real mm. Memory, page tables, HMM and the notifier are
 * those of the kernel; only the device is not there: its page table, its TLB
 * and its DMA mappings are written down, and whether it could reach a page now
 * is looked up in them.
 *
 * A test's environment comes from gpusvm_mock_env_init(), the .init of the
 * suite, is found with gpusvm_mock_env(), and goes in gpusvm_mock_env_exit(),
 * the .exit of the suite, whatever the test left behind: closed gates, flushes
 * not answered, threads, instances attached.
 */

/* No wait of a test is longer, milliseconds. Long: the guest is emulated. */
#define GPUSVM_MOCK_LIMIT_MS	20000
#define GPUSVM_MOCK_LIMIT	msecs_to_jiffies(GPUSVM_MOCK_LIMIT_MS)

/*
 * The chunk sizes of the tests, with the page as the smallest. With pages of 4 KiB
 * they are the default ones, 64 KiB and 2 MiB; with larger ones they are as many
 * pages, so that each test finds three sizes to choose from.
 */
#define MOCK_MIDDLE		(16 * PAGE_SIZE)
#define MOCK_LARGE		(512 * PAGE_SIZE)

#define GPUSVM_MOCK_EVENTS	1024
#define GPUSVM_MOCK_FLUSHES	64
#define GPUSVM_MOCK_PREPARED	64

/**
 * enum gpusvm_mock_violation - What a device must never see
 * @GPUSVM_MOCK_STALE_PTE: A PTE is there when an invalidation of its address
 *	has returned from the start (I-1).
 * @GPUSVM_MOCK_STALE_TLB: Likewise, a TLB entry.
 * @GPUSVM_MOCK_STALE_DMA: Likewise, a DMA mapping.
 * @GPUSVM_MOCK_EARLY_UNMAP: DMA unmapped while a PTE or a TLB entry is there.
 * @GPUSVM_MOCK_DOUBLE_MAP: PTEs written over others.
 * @GPUSVM_MOCK_DETACHED: A callback for an instance that is detached.
 * @GPUSVM_MOCK_WRONG_VIEW: Zapped where this mapping has not written, or mapped
 *	where nothing was prepared.
 * @GPUSVM_MOCK_ZAP_AT_WORK: Zapped while a job is at work that does not fault.
 * @GPUSVM_MOCK_VIOLATIONS: Number of these.
 */
enum gpusvm_mock_violation {
	GPUSVM_MOCK_STALE_PTE,
	GPUSVM_MOCK_STALE_TLB,
	GPUSVM_MOCK_STALE_DMA,
	GPUSVM_MOCK_EARLY_UNMAP,
	GPUSVM_MOCK_DOUBLE_MAP,
	GPUSVM_MOCK_DETACHED,
	GPUSVM_MOCK_WRONG_VIEW,
	GPUSVM_MOCK_ZAP_AT_WORK,
	GPUSVM_MOCK_VIOLATIONS,
};

/**
 * enum gpusvm_mock_event_type - What is logged
 * @GPUSVM_MOCK_MAP: PTEs written.
 * @GPUSVM_MOCK_ZAP: PTEs cleared.
 * @GPUSVM_MOCK_FLUSH_START: A flush was asked for.
 * @GPUSVM_MOCK_FLUSH_DONE: A flush has completed.
 * @GPUSVM_MOCK_UNMAPPED: The DMA mapping goes.
 * @GPUSVM_MOCK_INVALIDATED: invalidate_range_start() is about to return to the
 *	mm; of no instance.
 * @GPUSVM_MOCK_QUIESCED: No job is at work any more.
 */
enum gpusvm_mock_event_type {
	GPUSVM_MOCK_MAP,
	GPUSVM_MOCK_ZAP,
	GPUSVM_MOCK_FLUSH_START,
	GPUSVM_MOCK_FLUSH_DONE,
	GPUSVM_MOCK_UNMAPPED,
	GPUSVM_MOCK_INVALIDATED,
	GPUSVM_MOCK_QUIESCED,
};

struct gpusvm_mock;

/**
 * struct gpusvm_mock_event - An entry of the log
 * @type: What.
 * @mock: Whose, or NULL.
 * @start: First address.
 * @end: End address, exclusive.
 */
struct gpusvm_mock_event {
	enum gpusvm_mock_event_type type;
	struct gpusvm_mock *mock;
	unsigned long start;
	unsigned long end;
};

/**
 * struct gpusvm_mock_device - A device; has no state but its DMA mask
 * @drm: The DRM device.
 * @faux: What it hangs on.
 * @node: In the environment's list.
 * @owner: Owner of device memory that it can reach, NULL: none.
 * @dpagemap: Where it wants data, NULL: nowhere.
 */
struct gpusvm_mock_device {
	struct drm_device drm;
	struct faux_device *faux;
	struct list_head node;
	void *owner;
	struct drm_pagemap *dpagemap;
};

/**
 * struct gpusvm_mock_env - What one test has
 * @test: The test.
 * @mm: The mm of the test's thread, which is gone in .exit; a reference.
 * @probe: A notifier behind the manager's: it looks for what is still reachable.
 * @wq: Completes flushes that the test does not complete itself.
 * @lock: Protects the lists and the log.
 * @devices: The devices.
 * @mocks: The instances.
 * @threads: The threads.
 * @gates: The gates.
 * @pages: Pages that are held until the end.
 * @next_addr: Where the next gpusvm_mock_mmap() goes.
 * @violations: Counters.
 * @events: The log.
 * @nr_events: Entries in @events; may be larger than the array.
 * @rescued: Flushes that nobody completed, gates that nobody opened.
 */
struct gpusvm_mock_env {
	struct kunit *test;
	struct mm_struct *mm;
	struct mmu_notifier probe;
	struct workqueue_struct *wq;
	/* A leaf, but for @lock of a mock. */
	spinlock_t lock;
	struct list_head devices;
	struct list_head mocks;
	struct list_head threads;
	struct list_head gates;
	struct xarray pages;
	unsigned long next_addr;
	atomic_t violations[GPUSVM_MOCK_VIOLATIONS];
	struct gpusvm_mock_event *events;
	unsigned int nr_events;
	atomic_t rescued;
};

/* Also for what was prepared, without a generation. */
struct gpusvm_mock_flush {
	unsigned long start;
	unsigned long end;
	u64 generation;
};

/**
 * struct gpusvm_mock - An instance of a mock device
 * @base: The instance.
 * @env: The environment.
 * @device: The device.
 * @node: In the environment's list.
 * @attached: Between attach and detach.
 * @lock: Protects what follows; a leaf.
 * @ptes: Page table, by page number of the device's addresses.
 * @tlb: The TLB, likewise.
 * @dma: What is mapped for DMA, by page number of the process's addresses.
 * @moved: Something was mapped at other addresses than those of the process.
 * @stamp: Generation of the last flush that was asked for. A flush drops the
 *	entries that are older than its start, no others.
 * @flushes: Flushes that are not completed.
 * @nr_flushes: Number of these.
 * @queued: Woken when a flush is queued.
 * @manual: The test completes the flushes.
 * @work: Completes them, if not @manual.
 * @rescue: Completes them when the test does not, and counts that.
 * @prepared: The last intervals that were prepared, a ring.
 * @nr_prepared: How many have been.
 * @map_error: What the next map callbacks return, 0: they work.
 * @prepare_error: Likewise for prepare.
 * @mappings: Mappings allocated and not freed.
 * @jobs: Jobs at work that do not fault.
 * @quiesces: Those who have begun to wait for them, so far.
 */
struct gpusvm_mock {
	struct drm_gpusvm_instance base;
	struct gpusvm_mock_env *env;
	struct gpusvm_mock_device *device;
	struct list_head node;
	bool attached;
	/* A leaf. */
	spinlock_t lock;
	struct xarray ptes;
	struct xarray tlb;
	struct xarray dma;
	bool moved;
	u64 stamp;
	struct gpusvm_mock_flush flushes[GPUSVM_MOCK_FLUSHES];
	unsigned int nr_flushes;
	wait_queue_head_t queued;
	bool manual;
	struct work_struct work;
	struct delayed_work rescue;
	struct gpusvm_mock_flush prepared[GPUSVM_MOCK_PREPARED];
	unsigned int nr_prepared;
	int map_error;
	int prepare_error;
	atomic_t mappings;
	unsigned int jobs;
	unsigned int quiesces;
};

/* The environment. */
int gpusvm_mock_env_init(struct kunit *test);
void gpusvm_mock_env_exit(struct kunit *test);

static inline struct gpusvm_mock_env *gpusvm_mock_env(struct kunit *test)
{
	return test->priv;
}

unsigned int gpusvm_mock_take(struct gpusvm_mock_env *env,
			      enum gpusvm_mock_violation violation);
unsigned int gpusvm_mock_take_all(struct gpusvm_mock_env *env);
unsigned int gpusvm_mock_take_rescued(struct gpusvm_mock_env *env);

/* Devices and instances. Those with a test in them end it where they fail. */
struct gpusvm_mock_device *gpusvm_mock_device(struct gpusvm_mock_env *env);
void gpusvm_mock_params(struct gpusvm_mock_device *device,
			struct drm_gpusvm_instance_params *params);
int gpusvm_mock_try_attach(struct gpusvm_mock_env *env,
			   struct gpusvm_mock_device *device, unsigned int flags,
			   struct gpusvm_mock **mock);
struct gpusvm_mock *gpusvm_mock_attach(struct gpusvm_mock_env *env,
				       struct gpusvm_mock_device *device,
				       unsigned int flags);
struct gpusvm_mock *gpusvm_mock_new(struct gpusvm_mock_env *env);
void gpusvm_mock_detach(struct gpusvm_mock *mock);
int gpusvm_mock_fault(struct gpusvm_mock *mock, unsigned long addr,
		      enum drm_gpusvm_access access);

/* What a device can reach of an address of the process. */
#define GPUSVM_MOCK_PTE		BIT(0)
#define GPUSVM_MOCK_TLB		BIT(1)
#define GPUSVM_MOCK_DMA		BIT(2)
#define GPUSVM_MOCK_ANY		(GPUSVM_MOCK_PTE | GPUSVM_MOCK_TLB | GPUSVM_MOCK_DMA)

unsigned int gpusvm_mock_reach(struct gpusvm_mock *mock, unsigned long start,
			       unsigned long end);

/* At an address of the device. */
#define GPUSVM_MOCK_READ	BIT(0)
#define GPUSVM_MOCK_WRITE	BIT(1)
#define GPUSVM_MOCK_ATOMIC	BIT(2)

unsigned int gpusvm_mock_look(struct gpusvm_mock *mock, unsigned long addr);
unsigned int gpusvm_mock_look_any(struct gpusvm_mock *mock, unsigned long start,
				  unsigned long end);
bool gpusvm_mock_pte(struct gpusvm_mock *mock, unsigned long addr,
		     unsigned long *pfn, bool *write);
bool gpusvm_mock_touch(struct gpusvm_mock *mock, unsigned long addr);
void gpusvm_mock_check_gone(struct gpusvm_mock_env *env, unsigned long start,
			    unsigned long end);

/* Flushes. */
void gpusvm_mock_set_manual(struct gpusvm_mock *mock, bool manual);
bool gpusvm_mock_flush_wait(struct gpusvm_mock *mock, unsigned int count);
unsigned int gpusvm_mock_flush_pending(struct gpusvm_mock *mock);
void gpusvm_mock_flush_complete(struct gpusvm_mock *mock, unsigned int count);

/* Jobs that do not fault. Submitted by one thread at a time. */
int gpusvm_mock_submit(struct gpusvm_mock *mock);
void gpusvm_mock_job_begin(struct gpusvm_mock *mock);
void gpusvm_mock_job_end(struct gpusvm_mock *mock);
bool gpusvm_mock_quiesce_wait(struct gpusvm_mock *mock, unsigned int count);

/* The log. */
void gpusvm_mock_events_reset(struct gpusvm_mock_env *env);
int gpusvm_mock_event(struct gpusvm_mock_env *env, struct gpusvm_mock *mock,
		      enum gpusvm_mock_event_type type, unsigned int nth);
unsigned int gpusvm_mock_events(struct gpusvm_mock_env *env,
				struct gpusvm_mock *mock,
				enum gpusvm_mock_event_type type);

/* Memory of the test's mm; only from the test's thread, or one of its threads. */
unsigned long gpusvm_mock_mmap(struct gpusvm_mock_env *env, unsigned long pages,
			       unsigned long prot, unsigned long flags);
unsigned long gpusvm_mock_anon(struct gpusvm_mock_env *env, unsigned long pages);
void gpusvm_mock_poke(struct gpusvm_mock_env *env, unsigned long addr, u8 value);
u8 gpusvm_mock_peek(struct gpusvm_mock_env *env, unsigned long addr);
struct page *gpusvm_mock_page(struct gpusvm_mock_env *env, unsigned long addr,
			      bool write);
int gpusvm_mock_zap(struct mm_struct *mm, unsigned long addr, unsigned long len);
int gpusvm_mock_mprotect(struct mm_struct *mm, unsigned long addr,
			 unsigned long len, bool write);

/*
 * Threads, which use the mm and hold a reference on its users. They begin with
 * gpusvm_mock_start(), so that a gate can be put in their way before.
 */
struct gpusvm_mock_thread {
	struct gpusvm_mock_env *env;
	struct list_head node;
	struct task_struct *task;
	int (*func)(struct gpusvm_mock_thread *thread);
	struct completion done;
	bool started;
	int ret;
	/* For func. */
	struct gpusvm_mock *mock;
	unsigned long addr;
	unsigned long len;
	enum drm_gpusvm_access access;
	enum mmu_notifier_event event;
	void *data;
};

struct gpusvm_mock_thread *
gpusvm_mock_thread(struct gpusvm_mock_env *env,
		   int (*func)(struct gpusvm_mock_thread *thread));
void gpusvm_mock_start(struct gpusvm_mock_thread *thread);
bool gpusvm_mock_thread_done(struct gpusvm_mock_thread *thread);
bool gpusvm_mock_join(struct gpusvm_mock_thread *thread);

struct gpusvm_mock_thread *
gpusvm_mock_fault_thread(struct gpusvm_mock *mock, unsigned long addr,
			 enum drm_gpusvm_access access);
struct gpusvm_mock_thread *
gpusvm_mock_munmap_thread(struct gpusvm_mock_env *env, unsigned long addr,
			  unsigned long len);
struct gpusvm_mock_thread *
gpusvm_mock_zap_thread(struct gpusvm_mock_env *env, unsigned long addr,
		       unsigned long len);
struct gpusvm_mock_thread *
gpusvm_mock_invalidate_thread(struct gpusvm_mock_env *env, unsigned long addr,
			      unsigned long len, enum mmu_notifier_event event);

/**
 * enum gpusvm_mock_window - Windows beside &enum gpusvm_mgr_window
 * @GPUSVM_MOCK_WINDOW_INVALIDATED: An invalidation, blockable: all start and
 *	finish passes are through, the mm has changed nothing yet; the object is the
 *	environment.
 * @GPUSVM_MOCK_WINDOW_PREPARE: Page tables are being made; the object is the mock.
 *	The range's fault mutex is held.
 */
enum gpusvm_mock_window {
	GPUSVM_MOCK_WINDOW_INVALIDATED = 64,
	GPUSVM_MOCK_WINDOW_PREPARE,
};

/**
 * struct gpusvm_mock_gate - Stops the first thread that comes by
 * @node: In the environment's list.
 * @window: A &enum gpusvm_mgr_window or a &enum gpusvm_mock_window.
 * @thread: Whom to stop, NULL: anyone.
 * @object: With which object of the window, NULL: any. When it was reached: the
 *	object.
 * @armed: Nobody came by yet.
 * @reached: Somebody came by.
 * @go: May go on.
 */
struct gpusvm_mock_gate {
	struct list_head node;
	unsigned int window;
	struct gpusvm_mock_thread *thread;
	void *object;
	bool armed;
	struct completion reached;
	struct completion go;
};

struct gpusvm_mock_gate *gpusvm_mock_gate(struct gpusvm_mock_env *env,
					  unsigned int window,
					  struct gpusvm_mock_thread *thread);
bool gpusvm_mock_gate_reached(struct gpusvm_mock_gate *gate);
void gpusvm_mock_gate_open(struct gpusvm_mock_gate *gate);

/* Leave a step out; gpusvm_mock_env_exit() puts all of them in again. */
void gpusvm_mock_break(struct gpusvm_mock_env *env, enum gpusvm_mgr_step step,
		       bool broken);

/* The walker. */
#define gpusvm_mock_validate(mock)						\
	do {									\
		struct gpusvm_mock *__mock = (mock);				\
										\
		KUNIT_EXPECT_EQ(__mock->env->test,				\
				drm_gpusvm_mgr_validate(__mock->base.mgr), 0);	\
	} while (0)

#endif /* __GPUSVM_MGR_MOCK_H__ */
