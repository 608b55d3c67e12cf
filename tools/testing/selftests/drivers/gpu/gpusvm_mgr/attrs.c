// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Attributes of memory: what was said is what is got, and what devices may do.
 * Where data goes because of them is in placement.c, what is refused in
 * attr_input.c.
 */
#include "gpusvm_test.h"
#include "gpusvm_attrs.h"

#define SIZE	(64 * KIB)

/* Each type with values that are not the default. */
static const struct {
	uint32_t type, value;
} some_values[] = {
	{ DRM_VSVM_ATTR_LOCATION, DRM_VSVM_LOCATION_SYSTEM },
	{ DRM_VSVM_ATTR_LOCATION, DRM_VSVM_LOCATION_DEVICE },
	{ DRM_VSVM_ATTR_MIGRATION, DRM_VSVM_MIGRATION_NEVER },
	{ DRM_VSVM_ATTR_MIGRATION, DRM_VSVM_MIGRATION_SYSTEM },
	{ DRM_VSVM_ATTR_GRANULARITY, 0 },
	{ DRM_VSVM_ATTR_GRANULARITY, 9 },
	{ DRM_VSVM_ATTR_GRANULARITY, 51 },
	{ DRM_VSVM_ATTR_RESIDENCE, 0 },
	{ DRM_VSVM_ATTR_RESIDENCE, 0xfffffffe },
	{ DRM_VSVM_ATTR_ACCESS, DRM_VSVM_MODE_NONE },
	{ DRM_VSVM_ATTR_ACCESS, DRM_VSVM_MODE_EAGER },
	{ DRM_VSVM_ATTR_ACCESS, DRM_VSVM_MODE_IN_PLACE },
	{ DRM_VSVM_ATTR_READ_ONLY, 1 },
	{ DRM_VSVM_ATTR_ATOMICS, DRM_VSVM_ATOMICS_DEVICE },
	{ DRM_VSVM_ATTR_ATOMICS, DRM_VSVM_ATOMICS_GLOBAL },
	{ DRM_VSVM_ATTR_ATOMICS, DRM_VSVM_ATOMICS_CPU },
};

static bool of_process(uint32_t type)
{
	return type <= DRM_VSVM_ATTR_RESIDENCE;
}

static bool nothing_said(const struct vsvm_vm *vm)
{
	uint64_t start = 0, size;

	return vsvm_attr_next(vm, &start, &size, NULL, 0) == -EINVAL &&
	       vsvm_attr_next(vm, &start, &size,
			      &(struct drm_vsvm_attr){ .type = 0 }, 1) == -ENODATA;
}

/* All that was said is one value of one type about one span. */
static bool only_said(const struct vsvm_vm *vm, const void *start, size_t size, uint32_t type,
		      uint32_t value)
{
	struct saved *saved = calloc(2, sizeof(*saved));
	bool good = saved && attrs_save(vm, saved, 2) == 1 &&
		    saved->start == (uintptr_t)start && saved->size == size;

	for (unsigned int i = 0; good && i < ATTR_TYPES; i++)
		good = saved->attrs[i].type == i && !saved->attrs[i].flags &&
		       saved->attrs[i].value == (i == type ? value : attr_default[i]);
	free(saved);
	return good;
}

/* Memory, attributes, and both of nothing. */
GPU_TEST(defaults)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_TRUE(nothing_said(&gpu->vm));
		for (unsigned int i = 0; i < ATTR_TYPES; i++) {
			ASSERT_EQ(attr_default[i], attr_of(&gpu->vm, buf, SIZE, i));
			/* Also where there is no memory. */
			ASSERT_EQ(attr_default[i], attr_of(&gpu->vm, buf, 2 * SIZE, i));
			ASSERT_EQ(attr_default[i],
				  attr_of(&gpu->vm, NULL, gpu->dev.info.va_end, i));
		}
	}
	buf_free(buf, SIZE);
}

/* Each value of each attribute: got by whom it concerns, and nothing else is. */
GPU_TEST(set_get)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		for (unsigned int i = 0; i < ARRAY_SIZE(some_values); i++) {
			uint32_t type = some_values[i].type, value = some_values[i].value;

			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, type, value));
			for_each_gpu(other, self) {
				if (other != gpu && !of_process(type)) {
					ASSERT_TRUE(nothing_said(&other->vm));
					continue;
				}
				ASSERT_TRUE(only_said(&other->vm, buf, SIZE, type, value));
				ASSERT_EQ(value, attr_of(&other->vm, buf, SIZE, type));
				if (type == DRM_VSVM_ATTR_LOCATION &&
				    value == DRM_VSVM_LOCATION_DEVICE) {
					ASSERT_EQ((int)gpu->dev.info.index,
						  attr_device(&other->vm, buf, SIZE));
				}
			}
			/* Back to what holds anyway is nothing said. */
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, type,
						       attr_default[type]));
			ASSERT_TRUE(nothing_said(&gpu->vm));
		}
		/* As the VM was created: another name for it. */
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_NONE));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_DEFAULT));
		ASSERT_TRUE(nothing_said(&gpu->vm));
	}
	buf_free(buf, SIZE);
}

/* Each device named by its file, through each VM: got as its index. */
GPU_TEST(devices_by_name)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		for_each_gpu(named, self) {
			struct vsvm_device again;

			/* Any file of it will do. */
			ASSERT_EQ(0, vsvm_open(&again, named - self->gpu));
			ASSERT_EQ(0, vsvm_attr_prefer(&gpu->vm, buf, SIZE, &again));
			vsvm_close(&again);
			for_each_gpu(asked, self) {
				ASSERT_EQ((int)named->dev.info.index,
					  attr_device(&asked->vm, buf, SIZE));
			}
		}
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
	}
	buf_free(buf, SIZE);
}

