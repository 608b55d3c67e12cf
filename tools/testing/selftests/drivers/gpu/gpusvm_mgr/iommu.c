// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * DMA, as a device that is not a model does it: the engine of QEMU's edu function
 * goes through the IOMMU, and what it reaches is what a device reaches. Each device
 * has a domain of its own; what that maps is read from its tables.
 *
 * That something is out of reach is seen by data that does not arrive, not by what
 * the IOMMU says: it merges its reports, and the kernel drops some of them.
 */
#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"
#include "gpusvm_dma.h"

#define GPUS		4
#define PAGES		16
#define SIZE		(PAGES * 4 * KIB)
/* Transfers of each device that whole pages are copied with, at least. */
#define TRANSFERS	64
/* Attempts at what another task can spoil by coming in between. */
#define TRIES		8

FIXTURE(dma)
{
	struct gpus *g;
	struct gpu *gpu;
	struct gpu *last;
	size_t page;
	struct domain *before;
	struct domain *after;
};

FIXTURE_SETUP(dma)
{
	int ret;

	self->page = page_size();
	self->before = calloc(2, sizeof(*self->before));
	ASSERT_NE(NULL, self->before);
	self->after = self->before + 1;
	ret = gpus_open(&self->g, GPUS, 0);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", GPUS);
	ASSERT_EQ(0, ret);
	self->gpu = self->g->gpu;
	self->last = &self->gpu[GPUS - 1];
}

FIXTURE_TEARDOWN(dma)
{
	if (self->g) {
		for_each_gpu(gpu, self) {
			gpu_explain(gpu);
			gpu_knob(gpu, "check_every", 0);
		}
		EXPECT_EQ(0, gpus_violations(self->g));
	}
	EXPECT_EQ(0, gpus_close(self->g));
	free(self->before);
}

#define DMA_TEST(name)	TEST_F_TIMEOUT(dma, name, TEST_LIMIT)

/* What a test cannot do without; each says why it is not run. */
#define NEEDS_ENGINE(self)							\
	do {									\
		if (!has_engine((self)->gpu))					\
			SKIP(return, "no real engine: the devices are not on PCI"); \
	} while (0)

#define NEEDS_TRANSLATION(self)							\
	do {									\
		if (!dma_translates((self)->gpu))				\
			SKIP(return, "no IOMMU translates: a DMA address is that of the memory"); \
	} while (0)

#define NEEDS_STRICT(self)							\
	do {									\
		NEEDS_TRANSLATION(self);					\
		if ((self)->gpu->dev.info.dma == DRM_VSVM_DMA_LAZY)		\
			SKIP(return, "lazy: an address may be honoured after it was unmapped"); \
	} while (0)

#define NEEDS_LOOK(self)							\
	do {									\
		NEEDS_TRANSLATION(self);					\
		if (!domain_visible((self)->gpu))				\
			SKIP(return, "this IOMMU's driver does not show what a domain maps"); \
	} while (0)

/* ------------------------------------------------------------------ what is said */

static const struct {
	const char *word, *type;
} kinds[] = {
	[DRM_VSVM_DMA_DIRECT] = { "none", "none" },
	[DRM_VSVM_DMA_IDENTITY] = { "identity", "identity" },
	[DRM_VSVM_DMA_TRANSLATED] = { "strict", "DMA" },
	[DRM_VSVM_DMA_LAZY] = { "lazy", "DMA-FQ" },
};

/* The query, debugfs and the IOMMU's own core agree about each device. */
DMA_TEST(domain_is_reported)
{
	for_each_gpu(gpu, self) {
		char word[32], type[32];

		ASSERT_LE(gpu->dev.info.dma, DRM_VSVM_DMA_LAZY);
		ASSERT_EQ(0, gpu_word(gpu, "dma", "iommu", word));
		ASSERT_EQ(0, gpu_group_type(gpu, type));
		EXPECT_STREQ(kinds[gpu->dev.info.dma].word, word);
		EXPECT_STREQ(kinds[gpu->dev.info.dma].type, type);
		EXPECT_EQ(self->gpu->dev.info.dma, gpu->dev.info.dma);
		EXPECT_EQ(UINT64_MAX, gpu_count(gpu, "dma", "mask"));
		if (gpu == self->gpu)
			TH_LOG("IOMMU: %s", word);
	}
}

/* So do they about what is mapped. */
DMA_TEST(mappings_are_counted)
{
	char *buf[3];

	for (unsigned int i = 0; i < 3; i++) {
		buf[i] = buf_alloc(SIZE);
		ASSERT_NE(NULL, buf[i]);
		ASSERT_EQ(0, madvise(buf[i], SIZE, MADV_NOHUGEPAGE));
		buf_init(buf[i], SIZE, i);
	}
	for_each_gpu(gpu, self) {
		uint64_t maps = gpu_stat(gpu, dma_maps), bytes = gpu_stat(gpu, dma_mapped);
		uint64_t mappings = gpu_count(gpu, "dma", "mappings");
		bool look = domain_visible(gpu);

		if (look)
			ASSERT_EQ(0, domain_read(gpu, self->before));
		for (unsigned int i = 0; i < 3; i++)
			ASSERT_EQ(0, gpu_read_each(gpu, buf[i], SIZE, self->page));
		EXPECT_EQ(maps + 3, gpu_stat(gpu, dma_maps));
		EXPECT_EQ(bytes + 3 * SIZE, gpu_stat(gpu, dma_mapped));
		EXPECT_EQ(mappings + 3, gpu_count(gpu, "dma", "mappings"));
		if (!look)
			continue;
		ASSERT_EQ(0, domain_read(gpu, self->after));
		EXPECT_EQ(self->before->pages + 3 * SIZE / self->page, self->after->pages);
	}
	for (unsigned int i = 0; i < 3; i++)
		buf_free(buf[i], SIZE);
	for_each_gpu(gpu, self) {
		EXPECT_EQ(gpu_stat(gpu, dma_maps), gpu_stat(gpu, dma_unmaps) +
			  gpu_count(gpu, "dma", "mappings"));
	}
}

