// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The radix page table of a VM, as the device's walker sees it.
 *
 * Written by the driver (prepare, map, zap), read by the engines without any
 * lock. What makes that sound:
 *
 * - A table, once there, stays until the VM is gone. A VM that touched much
 *   and released it keeps the tables: simple, and what is left is bounded by
 *   1/256 of the address space that was ever used at once.
 * - Writers of one entry exclude each other. What is mirrored: by the instance
 *   lock of the SVM library (zap holds it for write, map for read, and mappings
 *   do not overlap). What is bound: see vsvm_bind.c. No address is both. Different
 *   entries may be written at the same time.
 * - Tables are hooked in by cmpxchg, because calls of prepare run in parallel.
 * - The walker may read a PTE that is cleared right after. That is what a TLB
 *   flush is for: see vsvm_flush.c for why the access is over, and nothing of
 *   it is in the TLB, when the flush completes.
 */

#include <linux/mm.h>
#include <linux/slab.h>

#include <kunit/visibility.h>

#include "vsvm_pt.h"

#define VSVM_PTE_VALID		BIT_ULL(0)
#define VSVM_PTE_WRITE		BIT_ULL(1)
#define VSVM_PTE_ATOMIC		BIT_ULL(2)
#define VSVM_PTE_ADDR		GENMASK_ULL(63, 12)

static unsigned int vsvm_pt_index(u64 va, unsigned int level)
{
	return (va >> (PAGE_SHIFT + level * VSVM_PT_BITS)) & (VSVM_PT_ENTRIES - 1);
}

static struct vsvm_pt_dir *to_dir(struct vsvm_pt_table *table)
{
	return container_of(table, struct vsvm_pt_dir, table);
}

static struct vsvm_pt_table *vsvm_pt_table_alloc(unsigned int level)
{
	struct vsvm_pt_dir *dir;

	if (!level)
		return kvzalloc_obj(struct vsvm_pt_table);

	dir = kvzalloc_obj(*dir);
	return dir ? &dir->table : NULL;
}

static void vsvm_pt_table_free(struct vsvm_pt_table *table, unsigned int level)
{
	unsigned int i;

	if (!level) {
		kvfree(table);
		return;
	}

	for (i = 0; i < VSVM_PT_ENTRIES; i++)
		if (to_dir(table)->next[i])
			vsvm_pt_table_free(to_dir(table)->next[i], level - 1);
	kvfree(to_dir(table));
}

/**
 * vsvm_pt_init() - Make an empty page table
 * @pt: The page table.
 *
 * Return: 0, or -ENOMEM.
 */
int vsvm_pt_init(struct vsvm_pt *pt)
{
	struct vsvm_pt_table *root = vsvm_pt_table_alloc(VSVM_PT_LEVELS - 1);

	if (!root)
		return -ENOMEM;

	pt->root = to_dir(root);
	atomic_set(&pt->tables, 1);
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_init);

/**
 * vsvm_pt_fini() - Free a page table
 * @pt: The page table; no walker can be in it any more.
 */
void vsvm_pt_fini(struct vsvm_pt *pt)
{
	if (pt->root)
		vsvm_pt_table_free(&pt->root->table, VSVM_PT_LEVELS - 1);
	pt->root = NULL;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_fini);

/* The table of @level on the way to @va, NULL where there is none. */
static struct vsvm_pt_table *vsvm_pt_descend(struct vsvm_pt *pt, u64 va,
					     unsigned int level)
{
	struct vsvm_pt_table *table = &pt->root->table;
	unsigned int l;

	for (l = VSVM_PT_LEVELS - 1; l > level && table; l--)
		table = READ_ONCE(to_dir(table)->next[vsvm_pt_index(va, l)]);
	return table;
}

/**
 * vsvm_pt_prepare() - Allocate the tables down to level 0 of a span
 * @pt: The page table.
 * @start: First address.
 * @end: End address, exclusive.
 *
 * May run in parallel with anything. Tables stay, also where it fails halfway.
 *
 * Return: 0, -EFAULT where the span is beyond what the device can address,
 * or -ENOMEM.
 */
