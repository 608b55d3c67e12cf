// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-info: collecting
 *
 * Devices answer DRM_IOCTL_VSVM_QUERY. VMs, managers and attributes are in debugfs.
 * Where a page of a process is says /proc/PID/pagemap: one that is present is on the
 * node that move_pages() names, one that is "swapped" is in the memory of a device
 * where its frame is in that of a device according to /proc/iomem, and on swap
 * otherwise. The process runs on meanwhile: what is collected is not of one moment.
 */

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "info.h"

#define DEBUGFS		"/sys/kernel/debug"
#define MANAGERS	DEBUGFS "/drm_gpusvm_mgr"

#define PAGEMAP_PRESENT	(1ULL << 63)
#define PAGEMAP_SWAPPED	(1ULL << 62)
#define PAGEMAP_FRAME	((1ULL << 55) - 1)
/* Of what is not present, these bits of the frame say what it is. */
#define PAGEMAP_TYPE	5

/* So many pages are looked at in one go. */
#define BATCH		1024

void info_complain(const char *format, ...)
{
	va_list args;

	fputs("vsvm-info: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void *info_grow(void *array, unsigned int *num, size_t size)
{
	/* In powers of two. */
	if (!(*num & (*num - 1))) {
		array = realloc(array, (*num ? 2UL * *num : 1) * size);
		if (!array) {
			info_complain("no memory");
			exit(INFO_FAILED);
		}
	}
	memset((char *)array + *num * size, 0, size);
	++*num;
	return array;
}

static int device_of_name(const struct info *info, const char *name)
{
	for (unsigned int i = 0; i < info->num_devices; i++)
		if (!strcmp(info->devices[i].name, name))
			return i;
	return -1;
}

/* ------------------------------------------------------------------- devices */

static void read_vms(struct info *info, unsigned int device)
{
	char path[128], *line = NULL;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), DEBUGFS "/dri/%u/vms", info->devices[device].dev.minor);
	file = fopen(path, "re");
	if (!file)
		return;
	info->debugfs = true;
	while (getline(&line, &size, file) > 0) {
		struct info_vm *vm = INFO_GROW(info->vms, info->num_vms);
		const char *comm = strstr(line, " comm "), *rest = NULL;

		/* The name may have blanks in it: what follows it is looked for from its end. */
		for (const char *at = comm; at && (at = strstr(at, " flags 0x")); at++)
			rest = at;
		vm->device = device;
		if (!rest || sscanf(line, "vm %u asid %*u pid %d", &vm->id, &vm->pid) != 2 ||
		    sscanf(rest, " flags %x dead %*d unfinished %u jobs %" SCNu64 " failed %"
			   SCNu64 " faults %" SCNu64, &vm->flags, &vm->unfinished, &vm->jobs,
			   &vm->failed, &vm->faults) != 5) {
			info->num_vms--;
			continue;
		}
		comm += strlen(" comm ");
		snprintf(vm->comm, sizeof(vm->comm), "%.*s", (int)(rest - comm), comm);
	}
	free(line);
	fclose(file);
}

static void read_used(struct info_device *device)
{
	char path[128], line[128];
	FILE *file;

	snprintf(path, sizeof(path), DEBUGFS "/dri/%u/stats", device->dev.minor);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "vram_used %" SCNu64, &device->used) == 1)
			device->used_known = true;
	fclose(file);
}

static int read_device(struct info *info, unsigned int minor)
{
	struct info_device *device = &info->devices[info->num_devices];
	char path[64], target[PATH_MAX];
	ssize_t len;
	int ret;

	ret = vsvm_open_minor(&device->dev, minor);
	if (ret) {
		info_complain("/dev/dri/renderD%u: %s%s", minor, strerror(-ret),
			      ret == -EACCES ? "; run it as root" :
			      ret == -EPROTO ? "; tool and kernel are not of one version" : "");
		return INFO_CANNOT;
	}
	snprintf(path, sizeof(path), "/sys/class/drm/renderD%u/device", minor);
	len = readlink(path, target, sizeof(target) - 1);
	if (len > 0) {
		target[len] = '\0';
		snprintf(device->name, sizeof(device->name), "%.63s",
			 strrchr(target, '/') ? strrchr(target, '/') + 1 : target);
	} else {
		snprintf(device->name, sizeof(device->name), "renderD%u", minor);
	}
	read_used(device);
	info->num_devices++;
	return INFO_OK;
}

