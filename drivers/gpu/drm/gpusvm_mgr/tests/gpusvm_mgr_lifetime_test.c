// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Lifetime: attach and detach, ranges that die, VMAs that change, the exit of
 * the process, and allocations that fail.
 */

#include <linux/delay.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/device/faux.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#if defined(CONFIG_X86_64) || defined(CONFIG_ARM64)
#include <asm/syscall.h>
#endif

#include "gpusvm_mgr_fail.h"
#include "gpusvm_mgr_mock.h"

#define RD	DRM_GPUSVM_ACCESS_READ
#define WR	DRM_GPUSVM_ACCESS_WRITE
#define AT	DRM_GPUSVM_ACCESS_ATOMIC

#define RW	(PROT_READ | PROT_WRITE)

/* Pages of the middle and of the largest chunk size. */
#define MIDDLE	(MOCK_MIDDLE / PAGE_SIZE)
#define LARGE	(MOCK_LARGE / PAGE_SIZE)

static unsigned long cpu_pfn(struct gpusvm_mock_env *env, unsigned long addr)
{
	return page_to_pfn(gpusvm_mock_page(env, addr, false));
}

/* The device has the CPU's page there, with this permission. */
static void expect_pte(struct gpusvm_mock *mock, unsigned long addr, bool write)
{
	struct kunit *test = mock->env->test;
	unsigned long pfn = 0;
	bool writable = false;

	KUNIT_EXPECT_TRUE_MSG(test, gpusvm_mock_pte(mock, addr, &pfn, &writable),
			      "no PTE at 0x%lx", addr);
	KUNIT_EXPECT_EQ_MSG(test, pfn, cpu_pfn(mock->env, addr), "at 0x%lx", addr);
	KUNIT_EXPECT_EQ_MSG(test, writable, write, "at 0x%lx", addr);
}

static u64 invalidations(struct drm_gpusvm_mgr *mgr)
{
	struct drm_gpusvm_mgr_stats stats;

	drm_gpusvm_mgr_read_stats(mgr, &stats);
	return stats.invalidations;
}

static u64 ranges(struct drm_gpusvm_mgr *mgr)
{
	struct drm_gpusvm_mgr_stats stats;

	drm_gpusvm_mgr_read_stats(mgr, &stats);
	return stats.ranges;
}

/* The range at an address as it is now; only to be compared. */
static struct drm_gpusvm_mgr_range *range_at(struct drm_gpusvm_mgr *mgr,
					     unsigned long addr,
					     unsigned long *start,
					     unsigned long *end,
					     unsigned long *seq)
{
	struct drm_gpusvm_mgr_range *range = gpusvm_mgr_tree_find(&mgr->tree, addr);

	if (!range)
		return NULL;
	if (start)
		*start = range->start;
	if (end)
		*end = range->end;
	if (seq)
		*seq = READ_ONCE(range->shadow.invalidate_seq);
	drm_gpusvm_mgr_range_put(range);
	return range;
}

/* The manager and its notifier are there from the first attach to the last detach. */
static void test_notifier_registration(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, 8 * MIDDLE);
	struct gpusvm_mock *first = gpusvm_mock_new(env);
	struct gpusvm_mock *second = gpusvm_mock_new(env);
	struct drm_gpusvm_mgr *mgr = first->base.mgr;
	unsigned long index = 0;
	unsigned int id;
	u64 before;

	KUNIT_EXPECT_PTR_EQ(test, second->base.mgr, mgr);
	KUNIT_EXPECT_NE(test, first->base.slot, second->base.slot);

	before = invalidations(mgr);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, MOCK_MIDDLE));
	KUNIT_EXPECT_GT(test, invalidations(mgr), before);

	/* Not with any detach, with the last one. */
	gpusvm_mock_detach(first);
	gpusvm_mock_validate(second);
	before = invalidations(mgr);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + MOCK_MIDDLE, MOCK_MIDDLE));
	KUNIT_EXPECT_GT(test, invalidations(mgr), before);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(second, addr + 2 * MOCK_MIDDLE, WR));
	KUNIT_EXPECT_EQ(test, ranges(mgr), 1);

	/* A reference of ours, to look at what is left. */
	KUNIT_ASSERT_PTR_EQ(test, gpusvm_mgr_get(env->mm), mgr);
	gpusvm_mock_detach(second);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_next(&mgr->tree, &index, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, ranges(mgr), 0);
	before = invalidations(mgr);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr + 3 * MOCK_MIDDLE, MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(test, invalidations(mgr), before);

	/* Registered anew, on the manager that is still there. */
	first = gpusvm_mock_new(env);
	KUNIT_EXPECT_PTR_EQ(test, first->base.mgr, mgr);
	id = mgr->id;
	gpusvm_mgr_put(mgr);
	before = invalidations(mgr);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + 4 * MOCK_MIDDLE, MOCK_MIDDLE));
	KUNIT_EXPECT_GT(test, invalidations(mgr), before);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(first, addr + 5 * MOCK_MIDDLE, WR));
	expect_pte(first, addr + 5 * MOCK_MIDDLE, true);
	gpusvm_mock_validate(first);

	/* And without anybody it is gone: the next one is another. */
	gpusvm_mock_detach(first);
	first = gpusvm_mock_new(env);
	KUNIT_EXPECT_NE(test, first->base.mgr->id, id);
	gpusvm_mock_validate(first);
}

