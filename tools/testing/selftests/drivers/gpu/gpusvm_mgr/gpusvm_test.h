/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The fixture that most programs use: one, two or four devices with a VM each.
 * To be included once, by the file that has the tests.
 */
#ifndef _GPUSVM_TEST_H_
#define _GPUSVM_TEST_H_

#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"

#include "gpusvm_util.h"

/* Flags of the VMs, beside DRM_VSVM_VM_MIRROR. */
#ifndef GPUS_FLAGS
#define GPUS_FLAGS	0
#endif

/* Longer than any wait in a test, for a debug kernel under emulation. */
#define TEST_LIMIT	240

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

/* A program with a fixture of its own does without. */
#ifndef GPUSVM_NO_FIXTURE
FIXTURE(gpus)
{
	struct gpus *g;
	struct gpu *gpu;
	size_t page;
};

FIXTURE_VARIANT(gpus)
{
	unsigned int n;
};

FIXTURE_VARIANT_ADD(gpus, one)
{
	.n = 1,
};

FIXTURE_VARIANT_ADD(gpus, two)
{
	.n = 2,
};

FIXTURE_VARIANT_ADD(gpus, four)
{
	.n = 4,
};

FIXTURE_SETUP(gpus)
{
	int ret = 0;

	self->page = page_size();
	/* What ran before may have left little memory, and devices that reach no other's. */
	if (migrating())
		ret = topology(variant->n, 1, 256);
	if (!ret)
		ret = gpus_open(&self->g, variant->n, GPUS_FLAGS);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	ASSERT_EQ(0, ret);
	self->gpu = self->g->gpu;
}

FIXTURE_TEARDOWN(gpus)
{
	/* Not allowed to abort in here, but to fail. */
	if (self->g) {
		/* Records that no test asked for say why it failed, if it did. */
		for (unsigned int i = 0; i < self->g->n; i++)
			gpu_explain(&self->gpu[i]);
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
}
#endif /* GPUSVM_NO_FIXTURE */

#define GPU_TEST(name)	TEST_F_TIMEOUT(gpus, name, TEST_LIMIT)

#define for_each_gpu(pos, self)						\
	for (struct gpu *pos = (self)->g->gpu; pos < (self)->g->gpu + (self)->g->n; pos++)

/* @call ran a job: it failed, and the record of the VM says why and where. */
#define ASSERT_GPU_ERROR(call, gpu__, error__, addr__, flags__)			\
	do {									\
		struct drm_vsvm_error record__;					\
										\
		ASSERT_EQ(-EIO, (call));					\
		ASSERT_EQ(0, vsvm_error_take(&(gpu__)->vm, &record__));		\
		ASSERT_EQ((__u32)(error__), record__.error);			\
		ASSERT_EQ((__u64)(uintptr_t)(addr__), record__.addr);		\
		ASSERT_EQ((__u32)(flags__), record__.flags);			\
	} while (0)

#define ASSERT_NO_MORE_ERRORS(gpu__)						\
	do {									\
		struct drm_vsvm_error record__;					\
										\
		ASSERT_EQ(-ENODATA, vsvm_error_take(&(gpu__)->vm, &record__));	\
	} while (0)

/*
 * A child process that reports by its exit status; what it runs must not use
 * the harness's assertions.
 */
static inline int run_child(int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(stderr);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(fn(arg));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* In a child: says which line failed, and ends it with a status that is not 0. */
#define CHECK(cond)								\
	do {									\
		if (!(cond)) {							\
			fprintf(stderr, "# %s:%d: not so in child %d: %s\n",	\
				__FILE__, __LINE__, getpid(), #cond);		\
			return 1;						\
		}								\
	} while (0)

#endif /* _GPUSVM_TEST_H_ */
