// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-demo: tables and JSON
 *
 * With --json, one object on standard output and nothing else there. Members
 * are only ever added; numbers are integers but for "seconds".
 *
 *	version		1
 *	result		"pass" or "fail", as the exit status says
 *	seconds		from the first job to the last check
 *	file		object:
 *	  path, size	the file, and its bytes
 *	  shards	pieces that a worker takes at a time
 *	  nodes		nodes of the index
 *	config		object:
 *	  gpus		number of GPUs
 *	  threads	CPU threads that change memory, beside the one that works
 *	  rounds	number of rounds
 *	  eager		true: what one GPU faults in is mapped for all
 *	  migrate	true: what a GPU faults in is moved into its memory
 *	cpu		object, what the CPU threads did:
 *	  heap_changes	blocks of the heap that were freed, grown, rewritten
 *	  window_changes  times that memory was mapped, used by GPUs, and thrown
 *			away, protected, moved or replaced
 *	  remaps	changes of mappings while GPUs used them
 *	checks		array of objects, one for each kind of result:
 *	  name		checksum, histogram, copy, compare, chase, index, counter,
 *			window, heap
 *	  compared	values that were compared with those of the CPU
 *	  differences	how many were not equal
 *	differences	sum of these
 *	failed_jobs	jobs that ended with an error
 *	violations	sum over the GPUs
 *	gpus		array of objects, one for each GPU:
 *	  index		number of the device
 *	  render_node	"/dev/dri/renderD128", for example
 *	  dma		what stands between it and memory: none, identity, strict, lazy
 *	  jobs_sent	jobs that the demo submitted
 *	  violations	accesses during this run that the device should not have
 *			been able to make
 *	  ...		all members of struct drm_vsvm_stats_data that count for a
 *			VM, by their names, from "jobs" to "migrations_shared",
 *			"migrations_backed_off" and "pins"
 *	manager		object: all members of struct drm_vsvm_stats_data that
 *			begin with "mgr_", without that
 *
 * Where the demo could not begin (exit status 2 or 3) there is no object.
 */

#include <inttypes.h>
#include <stdio.h>

#include "demo.h"

struct field {
	const char *name;
	size_t offset;
};

#define FIELD(_name)	{ #_name, offsetof(struct drm_vsvm_stats_data, _name) }
#define MGR(_name)	{ #_name, offsetof(struct drm_vsvm_stats_data, mgr_##_name) }

/* "violations" is left out: it is the device's, and older than this run. */
static const struct field gpu_fields[] = {
	FIELD(jobs), FIELD(jobs_failed), FIELD(bytes_read), FIELD(bytes_written),
	FIELD(faults), FIELD(faults_merged), FIELD(batches),
	FIELD(tlb_hits), FIELD(tlb_misses), FIELD(tlb_flushes), FIELD(tlb_flushed),
	FIELD(dma_mapped), FIELD(dma_maps), FIELD(dma_unmaps),
	FIELD(snapshot_hits), FIELD(snapshot_walks), FIELD(invalidations), FIELD(retries),
	FIELD(eager_maps),
	FIELD(migrations), FIELD(migrations_failed), FIELD(migrations_resident),
	FIELD(migrations_pinned), FIELD(migrations_shared),
	FIELD(migrations_backed_off), FIELD(pins),
};

static const struct field manager_fields[] = {
	MGR(invalidations), MGR(invalidations_missed), MGR(walks), MGR(snapshot_hits),
	MGR(ranges), MGR(ranges_made), MGR(ranges_removed), MGR(seq_waits),
	MGR(nonblock_refused), MGR(instances),
	MGR(migrations), MGR(migrations_failed), MGR(moves_back),
	MGR(refused_resident), MGR(refused_pinned), MGR(refused_backoff), MGR(pins),
};

/* A column of a table */
struct column {
	const char *first, *second;
	struct field field;
};

static const struct column work_columns[] = {
	{ "", "jobs", FIELD(jobs) },
	{ "", "faults", FIELD(faults) },
	{ "fault", "batches", FIELD(batches) },
	{ "snapshot", "hits", FIELD(snapshot_hits) },
	{ "snapshot", "walks", FIELD(snapshot_walks) },
	{ "invali-", "dations", FIELD(invalidations) },
	{ "TLB", "flushes", FIELD(tlb_flushes) },
	{ "DMA", "mappings", FIELD(dma_maps) },
};

static const struct column move_columns[] = {
	{ "ranges", "moved in", FIELD(migrations) },
	{ "refused,", "resident", FIELD(migrations_resident) },
	{ "refused,", "pinned", FIELD(migrations_pinned) },
	{ "", "pins", FIELD(pins) },
	{ "", "failed", FIELD(migrations_failed) },
	{ "bytes from", "system", FIELD(copy_bytes_in) },
	{ "bytes to", "system", FIELD(copy_bytes_out) },
	{ "bytes to", "peers", FIELD(copy_bytes_peer) },
	{ "", "evicted", FIELD(vram_evictions) },
};

