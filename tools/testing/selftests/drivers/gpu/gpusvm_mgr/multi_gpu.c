// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What IGT's xe_multi_gpusvm asks of several devices on the same memory: access
 * to what another one wrote, atomics, coherency, faults at the same time. And
 * what sharing is for: one walk for all, no fault for what does not concern us.
 */
#include <stdio.h>

#include "gpusvm_test.h"

#define SIZE	(64 * KIB)

GPU_TEST(cross_gpu_access)
{
	char *buf = buf_alloc(SIZE * (self->g->n + 1));
	struct gpu *last = NULL;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 1);
	/* From hand to hand: each reads what the one before it wrote. */
	for (unsigned int i = 0; i < self->g->n; i++) {
		last = &self->gpu[i];
		ASSERT_EQ(0, gpu_copy(last, buf + (i + 1) * SIZE, buf + i * SIZE, SIZE));
		ASSERT_EQ(0, gpu_add(last, buf + (i + 1) * SIZE, SIZE, 1));
	}
	for (unsigned int i = 0; i <= self->g->n; i++) {
		uint64_t sum;

		ASSERT_EQ(-1, buf_check(buf + i * SIZE, SIZE, 1, i));
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_checksum(gpu, buf + i * SIZE, SIZE, &sum));
			ASSERT_EQ(vsvm_checksum(buf + i * SIZE, SIZE), sum);
		}
	}
	buf_free(buf, SIZE * (self->g->n + 1));
}

struct atomic_arg {
	uint64_t *words;
	uint64_t times;
	bool stop;
};

static int atomic_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct atomic_arg *a = arg;
	VSVM_JOB(job, 3);

	/* One word that all fight for, one of its own in the same line. */
	vsvm_job_atomic_add(&job, &a->words[0], 1, a->times);
	vsvm_job_atomic_add(&job, &a->words[1 + i % 6], i + 1, a->times);
	vsvm_job_atomic_add(&job, &a->words[0], 2, a->times);
	return gpu_run(gpu, &job);
}

static void *atomic_cpu(void *arg)
{
	struct atomic_arg *a = arg;

	for (uint64_t i = 0; i < a->times; i++)
		__atomic_add_fetch(&a->words[0], 1, __ATOMIC_RELAXED);
	return NULL;
}

GPU_TEST(atomic)
{
	struct atomic_arg a = { .words = buf_alloc(self->page), .times = 2000 };
	pthread_t thread;

	ASSERT_NE(NULL, a.words);
	ASSERT_EQ(0, pthread_create(&thread, NULL, atomic_cpu, &a));
	ASSERT_EQ(0, gpus_parallel(self->g, atomic_fn, &a));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ((3 * self->g->n + 1) * a.times, a.words[0]);
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ((i + 1) * a.times, a.words[1 + i]);
	}
	buf_free(a.words, self->page);
}

static void *protect_cpu(void *arg)
{
	struct atomic_arg *a = arg;

	/* The mapping goes away and comes back, the content stays. */
	while (!__atomic_load_n(&a->stop, __ATOMIC_RELAXED)) {
		mprotect(a->words, page_size(), PROT_READ);
		mprotect(a->words, page_size(), PROT_READ | PROT_WRITE);
		usleep(200);
	}
	return NULL;
}

static int atomic_retry_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct atomic_arg *a = arg;
	uint64_t left = a->times;

	(void)i;
	/* A job may meet the moment of PROT_READ: it must say how far it was. */
	while (left) {
		struct drm_vsvm_error error;
		int ret;

		ret = gpu_atomic_add(gpu, &a->words[0], 1, 1);
		if (!ret) {
			left--;
			continue;
		}
		if (ret != -EIO || vsvm_error_take(&gpu->vm, &error) || error.error != EPERM)
			return -EILSEQ;
	}
	return 0;
}

