// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: operations that read and write, and those that take away what is
 * read and written
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "torture.h"

#define ANONYMOUS	(1U << AREA_ANON | 1U << AREA_HUGE)

/* ---------------------------------------------------------- reading, writing */

static int op_cpu_read(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);

	op_note(t, &span, NULL);
	span_lock(t, &span, LOCK_SHARED, LOCK_SHARED);
	span_check_cpu(t, &span, span_addr(&span), "CPU");
	span_unlock(t, &span, LOCK_SHARED, LOCK_SHARED);
	return OP_DONE;
}

static int op_cpu_write(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);

	op_note(t, &span, NULL);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	for (unsigned int i = span.first; i < span.first + span.n; i++) {
		if (!cell_resolve(t, i))
			break;
		cell_renew(t, i, &t->tt->cells[i]);
		cell_write_cpu(t, i, page_addr(t->tt, i));
	}
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return OP_DONE;
}

static int op_gpu_read(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	struct gpu *gpu = gpu_pick(t);
	int ret;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_SHARED);
	ret = span_check_gpu(t, gpu, &span, span_addr(&span), "GPU");
	span_unlock(t, &span, LOCK_SHARED, LOCK_SHARED);
	return ret;
}

/*
 * The end of a job that was to write the cells @renewed. The content is locked
 * exclusively.
 */
static int write_end(struct thread *t, struct gpu *gpu, const struct span *span,
		     const struct cell *renewed, int ret)
{
	ret = op_gone(t, gpu, ret, "write");
	if (ret != OP_DONE) {
		span_mend(t, span, renewed, "after a lost write, CPU");
		return ret;
	}
	for (unsigned int i = 0; i < span->n; i++)
		cell_written(t, span->first + i, &renewed[i]);
	return OP_DONE;
}

/* Afterwards the CPU, another GPU, or for the time being nobody looks at it. */
static int op_gpu_write(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	struct gpu *gpu = gpu_pick(t), *other = gpu_pick(t);
	const unsigned int dice = torture_below(t, 4);
	struct cell renewed[MAX_SPAN];
	struct vsvm_job job;
	int ret;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	for (unsigned int i = 0; i < span.n; i++)
		cell_renew(t, span.first + i, &renewed[i]);
	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	job_write(t, &job, &span, renewed, span_addr(&span));
	ret = write_end(t, gpu, &span, renewed, job_run(t, gpu, &job, NULL));
	if (ret == OP_DONE && dice == 0)
		span_check_cpu(t, &span, span_addr(&span), "after a GPU's write, CPU");
	else if (ret == OP_DONE && dice == 1)
		span_check_gpu(t, other, &span, span_addr(&span), "after a GPU's write, GPU");
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return ret;
}

/* Whole pages, with zeros */
static int op_gpu_fill(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	struct gpu *gpu = gpu_pick(t);
	struct torture *tt = t->tt;
	VSVM_JOB(job, 1);
	int ret;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	vsvm_job_fill(&job, span_addr(&span), span_size(&span), 0);
	ret = op_gone(t, gpu, job_run(t, gpu, &job, NULL), "fill");
	for (unsigned int i = span.first; i < span.first + span.n; i++) {
		struct cell *cell = &tt->cells[i];

		/* How far it came in vain is of no interest: each word is written anew. */
		cell->state = CELL_ZERO;
		cell->count = 0;
		cell->maybe_gone = false;
		cell->maybe_count = false;
		if (ret != OP_DONE)
			cell_write_cpu(t, i, page_addr(tt, i));
	}
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return ret;
}

