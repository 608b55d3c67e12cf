// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Tests of the attribute store: against a flat array of cells, which is changed by
 * the same operations in the most simple way. Pure, also for UML.
 */

#include <kunit/test.h>

#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/sizes.h>

#include "../gpusvm_mgr_attr.h"
#include "../gpusvm_mgr_break.h"

/* No wait is longer than this, and none is expected to be noticeable. */
#define LIMIT	(30 * HZ)

#define CELLS	256
#define CELL	PAGE_SIZE
#define TOP	(ULONG_MAX - 1)

/* Some of the 64 slots: the first, the last, and at the edges of a word. */
static const unsigned int slots[] = { 0, 1, 31, 32, 63 };

#define SLOTS	ARRAY_SIZE(slots)

/* What one cell of the oracle has, member by member. */
struct cell {
	unsigned int location, writer, policy, granularity, residence_ms;
	struct {
		unsigned int mode, read_only, atomics;
	} access[SLOTS];
};

/**
 * struct attr_test - What each test has
 * @attrs: The store under test.
 * @base: Where the world begins.
 * @cell: The oracle.
 * @before: The oracle before the last change.
 * @rnd: For random operations.
 */
struct attr_test {
	struct gpusvm_mgr_attrs attrs;
	unsigned long base;
	struct cell cell[CELLS];
	struct cell before[CELLS];
	struct rnd_state rnd;
};

static const struct cell nothing = {
	.granularity = GPUSVM_MGR_GRANULARITY_DEFAULT,
	.residence_ms = GPUSVM_MGR_RESIDENCE_DEFAULT,
};

static bool same(const struct cell *one, const struct cell *two)
{
	return !memcmp(one, two, sizeof(*one));
}

static unsigned long addr_of(const struct attr_test *t, unsigned int cell)
{
	return t->base + cell * CELL;
}

/* From the store's form to the oracle's. */
static void read_attr(const struct gpusvm_mgr_attr *attr, struct cell *cell)
{
	unsigned int i;

	memset(cell, 0, sizeof(*cell));
	cell->location = attr->placement.location;
	cell->writer = attr->placement.writer;
	cell->policy = attr->placement.policy;
	cell->granularity = attr->placement.granularity;
	cell->residence_ms = attr->placement.residence_ms;
	for (i = 0; i < SLOTS; i++) {
		struct gpusvm_mgr_access access = gpusvm_mgr_attr_access(attr, slots[i]);

		cell->access[i].mode = access.mode;
		cell->access[i].read_only = access.read_only;
		cell->access[i].atomics = access.atomics;
	}
}

static void read_value(const struct gpusvm_mgr_value *value, struct cell *cell)
{
	read_attr(value ? &value->attr : &gpusvm_mgr_attr_default, cell);
}

static unsigned int index_of(unsigned int slot)
{
	unsigned int i;

	for (i = 0; i < SLOTS - 1; i++)
		if (slots[i] == slot)
			break;
	return i;
}

static void apply(const struct gpusvm_mgr_change *change, struct cell *cell)
{
	const struct gpusvm_mgr_placement *p = &change->placement;
	unsigned int i = index_of(change->slot);

	if (change->fields & GPUSVM_MGR_FIELD_RESET)
		*cell = nothing;
	if (change->fields & GPUSVM_MGR_FIELD_LOCATION && cell->location != p->location) {
		cell->location = p->location;
		cell->writer = p->location ? change->slot + 1 : 0;
	}
	if (change->fields & GPUSVM_MGR_FIELD_POLICY)
		cell->policy = p->policy;
	if (change->fields & GPUSVM_MGR_FIELD_GRANULARITY)
		cell->granularity = p->granularity;
	if (change->fields & GPUSVM_MGR_FIELD_RESIDENCE)
		cell->residence_ms = p->residence_ms;
	if (change->fields & GPUSVM_MGR_FIELD_MODE)
		cell->access[i].mode = change->access.mode;
	if (change->fields & GPUSVM_MGR_FIELD_READ_ONLY)
		cell->access[i].read_only = change->access.read_only;
	if (change->fields & GPUSVM_MGR_FIELD_ATOMICS)
		cell->access[i].atomics = change->access.atomics;
}

