// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What IGT's xe_exec_system_allocator asks: memory of every origin, allocated
 * and freed around jobs, changed by the CPU before, between and after them,
 * by threads and by processes.
 */
#include <stdio.h>

#include "gpusvm_test.h"

/* ------------------------------------------------- every kind of allocation */

enum kind {
	KIND_MALLOC,
	KIND_MMAP,
	KIND_SHARED,
	KIND_FILE,
	KIND_FILE_PRIVATE,
	KIND_HUGE,
	KIND_MLOCK,
};

/* What happens to the memory between two jobs. */
enum twist {
	TWIST_NONE,
	TWIST_FREE,
	TWIST_DONTNEED,
	TWIST_REMAP,
	TWIST_REMAP_DONTUNMAP,
	TWIST_REMAP_RO,
	TWIST_FORK_READ,
	TWIST_RACE,
	TWIST_BUSY,
	TWIST_MPROTECT,
};

#define LOOPS	3

FIXTURE(sysalloc)
{
	struct gpus *g;
	struct gpu *gpu;
	size_t page;
	char *buf;
	size_t size;
	int fd;
};

FIXTURE_VARIANT(sysalloc)
{
	unsigned int n;
	enum kind kind;
	enum twist twist;
};

/* Pairwise: each kind with each twist that it can have, on some of the counts. */
#define VARIANT(name, n__, kind__, twist__)		\
	FIXTURE_VARIANT_ADD(sysalloc, name)		\
	{						\
		.n = n__,				\
		.kind = KIND_##kind__,			\
		.twist = TWIST_##twist__,		\
	}

VARIANT(malloc_1, 1, MALLOC, NONE);
VARIANT(malloc_4, 4, MALLOC, NONE);
VARIANT(malloc_free_2, 2, MALLOC, FREE);
VARIANT(malloc_fork_read_4, 4, MALLOC, FORK_READ);
VARIANT(malloc_race_4, 4, MALLOC, RACE);
VARIANT(malloc_busy_2, 2, MALLOC, BUSY);
VARIANT(mmap_2, 2, MMAP, NONE);
VARIANT(mmap_free_4, 4, MMAP, FREE);
VARIANT(mmap_dontneed_1, 1, MMAP, DONTNEED);
VARIANT(mmap_dontneed_4, 4, MMAP, DONTNEED);
VARIANT(mmap_remap_1, 1, MMAP, REMAP);
VARIANT(mmap_remap_4, 4, MMAP, REMAP);
VARIANT(mmap_remap_dontunmap_1, 1, MMAP, REMAP_DONTUNMAP);
VARIANT(mmap_remap_dontunmap_4, 4, MMAP, REMAP_DONTUNMAP);
VARIANT(mmap_remap_ro_2, 2, MMAP, REMAP_RO);
VARIANT(mmap_fork_read_1, 1, MMAP, FORK_READ);
VARIANT(mmap_race_2, 2, MMAP, RACE);
VARIANT(mmap_busy_4, 4, MMAP, BUSY);
VARIANT(mmap_mprotect_4, 4, MMAP, MPROTECT);
VARIANT(shared_1, 1, SHARED, NONE);
VARIANT(shared_free_4, 4, SHARED, FREE);
VARIANT(shared_remap_2, 2, SHARED, REMAP);
VARIANT(shared_remap_ro_4, 4, SHARED, REMAP_RO);
VARIANT(shared_fork_read_2, 2, SHARED, FORK_READ);
VARIANT(shared_race_4, 4, SHARED, RACE);
VARIANT(file_4, 4, FILE, NONE);
VARIANT(file_free_1, 1, FILE, FREE);
VARIANT(file_remap_4, 4, FILE, REMAP);
VARIANT(file_remap_ro_1, 1, FILE, REMAP_RO);
VARIANT(file_fork_read_4, 4, FILE, FORK_READ);
VARIANT(file_private_2, 2, FILE_PRIVATE, NONE);
VARIANT(file_private_free_4, 4, FILE_PRIVATE, FREE);
VARIANT(file_private_fork_read_2, 2, FILE_PRIVATE, FORK_READ);
VARIANT(huge_1, 1, HUGE, NONE);
VARIANT(huge_free_2, 2, HUGE, FREE);
VARIANT(huge_dontneed_4, 4, HUGE, DONTNEED);
VARIANT(huge_remap_2, 2, HUGE, REMAP);
VARIANT(huge_remap_dontunmap_2, 2, HUGE, REMAP_DONTUNMAP);
VARIANT(huge_race_4, 4, HUGE, RACE);
VARIANT(huge_mprotect_2, 2, HUGE, MPROTECT);
VARIANT(mlock_1, 1, MLOCK, NONE);
VARIANT(mlock_free_4, 4, MLOCK, FREE);
VARIANT(mlock_remap_2, 2, MLOCK, REMAP);
VARIANT(mlock_fork_read_1, 1, MLOCK, FORK_READ);
VARIANT(mlock_race_2, 2, MLOCK, RACE);

