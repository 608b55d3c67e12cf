// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: operations of the process on its address space
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

#ifndef MADV_COLD
#define MADV_COLD		20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif
#define MOVE_PAGES_MOVE		(1 << 1)

#define ANONYMOUS	(1U << AREA_ANON | 1U << AREA_HUGE)

static void cells_reset(struct thread *t, const struct span *span)
{
	/* What is in a shared mapping stays when the mapping goes. */
	if (span->area->kind == AREA_SHARED)
		return;
	for (unsigned int i = span->first; i < span->first + span->n; i++)
		cell_reset(t->tt, i);
}

/* -------------------------------------------------------- unmapping, mapping */

static int op_munmap(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	const bool look = torture_below(t, 4) == 0;
	struct gpu *gpu = gpu_pick(t);
	VSVM_JOB(job, 1);
	int ret = OP_DONE, err;

	op_note(t, &span, look ? gpu : NULL);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	if (munmap(span_addr(&span), span_size(&span)))
		torture_fail(t, "munmap: %s", strerror(errno));
	if (look) {
		struct drm_vsvm_error error;

		/* There is nothing, and nobody may still see something. */
		vsvm_job_copy(&job, &t->lane->seen[0], span_addr(&span), sizeof(uint64_t));
		err = job_run(t, gpu, &job, &error);
		if (err == -EFAULT && error.addr == vsvm_addr(span_addr(&span)))
			err = 0;
		else if (!err)
			torture_fail(t, "GPU %u reads what is not mapped", gpu->nr);
		ret = op_gone(t, gpu, err, "read of nothing");
	}
	err = arena_map(&span);
	if (err)
		torture_fail(t, "mmap: %s", strerror(-err));
	cells_reset(t, &span);
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

/* Over what is there; then whoever looks sees fresh memory. */
static int op_mmap_fixed(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	struct gpu *gpu = gpu_pick(t);
	int ret, err;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	err = arena_map(&span);
	if (err)
		torture_fail(t, "mmap: %s", strerror(-err));
	cells_reset(t, &span);
	ret = span_check_gpu(t, gpu, &span, span_addr(&span), "after mmap, GPU");
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

/*
 * A span may consist of several VMAs, as an earlier advice was for a part of it, and
 * then not all of it moves at once, or a part does. So page by page in the end.
 */
static int move_span(char *from, char *to, unsigned int n, int flags)
{
	if (mremap(from, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, to) == to)
		return 0;
	if (errno != EFAULT && errno != EINVAL)
		return -errno;
	for (unsigned int i = 0; i < n; i++) {
		if (mremap(from + i * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
			   to + i * PAGE) == to + i * PAGE)
			continue;
		/* It is there already; a page that stays mapped does not come to that. */
		if (errno == EFAULT && !(flags & MREMAP_DONTUNMAP))
			continue;
		return -errno;
	}
	return 0;
}

/* Elsewhere and back. In the other place it is the same, and in the old one is nothing. */
static int op_mremap(struct thread *t, const struct op *op)
{
	const int flags = op->arg;
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	const unsigned int dice = torture_below(t, 3);
	struct gpu *gpu = gpu_pick(t);
	char *home = span_addr(&span);
	int ret = OP_DONE, err;

	op_note(t, &span, dice ? gpu : NULL);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	/* The GPU knows the old place, at best. */
	if (dice == 1)
		ret = span_check_gpu(t, gpu, &span, home, "before mremap, GPU");
	err = move_span(home, t->window, span.n, flags);
	if (err) {
		torture_fail(t, "mremap: %s", strerror(-err));
		goto out;
	}
	if (dice == 2)
		span_check_cpu(t, &span, t->window, "in another place, CPU");
	else if (ret == OP_DONE)
		ret = span_check_gpu(t, gpu, &span, t->window, "in another place, GPU");
	if (flags & MREMAP_DONTUNMAP) {
		/* Zeros in the old place, whoever looks: and then they are overwritten. */
		struct cell kept[MAX_SPAN];

		memcpy(kept, &t->tt->cells[span.first], span.n * sizeof(kept[0]));
		cells_reset(t, &span);
		if (ret == OP_DONE)
			ret = span_check_gpu(t, gpu, &span, home, "in the old place, GPU");
		span_check_cpu(t, &span, home, "in the old place, CPU");
		memcpy(&t->tt->cells[span.first], kept, span.n * sizeof(kept[0]));
	}
	err = move_span(t->window, home, span.n, 0);
	if (err)
		torture_fail(t, "mremap back: %s", strerror(-err));
	if (mmap(t->window, MAX_SPAN * PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != t->window)
		torture_fail(t, "mmap: %s", strerror(errno));
	if (dice == 0 && ret == OP_DONE)
		ret = span_check_gpu(t, gpu, &span, home, "after mremap, GPU");
out:
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

static int op_mprotect(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	struct gpu *gpu = gpu_pick(t);
	struct drm_vsvm_error error;
	VSVM_JOB(job, 1);
	int ret, err;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	if (mprotect(span_addr(&span), span_size(&span), op->arg))
		torture_fail(t, "mprotect: %s", strerror(errno));
	if (op->arg == PROT_NONE)
		vsvm_job_copy(&job, &t->lane->seen[0], span_addr(&span), sizeof(uint64_t));
	else
		vsvm_job_fill(&job, span_addr(&span) + COUNT_OFFSET, sizeof(uint64_t), 0xdead);
	err = job_run(t, gpu, &job, &error);
	if (err == (op->arg == PROT_NONE ? -EFAULT : -EPERM))
		err = 0;
	else if (!err)
		torture_fail(t, "GPU %u does what mprotect() forbids", gpu->nr);
	ret = op_gone(t, gpu, err, "access that is forbidden");
	if (op->arg == PROT_READ && ret == OP_DONE)
		ret = span_check_gpu(t, gpu, &span, span_addr(&span), "read-only memory, GPU");
	if (mprotect(span_addr(&span), span_size(&span), PROT_READ | PROT_WRITE))
		torture_fail(t, "mprotect: %s", strerror(errno));
	span_check_cpu(t, &span, span_addr(&span), "after mprotect, CPU");
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

/* ------------------------------------------------------------------- fork */

static bool wait_word(uint64_t *word, uint64_t value)
{
	for (unsigned int i = 0; atomic_get(word) != value; i++) {
		if (i > 60000)
			return false;
		usleep(1000);
	}
	return true;
}

/*
 * In the child, which has no other threads: nothing but plain memory is used. Writes
 * where that is not the parent's business, and looks whether it had all it should.
 */
static int fork_child(struct thread *t, const struct span *span, bool writes)
{
	const uint64_t mine = 0x4348494c44ULL;
	char *at = span_addr(span);

	for (unsigned int i = 0; writes && i < span->n; i += 2)
		*(volatile uint64_t *)(at + i * PAGE + 128) = mine;
	atomic_set(&t->lane->child_ready, t->at + 1);
	if (!wait_word(&t->lane->child_go, t->at + 1))
		return 2;
	/* The parent has written by now, to what was the same page a moment ago. */
	for (unsigned int i = 0; writes && i < span->n; i++, at += PAGE) {
		struct image want;
		const struct cell *cell = &t->tt->cells[span->first + i];
		const volatile struct image *head = (void *)at;

		cell_image(t->tt, span->first + i, cell, &want);
		if (head->tag != want.tag && !(cell->maybe_gone && !head->tag))
			return 3;
		if (head->value != want.value && !(cell->maybe_gone && !head->value))
			return 4;
		if (i % 2 == 0 && *(volatile uint64_t *)(at + 128) != mine)
			return 5;
	}
	return 0;
}

/* Both write; in private memory neither sees the other's. */
static int op_fork(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 16);
	const bool private = span.area->kind != AREA_SHARED;
	struct gpu *gpu = gpu_pick(t);
	struct cell renewed[16];
	struct vsvm_job job;
	int ret, status = 0;
	pid_t pid;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	pid = fork();
	if (pid < 0) {
		torture_fail(t, "fork: %s", strerror(errno));
		goto out;
	}
	if (!pid)
		_exit(fork_child(t, &span, private));
	if (!wait_word(&t->lane->child_ready, t->at + 1))
		torture_fail(t, "the child does not come");
	for (unsigned int i = 0; i < span.n; i++)
		cell_renew(t, span.first + i, &renewed[i]);
	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	job_write(t, &job, &span, renewed, span_addr(&span));
	ret = op_gone(t, gpu, job_run(t, gpu, &job, NULL), "write while there is a child");
	atomic_set(&t->lane->child_go, t->at + 1);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		torture_fail(t, "the child does not see what it had: status 0x%x", status);
	/* Where a word was written that no cell has, it was in the child's page. */
	for (unsigned int i = 0; i < span.n && private; i++)
		if (*(volatile uint64_t *)(span_addr(&span) + i * PAGE + 128))
			torture_fail(t, "the parent has in page %u what its child wrote",
				     span.first + i);
	if (ret != OP_DONE) {
		span_mend(t, &span, renewed, "with a child, CPU");
		goto out;
	}
	for (unsigned int i = 0; i < span.n; i++) {
		struct cell *cell = &t->tt->cells[span.first + i];
		const bool maybe = cell->maybe_gone || cell->maybe_count;

		*cell = renewed[i];
		cell->maybe_count = maybe && cell->count;
	}
	span_check_cpu(t, &span, span_addr(&span), "after fork, CPU");
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return OP_DONE;
out:
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return OP_LOST;
}

/* ----------------------------------------------------------------- madvise */

/* What it holds stays as it is, and all others may use it at the same time. */
static int op_advise(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	int ret = OP_DONE;

	op_note(t, &span, NULL);
	span_lock(t, &span, LOCK_SHARED, LOCK_NONE);
	if (madvise(span_addr(&span), span_size(&span), op->arg)) {
		ret = OP_REFUSED;
		if (errno != EAGAIN && errno != EBUSY && errno != EINVAL && errno != ENOMEM)
			torture_fail(t, "madvise %d: %s", op->arg, strerror(errno));
	}
	span_unlock(t, &span, LOCK_SHARED, LOCK_NONE);
	return ret;
}

/*
 * Pieces that are huge, as far as there is memory for it. One that earlier advice was
 * for a part of is more than one VMA and never collapses; a fresh one does.
 */
static int op_collapse(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 1);
	const bool fresh = torture_below(t, 3) == 0;
	const enum lock_mode map = fresh ? LOCK_EXCLUSIVE : LOCK_SHARED;
	const enum lock_mode cells = fresh ? LOCK_EXCLUSIVE : LOCK_NONE;
	int ret = OP_DONE, err;

	span.first -= (span.first - span.area->first) % CHUNK_PAGES;
	span.n = CHUNK_PAGES;
	op_note(t, &span, NULL);
	span_lock(t, &span, map, cells);
	if (fresh) {
		err = arena_map(&span);
		if (err)
			torture_fail(t, "mmap: %s", strerror(-err));
		cells_reset(t, &span);
		/* Where this fails, the collapse is refused. */
		madvise(span_addr(&span), span_size(&span), MADV_POPULATE_WRITE);
	}
	if (madvise(span_addr(&span), span_size(&span), MADV_COLLAPSE)) {
		ret = OP_REFUSED;
		if (errno != EAGAIN && errno != EBUSY && errno != EINVAL && errno != ENOMEM)
			torture_fail(t, "MADV_COLLAPSE: %s", strerror(errno));
	}
	span_unlock(t, &span, map, cells);
	return ret;
}

/* The content goes: zeros, or what the file has; shared memory keeps it. */
static int op_dontneed(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	struct gpu *gpu = gpu_pick(t);
	int ret = OP_DONE;

	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	if (madvise(span_addr(&span), span_size(&span), op->arg)) {
		torture_fail(t, "madvise %d: %s", op->arg, strerror(errno));
		ret = OP_REFUSED;
	} else if (op->arg == MADV_REMOVE) {
		for (unsigned int i = span.first; i < span.first + span.n; i++)
			cell_reset(t->tt, i);
	} else {
		cells_reset(t, &span);
	}
	if (torture_below(t, 2))
		ret = span_check_gpu(t, gpu, &span, span_addr(&span), "after DONTNEED, GPU");
	else
		span_check_cpu(t, &span, span_addr(&span), "after DONTNEED, CPU");
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

/* Is there, or not; until somebody writes. */
static int op_free(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, MAX_SPAN);
	int ret = OP_DONE;

	op_note(t, &span, NULL);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	for (unsigned int i = span.first; i < span.first + span.n; i++)
		cell_resolve(t, i);
	if (madvise(span_addr(&span), span_size(&span), MADV_FREE)) {
		ret = OP_REFUSED;
		torture_fail(t, "MADV_FREE: %s", strerror(errno));
	} else {
		for (unsigned int i = span.first; i < span.first + span.n; i++)
			t->tt->cells[i].maybe_gone = true;
	}
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

/* Pages that are all the same, for KSM to find */
static int op_ksm(struct thread *t, const struct op *op)
{
	/* Where it is at work nothing goes to a device: so it is soon taken back. */
	const bool merge = torture_below(t, 2);
	struct span span = span_pick(t, op->kinds, merge ? 64 : MAX_SPAN);
	struct torture *tt = t->tt;
	int ret = OP_DONE;

	op_note(t, &span, NULL);
	span_lock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	for (unsigned int i = span.first; merge && i < span.first + span.n; i++) {
		struct cell *cell = &tt->cells[i];

		if (!cell_resolve(t, i))
			break;
		cell->state = CELL_TWIN;
		cell->value = 0x1234567;
		cell->count = 0;
		cell_write_cpu(t, i, page_addr(tt, i));
	}
	if (madvise(span_addr(&span), span_size(&span), merge ? MADV_MERGEABLE :
		    MADV_UNMERGEABLE)) {
		ret = OP_REFUSED;
		if (errno != EAGAIN && errno != ENOMEM)
			torture_fail(t, "MADV_MERGEABLE: %s", strerror(errno));
	}
	span_unlock(t, &span, LOCK_SHARED, LOCK_EXCLUSIVE);
	return ret;
}

/* ---------------------------------------------------- locking, moving pages */

static int op_mlock(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	struct gpu *gpu = gpu_pick(t);
	int ret = OP_DONE;

	op_note(t, &span, NULL);
	span_lock(t, &span, LOCK_SHARED, LOCK_SHARED);
	if (mlock(span_addr(&span), span_size(&span))) {
		ret = OP_REFUSED;
		if (errno != EAGAIN && errno != ENOMEM)
			torture_fail(t, "mlock: %s", strerror(errno));
	}
	if (torture_below(t, 2))
		span_check_gpu(t, gpu, &span, span_addr(&span), "locked memory, GPU");
	if (munlock(span_addr(&span), span_size(&span)))
		torture_fail(t, "munlock: %s", strerror(errno));
	span_unlock(t, &span, LOCK_SHARED, LOCK_SHARED);
	return ret;
}

static int op_move_pages(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 64);
	const int node = torture_below(t, t->tt->nodes);
	int nodes[64], status[64];
	void *pages[64];
	long ret;

	op_note(t, &span, NULL);
	for (unsigned int i = 0; i < span.n; i++) {
		nodes[i] = node;
		pages[i] = span_addr(&span) + i * PAGE;
	}
	span_lock(t, &span, LOCK_SHARED, LOCK_NONE);
	ret = syscall(SYS_move_pages, 0, (unsigned long)span.n, pages, nodes, status,
		      MOVE_PAGES_MOVE);
	span_unlock(t, &span, LOCK_SHARED, LOCK_NONE);
	if (ret < 0) {
		/* None of them is there, or is where it could be moved from. */
		if (errno != ENOENT && errno != EAGAIN && errno != EBUSY && errno != ENOMEM)
			torture_fail(t, "move_pages: %s", strerror(errno));
		return OP_REFUSED;
	}
	return OP_DONE;
}

/* All of the machine's memory is moved together. */
static int op_compact(struct thread *t, const struct op *op)
{
	(void)op;
	op_note(t, NULL, NULL);
	return torture_write_text("/proc/sys/vm/compact_memory", "1") ? OP_REFUSED : OP_DONE;
}

/* ------------------------------------------------------------- userfaultfd */

/* What a GPU's fault finds is brought by this thread, page by page. */
static int op_uffd(struct thread *t, const struct op *op)
{
	struct span span = span_pick(t, op->kinds, 8);
	struct uffdio_register reg = {
		.range = { .start = vsvm_addr(span_addr(&span)), .len = span_size(&span) },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct gpu *gpu = gpu_pick(t);
	uint64_t filled = 0;
	struct vsvm_job job;
	int ret, registered;

	if (t->uffd < 0)
		return OP_REFUSED;
	op_note(t, &span, gpu);
	span_lock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	/* The mapping as well: what is left of the range does not straddle it then. */
	ret = arena_map(&span);
	if (ret)
		torture_fail(t, "mmap: %s", strerror(-ret));
	for (unsigned int i = span.first; i < span.first + span.n; i++)
		cell_reset(t->tt, i);
	registered = ioctl(t->uffd, UFFDIO_REGISTER, &reg);
	if (registered) {
		torture_fail(t, "UFFDIO_REGISTER: %s", strerror(errno));
		span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
		return OP_REFUSED;
	}
	for (unsigned int i = 0; i < span.n; i++) {
		/* What will be brought; the cell is of the state that it is given below. */
		cell_renew(t, span.first + i, &t->tt->cells[span.first + i]);
		cell_image(t->tt, span.first + i, &t->tt->cells[span.first + i],
			   &t->lane->staging[i]);
	}
	vsvm_job_init(&job, t->instrs, DRM_VSVM_MAX_INSTRS);
	job_read(t, &job, &span, span_addr(&span));

	gpu_begin(gpu);
	ret = job_start(t, gpu, &job);
	for (unsigned int i = 0; !ret; i++) {
		struct pollfd pollfd = { .fd = t->uffd, .events = POLLIN };
		uint64_t page[PAGE / 8] __attribute__((aligned(4096)));
		struct uffd_msg msg;
		unsigned int nr;

		if (vsvm_fence_state(&t->lane->fence[gpu->nr], t->value[gpu->nr]) ||
		    i > 6000 || atomic_get(&gpu->presence) != GPU_THERE)
			break;
		if (poll(&pollfd, 1, 10) <= 0 || read(t->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		if (msg.event != UFFD_EVENT_PAGEFAULT)
			continue;
		nr = (msg.arg.pagefault.address - reg.range.start) / PAGE;
		if (nr >= span.n)
			continue;
		memset(page, 0, sizeof(page));
		memcpy(page, &t->lane->staging[nr], sizeof(t->lane->staging[nr]));
		memcpy((char *)page + TAIL_OFFSET, &t->lane->staging[nr],
		       sizeof(t->lane->staging[nr]));
		do {
			struct uffdio_copy copy = {
				.dst = reg.range.start + nr * PAGE, .src = vsvm_addr(page),
				.len = PAGE,
			};

			/* EAGAIN: mappings change elsewhere, and all of it once more */
			if (!ioctl(t->uffd, UFFDIO_COPY, &copy) || errno == EEXIST) {
				filled |= 1ULL << nr;
				break;
			}
		} while (errno == EAGAIN);
	}
	/* Whoever still waits for a page gets zeros now. */
	if (ioctl(t->uffd, UFFDIO_UNREGISTER, &reg.range))
		torture_fail(t, "UFFDIO_UNREGISTER: %s", strerror(errno));
	if (!ret)
		ret = job_finish(t, gpu, NULL);
	gpu_end(gpu);
	ret = op_gone(t, gpu, ret, "read through userfaultfd");
	for (unsigned int i = 0; i < span.n; i++) {
		const struct seen *seen = &t->lane->seen[i];

		if (!(filled & (1ULL << i)))
			cell_reset(t->tt, span.first + i);
		if (ret == OP_DONE && !cell_check(t, span.first + i, &seen->head, &seen->tail,
						  seen->count, "through userfaultfd, GPU"))
			break;
	}
	span_check_cpu(t, &span, span_addr(&span), "after userfaultfd, CPU");
	span_unlock(t, &span, LOCK_EXCLUSIVE, LOCK_EXCLUSIVE);
	return ret;
}

#define ADVISE(name__, advice__, weight__, min__)	\
	{ name__, op_advise, weight__, min__, advice__, 0 }

const struct op ops_mm[] = {
	{ "munmap", op_munmap, 25, 8, 0, 0 },
	{ "mmap_fixed", op_mmap_fixed, 25, 8, 0, 0 },
	{ "mremap", op_mremap, 15, 5, 0, 0 },
	{ "mremap_dontunmap", op_mremap, 10, 4, MREMAP_DONTUNMAP, ANONYMOUS },
	{ "mprotect_read", op_mprotect, 15, 5, PROT_READ, 0 },
	{ "mprotect_none", op_mprotect, 8, 3, PROT_NONE, 0 },
	{ "fork", op_fork, 8, 3, 0, 0 },
	{ "dontneed", op_dontneed, 20, 6, MADV_DONTNEED, 0 },
	{ "remove", op_dontneed, 8, 3, MADV_REMOVE, 1U << AREA_SHARED },
	{ "free", op_free, 15, 5, 0, ANONYMOUS },
	ADVISE("cold", MADV_COLD, 10, 3),
	ADVISE("pageout", MADV_PAGEOUT, 20, 6),
	ADVISE("hugepage", MADV_HUGEPAGE, 8, 3),
	ADVISE("nohugepage", MADV_NOHUGEPAGE, 4, 2),
	{ "collapse", op_collapse, 10, 3, 0, ANONYMOUS },
	ADVISE("populate_read", MADV_POPULATE_READ, 10, 3),
	ADVISE("populate_write", MADV_POPULATE_WRITE, 10, 3),
	{ "mlock", op_mlock, 10, 3, 0, 0 },
	{ "ksm", op_ksm, 10, 3, 0, ANONYMOUS },
	{ "move_pages", op_move_pages, 15, 4, 0, 0 },
	{ "compact", op_compact, 1, 1, 0, 0 },
	{ "userfaultfd", op_uffd, 8, 3, 0, 1U << AREA_ANON },
};

const unsigned int num_ops_mm = sizeof(ops_mm) / sizeof(ops_mm[0]);
