// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: operations on devices, VMs, placement and binds
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "torture.h"

/* Two GPUs at once, in ascending order; they may be the same one. */
static void pair_begin(struct gpu *a, struct gpu *b)
{
	gpu_begin(a->nr < b->nr ? a : b);
	if (a != b)
		gpu_begin(a->nr < b->nr ? b : a);
}

static void pair_end(struct gpu *a, struct gpu *b)
{
	gpu_end(a);
	if (a != b)
		gpu_end(b);
}

/* -------------------------------------------------------------- placement */

static int op_prefetch(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	const bool map = torture_below(t, 2), system = torture_below(t, 3) == 0;
	struct gpu *gpu = gpu_pick(t), *to = gpu_pick(t);
	int ret;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_NONE);
	pair_begin(gpu, to);
	if (to->dev.info.vram_size == 0)
		ret = -EBUSY;
	else
		ret = vsvm_prefetch(&gpu->vm, span_addr(&span), span_size(&span),
				    system ? NULL : &to->dev,
				    map ? DRM_VSVM_PREFETCH_MAP : 0, NULL);
	pair_end(gpu, to);
	span_unlock(t, &span, LOCK_SHARED, LOCK_NONE);
	/* Somebody took it away again and again. */
	if (ret == -EBUSY)
		return OP_REFUSED;
	if (gpu_excused(gpu, ret) || gpu_excused(to, ret))
		return OP_LOST;
	return op_gone(t, gpu, ret, "prefetch");
}

static int op_attr(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	struct gpu *gpu = gpu_pick(t), *to = gpu_pick(t);
	const unsigned int dice = torture_below(t, 10);
	const uint32_t roll = torture_random(t) >> 32;
	struct drm_vsvm_attr attr = { .type = dice };
	int ret;

	switch (dice) {
	default:
		attr.type = DRM_VSVM_ATTR_LOCATION;
		attr.value = roll % 3;
		break;
	case DRM_VSVM_ATTR_MIGRATION:
		attr.value = roll % 3;
		break;
	case DRM_VSVM_ATTR_GRANULARITY:
		attr.value = roll % 2 ? roll / 2 % 11 : DRM_VSVM_GRANULARITY_DEFAULT;
		break;
	case DRM_VSVM_ATTR_RESIDENCE:
		attr.value = roll % 2 ? roll / 2 % 20 : DRM_VSVM_RESIDENCE_DEFAULT;
		break;
	case DRM_VSVM_ATTR_ACCESS:
		/* Nothing that forbids something to others */
		attr.value = roll % 4 == 0 ? DRM_VSVM_MODE_IN_PLACE :
			     roll % 4 == 1 ? DRM_VSVM_MODE_EAGER :
			     roll % 4 == 2 ? DRM_VSVM_MODE_ON_DEMAND : DRM_VSVM_MODE_DEFAULT;
		break;
	case DRM_VSVM_ATTR_ATOMICS:
		attr.value = roll % 2 ? DRM_VSVM_ATOMICS_GLOBAL : DRM_VSVM_ATOMICS_UNDEFINED;
		break;
	}
	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_NONE);
	pair_begin(gpu, to);
	if (attr.type == DRM_VSVM_ATTR_LOCATION && attr.value == DRM_VSVM_LOCATION_DEVICE)
		attr.device = to->dev.fd;
	if (attr.device && !to->dev.info.vram_size)
		ret = -EBUSY;
	else
		ret = vsvm_attr_set(&gpu->vm, span_addr(&span), span_size(&span), &attr, 1);
	pair_end(gpu, to);
	span_unlock(t, &span, LOCK_SHARED, LOCK_NONE);
	/* Or the memory of too many devices was named, those included that are gone. */
	if (ret == -EBUSY || ret == -ENOSPC)
		return OP_REFUSED;
	if (gpu_excused(gpu, ret) || gpu_excused(to, ret))
		return OP_LOST;
	return op_gone(t, gpu, ret, "attribute");
}