int info_read_devices(struct info *info)
{
	unsigned int minors[VSVM_MAX_DEVICES];
	int num, ret;

	info->page = sysconf(_SC_PAGESIZE);
	num = vsvm_list(minors, ARRAY_SIZE(minors));
	if (num < 0) {
		info_complain("devices: %s", strerror(-num));
		return INFO_FAILED;
	}
	if (!num) {
		info_complain("no vsvm device that may be opened: run it as root, in a kernel");
		info_complain("with CONFIG_DRM_VSVM; vsvm.devices=N says how many it has");
		return INFO_CANNOT;
	}
	for (int i = 0; i < num; i++) {
		ret = read_device(info, minors[i]);
		if (ret)
			return ret;
	}
	for (unsigned int i = 0; i < info->num_devices; i++)
		read_vms(info, i);
	return INFO_OK;
}

/* Frames of the devices' memories; addresses are 0 for who may not see them. */
static int read_regions(struct info *info)
{
	char line[256], name[128];
	uint64_t start, last;
	bool seen = false;
	FILE *file;

	file = fopen("/proc/iomem", "re");
	if (!file) {
		info_complain("/proc/iomem: %s", strerror(errno));
		return INFO_CANNOT;
	}
	while (fgets(line, sizeof(line), file)) {
		struct info_region *region;
		int device;

		if (sscanf(line, " %" SCNx64 "-%" SCNx64 " : %127[^\n]", &start, &last, name) != 3)
			continue;
		seen |= last != 0;
		/* By the name of its device. That it may be a BAR, too, does not matter. */
		device = device_of_name(info, name);
		if (device < 0 || !last)
			continue;
		region = INFO_GROW(info->regions, info->num_regions);
		region->device = device;
		region->first = start / info->page;
		region->end = (last + 1) / info->page;
	}
	fclose(file);
	if (!seen) {
		info_complain("addresses in /proc/iomem are hidden: run it as root");
		return INFO_CANNOT;
	}
	return INFO_OK;
}

/* -------------------------------------------------------------- the managers */

/* The value behind "name=" in a line of debugfs, up to a blank. */
static void value_of(const char *line, const char *name, char *buf, size_t size)
{
	size_t len = strlen(name);

	buf[0] = '\0';
	for (const char *at = line; (at = strstr(at, name)); at += len) {
		if ((at == line || at[-1] == ' ') && at[len] == '=') {
			snprintf(buf, size, "%.*s", (int)strcspn(at + len + 1, "\n "),
				 at + len + 1);
			return;
		}
	}
}

static uint64_t number_of(const char *line, const char *name)
{
	char buf[32];

	value_of(line, name, buf, sizeof(buf));
	return strtoull(buf, NULL, 0);
}

static void read_instance(struct info_manager *manager, const char *line)
{
	struct info_instance *instance;

	if (manager->num_instances == INFO_MAX_SLOTS)
		return;
	instance = &manager->instances[manager->num_instances];
	if (sscanf(line, "instance %u: %63s %31s", &instance->slot, instance->device,
		   instance->name) != 3)
		return;
	instance->eager = number_of(line, "eager");
	instance->faults = number_of(line, "faults");
	instance->invalidations = number_of(line, "invalidations");
	instance->dma_bytes = number_of(line, "dma_bytes");
	instance->migrations = number_of(line, "migrations");
	manager->num_instances++;
}

