// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Invalidations: fan-out to several instances, those that overlap, those that
 * may not block; write upgrades; what is dirty afterwards; and the walker.
 *
 * Behind each invalidation of the mm, the probe of the mock environment looks
 * for what is still reachable: what it finds fails the test at its end.
 */

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>

#include <asm/tlbflush.h>

#include "gpusvm_mgr_mock.h"

/* A range: 64 KiB. */
#define PAGES	16UL
#define SIZE	(PAGES * PAGE_SIZE)

/* A thread that should wait gets a while to show that it does not. */
static void gpusvm_inv_while(void)
{
	schedule_timeout_uninterruptible(msecs_to_jiffies(100));
}

static void gpusvm_inv_join(struct kunit *test, struct gpusvm_mock_thread *thread)
{
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(thread));
	KUNIT_EXPECT_EQ(test, thread->ret, 0);
}

static struct drm_gpusvm_mgr_range *
gpusvm_inv_range(struct gpusvm_mock *mock, unsigned long addr)
{
	struct drm_gpusvm_mgr_range *range =
		gpusvm_mgr_tree_find(&mock->base.mgr->tree, addr);

	KUNIT_ASSERT_NOT_NULL(mock->env->test, range);
	return range;
}

static unsigned long gpusvm_inv_seq(struct gpusvm_mock *mock, unsigned long addr)
{
	struct drm_gpusvm_mgr_range *range = gpusvm_inv_range(mock, addr);
	unsigned long seq = READ_ONCE(range->shadow.invalidate_seq);

	gpusvm_mgr_range_put(range);
	return seq;
}

static bool gpusvm_inv_present(struct gpusvm_mock *mock, unsigned long addr)
{
	struct drm_gpusvm_mgr_range *range = gpusvm_inv_range(mock, addr);
	bool present = test_bit(mock->base.slot, &range->present);

	gpusvm_mgr_range_put(range);
	return present;
}

static enum dma_data_direction
gpusvm_inv_dir(struct gpusvm_mock *mock, unsigned long addr)
{
	struct drm_gpusvm_mgr_range *range = gpusvm_inv_range(mock, addr);
	enum dma_data_direction dir = DMA_NONE;
	struct drm_gpusvm_mapping *mapping;
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	mapping = gpusvm_mgr_mapping_find(range, &mock->base);
	if (mapping && mapping->nr_runs)
		dir = mapping->pages.dma_addr[0].dir;
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	gpusvm_mgr_range_put(range);
	return dir;
}

static int gpusvm_inv_wrprotect_pte(pte_t *pte, unsigned long addr, void *data)
{
	ptep_set_wrprotect(data, addr, pte);
	return 0;
}

/*
 * What a fork leaves when the child is gone: pages of this process alone, behind
 * PTEs that may not be written. A write makes them writable and tells no
 * notifier, as nothing changes for those that have mapped them.
 */
static void gpusvm_inv_wrprotect(struct gpusvm_mock_env *env, unsigned long addr)
{
	mmap_read_lock(env->mm);
	KUNIT_EXPECT_EQ(env->test, 0,
			apply_to_page_range(env->mm, addr, SIZE,
					    gpusvm_inv_wrprotect_pte, env->mm));
	mmap_read_unlock(env->mm);
	flush_tlb_mm(env->mm);
}

/* Fan-out. */

struct gpusvm_inv_fanout {
	char name[4];
	unsigned int count;
};

static const struct gpusvm_inv_fanout gpusvm_inv_fanouts[] = {
	{ "1", 1 }, { "2", 2 }, { "3", 3 }, { "4", 4 },
	{ "5", 5 }, { "6", 6 }, { "7", 7 }, { "8", 8 },
};

KUNIT_ARRAY_PARAM_DESC(gpusvm_inv_fanout, gpusvm_inv_fanouts, name);

/*
 * The flush of each device is under way before any is waited for; the caller goes
 * on after the last one, whichever that is, and after each DMA mapping is gone.
 */
