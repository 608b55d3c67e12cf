// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Each allocation of a call fails once: the first one, then the second, and so on,
 * until the call succeeds because there was none left to fail. Each time the errno
 * must be one that the ABI names, the structure be sound, no data be lost, and the
 * same call, made again, succeed. What leaks is for kmemleak to tell, at the end.
 *
 * The kernel fails allocations of the calling task only (/proc/self/fail-nth). Faults
 * are served by workers: so that path is walked by prefetches with
 * DRM_VSVM_PREFETCH_MAP, which move and map in the call. What fails in workers and
 * devices is swept through the knobs of debugfs.
 */
#include <stdio.h>
#include <sys/ioctl.h>
#include <xf86drm.h>

#define GPUSVM_NO_FIXTURE
#define GPUSVM_NO_DEVMEM
#include "gpusvm_test.h"
#include "gpusvm_devmem.h"

#define SIZE		(64 * KIB)
#define VA		0x4000000000ULL
#define FAIL_LIMIT	600
/* More points than any of these calls has. */
#define MAX_NTH		2000
#define ERRNOS		4

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

FIXTURE(failnth)
{
	struct gpus *g;
	struct gpu *gpu;
	char *buf;
	int fd;
	/* What a step works on */
	struct vsvm_vm vm;
	uint32_t handle, second;
	int file;
	void *map;
	struct gpu *victim;
};

FIXTURE_VARIANT(failnth)
{
	unsigned int n;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(failnth, one)
{
	.n = 1,
};

FIXTURE_VARIANT_ADD(failnth, four_eager)
{
	.n = 4, .flags = DRM_VSVM_VM_EAGER,
};

static int set_text(const char *name, const char *knob, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", name, knob);
	return write_text(path, text);
}

/* Any allocation may fail, and nothing is said about it. */
static int injection_set_up(void)
{
	const char *const names[] = { "failslab", "fail_page_alloc" };
	int ret = 0;

	for (unsigned int i = 0; i < 2 && !ret; i++) {
		ret = set_text(names[i], "ignore-gfp-wait", "N");
		if (!ret)
			ret = set_text(names[i], "verbose", "0");
	}
	if (!ret)
		ret = set_text("fail_page_alloc", "ignore-gfp-highmem", "N");
	return ret;
}

FIXTURE_SETUP(failnth)
{
	int ret;

	self->fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->fd < 0 || injection_set_up())
		SKIP(return, "no fault injection in this kernel");
	ret = topology(variant->n, 1, 64);
	if (ret == -ENODEV || ret == -ENOENT)
		SKIP(return, "fewer than %u devices, or no debugfs", variant->n);
	ASSERT_EQ(0, ret);
	/* Each request is granted, however often it is made. */
	ASSERT_EQ(0, arbiter_off());
	ASSERT_EQ(0, gpus_open(&self->g, variant->n, DRM_VSVM_VM_MIGRATE | variant->flags));
	self->gpu = self->g->gpu;
	self->buf = buf_alloc(SIZE);
	ASSERT_NE(NULL, self->buf);
	self->file = -1;
}

FIXTURE_TEARDOWN(failnth)
{
	if (self->g) {
		for (unsigned int i = 0; i < self->g->n; i++)
			gpu_explain(&self->gpu[i]);
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
	buf_free(self->buf, SIZE);
	if (variant->n)
		EXPECT_EQ(0, arbiter_default());
	close(self->fd);
}

#define FAIL_TEST(name)	TEST_F_TIMEOUT(failnth, name, FAIL_LIMIT)

#define fix	struct _test_data_failnth

/**
 * struct step - A call whose allocations fail
 * @name: for messages
 * @prepare: what it needs; NULL: nothing. Nothing fails on purpose here, nor below
 * @call: the call; 0 or a negative errno
 * @verify: looks whether all is as it should be when it has succeeded, at last
 * @undo: so that it can be prepared again
 * @errnos: what it may fail with, beside ENOMEM
 * @cannot_fail: not even with that
 */
struct step {
	const char *name;
	int (*prepare)(fix *self);
	int (*call)(fix *self);
	int (*verify)(fix *self);
	int (*undo)(fix *self);
	int errnos[ERRNOS];
	bool cannot_fail;
};

static int nth_set(fix *self, unsigned int nth)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", nth);

	return pwrite(self->fd, text, len, 0) == len ? 0 : -errno;
}

