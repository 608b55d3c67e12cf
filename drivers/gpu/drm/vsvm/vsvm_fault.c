// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Faults: the ring into which the device writes them, and what serves them.
 *
 * The ring has a fixed size. It is emptied by a work item that never waits for
 * anything, into the faults of each VM, of which there cannot be more than
 * queues. Who finds the ring full waits until it was emptied and then tries the
 * access again, so nothing is lost.
 *
 * Each VM's faults are served by a work item of its own, in batches. Serving
 * may take for ever (think of userfaultfd), and then only this VM waits: none of
 * its faults is left in the ring. It is never done by the thread that
 * acknowledges flushes, because an invalidation, and with it the serving of a
 * fault, may have to wait for a flush.
 *
 * A fault on a page that waits already, for the same access or a stronger one,
 * is not queued again; its job waits along with the first. A fault that is being
 * served is no longer joined: its result may be older than what the newcomer
 * saw.
 */

#include <linux/mm.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

static void vsvm_fault_resume_all(struct list_head *waiters, int err)
{
	struct vsvm_fault_waiter *waiter, *next;

	list_for_each_entry_safe(waiter, next, waiters, link) {
		list_del_init(&waiter->link);
		waiter->done(waiter, err);
	}
}

/* A fault that waits already and covers the new one, or NULL. */
static struct vsvm_fault_slot *vsvm_fault_find(struct vsvm_fault_slot *slots,
					       unsigned int count, struct vsvm_vm *vm,
					       unsigned long page,
					       enum drm_gpusvm_access access)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (slots[i].state == VSVM_FAULT_PENDING && slots[i].vm == vm &&
		    slots[i].page == page && slots[i].access >= access)
			return &slots[i];
	return NULL;
}

static struct vsvm_fault_slot *vsvm_fault_find_free(struct vsvm_fault_slot *slots,
						    unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (slots[i].state == VSVM_FAULT_FREE)
			return &slots[i];
	return NULL;
}

static void vsvm_fault_fill(struct vsvm_fault_slot *slot, struct vsvm_vm *vm,
			    unsigned long page, enum drm_gpusvm_access access)
{
	slot->state = VSVM_FAULT_PENDING;
	slot->vm = vm;
	slot->page = page;
	slot->access = access;
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
	struct vsvm_fault_ring *ring = &dev->faults;
	struct vsvm_fault_slot *slot;

	atomic64_inc(&vm->stats.faults);

	spin_lock(&dev->lock);
	if (vm->dead)
		goto unlock;

	slot = vsvm_fault_find(ring->slots, ring->size, vm, page, access) ?:
	       vsvm_fault_find(vm->faults, VSVM_QUEUES, vm, page, access);
	if (slot) {
		atomic64_inc(&vm->stats.faults_merged);
		trace_vsvm_fault_push(vm, va, access, "merged");
		list_add_tail(&waiter->link, &slot->waiters);
		goto unlock;
	}

	slot = vsvm_fault_find_free(ring->slots, ring->size);
	if (slot) {
		trace_vsvm_fault_push(vm, va, access, "queued");
		vsvm_fault_fill(slot, vm, page, access);
		list_add_tail(&waiter->link, &slot->waiters);
	} else {
		atomic64_inc(&dev->overflows);
		trace_vsvm_fault_push(vm, va, access, "overflow");
		list_add_tail(&waiter->link, &ring->overflow);
	}
	/* Not where faults are served: these may all be stuck. */
	queue_work(system_dfl_wq, &ring->work);
unlock:
	spin_unlock(&dev->lock);
}

