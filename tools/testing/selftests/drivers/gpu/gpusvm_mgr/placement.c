// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Where data goes because somebody said so: preferred locations, what may move and
 * how much at a time, device atomics, prefetch.
 */
#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"
#include "gpusvm_attrs.h"

#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define SIZE		CHUNK
/* So large that two threads move it. */
#define LARGE		(4 * CHUNK)
#define SMALL		(64 * KIB)
#define PAGES(size)	((size) / self->page)

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif

FIXTURE(place)
{
	struct gpus *g;
	struct gpu *gpu;
	size_t page;
};

FIXTURE_VARIANT(place)
{
	unsigned int n;
	unsigned int hives;
};

FIXTURE_VARIANT_ADD(place, one)
{
	.n = 1, .hives = 1,
};

FIXTURE_VARIANT_ADD(place, two)
{
	.n = 2, .hives = 1,
};

FIXTURE_VARIANT_ADD(place, two_apart)
{
	.n = 2, .hives = 2,
};

FIXTURE_VARIANT_ADD(place, four)
{
	.n = 4, .hives = 2,
};

static int arbiter(uint64_t residence_us)
{
	int ret = arbiter_param("residence_us", residence_us);

	/* Moves are asked for here: nobody is to be pinned for them. */
	return ret ? ret : arbiter_param("bounce_window_us", residence_us == 10000 ? 100000 : 0);
}

FIXTURE_SETUP(place)
{
	int ret;

	self->page = page_size();
	ret = topology(variant->n, variant->hives, 64);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	if (ret == -ENOENT)
		SKIP(return, "no debugfs");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, arbiter(0));
	ASSERT_EQ(0, gpus_open(&self->g, variant->n, DRM_VSVM_VM_MIGRATE));
	self->gpu = self->g->gpu;
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_knob(gpu, "fail_alloc", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_skip", 0));
	}
}

FIXTURE_TEARDOWN(place)
{
	if (self->g) {
		for (unsigned int i = 0; i < self->g->n; i++)
			gpu_explain(&self->gpu[i]);
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
	EXPECT_EQ(0, arbiter(10000));
}

#define PLACE_TEST(name)	TEST_F_TIMEOUT(place, name, TEST_LIMIT)

static bool linked(const struct gpu *one, const struct gpu *two)
{
	return one->dev.info.hive == two->dev.info.hive;
}

/* Small pages: how much of it is where is counted in these. */
static char *small_pages(size_t size)
{
	char *buf = buf_alloc(size);

	if (buf && madvise(buf, size, MADV_NOHUGEPAGE)) {
		buf_free(buf, size);
		return NULL;
	}
	return buf;
}

/* Bytes that were copied into, out of, and between the memories of devices. */
static uint64_t copied(struct gpus *g)
{
	return gpus_sum(g, copy_bytes_in) + gpus_sum(g, copy_bytes_out) +
	       gpus_sum(g, copy_bytes_peer);
}

/* ------------------------------------------------------------------ location */

/* Whoever faults: it goes where it is said to belong, if it is reached there. */
PLACE_TEST(preferred_for_faults)
{
	for_each_gpu(home, self) {
		for_each_gpu(gpu, self) {
			char *buf = small_pages(SIZE);
			uint64_t in = gpu_stat(home, copy_bytes_in);
			uint64_t own = gpu_stat(gpu, copy_bytes_in);

			ASSERT_NE(NULL, buf);
			buf_init(buf, SIZE, 1);
			ASSERT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, &home->dev));
			/* It is said of memory that no device has used: not moved yet. */
			EXPECT_EQ(0, pages_away(buf, SIZE));
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
			if (linked(home, gpu)) {
				EXPECT_EQ(in + SIZE, gpu_stat(home, copy_bytes_in));
				EXPECT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
			} else {
				EXPECT_EQ(0, pages_away(buf, SIZE));
			}
			if (home != gpu) {
				EXPECT_EQ(own, gpu_stat(gpu, copy_bytes_in));
			}
			ASSERT_EQ(-1, buf_check(buf, SIZE, 1, 1));
			buf_free(buf, SIZE);
		}
	}
}

/* What devices have used is moved when it is said, before the call returns. */
PLACE_TEST(preferred_moves_at_once)
{
	char *buf = small_pages(SIZE);

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 2);
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
	for_each_gpu(gpu, self) {
		uint64_t before = copied(self->g);
		uint64_t prefetches = gpu_stat(gpu, mgr_prefetches);

		/* To system memory, and no fault of anybody takes it away again. */
		ASSERT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, NULL));
		EXPECT_EQ(0, pages_away(buf, SIZE));
		EXPECT_EQ(before + SIZE, copied(self->g));
		EXPECT_LT(prefetches, gpu_stat(gpu, mgr_prefetches));
		before = copied(self->g);
		for_each_gpu(other, self) {
			ASSERT_EQ(0, gpu_add(other, buf, SIZE, 1));
		}
		EXPECT_EQ(0, pages_away(buf, SIZE));
		EXPECT_EQ(before, copied(self->g));

		/* To a device. */
		prefetches = gpu_stat(gpu, mgr_prefetches);
		ASSERT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, &gpu->dev));
		EXPECT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
		EXPECT_EQ(before + SIZE, copied(self->g));
		EXPECT_LT(prefetches, gpu_stat(gpu, mgr_prefetches));
		before = copied(self->g);
		/* Said again: nothing. */
		prefetches = gpu_stat(gpu, mgr_prefetches);
		ASSERT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, &gpu->dev));
		EXPECT_EQ(before, copied(self->g));
		EXPECT_EQ(prefetches, gpu_stat(gpu, mgr_prefetches));
	}
	ASSERT_EQ(0, gpus_validate());
	ASSERT_EQ(-1, buf_check(buf, SIZE, 2, 1 + self->g->n * self->g->n));
	buf_free(buf, SIZE);
}

