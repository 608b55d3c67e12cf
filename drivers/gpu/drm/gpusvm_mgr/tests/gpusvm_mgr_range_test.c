// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Tests of the range tree and its shadow sequences. Pure, also for UML: the
 * registered notifier is a variable here, its start pass a function of ours.
 */

#include <kunit/test.h>

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sched/task.h>
#include <linux/sizes.h>

#include "../gpusvm_mgr_break.h"
#include "../gpusvm_mgr_range.h"

/* No wait is longer than this, and none is expected to be noticeable. */
#define LIMIT	(30 * HZ)

/* Pages of the world in which random operations play. */
#define WORLD	256

/**
 * struct range_test - What each test has
 * @tree: The tree under test.
 * @seq: The sequence of the notifier that is not there.
 * @base: Where the world begins.
 * @page: The oracle: the range that a page of the world lies in, or NULL.
 */
struct range_test {
	struct gpusvm_mgr_tree tree;
	unsigned long seq;
	unsigned long base;
	struct drm_gpusvm_mgr_range *page[WORLD];
};

static unsigned long addr_of(const struct range_test *t, unsigned int page)
{
	return t->base + page * PAGE_SIZE;
}

/* A new range of pages of the world. */
static struct drm_gpusvm_mgr_range *make(struct kunit *test, unsigned int first,
					 unsigned int end)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range;

	range = gpusvm_mgr_range_alloc(addr_of(t, first), addr_of(t, end), NULL);
	KUNIT_ASSERT_NOT_NULL(test, range);
	return range;
}

/*
 * Drops the test's reference. The library's own put is above this floor; here
 * nobody but the tree can hold another one.
 */
static void drop(struct drm_gpusvm_mgr_range *range)
{
	refcount_dec(&range->ref.refcount);
}

/* Inserts and keeps the reference of the tree only. */
static struct drm_gpusvm_mgr_range *add(struct kunit *test, unsigned int first,
					unsigned int end)
{
	struct drm_gpusvm_mgr_range *range = make(test, first, end);
	struct range_test *t = test->priv;
	unsigned int i;
	int err;

	err = gpusvm_mgr_tree_insert(&t->tree, range);
	if (err)
		gpusvm_mgr_range_free(range);
	KUNIT_ASSERT_EQ(test, err, 0);
	drop(range);
	for (i = first; i < end; i++)
		t->page[i] = range;
	return range;
}

static void take_out(struct range_test *t, struct drm_gpusvm_mgr_range *range)
{
	unsigned int i;

	set_bit(GPUSVM_MGR_RANGE_DEAD, &range->flags);
	gpusvm_mgr_tree_erase(&t->tree, range);
	for (i = 0; i < WORLD; i++)
		if (t->page[i] == range)
			t->page[i] = NULL;
}

/*
 * The walker: the tree has the ranges of the oracle, in order, and no other;
 * each is usable, and has one reference.
 */
static void walk(struct kunit *test)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = 0, previous = 0;
	unsigned int page = 0;
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	while ((range = gpusvm_mgr_tree_next(&t->tree, &index, ULONG_MAX))) {
		while (page < WORLD && !t->page[page])
			page++;
		if (page == WORLD || t->page[page] != range) {
			KUNIT_FAIL(test, "[0x%lx-0x%lx) not known at page %u",
				   range->start, range->end, page);
			break;
		}
		KUNIT_EXPECT_EQ(test, range->start, addr_of(t, page));
		KUNIT_EXPECT_GT(test, range->end, range->start);
		KUNIT_EXPECT_GE(test, range->start, previous);
		KUNIT_EXPECT_EQ(test, index, range->end);
		KUNIT_EXPECT_EQ(test, range->ready, 1);
		KUNIT_EXPECT_EQ(test, range->shadow.invalidate_seq & 1, 1);
		KUNIT_EXPECT_EQ(test, kref_read(&range->ref), 1);
		previous = range->end;
		for (; page < WORLD && t->page[page] == range; page++)
			;
		KUNIT_EXPECT_EQ(test, range->end, addr_of(t, page));
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

	while (page < WORLD && !t->page[page])
		page++;
	KUNIT_EXPECT_EQ_MSG(test, page, WORLD, "a range is missing");
}

