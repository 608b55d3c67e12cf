// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The page table of a VM: what was mapped translates, nothing else does, and
 * what was cleared does not any more.
 */

#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include "../vsvm_pt.h"

#define COOKIE		0x100000007ULL
#define OTHER_COOKIE	0x200000007ULL

/* A place with nothing special, aligned to the leaves of level 1 and 2. */
static const u64 base = 0x123ULL << (PAGE_SHIFT + 2 * VSVM_PT_BITS);
static const u64 dma = 0x45ULL << (PAGE_SHIFT + 2 * VSVM_PT_BITS);

static int vsvm_pt_test_init(struct kunit *test)
{
	struct vsvm_pt *pt = kunit_kzalloc(test, sizeof(*pt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pt);
	KUNIT_ASSERT_EQ(test, vsvm_pt_init(pt), 0);
	test->priv = pt;
	return 0;
}

static void vsvm_pt_test_exit(struct kunit *test)
{
	vsvm_pt_fini(test->priv);
}

static void vsvm_pt_expect(struct kunit *test, u64 va, u64 addr, unsigned int level,
			   bool write, u64 cookie)
{
	struct vsvm_translation t;

	KUNIT_ASSERT_TRUE_MSG(test, vsvm_pt_walk(test->priv, va, &t), "0x%llx", va);
	KUNIT_EXPECT_EQ(test, t.addr + (va - t.va), addr);
	KUNIT_EXPECT_EQ(test, t.level, level);
	KUNIT_EXPECT_EQ(test, t.write, write);
	KUNIT_EXPECT_EQ(test, t.cookie, cookie);
	KUNIT_EXPECT_FALSE(test, t.spared);
}

static void vsvm_pt_expect_none(struct kunit *test, u64 va)
{
	struct vsvm_translation t;

	KUNIT_EXPECT_FALSE_MSG(test, vsvm_pt_walk(test->priv, va, &t), "0x%llx", va);
}

static void vsvm_pt_test_empty(struct kunit *test)
{
	vsvm_pt_expect_none(test, 0);
	vsvm_pt_expect_none(test, base);
	vsvm_pt_expect_none(test, VSVM_PT_VA_END - 1);
	vsvm_pt_expect_none(test, VSVM_PT_VA_END);
	vsvm_pt_expect_none(test, U64_MAX);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(test->priv, 0, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_count(test->priv, 0, U64_MAX, 0), 0);
}

static void vsvm_pt_test_one_page(struct kunit *test)
{
	struct vsvm_pt *pt = test->priv;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + PAGE_SIZE), 0);
	/* The tables alone translate nothing. */
	vsvm_pt_expect_none(test, base);

	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, PAGE_SIZE, dma, false, COOKIE), 0);
	vsvm_pt_expect(test, base, dma, 0, false, COOKIE);
	vsvm_pt_expect(test, base + PAGE_SIZE - 1, dma + PAGE_SIZE - 1, 0, false, COOKIE);
	vsvm_pt_expect_none(test, base - 1);
	vsvm_pt_expect_none(test, base + PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, vsvm_pt_count(pt, base, base + PAGE_SIZE, COOKIE), 1);
	KUNIT_EXPECT_EQ(test, vsvm_pt_count(pt, base, base + PAGE_SIZE, OTHER_COOKIE), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + PAGE_SIZE), 1);
	vsvm_pt_expect_none(test, base);
	KUNIT_EXPECT_EQ(test, vsvm_pt_count(pt, base, base + PAGE_SIZE, COOKIE), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + PAGE_SIZE), 0);

	/* The place can be used again, with another cookie and permission. */
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, PAGE_SIZE, dma + PAGE_SIZE, true,
					  OTHER_COOKIE), 0);
	vsvm_pt_expect(test, base, dma + PAGE_SIZE, 0, true, OTHER_COOKIE);
}

