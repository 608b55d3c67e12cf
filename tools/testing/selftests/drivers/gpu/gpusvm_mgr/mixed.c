// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * VMs with mirrors that see something else at some addresses: objects that are bound
 * over the process's memory, and that memory at other addresses. User pointers of VMs
 * without mirrors are in userptr.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include <xf86drm.h>

#include "gpusvm_test.h"

#define SIZE	(64 * KIB)
#define SYSTEM	DRM_VSVM_PLACEMENT_SYSTEM
#define DEVICE	DRM_VSVM_PLACEMENT_DEVICE

/*
 * Addresses below what mmap() hands out, with mirrors at first: they are taken out
 * where something is to be seen there.
 */
#define VA	0x4000000000ULL
#define VA2	0x4800003000ULL

/* An object, and the CPU's mapping of it. */
struct object {
	uint32_t handle;
	size_t size;
	uint64_t *ptr;
};

static int object_new(struct gpu *gpu, uint32_t placement, size_t size, struct object *obj)
{
	void *ptr;
	int ret;

	memset(obj, 0, sizeof(*obj));
	obj->size = size;
	ret = vsvm_gem_create(&gpu->dev, size, placement, &obj->handle);
	if (!ret)
		ret = vsvm_gem_map(&gpu->dev, obj->handle, NULL, size, &ptr);
	if (!ret)
		obj->ptr = ptr;
	return ret;
}

static void object_free(struct gpu *gpu, struct object *obj)
{
	if (obj->ptr)
		munmap(obj->ptr, obj->size);
	if (obj->handle)
		vsvm_gem_close(&gpu->dev, obj->handle);
}

static int bind_map(struct gpu *gpu, uint64_t addr, uint64_t size, uint32_t handle,
		    uint64_t offset)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_map(&bind, addr, size, handle, offset);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

static int bind_unmap(struct gpu *gpu, uint64_t addr, uint64_t size)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_unmap(&bind, addr, size);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

static int mirror(struct gpu *gpu, uint64_t addr, uint64_t size, const void *ptr)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_mirror(&bind, addr, size, ptr);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

