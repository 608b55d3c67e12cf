// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the selftests of drm_gpusvm_mgr share.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "gpusvm_util.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

/* ------------------------------------------------------------------ devices */

int gpu_warm(struct gpu *gpu)
{
	VSVM_JOB(job, 2);
	int ret;

	vsvm_job_fill(&job, gpu->fence, sizeof(gpu->fence), 0);
	vsvm_job_fill(&job, gpu->result, sizeof(gpu->result), 0);
	memset(gpu->value, 0, sizeof(gpu->value));
	ret = gpu_run(gpu, &job);
	if (ret)
		return ret;

	/* gpu_run() uses a fence in the VM's structure, which may be elsewhere. */
	vsvm_job_reset(&job);
	vsvm_job_nop(&job);
	ret = gpu_start(gpu, 0, &job);
	return ret ? ret : gpu_finish(gpu, 0);
}

bool migrating(void)
{
	const char *migrate = getenv("GPUSVM_MIGRATE");

	return migrate && !strcmp(migrate, "1");
}

uint32_t backend(void)
{
	const char *name = getenv("GPUSVM_BACKEND");

	if (!name || !name[0])
		return 0;
	if (!strcmp(name, "upstream"))
		return DRM_VSVM_VM_UPSTREAM;
	if (!strcmp(name, "two_pass"))
		return DRM_VSVM_VM_TWO_PASS;
	fprintf(stderr, "# GPUSVM_BACKEND=%s: there is no such back end\n", name);
	abort();
}

bool managed(void)
{
	return !backend();
}

int gpu_open(struct gpu *gpu, unsigned int nr, uint32_t flags)
{
	int ret;

	memset(gpu, 0, sizeof(*gpu));
	flags |= backend();
	if (migrating())
		flags |= DRM_VSVM_VM_MIGRATE;
	ret = vsvm_open(&gpu->dev, nr);
	if (ret)
		return ret;
	ret = vsvm_vm_create(&gpu->dev, DRM_VSVM_VM_MIRROR | flags, &gpu->vm);
	if (ret) {
		vsvm_close(&gpu->dev);
		gpu->vm.id = 0;
	}
	return ret;
}

int gpu_close(struct gpu *gpu)
{
	int ret = 0;

	if (gpu->vm.id)
		ret = vsvm_vm_destroy(&gpu->vm);
	vsvm_close(&gpu->dev);
	return ret;
}

static int param_set(const char *module, const char *name, uint64_t value)
{
	char path[128], text[24];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, name);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return write_text(path, text);
}

int arbiter_param(const char *name, uint64_t value)
{
	return param_set("drm_gpusvm_mgr", name, value);
}

int device_param(const char *name, uint64_t value)
{
	return param_set("vsvm", name, value);
}

int gpu_knob(const struct gpu *gpu, const char *name, uint64_t value)
{
	return vsvm_debugfs_set(&gpu->dev, name, value);
}

uint64_t gpu_stat_at(const struct gpu *gpu, size_t offset)
{
	struct drm_vsvm_stats_data stats;
	uint64_t value;
	int ret;

	ret = vsvm_stats(&gpu->vm, &stats);
	if (ret) {
		fprintf(stderr, "# vsvm_stats: %s\n", strerror(-ret));
		abort();
	}
	memcpy(&value, (char *)&stats + offset, sizeof(value));
	return value;
}

static bool topology_is(unsigned int count, unsigned int hives, unsigned int vram_mib)
{
	struct vsvm_device dev;
	bool good = true;

	for (unsigned int i = 0; i < count && good; i++) {
		if (vsvm_open(&dev, i))
			return false;
		good = dev.info.hive == i % hives && dev.info.vram_size == vram_mib * MIB;
		vsvm_close(&dev);
	}
	return good;
}

int topology(unsigned int n, unsigned int hives, unsigned int vram_mib)
{
	unsigned int minors[MAX_GPUS];
	int count, ret;

	count = vsvm_list(minors, MAX_GPUS);
	if (count < 0)
		return count;
	if ((unsigned int)count < n)
		return -ENODEV;
	if (topology_is(count, hives, vram_mib))
		return 0;

	ret = param_set("vsvm", "hives", hives);
	if (!ret)
		ret = param_set("vsvm", "vram_mib", vram_mib);
	for (int i = 0; i < count && !ret; i++)
		ret = vsvm_unplug(i);
	for (int i = 0; i < count && !ret; i++)
		ret = vsvm_plug(i);
	return ret;
}