/* Forbids, is obeyed, and allows it again. */
static int op_attr_deny(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	const bool read_only = torture_below(t, 2);
	struct gpu *gpu = gpu_pick(t);
	uint64_t *word = (void *)(span_addr(&span) + 128);
	VSVM_JOB(job, 1);
	int ret, err = 0;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_SHARED);
	gpu_begin(gpu);
	ret = vsvm_attr_set_one(&gpu->vm, span_addr(&span), span_size(&span),
				read_only ? DRM_VSVM_ATTR_READ_ONLY : DRM_VSVM_ATTR_ACCESS,
				read_only ? 1 : DRM_VSVM_MODE_NONE);
	if (ret)
		goto out;
	if (read_only)
		vsvm_job_fill(&job, word, sizeof(*word), 0xbad);
	else
		vsvm_job_copy(&job, &t->lane->seen[0], word, sizeof(*word));
	ret = job_start(t, gpu, &job);
	if (!ret)
		ret = job_finish(t, gpu, NULL);
	if (!ret)
		torture_fail(t, "GPU %u does what an attribute forbids", gpu->nr);
	if (ret == -EACCES)
		ret = 0;
	err = vsvm_attr_set_one(&gpu->vm, span_addr(&span), span_size(&span),
				read_only ? DRM_VSVM_ATTR_READ_ONLY : DRM_VSVM_ATTR_ACCESS,
				read_only ? 0 : DRM_VSVM_MODE_DEFAULT);
	ret = err ? err : ret;
out:
	gpu_end(gpu);
	ret = op_gone(t, gpu, ret, "attribute that forbids");
	if (ret == OP_DONE)
		ret = span_check_gpu(t, gpu, &span, span_addr(&span), "allowed again, GPU");
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_SHARED);
	return ret;
}

static int op_attr_reset(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	struct gpu *gpu = gpu_pick(t);
	int ret;

	op_note(t, &span, gpu);
	/* There need not be memory. But it would allow what another one forbids. */
	span_lock(t, &span, LOCK_SHARED, LOCK_NONE);
	gpu_begin(gpu);
	ret = vsvm_attr_reset(&gpu->vm, span_addr(&span), span_size(&span));
	gpu_end(gpu);
	span_unlock(t, &span, LOCK_SHARED, LOCK_NONE);
	return op_gone(t, gpu, ret, "reset of attributes");
}

/* All that is in the device's memory, as far as possible */
static int op_evict(struct thread *t, const struct op *op)
{
	struct gpu *gpu = gpu_pick(t);
	int ret = 0;

	(void)op;
	op_note(t, NULL, gpu);
	gpu_begin(gpu);
	if (atomic_get(&gpu->presence) == GPU_THERE)
		ret = vsvm_debugfs_set(&gpu->dev, "evict", 1);
	gpu_end(gpu);
	if (ret == -ENOENT || ret == -EIO)
		ret = -ENODEV;
	return op_gone(t, gpu, ret, "eviction");
}

/* -------------------------------------------------------------- VMs, devices */

static void bound_forget(struct bound *bound)
{
	/* The mappings stay until something else is mapped there. */
	bound->vm.id = 0;
	bound->handle = 0;
}

static int op_vm_recreate(struct thread *t, const struct op *op)
{
	struct gpu *gpu = gpu_pick(t);
	int ret;

	(void)op;
	op_note(t, NULL, gpu);
	gpu_begin_alone(gpu);
	ret = gpu_vm_destroy(t->tt, gpu);
	if (!ret)
		ret = gpu_vm_create(t->tt, gpu, torture_random(t));
	gpu_end(gpu);
	return op_gone(t, gpu, ret, "another VM");
}