static void read_attr(struct info_manager *manager, const char *line)
{
	uint64_t start, end;
	struct info_attr *attr;

	if (sscanf(line, "attr %" SCNx64 "-%" SCNx64 ":", &start, &end) != 2)
		return;
	attr = INFO_GROW(manager->attrs, manager->num_attrs);
	attr->start = start;
	attr->end = end;
	value_of(line, "location", attr->location, sizeof(attr->location));
	value_of(line, "writer", attr->writer, sizeof(attr->writer));
	value_of(line, "migration", attr->migration, sizeof(attr->migration));
	value_of(line, "granularity", attr->granularity, sizeof(attr->granularity));
	value_of(line, "residence_ms", attr->residence_ms, sizeof(attr->residence_ms));
}

/* Those of an interval follow its line. */
static void read_access(struct info_manager *manager, const char *line)
{
	struct info_access *access;
	struct info_attr *attr;
	unsigned int slot;

	if (!manager->num_attrs || sscanf(line, "access %*x-%*x %u:", &slot) != 1)
		return;
	attr = &manager->attrs[manager->num_attrs - 1];
	access = INFO_GROW(attr->access, attr->num_access);
	access->slot = slot;
	access->read_only = number_of(line, "read_only");
	value_of(line, "mode", access->mode, sizeof(access->mode));
	value_of(line, "atomics", access->atomics, sizeof(access->atomics));
}

static void read_manager(struct info *info, const char *name)
{
	struct info_manager *manager;
	char path[256], *line = NULL;
	uint64_t start, end;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), MANAGERS "/%s", name);
	file = fopen(path, "re");
	/* It may just have gone. */
	if (!file)
		return;
	manager = INFO_GROW(info->managers, info->num_managers);
	snprintf(manager->name, sizeof(manager->name), "%.63s", name);
	while (getline(&line, &size, file) > 0) {
		if (!strncmp(line, "instance ", 9)) {
			read_instance(manager, line);
		} else if (!strncmp(line, "attr ", 5)) {
			read_attr(manager, line);
		} else if (!strncmp(line, "access ", 7)) {
			read_access(manager, line);
		} else if (sscanf(line, "range %" SCNx64 "-%" SCNx64 ":", &start, &end) == 2) {
			manager->ranges++;
			manager->range_bytes += end - start;
		}
	}
	free(line);
	fclose(file);
}

static int read_managers(struct info *info)
{
	struct dirent *entry;
	DIR *dir;

	dir = opendir(MANAGERS);
	if (!dir) {
		if (errno == EACCES)
			info_complain(MANAGERS ": %s; run it as root", strerror(errno));
		else
			info_complain(MANAGERS ": %s; try: mount -t debugfs none " DEBUGFS,
				      strerror(errno));
		return INFO_CANNOT;
	}
	while ((entry = readdir(dir))) {
		int pid, len = 0;

		/* PID-NUMBER, for who attached first. */
		if (sscanf(entry->d_name, "%d-%*u%n", &pid, &len) == 1 && len &&
		    !entry->d_name[len] && pid == info->pid)
			read_manager(info, entry->d_name);
	}
	closedir(dir);
	return INFO_OK;
}

/* --------------------------------------------------------------- the process */

static FILE *open_proc(const struct info *info, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", info->pid, name);
	return fopen(path, "re");
}

static int no_process(const struct info *info, const char *name)
{
	if (errno == ENOENT || errno == ESRCH)
		info_complain("there is no process %d (any more)", info->pid);
	else if (errno == EACCES || errno == EPERM)
		info_complain("/proc/%d/%s: %s; run it as root", info->pid, name, strerror(errno));
	else
		info_complain("/proc/%d/%s: %s", info->pid, name, strerror(errno));
	return INFO_CANNOT;
}

static int read_vmas(struct info *info)
{
	char *line = NULL;
	size_t size = 0;
	FILE *file;

	file = open_proc(info, "maps");
	if (!file)
		return no_process(info, "maps");
	/* But for the page that x86 has in the kernel's half. */
	while (getline(&line, &size, file) > 0) {
		struct info_vma *vma = INFO_GROW(info->vmas, info->num_vmas);

		vma->name[0] = '\0';
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*x %*s %*u %127[^\n]", &vma->start,
			   &vma->end, vma->perms, vma->name) < 3 ||
		    vma->start >> 63)
			info->num_vmas--;
	}
	free(line);
	fclose(file);
	if (!info->num_vmas) {
		info_complain("process %d has no memory of its own: a kernel thread, or exiting",
			      info->pid);
		return INFO_CANNOT;
	}
	return INFO_OK;
}

