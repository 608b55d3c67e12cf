// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the HMM selftests ask of one mirror of system memory, asked of vsvm's
 * devices: each kind of memory is read and written by all of them and by the
 * CPU, and all see the same.
 */
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "gpusvm_test.h"

#define SIZE	(128 * KIB)

/* Each device reads all of it and must find pattern(seed) + add. */
static int all_read(struct gpus *g, const void *buf, size_t size, uint64_t seed, uint64_t add)
{
	uint64_t *want = malloc(size), sum = 0, seen;
	int ret = 0;

	if (!want)
		return -ENOMEM;
	for (size_t i = 0; i < WORDS(size); i++)
		want[i] = pattern(seed, i) + add;
	sum = vsvm_checksum(want, size);
	free(want);
	for (unsigned int i = 0; !ret && i < g->n; i++) {
		ret = gpu_checksum(&g->gpu[i], buf, size, &seen);
		if (!ret && seen != sum)
			ret = -EILSEQ;
	}
	return ret;
}

/* Each device adds 1 to each word. */
static int all_add(struct gpus *g, void *buf, size_t size)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < g->n; i++)
		ret = gpu_add(&g->gpu[i], buf, size, 1);
	return ret;
}

/* The core of most tests: CPU writes, all read, all write, CPU reads. */
static int read_write(struct gpus *g, void *buf, size_t size, uint64_t seed)
{
	int ret;

	buf_init(buf, size, seed);
	ret = all_read(g, buf, size, seed, 0);
	if (ret)
		return ret;
	ret = all_add(g, buf, size);
	if (ret)
		return ret;
	if (buf_check(buf, size, seed, g->n) >= 0)
		return -EILSEQ;
	return all_read(g, buf, size, seed, g->n);
}

GPU_TEST(open_close)
{
	struct gpu gpu;

	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(0, gpu_open(&gpu, i, 0));
		ASSERT_EQ(i, gpu.dev.info.index);
		ASSERT_EQ(DRM_VSVM_ABI_VERSION, gpu.dev.info.abi_version);
		ASSERT_LE(1, gpu.dev.info.engines);
		ASSERT_EQ(self->page, gpu.dev.info.page_size);
		ASSERT_EQ(0, gpu_close(&gpu));
	}
}

GPU_TEST(anon_read)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	/* The first half was written by the CPU, the rest never touched. */
	buf_init(buf, SIZE / 2, 1);
	ASSERT_EQ(0, all_read(self->g, buf, SIZE / 2, 1, 0));
	for_each_gpu(gpu, self) {
		char *copy = buf_alloc(SIZE);

		ASSERT_NE(NULL, copy);
		memset(copy, 0xff, SIZE);
		ASSERT_EQ(0, gpu_copy(gpu, copy, buf, SIZE));
		ASSERT_EQ(-1, buf_check(copy, SIZE / 2, 1, 0));
		ASSERT_EQ(-1, buf_check_value(copy + SIZE / 2, SIZE / 2, 0));
		buf_free(copy, SIZE);
	}
	buf_free(buf, SIZE);
}

GPU_TEST(anon_read_prot)
{
	uint64_t *buf = buf_alloc(SIZE), value;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 2);
	ASSERT_EQ(0, all_read(self->g, buf, SIZE, 2, 0));
	/* Mapped on each device: the protection must take it away again. */
	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_NONE));
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf, &value), gpu, EFAULT, buf, 0);
		ASSERT_GPU_ERROR(gpu_read64(gpu, (char *)buf + SIZE - self->page, &value),
				 gpu, EFAULT, (char *)buf + SIZE - self->page, 0);
	}
	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ | PROT_WRITE));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 2, 0));
	ASSERT_EQ(0, all_read(self->g, buf, SIZE, 2, 0));
	buf_free(buf, SIZE);
}

GPU_TEST(anon_write)
{
	uint64_t *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	/* Memory that the CPU has never touched, a part for each device. */
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(0, gpu_fill(&self->gpu[i], (char *)buf + i * (SIZE / self->g->n),
				      SIZE / self->g->n, 100 + i));
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(-1, buf_check_value((char *)buf + i * (SIZE / self->g->n),
					      SIZE / self->g->n, 100 + i));
	}
	ASSERT_EQ(0, read_write(self->g, buf, SIZE, 3));
	buf_free(buf, SIZE);
}

GPU_TEST(anon_write_prot)
{
	char *buf = buf_alloc(SIZE);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 4);
	ASSERT_EQ(0, all_add(self->g, buf, SIZE));
	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ));
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf, 0), gpu, EPERM, buf,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_GPU_ERROR(gpu_atomic_add(gpu, buf + self->page, 1, 1), gpu, EPERM,
				 buf + self->page,
				 DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC);
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(pattern(4, 0) + self->g->n, value);
	}
	ASSERT_EQ(-1, buf_check(buf, SIZE, 4, self->g->n));

	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_NONE));
	for_each_gpu(gpu, self) {
		struct drm_vsvm_error error;

		ASSERT_EQ(-EIO, gpu_write64(gpu, buf, 0));
		ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
		/* No access at all: both answers are right. */
		ASSERT_TRUE(error.error == EFAULT || error.error == EPERM);
		ASSERT_EQ((uintptr_t)buf, error.addr);
	}
	ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ | PROT_WRITE));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 4, self->g->n));
	ASSERT_EQ(0, all_add(self->g, buf, SIZE));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 4, 2 * self->g->n));
	buf_free(buf, SIZE);
}

