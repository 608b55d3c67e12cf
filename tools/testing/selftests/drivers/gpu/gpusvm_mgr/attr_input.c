// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Attributes and prefetch with input that is wrong: each member of each call, the
 * errno that the ABI documents, a line that names the member in the kernel's log, and all
 * that was said as it was before.
 */
#include <sys/ioctl.h>

#include <xf86drm.h>

#include "gpusvm_test.h"
#include "gpusvm_attrs.h"

#define SIZE	(64 * KIB)

/* Arguments at (void *)8: it is the core of DRM that cannot read them, so no line of ours. */
static int call(int fd, unsigned long nr, void *arg)
{
	return drmIoctl(fd, nr, arg) ? -errno : 0;
}

/*
 * Something was said of a part of the memory, and all of it is mapped: what a
 * refused call may destroy.
 */
static int prepare(struct gpus *g, char *buf)
{
	int ret = 0;

	buf_init(buf, SIZE, 1);
	for (unsigned int i = 0; i < g->n && !ret; i++) {
		struct vsvm_vm *vm = &g->gpu[i].vm;

		ret = vsvm_attr_set_one(vm, buf, SIZE / 4, DRM_VSVM_ATTR_READ_ONLY, 1);
		if (!ret)
			ret = vsvm_attr_set_one(vm, buf + SIZE / 2, SIZE / 4,
						DRM_VSVM_ATTR_ATOMICS,
						DRM_VSVM_ATOMICS_CPU);
		if (!ret)
			ret = vsvm_attr_prefer(vm, buf, SIZE / 2, NULL);
	}
	for (unsigned int i = 0; i < 2 * g->n && !ret; i++)
		ret = gpu_read_each(&g->gpu[i % g->n], buf, SIZE, page_size());
	return ret;
}

#define STATES()								\
	struct attr_state *before = calloc(2, sizeof(*before)), *after = before + 1; \
	char *buf = buf_alloc(SIZE);						\
	ASSERT_NE(NULL, before);						\
	ASSERT_NE(NULL, buf);							\
	ASSERT_EQ(0, prepare(self->g, buf))

#define BEFORE(gpu__)	ASSERT_EQ(0, attr_state_get(&(gpu__)->vm, before))
#define AFTER(gpu__)								\
	do {									\
		ASSERT_EQ(0, attr_state_get(&(gpu__)->vm, after));		\
		ASSERT_TRUE(attr_state_same(before, after));			\
	} while (0)

#define DONE()									\
	do {									\
		ASSERT_EQ(-1, buf_check(buf, SIZE, 1, 0));			\
		buf_free(buf, SIZE);						\
		free(before);							\
	} while (0)

/* Spans that no call takes; @args has members start and size. */
#define BAD_SPANS(BAD, page__, va_end__)					\
	do {									\
		BAD(EINVAL, args.start += 1);					\
		BAD(EINVAL, args.start += (page__) / 2);			\
		BAD(EINVAL, args.size -= 1);					\
		BAD(EINVAL, args.size += 8);					\
		BAD(EINVAL, args.size = 0);					\
		BAD(EINVAL, args.size = -(__u64)(page__));			\
		BAD(EINVAL, args.start = -(__u64)(page__));			\
		BAD(EINVAL, args.size = -args.start);				\
		BAD(EINVAL, args.size = 1ULL << 63);				\
		/* Not of user space: of nobody, and of the kernel. */		\
		BAD(EINVAL, args.start = (va_end__), args.size = (page__));	\
		BAD(EINVAL, args.start = 1ULL << 56);				\
		BAD(EINVAL, args.start = 0xffff888000000000ULL);		\
		BAD(EINVAL, args.start = 0xffffffff81000000ULL);		\
		BAD(EINVAL, args.size = 1ULL << 62);				\
	} while (0)

#define BAD_VMS(BAD)								\
	do {									\
		BAD(ENOENT, args.vm_id = 0);					\
		BAD(ENOENT, args.vm_id = 1000);					\
		BAD(ENOENT, args.vm_id = ~0u);					\
	} while (0)