/* An array of all types in one call; a value, or mixed, for each by itself. */
GPU_TEST(many_at_once)
{
	char *buf = buf_alloc(SIZE);
	const size_t half = SIZE / 2;

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		const struct drm_vsvm_attr all[ATTR_TYPES] = {
			{ .type = DRM_VSVM_ATTR_ATOMICS, .value = DRM_VSVM_ATOMICS_GLOBAL },
			{ .type = DRM_VSVM_ATTR_READ_ONLY, .value = 1 },
			{ .type = DRM_VSVM_ATTR_ACCESS, .value = DRM_VSVM_MODE_IN_PLACE },
			{ .type = DRM_VSVM_ATTR_RESIDENCE, .value = 7 },
			{ .type = DRM_VSVM_ATTR_GRANULARITY, .value = 3 },
			{ .type = DRM_VSVM_ATTR_MIGRATION, .value = DRM_VSVM_MIGRATION_NEVER },
			{ .type = DRM_VSVM_ATTR_LOCATION, .value = DRM_VSVM_LOCATION_DEVICE,
			  .device = gpu->dev.fd },
		};
		/* Types in any order, and one of them twice. */
		struct drm_vsvm_attr got[ATTR_TYPES + 1];

		ASSERT_EQ(0, vsvm_attr_set(&gpu->vm, buf, half, all, ATTR_TYPES));
		memset(got, 0xff, sizeof(got));
		for (unsigned int i = 0; i <= ATTR_TYPES; i++)
			got[i].type = all[i % ATTR_TYPES].type;
		ASSERT_EQ(0, vsvm_attr_get(&gpu->vm, buf, half, got, ATTR_TYPES + 1));
		for (unsigned int i = 0; i <= ATTR_TYPES; i++) {
			ASSERT_EQ(all[i % ATTR_TYPES].type, got[i].type);
			ASSERT_EQ(all[i % ATTR_TYPES].value, got[i].value);
			ASSERT_EQ(0, got[i].flags);
			ASSERT_EQ(got[i].type == DRM_VSVM_ATTR_LOCATION ?
				  (int)gpu->dev.info.index : 0, got[i].device);
		}
		/* The other half has defaults. */
		ASSERT_EQ(0, vsvm_attr_get(&gpu->vm, buf, SIZE, got, ATTR_TYPES + 1));
		for (unsigned int i = 0; i <= ATTR_TYPES; i++) {
			ASSERT_EQ(DRM_VSVM_ATTR_MIXED, got[i].flags);
			ASSERT_EQ(0, got[i].value);
			ASSERT_EQ(0, got[i].device);
		}
		/* Where only one differs, only that is mixed. */
		ASSERT_EQ(0, vsvm_attr_set(&gpu->vm, buf + half, half, all, ATTR_TYPES));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + half, self->page,
					       DRM_VSVM_ATTR_RESIDENCE, 8));
		ASSERT_EQ(0, vsvm_attr_get(&gpu->vm, buf, SIZE, got, ATTR_TYPES));
		for (unsigned int i = 0; i < ATTR_TYPES; i++) {
			ASSERT_EQ(got[i].type == DRM_VSVM_ATTR_RESIDENCE ?
				  DRM_VSVM_ATTR_MIXED : 0, got[i].flags);
		}
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
		ASSERT_TRUE(nothing_said(&gpu->vm));
	}
	buf_free(buf, SIZE);
}

/* The edges of intervals: they split where something differs, and merge again. */
GPU_TEST(split_and_merge)
{
	char *buf = buf_alloc(SIZE);
	const size_t page = self->page;
	struct saved saved[8];

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		struct vsvm_vm *vm = &gpu->vm;

#define RO(first__, count__, value__)						\
		ASSERT_EQ(0, vsvm_attr_set_one(vm, buf + (first__) * page, (count__) * page, \
					       DRM_VSVM_ATTR_READ_ONLY, value__))
#define SAID(i__, first__, count__)						\
		do {								\
			ASSERT_EQ((uintptr_t)buf + (first__) * page, saved[i__].start);	\
			ASSERT_EQ((count__) * page, saved[i__].size);		\
		} while (0)

		RO(2, 4, 1);
		ASSERT_EQ(1, attrs_save(vm, saved, 8));
		SAID(0, 2, 4);
		/* Next to it, on both sides, and over its edge. */
		RO(6, 2, 1);
		RO(1, 1, 1);
		RO(7, 3, 1);
		ASSERT_EQ(1, attrs_save(vm, saved, 8));
		SAID(0, 1, 9);
		/* A hole in the middle. */
		RO(4, 1, 0);
		ASSERT_EQ(2, attrs_save(vm, saved, 8));
		SAID(0, 1, 3);
		SAID(1, 5, 5);
		/* Filled with something else, then with the same again. */
		ASSERT_EQ(0, vsvm_attr_set_one(vm, buf + 4 * page, page,
					       DRM_VSVM_ATTR_ATOMICS, DRM_VSVM_ATOMICS_CPU));
		ASSERT_EQ(3, attrs_save(vm, saved, 8));
		SAID(1, 4, 1);
		ASSERT_EQ(DRM_VSVM_ATOMICS_CPU, saved[1].attrs[DRM_VSVM_ATTR_ATOMICS].value);
		ASSERT_EQ(0, saved[1].attrs[DRM_VSVM_ATTR_READ_ONLY].value);
		RO(0, 16, 1);
		ASSERT_EQ(3, attrs_save(vm, saved, 8));
		SAID(0, 0, 4);
		SAID(2, 5, 11);
		ASSERT_EQ(0, vsvm_attr_set_one(vm, buf + 3 * page, 3 * page,
					       DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_UNDEFINED));
		ASSERT_EQ(1, attrs_save(vm, saved, 8));
		SAID(0, 0, 16);
		/* Not said by this one: no edge that it would see. */
		for_each_gpu(other, self) {
			if (other == gpu)
				continue;
			ASSERT_EQ(0, vsvm_attr_set_one(&other->vm, buf + 5 * page, page,
						       DRM_VSVM_ATTR_READ_ONLY, 1));
		}
		ASSERT_EQ(1, attrs_save(vm, saved, 8));
		SAID(0, 0, 16);
		/* Looked for from the middle of one. */
		{
			uint64_t start = (uintptr_t)buf + 3 * page, size;
			struct drm_vsvm_attr attr = { .type = DRM_VSVM_ATTR_READ_ONLY };

			ASSERT_EQ(0, vsvm_attr_next(vm, &start, &size, &attr, 1));
			ASSERT_EQ((uintptr_t)buf + 3 * page, start);
			ASSERT_EQ(13 * page, size);
			start += size;
			ASSERT_EQ(-ENODATA, vsvm_attr_next(vm, &start, &size, &attr, 1));
		}
		for_each_gpu(other, self) {
			ASSERT_EQ(0, vsvm_attr_reset(&other->vm, buf, SIZE));
		}
		ASSERT_TRUE(nothing_said(vm));
#undef RO
#undef SAID
	}
	buf_free(buf, SIZE);
}