static char *allocate(struct _test_data_sysalloc *self, enum kind kind)
{
	char *buf;

	switch (kind) {
	case KIND_MALLOC:
		return aligned_alloc(64, self->size);
	case KIND_SHARED:
		return buf_map(self->size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1);
	case KIND_FILE:
		return buf_map(self->size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);
	case KIND_FILE_PRIVATE:
		return buf_map(self->size, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd);
	case KIND_HUGE:
		buf = buf_alloc(self->size);
		if (buf)
			madvise(buf, self->size, MADV_HUGEPAGE);
		return buf;
	case KIND_MLOCK:
		buf = buf_alloc(self->size);
		if (buf && mlock(buf, self->size)) {
			buf_free(buf, self->size);
			buf = NULL;
		}
		return buf;
	case KIND_MMAP:
		break;
	}
	return buf_alloc(self->size);
}

static void release(struct _test_data_sysalloc *self, enum kind kind)
{
	if (kind == KIND_MALLOC)
		free(self->buf);
	else
		buf_free(self->buf, self->size);
	self->buf = NULL;
}

FIXTURE_SETUP(sysalloc)
{
	int ret;

	self->page = page_size();
	self->size = variant->kind == KIND_HUGE ? CHUNK : 64 * KIB;
	ret = gpus_open(&self->g, variant->n, GPUS_FLAGS);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	ASSERT_EQ(0, ret);
	self->gpu = self->g->gpu;
	self->fd = tmp_file(self->size, 1);
	ASSERT_LE(0, self->fd);
	self->buf = allocate(self, variant->kind);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(sysalloc)
{
	if (self->buf)
		release(self, variant->kind);
	if (self->g) {
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
}

/* Which words the jobs of a test use. */
struct shape {
	size_t first, stride, count;
};

struct fork_read_arg {
	char *buf;
	const struct shape *shape;
	uint64_t seed, add;
};

static ssize_t shape_check(char *buf, const struct shape *shape, uint64_t seed, uint64_t add)
{
	for (size_t i = 0; i < shape->count; i++) {
		size_t at = shape->first + i * shape->stride;
		uint64_t seen = *(volatile uint64_t *)(buf + at);

		if (seen != pattern(seed, i) + add) {
			fprintf(stderr, "# byte %zu: 0x%llx instead of 0x%llx\n", at,
				(unsigned long long)seen,
				(unsigned long long)pattern(seed, i) + add);
			return i;
		}
	}
	return -1;
}

static void shape_init(char *buf, const struct shape *shape, uint64_t seed)
{
	for (size_t i = 0; i < shape->count; i++)
		*(volatile uint64_t *)(buf + shape->first + i * shape->stride) =
			pattern(seed, i);
}

/* One job in which @gpu adds @add to each word of the shape. */
static void shape_job(struct vsvm_job *job, char *buf, const struct shape *shape, uint64_t add)
{
	vsvm_job_reset(job);
	for (size_t i = 0; i < shape->count; i++)
		vsvm_job_add(job, buf + shape->first + i * shape->stride, 8, add);
}

static int fork_read(void *arg)
{
	struct fork_read_arg *f = arg;

	CHECK(shape_check(f->buf, f->shape, f->seed, f->add) == -1);
	return 0;
}

struct race_arg {
	char *buf;
	size_t size, page;
	bool stop;
	uint64_t written;
};

/*
 * Writes the last word of each page, which no job touches; once at least, also
 * where it does not come to run before all jobs are done.
 */
static void *race_cpu(void *arg)
{
	struct race_arg *r = arg;

	do {
		r->written++;
		for (size_t at = r->page - 8; at < r->size; at += r->page)
			*(volatile uint64_t *)(r->buf + at) = r->written;
		usleep(100);
	} while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED));
	return NULL;
}

