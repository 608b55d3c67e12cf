/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * vsvm-torture: random operations of CPU threads and GPUs on one arena of memory,
 * where it is known at any time what each page must hold.
 *
 * The arena consists of areas of different kinds of memory. Each page of it has a
 * cell: owner, generation, value and a counter, which the page holds at its begin
 * and at its end, and the oracle beside. Who changes a cell owns it: an operation
 * locks the pages that it works on, and so it knows what they hold before, and is
 * the only one to say what they hold afterwards. Each page has two locks:
 *
 * - the content: shared by those who read, exclusive for those who write,
 * - the mapping: shared by all who rely on the page being there, which includes
 *   those who push its memory around without changing what it holds (move it, swap
 *   it, merge it...): these run at the same time as reads and writes do. Exclusive
 *   for those who unmap, protect or throw away.
 *
 * All locks of an operation are taken at once, in ascending order of the pages, then
 * come the GPUs in ascending order: nobody waits in a circle.
 *
 * What an operation does depends on the seed, the number of the thread and that of
 * the operation in it, and on nothing else: so a seed is a program for each thread,
 * and with one thread a failure is a matter of a list of numbers, which can be made
 * shorter.
 */
#ifndef _TORTURE_H_
#define _TORTURE_H_

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "libvsvm.h"

#define PAGE		4096UL
#define CHUNK		(2UL << 20)
#define CHUNK_PAGES	(CHUNK / PAGE)
#define MAX_GPUS	8U
#define MAX_THREADS	DRM_VSVM_MAX_QUEUES	/* each has a queue of its own */
#define MAX_SPAN	CHUNK_PAGES
#define JOURNAL		64U
#define JOB_LIMIT_NS	(180 * 1000000000LL)

/* ------------------------------------------------------------------ the arena */

/**
 * enum area_kind - Kinds of memory
 * @AREA_ANON: private, anonymous, in small pages at first
 * @AREA_HUGE: likewise, huge pages where there are some
 * @AREA_SHARED: shared memory
 * @AREA_FILE: a private mapping of a file, which has contents of its own
 */
enum area_kind {
	AREA_ANON,
	AREA_HUGE,
	AREA_SHARED,
	AREA_FILE,
	AREA_KINDS,
};

/** struct area - Memory of one kind, in one piece */
struct area {
	const char *name;
	enum area_kind kind;
	char *base;
	/* Pages are numbered through all areas. */
	unsigned int first, pages;
	int fd;
};

/**
 * enum cell_state - What is in a page
 * @CELL_ZERO: zeros
 * @CELL_BASE: what the file has there
 * @CELL_SET: what somebody wrote
 * @CELL_TWIN: likewise, but the same in many pages, so that they can be merged
 */
enum cell_state {
	CELL_ZERO,
	CELL_BASE,
	CELL_SET,
	CELL_TWIN,
};

/**
 * struct cell - The oracle: what a page must hold
 *
 * Protected by the content lock of the page.
 */
struct cell {
	uint32_t owner, generation;
	uint64_t value, count;
	uint8_t state;
	/* After MADV_FREE: it, or zeros */
	bool maybe_gone;
	/* Likewise for the counter alone, where the rest was written since then */
	bool maybe_count;
};

/** struct image - A cell as it stands in a page, twice */
struct image {
	uint64_t tag, value, where, check;
};

#define IMAGE_WORDS	(sizeof(struct image) / sizeof(uint64_t))
#define COUNT_OFFSET	64U
#define TAIL_OFFSET	(PAGE - sizeof(struct image))

/** struct span - Pages of one area */
struct span {
	const struct area *area;
	unsigned int first, n;
};

enum lock_mode {
	LOCK_NONE,
	LOCK_SHARED,
	LOCK_EXCLUSIVE,
};

/* ------------------------------------------------------------ GPUs, threads */

/** struct bound - A VM without mirrors, and an object to bind in it */
struct bound {
	pthread_mutex_t lock;
	struct vsvm_vm vm;
	uint32_t handle, out_handle;
	uint64_t *cpu, *out;
#define BOUND_PAGES	16U
#define BOUND_SLOTS	24U
	uint64_t value[BOUND_PAGES];
	int slot[BOUND_SLOTS];
};

