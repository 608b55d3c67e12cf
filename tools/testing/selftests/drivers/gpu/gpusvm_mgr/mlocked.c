// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Memory that is locked and goes to a device: the lock is about what is in system memory
 * and is to stay there, and the kernel's account of it has to be right whichever way the
 * data leaves the device.
 */
#include "gpusvm_devmem.h"

#include <inttypes.h>
#include <linux/kernel-page-flags.h>

#define SIZE	CHUNK
#define PAGES(self)	(SIZE / (self)->page)

/* The kernel has it for itself: pages that count as locked. */
#ifndef KPF_MLOCKED
#define KPF_MLOCKED	33
#endif

/* Pages that count as locked, in all processes: Mlocked in /proc/meminfo. */
static uint64_t pages_locked(void)
{
	/* CPUs put off to unlock them, and to count; that file is there if they do. */
	lru_drain();
	write_text("/proc/sys/vm/stat_refresh", "1");
	return vm_counter("nr_mlock");
}

/* Waits until that many do: what is freed by a worker takes a moment. */
static bool locked_are(uint64_t want)
{
	uint64_t pages = pages_locked();

	for (int i = 0; i < 500 && pages != want; i++) {
		usleep(10000);
		pages = pages_locked();
	}
	if (pages != want)
		fprintf(stderr, "# %" PRIu64 " pages are locked instead of %" PRIu64 "\n",
			pages, want);
	return pages == want;
}

/* Moves all of a buffer to a device, on which nothing is mapped by that. */
static int move_in(struct gpu *gpu, char *buf, size_t size)
{
	for (int i = 0; i < 50; i++) {
		int ret;

		lru_drain();
		ret = vsvm_prefetch(&gpu->vm, buf, size, &gpu->dev, 0, NULL);
		if (ret || pages_away(buf, size) == size / page_size())
			return ret;
		/* Some, since a CPU had just taken one of them: back, and once more. */
		for (size_t at = 0; at < size; at += page_size())
			(void)*(volatile char *)(buf + at);
	}
	return -ENOTEMPTY;
}

/*
 * Memory that comes to where others were, and back, is like any other, and counts when
 * it is locked. The device is empty, so that it gets what the last one had.
 */
static int like_any_other(struct gpu *gpu, bool thp, uint64_t locked)
{
	const uint64_t mask = 1ULL << KPF_UNEVICTABLE | 1ULL << KPF_MLOCKED;
	char *buf = devmem_buf(SIZE, thp);
	size_t flagged = 0;
	int ret;

	if (!buf)
		return -ENOMEM;
	buf_init(buf, SIZE, 73);
	ret = move_in(gpu, buf, SIZE);
	if (!ret && !locked_are(locked))
		ret = -EUCLEAN;
	if (!ret && (buf_check(buf, SIZE, 73, 0) != -1 || pages_away(buf, SIZE)))
		ret = -EIO;
	for (unsigned int lock = 0; lock < 2 && !ret; lock++) {
		/* A CPU may still be about to sort it in. */
		for (int i = 0; i < 500; i++) {
			lru_drain();
			flagged = pages_flagged(buf, SIZE, mask);
			if (!flagged)
				break;
			usleep(10000);
		}
		if (flagged)
			ret = -EBUSY;
		else if (!lock && mlock(buf, SIZE))
			ret = -errno;
		else if (!lock && !locked_are(locked + SIZE / page_size()))
			ret = -EUCLEAN;
		else if (!lock && munlock(buf, SIZE))
			ret = -errno;
	}
	buf_free(buf, SIZE);
	if (!ret && !locked_are(locked))
		ret = -EUCLEAN;
	return ret;
}

/* How memory that is locked leaves the device. */
enum leaving { AS_LOCKED, AS_UNLOCKED, HALF_UNLOCKED, BY_TOUCH, LEAVINGS };

/*
 * Memory that is locked, and freed while it is on a device: no page counts as locked
 * afterwards, and who gets the device's memory next does not notice.
 */
DEVMEM_TEST(mlocked_and_freed)
{
	/* Locked all the time: the kernel shows no less than nothing. */
	char *keep = devmem_buf(2 * SIZE, false);
	uint64_t locked;

	ASSERT_NE(NULL, keep);
	ASSERT_EQ(0, arbiter_off());
	ASSERT_EQ(0, mlock(keep, 2 * SIZE));
	locked = pages_locked();
	for (unsigned int round = 0; round < LEAVINGS; round++) {
		char *buf = devmem_buf(SIZE, variant->thp);
		enum leaving leaving = round;

		ASSERT_NE(NULL, buf);
		ASSERT_EQ(0, mlock(buf, SIZE));
		buf_init(buf, SIZE, 71);
		ASSERT_EQ(0, move_in(self->gpu, buf, SIZE));
		/* Passes over what is on a device. */
		if (leaving != AS_LOCKED) {
			ASSERT_EQ(0, munlock(buf, leaving == HALF_UNLOCKED ? SIZE / 2 : SIZE));
		}
		EXPECT_EQ(PAGES(self), pages_away(buf, SIZE));
		if (leaving == BY_TOUCH) {
			EXPECT_EQ(-1, buf_check(buf, SIZE, 71, 0));
			EXPECT_EQ(0, pages_away(buf, SIZE));
		}
		buf_free(buf, SIZE);
		ASSERT_TRUE(locked_are(locked))
			TH_LOG("round %u", round);
		ASSERT_EQ(0, like_any_other(self->gpu, variant->thp, locked));
	}
	ASSERT_EQ(0, gpus_validate());
	buf_free(keep, 2 * SIZE);
}

