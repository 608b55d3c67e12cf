// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The notifier protocol, step by step. Each interleaving that a step is there
 * for is driven twice: with the step, where nothing may be seen, and with the
 * step left out, where the same scenario must end in what it protects from.
 * Else the scenario would not be the one that it is meant to be.
 *
 * What is seen is seen in the records of the mock, and the pages are held by the
 * test: a stale translation is never used.
 */

#include <linux/mm.h>
#include <linux/mman.h>

#include "gpusvm_mgr_mock.h"

/* A range: 64 KiB. */
#define PAGES	16UL
#define SIZE	(PAGES * PAGE_SIZE)

struct gpusvm_protocol_param {
	const char *name;
	bool broken;
};

static const struct gpusvm_protocol_param gpusvm_protocol_params[] = {
	{ .name = "intact", .broken = false },
	{ .name = "broken", .broken = true },
};

KUNIT_ARRAY_PARAM_DESC(gpusvm_protocol, gpusvm_protocol_params, name);

/* Leaves the step out where the test is the control. */
static bool gpusvm_protocol_begin(struct kunit *test, enum gpusvm_mgr_step step)
{
	const struct gpusvm_protocol_param *param = test->param_value;

	gpusvm_mock_break(gpusvm_mock_env(test), step, param->broken);
	return param->broken;
}

/*
 * What a thread does that should wait cannot be waited for. It is given a
 * while; that it does not get far is then checked, and holds however long or
 * short the while was.
 */
static void gpusvm_protocol_while(void)
{
	schedule_timeout_uninterruptible(msecs_to_jiffies(100));
}

/* Lets a thread run: to its end where it must get there, else for a while. */
static void gpusvm_protocol_run(struct kunit *test,
				struct gpusvm_mock_thread *thread, bool ends)
{
	if (ends)
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(thread));
	else
		gpusvm_protocol_while();
}

static void gpusvm_protocol_join(struct kunit *test,
				 struct gpusvm_mock_thread *thread)
{
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(thread));
	KUNIT_EXPECT_EQ(test, thread->ret, 0);
}

/* The violations so far: some where the step was left out, else none. */
static void gpusvm_protocol_verdict(struct kunit *test, bool broken)
{
	unsigned int seen = gpusvm_mock_take_all(gpusvm_mock_env(test));

	if (broken)
		KUNIT_EXPECT_NE_MSG(test, seen, 0, "the control was not caught");
	else
		KUNIT_EXPECT_EQ(test, seen, 0);
}

/* Populated memory whose pages the test holds. */
static unsigned long gpusvm_protocol_memory(struct gpusvm_mock_env *env)
{
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	unsigned long i;

	for (i = 0; i < PAGES; i++)
		gpusvm_mock_page(env, addr + i * PAGE_SIZE, true);
	return addr;
}

static struct drm_gpusvm_mgr_range *
gpusvm_protocol_range(struct gpusvm_mock *mock, unsigned long addr)
{
	struct drm_gpusvm_mgr_range *range =
		gpusvm_mgr_tree_find(&mock->base.mgr->tree, addr);

	KUNIT_ASSERT_NOT_NULL(mock->env->test, range);
	return range;
}

/*
 * READY, the early-visible range.
 *
 *	I: inserts	A: invalidates		T: faults
 *	reads 3
 *			sets 5, finds nothing,
 *			returns
 *	stores
 *						finds it, does not wait (3 is
 *						not 5), walks, commits
 *	copies 5
 *			clears PTEs
 */
static void gpusvm_protocol_ready(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_READY);
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *copy, *stored, *invalidated;
	struct gpusvm_mock_thread *i, *a, *t;

	i = gpusvm_mock_fault_thread(one, addr, DRM_GPUSVM_ACCESS_READ);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	t = gpusvm_mock_fault_thread(two, addr, DRM_GPUSVM_ACCESS_READ);
	copy = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_INSERT_COPY, i);
	stored = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_INSERT_STORED, i);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(i);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(copy));
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(copy);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(stored));
	gpusvm_mock_start(t);
	gpusvm_protocol_run(test, t, broken);
	if (!broken)
		KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(t));
	gpusvm_mock_check_gone(env, addr, addr + SIZE);

	gpusvm_mock_gate_open(stored);
	if (!broken) {
		gpusvm_protocol_while();
		gpusvm_mock_check_gone(env, addr, addr + SIZE);
		KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(t));
	}
	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_join(test, i);
	gpusvm_protocol_join(test, t);
	gpusvm_protocol_verdict(test, broken);
	gpusvm_mock_validate(one);
}