#define REF_PAGES	48

struct ref {
	uint32_t process[REF_PAGES][DRM_VSVM_ATTR_RESIDENCE + 1];
	int device[REF_PAGES];
	uint32_t vm[4][REF_PAGES][ATTR_TYPES];
};

static uint32_t ref_of(const struct ref *ref, unsigned int g, unsigned int page, uint32_t type)
{
	return of_process(type) ? ref->process[page][type] : ref->vm[g][page][type];
}

/* Does the VM say the same, page by page, over a span, and when stepped through? */
static bool ref_check(const struct ref *ref, struct gpu *gpu, unsigned int g, char *buf,
		      size_t page_size, uint64_t *seed)
{
	struct saved *saved = calloc(ATTR_MAX, sizeof(*saved));
	unsigned int from = rnd(seed) % REF_PAGES, num, at = 0;
	unsigned int count = 1 + rnd(seed) % (REF_PAGES - from);
	int ret = saved ? attrs_save(&gpu->vm, saved, ATTR_MAX) : -ENOMEM;
	bool good = ret >= 0;

	num = good ? ret : 0;
	for (uint32_t type = 0; good && type < ATTR_TYPES; type++) {
		int64_t want = ref_of(ref, g, from, type);
		int device = ref->device[from];

		for (unsigned int i = from; i < from + count; i++) {
			if (ref_of(ref, g, i, type) != ref_of(ref, g, from, type))
				want = -1;
			if (type == DRM_VSVM_ATTR_LOCATION &&
			    ref->device[i] != ref->device[from])
				want = -1;
		}
		good = attr_of(&gpu->vm, buf + from * page_size, count * page_size, type) == want;
		if (good && type == DRM_VSVM_ATTR_LOCATION && want == DRM_VSVM_LOCATION_DEVICE)
			good = attr_device(&gpu->vm, buf + from * page_size,
					   count * page_size) == device;
	}
	/* Stepped through: each page is in one interval, neighbours differ. */
	for (unsigned int i = 0; good && i < REF_PAGES; i++) {
		uint64_t addr = (uintptr_t)buf + i * page_size;
		bool said = false;

		for (uint32_t type = 0; type < ATTR_TYPES; type++)
			said |= ref_of(ref, g, i, type) != attr_default[type];
		while (at < num && saved[at].start + saved[at].size <= addr)
			at++;
		good = said == (at < num && saved[at].start <= addr);
		for (uint32_t type = 0; good && said && type < ATTR_TYPES; type++)
			good = saved[at].attrs[type].value == ref_of(ref, g, i, type);
		if (good && said && ref->process[i][0] == DRM_VSVM_LOCATION_DEVICE)
			good = saved[at].attrs[0].device == ref->device[i];
	}
	for (unsigned int i = 1; good && i < num; i++)
		good = saved[i].start > saved[i - 1].start + saved[i - 1].size ||
		       memcmp(saved[i].attrs, saved[i - 1].attrs, sizeof(saved[i].attrs));
	free(saved);
	return good;
}

/* Many random changes, through all VMs, against an array of pages. */
GPU_TEST(flat_reference)
{
	const size_t size = REF_PAGES * self->page;
	struct ref *ref = calloc(1, sizeof(*ref));
	uint64_t seed = 4711 + self->g->n;
	char *buf = buf_alloc(size);

	ASSERT_NE(NULL, ref);
	ASSERT_NE(NULL, buf);
	for (unsigned int i = 0; i < REF_PAGES; i++) {
		memcpy(ref->process[i], attr_default, sizeof(ref->process[i]));
		for (unsigned int g = 0; g < 4; g++)
			memcpy(ref->vm[g][i], attr_default, sizeof(attr_default));
	}
	for (unsigned int round = 0; round < 400; round++) {
		unsigned int g = rnd(&seed) % self->g->n, from = rnd(&seed) % REF_PAGES;
		unsigned int count = 1 + rnd(&seed) % (REF_PAGES - from);
		unsigned int v = rnd(&seed) % ARRAY_SIZE(some_values);
		uint32_t type = some_values[v].type, value = some_values[v].value;
		struct gpu *gpu = &self->gpu[g];
		bool reset = rnd(&seed) % 20 == 0;

		if (rnd(&seed) % 3 == 0)
			value = attr_default[type];
		if (reset) {
			ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf + from * self->page,
						     count * self->page));
		} else {
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + from * self->page,
						       count * self->page, type, value));
		}
		for (unsigned int i = from; i < from + count; i++) {
			if (reset) {
				memcpy(ref->process[i], attr_default, sizeof(ref->process[i]));
				memcpy(ref->vm[g][i], attr_default, sizeof(attr_default));
				ref->device[i] = 0;
			} else if (of_process(type)) {
				ref->process[i][type] = value;
			} else {
				ref->vm[g][i][type] = value;
			}
			if (!reset && type == DRM_VSVM_ATTR_LOCATION)
				ref->device[i] = value == DRM_VSVM_LOCATION_DEVICE ?
						 (int)gpu->dev.info.index : 0;
		}
		if (round % 8)
			continue;
		g = rnd(&seed) % self->g->n;
		ASSERT_TRUE(ref_check(ref, &self->gpu[g], g, buf, self->page, &seed)) {
			TH_LOG("round %u", round);
		}
		ASSERT_EQ(0, gpus_validate());
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, size));
	}
	for_each_gpu(gpu, self) {
		ASSERT_TRUE(nothing_said(&gpu->vm));
	}
	buf_free(buf, size);
	free(ref);
}