/* What a start pass does to the sequences, in its order. */
static unsigned int start_pass(struct range_test *t, unsigned long start,
			       unsigned long last)
{
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = start;
	unsigned int found = 0;
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	WRITE_ONCE(t->seq, t->seq + 2);
	/* As the library's, between its sequence and its lookup. */
	smp_mb();
	while ((range = gpusvm_mgr_tree_next(&t->tree, &index, last))) {
		WRITE_ONCE(range->shadow.invalidate_seq, t->seq);
		found++;
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
	return found;
}

static void clean_up(void *data)
{
	struct range_test *t = data;
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = 0;

	WRITE_ONCE(gpusvm_mgr_window_hook, NULL);
	WRITE_ONCE(gpusvm_mgr_broken_steps, 0);

	while ((range = gpusvm_mgr_tree_next(&t->tree, &index, ULONG_MAX))) {
		gpusvm_mgr_tree_erase(&t->tree, range);
		/* Nobody else is left. */
		gpusvm_mgr_range_free(range);
	}
	gpusvm_mgr_tree_fini(&t->tree);
}

static int range_init(struct kunit *test)
{
	struct range_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->base = SZ_1G;
	/* Odd, as those of mmu_notifier.c are. */
	t->seq = 11;
	err = gpusvm_mgr_tree_init(&t->tree, &t->seq);
	KUNIT_ASSERT_EQ(test, err, 0);
	return kunit_add_action_or_reset(test, clean_up, t);
}

static void test_empty(struct kunit *test)
{
	static const unsigned long addrs[] = {
		0, PAGE_SIZE, SZ_1G, ULONG_MAX / 2, ULONG_MAX - 1, ULONG_MAX,
	};
	struct range_test *t = test->priv;
	unsigned long start, end, index;
	unsigned int i;

	walk(test);
	for (i = 0; i < ARRAY_SIZE(addrs); i++) {
		KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_find(&t->tree, addrs[i]));
		index = addrs[i];
		KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_next(&t->tree, &index,
							     addrs[i]));
		index = addrs[i];
		KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_next(&t->tree, &index,
							     ULONG_MAX));
		if (addrs[i] == ULONG_MAX)
			break;
		gpusvm_mgr_tree_gap(&t->tree, addrs[i], &start, &end);
		KUNIT_EXPECT_EQ(test, start, 0);
		KUNIT_EXPECT_EQ(test, end, ULONG_MAX);
	}

	/* The sentinel's own place is never free. */
	gpusvm_mgr_tree_gap(&t->tree, ULONG_MAX, &start, &end);
	KUNIT_EXPECT_EQ(test, start, ULONG_MAX);
	KUNIT_EXPECT_EQ(test, end, ULONG_MAX);
}

/* The tree has [64, 96) and [128, 160): what may be put beside it? */
struct overlap_case {
	const char *name;
	unsigned int first, end;
	int err;
};

static const struct overlap_case overlap_cases[] = {
	{ "the same", 64, 96, -EEXIST },
	{ "within", 70, 80, -EEXIST },
	{ "its first page", 64, 65, -EEXIST },
	{ "its last page", 95, 96, -EEXIST },
	{ "around it", 60, 100, -EEXIST },
	{ "the same begin, longer", 64, 100, -EEXIST },
	{ "the same end, longer", 60, 96, -EEXIST },
	{ "over its begin", 60, 70, -EEXIST },
	{ "over its begin by a page", 32, 65, -EEXIST },
	{ "over its end", 90, 110, -EEXIST },
	{ "over its end by a page", 95, 128, -EEXIST },
	{ "over both", 90, 130, -EEXIST },
	{ "over the second by a page", 96, 129, -EEXIST },
	{ "around both", 0, WORLD, -EEXIST },
	{ "before it", 0, 32, 0 },
	{ "ends where it begins", 32, 64, 0 },
	{ "begins where it ends", 96, 100, 0 },
	{ "fills the gap", 96, 128, 0 },
	{ "within the gap", 100, 101, 0 },
	{ "behind all", 160, WORLD, 0 },
};

KUNIT_ARRAY_PARAM_DESC(overlap, overlap_cases, name);

