// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Instances whose jobs do not fault: what is mapped when one is submitted, who waits
 * for its end, and in which order. On mock devices over real memory.
 *
 * That a PTE goes under a job at work is counted by the mock, and fails the test at
 * its end: so each test here is one of that, and one leaves the step out.
 */

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sizes.h>

#include "gpusvm_mgr_mock.h"

#define RD	DRM_GPUSVM_ACCESS_READ
#define WR	DRM_GPUSVM_ACCESS_WRITE
#define RW	(PROT_READ | PROT_WRITE)

/* A range. */
#define PAGES	(MOCK_MIDDLE / PAGE_SIZE)
#define SIZE	MOCK_MIDDLE

/* Where the device has other addresses than the process. */
#define ELSEWHERE	(64UL * SZ_1G)

/* A mock that sees @pages of memory, each written once, ELSEWHERE. */
static struct gpusvm_mock *fenced_mock(struct gpusvm_mock_env *env, unsigned long pages,
				       unsigned long *va)
{
	struct gpusvm_mock *mock;

	mock = gpusvm_mock_attach(env, gpusvm_mock_device(env), DRM_GPUSVM_INSTANCE_EMPTY |
				  DRM_GPUSVM_INSTANCE_FENCED);
	*va = gpusvm_mock_anon(env, pages);
	KUNIT_ASSERT_EQ(env->test, 0,
			drm_gpusvm_instance_mirror(&mock->base, ELSEWHERE, pages * PAGE_SIZE,
						   *va));
	return mock;
}

/* The device sees the CPU's pages, and may write all of them, or none. */
static void expect_seen(struct gpusvm_mock *mock, unsigned long gpu, unsigned long va,
			unsigned long pages, bool writable)
{
	struct kunit *test = mock->env->test;
	unsigned long i, pfn = 0;
	bool write = false;

	for (i = 0; i < pages; i++) {
		struct page *page = gpusvm_mock_page(mock->env, va + i * PAGE_SIZE, writable);

		KUNIT_EXPECT_TRUE_MSG(test, gpusvm_mock_pte(mock, gpu + i * PAGE_SIZE, &pfn,
							    &write), "page %lu: no PTE", i);
		KUNIT_EXPECT_EQ_MSG(test, pfn, page_to_pfn(page), "page %lu", i);
		KUNIT_EXPECT_EQ_MSG(test, write, writable, "page %lu", i);
	}
}

/* A thread that should wait gets a while to show that it does not. */
static void a_while(void)
{
	schedule_timeout_uninterruptible(msecs_to_jiffies(100));
}

static void join(struct kunit *test, struct gpusvm_mock_thread *thread, int ret)
{
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(thread));
	KUNIT_EXPECT_EQ(test, thread->ret, ret);
}

static int submit_func(struct gpusvm_mock_thread *thread)
{
	return gpusvm_mock_submit(thread->mock);
}

static struct gpusvm_mock_thread *submit_thread(struct gpusvm_mock *mock)
{
	struct gpusvm_mock_thread *thread = gpusvm_mock_thread(mock->env, submit_func);

	thread->mock = mock;
	return thread;
}

/* All that is mirrored is mapped, and stays so: the next one has nothing to do. */
static void test_submit(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long va, more = gpusvm_mock_anon(env, 3);
	struct gpusvm_mock *mock = fenced_mock(env, 40 * PAGES + 3, &va);
	u64 maps;

	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	expect_seen(mock, ELSEWHERE, va, 40 * PAGES + 3, true);
	maps = atomic64_read(&mock->base.stats.maps);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.maps), maps);
	KUNIT_EXPECT_EQ(test, mock->quiesces, 1);
	gpusvm_mock_job_end(mock);
	gpusvm_mock_job_end(mock);

	/* More is mirrored: only that, and only then. */
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_mirror(&mock->base, 0, 3 * PAGE_SIZE, more), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, 0, SIZE), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	expect_seen(mock, 0, more, 3, true);
	/* Too few pages for a larger range. */
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.maps), maps + 3);
	gpusvm_mock_job_end(mock);
	gpusvm_mock_validate(mock);
}

