/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __VSVM_BIND_H__
#define __VSVM_BIND_H__

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include <drm/drm_gpuvm.h>

#include "vsvm_sync.h"

struct drm_exec;
struct drm_gpusvm_instance;
struct drm_vsvm_bind_op;
struct drm_vsvm_stats_data;
struct vsvm_bo;
struct vsvm_device;
struct vsvm_police_slot;
struct vsvm_vm;

/**
 * struct vsvm_va - A binding
 * @base: What drm_gpuvm knows. Addresses and object do not change after the
 *	binding is in the tree; it has a reference to the object
 * @police: Its identity for the policeman. Immutable
 * @link: In &vsvm_bind_op.removed, or a list of a teardown
 * @prev: What was kept of it in front when it was cut, or NULL. Written once
 * @next: Likewise, behind
 * @flush: The flush that its zap asked for
 * @write: The device may write. Immutable
 * @ptes: Its PTEs are in place, or a bind that is queued will see to that.
 *	Protected by the object's reservation object
 * @zapped: Its PTEs were zapped, and it is to be retired after @flush
 */
struct vsvm_va {
	struct drm_gpuva base;
	struct vsvm_police_slot *police;
	struct list_head link;
	struct vsvm_va *prev;
	struct vsvm_va *next;
	u64 flush;
	bool write;
	bool ptes;
	bool zapped;
};

/**
 * struct vsvm_bind_op - An operation of a bind
 * @type: An &enum drm_vsvm_bind_type
 * @write: The device may write
 * @addr: First address
 * @range: Bytes
 * @offset: In the object, or address of the process
 * @obj: The object, with a reference, or NULL
 * @vm_bo: Object and VM, while the bind is being made
 * @map: The new binding, or a spare
 * @prev: What is kept of the first one that is cut, or a spare
 * @next: What is kept of the last one that is cut, or a spare
 * @mapped: @map is in use
 * @kept_prev: @prev is in use
 * @kept_next: @next is in use
 * @removed: &struct vsvm_va that it removed
 *
 * It has all that it may need from the beginning, so that nothing can fail
 * once anything was changed.
 */
struct vsvm_bind_op {
	u32 type;
	bool write;
	u64 addr;
	u64 range;
	u64 offset;
	struct drm_gem_object *obj;
	struct drm_gpuvm_bo *vm_bo;
	struct vsvm_va *map;
	struct vsvm_va *prev;
	struct vsvm_va *next;
	bool mapped;
	bool kept_prev;
	bool kept_next;
	struct list_head removed;
};

/**
 * struct vsvm_bind - A bind: the operations of one call
 * @ref: One for the queue, one for who makes it
 * @vm: The VM, with a reference
 * @link: In &vsvm_vm_bind.queue. Protected by &vsvm_vm_bind.queue_lock
 * @fence: Signals when it was performed
 * @initialized: @fence is one, and is not just memory
 * @deps: What it waits for
 * @ready: It does not wait any more. Protected by &vsvm_vm_bind.queue_lock
 * @num_ops: Number of operations
 * @free_work: Drops the queue's reference
 * @ops: The operations
 */
struct vsvm_bind {
	struct kref ref;
	struct vsvm_vm *vm;
	struct list_head link;
	struct vsvm_fence *fence;
	bool initialized;
	struct vsvm_deps deps;
	bool ready;
	u32 num_ops;
	struct work_struct free_work;
	struct vsvm_bind_op ops[] __counted_by(num_ops);
};

/**
 * struct vsvm_vm_bind - What a VM has to do with bindings
 * @gpuvm: The bindings. Its tree is protected by @lock
 * @resv: Whose reservation object the VM uses, with a reference. Immutable
 * @mm: Whose address space's the VM is, a reference to the struct only; of VMs
 *	without mirrors, while they are attached
 * @context: Timeline of its binds. Immutable
 * @exec_context: Timeline of its first queue's jobs, the others follow. Immutable
 * @seqno: Last fence of @context. Protected by @lock
 * @exec_seqno: Last fence of each queue. Likewise
 * @userptr: The VM has no mirrors, and its instance is attached, for user pointers.
 *	Written once, with @submit_lock and @lock held
 * @changes: Counts changes of what is bound and mirrored, on a VM with mirrors.
 *	Written with @lock held
 * @last_exec: The last fence of each queue, with a reference. Protected by @queue_lock
 * @dead: Binds do not wait for others any more, and none is made. Protected by
 *	@queue_lock
 * @queue: &struct vsvm_bind, in order. Likewise
 * @pending: Their number. Likewise
 * @idle: Where the end of all binds is waited for
 * @work: Performs them
 */
