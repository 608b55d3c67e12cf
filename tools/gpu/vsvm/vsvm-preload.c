// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-preload: all GPUs, on a program that does not know of them
 *
 *	LD_PRELOAD=/usr/bin/vsvm-preload.so VSVM_PRELOAD_REPORT=/tmp/report program...
 *
 * A thread of its own has devices read the program's memory, move it about and say
 * things about it, until the program ends, also in what it forks and executes. What
 * the program does must be the same as without. Settings, all of them optional:
 *
 *	VSVM_PRELOAD_REPORT	a file, absolute, that gets a line for each process; or
 *				- for a line on standard error when a process exits
 *	VSVM_PRELOAD_SEED	of all that is done at random (1)
 *	VSVM_PRELOAD_RATE	rounds in a second at most (200), 0: no limit
 *	VSVM_PRELOAD_LEAST	rounds that a process has had before it exits (20)
 *	VSVM_PRELOAD_FLIP	1: turns over bits of the program's, to see that it is found
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"

/* A line of the report: always as long, and a part of a page. */
#define RECORD		512
#define STACK		(1 << 20)
/* An exit waits for the thread no longer, in ms. */
#define EXIT_LIMIT	240000

static struct preload preload;

/* ------------------------------------------------------------------ chance */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

uint64_t preload_below(struct preload *pl, uint64_t limit)
{
	pl->random += 0x9e3779b97f4a7c15ULL;
	return limit ? mix(pl->random) % limit : 0;
}

void preload_wrong(struct preload *pl, const char *why, int error)
{
	if (!pl->counts.wrong++) {
		pl->why = why;
		pl->why_error = error;
	}
}

/* ------------------------------------------------------------- descriptors */

/* Takes a descriptor to where the program will not look for a number. */
static int held_take(struct held *held, int fd)
{
	struct rlimit limit = { .rlim_cur = 256 };
	struct stat st;
	int high;

	held->fd = -1;
	if (fd < 0)
		return -errno;
	getrlimit(RLIMIT_NOFILE, &limit);
	/* The kernel's table is as long as the highest number. */
	high = limit.rlim_cur > 1024 ? 1024 : (int)limit.rlim_cur;
	high = high > 128 ? high - 64 : high / 2;
	held->fd = fcntl(fd, F_DUPFD_CLOEXEC, high);
	close(fd);
	if (held->fd < 0)
		return -errno;
	if (fstat(held->fd, &st)) {
		close(held->fd);
		held->fd = -1;
		return -errno;
	}
	held->dev = st.st_dev;
	held->ino = st.st_ino;
	return 0;
}

/* Is it still what it was? */
static bool held_check(const struct held *held)
{
	struct stat st;

	return held->fd >= 0 && !fstat(held->fd, &st) && st.st_dev == held->dev &&
	       st.st_ino == held->ino;
}

static void held_close(struct held *held)
{
	if (held_check(held))
		close(held->fd);
	held->fd = -1;
}

/* ------------------------------------------------------------------ report */

static int record_format(struct preload *pl, char *line)
{
	const struct counts *c = &pl->counts;
	uint64_t faults = 0, invalidations = 0, moves = 0, device_bytes = 0;
	int len;

	for (unsigned int i = 0; i < pl->num_gpus; i++) {
		const struct drm_vsvm_stats_data *s = &pl->gpus[i].stats;
		const uint64_t m = s->mgr_migrations + s->mgr_prefetches + s->mgr_moves_back;

		faults += s->faults;
		invalidations += s->invalidations;
		device_bytes += s->bytes_read;
		/* They are of the manager; who was read last knows most. */
		moves = m > moves ? m : moves;
	}
	len = snprintf(line, RECORD,
		       "pid=%d state=%s gpus=%u seed=%" PRIu64 " rounds=%" PRIu64
		       " faults=%" PRIu64 " invalidations=%" PRIu64 " moves=%" PRIu64
		       " reads=%" PRIu64 " bytes=%" PRIu64 " device_bytes=%" PRIu64
		       " prefetches=%" PRIu64 " writes=%" PRIu64 " attrs=%" PRIu64
		       " binds=%" PRIu64 " refused=%" PRIu64 " flips=%" PRIu64
		       " wrong=%" PRIu64 " why=%s: %d",
		       pl->pid, pl->state, pl->num_gpus, pl->seed, c->rounds, faults,
		       invalidations, moves, c->reads, c->bytes, device_bytes, c->moves,
		       c->writes, c->attrs, c->binds, c->refused, c->flips, c->wrong,
		       pl->why ? pl->why : "none", pl->why_error);
	if (len >= RECORD)
		len = RECORD - 1;
	return len;
}

