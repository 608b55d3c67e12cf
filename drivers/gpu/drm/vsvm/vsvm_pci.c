// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GPUs on PCI: each "edu" function that QEMU has is one, with registers, an
 * interrupt and a DMA engine of its own. Behind an IOMMU each has a domain of its
 * own, and so DMA addresses that are good for it only.
 */

#include <linux/module.h>
#include <linux/pci.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"

#define VSVM_PCI_VENDOR_QEMU	0x1234
#define VSVM_PCI_DEVICE_EDU	0x11e8

static int vsvm_pci_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vsvm_device *dev;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	dev = vsvm_device_init(&pdev->dev, -1);
	if (IS_ERR(dev))
		return PTR_ERR(dev);

	pci_set_master(pdev);
	ret = vsvm_edu_start(dev, pdev);
	if (ret)
		goto err_master;
	/* Before anybody can open it: its VMs are known to others by that. */
	pci_set_drvdata(pdev, dev);
	ret = vsvm_device_register(dev);
	if (ret)
		goto err_edu;

	drm_info(&dev->drm, "GPU %u, interrupt by %s, IOMMU: %s\n", dev->index,
		 dev->edu.msi ? "message" : "line", vsvm_mem_dma_name(dev));
	return 0;

err_edu:
	vsvm_edu_stop(dev, pdev);
err_master:
	pci_clear_master(pdev);
	return ret;
}

static void vsvm_pci_remove(struct pci_dev *pdev)
{
	struct vsvm_device *dev = pci_get_drvdata(pdev);

	vsvm_device_fini(dev);
	vsvm_edu_stop(dev, pdev);
}

static const struct pci_device_id vsvm_pci_ids[] = {
	{ PCI_DEVICE(VSVM_PCI_VENDOR_QEMU, VSVM_PCI_DEVICE_EDU) },
	{ }
};
MODULE_DEVICE_TABLE(pci, vsvm_pci_ids);

static struct pci_driver vsvm_pci_driver = {
	.name = "vsvm",
	.id_table = vsvm_pci_ids,
	.probe = vsvm_pci_probe,
	.remove = vsvm_pci_remove,
};

/**
 * vsvm_pci_init() - Take the functions that are there, and those that come
 *
 * Return: 0, or a negative errno.
 */
int vsvm_pci_init(void)
{
	return pci_register_driver(&vsvm_pci_driver);
}

/**
 * vsvm_pci_exit() - Let go of them
 */
void vsvm_pci_exit(void)
{
	pci_unregister_driver(&vsvm_pci_driver);
}
