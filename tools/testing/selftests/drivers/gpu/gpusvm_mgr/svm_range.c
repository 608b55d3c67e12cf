// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What KFDSVMRangeTest asks of ranges of system memory: made, split, unmapped in
 * part, evicted, of any size, at any place, by many threads.
 */
#include <stdio.h>

#include "gpusvm_test.h"

GPU_TEST(basic_system_mem)
{
	/* As KFD does it: the CPU writes, each GPU writes, and so on around. */
	static const size_t sizes[] = { 8, 4 * KIB, 4 * KIB + 8, 68 * KIB, 64 * KIB, 256 * KIB };

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *buf = buf_alloc(sizes[i]);

		ASSERT_NE(NULL, buf);
		buf_init(buf, sizes[i], i);
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, sizes[i], 1));
		}
		ASSERT_EQ(-1, buf_check(buf, sizes[i], i, self->g->n));
		for_each_gpu(gpu, self) {
			uint64_t sum;

			ASSERT_EQ(0, gpu_checksum(gpu, buf, sizes[i], &sum));
			ASSERT_EQ(vsvm_checksum(buf, sizes[i]), sum);
		}
		buf_free(buf, sizes[i]);
	}
}

GPU_TEST(read_only_range)
{
	size_t size = 64 * KIB;
	char *ro = buf_alloc(size), *rw = buf_alloc(size);

	ASSERT_NE(NULL, ro);
	ASSERT_NE(NULL, rw);
	buf_init(ro, size, 1);
	ASSERT_EQ(0, mprotect(ro, size, PROT_READ));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_copy(gpu, rw, ro, size));
		ASSERT_EQ(-1, buf_check(rw, size, 1, 0));
		/* One job fails, those before and behind it do not. */
		ASSERT_EQ(0, gpu_fill(gpu, rw, size, 5));
		ASSERT_GPU_ERROR(gpu_copy(gpu, ro, rw, size), gpu, EPERM, ro,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, gpu_add(gpu, rw, size, 1));
		ASSERT_EQ(-1, buf_check_value(rw, size, 6));
		ASSERT_NO_MORE_ERRORS(gpu);
	}
	ASSERT_EQ(-1, buf_check(ro, size, 1, 0));
	/* Given back: writes work again. */
	ASSERT_EQ(0, mprotect(ro, size, PROT_READ | PROT_WRITE));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, ro, size, 1));
	}
	ASSERT_EQ(-1, buf_check(ro, size, 1, self->g->n));
	buf_free(ro, size);
	buf_free(rw, size);
}

/* A job that runs from memory it may write into memory that it may not. */
GPU_TEST(runs_into_read_only)
{
	size_t size = 64 * KIB, half = size / 2;
	char *buf = buf_alloc(size);

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, mprotect(buf + half, half, PROT_READ));
	for_each_gpu(gpu, self) {
		uint64_t value = 10 + (gpu - self->gpu);

		ASSERT_GPU_ERROR(gpu_fill(gpu, buf, size, value), gpu, EPERM, buf + half,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(-1, buf_check_value(buf, half, value));
		ASSERT_EQ(-1, buf_check_value(buf + half, half, 0));
	}
	buf_free(buf, size);
}

GPU_TEST(split_system_range)
{
	size_t size = CHUNK, third = 512 * KIB;
	char *buf = buf_alloc(size);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	buf_init(buf, 64 * KIB, 2);
	buf_init(buf + size - 64 * KIB, 64 * KIB, 3);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, 64 * KIB, 1));
		ASSERT_EQ(0, gpu_add(gpu, buf + size - 64 * KIB, 64 * KIB, 1));
	}
	/* The middle goes out of a range of 2 MiB that all have mapped. */
	ASSERT_EQ(0, munmap(buf + third, third));
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf + third, &value), gpu, EFAULT,
				 buf + third, 0);
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf + 2 * third - 8, 1), gpu, EFAULT,
				 buf + 2 * third - 8, DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, gpu_add(gpu, buf, 64 * KIB, 1));
		ASSERT_EQ(0, gpu_add(gpu, buf + size - 64 * KIB, 64 * KIB, 1));
		ASSERT_EQ(0, gpu_write64(gpu, buf + third - 8, 8));
		ASSERT_EQ(0, gpu_write64(gpu, buf + 2 * third, 9));
	}
	ASSERT_EQ(-1, buf_check(buf, 64 * KIB, 2, 2 * self->g->n));
	ASSERT_EQ(-1, buf_check(buf + size - 64 * KIB, 64 * KIB, 3, 2 * self->g->n));
	/* Something else comes to where the hole was. */
	ASSERT_EQ(buf + third, mmap(buf + third, third, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf + third, &value));
		ASSERT_EQ((uint64_t)(gpu - self->gpu), value);
		ASSERT_EQ(0, gpu_add(gpu, buf + third, 8, 1));
		ASSERT_EQ(0, gpu_read64(gpu, buf + third - 8, &value));
		ASSERT_EQ(8, value);
		ASSERT_EQ(0, gpu_read64(gpu, buf + 2 * third, &value));
		ASSERT_EQ(9, value);
	}
	buf_free(buf, size);
}

