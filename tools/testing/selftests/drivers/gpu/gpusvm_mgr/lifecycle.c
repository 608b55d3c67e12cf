// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * VMs, files and processes that begin and end at any moment, also with jobs on
 * their way; and who may use what of another process: nobody, nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "gpusvm_test.h"

#define SIZE	(64 * KIB)

/* The devices answer and compute right, in this process. */
static int healthy(struct gpus *g)
{
	char *buf = buf_alloc(SIZE);
	int ret = buf ? 0 : -ENOMEM;

	if (buf)
		buf_init(buf, SIZE, 9);
	for (unsigned int i = 0; !ret && i < g->n; i++)
		ret = gpu_add(&g->gpu[i], buf, SIZE, 1);
	if (!ret && buf_check(buf, SIZE, 9, g->n) >= 0)
		ret = -EILSEQ;
	buf_free(buf, SIZE);
	return ret;
}

/* Engines must be free again: as many short jobs at once as there are queues. */
static int all_queues(struct gpu *gpu)
{
	int ret;

	for (unsigned int q = 0; q < DRM_VSVM_MAX_QUEUES; q++) {
		VSVM_JOB(job, 1);

		vsvm_job_fill(&job, &gpu->result[q], 8, q + 1);
		ret = gpu_start(gpu, q, &job);
		if (ret)
			return ret;
	}
	for (unsigned int q = 0; q < DRM_VSVM_MAX_QUEUES; q++) {
		ret = gpu_finish(gpu, q);
		if (ret)
			return ret;
		if (gpu->result[q] != q + 1)
			return -EILSEQ;
	}
	return 0;
}

/* Each call on a VM of another process is refused, and changes nothing there. */
static int foreign_vm(const struct vsvm_vm *vm)
{
	struct vsvm_vm copy = *vm;
	struct drm_vsvm_stats_data stats;
	struct drm_vsvm_error error;
	uint64_t fence = 5;
	VSVM_JOB(job, 1);

	vsvm_job_nop(&job);
	CHECK(vsvm_exec(&copy, 0, &job, &fence, 6, NULL) == -EPERM);
	CHECK(vsvm_wait(&copy, &fence, 5, 0) == -EPERM);
	CHECK(vsvm_error_take(&copy, &error) == -EPERM);
	CHECK(vsvm_stats(&copy, &stats) == -EPERM);
	CHECK(vsvm_vm_destroy(&copy) == -EPERM);
	CHECK(fence == 5);
	return 0;
}

static int fork_child(void *arg)
{
	struct gpus *g = arg;

	for (unsigned int i = 0; i < g->n; i++) {
		struct vsvm_vm own;
		uint64_t *data = buf_alloc(SIZE);
		VSVM_JOB(job, 1);

		CHECK(data);
		CHECK(!foreign_vm(&g->gpu[i].vm));
		/* A VM of its own on the inherited file is another matter. */
		CHECK(!vsvm_vm_create(&g->gpu[i].dev, DRM_VSVM_VM_MIRROR | backend(), &own));
		CHECK(own.id != g->gpu[i].vm.id);
		vsvm_job_fill(&job, data, SIZE, 1 + i);
		CHECK(!vsvm_run(&own, 0, &job, GPU_TIMEOUT_NS));
		CHECK(buf_check_value(data, SIZE, 1 + i) == -1);
		CHECK(!vsvm_vm_destroy(&own));
		buf_free(data, SIZE);
	}
	return 0;
}

GPU_TEST(fork_inherits_nothing)
{
	ASSERT_EQ(0, run_child(fork_child, self->g));
	ASSERT_EQ(0, healthy(self->g));
}

/* A VM that the child made on the parent's file is not the parent's. */
static int make_vm_child(void *arg)
{
	struct gpu *gpu = arg;
	struct vsvm_vm own;

	CHECK(!vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | backend(), &own));
	/* Left behind on purpose. The id tells the parent. */
	return own.id < 200 ? own.id : 1;
}

