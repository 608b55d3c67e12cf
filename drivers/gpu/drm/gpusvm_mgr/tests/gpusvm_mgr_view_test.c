// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a device sees of its process, and where: mirrored spans, with offsets and
 * more than once, and spans taken out. On mock devices over real memory; the walker
 * runs after each step.
 */

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sizes.h>

#include "gpusvm_mgr_fail.h"
#include "gpusvm_mgr_mock.h"

#define RD	DRM_GPUSVM_ACCESS_READ
#define WR	DRM_GPUSVM_ACCESS_WRITE
#define RW	(PROT_READ | PROT_WRITE)

/* A range: 64 KiB. */
#define PAGES	(MOCK_MIDDLE / PAGE_SIZE)
#define SIZE	MOCK_MIDDLE

/* Where the device has other addresses than the process. */
#define ELSEWHERE	(64UL * SZ_1G)

static struct gpusvm_mock *empty_mock(struct gpusvm_mock_env *env, unsigned int flags)
{
	return gpusvm_mock_attach(env, gpusvm_mock_device(env),
				  DRM_GPUSVM_INSTANCE_EMPTY | flags);
}

static int mirror(struct gpusvm_mock *mock, unsigned long gpu, unsigned long size,
		  unsigned long va)
{
	int err = drm_gpusvm_instance_mirror(&mock->base, gpu, size, va);

	gpusvm_mock_validate(mock);
	return err;
}

static int unmirror(struct gpusvm_mock *mock, unsigned long gpu, unsigned long size)
{
	int err = drm_gpusvm_instance_unmirror(&mock->base, gpu, size);

	gpusvm_mock_validate(mock);
	return err;
}

static int fault(struct gpusvm_mock *mock, unsigned long gpu, enum drm_gpusvm_access access)
{
	int err = gpusvm_mock_fault(mock, gpu, access);

	gpusvm_mock_validate(mock);
	return err;
}

/* At an address of the device is the CPU's page of an address of the process. */
static void expect_page(struct gpusvm_mock *mock, unsigned long gpu, unsigned long va)
{
	struct kunit *test = mock->env->test;
	unsigned long pfn = 0;

	KUNIT_EXPECT_TRUE_MSG(test, gpusvm_mock_pte(mock, gpu, &pfn, NULL), "no PTE at 0x%lx",
			      gpu);
	KUNIT_EXPECT_EQ_MSG(test, pfn, page_to_pfn(gpusvm_mock_page(mock->env, va, false)),
			    "at 0x%lx", gpu);
}

static void expect_pages(struct gpusvm_mock *mock, unsigned long gpu, unsigned long size,
			 unsigned long va)
{
	unsigned long offset;

	for (offset = 0; offset < size; offset += PAGE_SIZE)
		expect_page(mock, gpu + offset, va + offset);
}

