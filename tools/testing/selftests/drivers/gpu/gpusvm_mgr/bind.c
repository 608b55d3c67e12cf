// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Binds and jobs with syncobjs: what waits for what, what becomes of it where
 * something fails or goes, all of a call or nothing, and input that is wrong.
 */
#include "gpusvm_bound.h"

#define SIZE	MIB

/* A device whose VM has an object at VA that is written once. */
static int with_object(struct bound *gpu, uint32_t placement, uint64_t value, uint32_t *handle)
{
	int ret = vsvm_gem_create(&gpu->dev, SIZE, placement, handle);

	if (!ret)
		ret = bind_now(gpu, VA, SIZE, *handle, 0);
	if (!ret)
		ret = bound_fill(gpu, VA, SIZE, value);
	return ret;
}

/* Bind, job, bind, job: each waits for the one before, none for the CPU. */
BOUND_TEST(chain)
{
	enum { STEPS = 16 };

	for_each_bound(gpu, self) {
		uint32_t one, two, line = syncobj_new(gpu);
		uint64_t point = 0;

		ASSERT_NE(0, line);
		ASSERT_EQ(0, with_object(gpu, self->placement, 1, &one));
		ASSERT_EQ(0, with_object(gpu, SYSTEM, 2, &two));
		for (unsigned int i = 0; i < STEPS; i++) {
			struct drm_vsvm_sync syncs[2];
			unsigned int num = 0;
			VSVM_BIND(bind, 1);
			VSVM_JOB(job, 1);

			if (point)
				syncs[num++] = vsvm_sync_in(line, point);
			syncs[num++] = vsvm_sync_out(line, ++point);
			vsvm_bind_map(&bind, VA, SIZE, i % 2 ? two : one, 0);
			ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, syncs, num));

			syncs[0] = vsvm_sync_in(line, point);
			syncs[1] = vsvm_sync_out(line, ++point);
			vsvm_job_copy(&job, (void *)(VA_OUT + 8 * i), (void *)(VA + 8 * i), 8);
			/* Also from queue to queue. */
			ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, i % DRM_VSVM_MAX_QUEUES, &job,
						    syncs, 2, NULL));
		}
		ASSERT_EQ(0, syncobj_wait(gpu, line, point));
		for (unsigned int i = 0; i < STEPS; i++)
			ASSERT_EQ(i % 2 ? 2 : 1, gpu->out[i]);
		drmSyncobjDestroy(gpu->dev.fd, line);
		vsvm_gem_close(&gpu->dev, one);
		vsvm_gem_close(&gpu->dev, two);
	}
}

/* Each device adds one when the one before it has; none but the last is waited for. */
BOUND_TEST(around)
{
	enum { ROUNDS = 8 };
	uint32_t handle[4], line[4];
	uint64_t point = 0;
	VSVM_JOB(job, 2);
	int fd, sync_fd;

	ASSERT_EQ(0, vsvm_gem_create(&self->gpu[0].dev, SIZE, self->placement, &handle[0]));
	ASSERT_EQ(0, vsvm_gem_export(&self->gpu[0].dev, handle[0], &fd));
	line[0] = syncobj_new(&self->gpu[0]);
	ASSERT_EQ(0, drmSyncobjHandleToFD(self->gpu[0].dev.fd, line[0], &sync_fd));
	for (unsigned int i = 0; i < self->n; i++) {
		if (i) {
			ASSERT_EQ(0, vsvm_gem_import(&self->gpu[i].dev, fd, &handle[i]));
			ASSERT_EQ(0, drmSyncobjFDToHandle(self->gpu[i].dev.fd, sync_fd, &line[i]));
		}
		ASSERT_EQ(0, bind_now(&self->gpu[i], VA, SIZE, handle[i], 0));
	}
	close(fd);
	close(sync_fd);
	/* Plain reads and writes: with another order the sum is another one. */
	vsvm_job_add(&job, (void *)VA, SIZE, 1);
	vsvm_job_copy(&job, (void *)(VA_OUT), (void *)VA, 8);
	for (unsigned int i = 0; i < ROUNDS * self->n; i++) {
		unsigned int d = i % self->n;
		struct drm_vsvm_sync syncs[2] = {
			vsvm_sync_out(line[d], point + 1), vsvm_sync_in(line[d], point),
		};

		ASSERT_EQ(0, vsvm_exec_sync(&self->gpu[d].vm, i / self->n, &job, syncs,
					    point ? 2 : 1, NULL));
		point++;
	}
	ASSERT_EQ(0, syncobj_wait(&self->gpu[0], line[0], point));
	for (unsigned int i = 0; i < self->n; i++)
		ASSERT_EQ((ROUNDS - 1) * self->n + i + 1, self->gpu[i].out[0]);
}

