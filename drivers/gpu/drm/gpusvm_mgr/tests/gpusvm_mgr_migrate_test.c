// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The arbiter at work: who may have data moved, and when, with a device memory
 * that only writes down what it was asked for.
 */

#include <linux/ktime.h>
#include <linux/mman.h>
#include <linux/sizes.h>

#include "../gpusvm_mgr_policy.h"
#include "gpusvm_mgr_fail.h"
#include "gpusvm_mgr_mock.h"

#define PAGES	(MOCK_MIDDLE / PAGE_SIZE)
#define WR	DRM_GPUSVM_ACCESS_WRITE

/**
 * struct migrate_memory - A device memory
 * @base: For the library.
 * @pagemap: Has an owner and page frames that no page has.
 * @ops: What it does.
 * @calls: Requests.
 * @inside: Requests under way.
 * @most: Most of them at the same time.
 * @together: How many are to be under way before one returns, 0: any.
 * @wait: Where they wait for that.
 * @zap: Does what each real move does: it invalidates.
 * @appears: Data is there when a request returns, whatever it returns.
 * @takes_ms: How long a request takes that waits for no other.
 * @err: What the requests return.
 */
struct migrate_memory {
	struct drm_pagemap base;
	struct dev_pagemap pagemap;
	struct drm_pagemap_ops ops;
	atomic_t calls;
	atomic_t inside;
	atomic_t most;
	int together;
	wait_queue_head_t wait;
	bool zap;
	bool appears;
	unsigned int takes_ms;
	int err;
};

/* Somebody to be an owner. */
static int migrate_owner;

static int migrate_populate(struct drm_pagemap *dpagemap, unsigned long start,
			    unsigned long end, struct mm_struct *mm,
			    unsigned long timeslice_ms)
{
	struct migrate_memory *memory = container_of(dpagemap, struct migrate_memory, base);
	struct mmu_notifier_range range;
	int inside = atomic_inc_return(&memory->inside);
	int most = atomic_read(&memory->most);

	atomic_inc(&memory->calls);
	while (inside > most && !atomic_try_cmpxchg(&memory->most, &most, inside))
		;
	wake_up_all(&memory->wait);
	/* The same for ranges that are locked: time enough for a second one. */
	wait_event_timeout(memory->wait, memory->together &&
			   atomic_read(&memory->most) >= memory->together,
			   msecs_to_jiffies(memory->together ? GPUSVM_MOCK_LIMIT_MS :
					    memory->takes_ms));
	if (memory->zap) {
		mmu_notifier_range_init(&range, MMU_NOTIFY_MIGRATE, 0, mm, start, end);
		mmu_notifier_invalidate_range_start(&range);
		mmu_notifier_invalidate_range_end(&range);
	}
	/* From here on any page is one of this memory. */
	if (memory->appears)
		memory->pagemap.range.start = 0;
	atomic_dec(&memory->inside);
	return timeslice_ms ? -EINVAL : memory->err;
}

static struct migrate_memory *migrate_memory(struct kunit *test)
{
	struct migrate_memory *memory = kunit_kzalloc(test, sizeof(*memory), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	memory->ops.populate_mm = migrate_populate;
	memory->takes_ms = 20;
	memory->pagemap.owner = &migrate_owner;
	memory->pagemap.range.start = ~0ULL << PAGE_SHIFT;
	memory->pagemap.range.end = ~0ULL;
	init_waitqueue_head(&memory->wait);
	/* Never goes to zero: ours. So there is no need for drm_pagemap_init(). */
	kref_init(&memory->base.ref);
	memory->base.ops = &memory->ops;
	memory->base.pagemap = &memory->pagemap;
	return memory;
}

static struct gpusvm_mock *migrate_mock(struct gpusvm_mock_env *env,
					struct migrate_memory *memory)
{
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);

	memory->base.drm = &device->drm;
	device->owner = &migrate_owner;
	device->dpagemap = &memory->base;
	return gpusvm_mock_attach(env, device, 0);
}

static void migrate_stats(struct gpusvm_mock *mock, struct drm_gpusvm_mgr_stats *stats)
{
	drm_gpusvm_mgr_read_stats(mock->base.mgr, stats);
}

/* Requests for one range wait for each other. */
static void test_one_at_a_time(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_thread *threads[4];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		threads[i] = gpusvm_mock_fault_thread(migrate_mock(env, memory), addr, WR);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		gpusvm_mock_start(threads[i]);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(threads[i]));
		KUNIT_EXPECT_EQ(test, threads[i]->ret, 0);
	}
	KUNIT_EXPECT_GE(test, atomic_read(&memory->calls), 1);
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->most), 1);
}

