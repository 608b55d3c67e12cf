/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * libvsvm - a small C API for vsvm, the virtual GPUs of drm_gpusvm_mgr
 *
 * A process opens the devices that it wants to use, creates a VM on each, and
 * submits jobs. A VM that mirrors sees the address space of the process: an
 * address in a job is an ordinary pointer.
 *
 *	struct vsvm_device dev;
 *	struct vsvm_vm vm;
 *	VSVM_JOB(job, 2);
 *	uint64_t *data = malloc(4096), sum;
 *
 *	ret = vsvm_open(&dev, 0);
 *	ret = vsvm_vm_create(&dev, DRM_VSVM_VM_MIRROR, &vm);
 *	vsvm_job_fill(&job, data, 4096, 42);
 *	vsvm_job_checksum(&job, &sum, data, 4096);
 *	ret = vsvm_run(&vm, 0, &job, 1000000000);
 *	vsvm_vm_destroy(&vm);
 *	vsvm_close(&dev);
 *
 * Rules that hold for all calls:
 *
 * - A call that returns int returns 0 (or what its comment says) on success and
 *   a negative errno otherwise. A call that fails changes nothing, and leaves
 *   what it would have filled in undefined but for what its comment says.
 * - All objects belong to the caller and are plain structures: on the stack,
 *   static, or in memory of any kind. The library has no state of its own, and
 *   so no lock: calls on different objects may run at the same time. So may
 *   vsvm_exec(), vsvm_wait(), vsvm_error_take() and vsvm_stats() on one VM.
 * - Nothing is allocated, but where the comment of a call says so; nothing
 *   between building a job and seeing its end is.
 * - A signal does not end a call, but where its comment says so.
 * - -ENODEV from any call: the device was removed.
 *
 * What is not wrapped is reached with drmIoctl() on vsvm_device.fd.
 */

#ifndef _LIBVSVM_H_
#define _LIBVSVM_H_

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include <drm/vsvm_drm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ devices */

/** struct vsvm_device - An open device */
struct vsvm_device {
	/** @fd: the render node, -1 after vsvm_close() */
	int fd;
	/** @minor: number of the render node, as in /dev/dri/renderD128 */
	unsigned int minor;
	/** @info: what the device said when it was opened */
	struct drm_vsvm_query info;
};

/** VSVM_MAX_DEVICES - Most devices that vsvm_list() finds */
#define VSVM_MAX_DEVICES	64

/**
 * vsvm_list - Find the devices
 * @minors: where to put the numbers of the render nodes; may be NULL
 * @max: size of @minors
 *
 * Looks at each render node in /dev/dri whose driver is named "vsvm", in the
 * order of &drm_vsvm_query.index. Nodes that cannot be opened are passed over.
 *
 * libdrm's drmGetDevices2() is not used: up to 2.4.114 at least it knows PCI,
 * USB, platform, SPI, host1x and virtio devices only, and leaves devices of
 * the faux bus out.
 *
 * Allocates and frees memory (opendir() and drmGetVersion() do).
 *
 * Return: number of devices found, also where it is greater than @max (then
 * only the first @max are stored), at most %VSVM_MAX_DEVICES; 0 where there is
 * none; -ENOMEM.
 */
int vsvm_list(unsigned int *minors, unsigned int max);

/**
 * vsvm_open - Open a device by its place in the list
 * @dev: filled in
 * @nr: number of the device, from 0, as vsvm_list() orders them
 *
 * Allocates and frees memory as vsvm_list() does. The file descriptor is
 * close-on-exec.
 *
 * Return: 0; -ENODEV: there is no such device; -EACCES: its node may not be
 * opened; what open(2) or vsvm_query() says.
 */
int vsvm_open(struct vsvm_device *dev, unsigned int nr);

/**
 * vsvm_open_minor - Open a device by the number of its render node
 * @dev: filled in
 * @minor: number, for example 128
 *
 * Return: as vsvm_open(); also -ENODEV where the node belongs to another
 * driver, and -EPROTO where its ABI is older than this library.
 */
int vsvm_open_minor(struct vsvm_device *dev, unsigned int minor);

/**
 * vsvm_close - Close a device
 * @dev: the device; closing it twice is allowed
 *
 * Ends the VMs that were created on it as vsvm_vm_destroy() does.
 */
void vsvm_close(struct vsvm_device *dev);

/**
 * vsvm_query - Ask a device what it is
 * @dev: the device
 * @info: filled in
 *
 * vsvm_open() has asked already, see &vsvm_device.info.
 */
int vsvm_query(const struct vsvm_device *dev, struct drm_vsvm_query *info);

