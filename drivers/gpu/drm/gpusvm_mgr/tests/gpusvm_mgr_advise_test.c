// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Attributes and what they do to what is mapped, on mock devices over real memory.
 * The walker runs after each step.
 */

#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sizes.h>

#include "gpusvm_mgr_fail.h"
#include "gpusvm_mgr_mock.h"

#define RD	DRM_GPUSVM_ACCESS_READ
#define WR	DRM_GPUSVM_ACCESS_WRITE
#define AT	DRM_GPUSVM_ACCESS_ATOMIC
#define RW	(PROT_READ | PROT_WRITE)

/* A range: 64 KiB. */
#define PAGES	(MOCK_MIDDLE / PAGE_SIZE)
#define SIZE	MOCK_MIDDLE

static const struct drm_gpusvm_attr none = {
	.type = DRM_GPUSVM_ATTR_ACCESS, .value = DRM_GPUSVM_MODE_NONE,
};

static const struct drm_gpusvm_attr on_demand = {
	.type = DRM_GPUSVM_ATTR_ACCESS, .value = DRM_GPUSVM_MODE_ON_DEMAND,
};

static const struct drm_gpusvm_attr read_only = {
	.type = DRM_GPUSVM_ATTR_READ_ONLY, .value = 1,
};

static const struct drm_gpusvm_attr cpu_atomics = {
	.type = DRM_GPUSVM_ATTR_ATOMICS, .value = DRM_GPUSVM_ATOMICS_CPU,
};

static const struct drm_gpusvm_attr gpu_atomics = {
	.type = DRM_GPUSVM_ATTR_ATOMICS, .value = DRM_GPUSVM_ATOMICS_GLOBAL,
};

static const struct drm_gpusvm_attr in_system = {
	.type = DRM_GPUSVM_ATTR_LOCATION, .value = DRM_GPUSVM_LOCATION_SYSTEM,
};

static int set(struct gpusvm_mock *mock, unsigned long addr, unsigned long size,
	       const struct drm_gpusvm_attr *attr)
{
	int err = drm_gpusvm_instance_set_attrs(&mock->base, addr, addr + size, attr, 1);

	gpusvm_mock_validate(mock);
	return err;
}

static int set_value(struct gpusvm_mock *mock, unsigned long addr, unsigned long size,
		     enum drm_gpusvm_attr_type type, u32 value)
{
	const struct drm_gpusvm_attr attr = { .type = type, .value = value };

	return set(mock, addr, size, &attr);
}

static int fault(struct gpusvm_mock *mock, unsigned long addr, enum drm_gpusvm_access access)
{
	int err = gpusvm_mock_fault(mock, addr, access);

	gpusvm_mock_validate(mock);
	return err;
}

/* The value of an attribute, or -1 where it is mixed. */
static int get(struct gpusvm_mock *mock, unsigned long addr, unsigned long size,
	       enum drm_gpusvm_attr_type type)
{
	struct drm_gpusvm_attr attrs[DRM_GPUSVM_ATTR_TYPES];
	int value;

	KUNIT_ASSERT_EQ(mock->env->test, 0,
			drm_gpusvm_instance_get_attrs(&mock->base, addr, addr + size, attrs));
	value = attrs[type].mixed ? -1 : (int)attrs[type].value;
	drm_gpusvm_attrs_put(attrs);
	return value;
}

static u64 widened(struct gpusvm_mock *mock)
{
	struct drm_gpusvm_mgr_stats stats;

	drm_gpusvm_mgr_read_stats(mock->base.mgr, &stats);
	return stats.attr_widened;
}

/* Threads that change attributes. */
static int set_func(struct gpusvm_mock_thread *thread)
{
	return drm_gpusvm_instance_set_attrs(&thread->mock->base, thread->addr,
					     thread->addr + thread->len, thread->data, 1);
}

static struct gpusvm_mock_thread *
set_thread(struct gpusvm_mock *mock, unsigned long addr, unsigned long size,
	   const struct drm_gpusvm_attr *attr)
{
	struct gpusvm_mock_thread *thread = gpusvm_mock_thread(mock->env, set_func);

	thread->mock = mock;
	thread->addr = addr;
	thread->len = size;
	thread->data = (void *)attr;
	return thread;
}

/* No mapped range reaches over an edge of the attributes, of whichever instance. */
static void check_edges(struct kunit *test, struct drm_gpusvm_mgr *mgr)
{
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = 0, start, last;
	struct gpusvm_mgr_attr attr;
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	while ((range = gpusvm_mgr_tree_next(&mgr->tree, &index, ULONG_MAX))) {
		struct drm_gpusvm_mapping *mapping;
		bool mapped = false;

		hlist_for_each_entry_srcu(mapping, &range->mappings, node,
					  srcu_read_lock_held(&gpusvm_mgr_srcu))
			mapped |= READ_ONCE(mapping->ptes);
		if (!mapped)
			continue;
		gpusvm_mgr_attrs_lookup(&mgr->hints.attrs, range->start, &attr, &start, &last);
		KUNIT_EXPECT_GE(test, last, range->end - 1);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
}

/*
 * A change reaches a fault that has looked before it, and stands before its commit
 * with the fault mutex. The change waits for nobody.
 */

struct reach_case {
	const char *name;
	const struct drm_gpusvm_attr *attr;
	enum drm_gpusvm_access access;
	unsigned int forbidden;
	bool broken;
};

static const struct reach_case reach_cases[] = {
	{ "no access", &none, RD, GPUSVM_MOCK_READ },
	{ "read-only", &read_only, WR, GPUSVM_MOCK_WRITE },
	{ "atomics", &cpu_atomics, AT, GPUSVM_MOCK_ATOMIC },
	{ "no access, broken", &none, RD, GPUSVM_MOCK_READ, true },
	{ "read-only, broken", &read_only, WR, GPUSVM_MOCK_WRITE, true },
	{ "atomics, broken", &cpu_atomics, AT, GPUSVM_MOCK_ATOMIC, true },
};

KUNIT_ARRAY_PARAM_DESC(reach, reach_cases, name);

static void test_reaches_fault(struct kunit *test)
{
	const struct reach_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_thread *filler, *change;
	struct gpusvm_mock_gate *walked;

	filler = gpusvm_mock_fault_thread(mock, addr, c->access);
	change = set_thread(mock, addr, SIZE, c->attr);
	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, filler);
	gpusvm_mock_break(env, GPUSVM_MGR_STEP_GENERATION, c->broken);

	gpusvm_mock_start(filler);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));
	gpusvm_mock_start(change);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(change));
	KUNIT_EXPECT_EQ(test, change->ret, 0);
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(filler));
	gpusvm_mock_gate_open(walked);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(filler));

	if (c->broken) {
		KUNIT_EXPECT_EQ(test, filler->ret, 0);
		KUNIT_EXPECT_TRUE_MSG(test, gpusvm_mock_look(mock, addr) & c->forbidden,
				      "the control was not caught");
	} else {
		KUNIT_EXPECT_EQ(test, filler->ret, -EACCES);
		KUNIT_EXPECT_FALSE(test, gpusvm_mock_look(mock, addr) & c->forbidden);
	}
	gpusvm_mock_validate(mock);
}

