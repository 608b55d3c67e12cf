/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __VSVM_SVM_DEVICE_H__
#define __VSVM_SVM_DEVICE_H__

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_gpusvm.h>

struct hmm_range;
struct mm_struct;
struct vsvm_dev_range;
struct vsvm_dev_svm;
struct vsvm_police_slot;
struct vsvm_vm;

/*
 * SVM of one device, without the manager: what the back ends share that exist
 * to be compared with it. Each VM has its own ranges, notifiers and HMM walks.
 *
 * Lock order, outermost first:
 *
 *	svm->lock > mmap lock for read > [reclaim] > svm->svm.notifier_lock >
 *	svm->gc_lock, leaf locks of the device
 *
 * svm->lock is the "driver_svm_lock" of drm_gpusvm's manual.
 */

/* What one notifier covers, as drm_gpusvm recommends. */
#define VSVM_DEV_NOTIFIER_SIZE	((unsigned long)SZ_512M)

/**
 * struct vsvm_dev_svm_ops - How a back end keeps its ranges
 */
struct vsvm_dev_svm_ops {
	/**
	 * @range_get: Find the range at an address, or make one, of @limit bytes
	 * at most
	 *
	 * Return: the range or an ERR_PTR(): -ENOENT: no VMA; -EPERM: it is not
	 * writable; -EIO: device memory of another kind; -EINVAL; -ENOMEM.
	 */
	struct vsvm_dev_range *(*range_get)(struct vsvm_dev_svm *svm, unsigned long addr,
					    unsigned long limit,
					    const struct drm_gpusvm_ctx *ctx);
	/** @range_remove: Forget a range of which nothing is mapped, and free it */
	void (*range_remove)(struct vsvm_dev_range *range);
	/** @range_evict: Bring what is in device memory back to the system's */
	int (*range_evict)(struct vsvm_dev_range *range);
};

/**
 * struct vsvm_dev_svm_stats - Counters
 * @maps: Ranges mapped.
 * @unmaps: Ranges whose mapping was taken away.
 * @dma_bytes: Bytes mapped now.
 * @walks: HMM walks, one at least for each time that pages were got.
 * @invalidations: Invalidations that met something mapped.
 * @retries: Faults that looked again.
 * @seq_waits: Waits of a fault for the end of an invalidation, wherever it is.
 * @migrations: Moves into device memory.
 * @migrations_failed: Those that failed.
 * @ranges: Ranges now.
 */
struct vsvm_dev_svm_stats {
	atomic64_t maps;
	atomic64_t unmaps;
	atomic64_t dma_bytes;
	atomic64_t walks;
	atomic64_t invalidations;
	atomic64_t retries;
	atomic64_t seq_waits;
	atomic64_t migrations;
	atomic64_t migrations_failed;
	atomic64_t ranges;
};

/**
 * struct vsvm_dev_svm - A VM's share of a process's address space
 * @svm: Upstream's object; its notifier_lock protects what is mapped.
 * @ops: The back end. Immutable
 * @vm: The VM. Immutable
 * @mm: The process, a reference to the struct only. Immutable
 * @dpagemap: Where data is wanted, or NULL. Immutable
 * @ranges: All &struct vsvm_dev_range. Changed with @lock held and the
 *	notifier_lock held for read
 * @dead: Nothing is mapped any more. Written with the notifier_lock held for write
 * @flush_started: Number of the last flush. Likewise
 * @flush_done: Number of the last flush that is complete
 * @flush_wait: Who waits for @flush_done
 * @gc: Ranges of which something was unmapped. Protected by @gc_lock
 * @gc_work: Removes them, where no fault does it first
 * @stats: Counters
 */
struct vsvm_dev_svm {
	struct drm_gpusvm svm;
	const struct vsvm_dev_svm_ops *ops;
	struct vsvm_vm *vm;
	struct mm_struct *mm;
	struct drm_pagemap *dpagemap;

	/** @lock: One fault at a time; protects the trees of ranges */
	struct mutex lock;
	struct list_head ranges;

