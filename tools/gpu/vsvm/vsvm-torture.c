// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: see torture.h for what it does and why that is right
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

/* No operation takes that long, on however slow a machine. */
#define STUCK_SECONDS	400

static struct torture torture;

/* ----------------------------------------------------------------- helpers */

uint64_t torture_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

uint64_t torture_random(struct thread *t)
{
	return torture_mix(t->random++);
}

unsigned int torture_below(struct thread *t, unsigned int limit)
{
	return (torture_random(t) >> 16) % limit;
}

int torture_write_text(const char *path, const char *text)
{
	const ssize_t len = strlen(text);
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

int torture_write_number(const char *path, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return torture_write_text(path, text);
}

uint64_t torture_read_number(const char *path, uint64_t otherwise)
{
	char text[64];
	ssize_t len;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return otherwise;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return otherwise;
	text[len] = '\0';
	return strtoull(text, NULL, 0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* The run has failed; each thread ends its operation, and no other one begins. */
void torture_fail(struct thread *t, const char *format, ...)
{
	struct torture *tt = &torture;
	const struct op *op = NULL;
	char text[640];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (t)
		op = t->journal[t->at % JOURNAL].op;
	/* What comes after the first one most often comes of it. */
	if (!__atomic_exchange_n(&tt->failed, true, __ATOMIC_SEQ_CST) && t)
		printf("failed-at %" PRIu64 "\n", t->at);
	fprintf(stderr, "# FAILED: thread %d, operation %" PRIu64 " (%s): %s\n",
		t ? (int)t->nr : -1, t ? t->at : 0, op ? op->name : "?", text);
	fflush(stdout);
	atomic_set(&tt->stop, true);
}

/* A CPU that cannot read its own memory: it was lost, most likely. */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	fprintf(stderr, "# FAILED: signal %d at %p\n", sig, info->si_addr);
	report_journal(&torture);
	_exit(1);
}

/* -------------------------------------------------------------- operations */

const struct op *op_get(unsigned int nr)
{
	if (nr < num_ops_data)
		return &ops_data[nr];
	nr -= num_ops_data;
	if (nr < num_ops_mm)
		return &ops_mm[nr];
	nr -= num_ops_mm;
	if (nr < num_ops_device)
		return &ops_device[nr];
	return &ops_program[nr - num_ops_device];
}

unsigned int num_ops(void)
{
	return num_ops_data + num_ops_mm + num_ops_device + num_ops_program;
}

/* What an operation has to do with, for the journal */
void op_note(struct thread *t, const struct span *span, const struct gpu *gpu)
{
	struct journal *entry = &t->journal[t->at % JOURNAL];

	if (span)
		entry->span = *span;
	entry->gpu = gpu ? (int)gpu->nr : -1;
}

/*
 * How a job or a call has ended: as it should, or with the device, or for want of a
 * moment without invalidation; anything else is a failure of the run.
 */
int op_gone(struct thread *t, struct gpu *gpu, int ret, const char *what)
{
	if (!ret)
		return OP_DONE;
	if (gpu_excused(gpu, ret))
		return OP_LOST;
	if (ret == -EBUSY) {
		t->starved++;
		return OP_LOST;
	}
	torture_fail(t, "%s, GPU %u: %s", what, gpu->nr, strerror(-ret));
	return OP_LOST;
}

static void op_print(const struct thread *t, const struct journal *entry)
{
	char gpu[24] = "";

	if (entry->gpu >= 0)
		snprintf(gpu, sizeof(gpu), ", GPU %d", entry->gpu);
	if (entry->span.n)
		printf("#   thread %u, %" PRIu64 ": %s, %u pages from %u (%s)%s: %d\n", t->nr,
		       entry->nr, entry->op->name, entry->span.n, entry->span.first,
		       entry->span.area->name, gpu, entry->result);
	else
		printf("#   thread %u, %" PRIu64 ": %s%s: %d\n", t->nr, entry->nr,
		       entry->op->name, gpu, entry->result);
}

static void op_perform(struct thread *t, uint64_t nr, unsigned int which)
{
	struct torture *tt = t->tt;
	const struct op *op = op_get(which);
	struct journal *entry = &t->journal[nr % JOURNAL];

	memset(entry, 0, sizeof(*entry));
	entry->op = op;
	entry->nr = nr;
	entry->result = -1;
	entry->gpu = -1;
	atomic_set(&t->at, nr);
	atomic_set(&entry->seq, atomic_inc(&tt->seq, 1) + 1);
	t->steps = 1;
	entry->result = op->fn(t, op);
	switch (entry->result) {
	case OP_DONE:
		t->stats[which].done += t->steps;
		break;
	case OP_REFUSED:
		t->stats[which].refused += t->steps;
		break;
	default:
		t->stats[which].lost += t->steps;
		break;
	}
	if (tt->show)
		op_print(t, entry);
}

/* On purpose: memory that is not what the oracle says. */
static void plant(struct thread *t)
{
	struct span span = span_pick(t, 0, 1);

	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	__atomic_fetch_xor((uint64_t *)(span_addr(&span) + 8), 1ULL << 40, __ATOMIC_RELAXED);
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
}

static void op_step(struct thread *t, uint64_t nr)
{
	struct torture *tt = t->tt;
	unsigned int sum = 0, dice, which;

	t->random = torture_mix(torture_mix(tt->seed) + torture_mix(t->nr) * 3 + nr);
	for (unsigned int i = 0; i < num_ops(); i++)
		sum += op_get(i)->weight;
	dice = torture_below(t, sum);
	for (which = 0; dice >= op_get(which)->weight; which++)
		dice -= op_get(which)->weight;
	op_perform(t, nr, which);
	if (tt->plant && nr == tt->plant && !t->nr)
		plant(t);
	if (tt->suppress && nr == tt->suppress && !t->nr)
		for (unsigned int i = 0; i < tt->num_gpus; i++)
			vsvm_debugfs_set(&tt->gpus[i].dev, "suppress_flush", 1000);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct torture *tt = t->tt;
	const uint64_t num = (tt->ops + tt->num_threads - 1) / tt->num_threads;

	if (tt->list) {
		for (size_t i = 0; i < tt->list_len && !atomic_get(&tt->stop); i++)
			op_step(t, tt->list[i]);
	} else {
		for (uint64_t i = 1, done = 0; done < num && !atomic_get(&tt->stop); i++) {
			op_step(t, i);
			done += t->steps;
		}
	}
	atomic_set(&t->started, false);
	return NULL;
}

/* ------------------------------------------------------------- preparation */

/* What is set for the run, and set back after it */
static struct setting {
	const char *path;
	uint64_t value, old;
} settings[] = {
	{ "/sys/kernel/mm/ksm/pages_to_scan", 200, 0 },
	{ "/sys/kernel/mm/ksm/sleep_millisecs", 50, 0 },
	{ "/sys/kernel/mm/ksm/run", 1, 0 },
	{ "/sys/kernel/debug/drm_gpusvm_mgr/broken_steps", 0, 0 },
};

static void settings_set(struct torture *tt)
{
	for (unsigned int i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		struct setting *s = &settings[i];

		s->old = torture_read_number(s->path, ~0ULL);
		if (s->old == ~0ULL)
			continue;
		if (strstr(s->path, "broken_steps"))
			s->value = tt->broken ? 1ULL << tt->broken : 0;
		torture_write_number(s->path, s->value);
	}
}

static void settings_back(struct torture *tt)
{
	for (unsigned int i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (settings[i].old != ~0ULL)
			torture_write_number(settings[i].path, settings[i].old);
	for (unsigned int i = 0; i < tt->num_gpus; i++) {
		const struct gpu *gpu = &tt->gpus[i];
		const char *const names[] = { "fail_alloc", "fail_split", "suppress_flush" };

		vsvm_debugfs_set(&gpu->dev, "flush_latency_us",
				 torture_read_number("/sys/module/vsvm/parameters/flush_latency_us",
						     20));
		for (unsigned int n = 0; n < sizeof(names) / sizeof(names[0]); n++)
			vsvm_debugfs_set(&gpu->dev, names[n], 0);
	}
}

static bool topology_is(const struct torture *tt, unsigned int num)
{
	struct vsvm_device dev;
	bool good = true;

	for (unsigned int i = 0; i < num && good; i++) {
		if (vsvm_open(&dev, i))
			return false;
		good = dev.info.hive == dev.info.index % tt->hives &&
		       dev.info.vram_size == (uint64_t)tt->vram_mib << 20;
		vsvm_close(&dev);
	}
	return good;
}

/* Devices whose memory is too small for the arena, in hives */
static int topology(struct torture *tt)
{
	unsigned int minors[VSVM_MAX_DEVICES];
	int num = vsvm_list(minors, VSVM_MAX_DEVICES), ret = 0;

	if (num < 0 || (unsigned int)num < tt->num_gpus)
		return num < 0 ? num : -ENODEV;
	if (topology_is(tt, num))
		return access("/sys/kernel/debug/vsvm/unplug", W_OK) ? -errno : 0;
	ret = torture_write_number("/sys/module/vsvm/parameters/vram_mib", tt->vram_mib);
	if (!ret)
		ret = torture_write_number("/sys/module/vsvm/parameters/hives", tt->hives);
	for (int i = 0; i < num && !ret; i++)
		ret = vsvm_unplug(i);
	for (int i = 0; i < num && !ret; i++)
		ret = vsvm_plug(i);
	return ret;
}

static int uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void *map_shared(size_t size)
{
	void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return ptr == MAP_FAILED ? NULL : ptr;
}

static int threads_create(struct torture *tt)
{
	for (unsigned int i = 0; i < tt->num_threads; i++) {
		struct thread *t = &tt->threads[i];
		char *space;

		t->tt = tt;
		t->nr = i;
		t->uffd = uffd_open();
		/* Shared: a child's writes and a parent's GPUs meet the same pages. */
		t->lane = map_shared(sizeof(*t->lane));
		t->instrs = calloc(DRM_VSVM_MAX_INSTRS, sizeof(*t->instrs));
		/* Where it is moved to, a chunk stays a huge page. */
		space = mmap(NULL, 2 * CHUNK, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (!t->lane || !t->instrs || space == MAP_FAILED)
			return -ENOMEM;
		t->window = space + (-(uintptr_t)space & (CHUNK - 1));
	}
	for (unsigned int i = 0; i < tt->num_gpus; i++) {
		struct bound *bound = &tt->gpus[i].bound;

		bound->cpu = map_shared(BOUND_PAGES * PAGE);
		bound->out = map_shared(PAGE);
		if (!bound->cpu || !bound->out)
			return -ENOMEM;
	}
	return 0;
}

/* Nodes that pages can be moved to */
static unsigned int count_nodes(void)
{
	char path[64];
	unsigned int n = 0;

	do {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", n);
	} while (!access(path, F_OK) && ++n < 8);
	return n ? n : 1;
}

/* --------------------------------------------------------------------- run */

/*
 * Each kind of operation has its number, where chance has not given it that. When the
 * time is up, once has to do.
 */
static void top_up(struct torture *tt, double until)
{
	struct thread *t = &tt->threads[0];
	uint64_t nr = tt->ops + 1;

	for (unsigned int which = 0; which < num_ops(); which++) {
		const struct op *op = op_get(which);

		for (unsigned int tries = 0; tries < 20 * (tt->late ? 1 : op->min); tries++) {
			uint64_t done = 0;

			for (unsigned int i = 0; i < tt->num_threads; i++)
				done += tt->threads[i].stats[which].done;
			if (now() > until)
				tt->late = true;
			if (done >= (tt->late ? 1 : op->min) || tt->failed)
				break;
			t->random = torture_mix(tt->seed ^ nr);
			op_perform(t, nr++, which);
		}
	}
}

/* At last, each page once more, by the CPU and by a GPU. */
static void look_at_all(struct torture *tt)
{
	struct thread *t = &tt->threads[0];

	for (unsigned int i = 0; i < AREA_KINDS; i++) {
		const struct area *area = &tt->areas[i];

		for (unsigned int p = 0; p < area->pages; p += CHUNK_PAGES) {
			struct span span = { .area = area, .first = area->first + p,
					     .n = CHUNK_PAGES };

			if (!tt->failed && !tt->list)
				span_check_gpu(t, &tt->gpus[(i + p / CHUNK_PAGES) % tt->num_gpus],
					       &span, span_addr(&span), "in the end, GPU");
			if (!tt->failed)
				span_check_cpu(t, &span, span_addr(&span), "in the end, CPU");
		}
	}
}

static uint64_t ops_done(const struct torture *tt)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < tt->num_threads; i++)
		for (unsigned int o = 0; o < num_ops(); o++)
			sum += tt->threads[i].stats[o].done;
	return sum;
}

/* Waits for the threads; says from time to time how far they are, and if they are stuck. */
static void watch(struct torture *tt, double start)
{
	double moved[MAX_THREADS], last = start;
	uint64_t at[MAX_THREADS] = {};
	bool running = true;

	for (unsigned int i = 0; i < tt->num_threads; i++)
		moved[i] = start;
	while (running) {
		usleep(100000);
		running = false;
		for (unsigned int i = 0; i < tt->num_threads; i++) {
			struct thread *t = &tt->threads[i];
			const uint64_t is = atomic_get(&t->at);

			if (!atomic_get(&t->started))
				continue;
			running = true;
			if (is != at[i]) {
				at[i] = is;
				moved[i] = now();
			} else if (now() - moved[i] > STUCK_SECONDS) {
				torture_fail(t, "stuck");
				report_journal(tt);
				_exit(1);
			}
		}
		if (tt->seconds && now() - start > tt->seconds)
			atomic_set(&tt->stop, true);
		if (!tt->quiet && now() - last > 20) {
			last = now();
			printf("# %4.0f s: %" PRIu64 " operations\n", last - start, ops_done(tt));
			fflush(stdout);
		}
	}
}

static int run(struct torture *tt)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	double start = now(), seconds;
	int ret;

	ret = topology(tt);
	if (ret == -ENODEV || ret == -ENOENT || ret == -EACCES) {
		printf("# SKIP: not that many devices, or no debugfs: %s\n", strerror(-ret));
		return 4;
	}
	if (ret) {
		fprintf(stderr, "vsvm-torture: devices: %s\n", strerror(-ret));
		return 2;
	}
	tt->nodes = count_nodes();
	settings_set(tt);
	ret = arena_create(tt);
	if (!ret)
		ret = threads_create(tt);
	if (!ret)
		ret = gpus_create(tt);
	if (ret) {
		fprintf(stderr, "vsvm-torture: %s\n", strerror(-ret));
		settings_back(tt);
		return 2;
	}
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);

	for (unsigned int i = 0; i < tt->num_threads; i++) {
		tt->threads[i].started = true;
		if (pthread_create(&tt->threads[i].thread, NULL, thread_main, &tt->threads[i])) {
			perror("vsvm-torture: pthread_create");
			_exit(2);
		}
	}
	watch(tt, start);
	for (unsigned int i = 0; i < tt->num_threads; i++)
		pthread_join(tt->threads[i].thread, NULL);
	/* A program is one operation with a number, and as many as it has accesses. */
	if (!tt->list && !tt->failed &&
	    (tt->plant > tt->threads[0].at || tt->suppress > tt->threads[0].at))
		torture_fail(NULL, "ended at operation %" PRIu64 ", before the mistake: more --ops",
			     tt->threads[0].at);
	if (!tt->list && !tt->failed)
		top_up(tt, tt->seconds ? start + 2 * tt->seconds : 1e18);
	if (!tt->failed)
		look_at_all(tt);
	seconds = now() - start;
	walker_run(tt, &tt->threads[0]);
	settings_back(tt);
	ret = gpus_destroy(tt);
	if (ret)
		torture_fail(NULL, "destroying VMs: %s", strerror(-ret));
	if (tt->failed)
		report_journal(tt);
	if (!report_table(tt, seconds))
		tt->failed = true;
	arena_destroy(tt);
	if (tt->failed) {
		printf("# once more: vsvm-torture --replay 0x%" PRIx64 " --ops %" PRIu64
		       " --threads %u --gpus %u --vram %u --hives %u\n",
		       tt->seed, tt->ops, tt->num_threads, tt->num_gpus, tt->vram_mib, tt->hives);
	}
	fflush(stdout);
	return tt->failed ? 1 : 0;
}