static void test_slots(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct gpusvm_mock **mocks, *more = NULL;
	struct drm_gpusvm_mgr_stats stats;
	u64 slots = 0;
	unsigned int i;

	mocks = kunit_kcalloc(test, GPUSVM_MGR_SLOTS, sizeof(*mocks), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mocks);
	for (i = 0; i < GPUSVM_MGR_SLOTS; i++) {
		mocks[i] = gpusvm_mock_attach(env, device, 0);
		slots |= BIT_ULL(mocks[i]->base.slot);
	}
	KUNIT_EXPECT_EQ(test, slots, U64_MAX);
	KUNIT_EXPECT_EQ(test, -ENOSPC, gpusvm_mock_try_attach(env, device, 0, &more));
	drm_gpusvm_mgr_read_stats(mocks[0]->base.mgr, &stats);
	KUNIT_EXPECT_EQ(test, stats.instances, GPUSVM_MGR_SLOTS);

	/* All of them on one page, and off it again. */
	for (i = 0; i < GPUSVM_MGR_SLOTS; i++) {
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[i], addr, WR));
		expect_pte(mocks[i], addr, true);
	}
	gpusvm_mock_validate(mocks[0]);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE));
	for (i = 0; i < GPUSVM_MGR_SLOTS; i++)
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mocks[i], addr, addr + MOCK_MIDDLE));
	gpusvm_mock_validate(mocks[0]);

	/* One that is free is taken; it has nothing of who had it before. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[17], addr, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[63], addr, WR));
	gpusvm_mock_detach(mocks[17]);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mocks[17], addr, addr + MOCK_MIDDLE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_try_attach(env, device, 0, &more));
	KUNIT_EXPECT_EQ(test, more->base.slot, mocks[17]->base.slot);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(more, addr, addr + MOCK_MIDDLE));
	gpusvm_mock_validate(more);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(more, addr, WR));
	expect_pte(more, addr, true);
	expect_pte(mocks[63], addr, true);
	gpusvm_mock_validate(more);
	KUNIT_EXPECT_EQ(test, -ENOSPC, gpusvm_mock_try_attach(env, device, 0, &more));
}

enum bad_attach {
	BAD_NO_OPS,
	BAD_NO_MAP,
	BAD_NO_ZAP,
	BAD_NO_FLUSH,
	BAD_NO_ALLOC,
	BAD_NO_FREE,
	BAD_FLAGS,
	BAD_NO_MM,
};

struct bad_attach_case {
	const char *name;
	enum bad_attach bad;
};

static const struct bad_attach_case bad_attach_cases[] = {
	{ "no ops", BAD_NO_OPS },
	{ "no map", BAD_NO_MAP },
	{ "no zap", BAD_NO_ZAP },
	{ "no flush", BAD_NO_FLUSH },
	{ "mapping_free without mapping_alloc", BAD_NO_ALLOC },
	{ "mapping_alloc without mapping_free", BAD_NO_FREE },
	{ "unknown flag", BAD_FLAGS },
	{ "kernel thread", BAD_NO_MM },
};

KUNIT_ARRAY_PARAM_DESC(bad_attach, bad_attach_cases, name);

static void test_bad_attach(struct kunit *test)
{
	const struct bad_attach_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct drm_gpusvm_instance_params params;
	struct drm_gpusvm_instance_ops ops;
	struct drm_gpusvm_instance *instance;
	struct gpusvm_mock *mock;
	int err;

	instance = kunit_kzalloc(test, sizeof(*instance), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, instance);
	gpusvm_mock_params(device, &params);
	ops = *params.ops;
	params.ops = &ops;
	switch (c->bad) {
	case BAD_NO_OPS:
		params.ops = NULL;
		break;
	case BAD_NO_MAP:
		ops.map = NULL;
		break;
	case BAD_NO_ZAP:
		ops.zap = NULL;
		break;
	case BAD_NO_FLUSH:
		ops.flush = NULL;
		break;
	case BAD_NO_ALLOC:
		ops.mapping_alloc = NULL;
		break;
	case BAD_NO_FREE:
		ops.mapping_free = NULL;
		break;
	case BAD_FLAGS:
		params.flags = ~(unsigned int)DRM_GPUSVM_INSTANCE_EAGER;
		break;
	case BAD_NO_MM:
		break;
	}

	if (c->bad == BAD_NO_MM)
		kthread_unuse_mm(env->mm);
	err = drm_gpusvm_instance_attach(instance, &params);
	if (c->bad == BAD_NO_MM)
		kthread_use_mm(env->mm);
	KUNIT_EXPECT_EQ(test, err, -EINVAL);
	if (!err)
		drm_gpusvm_instance_detach(instance);

	/* The device is none the worse for it. */
	mock = gpusvm_mock_attach(env, device, 0);
	gpusvm_mock_validate(mock);
}

/* A device that does not reach all memory would be given copies. */
static void test_dma_mask(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct device *dev = &device->faux->dev;
	struct gpusvm_mock *mock = NULL;

	/* As if it had none: dma_set_mask() refuses what is that small. */
	*dev->dma_mask = DMA_BIT_MASK(20);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, gpusvm_mock_try_attach(env, device, 0, &mock));
	KUNIT_EXPECT_NULL(test, mock);

	*dev->dma_mask = DMA_BIT_MASK(64);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_try_attach(env, device, 0, &mock));
	if (mock)
		gpusvm_mock_validate(mock);
}

/* So would one that does not see the CPU's caches, where there are such devices. */
static void test_dma_not_coherent(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct device *dev = &device->faux->dev;
	struct gpusvm_mock *mock = NULL;
	bool coherent;

	/* What a device needs is looked up as its mask is set. */
	dev_clear_dma_coherent(dev);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(dev, DMA_BIT_MASK(64)));
	coherent = dev_is_dma_coherent(dev);
	KUNIT_EXPECT_EQ(test, coherent ? 0 : -EOPNOTSUPP,
			gpusvm_mock_try_attach(env, device, 0, &mock));
	KUNIT_EXPECT_EQ(test, coherent, !!mock);

	dev_set_dma_coherent(dev);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(dev, DMA_BIT_MASK(64)));
	mock = gpusvm_mock_attach(env, device, 0);
	gpusvm_mock_validate(mock);
}

/* Several VMs of one device: each is on its own. */
static void test_one_device(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct gpusvm_mock *mocks[3];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		mocks[i] = gpusvm_mock_attach(env, device, 0);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[0], addr, WR));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mocks[1], addr, addr + MOCK_MIDDLE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[1], addr, RD));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mocks[2], addr, RD));
	gpusvm_mock_validate(mocks[0]);

	gpusvm_mock_detach(mocks[1]);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mocks[1], addr, addr + MOCK_MIDDLE));
	expect_pte(mocks[0], addr, true);
	expect_pte(mocks[2], addr, true);
	gpusvm_mock_validate(mocks[0]);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mocks[0], addr, addr + MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mocks[2], addr, addr + MOCK_MIDDLE));
	gpusvm_mock_validate(mocks[0]);
}

/* Killed first, then detached; the others do not notice. */
static void test_kill(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, 2 * MIDDLE);
	struct gpusvm_mock *mock = gpusvm_mock_attach(env, gpusvm_mock_device(env),
						      DRM_GPUSVM_INSTANCE_EAGER);
	struct gpusvm_mock *other = gpusvm_mock_new(env);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(other, addr, WR));
	drm_gpusvm_instance_kill(&mock->base);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE));
	expect_pte(other, addr, true);
	gpusvm_mock_validate(other);

	/* Neither by a fault of its own nor by that of another, for which it is eager. */
	KUNIT_EXPECT_EQ(test, -ENODEV, gpusvm_mock_fault(mock, addr, RD));
	KUNIT_EXPECT_EQ(test, -ENODEV, gpusvm_mock_fault(mock, addr + MOCK_MIDDLE, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(other, addr + MOCK_MIDDLE, WR));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + 2 * MOCK_MIDDLE));
	gpusvm_mock_validate(other);

	drm_gpusvm_instance_kill(&mock->base);
	gpusvm_mock_validate(other);
	gpusvm_mock_detach(mock);
	expect_pte(other, addr, true);
	gpusvm_mock_validate(other);
}