static int unmirror(struct gpu *gpu, uint64_t addr, uint64_t size)
{
	VSVM_BIND(bind, 1);

	vsvm_bind_unmirror(&bind, addr, size);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

/* Instead of what is mirrored there now. */
static int mirror_over(struct gpu *gpu, uint64_t addr, uint64_t size, const void *ptr)
{
	VSVM_BIND(bind, 2);

	vsvm_bind_unmirror(&bind, addr, size);
	vsvm_bind_mirror(&bind, addr, size, ptr);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

/* All of the process is seen where it is again. */
static int undo(struct gpu *gpu, uint64_t addr, uint64_t size)
{
	VSVM_BIND(bind, 3);

	vsvm_bind_unmap(&bind, addr, size);
	vsvm_bind_unmirror(&bind, addr, size);
	vsvm_bind_mirror(&bind, addr, size, (void *)(uintptr_t)addr);
	return vsvm_vm_bind(&gpu->vm, &bind, NULL, 0);
}

/* The device has the checksum of what @data is for the CPU at @addr. */
static int sees(struct gpu *gpu, uint64_t addr, const void *data, size_t len)
{
	uint64_t sum;
	int ret = gpu_checksum(gpu, (void *)(uintptr_t)addr, len, &sum);

	if (ret)
		return ret;
	return sum == vsvm_checksum(data, len) ? 0 : -EILSEQ;
}

static char *at(uint64_t addr)
{
	return (char *)(uintptr_t)addr;
}

/* An object in the middle: there it is seen, on this device, and only there. */
GPU_TEST(over_mirrored)
{
	const size_t mid = SIZE / 4, len = SIZE / 2;

	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		for (uint32_t placement = SYSTEM; placement <= DEVICE; placement++) {
			char *buf = buf_alloc(SIZE);
			struct object obj;

			ASSERT_NE(NULL, buf);
			buf_init(buf, SIZE, 1);
			ASSERT_EQ(0, object_new(gpu, placement, SIZE, &obj));
			buf_init(obj.ptr, SIZE, 2);
			/* What is mapped at that time, or not. */
			if (placement == SYSTEM)
				ASSERT_EQ(0, sees(gpu, vsvm_addr(buf), buf, SIZE));
			ASSERT_EQ(0, bind_map(gpu, vsvm_addr(buf) + mid, len, obj.handle, mid));

			ASSERT_EQ(0, sees(gpu, vsvm_addr(buf), buf, mid));
			ASSERT_EQ(0, sees(gpu, vsvm_addr(buf) + mid, (char *)obj.ptr + mid, len));
			ASSERT_EQ(0, sees(gpu, vsvm_addr(buf) + mid + len, buf + mid + len,
					  SIZE - mid - len));
			for_each_gpu(other, self) {
				if (other != gpu)
					ASSERT_EQ(0, sees(other, vsvm_addr(buf), buf, SIZE));
			}

			/* Across both edges. */
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 7));
			ASSERT_EQ(-1, buf_check(buf, mid, 1, 7));
			for (size_t i = WORDS(mid); i < WORDS(mid + len); i++) {
				ASSERT_EQ(pattern(1, i), ((uint64_t *)buf)[i]);
				ASSERT_EQ(pattern(2, i) + 7, obj.ptr[i]);
			}
			for (size_t i = WORDS(mid + len); i < WORDS(SIZE); i++)
				ASSERT_EQ(pattern(1, i) + 7, ((uint64_t *)buf)[i]);
			ASSERT_EQ(-1, buf_check(obj.ptr, mid, 2, 0));

			/* Unbound, it is nothing, and what is around it stays. */
			ASSERT_EQ(0, bind_unmap(gpu, vsvm_addr(buf) + mid, len));
			ASSERT_GPU_ERROR(gpu_fill(gpu, buf + mid, len, 0), gpu, EFAULT, buf + mid,
					 DRM_VSVM_ERROR_WRITE);
			ASSERT_EQ(0, sees(gpu, vsvm_addr(buf), buf, mid));
			/* Mirrored again. */
			ASSERT_EQ(0, mirror(gpu, vsvm_addr(buf) + mid, len, buf + mid));
			ASSERT_EQ(0, sees(gpu, vsvm_addr(buf), buf, SIZE));
			object_free(gpu, &obj);
			buf_free(buf, SIZE);
		}
	}
}

/*
 * Jobs at work on both sides, and across, while objects come and go in the middle. Each
 * addition has to be in the process's memory or in the object, and none is lost; no job
 * meets a hole.
 */
GPU_TEST(while_running)
{
	enum { ADDS = 256, ROUNDS = 12, MANY = 2000 };
	const size_t mid = SIZE / 4, len = SIZE / 2;
	struct object obj[4];
	unsigned int round;
	bool at_work;
	char *buf[4];

	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];
		VSVM_JOB(job, ADDS);

		buf[i] = buf_alloc(SIZE);
		ASSERT_NE(NULL, buf[i]);
		buf_init(buf[i], SIZE, i);
		ASSERT_EQ(0, object_new(gpu, i % 2 ? DEVICE : SYSTEM, SIZE, &obj[i]));
		while (job.num < job.max)
			vsvm_job_add(&job, buf[i], SIZE, 1);
		ASSERT_EQ(0, gpu_start(gpu, 1, &job));
	}
	/* For as long as they are at work, but a few times in any case. */
	for (round = 0, at_work = true; round < ROUNDS || (at_work && round < MANY); round++) {
		at_work = false;
		for (unsigned int i = 0; i < self->g->n; i++) {
			uint64_t addr = vsvm_addr(buf[i]) + mid;
			struct gpu *gpu = &self->gpu[i];

			at_work |= __atomic_load_n(&gpu->fence[1], __ATOMIC_ACQUIRE) <
				   gpu->value[1];
			ASSERT_EQ(0, round % 2 ? mirror(gpu, addr, len, buf[i] + mid) :
					    bind_map(gpu, addr, len, obj[i].handle, mid));
		}
	}
	TH_LOG("%u rounds", round);
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];

		ASSERT_EQ(0, gpu_finish(gpu, 1));
		for (size_t w = 0; w < WORDS(SIZE); w++) {
			uint64_t there = ((uint64_t *)buf[i])[w] - pattern(i, w);
			bool inside = w >= WORDS(mid) && w < WORDS(mid + len);

			ASSERT_EQ(ADDS, there + obj[i].ptr[w]) {
				TH_LOG("device %u, word %zu: %" PRIu64 " and %" PRIu64, i, w,
				       there, (uint64_t)obj[i].ptr[w]);
			}
			if (!inside)
				ASSERT_EQ(0, obj[i].ptr[w]);
		}
		object_free(gpu, &obj[i]);
		buf_free(buf[i], SIZE);
	}
}