/* What is mapped is taken away before the call returns. */
static void test_takes_effect(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES), end = addr + SIZE;

	KUNIT_ASSERT_EQ(test, fault(mock, addr, AT), 0);
	KUNIT_ASSERT_EQ(test, fault(other, addr, AT), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, addr),
			GPUSVM_MOCK_READ | GPUSVM_MOCK_WRITE | GPUSVM_MOCK_ATOMIC);

	KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE, &none), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, end), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, RD), -EACCES);
	KUNIT_EXPECT_EQ(test, fault(mock, end - 1, WR), -EACCES);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, end), 0);
	KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE, &on_demand), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), 0);

	KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE, &read_only), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, end), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), -EACCES);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, AT), -EACCES);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, RD), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, addr), GPUSVM_MOCK_READ);
	KUNIT_ASSERT_EQ(test, set_value(mock, addr, SIZE, DRM_GPUSVM_ATTR_READ_ONLY, 0), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), 0);

	KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE, &cpu_atomics), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, end), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, AT), -EACCES);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, addr),
			GPUSVM_MOCK_READ | GPUSVM_MOCK_WRITE);

	/* A device without memory cannot have it there. */
	KUNIT_ASSERT_EQ(test, set_value(mock, addr, SIZE, DRM_GPUSVM_ATTR_ATOMICS,
					DRM_GPUSVM_ATOMICS_DEVICE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, AT), -EACCES);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), 0);
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_look(mock, addr) & GPUSVM_MOCK_ATOMIC);
	KUNIT_ASSERT_EQ(test, set_value(mock, addr, SIZE, DRM_GPUSVM_ATTR_ATOMICS,
					DRM_GPUSVM_ATOMICS_GLOBAL), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, AT), 0);

	/* All that while the other one has kept what it had. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, other, GPUSVM_MOCK_ZAP), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(other, addr),
			GPUSVM_MOCK_READ | GPUSVM_MOCK_WRITE | GPUSVM_MOCK_ATOMIC);
}

/* All flushes are started before the first one is waited for. */
static void test_flushes_overlap(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock *mocks[4];
	struct gpusvm_mock_thread *change;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(mocks); i++) {
		mocks[i] = gpusvm_mock_new(env);
		KUNIT_ASSERT_EQ(test, fault(mocks[i], addr, WR), 0);
		gpusvm_mock_set_manual(mocks[i], true);
	}

	/* A range that is cut goes everywhere. */
	change = set_thread(mocks[1], addr, SIZE / 2, &read_only);
	gpusvm_mock_start(change);
	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		KUNIT_EXPECT_TRUE(test, gpusvm_mock_flush_wait(mocks[i], 1));
	KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(change));
	for (i = 0; i < ARRAY_SIZE(mocks); i++) {
		KUNIT_EXPECT_EQ(test, gpusvm_mock_flush_pending(mocks[i]), 1);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mocks[i], addr, addr + SIZE),
				GPUSVM_MOCK_TLB);
	}
	for (i = ARRAY_SIZE(mocks); i-- > 0; ) {
		KUNIT_EXPECT_FALSE(test, gpusvm_mock_thread_done(change));
		gpusvm_mock_set_manual(mocks[i], false);
	}
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(change));
	KUNIT_EXPECT_EQ(test, change->ret, 0);
	for (i = 0; i < ARRAY_SIZE(mocks); i++)
		KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mocks[i], addr, addr + SIZE), 0);
	gpusvm_mock_validate(mocks[0]);

	KUNIT_EXPECT_EQ(test, fault(mocks[1], addr, WR), -EACCES);
	KUNIT_EXPECT_EQ(test, fault(mocks[1], addr + SIZE / 2, WR), 0);
	KUNIT_EXPECT_EQ(test, fault(mocks[2], addr, WR), 0);
	check_edges(test, mocks[0]->base.mgr);
}

/*
 * A filler that has the fault mutex and does not get on, of a mapping that is there
 * already: the change takes the PTEs away without it, and it tidies up.
 */
static void test_stuck_filler(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_mmap(env, PAGES, RW, MAP_PRIVATE);
	struct gpusvm_mock_thread *filler, *change;
	struct gpusvm_mock_gate *walked;

	/* Read: the zero page; the filler wants to write. */
	KUNIT_ASSERT_EQ(test, fault(mock, addr, RD), 0);
	filler = gpusvm_mock_fault_thread(other, addr, RD);
	change = set_thread(mock, addr, SIZE, &cpu_atomics);
	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, filler);

	gpusvm_mock_start(filler);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));
	gpusvm_mock_start(change);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(change));
	KUNIT_EXPECT_EQ(test, change->ret, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SIZE), GPUSVM_MOCK_DMA);
	gpusvm_mock_validate(mock);

	/* It is another's mapping; its own is made in another look. */
	gpusvm_mock_gate_open(walked);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(filler));
	KUNIT_EXPECT_EQ(test, filler->ret, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(other, addr), GPUSVM_MOCK_READ);

	/* Who fills it next finds it, and maps anew. */
	gpusvm_mock_events_reset(env);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, RD), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_UNMAPPED), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_MAP), 1);

	/*
	 * The filler of the mapping itself, for an upgrade: it finds what the change
	 * has left, takes it away, and looks again.
	 */
	filler = gpusvm_mock_fault_thread(mock, addr, WR);
	change = set_thread(mock, addr, SIZE, &gpu_atomics);
	walked = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, filler);
	gpusvm_mock_start(filler);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(walked));
	gpusvm_mock_start(change);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(change));
	KUNIT_EXPECT_EQ(test, change->ret, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(mock, addr, addr + SIZE), 0);
	gpusvm_mock_gate_open(walked);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(filler));
	KUNIT_EXPECT_EQ(test, filler->ret, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, addr),
			GPUSVM_MOCK_READ | GPUSVM_MOCK_WRITE | GPUSVM_MOCK_ATOMIC);
	gpusvm_mock_validate(mock);
}

