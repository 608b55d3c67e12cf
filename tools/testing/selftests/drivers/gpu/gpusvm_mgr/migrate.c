// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory of a process moves into the memory of devices and back: whatever the
 * process does to it meanwhile, no byte is lost, and nobody sees an old one.
 */
#include "gpusvm_devmem.h"

#include <inttypes.h>
#include <linux/io_uring.h>
#include <linux/kernel-page-flags.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define SIZE	CHUNK
#define PAGES(self)	(SIZE / (self)->page)

/* From the CPU to each device, one after the other, and back. */
DEVMEM_TEST(round_trip)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t in, out;

	ASSERT_NE(NULL, buf);
	/* Where that is quick it is too often for the arbiter. */
	ASSERT_EQ(0, arbiter_off());
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];

		buf_init(buf, SIZE, i + 1);
		in = gpu_stat(gpu, copy_bytes_in);
		out = gpu_stat(gpu, copy_bytes_out);
		ASSERT_EQ(0, bring(gpu, buf, SIZE, 7));
		EXPECT_EQ(in + SIZE, gpu_stat(gpu, copy_bytes_in));
		EXPECT_EQ(out, gpu_stat(gpu, copy_bytes_out));
		ASSERT_EQ(-1, buf_check(buf, SIZE, i + 1, 7));
		EXPECT_EQ(0, pages_away(buf, SIZE));
		EXPECT_EQ(out + SIZE, gpu_stat(gpu, copy_bytes_out));
	}
	ASSERT_EQ(0, gpus_validate());
	buf_free(buf, SIZE);
}

/* What nobody has written reads as zero, not as what the memory held. */
DEVMEM_TEST(untouched_is_zero)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t cleared = gpu_stat(self->gpu, copy_bytes_cleared);

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	EXPECT_EQ(cleared + SIZE, gpu_stat(self->gpu, copy_bytes_cleared));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	ASSERT_EQ(-1, buf_check_value(buf, SIZE, 1 + self->g->n));
	buf_free(buf, SIZE);
}

/* Of a hive: used where it is, over the link. Of another: it comes back. */
DEVMEM_TEST(peers)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t sum;

	ASSERT_NE(NULL, buf);
	/* Who has it keeps it. */
	ASSERT_EQ(0, arbiter_set(LONG_US, BOUNCE_MOVES, BOUNCE_WINDOW_US, BOUNCE_PIN_US));
	for (unsigned int i = 1; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];
		bool linked = gpu->dev.info.hive == self->gpu->dev.info.hive;
		uint64_t resident = gpu_stat(gpu, migrations_resident);
		uint64_t out = gpu_stat(self->gpu, copy_bytes_out);
		uint64_t peer = gpus_sum(self->g, copy_bytes_peer);
		uint64_t moves = gpu_stat(gpu, migrations);

		buf_init(buf, SIZE, i);
		ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_checksum(gpu, buf, SIZE, &sum));
		EXPECT_LT(resident, gpu_stat(gpu, migrations_resident));
		/* In system memory it does not reside: whoever faults again may have it. */
		if (linked || gpu_stat(gpu, migrations) == moves) {
			EXPECT_EQ(linked ? PAGES(self) : 0, pages_away(buf, SIZE));
		}
		/* Writes over the link, too. */
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 10));
		if (linked || gpu_stat(gpu, migrations) == moves) {
			EXPECT_EQ(linked ? PAGES(self) : 0, pages_away(buf, SIZE));
		}
		EXPECT_EQ(peer, gpus_sum(self->g, copy_bytes_peer));
		ASSERT_EQ(0, gpus_validate());
		ASSERT_EQ(-1, buf_check(buf, SIZE, i, 11));
		EXPECT_EQ(out + SIZE, gpu_stat(self->gpu, copy_bytes_out));
		/* A new range, or the last one's residence would go on. */
		buf_free(buf, SIZE);
		buf = devmem_buf(SIZE, variant->thp);
		ASSERT_NE(NULL, buf);
	}
	buf_free(buf, SIZE);
	if (self->g->n == 1)
		SKIP(return, "needs a peer");
}

/* From device to device: over the link, or by way of system memory. */
DEVMEM_TEST(device_to_device)
{
	char *buf = devmem_buf(SIZE, variant->thp);

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, arbiter_off());
	buf_init(buf, SIZE, 5);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	for (unsigned int i = 1; i < self->g->n; i++) {
		struct gpu *from = &self->gpu[i - 1], *to = &self->gpu[i];
		bool linked = from->dev.info.hive == to->dev.info.hive;
		uint64_t peer = gpu_stat(from, copy_bytes_peer);
		uint64_t out = gpu_stat(from, copy_bytes_out);

		ASSERT_EQ(0, bring(to, buf, SIZE, 1));
		EXPECT_EQ(peer + (linked ? SIZE : 0), gpu_stat(from, copy_bytes_peer));
		EXPECT_EQ(out + (linked ? 0 : SIZE), gpu_stat(from, copy_bytes_out));
	}
	ASSERT_EQ(-1, buf_check(buf, SIZE, 5, self->g->n));
	buf_free(buf, SIZE);
}

/*
 * Two linked devices within what was one allocation: a fault of the CPU looks at
 * the pages of both, and brings those of one back.
 */
DEVMEM_TEST(neighbours_of_two_devices)
{
	char *buf = devmem_buf(SIZE, false);
	const size_t small = 64 * KIB;
	struct gpu *peer = NULL;

	for (unsigned int i = 1; i < self->g->n; i++)
		if (self->gpu[i].dev.info.hive == self->gpu->dev.info.hive)
			peer = &self->gpu[i];
	if (!peer)
		SKIP(return, "needs a linked peer");
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, arbiter_off());
	buf_init(buf, SIZE, 23);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	/* The range dies, and is made anew in small ones. */
	ASSERT_EQ(0, munmap(buf + SIZE / 2, SIZE / 2));
	ASSERT_EQ(0, bring(peer, buf, small, 1));
	EXPECT_EQ(PAGES(self) / 2, pages_away(buf, SIZE / 2));

	/* From above: the pages of the peer come first in what is looked at. */
	for (size_t i = WORDS(SIZE / 2); i-- > 0;)
		ASSERT_EQ(pattern(23, i) + (i < WORDS(small) ? 2 : 1), ((uint64_t *)buf)[i]);
	munmap(buf, SIZE / 2);
}

