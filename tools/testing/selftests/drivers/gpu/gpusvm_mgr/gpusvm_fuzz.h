/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The grammar of vsvm's ABI, for the fuzzer: of each call its members, what a valid
 * value of each is, and the errnos that are documented. What is new in the ABI is a
 * line in one of the tables. To be included once.
 *
 * Random calls let devices write to random addresses of the process. All memory that
 * they may reach is in one window of the address space: what the calls point to, and
 * a playground. Addresses anywhere else in user space are moved into it before a call
 * is made (tame()), those that nobody has, and those of the kernel, are not.
 */
#ifndef _GPUSVM_FUZZ_H_
#define _GPUSVM_FUZZ_H_

#include <stdio.h>
#include <sys/ioctl.h>

#include <xf86drm.h>

#define GPUSVM_NO_FIXTURE
#include "gpusvm_test.h"

#define FUZZ_BASE	0x200000000000ULL
#define FUZZ_WINDOW	(1ULL << 32)
/* What calls point to: the argument, an array, syncobjs, what is written to. */
#define FUZZ_ARGS	FUZZ_BASE
#define FUZZ_ARRAY	(FUZZ_BASE + 0x1000)
#define FUZZ_SYNCS	(FUZZ_BASE + 0x2000)
#define FUZZ_OUT	(FUZZ_BASE + 0x3000)
#define FUZZ_VMS	(FUZZ_BASE + 0x4000)
#define FUZZ_ARGS_SIZE	(1 * MIB)
#define FUZZ_PLAY	(FUZZ_BASE + 0x40000000)
#define FUZZ_PLAY_SIZE	(1 * MIB)
/* From the playground to addresses where no user pointer is, or only by accident. */
#define FUZZ_ASIDE	0x40000000ULL
#define FUZZ_USER_END	(1ULL << 47)
/* Below the lowest address that can be mapped. */
#define FUZZ_LOW	0x10000ULL

#define FUZZ_POOL	8

/**
 * struct fuzz_dev - A device, and what was made on it
 * @dev: the device
 * @vm: VMs, 0: none; the first two stay: one that mirrors and migrates, one that is
 *	bound
 * @mirrors: those that mirror
 * @handle: objects, 0: none
 * @syncobj: syncobjs
 */
struct fuzz_dev {
	struct vsvm_device dev;
	uint32_t vm[FUZZ_POOL];
	bool mirrors[FUZZ_POOL];
	uint32_t handle[FUZZ_POOL];
	uint32_t syncobj[4];
};

/**
 * struct fuzz - The state of the fuzzer
 * @seed: of the random numbers
 * @n: devices
 * @dev: these
 * @at: the device of the call
 * @fd: file descriptors that are something else than a device
 * @dmabuf: exported objects, -1: none
 * @valid: nothing was mutated
 */
struct fuzz {
	uint64_t seed;
	unsigned int n;
	struct fuzz_dev dev[4];
	struct fuzz_dev *at;
	int fd[3];
	int dmabuf[FUZZ_POOL];
	bool valid;
};

enum fuzz_kind {
	FUZZ_ZERO,	/* must be zero */
	FUZZ_WRITTEN,	/* by the kernel, anything is allowed */
	FUZZ_MASK,	/* any of the bits in @arg */
	FUZZ_MOST,	/* 0 to @arg */
	FUZZ_COUNT,	/* 1 to @arg of the array */
	FUZZ_SOME,	/* 0 to @arg of the syncobjs */
	FUZZ_VM,	/* a VM; @arg 0: any, 1: mirroring most often, 2: bound */
	FUZZ_HANDLE,	/* an object */
	FUZZ_SYNCOBJ,	/* a syncobj */
	FUZZ_FD,	/* a device, or this one */
	FUZZ_DMABUF,	/* an exported object */
	FUZZ_PAGE,	/* address of a page */
	FUZZ_SIZE,	/* bytes from the address before it */
	FUZZ_FENCE,	/* address of a word, or 0 */
	FUZZ_WORD,	/* address of a word */
	FUZZ_VALUE,	/* any, but without its last bit */
	FUZZ_ANY,	/* any */
	FUZZ_PTR,	/* pointer to @arg */
	FUZZ_SHORT,	/* a wait that ends soon */
	FUZZ_BYTES,	/* of an object */
	FUZZ_KINDS
};

struct fuzz_field {
	const char *name;
	uint16_t offset;
	uint8_t size;
	uint8_t kind;
	uint64_t arg;
};

