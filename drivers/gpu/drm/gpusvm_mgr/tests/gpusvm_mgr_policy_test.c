// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Tests of the arbiter's decisions: a clock of our own, requests in, decisions
 * out. Pure, also for UML.
 */

#include <kunit/test.h>

#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/prandom.h>
#include <linux/time64.h>

#include "../gpusvm_mgr_policy.h"

#define MS		((u64)NSEC_PER_MSEC)

/* Two GPUs of one hive, one of another; only their addresses count. */
static const char gpu_a, gpu_b, gpu_x;
static const char hive_ab, hive_x;

static const struct gpusvm_mgr_policy policy = {
	.residence_ns = 10 * MS,
	.bounce_moves = 4,
	.bounce_window_ns = 100 * MS,
	.bounce_pin_ns = 200 * MS,
	.backoff_ns = 10 * MS,
};

static bool to_gpu(struct gpusvm_mgr_place *place, const char *gpu, u64 now)
{
	const char *hive = gpu == &gpu_x ? &hive_x : &hive_ab;

	return gpusvm_mgr_policy_moved(&policy, place, gpu, hive, hive, now);
}

static bool to_system(struct gpusvm_mgr_place *place, u64 now)
{
	return gpusvm_mgr_policy_moved(&policy, place, NULL, NULL, NULL, now);
}

static void test_first_request(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};

	/* Also at the beginning of time. */
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, 0),
			GPUSVM_MGR_MOVES);
	KUNIT_EXPECT_FALSE(test, to_gpu(&place, &gpu_a, 0));
	KUNIT_EXPECT_PTR_EQ(test, place.location, (const void *)&gpu_a);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, 1),
			GPUSVM_MGR_STAYS);
}

static void test_asking_changes_nothing(struct kunit *test)
{
	struct gpusvm_mgr_place place = {}, before;
	unsigned int i;

	to_gpu(&place, &gpu_a, 5 * MS);
	before = place;
	for (i = 0; i < 100; i++)
		gpusvm_mgr_policy_ask(&policy, &place, &gpu_b, (5 + i) * MS);
	KUNIT_EXPECT_MEMEQ(test, &place, &before, sizeof(place));
}

static void test_residence(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};

	to_gpu(&place, &gpu_a, 1000 * MS);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_b, 1000 * MS),
			GPUSVM_MGR_RESIDES);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_x, 1010 * MS - 1),
			GPUSVM_MGR_RESIDES);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_b, 1010 * MS),
			GPUSVM_MGR_MOVES);

	/* The CPU took it: it is in system memory, where nothing resides. */
	to_system(&place, 1001 * MS);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_b, 1001 * MS),
			GPUSVM_MGR_MOVES);
}

static void test_residence_off(struct kunit *test)
{
	struct gpusvm_mgr_policy off = policy;
	struct gpusvm_mgr_place place = {};

	off.residence_ns = 0;
	to_gpu(&place, &gpu_a, 1000 * MS);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&off, &place, &gpu_b, 1000 * MS),
			GPUSVM_MGR_MOVES);
}

/* GPU and CPU in turn, a move each 10 ms: the fifth one is too many. */
static u64 bounce_with_cpu(struct kunit *test, struct gpusvm_mgr_place *place, u64 now)
{
	unsigned int i;

	for (i = 0; i < 5; i++, now += 10 * MS) {
		bool pinned = i % 2 ? to_system(place, now) : to_gpu(place, &gpu_a, now);

		KUNIT_EXPECT_EQ_MSG(test, pinned, i == 4, "move %u", i);
	}
	return now - 10 * MS;
}

static void test_pin_to_system(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};
	u64 now = bounce_with_cpu(test, &place, 7 * MS);

	/* It is on A, and A may go on using it there. */
	KUNIT_EXPECT_NULL(test, place.pin);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now),
			GPUSVM_MGR_STAYS);
	to_system(&place, now + MS);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now + MS),
			GPUSVM_MGR_PINNED);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_x, now + 199 * MS),
			GPUSVM_MGR_PINNED);
	/* The move within the pin has not made it longer. */
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now + 200 * MS),
			GPUSVM_MGR_MOVES);
}

