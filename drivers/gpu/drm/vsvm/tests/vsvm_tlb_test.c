// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The TLB of a device: what was put in is found until it is flushed or its
 * place is needed, and only by whom it belongs to.
 */

#include <kunit/test.h>
#include <linux/mm.h>

#include "../vsvm_tlb.h"

#define ENTRIES		64
#define OUR_ASID		7
#define OTHER_ASID	8
#define COOKIE		0x100000001ULL

static const u64 base = 0x77ULL << (PAGE_SHIFT + 2 * VSVM_PT_BITS);

static int vsvm_tlb_test_init(struct kunit *test)
{
	struct vsvm_tlb *tlb = kunit_kzalloc(test, sizeof(*tlb), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, tlb);
	KUNIT_ASSERT_EQ(test, vsvm_tlb_init(tlb, ENTRIES), 0);
	test->priv = tlb;
	return 0;
}

static void vsvm_tlb_test_exit(struct kunit *test)
{
	vsvm_tlb_fini(test->priv);
}

static void vsvm_tlb_put(struct kunit *test, u32 asid, u64 va, unsigned int level, u64 addr,
			 bool write)
{
	struct vsvm_translation t = {
		.va = va,
		.addr = addr,
		.cookie = COOKIE,
		.level = level,
		.write = write,
	};

	vsvm_tlb_insert(test->priv, asid, &t);
}

static bool vsvm_tlb_has(struct kunit *test, u32 asid, u64 va)
{
	struct vsvm_translation t;

	return vsvm_tlb_lookup(test->priv, asid, va, &t);
}

static void vsvm_tlb_test_lookup(struct kunit *test)
{
	struct vsvm_translation t;

	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, base));
	/* Nobody finds a free entry. */
	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, 0));

	vsvm_tlb_put(test, OUR_ASID, base, 0, 0x5000 << PAGE_SHIFT, true);
	KUNIT_ASSERT_TRUE(test, vsvm_tlb_lookup(test->priv, OUR_ASID, base + 123, &t));
	KUNIT_EXPECT_EQ(test, t.va, base);
	KUNIT_EXPECT_EQ(test, t.addr, 0x5000 << PAGE_SHIFT);
	KUNIT_EXPECT_EQ(test, t.cookie, COOKIE);
	KUNIT_EXPECT_EQ(test, t.level, 0);
	KUNIT_EXPECT_TRUE(test, t.write);

	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OTHER_ASID, base));
	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, base - 1));
	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, base + PAGE_SIZE));
}

static void vsvm_tlb_test_levels(struct kunit *test)
{
	struct vsvm_translation t;
	unsigned int level;

	for (level = 0; level < VSVM_PT_LEAF_LEVELS; level++) {
		u64 va = base + level * vsvm_pt_level_size(2);

		vsvm_tlb_put(test, OUR_ASID, va, level, 0, false);
		KUNIT_ASSERT_TRUE(test, vsvm_tlb_lookup(test->priv, OUR_ASID,
							va + vsvm_pt_level_size(level) - 1,
							&t));
		KUNIT_EXPECT_EQ(test, t.level, level);
		KUNIT_EXPECT_EQ(test, t.va, va);
		KUNIT_EXPECT_FALSE(test, t.write);
		KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID,
						      va + vsvm_pt_level_size(level)));
	}
}

/* A newer translation of a leaf takes the place of the older one. */
static void vsvm_tlb_test_replace(struct kunit *test)
{
	struct vsvm_translation t;
	unsigned int spared;

	vsvm_tlb_put(test, OUR_ASID, base, 0, 1ULL << PAGE_SHIFT, false);
	vsvm_tlb_put(test, OUR_ASID, base, 0, 2ULL << PAGE_SHIFT, true);
	KUNIT_ASSERT_TRUE(test, vsvm_tlb_lookup(test->priv, OUR_ASID, base, &t));
	KUNIT_EXPECT_EQ(test, t.addr, 2ULL << PAGE_SHIFT);
	KUNIT_EXPECT_TRUE(test, t.write);
	KUNIT_EXPECT_EQ(test, vsvm_tlb_count(test->priv, OUR_ASID, COOKIE, &spared), 1);
}

static void vsvm_tlb_test_flush_span(struct kunit *test)
{
	u64 big = base + vsvm_pt_level_size(1);
	unsigned int i;

	for (i = 0; i < 4; i++) {
		vsvm_tlb_put(test, OUR_ASID, base + i * PAGE_SIZE, 0, 0, true);
		vsvm_tlb_put(test, OTHER_ASID, base + i * PAGE_SIZE, 0, 0, true);
	}
	vsvm_tlb_put(test, OUR_ASID, big, 1, 0, true);

	/* Nothing in between, and what only touches the ends. */
	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OUR_ASID, base, base), 0);
	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OUR_ASID, base + 4 * PAGE_SIZE, big), 0);

	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OUR_ASID, base + PAGE_SIZE,
					     base + 3 * PAGE_SIZE), 2);
	KUNIT_EXPECT_TRUE(test, vsvm_tlb_has(test, OUR_ASID, base));
	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, base + PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, base + 2 * PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, vsvm_tlb_has(test, OUR_ASID, base + 3 * PAGE_SIZE));
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_TRUE(test, vsvm_tlb_has(test, OTHER_ASID, base + i * PAGE_SIZE));

	/* One byte of a large leaf is enough. */
	KUNIT_EXPECT_TRUE(test, vsvm_tlb_has(test, OUR_ASID, big + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OUR_ASID, big + PAGE_SIZE,
					     big + PAGE_SIZE + 1), 1);
	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, big));

	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OUR_ASID, 0, U64_MAX), 2);
	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OUR_ASID, 0, U64_MAX), 0);
	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OTHER_ASID, 0, U64_MAX), 4);
}

