// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-info: tables and JSON
 *
 * With --json, one object on standard output and nothing else there. Members are
 * only ever added; numbers are integers, sizes are in bytes, addresses are numbers,
 * ends are exclusive.
 *
 *	version		1
 *	devices		array of objects:
 *	  index, name, render_node, hive, engines, tlb_entries, dma
 *	  vram_size	memory of the device
 *	  vram_used	how much of it is allocated; null: debugfs cannot be read
 *	  vms		array of objects, without a PID: vm, pid, comm, flags
 * and where a PID was given:
 *	process		object:
 *	  pid, comm
 *	  vms		array of objects: device, vm, flags, unfinished, jobs, failed,
 *			faults
 *	  managers	array of objects:
 *	    name	of its file in debugfs
 *	    ranges, range_bytes
 *	    instances	array of objects: slot, device, name, eager, faults,
 *			invalidations, dma_bytes, migrations
 *	    attributes	array of objects, what was said: start, end, location, writer,
 *			migration, granularity, residence_ms as strings of debugfs,
 *			access: array of objects: slot, mode, read_only, atomics
 *	  mappings	array of objects: start, end, perms, name, places: object with
 *			bytes for "node N", names of devices, "swap", "other"
 *	  total		places, of all mappings
 *	  resident	object: per device what its fdinfo says
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "info.h"

static const char *dma_name(uint32_t dma)
{
	static const char * const names[] = {
		[DRM_VSVM_DMA_DIRECT] = "direct",
		[DRM_VSVM_DMA_IDENTITY] = "identity",
		[DRM_VSVM_DMA_TRANSLATED] = "translated",
		[DRM_VSVM_DMA_LAZY] = "lazy",
	};

	return dma < ARRAY_SIZE(names) ? names[dma] : "?";
}

const char *info_place_name(const struct info *info, unsigned int place, char *buf,
			    size_t size)
{
	if (place < INFO_MAX_NODES)
		snprintf(buf, size, "node %u", place);
	else if (place == INFO_PLACE_SWAP)
		snprintf(buf, size, "swap");
	else if (place == INFO_PLACE_OTHER)
		snprintf(buf, size, "other");
	else
		snprintf(buf, size, "%s", info->devices[place - INFO_MAX_NODES].name);
	return buf;
}

bool info_place_shown(const struct info *info, unsigned int place)
{
	unsigned int device = place - INFO_MAX_NODES;

	if (info->total[place])
		return true;
	if (place < INFO_MAX_NODES || place >= INFO_PLACE_SWAP || device >= info->num_devices)
		return false;
	for (unsigned int i = 0; i < info->num_vms; i++)
		if (info->vms[i].pid == info->pid && info->vms[i].device == device)
			return true;
	return false;
}

const char *info_size(uint64_t bytes, char *buf, size_t size)
{
	static const char * const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	unsigned int unit = 0;
	uint64_t scale = 1;

	while (unit + 1 < ARRAY_SIZE(units) && bytes / scale >= 1024) {
		scale <<= 10;
		unit++;
	}
	if (bytes % scale)
		snprintf(buf, size, "%.1f %s", (double)bytes / scale, units[unit]);
	else
		snprintf(buf, size, "%" PRIu64 " %s", bytes / scale, units[unit]);
	return buf;
}

const char *info_vma_name(const struct info_vma *vma)
{
	const char *slash = strrchr(vma->name, '/');

	return slash && vma->name[0] == '/' ? slash + 1 : vma->name;
}

static size_t add_text(char *buf, size_t size, size_t len, const char *format,
		       const char *value)
{
	if (len < size)
		len += snprintf(buf + len, size - len, "%s", len ? ", " : "");
	if (len < size)
		len += snprintf(buf + len, size - len, format, value);
	return len;
}

const char *info_access_text(const struct info_access *access, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	if (strcmp(access->mode, "default"))
		len = add_text(buf, size, len, "%s", access->mode);
	if (access->read_only)
		len = add_text(buf, size, len, "%s", "read-only");
	if (strcmp(access->atomics, "undefined"))
		add_text(buf, size, len, "atomics %s", access->atomics);
	return buf;
}

const char *info_placement_text(const struct info_attr *attr, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	if (strcmp(attr->location, "default"))
		len = add_text(buf, size, len, "%s", attr->location);
	if (strcmp(attr->migration, "all"))
		len = add_text(buf, size, len, "moves: %s", attr->migration);
	if (strcmp(attr->granularity, "default"))
		len = add_text(buf, size, len, "2^%s pages", attr->granularity);
	if (strcmp(attr->residence_ms, "default"))
		add_text(buf, size, len, "stays %s ms", attr->residence_ms);
	return buf;
}

