// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Policy: the arbiter's decisions. A sequence of requests and a clock come in,
 * decisions go out; nothing here sleeps, locks or moves anything.
 */

#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/time64.h>

#include "gpusvm_mgr_policy.h"

/**
 * DOC: Where data lives
 *
 * Two rules keep devices from tearing at the same data, and a third one from
 * tearing at data that cannot be moved.
 *
 * *Residence.* What came to a device stays there for a while before another
 * device may have it. The CPU is never kept waiting: its faults bring the data
 * back at once.
 *
 * *Bouncing.* Moves are remembered, whoever asked for them: devices, CPU faults,
 * HMM on behalf of a device that cannot reach the pages. More than K of them
 * within a window W pin the interval for a time P to the place that all who
 * took part reach: a device's memory, where they are all devices of its hive,
 * else system memory. As long as the pin lasts no device may have the data moved
 * into its memory, so it is mapped where it is. Whoever comes along and does not
 * reach the place of the pin (the CPU, always) moves the data to system memory,
 * and the pin with it.
 *
 * K is odd by default, because of those that do not reach each other's memory: there
 * every other move is one to system memory, and the one too many is of these. With an
 * even K it is one into device memory, which the next access of another one undoes.
 *
 * What is often depends on what a move takes. With W and P alone, data whose moves
 * take W / (K + 1) or longer is never found to bounce, and the devices do nothing
 * but move it. So W is at least a multiple C of the time that a move of the interval
 * takes, up to 5 s, and P longer by the same factor, up to 10 s: of the time until a
 * pin ends, no more than about (K + 1) / (C * P / W) is spent on moves, as long as
 * these take less than 5 s / C. Where moves are quick W and P are what was set.
 *
 * *Back-off.* An attempt that fails has invalidated the interval all the same: it
 * costs every device its mapping, and each of them would try, too, when it faults
 * for that reason. So nobody tries again for a while, which doubles with each
 * failure up to 64 times; the data is mapped where it is. The while is the same for
 * all devices, because what most often keeps data from moving is that somebody
 * holds a page of it.
 *
 * This bounds the moves *into device memory* of one interval, whatever is asked
 * for by however many devices; a W and P that are longer for what moves take only
 * make them fewer. Look at any time of length L = min(W, P): a pin
 * may be in force when it begins, and lets none happen; then there are at most
 * K + 1 moves, because these would be within W of each other, and the last one
 * pins for P, which is beyond the end of L. So a run of length T has at most
 * (K + 1) * (T / L + 1) of them. A move out of device memory, by CPU or
 * eviction, needs one into it before, so all moves are at most twice as many.
 */

/* What a manager uses unless it is told otherwise. */
const struct gpusvm_mgr_policy gpusvm_mgr_default_policy = {
	.residence_ns = (u64)GPUSVM_MGR_RESIDENCE_US * NSEC_PER_USEC,
	.bounce_moves = GPUSVM_MGR_BOUNCE_MOVES,
	.bounce_window_ns = (u64)GPUSVM_MGR_BOUNCE_WINDOW_US * NSEC_PER_USEC,
	.bounce_pin_ns = (u64)GPUSVM_MGR_BOUNCE_PIN_US * NSEC_PER_USEC,
	.bounce_cost = GPUSVM_MGR_BOUNCE_COST,
	.backoff_ns = (u64)GPUSVM_MGR_BACKOFF_US * NSEC_PER_USEC,
};

static bool gpusvm_mgr_place_pinned(const struct gpusvm_mgr_place *place, u64 now)
{
	return now < place->pinned_until;
}

/**
 * gpusvm_mgr_policy_ask() - May data be moved into a device's memory?
 * @policy: The policy.
 * @place: The interval.
 * @location: The device memory that is asked for.
 * @now: The time, nanoseconds, not before that of earlier calls.
 *
 * Changes nothing: an attempt that fails has not been a move. Who performs it
 * tells gpusvm_mgr_policy_moved(), or gpusvm_mgr_policy_failed().
 *
 * Return: the decision.
 */
enum gpusvm_mgr_verdict
gpusvm_mgr_policy_ask(const struct gpusvm_mgr_policy *policy,
		      const struct gpusvm_mgr_place *place,
		      const void *location, u64 now)
{
	if (place->location == location)
		return GPUSVM_MGR_STAYS;
	if (gpusvm_mgr_place_pinned(place, now))
		return GPUSVM_MGR_PINNED;
	if (place->location && now - place->since < policy->residence_ns)
		return GPUSVM_MGR_RESIDES;
	if (policy->backoff_ns && now < place->retry_at)
		return GPUSVM_MGR_BACKS_OFF;
	return GPUSVM_MGR_MOVES;
}

/* W, for an interval whose moves take what they take. */
static u64 gpusvm_mgr_place_window(const struct gpusvm_mgr_policy *policy,
				   const struct gpusvm_mgr_place *place)
{
	const u64 most = (u64)GPUSVM_MGR_BOUNCE_MOST_US * NSEC_PER_USEC;
	u64 window;

	if (!policy->bounce_window_ns)
		return 0;
	if (check_mul_overflow(place->cost_ns, (u64)policy->bounce_cost, &window))
		window = most;
	return max(policy->bounce_window_ns, min(window, most));
}