/* ---------------------------------------------------------------------- VMs */

/**
 * struct vsvm_vm - A VM of a device
 *
 * vsvm_run() has its fences in here, which the device writes through the VM:
 * the structure must stay in place until the VM is destroyed.
 */
struct vsvm_vm {
	/** @fd: render node of the device, not owned */
	int fd;
	/** @id: the VM's id on this file, 0 after vsvm_vm_destroy() */
	uint32_t id;
	/** @value: per queue, the last fence value that vsvm_run() used */
	uint64_t value[DRM_VSVM_MAX_QUEUES];
	/** @fence: per queue, the fence of vsvm_run() */
	uint64_t fence[DRM_VSVM_MAX_QUEUES];
};

/**
 * vsvm_vm_create - Create a VM
 * @dev: the device, which must stay open as long as the VM is used
 * @flags: DRM_VSVM_VM_*; without %DRM_VSVM_VM_MIRROR the VM sees only what is
 *	bound, see vsvm_vm_bind()
 * @vm: filled in
 *
 * Return: 0; -EINVAL: bad flags; -ENOSPC: too many VMs in the process or on
 * the file; -EOPNOTSUPP: the device cannot reach memory; -ENOMEM.
 */
int vsvm_vm_create(const struct vsvm_device *dev, uint32_t flags, struct vsvm_vm *vm);

/**
 * vsvm_vm_destroy - Destroy a VM
 * @vm: the VM
 *
 * Jobs that have not ended are cancelled. When the call returns the device no
 * longer touches the memory of the process for this VM.
 *
 * Return: 0; -ENOENT: destroyed already; -EPERM: the VM is another process's.
 */
int vsvm_vm_destroy(struct vsvm_vm *vm);

/* --------------------------------------------------------------------- jobs */

/**
 * struct vsvm_job - A job that is being built
 *
 * An array of instructions that belongs to the caller, and how many of them
 * are in use. A job is not changed by vsvm_exec(), so it can be submitted many
 * times, also at the same time and to different VMs.
 */
struct vsvm_job {
	/** @instrs: the instructions */
	struct drm_vsvm_instr *instrs;
	/** @num: how many are in use */
	uint32_t num;
	/** @max: size of @instrs */
	uint32_t max;
	/** @error: first error met while building, or 0; vsvm_exec() returns it */
	int error;
};

/** VSVM_JOB - Define a job with place for so many instructions as variables */
#define VSVM_JOB(_name, _max)						\
	struct drm_vsvm_instr _name##_instrs[_max];			\
	struct vsvm_job _name = { .instrs = _name##_instrs, .max = (_max) }

/**
 * vsvm_job_init - Start a job
 * @job: the job
 * @instrs: place for its instructions
 * @max: how many that are
 */
static inline void vsvm_job_init(struct vsvm_job *job, struct drm_vsvm_instr *instrs,
				 uint32_t max)
{
	job->instrs = instrs;
	job->num = 0;
	job->max = max;
	job->error = 0;
}

/**
 * vsvm_job_reset - Start a job again in the same place
 * @job: the job
 */
static inline void vsvm_job_reset(struct vsvm_job *job)
{
	job->num = 0;
	job->error = 0;
}

/**
 * vsvm_job_add_instr - Append any instruction, right or wrong
 * @job: the job
 * @instr: the instruction, copied
 *
 * The helpers below return what this returns. It is not necessary to look at
 * it: the first error is kept in the job, and vsvm_exec() refuses such a job.
 *
 * Return: 0; -ENOSPC: no place left.
 */
int vsvm_job_add_instr(struct vsvm_job *job, const struct drm_vsvm_instr *instr);

/* An address as it stands in an instruction */
static inline uint64_t vsvm_addr(const volatile void *ptr)
{
	return (uintptr_t)ptr;
}

/** vsvm_job_nop - Do nothing */
static inline int vsvm_job_nop(struct vsvm_job *job)
{
	const struct drm_vsvm_instr instr = { .op = DRM_VSVM_OP_NOP };

	return vsvm_job_add_instr(job, &instr);
}

/** vsvm_job_fill - Write @value to each word of the @len bytes from @dst */
static inline int vsvm_job_fill(struct vsvm_job *job, volatile void *dst, uint64_t len,
				uint64_t value)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_FILL, .dst = vsvm_addr(dst), .len = len, .value = value,
	};

	return vsvm_job_add_instr(job, &instr);
}

