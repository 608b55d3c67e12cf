/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __VSVM_TLB_H__
#define __VSVM_TLB_H__

#include <linux/spinlock.h>
#include <linux/types.h>

#include "vsvm_pt.h"

/**
 * struct vsvm_tlb_entry - An entry of the TLB
 * @t: The translation.
 * @asid: Whose, 0: the entry is free.
 */
struct vsvm_tlb_entry {
	struct vsvm_translation t;
	u32 asid;
};

/**
 * struct vsvm_tlb - The TLB of a device, shared by its VMs
 * @entries: @sets times @ways entries.
 * @victim: For each set, the way that is replaced next.
 * @sets: Number of sets, a power of two. Immutable.
 * @ways: Entries of a set. Immutable.
 */
struct vsvm_tlb {
	/** @lock: Protects the entries. A leaf */
	spinlock_t lock;
	struct vsvm_tlb_entry *entries;
	u8 *victim;
	unsigned int sets;
	unsigned int ways;
};

int vsvm_tlb_init(struct vsvm_tlb *tlb, unsigned int entries);
void vsvm_tlb_fini(struct vsvm_tlb *tlb);
unsigned int vsvm_tlb_size(const struct vsvm_tlb *tlb);
bool vsvm_tlb_lookup(struct vsvm_tlb *tlb, u32 asid, u64 va,
		     struct vsvm_translation *t);
void vsvm_tlb_insert(struct vsvm_tlb *tlb, u32 asid,
		     const struct vsvm_translation *t);
unsigned int vsvm_tlb_flush(struct vsvm_tlb *tlb, u32 asid, u64 start, u64 end);
unsigned int vsvm_tlb_spare(struct vsvm_tlb *tlb, u32 asid, u64 start, u64 end);
unsigned int vsvm_tlb_count(struct vsvm_tlb *tlb, u32 asid, u64 cookie,
			    unsigned int *spared);

#endif /* __VSVM_TLB_H__ */
