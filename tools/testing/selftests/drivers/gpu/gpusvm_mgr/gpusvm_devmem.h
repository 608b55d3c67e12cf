/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The fixture of the programs about device memory: devices whose VMs migrate,
 * in hives, with little or much memory, for data in huge pages or not. To be
 * included once, by the file that has the tests.
 */
#ifndef _GPUSVM_DEVMEM_H_
#define _GPUSVM_DEVMEM_H_

#include <stdio.h>

#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"

/* The arbiter as it comes. */
#define RESIDENCE_US	10000
#define BOUNCE_MOVES	3
#define BOUNCE_WINDOW_US 100000
#define BOUNCE_PIN_US	200000
#define BOUNCE_COST	256
#define BACKOFF_US	10000

/* As if they were for ever, and off. */
#define LONG_US		100000000

/* What moves take does not count: here they are slow, and it is not known how slow. */
static inline int arbiter_set(uint64_t residence, uint64_t moves, uint64_t window,
			      uint64_t pin)
{
	int ret = arbiter_param("residence_us", residence);

	if (!ret)
		ret = arbiter_param("bounce_moves", moves);
	if (!ret)
		ret = arbiter_param("bounce_window_us", window);
	if (!ret)
		ret = arbiter_param("bounce_pin_us", pin);
	if (!ret)
		ret = arbiter_param("bounce_cost", 0);
	return ret;
}

static inline int arbiter_default(void)
{
	int ret = arbiter_set(RESIDENCE_US, BOUNCE_MOVES, BOUNCE_WINDOW_US, BOUNCE_PIN_US);

	return ret ? ret : arbiter_param("backoff_us", BACKOFF_US);
}

/* Each request is granted. */
static inline int arbiter_off(void)
{
	int ret = arbiter_set(0, 0, 0, 0);

	return ret ? ret : arbiter_param("backoff_us", 0);
}

/* A program with a fixture of its own does without. */
#ifndef GPUSVM_NO_DEVMEM
FIXTURE(devmem)
{
	struct gpus *g;
	struct gpu *gpu;
	size_t page;
	/* A test has huge pages moved in pieces. */
	bool pieces;
};

FIXTURE_VARIANT(devmem)
{
	unsigned int n;
	unsigned int hives;
	unsigned int vram_mib;
	bool thp;
};

/* Each value of one meets each value of each other: pairwise. */
FIXTURE_VARIANT_ADD(devmem, one)
{
	.n = 1, .hives = 1, .vram_mib = 256, .thp = false,
};

FIXTURE_VARIANT_ADD(devmem, one_small_thp)
{
	.n = 1, .hives = 1, .vram_mib = 8, .thp = true,
};

FIXTURE_VARIANT_ADD(devmem, two_thp)
{
	.n = 2, .hives = 1, .vram_mib = 256, .thp = true,
};

FIXTURE_VARIANT_ADD(devmem, two_apart_small)
{
	.n = 2, .hives = 2, .vram_mib = 8, .thp = false,
};

FIXTURE_VARIANT_ADD(devmem, four_small)
{
	.n = 4, .hives = 1, .vram_mib = 8, .thp = false,
};

FIXTURE_VARIANT_ADD(devmem, four_apart_thp)
{
	.n = 4, .hives = 2, .vram_mib = 256, .thp = true,
};

FIXTURE_SETUP(devmem)
{
	int ret;

	self->page = page_size();
	if (variant->thp && !thp_available())
		SKIP(return, "no huge pages");
	ret = topology(variant->n, variant->hives, variant->vram_mib);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	if (ret == -ENOENT)
		SKIP(return, "no debugfs");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, arbiter_default());
	ASSERT_EQ(0, gpus_open(&self->g, variant->n, DRM_VSVM_VM_MIGRATE));
	self->gpu = self->g->gpu;
	/* One that ran into its time limit may have left something. */
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_knob(gpu, "fail_alloc", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_split", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_page", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "window_ms", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_copy", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_map", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "fail_skip", 0));
		ASSERT_EQ(0, gpu_knob(gpu, "copy_mib_per_s", 0));
	}
}

FIXTURE_TEARDOWN(devmem)
{
	if (self->g) {
		for (unsigned int i = 0; i < self->g->n; i++)
			gpu_explain(&self->gpu[i]);
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
	/* A test that changed it may have ended anywhere. */
	if (variant->n)
		EXPECT_EQ(0, arbiter_default());
	if (self->pieces)
		EXPECT_EQ(0, device_param("huge", 1));
}

#define DEVMEM_TEST(name)	TEST_F_TIMEOUT(devmem, name, TEST_LIMIT)
#endif /* GPUSVM_NO_DEVMEM */

/* Memory in huge pages, or in none, as the variant has it. */
static inline char *devmem_buf(size_t size, bool thp)
{
	char *buf = buf_alloc(size);

	if (buf && madvise(buf, size, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)) {
		buf_free(buf, size);
		return NULL;
	}
	return buf;
}

/* A device adds to the whole buffer, which is in its memory when this returns. */
static inline int bring(struct gpu *gpu, char *buf, size_t size, uint64_t add)
{
	uint64_t before = gpu_stat(gpu, migrations);
	int ret;

	/* A page on such a list has one user too many to be moved. */
	lru_drain();
	ret = gpu_add(gpu, buf, size, add);
	if (!ret && gpu_stat(gpu, migrations) == before)
		ret = -ENODATA;
	if (!ret && pages_away(buf, size) != size / page_size())
		ret = -ENOTEMPTY;
	return ret;
}

/* Would the memory of the device hold a huge page, all of that buffer, as one? */
static inline bool huge_moves(const char *buf)
{
	char text[2] = "";
	int fd = open("/sys/module/vsvm/parameters/huge", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, 1) != 1)
		text[0] = 0;
	if (fd >= 0)
		close(fd);
	return text[0] == 'Y' && smaps_kib(buf, "AnonHugePages") == CHUNK / KIB;
}

#endif /* _GPUSVM_DEVMEM_H_ */
