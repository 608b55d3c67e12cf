// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * First process of a guest of another architecture, for which there is no busybox
 * at hand: does what the script guest-init does around a command, for kernels that
 * are tested before the first process. Linked statically, needs nothing else.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

/* The serial ports of the card: what the command says, and the runner's talk. */
#define OUT	"/dev/ttyS0"
#define TALK	"/dev/ttyS1"

#define LEAKS	"/sys/kernel/debug/kmemleak"

static const char *const mounts[][2] = {
	{ "proc", "/proc" },
	{ "sysfs", "/sys" },
	{ "devtmpfs", "/dev" },
	{ "debugfs", "/sys/kernel/debug" },
};

static int open_raw(const char *path)
{
	struct termios mode;
	int fd = open(path, O_WRONLY | O_NOCTTY);

	if (fd >= 0 && !tcgetattr(fd, &mode)) {
		cfmakeraw(&mode);
		tcsetattr(fd, TCSANOW, &mode);
	}
	return fd;
}

static void __attribute__((format(printf, 2, 3))) say(const char *path, const char *format, ...)
{
	va_list args;
	int fd = open_raw(path);

	/* Without the port there is no result, which is what the runner says then. */
	if (fd < 0) {
		fprintf(stderr, "init: %s: %s\n", path, strerror(errno));
		return;
	}
	va_start(args, format);
	vdprintf(fd, format, args);
	va_end(args);
	tcdrain(fd);
	close(fd);
}

/* Is there this line in the file? */
static bool has_line(const char *path, const char *line)
{
	FILE *file = fopen(path, "r");
	char buffer[256];
	bool found = false;

	while (file && !found && fgets(buffer, sizeof(buffer), file)) {
		buffer[strcspn(buffer, "\n")] = '\0';
		found = !strcmp(buffer, line);
	}
	if (file)
		fclose(file);
	return found;
}

static void scan_leaks(void)
{
	int fd = open(LEAKS, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, "scan", 4) != 4)
		perror("init: kmemleak");
	close(fd);
}

/* See guest-init for why twice. */
static void tell_leaks(void)
{
	unsigned int count = 0;
	char line[1024];
	FILE *file;

	if (access(LEAKS, W_OK))
		return;
	scan_leaks();
	sleep(6);
	scan_leaks();
	file = fopen(LEAKS, "r");
	while (file && fgets(line, sizeof(line), file)) {
		count += !strncmp(line, "unreferenced object", 19);
		fputs(line, stdout);
	}
	fflush(stdout);
	if (file)
		fclose(file);
	say(TALK, "kmemleak %u\n", count);
}

static void tell_lockdep(void)
{
	FILE *file = fopen("/proc/lockdep_stats", "r");
	char line[256];
	int state;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " debug_locks: %d", &state) == 1)
			say(TALK, "lockdep %d\n", state);
	if (file)
		fclose(file);
}

int main(void)
{
	unsigned int i;

	for (i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++)
		if (mount(mounts[i][0], mounts[i][1], mounts[i][0], 0, NULL))
			perror(mounts[i][1]);

	if (has_line("/.guest/command", "true")) {
		say(TALK, "status 0\n");
	} else {
		say(OUT, "init: here is no shell to run a command\n");
		say(TALK, "status 127\n");
	}
	if (has_line("/.guest/settings", "LEAKS=1"))
		tell_leaks();
	tell_lockdep();
	say(TALK, "done\n");
	reboot(RB_POWER_OFF);
	return 0;
}
