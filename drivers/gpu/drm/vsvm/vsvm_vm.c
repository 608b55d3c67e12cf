// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The VM as an object: making and freeing it, its error records and counters.
 * How it is torn down is in vsvm_ioctl.c, because all floors take part in that.
 */

#include <linux/sched.h>
#include <linux/slab.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"

/**
 * vsvm_vm_alloc() - Make a VM that is not attached yet
 * @dev: The device.
 * @flags: DRM_VSVM_VM_*.
 *
 * Return: the VM with one reference, or an ERR_PTR(): -ENOMEM.
 */
struct vsvm_vm *vsvm_vm_alloc(struct vsvm_device *dev, u32 flags)
{
	struct vsvm_vm *vm;
	unsigned int i;
	int ret;

	vm = kvzalloc_obj(*vm);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	vm->errors = kvcalloc(VSVM_MAX_ERRORS, sizeof(*vm->errors), GFP_KERNEL);
	if (!vm->errors) {
		ret = -ENOMEM;
		goto err_free_vm;
	}

	ret = vsvm_pt_init(&vm->pt);
	if (ret)
		goto err_free_errors;

	kref_init(&vm->ref);
	drm_dev_get(&dev->drm);
	vm->dev = dev;
	vm->flags = flags;
	if (vsvm_vm_bound_only(vm))
		vm->svm = &vsvm_svm_none_ops;
	else if (flags & DRM_VSVM_VM_UPSTREAM)
		vm->svm = &vsvm_svm_upstream_ops;
	else if (flags & DRM_VSVM_VM_TWO_PASS)
		vm->svm = &vsvm_svm_twopass_ops;
	else
		vm->svm = &vsvm_svm_mgr_ops;
	ret = vsvm_bind_vm_init(vm);
	if (ret)
		goto err_put_dev;
	/* Zero is what a free TLB entry has. */
	do {
		vm->asid = atomic_inc_return(&dev->next_asid);
	} while (!vm->asid);
	vm->pid = task_tgid_nr(current);
	get_task_comm(vm->comm, current->group_leader);
	INIT_LIST_HEAD(&vm->link);
	rwlock_init(&vm->gate);
	vsvm_police_init(&vm->police);
	vsvm_flush_vm_init(vm);
	for (i = 0; i < VSVM_QUEUES; i++) {
		vm->queues[i].vm = vm;
		vm->queues[i].index = i;
		INIT_LIST_HEAD(&vm->queues[i].jobs);
		INIT_LIST_HEAD(&vm->queues[i].link);
	}
	atomic_set(&vm->events, 0);
	init_waitqueue_head(&vm->wait);
	vsvm_fault_vm_init(vm);
	vsvm_prefetch_vm_init(vm);
	spin_lock_init(&vm->errors_lock);
	mutex_init(&vm->attach_lock);
	mutex_init(&vm->teardown_lock);
	return vm;

err_put_dev:
	drm_dev_put(&dev->drm);
	vsvm_pt_fini(&vm->pt);
err_free_errors:
	kvfree(vm->errors);
err_free_vm:
	kvfree(vm);
	return ERR_PTR(ret);
}

static void vsvm_vm_free(struct kref *ref)
{
	struct vsvm_vm *vm = container_of(ref, struct vsvm_vm, ref);
	struct drm_device *drm = &vm->dev->drm;

	vsvm_vm_detach(vm);
	drm_WARN_ON(drm, vm->unfinished || vm->running || vm->serving);

	vsvm_bind_vm_fini(vm);
	vsvm_police_fini(&vm->police);
	vsvm_pt_fini(&vm->pt);
	mutex_destroy(&vm->teardown_lock);
	mutex_destroy(&vm->attach_lock);
	kvfree(vm->errors);
	kvfree(vm);
	drm_dev_put(drm);
}

/**
 * vsvm_vm_detach() - Make the back end forget a VM
 * @vm: The VM; no fault of it is being served, and it is dead, so that none
 *	will be. Or it was never attached.
 *
 * Calls after the first do nothing.
 */
