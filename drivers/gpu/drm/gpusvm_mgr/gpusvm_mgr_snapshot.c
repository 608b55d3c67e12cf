// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Snapshot: one HMM walk of a range, shared by all instances that map it.
 */

#include <linux/hmm.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/memory_hotplug.h>
#include <linux/mmzone.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Snapshots
 *
 * The CPU's page tables are walked once for a range, under its fault mutex,
 * and the result is published there: the page frames in runs, what may be
 * written of them, and the sequence for which that holds. Whoever maps the
 * range after that finds it, so that N devices cost one walk. Nothing is
 * pinned: a snapshot is only used after its sequence was checked under the
 * instance lock, and what was mapped from it is unmapped by the invalidation
 * that ends it.
 *
 * Device-private pages are handed out in place to who can reach them, that is to
 * instances of their owner; for others HMM brings them back to system memory. A
 * snapshot that holds some is of use to instances of that owner only.
 *
 * A walk may begin within a huge page that is on a device, because what ends a
 * range need not split the page: advice, or an attribute. Linux 7.3 then has the
 * pages of it counted from the first one, see gpusvm_mgr_snapshot_shift().
 *
 * A read fault asks HMM for read access only. A zero page or a page shared by
 * copy-on-write is then mapped read-only as it is, not broken; what the CPU
 * may write is mapped writable at once.
 */

/**
 * gpusvm_mgr_snapshot_put() - Drop a reference
 * @snapshot: The snapshot or NULL.
 *
 * Any context.
 */
void gpusvm_mgr_snapshot_put(struct drm_gpusvm_snapshot *snapshot)
{
	if (snapshot && refcount_dec_and_test(&snapshot->ref))
		kfree(snapshot);
}

/**
 * gpusvm_mgr_snapshot_permits() - May a page be accessed so?
 * @snapshot: The snapshot.
 * @page: Number of the page in the range.
 * @write: The access is a write.
 *
 * Return: true if it may.
 */
bool gpusvm_mgr_snapshot_permits(const struct drm_gpusvm_snapshot *snapshot,
				 unsigned long page, bool write)
{
	unsigned long first = 0;
	unsigned int i;

	/* All pages are valid, else there would be no snapshot. */
	if (!write || snapshot->all_write)
		return true;

	for (i = 0; i < snapshot->nr_runs; i++) {
		first += 1UL << hmm_pfn_to_map_order(snapshot->runs[i]);
		if (page < first)
			return snapshot->runs[i] & HMM_PFN_WRITE;
	}

	return false;
}

/**
 * gpusvm_mgr_snapshot_writable() - How far may it be written?
 * @snapshot: The snapshot.
 * @page: Number of a page in the range.
 *
 * Return: the number of the first page from @page on that may not be written; that of
 * pages where there is none.
 */
unsigned long gpusvm_mgr_snapshot_writable(const struct drm_gpusvm_snapshot *snapshot,
					   unsigned long page)
{
	unsigned long first = 0, end;
	unsigned int i;

	for (i = 0; i < snapshot->nr_runs && !snapshot->all_write; i++) {
		end = first + (1UL << hmm_pfn_to_map_order(snapshot->runs[i]));
		if (page < end && !(snapshot->runs[i] & HMM_PFN_WRITE))
			return max(page, first);
		first = end;
	}
	return snapshot->nr_pages;
}

/**
 * gpusvm_mgr_snapshot_usable() - Can the published snapshot serve a fault?
 * @range: The range. Its fault mutex is held.
 * @instance: Who faulted.
 * @page: Number of the page in the range.
 * @write: The access is a write.
 *
 * A hint: commit checks the sequence for good.
 *
 * Return: true if it can.
 */
bool gpusvm_mgr_snapshot_usable(struct drm_gpusvm_mgr_range *range,
				const struct drm_gpusvm_instance *instance,
				unsigned long page, bool write)
{
	const struct drm_gpusvm_snapshot *snapshot = range->snapshot;

	lockdep_assert_held(&range->fault_mutex);

	if (!snapshot || gpusvm_mgr_broken(GPUSVM_MGR_STEP_SHARE))
		return false;
	if (test_bit(GPUSVM_MGR_RANGE_GATHER, &range->flags))
		return false;
	if (mmu_interval_check_retry(&range->shadow, snapshot->seq))
		return false;
	if (snapshot->owner && snapshot->owner != instance->owner)
		return false;
	return gpusvm_mgr_snapshot_permits(snapshot, page, write);
}