/*
 * STORE_FIRST: copied before the store, an invalidation in between is missed by
 * both.
 */
static void gpusvm_protocol_store_first(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_STORE_FIRST);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *copy, *invalidated;
	struct gpusvm_mock_thread *i, *a;

	i = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_READ);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	copy = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_INSERT_COPY, i);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(i);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(copy));
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(copy);
	gpusvm_protocol_run(test, i, broken);
	gpusvm_mock_check_gone(env, addr, addr + SIZE);

	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_join(test, i);
	gpusvm_protocol_verdict(test, broken);
	gpusvm_mock_validate(mock);
}

/*
 * CMPXCHG: the start pass has found the range and written 5; the insertion had
 * read 3 before.
 */
static void gpusvm_protocol_cmpxchg(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_CMPXCHG);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *stored, *invalidated;
	struct gpusvm_mock_thread *i, *a;

	i = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_READ);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	stored = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_INSERT_STORED, i);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(i);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(stored));
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(stored);
	gpusvm_protocol_run(test, i, broken);
	gpusvm_mock_check_gone(env, addr, addr + SIZE);

	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_join(test, i);
	gpusvm_protocol_verdict(test, broken);
	gpusvm_mock_validate(mock);
}

/*
 * SET_FIRST: looked up before the sequence is set, a range that is inserted in
 * between is not found, and copies the old sequence.
 */
static void gpusvm_protocol_set_first(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_SET_FIRST);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *set, *invalidated;
	struct gpusvm_mock_thread *i, *a;

	i = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_READ);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	set = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_START_SET, a);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(set));
	gpusvm_mock_start(i);
	gpusvm_protocol_run(test, i, broken);
	gpusvm_mock_gate_open(set);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_check_gone(env, addr, addr + SIZE);

	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_join(test, i);
	gpusvm_protocol_verdict(test, broken);
	gpusvm_mock_validate(mock);
}

/*
 * NOTE_FLUSH, overlapping start passes (I-8): B finds the PTEs zapped by A, whose
 * flush has not completed. B must wait for that.
 */
static void gpusvm_protocol_note_flush(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_NOTE_FLUSH);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *invalidated;
	struct gpusvm_mock_thread *a, *b;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_set_manual(mock, true);

	/* A hits another page of the range than B does. */
	a = gpusvm_mock_zap_thread(env, addr, PAGE_SIZE);
	b = gpusvm_mock_zap_thread(env, addr + 4 * PAGE_SIZE, PAGE_SIZE);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, b);

	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mock, 1));
	gpusvm_mock_start(b);
	if (broken) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	} else {
		gpusvm_protocol_while();
		KUNIT_EXPECT_FALSE(test, completion_done(&invalidated->reached));
	}
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(a));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_flush_pending(mock), 1);

	gpusvm_mock_set_manual(mock, false);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_join(test, b);
	gpusvm_protocol_verdict(test, broken);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/*
 * LEAVE_BIT, the stale loser: a filler whose check fails clears the bit, while
 * the TLB still has what an invalidation has zapped; the next invalidation
 * finds no bit and returns early.
 */
