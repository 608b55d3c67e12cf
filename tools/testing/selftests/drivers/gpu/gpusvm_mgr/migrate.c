// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory of a process moves into the memory of devices and back: whatever the
 * process does to it meanwhile, no byte is lost, and nobody sees an old one.
 */
#include "gpusvm_devmem.h"

#include <inttypes.h>
#include <sys/uio.h>

#define SIZE	CHUNK
#define PAGES(self)	(SIZE / (self)->page)

/* A moves the whole buffer to the first device; it is there when this returns. */
static int bring(struct gpu *gpu, char *buf, size_t size, uint64_t add)
{
	uint64_t before = gpu_stat(gpu, migrations);
	int ret;

	ret = gpu_add(gpu, buf, size, add);
	if (!ret && gpu_stat(gpu, migrations) == before)
		ret = -ENODATA;
	if (!ret && pages_away(buf, size) != size / page_size())
		ret = -ENOTEMPTY;
	return ret;
}

/* From the CPU to each device, one after the other, and back. */
DEVMEM_TEST(round_trip)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t in, out;

	ASSERT_NE(NULL, buf);
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

		buf_init(buf, SIZE, i);
		ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_checksum(gpu, buf, SIZE, &sum));
		EXPECT_LT(resident, gpu_stat(gpu, migrations_resident));
		EXPECT_EQ(linked ? PAGES(self) : 0, pages_away(buf, SIZE));
		/* Writes over the link, too. */
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 10));
		EXPECT_EQ(linked ? PAGES(self) : 0, pages_away(buf, SIZE));
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
	int status;
	pid_t pid;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 8);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
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
	ASSERT_EQ(-1, buf_check(buf, SIZE, 8, 1 + self->g->n));
	ASSERT_EQ(0, gpus_validate());
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
		c = buf_check(buf, SIZE, 4, 1) == -1 && !pages_away(buf, SIZE) ? 'y' : 'n';
		if (write(to_parent[1], &c, 1) != 1)
			_exit(6);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	close(to_child[0]);
	close(to_parent[1]);
	ASSERT_EQ(1, read(to_parent[0], &c, 1));

	/* Now the device goes, too. Its memory belongs to a stranger to it. */
	ASSERT_EQ(0, gpus_close(self->g));
	self->g = NULL;
	ASSERT_EQ(0, device_unplug(last));
	close(to_child[1]);
	ASSERT_EQ(1, read(to_parent[0], &c, 1));
	EXPECT_EQ('y', c);
	ASSERT_EQ(0, device_plug(last));
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

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 15);
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

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 16);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, mprotect(buf + 3 * self->page, self->page, PROT_READ));
	ASSERT_EQ(0, madvise(buf + 9 * self->page, self->page, MADV_DONTNEED));
	ASSERT_EQ(0, mprotect(buf + 3 * self->page, self->page, PROT_READ | PROT_WRITE));
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

/* No memory on the device, or a copy engine that fails: mapped in place. */
DEVMEM_TEST(injected_failures)
{
	static const char * const knobs[] = { "fail_alloc", "fail_copy" };

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
	char text[4096] = "", want[64];
	int fd = open("/sys/fs/cgroup/dmem.capacity", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		SKIP(return, "no dmem cgroup");
	ASSERT_LT(0, read(fd, text, sizeof(text) - 1));
	close(fd);
	for (unsigned int i = 0; i < self->g->n; i++) {
		snprintf(want, sizeof(want), "drm/vsvm.%u/vram %lu\n", i,
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