static void test_pin_to_hive(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};
	u64 now = 0;
	unsigned int i;

	for (i = 0; i < 5; i++, now += 15 * MS)
		KUNIT_EXPECT_EQ(test, to_gpu(&place, i % 2 ? &gpu_b : &gpu_a, now), i == 4);
	now -= 15 * MS;

	/* On A, which B reaches over the link: there it stays, longer than it resides. */
	KUNIT_EXPECT_PTR_EQ(test, place.pin, (const void *)&gpu_a);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_b, now + 100 * MS),
			GPUSVM_MGR_PINNED);

	/* The CPU takes it, and the pin goes along: A may not fetch it again. */
	KUNIT_EXPECT_FALSE(test, to_system(&place, now + 101 * MS));
	KUNIT_EXPECT_NULL(test, place.pin);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now + 102 * MS),
			GPUSVM_MGR_PINNED);
}

static void test_two_hives(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};
	unsigned int i;

	for (i = 0; i < 5; i++)
		to_gpu(&place, i % 2 ? &gpu_x : &gpu_a, i * 15 * MS);
	KUNIT_EXPECT_NULL(test, place.pin);
	KUNIT_EXPECT_GT(test, place.pinned_until, 0);
}

/* Two that do not reach each other's memory: shared by the CPU's, and not copied again. */
static void test_default_apart(struct kunit *test)
{
	const struct gpusvm_mgr_policy *p = &gpusvm_mgr_default_policy;
	struct gpusvm_mgr_place place = {};
	unsigned int in = 0;
	u64 now = 0;

	for (;;) {
		const char *gpu = in % 2 ? &gpu_x : &gpu_a;
		const char *hive = in % 2 ? &hive_x : &hive_ab;

		now += 15 * MS;
		/* First what another one has comes back, on its behalf. */
		if (place.location && gpusvm_mgr_policy_moved(p, &place, NULL, NULL, hive, now))
			break;
		KUNIT_ASSERT_EQ(test, gpusvm_mgr_policy_ask(p, &place, gpu, now),
				GPUSVM_MGR_MOVES);
		in++;
		KUNIT_ASSERT_FALSE(test, gpusvm_mgr_policy_moved(p, &place, gpu, hive, hive,
								 now));
	}
	KUNIT_EXPECT_EQ(test, in, 2);
	KUNIT_EXPECT_NULL(test, place.location);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(p, &place, &gpu_a, now + MS),
			GPUSVM_MGR_PINNED);
}

static void test_slow_moves(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};
	unsigned int i;

	/* Four within any 100 ms, for ever: that is no bouncing. */
	for (i = 0; i < 1000; i++)
		KUNIT_ASSERT_FALSE(test, to_gpu(&place, i % 2 ? &gpu_b : &gpu_a,
						i * 25 * MS));
}

/* A device each time that the residence has passed; a move takes so long. */
static unsigned int slow_bounce(const struct gpusvm_mgr_policy *p, u64 cost, u64 run_ns,
				struct gpusvm_mgr_place *place)
{
	unsigned int moves = 0;
	u64 now = 0;

	*place = (struct gpusvm_mgr_place){};
	while (now < run_ns) {
		const char *gpu = place->location == &gpu_a ? &gpu_b : &gpu_a;

		if (gpusvm_mgr_policy_ask(p, place, gpu, now) != GPUSVM_MGR_MOVES) {
			now += 5 * MS;
			continue;
		}
		moves++;
		now += cost;
		gpusvm_mgr_policy_took(place, cost);
		gpusvm_mgr_policy_moved(p, place, gpu, &hive_ab, &hive_ab, now);
	}
	return moves;
}