static const char *flags_text(unsigned int flags, char *buf, size_t size)
{
	static const struct {
		unsigned int flag;
		const char *name;
	} names[] = {
		{ DRM_VSVM_VM_MIRROR, "mirror" }, { DRM_VSVM_VM_EAGER, "eager" },
		{ DRM_VSVM_VM_MIGRATE, "migrate" }, { DRM_VSVM_VM_SHARED_RESV, "shared_resv" },
		{ DRM_VSVM_VM_UPSTREAM, "upstream" }, { DRM_VSVM_VM_TWO_PASS, "two_pass" },
	};
	size_t len = 0;

	snprintf(buf, size, "-");
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (flags & names[i].flag && len < size)
			len += snprintf(buf + len, size - len, "%s%s", len ? "," : "",
					names[i].name);
	return buf;
}

/* ---------------------------------------------------------------------- text */

static void text_devices(const struct info *info)
{
	char size[32], used[32];

	printf("%-14s %-22s %4s %7s %11s %11s  %s\n", "device", "node", "hive", "engines",
	       "memory", "used", "DMA");
	for (unsigned int i = 0; i < info->num_devices; i++) {
		const struct info_device *device = &info->devices[i];
		const struct drm_vsvm_query *query = &device->dev.info;
		char node[32];

		snprintf(node, sizeof(node), "/dev/dri/renderD%u", device->dev.minor);
		printf("%-14s %-22s %4u %7u %11s %11s  %s\n", device->name, node, query->hive,
		       query->engines, info_size(query->vram_size, size, sizeof(size)),
		       device->used_known ? info_size(device->used, used, sizeof(used)) : "?",
		       dma_name(query->dma));
	}
}

static void text_vms(const struct info *info)
{
	bool any = false;
	char flags[80];

	for (unsigned int i = 0; i < info->num_vms; i++) {
		const struct info_vm *vm = &info->vms[i];

		if (info->pid && vm->pid != info->pid)
			continue;
		if (!any)
			printf("\n%-14s %5s %8s %-16s %9s %7s %10s  %s\n", "device", "VM", "PID",
			       "name", "jobs", "failed", "faults", "flags");
		any = true;
		printf("%-14s %5u %8d %-16s %9" PRIu64 " %7" PRIu64 " %10" PRIu64 "  %s\n",
		       info->devices[vm->device].name, vm->id, vm->pid, vm->comm, vm->jobs,
		       vm->failed, vm->faults, flags_text(vm->flags, flags, sizeof(flags)));
	}
	if (!any && info->debugfs)
		printf("\nno VMs\n");
	else if (!any)
		printf("\nwho uses them says debugfs: mount -t debugfs none /sys/kernel/debug\n");
}

static void text_manager(const struct info_manager *manager)
{
	char size[32], text[160];

	printf("\nmanager %s: %u instance%s, %u range%s, %s\n", manager->name,
	       manager->num_instances, manager->num_instances == 1 ? "" : "s", manager->ranges,
	       manager->ranges == 1 ? "" : "s",
	       info_size(manager->range_bytes, size, sizeof(size)));
	for (unsigned int i = 0; i < manager->num_instances; i++) {
		const struct info_instance *instance = &manager->instances[i];

		printf("  instance %-3u %-14s %s mapped, %" PRIu64 " faults, %" PRIu64
		       " moves, %" PRIu64 " invalidations%s\n", instance->slot,
		       instance->device, info_size(instance->dma_bytes, size, sizeof(size)),
		       instance->faults, instance->migrations, instance->invalidations,
		       instance->eager ? ", eager" : "");
	}

	if (!manager->num_attrs) {
		printf("  no attributes\n");
		return;
	}
	printf("\n%-33s %9s  %s\n", "attributes of", "size", "what was said");
	for (unsigned int i = 0; i < manager->num_attrs; i++) {
		const struct info_attr *attr = &manager->attrs[i];
		bool said;

		printf("%16" PRIx64 "-%-16" PRIx64 " %9s", attr->start, attr->end,
		       info_size(attr->end - attr->start, size, sizeof(size)));
		said = info_placement_text(attr, text, sizeof(text))[0];
		if (said) {
			printf("  data: %s", text);
			if (strcmp(attr->writer, "none"))
				printf(" (by instance %s)", attr->writer);
		}
		for (unsigned int j = 0; j < attr->num_access; j++) {
			printf("%s instance %u: %s", said || j ? ";" : " ",
			       attr->access[j].slot,
			       info_access_text(&attr->access[j], text, sizeof(text)));
		}
		printf("\n");
	}
}

