// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * libvsvm: attributes of memory, and prefetch
 *
 * What each call does and returns is written down in libvsvm.h.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <xf86drm.h>

#include "libvsvm.h"

static int vsvm_ioctl(int fd, unsigned long request, void *arg)
{
	return drmIoctl(fd, request, arg) ? -errno : 0;
}

/*
 * NAME
 *	vsvm_attr_set - say something about memory
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ATTR_SET
 */
int vsvm_attr_set(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		  const struct drm_vsvm_attr *attrs, unsigned int num)
{
	struct drm_vsvm_attr_set args = {
		.vm_id = vm->id,
		.start = vsvm_addr(start),
		.size = size,
		.attrs = vsvm_addr(attrs),
		.num_attrs = num,
	};

	return vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_ATTR_SET, &args);
}

/*
 * NAME
 *	vsvm_attr_set_one - say one thing about memory
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ATTR_SET
 */
int vsvm_attr_set_one(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		      uint32_t type, uint32_t value)
{
	struct drm_vsvm_attr attr = { .type = type, .value = value };

	if (type == DRM_VSVM_ATTR_LOCATION && value == DRM_VSVM_LOCATION_DEVICE)
		attr.device = DRM_VSVM_THIS_DEVICE;
	return vsvm_attr_set(vm, start, size, &attr, 1);
}

/*
 * NAME
 *	vsvm_attr_prefer - say in which device's memory data should be
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ATTR_SET
 */
int vsvm_attr_prefer(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		     const struct vsvm_device *dev)
{
	const struct drm_vsvm_attr attr = {
		.type = DRM_VSVM_ATTR_LOCATION,
		.value = dev ? DRM_VSVM_LOCATION_DEVICE : DRM_VSVM_LOCATION_SYSTEM,
		.device = dev ? dev->fd : 0,
	};

	return vsvm_attr_set(vm, start, size, &attr, 1);
}

/*
 * NAME
 *	vsvm_attr_get - ask what was said about memory
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ATTR_GET
 */
int vsvm_attr_get(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		  struct drm_vsvm_attr *attrs, unsigned int num)
{
	struct drm_vsvm_attr_get args = {
		.vm_id = vm->id,
		.start = vsvm_addr(start),
		.size = size,
		.attrs = vsvm_addr(attrs),
		.num_attrs = num,
	};

	return vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_ATTR_GET, &args);
}

/*
 * NAME
 *	vsvm_attr_get_one - ask for one thing that was said about memory
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ATTR_GET
 */
int vsvm_attr_get_one(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		      uint32_t type, uint32_t *value)
{
	struct drm_vsvm_attr attr = { .type = type };
	int ret;

	ret = vsvm_attr_get(vm, start, size, &attr, 1);
	if (ret)
		return ret;
	if (attr.flags & DRM_VSVM_ATTR_MIXED)
		return 1;
	*value = attr.value;
	return 0;
}

/*
 * NAME
 *	vsvm_attr_next - step through what was said
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ATTR_NEXT
 */
int vsvm_attr_next(const struct vsvm_vm *vm, uint64_t *start, uint64_t *size,
		   struct drm_vsvm_attr *attrs, unsigned int num)
{
	struct drm_vsvm_attr_next args = {
		.vm_id = vm->id,
		.start = *start,
		.attrs = vsvm_addr(attrs),
		.num_attrs = num,
	};
	int ret;

	ret = vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_ATTR_NEXT, &args);
	if (ret)
		return ret;
	*start = args.start;
	*size = args.size;
	return 0;
}

/*
 * NAME
 *	vsvm_attr_reset - take back what was said
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ATTR_RESET
 */
int vsvm_attr_reset(const struct vsvm_vm *vm, const volatile void *start, size_t size)
{
	struct drm_vsvm_attr_reset args = {
		.vm_id = vm->id,
		.start = vsvm_addr(start),
		.size = size,
	};

	return vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_ATTR_RESET, &args);
}

/*
 * NAME
 *	vsvm_attr_format - describe an attribute in a few words
 */