/* A part of a range: that part. */
PLACE_TEST(preferred_in_part)
{
	char *buf = small_pages(SIZE);

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 3);
	ASSERT_EQ(0, vsvm_attr_prefer(&self->gpu->vm, buf, SIZE, NULL));
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, pages_away(buf, SIZE));
	ASSERT_EQ(0, vsvm_attr_prefer(&self->gpu->vm, buf + SIZE / 4, SIZE / 4,
				      &self->gpu->dev));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	/* Of the last one's hive or not: it is there, or had to come back. */
	ASSERT_EQ(0, gpu_read_each(self->gpu, buf, SIZE, self->page));
	EXPECT_EQ(PAGES(SIZE / 4), pages_away(buf, SIZE));
	EXPECT_EQ(PAGES(SIZE / 4), pages_away(buf + SIZE / 4, SIZE / 4));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 3, 1 + self->g->n));
	buf_free(buf, SIZE);
}

/* A page that nobody may touch keeps nobody else from what is beside it. */
PLACE_TEST(preferred_beside_guard)
{
	for_each_gpu(gpu, self) {
		char *buf = small_pages(SIZE);
		uint64_t *words = (uint64_t *)buf;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 22);
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
		if (madvise(buf + SIZE / 2, self->page, MADV_GUARD_INSTALL)) {
			ASSERT_EQ(EINVAL, errno);
			SKIP(return, "no guard pages");
		}
		for (unsigned int turn = 0; turn < 2; turn++) {
			ASSERT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, NULL));
			EXPECT_EQ(0, pages_away(buf, SIZE));
			ASSERT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, &gpu->dev));
			EXPECT_EQ(PAGES(SIZE) - 1, pages_away(buf, SIZE));
		}
		ASSERT_EQ(-1, buf_check(buf, SIZE / 2, 22, 1));
		for (size_t i = WORDS(SIZE / 2 + self->page); i < WORDS(SIZE); i++)
			ASSERT_EQ(pattern(22, i) + 1, words[i]);
		buf_free(buf, SIZE);
	}
	ASSERT_EQ(0, gpus_validate());
}

/* So much at a time, and the default is all of it. */
PLACE_TEST(granularity)
{
	for_each_gpu(gpu, self) {
		for (unsigned int order = 0; order <= 9; order += 3) {
			const size_t grain = self->page << order;
			char *buf = small_pages(SIZE);
			uint64_t in = gpu_stat(gpu, copy_bytes_in), value;

			ASSERT_NE(NULL, buf);
			buf_init(buf, SIZE, 4);
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_GRANULARITY, order));
			ASSERT_EQ(0, gpu_read64(gpu, buf + SIZE / 2, &value));
			ASSERT_EQ(pattern(4, WORDS(SIZE / 2)), value);
			/* Sizes of ranges are few: the next smaller one. */
			EXPECT_GE(grain, gpu_stat(gpu, copy_bytes_in) - in);
			EXPECT_LT(grain / 17, gpu_stat(gpu, copy_bytes_in) - in);
			EXPECT_EQ(PAGES(gpu_stat(gpu, copy_bytes_in) - in),
				  pages_away(buf, SIZE));
			/* Larger ranges that are there give way to small ones. */
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_GRANULARITY,
						       DRM_VSVM_GRANULARITY_DEFAULT));
			buf_free(buf, SIZE);
		}
	}
}

/* Nothing moves; or nothing from device to device. */
PLACE_TEST(migration_policy)
{
	struct gpu *peer = &self->gpu[self->g->n - 1];
	char *buf = small_pages(SIZE);
	uint64_t before;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 5);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_MIGRATION,
					       DRM_VSVM_MIGRATION_NEVER));
		before = copied(self->g);
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		EXPECT_EQ(before, copied(self->g));
		EXPECT_EQ(0, pages_away(buf, SIZE));
	}
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
	buf_init(buf, SIZE, 5);
	ASSERT_EQ(0, vsvm_attr_set_one(&peer->vm, buf, SIZE, DRM_VSVM_ATTR_MIGRATION,
				       DRM_VSVM_MIGRATION_SYSTEM));
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	EXPECT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
	for_each_gpu(gpu, self) {
		if (!linked(gpu, self->gpu))
			continue;
		before = copied(self->g);
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		EXPECT_EQ(before, copied(self->g));
	}
	/* Anything, again. */
	ASSERT_EQ(0, vsvm_attr_set_one(&peer->vm, buf, SIZE, DRM_VSVM_ATTR_MIGRATION,
				       DRM_VSVM_MIGRATION_ALL));
	if (peer != self->gpu) {
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
		before = copied(self->g);
		ASSERT_EQ(0, gpu_add(peer, buf, SIZE, 1));
		EXPECT_LT(before, copied(self->g));
	}
	buf_free(buf, SIZE);
}