/* Ends it, and says whether something has failed: the number has come to zero. */
static int nth_end(fix *self, bool *injected)
{
	char text[16] = "";

	if (pread(self->fd, text, sizeof(text) - 1, 0) <= 0)
		return -errno;
	*injected = atoi(text) == 0;
	/* This may be what fails, and then it has been used up. */
	nth_set(self, 0);
	return nth_set(self, 0);
}

static bool errno_right(const struct step *step, int ret)
{
	if (step->cannot_fail)
		return false;
	if (ret == -ENOMEM)
		return true;
	for (unsigned int i = 0; i < ERRNOS && step->errnos[i]; i++)
		if (ret == -step->errnos[i])
			return true;
	return false;
}

/* Returns how many points have failed, or -1 where something was not right. */
static int sweep(fix *self, const struct step *step)
{
	unsigned int nth, failed = 0;
	bool injected = true;
	int ret, err;

	for (nth = 1; injected; nth++) {
		if (nth > MAX_NTH) {
			fprintf(stderr, "# %s: more than %u points\n", step->name, MAX_NTH);
			return -1;
		}
		err = step->prepare ? step->prepare(self) : 0;
		if (err) {
			fprintf(stderr, "# %s, %u: preparation: %d\n", step->name, nth, err);
			return -1;
		}
		err = nth_set(self, nth);
		if (err)
			return -1;
		ret = step->call(self);
		err = nth_end(self, &injected);
		if (err) {
			fprintf(stderr, "# %s, %u: fail-nth: %d\n", step->name, nth, err);
			return -1;
		}
		if (ret && (!injected || !errno_right(step, ret))) {
			fprintf(stderr, "# %s, %u: %d%s\n", step->name, nth, ret,
				injected ? "" : ", and nothing was made to fail");
			return -1;
		}
		failed += ret != 0;
		err = gpus_validate();
		if (err && err != -ENOENT) {
			fprintf(stderr, "# %s, %u: the walker: %d\n", step->name, nth, err);
			return -1;
		}
		/* The same once more, and with it all is well. */
		if (ret)
			ret = step->call(self);
		if (!ret && step->verify)
			ret = step->verify(self);
		if (!ret && step->undo)
			ret = step->undo(self);
		if (ret) {
			fprintf(stderr, "# %s, %u: afterwards: %d\n", step->name, nth, ret);
			return -1;
		}
	}
	fprintf(stderr, "# %s: %u points, %u of them have failed the call\n", step->name, nth - 2,
		failed);
	return nth - 2;
}

/* ------------------------------------------------------------ attach, detach */

static int vm_create(fix *self)
{
	return vsvm_vm_create(&self->gpu->dev, DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_MIGRATE,
			      &self->vm);
}

static int vm_works(fix *self)
{
	VSVM_JOB(job, 1);

	vsvm_job_fill(&job, self->buf, 64, 1);
	return vsvm_run(&self->vm, 0, &job, GPU_TIMEOUT_NS);
}

static int vm_destroy(fix *self)
{
	return vsvm_vm_destroy(&self->vm);
}

static int vm_create_used(fix *self)
{
	int ret = vm_create(self);

	return ret ? ret : vm_works(self);
}

static const struct step attach = {
	.name = "attach", .call = vm_create, .verify = vm_works, .undo = vm_destroy,
};

FAIL_TEST(attach)
{
	ASSERT_LT(0, sweep(self, &attach));
}