static unsigned int place_away(const struct info *info, uint64_t entry)
{
	uint64_t frame = (entry & PAGEMAP_FRAME) >> PAGEMAP_TYPE;

	for (unsigned int i = 0; i < info->num_regions; i++)
		if (frame >= info->regions[i].first && frame < info->regions[i].end)
			return INFO_PLACE_DEVICE(info->regions[i].device);
	return INFO_PLACE_SWAP;
}

/* Where pages are that are in memory: their nodes. */
static void place_present(const struct info *info, void **pages, unsigned int *places,
			  unsigned int num)
{
	int status[BATCH];
	long ret;

	ret = syscall(SYS_move_pages, info->pid, (unsigned long)num, pages, NULL, status, 0);
	for (unsigned int i = 0; i < num; i++) {
		/* A kernel that does not know nodes has one. */
		if (ret)
			places[i] = errno == ENOSYS ? INFO_PLACE_NODE(0) : INFO_PLACE_OTHER;
		else if (status[i] >= 0 && status[i] < INFO_MAX_NODES)
			places[i] = INFO_PLACE_NODE(status[i]);
		else
			places[i] = INFO_PLACE_OTHER;
	}
}

static void add_page(struct info *info, struct info_vma *vma, uint64_t addr,
		     unsigned int place)
{
	struct info_run *run = info->num_runs ? &info->runs[info->num_runs - 1] : NULL;

	vma->bytes[place] += info->page;
	info->total[place] += info->page;
	if (run && run->end == addr && run->place == place && addr != vma->start) {
		run->end += info->page;
		return;
	}
	run = INFO_GROW(info->runs, info->num_runs);
	run->start = addr;
	run->end = addr + info->page;
	run->place = place;
}

/* One batch of pages; false: the process is gone. */
static bool read_batch(struct info *info, int fd, struct info_vma *vma, uint64_t addr,
		       unsigned int num)
{
	unsigned int places[BATCH], found[BATCH], num_present = 0, present = 0;
	uint64_t entries[BATCH];
	void *pages[BATCH];
	ssize_t len;

	len = pread(fd, entries, num * sizeof(entries[0]),
		    addr / info->page * sizeof(entries[0]));
	if (len < 0)
		return false;
	num = len / sizeof(entries[0]);

	for (unsigned int i = 0; i < num; i++)
		if (entries[i] & PAGEMAP_PRESENT)
			pages[num_present++] = (void *)(uintptr_t)(addr + i * info->page);
	if (num_present)
		place_present(info, pages, found, num_present);

	for (unsigned int i = 0; i < num; i++) {
		if (entries[i] & PAGEMAP_PRESENT)
			places[i] = found[present++];
		else if (entries[i] & PAGEMAP_SWAPPED)
			places[i] = place_away(info, entries[i]);
		else
			continue;
		add_page(info, vma, addr + i * info->page, places[i]);
	}
	return num;
}

static void read_span(struct info *info, int fd, struct info_vma *vma, uint64_t start,
		      uint64_t end)
{
	while (start < end) {
		uint64_t num = (end - start) / info->page;

		if (num > BATCH)
			num = BATCH;
		if (!read_batch(info, fd, vma, start, num))
			return;
		start += num * info->page;
	}
}

/*
 * A mapping may be huge and nearly empty: the kernel says where there is something
 * in it at all. One that cannot is asked page by page.
 */
