// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-info: what it says about a process is what that process knows itself; and
 * what it says where there is nothing to say.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "gpusvm_devmem.h"
#include "gpusvm_attrs.h"

/* So much of the memory is on each device; as much is touched, and the rest is not. */
#define PART		(64 * KIB)
#define SIZE		(8 * PART)

#define MAX_LINE	65536
#define MAX_INTERVALS	64

#define SVG		"/tmp/gpusvm-info.svg"

/* What a run of the program has left. */
struct output {
	int status;
	char *out, *err;
};

static char *slurp(FILE *file)
{
	size_t size = 0, got;
	char *text = NULL;

	rewind(file);
	do {
		text = realloc(text, size + MAX_LINE + 1);
		if (!text)
			abort();
		got = fread(text + size, 1, MAX_LINE, file);
		size += got;
	} while (got);
	text[size] = '\0';
	fclose(file);
	return text;
}

/* Runs it, as @uid; status 127: there is no such program. */
static void run_info(struct output *output, uid_t uid, char *const argv[])
{
	FILE *out = tmpfile(), *err = tmpfile();
	int status = -1;
	pid_t pid;

	if (!out || !err)
		abort();
	fflush(stderr);
	pid = fork();
	if (!pid) {
		if (dup2(fileno(out), 1) < 0 || dup2(fileno(err), 2) < 0)
			_exit(126);
		if (uid && setuid(uid))
			_exit(126);
		execvp("vsvm-info", argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	output->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	output->out = slurp(out);
	output->err = slurp(err);
}

static void output_free(struct output *output)
{
	free(output->out);
	free(output->err);
}

#define INFO(output, ...) \
	run_info(output, 0, (char *const[]){ "vsvm-info", __VA_ARGS__, NULL })

static bool info_there(void)
{
	struct output output;

	INFO(&output, "--help");
	output_free(&output);
	return output.status != 127;
}

/* -------------------------------------------- its JSON, a line per object */

struct interval {
	uint64_t start, end;
	char location[64], writer[16], migration[16], granularity[16], residence[16];
	const char *access;
};

#define ATTR_LINE								\
	" { \"start\": %" SCNu64 ", \"end\": %" SCNu64 ", "			\
	"\"location\": \"%63[^\"]\", \"writer\": \"%15[^\"]\", "		\
	"\"migration\": \"%15[^\"]\", \"granularity\": \"%15[^\"]\", "	\
	"\"residence_ms\": \"%15[^\"]\""

/* The intervals that it has told; -1: there is something else in their place. */
static int read_intervals(const char *json, struct interval *intervals)
{
	const char *at = strstr(json, "\"attributes\": [\n");
	int num = 0;

	if (!at)
		return 0;
	at = strchr(at, '\n') + 1;
	while (num < MAX_INTERVALS && strncmp(at, "        ]", 9)) {
		struct interval *i = &intervals[num++];

		if (sscanf(at, ATTR_LINE, &i->start, &i->end, i->location, i->writer, i->migration,
			   i->granularity, i->residence) != 7)
			return -1;
		i->access = strstr(at, "\"access\": [");
		at = strchr(at, '\n');
		if (!at || !i->access || i->access > at)
			return -1;
		at++;
	}
	return num;
}

#define ACCESS_LINE								\
	"{ \"slot\": %u, \"mode\": \"%15[^\"]\", \"read_only\": %u, \"atomics\": \"%15[^\"]\""

/* What was told about the access of a slot; defaults where that is nothing. */
static void read_access(const struct interval *interval, unsigned int slot, char *mode,
			unsigned int *read_only, char *atomics)
{
	const char *end = strchr(interval->access, '\n'), *at = interval->access;
	unsigned int found;

	strcpy(mode, "default");
	*read_only = 0;
	strcpy(atomics, "undefined");
	while ((at = strstr(at, "{ \"slot\": ")) && at < end) {
		if (sscanf(at, ACCESS_LINE, &found, mode, read_only, atomics) == 4 &&
		    found == slot)
			return;
		strcpy(mode, "default");
		*read_only = 0;
		strcpy(atomics, "undefined");
		at++;
	}
}

static int slot_of(const char *json, const char *device)
{
	const char *at = json;
	char name[64];
	int slot;

	while ((at = strstr(at, "{ \"slot\": "))) {
		if (sscanf(at, "{ \"slot\": %d, \"device\": \"%63[^\"]\"", &slot, name) == 2 &&
		    !strcmp(name, device))
			return slot;
		at++;
	}
	return -1;
}

/* Bytes of a mapping, or of all ("total") at places whose names begin with @place. */
static int64_t bytes_at(const char *json, const void *start, const char *place)
{
	char key[128], quoted[80];
	const char *at, *end;
	int64_t sum = 0;

	if (start)
		snprintf(key, sizeof(key), "{ \"start\": %" PRIu64 ", ",
			 (uint64_t)(uintptr_t)start);
	else
		snprintf(key, sizeof(key), "\"total\": {");
	at = strstr(json, "\"mappings\": [");
	at = at ? strstr(at, key) : NULL;
	if (!at)
		return -1;
	if (start)
		at = strstr(at, "\"places\": {");
	end = strchr(at, '\n');
	snprintf(quoted, sizeof(quoted), " \"%s", place);
	while ((at = strstr(at, quoted)) && at < end) {
		/* The name of a PCI function has colons in it. */
		at = strchr(at + strlen(quoted), '"') + 2;
		sum += strtoll(at, NULL, 10);
	}
	return sum;
}

static int device_name(const struct gpu *gpu, char *name, size_t size)
{
	char path[64], target[256], *slash;
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/class/drm/renderD%u/device", gpu->dev.minor);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = '\0';
	slash = strrchr(target, '/');
	snprintf(name, size, "%.60s", slash ? slash + 1 : target);
	return 0;
}

static const char * const mode_names[] = {
	[DRM_VSVM_MODE_DEFAULT] = "default", [DRM_VSVM_MODE_ON_DEMAND] = "on_demand",
	[DRM_VSVM_MODE_NONE] = "none", [DRM_VSVM_MODE_EAGER] = "eager",
	[DRM_VSVM_MODE_IN_PLACE] = "in_place",
};

static const char * const atomics_names[] = {
	[DRM_VSVM_ATOMICS_UNDEFINED] = "undefined", [DRM_VSVM_ATOMICS_DEVICE] = "device",
	[DRM_VSVM_ATOMICS_GLOBAL] = "global", [DRM_VSVM_ATOMICS_CPU] = "cpu",
};

static const char * const migration_names[] = {
	[DRM_VSVM_MIGRATION_ALL] = "all", [DRM_VSVM_MIGRATION_NEVER] = "never",
	[DRM_VSVM_MIGRATION_SYSTEM] = "system",
};

static bool number_same(const char *told, uint32_t value, uint32_t none)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return !strcmp(told, value == none ? "default" : text);
}

/* One VM's answer, against what was told about its instance in that interval. */
static bool same_attrs(const struct interval *interval, const struct drm_vsvm_attr *attrs,
		       unsigned int slot, struct gpus *g)
{
	const struct drm_vsvm_attr *location = &attrs[DRM_VSVM_ATTR_LOCATION];
	const char *migration = migration_names[attrs[DRM_VSVM_ATTR_MIGRATION].value];
	char mode[16], atomics[16], name[64] = "?";
	unsigned int read_only;

	if (location->value == DRM_VSVM_LOCATION_DEFAULT)
		strcpy(name, "default");
	else if (location->value == DRM_VSVM_LOCATION_SYSTEM)
		strcpy(name, "system");
	for (unsigned int i = 0; i < g->n; i++)
		if (location->value == DRM_VSVM_LOCATION_DEVICE &&
		    location->device == (int)g->gpu[i].dev.info.index)
			device_name(&g->gpu[i], name, sizeof(name));

	read_access(interval, slot, mode, &read_only, atomics);
	/* What was not said is got as what holds, and none of these VMs is eager. */
	if (!strcmp(mode, "default"))
		strcpy(mode, "on_demand");
	return !strcmp(interval->location, name) &&
	       !strcmp(interval->migration, migration) &&
	       number_same(interval->granularity, attrs[DRM_VSVM_ATTR_GRANULARITY].value,
			   DRM_VSVM_GRANULARITY_DEFAULT) &&
	       number_same(interval->residence, attrs[DRM_VSVM_ATTR_RESIDENCE].value,
			   DRM_VSVM_RESIDENCE_DEFAULT) &&
	       !strcmp(mode, mode_names[attrs[DRM_VSVM_ATTR_ACCESS].value]) &&
	       read_only == attrs[DRM_VSVM_ATTR_READ_ONLY].value &&
	       !strcmp(atomics, atomics_names[attrs[DRM_VSVM_ATTR_ATOMICS].value]);
}

/* All intervals that were told are those that the VMs tell, no more and no less. */
static int compare_attrs(const char *json, struct gpus *g)
{
	static struct interval intervals[MAX_INTERVALS];
	static struct saved saved[MAX_INTERVALS];
	bool seen[MAX_INTERVALS] = { false };
	int num = read_intervals(json, intervals);

	if (num < 0)
		return num;
	for (unsigned int i = 0; i < g->n; i++) {
		int count = attrs_save(&g->gpu[i].vm, saved, MAX_INTERVALS);
		char name[64];
		int slot;

		if (count < 0 || device_name(&g->gpu[i], name, sizeof(name)))
			return -1;
		slot = slot_of(json, name);
		if (slot < 0)
			return -1;
		for (int s = 0; s < count; s++) {
			uint64_t covered = 0;

			for (int k = 0; k < num; k++) {
				if (intervals[k].start < saved[s].start ||
				    intervals[k].end > saved[s].start + saved[s].size)
					continue;
				if (!same_attrs(&intervals[k], saved[s].attrs, slot, g)) {
					fprintf(stderr, "# not as VM %u has it: 0x%" PRIx64 "\n",
						i, intervals[k].start);
					return -1;
				}
				covered += intervals[k].end - intervals[k].start;
				seen[k] = true;
			}
			if (covered != saved[s].size) {
				fprintf(stderr, "# not told: 0x%" PRIx64 " + 0x%" PRIx64 "\n",
					saved[s].start, saved[s].size);
				return -1;
			}
		}
	}
	for (int k = 0; k < num; k++) {
		if (!seen[k]) {
			fprintf(stderr, "# nobody said: 0x%" PRIx64 "-0x%" PRIx64 "\n",
				intervals[k].start, intervals[k].end);
			return -1;
		}
	}
	return num;
}

/* ---------------------------------------------------------------- the tests */

/* All of it, whatever holds a page for a moment. */
static int move_all(struct gpu *gpu, void *buf, size_t size, struct gpu *to)
{
	uint64_t missed;
	int ret;

	for (unsigned int i = 0; i < 200; i++) {
		ret = vsvm_prefetch(&gpu->vm, buf, size, to ? &to->dev : NULL, 0, &missed);
		if (ret && ret != -EBUSY)
			return ret;
		if (!ret && !missed)
			return 0;
		usleep(10000);
	}
	return -ETIMEDOUT;
}

TEST_F_TIMEOUT(devmem, a_process, TEST_LIMIT)
{
	struct gpu *last = &self->gpu[variant->n - 1];
	char pid[16], first_name[64], last_name[64], text[128];
	struct stat stat;
	struct output output;
	struct drm_vsvm_attr attrs[] = {
		{ .type = DRM_VSVM_ATTR_MIGRATION, .value = DRM_VSVM_MIGRATION_NEVER },
		{ .type = DRM_VSVM_ATTR_RESIDENCE, .value = 123 },
		{ .type = DRM_VSVM_ATTR_GRANULARITY, .value = 4 },
	};
	const char *at;
	char *buf;
	FILE *file;

	if (!info_there())
		SKIP(return, "no vsvm-info");
	snprintf(pid, sizeof(pid), "%d", getpid());
	ASSERT_EQ(0, device_name(self->gpu, first_name, sizeof(first_name)));
	ASSERT_EQ(0, device_name(last, last_name, sizeof(last_name)));
	buf = devmem_buf(SIZE, false);
	ASSERT_NE(NULL, buf);

	/* Before anything was said or moved. */
	INFO(&output, "--json", pid);
	ASSERT_EQ(0, output.status)
		TH_LOG("%s", output.err);
	ASSERT_STREQ("", output.err);
	ASSERT_EQ(0, compare_attrs(output.out, self->g));
	ASSERT_EQ(0, bytes_at(output.out, buf, ""));
	output_free(&output);

	/* The first part on one device, the third on the last one, the fifth touched. */
	memset(buf, 1, PART);
	memset(buf + 2 * PART, 2, PART);
	memset(buf + 4 * PART, 3, PART);
	ASSERT_EQ(0, move_all(self->gpu, buf, PART, self->gpu));
	ASSERT_EQ(0, move_all(self->gpu, buf + 2 * PART, PART, last));
	ASSERT_EQ(0, vsvm_attr_prefer(&self->gpu->vm, buf, PART, &self->gpu->dev));
	ASSERT_EQ(0, vsvm_attr_prefer(&last->vm, buf + 2 * PART, PART, &last->dev));
	ASSERT_EQ(0, vsvm_attr_prefer(&last->vm, buf + 4 * PART, PART, NULL));
	ASSERT_EQ(0, vsvm_attr_set(&self->gpu->vm, buf + 6 * PART, PART, attrs,
				   ARRAY_SIZE(attrs)));
	for_each_gpu(gpu, self) {
		unsigned int i = gpu - self->gpu;

		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + 3 * PART,
					       (1 + i) * self->page, DRM_VSVM_ATTR_ACCESS,
					       DRM_VSVM_MODE_NONE + i % 3));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + 5 * PART, PART,
					       DRM_VSVM_ATTR_READ_ONLY, i & 1));
		ASSERT_EQ(0, vsvm_attr_set_one(&gpu->vm, buf + 7 * PART, PART,
					       DRM_VSVM_ATTR_ATOMICS,
					       DRM_VSVM_ATOMICS_DEVICE + i % 3));
	}

	INFO(&output, "--json", "--svg", SVG, pid);
	ASSERT_EQ(0, output.status)
		TH_LOG("%s", output.err);
	ASSERT_STREQ("", output.err);
	ASSERT_LT(5, compare_attrs(output.out, self->g));
	/* It is where it was put, page by page, and where the kernel says it is. */
	if (variant->n == 1) {
		ASSERT_EQ(2 * PART, bytes_at(output.out, buf, first_name));
	} else {
		ASSERT_EQ(PART, bytes_at(output.out, buf, first_name));
		ASSERT_EQ(PART, bytes_at(output.out, buf, last_name));
	}
	ASSERT_EQ(2 * PART / self->page, pages_away(buf, SIZE));
	ASSERT_EQ(3 * PART, bytes_at(output.out, buf, ""));
	ASSERT_EQ(PART, bytes_at(output.out, buf, "node ") + bytes_at(output.out, buf, "swap"));
	/* As the device itself says, which counts also the memory of the fixture. */
	snprintf(text, sizeof(text), "\"%s\": ", first_name);
	at = strstr(output.out, "\"resident\": {");
	ASSERT_NE(NULL, at);
	at = strstr(at, text);
	ASSERT_NE(NULL, at);
	ASSERT_LE(bytes_at(output.out, buf, first_name), bytes_at(output.out, NULL, first_name));
	ASSERT_LE(bytes_at(output.out, NULL, first_name), strtoll(at + strlen(text), NULL, 10));
	output_free(&output);

	/* The picture is whole, and shows it. */
	file = fopen(SVG, "r");
	ASSERT_NE(NULL, file);
	ASSERT_EQ(0, fstat(fileno(file), &stat));
	output.out = slurp(file);
	ASSERT_EQ(0, strncmp(output.out, "<svg ", 5));
	ASSERT_STREQ("</svg>\n", output.out + stat.st_size - 7);
	snprintf(text, sizeof(text), ">%lx<", (unsigned long)buf);
	ASSERT_NE(NULL, strstr(output.out, text));
	snprintf(text, sizeof(text), ">is on %s<", last_name);
	ASSERT_NE(NULL, strstr(output.out, text));
	free(output.out);
	unlink(SVG);

	/* As a table. */
	INFO(&output, pid);
	ASSERT_EQ(0, output.status);
	snprintf(text, sizeof(text), "\nprocess %s (", pid);
	ASSERT_NE(NULL, strstr(output.out, text));
	snprintf(text, sizeof(text), "%lx-%lx", (unsigned long)buf, (unsigned long)buf + SIZE);
	ASSERT_NE(NULL, strstr(output.out, text));
	output_free(&output);

	/* What comes back, and what is unmapped, is not told any more. */
	ASSERT_EQ(0, vsvm_attr_reset(&self->gpu->vm, buf, SIZE));
	ASSERT_EQ(0, move_all(self->gpu, buf, SIZE, NULL));
	ASSERT_EQ(0, munmap(buf + 7 * PART, PART));
	INFO(&output, "--json", pid);
	ASSERT_EQ(0, output.status);
	ASSERT_LE(0, compare_attrs(output.out, self->g));
	ASSERT_EQ(0, bytes_at(output.out, buf, first_name));
	ASSERT_EQ(0, bytes_at(output.out, buf, last_name));
	ASSERT_EQ(NULL, strstr(output.out, "\"location\": \"system\""));
	ASSERT_EQ(NULL, strstr(output.out, "\"atomics\": \"device\""));
	output_free(&output);
	buf_free(buf, SIZE);
}