/* Data whose moves take long bounces, too, however far they are apart for that reason. */
static void test_slow_bounce(struct kunit *test)
{
	static const unsigned int costs[] = { 1, 2, 10, 20, 100, 1000 };
	const u64 run = 100ULL * NSEC_PER_SEC;
	struct gpusvm_mgr_policy with = policy;
	struct gpusvm_mgr_place place;
	unsigned int i;

	with.bounce_cost = 256;
	for (i = 0; i < ARRAY_SIZE(costs); i++) {
		const u64 cost = costs[i] * MS;
		unsigned int moves = slow_bounce(&with, cost, run, &place);
		u64 window = clamp(256 * cost, 100 * MS, 5000 * MS);

		KUNIT_EXPECT_EQ(test, place.cost_ns, cost);
		/* K + 1, one residence each, and a pin; begun once more at the end. */
		KUNIT_EXPECT_LE_MSG(test, moves, 5 * (div64_u64(run, 2 * window) + 1),
				    "%u ms", costs[i]);
		KUNIT_EXPECT_GE_MSG(test, moves, 5, "%u ms", costs[i]);
		KUNIT_EXPECT_GT_MSG(test, place.pinned_until, 0, "%u ms", costs[i]);
	}

	/* What it is for: without, nothing is found, and all the time goes into moves. */
	KUNIT_EXPECT_GT(test, slow_bounce(&policy, 20 * MS, run, &place), 3000);
	KUNIT_EXPECT_EQ(test, place.pinned_until, 0);
	/* Where moves are quick it changes nothing. */
	KUNIT_EXPECT_EQ(test, slow_bounce(&with, 390 * NSEC_PER_USEC, run, &place),
			slow_bounce(&policy, 390 * NSEC_PER_USEC, run, &place));
	/* And not where bouncing is not looked for. */
	with.bounce_window_ns = 0;
	KUNIT_EXPECT_GT(test, slow_bounce(&with, 20 * MS, run, &place), 3000);
}

/* A pin that is long for that reason, and one that is long of itself. */
static void test_slow_pin(struct kunit *test)
{
	static const struct {
		u64 window, pin, cost, expect;
	} cases[] = {
		{ 100, 200, 0, 200 },
		{ 100, 200, 2, 1024 },
		{ 100, 200, 100, 10000 },
		{ 100, 20000, 100, 20000 },
		{ 1, 5000, 100, 10000 },
		{ 6000, 50, 1000, 50 },
		/* More than 64 bits would be needed for what it is less than. */
		{ 1, 4294967, 20, 4294967 },
	};
	unsigned int i, move;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct gpusvm_mgr_policy p = {
			.bounce_moves = 1,
			.bounce_window_ns = cases[i].window * MS,
			.bounce_pin_ns = cases[i].pin * MS,
			.bounce_cost = 256,
		};
		struct gpusvm_mgr_place place = {};

		for (move = 0; move < 2; move++) {
			gpusvm_mgr_policy_took(&place, cases[i].cost * MS);
			gpusvm_mgr_policy_moved(&p, &place, &gpu_a, &hive_ab, &hive_ab, 0);
		}
		KUNIT_EXPECT_EQ_MSG(test, place.pinned_until, cases[i].expect * MS, "case %u", i);
	}
}

/* Once a move has waited for something else: that is no reason to pin anything. */
static void test_slow_once(struct kunit *test)
{
	struct gpusvm_mgr_policy with = policy;
	unsigned int slow, i;

	with.bounce_cost = 256;
	for (slow = 0; slow < 12; slow++) {
		struct gpusvm_mgr_place place = {};

		for (i = 0; i < 12; i++) {
			gpusvm_mgr_policy_took(&place, i == slow ? 200 * MS : MS / 10);
			KUNIT_EXPECT_FALSE_MSG(test,
					       gpusvm_mgr_policy_moved(&with, &place, &gpu_a,
								       &hive_ab, &hive_ab,
								       i * 1000 * MS),
					       "move %u, slow is %u", i, slow);
		}
	}
}

static void test_forgets(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};
	unsigned int i;

	/* The CPU took part, but a window ago: only the hive is left. */
	to_system(&place, 0);
	for (i = 0; i < 5; i++)
		to_gpu(&place, i % 2 ? &gpu_b : &gpu_a, 100 * MS + i * 15 * MS);
	KUNIT_EXPECT_PTR_EQ(test, place.pin, (const void *)&gpu_a);
}

