/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * vsvm-bench: what its parts share
 *
 *	vsvm-bench.c		options, and each case in processes of its own
 *	bench_util.c		devices, memory, time
 *	bench_report.c		samples, tables, JSON
 *	bench_invalidate.c	how long an invalidation takes, and what it holds
 *	bench_fault.c		faults: of further devices, under churn, at once, in bursts
 *	bench_cpu.c		what the CPU notices
 *	bench_scale.c		many ranges
 *	bench_migrate.c		device memory
 */

#ifndef _VSVM_BENCH_H_
#define _VSVM_BENCH_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libvsvm.h"

#define KIB			1024UL
#define MIB			(1024UL * KIB)
/* The largest range, and a huge page of x86. */
#define CHUNK			(2 * MIB)
#define BENCH_MAX_GPUS		16

#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))

/* Who shares the process's address space with a VM. */
enum bench_backend {
	BENCH_UPSTREAM,
	BENCH_TWO_PASS,
	BENCH_MANAGER,
	BENCH_BACKENDS,
};

extern const char * const bench_backend_names[BENCH_BACKENDS];

/* What a number is. */
enum bench_unit {
	UNIT_NS,	/* time; with --icount instructions, and latencies waited for */
	UNIT_COUNT,
	UNIT_BYTES,
	UNIT_RATE,	/* per second */
	UNIT_MIB_S,
	UNIT_RATIO,
	BENCH_UNITS,
};

/**
 * struct bench_gpu - A device with a VM
 * @dev: the device
 * @vm: its VM
 * @result: where jobs put what they read
 * @value: last fence value, per queue
 * @fence: the fence, per queue
 */
struct bench_gpu {
	struct vsvm_device dev;
	struct vsvm_vm vm;
	uint64_t result[512];
	uint64_t value[DRM_VSVM_MAX_QUEUES];
	uint64_t fence[DRM_VSVM_MAX_QUEUES];
};

/**
 * struct bench - One run of a case, in a process of its own
 * @backend: whom to measure
 * @n: number of devices
 * @smoke: as little as shows that it works
 * @icount: one instruction is one nanosecond, and there is one CPU
 * @first: the first repetition
 * @flags: more flags for the VMs
 * @gpus: the devices, after bench_open()
 * @violations: what their counters said at first
 */
struct bench {
	enum bench_backend backend;
	unsigned int n;
	bool smoke;
	bool icount;
	bool first;
	uint32_t flags;
	struct bench_gpu *gpus;
	uint64_t violations;
};

/**
 * struct bench_case - A case
 * @name: for --cases and in the results
 * @what: one line
 * @icount: measured with --icount, else without
 * @any: measured in both
 * @devices: numbers of devices, up to a 0
 * @run: measures; calls bench_fail() where anything is wrong
 */
struct bench_case {
	const char *name;
	const char *what;
	bool icount;
	bool any;
	unsigned int devices[8];
	void (*run)(struct bench *b);
};

/* bench_invalidate.c */
void bench_invalidate(struct bench *b);
void bench_hold(struct bench *b);
/* bench_fault.c */
void bench_share(struct bench *b);
void bench_churn(struct bench *b);
void bench_concurrent(struct bench *b);
void bench_batch(struct bench *b);
/* bench_cpu.c */
void bench_cpu(struct bench *b);
/* bench_scale.c */
void bench_scale(struct bench *b);
void bench_memory(struct bench *b);
/* bench_migrate.c */
void bench_migrate(struct bench *b);

/* bench_util.c */

/* Exit status of a process that bench_skip() ended. */
#define BENCH_SKIPPED	4

