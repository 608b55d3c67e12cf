// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm: GPUs that exist only in software but behave like hardware, so that the
 * SVM manager runs, and can be tested, anywhere. The module, and what makes a
 * GPU of a struct device. Where those come from: vsvm_faux.c, vsvm_pci.c.
 */

#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

static unsigned int vsvm_engines = 2;
module_param_named(engines, vsvm_engines, uint, 0444);
MODULE_PARM_DESC(engines, "Engines of each device (1 to 16, default 2)");

static unsigned int vsvm_flush_latency_us = 20;
module_param_named(flush_latency_us, vsvm_flush_latency_us, uint, 0444);
MODULE_PARM_DESC(flush_latency_us, "Time that a TLB flush takes (us, default 20)");

static unsigned int vsvm_tlb_entries = 512;
module_param_named(tlb_entries, vsvm_tlb_entries, uint, 0444);
MODULE_PARM_DESC(tlb_entries, "Entries of each device's TLB (1 to 65536, default 512)");

static unsigned int vsvm_fault_ring = VSVM_FAULT_RING;
module_param_named(fault_ring, vsvm_fault_ring, uint, 0444);
MODULE_PARM_DESC(fault_ring, "Places of each device's fault ring (1 to 64, default 64)");

static unsigned int vsvm_vram_mib = 256;
module_param_named(vram_mib, vsvm_vram_mib, uint, 0644);
MODULE_PARM_DESC(vram_mib,
		 "Memory of each device that is plugged in from now on (MiB, even, 0: none, default 256)");

static unsigned int vsvm_hives = 1;
module_param_named(hives, vsvm_hives, uint, 0644);
MODULE_PARM_DESC(hives,
		 "Hives of linked devices: device N plugged in from now on goes to hive N modulo this (default 1)");

static unsigned int vsvm_dma_bits = 64;
module_param_named(dma_bits, vsvm_dma_bits, uint, 0644);
MODULE_PARM_DESC(dma_bits,
		 "Bits of a DMA address of each device that is plugged in from now on (24 to 64, default 64)");

struct workqueue_struct *vsvm_wq;
struct dentry *vsvm_debugfs_root;

/* The numbers of devices, whatever bus they are on. */
static DEFINE_IDA(vsvm_indices);

static const struct drm_ioctl_desc vsvm_ioctls[] = {
	DRM_IOCTL_DEF_DRV(VSVM_QUERY, vsvm_query_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_VM_CREATE, vsvm_vm_create_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_VM_DESTROY, vsvm_vm_destroy_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_EXEC, vsvm_exec_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_WAIT, vsvm_wait_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_ERROR, vsvm_error_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_STATS, vsvm_stats_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_GEM_CREATE, vsvm_gem_create_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_GEM_MMAP_OFFSET, vsvm_gem_mmap_offset_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_VM_BIND, vsvm_vm_bind_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_ATTR_SET, vsvm_attr_set_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_ATTR_GET, vsvm_attr_get_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_ATTR_NEXT, vsvm_attr_next_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_ATTR_RESET, vsvm_attr_reset_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VSVM_PREFETCH, vsvm_prefetch_ioctl, DRM_RENDER_ALLOW),
};

static const struct file_operations vsvm_fops = {
	.owner		= THIS_MODULE,
	.open		= drm_open,
	.release	= drm_release,
	.unlocked_ioctl	= drm_ioctl,
	.compat_ioctl	= drm_compat_ioctl,
	.poll		= drm_poll,
	.read		= drm_read,
	.mmap		= drm_gem_mmap,
	.llseek		= noop_llseek,
	.show_fdinfo	= drm_show_fdinfo,
	.fop_flags	= FOP_UNSIGNED_OFFSET,
};

static const struct drm_driver vsvm_driver = {
	.driver_features	= DRIVER_RENDER | DRIVER_GEM | DRIVER_SYNCOBJ |
				  DRIVER_SYNCOBJ_TIMELINE,
	.open			= vsvm_file_open,
	.postclose		= vsvm_file_close,
	.debugfs_init		= vsvm_debugfs_init,
	.show_fdinfo		= vsvm_show_fdinfo,
	.gem_prime_import	= vsvm_gem_import,
	.ioctls			= vsvm_ioctls,
	.num_ioctls		= ARRAY_SIZE(vsvm_ioctls),
	.fops			= &vsvm_fops,
	.name			= "vsvm",
	.desc			= "Virtual GPUs on one shared address space",
	.major			= 1,
	.minor			= 0,
};

