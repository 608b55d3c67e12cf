// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Objects: their data on the CPU and on the devices, in system and in device
 * memory, bound in whole and in parts, and shared between devices.
 */
#include <sys/stat.h>

#include "gpusvm_bound.h"

#define SIZE	(4 * MIB)

/* What one has written the other reads, and nothing is where nothing is bound. */
BOUND_TEST(contents)
{
	for_each_bound(gpu, self) {
		uint64_t sum, value, moves = bound_stat(gpu, gem_moves);
		uint32_t handle;
		void *ptr;

		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &handle));
		ASSERT_EQ(0, vsvm_gem_map(&gpu->dev, handle, NULL, SIZE, &ptr));
		/* New memory holds zeros, wherever it is. */
		ASSERT_EQ(0, bind_now(gpu, VA, SIZE, handle, 0));
		ASSERT_EQ(0, bound_read(gpu, VA + SIZE - 8, &value));
		ASSERT_EQ(0, value);
		ASSERT_EQ(-1, buf_check_value(ptr, SIZE, 0));

		buf_init(ptr, SIZE, 1);
		ASSERT_EQ(0, bound_checksum(gpu, VA, SIZE, &sum));
		ASSERT_EQ(vsvm_checksum(ptr, SIZE), sum);
		ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 5));
		ASSERT_EQ(-1, buf_check(ptr, SIZE, 1, 5));
		/* To and fro it went, or it did not. */
		if (self->placement == DEVICE) {
			ASSERT_LE(moves + 4, bound_stat(gpu, gem_moves));
		} else {
			ASSERT_EQ(moves, bound_stat(gpu, gem_moves));
		}

		ASSERT_BOUND_ERROR(bound_read(gpu, VA - 8, &value), gpu, EFAULT, VA - 8);
		ASSERT_BOUND_ERROR(bound_read(gpu, VA + SIZE, &value), gpu, EFAULT, VA + SIZE);
		ASSERT_EQ(0, unbind_now(gpu, VA, SIZE));
		ASSERT_BOUND_ERROR(bound_read(gpu, VA, &value), gpu, EFAULT, VA);
		ASSERT_BOUND_ERROR(bound_fill(gpu, VA + SIZE / 2, 8, 1), gpu, EFAULT,
				   VA + SIZE / 2);
		/* The CPU still has it. */
		ASSERT_EQ(-1, buf_check(ptr, SIZE, 1, 5));
		munmap(ptr, SIZE);
		ASSERT_EQ(0, vsvm_gem_close(&gpu->dev, handle));
		ASSERT_EQ(-EINVAL, vsvm_gem_close(&gpu->dev, handle));
	}
}

