// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-demo: GPUs and the CPU at work in one address space
 *
 * Maps a file, builds an index of it in malloc'ed memory, and lets all virtual
 * GPUs and the CPU work on both at once, while CPU threads keep changing other
 * parts of the same heap and the mappings themselves. All of it goes through
 * ordinary pointers: into malloc'ed memory, the stack, static data, private and
 * shared mappings. Each result is compared with one computed by the CPU.
 */

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "demo.h"

#define NSEC_PER_SEC	1000000000LL

static const char usage[] =
	"Usage: vsvm-demo [OPTION]... [FILE]\n"
	"Let virtual GPUs and the CPU work on FILE, and on an index of it on the heap,\n"
	"through the same pointers. FILE is the running kernel's own image where it is\n"
	"not given (/boot/vmlinuz-RELEASE, /lib/modules/RELEASE/vmlinuz, /boot/vmlinuz,\n"
	"/vmlinuz, /boot/bzImage).\n"
	"\n"
	"  -g, --gpus N      use N GPUs; fewer is an error (default: all there are)\n"
	"  -r, --rounds N    number of rounds (default: 3)\n"
	"  -t, --threads N   CPU threads that change memory meanwhile (default: 2, 0 to 64)\n"
	"  -e, --eager       what one GPU faults in is mapped for the others at once\n"
	"  -m, --migrate     what a GPU faults in is moved into its memory, where possible\n"
	"  -s, --seed N      start of the random numbers (default: 1)\n"
	"  -T, --timeout N   seconds that a job may take (default: 120)\n"
	"  -j, --json        print one JSON object instead of tables: version, result,\n"
	"                    seconds, file, config, cpu, checks, differences, failed_jobs,\n"
	"                    violations, gpus, manager\n"
	"  -h, --help        print this and exit\n"
	"\n"
	"Exit status: 0 if every result is that of the CPU; 1 on any difference, failed\n"
	"job, violation seen by a GPU, or time-out; 2 on a wrong option; 3 if there is no\n"
	"file, or fewer GPUs than asked for.\n";

static bool parse_number(const char *text, unsigned long min, unsigned long max,
			 unsigned int *number)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || value < min || value > max)
		return false;
	*number = value;
	return true;
}

/* Where the image of the running kernel usually lies */
static const char *own_kernel(char *buf, size_t size)
{
	static const char * const places[] = {
		"/boot/vmlinuz-%s", "/lib/modules/%s/vmlinuz", "/boot/vmlinuz", "/vmlinuz",
		"/boot/bzImage",
	};
	struct utsname uts;

	if (uname(&uts))
		uts.release[0] = '\0';
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		const char *name = strstr(places[i], "%s");

		if (name)
			snprintf(buf, size, "%.*s%s%s", (int)(name - places[i]), places[i],
				 uts.release, name + 2);
		else
			snprintf(buf, size, "%s", places[i]);
		if (!access(buf, R_OK))
			return buf;
	}
	return NULL;
}

/* Returns DEMO_OK to go on, anything else to end with; help ends with -1. */
static int parse_options(struct demo *d, int argc, char **argv)
{
	static const struct option options[] = {
		{ "gpus", required_argument, NULL, 'g' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "threads", required_argument, NULL, 't' },
		{ "eager", no_argument, NULL, 'e' },
		{ "migrate", no_argument, NULL, 'm' },
		{ "seed", required_argument, NULL, 's' },
		{ "timeout", required_argument, NULL, 'T' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	unsigned int seconds;
	bool good = true;
	int opt;

	while (good && (opt = getopt_long(argc, argv, "g:r:t:ems:T:jh", options, NULL)) != -1) {
		switch (opt) {
		case 'g':
			good = parse_number(optarg, 1, DEMO_MAX_GPUS, &d->num_gpus);
			break;
		case 'r':
			good = parse_number(optarg, 1, 1000000, &d->rounds);
			break;
		case 't':
			good = parse_number(optarg, 0, DEMO_MAX_THREADS, &d->num_threads);
			break;
		case 'e':
			d->eager = true;
			break;
		case 'm':
			d->migrate = true;
			break;
		case 's':
			good = parse_number(optarg, 1, UINT32_MAX, &d->seed);
			break;
		case 'T':
			good = parse_number(optarg, 1, 1000000, &seconds);
			if (good)
				d->timeout_ns = seconds * NSEC_PER_SEC;
			break;
		case 'j':
			d->json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		default:
			fputs("Try 'vsvm-demo --help'.\n", stderr);
			return DEMO_USAGE;
		}
		if (!good)
			fprintf(stderr, "vsvm-demo: '%s' is no good number here\n", optarg);
	}
	if (good && argc - optind > 1) {
		fprintf(stderr, "vsvm-demo: one file only, what is '%s'?\n", argv[optind + 1]);
		good = false;
	}
	if (!good) {
		fputs("Try 'vsvm-demo --help'.\n", stderr);
		return DEMO_USAGE;
	}
	d->path = argv[optind];
	return DEMO_OK;
}

/*
 * All threads share one heap, and it gives memory back soon: so that what they
 * change lies beside what the GPUs work on.
 */
static void tune_heap(void)
{
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 512 << 10);
	mallopt(M_TRIM_THRESHOLD, 128 << 10);
#endif
}

int main(int argc, char **argv)
{
	static struct demo d = {
		.num_threads = 2,
		.rounds = 3,
		.seed = 1,
		.timeout_ns = 120 * NSEC_PER_SEC,
		.file_fd = -1,
	};
	char path[512];
	int ret;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ret = parse_options(&d, argc, argv);
	if (ret)
		return ret < 0 ? DEMO_OK : ret;
	if (!d.path)
		d.path = own_kernel(path, sizeof(path));
	if (!d.path) {
		fputs("vsvm-demo: no image of the running kernel here, give a FILE\n", stderr);
		return DEMO_CANNOT;
	}

	tune_heap();
	ret = demo_gpus_open(&d) || demo_data_open(&d) || demo_data_build(&d) ?
	      DEMO_CANNOT : DEMO_OK;
	if (!ret) {
		demo_run(&d);
		if (d.json)
			demo_report_json(&d);
		else
			demo_report_text(&d);
		ret = demo_passed(&d) ? DEMO_OK : DEMO_WRONG;
	}
	demo_gpus_close(&d);
	demo_data_free(&d);
	if (fflush(stdout) || ferror(stdout)) {
		perror("vsvm-demo: writing the report");
		return ret ?: DEMO_WRONG;
	}
	return ret;
}