/* A device whose VM does not ask for it leaves data where it is. */
DEVMEM_TEST(without_migrate)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	struct gpu *other = buf_alloc(sizeof(*other));

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, gpu_open(other, 0, 0));
	buf_init(buf, SIZE, 6);
	ASSERT_EQ(0, gpu_add(other, buf, SIZE, 1));
	if (!migrating()) {
		EXPECT_EQ(0, gpu_stat(other, migrations));
		EXPECT_EQ(0, pages_away(buf, SIZE));
	}
	/* But it reaches it there. */
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, gpu_add(other, buf, SIZE, 1));
	EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 6, 3));
	ASSERT_EQ(0, gpu_close(other));
	buf_free(other, sizeof(*other));
	buf_free(buf, SIZE);
}

/* Memory of files and shared memory is refused, without a move being tried. */
DEVMEM_TEST(not_anonymous)
{
	int fd = tmp_file(SIZE, 3);
	char *file, *private, *shared;

	ASSERT_LE(0, fd);
	file = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	private = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	shared = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	ASSERT_NE(NULL, file);
	ASSERT_NE(NULL, private);
	ASSERT_NE(NULL, shared);
	buf_init(shared, SIZE, 3);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, private, SIZE, 1));
		ASSERT_EQ(0, gpu_add(gpu, file, SIZE, 1));
		ASSERT_EQ(0, gpu_add(gpu, shared, SIZE, 1));
	}
	EXPECT_EQ(0, gpus_sum(self->g, migrations));
	EXPECT_EQ(0, gpus_sum(self->g, migrations_failed));
	EXPECT_EQ(-1, buf_check(private, SIZE, 3, self->g->n));
	EXPECT_EQ(-1, buf_check(file, SIZE, 3, self->g->n));
	EXPECT_EQ(-1, buf_check(shared, SIZE, 3, self->g->n));
	buf_free(shared, SIZE);
	buf_free(private, SIZE);
	buf_free(file, SIZE);
	close(fd);
}

/* fork: the child finds what is on the device, and changes its own copy only. */
DEVMEM_TEST(fork_after)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t out;
	int status;
	pid_t pid;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 8);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	out = gpu_stat(self->gpu, copy_bytes_out);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		bool good = buf_check(buf, SIZE, 8, 1) == -1;

		buf_init(buf, SIZE, 9);
		_exit(!good);
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* For the child, all of it; fork itself moves nothing (see parent_gone). */
	EXPECT_LE(out + SIZE, gpu_stat(self->gpu, copy_bytes_out));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 8, 1 + self->g->n));
	ASSERT_EQ(0, gpus_validate());
	buf_free(buf, SIZE);
}

/* Shared with a child before it is moved: moved for both, copied when written. */
DEVMEM_TEST(fork_before)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	int to_child[2], status;
	uint64_t sum;
	pid_t pid;
	char c;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, pipe(to_child));
	buf_init(buf, SIZE, 40);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(to_child[1]);
		if (read(to_child[0], &c, 1) != 0)
			_exit(2);
		_exit(buf_check(buf, SIZE, 40, 0) != -1);
	}
	close(to_child[0]);
	/* Read, so that the pages stay shared. */
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_checksum(gpu, buf, SIZE, &sum));
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	ASSERT_EQ(0, gpus_validate());
	close(to_child[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(-1, buf_check(buf, SIZE, 40, self->g->n));
	buf_free(buf, SIZE);
}

/* A write to a page on the device that a child shares: copied, not shared. */
DEVMEM_TEST(fork_then_device_writes)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	int to_child[2], status;
	pid_t pid;
	char c;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, pipe(to_child));
	buf_init(buf, SIZE, 8);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(to_child[1]);
		/* When the device has written. */
		if (read(to_child[0], &c, 1) != 0)
			_exit(2);
		_exit(buf_check(buf, SIZE, 8, 1) != -1);
	}
	close(to_child[0]);
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	close(to_child[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(-1, buf_check(buf, SIZE, 8, 2));
	buf_free(buf, SIZE);
}

/* The one that brought it there is gone, its child has it still. */
DEVMEM_TEST(parent_gone)
{
	unsigned int last = variant->n - 1;
	uint64_t out = gpu_stat(&self->gpu[last], copy_bytes_out);
	int to_parent[2], to_child[2], status;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(to_parent));
	ASSERT_EQ(0, pipe(to_child));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct gpu *gpu = buf_alloc(sizeof(*gpu));
		char *buf = devmem_buf(SIZE, variant->thp);

		if (!gpu || !buf || gpu_open(gpu, last, DRM_VSVM_VM_MIGRATE))
			_exit(1);
		buf_init(buf, SIZE, 4);
		if (bring(gpu, buf, SIZE, 1))
			_exit(2);
		pid = fork();
		if (pid)
			_exit(pid < 0 ? 3 : 0);
		/* The grandchild tells when its parent is gone, and reads late. */
		close(to_child[1]);
		while (getppid() != 1)
			sched_yield();
		close(gpu->dev.fd);
		if (pages_away(buf, SIZE) != SIZE / page_size())
			_exit(4);
		if (write(to_parent[1], "a", 1) != 1 || read(to_child[0], &c, 1) != 0)
			_exit(5);
		/* Before it is touched: it is back. */
		c = !pages_away(buf, SIZE) && buf_check(buf, SIZE, 4, 1) == -1 ? 'y' : 'n';
		if (write(to_parent[1], &c, 1) != 1)
			_exit(6);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	close(to_child[0]);
	close(to_parent[1]);
	ASSERT_EQ(1, read(to_parent[0], &c, 1));

	/* Two forks and two exits have not moved it; what else was there goes by and by. */
	for (int i = 0; i < 1000 && gpu_stat(&self->gpu[last], vram_used) > SIZE; i++)
		usleep(10000);
	EXPECT_EQ(SIZE, gpu_stat(&self->gpu[last], vram_used));
	/* (The word that the child's device wrote its fences to has a page, too.) */
	EXPECT_GT(out + SIZE, gpu_stat(&self->gpu[last], copy_bytes_out));

	/* Now the device goes, too. Its memory belongs to a stranger to it. */
	ASSERT_EQ(0, gpus_close(self->g));
	self->g = NULL;
	ASSERT_EQ(0, vsvm_unplug(last));
	close(to_child[1]);
	ASSERT_EQ(1, read(to_parent[0], &c, 1));
	EXPECT_EQ('y', c);
	ASSERT_EQ(0, vsvm_plug(last));
}

/* exec with data on the device: it goes with the address space. */
DEVMEM_TEST(exec)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct gpu *gpu = buf_alloc(sizeof(*gpu));
		char *buf = devmem_buf(SIZE, variant->thp);

		if (!gpu || !buf || gpu_open(gpu, 0, DRM_VSVM_VM_MIGRATE))
			_exit(1);
		if (bring(gpu, buf, SIZE, 1))
			_exit(2);
		execl("/bin/true", "true", NULL);
		_exit(3);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* Nothing is left behind, but for what is freed a moment later. */
	for (int i = 0; i < 1000 && gpu_stat(self->gpu, vram_used); i++)
		usleep(10000);
	EXPECT_EQ(0, gpu_stat(self->gpu, vram_used));
}

