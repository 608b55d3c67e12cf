// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Huge pages that are on a device: they come as such, and leave it page by page.
 */

#include <linux/leafops.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>

#include "vsvm_drv.h"

/*
 * A move leaves a migration entry where the page was. Where a process gives the memory
 * back meanwhile (MADV_DONTNEED, or munmap() and its end while an eviction goes on),
 * zap_huge_pmd() of 7.3 takes that of a huge page of a device for the page itself: it
 * drops a reference and a place in the rmap that the move has dropped before. So no
 * huge page leaves a device as such. It is split before, on the device; its pages have
 * entries of their own then, with which the kernel deals well.
 *
 * What is left is a huge page that comes to a device between the look for such ones, or
 * the touch of a small one in its place, and the time when what is to be moved is
 * collected. In one process the manager has one mover for a place; a child of fork(),
 * VMs without the manager, and the CPU may still be another.
 *
 * The kernel does not let modules split pages. As a module vsvm moves none as a whole.
 */
#define VSVM_CAN_SPLIT		IS_BUILTIN(CONFIG_DRM_VSVM)

static bool vsvm_huge = VSVM_CAN_SPLIT;
module_param_named(huge, vsvm_huge, bool, 0644);
MODULE_PARM_DESC(huge,
		 "Move huge pages to a device as such (default: if built in; else without effect)");

/**
 * vsvm_split_possible() - May a huge page come to a device as such?
 *
 * Return: whether it may.
 */
bool vsvm_split_possible(void)
{
	return VSVM_CAN_SPLIT && READ_ONCE(vsvm_huge);
}

/**
 * vsvm_split_page() - Split the huge page that a page of a device's memory belongs to
 * @page: The page. Its folio is locked, and the caller has one reference, both of which
 *	are @page's then.
 *
 * Return: 0: it is none now; -EBUSY, -EAGAIN: somebody looks at it, or nobody maps it;
 * other errors of split_huge_page().
 */
int vsvm_split_page(struct page *page)
{
	struct vsvm_device *dev = vsvm_pagemap_device(page);
	int ret;

	if (!VSVM_CAN_SPLIT || vsvm_fail_now(dev, &dev->vram.fail_split))
		return -EBUSY;
	ret = split_huge_page(page);
	if (!ret)
		atomic64_inc(&dev->vram.splits);
	return ret;
}

/* The first page of a huge one on a device, with a reference. */
static struct page *vsvm_split_find(struct mm_struct *mm, pmd_t *pmd)
{
	struct page *page = NULL;

	pmd_lock(mm, pmd);
	if (pmd_is_device_private_entry(*pmd)) {
		page = softleaf_to_page(softleaf_from_pmd(*pmd));
		get_page(page);
	}
	spin_unlock(pmd_lockptr(mm, pmd));
	return page;
}

static int vsvm_split_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
			  struct mm_walk *walk)
{
	struct page *page;
	int ret = 0;

	if (!pmd_is_device_private_entry(pmdp_get_lockless(pmd)))
		return 0;
	page = vsvm_split_find(walk->mm, pmd);
	if (!page)
		return 0;

	/* That of other drivers has another owner, and is not moved. */
	if (vsvm_pagemap_ours(page)) {
		ret = -EBUSY;
		if (trylock_page(page)) {
			/* Somebody else may have split it in between. */
			ret = folio_test_large(page_folio(page)) ? vsvm_split_page(page) : 0;
			unlock_page(page);
		}
	}
	put_page(page);
	return ret;
}

static const struct mm_walk_ops vsvm_split_walk = {
	.pmd_entry = vsvm_split_pmd,
	.walk_lock = PGWALK_RDLOCK,
};

/**
 * vsvm_split_range() - Split the huge pages in a part of an address space
 * @mm: The address space; its mmap lock is held for reading.
 * @start: Start of it.
 * @end: End of it, exclusive.
 *
 * Those that are on a device. What moves whole chunks from one device to another must
 * do so first.
 *
 * Return: 0: there is none now, but for what somebody else may bring; an error of
 * vsvm_split_page(): there may be some.
 */
int vsvm_split_range(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	if (!VSVM_CAN_SPLIT)
		return 0;
	return walk_page_range(mm, start, end, &vsvm_split_walk, NULL);
}