/* Nothing is mirrored: there is nothing to map, and nothing in the way. */
static void test_empty(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, PAGES, &va);

	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_unmirror(&mock->base, ELSEWHERE, SIZE), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, va, va + SIZE), 0);
	/* Nor is there a reason to wait for this job. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_zap(env->mm, va, SIZE), 0);
	gpusvm_mock_job_end(mock);
}

/* Invalidations wait for the jobs, then zap; and nobody submits meanwhile. */

struct order_case {
	const char *name;
	bool unmap;
	bool broken;
};

static const struct order_case order_cases[] = {
	{ "pages dropped", false, false },
	{ "unmapped", true, false },
	{ "pages dropped, broken", false, true },
	{ "unmapped, broken", true, true },
};

KUNIT_ARRAY_PARAM_DESC(order, order_cases, name);

static void test_order(struct kunit *test)
{
	const struct order_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, 3 * PAGES, &va);
	struct gpusvm_mock_thread *invalidator, *submitter;
	unsigned int quiesces;
	int quiesced;

	gpusvm_mock_break(env, GPUSVM_MGR_STEP_QUIESCE, c->broken);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_events_reset(env);
	quiesces = mock->quiesces;
	if (c->unmap)
		invalidator = gpusvm_mock_munmap_thread(env, va + SIZE, PAGE_SIZE);
	else
		invalidator = gpusvm_mock_zap_thread(env, va + SIZE, PAGE_SIZE);
	gpusvm_mock_start(invalidator);

	if (c->broken) {
		/* The control: nobody waits, and the job loses what it works on. */
		join(test, invalidator, 0);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_take(env, GPUSVM_MOCK_ZAP_AT_WORK), 1);
		gpusvm_mock_job_end(mock);
		return;
	}

	KUNIT_ASSERT_TRUE(test, gpusvm_mock_quiesce_wait(mock, quiesces + 1));
	submitter = submit_thread(mock);
	gpusvm_mock_start(submitter);
	a_while();
	/* The job still has all of it. */
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(invalidator));
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(submitter));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_ZAP), 0);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_touch(mock, ELSEWHERE + SIZE));

	gpusvm_mock_job_end(mock);
	join(test, invalidator, 0);
	/* Dropped pages come anew; where there is no memory there is no job. */
	join(test, submitter, c->unmap ? -EFAULT : 0);

	quiesced = gpusvm_mock_event(env, mock, GPUSVM_MOCK_QUIESCED, 0);
	KUNIT_EXPECT_GE(test, quiesced, 0);
	KUNIT_EXPECT_LT(test, quiesced, gpusvm_mock_event(env, mock, GPUSVM_MOCK_ZAP, 0));
	KUNIT_EXPECT_LT(test, gpusvm_mock_event(env, mock, GPUSVM_MOCK_FLUSH_DONE, 0),
			gpusvm_mock_event(env, mock, GPUSVM_MOCK_UNMAPPED, 0));
	KUNIT_EXPECT_LT(test, gpusvm_mock_event(env, mock, GPUSVM_MOCK_UNMAPPED, 0),
			gpusvm_mock_event(env, NULL, GPUSVM_MOCK_INVALIDATED, 0));
	if (c->unmap)
		return;
	expect_seen(mock, ELSEWHERE, va, 3 * PAGES, true);
	gpusvm_mock_job_end(mock);
	gpusvm_mock_validate(mock);
}

/* An invalidation in each of the gaps of a submission. */
static void test_gaps(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, PAGES, &va);
	struct drm_gpusvm_instance *instance = &mock->base;
	struct gpusvm_mock_thread *invalidator;
	unsigned int quiesces;

	/* Between prepare and begin: what was prepared is gone. */
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_submit_prepare(instance), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, va, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_submit_begin(instance), -EAGAIN);
	/* Not prepared at all. */
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_submit_begin(instance), -EAGAIN);
	/* Nothing is allocated between begin and end. */
	invalidator = gpusvm_mock_zap_thread(env, va, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_submit_prepare(instance), 0);
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_submit_begin(instance), 0);

	/* Between them: it comes too late, and waits for the job. */
	quiesces = mock->quiesces;
	gpusvm_mock_start(invalidator);
	a_while();
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(invalidator));
	KUNIT_EXPECT_EQ(test, mock->quiesces, quiesces);
	gpusvm_mock_job_begin(mock);
	drm_gpusvm_instance_submit_end(instance);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_quiesce_wait(mock, quiesces + 1));
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, ELSEWHERE));
	gpusvm_mock_job_end(mock);
	join(test, invalidator, 0);

	/* A begin without a job is of no consequence. */
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_submit_prepare(instance), 0);
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_submit_begin(instance), 0);
	drm_gpusvm_instance_submit_end(instance);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_zap(env->mm, va, SIZE), 0);
	gpusvm_mock_validate(mock);
}