/* --------------------------------------------------------- what the engine reaches */

/* Copies through the engine alone: what arrives has gone by way of two DMA addresses. */
static int copy_pages(struct gpu *gpu, unsigned int i, void *arg)
{
	uint64_t from = gpu_count(gpu, "stats", "engine_transfers"), transfers = 0;
	size_t page = page_size(), n = 0;
	char *buf = arg;
	int ret = gpu_knob(gpu, "check_every", 1);

	while (!ret && n < PAGES && transfers < TRANSFERS) {
		char *src = buf + 2 * (i * PAGES + n++) * page;

		ret = gpu_copy(gpu, src + page, src, page);
		transfers = gpu_count(gpu, "stats", "engine_transfers") - from;
	}
	if (!ret)
		ret = gpu_knob(gpu, "check_every", 0);
	gpu->result[256] = n;
	gpu->result[257] = transfers;
	return ret;
}

DMA_TEST(whole_pages)
{
	const size_t size = 2 * GPUS * PAGES * self->page;
	uint64_t checks[GPUS], wrong[GPUS];
	char *buf = buf_alloc(size);

	NEEDS_ENGINE(self);
	ASSERT_NE(NULL, buf);
	for (unsigned int i = 0; i < GPUS * PAGES; i++)
		buf_init(buf + 2 * i * self->page, self->page, i);
	for (unsigned int i = 0; i < GPUS; i++) {
		checks[i] = gpu_count(&self->gpu[i], "stats", "checks");
		wrong[i] = gpu_count(&self->gpu[i], "stats", "check_mismatches");
	}
	ASSERT_EQ(0, gpus_parallel(self->g, copy_pages, buf));

	for (unsigned int i = 0; i < GPUS; i++) {
		struct gpu *gpu = &self->gpu[i];

		TH_LOG("device %u: %u pages, %u transfers", i, (unsigned int)gpu->result[256],
		       (unsigned int)gpu->result[257]);
		EXPECT_LE(TRANSFERS, gpu->result[257]);
		/* To read it, and to write it; what faults to be written is read again. */
		EXPECT_LE(checks[i] + 2 * gpu->result[256], gpu_count(gpu, "stats", "checks"));
		EXPECT_EQ(wrong[i], gpu_count(gpu, "stats", "check_mismatches"));
		EXPECT_EQ(0, gpu_count(gpu, "stats", "engine_timeouts"));
		for (unsigned int n = 0; n < gpu->result[256]; n++)
			ASSERT_EQ(-1, buf_check(buf + (2 * (i * PAGES + n) + 1) * self->page,
						self->page, i * PAGES + n, 0));
	}
	buf_free(buf, size);
}

#define EVERY	16

static int sample(struct gpu *gpu, unsigned int i, void *arg)
{
	char *buf = (char *)arg + i * 2 * EVERY * page_size();
	uint64_t sum;
	int ret = gpu_knob(gpu, "check_every", EVERY);

	if (!ret)
		ret = gpu_fill(gpu, buf, 2 * EVERY * page_size(), 0x1111 * (i + 1));
	if (!ret)
		ret = gpu_checksum(gpu, buf, 2 * EVERY * page_size(), &sum);
	if (!ret)
		ret = gpu_knob(gpu, "check_every", 0);
	if (!ret && sum != vsvm_checksum(buf, 2 * EVERY * page_size()))
		ret = -EILSEQ;
	return ret;
}

/* Every so many accesses of the model, one is the engine's, with the same result. */
DMA_TEST(samples)
{
	const size_t size = GPUS * 2 * EVERY * self->page;
	uint64_t checks[GPUS], transfers[GPUS], wrong[GPUS], races[GPUS];
	char *buf = buf_alloc(size);

	NEEDS_ENGINE(self);
	ASSERT_NE(NULL, buf);
	for (unsigned int i = 0; i < GPUS; i++) {
		checks[i] = gpu_count(&self->gpu[i], "stats", "checks");
		transfers[i] = gpu_count(&self->gpu[i], "stats", "engine_transfers");
		wrong[i] = gpu_count(&self->gpu[i], "stats", "check_mismatches");
		races[i] = gpu_count(&self->gpu[i], "stats", "check_races");
	}
	ASSERT_EQ(0, gpus_parallel(self->g, sample, buf));
	for (unsigned int i = 0; i < GPUS; i++) {
		struct gpu *gpu = &self->gpu[i];

		/* A page is an access, and the sum another one: 4 * EVERY + 1. */
		EXPECT_LE(checks[i] + 4, gpu_count(gpu, "stats", "checks"));
		EXPECT_GE(checks[i] + 5, gpu_count(gpu, "stats", "checks"));
		EXPECT_LE(transfers[i] + 16, gpu_count(gpu, "stats", "engine_transfers"));
		EXPECT_EQ(wrong[i], gpu_count(gpu, "stats", "check_mismatches"));
		/* Nobody else is at it, so each write arrived. */
		EXPECT_EQ(races[i], gpu_count(gpu, "stats", "check_races"));
		EXPECT_EQ(1, gpu_count(gpu, "stats", "engine_msi"));
	}
	for (unsigned int i = 0; i < GPUS; i++)
		ASSERT_EQ(-1, buf_check_value(buf + i * 2 * EVERY * self->page,
					      2 * EVERY * self->page, 0x1111 * (i + 1)));
	buf_free(buf, size);
}