static int detach_func(struct gpusvm_mock_thread *thread)
{
	gpusvm_mock_detach(thread->mock);
	return 0;
}

static struct gpusvm_mock_thread *detach_thread(struct gpusvm_mock *mock)
{
	struct gpusvm_mock_thread *thread = gpusvm_mock_thread(mock->env, detach_func);

	thread->mock = mock;
	return thread;
}

static bool wait_dead(struct gpusvm_mock *mock)
{
	unsigned long limit = jiffies + msecs_to_jiffies(GPUSVM_MOCK_LIMIT_MS);

	while (!READ_ONCE(mock->base.dead) && time_before(jiffies, limit))
		usleep_range(100, 200);
	return READ_ONCE(mock->base.dead);
}

/*
 * Detach while a fault has its snapshot and is about to map it: detach waits
 * for the fault, the fault does not map.
 */
static void test_detach_during_fault(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	struct gpusvm_mock_thread *fault, *detach;
	struct gpusvm_mock_gate *gate;

	fault = gpusvm_mock_fault_thread(mock, addr, WR);
	detach = detach_thread(mock);
	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, fault);
	gpusvm_mock_start(fault);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));
	gpusvm_mock_start(detach);
	KUNIT_ASSERT_TRUE(test, wait_dead(mock));
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(detach));
	gpusvm_mock_gate_open(gate);

	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(fault));
	KUNIT_EXPECT_EQ(test, fault->ret, -ENODEV);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(detach));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_MAP), 0);
	gpusvm_mock_validate(other);

	/* What it has left, the range and its snapshot, serves others. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(other, addr, WR));
	expect_pte(other, addr, true);
	gpusvm_mock_validate(other);
}

/*
 * Detach while an invalidation is between its passes: the slot is known to the
 * invalidation, so detach waits for the end of it; and the flush is answered.
 */
static void test_detach_during_invalidation(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	struct gpusvm_mock_thread *zap, *detach;
	struct gpusvm_mock_gate *gate;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(other, addr, WR));

	zap = gpusvm_mock_zap_thread(env, addr, PAGE_SIZE);
	detach = detach_thread(mock);
	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_START_ZAPPED, zap);
	gpusvm_mock_set_manual(mock, true);
	gpusvm_mock_start(zap);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_flush_pending(mock), 1);

	gpusvm_mock_start(detach);
	KUNIT_ASSERT_TRUE(test, wait_dead(mock));
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(detach));
	/* Zapped already: there is one flush, for both. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_flush_pending(mock), 1);
	gpusvm_mock_flush_complete(mock, 1);
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(detach));
	gpusvm_mock_gate_open(gate);

	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(zap));
	KUNIT_EXPECT_EQ(test, zap->ret, 0);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(detach));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_UNMAPPED), 1);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(other, addr, addr + MOCK_MIDDLE));
	gpusvm_mock_validate(other);
}

static bool wait_slot(struct drm_gpusvm_mgr *mgr, unsigned int slot)
{
	unsigned long limit = jiffies + msecs_to_jiffies(GPUSVM_MOCK_LIMIT_MS);

	while (rcu_access_pointer(mgr->slots[slot]) && time_before(jiffies, limit))
		usleep_range(100, 200);
	return !rcu_access_pointer(mgr->slots[slot]);
}

/*
 * An instance whose jobs do not fault leaves its slot while a start pass, which has
 * met it, is about to stop its submissions: there is nothing to stop any more.
 */
static void test_detach_before_stop(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	struct drm_gpusvm_mgr *mgr = other->base.mgr;
	struct gpusvm_mock_thread *zap, *detach;
	struct gpusvm_mock_gate *gate;
	struct gpusvm_mock *mock;

	mock = gpusvm_mock_attach(env, gpusvm_mock_device(env),
				  DRM_GPUSVM_INSTANCE_FENCED | DRM_GPUSVM_INSTANCE_EMPTY);
	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_instance_mirror(&mock->base, addr, MOCK_MIDDLE, addr));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));

	zap = gpusvm_mock_zap_thread(env, addr, PAGE_SIZE);
	detach = detach_thread(mock);
	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_START_FENCED, zap);
	gpusvm_mock_start(zap);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));
	gpusvm_mock_start(detach);
	KUNIT_ASSERT_TRUE(test, wait_slot(mgr, mock->base.slot));
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(detach));
	gpusvm_mock_gate_open(gate);

	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(zap));
	KUNIT_EXPECT_EQ(test, zap->ret, 0);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(detach));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE));
	gpusvm_mock_validate(other);
}

/* An instance that comes while an invalidation is under way is not part of it. */
static void test_attach_during_invalidation(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	unsigned long far = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env), *late = NULL;
	struct gpusvm_mock_thread *zap;
	struct gpusvm_mock_gate *gate;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, far, WR));
	zap = gpusvm_mock_zap_thread(env, addr, PAGE_SIZE);
	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_START_ZAPPED, zap);
	gpusvm_mock_start(zap);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));

	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_try_attach(env, mock->device, 0, &late));
	KUNIT_ASSERT_NOT_NULL(test, late);
	/* From a snapshot that still holds it has even a mapping meanwhile. */
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(late, far, WR));
	gpusvm_mock_gate_open(gate);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(zap));

	expect_pte(late, far, true);
	KUNIT_EXPECT_EQ(test, atomic64_read(&late->base.stats.invalidations), 0);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(late, addr, WR));
	expect_pte(late, addr, true);
	gpusvm_mock_validate(late);
}

struct hole_case {
	const char *name;
	/* In pages of a large range. */
	unsigned int first, count;
};

static const struct hole_case hole_cases[] = {
	{ "begin", 0, MIDDLE },
	{ "middle", LARGE / 2, MIDDLE },
	{ "one page, unaligned", 77, 1 },
	{ "end", LARGE - MIDDLE, MIDDLE },
	{ "all but the first page", 1, LARGE - 1 },
};

KUNIT_ARRAY_PARAM_DESC(hole, hole_cases, name);