DEVMEM_TEST(mremap_migrated)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	char *to = devmem_buf(SIZE, variant->thp);
	uint64_t sum;

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, to);
	buf_init(buf, SIZE, 11);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(to, mremap(buf, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(PAGES(self), pages_away(to, SIZE));
	for_each_gpu(gpu, self) {
		EXPECT_EQ(-EIO, gpu_checksum(gpu, buf, SIZE, &sum));
		while (!vsvm_error_take(&gpu->vm, &(struct drm_vsvm_error){ 0 }))
			;
		ASSERT_EQ(0, gpu_add(gpu, to, SIZE, 1));
	}
	ASSERT_EQ(-1, buf_check(to, SIZE, 11, 1 + self->g->n));
	buf_free(to, SIZE);
}

/* A part of it goes elsewhere, with a touch of the CPU before, between or never. */
DEVMEM_TEST(mremap_part)
{
	const size_t quarter = SIZE / 4;

	for (unsigned int touch = 0; touch < 3; touch++) {
		char *buf = devmem_buf(SIZE, variant->thp), *to = devmem_buf(SIZE, false);

		ASSERT_NE(NULL, buf);
		ASSERT_NE(NULL, to);
		buf_init(buf, SIZE, 41);
		ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
		if (touch == 1)
			EXPECT_EQ(pattern(41, WORDS(quarter)) + 1, *(uint64_t *)(buf + quarter));
		ASSERT_EQ(to, mremap(buf + quarter, quarter, quarter,
				     MREMAP_MAYMOVE | MREMAP_FIXED, to));
		if (touch == 2)
			EXPECT_EQ(pattern(41, WORDS(quarter)) + 1, *(uint64_t *)to);
		if (!touch) {
			EXPECT_EQ(PAGES(self) / 4, pages_away(to, quarter));
			EXPECT_EQ(3 * PAGES(self) / 4, pages_away(buf, quarter) +
				  pages_away(buf + 2 * quarter, 2 * quarter));
		}
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, quarter, 1));
			ASSERT_EQ(0, gpu_add(gpu, to, quarter, 1));
			ASSERT_EQ(0, gpu_add(gpu, buf + 2 * quarter, 2 * quarter, 1));
		}
		ASSERT_EQ(0, gpus_validate());
		for (size_t i = 0; i < WORDS(SIZE); i++) {
			bool moved = i / WORDS(quarter) == 1;
			uint64_t *word = moved ? (uint64_t *)to + i - WORDS(quarter) :
						 (uint64_t *)buf + i;

			ASSERT_EQ(pattern(41, i) + 1 + self->g->n, *word);
		}
		munmap(buf, quarter);
		munmap(buf + 2 * quarter, 2 * quarter);
		buf_free(to, SIZE);
	}
}

DEVMEM_TEST(mprotect_migrated)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t sum;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 12);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_checksum(gpu, buf, SIZE, &sum));
		EXPECT_EQ(-EIO, gpu_add(gpu, buf, SIZE, 1));
		while (!vsvm_error_take(&gpu->vm, &(struct drm_vsvm_error){ 0 }))
			;
	}
	/* Half of it: two VMAs, and nothing is wrong with that. */
	ASSERT_EQ(0, mprotect(buf, SIZE / 2, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE / 2, 1));
	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ | PROT_WRITE));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf + SIZE / 2, SIZE / 2, 1));
	}
	EXPECT_EQ(-1, buf_check(buf, SIZE / 2, 12, 2));
	for (size_t i = WORDS(SIZE / 2); i < WORDS(SIZE); i++)
		ASSERT_EQ(pattern(12, i) + 1 + self->g->n, ((uint64_t *)buf)[i]);
	buf_free(buf, SIZE);
}

/* A hole in a range that is on the device: what is left stays there. */
DEVMEM_TEST(partial_munmap)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	size_t quarter = SIZE / 4, hole = SIZE / 2;
	uint64_t out, evictions, sum;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 13);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	out = gpu_stat(self->gpu, copy_bytes_out);
	evictions = gpu_stat(self->gpu, vram_evictions);

	ASSERT_EQ(0, munmap(buf + hole, quarter));
	EXPECT_EQ(PAGES(self) / 2, pages_away(buf, hole));
	EXPECT_EQ(PAGES(self) / 4, pages_away(buf + hole + quarter, quarter));
	EXPECT_EQ(out, gpu_stat(self->gpu, copy_bytes_out));
	EXPECT_EQ(evictions, gpu_stat(self->gpu, vram_evictions));

	EXPECT_EQ(-EIO, gpu_checksum(self->gpu, buf + hole, quarter, &sum));
	while (!vsvm_error_take(&self->gpu->vm, &(struct drm_vsvm_error){ 0 }))
		;
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, hole, 1));
		ASSERT_EQ(0, gpu_add(gpu, buf + hole + quarter, quarter, 1));
	}
	EXPECT_EQ(-1, buf_check(buf, hole, 13, 1 + self->g->n));
	for (size_t i = WORDS(hole + quarter); i < WORDS(SIZE); i++)
		ASSERT_EQ(pattern(13, i) + 1 + self->g->n, ((uint64_t *)buf)[i]);
	munmap(buf, hole);
	buf_free(buf + hole + quarter, quarter);
}

/* MADV_DONTNEED: the data is gone, on the device as well. */
DEVMEM_TEST(dontneed)
{
	char *buf = devmem_buf(SIZE, variant->thp);

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 14);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, madvise(buf, SIZE / 2, MADV_DONTNEED));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	EXPECT_EQ(-1, buf_check_value(buf, SIZE / 2, self->g->n));
	for (size_t i = WORDS(SIZE / 2); i < WORDS(SIZE); i++)
		ASSERT_EQ(pattern(14, i) + 1 + self->g->n, ((uint64_t *)buf)[i]);
	buf_free(buf, SIZE);
}