GPU_TEST(fork_child_leaves_vm)
{
	for_each_gpu(gpu, self) {
		struct vsvm_vm left = gpu->vm;
		int id = run_child(make_vm_child, gpu);

		ASSERT_LT(1, id);
		ASSERT_NE(gpu->vm.id, (uint32_t)id);
		left.id = id;
		ASSERT_EQ(0, foreign_vm(&left));
	}
	ASSERT_EQ(0, healthy(self->g));
}

struct passed {
	unsigned int devices;
	int to_child[2], to_parent[2];
};

/*
 * A process that never opened a device gets the parent's files, one by one. It
 * takes them by pidfd_getfd(), since sockets are not everywhere.
 */
static int receiver_child(const struct passed *p)
{
	int parent = syscall(__NR_pidfd_open, getppid(), 0);

	CHECK(parent >= 0);
	for (unsigned int i = 0; i < p->devices; i++) {
		/* The id of the first VM on a file. */
		struct vsvm_vm vm = { .id = 1 };
		char byte = 0;
		int fd;

		CHECK(read(p->to_child[0], &fd, sizeof(fd)) == sizeof(fd));
		vm.fd = syscall(__NR_pidfd_getfd, parent, fd, 0);
		CHECK(vm.fd >= 0);
		CHECK(!foreign_vm(&vm));
		CHECK(write(p->to_parent[1], &byte, 1) == 1);
		/* The sender has closed its file by now: this is the last one. */
		CHECK(read(p->to_child[0], &byte, 1) == 1);
		CHECK(!foreign_vm(&vm));
		close(vm.fd);
	}
	close(parent);
	return 0;
}

TEST(fd_passed_on)
{
	struct gpu *gpu = buf_alloc(sizeof(*gpu));
	struct passed p;
	int status, ret;
	char byte = 0;
	pid_t pid;

	ASSERT_NE(NULL, gpu);
	ret = vsvm_list(NULL, 0);
	if (ret <= 0)
		SKIP(return, "no devices");
	p.devices = ret < 4 ? ret : 4;
	ASSERT_EQ(0, pipe(p.to_child));
	ASSERT_EQ(0, pipe(p.to_parent));
	/* Before any device is opened, so that the child has none of them. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(p.to_child[1]);
		close(p.to_parent[0]);
		_exit(receiver_child(&p));
	}
	close(p.to_child[0]);
	close(p.to_parent[1]);
	for (unsigned int i = 0; i < p.devices; i++) {
		int fd;

		ASSERT_EQ(0, gpu_open(gpu, i, 0));
		ASSERT_EQ(1, gpu->vm.id);
		ASSERT_EQ(0, gpu_warm(gpu));
		fd = gpu->dev.fd;
		ASSERT_EQ((ssize_t)sizeof(fd), write(p.to_child[1], &fd, sizeof(fd)));
		ASSERT_EQ(1, read(p.to_parent[0], &byte, 1));
		/* None the worse for what the other one tried. */
		ASSERT_EQ(0, all_queues(gpu));
		/* The VM stays as long as the file is open somewhere. */
		vsvm_close(&gpu->dev);
		ASSERT_EQ(1, write(p.to_child[1], &byte, 1));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	close(p.to_child[1]);
	close(p.to_parent[0]);
	buf_free(gpu, sizeof(*gpu));
}

/* ------------------------------------------------------------ jobs on their way */

struct flight {
	struct gpus *g;
	uint64_t *word;
};

/* On each device two endless jobs and one that waits behind them. */
static int take_off(struct gpus *g, uint64_t *word)
{
	for (unsigned int i = 0; i < g->n; i++) {
		uint64_t *mine = word + 16 * i;
		uint64_t *other = word + 16 * i + 8;

		CHECK(!gpu_start_endless(&g->gpu[i], 5, mine));
		CHECK(!gpu_start_endless(&g->gpu[i], 6, other));
		CHECK(!gpu_start_endless(&g->gpu[i], 6, other));
	}
	/* As far as engines go, the first of each device is running. */
	for (unsigned int i = 0; i < g->n; i++)
		CHECK(word_changes(word + 16 * i, 0));
	return 0;
}