GPU_TEST(atomic_conflict_with_protection)
{
	struct atomic_arg a = { .words = buf_alloc(self->page), .times = 60 };
	pthread_t thread;

	ASSERT_NE(NULL, a.words);
	ASSERT_EQ(0, pthread_create(&thread, NULL, protect_cpu, &a));
	ASSERT_EQ(0, gpus_parallel(self->g, atomic_retry_fn, &a));
	__atomic_store_n(&a.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(self->g->n * a.times, a.words[0]);
	buf_free(a.words, self->page);
}

GPU_TEST(coherency)
{
	uint64_t *word = buf_alloc(self->page), value = 0;

	ASSERT_NE(NULL, word);
	/* The CPU and the devices take turns; each sees the last one's write. */
	for (unsigned int round = 0; round < 8; round++) {
		for_each_gpu(gpu, self) {
			uint64_t seen;

			for_each_gpu(reader, self) {
				ASSERT_EQ(0, gpu_read64(reader, word, &seen));
				ASSERT_EQ(value, seen);
			}
			ASSERT_EQ(value, *(volatile uint64_t *)word);
			value = round * 100 + (gpu - self->gpu) + 1;
			ASSERT_EQ(0, gpu_write64(gpu, word, value));
		}
		ASSERT_EQ(value, *(volatile uint64_t *)word);
		*(volatile uint64_t *)word = value = round * 1000;
	}
	buf_free(word, self->page);
}

/* Coherency where the page itself changes below the address each time. */
GPU_TEST(coherency_new_pages)
{
	char *buf = buf_alloc(SIZE), *at = buf + SIZE / 2;

	ASSERT_NE(NULL, buf);
	for (unsigned int round = 0; round < 8; round++) {
		struct gpu *writer = &self->gpu[round % self->g->n];
		uint64_t seen;

		ASSERT_EQ(0, gpu_fill(writer, buf, SIZE, round + 1));
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_read64(gpu, at, &seen));
			ASSERT_EQ(round + 1, seen);
		}
		if (round % 2) {
			ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		} else {
			ASSERT_EQ(buf, mmap(buf, SIZE, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		}
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_read64(gpu, at, &seen));
			ASSERT_EQ(0, seen);
		}
	}
	buf_free(buf, SIZE);
}

struct shared_arg {
	char *buf;
	unsigned int n;
	uint64_t want;
};

static int read_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct shared_arg *s = arg;
	uint64_t sum;
	int ret;

	(void)i;
	for (unsigned int round = 0; round < 4; round++) {
		ret = gpu_checksum(gpu, s->buf, SIZE, &sum);
		if (ret)
			return ret;
		if (sum != s->want)
			return -EILSEQ;
	}
	return 0;
}

/* Writes each n-th word: the same pages and lines, never the same word. */
static int interleaved_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct shared_arg *s = arg;
	VSVM_JOB(job, 512);

	for (size_t word = i; word < WORDS(SIZE) && job.num < job.max; word += 13 * s->n)
		vsvm_job_add(&job, s->buf + word * 8, 8, i + 1);
	return gpu_run(gpu, &job);
}

GPU_TEST(concurrent_access)
{
	struct shared_arg s = { .buf = buf_alloc(SIZE), .n = self->g->n };
	uint64_t *word = (uint64_t *)s.buf;

	ASSERT_NE(NULL, s.buf);
	buf_init(s.buf, SIZE, 2);
	s.want = vsvm_checksum(s.buf, SIZE);
	ASSERT_EQ(0, gpus_parallel(self->g, read_fn, &s));
	ASSERT_EQ(0, gpus_parallel(self->g, interleaved_fn, &s));
	for (unsigned int i = 0; i < s.n; i++) {
		for (size_t w = i, k = 0; w < WORDS(SIZE) && k < 512; w += 13 * s.n, k++) {
			ASSERT_EQ(pattern(2, w) + i + 1, word[w]);
			word[w] -= i + 1;
		}
	}
	ASSERT_EQ(-1, buf_check(s.buf, SIZE, 2, 0));
	buf_free(s.buf, SIZE);
}

