// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * No device write is lost (I-9): pages that the CPU's page table calls clean are
 * written by a device, then reclaimed.
 *
 * A swap-in by a read leaves a PTE that is writable and clean, above a copy on
 * swap; MADV_FREE leaves one that is writable and clean, above nothing. HMM
 * reports both as writable and dirties neither. Reclaim drops a clean page
 * without writing it.
 */
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "gpusvm_test.h"

#define SIZE	(64 * KIB)

/*
 * Swaps out, then in by reads of the CPU. So that a test is not fooled: without
 * pages that reclaim would drop it shows nothing.
 */
#define SWAP_IN_BY_READ(buf, size)						\
	do {									\
		size_t clean__ = swap_in_clean(buf, size);			\
										\
		if (!clean__)							\
			SKIP(return, "swap-in leaves no clean pages here");	\
		ASSERT_EQ((size) / self->page, clean__);			\
	} while (0)

#define NEED_SWAP()						\
	do {							\
		if (!swap_available())				\
			SKIP(return, "no swap");		\
	} while (0)

static size_t swapped(char *buf, size_t size)
{
	size_t n = 0;

	for (size_t at = 0; at < size; at += page_size())
		n += !!(pagemap_entry(buf + at) & PAGEMAP_SWAPPED);
	return n;
}

/* By a read of the CPU: each page comes back clean, its swap slot stays. */
static void swap_in_by_read(char *buf, size_t size)
{
	for (size_t at = 0; at < size; at += page_size())
		(void)*(volatile char *)(buf + at);
}

GPU_TEST(swap_in_by_read)
{
	size_t pages = SIZE / self->page;
	char *buf = buf_alloc(SIZE);

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 1);
	for (unsigned int round = 0; round < 3; round++) {
		uint64_t add = round * self->g->n;

		SWAP_IN_BY_READ(buf, SIZE);
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		}
		/* Nobody but the devices has written since. Now reclaim it. */
		ASSERT_EQ(pages, page_out(buf, SIZE));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 1, add + self->g->n));
	}
	buf_free(buf, SIZE);
}

/* The same, but the read that swaps in is the device's own. */
GPU_TEST(swap_in_by_device)
{
	size_t pages = SIZE / self->page;
	char *buf = buf_alloc(SIZE);

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 2);
	for_each_gpu(gpu, self) {
		unsigned int nr = gpu - self->gpu;

		ASSERT_EQ(pages, page_out(buf, SIZE));
		ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(pages, page_out(buf, SIZE));
		/* Read back by the device, then by the CPU. */
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 2, 2 * (nr + 1)));
	}
	buf_free(buf, SIZE);
}

/* One device has read it in, another one writes. */
GPU_TEST(swap_in_by_another_device)
{
	size_t pages = SIZE / self->page;
	struct gpu *reader = &self->gpu[0], *writer = &self->gpu[self->g->n - 1];
	char *buf = buf_alloc(SIZE);

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 3);
	for (unsigned int round = 0; round < 3; round++) {
		ASSERT_EQ(pages, page_out(buf, SIZE));
		ASSERT_EQ(0, gpu_read_each(reader, buf, SIZE, self->page));
		ASSERT_EQ(0, gpu_add(writer, buf, SIZE, 1));
		ASSERT_EQ(pages, page_out(buf, SIZE));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 3, round + 1));
	}
	buf_free(buf, SIZE);
}

/* Mapping and unmapping without a write must not lose an earlier one either. */
GPU_TEST(written_before_invalidation)
{
	size_t pages = SIZE / self->page;
	char *buf = buf_alloc(SIZE);

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 4);
	SWAP_IN_BY_READ(buf, SIZE);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		/* Takes the mapping away; the page is not reclaimed here. */
		ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ));
		ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
		ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ | PROT_WRITE));
	}
	ASSERT_EQ(pages, page_out(buf, SIZE));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 4, self->g->n));
	buf_free(buf, SIZE);
}

/* A VM that goes away leaves its writes behind. */
GPU_TEST(written_before_destroy)
{
	size_t pages = SIZE / self->page;
	char *buf = buf_alloc(SIZE);

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 5);
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = buf_alloc(sizeof(*gpu));

		ASSERT_NE(NULL, gpu);
		SWAP_IN_BY_READ(buf, SIZE);
		ASSERT_EQ(0, gpu_open(gpu, i, 0));
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_close(gpu));
		ASSERT_EQ(pages, page_out(buf, SIZE));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 5, i + 1));
		buf_free(gpu, sizeof(*gpu));
	}
	buf_free(buf, SIZE);
}

