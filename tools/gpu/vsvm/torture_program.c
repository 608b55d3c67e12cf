// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: programs, of accesses to pages here and there
 *
 * The other operations work on pages that are beside each other, and mostly in one
 * range. A program has up to %STEPS accesses, each of its own kind, to pages anywhere
 * in the arena, in any order: what one job brings up is many faults in many ranges, of
 * memory of all kinds. Each access is an operation and is counted as one.
 */

#include <stdlib.h>

#include "torture.h"

#define STEPS	64U
#define TIMES	4U

enum access {
	ACCESS_READ,
	ACCESS_WRITE,
	ACCESS_ATOMIC,
};

/** struct step - An access to one page; a program has no two to the same page */
struct step {
	struct span span;
	enum access access;
	struct cell renewed;
};

/** struct program - Steps, by page, and the order in which they are performed */
struct program {
	struct step steps[STEPS];
	unsigned int order[STEPS];
	unsigned int n;
};

static int step_cmp(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	return x->span.first < y->span.first ? -1 : x->span.first > y->span.first;
}

static void program_pick(struct thread *t, const struct op *op, struct program *p)
{
	const unsigned int tries = 1 + torture_below(t, STEPS);
	unsigned int i, other;

	for (i = 0; i < tries; i++) {
		const unsigned int dice = torture_below(t, 8);

		p->steps[i].span = span_pick(t, op->kinds, 1);
		p->steps[i].access = dice < 4 ? ACCESS_READ :
				     dice < 7 ? ACCESS_WRITE : ACCESS_ATOMIC;
	}
	qsort(p->steps, tries, sizeof(p->steps[0]), step_cmp);
	for (i = 0, p->n = 0; i < tries; i++)
		if (!p->n || p->steps[p->n - 1].span.first != p->steps[i].span.first)
			p->steps[p->n++] = p->steps[i];

	for (i = 0; i < p->n; i++) {
		other = torture_below(t, i + 1);
		p->order[i] = p->order[other];
		p->order[other] = i;
	}
	t->steps = p->n;
}

static enum lock_mode step_lock(const struct step *step)
{
	return step->access == ACCESS_READ ? LOCK_SHARED : LOCK_EXCLUSIVE;
}

static void program_lock(struct thread *t, const struct program *p)
{
	for (unsigned int i = 0; i < p->n; i++)
		span_lock(t, &p->steps[i].span, LOCK_SHARED, step_lock(&p->steps[i]));
}

static void program_unlock(struct thread *t, const struct program *p)
{
	for (unsigned int i = 0; i < p->n; i++)
		span_unlock(t, &p->steps[i].span, LOCK_SHARED, step_lock(&p->steps[i]));
}

static uint64_t *step_word(const struct step *step)
{
	return (uint64_t *)(span_addr(&step->span) + COUNT_OFFSET);
}

static struct cell *step_cell(struct thread *t, const struct step *step)
{
	return &t->tt->cells[step->span.first];
}

static void step_cpu(struct thread *t, const struct step *step)
{
	const unsigned int page = step->span.first;
	struct cell *cell = step_cell(t, step);
	uint64_t old;

	if (step->access == ACCESS_READ) {
		span_check_cpu(t, &step->span, span_addr(&step->span), "CPU");
		return;
	}
	if (!cell_resolve(t, page))
		return;
	if (step->access == ACCESS_WRITE) {
		cell_renew(t, page, cell);
		cell_write_cpu(t, page, span_addr(&step->span));
		return;
	}
	old = __atomic_fetch_add(step_word(step), TIMES, __ATOMIC_RELAXED);
	if (old != cell->count)
		torture_fail(t, "CPU counts from %llu in page %u, must be %llu",
			     (unsigned long long)old, page, (unsigned long long)cell->count);
	cell_counted(t, page, old + TIMES);
}

static int op_cpu_program(struct thread *t, const struct op *op)
{
	struct program p;

	program_pick(t, op, &p);
	op_note(t, &p.steps[0].span, NULL);
	program_lock(t, &p);
	for (unsigned int i = 0; i < p.n && !atomic_get(&t->tt->failed); i++)
		step_cpu(t, &p.steps[p.order[i]]);
	program_unlock(t, &p);
	return OP_DONE;
}