/* How long data stays is said of the memory, against what holds in general. */
PLACE_TEST(residence)
{
	struct gpu *first = self->gpu, *peer = NULL;
	char *buf = small_pages(SMALL);

	for_each_gpu(gpu, self)
		if (gpu != first && linked(gpu, first))
			peer = gpu;
	if (!peer)
		SKIP(return, "needs a linked peer");
	ASSERT_NE(NULL, buf);
	buf_init(buf, SMALL, 6);
	/* In general: not at all. Here: for a long time. */
	ASSERT_EQ(0, vsvm_attr_set_one(&first->vm, buf, SMALL, DRM_VSVM_ATTR_RESIDENCE,
				       1000000));
	ASSERT_EQ(0, gpu_add(first, buf, SMALL, 1));
	ASSERT_EQ(PAGES(SMALL), pages_away(buf, SMALL));
	{
		uint64_t before = copied(self->g);
		uint64_t refused = gpu_stat(peer, migrations_resident);

		ASSERT_EQ(0, gpu_add(peer, buf, SMALL, 1));
		EXPECT_EQ(before, copied(self->g));
		EXPECT_LT(refused, gpu_stat(peer, migrations_resident));
	}
	/* In general: for a long time. Here: not at all. */
	ASSERT_EQ(0, arbiter(1000000000));
	ASSERT_EQ(0, madvise(buf, SMALL, MADV_DONTNEED));
	ASSERT_EQ(0, vsvm_attr_set_one(&first->vm, buf, SMALL, DRM_VSVM_ATTR_RESIDENCE, 0));
	ASSERT_EQ(0, gpu_add(first, buf, SMALL, 1));
	{
		uint64_t before = gpu_stat(first, copy_bytes_peer);

		ASSERT_EQ(0, gpu_add(peer, buf, SMALL, 1));
		EXPECT_EQ(before + SMALL, gpu_stat(first, copy_bytes_peer));
	}
	ASSERT_EQ(-1, buf_check_value(buf, SMALL, 2));
	buf_free(buf, SMALL);
}

/* One takes it where it is; the others are not kept from having it moved. */
PLACE_TEST(in_place)
{
	for_each_gpu(gpu, self) {
		char *buf = small_pages(SIZE);
		uint64_t before = copied(self->g);

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 7);
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_IN_PLACE));
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		EXPECT_EQ(before, copied(self->g));
		EXPECT_EQ(0, pages_away(buf, SIZE));
		for_each_gpu(other, self) {
			if (other == gpu)
				continue;
			ASSERT_EQ(0, gpu_add(other, buf, SIZE, 1));
			EXPECT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
			before = copied(self->g);
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
			if (linked(gpu, other)) {
				EXPECT_EQ(before, copied(self->g));
				EXPECT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
			} else {
				EXPECT_EQ(0, pages_away(buf, SIZE));
			}
		}
		ASSERT_EQ(-1, buf_check(buf, SIZE, 7, 1 + 2 * (self->g->n - 1)));
		buf_free(buf, SIZE);
	}
}

/* ------------------------------------------------------------------- atomics */

/* For an atomic operation the data comes, and is taken from all others. */
PLACE_TEST(atomics_device)
{
	char *buf = small_pages(SMALL);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	memset(buf, 0, SMALL);
	/* Nothing else takes it from a device. */
	ASSERT_EQ(0, vsvm_attr_set_one(&self->gpu->vm, buf, SMALL, DRM_VSVM_ATTR_MIGRATION,
				       DRM_VSVM_MIGRATION_SYSTEM));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SMALL, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE));
	}
	for_each_gpu(gpu, self) {
		unsigned int i = gpu - self->gpu;

		/* All have it mapped, where it is. */
		for_each_gpu(other, self) {
			ASSERT_EQ(0, gpu_read64(other, buf, &value));
			ASSERT_EQ(10 * i, value);
		}
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf, 1, 10));
		EXPECT_EQ(PAGES(SMALL), pages_away(buf, SMALL));
		/* Mapped for it: the next one does not fault. */
		value = gpu_stat(gpu, faults);
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf, 1, 0x10));
		ASSERT_EQ(0, gpu_add(gpu, buf, 8, -0x10));
		EXPECT_EQ(value, gpu_stat(gpu, faults));
		for_each_gpu(other, self) {
			uint64_t faults = gpu_stat(other, faults);

			if (other == gpu)
				continue;
			ASSERT_EQ(0, gpu_read64(other, buf, &value));
			ASSERT_EQ(10 * (i + 1), value);
			EXPECT_LT(faults, gpu_stat(other, faults));
		}
	}
	ASSERT_EQ(0, gpus_validate());
	ASSERT_EQ(10 * self->g->n, *(uint64_t *)buf);
	buf_free(buf, SMALL);
}

static int count_up(struct gpu *gpu, unsigned int i, void *arg)
{
	int ret = 0;

	(void)i;
	for (unsigned int round = 0; !ret && round < 10; round++)
		ret = gpu_atomic_add(gpu, arg, 1, 50);
	return ret;
}