static void gpusvm_inv_fan_out(struct kunit *test)
{
	const struct gpusvm_inv_fanout *param = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_gate *invalidated;
	struct gpusvm_mock *mocks[8];
	struct gpusvm_mock_thread *a;
	int i, done, returned;

	for (i = 0; i < param->count; i++) {
		mocks[i] = gpusvm_mock_new(env);
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[i], addr,
							   DRM_GPUSVM_ACCESS_WRITE));
		gpusvm_mock_set_manual(mocks[i], true);
	}
	gpusvm_mock_validate(mocks[0]);
	gpusvm_mock_events_reset(env);

	a = gpusvm_mock_munmap_thread(env, addr, SIZE);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);
	gpusvm_mock_start(a);
	for (i = 0; i < param->count; i++)
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mocks[i], 1));
	for (i = 0; i < param->count; i++) {
		/* PTEs are gone, all else has to wait. */
		KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mocks[i], addr, addr + SIZE),
				GPUSVM_MOCK_TLB | GPUSVM_MOCK_DMA);
	}
	/* The last one to be waited for first. */
	for (i = param->count; i-- > 0; ) {
		KUNIT_EXPECT_FALSE(test, completion_done(&invalidated->reached));
		gpusvm_mock_set_manual(mocks[i], false);
	}
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	for (i = 0; i < param->count; i++)
		KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mocks[i], addr, addr + SIZE), 0);
	gpusvm_mock_gate_open(invalidated);
	gpusvm_inv_join(test, a);

	done = gpusvm_mock_event(env, NULL, GPUSVM_MOCK_FLUSH_DONE, 0);
	returned = gpusvm_mock_event(env, NULL, GPUSVM_MOCK_INVALIDATED, 0);
	for (i = 0; i < param->count; i++) {
		int zap = gpusvm_mock_event(env, mocks[i], GPUSVM_MOCK_ZAP, 0);
		int start = gpusvm_mock_event(env, mocks[i], GPUSVM_MOCK_FLUSH_START, 0);
		int unmapped = gpusvm_mock_event(env, mocks[i], GPUSVM_MOCK_UNMAPPED, 0);

		KUNIT_EXPECT_GE(test, zap, 0);
		KUNIT_EXPECT_LT(test, zap, start);
		KUNIT_EXPECT_LT(test, start, done);
		KUNIT_EXPECT_LT(test, done, unmapped);
		KUNIT_EXPECT_LT(test, unmapped, returned);
		/* Once is enough. */
		KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mocks[i],
							 GPUSVM_MOCK_FLUSH_START), 1);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mocks[i],
							 GPUSVM_MOCK_UNMAPPED), 1);
		KUNIT_EXPECT_EQ(test, atomic64_read(&mocks[i]->base.stats.invalidations), 1);
	}
	gpusvm_mock_validate(mocks[0]);
}

/* One flush for all that an event hits on a device, however many ranges. */
static void gpusvm_inv_one_flush(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, 4 * PAGES);
	int i;

	for (i = 0; i < 4; i++)
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + i * SIZE,
							   DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_validate(mock);
	gpusvm_mock_events_reset(env);
	/* From the middle of the first to the middle of the third. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr + SIZE / 2, 2 * SIZE));

	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_ZAP), 3);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_FLUSH_START), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_UNMAPPED), 3);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + 3 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr + 3 * SIZE, addr + 4 * SIZE),
			GPUSVM_MOCK_ANY);
	gpusvm_mock_validate(mock);
}

/* A lock that is held for long does not keep the flush of others back. */
static void gpusvm_inv_slow_lock(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *slow = gpusvm_mock_new(env);
	struct gpusvm_mock *quick = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_thread *a;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(slow, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(quick, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_set_manual(quick, true);
	/* The one that is waited for has the first slot. */
	KUNIT_ASSERT_LT(test, slow->base.slot, quick->base.slot);

	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	drm_gpusvm_notifier_lock(&slow->base.svm);
	gpusvm_mock_start(a);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_flush_wait(quick, 1));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(slow, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(quick, addr, addr + SIZE),
			GPUSVM_MOCK_TLB | GPUSVM_MOCK_DMA);
	drm_gpusvm_notifier_unlock(&slow->base.svm);

	gpusvm_mock_set_manual(quick, false);
	gpusvm_inv_join(test, a);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(slow, addr, addr + SIZE), 0);
	gpusvm_mock_validate(slow);
}

/* Overlapping invalidations. */

/*
 * I-8, and no more than that: B does not need A to go on. A stands behind its
 * flush, with nothing unmapped.
 */
