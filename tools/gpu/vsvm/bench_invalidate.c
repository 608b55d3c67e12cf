// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: how long an invalidation takes, and what it holds meanwhile
 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

enum op {
	OP_MUNMAP,
	OP_DONTNEED_PAGE,
	OP_DONTNEED,
};

/* What is mapped, and what goes of it. */
static const struct shape {
	const char *name;
	enum op op;
	enum bench_kind kind;
	size_t size;
} shapes[] = {
	{ "munmap_2m", OP_MUNMAP, BENCH_4K, CHUNK },
	{ "munmap_2m_thp", OP_MUNMAP, BENCH_THP, CHUNK },
	{ "dontneed_2m", OP_DONTNEED, BENCH_4K, CHUNK },
	{ "dontneed_2m_thp", OP_DONTNEED, BENCH_THP, CHUNK },
	{ "dontneed_4k_of_2m", OP_DONTNEED_PAGE, BENCH_4K, CHUNK },
	{ "dontneed_4k_alone", OP_DONTNEED_PAGE, BENCH_4K, 4 * KIB },
	{ "dontneed_many_ranges", OP_DONTNEED, BENCH_4K, 32 * CHUNK },
};

/* How long something took, and how much of that this thread itself was at work. */
struct cost {
	uint64_t ns;
	uint64_t own;
};

/* What is mapped on all devices goes. */
static struct cost invalidate(char *buf, size_t size, enum op op)
{
	/* bench_own() is a system call, which is not to count as time. */
	const uint64_t own = bench_own(), begin = bench_now();
	uint64_t ns;

	switch (op) {
	case OP_MUNMAP:
		munmap(buf, size);
		break;
	case OP_DONTNEED_PAGE:
		madvise(buf, 4 * KIB, MADV_DONTNEED);
		break;
	default:
		madvise(buf, size, MADV_DONTNEED);
		break;
	}
	ns = bench_now() - begin;
	return (struct cost){ ns, bench_own() - own };
}

static void map_everywhere(struct bench *b, char *buf, size_t size, uint64_t seed)
{
	for (unsigned int i = 0; i < b->n; i++) {
		bench_read_each(&b->gpus[i], buf, size, CHUNK);
		bench_check(b->gpus[i].result[0] == bench_word(seed, 0));
	}
}

static void one(struct bench *b, char *buf, const struct shape *s, unsigned int latency,
		uint64_t seed)
{
	size_t size = b->smoke && s->size > 2 * CHUNK ? 2 * CHUNK : s->size;
	struct cost cost;
	uint64_t flushes;

	bench_renew(buf, size, s->kind);
	bench_fill(buf, size, seed);
	if (s->kind == BENCH_THP && bench_huge_kib(buf) * KIB != size)
		return;
	map_everywhere(b, buf, size, seed);
	flushes = bench_sum(b, tlb_flushes);
	cost = invalidate(buf, size, s->op);
	flushes = bench_sum(b, tlb_flushes) - flushes;

	/* All devices heard of it, and not more often than once per range. */
	bench_check(flushes >= b->n && flushes <= b->n * ((size + CHUNK - 1) / CHUNK));
	if (s->op != OP_MUNMAP)
		for (unsigned int i = 0; i < b->n; i++)
			bench_check(bench_read(&b->gpus[i], buf) == 0);
	bench_sample(b, UNIT_NS, cost.ns, "time", "op=%s latency=%u", s->name, latency);
	bench_sample(b, UNIT_NS, cost.own, "own", "op=%s latency=%u", s->name, latency);
	bench_sample(b, UNIT_COUNT, (double)flushes / b->n, "flushes_per_device",
		     "op=%s latency=%u", s->name, latency);
	bench_free(buf, size);
}

void bench_invalidate(struct bench *b)
{
	static const unsigned int latencies[] = { 20, 50, 200 };
	unsigned int times = b->smoke ? 1 : 5;
	size_t many = (b->smoke ? 2 : 32) * CHUNK;
	char *buf = bench_alloc(many, BENCH_4K);

	bench_open(b, b->n);
	/* The page tables are there before: no case is about making them. */
	bench_fill(buf, many, 0);
	map_everywhere(b, buf, many, 0);
	for (unsigned int l = 0; l < (b->smoke ? 1 : ARRAY_SIZE(latencies)); l++) {
		bench_flush_latency(b, latencies[l]);
		for (unsigned int k = 0; k < times; k++)
			for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++)
				one(b, buf, &shapes[i], latencies[l], k + 1);
	}
	bench_flush_latency(b, 20);
	bench_close(b);
}