static void vsvm_pt_test_leaf_sizes(struct kunit *test)
{
	u64 size1 = vsvm_pt_level_size(1), size2 = vsvm_pt_level_size(2);
	struct vsvm_pt *pt = test->priv;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + 2 * size2), 0);

	/* Aligned and long enough: one leaf. */
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, size2, dma, true, COOKIE), 0);
	vsvm_pt_expect(test, base + size2 - 8, dma + size2 - 8, 2, true, COOKIE);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + size2), 1);

	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, size1, dma, true, COOKIE), 0);
	vsvm_pt_expect(test, base + 8, dma + 8, 1, true, COOKIE);
	vsvm_pt_expect_none(test, base + size1);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + size1), 1);

	/* The device address is not aligned: small leaves. */
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, size1, dma + PAGE_SIZE, true, COOKIE), 0);
	vsvm_pt_expect(test, base, dma + PAGE_SIZE, 0, true, COOKIE);
	vsvm_pt_expect(test, base + size1 - 1, dma + PAGE_SIZE + size1 - 1, 0, true, COOKIE);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + size1), VSVM_PT_ENTRIES);

	/* Page, block, page: a run that begins one page before the block. */
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base + size1 - PAGE_SIZE, size1 + 2 * PAGE_SIZE,
					  dma + size1 - PAGE_SIZE, false, COOKIE), 0);
	vsvm_pt_expect(test, base + size1 - PAGE_SIZE, dma + size1 - PAGE_SIZE, 0, false,
		       COOKIE);
	vsvm_pt_expect(test, base + size1, dma + size1, 1, false, COOKIE);
	vsvm_pt_expect(test, base + 2 * size1, dma + 2 * size1, 0, false, COOKIE);
	vsvm_pt_expect_none(test, base + 2 * size1 + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vsvm_pt_count(pt, base, base + 4 * size1, COOKIE), 3);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + 4 * size1), 3);
	vsvm_pt_expect_none(test, base + size1);
}

/* A large leaf and a table below it are both there, one after the other. */
static void vsvm_pt_test_leaf_over_table(struct kunit *test)
{
	u64 size1 = vsvm_pt_level_size(1);
	struct vsvm_pt *pt = test->priv;
	int i;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + size1), 0);
	for (i = 0; i < 3; i++) {
		KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, size1, dma, true, COOKIE), 0);
		vsvm_pt_expect(test, base + PAGE_SIZE, dma + PAGE_SIZE, 1, true, COOKIE);
		KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + size1), 1);
		vsvm_pt_expect_none(test, base + PAGE_SIZE);

		KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base + PAGE_SIZE, PAGE_SIZE, dma, false,
						  OTHER_COOKIE), 0);
		vsvm_pt_expect(test, base + PAGE_SIZE, dma, 0, false, OTHER_COOKIE);
		vsvm_pt_expect_none(test, base);
		KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + size1), 1);
	}
}

/* Whatever of a large leaf is asked to go, all of it goes. */
static void vsvm_pt_test_zap_part_of_leaf(struct kunit *test)
{
	u64 size1 = vsvm_pt_level_size(1);
	struct vsvm_pt *pt = test->priv;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + 2 * size1), 0);
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, 2 * size1, dma, true, COOKIE), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base + PAGE_SIZE, base + 2 * PAGE_SIZE), 1);
	vsvm_pt_expect_none(test, base);
	vsvm_pt_expect(test, base + size1, dma + size1, 1, true, COOKIE);
}

static void vsvm_pt_test_zap_is_exact(struct kunit *test)
{
	struct vsvm_pt *pt = test->priv;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + 8 * PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, 8 * PAGE_SIZE, dma, true, COOKIE), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base + 2 * PAGE_SIZE, base + 5 * PAGE_SIZE), 3);
	vsvm_pt_expect(test, base + 2 * PAGE_SIZE - 1, dma + 2 * PAGE_SIZE - 1, 0, true, COOKIE);
	vsvm_pt_expect_none(test, base + 2 * PAGE_SIZE);
	vsvm_pt_expect_none(test, base + 5 * PAGE_SIZE - 1);
	vsvm_pt_expect(test, base + 5 * PAGE_SIZE, dma + 5 * PAGE_SIZE, 0, true, COOKIE);
	/* Nothing between start and end. */
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base + PAGE_SIZE, base), 0);
	vsvm_pt_expect(test, base, dma, 0, true, COOKIE);
}

