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
 * devices, DMA mappings, copies, device memory, is swept in the same way through the
 * knobs of debugfs.
 */
#include <stdio.h>
#include <sys/ioctl.h>
#include <xf86drm.h>

#define GPUSVM_NO_FIXTURE
#define GPUSVM_NO_DEVMEM
#include "gpusvm_test.h"
#include "gpusvm_devmem.h"

#define SIZE		(64 * KIB)
/* It is moved in pieces of SIZE, and so has several points of a kind. */
#define LARGE		(4 * SIZE)
#define VA		0x4000000000ULL
#define FAIL_LIMIT	600
/* More points than any of these calls has. */
#define MAX_NTH		2000
#define ERRNOS		4
/* Attempts at what others can spoil who just look at a page. */
#define TRIES		50
#define OBJECTS		2

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

FIXTURE(failnth)
{
	struct gpus *g;
	struct gpu *gpu;
	char *buf;
	size_t size;
	int fd;
	/* What a step works on */
	struct vsvm_vm vm;
	uint32_t handle, second;
	int file;
	void *map;
	struct gpu *victim;
	uint32_t objects[OBJECTS];
	void *maps[OBJECTS];
	/* How it was before: checksum, bytes mapped for DMA, moves of objects */
	uint64_t sum, mapped, moves;
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

#define DMA_MAP		"drm_gpusvm_mgr/fail_dma_map"

static int dma_off(void)
{
	int ret = set_text(DMA_MAP, "times", "0");

	return ret ? ret : set_text(DMA_MAP, "probability", "0");
}

/* What a test of a device can have fail: one that ran into its limit may have left it. */
static int knobs_off(const struct gpu *gpu)
{
	static const char * const knobs[] = {
		"fail_alloc", "fail_page", "fail_copy", "fail_map", "fail_skip",
	};
	int ret = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(knobs) && !ret; i++)
		ret = gpu_knob(gpu, knobs[i], 0);
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
	self->size = SIZE;
	self->buf = buf_alloc(self->size);
	ASSERT_NE(NULL, self->buf);
	self->file = -1;
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, knobs_off(gpu));
	}
	dma_off();
}