/* Who says the same again has changed nothing, and nothing happens. */
static void test_same_value(struct kunit *test)
{
	static const struct drm_gpusvm_attr *const attrs[] = {
		&read_only, &cpu_atomics, &in_system, &none,
	};
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	unsigned int i;
	u64 generation;

	for (i = 0; i < ARRAY_SIZE(attrs); i++) {
		KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE, attrs[i]), 0);
		KUNIT_EXPECT_EQ(test, fault(mock, addr, RD), attrs[i] == &none ? -EACCES : 0);
		generation = mock->base.generation;
		gpusvm_mock_events_reset(env);
		KUNIT_EXPECT_EQ(test, set(mock, addr, SIZE, attrs[i]), 0);
		/* Of a part, too. */
		KUNIT_EXPECT_EQ(test, set(mock, addr + PAGE_SIZE, PAGE_SIZE, attrs[i]), 0);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, NULL, GPUSVM_MOCK_ZAP), 0);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, NULL, GPUSVM_MOCK_FLUSH_START), 0);
		KUNIT_EXPECT_EQ(test, mock->base.generation, generation);
	}
}

/* What is unmapped loses its attributes, whether it was ever mapped on a device or not. */
static void test_munmap_drops(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, 4 * PAGES);
	unsigned long untouched = gpusvm_mock_mmap(env, PAGES, RW, MAP_PRIVATE);

	KUNIT_ASSERT_EQ(test, set(mock, addr, 4 * SIZE, &read_only), 0);
	KUNIT_ASSERT_EQ(test, set(mock, untouched, SIZE, &none), 0);
	KUNIT_ASSERT_EQ(test, fault(mock, addr + SIZE, RD), 0);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + SIZE, SIZE));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(untouched, SIZE));
	KUNIT_EXPECT_EQ(test, get(mock, addr, SIZE, DRM_GPUSVM_ATTR_READ_ONLY), 1);
	KUNIT_EXPECT_EQ(test, get(mock, addr + SIZE, SIZE, DRM_GPUSVM_ATTR_READ_ONLY), 0);
	KUNIT_EXPECT_EQ(test, get(mock, addr + 2 * SIZE, SIZE, DRM_GPUSVM_ATTR_READ_ONLY), 1);
	KUNIT_EXPECT_EQ(test, get(mock, addr, 2 * SIZE, DRM_GPUSVM_ATTR_READ_ONLY), -1);
	KUNIT_EXPECT_EQ(test, get(mock, untouched, SIZE, DRM_GPUSVM_ATTR_ACCESS),
			DRM_GPUSVM_MODE_ON_DEMAND);

	/* What is said after it stays. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, SIZE));
	KUNIT_ASSERT_EQ(test, addr, vm_mmap(NULL, addr, 2 * SIZE, RW, MAP_PRIVATE |
					    MAP_ANONYMOUS | MAP_FIXED, 0));
	KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE, &cpu_atomics), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, AT), -EACCES);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr + SIZE, AT), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr + 2 * SIZE, WR), -EACCES);
	KUNIT_EXPECT_EQ(test, get(mock, addr, SIZE, DRM_GPUSVM_ATTR_ATOMICS),
			DRM_GPUSVM_ATOMICS_CPU);
	KUNIT_EXPECT_EQ(test, widened(mock), 0);
	check_edges(test, mock->base.mgr);
}

/* New memory at an old address, with the attributes of the old one or without. */
static void test_settle(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	bool broken;

	for (broken = false; ; broken = true) {
		gpusvm_mock_break(env, GPUSVM_MGR_STEP_SETTLE, broken);
		KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE, &none), 0);
		KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, SIZE));
		KUNIT_ASSERT_EQ(test, addr, vm_mmap(NULL, addr, SIZE, RW, MAP_PRIVATE |
						    MAP_ANONYMOUS | MAP_FIXED, 0));
		KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), broken ? -EACCES : 0);
		if (broken)
			return;
	}
}

/* More is unmapped than can be noted: some is dropped that need not be, and counted. */
static void test_note_overflow(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned int holes = GPUSVM_MGR_NOTES + 5, i, lost = 0;
	unsigned long addr = gpusvm_mock_mmap(env, 4 * holes + 4, RW, MAP_PRIVATE);

	KUNIT_ASSERT_EQ(test, set(mock, addr, (4 * holes + 4) * PAGE_SIZE, &read_only), 0);
	/* One after the other they are one note. */
	for (i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + (4 * holes + 1 + i) * PAGE_SIZE,
						   PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, mock->base.mgr->hints.nr_notes, 1);
	for (i = 0; i < holes - 1; i++)
		KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + (4 * i + 1) * PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, mock->base.mgr->hints.nr_notes, GPUSVM_MGR_NOTES);
	KUNIT_EXPECT_EQ(test, widened(mock), holes - GPUSVM_MGR_NOTES);

	for (i = 0; i < holes - 1; i++)
		KUNIT_EXPECT_EQ(test, 0, get(mock, addr + (4 * i + 1) * PAGE_SIZE, PAGE_SIZE,
					     DRM_GPUSVM_ATTR_READ_ONLY));
	/* What was not noted in between stays, and what is outside of all in any case. */
	for (i = 0; i < 4 * holes + 1; i++)
		if (i % 4 != 1)
			lost += !get(mock, addr + i * PAGE_SIZE, PAGE_SIZE,
				     DRM_GPUSVM_ATTR_READ_ONLY);
	KUNIT_EXPECT_EQ(test, lost, 3 * (holes - GPUSVM_MGR_NOTES));
	KUNIT_EXPECT_EQ(test, mock->base.mgr->hints.nr_notes, 0);
	gpusvm_mock_validate(mock);
}