GPU_TEST(madv_free)
{
	char *buf = buf_alloc(SIZE);

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		buf_init(buf, SIZE, 6);
		/* Mapped on the device before, with write access. */
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_FREE));
		lru_drain();
		/* What is written from here on counts. */
		ASSERT_EQ(0, gpu_fill(gpu, buf, SIZE, 60 + (gpu - self->gpu)));
		page_out(buf, SIZE);
		ASSERT_EQ(-1, buf_check_value(buf, SIZE, 60 + (gpu - self->gpu)));
	}
	buf_free(buf, SIZE);
}

/* Freed and never written again: reclaim must still be able to take it. */
GPU_TEST(madv_free_unwritten)
{
	char *buf = buf_alloc(SIZE);
	uint64_t value;

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 7);
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_FREE));
	lru_drain();
	page_out(buf, SIZE);
	/* Each page has its old content or zeros; all see the same. */
	for (size_t at = 0; at < SIZE; at += self->page) {
		uint64_t seen = *(volatile uint64_t *)(buf + at);

		ASSERT_TRUE(seen == 0 || seen == pattern(7, WORDS(at)));
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_read64(gpu, buf + at, &value));
			ASSERT_EQ(seen, value);
		}
	}
	buf_free(buf, SIZE);
}

GPU_TEST(shared_memory)
{
	size_t pages = SIZE / self->page;
	char *buf;

	NEED_SWAP();
	/* The page cache of tmpfs swaps as well. */
	buf = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 8);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(pages, page_out(buf, SIZE));
		swap_in_by_read(buf, SIZE);
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(pages, page_out(buf, SIZE));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 8, gpu - self->gpu + 1));
	}
	buf_free(buf, SIZE);
}

GPU_TEST(huge_page)
{
	char *buf = buf_alloc(CHUNK);
	size_t step = 8 * self->page;

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	if (!thp_available())
		SKIP(return, "no transparent huge pages");
	ASSERT_EQ(0, madvise(buf, CHUNK, MADV_HUGEPAGE));
	for (size_t at = 0; at < CHUNK; at += step)
		*(volatile uint64_t *)(buf + at) = pattern(9, at);
	for_each_gpu(gpu, self) {
		page_out(buf, CHUNK);
		swap_in_by_read(buf, CHUNK);
		ASSERT_EQ(0, gpu_add_each(gpu, buf, CHUNK, step));
		page_out(buf, CHUNK);
		for (size_t at = 0; at < CHUNK; at += step) {
			ASSERT_EQ(pattern(9, at) + (gpu - self->gpu) + 1,
				  *(volatile uint64_t *)(buf + at));
		}
	}
	buf_free(buf, CHUNK);
}

struct pressure {
	char *buf;
	bool stop;
};

static void *pressure_thread(void *arg)
{
	struct pressure *p = arg;

	while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
		madvise(p->buf, SIZE, MADV_PAGEOUT);
		usleep(2000);
	}
	return NULL;
}

/* Reclaim all the time, while devices and CPU add in turns. */
GPU_TEST(under_pressure)
{
	struct pressure p = { .buf = buf_alloc(SIZE) };
	unsigned int rounds = 6;
	pthread_t thread;

	NEED_SWAP();
	ASSERT_NE(NULL, p.buf);
	buf_init(p.buf, SIZE, 10);
	ASSERT_EQ(0, pthread_create(&thread, NULL, pressure_thread, &p));
	for (unsigned int round = 0; round < rounds; round++) {
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, p.buf, SIZE, 1));
			swap_in_by_read(p.buf, SIZE);
		}
		for (size_t i = 0; i < WORDS(SIZE); i += 64)
			((volatile uint64_t *)p.buf)[i] += 0;
	}
	__atomic_store_n(&p.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(-1, buf_check(p.buf, SIZE, 10, rounds * self->g->n));
	buf_free(p.buf, SIZE);
}

/* Reclaim from outside, for a whole control group. */
#define CGROUP	"/sys/fs/cgroup"