struct taker {
	uint64_t *word;
	uint64_t taken;
	bool stop;
};

/* Waits for a word, and takes it away. */
static void *take(void *arg)
{
	struct taker *taker = arg;

	while (!__atomic_load_n(&taker->stop, __ATOMIC_ACQUIRE)) {
		if (!__atomic_load_n(taker->word, __ATOMIC_ACQUIRE))
			continue;
		__atomic_store_n(taker->word, 0, __ATOMIC_RELEASE);
		taker->taken++;
	}
	return NULL;
}

/* A store that the engine does in the model's place happens once, also where it is undone. */
DMA_TEST(stores_happen_once)
{
	struct taker taker = {};
	pthread_t thread;

	NEEDS_ENGINE(self);
	taker.word = buf_alloc(self->page);
	ASSERT_NE(NULL, taker.word);
	for_each_gpu(gpu, self) {
		uint64_t wrong = gpu_count(gpu, "stats", "check_mismatches");
		uint64_t checks = gpu_count(gpu, "stats", "checks");

		taker.taken = 0;
		taker.stop = false;
		ASSERT_EQ(0, gpu_knob(gpu, "check_every", 1));
		ASSERT_EQ(0, pthread_create(&thread, NULL, take, &taker));
		EXPECT_EQ(0, gpu_write64(gpu, taker.word, 1));
		/* Not before it has had the chance to take it. */
		while (__atomic_load_n(taker.word, __ATOMIC_ACQUIRE))
			sched_yield();
		__atomic_store_n(&taker.stop, true, __ATOMIC_RELEASE);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		ASSERT_EQ(0, gpu_knob(gpu, "check_every", 0));
		EXPECT_LT(checks, gpu_count(gpu, "stats", "checks"));
		EXPECT_EQ(1, taker.taken);
		EXPECT_EQ(wrong, gpu_count(gpu, "stats", "check_mismatches"));
	}
	EXPECT_EQ(0, gpus_violations(self->g));
	buf_free((char *)taker.word, self->page);
}

/* Where the engine goes astray, the model notices. */
DMA_TEST(samples_can_fail)
{
	struct gpu *gpu = self->gpu;
	char *buf = buf_alloc(SIZE);
	uint64_t value, wrong;

	NEEDS_ENGINE(self);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_NOHUGEPAGE));
	buf_init(buf, SIZE, 1);
	wrong = gpu_count(gpu, "stats", "check_mismatches");
	/* The pages are in one mapping, so that it finds another one. */
	ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
	if (dma_translates(gpu)) {
		uint64_t one, two;

		ASSERT_EQ(0, gpu_dma_address(gpu, buf, &one));
		ASSERT_EQ(0, gpu_dma_address(gpu, buf + self->page, &two));
		ASSERT_EQ(one ^ self->page, two);
	}
	ASSERT_EQ(0, gpu_knob(gpu, "check_every", 1));
	ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
	ASSERT_EQ(pattern(1, 0), value);
	ASSERT_EQ(wrong, gpu_count(gpu, "stats", "check_mismatches"));
	ASSERT_EQ(0, gpus_violations(self->g));

	/* The job gets what the model has seen. */
	ASSERT_EQ(0, gpu_knob(gpu, "check_wrong", 1));
	ASSERT_EQ(0, gpu_read64(gpu, buf, &value));
	EXPECT_EQ(pattern(1, 0), value);
	EXPECT_EQ(wrong + 1, gpu_count(gpu, "stats", "check_mismatches"));
	EXPECT_EQ(1, gpus_violations(self->g));
	ASSERT_EQ(0, gpu_knob(gpu, "check_every", 0));
	ASSERT_EQ(0, gpu_knob(gpu, "violations", 0));
	buf_free(buf, SIZE);
}

/* ------------------------------------------------------------------- whose address */

/* Memory of a file, which stays when a mapping of it goes: two views of one page. */
struct view {
	int fd;
	char *buf;
	char *other;
};

static int view_make(struct view *view, uint64_t seed)
{
	size_t page = page_size();

	view->fd = tmp_file(page, seed);
	if (view->fd < 0)
		return view->fd;
	view->buf = buf_map(page, PROT_READ | PROT_WRITE, MAP_SHARED, view->fd);
	view->other = buf_map(page, PROT_READ | PROT_WRITE, MAP_SHARED, view->fd);
	return view->buf && view->other ? 0 : -ENOMEM;
}

static void view_drop(struct view *view)
{
	buf_free(view->buf, page_size());
	buf_free(view->other, page_size());
	close(view->fd);
}

/* A device that can read and write the page, and where that is for it. */
static int view_use(const struct view *view, struct gpu *gpu, uint64_t *addr)
{
	/* Neither write changes what is there. */
	int ret = gpu_write64(gpu, view->buf, *(volatile uint64_t *)view->other);

	return ret ? ret : gpu_dma_address(gpu, view->buf, addr);
}

struct borders {
	struct gpus *g;
	uint64_t addr[GPUS];
	/* What a device may try to write, and does not hit other memory with. */
	bool free[GPUS][GPUS];
	uint64_t seed;
};

