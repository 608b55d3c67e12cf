// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The check mode: every so often, an access of an engine of the model goes
 * through the real DMA engine, and the bytes are compared. What a job reads is
 * then what the real engine has read, and what it writes is what that has
 * written; arithmetic is the model's, and its result is read again.
 *
 * Memory is shared: while the real engine is on its way, the CPU or another
 * device may write what it reads or has written. A byte that the model has seen
 * with the value that the real engine saw, before or after, or has seen
 * changing, proves nothing and is not held against it. What remains was seen by
 * the real engine only. After several attempts that is a violation: the address
 * leads somewhere else, or nowhere. Writes are done once, and where nothing seems to
 * have come of one it is a read that decides.
 */

#include <linux/delay.h>

#include "vsvm_drv.h"

/* Attempts until it is believed. */
#define VSVM_CHECK_TRIES	4
/* Looks at memory that may be changing, a millisecond apart. */
#define VSVM_CHECK_LOOKS	32

/**
 * vsvm_check_due() - Shall an access go through the real engine?
 * @edu: The engine.
 * @a: The access. Not the one that writes a fence: who sees that may go.
 * @addr: Its device address.
 *
 * Return: true where it is this one's turn.
 */
bool vsvm_check_due(struct vsvm_edu *edu, const struct vsvm_access *a, u64 addr)
{
	unsigned int every = READ_ONCE(edu->check_every);

	if (likely(!every) || !edu->mmio || addr & VSVM_VRAM_ADDR ||
	    a->op == VSVM_ACCESS_RELEASE)
		return false;
	return !((unsigned int)atomic_inc_return(&edu->accesses) % every);
}

/**
 * vsvm_check_replaces() - Is an access done by the real engine alone?
 * @a: The access.
 *
 * Return: false where the model does it, too, and does it first.
 */
bool vsvm_check_replaces(const struct vsvm_access *a)
{
	return a->op == VSVM_ACCESS_WRITE || a->op == VSVM_ACCESS_FILL;
}

/* What the model finds at @addr, which does not leave the page. */
static int vsvm_check_look(struct vsvm_device *dev, u64 addr, u8 *buf, u32 len)
{
	void *kaddr = vsvm_mem_map(dev, addr);

	if (!kaddr)
		return -EIO;
	memcpy(buf, kaddr, len);
	vsvm_mem_unmap(kaddr);
	return 0;
}

/* Are there bytes that only the real engine has seen? */
static int vsvm_check_unexplained(struct vsvm_device *dev, u64 addr, u32 len)
{
	u8 *model = dev->edu.model;
	u8 *real = dev->edu.real;
	unsigned int look;
	u32 i, left = 0;

	for (look = 0; look < VSVM_CHECK_LOOKS; look++) {
		u8 *kaddr = vsvm_mem_map(dev, addr);

		if (!kaddr)
			return -EIO;
		for (left = 0, i = 0; i < len; i++) {
			u8 now = READ_ONCE(kaddr[i]);

			if (real[i] == model[i])
				continue;
			/* The same, or it is being changed. */
			if (now == real[i] || now != model[i])
				model[i] = real[i];
			else
				left++;
		}
		vsvm_mem_unmap(kaddr);
		if (!left)
			break;
		usleep_range(1000, 1500);
	}
	return left;
}

static int vsvm_check_read(struct vsvm_device *dev, u64 addr, u32 len, bool wrong)
{
	struct vsvm_edu *edu = &dev->edu;
	unsigned int try;
	int ret;

	for (try = 0; try < VSVM_CHECK_TRIES; try++) {
		ret = vsvm_check_look(dev, addr, edu->model, len);
		if (!ret)
			ret = vsvm_edu_read(edu, wrong ? addr ^ PAGE_SIZE : addr, edu->real,
					    len);
		if (ret)
			return ret;
		if (!memcmp(edu->model, edu->real, len))
			return 0;
		ret = vsvm_check_unexplained(dev, addr, len);
		if (ret < 0)
			return ret;
		if (!ret) {
			atomic64_inc(&edu->races);
			return 0;
		}
	}
	return -EILSEQ;
}

/* How many bytes are as they were before, where they should be as in @data? */
static int vsvm_check_untouched(struct vsvm_device *dev, u64 addr, const u8 *data, u32 len,
				bool *raced)
{
	u8 *kaddr = vsvm_mem_map(dev, addr);
	u8 *before = dev->edu.model;
	u32 i, untouched = 0;

	if (!kaddr)
		return -EIO;
	for (i = 0; i < len; i++) {
		u8 now = READ_ONCE(kaddr[i]);

		if (now == data[i])
			continue;
		if (now == before[i])
			untouched++;
		else
			*raced = true;
	}
	vsvm_mem_unmap(kaddr);
	return untouched;
}

static int vsvm_check_write(struct vsvm_device *dev, u64 addr, const u8 *data, u32 len)
{
	struct vsvm_edu *edu = &dev->edu;
	bool raced = false;
	int ret;

	ret = vsvm_check_look(dev, addr, edu->model, len);
	if (!ret)
		ret = vsvm_edu_write(edu, addr, data, len);
	if (!ret)
		ret = vsvm_check_untouched(dev, addr, data, len, &raced);
	if (ret < 0)
		return ret;
	if (!ret) {
		if (raced)
			atomic64_inc(&edu->races);
		return 0;
	}
	/*
	 * It did not arrive, or somebody who waited for it has put back what was there.
	 * A store is not repeated: he would see it twice. But does the address lead there?
	 */
	ret = vsvm_check_read(dev, addr, len, false);
	if (!ret)
		atomic64_inc(&edu->races);
	return ret;
}

/**
 * vsvm_check_access() - Do an access in the real engine, and compare
 * @vm: The VM. A flight protects the translation, the gate is not held.
 * @a: The access; the model has done it, unless vsvm_check_replaces().
 * @addr: Its device address.
 * @cookie: The DMA mapping, for the report.
 *
 * Where the bytes differ this is reported, and counts as done. Waits for the
 * engine, for nothing else.
 *
 * Return: 0, or -EIO where the engine does not work.
 */
int vsvm_check_access(struct vsvm_vm *vm, const struct vsvm_access *a, u64 addr, u64 cookie)
{
	struct vsvm_device *dev = vm->dev;
	struct vsvm_edu *edu = &dev->edu;
	bool wrong = false;
	u32 done, len;
	int ret = 0;

	mutex_lock(&edu->check_lock);
	if (!vsvm_check_replaces(a))
		wrong = atomic_dec_if_positive(&edu->check_wrong) >= 0;
	for (done = 0; !ret && done < a->len; done += len) {
		len = min_t(u32, a->len - done, VSVM_EDU_MAX);
		switch (a->op) {
		case VSVM_ACCESS_WRITE:
			ret = vsvm_check_write(dev, addr + done, (u8 *)a->buf + done, len);
			break;
		case VSVM_ACCESS_FILL:
			memset64((u64 *)edu->real, a->value, len / sizeof(u64));
			ret = vsvm_check_write(dev, addr + done, edu->real, len);
			break;
		default:
			ret = vsvm_check_read(dev, addr + done, len, wrong);
			if (!ret && a->op == VSVM_ACCESS_READ)
				memcpy((u8 *)a->buf + done, edu->real, len);
			break;
		}
	}
	atomic64_inc(&edu->checks);
	mutex_unlock(&edu->check_lock);

	if (ret == -EILSEQ) {
		atomic64_inc(&edu->mismatches);
		vsvm_police_report(vm, VSVM_VIOLATION_ENGINE, a->va, cookie, wrong);
		ret = 0;
	}
	return ret ? -EIO : 0;
}
