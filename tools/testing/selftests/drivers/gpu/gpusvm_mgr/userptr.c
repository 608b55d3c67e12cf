// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * User pointers: the process's memory, bound to addresses of VMs without mirrors, whose
 * jobs stand behind kernel fences. What the process does to its memory is seen by the
 * next job, and waits for those that were submitted before.
 */
#include <linux/userfaultfd.h>

#include "gpusvm_bound.h"

#define SIZE	(64 * KIB)

static int userptr_now(struct bound *gpu, uint64_t va, uint64_t size, const void *ptr)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_userptr(&bind, va, size, ptr);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

static int userptr_read_only(struct bound *gpu, uint64_t va, uint64_t size, const void *ptr)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_userptr_read_only(&bind, va, size, ptr);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

/* The device sees what the CPU does. */
static int sees(struct bound *gpu, uint64_t va, const void *data, size_t len)
{
	uint64_t sum;
	int ret = bound_checksum(gpu, va, len, &sum);

	if (ret)
		return ret;
	return sum == vsvm_checksum(data, len) ? 0 : -EILSEQ;
}

/* Data goes both ways, in all kinds of memory; and while it is bound. */
static int both_ways(struct bound *gpu, uint64_t va, uint64_t *buf, size_t size)
{
	int ret;

	buf_init(buf, size, 1);
	ret = sees(gpu, va, buf, size);
	if (!ret)
		ret = bound_add(gpu, va, size, 3);
	if (!ret && buf_check(buf, size, 1, 3) != -1)
		ret = -EILSEQ;
	/* Without a call in between. */
	buf_init(buf, size, 2);
	if (!ret)
		ret = sees(gpu, va, buf, size);
	return ret;
}

BOUND_TEST(write_visibility)
{
	/* manual: userptr */
	for_each_bound(gpu, self) {
		uint64_t *data = buf_alloc(SIZE);
		VSVM_BIND(bind, 1);

		ASSERT_NE(NULL, data);
		vsvm_bind_userptr(&bind, VA2, SIZE, data);
		/* In effect when it returns. The memory is looked at by EXEC only. */
		ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, NULL, 0));
		ASSERT_EQ(0, both_ways(gpu, VA2, data, SIZE));
		/* Another page at the same address: there is nothing to tell the driver. */
		ASSERT_EQ(0, madvise(data, self->page, MADV_DONTNEED));
		ASSERT_EQ(0, bound_add(gpu, VA2, 8, 5));
		ASSERT_EQ(5, data[0]);
		ASSERT_EQ(0, unbind_now(gpu, VA2, SIZE));
		buf_free(data, SIZE);
	}
	/* manual: end */
}

BOUND_TEST(kinds)
{
	static const struct {
		const char *name;
		int flags;
		bool file, huge;
	} kinds[] = {
		{ .name = "private", .flags = MAP_PRIVATE | MAP_ANONYMOUS },
		{ .name = "shared", .flags = MAP_SHARED | MAP_ANONYMOUS },
		{ .name = "huge", .flags = MAP_PRIVATE | MAP_ANONYMOUS, .huge = true },
		{ .name = "file, shared", .flags = MAP_SHARED, .file = true },
		{ .name = "file, private", .flags = MAP_PRIVATE, .file = true },
	};

	for_each_bound(gpu, self) {
		for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
			size_t size = kinds[i].huge ? CHUNK : SIZE;
			int fd = kinds[i].file ? tmp_file(size, 5) : -1;
			uint64_t word;
			uint64_t *buf;

			buf = buf_map(size, PROT_READ | PROT_WRITE, kinds[i].flags, fd);
			ASSERT_NE(NULL, buf);
			if (kinds[i].huge)
				madvise(buf, size, MADV_HUGEPAGE);
			ASSERT_EQ(0, userptr_now(gpu, VA, size, buf));
			ASSERT_EQ(0, both_ways(gpu, VA, buf, size)) {
				TH_LOG("%s", kinds[i].name);
			}
			ASSERT_EQ(0, bound_fill(gpu, VA, 8, 99));
			if (kinds[i].file) {
				ASSERT_EQ(8, pread(fd, &word, 8, 0));
				ASSERT_EQ(kinds[i].flags == MAP_SHARED ? 99 : pattern(5, 0), word);
				close(fd);
			}
			/* The memory goes before its binding. */
			buf_free(buf, size);
			ASSERT_EQ(-EFAULT, bound_fill(gpu, VA_OUT, 8, 0));
			ASSERT_EQ(0, unbind_now(gpu, VA, size));
			ASSERT_EQ(0, bound_fill(gpu, VA_OUT, 8, 0));
		}
	}
}