/* All of them at once want it for themselves: each gets it in its turn. */
PLACE_TEST(atomics_device_contended)
{
	char *buf = small_pages(SMALL);

	ASSERT_NE(NULL, buf);
	memset(buf, 0, SMALL);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SMALL, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE));
	}
	ASSERT_EQ(0, gpus_parallel(self->g, count_up, buf));
	ASSERT_EQ(500 * self->g->n, *(volatile uint64_t *)buf);
	buf_free(buf, SMALL);
}

/*
 * A child shares what a device has for itself: from then on it must fault again, so that
 * its next operation is on the parent's copy, and the child's writes are on another.
 */
PLACE_TEST(atomics_device_fork)
{
	for_each_gpu(gpu, self) {
		char *buf = small_pages(SMALL);
		volatile uint64_t *words = (uint64_t *)buf;
		int to_child[2], status;
		uint64_t value;
		pid_t pid;
		char c;

		ASSERT_NE(NULL, buf);
		memset(buf, 0, SMALL);
		ASSERT_EQ(0, pipe(to_child));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SMALL, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE));
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf, 1, 10));
		EXPECT_EQ(PAGES(SMALL), pages_away(buf, SMALL));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			close(to_child[1]);
			/* When the device has written. */
			if (read(to_child[0], &c, 1) != 0)
				_exit(2);
			if (words[0] != 10)
				_exit(3);
			words[0] = 1000;
			words[1] = 2000;
			_exit(words[0] != 1000);
		}
		close(to_child[0]);
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf, 1, 100));
		close(to_child[1]);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_EQ(0, gpu_read64(gpu, buf + 8, &value));
		EXPECT_EQ(0, value);
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf, 1, 1000));
		ASSERT_EQ(1110, words[0]);
		ASSERT_EQ(0, words[1]);
		ASSERT_EQ(0, gpus_validate());
		buf_free(buf, SMALL);
	}
}

/*
 * What cannot come is refused: a file, a VM that has no memory of its device, memory
 * that is not to be moved.
 */
PLACE_TEST(atomics_device_refused)
{
	struct gpu *plain = buf_map(sizeof(*plain), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1);
	char *file = buf_map(SMALL, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	char *buf = small_pages(SMALL);
	const uint32_t flags = DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC;

	ASSERT_NE(NULL, plain);
	ASSERT_NE(NULL, file);
	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, file, SMALL, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE));
		ASSERT_GPU_ERROR(gpu_atomic_add(gpu, file, 1, 1), gpu, EACCES, file, flags);
		ASSERT_EQ(0, gpu_add(gpu, file, 8, 1));
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, file, SMALL));
		ASSERT_EQ(0, gpu_atomic_add(gpu, file, 1, 1));
	}
	ASSERT_EQ(2 * self->g->n, *(uint64_t *)file);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SMALL, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SMALL, DRM_VSVM_ATTR_MIGRATION,
					       DRM_VSVM_MIGRATION_NEVER));
		ASSERT_GPU_ERROR(gpu_atomic_add(gpu, buf, 1, 1), gpu, EACCES, buf, flags);
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SMALL));
	}
	if (!migrating()) {
		ASSERT_EQ(0, gpu_open(plain, 0, 0));
		ASSERT_EQ(0, vsvm_attr_set_one(&plain->vm, buf, SMALL, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE));
		ASSERT_GPU_ERROR(gpu_atomic_add(plain, buf, 1, 1), plain, EACCES, buf, flags);
		ASSERT_EQ(0, gpu_close(plain));
	}
	ASSERT_EQ(0, *(uint64_t *)buf);
	buf_free(buf, SMALL);
	buf_free(file, SMALL);
	buf_free(plain, sizeof(*plain));
}

/*
 * A page that nobody may touch, in the middle of memory that is one VMA. For its
 * neighbours there is nothing that an atomic operation could not have.
 */
PLACE_TEST(atomics_beside_guard)
{
	for_each_gpu(gpu, self) {
		char *buf = small_pages(SIZE);
		int ret;

		ASSERT_NE(NULL, buf);
		memset(buf, 0, SIZE);
		ret = madvise(buf + SIZE / 2, self->page, MADV_GUARD_INSTALL);
		if (ret)
			SKIP(return, "no guard pages");
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE));
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf, 1, 10));
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf + SIZE / 2 - self->page, 1, 11));
		ASSERT_EQ(0, gpu_atomic_add(gpu, buf + SIZE / 2 + self->page, 1, 12));
		ASSERT_GPU_ERROR(gpu_atomic_add(gpu, buf + SIZE / 2, 1, 13), gpu, EFAULT,
				 buf + SIZE / 2, DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC);
		EXPECT_EQ(10, *(volatile uint64_t *)buf);
		EXPECT_EQ(11, *(volatile uint64_t *)(buf + SIZE / 2 - self->page));
		EXPECT_EQ(12, *(volatile uint64_t *)(buf + SIZE / 2 + self->page));
		buf_free(buf, SIZE);
	}
	ASSERT_EQ(0, gpus_validate());
}

/* ------------------------------------------------------------------ prefetch */

