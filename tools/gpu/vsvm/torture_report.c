// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: what is said about a run, and how a failure is made smaller
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

/* Of all threads, the last ones */
#define JOURNAL_LINES	48
#define SHRINK_TRIES	300

/* ----------------------------------------------------------------- journal */

struct line {
	const struct thread *t;
	struct journal entry;
};

static int line_cmp(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->entry.seq < y->entry.seq ? -1 : x->entry.seq > y->entry.seq;
}

/* The last operations of all threads in the order in which they began */
void report_journal(struct torture *tt)
{
	static struct line lines[MAX_THREADS * JOURNAL];
	unsigned int num = 0;

	for (unsigned int i = 0; i < tt->num_threads; i++)
		for (unsigned int j = 0; j < JOURNAL; j++) {
			lines[num].t = &tt->threads[i];
			lines[num].entry = tt->threads[i].journal[j];
			num += lines[num].entry.seq != 0;
		}
	qsort(lines, num, sizeof(lines[0]), line_cmp);
	printf("# the last operations (0: done, 1: refused, 2: lost, -1: under way):\n");
	for (unsigned int i = num > JOURNAL_LINES ? num - JOURNAL_LINES : 0; i < num; i++) {
		const struct journal *e = &lines[i].entry;

		printf("#   %8" PRIu64 " thread %u operation %" PRIu64 " %-16s", e->seq,
		       lines[i].t->nr, e->nr, e->op->name);
		if (e->span.n)
			printf(" pages %u + %u (%s)", e->span.first, e->span.n,
			       e->span.area->name);
		if (e->gpu >= 0)
			printf(" GPU %d", e->gpu);
		printf(" -> %d\n", e->result);
	}
	fflush(stdout);
}

/* ------------------------------------------------------------------- table */

/* Prints the table. false: a kind of operation was not done often enough. */
bool report_table(struct torture *tt, double seconds)
{
	struct totals sum = {};
	uint64_t all = 0, waits = 0, starved = 0;
	bool good = true;

	printf("# %-18s %10s %10s %10s %10s\n", "operation", "done", "refused", "lost", "minimum");
	for (unsigned int o = 0; o < num_ops(); o++) {
		const struct op *op = op_get(o);
		struct op_stats s = {};

		for (unsigned int i = 0; i < tt->num_threads; i++) {
			s.done += tt->threads[i].stats[o].done;
			s.refused += tt->threads[i].stats[o].refused;
			s.lost += tt->threads[i].stats[o].lost;
		}
		all += s.done;
		if (tt->list && !s.done && !s.refused && !s.lost)
			continue;
		printf("# %-18s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10u\n", op->name, s.done,
		       s.refused, s.lost, op->min);
		if (!tt->list && !tt->failed && s.done < (tt->late ? 1 : op->min)) {
			printf("# FAILED: too few of %s\n", op->name);
			good = false;
		}
	}
	for (unsigned int i = 0; i < tt->num_threads; i++) {
		waits += tt->threads[i].waits;
		starved += tt->threads[i].starved;
	}
	for (unsigned int i = 0; i < tt->num_gpus; i++) {
		const uint64_t *from = (const void *)&tt->gpus[i].totals;
		uint64_t *to = (void *)&sum;

		for (size_t n = 0; n < sizeof(sum) / sizeof(uint64_t); n++)
			to[n] += from[n];
	}
	printf("# operations %" PRIu64 ", seconds %.0f, per second %.0f\n", all, seconds,
	       all / seconds);
	printf("# jobs %" PRIu64 ", failed %" PRIu64 ", starved %" PRIu64 "\n", sum.jobs,
	       sum.jobs_failed, starved);
	printf("# faults %" PRIu64 ", walks %" PRIu64 ", mappings %" PRIu64 ", retries %" PRIu64
	       "\n", sum.faults, sum.walks, sum.maps, sum.retries);
	printf("# moves %" PRIu64 ", failed %" PRIu64 ", evictions %" PRIu64 ", copies %" PRIu64
	       ", moves of objects %" PRIu64 "\n", sum.migrations, sum.migrations_failed,
	       sum.evictions, sum.copies, sum.gem_moves);
	printf("# invalidations %" PRIu64 ", waits for pages %" PRIu64 "\n", sum.invalidations,
	       waits);
	printf("# walker runs %" PRIu64 ", reports %" PRIu64 "\n", tt->walker_runs,
	       tt->walker_reports);
	printf("# violations %" PRIu64 "\n", sum.violations);
	if (sum.violations) {
		printf("# FAILED: violations\n");
		good = false;
	}
	/* Where these are zero nothing was tested. */
	if (!tt->list && !tt->failed && (!sum.faults || !sum.invalidations || !sum.maps ||
					 !tt->walker_runs || (tt->vram_mib && !sum.migrations))) {
		printf("# FAILED: a counter that must not be zero\n");
		good = false;
	}
	fflush(stdout);
	return good;
}

/* --------------------------------------------------------------- shrinking */