/* What a checkpoint tool does. */
GPU_TEST(save_and_restore)
{
	struct attr_state *before = calloc(2, sizeof(*before)), *after = before + 1;
	char *buf = buf_alloc(SIZE);
	uint64_t seed = 99;

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, before);
	for (unsigned int i = 0; i < 12; i++) {
		struct gpu *gpu = &self->gpu[i % self->g->n];
		unsigned int v = rnd(&seed) % ARRAY_SIZE(some_values);

		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + i * self->page, 3 * self->page,
					       some_values[v].type, some_values[v].value));
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, attr_state_get(&gpu->vm, before));
		ASSERT_LT(0, before->num);
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
		ASSERT_TRUE(nothing_said(&gpu->vm));
		ASSERT_EQ(0, attrs_restore(&gpu->vm, before->saved, before->num, self->g));
		ASSERT_EQ(0, attr_state_get(&gpu->vm, after));
		before->stats = after->stats;
		ASSERT_TRUE(attr_state_same(before, after));
	}
	buf_free(buf, SIZE);
	free(before);
}

/* ------------------------------------------------------------------- access */

/* Forbidden before the first touch, and after it; for one, not for the others. */
GPU_TEST(access_none)
{
	char *buf = buf_alloc(SIZE);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 1);
	for_each_gpu(gpu, self) {
		for (unsigned int touched = 0; touched < 2; touched++) {
			if (touched) {
				ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 0));
			}
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_ACCESS,
						       DRM_VSVM_MODE_NONE));
			ASSERT_GPU_ERROR(gpu_read64(gpu, buf, &value), gpu, EACCES, buf, 0);
			ASSERT_GPU_ERROR(gpu_write64(gpu, buf + SIZE - 8, 0), gpu, EACCES,
					 buf + SIZE - 8, DRM_VSVM_ERROR_WRITE);
			for_each_gpu(other, self) {
				if (other == gpu)
					continue;
				ASSERT_EQ(0, gpu_read64(other, buf, &value));
				ASSERT_EQ(pattern(1, 0), value);
			}
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_ACCESS,
						       DRM_VSVM_MODE_ON_DEMAND));
			ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
			ASSERT_EQ(pattern(1, 0), value);
		}
	}
	ASSERT_EQ(-1, buf_check(buf, SIZE, 1, 0));
	buf_free(buf, SIZE);
}

/* A part of a range only: that part, and the rest goes on. */
GPU_TEST(access_none_in_part)
{
	char *buf = buf_alloc(CHUNK);
	const size_t page = self->page;
	uint64_t value;

	ASSERT_NE(NULL, buf);
	buf_init(buf, CHUNK, 2);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_read_each(gpu, buf, CHUNK, 16 * page));
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + 5 * page, page,
					       DRM_VSVM_ATTR_ACCESS, DRM_VSVM_MODE_NONE));
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf + 5 * page, &value), gpu, EACCES,
				 buf + 5 * page, 0);
		ASSERT_EQ(0, gpu_read64(gpu, buf + 4 * page, &value));
		ASSERT_EQ(pattern(2, WORDS(4 * page)), value);
		ASSERT_EQ(0, gpu_add(gpu, buf + 6 * page, CHUNK - 6 * page, 0));
		/* A job over all of it ends where it is forbidden. */
		ASSERT_GPU_ERROR(gpu_add(gpu, buf, CHUNK, 0), gpu, EACCES, buf + 5 * page,
				 DRM_VSVM_ERROR_WRITE);
		ASSERT_EQ(0, gpus_validate());
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, CHUNK));
		ASSERT_EQ(0, gpu_add(gpu, buf, CHUNK, 0));
	}
	ASSERT_EQ(-1, buf_check(buf, CHUNK, 2, 0));
	buf_free(buf, CHUNK);
}

/* One may only read; the others write, and it sees what they wrote. */
GPU_TEST(read_only)
{
	char *buf = buf_alloc(SIZE);
	uint64_t value, added = 0;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 3);
	for_each_gpu(gpu, self) {
		for (unsigned int touched = 0; touched < 2; touched++) {
			if (touched) {
				/* Mapped writable before. */
				ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
				added++;
			}
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_READ_ONLY, 1));
			ASSERT_GPU_ERROR(gpu_write64(gpu, buf + 8, 0), gpu, EACCES, buf + 8,
					 DRM_VSVM_ERROR_WRITE);
			ASSERT_EQ(0, gpu_read64(gpu, buf + 8, &value));
			ASSERT_EQ(pattern(3, 1) + added, value);
			/* Mapped for reading now. */
			ASSERT_GPU_ERROR(gpu_add(gpu, buf, SIZE, 1), gpu, EACCES, buf,
					 DRM_VSVM_ERROR_WRITE);
			ASSERT_GPU_ERROR(gpu_atomic_add(gpu, buf, 1, 1), gpu, EACCES, buf,
					 DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC);
			for_each_gpu(other, self) {
				if (other == gpu)
					continue;
				ASSERT_EQ(0, gpu_add(other, buf, SIZE, 1));
				added++;
				ASSERT_EQ(0, gpu_read64(gpu, buf + 8, &value));
				ASSERT_EQ(pattern(3, 1) + added, value);
			}
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_READ_ONLY, 0));
			ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
			added++;
		}
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
	}
	ASSERT_EQ(-1, buf_check(buf, SIZE, 3, added));
	buf_free(buf, SIZE);
}

/* Atomic operations are the CPU's: plain reads and writes go on. */
GPU_TEST(atomics_cpu)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	memset(buf, 0, SIZE);
	for_each_gpu(gpu, self) {
		for (unsigned int touched = 0; touched < 2; touched++) {
			uint64_t value, *word = (uint64_t *)(buf + 8 * touched);

			*word = 0;
			if (touched) {
				ASSERT_EQ(0, gpu_atomic_add(gpu, buf + SIZE / 2, 1, 1));
			}
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_ATOMICS,
						       DRM_VSVM_ATOMICS_CPU));
			ASSERT_GPU_ERROR(gpu_atomic_add(gpu, word, 1, 5), gpu, EACCES, word,
					 DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC);
			ASSERT_EQ(0, gpu_add(gpu, word, 8, 3));
			ASSERT_GPU_ERROR(gpu_atomic_add(gpu, word, 1, 5), gpu, EACCES, word,
					 DRM_VSVM_ERROR_WRITE | DRM_VSVM_ERROR_ATOMIC);
			ASSERT_EQ(0, gpu_read64(gpu, word, &value));
			ASSERT_EQ(3, value);
			for_each_gpu(other, self)
				if (other != gpu) {
					ASSERT_EQ(0, gpu_atomic_add(other, word, 1, 5));
				}
			ASSERT_EQ(3 + 5 * (self->g->n - 1), *word);
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_ATOMICS,
						       DRM_VSVM_ATOMICS_GLOBAL));
			ASSERT_EQ(0, gpu_atomic_add(gpu, word, 1, 5));
			ASSERT_EQ(3 + 5 * self->g->n, *word);
		}
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
	}
	buf_free(buf, SIZE);
}