static void test_insert_overlap(struct kunit *test)
{
	const struct overlap_case *c = test->param_value;
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range;
	unsigned int i;
	int err;

	add(test, 64, 96);
	add(test, 128, 160);

	range = make(test, c->first, c->end);
	err = gpusvm_mgr_tree_insert(&t->tree, range);
	if (err) {
		/* Refused: the caller's reference is the only one, not usable. */
		KUNIT_EXPECT_EQ(test, kref_read(&range->ref), 1);
		KUNIT_EXPECT_EQ(test, range->ready, 0);
		KUNIT_EXPECT_EQ(test, range->shadow.invalidate_seq, 0);
		gpusvm_mgr_range_free(range);
	} else {
		KUNIT_EXPECT_EQ(test, kref_read(&range->ref), 2);
		drop(range);
		for (i = c->first; i < c->end; i++)
			t->page[i] = range;
	}
	KUNIT_EXPECT_EQ(test, err, c->err);
	walk(test);
}

/* The highest range that can be, and the addresses that none may have. */
static void test_insert_top(struct kunit *test)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range;
	unsigned long start, end;

	t->base = -(unsigned long)(WORLD * PAGE_SIZE);
	add(test, WORLD - 2, WORLD - 1);
	walk(test);

	gpusvm_mgr_tree_gap(&t->tree, addr_of(t, WORLD - 1), &start, &end);
	KUNIT_EXPECT_EQ(test, start, addr_of(t, WORLD - 1));
	KUNIT_EXPECT_EQ(test, end, ULONG_MAX);

	/* This one would take the sentinel's place. */
	range = make(test, WORLD - 1, WORLD);
	kunit_warning_suppress(test) {
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_tree_insert(&t->tree, range), -EINVAL);
	}
	KUNIT_EXPECT_EQ(test, kref_read(&range->ref), 1);
	gpusvm_mgr_range_free(range);
	walk(test);
}

/* The tree has [10, 20). */
struct find_case {
	unsigned int page;
	long offset;
	bool hit;
};

static const struct find_case find_cases[] = {
	{ 10, 0, true }, { 10, 1, true }, { 15, 77, true }, { 20, -1, true },
	{ 20, 0, false }, { 10, -1, false }, { 0, 0, false }, { 255, 0, false },
};

static void test_find(struct kunit *test)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range = add(test, 10, 20), *found;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(find_cases); i++) {
		const struct find_case *c = &find_cases[i];

		found = gpusvm_mgr_tree_find(&t->tree, addr_of(t, c->page) + c->offset);
		KUNIT_EXPECT_PTR_EQ(test, found, c->hit ? range : NULL);
		if (found) {
			KUNIT_EXPECT_EQ(test, kref_read(&found->ref), 2);
			drop(found);
		}
	}
	walk(test);

	/* A dead one is found: its finder has to see to its removal. */
	set_bit(GPUSVM_MGR_RANGE_DEAD, &range->flags);
	found = gpusvm_mgr_tree_find(&t->tree, addr_of(t, 10));
	KUNIT_ASSERT_PTR_EQ(test, found, range);
	KUNIT_EXPECT_TRUE(test, gpusvm_mgr_range_is_dead(found));
	drop(found);

	/* One whose last reference is gone is not, while it is being removed. */
	refcount_set(&range->ref.refcount, 0);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_find(&t->tree, addr_of(t, 10)));
	refcount_set(&range->ref.refcount, 1);
	walk(test);
}

/* The tree has [10, 20), [20, 21) and [100, 200). */
struct next_case {
	const char *name;
	unsigned int first, last;
	unsigned int found[4];
	unsigned int count;
};

static const struct next_case next_cases[] = {
	{ "all", 0, 255, { 10, 20, 100 }, 3 },
	{ "nothing before", 0, 9, {}, 0 },
	{ "up to the first byte", 0, 10, { 10 }, 1 },
	{ "only the first", 10, 19, { 10 }, 1 },
	{ "from its last page", 19, 50, { 10, 20 }, 2 },
	{ "from behind it", 20, 50, { 20 }, 1 },
	{ "in the gap", 21, 99, {}, 0 },
	{ "in the middle of one", 150, 151, { 100 }, 1 },
	{ "from the middle of one to the end", 150, 255, { 100 }, 1 },
	{ "behind all", 200, 255, {}, 0 },
};

KUNIT_ARRAY_PARAM_DESC(next, next_cases, name);

