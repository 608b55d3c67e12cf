// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Random calls over the whole ABI of vsvm: valid ones, made from a grammar (see
 * gpusvm_fuzz.h), and ones of which something is wrong, while jobs are at work and
 * memory changes. Each call succeeds or fails with an errno that is documented, the
 * manager's walker is content, no device sees a violation, and at the end all devices
 * still do what they should. Each call, and each operation of jobs, binds and
 * attributes must have succeeded at least once.
 *
 * GPUSVM_SEED and GPUSVM_CALLS are in the environment: where random numbers begin,
 * and how many calls each test makes. With GPUSVM_TRACE=1 each call is printed before
 * it is made. Where the kernel has KCOV, calls that reach what none has reached before
 * are kept and made again with changes; GPUSVM_CORPUS names a file to keep them in.
 */
#include <dirent.h>
#include <inttypes.h>
#include <linux/kcov.h>

#include "gpusvm_fuzz.h"
#include "gpusvm_attrs.h"

#define MANAGERS	"/sys/kernel/debug/drm_gpusvm_mgr"

/* Calls of a test where nothing else is said; for all kinds to be reached surely. */
#define CALLS		4000
/* So often everything is looked at. */
#define BATCH		64
/* For the longest run, not for one call. */
#define LIMIT		2400

struct fuzz_count {
	uint64_t done, refused;
	uint64_t kinds[16];
};

/* ----------------------------------------------------------------- coverage */

#define COVER_WORDS	(1UL << 16)
#define COVER_EDGES	(1UL << 20)
#define CORPUS_MAX	8192

/* A call that has reached something, with all that it pointed to. */
struct input {
	uint32_t call;
	uint32_t edges;
	uint8_t arg[128];
	uint8_t array[512];
	uint8_t syncs[64];
	uint8_t vms[192];
};

struct cover {
	int fd;
	unsigned long *words;
	uint8_t *seen;
	uint64_t edges;
	struct input *corpus;
	unsigned int num;
	/* Of another boot: made once more, and kept where they reach something. */
	struct input *old;
	unsigned int num_old;
};

static FILE *cover_file(const char *suffix, const char *mode)
{
	const char *path = getenv("GPUSVM_CORPUS");
	char name[512];

	if (!path)
		return NULL;
	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return fopen(name, mode);
}

/*
 * What earlier runs have reached, and by what. Without the former, which only means
 * something in the boot that it is of, the latter has to be tried.
 */
static void cover_load(struct cover *cover)
{
	FILE *file = cover_file("", "r");
	struct input *inputs;
	unsigned int num = 0;

	if (file) {
		num = fread(cover->corpus, sizeof(*cover->corpus), CORPUS_MAX, file);
		fclose(file);
	}
	for (unsigned int i = 0; i < num; i++)
		if (cover->corpus[i].call >= FUZZ_CALLS)
			num = i;
	file = cover_file(".seen", "r");
	if (file) {
		if (fread(cover->seen, 1, COVER_EDGES, file) == COVER_EDGES)
			cover->num = num;
		else
			memset(cover->seen, 0, COVER_EDGES);
		fclose(file);
	}
	for (unsigned long i = 0; i < COVER_EDGES; i++)
		cover->edges += cover->seen[i];
	if (!cover->num) {
		inputs = cover->old;
		cover->old = cover->corpus;
		cover->num_old = num;
		cover->corpus = inputs;
	}
}

static void cover_save(const struct cover *cover)
{
	FILE *file = cover_file("", "w");

	if (file) {
		fwrite(cover->corpus, sizeof(*cover->corpus), cover->num, file);
		fclose(file);
	}
	file = cover_file(".seen", "w");
	if (file) {
		fwrite(cover->seen, 1, COVER_EDGES, file);
		fclose(file);
	}
}

/* False: this kernel does not tell. */
static bool cover_open(struct cover *cover)
{
	cover->fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (cover->fd < 0)
		return false;
	if (ioctl(cover->fd, KCOV_INIT_TRACE, COVER_WORDS))
		return false;
	cover->words = mmap(NULL, COVER_WORDS * sizeof(long), PROT_READ | PROT_WRITE,
			    MAP_SHARED, cover->fd, 0);
	cover->seen = calloc(COVER_EDGES, 1);
	cover->corpus = calloc(CORPUS_MAX, sizeof(*cover->corpus));
	cover->old = calloc(CORPUS_MAX, sizeof(*cover->old));
	if (cover->words == MAP_FAILED || !cover->seen || !cover->corpus || !cover->old ||
	    ioctl(cover->fd, KCOV_ENABLE, KCOV_TRACE_PC))
		return false;
	cover_load(cover);
	return true;
}

