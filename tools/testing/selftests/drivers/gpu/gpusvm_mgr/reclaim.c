// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Too little memory: control groups whose limit is below what CPU and devices work on,
 * so that each fault of either reclaims, and calls the notifier under it; and processes
 * that are killed for want of memory while devices have theirs mapped.
 *
 * What a process does that may be killed it does in a child, which is in the group.
 */
#include <dirent.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"

#define CGROUP		"/sys/fs/cgroup"
/* Of the group, and what is used: more, by far, and less than there is swap. */
#define LIMIT		(24 * MIB)
#define SIZE		(40 * MIB)
#define STRIDE		(64 * KIB)
#define ROUNDS		2U
#define RECLAIM_LIMIT	600
/* Of one that is killed, mapped on its devices. */
#define VICTIM_SIZE	(4 * MIB)
#define VICTIM_KIB	((long)(VICTIM_SIZE / KIB))
#define VICTIM_WAITS	12000
#define MANAGERS	"/sys/kernel/debug/drm_gpusvm_mgr"
#define HUNG_TASK	"/proc/sys/kernel/hung_task_timeout_secs"

FIXTURE(reclaim)
{
	char group[64];
	uint64_t violations;
	unsigned int n;
	uint32_t flags;
};

FIXTURE_VARIANT(reclaim)
{
	unsigned int n;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(reclaim, one)
{
	.n = 1,
};

FIXTURE_VARIANT_ADD(reclaim, two_migrate)
{
	.n = 2, .flags = DRM_VSVM_VM_MIGRATE,
};

FIXTURE_VARIANT_ADD(reclaim, four_eager)
{
	.n = 4, .flags = DRM_VSVM_VM_EAGER,
};

static int group_set(const char *group, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return write_text(path, text);
}

/* A number of memory.events of the group, or -1. */
static long group_event(const char *group, const char *name)
{
	char path[128], line[128], key[64];
	long value, found = -1;
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.events", group);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %ld", key, &value) == 2 && !strcmp(key, name))
			found = value;
	if (file)
		fclose(file);
	return found;
}

static uint64_t all_violations(unsigned int n)
{
	uint64_t sum = 0, value;

	for (unsigned int i = 0; i < n; i++) {
		struct vsvm_device dev;

		if (vsvm_open(&dev, i))
			return ~0ULL;
		if (vsvm_debugfs_get(&dev, "violations", &value))
			value = 0;
		sum += value;
		vsvm_close(&dev);
	}
	return sum;
}

FIXTURE_SETUP(reclaim)
{
	unsigned int minors[MAX_GPUS];
	char limit[24];

	if (vsvm_list(minors, MAX_GPUS) < (int)variant->n)
		SKIP(return, "fewer than %u devices", variant->n);
	self->n = variant->n;
	self->flags = variant->flags;
	self->violations = all_violations(self->n);
	write_text(CGROUP "/cgroup.subtree_control", "+memory");
	snprintf(self->group, sizeof(self->group), CGROUP "/gpusvm-reclaim-%d", getpid());
	if (mkdir(self->group, 0755)) {
		self->group[0] = 0;
		SKIP(return, "no control groups");
	}
	snprintf(limit, sizeof(limit), "%lu", LIMIT);
	if (group_set(self->group, "memory.max", limit)) {
		rmdir(self->group);
		self->group[0] = 0;
		SKIP(return, "no memory control group");
	}
}

FIXTURE_TEARDOWN(reclaim)
{
	if (!self->n)
		return;
	EXPECT_EQ(self->violations, all_violations(self->n));
	/* What is left in it is uncharged by and by. */
	for (int i = 0; self->group[0] && rmdir(self->group) && i < 3000; i++)
		usleep(10000);
}

#define RECLAIM_TEST(name)	TEST_F_TIMEOUT(reclaim, name, RECLAIM_LIMIT)

/*
 * Adds 1 to a word in each stride. Where reclaim takes the same memory again and again
 * a fault may end with EBUSY: then goes on with the instruction that met it. Meanwhile
 * the group is reclaimed from @reclaims times.
 */