static void usage(void)
{
	puts("vsvm-torture [OPTION...]: random operations on memory that CPU and GPUs share\n"
	     "  --gpus N      devices to use (2)\n"
	     "  --threads N   CPU threads (4)\n"
	     "  --ops N       operations (10000)\n"
	     "  --seconds N   begin no other operation after this time; 0: no limit (0)\n"
	     "  --seed N      what is done (of the clock)\n"
	     "  --replay N    do what was done with that seed, and print each operation\n"
	     "  --shrink      with one thread: find a short sequence that fails\n"
	     "  --vram MIB    memory of each device (8)\n"
	     "  --hives N     device N is in hive N modulo this (1)\n"
	     "  --only FILE   only the operations whose numbers are in it, with one thread\n"
	     "  --break N     leave out a step of the protocol, see gpusvm_mgr_break.h\n"
	     "  --plant N     change memory behind the oracle's back after operation N\n"
	     "  --suppress N  have the devices not flush any more after operation N\n"
	     "  --quiet       no progress\n"
	     "Status: 0 all well, 1 something failed, 2 it could not be begun, 4 no devices");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "gpus", required_argument, NULL, 'g' },
		{ "threads", required_argument, NULL, 't' },
		{ "ops", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 's' },
		{ "seed", required_argument, NULL, 'r' },
		{ "replay", required_argument, NULL, 'R' },
		{ "shrink", no_argument, NULL, 'S' },
		{ "vram", required_argument, NULL, 'v' },
		{ "hives", required_argument, NULL, 'h' },
		{ "only", required_argument, NULL, 'o' },
		{ "break", required_argument, NULL, 'b' },
		{ "plant", required_argument, NULL, 'p' },
		{ "suppress", required_argument, NULL, 'f' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, '?' },
		{ NULL, 0, NULL, 0 },
	};
	struct torture *tt = &torture;
	struct timespec ts;
	int opt;

	clock_gettime(CLOCK_REALTIME, &ts);
	tt->seed = torture_mix(ts.tv_sec * 1000000007ULL + ts.tv_nsec + getpid()) >> 32;
	tt->num_gpus = 2;
	tt->num_threads = 4;
	tt->ops = 10000;
	tt->vram_mib = 8;
	tt->hives = 1;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		const uint64_t value = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (opt) {
		case 'g':
			tt->num_gpus = value;
			break;
		case 't':
			tt->num_threads = value;
			break;
		case 'n':
			tt->ops = value;
			break;
		case 's':
			tt->seconds = value;
			break;
		case 'r':
			tt->seed = value;
			break;
		case 'R':
			tt->seed = value;
			tt->show = true;
			break;
		case 'S':
			tt->shrink = true;
			break;
		case 'v':
			tt->vram_mib = value;
			break;
		case 'h':
			tt->hives = value;
			break;
		case 'o':
			tt->only = optarg;
			break;
		case 'b':
			tt->broken = value;
			break;
		case 'p':
			tt->plant = value;
			break;
		case 'f':
			tt->suppress = value;
			break;
		case 'q':
			tt->quiet = true;
			break;
		default:
			usage();
			return 2;
		}
	}
	if (tt->only || tt->shrink)
		tt->num_threads = 1;
	if (!tt->num_gpus || tt->num_gpus > MAX_GPUS || !tt->num_threads ||
	    tt->num_threads > MAX_THREADS || !tt->hives || !tt->ops) {
		usage();
		return 2;
	}
	if (tt->shrink)
		return shrink(tt, argv);
	/*
	 * While a span is unmapped nobody may come and map something there: no
	 * allocation may be a mmap() of its own.
	 */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	if (list_read(tt))
		return 2;
	printf("# seed 0x%" PRIx64 ", %" PRIu64
	       " operations, %u threads, %u GPUs with %u MiB, hives %u\n", tt->seed, tt->ops,
	       tt->num_threads, tt->num_gpus, tt->vram_mib, tt->hives);
	return run(tt);
}
