// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The ioctls about attributes: between the ABI, where device memory is named by
 * file descriptors and indices, and the back end, where it is a drm_pagemap.
 */

#include <linux/build_bug.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "vsvm_drv.h"

/* Values pass from the one to the other as they are. */
static_assert((int)DRM_VSVM_ATTR_LOCATION == DRM_GPUSVM_ATTR_LOCATION);
static_assert((int)DRM_VSVM_ATTR_MIGRATION == DRM_GPUSVM_ATTR_MIGRATION);
static_assert((int)DRM_VSVM_ATTR_GRANULARITY == DRM_GPUSVM_ATTR_GRANULARITY);
static_assert((int)DRM_VSVM_ATTR_RESIDENCE == DRM_GPUSVM_ATTR_RESIDENCE);
static_assert((int)DRM_VSVM_ATTR_ACCESS == DRM_GPUSVM_ATTR_ACCESS);
static_assert((int)DRM_VSVM_ATTR_READ_ONLY == DRM_GPUSVM_ATTR_READ_ONLY);
static_assert((int)DRM_VSVM_ATTR_ATOMICS == DRM_GPUSVM_ATTR_ATOMICS);
static_assert((int)DRM_VSVM_LOCATION_DEFAULT == DRM_GPUSVM_LOCATION_DEFAULT);
static_assert((int)DRM_VSVM_LOCATION_SYSTEM == DRM_GPUSVM_LOCATION_SYSTEM);
static_assert((int)DRM_VSVM_LOCATION_DEVICE == DRM_GPUSVM_LOCATION_DEVICE);
static_assert((int)DRM_VSVM_MIGRATION_ALL == DRM_GPUSVM_MIGRATION_ALL);
static_assert((int)DRM_VSVM_MIGRATION_NEVER == DRM_GPUSVM_MIGRATION_NEVER);
static_assert((int)DRM_VSVM_MIGRATION_SYSTEM == DRM_GPUSVM_MIGRATION_SYSTEM);
static_assert((int)DRM_VSVM_MODE_DEFAULT == DRM_GPUSVM_MODE_DEFAULT);
static_assert((int)DRM_VSVM_MODE_ON_DEMAND == DRM_GPUSVM_MODE_ON_DEMAND);
static_assert((int)DRM_VSVM_MODE_NONE == DRM_GPUSVM_MODE_NONE);
static_assert((int)DRM_VSVM_MODE_EAGER == DRM_GPUSVM_MODE_EAGER);
static_assert((int)DRM_VSVM_MODE_IN_PLACE == DRM_GPUSVM_MODE_IN_PLACE);
static_assert((int)DRM_VSVM_ATOMICS_UNDEFINED == DRM_GPUSVM_ATOMICS_UNDEFINED);
static_assert((int)DRM_VSVM_ATOMICS_DEVICE == DRM_GPUSVM_ATOMICS_DEVICE);
static_assert((int)DRM_VSVM_ATOMICS_GLOBAL == DRM_GPUSVM_ATOMICS_GLOBAL);
static_assert((int)DRM_VSVM_ATOMICS_CPU == DRM_GPUSVM_ATOMICS_CPU);
static_assert(DRM_VSVM_GRANULARITY_DEFAULT == DRM_GPUSVM_GRANULARITY_DEFAULT);
static_assert(DRM_VSVM_RESIDENCE_DEFAULT == DRM_GPUSVM_RESIDENCE_DEFAULT);

/**
 * vsvm_attr_check_span() - Can it be a span at all?
 * @drm: The device, for messages.
 * @start: First address.
 * @size: Bytes.
 *
 * Whether it belongs to the process is for the back end to say.
 *
 * Return: 0, or -EINVAL.
 */
int vsvm_attr_check_span(struct drm_device *drm, u64 start, u64 size)
{
	if (PAGE_ALIGNED(start | size) && size && size <= U64_MAX - start)
		return 0;

	drm_dbg(drm, "start 0x%llx, size 0x%llx: not aligned, empty or too large\n", start,
		size);
	return -EINVAL;
}

