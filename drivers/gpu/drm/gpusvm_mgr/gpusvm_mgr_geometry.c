// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Geometry: how large a range is, and how large a piece of it is physically
 * contiguous. Pure arithmetic.
 */

#include <linux/align.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "gpusvm_mgr_range.h"

static const unsigned long gpusvm_mgr_default_sizes[] = {
	SZ_2M,
#if PAGE_SIZE < SZ_64K
	SZ_64K,
#endif
	PAGE_SIZE,
};

/* What a manager uses unless a driver has reasons to differ. */
const struct gpusvm_mgr_chunks gpusvm_mgr_default_chunks = {
	.sizes = gpusvm_mgr_default_sizes,
	.count = ARRAY_SIZE(gpusvm_mgr_default_sizes),
};

/**
 * gpusvm_mgr_chunk_choose() - Choose the interval of a new range
 * @chunks: Sizes to choose from.
 * @addr: The address that faulted.
 * @lower: The range must not begin before this address.
 * @upper: The range must not reach beyond this address (exclusive).
 * @limit: Largest size wanted, bytes.
 * @start: Out: first address.
 * @end: Out: end address, exclusive.
 *
 * Takes the largest size whose naturally aligned chunk around @addr lies
 * within the bounds: those of the VMA and those of the ranges beside.
 *
 * Return: 0, or -ENOSPC where not even a page fits.
 */
int gpusvm_mgr_chunk_choose(const struct gpusvm_mgr_chunks *chunks,
			    unsigned long addr, unsigned long lower,
			    unsigned long upper, unsigned long limit,
			    unsigned long *start, unsigned long *end)
{
	unsigned int i;

	for (i = 0; i < chunks->count; i++) {
		unsigned long size = chunks->sizes[i];
		unsigned long first = ALIGN_DOWN(addr, size);

		if (size > limit || first < lower)
			continue;
		/* Compare sizes, not ends: the end may be beyond ULONG_MAX. */
		if (first >= upper || upper - first < size)
			continue;

		*start = first;
		*end = first + size;
		return 0;
	}

	return -ENOSPC;
}

/**
 * gpusvm_mgr_chunk_smaller() - The next smaller chunk size
 * @chunks: Sizes to choose from.
 * @size: A size, bytes.
 *
 * Return: the largest size below @size, 0 where there is none.
 */
unsigned long gpusvm_mgr_chunk_smaller(const struct gpusvm_mgr_chunks *chunks,
				       unsigned long size)
{
	unsigned int i;

	for (i = 0; i < chunks->count; i++)
		if (chunks->sizes[i] < size)
			return chunks->sizes[i];

	return 0;
}

/**
 * gpusvm_mgr_run_order() - Size of the run that begins at a page
 * @pfn: Page frame number.
 * @map_order: Order of the CPU mapping that the page lies in; the mapping is
 *	aligned to its size.
 * @max: Pages until the end of the range, not 0.
 *
 * From the middle of a large CPU mapping a run reaches to its end at most.
 *
 * Return: the largest order such that 1 << order pages from @pfn are
 * contiguous and within @max.
 */
unsigned int gpusvm_mgr_run_order(unsigned long pfn, unsigned int map_order,
				  unsigned long max)
{
	unsigned long pages = 1UL << map_order;

	pages -= pfn & (pages - 1);
	return ilog2(min(pages, max));
}