static void vsvm_tlb_test_evict(struct kunit *test)
{
	struct vsvm_tlb *tlb = test->priv;
	unsigned int i, found = 0, spared;

	for (i = 0; i < 4 * ENTRIES; i++) {
		vsvm_tlb_put(test, OUR_ASID, base + i * PAGE_SIZE, 0, 0, true);
		/* The newest one is there, whoever had to go for it. */
		KUNIT_EXPECT_TRUE(test, vsvm_tlb_has(test, OUR_ASID, base + i * PAGE_SIZE));
	}
	for (i = 0; i < 4 * ENTRIES; i++)
		found += vsvm_tlb_has(test, OUR_ASID, base + i * PAGE_SIZE);
	/* Neighbours go to neighbouring sets, so it is full. */
	KUNIT_EXPECT_EQ(test, found, vsvm_tlb_size(tlb));
	KUNIT_EXPECT_EQ(test, vsvm_tlb_count(tlb, OUR_ASID, COOKIE, &spared), found);
	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(tlb, OUR_ASID, 0, U64_MAX), found);
}

static void vsvm_tlb_test_spare(struct kunit *test)
{
	struct vsvm_translation t;
	unsigned int spared;

	vsvm_tlb_put(test, OUR_ASID, base, 0, 0, true);
	vsvm_tlb_put(test, OUR_ASID, base + PAGE_SIZE, 0, 0, true);
	vsvm_tlb_put(test, OTHER_ASID, base, 0, 0, true);

	KUNIT_EXPECT_EQ(test, vsvm_tlb_spare(test->priv, OUR_ASID, base, base + PAGE_SIZE), 1);

	/* It stays in use, and is known for what it is. */
	KUNIT_ASSERT_TRUE(test, vsvm_tlb_lookup(test->priv, OUR_ASID, base, &t));
	KUNIT_EXPECT_TRUE(test, t.spared);
	KUNIT_ASSERT_TRUE(test, vsvm_tlb_lookup(test->priv, OUR_ASID, base + PAGE_SIZE, &t));
	KUNIT_EXPECT_FALSE(test, t.spared);
	KUNIT_ASSERT_TRUE(test, vsvm_tlb_lookup(test->priv, OTHER_ASID, base, &t));
	KUNIT_EXPECT_FALSE(test, t.spared);

	KUNIT_EXPECT_EQ(test, vsvm_tlb_count(test->priv, OUR_ASID, COOKIE, &spared), 2);
	KUNIT_EXPECT_EQ(test, spared, 1);
	KUNIT_EXPECT_EQ(test, vsvm_tlb_count(test->priv, OUR_ASID, COOKIE + 1, &spared), 0);
	KUNIT_EXPECT_EQ(test, spared, 0);

	/* The next real flush drops it all the same. */
	KUNIT_EXPECT_EQ(test, vsvm_tlb_flush(test->priv, OUR_ASID, base, base + PAGE_SIZE), 1);
	KUNIT_EXPECT_FALSE(test, vsvm_tlb_has(test, OUR_ASID, base));
}

static void vsvm_tlb_test_sizes(struct kunit *test)
{
	static const struct {
		unsigned int wanted, got;
	} sizes[] = {
		{ 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 4 }, { 8, 8 },
		{ 511, 256 }, { 512, 512 }, { 1000, 512 },
	};
	struct vsvm_tlb tlb = {};
	unsigned int i;

	KUNIT_EXPECT_EQ(test, vsvm_tlb_init(&tlb, 0), -EINVAL);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct vsvm_translation t = { .va = base };

		KUNIT_ASSERT_EQ(test, vsvm_tlb_init(&tlb, sizes[i].wanted), 0);
		KUNIT_EXPECT_EQ(test, vsvm_tlb_size(&tlb), sizes[i].got);
		vsvm_tlb_insert(&tlb, OUR_ASID, &t);
		KUNIT_EXPECT_TRUE(test, vsvm_tlb_lookup(&tlb, OUR_ASID, base, &t));
		vsvm_tlb_fini(&tlb);
	}
}

static struct kunit_case vsvm_tlb_cases[] = {
	KUNIT_CASE(vsvm_tlb_test_lookup),
	KUNIT_CASE(vsvm_tlb_test_levels),
	KUNIT_CASE(vsvm_tlb_test_replace),
	KUNIT_CASE(vsvm_tlb_test_flush_span),
	KUNIT_CASE(vsvm_tlb_test_evict),
	KUNIT_CASE(vsvm_tlb_test_spare),
	KUNIT_CASE(vsvm_tlb_test_sizes),
	{}
};

static struct kunit_suite vsvm_tlb_suite = {
	.name = "vsvm_tlb",
	.init = vsvm_tlb_test_init,
	.exit = vsvm_tlb_test_exit,
	.test_cases = vsvm_tlb_cases,
};

kunit_test_suite(vsvm_tlb_suite);
