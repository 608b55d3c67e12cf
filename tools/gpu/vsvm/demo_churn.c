// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-demo: CPU threads that change the memory around the GPUs' work
 *
 * Each thread goes round and round through the window's steps, and while it
 * waits for a GPU there, through all the others:
 *
 * - heap: frees, allocates, grows and rewrites the blocks that lie between the
 *   nodes of the index; each block is checked before it goes.
 * - window: maps fresh memory at an address that was in use before, writes it,
 *   lets a GPU work on it, and looks at what came out. Then it throws the pages
 *   away, protects or moves them, and asks the GPU once more. A GPU that still
 *   held the old pages would give the old answer.
 * - data in use: maps parts of the file once more in their own place, drops the
 *   pages of the shared mapping that holds the histogram, has pages of the heap
 *   collapsed into a huge one. Nothing that can be read changes by that, but
 *   the pages behind it, or the way to them, do.
 * - counters: adds to the counters that the GPUs add to as well.
 */

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "demo.h"

#define WINDOW_SIZE	(4UL << 20)	/* two windows of half that */
#define WINDOW_HALF	(WINDOW_SIZE / 2)
#define WINDOW_PAGES	32U		/* most pages of the usual step */
#define HEAP_STEPS	32U
#define BIG_BLOCK	(640U << 10)	/* above the threshold: mmapped by malloc() */
#define COUNTER_STEPS	16U
/*
 * How long a thread lets the GPU alone between two changes. With hardly any
 * time in between no fault on the same memory would ever be served.
 */
#define WAIT_SLICE_NS	4000000LL

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

struct churn_thread {
	struct demo *d;
	pthread_t thread;
	unsigned int nr;
	unsigned int turn;
	bool started;
	uint64_t random;
	char *window;
};

struct demo_churn {
	struct demo *d;
	struct churn_thread threads[DEMO_MAX_THREADS];
};

/* ------------------------------------------------------------------ heap */

static void heap_step(struct churn_thread *t)
{
	struct demo *d = t->d;
	size_t mine = d->num_blocks / d->num_threads;
	unsigned int i;

	if (!mine)
		return;
	for (i = 0; i < HEAP_STEPS && !atomic_get(&d->stop); i++) {
		struct demo_block *block =
			&d->blocks[t->nr + d->num_threads * demo_random_below(&t->random, mine)];
		size_t size = 16 + demo_random_below(&t->random, 512);
		void *mem;

		if (demo_random_below(&t->random, 256) == 0)
			size += BIG_BLOCK;
		demo_check(d, CHECK_HEAP, demo_block_check(block), true, "block of the heap",
			   block - d->blocks);

		switch (demo_random_below(&t->random, 4)) {
		case 0:
			/* Grows, shrinks or moves; a big one moves by mremap() */
			mem = realloc(block->mem, size);
			break;
		case 1:
			mem = block->mem;
			size = block->size;
			break;
		default:
			free(block->mem);
			block->mem = NULL;
			mem = malloc(size);
			break;
		}
		if (!mem) {
			/* Keep what there is; after a free that is nothing */
			if (!block->mem)
				block->size = 0;
			continue;
		}
		block->mem = mem;
		block->size = size;
		block->seed = demo_random(&t->random);
		demo_block_fill(block);
	}
	atomic_inc(&d->heap_changes, i);
}

/* ----------------------------------------------------------- data in use */