/* Reclaim and khugepaged have nothing to say about what is on a device. */
DEVMEM_TEST(pageout_and_collapse)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t out;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 15);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 0));
	out = gpu_stat(self->gpu, copy_bytes_out);
	madvise(buf, SIZE, MADV_PAGEOUT);
	madvise(buf, SIZE, MADV_COLLAPSE);
	EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
	EXPECT_EQ(out, gpu_stat(self->gpu, copy_bytes_out));
	EXPECT_EQ(SIZE, gpu_stat(self->gpu, vram_used));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 15, 0));
	/* On swap first, if there is any: it comes from there, too. */
	madvise(buf, SIZE, MADV_PAGEOUT);
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(0, gpu_add(&self->gpu[i], buf, SIZE, 1));
		madvise(buf, SIZE, MADV_PAGEOUT);
		/* Fails or not, as it likes. */
		madvise(buf, SIZE, MADV_COLLAPSE);
		madvise(buf, SIZE, MADV_HUGEPAGE);
	}
	EXPECT_EQ(-1, buf_check(buf, SIZE, 15, self->g->n));
	madvise(buf, SIZE, MADV_COLLAPSE);
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	EXPECT_EQ(-1, buf_check(buf, SIZE, 15, self->g->n + 1));
	buf_free(buf, SIZE);
}

/* THP split by the process while it is on the device. */
DEVMEM_TEST(split_on_device)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t out, evictions, splits;
	bool huge;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 16);
	huge = huge_moves(buf);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	out = gpu_stat(self->gpu, copy_bytes_out);
	evictions = gpu_stat(self->gpu, vram_evictions);
	splits = vm_counter("thp_split_pmd");
	ASSERT_EQ(0, mprotect(buf + 3 * self->page, self->page, PROT_READ));
	ASSERT_EQ(0, madvise(buf + 9 * self->page, self->page, MADV_DONTNEED));
	ASSERT_EQ(0, mprotect(buf + 3 * self->page, self->page, PROT_READ | PROT_WRITE));
	/* The page table was split, and nothing has moved. */
	if (huge)
		EXPECT_LT(splits, vm_counter("thp_split_pmd"));
	EXPECT_EQ(PAGES(self) - 1, pages_away(buf, SIZE));
	EXPECT_EQ(out, gpu_stat(self->gpu, copy_bytes_out));
	EXPECT_EQ(evictions, gpu_stat(self->gpu, vram_evictions));
	EXPECT_EQ(SIZE, gpu_stat(self->gpu, vram_used));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	ASSERT_EQ(0, gpus_validate());
	for (size_t i = 0; i < WORDS(SIZE); i++) {
		uint64_t want = i / WORDS(self->page) == 9 ? 0 : pattern(16, i) + 1;

		ASSERT_EQ(want + self->g->n, ((uint64_t *)buf)[i]);
	}
	buf_free(buf, SIZE);
}

/* A page that the kernel holds stays; the others go, or none: data is right. */
DEVMEM_TEST(pinned_page)
{
	char *buf = devmem_buf(SIZE, variant->thp), *back;
	struct iovec iov;
	int fds[2];

	ASSERT_NE(NULL, buf);
	back = malloc(self->page);
	ASSERT_NE(NULL, back);
	ASSERT_EQ(0, pipe(fds));
	buf_init(buf, SIZE, 17);
	iov = (struct iovec){ .iov_base = buf + 5 * self->page, .iov_len = self->page };
	ASSERT_EQ((ssize_t)self->page, vmsplice(fds[1], &iov, 1, 0));

	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	/* In place, where it could not be moved: the pipe has the very page. */
	EXPECT_EQ(0, pages_away(buf + 5 * self->page, self->page));
	ASSERT_EQ((ssize_t)self->page, read(fds[0], back, self->page));
	for (size_t i = 0; i < WORDS(self->page); i++)
		ASSERT_EQ(pattern(17, 5 * WORDS(self->page) + i) + 1, ((uint64_t *)back)[i]);

	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	EXPECT_EQ(-1, buf_check(buf, SIZE, 17, 1 + self->g->n));
	close(fds[0]);
	close(fds[1]);
	free(back);
	buf_free(buf, SIZE);
}

/* As a device that does DMA holds pages; returns what holds them, or an errno. */
static int pin_for_io(void *buf, size_t size)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct io_uring_params params = { 0 };
	int fd, ret;

	fd = syscall(__NR_io_uring_setup, 1, &params);
	if (fd < 0)
		return -errno;
	if (syscall(__NR_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	return fd;
}

static int unpin(int fd)
{
	int ret = syscall(__NR_io_uring_register, fd, IORING_UNREGISTER_BUFFERS, NULL, 0);

	ret = ret ? -errno : 0;
	close(fd);
	return ret;
}

/* Takes the mappings of all devices away; the data stays where it is. */
static int remap(void *buf, size_t size)
{
	if (mprotect(buf, size, PROT_READ) || mprotect(buf, size, PROT_READ | PROT_WRITE))
		return -errno;
	return 0;
}

/*
 * All of it is held for I/O: it is mapped in place, and to try to move it costs
 * nobody anything. The memory is full, so that to make room would be an eviction.
 */
DEVMEM_TEST(pinned_for_io)
{
	const size_t full = variant->vram_mib > 8 ? SIZE : 8 * MIB;
	char *buf = devmem_buf(SIZE, variant->thp), *other = devmem_buf(full, variant->thp);
	uint64_t allocations, evictions, failed, moved, waited, pfn;
	const unsigned int rounds = 8;
	unsigned int added, i;
	int pins;

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, other);
	/* For as long as the test lasts. */
	ASSERT_EQ(0, arbiter_param("backoff_us", LONG_US));
	for (size_t at = 0; at < full; at += SIZE)
		ASSERT_EQ(0, bring(self->gpu, other + at, SIZE, 1));
	if (variant->vram_mib <= 8)
		ASSERT_EQ(self->gpu->dev.info.vram_size, gpu_stat(self->gpu, vram_used));
	buf_init(buf, SIZE, 31);
	pins = pin_for_io(buf, SIZE);
	if (pins == -ENOSYS || pins == -EPERM)
		SKIP(return, "no io_uring");
	ASSERT_LE(0, pins);
	pfn = PAGEMAP_PFN(pagemap_entry(buf));

	allocations = gpus_sum(self->g, vram_allocations);
	evictions = gpus_sum(self->g, vram_evictions);
	failed = gpu_stat(self->gpu, mgr_migrations_failed);
	waited = gpu_stat(self->gpu, mgr_refused_backoff);
	moved = gpu_stat(self->gpu, mgr_migrations);
	for (i = 0; i < rounds; i++) {
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		}
		ASSERT_EQ(0, remap(buf, SIZE));
	}
	added = rounds * self->g->n;
	/* Tried once, whoever asked. Without evictions, or memory at all. */
	EXPECT_EQ(failed + 1, gpu_stat(self->gpu, mgr_migrations_failed));
	EXPECT_EQ(waited + added - 1, gpu_stat(self->gpu, mgr_refused_backoff));
	EXPECT_EQ(moved, gpu_stat(self->gpu, mgr_migrations));
	EXPECT_EQ(allocations, gpus_sum(self->g, vram_allocations));
	EXPECT_EQ(evictions, gpus_sum(self->g, vram_evictions));
	EXPECT_EQ(full / self->page, pages_away(other, full));
	/* The very page that whoever holds it has. */
	EXPECT_EQ(0, pages_away(buf, SIZE));
	EXPECT_EQ(pfn, PAGEMAP_PFN(pagemap_entry(buf)));
	EXPECT_EQ(-1, buf_check(buf, SIZE, 31, added));

	/* When it lets go the data moves. */
	ASSERT_EQ(0, unpin(pins));
	ASSERT_EQ(0, arbiter_param("backoff_us", 0));
	for (i = 0; i < 1000 && gpu_stat(self->gpu, mgr_migrations) == moved; i++, added++) {
		ASSERT_EQ(0, remap(buf, SIZE));
		ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
		usleep(10000);
	}
	EXPECT_EQ(moved + 1, gpu_stat(self->gpu, mgr_migrations));
	EXPECT_LT(0, pages_away(buf, SIZE));
	EXPECT_EQ(-1, buf_check(buf, SIZE, 31, added));
	buf_free(other, full);
	buf_free(buf, SIZE);
}