/* munmap() under a binding: no job until something is there again, and that is new. */
BOUND_TEST(unmapped)
{
	for_each_bound(gpu, self) {
		char *buf = buf_alloc(SIZE);
		uint64_t value;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 1);
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));
		ASSERT_EQ(0, munmap(buf + self->page, self->page));
		/* Whatever the job uses, since nobody knows before it runs. */
		ASSERT_EQ(-EFAULT, bound_read(gpu, VA, &value));
		ASSERT_EQ(-EFAULT, bound_fill(gpu, VA_OUT, 8, 1));

		ASSERT_EQ(buf + self->page,
			  mmap(buf + self->page, self->page, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		ASSERT_EQ(0, bound_add(gpu, VA + self->page, 8, 77));
		ASSERT_EQ(77, *(uint64_t *)(buf + self->page));
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));

		/* All of it, and the binding goes after it. */
		buf_free(buf, SIZE);
		ASSERT_EQ(-EFAULT, bound_read(gpu, VA, &value));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		ASSERT_BOUND_ERROR(bound_read(gpu, VA, &value), gpu, EFAULT, VA);
		/* Bound before there is anything. */
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(-EFAULT, bound_read(gpu, VA, &value));
		ASSERT_EQ(buf, mmap(buf, SIZE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 8));
		ASSERT_EQ(-1, buf_check_value(buf, SIZE, 8));
		munmap(buf, SIZE);
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
	}
}

static int child_writes(void *arg)
{
	struct bound *gpu = ((void **)arg)[0];
	uint64_t *words = ((void **)arg)[1];
	uint64_t value;

	/* As it was before the fork, and not what is written into it after that. */
	CHECK(words[0] == 1);
	words[0] = 1000;
	/* The VM is the parent's. */
	CHECK(bound_read(gpu, VA, &value) == -EPERM);
	CHECK(userptr_now(gpu, VA2, SIZE, words) == -EPERM);
	CHECK(words[0] == 1000);
	return 0;
}

BOUND_TEST(forked)
{
	for_each_bound(gpu, self) {
		uint64_t *buf = buf_alloc(SIZE);
		void *args[2] = { gpu, buf };

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 1));
		ASSERT_EQ(0, run_child(child_writes, args));
		ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 1));
		ASSERT_EQ(-1, buf_check_value(buf, SIZE, 2));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		buf_free(buf, SIZE);
	}
}

/* A device that writes behind a fork, into what the child has, too. */
static int child_looks(void *arg)
{
	int *pipe = ((void **)arg)[0];
	volatile uint64_t *words = ((void **)arg)[1];
	char c;

	CHECK(read(pipe[0], &c, 1) == 1);
	for (size_t i = 0; i < WORDS(SIZE); i++)
		CHECK(words[i] == 1);
	return 0;
}

BOUND_TEST(written_after_fork)
{
	for_each_bound(gpu, self) {
		uint64_t *buf = buf_alloc(SIZE);
		int pipes[2], status;
		void *args[2] = { pipes, buf };
		pid_t pid;

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, pipe(pipes));
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 1));
		fflush(stderr);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(child_looks(args));
		EXPECT_EQ(0, bound_fill(gpu, VA, SIZE, 2));
		EXPECT_EQ(-1, buf_check_value(buf, SIZE, 2));
		EXPECT_EQ(1, write(pipes[1], "x", 1));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		close(pipes[0]);
		close(pipes[1]);
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		buf_free(buf, SIZE);
	}
}