#define BAD_ARRAYS(BAD)								\
	do {									\
		BAD(EINVAL, args.num_attrs = 0);				\
		BAD(EINVAL, args.num_attrs = DRM_VSVM_MAX_ATTRS + 1);		\
		BAD(EINVAL, args.num_attrs = ~0u);				\
		BAD(EFAULT, args.attrs = 0);					\
		BAD(EFAULT, args.attrs = 8);					\
		BAD(EFAULT, args.attrs = ~0ULL - 7);				\
		BAD(EFAULT, args.attrs = 1ULL << 63);				\
		BAD(EFAULT, args.attrs = 0xffff888000000000ULL);		\
	} while (0)

GPU_TEST(set)
{
	STATES();
	char *cut = buf_alloc(self->page);
	int null = open("/dev/null", O_RDWR), closed = dup(null);
	int path;

	ASSERT_NE(NULL, cut);
	ASSERT_LE(0, null);
	close(closed);
	path = open("/dev/null", O_PATH);
	for_each_gpu(gpu, self) {
		struct drm_vsvm_attr attrs[4];
		const struct drm_vsvm_attr good_attrs[4] = {
			{ .type = DRM_VSVM_ATTR_READ_ONLY, .value = 0 },
			{ .type = DRM_VSVM_ATTR_ACCESS, .value = DRM_VSVM_MODE_NONE },
			{ .type = DRM_VSVM_ATTR_LOCATION, .value = DRM_VSVM_LOCATION_DEVICE,
			  .device = DRM_VSVM_THIS_DEVICE },
			{ .type = DRM_VSVM_ATTR_MIGRATION, .value = DRM_VSVM_MIGRATION_NEVER },
		};
		const struct drm_vsvm_attr_set good = {
			.vm_id = gpu->vm.id, .start = (uintptr_t)buf, .size = SIZE,
			.attrs = (uintptr_t)attrs, .num_attrs = 4,
		};
		struct drm_vsvm_attr_set args;

#define BAD(error__, ...)							\
		do {								\
			args = good;						\
			memcpy(attrs, good_attrs, sizeof(attrs));		\
			__VA_ARGS__;						\
			ASSERT_EQ(-(error__),					\
				  refused(&gpu->dev, #__VA_ARGS__,		\
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_SET, &args))) { \
				TH_LOG("%s", #__VA_ARGS__);			\
			}							\
		} while (0)

		BEFORE(gpu);
		BAD_VMS(BAD);
		BAD_SPANS(BAD, self->page, gpu->dev.info.va_end);
		BAD_ARRAYS(BAD);
		BAD(EINVAL, args.flags = 1);
		BAD(EINVAL, args.flags = 1u << 31);
		BAD(EINVAL, args.pad = 1);
		BAD(EINVAL, args.pad = 1u << 31);
		/* The last one of them only: none of the others is said. */
		BAD(EINVAL, attrs[3].type = ATTR_TYPES);
		BAD(EINVAL, attrs[3].type = ~0u);
		BAD(EINVAL, attrs[3].type = DRM_VSVM_ATTR_READ_ONLY);
		BAD(EINVAL, attrs[3].value = 3);
		BAD(EINVAL, attrs[3].value = ~0u);
		BAD(EINVAL, attrs[3].flags = DRM_VSVM_ATTR_MIXED);
		BAD(EINVAL, attrs[3].flags = 1u << 31);
		BAD(EINVAL, attrs[3].device = 1);
		BAD(EINVAL, attrs[3].device = -1);
		BAD(EINVAL, attrs[0].value = 2);
		BAD(EINVAL, attrs[1].value = 5);
		BAD(EINVAL, attrs[2].value = 3);
		BAD(EINVAL, attrs[2].value = DRM_VSVM_LOCATION_SYSTEM);
		BAD(EINVAL, attrs[3].type = DRM_VSVM_ATTR_ATOMICS, attrs[3].value = 4);
		BAD(EINVAL, attrs[3].type = DRM_VSVM_ATTR_GRANULARITY, attrs[3].value = 52);
		BAD(EINVAL, attrs[3].type = DRM_VSVM_ATTR_GRANULARITY, attrs[3].value = 0x100);
		/* Files that are no device of this driver. */
		BAD(EINVAL, attrs[2].device = null);
		BAD(EBADF, attrs[2].device = closed);
		BAD(EBADF, attrs[2].device = -2);
		BAD(EBADF, attrs[2].device = 0x7fffffff);
		BAD(EBADF, attrs[2].device = path);
		/* A part of it is not there, at the end, in the middle, all of it. */
		BAD(EFAULT, args.size = gpu->dev.info.va_end - args.start);
		BAD(EFAULT, args.start = 0, args.size = self->page);
		/* The array ends where nothing can be read. */
		BAD(EFAULT, args.attrs = (uintptr_t)cut + self->page - sizeof(attrs[0]));
		AFTER(gpu);
		ASSERT_EQ(-EFAULT, call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_SET, (void *)8));
		AFTER(gpu);
#undef BAD
		/* With none of it wrong: said. */
		args = good;
		memcpy(attrs, good_attrs, sizeof(attrs));
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_SET, &args));
		ASSERT_EQ(DRM_VSVM_MODE_NONE,
			  attr_of(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_ACCESS));
		ASSERT_EQ(0, attr_of(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_READ_ONLY));
		ASSERT_EQ((int)gpu->dev.info.index, attr_device(&gpu->vm, buf, SIZE));
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
		ASSERT_EQ(0, prepare(self->g, buf));
	}
	close(path);
	close(null);
	buf_free(cut, self->page);
	DONE();
}