static void test_next(struct kunit *test)
{
	const struct next_case *c = test->param_value;
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range;
	unsigned long index;
	unsigned int count = 0;

	add(test, 100, 200);
	add(test, 10, 20);
	add(test, 20, 21);

	/* The last address is inclusive, here the first byte of a page. */
	index = addr_of(t, c->first);
	while (count < 4 && (range = gpusvm_mgr_tree_next(&t->tree, &index,
							  addr_of(t, c->last)))) {
		KUNIT_ASSERT_LT(test, count, c->count);
		KUNIT_EXPECT_EQ(test, range->start, addr_of(t, c->found[count]));
		count++;
	}
	KUNIT_EXPECT_EQ(test, count, c->count);

	/* A step takes no reference. */
	walk(test);
}

/* The tree has [10, 20) and [100, 200); -1 is the begin or the end of all. */
struct gap_case {
	unsigned int page;
	int start, end;
};

static const struct gap_case gap_cases[] = {
	{ 0, -1, 10 }, { 9, -1, 10 }, { 10, 10, 10 }, { 19, 19, 19 },
	{ 20, 20, 100 }, { 60, 20, 100 }, { 99, 20, 100 }, { 100, 100, 100 },
	{ 200, 200, -1 }, { 255, 200, -1 },
};

static void test_gap(struct kunit *test)
{
	struct range_test *t = test->priv;
	unsigned long start, end;
	unsigned int i;

	add(test, 10, 20);
	add(test, 100, 200);
	for (i = 0; i < ARRAY_SIZE(gap_cases); i++) {
		const struct gap_case *c = &gap_cases[i];

		gpusvm_mgr_tree_gap(&t->tree, addr_of(t, c->page), &start, &end);
		KUNIT_EXPECT_EQ(test, start, c->start < 0 ? 0 : addr_of(t, c->start));
		KUNIT_EXPECT_EQ(test, end, c->end < 0 ? ULONG_MAX : addr_of(t, c->end));
	}
}

/* Of two ranges that had the same place only the one that has it now can go. */
static void test_erase_object(struct kunit *test)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *old = add(test, 10, 20), *range;

	take_out(t, old);
	walk(test);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_find(&t->tree, addr_of(t, 10)));

	/* The same place, then another one that covers its begin. */
	range = add(test, 10, 20);
	kunit_warning_suppress(test) {
		gpusvm_mgr_tree_erase(&t->tree, old);
	}
	walk(test);
	take_out(t, range);
	synchronize_srcu(&gpusvm_mgr_srcu);
	gpusvm_mgr_range_free(range);

	range = add(test, 5, 11);
	add(test, 11, 20);
	kunit_warning_suppress(test) {
		gpusvm_mgr_tree_erase(&t->tree, old);
	}
	walk(test);
	take_out(t, range);
	walk(test);
	KUNIT_EXPECT_NULL(test, gpusvm_mgr_tree_find(&t->tree, addr_of(t, 10)));

	synchronize_srcu(&gpusvm_mgr_srcu);
	gpusvm_mgr_range_free(old);
	gpusvm_mgr_range_free(range);
}

/* A new range has the sequence of the moment of its insertion. */
static void test_shadow_copy(struct kunit *test)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *one, *two, *late;
	unsigned long seq;

	late = make(test, 30, 40);

	one = add(test, 10, 20);
	KUNIT_EXPECT_EQ(test, one->shadow.invalidate_seq, t->seq);

	/* A start pass that finds nothing changes no range. */
	seq = t->seq;
	KUNIT_EXPECT_EQ(test, start_pass(t, addr_of(t, 20), addr_of(t, 40)), 0);
	KUNIT_EXPECT_EQ(test, one->shadow.invalidate_seq, seq);
	KUNIT_EXPECT_EQ(test, t->seq, seq + 2);

	two = add(test, 20, 30);
	KUNIT_EXPECT_EQ(test, two->shadow.invalidate_seq, seq + 2);

	/* One that overlaps changes those that it overlaps, and no other. */
	KUNIT_EXPECT_EQ(test, start_pass(t, addr_of(t, 25), addr_of(t, 40)), 1);
	KUNIT_EXPECT_EQ(test, one->shadow.invalidate_seq, seq);
	KUNIT_EXPECT_EQ(test, two->shadow.invalidate_seq, seq + 4);

	/* It counts when the range was inserted, not when it was allocated. */
	KUNIT_EXPECT_EQ(test, late->shadow.invalidate_seq, 0);
	KUNIT_ASSERT_EQ(test, gpusvm_mgr_tree_insert(&t->tree, late), 0);
	drop(late);
	KUNIT_EXPECT_EQ(test, late->shadow.invalidate_seq, seq + 4);
}