static int adds(struct gpu *gpu, char *buf, size_t size, size_t stride, const char *group,
		unsigned int reclaims)
{
	const size_t num = size / stride;
	struct drm_vsvm_error error;
	VSVM_JOB(job, 256);
	int ret;

	for (size_t first = 0; first < num;) {
		vsvm_job_reset(&job);
		for (size_t i = first; i < num && job.num < job.max; i++)
			vsvm_job_add(&job, buf + i * stride, sizeof(uint64_t), 1);
		ret = gpu_start(gpu, 1, &job);
		if (ret)
			return ret;
		/* EAGAIN: it was less than that. */
		for (; reclaims; reclaims--)
			group_set(group, "memory.reclaim", "2M");
		ret = gpu_finish(gpu, 1);
		if (!ret) {
			first += job.num;
			continue;
		}
		if (ret != -EIO)
			return ret;
		ret = vsvm_error_take(&gpu->vm, &error);
		if (ret || error.error != EBUSY)
			return ret ? ret : -(int)error.error;
		first += error.instr;
	}
	return 0;
}

/* Devices in turn, and the CPU in between. */
static int limit_child(void *arg)
{
	const struct _test_data_reclaim *self = arg;
	struct gpus *gpus;
	uint64_t want = 0;
	char *buf;

	/* Fences and VMs first, so that they are not what is short of memory. */
	CHECK(!gpus_open(&gpus, self->n, self->flags));
	CHECK(!group_set(self->group, "cgroup.procs", "0"));
	buf = buf_alloc(SIZE);
	CHECK(buf);
	for (size_t at = 0; at < SIZE; at += STRIDE)
		*(volatile uint64_t *)(buf + at) = at;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (unsigned int i = 0; i < gpus->n; i++) {
			CHECK(!adds(&gpus->gpu[i], buf, SIZE, STRIDE, NULL, 0));
			want++;
		}
		/* And the other way round, while half of it is with a device. */
		for (size_t at = SIZE; at; at -= STRIDE)
			*(volatile uint64_t *)(buf + at - STRIDE) += 1;
		want++;
	}
	for (size_t at = 0; at < SIZE; at += STRIDE)
		CHECK(*(volatile uint64_t *)(buf + at) == at + want);
	CHECK(gpus_sum(gpus, invalidations) > 0);
	CHECK(!gpus_violations(gpus));
	buf_free(buf, SIZE);
	/* The walker is in there. */
	CHECK(!gpus_close(gpus));
	return 0;
}

/*
 * Twice as much as there may be, and no byte of it is lost. What is with a device is
 * charged to the group, too, and only the device's driver can take it from there: where
 * that is most of it, the group has nothing to reclaim, and the process is killed.
 */
RECLAIM_TEST(limit)
{
	int ret;

	if (!swap_available())
		SKIP(return, "no swap");
	ret = run_child(limit_child, self);
	EXPECT_LT(0, group_event(self->group, "max"));
	if (self->flags & DRM_VSVM_VM_MIGRATE && ret == 128 + SIGKILL) {
		EXPECT_LT(0, group_event(self->group, "oom_kill"));
		return;
	}
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, group_event(self->group, "oom_kill"));
}

/* Without swap: each device is at work on memory when there is none left. */
static int oom_child(void *arg)
{
	const struct _test_data_reclaim *self = arg;
	struct gpus *gpus;
	char *buf;

	CHECK(!gpus_open(&gpus, self->n, self->flags));
	CHECK(!group_set(self->group, "cgroup.procs", "0"));
	buf = buf_alloc(8 * LIMIT);
	CHECK(buf);
	memset(buf, 1, LIMIT / 2);
	for (unsigned int i = 0; i < gpus->n; i++) {
		gpu_read_each(&gpus->gpu[i], buf, LIMIT / 2, STRIDE);
		CHECK(!gpu_start_endless(&gpus->gpu[i], 1, (uint64_t *)(buf + i * CHUNK)));
	}
	/* Is not survived. Who moves to a device has room there, but not for all that. */
	for (size_t at = LIMIT / 2; at < 8 * LIMIT; at += page_size())
		*(volatile char *)(buf + at) = 1;
	return 1;
}