/* A hole in the middle of the span: nothing is said of its ends. */
GPU_TEST(set_over_a_hole)
{
	STATES();

	ASSERT_EQ(0, munmap(buf + SIZE / 2, self->page));
	for_each_gpu(gpu, self) {
		BEFORE(gpu);
		for (unsigned int i = 0; i < ATTR_TYPES; i++) {
			ASSERT_EQ(-EFAULT, refused(&gpu->dev, "size",
						   vsvm_attr_set_one(&gpu->vm, buf, SIZE, i, 1)));
		}
		AFTER(gpu);
	}
	buf_free(buf, SIZE);
	free(before);
}

GPU_TEST(get)
{
	STATES();
	char *read_only = buf_map(self->page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	ASSERT_NE(NULL, read_only);
	for_each_gpu(gpu, self) {
		struct drm_vsvm_attr attrs[2];
		const struct drm_vsvm_attr_get good = {
			.vm_id = gpu->vm.id, .start = (uintptr_t)buf, .size = SIZE,
			.attrs = (uintptr_t)attrs, .num_attrs = 2,
		};
		struct drm_vsvm_attr_get args;

#define BAD(error__, ...)							\
		do {								\
			args = good;						\
			memset(attrs, 0, sizeof(attrs));			\
			attrs[1].value = 99;					\
			__VA_ARGS__;						\
			ASSERT_EQ(-(error__),					\
				  refused(&gpu->dev, #__VA_ARGS__,		\
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_GET, &args))) { \
				TH_LOG("%s", #__VA_ARGS__);			\
			}							\
			ASSERT_EQ(99, attrs[1].value);				\
		} while (0)

		BEFORE(gpu);
		BAD_VMS(BAD);
		BAD_SPANS(BAD, self->page, gpu->dev.info.va_end);
		BAD_ARRAYS(BAD);
		BAD(EINVAL, args.flags = 1);
		BAD(EINVAL, args.pad = 1);
		BAD(EINVAL, attrs[1].type = ATTR_TYPES);
		BAD(EINVAL, attrs[1].type = ~0u);
		BAD(EFAULT, args.attrs = (uintptr_t)read_only);
		ASSERT_EQ(-EFAULT, call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_GET, (void *)8));
		AFTER(gpu);
#undef BAD
	}
	buf_free(read_only, self->page);
	DONE();
}