struct vsvm_vm_bind {
	struct drm_gpuvm gpuvm;
	struct drm_gem_object *resv;
	struct mm_struct *mm;
	u64 context;
	u64 exec_context;
	/**
	 * @lock: The outer lock of binds, jobs with a fence and faults on
	 * bindings; taken outside all reservation objects. Never on the path to
	 * a fence
	 */
	struct mutex lock;
	u64 seqno;
	u64 exec_seqno[16];
	/**
	 * @submit_lock: Taken outside @lock, for what may wait for page faults: by
	 * submissions of jobs with a fence, and binds that are not queued. Only
	 * interruptibly
	 */
	struct mutex submit_lock;
	bool userptr;
	atomic64_t changes;
	struct dma_fence *last_exec[16];

	/** @queue_lock: Protects the queue. A leaf */
	spinlock_t queue_lock;
	bool dead;
	struct list_head queue;
	unsigned int pending;
	wait_queue_head_t idle;
	struct work_struct work;
};

/**
 * struct vsvm_userptr_tries - Attempts to submit a job with user pointers
 * @looks: How many there were.
 * @deadline: When it is enough, jiffies, if there were some.
 */
struct vsvm_userptr_tries {
	unsigned int looks;
	unsigned long deadline;
};

#define to_vsvm_va(va_)		container_of(va_, struct vsvm_va, base)

/* vsvm_va.c */
struct vsvm_va *vsvm_va_alloc(struct vsvm_vm *vm);
void vsvm_va_free(struct vsvm_vm *vm, struct vsvm_va *va);
void vsvm_va_map(struct vsvm_vm *vm, struct vsvm_va *va);
void vsvm_va_cut(struct vsvm_vm *vm, struct vsvm_va *va, u64 start, u64 end);
void vsvm_va_retire(struct vsvm_vm *vm, struct vsvm_va *va);
void vsvm_va_zap_span(struct vsvm_vm *vm, u64 addr, u64 range);
void vsvm_va_map_span(struct vsvm_vm *vm, u64 addr, u64 range);
int vsvm_va_revive(struct drm_gpuvm_bo *vm_bo, bool move);
void vsvm_bind_zap_object(struct drm_gem_object *obj);
int vsvm_bind_exec_lock(struct vsvm_vm *vm, struct drm_exec *exec);
int vsvm_bind_access_error(struct vsvm_vm *vm, u64 va, bool write);
int vsvm_bind_vm_init(struct vsvm_vm *vm);
void vsvm_bind_vm_teardown(struct vsvm_vm *vm);
void vsvm_bind_vm_fini(struct vsvm_vm *vm);

/* vsvm_bind.c */
int vsvm_bind_step_map(struct drm_gpuva_op *gop, void *priv);
int vsvm_bind_step_remap(struct drm_gpuva_op *gop, void *priv);
int vsvm_bind_step_unmap(struct drm_gpuva_op *gop, void *priv);
struct vsvm_bind *vsvm_bind_alloc(struct vsvm_vm *vm, const struct drm_vsvm_bind_op *ops,
				  u32 count, struct drm_file *file, struct vsvm_syncs *syncs);
void vsvm_bind_put(struct vsvm_bind *bind);
int vsvm_binds_begin(struct vsvm_bind *const *binds, u32 count, struct drm_exec *exec);
void vsvm_bind_unprepare(struct vsvm_bind *bind);
void vsvm_bind_change_tree(struct vsvm_bind *bind);
void vsvm_bind_perform(struct vsvm_bind *bind);
struct dma_fence *vsvm_bind_commit(struct vsvm_bind *bind);
void vsvm_bind_work(struct work_struct *work);

/* vsvm_vm_bind.c */
int vsvm_vm_bind_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vsvm_mirror.c */
void vsvm_userptr_kill(struct vsvm_vm *vm);
void vsvm_userptr_detach(struct vsvm_vm *vm);
void vsvm_userptr_flush_done(struct vsvm_vm *vm, u64 generation);
void vsvm_userptr_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data);
void vsvm_userptr_quiesce(struct drm_gpusvm_instance *instance);
void vsvm_userptr_add_job(struct vsvm_vm *vm, unsigned int queue, struct dma_fence *fence);
int vsvm_userptr_prepare(struct vsvm_vm *vm);
int vsvm_userptr_begin(struct vsvm_vm *vm);
void vsvm_userptr_end(struct vsvm_vm *vm);
void vsvm_userptr_tries_begin(struct vsvm_userptr_tries *tries);
bool vsvm_userptr_try_again(struct vsvm_userptr_tries *tries);
bool vsvm_bind_is_now(struct vsvm_bind *bind);
int vsvm_bind_now(struct vsvm_bind *bind, struct vsvm_syncs *syncs);
int vsvm_bind_fault(struct vsvm_vm *vm, u64 addr, bool write, u64 changes);

/* vsvm_resv.c */
struct drm_gem_object *vsvm_resv_get(struct drm_device *drm, bool shared);
unsigned int vsvm_resv_id(struct drm_gem_object *obj);

#endif /* __VSVM_BIND_H__ */
