// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Snapshots and faults over memory of every kind: how often the CPU's page
 * tables are walked, counted outside the library, and what becomes of it.
 */

#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/hugetlb.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/shmem_fs.h>
#include <linux/syscalls.h>

#include "gpusvm_mgr_mock.h"

#define RD	DRM_GPUSVM_ACCESS_READ
#define WR	DRM_GPUSVM_ACCESS_WRITE
#define AT	DRM_GPUSVM_ACCESS_ATOMIC

/* Pages of the middle chunk size. */
#define MIDDLE	(MOCK_MIDDLE / PAGE_SIZE)

/* The counter of HMM walks: a probe on the one function that does them. */
struct walk_counter {
	struct kprobe probe;
	struct mm_struct *mm;
	atomic_t walks;
};

static int count_walk(struct kprobe *probe, struct pt_regs *regs)
{
	struct walk_counter *counter =
		container_of(probe, struct walk_counter, probe);

	if (current->mm == counter->mm)
		atomic_inc(&counter->walks);
	return 0;
}

static void remove_counter(void *data)
{
	struct walk_counter *counter = data;

	unregister_kprobe(&counter->probe);
}

static struct walk_counter *count_walks(struct kunit *test)
{
	struct walk_counter *counter;
	int err;

	if (!IS_ENABLED(CONFIG_KPROBES))
		kunit_skip(test, "needs CONFIG_KPROBES");

	counter = kunit_kzalloc(test, sizeof(*counter), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, counter);
	counter->mm = current->mm;
	counter->probe.symbol_name = "hmm_range_fault_unlocked_timeout";
	counter->probe.pre_handler = count_walk;
	err = register_kprobe(&counter->probe);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, remove_counter,
							   counter));
	return counter;
}

/* Walks since the last call. */
static int walks(struct walk_counter *counter)
{
	return atomic_xchg(&counter->walks, 0);
}

/* What a test wants to know of a mapping, copied while it is there. */
struct mapping_info {
	unsigned long start, end;
	unsigned int runs, capacity;
	unsigned int order;
	bool found, ptes;
};

static void look(struct gpusvm_mock *mock, unsigned long addr,
		 struct mapping_info *info)
{
	struct drm_gpusvm_mapping *mapping;
	struct drm_gpusvm_mgr_range *range;
	int idx;

	*info = (struct mapping_info){};
	range = gpusvm_mgr_tree_find(&mock->base.mgr->tree, addr);
	if (!range)
		return;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	mutex_lock(&range->fault_mutex);
	mapping = gpusvm_mgr_mapping_find(range, &mock->base);
	if (mapping) {
		down_read(&mock->base.svm.notifier_lock);
		info->found = true;
		info->ptes = mapping->ptes;
		info->start = mapping->start;
		info->end = mapping->end;
		info->runs = mapping->nr_runs;
		info->capacity = mapping->capacity;
		if (mapping->nr_runs)
			info->order = mapping->pages.dma_addr[0].order;
		up_read(&mock->base.svm.notifier_lock);
	}
	mutex_unlock(&range->fault_mutex);
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	drm_gpusvm_mgr_range_put(range);
}

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

/* A shmem file, mapped; the file goes with the test. */
static void put_file(void *data)
{
	fput(data);
}

static struct file *shmem(struct kunit *test, loff_t size)
{
	struct file *file;

	file = shmem_file_setup("gpusvm_mgr_test", size, mk_vma_flags(VMA_NORESERVE_BIT));
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_file, file));
	return file;
}

static unsigned long map_file(struct gpusvm_mock_env *env, struct file *file,
			      unsigned long pages, unsigned long prot,
			      unsigned long flags)
{
	unsigned long addr = env->next_addr;

	env->next_addr += ALIGN(pages << PAGE_SHIFT, MOCK_LARGE) + MOCK_LARGE;
	KUNIT_ASSERT_EQ(env->test, addr,
			vm_mmap(file, addr, pages << PAGE_SHIFT, prot,
				flags | MAP_FIXED, 0));
	return addr;
}

struct share_case {
	const char *name;
	unsigned int instances;
	bool broken;
};

static const struct share_case share_cases[] = {
	{ "two instances", 2, false },
	{ "eight instances", 8, false },
	{ "broken: two instances, nothing shared", 2, true },
	{ "broken: eight instances, nothing shared", 8, true },
};

KUNIT_ARRAY_PARAM_DESC(share, share_cases, name);

/* I-5: devices that fault on the same range while it is valid cost one walk. */
static void test_share(struct kunit *test)
{
	const struct share_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct drm_gpusvm_mgr_stats stats;
	struct gpusvm_mock *mock = NULL;
	unsigned int i;

	gpusvm_mock_break(env, GPUSVM_MGR_STEP_SHARE, c->broken);
	for (i = 0; i < c->instances; i++) {
		/* Different pages of it, reads and writes. */
		unsigned long page = addr + (i % MIDDLE) * PAGE_SIZE;

		mock = gpusvm_mock_new(env);
		KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, page, i % 2 ? RD : WR));
		expect_pte(mock, page, true);
		gpusvm_mock_validate(mock);
	}

	KUNIT_EXPECT_EQ(test, walks(counter), c->broken ? c->instances : 1);
	drm_gpusvm_mgr_read_stats(mock->base.mgr, &stats);
	KUNIT_EXPECT_EQ(test, stats.walks, c->broken ? c->instances : 1);
	KUNIT_EXPECT_EQ(test, stats.snapshot_hits, c->broken ? 0 : c->instances - 1);
	KUNIT_EXPECT_EQ(test, stats.ranges, 1);

	/* Who has it already looks at nothing. */
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, RD));
	KUNIT_EXPECT_EQ(test, walks(counter), 0);

	/* When it does not hold any more, there is one new walk. */
	gpusvm_mock_break(env, GPUSVM_MGR_STEP_SHARE, false);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE));
	list_for_each_entry(mock, &env->mocks, node) {
		KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
		expect_pte(mock, addr, true);
		gpusvm_mock_validate(mock);
	}
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
}

/*
 * Threads of different instances fault on one range at once: the first one
 * stands with its snapshot, the others come. It is built once.
 */
static void test_share_concurrent(struct kunit *test)
{
	const struct share_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock_thread *threads[8];
	struct gpusvm_mock *mocks[8];
	struct gpusvm_mock_gate *gate;
	unsigned int i;

	KUNIT_ASSERT_LE(test, c->instances, ARRAY_SIZE(threads));
	gpusvm_mock_break(env, GPUSVM_MGR_STEP_SHARE, c->broken);
	for (i = 0; i < c->instances; i++) {
		mocks[i] = gpusvm_mock_new(env);
		threads[i] = gpusvm_mock_fault_thread(mocks[i], addr, WR);
	}

	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, threads[0]);
	gpusvm_mock_start(threads[0]);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));
	for (i = 1; i < c->instances; i++)
		gpusvm_mock_start(threads[i]);
	gpusvm_mock_gate_open(gate);

	for (i = 0; i < c->instances; i++) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(threads[i]));
		KUNIT_EXPECT_EQ(test, threads[i]->ret, 0);
		expect_pte(mocks[i], addr, true);
	}
	KUNIT_EXPECT_EQ(test, walks(counter), c->broken ? c->instances : 1);
	gpusvm_mock_validate(mocks[0]);
}

