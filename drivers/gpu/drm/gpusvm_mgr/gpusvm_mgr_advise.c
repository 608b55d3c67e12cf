// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Advise: the calls about attributes, for a driver's ioctls, and prefetch.
 */

#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

#include <drm/drm_device.h>
#include <drm/drm_print.h>

#include "gpusvm_mgr_internal.h"

/* One that is refused has a line that says why. */
static int gpusvm_mgr_span_check(struct drm_gpusvm_instance *instance,
				 unsigned long start, unsigned long end)
{
	if (PAGE_ALIGNED(start | end) && start < end &&
	    end <= instance->mgr->mm->task_size)
		return 0;

	drm_dbg(instance->drm, "%s: start 0x%lx, size 0x%lx: not aligned, empty or not the process's\n",
		instance->name, start, end - start);
	return -EINVAL;
}

static int gpusvm_mgr_attr_refuse(struct drm_gpusvm_instance *instance,
				  const struct drm_gpusvm_attr *attr, const char *what)
{
	drm_dbg(instance->drm, "%s: attribute of type %u, value %u: %s\n", instance->name,
		attr->type, attr->value, what);
	return -EINVAL;
}

/* From the driver's form to ours, one attribute at a time. */
static int gpusvm_mgr_attr_parse(struct drm_gpusvm_instance *instance,
				 const struct drm_gpusvm_attr *attr,
				 struct gpusvm_mgr_change *change)
{
	unsigned int max = 0, field;
	u32 value = attr->value;

	switch (attr->type) {
	case DRM_GPUSVM_ATTR_LOCATION:
		field = GPUSVM_MGR_FIELD_LOCATION;
		max = DRM_GPUSVM_LOCATION_DEVICE;
		/* That of a device gets its number under the lock. */
		change->placement.location = value;
		break;
	case DRM_GPUSVM_ATTR_MIGRATION:
		field = GPUSVM_MGR_FIELD_POLICY;
		max = DRM_GPUSVM_MIGRATION_SYSTEM;
		change->placement.policy = value;
		break;
	case DRM_GPUSVM_ATTR_GRANULARITY:
		field = GPUSVM_MGR_FIELD_GRANULARITY;
		max = value == DRM_GPUSVM_GRANULARITY_DEFAULT ? value :
			BITS_PER_LONG - PAGE_SHIFT - 1;
		change->placement.granularity = value;
		break;
	case DRM_GPUSVM_ATTR_RESIDENCE:
		field = GPUSVM_MGR_FIELD_RESIDENCE;
		max = U32_MAX;
		change->placement.residence_ms = value;
		break;
	case DRM_GPUSVM_ATTR_ACCESS:
		field = GPUSVM_MGR_FIELD_MODE;
		max = DRM_GPUSVM_MODE_IN_PLACE;
		/* There is one way to say what holds anyway. */
		if (value == (instance->flags & DRM_GPUSVM_INSTANCE_EAGER ?
			      DRM_GPUSVM_MODE_EAGER : DRM_GPUSVM_MODE_ON_DEMAND))
			value = DRM_GPUSVM_MODE_DEFAULT;
		change->access.mode = value;
		break;
	case DRM_GPUSVM_ATTR_READ_ONLY:
		field = GPUSVM_MGR_FIELD_READ_ONLY;
		max = 1;
		change->access.read_only = value;
		break;
	case DRM_GPUSVM_ATTR_ATOMICS:
		field = GPUSVM_MGR_FIELD_ATOMICS;
		max = DRM_GPUSVM_ATOMICS_CPU;
		change->access.atomics = value;
		break;
	default:
		return gpusvm_mgr_attr_refuse(instance, attr, "unknown type");
	}

	if (value > max)
		return gpusvm_mgr_attr_refuse(instance, attr, "unknown value");
	if (change->fields & field)
		return gpusvm_mgr_attr_refuse(instance, attr, "given twice");
	if (!attr->dpagemap != !(attr->type == DRM_GPUSVM_ATTR_LOCATION &&
				 value == DRM_GPUSVM_LOCATION_DEVICE))
		return gpusvm_mgr_attr_refuse(instance, attr, "device memory missing, or too much");