static size_t gpus_size(unsigned int n)
{
	size_t size = sizeof(struct gpus) + n * sizeof(struct gpu);

	return (size + page_size() - 1) & ~(page_size() - 1);
}

int gpus_open(struct gpus **gpus, unsigned int n, uint32_t flags)
{
	struct gpus *g;
	int ret = 0;

	*gpus = NULL;
	if (n > MAX_GPUS)
		return -EINVAL;
	/*
	 * Memory that is not anonymous stays where it is, so that fences which
	 * the CPU polls do not add to the moves that a test counts.
	 */
	if ((flags & DRM_VSVM_VM_MIGRATE) || migrating())
		g = buf_map(gpus_size(n), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1);
	else
		g = buf_alloc(gpus_size(n));
	if (!g)
		return -errno;

	while (g->n < n) {
		ret = gpu_open(&g->gpu[g->n], g->n, flags);
		if (ret)
			goto err_close;
		g->n++;
	}
	/*
	 * Twice, since a write by the second device may take the first one's
	 * mapping away (a read-only page becomes another one).
	 */
	for (unsigned int i = 0; i < 2 * n; i++) {
		ret = gpu_warm(&g->gpu[i % n]);
		if (ret)
			goto err_close;
	}
	g->violations = 0;
	ret = gpus_violations(g);
	if (ret < 0)
		goto err_close;
	g->violations = ret;
	*gpus = g;
	return 0;

err_close:
	while (g->n)
		gpu_close(&g->gpu[--g->n]);
	buf_free(g, gpus_size(n));
	return ret;
}

int gpus_validate(void)
{
	const char *dir = "/sys/kernel/debug/drm_gpusvm_mgr";
	char prefix[16], path[320];
	struct dirent *entry;
	int ret = -ENOENT;
	DIR *d;

	d = opendir(dir);
	if (!d)
		return -ENOENT;
	snprintf(prefix, sizeof(prefix), "%d-", getpid());
	while ((entry = readdir(d))) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		ret = write_text(path, "validate");
		if (ret)
			break;
	}
	closedir(d);
	return ret;
}

int gpus_close(struct gpus *gpus)
{
	int ret, first;

	if (!gpus)
		return 0;
	/* What the test left behind must be sound. Without debugfs: so be it. */
	first = gpus_validate();
	if (first == -ENOENT)
		first = 0;
	for (unsigned int i = 0; i < gpus->n; i++) {
		ret = gpu_close(&gpus->gpu[i]);
		if (!first)
			first = ret;
	}
	buf_free(gpus, gpus_size(gpus->n));
	return first;
}

int64_t gpus_violations(const struct gpus *gpus)
{
	struct drm_vsvm_stats_data stats;
	int64_t sum = 0;
	int ret;

	for (unsigned int i = 0; i < gpus->n; i++) {
		/* A VM that a test has destroyed cannot be asked any more. */
		if (!gpus->gpu[i].vm.id)
			continue;
		ret = vsvm_stats(&gpus->gpu[i].vm, &stats);
		if (ret)
			return ret;
		sum += stats.violations;
	}
	return sum - gpus->violations;
}

uint64_t gpus_sum_at(const struct gpus *gpus, size_t offset)
{
	struct drm_vsvm_stats_data stats;
	uint64_t value, sum = 0;
	int ret;

	for (unsigned int i = 0; i < gpus->n; i++) {
		ret = vsvm_stats(&gpus->gpu[i].vm, &stats);
		if (ret) {
			fprintf(stderr, "# vsvm_stats: %s\n", strerror(-ret));
			abort();
		}
		memcpy(&value, (char *)&stats + offset, sizeof(value));
		sum += value;
	}
	return sum;
}

/* --------------------------------------------------------------------- jobs */

int gpu_run(struct gpu *gpu, const struct vsvm_job *job)
{
	return vsvm_run(&gpu->vm, 0, job, GPU_TIMEOUT_NS);
}

void gpu_explain(struct gpu *gpu)
{
	struct drm_vsvm_error error;
	char text[256];

	while (!vsvm_error_take(&gpu->vm, &error))
		fprintf(stderr, "# device %u: %s\n", gpu->dev.info.index,
			vsvm_error_format(&error, text, sizeof(text)));
}

