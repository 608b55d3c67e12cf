// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The TLB of a device: set-associative, tagged with the VM (asid). An entry
 * lives until it is flushed or its place is needed; nothing else makes it go,
 * least of all a change of the page table.
 *
 * This is the store only. When a flush is complete, and why no access can be
 * under way then, is the business of vsvm_flush.c and vsvm_access.c.
 */

#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include <kunit/visibility.h>

#include "vsvm_tlb.h"

#define VSVM_TLB_WAYS		4

/**
 * vsvm_tlb_init() - Make an empty TLB
 * @tlb: The TLB.
 * @entries: Its size, at least 1; rounded down to what the sets allow.
 *
 * Return: 0, -EINVAL, or -ENOMEM.
 */
int vsvm_tlb_init(struct vsvm_tlb *tlb, unsigned int entries)
{
	if (!entries)
		return -EINVAL;

	spin_lock_init(&tlb->lock);
	tlb->ways = min(entries, VSVM_TLB_WAYS);
	tlb->sets = rounddown_pow_of_two(entries / tlb->ways);
	tlb->entries = kvcalloc(vsvm_tlb_size(tlb), sizeof(*tlb->entries), GFP_KERNEL);
	tlb->victim = kvcalloc(tlb->sets, sizeof(*tlb->victim), GFP_KERNEL);
	if (!tlb->entries || !tlb->victim) {
		vsvm_tlb_fini(tlb);
		return -ENOMEM;
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_init);

/**
 * vsvm_tlb_fini() - Free what vsvm_tlb_init() allocated
 * @tlb: The TLB.
 */
void vsvm_tlb_fini(struct vsvm_tlb *tlb)
{
	kvfree(tlb->entries);
	kvfree(tlb->victim);
	tlb->entries = NULL;
	tlb->victim = NULL;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_fini);

/**
 * vsvm_tlb_size() - Number of entries
 * @tlb: The TLB.
 *
 * Return: how many entries it has room for.
 */
unsigned int vsvm_tlb_size(const struct vsvm_tlb *tlb)
{
	return tlb->sets * tlb->ways;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_size);

static unsigned int vsvm_tlb_set(const struct vsvm_tlb *tlb, u32 asid, u64 va,
				 unsigned int level)
{
	u64 key = va / vsvm_pt_level_size(level);

	if (tlb->sets == 1)
		return 0;
	/* Neighbours in neighbouring sets, VMs and leaf sizes apart. */
	return (key + hash_32(asid * VSVM_PT_LEAF_LEVELS + level, 16)) & (tlb->sets - 1);
}

static struct vsvm_tlb_entry *vsvm_tlb_find(struct vsvm_tlb *tlb, u32 asid, u64 va,
					    unsigned int level)
{
	u64 base = ALIGN_DOWN(va, vsvm_pt_level_size(level));
	struct vsvm_tlb_entry *e;
	unsigned int i;

	lockdep_assert_held(&tlb->lock);

	e = &tlb->entries[vsvm_tlb_set(tlb, asid, va, level) * tlb->ways];
	for (i = 0; i < tlb->ways; i++, e++)
		if (e->asid == asid && e->t.va == base && e->t.level == level)
			return e;
	return NULL;
}

/**
 * vsvm_tlb_lookup() - Look for the translation of an address
 * @tlb: The TLB.
 * @asid: The VM, not 0.
 * @va: The virtual address.
 * @t: Out: the translation.
 *
 * Return: true for a hit.
 */
bool vsvm_tlb_lookup(struct vsvm_tlb *tlb, u32 asid, u64 va,
		     struct vsvm_translation *t)
{
	struct vsvm_tlb_entry *e = NULL;
	unsigned int level;

	spin_lock(&tlb->lock);
	for (level = 0; level < VSVM_PT_LEAF_LEVELS && !e; level++)
		e = vsvm_tlb_find(tlb, asid, va, level);
	if (e)
		*t = e->t;
	spin_unlock(&tlb->lock);
	return e;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_lookup);

/**
 * vsvm_tlb_insert() - Remember a translation
 * @tlb: The TLB.
 * @asid: The VM, not 0.
 * @t: The translation.
 *
 * Replaces what is known of the same leaf, else takes a free place in the set,
 * else the place of another entry, in turn.
 */
void vsvm_tlb_insert(struct vsvm_tlb *tlb, u32 asid,
		     const struct vsvm_translation *t)
{
	unsigned int set = vsvm_tlb_set(tlb, asid, t->va, t->level), i;
	struct vsvm_tlb_entry *base = &tlb->entries[set * tlb->ways], *e;

	spin_lock(&tlb->lock);
	e = vsvm_tlb_find(tlb, asid, t->va, t->level);
	for (i = 0; i < tlb->ways && !e; i++)
		if (!base[i].asid)
			e = &base[i];
	if (!e) {
		e = &base[tlb->victim[set]];
		tlb->victim[set] = (tlb->victim[set] + 1) % tlb->ways;
	}
	e->asid = asid;
	e->t = *t;
	spin_unlock(&tlb->lock);
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_insert);

static bool vsvm_tlb_hit(const struct vsvm_tlb_entry *e, u32 asid, u64 start, u64 end)
{
	return e->asid == asid && e->t.va < end &&
	       e->t.va + vsvm_pt_level_size(e->t.level) > start;
}

/**
 * vsvm_tlb_flush() - Drop the entries of a span
 * @tlb: The TLB.
 * @asid: The VM, not 0.
 * @start: First address.
 * @end: End address, exclusive.
 *
 * Return: how many entries were dropped.
 */
unsigned int vsvm_tlb_flush(struct vsvm_tlb *tlb, u32 asid,
			    u64 start, u64 end)
{
	unsigned int i, n = 0;

	spin_lock(&tlb->lock);
	for (i = 0; i < vsvm_tlb_size(tlb); i++) {
		if (!vsvm_tlb_hit(&tlb->entries[i], asid, start, end))
			continue;
		tlb->entries[i].asid = 0;
		n++;
	}
	spin_unlock(&tlb->lock);
	return n;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_flush);

/**
 * vsvm_tlb_spare() - Mark what a suppressed flush would have dropped
 * @tlb: The TLB.
 * @asid: The VM, not 0.
 * @start: First address.
 * @end: End address, exclusive.
 *
 * The entries stay usable. The mark tells violations that a test provoked from
 * those that nobody asked for.
 *
 * Return: how many entries were spared.
 */
unsigned int vsvm_tlb_spare(struct vsvm_tlb *tlb, u32 asid,
			    u64 start, u64 end)
{
	unsigned int i, n = 0;

	spin_lock(&tlb->lock);
	for (i = 0; i < vsvm_tlb_size(tlb); i++) {
		if (!vsvm_tlb_hit(&tlb->entries[i], asid, start, end))
			continue;
		tlb->entries[i].t.spared = true;
		n++;
	}
	spin_unlock(&tlb->lock);
	return n;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_spare);

/**
 * vsvm_tlb_count() - Count the entries that belong to a DMA mapping
 * @tlb: The TLB.
 * @asid: The VM, not 0.
 * @cookie: Names the DMA mapping.
 * @spared: Out: how many of them a suppressed flush has spared.
 *
 * Return: their number, spared ones included.
 */
unsigned int vsvm_tlb_count(struct vsvm_tlb *tlb, u32 asid,
			    u64 cookie, unsigned int *spared)
{
	unsigned int i, n = 0;

	*spared = 0;
	spin_lock(&tlb->lock);
	for (i = 0; i < vsvm_tlb_size(tlb); i++) {
		const struct vsvm_tlb_entry *e = &tlb->entries[i];

		if (e->asid != asid || e->t.cookie != cookie)
			continue;
		n++;
		*spared += e->t.spared;
	}
	spin_unlock(&tlb->lock);
	return n;
}
EXPORT_SYMBOL_IF_KUNIT(vsvm_tlb_count);