/* P, likewise. */
static u64 gpusvm_mgr_place_pin(const struct gpusvm_mgr_policy *policy,
				const struct gpusvm_mgr_place *place)
{
	const u64 most = 2 * (u64)GPUSVM_MGR_BOUNCE_MOST_US * NSEC_PER_USEC;
	const u64 window = gpusvm_mgr_place_window(policy, place);

	/* On x86 a quotient of more than 64 bits would be a fault. */
	if (window == policy->bounce_window_ns || policy->bounce_pin_ns >= most)
		return policy->bounce_pin_ns;
	return max(policy->bounce_pin_ns,
		   min(mul_u64_u64_div_u64(policy->bounce_pin_ns, window,
					   policy->bounce_window_ns), most));
}

/* The latest moves are too many, and too close to each other. */
static bool gpusvm_mgr_place_bounces(const struct gpusvm_mgr_policy *policy,
				     const struct gpusvm_mgr_place *place, u64 now)
{
	unsigned int most = min(policy->bounce_moves, GPUSVM_MGR_POLICY_MOVES - 1);
	unsigned int oldest;

	if (place->count <= most)
		return false;

	/* The first of the latest K + 1. */
	oldest = (place->next + GPUSVM_MGR_POLICY_MOVES - most - 1) % GPUSVM_MGR_POLICY_MOVES;
	return now - place->moves[oldest].time < gpusvm_mgr_place_window(policy, place);
}

/* Did all that took part within the window come from one hive? Which? */
static const void *gpusvm_mgr_place_reach(const struct gpusvm_mgr_policy *policy,
					  const struct gpusvm_mgr_place *place, u64 now)
{
	const u64 window = gpusvm_mgr_place_window(policy, place);
	const void *reach = NULL;
	unsigned int i;

	for (i = 0; i < place->count; i++) {
		const struct gpusvm_mgr_move *move = &place->moves[i];

		if (now - move->time >= window)
			continue;
		if (!move->reach || (reach && reach != move->reach))
			return NULL;
		reach = move->reach;
	}
	return reach;
}

/**
 * gpusvm_mgr_policy_moved() - Data was moved
 * @policy: The policy.
 * @place: The interval.
 * @location: The device memory it is in now, NULL: system memory.
 * @owner: Owner of the pages there, NULL for system memory.
 * @reach: Owner of what the one can reach for whom it was moved; NULL: the CPU,
 *	or a device without such.
 * @now: The time, nanoseconds, not before that of earlier calls.
 *
 * Any move is told, wanted or not. What moved nothing is not told.
 *
 * Return: true where this move was one too many, and pinned the interval.
 */
bool gpusvm_mgr_policy_moved(const struct gpusvm_mgr_policy *policy,
			     struct gpusvm_mgr_place *place, const void *location,
			     const void *owner, const void *reach, u64 now)
{
	const void *common;

	place->location = location;
	place->owner = owner;
	place->since = now;
	if (location) {
		place->failures = 0;
		place->retry_at = 0;
	}
	place->moves[place->next] = (struct gpusvm_mgr_move){ .time = now, .reach = reach };
	place->next = (place->next + 1) % GPUSVM_MGR_POLICY_MOVES;
	place->count = min(place->count + 1, GPUSVM_MGR_POLICY_MOVES);

	/* A pin is not made longer by what it lets happen, but it goes along. */
	if (gpusvm_mgr_place_pinned(place, now)) {
		place->pin = NULL;
		return false;
	}
	if (!gpusvm_mgr_place_bounces(policy, place, now))
		return false;

	common = gpusvm_mgr_place_reach(policy, place, now);
	place->pin = common && common == owner ? location : NULL;
	place->pinned_until = now + gpusvm_mgr_place_pin(policy, place);
	return true;
}

/**
 * gpusvm_mgr_policy_took() - Note what a move into device memory took
 * @place: The interval.
 * @ns: How long it took, nanoseconds, the wait for others included: while they wait
 *	devices do nothing else.
 *
 * Of the latest two the quicker one counts: what has once waited for something else,
 * the mmap lock or a CPU, says nothing about the next one.
 *
 * Before gpusvm_mgr_policy_moved() is told of it.
 */
void gpusvm_mgr_policy_took(struct gpusvm_mgr_place *place, u64 ns)
{
	place->cost_ns = min(place->last_ns, ns);
	place->last_ns = ns;
}

/**
 * gpusvm_mgr_policy_failed() - An attempt to move data has failed
 * @policy: The policy.
 * @place: The interval. Nothing of it was moved.
 * @now: The time, nanoseconds, not before that of earlier calls.
 */
void gpusvm_mgr_policy_failed(const struct gpusvm_mgr_policy *policy,
			      struct gpusvm_mgr_place *place, u64 now)
{
	place->retry_at = now + (policy->backoff_ns << place->failures);
	place->failures = min(place->failures + 1, GPUSVM_MGR_POLICY_DOUBLINGS);
}

/**
 * gpusvm_mgr_policy_bound() - Most moves of an interval into device memory
 * @policy: The policy; its bounce detection is on.
 * @run_ns: Length of a run, nanoseconds.
 *
 * See DOC: Where data lives for why it holds.
 *
 * Return: the bound; U64_MAX where nothing bounds it.
 */
u64 gpusvm_mgr_policy_bound(const struct gpusvm_mgr_policy *policy, u64 run_ns)
{
	u64 phase = min(policy->bounce_window_ns, policy->bounce_pin_ns);
	unsigned int most = min(policy->bounce_moves, GPUSVM_MGR_POLICY_MOVES - 1);

	if (!phase)
		return U64_MAX;
	return (u64)(most + 1) * (div64_u64(run_ns, phase) + 1);
}