/* Is killed; its memory comes back although devices had it, and these go on. */
RECLAIM_TEST(oom)
{
	struct gpus *gpus;
	char *buf;

	ASSERT_EQ(0, group_set(self->group, "memory.swap.max", "0"));
	EXPECT_EQ(128 + SIGKILL, run_child(oom_child, self));
	EXPECT_LT(0, group_event(self->group, "oom_kill"));
	/* All of it is uncharged, what devices held included. */
	for (int i = 0; i < 6000; i++) {
		uint64_t now = ~0ULL;
		char path[128];

		snprintf(path, sizeof(path), "%s/memory.current", self->group);
		ASSERT_EQ(0, read_number(path, &now));
		if (now < LIMIT / 4)
			break;
		ASSERT_GT(5999, i);
		usleep(10000);
	}
	ASSERT_EQ(0, gpus_open(&gpus, self->n, self->flags));
	buf = buf_alloc(CHUNK);
	ASSERT_NE(NULL, buf);
	buf_init(buf, CHUNK, 1);
	for (unsigned int i = 0; i < self->n; i++) {
		ASSERT_EQ(0, gpu_add(&gpus->gpu[i], buf, 64 * KIB, 1));
	}
	ASSERT_EQ(-1, buf_check(buf, 64 * KIB, 1, self->n));
	buf_free(buf, CHUNK);
	ASSERT_EQ(0, gpus_close(gpus));
}

/* Somebody reclaims from the group, again and again, while all of them work. */
static int pressure_child(void *arg)
{
	const struct _test_data_reclaim *self = arg;
	size_t size = LIMIT / 4;
	struct gpus *gpus;
	uint64_t want = 0;
	char *buf;

	CHECK(!gpus_open(&gpus, self->n, self->flags));
	CHECK(!group_set(self->group, "cgroup.procs", "0"));
	buf = buf_alloc(size);
	CHECK(buf);
	buf_init(buf, size, 1);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (unsigned int i = 0; i < gpus->n; i++) {
			CHECK(!adds(&gpus->gpu[i], buf, size, size / 256, self->group, 4));
			want++;
		}
	}
	for (size_t at = 0; at < size; at += size / 256)
		CHECK(*(volatile uint64_t *)(buf + at) == pattern(1, WORDS(at)) + want);
	CHECK(!gpus_violations(gpus));
	buf_free(buf, size);
	CHECK(!gpus_close(gpus));
	return 0;
}

RECLAIM_TEST(pressure)
{
	if (!swap_available())
		SKIP(return, "no swap");
	if (group_set(self->group, "memory.reclaim", "0") == -ENOENT)
		SKIP(return, "no memory.reclaim");
	ASSERT_EQ(0, run_child(pressure_child, self));
}

/*
 * Processes that are killed, but do not end: a thread is stuck in the kernel. Their
 * memory is then taken away by the OOM reaper, or by process_mrelease(), under which
 * notifiers must not block. Which they do, if their devices had to be waited for.
 */
/*
 * A file system that is frozen until @release is closed, if by the end of the test. Who
 * writes to @file is stuck that long.
 */
struct freeze {
	pid_t pid;
	int release;
	int file;
	uint64_t hung;
};

struct victim {
	struct _test_data_reclaim *self;
	/* Nothing of its buffer is mapped on a device any more. */
	bool unmapped;
	/* Goes on until there is no memory, instead of waiting. */
	bool greedy;
	const struct freeze *freeze;
	pid_t pid;
	/* What the child says. */
	volatile pid_t stuck;
	volatile int ready;
};

static int freeze_begin(struct freeze *freeze)
{
	const char *dir = getenv("GPUSVM_EXT2");
	char path[256], byte;
	int fds[2], fd;

	if (!dir)
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/stuck", dir);
	freeze->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (freeze->file < 0)
		return -errno;
	fd = open(dir, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pipe(fds))
		return -errno;
	if (ioctl(fd, FIFREEZE, 0))
		return -errno;
	freeze->pid = fork();
	if (freeze->pid < 0) {
		ioctl(fd, FITHAW, 0);
		return -errno;
	}
	if (!freeze->pid) {
		close(fds[1]);
		while (read(fds[0], &byte, 1) < 0 && errno == EINTR)
			;
		_exit(ioctl(fd, FITHAW, 0) ? 1 : 0);
	}
	close(fds[0]);
	close(fd);
	fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	freeze->release = fds[1];
	/* That a task hangs for so long is no news. */
	if (read_number(HUNG_TASK, &freeze->hung))
		freeze->hung = 0;
	write_text(HUNG_TASK, "0");
	return 0;
}

