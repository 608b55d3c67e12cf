// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A device is pulled out while it works, and put in again: its own jobs end,
 * what it wrote stays, and the other devices do not notice.
 */
#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define PLUG	"/sys/kernel/debug/vsvm/plug"
#define UNPLUG	"/sys/kernel/debug/vsvm/unplug"
#define SIZE	(256 * KIB)

/* The last device is the one that goes; the others are the fixture's. */
FIXTURE(unplug)
{
	struct gpus *g;
	struct gpu *gpu;
	struct gpu *victim;
	unsigned int nr;
	char name[16];
	size_t page;
};

FIXTURE_VARIANT(unplug)
{
	unsigned int others;
};

FIXTURE_VARIANT_ADD(unplug, alone)
{
	.others = 0,
};

FIXTURE_VARIANT_ADD(unplug, one_other)
{
	.others = 1,
};

FIXTURE_VARIANT_ADD(unplug, three_others)
{
	.others = 3,
};

FIXTURE_SETUP(unplug)
{
	unsigned int minors[MAX_GPUS];
	int n;

	self->page = page_size();
	if (access(UNPLUG, W_OK))
		SKIP(return, "no " UNPLUG);
	n = vsvm_list(minors, MAX_GPUS);
	ASSERT_LT(0, n);
	if ((unsigned int)n < variant->others + 1)
		SKIP(return, "fewer than %u devices", variant->others + 1);

	/* The highest number is the one that was made last, also next time. */
	self->nr = n - 1;
	snprintf(self->name, sizeof(self->name), "%u", self->nr);
	self->victim = buf_alloc(sizeof(*self->victim));
	ASSERT_NE(NULL, self->victim);
	ASSERT_EQ(0, gpus_open(&self->g, variant->others, 0));
	self->gpu = self->g->gpu;
	ASSERT_EQ(0, gpu_open(self->victim, self->nr, 0));
	ASSERT_EQ(0, gpu_warm(self->victim));
}

FIXTURE_TEARDOWN(unplug)
{
	if (self->g)
		EXPECT_EQ(0, gpus_violations(self->g));
	if (self->victim) {
		struct drm_vsvm_stats_data stats;

		/* Each test leaves a new VM on a new device, which has none. */
		EXPECT_EQ(0, vsvm_stats(&self->victim->vm, &stats));
		EXPECT_EQ(0, stats.violations);
		EXPECT_EQ(0, gpu_close(self->victim));
		buf_free(self->victim, sizeof(*self->victim));
	}
	EXPECT_EQ(0, gpus_close(self->g));
}

#define UNPLUG_TEST(name)	TEST_F_TIMEOUT(unplug, name, TEST_LIMIT)

/* What was opened on the old device goes, and the new one takes over. */
static int replug(struct gpu *victim, unsigned int nr)
{
	int ret;

	/* Of a device that is gone, only the file can be closed. */
	vsvm_close(&victim->dev);
	ret = vsvm_plug(nr);
	if (!ret)
		ret = gpu_open(victim, nr, 0);
	if (!ret)
		ret = gpu_warm(victim);
	return ret;
}

/* Of the files that stand for a slot, where devices have none. */
UNPLUG_TEST(arguments)
{
	char function[VSVM_PCI_NAME];

	if (!vsvm_pci_function(0, function))
		SKIP(return, "devices are on PCI");
	EXPECT_EQ(-EEXIST, write_text(PLUG, self->name));
	EXPECT_EQ(-EINVAL, write_text(PLUG, "16"));
	EXPECT_EQ(-EINVAL, write_text(UNPLUG, "16"));
	EXPECT_EQ(-ENODEV, write_text(UNPLUG, "15"));
	ASSERT_EQ(0, write_text(UNPLUG, self->name));
	EXPECT_EQ(-ENODEV, write_text(UNPLUG, self->name));
	ASSERT_EQ(0, replug(self->victim, self->nr));
}

/* All that can be asked of it then has one answer. */
UNPLUG_TEST(every_call_fails)
{
	struct drm_vsvm_stats_data stats;
	struct drm_vsvm_error error;
	struct drm_vsvm_query info;
	struct vsvm_vm vm;
	VSVM_JOB(job, 1);

	vsvm_job_nop(&job);
	ASSERT_EQ(0, gpu_run(self->victim, &job));
	ASSERT_EQ(0, vsvm_unplug(self->nr));

	EXPECT_EQ(-ENODEV, gpu_run(self->victim, &job));
	EXPECT_EQ(-ENODEV, vsvm_query(&self->victim->dev, &info));
	EXPECT_EQ(-ENODEV, vsvm_vm_create(&self->victim->dev, DRM_VSVM_VM_MIRROR, &vm));
	EXPECT_EQ(-ENODEV, vsvm_stats(&self->victim->vm, &stats));
	EXPECT_EQ(-ENODEV, vsvm_error_take(&self->victim->vm, &error));
	EXPECT_EQ(-ENODEV, vsvm_vm_destroy(&self->victim->vm));
	ASSERT_EQ(0, replug(self->victim, self->nr));
}