/* Sums of what goes with a VM or a device */
struct totals {
	uint64_t jobs, jobs_failed, faults, merged, invalidations, retries, walks, maps;
	uint64_t migrations, migrations_failed, evictions, copies, copies_failed, gem_moves;
	uint64_t binds, violations;
};

enum presence {
	GPU_THERE,
	GPU_LEAVES,
	GPU_GONE,
};

/** struct gpu - A device with its VMs */
struct gpu {
	unsigned int nr, index;
	/* Shared by those who use the device, exclusive for another VM or device. */
	pthread_rwlock_t lock;
	/* enum presence: on its way out, ENODEV is no failure */
	int presence;
	/* How often it has come back; changed with the lock exclusive. */
	unsigned int returns;
	struct vsvm_device dev;
	struct vsvm_vm vm;
	uint32_t flags;
	struct bound bound;
	/* Records of jobs that failed are taken in any order. */
	pthread_mutex_t error_lock;
	struct drm_vsvm_error errors[256];
	unsigned int num_errors;
	pthread_mutex_t totals_lock;
	struct totals totals;
};

/** struct lane - What GPUs write to and read from for a thread; in shared memory */
struct lane {
	uint64_t fence[MAX_GPUS];
	uint64_t child_go;
	uint64_t child_ready;
	struct image staging[MAX_SPAN];
	struct seen {
		struct image head;
		uint64_t pad[4];
		uint64_t count;
		struct image tail;
	} seen[MAX_SPAN];
};

struct thread;

/** struct op - A kind of operation */
struct op {
	const char *name;
	/* 0: done; 1: refused by the kernel, as it may; 2: lost with a device or a VM */
	int (*fn)(struct thread *t, const struct op *op);
	/* How often, compared with others */
	unsigned int weight;
	/* It must have been done so often in each run */
	unsigned int min;
	/* For the function: an advice, and for which kinds of memory */
	int arg;
	unsigned int kinds;
};

#define OP_DONE		0
#define OP_REFUSED	1
#define OP_LOST		2

#define MAX_OPS		64U

struct op_stats {
	uint64_t done, refused, lost;
};

/** struct journal - What a thread did last */
struct journal {
	uint64_t seq, nr;
	const struct op *op;
	struct span span;
	int gpu, result;
};

/** struct thread - A thread that performs operations */
struct thread {
	struct torture *tt;
	pthread_t thread;
	unsigned int nr;
	bool started;
	/* Number of the operation, and what its decisions come from */
	uint64_t at, random;
	/* What the operation counts for */
	unsigned int steps;
	struct lane *lane;
	uint64_t value[MAX_GPUS];
	uint64_t job_id[MAX_GPUS];
	char *window;
	int uffd;
	struct drm_vsvm_instr *instrs;
	struct op_stats stats[MAX_OPS];
	struct journal journal[JOURNAL];
	uint64_t waits, starved;
};

/** struct torture - The run */
struct torture {
	/* What was asked for */
	uint64_t seed, ops;
	unsigned int num_threads, num_gpus, seconds, vram_mib, hives, broken;
	uint64_t plant, suppress;
	bool quiet, shrink, show;
	const char *only;

	struct area areas[AREA_KINDS];
	unsigned int pages;
	struct cell *cells;
	int16_t *content_lock, *map_lock;
	char *base;
	size_t size;

	struct gpu gpus[MAX_GPUS];
	struct thread threads[MAX_THREADS];
	/* Operations of one thread to perform, all others are left out; or NULL */
	uint64_t *list;
	size_t list_len;

	/* One at a time: which device is where in the list changes. */
	pthread_mutex_t plug_lock;
	uint64_t seq;
	bool stop, failed, late;
	unsigned int nodes;
	uint64_t walker_runs, walker_reports, starved;
};

#define atomic_get(ptr)		__atomic_load_n(ptr, __ATOMIC_ACQUIRE)
#define atomic_set(ptr, val)	__atomic_store_n(ptr, val, __ATOMIC_RELEASE)
#define atomic_inc(ptr, by)	__atomic_fetch_add(ptr, by, __ATOMIC_RELAXED)