struct child_arg {
	struct gpus *g;
	uint64_t *buf;
	int go[2], done[2];
};

/* The parent's devices write after the fork: the child keeps what it had. */
static int anon_child(void *arg)
{
	struct child_arg *c = arg;
	char byte;

	close(c->go[1]);
	CHECK(read(c->go[0], &byte, 1) == 1);
	CHECK(buf_check(c->buf, SIZE, 5, c->g->n) == -1);
	/* Both have broken the sharing by now, the child's writes are its own. */
	for (size_t i = 0; i < WORDS(SIZE); i++)
		c->buf[i] = ~0ULL;
	CHECK(write(c->done[1], "", 1) == 1);
	CHECK(read(c->go[0], &byte, 1) == 1);
	CHECK(buf_check_value(c->buf, SIZE, ~0ULL) == -1);
	return 0;
}

/* Memory that only the process itself may reach: no kernel mapping, no GUP, no device. */
GPU_TEST(secretmem)
{
	uint64_t *buf;
	int fd;

	fd = syscall(__NR_memfd_secret, 0);
	if (fd < 0)
		SKIP(return, "no memfd_secret");
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	buf = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, buf);
	buf[0] = 0x5ec3e7;
	for_each_gpu(gpu, self) {
		uint64_t value;

		ASSERT_GPU_ERROR(gpu_write64(gpu, buf, 0), gpu, EIO, buf,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(-EIO, gpu_read64(gpu, buf, &value));
	}
	ASSERT_EQ(0x5ec3e7, buf[0]);
	ASSERT_EQ(0, munmap(buf, SIZE));
	ASSERT_EQ(0, close(fd));
}

GPU_TEST(anon_write_child)
{
	struct child_arg c = { .g = self->g, .buf = buf_alloc(SIZE) };
	char byte;
	pid_t pid;
	int status;

	ASSERT_NE(NULL, c.buf);
	ASSERT_EQ(0, pipe(c.go));
	ASSERT_EQ(0, pipe(c.done));
	buf_init(c.buf, SIZE, 5);
	ASSERT_EQ(0, all_add(self->g, c.buf, SIZE));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(anon_child(&c));

	/* Writable on the devices before: fork must have taken that away. */
	ASSERT_EQ(0, all_add(self->g, c.buf, SIZE));
	ASSERT_EQ(1, write(c.go[1], "", 1));
	close(c.done[1]);
	ASSERT_EQ(1, read(c.done[0], &byte, 1));
	ASSERT_EQ(-1, buf_check(c.buf, SIZE, 5, 2 * self->g->n));
	ASSERT_EQ(0, all_add(self->g, c.buf, SIZE));
	ASSERT_EQ(1, write(c.go[1], "", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(-1, buf_check(c.buf, SIZE, 5, 3 * self->g->n));
	buf_free(c.buf, SIZE);
}

static int shared_child(void *arg)
{
	struct child_arg *c = arg;

	CHECK(buf_check(c->buf, SIZE, 6, c->g->n) == -1);
	for (size_t i = 0; i < WORDS(SIZE); i++)
		c->buf[i]++;
	return 0;
}

GPU_TEST(anon_write_child_shared)
{
	struct child_arg c = { .g = self->g };

	c.buf = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	ASSERT_NE(NULL, c.buf);
	buf_init(c.buf, SIZE, 6);
	ASSERT_EQ(0, all_add(self->g, c.buf, SIZE));
	ASSERT_EQ(0, run_child(shared_child, &c));
	/* No invalidation told the devices: the same pages, the new content. */
	ASSERT_EQ(0, all_read(self->g, c.buf, SIZE, 6, self->g->n + 1));
	ASSERT_EQ(0, all_add(self->g, c.buf, SIZE));
	ASSERT_EQ(-1, buf_check(c.buf, SIZE, 6, 2 * self->g->n + 1));
	buf_free(c.buf, SIZE);
}

GPU_TEST(anon_write_huge)
{
	char *buf = buf_alloc(CHUNK);
	uint64_t faults, value;

	ASSERT_NE(NULL, buf);
	if (!thp_available())
		SKIP(goto out, "no transparent huge pages");
	ASSERT_EQ(0, madvise(buf, CHUNK, MADV_HUGEPAGE));
	buf[0] = 1;
	if (smaps_kib(buf, "AnonHugePages") != CHUNK / KIB)
		SKIP(goto out, "no huge page to be had");

	/* A page of 2 MiB is one range: one fault maps all of it. */
	for_each_gpu(gpu, self) {
		faults = gpus_sum(self->g, faults);
		ASSERT_EQ(0, gpu_add_each(gpu, buf, CHUNK, 16 * self->page));
		/* More, where it is taken away in between. */
		if (!migrating())
			ASSERT_EQ(faults + 1, gpus_sum(self->g, faults));
	}
	for (size_t at = 0; at < CHUNK; at += 16 * self->page) {
		memcpy(&value, buf + at, sizeof(value));
		ASSERT_EQ(self->g->n + !at, value);
	}
	ASSERT_EQ(0, read_write(self->g, buf + CHUNK / 2, 64 * KIB, 7));

	/* Still the same after the page was split under the devices ... */
	ASSERT_EQ(0, mprotect(buf, self->page, PROT_READ));
	ASSERT_EQ(0, all_read(self->g, buf + CHUNK / 2, 64 * KIB, 7, self->g->n));
	ASSERT_EQ(0, all_add(self->g, buf + CHUNK / 2, 64 * KIB));
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf, 0), gpu, EPERM, buf,
				 DRM_VSVM_ERROR_WRITE);
	}
	/* ... and after it was put together again. */
	ASSERT_EQ(0, mprotect(buf, self->page, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, madvise(buf, self->page, MADV_DONTNEED));
	ASSERT_EQ(0, all_add(self->g, buf + CHUNK / 2, 64 * KIB));
	(void)madvise(buf, CHUNK, MADV_COLLAPSE);
	ASSERT_EQ(0, all_add(self->g, buf + CHUNK / 2, 64 * KIB));
	ASSERT_EQ(-1, buf_check(buf + CHUNK / 2, 64 * KIB, 7, 4 * self->g->n));
	ASSERT_EQ(0, gpu_read64(self->gpu, buf, &value));
	ASSERT_EQ(0, value);
out:
	buf_free(buf, CHUNK);
}

