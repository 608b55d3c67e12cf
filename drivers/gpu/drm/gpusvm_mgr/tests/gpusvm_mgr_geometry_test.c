// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Tests of the geometry: the chunk that a new range takes, the next smaller
 * one, and the runs that a range falls into. Pure, also for UML.
 */

#include <kunit/test.h>

#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sizes.h>

#include "../gpusvm_mgr_range.h"

/* Chunk sizes beside the default ones: a full stair, and single pages. */
static const unsigned long stair_sizes[] = {
	32 * PAGE_SIZE, 16 * PAGE_SIZE, 8 * PAGE_SIZE, 4 * PAGE_SIZE,
	2 * PAGE_SIZE, PAGE_SIZE,
};

static const struct gpusvm_mgr_chunks stair_chunks = {
	.sizes = stair_sizes,
	.count = ARRAY_SIZE(stair_sizes),
};

static const unsigned long gappy_sizes[] = {
	32 * PAGE_SIZE, 4 * PAGE_SIZE, PAGE_SIZE,
};

static const struct gpusvm_mgr_chunks gappy_chunks = {
	.sizes = gappy_sizes,
	.count = ARRAY_SIZE(gappy_sizes),
};

static const unsigned long page_sizes[] = { PAGE_SIZE };

static const struct gpusvm_mgr_chunks page_chunks = {
	.sizes = page_sizes,
	.count = ARRAY_SIZE(page_sizes),
};

/* An address that is aligned to every size, far from both ends. */
#define BASE	((unsigned long)SZ_1G)
/* The last 2 MiB of what an unsigned long can say. */
#define TOP	(-(unsigned long)SZ_2M)

#if PAGE_SIZE < SZ_64K
#define MIDDLE	((unsigned long)SZ_64K)
#else
#define MIDDLE	PAGE_SIZE
#endif

struct choose_case {
	const char *name;
	unsigned long addr, lower, upper, limit;
	int err;
	unsigned long start, size;
};

