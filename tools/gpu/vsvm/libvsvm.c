// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * libvsvm - a small C API for vsvm, the virtual GPUs of drm_gpusvm_mgr
 *
 * What each call does, allocates and returns is written down in libvsvm.h; the
 * comments here say how, and which system calls stand behind it.
 */

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <linux/sync_file.h>

#include <xf86drm.h>

#include "libvsvm.h"

#define DRI_DIR		"/dev/dri"
#define DEBUGFS_DIR	"/sys/kernel/debug/dri"
#define NSEC_PER_SEC	1000000000LL

/* The ABI is laid out alike for 32 and 64 bits; what we rely on most: */
_Static_assert(sizeof(struct drm_vsvm_instr) == 40, "size of an instruction");
_Static_assert(offsetof(struct vsvm_node, value) == 8, "word 1 of a node is its value");

/* drmIoctl() begins again after EINTR and EAGAIN, nothing is half done then. */
static int vsvm_ioctl(int fd, unsigned long request, void *arg)
{
	return drmIoctl(fd, request, arg) ? -errno : 0;
}

/* ------------------------------------------------------------------ devices */

static bool vsvm_is_ours(int fd)
{
	drmVersionPtr version = drmGetVersion(fd);
	bool ours;

	if (!version)
		return false;
	ours = version->name && !strcmp(version->name, "vsvm");
	drmFreeVersion(version);
	return ours;
}

/*
 * NAME
 *	vsvm_open_minor - open a device by the number of its render node
 * SYSTEM CALLS
 *	open(2) of /dev/dri/renderD<minor>, DRM_IOCTL_VERSION, DRM_IOCTL_VSVM_QUERY
 * NOTES
 *	The driver's name is looked at before any ioctl of vsvm is tried: on a
 *	node of another driver the number would mean something else.
 */
int vsvm_open_minor(struct vsvm_device *dev, unsigned int minor)
{
	char path[sizeof(DRI_DIR) + 24];
	int ret;

	dev->minor = minor;
	snprintf(path, sizeof(path), DRI_DIR "/renderD%u", minor);
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0)
		return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;

	if (!vsvm_is_ours(dev->fd))
		ret = -ENODEV;
	else
		ret = vsvm_query(dev, &dev->info);
	if (!ret && dev->info.abi_version < DRM_VSVM_ABI_VERSION)
		ret = -EPROTO;
	if (ret)
		vsvm_close(dev);
	return ret;
}

/*
 * NAME
 *	vsvm_close - close a device
 * SYSTEM CALLS
 *	close(2)
 * NOTES
 *	The VMs go when the last descriptor of the open file goes, so later
 *	where the descriptor was duplicated or inherited.
 */
