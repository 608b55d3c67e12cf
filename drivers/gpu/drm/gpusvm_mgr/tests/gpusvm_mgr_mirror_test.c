// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Tests of mirror maps, against flat arrays of cells. Pure, also for UML.
 */

#include <kunit/test.h>

#include <linux/prandom.h>
#include <linux/sizes.h>

#include "../gpusvm_mgr_mirror.h"

#define CELL		PAGE_SIZE
#define GPU_CELLS	192
#define CPU_CELLS	64

/* What one cell of the device's addresses shows; cpu < 0: nothing. */
struct cell {
	int cpu;
	unsigned int span;
};

/**
 * struct mirror_test - What each test has
 * @mirror: The map under test.
 * @gpu: Where the device's cells begin.
 * @cpu: Where those of the process begin.
 * @cell: The oracle.
 * @next_span: Spans get a number each.
 * @rnd: For random operations.
 */
struct mirror_test {
	struct gpusvm_mgr_mirror mirror;
	unsigned long gpu;
	unsigned long cpu;
	struct cell cell[GPU_CELLS];
	unsigned int next_span;
	struct rnd_state rnd;
};

static unsigned long gpu_of(const struct mirror_test *t, unsigned int cell)
{
	return t->gpu + cell * CELL;
}

static unsigned long cpu_of(const struct mirror_test *t, unsigned int cell)
{
	return t->cpu + cell * CELL;
}

/* The last address of the cells before @end; the world may end at ULONG_MAX. */
static unsigned long gpu_last(const struct mirror_test *t, unsigned int end)
{
	return gpu_of(t, end - 1) + CELL - 1;
}

static unsigned long cpu_last(const struct mirror_test *t, unsigned int end)
{
	return cpu_of(t, end - 1) + CELL - 1;
}

/* The span that begins at a cell of the oracle: where does it end? */
static unsigned int span_end(const struct mirror_test *t, unsigned int first)
{
	unsigned int end = first + 1;

	while (end < GPU_CELLS && t->cell[end].cpu >= 0 &&
	       t->cell[end].span == t->cell[first].span)
		end++;
	return end;
}

static bool span_begins(const struct mirror_test *t, unsigned int cell)
{
	return t->cell[cell].cpu >= 0 &&
	       (!cell || t->cell[cell - 1].cpu < 0 ||
		t->cell[cell - 1].span != t->cell[cell].span);
}

static unsigned int spare_count(const struct gpusvm_mgr_mirror_spares *spares)
{
	return list_count_nodes((struct list_head *)&spares->spans);
}

/* Adds to map and oracle. */
static int add(struct kunit *test, unsigned int gpu, unsigned int count, unsigned int cpu)
{
	struct gpusvm_mgr_mirror_spares spares;
	struct mirror_test *t = test->priv;
	bool taken = false;
	unsigned int i;
	int err;

	for (i = gpu; i < gpu + count; i++)
		taken |= t->cell[i].cpu >= 0;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_mirror_spares_init(&spares, 1));
	err = gpusvm_mgr_mirror_add(&t->mirror, gpu_of(t, gpu), count * CELL,
				    cpu_of(t, cpu), false, &spares);
	KUNIT_EXPECT_EQ(test, err, taken ? -EEXIST : 0);
	/* One that is not added needs none. */
	KUNIT_EXPECT_EQ(test, spare_count(&spares), taken);
	gpusvm_mgr_mirror_spares_fini(&spares);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_mirror_validate(&t->mirror), 0);
	if (err)
		return err;

	t->next_span++;
	for (i = 0; i < count; i++)
		t->cell[gpu + i] = (struct cell){ .cpu = cpu + i, .span = t->next_span };
	return 0;
}

/* Removes from map and oracle. */
static void take_out(struct kunit *test, unsigned int first, unsigned int end)
{
	struct gpusvm_mgr_mirror_spares spares;
	struct mirror_test *t = test->priv;
	unsigned int before = 0, after = 0, i, right;

	for (i = 0; i < GPU_CELLS; i++)
		before += span_begins(t, i);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_mirror_spares_init(&spares, 1));
	gpusvm_mgr_mirror_remove(&t->mirror, gpu_of(t, first), gpu_last(t, end), &spares);

	/* What is behind a cut is a span of its own. */
	if (end < GPU_CELLS && t->cell[end].cpu >= 0 && !span_begins(t, end)) {
		right = span_end(t, end);
		t->next_span++;
		for (i = end; i < right; i++)
			t->cell[i].span = t->next_span;
	}
	for (i = first; i < end; i++)
		t->cell[i].cpu = -1;

	/* One cut in two takes the spare; those that went have come to it. */
	for (i = 0; i < GPU_CELLS; i++)
		after += span_begins(t, i);
	KUNIT_EXPECT_EQ(test, spare_count(&spares), 1 + before - after);
	gpusvm_mgr_mirror_spares_fini(&spares);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_mirror_validate(&t->mirror), 0);
}