/* Empties the ring. All of it under the lock, so that VMs stay where they are. */
static void vsvm_fault_ring_work(struct work_struct *work)
{
	struct vsvm_fault_ring *ring = container_of(work, struct vsvm_fault_ring, work);
	struct vsvm_device *dev = container_of(ring, struct vsvm_device, faults);
	unsigned int i;

	spin_lock(&dev->lock);
	for (i = 0; i < ring->size; i++) {
		struct vsvm_fault_slot *slot = &ring->slots[i], *own;
		struct vsvm_vm *vm = slot->vm;

		if (slot->state != VSVM_FAULT_PENDING)
			continue;

		/*
		 * A queue has one fault at a time, so there is a place; but for
		 * a fault that lost its job, which went with its VM.
		 */
		own = vsvm_fault_find_free(vm->faults, VSVM_QUEUES);
		if (WARN_ON_ONCE(!own)) {
			vsvm_fault_resume_all(&slot->waiters, 0);
		} else {
			vsvm_fault_fill(own, vm, slot->page, slot->access);
			list_splice_tail_init(&slot->waiters, &own->waiters);
			/* The work item has a reference. */
			if (queue_work(vsvm_wq, &vm->fault_work))
				vsvm_vm_get(vm);
		}
		slot->state = VSVM_FAULT_FREE;
		slot->vm = NULL;
	}
	vsvm_fault_resume_all(&ring->overflow, 0);
	spin_unlock(&dev->lock);
}

/**
 * vsvm_fault_init() - Make an empty ring
 * @dev: The device.
 * @size: Its size, 1 to %VSVM_FAULT_RING.
 */
void vsvm_fault_init(struct vsvm_device *dev, unsigned int size)
{
	unsigned int i;

	for (i = 0; i < VSVM_FAULT_RING; i++)
		INIT_LIST_HEAD(&dev->faults.slots[i].waiters);
	INIT_LIST_HEAD(&dev->faults.overflow);
	INIT_WORK(&dev->faults.work, vsvm_fault_ring_work);
	dev->faults.size = size;
}

/**
 * vsvm_fault_fini() - No fault is raised any more
 * @dev: The device; all its VMs are torn down.
 */
void vsvm_fault_fini(struct vsvm_device *dev)
{
	cancel_work_sync(&dev->faults.work);
}

static void vsvm_fault_drop(struct vsvm_fault_slot *slot, struct vsvm_vm *vm)
{
	if (slot->state != VSVM_FAULT_PENDING || slot->vm != vm)
		return;
	WARN_ON_ONCE(!list_empty(&slot->waiters));
	slot->state = VSVM_FAULT_FREE;
	slot->vm = NULL;
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
	for (i = 0; i < dev->faults.size; i++)
		vsvm_fault_drop(&dev->faults.slots[i], vm);
	for (i = 0; i < VSVM_QUEUES; i++)
		vsvm_fault_drop(&vm->faults[i], vm);
	/* There may be room now. */
	vsvm_fault_resume_all(&dev->faults.overflow, 0);
	spin_unlock(&dev->lock);
}

/* Takes up to a batch of the VM's pending faults. */
static unsigned int vsvm_fault_collect(struct vsvm_vm *vm, struct vsvm_fault_slot **slots,
				       struct drm_gpusvm_fault *faults)
{
	struct vsvm_device *dev = vm->dev;
	unsigned int i, n = 0;

	spin_lock(&dev->lock);
	for (i = 0; i < VSVM_QUEUES && n < VSVM_FAULT_BATCH && !vm->dead; i++) {
		struct vsvm_fault_slot *slot = &vm->faults[i];

		if (slot->state != VSVM_FAULT_PENDING)
			continue;
		slot->state = VSVM_FAULT_SERVING;
		slots[n] = slot;
		faults[n].addr = slot->page;
		faults[n].access = slot->access;
		/* For a back end that forgets one: never taken for success. */
		faults[n].err = -EIO;
		n++;
	}
	WRITE_ONCE(vm->serving, vm->serving + n);
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
			slots[i]->state = VSVM_FAULT_FREE;
			slots[i]->vm = NULL;
		}
		WRITE_ONCE(vm->serving, vm->serving - count);
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
	unsigned int i;

	for (i = 0; i < VSVM_QUEUES; i++)
		INIT_LIST_HEAD(&vm->faults[i].waiters);
	INIT_WORK(&vm->fault_work, vsvm_fault_work);
}