static int count_up(struct gpu *gpu, unsigned int i, void *arg)
{
	(void)i;
	return gpu_atomic_add(gpu, arg, 1, 3000);
}

static void *count_up_cpu(void *arg)
{
	for (unsigned int i = 0; i < 3000; i++)
		__atomic_fetch_add((uint64_t *)arg, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* All devices and the CPU at once, on one word: each is counted. */
GPU_TEST(atomics_global)
{
	uint64_t *buf = buf_alloc(SIZE);
	pthread_t thread;

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_GLOBAL));
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, count_up_cpu, buf));
	ASSERT_EQ(0, gpus_parallel(self->g, count_up, buf));
	pthread_join(thread, NULL);
	ASSERT_EQ(3000 * (1 + self->g->n), *buf);
	buf_free(buf, SIZE);
}

/* What one device faults in is mapped on who wants it eagerly, there and only there. */
GPU_TEST(eager)
{
	char *buf = buf_alloc(2 * CHUNK);
	struct gpu *first = self->gpu;

	if (self->g->n == 1)
		SKIP(return, "needs another device");
	ASSERT_NE(NULL, buf);
	memset(buf, 1, 2 * CHUNK);
	for_each_gpu(gpu, self) {
		uint64_t faults, eager;
		bool along = false;

		if (gpu == first)
			continue;
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, CHUNK, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_EAGER));
		/* An invalidation, of compaction say, may come in between. */
		for (int i = 0; i < 5 && !along; i++) {
			eager = gpu_stat(gpu, eager_maps);
			ASSERT_EQ(0, gpu_read_each(first, buf, 2 * CHUNK, CHUNK));
			along = eager < gpu_stat(gpu, eager_maps);
			faults = gpu_stat(gpu, faults);
			ASSERT_EQ(0, gpu_read_each(gpu, buf, CHUNK, 64 * self->page));
			along &= faults == gpu_stat(gpu, faults);
			if (!along)
				ASSERT_EQ(0, madvise(buf, 2 * CHUNK, MADV_DONTNEED));
		}
		EXPECT_TRUE(along);
		faults = gpu_stat(gpu, faults);
		ASSERT_EQ(0, gpu_read_each(gpu, buf + CHUNK, 8, 8));
		EXPECT_LT(faults, gpu_stat(gpu, faults));

		/* And where it is mapped already, when that is said. */
		eager = gpu_stat(gpu, eager_maps);
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, CHUNK, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_ON_DEMAND));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, CHUNK, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_EAGER));
		EXPECT_LT(eager, gpu_stat(gpu, eager_maps));
		faults = gpu_stat(gpu, faults);
		ASSERT_EQ(0, gpu_read_each(gpu, buf, CHUNK, 64 * self->page));
		EXPECT_EQ(faults, gpu_stat(gpu, faults));
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, CHUNK));
		ASSERT_EQ(0, madvise(buf, 2 * CHUNK, MADV_DONTNEED));
	}
	buf_free(buf, 2 * CHUNK);
}

/* Where the value was the same nothing happens to what is mapped. */
GPU_TEST(same_is_nothing)
{
	struct attr_state *before = calloc(2, sizeof(*before)), *after = before + 1;
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, before);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE / 2,
					       DRM_VSVM_ATTR_ATOMICS, DRM_VSVM_ATOMICS_CPU));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE / 2,
					       DRM_VSVM_ATTR_GRANULARITY, 4));
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 1));
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, attr_state_get(&gpu->vm, before));
		for (uint32_t type = 0; type < ATTR_TYPES; type++) {
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + SIZE / 2, SIZE / 2, type,
						       attr_default[type]));
		}
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE / 4,
					       DRM_VSVM_ATTR_ATOMICS, DRM_VSVM_ATOMICS_CPU));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE / 2,
					       DRM_VSVM_ATTR_GRANULARITY, 4));
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf + SIZE / 2, SIZE / 2));
		ASSERT_EQ(0, attr_state_get(&gpu->vm, after));
		ASSERT_TRUE(attr_state_same(before, after));
	}
	/* And the other way round: the counters do see a change. */
	ASSERT_EQ(0, gpu_add(self->gpu, buf, SIZE, 1));
	ASSERT_EQ(0, attr_state_get(&self->gpu->vm, before));
	ASSERT_EQ(0, vsvm_attr_set_one(&self->gpu->vm, buf, SIZE, DRM_VSVM_ATTR_READ_ONLY, 1));
	ASSERT_EQ(0, attr_state_get(&self->gpu->vm, after));
	ASSERT_LT(before->stats.tlb_flushes, after->stats.tlb_flushes);
	buf_free(buf, SIZE);
	free(before);
}

/* The access of one VM is no business of another's mappings. */
GPU_TEST(others_stay_mapped)
{
	char *buf = buf_alloc(CHUNK);
	struct gpu *first = self->gpu;

	if (self->g->n == 1)
		SKIP(return, "needs another device");
	ASSERT_NE(NULL, buf);
	memset(buf, 1, CHUNK);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_add(gpu, buf, CHUNK, 1));
	}
	for_each_gpu(gpu, self) {
		uint64_t flushes, faults;

		if (gpu == first)
			continue;
		flushes = gpu_stat(gpu, tlb_flushes);
		faults = gpu_stat(gpu, faults);
		ASSERT_EQ(0, vsvm_attr_set_one(&first->vm, buf, CHUNK, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_NONE));
		ASSERT_EQ(0, vsvm_attr_set_one(&first->vm, buf, CHUNK, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_ON_DEMAND));
		ASSERT_EQ(0, gpu_add(gpu, buf, CHUNK, 1));
		EXPECT_EQ(flushes, gpu_stat(gpu, tlb_flushes));
		EXPECT_EQ(faults, gpu_stat(gpu, faults));
	}
	buf_free(buf, CHUNK);
}