static void compare_translate(struct kunit *test)
{
	struct mirror_test *t = test->priv;
	unsigned int i;

	for (i = 0; i < GPU_CELLS; i++) {
		static const unsigned long inside[] = { 0, 1, CELL / 2, CELL - 1 };
		unsigned long offset = inside[i % ARRAY_SIZE(inside)], cpu = 7;
		bool seen = gpusvm_mgr_mirror_translate(&t->mirror, gpu_of(t, i) + offset, &cpu);

		KUNIT_EXPECT_EQ(test, seen, t->cell[i].cpu >= 0);
		KUNIT_EXPECT_EQ(test, cpu, seen ? cpu_of(t, t->cell[i].cpu) + offset : 7);
	}
}

/* Steps through what overlaps cells of the device. */
static void compare_gpu(struct kunit *test, unsigned int first, unsigned int end)
{
	struct gpusvm_mgr_mirror_span *span = NULL;
	struct mirror_test *t = test->priv;
	unsigned int i, next;

	for (i = 0; i < end; i = next) {
		if (t->cell[i].cpu < 0) {
			next = i + 1;
			continue;
		}
		next = span_end(t, i);
		if (next <= first)
			continue;
		span = gpusvm_mgr_mirror_next_gpu(&t->mirror, span, gpu_of(t, first),
						  gpu_last(t, end));
		if (!span) {
			KUNIT_FAIL(test, "cells %u to %u not found", i, next);
			return;
		}
		KUNIT_EXPECT_EQ(test, span->gpu.start, gpu_of(t, i));
		KUNIT_EXPECT_EQ(test, span->gpu.last, gpu_last(t, next));
		KUNIT_EXPECT_EQ(test, span->cpu.start, cpu_of(t, t->cell[i].cpu));
		KUNIT_EXPECT_EQ(test, span->cpu.last,
				cpu_of(t, t->cell[next - 1].cpu) + CELL - 1);
	}
	/* No further one. */
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_mirror_next_gpu(&t->mirror, span, gpu_of(t, first),
							   gpu_last(t, end)));
}

/* Steps through what shows cells of the process: all, each once, in order. */
static void compare_cpu(struct kunit *test, unsigned int first, unsigned int end)
{
	struct gpusvm_mgr_mirror_span *span = NULL;
	struct mirror_test *t = test->priv;
	bool seen[GPU_CELLS] = {};
	unsigned long previous = 0;
	unsigned int i;

	while ((span = gpusvm_mgr_mirror_next_cpu(&t->mirror, span, cpu_of(t, first),
						  cpu_last(t, end)))) {
		i = (span->gpu.start - t->gpu) / CELL;
		KUNIT_EXPECT_GE(test, span->cpu.start, previous);
		previous = span->cpu.start;
		if (i >= GPU_CELLS || !span_begins(t, i) || seen[i]) {
			KUNIT_FAIL(test, "a span at 0x%lx", span->gpu.start);
			return;
		}
		seen[i] = true;
	}
	for (i = 0; i < GPU_CELLS; i++) {
		unsigned int last;

		if (!span_begins(t, i))
			continue;
		last = t->cell[span_end(t, i) - 1].cpu;
		KUNIT_EXPECT_EQ_MSG(test, seen[i],
				    t->cell[i].cpu < end && last >= first, "cell %u", i);
	}
}

static void compare(struct kunit *test)
{
	compare_translate(test);
	compare_gpu(test, 0, GPU_CELLS);
	compare_cpu(test, 0, CPU_CELLS);
}

static void test_empty(struct kunit *test)
{
	struct mirror_test *t = test->priv;

	compare(test);
	/* Where nothing is seen nothing happens. */
	take_out(test, 0, GPU_CELLS);
	compare(test);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_mirror_next_gpu(&t->mirror, NULL, 0, ULONG_MAX));
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_mirror_next_cpu(&t->mirror, NULL, 0, ULONG_MAX));
}

static void test_cuts(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, add(test, 10, 30, 5), 0);
	compare(test);

	/* In two, at the left, at the right, and whole. */
	take_out(test, 20, 25);
	compare(test);
	take_out(test, 5, 12);
	compare(test);
	take_out(test, 18, 22);
	compare(test);
	take_out(test, 36, 100);
	compare(test);
	/* Over the hole between both: each loses a part. */
	take_out(test, 15, 30);
	compare(test);
	take_out(test, 0, GPU_CELLS);
	compare(test);
}

static void test_refused(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, add(test, 10, 10, 0), 0);
	KUNIT_EXPECT_EQ(test, add(test, 0, 11, 20), -EEXIST);
	KUNIT_EXPECT_EQ(test, add(test, 19, 3, 20), -EEXIST);
	KUNIT_EXPECT_EQ(test, add(test, 12, 2, 20), -EEXIST);
	KUNIT_EXPECT_EQ(test, add(test, 5, 20, 20), -EEXIST);
	compare(test);
	/* Right beside it there is room. */
	KUNIT_EXPECT_EQ(test, add(test, 0, 10, 20), 0);
	KUNIT_EXPECT_EQ(test, add(test, 20, 5, 20), 0);
	compare(test);
}