TEST_F_TIMEOUT(devmem, the_devices, TEST_LIMIT)
{
	struct output output;
	char text[128];

	if (!info_there())
		SKIP(return, "no vsvm-info");
	run_info(&output, 0, (char *const[]){ "vsvm-info", "-j", NULL });
	ASSERT_EQ(0, output.status);
	ASSERT_STREQ("", output.err);
	for_each_gpu(gpu, self) {
		const char *at;

		snprintf(text, sizeof(text), "{ \"index\": %u, ", gpu->dev.info.index);
		at = strstr(output.out, text);
		ASSERT_NE(NULL, at);
		snprintf(text, sizeof(text), "\"vram_size\": %" PRIu64 ",",
			 (uint64_t)gpu->dev.info.vram_size);
		ASSERT_NE(NULL, strstr(at, text));
		ASSERT_LT(strstr(at, text), strchr(at, '\n'));
		snprintf(text, sizeof(text), "\"pid\": %d, ", getpid());
		ASSERT_NE(NULL, strstr(at, text));
		ASSERT_LT(strstr(at, text), strchr(at, '\n'));
	}
	output_free(&output);

	run_info(&output, 0, (char *const[]){ "vsvm-info", NULL });
	ASSERT_EQ(0, output.status);
	snprintf(text, sizeof(text), " %d ", getpid());
	ASSERT_NE(NULL, strstr(output.out, text));
	output_free(&output);
}