/* After a failure nobody tries again for a while, each time twice as long. */
static void test_backoff(struct kunit *test)
{
	struct gpusvm_mgr_place place = {};
	u64 now = 5 * MS, wait = 10 * MS;
	unsigned int i;

	for (i = 0; i < 10; i++) {
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now),
				GPUSVM_MGR_MOVES);
		gpusvm_mgr_policy_failed(&policy, &place, now);
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a,
							    now + wait - 1),
				GPUSVM_MGR_BACKS_OFF);
		/* For all devices. */
		KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_x, now),
				GPUSVM_MGR_BACKS_OFF);
		now += wait;
		if (wait < 640 * MS)
			wait *= 2;
	}

	/* Forgotten with the first that does not fail; the way back is none. */
	KUNIT_EXPECT_FALSE(test, to_gpu(&place, &gpu_a, now));
	to_system(&place, ++now);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now),
			GPUSVM_MGR_MOVES);
	gpusvm_mgr_policy_failed(&policy, &place, now);
	to_system(&place, ++now);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now),
			GPUSVM_MGR_BACKS_OFF);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&policy, &place, &gpu_a, now + 10 * MS),
			GPUSVM_MGR_MOVES);
}

static void test_backoff_off(struct kunit *test)
{
	struct gpusvm_mgr_policy off = policy;
	struct gpusvm_mgr_place place = {};

	off.backoff_ns = 0;
	gpusvm_mgr_policy_failed(&off, &place, 5 * MS);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&off, &place, &gpu_a, 5 * MS),
			GPUSVM_MGR_MOVES);
	/* Also where it was on when it failed. */
	gpusvm_mgr_policy_failed(&policy, &place, 5 * MS);
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_ask(&off, &place, &gpu_a, 5 * MS),
			GPUSVM_MGR_MOVES);
}

/*
 * A storm: at each step somebody wants the data, at random, and gets it where the
 * policy lets him; the CPU always does. Returns the moves into device memory.
 */
static u64 storm(const struct gpusvm_mgr_policy *p, u32 seed, unsigned int cpu_share,
		 u64 run_ns, unsigned int *pins)
{
	static const char * const gpus[] = { &gpu_a, &gpu_b, &gpu_x };
	struct gpusvm_mgr_place place = {};
	struct rnd_state rnd;
	u64 now = 0, moves = 0;

	*pins = 0;
	prandom_seed_state(&rnd, seed);
	while (now < run_ns) {
		now += prandom_u32_state(&rnd) % (2 * (u32)NSEC_PER_MSEC);
		if (prandom_u32_state(&rnd) % 100 < cpu_share) {
			if (place.location)
				*pins += gpusvm_mgr_policy_moved(p, &place, NULL, NULL,
								 NULL, now);
		} else {
			const char *gpu = gpus[prandom_u32_state(&rnd) % 3];
			const char *hive = gpu == &gpu_x ? &hive_x : &hive_ab;

			if (gpusvm_mgr_policy_ask(p, &place, gpu, now) != GPUSVM_MGR_MOVES)
				continue;
			moves++;
			*pins += gpusvm_mgr_policy_moved(p, &place, gpu, hive, hive, now);
		}
	}
	return moves;
}

struct storm_case {
	const char *name;
	unsigned int cpu_share;
	unsigned int bounce_moves;
	u64 window_ms, pin_ms, residence_ms;
};

static const struct storm_case storm_cases[] = {
	{ "defaults, no CPU", 0, 4, 100, 200, 10 },
	{ "defaults, some CPU", 20, 4, 100, 200, 10 },
	{ "defaults, mostly CPU", 80, 4, 100, 200, 10 },
	{ "no residence", 30, 4, 100, 200, 0 },
	{ "pin shorter than window", 30, 4, 100, 30, 0 },
	{ "pin as long as window", 30, 2, 50, 50, 5 },
	{ "a single move", 50, 0, 100, 200, 0 },
	{ "as many as can be remembered", 30, 15, 300, 100, 0 },
};