/** vsvm_job_copy - Copy @len bytes from @src to @dst */
static inline int vsvm_job_copy(struct vsvm_job *job, volatile void *dst,
				const volatile void *src, uint64_t len)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_COPY, .dst = vsvm_addr(dst), .src = vsvm_addr(src), .len = len,
	};

	return vsvm_job_add_instr(job, &instr);
}

/** vsvm_job_add - Add @value to each word of the @len bytes from @dst */
static inline int vsvm_job_add(struct vsvm_job *job, volatile void *dst, uint64_t len,
			       uint64_t value)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_ADD, .dst = vsvm_addr(dst), .len = len, .value = value,
	};

	return vsvm_job_add_instr(job, &instr);
}

/** vsvm_job_checksum - Write the checksum of @len bytes from @src to @dst, see vsvm_checksum() */
static inline int vsvm_job_checksum(struct vsvm_job *job, volatile uint64_t *dst,
				    const volatile void *src, uint64_t len)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_CHECKSUM, .dst = vsvm_addr(dst), .src = vsvm_addr(src),
		.len = len,
	};

	return vsvm_job_add_instr(job, &instr);
}

/**
 * vsvm_job_compare - Write to @dst the offset of the first of @len bytes that
 * differs between @a and @b, ~0 where none does
 */
static inline int vsvm_job_compare(struct vsvm_job *job, volatile uint64_t *dst,
				   const volatile void *a, const volatile void *b, uint64_t len)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_COMPARE, .dst = vsvm_addr(dst), .src = vsvm_addr(a), .len = len,
		.value = vsvm_addr(b),
	};

	return vsvm_job_add_instr(job, &instr);
}

/** vsvm_job_atomic_add - Add @value to the word at @dst atomically, @times times */
static inline int vsvm_job_atomic_add(struct vsvm_job *job, volatile uint64_t *dst,
				      uint64_t value, uint64_t times)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_ATOMIC_ADD, .dst = vsvm_addr(dst), .len = times, .value = value,
	};

	return vsvm_job_add_instr(job, &instr);
}

/** struct vsvm_node - What %DRM_VSVM_OP_CHASE follows: the first words of each node */
struct vsvm_node {
	/** @next: the next node, NULL at the end */
	struct vsvm_node *next;
	/** @value: what is summed up */
	uint64_t value;
};

/**
 * vsvm_job_chase - Follow a list of at most @max nodes from @head; write the
 * number of nodes to @dst[0], the sum of their values to @dst[1]
 */
static inline int vsvm_job_chase(struct vsvm_job *job, volatile uint64_t *dst,
				 const volatile struct vsvm_node *head, uint64_t max)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_CHASE, .dst = vsvm_addr(dst), .src = vsvm_addr(head), .len = max,
	};

	return vsvm_job_add_instr(job, &instr);
}

/** vsvm_job_histogram - Count the @len bytes from @src into the 256 words at @dst */
static inline int vsvm_job_histogram(struct vsvm_job *job, volatile uint64_t *dst,
				     const volatile void *src, uint64_t len)
{
	const struct drm_vsvm_instr instr = {
		.op = DRM_VSVM_OP_HISTOGRAM, .dst = vsvm_addr(dst), .src = vsvm_addr(src),
		.len = len,
	};

	return vsvm_job_add_instr(job, &instr);
}

/* ------------------------------------------------------------------ objects */

/**
 * vsvm_gem_create - Create an object
 * @dev: the device
 * @size: bytes, a multiple of the page size
 * @placement: an &enum drm_vsvm_placement
 * @handle: filled in
 *
 * Return: 0; -EINVAL, -EOPNOTSUPP, -ENOMEM as documented at
 * &struct drm_vsvm_gem_create.
 */
int vsvm_gem_create(const struct vsvm_device *dev, uint64_t size, uint32_t placement,
		    uint32_t *handle);

/**
 * vsvm_gem_create_private - Create an object for one VM
 * @vm: the VM
 * @size: see vsvm_gem_create()
 * @placement: see vsvm_gem_create()
 * @handle: filled in
 *
 * Return: as vsvm_gem_create(); also -ENOENT and -EPERM.
 */
int vsvm_gem_create_private(const struct vsvm_vm *vm, uint64_t size, uint32_t placement,
			    uint32_t *handle);

/**
 * vsvm_gem_close - Close a handle
 * @dev: the device
 * @handle: the handle
 *
 * The object goes when nothing uses it any more: bindings, mappings and other
 * devices do.
 *
 * Return: 0; -EINVAL: there is no such handle.
 */
int vsvm_gem_close(const struct vsvm_device *dev, uint32_t handle);