/* Threads of one instance: mapped once, too. */
static void test_same_instance(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock_thread *threads[4];
	struct gpusvm_mock_gate *gate;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		threads[i] = gpusvm_mock_fault_thread(mock, addr + i * PAGE_SIZE,
						      i % 2 ? RD : WR);
	gate = gpusvm_mock_gate(env, GPUSVM_MGR_WINDOW_WALKED, NULL);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		gpusvm_mock_start(threads[i]);
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_gate_reached(gate));
	gpusvm_mock_gate_open(gate);
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_join(threads[i]));
		KUNIT_EXPECT_EQ(test, threads[i]->ret, 0);
	}
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.maps), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_events(env, mock, GPUSVM_MOCK_MAP), 1);
	gpusvm_mock_validate(mock);
}

/* Memory that nobody touched: the zero page, read-only, and not replaced. */
static void test_zero_page(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	unsigned long addr = gpusvm_mock_mmap(env, MIDDLE, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long pfn;
	unsigned int i;
	bool write;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + PAGE_SIZE, RD));
	for (i = 0; i < MIDDLE; i++) {
		KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr + i * PAGE_SIZE,
							&pfn, &write));
		KUNIT_EXPECT_TRUE(test, is_zero_pfn(pfn));
		KUNIT_EXPECT_FALSE(test, write);
	}
	/* The CPU has it still, too. */
	KUNIT_EXPECT_TRUE(test, is_zero_pfn(cpu_pfn(env, addr + PAGE_SIZE)));
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	gpusvm_mock_validate(mock);

	/* A write makes a page of it, for the CPU and for the device. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + PAGE_SIZE, WR));
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	KUNIT_EXPECT_FALSE(test, is_zero_pfn(cpu_pfn(env, addr + PAGE_SIZE)));
	expect_pte(mock, addr + PAGE_SIZE, true);
	gpusvm_mock_validate(mock);

	/* It reads as what it was. */
	KUNIT_EXPECT_EQ(test, gpusvm_mock_peek(env, addr + PAGE_SIZE), 0);
}

/* A private mapping of a file: read from the page cache, copied for a write. */
static void test_copy_on_write(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct file *file = shmem(test, MOCK_MIDDLE);
	unsigned long shared = map_file(env, file, MIDDLE, PROT_READ | PROT_WRITE,
					MAP_SHARED);
	unsigned long addr = map_file(env, file, MIDDLE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE);
	struct gpusvm_mock *reader = gpusvm_mock_new(env);
	struct gpusvm_mock *writer = gpusvm_mock_new(env);
	unsigned long cache;
	unsigned int i;

	for (i = 0; i < MIDDLE; i++)
		gpusvm_mock_poke(env, shared + i * PAGE_SIZE, 100 + i);
	cache = cpu_pfn(env, shared);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(reader, addr, RD));
	expect_pte(reader, addr, false);
	KUNIT_EXPECT_EQ(test, cpu_pfn(env, addr), cache);
	gpusvm_mock_validate(reader);

	/* The copy takes the page away from under the reader. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(writer, addr, WR));
	KUNIT_EXPECT_NE(test, cpu_pfn(env, addr), cache);
	KUNIT_EXPECT_EQ(test, cpu_pfn(env, shared), cache);
	expect_pte(writer, addr, true);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(reader, addr, addr + PAGE_SIZE), 0);
	gpusvm_mock_validate(writer);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(reader, addr, RD));
	expect_pte(reader, addr, true);
	for (i = 0; i < MIDDLE; i++) {
		KUNIT_EXPECT_EQ(test, gpusvm_mock_peek(env, addr + i * PAGE_SIZE),
				100 + i);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_peek(env, shared + i * PAGE_SIZE),
				100 + i);
	}
	gpusvm_mock_validate(reader);
}

/*
 * Of a range some pages may be written and others not: each access gets what it
 * needs, and a write to what may be written costs nothing.
 */
static void test_partly_writable(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	unsigned long addr = gpusvm_mock_mmap(env, MIDDLE, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long zero = addr + 5 * PAGE_SIZE;
	unsigned int i;

	for (i = 0; i < MIDDLE; i++)
		if (addr + i * PAGE_SIZE != zero)
			gpusvm_mock_poke(env, addr + i * PAGE_SIZE, i);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, RD));
	for (i = 0; i < MIDDLE; i++)
		expect_pte(mock, addr + i * PAGE_SIZE, addr + i * PAGE_SIZE != zero);
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	gpusvm_mock_validate(mock);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, AT));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + MOCK_MIDDLE - 1, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, zero, RD));
	KUNIT_EXPECT_EQ(test, walks(counter), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.maps), 1);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, zero, AT));
	KUNIT_EXPECT_GE(test, walks(counter), 1);
	for (i = 0; i < MIDDLE; i++)
		expect_pte(mock, addr + i * PAGE_SIZE, true);
	gpusvm_mock_validate(mock);
}

/* A chunk of a large page: one run, and an array of one entry. */
static void expect_one_run(struct gpusvm_mock *mock, unsigned long addr)
{
	struct kunit *test = mock->env->test;
	struct mapping_info info;
	unsigned long i;

	look(mock, addr, &info);
	KUNIT_ASSERT_TRUE(test, info.found);
	KUNIT_EXPECT_TRUE(test, info.ptes);
	KUNIT_EXPECT_EQ(test, info.start, addr);
	KUNIT_EXPECT_EQ(test, info.end, addr + MOCK_LARGE);
	KUNIT_EXPECT_EQ(test, info.runs, 1);
	KUNIT_EXPECT_EQ(test, info.capacity, 1);
	KUNIT_EXPECT_EQ(test, info.order, ilog2(MOCK_LARGE / PAGE_SIZE));
	for (i = 0; i < MOCK_LARGE; i += 37 * PAGE_SIZE)
		expect_pte(mock, addr + i, true);
}