GPU_TEST(memcg_reclaim)
{
	char path[128], text[32];
	char *buf = buf_alloc(SIZE);
	size_t gone = 0;

	NEED_SWAP();
	ASSERT_NE(NULL, buf);
	write_text(CGROUP "/cgroup.subtree_control", "+memory");
	snprintf(path, sizeof(path), CGROUP "/gpusvm-%d", getpid());
	if (mkdir(path, 0755))
		SKIP(return, "no control groups");
	snprintf(path, sizeof(path), CGROUP "/gpusvm-%d/memory.reclaim", getpid());
	if (access(path, W_OK)) {
		snprintf(path, sizeof(path), CGROUP "/gpusvm-%d", getpid());
		rmdir(path);
		SKIP(return, "no memory.reclaim");
	}
	snprintf(path, sizeof(path), CGROUP "/gpusvm-%d/cgroup.procs", getpid());
	ASSERT_EQ(0, write_text(path, "0"));

	/* Charged to the group, swapped out, read in: clean. */
	buf_init(buf, SIZE, 11);
	EXPECT_LT(0, swap_in_clean(buf, SIZE));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	snprintf(path, sizeof(path), CGROUP "/gpusvm-%d/memory.reclaim", getpid());
	snprintf(text, sizeof(text), "%lu", MIB);
	for (int i = 0; i < 10 && gone < SIZE / self->page; i++) {
		/* EAGAIN: it was less than that. */
		write_text(path, text);
		gone = swapped(buf, SIZE);
	}
	EXPECT_LT(0, gone);
	EXPECT_EQ(-1, buf_check(buf, SIZE, 11, self->g->n));

	/* An empty group can be removed. */
	EXPECT_EQ(0, write_text(CGROUP "/cgroup.procs", "0"));
	snprintf(path, sizeof(path), CGROUP "/gpusvm-%d", getpid());
	for (int i = 0; i < 100 && rmdir(path); i++)
		usleep(10000);
	buf_free(buf, SIZE);
}

/*
 * A file system with real write-back: a page that was written back is clean and
 * write-protected, and what a device writes after that must reach the file.
 */
GPU_TEST(file_write_back)
{
	const char *dir = getenv("GPUSVM_EXT2");
	uint64_t *seen = malloc(SIZE);
	char path[256], *buf;
	int fd;

	ASSERT_NE(NULL, seen);
	if (!dir)
		SKIP(return, "GPUSVM_EXT2 names no directory");
	snprintf(path, sizeof(path), "%s/gpusvm-%d", dir, getpid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, unlink(path));
	ASSERT_EQ(0, file_fill(fd, SIZE, 12));
	buf = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	ASSERT_NE(NULL, buf);
	for (unsigned int round = 0; round < 3; round++) {
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
			/* Clean now; the next device writes again. */
			ASSERT_EQ(0, fsync(fd));
		}
		/* Out of the page cache: what comes back is what was stored. */
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		ASSERT_EQ(0, posix_fadvise(fd, 0, SIZE, POSIX_FADV_DONTNEED));
		ASSERT_EQ(0, write_text("/proc/sys/vm/drop_caches", "1"));
		ASSERT_EQ((ssize_t)SIZE, pread(fd, seen, SIZE, 0));
		ASSERT_EQ(-1, buf_check(seen, SIZE, 12, (round + 1) * self->g->n));
	}
	buf_free(buf, SIZE);
	free(seen);
	close(fd);
}

/* Without a sync before: the last write is the device's, then reclaim comes. */
GPU_TEST(file_reclaim)
{
	const char *dir = getenv("GPUSVM_EXT2");
	char path[256], *buf;
	int fd;

	if (!dir)
		SKIP(return, "GPUSVM_EXT2 names no directory");
	snprintf(path, sizeof(path), "%s/gpusvm-%d", dir, getpid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, unlink(path));
	ASSERT_EQ(0, file_fill(fd, SIZE, 13));
	ASSERT_EQ(0, fsync(fd));
	buf = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		page_out(buf, SIZE);
		ASSERT_EQ(0, fsync(fd));
		ASSERT_EQ(0, write_text("/proc/sys/vm/drop_caches", "1"));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 13, gpu - self->gpu + 1));
	}
	buf_free(buf, SIZE);
	close(fd);
}

TEST_HARNESS_MAIN