void vsvm_close(struct vsvm_device *dev)
{
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

/*
 * NAME
 *	vsvm_query - ask a device what it is
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_QUERY
 */
int vsvm_query(const struct vsvm_device *dev, struct drm_vsvm_query *info)
{
	memset(info, 0, sizeof(*info));
	return vsvm_ioctl(dev->fd, DRM_IOCTL_VSVM_QUERY, info);
}

struct vsvm_found {
	unsigned int minor;
	unsigned int index;
};

static int vsvm_found_cmp(const void *a, const void *b)
{
	const struct vsvm_found *x = a, *y = b;

	if (x->index != y->index)
		return x->index < y->index ? -1 : 1;
	return x->minor < y->minor ? -1 : x->minor > y->minor;
}

/* Finds at most VSVM_MAX_DEVICES devices and sorts them. */
static int vsvm_scan(struct vsvm_found *found)
{
	struct vsvm_device dev;
	struct dirent *entry;
	unsigned int minor;
	int num = 0;
	char rest;
	DIR *dir;

	dir = opendir(DRI_DIR);
	if (!dir)
		return errno == ENOMEM ? -ENOMEM : 0;

	while (num < VSVM_MAX_DEVICES && (entry = readdir(dir))) {
		if (sscanf(entry->d_name, "renderD%u%c", &minor, &rest) != 1)
			continue;
		if (vsvm_open_minor(&dev, minor))
			continue;
		found[num].minor = minor;
		found[num].index = dev.info.index;
		num++;
		vsvm_close(&dev);
	}
	closedir(dir);
	qsort(found, num, sizeof(*found), vsvm_found_cmp);
	return num;
}

/*
 * NAME
 *	vsvm_list - find the devices
 * SYSTEM CALLS
 *	readdir(3) of /dev/dri, and what vsvm_open_minor() does for each render
 *	node
 * NOTES
 *	A device that comes or goes meanwhile may be missed or be listed.
 */
int vsvm_list(unsigned int *minors, unsigned int max)
{
	struct vsvm_found found[VSVM_MAX_DEVICES];
	int num = vsvm_scan(found);

	for (int i = 0; minors && i < num && (unsigned int)i < max; i++)
		minors[i] = found[i].minor;
	return num;
}

/*
 * NAME
 *	vsvm_open - open a device by its place in the list
 * SYSTEM CALLS
 *	those of vsvm_list() and vsvm_open_minor()
 * NOTES
 *	Where the list is empty because no node may be opened, the errno of the
 *	first render node says so, rather than that there is no device.
 */
int vsvm_open(struct vsvm_device *dev, unsigned int nr)
{
	struct vsvm_found found[VSVM_MAX_DEVICES];
	int num = vsvm_scan(found);

	dev->fd = -1;
	if (num < 0)
		return num;
	if (num == 0) {
		int ret = vsvm_open_minor(dev, 128 + nr);

		if (!ret)
			vsvm_close(dev);
		return ret == -EACCES ? ret : -ENODEV;
	}
	if (nr >= (unsigned int)num)
		return -ENODEV;
	return vsvm_open_minor(dev, found[nr].minor);
}

/* ---------------------------------------------------------------------- VMs */

/*
 * NAME
 *	vsvm_vm_create - create a VM
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_VM_CREATE
 */
int vsvm_vm_create(const struct vsvm_device *dev, uint32_t flags, struct vsvm_vm *vm)
{
	struct drm_vsvm_vm_create args = { .flags = flags };
	int ret;

	ret = vsvm_ioctl(dev->fd, DRM_IOCTL_VSVM_VM_CREATE, &args);
	if (ret)
		return ret;
	memset(vm, 0, sizeof(*vm));
	vm->fd = dev->fd;
	vm->id = args.vm_id;
	return 0;
}

/*
 * NAME
 *	vsvm_vm_destroy - destroy a VM
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_VM_DESTROY
 */
int vsvm_vm_destroy(struct vsvm_vm *vm)
{
	struct drm_vsvm_vm_destroy args = { .vm_id = vm->id };
	int ret;

	ret = vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_VM_DESTROY, &args);
	if (!ret)
		vm->id = 0;
	return ret;
}

/* ------------------------------------------------------------------ objects */

static int vsvm_gem_new(int fd, struct drm_vsvm_gem_create *args, uint32_t *handle)
{
	int ret = vsvm_ioctl(fd, DRM_IOCTL_VSVM_GEM_CREATE, args);

	if (!ret)
		*handle = args->handle;
	return ret;
}

/*
 * NAME
 *	vsvm_gem_create - create an object
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_GEM_CREATE
 */
int vsvm_gem_create(const struct vsvm_device *dev, uint64_t size, uint32_t placement,
		    uint32_t *handle)
{
	struct drm_vsvm_gem_create args = { .size = size, .placement = placement };

	return vsvm_gem_new(dev->fd, &args, handle);
}

/*
 * NAME
 *	vsvm_gem_create_private - create an object for one VM
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_GEM_CREATE
 */
int vsvm_gem_create_private(const struct vsvm_vm *vm, uint64_t size, uint32_t placement,
			    uint32_t *handle)
{
	struct drm_vsvm_gem_create args = {
		.size = size, .placement = placement, .flags = DRM_VSVM_GEM_VM, .vm_id = vm->id,
	};

	return vsvm_gem_new(vm->fd, &args, handle);
}

/*
 * NAME
 *	vsvm_gem_close - close a handle
 * SYSTEM CALLS
 *	DRM_IOCTL_GEM_CLOSE
 */
int vsvm_gem_close(const struct vsvm_device *dev, uint32_t handle)
{
	struct drm_gem_close args = { .handle = handle };

	return vsvm_ioctl(dev->fd, DRM_IOCTL_GEM_CLOSE, &args);
}

/*
 * NAME
 *	vsvm_gem_map - map an object for the CPU
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_GEM_MMAP_OFFSET, mmap(2)
 */