/**
 * vsvm_is_device() - Is it a device of this driver?
 * @drm: Any device of DRM.
 *
 * Return: true if it is.
 */
bool vsvm_is_device(const struct drm_device *drm)
{
	return drm->driver == &vsvm_driver;
}

/**
 * vsvm_file_from_fd() - Which file of this driver is behind a file descriptor?
 * @fd: A file descriptor of the current task.
 * @ref: Out: what keeps the file, for fput().
 *
 * Return: the file, its device maybe unplugged; or an ERR_PTR(): -EBADF: not open;
 * -EINVAL: no file of this driver.
 */
struct drm_file *vsvm_file_from_fd(int fd, struct file **ref)
{
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_op != &vsvm_fops) {
		fput(file);
		return ERR_PTR(-EINVAL);
	}
	*ref = file;
	return file->private_data;
}

/**
 * vsvm_device_from_fd() - Which device is behind a file descriptor?
 * @fd: A file descriptor of the current task.
 *
 * Return: the device, with a reference, maybe unplugged; or an ERR_PTR(), as
 * vsvm_file_from_fd().
 */
struct vsvm_device *vsvm_device_from_fd(int fd)
{
	struct vsvm_device *dev;
	struct drm_file *file;
	struct file *ref;

	file = vsvm_file_from_fd(fd, &ref);
	if (IS_ERR(file))
		return ERR_CAST(file);
	dev = to_vsvm(file->minor->dev);
	drm_dev_get(&dev->drm);
	fput(ref);
	return dev;
}

/*
 * With the last reference to the device, which each VM has one of: a VM whose
 * fault is stuck is detached late, and needs its flushes answered until then.
 */
static void vsvm_release(struct drm_device *drm, void *unused)
{
	vsvm_flush_stop(to_vsvm(drm));
	vsvm_tlb_fini(&to_vsvm(drm)->tlb);
}

static void vsvm_index_free(void *data)
{
	ida_free(&vsvm_indices, (unsigned long)data);
}

/* Until the driver is unbound, not until the last file is closed. */
static int vsvm_index_take(struct vsvm_device *dev, int index)
{
	int ret;

	if (index >= 0)
		ret = ida_alloc_range(&vsvm_indices, index, index, GFP_KERNEL);
	else
		ret = ida_alloc_max(&vsvm_indices, VSVM_MAX_DEVICES - 1, GFP_KERNEL);
	if (ret < 0)
		return index >= 0 && ret == -ENOSPC ? -EEXIST : ret;

	dev->index = ret;
	return devm_add_action_or_reset(dev->drm.dev, vsvm_index_free,
					(void *)(unsigned long)dev->index);
}

/**
 * vsvm_device_init() - Make a GPU of a device
 * @parent: The device. The driver core undoes all of this when it is unbound, or
 *	where the probe fails.
 * @index: The number that it shall have; negative: the lowest that is free.
 *
 * Return: the GPU, which does nothing yet; or an ERR_PTR(): -EEXIST or -ENOSPC
 * where the number is taken, or all are, -ENOMEM, or what the core of DRM says.
 */
struct vsvm_device *vsvm_device_init(struct device *parent, int index)
{
	unsigned int bits = clamp(READ_ONCE(vsvm_dma_bits), 24, 64);
	struct vsvm_device *dev;
	int ret;

	/* A faux device has no mask of its own. */
	if (parent->dma_mask)
		ret = dma_set_mask_and_coherent(parent, DMA_BIT_MASK(bits));
	else
		ret = dma_coerce_mask_and_coherent(parent, DMA_BIT_MASK(bits));
	if (ret)
		return ERR_PTR(ret);

	dev = devm_drm_dev_alloc(parent, &vsvm_driver, struct vsvm_device, drm);
	if (IS_ERR(dev))
		return dev;

	ret = vsvm_index_take(dev, index);
	if (ret)
		return ERR_PTR(ret);
	dev->hive = dev->index % max(READ_ONCE(vsvm_hives), 1);
	spin_lock_init(&dev->lock);
	INIT_LIST_HEAD(&dev->ready);
	init_waitqueue_head(&dev->engine_wait);
	INIT_LIST_HEAD(&dev->vms);
	vsvm_fault_init(dev, vsvm_fault_ring);
	vsvm_flush_init(&dev->flush, vsvm_flush_latency_us);
	vsvm_edu_init(&dev->edu);
	vsvm_gem_init(&dev->gem);
	ret = drmm_mutex_init(&dev->drm, &dev->vms_lock);
	if (ret)
		return ERR_PTR(ret);