int vsvm_pt_prepare(struct vsvm_pt *pt, u64 start, u64 end)
{
	u64 va, step = vsvm_pt_level_size(1);

	if (start >= end || end > VSVM_PT_VA_END)
		return -EFAULT;

	for (va = ALIGN_DOWN(start, step); va < end; va += step) {
		struct vsvm_pt_table *table = &pt->root->table;
		unsigned int l;

		for (l = VSVM_PT_LEVELS - 1; l > 0; l--) {
			struct vsvm_pt_table **slot, *next, *won;

			slot = &to_dir(table)->next[vsvm_pt_index(va, l)];
			next = READ_ONCE(*slot);
			if (!next) {
				next = vsvm_pt_table_alloc(l - 1);
				if (!next)
					return -ENOMEM;
				won = cmpxchg(slot, NULL, next);
				if (won) {
					vsvm_pt_table_free(next, l - 1);
					next = won;
				} else {
					atomic_inc(&pt->tables);
				}
			}
			table = next;
		}
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_prepare);

/**
 * vsvm_pt_map() - Write the PTEs of one run
 * @pt: The page table.
 * @va: First virtual address.
 * @size: Bytes; @va, @size and @addr are multiples of the page size.
 * @addr: Device address.
 * @perms: VSVM_PT_*: what the device may do beside reading.
 * @cookie: Names the DMA mapping.
 *
 * Uses the largest leaves that fit. Never allocates.
 *
 * Return: 0, -EINVAL for bad alignment, -ENOENT where a table was not prepared,
 * or -EEXIST where there is a PTE already; after the last two, part of the run
 * may be mapped.
 */
int vsvm_pt_map(struct vsvm_pt *pt, u64 va, u64 size, u64 addr,
		unsigned int perms, u64 cookie)
{
	u64 flags = VSVM_PTE_VALID | (perms & VSVM_PT_WRITE ? VSVM_PTE_WRITE : 0) |
		    (perms & VSVM_PT_ATOMIC ? VSVM_PTE_ATOMIC : 0);

	if (!PAGE_ALIGNED(va | size | addr) || !size || va + size > VSVM_PT_VA_END)
		return -EINVAL;

	while (size) {
		unsigned int level = VSVM_PT_LEAF_LEVELS - 1, i;
		struct vsvm_pt_table *table;
		u64 leaf_size;

		while (level && (((va | addr) & (vsvm_pt_level_size(level) - 1)) ||
				 size < vsvm_pt_level_size(level)))
			level--;

		table = vsvm_pt_descend(pt, va, level);
		if (!table)
			return -ENOENT;

		i = vsvm_pt_index(va, level);
		if (READ_ONCE(table->leaf[i]) & VSVM_PTE_VALID)
			return -EEXIST;

		WRITE_ONCE(table->cookie[i], cookie);
		/* Behind the cookie; pairs with the barriers in vsvm_pt_read(). */
		smp_store_release(&table->leaf[i], addr | flags);

		leaf_size = vsvm_pt_level_size(level);
		va += leaf_size;
		addr += leaf_size;
		size -= leaf_size;
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_map);

enum vsvm_pt_visit {
	VSVM_PT_CLEAR,
	VSVM_PT_COUNT,
	VSVM_PT_SET_COOKIE,
};

/*
 * Visits the valid leaves that overlap [start, end), which lies in what the
 * table covers from @base: clears them, gives them another cookie, or counts
 * those of @cookie.
 */
static unsigned int vsvm_pt_visit(struct vsvm_pt_table *table, unsigned int level,
				  u64 start, u64 end, enum vsvm_pt_visit what, u64 cookie)
{
	u64 size = vsvm_pt_level_size(level), va = ALIGN_DOWN(start, size);
	unsigned int n = 0;

	for (; va < end; va += size) {
		unsigned int i = vsvm_pt_index(va, level);
		struct vsvm_pt_table *next;

		if (READ_ONCE(table->leaf[i]) & VSVM_PTE_VALID) {
			if (what == VSVM_PT_CLEAR) {
				WRITE_ONCE(table->leaf[i], 0);
				n++;
			} else if (what == VSVM_PT_SET_COOKIE) {
				WRITE_ONCE(table->cookie[i], cookie);
				n++;
			} else if (READ_ONCE(table->cookie[i]) == cookie) {
				n++;
			}
		}

		if (!level)
			continue;
		next = READ_ONCE(to_dir(table)->next[i]);
		if (next)
			n += vsvm_pt_visit(next, level - 1, max(start, va),
					   min(end, va + size), what, cookie);
	}
	return n;
}

/**
 * vsvm_pt_zap() - Clear all PTEs of a span
 * @pt: The page table.
 * @start: First address.
 * @end: End address, exclusive.
 *
 * A large leaf that lies in the span only in part is cleared as a whole. Does
 * not fail, allocate or wait.
 *
 * Return: the number of PTEs that were cleared.
 */
unsigned int vsvm_pt_zap(struct vsvm_pt *pt, u64 start, u64 end)
{
	end = min(end, VSVM_PT_VA_END);
	if (start >= end)
		return 0;
	return vsvm_pt_visit(&pt->root->table, VSVM_PT_LEVELS - 1, start, end,
			     VSVM_PT_CLEAR, 0);
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_zap);

/**
 * vsvm_pt_split() - See to it that no leaf has an address inside it
 * @pt: The page table.
 * @va: The address, page-aligned.
 *
 * A large leaf that has the address, and not as its first one, is replaced by
 * smaller ones, which translate everything as it did. There is no moment at which
 * the walker finds nothing:
 *
 *	driver				walker
 *	------				------
 *	small leaves (release)
 *					large leaf: taken
 *	large leaf cleared (release)
 *					no large leaf (acquire)
 *					small leaf: taken
 *
 * What the TLB has of the large leaf stays right until the caller changes a part
 * of it. Never allocates: the tables were prepared for the large leaf, too.
 */
void vsvm_pt_split(struct vsvm_pt *pt, u64 va)
{
	unsigned int level, i, j;

	for (level = VSVM_PT_LEAF_LEVELS - 1; level > 0; level--) {
		struct vsvm_pt_table *table, *next;
		u64 pte;

		if (IS_ALIGNED(va, vsvm_pt_level_size(level)))
			return;
		table = vsvm_pt_descend(pt, va, level);
		if (!table)
			return;
		i = vsvm_pt_index(va, level);
		pte = READ_ONCE(table->leaf[i]);
		if (!(pte & VSVM_PTE_VALID))
			continue;

		next = READ_ONCE(to_dir(table)->next[i]);
		if (WARN_ON_ONCE(!next))
			return;
		for (j = 0; j < VSVM_PT_ENTRIES; j++) {
			WRITE_ONCE(next->cookie[j], table->cookie[i]);
			/* Behind the cookie; pairs with vsvm_pt_read(). */
			smp_store_release(&next->leaf[j],
					  pte + j * vsvm_pt_level_size(level - 1));
		}
		/* Behind the small ones; pairs with the load in vsvm_pt_read(). */
		smp_store_release(&table->leaf[i], 0);
	}
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_split);

/**
 * vsvm_pt_set_cookie() - Let the PTEs of a span belong to another DMA mapping
 * @pt: The page table.
 * @start: First address.
 * @end: End address, exclusive. No leaf lies in the span only in part.
 * @cookie: Names the DMA mapping.
 *
 * They translate as before. Until a flush the TLB may have the old cookie.
 *
 * Return: their number.
 */
unsigned int vsvm_pt_set_cookie(struct vsvm_pt *pt, u64 start, u64 end, u64 cookie)
{
	end = min(end, VSVM_PT_VA_END);
	if (start >= end)
		return 0;
	return vsvm_pt_visit(&pt->root->table, VSVM_PT_LEVELS - 1, start, end,
			     VSVM_PT_SET_COOKIE, cookie);
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_set_cookie);

/**
 * vsvm_pt_count() - Count the PTEs of a span that belong to a DMA mapping
 * @pt: The page table.
 * @start: First address.
 * @end: End address, exclusive.
 * @cookie: Names the DMA mapping.
 *
 * Return: their number.
 */
unsigned int vsvm_pt_count(struct vsvm_pt *pt, u64 start, u64 end,
			   u64 cookie)
{
	end = min(end, VSVM_PT_VA_END);
	if (start >= end)
		return 0;
	return vsvm_pt_visit(&pt->root->table, VSVM_PT_LEVELS - 1, start, end,
			     VSVM_PT_COUNT, cookie);
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_count);

/*
 * Reads PTE and cookie as they belong together:
 *
 *	walker				zap, then map
 *	------				-------------
 *	reads PTE 1
 *					clears the PTE
 *					writes cookie 2, release, PTE 2
 *	reads cookie 2
 *	reads the PTE again: 2, so no translation this time
 *
 * No translation is always a right answer: the engine then faults, finds the
 * page mapped and tries again.
 */
static bool vsvm_pt_read(struct vsvm_pt_table *table, unsigned int i, u64 *pte,
			 u64 *cookie)
{
	/* Pairs with smp_store_release() in vsvm_pt_map(). */
	*pte = smp_load_acquire(&table->leaf[i]);
	if (!(*pte & VSVM_PTE_VALID))
		return false;
	*cookie = READ_ONCE(table->cookie[i]);
	/* Orders the cookie before the second look at the PTE. */
	smp_rmb();
	return READ_ONCE(table->leaf[i]) == *pte;
}

/**
 * vsvm_pt_walk() - Translate an address as the device's walker does
 * @pt: The page table.
 * @va: The virtual address.
 * @t: Out: the leaf that has it.
 *
 * Takes no lock.
 *
 * Return: true where there is a translation.
 */
bool vsvm_pt_walk(struct vsvm_pt *pt, u64 va,
		  struct vsvm_translation *t)
{
	struct vsvm_pt_table *table = &pt->root->table;
	int level;

	if (va >= VSVM_PT_VA_END)
		return false;

	for (level = VSVM_PT_LEVELS - 1; table; level--) {
		unsigned int i = vsvm_pt_index(va, level);
		u64 pte, cookie;

		if (vsvm_pt_read(table, i, &pte, &cookie)) {
			t->va = ALIGN_DOWN(va, vsvm_pt_level_size(level));
			t->addr = pte & VSVM_PTE_ADDR;
			t->cookie = cookie;
			t->level = level;
			t->write = pte & VSVM_PTE_WRITE;
			t->atomic = pte & VSVM_PTE_ATOMIC;
			t->spared = false;
			return true;
		}
		if (!level)
			break;
		table = READ_ONCE(to_dir(table)->next[i]);
	}
	return false;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_pt_walk);