GPU_TEST(partial_unmap_sys_mem)
{
	size_t pages = 16, page = self->page;
	char *buf = buf_alloc(pages * page);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	buf_init(buf, pages * page, 4);
	/* Page by page: the first, the last, then each second of the rest. */
	for (size_t step = 0; step < pages / 2; step++) {
		size_t at = step == 0 ? 0 : step == 1 ? pages - 1 : 2 * step - 1;

		for_each_gpu(gpu, self) {
			for (size_t i = 0; i < pages; i++) {
				if (step == 0) {
					ASSERT_EQ(0, gpu_read64(gpu, buf + i * page, &value));
				}
			}
		}
		ASSERT_EQ(0, munmap(buf + at * page, page));
		for_each_gpu(gpu, self) {
			ASSERT_GPU_ERROR(gpu_read64(gpu, buf + at * page, &value), gpu,
					 EFAULT, buf + at * page, 0);
			for (size_t i = 2; i < pages - 1; i += 2) {
				ASSERT_EQ(0, gpu_read64(gpu, buf + i * page, &value));
				ASSERT_EQ(pattern(4, i * page / 8) +
					  step * self->g->n + (gpu - self->gpu), value);
				ASSERT_EQ(0, gpu_add(gpu, buf + i * page, 8, 1));
			}
		}
	}
	buf_free(buf, pages * page);
}

GPU_TEST(prefault_partial_range)
{
	size_t size = 256 * KIB;
	char *buf = buf_alloc(size);

	ASSERT_NE(NULL, buf);
	/* Each third page is there already. */
	for (size_t at = 0; at < size; at += 3 * self->page)
		buf_init(buf + at, self->page, at / self->page);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, size, 1));
	}
	for (size_t at = 0; at < size; at += self->page) {
		if (at / self->page % 3 == 0) {
			ASSERT_EQ(-1, buf_check(buf + at, self->page, at / self->page,
						self->g->n));
		} else {
			ASSERT_EQ(-1, buf_check_value(buf + at, self->page, self->g->n));
		}
	}
	buf_free(buf, size);
}

GPU_TEST(evict_system_range)
{
	size_t size = 128 * KIB;
	char *buf = buf_alloc(size);
	uint64_t sum, want;

	ASSERT_NE(NULL, buf);
	if (!swap_available())
		SKIP(goto out, "no swap");
	buf_init(buf, size, 5);
	for (unsigned int round = 0; round < 3; round++) {
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, size, 1));
		}
		want = vsvm_checksum(buf, size);
		/* Mapped on all devices, and yet it goes. */
		ASSERT_EQ(size / self->page, page_out(buf, size));
		ASSERT_TRUE(pagemap_entry(buf) & PAGEMAP_SWAPPED);
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_checksum(gpu, buf, size, &sum));
			ASSERT_EQ(want, sum);
		}
	}
	ASSERT_EQ(-1, buf_check(buf, size, 5, 3 * self->g->n));
out:
	buf_free(buf, size);
}