static int leave_by_exit(void *arg)
{
	unsigned int n = *(unsigned int *)arg;
	uint64_t *word = buf_alloc(SIZE);
	struct gpus *g;

	CHECK(word);
	CHECK(!gpus_open(&g, n, 0));
	CHECK(!take_off(g, word));
	return 42;
}

GPU_TEST(exit_with_jobs)
{
	unsigned int n = self->g->n;

	ASSERT_EQ(42, run_child(leave_by_exit, &n));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, all_queues(gpu));
	}
	ASSERT_EQ(0, healthy(self->g));
}

static int leave_by_signal(void *arg)
{
	int ret = leave_by_exit(arg);

	if (ret == 42)
		raise(SIGKILL);
	return ret;
}

GPU_TEST(kill_with_jobs)
{
	unsigned int n = self->g->n;

	ASSERT_EQ(128 + SIGKILL, run_child(leave_by_signal, &n));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, all_queues(gpu));
	}
	ASSERT_EQ(0, healthy(self->g));
}

/* A multi-threaded process dies while one thread waits and one submits. */
static void *waiting_thread(void *arg)
{
	struct gpus *g = arg;

	vsvm_wait(&g->gpu[0].vm, &g->gpu[0].fence[5], 1, VSVM_FOREVER);
	return NULL;
}

static void *submitting_thread(void *arg)
{
	struct gpus *g = arg;
	VSVM_JOB(job, 1);

	vsvm_job_nop(&job);
	/* Ends in a wait for one of the others to end. */
	while (!vsvm_exec(&g->gpu[0].vm, 6, &job, NULL, 0, NULL))
		;
	return NULL;
}

static int leave_with_threads(void *arg)
{
	unsigned int n = *(unsigned int *)arg;
	uint64_t *word = buf_alloc(SIZE);
	pthread_t thread;
	struct gpus *g;

	CHECK(word);
	CHECK(!gpus_open(&g, n, 0));
	CHECK(!take_off(g, word));
	CHECK(!pthread_create(&thread, NULL, waiting_thread, g));
	CHECK(!pthread_create(&thread, NULL, submitting_thread, g));
	usleep(20000);
	return 42;
}

GPU_TEST(exit_with_threads)
{
	unsigned int n = self->g->n;

	ASSERT_EQ(42, run_child(leave_with_threads, &n));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, all_queues(gpu));
	}
	ASSERT_EQ(0, healthy(self->g));
}

/*
 * exec: the address space goes, the files that are not close-on-exec stay. The
 * new program is this one again, see main().
 */
static int leave_by_exec(void *arg)
{
	unsigned int n = *(unsigned int *)arg;
	uint64_t *word = buf_alloc(SIZE);
	char number[8][12], *argv[12] = { "lifecycle", "--after-exec" };
	struct gpus *g;

	CHECK(word);
	CHECK(!gpus_open(&g, n, 0));
	CHECK(!take_off(g, word));
	for (unsigned int i = 0; i < n; i++) {
		CHECK(!fcntl(g->gpu[i].dev.fd, F_SETFD, 0));
		snprintf(number[i], sizeof(number[i]), "%d", g->gpu[i].dev.fd);
		argv[2 + i] = number[i];
	}
	execv("/proc/self/exe", argv);
	return 1;
}