/* The process's memory at another address, and at both at once. */
GPU_TEST(elsewhere)
{
	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	/* manual: mirror */
	for_each_gpu(gpu, self) {
		char *data = buf_alloc(SIZE);
		VSVM_BIND(bind, 3);

		ASSERT_NE(NULL, data);
		buf_init(data, SIZE, 1);
		/* The second half first; nothing else of the process is seen there. */
		vsvm_bind_unmirror(&bind, VA, SIZE);
		vsvm_bind_mirror(&bind, VA, SIZE / 2, data + SIZE / 2);
		vsvm_bind_mirror(&bind, VA + SIZE / 2, SIZE / 2, data);
		ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, NULL, 0));

		/* A byte has three addresses on this device now. */
		ASSERT_EQ(0, gpu_add(gpu, at(VA), SIZE, 1));
		ASSERT_EQ(0, gpu_add(gpu, data, SIZE, 1));
		ASSERT_EQ(-1, buf_check(data, SIZE, 1, 2));
		ASSERT_EQ(0, sees(gpu, VA, data + SIZE / 2, SIZE / 2));
		ASSERT_EQ(0, sees(gpu, VA + SIZE / 2, data, SIZE / 2));

		/* When the process unmaps it, it is gone at all of them. */
		buf_free(data, SIZE);
		ASSERT_GPU_ERROR(gpu_fill(gpu, at(VA), 8, 0), gpu, EFAULT, VA,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, undo(gpu, VA, SIZE));
	}
	/* manual: end */
}

/* What the process does to its memory is seen at all places, whoever moves it. */
static int child_writes(void *arg)
{
	uint64_t *words = arg;

	words[0] = 77;
	return words[0] == 77 ? 0 : 1;
}

GPU_TEST(follows)
{
	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		char *buf = buf_alloc(SIZE), *moved;
		uint64_t value;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 3);
		ASSERT_EQ(0, mirror_over(gpu, VA2, SIZE, buf));
		ASSERT_EQ(0, sees(gpu, VA2, buf, SIZE));

		ASSERT_EQ(0, madvise(buf, self->page, MADV_DONTNEED));
		ASSERT_EQ(0, gpu_read64(gpu, at(VA2), &value));
		ASSERT_EQ(0, value);
		/* Nothing is written into what became another process's. */
		ASSERT_EQ(0, gpu_write64(gpu, at(VA2), 5));
		ASSERT_EQ(0, run_child(child_writes, buf));
		ASSERT_EQ(0, gpu_write64(gpu, at(VA2), 6));
		ASSERT_EQ(6, *(volatile uint64_t *)buf);
		/* An address, and not what is there. */
		moved = mremap(buf, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, at(VA));
		ASSERT_EQ(at(VA), moved);
		ASSERT_GPU_ERROR(gpu_fill(gpu, at(VA2), 8, 0), gpu, EFAULT, VA2,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, mirror_over(gpu, VA2, SIZE, moved));
		ASSERT_EQ(0, sees(gpu, VA2, moved, SIZE));
		ASSERT_EQ(6, *(volatile uint64_t *)moved);

		/* Protection. */
		ASSERT_EQ(0, mprotect(moved, SIZE, PROT_READ));
		ASSERT_GPU_ERROR(gpu_fill(gpu, at(VA2), 8, 0), gpu, EPERM, VA2,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, sees(gpu, VA2, moved, SIZE));
		munmap(moved, SIZE);
		ASSERT_EQ(0, undo(gpu, VA2, SIZE));
		/* What is left around where it was. */
		munmap(buf - CHUNK, CHUNK);
		munmap(buf + SIZE, CHUNK);
	}
}

