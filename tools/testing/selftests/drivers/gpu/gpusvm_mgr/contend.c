// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Devices and the CPU contend for the same data, and for memory that is too
 * small: nothing is lost, everything ends, and data does not move more often
 * than the arbiter allows.
 */
#include "gpusvm_devmem.h"

#include <inttypes.h>

/* One interval: the manager makes one range of it. */
#define SMALL	(64 * KIB)

/*
 * Most moves of an interval into device memory in a run of so many ns, whoever
 * asks for them, and however many: (K + 1) * (T / min(W, P) + 1).
 */
static uint64_t moves_bound(uint64_t moves, uint64_t window_us, uint64_t pin_us, uint64_t ns)
{
	uint64_t us = window_us < pin_us ? window_us : pin_us;

	return (moves + 1) * (ns / 1000 / us + 1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* A device and the CPU in turn, each as often. */
static int take_turns(struct gpu *gpu, volatile uint64_t *word, unsigned int turns)
{
	int ret = 0;

	for (unsigned int i = 0; i < turns && !ret; i++) {
		ret = gpu_add(gpu, word, sizeof(*word), 1);
		*word += 1;
	}
	return ret;
}

/* The arbiter pins what goes to and fro; without it each turn is a move. */
DEVMEM_TEST(bouncing)
{
	const uint64_t window = 20000000, pin = 20000000, moves = 3;
	const unsigned int turns = 30;
	char *on = devmem_buf(SMALL, false), *off = devmem_buf(SMALL, false);
	uint64_t before, begin, bound, arrivals = gpus_sum(self->g, vram_arrivals);

	ASSERT_NE(NULL, on);
	ASSERT_NE(NULL, off);
	ASSERT_EQ(0, arbiter_set(0, moves, window, pin));
	before = gpus_sum(self->g, migrations);
	begin = now_ns();
	ASSERT_EQ(0, take_turns(self->gpu, (uint64_t *)on, turns));
	bound = moves_bound(moves, window, pin, now_ns() - begin);
	EXPECT_GE(bound, gpus_sum(self->g, migrations) - before);
	EXPECT_LT(0, gpu_stat(self->gpu, migrations_pinned));
	EXPECT_LT(0, gpu_stat(self->gpu, mgr_pins));
	EXPECT_EQ(gpu_stat(self->gpu, mgr_pins), gpus_sum(self->g, pins));
	EXPECT_EQ(2 * turns, *(uint64_t *)on);
	/* Each that it counted, the device has seen. */
	EXPECT_EQ(gpus_sum(self->g, migrations) - before,
		  gpus_sum(self->g, vram_arrivals) - arrivals);

	/* The control: as many turns, more moves than that. */
	ASSERT_EQ(0, arbiter_off());
	before = gpus_sum(self->g, migrations);
	begin = now_ns();
	ASSERT_EQ(0, take_turns(self->gpu, (uint64_t *)off, turns));
	EXPECT_EQ(turns, gpus_sum(self->g, migrations) - before);
	if (now_ns() - begin < window * 1000)
		EXPECT_LT(moves_bound(moves, window, pin, now_ns() - begin),
			  gpus_sum(self->g, migrations) - before);
	EXPECT_EQ(2 * turns, *(uint64_t *)off);
	buf_free(off, SMALL);
	buf_free(on, SMALL);
}

/* What came to a device stays there, though another one asks for it. */
DEVMEM_TEST(residence)
{
	char *buf = devmem_buf(SMALL, false);
	const unsigned int turns = 10;
	struct gpu *peer = NULL;
	uint64_t before;

	for (unsigned int i = 1; i < self->g->n; i++)
		if (self->gpu[i].dev.info.hive == self->gpu->dev.info.hive)
			peer = &self->gpu[i];
	if (!peer)
		SKIP(return, "needs a linked peer");
	ASSERT_NE(NULL, buf);

	ASSERT_EQ(0, arbiter_set(LONG_US, 0, 0, 0));
	before = gpus_sum(self->g, migrations);
	for (unsigned int i = 0; i < turns; i++) {
		ASSERT_EQ(0, gpu_add(self->gpu, buf, SMALL, 1));
		ASSERT_EQ(0, gpu_add(peer, buf, SMALL, 1));
	}
	EXPECT_EQ(1, gpus_sum(self->g, migrations) - before);
	EXPECT_LT(0, gpu_stat(peer, migrations_resident));

	/* The control: each turn is a move. (It is on the first device now.) */
	ASSERT_EQ(0, arbiter_off());
	buf_free(buf, SMALL);
	buf = devmem_buf(SMALL, false);
	ASSERT_NE(NULL, buf);
	before = gpus_sum(self->g, migrations);
	for (unsigned int i = 0; i < turns; i++) {
		ASSERT_EQ(0, gpu_add(self->gpu, buf, SMALL, 1));
		ASSERT_EQ(0, gpu_add(peer, buf, SMALL, 1));
	}
	EXPECT_EQ(2 * turns, gpus_sum(self->g, migrations) - before);
	ASSERT_EQ(-1, buf_check_value(buf, SMALL, 2 * turns));
	buf_free(buf, SMALL);
}

/* Moves that take so long that they are never close to each other: bouncing all the same. */
DEVMEM_TEST(slow_moves)
{
	const uint64_t most = 5000000000ULL;
	const unsigned int turns = 5;
	struct gpu *peer = NULL;

	for (unsigned int i = 1; i < self->g->n; i++)
		if (self->gpu[i].dev.info.hive == self->gpu->dev.info.hive)
			peer = &self->gpu[i];
	if (!peer)
		SKIP(return, "needs a linked peer");

	for (unsigned int cost = 0; cost <= BOUNCE_COST; cost += BOUNCE_COST) {
		uint64_t before = gpus_sum(self->g, migrations), begin = now_ns();
		uint64_t pins = gpu_stat(self->gpu, mgr_pins), moves;
		char *buf = devmem_buf(SMALL, false);

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, arbiter_set(0, BOUNCE_MOVES, BOUNCE_WINDOW_US, BOUNCE_PIN_US));
		ASSERT_EQ(0, arbiter_param("bounce_cost", cost));
		/* K of them are longer than W, then. */
		ASSERT_EQ(0, gpu_knob(self->gpu, "copy_mib_per_s", 1));
		ASSERT_EQ(0, gpu_knob(peer, "copy_mib_per_s", 1));
		for (unsigned int i = 0; i < turns; i++) {
			ASSERT_EQ(0, gpu_add(self->gpu, buf, SMALL, 1));
			ASSERT_EQ(0, gpu_add(peer, buf, SMALL, 1));
		}
		moves = gpus_sum(self->g, migrations) - before;
		pins = gpu_stat(self->gpu, mgr_pins) - pins;
		ASSERT_EQ(0, gpu_knob(self->gpu, "copy_mib_per_s", 0));
		ASSERT_EQ(0, gpu_knob(peer, "copy_mib_per_s", 0));
		if (cost) {
			/* Unless it was away for longer than the longest window. */
			if (now_ns() - begin < most) {
				EXPECT_LT(0, pins);
			}
			EXPECT_GE(moves_bound(BOUNCE_MOVES, most / 1000, 2 * most / 1000,
					      now_ns() - begin), moves);
		} else {
			EXPECT_EQ(0, pins);
			EXPECT_EQ(2 * turns, moves);
		}
		EXPECT_EQ(-1, buf_check_value(buf, SMALL, 2 * turns));
		buf_free(buf, SMALL);
	}
}

/* Many that want the same for the same place: one move, the others share it. */
DEVMEM_TEST(shared_request)
{
	enum { VMS = 4 };
	char *buf = devmem_buf(CHUNK, variant->thp);
	struct gpus *vms;
	uint64_t before = gpu_stat(self->gpu, mgr_migrations), shared = 0;

	ASSERT_NE(NULL, buf);
	vms = buf_map(sizeof(*vms) + VMS * sizeof(struct gpu), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1);
	ASSERT_NE(NULL, vms);
	for (vms->n = 0; vms->n < VMS; vms->n++) {
		ASSERT_EQ(0, gpu_open(&vms->gpu[vms->n], 0, DRM_VSVM_VM_MIGRATE));
		ASSERT_EQ(0, gpu_warm(&vms->gpu[vms->n]));
	}
	/* All of them are there before the first copy is done. */
	ASSERT_EQ(0, gpu_knob(self->gpu, "copy_mib_per_s", 4));
	buf_init(buf, CHUNK, 1);
	for (unsigned int i = 0; i < VMS; i++) {
		VSVM_JOB(job, 1);

		vsvm_job_atomic_add(&job, (uint64_t *)(buf + i * self->page), 1, 1);
		ASSERT_EQ(0, gpu_start(&vms->gpu[i], 0, &job));
	}
	for (unsigned int i = 0; i < VMS; i++) {
		ASSERT_EQ(0, gpu_finish(&vms->gpu[i], 0));
		shared += gpu_stat(&vms->gpu[i], migrations_shared);
	}
	ASSERT_EQ(0, gpu_knob(self->gpu, "copy_mib_per_s", 0));
	EXPECT_EQ(before + 1, gpu_stat(self->gpu, mgr_migrations));
	EXPECT_LE(VMS - 1, shared);
	for (size_t i = 0; i < WORDS(CHUNK); i++) {
		bool touched = i % WORDS(self->page) == 0 && i / WORDS(self->page) < VMS;

		ASSERT_EQ(pattern(1, i) + touched, ((uint64_t *)buf)[i]);
	}
	for (unsigned int i = 0; i < VMS; i++)
		ASSERT_EQ(0, gpu_close(&vms->gpu[i]));
	buf_free(vms, sizeof(*vms) + VMS * sizeof(struct gpu));
	buf_free(buf, CHUNK);
}

struct conflict {
	uint64_t *words;
	size_t num_words;
	unsigned int rounds;
	uint64_t added;
};

static int conflict_gpu(struct gpu *gpu, unsigned int nr, void *arg)
{
	struct conflict *c = arg;
	int ret = 0;

	for (unsigned int round = 0; round < c->rounds && !ret; round++) {
		VSVM_JOB(job, 16);

		for (unsigned int i = 0; i < 16; i++) {
			size_t word = (i * 8 + nr * 3 + round) * WORDS(4 * KIB) % c->num_words;

			vsvm_job_atomic_add(&job, &c->words[word], 1, 4);
		}
		ret = gpu_run(gpu, &job);
		__atomic_fetch_add(&c->added, 64, __ATOMIC_RELAXED);
	}
	return ret;
}

static void *conflict_cpu(void *arg)
{
	struct conflict *c = arg;
	uint64_t state = (uintptr_t)&state;

	for (unsigned int i = 0; i < 16 * c->rounds; i++) {
		size_t word = rnd(&state) % (c->num_words / WORDS(4 * KIB)) * WORDS(4 * KIB);

		__atomic_fetch_add(&c->words[word], 1, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&c->added, 1, __ATOMIC_RELAXED);
		if (!(i % 16))
			usleep(1000);
	}
	return NULL;
}

/*
 * N devices and M CPU threads want the same pages at the same time. All ends,
 * no addition is lost, and moves are as few as the formula says, in which there
 * is no N and no M.
 */
DEVMEM_TEST(conflict)
{
	enum { THREADS = 2, INTERVALS = 2 };
	struct conflict c = { .rounds = 12 };
	const size_t size = INTERVALS * CHUNK;
	uint64_t begin, bound, sum = 0, moves, arrivals;
	pthread_t threads[THREADS];

	c.words = (uint64_t *)devmem_buf(size, variant->thp);
	c.num_words = WORDS(size);
	ASSERT_NE(NULL, c.words);
	begin = now_ns();
	moves = gpu_stat(self->gpu, mgr_migrations);
	arrivals = gpus_sum(self->g, vram_arrivals);
	/* On a device to begin with, so that there is something to take away. */
	ASSERT_EQ(0, gpu_fill(self->gpu, c.words, size, 0));
	for (unsigned int i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, conflict_cpu, &c));
	ASSERT_EQ(0, gpus_parallel(self->g, conflict_gpu, &c));
	for (unsigned int i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	moves = gpu_stat(self->gpu, mgr_migrations) - moves;
	bound = INTERVALS * moves_bound(BOUNCE_MOVES, BOUNCE_WINDOW_US, BOUNCE_PIN_US,
					now_ns() - begin);
	arrivals = gpus_sum(self->g, vram_arrivals) - arrivals;
	TH_LOG("%u GPUs, %u CPU threads: %" PRIu64 " moves (bound %" PRIu64 "), %" PRIu64 " back",
	       self->g->n, THREADS, moves, bound, gpu_stat(self->gpu, mgr_moves_back));
	TH_LOG("%" PRIu64 " pins, refused for them %" PRIu64 ", for residence %" PRIu64,
	       gpu_stat(self->gpu, mgr_pins), gpu_stat(self->gpu, mgr_refused_pinned),
	       gpu_stat(self->gpu, mgr_refused_resident));
	EXPECT_LE(INTERVALS, moves);
	EXPECT_GE(bound, moves);
	/* The devices have counted, too: none was overlooked. */
	EXPECT_LT(0, arrivals);
	EXPECT_GE(moves, arrivals);
	/* What came back went there before, at most one of each interval is out. */
	EXPECT_GE(moves, gpu_stat(self->gpu, mgr_moves_back));
	for (size_t i = 0; i < c.num_words; i++)
		sum += c.words[i];
	EXPECT_EQ(c.added, sum);
	ASSERT_EQ(0, gpus_validate());
	buf_free(c.words, size);
}

struct oversubscription {
	char *buf;
	size_t size;
	size_t page;
	unsigned int thread;
};

/* Word @place of each page belongs to whoever has this number. */
static int over_gpu(struct gpu *gpu, unsigned int nr, void *arg)
{
	struct oversubscription *o = arg;

	return gpu_add_each(gpu, o->buf + nr * sizeof(uint64_t), o->size, o->page);
}

static void *over_cpu(void *arg)
{
	struct oversubscription *o = arg;

	for (size_t at = 0; at < o->size; at += o->page)
		__atomic_fetch_add((uint64_t *)(o->buf + at) + MAX_GPUS + o->thread, 1,
				   __ATOMIC_SEQ_CST);
	return NULL;
}

static ssize_t over_check(const struct oversubscription *o, unsigned int gpus,
			  uint64_t by_gpu, unsigned int threads, uint64_t by_cpu, uint64_t seed)
{
	for (size_t i = 0; i < WORDS(o->size); i++) {
		size_t place = i % WORDS(o->page);
		uint64_t want = pattern(seed, i);

		if (place < gpus)
			want += by_gpu;
		else if (place >= MAX_GPUS && place < MAX_GPUS + threads)
			want += by_cpu;
		if (((const uint64_t *)o->buf)[i] != want)
			return i;
	}
	return -1;
}

/* A working set of four times the memory of each device. */
DEVMEM_TEST(oversubscription)
{
	enum { THREADS = 2 };
	struct oversubscription o = { .size = 4 * variant->vram_mib * MIB, .page = self->page };
	struct oversubscription cpu[THREADS];
	pthread_t threads[THREADS];

	if (variant->vram_mib > 8)
		SKIP(return, "for devices with little memory");
	o.buf = devmem_buf(o.size, variant->thp);
	ASSERT_NE(NULL, o.buf);
	buf_init(o.buf, o.size, 2);

	/* The devices alone, in turn: each pushes out what it brought itself. */
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct gpu *gpu = &self->gpu[i];

		ASSERT_EQ(0, over_gpu(gpu, i, &o));
		EXPECT_LT(0, gpu_stat(gpu, vram_evictions));
		EXPECT_GE(gpu->dev.info.vram_size, gpu_stat(gpu, vram_used));
	}
	ASSERT_EQ(-1, over_check(&o, self->g->n, 1, THREADS, 0, 2));

	/* All of them at once, and the CPU. */
	for (unsigned int i = 0; i < THREADS; i++) {
		cpu[i] = o;
		cpu[i].thread = i;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, over_cpu, &cpu[i]));
	}
	ASSERT_EQ(0, gpus_parallel(self->g, over_gpu, &o));
	for (unsigned int i = 0; i < THREADS; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	ASSERT_EQ(-1, over_check(&o, self->g->n, 2, THREADS, 1, 2));
	TH_LOG("%u GPUs, %u MiB each, working set %lu MiB: %" PRIu64 " moves, %" PRIu64 " evicted",
	       self->g->n, variant->vram_mib, o.size / MIB, gpu_stat(self->gpu, mgr_migrations),
	       gpu_stat(self->gpu, vram_evictions));
	ASSERT_EQ(0, gpus_validate());
	buf_free(o.buf, o.size);
}

