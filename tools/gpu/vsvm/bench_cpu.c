// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: what a process notices that uses the CPU only, while attached
 */

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define WINDOW		(512 * MIB)
#define RANGES		256
#define RANGE		(64 * KIB)

/* Maps, touches and unmaps 4 pages. */
static void loop_map(char *at)
{
	bench_renew(at, 16 * KIB, BENCH_4K);
	for (unsigned int i = 0; i < 4; i++)
		at[i * 4 * KIB] = 1;
	munmap(at, 16 * KIB);
}

/* Page faults on 16 pages that were dropped. */
static void loop_fault(char *at)
{
	for (unsigned int i = 0; i < 16; i++)
		at[i * 4 * KIB] = 1;
	madvise(at, 64 * KIB, MADV_DONTNEED);
}

static void loop_fork(char *at)
{
	pid_t pid = fork();

	if (pid < 0)
		bench_fail("fork: %m");
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	*at = 1;
}

static const struct {
	const char *name;
	void (*fn)(char *at);
	unsigned int times;
} loops[] = {
	{ "map_touch_unmap", loop_map, 400 },
	{ "page_fault", loop_fault, 400 },
	{ "fork", loop_fork, 30 },
};

static double measure(struct bench *b, unsigned int i, char *at)
{
	unsigned int times = b->smoke ? 3 : loops[i].times;
	uint64_t begin;

	bench_renew(at, RANGE, BENCH_4K);
	/* So that all sizes of everything were seen before. */
	for (unsigned int k = 0; k < times / 4 + 1; k++)
		loops[i].fn(at);
	begin = bench_now();
	for (unsigned int k = 0; k < times; k++)
		loops[i].fn(at);
	return (double)(bench_now() - begin) / times;
}

void bench_cpu(struct bench *b)
{
	char *window = bench_reserve(WINDOW, WINDOW), *at = window + WINDOW / 2;
	double before[ARRAY_SIZE(loops)];

	/* All memory there is before the first measurement: fork copies it. */
	bench_prepare(b, b->n);
	for (unsigned int i = 0; i < RANGES; i++) {
		bench_renew(window + 2 * i * RANGE, RANGE, BENCH_4K);
		bench_fill(window + 2 * i * RANGE, RANGE, i);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(loops); i++) {
		measure(b, i, at);
		before[i] = measure(b, i, at);
		bench_sample(b, UNIT_NS, before[i], "not_attached", "loop=%s", loops[i].name);
	}

	bench_open(b, b->n);
	for (unsigned int ranges = 0; ranges <= RANGES; ranges += RANGES) {
		for (unsigned int i = 0; i < b->n && ranges; i++)
			bench_read_each(&b->gpus[i], window, 2 * RANGES * RANGE, 2 * RANGE);
		for (unsigned int i = 0; i < ARRAY_SIZE(loops); i++) {
			double after = measure(b, i, at);

			bench_sample(b, UNIT_NS, after, "attached", "loop=%s ranges=%u",
				     loops[i].name, ranges);
			bench_sample(b, UNIT_RATIO, after / before[i], "attached_to_not",
				     "loop=%s ranges=%u", loops[i].name, ranges);
		}
	}
	bench_check(bench_read(&b->gpus[0], window) == bench_word(0, 0));
	bench_close(b);
}