/* What a child does with memory that its parent has locked, and moves to a device. */
enum heir {
	FREES,		/* gives a half back, and the rest by its end */
	READS,		/* so that it comes back for both */
	READS_LATE,	/* when the parent has it no more, from another CPU */
	LOCKS,		/* locks it itself, before it moves */
	HEIRS
};

struct inheritance {
	enum heir heir;
	char *buf;
	cpu_set_t cpus;
	int to_child[2], to_parent[2];
};

static int inherit(struct inheritance *in)
{
	char c = 0;

	close(in->to_child[1]);
	/* For reading, or it would be given pages of its own. */
	if (in->heir == LOCKS) {
		CHECK(!mprotect(in->buf, SIZE, PROT_READ));
		CHECK(!mlock(in->buf, SIZE));
	}
	if (in->heir == READS_LATE && CPU_COUNT(&in->cpus))
		CHECK(!sched_setaffinity(0, sizeof(in->cpus), &in->cpus));
	CHECK(write(in->to_parent[1], &c, 1) == 1);
	CHECK(read(in->to_child[0], &c, 1) == 0);
	CHECK(pages_away(in->buf, SIZE) == SIZE / page_size());
	if (in->heir == READS || in->heir == READS_LATE)
		CHECK(buf_check(in->buf, SIZE, 72, 0) == -1);
	if (in->heir == FREES)
		CHECK(!munmap(in->buf, SIZE / 2));
	return 0;
}

/*
 * The child has what its parent has locked, but not locked, unless it does so, too. Here
 * also, no page counts as locked when all of it is gone.
 */
DEVMEM_TEST(mlocked_by_the_parent)
{
	char *keep = devmem_buf(2 * SIZE, false);
	cpu_set_t all, one;
	uint64_t locked;
	int cpu = 0;

	ASSERT_NE(NULL, keep);
	ASSERT_EQ(0, arbiter_off());
	ASSERT_EQ(0, mlock(keep, 2 * SIZE));
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(all), &all));
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	locked = pages_locked();
	for (enum heir heir = 0; heir < HEIRS; heir++) {
		struct inheritance in = { .heir = heir, .cpus = all };
		int status;
		pid_t pid;
		char c;

		CPU_CLR(cpu, &in.cpus);
		in.buf = devmem_buf(SIZE, variant->thp);
		ASSERT_NE(NULL, in.buf);
		ASSERT_EQ(0, pipe(in.to_child));
		ASSERT_EQ(0, pipe(in.to_parent));
		ASSERT_EQ(0, mlock(in.buf, SIZE));
		buf_init(in.buf, SIZE, 72);
		if (heir != LOCKS) {
			ASSERT_EQ(0, move_in(self->gpu, in.buf, SIZE));
		}
		fflush(stderr);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			_exit(inherit(&in));
		close(in.to_child[0]);
		close(in.to_parent[1]);
		ASSERT_EQ(1, read(in.to_parent[0], &c, 1));
		if (heir == LOCKS) {
			ASSERT_EQ(0, move_in(self->gpu, in.buf, SIZE));
		}
		if (heir == READS_LATE) {
			/* The last pages stay with this CPU, which then has nothing to do. */
			ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
			buf_free(in.buf, SIZE);
			/* A module cannot ask for them. */
			if (!access("/sys/module/vsvm/initstate", F_OK))
				lru_drain();
		}
		close(in.to_child[1]);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		close(in.to_parent[0]);
		if (heir == READS_LATE) {
			ASSERT_EQ(0, sched_setaffinity(0, sizeof(all), &all));
		} else {
			ASSERT_EQ(0, munlock(in.buf, SIZE));
			EXPECT_EQ(heir == READS ? 0 : PAGES(self), pages_away(in.buf, SIZE));
			buf_free(in.buf, SIZE);
		}
		ASSERT_TRUE(locked_are(locked))
			TH_LOG("child %u", heir);
		ASSERT_EQ(0, like_any_other(self->gpu, variant->thp, locked));
	}
	ASSERT_EQ(0, gpus_validate());
	buf_free(keep, 2 * SIZE);
}

TEST_HARNESS_MAIN