static int after_exec(int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		struct vsvm_vm old = { .fd = atoi(argv[i]), .id = 1 }, own;
		struct vsvm_device dev = { .fd = atoi(argv[i]) };
		uint64_t data = 0;
		VSVM_JOB(job, 1);

		CHECK(!foreign_vm(&old));
		CHECK(!vsvm_vm_create(&dev, DRM_VSVM_VM_MIRROR | backend(), &own));
		vsvm_job_fill(&job, &data, 8, 77);
		CHECK(!vsvm_run(&own, 0, &job, GPU_TIMEOUT_NS));
		CHECK(data == 77);
		CHECK(!vsvm_vm_destroy(&own));
	}
	return 43;
}

GPU_TEST(exec_with_jobs)
{
	unsigned int n = self->g->n;

	ASSERT_EQ(43, run_child(leave_by_exec, &n));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, all_queues(gpu));
	}
	ASSERT_EQ(0, healthy(self->g));
}

static void *waiter(void *arg)
{
	struct gpu *gpu = arg;

	return (void *)(intptr_t)gpu_finish(gpu, 5);
}

GPU_TEST(destroy_with_jobs)
{
	uint64_t *word = buf_alloc(SIZE), value[64];
	pthread_t thread[MAX_GPUS];

	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, take_off(self->g, word));
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, waiter, &self->gpu[i]));
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct drm_vsvm_error error;
		struct vsvm_vm old = self->gpu[i].vm;
		void *ret;

		ASSERT_EQ(0, vsvm_vm_destroy(&self->gpu[i].vm));
		/* From now on nothing changes any more. */
		value[2 * i] = *(volatile uint64_t *)(word + 16 * i);
		value[2 * i + 1] = *(volatile uint64_t *)(word + 16 * i + 8);
		ASSERT_EQ(0, pthread_join(thread[i], &ret));
		/* Not waiting yet, it finds no VM; else the job or the VM ended. */
		ASSERT_TRUE((intptr_t)ret == -ECANCELED || (intptr_t)ret == -EIO ||
			    (intptr_t)ret == -ENOENT)
			TH_LOG("wait: %ld", (long)(intptr_t)ret);
		ASSERT_EQ(-ENOENT, vsvm_vm_destroy(&old));
		ASSERT_EQ(-ENOENT, vsvm_error_take(&old, &error));
		/* The others go on. */
		for (unsigned int k = i + 1; k < self->g->n; k++) {
			ASSERT_TRUE(word_changes(word + 16 * k,
						 *(volatile uint64_t *)(word + 16 * k)));
		}
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];

		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | backend(), &gpu->vm));
		ASSERT_EQ(0, gpu_warm(gpu));
		ASSERT_EQ(0, all_queues(gpu));
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(value[2 * i], *(volatile uint64_t *)(word + 16 * i));
		ASSERT_EQ(value[2 * i + 1], *(volatile uint64_t *)(word + 16 * i + 8));
	}
	ASSERT_EQ(0, healthy(self->g));
	buf_free(word, SIZE);
}

GPU_TEST(close_with_jobs)
{
	uint64_t *word = buf_alloc(SIZE), value[MAX_GPUS];

	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, take_off(self->g, word));
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];

		vsvm_close(&gpu->dev);
		gpu->vm.id = 0;
		value[i] = *(volatile uint64_t *)(word + 16 * i);
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];

		ASSERT_EQ(0, gpu_open(gpu, i, 0));
		ASSERT_EQ(0, gpu_warm(gpu));
		ASSERT_EQ(0, all_queues(gpu));
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_EQ(value[i], *(volatile uint64_t *)(word + 16 * i));
	}
	ASSERT_EQ(0, healthy(self->g));
	buf_free(word, SIZE);
}