/* A large leaf is cut in the middle, at its ends, and a piece comes from elsewhere. */
BOUND_TEST(split)
{
	for_each_bound(gpu, self) {
		const uint64_t hole = VA + 3 * MIB + 7 * self->page, end = hole + 2 * self->page;
		uint64_t value, sum;
		uint32_t one, two;
		void *a, *b;

		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, 2 * SIZE, self->placement, &one));
		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &two));
		ASSERT_EQ(0, vsvm_gem_map(&gpu->dev, one, NULL, 2 * SIZE, &a));
		ASSERT_EQ(0, vsvm_gem_map(&gpu->dev, two, NULL, SIZE, &b));
		buf_init(a, 2 * SIZE, 1);
		buf_init(b, SIZE, 2);
		ASSERT_EQ(0, bind_now(gpu, VA, 2 * SIZE, one, 0));
		ASSERT_EQ(0, bound_checksum(gpu, VA, 2 * SIZE, &sum));
		ASSERT_EQ(vsvm_checksum(a, 2 * SIZE), sum);

		ASSERT_EQ(0, unbind_now(gpu, hole, end - hole));
		ASSERT_EQ(0, bound_checksum(gpu, VA, hole - VA, &sum));
		ASSERT_EQ(vsvm_checksum(a, hole - VA), sum);
		ASSERT_EQ(0, bound_checksum(gpu, end, VA + 2 * SIZE - end, &sum));
		ASSERT_EQ(vsvm_checksum((char *)a + (end - VA), VA + 2 * SIZE - end), sum);
		ASSERT_BOUND_ERROR(bound_read(gpu, hole, &value), gpu, EFAULT, hole);
		ASSERT_BOUND_ERROR(bound_read(gpu, end - 8, &value), gpu, EFAULT, end - 8);

		/* Over the hole and a page on each side, from the middle of another. */
		ASSERT_EQ(0, bind_now(gpu, hole - self->page, end - hole + 2 * self->page, two,
				      MIB));
		ASSERT_EQ(0, bound_read(gpu, hole - self->page, &value));
		ASSERT_EQ(pattern(2, WORDS(MIB)), value);
		ASSERT_EQ(0, bound_read(gpu, end + self->page - 8, &value));
		ASSERT_EQ(pattern(2, WORDS(MIB + 4 * self->page) - 1), value);
		ASSERT_EQ(0, bound_read(gpu, end + self->page, &value));
		ASSERT_EQ(pattern(1, WORDS(end + self->page - VA)), value);

		/* Head, tail, and what no longer has anything. */
		ASSERT_EQ(0, unbind_now(gpu, VA, MIB));
		ASSERT_EQ(0, unbind_now(gpu, VA + 2 * SIZE - MIB, 2 * MIB));
		ASSERT_EQ(0, unbind_now(gpu, VA - MIB, 2 * MIB));
		ASSERT_BOUND_ERROR(bound_read(gpu, VA, &value), gpu, EFAULT, VA);
		ASSERT_EQ(0, bound_add(gpu, VA + MIB, MIB, 9));
		ASSERT_EQ(0, unbind_now(gpu, VA, 2 * SIZE));
		ASSERT_BOUND_ERROR(bound_read(gpu, VA + MIB, &value), gpu, EFAULT, VA + MIB);
		ASSERT_EQ(-1, buf_check((char *)b, SIZE, 2, 0));
		for (size_t i = 0; i < WORDS(2 * SIZE); i++)
			ASSERT_EQ(pattern(1, i) + (i >= WORDS(MIB) && i < WORDS(2 * MIB) ? 9 : 0),
				  ((uint64_t *)a)[i]);
		munmap(a, 2 * SIZE);
		munmap(b, SIZE);
		vsvm_gem_close(&gpu->dev, one);
		vsvm_gem_close(&gpu->dev, two);
	}
}

/* One object at several addresses, one of them for reading only. */
BOUND_TEST(aliases)
{
	for_each_bound(gpu, self) {
		uint64_t value;
		uint32_t handle;
		VSVM_BIND(bind, 3);

		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, MIB, self->placement, &handle));
		vsvm_bind_map(&bind, VA, MIB, handle, 0);
		vsvm_bind_map_read_only(&bind, VA2, MIB / 2, handle, MIB / 2);
		vsvm_bind_map(&bind, VA + MIB, MIB, handle, 0);
		ASSERT_EQ(0, vsvm_vm_bind_wait(&gpu->vm, &bind));

		ASSERT_EQ(0, bound_fill(gpu, VA + MIB / 2, 8, 77));
		ASSERT_EQ(0, bound_read(gpu, VA2, &value));
		ASSERT_EQ(77, value);
		ASSERT_EQ(0, bound_read(gpu, VA + MIB + MIB / 2, &value));
		ASSERT_EQ(77, value);
		ASSERT_BOUND_ERROR(bound_fill(gpu, VA2, 8, 1), gpu, EPERM, VA2);
		ASSERT_EQ(0, bound_read(gpu, VA + MIB / 2, &value));
		ASSERT_EQ(77, value);

		/* One goes, the others stay, also without the handle. */
		ASSERT_EQ(0, unbind_now(gpu, VA, MIB));
		ASSERT_EQ(0, vsvm_gem_close(&gpu->dev, handle));
		ASSERT_EQ(0, bound_fill(gpu, VA + MIB + MIB / 2, 8, 78));
		ASSERT_EQ(0, bound_read(gpu, VA2, &value));
		ASSERT_EQ(78, value);
		/* Cut, it is for reading still. */
		ASSERT_EQ(0, unbind_now(gpu, VA2 + self->page, self->page));
		ASSERT_BOUND_ERROR(bound_fill(gpu, VA2, 8, 1), gpu, EPERM, VA2);
		ASSERT_BOUND_ERROR(bound_fill(gpu, VA2 + 2 * self->page, 8, 1), gpu, EPERM,
				   VA2 + 2 * self->page);
	}
}

