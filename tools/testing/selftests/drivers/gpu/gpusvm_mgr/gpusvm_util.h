/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the selftests of drm_gpusvm_mgr share: a set of devices with a VM each,
 * memory whose VMA has no neighbours, jobs that run to their end, counters.
 *
 * Nothing here knows the test harness: calls return 0 or a negative errno.
 */
#ifndef _GPUSVM_UTIL_H_
#define _GPUSVM_UTIL_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libvsvm.h"

#define KIB			1024UL
#define MIB			(1024UL * KIB)
#define GIB			(1024UL * MIB)
/* The largest piece that the manager makes a range of, and a THP on x86 */
#define CHUNK			(2 * MIB)

#define MAX_GPUS		16
#define WORDS(bytes)		((bytes) / sizeof(uint64_t))

/* No job of a test is that long: who waits longer waits for nothing. */
#define GPU_TIMEOUT_NS		(150 * 1000000000LL)

/**
 * struct gpu - A device, opened, with one VM
 * @dev: the device
 * @vm: its VM; vm.id is 0 where there is none
 * @value: per queue, the last fence value used by gpu_start()
 * @fence: per queue, the fence of gpu_start()
 * @result: where helpers let the device put what it found
 */
struct gpu {
	struct vsvm_device dev;
	struct vsvm_vm vm;
	uint64_t value[DRM_VSVM_MAX_QUEUES];
	uint64_t fence[DRM_VSVM_MAX_QUEUES];
	uint64_t result[512];
};

/**
 * struct gpus - A set of devices
 * @n: how many
 * @violations: what their counters said at first, summed up
 * @gpu: the devices
 *
 * Lives in memory of its own (see buf_alloc()), which each VM has written
 * once before gpus_open() returns: neither fences nor results fault later,
 * and so they do not disturb the counters.
 */
struct gpus {
	unsigned int n;
	uint64_t violations;
	struct gpu gpu[];
};

/* -ENODEV: there are fewer than @n devices. */
int gpus_open(struct gpus **gpus, unsigned int n, uint32_t flags);
/*
 * Lets the walker look at the manager of this process: -EUCLEAN where an
 * invariant does not hold (the kernel's log says which), -ENOENT where there is
 * no debugfs.
 */
int gpus_validate(void);
/* Validates, then closes. Returns the first error met; NULL is fine. */
int gpus_close(struct gpus *gpus);
/* Violations counted on these devices since gpus_open(), or a negative errno. */
int64_t gpus_violations(const struct gpus *gpus);
/* One counter, a member of struct drm_vsvm_stats_data, summed over the VMs. */
#define gpus_sum(gpus, member) \
	gpus_sum_at(gpus, offsetof(struct drm_vsvm_stats_data, member))
uint64_t gpus_sum_at(const struct gpus *gpus, size_t offset);
/*
 * Sees to it that there are @n devices at least, in @hives hives (device i in
 * hive i modulo @hives), with @vram_mib MiB of memory each: pulls all of them out
 * and puts them in again where that is not so. None of them is open. -ENODEV:
 * there are fewer; -ENOENT: no debugfs.
 */
int topology(unsigned int n, unsigned int hives, unsigned int vram_mib);
/* Sets a parameter of the arbiter, for all managers. */
int arbiter_param(const char *name, uint64_t value);
/* Sets a parameter of the devices' driver, for all devices. */
int device_param(const char *name, uint64_t value);
/* A file of the device in debugfs. */
int gpu_knob(const struct gpu *gpu, const char *name, uint64_t value);
/* A counter of one VM, a member of struct drm_vsvm_stats_data. */
#define gpu_stat(gpu, member) \
	gpu_stat_at(gpu, offsetof(struct drm_vsvm_stats_data, member))
uint64_t gpu_stat_at(const struct gpu *gpu, size_t offset);
/* All VMs migrate, because GPUSVM_MIGRATE=1 is in the environment. */
bool migrating(void);
/*
 * Flag of the back end that all VMs are to have, because GPUSVM_BACKEND names one
 * that is there for comparison: upstream or two_pass.
 */