/* Two VMs of one device: each has its own access, placement is of both. */
GPU_TEST(two_vms)
{
	struct gpu *second = buf_alloc(sizeof(*second));
	char *buf = buf_alloc(SIZE);
	uint64_t value;

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, second);
	ASSERT_EQ(0, gpu_open(second, 0, 0));
	ASSERT_EQ(0, vsvm_attr_set_one(&second->vm, buf, SIZE, DRM_VSVM_ATTR_ACCESS,
				       DRM_VSVM_MODE_NONE));
	ASSERT_EQ(0, vsvm_attr_set_one(&second->vm, buf, SIZE, DRM_VSVM_ATTR_RESIDENCE, 5));
	ASSERT_TRUE(only_said(&self->gpu->vm, buf, SIZE, DRM_VSVM_ATTR_RESIDENCE, 5));
	ASSERT_EQ(0, gpu_write64(self->gpu, buf, 6));
	ASSERT_GPU_ERROR(gpu_read64(second, buf, &value), second, EACCES, buf, 0);

	/* Its access goes with it, and the next one in its place has none of it. */
	ASSERT_EQ(0, gpu_close(second));
	ASSERT_EQ(0, gpu_open(second, 0, 0));
	ASSERT_TRUE(only_said(&second->vm, buf, SIZE, DRM_VSVM_ATTR_RESIDENCE, 5));
	ASSERT_EQ(0, gpu_read64(second, buf, &value));
	ASSERT_EQ(6, value);
	ASSERT_EQ(0, gpu_close(second));
	buf_free(second, sizeof(*second));
	buf_free(buf, SIZE);
}

/* ------------------------------------------------------------ whose, how long */

struct child_arg {
	struct gpus *g;
	char *buf;
};

static int child_asks(void *arg)
{
	struct child_arg *c = arg;
	struct gpu *gpu = c->g->gpu;
	struct drm_vsvm_attr attr = { .type = DRM_VSVM_ATTR_READ_ONLY, .value = 1 };
	uint64_t start = 0, size;
	struct gpu own;

	/* The parent's VM is not ours. */
	CHECK(vsvm_attr_set(&gpu->vm, c->buf, SIZE, &attr, 1) == -EPERM);
	CHECK(vsvm_attr_get(&gpu->vm, c->buf, SIZE, &attr, 1) == -EPERM);
	CHECK(vsvm_attr_next(&gpu->vm, &start, &size, &attr, 1) == -EPERM);
	CHECK(vsvm_attr_reset(&gpu->vm, c->buf, SIZE) == -EPERM);
	CHECK(vsvm_prefetch(&gpu->vm, c->buf, SIZE, NULL, 0, NULL) == -EPERM);
	/* One of our own knows nothing of what was said there. */
	CHECK(!gpu_open(&own, 0, 0));
	CHECK(nothing_said(&own.vm));
	CHECK(!gpu_write64(&own, c->buf, 77));
	CHECK(!vsvm_attr_set_one(&own.vm, c->buf, SIZE, DRM_VSVM_ATTR_ACCESS,
				 DRM_VSVM_MODE_NONE));
	CHECK(gpu_write64(&own, c->buf, 78) == -EIO);
	CHECK(*(volatile uint64_t *)c->buf == 77);
	CHECK(!gpu_close(&own));
	return 0;
}

/* A child has none of the parent's, and changes none of the parent's. */
GPU_TEST(fork_has_none)
{
	struct child_arg arg = { .g = self->g, .buf = buf_alloc(SIZE) };
	uint64_t value;

	ASSERT_NE(NULL, arg.buf);
	*(uint64_t *)arg.buf = 5;
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, arg.buf, SIZE,
					       DRM_VSVM_ATTR_READ_ONLY, 1));
	}
	ASSERT_EQ(0, run_child(child_asks, &arg));
	for_each_gpu(gpu, self) {
		ASSERT_TRUE(only_said(&gpu->vm, arg.buf, SIZE, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, gpu_read64(gpu, arg.buf, &value));
		ASSERT_EQ(5, value);
	}
	buf_free(arg.buf, SIZE);
}

/* munmap takes them, also where no device was; a new mapping begins with none. */
GPU_TEST(munmap_and_mmap_again)
{
	for_each_gpu(gpu, self) {
		for (unsigned int touched = 0; touched < 2; touched++) {
			char *buf = buf_alloc(SIZE);

			ASSERT_NE(NULL, buf);
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_READ_ONLY, 1));
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_MIGRATION,
						       DRM_VSVM_MIGRATION_NEVER));
			if (touched) {
				ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
			}
			ASSERT_EQ(0, munmap(buf, SIZE));
			ASSERT_TRUE(nothing_said(&gpu->vm));
			ASSERT_EQ(buf, mmap(buf, SIZE, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
			ASSERT_EQ(0, gpu_fill(gpu, buf, SIZE, 9));
			ASSERT_EQ(-1, buf_check_value(buf, SIZE, 9));

			/* Mapped over: the old mapping was unmapped. */
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_READ_ONLY, 1));
			ASSERT_EQ(buf, mmap(buf, SIZE, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
			ASSERT_EQ(0, gpu_fill(gpu, buf, SIZE, 10));
			ASSERT_TRUE(nothing_said(&gpu->vm));
			buf_free(buf, SIZE);
		}
	}
}

GPU_TEST(partial_munmap)
{
	const size_t page = self->page;

	for_each_gpu(gpu, self) {
		char *buf = buf_alloc(SIZE);
		struct saved saved[4];
		uint64_t value;

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, page));
		ASSERT_EQ(0, munmap(buf + 4 * page, 2 * page));
		ASSERT_EQ(2, attrs_save(&gpu->vm, saved, 4));
		ASSERT_EQ((uintptr_t)buf, saved[0].start);
		ASSERT_EQ(4 * page, saved[0].size);
		ASSERT_EQ((uintptr_t)buf + 6 * page, saved[1].start);
		ASSERT_EQ(SIZE - 6 * page, saved[1].size);
		/* What is left is still forbidden, what comes there is not. */
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf + 3 * page, 0), gpu, EACCES,
				 buf + 3 * page, DRM_VSVM_ERROR_WRITE);
		ASSERT_GPU_ERROR(gpu_read64(gpu, buf + 4 * page, &value), gpu, EFAULT,
				 buf + 4 * page, 0);
		ASSERT_EQ(buf + 4 * page,
			  mmap(buf + 4 * page, 2 * page, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		ASSERT_EQ(0, gpu_write64(gpu, buf + 4 * page, 3));
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf + 6 * page, 0), gpu, EACCES,
				 buf + 6 * page, DRM_VSVM_ERROR_WRITE);
		buf_free(buf, SIZE);
		ASSERT_TRUE(nothing_said(&gpu->vm));
	}
}