static void test_offset(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = empty_mock(env, 0);
	unsigned long va = gpusvm_mock_anon(env, 2 * PAGES);
	unsigned long one = ELSEWHERE, two = ELSEWHERE + SZ_1G + 5 * PAGE_SIZE;

	KUNIT_EXPECT_EQ(test, fault(mock, va, RD), -ENOENT);
	KUNIT_ASSERT_EQ(test, mirror(mock, one, 2 * SIZE, va), 0);
	KUNIT_ASSERT_EQ(test, mirror(mock, two, 2 * SIZE, va), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, va, RD), -ENOENT);
	KUNIT_EXPECT_EQ(test, fault(mock, one - 1, RD), -ENOENT);
	KUNIT_EXPECT_EQ(test, fault(mock, two + 2 * SIZE, RD), -ENOENT);

	/* A range is mapped at both places, whichever faults. */
	KUNIT_EXPECT_EQ(test, fault(mock, two + SIZE + 3 * PAGE_SIZE + 7, WR), 0);
	expect_pages(mock, one + SIZE, SIZE, va + SIZE);
	expect_pages(mock, two + SIZE, SIZE, va + SIZE);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, one, one + SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, va, va + 2 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_MAP), 1);

	/* An invalidation takes both away; the probe looks for what is left. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, va + SIZE, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, one, one + 2 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, two, two + 2 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, va, va + 2 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, one + SIZE, RD), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, one, RD), 0);
	expect_pages(mock, two, 2 * SIZE, va);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(va, 2 * SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, va, va + 2 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, one, RD), -EFAULT);
}

/* Parts of ranges, in pieces, and in another order. */
static void test_pieces(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = empty_mock(env, 0);
	unsigned long va = gpusvm_mock_anon(env, 2 * PAGES);
	unsigned int i;

	/* Page by page, the last one first. */
	for (i = 0; i < PAGES; i++)
		KUNIT_ASSERT_EQ(test, mirror(mock, ELSEWHERE + i * PAGE_SIZE, PAGE_SIZE,
					     va + (PAGES - 1 - i) * PAGE_SIZE), 0);
	/* Over the edge of two ranges. */
	KUNIT_ASSERT_EQ(test, mirror(mock, ELSEWHERE + SZ_1G, 6 * PAGE_SIZE,
				     va + SIZE - 3 * PAGE_SIZE), 0);

	KUNIT_EXPECT_EQ(test, fault(mock, ELSEWHERE, WR), 0);
	for (i = 0; i < PAGES; i++)
		expect_page(mock, ELSEWHERE + i * PAGE_SIZE, va + (PAGES - 1 - i) * PAGE_SIZE);
	expect_pages(mock, ELSEWHERE + SZ_1G, 3 * PAGE_SIZE, va + SIZE - 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, ELSEWHERE + SZ_1G + 3 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, ELSEWHERE + SZ_1G + 4 * PAGE_SIZE, RD), 0);
	expect_pages(mock, ELSEWHERE + SZ_1G, 6 * PAGE_SIZE, va + SIZE - 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, ELSEWHERE + SZ_1G + 6 * PAGE_SIZE,
						   ELSEWHERE + 2UL * SZ_1G), 0);
}

/* A part is taken out: it stays empty, the rest faults in again, others see nothing. */
static void test_take_out(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long va = gpusvm_mock_anon(env, PAGES);
	unsigned long hole = va + 4 * PAGE_SIZE, end = va + 8 * PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, fault(mock, va, WR), 0);
	KUNIT_ASSERT_EQ(test, fault(other, va, WR), 0);
	KUNIT_ASSERT_EQ(test, unmirror(mock, hole, end - hole), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, hole, end), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, hole, RD), -ENOENT);
	KUNIT_EXPECT_EQ(test, fault(mock, end - 1, WR), -ENOENT);
	KUNIT_EXPECT_EQ(test, fault(mock, va, WR), 0);
	expect_pages(mock, va, hole - va, va);
	expect_pages(mock, end, va + SIZE - end, end);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, hole, end), 0);

	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, other, GPUSVM_MOCK_ZAP), 0);
	expect_pages(other, va, SIZE, va);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, hole, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, va, va + SIZE), 0);

	/* And seen again. */
	KUNIT_EXPECT_EQ(test, mirror(mock, va, SIZE, va), -EEXIST);
	KUNIT_EXPECT_EQ(test, mirror(mock, hole, end - hole, hole), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, hole, WR), 0);
	expect_pages(mock, va, SIZE, va);

	/* All of it: nothing is left of a range that nobody sees. */
	KUNIT_ASSERT_EQ(test, unmirror(mock, va, SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, va, va + SIZE), 0);
}