GPU_TEST(next)
{
	STATES();
	char *read_only = buf_map(self->page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	ASSERT_NE(NULL, read_only);
	for_each_gpu(gpu, self) {
		struct drm_vsvm_attr attrs[2];
		const struct drm_vsvm_attr_next good = {
			.vm_id = gpu->vm.id, .attrs = (uintptr_t)attrs, .num_attrs = 2,
		};
		struct drm_vsvm_attr_next args;

#define TRY(error__, what__, ...)						\
		do {								\
			args = good;						\
			memset(attrs, 0, sizeof(attrs));			\
			attrs[1].value = 99;					\
			__VA_ARGS__;						\
			ASSERT_EQ(-(error__),					\
				  refused(&gpu->dev, what__,			\
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_NEXT, &args))) { \
				TH_LOG("%s", #__VA_ARGS__);			\
			}							\
			ASSERT_EQ(99, attrs[1].value);				\
		} while (0)
#define BAD(error__, ...)	TRY(error__, #__VA_ARGS__, __VA_ARGS__)
/* Nothing is wrong with these. */
#define NONE(...)		TRY(ENODATA, NULL, __VA_ARGS__)

		BEFORE(gpu);
		BAD_VMS(BAD);
		BAD_ARRAYS(BAD);
		BAD(EINVAL, args.flags = 1);
		BAD(EINVAL, args.pad = 1);
		BAD(EINVAL, args.size = 1);
		BAD(EINVAL, args.size = 1ULL << 63);
		BAD(EINVAL, args.start = 1);
		BAD(EINVAL, args.start = self->page - 1);
		BAD(EINVAL, attrs[1].type = ATTR_TYPES);
		BAD(EINVAL, attrs[0].type = ~0u);
		NONE(args.start = (uintptr_t)buf + SIZE);
		NONE(args.start = gpu->dev.info.va_end);
		NONE(args.start = 0xffff888000000000ULL);
		NONE(args.start = -(__u64)self->page);
		BAD(EFAULT, args.attrs = (uintptr_t)read_only);
		ASSERT_EQ(-EFAULT, call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_NEXT, (void *)8));
		AFTER(gpu);
#undef NONE
#undef BAD
#undef TRY
	}
	buf_free(read_only, self->page);
	DONE();
}

GPU_TEST(reset)
{
	STATES();

	for_each_gpu(gpu, self) {
		const struct drm_vsvm_attr_reset good = {
			.vm_id = gpu->vm.id, .start = (uintptr_t)buf, .size = SIZE,
		};
		struct drm_vsvm_attr_reset args;

#define BAD(error__, ...)							\
		do {								\
			args = good;						\
			__VA_ARGS__;						\
			ASSERT_EQ(-(error__),					\
				  refused(&gpu->dev, #__VA_ARGS__,		\
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_RESET, &args))) { \
				TH_LOG("%s", #__VA_ARGS__);			\
			}							\
		} while (0)

		BEFORE(gpu);
		BAD_VMS(BAD);
		BAD_SPANS(BAD, self->page, gpu->dev.info.va_end);
		BAD(EINVAL, args.flags = 1);
		BAD(EINVAL, args.flags = 1u << 31);
		ASSERT_EQ(-EFAULT, call(gpu->dev.fd, DRM_IOCTL_VSVM_ATTR_RESET, (void *)8));
		AFTER(gpu);
#undef BAD
		/* Not everything has to be there, here. */
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, NULL, gpu->dev.info.va_end));
		ASSERT_EQ(0, attrs_save(&gpu->vm, after->saved, ATTR_MAX));
	}
	DONE();
}