static int freeze_end(struct freeze *freeze)
{
	int status = -1;
	char text[24];

	close(freeze->release);
	close(freeze->file);
	waitpid(freeze->pid, &status, 0);
	snprintf(text, sizeof(text), "%lu", (unsigned long)freeze->hung);
	write_text(HUNG_TASK, text);
	return status;
}

static void *victim_stuck(void *arg)
{
	struct victim *victim = arg;
	char byte = 1;

	victim->stuck = syscall(SYS_gettid);
	if (write(victim->freeze->file, &byte, 1) < 0)
		perror("# write");
	return NULL;
}

/* Is the thread asleep in a write? Nothing of that is on the way out any more. */
static bool victim_is_stuck(pid_t tid)
{
	char path[64], line[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	fclose(file);
	return line[0] != 'r' && atoi(line) == SYS_write;
}

static int victim_child(struct victim *victim)
{
	const struct _test_data_reclaim *self = victim->self;
	struct gpus *gpus;
	pthread_t thread;
	char *buf;

	/* Else what is frozen stays so for as long as this one is stuck. */
	close(victim->freeze->release);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(!gpus_open(&gpus, self->n, self->flags));
	CHECK(!group_set(self->group, "cgroup.procs", "0"));
	buf = buf_alloc(8 * LIMIT);
	CHECK(buf);
	memset(buf, 1, VICTIM_SIZE);
	for (unsigned int i = 0; i < gpus->n; i++)
		CHECK(!gpu_read_each(&gpus->gpu[i], buf, VICTIM_SIZE, STRIDE));
	if (victim->unmapped) {
		CHECK(!mprotect(buf, 8 * LIMIT, PROT_READ));
		CHECK(!mprotect(buf, 8 * LIMIT, PROT_READ | PROT_WRITE));
	}

	CHECK(!pthread_create(&thread, NULL, victim_stuck, victim));
	for (int i = 0; !victim->stuck || !victim_is_stuck(victim->stuck); i++) {
		CHECK(i < VICTIM_WAITS);
		usleep(10000);
	}
	victim->ready = 1;
	if (victim->greedy)
		for (size_t at = VICTIM_SIZE; at < 8 * LIMIT; at += page_size())
			*(volatile char *)(buf + at) = 1;
	for (;;)
		pause();
	return 1;
}

/* Returns when a thread of it is stuck. */
static int victim_start(struct victim *victim)
{
	pid_t pid;

	fflush(stderr);
	/* Not at once into what is shared: there are two that fork() returns to. */
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(victim_child(victim));
	victim->pid = pid;
	for (int i = 0; i < VICTIM_WAITS && !victim->ready; i++) {
		if (waitpid(victim->pid, NULL, WNOHANG))
			return -ECHILD;
		usleep(10000);
	}
	return victim->ready ? 0 : -ETIMEDOUT;
}

static int victim_end(const struct victim *victim)
{
	int status;

	if (waitpid(victim->pid, &status, 0) != victim->pid)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A counter of its manager; the walker has looked at that. -1: there is none. */
static long victim_counter(const struct victim *victim, const char *name)
{
	char prefix[16], path[320], line[512], key[64];
	struct dirent *entry;
	long value, found = -1;
	FILE *file;
	DIR *dir;

	snprintf(prefix, sizeof(prefix), "%d-", victim->pid);
	dir = opendir(MANAGERS);
	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", MANAGERS, entry->d_name);
		if (write_text(path, "validate"))
			continue;
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file))
			if (sscanf(line, "%63[^:]: %ld", key, &value) == 2 && !strcmp(key, name))
				found = value;
		if (file)
			fclose(file);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* KiB that the process has in memory, or -1; its first thread has none any more. */
static long victim_rss(const struct victim *victim)
{
	char path[64], line[128];
	long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", victim->pid, victim->stuck);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "RssAnon:", 8))
			kib = atol(line + 8);
	if (file)
		fclose(file);
	return kib;
}

static struct victim *victim_new(struct _test_data_reclaim *self, const struct freeze *freeze)
{
	struct victim *victim;

	victim = mmap(NULL, sizeof(*victim), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (victim == MAP_FAILED)
		return NULL;
	victim->self = self;
	victim->freeze = freeze;
	return victim;
}

/*
 * What devices have is refused, and stays; what they had is taken. Either way the
 * fences and results of the devices are mapped, unless they are moved: then the CPU's
 * look at them has fetched them, and may have left nothing that is mapped.
 */
RECLAIM_TEST(mrelease)
{
	for (int unmapped = 0; unmapped < 2; unmapped++) {
		struct victim *victim;
		struct freeze freeze;
		long before, after;
		int pidfd, ret;

		ret = freeze_begin(&freeze);
		if (ret == -ENOENT || ret == -EOPNOTSUPP)
			SKIP(return, "GPUSVM_EXT2 names nothing that can be frozen");
		ASSERT_EQ(0, ret);
		victim = victim_new(self, &freeze);
		ASSERT_NE(NULL, victim);
		victim->unmapped = unmapped;
		ASSERT_EQ(0, victim_start(victim));
		pidfd = syscall(SYS_pidfd_open, victim->pid, 0);
		ASSERT_LE(0, pidfd);
		before = victim_rss(victim);
		ASSERT_LT(VICTIM_KIB * 3 / 4, before);
		EXPECT_EQ(0, victim_counter(victim, "nonblock_refused"));

		ASSERT_EQ(0, kill(victim->pid, SIGKILL));
		ret = syscall(SYS_process_mrelease, pidfd, 0) ? -errno : 0;
		if (ret || !unmapped || !(self->flags & DRM_VSVM_VM_MIGRATE)) {
			EXPECT_EQ(-EAGAIN, ret);
			EXPECT_LT(0, victim_counter(victim, "nonblock_refused"));
		}
		after = victim_rss(victim);
		EXPECT_LE(0, after);
		/* Gone, or still there. */
		EXPECT_LT(VICTIM_KIB / 2, unmapped ? before - after : after);
		/* It is stuck still, so there was a process to take it from. */
		EXPECT_EQ(0, waitpid(victim->pid, NULL, WNOHANG));

		EXPECT_EQ(0, freeze_end(&freeze));
		EXPECT_EQ(128 + SIGKILL, victim_end(victim));
		close(pidfd);
		munmap(victim, sizeof(*victim));
	}
}

/*
 * The OOM reaper itself, that comes two seconds after the kill to who is not gone by
 * then. And another one that has to die with it.
 */
RECLAIM_TEST(reaper)
{
	struct victim *victim, *other;
	struct freeze freeze;
	int ret;

	/* What there is of them in system memory is reclaimed before anybody is killed. */
	if (self->flags & DRM_VSVM_VM_MIGRATE)
		SKIP(return, "memory that moves may not be mapped any more by then");
	ASSERT_EQ(0, group_set(self->group, "memory.swap.max", "0"));
	ASSERT_EQ(0, group_set(self->group, "memory.oom.group", "1"));
	ret = freeze_begin(&freeze);
	if (ret == -ENOENT || ret == -EOPNOTSUPP)
		SKIP(return, "GPUSVM_EXT2 names nothing that can be frozen");
	ASSERT_EQ(0, ret);
	other = victim_new(self, &freeze);
	victim = victim_new(self, &freeze);
	ASSERT_NE(NULL, other);
	ASSERT_NE(NULL, victim);
	victim->greedy = true;
	EXPECT_EQ(0, victim_start(other));
	EXPECT_EQ(0, victim_start(victim));

	/* Nothing else calls notifiers that must not block. */
	for (int i = 0; i < VICTIM_WAITS; i++) {
		if (victim_counter(victim, "nonblock_refused") > 0 &&
		    victim_counter(other, "nonblock_refused") > 0)
			break;
		usleep(10000);
	}
	EXPECT_LT(0, victim_counter(victim, "nonblock_refused"));
	EXPECT_LT(0, victim_counter(other, "nonblock_refused"));
	EXPECT_LT(0, group_event(self->group, "oom_group_kill"));
	EXPECT_LE(2, group_event(self->group, "oom_kill"));

	EXPECT_EQ(0, freeze_end(&freeze));
	EXPECT_EQ(128 + SIGKILL, victim_end(victim));
	EXPECT_EQ(128 + SIGKILL, victim_end(other));
	munmap(victim, sizeof(*victim));
	munmap(other, sizeof(*other));
}

TEST_HARNESS_MAIN
