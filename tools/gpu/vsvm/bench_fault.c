// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: faults: of further devices, under churn, at the same time, in bursts
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* By the clock a single pass says little: it takes less than a tenth of a second. */
#define PASSES(b)	((b)->smoke ? 1 : 9)

/* ------------------------------------- the second to the last device faults */

/* What a fault adds to a job, in ns. */
static uint64_t fault_cost(struct bench_gpu *gpu, char *buf, uint64_t want)
{
	uint64_t begin, with, without = ~0ULL;

	begin = bench_now();
	bench_check(bench_read(gpu, buf) == want);
	with = bench_now() - begin;
	/* The same once more, where nothing faults; the better of two. */
	for (unsigned int k = 0; k < 2; k++) {
		uint64_t ns;

		begin = bench_now();
		bench_read(gpu, buf);
		ns = bench_now() - begin;
		if (ns < without)
			without = ns;
	}
	return with > without ? with - without : 0;
}

static void share_once(struct bench *b, char *buf, enum bench_kind kind, uint64_t seed)
{
	uint64_t faults, walks, first = 0, others = 0;

	bench_renew(buf, CHUNK, kind);
	bench_fill(buf, CHUNK, seed);
	if (kind == BENCH_THP && bench_huge_kib(buf) * KIB != CHUNK)
		return;

	faults = bench_sum(b, faults);
	walks = bench_sum(b, snapshot_walks);
	for (unsigned int i = 0; i < b->n; i++) {
		uint64_t ns = fault_cost(&b->gpus[i], buf, bench_word(seed, 0));

		if (i)
			others += ns;
		else
			first = ns;
	}
	faults = bench_sum(b, faults) - faults;
	walks = bench_sum(b, snapshot_walks) - walks;

	if (b->flags & DRM_VSVM_VM_EAGER) {
		bench_check(faults == 1);
		bench_sample(b, UNIT_NS, first, "eager_all_devices", "kind=%s",
			     bench_kind_names[kind]);
		bench_sample(b, UNIT_COUNT, faults, "eager_faults", "kind=%s",
			     bench_kind_names[kind]);
		return;
	}
	bench_check(faults == b->n);
	bench_check(walks == (b->backend == BENCH_MANAGER ? 1 : b->n));
	bench_sample(b, UNIT_NS, first, "first_device", "kind=%s", bench_kind_names[kind]);
	bench_sample(b, UNIT_NS, first + others, "all_devices", "kind=%s",
		     bench_kind_names[kind]);
	if (b->n > 1)
		bench_sample(b, UNIT_NS, (double)others / (b->n - 1), "further_device",
			     "kind=%s", bench_kind_names[kind]);
}

static void share_all(struct bench *b, char *buf)
{
	bench_open(b, b->n);
	/* The device's page tables are there before. */
	bench_renew(buf, CHUNK, BENCH_4K);
	bench_fill(buf, CHUNK, 0);
	for (unsigned int i = 0; i < b->n; i++)
		bench_read(&b->gpus[i], buf);
	for (unsigned int k = 0; k < (b->smoke ? 1 : 5); k++)
		for (enum bench_kind kind = 0; kind < BENCH_KINDS; kind++)
			share_once(b, buf, kind, k + 1);
	bench_close(b);
}

void bench_share(struct bench *b)
{
	char *buf = bench_alloc(CHUNK, BENCH_4K);

	share_all(b, buf);
	if (b->backend != BENCH_MANAGER || b->n < 2)
		return;
	b->flags |= DRM_VSVM_VM_EAGER;
	share_all(b, buf);
}

/* ----------------------------------------------------- many small mappings */

#define PIECE		(64 * KIB)
#define PIECE_SPACE	(2 * PIECE)
/* What one notifier covers without the manager. */
#define WINDOW		(512 * MIB)

/* @count VMAs of 64 KiB from @base, touched. */
static void pieces_make(char *base, unsigned int count, uint64_t seed)
{
	for (unsigned int i = 0; i < count; i++) {
		bench_renew(base + i * PIECE_SPACE, PIECE, BENCH_4K);
		bench_fill(base + i * PIECE_SPACE, PIECE, seed + i);
	}
}