/* A part of a large range is unmapped: the rest is mapped again on demand. */
static void test_partial_unmap(struct kunit *test)
{
	const struct hole_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, LARGE);
	unsigned long beside = gpusvm_mock_anon(env, MIDDLE);
	unsigned long hole = addr + c->first * PAGE_SIZE;
	unsigned long hole_end = hole + c->count * PAGE_SIZE;
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env);
	struct drm_gpusvm_mgr *mgr = one->base.mgr;
	struct drm_gpusvm_mgr_range *range;
	unsigned long start, end, seq, now, page;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(one, addr + MOCK_LARGE / 2, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(two, addr, RD));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(one, beside, WR));
	KUNIT_ASSERT_NOT_NULL(test, range_at(mgr, addr, &start, &end, NULL));
	KUNIT_ASSERT_EQ(test, start, addr);
	KUNIT_ASSERT_EQ(test, end, addr + MOCK_LARGE);
	range = range_at(mgr, beside, NULL, NULL, &seq);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(hole, hole_end - hole));
	/* Nothing is left of the range as a whole; nothing else was touched. */
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(one, addr, addr + MOCK_LARGE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(two, addr, addr + MOCK_LARGE));
	expect_pte(one, beside, true);
	KUNIT_EXPECT_PTR_EQ(test, range_at(mgr, beside, NULL, NULL, &now), range);
	KUNIT_EXPECT_EQ(test, now, seq);
	gpusvm_mock_validate(one);

	/* It is removed without a fault that meets it, too. */
	flush_work(&mgr->gc_work);
	KUNIT_EXPECT_EQ(test, ranges(mgr), 1);
	KUNIT_EXPECT_NULL(test, range_at(mgr, addr, NULL, NULL, NULL));
	gpusvm_mock_validate(one);

	/* The rest, from both sides of the hole. */
	for (page = addr; page < addr + MOCK_LARGE; page += 19 * PAGE_SIZE) {
		bool in_hole = page >= hole && page < hole_end;

		KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(one, page, WR),
				in_hole ? -EFAULT : 0);
		if (in_hole)
			continue;
		expect_pte(one, page, true);
		KUNIT_ASSERT_NOT_NULL(test, range_at(mgr, page, &start, &end, NULL));
		KUNIT_EXPECT_TRUE(test, end <= hole || start >= hole_end);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_peek(env, page),
				(u8)((page - addr) / PAGE_SIZE));
	}
	if (hole > addr) {
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(two, hole - 1, RD));
		expect_pte(two, hole - PAGE_SIZE, true);
	}
	if (hole_end < addr + MOCK_LARGE) {
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(two, hole_end, RD));
		expect_pte(two, hole_end, true);
	}
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(one, hole, hole_end));
	KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(two, hole, RD));
	KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(two, hole_end - 1, RD));
	expect_pte(one, beside, true);
	gpusvm_mock_validate(one);
}

/* Two unmaps at once, and a fault that finds the dead range not removed yet. */
static void test_fault_meets_dead_range(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, LARGE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct drm_gpusvm_mgr *mgr = mock->base.mgr;
	struct gpusvm_mock_thread *fault;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	fault = gpusvm_mock_fault_thread(mock, addr + MOCK_LARGE / 2, WR);

	/* Nobody can remove anything. No assertion until they can again. */
	mutex_lock(&mgr->gc_lock);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr + MOCK_LARGE - PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_NOT_NULL(test, range_at(mgr, addr + MOCK_LARGE / 2, NULL, NULL, NULL));
	gpusvm_mock_start(fault);
	usleep_range(1000, 2000);
	/* The dead range is in the way, so there can be no mapping. */
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + MOCK_LARGE));
	mutex_unlock(&mgr->gc_lock);

	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(fault));
	KUNIT_EXPECT_EQ(test, fault->ret, 0);
	expect_pte(mock, addr + MOCK_LARGE / 2, true);
	flush_work(&mgr->gc_work);
	KUNIT_EXPECT_EQ(test, ranges(mgr), 1);
	gpusvm_mock_validate(mock);
}

/* A VMA is split below a large range: it is replaced, and permissions are right. */
static void test_mprotect(struct kunit *test)
{
	const struct hole_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, LARGE);
	unsigned long ro = addr + c->first * PAGE_SIZE;
	unsigned long ro_end = ro + c->count * PAGE_SIZE;
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct drm_gpusvm_mgr *mgr = mock->base.mgr;
	unsigned long start, end, page;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_mprotect(env->mm, ro, ro_end - ro, false));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + MOCK_LARGE));
	gpusvm_mock_validate(mock);

	for (page = addr; page < addr + MOCK_LARGE; page += 11 * PAGE_SIZE) {
		bool read_only = page >= ro && page < ro_end;

		KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, page, WR),
				read_only ? -EPERM : 0);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, page, RD), 0);
		expect_pte(mock, page, !read_only);
		KUNIT_ASSERT_NOT_NULL(test, range_at(mgr, page, &start, &end, NULL));
		KUNIT_EXPECT_TRUE(test, read_only ? start >= ro && end <= ro_end :
						    end <= ro || start >= ro_end);
	}
	gpusvm_mock_validate(mock);

	/* And back: the VMAs are one again, the ranges stay as they are. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_mprotect(env->mm, ro, ro_end - ro, true));
	for (page = addr; page < addr + MOCK_LARGE; page += 11 * PAGE_SIZE) {
		KUNIT_EXPECT_EQ(test, gpusvm_mock_fault(mock, page, AT), 0);
		expect_pte(mock, page, true);
	}
	gpusvm_mock_validate(mock);
}

/* Only system calls lead there; what they take from the user is in registers. */
static unsigned long mremap(unsigned long addr, unsigned long old_len,
			    unsigned long new_len, unsigned long flags,
			    unsigned long new_addr)
{
#if defined(CONFIG_X86_64)
	struct pt_regs regs = {
		.di = addr,
		.si = old_len,
		.dx = new_len,
		.r10 = flags,
		.r8 = new_addr,
	};

	return sys_call_table[__NR_mremap](&regs);
#elif defined(CONFIG_ARM64)
	/* The first one where a call that is begun again finds it. */
	struct pt_regs regs = {
		.orig_x0 = addr,
		.regs = { addr, old_len, new_len, flags, new_addr },
	};

	return sys_call_table[__NR_mremap](&regs);
#else
	return -EOPNOTSUPP;
#endif
}

struct mremap_case {
	const char *name;
	unsigned long flags;
};

static const struct mremap_case mremap_cases[] = {
	{ "move", MREMAP_MAYMOVE | MREMAP_FIXED },
	{ "move, the VMA stays", MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP },
};

KUNIT_ARRAY_PARAM_DESC(mremap, mremap_cases, name);

