// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Huge pages that are on a device as such: ranges which are only a part of one, and
 * the way out, page by page.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "gpusvm_devmem.h"

#define SIZE	CHUNK
#define PAGES(self)	(SIZE / (self)->page)

/*
 * Ranges that begin within it: what is said of a page ends them there, and the page
 * stays as it is. Devices then come to pages behind it, and to none of the others.
 */
DEVMEM_TEST(cut_by_attribute)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	const size_t cut = SIZE / 16 + self->page;
	const size_t parts[] = {
		cut + self->page, SIZE / 2 + self->page, SIZE - self->page, SIZE / 4, 0,
	};
	bool huge;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, arbiter_off());
	buf_init(buf, SIZE, 51);
	huge = huge_moves(buf);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 0));
	ASSERT_EQ(0, vsvm_attr_set_one(&self->gpu->vm, buf, SIZE, DRM_VSVM_ATTR_MIGRATION,
				       DRM_VSVM_MIGRATION_SYSTEM));
	ASSERT_EQ(0, vsvm_attr_set_one(&self->gpu->vm, buf + cut, self->page,
				       DRM_VSVM_ATTR_MIGRATION, DRM_VSVM_MIGRATION_NEVER));
	/* Those that cannot reach it have it brought back, and read it there. */
	for_each_gpu(gpu, self)
		for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++)
			ASSERT_EQ(0, gpu_add(gpu, buf + parts[i], self->page, 1));
	if (huge && variant->hives == 1) {
		EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
	}
	for (size_t i = 0; i < SIZE / sizeof(uint64_t); i++) {
		const size_t at = i * sizeof(uint64_t) / self->page * self->page;
		uint64_t expect = pattern(51, i);

		for (unsigned int part = 0; part < ARRAY_SIZE(parts); part++)
			expect += parts[part] == at ? variant->n : 0;
		ASSERT_EQ(expect, ((volatile uint64_t *)buf)[i])
			TH_LOG("page %zu of %zu", at / self->page, PAGES(self));
	}
	ASSERT_EQ(0, gpus_validate());
	buf_free(buf, SIZE);
}

/*
 * VMs without the manager, too: one that has a small range at its beginning, from when
 * there was no more, makes its next ones behind that, of which no one begins where the
 * huge page does.
 */
DEVMEM_TEST(cut_by_small_range)
{
	const uint32_t flags[] = { DRM_VSVM_VM_UPSTREAM, DRM_VSVM_VM_TWO_PASS };
	const size_t small = 16 * self->page, part = SIZE / 2;

	if (!managed() || !variant->thp)
		SKIP(return, "about huge pages, and VMs beside those of the manager");
	ASSERT_EQ(0, arbiter_off());
	for (unsigned int i = 0; i < ARRAY_SIZE(flags); i++) {
		char *buf = devmem_buf(SIZE, true);
		struct gpus *other;
		uint64_t value;
		bool huge;

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, gpus_open(&other, 1, flags[i]));
		ASSERT_EQ(0, munmap(buf + small, SIZE - small));
		buf_init(buf, small, 55);
		ASSERT_EQ(0, gpu_read64(other->gpu, buf, &value));
		ASSERT_EQ(pattern(55, 0), value);
		ASSERT_EQ(buf + small, mmap(buf + small, SIZE - small, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_HUGEPAGE));
		buf_init(buf, SIZE, 55);
		(void)madvise(buf, SIZE, MADV_COLLAPSE);
		huge = huge_moves(buf);
		ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_read64(other->gpu, buf + part, &value));
		EXPECT_EQ(pattern(55, part / sizeof(value)) + 1, value);
		EXPECT_EQ(huge ? 0 : PAGES(self), pages_away(buf, SIZE));
		/* Where they are single pages they are there still. */
		ASSERT_EQ(huge ? 0 : -ENODATA, bring(self->gpu, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_add(other->gpu, buf + part, small, (uint64_t)-1));
		EXPECT_EQ(pattern(55, part / sizeof(value)) + 1,
			  *(volatile uint64_t *)(buf + part));
		ASSERT_EQ(0, gpu_add(other->gpu, buf + part, small, 1));
		EXPECT_EQ(-1, buf_check(buf, SIZE, 55, 2));
		ASSERT_EQ(0, gpus_close(other));
		buf_free(buf, SIZE);
	}
}