int vsvm_gem_map(const struct vsvm_device *dev, uint32_t handle, void *addr, size_t size,
		 void **ptr)
{
	struct drm_vsvm_gem_mmap_offset args = { .handle = handle };
	int ret;

	ret = vsvm_ioctl(dev->fd, DRM_IOCTL_VSVM_GEM_MMAP_OFFSET, &args);
	if (ret)
		return ret;
	*ptr = mmap(addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | (addr ? MAP_FIXED : 0),
		    dev->fd, args.offset);
	return *ptr == MAP_FAILED ? -errno : 0;
}

/*
 * NAME
 *	vsvm_gem_export - make a dma-buf of an object
 * SYSTEM CALLS
 *	DRM_IOCTL_PRIME_HANDLE_TO_FD
 */
int vsvm_gem_export(const struct vsvm_device *dev, uint32_t handle, int *fd)
{
	return drmPrimeHandleToFD(dev->fd, handle, DRM_CLOEXEC | DRM_RDWR, fd) ? -errno : 0;
}

/*
 * NAME
 *	vsvm_gem_import - make an object of a dma-buf
 * SYSTEM CALLS
 *	DRM_IOCTL_PRIME_FD_TO_HANDLE
 */
int vsvm_gem_import(const struct vsvm_device *dev, int fd, uint32_t *handle)
{
	return drmPrimeFDToHandle(dev->fd, fd, handle) ? -errno : 0;
}

/* -------------------------------------------------------------------- binds */

/*
 * NAME
 *	vsvm_bind_add - append any operation
 */
int vsvm_bind_add(struct vsvm_bind *bind, const struct drm_vsvm_bind_op *op)
{
	if (bind->num >= bind->max) {
		if (!bind->error)
			bind->error = -ENOSPC;
		return -ENOSPC;
	}
	bind->ops[bind->num++] = *op;
	return 0;
}

/*
 * NAME
 *	vsvm_vm_bind - change what is bound or mirrored
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_VM_BIND
 */
int vsvm_vm_bind(const struct vsvm_vm *vm, const struct vsvm_bind *bind,
		 const struct drm_vsvm_sync *syncs, uint32_t num_syncs)
{
	struct drm_vsvm_vm_bind args = {
		.vm_id = vm->id,
		.num_ops = bind->num,
		.ops = vsvm_addr(bind->ops),
		.num_syncs = num_syncs,
		.syncs = vsvm_addr(syncs),
	};

	if (bind->error)
		return bind->error;
	return vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_VM_BIND, &args);
}

static int vsvm_syncobj_wait(int fd, uint32_t handle)
{
	return drmSyncobjWait(fd, &handle, 1, INT64_MAX, 0, NULL) ? -errno : 0;
}

/*
 * NAME
 *	vsvm_vm_bind_wait - change what is bound, and wait until it is
 * SYSTEM CALLS
 *	those of vsvm_vm_bind(); DRM_IOCTL_SYNCOBJ_CREATE, _WAIT and _DESTROY
 */
int vsvm_vm_bind_wait(const struct vsvm_vm *vm, const struct vsvm_bind *bind)
{
	struct drm_vsvm_sync sync;
	uint32_t handle;
	int ret;

	if (drmSyncobjCreate(vm->fd, 0, &handle))
		return -errno;
	sync = vsvm_sync_out(handle, 0);
	ret = vsvm_vm_bind(vm, bind, &sync, 1);
	if (!ret)
		ret = vsvm_syncobj_wait(vm->fd, handle);
	drmSyncobjDestroy(vm->fd, handle);
	return ret;
}

/*
 * NAME
 *	vsvm_vms_bind - change what is bound on several VMs
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_VM_BIND
 */
