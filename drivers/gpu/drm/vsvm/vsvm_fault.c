// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The fault ring: where the accesses that found no translation wait to be
 * served, and what serves them.
 *
 * A fault of a VM on a page that waits already, for the same access or a
 * stronger one, is not queued again; its job waits along with the first. A
 * fault that is being served is no longer joined: its result may be older than
 * what the newcomer saw.
 *
 * Each VM's faults are served by a work item of its own, in batches. Serving
 * may take for ever (think of userfaultfd), and then only this VM waits. It is
 * never done by the thread that acknowledges flushes, because an invalidation,
 * and with it the serving of a fault, may have to wait for a flush.
 *
 * The ring has a fixed size. Who finds it full waits until a place is free and
 * then tries the access again, so nothing is lost.
 */

#include <linux/mm.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

/**
 * vsvm_fault_init() - Make an empty ring
 * @dev: The device.
 */
void vsvm_fault_init(struct vsvm_device *dev)
{
	unsigned int i;

	for (i = 0; i < VSVM_FAULT_RING; i++)
		INIT_LIST_HEAD(&dev->faults.slots[i].waiters);
	INIT_LIST_HEAD(&dev->faults.overflow);
}

static void vsvm_fault_resume_all(struct list_head *waiters, int err)
{
	struct vsvm_fault_waiter *waiter, *next;

	list_for_each_entry_safe(waiter, next, waiters, link) {
		list_del_init(&waiter->link);
		waiter->done(waiter, err);
	}
}

/* The place is free again: whoever waited for one may try its access again. */
static void vsvm_fault_slot_free(struct vsvm_device *dev, struct vsvm_fault_slot *slot)
{
	lockdep_assert_held(&dev->lock);

	slot->state = VSVM_FAULT_FREE;
	slot->vm = NULL;
	vsvm_fault_resume_all(&dev->faults.overflow, 0);
}

/**
 * vsvm_fault_push() - Raise a fault
 * @vm: The VM.
 * @waiter: Told when it was served, or is to be tried again for another
 *	reason; maybe before this function returns.
 * @va: The address.
 * @access: What was tried.
 *
 * Does not sleep. Does nothing where the VM is dead.
 */
void vsvm_fault_push(struct vsvm_vm *vm, struct vsvm_fault_waiter *waiter,
		     u64 va, enum drm_gpusvm_access access)
{
	unsigned long page = va & PAGE_MASK;
	struct vsvm_device *dev = vm->dev;
	struct vsvm_fault_slot *free = NULL;
	unsigned int i;

	atomic64_inc(&vm->stats.faults);

	spin_lock(&dev->lock);
	if (vm->dead)
		goto unlock;

	for (i = 0; i < VSVM_FAULT_RING; i++) {
		struct vsvm_fault_slot *slot = &dev->faults.slots[i];

		if (slot->state == VSVM_FAULT_FREE) {
			free = free ?: slot;
		} else if (slot->state == VSVM_FAULT_PENDING && slot->vm == vm &&
			   slot->page == page && slot->access >= access) {
			atomic64_inc(&vm->stats.faults_merged);
			trace_vsvm_fault_push(vm, va, access, "merged");
			list_add_tail(&waiter->link, &slot->waiters);
			goto unlock;
		}
	}

	if (!free) {
		atomic64_inc(&dev->overflows);
		trace_vsvm_fault_push(vm, va, access, "overflow");
		list_add_tail(&waiter->link, &dev->faults.overflow);
		goto unlock;
	}

	free->state = VSVM_FAULT_PENDING;
	free->vm = vm;
	free->page = page;
	free->access = access;
	list_add_tail(&waiter->link, &free->waiters);
	trace_vsvm_fault_push(vm, va, access, "queued");
	/* The work item has a reference; whoever pushes has one, too. */
	if (queue_work(vsvm_wq, &vm->fault_work))
		vsvm_vm_get(vm);
unlock:
	spin_unlock(&dev->lock);
}

/**
 * vsvm_fault_drop_pending() - Forget the faults of a VM that nobody serves yet
 * @vm: The VM, dead, with no job left that waits.
 */
void vsvm_fault_drop_pending(struct vsvm_vm *vm)
{
	struct vsvm_device *dev = vm->dev;
	unsigned int i;

	spin_lock(&dev->lock);
	for (i = 0; i < VSVM_FAULT_RING; i++) {
		struct vsvm_fault_slot *slot = &dev->faults.slots[i];

		if (slot->state == VSVM_FAULT_PENDING && slot->vm == vm) {
			WARN_ON_ONCE(!list_empty(&slot->waiters));
			vsvm_fault_slot_free(dev, slot);
		}
	}
	spin_unlock(&dev->lock);
}

/* Takes up to a batch of the VM's pending faults. */
static unsigned int vsvm_fault_collect(struct vsvm_vm *vm, struct vsvm_fault_slot **slots,
				       struct drm_gpusvm_fault *faults)
{
	struct vsvm_device *dev = vm->dev;
	unsigned int i, n = 0;

	spin_lock(&dev->lock);
	for (i = 0; i < VSVM_FAULT_RING && n < VSVM_FAULT_BATCH && !vm->dead; i++) {
		struct vsvm_fault_slot *slot = &dev->faults.slots[i];

		if (slot->state != VSVM_FAULT_PENDING || slot->vm != vm)
			continue;
		slot->state = VSVM_FAULT_SERVING;
		slots[n] = slot;
		faults[n].addr = slot->page;
		faults[n].access = slot->access;
		/* For a back end that forgets one: never taken for success. */
		faults[n].err = -EIO;
		n++;
	}
	vm->serving += n;
	spin_unlock(&dev->lock);
	return n;
}

/* The back end may have sorted the faults. */
static int vsvm_fault_result(const struct vsvm_fault_slot *slot,
			     const struct drm_gpusvm_fault *faults, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (faults[i].addr == slot->page && faults[i].access == slot->access)
			return faults[i].err;
	return -EIO;
}

static void vsvm_fault_work(struct work_struct *work)
{
	struct vsvm_vm *vm = container_of(work, struct vsvm_vm, fault_work);
	struct drm_gpusvm_fault faults[VSVM_FAULT_BATCH];
	struct vsvm_fault_slot *slots[VSVM_FAULT_BATCH];
	struct vsvm_device *dev = vm->dev;
	unsigned int count, i;

	while ((count = vsvm_fault_collect(vm, slots, faults))) {
		atomic64_inc(&vm->stats.batches);
		atomic64_inc(&dev->batches);
		vm->svm->fault_batch(vm, faults, count);

		spin_lock(&dev->lock);
		for (i = 0; i < count; i++) {
			int err = vsvm_fault_result(slots[i], faults, count);

			trace_vsvm_fault_serve(vm, slots[i]->page, slots[i]->access, err);
			vsvm_fault_resume_all(&slots[i]->waiters, err);
			vsvm_fault_slot_free(dev, slots[i]);
		}
		vm->serving -= count;
		spin_unlock(&dev->lock);
		vsvm_vm_wake(vm);
	}

	/* May be the last one, and then detaches: not in a call of the back end. */
	vsvm_vm_put(vm);
}

/**
 * vsvm_fault_vm_init() - Make a VM's part of it
 * @vm: The VM.
 */
void vsvm_fault_vm_init(struct vsvm_vm *vm)
{
	INIT_WORK(&vm->fault_work, vsvm_fault_work);
}