/* Invalidated while it is being filled: what was filled before does not count. */
static void test_while_preparing(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, 2 * MOCK_LARGE / PAGE_SIZE, &va);
	struct gpusvm_mock_thread *submitter;
	struct gpusvm_mock_gate *gate;

	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_job_end(mock);
	/* The last range has to be filled again. */
	KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, va + 2 * MOCK_LARGE - PAGE_SIZE,
					      PAGE_SIZE), 0);
	submitter = submit_thread(mock);
	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, submitter);
	gpusvm_mock_start(submitter);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));
	/* And now the first one, which was found in order. */
	KUNIT_ASSERT_EQ(test, gpusvm_mock_zap(env->mm, va, PAGE_SIZE), 0);
	gpusvm_mock_gate_open(gate);
	join(test, submitter, 0);
	expect_seen(mock, ELSEWHERE, va, 2 * MOCK_LARGE / PAGE_SIZE, true);
	gpusvm_mock_job_end(mock);
	gpusvm_mock_validate(mock);
}

/* What the process may not do its jobs may not, either; and that can change. */
static void test_errors(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, 2 * PAGES, &va);

	KUNIT_ASSERT_EQ(test, gpusvm_mock_mprotect(env->mm, va + SIZE, PAGE_SIZE, false), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), -EPERM);
	/* The errno stays until it is in order. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), -EPERM);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_mprotect(env->mm, va + SIZE, PAGE_SIZE, true), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_job_end(mock);
	expect_seen(mock, ELSEWHERE, va, 2 * PAGES, true);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_mprotect(env->mm, va + SIZE, PAGE_SIZE, false), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), -EPERM);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_mprotect(env->mm, va + SIZE, PAGE_SIZE, true), 0);

	KUNIT_ASSERT_EQ(test, vm_munmap(va + PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), -EFAULT);
	/* Out of the way. */
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_unmirror(&mock->base, ELSEWHERE + PAGE_SIZE,
							   PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_job_end(mock);
	expect_seen(mock, ELSEWHERE + 2 * PAGE_SIZE, va + 2 * PAGE_SIZE, 2 * PAGES - 2, true);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, ELSEWHERE + PAGE_SIZE), 0);
	/* Or there again, as something else. */
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_mirror(&mock->base, ELSEWHERE + PAGE_SIZE,
							 PAGE_SIZE, va + PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), -EFAULT);
	KUNIT_ASSERT_EQ(test, va + PAGE_SIZE,
			vm_mmap(NULL, va + PAGE_SIZE, PAGE_SIZE, RW,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_job_end(mock);
	expect_seen(mock, ELSEWHERE, va, 2 * PAGES, true);
	gpusvm_mock_validate(mock);
}

/* Memory that the process may only read, and memory that its device may. */
static void test_read_only(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	const struct drm_gpusvm_mirror_change changes[] = {
		{ .start = ELSEWHERE, .size = SIZE },
		{
			.start = ELSEWHERE, .size = SIZE,
			.flags = DRM_GPUSVM_MIRROR_ADD | DRM_GPUSVM_MIRROR_READ_ONLY,
		}, {
			.start = ELSEWHERE + SZ_1G, .size = SIZE,
			.flags = DRM_GPUSVM_MIRROR_ADD | DRM_GPUSVM_MIRROR_READ_ONLY,
		},
	};
	struct drm_gpusvm_mirror_change change[ARRAY_SIZE(changes)];
	unsigned long va, fixed;
	struct gpusvm_mock *mock = fenced_mock(env, 2 * PAGES, &va);

	fixed = gpusvm_mock_mmap(env, PAGES, PROT_READ, MAP_PRIVATE);
	memcpy(change, changes, sizeof(change));
	change[1].va = va;
	change[2].va = fixed;
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_change_mirror(&mock->base, change,
								ARRAY_SIZE(change)), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_job_end(mock);
	expect_seen(mock, ELSEWHERE, va, PAGES, false);
	expect_seen(mock, ELSEWHERE + SIZE, va + SIZE, PAGES, true);
	expect_seen(mock, ELSEWHERE + SZ_1G, fixed, PAGES, false);

	/* The same memory a second time, and there it may be written. */
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_mirror(&mock->base, 0, SIZE, va), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_job_end(mock);
	expect_seen(mock, ELSEWHERE, va, PAGES, false);
	expect_seen(mock, 0, va, PAGES, true);
	/* Not so the other one. */
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_mirror(&mock->base, SZ_1G, SIZE, fixed), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), -EPERM);
	gpusvm_mock_validate(mock);
}