int vsvm_vms_bind(const struct vsvm_bind_vm *vms, uint32_t num,
		  const struct drm_vsvm_sync *syncs, uint32_t num_syncs)
{
	struct drm_vsvm_bind_vm others[DRM_VSVM_MAX_BIND_VMS];
	struct drm_vsvm_vm_bind args = {
		.num_syncs = num_syncs,
		.syncs = vsvm_addr(syncs),
	};

	if (!num || num > 1 + DRM_VSVM_MAX_BIND_VMS)
		return -EINVAL;
	for (uint32_t i = 0; i < num; i++) {
		const struct vsvm_bind *bind = vms[i].bind;

		if (bind->error)
			return bind->error;
		if (i)
			others[i - 1] = (struct drm_vsvm_bind_vm) {
				.device = vms[i].vm->fd,
				.vm_id = vms[i].vm->id,
				.num_ops = bind->num,
				.ops = vsvm_addr(bind->ops),
			};
	}
	args.vm_id = vms[0].vm->id;
	args.num_ops = vms[0].bind->num;
	args.ops = vsvm_addr(vms[0].bind->ops);
	args.num_vms = num - 1;
	if (args.num_vms)
		args.vms = vsvm_addr(others);
	return vsvm_ioctl(vms[0].vm->fd, DRM_IOCTL_VSVM_VM_BIND, &args);
}

/*
 * NAME
 *	vsvm_vms_bind_wait - change what is bound on several VMs, and wait until it is
 * SYSTEM CALLS
 *	those of vsvm_vms_bind(); DRM_IOCTL_SYNCOBJ_CREATE, _WAIT and _DESTROY
 */
int vsvm_vms_bind_wait(const struct vsvm_bind_vm *vms, uint32_t num)
{
	struct drm_vsvm_sync sync;
	uint32_t handle;
	int ret;

	if (!num)
		return -EINVAL;
	if (drmSyncobjCreate(vms[0].vm->fd, 0, &handle))
		return -errno;
	sync = vsvm_sync_out(handle, 0);
	ret = vsvm_vms_bind(vms, num, &sync, 1);
	if (!ret)
		ret = vsvm_syncobj_wait(vms[0].vm->fd, handle);
	drmSyncobjDestroy(vms[0].vm->fd, handle);
	return ret;
}

/*
 * NAME
 *	vsvm_syncobj_status - what became of a syncobj
 * SYSTEM CALLS
 *	DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, SYNC_IOC_FILE_INFO, close(2)
 * NOTES
 *	No wait of libdrm tells with which error a fence has signalled.
 */
int vsvm_syncobj_status(int fd, uint32_t handle)
{
	struct sync_file_info info = { .num_fences = 0 };
	int file, ret;

	if (drmSyncobjExportSyncFile(fd, handle, &file))
		return -errno;
	ret = ioctl(file, SYNC_IOC_FILE_INFO, &info) ? -errno : info.status;
	close(file);
	return ret;
}

/* --------------------------------------------------------------------- jobs */

/*
 * NAME
 *	vsvm_job_add_instr - append any instruction
 * NOTES
 *	Nothing is checked but the place: what an instruction may hold is for
 *	the driver to say.
 */
int vsvm_job_add_instr(struct vsvm_job *job, const struct drm_vsvm_instr *instr)
{
	if (job->num >= job->max) {
		if (!job->error)
			job->error = -ENOSPC;
		return -ENOSPC;
	}
	job->instrs[job->num++] = *instr;
	return 0;
}

/*
 * NAME
 *	vsvm_exec - submit a job
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_EXEC
 */
int vsvm_exec(const struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job,
	      volatile uint64_t *fence, uint64_t value, uint64_t *job_id)
{
	struct drm_vsvm_exec args = {
		.vm_id = vm->id,
		.queue = queue,
		.num_instrs = job->num,
		.instrs = vsvm_addr(job->instrs),
		.fence_addr = vsvm_addr(fence),
		.fence_value = value,
	};
	int ret;

	if (job->error)
		return job->error;
	ret = vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_EXEC, &args);
	if (!ret && job_id)
		*job_id = args.job_id;
	return ret;
}

/*
 * NAME
 *	vsvm_exec_sync - submit a job with syncobjs
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_EXEC
 */
int vsvm_exec_sync(const struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job,
		   const struct drm_vsvm_sync *syncs, uint32_t num_syncs, uint64_t *job_id)
{
	struct drm_vsvm_exec args = {
		.vm_id = vm->id,
		.queue = queue,
		.num_instrs = job->num,
		.instrs = vsvm_addr(job->instrs),
		.num_syncs = num_syncs,
		.syncs = vsvm_addr(syncs),
	};
	int ret;

	if (job->error)
		return job->error;
	ret = vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_EXEC, &args);
	if (!ret && job_id)
		*job_id = args.job_id;
	return ret;
}