static const struct choose_case choose_cases[] = {
	{
		.name = "all fits: the largest",
		.addr = BASE + 5, .lower = 0, .upper = ULONG_MAX,
		.limit = ULONG_MAX, .start = BASE, .size = SZ_2M,
	}, {
		.name = "VMA is exactly the largest chunk",
		.addr = BASE + SZ_1M, .lower = BASE, .upper = BASE + SZ_2M,
		.limit = ULONG_MAX, .start = BASE, .size = SZ_2M,
	}, {
		.name = "last byte of the largest chunk",
		.addr = BASE + SZ_2M - 1, .lower = BASE, .upper = BASE + SZ_2M,
		.limit = ULONG_MAX, .start = BASE, .size = SZ_2M,
	}, {
		.name = "VMA begins a page too late",
		.addr = BASE + SZ_1M, .lower = BASE + PAGE_SIZE,
		.upper = BASE + SZ_2M,
		.limit = ULONG_MAX, .start = BASE + SZ_1M, .size = MIDDLE,
	}, {
		.name = "VMA ends a page too early",
		.addr = BASE + SZ_1M, .lower = BASE,
		.upper = BASE + SZ_2M - PAGE_SIZE,
		.limit = ULONG_MAX, .start = BASE + SZ_1M, .size = MIDDLE,
	}, {
		.name = "VMA is exactly the middle chunk",
		.addr = BASE + MIDDLE + 1, .lower = BASE + MIDDLE,
		.upper = BASE + 2 * MIDDLE,
		.limit = ULONG_MAX, .start = BASE + MIDDLE, .size = MIDDLE,
	}, {
		.name = "VMA is large enough but lies across the chunks",
		.addr = BASE + SZ_2M, .lower = BASE + PAGE_SIZE,
		.upper = BASE + 2 * SZ_2M - PAGE_SIZE,
		.limit = ULONG_MAX, .start = BASE + SZ_2M, .size = MIDDLE,
	}, {
		.name = "first page of an unaligned VMA",
		.addr = BASE + SZ_2M - PAGE_SIZE, .lower = BASE + SZ_2M - PAGE_SIZE,
		.upper = BASE + 2 * SZ_2M,
		.limit = ULONG_MAX, .start = BASE + SZ_2M - PAGE_SIZE,
		.size = PAGE_SIZE,
	}, {
		.name = "last page of an unaligned VMA",
		.addr = BASE + SZ_2M + PAGE_SIZE - 1, .lower = BASE,
		.upper = BASE + SZ_2M + PAGE_SIZE,
		.limit = ULONG_MAX, .start = BASE + SZ_2M, .size = PAGE_SIZE,
	}, {
		.name = "one page of VMA",
		.addr = BASE + 3 * PAGE_SIZE, .lower = BASE + 3 * PAGE_SIZE,
		.upper = BASE + 4 * PAGE_SIZE,
		.limit = ULONG_MAX, .start = BASE + 3 * PAGE_SIZE,
		.size = PAGE_SIZE,
	}, {
		.name = "limit is the largest size",
		.addr = BASE, .lower = 0, .upper = ULONG_MAX,
		.limit = SZ_2M, .start = BASE, .size = SZ_2M,
	}, {
		.name = "limit is just below the largest size",
		.addr = BASE, .lower = 0, .upper = ULONG_MAX,
		.limit = SZ_2M - 1, .start = BASE, .size = MIDDLE,
	}, {
		.name = "limit is a page",
		.addr = BASE + SZ_1M + 7, .lower = 0, .upper = ULONG_MAX,
		.limit = PAGE_SIZE, .start = BASE + SZ_1M, .size = PAGE_SIZE,
	}, {
		.name = "limit is below a page",
		.addr = BASE, .lower = 0, .upper = ULONG_MAX,
		.limit = PAGE_SIZE - 1, .err = -ENOSPC,
	}, {
		.name = "nothing free",
		.addr = BASE, .lower = BASE, .upper = BASE,
		.limit = ULONG_MAX, .err = -ENOSPC,
	}, {
		.name = "address below the bounds",
		.addr = BASE - 1, .lower = BASE, .upper = BASE + SZ_2M,
		.limit = ULONG_MAX, .err = -ENOSPC,
	}, {
		.name = "address at the upper bound",
		.addr = BASE + SZ_2M, .lower = BASE, .upper = BASE + SZ_2M,
		.limit = ULONG_MAX, .err = -ENOSPC,
	}, {
		.name = "bounds turned round",
		.addr = BASE + SZ_1M, .lower = BASE + SZ_2M, .upper = BASE,
		.limit = ULONG_MAX, .err = -ENOSPC,
	}, {
		.name = "address 0",
		.addr = 0, .lower = 0, .upper = SZ_2M,
		.limit = ULONG_MAX, .start = 0, .size = SZ_2M,
	}, {
		.name = "top: the last chunk would end beyond ULONG_MAX",
		.addr = TOP + SZ_1M, .lower = 0, .upper = ULONG_MAX,
		.limit = ULONG_MAX, .start = TOP + SZ_1M, .size = MIDDLE,
	}, {
		.name = "top: the last page would end beyond ULONG_MAX",
		.addr = ULONG_MAX - 1, .lower = 0, .upper = ULONG_MAX,
		.limit = ULONG_MAX, .err = -ENOSPC,
	}, {
		.name = "top: the last page that can end",
		.addr = ULONG_MAX - PAGE_SIZE, .lower = TOP,
		.upper = -PAGE_SIZE,
		.limit = ULONG_MAX, .start = -2 * PAGE_SIZE, .size = PAGE_SIZE,
	}, {
		.name = "top: the last large chunk that can end",
		.addr = TOP - 1, .lower = 0, .upper = ULONG_MAX,
		.limit = ULONG_MAX, .start = TOP - SZ_2M, .size = SZ_2M,
	},
};

KUNIT_ARRAY_PARAM_DESC(choose, choose_cases, name);

static void test_choose(struct kunit *test)
{
	const struct choose_case *c = test->param_value;
	unsigned long start = 1, end = 1;
	int err;

	err = gpusvm_mgr_chunk_choose(&gpusvm_mgr_default_chunks, c->addr,
				      c->lower, c->upper, c->limit, &start, &end);
	KUNIT_ASSERT_EQ(test, err, c->err);
	if (err)
		return;
	KUNIT_EXPECT_EQ(test, start, c->start);
	KUNIT_EXPECT_EQ(test, end, c->start + c->size);
}