/* The first VM of a process brings its manager with it. */
static int first_attach(void *arg)
{
	fix *self = arg;

	CHECK(!vsvm_open(&self->victim->dev, 0));
	close(self->fd);
	self->fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	CHECK(self->fd >= 0);
	self->gpu = self->victim;
	CHECK(sweep(self, &attach) > 0);
	return 0;
}

FAIL_TEST(first_attach)
{
	struct gpu victim = { .dev.fd = -1 };

	self->victim = &victim;
	ASSERT_EQ(0, run_child(first_attach, self));
}

static const struct step detach = {
	.name = "detach", .prepare = vm_create_used, .call = vm_destroy, .cannot_fail = true,
};

FAIL_TEST(detach)
{
	/* There need not be anything in it that could fail. */
	ASSERT_LE(0, sweep(self, &detach));
}

static int bound_create(fix *self)
{
	return vsvm_vm_create(&self->gpu->dev, DRM_VSVM_VM_SHARED_RESV, &self->vm);
}

static const struct step bound_vm = {
	.name = "VM without mirrors", .call = bound_create, .undo = vm_destroy,
};

FAIL_TEST(vm_without_mirrors)
{
	ASSERT_LT(0, sweep(self, &bound_vm));
}

/* ------------------------------------------------------------- fault, move */