/**
 * vsvm_gem_map - Map an object for the CPU
 * @dev: the device
 * @handle: the object, not imported
 * @addr: where to, or NULL
 * @size: bytes, the object's size
 * @ptr: filled in; undone with munmap(2)
 *
 * With @addr the mapping comes there, instead of what is there now.
 *
 * Return: 0; -ENOENT, -EINVAL, and what mmap(2) says.
 */
int vsvm_gem_map(const struct vsvm_device *dev, uint32_t handle, void *addr, size_t size,
		 void **ptr);

/**
 * vsvm_gem_export - Make a dma-buf of an object
 * @dev: the device
 * @handle: the object
 * @fd: filled in: the file descriptor, close-on-exec
 *
 * Return: 0; -ENOENT; -EPERM: the object is for one VM.
 */
int vsvm_gem_export(const struct vsvm_device *dev, uint32_t handle, int *fd);

/**
 * vsvm_gem_import - Make an object of a dma-buf
 * @dev: the device, another one than the exporter's most often
 * @fd: the dma-buf
 * @handle: filled in
 */
int vsvm_gem_import(const struct vsvm_device *dev, int fd, uint32_t *handle);

/* -------------------------------------------------------------------- binds */

/**
 * struct vsvm_bind - A bind that is being built
 *
 * As &struct vsvm_job: an array that belongs to the caller.
 */
struct vsvm_bind {
	/** @ops: the operations */
	struct drm_vsvm_bind_op *ops;
	/** @num: how many are in use */
	uint32_t num;
	/** @max: size of @ops */
	uint32_t max;
	/** @error: first error met while building, or 0; vsvm_vm_bind() returns it */
	int error;
};

/** VSVM_BIND - Define a bind with place for so many operations as variables */
#define VSVM_BIND(_name, _max)						\
	struct drm_vsvm_bind_op _name##_ops[_max];			\
	struct vsvm_bind _name = { .ops = _name##_ops, .max = (_max) }

/**
 * vsvm_bind_add - Append any operation, right or wrong
 * @bind: the bind
 * @op: the operation, copied
 *
 * Return: 0; -ENOSPC: no place left.
 */
int vsvm_bind_add(struct vsvm_bind *bind, const struct drm_vsvm_bind_op *op);

/** vsvm_bind_map - Bind @range bytes of an object from @offset to @addr */
static inline int vsvm_bind_map(struct vsvm_bind *bind, uint64_t addr, uint64_t range,
				uint32_t handle, uint64_t offset)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_MAP, .handle = handle, .addr = addr, .range = range,
		.offset = offset,
	};

	return vsvm_bind_add(bind, &op);
}

/** vsvm_bind_map_read_only - Likewise, and the device may only read */
static inline int vsvm_bind_map_read_only(struct vsvm_bind *bind, uint64_t addr,
					  uint64_t range, uint32_t handle, uint64_t offset)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_MAP, .flags = DRM_VSVM_BIND_READ_ONLY,
		.handle = handle, .addr = addr, .range = range, .offset = offset,
	};

	return vsvm_bind_add(bind, &op);
}

/** vsvm_bind_unmap - Nothing is bound any more at @range bytes from @addr */
static inline int vsvm_bind_unmap(struct vsvm_bind *bind, uint64_t addr, uint64_t range)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_UNMAP, .addr = addr, .range = range,
	};

	return vsvm_bind_add(bind, &op);
}

/** vsvm_bind_mirror - @range bytes of the process from @ptr are seen at @addr */
static inline int vsvm_bind_mirror(struct vsvm_bind *bind, uint64_t addr, uint64_t range,
				   const volatile void *ptr)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_MIRROR, .addr = addr, .range = range,
		.offset = vsvm_addr(ptr),
	};

	return vsvm_bind_add(bind, &op);
}

/** vsvm_bind_mirror_read_only - Likewise, and the device may only read there */
static inline int vsvm_bind_mirror_read_only(struct vsvm_bind *bind, uint64_t addr,
					     uint64_t range, const volatile void *ptr)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_MIRROR, .flags = DRM_VSVM_BIND_READ_ONLY,
		.addr = addr, .range = range, .offset = vsvm_addr(ptr),
	};

	return vsvm_bind_add(bind, &op);
}

/**
 * vsvm_bind_userptr - @range bytes of the process from @ptr are bound to @addr
 *
 * On a VM without mirrors. What is there is mapped whenever a job is submitted.
 */
static inline int vsvm_bind_userptr(struct vsvm_bind *bind, uint64_t addr, uint64_t range,
				    const volatile void *ptr)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_USERPTR, .addr = addr, .range = range,
		.offset = vsvm_addr(ptr),
	};

	return vsvm_bind_add(bind, &op);
}

