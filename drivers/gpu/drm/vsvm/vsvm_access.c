// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * One access of an engine to memory: TLB, page table, policeman, memory. There
 * is no other way from an engine to the data of a process, and this one knows
 * neither the process nor its pages, only what the driver wrote into the page
 * table.
 */

#include <linux/highmem.h>
#include <linux/uaccess.h>

#include "vsvm_drv.h"

/**
 * vsvm_va_end() - End of the virtual addresses
 *
 * Return: the end address, exclusive, of what a VM can have.
 */
u64 vsvm_va_end(void)
{
	return min_t(u64, VSVM_PT_VA_END, TASK_SIZE_MAX);
}

/**
 * vsvm_access_len() - How much can be done in one access?
 * @va: Virtual address.
 * @len: What there is to do, bytes.
 *
 * Return: the bytes up to the end of the page, not more than @len and
 * %VSVM_ACCESS_MAX.
 */
u32 vsvm_access_len(u64 va, u64 len)
{
	return min3(len, (u64)(PAGE_SIZE - offset_in_page(va)), (u64)VSVM_ACCESS_MAX);
}

/**
 * vsvm_access_kind() - What does an operation ask of the memory?
 * @op: The operation.
 *
 * Return: how a fault on it is to be raised.
 */
enum drm_gpusvm_access vsvm_access_kind(enum vsvm_access_op op)
{
	switch (op) {
	case VSVM_ACCESS_READ:
		return DRM_GPUSVM_ACCESS_READ;
	case VSVM_ACCESS_ATOMIC_ADD:
		return DRM_GPUSVM_ACCESS_ATOMIC;
	default:
		return DRM_GPUSVM_ACCESS_WRITE;
	}
}

static bool vsvm_permits(const struct vsvm_translation *t, enum drm_gpusvm_access kind)
{
	switch (kind) {
	case DRM_GPUSVM_ACCESS_READ:
		return true;
	case DRM_GPUSVM_ACCESS_ATOMIC:
		return t->atomic;
	default:
		return t->write;
	}
}

static bool vsvm_translate(struct vsvm_vm *vm, u64 va, enum drm_gpusvm_access kind,
			   struct vsvm_translation *t)
{
	/*
	 * An entry without the permission does not help. The walk may find a
	 * better one, which then takes its place; else it is a fault.
	 */
	if (vsvm_tlb_lookup(&vm->dev->tlb, vm->asid, va, t) && vsvm_permits(t, kind)) {
		atomic64_inc(&vm->stats.tlb_hits);
		return true;
	}

	atomic64_inc(&vm->stats.tlb_misses);
	if (!vsvm_pt_walk(&vm->pt, va, t) || !vsvm_permits(t, kind))
		return false;

	vsvm_tlb_insert(&vm->dev->tlb, vm->asid, t);
	return true;
}

/*
 * The process may access the same memory at the same time, as it may with a real
 * device, and so may other engines. What comes of that is for those to sort out who
 * wrote the programs; only single words are promised to be whole.
 */
static void vsvm_perform(const struct vsvm_access *a, void *kaddr, bool live)
{
	u64 *words = kaddr;
	u32 i;

	switch (a->op) {
	case VSVM_ACCESS_READ:
		if (!live)
			vsvm_mem_read_stale(a->buf, kaddr, a->len);
		else if (a->len == sizeof(u64) && IS_ALIGNED(a->va, sizeof(u64)))
			*(u64 *)a->buf = READ_ONCE(*words);
		else
			/* As said above, the programs' own races. */
			data_race(memcpy(a->buf, kaddr, a->len));
		break;
	case VSVM_ACCESS_WRITE:
		if (a->len == sizeof(u64) && IS_ALIGNED(a->va, sizeof(u64)))
			WRITE_ONCE(*words, *(u64 *)a->buf);
		else
			/* Likewise. */
			data_race(memcpy(kaddr, a->buf, a->len));
		break;
	case VSVM_ACCESS_FILL:
		for (i = 0; i < a->len / sizeof(u64); i++)
			WRITE_ONCE(words[i], a->value);
		break;
	case VSVM_ACCESS_ADD:
		for (i = 0; i < a->len / sizeof(u64); i++)
			WRITE_ONCE(words[i], READ_ONCE(words[i]) + a->value);
		break;
	case VSVM_ACCESS_ATOMIC_ADD:
		for (i = 0; i < a->count; i++)
			atomic64_add(a->value, (atomic64_t *)words);
		break;
	case VSVM_ACCESS_RELEASE:
		/*
		 * After all that the job wrote, also on another engine before
		 * it had to wait for a fault: the device's lock is in between.
		 */
		smp_store_release(words, a->value);
		break;
	}
}