static void remap_step(struct churn_thread *t)
{
	struct demo *d = t->d;
	size_t pages = d->file_mapped / d->page_size;
	size_t first = demo_random_below(&t->random, pages);
	size_t num = 1 + demo_random_below(&t->random, 16);
	uint8_t *base = d->file + first * d->page_size;
	size_t len;

	if (num > pages - first)
		num = pages - first;
	len = num * d->page_size;

	switch (demo_random_below(&t->random, 8)) {
	default:
		/* The same file in the same place: unmaps and maps at one go */
		if (mmap(base, len, PROT_READ, MAP_PRIVATE | MAP_FIXED, d->file_fd,
			 first * d->page_size) == MAP_FAILED) {
			perror("vsvm-demo: mapping the file again");
			atomic_set(&d->fatal, true);
		}
		break;
	case 1:
		madvise(base, len, MADV_DONTNEED);
		break;
	case 2:
		if (!mprotect(base, len, PROT_READ | PROT_WRITE))
			mprotect(base, len, PROT_READ);
		break;
	case 3:
		/* The pages of a shared mapping stay, the way to them goes */
		madvise((char *)(d->counters[0] + 1) - d->histogram_mapped, d->histogram_mapped,
			MADV_DONTNEED);
		break;
	case 4:
		/* May well be refused, and then nothing has changed */
		base = (uint8_t *)d->nodes[demo_random_below(&t->random, d->num_nodes)];
		base = (uint8_t *)((uintptr_t)base & ~((2UL << 20) - 1));
		if (t->nr == 0 && demo_random_below(&t->random, 8) == 0)
			madvise(base, 2UL << 20, MADV_COLLAPSE);
		break;
	}
	atomic_inc(&d->remaps, 1);
}

static void counter_step(struct churn_thread *t)
{
	struct demo *d = t->d;

	for (unsigned int i = 0; i < COUNTER_STEPS; i++)
		for (unsigned int c = 0; c < DEMO_COUNTERS; c++)
			__atomic_fetch_add(d->counters[c], 1, __ATOMIC_RELAXED);
	atomic_inc(&d->counter_added, COUNTER_STEPS);
}

/* All but the window */
static void other_steps(struct churn_thread *t)
{
	heap_step(t);
	counter_step(t);
	/* Data in use is left alone for a while, or nobody could use it. */
	if (++t->turn % 2 == 0)
		remap_step(t);
	if (t->turn % 32 == t->nr % 32)
		malloc_trim(0);
}

/* ---------------------------------------------------------------- window */

struct window {
	struct churn_thread *t;
	unsigned int gpu;
	/* On the stack of the thread, and written by the GPUs */
	uint64_t fence[DEMO_MAX_GPUS];
	uint64_t value[DEMO_MAX_GPUS];
	uint64_t sum;
};

static bool window_job(struct window *w, const struct vsvm_job *job)
{
	struct demo *d = w->t->d;
	unsigned int gpu = w->gpu;
	int64_t left = d->timeout_ns;
	int ret;

	if (demo_exec(d, gpu, Q_CHURN + w->t->nr % 8, job, &w->fence[gpu], ++w->value[gpu]))
		return false;
	do {
		other_steps(w->t);
		left -= WAIT_SLICE_NS;
		ret = demo_wait(d, gpu, &w->fence[gpu], w->value[gpu], WAIT_SLICE_NS, left > 0);
	} while (ret == -ETIME && left > 0);
	return !ret;
}

/* A GPU's checksum of what the CPU sees there as well */
static void window_compare(struct window *w, const char *base, size_t len, uint64_t want,
			   const char *what)
{
	VSVM_JOB(job, 1);

	w->sum = ~want;
	vsvm_job_checksum(&job, &w->sum, base, len);
	if (window_job(w, &job))
		demo_check(w->t->d, CHECK_WINDOW, atomic_get(&w->sum), want, what, w->gpu);
}