GPU_TEST(invalid_range)
{
	char *hole = buf_map(self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint64_t end = self->gpu->dev.info.va_end;

	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, munmap(hole, self->page));
	for_each_gpu(gpu, self) {
		const struct {
			uint64_t addr;
			int error;
		} bad[] = {
			{ (uintptr_t)hole, EFAULT },
			{ 0, EFAULT },
			{ 8, EFAULT },
			{ end, EINVAL },
			{ 1ULL << 63, EINVAL },
			{ 0xffff888000000000ULL, EINVAL },
			{ 0xffffffff81000000ULL, EINVAL },
			{ ~0ULL - 7, EINVAL },
		};
		struct drm_vsvm_error error;

		for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
			VSVM_JOB(job, 1);

			vsvm_job_fill(&job, (void *)(uintptr_t)bad[i].addr, 8, 1);
			ASSERT_EQ(-EIO, gpu_run(gpu, &job));
			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			/* The kernel's own addresses may also count as unmapped. */
			ASSERT_TRUE(error.error == EFAULT || error.error == (__u32)bad[i].error)
				TH_LOG("0x%llx: errno %u", (unsigned long long)bad[i].addr,
				       error.error);
			ASSERT_EQ(bad[i].addr, error.addr);
			ASSERT_EQ(DRM_VSVM_ERROR_WRITE, error.flags);
			ASSERT_EQ(0, error.instr);
		}
		/* Off the end of the space, from memory that does not exist. */
		{
			VSVM_JOB(job, 3);

			vsvm_job_nop(&job);
			vsvm_job_nop(&job);
			vsvm_job_copy(&job, gpu->result, (void *)(uintptr_t)(end - 8), 64);
			ASSERT_EQ(-EIO, gpu_run(gpu, &job));
			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			ASSERT_EQ(2, error.instr);
			ASSERT_TRUE(error.error == EFAULT || error.error == EINVAL);
		}
		/* The VM is none the worse. */
		ASSERT_EQ(0, gpu_write64(gpu, &gpu->result[3], 3));
		ASSERT_EQ(3, gpu->result[3]);
	}
	buf_free(hole, self->page);
}

GPU_TEST(giant_range)
{
	size_t size = 1024 * GIB, stride = 96 * GIB;
	uint64_t ranges, value;
	unsigned int touched;
	char *buf;

	buf = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (buf == MAP_FAILED)
		SKIP(return, "no address space of 1 TiB");
	ASSERT_EQ(0, gpu_read64(self->gpu, buf, &value));
	ASSERT_EQ(0, gpus_sum(self->g, mgr_ranges) % self->g->n);
	ranges = gpus_sum(self->g, mgr_ranges) / self->g->n;
	for_each_gpu(gpu, self) {
		for (size_t at = stride + 4096; at < size; at += stride) {
			ASSERT_EQ(0, gpu_add(gpu, buf + at, 8, at));
		}
	}
	touched = (size - 4097) / stride;
	for (size_t at = stride + 4096; at < size; at += stride) {
		ASSERT_EQ(self->g->n * at, *(volatile uint64_t *)(buf + at));
	}
	/* One range for each place, whatever the size of the VMA. */
	if (managed()) {
		ASSERT_EQ(ranges + touched, gpus_sum(self->g, mgr_ranges) / self->g->n);
	}
	ASSERT_EQ(0, gpu_write64(self->gpu, buf + size - 8, 1));
	ASSERT_EQ(0, munmap(buf, size));
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf + stride + 4096, &value), gpu, EFAULT,
				 buf + stride + 4096, 0);
	}
}