static unsigned int diff(const struct cell *one, const struct cell *two)
{
	unsigned int fields = 0, i;

	if (one->location != two->location)
		fields |= GPUSVM_MGR_FIELD_LOCATION;
	if (one->policy != two->policy)
		fields |= GPUSVM_MGR_FIELD_POLICY;
	if (one->granularity != two->granularity)
		fields |= GPUSVM_MGR_FIELD_GRANULARITY;
	if (one->residence_ms != two->residence_ms)
		fields |= GPUSVM_MGR_FIELD_RESIDENCE;
	for (i = 0; i < SLOTS; i++) {
		if (one->access[i].mode != two->access[i].mode)
			fields |= GPUSVM_MGR_FIELD_MODE;
		if (one->access[i].read_only != two->access[i].read_only)
			fields |= GPUSVM_MGR_FIELD_READ_ONLY;
		if (one->access[i].atomics != two->access[i].atomics)
			fields |= GPUSVM_MGR_FIELD_ATOMICS;
	}
	return fields;
}

/* Cells from @first on that are the same, up to @end. */
static unsigned int run_of(const struct cell *cells, unsigned int first, unsigned int end)
{
	unsigned int i;

	for (i = first + 1; i < end && same(&cells[i], &cells[first]); i++)
		;
	return i;
}

/* The store says of each cell what the oracle says, and has intervals that are as long. */
static void compare(struct kunit *test)
{
	struct attr_test *t = test->priv;
	unsigned long start, last;
	struct gpusvm_mgr_attr attr;
	unsigned int first, end;
	struct cell cell;

	for (first = 0; first < CELLS; first = end) {
		end = run_of(t->cell, first, CELLS);
		gpusvm_mgr_attrs_lookup(&t->attrs, addr_of(t, end) - 1, &attr, &start, &last);
		read_attr(&attr, &cell);
		KUNIT_EXPECT_MEMEQ_MSG(test, &cell, &t->cell[first], sizeof(cell),
				       "cell %u", first);

		/* Beyond the world nothing was said. */
		if (first || !same(&t->cell[first], &nothing))
			KUNIT_EXPECT_EQ(test, start, addr_of(t, first));
		else
			KUNIT_EXPECT_EQ(test, start, 0);
		if (end < CELLS || !same(&t->cell[first], &nothing))
			KUNIT_EXPECT_EQ(test, last, addr_of(t, end) - 1);
		else
			KUNIT_EXPECT_EQ(test, last, TOP);
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_any(&t->attrs, addr_of(t, first),
							   addr_of(t, end) - 1),
				!same(&t->cell[first], &nothing));
	}

	/* Step by step: those, and no other. */
	last = 0;
	for (first = 0; first < CELLS; first = end) {
		end = run_of(t->cell, first, CELLS);
		if (same(&t->cell[first], &nothing))
			continue;
		if (!gpusvm_mgr_attrs_next(&t->attrs, last, &attr, &start, &last)) {
			KUNIT_FAIL(test, "nothing from cell %u on", first);
			return;
		}
		read_attr(&attr, &cell);
		KUNIT_EXPECT_MEMEQ_MSG(test, &cell, &t->cell[first], sizeof(cell),
				       "cell %u", first);
		KUNIT_EXPECT_EQ(test, start, addr_of(t, first));
		KUNIT_EXPECT_EQ(test, last, addr_of(t, end) - 1);
		last++;
	}
	KUNIT_EXPECT_FALSE(test, gpusvm_mgr_attrs_next(&t->attrs, last, &attr, &start, &last));
}

/* Each value is there once, for as many intervals as the oracle has of it. */
static void count_refs(struct kunit *test)
{
	struct attr_test *t = test->priv;
	unsigned int bucket, runs = 0, first, end, refs = 0, values = 0;
	struct gpusvm_mgr_value *value;
	struct cell cell;

	hash_for_each(t->attrs.values, bucket, value, hash) {
		unsigned int count = 0;

		read_value(value, &cell);
		for (first = 0; first < CELLS; first = end) {
			end = run_of(t->cell, first, CELLS);
			count += same(&t->cell[first], &cell);
		}
		KUNIT_EXPECT_EQ(test, value->refs, count);
		KUNIT_EXPECT_NE(test, count, 0);
		refs += value->refs;
		values++;
	}
	for (first = 0; first < CELLS; first = end) {
		end = run_of(t->cell, first, CELLS);
		runs += !same(&t->cell[first], &nothing);
	}
	KUNIT_EXPECT_EQ(test, refs, runs);
	KUNIT_EXPECT_EQ(test, values, t->attrs.nr_values);
}