/* Binds at random, beside an array that says what should be where. */
BOUND_TEST(random_binds)
{
	enum { PAGES = 96, OBJS = 3, OPS = 120 };
	const size_t size = PAGES * self->page;

	for_each_bound(gpu, self) {
		struct { int obj; unsigned int page; } at[PAGES];
		uint32_t handle[OBJS];
		uint64_t seed = 4711, value;
		uint64_t *ptr[OBJS];

		for (unsigned int i = 0; i < PAGES; i++)
			at[i].obj = -1;
		for (unsigned int o = 0; o < OBJS; o++) {
			ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, size,
						     o == 1 ? SYSTEM : self->placement,
						     &handle[o]));
			ASSERT_EQ(0, vsvm_gem_map(&gpu->dev, handle[o], NULL, size,
						  (void **)&ptr[o]));
			for (unsigned int i = 0; i < PAGES; i++)
				ptr[o][WORDS(i * self->page)] = 1000 * (o + 1) + i;
		}
		for (unsigned int i = 0; i < OPS; i++) {
			VSVM_BIND(bind, 4);
			VSVM_JOB(job, PAGES);
			unsigned int num = 1 + rnd(&seed) % 4;

			while (bind.num < num) {
				unsigned int first = rnd(&seed) % PAGES;
				unsigned int count = 1 + rnd(&seed) % (PAGES - first);
				unsigned int o = rnd(&seed) % (OBJS + 1);
				unsigned int from = rnd(&seed) % (PAGES - count + 1);

				if (o < OBJS)
					vsvm_bind_map(&bind, VA2 + first * self->page,
						      count * self->page, handle[o],
						      from * self->page);
				else
					vsvm_bind_unmap(&bind, VA2 + first * self->page,
							count * self->page);
				for (unsigned int p = 0; p < count; p++) {
					at[first + p].obj = o < OBJS ? (int)o : -1;
					at[first + p].page = from + p;
				}
			}
			ASSERT_EQ(0, vsvm_vm_bind_wait(&gpu->vm, &bind));
			if (i % 8 == 7) {
				/* Between device and system memory. */
				(void)*(volatile uint64_t *)ptr[i / 8 % OBJS];
			}
			if (i % 4)
				continue;

			for (unsigned int p = 0; p < PAGES; p++) {
				if (at[p].obj < 0)
					continue;
				vsvm_job_copy(&job, (void *)(VA_OUT + 8 * p),
					      (void *)(VA2 + p * self->page), 8);
			}
			if (!job.num)
				continue;
			ASSERT_EQ(0, vsvm_run_sync(&gpu->vm, 0, &job));
			for (unsigned int p = 0; p < PAGES; p++) {
				if (at[p].obj >= 0)
					ASSERT_EQ(1000 * (at[p].obj + 1) + at[p].page, gpu->out[p])
						TH_LOG("bind %u, page %u", i, p);
			}
			for (unsigned int p = 0; p < PAGES; p++) {
				if (at[p].obj >= 0)
					continue;
				ASSERT_BOUND_ERROR(bound_read(gpu, VA2 + p * self->page, &value),
						   gpu, EFAULT, VA2 + p * self->page);
				break;
			}
		}
		for (unsigned int o = 0; o < OBJS; o++) {
			munmap(ptr[o], size);
			vsvm_gem_close(&gpu->dev, handle[o]);
		}
	}
}