/* The memory of a running job goes away: it ends, its neighbours do not. */
GPU_TEST(munmap_with_jobs)
{
	uint64_t *stay = buf_alloc(SIZE), *gone[MAX_GPUS];

	ASSERT_NE(NULL, stay);
	for (unsigned int i = 0; i < self->g->n; i++) {
		gone[i] = buf_alloc(SIZE);
		ASSERT_NE(NULL, gone[i]);
		ASSERT_EQ(0, gpu_start_endless(&self->gpu[i], 5, gone[i]));
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		ASSERT_TRUE(word_changes(gone[i], 0));
	}
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct drm_vsvm_error error;

		ASSERT_EQ(0, munmap(gone[i], SIZE));
		ASSERT_EQ(-EIO, gpu_finish(&self->gpu[i], 5));
		ASSERT_EQ(0, vsvm_error_take(&self->gpu[i].vm, &error));
		ASSERT_EQ(EFAULT, error.error);
		ASSERT_EQ((uintptr_t)gone[i], error.addr);
		ASSERT_EQ(DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC, error.flags);
		for (unsigned int k = i + 1; k < self->g->n; k++) {
			ASSERT_TRUE(word_changes(gone[k], *(volatile uint64_t *)gone[k]));
		}
		buf_free(gone[i], SIZE);
	}
	ASSERT_EQ(0, healthy(self->g));
	buf_free(stay, SIZE);
}

GPU_TEST(fence_unmapped)
{
	for_each_gpu(gpu, self) {
		uint64_t *fence = buf_alloc(self->page), id;
		struct drm_vsvm_error error;
		VSVM_JOB(job, 1);

		ASSERT_NE(NULL, fence);
		buf_free(fence, self->page);
		vsvm_job_fill(&job, &gpu->result[2], 8, 31);
		ASSERT_EQ(0, vsvm_exec(&gpu->vm, 0, &job, fence, 1, &id));
		ASSERT_TRUE(word_changes(&gpu->result[2], 0));
		/* The job itself was done; the next one of the queue waits for it. */
		ASSERT_EQ(0, gpu_write64(gpu, &gpu->result[2], 0));
		ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
		ASSERT_EQ(id, error.job_id);
		ASSERT_EQ(EFAULT, error.error);
		ASSERT_EQ((uintptr_t)fence, error.addr);
		ASSERT_EQ(DRM_VSVM_ERROR_FENCE | DRM_VSVM_ERROR_WRITE, error.flags);
		ASSERT_EQ(-EFAULT, vsvm_wait(&gpu->vm, fence, 1, 0));
		ASSERT_NO_MORE_ERRORS(gpu);
	}
}

/* Who waits can be interrupted, and a wait for nothing ends in time. */
static void on_alarm(int sig)
{
	(void)sig;
}

GPU_TEST(wait_ends)
{
	struct sigaction action = { .sa_handler = on_alarm };
	uint64_t *word = buf_alloc(self->page);
	struct gpu *gpu = self->gpu;

	ASSERT_NE(NULL, word);
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(-ETIME, vsvm_wait(&gpu->vm, word, 1, 0));
	ASSERT_EQ(-ETIME, vsvm_wait(&gpu->vm, word, 1, 50000000));
	ASSERT_EQ(0, ualarm(20000, 20000));
	ASSERT_EQ(-EINTR, vsvm_wait_interruptible(&gpu->vm, word, 1, GPU_TIMEOUT_NS));
	ualarm(0, 0);
	/* A value that the CPU or another device writes is one as well. */
	*word = 7;
	ASSERT_EQ(0, vsvm_wait(&gpu->vm, word, 7, 0));
	ASSERT_EQ(0, vsvm_wait(&gpu->vm, word, 6, 0));
	ASSERT_EQ(-ETIME, vsvm_wait(&gpu->vm, word, 8, 0));
	*word = 8 | DRM_VSVM_FENCE_ERROR;
	ASSERT_EQ(-EIO, vsvm_wait(&gpu->vm, word, 8, 0));
	ASSERT_EQ(-ETIME, vsvm_wait(&gpu->vm, word, 9, 0));
	if (self->g->n > 1) {
		VSVM_JOB(job, 1);

		vsvm_job_nop(&job);
		ASSERT_EQ(0, vsvm_exec(&self->gpu[1].vm, 0, &job, word, 10, NULL));
		ASSERT_EQ(0, vsvm_wait(&gpu->vm, word, 10, GPU_TIMEOUT_NS));
	}
	buf_free(word, self->page);
}

