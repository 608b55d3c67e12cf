// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The policeman: after an invalidation has returned, the device must not reach
 * the old pages (I-1 of the SVM manager). The model is the hardware, so it can
 * look where real hardware cannot:
 *
 * Each DMA mapping of a range has a cookie, from the moment at which its PTEs
 * are written to the moment at which the library says that the addresses are
 * about to be unmapped. PTEs and TLB entries carry it. A PTE or a TLB entry
 * that outlives the cookie, and an access through one, is a violation: counted
 * and reported.
 *
 *	engine				library
 *	------				-------
 *	gate (read)
 *	translation with cookie C
 *	C is live
 *	touches memory
 *	C is still live
 *	gate (read) ends
 *					flush done: gate (write) was taken
 *					unmapped: C retired
 *					DMA unmap, page freed
 *
 * With a flush that works, the second look cannot fail if the first did not.
 * It is there because the flush is one of the things on trial.
 */

#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

static bool vsvm_police_search = true;
module_param_named(police, vsvm_police_search, bool, 0644);
MODULE_PARM_DESC(police,
		 "Look for PTEs and TLB entries that are left when a DMA mapping goes (default true)");

#define VSVM_COOKIE_ID(cookie)	((u32)(cookie))

/**
 * vsvm_police_init() - No mapping yet
 * @police: The policeman of a VM.
 */
void vsvm_police_init(struct vsvm_police *police)
{
	xa_init_flags(&police->slots, XA_FLAGS_ALLOC1);
	spin_lock_init(&police->lock);
	INIT_LIST_HEAD(&police->free);
}

/**
 * vsvm_police_fini() - Free all slots
 * @police: The policeman; no mapping and no engine can refer to it any more.
 */
void vsvm_police_fini(struct vsvm_police *police)
{
	struct vsvm_police_slot *slot;
	unsigned long id;

	xa_for_each(&police->slots, id, slot)
		kfree(slot);
	xa_destroy(&police->slots);
}

/**
 * vsvm_police_slot_get() - Take a slot for a mapping of a range
 * @police: The policeman.
 *
 * A slot that was used before has another generation, so an old cookie is not
 * taken for a new one.
 *
 * Return: the slot, NULL where there is no memory.
 */
struct vsvm_police_slot *vsvm_police_slot_get(struct vsvm_police *police)
{
	struct vsvm_police_slot *slot;
	unsigned long flags;

	spin_lock_irqsave(&police->lock, flags);
	slot = list_first_entry_or_null(&police->free, struct vsvm_police_slot, link);
	if (slot)
		list_del_init(&slot->link);
	spin_unlock_irqrestore(&police->lock, flags);
	if (slot)
		return slot;

	slot = kzalloc_obj(*slot);
	if (!slot)
		return NULL;
	INIT_LIST_HEAD(&slot->link);
	if (xa_alloc(&police->slots, &slot->id, slot, xa_limit_32b, GFP_KERNEL)) {
		kfree(slot);
		return NULL;
	}
	return slot;
}

/**
 * vsvm_police_slot_put() - Give a slot back
 * @police: The policeman.
 * @slot: The slot. Its mapping was retired, or never began.
 *
 * Does not sleep.
 */
void vsvm_police_slot_put(struct vsvm_police *police, struct vsvm_police_slot *slot)
{
	unsigned long flags;

	WARN_ON_ONCE(slot->live);
	spin_lock_irqsave(&police->lock, flags);
	list_add(&slot->link, &police->free);
	spin_unlock_irqrestore(&police->lock, flags);
}

/**
 * vsvm_police_begin() - A DMA mapping begins
 * @slot: The slot of the range's mapping.
 *
 * Called before the first PTE is written.
 *
 * Return: the cookie for its PTEs.
 */
u64 vsvm_police_begin(struct vsvm_police_slot *slot)
{
	u64 cookie;

	slot->generation++;
	cookie = (u64)slot->generation << 32 | slot->id;

	WRITE_ONCE(slot->live, cookie);
	return cookie;
}