int gpu_fill(struct gpu *gpu, volatile void *dst, size_t len, uint64_t value)
{
	VSVM_JOB(job, 1);

	vsvm_job_fill(&job, dst, len, value);
	return gpu_run(gpu, &job);
}

int gpu_copy(struct gpu *gpu, volatile void *dst, const volatile void *src, size_t len)
{
	VSVM_JOB(job, 1);

	vsvm_job_copy(&job, dst, src, len);
	return gpu_run(gpu, &job);
}

int gpu_add(struct gpu *gpu, volatile void *dst, size_t len, uint64_t value)
{
	VSVM_JOB(job, 1);

	vsvm_job_add(&job, dst, len, value);
	return gpu_run(gpu, &job);
}

int gpu_atomic_add(struct gpu *gpu, volatile void *dst, uint64_t value, uint64_t times)
{
	VSVM_JOB(job, 1);

	vsvm_job_atomic_add(&job, dst, value, times);
	return gpu_run(gpu, &job);
}

int gpu_checksum(struct gpu *gpu, const volatile void *src, size_t len, uint64_t *sum)
{
	VSVM_JOB(job, 1);
	int ret;

	vsvm_job_checksum(&job, &gpu->result[0], src, len);
	ret = gpu_run(gpu, &job);
	*sum = gpu->result[0];
	return ret;
}

int gpu_read64(struct gpu *gpu, const volatile void *src, uint64_t *value)
{
	int ret;

	ret = gpu_copy(gpu, &gpu->result[0], src, sizeof(*value));
	*value = gpu->result[0];
	return ret;
}

int gpu_write64(struct gpu *gpu, volatile void *dst, uint64_t value)
{
	return gpu_fill(gpu, dst, sizeof(value), value);
}

static int gpu_each(struct gpu *gpu, volatile void *base, size_t len, size_t stride, bool write)
{
	VSVM_JOB(job, 256);
	size_t offset = 0;
	int ret = 0;

	while (!ret && offset < len) {
		vsvm_job_reset(&job);
		for (; offset < len && job.num < job.max; offset += stride) {
			volatile char *at = (volatile char *)base + offset;

			if (write)
				vsvm_job_add(&job, at, sizeof(uint64_t), 1);
			else
				vsvm_job_copy(&job, &gpu->result[job.num], at, sizeof(uint64_t));
		}
		ret = gpu_run(gpu, &job);
	}
	return ret;
}

int gpu_read_each(struct gpu *gpu, const volatile void *base, size_t len, size_t stride)
{
	return gpu_each(gpu, (volatile void *)base, len, stride, false);
}

int gpu_add_each(struct gpu *gpu, volatile void *base, size_t len, size_t stride)
{
	return gpu_each(gpu, base, len, stride, true);
}

int gpu_start(struct gpu *gpu, unsigned int queue, const struct vsvm_job *job)
{
	int ret;

	ret = vsvm_exec(&gpu->vm, queue, job, &gpu->fence[queue], gpu->value[queue] + 1, NULL);
	if (!ret)
		gpu->value[queue]++;
	return ret;
}

int gpu_finish_in(struct gpu *gpu, unsigned int queue, int64_t timeout_ns)
{
	return vsvm_wait(&gpu->vm, &gpu->fence[queue], gpu->value[queue], timeout_ns);
}

int gpu_finish(struct gpu *gpu, unsigned int queue)
{
	return gpu_finish_in(gpu, queue, GPU_TIMEOUT_NS);
}

int gpu_start_endless(struct gpu *gpu, unsigned int queue, volatile uint64_t *word)
{
	VSVM_JOB(job, 512);

	while (job.num < job.max)
		vsvm_job_atomic_add(&job, word, 1, DRM_VSVM_MAX_LEN);
	return gpu_start(gpu, queue, &job);
}

bool word_changes(const volatile uint64_t *word, uint64_t old)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	for (int i = 0; i < 20000; i++) {
		if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != old)
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

struct parallel {
	pthread_t thread;
	pthread_barrier_t *barrier;
	struct gpu *gpu;
	unsigned int i;
	int (*fn)(struct gpu *gpu, unsigned int i, void *arg);
	void *arg;
	int ret;
};

static void *parallel_thread(void *arg)
{
	struct parallel *p = arg;

	pthread_barrier_wait(p->barrier);
	p->ret = p->fn(p->gpu, p->i, p->arg);
	return NULL;
}