static int cross_border(struct gpu *gpu, unsigned int i, void *arg)
{
	uint64_t mine[512], words[512];
	struct borders *b = arg;
	int ret;

	/* The way of each is good, for a whole page: else the rest proves nothing. */
	ret = engine_read(gpu, b->addr[i], mine, sizeof(mine));
	if (ret)
		return ret;
	if (buf_check(mine, sizeof(mine), b->seed, 0) != -1)
		return -EILSEQ;

	for (unsigned int j = 0; j < GPUS && !ret; j++) {
		uint64_t bad[8];

		if (j == i)
			continue;
		ret = engine_read(gpu, b->addr[j], words, 64);
		for (unsigned int w = 0; w < 8; w++) {
			if (!ret && words[w] == mine[w]) {
				fprintf(stderr, "# device %u reads by the address of %u\n", i, j);
				ret = -EPERM;
			}
			bad[w] = 0xbad0000 + 16 * i + j;
		}
		if (!ret && b->free[i][j])
			ret = engine_write(gpu, b->addr[j], bad, sizeof(bad));
	}
	return ret;
}

/* One page, four addresses, and each is good for one device only. */
DMA_TEST(addresses_are_private)
{
	struct borders b = { .g = self->g, .seed = 7 };
	unsigned int writes = 0;
	struct view view;

	NEEDS_TRANSLATION(self);
	ASSERT_EQ(0, view_make(&view, b.seed));
	/* A round that changes nothing, as a first write may take it from the others. */
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_write64(gpu, view.buf, pattern(b.seed, 0)));
	}
	for (unsigned int i = 0; i < GPUS; i++)
		ASSERT_EQ(0, view_use(&view, &self->gpu[i], &b.addr[i]));
	for (unsigned int i = 0; i < GPUS; i++) {
		TH_LOG("device %u: 0x%llx", i, (unsigned long long)b.addr[i]);
		EXPECT_NE(PAGEMAP_PFN(pagemap_entry(view.buf)), b.addr[i] / self->page);
		for (unsigned int j = 0; j < i; j++)
			EXPECT_NE(b.addr[i] / self->page, b.addr[j] / self->page);
	}
	for (unsigned int i = 0; i < GPUS; i++) {
		if (!domain_visible(&self->gpu[i]))
			continue;
		ASSERT_EQ(0, domain_read(&self->gpu[i], self->after));
		EXPECT_TRUE(domain_maps(self->after, b.addr[i]));
		for (unsigned int j = 0; j < GPUS; j++) {
			b.free[i][j] = !domain_maps(self->after, b.addr[j]);
			writes += b.free[i][j];
		}
	}
	if (has_engine(self->gpu)) {
		ASSERT_EQ(0, gpus_parallel(self->g, cross_border, &b));
		/* The skew sees to it that an address of one is a hole of another. */
		if (domain_visible(self->gpu))
			EXPECT_LT(0, writes);
	}
	ASSERT_EQ(-1, buf_check(view.other, self->page, b.seed, 0));
	view_drop(&view);
}

/* ------------------------------------------------------------ after the last moment */

#define SHOT_WORDS	8

/* A write by the engine, in a thread, as it takes its time. */
struct shot {
	pthread_t thread;
	struct gpu *gpu;
	uint64_t addr;
	uint64_t words[SHOT_WORDS];
	int ret;
};

static void *shot_thread(void *arg)
{
	struct shot *shot = arg;

	shot->ret = engine_write(shot->gpu, shot->addr, shot->words, sizeof(shot->words));
	return NULL;
}

/*
 * Starts a write, and returns when the engine is about to do it: it has fetched the
 * data, which is its first transfer, and works on the second one. That takes effect
 * ENGINE_NS after it was begun, which was not before *@begun.
 */
static int shot_start(struct shot *shot, int64_t *begun)
{
	uint64_t before = gpu_count(shot->gpu, "stats", "engine_transfers");
	int64_t now = now_ns(), limit = now + 30 * 1000000000LL;

	if (pthread_create(&shot->thread, NULL, shot_thread, shot))
		return -EAGAIN;
	do {
		/* The last time at which the first one was not seen to have ended. */
		*begun = now;
		now = now_ns();
		if (gpu_count(shot->gpu, "stats", "engine_transfers") != before)
			return 0;
	} while (now < limit);
	pthread_join(shot->thread, NULL);
	return -ETIMEDOUT;
}

static bool holds(const struct view *view, size_t word, uint64_t value)
{
	uint64_t words[SHOT_WORDS];

	if (pread(view->fd, words, sizeof(words), word * sizeof(*words)) != sizeof(words))
		return false;
	for (unsigned int i = 0; i < SHOT_WORDS; i++)
		if (words[i] != value)
			return false;
	return true;
}

static void aim(struct shot *shot, uint64_t page, size_t word, uint64_t value)
{
	shot->addr = page + word * sizeof(uint64_t);
	for (unsigned int i = 0; i < SHOT_WORDS; i++)
		shot->words[i] = value;
}

/*
 * A device has a page of a file. While its engine is at a write, the page is
 * unmapped, and munmap() returns before the write takes effect, by the clock; where
 * it does not, because other tasks had the CPU, it is done once more.
 *
 * @reach says what is right: with all steps in place, neither that write nor any
 * later access finds the page any more.
 */