#define FIELD(type, member, kind, arg)						\
	{ #member, offsetof(struct type, member), sizeof(((struct type *)0)->member), \
	  FUZZ_##kind, arg }

/* An array that a call points to. */
struct fuzz_array {
	const struct fuzz_field *fields;
	unsigned int num_fields;
	unsigned int size;
	void (*fix)(struct fuzz *f, void *elements, unsigned int count);
};

struct fuzz_call {
	const char *name;
	unsigned long request;
	const struct fuzz_field *fields;
	unsigned int num_fields;
	const struct fuzz_array *array;
	/* Another one, at FUZZ_VMS, that @fix makes. */
	const struct fuzz_array *more;
	/* What makes members fit each other, before any is mutated. */
	void (*fix)(struct fuzz *f, void *arg);
	/* After success, and the names of what was reached by it, see @count. */
	void (*done)(struct fuzz *f, const void *arg);
	/* Documented errnos beside EFAULT and EINVAL, up to a 0. */
	int errors[8];
	/* Elements of the array are counted by their first member, these are names. */
	const char * const *kinds;
	unsigned int num_kinds;
	/* How often it is made, relative to the others. */
	unsigned int weight;
};

static inline uint64_t fuzz_rnd(struct fuzz *f, uint64_t below)
{
	return (rnd(&f->seed) >> 16) % below;
}

static inline bool fuzz_one_in(struct fuzz *f, uint64_t n)
{
	return !fuzz_rnd(f, n);
}

static inline uint64_t field_get(const void *base, const struct fuzz_field *field)
{
	uint64_t value = 0;

	memcpy(&value, (const char *)base + field->offset, field->size);
	return value;
}

static inline void field_set(void *base, const struct fuzz_field *field, uint64_t value)
{
	memcpy((char *)base + field->offset, &value, field->size);
}

/* ------------------------------------------------------------- valid values */

static inline uint64_t fuzz_valid(struct fuzz *f, const struct fuzz_field *field,
				  uint64_t previous, unsigned int count)
{
	struct fuzz_dev *dev = f->at;
	uint64_t left, page = page_size();
	unsigned int i;

	switch (field->kind) {
	case FUZZ_MASK:
		return rnd(&f->seed) & field->arg & (fuzz_one_in(f, 2) ? ~0ULL : 0);
	case FUZZ_MOST:
		return fuzz_rnd(f, field->arg + 1);
	case FUZZ_COUNT:
	case FUZZ_SOME:
		return count;
	case FUZZ_VM:
		if (field->arg == 2)
			return dev->vm[1];
		if (field->arg == 1 && !fuzz_one_in(f, 8))
			return dev->vm[0];
		i = fuzz_rnd(f, FUZZ_POOL);
		return dev->vm[i] ? dev->vm[i] : dev->vm[i & 1];
	case FUZZ_HANDLE:
		i = fuzz_rnd(f, FUZZ_POOL);
		return dev->handle[i] ? dev->handle[i] : dev->handle[0];
	case FUZZ_SYNCOBJ:
		return dev->syncobj[fuzz_rnd(f, ARRAY_SIZE(dev->syncobj))];
	case FUZZ_FD:
		return fuzz_one_in(f, 3) ? (uint32_t)DRM_VSVM_THIS_DEVICE :
		       (uint32_t)f->dev[fuzz_rnd(f, f->n)].dev.fd;
	case FUZZ_DMABUF:
		return (uint32_t)f->dmabuf[fuzz_rnd(f, FUZZ_POOL)];
	case FUZZ_PAGE:
		return FUZZ_PLAY + fuzz_rnd(f, FUZZ_PLAY_SIZE / page) * page;
	case FUZZ_SIZE:
		left = (FUZZ_PLAY + FUZZ_PLAY_SIZE - previous) / page;
		return page * (1 + fuzz_rnd(f, left < 32 ? left : 32));
	case FUZZ_FENCE:
	case FUZZ_WORD:
		if (field->kind == FUZZ_FENCE && fuzz_one_in(f, 2))
			return 0;
		return FUZZ_PLAY + fuzz_rnd(f, WORDS(FUZZ_PLAY_SIZE)) * 8;
	case FUZZ_VALUE:
		return rnd(&f->seed) >> (1 + fuzz_rnd(f, 60));
	case FUZZ_ANY:
		return rnd(&f->seed);
	case FUZZ_PTR:
		return field->arg;
	case FUZZ_SHORT:
		return fuzz_rnd(f, 1000);
	case FUZZ_BYTES:
		return page * (1 + fuzz_rnd(f, 16));
	default:
		return 0;
	}
}

static inline void fuzz_valid_struct(struct fuzz *f, const struct fuzz_field *fields,
				     unsigned int num, void *base, unsigned int count,
				     unsigned int syncs)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < num; i++) {
		value = fuzz_valid(f, &fields[i], value,
				   fields[i].kind == FUZZ_SOME ? syncs : count);
		field_set(base, &fields[i], value);
	}
}

/* --------------------------------------------------------------- the tables */

static const struct fuzz_field sync_fields[] = {
	FIELD(drm_vsvm_sync, handle, SYNCOBJ, 0),
	FIELD(drm_vsvm_sync, flags, MASK, DRM_VSVM_SYNC_OUT),
	FIELD(drm_vsvm_sync, point, ZERO, 0),
};

static const struct fuzz_array sync_array = {
	sync_fields, ARRAY_SIZE(sync_fields), sizeof(struct drm_vsvm_sync), NULL,
};

static const struct fuzz_field instr_fields[] = {
	FIELD(drm_vsvm_instr, op, MOST, DRM_VSVM_OP_HISTOGRAM),
	FIELD(drm_vsvm_instr, flags, ZERO, 0),
	FIELD(drm_vsvm_instr, dst, WORD, 0),
	FIELD(drm_vsvm_instr, src, WORD, 0),
	FIELD(drm_vsvm_instr, len, BYTES, 0),
	FIELD(drm_vsvm_instr, value, WORD, 0),
};

static const char * const instr_kinds[] = {
	"nop", "fill", "copy", "add", "checksum", "compare", "atomic_add", "chase", "histogram",
};

static void fix_instrs(struct fuzz *f, void *elements, unsigned int count)
{
	struct drm_vsvm_instr *instr = elements;

	for (unsigned int i = 0; i < count; i++, instr++) {
		/* The whole of it, or a few words. */
		instr->len = 8 * (1 + fuzz_rnd(f, fuzz_one_in(f, 4) ? 2048 : 16));
		switch (instr->op) {
		case DRM_VSVM_OP_NOP:
			memset(instr, 0, sizeof(*instr));
			break;
		case DRM_VSVM_OP_FILL:
		case DRM_VSVM_OP_ADD:
		case DRM_VSVM_OP_ATOMIC_ADD:
			instr->src = 0;
			break;
		case DRM_VSVM_OP_COPY:
			instr->value = 0;
			instr->src = instr->dst + (instr->dst < FUZZ_PLAY + FUZZ_PLAY_SIZE / 2 ?
						   instr->len : -instr->len);
			break;
		case DRM_VSVM_OP_CHECKSUM:
		case DRM_VSVM_OP_CHASE:
		case DRM_VSVM_OP_HISTOGRAM:
			instr->value = 0;
			break;
		}
	}
}

static const struct fuzz_array instr_array = {
	instr_fields, ARRAY_SIZE(instr_fields), sizeof(struct drm_vsvm_instr), fix_instrs,
};

static const struct fuzz_field attr_fields[] = {
	FIELD(drm_vsvm_attr, type, MOST, DRM_VSVM_ATTR_ATOMICS),
	FIELD(drm_vsvm_attr, flags, ZERO, 0),
	FIELD(drm_vsvm_attr, value, MOST, 4),
	FIELD(drm_vsvm_attr, device, FD, 0),
};

static const char * const attr_kinds[] = {
	"location", "migration", "granularity", "residence", "access", "read_only", "atomics",
};