	bool dead;
	u64 flush_started;
	atomic64_t flush_done;
	wait_queue_head_t flush_wait;

	/** @gc_lock: Protects @gc. A leaf */
	spinlock_t gc_lock;
	struct list_head gc;
	struct work_struct gc_work;

	struct vsvm_dev_svm_stats stats;
};

/**
 * struct vsvm_dev_range - A range
 * @pages: Its DMA mapping.
 * @svm: Whose. Immutable
 * @notifier: What covers it. Immutable
 * @start: First address. Immutable
 * @end: End address, exclusive. Immutable
 * @police: Its identity for the policeman. Immutable
 * @can_migrate: Device memory can hold it. Immutable
 * @ptes: PTEs are in place. Written with svm->lock held and the notifier_lock held
 *	for read, or for write
 * @write: The device may write. Likewise
 * @zapped: PTEs are gone, but the flush may not be complete and the DMA mapping
 *	is there. Likewise
 * @unmapped: Something of it was unmapped; it is on its way out. Written with the
 *	notifier_lock held for write
 * @partial: And something was not. Likewise
 * @link: In &vsvm_dev_svm.ranges
 * @gc_link: In &vsvm_dev_svm.gc
 */
struct vsvm_dev_range {
	struct drm_gpusvm_pages pages;
	struct vsvm_dev_svm *svm;
	struct mmu_interval_notifier *notifier;
	unsigned long start;
	unsigned long end;
	struct vsvm_police_slot *police;
	bool can_migrate;
	bool ptes;
	bool write;
	bool zapped;
	bool unmapped;
	bool partial;
	struct list_head link;
	struct list_head gc_link;
};

/**
 * struct vsvm_dev_zap - What one invalidation has to flush and to wait for
 * @start: First address that was zapped.
 * @end: End address, exclusive; 0: nothing was.
 * @pending: A DMA mapping is to go, be it that somebody else has zapped it.
 */
struct vsvm_dev_zap {
	unsigned long start;
	unsigned long end;
	bool pending;
};

extern const unsigned long vsvm_dev_chunks[];
extern const unsigned int vsvm_dev_num_chunks;

int vsvm_dev_svm_init(struct vsvm_dev_svm *svm, struct vsvm_vm *vm,
		      const struct vsvm_dev_svm_ops *ops);
void vsvm_dev_svm_quiesce(struct vsvm_dev_svm *svm);
void vsvm_dev_svm_fini(struct vsvm_dev_svm *svm);

int vsvm_dev_range_init(struct vsvm_dev_range *range, struct vsvm_dev_svm *svm);
void vsvm_dev_range_fini(struct vsvm_dev_range *range);
int vsvm_dev_range_walk(struct vsvm_dev_range *range, struct hmm_range *hmm);
void vsvm_dev_range_zap(struct vsvm_dev_range *range, struct vsvm_dev_zap *zap);
void vsvm_dev_range_unmap(struct vsvm_dev_range *range);
void vsvm_dev_range_collect(struct vsvm_dev_range *range,
			    const struct mmu_notifier_range *mmu_range);
u64 vsvm_dev_zap_flush(struct vsvm_dev_svm *svm, const struct vsvm_dev_zap *zap);
void vsvm_dev_flush_wait(struct vsvm_dev_svm *svm, u64 generation);

/* What is the same in the back ends' &struct vsvm_svm_ops. */
void vsvm_dev_svm_kill(struct vsvm_vm *vm);
int vsvm_dev_svm_check_current(struct vsvm_vm *vm);
bool vsvm_dev_svm_exiting(struct vsvm_vm *vm);
int vsvm_dev_svm_fault_batch(struct vsvm_vm *vm, struct drm_gpusvm_fault *faults,
			     unsigned int count);
void vsvm_dev_svm_flush_done(struct vsvm_vm *vm, u64 generation);
void vsvm_dev_svm_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data);

#endif /* __VSVM_SVM_DEVICE_H__ */