int gpus_parallel(struct gpus *gpus, int (*fn)(struct gpu *gpu, unsigned int i, void *arg),
		  void *arg)
{
	struct parallel p[MAX_GPUS];
	pthread_barrier_t barrier;
	int ret = 0;

	pthread_barrier_init(&barrier, NULL, gpus->n);
	for (unsigned int i = 0; i < gpus->n; i++) {
		p[i] = (struct parallel) {
			.barrier = &barrier, .gpu = &gpus->gpu[i], .i = i, .fn = fn, .arg = arg,
		};
		/* The others wait at the barrier for good: give up at once. */
		if (pthread_create(&p[i].thread, NULL, parallel_thread, &p[i])) {
			perror("# pthread_create");
			abort();
		}
	}
	for (unsigned int i = 0; i < gpus->n; i++) {
		pthread_join(p[i].thread, NULL);
		if (!ret)
			ret = p[i].ret;
	}
	pthread_barrier_destroy(&barrier);
	return ret;
}

/* ------------------------------------------------------------------- memory */

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static size_t buf_space(size_t size)
{
	return ((size + CHUNK - 1) & ~(CHUNK - 1)) + 2 * CHUNK;
}

void *buf_map(size_t size, int prot, int flags, int fd)
{
	size_t space = buf_space(size), head;
	char *base, *buf;

	/* One chunk more for the alignment; what is too much goes back. */
	base = mmap(NULL, space + CHUNK, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)base & (CHUNK - 1);
	if (head)
		munmap(base, head);
	base += head;
	if (CHUNK - head)
		munmap(base + space, CHUNK - head);

	buf = mmap(base + CHUNK, size, prot, flags | MAP_FIXED, fd, 0);
	if (buf == MAP_FAILED) {
		int err = errno;

		munmap(base, space);
		errno = err;
		return NULL;
	}
	return buf;
}

void *buf_alloc(size_t size)
{
	return buf_map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

void buf_free(void *buf, size_t size)
{
	if (buf)
		munmap((char *)buf - CHUNK, buf_space(size));
}

uint64_t pattern(uint64_t seed, size_t i)
{
	uint64_t x = (seed << 32) + i + 1;

	/* So that no two words of two seeds look alike, and none is small. */
	x *= 0x9e3779b97f4a7c15ULL;
	x ^= x >> 29;
	return x * 0xbf58476d1ce4e5b9ULL;
}

void buf_init(void *buf, size_t size, uint64_t seed)
{
	uint64_t *word = buf;

	for (size_t i = 0; i < WORDS(size); i++)
		word[i] = pattern(seed, i);
}

ssize_t buf_check(const void *buf, size_t size, uint64_t seed, uint64_t add)
{
	const volatile uint64_t *word = buf;

	for (size_t i = 0; i < WORDS(size); i++) {
		uint64_t seen = word[i];

		if (seen != pattern(seed, i) + add) {
			fprintf(stderr, "# word %zu: 0x%" PRIx64 " instead of 0x%" PRIx64 "\n",
				i, seen, pattern(seed, i) + add);
			return i;
		}
	}
	return -1;
}

ssize_t buf_check_value(const void *buf, size_t size, uint64_t value)
{
	const volatile uint64_t *word = buf;

	for (size_t i = 0; i < WORDS(size); i++) {
		uint64_t seen = word[i];

		if (seen != value) {
			fprintf(stderr, "# word %zu: 0x%" PRIx64 " instead of 0x%" PRIx64 "\n",
				i, seen, value);
			return i;
		}
	}
	return -1;
}

uint64_t rnd(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dULL;
}

int file_fill(int fd, size_t size, uint64_t seed)
{
	uint64_t block[512];

	for (size_t at = 0; at < size; at += sizeof(block)) {
		size_t len = size - at < sizeof(block) ? size - at : sizeof(block);

		for (size_t i = 0; i < WORDS(len); i++)
			block[i] = pattern(seed, WORDS(at) + i);
		if (pwrite(fd, block, len, at) != (ssize_t)len)
			return -EIO;
	}
	return 0;
}

int tmp_file(size_t size, uint64_t seed)
{
	int fd, ret;

	fd = memfd_create("gpusvm", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = file_fill(fd, size, seed);
	if (ret) {
		close(fd);
		return ret;
	}
	return fd;
}

/* ------------------------------------------------------------------- kernel */

uint64_t pagemap_entry(const volatile void *addr)
{
	uint64_t entry = 0;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (uintptr_t)addr / page_size() * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	close(fd);
	return entry;
}

size_t pages_away(const volatile void *buf, size_t size)
{
	uint64_t entries[512], first = (uintptr_t)buf / page_size();
	size_t count = size / page_size(), away = 0;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	for (size_t at = 0; at < count;) {
		size_t some = count - at < 512 ? count - at : 512;
		ssize_t len = pread(fd, entries, some * sizeof(*entries),
				    (first + at) * sizeof(*entries));

		if (len <= 0)
			break;
		for (size_t i = 0; i < len / sizeof(*entries); i++)
			away += (entries[i] & PAGEMAP_SWAPPED) &&
				!(entries[i] & (PAGEMAP_PRESENT | PAGEMAP_GUARD));
		at += len / sizeof(*entries);
	}
	close(fd);
	return away;
}

long smaps_kib(const volatile void *addr, const char *name)
{
	size_t len = strlen(name);
	bool inside = false;
	char line[512];
	long kib = -1;
	FILE *file;

	file = fopen("/proc/self/smaps", "re");
	if (!file)
		return -1;
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = (uintptr_t)addr >= start && (uintptr_t)addr < end;
		else if (inside && !strncmp(line, name, len) && line[len] == ':')
			kib = strtol(line + len + 1, NULL, 10);
	}
	fclose(file);
	return kib;
}

bool swap_available(void)
{
	unsigned int lines = 0;
	char line[256];
	FILE *file;

	file = fopen("/proc/swaps", "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		lines++;
	fclose(file);
	return lines > 1;
}

bool thp_available(void)
{
	char line[64] = "";
	FILE *file;

	file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	fclose(file);
	return line[0] && !strstr(line, "[never]");
}

void lru_drain(void)
{
	cpu_set_t all, one;
	char *page;

	page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	if (!sched_getaffinity(0, sizeof(all), &all)) {
		for (unsigned int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &all))
				continue;
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			sched_setaffinity(0, sizeof(one), &one);
			/* Empties the lists of this CPU, whatever it is asked for. */
			page[0] = 1;
			madvise(page, page_size(), MADV_PAGEOUT);
		}
		sched_setaffinity(0, sizeof(all), &all);
	}
	munmap(page, page_size());
}

