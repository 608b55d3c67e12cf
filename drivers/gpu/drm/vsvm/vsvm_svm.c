// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The back end that shares a process's address space with a VM by way of the
 * SVM manager: what a driver does for the library, and what it asks of it.
 */

#include <linux/slab.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

/**
 * struct vsvm_mapping - A range as one VM sees it
 * @base: What the library knows.
 * @police: Its identity for the policeman.
 * @vm: Whose.
 * @start: Lowest address at which it has been mapped since it was unmapped last.
 * @end: End of the highest.
 */
struct vsvm_mapping {
	struct drm_gpusvm_mapping base;
	struct vsvm_police_slot *police;
	struct vsvm_vm *vm;
	u64 start;
	u64 end;
};

static struct vsvm_mapping *to_vsvm_mapping(struct drm_gpusvm_mapping *mapping)
{
	return container_of(mapping, struct vsvm_mapping, base);
}

static struct drm_gpusvm_mapping *
vsvm_svm_mapping_alloc(struct drm_gpusvm_instance *instance)
{
	struct vsvm_vm *vm = to_vm(instance);
	struct vsvm_mapping *mapping;

	mapping = kzalloc_obj(*mapping);
	if (!mapping)
		return NULL;

	mapping->vm = vm;
	mapping->police = vsvm_police_slot_get(&vm->police);
	if (!mapping->police) {
		kfree(mapping);
		return NULL;
	}
	return &mapping->base;
}

static void vsvm_svm_mapping_free(struct drm_gpusvm_mapping *base)
{
	struct vsvm_mapping *mapping = to_vsvm_mapping(base);

	vsvm_police_slot_put(&mapping->vm->police, mapping->police);
	kfree(mapping);
}

/**
 * vsvm_svm_map_failed() - Not all PTEs of a range could be written
 * @vm: The VM.
 * @police: The range's identity for the policeman.
 * @where: The address at which it failed.
 * @start: First address whose PTE may have been there.
 * @end: The end address, exclusive.
 * @err: What vsvm_pt_map() returned. The PTEs that were written are cleared.
 *
 * Only a mistake of the library leads here. An engine may have seen the first
 * PTEs, and nobody will ask for a flush: so the model does what hardware could
 * not, and drops them at once.
 */
void vsvm_svm_map_failed(struct vsvm_vm *vm, struct vsvm_police_slot *police, u64 where,
			 u64 start, u64 end, int err)
{
	if (err == -EEXIST)
		vsvm_police_report(vm, VSVM_VIOLATION_MAP, where, police->live, false);
	write_lock(&vm->gate);
	vsvm_tlb_flush(&vm->dev->tlb, vm->asid, start, end);
	write_unlock(&vm->gate);
	vsvm_police_retire(vm, police, start, end);
}

/* manual: callbacks */
static int vsvm_svm_prepare(struct drm_gpusvm_instance *instance,
			    unsigned long start, unsigned long end)
{
	return vsvm_pt_prepare(&to_vm(instance)->pt, start, end);
}

static void vsvm_svm_zap(struct drm_gpusvm_mapping *base)
{
	struct vsvm_mapping *mapping = to_vsvm_mapping(base);
	struct drm_gpusvm_view view;
	unsigned int count = 0;

	drm_gpusvm_mapping_for_each_view(base, &view)
		count += vsvm_pt_zap(&mapping->vm->pt, view.start, view.end);
	trace_vsvm_pte_zap(mapping->vm, base->start, base->end, count,
			   mapping->police->live);
}

static unsigned int vsvm_svm_perms(const struct drm_gpusvm_run *run)
{
	return (run->write ? VSVM_PT_WRITE : 0) | (run->atomic ? VSVM_PT_ATOMIC : 0);
}

static int vsvm_svm_map(struct drm_gpusvm_mapping *base)
{
	struct vsvm_mapping *mapping = to_vsvm_mapping(base);
	struct vsvm_vm *vm = mapping->vm;
	struct drm_gpusvm_run run;
	unsigned int count = 0;
	u64 cookie;
	int ret = 0;

	lockdep_assert_held(&base->instance->svm.notifier_lock);

	/* The last DMA mapping of this range was never said to be gone. */
	if (mapping->police->live)
		vsvm_police_report(vm, VSVM_VIOLATION_MAP, base->start,
				   mapping->police->live, false);

	cookie = vsvm_police_begin(mapping->police);
	mapping->start = U64_MAX;
	mapping->end = 0;
	drm_gpusvm_mapping_for_each_run(base, &run) {
		/* System memory, or memory on a device, by way of a link. */
		if (run.proto != DRM_INTERCONNECT_SYSTEM &&
		    run.proto != DRM_INTERCONNECT_DRIVER)
			ret = -EIO;
		else
			ret = vsvm_pt_map(&vm->pt, run.start, run.size, run.addr,
					  vsvm_svm_perms(&run), cookie);
		mapping->start = min(mapping->start, run.start);
		mapping->end = max(mapping->end, run.start + run.size);
		if (ret)
			break;
		count++;
	}

	if (ret) {
		vsvm_svm_zap(base);
		vsvm_svm_map_failed(vm, mapping->police, run.start, mapping->start,
				    mapping->end, ret);
		return ret;
	}

	trace_vsvm_pte_map(vm, base->start, base->end, count, cookie);
	return 0;
}