/* Each type once, with a value that it has. */
static void fix_attrs(struct fuzz *f, void *elements, unsigned int count)
{
	static const uint32_t max[] = { 2, 2, 51, 1000, 4, 1, 3 };
	struct drm_vsvm_attr *attr = elements;
	uint32_t type = attr->type;

	for (unsigned int i = 0; i < count; i++, attr++) {
		attr->type = (type + i) % ARRAY_SIZE(max);
		attr->value = fuzz_rnd(f, max[attr->type] + 1);
		if (attr->type == DRM_VSVM_ATTR_GRANULARITY && fuzz_one_in(f, 3))
			attr->value = DRM_VSVM_GRANULARITY_DEFAULT;
		if (attr->type == DRM_VSVM_ATTR_RESIDENCE && fuzz_one_in(f, 3))
			attr->value = DRM_VSVM_RESIDENCE_DEFAULT;
		if (attr->type != DRM_VSVM_ATTR_LOCATION ||
		    attr->value != DRM_VSVM_LOCATION_DEVICE)
			attr->device = 0;
	}
}

static const struct fuzz_array attr_array = {
	attr_fields, ARRAY_SIZE(attr_fields), sizeof(struct drm_vsvm_attr), fix_attrs,
};

static const struct fuzz_field ask_fields[] = {
	FIELD(drm_vsvm_attr, type, MOST, DRM_VSVM_ATTR_ATOMICS),
	FIELD(drm_vsvm_attr, flags, WRITTEN, 0),
	FIELD(drm_vsvm_attr, value, WRITTEN, 0),
	FIELD(drm_vsvm_attr, device, WRITTEN, 0),
};

static const struct fuzz_array ask_array = {
	ask_fields, ARRAY_SIZE(ask_fields), sizeof(struct drm_vsvm_attr), NULL,
};

static const struct fuzz_field op_fields[] = {
	FIELD(drm_vsvm_bind_op, type, MOST, DRM_VSVM_BIND_USERPTR),
	FIELD(drm_vsvm_bind_op, flags, MASK, DRM_VSVM_BIND_READ_ONLY),
	FIELD(drm_vsvm_bind_op, handle, HANDLE, 0),
	FIELD(drm_vsvm_bind_op, pad, ZERO, 0),
	FIELD(drm_vsvm_bind_op, addr, PAGE, 0),
	FIELD(drm_vsvm_bind_op, range, SIZE, 0),
	FIELD(drm_vsvm_bind_op, offset, PAGE, 0),
};

static bool vm_mirrors(const struct fuzz *f, uint32_t id)
{
	for (unsigned int i = 0; i < FUZZ_POOL; i++)
		if (f->at->vm[i] == id)
			return f->at->mirrors[i];
	return false;
}

static const char * const op_kinds[] = { "map", "unmap", "mirror", "unmirror", "userptr" };

static void fix_ops(struct fuzz *f, void *elements, unsigned int count)
{
	struct drm_vsvm_bind_op *op = elements;
	uint64_t page = page_size();

	for (unsigned int i = 0; i < count; i++, op++) {
		switch (op->type) {
		case DRM_VSVM_BIND_MAP:
			/* Objects have a few pages: most fit, some do not. */
			op->offset = page * fuzz_rnd(f, 4);
			op->range = page * (1 + fuzz_rnd(f, 4));
			break;
		case DRM_VSVM_BIND_UNMAP:
		case DRM_VSVM_BIND_UNMIRROR:
			op->flags = 0;
			op->handle = 0;
			op->offset = 0;
			break;
		default:
			op->handle = 0;
			break;
		}
	}
}

/* Operations that the VM has, whatever was chosen before it was known. */
static void fix_bind(struct fuzz *f, void *arg)
{
	static const uint32_t mirroring[] = {
		DRM_VSVM_BIND_MAP, DRM_VSVM_BIND_UNMAP, DRM_VSVM_BIND_MIRROR,
		DRM_VSVM_BIND_UNMIRROR,
	};
	static const uint32_t bound[] = {
		DRM_VSVM_BIND_MAP, DRM_VSVM_BIND_UNMAP, DRM_VSVM_BIND_USERPTR,
	};
	struct drm_vsvm_bind_op *op = (void *)FUZZ_ARRAY;
	struct drm_vsvm_vm_bind *bind = arg;

	/* Before that version there were only objects, on VMs without mirrors. */
	if (f->at->dev.info.abi_version < 5 && !fuzz_one_in(f, 8))
		bind->vm_id = f->at->vm[1];
	for (uint32_t i = 0; i < bind->num_ops; i++) {
		if (f->at->dev.info.abi_version < 5)
			op[i].type = fuzz_rnd(f, fuzz_one_in(f, 16) ? 5 : 2);
		else if (vm_mirrors(f, bind->vm_id))
			op[i].type = mirroring[fuzz_rnd(f, ARRAY_SIZE(mirroring))];
		else
			op[i].type = bound[fuzz_rnd(f, ARRAY_SIZE(bound))];
	}
	fix_ops(f, op, bind->num_ops);
	/* All is mirrored to begin with: what is to be has to be taken away before. */
	if (bind->num_ops > 1 && f->at->dev.info.abi_version >= 5 &&
	    vm_mirrors(f, bind->vm_id) && fuzz_one_in(f, 2)) {
		op[1].type = DRM_VSVM_BIND_MIRROR;
		op[1].handle = 0;
		op[1].offset = FUZZ_PLAY + fuzz_rnd(f, 128) * page_size();
		op[0] = (struct drm_vsvm_bind_op){
			.type = DRM_VSVM_BIND_UNMIRROR,
			.addr = op[1].addr,
			.range = op[1].range,
		};
	}
}

static const struct fuzz_array op_array = {
	op_fields, ARRAY_SIZE(op_fields), sizeof(struct drm_vsvm_bind_op), NULL,
};

static const struct fuzz_field query_fields[] = {
	FIELD(drm_vsvm_query, abi_version, WRITTEN, 0),
	FIELD(drm_vsvm_query, page_size, WRITTEN, 0),
	FIELD(drm_vsvm_query, va_end, WRITTEN, 0),
	FIELD(drm_vsvm_query, pad, ZERO, 0),
};