GPU_TEST(huge_zero_page)
{
	char *buf = buf_alloc(CHUNK);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	if (!thp_available())
		SKIP(goto out, "no transparent huge pages");
	ASSERT_EQ(0, madvise(buf, CHUNK, MADV_HUGEPAGE));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf + CHUNK / 2, &value));
		ASSERT_EQ(0, value);
	}
	/*
	 * Nobody has written: a zero page must be enough, where it stays. But
	 * drm_gpusvm asks for what the VMA permits, whatever the access is.
	 */
	if (!migrating() && managed()) {
		ASSERT_EQ(0, smaps_kib(buf, "AnonHugePages"));
		ASSERT_EQ(0, smaps_kib(buf, "Anonymous"));
	}
	ASSERT_EQ(0, read_write(self->g, buf + CHUNK / 2, 64 * KIB, 8));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(0, value);
	}
out:
	buf_free(buf, CHUNK);
}

GPU_TEST(anon_write_hugetlbfs)
{
	char *buf;

	buf = buf_map(CHUNK, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1);
	if (!buf)
		SKIP(return, "no huge page of 2 MiB in the pool");
	ASSERT_EQ(0, read_write(self->g, buf + CHUNK - 64 * KIB, 64 * KIB, 9));
	/* A device is the first to touch a page. */
	ASSERT_EQ(0, madvise(buf, CHUNK, MADV_DONTNEED));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add_each(gpu, buf, CHUNK, 32 * self->page));
	}
	for (size_t at = 0; at < CHUNK; at += 32 * self->page) {
		ASSERT_EQ(-1, buf_check_value(buf + at, 8, self->g->n));
	}
	buf_free(buf, CHUNK);
}

GPU_TEST(file_read)
{
	static const int flags[] = { MAP_SHARED, MAP_PRIVATE };
	int fd = tmp_file(SIZE, 10);

	ASSERT_LE(0, fd);
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		char *buf = buf_map(SIZE, PROT_READ, flags[i], fd);

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, all_read(self->g, buf, SIZE, 10 + i, 0));
		for_each_gpu(gpu, self) {
			ASSERT_GPU_ERROR(gpu_write64(gpu, buf, 1), gpu, EPERM, buf,
					 DRM_VSVM_ERROR_WRITE);
		}
		/* What is written to the file appears in the mapping. */
		ASSERT_EQ(0, file_fill(fd, SIZE, 11 + i));
		ASSERT_EQ(0, all_read(self->g, buf, SIZE, 11 + i, 0));
		buf_free(buf, SIZE);
	}
	close(fd);
}

GPU_TEST(file_write)
{
	int fd = tmp_file(SIZE, 12);
	uint64_t *seen = malloc(SIZE);
	char *buf;

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, seen);
	/* Shared: the file gets it. */
	buf = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, all_add(self->g, buf, SIZE));
	ASSERT_EQ((ssize_t)SIZE, pread(fd, seen, SIZE, 0));
	ASSERT_EQ(-1, buf_check(seen, SIZE, 12, self->g->n));
	buf_free(buf, SIZE);

	/* Private: the file keeps what it has, the mapping does not change back. */
	buf = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, all_read(self->g, buf, SIZE, 12, self->g->n));
	ASSERT_EQ(0, all_add(self->g, buf, SIZE));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 12, 2 * self->g->n));
	ASSERT_EQ((ssize_t)SIZE, pread(fd, seen, SIZE, 0));
	ASSERT_EQ(-1, buf_check(seen, SIZE, 12, self->g->n));
	ASSERT_EQ(0, file_fill(fd, SIZE, 13));
	ASSERT_EQ(0, all_read(self->g, buf, SIZE, 12, 2 * self->g->n));
	buf_free(buf, SIZE);
	free(seen);
	close(fd);
}

