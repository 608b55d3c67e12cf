// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The device's way to memory: from a device address to the bytes. Nothing here
 * knows about virtual addresses, processes or their page tables.
 */

#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vsvm_drv.h"

/* What is kept free at a time: no larger piece is mapped at once. */
#define VSVM_SKEW_SIZE		SZ_2M
#define VSVM_MAX_SKEW		16

static unsigned int vsvm_iova_skew = 1;
module_param_named(iova_skew, vsvm_iova_skew, uint, 0644);
MODULE_PARM_DESC(iova_skew,
		 "Pieces of 2 MiB of DMA addresses that device N keeps free, times N, behind an IOMMU (0 to 16, default 1)");

/*
 * Each IOMMU domain hands its addresses out from the top, so that the same page
 * tends to get the same number on each device, and an address of one device
 * that gets to another by mistake would do what was wanted. Each device leaves
 * out a different amount, so that it does not.
 */
static int vsvm_mem_skew(struct vsvm_device *dev)
{
	unsigned int count = dev->index * min(READ_ONCE(vsvm_iova_skew), VSVM_MAX_SKEW);
	struct vsvm_mem *mem = &dev->mem;

	if (!count)
		return 0;
	mem->skew = kcalloc(count, sizeof(*mem->skew), GFP_KERNEL);
	if (!mem->skew)
		return -ENOMEM;
	/* One by one: a large piece would be aligned, and leave smaller ones above it. */
	while (mem->num_skew < count &&
	       dma_iova_try_alloc(dev->drm.dev, &mem->skew[mem->num_skew], 0,
				  VSVM_SKEW_SIZE))
		mem->num_skew++;
	return 0;
}

static void vsvm_mem_release(void *data)
{
	struct vsvm_device *dev = data;
	struct vsvm_mem *mem = &dev->mem;

	while (mem->num_skew)
		dma_iova_free(dev->drm.dev, &mem->skew[--mem->num_skew]);
	kfree(mem->skew);
	mem->skew = NULL;
}

/**
 * vsvm_mem_init() - Find out what stands between a device and memory
 * @dev: The device, bound to its driver: from now on its domain does not change.
 *
 * Return: 0, or -ENOMEM; undone when the driver is unbound.
 */
int vsvm_mem_init(struct vsvm_device *dev)
{
	struct device *parent = dev->drm.dev;
	struct vsvm_mem *mem = &dev->mem;
	int ret;

	mem->domain = iommu_get_domain_for_dev(parent);
	mem->translates = mem->domain && (mem->domain->type & __IOMMU_DOMAIN_PAGING);
	ret = devm_add_action(parent, vsvm_mem_release, dev);
	if (ret)
		return ret;
	return mem->translates ? vsvm_mem_skew(dev) : 0;
}

/**
 * vsvm_mem_dma() - What stands between a device and memory
 * @dev: The device.
 *
 * Return: an &enum drm_vsvm_dma.
 */
enum drm_vsvm_dma vsvm_mem_dma(struct vsvm_device *dev)
{
	struct iommu_domain *domain = dev->mem.domain;

	if (!domain)
		return DRM_VSVM_DMA_DIRECT;
	if (!dev->mem.translates)
		return DRM_VSVM_DMA_IDENTITY;
	if (READ_ONCE(domain->type) == IOMMU_DOMAIN_DMA_FQ)
		return DRM_VSVM_DMA_LAZY;
	return DRM_VSVM_DMA_TRANSLATED;
}

/**
 * vsvm_mem_dma_name() - The same in words
 * @dev: The device.
 *
 * Return: a word for debugfs and the log.
 */
const char *vsvm_mem_dma_name(struct vsvm_device *dev)
{
	switch (vsvm_mem_dma(dev)) {
	case DRM_VSVM_DMA_TRANSLATED:
		return "strict";
	case DRM_VSVM_DMA_LAZY:
		return "lazy";
	case DRM_VSVM_DMA_IDENTITY:
		return "identity";
	default:
		return "none";
	}
}

/**
 * vsvm_mem_page() - Find the page at a device address
 * @dev: The device.
 * @addr: The device address of system memory.
 *
 * Return: the page, NULL where the IOMMU does not translate the address, or there
 * is no memory behind it.
 */
struct page *vsvm_mem_page(struct vsvm_device *dev, u64 addr)
{
	phys_addr_t phys;

	if (dev->mem.translates) {
		/*
		 * Nobody unmaps it meanwhile: that waits for the flush, and the
		 * flush for us. Where it comes earlier, which is what this model
		 * is there to notice, this finds the address or does not.
		 */
		phys = iommu_iova_to_phys(dev->mem.domain, addr);
		if (!phys)
			return NULL;
	} else {
		phys = dma_to_phys(dev->drm.dev, addr);
	}
	return pfn_valid(PHYS_PFN(phys)) ? phys_to_page(phys) : NULL;
}

/**
 * vsvm_mem_map() - Make the memory at a device address accessible
 * @dev: The device.
 * @addr: The device address: of system memory, or of memory on a device.
 *
 * Does not sleep. To be undone by vsvm_mem_unmap(), in reverse order.
 *
 * Return: a pointer that is good up to the end of the page, NULL where the
 * IOMMU does not translate the address, no link leads there, or there is no
 * memory behind it.
 */
void *vsvm_mem_map(struct vsvm_device *dev, u64 addr)
{
	struct page *page;

	if (addr & VSVM_VRAM_ADDR)
		return vsvm_vram_map(dev, addr);

	page = vsvm_mem_page(dev, addr);
	/* Translation keeps the place in the page. */
	return page ? kmap_local_page(page) + offset_in_page(addr) : NULL;
}

/**
 * vsvm_mem_unmap() - End what vsvm_mem_map() began
 * @kaddr: Its result.
 */
void vsvm_mem_unmap(void *kaddr)
{
	kunmap_local(kaddr);
}

/**
 * vsvm_mem_read_stale() - Read memory that may have been freed
 * @dst: Where to.
 * @src: Where from; what vsvm_mem_map() returned.
 * @len: Bytes, not beyond the end of the page.
 *
 * Only for reads through a translation that should be gone, so that a test can
 * see what a device would see. KASAN has every right to object to them, hence
 * loads that it does not look at.
 */
void vsvm_mem_read_stale(void *dst, const void *src, size_t len)
{
	unsigned long addr = (unsigned long)src;
	u8 *out = dst;

	while (len) {
		unsigned int skip = addr % sizeof(unsigned long);
		unsigned long word = READ_ONCE_NOCHECK(*(unsigned long *)(addr - skip));
		unsigned int n = min_t(size_t, sizeof(word) - skip, len);

		memcpy(out, (u8 *)&word + skip, n);
		out += n;
		addr += n;
		len -= n;
	}
}