static void vsvm_svm_flush(struct drm_gpusvm_instance *instance, unsigned long start,
			   unsigned long end, u64 generation)
{
	lockdep_assert_held_write(&instance->svm.notifier_lock);

	vsvm_flush_queue(to_vm(instance), start, end, generation);
}

static void vsvm_svm_unmapped(struct drm_gpusvm_mapping *base)
{
	struct vsvm_mapping *mapping = to_vsvm_mapping(base);

	lockdep_assert_held_write(&base->instance->svm.notifier_lock);

	vsvm_police_retire(mapping->vm, mapping->police, mapping->start, mapping->end);
}

const struct drm_gpusvm_instance_ops vsvm_svm_instance_ops = {
	.mapping_alloc = vsvm_svm_mapping_alloc,
	.mapping_free = vsvm_svm_mapping_free,
	.prepare = vsvm_svm_prepare,
	.map = vsvm_svm_map,
	.zap = vsvm_svm_zap,
	.flush = vsvm_svm_flush,
	.unmapped = vsvm_svm_unmapped,
	/* Of VMs without mirrors only, see vsvm_mirror.c. */
	.quiesce = vsvm_userptr_quiesce,
};

/* manual: end */

/* manual: attach */
static int vsvm_svm_attach(struct vsvm_vm *vm)
{
	struct drm_gpusvm_instance_params params = {
		.drm = &vm->dev->drm,
		.ops = &vsvm_svm_instance_ops,
		.name = "vsvm",
	};
	struct drm_pagemap *dpagemap = NULL;
	int ret;

	if (vm->flags & DRM_VSVM_VM_EAGER)
		params.flags |= DRM_GPUSVM_INSTANCE_EAGER;

	/* What is in the memory of this hive can be used where it is. */
	ret = vsvm_owner_acquire(vm->dev, &vm->peer);
	if (ret)
		return ret;
	params.owner = vm->peer.owner;

	if (vm->flags & DRM_VSVM_VM_MIGRATE) {
		dpagemap = vsvm_pagemap_get(vm->dev);
		if (IS_ERR(dpagemap)) {
			ret = PTR_ERR(dpagemap);
			goto err_owner;
		}
		params.dpagemap = dpagemap;
	}

	ret = drm_gpusvm_instance_attach(&vm->instance, &params);
	drm_pagemap_put(dpagemap);
	if (ret)
		goto err_owner;
	return 0;

err_owner:
	drm_pagemap_release_owner(&vm->peer);
	return ret;
}

static void vsvm_svm_kill(struct vsvm_vm *vm)
{
	drm_gpusvm_instance_kill(&vm->instance);
}

static void vsvm_svm_detach(struct vsvm_vm *vm)
{
	drm_gpusvm_instance_detach(&vm->instance);
	drm_pagemap_release_owner(&vm->peer);
}

/* manual: end */

static int vsvm_svm_check_current(struct vsvm_vm *vm)
{
	return drm_gpusvm_instance_check_current(&vm->instance);
}

static bool vsvm_svm_exiting(struct vsvm_vm *vm)
{
	return drm_gpusvm_instance_exiting(&vm->instance);
}

static int vsvm_svm_fault_batch(struct vsvm_vm *vm, struct drm_gpusvm_fault *faults,
				unsigned int count)
{
	u64 changes = atomic64_read(&vm->bind.changes);
	unsigned int i;
	int ret;

	/* Before the library is asked: what it says holds for a change after that. */
	smp_mb();
	ret = drm_gpusvm_mgr_fault_batch(&vm->instance, faults, count);
	for (i = 0; i < count && ret; i++) {
		bool write = faults[i].access != DRM_GPUSVM_ACCESS_READ;

		if (faults[i].err == -ENOENT)
			faults[i].err = vsvm_bind_fault(vm, faults[i].addr, write, changes);
	}
	return ret;
}

static void vsvm_svm_flush_done(struct vsvm_vm *vm, u64 generation)
{
	drm_gpusvm_instance_flush_done(&vm->instance, generation);
}