/* Fresh memory, so that ranges, walks and page tables are, too. */
static int buf_fresh(fix *self)
{
	if (mmap(self->buf, SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != self->buf)
		return -errno;
	buf_init(self->buf, SIZE, 1);
	return 0;
}

static int buf_right(fix *self)
{
	const uint64_t want = vsvm_checksum(self->buf, SIZE);
	uint64_t sum;

	if (buf_check(self->buf, SIZE, 1, 0) >= 0)
		return -EILSEQ;
	for (unsigned int i = 0; i < self->g->n; i++) {
		int ret = gpu_checksum(&self->gpu[i], self->buf, SIZE, &sum);

		if (ret)
			return ret;
		if (sum != want)
			return -EILSEQ;
	}
	return 0;
}

static int map_here(fix *self)
{
	return vsvm_prefetch(&self->gpu->vm, self->buf, SIZE, NULL, DRM_VSVM_PREFETCH_MAP, NULL);
}

static int map_there(fix *self)
{
	return vsvm_prefetch(&self->gpu->vm, self->buf, SIZE, &self->gpu->dev,
			     DRM_VSVM_PREFETCH_MAP, NULL);
}

/* A page fault that finds no memory within a walk is told by HMM as EFAULT. */
static const struct step fault = {
	.name = "fault", .prepare = buf_fresh, .call = map_here, .verify = buf_right,
	.errnos = { EFAULT, EBUSY },
};

FAIL_TEST(fault)
{
	ASSERT_LT(0, sweep(self, &fault));
}

/* Nothing was there before: the pages come into being on the way. */
static int buf_empty(fix *self)
{
	return mmap(self->buf, SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == self->buf ? 0 : -errno;
}

static int buf_zero(fix *self)
{
	uint64_t sum;
	int ret = gpu_checksum(self->gpu, self->buf, SIZE, &sum);

	if (ret)
		return ret;
	return buf_check_value(self->buf, SIZE, 0) >= 0 ||
	       sum != vsvm_checksum(self->buf, SIZE) ? -EILSEQ : 0;
}

static const struct step fault_empty = {
	.name = "fault on nothing", .prepare = buf_empty, .call = map_here, .verify = buf_zero,
	.errnos = { EFAULT, EBUSY },
};

FAIL_TEST(fault_empty)
{
	ASSERT_LT(0, sweep(self, &fault_empty));
}

static const struct step migrate = {
	.name = "migrate", .prepare = buf_fresh, .call = map_there, .verify = buf_right,
	.errnos = { EFAULT, EBUSY },
};

FAIL_TEST(migrate)
{
	ASSERT_LT(0, sweep(self, &migrate));
}

static int buf_there(fix *self)
{
	int ret = buf_fresh(self);

	return ret ? ret : map_there(self);
}

/* A CPU's fault, told by an errno instead of a signal: the data comes back, or stays. */
static int touch(fix *self)
{
	return madvise(self->buf, SIZE, MADV_POPULATE_READ) ? -errno : 0;
}

static const struct step back = {
	.name = "CPU fault", .prepare = buf_there, .call = touch, .verify = buf_right,
	.errnos = { EFAULT, EBUSY },
};

FAIL_TEST(cpu_fault)
{
	ASSERT_LT(0, sweep(self, &back));
}

static int evict(fix *self)
{
	return gpu_knob(self->gpu, "evict", 1);
}

/* What cannot be evicted stays where it is, and that is no error. */
static const struct step eviction = {
	.name = "eviction", .prepare = buf_there, .call = evict, .verify = buf_right,
};

FAIL_TEST(evict)
{
	ASSERT_LT(0, sweep(self, &eviction));
}

/* The notifier's path: what must not fail because it allocates does not allocate. */
static int buf_drop(fix *self)
{
	return madvise(self->buf, SIZE, MADV_DONTNEED) ? -errno : 0;
}

static const struct step invalidate = {
	.name = "invalidation", .prepare = buf_there, .call = buf_drop, .verify = buf_zero,
	.cannot_fail = true,
};

FAIL_TEST(invalidate)
{
	ASSERT_LE(0, sweep(self, &invalidate));
}

/* Cut out of the middle; the VMA is split for it. */
static int buf_cut(fix *self)
{
	return munmap(self->buf + SIZE / 4, SIZE / 4) ? -errno : 0;
}

static int cut_right(fix *self)
{
	uint64_t sum;
	int ret = gpu_checksum(self->gpu, self->buf, SIZE / 4, &sum);

	if (!ret && sum != vsvm_checksum(self->buf, SIZE / 4))
		ret = -EILSEQ;
	if (!ret && gpu_read64(self->gpu, self->buf + SIZE / 4, &sum) != -EIO)
		ret = -EILSEQ;
	if (!ret) {
		struct drm_vsvm_error error;

		ret = vsvm_error_take(&self->gpu->vm, &error);
		if (!ret && error.error != EFAULT)
			ret = -(int)error.error;
	}
	return ret;
}

static const struct step unmap = {
	.name = "munmap", .prepare = buf_there, .call = buf_cut, .verify = cut_right,
};

FAIL_TEST(munmap)
{
	ASSERT_LT(0, sweep(self, &unmap));
}

/* ----------------------------------------------------- attributes, jobs, fork */

static int attr_set(fix *self)
{
	const struct drm_vsvm_attr attrs[] = {
		{ .type = DRM_VSVM_ATTR_LOCATION, .value = DRM_VSVM_LOCATION_SYSTEM },
		{ .type = DRM_VSVM_ATTR_READ_ONLY, .value = 1 },
		{ .type = DRM_VSVM_ATTR_GRANULARITY, .value = 3 },
	};

	/* In the middle of what has others: both ends are split. */
	return vsvm_attr_set(&self->gpu->vm, self->buf + SIZE / 4, SIZE / 2, attrs, 3);
}

static int attr_prepare(fix *self)
{
	int ret = buf_there(self);

	return ret ? ret : vsvm_attr_set_one(&self->gpu->vm, self->buf, SIZE,
					     DRM_VSVM_ATTR_RESIDENCE, 7);
}

static int attr_right(fix *self)
{
	uint32_t value;

	if (vsvm_attr_get_one(&self->gpu->vm, self->buf + SIZE / 4, SIZE / 2,
			      DRM_VSVM_ATTR_GRANULARITY, &value) || value != 3)
		return -EILSEQ;
	if (vsvm_attr_get_one(&self->gpu->vm, self->buf, SIZE, DRM_VSVM_ATTR_RESIDENCE, &value) ||
	    value != 7)
		return -EILSEQ;
	if (vsvm_attr_get_one(&self->gpu->vm, self->buf, SIZE / 4, DRM_VSVM_ATTR_READ_ONLY,
			      &value) || value)
		return -EILSEQ;
	return buf_right(self);
}

static int attr_reset(fix *self)
{
	return vsvm_attr_reset(&self->gpu->vm, self->buf, SIZE);
}

static const struct step attributes = {
	.name = "attributes", .prepare = attr_prepare, .call = attr_set, .verify = attr_right,
	.undo = attr_reset,
};

FAIL_TEST(attributes)
{
	ASSERT_LT(0, sweep(self, &attributes));
}

static int attr_set_before(fix *self)
{
	int ret = attr_prepare(self);

	return ret ? ret : attr_set(self);
}

/* From the middle of one interval to that of the next */
static int attr_reset_middle(fix *self)
{
	return vsvm_attr_reset(&self->gpu->vm, self->buf + SIZE / 8, SIZE / 2);
}

static int attr_reset_right(fix *self)
{
	uint32_t value;

	if (vsvm_attr_get_one(&self->gpu->vm, self->buf + SIZE / 8, SIZE / 2,
			      DRM_VSVM_ATTR_RESIDENCE, &value) ||
	    value != DRM_VSVM_RESIDENCE_DEFAULT)
		return -EILSEQ;
	if (vsvm_attr_get_one(&self->gpu->vm, self->buf + SIZE / 8 * 5, SIZE / 8,
			      DRM_VSVM_ATTR_GRANULARITY, &value) || value != 3)
		return -EILSEQ;
	return buf_right(self);
}

static const struct step attributes_reset = {
	.name = "reset of attributes", .prepare = attr_set_before, .call = attr_reset_middle,
	.verify = attr_reset_right, .undo = attr_reset,
};

FAIL_TEST(attributes_reset)
{
	ASSERT_LT(0, sweep(self, &attributes_reset));
}

static int job_submit(fix *self)
{
	VSVM_JOB(job, 64);

	while (job.num < job.max)
		vsvm_job_add(&job, self->buf, 8, 1);
	return gpu_start(self->gpu, 0, &job);
}

static int job_right(fix *self)
{
	int ret = gpu_finish(self->gpu, 0);

	if (!ret && *(volatile uint64_t *)self->buf != pattern(1, 0) + 64)
		ret = -EILSEQ;
	return ret;
}

static const struct step job = {
	.name = "job", .prepare = buf_fresh, .call = job_submit, .verify = job_right,
};

FAIL_TEST(job)
{
	ASSERT_LT(0, sweep(self, &job));
}

/* ----------------------------------------------------------- objects, binds */

static int gem_create(fix *self)
{
	return vsvm_gem_create(&self->gpu->dev, SIZE, DRM_VSVM_PLACEMENT_DEVICE, &self->handle);
}

static int gem_close(fix *self)
{
	return vsvm_gem_close(&self->gpu->dev, self->handle);
}

static const struct step object = {
	.name = "object", .call = gem_create, .undo = gem_close,
};

FAIL_TEST(object)
{
	ASSERT_LT(0, sweep(self, &object));
}

static int gem_map(fix *self)
{
	return vsvm_gem_map(&self->gpu->dev, self->handle, NULL, SIZE, &self->map);
}

static int gem_unmap(fix *self)
{
	return munmap(self->map, SIZE) ? -errno : gem_close(self);
}

static const struct step object_map = {
	.name = "mapping of an object", .prepare = gem_create, .call = gem_map,
	.undo = gem_unmap, .errnos = { EAGAIN },
};

FAIL_TEST(object_map)
{
	ASSERT_LT(0, sweep(self, &object_map));
}

static int gem_share(fix *self)
{
	const unsigned int other = self->g->n > 1;
	int ret;

	ret = vsvm_gem_export(&self->gpu->dev, self->handle, &self->file);
	if (ret)
		return ret;
	ret = vsvm_gem_import(&self->gpu[other].dev, self->file, &self->second);
	if (ret)
		close(self->file);
	return ret;
}

static int gem_unshare(fix *self)
{
	const unsigned int other = self->g->n > 1;
	int ret = 0;

	close(self->file);
	/* The exporter's own device finds the handle that it has. */
	if (other)
		ret = vsvm_gem_close(&self->gpu[other].dev, self->second);
	return ret ? ret : gem_close(self);
}

static const struct step share = {
	.name = "export and import", .prepare = gem_create, .call = gem_share,
	.undo = gem_unshare,
};

FAIL_TEST(object_share)
{
	ASSERT_LT(0, sweep(self, &share));
}

static int bind_prepare(fix *self)
{
	int ret = bound_create(self);

	return ret ? ret : gem_create(self);
}

static int bind(fix *self)
{
	VSVM_BIND(op, 3);

	vsvm_bind_map(&op, VA, SIZE, self->handle, 0);
	vsvm_bind_map(&op, VA + SIZE / 4, SIZE / 4, self->handle, SIZE / 2);
	vsvm_bind_unmap(&op, VA + SIZE / 8, SIZE / 16);
	return vsvm_vm_bind(&self->vm, &op, NULL, 0);
}

static int bind_right(fix *self)
{
	VSVM_BIND(next, 1);
	VSVM_JOB(prog, 2);
	int ret;

	/* Binds take effect one after the other, and no job waits for them by itself. */
	vsvm_bind_map(&next, VA + 2 * SIZE, SIZE, self->handle, 0);
	ret = vsvm_vm_bind_wait(&self->vm, &next);
	if (ret)
		return ret;
	/* Through the object, at two addresses */
	vsvm_job_fill(&prog, (void *)(VA + SIZE / 4), 8, 5);
	vsvm_job_add(&prog, (void *)(VA + SIZE / 2), 8, 1);
	ret = vsvm_run_sync(&self->vm, 0, &prog);
	if (ret)
		return ret;
	ret = gem_map(self);
	if (ret)
		return ret;
	if (((volatile uint64_t *)self->map)[WORDS(SIZE / 2)] != 6)
		ret = -EILSEQ;
	munmap(self->map, SIZE);
	return ret;
}

static int bind_undo(fix *self)
{
	int ret = vm_destroy(self);

	return ret ? ret : gem_close(self);
}

static const struct step binds = {
	.name = "bind", .prepare = bind_prepare, .call = bind, .verify = bind_right,
	.undo = bind_undo,
};

FAIL_TEST(bind)
{
	ASSERT_LT(0, sweep(self, &binds));
}

static int bind_before(fix *self)
{
	VSVM_BIND(op, 1);
	int ret = bind_prepare(self);

	vsvm_bind_map(&op, VA, SIZE, self->handle, 0);
	return ret ? ret : vsvm_vm_bind_wait(&self->vm, &op);
}

static int sync_submit(fix *self)
{
	struct drm_vsvm_sync sync;
	VSVM_JOB(prog, 2);
	int ret;

	if (drmSyncobjCreate(self->gpu->dev.fd, 0, &self->second))
		return -errno;
	vsvm_job_fill(&prog, (void *)VA, 64, 3);
	vsvm_job_add(&prog, (void *)VA, 64, 1);
	sync = vsvm_sync_out(self->second, 0);
	ret = vsvm_exec_sync(&self->vm, 0, &prog, &sync, 1, NULL);
	if (ret)
		drmSyncobjDestroy(self->gpu->dev.fd, self->second);
	return ret;
}

static int sync_right(fix *self)
{
	int ret = drmSyncobjWait(self->gpu->dev.fd, &self->second, 1, INT64_MAX, 0, NULL) ?
		-errno : 0;

	if (!ret && vsvm_syncobj_status(self->gpu->dev.fd, self->second) != 1)
		ret = -EIO;
	drmSyncobjDestroy(self->gpu->dev.fd, self->second);
	return ret;
}

static const struct step sync_job = {
	.name = "job with a fence", .prepare = bind_before, .call = sync_submit,
	.verify = sync_right, .undo = bind_undo,
};

FAIL_TEST(job_with_fence)
{
	ASSERT_LT(0, sweep(self, &sync_job));
}

/* ------------------------------------------- what fails in workers and devices */

/* The n-th run that is mapped for DMA, in whichever thread */
static int dma_fail(unsigned int nth)
{
	char text[16];
	int ret;

	snprintf(text, sizeof(text), "%u", nth);
	ret = set_text("drm_gpusvm_mgr/fail_dma_map", "interval", text);
	if (!ret)
		ret = set_text("drm_gpusvm_mgr/fail_dma_map", "probability", nth ? "100" : "0");
	if (!ret)
		ret = set_text("drm_gpusvm_mgr/fail_dma_map", "verbose", "0");
	return ret ? ret : set_text("drm_gpusvm_mgr/fail_dma_map", "times", nth ? "1" : "0");
}

/* A job meets it or does not; in the end each device has seen the right data. */
FAIL_TEST(dma_map)
{
	unsigned int failed = 0;

	if (dma_fail(0))
		SKIP(return, "no fail_dma_map");
	for (unsigned int nth = 1; nth <= 16; nth++) {
		for (unsigned int i = 0; i < self->g->n; i++) {
			struct drm_vsvm_error error;
			uint64_t sum;
			int ret;

			ASSERT_EQ(0, buf_fresh(self));
			ASSERT_EQ(0, dma_fail(nth));
			ret = gpu_checksum(&self->gpu[i], self->buf, SIZE, &sum);
			ASSERT_EQ(0, dma_fail(0));
			if (ret) {
				ASSERT_EQ(-EIO, ret);
				ASSERT_EQ(0, vsvm_error_take(&self->gpu[i].vm, &error));
				ASSERT_TRUE(error.error == ENOMEM || error.error == EFAULT);
				failed++;
			}
			ASSERT_EQ(0, gpus_validate());
			ASSERT_EQ(0, buf_right(self));
		}
	}
	/* The first one has. */
	ASSERT_LT(0, failed);
	fprintf(stderr, "# %u jobs failed for want of a DMA address\n", failed);
}

/* Copies, and device memory: moves fail, jobs do not, and nothing is lost. */
FAIL_TEST(device)
{
	static const char * const knobs[] = { "fail_alloc", "fail_copy" };

	for (unsigned int k = 0; k < 2; k++) {
		for (unsigned int count = 1; count <= 4; count++) {
			uint64_t sum, left;
			int ret;

			ASSERT_EQ(0, buf_fresh(self));
			ASSERT_EQ(0, gpu_knob(self->gpu, knobs[k], count));
			ret = map_there(self);
			ASSERT_TRUE(!ret || ret == -ENOMEM || ret == -EBUSY);
			ASSERT_EQ(0, gpu_checksum(self->gpu, self->buf, SIZE, &sum));
			ASSERT_EQ(0, vsvm_debugfs_get(&self->gpu->dev, knobs[k], &left));
			ASSERT_GT(count, left);
			ASSERT_EQ(0, gpu_knob(self->gpu, knobs[k], 0));
			ASSERT_EQ(0, gpus_validate());
			ASSERT_EQ(0, map_there(self));
			ASSERT_EQ(vsvm_checksum(self->buf, SIZE), sum);
			ASSERT_EQ(0, buf_right(self));
		}
	}
}

TEST_HARNESS_MAIN