static void vsvm_pt_test_ends(struct kunit *test)
{
	struct vsvm_pt *pt = test->priv;
	u64 last = VSVM_PT_VA_END - PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, 0, PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, last, VSVM_PT_VA_END), 0);
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, 0, PAGE_SIZE, dma, true, COOKIE), 0);
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, last, PAGE_SIZE, 0, true, COOKIE), 0);
	vsvm_pt_expect(test, 0, dma, 0, true, COOKIE);
	vsvm_pt_expect(test, VSVM_PT_VA_END - 1, PAGE_SIZE - 1, 0, true, COOKIE);
	KUNIT_EXPECT_EQ(test, vsvm_pt_count(pt, 0, U64_MAX, COOKIE), 2);
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, 0, U64_MAX), 2);
}

static void vsvm_pt_test_refused(struct kunit *test)
{
	struct vsvm_pt *pt = test->priv;

	/* Beyond the end, or nothing at all. */
	KUNIT_EXPECT_EQ(test, vsvm_pt_prepare(pt, base, VSVM_PT_VA_END + 1), -EFAULT);
	KUNIT_EXPECT_EQ(test, vsvm_pt_prepare(pt, base, base), -EFAULT);
	KUNIT_EXPECT_EQ(test, vsvm_pt_prepare(pt, base + 1, base), -EFAULT);
	KUNIT_EXPECT_EQ(test, atomic_read(&pt->tables), 1);

	/* Not prepared. */
	KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, base, PAGE_SIZE, dma, true, COOKIE), -ENOENT);
	vsvm_pt_expect_none(test, base);

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + 2 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, base + 1, PAGE_SIZE, dma, true, COOKIE), -EINVAL);
	KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, base, PAGE_SIZE, dma + 1, true, COOKIE), -EINVAL);
	KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, base, PAGE_SIZE + 1, dma, true, COOKIE), -EINVAL);
	KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, base, 0, dma, true, COOKIE), -EINVAL);
	KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, VSVM_PT_VA_END, PAGE_SIZE, dma, true, COOKIE),
			-EINVAL);
	vsvm_pt_expect_none(test, base);

	/* Taken: what is there stays. */
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, PAGE_SIZE, dma, false, COOKIE), 0);
	KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, base, PAGE_SIZE, dma + PAGE_SIZE, true,
					  OTHER_COOKIE), -EEXIST);
	vsvm_pt_expect(test, base, dma, 0, false, COOKIE);
}

static void vsvm_pt_test_prepare_again(struct kunit *test)
{
	struct vsvm_pt *pt = test->priv;
	int tables;

	/* Root, level 2, level 1, level 0. */
	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + PAGE_SIZE), 0);
	tables = atomic_read(&pt->tables);
	KUNIT_EXPECT_EQ(test, tables, VSVM_PT_LEVELS);

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + vsvm_pt_level_size(1)), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&pt->tables), tables);
	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + vsvm_pt_level_size(1) + 1), 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&pt->tables), tables + 1);
}

#define PREPARERS	4

struct vsvm_pt_preparer {
	struct vsvm_pt *pt;
	struct completion *start;
	struct completion done;
	int ret;
};

static int vsvm_pt_preparer(void *arg)
{
	struct vsvm_pt_preparer *p = arg;

	wait_for_completion(p->start);
	p->ret = vsvm_pt_prepare(p->pt, base, base + 16 * vsvm_pt_level_size(1));
	complete(&p->done);
	return 0;
}