/** vsvm_bind_userptr_read_only - Likewise, and the device may only read there */
static inline int vsvm_bind_userptr_read_only(struct vsvm_bind *bind, uint64_t addr,
					      uint64_t range, const volatile void *ptr)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_USERPTR, .flags = DRM_VSVM_BIND_READ_ONLY,
		.addr = addr, .range = range, .offset = vsvm_addr(ptr),
	};

	return vsvm_bind_add(bind, &op);
}

/** vsvm_bind_unmirror - Nothing of the process is seen at @range bytes from @addr */
static inline int vsvm_bind_unmirror(struct vsvm_bind *bind, uint64_t addr, uint64_t range)
{
	const struct drm_vsvm_bind_op op = {
		.type = DRM_VSVM_BIND_UNMIRROR, .addr = addr, .range = range,
	};

	return vsvm_bind_add(bind, &op);
}

/** vsvm_sync_in - What waits for a syncobj, or for a point of its timeline */
static inline struct drm_vsvm_sync vsvm_sync_in(uint32_t handle, uint64_t point)
{
	return (struct drm_vsvm_sync){ .handle = handle, .point = point };
}

/** vsvm_sync_out - What completes a syncobj, or a point of its timeline */
static inline struct drm_vsvm_sync vsvm_sync_out(uint32_t handle, uint64_t point)
{
	return (struct drm_vsvm_sync){
		.handle = handle, .flags = DRM_VSVM_SYNC_OUT, .point = point,
	};
}

/**
 * vsvm_vm_bind - Change what is bound or mirrored
 * @vm: the VM
 * @bind: the bind; it may be changed or freed when the call has returned
 * @syncs: syncobjs to wait for and to complete; libdrm's drmSyncobjCreate() makes
 *	them
 * @num_syncs: their number, may be 0
 *
 * Return: 0; the bind's own error, see &vsvm_bind.error; or as documented at
 * &struct drm_vsvm_vm_bind.
 */
int vsvm_vm_bind(const struct vsvm_vm *vm, const struct vsvm_bind *bind,
		 const struct drm_vsvm_sync *syncs, uint32_t num_syncs);

/**
 * vsvm_vm_bind_wait - Likewise, and wait until it has taken effect
 * @vm: the VM
 * @bind: the bind
 *
 * Creates and destroys a syncobj.
 *
 * Return: as vsvm_vm_bind(), and what drmSyncobjCreate() and drmSyncobjWait() say.
 */
int vsvm_vm_bind_wait(const struct vsvm_vm *vm, const struct vsvm_bind *bind);

/**
 * struct vsvm_bind_vm - A VM, and what is to be changed on it
 */
struct vsvm_bind_vm {
	/** @vm: the VM */
	const struct vsvm_vm *vm;
	/** @bind: the bind */
	const struct vsvm_bind *bind;
};

/**
 * vsvm_vms_bind - Change what is bound on several VMs, on all of them or on none
 * @vms: the VMs, without mirrors, each of them once; of this process, on any devices
 * @num: their number, 1 to 1 + %DRM_VSVM_MAX_BIND_VMS
 * @syncs: syncobjs of the first one's file, see vsvm_vm_bind()
 * @num_syncs: their number, may be 0
 *
 * Return: 0; the own error of one of the binds; -EINVAL: also no or too many VMs; or as
 * documented at &struct drm_vsvm_vm_bind.
 */
int vsvm_vms_bind(const struct vsvm_bind_vm *vms, uint32_t num,
		  const struct drm_vsvm_sync *syncs, uint32_t num_syncs);

/**
 * vsvm_vms_bind_wait - Likewise, and wait until all of it has taken effect
 * @vms: the VMs
 * @num: their number
 *
 * Return: as vsvm_vms_bind(), and what drmSyncobjCreate() and drmSyncobjWait() say.
 */
int vsvm_vms_bind_wait(const struct vsvm_bind_vm *vms, uint32_t num);

/**
 * vsvm_exec_sync - Submit a job of a VM without mirrors, with syncobjs
 * @vm: the VM
 * @queue: see vsvm_exec()
 * @job: see vsvm_exec()
 * @syncs: what the job waits for before it begins, and completes at its end
 * @num_syncs: their number
 * @job_id: see vsvm_exec()
 *
 * There is no user fence.
 *
 * Return: as vsvm_exec().
 */
int vsvm_exec_sync(const struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job,
		   const struct drm_vsvm_sync *syncs, uint32_t num_syncs, uint64_t *job_id);