/* What is promised of the default sizes, whatever they are. */
static void test_default_sizes(struct kunit *test)
{
	const struct gpusvm_mgr_chunks *chunks = &gpusvm_mgr_default_chunks;
	unsigned int i;

	KUNIT_ASSERT_GE(test, chunks->count, 1);
	for (i = 0; i < chunks->count; i++) {
		KUNIT_EXPECT_TRUE(test, is_power_of_2(chunks->sizes[i]));
		if (i)
			KUNIT_EXPECT_LT(test, chunks->sizes[i], chunks->sizes[i - 1]);
	}
	KUNIT_EXPECT_EQ(test, chunks->sizes[0], (unsigned long)SZ_2M);
	KUNIT_EXPECT_EQ(test, chunks->sizes[chunks->count - 1], PAGE_SIZE);
}

struct chunks_case {
	const char *name;
	const struct gpusvm_mgr_chunks *chunks;
	u64 seed;
};

static const struct chunks_case chunks_cases[] = {
	{ "default", &gpusvm_mgr_default_chunks, 0x5eed0001 },
	{ "stair", &stair_chunks, 0x5eed0002 },
	{ "gappy", &gappy_chunks, 0x5eed0003 },
	{ "pages", &page_chunks, 0x5eed0004 },
};

KUNIT_ARRAY_PARAM_DESC(chunks, chunks_cases, name);

/*
 * For each size: bounds that are that chunk and no more; bounds that lack a
 * page on one side; and a limit of that size in endless bounds.
 */
static void test_every_size(struct kunit *test)
{
	const struct chunks_case *c = test->param_value;
	const struct gpusvm_mgr_chunks *chunks = c->chunks;
	unsigned long start, end;
	unsigned int i;

	for (i = 0; i < chunks->count; i++) {
		unsigned long size = chunks->sizes[i];
		/* Aligned to this size and to no larger one. */
		unsigned long first = BASE + size;
		unsigned long last = first + size - PAGE_SIZE;

		KUNIT_ASSERT_EQ(test, 0,
				gpusvm_mgr_chunk_choose(chunks, last, first,
							first + size, ULONG_MAX,
							&start, &end));
		KUNIT_EXPECT_EQ(test, start, first);
		KUNIT_EXPECT_EQ(test, end, first + size);

		KUNIT_ASSERT_EQ(test, 0,
				gpusvm_mgr_chunk_choose(chunks, last, 0, ULONG_MAX,
							size, &start, &end));
		KUNIT_EXPECT_EQ(test, start, first);
		KUNIT_EXPECT_EQ(test, end, first + size);

		if (size == PAGE_SIZE)
			continue;

		KUNIT_ASSERT_EQ(test, 0,
				gpusvm_mgr_chunk_choose(chunks, last,
							first + PAGE_SIZE,
							first + size, ULONG_MAX,
							&start, &end));
		KUNIT_EXPECT_LT(test, end - start, size);
		KUNIT_ASSERT_EQ(test, 0,
				gpusvm_mgr_chunk_choose(chunks, first, first,
							last, ULONG_MAX,
							&start, &end));
		KUNIT_EXPECT_LT(test, end - start, size);
	}
}

static void test_chunk_smaller(struct kunit *test)
{
	const struct chunks_case *c = test->param_value;
	const struct gpusvm_mgr_chunks *chunks = c->chunks;
	unsigned int i;

	for (i = 0; i < chunks->count; i++) {
		unsigned long size = chunks->sizes[i];
		unsigned long next = i + 1 < chunks->count ? chunks->sizes[i + 1] : 0;

		KUNIT_EXPECT_EQ(test, gpusvm_mgr_chunk_smaller(chunks, size), next);
		/* Between two sizes, as a range at a gap never is, but may ask. */
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_chunk_smaller(chunks, size + 1), size);
	}
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_chunk_smaller(chunks, ULONG_MAX),
			chunks->sizes[0]);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_chunk_smaller(chunks, 0), 0);

	/* A fault that shrinks step by step tries each size once, and ends. */
	for (i = 0; i < chunks->count; i++) {
		unsigned long limit = i ? gpusvm_mgr_chunk_smaller(chunks,
								   chunks->sizes[i - 1])
					: ULONG_MAX;
		unsigned long start, end;

		KUNIT_ASSERT_EQ(test, 0,
				gpusvm_mgr_chunk_choose(chunks, BASE, 0, ULONG_MAX,
							limit, &start, &end));
		KUNIT_EXPECT_EQ(test, end - start, chunks->sizes[i]);
	}
}