static void test_mremap(struct kunit *test)
{
	const struct mremap_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, 2 * MIDDLE);
	/* Something is there, and mapped on the device. */
	unsigned long to = gpusvm_mock_anon(env, 2 * MIDDLE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long pfn[2 * MIDDLE], ret;
	unsigned int i;

	for (i = 0; i < 2 * MIDDLE; i++) {
		gpusvm_mock_poke(env, addr + i * PAGE_SIZE, 50 + i);
		pfn[i] = cpu_pfn(env, addr + i * PAGE_SIZE);
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + i * PAGE_SIZE, WR));
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, to + i * PAGE_SIZE, WR));
	}
	gpusvm_mock_validate(mock);

	ret = mremap(addr, 2 * MOCK_MIDDLE, 2 * MOCK_MIDDLE, c->flags, to);
	if (ret == (unsigned long)-EOPNOTSUPP)
		kunit_skip(test, "no way to call mremap() here");
	KUNIT_ASSERT_EQ(test, ret, to);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + 2 * MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, to, to + 2 * MOCK_MIDDLE));
	gpusvm_mock_validate(mock);

	/* The pages are at the new place now. */
	for (i = 0; i < 2 * MIDDLE; i++) {
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, to + i * PAGE_SIZE, WR));
		expect_pte(mock, to + i * PAGE_SIZE, true);
		KUNIT_EXPECT_EQ(test, cpu_pfn(env, to + i * PAGE_SIZE), pfn[i]);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_peek(env, to + i * PAGE_SIZE), 50 + i);
	}
	if (c->flags & MREMAP_DONTUNMAP) {
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
		expect_pte(mock, addr, true);
		KUNIT_EXPECT_NE(test, cpu_pfn(env, addr), pfn[0]);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_peek(env, addr), 0);
	} else {
		KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(mock, addr, WR));
	}
	gpusvm_mock_validate(mock);

	/* Shrunk and grown in place: the end goes, and comes anew. */
	KUNIT_EXPECT_EQ(test, to, mremap(to, 2 * MOCK_MIDDLE, MOCK_MIDDLE, 0, 0));
	KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(mock, to + MOCK_MIDDLE, RD));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, to + MOCK_MIDDLE, to + 2 * MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, to, WR));
	expect_pte(mock, to, true);
	KUNIT_EXPECT_EQ(test, to, mremap(to, MOCK_MIDDLE, 2 * MOCK_MIDDLE, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, to + MOCK_MIDDLE, WR));
	expect_pte(mock, to + MOCK_MIDDLE, true);
	gpusvm_mock_validate(mock);
}

/*
 * Another process's mm, that the test's thread is in for a while. No assertion
 * meanwhile: the thread has to be back before it ends.
 */
static struct mm_struct *enter_other_mm(struct kunit *test)
{
	struct mm_struct *mm = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	/* So that it can be looked at when it has no users any more. */
	mmgrab(mm);
	kthread_unuse_mm(gpusvm_mock_env(test)->mm);
	kthread_use_mm(mm);
	return mm;
}

static void leave_other_mm(struct kunit *test, struct mm_struct *mm)
{
	kthread_unuse_mm(mm);
	kthread_use_mm(gpusvm_mock_env(test)->mm);
}

/* Maps and touches memory of the mm that the thread is in; 0 on failure. */
static unsigned long other_anon(unsigned int pages)
{
	unsigned long addr, i;

	addr = vm_mmap(NULL, SZ_1G, pages * PAGE_SIZE, RW,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0);
	if (addr != SZ_1G)
		return 0;
	for (i = 0; i < pages; i++)
		if (put_user((u8)i, (u8 __user *)(addr + i * PAGE_SIZE)))
			return 0;
	return addr;
}

/* The process exits with two instances attached, then they are detached. */
static void test_mm_exit(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct gpusvm_mock *one = NULL, *two = NULL, *here = gpusvm_mock_new(env);
	struct drm_gpusvm_fault faults[2] = {};
	unsigned long addr, here_addr = gpusvm_mock_anon(env, MIDDLE);
	unsigned int reach[2] = {};
	struct mm_struct *mm;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(here, here_addr, WR));

	mm = enter_other_mm(test);
	addr = other_anon(LARGE);
	KUNIT_EXPECT_NE(test, addr, 0);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_try_attach(env, device, 0, &one));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_try_attach(env, device, 0, &two));
	if (one && two) {
		/* Each mm has a manager of its own, and knows its own only. */
		KUNIT_EXPECT_PTR_EQ(test, one->base.mgr, two->base.mgr);
		KUNIT_EXPECT_PTR_NE(test, one->base.mgr, here->base.mgr);
		KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_instance_check_current(&one->base));
		KUNIT_EXPECT_EQ(test, -EPERM,
				drm_gpusvm_instance_check_current(&here->base));
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(one, addr, WR));
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(two, addr, RD));
		reach[0] = gpusvm_mock_reach(one, addr, addr + MOCK_LARGE);
		reach[1] = gpusvm_mock_reach(two, addr, addr + MOCK_LARGE);
	}
	leave_other_mm(test, mm);

	if (one && two) {
		KUNIT_EXPECT_EQ(test, reach[0], GPUSVM_MOCK_ANY);
		KUNIT_EXPECT_EQ(test, reach[1], GPUSVM_MOCK_ANY);
		KUNIT_EXPECT_EQ(test, -EPERM,
				drm_gpusvm_instance_check_current(&one->base));
		KUNIT_EXPECT_FALSE(test, drm_gpusvm_instance_exiting(&one->base));
		gpusvm_mock_validate(one);
	}

	/* The last user: this is the exit. */
	mmput(mm);

	if (one && two) {
		KUNIT_EXPECT_TRUE(test, drm_gpusvm_instance_exiting(&one->base));
		KUNIT_EXPECT_TRUE(test, drm_gpusvm_instance_exiting(&two->base));
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(one, addr, addr + MOCK_LARGE));
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(two, addr, addr + MOCK_LARGE));
		KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(one, addr, RD));
		faults[0].addr = addr;
		faults[1].addr = addr + MOCK_LARGE / 2;
		KUNIT_EXPECT_EQ(test, -EFAULT,
				drm_gpusvm_mgr_fault_batch(&two->base, faults, 2));
		KUNIT_EXPECT_EQ(test, faults[0].err, -EFAULT);
		KUNIT_EXPECT_EQ(test, faults[1].err, -EFAULT);
		flush_work(&one->base.mgr->gc_work);
		KUNIT_EXPECT_EQ(test, ranges(one->base.mgr), 0);
		gpusvm_mock_validate(one);
	}

	if (one)
		gpusvm_mock_detach(one);
	if (two)
		gpusvm_mock_detach(two);
	mmdrop(mm);

	/* The other process is none the wiser. */
	KUNIT_EXPECT_FALSE(test, drm_gpusvm_instance_exiting(&here->base));
	expect_pte(here, here_addr, true);
	gpusvm_mock_validate(here);
}

