// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: device memory
 *
 * The copy engine has a rate that is a stated part of the rate at which this
 * guest's CPU copies, measured in the same process: what is reported is which
 * share of the engine's rate comes out, and so a slow engine flatters nobody
 * beyond what the report says.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* The engine's rate is the CPU's divided by this. */
#define ENGINE_PART	8

static double memcpy_mib_s(struct bench *b)
{
	size_t size = (b->smoke ? 1 : 16) * MIB;
	char *from = bench_alloc(size, BENCH_4K), *to = bench_alloc(size, BENCH_4K);
	double best = 0;

	memset(from, 1, size);
	memset(to, 2, size);
	for (unsigned int k = 0; k < 5; k++) {
		uint64_t begin = bench_now();
		double rate;

		memcpy(to, from, size);
		rate = (double)size / MIB * 1e9 / (bench_now() - begin);
		if (rate > best)
			best = rate;
	}
	bench_check(!memcmp(from, to, size));
	bench_free(from, size);
	bench_free(to, size);
	return best;
}

static void engine_rate(struct bench *b, unsigned int mib_s)
{
	for (unsigned int i = 0; i < b->n; i++)
		bench_ok(vsvm_debugfs_set(&b->gpus[i].dev, "copy_mib_per_s", mib_s));
}

/* Each device reads its share of it, a word of each 2 MiB; MiB per second. */
static double fault_in(struct bench *b, char *buf, size_t size, enum bench_kind kind,
		       unsigned int devices)
{
	size_t part = size / devices, count = part / CHUNK;
	uint64_t begin, ns, moved;

	bench_renew(buf, size, kind);
	bench_fill(buf, size, kind + 1);
	moved = bench_sum(b, copy_bytes_in);
	begin = bench_now();
	for (unsigned int i = 0; i < devices; i++) {
		struct bench_gpu *gpu = &b->gpus[i];
		VSVM_JOB(job, 256);

		for (size_t k = 0; k < count; k++)
			vsvm_job_copy(&job, &gpu->result[k], buf + i * part + k * CHUNK,
				      sizeof(uint64_t));
		bench_submit(gpu, 0, &job);
	}
	for (unsigned int i = 0; i < devices; i++)
		bench_finish(&b->gpus[i], 0);
	ns = bench_now() - begin;
	moved = bench_sum(b, copy_bytes_in) - moved;

	/* All of it came, once. */
	bench_check(moved == size);
	for (unsigned int i = 0; i < devices; i++)
		for (size_t k = 0; k < count; k++)
			bench_check(b->gpus[i].result[k] ==
				    bench_word(kind + 1, i * part + k * CHUNK));
	/* And back, for the CPU. */
	for (size_t at = 0; at < size; at += CHUNK / 2)
		bench_check(*(volatile uint64_t *)(buf + at) == bench_word(kind + 1, at));
	return (double)size / MIB * 1e9 / ns;
}

/*
 * All of it asked for at once; MiB per second. Only the manager can be asked: upstream
 * leaves that to each driver.
 */
static double prefetch(struct bench *b, char *buf, size_t size, enum bench_kind kind)
{
	struct bench_gpu *gpu = &b->gpus[0];
	uint64_t begin, ns, moved, missed = 0;

	bench_renew(buf, size, kind);
	bench_fill(buf, size, kind + 7);
	moved = bench_sum(b, copy_bytes_in);
	begin = bench_now();
	bench_ok(vsvm_prefetch(&gpu->vm, buf, size, &gpu->dev, 0, &missed));
	ns = bench_now() - begin;
	moved = bench_sum(b, copy_bytes_in) - moved;

	/* All of it came, once, and is what it was. */
	bench_check(!missed);
	bench_check(moved == size);
	for (size_t at = 0; at < size; at += CHUNK / 2)
		bench_check(bench_read(gpu, buf + at) == bench_word(kind + 7, at));
	for (size_t at = 0; at < size; at += CHUNK / 2)
		bench_check(*(volatile uint64_t *)(buf + at) == bench_word(kind + 7, at));
	return (double)size / MIB * 1e9 / ns;
}

#define WORK_CHUNKS	8
#define WORK_BYTES	(64 * KIB)
/* The arbiter looks back on no more, whatever bounce_moves says. */
#define MOST_BOUNCE_MOVES	15

/* Each device adds 1 to the same words, @jobs times; MiB per second of all work. */
static double write_same(struct bench *b, char *buf, unsigned int devices, unsigned int jobs,
			 uint64_t *moves, uint64_t *ns)
{
	size_t size = WORK_CHUNKS * CHUNK;
	uint64_t begin;
	VSVM_JOB(job, WORK_CHUNKS);

	bench_renew(buf, size, BENCH_THP);
	memset(buf, 0, size);
	for (unsigned int k = 0; k < WORK_CHUNKS; k++)
		vsvm_job_add(&job, buf + k * CHUNK, WORK_BYTES, 1);
	*moves = bench_sum(b, migrations);
	begin = bench_now();
	for (unsigned int j = 0; j < jobs; j++)
		for (unsigned int i = 0; i < devices; i++)
			bench_submit(&b->gpus[i], 0, &job);
	for (unsigned int i = 0; i < devices; i++)
		bench_finish(&b->gpus[i], 0);
	*ns = bench_now() - begin;
	*moves = bench_sum(b, migrations) - *moves;

	/* Adds of two devices may meet, and one is lost then: they are no atomics. */
	for (unsigned int k = 0; k < WORK_CHUNKS; k++) {
		uint64_t value = *(volatile uint64_t *)(buf + k * CHUNK);

		bench_check(value >= 1 && value <= (uint64_t)jobs * devices);
		bench_check(devices > 1 || value == jobs);
	}
	return (double)jobs * devices * WORK_CHUNKS * WORK_BYTES / MIB * 1e9 / *ns;
}