static void gpusvm_inv_overtake(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_gate *finish;
	struct gpusvm_mock_thread *a, *b;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_events_reset(env);
	a = gpusvm_mock_zap_thread(env, addr, PAGE_SIZE);
	b = gpusvm_mock_zap_thread(env, addr + PAGE_SIZE, PAGE_SIZE);
	finish = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_FINISH, a);

	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(finish));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_DMA);
	gpusvm_mock_start(b);
	gpusvm_inv_join(test, b);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	KUNIT_EXPECT_FALSE(test, gpusvm_inv_present(mock, addr));
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(a));
	gpusvm_mock_validate(mock);

	gpusvm_mock_gate_open(finish);
	gpusvm_inv_join(test, a);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_UNMAPPED), 1);
	gpusvm_mock_validate(mock);
}

/* Two that share one range of two each: each waits for what covers its own. */
static void gpusvm_inv_overlap(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, 3 * PAGES);
	struct gpusvm_mock_thread *a, *b;
	int i;

	for (i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + i * SIZE,
							   DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_set_manual(mock, true);
	gpusvm_mock_events_reset(env);
	a = gpusvm_mock_zap_thread(env, addr, 2 * SIZE);
	b = gpusvm_mock_zap_thread(env, addr + SIZE, 2 * SIZE);

	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mock, 1));
	gpusvm_mock_start(b);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mock, 2));
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(a));

	gpusvm_mock_flush_complete(mock, 1);
	gpusvm_inv_join(test, a);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + 2 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr + 2 * SIZE, addr + 3 * SIZE),
			GPUSVM_MOCK_TLB | GPUSVM_MOCK_DMA);
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(b));
	gpusvm_mock_validate(mock);

	gpusvm_mock_flush_complete(mock, 1);
	gpusvm_inv_join(test, b);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + 3 * SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_ZAP), 3);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_UNMAPPED), 3);
	gpusvm_mock_validate(mock);
	gpusvm_mock_set_manual(mock, false);
}

static bool gpusvm_inv_wait_inline(struct drm_gpusvm_mgr *mgr, u64 count)
{
	unsigned long end = jiffies + msecs_to_jiffies(GPUSVM_MOCK_LIMIT_MS);
	struct drm_gpusvm_mgr_stats stats;

	do {
		drm_gpusvm_mgr_read_stats(mgr, &stats);
		if (stats.finish_inline >= count)
			return true;
		schedule_timeout_uninterruptible(1);
	} while (time_before(jiffies, end));
	return false;
}

/*
 * More at a time than there are finish objects: the others wait in their start
 * pass, and are as right.
 */
static void gpusvm_inv_pool(struct kunit *test)
{
	struct gpusvm_mock_thread *threads[GPUSVM_MGR_FINISHES + 4];
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct drm_gpusvm_mgr_stats stats;
	int i;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(one, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(two, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_set_manual(one, true);
	gpusvm_mock_set_manual(two, true);
	gpusvm_mock_events_reset(env);

	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i] = gpusvm_mock_zap_thread(env, addr + i * PAGE_SIZE, PAGE_SIZE);
		gpusvm_mock_start(threads[i]);
	}
	KUNIT_ASSERT_TRUE(test, gpusvm_inv_wait_inline(one->base.mgr, 4));
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(threads[i]));
	KUNIT_EXPECT_EQ(test, READ_ONCE(one->base.mgr->finishes_used),
			GENMASK(GPUSVM_MGR_FINISHES - 1, 0));

	/* One device is not enough for anybody. */
	gpusvm_mock_set_manual(one, false);
	gpusvm_inv_while();
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(threads[i]));
	gpusvm_mock_set_manual(two, false);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		gpusvm_inv_join(test, threads[i]);

	drm_gpusvm_mgr_read_stats(one->base.mgr, &stats);
	KUNIT_EXPECT_EQ(test, stats.finish_inline, 4);
	KUNIT_EXPECT_EQ(test, READ_ONCE(one->base.mgr->finishes_used), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, one, GPUSVM_MOCK_UNMAPPED), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, two, GPUSVM_MOCK_UNMAPPED), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(one, addr, addr + SIZE), 0);
	gpusvm_mock_validate(one);

	/* And it goes on as before. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(one, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(one, addr, addr + SIZE), 0);
	gpusvm_mock_validate(one);
}

/* Invalidations that may not block (I-4). */

static int gpusvm_inv_nonblock(struct gpusvm_mock_env *env, unsigned long addr,
			       unsigned long len)
{
	struct mmu_notifier_range range;
	int err;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, env->mm, addr, addr + len);
	err = mmu_notifier_invalidate_range_start_nonblock(&range);
	if (!err)
		mmu_notifier_invalidate_range_end(&range);
	return err;
}