/* A huge page, seen where it is not aligned to one, and cut. */
GPU_TEST(huge)
{
	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		const size_t half = CHUNK / 2;
		char *buf = buf_alloc(CHUNK);
		struct object obj;

		ASSERT_NE(NULL, buf);
		/* Where there are none the test is one of small pages. */
		madvise(buf, CHUNK, MADV_HUGEPAGE);
		buf_init(buf, CHUNK, 4);
		ASSERT_EQ(0, object_new(gpu, SYSTEM, SIZE, &obj));
		buf_init(obj.ptr, SIZE, 5);
		ASSERT_EQ(0, mirror_over(gpu, VA2, CHUNK, buf));
		ASSERT_EQ(0, mirror_over(gpu, VA, CHUNK, buf));
		ASSERT_EQ(0, gpu_add(gpu, at(VA2), CHUNK, 1));
		ASSERT_EQ(0, gpu_add(gpu, at(VA), CHUNK, 1));
		ASSERT_EQ(-1, buf_check(buf, CHUNK, 4, 2));

		ASSERT_EQ(0, bind_map(gpu, VA + SIZE, SIZE, obj.handle, 0));
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));
		ASSERT_EQ(0, sees(gpu, VA + SIZE, obj.ptr, SIZE));
		ASSERT_EQ(0, sees(gpu, VA + 2 * SIZE, buf + 2 * SIZE, SIZE));
		ASSERT_EQ(0, sees(gpu, VA + CHUNK - SIZE, buf + CHUNK - SIZE, SIZE));
		ASSERT_EQ(0, unmirror(gpu, VA2 + half, self->page));
		ASSERT_EQ(0, sees(gpu, VA2 + half - SIZE, buf + half - SIZE, SIZE));
		ASSERT_EQ(0, sees(gpu, VA2 + half + self->page, buf + half + self->page, SIZE));
		ASSERT_GPU_ERROR(gpu_fill(gpu, at(VA2), CHUNK, 0), gpu, EFAULT, VA2 + half,
				 DRM_VSVM_ERROR_WRITE);
		/* As far as it came. */
		ASSERT_EQ(-1, buf_check_value(buf, half, 0));
		ASSERT_EQ(0, undo(gpu, VA, CHUNK));
		ASSERT_EQ(0, undo(gpu, VA2, CHUNK));
		object_free(gpu, &obj);
		buf_free(buf, CHUNK);
	}
}

/* Where the device may only read, and where it may write the same. */
GPU_TEST(read_only)
{
	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		char *buf = buf_alloc(SIZE);
		struct object obj;
		VSVM_BIND(bind, 4);

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 6);
		ASSERT_EQ(0, object_new(gpu, SYSTEM, SIZE, &obj));
		vsvm_bind_unmirror(&bind, VA, SIZE);
		vsvm_bind_mirror_read_only(&bind, VA, SIZE, buf);
		vsvm_bind_map_read_only(&bind, VA2, SIZE, obj.handle, 0);
		ASSERT_EQ(0, vsvm_vm_bind(&gpu->vm, &bind, NULL, 0));
		for (unsigned int i = 0; i < 2; i++) {
			ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));
			ASSERT_GPU_ERROR(gpu_fill(gpu, at(VA), 8, 0), gpu, EPERM, VA,
					 DRM_VSVM_ERROR_WRITE);
			ASSERT_GPU_ERROR(gpu_atomic_add(gpu, at(VA), 1, 1), gpu, EPERM, VA,
					 DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC);
			ASSERT_GPU_ERROR(gpu_fill(gpu, at(VA2), 8, 1), gpu, EPERM, VA2,
					 DRM_VSVM_ERROR_WRITE);
			/* With a PTE that permits it at the other address. */
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 0));
		}
		ASSERT_EQ(-1, buf_check(buf, SIZE, 6, 0));
		ASSERT_EQ(0, obj.ptr[0]);
		ASSERT_EQ(0, undo(gpu, VA, SIZE));
		ASSERT_EQ(0, undo(gpu, VA2, SIZE));
		object_free(gpu, &obj);
		buf_free(buf, SIZE);
	}
}