static void read_vma(struct info *info, int fd, struct info_vma *vma)
{
#ifdef PAGEMAP_SCAN
	struct page_region regions[256];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = vma->start,
		.end = vma->end,
		.vec = (uintptr_t)regions,
		.vec_len = ARRAY_SIZE(regions),
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};

	while (scan.start < vma->end) {
		int num = ioctl(fd, PAGEMAP_SCAN, &scan);

		if (num < 0)
			break;
		for (int i = 0; i < num; i++)
			read_span(info, fd, vma, regions[i].start, regions[i].end);
		if (scan.walk_end <= scan.start)
			return;
		scan.start = scan.walk_end;
	}
	if (scan.start >= vma->end)
		return;
	read_span(info, fd, vma, scan.start, vma->end);
#else
	read_span(info, fd, vma, vma->start, vma->end);
#endif
}

static int read_pages(struct info *info)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", info->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return no_process(info, "pagemap");
	for (unsigned int i = 0; i < info->num_vmas; i++)
		read_vma(info, fd, &info->vmas[i]);
	close(fd);
	return INFO_OK;
}

/* What the devices say, through the files that the process has open. */
static void read_fdinfo(struct info *info)
{
	char path[300], target[128], line[256];
	struct dirent *entry;
	uint64_t kib;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", info->pid);
	dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		unsigned int minor;
		ssize_t len;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", info->pid, entry->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		if (sscanf(target, "/dev/dri/renderD%u", &minor) != 1)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", info->pid, entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		while (fgets(line, sizeof(line), file)) {
			if (sscanf(line, "drm-resident-vram: %" SCNu64, &kib) != 1)
				continue;
			if (strstr(line, "MiB"))
				kib <<= 10;
			else if (!strstr(line, "KiB"))
				kib >>= 10;
			for (unsigned int i = 0; i < info->num_devices; i++) {
				struct info_device *device = &info->devices[i];

				/* Each file of a process says the same. */
				if (device->dev.minor == minor) {
					device->resident_known = true;
					if (kib << 10 > device->resident)
						device->resident = kib << 10;
				}
			}
		}
		fclose(file);
	}
	closedir(dir);
}

/* Who has a VM, for a process that has none. */
static void list_users(const struct info *info)
{
	int last = -1;

	for (unsigned int i = 0; i < info->num_vms; i++) {
		bool first = true;

		for (unsigned int j = 0; j < i; j++)
			first &= info->vms[j].pid != info->vms[i].pid;
		if (!first)
			continue;
		if (last < 0)
			fputs("vsvm-info: processes that have one:", stderr);
		last = info->vms[i].pid;
		fprintf(stderr, " %d (%s)", last, info->vms[i].comm);
	}
	fputs(last < 0 ? "vsvm-info: no process has one now\n" : "\n", stderr);
}

int info_read_process(struct info *info)
{
	bool any = false;
	FILE *file;
	int ret;

	file = open_proc(info, "comm");
	if (!file)
		return no_process(info, "comm");
	if (fgets(info->comm, sizeof(info->comm), file))
		info->comm[strcspn(info->comm, "\n")] = '\0';
	fclose(file);

	ret = read_managers(info);
	if (!ret)
		ret = read_vmas(info);
	if (!ret)
		ret = read_regions(info);
	if (ret)
		return ret;

	for (unsigned int i = 0; i < info->num_vms; i++)
		any |= info->vms[i].pid == info->pid;
	if (!any && !info->num_managers) {
		info_complain("process %d (%s) has no VM on any vsvm device", info->pid,
			      info->comm);
		list_users(info);
		return INFO_CANNOT;
	}

	ret = read_pages(info);
	if (!ret)
		read_fdinfo(info);
	return ret;
}

void info_free(struct info *info)
{
	for (unsigned int i = 0; i < info->num_managers; i++) {
		struct info_manager *manager = &info->managers[i];

		for (unsigned int j = 0; j < manager->num_attrs; j++)
			free(manager->attrs[j].access);
		free(manager->attrs);
	}
	for (unsigned int i = 0; i < info->num_devices; i++)
		vsvm_close(&info->devices[i].dev);
	free(info->managers);
	free(info->regions);
	free(info->vms);
	free(info->vmas);
	free(info->runs);
}