static void *window_map(char *base, size_t len, int prot)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
	void *mem = mmap(base, len, prot, flags, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

static void window_step(struct window *w)
{
	VSVM_JOB(job, 1);
	struct churn_thread *t = w->t;
	struct demo *d = t->d;
	const uint64_t seed = demo_random(&t->random), add = demo_random(&t->random);
	size_t len = (1 + demo_random_below(&t->random, WINDOW_PAGES)) * d->page_size;
	char *base = t->window;
	uint64_t *words = (uint64_t *)base, bad = ~0ULL;

	w->gpu = demo_random_below(&t->random, d->num_gpus);
	if (!window_map(base, len, PROT_READ | PROT_WRITE))
		return;

	for (size_t i = 0; i < len / 8; i++)
		words[i] = seed + i;
	window_compare(w, base, len, vsvm_checksum(base, len), "fresh window, GPU");

	/* The GPU writes, the CPU reads */
	vsvm_job_add(&job, base, len, add);
	if (!window_job(w, &job))
		goto out;
	for (size_t i = 0; i < len / 8 && bad == ~0ULL; i++)
		if (words[i] != seed + add + i)
			bad = i;
	demo_check(d, CHECK_WINDOW, bad, ~0ULL, "first word that is not what the GPU wrote, GPU",
		   w->gpu);

	/* By another GPU, which may have had this address in other use, too */
	w->gpu = demo_random_below(&t->random, d->num_gpus);
	switch (demo_random_below(&t->random, 4)) {
	case 0:
		if (madvise(base, len, MADV_DONTNEED))
			break;
		demo_check(d, CHECK_WINDOW, words[len / 8 - 1], 0, "dropped window, CPU", 0);
		window_compare(w, base, len, vsvm_checksum(base, len), "dropped window, GPU");
		break;
	case 1:
		if (mprotect(base, len, PROT_READ))
			break;
		window_compare(w, base, len, vsvm_checksum(base, len), "read-only window, GPU");
		break;
	case 2:
		/* Without a hole in the old place, which somebody else might find */
		if (mremap(base, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
			   base + WINDOW_HALF) == MAP_FAILED)
			break;
		demo_check(d, CHECK_WINDOW, words[0], 0, "window after the move, CPU", 0);
		base += WINDOW_HALF;
		window_compare(w, base, len, vsvm_checksum(base, len), "moved window, GPU");
		break;
	case 3:
		/* Other memory in the place of the old */
		if (!window_map(base, len, PROT_READ | PROT_WRITE))
			break;
		vsvm_job_reset(&job);
		vsvm_job_fill(&job, base, len, seed);
		if (!window_job(w, &job))
			break;
		for (size_t i = 0; i < len / 8 && bad == ~0ULL; i++)
			if (words[i] != seed)
				bad = i;
		demo_check(d, CHECK_WINDOW, bad, ~0ULL,
			   "first word of the replaced window that was not filled, GPU", w->gpu);
		break;
	}
out:
	window_map(t->window, len, PROT_NONE);
	window_map(t->window + WINDOW_HALF, len, PROT_NONE);
	atomic_inc(&d->window_changes, 1);
}

static void *churn_main(void *arg)
{
	struct churn_thread *t = arg;
	struct demo *d = t->d;
	struct window window = { .t = t };

	while (!atomic_get(&d->stop))
		window_step(&window);
	/*
	 * Where a wait ran out of time, a job may still write to this stack: it
	 * stays until the VMs are gone.
	 */
	while (atomic_get(&d->fatal) && !atomic_get(&d->vms_gone))
		usleep(1000);
	return NULL;
}

/* NULL: no memory or no threads, with a message. */
struct demo_churn *demo_churn_start(struct demo *d)
{
	struct demo_churn *churn = calloc(1, sizeof(*churn));
	int ret = churn ? 0 : ENOMEM;

	if (churn)
		churn->d = d;
	for (unsigned int i = 0; !ret && i < d->num_threads; i++) {
		struct churn_thread *t = &churn->threads[i];

		t->d = d;
		t->nr = i;
		t->random = d->seed + i + 1;
		t->window = mmap(NULL, WINDOW_SIZE, PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (t->window == MAP_FAILED) {
			t->window = NULL;
			ret = errno;
			break;
		}
		ret = pthread_create(&t->thread, NULL, churn_main, t);
		t->started = !ret;
	}
	if (ret) {
		fprintf(stderr, "vsvm-demo: starting CPU threads: %s\n", strerror(ret));
		atomic_set(&d->fatal, true);
	}
	return churn;
}

void demo_churn_join(struct demo_churn *churn)
{
	if (!churn)
		return;
	atomic_set(&churn->d->stop, true);
	for (unsigned int i = 0; i < DEMO_MAX_THREADS; i++) {
		struct churn_thread *t = &churn->threads[i];

		if (t->started)
			pthread_join(t->thread, NULL);
		if (t->window)
			munmap(t->window, WINDOW_SIZE);
	}
	free(churn);
}