static int after_munmap(struct gpu *gpu, bool reach, unsigned int percent, bool *conclusive)
{
	const size_t page = page_size();
	struct shot shot = { .gpu = gpu };
	uint64_t addr, words[SHOT_WORDS];
	int64_t begun, returned;
	struct view view;
	int ret;

	ret = view_make(&view, 3);
	if (!ret)
		ret = view_use(&view, gpu, &addr);
	if (ret)
		return ret;

	/* So far it can. */
	aim(&shot, addr, 64, 0x900d);
	ret = engine_write(gpu, shot.addr, shot.words, sizeof(shot.words));
	if (!ret)
		ret = engine_read(gpu, addr + page / 2, words, sizeof(words));
	if (ret)
		return ret;
	if (!holds(&view, 64, 0x900d) ||
	    memcmp(words, view.other + page / 2, sizeof(words))) {
		fprintf(stderr, "# what is mapped cannot be reached\n");
		return -EILSEQ;
	}

	aim(&shot, addr, 128, 0xbad);
	ret = shot_start(&shot, &begun);
	if (ret)
		return ret;
	/* Late, but not too late: the less time is left, the less can be missed. */
	while (now_ns() < begun + ENGINE_NS * percent / 100)
		;
	if (munmap(view.buf, page))
		return -errno;
	returned = now_ns();
	if (pthread_join(shot.thread, NULL) || shot.ret)
		return shot.ret ? shot.ret : -EINVAL;
	*conclusive = returned < begun + ENGINE_NS * 95 / 100;
	if (*conclusive && holds(&view, 128, 0xbad) != reach) {
		fprintf(stderr, "# a write %s, %" PRId64 " us after munmap()\n",
			reach ? "did not arrive" : "arrived",
			(int64_t)(begun + ENGINE_NS - returned) / 1000);
		ret = -EPERM;
	}

	/* One that begins now, whatever the clock says. */
	aim(&shot, addr, 192, 0xbad);
	if (!ret)
		ret = engine_write(gpu, shot.addr, shot.words, sizeof(shot.words));
	if (!ret && holds(&view, 192, 0xbad) != reach) {
		fprintf(stderr, "# a later write %s\n", reach ? "did not arrive" : "arrived");
		ret = -EPERM;
	}
	if (!ret)
		ret = engine_read(gpu, addr + page / 2, words, sizeof(words));
	if (!ret && !memcmp(words, view.other + page / 2, sizeof(words)) != reach) {
		fprintf(stderr, "# a later read %s\n", reach ? "found nothing" : "found it");
		ret = -EPERM;
	}
	/* Its neighbours are guarded: nothing else may come to its place. */
	view.buf = NULL;
	view_drop(&view);
	return ret;
}

static int after_munmap_once(struct gpu *gpu, bool reach, bool *conclusive)
{
	int ret = 0;

	*conclusive = false;
	for (unsigned int i = 0; i < TRIES && !ret && !*conclusive; i++)
		ret = after_munmap(gpu, reach, 90 - 5 * i, conclusive);
	if (!ret && !*conclusive)
		fprintf(stderr, "# device %u: never in time, later accesses only\n",
			gpu->dev.info.index);
	return ret;
}

/* I-1, for the real engine: at the moment that munmap() returns. */
DMA_TEST(blocked_after_munmap)
{
	unsigned int in_time = 0;
	bool conclusive;

	NEEDS_STRICT(self);
	NEEDS_ENGINE(self);
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, after_munmap_once(gpu, false, &conclusive));
		in_time += conclusive;
	}
	if (!in_time)
		SKIP(return, "no munmap() that returned before the transfer ended");
}

static int pci_remove(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", name);
	return write_text(path, "1");
}

static int pci_rescan(void)
{
	return write_text("/sys/bus/pci/rescan", "1");
}

/* And where the DMA mapping is forgotten, not unmapped, that is what comes of it. */
DMA_TEST(blocked_can_fail)
{
	char name[VSVM_PCI_NAME];
	bool conclusive;
	int ret;

	NEEDS_STRICT(self);
	NEEDS_ENGINE(self);
	ASSERT_EQ(0, vsvm_pci_function(GPUS - 1, name));
	ret = break_step(BREAK_UNMAP);
	if (ret == -ENOENT)
		SKIP(return, "no debugfs file broken_steps");
	ASSERT_EQ(0, ret);
	ret = after_munmap_once(self->last, true, &conclusive);
	ASSERT_EQ(0, break_step(BREAK_NOTHING));
	ASSERT_EQ(0, ret);

	/* What is mapped for good goes with the domain, and that with the function. */
	ASSERT_EQ(0, gpus_violations(self->g));
	ASSERT_EQ(0, gpus_close(self->g));
	self->g = NULL;
	ASSERT_EQ(0, pci_remove(name));
	ASSERT_EQ(0, pci_rescan());
	ASSERT_EQ(GPUS, vsvm_list(NULL, 0));
}

/* ------------------------------------------------------------------- how it is made */

/* So that pages do not follow each other in memory: each has a stranger behind it. */
static void scatter(char *buf, size_t size, uint64_t seed)
{
	const size_t page = page_size();
	volatile char *other = buf_alloc(size);

	for (size_t at = 0; at < size; at += page) {
		buf_init(buf + at, page, seed + at / page);
		if (other)
			other[at] = 1;
	}
	buf_free((void *)other, size);
}