static const struct fuzz_field create_fields[] = {
	FIELD(drm_vsvm_vm_create, flags, MASK, DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_EAGER |
	      DRM_VSVM_VM_MIGRATE | DRM_VSVM_VM_SHARED_RESV | DRM_VSVM_VM_DEVICE_SVM),
	FIELD(drm_vsvm_vm_create, vm_id, WRITTEN, 0),
	FIELD(drm_vsvm_vm_create, pad, ZERO, 0),
};

static void fix_create(struct fuzz *f, void *arg)
{
	struct drm_vsvm_vm_create *create = arg;

	if (create->flags & ~DRM_VSVM_VM_SHARED_RESV)
		create->flags |= DRM_VSVM_VM_MIRROR;
	/* One of the back ends at most; most often the manager. */
	if (create->flags & DRM_VSVM_VM_DEVICE_SVM) {
		create->flags &= ~(DRM_VSVM_VM_DEVICE_SVM | DRM_VSVM_VM_EAGER);
		if (fuzz_one_in(f, 3))
			create->flags |= fuzz_one_in(f, 2) ? DRM_VSVM_VM_UPSTREAM :
							     DRM_VSVM_VM_TWO_PASS;
	}
}

static void fuzz_vm_destroy(struct fuzz *f, unsigned int i)
{
	struct drm_vsvm_vm_destroy destroy = { .vm_id = f->at->vm[i] };

	if (destroy.vm_id)
		ioctl(f->at->dev.fd, DRM_IOCTL_VSVM_VM_DESTROY, &destroy);
	f->at->vm[i] = 0;
}

static void done_create(struct fuzz *f, const void *arg)
{
	const struct drm_vsvm_vm_create *create = arg;
	unsigned int i = 2 + fuzz_rnd(f, FUZZ_POOL - 2);

	fuzz_vm_destroy(f, i);
	f->at->vm[i] = create->vm_id;
	f->at->mirrors[i] = create->flags & DRM_VSVM_VM_MIRROR;
}

static const struct fuzz_field destroy_fields[] = {
	FIELD(drm_vsvm_vm_destroy, vm_id, VM, 0),
	FIELD(drm_vsvm_vm_destroy, pad, ZERO, 0),
};

static void done_destroy(struct fuzz *f, const void *arg)
{
	const struct drm_vsvm_vm_destroy *destroy = arg;

	for (unsigned int i = 2; i < FUZZ_POOL; i++)
		if (f->at->vm[i] == destroy->vm_id)
			f->at->vm[i] = 0;
}

static const struct fuzz_field exec_fields[] = {
	FIELD(drm_vsvm_exec, vm_id, VM, 0),
	FIELD(drm_vsvm_exec, flags, ZERO, 0),
	FIELD(drm_vsvm_exec, queue, MOST, DRM_VSVM_MAX_QUEUES - 1),
	FIELD(drm_vsvm_exec, num_instrs, COUNT, 6),
	FIELD(drm_vsvm_exec, instrs, PTR, FUZZ_ARRAY),
	FIELD(drm_vsvm_exec, fence_addr, FENCE, 0),
	FIELD(drm_vsvm_exec, fence_value, VALUE, 0),
	FIELD(drm_vsvm_exec, job_id, WRITTEN, 0),
	FIELD(drm_vsvm_exec, pad, ZERO, 0),
	FIELD(drm_vsvm_exec, syncs, PTR, FUZZ_SYNCS),
	FIELD(drm_vsvm_exec, num_syncs, SOME, 2),
	FIELD(drm_vsvm_exec, pad2, ZERO, 0),
};

static void fix_exec(struct fuzz *f, void *arg)
{
	struct drm_vsvm_exec *exec = arg;

	if (!exec->fence_addr)
		exec->fence_value = 0;
	if (vm_mirrors(f, exec->vm_id))
		exec->num_syncs = 0;
}

static const struct fuzz_field wait_fields[] = {
	FIELD(drm_vsvm_wait, vm_id, VM, 0),
	FIELD(drm_vsvm_wait, pad, ZERO, 0),
	FIELD(drm_vsvm_wait, addr, WORD, 0),
	FIELD(drm_vsvm_wait, value, VALUE, 0),
	FIELD(drm_vsvm_wait, timeout_ns, SHORT, 0),
};

/* What the word is just now has been waited for. */
static void fix_wait(struct fuzz *f, void *arg)
{
	struct drm_vsvm_wait *wait = arg;

	if (fuzz_one_in(f, 2))
		wait->value = 0;
}

static const struct fuzz_field error_fields[] = {
	FIELD(drm_vsvm_error, vm_id, VM, 0),
	FIELD(drm_vsvm_error, flags, ZERO, 0),
	FIELD(drm_vsvm_error, job_id, WRITTEN, 0),
	FIELD(drm_vsvm_error, instr, WRITTEN, 0),
	FIELD(drm_vsvm_error, error, WRITTEN, 0),
	FIELD(drm_vsvm_error, addr, WRITTEN, 0),
	FIELD(drm_vsvm_error, lost, WRITTEN, 0),
	FIELD(drm_vsvm_error, pad, ZERO, 0),
};

static const struct fuzz_field stats_fields[] = {
	FIELD(drm_vsvm_stats, vm_id, VM, 0),
	FIELD(drm_vsvm_stats, flags, ZERO, 0),
	FIELD(drm_vsvm_stats, size, MOST, 4096),
	FIELD(drm_vsvm_stats, pad, ZERO, 0),
	FIELD(drm_vsvm_stats, data, PTR, FUZZ_OUT),
};

static const struct fuzz_field gem_fields[] = {
	FIELD(drm_vsvm_gem_create, size, BYTES, 0),
	FIELD(drm_vsvm_gem_create, placement, MOST, DRM_VSVM_PLACEMENT_DEVICE),
	FIELD(drm_vsvm_gem_create, flags, MASK, DRM_VSVM_GEM_VM),
	FIELD(drm_vsvm_gem_create, vm_id, VM, 2),
	FIELD(drm_vsvm_gem_create, handle, WRITTEN, 0),
	FIELD(drm_vsvm_gem_create, pad, ZERO, 0),
};

static void fix_gem(struct fuzz *f, void *arg)
{
	struct drm_vsvm_gem_create *gem = arg;

	(void)f;
	if (!(gem->flags & DRM_VSVM_GEM_VM))
		gem->vm_id = 0;
}

