// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Whether the other tests could fail at all: a TLB flush that is suppressed on
 * purpose must give a stale read that the process sees (behind an IOMMU, an access
 * that leads nowhere) and a violation that the device counts. The same steps with
 * the flush must give neither.
 *
 * The old page stays where it is (it is a page of a file), so that what a stale
 * read returns is known and harmless.
 */
#include <stdio.h>

#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"

/* Not gpus: these leave violations behind on purpose, and clear them. */
FIXTURE(flush)
{
	struct gpus *g;
	struct gpu *gpu;
	size_t page;
	int fd;
	char *buf;
};

FIXTURE_VARIANT(flush)
{
	unsigned int n;
	/* Which device keeps its TLB entries. */
	unsigned int victim;
	bool suppress;
};

FIXTURE_VARIANT_ADD(flush, one_kept)
{
	.n = 1,
	.victim = 0,
	.suppress = false,
};

FIXTURE_VARIANT_ADD(flush, one_suppressed)
{
	.n = 1,
	.victim = 0,
	.suppress = true,
};

FIXTURE_VARIANT_ADD(flush, two_suppressed)
{
	.n = 2,
	.victim = 1,
	.suppress = true,
};

FIXTURE_VARIANT_ADD(flush, four_kept)
{
	.n = 4,
	.victim = 2,
	.suppress = false,
};

FIXTURE_VARIANT_ADD(flush, four_suppressed)
{
	.n = 4,
	.victim = 2,
	.suppress = true,
};

FIXTURE_SETUP(flush)
{
	uint64_t knob;
	int ret;

	self->page = page_size();
	ret = gpus_open(&self->g, variant->n, GPUS_FLAGS);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	ASSERT_EQ(0, ret);
	self->gpu = self->g->gpu;
	if (vsvm_debugfs_get(&self->gpu[variant->victim].dev, "suppress_flush", &knob)) {
		gpus_close(self->g);
		SKIP(return, "no debugfs file suppress_flush");
	}
	ASSERT_EQ(0, knob);
	/* Page 0 is the old one, page 1 the new one. */
	self->fd = tmp_file(2 * self->page, 1);
	ASSERT_LE(0, self->fd);
	self->buf = buf_map(self->page, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);
	ASSERT_NE(NULL, self->buf);
}

static uint64_t violations_of(struct gpu *gpu)
{
	uint64_t value = ~0ULL;

	if (vsvm_debugfs_get(&gpu->dev, "violations", &value))
		return ~0ULL;
	return value;
}

FIXTURE_TEARDOWN(flush)
{
	struct gpu *gpu = &self->gpu[variant->victim];

	/* What is still in the TLB must not outlive the test. */
	buf_free(self->buf, self->page);
	EXPECT_EQ(0, vsvm_debugfs_set(&gpu->dev, "suppress_flush", 0));
	EXPECT_EQ(0, vsvm_vm_destroy(&gpu->vm));
	EXPECT_EQ(0, vsvm_debugfs_set(&gpu->dev, "violations", 0));
	EXPECT_EQ(0, violations_of(gpu));
	EXPECT_EQ(0, gpus_close(self->g));
	close(self->fd);
}

/* What it may not use any more, it cannot even translate. */
static bool behind_iommu(const struct gpu *gpu)
{
	return gpu->dev.info.dma == DRM_VSVM_DMA_TRANSLATED ||
	       gpu->dev.info.dma == DRM_VSVM_DMA_LAZY;
}

/* All have page 0 in their TLBs; then page 1 comes to the same address. */
static int exchange(struct _test_data_flush *self, const struct _fixture_variant_flush *variant)
{
	uint64_t value;
	int ret;

	for (unsigned int i = 0; i < self->g->n; i++) {
		ret = gpu_read64(&self->gpu[i], self->buf, &value);
		if (!ret && value != pattern(1, 0))
			ret = -EILSEQ;
		/* Also with write access, so that the entry is good for it. */
		if (!ret)
			ret = gpu_write64(&self->gpu[i], self->buf + 8, 5);
		if (!ret)
			ret = gpu_read64(&self->gpu[i], self->buf + 8, &value);
		if (ret)
			return ret;
	}
	if (variant->suppress) {
		ret = vsvm_debugfs_set(&self->gpu[variant->victim].dev, "suppress_flush", 1);
		if (ret)
			return ret;
	}
	if (mmap(self->buf, self->page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 self->fd, self->page) != self->buf)
		return -errno;
	return 0;
}