/* The process exits while a fault of its device is being served. */
static void test_mm_exit_during_fault(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device = gpusvm_mock_device(env);
	struct gpusvm_mock_thread *fault;
	struct gpusvm_mock_gate *gate;
	struct gpusvm_mock *mock = NULL;
	bool reached, joined;
	struct mm_struct *mm;
	unsigned long addr;

	mm = enter_other_mm(test);
	addr = other_anon(MIDDLE);
	KUNIT_EXPECT_NE(test, addr, 0);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_try_attach(env, device, 0, &mock));
	leave_other_mm(test, mm);
	if (!mock) {
		mmput(mm);
		mmdrop(mm);
		return;
	}

	/* A fault worker of the driver is in no mm, or in any. */
	fault = gpusvm_mock_fault_thread(mock, addr, WR);
	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, fault);
	gpusvm_mock_start(fault);
	reached = gpusvm_mock_gate_reached(gate);
	KUNIT_EXPECT_TRUE(test, reached);

	/* Not the last user: the fault is one. */
	mmput(mm);
	if (reached)
		KUNIT_EXPECT_FALSE(test, drm_gpusvm_instance_exiting(&mock->base));
	gpusvm_mock_gate_open(gate);
	joined = gpusvm_mock_join(fault);
	KUNIT_EXPECT_TRUE(test, joined);
	if (joined) {
		KUNIT_EXPECT_EQ(test, fault->ret, 0);
		/* It left the tear-down to a worker. */
		flush_work(&mm->async_put_work);
		KUNIT_EXPECT_TRUE(test, drm_gpusvm_instance_exiting(&mock->base));
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE));
		KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(mock, addr, WR));
		gpusvm_mock_validate(mock);
	}
	gpusvm_mock_detach(mock);
	mmdrop(mm);
}

/* Threads that do all of it at once, a bounded number of times. */

#define STRESS_PAGES	(4 * LARGE)

static void stress_seed(struct gpusvm_mock_thread *thread, struct rnd_state *rnd)
{
	prandom_seed_state(rnd, 0x57e55 + (unsigned long)thread->data);
}

static unsigned long stress_addr(struct gpusvm_mock_thread *thread,
				 struct rnd_state *rnd)
{
	return thread->addr + (prandom_u32_state(rnd) % STRESS_PAGES) * PAGE_SIZE;
}

/* What a fault may end with here. -EBUSY is a matter of the machine. */
static bool stress_result_ok(int err)
{
	return !err || err == -EFAULT || err == -EPERM || err == -EBUSY;
}

static int stress_fault_func(struct gpusvm_mock_thread *thread)
{
	struct drm_gpusvm_fault faults[4];
	struct rnd_state rnd;
	unsigned int i, j;

	stress_seed(thread, &rnd);
	for (i = 0; i < 80; i++) {
		for (j = 0; j < ARRAY_SIZE(faults); j++) {
			faults[j].addr = stress_addr(thread, &rnd);
			faults[j].access = prandom_u32_state(&rnd) % 3;
		}
		drm_gpusvm_mgr_fault_batch(&thread->mock->base, faults,
					   1 + i % ARRAY_SIZE(faults));
		for (j = 0; j < 1 + i % ARRAY_SIZE(faults); j++) {
			if (!stress_result_ok(faults[j].err))
				return faults[j].err;
			gpusvm_mock_touch(thread->mock, faults[j].addr);
		}
	}
	return 0;
}

static int stress_change_func(struct gpusvm_mock_thread *thread)
{
	struct mm_struct *mm = thread->env->mm;
	struct rnd_state rnd;
	unsigned long addr, got;
	unsigned int i;

	stress_seed(thread, &rnd);
	for (i = 0; i < 60; i++) {
		unsigned long end = thread->addr + STRESS_PAGES * PAGE_SIZE;
		unsigned long size = (1 + prandom_u32_state(&rnd) % 40) * PAGE_SIZE;

		addr = stress_addr(thread, &rnd);
		size = min(size, end - addr);
		switch (prandom_u32_state(&rnd) % 4) {
		case 0:
			/* May fail where another one has split the VMA. */
			gpusvm_mock_zap(mm, addr, size);
			break;
		case 1:
			if (vm_munmap(addr, size))
				return -EIO;
			fallthrough;
		case 2:
			got = vm_mmap(NULL, addr, size, RW,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0);
			if (got != addr)
				return -EIO;
			break;
		case 3:
			gpusvm_mock_mprotect(mm, addr, size, i % 2);
			break;
		}
	}
	return 0;
}

static int stress_attach_func(struct gpusvm_mock_thread *thread)
{
	struct rnd_state rnd;
	unsigned int i, j;

	stress_seed(thread, &rnd);
	for (i = 0; i < 6; i++) {
		struct gpusvm_mock *mock;
		int err;

		err = gpusvm_mock_try_attach(thread->env, thread->mock->device,
					     i % 2 ? DRM_GPUSVM_INSTANCE_EAGER : 0,
					     &mock);
		if (err)
			return err;
		for (j = 0; j < 5 && !err; j++) {
			unsigned long addr = stress_addr(thread, &rnd);

			err = gpusvm_mock_fault(mock, addr, j % 2 ? RD : WR);
			if (stress_result_ok(err))
				err = 0;
			gpusvm_mock_touch(mock, addr);
		}
		gpusvm_mock_detach(mock);
		if (err)
			return err;
	}
	return 0;
}

static void test_stress(struct kunit *test)
{
	static int (*const funcs[])(struct gpusvm_mock_thread *thread) = {
		stress_fault_func, stress_fault_func, stress_fault_func,
		stress_change_func, stress_change_func,
		stress_attach_func, stress_attach_func,
	};
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, STRESS_PAGES), page;
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env);
	struct gpusvm_mock_thread *threads[ARRAY_SIZE(funcs)];
	unsigned long i;

	for (i = 0; i < ARRAY_SIZE(funcs); i++) {
		threads[i] = gpusvm_mock_thread(env, funcs[i]);
		threads[i]->mock = i % 2 ? one : two;
		threads[i]->addr = addr;
		threads[i]->data = (void *)i;
	}
	for (i = 0; i < ARRAY_SIZE(funcs); i++)
		gpusvm_mock_start(threads[i]);
	/* The walker goes with the rest. */
	for (i = 0; i < 20; i++)
		gpusvm_mock_validate(one);
	for (i = 0; i < ARRAY_SIZE(funcs); i++) {
		unsigned int wait;

		/* Longer than a step of a test takes. */
		for (wait = 0; wait < 6 && !gpusvm_mock_join(threads[i]); wait++)
			;
		KUNIT_ASSERT_LT(test, wait, 6);
		KUNIT_EXPECT_EQ_MSG(test, threads[i]->ret, 0, "thread %lu", i);
	}
	gpusvm_mock_validate(one);

	/* When it is quiet, all of it can be had. */
	KUNIT_ASSERT_EQ(test, addr, vm_mmap(NULL, addr, STRESS_PAGES * PAGE_SIZE, RW,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(one, addr,
						   addr + STRESS_PAGES * PAGE_SIZE));
	for (page = 0; page < STRESS_PAGES; page += 61) {
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(one, addr + page * PAGE_SIZE, WR));
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(two, addr + page * PAGE_SIZE, RD));
		expect_pte(one, addr + page * PAGE_SIZE, true);
	}
	gpusvm_mock_validate(one);
}