/* VMAs of each size around the chunks, at places that fit none of them. */
GPU_TEST(odd_sizes)
{
	static const unsigned int pages[] = { 1, 2, 15, 16, 17, 33, 511, 512, 513 };
	size_t page = self->page;
	char *area = buf_map(2 * CHUNK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	ASSERT_NE(NULL, area);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++) {
		size_t size = pages[i] * page, head = (i * 7 % 5) * page;
		char *buf = area + head + page;

		ASSERT_EQ(buf, mmap(buf, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		for_each_gpu(gpu, self) {
			uint64_t value;

			/* Each page once, the edges exactly, nothing outside. */
			ASSERT_EQ(0, gpu_add_each(gpu, buf, size, page));
			ASSERT_EQ(0, gpu_add(gpu, buf + size - 8, 8, 1));
			ASSERT_GPU_ERROR(gpu_read64(gpu, buf - 8, &value), gpu, EFAULT,
					 buf - 8, 0);
			ASSERT_GPU_ERROR(gpu_read64(gpu, buf + size, &value), gpu, EFAULT,
					 buf + size, 0);
		}
		for (size_t at = 0; at < size; at += page) {
			ASSERT_EQ(self->g->n, *(volatile uint64_t *)(buf + at));
		}
		ASSERT_EQ(self->g->n, *(volatile uint64_t *)(buf + size - 8));
		ASSERT_EQ(buf, mmap(buf, size, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	}
	buf_free(area, 2 * CHUNK);
}

/* Words and pages that a range ends in the middle of. */
GPU_TEST(across_vmas)
{
	size_t page = self->page, size = 12 * page;
	char *buf = buf_alloc(size);
	uint64_t sum;

	ASSERT_NE(NULL, buf);
	/* Twelve VMAs in a row, since neighbours differ. */
	for (size_t i = 0; i < 12; i += 2) {
		ASSERT_EQ(0, madvise(buf + i * page, page, MADV_DONTFORK));
	}
	buf_init(buf, size, 6);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, size, 1));
		/* Bytes at any alignment, across the edges. */
		ASSERT_EQ(0, gpu_checksum(gpu, buf + page - 3, 4 * page + 5, &sum));
		ASSERT_EQ(vsvm_checksum(buf + page - 3, 4 * page + 5), sum);
		ASSERT_EQ(0, gpu_copy(gpu, (char *)gpu->result + 1, buf + 3 * page - 50, 100));
		ASSERT_EQ(0, memcmp((char *)gpu->result + 1, buf + 3 * page - 50, 100));
	}
	ASSERT_EQ(-1, buf_check(buf, size, 6, self->g->n));
	buf_free(buf, size);
}

struct threads_arg {
	char *shared;
	size_t page;
};

#define ROUNDS	6

/* A part of its own at the start, then what all share, then its own again. */
static int thread_fn(struct gpu *gpu, unsigned int i, void *arg)
{
	struct threads_arg *t = arg;
	char *own = buf_alloc(64 * KIB);
	int ret = -ENOMEM;

	if (!own)
		return ret;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		buf_init(own, 64 * KIB, i * 100 + round);
		ret = gpu_add(gpu, own, 64 * KIB, 7);
		if (!ret)
			ret = gpu_atomic_add(gpu, t->shared + (round % 4) * t->page, 1, 50);
		if (!ret && buf_check(own, 64 * KIB, i * 100 + round, 7) >= 0)
			ret = -EILSEQ;
		if (!ret && madvise(own, 32 * KIB, MADV_DONTNEED))
			ret = -errno;
		if (!ret)
			ret = gpu_add(gpu, own, 32 * KIB, 3);
		if (!ret && buf_check_value(own, 32 * KIB, 3) >= 0)
			ret = -EILSEQ;
		if (ret)
			break;
	}
	buf_free(own, 64 * KIB);
	return ret;
}

GPU_TEST(multi_thread)
{
	struct threads_arg t = { .shared = buf_alloc(64 * KIB), .page = self->page };
	uint64_t sum = 0;

	ASSERT_NE(NULL, t.shared);
	ASSERT_EQ(0, gpus_parallel(self->g, thread_fn, &t));
	for (unsigned int i = 0; i < 4; i++)
		sum += *(volatile uint64_t *)(t.shared + i * self->page);
	ASSERT_EQ(self->g->n * ROUNDS * 50, sum);
	buf_free(t.shared, 64 * KIB);
}