static u64 gpusvm_inv_refused(struct gpusvm_mock *mock)
{
	struct drm_gpusvm_mgr_stats stats;

	drm_gpusvm_mgr_read_stats(mock->base.mgr, &stats);
	return stats.nonblock_refused;
}

static void gpusvm_inv_non_blockable(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, 2 * PAGES);
	struct gpusvm_mock_thread *a;
	unsigned long seq;

	/* No range. */
	KUNIT_EXPECT_EQ(test, 0, gpusvm_inv_nonblock(env, addr, SIZE));

	/* A range, and a mapping: refused, and all is as it was. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, -EAGAIN, gpusvm_inv_nonblock(env, addr, SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_inv_refused(mock), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_ZAP), 0);
	gpusvm_mock_validate(mock);

	/* Beside it: succeeds, and changes nothing there. */
	seq = gpusvm_inv_seq(mock, addr);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_inv_nonblock(env, addr + SIZE, SIZE));
	KUNIT_EXPECT_EQ(test, seq, gpusvm_inv_seq(mock, addr));

	/* PTEs gone, the TLB not yet: still refused. */
	gpusvm_mock_set_manual(mock, true);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mock, 1));
	KUNIT_EXPECT_EQ(test, -EAGAIN, gpusvm_inv_nonblock(env, addr, SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_inv_refused(mock), 2);
	gpusvm_mock_set_manual(mock, false);
	gpusvm_inv_join(test, a);

	/* A range of which nothing is mapped: succeeds, and is noticed. */
	KUNIT_EXPECT_FALSE(test, gpusvm_inv_present(mock, addr));
	seq = gpusvm_inv_seq(mock, addr);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_inv_nonblock(env, addr, SIZE));
	KUNIT_EXPECT_NE(test, seq, gpusvm_inv_seq(mock, addr));
	KUNIT_EXPECT_EQ(test, gpusvm_inv_refused(mock), 2);

	/* No epoch was left open. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	gpusvm_mock_validate(mock);
}

/*
 * A refused invalidation has marked its ranges. A filler that walked before looks
 * again, for nothing, but rightly.
 */
static void gpusvm_inv_non_blockable_race(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_gate *walked;
	struct gpusvm_mock_thread *f;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(one, addr, DRM_GPUSVM_ACCESS_WRITE));
	f = gpusvm_mock_fault_thread(two, addr, DRM_GPUSVM_ACCESS_WRITE);
	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, f);
	gpusvm_mock_start(f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));
	KUNIT_EXPECT_EQ(test, -EAGAIN, gpusvm_inv_nonblock(env, addr, SIZE));
	gpusvm_mock_gate_open(walked);
	gpusvm_inv_join(test, f);
	KUNIT_EXPECT_EQ(test, atomic64_read(&two->base.stats.retries), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(one, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(two, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	gpusvm_mock_validate(one);
}

static bool gpusvm_inv_refuse(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range,
			      unsigned long seq)
{
	if (!mmu_notifier_range_blockable(range))
		return false;
	mmu_interval_set_seq(notifier, seq);
	return true;
}

static const struct mmu_interval_notifier_ops gpusvm_inv_refuse_ops = {
	.invalidate = gpusvm_inv_refuse,
};

/*
 * Another notifier of the mm refuses. Ours was called before it or not at all;
 * either way no end follows, and nothing is left behind.
 */
static void gpusvm_inv_other_refuses(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, 2 * PAGES);
	struct mmu_interval_notifier *before, *behind;
	struct gpusvm_mock *mock;

	/* In the order of their start, those of one start in that of insertion. */
	before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);
	behind = kunit_kzalloc(test, sizeof(*behind), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, before);
	KUNIT_ASSERT_NOT_NULL(test, behind);
	KUNIT_ASSERT_EQ(test, 0, mmu_interval_notifier_insert(before, env->mm, 0,
							      addr + SIZE,
							      &gpusvm_inv_refuse_ops));
	mock = gpusvm_mock_new(env);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, SIZE));

	KUNIT_EXPECT_EQ(test, -EAGAIN, gpusvm_inv_nonblock(env, addr, SIZE));
	mmu_interval_notifier_remove(before);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, SIZE));
	gpusvm_mock_validate(mock);

	if (mmu_interval_notifier_insert(behind, env->mm, addr, SIZE,
					 &gpusvm_inv_refuse_ops)) {
		KUNIT_FAIL_AND_ABORT(test, "no notifier");
	}
	/* Ours agrees, as nothing is mapped; that one does not. */
	KUNIT_EXPECT_EQ(test, -EAGAIN, gpusvm_inv_nonblock(env, addr, SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_inv_refused(mock), 0);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_validate(mock);
	/* And together, when it may block. */
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	mmu_interval_notifier_remove(behind);
	gpusvm_mock_validate(mock);
}