static void gpusvm_protocol_leave_bit(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_LEAVE_BIT);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct drm_gpusvm_fault fault = {
		.addr = addr,
		.access = DRM_GPUSVM_ACCESS_WRITE,
	};
	struct drm_gpusvm_mgr_range *range;
	struct gpusvm_mock_gate *invalidated;
	struct gpusvm_mock_thread *a, *b;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_set_manual(mock, true);

	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	b = gpusvm_mock_zap_thread(env, addr, SIZE);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, b);

	/* The filler is the test itself, with the steps. */
	range = drm_gpusvm_mgr_range_find_or_insert(&mock->base, &fault);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_mgr_range_lock(range));
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_mgr_range_snapshot(&mock->base, range, &fault));
	gpusvm_mock_start(a);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_flush_wait(mock, 1));
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			drm_gpusvm_mgr_range_map(&mock->base, range, &fault));
	drm_gpusvm_mgr_range_unlock(range);
	KUNIT_EXPECT_EQ(test, test_bit(mock->base.slot, &range->present), !broken);

	gpusvm_mock_start(b);
	if (broken) {
		KUNIT_EXPECT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	} else {
		gpusvm_protocol_while();
		KUNIT_EXPECT_FALSE(test, completion_done(&invalidated->reached));
	}
	KUNIT_EXPECT_EQ(test, gpusvm_mock_flush_pending(mock), 1);

	/* Mend it, or what A has zapped would never be unmapped. */
	set_bit(mock->base.slot, &range->present);
	drm_gpusvm_mgr_range_put(range);

	gpusvm_mock_set_manual(mock, false);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_join(test, b);
	gpusvm_protocol_verdict(test, broken);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/*
 * SET_BIT: the filler has checked the sequence; an invalidation that finds no
 * bit does not wait for it.
 */
static void gpusvm_protocol_set_bit(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_SET_BIT);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *checked, *invalidated;
	struct gpusvm_mock_thread *f, *a;

	f = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_WRITE);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	checked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_CHECKED, f);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(checked));
	gpusvm_mock_start(a);
	if (broken) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	} else {
		gpusvm_protocol_while();
		KUNIT_EXPECT_FALSE(test, completion_done(&invalidated->reached));
	}
	gpusvm_mock_gate_open(checked);
	gpusvm_protocol_join(test, f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_check_gone(env, addr, addr + SIZE);

	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_verdict(test, broken);
	gpusvm_mock_validate(mock);
}

/*
 * RECHECK: a whole start pass, finish included, between the walk and the commit.
 */
static void gpusvm_protocol_recheck(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_RECHECK);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *walked, *invalidated;
	struct gpusvm_mock_thread *f, *a;

	f = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_WRITE);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, f);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(walked);
	gpusvm_protocol_run(test, f, broken);
	gpusvm_mock_check_gone(env, addr, addr + SIZE);
	if (!broken)
		KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(f));

	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_join(test, f);
	gpusvm_protocol_verdict(test, broken);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.retries), broken ? 0 : 1);
	gpusvm_mock_validate(mock);
}

static int gpusvm_protocol_gc(struct gpusvm_mock_thread *thread)
{
	gpusvm_mgr_gc_run(thread->mock->base.mgr);
	return 0;
}

/*
 * ERASE_LAST: a removal has zapped; the flush has not completed. An invalidation
 * must still find the range.
 */
static void gpusvm_protocol_erase_last(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_ERASE_LAST);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *zapped, *invalidated;
	struct drm_gpusvm_mgr_range *range;
	struct gpusvm_mock_thread *gc, *a;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_set_manual(mock, true);

	range = gpusvm_protocol_range(mock, addr);
	mutex_lock(&range->fault_mutex);
	KUNIT_EXPECT_TRUE(test, gpusvm_mgr_range_kill(range));
	KUNIT_EXPECT_FALSE(test, gpusvm_mgr_range_kill(range));
	mutex_unlock(&range->fault_mutex);
	gpusvm_mgr_range_put(range);

	gc = gpusvm_mock_thread(env, gpusvm_protocol_gc);
	gc->mock = mock;
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	zapped = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_GC_ZAPPED, gc);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(gc);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(zapped));
	gpusvm_mock_start(a);
	if (broken) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	} else {
		gpusvm_protocol_while();
		KUNIT_EXPECT_FALSE(test, completion_done(&invalidated->reached));
	}
	KUNIT_EXPECT_EQ(test, gpusvm_mock_flush_pending(mock), 1);

	gpusvm_mock_set_manual(mock, false);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	gpusvm_mock_gate_open(zapped);
	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, gc);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_verdict(test, broken);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_find(&mock->base.mgr->tree, addr));
	gpusvm_mock_validate(mock);
}

