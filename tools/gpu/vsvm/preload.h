/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * vsvm-preload: what its parts know of each other
 *
 * All of it lives in a process that knows nothing of it. So: nothing here allocates
 * with malloc() once main() runs, no descriptor with a low number stays or comes later,
 * no signal is handled, and no error is more than a word in the report.
 */

#ifndef _VSVM_PRELOAD_H_
#define _VSVM_PRELOAD_H_

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "libvsvm.h"

#define MAX_GPUS	8
#define MAX_MAPS	16
#define JOB_LIMIT_NS	(180 * 1000000000LL)

/* What belongs to the library alone, see arena_create(). */
#define ARENA_PAGES	96
/* Addresses at which the program can have nothing, for binds. */
#define WINDOW_PAGES	64

/* A mapping of the program, as it was when it was looked at */
struct map {
	uint64_t start, end;
	bool write, anonymous;
};

/* A descriptor of ours; the program may close it, and have another file by its number */
struct held {
	int fd;
	dev_t dev;
	ino_t ino;
};

struct gpu {
	unsigned int minor;
	struct vsvm_device dev;
	struct held file;
	struct vsvm_vm *vm;	/* in the arena: the device writes there */
	bool gone;		/* not to be used any more */
	struct drm_vsvm_stats_data stats;
};

/* What became of this process; a record in the report */
struct counts {
	uint64_t rounds;
	uint64_t reads, bytes;		/* jobs that read the program's memory, and how much */
	uint64_t moves;			/* prefetches of it, done */
	uint64_t writes;		/* of our own memory */
	uint64_t attrs, binds;
	uint64_t refused;		/* calls and jobs that the program's doings made fail */
	uint64_t wrong;			/* what must not be */
	uint64_t flips;
};

struct preload {
	/* Settings */
	uint64_t seed;
	unsigned int rate;		/* rounds in a second at most, 0: no limit */
	unsigned int least;		/* rounds that a process that exits has had at least */
	bool flip;
	char report[256];		/* copied: programs write their titles over it */
	bool set_up;			/* there is anything to be done at all */

	/* Devices */
	unsigned int num_gpus;
	struct gpu gpus[MAX_GPUS];

	/* The thread */
	pid_t pid;			/* the process that it is in */
	bool running;
	bool stop, stopped;		/* atomic */
	const char *state;
	const char *why;		/* of the first that was wrong */
	int why_error;
	uint64_t random;

	/* Files */
	struct held maps_file, stat_file;
	char *record;			/* this process's line of the report, mapped */
	uint64_t record_nr;

	/* Memory */
	size_t page;
	char *arena, *window;

	/* What was seen of the program last, and how often it will be used yet */
	struct map maps[MAX_MAPS];
	unsigned int num_maps, fresh;
	struct map largest;		/* of those that are its own and can be written */

	struct counts counts;
};

/* The parts of the arena, in pages: results, then what is copied, then copies */
#define ARENA_RESULTS	0
#define ARENA_SOURCE	8
#define ARENA_COPY	48
#define ARENA_SPAN	40

static inline char *arena_at(const struct preload *pl, unsigned int page)
{
	return pl->arena + page * pl->page;
}

/* A number below @limit */
uint64_t preload_below(struct preload *pl, uint64_t limit);
/* Something that must not be; the first one is named in the report. */
void preload_wrong(struct preload *pl, const char *why, int error);

/* preload_maps.c */
void maps_refresh(struct preload *pl);
const struct map *maps_pick(struct preload *pl);

/* preload_ops.c */
int arena_create(struct preload *pl);
void arena_destroy(struct preload *pl);
int ops_prepare(struct preload *pl, struct gpu *gpu);
void ops_round(struct preload *pl);

#endif /* _VSVM_PRELOAD_H_ */