static const struct {
	const char *name, *what;
} checks[DEMO_CHECKS] = {
	[CHECK_CHECKSUM] = { "checksum", "checksums of shards of the file" },
	[CHECK_HISTOGRAM] = { "histogram", "byte counts, by all workers into one table" },
	[CHECK_COPY] = { "copy", "copies of shards on the heap, compared by the CPU" },
	[CHECK_COMPARE] = { "compare", "copies compared by another GPU" },
	[CHECK_CHASE] = { "chase", "walks through the index" },
	[CHECK_INDEX] = { "index", "nodes, each changed by one worker" },
	[CHECK_COUNTER] = { "counter", "atomic counters, changed by everybody" },
	[CHECK_WINDOW] = { "window", "answers about memory whose pages came and went" },
	[CHECK_HEAP] = { "heap", "blocks that only the CPU may change" },
};

static const char *dma_name(const struct demo_gpu *gpu)
{
	static const char * const names[] = {
		[DRM_VSVM_DMA_DIRECT] = "none", [DRM_VSVM_DMA_IDENTITY] = "identity",
		[DRM_VSVM_DMA_TRANSLATED] = "strict", [DRM_VSVM_DMA_LAZY] = "lazy",
	};

	return gpu->dev.info.dma < ARRAY_SIZE(names) ? names[gpu->dev.info.dma] : "unknown";
}

static uint64_t field_value(const struct drm_vsvm_stats_data *stats, const struct field *field)
{
	return *(const __u64 *)((const char *)stats + field->offset);
}

static uint64_t sum_differences(const struct demo *d)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < DEMO_CHECKS; i++)
		sum += d->differences[i];
	return sum;
}

static uint64_t sum_violations(const struct demo *d)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < d->num_gpus; i++)
		sum += d->gpus[i].violations;
	return sum;
}

/* A kind of check that was never made is not a success. */
static bool all_checked(const struct demo *d)
{
	for (unsigned int i = 0; i < DEMO_CHECKS; i++) {
		if (i == CHECK_WINDOW && !d->num_threads)
			continue;
		if (!d->compared[i])
			return false;
	}
	return true;
}

bool demo_passed(const struct demo *d)
{
	return d->ran && !d->fatal && !d->failed_jobs && !d->failed_waits && all_checked(d) &&
	       !sum_differences(d) && !sum_violations(d);
}

static void report_gpus(const struct demo *d, const struct column *columns, unsigned int num)
{
	printf("\n%-7s", "");
	for (unsigned int c = 0; c < num; c++)
		printf("%11s", columns[c].first);
	printf("\n%-7s", "");
	for (unsigned int c = 0; c < num; c++)
		printf("%11s", columns[c].second);
	printf("\n");

	for (unsigned int i = 0; i < d->num_gpus; i++) {
		printf("GPU %-3u", i);
		for (unsigned int c = 0; c < num; c++)
			printf("%11" PRIu64, field_value(&d->gpus[i].stats, &columns[c].field));
		printf("\n");
	}
	printf("%-7s", "all");
	for (unsigned int c = 0; c < num; c++) {
		uint64_t sum = 0;

		for (unsigned int i = 0; i < d->num_gpus; i++)
			sum += field_value(&d->gpus[i].stats, &columns[c].field);
		printf("%11" PRIu64, sum);
	}
	printf("\n");
}

static void report_dma(const struct demo *d)
{
	printf("\nDMA, IOMMU domain");
	for (unsigned int i = 0; i < d->num_gpus; i++)
		printf("%s GPU %u: %s", i ? "," : "", i, dma_name(&d->gpus[i]));
	printf("\n");
}

static void report_manager(const struct demo *d)
{
	const struct drm_vsvm_stats_data *s = &d->gpus[0].stats;

	printf("\nmanager  %" PRIu64 " instances, %" PRIu64 " ranges (%" PRIu64 " made, %" PRIu64
	       " removed)\n", (uint64_t)s->mgr_instances, (uint64_t)s->mgr_ranges,
	       (uint64_t)s->mgr_ranges_made, (uint64_t)s->mgr_ranges_removed);
	printf("         %" PRIu64 " HMM walks, %" PRIu64 " mappings made without one\n",
	       (uint64_t)s->mgr_walks, (uint64_t)s->mgr_snapshot_hits);
	printf("         %" PRIu64 " invalidations, %" PRIu64 " of them met no range; "
	       "%" PRIu64 " waits for one to end\n", (uint64_t)s->mgr_invalidations,
	       (uint64_t)s->mgr_invalidations_missed, (uint64_t)s->mgr_seq_waits);
	if (d->migrate)
		printf("         %" PRIu64 " moves into GPU memory, %" PRIu64 " back; %" PRIu64
		       " pins, %" PRIu64 " moves refused\n", (uint64_t)s->mgr_migrations,
		       (uint64_t)s->mgr_moves_back, (uint64_t)s->mgr_pins,
		       (uint64_t)(s->mgr_refused_resident + s->mgr_refused_pinned +
				  s->mgr_refused_backoff));
}