/*
 * Takes away what a broken run has mapped in a range that is out of the tree, and
 * its mapping off the range's list: nobody else would. Under SRCU.
 */
static void gpusvm_protocol_mend(struct drm_gpusvm_mgr_range *range,
				 struct drm_gpusvm_mapping *mapping)
{
	struct drm_gpusvm_instance *instance = mapping->instance;
	u64 generation;

	spin_lock(&range->lock);
	hlist_add_head_rcu(&mapping->node, &range->mappings);
	spin_unlock(&range->lock);
	generation = gpusvm_mgr_mapping_zap_range(instance, range);
	gpusvm_mgr_flush_wait(instance, generation);
	gpusvm_mgr_mapping_unmap_range(instance, range);
	/* Its freeing is on the way already. */
	gpusvm_mgr_mapping_unlink(range, instance);
}

/*
 * BURY_LAST: queued for removal before its sequence is set, a range is removed
 * while a filler, that took it for alive, has not set its bit.
 *
 *	F: fills		A: unmaps		GC: removes
 *	not dead
 *				dead
 *							no bit, erases it
 *	bit, same sequence,
 *	maps
 *				sets the sequence,
 *				finds nothing
 */
static void gpusvm_protocol_bury_last(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_BURY_LAST);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_gate *alive, *dead, *invalidated;
	struct drm_gpusvm_mgr_range *range;
	struct gpusvm_mock_thread *f, *a, *gc;
	int idx;

	f = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_WRITE);
	a = gpusvm_mock_munmap_thread(env, addr, SIZE);
	gc = gpusvm_mock_thread(env, gpusvm_protocol_gc);
	gc->mock = mock;
	alive = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_ALIVE, f);
	dead = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_START_DEAD, a);
	invalidated = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_INVALIDATED, a);

	gpusvm_mock_start(f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(alive));
	range = gpusvm_protocol_range(mock, addr);
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(dead));
	KUNIT_EXPECT_TRUE(test, gpusvm_mgr_range_is_dead(range));

	/* So that what the removal unlinks can be mended. */
	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	gpusvm_mock_start(gc);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_join(gc));
	gpusvm_mock_gate_open(alive);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_join(f));
	/* Rightly: the mm has changed nothing yet. */
	KUNIT_EXPECT_EQ(test, f->ret, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	gpusvm_mock_gate_open(dead);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_gate_reached(invalidated));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE),
			broken ? GPUSVM_MOCK_ANY : 0);
	if (broken)
		gpusvm_protocol_mend(range, alive->object);
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	gpusvm_mgr_range_put(range);

	gpusvm_mock_gate_open(invalidated);
	gpusvm_protocol_join(test, a);
	gpusvm_protocol_verdict(test, broken);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mgr_gc_run(mock->base.mgr);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_find(&mock->base.mgr->tree, addr));
	gpusvm_mock_validate(mock);
}