static void vsvm_account(struct vsvm_vm *vm, const struct vsvm_access *a)
{
	u64 len = a->op == VSVM_ACCESS_ATOMIC_ADD ? (u64)a->len * a->count : a->len;

	if (a->op == VSVM_ACCESS_READ || a->op == VSVM_ACCESS_ADD ||
	    a->op == VSVM_ACCESS_ATOMIC_ADD)
		atomic64_add(len, &vm->stats.bytes_read);
	if (a->op != VSVM_ACCESS_READ && a->op != VSVM_ACCESS_RELEASE)
		atomic64_add(len, &vm->stats.bytes_written);
}

/* The mapping went while it was in use: then the flush was no good. */
static void vsvm_look_again(struct vsvm_vm *vm, const struct vsvm_access *a,
			    const struct vsvm_translation *t)
{
	/* The access comes before the look; pairs with vsvm_police_retire(). */
	smp_mb();
	if (!vsvm_police_live(&vm->police, t->cookie))
		vsvm_police_report(vm, a->op == VSVM_ACCESS_READ ? VSVM_VIOLATION_READ :
				   VSVM_VIOLATION_WRITE, a->va, t->cookie, t->spared);
}

/**
 * vsvm_access() - Access memory as the device
 * @vm: The VM.
 * @a: The access.
 *
 * Does not sleep but in the check mode. An access through a DMA mapping that is gone is reported; a
 * read is then done nevertheless, because it is a test's business to see what
 * comes of it, a write is not, because it would destroy somebody's memory.
 *
 * Return: 0, -EAGAIN where it faults, -EINVAL beyond the end of the virtual
 * addresses, or -EIO where the access was refused by the policeman.
 */
int vsvm_access(struct vsvm_vm *vm, const struct vsvm_access *a)
{
	bool write = a->op != VSVM_ACCESS_READ, live, stale_write;
	struct vsvm_device *dev = vm->dev;
	struct vsvm_flight flight;
	struct vsvm_translation t;
	bool real;
	void *kaddr;
	int ret = 0;
	u64 addr;

	if (a->va >= vsvm_va_end() || a->len > vsvm_va_end() - a->va)
		return -EINVAL;

	/* See vsvm_flush.c for what the gate is good for. */
	read_lock(&vm->gate);
	if (!vsvm_translate(vm, a->va, vsvm_access_kind(a->op), &t)) {
		read_unlock(&vm->gate);
		return -EAGAIN;
	}

	live = vsvm_police_live(&vm->police, t.cookie);
	if (!live)
		vsvm_police_report(vm, write ? VSVM_VIOLATION_WRITE : VSVM_VIOLATION_READ,
				   a->va, t.cookie, t.spared);

	addr = t.addr + (a->va - t.va);
	real = live && vsvm_check_due(&dev->edu, a, addr);
	if (real)
		vsvm_edu_takeoff(&dev->edu, &flight, vm, a->va, a->len);

	stale_write = write && !live;
	kaddr = stale_write ? NULL : vsvm_mem_map(dev, addr);
	if (kaddr) {
		if (!real || !vsvm_check_replaces(a))
			vsvm_perform(a, kaddr, live);
		vsvm_mem_unmap(kaddr);
	} else {
		if (!stale_write)
			vsvm_police_report(vm, VSVM_VIOLATION_DMA, a->va, t.cookie,
					   t.spared);
		ret = -EIO;
	}

	if (live && !real)
		vsvm_look_again(vm, a, &t);
	read_unlock(&vm->gate);

	if (real) {
		if (!ret)
			ret = vsvm_check_access(vm, a, addr, t.cookie);
		vsvm_look_again(vm, a, &t);
		vsvm_edu_land(&dev->edu, &flight);
	}

	if (!ret)
		vsvm_account(vm, a);
	return ret;
}