/* The object moves under the jobs, which fault on it; the CPU takes it each time. */
GPU_TEST(object_moves)
{
	enum { ADDS = 64, ROUNDS = 8 };

	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	if (!self->gpu->dev.info.vram_size)
		SKIP(return, "no device memory");
	for_each_gpu(gpu, self) {
		uint64_t rebinds = gpu_stat(gpu, rebinds);
		VSVM_JOB(job, ADDS);
		struct object obj;

		ASSERT_EQ(0, object_new(gpu, DEVICE, SIZE, &obj));
		while (job.num < job.max)
			vsvm_job_add(&job, at(VA), SIZE, 1);
		for (unsigned int round = 0; round < ROUNDS; round++) {
			/* A bind takes it into device memory. */
			ASSERT_EQ(0, bind_map(gpu, VA, SIZE, obj.handle, 0));
			ASSERT_EQ(0, gpu_start(gpu, 0, &job));
			/* At the latest now the device has lost its PTEs. */
			for (size_t i = 0; i < WORDS(SIZE); i += WORDS(self->page))
				ASSERT_LE(ADDS * round, ((volatile uint64_t *)obj.ptr)[i]);
			ASSERT_EQ(0, gpu_finish(gpu, 0));
			ASSERT_EQ(-1, buf_check_value(obj.ptr, SIZE, ADDS * (round + 1)));
		}
		/* After all of this the object is the CPU's, and the device's, too. */
		ASSERT_EQ(0, gpu_add(gpu, at(VA), SIZE, 1));
		ASSERT_EQ(-1, buf_check_value(obj.ptr, SIZE, ADDS * ROUNDS + 1));
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "evict", 1));
		ASSERT_EQ(0, gpu_add(gpu, at(VA), SIZE, 1));
		ASSERT_LT(rebinds, gpu_stat(gpu, rebinds));
		ASSERT_EQ(0, undo(gpu, VA, SIZE));
		object_free(gpu, &obj);
	}
}

/* One object over the same span on all devices, which the process sees as well. */
GPU_TEST(all_devices)
{
	char *buf = buf_alloc(SIZE);
	uint32_t handle[4];
	struct object obj;
	int fd;

	if (!managed())
		SKIP(buf_free(buf, SIZE); return, "this back end has no mirror operations");
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 8);
	ASSERT_EQ(0, object_new(&self->gpu[0], DEVICE, SIZE, &obj));
	ASSERT_EQ(0, vsvm_gem_export(&self->gpu[0].dev, obj.handle, &fd));
	for (unsigned int i = 0; i < self->g->n; i++) {
		handle[i] = obj.handle;
		if (i)
			ASSERT_EQ(0, vsvm_gem_import(&self->gpu[i].dev, fd, &handle[i]));
		ASSERT_EQ(0, bind_map(&self->gpu[i], vsvm_addr(buf), SIZE, handle[i], 0));
	}
	close(fd);
	for_each_gpu(gpu, self)
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	ASSERT_EQ(-1, buf_check_value(obj.ptr, SIZE, self->g->n));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 8, 0));
	/* At once. */
	for_each_gpu(gpu, self) {
		VSVM_JOB(job, 16);

		for (unsigned int i = 0; i < job.max; i++)
			vsvm_job_atomic_add(&job, (uint64_t *)buf + i, 1, 1000);
		ASSERT_EQ(0, gpu_start(gpu, 0, &job));
	}
	for_each_gpu(gpu, self)
		ASSERT_EQ(0, gpu_finish(gpu, 0));
	ASSERT_EQ(-1, buf_check_value(obj.ptr, 16 * 8, self->g->n * 1001));
	for_each_gpu(gpu, self)
		ASSERT_EQ(0, mirror(gpu, vsvm_addr(buf), SIZE, buf));
	for_each_gpu(gpu, self)
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 8, self->g->n));
	ASSERT_EQ(self->g->n, obj.ptr[WORDS(SIZE) - 1]);
	for (unsigned int i = 1; i < self->g->n; i++)
		vsvm_gem_close(&self->gpu[i].dev, handle[i]);
	object_free(&self->gpu[0], &obj);
	buf_free(buf, SIZE);
}

/* Syncobjs: what is waited for has happened when the call returns, and what it did. */

struct waiter {
	struct gpu *gpu;
	uint64_t addr;
	const void *ptr;
	uint32_t in, out;
	int ret;
	int status[2];
};