/* A large page is a chunk where pages have 4 KiB, and 16 where they have 64. */
static void test_thp(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	struct mapping_info info;
	unsigned long addr;
	struct page *page;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		kunit_skip(test, "needs CONFIG_TRANSPARENT_HUGEPAGE");

	KUNIT_ASSERT_GE(test, PMD_SIZE, MOCK_LARGE);
	env->next_addr = ALIGN(env->next_addr, PMD_SIZE);
	addr = gpusvm_mock_mmap(env, PMD_SIZE / PAGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE);
	KUNIT_ASSERT_EQ(test, 0, do_madvise(env->mm, addr, PMD_SIZE, MADV_HUGEPAGE));
	gpusvm_mock_poke(env, addr, 1);
	KUNIT_ASSERT_EQ(test, 1, get_user_pages_fast(addr, 1, 0, &page));
	if (folio_size(page_folio(page)) != PMD_SIZE) {
		put_page(page);
		kunit_skip(test, "there was no large page");
	}
	put_page(page);

	/* Its last chunk: its first one, where a page is a chunk. */
	addr += PMD_SIZE - MOCK_LARGE;
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + MOCK_LARGE / 2 + 5, WR));
	expect_one_run(mock, addr);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(other, addr + MOCK_LARGE - 1, RD));
	expect_one_run(other, addr);
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	gpusvm_mock_validate(mock);

	/* A hole in it splits it: all of it goes, and comes back in pieces. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr + MOCK_LARGE / 2, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_LARGE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(other, addr, addr + MOCK_LARGE), 0);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	expect_pte(mock, addr, true);
	expect_pte(mock, addr + MOCK_LARGE / 2, true);
	look(mock, addr, &info);
	KUNIT_EXPECT_GT(test, info.runs, 1);
	KUNIT_EXPECT_GE(test, info.capacity, info.runs);
	/*
	 * Neighbours as before, but for one page: 256, that one, 128 + 64 + ... + 1.
	 * Where a chunk is several subsections: 8 of them, that page, 16 + 8 + ... + 1, 7.
	 */
	KUNIT_EXPECT_LE(test, info.runs,
			MOCK_LARGE / PAGE_SIZE / PAGES_PER_SUBSECTION +
			ilog2(PAGES_PER_SUBSECTION));
	gpusvm_mock_validate(mock);
}

#define PFN_ORDER(order)	((unsigned long)(order) << HMM_PFN_ORDER_SHIFT)

/* What follows each other in memory, and may be accessed alike, is one run. */
static void test_joined(struct kunit *test)
{
	const unsigned long unit = PAGES_PER_SUBSECTION;
	const unsigned long v = HMM_PFN_VALID, w = HMM_PFN_VALID | HMM_PFN_WRITE;
	const struct {
		const char *name;
		unsigned long pfns[8];
		unsigned int nr_pages;
		unsigned int orders[8];
		unsigned int nr_runs;
	} cases[] = {
		{ "neighbours", { w | 5, w | 6, w | 7, w | 8 }, 4, { 2 }, 1 },
		{ "powers of two",
		  { w | 1, w | 2, w | 3, w | 4, w | 5, w | 6, w | 7 }, 7, { 2, 1, 0 }, 3 },
		{ "backwards", { w | 8, w | 7, w | 6 }, 3, { 0, 0, 0 }, 3 },
		{ "the same page", { v | 8, v | 8, v | 8 }, 3, { 0, 0, 0 }, 3 },
		{ "write and read", { w | 4, w | 5, v | 6, v | 7 }, 4, { 1, 1 }, 2 },
		{ "a gap", { w | 4, w | 5, w | 7, w | 8 }, 4, { 1, 1 }, 2 },
		{ "subsections", { w | (unit - 2), w | (unit - 1), w | unit, w | (unit + 1) },
		  4, { 1, 1 }, 2 },
		{ "one mapping and a neighbour",
		  { w | 4 | PFN_ORDER(1), w | 5 | PFN_ORDER(1), w | 6, w | 7 }, 4, { 2 }, 1 },
		{ "end of a mapping", { w | 7 | PFN_ORDER(2), w | 8, v | 9 }, 3, { 1, 0 }, 2 },
	};
	unsigned int i, run;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned long pfns[8], page = 0;

		memcpy(pfns, cases[i].pfns, sizeof(pfns));
		KUNIT_EXPECT_EQ_MSG(test, cases[i].nr_runs,
				    gpusvm_mgr_snapshot_compress(pfns, cases[i].nr_pages),
				    "%s", cases[i].name);
		for (run = 0; run < cases[i].nr_runs; run++) {
			KUNIT_EXPECT_EQ_MSG(test, pfns[run] & ~PFN_ORDER(0x1f),
					    cases[i].pfns[page] & ~PFN_ORDER(0x1f),
					    "%s, run %u", cases[i].name, run);
			KUNIT_EXPECT_EQ_MSG(test, hmm_pfn_to_map_order(pfns[run]),
					    cases[i].orders[run],
					    "%s, run %u", cases[i].name, run);
			page += 1UL << hmm_pfn_to_map_order(pfns[run]);
			if (page >= cases[i].nr_pages)
				break;
		}
		KUNIT_EXPECT_EQ_MSG(test, page, cases[i].nr_pages, "%s", cases[i].name);
	}
}

/* Strings of neighbours at random: the runs are the same pages, and none is in two. */
static void test_joined_random(struct kunit *test)
{
	enum { PAGES = 512, ROUNDS = 300 };
	unsigned long *pages = kunit_kcalloc(test, PAGES, sizeof(*pages), GFP_KERNEL);
	unsigned long *pfns = kunit_kcalloc(test, PAGES, sizeof(*pfns), GFP_KERNEL);
	unsigned int round, joined = 0;
	struct rnd_state rnd;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	KUNIT_ASSERT_NOT_NULL(test, pfns);
	prandom_seed_state(&rnd, 0x5eed0011);

	for (round = 0; round < ROUNDS; round++) {
		unsigned int nr_pages = 1 + prandom_u32_state(&rnd) % PAGES;
		unsigned int page, run, nr_runs;
		unsigned long pfn = 0, flags = 0;

		for (page = 0; page < nr_pages; page++, pfn++) {
			/* A new string, of the same or of other permission. */
			if (!page || !(prandom_u32_state(&rnd) % 12)) {
				pfn = 1 + prandom_u32_state(&rnd) % (4 * PAGES_PER_SUBSECTION);
				flags = HMM_PFN_VALID |
					(prandom_u32_state(&rnd) & 1 ? HMM_PFN_WRITE : 0);
			} else if (!(prandom_u32_state(&rnd) % 20)) {
				flags ^= HMM_PFN_WRITE;
			}
			pages[page] = pfn | flags;
			pfns[page] = pages[page];
		}

		nr_runs = gpusvm_mgr_snapshot_compress(pfns, nr_pages);
		for (page = 0, run = 0; run < nr_runs; run++) {
			unsigned long i, size = 1UL << hmm_pfn_to_map_order(pfns[run]);
			unsigned long first = pages[page] & ~HMM_PFN_FLAGS;

			KUNIT_ASSERT_LE(test, page + size, nr_pages);
			for (i = 0; i < size; i++)
				KUNIT_ASSERT_EQ(test, pages[page + i],
						(pfns[run] & ~PFN_ORDER(0x1f)) + i);
			KUNIT_ASSERT_EQ(test, first / PAGES_PER_SUBSECTION,
					(first + size - 1) / PAGES_PER_SUBSECTION);
			joined += size > 1;
			page += size;
		}
		KUNIT_ASSERT_EQ(test, page, nr_pages);
	}
	KUNIT_EXPECT_GT(test, joined, ROUNDS);
}