/* One reservation for a mapping, a link for each run, one sync; else plain mapping. */
DMA_TEST(mapped_in_two_steps)
{
	uint64_t before[CALLS], after[CALLS], first, addr, invalidations;
	char *buf = buf_alloc(SIZE);
	struct gpu *gpu = self->gpu;
	bool two_steps = dma_translates(gpu);
	unsigned int runs = 0, try = 0;
	int ret;

	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_NOHUGEPAGE));
	scatter(buf, SIZE, 1);
	ret = calls_begin();
	if (ret == -ENOENT)
		SKIP(return, "no kprobe events");
	ASSERT_EQ(0, ret);

	do {
		/* Takes the mapping away, if there is one. */
		ret = mprotect(buf, SIZE, PROT_NONE) || mprotect(buf, SIZE, PROT_READ) ?
			-errno : 0;
		invalidations = gpu_stat(gpu, invalidations);
		if (!ret)
			ret = calls_count(before);
		if (!ret)
			ret = gpu_read64(gpu, buf, &first);
		if (!ret)
			ret = calls_count(after);
		/* Unless the kernel has moved a page meanwhile. */
	} while (!ret && invalidations != gpu_stat(gpu, invalidations) && ++try < TRIES);
	if (ret)
		calls_end();
	ASSERT_EQ(0, ret);
	for (unsigned int i = 0; i < CALLS; i++)
		after[i] -= before[i];
	runs = after[two_steps ? CALL_LINK : CALL_MAP_PAGE];
	TH_LOG("%u runs", runs);
	EXPECT_EQ(1, after[CALL_RESERVE]);
	EXPECT_LE(1, runs);
	EXPECT_GE(PAGES, runs);
	EXPECT_EQ(two_steps ? 1 : 0, after[CALL_SYNC]);
	EXPECT_EQ(two_steps ? runs : 0, after[CALL_LINK]);
	EXPECT_EQ(two_steps ? 0 : runs, after[CALL_MAP_PAGE]);
	EXPECT_EQ(0, after[CALL_UNLINK]);
	EXPECT_EQ(0, after[CALL_FREE]);

	/* What was reserved as one piece is one. */
	ret = gpu_read_each(gpu, buf, SIZE, self->page);
	if (!ret)
		ret = gpu_dma_address(gpu, buf, &first);
	for (unsigned int i = 1; two_steps && i < PAGES && !ret; i++) {
		ret = gpu_dma_address(gpu, buf + i * self->page, &addr);
		if (!ret)
			EXPECT_EQ(first + i * self->page, addr);
	}
	EXPECT_EQ(0, ret);

	ret = calls_count(before);
	buf_free(buf, SIZE);
	if (!ret)
		ret = calls_count(after);
	calls_end();
	ASSERT_EQ(0, ret);
	EXPECT_EQ(two_steps ? 1 : 0, after[CALL_UNLINK] - before[CALL_UNLINK]);
	EXPECT_EQ(two_steps ? 1 : 0, after[CALL_FREE] - before[CALL_FREE]);
}

/*
 * Has the mapping of a buffer fail at its first run, the second one, and so on, at last
 * at the sync of all of them, until it has as many steps as it needs; but for that, the
 * domain is as before each time. Returns how many times it failed, which is one more
 * than there are runs, or an errno.
 */
static int fail_each_step(struct gpu *gpu, char *buf, struct domain *before,
			  struct domain *after)
{
	uint64_t mappings = gpu_count(gpu, "dma", "mappings"), bytes = gpu_stat(gpu, dma_mapped);
	struct drm_vsvm_error record;
	uint64_t value;
	int ret;

	for (int steps = 0; steps <= PAGES + 1; steps++) {
		ret = fail_dma_map(steps);
		if (!ret)
			ret = gpu_read64(gpu, buf, &value);
		if (fail_dma_map(-1))
			return -EIO;
		if (!ret)
			return steps;
		if (ret != -EIO || vsvm_error_take(&gpu->vm, &record))
			return ret;
		if (record.error != ENOMEM)
			return -(int)record.error;
		ret = domain_read(gpu, after);
		if (ret)
			return ret;
		if (!domain_same(before, after) ||
		    gpu_count(gpu, "dma", "mappings") != mappings ||
		    gpu_stat(gpu, dma_mapped) != bytes) {
			fprintf(stderr, "# something is left after step %d has failed\n", steps);
			return -EUCLEAN;
		}
	}
	return -E2BIG;
}

/* A mapping that fails at whichever step leaves nothing: neither mapped nor reserved. */
DMA_TEST(failures_unwind)
{
	char *buf = buf_alloc(SIZE);
	struct gpu *gpu = self->gpu;
	uint64_t counts[CALLS];
	int steps, runs;
	bool calls;

	NEEDS_LOOK(self);
	ASSERT_NE(NULL, buf);
	if (fail_dma_map(-1))
		SKIP(return, "no debugfs file fail_dma_map");
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_NOHUGEPAGE));
	scatter(buf, SIZE, 1);
	calls = !calls_begin();
	ASSERT_EQ(0, domain_read(gpu, self->before));

	steps = fail_each_step(gpu, buf, self->before, self->after);
	runs = steps - 1;
	EXPECT_LT(0, runs);
	TH_LOG("%d runs", runs);
	if (calls) {
		EXPECT_EQ(0, calls_count(counts));
		/* Each attempt has reserved, and has given it back, but for the last. */
		EXPECT_LE(steps + 1, (int)counts[CALL_RESERVE]);
		EXPECT_EQ(counts[CALL_RESERVE], counts[CALL_FREE] + 1);
		/* All runs are linked twice: once for nothing, as the sync fails. */
		EXPECT_LE(runs * (runs - 1) / 2 + 2 * runs, (int)counts[CALL_LINK]);
	}

	/* In the end all of it, to see that this would have been seen. */
	EXPECT_EQ(0, domain_read(gpu, self->after));
	EXPECT_EQ(self->before->pages + PAGES, self->after->pages);
	buf_free(buf, SIZE);
	EXPECT_EQ(0, domain_read(gpu, self->after));
	EXPECT_TRUE(domain_same(self->before, self->after));
	if (calls) {
		EXPECT_EQ(0, calls_count(counts));
		EXPECT_EQ(counts[CALL_RESERVE], counts[CALL_FREE]);
		calls_end();
	}
}

/*
 * One mapping of which half is in the device's memory: only the rest is the IOMMU's.
 */