/*
 * Two processes on the same devices, with two VMs on each: each process pushes
 * out the other's data.
 */
DEVMEM_TEST(two_processes)
{
	const size_t size = 12 * MIB;
	struct oversubscription o = { .size = size, .page = self->page };
	struct gpus *second;
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct gpus *g, *second;
		int ret;

		ret = gpus_open(&g, variant->n, DRM_VSVM_VM_MIGRATE);
		if (!ret)
			ret = gpus_open(&second, variant->n, DRM_VSVM_VM_MIGRATE);
		o.buf = devmem_buf(size, variant->thp);
		if (ret || !o.buf)
			_exit(1);
		buf_init(o.buf, size, 4);
		for (int round = 0; round < 2 && !ret; round++)
			ret = gpus_parallel(round ? second : g, over_gpu, &o);
		if (ret)
			_exit(2);
		if (over_check(&o, g->n, 2, 0, 0, 4) != -1)
			_exit(3);
		if (gpus_violations(g) || gpus_violations(second))
			_exit(4);
		_exit(gpus_close(g) || gpus_close(second) ? 5 : 0);
	}
	o.buf = devmem_buf(size, variant->thp);
	ASSERT_NE(NULL, o.buf);
	buf_init(o.buf, size, 3);
	ASSERT_EQ(0, gpus_open(&second, variant->n, DRM_VSVM_VM_MIGRATE));
	for (int round = 0; round < 2; round++)
		ASSERT_EQ(0, gpus_parallel(round ? second : self->g, over_gpu, &o));
	EXPECT_EQ(-1, over_check(&o, self->g->n, 2, 0, 0, 3));
	EXPECT_EQ(0, gpus_close(second));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	if (variant->vram_mib <= 8)
		EXPECT_LT(0, gpu_stat(self->gpu, vram_evictions));
	buf_free(o.buf, size);
}