/**
 * vsvm_attr_pagemap() - Which memory does a file descriptor name?
 * @dev: The device that is asked.
 * @fd: The file descriptor, %DRM_VSVM_THIS_DEVICE: that of @dev.
 *
 * Return: the memory, with a reference; or an ERR_PTR(): -EBADF, -EINVAL: no vsvm
 * device; -EOPNOTSUPP: it has no memory; else as vsvm_pagemap_get().
 */
struct drm_pagemap *vsvm_attr_pagemap(struct vsvm_device *dev, int fd)
{
	struct drm_pagemap *dpagemap;
	struct vsvm_device *target;

	if (fd == DRM_VSVM_THIS_DEVICE) {
		drm_dev_get(&dev->drm);
		target = dev;
	} else {
		target = vsvm_device_from_fd(fd);
		if (IS_ERR(target)) {
			drm_dbg(&dev->drm, "device %d: not open, or no vsvm device\n", fd);
			return ERR_CAST(target);
		}
	}

	/* Looks itself whether the device is still there. */
	dpagemap = target->vram.size ? vsvm_pagemap_get(target) : ERR_PTR(-EOPNOTSUPP);
	if (IS_ERR(dpagemap))
		drm_dbg(&dev->drm, "device %d: its memory cannot be had, %pe\n", fd,
			dpagemap);
	drm_dev_put(&target->drm);
	return dpagemap;
}

/* Attributes of a call, as they came. */
static int vsvm_attrs_read(struct drm_device *drm, struct drm_vsvm_attr *attrs, u64 ptr,
			   u32 count)
{
	if (!count || count > DRM_VSVM_MAX_ATTRS) {
		drm_dbg(drm, "num_attrs %u: must be 1 to %u\n", count, DRM_VSVM_MAX_ATTRS);
		return -EINVAL;
	}
	if (copy_from_user(attrs, u64_to_user_ptr(ptr), count * sizeof(*attrs))) {
		drm_dbg(drm, "attrs 0x%llx: cannot be read\n", ptr);
		return -EFAULT;
	}
	return 0;
}

static void vsvm_attrs_put(struct drm_gpusvm_attr *attrs, unsigned int count)
{
	while (count--)
		drm_pagemap_put(attrs[count].dpagemap);
}

/* From the form of the ABI; takes references. Types and values: the back end. */
static int vsvm_attrs_parse(struct vsvm_device *dev, const struct drm_vsvm_attr *in,
			    unsigned int count, struct drm_gpusvm_attr *out)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < count; i++) {
		bool device = in[i].type == DRM_VSVM_ATTR_LOCATION &&
			      in[i].value == DRM_VSVM_LOCATION_DEVICE;

		out[i] = (struct drm_gpusvm_attr){
			.type = in[i].type,
			.value = in[i].value,
		};
		if (in[i].flags || (in[i].device && !device)) {
			drm_dbg(&dev->drm, "attribute %u of type %u, value %u: flags 0x%x, device %d: must be 0\n",
				i, in[i].type, in[i].value, in[i].flags, in[i].device);
			ret = -EINVAL;
			break;
		}
		if (!device)
			continue;
		out[i].dpagemap = vsvm_attr_pagemap(dev, in[i].device);
		if (IS_ERR(out[i].dpagemap)) {
			ret = PTR_ERR(out[i].dpagemap);
			break;
		}
	}
	if (ret)
		vsvm_attrs_put(out, i);
	return ret;
}

/**
 * vsvm_attr_set_ioctl() - DRM_IOCTL_VSVM_ATTR_SET
 * @drm: The device.
 * @data: A &struct drm_vsvm_attr_set.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_attr_set.
 */