/* Nothing of what waits has happened before it may. */
BOUND_TEST(blocked)
{
	struct bound *gpu = &self->gpu[0], *last = &self->gpu[self->n - 1];
	uint32_t one, two, bound = syncobj_new(gpu), done = syncobj_new(gpu);
	struct drm_vsvm_sync syncs[2];
	struct blocker b;
	uint64_t value;
	VSVM_BIND(bind, 1);
	VSVM_JOB(job, 1);

	ASSERT_EQ(0, with_object(gpu, self->placement, 1, &one));
	ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &two));
	ASSERT_EQ(0, block(gpu, last - self->gpu, &b));

	syncs[0] = vsvm_sync_in(b.syncobj, 0);
	syncs[1] = vsvm_sync_out(bound, 0);
	vsvm_bind_map(&bind, VA, SIZE, two, 0);
	ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, syncs, 2));
	syncs[1] = vsvm_sync_out(done, 0);
	gpu->out[1] = 1000;
	vsvm_job_fill(&job, (void *)(VA_OUT + 8), 8, 2000);
	ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 3, &job, syncs, 2, NULL));
	ASSERT_EQ(0, vsvm_syncobj_status(gpu->dev.fd, bound));
	ASSERT_EQ(0, vsvm_syncobj_status(gpu->dev.fd, done));
	/* Other queues go on, with what is bound still. */
	ASSERT_EQ(0, bound_read(gpu, VA, &value));
	ASSERT_EQ(1, value);
	ASSERT_EQ(1000, gpu->out[1]);
	ASSERT_EQ(0, vsvm_syncobj_status(gpu->dev.fd, bound));

	ASSERT_EQ(0, unblock(&b));
	ASSERT_EQ(0, syncobj_wait(gpu, bound, 0));
	ASSERT_EQ(0, syncobj_wait(gpu, done, 0));
	/* It ended with an error, they did not. */
	ASSERT_EQ(-ECANCELED, vsvm_syncobj_status(gpu->dev.fd, b.syncobj));
	ASSERT_EQ(1, vsvm_syncobj_status(gpu->dev.fd, bound));
	ASSERT_EQ(1, vsvm_syncobj_status(gpu->dev.fd, done));
	ASSERT_EQ(2000, gpu->out[1]);
	ASSERT_EQ(0, bound_read(gpu, VA, &value));
	ASSERT_EQ(0, value);
	vsvm_gem_close(&gpu->dev, one);
	vsvm_gem_close(&gpu->dev, two);
}

/* The VM goes, and whatever waits in it ends. */
BOUND_TEST(destroy)
{
	for_each_bound(gpu, self) {
		uint32_t handle, bound = syncobj_new(gpu), done = syncobj_new(gpu);
		uint32_t running = syncobj_new(gpu);
		struct drm_vsvm_sync syncs[2];
		struct blocker b;
		VSVM_BIND(bind, 1);
		VSVM_JOB(job, 1);

		ASSERT_EQ(0, with_object(gpu, self->placement, 1, &handle));
		ASSERT_EQ(0, block(gpu, gpu - self->gpu, &b));
		syncs[0] = vsvm_sync_in(b.syncobj, 0);
		syncs[1] = vsvm_sync_out(bound, 0);
		vsvm_bind_unmap(&bind, VA + SIZE / 2, SIZE / 4);
		ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, syncs, 2));
		syncs[1] = vsvm_sync_out(done, 0);
		vsvm_job_nop(&job);
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 3, &job, syncs, 2, NULL));
		ASSERT_EQ(0, bound_endless(gpu, 4, VA, running));

		ASSERT_EQ(0, vsvm_vm_destroy(&gpu->vm));
		ASSERT_EQ(0, syncobj_wait(gpu, bound, 0));
		ASSERT_EQ(0, syncobj_wait(gpu, done, 0));
		ASSERT_EQ(0, syncobj_wait(gpu, running, 0));
		ASSERT_EQ(-ECANCELED, vsvm_syncobj_status(gpu->dev.fd, bound));
		ASSERT_EQ(-ECANCELED, vsvm_syncobj_status(gpu->dev.fd, done));
		ASSERT_EQ(-ECANCELED, vsvm_syncobj_status(gpu->dev.fd, running));
		ASSERT_EQ(0, vsvm_syncobj_status(gpu->dev.fd, b.syncobj));
		ASSERT_EQ(0, unblock(&b));
		ASSERT_EQ(-ENOENT, vsvm_vm_bind(&gpu->vm, &bind, NULL, 0));
	}
}

