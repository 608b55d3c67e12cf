/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the programs about attributes share: all that was said, as a list, so that
 * two states can be compared.
 */
#ifndef _GPUSVM_ATTRS_H_
#define _GPUSVM_ATTRS_H_

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpusvm_util.h"

#define ATTR_TYPES	7
#define ATTR_MAX	512

/* What holds where nothing was said, on a VM that is not eager. */
static const uint32_t attr_default[ATTR_TYPES] = {
	[DRM_VSVM_ATTR_LOCATION] = DRM_VSVM_LOCATION_DEFAULT,
	[DRM_VSVM_ATTR_MIGRATION] = DRM_VSVM_MIGRATION_ALL,
	[DRM_VSVM_ATTR_GRANULARITY] = DRM_VSVM_GRANULARITY_DEFAULT,
	[DRM_VSVM_ATTR_RESIDENCE] = DRM_VSVM_RESIDENCE_DEFAULT,
	[DRM_VSVM_ATTR_ACCESS] = DRM_VSVM_MODE_ON_DEMAND,
	[DRM_VSVM_ATTR_READ_ONLY] = 0,
	[DRM_VSVM_ATTR_ATOMICS] = DRM_VSVM_ATOMICS_UNDEFINED,
};

/* manual: save */
struct saved {
	uint64_t start, size;
	struct drm_vsvm_attr attrs[ATTR_TYPES];
};

/* All that was said of the memory of this process, as one VM sees it. */
static inline int attrs_save(const struct vsvm_vm *vm, struct saved *saved, unsigned int max)
{
	uint64_t start = 0, size;
	unsigned int num;
	int ret;

	for (num = 0; num < max; num++) {
		for (unsigned int i = 0; i < ATTR_TYPES; i++)
			saved[num].attrs[i] = (struct drm_vsvm_attr){ .type = i };
		ret = vsvm_attr_next(vm, &start, &size, saved[num].attrs, ATTR_TYPES);
		if (ret == -ENODATA)
			return num;
		if (ret)
			return ret;
		saved[num].start = start;
		saved[num].size = size;
		start += size;
	}
	return -E2BIG;
}

/* And back. A device has an index in the answer, and is named by a file here. */
static inline int attrs_restore(const struct vsvm_vm *vm, const struct saved *saved,
				unsigned int num, const struct gpus *gpus)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < num; i++) {
		struct drm_vsvm_attr attrs[ATTR_TYPES];

		memcpy(attrs, saved[i].attrs, sizeof(attrs));
		if (attrs[DRM_VSVM_ATTR_LOCATION].value == DRM_VSVM_LOCATION_DEVICE) {
			int index = attrs[DRM_VSVM_ATTR_LOCATION].device;

			for (unsigned int g = 0; g < gpus->n; g++)
				if ((int)gpus->gpu[g].dev.info.index == index)
					attrs[DRM_VSVM_ATTR_LOCATION].device =
						gpus->gpu[g].dev.fd;
		}
		ret = vsvm_attr_set(vm, (void *)(uintptr_t)saved[i].start, saved[i].size,
				    attrs, ATTR_TYPES);
	}
	return ret;
}

/* manual: end */

/**
 * struct attr_state - All that a refused call must leave as it was
 * @num: intervals in @saved
 * @saved: the attributes, as one VM sees them
 * @stats: counters of the VM
 */
struct attr_state {
	int num;
	struct saved saved[ATTR_MAX];
	struct drm_vsvm_stats_data stats;
};

static inline int attr_state_get(const struct vsvm_vm *vm, struct attr_state *state)
{
	memset(state, 0, sizeof(*state));
	state->num = attrs_save(vm, state->saved, ATTR_MAX);
	if (state->num < 0)
		return state->num;
	return vsvm_stats(vm, &state->stats);
}

/* Says what differs. */
static inline bool attr_state_same(const struct attr_state *one, const struct attr_state *two)
{
	if (one->num != two->num) {
		fprintf(stderr, "# %d intervals instead of %d\n", two->num, one->num);
		return false;
	}
	for (int i = 0; i < one->num; i++) {
		if (!memcmp(&one->saved[i], &two->saved[i], sizeof(one->saved[i])))
			continue;
		fprintf(stderr, "# interval %d: 0x%llx + 0x%llx, was 0x%llx + 0x%llx, or values\n",
			i, (unsigned long long)two->saved[i].start,
			(unsigned long long)two->saved[i].size,
			(unsigned long long)one->saved[i].start,
			(unsigned long long)one->saved[i].size);
		return false;
	}
	if (one->stats.tlb_flushes != two->stats.tlb_flushes ||
	    one->stats.dma_maps != two->stats.dma_maps ||
	    one->stats.dma_unmaps != two->stats.dma_unmaps ||
	    one->stats.faults != two->stats.faults ||
	    one->stats.jobs != two->stats.jobs ||
	    one->stats.mgr_prefetches != two->stats.mgr_prefetches ||
	    one->stats.mgr_attr_conflicts != two->stats.mgr_attr_conflicts ||
	    one->stats.copies != two->stats.copies) {
		fprintf(stderr, "# something was flushed, mapped, moved or run\n");
		return false;
	}
	return true;
}

/* One attribute of a span: the value, or -1 where it is mixed, or an errno. */
static inline int64_t attr_of(const struct vsvm_vm *vm, const volatile void *start,
			      size_t size, uint32_t type)
{
	uint32_t value;
	int ret;

	ret = vsvm_attr_get_one(vm, start, size, type, &value);
	if (ret > 0)
		return -1;
	return ret ? 1000LL * ret : value;
}

/* The one device that a span is to be on, or -1. */
static inline int attr_device(const struct vsvm_vm *vm, const volatile void *start,
			      size_t size)
{
	struct drm_vsvm_attr attr = { .type = DRM_VSVM_ATTR_LOCATION };

	if (vsvm_attr_get(vm, start, size, &attr, 1) || attr.flags ||
	    attr.value != DRM_VSVM_LOCATION_DEVICE)
		return -1;
	return attr.device;
}

#endif /* _GPUSVM_ATTRS_H_ */