/* One page is held: what is not of its piece moves, for no more memory than that. */
DEVMEM_TEST(pinned_single_page)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	const size_t pieces = SIZE / (64 * KIB);
	uint64_t allocations, evictions;
	bool huge;
	int pins;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 32);
	huge = smaps_kib(buf, "AnonHugePages") > 0;
	pins = pin_for_io(buf + 5 * self->page, self->page);
	if (pins == -ENOSYS || pins == -EPERM)
		SKIP(return, "no io_uring");
	ASSERT_LE(0, pins);
	allocations = gpu_stat(self->gpu, vram_allocations);
	evictions = gpu_stat(self->gpu, vram_evictions);
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	/* A huge page that is held cannot be split, and stays as a whole. */
	EXPECT_EQ(huge ? 0 : pieces - 1, gpu_stat(self->gpu, vram_allocations) - allocations);
	EXPECT_EQ(huge ? 0 : PAGES(self) - PAGES(self) / pieces, pages_away(buf, SIZE));
	EXPECT_EQ(0, pages_away(buf + 5 * self->page, self->page));
	EXPECT_EQ(evictions, gpu_stat(self->gpu, vram_evictions));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	EXPECT_EQ(-1, buf_check(buf, SIZE, 32, 1 + self->g->n));
	ASSERT_EQ(0, unpin(pins));
	buf_free(buf, SIZE);
}

/* A swap device that is so slow that pages can be looked at while they are written. */
#define NULLB		"/sys/kernel/config/nullb/gpusvm"
#define NULLB_DISK	"/dev/gpusvm"

static int slow_swap_on(void)
{
	/* As mkswap makes it: version 1, last page, signature. */
	union {
		uint32_t word[1024];
		char byte[4096];
	} header = { .word[256] = 1, .word[257] = 16 * MIB / sizeof(header) - 1 };
	int fd, ret;

	if (page_size() != sizeof(header) || mkdir(NULLB, 0700))
		return -ENODEV;
	/* Completed by a timer, two seconds later. */
	ret = write_text(NULLB "/memory_backed", "1");
	if (!ret)
		ret = write_text(NULLB "/size", "16");
	if (!ret)
		ret = write_text(NULLB "/irqmode", "2");
	if (!ret)
		ret = write_text(NULLB "/completion_nsec", "2000000000");
	if (!ret)
		ret = write_text(NULLB "/power", "1");
	if (ret)
		return ret;
	memcpy(header.byte + sizeof(header) - 10, "SWAPSPACE2", 10);
	fd = open(NULLB_DISK, O_RDWR | O_CLOEXEC | O_SYNC);
	if (fd < 0)
		return -errno;
	ret = pwrite(fd, &header, sizeof(header), 0) == sizeof(header) ? 0 : -EIO;
	close(fd);
	if (!ret && swapon(NULLB_DISK, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK))
		ret = -errno;
	return ret;
}

static int slow_swap_off(void)
{
	if (swapoff(NULLB_DISK))
		return -errno;
	return rmdir(NULLB) ? -errno : 0;
}

/* Those that are being written at this moment. */
static size_t pages_in_writeback(const char *buf, size_t size)
{
	return pages_flagged(buf, size, 1ULL << KPF_WRITEBACK);
}

static bool written(const char *buf, size_t size)
{
	for (int i = 0; i < 1000 && pages_in_writeback(buf, size); i++)
		usleep(10000);
	return !pages_in_writeback(buf, size);
}

/* Pages that are being written to swap are refused, and mapped in place. */
DEVMEM_TEST(writeback)
{
	const size_t size = 64 * KIB, pages = size / self->page;
	char *buf = devmem_buf(size, false);
	uint64_t moved, failed, used, added = 0;
	bool seen = false;
	int ret;

	ASSERT_NE(NULL, buf);
	if (variant->n > 1 || variant->thp)
		SKIP(return, "is slow, and the same for all");
	ret = slow_swap_on();
	if (ret == -ENODEV)
		SKIP(return, "no null_blk");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, arbiter_off());
	buf_init(buf, size, 33);
	moved = gpu_stat(self->gpu, mgr_migrations);
	failed = gpu_stat(self->gpu, mgr_migrations_failed);
	used = gpu_stat(self->gpu, vram_used);
	for (unsigned int i = 0; i < 5 && !seen; i++) {
		/* Those of the last attempt are not written out while they are written. */
		ASSERT_TRUE(written(buf, size));
		if (page_out(buf, size) != pages)
			continue;
		/* Swapped out as the page table has it; then there, and being written. */
		for (unsigned int again = 0; again < 2; again++) {
			ASSERT_EQ(0, gpu_add(self->gpu, buf, size, 1));
			added++;
			seen = pages_in_writeback(buf, size) == pages;
			if (!seen)
				break;
			EXPECT_EQ(0, pages_away(buf, size));
			EXPECT_EQ(moved, gpu_stat(self->gpu, mgr_migrations));
			EXPECT_EQ(failed + again + 1, gpu_stat(self->gpu, mgr_migrations_failed));
			ASSERT_EQ(0, remap(buf, size));
		}
		if (!seen) {
			/* Written before it was looked at: it may have moved. Back here. */
			for (size_t at = 0; at < size; at += self->page)
				(void)*(volatile char *)(buf + at);
			moved = gpu_stat(self->gpu, mgr_migrations);
			failed = gpu_stat(self->gpu, mgr_migrations_failed);
		}
	}
	/* What was got for them in vain is given back by a worker. */
	for (int i = 0; seen && i < 1000 && gpu_stat(self->gpu, vram_used) != used; i++)
		usleep(10000);
	if (seen)
		EXPECT_EQ(used, gpu_stat(self->gpu, vram_used));

	/* Written: now they move, unless reclaim looks at one just then. */
	EXPECT_TRUE(written(buf, size));
	for (int i = 0; i < 100 && gpu_stat(self->gpu, mgr_migrations) == moved; i++, added++) {
		lru_drain();
		EXPECT_EQ(0, remap(buf, size));
		EXPECT_EQ(0, gpu_add(self->gpu, buf, size, 1));
	}
	EXPECT_LT(moved, gpu_stat(self->gpu, mgr_migrations));
	EXPECT_EQ(-1, buf_check(buf, size, 33, added));
	buf_free(buf, size);
	EXPECT_EQ(0, slow_swap_off());
	if (!seen)
		SKIP(return, "not seen while they were written");
}