/* manual: prefetch */
/*
 * A buffer that the CPU has filled, used by one device, read back by the CPU: moved
 * there before, and back after, so that neither of them has to fault on it.
 */
static int move_work_move(struct gpu *gpu, char *buf, size_t size)
{
	volatile uint64_t *fence = &gpu->fence[1];
	uint64_t missed;
	int ret;

	*fence = 0;
	ret = vsvm_prefetch_fence(&gpu->vm, buf, size, &gpu->dev, DRM_VSVM_PREFETCH_MAP,
				  fence, 1, NULL);
	/* Here the CPU does something else meanwhile. */
	if (!ret)
		ret = vsvm_wait(&gpu->vm, fence, 1, GPU_TIMEOUT_NS);
	if (!ret)
		ret = gpu_add(gpu, buf, size, 1);
	if (!ret)
		ret = vsvm_prefetch(&gpu->vm, buf, size, NULL, 0, &missed);
	if (!ret && missed)
		ret = -EBUSY;
	return ret;
}

/* manual: end */

PLACE_TEST(move_work_move)
{
	for_each_gpu(gpu, self) {
		char *buf = small_pages(SIZE);
		uint64_t faults, in = gpu_stat(gpu, copy_bytes_in);
		uint64_t out = gpu_stat(gpu, copy_bytes_out);

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 8);
		faults = gpu_stat(gpu, faults);
		ASSERT_EQ(0, move_work_move(gpu, buf, SIZE));
		EXPECT_EQ(faults, gpu_stat(gpu, faults));
		EXPECT_EQ(in + SIZE, gpu_stat(gpu, copy_bytes_in));
		EXPECT_EQ(out + SIZE, gpu_stat(gpu, copy_bytes_out));
		EXPECT_EQ(0, pages_away(buf, SIZE));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 8, 1));
		buf_free(buf, SIZE);
	}
}

/* Through each VM to each device, reached from there or not, and to the next. */
PLACE_TEST(prefetch_anywhere)
{
	char *buf = small_pages(SIZE);
	struct gpu *at = NULL;
	uint64_t missed;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 9);
	for_each_gpu(gpu, self) {
		for_each_gpu(to, self) {
			uint64_t in = gpu_stat(to, copy_bytes_in);
			uint64_t peer = at ? gpu_stat(at, copy_bytes_peer) : 0;
			uint64_t all;

			missed = 1;
			ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, &to->dev, 0, &missed));
			EXPECT_EQ(0, missed);
			EXPECT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
			if (!at || !linked(at, to)) {
				EXPECT_EQ(in + SIZE, gpu_stat(to, copy_bytes_in));
			} else if (at != to) {
				EXPECT_EQ(peer + SIZE, gpu_stat(at, copy_bytes_peer));
			}
			/* It is there: nothing is copied. */
			all = copied(self->g);
			ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, &to->dev, 0, &missed));
			EXPECT_EQ(0, missed);
			EXPECT_EQ(all, copied(self->g));
			at = to;
		}
		missed = 1;
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, NULL, 0, &missed));
		EXPECT_EQ(0, missed);
		EXPECT_EQ(0, pages_away(buf, SIZE));
		at = NULL;
	}
	ASSERT_EQ(0, gpus_validate());
	ASSERT_EQ(-1, buf_check(buf, SIZE, 9, 0));
	buf_free(buf, SIZE);
}

/* Mapped when the call returns: no fault, on memory of each kind; or not mapped. */
PLACE_TEST(prefetch_maps)
{
	for_each_gpu(gpu, self) {
		for (unsigned int where = 0; where < 2; where++) {
			const struct vsvm_device *to = where ? &gpu->dev : NULL;
			char *buf = small_pages(SIZE);
			uint64_t faults, value;

			ASSERT_NE(NULL, buf);
			buf_init(buf, SIZE, 10);
			/* Or the fault to see whether it is mapped would move it. */
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_MIGRATION,
						       DRM_VSVM_MIGRATION_NEVER));
			faults = gpu_stat(gpu, faults);
			ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, to, 0, NULL));
			ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
			EXPECT_LT(faults, gpu_stat(gpu, faults));

			ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
			buf_init(buf, SIZE, 10);
			faults = gpu_stat(gpu, faults);
			ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, to,
						   DRM_VSVM_PREFETCH_MAP, NULL));
			ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
			EXPECT_EQ(faults, gpu_stat(gpu, faults));
			EXPECT_EQ(where ? PAGES(SIZE) : 0, pages_away(buf, SIZE));
			ASSERT_EQ(-1, buf_check(buf, SIZE, 10, 1));
			buf_free(buf, SIZE);
		}
	}
}

/* What is asked for, not more. */
PLACE_TEST(prefetch_in_part)
{
	for_each_gpu(gpu, self) {
		const size_t from = 8 * self->page, size = 37 * self->page;
		char *buf = small_pages(SIZE);
		uint64_t missed = 1;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 11);
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf + from, size, &gpu->dev,
					   DRM_VSVM_PREFETCH_MAP, &missed));
		EXPECT_EQ(0, missed);
		EXPECT_EQ(PAGES(size), pages_away(buf, SIZE));
		EXPECT_EQ(PAGES(size), pages_away(buf + from, size));
		/* Not where ranges are larger, and were there before. */
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 11, 1));
		buf_free(buf, SIZE);
	}
}