/* One place of the process, many of the device. */
static void test_overlap(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, add(test, i * 10, 8, 20 + i % 3), 0);
	compare(test);
	for (i = 15; i < 35; i++)
		compare_cpu(test, i, i + 1);
	/* The other ones stay. */
	take_out(test, 22, 24);
	compare(test);
	take_out(test, 30, 38);
	compare(test);
}

struct random_case {
	const char *name;
	/* At the end of what there is? */
	bool gpu_top, cpu_top;
	unsigned int longest;
};

static const struct random_case random_cases[] = {
	{ "at the bottom", false, false, CPU_CELLS },
	{ "device at the top", true, false, CPU_CELLS / 2 },
	{ "process at the top", false, true, CPU_CELLS / 4 },
	{ "short, at the top", true, true, 6 },
};

KUNIT_ARRAY_PARAM_DESC(random, random_cases, name);

static unsigned int random(struct mirror_test *t, unsigned int below)
{
	return prandom_u32_state(&t->rnd) % below;
}

static void test_random(struct kunit *test)
{
	const struct random_case *c = test->param_value;
	struct mirror_test *t = test->priv;
	unsigned int i, added = 0, refused = 0, first, count;

	if (c->gpu_top)
		t->gpu = ULONG_MAX - GPU_CELLS * CELL + 1;
	if (c->cpu_top)
		t->cpu = ULONG_MAX - CPU_CELLS * CELL + 1;

	for (i = 0; i < 3000; i++) {
		if (random(t, 3)) {
			count = 1 + random(t, c->longest);
			if (add(test, random(t, GPU_CELLS - count + 1), count,
				random(t, CPU_CELLS - count + 1)))
				refused++;
			else
				added++;
		} else {
			first = random(t, GPU_CELLS);
			take_out(test, first,
				 first + 1 + random(t, min(c->longest, GPU_CELLS - first)));
		}

		first = random(t, GPU_CELLS);
		compare_gpu(test, first, first + 1 + random(t, GPU_CELLS - first));
		first = random(t, CPU_CELLS);
		compare_cpu(test, first, first + 1 + random(t, CPU_CELLS - first));
		if (i % 16 == 0) {
			compare(test);
			cond_resched();
		}
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "operation %u", i);
			return;
		}
	}
	KUNIT_EXPECT_GT(test, added, 100);
	KUNIT_EXPECT_GT(test, refused, 100);
}

/* The walker sees what is wrong. */
static void test_walker(struct kunit *test)
{
	struct mirror_test *t = test->priv;
	struct gpusvm_mgr_mirror_span *span;

	KUNIT_EXPECT_EQ(test, add(test, 10, 10, 0), 0);
	KUNIT_EXPECT_EQ(test, add(test, 20, 10, 0), 0);
	span = gpusvm_mgr_mirror_next_gpu(&t->mirror, NULL, 0, ULONG_MAX);
	KUNIT_ASSERT_NOT_NULL(test, span);

	/* Longer than what it shows, and over the other one. */
	span->gpu.last += CELL;
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_mirror_validate(&t->mirror), -EUCLEAN);
	span->cpu.last += CELL;
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_mirror_validate(&t->mirror), -EUCLEAN);
	span->gpu.last -= CELL;
	span->cpu.last -= CELL;
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_mirror_validate(&t->mirror), 0);

	/* In one tree only. */
	interval_tree_remove(&span->cpu, &t->mirror.cpu);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_mirror_validate(&t->mirror), -EUCLEAN);
	interval_tree_insert(&span->cpu, &t->mirror.cpu);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_mirror_validate(&t->mirror), 0);
}

static int mirror_test_init(struct kunit *test)
{
	struct mirror_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned int i;

	if (!t)
		return -ENOMEM;
	for (i = 0; i < GPU_CELLS; i++)
		t->cell[i].cpu = -1;
	prandom_seed_state(&t->rnd, 1994);
	gpusvm_mgr_mirror_init(&t->mirror);
	test->priv = t;
	return 0;
}

static void mirror_test_exit(struct kunit *test)
{
	struct mirror_test *t = test->priv;

	if (t)
		gpusvm_mgr_mirror_fini(&t->mirror);
}

static struct kunit_case mirror_cases[] = {
	KUNIT_CASE(test_empty),
	KUNIT_CASE(test_cuts),
	KUNIT_CASE(test_refused),
	KUNIT_CASE(test_overlap),
	KUNIT_CASE_PARAM_ATTR(test_random, random_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE(test_walker),
	{}
};

static struct kunit_suite mirror_suite = {
	.name = "drm_gpusvm_mgr_mirror",
	.init = mirror_test_init,
	.exit = mirror_test_exit,
	.test_cases = mirror_cases,
};

kunit_test_suite(mirror_suite);