/* Write upgrades. */

/*
 * Read-only to writable, without an invalidation: the old mapping goes with a
 * flush, and the direction of the DMA mapping changes.
 */
static void gpusvm_inv_upgrade(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	unsigned long before, after;
	struct gpusvm_mock_thread *f;
	int zap, start, done, unmapped, map;
	bool write;

	gpusvm_inv_wrprotect(env, addr);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr, &before, &write));
	KUNIT_EXPECT_FALSE(test, write);
	KUNIT_EXPECT_EQ(test, gpusvm_inv_dir(mock, addr), DMA_TO_DEVICE);
	gpusvm_mock_validate(mock);

	gpusvm_mock_events_reset(env);
	gpusvm_mock_set_manual(mock, true);
	f = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_ATOMIC);
	gpusvm_mock_start(f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mock, 1));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE),
			GPUSVM_MOCK_TLB | GPUSVM_MOCK_DMA);
	gpusvm_mock_set_manual(mock, false);
	gpusvm_inv_join(test, f);

	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr, &after, &write));
	KUNIT_EXPECT_TRUE(test, write);
	KUNIT_EXPECT_EQ(test, before, after);
	KUNIT_EXPECT_EQ(test, gpusvm_inv_dir(mock, addr), DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.upgrades), 1);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.retries), 0);
	/* That it was none is the point. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, NULL, GPUSVM_MOCK_INVALIDATED), 0);

	zap = gpusvm_mock_event(env, mock, GPUSVM_MOCK_ZAP, 0);
	start = gpusvm_mock_event(env, mock, GPUSVM_MOCK_FLUSH_START, 0);
	done = gpusvm_mock_event(env, mock, GPUSVM_MOCK_FLUSH_DONE, 0);
	unmapped = gpusvm_mock_event(env, mock, GPUSVM_MOCK_UNMAPPED, 0);
	map = gpusvm_mock_event(env, mock, GPUSVM_MOCK_MAP, 0);
	KUNIT_EXPECT_GE(test, zap, 0);
	KUNIT_EXPECT_LT(test, zap, start);
	KUNIT_EXPECT_LT(test, start, done);
	KUNIT_EXPECT_LT(test, done, unmapped);
	KUNIT_EXPECT_LT(test, unmapped, map);
	gpusvm_mock_validate(mock);
}

/*
 * An upgrade has walked, and loses against an invalidation whose flush is under
 * way. It must not unmap what that one has zapped.
 */
static void gpusvm_inv_upgrade_race(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_gate *walked, *invalidated;
	struct gpusvm_mock_thread *f, *a, *b;

	gpusvm_inv_wrprotect(env, addr);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));

	gpusvm_mock_set_manual(mock, true);
	f = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_WRITE);
	a = gpusvm_mock_zap_thread(env, addr, PAGE_SIZE);
	b = gpusvm_mock_zap_thread(env, addr + PAGE_SIZE, PAGE_SIZE);
	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, f);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, b);

	gpusvm_mock_start(f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mock, 1));
	gpusvm_mock_gate_open(walked);
	gpusvm_inv_while();
	KUNIT_EXPECT_TRUE(test, gpusvm_inv_present(mock, addr));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE),
			GPUSVM_MOCK_TLB | GPUSVM_MOCK_DMA);
	gpusvm_mock_start(b);
	gpusvm_inv_while();
	KUNIT_EXPECT_FALSE(test, completion_done(&invalidated->reached));

	gpusvm_mock_set_manual(mock, false);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(invalidated);
	gpusvm_inv_join(test, a);
	gpusvm_inv_join(test, b);
	gpusvm_inv_join(test, f);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	gpusvm_mock_validate(mock);
}

