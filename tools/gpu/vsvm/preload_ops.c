// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-preload: what devices do behind the program's back
 *
 * Of the program's memory they only read, move and say something; they write to the
 * arena, which is the library's, and there every result is compared.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "preload.h"

#define MAX_READ	16	/* pages that a job reads at most */
#define MAX_WRITE	8
#define MAX_MOVE	512	/* and that are moved at once */

/* The flip is for a program that has a buffer of that size, in bytes. */
#define FLIP_LEAST	(16 << 20)
#define FLIP_EVERY	10	/* rounds */
#define FLIP_SPAN	500	/* pages */

/* ----------------------------------------------------------------- memory */

int arena_create(struct preload *pl)
{
	char *arena, *window;

	arena = mmap(NULL, ARENA_PAGES * pl->page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return -errno;
	window = mmap(NULL, WINDOW_PAGES * pl->page, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (window == MAP_FAILED) {
		munmap(arena, ARENA_PAGES * pl->page);
		return -ENOMEM;
	}
	pl->arena = arena;
	pl->window = window;
	for (unsigned int i = 0; i < MAX_GPUS; i++)
		pl->gpus[i].vm = (struct vsvm_vm *)arena_at(pl, ARENA_RESULTS + 1) + i;
	for (uint64_t *word = (uint64_t *)arena_at(pl, ARENA_SOURCE);
	     (char *)word < arena_at(pl, ARENA_SOURCE + ARENA_SPAN); word++)
		*word = preload_below(pl, UINT64_MAX);
	return 0;
}

void arena_destroy(struct preload *pl)
{
	if (pl->arena)
		munmap(pl->arena, ARENA_PAGES * pl->page);
	if (pl->window)
		munmap(pl->window, WINDOW_PAGES * pl->page);
	pl->arena = NULL;
	pl->window = NULL;
}

/* Where the result of a device goes; apart, so that each can be at another place. */
static uint64_t *result_at(struct preload *pl, const struct gpu *gpu)
{
	return (uint64_t *)arena_at(pl, ARENA_RESULTS + 2) + 64 * (gpu - pl->gpus);
}

/* ----------------------------------------------------------------- errors */

static bool gone(struct gpu *gpu, int ret)
{
	/* Somebody closed the descriptor, maybe has another file by its number now. */
	if (ret == -EBADF || ret == -ENOTTY || ret == -ENOENT || ret == -ENODEV ||
	    ret == -ECANCELED || ret == -EPERM)
		gpu->gone = true;
	return gpu->gone;
}

/*
 * Did a call succeed? If not, was it the program that made it fail, or is something
 * wrong? What concerns only our own memory fails for want of memory or time alone.
 */
static bool fine(struct preload *pl, struct gpu *gpu, int ret, bool strict, const char *what)
{
	struct drm_vsvm_error error;

	if (ret == -ETIME) {
		/* It may end at any time, and then write to what is in use again. */
		preload_wrong(pl, "a job hangs", ETIME);
		gpu->gone = true;
		return false;
	}
	if (!ret)
		return true;
	if (ret == -EIO) {
		ret = vsvm_error_take(gpu->vm, &error);
		if (ret && !gone(gpu, ret))
			preload_wrong(pl, "a job failed without a record", -ret);
		if (ret)
			return false;
		ret = -(int)error.error;
		/* The VM went, or the device. */
		if (ret == -ECANCELED || ret == -ENODEV)
			gpu->gone = true;
		/* What the program may not reach, or an attribute forbids */
		else if (ret == -EBUSY || ret == -ENOMEM ||
			 (!strict && (ret == -EFAULT || ret == -EPERM || ret == -EIO ||
				      ret == -EACCES)))
			pl->counts.refused++;
		else
			preload_wrong(pl, what, -ret);
		return false;
	}
	if (gone(gpu, ret))
		return false;
	if (ret == -EBUSY || ret == -ENOMEM || ret == -ENOSPC || (!strict && ret == -EFAULT))
		pl->counts.refused++;
	else
		preload_wrong(pl, what, -ret);
	return false;
}

/* ------------------------------------------------------------------ picks */

static struct gpu *gpu_pick(struct preload *pl)
{
	for (unsigned int i = 0; i < 2 * MAX_GPUS; i++) {
		struct gpu *gpu = &pl->gpus[preload_below(pl, pl->num_gpus)];

		if (!gpu->gone)
			return gpu;
	}
	return NULL;
}

/* Some pages of the program; where it is now may be nothing or another thing then. */
static bool span_pick(struct preload *pl, unsigned int max, char **start, size_t *size)
{
	const struct map *map = maps_pick(pl);
	uint64_t pages, first, n;

	if (!map)
		return false;
	pages = (map->end - map->start) / pl->page;
	/* What is at the ends is used more than what is in the middle of many. */
	switch (preload_below(pl, 4)) {
	case 0:
		first = 0;
		break;
	case 1:
		n = pages < max ? pages : max;
		first = pages - n;
		break;
	default:
		first = preload_below(pl, pages);
		break;
	}
	n = pages - first < max ? pages - first : max;
	n = 1 + preload_below(pl, n);
	*start = (char *)(uintptr_t)(map->start + first * pl->page);
	*size = n * pl->page;
	return true;
}

/* --------------------------------------------------------- of the program */

static void op_read(struct preload *pl, struct gpu *gpu)
{
	VSVM_JOB(job, 1);
	char *start;
	size_t size;

	if (!span_pick(pl, MAX_READ, &start, &size))
		return;
	/* Also what does not end with a page */
	size -= preload_below(pl, 2) * preload_below(pl, pl->page);
	vsvm_job_checksum(&job, result_at(pl, gpu), start, size);
	if (!fine(pl, gpu, vsvm_run(gpu->vm, 0, &job, JOB_LIMIT_NS), false, "a read"))
		return;
	pl->counts.reads++;
	pl->counts.bytes += size;
}

/* All devices at the same time */
static void op_read_all(struct preload *pl)
{
	bool started[MAX_GPUS] = { false };
	char *start;
	size_t size;

	if (!span_pick(pl, MAX_READ, &start, &size))
		return;
	for (unsigned int i = 0; i < pl->num_gpus; i++) {
		struct gpu *gpu = &pl->gpus[i];
		struct vsvm_vm *vm = gpu->vm;
		VSVM_JOB(job, 1);

		if (gpu->gone)
			continue;
		vsvm_job_checksum(&job, result_at(pl, gpu), start, size);
		started[i] = fine(pl, gpu, vsvm_exec(vm, 0, &job, &vm->fence[0],
						     vm->value[0] + 1, NULL), true, "a job");
		vm->value[0] += started[i];
	}
	for (unsigned int i = 0; i < pl->num_gpus; i++) {
		struct gpu *gpu = &pl->gpus[i];
		struct vsvm_vm *vm = gpu->vm;

		if (!started[i] ||
		    !fine(pl, gpu, vsvm_wait(vm, &vm->fence[0], vm->value[0], JOB_LIMIT_NS),
			  false, "a read by all"))
			continue;
		pl->counts.reads++;
		pl->counts.bytes += size;
	}
}

static void op_prefetch(struct preload *pl, struct gpu *gpu)
{
	struct gpu *to = preload_below(pl, 3) ? gpu_pick(pl) : NULL;
	const uint32_t flags = preload_below(pl, 2) ? DRM_VSVM_PREFETCH_MAP : 0;
	char *start;
	size_t size;

	if (!span_pick(pl, preload_below(pl, 4) ? MAX_READ : MAX_MOVE, &start, &size))
		return;
	if (to && !to->dev.info.vram_size)
		return;
	if (fine(pl, gpu, vsvm_prefetch(gpu->vm, start, size, to ? &to->dev : NULL, flags, NULL),
		 false, "a prefetch"))
		pl->counts.moves++;
}

static void op_attr(struct preload *pl, struct gpu *gpu)
{
	static const uint32_t modes[] = {
		DRM_VSVM_MODE_DEFAULT, DRM_VSVM_MODE_EAGER, DRM_VSVM_MODE_IN_PLACE,
		DRM_VSVM_MODE_ON_DEMAND,
	};
	struct drm_vsvm_attr attr = { 0 };
	struct gpu *to = gpu_pick(pl);
	char *start;
	size_t size;
	int ret;

	if (!to || !span_pick(pl, MAX_MOVE, &start, &size))
		return;
	switch (preload_below(pl, 8)) {
	case 0:
		attr.type = DRM_VSVM_ATTR_MIGRATION;
		attr.value = preload_below(pl, 3);
		break;
	case 1:
		attr.type = DRM_VSVM_ATTR_GRANULARITY;
		attr.value = preload_below(pl, 11);
		break;
	case 2:
		attr.type = DRM_VSVM_ATTR_RESIDENCE;
		attr.value = preload_below(pl, 20);
		break;
	case 3:
		attr.type = DRM_VSVM_ATTR_ACCESS;
		attr.value = modes[preload_below(pl, 4)];
		break;
	case 4:
		/* The devices do not write there anyway. */
		attr.type = DRM_VSVM_ATTR_READ_ONLY;
		attr.value = preload_below(pl, 2);
		break;
	case 5:
		ret = vsvm_attr_reset(gpu->vm, start, size);
		goto out;
	default:
		attr.type = DRM_VSVM_ATTR_LOCATION;
		attr.value = preload_below(pl, 3);
		if (attr.value == DRM_VSVM_LOCATION_DEVICE) {
			if (!to->dev.info.vram_size)
				return;
			attr.device = to->dev.fd;
		}
		break;
	}
	ret = vsvm_attr_set(gpu->vm, start, size, &attr, 1);
out:
	if (fine(pl, gpu, ret, false, "an attribute"))
		pl->counts.attrs++;
}

/* The program's memory is seen once more, elsewhere. */
static void op_bind(struct preload *pl, struct gpu *gpu)
{
	const unsigned int place = preload_below(pl, WINDOW_PAGES - MAX_READ);
	char *at = pl->window + place * pl->page, *start;
	VSVM_BIND(bind, 2);
	VSVM_BIND(undo, 1);
	VSVM_JOB(job, 2);
	size_t size;

	if (!span_pick(pl, MAX_READ, &start, &size))
		return;
	vsvm_bind_unmirror(&bind, vsvm_addr(at), size);
	vsvm_bind_mirror_read_only(&bind, vsvm_addr(at), size, start);
	if (!fine(pl, gpu, vsvm_vm_bind(gpu->vm, &bind, NULL, 0), true, "a bind"))
		return;
	pl->counts.binds++;
	vsvm_job_checksum(&job, result_at(pl, gpu), at, size);
	vsvm_job_checksum(&job, result_at(pl, gpu), start, size);
	if (fine(pl, gpu, vsvm_run(gpu->vm, 0, &job, JOB_LIMIT_NS), false, "a read elsewhere")) {
		pl->counts.reads++;
		pl->counts.bytes += 2 * size;
	}
	vsvm_bind_unmirror(&undo, vsvm_addr(at), size);
	fine(pl, gpu, vsvm_vm_bind(gpu->vm, &undo, NULL, 0), true, "the end of a bind");
}

/*
 * For those who ask whether a difference would be seen: see VSVM_PRELOAD_FLIP. More than
 * one, each in another page, as the program may have no use for the first any more.
 */
static void op_flip(struct preload *pl, struct gpu *gpu)
{
	unsigned char *byte = (unsigned char *)(result_at(pl, gpu) + 8);
	VSVM_JOB(fetch, 1);
	VSVM_JOB(store, 1);
	char *at;

	maps_refresh(pl);
	if (pl->largest.end - pl->largest.start < FLIP_LEAST)
		return;
	/* Away from where buffers meet, and from what malloc() has at their beginning */
	at = (char *)(uintptr_t)(pl->largest.start +
				 (pl->largest.end - pl->largest.start) / 4 / pl->page * pl->page +
				 pl->counts.flips % FLIP_SPAN * pl->page + pl->page / 2);
	vsvm_job_copy(&fetch, byte, at, 1);
	if (!fine(pl, gpu, vsvm_run(gpu->vm, 0, &fetch, JOB_LIMIT_NS), false, "a fetch"))
		return;
	*byte ^= 1;
	vsvm_job_copy(&store, at, byte, 1);
	if (fine(pl, gpu, vsvm_run(gpu->vm, 0, &store, JOB_LIMIT_NS), false, "a flip"))
		pl->counts.flips++;
}

/* ---------------------------------------------------------- of the library */

static void compare(struct preload *pl, struct gpu *gpu, const char *copy, const char *source,
		    size_t size)
{
	VSVM_JOB(job, 2);

	/* First by a device, where the data is, then by the CPU, for which it comes back. */
	vsvm_job_checksum(&job, result_at(pl, gpu), copy, size);
	vsvm_job_compare(&job, result_at(pl, gpu) + 1, copy, source, size);
	if (!fine(pl, gpu, vsvm_run(gpu->vm, 0, &job, JOB_LIMIT_NS), true, "a comparison"))
		return;
	if (result_at(pl, gpu)[0] != vsvm_checksum(source, size))
		preload_wrong(pl, "a checksum differs", 0);
	if (result_at(pl, gpu)[1] != UINT64_MAX)
		preload_wrong(pl, "a device sees a difference", 0);
	if (memcmp(copy, source, size))
		preload_wrong(pl, "the CPU sees a difference", 0);
}

/* Writes; what is there in the end is what was there before, or its copy. */
static void op_write(struct preload *pl, struct gpu *gpu)
{
	const unsigned int first = preload_below(pl, ARENA_SPAN - MAX_WRITE);
	const size_t size = (1 + preload_below(pl, MAX_WRITE)) * pl->page;
	char *source = arena_at(pl, ARENA_SOURCE + first), *copy = arena_at(pl, ARENA_COPY + first);
	const uint64_t value = preload_below(pl, UINT64_MAX);
	struct gpu *other = gpu_pick(pl);
	VSVM_JOB(job, 3);

	if (preload_below(pl, 2))
		madvise(copy, size, MADV_DONTNEED);
	vsvm_job_copy(&job, copy, source, size);
	vsvm_job_add(&job, source, size, value);
	vsvm_job_add(&job, source, size, -value);
	if (!fine(pl, gpu, vsvm_run(gpu->vm, 0, &job, JOB_LIMIT_NS), true, "a write")) {
		/* Not known how far it came, so the source is not one any more. */
		for (size_t i = 0; i < size / sizeof(uint64_t); i++)
			((uint64_t *)source)[i] = preload_below(pl, UINT64_MAX);
		return;
	}
	pl->counts.writes++;
	if (other)
		compare(pl, other, copy, source, size);
	/* Mapped there, and now nowhere: the devices have to hear of it. */
	madvise(copy, size, MADV_DONTNEED);
}

/* An object is where the program can have nothing, and data goes there and back. */
static void op_object(struct preload *pl, struct gpu *gpu)
{
	const unsigned int first = preload_below(pl, ARENA_SPAN - MAX_WRITE);
	const size_t size = (1 + preload_below(pl, MAX_WRITE)) * pl->page;
	char *source = arena_at(pl, ARENA_SOURCE + first), *copy = arena_at(pl, ARENA_COPY + first);
	uint32_t handle, placement = DRM_VSVM_PLACEMENT_SYSTEM;
	char *at = pl->window + preload_below(pl, WINDOW_PAGES - MAX_WRITE) * pl->page;
	VSVM_BIND(bind, 1);
	VSVM_BIND(undo, 1);
	VSVM_JOB(job, 2);

	if (gpu->dev.info.vram_size && preload_below(pl, 2))
		placement = DRM_VSVM_PLACEMENT_DEVICE;
	if (!fine(pl, gpu, vsvm_gem_create(&gpu->dev, size, placement, &handle), true,
		  "an object"))
		return;
	vsvm_bind_map(&bind, vsvm_addr(at), size, handle, 0);
	if (fine(pl, gpu, vsvm_vm_bind(gpu->vm, &bind, NULL, 0), true, "a bind of an object")) {
		pl->counts.binds++;
		vsvm_job_copy(&job, at, source, size);
		vsvm_job_copy(&job, copy, at, size);
		if (fine(pl, gpu, vsvm_run(gpu->vm, 0, &job, JOB_LIMIT_NS), true,
			 "a job with an object"))
			compare(pl, gpu, copy, source, size);
		vsvm_bind_unmap(&undo, vsvm_addr(at), size);
		if (!gpu->gone)
			fine(pl, gpu, vsvm_vm_bind(gpu->vm, &undo, NULL, 0), true,
			     "the end of a bind of an object");
	}
	if (!gpu->gone)
		fine(pl, gpu, vsvm_gem_close(&gpu->dev, handle), true, "the end of an object");
}

/* ------------------------------------------------------------------ rounds */

int ops_prepare(struct preload *pl, struct gpu *gpu)
{
	VSVM_BIND(bind, 1);

	/* What is not mirrored there can be bound. */
	vsvm_bind_unmirror(&bind, vsvm_addr(pl->window), WINDOW_PAGES * pl->page);
	return vsvm_vm_bind(gpu->vm, &bind, NULL, 0);
}

void ops_round(struct preload *pl)
{
	static const unsigned int first[] = { 0, 10, 17, 7, 13, 15, 19 };
	struct gpu *gpu = gpu_pick(pl);
	const uint64_t nr = pl->counts.rounds++;
	unsigned int dice = preload_below(pl, 20);

	if (!gpu)
		return;
	if (pl->flip && nr % FLIP_EVERY == 0)
		op_flip(pl, gpu);
	/* Each process begins with one of each, so that few are something, too. */
	if (nr < sizeof(first) / sizeof(first[0]))
		dice = first[nr];
	switch (dice) {
	case 0 ... 6:
		op_read(pl, gpu);
		break;
	case 7 ... 9:
		op_read_all(pl);
		break;
	case 10 ... 12:
		op_prefetch(pl, gpu);
		break;
	case 13 ... 14:
		op_attr(pl, gpu);
		break;
	case 15 ... 16:
		op_bind(pl, gpu);
		break;
	case 17 ... 18:
		op_write(pl, gpu);
		break;
	default:
		op_object(pl, gpu);
		break;
	}
}