static void *waiter_thread(void *arg)
{
	struct waiter *w = arg;
	struct drm_vsvm_sync syncs[2] = { vsvm_sync_in(w->in, 0), vsvm_sync_out(w->out, 0) };
	VSVM_BIND(bind, 2);

	vsvm_bind_unmirror(&bind, w->addr, SIZE);
	vsvm_bind_mirror(&bind, w->addr, SIZE, w->ptr);
	w->ret = vsvm_vm_bind(&w->gpu->vm, &bind, syncs, 2);
	w->status[0] = vsvm_syncobj_status(w->gpu->dev.fd, w->in);
	w->status[1] = vsvm_syncobj_status(w->gpu->dev.fd, w->out);
	return NULL;
}

GPU_TEST(syncs)
{
	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		struct waiter w = { .gpu = gpu, .addr = VA };
		struct drm_vsvm_sync sync;
		struct vsvm_vm blocker;
		struct object obj;
		pthread_t thread;
		VSVM_BIND(bind, 1);
		VSVM_JOB(job, 512);
		char *buf = buf_alloc(SIZE);

		/* A job without end of a VM without mirrors: it ends with that. */
		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 9);
		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, 0, &blocker));
		ASSERT_EQ(0, object_new(gpu, SYSTEM, SIZE, &obj));
		vsvm_bind_map(&bind, VA, SIZE, obj.handle, 0);
		ASSERT_EQ(0, vsvm_vm_bind_wait(&blocker, &bind));
		ASSERT_EQ(0, drmSyncobjCreate(gpu->dev.fd, 0, &w.in));
		ASSERT_EQ(0, drmSyncobjCreate(gpu->dev.fd, 0, &w.out));
		while (job.num < job.max)
			vsvm_job_atomic_add(&job, (uint64_t *)at(VA), 1, DRM_VSVM_MAX_LEN);
		sync = vsvm_sync_out(w.in, 0);
		ASSERT_EQ(0, vsvm_exec_sync(&blocker, 0, &job, &sync, 1, NULL));

		w.ptr = buf;
		ASSERT_EQ(0, pthread_create(&thread, NULL, waiter_thread, &w));
		/* Meanwhile others go on, also with this VM. */
		ASSERT_EQ(0, mirror_over(gpu, VA2, SIZE, buf));
		ASSERT_EQ(0, sees(gpu, VA2, buf, SIZE));
		ASSERT_EQ(0, vsvm_syncobj_status(gpu->dev.fd, w.in));
		ASSERT_EQ(0, vsvm_vm_destroy(&blocker));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(0, w.ret);
		/* It ended with an error, that of the bind did not. */
		ASSERT_EQ(-ECANCELED, w.status[0]);
		ASSERT_EQ(1, w.status[1]);
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));
		drmSyncobjDestroy(gpu->dev.fd, w.in);
		drmSyncobjDestroy(gpu->dev.fd, w.out);
		ASSERT_EQ(0, undo(gpu, VA, SIZE));
		ASSERT_EQ(0, undo(gpu, VA2, SIZE));
		object_free(gpu, &obj);
		buf_free(buf, SIZE);
	}
}

/* The VM goes with all of it, and with a job at work. */
GPU_TEST(destroy)
{
	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		char *buf = buf_alloc(SIZE);
		struct object obj;
		struct gpu own;

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, gpu_open(&own, gpu - self->gpu, DRM_VSVM_VM_MIRROR));
		ASSERT_EQ(0, object_new(&own, DEVICE, SIZE, &obj));
		ASSERT_EQ(0, mirror_over(&own, VA2, SIZE, buf));
		ASSERT_EQ(0, bind_map(&own, vsvm_addr(buf) + self->page, self->page, obj.handle,
				      self->page));
		ASSERT_EQ(0, bind_map(&own, VA, SIZE, obj.handle, 0));
		ASSERT_EQ(0, gpu_fill(&own, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_start_endless(&own, 0, (uint64_t *)at(VA)));
		ASSERT_EQ(0, gpu_start_endless(&own, 1, (uint64_t *)at(VA2)));
		ASSERT_EQ(0, vsvm_vm_destroy(&own.vm));
		/* The object is still there, the VM has no more of it. */
		ASSERT_EQ(1, obj.ptr[WORDS(self->page)]);
		object_free(&own, &obj);
		vsvm_close(&own.dev);
		buf_free(buf, SIZE);
	}
}