/**
 * vsvm_run_sync - Submit such a job and wait until it has ended
 * @vm: the VM
 * @queue: the queue
 * @job: the job
 *
 * Creates and destroys a syncobj.
 *
 * Return: 0; -EIO: the job failed; as vsvm_exec_sync(), and what drmSyncobjCreate(),
 * drmSyncobjWait() and drmSyncobjExportSyncFile() say.
 */
int vsvm_run_sync(const struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job);

/**
 * vsvm_syncobj_status - What became of a syncobj
 * @fd: the device's render node, see &vsvm_device.fd and &vsvm_vm.fd
 * @handle: the syncobj; not a timeline
 *
 * Return: 1: its fence has signalled; 0: not yet; a negative errno: with that error;
 * -EINVAL: it has no fence.
 */
int vsvm_syncobj_status(int fd, uint32_t handle);

/* -------------------------------------------------------- running, waiting */

/**
 * vsvm_exec - Submit a job
 * @vm: the VM
 * @queue: the queue, below %DRM_VSVM_MAX_QUEUES; jobs of a queue run in order
 * @job: the job; it may be changed or freed when the call has returned
 * @fence: user fence, a word that is aligned to 8, or NULL for none. It must
 *	stay valid until the job has ended: the device writes it
 * @value: what the device writes to @fence at the end, with
 *	%DRM_VSVM_FENCE_ERROR set where the job failed; 0 without fence
 * @job_id: filled in, as in &drm_vsvm_error.job_id; may be NULL
 *
 * Where the VM has %DRM_VSVM_MAX_JOBS unfinished jobs, the call waits for one
 * of them to end.
 *
 * Return: 0; the job's own error, see &vsvm_job.error; -EINVAL, -EFAULT,
 * -ENOENT, -EPERM, -ECANCELED, -ENOMEM as documented at &struct drm_vsvm_exec.
 */
int vsvm_exec(const struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job,
	      volatile uint64_t *fence, uint64_t value, uint64_t *job_id);

/**
 * vsvm_fence_state - Look at a user fence, without a system call
 * @fence: the fence
 * @value: the value that is waited for
 *
 * What the job wrote is visible to the caller that sees it done.
 *
 * Return: 1: done; 0: not yet; -EIO: done, and the job that wrote it failed.
 */
static inline int vsvm_fence_state(const volatile uint64_t *fence, uint64_t value)
{
	const uint64_t now = __atomic_load_n(fence, __ATOMIC_ACQUIRE);

	if ((now & ~DRM_VSVM_FENCE_ERROR) < value)
		return 0;
	return now & DRM_VSVM_FENCE_ERROR ? -EIO : 1;
}

/** VSVM_FOREVER - A wait without limit */
#define VSVM_FOREVER	((int64_t)-1)

/**
 * vsvm_wait - Wait until a user fence has reached a value
 * @vm: the VM whose jobs write the fence
 * @fence: the fence
 * @value: the value
 * @timeout_ns: longest wait; negative: %VSVM_FOREVER; 0: only look
 *
 * The time goes on across signals.
 *
 * Return: 0; -EIO: reached, but the job failed (see vsvm_error_take()); -ETIME:
 * not reached in time; -ECANCELED: the VM was destroyed; -EFAULT, -EINVAL,
 * -ENOENT, -EPERM as documented at &struct drm_vsvm_wait.
 */
int vsvm_wait(const struct vsvm_vm *vm, const volatile uint64_t *fence, uint64_t value,
	      int64_t timeout_ns);

/**
 * vsvm_wait_interruptible - Wait likewise, but let a signal end it
 * @vm: see vsvm_wait()
 * @fence: see vsvm_wait()
 * @value: see vsvm_wait()
 * @timeout_ns: see vsvm_wait()
 *
 * Return: as vsvm_wait(); also -EINTR.
 */
int vsvm_wait_interruptible(const struct vsvm_vm *vm, const volatile uint64_t *fence,
			    uint64_t value, int64_t timeout_ns);

/**
 * vsvm_run - Submit a job and wait until it has ended
 * @vm: the VM; its fence for @queue is used
 * @queue: the queue
 * @job: the job
 * @timeout_ns: longest wait, as for vsvm_wait()
 *
 * One thread at a time for each queue of a VM. After -ETIME the job is still
 * running.
 *
 * Return: as vsvm_exec() and vsvm_wait().
 */
int vsvm_run(struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job,
	     int64_t timeout_ns);

/* -------------------------------------------------------- errors, counters */