static int same_page_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct shared_arg *s = arg;

	(void)i;
	return gpu_atomic_add(gpu, s->buf, 1, 10);
}

GPU_TEST(faults_on_same_page)
{
	struct shared_arg s = { .n = self->g->n };

	/* Fresh memory each time, that nobody has touched. */
	for (unsigned int round = 0; round < 10; round++) {
		s.buf = buf_alloc(SIZE);
		ASSERT_NE(NULL, s.buf);
		ASSERT_EQ(0, gpus_parallel(self->g, same_page_fn, &s));
		ASSERT_EQ(10 * s.n, *(uint64_t *)s.buf);
		buf_free(s.buf, SIZE);
	}
}

static void *dontneed_cpu(void *arg)
{
	struct atomic_arg *a = arg;

	while (!__atomic_load_n(&a->stop, __ATOMIC_RELAXED)) {
		madvise(a->words, SIZE, MADV_DONTNEED);
		usleep(500);
	}
	return NULL;
}

static int fill_many_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct atomic_arg *a = arg;
	int ret = 0;

	for (uint64_t round = 0; !ret && round < a->times; round++)
		ret = gpu_add(gpu, (char *)a->words + i * page_size(), 3 * page_size(), 1);
	if (ret == -EIO)
		gpu_explain(gpu);
	return ret;
}

GPU_TEST(fault_conflict)
{
	struct atomic_arg a = { .words = buf_alloc(SIZE), .times = 12 };
	pthread_t thread;

	ASSERT_NE(NULL, a.words);
	/* The pages go as fast as they come: each fault ends all the same. */
	ASSERT_EQ(0, pthread_create(&thread, NULL, dontneed_cpu, &a));
	ASSERT_EQ(0, gpus_parallel(self->g, fill_many_fn, &a));
	__atomic_store_n(&a.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* No more than was added, and nothing where nobody wrote. */
	for (size_t w = 0; w < WORDS((self->g->n + 2) * self->page); w++) {
		ASSERT_GE(3 * a.times, a.words[w]);
	}
	ASSERT_EQ(-1, buf_check_value((char *)a.words + (self->g->n + 2) * self->page,
				      SIZE - (self->g->n + 2) * self->page, 0));
	/* And quiet again, exactly. */
	ASSERT_EQ(0, madvise(a.words, SIZE, MADV_DONTNEED));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, a.words, SIZE, 1));
	}
	ASSERT_EQ(-1, buf_check_value(a.words, SIZE, self->g->n));
	buf_free(a.words, SIZE);
}

/* ------------------------------------------------- what sharing is good for */

/* One after the other faults on what is valid: one walk in all. */
GPU_TEST(one_walk)
{
	bool probe;

	if (migrating())
		SKIP(return, "counts what moves add to");
	if (!managed())
		SKIP(return, "each device has walks of its own");
	probe = walks_begin() == 0;
	for (unsigned int write = 0; write < 2; write++) {
		uint64_t walks, hits, mgr_walks, faults;
		char *buf = buf_alloc(CHUNK);
		int64_t outside = 0;

		ASSERT_NE(NULL, buf);
		/* The CPU has it all, so that the walk changes nothing. */
		memset(buf, write + 1, CHUNK);
		walks = gpus_sum(self->g, snapshot_walks);
		hits = gpus_sum(self->g, snapshot_hits);
		faults = gpus_sum(self->g, faults);
		mgr_walks = gpus_sum(self->g, mgr_walks) / self->g->n;
		if (probe)
			outside = walks_count();
		for_each_gpu(gpu, self) {
			if (write) {
				ASSERT_EQ(0, gpu_add_each(gpu, buf, CHUNK, 32 * KIB));
			} else {
				ASSERT_EQ(0, gpu_read_each(gpu, buf, CHUNK, 32 * KIB));
			}
		}
		EXPECT_EQ(mgr_walks + 1, gpus_sum(self->g, mgr_walks) / self->g->n);
		EXPECT_EQ(walks + 1, gpus_sum(self->g, snapshot_walks));
		EXPECT_EQ(hits + self->g->n - 1, gpus_sum(self->g, snapshot_hits));
		EXPECT_EQ(faults + self->g->n, gpus_sum(self->g, faults));
		if (probe) {
			EXPECT_EQ(outside + 1, walks_count());
		}
		buf_free(buf, CHUNK);
	}
	if (probe)
		walks_end();
	else
		SKIP(return, "no kprobes: walks were counted inside only");
}