/* While it works: what it had comes back, and all others go on. */
static int op_unplug(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	struct gpu *gpu = gpu_pick(t);
	struct torture *tt = t->tt;
	struct cell renewed[64];
	struct vsvm_job job;
	int ret, err;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	for (unsigned int i = 0; i < span.n; i++) {
		cell_resolve(t, span.first + i);
		cell_renew(t, span.first + i, &renewed[i]);
	}
	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	job_write(t, &job, &span, renewed, span_addr(&span));

	pthread_mutex_lock(&tt->plug_lock);
	gpu_begin(gpu);
	gpu_account(gpu, true);
	ret = job_start(t, gpu, &job);
	for (unsigned int i = torture_below(t, 20); i; i--)
		usleep(50);
	atomic_set(&gpu->presence, GPU_LEAVES);
	err = vsvm_unplug(gpu->index);
	atomic_set(&gpu->presence, GPU_GONE);
	if (!ret)
		ret = job_finish(t, gpu, NULL);
	ret = op_gone(t, gpu, ret, "removal");
	gpu_end(gpu);
	span_mend(t, &span, renewed, "after a removal, CPU");
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	if (err) {
		torture_fail(t, "unplug: %s", strerror(-err));
		goto out;
	}

	/* Waits for all that hold on to the old one. */
	pthread_rwlock_wrlock(&gpu->lock);
	pthread_mutex_lock(&gpu->bound.lock);
	bound_forget(&gpu->bound);
	pthread_mutex_unlock(&gpu->bound.lock);
	vsvm_close(&gpu->dev);
	gpu->vm.id = 0;
	err = vsvm_plug(gpu->index);
	if (!err)
		err = gpu_open(tt, gpu);
	if (!err)
		err = gpu_vm_create(tt, gpu, torture_random(t));
	if (err)
		torture_fail(t, "plug: %s", strerror(-err));
	atomic_set(&gpu->returns, gpu->returns + 1);
	if (!err)
		atomic_set(&gpu->presence, GPU_THERE);
	pthread_rwlock_unlock(&gpu->lock);
out:
	pthread_mutex_unlock(&tt->plug_lock);
	return err ? OP_LOST : OP_DONE;
}

/* ------------------------------------------------------------------- binds */

#define BOUND_VA	0x4000000000ULL
#define BOUND_OUT	0x5000000000ULL

/* Under the bound's lock, between begin and end */
static int bound_create(struct thread *t, struct gpu *gpu)
{
	struct bound *bound = &gpu->bound;
	VSVM_BIND(bind, 1);
	void *ptr;
	int ret;

	ret = vsvm_vm_create(&gpu->dev, torture_below(t, 2) ? DRM_VSVM_VM_SHARED_RESV : 0,
			     &bound->vm);
	if (ret)
		return ret;
	ret = vsvm_gem_create(&gpu->dev, BOUND_PAGES * PAGE,
			      gpu->dev.info.vram_size && torture_below(t, 3) ?
			      DRM_VSVM_PLACEMENT_DEVICE : DRM_VSVM_PLACEMENT_SYSTEM,
			      &bound->handle);
	if (!ret)
		ret = vsvm_gem_create(&gpu->dev, PAGE, DRM_VSVM_PLACEMENT_SYSTEM,
				      &bound->out_handle);
	/* In place of what was there before: no address is free in between. */
	if (!ret)
		ret = vsvm_gem_map(&gpu->dev, bound->handle, bound->cpu, BOUND_PAGES * PAGE, &ptr);
	if (!ret)
		ret = vsvm_gem_map(&gpu->dev, bound->out_handle, bound->out, PAGE, &ptr);
	if (ret)
		return ret;
	vsvm_bind_map(&bind, BOUND_OUT, PAGE, bound->out_handle, 0);
	ret = vsvm_vm_bind_wait(&bound->vm, &bind);
	memset(bound->value, 0, sizeof(bound->value));
	for (unsigned int i = 0; i < BOUND_SLOTS; i++)
		bound->slot[i] = -1;
	return ret;
}

