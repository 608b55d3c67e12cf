/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __VSVM_PT_H__
#define __VSVM_PT_H__

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/mm_types.h>
#include <linux/types.h>

/* Four levels of nine bits over the kernel's page size. */
#define VSVM_PT_LEVELS		4
#define VSVM_PT_BITS		9
#define VSVM_PT_ENTRIES		BIT(VSVM_PT_BITS)
#define VSVM_PT_VA_BITS		(PAGE_SHIFT + VSVM_PT_LEVELS * VSVM_PT_BITS)
#define VSVM_PT_VA_END		BIT_ULL(VSVM_PT_VA_BITS)

/* Leaves may be at level 0 (PAGE_SIZE), 1 (2 MiB with 4 KiB pages) and 2. */
#define VSVM_PT_LEAF_LEVELS	3

/* What the device may do with a leaf, beside reading. */
#define VSVM_PT_WRITE		BIT(0)
#define VSVM_PT_ATOMIC		BIT(1)

/**
 * struct vsvm_translation - What a virtual address translates to
 * @va: First virtual address of the leaf.
 * @addr: Device address of @va.
 * @cookie: Names the DMA mapping that @addr belongs to, see vsvm_police.c.
 * @level: Level of the leaf, that is its size, see vsvm_pt_level_size().
 * @write: The device may write.
 * @atomic: Atomic operations need not fault.
 * @spared: It survived in the TLB because a flush was suppressed on purpose.
 */
struct vsvm_translation {
	u64 va;
	u64 addr;
	u64 cookie;
	u8 level;
	bool write;
	bool atomic;
	bool spared;
};

/**
 * struct vsvm_pt_table - A table of any level
 * @leaf: PTEs: device address and flags, 0: none.
 * @cookie: What belongs to the PTEs; written before the PTE becomes valid.
 */
struct vsvm_pt_table {
	u64 leaf[VSVM_PT_ENTRIES];
	u64 cookie[VSVM_PT_ENTRIES];
};

/**
 * struct vsvm_pt_dir - A table above level 0
 * @table: Its large leaves.
 * @next: Tables of the next lower level. An entry may have both: a large leaf
 *	wins, and the table below waits for the next time. So a leaf never
 *	needs a table to be freed, and a table never needs a leaf to be split.
 */
struct vsvm_pt_dir {
	struct vsvm_pt_table table;
	struct vsvm_pt_table *next[VSVM_PT_ENTRIES];
};

/**
 * struct vsvm_pt - The page table of a VM
 * @root: The top directory. Immutable.
 * @tables: Tables that exist, for debugfs.
 */
struct vsvm_pt {
	struct vsvm_pt_dir *root;
	atomic_t tables;
};

static inline u64 vsvm_pt_level_size(unsigned int level)
{
	return BIT_ULL(PAGE_SHIFT + level * VSVM_PT_BITS);
}

int vsvm_pt_init(struct vsvm_pt *pt);
void vsvm_pt_fini(struct vsvm_pt *pt);
int vsvm_pt_prepare(struct vsvm_pt *pt, u64 start, u64 end);
int vsvm_pt_map(struct vsvm_pt *pt, u64 va, u64 size, u64 addr,
		unsigned int perms, u64 cookie);
unsigned int vsvm_pt_zap(struct vsvm_pt *pt, u64 start, u64 end);
void vsvm_pt_split(struct vsvm_pt *pt, u64 va);
unsigned int vsvm_pt_set_cookie(struct vsvm_pt *pt, u64 start, u64 end, u64 cookie);
unsigned int vsvm_pt_count(struct vsvm_pt *pt, u64 start, u64 end, u64 cookie);
bool vsvm_pt_walk(struct vsvm_pt *pt, u64 va, struct vsvm_translation *t);

#endif /* __VSVM_PT_H__ */
