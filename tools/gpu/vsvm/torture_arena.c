// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-torture: the arena, its locks, and the oracle
 */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

#define OWNER_FILE	0xf11eU
#define OWNER_TWIN	0x7717U

/* ------------------------------------------------------------------ memory */

static const struct {
	const char *name;
	enum area_kind kind;
	unsigned int chunks;
} area_plan[AREA_KINDS] = {
	{ "anon", AREA_ANON, 2 },
	{ "huge", AREA_HUGE, 2 },
	{ "shared", AREA_SHARED, 1 },
	{ "file", AREA_FILE, 1 },
};

/* Maps the pages of a span as they were at the very first, over whatever is there. */
int arena_map(const struct span *span)
{
	const struct area *area = span->area;
	int flags = MAP_FIXED | MAP_NORESERVE;
	char *addr = span_addr(span);

	flags |= area->kind == AREA_SHARED ? MAP_SHARED : MAP_PRIVATE;
	if (area->fd < 0)
		flags |= MAP_ANONYMOUS;
	if (mmap(addr, span_size(span), PROT_READ | PROT_WRITE, flags, area->fd,
		 area->fd < 0 ? 0 : (span->first - area->first) * PAGE) != addr)
		return -errno;
	if (area->kind == AREA_HUGE && madvise(addr, span_size(span), MADV_HUGEPAGE) &&
	    errno != EINVAL)
		return -errno;
	return 0;
}

static int area_file(struct torture *tt, struct area *area)
{
	const struct cell base = { .state = CELL_BASE };
	struct image image;

	area->fd = memfd_create(area->name, MFD_CLOEXEC);
	if (area->fd < 0 || ftruncate(area->fd, area->pages * PAGE))
		return -errno;
	if (area->kind != AREA_FILE)
		return 0;
	for (unsigned int i = 0; i < area->pages; i++) {
		cell_image(tt, area->first + i, &base, &image);
		if (pwrite(area->fd, &image, sizeof(image), i * PAGE) != sizeof(image) ||
		    pwrite(area->fd, &image, sizeof(image), i * PAGE + TAIL_OFFSET) !=
		    sizeof(image))
			return -EIO;
	}
	return 0;
}

/* With a chunk of nothing around each area, so that no VMA gets neighbours. */
int arena_create(struct torture *tt)
{
	size_t space = CHUNK;
	char *at;

	for (unsigned int i = 0; i < AREA_KINDS; i++)
		space += (area_plan[i].chunks + 1) * CHUNK;
	tt->size = space + CHUNK;
	tt->base = mmap(NULL, tt->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			-1, 0);
	if (tt->base == MAP_FAILED)
		return -errno;
	at = tt->base + (-(uintptr_t)tt->base & (CHUNK - 1)) + CHUNK;

	for (unsigned int i = 0; i < AREA_KINDS; i++) {
		struct area *area = &tt->areas[i];

		area->name = area_plan[i].name;
		area->kind = area_plan[i].kind;
		area->pages = area_plan[i].chunks * CHUNK_PAGES;
		area->first = tt->pages;
		area->base = at;
		area->fd = -1;
		tt->pages += area->pages;
		at += (area_plan[i].chunks + 1) * CHUNK;
	}
	tt->cells = calloc(tt->pages, sizeof(*tt->cells));
	tt->content_lock = calloc(tt->pages, sizeof(*tt->content_lock));
	tt->map_lock = calloc(tt->pages, sizeof(*tt->map_lock));
	if (!tt->cells || !tt->content_lock || !tt->map_lock)
		return -ENOMEM;

	for (unsigned int i = 0; i < AREA_KINDS; i++) {
		struct area *area = &tt->areas[i];
		const struct span span = { .area = area, .first = area->first, .n = area->pages };
		int ret;

		if (area->kind == AREA_SHARED || area->kind == AREA_FILE) {
			ret = area_file(tt, area);
			if (ret)
				return ret;
		}
		ret = arena_map(&span);
		if (ret)
			return ret;
		for (unsigned int p = 0; p < area->pages; p++)
			cell_reset(tt, area->first + p);
	}
	return 0;
}

void arena_destroy(struct torture *tt)
{
	if (tt->base)
		munmap(tt->base, tt->size);
	for (unsigned int i = 0; i < AREA_KINDS; i++)
		if (tt->areas[i].pages && tt->areas[i].fd >= 0)
			close(tt->areas[i].fd);
	free(tt->cells);
	free(tt->content_lock);
	free(tt->map_lock);
}

static const struct area *page_area(const struct torture *tt, unsigned int page)
{
	unsigned int i = AREA_KINDS - 1;

	while (page < tt->areas[i].first)
		i--;
	return &tt->areas[i];
}

