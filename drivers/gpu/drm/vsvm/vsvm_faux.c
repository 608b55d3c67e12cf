// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * GPUs on the faux bus: as many as a module parameter says, and two files in
 * debugfs to pull one out and put it in again.
 */

#include <linux/debugfs.h>
#include <linux/device/faux.h>
#include <linux/module.h>

#include "vsvm_drv.h"

static unsigned int vsvm_devices = 4;
module_param_named(devices, vsvm_devices, uint, 0444);
MODULE_PARM_DESC(devices, "Number of devices on the faux bus (0 to 16, default 4)");

/* Protects what follows. */
static DEFINE_MUTEX(vsvm_faux_lock);
static struct faux_device *vsvm_faux[VSVM_MAX_DEVICES];
/* Which device is being made; a faux device has no place to keep it. */
static unsigned int vsvm_faux_index;
/* What came of it; the faux bus does not say. */
static int vsvm_faux_ret;

static int vsvm_faux_probe(struct faux_device *faux)
{
	struct vsvm_device *dev;

	/* Its engines are CPUs. By default, not all architectures take that for granted. */
	dev_set_dma_coherent(&faux->dev);
	dev = vsvm_device_init(&faux->dev, vsvm_faux_index);
	vsvm_faux_ret = PTR_ERR_OR_ZERO(dev);
	if (vsvm_faux_ret)
		return vsvm_faux_ret;

	faux_device_set_drvdata(faux, dev);
	vsvm_faux_ret = vsvm_device_register(dev);
	return vsvm_faux_ret;
}

static void vsvm_faux_remove(struct faux_device *faux)
{
	vsvm_device_fini(faux_device_get_drvdata(faux));
}

static const struct faux_device_ops vsvm_faux_ops = {
	.probe = vsvm_faux_probe,
	.remove = vsvm_faux_remove,
};

static int vsvm_faux_plug(unsigned int index)
{
	char name[16];
	int ret = 0;

	mutex_lock(&vsvm_faux_lock);
	if (vsvm_faux[index]) {
		ret = -EEXIST;
		goto unlock;
	}
	snprintf(name, sizeof(name), "vsvm.%u", index);
	vsvm_faux_index = index;
	vsvm_faux_ret = -ENODEV;
	vsvm_faux[index] = faux_device_create(name, NULL, &vsvm_faux_ops);
	if (!vsvm_faux[index])
		ret = vsvm_faux_ret ?: -ENODEV;
unlock:
	mutex_unlock(&vsvm_faux_lock);
	return ret;
}

static int vsvm_faux_unplug(unsigned int index)
{
	int ret = 0;

	mutex_lock(&vsvm_faux_lock);
	if (vsvm_faux[index])
		faux_device_destroy(vsvm_faux[index]);
	else
		ret = -ENODEV;
	vsvm_faux[index] = NULL;
	mutex_unlock(&vsvm_faux_lock);
	return ret;
}

/*
 * Faux devices cannot be unbound through sysfs, so these two files stand for
 * somebody who pulls a card out of its slot, or puts one in: write its number.
 */
static int vsvm_plug_set(void *data, u64 val)
{
	return val < VSVM_MAX_DEVICES ? vsvm_faux_plug(val) : -EINVAL;
}
DEFINE_DEBUGFS_ATTRIBUTE(vsvm_plug_fops, NULL, vsvm_plug_set, "%llu\n");

static int vsvm_unplug_set(void *data, u64 val)
{
	return val < VSVM_MAX_DEVICES ? vsvm_faux_unplug(val) : -EINVAL;
}
DEFINE_DEBUGFS_ATTRIBUTE(vsvm_unplug_fops, NULL, vsvm_unplug_set, "%llu\n");

/**
 * vsvm_faux_init() - Make the devices
 *
 * Return: 0, or a negative errno; then there is none.
 */
int vsvm_faux_init(void)
{
	unsigned int i;
	int ret;

	vsvm_devices = min(vsvm_devices, VSVM_MAX_DEVICES);
	for (i = 0; i < vsvm_devices; i++) {
		ret = vsvm_faux_plug(i);
		if (ret) {
			vsvm_faux_exit();
			return ret;
		}
	}

	debugfs_create_file_unsafe("plug", 0200, vsvm_debugfs_root, NULL, &vsvm_plug_fops);
	debugfs_create_file_unsafe("unplug", 0200, vsvm_debugfs_root, NULL,
				   &vsvm_unplug_fops);
	return 0;
}

/**
 * vsvm_faux_exit() - Remove the devices
 */
void vsvm_faux_exit(void)
{
	unsigned int i;

	for (i = 0; i < VSVM_MAX_DEVICES; i++)
		vsvm_faux_unplug(i);
}