/* What is mapped already is seen at a place that is added. */
static void test_add_over_mapped(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long va = gpusvm_mock_anon(env, PAGES);

	KUNIT_ASSERT_EQ(test, fault(mock, va, WR), 0);
	/* Beyond what a process can have: there is nothing to begin with. */
	KUNIT_ASSERT_EQ(test, mirror(mock, 1UL << 52, SIZE / 2, va + SIZE / 2), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, 1UL << 52, WR), 0);
	expect_pages(mock, 1UL << 52, SIZE / 2, va + SIZE / 2);
	expect_pages(mock, va, SIZE, va);
	/* One place goes, the other is there again. */
	KUNIT_ASSERT_EQ(test, unmirror(mock, va, SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, va, va + SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, 1UL << 52, RD), 0);
	expect_pages(mock, 1UL << 52, SIZE / 2, va + SIZE / 2);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, va, va + SIZE), 0);
}

/* Taken out, or added, while a fault stands before its commit. */

struct flight_case {
	const char *name;
	bool add;
	bool broken;
};

static const struct flight_case flight_cases[] = {
	{ "taken out", false, false },
	{ "added", true, false },
	{ "taken out, broken", false, true },
	{ "added, broken", true, true },
};

KUNIT_ARRAY_PARAM_DESC(flight, flight_cases, name);

static void test_in_flight(struct kunit *test)
{
	const struct flight_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long va = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_thread *filler;
	struct gpusvm_mock_gate *gate;

	/* Below what is prepared then, or the filler finds it yet. */
	KUNIT_ASSERT_EQ(test, unmirror(mock, 0, SIZE), 0);
	filler = gpusvm_mock_fault_thread(mock, va, WR);
	/* When page tables are there for what is seen now. */
	gate = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_PREPARE, filler);
	gpusvm_mock_break(env, GPUSVM_MGR_STEP_GENERATION, c->broken);
	gpusvm_mock_start(filler);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));
	if (c->add)
		KUNIT_EXPECT_EQ(test, mirror(mock, 0, SIZE, va), 0);
	else
		KUNIT_EXPECT_EQ(test, unmirror(mock, va, SIZE), 0);
	gpusvm_mock_gate_open(gate);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(filler));

	if (c->add) {
		KUNIT_EXPECT_EQ(test, filler->ret, 0);
		expect_pages(mock, va, SIZE, va);
		expect_pages(mock, 0, SIZE, va);
		/* Written where there was no page table. */
		KUNIT_EXPECT_EQ(test, gpusvm_mock_take(env, GPUSVM_MOCK_WRONG_VIEW) > 0,
				c->broken);
	} else {
		/* The control: a fault that was served and is not there. */
		KUNIT_EXPECT_EQ(test, filler->ret, c->broken ? 0 : -ENOENT);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, va, va + SIZE), 0);
	}
	gpusvm_mock_validate(mock);
}

/* Faults of several places in one batch. */
static void test_batch(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = empty_mock(env, 0);
	unsigned long va = gpusvm_mock_anon(env, 4 * PAGES), i;
	struct drm_gpusvm_fault faults[24];

	KUNIT_ASSERT_EQ(test, mirror(mock, ELSEWHERE, 4 * SIZE, va), 0);
	/* The same, halves exchanged, right behind it. */
	KUNIT_ASSERT_EQ(test, mirror(mock, ELSEWHERE + 4 * SIZE, 2 * SIZE, va + 2 * SIZE), 0);
	KUNIT_ASSERT_EQ(test, mirror(mock, ELSEWHERE + 6 * SIZE, 2 * SIZE, va), 0);

	for (i = 0; i < ARRAY_SIZE(faults); i++)
		faults[i] = (struct drm_gpusvm_fault) {
			.addr = ELSEWHERE + (i * 7 % 12) * SIZE + i * PAGE_SIZE % SIZE,
			.access = i % 2 ? WR : RD,
		};
	KUNIT_EXPECT_EQ(test, drm_gpusvm_mgr_fault_batch(&mock->base, faults, ARRAY_SIZE(faults)),
			-ENOENT);
	gpusvm_mock_validate(mock);
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		unsigned long offset = faults[i].addr - ELSEWHERE;

		KUNIT_EXPECT_EQ(test, faults[i].err, offset < 8 * SIZE ? 0 : -ENOENT);
		if (faults[i].err)
			continue;
		if (offset >= 4 * SIZE)
			offset = (offset - 2 * SIZE) % (4 * SIZE);
		expect_page(mock, faults[i].addr, va + offset);
	}
	/* One range each, at both of its places. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_MAP), 4);
	expect_pages(mock, ELSEWHERE, 4 * SIZE, va);
	expect_pages(mock, ELSEWHERE + 4 * SIZE, 2 * SIZE, va + 2 * SIZE);
	expect_pages(mock, ELSEWHERE + 6 * SIZE, 2 * SIZE, va);
}

/* Who sees nothing of it is not mapped along. */
static void test_eager(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *eager = empty_mock(env, DRM_GPUSVM_INSTANCE_EAGER);
	unsigned long va = gpusvm_mock_anon(env, 2 * PAGES);

	KUNIT_ASSERT_EQ(test, mirror(eager, ELSEWHERE, PAGE_SIZE, va + SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, va, WR), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(eager, va, va + SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, va + SIZE, WR), 0);
	expect_page(eager, ELSEWHERE, va + SIZE);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(eager, va, va + 2 * SIZE), 0);
}