/* Lets a device read a word of each; time. */
static uint64_t pieces_read(struct bench_gpu *gpu, char *base, unsigned int count, uint64_t seed)
{
	uint64_t begin = bench_now(), end;

	bench_read_each(gpu, base, count * PIECE_SPACE, PIECE_SPACE);
	end = bench_now();
	/* Of the last job, the results are there still. */
	for (unsigned int i = (count - 1) / 256 * 256; i < count; i++)
		bench_check(gpu->result[i % 256] == bench_word(seed + i, 0));
	return end - begin;
}

/* -------------------------------------------------- under unrelated changes */

struct churn {
	char *at;
	pid_t child;
	volatile bool on;
	volatile bool stop;
	volatile uint64_t count;
};

/* Whatever else is in this VMA's notifier, none of it is mapped on a device. */
static void *churn_thread(void *arg)
{
	struct churn *c = arg;

	while (c->on) {
		bench_renew(c->at, 4 * PIECE, BENCH_4K);
		for (size_t at = 0; at < 4 * PIECE; at += 4 * KIB)
			c->at[at] = 1;
		munmap(c->at, 4 * PIECE);
		c->count++;
	}
	return NULL;
}

enum churn_mode {
	CHURN_QUIET,
	/* In this process: what is measured. */
	CHURN_SAME,
	/* In another one: only the CPU is shared. */
	CHURN_OTHER,
	CHURN_MODES,
};

static const char * const churn_names[] = {
	[CHURN_QUIET] = "quiet",
	[CHURN_SAME] = "churn",
	[CHURN_OTHER] = "churn_elsewhere",
};

/*
 * The other process is made at the beginning: a fork later would have all of what
 * is mapped copied on write.
 */
static struct churn *churn_process(char *at)
{
	struct churn *c = bench_alloc(CHUNK, BENCH_FILE);
	pid_t pid;

	c->at = at;
	pid = fork();
	if (pid < 0)
		bench_fail("fork: %m");
	while (!pid) {
		churn_thread(c);
		if (c->stop)
			_exit(0);
		usleep(1000);
	}
	c->child = pid;
	return c;
}

/*
 * What a mapping made anew had before is removed by and by. A fault that meets a range
 * on its way out looks again, or removes it, and churn has nothing to do with that.
 */
static uint64_t ranges_now(struct bench *b)
{
	return bench_mgr(b, mgr_ranges) + bench_sum(b, vm_ranges);
}

static void ranges_settle(struct bench *b, uint64_t ranges)
{
	for (unsigned int i = 0; i < 20000 && ranges_now(b) > ranges; i++)
		usleep(1000);
	bench_check(ranges_now(b) <= ranges);
}

static void churn_once(struct bench *b, char *pieces, struct churn *other, unsigned int count,
		       enum churn_mode mode, uint64_t seed, uint64_t ranges)
{
	struct churn same = { .at = other->at }, *c = mode == CHURN_OTHER ? other : &same;
	uint64_t retries, waits, faults, churned, ns;
	pthread_t thread;

	pieces_make(pieces, count, seed);
	ranges_settle(b, ranges);
	churned = c->count;
	c->on = mode != CHURN_QUIET;
	if (mode == CHURN_SAME && pthread_create(&thread, NULL, churn_thread, c))
		bench_fail("pthread_create: %m");
	while (c->on && c->count == churned)
		usleep(1000);

	faults = bench_sum(b, faults);
	retries = bench_sum(b, retries);
	waits = bench_mgr(b, mgr_seq_waits) + bench_sum(b, vm_seq_waits);
	churned = c->count;
	ns = pieces_read(&b->gpus[0], pieces, count, seed);
	churned = c->count - churned;
	waits = bench_mgr(b, mgr_seq_waits) + bench_sum(b, vm_seq_waits) - waits;
	retries = bench_sum(b, retries) - retries;
	faults = bench_sum(b, faults) - faults;

	c->on = false;
	if (mode == CHURN_SAME)
		pthread_join(thread, NULL);
	bench_check(faults >= count);
	/* Where it is measured, this is a figure that is missed. */
	bench_check(!b->smoke || b->backend != BENCH_MANAGER || !retries);