static void fuzz_add_handle(struct fuzz *f, uint32_t handle)
{
	struct drm_gem_close close = { 0 };
	unsigned int i = 1 + fuzz_rnd(f, FUZZ_POOL - 1);

	for (unsigned int k = 0; k < FUZZ_POOL; k++)
		/* An object that was imported where it is already keeps its handle. */
		if (f->at->handle[k] == handle)
			return;
	close.handle = f->at->handle[i];
	if (close.handle)
		ioctl(f->at->dev.fd, DRM_IOCTL_GEM_CLOSE, &close);
	f->at->handle[i] = handle;
}

static void done_gem(struct fuzz *f, const void *arg)
{
	fuzz_add_handle(f, ((const struct drm_vsvm_gem_create *)arg)->handle);
}

static const struct fuzz_field offset_fields[] = {
	FIELD(drm_vsvm_gem_mmap_offset, handle, HANDLE, 0),
	FIELD(drm_vsvm_gem_mmap_offset, flags, ZERO, 0),
	FIELD(drm_vsvm_gem_mmap_offset, offset, WRITTEN, 0),
	FIELD(drm_vsvm_gem_mmap_offset, pad, ZERO, 0),
};

/* Sometimes it is mapped, too, where devices look for ordinary memory. */
static void done_offset(struct fuzz *f, const void *arg)
{
	const struct drm_vsvm_gem_mmap_offset *offset = arg;
	uint64_t page = page_size();
	void *at = (void *)(FUZZ_PLAY + fuzz_rnd(f, FUZZ_PLAY_SIZE / page) * page);

	/* Where that fails nothing has changed. */
	if (fuzz_one_in(f, 2))
		mmap(at, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f->at->dev.fd,
		     offset->offset);
}

static const struct fuzz_field bind_fields[] = {
	FIELD(drm_vsvm_vm_bind, vm_id, VM, 0),
	FIELD(drm_vsvm_vm_bind, flags, ZERO, 0),
	FIELD(drm_vsvm_vm_bind, num_ops, COUNT, 4),
	FIELD(drm_vsvm_vm_bind, num_syncs, SOME, 2),
	FIELD(drm_vsvm_vm_bind, ops, PTR, FUZZ_ARRAY),
	FIELD(drm_vsvm_vm_bind, syncs, PTR, FUZZ_SYNCS),
	FIELD(drm_vsvm_vm_bind, vms, ZERO, 0),
	FIELD(drm_vsvm_vm_bind, num_vms, ZERO, 0),
	FIELD(drm_vsvm_vm_bind, pad, ZERO, 0),
};

/* The same call, with further VMs: here those of other devices that are bound. */
static const struct fuzz_field binds_fields[] = {
	FIELD(drm_vsvm_vm_bind, vm_id, VM, 2),
	FIELD(drm_vsvm_vm_bind, flags, ZERO, 0),
	FIELD(drm_vsvm_vm_bind, num_ops, COUNT, 4),
	FIELD(drm_vsvm_vm_bind, num_syncs, SOME, 2),
	FIELD(drm_vsvm_vm_bind, ops, PTR, FUZZ_ARRAY),
	FIELD(drm_vsvm_vm_bind, syncs, PTR, FUZZ_SYNCS),
	FIELD(drm_vsvm_vm_bind, vms, PTR, FUZZ_VMS),
	FIELD(drm_vsvm_vm_bind, num_vms, MOST, 3),
	FIELD(drm_vsvm_vm_bind, pad, ZERO, 0),
};

static const struct fuzz_field bind_vm_fields[] = {
	FIELD(drm_vsvm_bind_vm, device, FD, 0),
	FIELD(drm_vsvm_bind_vm, vm_id, VM, 2),
	FIELD(drm_vsvm_bind_vm, num_ops, MOST, 4),
	FIELD(drm_vsvm_bind_vm, pad, ZERO, 0),
	FIELD(drm_vsvm_bind_vm, ops, PTR, FUZZ_ARRAY),
};

static const struct fuzz_array bind_vm_array = {
	bind_vm_fields, ARRAY_SIZE(bind_vm_fields), sizeof(struct drm_vsvm_bind_vm), NULL,
};

/* What may be there at all. */
static const char * const binds_kinds[] = { "map", "unmap" };

static void fix_binds(struct fuzz *f, void *arg)
{
	struct drm_vsvm_bind_vm *vms = (void *)FUZZ_VMS;
	struct drm_vsvm_bind_op *op = (void *)FUZZ_ARRAY;
	struct drm_vsvm_vm_bind *bind = arg;
	unsigned int at = f->at - f->dev;

	/* The same operations for all. The first object has the same handle everywhere. */
	for (uint32_t i = 0; i < bind->num_ops; i++) {
		op[i].type = fuzz_one_in(f, 16) ? DRM_VSVM_BIND_USERPTR : fuzz_rnd(f, 2);
		op[i].addr += fuzz_one_in(f, 8) ? 0 : FUZZ_ASIDE;
		if (!fuzz_one_in(f, 4))
			op[i].handle = f->at->handle[0];
	}
	fix_ops(f, op, bind->num_ops);
	/* Each VM once, or one of them more often. */
	bind->num_vms = 1 + fuzz_rnd(f, fuzz_one_in(f, 8) ? f->n : f->n - 1);
	for (uint32_t i = 0; i < bind->num_vms; i++) {
		const struct fuzz_dev *dev = &f->dev[(at + 1 + i) % f->n];

		vms[i] = (struct drm_vsvm_bind_vm) {
			.device = dev->dev.fd,
			.vm_id = dev->vm[1],
			.num_ops = 1 + fuzz_rnd(f, bind->num_ops),
			.ops = FUZZ_ARRAY,
		};
		if (fuzz_one_in(f, 16)) {
			vms[i].device = DRM_VSVM_THIS_DEVICE;
			vms[i].vm_id = f->at->vm[fuzz_rnd(f, FUZZ_POOL)];
		}
	}
}