/* A job that failed says so, and who waits for it goes on. */
BOUND_TEST(errors)
{
	for_each_bound(gpu, self) {
		uint32_t failed = syncobj_new(gpu), done = syncobj_new(gpu);
		struct drm_vsvm_sync syncs[2] = { vsvm_sync_out(failed, 0) };
		struct drm_vsvm_error error;
		uint64_t job_id;
		VSVM_JOB(job, 1);

		ASSERT_EQ(-EINVAL, vsvm_syncobj_status(gpu->dev.fd, failed));
		vsvm_job_fill(&job, (void *)VA, 8, 1);
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 0, &job, syncs, 1, &job_id));
		syncs[0] = vsvm_sync_in(failed, 0);
		syncs[1] = vsvm_sync_out(done, 0);
		vsvm_job_reset(&job);
		vsvm_job_fill(&job, (void *)VA_OUT, 8, 99);
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 1, &job, syncs, 2, NULL));
		ASSERT_EQ(0, syncobj_wait(gpu, done, 0));
		ASSERT_EQ(99, gpu->out[0]);
		ASSERT_EQ(-EFAULT, vsvm_syncobj_status(gpu->dev.fd, failed));
		ASSERT_EQ(1, vsvm_syncobj_status(gpu->dev.fd, done));
		ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
		ASSERT_EQ(EFAULT, error.error);
		ASSERT_EQ(VA, error.addr);
		ASSERT_EQ(job_id, error.job_id);
		ASSERT_EQ(DRM_VSVM_ERROR_WRITE, error.flags);
	}
}

/* Behind a fence no job is endless. */
BOUND_TEST(timeout)
{
	struct bound *gpu = &self->gpu[0];
	uint32_t handle, done = syncobj_new(gpu);
	struct drm_vsvm_error error;
	uint64_t old;

	ASSERT_EQ(0, read_number("/sys/module/vsvm/parameters/job_timeout_ms", &old));
	ASSERT_EQ(0, with_object(gpu, self->placement, 1, &handle));
	ASSERT_EQ(0, write_text("/sys/module/vsvm/parameters/job_timeout_ms", "50"));
	ASSERT_EQ(0, bound_endless(gpu, 0, VA, done));
	EXPECT_EQ(0, syncobj_wait(gpu, done, 0));
	ASSERT_EQ(0, write_text("/sys/module/vsvm/parameters/job_timeout_ms", "30000"));
	ASSERT_EQ(30000, old);
	ASSERT_EQ(-ETIME, vsvm_syncobj_status(gpu->dev.fd, done));
	ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
	ASSERT_EQ(ETIME, error.error);
	ASSERT_EQ(0, error.addr);
}

/* A user fence is written through the VM, like all else. */
BOUND_TEST(user_fence)
{
	for_each_bound(gpu, self) {
		struct drm_vsvm_instr nop = { .op = DRM_VSVM_OP_NOP };
		struct drm_vsvm_exec exec = {
			.vm_id = gpu->vm.id, .num_instrs = 1, .instrs = (uintptr_t)&nop,
			.fence_addr = VA_OUT + 64, .fence_value = 5,
		};
		struct drm_vsvm_error error;
		VSVM_JOB(job, 1);

		ASSERT_EQ(0, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_EXEC, &exec));
		ASSERT_EQ(0, vsvm_wait(&gpu->vm, &gpu->out[8], 5, GPU_TIMEOUT_NS));
		exec.fence_addr = VA;
		ASSERT_EQ(0, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_EXEC, &exec));
		vsvm_job_nop(&job);
		ASSERT_EQ(0, vsvm_run_sync(&gpu->vm, 0, &job));
		ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
		ASSERT_EQ(EFAULT, error.error);
		ASSERT_EQ(DRM_VSVM_ERROR_FENCE | DRM_VSVM_ERROR_WRITE, error.flags);
	}
}

/* What a refused call must leave as it was: the binding, its data, the counters. */
static int unchanged(struct bound *gpu, uint64_t binds, uint64_t value)
{
	uint64_t now;
	int ret;

	if (bound_stat(gpu, binds) != binds)
		return -ESTALE;
	ret = bound_read(gpu, VA, &now);
	if (!ret && now != value)
		ret = -EILSEQ;
	if (!ret)
		ret = bound_read(gpu, VA + SIZE - 8, &now);
	if (!ret && now != value)
		ret = -EILSEQ;
	return ret;
}