/* Who has a slot next is not held to what was said of the one before. */
static void test_detach_forgets(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *one = gpusvm_mock_new(env);
	struct gpusvm_mock *two = gpusvm_mock_new(env), *three;
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct drm_gpusvm_mgr *mgr;

	KUNIT_ASSERT_EQ(test, set(one, addr, SIZE, &none), 0);
	KUNIT_ASSERT_EQ(test, set(one, addr, SIZE, &in_system), 0);
	KUNIT_ASSERT_EQ(test, set(two, addr, SIZE, &read_only), 0);
	gpusvm_mock_detach(one);
	gpusvm_mock_validate(two);

	three = gpusvm_mock_new(env);
	KUNIT_ASSERT_EQ(test, three->base.slot, one->base.slot);
	KUNIT_EXPECT_EQ(test, fault(three, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, fault(two, addr, WR), -EACCES);
	KUNIT_EXPECT_EQ(test, get(three, addr, SIZE, DRM_GPUSVM_ATTR_LOCATION),
			DRM_GPUSVM_LOCATION_SYSTEM);

	/* With the last one all is forgotten, also where the manager lives on. */
	mgr = gpusvm_mgr_get(env->mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mgr);
	gpusvm_mock_detach(three);
	gpusvm_mock_detach(two);
	KUNIT_EXPECT_EQ(test, mgr->hints.attrs.nr_values, 0);
	KUNIT_EXPECT_FALSE(test, gpusvm_mgr_attrs_any(&mgr->hints.attrs, 0, ULONG_MAX));
	one = gpusvm_mock_new(env);
	KUNIT_EXPECT_PTR_EQ(test, one->base.mgr, mgr);
	gpusvm_mgr_put(mgr);
	KUNIT_EXPECT_EQ(test, get(one, addr, SIZE, DRM_GPUSVM_ATTR_LOCATION),
			DRM_GPUSVM_LOCATION_DEFAULT);
	KUNIT_EXPECT_EQ(test, fault(one, addr, WR), 0);
}

/* A device memory that writes down what it is asked for. */
struct memory {
	struct drm_pagemap base;
	struct dev_pagemap pagemap;
	struct drm_pagemap_ops ops;
	unsigned long lowest;
	unsigned long highest;
	unsigned int calls;
	int err;
};

static int owner;

static int populate(struct drm_pagemap *dpagemap, unsigned long start, unsigned long end,
		    struct mm_struct *mm, unsigned long timeslice_ms)
{
	struct memory *memory = container_of(dpagemap, struct memory, base);

	memory->lowest = min(memory->lowest, start);
	memory->highest = max(memory->highest, end);
	memory->calls++;
	return memory->err;
}

static struct memory *make_memory(struct kunit *test, struct gpusvm_mock_device *device)
{
	struct memory *memory = kunit_kzalloc(test, sizeof(*memory), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, memory);
	memory->ops.populate_mm = populate;
	memory->pagemap.owner = &owner;
	memory->pagemap.range.start = ~0ULL << PAGE_SHIFT;
	memory->pagemap.range.end = ~0ULL;
	memory->lowest = ULONG_MAX;
	/* Never goes to zero: ours. */
	kref_init(&memory->base.ref);
	memory->base.ops = &memory->ops;
	memory->base.pagemap = &memory->pagemap;
	memory->base.drm = &device->drm;
	return memory;
}

static int set_memory(struct gpusvm_mock *mock, unsigned long addr, unsigned long size,
		      struct memory *memory)
{
	const struct drm_gpusvm_attr attr = {
		.type = DRM_GPUSVM_ATTR_LOCATION,
		.value = DRM_GPUSVM_LOCATION_DEVICE,
		.dpagemap = &memory->base,
	};

	return set(mock, addr, size, &attr);
}

static void expect_memory(struct kunit *test, struct gpusvm_mock *mock, unsigned long addr,
			  struct memory *memory)
{
	struct drm_gpusvm_attr attrs[DRM_GPUSVM_ATTR_TYPES];

	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_instance_get_attrs(&mock->base, addr,
							       addr + PAGE_SIZE, attrs));
	KUNIT_EXPECT_EQ(test, attrs[DRM_GPUSVM_ATTR_LOCATION].value,
			DRM_GPUSVM_LOCATION_DEVICE);
	KUNIT_EXPECT_PTR_EQ(test, attrs[DRM_GPUSVM_ATTR_LOCATION].dpagemap, &memory->base);
	drm_gpusvm_attrs_put(attrs);
}

/* 64 memories can be named, and a number is there again when nobody names it. */
static void test_locations(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_mmap(env, GPUSVM_MGR_LOCATIONS + 1, RW, MAP_PRIVATE);
	struct memory *memories[GPUSVM_MGR_LOCATIONS + 1];
	unsigned int i, last = GPUSVM_MGR_LOCATIONS;

	for (i = 0; i <= last; i++)
		memories[i] = make_memory(test, mock->device);
	for (i = 0; i < last; i++)
		KUNIT_ASSERT_EQ(test, set_memory(mock, addr + i * PAGE_SIZE, PAGE_SIZE,
						 memories[i]), 0);
	for (i = 0; i < last; i++) {
		expect_memory(test, mock, addr + i * PAGE_SIZE, memories[i]);
		KUNIT_EXPECT_EQ(test, kref_read(&memories[i]->base.ref), 2);
	}

	KUNIT_EXPECT_EQ(test, set_memory(mock, addr + last * PAGE_SIZE, PAGE_SIZE,
					 memories[last]), -ENOSPC);
	KUNIT_EXPECT_EQ(test, kref_read(&memories[last]->base.ref), 1);
	KUNIT_EXPECT_EQ(test, get(mock, addr + last * PAGE_SIZE, PAGE_SIZE,
				  DRM_GPUSVM_ATTR_LOCATION), DRM_GPUSVM_LOCATION_DEFAULT);

	/* One that is unmapped names nothing any more. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr + 7 * PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, set_memory(mock, addr + last * PAGE_SIZE, PAGE_SIZE,
					 memories[last]), 0);
	expect_memory(test, mock, addr + last * PAGE_SIZE, memories[last]);
	expect_memory(test, mock, addr + 8 * PAGE_SIZE, memories[8]);
	KUNIT_EXPECT_EQ(test, kref_read(&memories[7]->base.ref), 1);

	gpusvm_mock_detach(mock);
	for (i = 0; i <= last; i++)
		KUNIT_EXPECT_EQ(test, kref_read(&memories[i]->base.ref), 1);
}

/* A preferred location of a part of a range is not one of its other parts. */
static void test_location_of_part(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct memory *memory = make_memory(test, mock->device);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);

	KUNIT_ASSERT_EQ(test, fault(mock, addr, WR), 0);
	KUNIT_ASSERT_EQ(test, set_memory(mock, addr + 4 * PAGE_SIZE, 4 * PAGE_SIZE, memory), 0);
	if (memory->calls) {
		KUNIT_EXPECT_GE(test, memory->lowest, addr + 4 * PAGE_SIZE);
		KUNIT_EXPECT_LE(test, memory->highest, addr + 8 * PAGE_SIZE);
	}
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), 0);
	check_edges(test, mock->base.mgr);

	/* A range that lies in it whole goes. */
	addr = gpusvm_mock_anon(env, PAGES);
	memory->calls = 0;
	KUNIT_ASSERT_EQ(test, fault(mock, addr, WR), 0);
	KUNIT_ASSERT_EQ(test, set_memory(mock, addr, SIZE, memory), 0);
	KUNIT_EXPECT_EQ(test, memory->calls, 1);
}

struct bad_case {
	const char *name;
	unsigned int type, value;
	long start, size;
	bool memory;
	int err;
};