DMA_TEST(partly_in_device_memory)
{
	struct gpu *gpu = buf_map(sizeof(*gpu), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1);
	char *buf = buf_alloc(SIZE);
	uint64_t missed = 1, maps;

	NEEDS_LOOK(self);
	ASSERT_NE(NULL, gpu);
	ASSERT_NE(NULL, buf);
	ASSERT_EQ(0, gpu_open(gpu, 0, DRM_VSVM_VM_MIGRATE));
	ASSERT_EQ(0, gpu_warm(gpu));
	ASSERT_EQ(0, madvise(buf, SIZE, MADV_NOHUGEPAGE));
	buf_init(buf, SIZE, 5);
	ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf, SIZE, DRM_VSVM_ATTR_ACCESS,
				       DRM_VSVM_MODE_IN_PLACE));
	/* A page that somebody else looks at in this moment cannot be moved. */
	for (unsigned int i = 0; i < 50 && missed; i++) {
		const struct timespec nap = { .tv_nsec = i * 1000000 };

		nanosleep(&nap, NULL);
		ASSERT_EQ(0, vsvm_prefetch(&gpu->vm, buf, SIZE, &gpu->dev, 0, &missed));
	}
	/* Other pages in place of some, which nobody has reason to move. */
	ASSERT_EQ(0, madvise(buf + SIZE / 2, SIZE / 2, MADV_DONTNEED));
	scatter(buf + SIZE / 2, SIZE / 2, 6);
	ASSERT_EQ(0, domain_read(gpu, self->before));
	if (missed || pages_away(buf, SIZE) != PAGES / 2) {
		EXPECT_EQ(0, gpu_close(gpu));
		SKIP(return, "pages cannot be moved");
	}

	maps = gpu_stat(gpu, dma_maps);
	if (!fail_dma_map(-1)) {
		int steps = fail_each_step(gpu, buf, self->before, self->after);

		/*
		 * One run of each kind at least, and the sync; each attempt is a mapping
		 * that was begun.
		 */
		EXPECT_LE(3, steps);
		EXPECT_LE(maps + steps + 1, gpu_stat(gpu, dma_maps));
	}
	maps = gpu_stat(gpu, dma_maps);
	ASSERT_EQ(0, gpu_read_each(gpu, buf, SIZE, self->page));
	EXPECT_GE(maps + 1, gpu_stat(gpu, dma_maps));
	EXPECT_EQ(0, domain_read(gpu, self->after));
	EXPECT_EQ(PAGES / 2, pages_away(buf, SIZE));
	EXPECT_EQ(self->before->pages + PAGES / 2, self->after->pages);
	ASSERT_EQ(-1, buf_check(buf, SIZE / 2, 5, 0));
	for (unsigned int i = 0; i < PAGES / 2; i++)
		ASSERT_EQ(-1, buf_check(buf + SIZE / 2 + i * self->page, self->page, 6 + i, 0));
	buf_free(buf, SIZE);
	EXPECT_EQ(0, domain_read(gpu, self->after));
	EXPECT_TRUE(domain_same(self->before, self->after));
	EXPECT_EQ(0, gpu_close(gpu));
	buf_free(gpu, sizeof(*gpu));
}

/* ---------------------------------------------------------------- functions that go */

/* A function goes while it works, and its engine, too; the others go on. */
DMA_TEST(removed_under_load)
{
	volatile uint64_t *words = buf_alloc(SIZE);
	char *buf = buf_alloc(SIZE);
	char name[VSVM_PCI_NAME], path[96];
	uint64_t addr, word;
	bool engine;

	if (vsvm_pci_function(GPUS - 1, name))
		SKIP(return, "the devices are not on PCI");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", name);
	engine = has_engine(self->last);
	ASSERT_NE(NULL, words);
	ASSERT_NE(NULL, buf);
	buf_init(buf, SIZE, 9);
	ASSERT_EQ(0, gpu_add(self->last, buf, SIZE, 1));

	for (unsigned int i = 0; i < GPUS - 1; i++)
		ASSERT_EQ(0, gpu_start_endless(&self->gpu[i], 0, &words[8 * i]));
	if (engine)
		ASSERT_EQ(0, gpu_knob(self->last, "check_every", 4));
	ASSERT_EQ(0, gpu_start_endless(self->last, 0, &words[1024]));
	ASSERT_EQ(0, gpu_start_endless(self->last, 1, &words[1032]));
	ASSERT_TRUE(word_changes(&words[1024], 0));
	ASSERT_TRUE(word_changes(&words[1032], 0));

	ASSERT_EQ(0, pci_remove(name));
	EXPECT_NE(0, access(path, F_OK));
	EXPECT_EQ(-ENODEV, gpu_finish(self->last, 0));
	EXPECT_EQ(GPUS - 1, vsvm_list(NULL, 0));
	vsvm_close(&self->last->dev);

	/* It has stopped, what it wrote is there, and they have not stopped. */
	word = words[1024];
	for (unsigned int i = 0; i < GPUS - 1; i++)
		ASSERT_TRUE(word_changes(&words[8 * i], words[8 * i]));
	EXPECT_EQ(word, words[1024]);
	ASSERT_EQ(-1, buf_check(buf, SIZE, 9, 1));

	ASSERT_EQ(0, pci_rescan());
	ASSERT_EQ(GPUS, vsvm_list(NULL, 0));
	ASSERT_EQ(0, gpu_open(self->last, GPUS - 1, 0));
	ASSERT_EQ(0, gpu_warm(self->last));
	EXPECT_EQ(self->gpu->dev.info.dma, self->last->dev.info.dma);
	ASSERT_EQ(0, gpu_add(self->last, buf, SIZE, 1));
	ASSERT_EQ(-1, buf_check(buf, SIZE, 9, 2));
	if (engine) {
		uint64_t page[512];

		ASSERT_EQ(0, gpu_dma_address(self->last, buf, &addr));
		ASSERT_EQ(0, engine_read(self->last, addr, page, sizeof(page)));
		EXPECT_EQ(-1, buf_check(page, sizeof(page), 9, 2));
	}
	for (unsigned int i = 0; i < GPUS - 1; i++) {
		ASSERT_TRUE(word_changes(&words[8 * i], words[8 * i]));
		ASSERT_EQ(0, vsvm_vm_destroy(&self->gpu[i].vm));
		self->gpu[i].vm.id = 0;
	}
	buf_free(buf, SIZE);
	buf_free((void *)words, SIZE);
}