	change->fields |= field;
	return 0;
}

/*
 * Locks a range, if it is free in time: its holder may be in a page fault of the
 * CPU that user space keeps from ending, and a change does not wait for that.
 */
static bool gpusvm_mgr_advise_lock(struct drm_gpusvm_mgr_range *range,
				   unsigned long deadline)
{
	while (!mutex_trylock(&range->fault_mutex)) {
		if (time_after(jiffies, deadline) || fatal_signal_pending(current))
			return false;
		schedule_timeout_killable(1);
	}
	return true;
}

/*
 * Does something with each range of an interval, as long as it goes well. Those
 * that others are at until the deadline are passed over.
 */
static int gpusvm_mgr_advise_ranges(struct drm_gpusvm_mgr *mgr, unsigned long start,
				    unsigned long last,
				    int (*func)(struct drm_gpusvm_instance *instance,
						struct drm_gpusvm_mgr_range *range,
						void *data),
				    struct drm_gpusvm_instance *instance, void *data,
				    unsigned long deadline)
{
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = start;
	int err = 0, idx;

	while (!err) {
		idx = srcu_read_lock(&gpusvm_mgr_srcu);
		range = gpusvm_mgr_tree_next(&mgr->tree, &index, last);
		if (range && !kref_get_unless_zero(&range->ref)) {
			srcu_read_unlock(&gpusvm_mgr_srcu, idx);
			continue;
		}
		srcu_read_unlock(&gpusvm_mgr_srcu, idx);
		if (!range)
			break;

		if (gpusvm_mgr_advise_lock(range, deadline)) {
			/* Not one that is just being inserted. */
			if (smp_load_acquire(&range->ready) &&
			    !gpusvm_mgr_range_is_dead(range))
				err = func(instance, range, data);
			mutex_unlock(&range->fault_mutex);
		} else if (fatal_signal_pending(current)) {
			err = -EINTR;
		}
		gpusvm_mgr_range_put(range);
		cond_resched();
	}
	return err;
}

/**
 * struct gpusvm_mgr_relocate - What has a new preferred location
 * @dpagemap: Where it is to be, NULL: in system memory.
 * @start: First address.
 * @last: Last address, inclusive.
 * @cut: Parts of it whose range reached beyond it, end exclusive: at the start and
 *	at the end there may be one.
 * @nr_cuts: Number of these.
 * @split_start: Start of a range with pages that cannot be had, which was given up.
 * @split_end: End of it, exclusive.
 * @killed: Some range was given up.
 */
struct gpusvm_mgr_relocate {
	struct drm_pagemap *dpagemap;
	unsigned long start;
	unsigned long last;
	struct {
		unsigned long start;
		unsigned long end;
	} cut[2];
	unsigned int nr_cuts;
	unsigned long split_start;
	unsigned long split_end;
	bool killed;
};

static int gpusvm_mgr_advise_move(struct drm_gpusvm_instance *instance,
				  struct drm_gpusvm_mgr_range *range, void *data)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(GPUSVM_MGR_FAULT_MS);
	struct gpusvm_mgr_relocate *relocate = data;
	int err = 0;

	if (range->start < relocate->start || range->end - 1 > relocate->last) {
		/* For the rest of it something else was said: smaller ones. */
		if (relocate->nr_cuts < ARRAY_SIZE(relocate->cut)) {
			unsigned int i = relocate->nr_cuts++;

			relocate->cut[i].start = max(range->start, relocate->start);
			relocate->cut[i].end = min(range->end - 1, relocate->last) + 1;
		}
		gpusvm_mgr_range_kill(range);
		relocate->killed = true;
	} else {
		/* As far as it is possible. */
		err = gpusvm_mgr_migrate_to(instance, range, relocate->dpagemap, &deadline);
		/* A walk ends at a page that nobody may touch: smaller ones, if there are. */
		if (err == -EFAULT &&
		    gpusvm_mgr_chunk_smaller(range->mgr->chunks, range->end - range->start)) {
			relocate->split_start = range->start;
			relocate->split_end = range->end;
			gpusvm_mgr_range_kill(range);
			relocate->killed = true;
		} else {
			err = 0;
		}
	}
	return fatal_signal_pending(current) ? -EINTR : err;
}

