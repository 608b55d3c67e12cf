// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: many ranges, what they cost and what memory they take
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define PAGE		(4 * KIB)
#define SMOKE_RANGES	200

#define ALLOCINFO	"/proc/allocinfo"

/*
 * Who allocates what sharing an address space needs. Not the device's page tables
 * and not the policeman, which are the same for all back ends.
 */
static const char * const sources[] = {
	"drivers/gpu/drm/gpusvm_mgr/", "drivers/gpu/drm/drm_gpusvm.c",
	"drivers/gpu/drm/vsvm/vsvm_svm", "lib/maple_tree.c",
};

/* Each place in the kernel that allocates, and how much of that there is now. */
static uint64_t kernel_bytes(void)
{
	unsigned long long bytes;
	char text[512], tag[256];
	uint64_t sum = 0;
	FILE *file;

	file = fopen(ALLOCINFO, "re");
	if (!file)
		bench_fail(ALLOCINFO ": %m");
	while (fgets(text, sizeof(text), file)) {
		if (sscanf(text, "%llu %*u %255s", &bytes, tag) != 2)
			continue;
		for (unsigned int i = 0; i < ARRAY_SIZE(sources); i++)
			if (strstr(tag, sources[i]))
				sum += bytes;
	}
	fclose(file);
	return sum;
}

static bool can_count_bytes(void)
{
	return !access(ALLOCINFO, R_OK);
}

/* Lets what is freed with a delay be freed. */
static void settle(struct bench *b, char *at)
{
	bench_read(&b->gpus[0], at);
	usleep(b->smoke ? 10000 : 500000);
}

/* ------------------------------------------------------------------- growth */

/*
 * VMAs of one page: all of them the same page of a file, so that only the objects
 * around it are many. But in a small run each has its own, in reverse order so that
 * they do not merge: DMA debugging counts to 7 for a page, and then warns.
 */
static void map_page(struct bench *b, char *base, size_t i, int fd)
{
	char *at = base + i * PAGE;

	if (mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		 b->smoke ? (SMOKE_RANGES - 1 - i) * PAGE : 0) == MAP_FAILED)
		bench_fail("VMA %zu: %m", i);
	if (b->smoke)
		bench_fill(at, PAGE, 1);
}

static void read_pages(struct bench *b, char *base, const size_t *which, size_t count)
{
	struct bench_gpu *gpu = &b->gpus[0];
	VSVM_JOB(job, 256);

	for (size_t i = 0; i < count; ) {
		vsvm_job_reset(&job);
		for (; i < count && job.num < job.max; i++)
			vsvm_job_copy(&job, &gpu->result[job.num], base + which[i] * PAGE,
				      sizeof(uint64_t));
		bench_submit(gpu, 0, &job);
		bench_finish(gpu, 0);
		bench_check(gpu->result[0] == bench_word(1, 0));
	}
}

/* Some of them at random, none twice: @count of every @size / @count one. */
static void choose(size_t *which, size_t count, size_t size, uint64_t *seed)
{
	for (size_t i = 0; i < count; i++) {
		*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
		which[i] = i * (size / count) + (*seed >> 33) % (size / count);
	}
	for (size_t i = count; i-- > 1; ) {
		size_t k, other;

		*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
		k = (*seed >> 33) % (i + 1);
		other = which[k];
		which[k] = which[i];
		which[i] = other;
	}
}

static void scale_measure(struct bench *b, char *base, size_t size, size_t count, int fd,
			  const char *other, uint64_t *seed)
{
	size_t *which = calloc(count, sizeof(*which));
	uint64_t begin, ns[4];

	bench_check(which);
	choose(which, count, size, seed);

	begin = bench_now();
	for (size_t i = 0; i < count; i++)
		madvise(base + which[i] * PAGE, PAGE, MADV_DONTNEED);
	ns[0] = bench_now() - begin;

	/* The ranges are there, nothing of them is mapped. */
	begin = bench_now();
	read_pages(b, base, which, count);
	ns[1] = bench_now() - begin;

	begin = bench_now();
	for (size_t i = 0; i < count; i++)
		munmap(base + which[i] * PAGE, PAGE);
	/* What is removed later counts, too: the next fault does so. */
	bench_read(&b->gpus[0], other);
	ns[2] = bench_now() - begin;

	for (size_t i = 0; i < count; i++)
		map_page(b, base, which[i], fd);
	begin = bench_now();
	read_pages(b, base, which, count);
	ns[3] = bench_now() - begin;

	bench_sample(b, UNIT_NS, (double)ns[0] / count, "invalidate", "ranges=%zu", size);
	bench_sample(b, UNIT_NS, (double)ns[1] / count, "fault_known_range", "ranges=%zu", size);
	bench_sample(b, UNIT_NS, (double)ns[2] / count, "remove", "ranges=%zu", size);
	bench_sample(b, UNIT_NS, (double)ns[3] / count, "fault_new_range", "ranges=%zu", size);
	free(which);
}