GPU_TEST(file_truncate)
{
	int fd = tmp_file(SIZE, 14);
	uint64_t value;
	char *buf;

	ASSERT_LE(0, fd);
	buf = buf_map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, all_add(self->g, buf, SIZE));
	ASSERT_EQ(0, ftruncate(fd, SIZE / 2));
	/* Behind the end there is nothing, as SIGBUS says to the CPU. */
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf + SIZE / 2, &value), gpu, EFAULT,
				 buf + SIZE / 2, 0);
	}
	ASSERT_EQ(0, all_read(self->g, buf, SIZE / 2, 14, self->g->n));
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf + SIZE / 2, &value));
		ASSERT_EQ(0, value);
	}
	buf_free(buf, SIZE);
	close(fd);
}

GPU_TEST(anon_read_multiple)
{
	/* The same address again and again, each time other pages. */
	for (unsigned int i = 0; i < 12; i++) {
		char *buf = buf_alloc(64 * KIB);

		ASSERT_NE(NULL, buf);
		buf_init(buf, 64 * KIB, 20 + i);
		ASSERT_EQ(0, all_read(self->g, buf, 64 * KIB, 20 + i, 0));
		buf_free(buf, 64 * KIB);
	}
}

static void *unmap_thread(void *arg)
{
	munmap(arg, SIZE);
	return NULL;
}

GPU_TEST(anon_teardown)
{
	unsigned int whole = 0, torn = 0;

	for (unsigned int round = 0; round < 16; round++) {
		char *buf = buf_alloc(SIZE);
		pthread_t thread;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 40 + round);
		for_each_gpu(gpu, self) {
			VSVM_JOB(job, 1);

			vsvm_job_copy(&job, gpu->result, buf, sizeof(gpu->result));
			ASSERT_EQ(0, gpu_start(gpu, 1, &job));
			vsvm_job_reset(&job);
			vsvm_job_checksum(&job, gpu->result, buf, SIZE);
			ASSERT_EQ(0, gpu_start(gpu, 1, &job));
		}
		ASSERT_EQ(0, pthread_create(&thread, NULL, unmap_thread, buf));
		for_each_gpu(gpu, self) {
			struct drm_vsvm_error error;
			uint64_t value;
			int ret;

			/*
			 * Each job saw all of it, or ended at the hole. The fence
			 * is the last job's, so ask for the errors of both.
			 */
			ret = gpu_finish(gpu, 1);
			ASSERT_TRUE(!ret || ret == -EIO);
			whole += !ret;
			torn += ret == -EIO;
			while (!vsvm_error_take(&gpu->vm, &error)) {
				ASSERT_EQ(EFAULT, error.error);
				ASSERT_LE((uintptr_t)buf, error.addr);
				ASSERT_GT((uintptr_t)buf + SIZE, error.addr);
			}
			/* The VM works as before. */
			ASSERT_EQ(0, gpu_write64(gpu, &gpu->result[1], round));
			ASSERT_EQ(0, gpu_read64(gpu, &gpu->result[1], &value));
			ASSERT_EQ(round, value);
		}
		ASSERT_EQ(0, pthread_join(thread, NULL));
		for_each_gpu(gpu, self) {
			uint64_t value;

			ASSERT_GPU_ERROR(gpu_read64(gpu, buf, &value), gpu, EFAULT, buf, 0);
		}
		buf_free(buf, SIZE);
	}
	TH_LOG("%u jobs saw it all, %u ended early", whole, torn);
}

/* io_uring's rings are mapped page by page into a VM_MIXEDMAP VMA. */
GPU_TEST(mixedmap)
{
	struct io_uring_params params = { 0 };
	char *ring, copy[64];
	uint32_t entries;
	size_t size;
	int fd;

	fd = syscall(__NR_io_uring_setup, 64, &params);
	if (fd < 0)
		SKIP(return, "no io_uring");
	size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
	size = (size + self->page - 1) & ~(self->page - 1);
	ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	ASSERT_NE(MAP_FAILED, ring);
	memcpy(&entries, ring + params.sq_off.ring_entries, sizeof(entries));
	ASSERT_EQ(params.sq_entries, entries);
	for_each_gpu(gpu, self) {
		size_t at = params.sq_off.ring_entries & ~7u;

		ASSERT_EQ(0, gpu_copy(gpu, gpu->result, ring + at, sizeof(copy)));
		memcpy(copy, ring + at, sizeof(copy));
		ASSERT_EQ(0, memcmp(copy, gpu->result, sizeof(copy)));
	}
	/* The array of indices belongs to us as long as nothing is submitted. */
	for_each_gpu(gpu, self) {
		uint64_t *array = (uint64_t *)(ring + ((params.sq_off.array + 7) & ~7u));

		ASSERT_EQ(0, gpu_write64(gpu, array, 0x100000001ULL * gpu->dev.info.index));
		ASSERT_EQ(0x100000001ULL * gpu->dev.info.index, array[0]);
		array[0] = 0;
	}
	munmap(ring, size);
	close(fd);
}