/* The CPU and the device in turn; a part of the mapping is gone. */
BOUND_TEST(mmap)
{
	for_each_bound(gpu, self) {
		uint64_t moves = bound_stat(gpu, gem_moves);
		struct drm_vsvm_gem_mmap_offset offset = { .flags = 0 };
		uint64_t value = 0, now;
		volatile uint64_t *word;
		uint32_t handle;
		void *ptr;

		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &handle));
		ASSERT_EQ(0, vsvm_gem_map(&gpu->dev, handle, NULL, SIZE, &ptr));
		ASSERT_EQ(0, bind_now(gpu, VA, SIZE, handle, 0));
		word = (uint64_t *)((char *)ptr + SIZE / 2);
		ASSERT_EQ(0, munmap(ptr, SIZE / 2));
		for (unsigned int i = 0; i < 8; i++) {
			*word += 1;
			value += 1;
			ASSERT_EQ(0, bound_add(gpu, VA + SIZE / 2, 8, 10));
			value += 10;
			ASSERT_EQ(value, *word);
		}
		ASSERT_EQ(0, bound_read(gpu, VA + SIZE / 2, &now));
		ASSERT_EQ(value, now);
		if (self->placement == DEVICE)
			ASSERT_LE(moves + 16, bound_stat(gpu, gem_moves));
		/* A copy-on-write mapping would not be the object. */
		offset.handle = handle;
		ASSERT_EQ(0, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_GEM_MMAP_OFFSET, &offset));
		ASSERT_EQ(MAP_FAILED, mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
					   gpu->dev.fd, offset.offset));
		ASSERT_EQ(EINVAL, errno);
		munmap((void *)word, SIZE / 2);
		vsvm_gem_close(&gpu->dev, handle);
	}
}

/* What is evicted comes back when a job needs it. */
BOUND_TEST(evict)
{
	for_each_bound(gpu, self) {
		uint64_t rebinds = bound_stat(gpu, rebinds), moves, sum, want = 0;
		uint32_t handle;

		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, SIZE, self->placement, &handle));
		ASSERT_EQ(0, bind_now(gpu, VA, SIZE, handle, 0));
		ASSERT_EQ(0, bind_now(gpu, VA2, SIZE / 2, handle, SIZE / 2));
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE / 2, 3));
		ASSERT_EQ(0, bound_fill(gpu, VA2, SIZE / 2, 4));
		moves = bound_stat(gpu, gem_moves);
		for (unsigned int i = 0; i < 4; i++) {
			ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "evict", 1));
			ASSERT_EQ(0, bound_checksum(gpu, VA, SIZE, &sum));
			if (!i)
				want = sum;
			ASSERT_EQ(want, sum);
		}
		ASSERT_EQ(moves + (self->placement == DEVICE ? 8 : 0), bound_stat(gpu, gem_moves));
		ASSERT_EQ(rebinds + (self->placement == DEVICE ? 8 : 0), bound_stat(gpu, rebinds));
		vsvm_gem_close(&gpu->dev, handle);
	}
}

/* More objects than there is memory on the device: all of them work. */
BOUND_TEST(no_room)
{
	enum { OBJS = 10 };

	for_each_bound(gpu, self) {
		const size_t size = gpu->dev.info.vram_size / 8;
		uint32_t handle[OBJS];
		uint64_t value;

		if (self->placement != DEVICE)
			SKIP(return, "only in device memory");
		for (unsigned int o = 0; o < OBJS; o++) {
			ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, size, DEVICE, &handle[o]));
			ASSERT_EQ(0, bind_now(gpu, VA + o * size, size, handle[o], 0));
			ASSERT_EQ(0, bound_fill(gpu, VA + o * size, self->page, o + 1));
		}
		for (unsigned int o = 0; o < OBJS; o++) {
			ASSERT_EQ(0, bound_read(gpu, VA + o * size + self->page - 8, &value));
			ASSERT_EQ(o + 1, value);
			ASSERT_EQ(0, bound_read(gpu, VA + (o + 1) * size - 8, &value));
			ASSERT_EQ(0, value);
		}
		for (unsigned int o = 0; o < OBJS; o++)
			vsvm_gem_close(&gpu->dev, handle[o]);
	}
}

/* A copy that fails loses nothing. */
BOUND_TEST(copy_fails)
{
	for_each_bound(gpu, self) {
		uint32_t handle;
		void *ptr;

		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, MIB, self->placement, &handle));
		ASSERT_EQ(0, vsvm_gem_map(&gpu->dev, handle, NULL, MIB, &ptr));
		buf_init(ptr, MIB, 1);
		/* On the way in: it stays where it is. */
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "fail_copy", 1));
		ASSERT_EQ(0, bind_now(gpu, VA, MIB, handle, 0));
		ASSERT_EQ(0, bound_add(gpu, VA, MIB, 1));
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "fail_copy", 0));
		ASSERT_EQ(-1, buf_check(ptr, MIB, 1, 1));
		/* And on the way out, where it is evicted. */
		ASSERT_EQ(0, bound_add(gpu, VA, MIB, 1));
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "fail_copy", 1));
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "evict", 1));
		ASSERT_EQ(0, bound_add(gpu, VA, MIB, 1));
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "fail_copy", 0));
		ASSERT_EQ(-1, buf_check(ptr, MIB, 1, 3));
		munmap(ptr, MIB);
		vsvm_gem_close(&gpu->dev, handle);
	}
}