/* What the hook of the window tests needs. There is one test at a time. */
static struct {
	struct kunit *test;
	struct drm_gpusvm_mgr_range *range;
	enum gpusvm_mgr_window window;
	unsigned int calls;
	unsigned int found;
	u8 ready;
} in_window;

static void start_pass_in_window(enum gpusvm_mgr_window window, void *object)
{
	struct range_test *t = in_window.test->priv;

	if (window != in_window.window || object != in_window.range)
		return;
	in_window.calls++;
	in_window.ready = in_window.range->ready;
	in_window.found = start_pass(t, in_window.range->start,
				     in_window.range->start);
}

struct shadow_case {
	const char *name;
	enum gpusvm_mgr_window window;
	unsigned long broken;
	/* The start pass in the window finds the range. */
	unsigned int found;
	/* The range ends with the sequence from before that start pass. */
	bool stale;
};

/*
 * A start pass steps in before the range is stored, or when it is stored and its
 * sequence was read. Each broken order ends with a sequence that is older than
 * an invalidation which nobody else will notice.
 */
static const struct shadow_case shadow_cases[] = {
	{
		.name = "intact, when it is stored",
		.window = GPUSVM_MGR_WINDOW_INSERT_STORED,
		.found = 1,
	}, {
		.name = "intact, before it is stored",
		.window = GPUSVM_MGR_WINDOW_INSERT_COPY,
		.found = 0,
	}, {
		.name = "broken: stored plainly",
		.window = GPUSVM_MGR_WINDOW_INSERT_STORED,
		.broken = BIT(GPUSVM_MGR_STEP_CMPXCHG),
		.found = 1, .stale = true,
	}, {
		.name = "broken: copied before the store",
		.window = GPUSVM_MGR_WINDOW_INSERT_COPY,
		.broken = BIT(GPUSVM_MGR_STEP_STORE_FIRST),
		.found = 0, .stale = true,
	},
};

KUNIT_ARRAY_PARAM_DESC(shadow, shadow_cases, name);

static void test_shadow_window(struct kunit *test)
{
	const struct shadow_case *c = test->param_value;
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range = make(test, 10, 20);
	unsigned long before = t->seq;
	int err;

	memset(&in_window, 0, sizeof(in_window));
	in_window.test = test;
	in_window.range = range;
	in_window.window = c->window;
	WRITE_ONCE(gpusvm_mgr_broken_steps, c->broken);
	WRITE_ONCE(gpusvm_mgr_window_hook, start_pass_in_window);
	err = gpusvm_mgr_tree_insert(&t->tree, range);
	WRITE_ONCE(gpusvm_mgr_window_hook, NULL);
	WRITE_ONCE(gpusvm_mgr_broken_steps, 0);

	KUNIT_ASSERT_EQ(test, err, 0);
	drop(range);
	KUNIT_EXPECT_EQ(test, in_window.calls, 1);
	KUNIT_EXPECT_EQ(test, in_window.found, c->found);
	/* Whatever happens in the window, nobody uses the range yet. */
	KUNIT_EXPECT_EQ(test, in_window.ready, 0);
	KUNIT_EXPECT_EQ(test, t->seq, before + 2);
	KUNIT_EXPECT_EQ(test, range->shadow.invalidate_seq,
			c->stale ? before : t->seq);
}

/* A finder that comes while a range is being inserted. */
static struct {
	struct range_test *t;
	struct task_struct *task;
	struct completion found;
	struct drm_gpusvm_mgr_range *range;
	struct drm_gpusvm_mgr_range *inserting;
	u8 ready;
	unsigned long seq;
	bool slept;
	bool early;
} finder;