BOUND_TEST(bad_bind)
{
	for_each_bound(gpu, self) {
		uint32_t handle, syncobj = syncobj_new(gpu);
		const uint64_t end = gpu->dev.info.va_end;
		struct drm_vsvm_bind_op op, good;
		struct drm_vsvm_vm_bind args;
		struct drm_vsvm_sync sync;
		uint64_t binds;

		ASSERT_EQ(0, with_object(gpu, self->placement, 11, &handle));
		binds = bound_stat(gpu, binds);
		good = (struct drm_vsvm_bind_op) {
			.type = DRM_VSVM_BIND_MAP, .handle = handle, .addr = VA,
			.range = SIZE, .offset = 0,
		};

#define BAD(error__, ...)							\
		do {								\
			op = good;						\
			sync = vsvm_sync_out(syncobj, 0);			\
			args = (struct drm_vsvm_vm_bind) {			\
				.vm_id = gpu->vm.id, .num_ops = 1,		\
				.ops = (uintptr_t)&op, .num_syncs = 1,		\
				.syncs = (uintptr_t)&sync,			\
			};							\
			__VA_ARGS__;						\
			ASSERT_EQ(-1, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_VM_BIND, &args)); \
			ASSERT_EQ(error__, errno);				\
			ASSERT_EQ(-EINVAL, vsvm_syncobj_status(gpu->dev.fd, syncobj)); \
		} while (0)

		BAD(ENOENT, args.vm_id = 0);
		BAD(ENOENT, args.vm_id = 1000);
		BAD(EINVAL, args.flags = 1);
		BAD(EINVAL, args.pad = 1u << 31);
		BAD(EINVAL, args.vms = (uintptr_t)&op);
		BAD(EINVAL, args.num_ops = 0);
		BAD(EINVAL, args.num_ops = DRM_VSVM_MAX_BIND_OPS + 1);
		BAD(EINVAL, args.num_ops = ~0u);
		BAD(EFAULT, args.ops = 0);
		BAD(EFAULT, args.ops = 8);
		BAD(EFAULT, args.ops = 1ULL << 63);
		BAD(EINVAL, args.num_syncs = DRM_VSVM_MAX_SYNCS + 1);
		BAD(EINVAL, args.num_syncs = ~0u);
		BAD(EFAULT, args.syncs = 0);
		BAD(EFAULT, args.syncs = ~7ULL);
		BAD(ENOENT, sync.handle = 0);
		BAD(ENOENT, sync.handle = 1000);
		BAD(ENOENT, sync.handle = 1000; sync.flags = 0);
		BAD(EINVAL, sync.flags |= 2);
		BAD(EINVAL, sync.flags |= 1u << 31);
		/* Nobody has promised to complete it. */
		BAD(EINVAL, sync.flags = 0);
		BAD(EINVAL, sync.flags = 0; sync.point = 7);

		BAD(EINVAL, op.type = 5);
		BAD(EINVAL, op.type = ~0u);
		BAD(EINVAL, op.flags = 2);
		BAD(EINVAL, op.flags = 1u << 31);
		BAD(ENOENT, op.handle = 0);
		BAD(ENOENT, op.handle = 1000);
		BAD(EINVAL, op.pad = 1);
		BAD(EINVAL, op.addr += 8);
		BAD(EINVAL, op.addr = end);
		BAD(EINVAL, op.addr = end - SIZE + self->page);
		BAD(EINVAL, op.addr = ~(self->page - 1));
		BAD(EINVAL, op.addr = 1ULL << 63);
		BAD(EINVAL, op.range = 0);
		BAD(EINVAL, op.range = 8);
		BAD(EINVAL, op.range += self->page);
		BAD(EINVAL, op.range = ~(self->page - 1));
		BAD(EINVAL, op.offset = 8);
		BAD(EINVAL, op.offset = self->page);
		BAD(EINVAL, op.offset = SIZE);
		BAD(EINVAL, op.offset = ~(self->page - 1));
		BAD(EINVAL, op.type = DRM_VSVM_BIND_UNMAP);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_UNMAP; op.handle = 0; op.offset = SIZE);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_UNMAP; op.handle = 0; op.flags = 1);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_MIRROR; op.handle = 0);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_UNMIRROR; op.handle = 0);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0; op.flags = 2);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0; op.pad = 1);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0; op.range = 0);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0; op.addr += 8);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0; op.addr = end);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0; op.offset = 8);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0; op.offset = end);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0;
		    op.offset = end - SIZE + self->page);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0;
		    op.offset = 1ULL << 63);
		BAD(EINVAL, op.type = DRM_VSVM_BIND_USERPTR; op.handle = 0;
		    op.offset = ~(self->page - 1));