static void *find_mapping(const char *name)
{
	void *found = NULL;
	char line[512];
	FILE *file;

	file = fopen("/proc/self/maps", "re");
	if (!file)
		return NULL;
	while (!found && fgets(line, sizeof(line), file)) {
		unsigned long start;

		if (strstr(line, name) && sscanf(line, "%lx-", &start) == 1)
			found = (void *)start;
	}
	fclose(file);
	return found;
}

/* Memory that is no memory: devices must not have it. */
GPU_TEST(pfnmap)
{
	void *clock = find_mapping("[vvar_vclock]");
	uint64_t value;

	if (!clock)
		SKIP(return, "no [vvar_vclock]");
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_read64(gpu, clock, &value), gpu, EIO, clock, 0);
		ASSERT_NO_MORE_ERRORS(gpu);
	}
}

/* The kernel's pages of the vDSO: whatever is decided, never another content. */
GPU_TEST(special_mapping)
{
	const uint64_t *vdso = (const uint64_t *)getauxval(AT_SYSINFO_EHDR);

	if (!vdso)
		SKIP(return, "no vDSO");
	for_each_gpu(gpu, self) {
		uint64_t value = 0;
		int ret;

		ret = gpu_read64(gpu, vdso, &value);
		if (ret == -EIO) {
			struct drm_vsvm_error error;

			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			ASSERT_TRUE(error.error == EIO || error.error == EFAULT);
		} else {
			ASSERT_EQ(0, ret);
			ASSERT_EQ(vdso[0], value);
		}
		ASSERT_GPU_ERROR(gpu_write64(gpu, (void *)vdso, 0), gpu, EPERM, vdso,
				 DRM_VSVM_ERROR_WRITE);
	}
}

/* Each kind of page side by side, as the snapshot test of HMM has them. */
GPU_TEST(snapshot)
{
	size_t page = self->page;
	char *buf;

	buf = buf_map(8 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	ASSERT_NE(NULL, buf);
	/* 0: no access; 1: a hole; 2: zero page, read-only; 3: read-only;
	 * 4: written; 5: never touched; 6: written, then discarded;
	 * 7: no access any more
	 */
	ASSERT_EQ(0, munmap(buf + page, page));
	ASSERT_EQ(0, mprotect(buf + 2 * page, page, PROT_READ));
	ASSERT_EQ(0, *(volatile char *)(buf + 2 * page));
	ASSERT_EQ(0, mprotect(buf + 3 * page, 5 * page, PROT_READ | PROT_WRITE));
	buf_init(buf + 3 * page, 2 * page, 50);
	buf_init(buf + 6 * page, 2 * page, 51);
	ASSERT_EQ(0, mprotect(buf + 3 * page, page, PROT_READ));
	ASSERT_EQ(0, madvise(buf + 6 * page, page, MADV_DONTNEED));
	ASSERT_EQ(0, mprotect(buf + 7 * page, page, PROT_NONE));

	for_each_gpu(gpu, self) {
		unsigned int nr = gpu - self->gpu;
		uint64_t value;

		ASSERT_GPU_ERROR(gpu_read64(gpu, buf, &value), gpu, EFAULT, buf, 0);
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf + page, &value), gpu, EFAULT,
				 buf + page, 0);
		ASSERT_EQ(0, gpu_read64(gpu, buf + 2 * page, &value));
		ASSERT_EQ(0, value);
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf + 2 * page, 1), gpu, EPERM,
				 buf + 2 * page, DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, gpu_read64(gpu, buf + 3 * page, &value));
		ASSERT_EQ(pattern(50, 0), value);
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf + 3 * page, 1), gpu, EPERM,
				 buf + 3 * page, DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, gpu_read64(gpu, buf + 4 * page, &value));
		ASSERT_EQ(pattern(50, WORDS(page)) + nr, value);
		ASSERT_EQ(0, gpu_write64(gpu, buf + 4 * page, value + 1));
		ASSERT_EQ(0, gpu_read64(gpu, buf + 5 * page, &value));
		ASSERT_EQ(nr, value);
		ASSERT_EQ(0, gpu_write64(gpu, buf + 5 * page, value + 1));
		ASSERT_EQ(0, gpu_read64(gpu, buf + 6 * page, &value));
		ASSERT_EQ(nr, value);
		ASSERT_EQ(0, gpu_write64(gpu, buf + 6 * page, value + 1));
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf + 7 * page, &value), gpu, EFAULT,
				 buf + 7 * page, 0);
	}
	buf_free(buf, 8 * page);
}