struct toucher {
	volatile uint64_t *words;
	size_t num_words;
	volatile bool stop;
	uint64_t touched;
};

static void *toucher_thread(void *arg)
{
	struct toucher *t = arg;
	uint64_t state = 77, sum = 0;

	while (!t->stop) {
		sum += t->words[rnd(&state) % t->num_words];
		t->touched++;
		usleep(2000);
	}
	return (void *)(uintptr_t)(sum & 1);
}

/* Pulled out during jobs, migration and faults of the CPU; then in again. */
DEVMEM_TEST(unplug_under_load)
{
	const unsigned int victim = variant->n - 1;
	struct gpu *gpu = &self->gpu[victim];
	const size_t size = 2 * CHUNK;
	char *buf = devmem_buf(size, variant->thp), *mine = devmem_buf(CHUNK, variant->thp);
	struct toucher t = { .num_words = WORDS(size) };
	uint64_t first, previous;
	pthread_t thread;

	ASSERT_NE(NULL, buf);
	ASSERT_NE(NULL, mine);
	ASSERT_EQ(0, arbiter_off());
	for (unsigned int round = 0; round < 2; round++) {
		VSVM_JOB(job, 1);

		buf_init(buf, size, 5);
		buf_init(mine, CHUNK, 6);
		t.words = (uint64_t *)buf;
		t.stop = false;
		ASSERT_EQ(0, pthread_create(&thread, NULL, toucher_thread, &t));
		vsvm_job_add(&job, buf, size, 1);
		for (unsigned int i = 0; i < 100; i++)
			ASSERT_EQ(0, gpu_start(gpu, 0, &job));
		/* It has begun. (The first word may be anywhere by now.) */
		ASSERT_TRUE(word_changes((uint64_t *)buf, pattern(5, 0)));

		ASSERT_EQ(0, vsvm_unplug(victim));
		/* Its memory is empty: nothing of it is left anywhere. */
		EXPECT_EQ(0, pages_away(buf, size));
		/* Each word got as many additions as the one before it, or one less. */
		first = *(uint64_t *)buf - pattern(5, 0);
		previous = first;
		for (size_t i = 0; i < WORDS(size); i++) {
			uint64_t added = ((uint64_t *)buf)[i] - pattern(5, i);

			ASSERT_GE(previous, added);
			ASSERT_GE(added + 1, first);
			previous = added;
		}

		for (unsigned int i = 0; i < victim; i++)
			ASSERT_EQ(0, gpu_add(&self->gpu[i], mine, CHUNK, 1));
		ASSERT_EQ(-1, buf_check(mine, CHUNK, 6, victim));
		t.stop = true;
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_LT(0, t.touched);

		vsvm_close(&gpu->dev);
		ASSERT_EQ(0, vsvm_plug(victim));
		ASSERT_EQ(0, gpu_open(gpu, victim, DRM_VSVM_VM_MIGRATE));
		ASSERT_EQ(0, gpu_warm(gpu));
		ASSERT_EQ(0, gpu_add(gpu, mine, CHUNK, 1));
		ASSERT_EQ(-1, buf_check(mine, CHUNK, 6, victim + 1));
	}
	/* The counter of the old device went with it. */
	self->g->violations = 0;
	ASSERT_EQ(0, gpus_validate());
	buf_free(mine, CHUNK);
	buf_free(buf, size);
}

TEST_HARNESS_MAIN