static const struct bad_case bad_cases[] = {
	{ "unaligned start", DRM_GPUSVM_ATTR_READ_ONLY, 1, 1, SIZE - 1, .err = -EINVAL },
	{ "unaligned end", DRM_GPUSVM_ATTR_READ_ONLY, 1, 0, SIZE - 1, .err = -EINVAL },
	{ "empty", DRM_GPUSVM_ATTR_READ_ONLY, 1, 0, 0, .err = -EINVAL },
	{ "upside down", DRM_GPUSVM_ATTR_READ_ONLY, 1, SIZE, -(long)PAGE_SIZE, .err = -EINVAL },
	{ "not of user space", DRM_GPUSVM_ATTR_READ_ONLY, 1, 0, LONG_MAX & PAGE_MASK,
	  .err = -EINVAL },
	{ "a hole behind", DRM_GPUSVM_ATTR_READ_ONLY, 1, 0, SIZE + PAGE_SIZE, .err = -EFAULT },
	{ "a hole before", DRM_GPUSVM_ATTR_READ_ONLY, 1, -(long)PAGE_SIZE, SIZE, .err = -EFAULT },
	{ "type", DRM_GPUSVM_ATTR_TYPES, 0, 0, SIZE, .err = -EINVAL },
	{ "location", DRM_GPUSVM_ATTR_LOCATION, 3, 0, SIZE, .err = -EINVAL },
	{ "location 258", DRM_GPUSVM_ATTR_LOCATION, 258, 0, SIZE, true, -EINVAL },
	{ "no memory", DRM_GPUSVM_ATTR_LOCATION, 2, 0, SIZE, .err = -EINVAL },
	{ "memory for system", DRM_GPUSVM_ATTR_LOCATION, 1, 0, SIZE, true, -EINVAL },
	{ "memory for access", DRM_GPUSVM_ATTR_READ_ONLY, 1, 0, SIZE, true, -EINVAL },
	{ "migration", DRM_GPUSVM_ATTR_MIGRATION, 3, 0, SIZE, .err = -EINVAL },
	{ "granularity", DRM_GPUSVM_ATTR_GRANULARITY, 64, 0, SIZE, .err = -EINVAL },
	{ "granularity 256", DRM_GPUSVM_ATTR_GRANULARITY, 256, 0, SIZE, .err = -EINVAL },
	{ "access", DRM_GPUSVM_ATTR_ACCESS, 5, 0, SIZE, .err = -EINVAL },
	{ "read-only", DRM_GPUSVM_ATTR_READ_ONLY, 2, 0, SIZE, .err = -EINVAL },
	{ "atomics", DRM_GPUSVM_ATTR_ATOMICS, 4, 0, SIZE, .err = -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(bad, bad_cases, name);

static void test_bad(struct kunit *test)
{
	const struct bad_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct memory *memory = make_memory(test, mock->device);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	/* What is good does not get through with what is bad. */
	struct drm_gpusvm_attr attrs[2] = { cpu_atomics };
	u64 generation;

	attrs[1].type = c->type;
	attrs[1].value = c->value;
	if (c->memory)
		attrs[1].dpagemap = &memory->base;
	if (c->type == DRM_GPUSVM_ATTR_ATOMICS)
		attrs[0] = read_only;

	KUNIT_ASSERT_EQ(test, fault(mock, addr, AT), 0);
	generation = mock->base.generation;
	KUNIT_EXPECT_EQ(test, c->err,
			drm_gpusvm_instance_set_attrs(&mock->base, addr + c->start,
						      addr + c->start + c->size, attrs,
						      ARRAY_SIZE(attrs)));
	KUNIT_EXPECT_EQ(test, mock->base.mgr->hints.attrs.nr_values, 0);
	KUNIT_EXPECT_EQ(test, mock->base.generation, generation);
	KUNIT_EXPECT_EQ(test, kref_read(&memory->base.ref), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, addr),
			GPUSVM_MOCK_READ | GPUSVM_MOCK_WRITE | GPUSVM_MOCK_ATOMIC);
	gpusvm_mock_validate(mock);
}

static void test_twice(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	const struct drm_gpusvm_attr attrs[] = { read_only, cpu_atomics, read_only };
	u64 missed = 0;

	KUNIT_EXPECT_EQ(test, -EINVAL, drm_gpusvm_instance_set_attrs(&mock->base, addr,
								     addr + SIZE, attrs, 3));
	KUNIT_EXPECT_EQ(test, get(mock, addr, SIZE, DRM_GPUSVM_ATTR_READ_ONLY), 0);
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_instance_set_attrs(&mock->base, addr, addr + SIZE,
							       attrs, 0));
	/* Reset is content with holes. */
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_instance_reset_attrs(&mock->base, addr - SIZE,
								 addr + 2 * SIZE));
	KUNIT_EXPECT_EQ(test, -EINVAL, drm_gpusvm_instance_reset_attrs(&mock->base, addr, addr));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			drm_gpusvm_instance_prefetch(&mock->base, addr, addr + SIZE, NULL, 2,
						     &missed));
	KUNIT_EXPECT_EQ(test, missed, SIZE);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			drm_gpusvm_instance_prefetch(&mock->base, addr, addr + 2 * SIZE, NULL, 0,
						     &missed));
	gpusvm_mock_validate(mock);
}

/* Stepping through what was said: intervals, as one instance sees them. */
static void test_next(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, 4 * PAGES), start = 0, end = 0;
	struct drm_gpusvm_attr attrs[DRM_GPUSVM_ATTR_TYPES];

	KUNIT_ASSERT_EQ(test, set(mock, addr + SIZE, 2 * SIZE, &read_only), 0);
	/* This is not about the first one, and cuts nothing that it sees. */
	KUNIT_ASSERT_EQ(test, set(other, addr + 2 * SIZE, 2 * SIZE, &none), 0);

	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_instance_next_attrs(&mock->base, &start, &end, attrs));
	KUNIT_EXPECT_EQ(test, start, addr + SIZE);
	KUNIT_EXPECT_EQ(test, end, addr + 3 * SIZE);
	KUNIT_EXPECT_EQ(test, attrs[DRM_GPUSVM_ATTR_READ_ONLY].value, 1);
	start = end;
	KUNIT_EXPECT_EQ(test, -ENOENT,
			drm_gpusvm_instance_next_attrs(&mock->base, &start, &end, attrs));
	/* From the middle of one. */
	start = addr + 3 * SIZE;
	KUNIT_EXPECT_EQ(test, 0,
			drm_gpusvm_instance_next_attrs(&other->base, &start, &end, attrs));
	KUNIT_EXPECT_EQ(test, start, addr + 3 * SIZE);
	KUNIT_EXPECT_EQ(test, end, addr + 4 * SIZE);
	KUNIT_EXPECT_EQ(test, attrs[DRM_GPUSVM_ATTR_ACCESS].value, DRM_GPUSVM_MODE_NONE);
	start = 1;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			drm_gpusvm_instance_next_attrs(&other->base, &start, &end, attrs));
}

static void expect_prefetch(struct gpusvm_mock *mock, unsigned long addr, unsigned long size,
			    struct memory *memory, unsigned int flags, u64 expected)
{
	u64 missed = 1;

	KUNIT_EXPECT_EQ(mock->env->test, 0,
			drm_gpusvm_instance_prefetch(&mock->base, addr, addr + size,
						     memory ? &memory->base : NULL, flags,
						     &missed));
	KUNIT_EXPECT_EQ(mock->env->test, missed, expected);
	gpusvm_mock_validate(mock);
	check_edges(mock->env->test, mock->base.mgr);
}