size_t page_out(void *buf, size_t size)
{
	const struct timespec nap = { .tv_nsec = 10000000 };
	cpu_set_t all, one;
	size_t gone = 0;

	if (sched_getaffinity(0, sizeof(all), &all))
		return 0;
	/* A page that is on such a list has one user too many to be written. */
	lru_drain();
	/*
	 * A page that was just faulted in is on the list of the CPU that did it,
	 * be it for a device, and only there it can be taken off. So from each
	 * CPU in turn; a page under writeback may need many a round.
	 */
	for (int round = 0, cpu = 0; round < 64; cpu = (cpu + 1) % CPU_SETSIZE) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		round++;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		madvise(buf, size, MADV_PAGEOUT);
		gone = 0;
		for (size_t at = 0; at < size; at += page_size())
			gone += !(pagemap_entry((char *)buf + at) & PAGEMAP_PRESENT);
		if (gone == size / page_size())
			break;
		nanosleep(&nap, NULL);
	}
	sched_setaffinity(0, sizeof(all), &all);
	return gone;
}

size_t clean_above_swap(const void *buf, size_t size)
{
	/* Bits of /proc/kpageflags, see Documentation/admin-guide/mm/pagemap.rst. */
	const uint64_t dirty = 1ULL << 4, writeback = 1ULL << 8, swap_cache = 1ULL << 13;
	size_t clean = 0;
	int fd;

	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	for (size_t at = 0; at < size; at += page_size()) {
		uint64_t entry = pagemap_entry((const char *)buf + at), flags;

		if (!(entry & PAGEMAP_PRESENT))
			continue;
		if (pread(fd, &flags, sizeof(flags), PAGEMAP_PFN(entry) * sizeof(flags)) !=
		    sizeof(flags))
			break;
		clean += (flags & (swap_cache | dirty | writeback)) == swap_cache;
	}
	close(fd);
	return clean;
}