/*
 * The mm ends its epoch only when the last active invalidation ends, so a
 * range whose sequence is current may wait for an invalidation elsewhere. HMM
 * would do this wait, too, but could not tell how long it took: the deadline of
 * the fault is for what we repeat, not for what others keep us from.
 */
static void gpusvm_mgr_snapshot_read_begin(struct drm_gpusvm_mgr_range *range,
					   unsigned long *deadline)
{
	unsigned long sleeps = current->nvcsw;
	unsigned long begin = jiffies;
	ktime_t time = ktime_get();
	u64 ns;

	mmu_interval_read_begin(&range->shadow);
	if (current->nvcsw == sleeps)
		return;

	ns = ktime_to_ns(ktime_sub(ktime_get(), time));
	*deadline += jiffies - begin;
	gpusvm_mgr_count(range->mgr, seq_waits);
	gpusvm_mgr_add(range->mgr, seq_wait_ns, ns);
	trace_gpusvm_mgr_seq_wait(range, ns);
}

/* Where HMM keeps the order of the CPU's mapping, and we that of a run. */
#define GPUSVM_MGR_PFN_ORDER	(0x1fUL << HMM_PFN_ORDER_SHIFT)

/* Pages from the first one on that the CPU has in the entry that maps this one. */
static unsigned long gpusvm_mgr_snapshot_mapped(unsigned long entry,
						unsigned long nr_pages)
{
	return 1UL << gpusvm_mgr_run_order(entry & ~HMM_PFN_FLAGS,
					   hmm_pfn_to_map_order(entry), nr_pages);
}

/*
 * How many pages follow each other in memory, and may be accessed alike? Pages that
 * were allocated together are often neighbours, also where the CPU maps each by
 * itself. Memory is of one kind, and of one device, as far as a subsection reaches,
 * and only within that pages are joined which the CPU does not map as one.
 */
static unsigned long gpusvm_mgr_snapshot_joined(const unsigned long *pfns,
						unsigned long nr_pages)
{
	const unsigned long first = pfns[0] & ~GPUSVM_MGR_PFN_ORDER;
	unsigned long joined = gpusvm_mgr_snapshot_mapped(pfns[0], nr_pages);
	unsigned long max;

	max = PAGES_PER_SUBSECTION - (first & (PAGES_PER_SUBSECTION - 1));
	max = min(max, nr_pages);
	while (joined < max && (pfns[joined] & ~GPUSVM_MGR_PFN_ORDER) == first + joined)
		joined += gpusvm_mgr_snapshot_mapped(pfns[joined], max - joined);

	return joined;
}

/**
 * gpusvm_mgr_snapshot_compress() - Replace pages by runs, in place
 * @pfns: HMM pfns, one for each page, all valid.
 * @nr_pages: Number of them.
 *
 * Return: the number of runs. The order of each is in its HMM pfn, as HMM has it for
 * the CPU's mappings, but the page need not be aligned to it.
 */
unsigned int gpusvm_mgr_snapshot_compress(unsigned long *pfns, unsigned long nr_pages)
{
	unsigned int nr_runs = 0;
	unsigned long page = 0;

	while (page < nr_pages) {
		unsigned long joined = gpusvm_mgr_snapshot_joined(&pfns[page],
								  nr_pages - page);
		unsigned long entry = pfns[page] & ~GPUSVM_MGR_PFN_ORDER;

		/* The record of a mapping has room for powers of two. */
		while (joined) {
			unsigned long order = ilog2(joined);

			pfns[nr_runs++] = entry | order << HMM_PFN_ORDER_SHIFT;
			entry += 1UL << order;
			joined -= 1UL << order;
			page += 1UL << order;
		}
	}

	return nr_runs;
}

/**
 * gpusvm_mgr_snapshot_shift() - Mend the beginning of a walk
 * @pfns: HMM pfns, one for each page, all valid.
 * @start: Where the walk began.
 * @nr_pages: Number of pages.
 *
 * Where the CPU has one entry for a huge device-private page, hmm_range_fault() of
 * Linux 7.3 returns the pages from its first one on, also where the walk begins
 * behind that: hmm_vma_handle_absent_pmd() lacks the offset which
 * hmm_vma_handle_pmd() adds for system memory. A device would work on other pages
 * of the same process. Only the entry in which a walk begins can be entered at
 * another place than its start.
 *
 * No look at struct pages, which may be about to go: a huge page is aligned to its
 * size, and so only the first of its pages is. A kernel that adds the offset is
 * left alone.
 */