/* Attributes belong to addresses: they do not move along. */
GPU_TEST(mremap_moves)
{
	for_each_gpu(gpu, self) {
		for (unsigned int dontunmap = 0; dontunmap < 2; dontunmap++) {
			char *buf = buf_alloc(SIZE), *to = buf_alloc(SIZE);
			int flags = MREMAP_MAYMOVE | MREMAP_FIXED;

			ASSERT_NE(NULL, buf);
			ASSERT_NE(NULL, to);
			if (dontunmap)
				flags |= MREMAP_DONTUNMAP;
			buf_init(buf, SIZE, 4);
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_READ_ONLY, 1));
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, to, SIZE,
						       DRM_VSVM_ATTR_ACCESS,
						       DRM_VSVM_MODE_NONE));
			ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
			ASSERT_EQ(to, mremap(buf, SIZE, SIZE, flags, to));
			/* Neither those of the data, nor those of the place. */
			ASSERT_TRUE(nothing_said(&gpu->vm));
			ASSERT_EQ(0, gpu_add(gpu, to, SIZE, 1));
			ASSERT_EQ(-1, buf_check(to, SIZE, 4, 1));
			if (dontunmap) {
				/* A VMA is still there, with nothing in it. */
				ASSERT_EQ(0, gpu_add(gpu, buf, SIZE, 2));
				ASSERT_EQ(-1, buf_check_value(buf, SIZE, 2));
			}
			buf_free(to, SIZE);
			buf_free(buf, SIZE);
		}
	}
}

/* What grows has none in the new part; what shrinks keeps the rest. */
GPU_TEST(mremap_in_place)
{
	for_each_gpu(gpu, self) {
		char *buf = buf_alloc(2 * SIZE);

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, 2 * SIZE,
					       DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(buf, mremap(buf, 2 * SIZE, SIZE, 0));
		ASSERT_TRUE(only_said(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, munmap(buf + 2 * SIZE, self->page));
		ASSERT_EQ(buf, mremap(buf, SIZE, SIZE + self->page, 0)) {
			TH_LOG("%s", strerror(errno));
		}
		ASSERT_TRUE(only_said(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, gpu_write64(gpu, buf + SIZE, 1));
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf + SIZE - 8, 1), gpu, EACCES,
				 buf + SIZE - 8, DRM_VSVM_ERROR_WRITE);
		buf_free(buf, 2 * SIZE);
	}
}

/* What takes no address away leaves them as they are. */
GPU_TEST(other_changes_keep)
{
	for_each_gpu(gpu, self) {
		char *buf = buf_alloc(SIZE);
		uint64_t value;

		ASSERT_NE(NULL, buf);
		buf_init(buf, SIZE, 6);
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
		ASSERT_EQ(0, mprotect(buf, SIZE / 2, PROT_READ));
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(0, mprotect(buf, SIZE, PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_HUGEPAGE));
		madvise(buf, SIZE, MADV_PAGEOUT);
		ASSERT_TRUE(only_said(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
		ASSERT_EQ(0, value);
		ASSERT_GPU_ERROR(gpu_write64(gpu, buf, 1), gpu, EACCES, buf,
				 DRM_VSVM_ERROR_WRITE);
		buf_free(buf, SIZE);
	}
}

/* Many holes at once: what was unmapped has none, whatever else was dropped. */
GPU_TEST(many_holes)
{
	const unsigned int pages = 256;
	const size_t size = pages * self->page;
	char *buf = buf_alloc(size);
	struct saved *saved = calloc(ATTR_MAX, sizeof(*saved));
	uint64_t widened = gpu_stat(self->gpu, mgr_attr_widened);
	int num;

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, saved);
	ASSERT_EQ(0, vsvm_attr_set_one(&self->gpu->vm, buf, size, DRM_VSVM_ATTR_READ_ONLY, 1));
	/* More than there are places to note them in, and nobody asks meanwhile. */
	for (unsigned int i = 1; i < pages; i += 2) {
		ASSERT_EQ(0, munmap(buf + i * self->page, self->page));
	}
	EXPECT_LT(widened, gpu_stat(self->gpu, mgr_attr_widened));
	for (unsigned int i = 1; i < pages; i += 2) {
		ASSERT_EQ(0, attr_of(&self->gpu->vm, buf + i * self->page, self->page,
				     DRM_VSVM_ATTR_READ_ONLY));
	}
	num = attrs_save(&self->gpu->vm, saved, ATTR_MAX);
	ASSERT_LE(0, num);
	ASSERT_GT(128, num);
	ASSERT_EQ(0, gpus_validate());

	/* One at a time, each asked for: exact. */
	for (unsigned int i = 0; i < 32; i += 2) {
		ASSERT_EQ(0, vsvm_attr_reset(&self->gpu->vm, buf, size));
		ASSERT_EQ(0, vsvm_attr_set_one(&self->gpu->vm, buf + i * self->page,
					       self->page, DRM_VSVM_ATTR_READ_ONLY, 1));
		ASSERT_EQ(0, munmap(buf + i * self->page, self->page));
		ASSERT_TRUE(nothing_said(&self->gpu->vm));
	}
	buf_free(buf, size);
	free(saved);
}

/* With the last VM of the process everything goes. */
GPU_TEST(last_vm_takes_all)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
					       DRM_VSVM_ATTR_RESIDENCE, 3));
	}
	for_each_gpu(gpu, self) {
		ASSERT_TRUE(only_said(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_RESIDENCE, 3));
		ASSERT_EQ(0, vsvm_vm_destroy(&gpu->vm));
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR, &gpu->vm));
		ASSERT_TRUE(nothing_said(&gpu->vm));
	}
	buf_free(buf, SIZE);
}