uint32_t backend(void);
/* There is none: the manager serves them, and what it counts can be tested. */
bool managed(void);
/* Opens one more VM (and its own file) on device @nr. */
int gpu_open(struct gpu *gpu, unsigned int nr, uint32_t flags);
int gpu_close(struct gpu *gpu);
/* Lets the device write its fences and results, so that they are mapped. */
int gpu_warm(struct gpu *gpu);

/* Each runs one job to its end: 0, -EIO where the job failed, or an errno. */
int gpu_fill(struct gpu *gpu, volatile void *dst, size_t len, uint64_t value);
int gpu_copy(struct gpu *gpu, volatile void *dst, const volatile void *src, size_t len);
int gpu_add(struct gpu *gpu, volatile void *dst, size_t len, uint64_t value);
int gpu_atomic_add(struct gpu *gpu, volatile void *dst, uint64_t value, uint64_t times);
int gpu_checksum(struct gpu *gpu, const volatile void *src, size_t len, uint64_t *sum);
int gpu_read64(struct gpu *gpu, const volatile void *src, uint64_t *value);
int gpu_write64(struct gpu *gpu, volatile void *dst, uint64_t value);
/* Reads (or adds 1 to) one word at each multiple of @stride below @len. */
int gpu_read_each(struct gpu *gpu, const volatile void *base, size_t len, size_t stride);
int gpu_add_each(struct gpu *gpu, volatile void *base, size_t len, size_t stride);
int gpu_run(struct gpu *gpu, const struct vsvm_job *job);
/* Prints (and takes) the error records of a job that should not have failed. */
void gpu_explain(struct gpu *gpu);

/* Submit without waiting, then wait for all that was submitted to a queue. */
int gpu_start(struct gpu *gpu, unsigned int queue, const struct vsvm_job *job);
int gpu_finish(struct gpu *gpu, unsigned int queue);
int gpu_finish_in(struct gpu *gpu, unsigned int queue, int64_t timeout_ns);
/* A job that goes on for hours unless somebody ends it; counts at @word. */
int gpu_start_endless(struct gpu *gpu, unsigned int queue, volatile uint64_t *word);
/* Waits until *@word is no longer @old; false: it took too long. */
bool word_changes(const volatile uint64_t *word, uint64_t old);

/* Runs @fn(gpu, arg) in a thread for each device at once; first error. */
int gpus_parallel(struct gpus *gpus, int (*fn)(struct gpu *gpu, unsigned int i, void *arg),
		  void *arg);

/*
 * Memory in a VMA that merges with no other: no access is possible for 2 MiB
 * before and behind it. Aligned to 2 MiB. NULL: errno says why.
 */
void *buf_alloc(size_t size);
void *buf_map(size_t size, int prot, int flags, int fd);
void buf_free(void *buf, size_t size);

/* The word that belongs at place @i of the data named @seed. */
uint64_t pattern(uint64_t seed, size_t i);
void buf_init(void *buf, size_t size, uint64_t seed);
/* Place of the first word that is not pattern() + @add, or -1. */
ssize_t buf_check(const void *buf, size_t size, uint64_t seed, uint64_t add);
/* Place of the first word that is not @value, or -1. */
ssize_t buf_check_value(const void *buf, size_t size, uint64_t value);

/* xorshift64*; @state must not be 0 */
uint64_t rnd(uint64_t *state);

size_t page_size(void);
/* A file in memory of that size, filled with pattern(@seed), or an errno. */
int tmp_file(size_t size, uint64_t seed);
int file_fill(int fd, size_t size, uint64_t seed);
/* Entry of /proc/self/pagemap; 0 where it cannot be read. */
uint64_t pagemap_entry(const volatile void *addr);
#define PAGEMAP_PRESENT		(1ULL << 63)
#define PAGEMAP_SWAPPED		(1ULL << 62)
#define PAGEMAP_GUARD		(1ULL << 58)
#define PAGEMAP_SWAP_TYPE(entry) ((entry) & 31)
#define PAGEMAP_PFN(entry)	((entry) & ((1ULL << 55) - 1))
/* Pages that exist, but not where the CPU could touch them: on a device, swap. */
size_t pages_away(const volatile void *buf, size_t size);
/* A line of the VMA of @addr in /proc/self/smaps, in KiB, or -1. */
long smaps_kib(const volatile void *addr, const char *name);
bool swap_available(void);
bool thp_available(void);
/* Reclaims the pages; number of pages that are no longer in memory. */
size_t page_out(void *buf, size_t size);
/*
 * Lets each CPU do what it has put off: a page after MADV_FREE may be an
 * ordinary one until then, which reclaim swaps out rather than drops.
 */