/* Single pages will do, and somebody just looks at a huge one the first time. */
DEVMEM_TEST(evicted)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t out, splits;
	bool huge;

	ASSERT_NE(NULL, buf);
	for (unsigned int round = 0; round < 2; round++) {
		buf_init(buf, SIZE, 35);
		huge = huge_moves(buf);
		/* The second time in pieces, of which none is huge to begin with. */
		if (huge && round) {
			self->pieces = true;
			ASSERT_EQ(0, device_param("huge", 0));
		}
		out = gpu_stat(self->gpu, copy_bytes_out);
		splits = gpu_stat(self->gpu, vram_splits);
		ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
		ASSERT_EQ(0, gpu_knob(self->gpu, "fail_split", 1));
		ASSERT_EQ(0, gpu_knob(self->gpu, "evict", 1));
		ASSERT_EQ(0, gpu_knob(self->gpu, "fail_split", 0));
		EXPECT_EQ(0, pages_away(buf, SIZE));
		EXPECT_EQ(out + SIZE, gpu_stat(self->gpu, copy_bytes_out));
		EXPECT_EQ(splits + (huge && !round), gpu_stat(self->gpu, vram_splits));
		EXPECT_EQ(0, gpu_stat(self->gpu, vram_used));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 35, 1));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
	}
	ASSERT_EQ(0, gpus_validate());
	buf_free(buf, SIZE);
}

#define FAIL_ALLOC	"/sys/kernel/debug/fail_page_alloc/"

/* From here on the kernel finds no huge page for this task, or it does again. */
static int fragment(bool on)
{
	int ret = write_text("/proc/self/make-it-fail", on ? "1" : "0");

	if (ret == -ENOENT)
		return ret;
	if (!ret)
		ret = write_text(FAIL_ALLOC "probability", on ? "100" : "0");
	if (ret || !on)
		return ret;
	/* Of all sorts of huge pages, for this task only, and in silence. */
	ret = write_text(FAIL_ALLOC "times", "-1");
	if (!ret)
		ret = write_text(FAIL_ALLOC "min-order", "9");
	if (!ret)
		ret = write_text(FAIL_ALLOC "ignore-gfp-highmem", "N");
	if (!ret)
		ret = write_text(FAIL_ALLOC "ignore-gfp-wait", "N");
	if (!ret)
		ret = write_text(FAIL_ALLOC "task-filter", "Y");
	if (!ret)
		ret = write_text(FAIL_ALLOC "verbose", "0");
	return ret;
}

/* The real thing: eviction, and a fault of the CPU, in fragmented memory. */
DEVMEM_TEST(fragmented)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t out, splits;
	bool huge;
	int ret;

	ASSERT_NE(NULL, buf);
	for (unsigned int round = 0; round < 2; round++) {
		buf_init(buf, SIZE, 43);
		huge = huge_moves(buf);
		ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
		/* khugepaged is not to make a huge page of what will come back. */
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_NOHUGEPAGE));
		out = gpu_stat(self->gpu, copy_bytes_out);
		splits = gpu_stat(self->gpu, vram_splits);
		ret = fragment(true);
		if (ret == -ENOENT)
			SKIP(return, "no fault injection");
		ASSERT_EQ(0, ret);
		if (round) {
			EXPECT_EQ(pattern(43, 0) + 1, *(volatile uint64_t *)buf);
		} else {
			EXPECT_EQ(0, gpu_knob(self->gpu, "evict", 1));
		}
		ASSERT_EQ(0, fragment(false));
		EXPECT_EQ(0, pages_away(buf, SIZE));
		EXPECT_EQ(0, smaps_kib(buf, "AnonHugePages"));
		EXPECT_EQ(out + SIZE, gpu_stat(self->gpu, copy_bytes_out));
		EXPECT_EQ(splits + huge, gpu_stat(self->gpu, vram_splits));
		ASSERT_EQ(-1, buf_check(buf, SIZE, 43, 1));
		ASSERT_EQ(0, madvise(buf, SIZE, MADV_DONTNEED));
		if (variant->thp) {
			ASSERT_EQ(0, madvise(buf, SIZE, MADV_HUGEPAGE));
		}
	}
	buf_free(buf, SIZE);
}

/* There are no pages at all: the data stays. There are fewer: it comes little by little. */
DEVMEM_TEST(evict_without_pages)
{
	char *buf = devmem_buf(SIZE, variant->thp);
	uint64_t out;

	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 36);
	ASSERT_EQ(0, bring(self->gpu, buf, SIZE, 1));
	out = gpu_stat(self->gpu, copy_bytes_out);
	ASSERT_EQ(0, gpu_knob(self->gpu, "fail_page", 100000));
	ASSERT_EQ(0, gpu_knob(self->gpu, "evict", 1));
	EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
	EXPECT_EQ(out, gpu_stat(self->gpu, copy_bytes_out));
	ASSERT_EQ(0, gpus_validate());

	ASSERT_EQ(0, gpu_knob(self->gpu, "fail_page", 100));
	ASSERT_EQ(0, gpu_knob(self->gpu, "evict", 1));
	EXPECT_EQ(0, pages_away(buf, SIZE));
	EXPECT_EQ(out + SIZE, gpu_stat(self->gpu, copy_bytes_out));
	EXPECT_EQ(-1, buf_check(buf, SIZE, 36, 1));
	buf_free(buf, SIZE);
}