/* What is asked for, no more; what has not come is counted. */
static void test_prefetch(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct memory *memory = make_memory(test, mock->device);
	unsigned long addr = gpusvm_mock_anon(env, MOCK_LARGE / PAGE_SIZE), shared;

	/* It is looked for where it should be, and this memory has no pages. */
	expect_prefetch(mock, addr + PAGE_SIZE, 3 * PAGE_SIZE, memory, 0, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, memory->lowest, addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, memory->highest, addr + 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_LARGE), 0);

	/* Mapped, too; in ranges that lie in what was asked for. */
	expect_prefetch(mock, addr + SIZE, SIZE + PAGE_SIZE, NULL, DRM_GPUSVM_PREFETCH_MAP, 0);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, addr + SIZE) & GPUSVM_MOCK_READ);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, addr + 2 * SIZE) & GPUSVM_MOCK_READ);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr, addr + SIZE));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr + 2 * SIZE + PAGE_SIZE,
						   addr + MOCK_LARGE));

	/* A memory that is full. */
	memory->err = -ENOMEM;
	expect_prefetch(mock, addr + MOCK_LARGE / 2, 2 * SIZE, memory, 0, 2 * SIZE);
	/* What never moves is missed, but not in system memory. */
	memory->err = 0;
	memory->calls = 0;
	shared = gpusvm_mock_mmap(env, PAGES, RW, MAP_SHARED);
	expect_prefetch(mock, shared, SIZE, memory, DRM_GPUSVM_PREFETCH_MAP, SIZE);
	KUNIT_EXPECT_EQ(test, memory->calls, 0);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, shared) & GPUSVM_MOCK_READ);
	expect_prefetch(mock, shared, SIZE, NULL, 0, 0);

	/* Nothing is mapped for who may not have it. */
	addr = gpusvm_mock_anon(env, PAGES);
	KUNIT_ASSERT_EQ(test, set(mock, addr, SIZE / 2, &none), 0);
	expect_prefetch(mock, addr, SIZE, NULL, DRM_GPUSVM_PREFETCH_MAP, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, addr), 0);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(mock, addr + SIZE / 2) & GPUSVM_MOCK_READ);
}

/*
 * Eager instances are mapped along: but not over the edge of what they may have,
 * when that edge comes while another one is being mapped.
 *
 *	A faults in the second half, B and C are eager
 *	A is mapped
 *	B's page tables are made
 *				C: no access to the first half
 *	B looks again, too late
 *	C has the second half eagerly; the range has both
 */
static void test_eager_edge(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *a = gpusvm_mock_new(env);
	struct gpusvm_mock *b = gpusvm_mock_attach(env, gpusvm_mock_device(env),
						   DRM_GPUSVM_INSTANCE_EAGER);
	struct gpusvm_mock *c = gpusvm_mock_attach(env, gpusvm_mock_device(env),
						   DRM_GPUSVM_INSTANCE_EAGER);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);
	struct gpusvm_mock_thread *filler;
	struct gpusvm_mock_gate *prepare;

	filler = gpusvm_mock_fault_thread(a, addr + SIZE / 2, WR);
	prepare = gpusvm_mock_gate(env, GPUSVM_MOCK_WINDOW_PREPARE, filler);
	prepare->object = b;
	gpusvm_mock_start(filler);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(prepare));
	KUNIT_ASSERT_EQ(test, set(c, addr, SIZE / 2, &none), 0);
	gpusvm_mock_gate_open(prepare);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(filler));
	KUNIT_EXPECT_EQ(test, filler->ret, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look_any(c, addr, addr + SIZE / 2), 0);
	check_edges(test, a->base.mgr);
	gpusvm_mock_validate(a);

	/* And where nothing comes in between they are. */
	addr = gpusvm_mock_anon(env, PAGES);
	KUNIT_ASSERT_EQ(test, fault(a, addr, WR), 0);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(b, addr) & GPUSVM_MOCK_WRITE);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(c, addr) & GPUSVM_MOCK_WRITE);
	/* Who becomes eager is mapped at once. */
	KUNIT_ASSERT_EQ(test, set(c, addr, SIZE, &on_demand), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(c, addr), 0);
	KUNIT_ASSERT_EQ(test, set_value(c, addr, SIZE, DRM_GPUSVM_ATTR_ACCESS,
					DRM_GPUSVM_MODE_EAGER), 0);
	KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(c, addr) & GPUSVM_MOCK_WRITE);
}

/* Smaller ranges are wanted: those that are there go. */
static void test_granularity(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, PAGES);

	KUNIT_ASSERT_EQ(test, fault(mock, addr, WR), 0);
	KUNIT_ASSERT_EQ(test, fault(other, addr, WR), 0);
	KUNIT_ASSERT_EQ(test, set_value(mock, addr, SIZE, DRM_GPUSVM_ATTR_GRANULARITY, 0), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(other, addr, addr + SIZE), 0);
	KUNIT_EXPECT_EQ(test, fault(mock, addr, WR), 0);
	KUNIT_EXPECT_EQ(test, fault(other, addr + PAGE_SIZE, WR), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(mock, addr + PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_look(other, addr), 0);
}

/* Anything, by anybody, with an oracle of one entry per page and instance. */

#define WORLD		48
#define INSTANCES	3

struct oracle {
	unsigned int mode, read_only, atomics;
};

struct storm {
	struct kunit *test;
	struct gpusvm_mock *mocks[INSTANCES];
	struct oracle page[INSTANCES][WORLD];
	unsigned long addr;
	struct rnd_state rnd;
};

static unsigned int storm_random(struct storm *s, unsigned int below)
{
	return prandom_u32_state(&s->rnd) % below;
}

static bool oracle_allows(const struct oracle *o, enum drm_gpusvm_access access)
{
	return o->mode != DRM_GPUSVM_MODE_NONE && !(o->read_only && access != RD) &&
	       !(access == AT && (o->atomics == DRM_GPUSVM_ATOMICS_CPU ||
				  o->atomics == DRM_GPUSVM_ATOMICS_DEVICE));
}

static void storm_check(struct storm *s)
{
	static const unsigned int permissions[] = {
		[RD] = GPUSVM_MOCK_READ, [WR] = GPUSVM_MOCK_WRITE, [AT] = GPUSVM_MOCK_ATOMIC,
	};
	unsigned int i, page, access;

	for (i = 0; i < INSTANCES; i++) {
		for (page = 0; page < WORLD; page++) {
			unsigned long addr = s->addr + page * PAGE_SIZE;
			unsigned int look = gpusvm_mock_look(s->mocks[i], addr);
			unsigned int any = gpusvm_mock_look_any(s->mocks[i], addr,
								addr + PAGE_SIZE);

			for (access = RD; access <= AT; access++)
				if (look & permissions[access] &&
				    !oracle_allows(&s->page[i][page], access))
					KUNIT_FAIL(s->test, "instance %u, page %u, access %u",
						   i, page, access);
			KUNIT_EXPECT_TRUE(s->test, look || !any);
		}
	}
	gpusvm_mock_validate(s->mocks[0]);
	check_edges(s->test, s->mocks[0]->base.mgr);
}