/* vsvm-torture.c */
__attribute__((format(printf, 2, 3)))
void torture_fail(struct thread *t, const char *format, ...);
uint64_t torture_mix(uint64_t x);
uint64_t torture_random(struct thread *t);
unsigned int torture_below(struct thread *t, unsigned int limit);
int torture_write_text(const char *path, const char *text);
int torture_write_number(const char *path, uint64_t value);
uint64_t torture_read_number(const char *path, uint64_t otherwise);

/* torture_arena.c */
int arena_create(struct torture *tt);
void arena_destroy(struct torture *tt);
int arena_map(const struct span *span);
char *page_addr(const struct torture *tt, unsigned int page);
char *span_addr(const struct span *span);
size_t span_size(const struct span *span);
struct span span_pick(struct thread *t, unsigned int kinds, unsigned int max);
void span_lock(struct thread *t, const struct span *span, enum lock_mode map,
	       enum lock_mode content);
void span_unlock(struct thread *t, const struct span *span, enum lock_mode map,
		 enum lock_mode content);
void cell_image(const struct torture *tt, unsigned int page, const struct cell *cell,
		struct image *image);
void cell_renew(struct thread *t, unsigned int page, struct cell *cell);
void cell_written(struct thread *t, unsigned int page, const struct cell *renewed);
void cell_counted(struct thread *t, unsigned int page, uint64_t count);
void cell_reset(struct torture *tt, unsigned int page);
bool cell_check(struct thread *t, unsigned int page, const struct image *head,
		const struct image *tail, uint64_t count, const char *who);
bool span_check_cpu(struct thread *t, const struct span *span, const char *at, const char *who);
void cell_write_cpu(struct thread *t, unsigned int page, char *at);
bool cell_resolve(struct thread *t, unsigned int page);
bool span_mend(struct thread *t, const struct span *span, const struct cell *renewed,
	       const char *who);

/* torture_gpu.c */
int gpus_create(struct torture *tt);
int gpus_destroy(struct torture *tt);
void gpu_begin(struct gpu *gpu);
void gpu_begin_alone(struct gpu *gpu);
void gpu_end(struct gpu *gpu);
int gpu_vm_create(struct torture *tt, struct gpu *gpu, uint64_t random);
int gpu_vm_destroy(struct torture *tt, struct gpu *gpu);
int gpu_open(struct torture *tt, struct gpu *gpu);
void gpu_account(struct gpu *gpu, bool device);
struct gpu *gpu_pick(struct thread *t);
int job_start(struct thread *t, struct gpu *gpu, const struct vsvm_job *job);
int job_finish(struct thread *t, struct gpu *gpu, struct drm_vsvm_error *error);
int job_run(struct thread *t, struct gpu *gpu, const struct vsvm_job *job,
	    struct drm_vsvm_error *error);
void job_read_page(struct thread *t, struct vsvm_job *job, unsigned int slot, char *at);
void job_write_page(struct thread *t, struct vsvm_job *job, unsigned int slot,
		    unsigned int page, const struct cell *cell, char *at);
void job_read(struct thread *t, struct vsvm_job *job, const struct span *span, char *at);
void job_write(struct thread *t, struct vsvm_job *job, const struct span *span,
	       const struct cell *cells, char *at);
bool seen_check(struct thread *t, unsigned int slot, unsigned int page, const char *who);
int span_check_gpu(struct thread *t, struct gpu *gpu, const struct span *span, char *at,
		   const char *who);
bool gpu_excused(struct gpu *gpu, int ret);
void walker_run(struct torture *tt, struct thread *t);

/* torture_data.c, torture_program.c, torture_mm.c, torture_device.c: the operations */
extern const struct op ops_data[], ops_program[], ops_mm[], ops_device[];
extern const unsigned int num_ops_data, num_ops_program, num_ops_mm, num_ops_device;
const struct op *op_get(unsigned int nr);
unsigned int num_ops(void);
int op_gone(struct thread *t, struct gpu *gpu, int ret, const char *what);
void op_note(struct thread *t, const struct span *span, const struct gpu *gpu);

/* torture_report.c */
void report_journal(struct torture *tt);
bool report_table(struct torture *tt, double seconds);
int shrink(struct torture *tt, char **argv);
int list_read(struct torture *tt);

#endif /* _TORTURE_H_ */
