// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: the GPUs, their VMs and jobs
 */

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

#define MANAGERS	"/sys/kernel/debug/drm_gpusvm_mgr"

/* ---------------------------------------------------------------- devices */

/* By its number: its place in the list changes while others are away. */
int gpu_open(struct torture *tt, struct gpu *gpu)
{
	unsigned int minors[VSVM_MAX_DEVICES];
	int num = vsvm_list(minors, VSVM_MAX_DEVICES), ret;

	(void)tt;
	for (int i = 0; i < num; i++) {
		ret = vsvm_open_minor(&gpu->dev, minors[i]);
		if (ret == -ENODEV)
			continue;
		if (ret)
			return ret;
		if (gpu->dev.info.index == gpu->index)
			return 0;
		vsvm_close(&gpu->dev);
	}
	return num < 0 ? num : -ENODEV;
}

/* How often each had come back when this thread began to use it last. */
static _Thread_local unsigned int returns_begun[MAX_GPUS];

/* For who uses the device or its VM. Does not nest. */
void gpu_begin(struct gpu *gpu)
{
	pthread_rwlock_rdlock(&gpu->lock);
	returns_begun[gpu->nr] = atomic_get(&gpu->returns);
}

/* For who takes it, or its VM, away from the others; ends as the other one does. */
void gpu_begin_alone(struct gpu *gpu)
{
	pthread_rwlock_wrlock(&gpu->lock);
	returns_begun[gpu->nr] = atomic_get(&gpu->returns);
}

void gpu_end(struct gpu *gpu)
{
	pthread_rwlock_unlock(&gpu->lock);
}

struct gpu *gpu_pick(struct thread *t)
{
	return &t->tt->gpus[torture_below(t, t->tt->num_gpus)];
}

/* Adds up what is lost with the VM, and with the device. */
void gpu_account(struct gpu *gpu, bool device)
{
	struct totals *sum = &gpu->totals;
	struct drm_vsvm_stats_data s;

	if (!gpu->vm.id || vsvm_stats(&gpu->vm, &s))
		return;
	pthread_mutex_lock(&gpu->totals_lock);
	sum->jobs += s.jobs;
	sum->jobs_failed += s.jobs_failed;
	sum->faults += s.faults;
	sum->merged += s.faults_merged;
	sum->invalidations += s.invalidations;
	sum->retries += s.retries;
	sum->walks += s.snapshot_walks;
	sum->maps += s.dma_maps;
	sum->migrations += s.migrations;
	sum->migrations_failed += s.migrations_failed;
	if (device) {
		sum->evictions += s.vram_evictions;
		sum->copies += s.copies;
		sum->copies_failed += s.copies_failed;
		sum->gem_moves += s.gem_moves;
		sum->violations += s.violations;
	}
	pthread_mutex_unlock(&gpu->totals_lock);
}

/* The kind of VM is a matter of chance. */
int gpu_vm_create(struct torture *tt, struct gpu *gpu, uint64_t random)
{
	(void)tt;
	gpu->flags = DRM_VSVM_VM_MIRROR;
	if (gpu->dev.info.vram_size && random % 8)
		gpu->flags |= DRM_VSVM_VM_MIGRATE;
	if (random / 8 % 4 == 0)
		gpu->flags |= DRM_VSVM_VM_EAGER;
	gpu->num_errors = 0;
	return vsvm_vm_create(&gpu->dev, gpu->flags, &gpu->vm);
}

int gpu_vm_destroy(struct torture *tt, struct gpu *gpu)
{
	(void)tt;
	gpu_account(gpu, false);
	return vsvm_vm_destroy(&gpu->vm);
}