/*
 * NAME
 *	vsvm_run_sync - submit a job and wait until it has ended
 * SYSTEM CALLS
 *	those of vsvm_exec_sync() and vsvm_syncobj_status();
 *	DRM_IOCTL_SYNCOBJ_CREATE, _WAIT and _DESTROY
 */
int vsvm_run_sync(const struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job)
{
	struct drm_vsvm_sync sync;
	uint32_t handle;
	int ret;

	if (drmSyncobjCreate(vm->fd, 0, &handle))
		return -errno;
	sync = vsvm_sync_out(handle, 0);
	ret = vsvm_exec_sync(vm, queue, job, &sync, 1, NULL);
	if (!ret)
		ret = vsvm_syncobj_wait(vm->fd, handle);
	if (!ret && vsvm_syncobj_status(vm->fd, handle) < 0)
		ret = -EIO;
	drmSyncobjDestroy(vm->fd, handle);
	return ret;
}

static int64_t vsvm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/*
 * NAME
 *	vsvm_wait_interruptible - wait for a user fence, but let a signal end it
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_WAIT, by ioctl(2): drmIoctl() would begin again
 * NOTES
 *	Whether a signal ends the call is also a matter of its handler, see
 *	SA_RESTART in sigaction(2).
 */
int vsvm_wait_interruptible(const struct vsvm_vm *vm, const volatile uint64_t *fence,
			    uint64_t value, int64_t timeout_ns)
{
	struct drm_vsvm_wait args = {
		.vm_id = vm->id,
		.addr = vsvm_addr(fence),
		.value = value,
		.timeout_ns = timeout_ns,
	};

	return ioctl(vm->fd, DRM_IOCTL_VSVM_WAIT, &args) ? -errno : 0;
}

/*
 * NAME
 *	vsvm_wait - wait for a user fence
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_WAIT, again after each EINTR with the time that is left
 * NOTES
 *	Signals whose handlers restart calls (SA_RESTART) are not seen here; the
 *	kernel then begins the wait again with the whole time.
 */
int vsvm_wait(const struct vsvm_vm *vm, const volatile uint64_t *fence, uint64_t value,
	      int64_t timeout_ns)
{
	const int64_t start = timeout_ns > 0 ? vsvm_now() : 0;
	int64_t left = timeout_ns;
	int ret;

	while ((ret = vsvm_wait_interruptible(vm, fence, value, left)) == -EINTR) {
		if (timeout_ns <= 0)
			continue;
		left = timeout_ns - (vsvm_now() - start);
		if (left < 0)
			left = 0;
	}
	return ret;
}

/*
 * NAME
 *	vsvm_run - submit a job and wait until it has ended
 * SYSTEM CALLS
 *	those of vsvm_exec() and vsvm_wait()
 * NOTES
 *	The fence is in the VM's structure, not on the stack: the job of a wait
 *	that ran out of time still writes it some day.
 */
int vsvm_run(struct vsvm_vm *vm, uint32_t queue, const struct vsvm_job *job,
	     int64_t timeout_ns)
{
	int ret;

	if (queue >= DRM_VSVM_MAX_QUEUES)
		return -EINVAL;
	ret = vsvm_exec(vm, queue, job, &vm->fence[queue], vm->value[queue] + 1, NULL);
	if (ret)
		return ret;
	vm->value[queue]++;
	return vsvm_wait(vm, &vm->fence[queue], vm->value[queue], timeout_ns);
}

/* -------------------------------------------------------- errors, counters */

/*
 * NAME
 *	vsvm_error_take - take the oldest error record of a VM
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_ERROR
 */
int vsvm_error_take(const struct vsvm_vm *vm, struct drm_vsvm_error *error)
{
	memset(error, 0, sizeof(*error));
	error->vm_id = vm->id;
	return vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_ERROR, error);
}

/*
 * NAME
 *	vsvm_error_format - describe an error record in one line
 */