/* Reads, computes and writes: what is there must be right for the sum to be. */
static int op_gpu_add(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	struct gpu *gpu = gpu_pick(t);
	struct torture *tt = t->tt;
	struct cell renewed[64];
	const uint64_t add = torture_random(t);
	struct vsvm_job job;
	int ret;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	for (unsigned int i = 0; i < span.n; i++) {
		const unsigned int page = span.first + i;
		struct image *head = (void *)page_addr(tt, page);
		struct image *tail = (void *)(page_addr(tt, page) + TAIL_OFFSET);

		/* Where that fails, so has the whole run. */
		cell_resolve(t, page);
		/* Only those have a value of their own. */
		if (tt->cells[page].state != CELL_SET) {
			cell_renew(t, page, &tt->cells[page]);
			cell_write_cpu(t, page, page_addr(tt, page));
		}
		renewed[i] = tt->cells[page];
		renewed[i].value += add;
		vsvm_job_add(&job, &head->value, sizeof(add), add);
		vsvm_job_add(&job, &head->check, sizeof(add), add);
		vsvm_job_add(&job, &tail->value, sizeof(add), add);
		vsvm_job_add(&job, &tail->check, sizeof(add), add);
	}
	ret = write_end(t, gpu, &span, renewed, job_run(t, gpu, &job, NULL));
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return ret;
}

/* ---------------------------------------------------------------- atomics */

#define ATOMIC_TIMES	16U

/* All that there are count at the same time, and none of it is lost. */
static int op_atomic(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 1);
	const bool gpus = op->arg;
	struct torture *tt = t->tt;
	struct cell *cell = &tt->cells[span.first];
	uint64_t *word = (uint64_t *)(span_addr(&span) + COUNT_OFFSET);
	uint64_t least, most, now;
	bool running[MAX_GPUS] = {};
	int worst = OP_DONE;
	VSVM_JOB(job, 1);

	op_note(t, &span, gpus ? &tt->gpus[0] : NULL);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	if (!cell_resolve(t, span.first))
		goto out;
	least = cell->count;
	most = least;
	vsvm_job_atomic_add(&job, word, 1, ATOMIC_TIMES);
	for (unsigned int i = 0; gpus && i < tt->num_gpus; i++)
		gpu_begin(&tt->gpus[i]);
	for (unsigned int i = 0; gpus && i < tt->num_gpus; i++) {
		int ret = job_start(t, &tt->gpus[i], &job);

		if (!ret) {
			running[i] = true;
			continue;
		}
		ret = op_gone(t, &tt->gpus[i], ret, "atomic");
		worst = ret > worst ? ret : worst;
	}
	for (unsigned int i = 0; i < ATOMIC_TIMES; i++)
		__atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
	least += ATOMIC_TIMES;
	most += ATOMIC_TIMES;
	for (unsigned int i = 0; gpus && i < tt->num_gpus; i++) {
		int ret;

		if (running[i]) {
			ret = op_gone(t, &tt->gpus[i], job_finish(t, &tt->gpus[i], NULL), "atomic");
			worst = ret > worst ? ret : worst;
			most += ATOMIC_TIMES;
			least += ret == OP_DONE ? ATOMIC_TIMES : 0;
		}
		gpu_end(&tt->gpus[i]);
	}
	now = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	if (now < least || now > most)
		torture_fail(t, "atomic: page %u has count %llu, must have %llu to %llu",
			     span.first, (unsigned long long)now, (unsigned long long)least,
			     (unsigned long long)most);
	cell_counted(t, span.first, now);
out:
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return worst;
}

/* ------------------------------------------------------------------- races */

enum race {
	RACE_DONTNEED,
	RACE_REMAP,
	RACE_PROTECT,
	RACE_UNMAP,
	RACE_KINDS,
};

/*
 * Memory is taken away while a GPU writes to it. What came first is not known, but
 * there are not many possibilities; and after the call nothing of it may come any more.
 */