static const struct fuzz_field set_fields[] = {
	FIELD(drm_vsvm_attr_set, vm_id, VM, 1),
	FIELD(drm_vsvm_attr_set, flags, ZERO, 0),
	FIELD(drm_vsvm_attr_set, start, PAGE, 0),
	FIELD(drm_vsvm_attr_set, size, SIZE, 0),
	FIELD(drm_vsvm_attr_set, attrs, PTR, FUZZ_ARRAY),
	FIELD(drm_vsvm_attr_set, num_attrs, COUNT, 7),
	FIELD(drm_vsvm_attr_set, pad, ZERO, 0),
};

static const struct fuzz_field get_fields[] = {
	FIELD(drm_vsvm_attr_get, vm_id, VM, 1),
	FIELD(drm_vsvm_attr_get, flags, ZERO, 0),
	FIELD(drm_vsvm_attr_get, start, PAGE, 0),
	FIELD(drm_vsvm_attr_get, size, SIZE, 0),
	FIELD(drm_vsvm_attr_get, attrs, PTR, FUZZ_ARRAY),
	FIELD(drm_vsvm_attr_get, num_attrs, COUNT, 16),
	FIELD(drm_vsvm_attr_get, pad, ZERO, 0),
};

static const struct fuzz_field next_fields[] = {
	FIELD(drm_vsvm_attr_next, vm_id, VM, 1),
	FIELD(drm_vsvm_attr_next, flags, ZERO, 0),
	FIELD(drm_vsvm_attr_next, start, PAGE, 0),
	FIELD(drm_vsvm_attr_next, size, ZERO, 0),
	FIELD(drm_vsvm_attr_next, attrs, PTR, FUZZ_ARRAY),
	FIELD(drm_vsvm_attr_next, num_attrs, COUNT, 16),
	FIELD(drm_vsvm_attr_next, pad, ZERO, 0),
};

static const struct fuzz_field reset_fields[] = {
	FIELD(drm_vsvm_attr_reset, vm_id, VM, 1),
	FIELD(drm_vsvm_attr_reset, flags, ZERO, 0),
	FIELD(drm_vsvm_attr_reset, start, PAGE, 0),
	FIELD(drm_vsvm_attr_reset, size, SIZE, 0),
};

static const struct fuzz_field prefetch_fields[] = {
	FIELD(drm_vsvm_prefetch, vm_id, VM, 1),
	FIELD(drm_vsvm_prefetch, flags, MASK, DRM_VSVM_PREFETCH_MAP),
	FIELD(drm_vsvm_prefetch, start, PAGE, 0),
	FIELD(drm_vsvm_prefetch, size, SIZE, 0),
	FIELD(drm_vsvm_prefetch, location, MOST, DRM_VSVM_LOCATION_DEVICE),
	FIELD(drm_vsvm_prefetch, device, FD, 0),
	FIELD(drm_vsvm_prefetch, fence_addr, FENCE, 0),
	FIELD(drm_vsvm_prefetch, fence_value, VALUE, 0),
	FIELD(drm_vsvm_prefetch, missed, ZERO, 0),
	FIELD(drm_vsvm_prefetch, job_id, WRITTEN, 0),
	FIELD(drm_vsvm_prefetch, pad, ZERO, 0),
};

static void fix_prefetch(struct fuzz *f, void *arg)
{
	struct drm_vsvm_prefetch *prefetch = arg;

	(void)f;
	if (prefetch->location == DRM_VSVM_LOCATION_DEFAULT)
		prefetch->location = DRM_VSVM_LOCATION_SYSTEM;
	if (prefetch->location == DRM_VSVM_LOCATION_SYSTEM)
		prefetch->device = 0;
	if (!prefetch->fence_addr)
		prefetch->fence_value = 0;
}

static const struct fuzz_field close_fields[] = {
	FIELD(drm_gem_close, handle, HANDLE, 0),
	FIELD(drm_gem_close, pad, WRITTEN, 0),
};

static void done_close(struct fuzz *f, const void *arg)
{
	const struct drm_gem_close *close = arg;

	for (unsigned int i = 0; i < FUZZ_POOL; i++)
		if (f->at->handle[i] == close->handle)
			f->at->handle[i] = 0;
}

static const struct fuzz_field export_fields[] = {
	FIELD(drm_prime_handle, handle, HANDLE, 0),
	FIELD(drm_prime_handle, flags, MASK, DRM_CLOEXEC | DRM_RDWR),
	FIELD(drm_prime_handle, fd, WRITTEN, 0),
};

static void done_export(struct fuzz *f, const void *arg)
{
	unsigned int i = fuzz_rnd(f, FUZZ_POOL);

	if (f->dmabuf[i] >= 0)
		close(f->dmabuf[i]);
	f->dmabuf[i] = ((const struct drm_prime_handle *)arg)->fd;
}

static const struct fuzz_field import_fields[] = {
	FIELD(drm_prime_handle, handle, WRITTEN, 0),
	FIELD(drm_prime_handle, flags, WRITTEN, 0),
	FIELD(drm_prime_handle, fd, DMABUF, 0),
};

static void done_import(struct fuzz *f, const void *arg)
{
	fuzz_add_handle(f, ((const struct drm_prime_handle *)arg)->handle);
}

#define CALL(name_, request_, fields_)						\
	.name = name_, .request = request_, .fields = fields_,			\
	.num_fields = ARRAY_SIZE(fields_)
#define KINDS(names_)	.kinds = names_, .num_kinds = ARRAY_SIZE(names_)

/*
 * No ENODEV: no device is removed. No EINTR: nobody sends signals. No EPERM but where
 * it means something else: the VMs are of this process.
 */