char *page_addr(const struct torture *tt, unsigned int page)
{
	const struct area *area = page_area(tt, page);

	return area->base + (page - area->first) * PAGE;
}

char *span_addr(const struct span *span)
{
	return span->area->base + (span->first - span->area->first) * PAGE;
}

size_t span_size(const struct span *span)
{
	return span->n * PAGE;
}

/*
 * A few pages most often, one very often; a whole aligned chunk now and then, if
 * @max permits that.
 */
struct span span_pick(struct thread *t, unsigned int kinds, unsigned int max)
{
	struct torture *tt = t->tt;
	const struct area *areas[AREA_KINDS];
	unsigned int num = 0, n, dice;
	struct span span;

	for (unsigned int i = 0; i < AREA_KINDS; i++)
		if (!kinds || (kinds & (1U << tt->areas[i].kind)))
			areas[num++] = &tt->areas[i];
	span.area = areas[torture_below(t, num)];

	dice = torture_below(t, 100);
	if (dice < 40)
		n = 1;
	else if (dice < 80)
		n = 2 + torture_below(t, 15);
	else if (dice < 96)
		n = 17 + torture_below(t, 48);
	else
		n = CHUNK_PAGES;
	if (n > max)
		n = 1 + torture_below(t, max);
	if (n == CHUNK_PAGES)
		span.first = torture_below(t, span.area->pages / n) * n;
	else
		span.first = torture_below(t, span.area->pages - n + 1);
	span.first += span.area->first;
	span.n = n;
	return span;
}

/* ------------------------------------------------------------------- locks */