/**
 * vsvm_error_take - Take the oldest error record of a VM
 * @vm: the VM
 * @error: filled in
 *
 * Return: 0; -ENODATA: no job has failed that was not asked for before.
 */
int vsvm_error_take(const struct vsvm_vm *vm, struct drm_vsvm_error *error);

/**
 * vsvm_error_format - Describe an error record in one line
 * @error: the record
 * @buf: where to write to
 * @size: size of @buf
 *
 * Return: @buf, always terminated.
 */
char *vsvm_error_format(const struct drm_vsvm_error *error, char *buf, size_t size);

/**
 * vsvm_stats - Read the counters of a VM, its device and its manager
 * @vm: the VM
 * @stats: filled in; what an older kernel does not have is 0
 */
int vsvm_stats(const struct vsvm_vm *vm, struct drm_vsvm_stats_data *stats);

/* ---------------------------------------------------- attributes, prefetch */

/**
 * vsvm_attr_set - Say something about memory
 * @vm: the VM; what is said of access is said of it, placement of the process
 * @start: first address, a multiple of the page size
 * @size: bytes, likewise
 * @attrs: what is said, each type once at most
 * @num: how many
 *
 * All of it, or nothing. When the call has returned the device does nothing any
 * more that is forbidden now.
 *
 * Return: 0; -EINVAL, -EBADF, -EFAULT, -EOPNOTSUPP, -ENOSPC, -ENOENT, -EPERM,
 * -ENOMEM as documented at &struct drm_vsvm_attr_set.
 */
int vsvm_attr_set(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		  const struct drm_vsvm_attr *attrs, unsigned int num);

/**
 * vsvm_attr_set_one - Say one thing about memory
 * @vm: see vsvm_attr_set()
 * @start: see vsvm_attr_set()
 * @size: see vsvm_attr_set()
 * @type: an &enum drm_vsvm_attr_type
 * @value: the value; a location in device memory is that of the VM's device
 *
 * Return: as vsvm_attr_set().
 */
int vsvm_attr_set_one(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		      uint32_t type, uint32_t value);

/**
 * vsvm_attr_prefer - Say in which device's memory data should be
 * @vm: see vsvm_attr_set()
 * @start: see vsvm_attr_set()
 * @size: see vsvm_attr_set()
 * @dev: the device, NULL: in system memory
 *
 * Return: as vsvm_attr_set().
 */
int vsvm_attr_prefer(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		     const struct vsvm_device *dev);

/**
 * vsvm_attr_get - Ask what was said about memory
 * @vm: the VM
 * @start: first address, a multiple of the page size
 * @size: bytes, likewise
 * @attrs: the caller fills in &drm_vsvm_attr.type, the call the rest
 * @num: how many
 *
 * Return: 0; -EINVAL, -EFAULT, -EOPNOTSUPP, -ENOENT, -EPERM, -ENOMEM as
 * documented at &struct drm_vsvm_attr_get.
 */
int vsvm_attr_get(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		  struct drm_vsvm_attr *attrs, unsigned int num);

/**
 * vsvm_attr_get_one - Ask for one thing that was said about memory
 * @vm: see vsvm_attr_get()
 * @start: see vsvm_attr_get()
 * @size: see vsvm_attr_get()
 * @type: an &enum drm_vsvm_attr_type
 * @value: filled in where parts do not differ
 *
 * Return: 0; 1: parts of the span differ; as vsvm_attr_get().
 */
int vsvm_attr_get_one(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		      uint32_t type, uint32_t *value);

/**
 * vsvm_attr_next - Step through what was said
 * @vm: the VM
 * @start: where to look from, 0 to begin with; filled in
 * @size: filled in; the next step is from *@start + *@size
 * @attrs: as for vsvm_attr_get()
 * @num: how many
 *
 * Return: 0; -ENODATA: nothing was said from there on; as vsvm_attr_get().
 */
int vsvm_attr_next(const struct vsvm_vm *vm, uint64_t *start, uint64_t *size,
		   struct drm_vsvm_attr *attrs, unsigned int num);

/**
 * vsvm_attr_reset - Take back what was said
 * @vm: the VM; that of its own access, and of placement
 * @start: first address, a multiple of the page size
 * @size: bytes, likewise
 *
 * Return: 0; -EINVAL, -EOPNOTSUPP, -ENOENT, -EPERM, -ENOMEM as documented at
 * &struct drm_vsvm_attr_reset.
 */
int vsvm_attr_reset(const struct vsvm_vm *vm, const volatile void *start, size_t size);