GPU_TEST(zero_page_not_broken)
{
	uint64_t value, zero;
	char *buf;

	if (migrating())
		SKIP(return, "device memory has no zero page");
	if (!managed())
		SKIP(return, "drm_gpusvm asks for what the VMA permits, whatever the access");
	buf = buf_alloc(SIZE);
	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
	}
	/* Reads allocate nothing: each page is the zero page still. */
	ASSERT_EQ(0, smaps_kib(buf, "Anonymous"));
	zero = PAGEMAP_PFN(pagemap_entry(buf));
	for (size_t at = 0; zero && at < SIZE; at += self->page) {
		ASSERT_EQ(zero, PAGEMAP_PFN(pagemap_entry(buf + at)));
	}

	/* A write by the CPU is seen by all, a write by each likewise. */
	*(volatile uint64_t *)buf = 7;
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(7, value);
	}
	for_each_gpu(gpu, self) {
		char *at = buf + self->page;

		ASSERT_EQ(0, gpu_add(gpu, at, 8, 1));
		for_each_gpu(other, self) {
			ASSERT_EQ(0, gpu_read64(other, at, &value));
			ASSERT_EQ((uint64_t)(gpu - self->gpu) + 1, value);
		}
	}
	ASSERT_EQ(self->g->n, *(volatile uint64_t *)(buf + self->page));
	/* What was not written is zero still, by value. */
	ASSERT_EQ(-1, buf_check_value(buf + 2 * self->page, SIZE - 2 * self->page, 0));
	buf_free(buf, SIZE);
}

/* HMM reports the size of a page; here it decides how much a fault maps. */
GPU_TEST(compound)
{
	static const int flags[] = { 0, MAP_HUGETLB | MAP_HUGE_2MB };
	unsigned int done = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		uint64_t faults, mapped;
		char *buf;

		buf = buf_map(CHUNK, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | flags[i], -1);
		if (!buf)
			continue;
		if (!flags[i]) {
			ASSERT_EQ(0, madvise(buf, CHUNK, MADV_HUGEPAGE));
		}
		*(volatile char *)buf = 1;
		if (flags[i] || smaps_kib(buf, "AnonHugePages") == CHUNK / KIB) {
			faults = gpus_sum(self->g, faults);
			mapped = gpus_sum(self->g, dma_mapped);
			for_each_gpu(gpu, self) {
				ASSERT_EQ(0, gpu_read_each(gpu, buf, CHUNK, 32 * self->page));
			}
			if (!migrating()) {
				ASSERT_EQ(faults + self->g->n, gpus_sum(self->g, faults));
				ASSERT_EQ(mapped + self->g->n * CHUNK,
					  gpus_sum(self->g, dma_mapped));
			}
			done++;
		}
		buf_free(buf, CHUNK);
	}
	if (!done)
		SKIP(return, "no huge pages of any kind");
}

GPU_TEST(double_map)
{
	size_t size = 6 * self->page;
	int fd = tmp_file(size, 60);
	uint64_t value;
	char *a, *b;

	ASSERT_LE(0, fd);
	a = buf_map(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	b = buf_map(size, PROT_READ, MAP_SHARED, fd);
	ASSERT_NE(NULL, a);
	ASSERT_NE(NULL, b);
	/* All read through both, so that both are mapped everywhere. */
	ASSERT_EQ(0, all_read(self->g, a, size, 60, 0));
	ASSERT_EQ(0, all_read(self->g, b, size, 60, 0));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, a, size, 1));
		ASSERT_GPU_ERROR(gpu_write64(gpu, b, 1), gpu, EPERM, b, DRM_VSVM_ERROR_WRITE);
	}
	ASSERT_EQ(0, all_read(self->g, b, size, 60, self->g->n));
	/* One goes, the other stays. */
	ASSERT_EQ(0, munmap(a, size));
	for_each_gpu(gpu, self) {
		ASSERT_GPU_ERROR(gpu_read64(gpu, a, &value), gpu, EFAULT, a, 0);
	}
	ASSERT_EQ(0, all_read(self->g, b, size, 60, self->g->n));
	buf_free(a, size);
	buf_free(b, size);
	close(fd);
}

/* Pages that the kernel holds on to are the ones that the devices see. */
GPU_TEST(gup)
{
	struct iovec local, remote;
	char *buf = buf_alloc(SIZE), *copy = malloc(SIZE);
	int fd[2];

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, copy);
	buf_init(buf, SIZE, 70);
	ASSERT_EQ(0, all_add(self->g, buf, SIZE));

	local = (struct iovec) { copy, SIZE };
	remote = (struct iovec) { buf, SIZE };
	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)SIZE) {
		ASSERT_EQ(-1, buf_check(copy, SIZE, 70, self->g->n));
		buf_init(copy, SIZE, 71);
		ASSERT_EQ((ssize_t)SIZE,
			  process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
		ASSERT_EQ(0, all_read(self->g, buf, SIZE, 71, 0));
	} else {
		ASSERT_EQ(ENOSYS, errno);
		buf_init(buf, SIZE, 71);
	}

	/* The pipe has references to the pages, not a copy of the content. */
	ASSERT_EQ(0, pipe(fd));
	remote = (struct iovec) { buf, 4 * self->page };
	ASSERT_EQ((ssize_t)(4 * self->page), vmsplice(fd[1], &remote, 1, 0));
	ASSERT_EQ(0, all_add(self->g, buf, SIZE));
	ASSERT_EQ((ssize_t)(4 * self->page), read(fd[0], copy, 4 * self->page));
	ASSERT_EQ(-1, buf_check(copy, 4 * self->page, 71, self->g->n));

	/* And into pages that the devices have mapped, by read(2). */
	buf_init(copy, 4 * self->page, 72);
	ASSERT_EQ((ssize_t)(4 * self->page), write(fd[1], copy, 4 * self->page));
	ASSERT_EQ((ssize_t)(4 * self->page), read(fd[0], buf, 4 * self->page));
	ASSERT_EQ(0, all_read(self->g, buf, 4 * self->page, 72, 0));
	close(fd[0]);
	close(fd[1]);
	free(copy);
	buf_free(buf, SIZE);
}