/* ZAP_WHOLE: the DMA mapping goes as a whole, so the PTEs must, too. */
static void gpusvm_protocol_zap_whole(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_ZAP_WHOLE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr + 3 * PAGE_SIZE, PAGE_SIZE));
	if (broken)
		KUNIT_EXPECT_NE(test, gpusvm_mock_take(env, GPUSVM_MOCK_EARLY_UNMAP), 0);
	else
		KUNIT_EXPECT_EQ(test, gpusvm_mock_take_all(env), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/*
 * DIRTY (I-9): the CPU's PTE is writable and the page clean, as a swap-in by read
 * leaves it. The device may have written when the mapping goes.
 */
static void gpusvm_protocol_dirty(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_DIRTY);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct page *pages[PAGES];
	struct gpusvm_mock_thread *a;
	bool write;
	int i;

	for (i = 0; i < PAGES; i++)
		pages[i] = gpusvm_mock_page(env, addr + i * PAGE_SIZE, true);
	/* A read is enough to make it writable for the device. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_READ));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr, NULL, &write));
	KUNIT_EXPECT_TRUE(test, write);

	for (i = 0; i < PAGES; i++)
		ClearPageDirty(pages[i]);
	a = gpusvm_mock_invalidate_thread(env, addr, PAGE_SIZE, MMU_NOTIFY_CLEAR);
	gpusvm_mock_start(a);
	gpusvm_protocol_join(test, a);

	/* All of them: all of them were mapped. */
	for (i = 0; i < PAGES; i++)
		KUNIT_EXPECT_EQ(test, !PageDirty(pages[i]), broken);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/* FLUSH: PTEs gone, TLB entries not. */
static void gpusvm_protocol_flush(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_FLUSH);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE),
			broken ? GPUSVM_MOCK_TLB : 0);
	if (broken) {
		KUNIT_EXPECT_NE(test, gpusvm_mock_take(env, GPUSVM_MOCK_STALE_TLB), 0);
		KUNIT_EXPECT_NE(test, gpusvm_mock_take(env, GPUSVM_MOCK_EARLY_UNMAP), 0);
	}
	KUNIT_EXPECT_EQ(test, gpusvm_mock_take_all(env), 0);
	gpusvm_mock_validate(mock);

	/* A flush, at last. */
	gpusvm_mock_break(env, GPUSVM_MGR_STEP_FLUSH, false);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/* TWO_PASS: all flushes are started before the first one is waited for. */
static void gpusvm_protocol_two_pass(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_TWO_PASS);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock *mocks[4];
	struct gpusvm_mock_thread *a;
	int i, done;

	for (i = 0; i < ARRAY_SIZE(mocks); i++) {
		mocks[i] = gpusvm_mock_new(env);
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[i], addr,
							   DRM_GPUSVM_ACCESS_WRITE));
		gpusvm_mock_set_manual(mocks[i], true);
	}

	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	gpusvm_mock_start(a);
	for (i = 0; i < ARRAY_SIZE(mocks); i++) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mocks[i], 1));
		/* The start pass stands here, or it goes on by itself. */
		if (broken) {
			if (i + 1 < ARRAY_SIZE(mocks))
				KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_flush_pending(mocks[i + 1]));
			gpusvm_mock_set_manual(mocks[i], false);
		}
	}
	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		gpusvm_mock_set_manual(mocks[i], false);
	gpusvm_protocol_join(test, a);

	/* By the log: is there a flush that began when another one was done? */
	done = gpusvm_mock_event(env, NULL, GPUSVM_MOCK_FLUSH_DONE, 0);
	KUNIT_ASSERT_GE(test, done, 0);
	for (i = 0; i < ARRAY_SIZE(mocks); i++) {
		int start = gpusvm_mock_event(env, mocks[i], GPUSVM_MOCK_FLUSH_START, 0);

		KUNIT_ASSERT_GE(test, start, 0);
		if (i)
			KUNIT_EXPECT_EQ(test, start > done, broken);
	}
	gpusvm_mock_validate(mocks[0]);
}

/*
 * MISS: an invalidation that meets no range takes no lock of an instance and
 * calls none. All of them are held for write meanwhile.
 */