/* Memory never written to: the zero page, until the device writes. */
static void gpusvm_inv_upgrade_zero(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_mmap(env, PAGES, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE);
	unsigned long pfn;
	bool write;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr, &pfn, &write));
	KUNIT_EXPECT_TRUE(test, is_zero_pfn(pfn));
	KUNIT_EXPECT_FALSE(test, write);
	gpusvm_mock_validate(mock);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr, &pfn, &write));
	KUNIT_EXPECT_FALSE(test, is_zero_pfn(pfn));
	KUNIT_EXPECT_TRUE(test, write);
	KUNIT_EXPECT_EQ(test, pfn, page_to_pfn(gpusvm_mock_page(env, addr, true)));
	KUNIT_EXPECT_EQ(test, gpusvm_inv_dir(mock, addr), DMA_BIDIRECTIONAL);
	gpusvm_mock_validate(mock);
}

/* I-9, the other way round: what could not be written is not made dirty. */
static void gpusvm_inv_clean(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct page *page = gpusvm_mock_page(env, addr, true);
	struct gpusvm_mock_thread *a;

	gpusvm_inv_wrprotect(env, addr);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	ClearPageDirty(page);
	a = gpusvm_mock_invalidate_thread(env, addr, SIZE, MMU_NOTIFY_CLEAR);
	gpusvm_mock_start(a);
	gpusvm_inv_join(test, a);
	KUNIT_EXPECT_FALSE(test, PageDirty(page));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/* Dirty before the mapping goes, also where an upgrade or a removal takes it. */
static void gpusvm_inv_dirty_removed(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct page *page = gpusvm_mock_page(env, addr, true);
	struct drm_gpusvm_mgr_range *range;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	ClearPageDirty(page);
	range = gpusvm_inv_range(mock, addr);
	mutex_lock(&range->fault_mutex);
	KUNIT_EXPECT_TRUE(test, gpusvm_mgr_range_kill(range));
	mutex_unlock(&range->fault_mutex);
	gpusvm_mgr_range_put(range);
	gpusvm_mgr_gc_run(mock->base.mgr);
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
	gpusvm_mock_validate(mock);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	ClearPageDirty(page);
	gpusvm_mock_detach(mock);
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
}

/* A map callback that fails leaves nothing. */
static void gpusvm_inv_map_fails(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);

	mock->map_error = -EXDEV;
	KUNIT_EXPECT_EQ(test, -EXDEV, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	KUNIT_EXPECT_FALSE(test, gpusvm_inv_present(mock, addr));
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.dma_bytes), 0);
	gpusvm_mock_validate(mock);

	mock->map_error = 0;
	mock->prepare_error = -EXFULL;
	KUNIT_EXPECT_EQ(test, -EXFULL, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_validate(mock);

	mock->prepare_error = 0;
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.dma_bytes), SIZE);
	gpusvm_mock_validate(mock);
}

/* What the mm does. The probe looks on. */
static void gpusvm_inv_events(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	bool write;

	/* Read-only, and back. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_mprotect(env->mm, addr, SIZE, false));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
	KUNIT_EXPECT_EQ(test, -EPERM, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr, NULL, &write));
	KUNIT_EXPECT_FALSE(test, write);
	gpusvm_mock_validate(mock);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_mprotect(env->mm, addr, SIZE, true));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_peek(env, addr + 5 * PAGE_SIZE), 5);
	gpusvm_mock_validate(mock);

	/* A part of it away. The whole mapping goes; the rest comes back. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + 2 * PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(mock, addr + 2 * PAGE_SIZE,
							 DRM_GPUSVM_ACCESS_READ));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr + 3 * PAGE_SIZE,
						   DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr + 2 * PAGE_SIZE,
						addr + 3 * PAGE_SIZE), 0);
	gpusvm_mock_validate(mock);

	/* Something else in its place. */
	KUNIT_ASSERT_EQ(test, addr, vm_mmap(NULL, addr, SIZE, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, 0));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	gpusvm_mock_validate(mock);
}

/* The walker. */

