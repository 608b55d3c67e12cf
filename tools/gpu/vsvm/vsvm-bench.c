// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-bench: the SVM manager beside what there is without it
 *
 * Runs each case on each back end, in turn and several times, each time in a
 * process of its own: what a process once had, its mm keeps. Needs root and a
 * guest that has nothing else to do.
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* Longer than any case takes, also where each instruction is counted. */
#define CASE_SECONDS	3000
#define SMOKE_SECONDS	120

static const struct bench_case cases[] = {
	{ "invalidate", "munmap and MADV_DONTNEED of what N devices have mapped",
	  .icount = true, .devices = { 1, 2, 4, 8 }, .run = bench_invalidate },
	{ "share", "further devices fault on what one has", .icount = true,
	  .devices = { 1, 2, 4, 8 }, .run = bench_share },
	{ "churn", "faults while other memory of the process changes",
	  .devices = { 1 }, .run = bench_churn },
	{ "cpu", "a process that only uses the CPU, while attached", .icount = true,
	  .devices = { 1, 8 }, .run = bench_cpu },
	{ "concurrent", "disjoint faults of N devices, disjoint invalidations",
	  .devices = { 1, 2, 4, 8 }, .run = bench_concurrent },
	{ "hold", "how long locks are held (with CONFIG_LOCK_STAT)", .any = true,
	  .devices = { 1, 4 }, .run = bench_hold },
	{ "scale", "many ranges", .icount = true, .devices = { 1 }, .run = bench_scale },
	{ "memory", "kernel memory for mapped 2 MiB", .devices = { 1, 4 },
	  .run = bench_memory },
	{ "migrate", "device memory, beside the rate of the copy engine",
	  .devices = { 1, 2 }, .run = bench_migrate },
	{ "batch", "bursts of faults, and one by one", .icount = true, .devices = { 1 },
	  .run = bench_batch },
};

static const char usage[] =
	"Usage: vsvm-bench [OPTION]...\n"
	"Measure the SVM manager beside drm_gpusvm, and beside SVM of one device with\n"
	"notifiers of two passes, on the same virtual GPUs.\n"
	"\n"
	"  -c, --cases A,B   only these cases (default: those of the kind of guest)\n"
	"  -b, --backends A  only these of upstream, two_pass, manager\n"
	"  -i, --icount      the guest counts instructions: one is one nanosecond\n"
	"  -r, --repeat N    times that each case is run (default: 3)\n"
	"  -o, --output F    write JSON to F, what there is so far after each case\n"
	"  -s, --smoke       all cases, small and once: only whether they are right (TAP)\n"
	"  -l, --list        list the cases\n"
	"  -h, --help        print this and exit\n"
	"\n"
	"Exit status: 0; 1 where something was wrong; 2 on a wrong option; 3 where there\n"
	"are no devices.\n";

struct options {
	const char *cases;
	const char *backends;
	const char *output;
	unsigned int reps;
	bool icount;
	bool smoke;
};

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (list && *list) {
		if (!strncmp(list, name, len) && (list[len] == ',' || !list[len]))
			return true;
		list = strchr(list, ',');
		if (list)
			list++;
	}
	return false;
}

enum outcome {
	GOOD,
	SKIPPED,
	WRONG,
};