static int op_race(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	const enum race race = torture_below(t, RACE_KINDS);
	struct gpu *gpu = gpu_pick(t);
	struct cell renewed[64];
	struct torture *tt = t->tt;
	bool started = false;
	struct vsvm_job job;
	int ret, err = 0;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	for (unsigned int i = 0; i < span.n; i++) {
		cell_resolve(t, span.first + i);
		cell_renew(t, span.first + i, &renewed[i]);
	}
	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	job_write(t, &job, &span, renewed, span_addr(&span));
	gpu_begin(gpu);
	ret = job_start(t, gpu, &job);
	started = !ret;
	/* From before its first access to after its last one */
	for (unsigned int i = torture_below(t, 20); i; i--)
		usleep(50);
	switch (race) {
	case RACE_DONTNEED:
		err = madvise(span_addr(&span), span_size(&span), MADV_DONTNEED) ? -errno : 0;
		break;
	case RACE_REMAP:
		err = arena_map(&span);
		break;
	case RACE_PROTECT:
		err = mprotect(span_addr(&span), span_size(&span), PROT_READ) ? -errno : 0;
		break;
	default:
		err = munmap(span_addr(&span), span_size(&span)) ? -errno : 0;
		break;
	}
	if (err)
		torture_fail(t, "race %u: %s", race, strerror(-err));
	if (started)
		ret = job_finish(t, gpu, NULL);
	gpu_end(gpu);
	switch (race) {
	case RACE_PROTECT:
		if (mprotect(span_addr(&span), span_size(&span), PROT_READ | PROT_WRITE))
			torture_fail(t, "mprotect: %s", strerror(errno));
		break;
	case RACE_UNMAP:
		err = arena_map(&span);
		if (err)
			torture_fail(t, "mmap: %s", strerror(-err));
		break;
	default:
		break;
	}
	/* Too late is no failure. */
	if ((race == RACE_UNMAP && ret == -EFAULT) || (race == RACE_PROTECT && ret == -EPERM))
		ret = 0;
	ret = op_gone(t, gpu, ret, "race");
	/* The old is gone in any case. */
	for (unsigned int i = 0; race != RACE_PROTECT && i < span.n; i++)
		cell_reset(tt, span.first + i);
	span_mend(t, &span, renewed, "after a race, CPU");
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

/* A VM goes while its job runs. */
static int op_cancel(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	struct gpu *gpu = gpu_pick(t);
	struct cell renewed[64];
	struct vsvm_job job;
	struct vsvm_vm vm;
	uint32_t flags;
	int ret, done;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	for (unsigned int i = 0; i < span.n; i++) {
		cell_resolve(t, span.first + i);
		cell_renew(t, span.first + i, &renewed[i]);
	}
	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	job_write(t, &job, &span, renewed, span_addr(&span));
	gpu_begin(gpu);
	flags = DRM_VSVM_VM_MIRROR;
	if (gpu->dev.info.vram_size && torture_below(t, 2))
		flags |= DRM_VSVM_VM_MIGRATE;
	ret = vsvm_vm_create(&gpu->dev, flags, &vm);
	if (ret)
		goto out;
	/* Queue 0 and a fence of its own: nobody else knows this VM. */
	ret = vsvm_exec(&vm, 0, &job, &t->lane->fence[gpu->nr], t->value[gpu->nr] + 1, NULL);
	if (!ret)
		t->value[gpu->nr]++;
	for (unsigned int i = torture_below(t, 20); i; i--)
		usleep(50);
	done = vsvm_vm_destroy(&vm);
	if (!ret)
		ret = done;
out:
	gpu_end(gpu);
	ret = op_gone(t, gpu, ret, "VM with a job");
	span_mend(t, &span, renewed, "after a VM went, CPU");
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return ret;
}

const struct op ops_data[] = {
	{ "cpu_read", op_cpu_read, 60, 20, 0, 0 },
	{ "cpu_write", op_cpu_write, 60, 20, 0, 0 },
	{ "gpu_read", op_gpu_read, 220, 60, 0, 0 },
	{ "gpu_write", op_gpu_write, 160, 50, 0, 0 },
	{ "gpu_fill", op_gpu_fill, 20, 6, 0, 0 },
	{ "gpu_add", op_gpu_add, 60, 20, 0, 0 },
	{ "cpu_atomic", op_atomic, 20, 6, 0, 0 },
	{ "all_atomic", op_atomic, 40, 12, 1, 0 },
	{ "race", op_race, 30, 8, 0, ANONYMOUS | 1U << AREA_FILE },
	{ "cancel", op_cancel, 6, 2, 0, 0 },
};

const unsigned int num_ops_data = sizeof(ops_data) / sizeof(ops_data[0]);