/* An object of device 0 on all of them, over a link or through system memory. */
BOUND_TEST(prime)
{
	struct bound *first = &self->gpu[0];
	uint32_t handle, imported[4];
	uint64_t value = 0, moves;
	VSVM_JOB(job, 1);
	void *ptr;
	int fd;

	if (self->n < 2)
		SKIP(return, "for two devices at least");
	ASSERT_EQ(0, vsvm_gem_create(&first->dev, SIZE, self->placement, &handle));
	ASSERT_EQ(0, bind_now(first, VA, SIZE, handle, 0));
	ASSERT_EQ(0, bound_fill(first, VA, SIZE, 100));
	ASSERT_EQ(0, vsvm_gem_export(&first->dev, handle, &fd));
	/* One's own comes back as what it was. */
	ASSERT_EQ(0, vsvm_gem_import(&first->dev, fd, &imported[0]));
	ASSERT_EQ(handle, imported[0]);
	moves = bound_stat(first, gem_moves);
	for (unsigned int i = 1; i < self->n; i++) {
		struct bound *gpu = &self->gpu[i];
		struct drm_vsvm_gem_mmap_offset offset = { .handle = 0 };

		ASSERT_EQ(0, vsvm_gem_import(&gpu->dev, fd, &imported[i]));
		offset.handle = imported[i];
		ASSERT_EQ(-1, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_GEM_MMAP_OFFSET, &offset));
		ASSERT_EQ(EINVAL, errno);
		ASSERT_EQ(0, bind_now(gpu, VA2, SIZE, imported[i], 0));
		ASSERT_EQ(0, bound_read(gpu, VA2 + SIZE - 8, &value));
		ASSERT_EQ(100 + i - 1, value);
		ASSERT_EQ(0, bound_add(gpu, VA2, SIZE, 1));
		/* Device 0 has had its own all the while. */
		ASSERT_EQ(0, bound_read(first, VA, &value));
		ASSERT_EQ(100 + i, value);
	}
	/* In one hive nothing had to move. */
	if (self->n == 2 && self->placement == DEVICE)
		ASSERT_EQ(moves, bound_stat(first, gem_moves));
	if (self->n == 4)
		ASSERT_LT(moves, bound_stat(first, gem_moves));

	/* All at once, while it is thrown out of device memory. */
	vsvm_job_atomic_add(&job, (uint64_t *)VA2, 1, 1000);
	for (unsigned int round = 0; round < 10; round++) {
		for (unsigned int i = 1; i < self->n; i++)
			ASSERT_EQ(0, vsvm_exec_sync(&self->gpu[i].vm, 1, &job, NULL, 0, NULL));
		ASSERT_EQ(0, vsvm_debugfs_set(&first->dev, "evict", 1));
		ASSERT_EQ(0, bound_add(first, VA + 8, 8, 1));
	}
	for (unsigned int i = 1; i < self->n; i++) {
		vsvm_job_reset(&job);
		vsvm_job_nop(&job);
		ASSERT_EQ(0, vsvm_run_sync(&self->gpu[i].vm, 1, &job));
	}
	ASSERT_EQ(0, bound_read(first, VA, &value));
	ASSERT_EQ(100 + (self->n - 1) * 10001, value);
	ASSERT_EQ(0, bound_read(&self->gpu[1], VA2 + 8, &value));
	ASSERT_EQ(100 + self->n - 1 + 10, value);

	/* Through the dma-buf the CPU has it, too. */
	ptr = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, ptr);
	ASSERT_EQ(100 + self->n - 1 + 10, ((uint64_t *)ptr)[1]);
	munmap(ptr, SIZE);

	/* The exporter's VM, handle and file go; the others do not notice. */
	close(fd);
	ASSERT_EQ(0, vsvm_gem_close(&first->dev, handle));
	ASSERT_EQ(0, unbind_now(first, VA, SIZE));
	ASSERT_EQ(0, bound_add(&self->gpu[1], VA2, SIZE, 1));
	ASSERT_EQ(0, bound_read(&self->gpu[self->n - 1], VA2 + 8, &value));
	ASSERT_EQ(100 + self->n - 1 + 11, value);
	for (unsigned int i = 1; i < self->n; i++)
		ASSERT_EQ(0, vsvm_gem_close(&self->gpu[i].dev, imported[i]));
}