#undef BAD
		ASSERT_EQ(0, unchanged(gpu, binds, 11));
		drmSyncobjDestroy(gpu->dev.fd, syncobj);
		vsvm_gem_close(&gpu->dev, handle);
	}
}

BOUND_TEST(bad_gem)
{
	for_each_bound(gpu, self) {
		struct drm_vsvm_gem_create create;
		struct drm_vsvm_gem_mmap_offset offset;
		uint32_t handle;
		int fd;

#define BAD(error__, ...)							\
		do {								\
			create = (struct drm_vsvm_gem_create) {			\
				.size = SIZE, .placement = self->placement,	\
			};							\
			__VA_ARGS__;						\
			ASSERT_EQ(-1, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_GEM_CREATE, &create)); \
			ASSERT_EQ(error__, errno);				\
			ASSERT_EQ(0, create.handle);				\
		} while (0)

		BAD(EINVAL, create.size = 0);
		BAD(EINVAL, create.size = 1);
		BAD(EINVAL, create.size = SIZE + 8);
		BAD(EINVAL, create.size = 1ULL << 63);
		BAD(EINVAL, create.size = ~0ULL);
		BAD(ENOMEM, create.size = 1ULL << 62);
		BAD(EINVAL, create.placement = 2);
		BAD(EINVAL, create.placement = ~0u);
		BAD(EINVAL, create.flags = 2);
		BAD(EINVAL, create.flags = 1u << 31);
		BAD(EINVAL, create.vm_id = gpu->vm.id);
		BAD(EINVAL, create.pad = 1);
		BAD(ENOENT, create.flags = DRM_VSVM_GEM_VM; create.vm_id = 1000);
		BAD(ENOENT, create.flags = DRM_VSVM_GEM_VM);
#undef BAD
		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &handle));
#define BAD(error__, ...)							\
		do {								\
			offset = (struct drm_vsvm_gem_mmap_offset) { .handle = handle }; \
			__VA_ARGS__;						\
			ASSERT_EQ(-1, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_GEM_MMAP_OFFSET, \
					       &offset));			\
			ASSERT_EQ(error__, errno);				\
			ASSERT_EQ(0, offset.offset);				\
		} while (0)

		BAD(ENOENT, offset.handle = 0);
		BAD(ENOENT, offset.handle = 1000);
		BAD(EINVAL, offset.flags = 1);
		BAD(EINVAL, offset.pad = 1);
#undef BAD
		ASSERT_EQ(-ENOENT, vsvm_gem_export(&gpu->dev, 1000, &fd));
		/* A file that is no dma-buf. */
		ASSERT_EQ(-EINVAL, vsvm_gem_import(&gpu->dev, gpu->dev.fd, &handle));
		/* A handle is of one file. */
		{
			struct vsvm_device other;
			void *ptr;

			ASSERT_EQ(0, vsvm_open(&other, gpu - self->gpu));
			ASSERT_EQ(-ENOENT, vsvm_gem_map(&other, handle, NULL, SIZE, &ptr));
			vsvm_close(&other);
		}
	}
}

/* A VM with mirrors gives no fence, because its jobs may wait for a fault. */
BOUND_TEST(no_fence_with_mirrors)
{
	for_each_bound(gpu, self) {
		uint32_t syncobj = syncobj_new(gpu);
		struct drm_vsvm_sync sync = vsvm_sync_out(syncobj, 0);
		struct vsvm_vm mirror;
		VSVM_JOB(job, 1);

		vsvm_job_nop(&job);
		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR, &mirror));
		ASSERT_EQ(-EINVAL, vsvm_exec_sync(&mirror, 0, &job, &sync, 1, NULL));
		ASSERT_EQ(-EINVAL, vsvm_syncobj_status(gpu->dev.fd, syncobj));
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 0, &job, &sync, 1, NULL));
		sync = vsvm_sync_in(syncobj, 0);
		ASSERT_EQ(-EINVAL, vsvm_exec_sync(&mirror, 0, &job, &sync, 1, NULL));
		ASSERT_EQ(0, vsvm_exec_sync(&mirror, 0, &job, NULL, 0, NULL));
		ASSERT_EQ(0, vsvm_vm_destroy(&mirror));
	}
}