static void test_bad(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = empty_mock(env, 0);
	unsigned long task_size = env->mm->task_size;
	u64 generation = mock->base.generation;

	KUNIT_EXPECT_EQ(test, mirror(mock, 1, SIZE, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, mirror(mock, 0, SIZE - 1, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, mirror(mock, 0, SIZE, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, mirror(mock, 0, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, mirror(mock, -SIZE, 2 * SIZE, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, mirror(mock, 0, SIZE, task_size), -EINVAL);
	KUNIT_EXPECT_EQ(test, mirror(mock, 0, SIZE, -SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, mirror(mock, 0, task_size + PAGE_SIZE, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, unmirror(mock, 1, SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, unmirror(mock, 0, SIZE + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, unmirror(mock, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, unmirror(mock, -SIZE, 2 * SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, mock->base.generation, generation);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_mirror_next_gpu(mock->base.mirror, NULL, 0, ULONG_MAX));

	/* The ends of what there is are there. */
	KUNIT_EXPECT_EQ(test, mirror(mock, -2 * SIZE, SIZE, task_size - SIZE), 0);
	KUNIT_EXPECT_EQ(test, mirror(mock, 0, SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, -2 * SIZE, RD), -EFAULT);
	KUNIT_EXPECT_EQ(test, unmirror(mock, 0, -PAGE_SIZE), 0);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_mirror_next_gpu(mock->base.mirror, NULL, 0, ULONG_MAX));
}

/* Several changes at once: in their order, and all of them or none. */
static void test_changes(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long va = gpusvm_mock_anon(env, 2 * PAGES), other = va + SIZE;
	const struct drm_gpusvm_mirror_change good[] = {
		/* Out in the middle, and something else there, and that in part again. */
		{ .start = va + PAGE_SIZE, .size = 4 * PAGE_SIZE },
		{
			.start = va + 2 * PAGE_SIZE, .size = 2 * PAGE_SIZE, .va = other,
			.flags = DRM_GPUSVM_MIRROR_ADD,
		},
		{ .start = va + 3 * PAGE_SIZE, .size = PAGE_SIZE },
		{
			.start = va + 3 * PAGE_SIZE, .size = 2 * PAGE_SIZE, .va = va,
			.flags = DRM_GPUSVM_MIRROR_ADD,
		},
		/* Of which nothing is left at the end. */
		{
			.start = va + PAGE_SIZE, .size = PAGE_SIZE, .va = other,
			.flags = DRM_GPUSVM_MIRROR_ADD,
		},
		{ .start = va + PAGE_SIZE, .size = PAGE_SIZE },
	};
	struct drm_gpusvm_mirror_change bad[ARRAY_SIZE(good) + 1];
	u64 generation;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, fault(mock, va, WR), 0);
	KUNIT_ASSERT_EQ(test, fault(mock, other, WR), 0);
	generation = mock->base.generation;
	gpusvm_mock_events_reset(env);
	/* The last one cannot be: over the first page, the last, of all there is. */
	memcpy(bad, good, sizeof(good));
	for (i = 0; i < 3; i++) {
		bad[ARRAY_SIZE(good)] = (struct drm_gpusvm_mirror_change) {
			.start = i == 1 ? va + 3 * PAGE_SIZE : va + PAGE_SIZE,
			.size = i ? 2 * PAGE_SIZE : 4 * PAGE_SIZE, .va = va,
			.flags = DRM_GPUSVM_MIRROR_ADD,
		};
		KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_change_mirror(&mock->base, bad,
									ARRAY_SIZE(bad)),
				-EEXIST);
	}
	bad[ARRAY_SIZE(good)].flags = 4;
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_change_mirror(&mock->base, bad, ARRAY_SIZE(bad)),
			-EINVAL);
	bad[ARRAY_SIZE(good)].flags = DRM_GPUSVM_MIRROR_READ_ONLY;
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_change_mirror(&mock->base, bad, ARRAY_SIZE(bad)),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, mock->base.generation, generation);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_ZAP), 0);
	expect_pages(mock, va, 2 * SIZE, va);

	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_change_mirror(&mock->base, good,
								ARRAY_SIZE(good)), 0);
	gpusvm_mock_validate(mock);
	KUNIT_EXPECT_EQ(test, fault(mock, va, WR), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, va + PAGE_SIZE, WR), -ENOENT);
	KUNIT_EXPECT_EQ(test, fault(mock, va + 2 * PAGE_SIZE, WR), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, va + 5 * PAGE_SIZE, WR), 0);
	expect_page(mock, va, va);
	expect_page(mock, va + 2 * PAGE_SIZE, other);
	expect_pages(mock, va + 3 * PAGE_SIZE, 2 * PAGE_SIZE, va);
	expect_pages(mock, va + 5 * PAGE_SIZE, 2 * SIZE - 5 * PAGE_SIZE, va + 5 * PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, drm_gpusvm_instance_sees(&mock->base, va, 2 * PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, drm_gpusvm_instance_sees(&mock->base, va + PAGE_SIZE,
							  PAGE_SIZE));
}

/* Where it is seen read-only the device may not write, at other places it may. */
static void test_read_only(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long va = gpusvm_mock_anon(env, PAGES);
	const struct drm_gpusvm_mirror_change change = {
		.start = 1UL << 52, .size = SIZE, .va = va,
		.flags = DRM_GPUSVM_MIRROR_ADD | DRM_GPUSVM_MIRROR_READ_ONLY,
	};
	unsigned long twice = (1UL << 52) + SIZE / 2;

	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_change_mirror(&mock->base, &change, 1), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, 1UL << 52, WR), -EPERM);
	KUNIT_EXPECT_EQ(test, fault(mock, 1UL << 52, DRM_GPUSVM_ACCESS_ATOMIC), -EPERM);
	KUNIT_EXPECT_EQ(test, fault(mock, 1UL << 52, RD), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, va, WR), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, 1UL << 52), GPUSVM_MOCK_READ);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, va),
			GPUSVM_MOCK_READ | GPUSVM_MOCK_WRITE | GPUSVM_MOCK_ATOMIC);
	/* What is left of it when it is cut is so, too. */
	KUNIT_ASSERT_EQ(test, unmirror(mock, twice, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, twice + PAGE_SIZE, WR), -EPERM);
	KUNIT_EXPECT_EQ(test, fault(mock, twice - PAGE_SIZE, WR), -EPERM);
	KUNIT_EXPECT_EQ(test, fault(mock, va, WR), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, twice + PAGE_SIZE), GPUSVM_MOCK_READ);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, twice - PAGE_SIZE), GPUSVM_MOCK_READ);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, twice), 0);
}