static int find_thread(void *unused)
{
	struct drm_gpusvm_mgr_range *range;

	range = gpusvm_mgr_tree_find(&finder.t->tree, finder.inserting->start);
	finder.range = range;
	if (range) {
		finder.ready = READ_ONCE(range->ready);
		finder.seq = READ_ONCE(range->shadow.invalidate_seq);
	}
	complete(&finder.found);
	return 0;
}

/* In the window: let the finder run until it sleeps, or comes through. */
static void find_in_window(enum gpusvm_mgr_window window, void *object)
{
	unsigned long limit = jiffies + LIMIT;

	if (window != GPUSVM_MGR_WINDOW_INSERT_STORED || object != finder.inserting)
		return;

	wake_up_process(finder.task);
	while (time_before(jiffies, limit)) {
		if (completion_done(&finder.found)) {
			finder.early = true;
			return;
		}
		if (READ_ONCE(finder.task->__state) == TASK_UNINTERRUPTIBLE &&
		    kref_read(&finder.inserting->ref) == 3) {
			finder.slept = true;
			return;
		}
		usleep_range(100, 200);
	}
}

static void test_find_waits_for_ready(struct kunit *test)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range = make(test, 10, 20);
	struct task_struct *task;
	unsigned int i;
	int err;

	memset(&finder, 0, sizeof(finder));
	finder.t = t;
	finder.inserting = range;
	init_completion(&finder.found);
	/*
	 * Created, not started: the hook wakes it. A reference of the test's own
	 * keeps it, as the thread ends by itself.
	 */
	task = kthread_create(find_thread, NULL, "find");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);
	finder.task = task;

	WRITE_ONCE(gpusvm_mgr_window_hook, find_in_window);
	err = gpusvm_mgr_tree_insert(&t->tree, range);
	WRITE_ONCE(gpusvm_mgr_window_hook, NULL);

	KUNIT_EXPECT_TRUE(test, wait_for_completion_timeout(&finder.found, LIMIT));
	kthread_stop(task);
	put_task_struct(task);

	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_FALSE(test, finder.early);
	KUNIT_EXPECT_TRUE(test, finder.slept);
	KUNIT_ASSERT_PTR_EQ(test, finder.range, range);
	KUNIT_EXPECT_EQ(test, finder.ready, 1);
	KUNIT_EXPECT_EQ(test, finder.seq, t->seq);
	drop(range);
	drop(range);
	for (i = 10; i < 20; i++)
		t->page[i] = range;
	walk(test);
}

/* A reader that walks an all but empty tree again and again. */
struct looker {
	struct gpusvm_mgr_tree *tree;
	unsigned long start, last;
	unsigned long walks, met;
	bool wrong;
};

static int look_thread(void *data)
{
	struct looker *looker = data;

	while (!kthread_should_stop()) {
		struct drm_gpusvm_mgr_range *range;
		unsigned long index = looker->start, steps = 0;
		int idx;

		idx = srcu_read_lock(&gpusvm_mgr_srcu);
		while ((range = gpusvm_mgr_tree_next(looker->tree, &index,
						     looker->last))) {
			/* Not freed under us, and no other's. */
			if (range->end - range->start != PAGE_SIZE ||
			    range->start < looker->start)
				WRITE_ONCE(looker->wrong, true);
			WRITE_ONCE(looker->met, looker->met + 1);
			if (++steps > 1000) {
				WRITE_ONCE(looker->wrong, true);
				break;
			}
		}
		srcu_read_unlock(&gpusvm_mgr_srcu, idx);
		WRITE_ONCE(looker->walks, looker->walks + 1);
		cond_resched();
	}
	return 0;
}

/*
 * The last range goes while others walk: with the sentinel the tree is not
 * empty even then. (Without it this ends in an oops, so there is no negative
 * control of it.)
 */