/*
 * What the device writes is dirty, on memory that was given to MADV_FREE before it
 * came there, and on a device whose pages were never marked before.
 */
DEVMEM_TEST(free_on_fresh_device)
{
	const size_t size = 64 * KIB, pages = size / self->page;
	const unsigned int last = variant->n - 1;
	char *buf = devmem_buf(size, false);
	struct gpu *gpu;

	if (!swap_available())
		SKIP(return, "no swap");
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, gpus_close(self->g));
	self->g = NULL;
	ASSERT_EQ(0, vsvm_unplug(last));
	ASSERT_EQ(0, vsvm_plug(last));
	ASSERT_EQ(0, gpus_open(&self->g, variant->n, DRM_VSVM_VM_MIGRATE));
	self->gpu = self->g->gpu;
	gpu = &self->gpu[last];

	buf_init(buf, size, 34);
	ASSERT_EQ(0, madvise(buf, size, MADV_FREE));
	lru_drain();
	ASSERT_EQ(0, gpu_fill(gpu, buf, size, 77));
	ASSERT_EQ(pages, pages_away(buf, size));
	ASSERT_EQ(0, gpu_knob(gpu, "evict", 1));
	ASSERT_EQ(0, pages_away(buf, size));
	/* Nobody but the device has written, so reclaim may drop what is clean. */
	page_out(buf, size);
	EXPECT_EQ(-1, buf_check_value(buf, size, 77));
	buf_free(buf, size);
}

/* No memory on the device, or a copy engine that fails: mapped in place. */
DEVMEM_TEST(injected_failures)
{
	static const char * const knobs[] = { "fail_alloc", "fail_copy" };

	/* It is to be tried again at once. */
	ASSERT_EQ(0, arbiter_param("backoff_us", 0));
	for (unsigned int i = 0; i < 2; i++) {
		for_each_gpu(gpu, self) {
			char *buf = devmem_buf(SIZE, variant->thp);
			uint64_t failed = gpu_stat(gpu, migrations_failed);
			uint64_t moved = gpu_stat(gpu, migrations);

			ASSERT_NE(NULL, buf);
			buf_init(buf, SIZE, 18);
			/* More than are tried. */
			ASSERT_EQ(0, gpu_knob(gpu, knobs[i], 100000));
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
			ASSERT_EQ(0, gpu_knob(gpu, knobs[i], 0));
			EXPECT_LT(failed, gpu_stat(gpu, migrations_failed));
			EXPECT_EQ(moved, gpu_stat(gpu, migrations));
			EXPECT_EQ(0, pages_away(buf, SIZE));
			ASSERT_EQ(-1, buf_check(buf, SIZE, 18, 1));

			/* And the next time it works. */
			ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
			ASSERT_EQ(0, bring(gpu, buf, SIZE, 2));
			ASSERT_EQ(-1, buf_check_value(buf, SIZE, 2));
			buf_free(buf, SIZE);
		}
	}
}

/* Evicted behind the back of everybody. */
DEVMEM_TEST(evicted)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t sum;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 19);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, gpu_knob(self->gpu, "evict", 1));
	EXPECT_EQ(0, pages_away(buf, SIZE));
	EXPECT_LT(0, gpu_stat(self->gpu, vram_evictions));
	ASSERT_EQ(0, gpu_checksum(self->gpu, buf, SIZE, &sum));
	EXPECT_EQ(vsvm_checksum(buf, SIZE), sum);
	EXPECT_EQ(-1, buf_check(buf, SIZE, 19, 1));
	/* A copy that fails there loses nothing. */
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
	buf_init(buf, SIZE, 20);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, gpu_knob(self->gpu, "fail_copy", 100000));
	ASSERT_EQ(0, gpu_knob(self->gpu, "evict", 1));
	ASSERT_EQ(0, gpu_knob(self->gpu, "fail_copy", 0));
	EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
	EXPECT_EQ(-1, buf_check(buf, SIZE, 20, 1));
	buf_free(buf, SIZE);
}

/*
 * Each page of the device's memory is an allocation of its own, and each was used since
 * eviction looked at it: one has to go all the same.
 */
DEVMEM_TEST(full_of_pages)
{
	const size_t full = variant->vram_mib * MIB;
	uint64_t evictions, missed;
	char *buf;

	if (variant->vram_mib > 8 || variant->n > 1)
		SKIP(return, "takes long, once will do");
	ASSERT_EQ(0, arbiter_off());
	buf = devmem_buf(full + self->page, false);
	ASSERT_NE(NULL, buf);
	buf_init(buf, full + self->page, 74);
	lru_drain();
	evictions = gpu_stat(self->gpu, vram_evictions);
	for (size_t at = 0; at < full; at += self->page) {
		missed = self->page;
		/* Somebody may just have a look at it. */
		for (int i = 0; i < 50 && missed; i++) {
			ASSERT_EQ(0, vsvm_prefetch(&self->gpu->vm, buf + at, self->page,
						   &self->gpu->dev, 0, &missed));
		}
		ASSERT_EQ(0, missed);
	}
	EXPECT_EQ(full, gpu_stat(self->gpu, vram_used));
	EXPECT_EQ(evictions, gpu_stat(self->gpu, vram_evictions));
	/* Not so often that all were looked at in the end, a few hundred each time. */
	missed = self->page;
	for (int i = 0; i < 3 && missed; i++) {
		ASSERT_EQ(0, vsvm_prefetch(&self->gpu->vm, buf + full, self->page,
					   &self->gpu->dev, 0, &missed));
	}
	EXPECT_EQ(0, missed);
	EXPECT_LT(evictions, gpu_stat(self->gpu, vram_evictions));
	EXPECT_EQ(-1, buf_check(buf, full + self->page, 74, 0));
	buf_free(buf, full + self->page);
}

struct opener {
	struct gpu *gpu;
	unsigned int nr;
	int ret;
};