/* A user pointer is an address: what was there and moved is not followed. */
BOUND_TEST(moved)
{
	for_each_bound(gpu, self) {
		uint64_t *buf = buf_alloc(SIZE), *to = buf_alloc(SIZE);
		uint64_t value;

		ASSERT_NE(NULL, buf);
		ASSERT_NE(NULL, to);
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 4));
		ASSERT_EQ(to, mremap(buf, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
		ASSERT_EQ(-EFAULT, bound_read(gpu, VA, &value));
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, to));
		ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 4));
		ASSERT_EQ(-1, buf_check_value(to, SIZE, 8));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		buf_free(to, SIZE);
		/* What is left around where it was. */
		munmap((char *)buf - CHUNK, CHUNK);
		munmap((char *)buf + SIZE, CHUNK);
	}
}

/* Pages that reclaim has taken, are back; those that are dropped, are zero. */
BOUND_TEST(reclaimed)
{
	if (!swap_available())
		SKIP(return, "no swap");
	for_each_bound(gpu, self) {
		uint64_t *buf = buf_alloc(SIZE);

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 1);
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		for (unsigned int i = 0; i < 4; i++) {
			/* What the device wrote is not lost on the way. */
			ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 1));
			page_out(buf, SIZE);
		}
		ASSERT_EQ(-1, buf_check(buf, SIZE, 1, 4));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 1));
		ASSERT_EQ(-1, buf_check_value(buf, SIZE, 1));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		buf_free(buf, SIZE);
	}
}

/* The device may only read, or the process may only read. */
BOUND_TEST(read_only)
{
	for_each_bound(gpu, self) {
		char *buf = buf_alloc(SIZE);
		uint64_t value;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 1);
		ASSERT_EQ(0, userptr_read_only(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));
		ASSERT_BOUND_ERROR(bound_fill(gpu, VA, 8, 0), gpu, EPERM, VA);
		/* The CPU may, and it is seen. */
		buf_init(buf, SIZE, 2);
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));
		/* A second time, and there it may be written. */
		ASSERT_EQ(0, userptr_now(gpu, VA2, SIZE, buf));
		ASSERT_EQ(0, bound_add(gpu, VA2, SIZE, 1));
		ASSERT_BOUND_ERROR(bound_fill(gpu, VA, 8, 0), gpu, EPERM, VA);
		ASSERT_EQ(-1, buf_check(buf, SIZE, 2, 1));

		/* The process may not write any more: no job may want to. */
		ASSERT_EQ(0, mprotect(buf + self->page, self->page, PROT_READ));
		ASSERT_EQ(-EPERM, bound_read(gpu, VA, &value));
		ASSERT_EQ(0, unbind_now(gpu, VA2, SIZE));
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));
		ASSERT_EQ(0, userptr_now(gpu, VA2, SIZE, buf));
		ASSERT_EQ(-EPERM, bound_read(gpu, VA, &value));
		ASSERT_EQ(0, mprotect(buf + self->page, self->page, PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, bound_add(gpu, VA2, SIZE, 1));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 2, 2));
		ASSERT_EQ(0, mprotect(buf, SIZE, PROT_NONE));
		ASSERT_EQ(-EFAULT, bound_fill(gpu, VA_OUT, 8, 0));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		ASSERT_EQ(0, unbind_now(gpu, VA2, SIZE));
		buf_free(buf, SIZE);
	}
}