/* What the attributes forbid is not mapped. */
PLACE_TEST(prefetch_and_access)
{
	for_each_gpu(gpu, self) {
		char *buf = small_pages(SMALL);
		uint64_t value;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SMALL, 12);
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SMALL, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_NONE));
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SMALL, &gpu->dev,
					   DRM_VSVM_PREFETCH_MAP, NULL));
		EXPECT_EQ(PAGES(SMALL), pages_away(buf, SMALL));
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf, &value), gpu, EACCES, buf, 0);
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SMALL));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SMALL, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SMALL, &gpu->dev,
					   DRM_VSVM_PREFETCH_MAP, NULL));
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(pattern(12, 0), value);
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf, 0), gpu, EACCES, buf,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(-1, buf_check(buf, SMALL, 12, 0));
		buf_free(buf, SMALL);
	}
}

/* A guard page is had by nobody, and keeps nobody else from what is beside it. */
PLACE_TEST(prefetch_beside_guard)
{
	for_each_gpu(gpu, self) {
		char *buf = small_pages(SIZE);
		uint64_t missed, before, out;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 21);
		/* Where all that is before it would come back in vain. */
		if (madvise(buf + SIZE - self->page, self->page, MADV_GUARD_INSTALL))
			SKIP(return, "no guard pages");
		before = gpu_stat(gpu, migrations);
		out = gpu_stat(gpu, copy_bytes_out);
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, &gpu->dev, 0, &missed));
		EXPECT_EQ(self->page, missed);
		EXPECT_EQ(PAGES(SIZE) - 1, pages_away(buf, SIZE));
		/* As one, in pieces of 64 KiB, and the last of those page by page. */
		EXPECT_GE(1 + 32 + 16, gpu_stat(gpu, migrations) - before);
		EXPECT_GE(out + SIZE, gpu_stat(gpu, copy_bytes_out));
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, NULL, 0, &missed));
		EXPECT_EQ(self->page, missed);
		EXPECT_EQ(0, pages_away(buf, SIZE));
		EXPECT_EQ(-1, buf_check(buf, SIZE - self->page, 21, 0));
		buf_free(buf, SIZE);
	}
	ASSERT_EQ(0, gpus_validate());
}

/*
 * With two threads at it the same comes, and the same is missed: a page of the second
 * half is in a pipe, and one of each half is a guard page.
 */
PLACE_TEST(prefetch_large)
{
	const size_t guards[] = { CHUNK - self->page, 3 * CHUNK };
	char *buf = small_pages(LARGE);
	struct iovec iov = { .iov_len = self->page };
	struct gpu *gpu = self->gpu;
	uint64_t missed = 1;
	int pipes[2];

	ASSERT_NE(NULL, buf);
	buf_init(buf, LARGE, 23);
	iov.iov_base = buf + 2 * CHUNK + 5 * self->page;
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ((ssize_t)self->page, vmsplice(pipes[1], &iov, 1, 0));
	ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, LARGE, &gpu->dev, DRM_VSVM_PREFETCH_MAP,
				   &missed));
	EXPECT_LE(self->page, missed);
	EXPECT_GE(64 * KIB, missed);
	EXPECT_EQ(0, pages_away(iov.iov_base, self->page));
	EXPECT_LE(PAGES(LARGE - missed), pages_away(buf, LARGE));
	close(pipes[0]);
	close(pipes[1]);
	ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, LARGE, &gpu->dev, 0, &missed));
	EXPECT_EQ(0, missed);
	EXPECT_EQ(PAGES(LARGE), pages_away(buf, LARGE));
	ASSERT_EQ(0, gpu_add(gpu, buf, LARGE, 1));
	ASSERT_EQ(-1, buf_check(buf, LARGE, 23, 1));

	if (madvise(buf + guards[0], self->page, MADV_GUARD_INSTALL) ||
	    madvise(buf + guards[1], self->page, MADV_GUARD_INSTALL))
		SKIP(return, "no guard pages");
	ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, LARGE, &gpu->dev, 0, &missed));
	EXPECT_EQ(2 * self->page, missed);
	EXPECT_EQ(PAGES(LARGE) - 2, pages_away(buf, LARGE));
	ASSERT_EQ(0, gpus_validate());
	buf_free(buf, LARGE);
}

struct stuck {
	int uffd;
	int told;
};

/* Says that somebody waits for a page, which nobody brings. */
static void *stuck_thread(void *arg)
{
	const struct stuck *stuck = arg;
	struct uffd_msg msg;

	if (read(stuck->uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg) &&
	    write(stuck->told, "", 1) != 1)
		_exit(2);
	return NULL;
}

/* A process that prefetches what user space keeps from it; ends when it is killed. */
static void stuck_child(int told)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct stuck stuck = { .told = told };
	char *buf = small_pages(LARGE);
	pthread_t thread;
	struct gpus *g;

	stuck.uffd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (!buf || stuck.uffd < 0 || ioctl(stuck.uffd, UFFDIO_API, &api))
		_exit(3);
	buf_init(buf, LARGE, 1);
	/* Where the second thread begins. */
	madvise(buf + LARGE / 2, CHUNK, MADV_DONTNEED);
	reg.range.start = (uintptr_t)buf + LARGE / 2;
	reg.range.len = CHUNK;
	if (ioctl(stuck.uffd, UFFDIO_REGISTER, &reg) ||
	    gpus_open(&g, 1, DRM_VSVM_VM_MIGRATE) ||
	    pthread_create(&thread, NULL, stuck_thread, &stuck))
		_exit(4);
	vsvm_prefetch(&g->gpu[0].vm, buf, LARGE, &g->gpu[0].dev, 0, NULL);
	_exit(5);
}