/* ------------------------------------------------------------------- bad input */

static int in_child(void *arg)
{
	struct gpu *gpu = arg;

	CHECK(unmirror(gpu, VA, SIZE) == -EPERM);
	return 0;
}

GPU_TEST(bad_bind)
{
	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		const uint64_t end = gpu->dev.info.va_end;
		struct drm_vsvm_bind_op ops[3];
		struct drm_vsvm_vm_bind args;
		struct object obj;
		char *buf = buf_alloc(SIZE);
		uint64_t binds;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 10);
		ASSERT_EQ(0, object_new(gpu, SYSTEM, SIZE, &obj));
		buf_init(obj.ptr, SIZE, 11);
		ASSERT_EQ(0, bind_map(gpu, vsvm_addr(buf), SIZE / 2, obj.handle, 0));
		ASSERT_EQ(0, mirror_over(gpu, VA, SIZE, buf));
		binds = gpu_stat(gpu, binds);

		/* Two that would do something, and one that is wrong. */
#define BAD(error__, ...)							\
		do {								\
			struct drm_vsvm_bind_op *op = &ops[2];			\
										\
			ops[0] = (struct drm_vsvm_bind_op) {			\
				.type = DRM_VSVM_BIND_UNMIRROR, .addr = VA,	\
				.range = SIZE,					\
			};							\
			ops[1] = (struct drm_vsvm_bind_op) {			\
				.type = DRM_VSVM_BIND_MAP, .addr = VA,		\
				.range = SIZE / 2, .handle = obj.handle,	\
			};							\
			*op = (struct drm_vsvm_bind_op) {			\
				.type = DRM_VSVM_BIND_MIRROR, .addr = VA,	\
				.range = SIZE, .offset = vsvm_addr(buf),	\
			};							\
			args = (struct drm_vsvm_vm_bind) {			\
				.vm_id = gpu->vm.id, .num_ops = 3,		\
				.ops = (uintptr_t)ops,				\
			};							\
			__VA_ARGS__;						\
			ASSERT_EQ(-1, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_VM_BIND, &args)); \
			ASSERT_EQ(error__, errno);				\
		} while (0)

		BAD(EINVAL, op->type = 5);
		BAD(EINVAL, op->type = DRM_VSVM_BIND_USERPTR);
		BAD(EINVAL, op->flags = 2);
		BAD(EINVAL, op->flags = 1u << 31);
		BAD(EINVAL, op->handle = obj.handle);
		BAD(EINVAL, op->pad = 1);
		BAD(EINVAL, op->addr += 8);
		BAD(EINVAL, op->addr = end);
		BAD(EINVAL, op->addr = end - SIZE + self->page);
		BAD(EINVAL, op->addr = ~(self->page - 1));
		BAD(EINVAL, op->range = 0);
		BAD(EINVAL, op->range = 8);
		BAD(EINVAL, op->range = ~(self->page - 1));
		BAD(EINVAL, op->offset += 8);
		BAD(EINVAL, op->offset = 1ULL << 63);
		BAD(EINVAL, op->offset = ~(self->page - 1));
		BAD(EINVAL, op->offset = end - SIZE + self->page);
		BAD(EINVAL, op->offset = end);
		BAD(EINVAL, op->type = DRM_VSVM_BIND_UNMIRROR);
		BAD(EINVAL, op->type = DRM_VSVM_BIND_UNMIRROR; op->offset = 0; op->flags = 1);
		BAD(EINVAL, op->type = DRM_VSVM_BIND_UNMIRROR; op->offset = 0;
		    op->handle = obj.handle);
		BAD(ENOENT, op->type = DRM_VSVM_BIND_MAP; op->handle = 1000; op->offset = 0);
		/* Something is mirrored there: from the beginning, or a moment ago. */
		BAD(EEXIST, op->addr = vsvm_addr(buf) + SIZE / 2);
		BAD(EEXIST, op->addr = VA - self->page);
		BAD(EEXIST, op->addr = VA + self->page);
		BAD(EEXIST, op->addr = VA + SIZE - self->page; op->range = 2 * self->page);
		BAD(EEXIST, ops[1] = *op);
		BAD(EINVAL, args.flags = 1);
		BAD(EINVAL, args.num_ops = 0);
		BAD(EFAULT, args.ops = 8);