/* Falsifies @lvalue for a moment. */
#define gpusvm_inv_corrupt(test, mgr, lvalue, value)				\
	do {									\
		typeof(lvalue) __old = (lvalue);				\
										\
		(lvalue) = (value);						\
		KUNIT_EXPECT_EQ_MSG(test, gpusvm_mgr_validate_quiet(mgr),	\
				    -EUCLEAN, "%s", #lvalue);			\
		(lvalue) = __old;						\
		KUNIT_EXPECT_EQ_MSG(test, gpusvm_mgr_validate_quiet(mgr), 0,	\
				    "%s", #lvalue);				\
	} while (0)

static void gpusvm_inv_walker(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	struct drm_gpusvm_mgr *mgr = mock->base.mgr;
	unsigned long addr = gpusvm_mock_anon(env, 2 * PAGES);
	struct drm_gpusvm_mgr_range *range, *next;
	struct drm_gpusvm_mapping *mapping;
	int idx;

	gpusvm_inv_wrprotect(env, addr);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + SIZE, DRM_GPUSVM_ACCESS_READ));
	gpusvm_mock_validate(mock);

	range = gpusvm_inv_range(mock, addr);
	next = gpusvm_inv_range(mock, addr + SIZE);
	KUNIT_ASSERT_PTR_NE(test, range, next);
	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	mapping = gpusvm_mgr_mapping_find(range, &mock->base);
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	KUNIT_ASSERT_NOT_NULL(test, mapping);

	gpusvm_inv_corrupt(test, mgr, range->mgr, NULL);
	gpusvm_inv_corrupt(test, mgr, range->end, range->start);
	gpusvm_inv_corrupt(test, mgr, range->end, range->end + PAGE_SIZE);
	gpusvm_inv_corrupt(test, mgr, range->start, range->start + 1);
	gpusvm_inv_corrupt(test, mgr, next->start, range->start);
	gpusvm_inv_corrupt(test, mgr, range->shadow.mm, NULL);
	gpusvm_inv_corrupt(test, mgr, range->shadow.invalidate_seq, 2);
	gpusvm_inv_corrupt(test, mgr, range->present, range->present | BIT(63));
	gpusvm_inv_corrupt(test, mgr, range->present, 0);

	gpusvm_inv_corrupt(test, mgr, mapping->start, mapping->start - PAGE_SIZE);
	gpusvm_inv_corrupt(test, mgr, mapping->end, mapping->end + PAGE_SIZE);
	gpusvm_inv_corrupt(test, mgr, mapping->instance, &other->base);
	gpusvm_inv_corrupt(test, mgr, mapping->pages.drm, NULL);
	gpusvm_inv_corrupt(test, mgr, mapping->pages.flags.__flags, 0);
	gpusvm_inv_corrupt(test, mgr, mapping->snapshot, NULL);
	gpusvm_inv_corrupt(test, mgr, mapping->nr_runs, mapping->nr_runs - 1);
	gpusvm_inv_corrupt(test, mgr, mapping->pages.dma_addr[0],
			   drm_pagemap_addr_encode(mapping->pages.dma_addr[0].addr,
						   DRM_INTERCONNECT_SYSTEM, 3,
						   DMA_TO_DEVICE));
	/* More for the device than the CPU has. */
	gpusvm_inv_corrupt(test, mgr, mapping->pages.dma_addr[0],
			   drm_pagemap_addr_encode(mapping->pages.dma_addr[0].addr,
						   DRM_INTERCONNECT_SYSTEM, 0,
						   DMA_BIDIRECTIONAL));

	gpusvm_inv_corrupt(test, mgr, mock->base.stats.dma_bytes,
			   (atomic64_t)ATOMIC64_INIT(3 * SIZE));
	gpusvm_inv_corrupt(test, mgr, mock->base.flush_done,
			   (atomic64_t)ATOMIC64_INIT(mock->base.flush_started + 1));

	gpusvm_mgr_range_put(next);
	gpusvm_mgr_range_put(range);
	gpusvm_mock_validate(mock);
}

/* All at once. */

#define STORM_RANGES	4UL
#define STORM_ROUNDS	150

static unsigned long gpusvm_storm_addr(struct gpusvm_mock_thread *thread,
				       struct rnd_state *rnd)
{
	return thread->addr +
	       prandom_u32_state(rnd) % (STORM_RANGES * PAGES) * PAGE_SIZE;
}

static int gpusvm_storm_fault(struct gpusvm_mock_thread *thread)
{
	struct rnd_state rnd;
	int i, err, good = 0;

	prandom_seed_state(&rnd, thread->len);
	for (i = 0; i < STORM_ROUNDS; i++) {
		unsigned long addr = gpusvm_storm_addr(thread, &rnd);

		err = gpusvm_mock_fault(thread->mock, addr,
					prandom_u32_state(&rnd) % 2 ?
					DRM_GPUSVM_ACCESS_WRITE : DRM_GPUSVM_ACCESS_READ);
		gpusvm_mock_touch(thread->mock, addr);
		if (!err)
			good++;
		/* Unmapped for a moment; or never left alone. */
		else if (err != -EFAULT && err != -EBUSY)
			return err;
	}
	return good ? 0 : -ENODATA;
}