static int read_chunk_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct shared_arg *s = arg;

	(void)i;
	return gpu_read_each(gpu, s->buf, CHUNK, 64 * KIB);
}

/* All at once fault on what is not there yet: still one walk. */
GPU_TEST(one_walk_concurrent)
{
	struct shared_arg s = { .n = self->g->n };
	bool probe;

	if (migrating())
		SKIP(return, "counts what moves add to");
	if (!managed())
		SKIP(return, "each device has walks of its own");
	probe = walks_begin() == 0;
	for (unsigned int round = 0; round < 5; round++) {
		uint64_t mgr_walks;
		int64_t outside = 0;

		s.buf = buf_alloc(CHUNK);
		ASSERT_NE(NULL, s.buf);
		memset(s.buf, round + 1, CHUNK);
		mgr_walks = gpus_sum(self->g, mgr_walks) / self->g->n;
		if (probe)
			outside = walks_count();
		ASSERT_EQ(0, gpus_parallel(self->g, read_chunk_fn, &s));
		EXPECT_EQ(mgr_walks + 1, gpus_sum(self->g, mgr_walks) / self->g->n);
		if (probe) {
			EXPECT_EQ(outside + 1, walks_count());
		}
		buf_free(s.buf, CHUNK);
	}
	if (probe)
		walks_end();
}

static int churn(size_t rounds, size_t size)
{
	for (size_t i = 0; i < rounds; i++) {
		char *other = mmap(NULL, size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (other == MAP_FAILED)
			return -errno;
		memset(other, 1, size);
		if (munmap(other, size))
			return -errno;
	}
	return 0;
}

GPU_TEST(unrelated_munmap)
{
	uint64_t faults, retries, invalidations, missed, maps;
	char *buf = buf_alloc(SIZE), *near = buf + SIZE;

	if (migrating())
		SKIP(return, "counts what moves add to");
	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add_each(gpu, buf, SIZE, self->page));
	}
	/* What the others wrote after the first may have cost it its mapping. */
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add_each(gpu, buf, SIZE, self->page));
	}
	faults = gpus_sum(self->g, faults);
	retries = gpus_sum(self->g, retries);
	maps = gpus_sum(self->g, dma_maps);
	invalidations = gpus_sum(self->g, invalidations);
	missed = gpus_sum(self->g, mgr_invalidations_missed) / self->g->n;

	/* Far away, and right behind it. */
	ASSERT_EQ(0, churn(50, 4 * self->page));
	for (unsigned int i = 0; i < 50; i++) {
		ASSERT_EQ(near, mmap(near, self->page, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		*(volatile char *)near = 1;
		ASSERT_EQ(near, mmap(near, self->page, PROT_NONE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		if (i % 10 == 0) {
			for_each_gpu(gpu, self) {
				ASSERT_EQ(0, gpu_add_each(gpu, buf, SIZE, self->page));
			}
		}
	}
	EXPECT_EQ(faults, gpus_sum(self->g, faults));
	EXPECT_EQ(maps, gpus_sum(self->g, dma_maps));
	EXPECT_EQ(invalidations, gpus_sum(self->g, invalidations));
	if (managed()) {
		EXPECT_EQ(retries, gpus_sum(self->g, retries));
		/* The manager did hear of them. */
		EXPECT_LE(missed + 100,
			  gpus_sum(self->g, mgr_invalidations_missed) / self->g->n);
	}
	for (size_t at = 0; at < SIZE; at += self->page) {
		ASSERT_EQ(7 * self->g->n, *(uint64_t *)(buf + at));
	}
	buf_free(buf, SIZE);
}

static void *churn_cpu(void *arg)
{
	struct atomic_arg *a = arg;

	while (!__atomic_load_n(&a->stop, __ATOMIC_RELAXED))
		if (churn(1, 64 * KIB))
			break;
	return NULL;
}

/* Faults while something else is unmapped all the time: none looks again. */
GPU_TEST(faults_during_unrelated_churn)
{
	struct atomic_arg a = { .times = 0 };
	uint64_t retries = gpus_sum(self->g, retries);
	/* To the end: the next one, at the same address, would meet a range that goes. */
	char *bufs[10];
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, churn_cpu, &a));
	for (unsigned int round = 0; round < 10; round++) {
		char *buf = buf_alloc(SIZE);

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, round);
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		}
		ASSERT_EQ(-1, buf_check(buf, SIZE, round, self->g->n));
		bufs[round] = buf;
	}
	__atomic_store_n(&a.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* Without the manager, the notifier tells no more than its 512 MiB. */
	if (managed()) {
		EXPECT_EQ(retries, gpus_sum(self->g, retries));
	}
	for (unsigned int round = 0; round < 10; round++)
		buf_free(bufs[round], SIZE);
}