/* What a change reports is what it has changed in the oracle. */
static void check_pieces(struct kunit *test, const struct gpusvm_mgr_pieces *pieces,
			 unsigned int first, unsigned int end)
{
	struct attr_test *t = test->priv;
	unsigned int cell = first, conflicts = 0, i;
	struct cell old, new;

	for (i = 0; i < pieces->count; i++) {
		const struct gpusvm_mgr_piece *piece = &pieces->piece[i];
		unsigned int next = run_of(t->before, cell, end);

		if (piece->start != addr_of(t, cell) || piece->last != addr_of(t, next) - 1) {
			KUNIT_FAIL(test, "piece [0x%lx-0x%lx], expected cells %u to %u",
				   piece->start, piece->last, cell, next);
			return;
		}
		read_value(piece->old, &old);
		read_value(piece->new, &new);
		KUNIT_EXPECT_MEMEQ(test, &old, &t->before[cell], sizeof(old));
		KUNIT_EXPECT_MEMEQ(test, &new, &t->cell[cell], sizeof(new));
		KUNIT_EXPECT_EQ(test, piece->fields, diff(&old, &new));
		/* One of a kind. */
		KUNIT_EXPECT_EQ(test, piece->old == piece->new, same(&old, &new));
		conflicts += old.location != new.location && old.writer && new.writer &&
			     old.writer != new.writer;
		cell = next;
		if (cell == end)
			break;
	}
	KUNIT_EXPECT_EQ(test, cell, end);
	KUNIT_EXPECT_EQ(test, i + 1, pieces->count);
	KUNIT_EXPECT_EQ(test, conflicts, pieces->conflicts);
}

/* Changes cells of store and oracle, and checks what comes back. */
static void change_cells(struct kunit *test, unsigned int first, unsigned int end,
			 const struct gpusvm_mgr_change *change)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_pieces pieces;
	unsigned int i;

	memcpy(t->before, t->cell, sizeof(t->cell));
	for (i = first; i < end; i++)
		apply(change, &t->cell[i]);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, addr_of(t, first),
							 addr_of(t, end) - 1, change,
							 &pieces, GFP_KERNEL));
	check_pieces(test, &pieces, first, end);
	/* Also while the pieces have their references. */
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);
	gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);
}

static void expect_empty(struct kunit *test)
{
	struct attr_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 0);
	KUNIT_EXPECT_TRUE(test, hash_empty(t->attrs.values));
	KUNIT_EXPECT_FALSE(test, gpusvm_mgr_attrs_any(&t->attrs, 0, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);
}

static void set_mode(struct kunit *test, unsigned int first, unsigned int end,
		     unsigned int slot, unsigned int mode)
{
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_MODE,
		.slot = slot,
		.access.mode = mode,
	};

	change_cells(test, first, end, &change);
}

static void set_location(struct kunit *test, unsigned int first, unsigned int end,
			 unsigned int slot, unsigned int location)
{
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_LOCATION,
		.slot = slot,
		.placement.location = location,
	};

	change_cells(test, first, end, &change);
}

static const struct gpusvm_mgr_change reset = { .fields = GPUSVM_MGR_FIELD_RESET };

static unsigned int intervals(const struct attr_test *t)
{
	unsigned int first, end, count = 0;

	for (first = 0; first < CELLS; first = end, count++)
		end = run_of(t->cell, first, CELLS);
	return count;
}

static void test_nothing_said(struct kunit *test)
{
	struct attr_test *t = test->priv;

	compare(test);
	expect_empty(test);
	/* To say what holds anyway makes nothing. */
	change_cells(test, 0, CELLS, &reset);
	set_mode(test, 3, 9, 0, GPUSVM_MGR_MODE_DEFAULT);
	compare(test);
	expect_empty(test);
	KUNIT_EXPECT_EQ(test, intervals(t), 1);
}