/**
 * vsvm_attr_format - Describe an attribute in a few words
 * @attr: the attribute, as it was got
 * @buf: where to write to
 * @size: size of @buf
 *
 * Return: @buf, always terminated: "location=device 1", "access=mixed".
 */
char *vsvm_attr_format(const struct drm_vsvm_attr *attr, char *buf, size_t size);

/**
 * vsvm_prefetch - Move memory, and wait until it is done
 * @vm: the VM
 * @start: first address, a multiple of the page size
 * @size: bytes, likewise
 * @dev: to which device, NULL: to system memory
 * @flags: DRM_VSVM_PREFETCH_*; %DRM_VSVM_PREFETCH_MAP maps it on @vm
 * @missed: filled in with the bytes that are not there; may be NULL
 *
 * Return: 0; -EINVAL, -EBADF, -EFAULT, -EBUSY, -EOPNOTSUPP, -ENOENT, -EPERM,
 * -ENOMEM as documented at &struct drm_vsvm_prefetch.
 */
int vsvm_prefetch(const struct vsvm_vm *vm, const volatile void *start, size_t size,
		  const struct vsvm_device *dev, uint32_t flags, uint64_t *missed);

/**
 * vsvm_prefetch_fence - Have memory moved, with a user fence
 * @vm: the VM
 * @start: see vsvm_prefetch()
 * @size: see vsvm_prefetch()
 * @dev: see vsvm_prefetch()
 * @flags: see vsvm_prefetch()
 * @fence: user fence, as for vsvm_exec()
 * @value: what the device writes to it when the memory was moved
 * @job_id: filled in, as in &drm_vsvm_error.job_id; may be NULL
 *
 * Return: 0; as vsvm_prefetch(), and what is said by the fence.
 */
int vsvm_prefetch_fence(const struct vsvm_vm *vm, const volatile void *start, size_t size,
			const struct vsvm_device *dev, uint32_t flags,
			volatile uint64_t *fence, uint64_t value, uint64_t *job_id);

/* -------------------------------------------------------------- the CPU side */

/**
 * vsvm_checksum - What %DRM_VSVM_OP_CHECKSUM computes, on the CPU
 * @data: the data
 * @len: bytes
 */
uint64_t vsvm_checksum(const volatile void *data, size_t len);

/**
 * vsvm_op_name - Name of an operation, "fill" for example
 * @op: an &enum drm_vsvm_op
 *
 * Return: the name, "?" for an unknown one.
 */
const char *vsvm_op_name(uint32_t op);

/* ----------------------------------------------------------- debugfs (tests) */

/**
 * vsvm_debugfs_get - Read a number from the device's debugfs directory
 * @dev: the device
 * @name: the file, "violations" for example
 * @value: filled in
 *
 * Needs root and a debugfs that is mounted at /sys/kernel/debug.
 *
 * Return: 0; -EPROTO: the file holds no number; what open(2) and read(2) say.
 */
int vsvm_debugfs_get(const struct vsvm_device *dev, const char *name, uint64_t *value);

/**
 * vsvm_debugfs_set - Write a number to a file of the device's debugfs directory
 * @dev: the device
 * @name: the file, "suppress_flush" for example
 * @value: the number
 *
 * Return: 0; what open(2) and write(2) say.
 */
int vsvm_debugfs_set(const struct vsvm_device *dev, const char *name, uint64_t value);

/* ------------------------------------------------------------- hotplug (tests) */

/** VSVM_PCI_NAME - Room for the name of a PCI function */
#define VSVM_PCI_NAME	16

/**
 * vsvm_pci_function - Name of the PCI function that is a device
 * @nr: the number of the device, its &drm_vsvm_query.index
 * @name: filled in
 *
 * Devices get their numbers in the order of the functions.
 *
 * Return: 0; -ENODEV: devices are not on PCI, or there are fewer.
 */
int vsvm_pci_function(unsigned int nr, char name[VSVM_PCI_NAME]);

/**
 * vsvm_unplug - Pull a device out, whoever uses it
 * @nr: the number of the device, see vsvm_pci_function()
 *
 * Needs root, and where it is no PCI function debugfs, as vsvm_debugfs_get().
 *
 * Return: 0; -ENODEV: it is out; what open(2) and write(2) say.
 */
int vsvm_unplug(unsigned int nr);

/**
 * vsvm_plug - Put a device in again
 * @nr: the number of the device, see vsvm_pci_function()
 *
 * It is as the module's parameters are now. See vsvm_unplug().
 *
 * Return: 0; what open(2) and write(2) say.
 */
int vsvm_plug(unsigned int nr);

#ifdef __cplusplus
}
#endif

#endif /* _LIBVSVM_H_ */