	bench_sample(b, UNIT_RATE, count * 1e9 / ns, "faults_per_s", "mode=%s",
		     churn_names[mode]);
	bench_sample(b, UNIT_COUNT, retries * 1000.0 / count, "retries_per_1000_faults",
		     "mode=%s", churn_names[mode]);
	bench_sample(b, UNIT_COUNT, waits * 1000.0 / count, "waits_per_1000_faults",
		     "mode=%s", churn_names[mode]);
	bench_sample(b, UNIT_RATE, churned * 1e9 / ns, "churn_rounds_per_s", "mode=%s",
		     churn_names[mode]);
	for (unsigned int i = 0; i < count; i++)
		bench_free(pieces + i * PIECE_SPACE, PIECE);
}

void bench_churn(struct bench *b)
{
	unsigned int count = b->smoke ? 32 : 1024;
	char *window = bench_reserve(WINDOW, WINDOW);
	struct churn *other = churn_process(window + WINDOW / 2);
	uint64_t ranges;

	bench_open(b, b->n);
	ranges = ranges_now(b);
	/* The device's page tables are there before. */
	pieces_make(window, count, 0);
	pieces_read(&b->gpus[0], window, count, 0);
	for (unsigned int k = 0; k < PASSES(b); k++)
		for (enum churn_mode mode = 0; mode < CHURN_MODES; mode++)
			churn_once(b, window, other, count, mode, k + 1, ranges);
	other->stop = true;
	waitpid(other->child, NULL, 0);
	bench_close(b);
}

/* ----------------------------------------------------------- at the same time */

/* Each device faults on its own. */
static void concurrent_faults(struct bench *b, char *base, unsigned int count, uint64_t seed)
{
	size_t stride = count * PIECE_SPACE;
	uint64_t begin, ns;

	for (unsigned int i = 0; i < b->n; i++)
		pieces_make(base + i * stride, count, seed + i);
	begin = bench_now();
	for (unsigned int i = 0; i < b->n; i++) {
		struct bench_gpu *gpu = &b->gpus[i];
		VSVM_JOB(job, 256);

		for (unsigned int k = 0; k < count; k++)
			vsvm_job_copy(&job, &gpu->result[k], base + i * stride + k * PIECE_SPACE,
				      sizeof(uint64_t));
		bench_submit(gpu, 0, &job);
	}
	for (unsigned int i = 0; i < b->n; i++)
		bench_finish(&b->gpus[i], 0);
	ns = bench_now() - begin;

	for (unsigned int i = 0; i < b->n; i++)
		for (unsigned int k = 0; k < count; k++)
			bench_check(b->gpus[i].result[k] == bench_word(seed + i + k, 0));
	bench_sample(b, UNIT_RATE, b->n * count * 1e9 / ns, "faults_per_s", "what=disjoint_faults");
}

struct invalidator {
	struct bench *b;
	pthread_barrier_t *barrier;
	char *at;
	unsigned int queue;
	unsigned int times;
	uint64_t ns;
};

/* Invalidates what all devices have mapped, at the same time as the others do. */
static void *invalidator_thread(void *arg)
{
	struct invalidator *inv = arg;

	for (unsigned int k = 0; k < inv->times; k++) {
		uint64_t begin;

		bench_fill(inv->at, PIECE, k);
		for (unsigned int i = 0; i < inv->b->n; i++) {
			struct bench_gpu *gpu = &inv->b->gpus[i];
			VSVM_JOB(job, 1);

			vsvm_job_copy(&job, &gpu->result[inv->queue], inv->at,
				      sizeof(uint64_t));
			bench_submit(gpu, inv->queue, &job);
			bench_finish(gpu, inv->queue);
			bench_check(gpu->result[inv->queue] == bench_word(k, 0));
		}
		pthread_barrier_wait(inv->barrier);
		begin = bench_now();
		madvise(inv->at, PIECE, MADV_DONTNEED);
		inv->ns += bench_now() - begin;
		pthread_barrier_wait(inv->barrier);
	}
	return NULL;
}