size_t swap_in_clean(void *buf, size_t size)
{
	size_t clean = 0;

	/*
	 * A page that is read back before it was written to swap is still
	 * dirty, or about to be written. Then once more; in the end there is time
	 * enough.
	 */
	for (int i = 0; i < 20 && clean < size / page_size(); i++) {
		const struct timespec nap = { .tv_nsec = i * 20000000 };
		const struct timespec blink = { .tv_nsec = 5000000 };

		page_out(buf, size);
		nanosleep(&nap, NULL);
		for (size_t at = 0; at < size; at += page_size())
			(void)*(volatile char *)((char *)buf + at);
		for (int n = 0; n < 20; n++) {
			clean = clean_above_swap(buf, size);
			if (clean == size / page_size())
				break;
			nanosleep(&blink, NULL);
		}
	}
	return clean;
}

int write_text(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len)
		ret = errno ? -errno : -EIO;
	close(fd);
	return ret;
}

int read_number(const char *path, uint64_t *value)
{
	char text[64];
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return -EIO;
	text[len] = 0;
	*value = strtoull(text, NULL, 0);
	return 0;
}

uint64_t vm_counter(const char *name)
{
	size_t len = strlen(name);
	uint64_t value = 0;
	char line[128];
	FILE *file;

	file = fopen("/proc/vmstat", "re");
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, len) && line[len] == ' ')
			value = strtoull(line + len, NULL, 10);
	fclose(file);
	return value;
}

size_t pages_flagged(const char *buf, size_t size, uint64_t mask)
{
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	for (size_t at = 0; fd >= 0 && at < size; at += page_size()) {
		uint64_t entry = pagemap_entry(buf + at), flags;

		if (entry & PAGEMAP_PRESENT &&
		    pread(fd, &flags, sizeof(flags), PAGEMAP_PFN(entry) * sizeof(flags)) ==
		    sizeof(flags))
			n += !!(flags & mask);
	}
	if (fd >= 0)
		close(fd);
	return n;
}

/* ---------------------------------------------------------- lines of the driver */

/* DRM_UT_DRIVER of the kernel, which is what drm_dbg() belongs to. */
#define DRM_DEBUG_DRIVER	(1ULL << 1)
/* KERN_DEBUG, in the low bits of the number that a record begins with. */
#define LEVEL_DEBUG		7

static int dbg_open(struct dbg *dbg, const struct vsvm_device *dev)
{
	char path[64], target[128], *name;
	ssize_t len;
	int ret, fd;

	ret = read_number("/sys/module/drm/parameters/debug", &dbg->before);
	if (ret)
		return ret;
	/* A link to the device whose name the kernel has in front of each line. */
	snprintf(path, sizeof(path), "/sys/class/drm/renderD%u/device", dev->minor);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = 0;
	name = strrchr(target, '/');
	snprintf(dbg->device, sizeof(dbg->device), " %s: [drm", name ? name + 1 : target);

	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Not the number of one that was closed: the call may be about that. */
	dbg->kmsg = fcntl(fd, F_DUPFD_CLOEXEC, 512);
	close(fd);
	if (dbg->kmsg < 0)
		return -errno;
	return lseek(dbg->kmsg, 0, SEEK_END) < 0 ? -errno : 0;
}

int dbg_begin(struct dbg *dbg, const struct vsvm_device *dev)
{
	dbg->kmsg = -1;
	dbg->err = dbg_open(dbg, dev);
	if (!dbg->err)
		dbg->err = param_set("drm", "debug", dbg->before | DRM_DEBUG_DRIVER);
	if (dbg->err && dbg->kmsg >= 0)
		close(dbg->kmsg);
	return dbg->err;
}

int dbg_switch(struct dbg *dbg, bool on)
{
	uint64_t value = dbg->before & ~DRM_DEBUG_DRIVER;

	if (dbg->err)
		return dbg->err;
	return param_set("drm", "debug", on ? value | DRM_DEBUG_DRIVER : value);
}

/* A record is "level,number,time,flags;text", and then lines about the device. */
static const char *dbg_text(struct dbg *dbg)
{
	char *text = strchr(dbg->record, ';');

	if (!text || (strtoul(dbg->record, NULL, 10) & 7) != LEVEL_DEBUG)
		return NULL;
	text[1 + strcspn(text + 1, "\n")] = 0;
	return strstr(text, dbg->device) ? text + 1 : NULL;
}