static bool arbiter_parameter(const char *name, unsigned int *value)
{
	char path[128];
	FILE *file;
	bool good;

	snprintf(path, sizeof(path), "/sys/module/drm_gpusvm_mgr/parameters/%s", name);
	file = fopen(path, "re");
	if (!file)
		return false;
	good = fscanf(file, "%u", value) == 1;
	fclose(file);
	return good;
}

/*
 * How often the arbiter lets a range be moved into device memory in so long a time, at
 * most: gpusvm_mgr_policy_bound(), with what the guest has been told. 0: nothing bounds
 * it, or nobody knows.
 */
static uint64_t most_moves(uint64_t ns)
{
	unsigned int moves, window_us, pin_us, us;

	if (!arbiter_parameter("bounce_moves", &moves) ||
	    !arbiter_parameter("bounce_window_us", &window_us) ||
	    !arbiter_parameter("bounce_pin_us", &pin_us))
		return 0;
	if (moves > MOST_BOUNCE_MOVES)
		moves = MOST_BOUNCE_MOVES;
	us = window_us < pin_us ? window_us : pin_us;
	return us ? (moves + 1ULL) * (ns / (us * 1000ULL) + 1) : 0;
}

static void same_pages(struct bench *b, char *buf, unsigned int jobs, const char *links)
{
	uint64_t moves, most, ns;
	double one, rate;

	one = write_same(b, buf, 1, jobs, &moves, &ns);
	bench_sample(b, UNIT_MIB_S, one, "same_pages_one_device", "links=%s", links);
	rate = write_same(b, buf, b->n, jobs, &moves, &ns);
	bench_sample(b, UNIT_MIB_S, rate, "same_pages_all_devices", "links=%s", links);
	bench_sample(b, UNIT_RATIO, rate / one, "same_pages_to_one", "links=%s", links);
	bench_sample(b, UNIT_COUNT, (double)moves / WORK_CHUNKS, "moves_per_2m", "links=%s",
		     links);
	/* Only the manager has an arbiter. */
	most = b->backend == BENCH_MANAGER ? most_moves(ns) : 0;
	if (most)
		bench_sample(b, UNIT_COUNT, most, "most_moves_per_2m", "links=%s", links);
}

void bench_migrate(struct bench *b)
{
	size_t size = (b->smoke ? 2 : 32) * CHUNK;
	unsigned int jobs = b->smoke ? 3 : 240;
	double cpu = memcpy_mib_s(b), one, rate;
	unsigned int engine = cpu / ENGINE_PART;
	char *buf;

	b->flags |= DRM_VSVM_VM_MIGRATE;
	bench_hives(b->n, 1);
	buf = bench_alloc(size, BENCH_THP);
	bench_open(b, b->n);
	if (engine < 1)
		engine = 1;
	engine_rate(b, b->smoke ? 0 : engine);
	bench_sample(b, UNIT_MIB_S, cpu, "memcpy_of_the_cpu", "-");
	bench_sample(b, UNIT_MIB_S, engine, "rate_of_the_engine", "-");

	for (enum bench_kind kind = BENCH_4K; kind <= BENCH_THP; kind++) {
		one = fault_in(b, buf, size, kind, 1);
		bench_sample(b, UNIT_RATIO, one / engine, "fault_driven_share", "kind=%s",
			     bench_kind_names[kind]);
		if (b->backend == BENCH_MANAGER)
			bench_sample(b, UNIT_RATIO, prefetch(b, buf, size, kind) / engine,
				     "prefetch_share", "kind=%s", bench_kind_names[kind]);
		if (b->n > 1) {
			rate = fault_in(b, buf, size, kind, b->n);
			bench_sample(b, UNIT_RATIO, rate / one, "disjoint_halves_to_one", "kind=%s",
				     bench_kind_names[kind]);
		}
	}

	if (b->n > 1)
		same_pages(b, buf, jobs, "yes");
	engine_rate(b, 0);
	bench_close(b);
	if (b->n < 2)
		return;

	/* And without links: what another device has must come by way of the CPU. */
	bench_hives(b->n, b->n);
	bench_open(b, b->n);
	engine_rate(b, b->smoke ? 0 : engine);
	same_pages(b, buf, jobs, "no");
	engine_rate(b, 0);
	bench_close(b);
	bench_hives(b->n, 1);
}
