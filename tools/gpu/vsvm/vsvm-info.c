// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-info: which devices there are, and what they have to do with a process: its
 * VMs and managers, what was said of its memory, and where its pages are.
 */

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "info.h"

static const char usage[] =
	"Usage: vsvm-info [OPTION]... [PID]\n"
	"Show the virtual GPUs and who uses them; with PID, what they know of that\n"
	"process: its VMs and managers, the attributes of its memory, and where its pages\n"
	"are, on nodes and in the memory of devices. Needs root, and a debugfs that is\n"
	"mounted at /sys/kernel/debug.\n"
	"\n"
	"  -j, --json        print one JSON object instead of tables: version, devices,\n"
	"                    and with PID process\n"
	"  -s, --svg FILE    also draw the address space of the process into FILE\n"
	"  -h, --help        print this and exit\n"
	"\n"
	"Exit status: 0 if all went well; 1 if the report cannot be written; 2 on a wrong\n"
	"option; 3 if there is no device, no such process, or it has no VM, or may not be\n"
	"looked at.\n";

static int wrong(void)
{
	fputs("Try 'vsvm-info --help'.\n", stderr);
	return INFO_USAGE;
}

/* Returns INFO_OK to go on, anything else to end with; help ends with -1. */
static int parse_options(struct info *info, int argc, char **argv, bool *json,
			 const char **svg)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "svg", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	char *end;
	long pid;
	int opt;

	while ((opt = getopt_long(argc, argv, "js:h", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			*json = true;
			break;
		case 's':
			*svg = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		default:
			return wrong();
		}
	}
	if (argc - optind > 1) {
		info_complain("one PID only, what is '%s'?", argv[optind + 1]);
		return wrong();
	}
	if (argc - optind == 1) {
		errno = 0;
		pid = strtol(argv[optind], &end, 10);
		if (errno || end == argv[optind] || *end || pid <= 0 || pid > INT_MAX) {
			info_complain("'%s' is no PID: a number from 1 on, as ps shows it",
				      argv[optind]);
			return wrong();
		}
		info->pid = pid;
	}
	if (*svg && !info->pid) {
		info_complain("--svg draws the memory of a process: its PID is missing");
		return wrong();
	}
	return INFO_OK;
}

int main(int argc, char **argv)
{
	static struct info info;
	const char *svg = NULL;
	bool json = false;
	int ret;

	ret = parse_options(&info, argc, argv, &json, &svg);
	if (ret)
		return ret < 0 ? INFO_OK : ret;

	ret = info_read_devices(&info);
	if (!ret && info.pid)
		ret = info_read_process(&info);
	if (!ret) {
		if (json)
			info_report_json(&info);
		else
			info_report_text(&info);
		if (fflush(stdout) || ferror(stdout)) {
			info_complain("writing the report: %s", strerror(errno));
			ret = INFO_FAILED;
		}
		if (svg && info_report_svg(&info, svg))
			ret = INFO_FAILED;
	}
	info_free(&info);
	return ret;
}