static void test_split_and_merge(struct kunit *test)
{
	struct attr_test *t = test->priv;

	set_mode(test, 10, 20, 0, 3);
	compare(test);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 1);

	/* In the middle of it, then back. */
	set_mode(test, 14, 16, 1, 2);
	compare(test);
	count_refs(test);
	KUNIT_EXPECT_EQ(test, intervals(t), 5);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 2);
	set_mode(test, 14, 16, 1, 0);
	compare(test);
	KUNIT_EXPECT_EQ(test, intervals(t), 3);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 1);

	/* A gap is filled: three become one. */
	set_mode(test, 30, 40, 0, 3);
	set_mode(test, 20, 30, 0, 3);
	compare(test);
	count_refs(test);
	KUNIT_EXPECT_EQ(test, intervals(t), 3);

	/* Over everything, gaps included. */
	set_mode(test, 0, CELLS, 63, 1);
	compare(test);
	count_refs(test);
	KUNIT_EXPECT_EQ(test, intervals(t), 3);
	change_cells(test, 5, CELLS, &reset);
	compare(test);
	change_cells(test, 0, CELLS, &reset);
	compare(test);
	expect_empty(test);
}

/* The value that was there is there again: pointers, too. */
static void test_interning(struct kunit *test)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_value *value;
	struct gpusvm_mgr_pieces pieces;
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_MODE,
		.access.mode = 3,
	};
	unsigned int i;

	for (i = 0; i < CELLS; i += 2)
		set_mode(test, i, i + 1, 0, 3);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 1);
	compare(test);
	count_refs(test);

	/* Half of it is as it should be already. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, addr_of(t, 0),
							 addr_of(t, 4) - 1, &change, &pieces,
							 GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, pieces.count, 4);
	value = pieces.piece[0].old;
	KUNIT_ASSERT_NOT_NULL(test, value);
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_PTR_EQ(test, pieces.piece[i].new, value);
		KUNIT_EXPECT_PTR_EQ(test, pieces.piece[i].old, i % 2 ? NULL : value);
		KUNIT_EXPECT_EQ(test, pieces.piece[i].fields,
				i % 2 ? GPUSVM_MGR_FIELD_MODE : 0);
	}
	gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	KUNIT_EXPECT_NULL(test, pieces.piece);
	for (i = 0; i < 4; i++)
		apply(&change, &t->cell[i]);
	compare(test);
	count_refs(test);
}

/* Pieces that are held while others change the same: they keep their values. */
static void test_pieces_stay(struct kunit *test)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_pieces pieces;
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_LOCATION,
		.slot = 1,
		.placement.location = 7,
	};
	unsigned int i;

	set_location(test, 0, 8, 0, 5);
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, addr_of(t, 4),
							 addr_of(t, 12) - 1, &change,
							 &pieces, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, pieces.count, 2);
	KUNIT_EXPECT_EQ(test, pieces.conflicts, 1);
	for (i = 4; i < 12; i++)
		apply(&change, &t->cell[i]);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);

	change_cells(test, 0, CELLS, &reset);
	compare(test);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 2);
	KUNIT_EXPECT_EQ(test, pieces.piece[0].old->attr.placement.location, 5);
	KUNIT_EXPECT_EQ(test, pieces.piece[1].new->attr.placement.location, 7);

	/* One that is made again is the one that is held. */
	set_location(test, 50, 60, 1, 7);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 2);
	gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 1);
	compare(test);
	count_refs(test);
	change_cells(test, 0, CELLS, &reset);
	expect_empty(test);
}

static void test_conflicts(struct kunit *test)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_attr attr;
	unsigned long start, last;

	/* Who takes it back has no preference, and is in no conflict. */
	set_location(test, 0, 4, 0, 1);
	set_location(test, 2, 6, 32, 2);
	set_location(test, 2, 6, 32, 0);
	set_location(test, 2, 6, 63, 3);
	compare(test);

	/* The same from another one changes nothing, the writer neither. */
	set_location(test, 0, 2, 63, 1);
	gpusvm_mgr_attrs_lookup(&t->attrs, addr_of(t, 0), &attr, &start, &last);
	KUNIT_EXPECT_EQ(test, attr.placement.writer, 1);

	/* Several pieces, in some of which there is one. */
	set_location(test, 0, CELLS, 31, 9);
	compare(test);
	count_refs(test);
}

