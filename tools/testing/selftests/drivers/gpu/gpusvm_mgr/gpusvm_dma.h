/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What tests of DMA look at: the DMA address behind a pointer, memory as the real
 * engine of a device sees it, all that an IOMMU domain maps, and how often the
 * kernel was asked to map. To be included once, by the file that has the tests.
 *
 * Calls return 0 or a negative errno, as those of gpusvm_util.h.
 */
#ifndef _GPUSVM_DMA_H_
#define _GPUSVM_DMA_H_

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpusvm_util.h"

/* Most bytes of one transfer of the engine */
#define ENGINE_MAX	4088
/* How long one takes; the data goes at its end, never before. */
#define ENGINE_NS	100000000LL

static inline int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The IOMMU translates for the device: strict or lazy */
static inline bool dma_translates(const struct gpu *gpu)
{
	return gpu->dev.info.dma == DRM_VSVM_DMA_TRANSLATED ||
	       gpu->dev.info.dma == DRM_VSVM_DMA_LAZY;
}

static inline FILE *gpu_file(const struct gpu *gpu, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%u/%s", gpu->dev.minor, name);
	return fopen(path, "re");
}

/* What a line "name value" of a file of the device in debugfs says */
static inline int gpu_word(const struct gpu *gpu, const char *name, const char *key,
			   char value[32])
{
	char line[128], word[64];
	int ret = -ENOENT;
	FILE *file;

	file = gpu_file(gpu, name);
	if (!file)
		return -errno;
	while (ret && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %31s", word, value) == 2 && !strcmp(word, key))
			ret = 0;
	fclose(file);
	return ret;
}

/* The same as a number; all ones where there is none */
static inline uint64_t gpu_count(const struct gpu *gpu, const char *name, const char *key)
{
	char value[32];

	return gpu_word(gpu, name, key, value) ? UINT64_MAX : strtoull(value, NULL, 0);
}

/* The device's name on its bus */
static inline int gpu_bus_name(const struct gpu *gpu, char name[NAME_MAX + 1])
{
	char path[PATH_MAX], link[64];

	snprintf(link, sizeof(link), "/sys/class/drm/renderD%u/device", gpu->dev.minor);
	if (!realpath(link, path))
		return -errno;
	snprintf(name, NAME_MAX + 1, "%s", strrchr(path, '/') + 1);
	return 0;
}

/* What the IOMMU's core says of the device's domain; "none" without IOMMU */
static inline int gpu_group_type(const struct gpu *gpu, char type[32])
{
	char path[80];
	FILE *file;
	int ret;

	snprintf(path, sizeof(path), "/sys/class/drm/renderD%u/device/iommu_group/type",
		 gpu->dev.minor);
	file = fopen(path, "re");
	if (!file) {
		snprintf(type, 32, "none");
		return errno == ENOENT ? 0 : -errno;
	}
	ret = fscanf(file, "%31s", type) == 1 ? 0 : -EIO;
	fclose(file);
	return ret;
}

/* The number under which the TLB knows the VM; one VM of this process on the device */
static inline int gpu_asid(const struct gpu *gpu, unsigned int *asid)
{
	unsigned int id, found;
	char line[1024];
	int pid, ret = -ENOENT;
	FILE *file;

	file = gpu_file(gpu, "vms");
	if (!file)
		return -errno;
	while (ret && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "vm %u asid %u pid %d", &id, &found, &pid) == 3 &&
		    id == gpu->vm.id && pid == getpid()) {
			*asid = found;
			ret = 0;
		}
	}
	fclose(file);
	return ret;
}

/* The device's own address of memory that it has just used */
static inline int gpu_dma_address(const struct gpu *gpu, const volatile void *ptr,
				  uint64_t *addr)
{
	uint64_t at = (uintptr_t)ptr, va, size, start;
	unsigned int asid, mine = 0;
	char line[256];
	FILE *file;
	int ret;

	ret = gpu_asid(gpu, &mine);
	if (ret)
		return ret;
	file = gpu_file(gpu, "tlb");
	if (!file)
		return -errno;
	ret = -ENOENT;
	while (ret && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "asid %u va %" SCNx64 " size %" SCNx64 " addr %" SCNx64,
			   &asid, &va, &size, &start) == 4 &&
		    asid == mine && at >= va && at < va + size) {
			*addr = start + (at - va);
			ret = 0;
		}
	}
	fclose(file);
	return ret;
}