/* Those for different ranges do not. (The control of the one above.) */
static void test_disjoint(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock = migrate_mock(env, memory);
	struct gpusvm_mock_thread *threads[4];
	unsigned int i;

	/* Each waits until all of them are there. */
	memory->together = ARRAY_SIZE(threads);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		threads[i] = gpusvm_mock_fault_thread(mock, gpusvm_mock_anon(env, PAGES), WR);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		gpusvm_mock_start(threads[i]);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(threads[i]));
		KUNIT_EXPECT_EQ(test, threads[i]->ret, 0);
	}
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->most), (int)ARRAY_SIZE(threads));
}

/* Moves all of it, which takes so many requests at the same time. */
static void prefetch_together(struct gpusvm_mock *mock, unsigned long addr,
			      unsigned long size, int together)
{
	struct kunit *test = mock->env->test;
	struct migrate_memory *memory = migrate_memory(test);
	u64 missed;

	memory->base.drm = &mock->device->drm;
	memory->appears = true;
	memory->together = together;
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_instance_prefetch(&mock->base, addr, addr + size,
							      &memory->base, 0, &missed));
	KUNIT_EXPECT_EQ(test, missed, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->most), together);
	gpusvm_mock_validate(mock);
}

/* Of a large prefetch two ranges are moved at the same time; of a small one not. */
static void test_prefetch_halves(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = migrate_mock(env, migrate_memory(test));
	const unsigned long large = mock->base.mgr->chunks->sizes[0];
	unsigned long addr = ALIGN(gpusvm_mock_anon(env, 8 * large / PAGE_SIZE), large);

	prefetch_together(mock, addr, 3 * large, 1);
	prefetch_together(mock, addr + 3 * large, 4 * large, 2);
}

/* A move that fails is not the fault's business. */
static void test_failure(struct kunit *test)
{
	static const int errors[] = { -ENOMEM, -EBUSY, -ENODEV, -EFAULT, -EAGAIN };
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock = migrate_mock(env, memory);
	struct drm_gpusvm_mgr_stats stats;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		unsigned long addr = gpusvm_mock_anon(env, PAGES);
		unsigned long pfn;
		bool write;

		memory->err = errors[i];
		KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, addr, WR), 0);
		KUNIT_EXPECT_TRUE(test, gpusvm_mock_pte(mock, addr, &pfn, &write));
		KUNIT_EXPECT_TRUE(test, write);
	}
	migrate_stats(mock, &stats);
	KUNIT_EXPECT_EQ(test, stats.migrations, 0);
	KUNIT_EXPECT_EQ(test, stats.migrations_failed, ARRAY_SIZE(errors));
	/* What did not move is not taken for a move. */
	KUNIT_EXPECT_EQ(test, stats.moves_back, 0);
	gpusvm_mock_validate(mock);
}

/* What failed is not tried again at once, however often the device faults. */
static void test_backoff(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mocks[2] = {
		migrate_mock(env, memory), migrate_mock(env, memory),
	};
	u64 backoff = gpusvm_mgr_default_policy.backoff_ns, begin = ktime_get_ns();
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct drm_gpusvm_mgr_stats stats;
	unsigned int i, calls;
	u64 least = 0;

	/* It takes the other one's mapping away, so that this one asks, too. */
	memory->zap = true;
	memory->err = -EBUSY;
	for (i = 0; i < 40; i++)
		KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(mocks[i % 2], addr, WR), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(mocks[0], addr, WR), 0);

	/* So many attempts take at least so long. Else there would be 41 of them. */
	calls = atomic_read(&memory->calls);
	for (i = 0; i + 1 < calls; i++)
		least += backoff << min(i, GPUSVM_MGR_POLICY_DOUBLINGS);
	KUNIT_EXPECT_LE(test, least, ktime_get_ns() - begin);
	migrate_stats(mocks[0], &stats);
	KUNIT_EXPECT_EQ(test, stats.migrations_failed, (u64)calls);
	KUNIT_EXPECT_GE(test, stats.migrations_failed, 1);
	KUNIT_EXPECT_GE(test, stats.migrations_failed + stats.refused_backoff, 2);
	KUNIT_EXPECT_EQ(test, stats.migrations, 0);
}

/* A move that is said to have failed, and was one all the same, counts. */
static void test_failed_but_moved(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock = migrate_mock(env, memory);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct drm_gpusvm_mgr_stats stats;

	/* So that there are pages. */
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(other, addr, WR), 0);
	memory->zap = true;
	memory->appears = true;
	memory->err = -EBUSY;
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(mock, addr, WR), 0);
	migrate_stats(mock, &stats);
	KUNIT_EXPECT_EQ(test, stats.migrations, 1);
	KUNIT_EXPECT_EQ(test, stats.migrations_failed, 0);

	/* It is known to be there. */
	KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(mock, addr + PAGE_SIZE, WR), 0);
	migrate_stats(mock, &stats);
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->calls), 1);
	KUNIT_EXPECT_EQ(test, stats.migrations, 1);
}