void vsvm_vm_detach(struct vsvm_vm *vm)
{
	bool attached;

	mutex_lock(&vm->attach_lock);
	attached = vm->attached;
	vm->attached = false;
	mutex_unlock(&vm->attach_lock);
	if (!attached)
		return;

	vm->svm->detach(vm);
	vsvm_flush_drain(vm);
}

/**
 * vsvm_vm_get() - Take another reference
 * @vm: The VM.
 *
 * Return: @vm.
 */
struct vsvm_vm *vsvm_vm_get(struct vsvm_vm *vm)
{
	kref_get(&vm->ref);
	return vm;
}

/**
 * vsvm_vm_put() - Drop a reference
 * @vm: The VM. When the last one goes, it was torn down, or never attached.
 */
void vsvm_vm_put(struct vsvm_vm *vm)
{
	might_sleep();
	kref_put(&vm->ref, vsvm_vm_free);
}

/**
 * vsvm_vm_lookup() - Find a VM by its id, for the process that owns it
 * @file: The file.
 * @id: The id.
 *
 * Return: the VM with a reference, or an ERR_PTR(): -ENOENT, where there is
 * none, -EPERM where it belongs to another address space, or the errno with
 * which it was torn down.
 */
struct vsvm_vm *vsvm_vm_lookup(struct drm_file *file, u32 id)
{
	struct vsvm_file *vfile = file->driver_priv;
	struct vsvm_vm *vm;
	int ret;

	xa_lock(&vfile->vms);
	vm = xa_load(&vfile->vms, id);
	if (vm)
		vsvm_vm_get(vm);
	xa_unlock(&vfile->vms);
	if (!vm) {
		drm_dbg(file->minor->dev, "vm_id %u: no such VM\n", id);
		return ERR_PTR(-ENOENT);
	}

	ret = vsvm_vm_check_current(vm);
	if (ret) {
		drm_dbg(&vm->dev->drm, "vm_id %u: refused, %d\n", id, ret);
		vsvm_vm_put(vm);
		return ERR_PTR(ret);
	}
	return vm;
}

/**
 * vsvm_vm_check_current() - Is the caller the process of the VM?
 * @vm: The VM.
 *
 * Return: 0, -EPERM, or the errno with which the VM was torn down.
 */
int vsvm_vm_check_current(struct vsvm_vm *vm)
{
	int ret;

	mutex_lock(&vm->attach_lock);
	ret = vm->attached ? vm->svm->check_current(vm) : READ_ONCE(vm->dead);
	mutex_unlock(&vm->attach_lock);
	return ret;
}

/**
 * vsvm_vm_begin() - Begin a call of the back end that may take long
 * @vm: The VM, with a reference until after the end of the call.
 *
 * From here to vsvm_vm_end() the back end knows the VM: the teardown does not
 * detach it, as it does not while faults are served.
 *
 * Return: 0, or the errno with which the VM died.
 */
int vsvm_vm_begin(struct vsvm_vm *vm)
{
	int ret;

	spin_lock(&vm->dev->lock);
	ret = vm->dead;
	if (!ret)
		WRITE_ONCE(vm->serving, vm->serving + 1);
	spin_unlock(&vm->dev->lock);
	return ret;
}

/**
 * vsvm_vm_end() - End what vsvm_vm_begin() began
 * @vm: The VM.
 */
void vsvm_vm_end(struct vsvm_vm *vm)
{
	spin_lock(&vm->dev->lock);
	WRITE_ONCE(vm->serving, vm->serving - 1);
	spin_unlock(&vm->dev->lock);
	vsvm_vm_wake(vm);
}

/**
 * vsvm_vm_wake() - Something has happened that somebody may wait for
 * @vm: The VM.
 *
 * Does not sleep.
 */
void vsvm_vm_wake(struct vsvm_vm *vm)
{
	atomic_inc(&vm->events);
	wake_up_all(&vm->wait);
}

/**
 * vsvm_vm_error_add() - Keep an error record
 * @vm: The VM.
 * @error: The record; the oldest one goes where there is no room.
 *
 * Does not sleep.
 */