static void test_last_entry_stress(struct kunit *test)
{
	enum { LOOKERS = 2, ROUNDS = 20, BATCH = 50 };
	struct drm_gpusvm_mgr_range **gone;
	struct range_test *t = test->priv;
	struct looker *lookers;
	struct task_struct *tasks[LOOKERS];
	unsigned long limit = jiffies + LIMIT;
	unsigned int i, round;

	gone = kunit_kcalloc(test, BATCH, sizeof(*gone), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, gone);
	lookers = kunit_kcalloc(test, LOOKERS, sizeof(*lookers), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, lookers);

	for (i = 0; i < LOOKERS; i++) {
		lookers[i].tree = &t->tree;
		/* One looks at what there is, the other to the end of all. */
		lookers[i].start = i ? 0 : t->base;
		lookers[i].last = i ? ULONG_MAX : addr_of(t, WORLD) - 1;
		tasks[i] = kthread_run(look_thread, &lookers[i], "look%u", i);
		/* Nothing was begun that would have to be undone before. */
		if (IS_ERR(tasks[i]))
			lookers[i].wrong = true;
	}

	for (round = 0; round < ROUNDS && time_before(jiffies, limit); round++) {
		for (i = 0; i < BATCH; i++) {
			/* No assertion while the others run. */
			gone[i] = gpusvm_mgr_range_alloc(addr_of(t, i),
							 addr_of(t, i + 1), NULL);
			if (!gone[i] || gpusvm_mgr_tree_insert(&t->tree, gone[i])) {
				WRITE_ONCE(lookers[0].wrong, true);
				continue;
			}
			/* Sometimes they meet it, sometimes not. */
			if (i % 8 == 0)
				cond_resched();
			set_bit(GPUSVM_MGR_RANGE_DEAD, &gone[i]->flags);
			gpusvm_mgr_tree_erase(&t->tree, gone[i]);
		}
		synchronize_srcu(&gpusvm_mgr_srcu);
		for (i = 0; i < BATCH; i++)
			if (gone[i])
				gpusvm_mgr_range_free(gone[i]);
	}

	/* On one CPU they may not have had their turn yet. */
	for (i = 0; i < LOOKERS; i++)
		while (!IS_ERR(tasks[i]) && !READ_ONCE(lookers[i].walks) &&
		       time_before(jiffies, limit))
			usleep_range(100, 200);

	for (i = 0; i < LOOKERS; i++)
		if (!IS_ERR(tasks[i]))
			kthread_stop(tasks[i]);

	KUNIT_EXPECT_EQ(test, round, ROUNDS);
	for (i = 0; i < LOOKERS; i++) {
		KUNIT_EXPECT_FALSE(test, lookers[i].wrong);
		KUNIT_EXPECT_GT(test, lookers[i].walks, 0);
	}
	walk(test);
}

struct random_case {
	const char *name;
	unsigned long base;
	u64 seed;
};

static const struct random_case random_cases[] = {
	{ "middle of the address space", SZ_1G, 0x7a90001 },
	{ "from address 0", 0, 0x7a90002 },
	/* All but the last page of the address space. */
	{ "up to the top", -(unsigned long)((WORLD + 1) * PAGE_SIZE), 0x7a90003 },
};

KUNIT_ARRAY_PARAM_DESC(random, random_cases, name);

static void random_insert(struct kunit *test, struct rnd_state *rnd)
{
	struct range_test *t = test->priv;
	unsigned int first = prandom_u32_state(rnd) % WORLD;
	unsigned int size = 1 + prandom_u32_state(rnd) % 16;
	unsigned int end = min_t(unsigned int, first + size, WORLD);
	struct drm_gpusvm_mgr_range *range = make(test, first, end);
	bool taken = false;
	unsigned int i;
	int err;

	for (i = first; i < end; i++)
		taken |= !!t->page[i];

	err = gpusvm_mgr_tree_insert(&t->tree, range);
	if (err) {
		gpusvm_mgr_range_free(range);
	} else {
		drop(range);
		KUNIT_EXPECT_EQ(test, range->shadow.invalidate_seq, t->seq);
		for (i = first; i < end; i++)
			t->page[i] = range;
	}
	KUNIT_EXPECT_EQ(test, err, taken ? -EEXIST : 0);
}

static void random_erase(struct kunit *test, struct rnd_state *rnd)
{
	struct range_test *t = test->priv;
	struct drm_gpusvm_mgr_range *range;

	range = t->page[prandom_u32_state(rnd) % WORLD];
	if (!range)
		return;
	take_out(t, range);
	/* No reader is under way. */
	gpusvm_mgr_range_free(range);
}