TEST_F_TIMEOUT(flush, read, TEST_LIMIT)
{
	const uint64_t old = pattern(1, 0), new = pattern(1, WORDS(self->page));
	struct gpu *victim = &self->gpu[variant->victim];
	uint64_t value, knob;

	ASSERT_EQ(0, violations_of(victim));
	ASSERT_EQ(0, exchange(self, variant));
	/* The CPU sees the new page, whatever the devices do. */
	ASSERT_EQ(new, *(volatile uint64_t *)self->buf);

	if (variant->suppress) {
		uint64_t before = violations_of(victim);
		struct drm_vsvm_error error;

		/* One flush was left out, and the stale read is a fact. */
		ASSERT_EQ(0, vsvm_debugfs_get(&victim->dev, "suppress_flush", &knob));
		ASSERT_EQ(0, knob);
		if (behind_iommu(victim)) {
			/* The address does not lead there any more, which ends the job. */
			ASSERT_EQ(-EIO, gpu_read64(victim, self->buf, &value));
			EXPECT_EQ(0, vsvm_error_take(&victim->vm, &error));
			EXPECT_EQ((uintptr_t)self->buf, error.addr);
			EXPECT_LT(before + 1, violations_of(victim));
		} else {
			ASSERT_EQ(0, gpu_read64(victim, self->buf, &value));
			EXPECT_EQ(old, value);
			EXPECT_LT(before, violations_of(victim));
		}
	} else {
		ASSERT_EQ(0, gpu_read64(victim, self->buf, &value));
		EXPECT_EQ(new, value);
		EXPECT_EQ(0, violations_of(victim));
	}
	/* The others did flush. */
	for (unsigned int i = 0; i < self->g->n; i++) {
		if (i == variant->victim)
			continue;
		ASSERT_EQ(0, gpu_read64(&self->gpu[i], self->buf, &value));
		EXPECT_EQ(new, value);
		EXPECT_EQ(0, violations_of(&self->gpu[i]));
	}
}

/* A stale write would be memory corruption: counted, refused, not done. */
TEST_F_TIMEOUT(flush, write, TEST_LIMIT)
{
	struct gpu *victim = &self->gpu[variant->victim];
	uint64_t *page = malloc(2 * self->page);
	int ret;

	ASSERT_NE(NULL, page);
	ASSERT_EQ(0, exchange(self, variant));
	ret = gpu_write64(victim, self->buf, 99);
	ASSERT_EQ((ssize_t)(2 * self->page), pread(self->fd, page, 2 * self->page, 0));
	/* The old page has what it had. */
	EXPECT_EQ(pattern(1, 0), page[0]);
	if (variant->suppress) {
		struct drm_vsvm_error error;

		EXPECT_EQ(-EIO, ret);
		EXPECT_EQ(0, vsvm_error_take(&victim->vm, &error));
		EXPECT_EQ((uintptr_t)self->buf, error.addr);
		EXPECT_EQ(pattern(1, WORDS(self->page)), page[WORDS(self->page)]);
		EXPECT_LT(0, violations_of(victim));
	} else {
		EXPECT_EQ(0, ret);
		EXPECT_EQ(99, page[WORDS(self->page)]);
		EXPECT_EQ(0, violations_of(victim));
	}
	free(page);
}

/* Nobody need touch it: that the entry lives on is a violation by itself. */
TEST_F_TIMEOUT(flush, entry_alone, TEST_LIMIT)
{
	struct gpu *victim = &self->gpu[variant->victim];

	ASSERT_EQ(0, exchange(self, variant));
	if (variant->suppress) {
		EXPECT_LT(0, violations_of(victim));
	} else {
		EXPECT_EQ(0, violations_of(victim));
	}
}