static int bound_destroy(struct gpu *gpu)
{
	struct bound *bound = &gpu->bound;
	int ret;

	ret = vsvm_vm_destroy(&bound->vm);
	if (!ret)
		ret = vsvm_gem_close(&gpu->dev, bound->handle);
	if (!ret)
		ret = vsvm_gem_close(&gpu->dev, bound->out_handle);
	bound_forget(bound);
	return ret;
}

/* A slot of the VM: what is bound there, and whether it reads as it must */
static int bound_access(struct thread *t, struct gpu *gpu, bool write)
{
	struct bound *bound = &gpu->bound;
	const unsigned int slot = torture_below(t, BOUND_SLOTS);
	const uint64_t va = BOUND_VA + slot * PAGE, value = torture_random(t);
	const int page = bound->slot[slot];
	struct drm_vsvm_error error;
	VSVM_JOB(job, 1);
	int ret;

	if (write)
		vsvm_job_fill(&job, (void *)va, PAGE, value);
	else
		vsvm_job_copy(&job, (void *)BOUND_OUT, (void *)(va + PAGE - 8), 8);
	if (!write)
		bound->out[0] = ~value;
	ret = vsvm_run_sync(&bound->vm, 0, &job);
	if (ret == -EIO && page < 0) {
		ret = vsvm_error_take(&bound->vm, &error);
		return ret ? ret : error.error == EFAULT ? 0 : -(int)error.error;
	}
	if (ret == -EIO) {
		ret = vsvm_error_take(&bound->vm, &error);
		return ret ? ret : -(int)error.error;
	}
	if (ret)
		return ret;
	if (page < 0) {
		torture_fail(t, "GPU %u finds something where nothing is bound", gpu->nr);
		return 0;
	}
	if (write)
		bound->value[page] = value;
	else if (bound->out[0] != bound->value[page])
		torture_fail(t, "GPU %u reads 0x%llx from page %d of an object, not 0x%llx",
			     gpu->nr, (unsigned long long)bound->out[0], page,
			     (unsigned long long)bound->value[page]);
	return 0;
}

static int bound_bind(struct thread *t, struct gpu *gpu, bool map)
{
	struct bound *bound = &gpu->bound;
	const unsigned int slot = torture_below(t, BOUND_SLOTS);
	const unsigned int page = torture_below(t, BOUND_PAGES);
	unsigned int n = 1 + torture_below(t, 8);
	VSVM_BIND(bind, 1);
	int ret;

	n = n > BOUND_SLOTS - slot ? BOUND_SLOTS - slot : n;
	n = n > BOUND_PAGES - page ? BOUND_PAGES - page : n;
	if (map)
		vsvm_bind_map(&bind, BOUND_VA + slot * PAGE, n * PAGE, bound->handle, page * PAGE);
	else
		vsvm_bind_unmap(&bind, BOUND_VA + slot * PAGE, n * PAGE);
	ret = vsvm_vm_bind_wait(&bound->vm, &bind);
	for (unsigned int i = 0; !ret && i < n; i++)
		bound->slot[slot + i] = map ? (int)(page + i) : -1;
	return ret;
}

/* The CPU's view, which brings the object to system memory */
static int bound_cpu(struct thread *t, struct gpu *gpu)
{
	struct bound *bound = &gpu->bound;
	const unsigned int page = torture_below(t, BOUND_PAGES);
	volatile uint64_t *word = bound->cpu + page * PAGE / 8;

	if (word[0] != bound->value[page] || word[PAGE / 8 - 1] != bound->value[page])
		torture_fail(t, "CPU reads 0x%llx from page %u of an object of GPU %u, not 0x%llx",
			     (unsigned long long)word[0], page, gpu->nr,
			     (unsigned long long)bound->value[page]);
	if (torture_below(t, 2)) {
		bound->value[page]++;
		for (unsigned int i = 0; i < PAGE / 8; i++)
			word[i] = bound->value[page];
	}
	return 0;
}