/* Who is not asked, and for what. */
static void test_not_asked(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock = migrate_mock(env, memory);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	struct drm_gpusvm_mgr_stats stats;
	unsigned long addr;

	/* One that has no memory. */
	addr = gpusvm_mock_anon(env, PAGES);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(other, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->calls), 0);

	/* Shared memory; nothing at all; a mapping that is there. */
	addr = gpusvm_mock_mmap(env, PAGES, PROT_READ | PROT_WRITE, MAP_SHARED);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, PAGE_SIZE, WR), -EFAULT);
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->calls), 0);

	addr = gpusvm_mock_anon(env, PAGES);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, addr + PAGE_SIZE, WR), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->calls), 1);

	migrate_stats(mock, &stats);
	KUNIT_EXPECT_EQ(test, stats.migrations, 1);
	KUNIT_EXPECT_EQ(test, stats.migrations_failed, 0);
	/* It was said to be there, and then it was not. */
	KUNIT_EXPECT_EQ(test, stats.moves_back, 1);
}

/*
 * Who was told that the data stays looks again, because of an invalidation, and finds
 * that it is not there any more: this fault does without, the next one asks.
 */
static void test_refused_once(struct kunit *test)
{
	const struct drm_gpusvm_attr stay = {
		.type = DRM_GPUSVM_ATTR_RESIDENCE, .value = GPUSVM_MOCK_LIMIT_MS,
	};
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *first = migrate_memory(test), *second = migrate_memory(test);
	struct gpusvm_mock *mocks[2] = { migrate_mock(env, first), migrate_mock(env, second) };
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	const unsigned long size = PAGES * PAGE_SIZE;
	struct gpusvm_mock_thread *thread = gpusvm_mock_fault_thread(mocks[1], addr, WR);
	struct drm_gpusvm_mgr_stats stats;
	struct gpusvm_mock_gate *walked;
	u64 missed;

	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_set_attrs(&mocks[0]->base, addr, addr + size,
							    &stay, 1), 0);
	/* So that there are pages; then they are said to be with the first one. */
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(other, addr, WR), 0);
	first->zap = true;
	first->appears = true;
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_prefetch(&mocks[0]->base, addr, addr + size,
							   &first->base, 0, &missed), 0);
	KUNIT_ASSERT_EQ(test, missed, 0);

	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, thread);
	gpusvm_mock_start(thread);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));
	KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, addr, size), 0);
	gpusvm_mock_gate_open(walked);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(thread));
	KUNIT_EXPECT_EQ(test, thread->ret, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&second->calls), 0);
	migrate_stats(mocks[1], &stats);
	KUNIT_EXPECT_EQ(test, stats.refused_resident, 1);
	KUNIT_EXPECT_EQ(test, stats.moves_back, 1);

	KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, addr, size), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(mocks[1], addr, WR), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&second->calls), 1);
	gpusvm_mock_validate(mocks[0]);
}

/* A move invalidates what it moves, as any other does. */
static void test_invalidates(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock = migrate_mock(env, memory);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);

	memory->zap = true;
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(other, addr, WR), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(mock, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&memory->calls), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(other, addr, addr + PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_take_all(env), 0);
	gpusvm_mock_validate(mock);
}

/*
 * However often it is asked for: not more moves than the policy's bound. They are so
 * slow that K + 1 of them take longer than W: it is pinned for what they take.
 */
static void test_bound(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock = migrate_mock(env, memory);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	u64 begin = ktime_get_ns(), bound;
	struct drm_gpusvm_mgr_stats stats;
	unsigned int i;

	memory->takes_ms = 60;
	for (i = 0; i < 60; i++) {
		KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(mock, addr, WR), 0);
		KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE), 0);
	}
	bound = gpusvm_mgr_policy_bound(&gpusvm_mgr_default_policy, ktime_get_ns() - begin);
	KUNIT_EXPECT_LE(test, (u64)atomic_read(&memory->calls), bound);
	migrate_stats(mock, &stats);
	KUNIT_EXPECT_EQ(test, stats.migrations, (u64)atomic_read(&memory->calls));
	KUNIT_EXPECT_GE(test, stats.pins, 1);
	KUNIT_EXPECT_GT(test, stats.refused_pinned, 0);
	/* Each fault asked: it was moved, or refused, or thought to be there. */
	KUNIT_EXPECT_EQ(test, stats.migrations + stats.refused_pinned +
			stats.refused_resident, 60);
}