/*
 * Steps of the library that are left out on purpose: what dirty and multi_gpu
 * check must come out wrong then.
 */
FIXTURE(broken)
{
	struct gpus *g;
	struct gpu *gpu;
	char *buf;
	size_t size;
};

FIXTURE_VARIANT(broken)
{
	bool broken;
};

FIXTURE_VARIANT_ADD(broken, intact)
{
	.broken = false,
};

FIXTURE_VARIANT_ADD(broken, left_out)
{
	.broken = true,
};

FIXTURE_SETUP(broken)
{
	int ret;

	self->size = 64 * KIB;
	if (break_step(BREAK_NOTHING))
		SKIP(return, "no debugfs file broken_steps");
	ret = gpus_open(&self->g, 2, GPUS_FLAGS);
	if (ret == -ENODEV)
		SKIP(return, "fewer than 2 devices");
	ASSERT_EQ(0, ret);
	self->gpu = self->g->gpu;
	self->buf = buf_alloc(self->size);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(broken)
{
	EXPECT_EQ(0, break_step(BREAK_NOTHING));
	buf_free(self->buf, self->size);
	EXPECT_EQ(0, gpus_violations(self->g));
	EXPECT_EQ(0, gpus_close(self->g));
}

/* Nothing is dirtied: reclaim drops what the device wrote (I-9). */
TEST_F_TIMEOUT(broken, dirty_swap, TEST_LIMIT)
{
	size_t pages = self->size / page_size();

	if (!swap_available())
		SKIP(return, "no swap");
	buf_init(self->buf, self->size, 1);
	if (swap_in_clean(self->buf, self->size) != pages)
		SKIP(return, "swap-in leaves no clean pages here");
	if (variant->broken) {
		ASSERT_EQ(0, break_step(BREAK_DIRTY));
	}
	ASSERT_EQ(0, gpu_add(self->gpu, self->buf, self->size, 1));
	ASSERT_EQ(pages, page_out(self->buf, self->size));
	EXPECT_EQ(-1, buf_check(self->buf, self->size, 1, variant->broken ? 0 : 1));
}

TEST_F_TIMEOUT(broken, dirty_madv_free, TEST_LIMIT)
{
	size_t pages = self->size / page_size();

	if (!swap_available())
		SKIP(return, "no swap");
	buf_init(self->buf, self->size, 2);
	/* It passes over pages that are not on a list yet. */
	lru_drain();
	ASSERT_EQ(0, madvise(self->buf, self->size, MADV_FREE));
	lru_drain();
	if (variant->broken) {
		ASSERT_EQ(0, break_step(BREAK_DIRTY));
	}
	ASSERT_EQ(0, gpu_fill(self->gpu, self->buf, self->size, 7));
	/* Redirtied pages stay in memory, since nothing else is known of them. */
	if (variant->broken) {
		ASSERT_EQ(pages, page_out(self->buf, self->size));
	} else
		page_out(self->buf, self->size);
	EXPECT_EQ(-1, buf_check_value(self->buf, self->size, variant->broken ? 0 : 7));
}

/* No snapshot is shared: the second device costs a second walk (I-5). */
TEST_F_TIMEOUT(broken, share, TEST_LIMIT)
{
	uint64_t walks;

	buf_init(self->buf, self->size, 3);
	if (variant->broken) {
		ASSERT_EQ(0, break_step(BREAK_SHARE));
	}
	walks = gpus_sum(self->g, mgr_walks) / 2;
	ASSERT_EQ(0, gpu_read_each(&self->gpu[0], self->buf, self->size, page_size()));
	ASSERT_EQ(0, gpu_read_each(&self->gpu[1], self->buf, self->size, page_size()));
	EXPECT_EQ(walks + (variant->broken ? 2 : 1), gpus_sum(self->g, mgr_walks) / 2);
}

TEST_HARNESS_MAIN