/**
 * vsvm_police_retire() - A DMA mapping is about to go
 * @vm: The VM.
 * @slot: The slot of the range's mapping.
 * @start: First address of the range.
 * @end: Its end address, exclusive.
 *
 * Whatever still refers to it is a violation: looked for at once, unless parameter
 * "police" says no, because that costs more than all else; and found by the access
 * in any case.
 */
void vsvm_police_retire(struct vsvm_vm *vm, struct vsvm_police_slot *slot,
			u64 start, u64 end)
{
	u64 cookie = slot->live;
	unsigned int n, spared;

	if (!cookie)
		return;

	WRITE_ONCE(slot->live, 0);
	/* Before anything is looked at, or unmapped; pairs with vsvm_access(). */
	smp_mb();
	if (!READ_ONCE(vsvm_police_search))
		return;

	n = vsvm_pt_count(&vm->pt, start, end, cookie);
	if (n)
		vsvm_police_report(vm, VSVM_VIOLATION_PTE, start, cookie, false);

	n = vsvm_tlb_count(&vm->dev->tlb, vm->asid, cookie, &spared);
	if (n)
		vsvm_police_report(vm, VSVM_VIOLATION_TLB, start, cookie, n == spared);
}

/**
 * vsvm_police_live() - May a translation be used?
 * @police: The policeman.
 * @cookie: What the translation carries.
 *
 * Takes no lock.
 *
 * Return: true where its DMA mapping is in force.
 */
bool vsvm_police_live(struct vsvm_police *police, u64 cookie)
{
	struct vsvm_police_slot *slot = xa_load(&police->slots, VSVM_COOKIE_ID(cookie));

	/* Slots stay until the VM is gone, so there is nothing to protect. */
	return slot && READ_ONCE(slot->live) == cookie;
}

/**
 * vsvm_police_count() - Count the DMA mappings in force
 * @police: The policeman.
 *
 * Return: their number, ranges of memory that is mirrored and parts of objects that
 * are bound; others may come and go meanwhile.
 */
unsigned int vsvm_police_count(struct vsvm_police *police)
{
	struct vsvm_police_slot *slot;
	unsigned int count = 0;
	unsigned long id;

	xa_for_each(&police->slots, id, slot)
		count += !!READ_ONCE(slot->live);
	return count;
}

static const char * const vsvm_violation_names[] = {
	[VSVM_VIOLATION_PTE] = "PTE left",
	[VSVM_VIOLATION_TLB] = "TLB entry left",
	[VSVM_VIOLATION_READ] = "stale read",
	[VSVM_VIOLATION_WRITE] = "stale write",
	[VSVM_VIOLATION_DMA] = "no memory at the device address",
	[VSVM_VIOLATION_MAP] = "PTE overwritten",
	[VSVM_VIOLATION_ENGINE] = "other bytes for the real engine",
};

/**
 * vsvm_police_report() - Count a violation and say so
 * @vm: The VM.
 * @what: What was caught.
 * @va: Where.
 * @cookie: The DMA mapping.
 * @provoked: A test asked for it by suppressing a flush.
 *
 * Does not sleep.
 */
void vsvm_police_report(struct vsvm_vm *vm, enum vsvm_violation what, u64 va,
			u64 cookie, bool provoked)
{
	struct vsvm_device *dev = vm->dev;

	atomic64_inc(&dev->violations);
	trace_vsvm_violation(vm, vsvm_violation_names[what], va, cookie, provoked);
	drm_err_ratelimited(&dev->drm, "violation: %s, VM %u (asid %u), 0x%llx, cookie 0x%llx%s\n",
			    vsvm_violation_names[what], vm->id, vm->asid, va, cookie,
			    provoked ? ", provoked" : "");
	drm_WARN_ONCE(&dev->drm, !provoked, "violation that no test provoked");
}