/* ------------------------------------------------------------- the real engine */

/* File descriptor, or -ENOENT: there is no such engine. */
static inline int engine_open(const struct gpu *gpu)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%u/dma_memory", gpu->dev.minor);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static inline bool has_engine(const struct gpu *gpu)
{
	int fd = engine_open(gpu);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Three transfers for each ENGINE_MAX bytes. What was turned away is no error. */
static inline int engine_read(const struct gpu *gpu, uint64_t addr, void *buf, size_t len)
{
	int fd = engine_open(gpu), ret = 0;
	size_t done = 0;

	if (fd < 0)
		return fd;
	while (!ret && done < len) {
		ssize_t some = pread(fd, (char *)buf + done, len - done, addr + done);

		if (some <= 0)
			ret = some ? -errno : -EIO;
		else
			done += some;
	}
	close(fd);
	return ret;
}

/* Two transfers, ENGINE_MAX bytes at most; what was turned away is no error. */
static inline int engine_write(const struct gpu *gpu, uint64_t addr, const void *buf,
			       size_t len)
{
	int fd = engine_open(gpu), ret = 0;
	ssize_t some;

	if (fd < 0)
		return fd;
	some = pwrite(fd, buf, len, addr);
	if (some != (ssize_t)len)
		ret = some < 0 ? -errno : -EIO;
	close(fd);
	return ret;
}

/* --------------------------------------------------- what a domain of Intel's maps */

#define DOMAIN_MAX	4096

/**
 * struct domain - All that an IOMMU domain maps
 * @num: entries
 * @pages: pages that they cover
 * @iova: first address of each, rising
 * @entry: what is there: where it leads, and what is permitted
 */
struct domain {
	unsigned int num;
	uint64_t pages;
	uint64_t iova[DOMAIN_MAX];
	uint64_t entry[DOMAIN_MAX];
};

static inline int domain_path(const struct gpu *gpu, char path[PATH_MAX])
{
	char name[NAME_MAX + 1];
	int ret = gpu_bus_name(gpu, name);

	if (!ret)
		snprintf(path, PATH_MAX, "/sys/kernel/debug/iommu/intel/%s/%s", name,
			 "domain_translation_struct");
	return ret;
}

/* Has the kernel a look into the domain? Intel's driver has. */
static inline bool domain_visible(const struct gpu *gpu)
{
	char path[PATH_MAX];

	return dma_translates(gpu) && !domain_path(gpu, path) && !access(path, R_OK);
}

/* Of the tables themselves: the library and the IOMMU's core have no say in this. */
static inline int domain_read(const struct gpu *gpu, struct domain *domain)
{
	char path[PATH_MAX], line[256];
	int ret = domain_path(gpu, path);
	FILE *file;

	if (ret)
		return ret;
	file = fopen(path, "re");
	if (!file)
		return -errno;
	domain->num = 0;
	domain->pages = 0;
	while (!ret && fgets(line, sizeof(line), file)) {
		uint64_t levels[5];
		uint64_t pfn;
		int n, used;

		if (sscanf(line, "%" SCNx64 " |%n", &pfn, &used) != 1 || !strchr(line, '|'))
			continue;
		for (n = 0; n < 5; n++) {
			int more;

			if (sscanf(line + used, "%" SCNx64 "%n", &levels[n], &more) != 1)
				break;
			used += more;
		}
		if (n < 3 || domain->num == DOMAIN_MAX) {
			ret = -E2BIG;
			break;
		}
		domain->iova[domain->num] = pfn << 12;
		/* Without the bits that the hardware sets. */
		domain->entry[domain->num++] = levels[n - 1] & 0x000ffffffffff003ULL;
		domain->pages += 1ULL << (9 * (5 - n));
	}
	fclose(file);
	return ret;
}

static inline bool domain_maps(const struct domain *domain, uint64_t iova)
{
	for (unsigned int i = 0; i < domain->num; i++)
		if (domain->iova[i] == (iova & ~0xfffULL))
			return true;
	return false;
}

/* Says what differs. */
static inline bool domain_same(const struct domain *one, const struct domain *two)
{
	if (one->num == two->num &&
	    !memcmp(one->iova, two->iova, one->num * sizeof(*one->iova)) &&
	    !memcmp(one->entry, two->entry, one->num * sizeof(*one->entry)))
		return true;
	fprintf(stderr, "# %u entries instead of %u\n", two->num, one->num);
	for (unsigned int i = 0; i < two->num; i++)
		if (!domain_maps(one, two->iova[i]))
			fprintf(stderr, "# new: 0x%" PRIx64 "\n", two->iova[i]);
	for (unsigned int i = 0; i < one->num; i++)
		if (!domain_maps(two, one->iova[i]))
			fprintf(stderr, "# gone: 0x%" PRIx64 "\n", one->iova[i]);
	return false;
}

/* ------------------------------------------------------------- calls for mapping */

enum dma_call {
	CALL_RESERVE,
	CALL_LINK,
	CALL_SYNC,
	CALL_UNLINK,
	CALL_FREE,
	CALL_MAP_PAGE,
	CALLS
};

static const char * const dma_calls[CALLS] = {
	[CALL_RESERVE] = "dma_iova_try_alloc",
	[CALL_LINK] = "dma_iova_link",
	[CALL_SYNC] = "dma_iova_sync",
	[CALL_UNLINK] = "dma_iova_unlink",
	[CALL_FREE] = "dma_iova_free",
	[CALL_MAP_PAGE] = "dma_map_page_attrs",
};

#define CALLS_GROUP	"gpusvm_dma"
#define CALLS_TRACEFS	"/sys/kernel/tracing"

static inline int calls_command(const char *text)
{
	int fd, ret = 0;

	fd = open(CALLS_TRACEFS "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static inline void calls_end(void)
{
	char text[96];

	write_text(CALLS_TRACEFS "/events/" CALLS_GROUP "/enable", "0");
	for (unsigned int i = 0; i < CALLS; i++) {
		snprintf(text, sizeof(text), "-:" CALLS_GROUP "/%s\n", dma_calls[i]);
		calls_command(text);
	}
}

/* Counts those calls of the whole kernel. -ENOENT: it has no tracefs or no kprobes. */
static inline int calls_begin(void)
{
	char text[96];
	int ret = 0;

	if (access(CALLS_TRACEFS "/kprobe_events", W_OK))
		return -ENOENT;
	/* A test that was killed may have left them behind. */
	calls_end();
	for (unsigned int i = 0; i < CALLS && !ret; i++) {
		snprintf(text, sizeof(text), "p:" CALLS_GROUP "/%s %s\n", dma_calls[i],
			 dma_calls[i]);
		ret = calls_command(text);
	}
	if (!ret)
		ret = write_text(CALLS_TRACEFS "/events/" CALLS_GROUP "/enable", "1");
	if (ret)
		calls_end();
	return ret;
}

static inline int calls_count(uint64_t counts[CALLS])
{
	unsigned int found = 0;
	char line[256];
	FILE *file;

	file = fopen(CALLS_TRACEFS "/kprobe_profile", "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		uint64_t count;
		char name[64];

		if (sscanf(line, " %63s %" SCNu64, name, &count) != 2)
			continue;
		for (unsigned int i = 0; i < CALLS; i++) {
			if (!strcmp(name, dma_calls[i])) {
				counts[i] = count;
				found++;
			}
		}
	}
	fclose(file);
	return found == CALLS ? 0 : -ENOENT;
}

/* ------------------------------------------------------------- injected failures */

#define FAIL_DMA_MAP	"/sys/kernel/debug/drm_gpusvm_mgr/fail_dma_map/"

/*
 * After @steps steps of mappings each one fails, a run that is mapped or, behind an
 * IOMMU, the sync of all; negative: none.
 */
static inline int fail_dma_map(int steps)
{
	char text[16];
	int ret;

	ret = write_text(FAIL_DMA_MAP "times", "0");
	if (ret || steps < 0)
		return ret;
	snprintf(text, sizeof(text), "%d", steps + 1);
	ret = write_text(FAIL_DMA_MAP "space", text);
	if (!ret)
		ret = write_text(FAIL_DMA_MAP "verbose", "0");
	if (!ret)
		ret = write_text(FAIL_DMA_MAP "interval", "1");
	if (!ret)
		ret = write_text(FAIL_DMA_MAP "probability", "100");
	return ret ? ret : write_text(FAIL_DMA_MAP "times", "-1");
}

#endif /* _GPUSVM_DMA_H_ */