/* Each slot has its own access, and the eager ones are found at once. */
static void test_slots(struct kunit *test)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_pieces pieces;
	struct gpusvm_mgr_attr attr;
	unsigned long start, last;
	unsigned int slot, mode;
	u64 expected;

	for (slot = 0; slot < 64; slot++) {
		const struct gpusvm_mgr_change change = {
			.fields = GPUSVM_MGR_FIELDS_ACCESS,
			.slot = slot,
			.access.mode = slot % 5,
			.access.read_only = slot / 3 % 2,
			.access.atomics = slot / 7 % 4,
		};

		KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, 0, TOP, &change,
								 &pieces, GFP_KERNEL));
		gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	}
	gpusvm_mgr_attrs_lookup(&t->attrs, addr_of(t, 5), &attr, &start, &last);
	KUNIT_EXPECT_EQ(test, start, 0);
	KUNIT_EXPECT_EQ(test, last, TOP);
	for (slot = 0; slot < 64; slot++) {
		struct gpusvm_mgr_access access = gpusvm_mgr_attr_access(&attr, slot);

		KUNIT_EXPECT_EQ(test, access.mode, slot % 5);
		KUNIT_EXPECT_EQ(test, access.read_only, slot / 3 % 2);
		KUNIT_EXPECT_EQ(test, access.atomics, slot / 7 % 4);
	}
	for (mode = 0; mode < 6; mode++) {
		for (expected = 0, slot = 0; slot < 64; slot++)
			if (slot % 5 == mode)
				expected |= BIT_ULL(slot);
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_attr_mode_slots(&attr, mode), expected);
	}
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 1);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attr_mode_slots(&gpusvm_mgr_attr_default, 0), U64_MAX);
}

struct bounds_case {
	const char *name;
	unsigned long start, last;
};

static const struct bounds_case bounds_cases[] = {
	{ "all", 0, TOP },
	{ "first address", 0, 0 },
	{ "last address", TOP, TOP },
	{ "all but the first", 1, TOP },
	{ "all but the last", 0, TOP - 1 },
	{ "two at the end", TOP - 1, TOP },
	{ "one in the middle", 5, 5 },
};

KUNIT_ARRAY_PARAM_DESC(bounds, bounds_cases, name);

static void expect_lookup(struct kunit *test, unsigned long addr, bool said,
			  unsigned long expected_start, unsigned long expected_last)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_attr attr;
	unsigned long start, last;

	gpusvm_mgr_attrs_lookup(&t->attrs, addr, &attr, &start, &last);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attr_access(&attr, 4).read_only, said);
	KUNIT_EXPECT_EQ(test, start, expected_start);
	KUNIT_EXPECT_EQ(test, last, expected_last);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_any(&t->attrs, addr, addr), said);
}

static void test_bounds(struct kunit *test)
{
	const struct bounds_case *c = test->param_value;
	struct attr_test *t = test->priv;
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_READ_ONLY,
		.slot = 4,
		.access.read_only = true,
	};
	struct gpusvm_mgr_pieces pieces;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, c->start, c->last, &change,
							 &pieces, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, pieces.count, 1);
	KUNIT_EXPECT_EQ(test, pieces.piece[0].start, c->start);
	KUNIT_EXPECT_EQ(test, pieces.piece[0].last, c->last);
	gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);

	expect_lookup(test, c->start, true, c->start, c->last);
	expect_lookup(test, c->last, true, c->start, c->last);
	if (c->start)
		expect_lookup(test, c->start - 1, false, 0, c->start - 1);
	if (c->last < TOP)
		expect_lookup(test, c->last + 1, false, c->last + 1, TOP);
	KUNIT_EXPECT_TRUE(test, gpusvm_mgr_attrs_any(&t->attrs, 0, ULONG_MAX));

	/* The same again over more: what is said already stays as it is. */
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, 0, TOP, &change, &pieces,
							 GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, pieces.count, 1 + !!c->start + (c->last < TOP));
	gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	expect_lookup(test, 5, true, 0, TOP);
	KUNIT_EXPECT_EQ(test, t->attrs.nr_values, 1);

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, 0, TOP, &reset, &pieces,
							 GFP_KERNEL));
	gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	expect_lookup(test, 5, false, 0, TOP);
	expect_empty(test);
}

/* Random changes. */

static unsigned int random(struct attr_test *t, unsigned int below)
{
	return prandom_u32_state(&t->rnd) % below;
}