int vsvm_attr_set_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_gpusvm_attr parsed[DRM_VSVM_MAX_ATTRS];
	struct drm_vsvm_attr attrs[DRM_VSVM_MAX_ATTRS];
	struct drm_vsvm_attr_set *args = data;
	struct vsvm_vm *vm;
	int ret;

	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%x: must be 0\n", args->flags, args->pad);
		return -EINVAL;
	}
	ret = vsvm_attr_check_span(drm, args->start, args->size);
	if (ret)
		return ret;

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	if (!vm->svm->set_attrs) {
		drm_dbg(drm, "vm_id %u: its back end has no attributes\n", args->vm_id);
		ret = -EOPNOTSUPP;
		goto put_vm;
	}

	ret = vsvm_attrs_read(drm, attrs, args->attrs, args->num_attrs);
	if (ret)
		goto put_vm;
	ret = vsvm_attrs_parse(to_vsvm(drm), attrs, args->num_attrs, parsed);
	if (ret)
		goto put_vm;

	ret = vsvm_vm_begin(vm);
	if (!ret) {
		ret = vm->svm->set_attrs(vm, args->start, args->start + args->size, parsed,
					 args->num_attrs);
		vsvm_vm_end(vm);
	}
	vsvm_attrs_put(parsed, args->num_attrs);
put_vm:
	vsvm_vm_put(vm);
	return ret;
}

/* What was asked for, in the form of the ABI. */
static void vsvm_attrs_answer(const struct drm_gpusvm_attr *got,
			      struct drm_vsvm_attr *attrs, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct drm_gpusvm_attr *attr = &got[attrs[i].type];

		attrs[i].flags = 0;
		attrs[i].value = attr->value;
		attrs[i].device = 0;
		if (attr->mixed) {
			attrs[i].flags = DRM_VSVM_ATTR_MIXED;
			attrs[i].value = 0;
		} else if (attr->type == DRM_GPUSVM_ATTR_LOCATION &&
			   attr->value == DRM_GPUSVM_LOCATION_DEVICE) {
			struct drm_device *drm = attr->dpagemap ? attr->dpagemap->drm : NULL;

			attrs[i].device = drm && vsvm_is_device(drm) ?
				to_vsvm(drm)->index : DRM_VSVM_OTHER_DEVICE;
		}
	}
}

/*
 * What GET and NEXT have in common: types are read and checked, before @ask is
 * called; then the answer is written. @vm is the VM of the caller.
 */
static int vsvm_attrs_ask(struct drm_device *drm, struct drm_file *file, u32 vm_id,
			  u64 ptr, u32 count,
			  int (*ask)(struct vsvm_vm *vm, unsigned long *start,
				     unsigned long *end, struct drm_gpusvm_attr *got),
			  unsigned long *start, unsigned long *end)
{
	struct drm_gpusvm_attr got[DRM_GPUSVM_ATTR_TYPES];
	struct drm_vsvm_attr attrs[DRM_VSVM_MAX_ATTRS];
	struct vsvm_vm *vm;
	unsigned int i;
	int ret;

	vm = vsvm_vm_lookup(file, vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	if (!vm->svm->get_attrs) {
		drm_dbg(drm, "vm_id %u: its back end has no attributes\n", vm_id);
		ret = -EOPNOTSUPP;
		goto put_vm;
	}

	ret = vsvm_attrs_read(drm, attrs, ptr, count);
	if (ret)
		goto put_vm;
	for (i = 0; i < count; i++) {
		if (attrs[i].type >= DRM_GPUSVM_ATTR_TYPES) {
			drm_dbg(drm, "attribute %u: unknown type %u\n", i, attrs[i].type);
			ret = -EINVAL;
			goto put_vm;
		}
	}

	ret = vsvm_vm_begin(vm);
	if (ret)
		goto put_vm;
	ret = ask(vm, start, end, got);
	vsvm_vm_end(vm);
	if (ret)
		goto put_vm;

	vsvm_attrs_answer(got, attrs, count);
	drm_gpusvm_attrs_put(got);
	if (copy_to_user(u64_to_user_ptr(ptr), attrs, count * sizeof(*attrs))) {
		drm_dbg(drm, "attrs 0x%llx: cannot be written\n", ptr);
		ret = -EFAULT;
	}
put_vm:
	vsvm_vm_put(vm);
	return ret;
}

static int vsvm_attrs_get(struct vsvm_vm *vm, unsigned long *start, unsigned long *end,
			  struct drm_gpusvm_attr *got)
{
	return vm->svm->get_attrs(vm, *start, *end, got);
}

/**
 * vsvm_attr_get_ioctl() - DRM_IOCTL_VSVM_ATTR_GET
 * @drm: The device.
 * @data: A &struct drm_vsvm_attr_get.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_attr_get.
 */
int vsvm_attr_get_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_attr_get *args = data;
	unsigned long start = args->start, end;
	int ret;

	if (args->flags || args->pad) {
		drm_dbg(drm, "flags 0x%x, pad 0x%x: must be 0\n", args->flags, args->pad);
		return -EINVAL;
	}
	ret = vsvm_attr_check_span(drm, args->start, args->size);
	if (ret)
		return ret;

	end = args->start + args->size;
	return vsvm_attrs_ask(drm, file, args->vm_id, args->attrs, args->num_attrs,
			      vsvm_attrs_get, &start, &end);
}