#undef BAD
		ASSERT_EQ(binds, gpu_stat(gpu, binds));
		ASSERT_EQ(0, run_child(in_child, gpu));
		/* As it was before. */
		ASSERT_EQ(0, sees(gpu, vsvm_addr(buf), obj.ptr, SIZE / 2));
		ASSERT_EQ(0, sees(gpu, vsvm_addr(buf) + SIZE / 2, buf + SIZE / 2, SIZE / 2));
		ASSERT_EQ(0, sees(gpu, VA, buf, SIZE));

		/* The whole of what there is, and nothing of it. */
		ASSERT_EQ(0, unmirror(gpu, VA, SIZE));
		ASSERT_EQ(0, unmirror(gpu, VA, SIZE));
		ASSERT_EQ(0, mirror(gpu, VA, SIZE, at(end - SIZE)));
		ASSERT_EQ(0, undo(gpu, VA, SIZE));
		ASSERT_EQ(0, undo(gpu, vsvm_addr(buf), SIZE));
		object_free(gpu, &obj);
		buf_free(buf, SIZE);
	}
}

/* VMs that do without the manager have none of it. */
GPU_TEST(no_manager)
{
	const uint32_t flags[] = { DRM_VSVM_VM_UPSTREAM, DRM_VSVM_VM_TWO_PASS };

	for_each_gpu(gpu, self) {
		for (unsigned int i = 0; i < 2; i++) {
			struct gpu old = { .dev = gpu->dev };
			struct object obj;

			ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | flags[i],
						    &old.vm));
			ASSERT_EQ(0, object_new(gpu, SYSTEM, SIZE, &obj));
			ASSERT_EQ(-EOPNOTSUPP, unmirror(&old, VA, SIZE));
			ASSERT_EQ(-EOPNOTSUPP, mirror(&old, VA, SIZE, at(VA)));
			ASSERT_EQ(-EOPNOTSUPP, bind_map(&old, VA, SIZE, obj.handle, 0));
			ASSERT_EQ(0, vsvm_vm_destroy(&old.vm));
			object_free(gpu, &obj);
		}
	}
}

/* ------------------------------------------------------ could it fail at all? */

/*
 * An object comes over memory that the device has in its TLB. With the flush left out
 * the policeman sees it, and the device the process's memory still; else neither.
 */
GPU_TEST(policeman)
{
	uint64_t before, value;
	int ret;

	if (!managed())
		SKIP(return, "this back end has no mirror operations");
	for_each_gpu(gpu, self) {
		for (unsigned int suppress = 0; suppress < 2; suppress++) {
			uint64_t *buf = buf_alloc(self->page);
			struct object obj;

			ASSERT_NE(NULL, buf);
			ASSERT_EQ(0, object_new(gpu, SYSTEM, self->page, &obj));
			buf[0] = 12;
			obj.ptr[0] = 13;
			ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
			ASSERT_EQ(12, value);
			before = gpu_stat(gpu, violations);
			if (suppress)
				ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "suppress_flush", 1));
			ASSERT_EQ(0, bind_map(gpu, vsvm_addr(buf), self->page, obj.handle, 0));
			ret = gpu_read64(gpu, buf, &value);
			/* An IOMMU may not let it come that far. */
			if (!suppress || gpu->dev.info.dma < DRM_VSVM_DMA_TRANSLATED)
				ASSERT_EQ(0, ret);
			if (suppress) {
				EXPECT_TRUE(ret == -EIO || value == 12);
				EXPECT_LT(before, gpu_stat(gpu, violations));
			} else {
				EXPECT_EQ(13, value);
				EXPECT_EQ(before, gpu_stat(gpu, violations));
			}
			/* The entry goes with the next flush, and with it the proof. */
			ASSERT_EQ(0, bind_unmap(gpu, vsvm_addr(buf), self->page));
			ASSERT_EQ(0, mirror(gpu, vsvm_addr(buf), self->page, buf));
			ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "violations", 0));
			ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
			ASSERT_EQ(12, value);
			object_free(gpu, &obj);
			buf_free(buf, self->page);
		}
	}
}

TEST_HARNESS_MAIN
