/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * vsvm-info: what its parts share. info_read.c collects from the kernel what there
 * is to know, info_report.c and info_svg.c show it.
 */

#ifndef _INFO_H_
#define _INFO_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "libvsvm.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#endif

/* Exit status */
#define INFO_OK		0
#define INFO_FAILED	1
#define INFO_USAGE	2
#define INFO_CANNOT	3

#define INFO_MAX_NODES	16
#define INFO_MAX_SLOTS	64

/*
 * Where a page is: on a node, in a device's memory, on swap, or somewhere that has no
 * node: the zero page, memory of an I/O device.
 */
#define INFO_PLACE_NODE(n)	(n)
#define INFO_PLACE_DEVICE(d)	(INFO_MAX_NODES + (d))
#define INFO_PLACE_SWAP		(INFO_MAX_NODES + VSVM_MAX_DEVICES)
#define INFO_PLACE_OTHER	(INFO_PLACE_SWAP + 1)
#define INFO_PLACES		(INFO_PLACE_OTHER + 1)

/**
 * struct info_region - Page frames of a device's memory
 * @device: index in &info.devices
 * @first: first page frame
 * @end: end, exclusive
 */
struct info_region {
	unsigned int device;
	uint64_t first, end;
};

/**
 * struct info_device - A device
 * @dev: the device, open
 * @name: as its bus has it, "vsvm.0" for example
 * @used: bytes of its memory that are allocated
 * @used_known: @used could be read
 * @resident: what it says that the process has in its memory, see fdinfo
 * @resident_known: the process has the device open
 */
struct info_device {
	struct vsvm_device dev;
	char name[64];
	uint64_t used;
	bool used_known;
	uint64_t resident;
	bool resident_known;
};

/**
 * struct info_vm - A VM of a device
 * @device: index in &info.devices
 * @id: of the VM, on its file
 * @pid: process that made it
 * @comm: its name
 * @flags: DRM_VSVM_VM_*
 * @unfinished: jobs that have not ended
 * @jobs: those that have
 * @failed: of these, those that failed
 * @faults: accesses that faulted
 */
struct info_vm {
	unsigned int device;
	unsigned int id;
	int pid;
	char comm[32];
	unsigned int flags;
	unsigned int unfinished;
	uint64_t jobs, failed, faults;
};

/**
 * struct info_instance - An instance of a manager
 * @slot: its number in the manager
 * @device: of its bus
 * @name: the driver's name
 * @eager: it was attached so
 * @faults: faults that were served
 * @invalidations: those that met it
 * @dma_bytes: bytes that are mapped
 * @migrations: ranges that were moved for it
 */
struct info_instance {
	unsigned int slot;
	char device[64];
	char name[32];
	unsigned int eager;
	uint64_t faults, invalidations, dma_bytes, migrations;
};

/**
 * struct info_access - What was said of an instance's access to an interval
 * @slot: the instance
 * @read_only: it may not write
 * @mode: "none" for example
 * @atomics: "cpu" for example
 */
struct info_access {
	unsigned int slot;
	unsigned int read_only;
	char mode[16];
	char atomics[16];
};

/**
 * struct info_attr - An interval about which something was said
 * @start: first address
 * @end: end, exclusive
 * @location: "default", "system", or a device
 * @writer: slot of the instance through which that was said, or "none"
 * @migration: "all", "never", "system"
 * @granularity: log2 of pages, or "default"
 * @residence_ms: or "default"
 * @access: of instances
 * @num_access: number of these
 */
struct info_attr {
	uint64_t start, end;
	char location[64];
	char writer[8];
	char migration[16];
	char granularity[16];
	char residence_ms[16];
	struct info_access *access;
	unsigned int num_access;
};

/**
 * struct info_manager - The manager of the process
 * @name: of its file in debugfs
 * @ranges: number of its ranges
 * @range_bytes: their size, all in all
 * @instances: its instances
 * @num_instances: number of these
 * @attrs: what was said
 * @num_attrs: number of these
 */
struct info_manager {
	char name[64];
	unsigned int ranges;
	uint64_t range_bytes;
	struct info_instance instances[INFO_MAX_SLOTS];
	unsigned int num_instances;
	struct info_attr *attrs;
	unsigned int num_attrs;
};

/**
 * struct info_vma - A mapping of the process
 * @start: first address
 * @end: end, exclusive
 * @perms: "rw-p" for example
 * @name: file, "[heap]", or empty
 * @bytes: for each place, how much of it is there
 */
struct info_vma {
	uint64_t start, end;
	char perms[8];
	char name[128];
	uint64_t bytes[INFO_PLACES];
};

/**
 * struct info_run - Pages that follow each other at one place
 * @start: first address
 * @end: end, exclusive
 * @place: INFO_PLACE_*
 */
struct info_run {
	uint64_t start, end;
	unsigned int place;
};

/**
 * struct info - All that was collected
 * @pid: the process, 0: only the devices are wanted
 * @comm: its name
 * @page: bytes of a page
 * @devices: the devices
 * @num_devices: number of these
 * @regions: page frames of their memories
 * @num_regions: number of these
 * @vms: VMs, of all processes
 * @num_vms: number of these
 * @managers: those of the process; one, most often
 * @num_managers: number of these
 * @vmas: the mappings, in ascending order
 * @num_vmas: number of these
 * @runs: where the pages are, in ascending order
 * @num_runs: number of these
 * @total: for each place, bytes of all mappings
 * @debugfs: debugfs could be read
 */
struct info {
	pid_t pid;
	char comm[32];
	uint64_t page;
	struct info_device devices[VSVM_MAX_DEVICES];
	unsigned int num_devices;
	struct info_region *regions;
	unsigned int num_regions;
	struct info_vm *vms;
	unsigned int num_vms;
	struct info_manager *managers;
	unsigned int num_managers;
	struct info_vma *vmas;
	unsigned int num_vmas;
	struct info_run *runs;
	unsigned int num_runs;
	uint64_t total[INFO_PLACES];
	bool debugfs;
};

/* Each says what is wrong, and what to do: INFO_OK or the exit status. */
int info_read_devices(struct info *info);
int info_read_process(struct info *info);
void info_free(struct info *info);

/* Grows an array by one place that is zero; ends the program where that fails. */
void *info_grow(void *array, unsigned int *num, size_t size);
#define INFO_GROW(array, num) \
	((array) = info_grow((array), &(num), sizeof(*(array))), &(array)[(num) - 1])

void info_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Name of a place: "node 0", "vsvm.1", "swap", "other". */
const char *info_place_name(const struct info *info, unsigned int place, char *buf,
			    size_t size);
/* Is it one to be shown: something is there, or a VM of the process could use it? */
bool info_place_shown(const struct info *info, unsigned int place);
/* "4 KiB", "1.5 GiB" */
const char *info_size(uint64_t bytes, char *buf, size_t size);
/* The part of a file name that is of interest. */
const char *info_vma_name(const struct info_vma *vma);
/* "none, read-only, atomics cpu"; what is the default is left out. */
const char *info_access_text(const struct info_access *access, char *buf, size_t size);
/* "vsvm.1, moves: never"; likewise. */
const char *info_placement_text(const struct info_attr *attr, char *buf, size_t size);

void info_report_text(const struct info *info);
void info_report_json(const struct info *info);
int info_report_svg(const struct info *info, const char *path);

#endif /* _INFO_H_ */