/* ----------------------------------------------------- several at the same time */

struct isolation {
	uint64_t *buf;
	unsigned int n, nr;
	int go;
};

static int isolated_child(void *arg)
{
	struct isolation *is = arg;
	struct gpus *g;
	char byte;

	CHECK(!gpus_open(&g, is->n, 0));
	/* The address is the same in both, the memory is not. */
	buf_init(is->buf, SIZE, is->nr);
	CHECK(read(is->go, &byte, 1) == 1);
	for (unsigned int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < g->n; i++)
			CHECK(!gpu_add(&g->gpu[i], is->buf, SIZE, 1 + is->nr));
		CHECK(buf_check(is->buf, SIZE, is->nr,
				(round + 1) * g->n * (1 + is->nr)) == -1);
	}
	CHECK(!gpus_violations(g));
	CHECK(!gpus_close(g));
	return 0;
}

GPU_TEST(two_processes)
{
	struct isolation is = { .buf = buf_alloc(SIZE), .n = self->g->n };
	pid_t pid[2];
	int go[2], status;

	ASSERT_NE(NULL, is.buf);
	ASSERT_EQ(0, pipe(go));
	buf_init(is.buf, SIZE, 50);
	for (is.nr = 0; is.nr < 2; is.nr++) {
		is.go = go[0];
		pid[is.nr] = fork();
		ASSERT_LE(0, pid[is.nr]);
		if (!pid[is.nr])
			_exit(isolated_child(&is));
	}
	ASSERT_EQ(2, write(go[1], "go", 2));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, is.buf, SIZE, 9));
	}
	for (unsigned int i = 0; i < 2; i++) {
		ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
		ASSERT_EQ(0, status);
	}
	ASSERT_EQ(-1, buf_check(is.buf, SIZE, 50, 9 * self->g->n));
	close(go[0]);
	close(go[1]);
	buf_free(is.buf, SIZE);
}

GPU_TEST(several_vms_per_device)
{
	struct drm_vsvm_stats_data stats;
	uint64_t *buf = buf_alloc(SIZE), before, value;
	struct gpu *vm = buf_alloc(3 * sizeof(*vm));

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, vm);
	ASSERT_EQ(0, vsvm_stats(&self->gpu->vm, &stats));
	before = stats.mgr_instances;
	ASSERT_EQ(managed() ? self->g->n : 0, before);
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];

		/* Two more of another file, one more of the same one. */
		ASSERT_EQ(0, gpu_open(&vm[0], i, 0));
		ASSERT_EQ(0, gpu_open(&vm[1], i, 0));
		vm[2] = (struct gpu) { .dev = gpu->dev };
		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | backend(), &vm[2].vm));
		ASSERT_NE(gpu->vm.id, vm[2].vm.id);
		ASSERT_EQ(0, vsvm_stats(&gpu->vm, &stats));
		ASSERT_EQ(managed() ? before + 3 : 0, stats.mgr_instances);

		buf_init(buf, SIZE, i);
		for (unsigned int k = 0; k < 3; k++) {
			ASSERT_EQ(0, gpu_add(&vm[k], buf, SIZE, 1 + k));
		}
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 4));
		ASSERT_EQ(-1, buf_check(buf, SIZE, i, 10));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		for (unsigned int k = 0; k < 3; k++) {
			ASSERT_EQ(0, gpu_read64(&vm[k], buf, &value));
			ASSERT_EQ(0, value);
		}
		/* One goes, the others keep what they have. */
		ASSERT_EQ(0, gpu_close(&vm[0]));
		buf_init(buf, SIZE, i + 1);
		ASSERT_EQ(0, gpu_add(&vm[1], buf, SIZE, 1));
		ASSERT_EQ(0, gpu_add(&vm[2], buf, SIZE, 1));
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		ASSERT_EQ(-1, buf_check(buf, SIZE, i + 1, 3));
		ASSERT_EQ(0, gpu_close(&vm[1]));
		ASSERT_EQ(0, vsvm_vm_destroy(&vm[2].vm));
		ASSERT_EQ(0, vsvm_stats(&gpu->vm, &stats));
		ASSERT_EQ(before, stats.mgr_instances);
	}
	buf_free(vm, 3 * sizeof(*vm));
	buf_free(buf, SIZE);
}