/* ------------------------------------------------------------------ short addresses */

#define FOUR_GIB	(1ULL << 32)

/* A page beyond what 32 bits can say, or NULL */
static char *high_page(char *buf, size_t size)
{
	for (size_t at = 0; at < size; at += page_size()) {
		uint64_t entry = pagemap_entry(buf + at);

		if (entry & PAGEMAP_PRESENT && PAGEMAP_PFN(entry) >= FOUR_GIB / page_size())
			return buf + at;
	}
	return NULL;
}

FIXTURE(narrow)
{
	size_t page;
	char *buf;
	char *high;
	struct gpu *gpu;
	/* Which device has 32 bits; none: negative. */
	int nr;
};

FIXTURE_SETUP(narrow)
{
	self->page = page_size();
	self->nr = -1;
	self->gpu = buf_alloc(sizeof(*self->gpu));
	self->buf = buf_alloc(CHUNK);
	ASSERT_NE(NULL, self->gpu);
	ASSERT_NE(NULL, self->buf);
	ASSERT_EQ(0, madvise(self->buf, CHUNK, MADV_NOHUGEPAGE));
	buf_init(self->buf, CHUNK, 4);
	self->high = high_page(self->buf, CHUNK);
	if (!self->high)
		SKIP(return, "no memory above 4 GiB");
	ASSERT_EQ(0, device_param("dma_bits", 32));
}

FIXTURE_TEARDOWN(narrow)
{
	EXPECT_EQ(0, device_param("dma_bits", 64));
	if (self->nr >= 0) {
		vsvm_close(&self->gpu->dev);
		EXPECT_EQ(0, vsvm_unplug(self->nr));
		EXPECT_EQ(0, vsvm_plug(self->nr));
	}
	buf_free(self->gpu, sizeof(*self->gpu));
	buf_free(self->buf, CHUNK);
}

#define NARROW_TEST(name)	TEST_F_TIMEOUT(narrow, name, TEST_LIMIT)

/* Without IOMMU it would need bounce buffers, and is not taken. */
NARROW_TEST(refused_without_iommu)
{
	/* On the faux bus, where there is none, and beside whatever there is. */
	const char *nr = "9";
	unsigned int found = 0;
	struct vsvm_device dev;
	struct vsvm_vm vm;

	if (access("/sys/kernel/debug/vsvm/plug", W_OK))
		SKIP(return, "no debugfs");
	ASSERT_EQ(0, write_text("/sys/kernel/debug/vsvm/plug", nr));
	for (unsigned int i = 0; i < MAX_GPUS && !vsvm_open(&dev, i); i++) {
		if (dev.info.index == 9) {
			EXPECT_EQ(DRM_VSVM_DMA_DIRECT, dev.info.dma);
			EXPECT_EQ(-EOPNOTSUPP, vsvm_vm_create(&dev, DRM_VSVM_VM_MIRROR, &vm));
			found++;
		}
		vsvm_close(&dev);
	}
	EXPECT_EQ(0, write_text("/sys/kernel/debug/vsvm/unplug", nr));
	EXPECT_EQ(1, found);
}

/* Where an IOMMU translates it reaches all memory; where one does not, as above. */
NARROW_TEST(through_iommu)
{
	struct gpu *gpu = self->gpu;
	uint64_t addr, words[512];

	self->nr = vsvm_list(NULL, 0) - 1;
	ASSERT_LE(0, self->nr);
	ASSERT_EQ(0, vsvm_unplug(self->nr));
	ASSERT_EQ(0, vsvm_plug(self->nr));
	ASSERT_EQ(0, vsvm_open(&gpu->dev, self->nr));
	EXPECT_EQ(FOUR_GIB - 1, gpu_count(gpu, "dma", "mask"));
	if (!dma_translates(gpu)) {
		EXPECT_EQ(-EOPNOTSUPP, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR, &gpu->vm));
		TH_LOG("no IOMMU translates: refused");
		return;
	}
	ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR, &gpu->vm));
	ASSERT_EQ(0, gpu_warm(gpu));
	ASSERT_EQ(0, gpu_add(gpu, self->buf, CHUNK, 1));
	ASSERT_EQ(-1, buf_check(self->buf, CHUNK, 4, 1));
	ASSERT_EQ(0, gpu_write64(gpu, self->high, 0x1234));
	ASSERT_EQ(0, gpu_dma_address(gpu, self->high, &addr));
	EXPECT_GT(FOUR_GIB, addr);
	TH_LOG("page 0x%llx is 0x%llx for the device",
	       (unsigned long long)PAGEMAP_PFN(pagemap_entry(self->high)) * self->page,
	       (unsigned long long)addr);
	/* It is the page itself: a bounce buffer would be copied only at its end. */
	EXPECT_NE(NULL, high_page(self->high, self->page));
	if (has_engine(gpu)) {
		ASSERT_EQ(0, engine_read(gpu, addr, words, sizeof(words)));
		EXPECT_EQ(0, memcmp(words, self->high, sizeof(words)));
		for (unsigned int i = 0; i < 8; i++)
			words[i] = 0xfeed + i;
		ASSERT_EQ(0, engine_write(gpu, addr, words, 64));
		EXPECT_EQ(0, memcmp(words, self->high, sizeof(words)));
	}
	ASSERT_EQ(0, vsvm_vm_destroy(&gpu->vm));
}

TEST_HARNESS_MAIN