/* It ends with @status__, says @what__ and what to do, and reports nothing. */
#define REFUSED(status__, what__, uid__, ...)					\
	do {									\
		struct output output__;						\
										\
		run_info(&output__, uid__,					\
			 (char *const[]){ "vsvm-info", __VA_ARGS__, NULL });	\
		EXPECT_EQ(status__, output__.status);				\
		EXPECT_STREQ("", output__.out);					\
		EXPECT_NE(NULL, strstr(output__.err, what__))			\
			TH_LOG("%s", output__.err);				\
		output_free(&output__);						\
	} while (0)

TEST_F_TIMEOUT(devmem, bad_arguments, TEST_LIMIT)
{
	char pid[16], dead[16], other[16], zombie[16], me[64];
	int hold[2];
	pid_t child;

	if (!info_there())
		SKIP(return, "no vsvm-info");
	if (variant->n != 1)
		return;
	snprintf(pid, sizeof(pid), "%d", getpid());
	snprintf(me, sizeof(me), "processes that have one: %s (", pid);

	REFUSED(2, "'abc' is no PID", 0, "abc");
	REFUSED(2, "'' is no PID", 0, "");
	REFUSED(2, "'0' is no PID", 0, "0");
	REFUSED(2, "is no PID", 0, "--", "-1");
	REFUSED(2, "is no PID", 0, "12x");
	REFUSED(2, "is no PID", 0, "99999999999");
	REFUSED(2, "is no PID", 0, "99999999999999999999999");
	REFUSED(2, "one PID only", 0, pid, "2");
	REFUSED(2, "--help", 0, "--nonsense");
	REFUSED(2, "--help", 0, "--svg");
	REFUSED(2, "PID is missing", 0, "--svg", SVG);

	child = fork();
	if (!child)
		_exit(0);
	ASSERT_LT(0, child);
	snprintf(zombie, sizeof(zombie), "%d", child);
	/* It is one when it can be waited for. */
	ASSERT_EQ(0, waitid(P_PID, child, &(siginfo_t){ 0 }, WEXITED | WNOWAIT));
	REFUSED(3, "has no memory of its own", 0, zombie);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	snprintf(dead, sizeof(dead), "%d", child);
	REFUSED(3, "there is no process", 0, dead);
	/* The first of the kernel's own threads. */
	REFUSED(3, "a kernel thread", 0, "2");

	/* One that has nothing to do with it; ours has, and is named. */
	ASSERT_EQ(0, pipe(hold));
	child = fork();
	if (!child) {
		char byte;

		close(hold[1]);
		_exit(read(hold[0], &byte, 1) != 0);
	}
	ASSERT_LT(0, child);
	snprintf(other, sizeof(other), "%d", child);
	REFUSED(3, "has no VM on any vsvm device", 0, other);
	REFUSED(3, me, 0, other);
	close(hold[1]);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	close(hold[0]);

	/* Who is not root sees nothing, and is told so. */
	REFUSED(3, "root", 65534, pid);
}

/* A picture that cannot be drawn does not go unnoticed. */
TEST_F_TIMEOUT(devmem, no_picture, TEST_LIMIT)
{
	struct output output;
	char pid[16];

	if (!info_there())
		SKIP(return, "no vsvm-info");
	if (variant->n != 1)
		return;
	snprintf(pid, sizeof(pid), "%d", getpid());
	INFO(&output, "--svg", "/nonexistent/picture.svg", pid);
	EXPECT_EQ(1, output.status);
	EXPECT_NE(NULL, strstr(output.err, "/nonexistent/picture.svg: No such file"));
	output_free(&output);
	INFO(&output, "--svg", "/dev/full", pid);
	EXPECT_EQ(1, output.status);
	EXPECT_NE(NULL, strstr(output.err, "/dev/full"));
	output_free(&output);
}

TEST_HARNESS_MAIN