struct closing {
	struct vsvm_device *dev;
	uint32_t handle;
	volatile bool go;
	int ret;
};

static void *close_thread(void *arg)
{
	struct closing *c = arg;

	while (!c->go)
		sched_yield();
	c->ret = vsvm_gem_close(c->dev, c->handle);
	return NULL;
}

/* The importer lets go of an object while its exporter is about to move it. */
BOUND_TEST(let_go_while_moved)
{
	struct bound *first = &self->gpu[0], *peer = &self->gpu[self->n / 2], other = *first;
	struct closing closing = { .dev = &peer->dev };
	struct toucher toucher;
	uint32_t handle;
	pthread_t closer;
	uint64_t value, moves;
	void *ptr;
	int fd;

	if (self->n < 2 || self->placement != DEVICE)
		SKIP(return, "for two devices, and in device memory");
	ASSERT_EQ(0, vsvm_gem_create(&first->dev, SIZE, DEVICE, &handle));
	ASSERT_EQ(0, vsvm_gem_map(&first->dev, handle, NULL, SIZE, &ptr));
	ASSERT_EQ(0, bind_now(first, VA, SIZE, handle, 0));
	ASSERT_EQ(0, bound_fill(first, VA, SIZE, 9));
	/* Over the link, and its addresses are kept for the next time. */
	ASSERT_EQ(0, vsvm_gem_export(&first->dev, handle, &fd));
	ASSERT_EQ(0, vsvm_gem_import(&peer->dev, fd, &closing.handle));
	ASSERT_EQ(0, bind_now(peer, VA, SIZE, closing.handle, 0));
	ASSERT_EQ(0, bound_read(peer, VA, &value));
	ASSERT_EQ(9, value);
	ASSERT_EQ(0, unbind_now(peer, VA, SIZE));
	close(fd);
	moves = bound_stat(first, gem_moves);

	/* The CPU wants it, and waits for a job. */
	ASSERT_EQ(0, vsvm_vm_create(&first->dev, variant->flags, &other.vm));
	ASSERT_EQ(0, bind_now(&other, VA, SIZE, handle, 0));
	ASSERT_EQ(0, bound_endless(&other, 0, VA, 0));
	ASSERT_EQ(0, pthread_create(&closer, NULL, close_thread, &closing));
	ASSERT_EQ(0, touch_begin(&toucher, (char *)ptr + SIZE / 2));
	closing.go = true;
	/* So that he most likely waits, too. */
	usleep(100000);
	ASSERT_EQ(0, vsvm_vm_destroy(&other.vm));
	ASSERT_EQ(0, touch_end(&toucher));
	ASSERT_EQ(9, toucher.value);
	ASSERT_EQ(0, pthread_join(closer, NULL));
	ASSERT_EQ(0, closing.ret);
	ASSERT_EQ(moves + 1, bound_stat(first, gem_moves));

	/* Nobody needs it in system memory: it was let go of once. */
	ASSERT_EQ(0, bound_read(first, VA + SIZE / 2, &value));
	ASSERT_EQ(9, value);
	ASSERT_EQ(moves + 2, bound_stat(first, gem_moves));
	munmap(ptr, SIZE);
	ASSERT_EQ(0, vsvm_gem_close(&first->dev, handle));
}

