// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What the instructions of a job do, one bounded step at a time. A step either
 * does something and notes how far it got, or meets a fault and leaves no
 * trace: then it is done again, from the same place, when the fault was served.
 */

#include <linux/limits.h>
#include <linux/overflow.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"

#define FNV_BASIS	0xcbf29ce484222325ULL
#define FNV_PRIME	0x100000001b3ULL
#define HIST_WORDS	256

/* What vsvm_program_step() returns where the instruction is finished. */
#define STEP_DONE	1

#define INSTR_DST	BIT(0)
#define INSTR_SRC	BIT(1)
#define INSTR_LEN	BIT(2)
#define INSTR_VALUE	BIT(3)
/* The length counts words. */
#define INSTR_WORDS	BIT(4)

static const unsigned int vsvm_instr_uses[] = {
	[DRM_VSVM_OP_NOP] = 0,
	[DRM_VSVM_OP_FILL] = INSTR_DST | INSTR_LEN | INSTR_VALUE | INSTR_WORDS,
	[DRM_VSVM_OP_COPY] = INSTR_DST | INSTR_SRC | INSTR_LEN,
	[DRM_VSVM_OP_ADD] = INSTR_DST | INSTR_LEN | INSTR_VALUE | INSTR_WORDS,
	[DRM_VSVM_OP_CHECKSUM] = INSTR_DST | INSTR_SRC | INSTR_LEN,
	[DRM_VSVM_OP_COMPARE] = INSTR_DST | INSTR_SRC | INSTR_LEN | INSTR_VALUE,
	[DRM_VSVM_OP_ATOMIC_ADD] = INSTR_DST | INSTR_LEN | INSTR_VALUE,
	[DRM_VSVM_OP_CHASE] = INSTR_DST | INSTR_SRC | INSTR_LEN,
	[DRM_VSVM_OP_HISTOGRAM] = INSTR_DST | INSTR_SRC | INSTR_LEN,
};

static const char *vsvm_instr_fault(const struct drm_vsvm_instr *instr)
{
	unsigned int uses;

	if (instr->op >= ARRAY_SIZE(vsvm_instr_uses))
		return "op";
	if (instr->flags)
		return "flags";

	uses = vsvm_instr_uses[instr->op];
	if (!(uses & INSTR_DST) && instr->dst)
		return "dst";
	if (!(uses & INSTR_SRC) && instr->src)
		return "src";
	if (!(uses & INSTR_VALUE) && instr->value)
		return "value";
	if (!(uses & INSTR_LEN))
		return instr->len ? "len" : NULL;
	if (!instr->len || instr->len > DRM_VSVM_MAX_LEN)
		return "len";
	if ((uses & INSTR_WORDS) && instr->len % sizeof(u64))
		return "len";
	/* In either direction; the differences wrap on purpose. */
	if (instr->op == DRM_VSVM_OP_COPY &&
	    (instr->dst - instr->src < instr->len || instr->src - instr->dst < instr->len))
		return "dst and src";
	return NULL;
}

/**
 * vsvm_program_check() - Check a program before it is accepted
 * @dev: The device, for the message.
 * @instrs: The instructions.
 * @count: Their number.
 * @hist: Out: it makes a histogram.
 *
 * Addresses are not looked at, the device faults on them.
 *
 * Return: 0, or -EINVAL.
 */
int vsvm_program_check(struct vsvm_device *dev, const struct drm_vsvm_instr *instrs,
		       u32 count, bool *hist)
{
	u32 i;

	*hist = false;
	for (i = 0; i < count; i++) {
		const char *field = vsvm_instr_fault(&instrs[i]);

		if (field) {
			drm_dbg(&dev->drm, "instrs[%u].%s: refused, op %u, dst 0x%llx, src 0x%llx, len 0x%llx\n",
				i, field, instrs[i].op, instrs[i].dst, instrs[i].src,
				instrs[i].len);
			return -EINVAL;
		}
		*hist |= instrs[i].op == DRM_VSVM_OP_HISTOGRAM;
	}
	return 0;
}

/*
 * The accesses. @a is left as the one that was tried last, for the fault and
 * the error record.
 */
static int vsvm_do(struct vsvm_job *job, struct vsvm_access *a)
{
	return vsvm_access(job->vm, a);
}

static int vsvm_read(struct vsvm_job *job, struct vsvm_access *a, u64 va, void *buf,
		     u32 len)
{
	*a = (struct vsvm_access){
		.va = va, .len = len, .op = VSVM_ACCESS_READ, .buf = buf,
	};
	return vsvm_do(job, a);
}