void bench_scale(struct bench *b)
{
	static const size_t sizes[] = { 1000, 10000, 100000, 1000000 };
	/* The largest size once, it takes a while; and not where the kernel is slow. */
	size_t max = b->smoke ? SMOKE_RANGES : b->first && !can_count_bytes() ? 1000000 : 100000;
	size_t step = b->smoke ? 50 : 1000, done = 0;
	char *base = bench_reserve(max * PAGE, CHUNK), *other = bench_alloc(PAGE, BENCH_4K);
	uint64_t seed = 1, before;
	FILE *limit;
	int fd;

	limit = fopen("/proc/sys/vm/max_map_count", "we");
	if (!limit || fprintf(limit, "2000000\n") < 0 || fclose(limit))
		bench_fail("max_map_count: %m");
	fd = memfd_create("vsvm-bench", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, b->smoke ? max * PAGE : PAGE))
		bench_fail("memfd: %m");

	bench_open(b, b->n);
	/* No flush is waited for long: what is looked at is the search. */
	bench_flush_latency(b, 1);
	map_page(b, base, 0, fd);
	bench_fill(base, PAGE, 1);
	bench_fill(other, PAGE, 2);
	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		size_t size = b->smoke ? max >> (ARRAY_SIZE(sizes) - 1 - s) : sizes[s];
		size_t which[256];

		if (size > max)
			break;
		for (size_t i = done; i < size; i++)
			map_page(b, base, i, fd);
		before = can_count_bytes() ? kernel_bytes() : 0;
		for (size_t i = done; i < size; i += ARRAY_SIZE(which)) {
			size_t n = size - i < ARRAY_SIZE(which) ? size - i : ARRAY_SIZE(which);

			for (size_t k = 0; k < n; k++)
				which[k] = i + k;
			read_pages(b, base, which, n);
		}
		if (can_count_bytes())
			bench_sample(b, UNIT_BYTES,
				     (double)(kernel_bytes() - before) / (size - done),
				     "bytes_per_range", "ranges=%zu", size);
		done = size;
		scale_measure(b, base, size, b->smoke ? size / 2 : step, fd, other, &seed);
	}
	if (b->backend == BENCH_MANAGER)
		bench_check(bench_mgr(b, mgr_ranges) >= done);
	else
		bench_check(bench_sum(b, vm_ranges) >= done);
	bench_flush_latency(b, 20);
	bench_close(b);
}

/* ----------------------------------------------------------- memory of 2 MiB */

void bench_memory(struct bench *b)
{
	size_t count = b->smoke ? 2 : 64, size = count * CHUNK;
	char *buf = bench_alloc(size, BENCH_4K), *other = bench_alloc(CHUNK, BENCH_4K);

	if (!can_count_bytes())
		bench_skip("this kernel does not count what is allocated");
	bench_open(b, b->n);
	bench_fill(other, CHUNK, 0);
	for (enum bench_kind kind = BENCH_4K; kind <= BENCH_THP; kind++) {
		uint64_t before, bytes;

		bench_renew(buf, size, kind);
		bench_fill(buf, size, kind + 2);
		if (kind == BENCH_THP && bench_huge_kib(buf) * KIB != size)
			continue;
		bench_read(&b->gpus[0], other);
		settle(b, other);

		before = kernel_bytes();
		for (unsigned int i = 0; i < b->n; i++) {
			bench_read_each(&b->gpus[i], buf, size, CHUNK);
			bench_check(b->gpus[i].result[0] == bench_word(kind + 2, 0));
		}
		settle(b, other);
		bytes = kernel_bytes() - before;
		bench_check(bytes > count * b->n);
		bench_sample(b, UNIT_BYTES, (double)bytes / count, "bytes_per_2m", "kind=%s",
			     bench_kind_names[kind]);
	}
	bench_close(b);
}