static int vsvm_svm_set_attrs(struct vsvm_vm *vm, unsigned long start, unsigned long end,
			      const struct drm_gpusvm_attr *attrs, unsigned int count)
{
	return drm_gpusvm_instance_set_attrs(&vm->instance, start, end, attrs, count);
}

static int vsvm_svm_get_attrs(struct vsvm_vm *vm, unsigned long start, unsigned long end,
			      struct drm_gpusvm_attr *attrs)
{
	return drm_gpusvm_instance_get_attrs(&vm->instance, start, end, attrs);
}

static int vsvm_svm_next_attrs(struct vsvm_vm *vm, unsigned long *start, unsigned long *end,
			       struct drm_gpusvm_attr *attrs)
{
	return drm_gpusvm_instance_next_attrs(&vm->instance, start, end, attrs);
}

static int vsvm_svm_reset_attrs(struct vsvm_vm *vm, unsigned long start, unsigned long end)
{
	return drm_gpusvm_instance_reset_attrs(&vm->instance, start, end);
}

static int vsvm_svm_prefetch(struct vsvm_vm *vm, unsigned long start, unsigned long end,
			     struct drm_pagemap *dpagemap, unsigned int flags, u64 *missed)
{
	return drm_gpusvm_instance_prefetch(&vm->instance, start, end, dpagemap, flags,
					    missed);
}

/**
 * vsvm_svm_read_stats() - Fill in the counters of the library
 * @vm: The VM, whose instance is attached.
 * @data: Out: the counters.
 */
void vsvm_svm_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data)
{
	struct drm_gpusvm_instance_stats *stats = &vm->instance.stats;
	struct drm_gpusvm_mgr_stats mgr = {};

	data->dma_mapped = atomic64_read(&stats->dma_bytes);
	data->dma_maps = atomic64_read(&stats->maps);
	data->dma_unmaps = atomic64_read(&stats->unmaps);
	data->snapshot_hits = atomic64_read(&stats->snapshot_hits);
	data->snapshot_walks = atomic64_read(&stats->walks);
	data->invalidations = atomic64_read(&stats->invalidations);
	data->retries = atomic64_read(&stats->retries);
	data->eager_maps = atomic64_read(&stats->eager_maps);

	drm_gpusvm_mgr_read_stats(vm->instance.mgr, &mgr);
	data->mgr_invalidations = mgr.invalidations;
	data->mgr_invalidations_missed = mgr.invalidations_missed;
	data->mgr_walks = mgr.walks;
	data->mgr_snapshot_hits = mgr.snapshot_hits;
	data->mgr_ranges = mgr.ranges;
	data->mgr_ranges_made = mgr.ranges_made;
	data->mgr_ranges_removed = mgr.ranges_removed;
	data->mgr_seq_waits = mgr.seq_waits;
	data->mgr_nonblock_refused = mgr.nonblock_refused;
	data->mgr_instances = mgr.instances;

	data->migrations = atomic64_read(&stats->migrations);
	data->migrations_failed = atomic64_read(&stats->migrations_failed);
	data->migrations_resident = atomic64_read(&stats->migrations_resident);
	data->migrations_pinned = atomic64_read(&stats->migrations_pinned);
	data->migrations_shared = atomic64_read(&stats->migrations_shared);
	data->mgr_migrations = mgr.migrations;
	data->mgr_migrations_failed = mgr.migrations_failed;
	data->mgr_moves_back = mgr.moves_back;
	data->mgr_refused_resident = mgr.refused_resident;
	data->mgr_refused_pinned = mgr.refused_pinned;
	data->mgr_pins = mgr.pins;
	data->migrations_backed_off = atomic64_read(&stats->migrations_backed_off);
	data->pins = atomic64_read(&stats->pins);
	data->mgr_refused_backoff = mgr.refused_backoff;
	data->mgr_prefetches = mgr.prefetches;
	data->mgr_attr_conflicts = mgr.attr_conflicts;
	data->mgr_attr_widened = mgr.attr_widened;
}

/* The SVM manager as a back end. */
const struct vsvm_svm_ops vsvm_svm_mgr_ops = {
	.attach = vsvm_svm_attach,
	.kill = vsvm_svm_kill,
	.detach = vsvm_svm_detach,
	.check_current = vsvm_svm_check_current,
	.exiting = vsvm_svm_exiting,
	.fault_batch = vsvm_svm_fault_batch,
	.flush_done = vsvm_svm_flush_done,
	.set_attrs = vsvm_svm_set_attrs,
	.get_attrs = vsvm_svm_get_attrs,
	.next_attrs = vsvm_svm_next_attrs,
	.reset_attrs = vsvm_svm_reset_attrs,
	.prefetch = vsvm_svm_prefetch,
	.read_stats = vsvm_svm_read_stats,
};