/* Memory that the device cannot reach it cannot ask for. */
static void test_attach(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock;

	memory->base.drm = &device->drm;
	device->dpagemap = &memory->base;
	KUNIT_EXPECT_EQ(test, gpusvm_mock_try_attach(env, device, 0, &mock), -EINVAL);
	device->owner = &device->drm;
	KUNIT_EXPECT_EQ(test, gpusvm_mock_try_attach(env, device, 0, &mock), -EINVAL);
	KUNIT_EXPECT_EQ(test, kref_read(&memory->base.ref), 1);
	device->owner = &migrate_owner;
	KUNIT_ASSERT_EQ(test, gpusvm_mock_try_attach(env, device, 0, &mock), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&memory->base.ref), 2);
	gpusvm_mock_detach(mock);
	KUNIT_EXPECT_EQ(test, kref_read(&memory->base.ref), 1);
}

struct fail_case {
	const char *name;
	/* Asked for in so many words, else by a fault. */
	bool prefetch;
	/* All allocations from one on fail, not that one alone. */
	bool for_good;
};

static const struct fail_case fail_cases[] = {
	{ "fault, one", false, false },
	{ "fault, all from one on", false, true },
	{ "prefetch, one", true, false },
	{ "prefetch, all from one on", true, true },
};

KUNIT_ARRAY_PARAM_DESC(fail, fail_cases, name);

static int fail_run(const struct fail_case *c, struct gpusvm_mock *mock,
		    struct migrate_memory *memory, unsigned long addr)
{
	u64 missed;

	if (!c->prefetch)
		return gpusvm_mock_fault(mock, addr, WR);
	return drm_gpusvm_instance_prefetch(&mock->base, addr, addr + PAGES * PAGE_SIZE,
					    &memory->base, DRM_GPUSVM_PREFETCH_MAP, &missed);
}

/*
 * Allocations that fail: what only a move needs fails nothing, and what was not moved
 * for want of it is when there is memory, if that is asked for.
 */
static void test_fail(struct kunit *test)
{
	const struct fail_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_fail *knobs = gpusvm_fail_init(test);
	struct migrate_memory *memory = migrate_memory(test);
	struct gpusvm_mock *mock = migrate_mock(env, memory);
	unsigned int nth, failed = 0, stayed = 0;
	bool reached = true;
	int err;

	memory->zap = true;
	memory->takes_ms = 0;
	for (nth = 1; nth <= 200 && reached; nth++) {
		unsigned long addr = gpusvm_mock_anon(env, PAGES);
		int calls = atomic_read(&memory->calls);

		gpusvm_fail_begin(knobs, nth, c->for_good);
		err = fail_run(c, mock, memory, addr);
		reached = gpusvm_fail_end(knobs);

		KUNIT_EXPECT_TRUE(test, !err || (reached && err == -ENOMEM));
		gpusvm_mock_validate(mock);
		failed += !!err;
		stayed += !err && atomic_read(&memory->calls) == calls;
		if (err || c->prefetch)
			KUNIT_EXPECT_EQ(test, fail_run(c, mock, memory, addr), 0);
		if (err || c->prefetch || !reached)
			KUNIT_EXPECT_GT(test, atomic_read(&memory->calls), calls);
		KUNIT_EXPECT_TRUE(test, gpusvm_mock_pte(mock, addr, NULL, NULL));
		gpusvm_mock_validate(mock);
		KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PAGES * PAGE_SIZE));
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + PAGES * PAGE_SIZE));
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "allocation %u", nth);
			return;
		}
	}
	KUNIT_EXPECT_FALSE(test, reached);
	KUNIT_EXPECT_GT(test, failed, 0);
	/* Alone, what is noted of a place can be done without. */
	if (!c->for_good)
		KUNIT_EXPECT_GT(test, stayed, 0);
	kunit_info(test, "%u allocations, %u made it fail, %u kept the data where it was", nth - 2,
		   failed, stayed);
}

static struct kunit_case gpusvm_migrate_cases[] = {
	KUNIT_CASE(test_one_at_a_time),
	KUNIT_CASE(test_disjoint),
	KUNIT_CASE(test_prefetch_halves),
	KUNIT_CASE(test_failure),
	KUNIT_CASE(test_backoff),
	KUNIT_CASE(test_failed_but_moved),
	KUNIT_CASE(test_not_asked),
	KUNIT_CASE(test_refused_once),
	KUNIT_CASE(test_invalidates),
	KUNIT_CASE_SLOW(test_bound),
	KUNIT_CASE(test_attach),
	KUNIT_CASE_PARAM_ATTR(test_fail, fail_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite gpusvm_migrate_suite = {
	.name = "drm_gpusvm_mgr_migrate",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = gpusvm_migrate_cases,
};

kunit_test_suite(gpusvm_migrate_suite);