static const struct fuzz_call fuzz_calls[] = {
	{
		CALL("query", DRM_IOCTL_VSVM_QUERY, query_fields), .weight = 1,
	}, {
		CALL("vm_create", DRM_IOCTL_VSVM_VM_CREATE, create_fields),
		.fix = fix_create, .done = done_create, .errors = { ENOSPC, ENOMEM }, .weight = 2,
	}, {
		CALL("vm_destroy", DRM_IOCTL_VSVM_VM_DESTROY, destroy_fields),
		.done = done_destroy, .errors = { ENOENT }, .weight = 1,
	}, {
		CALL("exec", DRM_IOCTL_VSVM_EXEC, exec_fields), .array = &instr_array,
		KINDS(instr_kinds), .fix = fix_exec,
		/* User pointers, when a job is submitted: EPERM, EIO, EBUSY. */
		.errors = { ENOENT, ENOMEM, EPERM, EIO, EBUSY }, .weight = 8,
	}, {
		CALL("wait", DRM_IOCTL_VSVM_WAIT, wait_fields), .fix = fix_wait,
		.errors = { ENOENT, EIO, ETIME }, .weight = 2,
	}, {
		CALL("error", DRM_IOCTL_VSVM_ERROR, error_fields),
		.errors = { ENOENT, ENODATA }, .weight = 2,
	}, {
		CALL("stats", DRM_IOCTL_VSVM_STATS, stats_fields), .errors = { ENOENT },
		.weight = 1,
	}, {
		CALL("gem_create", DRM_IOCTL_VSVM_GEM_CREATE, gem_fields), .fix = fix_gem,
		.done = done_gem, .errors = { ENOENT, ENOMEM }, .weight = 3,
	}, {
		CALL("gem_mmap_offset", DRM_IOCTL_VSVM_GEM_MMAP_OFFSET, offset_fields),
		.done = done_offset, .errors = { ENOENT, ENOMEM }, .weight = 1,
	}, {
		CALL("vm_bind", DRM_IOCTL_VSVM_VM_BIND, bind_fields), .array = &op_array,
		KINDS(op_kinds), .fix = fix_bind,
		.errors = { ENOENT, ENOMEM, EEXIST, EOPNOTSUPP }, .weight = 8,
	}, {
		CALL("attr_set", DRM_IOCTL_VSVM_ATTR_SET, set_fields), .array = &attr_array,
		KINDS(attr_kinds), .errors = { ENOENT, EBADF, EOPNOTSUPP, ENOSPC, ENOMEM },
		.weight = 8,
	}, {
		CALL("attr_get", DRM_IOCTL_VSVM_ATTR_GET, get_fields), .array = &ask_array,
		.errors = { ENOENT, EOPNOTSUPP, ENOMEM }, .weight = 3,
	}, {
		CALL("attr_next", DRM_IOCTL_VSVM_ATTR_NEXT, next_fields), .array = &ask_array,
		.errors = { ENOENT, EOPNOTSUPP, ENODATA, ENOMEM }, .weight = 3,
	}, {
		CALL("attr_reset", DRM_IOCTL_VSVM_ATTR_RESET, reset_fields),
		.errors = { ENOENT, EOPNOTSUPP, ENOMEM }, .weight = 2,
	}, {
		CALL("prefetch", DRM_IOCTL_VSVM_PREFETCH, prefetch_fields), .fix = fix_prefetch,
		.errors = { ENOENT, EBADF, EOPNOTSUPP, EBUSY, ENOMEM }, .weight = 5,
	}, {
		CALL("gem_close", DRM_IOCTL_GEM_CLOSE, close_fields), .done = done_close,
		.weight = 1,
	}, {
		/* What the core of DRM says. */
		CALL("handle_to_fd", DRM_IOCTL_PRIME_HANDLE_TO_FD, export_fields),
		.done = done_export, .errors = { ENOENT, EPERM, ENOSYS, ENOMEM }, .weight = 1,
	}, {
		CALL("fd_to_handle", DRM_IOCTL_PRIME_FD_TO_HANDLE, import_fields),
		.done = done_import, .errors = { EBADF, ENOENT, EPERM, ENOSYS, ENOMEM },
		.weight = 1,
	}, {
		CALL("vm_bind_vms", DRM_IOCTL_VSVM_VM_BIND, binds_fields), .array = &op_array,
		.more = &bind_vm_array, KINDS(binds_kinds), .fix = fix_binds,
		.errors = { ENOENT, ENOMEM, EBADF, EOPNOTSUPP }, .weight = 4,
	},
};

#define FUZZ_CALLS	ARRAY_SIZE(fuzz_calls)

/* ---------------------------------------------------------------- mutations */

/* What programs get wrong: next to a bound, far beyond, or of another kind. */
static inline uint64_t fuzz_odd(struct fuzz *f, uint64_t old)
{
	static const uint64_t edges[] = {
		0, 1, 7, 8, 0xfff, 0x1000, 0x1001, 0x7fffffff, 0x80000000, 0xffffffff,
		0x100000000, 0x1000000000, 0x7fffffffe000, 0x7ffffffff000, 0x800000000000,
		0x00ffffffffffffff, 0x7fffffffffffffff, 0x8000000000000000,
		0xffff888000000000, 0xffffffff81000000, 0xfffffffffffff000,
		0xffffffffffffffff,
	};

	switch (fuzz_rnd(f, 8)) {
	case 0:
		return rnd(&f->seed);
	case 1:
		return old ^ 1ULL << fuzz_rnd(f, 64);
	case 2:
		return old + 1;
	case 3:
		return old - 1;
	case 4:
		return -old;
	case 5:
		return fuzz_rnd(f, 300);
	case 6:
		return old + page_size() / 2;
	default:
		return edges[fuzz_rnd(f, ARRAY_SIZE(edges))];
	}
}

/* A user address in our window; others are nobody's, and stay what they are. */
static inline uint64_t fuzz_window(uint64_t addr)
{
	if (addr < FUZZ_LOW || addr >= FUZZ_USER_END)
		return addr;
	addr = FUZZ_BASE | (addr & (FUZZ_WINDOW - 1));
	/* A device does not write what a call is made of. */
	if (addr < FUZZ_ARGS + FUZZ_ARGS_SIZE)
		addr = FUZZ_PLAY | (addr & (FUZZ_PLAY_SIZE - 1));
	return addr;
}

static inline void fuzz_tame_fields(const struct fuzz_field *fields, unsigned int num,
				    void *base)
{
	for (unsigned int i = 0; i < num; i++) {
		uint64_t value = field_get(base, &fields[i]);

		switch (fields[i].kind) {
		case FUZZ_PAGE:
		case FUZZ_FENCE:
		case FUZZ_WORD:
			value = fuzz_window(value);
			break;
		case FUZZ_PTR:
			/* Never what devices wrote, which then would be a program. */
			if (value >= FUZZ_LOW && value < FUZZ_USER_END)
				value = FUZZ_ARGS | (value & (FUZZ_ARGS_SIZE - 1));
			break;
		case FUZZ_SHORT:
			value &= 1023;
			break;
		case FUZZ_BYTES:
			/* All of them together have to fit; what is absurd is refused. */
			if (value < 1ULL << 40)
				value %= 256 * KIB;
			break;
		}
		field_set(base, &fields[i], value);
	}
}

