// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: samples, tables, JSON
 *
 * Processes write samples to memory that they share; the one that started them
 * sorts them. The JSON is described in Documentation/gpu/vsvm.rst; members are only
 * ever added.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define MAX_SAMPLES	(1 << 16)

struct sample {
	char bench_case[24];
	char metric[32];
	char params[48];
	unsigned int devices;
	enum bench_backend backend;
	enum bench_unit unit;
	double value;
};

/* Shared with the processes that measure. */
static struct {
	unsigned int count;
	char bench_case[24];
	struct sample sample[MAX_SAMPLES];
} *all;

static const char * const unit_names[] = {
	[UNIT_NS] = "ns",
	[UNIT_COUNT] = "count",
	[UNIT_BYTES] = "bytes",
	[UNIT_RATE] = "per_s",
	[UNIT_MIB_S] = "MiB/s",
	[UNIT_RATIO] = "ratio",
};

int bench_samples_init(void)
{
	all = mmap(NULL, sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return all == MAP_FAILED ? -1 : 0;
}

void bench_samples_case(const char *name)
{
	snprintf(all->bench_case, sizeof(all->bench_case), "%s", name);
}

void bench_sample(struct bench *b, enum bench_unit unit, double value, const char *metric,
		  const char *format, ...)
{
	struct sample *s = &all->sample[all->count];
	va_list args;

	/* JSON has no such numbers, and one of them would spoil all others. */
	if (!isfinite(value)) {
		fprintf(stderr, "# %s: %s is not a number\n", all->bench_case, metric);
		return;
	}
	if (all->count == MAX_SAMPLES)
		bench_fail("more than %u samples", MAX_SAMPLES);
	memcpy(s->bench_case, all->bench_case, sizeof(s->bench_case));
	snprintf(s->metric, sizeof(s->metric), "%s", metric);
	va_start(args, format);
	vsnprintf(s->params, sizeof(s->params), format, args);
	va_end(args);
	s->devices = b->n;
	s->backend = b->backend;
	s->unit = unit;
	s->value = value;
	all->count++;
}

static bool same_row(const struct sample *a, const struct sample *b)
{
	return !strcmp(a->bench_case, b->bench_case) && !strcmp(a->metric, b->metric) &&
	       !strcmp(a->params, b->params) && a->devices == b->devices;
}

static int compare_values(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* All values of one row and back end, sorted; NULL where there is none. */
static double *collect(const struct sample *row, enum bench_backend backend,
		       unsigned int *count)
{
	double *values = malloc(all->count * sizeof(*values));

	*count = 0;
	if (!values)
		return NULL;
	for (unsigned int i = 0; i < all->count; i++)
		if (same_row(&all->sample[i], row) && all->sample[i].backend == backend)
			values[(*count)++] = all->sample[i].value;
	if (!*count) {
		free(values);
		return NULL;
	}
	qsort(values, *count, sizeof(*values), compare_values);
	return values;
}

static double median(const double *values, unsigned int count)
{
	return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

/* Is it the first sample of its row? */
static bool first_of_row(unsigned int i, bool backend)
{
	for (unsigned int k = 0; k < i; k++)
		if (same_row(&all->sample[k], &all->sample[i]) &&
		    (!backend || all->sample[k].backend == all->sample[i].backend))
			return false;
	return true;
}

static void print_row(const struct sample *row)
{
	double mid[BENCH_BACKENDS] = { 0 };

	printf("  %-22s %-30s %2u", row->metric, row->params, row->devices);
	for (enum bench_backend i = 0; i < BENCH_BACKENDS; i++) {
		unsigned int count;
		double *values = collect(row, i, &count);

		if (!values) {
			printf(" %20s", "-");
			continue;
		}
		mid[i] = median(values, count);
		/* The spread is half of what lies between the extremes. */
		printf(" %13.6g +-%3.0f%%", mid[i], mid[i] ?
		       100 * (values[count - 1] - values[0]) / 2 / mid[i] : 0);
		free(values);
	}
	if (mid[BENCH_UPSTREAM] && mid[BENCH_MANAGER])
		printf(" %7.3f", mid[BENCH_MANAGER] / mid[BENCH_UPSTREAM]);
	printf(" %s\n", unit_names[row->unit]);
}

void bench_print_case(const char *name)
{
	printf("\n%s\n  %-22s %-30s %2s %20s %20s %20s %7s\n", name, "metric", "of", "N",
	       "upstream", "two passes", "manager", "ratio");
	for (unsigned int i = 0; i < all->count; i++)
		if (!strcmp(all->sample[i].bench_case, name) && first_of_row(i, false))
			print_row(&all->sample[i]);
	fflush(stdout);
}

static void write_to_upstream(FILE *file, const struct sample *row, double mid)
{
	unsigned int count;
	double *values;

	if (row->backend == BENCH_UPSTREAM)
		return;
	values = collect(row, BENCH_UPSTREAM, &count);
	if (values && median(values, count))
		fprintf(file, ",\"to_upstream\":%.10g", mid / median(values, count));
	free(values);
}

static void write_result(FILE *file, const struct sample *row, bool first)
{
	unsigned int count;
	double *values = collect(row, row->backend, &count);

	if (!values)
		return;
	fprintf(file, "%s\n{\"case\":\"%s\",\"metric\":\"%s\",\"params\":\"%s\"",
		first ? "" : ",", row->bench_case, row->metric, row->params);
	fprintf(file, ",\"devices\":%u,\"backend\":\"%s\",\"unit\":\"%s\"",
		row->devices, bench_backend_names[row->backend], unit_names[row->unit]);
	fprintf(file, ",\"median\":%.10g,\"min\":%.10g,\"max\":%.10g,\"values\":[",
		median(values, count), values[0], values[count - 1]);
	for (unsigned int i = 0; i < count; i++)
		fprintf(file, "%s%.10g", i ? "," : "", values[i]);
	fprintf(file, "]");
	write_to_upstream(file, row, median(values, count));
	fprintf(file, "}");
	free(values);
}

static void write_object(FILE *file, bool icount, unsigned int reps, bool complete)
{
	struct utsname uts = { .release = "" };
	time_t now = time(NULL);
	bool first = true;
	char date[32];

	uname(&uts);
	strftime(date, sizeof(date), "%Y-%m-%d", gmtime(&now));
	fprintf(file, "{\"version\":1,\"kernel\":\"%s\",\"date\":\"%s\"", uts.release, date);
	fprintf(file, ",\"icount\":%s,\"repetitions\":%u,\"complete\":%s,\"results\":[",
		icount ? "true" : "false", reps, complete ? "true" : "false");
	for (unsigned int i = 0; i < all->count; i++) {
		if (!first_of_row(i, true))
			continue;
		write_result(file, &all->sample[i], first);
		first = false;
	}
	fprintf(file, "\n]}\n");
}

/* Writes to @path, which becomes neither a controlling terminal nor the children's. */
static int write_to(const char *path, bool icount, unsigned int reps, bool complete)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	bool bad;
	FILE *file;

	if (fd < 0)
		return -1;
	file = fdopen(fd, "w");
	if (!file) {
		close(fd);
		return -1;
	}
	write_object(file, icount, reps, complete);
	bad = fflush(file) || ferror(file);
	return fclose(file) || bad ? -1 : 0;
}

int bench_write_json(const char *path, bool icount, unsigned int reps, bool complete)
{
	char new[PATH_MAX];
	struct stat st;
	int err;

	/*
	 * A name that is a link, such as /dev/stdout, must stay one; and who reads a pipe
	 * expects one object.
	 */
	if (!lstat(path, &st) && !S_ISREG(st.st_mode)) {
		if (!complete && !S_ISCHR(st.st_mode))
			return 0;
		return write_to(path, icount, reps, complete);
	}

	/* Whenever the run ends, there is what it had last, as a whole. */
	if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (!write_to(new, icount, reps, complete) && !rename(new, path))
		return 0;
	err = errno;
	unlink(new);
	errno = err;
	return -1;
}