/* ------------------------------------------------------------------- locks */

#define LOCK_STAT	"/proc/lock_stat"

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	if (!file || fputs(text, file) < 0 || fclose(file))
		bench_fail("%s: %m", path);
}

/* The longest time that a lock of this name was held, in ns; -1: never was. */
static double longest_hold(const char *class)
{
	char text[512], name[128];
	double hold = -1, max;
	FILE *file;

	file = fopen(LOCK_STAT, "re");
	if (!file)
		bench_fail(LOCK_STAT ": %m");
	while (fgets(text, sizeof(text), file)) {
		char *colon = strrchr(text, ':');

		/* name: 4 numbers of waits, 2 counts each, then min and max of holds */
		if (!colon || sscanf(text, " %127[^:]", name) != 1 || strcmp(name, class))
			continue;
		if (sscanf(colon + 1, "%*f %*f %*f %*f %*f %*f %*f %*f %*f %lf", &max) == 1 &&
		    max * 1000 > hold)
			hold = max * 1000;
	}
	fclose(file);
	return hold;
}

struct holder {
	struct bench *b;
	char *buf;
	unsigned int times;
	unsigned int queue;
};

/* Faults and invalidates in turn, beside others that do so elsewhere. */
static void *hold_thread(void *arg)
{
	struct holder *h = arg;

	for (unsigned int k = 0; k < h->times; k++) {
		/* From time to time a range goes for good. */
		if (k % 4 == 3)
			bench_renew(h->buf, CHUNK, BENCH_4K);
		bench_fill(h->buf, CHUNK, k);
		for (unsigned int i = 0; i < h->b->n; i++) {
			struct bench_gpu *gpu = &h->b->gpus[i];
			VSVM_JOB(job, 1);

			vsvm_job_copy(&job, &gpu->result[h->queue], h->buf,
				      sizeof(uint64_t));
			bench_submit(gpu, h->queue, &job);
			bench_finish(gpu, h->queue);
			bench_check(gpu->result[h->queue] == bench_word(k, 0));
		}
		if (k % 4 != 2)
			invalidate(h->buf, CHUNK, OP_DONTNEED);
	}
	return NULL;
}

void bench_hold(struct bench *b)
{
	static const struct {
		const char *class;
		const char *name;
	} locks[] = {
		{ "&gpusvm->notifier_lock-W", "notifier_lock_write" },
		{ "&gpusvm->notifier_lock-R", "notifier_lock_read" },
		{ "&range->fault_mutex", "range_fault_mutex" },
		{ "&range->lock", "range_lock" },
		{ "&mgr->gc_lock", "mgr_gc_lock" },
		{ "&svm->lock", "driver_svm_lock" },
	};
	static const unsigned int latencies[] = { 20, 200, 2000 };
	unsigned int times = b->smoke ? 2 : 20;
	pthread_t thread;

	if (access(LOCK_STAT, W_OK))
		bench_skip("no lock statistics in this kernel");
	bench_open(b, b->n);
	for (unsigned int l = 0; l < (b->smoke ? 1 : ARRAY_SIZE(latencies)); l++) {
		struct holder one = { b, bench_alloc(CHUNK, BENCH_4K), times, 1 };
		struct holder other = { b, bench_alloc(CHUNK, BENCH_4K), times, 2 };

		bench_flush_latency(b, latencies[l]);
		write_file(LOCK_STAT, "0\n");
		write_file("/proc/sys/kernel/lock_stat", "1\n");
		if (pthread_create(&thread, NULL, hold_thread, &other))
			bench_fail("pthread_create: %m");
		hold_thread(&one);
		pthread_join(thread, NULL);
		write_file("/proc/sys/kernel/lock_stat", "0\n");
		for (unsigned int i = 0; i < ARRAY_SIZE(locks); i++) {
			double hold = longest_hold(locks[i].class);

			if (hold >= 0)
				bench_sample(b, UNIT_NS, hold, "longest_hold", "lock=%s latency=%u",
					     locks[i].name, latencies[l]);
		}
	}
	bench_flush_latency(b, 20);
	bench_close(b);
}