/* What an operation works on; made anew for each time. */
struct fail_nth {
	struct kunit *test;
	struct gpusvm_mock_env *env;
	struct gpusvm_mock *mock;
	struct gpusvm_mock *other;
	struct gpusvm_mock *fresh;
	unsigned long addr;
	struct drm_gpusvm_fault faults[2 * MIDDLE];
	bool attached;
};

static void fail_prepare_region(struct fail_nth *f)
{
	unsigned int i;

	f->addr = gpusvm_mock_anon(f->env, MIDDLE);
	for (i = 0; i < ARRAY_SIZE(f->faults); i++) {
		f->faults[i].addr = f->addr + (i % MIDDLE) * PAGE_SIZE;
		f->faults[i].access = i % 2 ? RD : WR;
	}
}

static void fail_check_region(struct fail_nth *f)
{
	expect_pte(f->mock, f->addr, true);
	KUNIT_EXPECT_EQ(f->test, 0, vm_munmap(f->addr, MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_reach(f->mock, f->addr,
						      f->addr + MOCK_MIDDLE));
}

/* Two ranges, and faults that lie in the one and the other in turn. */
static void fail_prepare_ranges(struct fail_nth *f)
{
	unsigned int i;

	f->addr = gpusvm_mock_anon(f->env, 2 * MIDDLE);
	for (i = 0; i < ARRAY_SIZE(f->faults); i++) {
		f->faults[i].addr = f->addr + (i % 2 * MIDDLE + i / 2) * PAGE_SIZE;
		f->faults[i].access = i / 2 % 2 ? RD : WR;
	}
}

static void fail_check_ranges(struct fail_nth *f)
{
	unsigned long second = f->addr + MOCK_MIDDLE, end = f->addr + 2 * MOCK_MIDDLE;
	struct drm_gpusvm_mgr *mgr = f->mock->base.mgr;

	KUNIT_EXPECT_PTR_NE(f->test, range_at(mgr, f->addr, NULL, NULL, NULL),
			    range_at(mgr, second, NULL, NULL, NULL));
	expect_pte(f->mock, f->addr, true);
	expect_pte(f->mock, second, true);
	KUNIT_EXPECT_EQ(f->test, 0, vm_munmap(f->addr, end - f->addr));
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_reach(f->mock, f->addr, end));
}

static int fail_fault(struct fail_nth *f)
{
	return gpusvm_mock_fault(f->mock, f->addr, WR);
}

/* What is said of the whole is that of the first that failed, and each is told its own. */
static int fail_batch(struct fail_nth *f)
{
	int err, first = 0;
	unsigned int i;

	err = drm_gpusvm_mgr_fault_batch(&f->mock->base, f->faults,
					 ARRAY_SIZE(f->faults));
	for (i = 0; i < ARRAY_SIZE(f->faults); i++) {
		const struct drm_gpusvm_fault *fault = &f->faults[i];

		if (!fault->err)
			KUNIT_EXPECT_TRUE(f->test, gpusvm_mock_pte(f->mock, fault->addr, NULL,
								   NULL));
		else if (!first)
			first = fault->err;
	}
	KUNIT_EXPECT_EQ(f->test, err, first);
	return err;
}

static int fail_steps(struct fail_nth *f)
{
	struct drm_gpusvm_mgr_range *range;
	int err;

	range = drm_gpusvm_mgr_range_find_or_insert(&f->mock->base, f->faults);
	if (IS_ERR(range))
		return PTR_ERR(range);
	err = drm_gpusvm_mgr_range_lock(range);
	if (err)
		goto put_range;
	err = drm_gpusvm_mgr_range_snapshot(&f->mock->base, range, f->faults);
	if (!err)
		err = drm_gpusvm_mgr_range_map(&f->mock->base, range, f->faults);
	drm_gpusvm_mgr_range_unlock(range);
put_range:
	drm_gpusvm_mgr_range_put(range);
	return err;
}

/* One page of it is the zero page, mapped read-only. */
static void fail_prepare_upgrade(struct fail_nth *f)
{
	unsigned int i;

	f->addr = gpusvm_mock_mmap(f->env, MIDDLE, RW, MAP_PRIVATE);
	for (i = 1; i < MIDDLE; i++)
		gpusvm_mock_poke(f->env, f->addr + i * PAGE_SIZE, i);
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->mock, f->addr, RD));
	expect_pte(f->mock, f->addr, false);
}

/* Another one has mapped it: the snapshot is there. */
static void fail_prepare_second(struct fail_nth *f)
{
	fail_prepare_region(f);
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->other, f->addr, WR));
}

static void fail_check_second(struct fail_nth *f)
{
	expect_pte(f->other, f->addr, true);
	fail_check_region(f);
}

static void fail_prepare_attach(struct fail_nth *f)
{
	/* With the first one the manager is made, too. */
	if (f->mock)
		gpusvm_mock_detach(f->mock);
	if (f->other)
		gpusvm_mock_detach(f->other);
	f->mock = NULL;
	f->other = NULL;
}

static int fail_attach(struct fail_nth *f)
{
	struct drm_gpusvm_instance_params params;

	gpusvm_mock_params(f->fresh->device, &params);
	return drm_gpusvm_instance_attach(&f->fresh->base, &params);
}

static void fail_check_attach(struct fail_nth *f)
{
	KUNIT_EXPECT_EQ(f->test, 0, drm_gpusvm_mgr_validate(f->fresh->base.mgr));
	drm_gpusvm_instance_detach(&f->fresh->base);
}

/* What cannot fail: it has to do its work without the memory. */
static void fail_prepare_removal(struct fail_nth *f)
{
	struct drm_gpusvm_mgr_range *range;

	fail_prepare_region(f);
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->mock, f->addr, WR));
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->other, f->addr, RD));
	range = gpusvm_mgr_tree_find(&f->mock->base.mgr->tree, f->addr);
	KUNIT_ASSERT_NOT_NULL(f->test, range);
	mutex_lock(&range->fault_mutex);
	gpusvm_mgr_range_kill(range);
	mutex_unlock(&range->fault_mutex);
	drm_gpusvm_mgr_range_put(range);
}

static int fail_removal(struct fail_nth *f)
{
	gpusvm_mgr_gc_run(f->mock->base.mgr);
	return 0;
}