static void concurrent_invalidations(struct bench *b, char *base, unsigned int threads)
{
	struct invalidator inv[2];
	pthread_barrier_t barrier;
	pthread_t thread[2];
	double ns = 0;

	pthread_barrier_init(&barrier, NULL, threads);
	for (unsigned int i = 0; i < threads; i++) {
		inv[i] = (struct invalidator) {
			.b = b, .barrier = &barrier, .at = base + i * PIECE_SPACE,
			.queue = i + 1, .times = b->smoke ? 2 : 20,
		};
		if (pthread_create(&thread[i], NULL, invalidator_thread, &inv[i]))
			bench_fail("pthread_create: %m");
	}
	for (unsigned int i = 0; i < threads; i++) {
		pthread_join(thread[i], NULL);
		ns += (double)inv[i].ns / inv[i].times / threads;
	}
	pthread_barrier_destroy(&barrier);
	bench_sample(b, UNIT_NS, ns, "time", "what=invalidations threads=%u", threads);
	bench_sample(b, UNIT_RATE, threads * 1e9 / ns, "invalidations_per_s",
		     "what=invalidations threads=%u", threads);
}

void bench_concurrent(struct bench *b)
{
	unsigned int count = b->smoke ? 8 : 256;
	char *window = bench_reserve(WINDOW, WINDOW);

	bench_open(b, b->n);
	for (unsigned int k = 0; k < PASSES(b); k++)
		concurrent_faults(b, window, count, k);
	/* So long that it is what is waited for, not the emulated CPU. */
	bench_flush_latency(b, b->smoke ? 20 : 1000);
	for (unsigned int k = 0; k < (b->smoke ? 1 : 3); k++)
		for (unsigned int threads = 1; threads <= 2; threads++)
			concurrent_invalidations(b, window, threads);
	bench_flush_latency(b, 20);
	bench_close(b);
}

/* ------------------------------------------------------------------- in bursts */

#define BURST_PAGES	10

static char *burst_at(char *base, unsigned int i)
{
	return base + i / BURST_PAGES * PIECE_SPACE + i % BURST_PAGES * 4 * KIB;
}

/* All accesses, in so many queues at the same time. */
static void burst(struct bench *b, char *base, unsigned int ranges, unsigned int queues)
{
	unsigned int total = ranges * BURST_PAGES;
	struct bench_gpu *gpu = &b->gpus[0];
	uint64_t begin, ns, faults, batches;
	static struct drm_vsvm_instr instrs[DRM_VSVM_MAX_INSTRS];

	pieces_make(base, ranges, queues);
	faults = bench_sum(b, faults);
	batches = bench_sum(b, batches);
	begin = bench_now();
	for (unsigned int q = 0; q < queues; q++) {
		for (unsigned int i = q; i < total; ) {
			struct vsvm_job job;

			vsvm_job_init(&job, instrs, ARRAY_SIZE(instrs));
			for (; i < total && job.num < job.max; i += queues)
				vsvm_job_copy(&job, &gpu->result[q], burst_at(base, i),
					      sizeof(uint64_t));
			bench_submit(gpu, q, &job);
		}
	}
	for (unsigned int q = 0; q < queues; q++)
		bench_finish(gpu, q);
	ns = bench_now() - begin;
	faults = bench_sum(b, faults) - faults;
	batches = bench_sum(b, batches) - batches;

	for (unsigned int q = 0; q < queues; q++) {
		unsigned int last = total - 1 - (total - 1 - q) % queues;

		bench_check(gpu->result[q] ==
			    bench_word(queues + last / BURST_PAGES,
				       last % BURST_PAGES * 4 * KIB));
	}
	bench_check(faults >= ranges);
	bench_sample(b, UNIT_NS, (double)ns / ranges, "time_per_range", "queues=%u", queues);
	bench_sample(b, UNIT_NS, (double)ns / faults, "time_per_fault", "queues=%u", queues);
	bench_sample(b, UNIT_COUNT, faults, "faults", "queues=%u", queues);
	bench_sample(b, UNIT_COUNT, (double)faults / batches, "faults_per_batch", "queues=%u",
		     queues);
	for (unsigned int i = 0; i < ranges; i++)
		bench_free(base + i * PIECE_SPACE, PIECE);
}

void bench_batch(struct bench *b)
{
	unsigned int ranges = b->smoke ? 20 : 1000;
	char *window = bench_reserve(WINDOW, WINDOW);

	bench_open(b, b->n);
	pieces_make(window, ranges, 0);
	pieces_read(&b->gpus[0], window, ranges, 0);
	for (unsigned int i = 0; i < ranges; i++)
		bench_free(window + i * PIECE_SPACE, PIECE);
	burst(b, window, ranges, 1);
	burst(b, window, ranges, DRM_VSVM_MAX_QUEUES);
	bench_close(b);
}