/*
 * Another instance has read what was never written, and a page that was: a walk for
 * reading, after which some pages of the range could be written and some not. All
 * have to be, and not just the first one that is looked at.
 */
static void test_all_writable(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *reader = gpusvm_mock_new(env);
	unsigned long va, other;
	struct gpusvm_mock *mock = fenced_mock(env, PAGES, &va);

	other = gpusvm_mock_mmap(env, PAGES, RW, MAP_PRIVATE);
	gpusvm_mock_poke(env, other, 1);
	gpusvm_mock_poke(env, other + 5 * PAGE_SIZE, 1);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(reader, other + PAGE_SIZE, RD), 0);
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_mirror(&mock->base, 0, SIZE, other), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	gpusvm_mock_job_end(mock);
	expect_seen(mock, 0, other, PAGES, true);
	gpusvm_mock_validate(mock);
}

static int change_func(struct gpusvm_mock_thread *thread)
{
	return drm_gpusvm_instance_unmirror(&thread->mock->base, thread->addr, thread->len);
}

static int kill_func(struct gpusvm_mock_thread *thread)
{
	drm_gpusvm_instance_kill(&thread->mock->base);
	return 0;
}

/* Changes of what is mirrored, and the end, wait for jobs, too. */
static void test_zaps_of_ours(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_thread *thread;
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, 2 * PAGES, &va);
	unsigned int quiesces;

	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	quiesces = mock->quiesces;
	thread = gpusvm_mock_thread(env, change_func);
	thread->mock = mock;
	thread->addr = ELSEWHERE;
	thread->len = SIZE;
	gpusvm_mock_start(thread);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_quiesce_wait(mock, quiesces + 1));
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, ELSEWHERE));
	gpusvm_mock_job_end(mock);
	join(test, thread, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, ELSEWHERE, ELSEWHERE + SIZE), 0);

	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, ELSEWHERE, ELSEWHERE + SIZE), 0);
	expect_seen(mock, ELSEWHERE + SIZE, va + SIZE, PAGES, true);
	quiesces = mock->quiesces;
	thread = gpusvm_mock_thread(env, kill_func);
	thread->mock = mock;
	gpusvm_mock_start(thread);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_quiesce_wait(mock, quiesces + 1));
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, ELSEWHERE + SIZE));
	gpusvm_mock_job_end(mock);
	join(test, thread, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, va, va + 2 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_submit_prepare(&mock->base), -ENODEV);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_submit_begin(&mock->base), -ENODEV);
}