/* A walk that begins within a huge page of a device: as 7.3 has it, and as it must be. */
static void test_shift(struct kunit *test)
{
	enum { PAGES = 8 };
	const unsigned long huge = PMD_SIZE >> PAGE_SHIFT;
	const unsigned long order = PFN_ORDER(PMD_SHIFT - PAGE_SHIFT);
	const unsigned long r = HMM_PFN_VALID, w = HMM_PFN_VALID | HMM_PFN_WRITE;
	const unsigned long head = 5 * huge, behind = 9 * huge;
	const struct {
		const char *name;
		/* Where in the huge page it begins, and how many pages of it follow. */
		unsigned long offset;
		unsigned int nr_pages;
		unsigned long first;
		unsigned long expect;
		unsigned long flags;
	} cases[] = {
		{ "in the middle", 32, PAGES, head, head + 32, w | order },
		{ "read-only", 1, PAGES, head, head + 1, r | order },
		{ "its last pages", huge - 3, 3, head, head + huge - 3, w | order },
		{ "at its start", 0, PAGES, head, head, w | order },
		{ "with the offset", 32, PAGES, head + 32, head + 32, w | order },
		{ "a page", 32, 1, head, head, w },
		{ "a smaller one", 32, PAGES, head, head, w | PFN_ORDER(4) },
	};
	unsigned int i, page;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const unsigned long start = 3 * PMD_SIZE + cases[i].offset * PAGE_SIZE;
		const unsigned int nr_pages = cases[i].nr_pages;
		unsigned long pfns[PAGES], expect[PAGES];

		for (page = 0; page < nr_pages; page++) {
			pfns[page] = (cases[i].first + page) | cases[i].flags;
			expect[page] = (cases[i].expect + page) | cases[i].flags;
		}
		/* What follows is another one, at its start. */
		for (; page < PAGES; page++) {
			pfns[page] = (behind + page - nr_pages) | w | order;
			expect[page] = pfns[page];
		}
		gpusvm_mgr_snapshot_shift(pfns, start, PAGES);
		for (page = 0; page < PAGES; page++)
			KUNIT_EXPECT_EQ_MSG(test, pfns[page], expect[page], "%s, page %u",
					    cases[i].name, page);
	}
}

/* What drivers get is what they are promised, however large a page is. */
static void test_default_chunks(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long middle = max(SZ_64K, PAGE_SIZE);
	struct mapping_info info;
	unsigned long addr;

	WRITE_ONCE(mock->base.mgr->chunks, &gpusvm_mgr_default_chunks);
	addr = gpusvm_mock_anon(env, (SZ_2M + middle + PAGE_SIZE) / PAGE_SIZE);

	/* The largest, and what is left behind it, a middle one and a page. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + SZ_1M + 5, WR));
	look(mock, addr, &info);
	KUNIT_EXPECT_EQ(test, info.start, addr);
	KUNIT_EXPECT_EQ(test, info.end, addr + SZ_2M);
	expect_pte(mock, addr, true);
	expect_pte(mock, addr + SZ_2M - PAGE_SIZE, true);

	addr += SZ_2M;
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + middle - 1, WR));
	look(mock, addr, &info);
	KUNIT_EXPECT_EQ(test, info.start, addr);
	KUNIT_EXPECT_EQ(test, info.end, addr + middle);
	expect_pte(mock, addr + middle - PAGE_SIZE, true);

	addr += middle;
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + 1, WR));
	look(mock, addr, &info);
	KUNIT_EXPECT_EQ(test, info.start, addr);
	KUNIT_EXPECT_EQ(test, info.end, addr + PAGE_SIZE);
	expect_pte(mock, addr, true);
	KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(mock, addr + PAGE_SIZE, WR));
	gpusvm_mock_validate(mock);
}

#ifdef CONFIG_HUGETLB_PAGE
static void restore_overcommit(void *data)
{
	default_hstate.nr_overcommit_huge_pages = (unsigned long)data;
}

static void test_hugetlb(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	unsigned long size = huge_page_size(&default_hstate);
	unsigned long addr = ALIGN(env->next_addr, size);
	struct gpusvm_mock *mock;
	unsigned long ret;

	if (size < MOCK_LARGE)
		kunit_skip(test, "needs hugetlb pages as large as a chunk");

	/* Taken from the buddy allocator, and given back with the mapping. */
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, restore_overcommit,
						  (void *)default_hstate.nr_overcommit_huge_pages));
	default_hstate.nr_overcommit_huge_pages = 4;
	env->next_addr = addr + size + MOCK_LARGE;
	ret = ksys_mmap_pgoff(addr, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED,
			      -1, 0);
	if (IS_ERR_VALUE(ret))
		kunit_skip(test, "no hugetlb page: %ld", (long)ret);
	KUNIT_ASSERT_EQ(test, ret, addr);

	mock = gpusvm_mock_new(env);
	gpusvm_mock_poke(env, addr, 1);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr + MOCK_LARGE / 2, WR));
	expect_one_run(mock, addr);
	gpusvm_mock_validate(mock);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, size));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_LARGE), 0);
	KUNIT_EXPECT_EQ(test, -EFAULT, gpusvm_mock_fault(mock, addr, RD));
	gpusvm_mock_validate(mock);
}
#else
static void test_hugetlb(struct kunit *test)
{
	kunit_skip(test, "needs hugetlb pages");
}
#endif

/* A shared mapping of a file: the device has the pages of the page cache. */
static void test_shared_file(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct file *file = shmem(test, MOCK_MIDDLE);
	unsigned long addr = map_file(env, file, MIDDLE, PROT_READ | PROT_WRITE,
				      MAP_SHARED);
	unsigned long again = map_file(env, file, MIDDLE, PROT_READ, MAP_SHARED);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, again, RD));
	for (i = 0; i < MIDDLE; i++) {
		expect_pte(mock, addr + i * PAGE_SIZE, true);
		expect_pte(mock, again + i * PAGE_SIZE, false);
		KUNIT_EXPECT_EQ(test, cpu_pfn(env, addr + i * PAGE_SIZE),
				cpu_pfn(env, again + i * PAGE_SIZE));
	}
	KUNIT_EXPECT_EQ(test, -EPERM, gpusvm_mock_fault(mock, again, WR));
	gpusvm_mock_validate(mock);

	/* The file gives its pages up: both mappings are gone. */
	shmem_truncate_range(file_inode(file), 0, MOCK_MIDDLE - 1);
	unmap_mapping_range(file->f_mapping, 0, MOCK_MIDDLE, 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, again, again + MOCK_MIDDLE), 0);
	gpusvm_mock_validate(mock);
}

