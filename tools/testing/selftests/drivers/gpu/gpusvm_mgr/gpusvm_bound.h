/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the programs about objects and bindings share: devices with a VM that sees
 * only what is bound to it. To be included once, by the file that has the tests.
 */
#ifndef _GPUSVM_BOUND_H_
#define _GPUSVM_BOUND_H_

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <xf86drm.h>

#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"

#define SYSTEM	DRM_VSVM_PLACEMENT_SYSTEM
#define DEVICE	DRM_VSVM_PLACEMENT_DEVICE

/* Addresses of a VM that mean nothing to the CPU. The second one is not aligned. */
#define VA	0x4000000000ULL
#define VA2	0x4800003000ULL
/* Where each VM has a page for results: the object's handle and its mapping. */
#define VA_OUT	0x5000000000ULL

/**
 * struct bound - A device with a VM without mirrors
 * @dev: the device
 * @vm: the VM
 * @out_handle: an object of a page, bound to VA_OUT
 * @out: that for the CPU
 */
struct bound {
	struct vsvm_device dev;
	struct vsvm_vm vm;
	uint32_t out_handle;
	volatile uint64_t *out;
};

FIXTURE(bound)
{
	unsigned int n;
	struct bound gpu[4];
	uint32_t placement;
	size_t page;
	uint64_t violations;
};

FIXTURE_VARIANT(bound)
{
	unsigned int n;
	unsigned int hives;
	uint32_t placement;
	/* Private objects and a shared reservation object change nothing. */
	uint32_t flags;
};

/* Each value of one meets each value of each other: pairwise, where it can. */
FIXTURE_VARIANT_ADD(bound, one_system)
{
	.n = 1, .hives = 1, .placement = SYSTEM,
};

FIXTURE_VARIANT_ADD(bound, one_device_shared)
{
	.n = 1, .hives = 1, .placement = DEVICE, .flags = DRM_VSVM_VM_SHARED_RESV,
};

FIXTURE_VARIANT_ADD(bound, two_device)
{
	.n = 2, .hives = 1, .placement = DEVICE,
};

FIXTURE_VARIANT_ADD(bound, two_apart_system_shared)
{
	.n = 2, .hives = 2, .placement = SYSTEM, .flags = DRM_VSVM_VM_SHARED_RESV,
};

FIXTURE_VARIANT_ADD(bound, four_apart_device)
{
	.n = 4, .hives = 2, .placement = DEVICE,
};

static inline uint64_t bound_violations(struct bound *gpu)
{
	uint64_t value = ~0ULL;

	return vsvm_debugfs_get(&gpu->dev, "violations", &value) ? ~0ULL : value;
}

static inline int bound_open(struct bound *gpu, unsigned int nr, uint32_t flags)
{
	VSVM_BIND(bind, 1);
	void *ptr;
	int ret;

	ret = vsvm_open(&gpu->dev, nr);
	if (ret)
		return ret;
	ret = vsvm_vm_create(&gpu->dev, flags, &gpu->vm);
	if (ret)
		return ret;
	ret = vsvm_gem_create(&gpu->dev, page_size(), SYSTEM, &gpu->out_handle);
	if (ret)
		return ret;
	ret = vsvm_gem_map(&gpu->dev, gpu->out_handle, NULL, page_size(), &ptr);
	if (ret)
		return ret;
	gpu->out = ptr;
	vsvm_bind_map(&bind, VA_OUT, page_size(), gpu->out_handle, 0);
	return vsvm_vm_bind_wait(&gpu->vm, &bind);
}

static inline int bound_close(struct bound *gpu)
{
	int ret = 0;

	if (gpu->out)
		munmap((void *)gpu->out, page_size());
	if (gpu->vm.id)
		ret = vsvm_vm_destroy(&gpu->vm);
	vsvm_close(&gpu->dev);
	return ret;
}

/* Each runs one job to its end: 0, -EIO where it failed, or an errno. */
static inline int bound_fill(struct bound *gpu, uint64_t va, size_t len, uint64_t value)
{
	VSVM_JOB(job, 1);

	vsvm_job_fill(&job, (void *)va, len, value);
	return vsvm_run_sync(&gpu->vm, 0, &job);
}

static inline int bound_add(struct bound *gpu, uint64_t va, size_t len, uint64_t value)
{
	VSVM_JOB(job, 1);

	vsvm_job_add(&job, (void *)va, len, value);
	return vsvm_run_sync(&gpu->vm, 0, &job);
}

static inline int bound_read(struct bound *gpu, uint64_t va, uint64_t *value)
{
	VSVM_JOB(job, 1);
	int ret;

	vsvm_job_copy(&job, (void *)VA_OUT, (void *)va, sizeof(*value));
	ret = vsvm_run_sync(&gpu->vm, 0, &job);
	if (!ret)
		*value = gpu->out[0];
	return ret;
}