void lru_drain(void);
/*
 * Number of pages that are in memory, clean, with a copy on swap: those that
 * reclaim may drop. None of them where the swap device is synchronous (zram, a
 * ram disk), since swap-in gives up the slot there.
 */
size_t clean_above_swap(const void *buf, size_t size);
/* Swaps out, then in by reads of the CPU: number of pages that are like that. */
size_t swap_in_clean(void *buf, size_t size);
int write_text(const char *path, const char *text);
int read_number(const char *path, uint64_t *value);
/* A counter of /proc/vmstat, 0 where there is none. */
uint64_t vm_counter(const char *name);
/* Pages that are in memory and have one of these flags, as /proc/kpageflags has them. */
size_t pages_flagged(const char *buf, size_t size, uint64_t mask);

/*
 * Leaves out one step of the manager's protocol, for all managers, until it is
 * called with BREAK_NOTHING. Numbers as in enum gpusvm_mgr_step of the library,
 * which has them only in kernels for tests: -ENOENT elsewhere.
 */
#define BREAK_NOTHING	0
#define BREAK_DIRTY	10
#define BREAK_SHARE	14
#define BREAK_QUIESCE	19
#define BREAK_UNMAP	20
int break_step(unsigned int step);

/**
 * struct dbg - What the driver of a device says by drm_dbg()
 * @err: why none of it can be had, or 0
 * @kmsg: the kernel's log, behind what was in it at first
 * @before: messages of DRM that were on before
 * @device: what its lines have in them, and those of no other device
 * @record: of the log, the last one that was read
 */
struct dbg {
	int err;
	int kmsg;
	uint64_t before;
	char device[160];
	char record[4096];
};

/*
 * Switches these messages on, for no longer than needed: lines that nobody looks for push
 * those out of the log that somebody will. Returns @err of struct dbg; where it is not 0
 * the other calls do nothing.
 */
int dbg_begin(struct dbg *dbg, const struct vsvm_device *dev);
int dbg_switch(struct dbg *dbg, bool on);
/* The next line of the device since dbg_begin(); NULL: none has come for a second. */
const char *dbg_line(struct dbg *dbg);
/* Puts back what was on before. */
void dbg_end(struct dbg *dbg);
/*
 * Is something named in that line, as a word? @what is what is looked for, or C code that
 * sets members of structures ("args.start += 8, args.size = 0"): one of them will do.
 */
bool dbg_names(const char *line, const char *what);
/* What refused() does behind the call, which has returned @ret. */
int dbg_refused(struct dbg *dbg, const char *what, int ret);

/*
 * Makes a call that is to be refused by the driver of a device, for what is wrong with its
 * arguments. Evaluates to what it returns; to -ENOMSG where it is refused, and no line says
 * that it was for @what, see dbg_names(). NULL: no line is looked for, as there is none. Where
 * no messages can be had a comment says so, and that is all.
 */
#define refused(dev, what, call)						\
({										\
	struct dbg dbg__;							\
	int ret__;								\
										\
	dbg_begin(&dbg__, (dev));						\
	ret__ = (call);								\
	dbg_refused(&dbg__, (what), ret__);					\
})

/*
 * Counts HMM walks without the library's help, by a kprobe. walks_begin()
 * -ENOENT: this kernel has no tracefs or no kprobes.
 */
int walks_begin(void);
int64_t walks_count(void);
void walks_end(void);

#endif /* _GPUSVM_UTIL_H_ */