/*
 * Moves a span, range by range; ends with an error of gpusvm_mgr_fault_prefetch().
 * Ranges that others are at are waited for, or after the deadline passed over.
 */
static int gpusvm_mgr_advise_prefetch(struct drm_gpusvm_instance *instance,
				      const struct gpusvm_mgr_trip *trip, u64 *missed)
{
	unsigned long addr = trip->start, end = trip->end;
	int err;

	while (addr < end && !READ_ONCE(trip->stop)) {
		/* No new range that reaches beyond what was asked for. */
		unsigned long aligned = addr ? addr & -addr : ULONG_MAX;
		struct drm_gpusvm_fault fault = {
			.access = DRM_GPUSVM_ACCESS_READ,
			.addr = addr,
			.va = addr,
			.limit = min3(rounddown_pow_of_two(end - addr), aligned,
				      trip->limit),
		};
		unsigned long next = end, arrived = 0;

		err = gpusvm_mgr_fault_prefetch(instance, &fault, trip, &next, &arrived);
		if (trip->ahead && (err || !arrived))
			return err;
		if (err == -EBUSY && !trip->wait && time_before(jiffies, trip->deadline)) {
			schedule_timeout_killable(1);
			next = addr;
			arrived = 0;
			err = 0;
		} else if (err == -EFAULT || err == -EPERM || err == -EIO ||
			   (err == -EBUSY && !trip->wait)) {
			/* That page cannot be had at all, and so not moved, either. */
			next = addr + PAGE_SIZE;
			arrived = min(arrived, PAGE_SIZE);
			err = 0;
		}
		if (err)
			return err;
		*missed -= arrived;
		addr = next;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* To the preferred location of an interval, what devices have used of it. */
static void gpusvm_mgr_advise_relocate(struct drm_gpusvm_instance *instance,
				       const struct gpusvm_mgr_piece *piece,
				       struct drm_pagemap *dpagemap,
				       unsigned long deadline)
{
	struct gpusvm_mgr_relocate relocate = {
		.dpagemap = dpagemap,
		.start = piece->start,
		.last = piece->last,
	};
	struct gpusvm_mgr_trip trip = {
		.dpagemap = dpagemap,
		.deadline = deadline,
	};
	unsigned long start = piece->start;
	unsigned int i;
	u64 missed = 0;

	while (gpusvm_mgr_advise_ranges(instance->mgr, start, piece->last,
					gpusvm_mgr_advise_move, instance, &relocate,
					deadline) == -EFAULT) {
		int err;

		trip.start = relocate.split_start;
		trip.end = relocate.split_end;
		trip.limit = gpusvm_mgr_chunk_smaller(instance->mgr->chunks,
						      trip.end - trip.start);
		err = gpusvm_mgr_advise_prefetch(instance, &trip, &missed);
		start = relocate.split_end;
		if (err == -EINTR || err == -ENODEV || start - 1 >= piece->last)
			break;
	}
	trip.limit = ULONG_MAX;
	for (i = 0; i < relocate.nr_cuts; i++) {
		trip.start = relocate.cut[i].start;
		trip.end = relocate.cut[i].end;
		if (gpusvm_mgr_advise_prefetch(instance, &trip, &missed))
			break;
	}
	/* Those that were in the way; nobody else need come along for long. */
	if (relocate.killed)
		gpusvm_mgr_gc_run(instance->mgr);
}

static int gpusvm_mgr_advise_map(struct drm_gpusvm_instance *instance,
				 struct drm_gpusvm_mgr_range *range, void *data)
{
	gpusvm_mgr_fault_eager(instance, range);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/*
 * What a change brings about beyond what it forbids: data that devices have used
 * goes where it should be now, and what has become eager is mapped. Whatever does
 * not work out here, or not soon, is made up for by the next fault.
 */
static void gpusvm_mgr_advise_follow(struct drm_gpusvm_instance *instance,
				     const struct gpusvm_mgr_pieces *pieces)
{
	unsigned long deadline = jiffies + msecs_to_jiffies(GPUSVM_MGR_ADVISE_MS);
	struct drm_gpusvm_mgr *mgr = instance->mgr;
	struct gpusvm_mgr_hint hint;
	unsigned int i;

	for (i = 0; i < pieces->count; i++) {
		const struct gpusvm_mgr_piece *piece = &pieces->piece[i];
		struct drm_pagemap *dpagemap = NULL;
		unsigned int location;

		location = piece->new ? piece->new->attr.placement.location :
			   GPUSVM_MGR_LOCATION_DEFAULT;
		if (piece->fields & GPUSVM_MGR_FIELD_LOCATION &&
		    location != GPUSVM_MGR_LOCATION_DEFAULT) {
			dpagemap = gpusvm_mgr_location_get(mgr, location);
			if (dpagemap || location == GPUSVM_MGR_LOCATION_SYSTEM)
				gpusvm_mgr_advise_relocate(instance, piece, dpagemap,
							   deadline);
			drm_pagemap_put(dpagemap);
		}
		if (!(piece->fields & GPUSVM_MGR_FIELDS_ACCESS))
			continue;
		gpusvm_mgr_hints_look(instance, piece->start, &hint);
		if (hint.access.mode == DRM_GPUSVM_MODE_EAGER)
			gpusvm_mgr_advise_ranges(mgr, piece->start, piece->last,
						 gpusvm_mgr_advise_map, instance, NULL,
						 deadline);
	}
}

/* Changes what was parsed. */
static int gpusvm_mgr_advise(struct drm_gpusvm_instance *instance, unsigned long start,
			     unsigned long end, struct gpusvm_mgr_change *change,
			     struct drm_pagemap *dpagemap, bool holes)
{
	struct gpusvm_mgr_hints *hints = &instance->mgr->hints;
	struct mm_struct *mm = instance->mgr->mm;
	struct gpusvm_mgr_pieces pieces;
	int err;

	if (!gpusvm_mgr_instance_enter(instance))
		return -ENODEV;
	if (!mmget_not_zero(mm)) {
		err = -EFAULT;
		goto exit;
	}

	change->slot = instance->slot;
	err = mutex_lock_killable(&hints->lock);
	if (err)
		goto put_mm;
	if (dpagemap) {
		err = gpusvm_mgr_location_number(instance->mgr, dpagemap);
		if (err > 0)
			change->placement.location = err;
	}
	if (err >= 0)
		err = gpusvm_mgr_hints_change(instance, start, end - 1, change, holes,
					      &pieces);
	mutex_unlock(&hints->lock);
	if (err) {
		drm_dbg(instance->drm, "%s: start 0x%lx, size 0x%lx: attributes not changed, %d\n",
			instance->name, start, end - start, err);
		goto put_mm;
	}

	gpusvm_mgr_advise_follow(instance, &pieces);

	mutex_lock(&hints->lock);
	gpusvm_mgr_pieces_free(&hints->attrs, &pieces);
	mutex_unlock(&hints->lock);

put_mm:
	mmput_async(mm);
exit:
	gpusvm_mgr_instance_exit(instance);
	return err;
}

/**
 * drm_gpusvm_instance_set_attrs() - Say something about memory
 * @instance: The instance, see drm_gpusvm_mgr_fault_batch(). What is said about
 *	access holds for it, what is said about placement for the process.
 * @start: First address of the process, aligned to PAGE_SIZE.
 * @end: End address, exclusive, likewise.
 * @attrs: What is said; each type once at most.
 * @count: Number of @attrs.
 *
 * When the call returns, the device cannot do any more what is forbidden now. Data
 * that devices have used, and that has a new preferred location, was moved there
 * as far as possible, and as nobody else is at it. Where nothing differs from
 * before, nothing happens to what is mapped. May sleep, as
 * drm_gpusvm_mgr_fault_batch().
 *
 * Return: 0; -EINVAL: the span is not aligned, empty, or not of user space, a type
 * or a value is unknown, a type is there twice, device memory is missing or not
 * asked for; -EFAULT: a part of the span is not mapped, or the process is gone;
 * -ENOSPC: attributes of the process name 64 device memories already, or 65,536
 * intervals; -ENODEV: the
 * instance is being detached; -ENOMEM; -EINTR: a fatal signal. Nothing was changed
 * then.
 */
int drm_gpusvm_instance_set_attrs(struct drm_gpusvm_instance *instance,
				  unsigned long start, unsigned long end,
				  const struct drm_gpusvm_attr *attrs,
				  unsigned int count)
{
	struct gpusvm_mgr_change change = {};
	struct drm_pagemap *dpagemap = NULL;
	unsigned int i;
	int err;

	might_sleep();

	err = gpusvm_mgr_span_check(instance, start, end);
	for (i = 0; !err && i < count; i++) {
		err = gpusvm_mgr_attr_parse(instance, &attrs[i], &change);
		if (attrs[i].dpagemap)
			dpagemap = attrs[i].dpagemap;
	}
	if (err)
		return err;
	return gpusvm_mgr_advise(instance, start, end, &change, dpagemap, false);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_set_attrs);

/**
 * drm_gpusvm_instance_reset_attrs() - Take back what was said
 * @instance: The instance. What was said about its access is taken back, that of
 *	others is not; what was said about placement is, by whomever.
 * @start: First address of the process, aligned to PAGE_SIZE.
 * @end: End address, exclusive, likewise.
 *
 * Return: as drm_gpusvm_instance_set_attrs(), but that all of the span may be
 * unmapped.
 */
int drm_gpusvm_instance_reset_attrs(struct drm_gpusvm_instance *instance,
				    unsigned long start, unsigned long end)
{
	struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELDS_PLACEMENT | GPUSVM_MGR_FIELDS_ACCESS,
		.placement = gpusvm_mgr_attr_default.placement,
		.takes_back = true,
	};
	int err;

	might_sleep();

	err = gpusvm_mgr_span_check(instance, start, end);
	if (err)
		return err;
	return gpusvm_mgr_advise(instance, start, end, &change, NULL, true);
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_reset_attrs);

/* All attributes at an address, as an instance sees them. */
static void gpusvm_mgr_attrs_show(struct drm_gpusvm_instance *instance,
				  const struct gpusvm_mgr_hint *hint,
				  struct drm_gpusvm_attr *attrs)
{
	const u32 values[] = {
		[DRM_GPUSVM_ATTR_LOCATION] = hint->placement.location,
		[DRM_GPUSVM_ATTR_MIGRATION] = hint->placement.policy,
		[DRM_GPUSVM_ATTR_GRANULARITY] = hint->placement.granularity,
		[DRM_GPUSVM_ATTR_RESIDENCE] = hint->placement.residence_ms,
		[DRM_GPUSVM_ATTR_ACCESS] = hint->access.mode,
		[DRM_GPUSVM_ATTR_READ_ONLY] = hint->access.read_only,
		[DRM_GPUSVM_ATTR_ATOMICS] = hint->access.atomics,
	};
	unsigned int i;

	BUILD_BUG_ON(ARRAY_SIZE(values) != DRM_GPUSVM_ATTR_TYPES);
	for (i = 0; i < DRM_GPUSVM_ATTR_TYPES; i++)
		attrs[i] = (struct drm_gpusvm_attr){ .type = i, .value = values[i] };
}

/* Numbers of device memories are ours alone. The hints' lock is held. */
static void gpusvm_mgr_attrs_resolve(struct drm_gpusvm_mgr *mgr,
				     struct drm_gpusvm_attr *attrs)
{
	struct drm_gpusvm_attr *location = &attrs[DRM_GPUSVM_ATTR_LOCATION];

	if (location->mixed || location->value < GPUSVM_MGR_LOCATION_DEVICE)
		return;
	location->dpagemap = gpusvm_mgr_location_get(mgr, location->value);
	location->value = DRM_GPUSVM_LOCATION_DEVICE;
}

static bool gpusvm_mgr_attrs_same(const struct drm_gpusvm_attr *one,
				  const struct drm_gpusvm_attr *two)
{
	unsigned int i;

	for (i = 0; i < DRM_GPUSVM_ATTR_TYPES; i++)
		if (one[i].value != two[i].value)
			return false;
	return true;
}

/**
 * drm_gpusvm_instance_get_attrs() - What was said about memory?
 * @instance: The instance.
 * @start: First address of the process, aligned to PAGE_SIZE.
 * @end: End address, exclusive, likewise.
 * @attrs: Out: %DRM_GPUSVM_ATTR_TYPES of them, one of each type, in order; to be
 *	released with drm_gpusvm_attrs_put(). Undefined on failure.
 *
 * Where nothing was said, or there is no memory, the defaults hold.
 *
 * Return: 0; -EINVAL: as drm_gpusvm_instance_set_attrs(); -ENOMEM; -EINTR.
 */
int drm_gpusvm_instance_get_attrs(struct drm_gpusvm_instance *instance,
				  unsigned long start, unsigned long end,
				  struct drm_gpusvm_attr *attrs)
{
	struct drm_gpusvm_mgr *mgr = instance->mgr;
	struct drm_gpusvm_attr here[DRM_GPUSVM_ATTR_TYPES];
	struct gpusvm_mgr_hint hint;
	unsigned long addr = start;
	unsigned int i;
	int err;

	might_sleep();

	err = gpusvm_mgr_span_check(instance, start, end);
	if (!err)
		err = gpusvm_mgr_hints_settle(mgr);
	if (!err)
		err = mutex_lock_killable(&mgr->hints.lock);
	if (err)
		return err;

	gpusvm_mgr_hints_look(instance, start, &hint);
	gpusvm_mgr_attrs_show(instance, &hint, attrs);
	while (hint.last < end - 1) {
		addr = hint.last + 1;
		gpusvm_mgr_hints_look(instance, addr, &hint);
		gpusvm_mgr_attrs_show(instance, &hint, here);
		for (i = 0; i < DRM_GPUSVM_ATTR_TYPES; i++)
			attrs[i].mixed |= attrs[i].value != here[i].value;
	}
	gpusvm_mgr_attrs_resolve(mgr, attrs);
	mutex_unlock(&mgr->hints.lock);
	return 0;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_get_attrs);

/**
 * drm_gpusvm_instance_next_attrs() - Step through what was said
 * @instance: The instance.
 * @start: In: where to look from, aligned to PAGE_SIZE; out: first address of the
 *	next interval about which anything was said.
 * @end: Out: its end address, exclusive.
 * @attrs: Out: as drm_gpusvm_instance_get_attrs(), none of them mixed.
 *
 * Intervals that are the same to this instance are one.
 *
 * Return: 0; -ENOENT: nothing was said from there on; -EINVAL: @start is not
 * aligned; -ENOMEM; -EINTR.
 */
int drm_gpusvm_instance_next_attrs(struct drm_gpusvm_instance *instance,
				   unsigned long *start, unsigned long *end,
				   struct drm_gpusvm_attr *attrs)
{
	struct drm_gpusvm_mgr *mgr = instance->mgr;
	struct drm_gpusvm_attr here[DRM_GPUSVM_ATTR_TYPES];
	struct drm_gpusvm_attr none[DRM_GPUSVM_ATTR_TYPES];
	unsigned long size = mgr->mm->task_size, addr = *start;
	struct gpusvm_mgr_hint hint = {
		.placement = gpusvm_mgr_attr_default.placement,
		.access.mode = instance->flags & DRM_GPUSVM_INSTANCE_EAGER ?
			DRM_GPUSVM_MODE_EAGER : DRM_GPUSVM_MODE_ON_DEMAND,
	};
	int err;

	might_sleep();

	if (!PAGE_ALIGNED(addr)) {
		drm_dbg(instance->drm, "%s: start 0x%lx: not aligned\n", instance->name, addr);
		return -EINVAL;
	}
	gpusvm_mgr_attrs_show(instance, &hint, none);

	err = gpusvm_mgr_hints_settle(mgr);
	if (!err)
		err = mutex_lock_killable(&mgr->hints.lock);
	if (err)
		return err;

	err = -ENOENT;
	while (addr < size) {
		gpusvm_mgr_hints_look(instance, addr, &hint);
		gpusvm_mgr_attrs_show(instance, &hint, here);
		if (!err && !gpusvm_mgr_attrs_same(here, attrs))
			break;
		if (err && !gpusvm_mgr_attrs_same(here, none)) {
			memcpy(attrs, here, sizeof(here));
			*start = addr;
			err = 0;
		}
		addr = hint.last + 1;
		if (!err)
			*end = min(addr, size);
	}
	if (!err)
		gpusvm_mgr_attrs_resolve(mgr, attrs);
	mutex_unlock(&mgr->hints.lock);
	return err;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_next_attrs);

/**
 * drm_gpusvm_attrs_put() - Release what was got
 * @attrs: %DRM_GPUSVM_ATTR_TYPES of them.
 */
void drm_gpusvm_attrs_put(struct drm_gpusvm_attr *attrs)
{
	unsigned int i;

	for (i = 0; i < DRM_GPUSVM_ATTR_TYPES; i++) {
		drm_pagemap_put(attrs[i].dpagemap);
		attrs[i].dpagemap = NULL;
	}
}
EXPORT_SYMBOL_GPL(drm_gpusvm_attrs_put);

static bool gpusvm_mgr_prefetch_mapped(struct mm_struct *mm, unsigned long start,
				       unsigned long end)
{
	bool mapped;

	mmap_read_lock(mm);
	mapped = gpusvm_mgr_span_mapped(mm, start, end - 1);
	mmap_read_unlock(mm);
	return mapped;
}

/**
 * struct gpusvm_mgr_ahead - The second half of a trip, by another thread
 * @work: The thread's.
 * @instance: The instance; the caller has entered it, and holds its mm.
 * @trip: The second half.
 */
struct gpusvm_mgr_ahead {
	struct work_struct work;
	struct drm_gpusvm_instance *instance;
	struct gpusvm_mgr_trip trip;
};

static void gpusvm_mgr_ahead_work(struct work_struct *work)
{
	struct gpusvm_mgr_ahead *ahead = container_of(work, struct gpusvm_mgr_ahead, work);
	u64 missed = ahead->trip.end - ahead->trip.start;

	gpusvm_mgr_advise_prefetch(ahead->instance, &ahead->trip, &missed);
}

/*
 * As gpusvm_mgr_advise_prefetch(), with a copy engine that always has something to do:
 * while it copies a range of the first half, one of the second half is taken from the
 * CPU, and the other way round. The caller looks at all of it all the same, so nothing
 * depends on whether, or how far, the other thread came. It is waited for, for no longer
 * than its range takes.
 */
static int gpusvm_mgr_advise_prefetch_halves(struct drm_gpusvm_instance *instance,
					     const struct gpusvm_mgr_trip *trip, u64 *missed)
{
	const unsigned long largest = instance->mgr->chunks->sizes[0];
	const unsigned long half = (trip->end - trip->start) / 2;
	struct gpusvm_mgr_ahead ahead = { .instance = instance, .trip = *trip };
	int err;

	if (!trip->dpagemap || half / 2 < largest)
		return gpusvm_mgr_advise_prefetch(instance, trip, missed);

	ahead.trip.start = ALIGN(trip->start + half, largest);
	ahead.trip.map = false;
	ahead.trip.wait = false;
	ahead.trip.ahead = true;
	INIT_WORK_ONSTACK(&ahead.work, gpusvm_mgr_ahead_work);
	queue_work(system_dfl_wq, &ahead.work);

	err = gpusvm_mgr_advise_prefetch(instance, trip, missed);

	WRITE_ONCE(ahead.trip.stop, true);
	cancel_work_sync(&ahead.work);
	destroy_work_on_stack(&ahead.work);
	return err;
}

/**
 * drm_gpusvm_instance_prefetch() - Move data to where it will be used
 * @instance: The instance, see drm_gpusvm_mgr_fault_batch().
 * @start: First address of the process, aligned to PAGE_SIZE.
 * @end: End address, exclusive, likewise.
 * @dpagemap: Where to; NULL: to system memory. Any device's, also one that the
 *	instance cannot reach.
 * @flags: DRM_GPUSVM_PREFETCH_*
 * @missed: Out: bytes that are not there now, because they cannot be moved (files,
 *	pages that somebody pins), or the memory is full. Also set on failure.
 *
 * Once: nothing keeps the data there. Attributes about placement are not asked,
 * nor the arbiter; but the move counts. What is mapped is what the instance may
 * read. Of what is larger than a few ranges, two are moved at the same time. May
 * sleep, as drm_gpusvm_mgr_fault_batch(); not on a workqueue that memory reclaim
 * relies on.
 *
 * Return: 0; -EINVAL: as drm_gpusvm_instance_set_attrs(), or an unknown flag;
 * -EFAULT: a part of the span is not mapped, or the process is gone; -EBUSY: a part
 * was invalidated again and again; -ENODEV: the instance was killed; -ENOMEM;
 * -EINTR: a fatal signal. Except for the first two, a part may have been moved.
 */
int drm_gpusvm_instance_prefetch(struct drm_gpusvm_instance *instance,
				 unsigned long start, unsigned long end,
				 struct drm_pagemap *dpagemap, unsigned int flags,
				 u64 *missed)
{
	const struct gpusvm_mgr_trip trip = {
		.start = start,
		.end = end,
		.limit = ULONG_MAX,
		.dpagemap = dpagemap,
		.map = flags & DRM_GPUSVM_PREFETCH_MAP,
		.wait = true,
	};
	struct mm_struct *mm = instance->mgr->mm;
	int err;

	might_sleep();

	*missed = end > start ? end - start : 0;
	err = gpusvm_mgr_span_check(instance, start, end);
	if (err)
		return err;
	if (flags & ~DRM_GPUSVM_PREFETCH_MAP) {
		drm_dbg(instance->drm, "%s: prefetch flags 0x%x\n", instance->name, flags);
		return -EINVAL;
	}
	if (!gpusvm_mgr_instance_enter(instance))
		return -ENODEV;
	if (!mmget_not_zero(mm)) {
		err = -EFAULT;
		goto exit;
	}
	if (!gpusvm_mgr_prefetch_mapped(mm, start, end)) {
		drm_dbg(instance->drm, "%s: prefetch [0x%lx-0x%lx): not mapped\n",
			instance->name, start, end);
		err = -EFAULT;
		goto put_mm;
	}

	err = gpusvm_mgr_advise_prefetch_halves(instance, &trip, missed);

put_mm:
	mmput_async(mm);
exit:
	gpusvm_mgr_instance_exit(instance);
	return err;
}
EXPORT_SYMBOL_GPL(drm_gpusvm_instance_prefetch);