char *vsvm_error_format(const struct drm_vsvm_error *error, char *buf, size_t size)
{
	const char *what = "read";

	if (error->flags & DRM_VSVM_ERROR_ATOMIC)
		what = "atomic";
	else if (error->flags & DRM_VSVM_ERROR_WRITE)
		what = "write";

	if (error->flags & DRM_VSVM_ERROR_FENCE)
		snprintf(buf, size, "job %" PRIu64 ": fence at 0x%" PRIx64 ": %s",
			 (uint64_t)error->job_id, (uint64_t)error->addr, strerror(error->error));
	else if (error->addr)
		snprintf(buf, size, "job %" PRIu64 ": instruction %u: %s at 0x%" PRIx64 ": %s",
			 (uint64_t)error->job_id, error->instr, what, (uint64_t)error->addr,
			 strerror(error->error));
	else
		snprintf(buf, size, "job %" PRIu64 ": instruction %u: %s",
			 (uint64_t)error->job_id, error->instr, strerror(error->error));
	return buf;
}

/*
 * NAME
 *	vsvm_stats - read the counters of a VM, its device and its manager
 * SYSTEM CALLS
 *	DRM_IOCTL_VSVM_STATS
 */
int vsvm_stats(const struct vsvm_vm *vm, struct drm_vsvm_stats_data *stats)
{
	struct drm_vsvm_stats args = {
		.vm_id = vm->id,
		.size = sizeof(*stats),
		.data = vsvm_addr(stats),
	};

	memset(stats, 0, sizeof(*stats));
	return vsvm_ioctl(vm->fd, DRM_IOCTL_VSVM_STATS, &args);
}

/* -------------------------------------------------------------- the CPU side */

/*
 * NAME
 *	vsvm_checksum - 64-bit FNV-1a, what DRM_VSVM_OP_CHECKSUM computes
 */
uint64_t vsvm_checksum(const volatile void *data, size_t len)
{
	const volatile uint8_t *byte = data;
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++) {
		hash ^= byte[i];
		hash *= 0x100000001b3ULL;
	}
	return hash;
}

/*
 * NAME
 *	vsvm_op_name - name of an operation
 */
const char *vsvm_op_name(uint32_t op)
{
	static const char * const names[] = {
		[DRM_VSVM_OP_NOP] = "nop",
		[DRM_VSVM_OP_FILL] = "fill",
		[DRM_VSVM_OP_COPY] = "copy",
		[DRM_VSVM_OP_ADD] = "add",
		[DRM_VSVM_OP_CHECKSUM] = "checksum",
		[DRM_VSVM_OP_COMPARE] = "compare",
		[DRM_VSVM_OP_ATOMIC_ADD] = "atomic_add",
		[DRM_VSVM_OP_CHASE] = "chase",
		[DRM_VSVM_OP_HISTOGRAM] = "histogram",
	};

	if (op >= sizeof(names) / sizeof(names[0]))
		return "?";
	return names[op];
}

/* ----------------------------------------------------------- debugfs (tests) */

/* DRM links a directory under the minor's number to that of the device. */
static int vsvm_debugfs_open(const struct vsvm_device *dev, const char *name, int flags)
{
	char path[sizeof(DEBUGFS_DIR) + NAME_MAX + 24];
	int fd;

	snprintf(path, sizeof(path), DEBUGFS_DIR "/%u/%s", dev->minor, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * NAME
 *	vsvm_debugfs_get - read a number from the device's debugfs directory
 * SYSTEM CALLS
 *	open(2), read(2) of /sys/kernel/debug/dri/<minor>/<name>
 */
int vsvm_debugfs_get(const struct vsvm_device *dev, const char *name, uint64_t *value)
{
	char buf[64], *end;
	ssize_t len;
	int fd, ret;

	fd = vsvm_debugfs_open(dev, name, O_RDONLY);
	if (fd < 0)
		return fd;
	len = read(fd, buf, sizeof(buf) - 1);
	ret = len < 0 ? -errno : 0;
	close(fd);
	if (ret)
		return ret;

	buf[len] = '\0';
	*value = strtoull(buf, &end, 0);
	return end == buf ? -EPROTO : 0;
}

/*
 * NAME
 *	vsvm_debugfs_set - write a number to the device's debugfs directory
 * SYSTEM CALLS
 *	open(2), write(2) of /sys/kernel/debug/dri/<minor>/<name>
 */
int vsvm_debugfs_set(const struct vsvm_device *dev, const char *name, uint64_t value)
{
	char buf[24];
	int fd, len, ret = 0;

	fd = vsvm_debugfs_open(dev, name, O_WRONLY);
	if (fd < 0)
		return fd;
	len = snprintf(buf, sizeof(buf), "%" PRIu64 "\n", value);
	if (write(fd, buf, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}