void vsvm_vm_error_add(struct vsvm_vm *vm, const struct vsvm_error *error)
{
	spin_lock(&vm->errors_lock);
	if (vm->errors_count == VSVM_MAX_ERRORS) {
		vm->errors_first = (vm->errors_first + 1) % VSVM_MAX_ERRORS;
		vm->errors_count--;
		vm->errors_lost++;
	}
	vm->errors[(vm->errors_first + vm->errors_count) % VSVM_MAX_ERRORS] = *error;
	vm->errors_count++;
	spin_unlock(&vm->errors_lock);
}

/**
 * vsvm_vm_error_take() - Take the oldest error record
 * @vm: The VM.
 * @error: Out: the record.
 * @lost: Out: how many were dropped since the last one that was taken.
 *
 * Return: 0, or -ENODATA.
 */
int vsvm_vm_error_take(struct vsvm_vm *vm, struct vsvm_error *error, u64 *lost)
{
	int ret = -ENODATA;

	spin_lock(&vm->errors_lock);
	if (vm->errors_count) {
		*error = vm->errors[vm->errors_first];
		*lost = vm->errors_lost;
		vm->errors_first = (vm->errors_first + 1) % VSVM_MAX_ERRORS;
		vm->errors_count--;
		vm->errors_lost = 0;
		ret = 0;
	}
	spin_unlock(&vm->errors_lock);
	return ret;
}

/**
 * vsvm_vm_read_stats() - Collect the counters of a VM
 * @vm: The VM.
 * @data: Out: the counters; those of the manager are 0 after the teardown.
 */
void vsvm_vm_read_stats(struct vsvm_vm *vm, struct drm_vsvm_stats_data *data)
{
	struct vsvm_vm_stats *stats = &vm->stats;

	memset(data, 0, sizeof(*data));
	data->jobs = atomic64_read(&stats->jobs);
	data->jobs_failed = atomic64_read(&stats->jobs_failed);
	data->bytes_read = atomic64_read(&stats->bytes_read);
	data->bytes_written = atomic64_read(&stats->bytes_written);
	data->faults = atomic64_read(&stats->faults);
	data->faults_merged = atomic64_read(&stats->faults_merged);
	data->batches = atomic64_read(&stats->batches);
	data->tlb_hits = atomic64_read(&stats->tlb_hits);
	data->tlb_misses = atomic64_read(&stats->tlb_misses);
	data->tlb_flushes = atomic64_read(&stats->tlb_flushes);
	data->tlb_flushed = atomic64_read(&stats->tlb_flushed);
	data->binds = atomic64_read(&stats->binds);
	data->rebinds = atomic64_read(&stats->rebinds);
	data->bind_retries = atomic64_read(&stats->bind_retries);
	data->gem_moves = atomic64_read(&vm->dev->gem.moves);
	data->violations = atomic64_read(&vm->dev->violations);
	data->vram_used = atomic64_read(&vm->dev->vram.used);
	data->vram_evictions = atomic64_read(&vm->dev->vram.evictions);
	data->vram_allocations = atomic64_read(&vm->dev->vram.allocations);
	data->vram_arrivals = atomic64_read(&vm->dev->vram.arrivals);
	data->vram_splits = atomic64_read(&vm->dev->vram.splits);
	data->copies = atomic64_read(&vm->dev->copy.copies);
	data->copies_failed = atomic64_read(&vm->dev->copy.failed);
	data->copy_bytes_in = atomic64_read(&vm->dev->copy.bytes_in);
	data->copy_bytes_out = atomic64_read(&vm->dev->copy.bytes_out);
	data->copy_bytes_peer = atomic64_read(&vm->dev->copy.bytes_peer);
	data->copy_bytes_cleared = atomic64_read(&vm->dev->copy.bytes_cleared);

	mutex_lock(&vm->attach_lock);
	if (vm->attached)
		vm->svm->read_stats(vm, data);
	mutex_unlock(&vm->attach_lock);
}