static void storm_fault(struct storm *s, unsigned int i, unsigned int page)
{
	enum drm_gpusvm_access access = storm_random(s, 3);
	unsigned long addr = s->addr + page * PAGE_SIZE;
	bool allowed = oracle_allows(&s->page[i][page], access);

	KUNIT_EXPECT_EQ(s->test, gpusvm_mock_fault(s->mocks[i], addr, access),
			allowed ? 0 : -EACCES);
	if (allowed)
		KUNIT_EXPECT_TRUE(s->test, gpusvm_mock_look(s->mocks[i], addr) & BIT(access));
}

static void storm_set(struct storm *s, unsigned int i, unsigned int first, unsigned int end)
{
	struct drm_gpusvm_attr attrs[3];
	unsigned int count = 0, page;

	if (storm_random(s, 2))
		attrs[count++] = (struct drm_gpusvm_attr){
			.type = DRM_GPUSVM_ATTR_ACCESS, .value = storm_random(s, 5),
		};
	if (storm_random(s, 2))
		attrs[count++] = (struct drm_gpusvm_attr){
			.type = DRM_GPUSVM_ATTR_READ_ONLY, .value = storm_random(s, 2),
		};
	if (storm_random(s, 2))
		attrs[count++] = (struct drm_gpusvm_attr){
			.type = DRM_GPUSVM_ATTR_ATOMICS, .value = storm_random(s, 4),
		};
	KUNIT_ASSERT_EQ(s->test, 0,
			drm_gpusvm_instance_set_attrs(&s->mocks[i]->base,
						      s->addr + first * PAGE_SIZE,
						      s->addr + end * PAGE_SIZE, attrs, count));
	while (count--)
		for (page = first; page < end; page++) {
			struct oracle *o = &s->page[i][page];

			if (attrs[count].type == DRM_GPUSVM_ATTR_ACCESS)
				o->mode = attrs[count].value;
			else if (attrs[count].type == DRM_GPUSVM_ATTR_READ_ONLY)
				o->read_only = attrs[count].value;
			else
				o->atomics = attrs[count].value;
		}
}

static void storm_step(struct storm *s)
{
	unsigned int first = storm_random(s, WORLD), i = storm_random(s, INSTANCES), page;
	unsigned int end = first + 1 + storm_random(s, min(WORLD - first, 20U));
	unsigned long addr = s->addr + first * PAGE_SIZE, size = (end - first) * PAGE_SIZE;
	unsigned int slot;

	switch (storm_random(s, 10)) {
	case 0:
		/* New memory, of which nothing was said. */
		if (storm_random(s, 2))
			KUNIT_ASSERT_EQ(s->test, 0, vm_munmap(addr, size));
		KUNIT_ASSERT_EQ(s->test, addr, vm_mmap(NULL, addr, size, RW, MAP_PRIVATE |
						       MAP_ANONYMOUS | MAP_FIXED, 0));
		for (slot = 0; slot < INSTANCES; slot++)
			for (page = first; page < end; page++)
				s->page[slot][page] = (struct oracle){};
		/* Not yet settled: what was mapped is gone all the same. */
		break;
	case 1:
		KUNIT_ASSERT_EQ(s->test, 0, drm_gpusvm_instance_reset_attrs(&s->mocks[i]->base,
									    addr, addr + size));
		for (page = first; page < end; page++)
			s->page[i][page] = (struct oracle){};
		break;
	case 2:
	case 3:
	case 4:
		storm_set(s, i, first, end);
		break;
	default:
		storm_fault(s, i, first);
	}
}

static void test_storm(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned int i, steps = 600;
	struct storm *s;

	s = kunit_kzalloc(test, sizeof(*s), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, s);
	s->test = test;
	for (i = 0; i < INSTANCES; i++)
		s->mocks[i] = gpusvm_mock_new(env);
	s->addr = gpusvm_mock_mmap(env, WORLD, RW, MAP_PRIVATE);
	prandom_seed_state(&s->rnd, 77);
	for (i = 0; i < steps; i++) {
		storm_step(s);
		storm_check(s);
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "step %u", i);
			return;
		}
	}
}

/* Allocations that fail: all of a change, or nothing. */

struct fail {
	struct kunit *test;
	struct gpusvm_mock *mock;
	struct gpusvm_mgr_attrs *attrs;
	unsigned long addr;
	struct gpusvm_mgr_change change;
	u64 generation;
};

/* All that was said of a few pages. */
#define DUMP	64

struct dump {
	struct gpusvm_mgr_attr attr[DUMP];
	unsigned long start[DUMP], last[DUMP];
	unsigned int nr_values;
};

static void dump(struct gpusvm_mgr_attrs *attrs, unsigned long addr, struct dump *out)
{
	unsigned int i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < DUMP; i++)
		gpusvm_mgr_attrs_lookup(attrs, addr + i * PAGE_SIZE, &out->attr[i],
					&out->start[i], &out->last[i]);
	out->nr_values = attrs->nr_values;
}

static int fail_store(struct fail *f)
{
	struct gpusvm_mgr_pieces pieces;
	int err;

	err = gpusvm_mgr_attrs_change(f->attrs, f->addr, f->addr + DUMP * PAGE_SIZE - 1,
				      &f->change, &pieces, GFP_KERNEL);
	if (!err)
		gpusvm_mgr_pieces_free(f->attrs, &pieces);
	else
		KUNIT_EXPECT_NULL(f->test, pieces.piece);
	return err;
}

static int fail_set(struct fail *f)
{
	return drm_gpusvm_instance_set_attrs(&f->mock->base, f->addr + PAGE_SIZE,
					     f->addr + 7 * PAGE_SIZE, &cpu_atomics, 1);
}

static int fail_get(struct fail *f)
{
	struct drm_gpusvm_attr attrs[DRM_GPUSVM_ATTR_TYPES];
	int err;

	err = drm_gpusvm_instance_get_attrs(&f->mock->base, f->addr, f->addr + PAGE_SIZE, attrs);
	if (!err) {
		KUNIT_EXPECT_EQ(f->test, attrs[DRM_GPUSVM_ATTR_READ_ONLY].value, 0);
		drm_gpusvm_attrs_put(attrs);
	}
	return err;
}