static void cover_close(struct cover *cover)
{
	if (cover->fd < 0)
		return;
	ioctl(cover->fd, KCOV_DISABLE, 0);
	cover_save(cover);
	munmap(cover->words, COVER_WORDS * sizeof(long));
	free(cover->seen);
	free(cover->corpus);
	free(cover->old);
	close(cover->fd);
}

static void cover_begin(struct cover *cover)
{
	if (cover->fd >= 0)
		__atomic_store_n(&cover->words[0], 0, __ATOMIC_RELAXED);
}

/* Pairs of places that followed each other, which no call has had before. */
static void cover_end(struct cover *cover, const struct input *input)
{
	unsigned long num, last = 0;
	uint32_t edges = 0;

	if (cover->fd < 0)
		return;
	num = __atomic_load_n(&cover->words[0], __ATOMIC_RELAXED);
	if (num > COVER_WORDS - 1)
		num = COVER_WORDS - 1;
	for (unsigned long i = 1; i <= num; i++) {
		unsigned long pc = cover->words[i];
		uint64_t hash = (pc ^ last * 0x9e3779b97f4a7c15ULL) * 0xff51afd7ed558ccdULL;

		hash >>= 44;
		edges += !cover->seen[hash];
		cover->seen[hash] = 1;
		last = pc;
	}
	cover->edges += edges;
	if (!edges || cover->num == CORPUS_MAX)
		return;
	cover->corpus[cover->num] = *input;
	cover->corpus[cover->num++].edges = edges;
}

static void input_get(struct input *input, unsigned int call)
{
	input->call = call;
	memcpy(input->arg, (void *)FUZZ_ARGS, sizeof(input->arg));
	memcpy(input->array, (void *)FUZZ_ARRAY, sizeof(input->array));
	memcpy(input->syncs, (void *)FUZZ_SYNCS, sizeof(input->syncs));
	memcpy(input->vms, (void *)FUZZ_VMS, sizeof(input->vms));
}

/*
 * A call that was made before, of what is there now, with something else in it; first,
 * as they are, those of another boot.
 */
static unsigned int input_again(struct fuzz *f, struct cover *cover)
{
	const struct input *input = cover->num_old ? &cover->old[--cover->num_old] :
		&cover->corpus[fuzz_rnd(f, cover->num)];
	const struct fuzz_call *call = &fuzz_calls[input->call];
	unsigned int mutations = input == &cover->old[cover->num_old] ? 0 : fuzz_rnd(f, 4);

	f->valid = false;
	memset((void *)FUZZ_ARGS, 0, 0x6000);
	memcpy((void *)FUZZ_ARGS, input->arg, sizeof(input->arg));
	memcpy((void *)FUZZ_ARRAY, input->array, sizeof(input->array));
	memcpy((void *)FUZZ_SYNCS, input->syncs, sizeof(input->syncs));
	memcpy((void *)FUZZ_VMS, input->vms, sizeof(input->vms));
	for (unsigned int i = 0; i < call->num_fields; i++) {
		const struct fuzz_field *field = &call->fields[i];

		if ((field->kind == FUZZ_VM || field->kind == FUZZ_HANDLE ||
		     field->kind == FUZZ_DMABUF) && fuzz_one_in(f, 2))
			field_set((void *)FUZZ_ARGS, field, fuzz_valid(f, field, 0, 0));
	}
	while (mutations--) {
		const struct fuzz_field *field = &call->fields[fuzz_rnd(f, call->num_fields)];
		char *base = (char *)FUZZ_ARGS;

		if (call->array && fuzz_one_in(f, 2)) {
			field = &call->array->fields[fuzz_rnd(f, call->array->num_fields)];
			base = (char *)FUZZ_ARRAY + fuzz_rnd(f, 4) * call->array->size;
		} else if (call->more && fuzz_one_in(f, 2)) {
			field = &call->more->fields[fuzz_rnd(f, call->more->num_fields)];
			base = (char *)FUZZ_VMS + fuzz_rnd(f, 2) * call->more->size;
		}
		field_set(base, field, fuzz_one_in(f, 2) ? fuzz_valid(f, field, FUZZ_PLAY, 1) :
			  fuzz_odd(f, field_get(base, field)));
	}
	fuzz_tame(f, call);
	return input->call;
}