/* A manager has 64 places, for the VMs of all devices together. */
GPU_TEST(slots)
{
	struct vsvm_vm vm[64], extra;
	uint64_t *word = buf_alloc(self->page);
	unsigned int n = self->g->n, count = 0;
	VSVM_JOB(job, 1);

	if (!managed())
		SKIP(return, "there are no places without the manager");
	ASSERT_NE(NULL, word);
	vsvm_job_atomic_add(&job, word, 1, 1);
	for (count = 0; count < 64 - n; count++) {
		ASSERT_EQ(0, vsvm_vm_create(&self->gpu[count % n].dev, DRM_VSVM_VM_MIRROR,
					    &vm[count]));
	}
	for (unsigned int i = 0; i < n; i++) {
		ASSERT_EQ(-ENOSPC, vsvm_vm_create(&self->gpu[i].dev, DRM_VSVM_VM_MIRROR, &extra));
	}
	/* All of them work, the one in the last place too. */
	for (unsigned int i = 0; i < count; i += 9) {
		ASSERT_EQ(0, vsvm_run(&vm[i], 0, &job, GPU_TIMEOUT_NS));
	}
	ASSERT_EQ(0, vsvm_run(&vm[count - 1], 0, &job, GPU_TIMEOUT_NS));
	ASSERT_EQ((count + 8) / 9 + 1, *word);
	/* Through one invalidation that meets the last place as well. */
	ASSERT_EQ(0, madvise(word, self->page, MADV_DONTNEED));
	ASSERT_EQ(0, vsvm_run(&vm[count - 1], 0, &job, GPU_TIMEOUT_NS));
	ASSERT_EQ(1, *(volatile uint64_t *)word);
	/* A place that was given back is a place. */
	ASSERT_EQ(0, vsvm_vm_destroy(&vm[7]));
	ASSERT_EQ(0, vsvm_vm_create(&self->gpu[n - 1].dev, DRM_VSVM_VM_MIRROR, &vm[7]));
	ASSERT_EQ(-ENOSPC, vsvm_vm_create(&self->gpu[0].dev, DRM_VSVM_VM_MIRROR, &extra));
	ASSERT_EQ(0, vsvm_run(&vm[7], 0, &job, GPU_TIMEOUT_NS));
	ASSERT_EQ(2, *(volatile uint64_t *)word);
	while (count) {
		ASSERT_EQ(0, vsvm_vm_destroy(&vm[--count]));
	}
	ASSERT_EQ(0, healthy(self->g));
	buf_free(word, self->page);
}

struct storm {
	unsigned int n;
	bool stop;
	uint64_t *word;
	unsigned int made;
	int ret;
};

/* VMs that come, do one thing and go, on all devices in turn. */
static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	struct gpu *gpu = buf_alloc(sizeof(*gpu));

	/* Once at least, whenever it gets a CPU. */
	do {
		s->ret = gpu ? gpu_open(gpu, s->made++ % s->n, 0) : -ENOMEM;
		if (s->ret)
			break;
		s->ret = gpu_atomic_add(gpu, s->word, 1, 1);
		/* Every other one with a job on its way. */
		if (!s->ret && (s->made & 1))
			s->ret = gpu_start_endless(gpu, 1, &gpu->result[0]);
		if (!s->ret)
			s->ret = gpu_close(gpu);
		else
			gpu_close(gpu);
	} while (!s->ret && !__atomic_load_n(&s->stop, __ATOMIC_RELAXED));
	buf_free(gpu, sizeof(*gpu));
	return NULL;
}

