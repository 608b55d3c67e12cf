// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The flush queue: TLB flushes as hardware does them, asked for in one place,
 * done some time later, acknowledged in another.
 *
 * Asking never waits and never allocates, because it happens inside an MMU
 * notifier: each VM has its requests from the beginning, and where all are
 * queued, the youngest one is widened. The thread that performs and
 * acknowledges flushes takes no lock under which anybody allocates or waits
 * for a fault, so whoever waits for a flush, waits for the latency and no more (in
 * the check mode, also for the real DMA engine).
 *
 * A flush is complete when no access through an old translation is under way
 * and none can begin. An engine holds the VM's gate for read from its look at
 * the TLB until it has touched memory, the flush takes it for write:
 *
 *	engine				driver, then flush thread
 *	------				-------------------------
 *	gate (read)
 *	TLB: miss
 *	page table: PTE
 *					PTE cleared, flush queued
 *	TLB: PTE inserted
 *	touches memory
 *	gate (read) ends
 *					gate (write): entry dropped
 *					done
 *	gate (read)
 *	TLB: miss
 *	page table: nothing, fault
 *
 * Had the thread dropped the entries without the gate, the insertion could
 * have come after it, and the access, too. The PTE was cleared before the
 * request was queued, and the queue's and the gate's locks order that before
 * any engine that gets the gate after the flush.
 *
 * An access in the real DMA engine is not over when the gate is left; how that is
 * waited for is in vsvm_edu.c.
 */

#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/lockdep.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

#ifdef CONFIG_LOCKDEP
/* Held by the thread while it performs a flush, and taken by who waits for one. */
static struct lockdep_map vsvm_flush_map =
	STATIC_LOCKDEP_MAP_INIT("vsvm_flush", &vsvm_flush_map);
#endif

/*
 * Lockdep then reports where the caller holds a lock that the thread needs to go on,
 * itself or behind others, whether the thread wants it just now or not.
 */
static void vsvm_flush_will_wait(void)
{
	lock_map_acquire(&vsvm_flush_map);
	lock_map_release(&vsvm_flush_map);
}

/**
 * vsvm_flush_init() - Make an empty flush queue
 * @flush: The queue.
 * @latency_us: How long a flush takes.
 */
void vsvm_flush_init(struct vsvm_flush *flush, unsigned int latency_us)
{
	spin_lock_init(&flush->lock);
	INIT_LIST_HEAD(&flush->queue);
	init_waitqueue_head(&flush->wait);
	init_waitqueue_head(&flush->drained);
	flush->latency_us = latency_us;
}

/**
 * vsvm_flush_vm_init() - Make the requests of a VM
 * @vm: The VM.
 */
void vsvm_flush_vm_init(struct vsvm_vm *vm)
{
	unsigned int i;

	INIT_LIST_HEAD(&vm->flush.free);
	atomic64_set(&vm->flush.bind_done, 0);
	init_waitqueue_head(&vm->flush.bind_wait);
	for (i = 0; i < VSVM_FLUSH_DEPTH; i++) {
		vm->flush.reqs[i].vm = vm;
		list_add_tail(&vm->flush.reqs[i].link, &vm->flush.free);
	}
}

/*
 * @generation is the back end's; 0 for a flush that has to do with bindings, of
 * which the number is returned.
 */
static u64 vsvm_flush_start_one(struct vsvm_vm *vm, u64 start, u64 end, u64 generation)
{
	struct vsvm_flush *flush = &vm->dev->flush;
	u64 bind = 0;
	struct vsvm_flush_req *req;
	bool merged = false;
	ktime_t due;

	due = ktime_add_us(ktime_get(), READ_ONCE(flush->latency_us));
	atomic64_inc(&vm->stats.tlb_flushes);
	atomic64_inc(&vm->dev->flushes);

	spin_lock(&flush->lock);
	req = list_first_entry_or_null(&vm->flush.free, struct vsvm_flush_req, link);
	if (req) {
		req->start = start;
		req->end = end;
		req->generation = 0;
		req->bind = 0;
		list_move_tail(&req->link, &flush->queue);
		vm->flush.queued++;
		vm->flush.last = req;
	} else {
		/*
		 * All are queued, or one is being performed and the others are
		 * queued: the last one is not the one being performed.
		 */
		merged = true;
		req = vm->flush.last;
		req->start = min(req->start, start);
		req->end = max(req->end, end);
	}
	/* One that is merged may complete one of each kind. */
	if (generation) {
		req->generation = generation;
	} else {
		bind = ++vm->flush.bind_started;
		req->bind = bind;
	}
	req->due = due;
	spin_unlock(&flush->lock);

	if (merged)
		atomic64_inc(&vm->dev->flushes_merged);
	trace_vsvm_flush_start(vm, start, end, generation, merged);
	wake_up(&flush->wait);
	return bind;
}

/**
 * vsvm_flush_queue() - Ask for a flush
 * @vm: The VM.
 * @start: First address.
 * @end: End address, exclusive.
 * @generation: Given to the back end when the flush is complete, not 0.
 *
 * Neither waits nor allocates. Calls for one VM come one at a time, with
 * rising generations; they complete in this order. Where all requests of the
 * VM are queued, the youngest covers both spans and completes both.
 */
void vsvm_flush_queue(struct vsvm_vm *vm, u64 start, u64 end, u64 generation)
{
	/* The back end does, and holds then what it holds now, but for its own lock. */
	vsvm_flush_will_wait();
	vsvm_flush_start_one(vm, start, end, generation);
}