/* The last of many operations is wrong: none has happened. */
BOUND_TEST(all_or_nothing)
{
	for_each_bound(gpu, self) {
		uint32_t handle, other;
		uint64_t binds, value;
		VSVM_BIND(bind, 8);

		ASSERT_EQ(0, with_object(gpu, self->placement, 11, &handle));
		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &other));
		binds = bound_stat(gpu, binds);
		vsvm_bind_unmap(&bind, VA, SIZE / 2);
		vsvm_bind_map(&bind, VA, SIZE, other, 0);
		vsvm_bind_unmap(&bind, VA + SIZE / 4, self->page);
		vsvm_bind_map(&bind, VA2, SIZE, other, 0);
		vsvm_bind_map(&bind, VA, SIZE, 1000, 0);
		ASSERT_EQ(-ENOENT, vsvm_vm_bind(&gpu->vm, &bind, NULL, 0));
		ASSERT_EQ(0, unchanged(gpu, binds, 11));
		ASSERT_BOUND_ERROR(bound_read(gpu, VA2, &value), gpu, EFAULT, VA2);

		/* In their order, where all are right. */
		bind.num--;
		vsvm_bind_map(&bind, VA + SIZE / 4, self->page, handle, 0);
		vsvm_bind_unmap(&bind, VA2, SIZE / 2);
		vsvm_bind_unmap(&bind, VA2 + SIZE / 2, SIZE / 4);
		ASSERT_EQ(0, vsvm_vm_bind_wait(&gpu->vm, &bind));
		ASSERT_EQ(binds + bind.num, bound_stat(gpu, binds));
		ASSERT_EQ(0, bound_read(gpu, VA + SIZE / 4, &value));
		ASSERT_EQ(11, value);
		ASSERT_EQ(0, bound_read(gpu, VA, &value));
		ASSERT_EQ(0, value);
		ASSERT_EQ(0, bound_fill(gpu, VA + SIZE / 4 * 3, 8, 22));
		ASSERT_EQ(0, bound_read(gpu, VA2 + SIZE / 4 * 3, &value));
		ASSERT_EQ(22, value);
		ASSERT_BOUND_ERROR(bound_read(gpu, VA2 + SIZE / 2, &value), gpu, EFAULT,
				   VA2 + SIZE / 2);
		vsvm_gem_close(&gpu->dev, handle);
		vsvm_gem_close(&gpu->dev, other);
	}
}

/* ------------------------------------------------ each allocation fails in turn */