/* Attach and detach while others fault and are invalidated. */
GPU_TEST(attach_storm)
{
	struct storm s = { .n = self->g->n, .word = buf_alloc(self->page) };
	uint64_t *buf = buf_alloc(SIZE);
	pthread_t thread;

	ASSERT_NE(NULL, s.word);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, pthread_create(&thread, NULL, storm_thread, &s));
	for (unsigned int i = 0; i < 60000 && !__atomic_load_n(&s.made, __ATOMIC_RELAXED); i++)
		usleep(1000);
	for (unsigned int round = 0; round < 15; round++) {
		buf_init(buf, SIZE, round);
		for_each_gpu(gpu, self) {
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
		}
		ASSERT_EQ(-1, buf_check(buf, SIZE, round, self->g->n));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, s.ret);
	ASSERT_LT(0, s.made);
	ASSERT_EQ(s.made, *(volatile uint64_t *)s.word);
	buf_free(buf, SIZE);
	buf_free(s.word, self->page);
}

static void *racing_exec(void *arg)
{
	struct gpu *gpu = arg;
	VSVM_JOB(job, 1);
	int ret;

	vsvm_job_nop(&job);
	do {
		ret = vsvm_exec(&gpu->vm, 3, &job, NULL, 0, NULL);
	} while (!ret);
	return (void *)(intptr_t)ret;
}

/* EXEC and DESTROY at once: a refusal that is documented, nothing else. */
GPU_TEST(exec_against_destroy)
{
	for (unsigned int round = 0; round < 6; round++) {
		struct gpu *gpu = &self->gpu[round % self->g->n];
		struct gpu racer = { .dev = gpu->dev };
		struct vsvm_vm vm;
		pthread_t thread[2];

		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | backend(), &vm));
		racer.vm = vm;
		ASSERT_EQ(0, pthread_create(&thread[0], NULL, racing_exec, &racer));
		ASSERT_EQ(0, pthread_create(&thread[1], NULL, racing_exec, &racer));
		usleep(round * 3000);
		ASSERT_EQ(0, vsvm_vm_destroy(&vm));
		for (unsigned int i = 0; i < 2; i++) {
			void *ret;

			ASSERT_EQ(0, pthread_join(thread[i], &ret));
			ASSERT_TRUE((intptr_t)ret == -ENOENT || (intptr_t)ret == -ECANCELED);
		}
	}
	ASSERT_EQ(0, healthy(self->g));
}

/* The record keeps the last 256 failures and says how many are lost. */
GPU_TEST(error_records)
{
	const unsigned int keep = 256, more = 20;
	struct gpu *gpu = self->gpu;
	struct drm_vsvm_error error;
	uint64_t first = 0, id;
	VSVM_JOB(job, 2);

	vsvm_job_nop(&job);
	vsvm_job_fill(&job, (void *)8, 8, 1);
	for (unsigned int i = 0; i < keep + more; i++) {
		ASSERT_EQ(0, vsvm_exec(&gpu->vm, 2, &job, &gpu->fence[2], i + 1, &id));
		if (!i)
			first = id;
		ASSERT_EQ(first + i, id);
	}
	gpu->value[2] = keep + more;
	ASSERT_EQ(-EIO, gpu_finish(gpu, 2));
	for (unsigned int i = 0; i < keep; i++) {
		ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
		ASSERT_EQ(first + more + i, error.job_id);
		ASSERT_EQ(1, error.instr);
		ASSERT_EQ(8, error.addr);
		ASSERT_EQ(EFAULT, error.error);
		if (!i) {
			ASSERT_EQ(more, error.lost);
		}
	}
	ASSERT_NO_MORE_ERRORS(gpu);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--after-exec"))
		return after_exec(argc, argv);
	return test_harness_run(argc, argv);
}