/* Several queues of one VM, each with its own data, at the same time. */
GPU_TEST(multi_queue)
{
	size_t size = 32 * KIB;
	char *buf = buf_alloc(DRM_VSVM_MAX_QUEUES * size);

	ASSERT_NE(NULL, buf);
	for (unsigned int q = 0; q < DRM_VSVM_MAX_QUEUES; q++)
		buf_init(buf + q * size, size, q);
	for_each_gpu(gpu, self) {
		for (unsigned int q = 0; q < DRM_VSVM_MAX_QUEUES; q++) {
			VSVM_JOB(job, 2);

			vsvm_job_add(&job, buf + q * size, size, 1);
			vsvm_job_add(&job, buf + q * size, size, q);
			ASSERT_EQ(0, gpu_start(gpu, q, &job));
			/* In order with the one before, by the rule of a queue. */
			vsvm_job_reset(&job);
			vsvm_job_copy(&job, &gpu->result[q], buf + q * size, 8);
			ASSERT_EQ(0, gpu_start(gpu, q, &job));
		}
		for (unsigned int q = 0; q < DRM_VSVM_MAX_QUEUES; q++) {
			ASSERT_EQ(0, gpu_finish(gpu, q));
			ASSERT_EQ(pattern(q, 0) + (gpu - self->gpu + 1) * (1 + q),
				  gpu->result[q]);
		}
	}
	for (unsigned int q = 0; q < DRM_VSVM_MAX_QUEUES; q++) {
		ASSERT_EQ(-1, buf_check(buf + q * size, size, q, self->g->n * (1 + q)));
	}
	buf_free(buf, DRM_VSVM_MAX_QUEUES * size);
}

/* Each operation, at each alignment that it allows, against the CPU's result. */
GPU_TEST(operations)
{
	size_t size = 3 * self->page;
	unsigned char *a = buf_alloc(size), *b = buf_alloc(size);
	uint64_t *out = buf_alloc(self->page), counts[256], seed = 1;

	ASSERT_NE(NULL, a);
	ASSERT_NE(NULL, b);
	ASSERT_NE(NULL, out);
	buf_init(a, size, 7);
	for_each_gpu(gpu, self) {
		VSVM_JOB(job, 4);
		struct vsvm_node *node;

		for (unsigned int i = 0; i < 8; i++) {
			size_t from = rnd(&seed) % self->page, to = rnd(&seed) % self->page;
			size_t len = 1 + rnd(&seed) % (2 * self->page - 1), differ;

			memset(b, 0xee, size);
			memset(out, 0, self->page);
			vsvm_job_reset(&job);
			vsvm_job_copy(&job, b + to, a + from, len);
			vsvm_job_checksum(&job, &out[0], b + to, len);
			vsvm_job_compare(&job, &out[1], a + from, b + to, len);
			vsvm_job_histogram(&job, &out[8], a + from, len);
			ASSERT_EQ(0, gpu_run(gpu, &job));
			ASSERT_EQ(0, memcmp(a + from, b + to, len));
			for (size_t at = 0; at < to; at++) {
				ASSERT_EQ(0xee, b[at]);
			}
			for (size_t at = to + len; at < size; at++) {
				ASSERT_EQ(0xee, b[at]);
			}
			ASSERT_EQ(vsvm_checksum(a + from, len), out[0]);
			ASSERT_EQ(~0ULL, out[1]);
			memset(counts, 0, sizeof(counts));
			for (size_t at = 0; at < len; at++)
				counts[a[from + at]]++;
			ASSERT_EQ(0, memcmp(counts, &out[8], sizeof(counts)));

			differ = rnd(&seed) % len;
			b[to + differ] ^= 1;
			vsvm_job_reset(&job);
			vsvm_job_compare(&job, &out[1], a + from, b + to, len);
			ASSERT_EQ(0, gpu_run(gpu, &job));
			ASSERT_EQ(differ, out[1]);
		}

		/* A list through both pages, backwards; then stopped half-way. */
		node = NULL;
		for (unsigned int i = 0; i < 100; i++) {
			struct vsvm_node *next = (struct vsvm_node *)(b + i * 112);

			next->next = node;
			next->value = i * i;
			node = next;
		}
		vsvm_job_reset(&job);
		vsvm_job_chase(&job, &out[0], node, 1000);
		vsvm_job_chase(&job, &out[2], node, 50);
		ASSERT_EQ(0, gpu_run(gpu, &job));
		ASSERT_EQ(100, out[0]);
		ASSERT_EQ(328350, out[1]);
		ASSERT_EQ(50, out[2]);
		ASSERT_EQ(328350 - 40425, out[3]);

		out[4] = 5;
		ASSERT_EQ(0, gpu_atomic_add(gpu, &out[4], -2, 1000));
		ASSERT_EQ(5ULL - 2000, out[4]);
	}
	buf_free(a, size);
	buf_free(b, size);
	buf_free(out, self->page);
}

TEST_HARNESS_MAIN