/* ------------------------------------------------------------------ a device */

static int dev_open(struct fuzz_dev *dev, unsigned int nr)
{
	struct vsvm_vm vm;
	int ret = vsvm_open(&dev->dev, nr);

	if (ret)
		return ret;
	ret = vsvm_vm_create(&dev->dev, DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_MIGRATE, &vm);
	if (ret)
		return ret;
	dev->vm[0] = vm.id;
	dev->mirrors[0] = true;
	ret = vsvm_vm_create(&dev->dev, 0, &vm);
	if (ret)
		return ret;
	dev->vm[1] = vm.id;
	ret = vsvm_gem_create(&dev->dev, 4 * page_size(), 0, &dev->handle[0]);
	if (ret)
		return ret;
	for (unsigned int i = 0; i < ARRAY_SIZE(dev->syncobj); i++)
		if (drmSyncobjCreate(dev->dev.fd, DRM_SYNCOBJ_CREATE_SIGNALED,
				     &dev->syncobj[i]))
			return -errno;
	return 0;
}

static uint64_t all_violations(struct fuzz *f)
{
	uint64_t sum = 0, value;

	for (unsigned int i = 0; i < f->n; i++)
		sum += vsvm_debugfs_get(&f->dev[i].dev, "violations", &value) ? 1 : value;
	return sum;
}

/* Runs the walker of each manager: 0, or -EUCLEAN with the reason in the log. */
static int walk_managers(void)
{
	struct dirent *entry;
	char path[512];
	int ret = 0, fd;
	DIR *dir;

	dir = opendir(MANAGERS);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (!strchr(entry->d_name, '-'))
			continue;
		snprintf(path, sizeof(path), MANAGERS "/%s", entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		/* It may be that of a process that is just ending. */
		if (fd < 0)
			continue;
		if (write(fd, "validate", 8) != 8 && errno != ENOENT && errno != EIO)
			ret = -errno;
		close(fd);
	}
	closedir(dir);
	return ret;
}

/* ------------------------------------------------------------- what happens */