/* The device is pulled out at such a time: all of its data comes back all the same. */
DEVMEM_TEST(unplug_without_pages)
{
	const unsigned int last = variant->n - 1;
	char *buf = devmem_buf(2 * SIZE, variant->thp);

	ASSERT_NE(NULL, buf);
	buf_init(buf, 2 * SIZE, 37);
	for (size_t at = 0; at < 2 * SIZE; at += SIZE)
		ASSERT_EQ(0, bring(&self->gpu[last], buf + at, SIZE, 1));
	ASSERT_EQ(2 * SIZE, gpu_stat(&self->gpu[last], vram_used));
	ASSERT_EQ(0, gpu_knob(&self->gpu[last], "fail_split", 3));
	ASSERT_EQ(0, gpu_knob(&self->gpu[last], "fail_page", 700));
	ASSERT_EQ(0, gpus_close(self->g));
	self->g = NULL;
	ASSERT_EQ(2 * PAGES(self), pages_away(buf, 2 * SIZE));
	ASSERT_EQ(0, vsvm_unplug(last));
	EXPECT_EQ(0, pages_away(buf, 2 * SIZE));
	EXPECT_EQ(-1, buf_check(buf, 2 * SIZE, 37, 1));
	ASSERT_EQ(0, vsvm_plug(last));
	buf_free(buf, 2 * SIZE);
}

/* Who has a buffer leave the memory of a device, and how. */
enum way { BY_EVICTION, BY_THE_CPU, TO_ANOTHER };

struct mover {
	enum way way;
	struct gpu *from;
	struct gpu *to;
	char *buf;
	int ret;
	atomic_bool done;
};

static void *mover_thread(void *arg)
{
	struct mover *m = arg;
	uint64_t value;

	if (m->way == BY_EVICTION)
		m->ret = gpu_knob(m->from, "evict", 1);
	else if (m->way == BY_THE_CPU)
		value = *(volatile uint64_t *)m->buf;
	else
		m->ret = gpu_read64(m->to, m->buf, &value);
	atomic_store(&m->done, true);
	return NULL;
}

/* Has a page that was on a device been unmapped, for now? */
static bool on_the_way(const char *page, uint64_t there)
{
	const uint64_t entry = pagemap_entry(page);

	return (entry & PAGEMAP_SWAPPED) && !(entry & PAGEMAP_PRESENT) &&
		PAGEMAP_SWAP_TYPE(entry) != PAGEMAP_SWAP_TYPE(there);
}

/*
 * The process gives memory back whose data is on its way out of a device just then.
 * The kernel has a migration entry for it, and 7.3 takes one for a huge page of a
 * device for that page itself: nothing may be moved as one.
 */
DEVMEM_TEST(given_back_on_the_way)
{
	const unsigned int last = variant->n - 1;

	ASSERT_EQ(0, arbiter_off());
	for (enum way way = BY_EVICTION; way <= (last ? TO_ANOTHER : BY_THE_CPU); way++) {
		unsigned int caught = 0;

		for (unsigned int turn = 0; turn < 10 && caught < 2; turn++) {
			struct mover m = {
				.way = way, .from = self->gpu, .to = &self->gpu[last],
				.buf = devmem_buf(SIZE, variant->thp),
			};
			uint64_t there, splits;
			pthread_t thread;
			bool huge, away;

			ASSERT_NE(NULL, m.buf);
			buf_init(m.buf, SIZE, 61);
			huge = huge_moves(m.buf);
			ASSERT_EQ(0, bring(m.from, m.buf, SIZE, 1));
			there = pagemap_entry(m.buf);
			splits = gpu_stat(m.from, vram_splits);
			for_each_gpu(gpu, self)
				ASSERT_EQ(0, gpu_knob(gpu, "copy_mib_per_s", 8));
			ASSERT_EQ(0, pthread_create(&thread, NULL, mover_thread, &m));
			do {
				usleep(500);
				away = on_the_way(m.buf, there);
				/* That it is split looks the same, while it lasts. */
				for (unsigned int i = 0; away && i < 60; i++) {
					if (gpu_stat(m.from, vram_splits) >= splits + huge)
						break;
					usleep(500);
				}
				away = away && on_the_way(m.buf, there);
			} while (!away && !atomic_load(&m.done));
			caught += away;
			ASSERT_EQ(0, madvise(m.buf, SIZE, MADV_DONTNEED));
			ASSERT_EQ(0, pthread_join(thread, NULL));
			EXPECT_EQ(0, m.ret);
			for_each_gpu(gpu, self)
				ASSERT_EQ(0, gpu_knob(gpu, "copy_mib_per_s", 0));
			/* It may have been touched since, and be on a device as such. */
			EXPECT_EQ(-1, buf_check_value(m.buf, SIZE, 0));
			buf_free(m.buf, SIZE);
			ASSERT_EQ(0, gpus_validate());
		}
		EXPECT_EQ(2, caught);
	}
	/* It is freed by a worker. */
	for_each_gpu(gpu, self) {
		for (unsigned int i = 0; i < 1000 && gpu_stat(gpu, vram_used); i++)
			usleep(10000);
		EXPECT_EQ(0, gpu_stat(gpu, vram_used));
	}
}

TEST_HARNESS_MAIN