/* The instructions of a step; all of them where the whole program is but read. */
static void step_job(struct thread *t, struct vsvm_job *job, const struct step *step,
		     unsigned int slot, bool read)
{
	char *at = span_addr(&step->span);

	if (read || step->access == ACCESS_READ)
		job_read_page(t, job, slot, at);
	else if (step->access == ACCESS_WRITE)
		job_write_page(t, job, slot, step->span.first, &step->renewed, at);
	else
		vsvm_job_atomic_add(job, step_word(step), 1, TIMES);
}

static int program_run(struct thread *t, struct gpu *gpu, const struct program *p, bool read,
		       const char *what)
{
	struct vsvm_job job;

	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	for (unsigned int i = 0; i < p->n; i++)
		step_job(t, &job, &p->steps[p->order[i]], p->order[i], read);
	return op_gone(t, gpu, job_run(t, gpu, &job, NULL), what);
}

/* It has done all that it was to do. */
static void step_done(struct thread *t, const struct program *p, unsigned int slot)
{
	const struct step *step = &p->steps[slot];
	const unsigned int page = step->span.first;

	if (step->access == ACCESS_READ)
		seen_check(t, slot, page, "GPU");
	else if (step->access == ACCESS_WRITE)
		cell_written(t, page, &step->renewed);
	else
		cell_counted(t, page, step_cell(t, step)->count + TIMES);
}

/* It ended before its time: some of it was done, and nothing else. */
static void step_lost(struct thread *t, const struct step *step)
{
	const uint64_t old = step_cell(t, step)->count;

	if (step->access == ACCESS_WRITE) {
		span_mend(t, &step->span, &step->renewed, "after a lost program, CPU");
	} else if (step->access == ACCESS_ATOMIC) {
		const uint64_t now = __atomic_load_n(step_word(step), __ATOMIC_SEQ_CST);

		if (now < old || now > old + TIMES)
			torture_fail(t, "lost program: page %u counts %llu, must be %llu to %llu",
				     step->span.first, (unsigned long long)now,
				     (unsigned long long)old, (unsigned long long)old + TIMES);
		cell_counted(t, step->span.first, now);
	}
}

/* Afterwards the CPU, another GPU, or for the time being nobody looks at all of it. */
static void program_look(struct thread *t, struct gpu *other, const struct program *p,
			 unsigned int dice)
{
	if (dice == 0) {
		for (unsigned int i = 0; i < p->n && !atomic_get(&t->tt->failed); i++)
			span_check_cpu(t, &p->steps[i].span, span_addr(&p->steps[i].span),
				       "after a GPU's program, CPU");
	} else if (dice == 1 && program_run(t, other, p, true, "program") == OP_DONE) {
		for (unsigned int i = 0; i < p->n && !atomic_get(&t->tt->failed); i++)
			seen_check(t, i, p->steps[i].span.first, "after a GPU's program, GPU");
	}
}

static int op_gpu_program(struct thread *t, const struct op *op)
{
	struct gpu *gpu = gpu_pick(t), *other = gpu_pick(t);
	const unsigned int dice = torture_below(t, 4);
	struct program p;
	int ret = OP_LOST;

	program_pick(t, op, &p);
	op_note(t, &p.steps[0].span, gpu);
	program_lock(t, &p);
	for (unsigned int i = 0; i < p.n; i++) {
		struct step *step = &p.steps[i];

		if (step->access == ACCESS_ATOMIC && !cell_resolve(t, step->span.first))
			goto out;
		if (step->access == ACCESS_WRITE)
			cell_renew(t, step->span.first, &step->renewed);
	}
	ret = program_run(t, gpu, &p, false, "program");
	for (unsigned int i = 0; i < p.n && !atomic_get(&t->tt->failed); i++) {
		if (ret == OP_DONE)
			step_done(t, &p, i);
		else
			step_lost(t, &p.steps[i]);
	}
	if (ret == OP_DONE && !atomic_get(&t->tt->failed))
		program_look(t, other, &p, dice);
out:
	program_unlock(t, &p);
	return ret;
}

const struct op ops_program[] = {
	{ "cpu_program", op_cpu_program, 60, 200, 0, 0 },
	{ "gpu_program", op_gpu_program, 160, 600, 0, 0 },
};

const unsigned int num_ops_program = sizeof(ops_program) / sizeof(ops_program[0]);