struct short_case {
	const char *name;
	/* Page of the first fault: within the file or behind it. */
	unsigned int first;
};

static const struct short_case short_cases[] = {
	{ "first fault within the file", 1 },
	{ "first fault behind its end", 9 },
};

KUNIT_ARRAY_PARAM_DESC(short, short_cases, name);

/* A file that is shorter than its mapping: 3 pages and a half of 16. */
static void test_short_file(struct kunit *test)
{
	const struct short_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct file *file = shmem(test, 3 * PAGE_SIZE + 100);
	unsigned long addr = map_file(env, file, MIDDLE, PROT_READ | PROT_WRITE,
				      MAP_SHARED);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned int i, page;

	for (i = 0; i < 2 * MIDDLE; i++) {
		page = (c->first + i) % MIDDLE;
		KUNIT_EXPECT_EQ_MSG(test, page < 4 ? 0 : -EFAULT,
				    gpusvm_mock_fault(mock, addr + page * PAGE_SIZE,
						      i % 3 ? RD : WR),
				    "page %u", page);
		gpusvm_mock_validate(mock);
	}
	for (page = 0; page < 4; page++)
		expect_pte(mock, addr + page * PAGE_SIZE, true);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(mock, addr + 4 * PAGE_SIZE,
						   addr + MOCK_MIDDLE));
}

/* A device file of our own, for mappings that no process gets otherwise. */
static int special_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long flags = (unsigned long)file->private_data;

	if (flags & VM_PFNMAP)
		return remap_pfn_range(vma, vma->vm_start,
				       page_to_pfn(ZERO_PAGE(0)), PAGE_SIZE,
				       vma->vm_page_prot);
	vm_flags_set(vma, flags);
	return 0;
}

static const struct file_operations special_fops = {
	.mmap = special_mmap,
};

struct errno_case {
	const char *name;
	/* Which memory: no mapping, anonymous with this protection, or special. */
	bool none;
	unsigned long prot, special;
	enum drm_gpusvm_access access;
	int err;
};

#define RW	(PROT_READ | PROT_WRITE)

static const struct errno_case errno_cases[] = {
	{ "read", false, RW, 0, RD, 0 },
	{ "write", false, RW, 0, WR, 0 },
	{ "atomic", false, RW, 0, AT, 0 },
	{ "read of read-only memory", false, PROT_READ, 0, RD, 0 },
	{ "write to read-only memory", false, PROT_READ, 0, WR, -EPERM },
	{ "atomic on read-only memory", false, PROT_READ, 0, AT, -EPERM },
	{ "read, no mapping", true, 0, 0, RD, -EFAULT },
	{ "write, no mapping", true, 0, 0, WR, -EFAULT },
	{ "read, no access", false, PROT_NONE, 0, RD, -EFAULT },
	{ "write, no access", false, PROT_NONE, 0, WR, -EPERM },
	{ "read of VM_IO", false, RW, VM_IO, RD, -EIO },
	{ "write to VM_IO", false, RW, VM_IO, WR, -EIO },
	{ "write to VM_IO, read-only", false, PROT_READ, VM_IO, WR, -EIO },
	{ "read of VM_PFNMAP", false, RW, VM_PFNMAP, RD, -EIO },
	{ "write to VM_PFNMAP", false, RW, VM_PFNMAP, WR, -EIO },
};

KUNIT_ARRAY_PARAM_DESC(errno, errno_cases, name);

static void test_errno(struct kunit *test)
{
	const struct errno_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct drm_gpusvm_fault fault = { .access = c->access, .err = 1 };
	struct drm_gpusvm_mgr_stats stats;
	unsigned long addr;

	if (c->special) {
		struct file *file;

		file = anon_inode_getfile("[gpusvm_mgr_test]", &special_fops,
					  (void *)c->special, O_RDWR);
		KUNIT_ASSERT_FALSE(test, IS_ERR(file));
		KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, put_file,
								   file));
		addr = map_file(env, file, 1, c->prot, MAP_SHARED);
	} else {
		addr = gpusvm_mock_mmap(env, 1, c->prot, MAP_PRIVATE);
	}
	if (c->none)
		KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));

	fault.addr = addr + 77;
	KUNIT_EXPECT_EQ(test, drm_gpusvm_mgr_fault(&mock->base, &fault), c->err);
	KUNIT_EXPECT_EQ(test, fault.err, c->err);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_pte(mock, addr, NULL, NULL), !c->err);
	gpusvm_mock_validate(mock);

	/* What failed has left nothing, and fails again. */
	drm_gpusvm_mgr_read_stats(mock->base.mgr, &stats);
	if (c->err)
		KUNIT_EXPECT_EQ(test, stats.ranges, 0);
	KUNIT_EXPECT_EQ(test, drm_gpusvm_mgr_fault(&mock->base, &fault), c->err);
}

/* The same, where a range and its snapshot are there already. */
static void test_errno_later(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_mprotect(env->mm, addr, MOCK_MIDDLE, false));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
	KUNIT_EXPECT_EQ(test, -EPERM, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, RD));
	KUNIT_EXPECT_EQ(test, -EPERM, gpusvm_mock_fault(mock, addr, AT));
	expect_pte(mock, addr, false);
	gpusvm_mock_validate(mock);

	/* What the driver's callbacks say is the result. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, MOCK_MIDDLE));
	WRITE_ONCE(mock->prepare_error, -ENOTTY);
	KUNIT_EXPECT_EQ(test, -ENOTTY, gpusvm_mock_fault(mock, addr, RD));
	WRITE_ONCE(mock->prepare_error, 0);
	WRITE_ONCE(mock->map_error, -EXDEV);
	KUNIT_EXPECT_EQ(test, -EXDEV, gpusvm_mock_fault(mock, addr, RD));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
	gpusvm_mock_validate(mock);
	WRITE_ONCE(mock->map_error, 0);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, RD));
	expect_pte(mock, addr, false);
	gpusvm_mock_validate(mock);

	/* A killed instance gets nothing more. */
	drm_gpusvm_instance_kill(&mock->base);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
	KUNIT_EXPECT_EQ(test, -ENODEV, gpusvm_mock_fault(mock, addr, RD));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
	gpusvm_mock_validate(mock);
}

/* Invalidates a range whenever its snapshot was made. There is one test at a time. */
static struct {
	struct mm_struct *mm;
	unsigned long addr;
	atomic_t left;
} annoyance;

static void annoy_at(unsigned long addr)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_CLEAR, 0, annoyance.mm, addr,
				addr + PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