/*
 * Who is kept from a page by user space can be killed: the second thread, which cannot
 * be, has not waited for it.
 */
PLACE_TEST(prefetch_killed)
{
	int told[2], status;
	ssize_t waits;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(told));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(told[0]);
		stuck_child(told[1]);
	}
	close(told[1]);
	waits = read(told[0], &c, 1);
	close(told[0]);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
		SKIP(return, "no userfaultfd");
	EXPECT_EQ(1, waits);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ASSERT_EQ(0, gpus_validate());
}

/* Files, pages that somebody has pinned, no room: told, and no error. */
PLACE_TEST(prefetch_misses)
{
	for_each_gpu(gpu, self) {
		char *file = buf_map(SMALL, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1);
		char *buf = small_pages(2 * SMALL);
		struct iovec iov = { .iov_len = self->page };
		uint64_t missed = 1, faults;
		int pipes[2];

		ASSERT_NE(NULL, file);
		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, file, SMALL, &gpu->dev,
					   DRM_VSVM_PREFETCH_MAP, &missed));
		EXPECT_EQ(SMALL, missed);
		/* But it is mapped. */
		faults = gpu_stat(gpu, faults);
		ASSERT_EQ(0, gpu_read_each(gpu, file, SMALL, self->page));
		EXPECT_EQ(faults, gpu_stat(gpu, faults));
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, file, SMALL, NULL, 0, &missed));
		EXPECT_EQ(0, missed);

		/* A page in a pipe, until somebody reads it. */
		buf_init(buf, 2 * SMALL, 13);
		iov.iov_base = buf + 3 * self->page;
		ASSERT_EQ(0, pipe(pipes));
		ASSERT_EQ((ssize_t)self->page, vmsplice(pipes[1], &iov, 1, 0));
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, 2 * SMALL, &gpu->dev, 0, &missed));
		EXPECT_LE(self->page, missed);
		EXPECT_GT(2 * SMALL, missed);
		EXPECT_EQ(0, pages_away(buf + 3 * self->page, self->page));
		/* As far as the driver knows: not less than what was missed. */
		EXPECT_LE(PAGES(2 * SMALL - missed), pages_away(buf, 2 * SMALL));
		close(pipes[0]);
		close(pipes[1]);
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, 2 * SMALL, &gpu->dev, 0, &missed));
		EXPECT_EQ(0, missed);
		EXPECT_EQ(PAGES(2 * SMALL), pages_away(buf, 2 * SMALL));

		/* No room. */
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, 2 * SMALL, NULL, 0, &missed));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_alloc", 1000));
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, 2 * SMALL, &gpu->dev, 0, &missed));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_alloc", 0));
		EXPECT_EQ(2 * SMALL, missed);
		EXPECT_EQ(0, pages_away(buf, 2 * SMALL));
		ASSERT_EQ(-1, buf_check(buf, 2 * SMALL, 13, 0));
		buf_free(buf, 2 * SMALL);
		buf_free(file, SMALL);
	}
}

/* ----------------------------------------------------------- behind a fence */

/* More of them than may wait at a time, in order, through all VMs at once. */
static int many_fences(struct gpu *gpu, unsigned int i, void *arg)
{
	const unsigned int count = DRM_VSVM_MAX_PREFETCHES + 10;
	volatile uint64_t *fence = &gpu->fence[2];
	uint64_t id = 0, last = 0;
	char *buf = arg;
	int ret = 0;

	*fence = 0;
	for (unsigned int k = 1; !ret && k <= count; k++) {
		ret = vsvm_prefetch_fence(&gpu->vm, buf + i * SMALL, SMALL,
					  k % 2 ? &gpu->dev : NULL, 0, fence, k, &id);
		if (!ret && id <= last)
			ret = -EPROTO;
		last = id;
	}
	if (!ret)
		ret = vsvm_wait(&gpu->vm, fence, count, GPU_TIMEOUT_NS);
	if (!ret && *fence != count)
		ret = -ERANGE;
	return ret;
}

PLACE_TEST(fences)
{
	const size_t size = SMALL * self->g->n;
	char *buf = small_pages(size);
	uint64_t jobs;

	ASSERT_NE(NULL, buf);
	buf_init(buf, size, 14);
	for_each_gpu(gpu, self) {
		jobs = gpu_stat(gpu, jobs);
		gpu->fence[3] = 0;
		ASSERT_EQ(0, vsvm_prefetch_fence(&gpu->vm, buf, size, &gpu->dev, 0,
						 &gpu->fence[3], 5, NULL));
		ASSERT_EQ(0, vsvm_wait(&gpu->vm, &gpu->fence[3], 5, GPU_TIMEOUT_NS));
		ASSERT_EQ(5, gpu->fence[3]);
		EXPECT_EQ(PAGES(size), pages_away(buf, size));
		EXPECT_EQ(jobs + 1, gpu_stat(gpu, jobs));
	}
	ASSERT_EQ(0, gpus_parallel(self->g, many_fences, buf));
	for_each_gpu(gpu, self) {
		ASSERT_NO_MORE_ERRORS(gpu);
	}
	ASSERT_EQ(-1, buf_check(buf, size, 14, 0));
	buf_free(buf, size);
}