int gpus_create(struct torture *tt)
{
	pthread_rwlockattr_t attr;
	int ret;

	pthread_rwlockattr_init(&attr);
	/* Or a device would never be left alone long enough to be removed. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (unsigned int i = 0; i < tt->num_gpus; i++) {
		struct gpu *gpu = &tt->gpus[i];

		gpu->nr = i;
		pthread_rwlock_init(&gpu->lock, &attr);
		pthread_mutex_init(&gpu->error_lock, NULL);
		pthread_mutex_init(&gpu->totals_lock, NULL);
		pthread_mutex_init(&gpu->bound.lock, NULL);
		ret = vsvm_open(&gpu->dev, i);
		if (ret)
			return ret;
		gpu->index = gpu->dev.info.index;
		ret = gpu_vm_create(tt, gpu, torture_mix(tt->seed + i));
		if (ret)
			return ret;
	}
	pthread_rwlockattr_destroy(&attr);
	return 0;
}

int gpus_destroy(struct torture *tt)
{
	int first = 0;

	for (unsigned int i = 0; i < tt->num_gpus; i++) {
		struct gpu *gpu = &tt->gpus[i];

		if (gpu->vm.id) {
			int ret;

			gpu_account(gpu, true);
			ret = vsvm_vm_destroy(&gpu->vm);
			first = first ? first : ret;
		}
		vsvm_close(&gpu->dev);
	}
	return first;
}

/*
 * A call failed because the device is being removed; waits until it is. It may be back
 * already, where this thread had to wait for a CPU.
 */
bool gpu_excused(struct gpu *gpu, int ret)
{
	if (ret != -ENODEV)
		return false;
	/* It has come back before it is there. */
	if (atomic_get(&gpu->presence) == GPU_THERE)
		return atomic_get(&gpu->returns) != returns_begun[gpu->nr];
	while (atomic_get(&gpu->presence) == GPU_LEAVES)
		usleep(1000);
	return true;
}

/* ------------------------------------------------------------------- jobs */

/* Each thread has a queue and a fence. The caller is between begin and end. */
int job_start(struct thread *t, struct gpu *gpu, const struct vsvm_job *job)
{
	int ret;

	ret = vsvm_exec(&gpu->vm, t->nr, job, &t->lane->fence[gpu->nr], t->value[gpu->nr] + 1,
			&t->job_id[gpu->nr]);
	if (!ret)
		t->value[gpu->nr]++;
	return ret;
}

/* Others' records that are in the way are kept for them. */
static int error_take(struct gpu *gpu, uint64_t job_id, struct drm_vsvm_error *error)
{
	int ret = -ENODATA;

	pthread_mutex_lock(&gpu->error_lock);
	for (unsigned int i = 0; i < gpu->num_errors && ret; i++) {
		if (gpu->errors[i].job_id != job_id)
			continue;
		*error = gpu->errors[i];
		gpu->errors[i] = gpu->errors[--gpu->num_errors];
		ret = 0;
	}
	while (ret == -ENODATA) {
		ret = vsvm_error_take(&gpu->vm, error);
		if (ret || error->job_id == job_id)
			break;
		ret = -ENODATA;
		if (gpu->num_errors < sizeof(gpu->errors) / sizeof(gpu->errors[0]))
			gpu->errors[gpu->num_errors++] = *error;
	}
	pthread_mutex_unlock(&gpu->error_lock);
	return ret;
}

/*
 * Waits for the job that was started last. Returns 0; what the job failed with, and
 * its record in @error; or what the call failed with, and @error is zero.
 */
int job_finish(struct thread *t, struct gpu *gpu, struct drm_vsvm_error *error)
{
	struct drm_vsvm_error local;
	int ret;

	error = error ? error : &local;
	memset(error, 0, sizeof(*error));
	ret = vsvm_wait(&gpu->vm, &t->lane->fence[gpu->nr], t->value[gpu->nr], JOB_LIMIT_NS);
	if (ret == -ETIME)
		torture_fail(t, "job %llu of GPU %u hangs",
			     (unsigned long long)t->job_id[gpu->nr], gpu->nr);
	if (ret != -EIO)
		return ret;
	ret = error_take(gpu, t->job_id[gpu->nr], error);
	if (ret == -ENODEV)
		return ret;
	if (ret) {
		torture_fail(t, "no record of job %llu of GPU %u, which failed: %s",
			     (unsigned long long)t->job_id[gpu->nr], gpu->nr, strerror(-ret));
		return ret;
	}
	return -(int)error->error;
}

int job_run(struct thread *t, struct gpu *gpu, const struct vsvm_job *job,
	    struct drm_vsvm_error *error)
{
	int ret;

	gpu_begin(gpu);
	ret = job_start(t, gpu, job);
	if (!ret)
		ret = job_finish(t, gpu, error);
	gpu_end(gpu);
	return ret;
}

/* Instructions that bring what is in a page, mapped at @at, to a slot of the lane. */
void job_read_page(struct thread *t, struct vsvm_job *job, unsigned int slot, char *at)
{
	struct seen *seen = &t->lane->seen[slot];

	memset(seen, 0xee, sizeof(*seen));
	vsvm_job_copy(job, &seen->head, at, COUNT_OFFSET + sizeof(seen->count));
	vsvm_job_copy(job, &seen->tail, at + TAIL_OFFSET, sizeof(seen->tail));
}

/* Instructions that write a new cell to a page, mapped at @at, by way of a slot. */
void job_write_page(struct thread *t, struct vsvm_job *job, unsigned int slot,
		    unsigned int page, const struct cell *cell, char *at)
{
	struct image *image = &t->lane->staging[slot];

	cell_image(t->tt, page, cell, image);
	vsvm_job_copy(job, at, image, sizeof(*image));
	vsvm_job_copy(job, at + TAIL_OFFSET, image, sizeof(*image));
}

/* Likewise of a span, by way of the first slots */
void job_read(struct thread *t, struct vsvm_job *job, const struct span *span, char *at)
{
	for (unsigned int i = 0; i < span->n; i++, at += PAGE)
		job_read_page(t, job, i, at);
}

void job_write(struct thread *t, struct vsvm_job *job, const struct span *span,
	       const struct cell *cells, char *at)
{
	for (unsigned int i = 0; i < span->n; i++, at += PAGE)
		job_write_page(t, job, i, span->first + i, &cells[i], at);
}

/* What a job has brought to a slot is right for that page. */
bool seen_check(struct thread *t, unsigned int slot, unsigned int page, const char *who)
{
	const struct seen *seen = &t->lane->seen[slot];

	return cell_check(t, page, &seen->head, &seen->tail, seen->count, who);
}

/*
 * A GPU looks at a span, mapped at @at. Not between begin and end. Returns an OP_*;
 * it has failed if what was seen is wrong.
 */
int span_check_gpu(struct thread *t, struct gpu *gpu, const struct span *span, char *at,
		   const char *who)
{
	struct vsvm_job job;
	int ret;

	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	job_read(t, &job, span, at);
	ret = op_gone(t, gpu, job_run(t, gpu, &job, NULL), who);
	if (ret != OP_DONE)
		return ret;
	for (unsigned int i = 0; i < span->n; i++)
		if (!seen_check(t, i, span->first + i, who))
			return OP_LOST;
	return OP_DONE;
}

/* ----------------------------------------------------------------- walker */

/* The managers of this process: is all of their structure sound? */
void walker_run(struct torture *tt, struct thread *t)
{
	char prefix[16], path[320];
	struct dirent *entry;
	DIR *d;

	d = opendir(MANAGERS);
	if (!d)
		return;
	snprintf(prefix, sizeof(prefix), "%d-", getpid());
	while ((entry = readdir(d))) {
		int ret;

		if (strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), MANAGERS "/%s", entry->d_name);
		ret = torture_write_text(path, "validate");
		/* A manager goes with its last VM. */
		if (ret == -ENOENT || ret == -EIO || ret == -ENODEV)
			continue;
		atomic_inc(&tt->walker_runs, 1);
		if (!ret)
			continue;
		atomic_inc(&tt->walker_reports, 1);
		torture_fail(t, "the walker: %s", strerror(-ret));
	}
	closedir(d);
}