/* Anything, with an oracle of one entry per page of the device. */

#define WORLD	64

/* Changes of a few, and what becomes of them page by page. */
static void test_changes_storm(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = empty_mock(env, 0);
	unsigned long va = gpusvm_mock_anon(env, WORLD), gpu = ELSEWHERE;
	struct drm_gpusvm_mirror_change changes[6];
	unsigned int step, i, k, refused = 0;
	int cell[WORLD], next[WORLD];
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 7);
	memset(cell, -1, sizeof(cell));
	for (step = 0; step < 400; step++) {
		unsigned int count = 1 + prandom_u32_state(&rnd) % ARRAY_SIZE(changes);
		bool taken = false;

		memcpy(next, cell, sizeof(next));
		for (k = 0; k < count; k++) {
			unsigned int first = prandom_u32_state(&rnd) % WORLD;
			unsigned int len = 1 + prandom_u32_state(&rnd) % min(WORLD - first, 20U);
			unsigned int from = prandom_u32_state(&rnd) % (WORLD - len + 1);
			bool is_add = prandom_u32_state(&rnd) % 2;

			changes[k] = (struct drm_gpusvm_mirror_change) {
				.start = gpu + first * PAGE_SIZE, .size = len * PAGE_SIZE,
				.va = is_add ? va + from * PAGE_SIZE : 0,
				.flags = is_add ? DRM_GPUSVM_MIRROR_ADD : 0,
			};
			for (i = 0; i < len; i++) {
				taken |= is_add && next[first + i] >= 0;
				next[first + i] = is_add ? from + i : -1;
			}
		}
		refused += taken;
		KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_change_mirror(&mock->base, changes,
									count),
				taken ? -EEXIST : 0);
		gpusvm_mock_validate(mock);
		if (!taken)
			memcpy(cell, next, sizeof(cell));
		i = prandom_u32_state(&rnd) % WORLD;
		KUNIT_EXPECT_EQ(test, fault(mock, gpu + i * PAGE_SIZE, WR),
				cell[i] < 0 ? -ENOENT : 0);

		for (i = 0; i < WORLD; i++) {
			unsigned long addr = gpu + i * PAGE_SIZE;
			unsigned int any = gpusvm_mock_look_any(mock, addr, addr + PAGE_SIZE);

			KUNIT_EXPECT_EQ(test, cell[i] >= 0,
					drm_gpusvm_instance_sees(&mock->base, addr, PAGE_SIZE));
			KUNIT_EXPECT_TRUE(test, !any || cell[i] >= 0);
			if (any && cell[i] >= 0)
				expect_page(mock, addr, va + cell[i] * PAGE_SIZE);
		}
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "step %u", step);
			return;
		}
	}
	/* Both have happened. */
	KUNIT_EXPECT_GT(test, refused, 20);
	KUNIT_EXPECT_LT(test, refused, 380);
}