static void random_change(struct attr_test *t, unsigned int kinds,
			  struct gpusvm_mgr_change *change)
{
	static const unsigned int all[] = {
		GPUSVM_MGR_FIELD_LOCATION, GPUSVM_MGR_FIELD_MODE, GPUSVM_MGR_FIELD_READ_ONLY,
		GPUSVM_MGR_FIELD_POLICY, GPUSVM_MGR_FIELD_ATOMICS,
		GPUSVM_MGR_FIELD_GRANULARITY, GPUSVM_MGR_FIELD_RESIDENCE,
	};
	unsigned int what = random(t, 32);

	*change = (struct gpusvm_mgr_change) {
		.slot = slots[random(t, SLOTS)],
		.placement = gpusvm_mgr_attr_default.placement,
	};
	if (what == 0) {
		change->fields = GPUSVM_MGR_FIELD_RESET;
		return;
	}
	if (what == 1) {
		/* As an instance takes back what it has said. */
		change->fields = GPUSVM_MGR_FIELDS_PLACEMENT | GPUSVM_MGR_FIELDS_ACCESS;
		return;
	}

	/* One field or a few. */
	do {
		change->fields |= all[random(t, min_t(unsigned int, kinds, ARRAY_SIZE(all)))];
	} while (!random(t, 3));
	change->placement.location = random(t, 4);
	change->placement.policy = random(t, 3);
	if (random(t, 2))
		change->placement.granularity = random(t, 3);
	if (random(t, 2))
		change->placement.residence_ms = random(t, 3);
	change->access.mode = random(t, 5);
	change->access.read_only = random(t, 2);
	change->access.atomics = random(t, 4);
	/* A reset and something new at once. */
	if (!random(t, 64))
		change->fields |= GPUSVM_MGR_FIELD_RESET;
}

struct random_case {
	const char *name;
	bool top;
	/* How different intervals can get, and how long a change is at most. */
	unsigned int kinds, longest;
	unsigned int operations;
};

static const struct random_case random_cases[] = {
	{ "at the bottom, all fields", false, 7, CELLS, 8000 },
	{ "at the top, all fields", true, 7, CELLS, 4000 },
	{ "at the top, few kinds", true, 1, CELLS / 4, 8000 },
	{ "at the bottom, short changes", false, 2, 6, 8000 },
};

KUNIT_ARRAY_PARAM_DESC(random, random_cases, name);

static void test_random(struct kunit *test)
{
	const struct random_case *c = test->param_value;
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_change change;
	unsigned int i, first, most = 0, operations = c->operations;

	/* All of them on UML; with checks of each access they take long. */
	if (IS_ENABLED(CONFIG_KASAN))
		operations /= 8;

	t->base = c->top ? ULONG_MAX - CELLS * CELL : 0;
	for (i = 0; i < operations; i++) {
		first = random(t, CELLS);
		random_change(t, c->kinds, &change);
		change_cells(test, first, first + 1 + random(t, min(c->longest, CELLS - first)),
			     &change);
		if (i % 32 == 0) {
			compare(test);
			count_refs(test);
			most = max(most, intervals(t));
			cond_resched();
		}
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "operation %u", i);
			return;
		}
	}
	/* Else it was no test. */
	KUNIT_EXPECT_GT(test, most, CELLS / 16);

	change_cells(test, 0, CELLS, &reset);
	compare(test);
	expect_empty(test);
}

/* A change that comes between a walk and the look at the count. */
static struct {
	struct attr_test *t;
	unsigned int calls;
	int err;
} changer;

static void change_in_window(enum gpusvm_mgr_window window, void *object)
{
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_LOCATION,
		.placement.location = 2,
	};
	struct attr_test *t = changer.t;
	struct gpusvm_mgr_pieces pieces;

	if (window != GPUSVM_MGR_WINDOW_ATTR_WALKED || object != &t->attrs)
		return;
	/* It looks, too, and so does the second look. */
	if (changer.calls++)
		return;
	changer.err = gpusvm_mgr_attrs_change(&t->attrs, addr_of(t, 2), addr_of(t, 5) - 1,
					      &change, &pieces, GFP_ATOMIC);
	if (!changer.err)
		gpusvm_mgr_pieces_free(&t->attrs, &pieces);
}

struct retry_case {
	const char *name;
	unsigned long broken;
	unsigned int location, start, end;
};

static const struct retry_case retry_cases[] = {
	{ .name = "looks again", .location = 2, .start = 2, .end = 5 },
	{
		.name = "broken: keeps what is no more",
		.broken = BIT(GPUSVM_MGR_STEP_ATTR_RETRY),
		.location = 1, .start = 0, .end = 4,
	},
};