/* All want the same tables at the same time: each is there once. */
static void vsvm_pt_test_prepare_parallel(struct kunit *test)
{
	DECLARE_COMPLETION_ONSTACK(start);
	struct vsvm_pt_preparer *p;
	struct vsvm_pt *pt = test->priv;
	struct task_struct *task;
	unsigned int i, n;

	p = kunit_kcalloc(test, PREPARERS, sizeof(*p), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	for (n = 0; n < PREPARERS; n++) {
		p[n].pt = pt;
		p[n].start = &start;
		init_completion(&p[n].done);
		task = kthread_run(vsvm_pt_preparer, &p[n], "vsvm_pt_test/%u", n);
		if (IS_ERR(task))
			break;
	}
	complete_all(&start);
	for (i = 0; i < n; i++)
		wait_for_completion(&p[i].done);

	KUNIT_ASSERT_EQ(test, n, PREPARERS);
	for (i = 0; i < n; i++)
		KUNIT_EXPECT_EQ(test, p[i].ret, 0);
	/* Root, level 2, level 1, and 16 of level 0. */
	KUNIT_EXPECT_EQ(test, atomic_read(&pt->tables), 3 + 16);

	for (i = 0; i < 16; i++) {
		u64 va = base + i * vsvm_pt_level_size(1);

		KUNIT_EXPECT_EQ(test, vsvm_pt_map(pt, va, PAGE_SIZE, dma, true, COOKIE), 0);
		vsvm_pt_expect(test, va, dma, 0, true, COOKIE);
	}
}

/*
 * A walker beside a writer that maps two different pages at one address in
 * turn: never the address of one with the cookie of the other.
 */
struct vsvm_pt_writer {
	struct vsvm_pt *pt;
	bool stop;
	struct completion done;
};

static int vsvm_pt_writer(void *arg)
{
	struct vsvm_pt_writer *w = arg;
	unsigned int i;

	for (i = 0; !READ_ONCE(w->stop); i++) {
		vsvm_pt_map(w->pt, base, PAGE_SIZE, dma + (i & 1) * PAGE_SIZE, i & 1,
			    i & 1 ? OTHER_COOKIE : COOKIE);
		vsvm_pt_zap(w->pt, base, base + PAGE_SIZE);
		cond_resched();
	}
	complete(&w->done);
	return 0;
}

static void vsvm_pt_test_walk_consistent(struct kunit *test)
{
	struct vsvm_pt_writer w = { .pt = test->priv };
	struct vsvm_translation t;
	unsigned int i, hits = 0, mixed = 0;
	struct task_struct *task;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(w.pt, base, base + PAGE_SIZE), 0);
	init_completion(&w.done);
	task = kthread_run(vsvm_pt_writer, &w, "vsvm_pt_test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));

	for (i = 0; i < 200000; i++) {
		bool other;

		cond_resched();
		if (!vsvm_pt_walk(w.pt, base, &t))
			continue;
		hits++;
		other = t.addr != dma;
		mixed += t.write != other || t.cookie != (other ? OTHER_COOKIE : COOKIE);
	}
	WRITE_ONCE(w.stop, true);
	wait_for_completion(&w.done);

	KUNIT_EXPECT_EQ(test, mixed, 0);
	KUNIT_EXPECT_GT(test, hits, 0);
}

/* A large leaf falls into smaller ones, without a change to what it translates. */
static void vsvm_pt_test_split(struct kunit *test)
{
	const u64 size = vsvm_pt_level_size(2), small = vsvm_pt_level_size(1);
	struct vsvm_pt *pt = test->priv;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + size), 0);
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, size, dma, true, COOKIE), 0);
	vsvm_pt_expect(test, base + PAGE_SIZE, dma + PAGE_SIZE, 2, true, COOKIE);

	/* Where leaves end anyway there is nothing to do. */
	vsvm_pt_split(pt, base);
	vsvm_pt_split(pt, base + size);
	vsvm_pt_expect(test, base, dma, 2, true, COOKIE);

	vsvm_pt_split(pt, base + 3 * small);
	vsvm_pt_expect(test, base, dma, 1, true, COOKIE);
	vsvm_pt_expect(test, base + 3 * small, dma + 3 * small, 1, true, COOKIE);
	vsvm_pt_expect(test, base + size - 1, dma + size - 1, 1, true, COOKIE);

	vsvm_pt_split(pt, base + 3 * small + 5 * PAGE_SIZE);
	vsvm_pt_expect(test, base + 2 * small, dma + 2 * small, 1, true, COOKIE);
	vsvm_pt_expect(test, base + 3 * small, dma + 3 * small, 0, true, COOKIE);
	vsvm_pt_expect(test, base + 4 * small - 1, dma + 4 * small - 1, 0, true, COOKIE);
	vsvm_pt_expect(test, base + 4 * small, dma + 4 * small, 1, true, COOKIE);

	/* Through both levels at once. */
	KUNIT_EXPECT_EQ(test, vsvm_pt_zap(pt, base, base + size),
			VSVM_PT_ENTRIES - 1 + VSVM_PT_ENTRIES);
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, size, dma, false, COOKIE), 0);
	vsvm_pt_split(pt, base + PAGE_SIZE);
	vsvm_pt_expect(test, base + PAGE_SIZE, dma + PAGE_SIZE, 0, false, COOKIE);
	vsvm_pt_expect(test, base + small, dma + small, 1, false, COOKIE);

	/* Where nothing is, or no table, nothing happens. */
	vsvm_pt_zap(pt, base, base + size);
	vsvm_pt_split(pt, base + PAGE_SIZE);
	vsvm_pt_split(pt, base + 8 * size + PAGE_SIZE);
	vsvm_pt_expect_none(test, base + PAGE_SIZE);
}