static void test_storm(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = empty_mock(env, 0), *other = gpusvm_mock_new(env);
	unsigned long va = gpusvm_mock_anon(env, WORLD), gpu = ELSEWHERE;
	int cell[WORLD];
	struct rnd_state rnd;
	unsigned int step, i;

	prandom_seed_state(&rnd, 5);
	memset(cell, -1, sizeof(cell));
	for (step = 0; step < 500; step++) {
		unsigned int first = prandom_u32_state(&rnd) % WORLD;
		unsigned int count = 1 + prandom_u32_state(&rnd) % min(WORLD - first, 20U);
		unsigned int from = prandom_u32_state(&rnd) % (WORLD - count + 1);
		unsigned int what = prandom_u32_state(&rnd) % 8;
		bool taken = false;

		for (i = first; i < first + count; i++)
			taken |= cell[i] >= 0;
		if (what < 2) {
			KUNIT_EXPECT_EQ(test, mirror(mock, gpu + first * PAGE_SIZE,
						     count * PAGE_SIZE, va + from * PAGE_SIZE),
					taken ? -EEXIST : 0);
			for (i = 0; !taken && i < count; i++)
				cell[first + i] = from + i;
		} else if (what == 2) {
			KUNIT_EXPECT_EQ(test, unmirror(mock, gpu + first * PAGE_SIZE,
						       count * PAGE_SIZE), 0);
			memset(&cell[first], -1, count * sizeof(*cell));
		} else if (what == 3) {
			KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_zap(env->mm, va + from * PAGE_SIZE,
								 count * PAGE_SIZE));
		} else if (what == 4) {
			KUNIT_EXPECT_EQ(test, fault(other, va + first * PAGE_SIZE, WR), 0);
		} else {
			KUNIT_EXPECT_EQ(test, fault(mock, gpu + first * PAGE_SIZE, WR),
					cell[first] < 0 ? -ENOENT : 0);
			if (cell[first] >= 0)
				expect_page(mock, gpu + first * PAGE_SIZE,
					    va + cell[first] * PAGE_SIZE);
		}

		for (i = 0; i < WORLD; i++) {
			unsigned long addr = gpu + i * PAGE_SIZE;
			unsigned int any = gpusvm_mock_look_any(mock, addr, addr + PAGE_SIZE);

			/* Nothing where nothing is seen; where it is, the right page. */
			KUNIT_EXPECT_TRUE(test, !any || cell[i] >= 0);
			if (any && cell[i] >= 0)
				expect_page(mock, addr, va + cell[i] * PAGE_SIZE);
		}
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "step %u", step);
			return;
		}
	}
}