static void text_row(const struct info *info, const uint64_t *bytes)
{
	char size[32];

	for (unsigned int place = 0; place < INFO_PLACES; place++)
		if (info_place_shown(info, place))
			printf(" %10s", bytes[place] ? info_size(bytes[place], size,
								 sizeof(size)) : "-");
}

static void text_memory(const struct info *info)
{
	bool fdinfo = false;
	char size[32];

	printf("\n%-33s %-4s %10s", "memory", "", "size");
	for (unsigned int place = 0; place < INFO_PLACES; place++)
		if (info_place_shown(info, place))
			printf(" %10s", info_place_name(info, place, size, sizeof(size)));
	printf("  name\n");
	for (unsigned int i = 0; i < info->num_vmas; i++) {
		const struct info_vma *vma = &info->vmas[i];

		printf("%16" PRIx64 "-%-16" PRIx64 " %-4s %10s", vma->start, vma->end, vma->perms,
		       info_size(vma->end - vma->start, size, sizeof(size)));
		text_row(info, vma->bytes);
		printf("  %s\n", vma->name);
	}
	printf("%-49s", "all");
	text_row(info, info->total);
	printf("\n");

	for (unsigned int i = 0; i < info->num_devices; i++)
		fdinfo |= info->devices[i].resident_known;
	if (!fdinfo)
		return;
	printf("%-49s", "allocated on devices, as their files say");
	for (unsigned int place = 0; place < INFO_PLACES; place++) {
		const struct info_device *device = &info->devices[place - INFO_MAX_NODES];

		if (!info_place_shown(info, place))
			continue;
		if (place < INFO_MAX_NODES || place >= INFO_PLACE_SWAP || !device->resident_known)
			printf(" %10s", "");
		else
			printf(" %10s", info_size(device->resident, size, sizeof(size)));
	}
	printf("\n");
}

void info_report_text(const struct info *info)
{
	text_devices(info);
	if (info->pid)
		printf("\nprocess %d (%s)\n", info->pid, info->comm);
	text_vms(info);
	if (!info->pid)
		return;
	if (!info->num_managers)
		printf("\nno manager: no VM mirrors its memory, or they have another back end\n");
	for (unsigned int i = 0; i < info->num_managers; i++)
		text_manager(&info->managers[i]);
	text_memory(info);
}

/* ---------------------------------------------------------------------- JSON */

static void json_string(const char *string)
{
	putchar('"');
	for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < 0x20)
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

static void json_name(const char *name, const char *value)
{
	printf("\"%s\": ", name);
	json_string(value);
	printf(", ");
}

static void json_places(const struct info *info, const uint64_t *bytes)
{
	bool first = true;
	char name[64];

	printf("{");
	for (unsigned int place = 0; place < INFO_PLACES; place++) {
		if (!info_place_shown(info, place))
			continue;
		printf("%s", first ? " " : ", ");
		json_string(info_place_name(info, place, name, sizeof(name)));
		printf(": %" PRIu64, bytes[place]);
		first = false;
	}
	printf(" }");
}

static void json_devices(const struct info *info)
{
	char flags[80];

	printf("  \"devices\": [\n");
	for (unsigned int i = 0; i < info->num_devices; i++) {
		const struct info_device *device = &info->devices[i];
		const struct drm_vsvm_query *query = &device->dev.info;
		bool first = true;

		printf("    { \"index\": %u, ", query->index);
		json_name("name", device->name);
		json_name("dma", dma_name(query->dma));
		printf("\"render_node\": \"/dev/dri/renderD%u\", \"hive\": %u, ",
		       device->dev.minor, query->hive);
		printf("\"engines\": %u, \"tlb_entries\": %u, ", query->engines,
		       query->tlb_entries);
		printf("\"vram_size\": %" PRIu64 ", \"vram_used\": ",
		       (uint64_t)query->vram_size);
		if (device->used_known)
			printf("%" PRIu64, device->used);
		else
			printf("null");
		if (!info->pid) {
			printf(", \"vms\": [");
			for (unsigned int j = 0; j < info->num_vms; j++) {
				const struct info_vm *vm = &info->vms[j];

				if (vm->device != i)
					continue;
				printf("%s{ \"vm\": %u, \"pid\": %d, ", first ? "" : ", ",
				       vm->id, vm->pid);
				json_name("comm", vm->comm);
				printf("\"flags\": \"%s\" }",
				       flags_text(vm->flags, flags, sizeof(flags)));
				first = false;
			}
			printf("]");
		}
		printf(" }%s\n", i + 1 < info->num_devices ? "," : "");
	}
	printf("  ]");
}