/*
 * The oracle: of all sizes and all naturally aligned chunks of a small world
 * the largest one that contains the page and lies within the bounds. In pages,
 * counted from the begin of the world, so that it cannot overflow.
 */
static bool oracle_choose(const struct gpusvm_mgr_chunks *chunks, unsigned int world,
			  unsigned int page, unsigned int lower, unsigned int upper,
			  unsigned int limit, unsigned int *first, unsigned int *count)
{
	unsigned int i, at;

	*count = 0;
	for (i = 0; i < chunks->count; i++) {
		unsigned int size = chunks->sizes[i] / PAGE_SIZE;

		if (size > limit || size < *count)
			continue;
		for (at = 0; at + size <= world; at += size) {
			if (at <= page && page < at + size && at >= lower &&
			    at + size <= upper) {
				*first = at;
				*count = size;
			}
		}
	}

	return *count;
}

/* Random bounds, also where the world ends with the last address. */
static void test_choose_random(struct kunit *test)
{
	const struct chunks_case *c = test->param_value;
	unsigned int largest = c->chunks->sizes[0] / PAGE_SIZE;
	unsigned int world = 4 * largest;
	const unsigned long bases[] = {
		0, BASE, -(unsigned long)world * PAGE_SIZE,
	};
	unsigned int chosen = 0, refused = 0;
	struct rnd_state rnd;
	unsigned int i;

	prandom_seed_state(&rnd, c->seed);
	for (i = 0; i < 5000; i++) {
		unsigned long base = bases[prandom_u32_state(&rnd) % ARRAY_SIZE(bases)];
		/* Where the world ends with the last address, so does its bound. */
		unsigned int pages = base + world * PAGE_SIZE ? world : world - 1;
		unsigned int lower = prandom_u32_state(&rnd) % pages;
		unsigned int upper = lower + prandom_u32_state(&rnd) % (pages - lower + 1);
		unsigned int page = prandom_u32_state(&rnd) % pages;
		unsigned int limit = 1 + prandom_u32_state(&rnd) % (2 * largest);
		unsigned long offset = prandom_u32_state(&rnd) % PAGE_SIZE;
		unsigned long start = 0, end = 0;
		unsigned int first, count;
		bool possible;
		int err;

		/* Mostly a page within the bounds, as a fault has it. */
		if (upper > lower && prandom_u32_state(&rnd) % 8)
			page = lower + prandom_u32_state(&rnd) % (upper - lower);

		possible = oracle_choose(c->chunks, pages, page, lower, upper,
					 limit, &first, &count);
		err = gpusvm_mgr_chunk_choose(c->chunks,
					      base + page * PAGE_SIZE + offset,
					      base + lower * PAGE_SIZE,
					      base + upper * PAGE_SIZE,
					      limit * PAGE_SIZE, &start, &end);

		KUNIT_ASSERT_EQ_MSG(test, err, possible ? 0 : -ENOSPC,
				    "%u: page %u of [%u, %u) limit %u at 0x%lx",
				    i, page, lower, upper, limit, base);
		if (!possible) {
			refused++;
			continue;
		}
		chosen++;
		KUNIT_ASSERT_EQ_MSG(test, start, base + first * PAGE_SIZE,
				    "%u: page %u of [%u, %u) limit %u at 0x%lx",
				    i, page, lower, upper, limit, base);
		KUNIT_ASSERT_EQ_MSG(test, end, base + (first + count) * PAGE_SIZE,
				    "%u: page %u of [%u, %u) limit %u at 0x%lx",
				    i, page, lower, upper, limit, base);
	}

	/* The draw is worth something only if it has both. */
	KUNIT_EXPECT_GT(test, chosen, 500);
	KUNIT_EXPECT_GT(test, refused, 100);
}

struct run_case {
	const char *name;
	unsigned long pfn, max;
	unsigned int map_order, order;
};