static void vsvm_pt_test_set_cookie(struct kunit *test)
{
	const u64 size = vsvm_pt_level_size(1);
	struct vsvm_pt *pt = test->priv;

	KUNIT_ASSERT_EQ(test, vsvm_pt_prepare(pt, base, base + 2 * size), 0);
	KUNIT_ASSERT_EQ(test, vsvm_pt_map(pt, base, 2 * size, dma, true, COOKIE), 0);
	vsvm_pt_split(pt, base + 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, vsvm_pt_set_cookie(pt, base, base + 3 * PAGE_SIZE,
						 OTHER_COOKIE), 3);
	vsvm_pt_expect(test, base + 2 * PAGE_SIZE, dma + 2 * PAGE_SIZE, 0, true, OTHER_COOKIE);
	vsvm_pt_expect(test, base + 3 * PAGE_SIZE, dma + 3 * PAGE_SIZE, 0, true, COOKIE);
	vsvm_pt_expect(test, base + size, dma + size, 1, true, COOKIE);
	KUNIT_EXPECT_EQ(test, vsvm_pt_count(pt, base, base + 2 * size, OTHER_COOKIE), 3);
	KUNIT_EXPECT_EQ(test, vsvm_pt_count(pt, base, base + 2 * size, COOKIE),
			VSVM_PT_ENTRIES - 3 + 1);
	KUNIT_EXPECT_EQ(test, vsvm_pt_set_cookie(pt, base + 4 * size, base + 5 * size,
						 OTHER_COOKIE), 0);
}

static struct kunit_case vsvm_pt_cases[] = {
	KUNIT_CASE(vsvm_pt_test_empty),
	KUNIT_CASE(vsvm_pt_test_one_page),
	KUNIT_CASE(vsvm_pt_test_leaf_sizes),
	KUNIT_CASE(vsvm_pt_test_leaf_over_table),
	KUNIT_CASE(vsvm_pt_test_zap_part_of_leaf),
	KUNIT_CASE(vsvm_pt_test_zap_is_exact),
	KUNIT_CASE(vsvm_pt_test_ends),
	KUNIT_CASE(vsvm_pt_test_refused),
	KUNIT_CASE(vsvm_pt_test_prepare_again),
	KUNIT_CASE(vsvm_pt_test_prepare_parallel),
	KUNIT_CASE(vsvm_pt_test_walk_consistent),
	KUNIT_CASE(vsvm_pt_test_split),
	KUNIT_CASE(vsvm_pt_test_set_cookie),
	{}
};

static struct kunit_suite vsvm_pt_suite = {
	.name = "vsvm_pt",
	.init = vsvm_pt_test_init,
	.exit = vsvm_pt_test_exit,
	.test_cases = vsvm_pt_cases,
};

kunit_test_suite(vsvm_pt_suite);

MODULE_DESCRIPTION("Unit tests of the page table and the TLB of vsvm");
MODULE_LICENSE("Dual MIT/GPL");
MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