/* Pages that are shared before they are written: all of them are writable. */
BOUND_TEST(copy_on_write)
{
	for_each_bound(gpu, self) {
		uint64_t *buf = buf_alloc(SIZE), sum;

		ASSERT_NE(NULL, buf);
		/* The zero page, but for one page in the middle. */
		sum = vsvm_checksum(buf, SIZE);
		buf[WORDS(3 * self->page)] = 1;
		ASSERT_NE(sum, vsvm_checksum(buf, SIZE));
		ASSERT_EQ(0, userptr_read_only(gpu, VA2, SIZE, buf));
		ASSERT_EQ(0, sees(gpu, VA2, buf, SIZE));
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 1));
		ASSERT_EQ(2, buf[WORDS(3 * self->page)]);
		buf[WORDS(3 * self->page)] = 1;
		ASSERT_EQ(-1, buf_check_value(buf, SIZE, 1));
		ASSERT_EQ(0, sees(gpu, VA2, buf, SIZE));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		ASSERT_EQ(0, unbind_now(gpu, VA2, SIZE));
		buf_free(buf, SIZE);
	}
}

/* Objects and user pointers replace and cut each other, in one call and in several. */
BOUND_TEST(cut)
{
	for_each_bound(gpu, self) {
		const size_t mid = SIZE / 4, len = SIZE / 2;
		char *buf = buf_alloc(2 * SIZE);
		uint32_t handle, syncobj = syncobj_new(gpu);
		struct drm_vsvm_sync sync = vsvm_sync_out(syncobj, 0);
		VSVM_BIND(bind, 4);
		uint64_t value;

		ASSERT_NE(NULL, buf);
		buf_init(buf, 2 * SIZE, 1);
		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &handle));
		/* An object into the middle of memory. */
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, bind_now(gpu, VA + mid, len, handle, mid));
		ASSERT_EQ(0, sees(gpu, VA, buf, mid));
		ASSERT_EQ(0, bound_read(gpu, VA + mid, &value));
		ASSERT_EQ(0, value);
		ASSERT_EQ(0, sees(gpu, VA + mid + len, buf + mid + len, SIZE - mid - len));
		/* Memory into the middle of that, and behind the end. */
		ASSERT_EQ(0, bound_fill(gpu, VA + mid, len, 33));
		vsvm_bind_userptr(&bind, VA + SIZE / 2, self->page, buf);
		vsvm_bind_unmap(&bind, VA, self->page);
		vsvm_bind_userptr(&bind, VA + SIZE, SIZE, buf + SIZE);
		vsvm_bind_map(&bind, VA + SIZE + mid, self->page, handle, mid);
		ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, &sync, 1));
		ASSERT_EQ(1, vsvm_syncobj_status(gpu->dev.fd, syncobj));
		ASSERT_EQ(0, sees(gpu, VA + SIZE / 2, buf, self->page));
		ASSERT_EQ(0, bound_read(gpu, VA + SIZE / 2 - 8, &value));
		ASSERT_EQ(33, value);
		ASSERT_EQ(0, bound_read(gpu, VA + SIZE / 2 + self->page, &value));
		ASSERT_EQ(33, value);
		ASSERT_EQ(0, bound_read(gpu, VA + SIZE + mid, &value));
		ASSERT_EQ(33, value);
		ASSERT_EQ(0, sees(gpu, VA + SIZE, buf + SIZE, mid));
		ASSERT_BOUND_ERROR(bound_read(gpu, VA, &value), gpu, EFAULT, VA);
		ASSERT_EQ(0, sees(gpu, VA + self->page, buf + self->page, mid - self->page));
		/* All of it goes. */
		ASSERT_EQ(0, unbind_now(gpu, VA, 2 * SIZE));
		ASSERT_BOUND_ERROR(bound_read(gpu, VA + SIZE / 2, &value), gpu, EFAULT,
				   VA + SIZE / 2);
		ASSERT_EQ(-1, buf_check(buf, 2 * SIZE, 1, 0));
		/* What has nothing to do with it does not wait for it. */
		ASSERT_EQ(0, bind_now(gpu, VA, SIZE, handle, 0));
		ASSERT_EQ(0, bound_read(gpu, VA + mid, &value));
		ASSERT_EQ(33, value);
		drmSyncobjDestroy(gpu->dev.fd, syncobj);
		vsvm_gem_close(&gpu->dev, handle);
		buf_free(buf, 2 * SIZE);
	}
}