KUNIT_ARRAY_PARAM_DESC(storm, storm_cases, name);

static void test_bound(struct kunit *test)
{
	const struct storm_case *c = test->param_value;
	struct gpusvm_mgr_policy p = {
		.residence_ns = c->residence_ms * MS,
		.bounce_moves = c->bounce_moves,
		.bounce_window_ns = c->window_ms * MS,
		.bounce_pin_ns = c->pin_ms * MS,
	};
	const u64 run = 20 * NSEC_PER_SEC;
	u64 bound = gpusvm_mgr_policy_bound(&p, run), moves;
	unsigned int pins;
	u32 seed;

	for (seed = 1; seed <= 20; seed++) {
		moves = storm(&p, seed, c->cpu_share, run, &pins);
		KUNIT_EXPECT_LE_MSG(test, moves, bound, "seed %u", seed);
		KUNIT_EXPECT_GT_MSG(test, moves, 0, "seed %u", seed);
		KUNIT_EXPECT_GT_MSG(test, pins, 0, "seed %u", seed);
	}
}

/* The other side: without the rules the same storm breaks the bound. */
static void test_bound_needs_rules(struct kunit *test)
{
	const u64 run = 20 * NSEC_PER_SEC;
	struct gpusvm_mgr_policy p = policy;
	u64 bound = gpusvm_mgr_policy_bound(&policy, run), with, without;
	unsigned int pins;

	p.bounce_window_ns = 0;
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_bound(&p, run), U64_MAX);

	/* Residence alone slows it down, but not enough where the CPU joins in. */
	with = storm(&p, 1, 30, run, &pins);
	KUNIT_EXPECT_GT(test, with, bound);
	KUNIT_EXPECT_EQ(test, pins, 0);

	/* Nor does anything else hold it. */
	p.residence_ns = 0;
	without = storm(&p, 1, 30, run, &pins);
	KUNIT_EXPECT_GT(test, without, with);
}

static void test_default_policy(struct kunit *test)
{
	const struct gpusvm_mgr_policy *p = &gpusvm_mgr_default_policy;

	KUNIT_EXPECT_EQ(test, p->bounce_moves, 3);
	KUNIT_EXPECT_EQ(test, p->bounce_window_ns, 100 * MS);
	KUNIT_EXPECT_EQ(test, p->bounce_pin_ns, 200 * MS);
	KUNIT_EXPECT_GT(test, p->residence_ns, 0);
	KUNIT_EXPECT_GT(test, p->bounce_cost, 0);
	KUNIT_EXPECT_GT(test, p->backoff_ns, 0);
	/* (K + 1) * (T / min(W, P) + 1) */
	KUNIT_EXPECT_EQ(test, gpusvm_mgr_policy_bound(p, NSEC_PER_SEC), 4 * 11);
}

static struct kunit_case policy_cases[] = {
	KUNIT_CASE(test_first_request),
	KUNIT_CASE(test_asking_changes_nothing),
	KUNIT_CASE(test_residence),
	KUNIT_CASE(test_residence_off),
	KUNIT_CASE(test_pin_to_system),
	KUNIT_CASE(test_pin_to_hive),
	KUNIT_CASE(test_two_hives),
	KUNIT_CASE(test_default_apart),
	KUNIT_CASE(test_slow_moves),
	KUNIT_CASE(test_slow_bounce),
	KUNIT_CASE(test_slow_pin),
	KUNIT_CASE(test_slow_once),
	KUNIT_CASE(test_forgets),
	KUNIT_CASE(test_backoff),
	KUNIT_CASE(test_backoff_off),
	KUNIT_CASE_PARAM(test_bound, storm_gen_params),
	KUNIT_CASE(test_bound_needs_rules),
	KUNIT_CASE(test_default_policy),
	{}
};

static struct kunit_suite policy_suite = {
	.name = "drm_gpusvm_mgr_policy",
	.test_cases = policy_cases,
};

kunit_test_suite(policy_suite);