/* Two who differ: the last one is right, and it is counted. */
GPU_TEST(conflicts)
{
	struct gpu *one = &self->gpu[0], *two = &self->gpu[1];
	char *buf = buf_alloc(SIZE);
	uint64_t conflicts;

	if (self->g->n == 1)
		SKIP(return, "needs another device");
	ASSERT_NE(NULL, buf);
	conflicts = gpu_stat(one, mgr_attr_conflicts);
	ASSERT_EQ(0, vsvm_attr_prefer(&one->vm, buf, SIZE, &one->dev));
	/* Changing one's own mind is none. */
	ASSERT_EQ(0, vsvm_attr_prefer(&one->vm, buf, SIZE, NULL));
	ASSERT_EQ(0, vsvm_attr_prefer(&one->vm, buf, SIZE, &one->dev));
	EXPECT_EQ(conflicts, gpu_stat(one, mgr_attr_conflicts));
	ASSERT_EQ(0, vsvm_attr_prefer(&two->vm, buf, SIZE, &two->dev));
	EXPECT_EQ(conflicts + 1, gpu_stat(one, mgr_attr_conflicts));
	for_each_gpu(gpu, self) {
		ASSERT_EQ((int)two->dev.info.index, attr_device(&gpu->vm, buf, SIZE));
	}
	/* To agree is none; in a part only. */
	ASSERT_EQ(0, vsvm_attr_prefer(&two->vm, buf, SIZE, &two->dev));
	EXPECT_EQ(conflicts + 1, gpu_stat(two, mgr_attr_conflicts));
	ASSERT_EQ(0, vsvm_attr_prefer(&one->vm, buf + SIZE / 2, SIZE / 4, NULL));
	EXPECT_EQ(conflicts + 2, gpu_stat(two, mgr_attr_conflicts));
	ASSERT_EQ((int)two->dev.info.index, attr_device(&one->vm, buf, SIZE / 2));
	ASSERT_EQ(-1, attr_of(&two->vm, buf, SIZE, DRM_VSVM_ATTR_LOCATION));
	buf_free(buf, SIZE);
}

/* ------------------------------------------------------- all at the same time */

struct toggle {
	struct gpu *gpu;
	char *buf;
	bool stop;
	int ret;
};

static void *toggle_thread(void *arg)
{
	struct toggle *toggle = arg;
	uint64_t seed = 5;

	while (!__atomic_load_n(&toggle->stop, __ATOMIC_RELAXED) && !toggle->ret) {
		size_t at = rnd(&seed) % (SIZE / 2) & ~(page_size() - 1);

		toggle->ret = vsvm_attr_set_one(&toggle->gpu->vm, toggle->buf + at, SIZE / 4,
						DRM_VSVM_ATTR_READ_ONLY, rnd(&seed) % 2);
	}
	return NULL;
}

/*
 * Jobs under changes: each ends well or with EACCES; once a change has returned, no
 * write is done that it forbids.
 */
GPU_TEST(changes_under_jobs)
{
	char *buf = buf_alloc(SIZE);
	unsigned int denied = 0;

	ASSERT_NE(NULL, buf);
	memset(buf, 0, SIZE);
	for_each_gpu(gpu, self) {
		struct toggle toggle = { .gpu = gpu, .buf = buf };
		struct drm_vsvm_error error;
		pthread_t thread;
		uint64_t value;

		ASSERT_EQ(0, pthread_create(&thread, NULL, toggle_thread, &toggle));
		for (unsigned int i = 0; i < 60; i++) {
			int ret = gpu_add(gpu, buf, SIZE, 1);

			if (!ret)
				continue;
			ASSERT_EQ(-EIO, ret);
			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			ASSERT_EQ(EACCES, error.error);
			denied++;
		}
		__atomic_store_n(&toggle.stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		ASSERT_EQ(0, toggle.ret);

		for (unsigned int i = 0; i < 20; i++) {
			ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
			ASSERT_EQ(0, gpu_fill(gpu, buf, SIZE, i));
			VSVM_JOB(job, 8);
			for (unsigned int k = 0; k < 8; k++)
				vsvm_job_add(&job, buf, SIZE, 1);
			ASSERT_EQ(0, gpu_start(gpu, 1, &job));
			ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE,
						       DRM_VSVM_ATTR_READ_ONLY, 1));
			value = *(volatile uint64_t *)(buf + SIZE - 8);
			gpu_finish(gpu, 1);
			while (!vsvm_error_take(&gpu->vm, &error))
				ASSERT_EQ(EACCES, error.error);
			ASSERT_EQ(value, *(volatile uint64_t *)(buf + SIZE - 8));
		}
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
	}
	TH_LOG("%u jobs were denied", denied);
	buf_free(buf, SIZE);
}

static int all_change(struct gpu *gpu, unsigned int i, void *arg)
{
	uint64_t seed = 77 + i;
	char *buf = arg;
	int ret = 0;

	for (unsigned int round = 0; !ret && round < 60; round++) {
		size_t at = rnd(&seed) % SIZE & ~(page_size() - 1);
		unsigned int v = rnd(&seed) % ARRAY_SIZE(some_values);

		ret = vsvm_attr_set_one(&gpu->vm, buf + at, SIZE - at, some_values[v].type,
					some_values[v].value);
		if (!ret && round % 4 == 0) {
			ret = gpu_atomic_add(gpu, buf + at, 0, 1);
			if (ret == -EIO) {
				struct drm_vsvm_error error;

				ret = vsvm_error_take(&gpu->vm, &error);
				if (!ret && error.error != EACCES)
					ret = -error.error;
			}
		}
		if (!ret && round % 16 == 0)
			ret = vsvm_attr_reset(&gpu->vm, buf, SIZE);
	}
	return ret;
}

/* All of them, on the same memory, while it comes and goes. */
GPU_TEST(all_at_once)
{
	char *buf = buf_alloc(SIZE);

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 8);
	for (unsigned int round = 0; round < 3; round++) {
		ASSERT_EQ(0, gpus_parallel(self->g, all_change, buf));
		ASSERT_EQ(0, gpus_validate());
	}
	ASSERT_EQ(-1, buf_check(buf, SIZE, 8, 0));
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, vsvm_attr_reset(&gpu->vm, buf, SIZE));
	}
	for_each_gpu(gpu, self) {
		ASSERT_TRUE(nothing_said(&gpu->vm));
	}
	buf_free(buf, SIZE);
}

TEST_HARNESS_MAIN