FIXTURE_TEARDOWN(failnth)
{
	if (self->g) {
		for (unsigned int i = 0; i < self->g->n; i++)
			gpu_explain(&self->gpu[i]);
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
	buf_free(self->buf, self->size);
	if (variant->n)
		EXPECT_EQ(0, arbiter_default());
	close(self->fd);
}

#define FAIL_TEST(name)	TEST_F_TIMEOUT(failnth, name, FAIL_LIMIT)

#define fix	struct _test_data_failnth

/**
 * struct step - A call in which something fails
 * @name: for messages
 * @prepare: what it needs; NULL: nothing. Nothing fails on purpose here, nor below
 * @call: the call; 0 or a negative errno
 * @left: looks, where it has failed, whether something is left of it
 * @verify: looks whether all is as it should be when it has succeeded, at last
 * @undo: so that it can be prepared again
 * @errnos: what it may fail with, beside ENOMEM
 * @cannot_fail: not even with that
 * @must_fail: it cannot do without whatever failed
 */
struct step {
	const char *name;
	int (*prepare)(fix *self);
	int (*call)(fix *self);
	int (*left)(fix *self);
	int (*verify)(fix *self);
	int (*undo)(fix *self);
	int errnos[ERRNOS];
	bool cannot_fail;
	bool must_fail;
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

/* The same of a knob of the first device */
static int knob_set(fix *self, const char *knob, unsigned int nth)
{
	int ret = gpu_knob(self->gpu, "fail_skip", nth - 1);

	return ret ? ret : gpu_knob(self->gpu, knob, 1);
}

static int knob_end(fix *self, const char *knob, bool *injected)
{
	uint64_t left;
	int ret = vsvm_debugfs_get(&self->gpu->dev, knob, &left);

	if (ret)
		return ret;
	*injected = !left;
	ret = gpu_knob(self->gpu, knob, 0);
	return ret ? ret : gpu_knob(self->gpu, "fail_skip", 0);
}

/* And of the mappings that the library makes: nth - 1 of them pass, in any thread. */
static int dma_set(unsigned int nth)
{
	char text[16];
	int ret = dma_off();

	snprintf(text, sizeof(text), "%u", nth);
	if (!ret)
		ret = set_text(DMA_MAP, "space", text);
	if (!ret)
		ret = set_text(DMA_MAP, "interval", "1");
	if (!ret)
		ret = set_text(DMA_MAP, "verbose", "0");
	if (!ret)
		ret = set_text(DMA_MAP, "probability", "100");
	return ret ? ret : set_text(DMA_MAP, "times", "1");
}

static int dma_end(bool *injected)
{
	uint64_t left;
	int ret = read_number("/sys/kernel/debug/" DMA_MAP "/times", &left);

	if (ret)
		return ret;
	*injected = !left;
	ret = dma_off();
	/* What is left of it would be for the next one. */
	return ret ? ret : set_text(DMA_MAP, "space", "0");
}

/* What it is that fails: any allocation of the task, or what a knob is about. */
enum source { ALLOCATION, DMA_MAPPING, DEVICE_MEMORY, COPY, PAGE, OWN_MAPPING };

static const char * const sources[] = {
	[ALLOCATION] = "allocation",
	[DMA_MAPPING] = "DMA mapping",
	[DEVICE_MEMORY] = "fail_alloc",
	[COPY] = "fail_copy",
	[PAGE] = "fail_page",
	[OWN_MAPPING] = "fail_map",
};

/* From now on the nth one fails, and no other. */
static int inject(fix *self, enum source source, unsigned int nth)
{
	if (source == ALLOCATION)
		return nth_set(self, nth);
	if (source == DMA_MAPPING)
		return dma_set(nth);
	return knob_set(self, sources[source], nth);
}

static int inject_end(fix *self, enum source source, bool *injected)
{
	if (source == ALLOCATION)
		return nth_end(self, injected);
	if (source == DMA_MAPPING)
		return dma_end(injected);
	return knob_end(self, sources[source], injected);
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

/* Says what was not right. */
static int complain(const struct step *step, enum source source, unsigned int nth,
		    const char *what, int ret)
{
	fprintf(stderr, "# %s, %s %u: %s: %d\n", step->name, sources[source], nth, what, ret);
	return -1;
}

/* Returns how many points have failed, or -1 where something was not right. */
static int sweep_of(fix *self, const struct step *step, enum source source)
{
	unsigned int nth, failed = 0;
	bool injected = true;
	int ret, err;

	for (nth = 1; injected; nth++) {
		if (nth > MAX_NTH)
			return complain(step, source, nth, "too many points", 0);
		err = step->prepare ? step->prepare(self) : 0;
		if (err)
			return complain(step, source, nth, "preparation", err);
		err = inject(self, source, nth);
		if (err)
			return complain(step, source, nth, "injection", err);
		ret = step->call(self);
		err = inject_end(self, source, &injected);
		if (err)
			return complain(step, source, nth, "injection", err);
		if (ret && !injected)
			return complain(step, source, nth, "nothing was made to fail", ret);
		if (ret && !errno_right(step, ret))
			return complain(step, source, nth, "wrong errno", ret);
		if (!ret && injected && step->must_fail)
			return complain(step, source, nth, "it has not failed", ret);
		failed += ret != 0;
		err = gpus_validate();
		if (err && err != -ENOENT)
			return complain(step, source, nth, "the walker", err);
		err = ret && step->left ? step->left(self) : 0;
		if (err)
			return complain(step, source, nth, "something is left", err);
		/* The same once more, and with it all is well. */
		if (ret)
			ret = step->call(self);
		if (!ret && step->verify)
			ret = step->verify(self);
		if (!ret && step->undo)
			ret = step->undo(self);
		if (ret)
			return complain(step, source, nth, "afterwards", ret);
	}
	fprintf(stderr, "# %s, %s: %u points, %u of them have failed the call\n", step->name,
		sources[source], nth - 2, failed);
	return nth - 2;
}

static int sweep(fix *self, const struct step *step)
{
	return sweep_of(self, step, ALLOCATION);
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
static int buf_empty(fix *self)
{
	return mmap(self->buf, self->size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == self->buf ? 0 : -errno;
}

static int buf_fresh(fix *self)
{
	int ret = buf_empty(self);

	if (!ret)
		buf_init(self->buf, self->size, 1);
	return ret;
}

/* Each device sees what the CPU does. */
static int buf_seen(fix *self)
{
	const uint64_t want = vsvm_checksum(self->buf, self->size);
	uint64_t sum;

	for (unsigned int i = 0; i < self->g->n; i++) {
		int ret = gpu_checksum(&self->gpu[i], self->buf, self->size, &sum);

		if (ret)
			return ret;
		if (sum != want)
			return -EILSEQ;
	}
	return 0;
}

static int buf_right(fix *self)
{
	return buf_check(self->buf, self->size, 1, 0) >= 0 ? -EILSEQ : buf_seen(self);
}

static int map_here(fix *self)
{
	return vsvm_prefetch(&self->gpu->vm, self->buf, self->size, NULL, DRM_VSVM_PREFETCH_MAP,
			     NULL);
}

static int map_to(fix *self, struct gpu *gpu, uint64_t *missed)
{
	return vsvm_prefetch(&gpu->vm, self->buf, self->size, &gpu->dev, DRM_VSVM_PREFETCH_MAP,
			     missed);
}

static int map_there(fix *self)
{
	return map_to(self, self->gpu, NULL);
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

static int buf_zero(fix *self)
{
	uint64_t sum;
	int ret = gpu_checksum(self->gpu, self->buf, self->size, &sum);

	if (ret)
		return ret;
	return buf_check_value(self->buf, self->size, 0) >= 0 ||
	       sum != vsvm_checksum(self->buf, self->size) ? -EILSEQ : 0;
}

/* Nothing was there before: the pages come into being on the way. */
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
	return madvise(self->buf, self->size, MADV_POPULATE_READ) ? -errno : 0;
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
	return madvise(self->buf, self->size, MADV_DONTNEED) ? -errno : 0;
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

/* ------------------------------------------------------- DMA mappings, in steps */

/*
 * Every other page was never written to: with the zero page in between, which may not be
 * written, no two pages can be one run, wherever they are in memory.
 */
static int buf_mixed(fix *self)
{
	const size_t page = page_size();
	int ret = buf_empty(self);

	if (!ret && madvise(self->buf, self->size, MADV_NOHUGEPAGE))
		ret = -errno;
	if (ret)
		return ret;
	for (size_t at = 0; at < self->size; at += 2 * page)
		buf_init(self->buf + at, page, 1 + at);
	self->sum = vsvm_checksum(self->buf, self->size);
	self->mapped = gpus_sum(self->g, dma_mapped);
	return 0;
}

static int mixed_right(fix *self)
{
	const size_t page = page_size();

	for (size_t at = 0; at < self->size; at += 2 * page)
		if (buf_check(self->buf + at, page, 1 + at, 0) >= 0 ||
		    buf_check_value(self->buf + at + page, page, 0) >= 0)
			return -EILSEQ;
	return buf_seen(self);
}

static int nothing_mapped(fix *self)
{
	return gpus_sum(self->g, dma_mapped) > self->mapped ? -EUCLEAN : 0;
}

static const struct step mapping = {
	.name = "mapping", .prepare = buf_mixed, .call = map_here, .left = nothing_mapped,
	.verify = mixed_right, .must_fail = true,
};

/* In system memory, so that the same is to be mapped. */
static int mixed_in_place(fix *self)
{
	int ret = buf_mixed(self);

	return ret ? ret : vsvm_attr_set_one(&self->gpu->vm, self->buf, self->size,
					     DRM_VSVM_ATTR_ACCESS, DRM_VSVM_MODE_IN_PLACE);
}

/* Why it failed is said by the record. */
static int job_reads(fix *self)
{
	struct drm_vsvm_error error;
	uint64_t sum;
	int ret = gpu_checksum(self->gpu, self->buf, self->size, &sum);

	if (ret == -EIO) {
		ret = vsvm_error_take(&self->gpu->vm, &error);
		return ret ? ret : -(int)error.error;
	}
	return !ret && sum != self->sum ? -EILSEQ : ret;
}

/* By a worker, which also maps for others who want it at once; that may fail. */
static const struct step job_mapping = {
	.name = "mapping for a job", .prepare = mixed_in_place, .call = job_reads,
	.left = nothing_mapped, .verify = mixed_right,
};

FAIL_TEST(dma_map)
{
	const int runs = SIZE / page_size();

	if (dma_off())
		SKIP(return, "no fail_dma_map");
	ASSERT_LE(runs, sweep_of(self, &mapping, DMA_MAPPING));
	ASSERT_LE(runs, sweep_of(self, &job_mapping, DMA_MAPPING));
}

/* ------------------------------------------------- device memory, copies, pages */

static int buf_resize(fix *self, size_t size)
{
	buf_free(self->buf, self->size);
	self->buf = buf_alloc(size);
	self->size = size;
	return self->buf ? 0 : -ENOMEM;
}

/* All of it is there when this returns. */
static int bring_all(fix *self, struct gpu *gpu)
{
	uint64_t missed = 1;
	int ret = 0;

	/* A page on a list of some CPU has one user too many to be moved. */
	for (unsigned int i = 0; i < TRIES && missed && !ret; i++) {
		lru_drain();
		ret = map_to(self, gpu, &missed);
	}
	return !ret && missed ? -ENOTEMPTY : ret;
}

static int buf_settled(fix *self)
{
	int ret = buf_fresh(self);

	self->sum = vsvm_checksum(self->buf, self->size);
	lru_drain();
	return ret;
}

static int buf_away(fix *self)
{
	int ret = buf_fresh(self);

	return ret ? ret : bring_all(self, self->gpu);
}

static int there_right(fix *self)
{
	int ret = bring_all(self, self->gpu);

	return ret ? ret : buf_right(self);
}

/* What was not moved was missed, and that is no error. */
static const struct step move_in = {
	.name = "move to a device", .prepare = buf_settled, .call = map_there,
	.verify = there_right, .cannot_fail = true,
};

/* A move that fails is not the fault's business: it is mapped where it is. */
static const struct step fault_in = {
	.name = "move for a job", .prepare = buf_settled, .call = job_reads,
	.verify = buf_right, .cannot_fail = true,
};

static int map_other(fix *self)
{
	return map_to(self, &self->gpu[1], NULL);
}

static int other_right(fix *self)
{
	int ret = bring_all(self, &self->gpu[1]);

	return ret ? ret : buf_right(self);
}

/* It is the first device that copies. What it cannot goes by way of system memory. */
static const struct step move_over = {
	.name = "move to another device", .prepare = buf_away, .call = map_other,
	.verify = other_right, .cannot_fail = true,
};

/*
 * One whole allocation comes back, or the CPU has nothing of it. After the first one the
 * system call tries what failed once more, and that has not failed then.
 */
static const struct step move_back = {
	.name = "CPU fault", .prepare = buf_away, .call = touch, .verify = buf_right,
	.errnos = { EFAULT },
};

static int evicted_right(fix *self)
{
	int ret = 0;

	for (unsigned int i = 0; i < TRIES && !ret && pages_away(self->buf, self->size); i++)
		ret = evict(self);
	if (!ret && pages_away(self->buf, self->size))
		ret = -ENOTEMPTY;
	return ret ? ret : buf_right(self);
}

static const struct step move_out = {
	.name = "eviction", .prepare = buf_away, .call = evict, .verify = evicted_right,
	.cannot_fail = true,
};

/* What failed, and what replaced it, has given its memory back. */
static int vram_empty(fix *self)
{
	for_each_gpu(gpu, self) {
		/* It is freed by a worker. */
		for (unsigned int i = 0; i < 1000 && gpu_stat(gpu, vram_used); i++)
			usleep(10000);
		if (gpu_stat(gpu, vram_used))
			return -EBUSY;
	}
	return 0;
}

FAIL_TEST(no_device_memory)
{
	uint64_t failed = gpu_stat(self->gpu, migrations_failed);
	int moves, faults;

	ASSERT_EQ(0, buf_resize(self, LARGE));
	moves = sweep_of(self, &move_in, DEVICE_MEMORY);
	ASSERT_LE(2, moves);
	faults = sweep_of(self, &fault_in, DEVICE_MEMORY);
	ASSERT_LE(2, faults);
	/* It is a move that has failed each time. */
	ASSERT_LE(failed + moves + faults, gpu_stat(self->gpu, migrations_failed));
	ASSERT_EQ(0, buf_drop(self));
	ASSERT_EQ(0, vram_empty(self));
}

FAIL_TEST(copy)
{
	const struct step *const steps[] = {
		&move_in, &fault_in, &move_back, &move_out, &move_over,
	};
	uint64_t failed = gpu_stat(self->gpu, copies_failed);

	ASSERT_EQ(0, buf_resize(self, LARGE));
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
		int points;

		if (steps[i] == &move_over && self->g->n < 2)
			continue;
		points = sweep_of(self, steps[i], COPY);
		ASSERT_LE(2, points);
		failed += points;
		ASSERT_LE(failed, gpu_stat(self->gpu, copies_failed));
	}
	ASSERT_EQ(0, buf_drop(self));
	ASSERT_EQ(0, vram_empty(self));
}

/* Page by page: of one allocation, as each page is a point. */
FAIL_TEST(evicted_pages)
{
	ASSERT_LE(2, sweep_of(self, &move_out, PAGE));
	ASSERT_LE(2, sweep_of(self, &move_out, OWN_MAPPING));
	ASSERT_EQ(0, buf_drop(self));
	ASSERT_EQ(0, vram_empty(self));
}

/* --------------------------------------------------------------- objects that move */

static int objects_bind(fix *self)
{
	VSVM_BIND(op, OBJECTS);

	for (unsigned int i = 0; i < OBJECTS; i++)
		vsvm_bind_map(&op, VA + i * SIZE, SIZE, self->objects[i], 0);
	return vsvm_vm_bind_wait(&self->vm, &op);
}

/* From here on moves are counted. */
static void objects_init(fix *self)
{
	for (unsigned int i = 0; i < OBJECTS; i++)
		buf_init(self->maps[i], SIZE, 10 + i);
	self->moves = gpu_stat(self->gpu, gem_moves);
}

/* With data, so in system memory, and not bound. */
static int objects_make(fix *self, uint32_t placement)
{
	int ret = bound_create(self);

	for (unsigned int i = 0; i < OBJECTS && !ret; i++) {
		ret = vsvm_gem_create(&self->gpu->dev, SIZE, placement, &self->objects[i]);
		if (!ret)
			ret = vsvm_gem_map(&self->gpu->dev, self->objects[i], NULL, SIZE,
					   &self->maps[i]);
	}
	if (!ret)
		objects_init(self);
	return ret;
}

static int objects_system(fix *self)
{
	return objects_make(self, DRM_VSVM_PLACEMENT_SYSTEM);
}

static int objects_device(fix *self)
{
	return objects_make(self, DRM_VSVM_PLACEMENT_DEVICE);
}

/* Bound, but the CPU has just had them. */
static int objects_bound(fix *self)
{
	int ret = objects_device(self);

	if (!ret)
		ret = objects_bind(self);
	if (!ret)
		objects_init(self);
	return ret;
}

/* All of them have moved since. */
static bool objects_moved(fix *self)
{
	return gpu_stat(self->gpu, gem_moves) >= self->moves + OBJECTS;
}

static int objects_away(fix *self)
{
	int ret = objects_device(self);

	if (!ret)
		ret = objects_bind(self);
	if (!ret && !objects_moved(self))
		ret = -ENOTEMPTY;
	self->moves = gpu_stat(self->gpu, gem_moves);
	return ret;
}

static int objects_use(fix *self)
{
	VSVM_JOB(prog, OBJECTS);

	for (unsigned int i = 0; i < OBJECTS; i++)
		vsvm_job_fill(&prog, (void *)(VA + i * SIZE), sizeof(uint64_t), 5);
	return vsvm_run_sync(&self->vm, 0, &prog);
}

static int objects_right(fix *self)
{
	int ret = objects_use(self);

	for (unsigned int i = 0; i < OBJECTS && !ret; i++) {
		const volatile uint64_t *word = self->maps[i];

		if (word[0] != 5)
			ret = -EILSEQ;
		for (size_t at = 1; at < WORDS(SIZE) && !ret; at++)
			if (word[at] != pattern(10 + i, at))
				ret = -EILSEQ;
	}
	return ret;
}

/* What has stayed is moved by the next bind. */
static int objects_there(fix *self)
{
	int ret = objects_bind(self);

	if (!ret && !objects_moved(self))
		ret = -ENOTEMPTY;
	return ret ? ret : objects_right(self);
}

/* By a system call, which says what would be a signal. */
static int objects_touch(fix *self)
{
	for (unsigned int i = 0; i < OBJECTS; i++)
		if (pwrite(self->file, self->maps[i], sizeof(uint64_t), 0) != sizeof(uint64_t))
			return errno ? -errno : -EIO;
	return 0;
}

static int objects_gone(fix *self)
{
	int ret = 0;

	/* One whose lock somebody holds is passed over. */
	for (unsigned int i = 0; i < TRIES && !ret && !objects_moved(self); i++)
		ret = evict(self);
	if (!ret && !objects_moved(self))
		ret = -ENOTEMPTY;
	return ret ? ret : objects_right(self);
}

static int objects_undo(fix *self)
{
	int ret = 0;

	for (unsigned int i = 0; i < OBJECTS && !ret; i++)
		ret = munmap(self->maps[i], SIZE) ? -errno : 0;
	if (!ret)
		ret = vm_destroy(self);
	for (unsigned int i = 0; i < OBJECTS && !ret; i++)
		ret = vsvm_gem_close(&self->gpu->dev, self->objects[i]);
	return ret;
}

/* What cannot be moved to the device is bound where it is. */
static const struct step objects_in = {
	.name = "bind of objects", .prepare = objects_device, .call = objects_bind,
	.verify = objects_there, .undo = objects_undo, .cannot_fail = true,
};

static const struct step objects_job = {
	.name = "job on objects", .prepare = objects_bound, .call = objects_use,
	.verify = objects_there, .undo = objects_undo, .cannot_fail = true,
};

/* But it has to be within reach. */
static const struct step objects_reach = {
	.name = "bind of objects in system memory", .prepare = objects_system,
	.call = objects_bind, .verify = objects_right, .undo = objects_undo, .must_fail = true,
};

static const struct step objects_out = {
	.name = "eviction of objects", .prepare = objects_away, .call = evict,
	.verify = objects_gone, .undo = objects_undo, .cannot_fail = true,
};

static const struct step objects_back = {
	.name = "CPU access to objects", .prepare = objects_away, .call = objects_touch,
	.verify = objects_right, .undo = objects_undo, .errnos = { EFAULT }, .must_fail = true,
};

FAIL_TEST(objects_move)
{
	const struct {
		const struct step *step;
		enum source source;
	} sweeps[] = {
		{ &objects_in, DEVICE_MEMORY },
		{ &objects_in, COPY },
		{ &objects_in, OWN_MAPPING },
		{ &objects_job, DEVICE_MEMORY },
		{ &objects_job, COPY },
		{ &objects_reach, OWN_MAPPING },
		{ &objects_out, COPY },
		{ &objects_out, OWN_MAPPING },
		{ &objects_back, COPY },
		{ &objects_back, OWN_MAPPING },
	};

	self->file = tmp_file(page_size(), 1);
	ASSERT_LE(0, self->file);
	for (unsigned int i = 0; i < ARRAY_SIZE(sweeps); i++) {
		ASSERT_LE(OBJECTS, sweep_of(self, sweeps[i].step, sweeps[i].source));
	}
	close(self->file);
	ASSERT_EQ(0, vram_empty(self));
}

TEST_HARNESS_MAIN