static void gpusvm_protocol_miss(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_MISS);
	unsigned long addr = gpusvm_protocol_memory(env);
	unsigned long elsewhere = gpusvm_mock_anon(env, PAGES);
	struct drm_gpusvm_mgr_stats before, after;
	struct gpusvm_mock *mocks[4];
	struct gpusvm_mock_thread *a;
	s64 met = 0;
	int i;

	for (i = 0; i < ARRAY_SIZE(mocks); i++) {
		mocks[i] = gpusvm_mock_new(env);
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[i], addr,
							   DRM_GPUSVM_ACCESS_WRITE));
	}
	drm_gpusvm_mgr_read_stats(mocks[0]->base.mgr, &before);
	gpusvm_mock_events_reset(env);

	a = gpusvm_mock_munmap_thread(env, elsewhere, SIZE);
	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		down_write_nested(&mocks[i]->base.svm.notifier_lock, i);
	gpusvm_mock_start(a);
	if (broken)
		gpusvm_protocol_while();
	else
		KUNIT_EXPECT_TRUE(test, gpusvm_mock_join(a));
	/* One that takes a lock cannot be done. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_thread_done(a), !broken);
	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		up_write(&mocks[i]->base.svm.notifier_lock);
	gpusvm_protocol_join(test, a);

	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		met += atomic64_read(&mocks[i]->base.stats.invalidations);
	KUNIT_EXPECT_EQ(test, met, broken ? ARRAY_SIZE(mocks) : 0);
	drm_gpusvm_mgr_read_stats(mocks[0]->base.mgr, &after);
	KUNIT_EXPECT_EQ(test, after.invalidations_missed - before.invalidations_missed, 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, NULL, GPUSVM_MOCK_ZAP), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, NULL, GPUSVM_MOCK_FLUSH_START), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mocks[0], addr, addr + SIZE),
			GPUSVM_MOCK_ANY);
	gpusvm_mock_validate(mocks[0]);
}

/* SHARE (I-5): what one instance has walked serves the next. */
static void gpusvm_protocol_share(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_SHARE);
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct drm_gpusvm_mgr_stats stats;
	unsigned long pfn[2];

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(one, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(two, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(one, addr, &pfn[0], NULL));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(two, addr, &pfn[1], NULL));
	KUNIT_EXPECT_EQ(test, pfn[0], pfn[1]);

	drm_gpusvm_mgr_read_stats(one->base.mgr, &stats);
	KUNIT_EXPECT_EQ(test, stats.walks, broken ? 2 : 1);
	KUNIT_EXPECT_EQ(test, stats.snapshot_hits, broken ? 0 : 1);
	gpusvm_mock_validate(one);
}

/*
 * OWN_RANGE (I-2): an invalidation of another range changes no sequence here,
 * and a fault that is between walk and commit does not look again.
 */
static void gpusvm_protocol_own_range(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_OWN_RANGE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	unsigned long elsewhere = gpusvm_protocol_memory(env);
	struct drm_gpusvm_mgr_range *range;
	struct gpusvm_mock_gate *walked;
	struct gpusvm_mock_thread *f, *a;
	unsigned long seq;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, elsewhere,
						   DRM_GPUSVM_ACCESS_WRITE));
	/* A mapping that is there, and one that is being made. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(other, addr, DRM_GPUSVM_ACCESS_WRITE));
	f = gpusvm_mock_fault_thread(mock, addr, DRM_GPUSVM_ACCESS_WRITE);
	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, f);
	gpusvm_mock_start(f);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));

	range = gpusvm_protocol_range(mock, addr);
	seq = READ_ONCE(range->shadow.invalidate_seq);
	a = gpusvm_mock_munmap_thread(env, elsewhere, SIZE);
	gpusvm_mock_start(a);
	gpusvm_protocol_join(test, a);
	KUNIT_EXPECT_EQ(test, READ_ONCE(range->shadow.invalidate_seq) != seq, broken);
	gpusvm_mgr_range_put(range);

	gpusvm_mock_gate_open(walked);
	gpusvm_protocol_join(test, f);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.retries), broken ? 1 : 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(other, addr, addr + SIZE), GPUSVM_MOCK_ANY);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, elsewhere, elsewhere + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/* Lockdep knows which locks a task holds, until it has found something. */
static void gpusvm_protocol_need_lockdep(struct kunit *test)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP) || !debug_locks)
		kunit_skip(test, "no lockdep");
}

/* UNLOCK: a device is waited for, and its lock held, which a fault of it needs. */
static void gpusvm_protocol_unlock(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	bool broken = gpusvm_protocol_begin(test, GPUSVM_MGR_STEP_UNLOCK);
	int before = atomic_read(&gpusvm_mgr_locked_waits);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct gpusvm_mock_thread *a;

	gpusvm_protocol_need_lockdep(test);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	gpusvm_mock_set_manual(mock, true);
	a = gpusvm_mock_zap_thread(env, addr, SIZE);
	gpusvm_mock_start(a);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_flush_wait(mock, 1));
	gpusvm_mock_set_manual(mock, false);
	gpusvm_protocol_join(test, a);

	KUNIT_EXPECT_EQ(test, atomic_read(&gpusvm_mgr_locked_waits) - before, broken ? 1 : 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), 0);
	gpusvm_mock_validate(mock);
}