static int gpusvm_storm_zap(struct gpusvm_mock_thread *thread)
{
	struct rnd_state rnd;
	int i;

	prandom_seed_state(&rnd, thread->len);
	for (i = 0; i < STORM_ROUNDS; i++) {
		unsigned long addr = gpusvm_storm_addr(thread, &rnd);

		/* May find no VMA. */
		gpusvm_mock_zap(thread->env->mm, addr, PAGE_SIZE);
	}
	return 0;
}

static int gpusvm_storm_remap(struct gpusvm_mock_thread *thread)
{
	struct rnd_state rnd;
	int i;

	prandom_seed_state(&rnd, thread->len);
	for (i = 0; i < STORM_ROUNDS / 2; i++) {
		unsigned long addr = gpusvm_storm_addr(thread, &rnd);
		unsigned long end = thread->addr + STORM_RANGES * SIZE;
		unsigned long len = min(end - addr, prandom_u32_state(&rnd) % 8 * PAGE_SIZE +
						    PAGE_SIZE);
		int err;

		err = vm_munmap(addr, len);
		if (err)
			return err;
		if (vm_mmap(NULL, addr, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0) != addr)
			return -ENOMEM;
	}
	return 0;
}

static void gpusvm_inv_storm(struct kunit *test)
{
	static int (* const funcs[])(struct gpusvm_mock_thread *thread) = {
		gpusvm_storm_fault, gpusvm_storm_fault, gpusvm_storm_fault,
		gpusvm_storm_fault, gpusvm_storm_zap, gpusvm_storm_zap,
		gpusvm_storm_remap,
	};
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_thread *threads[ARRAY_SIZE(funcs)];
	unsigned long addr = gpusvm_mock_anon(env, STORM_RANGES * PAGES);
	struct gpusvm_mock *mocks[3];
	bool through;
	int i;

	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		mocks[i] = gpusvm_mock_new(env);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		threads[i] = gpusvm_mock_thread(env, funcs[i]);
		threads[i]->mock = mocks[i % ARRAY_SIZE(mocks)];
		threads[i]->addr = addr;
		threads[i]->len = i + 1;
	}
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		gpusvm_mock_start(threads[i]);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		/* As long as it takes, within reason. */
		int tries = 6;

		do {
			gpusvm_mock_validate(mocks[0]);
			through = gpusvm_mock_join(threads[i]);
		} while (!through && --tries);
		KUNIT_ASSERT_TRUE(test, through);
		KUNIT_EXPECT_EQ(test, threads[i]->ret, 0);
	}
	gpusvm_mock_validate(mocks[0]);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, STORM_RANGES * SIZE));
	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mocks[i], addr,
							addr + STORM_RANGES * SIZE), 0);
	gpusvm_mock_validate(mocks[0]);
}

static struct kunit_case gpusvm_inv_cases[] = {
	KUNIT_CASE_PARAM(gpusvm_inv_fan_out, gpusvm_inv_fanout_gen_params),
	KUNIT_CASE(gpusvm_inv_one_flush),
	KUNIT_CASE(gpusvm_inv_slow_lock),
	KUNIT_CASE(gpusvm_inv_overtake),
	KUNIT_CASE(gpusvm_inv_overlap),
	KUNIT_CASE(gpusvm_inv_pool),
	KUNIT_CASE(gpusvm_inv_non_blockable),
	KUNIT_CASE(gpusvm_inv_non_blockable_race),
	KUNIT_CASE(gpusvm_inv_other_refuses),
	KUNIT_CASE(gpusvm_inv_upgrade),
	KUNIT_CASE(gpusvm_inv_upgrade_race),
	KUNIT_CASE(gpusvm_inv_upgrade_zero),
	KUNIT_CASE(gpusvm_inv_clean),
	KUNIT_CASE(gpusvm_inv_dirty_removed),
	KUNIT_CASE(gpusvm_inv_map_fails),
	KUNIT_CASE(gpusvm_inv_events),
	KUNIT_CASE(gpusvm_inv_walker),
	KUNIT_CASE_SLOW(gpusvm_inv_storm),
	{}
};

static struct kunit_suite gpusvm_inv_suite = {
	.name = "drm_gpusvm_mgr_invalidate",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = gpusvm_inv_cases,
};

kunit_test_suite(gpusvm_inv_suite);