void gpusvm_mgr_snapshot_shift(unsigned long *pfns, unsigned long start,
			       unsigned long nr_pages)
{
	const unsigned long huge = PMD_SIZE >> PAGE_SHIFT;
	const unsigned long offset = (start & ~PMD_MASK) >> PAGE_SHIFT;
	const unsigned long pfn = pfns[0] & ~HMM_PFN_FLAGS;
	unsigned long i;

	if (!offset || hmm_pfn_to_map_order(pfns[0]) != PMD_SHIFT - PAGE_SHIFT ||
	    !IS_ALIGNED(pfn, huge))
		return;

	for (i = 0; i < min(nr_pages, huge - offset); i++)
		pfns[i] += offset;
}

/**
 * gpusvm_mgr_snapshot_walk() - Walk the CPU's page tables and publish
 * @range: The range. Its fault mutex is held.
 * @owner: Whose device-private pages may stay where they are, NULL: none.
 * @write: All of the range shall be writable; device-private pages that are
 *	shared by copy-on-write are not all the same.
 * @deadline: When the fault gives up, jiffies; waits for invalidations are
 *	added.
 *
 * The caller holds a reference on the mm's users, and neither the mmap lock
 * nor an instance lock.
 *
 * Return: 0, the snapshot is in @range->snapshot; -EFAULT: a page cannot be
 * had (no VMA any more, beyond the end of a file, poisoned); -EPERM: not
 * writable; -ENOMEM; -EBUSY: invalidated for as long as a look may take; -EINTR:
 * a fatal signal.
 */
int gpusvm_mgr_snapshot_walk(struct drm_gpusvm_mgr_range *range, void *owner,
			     bool write, unsigned long *deadline)
{
	unsigned long nr_pages = (range->end - range->start) >> PAGE_SHIFT;
	struct hmm_range hmm = {
		.notifier = &range->shadow,
		.start = range->start,
		.end = range->end,
		.default_flags = HMM_PFN_REQ_FAULT |
				 (write ? HMM_PFN_REQ_WRITE : 0),
		/* Those of others are brought back. */
		.dev_private_owner = owner,
	};
	struct drm_gpusvm_snapshot *snapshot;
	unsigned int nr_runs, i;
	unsigned long *pfns;
	int err;

	lockdep_assert_held(&range->fault_mutex);

	pfns = kcalloc(nr_pages, sizeof(*pfns), GFP_KERNEL);
	if (!pfns)
		return -ENOMEM;

	gpusvm_mgr_snapshot_read_begin(range, deadline);

	/*
	 * HMM counts its waits for the mmap lock, too, and gives up without
	 * having walked once: so each look has all the time, and the caller
	 * bounds their number.
	 */
	hmm.hmm_pfns = pfns;
	gpusvm_mgr_count(range->mgr, walks);
	err = hmm_range_fault_unlocked_timeout(&hmm,
					       msecs_to_jiffies(GPUSVM_MGR_FAULT_MS));
	trace_gpusvm_mgr_walk(range, write, hmm.notifier_seq, err);
	if (err)
		goto free_pfns;

	gpusvm_mgr_snapshot_shift(pfns, range->start, nr_pages);
	nr_runs = gpusvm_mgr_snapshot_compress(pfns, nr_pages);
	snapshot = kmalloc_flex(*snapshot, runs, nr_runs);
	if (!snapshot) {
		err = -ENOMEM;
		goto free_pfns;
	}

	refcount_set(&snapshot->ref, 1);
	snapshot->seq = hmm.notifier_seq;
	snapshot->owner = NULL;
	snapshot->nr_pages = nr_pages;
	snapshot->nr_runs = nr_runs;
	snapshot->all_write = true;
	snapshot->all_device = owner;
	for (i = 0; i < nr_runs; i++) {
		snapshot->runs[i] = pfns[i];
		if (!(pfns[i] & HMM_PFN_WRITE))
			snapshot->all_write = false;
		/* No look at its struct page, which may be about to go. */
		if (!pfn_to_online_page(pfns[i] & ~HMM_PFN_FLAGS))
			snapshot->owner = owner;
		else
			snapshot->all_device = false;
	}

	gpusvm_mgr_snapshot_put(range->snapshot);
	range->snapshot = snapshot;

free_pfns:
	kfree(pfns);
	return err;
}