/**
 * vsvm_flush_bind() - Ask for a flush of something that was bound
 * @vm: The VM.
 * @start: First address.
 * @end: End address, exclusive.
 *
 * Like vsvm_flush_queue(), but calls may come at the same time. The back end
 * does not learn of it.
 *
 * Return: the number of the flush, for vsvm_flush_bind_wait().
 */
u64 vsvm_flush_bind(struct vsvm_vm *vm, u64 start, u64 end)
{
	return vsvm_flush_start_one(vm, start, end, 0);
}

/**
 * vsvm_flush_bind_wait() - Wait for a flush
 * @vm: The VM.
 * @bind: The number of the flush.
 *
 * May stand before a fence: waits for the latency and no more.
 */
void vsvm_flush_bind_wait(struct vsvm_vm *vm, u64 bind)
{
	vsvm_flush_will_wait();
	wait_event(vm->flush.bind_wait, (u64)atomic64_read_acquire(&vm->flush.bind_done) >= bind);
}

static void vsvm_flush_perform(struct vsvm_device *dev, struct vsvm_vm *vm,
			       u64 start, u64 end, u64 generation, u64 bind)
{
	unsigned int dropped = 0;
	bool suppressed;

	suppressed = atomic_dec_if_positive(&dev->flush.suppress) >= 0;
	/* Also to spare: an engine may be about to insert what is to be marked. */
	write_lock(&vm->gate);
	if (suppressed)
		vsvm_tlb_spare(&dev->tlb, vm->asid, start, end);
	else
		dropped = vsvm_tlb_flush(&dev->tlb, vm->asid, start, end);
	write_unlock(&vm->gate);
	/* What was translated before may still be under way in the real engine. */
	vsvm_edu_wait(&dev->edu, vm, start, end);

	if (suppressed)
		atomic64_inc(&dev->flushes_suppressed);
	else
		atomic64_add(dropped, &vm->stats.tlb_flushed);

	trace_vsvm_flush_done(vm, start, end, generation, dropped, suppressed);
	if (generation)
		vm->svm->flush_done(vm, generation);
	if (bind) {
		/* Flushes of a VM are performed in the order of their numbers. */
		atomic64_set_release(&vm->flush.bind_done, bind);
		wake_up_all(&vm->flush.bind_wait);
	}
}

static int vsvm_flush_thread(void *arg)
{
	struct vsvm_device *dev = arg;
	struct vsvm_flush *flush = &dev->flush;
	struct vsvm_flush_req *req;

	for (;;) {
		u64 start, end, generation, bind;
		struct vsvm_vm *vm;
		ktime_t due;

		wait_event_idle(flush->wait, !list_empty(&flush->queue) ||
				kthread_should_stop());

		spin_lock(&flush->lock);
		req = list_first_entry_or_null(&flush->queue, struct vsvm_flush_req, link);
		if (!req) {
			spin_unlock(&flush->lock);
			if (kthread_should_stop())
				break;
			continue;
		}

		due = req->due;
		if (ktime_before(ktime_get(), due)) {
			/* It stays queued, and may be widened meanwhile. */
			spin_unlock(&flush->lock);
			set_current_state(TASK_IDLE);
			schedule_hrtimeout(&due, HRTIMER_MODE_ABS);
			continue;
		}

		/*
		 * The request is free again only when the flush is complete,
		 * so that another one of this VM cannot overtake it by merging.
		 */
		vm = req->vm;
		list_del_init(&req->link);
		if (vm->flush.last == req)
			vm->flush.last = NULL;
		start = req->start;
		end = req->end;
		generation = req->generation;
		bind = req->bind;
		spin_unlock(&flush->lock);

		lock_map_acquire(&vsvm_flush_map);
		vsvm_flush_perform(dev, vm, start, end, generation, bind);
		lock_map_release(&vsvm_flush_map);

		/* From here on the VM may be freed, see vsvm_flush_drain(). */
		spin_lock(&flush->lock);
		list_add_tail(&req->link, &vm->flush.free);
		vm->flush.queued--;
		wake_up_all(&flush->drained);
		spin_unlock(&flush->lock);
	}
	return 0;
}

static bool vsvm_flush_drained(struct vsvm_vm *vm)
{
	bool drained;

	/* The lock, so that the thread has let go of the VM. */
	spin_lock(&vm->dev->flush.lock);
	drained = !vm->flush.queued;
	spin_unlock(&vm->dev->flush.lock);
	return drained;
}

/**
 * vsvm_flush_drain() - Wait until the flush thread has let go of a VM
 * @vm: The VM; nobody asks for a flush any more.
 *
 * The back end waits for its flushes itself, but it wakes up in the middle of
 * the thread's call of flush_done.
 */
void vsvm_flush_drain(struct vsvm_vm *vm)
{
	vsvm_flush_will_wait();
	wait_event_idle(vm->dev->flush.drained, vsvm_flush_drained(vm));
}

/**
 * vsvm_flush_start() - Start the thread
 * @dev: The device.
 *
 * Return: 0, or a negative errno.
 */
int vsvm_flush_start(struct vsvm_device *dev)
{
	struct task_struct *thread;

	thread = kthread_run(vsvm_flush_thread, dev, "vsvm-flush/%u", dev->index);
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	dev->flush.thread = thread;
	return 0;
}

/**
 * vsvm_flush_stop() - Stop the thread
 * @dev: The device; all its VMs are torn down.
 */
void vsvm_flush_stop(struct vsvm_device *dev)
{
	if (dev->flush.thread)
		kthread_stop(dev->flush.thread);
	dev->flush.thread = NULL;
}