static inline int bound_checksum(struct bound *gpu, uint64_t va, size_t len, uint64_t *sum)
{
	VSVM_JOB(job, 1);
	int ret;

	vsvm_job_checksum(&job, (uint64_t *)VA_OUT, (void *)va, len);
	ret = vsvm_run_sync(&gpu->vm, 0, &job);
	if (!ret)
		*sum = gpu->out[0];
	return ret;
}

static inline int bind_now(struct bound *gpu, uint64_t va, uint64_t size, uint32_t handle,
			   uint64_t offset)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_map(&bind, va, size, handle, offset);
	return vsvm_vm_bind_wait(&gpu->vm, &bind);
}

static inline int unbind_now(struct bound *gpu, uint64_t va, uint64_t size)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_unmap(&bind, va, size);
	return vsvm_vm_bind_wait(&gpu->vm, &bind);
}

#define bound_stat(gpu__, member__)						\
	({									\
		struct drm_vsvm_stats_data data__;				\
										\
		vsvm_stats(&(gpu__)->vm, &data__) ? ~0ULL : data__.member__;	\
	})

/* A job that does not end by itself in the time of a test; counts at @va. */
static inline int bound_endless(struct bound *gpu, unsigned int queue, uint64_t va,
				uint32_t syncobj)
{
	struct drm_vsvm_sync sync = vsvm_sync_out(syncobj, 0);
	VSVM_JOB(job, 512);

	while (job.num < job.max)
		vsvm_job_atomic_add(&job, (uint64_t *)va, 1, DRM_VSVM_MAX_LEN);
	return vsvm_exec_sync(&gpu->vm, queue, &job, &sync, syncobj ? 1 : 0, NULL);
}

/**
 * struct toucher - One who touches memory, and has to wait for it
 * @thread: a thread of its own
 * @word: what is read
 * @value: what was found there, once it was joined
 * @tid: its number
 */
struct toucher {
	pthread_t thread;
	volatile uint64_t *word;
	uint64_t value;
	volatile pid_t tid;
};

static inline void *touch_thread(void *arg)
{
	struct toucher *t = arg;

	t->tid = syscall(SYS_gettid);
	t->value = *t->word;
	return NULL;
}

/*
 * When this returns the thread sleeps in its page fault, with the mmap lock held for
 * read: nothing may be mapped or unmapped until it is over, no memory allocated.
 */
static inline int touch_begin(struct toucher *t, const volatile void *word)
{
	char path[64], text[128] = "";
	ssize_t len = 0;
	int fd, ret;

	t->word = (volatile uint64_t *)word;
	t->tid = 0;
	ret = pthread_create(&t->thread, NULL, touch_thread, t);
	if (ret)
		return -ret;
	while (!t->tid)
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", t->tid);
	/* The state is behind the name, which may be anything. */
	for (char *state = NULL; !state || !strchr("SD", state[2]); usleep(1000)) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			len = read(fd, text, sizeof(text) - 1);
			close(fd);
		}
		if (fd < 0 || len <= 0)
			return -ESRCH;
		text[len] = 0;
		state = strrchr(text, ')');
	}
	return 0;
}

static inline int touch_end(struct toucher *t)
{
	return -pthread_join(t->thread, NULL);
}

static inline uint32_t syncobj_new(struct bound *gpu)
{
	uint32_t handle = 0;

	return drmSyncobjCreate(gpu->dev.fd, 0, &handle) ? 0 : handle;
}

static inline int syncobj_wait(struct bound *gpu, uint32_t handle, uint64_t point)
{
	int ret;

	if (point)
		ret = drmSyncobjTimelineWait(gpu->dev.fd, &handle, &point, 1, INT64_MAX, 0, NULL);
	else
		ret = drmSyncobjWait(gpu->dev.fd, &handle, 1, INT64_MAX, 0, NULL);
	return ret ? -errno : 0;
}

/*
 * A fence that signals when the test says so: that of a job that ends with its
 * VM. On a file of its own; the syncobj is @gpu's.
 */
struct blocker {
	struct bound gpu;
	uint32_t syncobj;
};

static inline int block(struct bound *gpu, unsigned int nr, struct blocker *b)
{
	uint32_t theirs;
	int fd, ret;

	memset(b, 0, sizeof(*b));
	ret = bound_open(&b->gpu, nr, 0);
	if (ret)
		return ret;
	b->syncobj = syncobj_new(gpu);
	if (drmSyncobjHandleToFD(gpu->dev.fd, b->syncobj, &fd))
		return -errno;
	ret = drmSyncobjFDToHandle(b->gpu.dev.fd, fd, &theirs) ? -errno : 0;
	close(fd);
	return ret ? ret : bound_endless(&b->gpu, 0, VA_OUT, theirs);
}