struct uffd {
	int fd, stop;
	size_t page;
	char *buf, *source;
	/* What is filled in waits for this, so that the test can look around. */
	pthread_mutex_t gate;
	unsigned int served;
	int error;
};

static void *uffd_thread(void *arg)
{
	struct uffd *u = arg;
	struct pollfd poll_fds[2] = {
		{ .fd = u->fd, .events = POLLIN }, { .fd = u->stop, .events = POLLIN },
	};

	while (poll(poll_fds, 2, TEST_LIMIT * 1000) > 0 && !poll_fds[1].revents) {
		struct uffdio_copy copy = { 0 };
		struct uffd_msg msg;

		if (read(u->fd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		pthread_mutex_lock(&u->gate);
		copy.dst = msg.arg.pagefault.address & ~(u->page - 1);
		copy.src = (uintptr_t)u->source + (copy.dst - (uintptr_t)u->buf);
		copy.len = u->page;
		if (ioctl(u->fd, UFFDIO_COPY, &copy) && errno != EEXIST)
			u->error = errno;
		else
			__atomic_add_fetch(&u->served, 1, __ATOMIC_RELAXED);
		pthread_mutex_unlock(&u->gate);
	}
	return NULL;
}

GPU_TEST(userfaultfd_read)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffd u = { .page = self->page, .gate = PTHREAD_MUTEX_INITIALIZER };
	size_t size = 8 * self->page;
	uint64_t one = 1, value;
	pthread_t thread;
	char *other;

	u.fd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (u.fd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, ioctl(u.fd, UFFDIO_API, &api));
	u.buf = buf_alloc(size);
	other = buf_alloc(SIZE);
	u.source = malloc(size);
	ASSERT_NE(NULL, u.buf);
	ASSERT_NE(NULL, other);
	ASSERT_NE(NULL, u.source);
	buf_init(u.source, size, 80);
	reg.range.start = (uintptr_t)u.buf;
	reg.range.len = size;
	ASSERT_EQ(0, ioctl(u.fd, UFFDIO_REGISTER, &reg));
	u.stop = eventfd(0, EFD_CLOEXEC);
	ASSERT_LE(0, u.stop);

	pthread_mutex_lock(&u.gate);
	ASSERT_EQ(0, pthread_create(&thread, NULL, uffd_thread, &u));
	for_each_gpu(gpu, self) {
		VSVM_JOB(job, 1);

		vsvm_job_checksum(&job, &gpu->result[8], u.buf, size);
		ASSERT_EQ(0, gpu_start(gpu, 1, &job));
	}
	/*
	 * These faults hang until user space has answered. Others are served
	 * meanwhile: another VM's at least, and invalidations go through.
	 */
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *extra = buf_alloc(sizeof(*extra));

		ASSERT_NE(NULL, extra);
		ASSERT_EQ(0, gpu_open(extra, i, 0));
		buf_init(other, SIZE, 81 + i);
		ASSERT_EQ(0, gpu_add(extra, other, SIZE, 1));
		ASSERT_EQ(-1, buf_check(other, SIZE, 81 + i, 1));
		ASSERT_EQ(0, madvise(other, SIZE, MADV_DONTNEED));
		ASSERT_EQ(0, gpu_read64(extra, other, &value));
		ASSERT_EQ(0, value);
		ASSERT_EQ(0, gpu_close(extra));
		buf_free(extra, sizeof(*extra));
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(-ETIME, gpu_finish_in(gpu, 1, 0));
	}
	pthread_mutex_unlock(&u.gate);

	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_finish(gpu, 1));
		ASSERT_EQ(vsvm_checksum(u.source, size), gpu->result[8]);
	}
	ASSERT_EQ((ssize_t)sizeof(one), write(u.stop, &one, sizeof(one)));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, u.error);
	ASSERT_LE(8, u.served);
	close(u.stop);
	close(u.fd);
	free(u.source);
	buf_free(other, SIZE);
	buf_free(u.buf, size);
}

static uint64_t in_data[512] = { 0x1234567 };
static uint64_t in_bss[512];