/* Alternating values, so that a change is many stores. */
static void fail_make(struct fail *f, struct dump *before)
{
	unsigned int i;

	for (i = 0; i < DUMP; i++) {
		const struct gpusvm_mgr_change change = {
			.fields = GPUSVM_MGR_FIELD_MODE | GPUSVM_MGR_FIELD_POLICY,
			.access.mode = i % 3,
			.placement.policy = i % 5 % 3,
		};
		struct gpusvm_mgr_pieces pieces;

		KUNIT_ASSERT_EQ(f->test, 0,
				gpusvm_mgr_attrs_change(f->attrs, f->addr + i * PAGE_SIZE,
							f->addr + (i + 1) * PAGE_SIZE - 1,
							&change, &pieces, GFP_KERNEL));
		gpusvm_mgr_pieces_free(f->attrs, &pieces);
	}
	dump(f->attrs, f->addr, before);
}

struct fail_case {
	const char *name;
	unsigned int fields;
	bool for_good;
};

static const struct fail_case fail_cases[] = {
	{ "one field, one", GPUSVM_MGR_FIELD_READ_ONLY, false },
	{ "one field, all from one on", GPUSVM_MGR_FIELD_READ_ONLY, true },
	{ "reset, one", GPUSVM_MGR_FIELD_RESET, false },
	{ "reset, all from one on", GPUSVM_MGR_FIELD_RESET, true },
	{ "the same mode, one", GPUSVM_MGR_FIELD_MODE, false },
	{ "the same mode, all from one on", GPUSVM_MGR_FIELD_MODE, true },
};

KUNIT_ARRAY_PARAM_DESC(fail, fail_cases, name);

static void test_fail_store(struct kunit *test)
{
	const struct fail_case *c = test->param_value;
	struct gpusvm_fail *knobs = gpusvm_fail_init(test);
	struct dump *before, *after;
	struct fail *f;
	unsigned int nth, failed = 0;
	bool reached = true;
	int err;

	f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	before = kunit_kzalloc(test, sizeof(*before), GFP_KERNEL);
	after = kunit_kzalloc(test, sizeof(*after), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, f && before && after);
	f->attrs = kunit_kzalloc(test, sizeof(*f->attrs), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, f->attrs);
	f->test = test;
	f->addr = SZ_1G;
	f->change = (struct gpusvm_mgr_change) {
		.fields = c->fields,
		.slot = 9,
		.access = { .mode = 4, .read_only = true },
	};

	for (nth = 1; nth <= 400 && reached; nth++) {
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_init(f->attrs));
		fail_make(f, before);
		gpusvm_fail_begin(knobs, nth, c->for_good);
		err = fail_store(f);
		reached = gpusvm_fail_end(knobs);

		KUNIT_EXPECT_TRUE(test, !err || (reached && err == -ENOMEM));
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(f->attrs), 0);
		KUNIT_EXPECT_EQ(test, f->attrs->pins, 0);
		if (err) {
			failed++;
			dump(f->attrs, f->addr, after);
			KUNIT_EXPECT_MEMEQ(test, after, before, sizeof(*after));
			KUNIT_EXPECT_EQ(test, fail_store(f), 0);
			KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(f->attrs), 0);
		}
		gpusvm_mgr_attrs_fini(f->attrs);
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "allocation %u", nth);
			return;
		}
	}
	KUNIT_EXPECT_FALSE(test, reached);
	KUNIT_EXPECT_GT(test, failed, 0);
	kunit_info(test, "%u allocations, %u made it fail", nth - 2, failed);
}

static void fail_calls(struct kunit *test, int (*run)(struct fail *f), bool unmap)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_fail *knobs = gpusvm_fail_init(test);
	struct fail f = { .test = test, .mock = gpusvm_mock_new(env) };
	unsigned int nth, failed = 0, kept = 0;
	bool reached = true;
	u64 generation;
	int err;

	for (nth = 1; nth <= 200 && reached; nth++) {
		f.addr = gpusvm_mock_anon(env, PAGES);
		KUNIT_ASSERT_EQ(test, fault(f.mock, f.addr, AT), 0);
		KUNIT_ASSERT_EQ(test, set(f.mock, f.addr, SIZE / 4, &read_only), 0);
		KUNIT_ASSERT_EQ(test, fault(f.mock, f.addr, RD), 0);
		if (unmap)
			KUNIT_ASSERT_EQ(test, 0, vm_munmap(f.addr, PAGE_SIZE));
		generation = f.mock->base.generation;

		gpusvm_fail_begin(knobs, nth, true);
		err = run(&f);
		reached = gpusvm_fail_end(knobs);
		KUNIT_EXPECT_TRUE(test, !err || (reached && err == -ENOMEM));
		gpusvm_mock_validate(f.mock);
		if (err) {
			failed++;
			/* What was in force for a moment may have been acted on. */
			if (!unmap && generation == f.mock->base.generation) {
				KUNIT_EXPECT_TRUE(test, gpusvm_mock_look(f.mock, f.addr));
				kept++;
			}
			KUNIT_EXPECT_EQ(test, run(&f), 0);
			gpusvm_mock_validate(f.mock);
		}
		KUNIT_ASSERT_EQ(test, 0, vm_munmap(f.addr, SIZE));
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "allocation %u", nth);
			return;
		}
	}
	KUNIT_EXPECT_FALSE(test, reached);
	KUNIT_EXPECT_GT(test, failed, 0);
	if (!unmap)
		KUNIT_EXPECT_GT(test, kept, 0);
}

static void test_fail_set(struct kunit *test)
{
	fail_calls(test, fail_set, false);
}

static void test_fail_settle(struct kunit *test)
{
	fail_calls(test, fail_get, true);
}

static struct kunit_case advise_cases[] = {
	KUNIT_CASE_PARAM(test_reaches_fault, reach_gen_params),
	KUNIT_CASE(test_takes_effect),
	KUNIT_CASE(test_flushes_overlap),
	KUNIT_CASE(test_stuck_filler),
	KUNIT_CASE(test_same_value),
	KUNIT_CASE(test_munmap_drops),
	KUNIT_CASE(test_settle),
	KUNIT_CASE(test_note_overflow),
	KUNIT_CASE(test_detach_forgets),
	KUNIT_CASE(test_locations),
	KUNIT_CASE(test_location_of_part),
	KUNIT_CASE_PARAM(test_bad, bad_gen_params),
	KUNIT_CASE(test_twice),
	KUNIT_CASE(test_next),
	KUNIT_CASE(test_prefetch),
	KUNIT_CASE(test_eager_edge),
	KUNIT_CASE(test_granularity),
	KUNIT_CASE_SLOW(test_storm),
	KUNIT_CASE_PARAM_ATTR(test_fail_store, fail_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_SLOW(test_fail_set),
	KUNIT_CASE_SLOW(test_fail_settle),
	{}
};

static struct kunit_suite advise_suite = {
	.name = "drm_gpusvm_mgr_advise",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = advise_cases,
};

kunit_test_suite(advise_suite);