static void *opener_thread(void *arg)
{
	struct opener *o = arg;

	o->ret = gpu_open(o->gpu, o->nr, DRM_VSVM_VM_MIGRATE);
	return NULL;
}

/*
 * The last user of a device's struct pages goes, somebody wants them again and waits
 * for it to be gone, and the device is pulled out: all three end.
 */
DEVMEM_TEST(last_put_lookup_unplug)
{
	struct opener o = { .nr = variant->n - 1 };
	char *buf = devmem_buf(SIZE, variant->thp);
	pthread_t thread;

	ASSERT_NE(NULL, buf);
	o.gpu = buf_alloc(sizeof(*o.gpu));
	ASSERT_NE(NULL, o.gpu);
	buf_init(buf, SIZE, 38);
	ASSERT_EQ(0, bring(&self->gpu[o.nr], buf, SIZE, 1));
	ASSERT_EQ(0, gpu_knob(&self->gpu[o.nr], "window_ms", 2000));
	/* Only the data uses them still. */
	ASSERT_EQ(0, gpus_close(self->g));
	self->g = NULL;
	buf_free(buf, SIZE);
	usleep(200000);
	ASSERT_EQ(0, pthread_create(&thread, NULL, opener_thread, &o));
	usleep(200000);
	ASSERT_EQ(0, vsvm_unplug(o.nr));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	/* In time, or not; then it had the file, at most. */
	if (o.ret)
		EXPECT_EQ(-ENODEV, o.ret);
	vsvm_close(&o.gpu->dev);
	ASSERT_EQ(0, vsvm_plug(o.nr));
	ASSERT_EQ(0, gpu_open(o.gpu, o.nr, DRM_VSVM_VM_MIGRATE));
	ASSERT_EQ(0, gpu_warm(o.gpu));
	ASSERT_EQ(0, gpu_close(o.gpu));
	buf_free(o.gpu, sizeof(*o.gpu));
}

struct racer {
	volatile char *buf;
	size_t page;
	bool raced;
};

/* Waits until the data is on its way, fills the hole in it, and wants the rest back. */
static void *racer_thread(void *arg)
{
	struct racer *r = arg;

	for (unsigned int i = 0; i < 1000000 && !r->raced; i++)
		r->raced = !(pagemap_entry(r->buf + r->page) & PAGEMAP_PRESENT);
	r->buf[0] = 1;
	(void)r->buf[r->page];
	return NULL;
}

/*
 * A move that the CPU disturbs at its end, by making a page where there was none, and
 * that it undoes before anybody has looked: it counts, or the data could go to and
 * fro for ever.
 */
DEVMEM_TEST(moved_and_gone)
{
	const size_t size = 64 * KIB;
	bool won = false;

	/* A CPU that is not there for as long as the copy takes lets the move succeed. */
	for (unsigned int round = 0; round < 10 && !won; round++) {
		char *buf = devmem_buf(size, false);
		struct racer r = { .buf = buf, .page = self->page };
		uint64_t moves, arrivals, out;
		pthread_t thread;

		ASSERT_NE(NULL, buf);
		/* All but the first page. */
		for (size_t i = WORDS(self->page); i < WORDS(size); i++)
			((uint64_t *)buf)[i] = pattern(39, i);
		lru_drain();
		moves = gpu_stat(self->gpu, mgr_migrations);
		arrivals = gpu_stat(self->gpu, vram_arrivals);
		out = gpu_stat(self->gpu, copy_bytes_out);
		ASSERT_EQ(0, gpu_knob(self->gpu, "copy_mib_per_s", 1));
		ASSERT_EQ(0, gpu_knob(self->gpu, "window_ms", 1000));
		ASSERT_EQ(0, pthread_create(&thread, NULL, racer_thread, &r));
		ASSERT_EQ(0, gpu_atomic_add(self->gpu, buf + 2 * self->page, 1, 1));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(0, gpu_knob(self->gpu, "window_ms", 0));
		ASSERT_EQ(0, gpu_knob(self->gpu, "copy_mib_per_s", 0));
		EXPECT_TRUE(r.raced);
		moves = gpu_stat(self->gpu, mgr_migrations) - moves;
		arrivals = gpu_stat(self->gpu, vram_arrivals) - arrivals;
		/* Each that arrived is counted, also one that has gone again. */
		EXPECT_EQ(arrivals, moves);
		EXPECT_LE(1, moves);
		/* The page that came in between was not there to come back. */
		won = moves == 1 && gpu_stat(self->gpu, copy_bytes_out) - out < size;
		for (size_t i = WORDS(self->page); i < WORDS(size); i++)
			ASSERT_EQ(pattern(39, i) + (i == 2 * WORDS(self->page)),
				  ((uint64_t *)buf)[i]);
		EXPECT_EQ(1, buf[0]);
		buf_free(buf, size);
	}
	EXPECT_TRUE(won);
}

struct evictor {
	struct gpu *gpu;
	volatile bool stop;
	int ret;
};

static void *evictor_thread(void *arg)
{
	struct evictor *e = arg;

	while (!e->stop && !e->ret)
		e->ret = gpu_knob(e->gpu, "evict", 1);
	return NULL;
}

/* Eviction and faults of the CPU want the same pages back, again and again. */
DEVMEM_TEST(evict_against_cpu)
{
	struct evictor e = { .gpu = self->gpu };
	char *buf = devmem_buf(SIZE, variant->thp);
	const unsigned int rounds = 10;
	uint64_t moved = gpu_stat(self->gpu, migrations);
	pthread_t thread;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, arbiter_off());
	buf_init(buf, SIZE, 42);
	ASSERT_EQ(0, pthread_create(&thread, NULL, evictor_thread, &e));
	for (unsigned int i = 0; i < rounds; i++) {
		ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
		for (size_t at = 0; at < SIZE; at += self->page)
			*(uint64_t *)(buf + at) += 1;
	}
	e.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, e.ret);
	EXPECT_LT(moved, gpu_stat(self->gpu, migrations));
	for (size_t i = 0; i < WORDS(SIZE); i++)
		ASSERT_EQ(pattern(42, i) + rounds + (i % WORDS(self->page) ? 0 : rounds),
			  ((uint64_t *)buf)[i]);
	ASSERT_EQ(0, gpus_validate());
	buf_free(buf, SIZE);
}

static uint64_t fdinfo_kib(int fd, const char *key)
{
	char path[64], line[256], unit[8] = "";
	uint64_t value = ~0ULL;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "r");
	if (!file)
		return value;
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, strlen(key)))
			continue;
		if (sscanf(line + strlen(key), ": %" SCNu64 " %7s", &value, unit) < 1)
			continue;
		if (!strcmp(unit, "MiB"))
			value *= 1024;
		break;
	}
	fclose(file);
	return value;
}