BOUND_TEST(no_memory)
{
	struct bound *gpu = &self->gpu[0];
	uint32_t handle, other, syncobj = syncobj_new(gpu);
	struct drm_vsvm_sync sync = vsvm_sync_out(syncobj, 1);
	unsigned int nth, failed;
	uint64_t binds, value;
	bool reached;
	int fd, ret;
	VSVM_BIND(bind, 3);
	VSVM_JOB(job, 1);

	if (self->n > 1)
		SKIP(return, "one device is enough");
	fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0 || fail_nth_begin()) {
		close(fd);
		SKIP(return, "no fault injection");
	}

	ASSERT_EQ(0, with_object(gpu, self->placement, 11, &handle));
	ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &other));
	binds = bound_stat(gpu, binds);
	vsvm_bind_unmap(&bind, VA + SIZE / 2, self->page);
	vsvm_bind_map(&bind, VA2, SIZE, other, 0);
	vsvm_bind_map(&bind, VA, self->page, other, 0);
	for (nth = 1, failed = 0, reached = true; reached; nth++) {
		ASSERT_GT(2000, nth);
		sync.point = nth;
		ret = FAIL_NTH(fd, nth, reached, vsvm_vm_bind(&gpu->vm, &bind, &sync, 1));
		if (ret) {
			failed++;
			ASSERT_EQ(-ENOMEM, ret);
			ASSERT_EQ(0, unchanged(gpu, binds, 11));
			continue;
		}
		/* The last one, or one that can be done without. */
		ASSERT_EQ(0, syncobj_wait(gpu, syncobj, nth));
		ASSERT_EQ(binds + 3, bound_stat(gpu, binds));
		ASSERT_EQ(0, bound_read(gpu, VA, &value));
		ASSERT_EQ(0, value);
		ASSERT_BOUND_ERROR(bound_read(gpu, VA + SIZE / 2, &value), gpu, EFAULT,
				   VA + SIZE / 2);
		ASSERT_EQ(0, bind_now(gpu, VA, SIZE, handle, 0));
		binds = bound_stat(gpu, binds);
	}
	TH_LOG("VM_BIND: %u failed of %u", failed, nth);
	ASSERT_LT(10, failed);

	/* A job that has to bring an object back first. */
	vsvm_job_fill(&job, (void *)(VA + self->page), 8, 12);
	for (nth = 1, failed = 0, reached = true; reached; nth++) {
		ASSERT_GT(2000, nth);
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "evict", 1));
		sync.point = 10000 + nth;
		ret = FAIL_NTH(fd, nth, reached,
			       vsvm_exec_sync(&gpu->vm, 0, &job, &sync, 1, NULL));
		if (!ret)
			continue;
		failed++;
		ASSERT_EQ(-ENOMEM, ret);
	}
	TH_LOG("EXEC: %u failed of %u", failed, nth);
	ASSERT_LT(5, failed);
	ASSERT_EQ(0, bound_read(gpu, VA + self->page, &value));
	ASSERT_EQ(12, value);

	for (nth = 1, failed = 0, reached = true; reached; nth++) {
		ASSERT_GT(2000, nth);
		ret = FAIL_NTH(fd, nth, reached,
			       vsvm_gem_create(&gpu->dev, SIZE, self->placement, &other));
		if (!ret) {
			ASSERT_EQ(0, vsvm_gem_close(&gpu->dev, other));
			continue;
		}
		failed++;
		ASSERT_EQ(-ENOMEM, ret);
	}
	TH_LOG("GEM_CREATE: %u failed of %u", failed, nth);
	ASSERT_LT(2, failed);
	for (nth = 1, failed = 0, reached = true; reached; nth++) {
		struct vsvm_vm vm;

		ASSERT_GT(2000, nth);
		ret = FAIL_NTH(fd, nth, reached,
			       vsvm_vm_create(&gpu->dev, variant->flags, &vm));
		if (!ret) {
			ASSERT_EQ(0, vsvm_vm_destroy(&vm));
			continue;
		}
		failed++;
		ASSERT_EQ(-ENOMEM, ret);
	}
	/* Most of it has a second way, or is taken from what was allocated before. */
	TH_LOG("VM_CREATE: %u failed of %u", failed, nth);
	ASSERT_LT(5, nth);
	close(fd);
	fail_nth_end();
}

/* ------------------------------------------------------ could it fail at all? */

/*
 * Takes away a page whose translation the device has, in its TLB. With the flush
 * left out the policeman sees it, and the test the old data; else neither.
 */
static int stale(struct bound *gpu, uint64_t va, bool cut, bool suppress, uint64_t *caught,
		 int *read)
{
	uint64_t value = 0;
	int ret = bound_read(gpu, va, &value);

	if (!ret && suppress)
		ret = vsvm_debugfs_set(&gpu->dev, "suppress_flush", 1);
	if (!ret)
		ret = unbind_now(gpu, cut ? va : VA, cut ? page_size() : SIZE);
	if (ret)
		return ret;
	*read = bound_read(gpu, va, &value);
	if (!*read && value != 11)
		return -EILSEQ;
	*caught = bound_violations(gpu);
	/* The entry goes with the next flush of it, and with it the proof. */
	ret = bind_now(gpu, VA, SIZE, gpu->out_handle + 1, 0);
	if (!ret)
		ret = unbind_now(gpu, VA, SIZE);
	if (!ret)
		ret = vsvm_debugfs_set(&gpu->dev, "violations", 0);
	return ret;
}

BOUND_TEST(policeman)
{
	for_each_bound(gpu, self) {
		struct drm_vsvm_error error;
		uint32_t handle;
		uint64_t caught;
		int read;

		ASSERT_EQ(0, bound_violations(gpu));
		for (unsigned int cut = 0; cut < 2; cut++) {
			ASSERT_EQ(0, with_object(gpu, self->placement, 11, &handle));
			ASSERT_EQ(gpu->out_handle + 1, handle);
			ASSERT_EQ(0, stale(gpu, VA + SIZE / 2, cut, false, &caught, &read));
			ASSERT_EQ(0, caught);
			ASSERT_EQ(-EIO, read);
			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			ASSERT_EQ(EFAULT, error.error);

			ASSERT_EQ(0, bind_now(gpu, VA, SIZE, handle, 0));
			ASSERT_EQ(0, stale(gpu, VA + SIZE / 2, cut, true, &caught, &read));
			/* What is left in the TLB, and the read. */
			ASSERT_LE(2, caught);
			ASSERT_EQ(0, read);
			ASSERT_EQ(0, vsvm_gem_close(&gpu->dev, handle));
		}
	}
}