/* All devices have the same memory, and one that faults on it, too. */
BOUND_TEST(together)
{
	enum { TIMES = 1000, WORDS_USED = 8 };
	uint64_t *buf = buf_alloc(SIZE);
	uint32_t done[4];
	struct gpu *mirror;

	ASSERT_NE(NULL, buf);
	mirror = buf_alloc(sizeof(*mirror));
	ASSERT_NE(NULL, mirror);
	ASSERT_EQ(0, gpu_open(mirror, 0, 0));
	for (unsigned int round = 1; round <= 4; round++) {
		VSVM_JOB(job, WORDS_USED);

		for (unsigned int i = 0; i < self->n; i++) {
			struct bound *gpu = &self->gpu[i];
			struct drm_vsvm_sync sync;

			if (round == 1) {
				done[i] = syncobj_new(gpu);
				ASSERT_EQ(0, userptr_now(gpu, VA2, SIZE, buf));
			}
			vsvm_job_reset(&job);
			for (unsigned int w = 0; w < WORDS_USED; w++)
				vsvm_job_atomic_add(&job, (uint64_t *)VA2 + w, 1, TIMES);
			sync = vsvm_sync_out(done[i], 0);
			ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, round, &job, &sync, 1, NULL));
		}
		vsvm_job_reset(&job);
		for (unsigned int w = 0; w < WORDS_USED; w++)
			vsvm_job_atomic_add(&job, buf + w, 1, TIMES);
		ASSERT_EQ(0, gpu_start(mirror, 0, &job));
		for (unsigned int w = 0; w < WORDS_USED; w++)
			for (unsigned int i = 0; i < TIMES; i++)
				__atomic_fetch_add(buf + w, 1, __ATOMIC_RELAXED);
		/* Meanwhile it goes through other pages. */
		page_out(buf, SIZE);
		ASSERT_EQ(0, gpu_finish(mirror, 0));
		for (unsigned int i = 0; i < self->n; i++) {
			ASSERT_EQ(0, syncobj_wait(&self->gpu[i], done[i], 0));
			ASSERT_EQ(1, vsvm_syncobj_status(self->gpu[i].dev.fd, done[i]));
		}
		ASSERT_EQ(-1, buf_check_value(buf, 8 * WORDS_USED,
					      round * TIMES * (self->n + 2)));
	}
	ASSERT_EQ(0, gpu_close(mirror));
	buf_free(mirror, sizeof(*mirror));
	for_each_bound(gpu, self)
		ASSERT_EQ(0, unbind_now(gpu, VA2, SIZE));
	buf_free(buf, SIZE);
}

/* ----------------------------------------------- invalidations wait for jobs */

static void *drop_pages(void *arg)
{
	/* Returns when the job has ended, and not before. */
	return madvise(arg, SIZE, MADV_DONTNEED) ? (void *)-1L : NULL;
}

/*
 * A job that was submitted, and waits for a fence; then its pages are dropped. It still
 * has them when it runs. With the step left out it has nothing there.
 */