/* I-9 for a device that goes: what it wrote is in the memory, for all. */
UNPLUG_TEST(its_writes_stay)
{
	char *buf = buf_alloc(SIZE);
	uint64_t sum;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 1);
	ASSERT_EQ(0, gpu_add(self->victim, buf, SIZE, 5));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	ASSERT_EQ(0, vsvm_unplug(self->nr));

	ASSERT_EQ(-1, buf_check(buf, SIZE, 1, 5 + self->g->n));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_checksum(gpu, buf, SIZE, &sum));
		EXPECT_EQ(vsvm_checksum(buf, SIZE), sum);
	}
	/* An invalidation no longer finds it. */
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
	if (self->g->n)
		ASSERT_EQ(0, gpus_validate());

	ASSERT_EQ(0, replug(self->victim, self->nr));
	buf_init(buf, SIZE, 2);
	ASSERT_EQ(0, gpu_add(self->victim, buf, SIZE, 3));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 2, 3));
	buf_free(buf, SIZE);
}

struct waiting {
	struct gpu *gpu;
	int ret;
};

static void *waiting_thread(void *arg)
{
	struct waiting *w = arg;

	w->ret = gpu_finish(w->gpu, 0);
	return NULL;
}

/* Jobs that would go on for hours, on all devices; one who waits for them. */
UNPLUG_TEST(jobs_in_flight)
{
	volatile uint64_t *words = buf_alloc(SIZE);
	struct waiting w = { .gpu = self->victim };
	const unsigned int n = self->g->n;
	pthread_t thread;
	uint64_t value;

	ASSERT_NE(NULL, words);
	for (unsigned int i = 0; i < n; i++)
		ASSERT_EQ(0, gpu_start_endless(&self->gpu[i], 0, &words[8 * i]));
	for (unsigned int queue = 0; queue < 4; queue++)
		ASSERT_EQ(0, gpu_start_endless(self->victim, queue, &words[1024]));
	ASSERT_TRUE(word_changes(&words[1024], 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, waiting_thread, &w));

	ASSERT_EQ(0, vsvm_unplug(self->nr));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(-ENODEV, w.ret);

	/* It has stopped, they have not. */
	value = words[1024];
	for (unsigned int i = 0; i < n; i++)
		ASSERT_TRUE(word_changes(&words[8 * i], words[8 * i]));
	EXPECT_EQ(value, words[1024]);

	for (unsigned int i = 0; i < n; i++) {
		ASSERT_EQ(0, vsvm_vm_destroy(&self->gpu[i].vm));
		self->gpu[i].vm.id = 0;
	}
	ASSERT_EQ(0, replug(self->victim, self->nr));
	buf_free((void *)words, SIZE);
}

/* Its fault waits for somebody who never answers; the unplug does not. */
UNPLUG_TEST(stuck_fault)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_api api = { .api = UFFD_API };
	char *buf = buf_alloc(SIZE);
	struct uffd_msg msg;
	VSVM_JOB(job, 1);
	int fd;

	ASSERT_NE(NULL, buf);
	fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		fd = -1;
	}
	if (fd >= 0) {
		reg.range.start = (uintptr_t)buf;
		reg.range.len = SIZE;
		ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
		vsvm_job_fill(&job, buf, 64, 1);
		ASSERT_EQ(0, gpu_start(self->victim, 0, &job));
		/* The fault has come as far as here. */
		ASSERT_EQ((ssize_t)sizeof(msg), read(fd, &msg, sizeof(msg)));
		ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
	}
	ASSERT_EQ(0, vsvm_unplug(self->nr));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_warm(gpu));
	}
	if (fd >= 0) {
		close(fd);
		/* It was not written by the one that is gone. */
		ASSERT_EQ(-1, buf_check_value(buf, SIZE, 0));
	}
	ASSERT_EQ(0, replug(self->victim, self->nr));
	buf_free(buf, SIZE);
	if (fd < 0)
		SKIP(return, "no userfaultfd");
}

struct churn {
	volatile bool stop;
	int err;
	uint64_t rounds;
};

static void *churn_thread(void *arg)
{
	struct churn *c = arg;

	do {
		char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (p == MAP_FAILED)
			c->err = -errno;
		else if (munmap(p, SIZE))
			c->err = -errno;
		c->rounds++;
	} while (!c->stop && !c->err);
	return NULL;
}

/* Out and in, again and again, while the CPU unmaps and the others work. */
UNPLUG_TEST(again_and_again)
{
	volatile uint64_t *words = buf_alloc(SIZE);
	struct churn churn = { 0 };
	const unsigned int n = self->g->n;
	char *buf = buf_alloc(SIZE);
	pthread_t thread;

	ASSERT_NE(NULL, words);
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 3);
	ASSERT_EQ(0, pthread_create(&thread, NULL, churn_thread, &churn));
	for (unsigned int i = 0; i < 60000 && !churn.rounds; i++)
		usleep(1000);
	for (unsigned int i = 0; i < n; i++)
		ASSERT_EQ(0, gpu_start_endless(&self->gpu[i], 0, &words[8 * i]));

	for (unsigned int round = 0; round < 4; round++) {
		uint64_t before = words[1024];

		ASSERT_EQ(0, gpu_add(self->victim, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_start_endless(self->victim, 1, &words[1024]));
		ASSERT_TRUE(word_changes(&words[1024], before));
		ASSERT_EQ(0, vsvm_unplug(self->nr));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 3, round + 1));
		for (unsigned int i = 0; i < n; i++)
			ASSERT_TRUE(word_changes(&words[8 * i], words[8 * i]));
		ASSERT_EQ(0, replug(self->victim, self->nr));
	}

	churn.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, churn.err);
	EXPECT_LT(0, churn.rounds);
	for (unsigned int i = 0; i < n; i++) {
		ASSERT_EQ(0, vsvm_vm_destroy(&self->gpu[i].vm));
		self->gpu[i].vm.id = 0;
	}
	buf_free(buf, SIZE);
	buf_free((void *)words, SIZE);
}

TEST_HARNESS_MAIN
