// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The device's way to memory: from a device address to the bytes. Nothing here
 * knows about virtual addresses, processes or their page tables.
 */

#include <linux/dma-direct.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mm.h>

#include "vsvm_drv.h"

/* The domain that translates for the device, NULL where none does. */
static struct iommu_domain *vsvm_mem_domain(struct vsvm_device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev->drm.dev);

	if (domain && (domain->type & __IOMMU_DOMAIN_PAGING))
		return domain;
	return NULL;
}

/**
 * vsvm_mem_dma() - What stands between a device and memory
 * @dev: The device.
 *
 * Return: an &enum drm_vsvm_dma.
 */
enum drm_vsvm_dma vsvm_mem_dma(struct vsvm_device *dev)
{
	if (vsvm_mem_domain(dev))
		return DRM_VSVM_DMA_TRANSLATED;
	if (iommu_get_domain_for_dev(dev->drm.dev))
		return DRM_VSVM_DMA_IDENTITY;
	return DRM_VSVM_DMA_DIRECT;
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
	struct iommu_domain *domain = vsvm_mem_domain(dev);
	phys_addr_t phys;

	if (addr & VSVM_VRAM_ADDR)
		return vsvm_vram_map(dev, addr);

	if (domain) {
		phys = iommu_iova_to_phys(domain, addr);
		if (!phys)
			return NULL;
	} else {
		phys = dma_to_phys(dev->drm.dev, addr);
	}

	if (!pfn_valid(PHYS_PFN(phys)))
		return NULL;
	return kmap_local_page(phys_to_page(phys)) + offset_in_page(phys);
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