static inline int unblock(struct blocker *b)
{
	/* First: who waits for it may hold up any munmap(). */
	int ret = vsvm_vm_destroy(&b->gpu.vm), err = bound_close(&b->gpu);

	return ret ? ret : err;
}

/* What debugfs says of a VM's reservation object: its number, and its fences. */
static inline int bound_resv(struct bound *gpu, unsigned int *resv, char *fences, size_t size)
{
	char path[128], line[256];
	bool mine = false;
	unsigned int id, found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%u/resvs", gpu->dev.minor);
	f = fopen(path, "r");
	if (!f)
		return -errno;
	*fences = '\0';
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "vm %u pid %*d resv %u", &id, resv) == 2) {
			mine = id == gpu->vm.id && !found;
			found += mine;
			if (mine)
				found = *resv;
		} else if (mine) {
			strncat(fences, line, size - strlen(fences) - 1);
		}
	}
	fclose(f);
	*resv = found;
	return found ? 0 : -ENOENT;
}

/* ------------------------------------------------ each allocation fails in turn */

static inline int fail_nth_begin(void)
{
	int ret = write_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");

	if (!ret)
		ret = write_text("/sys/kernel/debug/failslab/verbose", "0");
	if (!ret)
		ret = write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	if (!ret)
		ret = write_text("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	if (!ret)
		ret = write_text("/sys/kernel/debug/fail_page_alloc/verbose", "0");
	return ret;
}

static inline void fail_nth_end(void)
{
	write_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "Y");
	write_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "Y");
}

/*
 * Makes @call with its @nth allocation failing: what it returned, and whether it
 * had that many.
 */
#define FAIL_NTH(fd__, nth__, reached__, call__)				\
	({									\
		char text__[16];						\
		int ret__, len__ = snprintf(text__, sizeof(text__), "%u", nth__); \
										\
		if (pwrite(fd__, text__, len__, 0) != len__)			\
			return;							\
		ret__ = (call__);						\
		memset(text__, 0, sizeof(text__));				\
		if (pread(fd__, text__, sizeof(text__) - 1, 0) <= 0)		\
			return;							\
		reached__ = !atoi(text__);					\
		if (pwrite(fd__, "0", 1, 0) != 1)				\
			return;							\
		ret__;								\
	})

FIXTURE_SETUP(bound)
{
	int ret;

	self->page = page_size();
	self->placement = variant->placement;
	ret = topology(variant->n, variant->hives, 64);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	if (ret == -ENOENT)
		SKIP(return, "no debugfs");
	ASSERT_EQ(0, ret);
	for (unsigned int i = 0; i < variant->n; i++) {
		ASSERT_EQ(0, bound_open(&self->gpu[i], i, variant->flags));
		self->violations += bound_violations(&self->gpu[i]);
		self->n++;
	}
}

FIXTURE_TEARDOWN(bound)
{
	uint64_t violations = 0;

	for (unsigned int i = 0; i < self->n; i++) {
		struct drm_vsvm_error error;
		char text[128];

		/* Records that no test asked for say why it failed, if it did. */
		while (self->gpu[i].vm.id && !vsvm_error_take(&self->gpu[i].vm, &error))
			TH_LOG("device %u: %s", i, vsvm_error_format(&error, text, sizeof(text)));
		EXPECT_EQ(0, bound_close(&self->gpu[i]));
	}
	/* The bindings are gone by now, too. */
	for (unsigned int i = 0; i < self->n; i++) {
		if (!vsvm_open(&self->gpu[i].dev, i)) {
			violations += bound_violations(&self->gpu[i]);
			vsvm_close(&self->gpu[i].dev);
		}
	}
	EXPECT_EQ(self->violations, violations);
}

#define BOUND_TEST(name)	TEST_F_TIMEOUT(bound, name, TEST_LIMIT)

#define for_each_bound(pos, self)						\
	for (struct bound *pos = (self)->gpu; pos < (self)->gpu + (self)->n; pos++)

/* The job failed at @addr; nothing else is in the VM's records. */
#define ASSERT_BOUND_ERROR(call, gpu__, error__, addr__)			\
	do {									\
		struct drm_vsvm_error record__;					\
										\
		ASSERT_EQ(-EIO, (call));					\
		ASSERT_EQ(0, vsvm_error_take(&(gpu__)->vm, &record__));		\
		ASSERT_EQ((__u32)(error__), record__.error);			\
		ASSERT_EQ((__u64)(addr__), record__.addr);			\
		ASSERT_EQ(-ENODATA, vsvm_error_take(&(gpu__)->vm, &record__));	\
	} while (0)

#endif /* _GPUSVM_BOUND_H_ */