static void random_find(struct kunit *test, struct rnd_state *rnd)
{
	struct range_test *t = test->priv;
	unsigned int page = prandom_u32_state(rnd) % WORLD;
	struct drm_gpusvm_mgr_range *range;

	range = gpusvm_mgr_tree_find(&t->tree, addr_of(t, page) +
				     prandom_u32_state(rnd) % PAGE_SIZE);
	KUNIT_EXPECT_PTR_EQ(test, range, t->page[page]);
	if (range)
		drop(range);
}

/* The start pass over a random interval meets the ranges of the oracle. */
static void random_start_pass(struct kunit *test, struct rnd_state *rnd)
{
	struct range_test *t = test->priv;
	unsigned int first = prandom_u32_state(rnd) % WORLD;
	unsigned int last = first + prandom_u32_state(rnd) % (WORLD - first);
	struct drm_gpusvm_mgr_range *previous = NULL;
	unsigned long old = t->seq;
	unsigned int count = 0, i;

	for (i = first; i <= last; i++) {
		if (t->page[i] && t->page[i] != previous)
			count++;
		previous = t->page[i];
	}

	KUNIT_EXPECT_EQ(test, start_pass(t, addr_of(t, first),
					 addr_of(t, last) + PAGE_SIZE - 1), count);
	for (i = 0; i < WORLD; i++) {
		struct drm_gpusvm_mgr_range *range = t->page[i];
		bool hit = i >= first && i <= last;

		if (!range)
			continue;
		/* It may reach into the interval from this page's side of it. */
		hit |= range->start <= addr_of(t, last) &&
		       range->end > addr_of(t, first);
		if (hit)
			KUNIT_EXPECT_EQ(test, range->shadow.invalidate_seq, t->seq);
		else
			KUNIT_EXPECT_LE(test, range->shadow.invalidate_seq, old);
	}
}

static void random_gap(struct kunit *test, struct rnd_state *rnd)
{
	struct range_test *t = test->priv;
	unsigned int page = prandom_u32_state(rnd) % WORLD, first = page, end = page;
	unsigned long start_addr, end_addr;

	gpusvm_mgr_tree_gap(&t->tree, addr_of(t, page), &start_addr, &end_addr);
	if (t->page[page]) {
		KUNIT_EXPECT_EQ(test, start_addr, addr_of(t, page));
		KUNIT_EXPECT_EQ(test, end_addr, addr_of(t, page));
		return;
	}
	while (first > 0 && !t->page[first - 1])
		first--;
	while (end < WORLD && !t->page[end])
		end++;
	KUNIT_EXPECT_EQ(test, start_addr, first ? addr_of(t, first) : 0);
	KUNIT_EXPECT_EQ(test, end_addr, end < WORLD ? addr_of(t, end) : ULONG_MAX);
}

static void test_random(struct kunit *test)
{
	void (*const ops[])(struct kunit *test, struct rnd_state *rnd) = {
		random_insert, random_insert, random_insert, random_erase,
		random_find, random_start_pass, random_gap,
	};
	const struct random_case *c = test->param_value;
	struct range_test *t = test->priv;
	struct rnd_state rnd;
	unsigned int i;

	t->base = c->base;
	prandom_seed_state(&rnd, c->seed);
	for (i = 0; i < 1000; i++) {
		unsigned int op = prandom_u32_state(&rnd) % ARRAY_SIZE(ops);

		ops[op](test, &rnd);
		walk(test);
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "operation %u, kind %u", i, op);
			return;
		}
	}
}

static struct kunit_case range_cases[] = {
	KUNIT_CASE(test_empty),
	KUNIT_CASE_PARAM(test_insert_overlap, overlap_gen_params),
	KUNIT_CASE(test_insert_top),
	KUNIT_CASE(test_find),
	KUNIT_CASE_PARAM(test_next, next_gen_params),
	KUNIT_CASE(test_gap),
	KUNIT_CASE(test_erase_object),
	KUNIT_CASE(test_shadow_copy),
	KUNIT_CASE_PARAM(test_shadow_window, shadow_gen_params),
	KUNIT_CASE(test_find_waits_for_ready),
	KUNIT_CASE_SLOW(test_last_entry_stress),
	KUNIT_CASE_PARAM_ATTR(test_random, random_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	{}
};

static struct kunit_suite range_suite = {
	.name = "drm_gpusvm_mgr_range",
	.init = range_init,
	.test_cases = range_cases,
};

kunit_test_suite(range_suite);