static void record_write(struct preload *pl)
{
	char line[RECORD];
	int len;

	if (!pl->record)
		return;
	len = record_format(pl, line);
	memset(line + len, ' ', RECORD - len);
	line[RECORD - 1] = '\n';
	memcpy(pl->record, line, RECORD);
}

/*
 * A place in the file, for this process alone. It is mapped, so that no descriptor is
 * needed to write to it: the program may close those.
 */
static void record_open(struct preload *pl)
{
	char line[RECORD], *map;
	off_t at;
	int fd;

	pl->record = NULL;
	pl->record_nr = 0;
	if (!pl->report[0] || !strcmp(pl->report, "-"))
		return;
	fd = open(pl->report, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		return;
	memset(line, ' ', RECORD);
	line[RECORD - 1] = '\n';
	if (write(fd, line, RECORD) == RECORD) {
		at = lseek(fd, 0, SEEK_CUR) - RECORD;
		map = MAP_FAILED;
		/* Behind something else it might not be within one page. */
		if (at >= 0 && !(at % RECORD))
			map = mmap(NULL, pl->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				   at / pl->page * pl->page);
		if (map != MAP_FAILED) {
			pl->record = map + at % pl->page;
			pl->record_nr = at / RECORD;
		}
	}
	close(fd);
}

static void record_close(struct preload *pl)
{
	if (pl->record)
		munmap(pl->record - pl->record_nr * RECORD % pl->page, pl->page);
	pl->record = NULL;
}

/* ----------------------------------------------------------------- devices */

/* As vsvm_open_minor() does, but that allocates; what it looks at was looked at. */
static int gpu_open(struct preload *pl, struct gpu *gpu)
{
	uint32_t flags = DRM_VSVM_VM_MIRROR;
	char path[32];
	int ret;

	snprintf(path, sizeof(path), "/dev/dri/renderD%u", gpu->minor);
	ret = held_take(&gpu->file, open(path, O_RDWR | O_CLOEXEC));
	if (ret)
		return ret;
	gpu->dev.fd = gpu->file.fd;
	gpu->dev.minor = gpu->minor;
	ret = vsvm_query(&gpu->dev, &gpu->dev.info);
	if (ret)
		goto close;
	/* The first one moves data in any case. */
	if (gpu->dev.info.vram_size && (gpu == pl->gpus || preload_below(pl, 4)))
		flags |= DRM_VSVM_VM_MIGRATE;
	if (!preload_below(pl, 4))
		flags |= DRM_VSVM_VM_EAGER;
	ret = vsvm_vm_create(&gpu->dev, flags, gpu->vm);
	if (!ret)
		ret = ops_prepare(pl, gpu);
	if (!ret)
		return 0;
close:
	held_close(&gpu->file);
	return ret;
}

static void gpus_open(struct preload *pl)
{
	for (unsigned int i = 0; i < pl->num_gpus; i++) {
		struct gpu *gpu = &pl->gpus[i];
		int ret;

		memset(&gpu->stats, 0, sizeof(gpu->stats));
		ret = gpu_open(pl, gpu);
		gpu->gone = ret != 0;
		/* No descriptor, no memory, no permission: that is the program's doing. */
		if (ret && ret != -EMFILE && ret != -ENFILE && ret != -EINVAL && ret != -ENOMEM &&
		    ret != -EACCES)
			preload_wrong(pl, "a device cannot be used", -ret);
	}
}

/* Returns whether there is any left. */
static bool gpus_look(struct preload *pl)
{
	bool any = false;

	for (unsigned int i = 0; i < pl->num_gpus; i++) {
		struct gpu *gpu = &pl->gpus[i];
		struct drm_vsvm_stats_data stats;

		if (gpu->gone)
			continue;
		if (!held_check(&gpu->file) || vsvm_stats(gpu->vm, &stats)) {
			gpu->gone = true;
			continue;
		}
		gpu->stats = stats;
		any = true;
	}
	return any;
}

/* ------------------------------------------------------------------ thread */

/*
 * Where the first thread of a process has ended by itself, the process does when the
 * last one has. That one should not be ours.
 */
static bool alone(struct preload *pl)
{
	char text[512], *at;
	ssize_t len;

	if (!held_check(&pl->stat_file))
		return false;
	len = pread(pl->stat_file.fd, text, sizeof(text) - 1, 0);
	if (len <= 0)
		return false;
	text[len] = '\0';
	at = strrchr(text, ')');
	if (!at || strlen(at) < 3 || at[2] != 'Z')
		return false;
	/* From the state, field 3, to the number of threads, field 20 */
	at += 2;
	for (unsigned int i = 0; i < 17 && at; i++)
		at = strchr(at + 1, ' ');
	return at && strtoul(at, NULL, 10) <= 2;
}

static void *thread_main(void *arg)
{
	struct preload *pl = arg;
	struct timespec pause = { 0 };

	if (pl->rate == 1)
		pause.tv_sec = 1;
	else if (pl->rate)
		pause.tv_nsec = 1000000000L / pl->rate;
	while (!__atomic_load_n(&pl->stop, __ATOMIC_ACQUIRE)) {
		/* Before anything is said to a descriptor: whose is it? */
		if (!gpus_look(pl)) {
			pl->state = "closed";
			break;
		}
		ops_round(pl);
		record_write(pl);
		if (alone(pl)) {
			pl->state = "alone";
			break;
		}
		if (pl->rate)
			nanosleep(&pause, NULL);
	}
	if (!gpus_look(pl) && !strcmp(pl->state, "running"))
		pl->state = "closed";
	record_write(pl);
	__atomic_store_n(&pl->stopped, true, __ATOMIC_RELEASE);
	return NULL;
}

static void start(struct preload *pl)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int ret;

	pl->pid = getpid();
	pl->state = "running";
	record_open(pl);
	/* Each process does something else, but the same again in the next run. */
	pl->random = mix(pl->seed + pl->record_nr);
	if (!pl->num_gpus || arena_create(pl)) {
		pl->state = pl->num_gpus ? "no-memory" : "no-device";
		record_write(pl);
		return;
	}
	held_take(&pl->maps_file, open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
	held_take(&pl->stat_file, open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
	gpus_open(pl);

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&thread, &attr, thread_main, pl);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	pl->running = !ret;
	if (ret)
		pl->state = "no-thread";
	record_write(pl);
}

/* --------------------------------------------------------------- life time */

/* The descriptors are the parent's files, and its VMs; the thread is not here. */
static void forked(void)
{
	struct preload *pl = &preload;

	if (!pl->set_up)
		return;
	for (unsigned int i = 0; i < pl->num_gpus; i++)
		held_close(&pl->gpus[i].file);
	held_close(&pl->maps_file);
	held_close(&pl->stat_file);
	record_close(pl);
	arena_destroy(pl);
	memset(&pl->counts, 0, sizeof(pl->counts));
	pl->running = false;
	pl->stop = false;
	pl->stopped = false;
	pl->why = NULL;
	pl->why_error = 0;
	pl->fresh = 0;
	start(pl);
}

static unsigned long setting(const char *name, unsigned long value)
{
	const char *text = secure_getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : value;
}

__attribute__((constructor)) static void begin(void)
{
	unsigned int minors[MAX_GPUS];
	struct preload *pl = &preload;
	int saved = errno, num;
	const char *report;

	report = secure_getenv("VSVM_PRELOAD_REPORT");
	if (report && strlen(report) < sizeof(pl->report))
		strcpy(pl->report, report);
	pl->seed = setting("VSVM_PRELOAD_SEED", 1);
	pl->rate = setting("VSVM_PRELOAD_RATE", 200);
	pl->least = setting("VSVM_PRELOAD_LEAST", 20);
	pl->flip = setting("VSVM_PRELOAD_FLIP", 0);
	pl->page = sysconf(_SC_PAGESIZE);
	pl->maps_file.fd = -1;
	pl->stat_file.fd = -1;

	num = vsvm_list(minors, MAX_GPUS);
	if (num > MAX_GPUS)
		num = MAX_GPUS;
	for (int i = 0; i < num; i++)
		pl->gpus[i].minor = minors[i];
	pl->num_gpus = num > 0 ? num : 0;
	if (!pthread_atfork(NULL, NULL, forked)) {
		pl->set_up = true;
		start(pl);
	}
	errno = saved;
}

/*
 * Waits for what the thread is at, and that it has done something at all: how fast it
 * was, and how fast the program, must make no difference to whether a run is one.
 */
__attribute__((destructor)) static void end(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct preload *pl = &preload;
	char line[RECORD];
	int len;

	/* Not in a child that has only borrowed the memory */
	if (!pl->set_up || getpid() != pl->pid)
		return;
	pl->set_up = false;
	for (unsigned int i = 0; pl->running && i < EXIT_LIMIT; i++) {
		if (__atomic_load_n(&pl->stopped, __ATOMIC_ACQUIRE))
			break;
		if (__atomic_load_n(&pl->counts.rounds, __ATOMIC_RELAXED) >= pl->least)
			__atomic_store_n(&pl->stop, true, __ATOMIC_RELEASE);
		nanosleep(&pause, NULL);
	}
	if (pl->running) {
		if (!__atomic_load_n(&pl->stopped, __ATOMIC_ACQUIRE))
			pl->state = "hangs";
		else if (!strcmp(pl->state, "running"))
			pl->state = "ended";
		record_write(pl);
	}
	if (!strcmp(pl->report, "-")) {
		len = record_format(pl, line);
		line[len < RECORD - 1 ? len : RECORD - 2] = '\n';
		if (write(STDERR_FILENO, line, len + 1) < 0)
			return;
	}
}