static void page_lock(struct thread *t, int16_t *lock, enum lock_mode mode)
{
	for (unsigned int i = 0; mode != LOCK_NONE; i++) {
		int16_t old = atomic_get(lock);

		if ((mode == LOCK_SHARED ? old >= 0 : old == 0) &&
		    __atomic_compare_exchange_n(lock, &old, mode == LOCK_SHARED ? old + 1 : -1,
						false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		if (!i)
			t->waits++;
		/*
		 * The thread that holds it may be in a system call for long, and timers
		 * are dear where a CPU is emulated: look less and less often.
		 */
		if (i < 4)
			sched_yield();
		else
			usleep(i < 10 ? 200U << (i - 4) : 10000);
	}
}

static void page_unlock(int16_t *lock, enum lock_mode mode)
{
	if (mode == LOCK_SHARED)
		__atomic_fetch_sub(lock, 1, __ATOMIC_RELEASE);
	else if (mode == LOCK_EXCLUSIVE)
		atomic_set(lock, 0);
}

void span_lock(struct thread *t, const struct span *span, enum lock_mode map,
	       enum lock_mode content)
{
	for (unsigned int i = span->first; i < span->first + span->n; i++) {
		page_lock(t, &t->tt->map_lock[i], map);
		page_lock(t, &t->tt->content_lock[i], content);
	}
}

void span_unlock(struct thread *t, const struct span *span, enum lock_mode map,
		 enum lock_mode content)
{
	for (unsigned int i = span->first; i < span->first + span->n; i++) {
		page_unlock(&t->tt->content_lock[i], content);
		page_unlock(&t->tt->map_lock[i], map);
	}
}

/* ------------------------------------------------------------------ oracle */

/* Linear, so that a GPU which adds to the value can add to the check as well. */
static uint64_t image_check(const struct image *image)
{
	return image->tag * 0x9e3779b97f4a7c15ULL + image->value +
	       image->where * 0xbf58476d1ce4e5b9ULL;
}

/* What a page holds that has such a cell. */
void cell_image(const struct torture *tt, unsigned int page, const struct cell *cell,
		struct image *image)
{
	memset(image, 0, sizeof(*image));
	switch (cell->state) {
	case CELL_ZERO:
		return;
	case CELL_BASE:
		image->tag = (uint64_t)OWNER_FILE << 32;
		image->value = torture_mix(page);
		break;
	case CELL_TWIN:
		image->tag = (uint64_t)OWNER_TWIN << 32;
		image->value = cell->value;
		break;
	case CELL_SET:
		image->tag = (uint64_t)cell->owner << 32 | cell->generation;
		image->value = cell->value;
		break;
	}
	/* Pages that are mixed up do not go unnoticed. */
	if (cell->state != CELL_TWIN)
		image->where = (uintptr_t)page_addr(tt, page);
	image->check = image_check(image);
}

/* The next generation, of the thread; the page does not hold it yet. */
void cell_renew(struct thread *t, unsigned int page, struct cell *cell)
{
	*cell = t->tt->cells[page];
	cell->owner = t->nr + 1;
	cell->generation++;
	cell->value = torture_random(t);
	cell->state = CELL_SET;
	cell->maybe_gone = false;
}

/* A GPU has written that cell, all but the counter. */
void cell_written(struct thread *t, unsigned int page, const struct cell *renewed)
{
	struct cell *cell = &t->tt->cells[page];
	const bool maybe = cell->maybe_gone || cell->maybe_count;

	*cell = *renewed;
	cell->maybe_count = maybe && cell->count;
}

/* The counter has got that far. */
void cell_counted(struct thread *t, unsigned int page, uint64_t count)
{
	struct cell *cell = &t->tt->cells[page];

	cell->count = count;
	/* Not a twin of the others any more */
	if (cell->state == CELL_TWIN) {
		cell_renew(t, page, cell);
		cell_write_cpu(t, page, page_addr(t->tt, page));
	}
}

/* As it is where nobody has written since it was mapped. */
void cell_reset(struct torture *tt, unsigned int page)
{
	struct cell *cell = &tt->cells[page];
	const uint32_t generation = cell->generation;

	memset(cell, 0, sizeof(*cell));
	cell->generation = generation;
	cell->state = page_area(tt, page)->kind == AREA_FILE ? CELL_BASE : CELL_ZERO;
}

static bool image_same(const struct image *a, const struct image *b)
{
	return a->tag == b->tag && a->value == b->value && a->where == b->where &&
	       a->check == b->check;
}

static bool image_zero(const struct image *a)
{
	return !a->tag && !a->value && !a->where && !a->check;
}

/*
 * What may be thrown away may be so while it is looked at, from the first word to the
 * last one: up to some place it is there, and from there on it is gone.
 */
static bool image_fades(const struct image *head, const struct image *tail, uint64_t count,
			const struct image *want, uint64_t want_count)
{
	const uint64_t seen[] = { head->tag, head->value, head->where, head->check, count,
				  tail->tag, tail->value, tail->where, tail->check };
	const uint64_t there[] = { want->tag, want->value, want->where, want->check, want_count,
				   want->tag, want->value, want->where, want->check };
	const unsigned int n = sizeof(seen) / sizeof(seen[0]);
	unsigned int i = 0;

	while (i < n && seen[i] == there[i])
		i++;
	while (i < n && !seen[i])
		i++;
	return i == n;
}

static void image_explain(char *buf, size_t size, const struct image *image)
{
	snprintf(buf, size, "owner 0x%x generation %u value 0x%llx at 0x%llx%s",
		 (unsigned int)(image->tag >> 32), (unsigned int)image->tag,
		 (unsigned long long)image->value, (unsigned long long)image->where,
		 image_check(image) == image->check ? "" : ", torn");
}

/* All of a page is there, or it is gone where there is a doubt of it. */
static bool cell_whole(const struct cell *cell, const struct image *want,
		       const struct image *head, const struct image *tail, uint64_t count)
{
	if (image_same(head, want) && image_same(tail, want) &&
	    (count == cell->count || (cell->maybe_count && !count)))
		return true;
	return cell->maybe_gone && image_zero(head) && image_zero(tail) && !count;
}

static bool cell_judge(struct thread *t, unsigned int page, const struct image *head,
		       const struct image *tail, uint64_t count, const char *who, bool fades)
{
	struct torture *tt = t->tt;
	const struct cell *cell = &tt->cells[page];
	char seen[160], wanted[160];
	struct image want;

	cell_image(tt, page, cell, &want);
	if (cell_whole(cell, &want, head, tail, count))
		return true;
	if (fades && cell->maybe_gone && image_fades(head, tail, count, &want, cell->count))
		return true;

	image_explain(wanted, sizeof(wanted), &want);
	image_explain(seen, sizeof(seen), image_same(head, &want) ? tail : head);
	torture_fail(t, "%s sees in page %u (%s, 0x%lx): %s, count %llu; must be: %s, count %llu%s",
		     who, page, image_same(head, &want) ? "tail" : "head",
		     (unsigned long)page_addr(tt, page), seen, (unsigned long long)count, wanted,
		     (unsigned long long)cell->count, cell->maybe_gone ? ", or gone" : "");
	return false;
}

/*
 * What was seen of a page. The caller has its content locked, shared at least; with
 * a doubt both are right, and stay so.
 */
bool cell_check(struct thread *t, unsigned int page, const struct image *head,
		const struct image *tail, uint64_t count, const char *who)
{
	return cell_judge(t, page, head, tail, count, who, true);
}

static void image_load(struct image *image, const char *at)
{
	const volatile uint64_t *from = (const void *)at;
	uint64_t *to = (void *)image;

	for (unsigned int i = 0; i < IMAGE_WORDS; i++)
		to[i] = from[i];
}

static void image_store(char *at, const struct image *image)
{
	volatile uint64_t *to = (void *)at;
	const uint64_t *from = (const void *)image;

	for (unsigned int i = 0; i < IMAGE_WORDS; i++)
		to[i] = from[i];
}

/* The CPU looks at the pages of a span, which are mapped at @at now. */
bool span_check_cpu(struct thread *t, const struct span *span, const char *at, const char *who)
{
	for (unsigned int i = 0; i < span->n; i++, at += PAGE) {
		const struct cell *cell = &t->tt->cells[span->first + i];
		struct image want, head, tail;
		unsigned int looks = 0;
		uint64_t count;

		cell_image(t->tt, span->first + i, cell, &want);
		/* One that went while it was looked at is gone the second time. */
		do {
			image_load(&head, at);
			count = *(const volatile uint64_t *)(at + COUNT_OFFSET);
			image_load(&tail, at + TAIL_OFFSET);
		} while (!cell_whole(cell, &want, &head, &tail, count) && cell->maybe_gone &&
			 image_fades(&head, &tail, count, &want, cell->count) && !looks++);
		if (!cell_judge(t, span->first + i, &head, &tail, count, who, false))
			return false;
	}
	return true;
}

/* The CPU writes all that the oracle says, and so there is no doubt any more. */
void cell_write_cpu(struct thread *t, unsigned int page, char *at)
{
	struct cell *cell = &t->tt->cells[page];
	struct image image;

	cell->maybe_gone = false;
	cell->maybe_count = false;
	cell_image(t->tt, page, cell, &image);
	image_store(at, &image);
	*(volatile uint64_t *)(at + COUNT_OFFSET) = cell->count;
	image_store(at + TAIL_OFFSET, &image);
}

/* Ends a doubt: writes, so that nothing is thrown away any more, then looks. */
bool cell_resolve(struct thread *t, unsigned int page)
{
	struct torture *tt = t->tt;
	struct cell *cell = &tt->cells[page];
	char *at = page_addr(tt, page);
	struct image head, tail;
	uint64_t count;

	if (!cell->maybe_gone && !cell->maybe_count)
		return true;
	count = __atomic_fetch_add((uint64_t *)(at + COUNT_OFFSET), 0, __ATOMIC_SEQ_CST);
	image_load(&head, at);
	image_load(&tail, at + TAIL_OFFSET);
	if (!cell_judge(t, page, &head, &tail, count, "CPU", false))
		return false;
	/* A page of zeros may have a count, and then it is still there. */
	if (cell->maybe_gone && image_zero(&head))
		cell->state = CELL_ZERO;
	cell->count = count;
	cell->maybe_gone = false;
	cell->maybe_count = false;
	return true;
}

/* Each word is that of one image or that of the other. */
static bool image_between(struct thread *t, unsigned int page, const char *at,
			  const struct image *old, const struct image *new, const char *who)
{
	const uint64_t *o = (const void *)old, *n = (const void *)new, *s;
	struct image seen;

	image_load(&seen, at);
	s = (void *)&seen;
	for (unsigned int w = 0; w < IMAGE_WORDS; w++) {
		if (s[w] == o[w] || s[w] == n[w] || (t->tt->cells[page].maybe_gone && !s[w]))
			continue;
		torture_fail(t, "%s: page %u, %p: 0x%llx, not 0x%llx or 0x%llx", who, page,
			     &((const uint64_t *)at)[w], (unsigned long long)s[w],
			     (unsigned long long)o[w], (unsigned long long)n[w]);
		return false;
	}
	return true;
}

/*
 * A write to the pages was broken off, by the removal of a device or in a race that
 * was wanted: each word is old or new. Then all is written by the CPU. Content locked
 * exclusively.
 */
bool span_mend(struct thread *t, const struct span *span, const struct cell *renewed,
	       const char *who)
{
	struct torture *tt = t->tt;

	for (unsigned int i = 0; i < span->n; i++) {
		const unsigned int page = span->first + i;
		struct cell *cell = &tt->cells[page];
		char *at = page_addr(tt, page);
		const uint64_t count = *(volatile uint64_t *)(at + COUNT_OFFSET);
		struct image old, new;

		cell_image(tt, page, cell, &old);
		cell_image(tt, page, &renewed[i], &new);
		if (!image_between(t, page, at, &old, &new, who) ||
		    !image_between(t, page, at + TAIL_OFFSET, &old, &new, who))
			return false;
		if (count != cell->count &&
		    (count || !(cell->maybe_gone || cell->maybe_count))) {
			torture_fail(t, "%s: the count of page %u is %llu, not %llu", who, page,
				     (unsigned long long)count,
				     (unsigned long long)cell->count);
			return false;
		}
		*cell = renewed[i];
		cell->count = count;
		cell_write_cpu(t, page, at);
	}
	return true;
}