	ret = vsvm_tlb_init(&dev->tlb, vsvm_tlb_entries);
	if (ret)
		return ERR_PTR(ret);
	ret = drmm_add_action_or_reset(&dev->drm, vsvm_release, NULL);
	if (ret)
		return ERR_PTR(ret);

	ret = vsvm_mem_init(dev);
	if (ret)
		return ERR_PTR(ret);
	ret = vsvm_vram_init(dev, (u64)min(READ_ONCE(vsvm_vram_mib), VSVM_MAX_VRAM_MIB) << 20);
	if (ret)
		return ERR_PTR(ret);
	ret = vsvm_pagemap_init(dev);
	if (ret)
		return ERR_PTR(ret);
	return dev;
}

/**
 * vsvm_device_register() - Let a GPU be used
 * @dev: The GPU, see vsvm_device_init().
 *
 * Return: 0; then vsvm_device_fini() is called when the device goes. Or a
 * negative errno.
 */
int vsvm_device_register(struct vsvm_device *dev)
{
	int ret;

	ret = vsvm_flush_start(dev);
	if (ret)
		return ret;
	ret = vsvm_copy_start(dev);
	if (ret)
		return ret;
	ret = vsvm_engines_start(dev, vsvm_engines);
	if (ret)
		goto err_stop;

	vsvm_vram_publish(dev);
	ret = drm_dev_register(&dev->drm, 0);
	if (ret)
		goto err_stop;
	return 0;

err_stop:
	vsvm_vram_withdraw(dev);
	vsvm_engines_stop(dev);
	vsvm_fault_fini(dev);
	vsvm_copy_stop(dev);
	return ret;
}

/**
 * vsvm_device_fini() - The device goes
 * @dev: The GPU.
 *
 * It goes, and all that its VMs have mapped; then the data in its memory goes
 * back to where it came from. The other devices do not notice. Open files keep
 * the struct of @dev until they are closed.
 */
void vsvm_device_fini(struct vsvm_device *dev)
{
	/* Before, see there. */
	vsvm_pagemap_close(dev);
	drm_dev_unplug(&dev->drm);
	vsvm_teardown_all(dev);
	vsvm_engines_stop(dev);
	vsvm_fault_fini(dev);
	vsvm_gem_evict_all(dev);
	vsvm_vram_evict_all(dev);
	vsvm_vram_withdraw(dev);
	vsvm_copy_stop(dev);
}

static int __init vsvm_init(void)
{
	int ret;

	vsvm_engines = clamp(vsvm_engines, 1, VSVM_MAX_ENGINES);
	vsvm_tlb_entries = clamp(vsvm_tlb_entries, 1, 65536);
	vsvm_fault_ring = clamp(vsvm_fault_ring, 1, VSVM_FAULT_RING);
	vsvm_flush_latency_us = min_t(unsigned int, vsvm_flush_latency_us, 10 * USEC_PER_SEC);

	vsvm_pagemap_module_init();
	ret = vsvm_vram_module_init();
	if (ret)
		return ret;
	ret = vsvm_sync_module_init();
	if (ret)
		goto err_vram;
	vsvm_wq = alloc_workqueue("vsvm", WQ_UNBOUND, 0);
	if (!vsvm_wq) {
		ret = -ENOMEM;
		goto err_sync;
	}

	vsvm_debugfs_root = debugfs_create_dir("vsvm", NULL);
	ret = vsvm_faux_init();
	if (ret)
		goto err_wq;
	ret = vsvm_pci_init();
	if (ret)
		goto err_faux;
	return 0;

err_faux:
	vsvm_faux_exit();
err_wq:
	debugfs_remove_recursive(vsvm_debugfs_root);
	/* Late services of faults drop the last references. */
	destroy_workqueue(vsvm_wq);
err_sync:
	vsvm_sync_module_exit();
err_vram:
	vsvm_vram_module_exit();
	return ret;
}

static void __exit vsvm_exit(void)
{
	debugfs_remove_recursive(vsvm_debugfs_root);
	vsvm_pci_exit();
	vsvm_faux_exit();
	/* Late services of faults drop the last references. */
	destroy_workqueue(vsvm_wq);
	vsvm_sync_module_exit();
	vsvm_vram_module_exit();
}

module_init(vsvm_init);
module_exit(vsvm_exit);

MODULE_DESCRIPTION("Virtual GPUs on one shared address space");
MODULE_LICENSE("Dual MIT/GPL");