BOUND_TEST(quiesce)
{
	struct bound *gpu = &self->gpu[0], *last = &self->gpu[self->n - 1];

	for (unsigned int broken = 0; broken < 2; broken++) {
		uint64_t *buf = buf_alloc(SIZE), value;
		uint32_t done = syncobj_new(gpu);
		struct drm_vsvm_sync syncs[2];
		struct drm_vsvm_error error;
		struct blocker b;
		pthread_t thread;
		void *ret = NULL;
		VSVM_JOB(job, 1);

		if (broken && break_step(BREAK_NOTHING)) {
			TH_LOG("the step cannot be left out in this kernel");
			buf_free(buf, SIZE);
			break;
		}
		ASSERT_NE(NULL, buf);
		buf[0] = 123;
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		ASSERT_EQ(0, block(gpu, last - self->gpu, &b));
		gpu->out[0] = 0;
		vsvm_job_copy(&job, (void *)VA_OUT, (void *)VA, 8);
		syncs[0] = vsvm_sync_in(b.syncobj, 0);
		syncs[1] = vsvm_sync_out(done, 0);
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 0, &job, syncs, 2, NULL));

		if (broken) {
			/* Nothing waits, so there is no need for a thread. */
			ASSERT_EQ(0, break_step(BREAK_QUIESCE));
			EXPECT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
			ASSERT_EQ(0, break_step(BREAK_NOTHING));
			ASSERT_EQ(0, vsvm_syncobj_status(gpu->dev.fd, done));
		} else {
			ASSERT_EQ(0, pthread_create(&thread, NULL, drop_pages, buf));
			/* It may get there before the job goes on, or not: no matter. */
			usleep(50000);
		}
		ASSERT_EQ(0, unblock(&b));
		ASSERT_EQ(0, syncobj_wait(gpu, done, 0));
		if (broken) {
			EXPECT_EQ(-EFAULT, vsvm_syncobj_status(gpu->dev.fd, done));
			EXPECT_EQ(0, gpu->out[0]);
			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			EXPECT_EQ(EFAULT, error.error);
			EXPECT_EQ(VA, error.addr);
		} else {
			ASSERT_EQ(0, pthread_join(thread, &ret));
			EXPECT_EQ(NULL, ret);
			EXPECT_EQ(1, vsvm_syncobj_status(gpu->dev.fd, done));
			EXPECT_EQ(123, gpu->out[0]);
		}
		/* The next job has what is there now, in any case. */
		ASSERT_EQ(0, bound_read(gpu, VA, &value));
		ASSERT_EQ(0, value);
		drmSyncobjDestroy(gpu->dev.fd, done);
		drmSyncobjDestroy(gpu->dev.fd, b.syncobj);
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		buf_free(buf, SIZE);
	}
}

/* Likewise what takes a binding away: the job that was submitted has it still. */
BOUND_TEST(unbound_at_work)
{
	for_each_bound(gpu, self) {
		uint64_t *buf = buf_alloc(SIZE);
		uint32_t done = syncobj_new(gpu);
		struct drm_vsvm_sync sync = vsvm_sync_out(done, 0);
		VSVM_JOB(job, 64);

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
		while (job.num < job.max)
			vsvm_job_add(&job, (void *)VA, SIZE, 1);
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 5, &job, &sync, 1, NULL));
		ASSERT_EQ(0, unbind_now(gpu, VA + self->page, self->page));
		/* Waited for. */
		ASSERT_EQ(1, vsvm_syncobj_status(gpu->dev.fd, done));
		ASSERT_EQ(-1, buf_check_value(buf, SIZE, 64));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		drmSyncobjDestroy(gpu->dev.fd, done);
		buf_free(buf, SIZE);
	}
}

struct churn {
	uint64_t *buf;
	bool stop;
	int err;
};

/* All that a process does to its pages, but for taking them away for good. */
static void *churn_thread(void *arg)
{
	uint64_t state = (uintptr_t)arg | 1;
	struct churn *c = arg;

	while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE) && !c->err) {
		size_t page = page_size(), off = rnd(&state) % (SIZE / page) * page;
		char *at = (char *)c->buf + off;

		switch (rnd(&state) % 4) {
		case 0:
			c->err = madvise(at, page, MADV_DONTNEED) ? errno : 0;
			break;
		case 1:
			/* Where there is no swap it does nothing. */
			madvise(at, page, MADV_PAGEOUT);
			break;
		case 2:
			if (mmap(at, page, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
				c->err = errno;
			break;
		case 3:
			__atomic_store_n((uint64_t *)at, 2 * (rnd(&state) >> 1),
					 __ATOMIC_RELAXED);
			break;
		}
		/* Else there would be no job at all, on a slow machine. */
		usleep(rnd(&state) % 20000);
	}
	return NULL;
}

/* No job meets a page that is not there, or one that is somebody else's. */
BOUND_TEST(churn)
{
	enum { JOBS = 24 };
	struct churn c = { .buf = buf_alloc(SIZE) };
	pthread_t threads[2];
	unsigned int busy = 0;

	ASSERT_NE(NULL, c.buf);
	for_each_bound(gpu, self)
		ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, c.buf));
	for (unsigned int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, churn_thread, &c));
	for (unsigned int i = 0; i < JOBS; i++) {
		struct bound *gpu = &self->gpu[i % self->n];
		VSVM_JOB(job, 2);
		int ret;

		/* Even numbers, all of them: of zeros, of the CPU, of this. */
		vsvm_job_add(&job, (void *)VA, SIZE, 2);
		vsvm_job_copy(&job, (void *)VA_OUT, (void *)(VA + SIZE - self->page), 8);
		ret = vsvm_run_sync(&gpu->vm, i % DRM_VSVM_MAX_QUEUES, &job);
		/* Others were faster, for a second, which may be. */
		if (ret == -EBUSY) {
			busy++;
			continue;
		}
		EXPECT_EQ(0, ret);
		EXPECT_EQ(0, gpu->out[0] % 2);
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	ASSERT_EQ(0, c.err);
	TH_LOG("%u of %u jobs found it busy", busy, JOBS);
	for (size_t i = 0; i < WORDS(SIZE); i++)
		ASSERT_EQ(0, c.buf[i] % 2);
	for_each_bound(gpu, self) {
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 6));
		ASSERT_EQ(-1, buf_check_value(c.buf, SIZE, 6));
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
	}
	buf_free(c.buf, SIZE);
}