static void json_manager(const struct info_manager *manager)
{
	printf("      {\n        ");
	json_name("name", manager->name);
	printf("\"ranges\": %u, \"range_bytes\": %" PRIu64 ",\n        \"instances\": [\n",
	       manager->ranges, manager->range_bytes);
	for (unsigned int i = 0; i < manager->num_instances; i++) {
		const struct info_instance *instance = &manager->instances[i];

		printf("          { \"slot\": %u, ", instance->slot);
		json_name("device", instance->device);
		json_name("name", instance->name);
		printf("\"eager\": %s, \"faults\": %" PRIu64 ", \"invalidations\": %" PRIu64
		       ", \"dma_bytes\": %" PRIu64 ", \"migrations\": %" PRIu64 " }%s\n",
		       instance->eager ? "true" : "false", instance->faults,
		       instance->invalidations, instance->dma_bytes, instance->migrations,
		       i + 1 < manager->num_instances ? "," : "");
	}
	printf("        ],\n        \"attributes\": [\n");
	for (unsigned int i = 0; i < manager->num_attrs; i++) {
		const struct info_attr *attr = &manager->attrs[i];

		printf("          { \"start\": %" PRIu64 ", \"end\": %" PRIu64 ", ", attr->start,
		       attr->end);
		json_name("location", attr->location);
		json_name("writer", attr->writer);
		json_name("migration", attr->migration);
		json_name("granularity", attr->granularity);
		json_name("residence_ms", attr->residence_ms);
		printf("\"access\": [");
		for (unsigned int j = 0; j < attr->num_access; j++) {
			const struct info_access *access = &attr->access[j];

			printf("%s{ \"slot\": %u, ", j ? ", " : "", access->slot);
			json_name("mode", access->mode);
			printf("\"read_only\": %u, \"atomics\": ", access->read_only);
			json_string(access->atomics);
			printf(" }");
		}
		printf("] }%s\n", i + 1 < manager->num_attrs ? "," : "");
	}
	printf("        ]\n      }");
}

static void json_process(const struct info *info)
{
	bool first = true;
	char flags[80];

	printf(",\n  \"process\": {\n    \"pid\": %d,\n    \"comm\": ", info->pid);
	json_string(info->comm);
	printf(",\n    \"vms\": [");
	for (unsigned int i = 0; i < info->num_vms; i++) {
		const struct info_vm *vm = &info->vms[i];

		if (vm->pid != info->pid)
			continue;
		printf("%s\n      { ", first ? "" : ",");
		json_name("device", info->devices[vm->device].name);
		printf("\"vm\": %u, \"flags\": \"%s\", \"unfinished\": %u, \"jobs\": %" PRIu64
		       ", \"failed\": %" PRIu64 ", \"faults\": %" PRIu64 " }", vm->id,
		       flags_text(vm->flags, flags, sizeof(flags)), vm->unfinished, vm->jobs,
		       vm->failed, vm->faults);
		first = false;
	}
	printf("\n    ],\n    \"managers\": [\n");
	for (unsigned int i = 0; i < info->num_managers; i++) {
		json_manager(&info->managers[i]);
		printf("%s\n", i + 1 < info->num_managers ? "," : "");
	}
	printf("    ],\n    \"mappings\": [\n");
	for (unsigned int i = 0; i < info->num_vmas; i++) {
		const struct info_vma *vma = &info->vmas[i];

		printf("      { \"start\": %" PRIu64 ", \"end\": %" PRIu64 ", ", vma->start,
		       vma->end);
		json_name("perms", vma->perms);
		json_name("name", vma->name);
		printf("\"places\": ");
		json_places(info, vma->bytes);
		printf(" }%s\n", i + 1 < info->num_vmas ? "," : "");
	}
	printf("    ],\n    \"total\": ");
	json_places(info, info->total);
	printf(",\n    \"resident\": {");
	first = true;
	for (unsigned int i = 0; i < info->num_devices; i++) {
		if (!info->devices[i].resident_known)
			continue;
		printf("%s", first ? " " : ", ");
		json_string(info->devices[i].name);
		printf(": %" PRIu64, info->devices[i].resident);
		first = false;
	}
	printf(" }\n  }");
}

void info_report_json(const struct info *info)
{
	printf("{\n  \"version\": 1,\n");
	json_devices(info);
	if (info->pid)
		json_process(info);
	printf("\n}\n");
}