static void fail_check_removal(struct fail_nth *f)
{
	KUNIT_EXPECT_NULL(f->test, range_at(f->mock->base.mgr, f->addr, NULL, NULL, NULL));
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_reach(f->mock, f->addr, f->addr + MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_reach(f->other, f->addr, f->addr + MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_fault(f->mock, f->addr, WR));
	fail_check_region(f);
}

static void fail_prepare_detach(struct fail_nth *f)
{
	fail_prepare_region(f);
	if (!f->mock || !f->mock->attached)
		f->mock = gpusvm_mock_attach(f->env, f->other->device, 0);
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->mock, f->addr, WR));
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->other, f->addr, RD));
}

static int fail_detach(struct fail_nth *f)
{
	gpusvm_mock_detach(f->mock);
	return 0;
}

static void fail_check_detach(struct fail_nth *f)
{
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_reach(f->mock, f->addr, f->addr + MOCK_MIDDLE));
	expect_pte(f->other, f->addr, true);
	KUNIT_EXPECT_EQ(f->test, 0, vm_munmap(f->addr, MOCK_MIDDLE));
}

static void fail_prepare_invalidate(struct fail_nth *f)
{
	fail_prepare_region(f);
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->mock, f->addr, WR));
	KUNIT_ASSERT_EQ(f->test, 0, gpusvm_mock_fault(f->other, f->addr, RD));
}

static int fail_invalidate(struct fail_nth *f)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, f->env->mm, f->addr,
				f->addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
	return 0;
}

static void fail_check_invalidate(struct fail_nth *f)
{
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_reach(f->mock, f->addr, f->addr + MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_reach(f->other, f->addr, f->addr + MOCK_MIDDLE));
	KUNIT_EXPECT_EQ(f->test, 0, gpusvm_mock_fault(f->mock, f->addr, WR));
	fail_check_region(f);
}

struct fail_case {
	const char *name;
	void (*prepare)(struct fail_nth *f);
	int (*run)(struct fail_nth *f);
	void (*check)(struct fail_nth *f);
	/* It has allocations of ours that must have failed. */
	bool can_fail;
	/* It must have no allocation at all (I-3). */
	bool none;
};

static const struct fail_case fail_cases[] = {
	{ "attach", fail_prepare_attach, fail_attach, fail_check_attach, true },
	{ "fault", fail_prepare_region, fail_fault, fail_check_region, true },
	{ "batch", fail_prepare_region, fail_batch, fail_check_region, true },
	{ "batch of ranges", fail_prepare_ranges, fail_batch, fail_check_ranges, true },
	{ "steps", fail_prepare_region, fail_steps, fail_check_region, true },
	{ "upgrade", fail_prepare_upgrade, fail_fault, fail_check_region, true },
	{ "second instance", fail_prepare_second, fail_fault, fail_check_second, true },
	{
		"invalidation", fail_prepare_invalidate, fail_invalidate,
		fail_check_invalidate, .none = true,
	},
	{ "removal", fail_prepare_removal, fail_removal, fail_check_removal },
	{ "detach", fail_prepare_detach, fail_detach, fail_check_detach },
};

KUNIT_ARRAY_PARAM_DESC(fail, fail_cases, name);

static void fail_each(struct kunit *test, bool for_good)
{
	const struct fail_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned int nth, failed = 0;
	struct gpusvm_fail *knobs;
	struct fail_nth *f;
	bool reached = true;
	int err;

	f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f);
	f->test = test;
	f->env = env;
	knobs = gpusvm_fail_init(test);

	/* One that is never attached, but by the operation. */
	f->fresh = gpusvm_mock_new(env);
	gpusvm_mock_detach(f->fresh);
	f->mock = gpusvm_mock_new(env);
	f->other = gpusvm_mock_new(env);

	for (nth = 1; nth <= 200 && reached; nth++) {
		c->prepare(f);

		gpusvm_fail_begin(knobs, nth, for_good);
		err = c->run(f);
		reached = gpusvm_fail_end(knobs);

		/* Not reached: nothing has failed, and nothing is left to fail. */
		KUNIT_ASSERT_TRUE_MSG(test, !err || (reached && err == -ENOMEM),
				      "allocation %u, reached %d: %d", nth, reached, err);
		if (err)
			failed++;
		if (f->other)
			gpusvm_mock_validate(f->other);
		/* What failed can be done when there is memory. */
		if (err)
			KUNIT_ASSERT_EQ(test, 0, c->run(f));
		c->check(f);
		if (f->other)
			gpusvm_mock_validate(f->other);
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "allocation %u", nth);
			return;
		}
	}

	/* It came to an end, and the injection worked. */
	KUNIT_EXPECT_FALSE(test, reached);
	if (c->can_fail)
		KUNIT_EXPECT_GT(test, failed, 0);
	else
		KUNIT_EXPECT_EQ(test, failed, 0);
	/* The last time, none was left. */
	if (c->none)
		KUNIT_EXPECT_EQ(test, nth, 2);
	kunit_info(test, "%u allocations, %u made it fail", nth - 2, failed);
}

static void test_fail_nth(struct kunit *test)
{
	fail_each(test, false);
}

static void test_fail_from_nth(struct kunit *test)
{
	fail_each(test, true);
}

static struct kunit_case lifetime_cases[] = {
	KUNIT_CASE(test_notifier_registration),
	KUNIT_CASE_SLOW(test_slots),
	KUNIT_CASE_PARAM(test_bad_attach, bad_attach_gen_params),
	KUNIT_CASE(test_dma_mask),
	KUNIT_CASE(test_dma_not_coherent),
	KUNIT_CASE(test_one_device),
	KUNIT_CASE(test_kill),
	KUNIT_CASE(test_detach_during_fault),
	KUNIT_CASE(test_detach_during_invalidation),
	KUNIT_CASE(test_detach_before_stop),
	KUNIT_CASE(test_attach_during_invalidation),
	KUNIT_CASE_PARAM(test_partial_unmap, hole_gen_params),
	KUNIT_CASE(test_fault_meets_dead_range),
	KUNIT_CASE_PARAM(test_mprotect, hole_gen_params),
	KUNIT_CASE_PARAM(test_mremap, mremap_gen_params),
	KUNIT_CASE(test_mm_exit),
	KUNIT_CASE(test_mm_exit_during_fault),
	KUNIT_CASE_SLOW(test_stress),
	KUNIT_CASE_PARAM_ATTR(test_fail_nth, fail_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM_ATTR(test_fail_from_nth, fail_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite lifetime_suite = {
	.name = "drm_gpusvm_mgr_lifetime",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = lifetime_cases,
};

kunit_test_suite(lifetime_suite);