KUNIT_ARRAY_PARAM_DESC(retry, retry_cases, name);

static void test_changed_meanwhile(struct kunit *test)
{
	const struct retry_case *c = test->param_value;
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_LOCATION,
		.placement.location = 1,
	};
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_pieces pieces;
	struct gpusvm_mgr_attr attr;
	unsigned long start, last;

	t->base = SZ_1G;
	KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, addr_of(t, 0),
							 addr_of(t, 4) - 1, &change,
							 &pieces, GFP_KERNEL));
	gpusvm_mgr_pieces_free(&t->attrs, &pieces);

	changer.t = t;
	changer.calls = 0;
	changer.err = 0;
	WRITE_ONCE(gpusvm_mgr_broken_steps, c->broken);
	WRITE_ONCE(gpusvm_mgr_window_hook, change_in_window);
	gpusvm_mgr_attrs_lookup(&t->attrs, addr_of(t, 3), &attr, &start, &last);
	WRITE_ONCE(gpusvm_mgr_window_hook, NULL);
	WRITE_ONCE(gpusvm_mgr_broken_steps, 0);

	KUNIT_EXPECT_EQ(test, changer.err, 0);
	KUNIT_EXPECT_GT(test, changer.calls, 0);
	KUNIT_EXPECT_EQ(test, attr.placement.location, c->location);
	KUNIT_EXPECT_EQ(test, start, addr_of(t, c->start));
	KUNIT_EXPECT_EQ(test, last, addr_of(t, c->end) - 1);
}

/* Readers, while all of the world goes from one value to the next. */

struct reader {
	struct attr_test *t;
	/* The latest change that was done to each cell; they count from 1. */
	u32 done[CELLS];
	struct completion begun;
	unsigned long looks;
	unsigned long beside;
	unsigned long bad;
	unsigned long stale;
};

static int reader_main(void *data)
{
	struct reader *reader = data;
	struct attr_test *t = reader->t;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 4711);
	while (!kthread_should_stop()) {
		unsigned long offset = prandom_u32_state(&rnd) % (CELLS * CELL);
		unsigned long addr = t->base + offset, start, last;
		struct gpusvm_mgr_attr attr;
		u32 done;

		/* Pairs with the release in test_readers(). */
		done = smp_load_acquire(&reader->done[offset / CELL]);
		gpusvm_mgr_attrs_lookup(&t->attrs, addr, &attr, &start, &last);
		/* The interval around it, and a value as it was set, never a half. */
		reader->beside += addr < start || addr > last;
		reader->bad += attr.placement.writer != (attr.placement.location ? 2 : 0) ||
			       (attr.placement.location & 1) !=
			       gpusvm_mgr_attr_access(&attr, 1).read_only;
		/* And set there: what its neighbours had before may be older. */
		reader->stale += attr.placement.residence_ms < done;
		if (!reader->looks++)
			complete(&reader->begun);
		cond_resched();
	}
	return 0;
}

/*
 * Which cells the next change is of. Mostly there are two intervals, and it moves the
 * bound between them, which the tree does in place where a node has enough others; now
 * and then it is any, which also makes new nodes.
 */
static void next_span(struct attr_test *t, unsigned int *bound, unsigned int *first,
		      unsigned int *end)
{
	unsigned int to = 1 + random(t, CELLS - 1);

	if (!random(t, 16)) {
		*first = random(t, CELLS);
		*end = *first + 1 + random(t, CELLS - *first);
		*bound = 0;
		return;
	}
	*first = *bound && to <= *bound ? to : 0;
	*end = *bound && to > *bound ? to : CELLS;
	*bound = *bound ? to : CELLS;
}