static char *remapped(struct _test_data_sysalloc *self, int flags)
{
	char *to = buf_map(self->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (!to)
		return NULL;
	return mremap(self->buf, self->size, self->size, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
		      to) == to ? to : NULL;
}

static void run_shape(struct __test_metadata *_metadata, struct _test_data_sysalloc *self,
		      const struct _fixture_variant_sysalloc *variant,
		      const struct shape *shape, unsigned int loops)
{
	bool race = variant->twist == TWIST_RACE, busy = variant->twist == TWIST_BUSY;
	struct race_arg r = { .buf = self->buf, .size = self->size, .page = self->page };
	struct drm_vsvm_instr instrs[600];
	struct vsvm_job job;
	pthread_t thread;
	uint64_t value;
	char *to;

	vsvm_job_init(&job, instrs, ARRAY_SIZE(instrs));
	if (race) {
		ASSERT_EQ(0, pthread_create(&thread, NULL, race_cpu, &r));
	}
	for (unsigned int loop = 0; loop < loops; loop++) {
		uint64_t seed = 10 * loop + 1, add = 0;

		shape_init(self->buf, shape, seed);
		for_each_gpu(gpu, self) {
			shape_job(&job, self->buf, shape, 1 + (gpu - self->gpu));
			ASSERT_EQ(0, job.error);
			add += 1 + (gpu - self->gpu);
			ASSERT_EQ(0, gpu_start(gpu, 2, &job));
			if (busy) {
				/* The CPU spins for the data itself. */
				size_t last = shape->first + (shape->count - 1) * shape->stride;
				uint64_t want = pattern(seed, shape->count - 1) + add;
				volatile uint64_t *word = (void *)(self->buf + last);

				for (int i = 0; i < 200000 && *word != want; i++)
					sched_yield();
			}
			/* In turns, since additions are plain. */
			ASSERT_EQ(0, gpu_finish(gpu, 2));
		}
		ASSERT_EQ(-1, shape_check(self->buf, shape, seed, add));

		switch (variant->twist) {
		case TWIST_NONE:
		case TWIST_RACE:
		case TWIST_BUSY:
			break;
		case TWIST_FREE:
			release(self, variant->kind);
			self->buf = allocate(self, variant->kind);
			ASSERT_NE(NULL, self->buf);
			break;
		case TWIST_DONTNEED:
			ASSERT_EQ(0, madvise(self->buf, self->size, MADV_DONTNEED));
			for_each_gpu(gpu, self) {
				ASSERT_EQ(0, gpu_read64(gpu, self->buf + shape->first, &value));
				ASSERT_EQ(0, value);
			}
			break;
		case TWIST_REMAP:
		case TWIST_REMAP_DONTUNMAP:
		case TWIST_REMAP_RO:
			to = remapped(self, variant->twist == TWIST_REMAP_DONTUNMAP ?
				      MREMAP_DONTUNMAP : 0);
			ASSERT_NE(NULL, to);
			/* The content is at the new place, for all. */
			for_each_gpu(gpu, self) {
				ASSERT_EQ(0, gpu_read64(gpu, to + shape->first, &value));
				ASSERT_EQ(pattern(seed, 0) + add, value);
			}
			if (variant->twist == TWIST_REMAP_RO) {
				ASSERT_EQ(0, mprotect(to, self->size, PROT_READ));
				for_each_gpu(gpu, self) {
					ASSERT_GPU_ERROR(gpu_write64(gpu, to + shape->first, 0),
							 gpu, EPERM, to + shape->first,
							 DRM_VSVM_ERROR_WRITE);
					ASSERT_EQ(0, gpu_read64(gpu, to + shape->first, &value));
					ASSERT_EQ(pattern(seed, 0) + add, value);
				}
				ASSERT_EQ(0, mprotect(to, self->size, PROT_READ | PROT_WRITE));
			}
			ASSERT_EQ(-1, shape_check(to, shape, seed, add));
			/* At the old one is nothing, or nothing yet. */
			for_each_gpu(gpu, self) {
				if (variant->twist == TWIST_REMAP_DONTUNMAP) {
					ASSERT_EQ(0, gpu_read64(gpu, self->buf + shape->first,
								&value));
					ASSERT_EQ(0, value);
				} else {
					ASSERT_GPU_ERROR(gpu_read64(gpu, self->buf + shape->first,
								    &value),
							 gpu, EFAULT, self->buf + shape->first, 0);
				}
			}
			buf_free(self->buf, self->size);
			self->buf = to;
			break;
		case TWIST_FORK_READ: {
			struct fork_read_arg f = {
				.buf = self->buf, .shape = shape, .seed = seed, .add = add,
			};

			ASSERT_EQ(0, run_child(fork_read, &f));
			/* Write-protected by the fork, and written again. */
			for_each_gpu(gpu, self) {
				shape_job(&job, self->buf, shape, 100);
				ASSERT_EQ(0, gpu_run(gpu, &job));
			}
			ASSERT_EQ(-1, shape_check(self->buf, shape, seed,
						  add + 100 * self->g->n));
			break;
		}
		case TWIST_MPROTECT:
			/* Splits the VMA, then merges it. */
			ASSERT_EQ(0, mprotect(self->buf + self->size / 2, self->page, PROT_READ));
			for_each_gpu(gpu, self) {
				char *at = self->buf + self->size / 2;

				ASSERT_GPU_ERROR(gpu_write64(gpu, at, 0), gpu, EPERM, at,
						 DRM_VSVM_ERROR_WRITE);
				ASSERT_EQ(0, gpu_write64(gpu, at - 8, 1));
				ASSERT_EQ(0, gpu_write64(gpu, at + self->page, 1));
			}
			ASSERT_EQ(0, mprotect(self->buf + self->size / 2, self->page,
					      PROT_READ | PROT_WRITE));
			break;
		}
	}
	if (race) {
		__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		for (size_t at = self->page - 8; at < self->size; at += self->page) {
			ASSERT_EQ(r.written, *(volatile uint64_t *)(self->buf + at));
		}
	}
}

TEST_F_TIMEOUT(sysalloc, once_twice_stride, TEST_LIMIT)
{
	static const struct shape once = { .first = 64, .stride = 8, .count = 1 };
	static const struct shape twice = { .first = 64, .stride = 8, .count = 2 };
	static const struct shape stride = { .first = 128, .stride = 3200, .count = 20 };

	run_shape(_metadata, self, variant, &once, 1);
	run_shape(_metadata, self, variant, &twice, 2);
	run_shape(_metadata, self, variant, &stride, LOOPS);
}

/* One job faults on each page of 64 KiB. */
TEST_F_TIMEOUT(sysalloc, multi_fault, TEST_LIMIT)
{
	static const struct shape each = { .first = 0, .stride = 4096, .count = 16 };

	run_shape(_metadata, self, variant, &each, LOOPS);
}

/* --------------------------------- a part of it goes, with and without faults */

FIXTURE(partial)
{
	struct gpus *g;
	struct gpu *gpu;
	size_t page;
};

FIXTURE_VARIANT(partial)
{
	unsigned int n;
	/* The part is moved elsewhere, not thrown away. */
	bool remap;
	bool middle;
	/* The CPU touches the rest before the devices do. */
	bool cpu_fault;
};

#define PARTIAL(name, n__, remap__, middle__, cpu__)	\
	FIXTURE_VARIANT_ADD(partial, name)		\
	{						\
		.n = n__,				\
		.remap = remap__,			\
		.middle = middle__,			\
		.cpu_fault = cpu__,			\
	}

PARTIAL(munmap_cpu_fault_1, 1, false, false, true);
PARTIAL(munmap_no_cpu_fault_4, 4, false, false, false);
PARTIAL(remap_cpu_fault_4, 4, true, false, true);
PARTIAL(remap_no_cpu_fault_2, 2, true, false, false);
PARTIAL(middle_munmap_cpu_fault_4, 4, false, true, true);
PARTIAL(middle_munmap_no_cpu_fault_1, 1, false, true, false);
PARTIAL(middle_remap_cpu_fault_2, 2, true, true, true);
PARTIAL(middle_remap_no_cpu_fault_4, 4, true, true, false);

FIXTURE_SETUP(partial)
{
	int ret;

	self->page = page_size();
	ret = gpus_open(&self->g, variant->n, GPUS_FLAGS);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	ASSERT_EQ(0, ret);
	self->gpu = self->g->gpu;
}

FIXTURE_TEARDOWN(partial)
{
	if (self->g) {
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
}

static void partial_run(struct __test_metadata *_metadata, struct _test_data_partial *self,
			const struct _fixture_variant_partial *variant, size_t size, bool huge)
{
	size_t from = variant->middle ? size / 4 : 0, len = size / 2, step = size / 16;
	char *buf = buf_alloc(size), *to = NULL;
	uint64_t value, add;

	ASSERT_NE(NULL, buf);
	if (huge)
		madvise(buf, size, MADV_HUGEPAGE);
	for (size_t at = 0; at < size; at += step)
		*(volatile uint64_t *)(buf + at) = pattern(3, at);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add_each(gpu, buf, size, step));
	}
	add = self->g->n;

	if (variant->remap) {
		to = buf_map(len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		ASSERT_NE(NULL, to);
		ASSERT_EQ(to, mremap(buf + from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	} else {
		ASSERT_EQ(0, munmap(buf + from, len));
	}
	if (variant->cpu_fault) {
		for (size_t at = 0; at < size; at += step) {
			if (at < from || at >= from + len) {
				ASSERT_EQ(pattern(3, at) + add, *(volatile uint64_t *)(buf + at));
			}
		}
		if (to) {
			for (size_t at = 0; at < len; at += step) {
				ASSERT_EQ(pattern(3, from + at) + add,
					  *(volatile uint64_t *)(to + at));
			}
		}
	}
	for_each_gpu(gpu, self) {
		for (size_t at = 0; at < size; at += step) {
			if (at >= from && at < from + len) {
				ASSERT_GPU_ERROR(gpu_read64(gpu, buf + at, &value), gpu, EFAULT,
						 buf + at, 0);
				if (!to)
					continue;
				ASSERT_EQ(0, gpu_read64(gpu, to + at - from, &value));
				ASSERT_EQ(0, gpu_add(gpu, to + at - from, 8, 1));
			} else {
				ASSERT_EQ(0, gpu_read64(gpu, buf + at, &value));
				ASSERT_EQ(0, gpu_add(gpu, buf + at, 8, 1));
			}
			ASSERT_EQ(pattern(3, at) + add, value);
		}
		add++;
	}
	/* Something new where the hole was is not what was there before. */
	ASSERT_EQ(buf + from, mmap(buf + from, len, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read64(gpu, buf + from, &value));
		ASSERT_EQ(0, value);
		ASSERT_EQ(0, gpu_read64(gpu, buf + from + len - 8, &value));
		ASSERT_EQ(0, value);
	}
	for (size_t at = 0; at < size; at += step) {
		ASSERT_EQ(at >= from && at < from + len ? 0 : pattern(3, at) + add,
			  *(volatile uint64_t *)(buf + at));
	}
	buf_free(to, len);
	buf_free(buf, size);
}

TEST_F_TIMEOUT(partial, small, TEST_LIMIT)
{
	partial_run(_metadata, self, variant, 64 * KIB, false);
}

TEST_F_TIMEOUT(partial, large, TEST_LIMIT)
{
	partial_run(_metadata, self, variant, 2 * CHUNK, false);
}

TEST_F_TIMEOUT(partial, huge, TEST_LIMIT)
{
	partial_run(_metadata, self, variant, CHUNK, true);
}

/* -------------------------------------------------- sizes, threads, processes */

GPU_TEST(large)
{
	size_t size = 8 * MIB;
	char *buf = buf_alloc(size);

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add_each(gpu, buf, size, 16 * self->page));
	}
	for (size_t at = 0; at < size; at += 16 * self->page) {
		ASSERT_EQ(self->g->n, *(volatile uint64_t *)(buf + at));
		ASSERT_EQ(0, *(volatile uint64_t *)(buf + at + 8));
	}
	buf_free(buf, size);
}

struct worker {
	pthread_t thread;
	struct gpu *gpu;
	unsigned int queue, nr;
	int ret;
};

/* Allocates, lets the device work, checks, frees; several at the same time. */
static int work(struct gpu *gpu, unsigned int queue, unsigned int nr, unsigned int rounds)
{
	for (unsigned int round = 0; round < rounds; round++) {
		size_t size = (1 + (nr + round) % 5) * 8 * KIB;
		uint64_t seed = 1000 * nr + round;
		bool heap = round & 1;
		VSVM_JOB(job, 1);
		char *buf;
		int ret;

		buf = heap ? malloc(size) :
		      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (!buf || buf == MAP_FAILED)
			return -ENOMEM;
		buf_init(buf, size, seed);
		vsvm_job_add(&job, buf, size, nr + 1);
		ret = gpu_start(gpu, queue, &job);
		if (!ret)
			ret = gpu_finish(gpu, queue);
		if (!ret && buf_check(buf, size, seed, nr + 1) >= 0)
			ret = -EILSEQ;
		if (heap)
			free(buf);
		else
			munmap(buf, size);
		if (ret)
			return ret;
	}
	return 0;
}

static void *worker_thread(void *arg)
{
	struct worker *w = arg;

	w->ret = work(w->gpu, w->queue, w->nr, 4);
	return NULL;
}

/* Threads with a VM for each device, threads that share a VM's queues. */
GPU_TEST(threads_shared_vm)
{
	struct worker w[8];

	for (unsigned int i = 0; i < ARRAY_SIZE(w); i++) {
		w[i] = (struct worker) {
			.gpu = &self->gpu[i % self->g->n], .queue = 1 + i, .nr = i,
		};
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, worker_thread, &w[i]));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(w); i++) {
		ASSERT_EQ(0, pthread_join(w[i].thread, NULL));
		ASSERT_EQ(0, w[i].ret);
	}
}