static int op_bind(struct thread *t, const struct op *op)
{
	const unsigned int dice = torture_below(t, 16);
	struct gpu *gpu = gpu_pick(t);
	int ret = 0;

	(void)op;
	op_note(t, NULL, gpu);
	gpu_begin(gpu);
	pthread_mutex_lock(&gpu->bound.lock);
	if (atomic_get(&gpu->presence) != GPU_THERE)
		ret = -ENODEV;
	else if (!gpu->bound.vm.id)
		ret = bound_create(t, gpu);
	else if (dice == 0)
		ret = bound_destroy(gpu);
	else if (dice < 6)
		ret = bound_bind(t, gpu, true);
	else if (dice < 8)
		ret = bound_bind(t, gpu, false);
	else if (dice < 14)
		ret = bound_access(t, gpu, dice % 2);
	else
		ret = bound_cpu(t, gpu);
	/* Of a device that goes, any step may be the one that fails. */
	if (ret && atomic_get(&gpu->presence) != GPU_THERE)
		ret = -ENODEV;
	if (ret)
		bound_forget(&gpu->bound);
	pthread_mutex_unlock(&gpu->bound.lock);
	gpu_end(gpu);
	return op_gone(t, gpu, ret, "objects and binds");
}

/* -------------------------------------------------------------------- knobs */

/* How long a flush takes, and with that how wide the windows of races are */
static int op_latency(struct thread *t, const struct op *op)
{
	static const unsigned int latency_us[] = { 0, 20, 20, 100, 500, 2000 };
	struct gpu *gpu = gpu_pick(t);
	int ret = 0;

	(void)op;
	op_note(t, NULL, gpu);
	gpu_begin(gpu);
	if (atomic_get(&gpu->presence) == GPU_THERE)
		ret = vsvm_debugfs_set(&gpu->dev, "flush_latency_us",
				       latency_us[torture_below(t, 6)]);
	gpu_end(gpu);
	if (ret == -ENOENT || ret == -EIO)
		ret = -ENODEV;
	return op_gone(t, gpu, ret, "flush latency");
}

/* Moves fail, which must not make a difference to anybody. */
static int op_inject(struct thread *t, const struct op *op)
{
	const char *name = torture_below(t, 2) ? "fail_alloc" : "fail_split";
	struct gpu *gpu = gpu_pick(t);
	int ret = 0;

	(void)op;
	op_note(t, NULL, gpu);
	gpu_begin(gpu);
	if (atomic_get(&gpu->presence) == GPU_THERE)
		ret = vsvm_debugfs_set(&gpu->dev, name, 1 + torture_below(t, 4));
	gpu_end(gpu);
	if (ret == -ENOENT || ret == -EIO)
		ret = -ENODEV;
	return op_gone(t, gpu, ret, name);
}

static int op_walker(struct thread *t, const struct op *op)
{
	(void)op;
	op_note(t, NULL, NULL);
	walker_run(t->tt, t);
	return OP_DONE;
}

const struct op ops_device[] = {
	{ "prefetch", op_prefetch, 40, 12, 0, 0 },
	{ "attribute", op_attr, 40, 12, 0, 0 },
	{ "attribute_deny", op_attr_deny, 10, 3, 0, 0 },
	{ "attribute_reset", op_attr_reset, 10, 3, 0, 0 },
	{ "bind", op_bind, 60, 30, 0, 0 },
	{ "evict", op_evict, 10, 3, 0, 0 },
	{ "vm_recreate", op_vm_recreate, 5, 2, 0, 0 },
	{ "unplug", op_unplug, 2, 1, 0, 0 },
	{ "latency", op_latency, 5, 2, 0, 0 },
	{ "inject", op_inject, 10, 3, 0, 0 },
	{ "walker", op_walker, 10, 3, 0, 0 },
};

const unsigned int num_ops_device = sizeof(ops_device) / sizeof(ops_device[0]);