static void annoy(enum gpusvm_mgr_window window, void *object)
{
	if (window == GPUSVM_MGR_WINDOW_WALKED &&
	    atomic_dec_if_positive(&annoyance.left) >= 0)
		annoy_at(annoyance.addr);
}

/* One range for ever, all others a few times. */
static void annoy_unevenly(enum gpusvm_mgr_window window, void *object)
{
	const struct drm_gpusvm_mgr_range *range = object;

	if (window != GPUSVM_MGR_WINDOW_WALKED)
		return;
	if (range->start == annoyance.addr ||
	    atomic_dec_if_positive(&annoyance.left) >= 0)
		annoy_at(range->start);
}

struct busy_case {
	const char *name;
	int times;
	int err;
};

static const struct busy_case busy_cases[] = {
	{ "invalidated once", 1, 0 },
	{ "invalidated five times", 5, 0 },
	{ "invalidated for ever", INT_MAX, -EBUSY },
};

KUNIT_ARRAY_PARAM_DESC(busy, busy_cases, name);

static void test_busy(struct kunit *test)
{
	const struct busy_case *c = test->param_value;
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	void (*hook)(enum gpusvm_mgr_window window, void *object) =
		READ_ONCE(gpusvm_mgr_window_hook);
	int err;

	annoyance.mm = env->mm;
	annoyance.addr = addr + 3 * PAGE_SIZE;
	atomic_set(&annoyance.left, c->times);
	/* Nothing ends the test before the hook is put back. */
	WRITE_ONCE(gpusvm_mgr_window_hook, annoy);
	err = gpusvm_mock_fault(mock, addr, WR);
	WRITE_ONCE(gpusvm_mgr_window_hook, hook);

	KUNIT_EXPECT_EQ(test, err, c->err);
	if (c->err) {
		KUNIT_EXPECT_GT(test, atomic64_read(&mock->base.stats.retries), 0);
		KUNIT_EXPECT_GT(test, walks(counter), 1);
		KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
	} else {
		KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.retries),
				c->times);
		/* Each time it was walked anew, and then once for good. */
		KUNIT_EXPECT_EQ(test, walks(counter), c->times + 1);
		expect_pte(mock, addr, true);
	}
	gpusvm_mock_validate(mock);

	/* When it is left alone, it works. */
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	expect_pte(mock, addr, true);
	gpusvm_mock_validate(mock);
}

/* One range that is never left alone does not take the time of those behind it. */
static void test_batch_busy(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long one = gpusvm_mock_anon(env, MIDDLE);
	unsigned long two = gpusvm_mock_anon(env, MIDDLE);
	struct drm_gpusvm_fault faults[] = {
		{ .addr = one, .access = WR },
		{ .addr = one + PAGE_SIZE, .access = WR },
		{ .addr = two, .access = WR },
	};
	void (*hook)(enum gpusvm_mgr_window window, void *object) =
		READ_ONCE(gpusvm_mgr_window_hook);
	int err;

	annoyance.mm = env->mm;
	annoyance.addr = one;
	atomic_set(&annoyance.left, 3);
	WRITE_ONCE(gpusvm_mgr_window_hook, annoy_unevenly);
	err = drm_gpusvm_mgr_fault_batch(&mock->base, faults, ARRAY_SIZE(faults));
	WRITE_ONCE(gpusvm_mgr_window_hook, hook);

	KUNIT_EXPECT_EQ(test, err, -EBUSY);
	KUNIT_EXPECT_EQ(test, faults[0].err, -EBUSY);
	KUNIT_EXPECT_EQ(test, faults[1].err, -EBUSY);
	KUNIT_EXPECT_EQ(test, faults[2].err, 0);
	KUNIT_EXPECT_LE(test, atomic_read(&annoyance.left), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, one, one + MOCK_MIDDLE), 0);
	expect_pte(mock, two, true);
	gpusvm_mock_validate(mock);
}

/* Faults in any order, over several ranges, good ones and bad ones. */
static void test_batch(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long one = gpusvm_mock_anon(env, MIDDLE);
	unsigned long two = gpusvm_mock_anon(env, MIDDLE);
	unsigned long ro = gpusvm_mock_mmap(env, 1, PROT_READ, MAP_PRIVATE);
	unsigned long gone = gpusvm_mock_mmap(env, 1, PROT_READ, MAP_PRIVATE);
	struct drm_gpusvm_fault faults[] = {
		{ .addr = two + MOCK_MIDDLE - 1, .access = RD, .err = 1 },
		{ .addr = one + 7, .access = RD, .err = 1 },
		{ .addr = gone, .access = RD, .err = 1 },
		{ .addr = two, .access = WR, .err = 1 },
		{ .addr = ro, .access = WR, .err = 1 },
		{ .addr = one + 7, .access = RD, .err = 1 },
		{ .addr = one + PAGE_SIZE, .access = AT, .err = 1 },
		{ .addr = ro, .access = RD, .err = 1 },
		{ .addr = one, .access = RD, .err = 1 },
		{ .addr = gone, .access = WR, .err = 1 },
	};
	const int errs[] = { 0, 0, -EFAULT, 0, -EPERM, 0, 0, 0, 0, -EFAULT };
	struct drm_gpusvm_fault before[ARRAY_SIZE(faults)];
	struct drm_gpusvm_mgr_stats stats;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(gone, PAGE_SIZE));
	memcpy(before, faults, sizeof(faults));

	/* The first in the order of the caller, not in that of the addresses. */
	KUNIT_EXPECT_EQ(test, -EFAULT,
			drm_gpusvm_mgr_fault_batch(&mock->base, faults,
						   ARRAY_SIZE(faults)));
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		KUNIT_EXPECT_EQ_MSG(test, faults[i].err, errs[i], "fault %u", i);
		KUNIT_EXPECT_EQ(test, faults[i].addr, before[i].addr);
		KUNIT_EXPECT_EQ(test, faults[i].access, before[i].access);
	}

	/* One walk, one mapping per range, though reads and writes are mixed. */
	KUNIT_EXPECT_EQ(test, walks(counter), 3);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.maps), 3);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.upgrades), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.faults),
			ARRAY_SIZE(faults));
	drm_gpusvm_mgr_read_stats(mock->base.mgr, &stats);
	KUNIT_EXPECT_EQ(test, stats.ranges, 3);
	expect_pte(mock, one, true);
	expect_pte(mock, two, true);
	expect_pte(mock, ro, false);
	gpusvm_mock_validate(mock);
}

/* A write to memory that was read comes before the reads: one walk, no upgrade. */
static void test_batch_write_first(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_mmap(env, MIDDLE, RW, MAP_PRIVATE);
	struct drm_gpusvm_fault faults[] = {
		{ .addr = addr, .access = RD },
		{ .addr = addr + 3 * PAGE_SIZE, .access = RD },
		{ .addr = addr + 9 * PAGE_SIZE, .access = WR },
	};

	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_mgr_fault_batch(&mock->base, faults,
							    ARRAY_SIZE(faults)));
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.upgrades), 0);
	expect_pte(mock, addr, true);
	expect_pte(mock, addr + 9 * PAGE_SIZE, true);
	gpusvm_mock_validate(mock);
}