/* Nor any other inner lock, whosever it is. An outer one may be held. */
static void gpusvm_protocol_unlock_all(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_protocol_memory(env);
	struct drm_gpusvm_mgr_range *range;
	int before = atomic_read(&gpusvm_mgr_locked_waits);

	gpusvm_protocol_need_lockdep(test);
	/* All of these are counted, and none of them reported. */
	gpusvm_mock_break(env, GPUSVM_MGR_STEP_UNLOCK, true);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(two, addr, DRM_GPUSVM_ACCESS_WRITE));
	range = gpusvm_protocol_range(two, addr);

	gpusvm_mgr_flush_wait(&one->base, 0);
	mutex_lock(&range->fault_mutex);
	gpusvm_mgr_flush_wait(&one->base, 0);
	mutex_unlock(&range->fault_mutex);
	KUNIT_EXPECT_EQ(test, atomic_read(&gpusvm_mgr_locked_waits) - before, 0);

	drm_gpusvm_notifier_lock(&one->base.svm);
	gpusvm_mgr_assert_may_wait(&one->base);
	drm_gpusvm_notifier_unlock(&one->base.svm);
	KUNIT_EXPECT_EQ(test, atomic_read(&gpusvm_mgr_locked_waits) - before, 1);

	down_write(&two->base.svm.notifier_lock);
	gpusvm_mgr_assert_may_wait(&one->base);
	up_write(&two->base.svm.notifier_lock);
	KUNIT_EXPECT_EQ(test, atomic_read(&gpusvm_mgr_locked_waits) - before, 2);

	spin_lock(&range->lock);
	gpusvm_mgr_assert_may_wait(&one->base);
	spin_unlock(&range->lock);
	KUNIT_EXPECT_EQ(test, atomic_read(&gpusvm_mgr_locked_waits) - before, 3);

	rcu_read_lock();
	gpusvm_mgr_assert_may_wait(&one->base);
	rcu_read_unlock();
	KUNIT_EXPECT_EQ(test, atomic_read(&gpusvm_mgr_locked_waits) - before, 4);

	gpusvm_mgr_range_put(range);
	gpusvm_mock_break(env, GPUSVM_MGR_STEP_UNLOCK, false);
}

#define GPUSVM_PROTOCOL_CASE(name)						\
	KUNIT_CASE_PARAM(gpusvm_protocol_##name, gpusvm_protocol_gen_params)

static struct kunit_case gpusvm_protocol_cases[] = {
	GPUSVM_PROTOCOL_CASE(ready),
	GPUSVM_PROTOCOL_CASE(store_first),
	GPUSVM_PROTOCOL_CASE(cmpxchg),
	GPUSVM_PROTOCOL_CASE(set_first),
	GPUSVM_PROTOCOL_CASE(note_flush),
	GPUSVM_PROTOCOL_CASE(leave_bit),
	GPUSVM_PROTOCOL_CASE(set_bit),
	GPUSVM_PROTOCOL_CASE(recheck),
	GPUSVM_PROTOCOL_CASE(erase_last),
	GPUSVM_PROTOCOL_CASE(bury_last),
	GPUSVM_PROTOCOL_CASE(zap_whole),
	GPUSVM_PROTOCOL_CASE(dirty),
	GPUSVM_PROTOCOL_CASE(flush),
	GPUSVM_PROTOCOL_CASE(two_pass),
	GPUSVM_PROTOCOL_CASE(miss),
	GPUSVM_PROTOCOL_CASE(share),
	GPUSVM_PROTOCOL_CASE(own_range),
	GPUSVM_PROTOCOL_CASE(unlock),
	KUNIT_CASE(gpusvm_protocol_unlock_all),
	{}
};

static struct kunit_suite gpusvm_protocol_suite = {
	.name = "drm_gpusvm_mgr_protocol",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = gpusvm_protocol_cases,
};

kunit_test_suite(gpusvm_protocol_suite);