static int vsvm_attrs_next(struct vsvm_vm *vm, unsigned long *start, unsigned long *end,
			   struct drm_gpusvm_attr *got)
{
	int ret = vm->svm->next_attrs(vm, start, end, got);

	/* There is a VM, but nothing of it to be told. */
	return ret == -ENOENT ? -ENODATA : ret;
}

/**
 * vsvm_attr_next_ioctl() - DRM_IOCTL_VSVM_ATTR_NEXT
 * @drm: The device.
 * @data: A &struct drm_vsvm_attr_next.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_attr_next.
 */
int vsvm_attr_next_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_attr_next *args = data;
	unsigned long start = args->start, end;
	int ret;

	if (args->flags || args->pad || args->size) {
		drm_dbg(drm, "flags 0x%x, pad 0x%x, size 0x%llx: must be 0\n", args->flags,
			args->pad, args->size);
		return -EINVAL;
	}
	if (!PAGE_ALIGNED(args->start)) {
		drm_dbg(drm, "start 0x%llx: not aligned\n", args->start);
		return -EINVAL;
	}

	ret = vsvm_attrs_ask(drm, file, args->vm_id, args->attrs, args->num_attrs,
			     vsvm_attrs_next, &start, &end);
	if (ret)
		return ret;
	args->start = start;
	args->size = end - start;
	return 0;
}

/**
 * vsvm_attr_reset_ioctl() - DRM_IOCTL_VSVM_ATTR_RESET
 * @drm: The device.
 * @data: A &struct drm_vsvm_attr_reset.
 * @file: The file.
 *
 * Return: 0, or a negative errno, see &struct drm_vsvm_attr_reset.
 */
int vsvm_attr_reset_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vsvm_attr_reset *args = data;
	struct vsvm_vm *vm;
	int ret;

	if (args->flags) {
		drm_dbg(drm, "flags 0x%x: must be 0\n", args->flags);
		return -EINVAL;
	}
	ret = vsvm_attr_check_span(drm, args->start, args->size);
	if (ret)
		return ret;

	vm = vsvm_vm_lookup(file, args->vm_id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	if (!vm->svm->reset_attrs) {
		drm_dbg(drm, "vm_id %u: its back end has no attributes\n", args->vm_id);
		ret = -EOPNOTSUPP;
		goto put_vm;
	}

	ret = vsvm_vm_begin(vm);
	if (!ret) {
		ret = vm->svm->reset_attrs(vm, args->start, args->start + args->size);
		vsvm_vm_end(vm);
	}
put_vm:
	vsvm_vm_put(vm);
	return ret;
}