/* ------------------------------------------------ shared reservation object */

/* The fences of all devices are in the one object, or each in its own. */
BOUND_TEST(shared_resv)
{
	const bool shared = variant->flags & DRM_VSVM_VM_SHARED_RESV;
	unsigned int resv[4];
	struct blocker b;
	char fences[4096], name[32];

	for (unsigned int i = 0; i < self->n; i++) {
		struct bound *gpu = &self->gpu[i];
		struct drm_vsvm_sync sync;
		VSVM_BIND(bind, 1);
		VSVM_JOB(job, 1);
		int fd;

		/* All wait for one fence. */
		if (!i)
			ASSERT_EQ(0, block(gpu, 0, &b));
		ASSERT_EQ(0, drmSyncobjHandleToFD(self->gpu[0].dev.fd, b.syncobj, &fd));
		sync = vsvm_sync_in(0, 0);
		ASSERT_EQ(0, drmSyncobjFDToHandle(gpu->dev.fd, fd, &sync.handle));
		close(fd);
		vsvm_job_nop(&job);
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 0, &job, &sync, 1, NULL));
		vsvm_bind_unmap(&bind, VA, SIZE);
		ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, &sync, 1));
	}
	for (unsigned int i = 0; i < self->n; i++) {
		ASSERT_EQ(0, bound_resv(&self->gpu[i], &resv[i], fences, sizeof(fences)));
		for (unsigned int d = 0; d < self->n; d++) {
			snprintf(name, sizeof(name), "vsvm.%u-exec", d);
			ASSERT_EQ(shared || d == i, !!strstr(fences, name))
				TH_LOG("VM %u: %s", i, fences);
			snprintf(name, sizeof(name), "vsvm.%u-bind", d);
			ASSERT_EQ(shared || d == i, !!strstr(fences, name));
		}
		ASSERT_EQ(shared || !i, resv[i] == resv[0]);
	}
	ASSERT_EQ(0, unblock(&b));
}

/*
 * An object of two VMs of a file, and one who has it locked while he waits for a job of
 * the second VM. The file may be closed when this returns.
 */
static int two_and_a_waiter(struct bound *gpu, uint32_t flags, struct toucher *toucher,
			    void **ptr)
{
	struct bound second = *gpu;
	uint32_t handle;
	int fd, ret;

	ret = vsvm_vm_create(&gpu->dev, flags, &second.vm);
	if (!ret)
		ret = with_object(gpu, DEVICE, 7, &handle);
	if (!ret)
		ret = bind_now(&second, VA, SIZE, handle, 0);
	if (!ret)
		ret = vsvm_gem_export(&gpu->dev, handle, &fd);
	if (ret)
		return ret;
	/* A mapping of its own would keep the file. */
	*ptr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (*ptr == MAP_FAILED)
		return -errno;
	munmap((void *)gpu->out, page_size());
	gpu->out = NULL;
	return bound_endless(&second, 0, VA, 0) ?:
		touch_begin(toucher, (char *)*ptr + SIZE / 2);
}

/* Both go with their file: the job of the second ends before the first is taken apart. */
BOUND_TEST(close_two)
{
	struct toucher toucher;
	struct bound gpu = {};
	void *ptr;

	if (self->placement != DEVICE)
		SKIP(return, "only in device memory");
	ASSERT_EQ(0, bound_open(&gpu, 0, variant->flags));
	ASSERT_EQ(0, two_and_a_waiter(&gpu, variant->flags, &toucher, &ptr));
	vsvm_close(&gpu.dev);
	ASSERT_EQ(0, touch_end(&toucher));
	ASSERT_EQ(7, toucher.value);
	munmap(ptr, SIZE);
}

/* And with their device. */
BOUND_TEST(unplug_two)
{
	struct bound *gpu = &self->gpu[0];
	struct toucher toucher;
	void *ptr;

	if (self->placement != DEVICE)
		SKIP(return, "only in device memory");
	ASSERT_EQ(0, two_and_a_waiter(gpu, variant->flags, &toucher, &ptr));
	ASSERT_EQ(0, vsvm_unplug(0));
	ASSERT_EQ(0, touch_end(&toucher));
	ASSERT_EQ(7, toucher.value);
	munmap(ptr, SIZE);
	vsvm_close(&gpu->dev);
	ASSERT_EQ(0, vsvm_plug(0));
	ASSERT_EQ(0, bound_open(gpu, 0, variant->flags));
}

TEST_HARNESS_MAIN