/* Ends the process; the run counts as failed. */
void bench_fail(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));
/* Likewise, but nothing is wrong: it cannot be measured here. */
void bench_skip(const char *reason) __attribute__((noreturn));
#define bench_check(cond) \
	((cond) ? (void)0 : bench_fail("%s:%d: not so: %s", __FILE__, __LINE__, #cond))
/* @err is 0 or a negative errno. */
#define bench_ok(call)								\
	do {									\
		int err__ = (call);						\
										\
		if (err__)							\
			bench_fail("%s:%d: %s: %s", __FILE__, __LINE__, #call,	\
				   strerror(-err__));				\
	} while (0)

uint64_t bench_now(void);
/* The time that this thread was at work, and what interrupted it. */
uint64_t bench_own(void);
/* Makes room for @n devices, where that shall not happen in bench_open(). */
void bench_prepare(struct bench *b, unsigned int n);
/* Opens @n devices with a VM each, whose fences and results are mapped. */
void bench_open(struct bench *b, unsigned int n);
/* Closes them, after a look at their violations. */
void bench_close(struct bench *b);
/*
 * Lets the first @n devices be in so many hives: those of one reach each other's
 * memory. They are not open.
 */
void bench_hives(unsigned int n, unsigned int hives);
void bench_flush_latency(struct bench *b, unsigned int us);
/* After a run that has failed: so that the next one finds devices as they are usually. */
void bench_restore(unsigned int n);
/* A job of one read of a word, to its end; returns what was read. */
uint64_t bench_read(struct bench_gpu *gpu, const volatile void *at);
void bench_write(struct bench_gpu *gpu, volatile void *at, uint64_t value);
/* Reads a word at each @stride; the jobs have 256 reads each. */
void bench_read_each(struct bench_gpu *gpu, const volatile void *buf, size_t size,
		     size_t stride);
void bench_submit(struct bench_gpu *gpu, unsigned int queue, const struct vsvm_job *job);
void bench_finish(struct bench_gpu *gpu, unsigned int queue);
/* One counter, a member of struct drm_vsvm_stats_data, summed over the devices. */
#define bench_sum(b, member) \
	bench_sum_at(b, offsetof(struct drm_vsvm_stats_data, member))
uint64_t bench_sum_at(struct bench *b, size_t offset);
/* A counter that is the manager's, so that each VM has the same. */
#define bench_mgr(b, member) \
	bench_mgr_at(b, offsetof(struct drm_vsvm_stats_data, member))
uint64_t bench_mgr_at(struct bench *b, size_t offset);

/*
 * Memory in a VMA without neighbours, aligned to 2 MiB. BENCH_THP: in huge pages
 * where there are any; else pages are small.
 */
enum bench_kind {
	BENCH_4K,
	BENCH_THP,
	BENCH_FILE,
	BENCH_KINDS,
};

extern const char * const bench_kind_names[BENCH_KINDS];
void *bench_alloc(size_t size, enum bench_kind kind);
/* Other memory in the place of what was there. */
void bench_renew(void *buf, size_t size, enum bench_kind kind);
/* Address space without memory. */
void *bench_reserve(size_t size, size_t align);
/* The place stays reserved. */
void bench_free(void *buf, size_t size);
/* Writes bench_word() to the first word of each 4 KiB. */
void bench_fill(void *buf, size_t size, uint64_t seed);
uint64_t bench_word(uint64_t seed, size_t at);
/* How much of the VMA of @buf is in huge pages. */
size_t bench_huge_kib(const void *buf);

/* bench_report.c */

/*
 * A sample. @format and what follows says of what within the case, "latency=20
 * op=munmap" for example.
 */
void bench_sample(struct bench *b, enum bench_unit unit, double value, const char *metric,
		  const char *format, ...) __attribute__((format(printf, 5, 6)));
int bench_samples_init(void);
void bench_samples_case(const char *name);
void bench_print_case(const char *name);
/*
 * All samples so far. @complete: there will be no more. A file is replaced; a device, a
 * serial port for example, gets one object with each call; all else, a pipe or a link,
 * only the complete one. Returns -1 on an error, with errno.
 */
int bench_write_json(const char *path, bool icount, unsigned int reps, bool complete);

#endif /* _VSVM_BENCH_H_ */