GPU_TEST(prefetch)
{
	STATES();
	int null = open("/dev/null", O_RDWR), closed = dup(null);

	ASSERT_LE(0, null);
	close(closed);
	for_each_gpu(gpu, self) {
		const struct drm_vsvm_prefetch good = {
			.vm_id = gpu->vm.id, .start = (uintptr_t)buf, .size = SIZE,
			.location = DRM_VSVM_LOCATION_DEVICE, .device = gpu->dev.fd,
			.job_id = 0x1234,
		};
		struct drm_vsvm_prefetch args;

		/* With a fence and without. */
		for (unsigned int fence = 0; fence < 2; fence++) {
#define BAD(error__, ...)							\
			do {							\
				args = good;					\
				if (fence) {					\
					args.fence_addr = (uintptr_t)&gpu->fence[9]; \
					args.fence_value = 1;			\
				}						\
				__VA_ARGS__;					\
				ASSERT_EQ(-(error__),				\
					  refused(&gpu->dev, #__VA_ARGS__,	\
						  call(gpu->dev.fd, DRM_IOCTL_VSVM_PREFETCH, \
						       &args))) {		\
					TH_LOG("%s", #__VA_ARGS__);		\
				}						\
				ASSERT_EQ(0x1234, args.job_id);			\
			} while (0)

			BEFORE(gpu);
			BAD_VMS(BAD);
			BAD_SPANS(BAD, self->page, gpu->dev.info.va_end);
			BAD(EINVAL, args.flags = 1 << 1);
			BAD(EINVAL, args.flags = 1u << 31);
			BAD(EINVAL, args.location = DRM_VSVM_LOCATION_DEFAULT);
			BAD(EINVAL, args.location = 3);
			BAD(EINVAL, args.location = ~0u);
			BAD(EINVAL, args.location = DRM_VSVM_LOCATION_SYSTEM);
			BAD(EINVAL, args.location = DRM_VSVM_LOCATION_SYSTEM, args.device = -1);
			BAD(EINVAL, args.device = null);
			BAD(EBADF, args.device = closed);
			BAD(EBADF, args.device = -2);
			BAD(EINVAL, args.pad = 1);
			BAD(EINVAL, args.pad = 1ULL << 63);
			BAD(EINVAL, args.missed = 1);
			BAD(EINVAL, args.fence_addr += 4);
			BAD(EINVAL, args.fence_addr += 1);
			BAD(EINVAL, args.fence_value |= DRM_VSVM_FENCE_ERROR);
			BAD(EINVAL, args.fence_addr = 0, args.fence_value = 1);
			if (!fence) {
				BAD(EFAULT, args.size = gpu->dev.info.va_end - args.start);
				BAD(EFAULT, args.start = 0);
			}
			ASSERT_EQ(-EFAULT, call(gpu->dev.fd, DRM_IOCTL_VSVM_PREFETCH,
						(void *)8));
			AFTER(gpu);
			ASSERT_EQ(0, gpu->fence[9]);
#undef BAD
		}
		args = good;
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_PREFETCH, &args));
		ASSERT_EQ(0, args.missed);
		ASSERT_EQ(0, args.job_id);
		ASSERT_EQ(SIZE / self->page, pages_away(buf, SIZE));
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, NULL, 0, NULL));
	}
	close(null);
	DONE();
}

/* VMs that do without the manager have nobody to tell. */
GPU_TEST(other_back_ends)
{
	static const uint32_t flags[] = { DRM_VSVM_VM_UPSTREAM, DRM_VSVM_VM_TWO_PASS };
	STATES();

	for_each_gpu(gpu, self) {
		for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
			struct drm_vsvm_attr attr = { .type = 0 };
			uint64_t start = 0, size;
			struct vsvm_vm vm;

			ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | flags[i],
						    &vm));
			BEFORE(gpu);
#define BAD(call__)	ASSERT_EQ(-EOPNOTSUPP, refused(&gpu->dev, "vm_id", call__))
			BAD(vsvm_attr_set(&vm, buf, SIZE, &attr, 1));
			BAD(vsvm_attr_get(&vm, buf, SIZE, &attr, 1));
			BAD(vsvm_attr_next(&vm, &start, &size, &attr, 1));
			BAD(vsvm_attr_reset(&vm, buf, SIZE));
			BAD(vsvm_prefetch(&vm, buf, SIZE, NULL, 0, NULL));
#undef BAD
			AFTER(gpu);
			ASSERT_EQ(0, vsvm_vm_destroy(&vm));
		}
	}
	DONE();
}

/* A device without memory is not where data can be. */
TEST(no_device_memory)
{
	struct gpu *gpu = buf_alloc(sizeof(*gpu));
	char *buf = buf_alloc(SIZE);
	int ret;

	ASSERT_NE(NULL, gpu);
	ASSERT_NE(NULL, buf);
	ret = topology(1, 1, 0);
	if (ret == -ENODEV || ret == -ENOENT) {
		SKIP(return, "no device, or no debugfs");
	}
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, vsvm_open(&gpu->dev, 0));
	ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR, &gpu->vm));
#define BAD(call__)	EXPECT_EQ(-EOPNOTSUPP, refused(&gpu->dev, "device", call__))
	BAD(vsvm_attr_prefer(&gpu->vm, buf, SIZE, &gpu->dev));
	BAD(vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_LOCATION,
			      DRM_VSVM_LOCATION_DEVICE));
	BAD(vsvm_prefetch(&gpu->vm, buf, SIZE, &gpu->dev, 0, NULL));
#undef BAD
	EXPECT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, NULL, 0, NULL));
	EXPECT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, NULL));
	EXPECT_EQ(0, gpu_close(gpu));
	ASSERT_EQ(0, topology(1, 1, 256));
	buf_free(buf, SIZE);
	buf_free(gpu, sizeof(*gpu));
}

TEST_HARNESS_MAIN