/* The VM, the file, the process go: with jobs that are at work on their memory. */

static int child_exits(void *arg)
{
	unsigned int nr = *(unsigned int *)arg;
	uint64_t *buf = buf_alloc(SIZE);
	struct bound gpu = {};
	VSVM_JOB(job, 32);

	CHECK(buf);
	CHECK(!bound_open(&gpu, nr, 0));
	CHECK(!userptr_now(&gpu, VA, SIZE, buf));
	while (job.num < job.max)
		vsvm_job_add(&job, (void *)VA, SIZE, 1);
	for (unsigned int i = 0; i < 4; i++)
		CHECK(!vsvm_exec_sync(&gpu.vm, i, &job, NULL, 0, NULL));
	/* As it is: memory first, then files. */
	return 0;
}

BOUND_TEST(goes)
{
	for_each_bound(gpu, self) {
		unsigned int nr = gpu - self->gpu;
		uint64_t *buf = buf_alloc(SIZE);
		struct bound own = {};

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, run_child(child_exits, &nr));
		ASSERT_EQ(0, bound_open(&own, nr, variant->flags));
		ASSERT_EQ(0, userptr_now(&own, VA, SIZE, buf));
		ASSERT_EQ(0, bound_endless(&own, 0, VA, 0));
		ASSERT_EQ(0, bound_endless(&own, 1, VA + 8, 0));
		ASSERT_EQ(0, bound_close(&own));
		/* Nobody waits for it any more, and nobody writes. */
		buf[0] = 5;
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		ASSERT_EQ(0, buf[0]);
		/* Bound, and never used. */
		memset(&own, 0, sizeof(own));
		ASSERT_EQ(0, bound_open(&own, nr, variant->flags));
		ASSERT_EQ(0, userptr_now(&own, VA, SIZE, buf));
		ASSERT_EQ(0, bound_close(&own));
		buf_free(buf, SIZE);
	}
}

struct late {
	struct vsvm_vm vm;
	struct vsvm_bind bind;
	int ret;
};

static void *late_thread(void *arg)
{
	struct late *late = arg;

	late->ret = vsvm_vm_bind(&late->vm, &late->bind, NULL, 0);
	return NULL;
}