static void *own_vm_thread(void *arg)
{
	struct worker *w = arg;
	struct gpu *own = buf_alloc(sizeof(*own));

	w->ret = -ENOMEM;
	if (!own)
		return NULL;
	w->ret = gpu_open(own, w->nr % w->gpu->dev.info.index, 0);
	if (!w->ret) {
		w->ret = work(own, 0, w->nr, 4);
		if (gpu_close(own) && !w->ret)
			w->ret = -EBADF;
	}
	buf_free(own, sizeof(*own));
	return NULL;
}

GPU_TEST(threads)
{
	struct worker w[6];
	struct gpu count = { .dev.info.index = self->g->n };

	/* Each with a VM of its own, which comes and goes beside the others. */
	for (unsigned int i = 0; i < ARRAY_SIZE(w); i++) {
		w[i] = (struct worker) { .gpu = &count, .nr = i };
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, own_vm_thread, &w[i]));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(w); i++) {
		ASSERT_EQ(0, pthread_join(w[i].thread, NULL));
		ASSERT_EQ(0, w[i].ret);
	}
}

static int process(void *arg)
{
	const unsigned int *nr = arg;
	struct gpus *g;

	CHECK(!gpus_open(&g, 1 + *nr % 2, 0));
	for (unsigned int i = 0; i < g->n; i++)
		CHECK(!work(&g->gpu[i], 3, *nr, 4));
	CHECK(!gpus_violations(g));
	CHECK(!gpus_close(g));
	return 0;
}

