// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: devices, memory, time
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define TIMEOUT_NS	(120 * 1000000000LL)

const char * const bench_backend_names[] = {
	[BENCH_UPSTREAM] = "upstream",
	[BENCH_TWO_PASS] = "two_pass",
	[BENCH_MANAGER] = "manager",
};

const char * const bench_kind_names[] = {
	[BENCH_4K] = "4k",
	[BENCH_THP] = "thp",
	[BENCH_FILE] = "file",
};

static const uint32_t backend_flags[] = {
	[BENCH_UPSTREAM] = DRM_VSVM_VM_UPSTREAM,
	[BENCH_TWO_PASS] = DRM_VSVM_VM_TWO_PASS,
	[BENCH_MANAGER] = 0,
};

void bench_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "# ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	_exit(1);
}

void bench_skip(const char *reason)
{
	fprintf(stderr, "# skipped: %s\n", reason);
	_exit(BENCH_SKIPPED);
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

uint64_t bench_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t bench_own(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* ------------------------------------------------------------------ devices */

static size_t gpus_size(unsigned int n)
{
	return (n * sizeof(struct bench_gpu) + CHUNK - 1) & ~(CHUNK - 1);
}

void bench_prepare(struct bench *b, unsigned int n)
{
	/* A file, so that it stays where it is when VMs migrate. */
	b->gpus = bench_alloc(gpus_size(n), BENCH_FILE);
	memset(b->gpus, 0, n * sizeof(*b->gpus));
	b->n = n;
}

void bench_open(struct bench *b, unsigned int n)
{
	uint32_t flags = DRM_VSVM_VM_MIRROR | b->flags | backend_flags[b->backend];

	if (!b->gpus)
		bench_prepare(b, n);
	for (unsigned int i = 0; i < n; i++) {
		bench_ok(vsvm_open(&b->gpus[i].dev, i));
		bench_ok(vsvm_vm_create(&b->gpus[i].dev, flags, &b->gpus[i].vm));
	}
	/* Twice: what a write changes may take away what others have mapped. */
	for (unsigned int i = 0; i < 2 * n; i++) {
		struct bench_gpu *gpu = &b->gpus[i % n];
		VSVM_JOB(job, 2);

		vsvm_job_fill(&job, gpu->result, sizeof(gpu->result), 0);
		vsvm_job_fill(&job, gpu->fence, sizeof(gpu->fence), 0);
		bench_ok(vsvm_run(&gpu->vm, 0, &job, TIMEOUT_NS));
	}
	b->violations = bench_sum(b, violations);
}

void bench_close(struct bench *b)
{
	bench_check(bench_sum(b, violations) == b->violations);
	for (unsigned int i = 0; i < b->n; i++) {
		bench_ok(vsvm_vm_destroy(&b->gpus[i].vm));
		vsvm_close(&b->gpus[i].dev);
	}
	bench_free(b->gpus, gpus_size(b->n));
	b->gpus = NULL;
}

void bench_flush_latency(struct bench *b, unsigned int us)
{
	for (unsigned int i = 0; i < b->n; i++)
		bench_ok(vsvm_debugfs_set(&b->gpus[i].dev, "flush_latency_us", us));
}

void bench_restore(unsigned int n)
{
	struct vsvm_device dev;

	for (unsigned int i = 0; i < n; i++) {
		if (vsvm_open(&dev, i))
			continue;
		if (vsvm_debugfs_set(&dev, "flush_latency_us", 20) ||
		    vsvm_debugfs_set(&dev, "copy_mib_per_s", 0))
			fprintf(stderr, "# device %u keeps what was set\n", i);
		vsvm_close(&dev);
	}
}

uint64_t bench_sum_at(struct bench *b, size_t offset)
{
	struct drm_vsvm_stats_data stats;
	uint64_t value, sum = 0;

	for (unsigned int i = 0; i < b->n; i++) {
		bench_ok(vsvm_stats(&b->gpus[i].vm, &stats));
		memcpy(&value, (char *)&stats + offset, sizeof(value));
		sum += value;
	}
	return sum;
}

uint64_t bench_mgr_at(struct bench *b, size_t offset)
{
	return bench_sum_at(b, offset) / b->n;
}

static void write_number(const char *path, unsigned int value)
{
	FILE *file = fopen(path, "we");

	if (!file || fprintf(file, "%u", value) < 0 || fclose(file))
		bench_fail("%s: %m", path);
}

void bench_hives(unsigned int n, unsigned int hives)
{
	struct vsvm_device dev;
	bool good = true;

	for (unsigned int i = 0; i < n; i++) {
		bench_ok(vsvm_open(&dev, i));
		good &= dev.info.hive == i % hives;
		vsvm_close(&dev);
	}
	if (good)
		return;
	write_number("/sys/module/vsvm/parameters/hives", hives);
	for (unsigned int i = 0; i < n; i++)
		bench_ok(vsvm_unplug(i));
	for (unsigned int i = 0; i < n; i++)
		bench_ok(vsvm_plug(i));
}

/* --------------------------------------------------------------------- jobs */

uint64_t bench_read(struct bench_gpu *gpu, const volatile void *at)
{
	VSVM_JOB(job, 1);

	vsvm_job_copy(&job, &gpu->result[0], at, sizeof(uint64_t));
	bench_ok(vsvm_run(&gpu->vm, 0, &job, TIMEOUT_NS));
	return gpu->result[0];
}

void bench_write(struct bench_gpu *gpu, volatile void *at, uint64_t value)
{
	VSVM_JOB(job, 1);

	vsvm_job_fill(&job, at, sizeof(value), value);
	bench_ok(vsvm_run(&gpu->vm, 0, &job, TIMEOUT_NS));
}

void bench_read_each(struct bench_gpu *gpu, const volatile void *buf, size_t size,
		     size_t stride)
{
	VSVM_JOB(job, 256);
	size_t at = 0;

	while (at < size) {
		vsvm_job_reset(&job);
		for (; at < size && job.num < job.max; at += stride)
			vsvm_job_copy(&job, &gpu->result[job.num],
				      (const volatile char *)buf + at, sizeof(uint64_t));
		bench_ok(vsvm_run(&gpu->vm, 0, &job, TIMEOUT_NS));
	}
}

void bench_submit(struct bench_gpu *gpu, unsigned int queue, const struct vsvm_job *job)
{
	bench_ok(vsvm_exec(&gpu->vm, queue, job, &gpu->fence[queue], ++gpu->value[queue],
			   NULL));
}

void bench_finish(struct bench_gpu *gpu, unsigned int queue)
{
	bench_ok(vsvm_wait(&gpu->vm, &gpu->fence[queue], gpu->value[queue], TIMEOUT_NS));
}

/* ------------------------------------------------------------------- memory */

static int file_of(size_t size)
{
	int fd = memfd_create("vsvm-bench", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size))
		bench_fail("memfd of %zu bytes: %m", size);
	return fd;
}

void bench_renew(void *buf, size_t size, enum bench_kind kind)
{
	int flags = MAP_FIXED | (kind == BENCH_FILE ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
	int fd = kind == BENCH_FILE ? file_of(size) : -1;

	if (mmap(buf, size, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED)
		bench_fail("%zu bytes of memory: %m", size);
	if (fd >= 0)
		close(fd);
	else
		madvise(buf, size, kind == BENCH_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

void *bench_reserve(size_t size, size_t align)
{
	char *space;

	space = mmap(NULL, size + 2 * align, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space == MAP_FAILED)
		bench_fail("%zu bytes of address space: %m", size);
	return (char *)(((uintptr_t)space + align - 1) & ~(align - 1));
}

void *bench_alloc(size_t size, enum bench_kind kind)
{
	/* No access is possible around it, so that its VMA does not merge. */
	char *buf = (char *)bench_reserve(size + 2 * CHUNK, CHUNK) + CHUNK;

	bench_renew(buf, size, kind);
	return buf;
}

void bench_free(void *buf, size_t size)
{
	/* Out of reach, but nothing else comes there. */
	if (mmap(buf, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		 -1, 0) == MAP_FAILED)
		bench_fail("%zu bytes of address space: %m", size);
}

uint64_t bench_word(uint64_t seed, size_t at)
{
	uint64_t x = (seed << 40) + at + 1;

	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL;
}

void bench_fill(void *buf, size_t size, uint64_t seed)
{
	for (size_t at = 0; at < size; at += 4 * KIB)
		*(volatile uint64_t *)((char *)buf + at) = bench_word(seed, at);
}

size_t bench_huge_kib(const void *buf)
{
	unsigned long start, end;
	bool inside = false;
	size_t kib = 0;
	char text[512];
	FILE *file;

	file = fopen("/proc/self/smaps", "re");
	if (!file)
		return 0;
	while (fgets(text, sizeof(text), file)) {
		if (sscanf(text, "%lx-%lx ", &start, &end) == 2)
			inside = (uintptr_t)buf >= start && (uintptr_t)buf < end;
		else if (inside && sscanf(text, "AnonHugePages: %zu", &kib) == 1)
			break;
	}
	fclose(file);
	return kib;
}