DEVMEM_TEST(accounting)
{
	char *buf = devmem_buf(SIZE, variant->thp);

	ASSERT_NE(NULL, buf);
	EXPECT_EQ(0, fdinfo_kib(self->gpu->dev.fd, "drm-resident-vram"));
	buf_init(buf, SIZE, 21);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	EXPECT_EQ(SIZE / KIB, fdinfo_kib(self->gpu->dev.fd, "drm-resident-vram"));
	EXPECT_EQ(SIZE / KIB, fdinfo_kib(self->gpu->dev.fd, "drm-memory-vram"));
	EXPECT_EQ(SIZE, gpu_stat(self->gpu, vram_used));
	buf_free(buf, SIZE);
	for (int i = 0; i < 1000 && gpu_stat(self->gpu, vram_used); i++)
		usleep(10000);
	EXPECT_EQ(0, gpu_stat(self->gpu, vram_used));
	EXPECT_EQ(0, fdinfo_kib(self->gpu->dev.fd, "drm-resident-vram"));
}

/* The dmem cgroup knows each device's memory. */
DEVMEM_TEST(cgroup_region)
{
	char text[4096] = "", want[64], name[VSVM_PCI_NAME];
	int fd = open("/sys/fs/cgroup/dmem.capacity", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		SKIP(return, "no dmem cgroup");
	ASSERT_LT(0, read(fd, text, sizeof(text) - 1));
	close(fd);
	for (unsigned int i = 0; i < self->g->n; i++) {
		if (vsvm_pci_function(i, name))
			snprintf(name, sizeof(name), "vsvm.%u", i);
		snprintf(want, sizeof(want), "drm/%s/vram %lu\n", name,
			 variant->vram_mib * MIB);
		EXPECT_NE(NULL, strstr(text, want));
	}
}

/* The struct pages of a device that nobody uses go under pressure, and return. */
DEVMEM_TEST(shrinker)
{
	char *buf = devmem_buf(SIZE, variant->thp);

	ASSERT_NE(NULL, buf);
	for (unsigned int round = 0; round < 3; round++) {
		/* With VMs, with data and no VM, with neither. */
		if (!round) {
			buf_init(buf, SIZE, 30);
			ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
		}
		ASSERT_EQ(0, write_text("/proc/sys/vm/drop_caches", "2"));
		if (!round) {
			EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
			ASSERT_EQ(0, gpus_close(self->g));
			self->g = NULL;
		} else if (round == 1) {
			ASSERT_EQ(-1, buf_check(buf, SIZE, 30, 1));
		}
	}
	ASSERT_EQ(0, gpus_open(&self->g, variant->n, DRM_VSVM_VM_MIGRATE));
	self->gpu = self->g->gpu;
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 30, 2));
	buf_free(buf, SIZE);
}

/* One more number of the kernel's, when it is greater than @old. */
static bool ksm_wait(const char *name, uint64_t old)
{
	uint64_t now = 0;
	char path[64];

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	for (int i = 0; i < 10000; i++) {
		if (!read_number(path, &now) && now > old)
			return true;
		usleep(2000);
	}
	return false;
}

/*
 * KSM forgets who uses a page that it does not find in memory, and who touches such
 * an address waits for ever when the page comes back from a device. So it does not
 * go there while KSM is at work, and does again afterwards.
 */
DEVMEM_TEST(ksm)
{
	size_t size = 8 * self->page;
	char *buf = devmem_buf(size, false);
	uint64_t scans, sum, missed;

	ASSERT_NE(NULL, buf);
	if (access("/sys/kernel/mm/ksm/run", W_OK))
		SKIP(goto out, "no KSM");
	memset(buf, 0x5a, size);
	ASSERT_EQ(0, madvise(buf, size, MADV_MERGEABLE));
	ASSERT_EQ(0, write_text("/sys/kernel/mm/ksm/pages_to_scan", "2000"));
	ASSERT_EQ(0, write_text("/sys/kernel/mm/ksm/sleep_millisecs", "10"));
	ASSERT_EQ(0, write_text("/sys/kernel/mm/ksm/run", "1"));
	if (!ksm_wait("pages_sharing", 6)) {
		write_text("/sys/kernel/mm/ksm/run", "0");
		SKIP(goto out, "KSM merged nothing");
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, size, &gpu->dev,
					   DRM_VSVM_PREFETCH_MAP, &missed));
		EXPECT_EQ(size, missed);
		ASSERT_EQ(0, gpu_checksum(gpu, buf, size, &sum));
		EXPECT_EQ(vsvm_checksum(buf, size), sum);
		EXPECT_EQ(0, pages_away(buf, size));
	}
	/* Goes round twice meanwhile, and forgets what it does not find. */
	ASSERT_EQ(0, read_number("/sys/kernel/mm/ksm/full_scans", &scans));
	ASSERT_TRUE(ksm_wait("full_scans", scans + 1));
	ASSERT_EQ(0, gpu_add(self->gpu, buf, size, 1));
	ASSERT_EQ(-1, buf_check_value(buf, size, 0x5a5a5a5a5a5a5a5bULL));
	ASSERT_EQ(0, madvise(buf, size, MADV_UNMERGEABLE));
	ASSERT_EQ(0, write_text("/sys/kernel/mm/ksm/run", "0"));
	/* Somebody may still hold a page or another. */
	missed = size;
	for (int i = 0; i < 50 && missed == size; i++) {
		lru_drain();
		ASSERT_EQ(0, vsvm_prefetch(&self->gpu->vm, buf, size, &self->gpu->dev, 0,
					   &missed));
	}
	EXPECT_GT(size, missed);
	ASSERT_EQ(0, gpu_add(self->gpu, buf, size, 1));
	ASSERT_EQ(-1, buf_check_value(buf, size, 0x5a5a5a5a5a5a5a5cULL));
out:
	buf_free(buf, size);
}

/* A VM goes, its data stays where it is, for the others and the CPU. */
DEVMEM_TEST(vm_gone)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	struct gpu *other = buf_alloc(sizeof(*other));

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, other);
	/* Two VMs of one device. */
	ASSERT_EQ(0, gpu_open(other, 0, DRM_VSVM_VM_MIGRATE));
	buf_init(buf, SIZE, 22);
	ASSERT_EQ(0, bring(other, buf, SIZE, 1));
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
	ASSERT_EQ(0, gpu_close(other));
	EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	EXPECT_EQ(-1, buf_check(buf, SIZE, 22, 3 + self->g->n));
	buf_free(other, sizeof(*other));
	buf_free(buf, SIZE);
}

TEST_HARNESS_MAIN