/* In a process of its own. */
static enum outcome run_once(const struct options *o, const struct bench_case *c,
			     unsigned int devices, enum bench_backend backend, bool first)
{
	struct bench b = {
		.backend = backend, .n = devices, .smoke = o->smoke, .icount = o->icount,
		.first = first,
	};
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("# fork");
		return WRONG;
	}
	if (!pid) {
		/* Whoever ends a run before its time wants nothing to go on. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(o->smoke ? SMOKE_SECONDS : CASE_SECONDS);
		c->run(&b);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return WRONG;
	if (WIFEXITED(status) && WEXITSTATUS(status) == BENCH_SKIPPED)
		return SKIPPED;
	if (!status)
		return GOOD;
	fprintf(stderr, "# %s, %u devices, %s: failed, status 0x%x\n", c->name, devices,
		bench_backend_names[backend], status);
	bench_restore(devices);
	return WRONG;
}

/* The worst outcome of all. */
static enum outcome run_case(const struct options *o, const struct bench_case *c, unsigned int max)
{
	unsigned int reps = o->smoke ? 1 : o->reps;
	enum outcome worst = GOOD, one;

	bench_samples_case(c->name);
	for (unsigned int r = 0; r < reps; r++) {
		if (!o->smoke)
			fprintf(stderr, "# %s: %u of %u\n", c->name, r + 1, reps);
		for (unsigned int d = 0; c->devices[d]; d++) {
			if (c->devices[d] > max)
				continue;
			/* Another one begins each time. */
			for (unsigned int k = 0; k < BENCH_BACKENDS; k++) {
				enum bench_backend backend = (k + r) % BENCH_BACKENDS;

				if (o->backends && !listed(o->backends,
							   bench_backend_names[backend]))
					continue;
				one = run_once(o, c, c->devices[d], backend, !r);
				if (one > worst)
					worst = one;
			}
		}
	}
	if (!o->smoke)
		bench_print_case(c->name);
	return worst;
}

static bool wanted(const struct options *o, const struct bench_case *c)
{
	if (o->cases)
		return listed(o->cases, c->name);
	return o->smoke || c->any || c->icount == o->icount;
}

/* As the selftests report it. */
static int smoke(const struct options *o, unsigned int max)
{
	unsigned int count[] = { [GOOD] = 0, [SKIPPED] = 0, [WRONG] = 0 }, number = 0;
	static const char * const ends[] = { "", " # SKIP", "" };

	printf("TAP version 13\n");
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		enum outcome one;

		if (!wanted(o, &cases[i]))
			continue;
		one = run_case(o, &cases[i], max);
		count[one]++;
		printf("%sok %u %s%s\n", one == WRONG ? "not " : "", ++number, cases[i].name,
		       ends[one]);
	}
	printf("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:%u error:0\n", count[GOOD],
	       count[WRONG], count[SKIPPED]);
	return count[WRONG] ? 1 : 0;
}

static bool write_output(const struct options *o, bool complete)
{
	if (!o->output || !bench_write_json(o->output, o->icount, o->reps, complete))
		return true;
	perror(o->output);
	return false;
}

static int measure(const struct options *o, unsigned int max)
{
	bool good = true;

	printf("Times are %s.\n", o->icount ?
	       "instructions, one per nanosecond, and latencies that were waited for" :
	       "wall time of an emulated machine");
	/* Timers change their mode late. */
	sleep(3);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!wanted(o, &cases[i]))
			continue;
		good &= run_case(o, &cases[i], max) != WRONG;
		good &= write_output(o, false);
	}
	good &= write_output(o, true);
	return good ? 0 : 1;
}

static void list(void)
{
	static const char * const kinds[] = { "wall", "icount", "both" };

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		printf("%-12s %-8s %s\n", cases[i].name, kinds[cases[i].any * 2 + cases[i].icount],
		       cases[i].what);
}

/* Returns -1 to go on, else the exit status. */
static int parse_options(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "cases", required_argument, NULL, 'c' },
		{ "backends", required_argument, NULL, 'b' },
		{ "icount", no_argument, NULL, 'i' },
		{ "repeat", required_argument, NULL, 'r' },
		{ "output", required_argument, NULL, 'o' },
		{ "smoke", no_argument, NULL, 's' },
		{ "list", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:b:ir:o:slh", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			o->cases = optarg;
			break;
		case 'b':
			o->backends = optarg;
			break;
		case 'i':
			o->icount = true;
			break;
		case 'r':
			o->reps = strtoul(optarg, NULL, 10);
			break;
		case 'o':
			o->output = optarg;
			break;
		case 's':
			o->smoke = true;
			break;
		case 'l':
			list();
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc || !o->reps) {
		fputs(usage, stderr);
		return 2;
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct options o = { .reps = 3 };
	int found, ret;

	ret = parse_options(&o, argc, argv);
	if (ret >= 0)
		return ret;
	found = vsvm_list(NULL, 0);
	if (found <= 0 || bench_samples_init()) {
		fprintf(stderr, "vsvm-bench: no devices, or no memory\n");
		return 3;
	}
	return o.smoke ? smoke(&o, found) : measure(&o, found);
}