/* The numbers in the file of --only */
int list_read(struct torture *tt)
{
	size_t room = 0;
	uint64_t nr;
	FILE *file;

	if (!tt->only)
		return 0;
	file = fopen(tt->only, "re");
	if (!file) {
		fprintf(stderr, "vsvm-torture: %s: %s\n", tt->only, strerror(errno));
		return -errno;
	}
	while (fscanf(file, "%" SCNu64, &nr) == 1) {
		if (tt->list_len == room) {
			room = room ? 2 * room : 1024;
			tt->list = realloc(tt->list, room * sizeof(*tt->list));
			if (!tt->list)
				abort();
		}
		tt->list[tt->list_len++] = nr;
	}
	fclose(file);
	/* An empty list is one, too. */
	if (!tt->list)
		tt->list = calloc(1, sizeof(*tt->list));
	return 0;
}

struct attempt {
	struct torture *tt;
	char **argv;
	char path[64];
	unsigned int tries;
};

/* Runs the program anew with a list of operations. Returns whether it fails, and where. */
static bool attempt_fails(struct attempt *a, const uint64_t *list, size_t len, bool show,
			  uint64_t *at)
{
	struct torture *tt = a->tt;
	char seed[32], ops[32], gpus[16], vram[16], hives[16], broken[16], planted[32], line[512];
	int status = 0, fds[2];
	FILE *out;
	pid_t pid;

	out = fopen(a->path, "we");
	if (!out)
		return false;
	for (size_t i = 0; i < len; i++)
		fprintf(out, "%" PRIu64 "\n", list[i]);
	fclose(out);
	snprintf(seed, sizeof(seed), "%" PRIu64, tt->seed);
	snprintf(ops, sizeof(ops), "%" PRIu64, tt->ops);
	snprintf(gpus, sizeof(gpus), "%u", tt->num_gpus);
	snprintf(vram, sizeof(vram), "%u", tt->vram_mib);
	snprintf(hives, sizeof(hives), "%u", tt->hives);
	snprintf(broken, sizeof(broken), "%u", tt->broken);
	snprintf(planted, sizeof(planted), "%" PRIu64, tt->plant);
	if (pipe(fds))
		return false;
	fflush(stdout);
	a->tries++;
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		if (!show)
			dup2(fds[1], 2);
		execl("/proc/self/exe", a->argv[0], "--threads", "1", show ? "--replay" : "--seed",
		      seed, "--ops", ops, "--gpus", gpus, "--vram", vram, "--hives", hives,
		      "--break", broken, "--plant", planted, "--quiet", "--only", a->path, NULL);
		_exit(2);
	}
	close(fds[1]);
	out = fdopen(fds[0], "r");
	while (out && fgets(line, sizeof(line), out)) {
		if (at)
			sscanf(line, "failed-at %" SCNu64, at);
		if (show)
			fputs(line, stdout);
	}
	if (out)
		fclose(out);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/*
 * Delta debugging: leaves out half of the operations, quarters, eighths and so on, as
 * long as it still fails.
 */
int shrink(struct torture *tt, char **argv)
{
	struct attempt a = { .tt = tt, .argv = argv };
	size_t len, parts = 2;
	uint64_t at = tt->ops, *list, *less;

	snprintf(a.path, sizeof(a.path), "/tmp/vsvm-torture.%d", getpid());
	len = tt->ops;
	list = calloc(len + 1, sizeof(*list));
	less = calloc(len + 1, sizeof(*less));
	if (!list || !less)
		return 2;
	for (size_t i = 0; i < len; i++)
		list[i] = i + 1;
	printf("# seed 0x%" PRIx64 ": all of %zu operations\n", tt->seed, len);
	if (!attempt_fails(&a, list, len, false, &at)) {
		printf("# it does not fail with one thread\n");
		return 0;
	}
	/* What comes in the end, after the last one, needs all of them. */
	printf("# fails at operation %" PRIu64 "\n", at);
	len = at && at < len ? at : len;

	while (len > 1 && a.tries < SHRINK_TRIES) {
		bool smaller = false;

		for (size_t part = 0; part < parts && a.tries < SHRINK_TRIES; part++) {
			const size_t from = len * part / parts, to = len * (part + 1) / parts;
			size_t num = 0;

			for (size_t i = 0; i < len; i++)
				if (i < from || i >= to)
					less[num++] = list[i];
			if (!attempt_fails(&a, less, num, false, NULL))
				continue;
			memcpy(list, less, num * sizeof(*list));
			len = num;
			parts = parts > 2 ? parts - 1 : 2;
			smaller = true;
			printf("# %u runs: %zu operations\n", a.tries, len);
			break;
		}
		if (smaller)
			continue;
		if (parts >= len)
			break;
		parts = 2 * parts < len ? 2 * parts : len;
	}
	printf("# %zu operations are left:\n", len);
	for (size_t i = 0; i < len; i++)
		printf("shrunk %" PRIu64 "\n", list[i]);
	attempt_fails(&a, list, len, true, NULL);
	unlink(a.path);
	free(list);
	free(less);
	return 1;
}