static const struct run_case run_cases[] = {
	{ "single page", 5, 512, 0, 0 },
	{ "single page, last of the range", 5, 1, 0, 0 },
	{ "large mapping from its begin", 1024, 512, 9, 9 },
	{ "large mapping, range goes on behind it", 1024, 4096, 9, 9 },
	{ "large mapping, range ends a page before it", 1024, 511, 9, 8 },
	{ "large mapping, range is a page", 1024, 1, 9, 0 },
	{ "large mapping, three pages left", 1024, 3, 9, 1 },
	{ "second page of a large mapping", 1025, 4096, 9, 8 },
	{ "middle of a large mapping", 1024 + 256, 4096, 9, 8 },
	{ "just behind the middle", 1024 + 257, 4096, 9, 7 },
	{ "last page of a large mapping", 1024 + 511, 4096, 9, 0 },
	{ "middle, range ends first", 1024 + 256, 100, 9, 6 },
	{ "16 pages", 0x7f0, 4096, 4, 4 },
	{ "a giant mapping", 1UL << 18, 512, 18, 9 },
	{ "a giant mapping, all of it", 1UL << 18, 1UL << 18, 18, 18 },
	{ "pfn 0", 0, 512, 9, 9 },
};

KUNIT_ARRAY_PARAM_DESC(run, run_cases, name);

static void test_run_order(struct kunit *test)
{
	const struct run_case *c = test->param_value;

	KUNIT_EXPECT_EQ(test, gpusvm_mgr_run_order(c->pfn, c->map_order, c->max),
			c->order);
}

/*
 * A range over random CPU mappings, clipped at both of its ends: the runs cover
 * it exactly, none of them reaches across two mappings, and none could be of
 * the next order. Contiguity is counted page by page.
 */
static void test_run_walk_random(struct kunit *test)
{
	enum { PAGES = 512 };
	unsigned long *pfns = kunit_kcalloc(test, PAGES, sizeof(*pfns), GFP_KERNEL);
	u8 *orders = kunit_kcalloc(test, PAGES, sizeof(*orders), GFP_KERNEL);
	/* Which mapping a page is of: neighbours may be contiguous by chance. */
	u16 *ids = kunit_kcalloc(test, PAGES, sizeof(*ids), GFP_KERNEL);
	unsigned int round, clipped = 0;
	struct rnd_state rnd;

	KUNIT_ASSERT_NOT_NULL(test, pfns);
	KUNIT_ASSERT_NOT_NULL(test, orders);
	KUNIT_ASSERT_NOT_NULL(test, ids);
	prandom_seed_state(&rnd, 0x5eed0005);

	for (round = 0; round < 200; round++) {
		unsigned long page = 0, covered = 0;
		u16 id = 0;

		while (page < PAGES) {
			unsigned int order = prandom_u32_state(&rnd) % 11;
			unsigned long base =
				(1UL + prandom_u32_state(&rnd) % 1000) << order;
			/* The first one may begin before the range. */
			unsigned long skip = page ? 0 :
				prandom_u32_state(&rnd) & ((1UL << order) - 1);
			unsigned long i;

			for (i = skip; i < 1UL << order && page < PAGES; i++) {
				pfns[page] = base + i;
				orders[page] = order;
				ids[page++] = id;
			}
			clipped += skip || i < 1UL << order;
			id++;
		}

		for (page = 0; page < PAGES; ) {
			unsigned int order =
				gpusvm_mgr_run_order(pfns[page], orders[page],
						     PAGES - page);
			unsigned long contiguous = 1;

			while (page + contiguous < PAGES &&
			       ids[page + contiguous] == ids[page])
				contiguous++;

			KUNIT_ASSERT_LE(test, 1UL << order, contiguous);
			KUNIT_ASSERT_GT(test, 2UL << order, contiguous);
			covered += 1UL << order;
			page += 1UL << order;
		}
		KUNIT_ASSERT_EQ(test, covered, PAGES);
	}

	KUNIT_EXPECT_GT(test, clipped, 0);
}

static struct kunit_case geometry_cases[] = {
	KUNIT_CASE(test_default_sizes),
	KUNIT_CASE_PARAM(test_choose, choose_gen_params),
	KUNIT_CASE_PARAM(test_every_size, chunks_gen_params),
	KUNIT_CASE_PARAM(test_chunk_smaller, chunks_gen_params),
	KUNIT_CASE_PARAM(test_choose_random, chunks_gen_params),
	KUNIT_CASE_PARAM(test_run_order, run_gen_params),
	KUNIT_CASE(test_run_walk_random),
	{}
};

static struct kunit_suite geometry_suite = {
	.name = "drm_gpusvm_mgr_geometry",
	.test_cases = geometry_cases,
};

kunit_test_suite(geometry_suite);
