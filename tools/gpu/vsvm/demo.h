/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * vsvm-demo: what its parts share
 *
 *	vsvm-demo.c	options
 *	demo_run.c	the GPUs, the rounds, and whether the results are right
 *	demo_churn.c	CPU threads that change the memory around them meanwhile
 *	demo_data.c	the file, its index on the heap, and what must come out
 *	demo_report.c	tables and JSON
 */

#ifndef _VSVM_DEMO_H_
#define _VSVM_DEMO_H_

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libvsvm.h"

#define DEMO_MAX_GPUS		VSVM_MAX_DEVICES
#define DEMO_MAX_THREADS	64
#define DEMO_COUNTERS		4
#define DEMO_SHARDS_EACH	4	/* shards of the file for each worker */

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

/* Exit status */
enum {
	DEMO_OK = 0,
	DEMO_WRONG = 1,		/* a difference, a failed job, a violation */
	DEMO_USAGE = 2,
	DEMO_CANNOT = 3,	/* no file, too few GPUs: nothing was tried */
};

/* Jobs of one queue run in order, those of different ones at the same time. */
enum demo_queue {
	Q_CHECKSUM,
	Q_HISTOGRAM,
	Q_COPY,
	Q_INDEX,
	Q_COUNTER,
	DEMO_QUEUES,
	Q_CHURN = 8,		/* and up: those of the CPU threads */
};

enum demo_check {
	CHECK_CHECKSUM,
	CHECK_HISTOGRAM,
	CHECK_COPY,
	CHECK_COMPARE,
	CHECK_CHASE,
	CHECK_INDEX,
	CHECK_COUNTER,
	CHECK_WINDOW,
	CHECK_HEAP,
	DEMO_CHECKS,
};

struct demo_node {
	struct vsvm_node base;		/* what a GPU follows */
	uint64_t offset;		/* the piece of the file */
	uint64_t len;
};

/* A block of the heap beside the nodes. It belongs to one CPU thread. */
struct demo_block {
	void *mem;
	size_t size;
	uint64_t seed;			/* of what is written in it */
};

struct demo_shard {
	const uint8_t *src;		/* in the mapped file */
	size_t len;
	uint8_t *copy;			/* malloc'ed, on purpose not aligned */
	void *copy_mem;
	uint64_t want;			/* checksum, by the CPU */
	uint64_t *got;			/* malloc'ed: checksum, compare */
};

struct demo_gpu {
	struct vsvm_device dev;
	struct vsvm_vm vm;
	struct drm_vsvm_stats_data stats;
	struct drm_vsvm_stats_data before;	/* at the start of the run */
	uint64_t violations;
	uint64_t jobs_sent;		/* atomic */
	char last_error[160];
};

struct demo {
	/* Options */
	const char *path;
	unsigned int num_gpus;		/* 0: all */
	unsigned int num_threads;
	unsigned int rounds;
	unsigned int seed;
	int64_t timeout_ns;
	bool json;
	bool eager;
	bool migrate;

	/* demo_data.c */
	int file_fd;
	uint8_t *file;
	size_t file_size;
	size_t file_mapped;
	size_t page_size;
	struct demo_shard *shards;
	unsigned int num_shards;
	struct demo_node **nodes;	/* in the order of the file */
	struct demo_node *head;
	size_t num_nodes;
	uint64_t want_index_sum;	/* of the values of all nodes, now */
	uint64_t *node_added;		/* per worker: added to each node of its */
	struct demo_block *blocks;
	size_t num_blocks;
	uint64_t want_histogram[256];
	uint64_t *histogram;		/* shared anonymous mapping */
	size_t histogram_mapped;

	/* One counter in each kind of memory, added to by everybody */
	uint64_t *counters[DEMO_COUNTERS];
	uint64_t counter_added;		/* atomic: what each must hold at the end */

	/* demo_run.c */
	struct demo_gpu gpus[DEMO_MAX_GPUS];
	double seconds;
	bool ran;
	bool fatal;			/* atomic: a wait ended badly, give up */
	bool stop;			/* atomic: for the CPU threads */
	bool vms_gone;			/* atomic */
	uint64_t failed_jobs;		/* as the GPUs say */
	uint64_t failed_waits;		/* atomic: waits that said so */
	uint64_t compared[DEMO_CHECKS];	/* atomic */
	uint64_t differences[DEMO_CHECKS]; /* atomic */

	/* demo_churn.c: what the CPU threads did, atomic */
	uint64_t heap_changes;
	uint64_t window_changes;
	uint64_t remaps;
};

/* GPUs and the CPU, which is the last worker */
static inline unsigned int demo_workers(const struct demo *d)
{
	return d->num_gpus + 1;
}

#define atomic_get(_p)		__atomic_load_n(_p, __ATOMIC_ACQUIRE)
#define atomic_set(_p, _v)	__atomic_store_n(_p, _v, __ATOMIC_RELEASE)
#define atomic_inc(_p, _v)	__atomic_fetch_add(_p, _v, __ATOMIC_RELAXED)

/* xorshift64*: the same sequence wherever the demo runs */
static inline uint64_t demo_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static inline uint64_t demo_random_below(uint64_t *state, uint64_t end)
{
	return (demo_random(state) >> 16) % end;
}

/* demo_data.c */
int demo_data_open(struct demo *d);
int demo_data_build(struct demo *d);
void demo_data_free(struct demo *d);
void demo_block_fill(const struct demo_block *block);
bool demo_block_check(const struct demo_block *block);

/* demo_run.c */
int demo_gpus_open(struct demo *d);
void demo_gpus_close(struct demo *d);
void demo_run(struct demo *d);
bool demo_check(struct demo *d, enum demo_check check, uint64_t got, uint64_t want,
		const char *what, uint64_t nr);
int demo_exec(struct demo *d, unsigned int gpu, uint32_t queue, const struct vsvm_job *job,
	      uint64_t *fence, uint64_t value);
int demo_wait(struct demo *d, unsigned int gpu, const uint64_t *fence, uint64_t value,
	      int64_t timeout_ns, bool again);

/* demo_churn.c */
struct demo_churn;
struct demo_churn *demo_churn_start(struct demo *d);
void demo_churn_join(struct demo_churn *churn);

/* demo_report.c */
bool demo_passed(const struct demo *d);
void demo_report_text(const struct demo *d);
void demo_report_json(const struct demo *d);

#endif /* _VSVM_DEMO_H_ */