/* More faults than fit on the stack, from the last page to the first, twice each. */
static void test_batch_large(struct kunit *test)
{
	enum { RANGES = 4, COUNT = RANGES * 2 * MIDDLE };
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addrs[RANGES];
	struct drm_gpusvm_fault *faults;
	unsigned int i, j, count = 0;

	faults = kunit_kcalloc(test, COUNT, sizeof(*faults), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, faults);
	for (i = 0; i < RANGES; i++)
		addrs[i] = gpusvm_mock_anon(env, MIDDLE);
	for (j = 0; j < 2 * MIDDLE; j++) {
		for (i = 0; i < RANGES; i++) {
			faults[count].addr = addrs[i] + (MIDDLE - 1 - j / 2) * PAGE_SIZE;
			faults[count].access = j % 2 ? RD : WR;
			faults[count++].err = 1;
		}
	}

	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_mgr_fault_batch(&mock->base, faults, count));
	for (i = 0; i < count; i++)
		KUNIT_EXPECT_EQ(test, faults[i].err, 0);
	KUNIT_EXPECT_EQ(test, walks(counter), RANGES);
	for (i = 0; i < RANGES; i++)
		for (j = 0; j < MIDDLE; j++)
			expect_pte(mock, addrs[i] + j * PAGE_SIZE, true);
	gpusvm_mock_validate(mock);

	/* None at all is fine, too. */
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_mgr_fault_batch(&mock->base, faults, 0));
}

/* A batch over a file that ends: the range is replaced on the way. */
static void test_batch_short_file(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct file *file = shmem(test, 4 * PAGE_SIZE);
	unsigned long addr = map_file(env, file, MIDDLE, RW, MAP_SHARED);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct drm_gpusvm_fault faults[MIDDLE];
	unsigned int i;

	for (i = 0; i < MIDDLE; i++) {
		faults[i].addr = addr + (MIDDLE - 1 - i) * PAGE_SIZE;
		faults[i].access = i % 2 ? RD : WR;
		faults[i].err = 1;
	}
	KUNIT_EXPECT_EQ(test, -EFAULT,
			drm_gpusvm_mgr_fault_batch(&mock->base, faults, MIDDLE));
	for (i = 0; i < MIDDLE; i++) {
		KUNIT_EXPECT_EQ(test, faults[i].addr, addr + (MIDDLE - 1 - i) * PAGE_SIZE);
		KUNIT_EXPECT_EQ_MSG(test, faults[i].err,
				    faults[i].addr < addr + 4 * PAGE_SIZE ? 0 : -EFAULT,
				    "fault %u", i);
	}
	gpusvm_mock_validate(mock);
}

/* The steps, as a driver takes them that orders its faults itself. */
static int take_steps(struct gpusvm_mock *mock, struct drm_gpusvm_fault *fault)
{
	struct drm_gpusvm_mgr_range *range;
	int err;

	range = drm_gpusvm_mgr_range_find_or_insert(&mock->base, fault);
	if (IS_ERR(range))
		return PTR_ERR(range);
	err = drm_gpusvm_mgr_range_lock(range);
	if (err)
		goto put_range;
	err = drm_gpusvm_mgr_range_snapshot(&mock->base, range, fault);
	if (!err)
		err = drm_gpusvm_mgr_range_map(&mock->base, range, fault);
	drm_gpusvm_mgr_range_unlock(range);
put_range:
	drm_gpusvm_mgr_range_put(range);
	return err;
}

/* Looks again as long as it is told to; bounded, as nobody else is there. */
static int take_steps_again(struct gpusvm_mock *mock,
			    struct drm_gpusvm_fault *fault)
{
	int err = -EAGAIN, i;

	for (i = 0; i < 10 && err == -EAGAIN; i++)
		err = take_steps(mock, fault);
	return err;
}

static void test_steps(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *other = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct drm_gpusvm_fault fault = { .addr = addr, .access = WR };
	struct drm_gpusvm_fault bad = { .addr = addr - PAGE_SIZE };
	struct drm_gpusvm_mgr_range *range;

	KUNIT_ASSERT_EQ(test, 0, take_steps(mock, &fault));
	expect_pte(mock, addr, true);
	KUNIT_ASSERT_EQ(test, 0, take_steps(other, &fault));
	expect_pte(other, addr, true);
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	gpusvm_mock_validate(mock);
	KUNIT_EXPECT_EQ(test, -EFAULT, take_steps(mock, &bad));

	/* Invalidated between the snapshot and the mapping. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE));
	range = drm_gpusvm_mgr_range_find_or_insert(&mock->base, &fault);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_mgr_range_lock(range));
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_mgr_range_snapshot(&mock->base, range, &fault));
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EAGAIN, drm_gpusvm_mgr_range_map(&mock->base, range, &fault));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);
	/* The next snapshot sees that the last one does not hold. */
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_mgr_range_snapshot(&mock->base, range, &fault));
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_mgr_range_map(&mock->base, range, &fault));
	drm_gpusvm_mgr_range_unlock(range);
	drm_gpusvm_mgr_range_put(range);
	expect_pte(mock, addr, true);
	gpusvm_mock_validate(mock);
}

/* Eager instances are mapped in the pass of one that takes the steps, too. */
static void test_steps_eager(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *lazy = gpusvm_mock_new(env);
	struct gpusvm_mock *eager = gpusvm_mock_attach(env, gpusvm_mock_device(env),
						       DRM_GPUSVM_INSTANCE_EAGER);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct drm_gpusvm_fault fault = { .addr = addr, .access = WR };

	KUNIT_ASSERT_EQ(test, 0, take_steps(mock, &fault));
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	expect_pte(mock, addr, true);
	expect_pte(eager, addr, true);
	expect_pte(eager, addr + MOCK_MIDDLE - PAGE_SIZE, true);
	KUNIT_EXPECT_EQ(test, atomic64_read(&eager->base.stats.faults), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&eager->base.stats.eager_maps), 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(lazy, addr, addr + MOCK_MIDDLE), 0);
	gpusvm_mock_validate(mock);
}