static inline void fuzz_tame_instr(struct drm_vsvm_instr *instr)
{
	/* Long enough to be seen, but it ends. */
	if ((instr->op == DRM_VSVM_OP_ATOMIC_ADD || instr->op == DRM_VSVM_OP_CHASE) &&
	    instr->len > 4096 && instr->len <= DRM_VSVM_MAX_LEN)
		instr->len &= 0xfff;
}

/* What a device sees at its addresses in the window is in the window, too. */
static inline void fuzz_tame_op(struct drm_vsvm_bind_op *op)
{
	if (op->type != DRM_VSVM_BIND_MIRROR && op->type != DRM_VSVM_BIND_USERPTR)
		return;
	if (op->offset < FUZZ_LOW)
		op->offset += FUZZ_PLAY;
	if (op->range >= FUZZ_WINDOW && op->range < FUZZ_USER_END)
		op->range = (op->range & (FUZZ_PLAY_SIZE - 1)) | page_size();
}

/**
 * fuzz_tame - Keep a call from destroying what runs the fuzzer, or lasting for ever
 * @f: the fuzzer
 * @call: the call
 */
static inline void fuzz_tame(struct fuzz *f, const struct fuzz_call *call)
{
	struct drm_vsvm_vm_destroy *destroy = (void *)FUZZ_ARGS;
	const struct fuzz_array *array = call->array;

	fuzz_tame_fields(call->fields, call->num_fields, (void *)FUZZ_ARGS);
	/* An array may be anywhere in what calls point to, and as long as that. */
	if (array == &instr_array || array == &op_array) {
		for (uint64_t at = FUZZ_ARRAY; at + array->size <= FUZZ_ARRAY + 0x1000;
		     at += array->size) {
			fuzz_tame_fields(array->fields, array->num_fields, (void *)at);
			if (array == &instr_array)
				fuzz_tame_instr((void *)at);
			else
				fuzz_tame_op((void *)at);
		}
	}
	for (unsigned int i = 0; call->more && i < DRM_VSVM_MAX_BIND_VMS; i++)
		fuzz_tame_fields(call->more->fields, call->more->num_fields,
				 (char *)FUZZ_VMS + i * call->more->size);
	if (call->request == DRM_IOCTL_VSVM_VM_DESTROY &&
	    (destroy->vm_id == f->at->vm[0] || destroy->vm_id == f->at->vm[1]))
		destroy->vm_id = 0;
	/* The first object stays. */
	if (call->request == DRM_IOCTL_GEM_CLOSE &&
	    ((struct drm_gem_close *)FUZZ_ARGS)->handle == f->at->handle[0])
		((struct drm_gem_close *)FUZZ_ARGS)->handle = 0;
}

/**
 * fuzz_make - Make the argument of a call, and what it points to
 * @f: the fuzzer; the device is chosen
 * @call: the call
 *
 * Half of them are valid as far as one can say: of the others one to three members
 * are not, or all of it is bytes that mean nothing.
 */
static inline void fuzz_make(struct fuzz *f, const struct fuzz_call *call)
{
	unsigned int count = 1, syncs = fuzz_rnd(f, 3), mutations;
	const struct fuzz_array *array = call->array;

	f->valid = fuzz_one_in(f, 2);
	memset((void *)FUZZ_ARGS, 0, 0x6000);
	for (unsigned int i = 0; array && i < call->num_fields; i++)
		if (call->fields[i].kind == FUZZ_COUNT)
			count = 1 + fuzz_rnd(f, call->fields[i].arg);
	if (array) {
		for (unsigned int i = 0; i < count; i++)
			fuzz_valid_struct(f, array->fields, array->num_fields,
					  (char *)FUZZ_ARRAY + i * array->size, 0, 0);
		if (array->fix)
			array->fix(f, (void *)FUZZ_ARRAY, count);
	}
	for (unsigned int i = 0; i < 2; i++)
		fuzz_valid_struct(f, sync_fields, ARRAY_SIZE(sync_fields),
				  (char *)FUZZ_SYNCS + i * sync_array.size, 0, 0);
	fuzz_valid_struct(f, call->fields, call->num_fields, (void *)FUZZ_ARGS, count, syncs);
	if (call->fix)
		call->fix(f, (void *)FUZZ_ARGS);
	if (f->valid)
		goto tame;

	if (fuzz_one_in(f, 8)) {
		for (unsigned int i = 0; i < _IOC_SIZE(call->request); i++)
			((uint8_t *)FUZZ_ARGS)[i] = rnd(&f->seed) >> 24;
		goto tame;
	}
	mutations = 1 + fuzz_rnd(f, 3);
	while (mutations--) {
		const struct fuzz_field *field = &call->fields[fuzz_rnd(f, call->num_fields)];
		char *base = (char *)FUZZ_ARGS;

		if (array && fuzz_one_in(f, 2)) {
			field = &array->fields[fuzz_rnd(f, array->num_fields)];
			base = (char *)FUZZ_ARRAY + fuzz_rnd(f, count) * array->size;
		} else if (call->more && fuzz_one_in(f, 2)) {
			field = &call->more->fields[fuzz_rnd(f, call->more->num_fields)];
			base = (char *)FUZZ_VMS + fuzz_rnd(f, 2) * call->more->size;
		} else if (syncs && fuzz_one_in(f, 8)) {
			field = &sync_fields[fuzz_rnd(f, ARRAY_SIZE(sync_fields))];
			base = (char *)FUZZ_SYNCS + fuzz_rnd(f, 2) * sync_array.size;
		}
		/* A file of another kind, for where a device is expected. */
		if ((field->kind == FUZZ_FD || field->kind == FUZZ_DMABUF) && fuzz_one_in(f, 2))
			field_set(base, field, f->fd[fuzz_rnd(f, ARRAY_SIZE(f->fd))]);
		else
			field_set(base, field, fuzz_odd(f, field_get(base, field)));
	}
tame:
	fuzz_tame(f, call);
}

#endif /* _GPUSVM_FUZZ_H_ */