/* Two of them, and one whose jobs fault: one invalidation for all. */
static void test_several(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *plain = gpusvm_mock_new(env), *other;
	struct gpusvm_mock_thread *invalidator;
	unsigned int quiesces, quiesces_other;
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, PAGES, &va);

	other = gpusvm_mock_attach(env, gpusvm_mock_device(env), DRM_GPUSVM_INSTANCE_EMPTY |
				   DRM_GPUSVM_INSTANCE_FENCED);
	KUNIT_ASSERT_EQ(test, drm_gpusvm_instance_mirror(&other->base, va, SIZE, va), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(mock), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_submit(other), 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mock_fault(plain, va, WR), 0);
	quiesces = mock->quiesces;
	quiesces_other = other->quiesces;
	gpusvm_mock_events_reset(env);
	invalidator = gpusvm_mock_zap_thread(env, va, PAGE_SIZE);
	gpusvm_mock_start(invalidator);
	/* In the order of their slots; who faults does not wait for either. */
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_quiesce_wait(mock, quiesces + 1));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, plain, GPUSVM_MOCK_ZAP), 1);
	gpusvm_mock_job_end(mock);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_quiesce_wait(other, quiesces_other + 1));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_ZAP), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, other, GPUSVM_MOCK_ZAP), 0);
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(invalidator));
	gpusvm_mock_job_end(other);
	join(test, invalidator, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, va, va + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/* Jobs come and go, and so does the memory; the mock counts what must not be. */

static int storm_func(struct gpusvm_mock_thread *thread)
{
	struct gpusvm_mock_env *env = thread->env;
	struct rnd_state rnd;
	unsigned int i;
	int err = 0;

	prandom_seed_state(&rnd, thread->addr);
	for (i = 0; i < 200 && !err; i++) {
		unsigned long page = prandom_u32_state(&rnd) % (4 * PAGES);

		err = gpusvm_mock_zap(env->mm, thread->addr + page * PAGE_SIZE, PAGE_SIZE);
	}
	return err;
}

static void test_storm(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_thread *threads[2];
	unsigned int i, jobs = 0;
	unsigned long va;
	struct gpusvm_mock *mock = fenced_mock(env, 4 * PAGES, &va);

	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i] = gpusvm_mock_thread(env, storm_func);
		threads[i]->addr = va;
		gpusvm_mock_start(threads[i]);
	}
	for (;;) {
		int err = gpusvm_mock_submit(mock);

		/* Where others were faster all the time, which they may. */
		if (!err) {
			KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, ELSEWHERE));
			KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, ELSEWHERE + 4 * SIZE - 1));
			cond_resched();
			gpusvm_mock_job_end(mock);
			jobs++;
		} else {
			KUNIT_EXPECT_EQ(test, err, -EBUSY);
		}
		if (gpusvm_mock_thread_done(threads[0]) && gpusvm_mock_thread_done(threads[1]))
			break;
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		join(test, threads[i], 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_submit(mock), 0);
	expect_seen(mock, ELSEWHERE, va, 4 * PAGES, true);
	gpusvm_mock_job_end(mock);
	kunit_info(test, "%u jobs", jobs);
	gpusvm_mock_validate(mock);
}

static void test_bad(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct drm_gpusvm_instance_params params;
	struct drm_gpusvm_instance_ops ops;
	struct drm_gpusvm_instance *instance;

	instance = kunit_kzalloc(test, sizeof(*instance), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, instance);
	gpusvm_mock_params(device, &params);
	/* It would have to be mapped all the time, and that cannot be. */
	params.flags = DRM_GPUSVM_INSTANCE_FENCED;
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_attach(instance, &params), -EINVAL);
	ops = *params.ops;
	ops.quiesce = NULL;
	params.ops = &ops;
	params.flags |= DRM_GPUSVM_INSTANCE_EMPTY;
	KUNIT_EXPECT_EQ(test, drm_gpusvm_instance_attach(instance, &params), -EINVAL);
}

static struct kunit_case fenced_cases[] = {
	KUNIT_CASE(test_submit),
	KUNIT_CASE(test_empty),
	KUNIT_CASE_PARAM(test_order, order_gen_params),
	KUNIT_CASE(test_gaps),
	KUNIT_CASE(test_while_preparing),
	KUNIT_CASE(test_errors),
	KUNIT_CASE(test_read_only),
	KUNIT_CASE(test_all_writable),
	KUNIT_CASE(test_zaps_of_ours),
	KUNIT_CASE(test_several),
	KUNIT_CASE_SLOW(test_storm),
	KUNIT_CASE(test_bad),
	{}
};

static struct kunit_suite fenced_suite = {
	.name = "drm_gpusvm_mgr_fenced",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = fenced_cases,
};

kunit_test_suite(fenced_suite);