/* The range dies between the steps: of an unmap, or of a change of its VMA. */
static void test_steps_range_dies(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	struct drm_gpusvm_fault fault = { .addr = addr, .access = WR };
	struct drm_gpusvm_fault far = { .addr = addr + 15 * PAGE_SIZE, .access = RD };
	struct drm_gpusvm_mgr_range *range;

	/* Between snapshot and mapping: only another page of it is unmapped. */
	range = drm_gpusvm_mgr_range_find_or_insert(&mock->base, &fault);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_mgr_range_lock(range));
	KUNIT_EXPECT_EQ(test, 0, drm_gpusvm_mgr_range_snapshot(&mock->base, range, &fault));
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr + 8 * PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EAGAIN, drm_gpusvm_mgr_range_map(&mock->base, range, &fault));
	/* Before the snapshot. */
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			drm_gpusvm_mgr_range_snapshot(&mock->base, range, &fault));
	drm_gpusvm_mgr_range_unlock(range);
	drm_gpusvm_mgr_range_put(range);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + MOCK_MIDDLE), 0);

	KUNIT_EXPECT_EQ(test, 0, take_steps_again(mock, &fault));
	expect_pte(mock, addr, true);
	KUNIT_EXPECT_EQ(test, 0, take_steps_again(mock, &far));
	gpusvm_mock_validate(mock);

	/* The VMA is split below a larger range: it does not suit any more. */
	addr = gpusvm_mock_anon(env, MIDDLE);
	fault.addr = addr;
	far.addr = addr + 15 * PAGE_SIZE;
	range = drm_gpusvm_mgr_range_find_or_insert(&mock->base, &fault);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, range);
	KUNIT_EXPECT_EQ(test, range->end - range->start, MOCK_MIDDLE);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_mprotect(env->mm, addr + 8 * PAGE_SIZE,
						      8 * PAGE_SIZE, false));
	KUNIT_ASSERT_EQ(test, 0, drm_gpusvm_mgr_range_lock(range));
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			drm_gpusvm_mgr_range_snapshot(&mock->base, range, &fault));
	drm_gpusvm_mgr_range_unlock(range);
	drm_gpusvm_mgr_range_put(range);
	KUNIT_EXPECT_EQ(test, 0, take_steps_again(mock, &fault));
	KUNIT_EXPECT_EQ(test, 0, take_steps_again(mock, &far));
	expect_pte(mock, fault.addr, true);
	expect_pte(mock, far.addr, false);
	gpusvm_mock_validate(mock);
}

/* A file that is shorter than its range: the steps, taken again, get on. */
static void test_steps_short_file(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct file *file = shmem(test, PAGE_SIZE);
	unsigned long addr = map_file(env, file, MOCK_LARGE / PAGE_SIZE, RW, MAP_SHARED);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct drm_gpusvm_fault good = { .addr = addr, .access = WR };
	struct drm_gpusvm_fault bad = { .addr = addr + PAGE_SIZE, .access = RD };

	KUNIT_EXPECT_EQ(test, -EFAULT, take_steps_again(mock, &bad));
	gpusvm_mock_validate(mock);
	KUNIT_EXPECT_EQ(test, 0, take_steps_again(mock, &good));
	expect_pte(mock, addr, true);
	KUNIT_EXPECT_EQ(test, -EFAULT, take_steps_again(mock, &bad));
	expect_pte(mock, addr, true);
	gpusvm_mock_validate(mock);
}

/* An eager instance is mapped in the pass of another one's fault. */
static void test_eager(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct walk_counter *counter = count_walks(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	struct gpusvm_mock *eager[2], *lazy;
	unsigned long addr = gpusvm_mock_anon(env, MIDDLE);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(eager); i++)
		eager[i] = gpusvm_mock_attach(env, gpusvm_mock_device(env),
					      DRM_GPUSVM_INSTANCE_EAGER);
	lazy = gpusvm_mock_new(env);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	expect_pte(mock, addr, true);
	for (i = 0; i < ARRAY_SIZE(eager); i++) {
		expect_pte(eager[i], addr, true);
		expect_pte(eager[i], addr + MOCK_MIDDLE - PAGE_SIZE, true);
		KUNIT_EXPECT_EQ(test, atomic64_read(&eager[i]->base.stats.faults), 0);
		KUNIT_EXPECT_EQ(test, atomic64_read(&eager[i]->base.stats.eager_maps), 1);
	}
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(lazy, addr, addr + MOCK_MIDDLE), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&mock->base.stats.eager_maps), 0);
	gpusvm_mock_validate(mock);

	/* An invalidation takes it from all of them. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE));
	for (i = 0; i < ARRAY_SIZE(eager); i++)
		KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(eager[i], addr, addr + MOCK_MIDDLE));

	/* What fails there is left to a fault of its own. */
	WRITE_ONCE(eager[0]->map_error, -ENOMEM);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	KUNIT_EXPECT_EQ(test, walks(counter), 1);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(eager[0], addr, addr + MOCK_MIDDLE));
	expect_pte(eager[1], addr, true);
	gpusvm_mock_validate(mock);
	WRITE_ONCE(eager[0]->map_error, 0);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(eager[0], addr, RD));
	KUNIT_EXPECT_EQ(test, walks(counter), 0);
	expect_pte(eager[0], addr, true);

	/* An eager one that is gone is not looked for. */
	gpusvm_mock_detach(eager[0]);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_zap(env->mm, addr, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, WR));
	expect_pte(eager[1], addr, true);
	KUNIT_EXPECT_EQ(test, 0, gpusvm_mock_reach(eager[0], addr, addr + MOCK_MIDDLE));
	gpusvm_mock_validate(mock);
}

static struct kunit_case snapshot_cases[] = {
	KUNIT_CASE_PARAM(test_share, share_gen_params),
	KUNIT_CASE_PARAM(test_share_concurrent, share_gen_params),
	KUNIT_CASE(test_same_instance),
	KUNIT_CASE(test_zero_page),
	KUNIT_CASE(test_copy_on_write),
	KUNIT_CASE(test_partly_writable),
	KUNIT_CASE(test_thp),
	KUNIT_CASE(test_joined),
	KUNIT_CASE(test_joined_random),
	KUNIT_CASE(test_shift),
	KUNIT_CASE(test_default_chunks),
	KUNIT_CASE(test_hugetlb),
	KUNIT_CASE(test_shared_file),
	KUNIT_CASE_PARAM(test_short_file, short_gen_params),
	KUNIT_CASE_PARAM(test_errno, errno_gen_params),
	KUNIT_CASE(test_errno_later),
	KUNIT_CASE_PARAM(test_busy, busy_gen_params),
	KUNIT_CASE(test_batch_busy),
	KUNIT_CASE(test_batch),
	KUNIT_CASE(test_batch_write_first),
	KUNIT_CASE(test_batch_large),
	KUNIT_CASE(test_batch_short_file),
	KUNIT_CASE(test_steps),
	KUNIT_CASE(test_steps_eager),
	KUNIT_CASE(test_steps_range_dies),
	KUNIT_CASE(test_steps_short_file),
	KUNIT_CASE(test_eager),
	{}
};

static struct kunit_suite snapshot_suite = {
	.name = "drm_gpusvm_mgr_snapshot",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = snapshot_cases,
};

kunit_test_suite(snapshot_suite);
