// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * VMs that are eager: what one device faults in is mapped on all of them in the
 * same pass. One fault instead of N, and the same data.
 */
#define GPUS_FLAGS	DRM_VSVM_VM_EAGER
#include "gpusvm_test.h"

#define SIZE	(64 * KIB)

GPU_TEST(one_fault)
{
	uint64_t faults, maps, eager, mgr_walks;
	char *buf = buf_alloc(CHUNK);

	ASSERT_NE(NULL, buf);
	memset(buf, 1, CHUNK);
	faults = gpus_sum(self->g, faults);
	maps = gpus_sum(self->g, dma_maps);
	eager = gpus_sum(self->g, eager_maps);
	mgr_walks = gpus_sum(self->g, mgr_walks) / self->g->n;
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read_each(gpu, buf, CHUNK, 8 * self->page));
	}
	EXPECT_EQ(faults + 1, gpus_sum(self->g, faults));
	EXPECT_EQ(maps + self->g->n, gpus_sum(self->g, dma_maps));
	EXPECT_EQ(eager + self->g->n - 1, gpus_sum(self->g, eager_maps));
	EXPECT_EQ(mgr_walks + 1, gpus_sum(self->g, mgr_walks) / self->g->n);
	buf_free(buf, CHUNK);
}

GPU_TEST(one_fault_to_write)
{
	uint64_t faults, eager;
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 1);
	faults = gpus_sum(self->g, faults);
	eager = gpus_sum(self->g, eager_maps);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	EXPECT_EQ(faults + 1, gpus_sum(self->g, faults));
	EXPECT_EQ(eager + self->g->n - 1, gpus_sum(self->g, eager_maps));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 1, self->g->n));
	buf_free(buf, SIZE);
}

/* Mapped everywhere means invalidated everywhere. */
GPU_TEST(invalidated_everywhere)
{
	char *buf = buf_alloc(SIZE);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	for (unsigned int round = 0; round < 6; round++) {
		struct gpu *first = &self->gpu[round % self->g->n];
		uint64_t invalidations;

		buf_init(buf, SIZE, round);
		ASSERT_EQ(0, gpu_add(first, buf, SIZE, 1));
		invalidations = gpus_sum(self->g, invalidations);
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		EXPECT_EQ(invalidations + self->g->n, gpus_sum(self->g, invalidations));
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_read64(gpu, buf + SIZE - 8, &value));
			ASSERT_EQ(0, value);
		}
	}
	ASSERT_EQ(0, munmap(buf, SIZE));
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf, &value), gpu, EFAULT, buf, 0);
	}
	buf_free(buf, SIZE);
}

/* What the eager ones were given to read they may have to be given to write. */
GPU_TEST(read_then_write)
{
	char *buf = buf_alloc(SIZE);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	/* Zero pages first: mapped read-only on all of them. */
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(0, value);
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(0, gpu_add(&self->gpu[i], buf, SIZE, 1));
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_read64(gpu, buf + SIZE / 2, &value));
			ASSERT_EQ(i + 1, value);
		}
	}
	ASSERT_EQ(-1, buf_check_value(buf, SIZE, self->g->n));
	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(self->g->n, value);
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf, 0), gpu, EPERM, buf,
				 DRM_VSVM_ERROR_WRITE);
	}
	buf_free(buf, SIZE);
}

static int add_some(struct gpu *gpu, unsigned int i, void *arg)
{
	char *buf = arg;
	int ret = 0;

	for (unsigned int round = 0; !ret && round < 10; round++)
		ret = gpu_atomic_add(gpu, buf + ((i + round) % 16) * page_size(), 1, 3);
	return ret;
}

/* All fault at once, each for all: one filler at a time, nothing lost. */
GPU_TEST(all_at_once)
{
	for (unsigned int round = 0; round < 6; round++) {
		char *buf = buf_alloc(SIZE);
		uint64_t sum = 0;

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, gpus_parallel(self->g, add_some, buf));
		for (size_t at = 0; at < SIZE; at += self->page)
			sum += *(volatile uint64_t *)(buf + at);
		ASSERT_EQ(30 * self->g->n, sum);
		buf_free(buf, SIZE);
	}
}

/* Beside one that is not eager: it faults for itself, and for the others. */
GPU_TEST(mixed)
{
	struct gpu *plain = buf_alloc(sizeof(*plain));
	struct drm_vsvm_stats_data before, after;
	char *buf = buf_alloc(SIZE);
	uint64_t faults;

	ASSERT_NE(NULL, plain);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, gpu_open(plain, 0, 0));
	ASSERT_EQ(0, gpu_warm(plain));
	buf_init(buf, SIZE, 2);
	ASSERT_EQ(0, vsvm_stats(&plain->vm, &before));
	faults = gpus_sum(self->g, faults);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	ASSERT_EQ(0, vsvm_stats(&plain->vm, &after));
	/* Not mapped on the plain one by the fault of another. */
	EXPECT_EQ(before.eager_maps, after.eager_maps);
	EXPECT_EQ(before.dma_maps, after.dma_maps);
	EXPECT_EQ(faults + 1, gpus_sum(self->g, faults));

	ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, gpu_add(plain, buf, SIZE, 1));
	ASSERT_EQ(0, vsvm_stats(&plain->vm, &after));
	EXPECT_LT(before.faults, after.faults);
	faults = gpus_sum(self->g, faults);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	EXPECT_EQ(faults, gpus_sum(self->g, faults));
	ASSERT_EQ(-1, buf_check_value(buf, SIZE, 1 + self->g->n));
	ASSERT_EQ(0, gpu_close(plain));
	buf_free(buf, SIZE);
	buf_free(plain, sizeof(*plain));
}

TEST_HARNESS_MAIN