/* What goes wrong later is said by the fence, and in a record. */
PLACE_TEST(fence_of_a_failure)
{
	char *buf = small_pages(SMALL);

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, munmap(buf + self->page, self->page));
	for_each_gpu(gpu, self) {
		struct drm_vsvm_error error;
		uint64_t id;

		ASSERT_EQ(-EFAULT, vsvm_prefetch(&gpu->vm, buf, SMALL, &gpu->dev, 0, NULL));
		gpu->fence[3] = 0;
		ASSERT_EQ(0, vsvm_prefetch_fence(&gpu->vm, buf, SMALL, &gpu->dev, 0,
						 &gpu->fence[3], 7, &id));
		ASSERT_EQ(-EIO, vsvm_wait(&gpu->vm, &gpu->fence[3], 7, GPU_TIMEOUT_NS));
		ASSERT_EQ(7 | DRM_VSVM_FENCE_ERROR, gpu->fence[3]);
		ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
		ASSERT_EQ(EFAULT, error.error);
		ASSERT_EQ(id, error.job_id);
		ASSERT_EQ(0, error.addr);
		ASSERT_EQ(0, error.flags);

		/* The fence itself may be where nothing can be written. */
		ASSERT_EQ(0, vsvm_prefetch_fence(&gpu->vm, buf, self->page, NULL, 0,
						 (uint64_t *)(buf + self->page), 7, &id));
		gpu->fence[3] = 0;
		ASSERT_EQ(0, vsvm_prefetch_fence(&gpu->vm, buf, self->page, NULL, 0,
						 &gpu->fence[3], 8, NULL));
		ASSERT_EQ(0, vsvm_wait(&gpu->vm, &gpu->fence[3], 8, GPU_TIMEOUT_NS));
		ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
		ASSERT_EQ(EFAULT, error.error);
		ASSERT_EQ(id, error.job_id);
		ASSERT_EQ(DRM_VSVM_ERROR_FENCE | DRM_VSVM_ERROR_WRITE, error.flags);
	}
	buf_free(buf, SMALL);
}

/* A VM that goes takes its prefetches along; whoever waits is told. */
PLACE_TEST(fence_of_a_vm_that_goes)
{
	char *buf = small_pages(SIZE);

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 15);
	for_each_gpu(gpu, self) {
		gpu->fence[3] = 0;
		for (unsigned int k = 0; k < 40; k++) {
			ASSERT_EQ(0, vsvm_prefetch_fence(&gpu->vm, buf, SIZE,
							 k % 2 ? NULL : &gpu->dev, 0,
							 &gpu->fence[3], k + 1, NULL));
		}
		ASSERT_EQ(0, vsvm_vm_destroy(&gpu->vm));
		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_MIGRATE,
					    &gpu->vm));
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	ASSERT_EQ(-1, buf_check(buf, SIZE, 15, self->g->n));
	buf_free(buf, SIZE);
}

/* A device that is pulled out while it is preferred, and prefetched to. */
PLACE_TEST(preferred_device_goes)
{
	struct gpu *last = &self->gpu[self->g->n - 1];
	char *buf = small_pages(SIZE);
	uint64_t missed;

	if (self->g->n == 1)
		SKIP(return, "needs another device");
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 16);
	ASSERT_EQ(0, vsvm_attr_prefer(&self->gpu->vm, buf, SIZE, &last->dev));
	ASSERT_EQ(0, vsvm_prefetch(&self->gpu->vm, buf, SIZE, &last->dev, 0, &missed));
	ASSERT_EQ(PAGES(SIZE), pages_away(buf, SIZE));
	ASSERT_EQ(0, vsvm_unplug(self->g->n - 1));
	EXPECT_EQ(0, pages_away(buf, SIZE));
	/* Still said, and of no effect. */
	EXPECT_EQ((int)last->dev.info.index, attr_device(&self->gpu->vm, buf, SIZE));
	EXPECT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	EXPECT_EQ(-ENODEV, vsvm_attr_prefer(&self->gpu->vm, buf, SIZE, &last->dev));
	EXPECT_EQ(-ENODEV, vsvm_prefetch(&self->gpu->vm, buf, SIZE, &last->dev, 0, &missed));
	EXPECT_EQ(-ENODEV, vsvm_attr_reset(&last->vm, buf, SIZE));
	EXPECT_EQ(0, vsvm_attr_reset(&self->gpu->vm, buf, SIZE));
	EXPECT_EQ(-1, buf_check(buf, SIZE, 16, 1));
	ASSERT_EQ(0, vsvm_plug(self->g->n - 1));
	vsvm_close(&last->dev);
	self->g->n--;
	buf_free(buf, SIZE);
}

TEST_HARNESS_MAIN