/* A munmap over many ranges: one flush for each device, not one per range. */
GPU_TEST(one_flush_per_device)
{
	size_t size = 4 * CHUNK;
	uint64_t flushes, ranges, invalidations;
	char *buf = buf_alloc(size);
	unsigned int each = self->g->n;

	if (migrating())
		SKIP(return, "counts what moves add to");
	ASSERT_NE(NULL, buf);
	/* Without the manager, in each part of 512 MiB that it reaches into. */
	if (!managed() && (uintptr_t)buf >> 29 != ((uintptr_t)buf + size - 1) >> 29)
		each *= 2;
	ranges = gpus_sum(self->g, mgr_ranges) / self->g->n;
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read_each(gpu, buf, size, CHUNK / 2));
	}
	if (managed()) {
		ASSERT_EQ(ranges + 4, gpus_sum(self->g, mgr_ranges) / self->g->n);
	}
	flushes = gpus_sum(self->g, tlb_flushes);
	invalidations = gpus_sum(self->g, invalidations);
	ASSERT_EQ(0, munmap(buf, size));
	EXPECT_EQ(flushes + each, gpus_sum(self->g, tlb_flushes));
	EXPECT_EQ(invalidations + each, gpus_sum(self->g, invalidations));
	for_each_gpu(gpu, self) {
		uint64_t value;

		for (size_t at = 0; at < size; at += CHUNK) {
			ASSERT_GPU_ERROR(gpu_read64(gpu, buf + at, &value), gpu, EFAULT,
					 buf + at, 0);
		}
	}
	buf_free(buf, size);
}

/* A device that has nothing mapped there is not bothered. */
GPU_TEST(bystander)
{
	struct drm_vsvm_stats_data before, after;
	struct gpu *user = &self->gpu[0], *bystander = &self->gpu[self->g->n - 1];
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	if (self->g->n < 2)
		SKIP(goto out, "needs two devices");
	ASSERT_EQ(0, vsvm_stats(&bystander->vm, &before));
	for (unsigned int i = 0; i < 5; i++) {
		ASSERT_EQ(0, gpu_fill(user, buf, SIZE, i));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
	}
	ASSERT_EQ(0, vsvm_stats(&bystander->vm, &after));
	EXPECT_EQ(before.invalidations, after.invalidations);
	EXPECT_EQ(before.tlb_flushes, after.tlb_flushes);
	EXPECT_EQ(before.faults, after.faults);
	EXPECT_EQ(before.dma_maps, after.dma_maps);
	if (managed()) {
		EXPECT_LE(before.mgr_invalidations + 5, after.mgr_invalidations);
	}
out:
	buf_free(buf, SIZE);
}

TEST_HARNESS_MAIN