/* Whatever a pointer may point to. */
GPU_TEST(any_pointer)
{
	uint64_t on_stack[64], sum;
	uint64_t *on_heap = malloc(300);
	const unsigned char *text = (const unsigned char *)(uintptr_t)&find_mapping;

	ASSERT_NE(NULL, on_heap);
	for_each_gpu(gpu, self) {
		uint64_t value = 1000 + (gpu - self->gpu);

		on_stack[3] = 1;
		on_heap[3] = 2;
		in_bss[100] = 3;
		ASSERT_EQ(0, gpu_add(gpu, &on_stack[3], 8, value));
		ASSERT_EQ(0, gpu_add(gpu, &on_heap[3], 8, value));
		ASSERT_EQ(0, gpu_add(gpu, &in_bss[100], 8, value));
		ASSERT_EQ(0, gpu_write64(gpu, &in_data[0], value));
		ASSERT_EQ(value + 1, on_stack[3]);
		ASSERT_EQ(value + 2, on_heap[3]);
		ASSERT_EQ(value + 3, in_bss[100]);
		ASSERT_EQ(value, in_data[0]);
		/* The program itself, at any alignment. */
		ASSERT_EQ(0, gpu_checksum(gpu, text + 1, 99, &sum));
		ASSERT_EQ(vsvm_checksum(text + 1, 99), sum);
		ASSERT_EQ(-EIO, gpu_write64(gpu, (void *)((uintptr_t)text & ~7UL), 0));
		{
			struct drm_vsvm_error error;

			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			ASSERT_EQ(EPERM, error.error);
		}
	}
	free(on_heap);
}

GPU_TEST(dontneed)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	for (unsigned int round = 0; round < 4; round++) {
		buf_init(buf, SIZE, 90);
		ASSERT_EQ(0, all_add(self->g, buf, SIZE));
		ASSERT_EQ(0, madvise(buf + SIZE / 4, SIZE / 2, MADV_DONTNEED));
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
			ASSERT_EQ(-1, buf_check_value(buf + SIZE / 4, SIZE / 2,
						      gpu - self->gpu + 1));
		}
		ASSERT_EQ(-1, buf_check(buf, SIZE / 4, 90, 2 * self->g->n));
	}
	buf_free(buf, SIZE);
}

/* Pages that move under the devices: compaction takes what it likes. */
GPU_TEST(compaction)
{
	char *buf = buf_alloc(SIZE);
	unsigned int rounds = 3;

	ASSERT_NE(NULL, buf);
	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(goto out, "no compaction");
	buf_init(buf, SIZE, 100);
	for (unsigned int round = 0; round < rounds; round++) {
		for_each_gpu(gpu, self) {
			VSVM_JOB(job, 1);

			vsvm_job_add(&job, buf, SIZE, 1);
			ASSERT_EQ(0, gpu_start(gpu, 1, &job));
			/* One at a time: plain additions of two would get lost. */
			if (gpu == self->gpu) {
				ASSERT_EQ(0, write_text("/proc/sys/vm/compact_memory", "1"));
			}
			ASSERT_EQ(0, gpu_finish(gpu, 1));
		}
	}
	ASSERT_EQ(-1, buf_check(buf, SIZE, 100, rounds * self->g->n));
out:
	buf_free(buf, SIZE);
}

/* Pages of equal content become one; who writes gets a page of their own. */
GPU_TEST(ksm)
{
	size_t size = 8 * self->page;
	char *buf = buf_alloc(size);
	uint64_t merged = 0;

	ASSERT_NE(NULL, buf);
	if (access("/sys/kernel/mm/ksm/run", W_OK))
		SKIP(goto out, "no KSM");
	memset(buf, 0x5a, size);
	ASSERT_EQ(0, gpu_read_each(self->gpu, buf, size, self->page));
	ASSERT_EQ(0, madvise(buf, size, MADV_MERGEABLE));
	ASSERT_EQ(0, write_text("/sys/kernel/mm/ksm/pages_to_scan", "2000"));
	ASSERT_EQ(0, write_text("/sys/kernel/mm/ksm/sleep_millisecs", "10"));
	ASSERT_EQ(0, write_text("/sys/kernel/mm/ksm/run", "1"));
	for (int i = 0; i < 2000 && merged < 7; i++) {
		usleep(5000);
		if (read_number("/sys/kernel/mm/ksm/pages_sharing", &merged))
			merged = 0;
	}
	write_text("/sys/kernel/mm/ksm/run", "0");
	if (!merged)
		SKIP(goto out, "KSM merged nothing");
	/* The devices had the pages that are gone: they see the merged one. */
	for_each_gpu(gpu, self) {
		uint64_t sum;

		ASSERT_EQ(0, gpu_checksum(gpu, buf, size, &sum));
		ASSERT_EQ(vsvm_checksum(buf, size), sum);
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(0, gpu_write64(&self->gpu[i], buf + i * self->page, i));
	}
	for (unsigned int i = 0; i < size / self->page; i++) {
		uint64_t want = i < self->g->n ? i : 0x5a5a5a5a5a5a5a5aULL;

		ASSERT_EQ(-1, buf_check_value(buf + i * self->page, 8, want));
		ASSERT_EQ(-1, buf_check_value(buf + i * self->page + 8, self->page - 8,
					      0x5a5a5a5a5a5a5a5aULL));
	}
	ASSERT_EQ(0, madvise(buf, size, MADV_UNMERGEABLE));
out:
	buf_free(buf, size);
}

TEST_HARNESS_MAIN
