/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_POLICY_H__
#define __GPUSVM_MGR_POLICY_H__

#include <linux/types.h>

/* Most moves that bounce detection can look back on. */
#define GPUSVM_MGR_POLICY_MOVES	16

/* What a manager uses unless it is told otherwise, microseconds and moves. */
#define GPUSVM_MGR_RESIDENCE_US		10000
#define GPUSVM_MGR_BOUNCE_MOVES		3
#define GPUSVM_MGR_BOUNCE_WINDOW_US	100000
#define GPUSVM_MGR_BOUNCE_PIN_US	200000
#define GPUSVM_MGR_BOUNCE_COST		256
#define GPUSVM_MGR_BACKOFF_US		10000

/* The cost of moves does not make W longer than that, nor P than twice that. */
#define GPUSVM_MGR_BOUNCE_MOST_US	5000000

/* How often the back-off after failures is doubled. */
#define GPUSVM_MGR_POLICY_DOUBLINGS	6

/**
 * struct gpusvm_mgr_policy - What the arbiter goes by
 * @residence_ns: How long data stays on a device before another device may
 *	have it; 0: not at all.
 * @bounce_moves: Moves within @bounce_window_ns that are no bouncing yet (K), up to
 *	%GPUSVM_MGR_POLICY_MOVES - 1.
 * @bounce_window_ns: How far bounce detection looks back (W); 0: it is off.
 * @bounce_pin_ns: How long an interval that bounces is pinned (P).
 * @bounce_cost: W is so many times at least what a move of the interval takes, and P
 *	longer in proportion, both up to %GPUSVM_MGR_BOUNCE_MOST_US and twice that; 0:
 *	whatever it takes.
 * @backoff_ns: How long nobody tries again after a move that failed; doubled with
 *	each further failure; 0: not at all.
 */
struct gpusvm_mgr_policy {
	u64 residence_ns;
	unsigned int bounce_moves;
	u64 bounce_window_ns;
	u64 bounce_pin_ns;
	unsigned int bounce_cost;
	u64 backoff_ns;
};

/**
 * struct gpusvm_mgr_move - A move of an interval, as it was seen
 * @time: When, nanoseconds.
 * @reach: Who can reach what the move was made for: an owner of device-private
 *	pages; NULL: the CPU, or a device that reaches system memory only.
 */
struct gpusvm_mgr_move {
	u64 time;
	const void *reach;
};

/**
 * struct gpusvm_mgr_place - Where the data of an interval is, and how it got there
 * @location: The device memory, NULL: system memory.
 * @owner: Owner of the pages in @location, NULL for system memory.
 * @since: When it came there, nanoseconds.
 * @pin: Where it is pinned to, NULL: system memory; while @pinned_until is in the
 *	future.
 * @pinned_until: Nanoseconds, 0: never pinned.
 * @retry_at: When a move may be tried again after failures, nanoseconds.
 * @failures: Moves that failed since the last one that did not.
 * @cost_ns: What a move into device memory takes: the quicker one of the latest two.
 * @last_ns: What the latest one took; 0: there was none.
 * @moves: The latest moves, a ring.
 * @next: Where in @moves the next one goes.
 * @count: How many of @moves are filled.
 */
struct gpusvm_mgr_place {
	const void *location;
	const void *owner;
	u64 since;
	const void *pin;
	u64 pinned_until;
	u64 retry_at;
	unsigned int failures;
	u64 cost_ns;
	u64 last_ns;
	struct gpusvm_mgr_move moves[GPUSVM_MGR_POLICY_MOVES];
	unsigned int next;
	unsigned int count;
};

/* enum gpusvm_mgr_verdict - What becomes of a request */
enum gpusvm_mgr_verdict {
	/* The data is there. */
	GPUSVM_MGR_STAYS,
	/* Move it. */
	GPUSVM_MGR_MOVES,
	/* It has not been where it is for long enough. */
	GPUSVM_MGR_RESIDES,
	/* It was moved too often. */
	GPUSVM_MGR_PINNED,
	/* It could not be moved just now. */
	GPUSVM_MGR_BACKS_OFF,
};

extern const struct gpusvm_mgr_policy gpusvm_mgr_default_policy;

enum gpusvm_mgr_verdict
gpusvm_mgr_policy_ask(const struct gpusvm_mgr_policy *policy,
		      const struct gpusvm_mgr_place *place,
		      const void *location, u64 now);
bool gpusvm_mgr_policy_moved(const struct gpusvm_mgr_policy *policy,
			     struct gpusvm_mgr_place *place, const void *location,
			     const void *owner, const void *reach, u64 now);
void gpusvm_mgr_policy_took(struct gpusvm_mgr_place *place, u64 ns);
void gpusvm_mgr_policy_failed(const struct gpusvm_mgr_policy *policy,
			      struct gpusvm_mgr_place *place, u64 now);
u64 gpusvm_mgr_policy_bound(const struct gpusvm_mgr_policy *policy, u64 run_ns);

#endif /* __GPUSVM_MGR_POLICY_H__ */