GPU_TEST(processes)
{
	unsigned int nr;
	pid_t pid[4];

	for (nr = 0; nr < ARRAY_SIZE(pid); nr++) {
		unsigned int arg = self->g->n > 1 ? nr : 0;

		pid[nr] = fork();
		ASSERT_LE(0, pid[nr]);
		if (!pid[nr])
			_exit(process(&arg));
	}
	/* The parent's devices work meanwhile, in another address space. */
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, work(gpu, 1, 50, 4));
	}
	for (nr = 0; nr < ARRAY_SIZE(pid); nr++) {
		int status;

		ASSERT_EQ(pid[nr], waitpid(pid[nr], &status, 0));
		ASSERT_EQ(0, status);
	}
}

/* MADV_DONTNEED and munmap while jobs are on their way, data where it stays. */
GPU_TEST(free_race)
{
	size_t size = 64 * KIB;
	char *keep = buf_alloc(size);

	ASSERT_NE(NULL, keep);
	for (unsigned int round = 0; round < 8; round++) {
		char *gone = buf_alloc(size);

		ASSERT_NE(NULL, gone);
		buf_init(keep, size, round);
		for_each_gpu(gpu, self) {
			VSVM_JOB(job, 1);

			/* The one may fail, the other one not. */
			vsvm_job_fill(&job, gone, size, ~0ULL);
			ASSERT_EQ(0, gpu_start(gpu, 4, &job));
		}
		if (round & 1) {
			ASSERT_EQ(0, munmap(gone, size));
		} else {
			ASSERT_EQ(0, madvise(gone, size, MADV_DONTNEED));
		}
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, keep, size, 1));
		}
		for_each_gpu(gpu, self) {
			struct drm_vsvm_error error;
			int ret = gpu_finish(gpu, 4);

			if (!(round & 1)) {
				ASSERT_EQ(0, ret);
			}
			if (!ret)
				continue;
			ASSERT_EQ(-EIO, ret);
			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			ASSERT_EQ(EFAULT, error.error);
			ASSERT_EQ(DRM_VSVM_ERROR_WRITE, error.flags);
		}
		ASSERT_EQ(-1, buf_check(keep, size, round, self->g->n));
		buf_free(gone, size);
	}
	buf_free(keep, size);
}

TEST_HARNESS_MAIN