static int vsvm_write(struct vsvm_job *job, struct vsvm_access *a, u64 va, void *buf,
		      u32 len)
{
	*a = (struct vsvm_access){
		.va = va, .len = len, .op = VSVM_ACCESS_WRITE, .buf = buf,
	};
	return vsvm_do(job, a);
}

/* Words are aligned; @op is how the word is going to be used. */
static int vsvm_check_word(struct vsvm_access *a, u64 va, enum vsvm_access_op op)
{
	*a = (struct vsvm_access){ .va = va, .len = sizeof(u64), .op = op };
	return IS_ALIGNED(va, sizeof(u64)) ? 0 : -EINVAL;
}

static int vsvm_step_words(struct vsvm_job *job, const struct drm_vsvm_instr *instr,
			   enum vsvm_access_op op, struct vsvm_access *a)
{
	u64 va = instr->dst + job->pos;
	int ret;

	ret = vsvm_check_word(a, va, op);
	if (ret)
		return ret;

	a->len = vsvm_access_len(va, instr->len - job->pos);
	a->value = instr->value;
	ret = vsvm_do(job, a);
	if (ret)
		return ret;

	job->pos += a->len;
	return job->pos == instr->len ? STEP_DONE : 0;
}

static int vsvm_step_copy(struct vsvm_engine *engine, struct vsvm_job *job,
			  const struct drm_vsvm_instr *instr, struct vsvm_access *a)
{
	u64 src = instr->src + job->pos, dst = instr->dst + job->pos;
	u32 len;
	int ret;

	len = vsvm_access_len(dst, vsvm_access_len(src, instr->len - job->pos));
	ret = vsvm_read(job, a, src, engine->bounce[0], len);
	if (ret)
		return ret;
	ret = vsvm_write(job, a, dst, engine->bounce[0], len);
	if (ret)
		return ret;

	job->pos += len;
	return job->pos == instr->len ? STEP_DONE : 0;
}

static int vsvm_step_checksum(struct vsvm_engine *engine, struct vsvm_job *job,
			      const struct drm_vsvm_instr *instr, struct vsvm_access *a)
{
	u64 hash = job->pos ? job->acc[0] : FNV_BASIS;
	u32 len, i;
	int ret;

	ret = vsvm_check_word(a, instr->dst, VSVM_ACCESS_WRITE);
	if (ret)
		return ret;

	if (job->pos == instr->len) {
		ret = vsvm_write(job, a, instr->dst, &hash, sizeof(hash));
		return ret ?: STEP_DONE;
	}

	len = vsvm_access_len(instr->src + job->pos, instr->len - job->pos);
	ret = vsvm_read(job, a, instr->src + job->pos, engine->bounce[0], len);
	if (ret)
		return ret;

	for (i = 0; i < len; i++)
		hash = (hash ^ engine->bounce[0][i]) * FNV_PRIME;
	job->acc[0] = hash;
	job->pos += len;
	return 0;
}

static int vsvm_step_compare(struct vsvm_engine *engine, struct vsvm_job *job,
			     const struct drm_vsvm_instr *instr, struct vsvm_access *a)
{
	u64 src = instr->src + job->pos, other = instr->value + job->pos;
	u32 len, i;
	int ret;

	ret = vsvm_check_word(a, instr->dst, VSVM_ACCESS_WRITE);
	if (ret)
		return ret;

	/* acc[1]: there is a result, acc[0]: which. */
	if (job->acc[1]) {
		ret = vsvm_write(job, a, instr->dst, &job->acc[0], sizeof(u64));
		return ret ?: STEP_DONE;
	}

	len = vsvm_access_len(other, vsvm_access_len(src, instr->len - job->pos));
	ret = vsvm_read(job, a, src, engine->bounce[0], len);
	if (ret)
		return ret;
	ret = vsvm_read(job, a, other, engine->bounce[1], len);
	if (ret)
		return ret;

	for (i = 0; i < len && engine->bounce[0][i] == engine->bounce[1][i]; i++)
		;
	job->pos += i;
	if (i < len || job->pos == instr->len) {
		job->acc[0] = i < len ? job->pos : U64_MAX;
		job->acc[1] = 1;
	}
	return 0;
}

static int vsvm_step_atomic_add(struct vsvm_job *job, const struct drm_vsvm_instr *instr,
				struct vsvm_access *a)
{
	int ret;

	ret = vsvm_check_word(a, instr->dst, VSVM_ACCESS_ATOMIC_ADD);
	if (ret)
		return ret;

	a->value = instr->value;
	a->count = min_t(u64, instr->len - job->pos, VSVM_ATOMIC_MAX);
	ret = vsvm_do(job, a);
	if (ret)
		return ret;