static void report_checks(const struct demo *d)
{
	printf("\n%-50s %11s %11s\n", "compared with the CPU's results", "compared", "different");
	for (unsigned int i = 0; i < DEMO_CHECKS; i++)
		printf("%-50s %11" PRIu64 " %11" PRIu64 "\n", checks[i].what, d->compared[i],
		       d->differences[i]);
	printf("%-62s %11" PRIu64 "\n", "jobs that failed", d->failed_jobs);
	printf("%-62s %11" PRIu64 "\n", "accesses that a GPU should not have been able to make",
	       sum_violations(d));
}

void demo_report_text(const struct demo *d)
{
	printf("%u GPU%s and the CPU at work in one address space\n\n", d->num_gpus,
	       d->num_gpus == 1 ? "" : "s");
	printf("file     %s, %zu bytes, mapped, in %u shards\n", d->path, d->file_size,
	       d->num_shards);
	printf("index    %zu nodes on the heap, linked in random order\n", d->num_nodes);
	printf("work     %u rounds in %.1f s%s%s\n", d->rounds, d->seconds,
	       d->eager ? ", mapped eagerly" : "",
	       d->migrate ? ", moved into the GPUs' memory" : "");
	printf("CPU      %u threads: %" PRIu64 " blocks of the heap changed, %" PRIu64
	       " windows mapped, %" PRIu64 " remappings of data in use\n",
	       d->num_threads, d->heap_changes, d->window_changes, d->remaps);
	report_gpus(d, work_columns, ARRAY_SIZE(work_columns));
	report_dma(d);
	if (d->migrate)
		report_gpus(d, move_columns, ARRAY_SIZE(move_columns));
	report_manager(d);
	report_checks(d);
	printf("\n%s\n", demo_passed(d) ? "PASS: every result is that of the CPU" : "FAIL");
}

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

static void json_number(const char *indent, const char *name, uint64_t value, bool last)
{
	printf("%s\"%s\": %" PRIu64 "%s\n", indent, name, value, last ? "" : ",");
}

static void json_fields(const char *indent, const struct drm_vsvm_stats_data *stats,
			const struct field *fields, size_t num)
{
	for (size_t i = 0; i < num; i++)
		json_number(indent, fields[i].name, field_value(stats, &fields[i]), i + 1 == num);
}

void demo_report_json(const struct demo *d)
{
	printf("{\n  \"version\": 1,\n  \"result\": \"%s\",\n  \"seconds\": %.3f,\n",
	       demo_passed(d) ? "pass" : "fail", d->seconds);

	printf("  \"file\": {\n    \"path\": ");
	json_string(d->path);
	printf(",\n");
	json_number("    ", "size", d->file_size, false);
	json_number("    ", "shards", d->num_shards, false);
	json_number("    ", "nodes", d->num_nodes, true);

	printf("  },\n  \"config\": {\n");
	json_number("    ", "gpus", d->num_gpus, false);
	json_number("    ", "threads", d->num_threads, false);
	json_number("    ", "rounds", d->rounds, false);
	printf("    \"eager\": %s,\n", d->eager ? "true" : "false");
	printf("    \"migrate\": %s\n", d->migrate ? "true" : "false");

	printf("  },\n  \"cpu\": {\n");
	json_number("    ", "heap_changes", d->heap_changes, false);
	json_number("    ", "window_changes", d->window_changes, false);
	json_number("    ", "remaps", d->remaps, true);

	printf("  },\n  \"checks\": [\n");
	for (unsigned int i = 0; i < DEMO_CHECKS; i++)
		printf("    { \"name\": \"%s\", \"compared\": %" PRIu64
		       ", \"differences\": %" PRIu64 " }%s\n", checks[i].name, d->compared[i],
		       d->differences[i], i + 1 < DEMO_CHECKS ? "," : "");
	printf("  ],\n");
	json_number("  ", "differences", sum_differences(d), false);
	json_number("  ", "failed_jobs", d->failed_jobs, false);
	json_number("  ", "violations", sum_violations(d), false);

	printf("  \"gpus\": [\n");
	for (unsigned int i = 0; i < d->num_gpus; i++) {
		const struct demo_gpu *gpu = &d->gpus[i];

		printf("    {\n");
		json_number("      ", "index", gpu->dev.info.index, false);
		printf("      \"render_node\": \"/dev/dri/renderD%u\",\n", gpu->dev.minor);
		printf("      \"dma\": \"%s\",\n", dma_name(gpu));
		json_number("      ", "jobs_sent", gpu->jobs_sent, false);
		json_number("      ", "violations", gpu->violations, false);
		json_fields("      ", &gpu->stats, gpu_fields, ARRAY_SIZE(gpu_fields));
		printf("    }%s\n", i + 1 < d->num_gpus ? "," : "");
	}

	printf("  ],\n  \"manager\": {\n");
	json_fields("    ", &d->gpus[0].stats, manager_fields, ARRAY_SIZE(manager_fields));
	printf("  }\n}\n");
}