static int play_map(uint64_t start, size_t size, int prot, int flags)
{
	void *at = mmap((void *)start, size, prot, flags | MAP_FIXED | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? -errno : 0;
}

/* The process changes its memory, as any does. */
static void change_memory(struct fuzz *f, int zero)
{
	uint64_t page = page_size(), pages = 1 + fuzz_rnd(f, 64);
	uint64_t start = FUZZ_PLAY + fuzz_rnd(f, FUZZ_PLAY_SIZE / page - pages + 1) * page;
	void *at = (void *)start;
	size_t size = pages * page;

	switch (fuzz_rnd(f, 10)) {
	case 0:
		munmap(at, size);
		break;
	case 1:
		mprotect(at, size, PROT_READ);
		break;
	case 2:
		madvise(at, size, MADV_DONTNEED);
		break;
	case 3:
		play_map(start, size, PROT_READ | PROT_WRITE, MAP_SHARED);
		break;
	case 4:
		/* The CPU touches it, where it can: no fault of ours. */
		if (read(zero, at, size) < 0)
			break;
		break;
	default:
		/* Most often it is there, and ordinary. */
		play_map(start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
		break;
	}
}

static bool documented(const struct fuzz_call *call, int error)
{
	if (error == EINVAL || error == EFAULT)
		return true;
	for (unsigned int i = 0; i < ARRAY_SIZE(call->errors) && call->errors[i]; i++)
		if (call->errors[i] == error)
			return true;
	return false;
}

static unsigned int choose_call(struct fuzz *f)
{
	unsigned int sum = 0, at;

	for (unsigned int i = 0; i < FUZZ_CALLS; i++)
		sum += fuzz_calls[i].weight;
	at = fuzz_rnd(f, sum);
	for (unsigned int i = 0; i < FUZZ_CALLS; i++) {
		if (at < fuzz_calls[i].weight)
			return i;
		at -= fuzz_calls[i].weight;
	}
	return 0;
}

static void print_call(struct fuzz *f, uint64_t nr, const struct fuzz_call *call)
{
	fprintf(stderr, "# %" PRIu64 " device %u %s%s:", nr, (unsigned int)(f->at - f->dev),
		call->name, f->valid ? "" : " (changed)");
	for (unsigned int i = 0; i < call->num_fields; i++)
		fprintf(stderr, " %s=0x%" PRIx64, call->fields[i].name,
			field_get((void *)FUZZ_ARGS, &call->fields[i]));
	if (call->array) {
		for (unsigned int i = 0; i < call->array->num_fields; i++)
			fprintf(stderr, " [0].%s=0x%" PRIx64, call->array->fields[i].name,
				field_get((void *)FUZZ_ARRAY, &call->array->fields[i]));
	}
	fputc('\n', stderr);
}

static int make_call(struct fuzz *f, const struct fuzz_call *call, bool outright)
{
	unsigned long request = call->request;
	void *arg = (void *)FUZZ_ARGS;

	if (!f->valid && outright) {
		/* Not a pointer, or of another size: filled up, or cut. */
		if (fuzz_one_in(f, 2))
			arg = fuzz_one_in(f, 2) ? (void *)8 : (void *)(1ULL << 63);
		else
			request = _IOC(_IOC_DIR(request), _IOC_TYPE(request), _IOC_NR(request),
				       fuzz_rnd(f, 256));
	}
	return ioctl(f->at->dev.fd, request, arg) ? -errno : 0;
}

/* All elements of a call that went well are of kinds that have been reached. */
static void count_kinds(const struct fuzz_call *call, struct fuzz_count *count)
{
	uint64_t num = 0;
	uint32_t kind;

	for (unsigned int i = 0; i < call->num_fields; i++)
		if (call->fields[i].kind == FUZZ_COUNT)
			num = field_get((void *)FUZZ_ARGS, &call->fields[i]);
	for (uint64_t i = 0; i < num && i < 6; i++) {
		memcpy(&kind, (char *)FUZZ_ARRAY + i * call->array->size, sizeof(kind));
		if (kind < call->num_kinds)
			count->kinds[kind]++;
	}
}

/*
 * In another process, which has the files but not the memory: number of calls that
 * were refused for that, or 200 and more where one was not.
 */
static int strangers_calls(struct fuzz *f)
{
	int refused = 0;

	for (unsigned int i = 0; i < 16; i++) {
		const struct fuzz_call *call = &fuzz_calls[choose_call(f)];
		bool vm = false;
		int ret;

		if (call->done)
			continue;
		fuzz_make(f, call);
		for (unsigned int k = 0; k < call->num_fields; k++)
			vm |= call->fields[k].kind == FUZZ_VM;
		ret = make_call(f, call, false);
		if (!ret && vm) {
			print_call(f, 0, call);
			return 200;
		}
		refused += ret == -EPERM;
	}
	return refused;
}

static int run_stranger(struct fuzz *f)
{
	int status;
	pid_t pid;

	fflush(stdout);
	fflush(stderr);
	pid = fork();
	if (!pid)
		_exit(strangers_calls(f));
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* ----------------------------------------------------------------- the tests */

FIXTURE(fuzz)
{
	struct fuzz *f;
	struct fuzz_count count[FUZZ_CALLS];
	struct cover cover;
	uint64_t calls;
	uint64_t violations;
	int zero;
};

FIXTURE_VARIANT(fuzz)
{
	unsigned int n;
	unsigned int hives;
	unsigned int vram_mib;
};

FIXTURE_VARIANT_ADD(fuzz, two)
{
	.n = 2, .hives = 1, .vram_mib = 16,
};

FIXTURE_VARIANT_ADD(fuzz, two_apart_small)
{
	.n = 2, .hives = 2, .vram_mib = 2,
};

FIXTURE_SETUP(fuzz)
{
	const char *text;
	struct fuzz *f;
	int ret;

	self->cover.fd = -1;
	ret = topology(variant->n, variant->hives, variant->vram_mib);
	if (ret == -ENODEV)
		SKIP(return, "fewer than %u devices", variant->n);
	if (ret == -ENOENT)
		SKIP(return, "no debugfs");
	ASSERT_EQ(0, ret);

	f = buf_alloc(sizeof(*f));
	ASSERT_NE(NULL, f);
	text = getenv("GPUSVM_SEED");
	f->seed = text ? strtoull(text, NULL, 0) : 1;
	text = getenv("GPUSVM_CALLS");
	self->calls = text ? strtoull(text, NULL, 0) : CALLS;
	TH_LOG("GPUSVM_SEED=%" PRIu64 " GPUSVM_CALLS=%" PRIu64, f->seed, self->calls);
	/* Small seeds shall not begin alike, and 0 is none. */
	f->seed = f->seed * 0x9e3779b97f4a7c15ULL + 0x1234567;

	/* Alone in its window. */
	ASSERT_EQ((void *)FUZZ_ARGS, mmap((void *)FUZZ_ARGS, FUZZ_ARGS_SIZE,
					  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
					  MAP_FIXED_NOREPLACE, -1, 0));
	ASSERT_EQ(0, play_map(FUZZ_PLAY, FUZZ_PLAY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE));
	for (unsigned int i = 0; i < FUZZ_POOL; i++)
		f->dmabuf[i] = -1;
	for (unsigned int i = 0; i < variant->n; i++, f->n++)
		ASSERT_EQ(0, dev_open(&f->dev[i], i));
	self->violations = all_violations(f);
	f->fd[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	f->fd[1] = open("/dev/null", O_PATH | O_CLOEXEC);
	/* One that is closed again. */
	f->fd[2] = dup(f->fd[0]);
	ASSERT_LE(0, f->fd[2]);
	close(f->fd[2]);
	self->zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->zero);
	if (!cover_open(&self->cover))
		self->cover.fd = -1;
	self->f = f;
}

FIXTURE_TEARDOWN(fuzz)
{
	struct fuzz *f = self->f;

	if (!f)
		return;
	cover_close(&self->cover);
	for (unsigned int i = 0; i < f->n; i++)
		vsvm_close(&f->dev[i].dev);
	for (unsigned int i = 0; i < FUZZ_POOL; i++)
		if (f->dmabuf[i] >= 0)
			close(f->dmabuf[i]);
}

/* Lines that say what was reached; tools/overlay/fuzz adds them up. */
static void print_counts(const struct fuzz_count *count, const struct cover *cover)
{
	for (unsigned int i = 0; i < FUZZ_CALLS; i++) {
		const struct fuzz_call *call = &fuzz_calls[i];

		printf("# fuzz: %s done %" PRIu64 " refused %" PRIu64 "\n", call->name,
		       count[i].done, count[i].refused);
		for (unsigned int k = 0; k < call->num_kinds; k++)
			printf("# fuzz: %s.%s done %" PRIu64 " refused 0\n", call->name,
			       call->kinds[k], count[i].kinds[k]);
	}
	if (cover->fd >= 0)
		printf("# fuzz-cover: edges %" PRIu64 " kept %u\n", cover->edges, cover->num);
	fflush(stdout);
}

/* All is quiet, and the memory is new: each device does what it should. */
static int devices_work(struct fuzz *f)
{
	VSVM_JOB(job, 1);
	int ret;

	ret = play_map(FUZZ_PLAY, FUZZ_PLAY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (unsigned int i = 0; !ret && i < f->n; i++) {
		struct vsvm_vm vm = { .fd = f->dev[i].dev.fd };
		uint64_t *fence = (uint64_t *)FUZZ_OUT;

		/* A new VM: what was bound over the play of the old one is not here. */
		ret = vsvm_vm_create(&f->dev[i].dev, DRM_VSVM_VM_MIRROR, &vm);
		if (ret)
			break;
		buf_init((void *)FUZZ_PLAY, FUZZ_PLAY_SIZE, i);
		*fence = 0;
		vsvm_job_reset(&job);
		vsvm_job_add(&job, (void *)FUZZ_PLAY, FUZZ_PLAY_SIZE, 1);
		ret = vsvm_exec(&vm, 0, &job, fence, 1, NULL);
		if (!ret)
			ret = vsvm_wait(&vm, fence, 1, GPU_TIMEOUT_NS);
		if (!ret && buf_check((void *)FUZZ_PLAY, FUZZ_PLAY_SIZE, i, 1) != -1)
			ret = -EILSEQ;
		if (!ret)
			ret = vsvm_vm_destroy(&vm);
	}
	return ret;
}

TEST_F_TIMEOUT(fuzz, abi, LIMIT)
{
	static struct saved before[ATTR_MAX], after[ATTR_MAX];
	bool trace = getenv("GPUSVM_TRACE");
	struct fuzz *f = self->f;
	struct input input = { 0 };
	uint64_t eperm = 0;

	for (uint64_t i = 1; i <= self->calls; i++) {
		struct vsvm_vm vm;
		const struct fuzz_call *call;
		unsigned int which;
		int num = -1, ret;

		f->at = &f->dev[fuzz_rnd(f, f->n)];
		if (fuzz_one_in(f, 16))
			change_memory(f, self->zero);
		if ((self->cover.num_old || self->cover.num) && fuzz_one_in(f, 2)) {
			which = input_again(f, &self->cover);
		} else {
			which = choose_call(f);
			fuzz_make(f, &fuzz_calls[which]);
		}
		call = &fuzz_calls[which];
		if (trace)
			print_call(f, i, call);

		/* Where that is cheap to tell: a call that is refused changes nothing. */
		vm = (struct vsvm_vm){ .fd = f->at->dev.fd, .id = f->at->vm[0] };
		if (!f->valid && call->request == DRM_IOCTL_VSVM_ATTR_SET && fuzz_one_in(f, 4))
			num = attrs_save(&vm, before, ATTR_MAX);

		input_get(&input, which);
		cover_begin(&self->cover);
		ret = make_call(f, call, fuzz_one_in(f, 32));
		cover_end(&self->cover, &input);

		if (!ret) {
			self->count[which].done++;
			if (call->num_kinds)
				count_kinds(call, &self->count[which]);
			if (call->done)
				call->done(f, (void *)FUZZ_ARGS);
		} else {
			self->count[which].refused++;
		}
		ASSERT_TRUE(!ret || documented(call, -ret)) {
			TH_LOG("call %" PRIu64 ": %s: %s", i, call->name, strerror(-ret));
			print_call(f, i, call);
		}
		if (num >= 0 && ret) {
			ASSERT_EQ(num, attrs_save(&vm, after, ATTR_MAX))
				print_call(f, i, call);
			ASSERT_EQ(0, memcmp(before, after, num * sizeof(before[0])))
				print_call(f, i, call);
		}
		if (i % (8 * BATCH) == 0) {
			ret = run_stranger(f);
			ASSERT_GT(200, ret);
			eperm += ret;
		}
		if (i % BATCH && i != self->calls)
			continue;
		ASSERT_EQ(0, walk_managers())
			TH_LOG("call %" PRIu64, i);
		ASSERT_EQ(self->violations, all_violations(f))
			TH_LOG("call %" PRIu64, i);
	}

	print_counts(self->count, &self->cover);
	for (unsigned int i = 0; i < f->n; i++) {
		f->at = &f->dev[i];
		for (unsigned int k = 0; k < FUZZ_POOL; k++)
			fuzz_vm_destroy(f, k);
	}
	ASSERT_EQ(0, devices_work(f));
	ASSERT_EQ(self->violations, all_violations(f));

	/* A few calls, for a look at one of them, need not reach everything. */
	if (self->calls < CALLS)
		return;
	EXPECT_LT(0, eperm);
	for (unsigned int i = 0; i < FUZZ_CALLS; i++) {
		const struct fuzz_call *call = &fuzz_calls[i];

		EXPECT_LT(0, self->count[i].done)
			TH_LOG("%s never succeeded", call->name);
		EXPECT_LT(0, self->count[i].refused)
			TH_LOG("%s was never refused", call->name);
		for (unsigned int k = 0; k < call->num_kinds; k++) {
			/* What came with a later version of the ABI. */
			if (call->array == &op_array && k > DRM_VSVM_BIND_UNMAP &&
			    f->dev[0].dev.info.abi_version < 5)
				continue;
			EXPECT_LT(0, self->count[i].kinds[k])
				TH_LOG("%s never succeeded with %s", call->name, call->kinds[k]);
		}
	}
}

TEST_HARNESS_MAIN