/* A call that is kept waiting for its operations, until there is no VM any more. */
BOUND_TEST(late)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	uint64_t *buf = buf_alloc(SIZE);
	char *page = buf_alloc(self->page), *source = buf_alloc(self->page);

	if (fd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, page);
	ASSERT_NE(NULL, source);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	reg.range.start = (uintptr_t)page;
	reg.range.len = self->page;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
	for_each_bound(gpu, self) {
		struct uffdio_copy copy = {
			.dst = (uintptr_t)page, .src = (uintptr_t)source, .len = self->page,
		};
		struct late late = { .bind.ops = (void *)page, .bind.num = 1 };
		struct uffd_msg msg;
		struct vsvm_vm vm;
		pthread_t thread;
		VSVM_BIND(first, 1);
		VSVM_BIND(last, 1);

		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, variant->flags, &vm));
		vsvm_bind_userptr(&first, VA, SIZE, buf);
		ASSERT_EQ(0, vsvm_vm_bind(&vm, &first, NULL, 0));
		vsvm_bind_unmap(&last, VA, SIZE);
		memcpy(source, last.ops, sizeof(*last.ops));
		ASSERT_EQ(0, madvise(page, self->page, MADV_DONTNEED));
		late.vm = vm;
		ASSERT_EQ(0, pthread_create(&thread, NULL, late_thread, &late));
		/* It has found the VM, and reads the page. */
		ASSERT_EQ(sizeof(msg), read(fd, &msg, sizeof(msg)));
		ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
		ASSERT_EQ(0, vsvm_vm_destroy(&vm));
		ASSERT_EQ(0, ioctl(fd, UFFDIO_COPY, &copy));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(-ECANCELED, late.ret);
	}
	close(fd);
	buf_free(buf, SIZE);
	buf_free(page, self->page);
	buf_free(source, self->page);
}

/* ------------------------------------------------ each allocation fails in turn */

BOUND_TEST(no_memory)
{
	struct bound *gpu = &self->gpu[0];
	uint64_t *buf = buf_alloc(SIZE);
	unsigned int nth, failed;
	bool reached;
	int fd, ret;
	VSVM_BIND(bind, 1);
	VSVM_JOB(job, 1);

	ASSERT_NE(NULL, buf);
	if (self->n > 1)
		SKIP(return, "one device is enough");
	fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0 || fail_nth_begin()) {
		close(fd);
		SKIP(return, "no fault injection");
	}

	/* On a VM of its own, so that it is the first one: attach included. */
	vsvm_bind_userptr(&bind, VA, SIZE, buf);
	for (nth = 1, failed = 0, reached = true; reached; nth++) {
		struct bound own = {};
		uint64_t binds, value;

		ASSERT_GT(2000, nth);
		ASSERT_EQ(0, bound_open(&own, 0, variant->flags));
		binds = bound_stat(&own, binds);
		ret = FAIL_NTH(fd, nth, reached, vsvm_vm_bind(&own.vm, &bind, NULL, 0));
		ASSERT_EQ(binds + !ret, bound_stat(&own, binds));
		if (ret) {
			failed++;
			ASSERT_EQ(-ENOMEM, ret);
			ASSERT_BOUND_ERROR(bound_read(&own, VA, &value), &own, EFAULT, VA);
		} else {
			ASSERT_EQ(0, bound_read(&own, VA, &value));
		}
		ASSERT_EQ(0, bound_close(&own));
	}
	TH_LOG("VM_BIND: %u failed of %u", failed, nth);
	ASSERT_LT(5, failed);

	/* A job whose memory was dropped. */
	ASSERT_EQ(0, userptr_now(gpu, VA, SIZE, buf));
	vsvm_job_add(&job, (void *)VA, SIZE, 1);
	for (nth = 1, failed = 0, reached = true; reached; nth++) {
		ASSERT_GT(2000, nth);
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		ret = FAIL_NTH(fd, nth, reached, vsvm_exec_sync(&gpu->vm, 0, &job, NULL, 0, NULL));
		/* A page of the process: HMM says EFAULT where there is none. */
		if (ret && ret != -EFAULT)
			ASSERT_EQ(-ENOMEM, ret);
		failed += !!ret;
	}
	TH_LOG("EXEC: %u failed of %u", failed, nth);
	ASSERT_LT(5, failed);
	ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 3));
	ASSERT_EQ(-1, buf_check_value(buf, SIZE, 3));
	fail_nth_end();
	close(fd);
	ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
	buf_free(buf, SIZE);
}

TEST_HARNESS_MAIN