static void test_readers(struct kunit *test)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_pieces pieces;
	struct task_struct *task;
	struct reader *reader;
	unsigned int bound = 0;
	bool begun;
	int err = 0;
	u32 i;

	reader = kunit_kzalloc(test, sizeof(*reader), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, reader);
	reader->t = t;
	t->base = SZ_1G;
	init_completion(&reader->begun);
	for (i = 0; i < 4; i++) {
		unsigned long other = addr_of(t, CELLS + 1 + 2 * i);
		const struct gpusvm_mgr_change change = {
			.fields = GPUSVM_MGR_FIELD_RESIDENCE,
			.placement.residence_ms = i,
		};

		KUNIT_ASSERT_EQ(test, 0, gpusvm_mgr_attrs_change(&t->attrs, other,
								 other + CELL - 1, &change,
								 &pieces, GFP_KERNEL));
		gpusvm_mgr_pieces_free(&t->attrs, &pieces);
	}
	task = kthread_run(reader_main, reader, "attr_reader");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	begun = wait_for_completion_timeout(&reader->begun, LIMIT);

	for (i = 1; i <= 4000 && !err; i++) {
		unsigned int first, end, cell, location = random(t, 6);
		const struct gpusvm_mgr_change change = {
			.fields = GPUSVM_MGR_FIELD_LOCATION | GPUSVM_MGR_FIELD_READ_ONLY |
				  GPUSVM_MGR_FIELD_RESIDENCE,
			.slot = 1,
			.placement.location = location,
			.placement.residence_ms = i,
			.access.read_only = location & 1,
		};

		next_span(t, &bound, &first, &end);
		err = gpusvm_mgr_attrs_change(&t->attrs, addr_of(t, first),
					      addr_of(t, end) - 1, &change, &pieces,
					      GFP_KERNEL);
		if (!err)
			gpusvm_mgr_pieces_free(&t->attrs, &pieces);
		for (cell = first; cell < end && !err; cell++) {
			/* Pairs with the acquire in reader_main(). */
			smp_store_release(&reader->done[cell], i);
		}
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_TRUE(test, begun);
	KUNIT_EXPECT_GT(test, reader->looks, 0);
	KUNIT_EXPECT_EQ(test, reader->beside, 0);
	KUNIT_EXPECT_EQ(test, reader->bad, 0);
	KUNIT_EXPECT_EQ(test, reader->stale, 0);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);
}

/* The walker sees what is wrong. */
static void test_walker(struct kunit *test)
{
	struct attr_test *t = test->priv;
	struct gpusvm_mgr_value *value;
	unsigned int bucket;

	set_mode(test, 0, 4, 0, 2);
	hash_for_each(t->attrs.values, bucket, value, hash) {
		value->refs++;
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), -EUCLEAN);
		value->refs--;
		/* The same as its neighbour. */
		KUNIT_ASSERT_EQ(test, 0, mtree_store_range(&t->attrs.mt, addr_of(t, 4),
							   addr_of(t, 6) - 1, value,
							   GFP_KERNEL));
		value->refs++;
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), -EUCLEAN);
		value->refs--;
		KUNIT_ASSERT_EQ(test, 0, mtree_store_range(&t->attrs.mt, addr_of(t, 4),
							   addr_of(t, 6) - 1, NULL,
							   GFP_KERNEL));
	}
	t->attrs.nr_values++;
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), -EUCLEAN);
	t->attrs.nr_values--;
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_attrs_validate(&t->attrs), 0);
}

static int attr_test_init(struct kunit *test)
{
	struct attr_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned int i;

	if (!t)
		return -ENOMEM;
	for (i = 0; i < CELLS; i++)
		t->cell[i] = nothing;
	prandom_seed_state(&t->rnd, 20260);
	test->priv = t;
	return gpusvm_mgr_attrs_init(&t->attrs);
}

static void attr_test_exit(struct kunit *test)
{
	struct attr_test *t = test->priv;

	if (t)
		gpusvm_mgr_attrs_fini(&t->attrs);
}

static struct kunit_case attr_cases[] = {
	KUNIT_CASE(test_nothing_said),
	KUNIT_CASE(test_split_and_merge),
	KUNIT_CASE(test_interning),
	KUNIT_CASE(test_pieces_stay),
	KUNIT_CASE(test_conflicts),
	KUNIT_CASE(test_slots),
	KUNIT_CASE_PARAM(test_bounds, bounds_gen_params),
	KUNIT_CASE_PARAM_ATTR(test_random, random_gen_params, { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM(test_changed_meanwhile, retry_gen_params),
	KUNIT_CASE(test_readers),
	KUNIT_CASE(test_walker),
	{}
};

static struct kunit_suite attr_suite = {
	.name = "drm_gpusvm_mgr_attr",
	.init = attr_test_init,
	.exit = attr_test_exit,
	.test_cases = attr_cases,
};

kunit_test_suite(attr_suite);