/* Objects for one VM: bound there, and on those that share its reservation object. */
BOUND_TEST(private)
{
	for_each_bound(gpu, self) {
		const bool shared = variant->flags & DRM_VSVM_VM_SHARED_RESV;
		struct vsvm_vm other;
		uint32_t handle;
		uint64_t value;
		VSVM_BIND(bind, 1);
		int fd;

		ASSERT_EQ(0, vsvm_gem_create_private(&gpu->vm, SIZE, self->placement, &handle));
		ASSERT_EQ(-EPERM, vsvm_gem_export(&gpu->dev, handle, &fd));
		ASSERT_EQ(0, bind_now(gpu, VA, SIZE, handle, 0));
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 6));
		ASSERT_EQ(0, vsvm_debugfs_set(&gpu->dev, "evict", 1));
		ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 1));
		ASSERT_EQ(0, bound_read(gpu, VA + SIZE - 8, &value));
		ASSERT_EQ(7, value);

		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, variant->flags, &other));
		vsvm_bind_map(&bind, VA, SIZE, handle, 0);
		ASSERT_EQ(shared ? 0 : -EINVAL, vsvm_vm_bind(&other, &bind, NULL, 0));
		ASSERT_EQ(0, vsvm_vm_destroy(&other));
		ASSERT_EQ(0, vsvm_gem_close(&gpu->dev, handle));
	}
}

/* The objects outlive their device, for the CPU and for the other devices. */
BOUND_TEST(unplug)
{
	struct bound *first = &self->gpu[0], *last = &self->gpu[self->n - 1];
	uint32_t handle, foreign = 0, own = 0, held;
	uint64_t value;
	void *ptr;
	int fd = -1, fd2 = -1;

	ASSERT_EQ(0, vsvm_gem_create(&first->dev, SIZE, self->placement, &handle));
	ASSERT_EQ(0, vsvm_gem_map(&first->dev, handle, NULL, SIZE, &ptr));
	ASSERT_EQ(0, bind_now(first, VA, SIZE, handle, 0));
	ASSERT_EQ(0, bound_fill(first, VA, SIZE, 42));
	/* One that nothing but its handle keeps. */
	ASSERT_EQ(0, vsvm_gem_create(&first->dev, SIZE, self->placement, &held));
	ASSERT_EQ(0, bind_now(first, VA + SIZE, SIZE, held, 0));
	if (self->n > 1) {
		ASSERT_EQ(0, vsvm_gem_export(&first->dev, handle, &fd));
		ASSERT_EQ(0, vsvm_gem_import(&last->dev, fd, &foreign));
		ASSERT_EQ(0, bind_now(last, VA, SIZE, foreign, 0));
		ASSERT_EQ(0, bound_add(last, VA, SIZE, 1));
		/* And the other way round. */
		ASSERT_EQ(0, vsvm_gem_create(&last->dev, SIZE, self->placement, &own));
		ASSERT_EQ(0, vsvm_gem_export(&last->dev, own, &fd2));
		ASSERT_EQ(0, vsvm_gem_import(&first->dev, fd2, &foreign));
		ASSERT_EQ(0, bind_now(first, VA2, SIZE, foreign, 0));
		ASSERT_EQ(0, bound_fill(first, VA2, SIZE, 5));
	}

	ASSERT_EQ(0, vsvm_unplug(0));
	ASSERT_EQ(-ENODEV, bound_fill(first, VA, 8, 1));
	ASSERT_EQ(-1, buf_check_value(ptr, SIZE, self->n > 1 ? 43 : 42));
	((uint64_t *)ptr)[0] = 7;
	if (self->n > 1) {
		ASSERT_EQ(0, bound_read(last, VA, &value));
		ASSERT_EQ(7, value);
		ASSERT_EQ(0, bound_fill(last, VA + 8, 8, 8));
		ASSERT_EQ(8, ((uint64_t *)ptr)[1]);
		ASSERT_EQ(0, bind_now(last, VA2, SIZE, own, 0));
		ASSERT_EQ(0, bound_read(last, VA2 + SIZE - 8, &value));
		ASSERT_EQ(5, value);
		close(fd);
		close(fd2);
	}
	munmap(ptr, SIZE);
	munmap((void *)first->out, self->page);
	vsvm_close(&first->dev);
	ASSERT_EQ(0, vsvm_plug(0));
	ASSERT_EQ(0, bound_open(first, 0, variant->flags));
}

TEST_HARNESS_MAIN