char *vsvm_attr_format(const struct drm_vsvm_attr *attr, char *buf, size_t size)
{
	static const struct {
		const char *name;
		const char *values[5];
	} types[] = {
		[DRM_VSVM_ATTR_LOCATION] = { "location", { "default", "system", "device" } },
		[DRM_VSVM_ATTR_MIGRATION] = { "migration", { "all", "never", "system" } },
		[DRM_VSVM_ATTR_GRANULARITY] = { "granularity", { NULL } },
		[DRM_VSVM_ATTR_RESIDENCE] = { "residence", { NULL } },
		[DRM_VSVM_ATTR_ACCESS] = {
			"access", { "default", "on_demand", "none", "eager", "in_place" },
		},
		[DRM_VSVM_ATTR_READ_ONLY] = { "read_only", { "0", "1" } },
		[DRM_VSVM_ATTR_ATOMICS] = {
			"atomics", { "undefined", "device", "global", "cpu" },
		},
	};
	const char *name, *value = NULL;

	if (attr->type >= sizeof(types) / sizeof(types[0])) {
		snprintf(buf, size, "type %u=%u", attr->type, attr->value);
		return buf;
	}
	name = types[attr->type].name;
	if (attr->value < 5)
		value = types[attr->type].values[attr->value];
	if (attr->flags & DRM_VSVM_ATTR_MIXED)
		value = "mixed";
	else if ((attr->type == DRM_VSVM_ATTR_GRANULARITY &&
		  attr->value == DRM_VSVM_GRANULARITY_DEFAULT) ||
		 (attr->type == DRM_VSVM_ATTR_RESIDENCE &&
		  attr->value == DRM_VSVM_RESIDENCE_DEFAULT))
		value = "default";
	else if (attr->type == DRM_VSVM_ATTR_LOCATION &&
		 attr->value == DRM_VSVM_LOCATION_DEVICE) {
		if (attr->device == DRM_VSVM_OTHER_DEVICE)
			snprintf(buf, size, "%s=another driver's device", name);
		else
			snprintf(buf, size, "%s=device %d", name, attr->device);
		return buf;
	}

	if (value)
		snprintf(buf, size, "%s=%s", name, value);
	else
		snprintf(buf, size, "%s=%u", name, attr->value);
	return buf;
}

/*
 * NAME
 *	vsvm_prefetch - move memory, and wait until it is done
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_PREFETCH
 */
int vsvm_prefetch(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		  const struct vsvm_device *dev, uint32_t flags, uint64_t *missed)
{
	struct drm_vsvm_prefetch args = {
		.vm_id = vm->id,
		.flags = flags,
		.start = vsvm_addr(start),
		.size = size,
		.location = dev ? DRM_VSVM_LOCATION_DEVICE : DRM_VSVM_LOCATION_SYSTEM,
		.device = dev ? dev->fd : 0,
	};
	int ret;

	ret = vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_PREFETCH, &args);
	if (!ret && missed)
		*missed = args.missed;
	return ret;
}

/*
 * NAME
 *	vsvm_prefetch_fence - have memory moved, with a user fence
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_PREFETCH
 */
int vsvm_prefetch_fence(const struct vsvm_vm *vm, const volatile void *start, size_t size,
			const struct vsvm_device *dev, uint32_t flags,
			volatile uint64_t *fence, uint64_t value, uint64_t *job_id)
{
	struct drm_vsvm_prefetch args = {
		.vm_id = vm->id,
		.flags = flags,
		.start = vsvm_addr(start),
		.size = size,
		.location = dev ? DRM_VSVM_LOCATION_DEVICE : DRM_VSVM_LOCATION_SYSTEM,
		.device = dev ? dev->fd : 0,
		.fence_addr = vsvm_addr(fence),
		.fence_value = value,
	};
	int ret;

	if (!fence)
		return -EINVAL;
	ret = vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_PREFETCH, &args);
	if (!ret && job_id)
		*job_id = args.job_id;
	return ret;
}