	job->pos += a->count;
	return job->pos == instr->len ? STEP_DONE : 0;
}

static int vsvm_step_chase(struct vsvm_job *job, const struct drm_vsvm_instr *instr,
			   struct vsvm_access *a)
{
	u64 node = job->pos ? job->acc[0] : instr->src, next, value;
	int ret;

	ret = vsvm_check_word(a, instr->dst, VSVM_ACCESS_WRITE);
	if (ret)
		return ret;

	if (!node || job->pos == instr->len) {
		/* Done again as a whole where the second one faults. */
		ret = vsvm_write(job, a, instr->dst, &job->pos, sizeof(u64));
		if (ret)
			return ret;
		ret = vsvm_write(job, a, instr->dst + sizeof(u64), &job->acc[1],
				 sizeof(u64));
		return ret ?: STEP_DONE;
	}

	ret = vsvm_check_word(a, node, VSVM_ACCESS_READ);
	if (ret)
		return ret;
	/* Two accesses, because the words may be on different pages. */
	ret = vsvm_read(job, a, node, &next, sizeof(next));
	if (ret)
		return ret;
	ret = vsvm_read(job, a, node + sizeof(u64), &value, sizeof(value));
	if (ret)
		return ret;

	job->acc[0] = next;
	job->acc[1] += value;
	job->pos++;
	return 0;
}

static int vsvm_step_histogram(struct vsvm_engine *engine, struct vsvm_job *job,
			       const struct drm_vsvm_instr *instr, struct vsvm_access *a)
{
	u64 word;
	u32 len, i;
	int ret;

	ret = vsvm_check_word(a, instr->dst, VSVM_ACCESS_ATOMIC_ADD);
	if (ret)
		return ret;
	/* Words without a count are left out, so one behind the wrap might be next. */
	if (instr->dst >= vsvm_va_end())
		return -EINVAL;

	/* First all bytes are counted, then the words are added to. */
	if (job->pos < instr->len) {
		len = vsvm_access_len(instr->src + job->pos, instr->len - job->pos);
		ret = vsvm_read(job, a, instr->src + job->pos, engine->bounce[0], len);
		if (ret)
			return ret;

		if (!job->pos)
			memset(job->hist, 0, HIST_WORDS * sizeof(*job->hist));
		for (i = 0; i < len; i++)
			job->hist[engine->bounce[0][i]]++;
		job->pos += len;
		return 0;
	}

	word = job->pos - instr->len;
	if (job->hist[word]) {
		a->va = instr->dst + word * sizeof(u64);
		a->value = job->hist[word];
		a->count = 1;
		ret = vsvm_do(job, a);
		if (ret)
			return ret;
	}
	job->pos++;
	return word == HIST_WORDS - 1 ? STEP_DONE : 0;
}

/**
 * vsvm_program_step() - Do the next step of a job's program
 * @engine: The engine, for its buffers.
 * @job: The job, with instructions left.
 * @a: Out: the access that was tried last.
 *
 * Bounded, does not sleep.
 *
 * Return: 1 where the instruction is finished, 0 where there is more to do,
 * -EAGAIN where @a faulted, or another negative errno with which it failed.
 */
int vsvm_program_step(struct vsvm_engine *engine, struct vsvm_job *job,
		      struct vsvm_access *a)
{
	const struct drm_vsvm_instr *instr = &job->instrs[job->pc];

	switch (instr->op) {
	case DRM_VSVM_OP_NOP:
		return STEP_DONE;
	case DRM_VSVM_OP_FILL:
		return vsvm_step_words(job, instr, VSVM_ACCESS_FILL, a);
	case DRM_VSVM_OP_COPY:
		return vsvm_step_copy(engine, job, instr, a);
	case DRM_VSVM_OP_ADD:
		return vsvm_step_words(job, instr, VSVM_ACCESS_ADD, a);
	case DRM_VSVM_OP_CHECKSUM:
		return vsvm_step_checksum(engine, job, instr, a);
	case DRM_VSVM_OP_COMPARE:
		return vsvm_step_compare(engine, job, instr, a);
	case DRM_VSVM_OP_ATOMIC_ADD:
		return vsvm_step_atomic_add(job, instr, a);
	case DRM_VSVM_OP_CHASE:
		return vsvm_step_chase(job, instr, a);
	case DRM_VSVM_OP_HISTOGRAM:
		return vsvm_step_histogram(engine, job, instr, a);
	default:
		/* Refused by vsvm_program_check(). */
		return -EINVAL;
	}
}