/* Allocations that fail: nothing is changed then. */
static void test_fail(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_fail *knobs = gpusvm_fail_init(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long va = gpusvm_mock_anon(env, PAGES);
	unsigned int nth, failed = 0, add;
	u64 generation;
	int err;

	for (add = 0; add < 2; add++) {
		bool reached = true;

		for (nth = 1; nth <= 20 && reached; nth++) {
			KUNIT_ASSERT_EQ(test, fault(mock, add ? va + SIZE / 2 : va, WR), 0);
			generation = mock->base.generation;
			gpusvm_fail_begin(knobs, nth, true);
			if (add)
				err = drm_gpusvm_instance_mirror(&mock->base, va, PAGE_SIZE, va);
			else
				err = drm_gpusvm_instance_unmirror(&mock->base, va, PAGE_SIZE);
			reached = gpusvm_fail_end(knobs);
			gpusvm_mock_validate(mock);
			KUNIT_EXPECT_TRUE(test, !err || (reached && err == -ENOMEM));
			KUNIT_EXPECT_EQ(test, !!gpusvm_mock_look(mock, va), err && !add);
			if (err) {
				failed++;
				KUNIT_EXPECT_EQ(test, mock->base.generation, generation);
				expect_page(mock, va + SIZE / 2, va + SIZE / 2);
				continue;
			}
			/* For the next time as it was. */
			if (reached && add)
				KUNIT_EXPECT_EQ(test, unmirror(mock, va, PAGE_SIZE), 0);
			else if (reached)
				KUNIT_EXPECT_EQ(test, mirror(mock, va, PAGE_SIZE, va), 0);
		}
		KUNIT_EXPECT_FALSE(test, reached);
	}
	KUNIT_EXPECT_GE(test, failed, 2);
}

static struct kunit_case view_cases[] = {
	KUNIT_CASE(test_offset),
	KUNIT_CASE(test_pieces),
	KUNIT_CASE(test_take_out),
	KUNIT_CASE(test_add_over_mapped),
	KUNIT_CASE_PARAM(test_in_flight, flight_gen_params),
	KUNIT_CASE(test_batch),
	KUNIT_CASE(test_eager),
	KUNIT_CASE(test_bad),
	KUNIT_CASE(test_changes),
	KUNIT_CASE(test_read_only),
	KUNIT_CASE_SLOW(test_changes_storm),
	KUNIT_CASE_SLOW(test_storm),
	KUNIT_CASE_SLOW(test_fail),
	{}
};

static struct kunit_suite view_suite = {
	.name = "drm_gpusvm_mgr_view",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = view_cases,
};

kunit_test_suite(view_suite);