const char *dbg_line(struct dbg *dbg)
{
	struct pollfd kmsg = { .fd = dbg->kmsg, .events = POLLIN };

	while (!dbg->err) {
		ssize_t len = read(dbg->kmsg, dbg->record, sizeof(dbg->record) - 1);

		if (len > 0) {
			const char *text;

			dbg->record[len] = 0;
			text = dbg_text(dbg);
			if (text)
				return text;
		} else if (len < 0 && errno == EPIPE) {
			/* The next read goes on behind them. */
			fprintf(stderr, "# lines of the log were overwritten\n");
		} else if (len == 0 || errno != EAGAIN) {
			break;
		} else if (poll(&kmsg, 1, 1000) <= 0) {
			/* Ours may stand behind one that another CPU was about to write. */
			break;
		}
	}
	return NULL;
}

void dbg_end(struct dbg *dbg)
{
	if (dbg->err)
		return;
	param_set("drm", "debug", dbg->before);
	close(dbg->kmsg);
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static bool has_word(const char *line, const char *word, size_t len)
{
	for (const char *at = line; *at; at++) {
		if (strncmp(at, word, len))
			continue;
		if (at > line && in_word(at[-1]) && in_word(word[0]))
			continue;
		if (!in_word(at[len]) || !in_word(word[len - 1]))
			return true;
	}
	return false;
}

bool dbg_names(const char *line, const char *what)
{
	if (!strchr(what, '='))
		return has_word(line, what, strlen(what));

	/* Of "a.b = c.d" that is b: a member that is read is not what is wrong. */
	for (const char *dot = strchr(what, '.'); dot; dot = strchr(dot + 1, '.')) {
		const char *member = dot + 1, *op;
		size_t len = 0;

		while (in_word(member[len]))
			len++;
		op = member + len;
		op += strspn(op, " ");
		op += strspn(op, "+-|");
		if (len && op[0] == '=' && op[1] != '=' && has_word(line, member, len))
			return true;
	}
	return false;
}

int dbg_refused(struct dbg *dbg, const char *what, int ret)
{
	char last[256] = "there is none";
	static bool said;
	const char *line;

	if (dbg->err) {
		if (!said)
			fprintf(stderr, "# lines of the driver are not looked for: %s\n",
				strerror(-dbg->err));
		said = true;
		return ret;
	}

	/* What it said is in the log by now. */
	dbg_switch(dbg, false);
	while (ret < 0 && what) {
		line = dbg_line(dbg);
		if (line && dbg_names(line, what))
			break;
		if (!line) {
			fprintf(stderr, "# refused with %d, and no line names %s; last line: %s\n",
				ret, what, last);
			ret = -ENOMSG;
			break;
		}
		snprintf(last, sizeof(last), "%.200s", line);
	}
	dbg_end(dbg);
	return ret;
}

/* ---------------------------------------------------------------- HMM walks */

#define TRACEFS		"/sys/kernel/tracing"
#define WALK_EVENT	"gpusvm_selftest/walk"

static int walks_command(const char *text)
{
	int fd, ret = 0;

	fd = open(TRACEFS "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

#define BROKEN_STEPS	"/sys/kernel/debug/drm_gpusvm_mgr/broken_steps"

int break_step(unsigned int step)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", step ? 1UL << step : 0UL);
	return write_text(BROKEN_STEPS, text);
}

int walks_begin(void)
{
	int ret;

	if (access(TRACEFS "/kprobe_events", W_OK))
		return -ENOENT;
	/* A test that was killed may have left it behind. */
	walks_end();
	ret = walks_command("p:" WALK_EVENT " hmm_range_fault_unlocked_timeout\n");
	if (ret)
		return ret;
	ret = write_text(TRACEFS "/events/" WALK_EVENT "/enable", "1");
	if (ret)
		walks_end();
	return ret;
}

int64_t walks_count(void)
{
	int64_t hits = -ENOENT;
	char line[256];
	FILE *file;

	file = fopen(TRACEFS "/kprobe_profile", "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		long long count;
		char name[64];

		if (sscanf(line, " %63s %lld", name, &count) == 2 && !strcmp(name, "walk"))
			hits = count;
	}
	fclose(file);
	return hits;
}

void walks_end(void)
{
	write_text(TRACEFS "/events/" WALK_EVENT "/enable", "0");
	walks_command("-:" WALK_EVENT "\n");
}
