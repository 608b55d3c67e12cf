/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * The ABI of vsvm, the virtual GPUs of drm_gpusvm_mgr.
 */

#ifndef _UAPI_VSVM_DRM_H_
#define _UAPI_VSVM_DRM_H_

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

/**
 * DOC: vsvm ABI
 *
 * A vsvm device is a GPU that exists in software only. It is driven through
 * its render node. A process creates a VM on each device that it wants to
 * use; a VM created with %DRM_VSVM_VM_MIRROR sees the process's whole address
 * space: a pointer means the same on the CPU and on each of these devices.
 *
 * Work is a *job*: a program of instructions over virtual addresses, see
 * &struct drm_vsvm_instr. It completes a *user fence*, a 64-bit word in the
 * process's memory, because work on a mirroring VM may fault and so must not
 * stand behind a kernel fence.
 *
 * DRM_VSVM_VM_BIND has something else at addresses of such a VM: an object, or the
 * process's memory from other addresses, also more than once.
 *
 * A VM without %DRM_VSVM_VM_MIRROR sees what is bound to its addresses by
 * DRM_VSVM_VM_BIND and nothing else: objects, and spans of the process's memory, *user
 * pointers*. Its jobs never wait for a fault: an access
 * to an address where nothing is bound ends the job with EFAULT. So they may
 * stand behind kernel fences, as syncobjs have them, in and out. What user pointers
 * point to is mapped when a job is submitted, and what takes it away from the process
 * (munmap(), fork(), reclaim) waits for the jobs that were.
 *
 * Rules that hold for every ioctl: members called pad or reserved must be
 * zero, unknown flags are refused with EINVAL, and a refused call changes
 * nothing. A VM is used only by the process (address space) that created it,
 * another one gets EPERM. A vm_id that does not exist gives ENOENT. A device
 * that was removed gives ENODEV.
 */

#define DRM_VSVM_QUERY			0x00
#define DRM_VSVM_VM_CREATE		0x01
#define DRM_VSVM_VM_DESTROY		0x02
#define DRM_VSVM_EXEC			0x03
#define DRM_VSVM_WAIT			0x04
#define DRM_VSVM_ERROR			0x05
#define DRM_VSVM_STATS			0x06
#define DRM_VSVM_GEM_CREATE		0x07
#define DRM_VSVM_GEM_MMAP_OFFSET	0x08
#define DRM_VSVM_VM_BIND		0x09
#define DRM_VSVM_ATTR_SET		0x0a
#define DRM_VSVM_ATTR_GET		0x0b
#define DRM_VSVM_ATTR_NEXT		0x0c
#define DRM_VSVM_ATTR_RESET		0x0d
#define DRM_VSVM_PREFETCH		0x0e

#define DRM_IOCTL_VSVM_QUERY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_QUERY, struct drm_vsvm_query)
#define DRM_IOCTL_VSVM_VM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_VM_CREATE, struct drm_vsvm_vm_create)
#define DRM_IOCTL_VSVM_VM_DESTROY \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VSVM_VM_DESTROY, struct drm_vsvm_vm_destroy)
#define DRM_IOCTL_VSVM_EXEC \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_EXEC, struct drm_vsvm_exec)
#define DRM_IOCTL_VSVM_WAIT \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VSVM_WAIT, struct drm_vsvm_wait)
#define DRM_IOCTL_VSVM_ERROR \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_ERROR, struct drm_vsvm_error)
#define DRM_IOCTL_VSVM_STATS \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_STATS, struct drm_vsvm_stats)
#define DRM_IOCTL_VSVM_GEM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_GEM_CREATE, struct drm_vsvm_gem_create)
#define DRM_IOCTL_VSVM_GEM_MMAP_OFFSET \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_GEM_MMAP_OFFSET, struct drm_vsvm_gem_mmap_offset)
#define DRM_IOCTL_VSVM_VM_BIND \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VSVM_VM_BIND, struct drm_vsvm_vm_bind)
#define DRM_IOCTL_VSVM_ATTR_SET \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VSVM_ATTR_SET, struct drm_vsvm_attr_set)
#define DRM_IOCTL_VSVM_ATTR_GET \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VSVM_ATTR_GET, struct drm_vsvm_attr_get)
#define DRM_IOCTL_VSVM_ATTR_NEXT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_ATTR_NEXT, struct drm_vsvm_attr_next)
#define DRM_IOCTL_VSVM_ATTR_RESET \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VSVM_ATTR_RESET, struct drm_vsvm_attr_reset)
#define DRM_IOCTL_VSVM_PREFETCH \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VSVM_PREFETCH, struct drm_vsvm_prefetch)

/** DRM_VSVM_ABI_VERSION - Grows when something is added, see @abi_version */
#define DRM_VSVM_ABI_VERSION		6

/** DRM_VSVM_MAX_INSTRS - Most instructions of one job */
#define DRM_VSVM_MAX_INSTRS		4096

/** DRM_VSVM_MAX_LEN - Most bytes that one instruction covers */
#define DRM_VSVM_MAX_LEN		(1ULL << 32)

/** DRM_VSVM_MAX_QUEUES - Number of job queues of a VM */
#define DRM_VSVM_MAX_QUEUES		16

/** DRM_VSVM_MAX_JOBS - Most unfinished jobs of a VM, EXEC waits for one to end */
#define DRM_VSVM_MAX_JOBS		1024

/** DRM_VSVM_MAX_BIND_OPS - Most operations of one DRM_VSVM_VM_BIND */
#define DRM_VSVM_MAX_BIND_OPS		256

/** DRM_VSVM_MAX_BIND_VMS - Most further VMs of one DRM_VSVM_VM_BIND */
#define DRM_VSVM_MAX_BIND_VMS		7

/** DRM_VSVM_MAX_SYNCS - Most syncobjs of one call */
#define DRM_VSVM_MAX_SYNCS		64

/** DRM_VSVM_MAX_ATTRS - Most attributes of one call */
#define DRM_VSVM_MAX_ATTRS		16

/**
 * DRM_VSVM_MAX_PREFETCHES - Most prefetches of a VM that have a fence and are not
 * done, PREFETCH waits for one to be
 */
#define DRM_VSVM_MAX_PREFETCHES		64

/**
 * enum drm_vsvm_dma - What stands between the device and memory
 * @DRM_VSVM_DMA_DIRECT: Nothing: a device address is a physical address.
 * @DRM_VSVM_DMA_IDENTITY: An IOMMU domain that translates each address to
 *	itself.
 * @DRM_VSVM_DMA_TRANSLATED: An IOMMU domain that translates; an address that
 *	was unmapped does not translate, and an access to it is a violation.
 * @DRM_VSVM_DMA_LAZY: Likewise, but the hardware may honour an address for a while
 *	after it was unmapped.
 */
enum drm_vsvm_dma {
	DRM_VSVM_DMA_DIRECT = 0,
	DRM_VSVM_DMA_IDENTITY = 1,
	DRM_VSVM_DMA_TRANSLATED = 2,
	DRM_VSVM_DMA_LAZY = 3,
};

/**
 * struct drm_vsvm_query - What the device is
 *
 * All members are written by the kernel, @pad must be zero on entry.
 */
struct drm_vsvm_query {
	/** @abi_version: out: %DRM_VSVM_ABI_VERSION of the driver */
	__u32 abi_version;
	/** @index: out: number of the device, from 0 */
	__u32 index;
	/** @engines: out: engines, that is jobs that run at the same time */
	__u32 engines;
	/** @dma: out: an &enum drm_vsvm_dma */
	__u32 dma;
	/** @page_size: out: smallest page of the device, bytes */
	__u64 page_size;
	/** @va_end: out: end (exclusive) of the virtual addresses of a VM */
	__u64 va_end;
	/** @vram_size: out: device memory, bytes; 0: the device has none */
	__u64 vram_size;
	/** @tlb_entries: out: size of the TLB */
	__u32 tlb_entries;
	/** @hive: out: devices of one hive reach each other's memory */
	__u32 hive;
	/** @pad: must be zero */
	__u64 pad;
};

/** DRM_VSVM_VM_MIRROR - The VM sees the address space of the process */
#define DRM_VSVM_VM_MIRROR		(1 << 0)
/**
 * DRM_VSVM_VM_EAGER - What another device of the process faults in is mapped
 * on this VM in the same pass. Needs %DRM_VSVM_VM_MIRROR.
 */
#define DRM_VSVM_VM_EAGER		(1 << 1)
/**
 * DRM_VSVM_VM_MIGRATE - What the device faults on is moved into its memory, where
 * that is possible and other devices do not contend for it. Where the data is
 * makes no difference to any result. Needs %DRM_VSVM_VM_MIRROR.
 */
#define DRM_VSVM_VM_MIGRATE		(1 << 2)
/**
 * DRM_VSVM_VM_SHARED_RESV - The VM shares one reservation object with all VMs of
 * the process that were created with this flag, on whichever device: what one
 * lock protects and what one set of fences says. Makes no difference to what the
 * VM can do.
 */
#define DRM_VSVM_VM_SHARED_RESV		(1 << 3)
/**
 * DRM_VSVM_VM_UPSTREAM - For comparison: the VM has SVM of its own, without the
 * manager, on drm_gpusvm as it is upstream. Results are the same. Needs
 * %DRM_VSVM_VM_MIRROR, excludes %DRM_VSVM_VM_EAGER.
 */
#define DRM_VSVM_VM_UPSTREAM		(1 << 8)
/**
 * DRM_VSVM_VM_TWO_PASS - For comparison: likewise, but with notifiers that wait
 * for the TLB flushes of several devices at the same time. Excludes
 * %DRM_VSVM_VM_UPSTREAM, too.
 */
#define DRM_VSVM_VM_TWO_PASS		(1 << 9)
/** DRM_VSVM_VM_DEVICE_SVM - Flags of a VM that does without the manager */
#define DRM_VSVM_VM_DEVICE_SVM		(DRM_VSVM_VM_UPSTREAM | DRM_VSVM_VM_TWO_PASS)

/**
 * struct drm_vsvm_vm_create - Create a VM
 *
 * EINVAL: unknown flag, a flag without %DRM_VSVM_VM_MIRROR that needs it, flags that
 * exclude each other, pad not zero. ENOSPC: all 64
 * places of the process's manager are taken, or the file has 256 VMs.
 * EOPNOTSUPP: the device cannot reach memory without bounce buffers, or has no
 * memory for %DRM_VSVM_VM_MIGRATE. ENOMEM.
 * EINTR: the caller is being killed.
 */
struct drm_vsvm_vm_create {
	/** @flags: DRM_VSVM_VM_* */
	__u32 flags;
	/** @vm_id: out: the VM's id, from 1, valid on this file */
	__u32 vm_id;
	/** @pad: must be zero */
	__u64 pad;
};

/**
 * struct drm_vsvm_vm_destroy - Destroy a VM
 *
 * Unfinished jobs end with ECANCELED in their error record; the call returns
 * when the device no longer touches the memory of the process for this VM.
 */
struct drm_vsvm_vm_destroy {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * enum drm_vsvm_op - Operations of a job
 *
 * A word is 64 bits, little endian. Addresses of words must be aligned to 8.
 * Bytes are visited in ascending order; a CPU or another device that looks at
 * the memory meanwhile may see any part of the work done.
 *
 * @DRM_VSVM_OP_NOP: Nothing; all arguments must be zero.
 * @DRM_VSVM_OP_FILL: Writes @value to the @len / 8 words from @dst.
 * @DRM_VSVM_OP_COPY: Copies @len bytes from @src to @dst. The spans must not
 *	overlap, DRM_VSVM_EXEC refuses that with EINVAL.
 * @DRM_VSVM_OP_ADD: Adds @value to each of the @len / 8 words from @dst (plain
 *	read, then write).
 * @DRM_VSVM_OP_CHECKSUM: Writes the 64-bit FNV-1a hash of the @len bytes from
 *	@src to the word at @dst. (Offset basis 0xcbf29ce484222325, prime
 *	0x100000001b3.)
 * @DRM_VSVM_OP_COMPARE: Compares @len bytes from @src with those from @value
 *	(an address), and writes the offset of the first difference, or ~0
 *	where there is none, to the word at @dst.
 * @DRM_VSVM_OP_ATOMIC_ADD: Adds @value to the word at @dst atomically, @len
 *	times. Atomic also against the CPU and the other devices.
 * @DRM_VSVM_OP_CHASE: Follows a list: @src is the address of the first node,
 *	a node's word 0 is the address of the next (0: end), its word 1 is a
 *	value. Follows at most @len nodes; writes the number of nodes to the
 *	word at @dst, the sum of the values (modulo 2^64) to the next word.
 * @DRM_VSVM_OP_HISTOGRAM: Counts the @len bytes from @src: adds to each of the
 *	256 words from @dst, atomically, how often that byte value occurs.
 */
enum drm_vsvm_op {
	DRM_VSVM_OP_NOP = 0,
	DRM_VSVM_OP_FILL = 1,
	DRM_VSVM_OP_COPY = 2,
	DRM_VSVM_OP_ADD = 3,
	DRM_VSVM_OP_CHECKSUM = 4,
	DRM_VSVM_OP_COMPARE = 5,
	DRM_VSVM_OP_ATOMIC_ADD = 6,
	DRM_VSVM_OP_CHASE = 7,
	DRM_VSVM_OP_HISTOGRAM = 8,
};

/**
 * struct drm_vsvm_instr - One instruction of a job
 *
 * Members that the operation does not use must be zero. An address is not
 * checked when the job is submitted: the device faults on it, as on hardware.
 * @len must be a multiple of 8 where it counts words, not zero (but for NOP),
 * and at most %DRM_VSVM_MAX_LEN.
 */
struct drm_vsvm_instr {
	/** @op: an &enum drm_vsvm_op */
	__u32 op;
	/** @flags: must be zero */
	__u32 flags;
	/** @dst: destination, a virtual address */
	__u64 dst;
	/** @src: source, a virtual address */
	__u64 src;
	/** @len: bytes, repetitions or nodes */
	__u64 len;
	/** @value: a value or an address, see &enum drm_vsvm_op */
	__u64 value;
};

/**
 * DRM_VSVM_FENCE_ERROR - Set in the word of a user fence whose job failed
 *
 * The word is then the fence value with this bit set.
 */
#define DRM_VSVM_FENCE_ERROR		(1ULL << 63)

/** DRM_VSVM_SYNC_OUT - The syncobj gets the fence of the call; else it is waited for */
#define DRM_VSVM_SYNC_OUT		(1 << 0)

/**
 * struct drm_vsvm_sync - A syncobj that a call waits for or completes
 *
 * One that is waited for must have a fence already, with a point its timeline
 * must have come that far: else EINVAL. ENOENT: there is no such syncobj. What
 * waits does so whether or not that fence ends with an error.
 */
struct drm_vsvm_sync {
	/** @handle: the syncobj */
	__u32 handle;
	/** @flags: DRM_VSVM_SYNC_* */
	__u32 flags;
	/** @point: point on its timeline, 0: it has none */
	__u64 point;
};

/**
 * struct drm_vsvm_exec - Submit a job
 *
 * Jobs of one (VM, queue) run in the order of submission, those of different
 * queues at the same time as far as there are engines. The job's program is
 * copied before the call returns. When it has ended, the device writes the
 * user fence: @fence_value where it succeeded, @fence_value with
 * %DRM_VSVM_FENCE_ERROR where it did not. All that the job wrote is visible
 * to whoever sees that. A job whose fence cannot be written leaves a record
 * with %DRM_VSVM_ERROR_FENCE.
 *
 * On a VM without %DRM_VSVM_VM_MIRROR a job may wait for syncobjs before it
 * begins, and complete others when it has ended; a job that failed completes
 * them with an error. Such a job is ended with ETIME in its record where it runs
 * for too long. Objects that are bound on the VM and were moved meanwhile are
 * brought back where the device can reach them, before the job begins. So is what user
 * pointers point to, and a job is not accepted where that is not possible: EFAULT: a
 * part of it is not mapped in the process; EPERM: or may not be written, and the user
 * pointer is not read-only; EIO: or is memory that devices cannot use; EBUSY: it was
 * taken away again and again, for a second.
 *
 * EINVAL: unknown flag or operation, syncs on a VM with %DRM_VSVM_VM_MIRROR, too
 * many syncs, pad not zero, no or too many
 * instructions, arguments against the rules of &struct drm_vsvm_instr, queue
 * number too high, @fence_addr not aligned to 8, @fence_value with
 * %DRM_VSVM_FENCE_ERROR. EFAULT: also @instrs or @syncs cannot be read. ENOENT, and
 * EINVAL: see &struct drm_vsvm_sync. EINTR: a signal came while the call waited
 * for a place in the queue. ENOMEM. ECANCELED: the VM is
 * being destroyed.
 */
struct drm_vsvm_exec {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: must be zero */
	__u32 flags;
	/** @queue: the queue, below %DRM_VSVM_MAX_QUEUES */
	__u32 queue;
	/** @num_instrs: number of instructions, 1 to %DRM_VSVM_MAX_INSTRS */
	__u32 num_instrs;
	/** @instrs: user pointer to an array of &struct drm_vsvm_instr */
	__u64 instrs;
	/** @fence_addr: address of the user fence, 0: none */
	__u64 fence_addr;
	/** @fence_value: what is written there; must be 0 without fence */
	__u64 fence_value;
	/** @job_id: out: number of the job, from 1, unique in the VM */
	__u64 job_id;
	/** @pad: must be zero */
	__u64 pad;
	/** @syncs: user pointer to an array of &struct drm_vsvm_sync */
	__u64 syncs;
	/** @num_syncs: number of them, at most %DRM_VSVM_MAX_SYNCS */
	__u32 num_syncs;
	/** @pad2: must be zero */
	__u32 pad2;
};

/**
 * struct drm_vsvm_wait - Wait for a user fence
 *
 * Returns when the word at @addr, without %DRM_VSVM_FENCE_ERROR, is @value or
 * greater. EIO: it is, and has %DRM_VSVM_FENCE_ERROR. ETIME: @timeout_ns have
 * passed. EFAULT: the word cannot be read. EINVAL: @addr not aligned to 8,
 * pad not zero, @value with %DRM_VSVM_FENCE_ERROR. ECANCELED: the VM was
 * destroyed meanwhile and the word is still below @value. ENODEV: likewise,
 * the device was removed. EINTR: a signal came.
 */
struct drm_vsvm_wait {
	/** @vm_id: the VM whose jobs complete the fence */
	__u32 vm_id;
	/** @pad: must be zero */
	__u32 pad;
	/** @addr: address of the user fence */
	__u64 addr;
	/** @value: value to wait for */
	__u64 value;
	/** @timeout_ns: longest wait, relative; negative: without limit */
	__s64 timeout_ns;
};

/** DRM_VSVM_ERROR_FENCE - The error met the write of the user fence */
#define DRM_VSVM_ERROR_FENCE		(1 << 0)
/** DRM_VSVM_ERROR_WRITE - The failing access was a write (or an atomic) */
#define DRM_VSVM_ERROR_WRITE		(1 << 1)
/** DRM_VSVM_ERROR_ATOMIC - The failing access was an atomic operation */
#define DRM_VSVM_ERROR_ATOMIC		(1 << 2)

/**
 * struct drm_vsvm_error - Take the oldest error record of a VM
 *
 * A VM keeps its last 256 records. A job that failed has one, and another one
 * with %DRM_VSVM_ERROR_FENCE if its fence could not be written, either. A
 * record is there before the job's fence is written. ENODATA: there is none.
 *
 * @error is a positive errno: EFAULT: nothing is mapped at @addr; EPERM: a
 * write to read-only memory; EIO: memory that devices cannot use; EACCES:
 * access denied by an attribute; EBUSY: the fault could not be served in
 * time; ENOMEM: no memory to serve it; ECANCELED: the VM was destroyed or the
 * process's address space went away; EINVAL: an address that is not aligned
 * or beyond the end of the address space; ENODEV: the device was removed; ETIME:
 * a job that a kernel fence stands for ran too long.
 */
struct drm_vsvm_error {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: out: DRM_VSVM_ERROR_*; must be zero on entry */
	__u32 flags;
	/** @job_id: out: the job */
	__u64 job_id;
	/** @instr: out: index of the instruction */
	__u32 instr;
	/** @error: out: errno, positive */
	__u32 error;
	/** @addr: out: virtual address of the access, 0 if it was none */
	__u64 addr;
	/**
	 * @lost: out: records older than this one that were dropped for want of
	 * space and not reported yet
	 */
	__u64 lost;
	/** @pad: must be zero */
	__u64 pad;
};

/**
 * struct drm_vsvm_stats_data - Counters
 *
 * Members are only ever added at the end. Those of the device count since it
 * was created, those of the VM and of the manager since these were.
 */
struct drm_vsvm_stats_data {
	/** @jobs: VM: jobs that ended, failed ones included */
	__u64 jobs;
	/** @jobs_failed: VM: jobs that failed */
	__u64 jobs_failed;
	/** @bytes_read: VM: bytes that jobs read */
	__u64 bytes_read;
	/** @bytes_written: VM: bytes that jobs wrote */
	__u64 bytes_written;
	/** @faults: VM: accesses that faulted */
	__u64 faults;
	/** @faults_merged: VM: of these, those that the ring had already */
	__u64 faults_merged;
	/** @batches: VM: batches of faults that were served */
	__u64 batches;
	/** @tlb_hits: VM: translations found in the TLB */
	__u64 tlb_hits;
	/** @tlb_misses: VM: translations that walked the page table */
	__u64 tlb_misses;
	/** @tlb_flushes: VM: flushes that the driver asked for */
	__u64 tlb_flushes;
	/** @tlb_flushed: VM: entries that flushes dropped */
	__u64 tlb_flushed;
	/** @violations: device: accesses that I-1 forbids; must be 0 */
	__u64 violations;
	/** @dma_mapped: VM: bytes that are mapped for DMA now */
	__u64 dma_mapped;
	/** @dma_maps: VM: mappings of a range that were made */
	__u64 dma_maps;
	/** @dma_unmaps: VM: mappings of a range that were taken away */
	__u64 dma_unmaps;
	/** @snapshot_hits: VM: mappings made from a snapshot that was there */
	__u64 snapshot_hits;
	/** @snapshot_walks: VM: snapshots that were built, an HMM walk each */
	__u64 snapshot_walks;
	/** @invalidations: VM: invalidations that met mappings of this VM */
	__u64 invalidations;
	/** @retries: VM: faults that had to look again */
	__u64 retries;
	/** @eager_maps: VM: mappings made because another device faulted */
	__u64 eager_maps;
	/** @mgr_invalidations: manager: invalidations of the process */
	__u64 mgr_invalidations;
	/** @mgr_invalidations_missed: manager: those that met no range */
	__u64 mgr_invalidations_missed;
	/** @mgr_walks: manager: HMM walks */
	__u64 mgr_walks;
	/** @mgr_snapshot_hits: manager: mappings made without a walk */
	__u64 mgr_snapshot_hits;
	/** @mgr_ranges: manager: ranges now */
	__u64 mgr_ranges;
	/** @mgr_ranges_made: manager: ranges that were made */
	__u64 mgr_ranges_made;
	/** @mgr_ranges_removed: manager: ranges that were removed */
	__u64 mgr_ranges_removed;
	/** @mgr_seq_waits: manager: waits for the end of an invalidation */
	__u64 mgr_seq_waits;
	/** @mgr_nonblock_refused: manager: non-blockable invalidations refused */
	__u64 mgr_nonblock_refused;
	/** @mgr_instances: manager: VMs attached now, of all devices */
	__u64 mgr_instances;
	/** @migrations: VM: ranges moved to the device for its faults */
	__u64 migrations;
	/** @migrations_failed: VM: moves that were begun and failed */
	__u64 migrations_failed;
	/** @migrations_resident: VM: moves refused, data came elsewhere just before */
	__u64 migrations_resident;
	/** @migrations_pinned: VM: moves refused, data was moved too often */
	__u64 migrations_pinned;
	/** @migrations_shared: VM: moves not needed, data was there */
	__u64 migrations_shared;
	/** @mgr_migrations: manager: moves of a range into device memory */
	__u64 mgr_migrations;
	/** @mgr_migrations_failed: manager: those that failed */
	__u64 mgr_migrations_failed;
	/** @mgr_moves_back: manager: moves to system memory that were noticed */
	__u64 mgr_moves_back;
	/** @mgr_refused_resident: manager: moves refused, residence time */
	__u64 mgr_refused_resident;
	/** @mgr_refused_pinned: manager: moves refused, pinned */
	__u64 mgr_refused_pinned;
	/** @mgr_pins: manager: times that a range was pinned */
	__u64 mgr_pins;
	/** @vram_used: device: bytes of its memory that are allocated */
	__u64 vram_used;
	/** @vram_evictions: device: allocations evicted to make room */
	__u64 vram_evictions;
	/** @copies: device: copies of the copy engine, failed ones included */
	__u64 copies;
	/** @copies_failed: device: copies that failed */
	__u64 copies_failed;
	/** @copy_bytes_in: device: bytes from system to device memory */
	__u64 copy_bytes_in;
	/** @copy_bytes_out: device: bytes from device to system memory */
	__u64 copy_bytes_out;
	/** @copy_bytes_peer: device: bytes between device memories */
	__u64 copy_bytes_peer;
	/** @copy_bytes_cleared: device: bytes of device memory cleared */
	__u64 copy_bytes_cleared;
	/** @vm_ranges: VM without manager: ranges now */
	__u64 vm_ranges;
	/** @vm_seq_waits: VM without manager: waits for the end of an invalidation */
	__u64 vm_seq_waits;
	/** @migrations_backed_off: VM: moves refused, one had failed just before */
	__u64 migrations_backed_off;
	/** @pins: VM: times that a range was pinned, by a move that was this VM's */
	__u64 pins;
	/** @mgr_refused_backoff: manager: moves refused, one had failed just before */
	__u64 mgr_refused_backoff;
	/** @vram_allocations: device: allocations of its memory that were made */
	__u64 vram_allocations;
	/** @vram_arrivals: device: spans of which data came to its memory */
	__u64 vram_arrivals;
	/** @vram_splits: device: huge pages split because they were about to leave */
	__u64 vram_splits;
	/**
	 * @mgr_prefetches: manager: moves of a range that a prefetch, or a new
	 * preferred location, asked for
	 */
	__u64 mgr_prefetches;
	/**
	 * @mgr_attr_conflicts: manager: intervals whose preferred location was set by
	 * another VM before, and overwritten
	 */
	__u64 mgr_attr_conflicts;
	/**
	 * @mgr_attr_widened: manager: times that attributes were dropped more widely
	 * than memory was unmapped
	 */
	__u64 mgr_attr_widened;
	/** @binds: VM: operations of DRM_VSVM_VM_BIND that took effect */
	__u64 binds;
	/** @rebinds: VM: bindings made anew because the object had been moved */
	__u64 rebinds;
	/** @gem_moves: device: moves of objects between system and device memory */
	__u64 gem_moves;
	/**
	 * @bind_retries: VM: times that a DRM_VSVM_VM_BIND gave up what it had locked,
	 * to someone who had begun before it, and locked anew
	 */
	__u64 bind_retries;
};

/**
 * struct drm_vsvm_stats - Read the counters of a VM, its device and manager
 *
 * Copies the smaller of @size and the size that the kernel has, and writes the
 * latter to @size. EINVAL: flags or pad not zero. EFAULT: @data cannot be
 * written.
 */
struct drm_vsvm_stats {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: must be zero */
	__u32 flags;
	/** @size: in: bytes at @data, out: bytes that the kernel has */
	__u32 size;
	/** @pad: must be zero */
	__u32 pad;
	/** @data: user pointer to a &struct drm_vsvm_stats_data */
	__u64 data;
};

/**
 * DOC: vsvm attributes
 *
 * What a process says of its memory. Attributes belong to addresses of the
 * process, a page at least, whether anything is on a device there or not. Those
 * about placement are of the process: what was said last holds, whichever
 * device's VM it was said through. Those about access are of the VM.
 *
 * They say nothing of what is in the memory: results are the same with any
 * attributes, as long as no access is forbidden.
 *
 * munmap() drops them, mremap() those of the old addresses, also with
 * MREMAP_DONTUNMAP; the new ones have none. A child has none after fork(). The
 * access attributes of a VM go with the VM, all of them with the last VM of the
 * process. mprotect(), MADV_DONTNEED and swap leave them as they are.
 *
 * All of the calls want a span: @start and @size in bytes, multiples of the page
 * size, @size not 0, all of it below the end of user space. EINVAL: it is not
 * like that. Other errors that each of them has: ENOENT: no such VM. EPERM:
 * the VM is another process's. EOPNOTSUPP: the VM does without the manager.
 * ECANCELED: the VM is being destroyed. ENODEV: the device was removed. EINTR: the
 * caller is being killed. ENOMEM.
 */

/**
 * enum drm_vsvm_attr_type - What can be said
 * @DRM_VSVM_ATTR_LOCATION: placement: where the data should be, an
 *	&enum drm_vsvm_location. Where that is new, what devices have used of the
 *	span is moved there before the call returns, as far as that is possible.
 * @DRM_VSVM_ATTR_MIGRATION: placement: what faults may move, an
 *	&enum drm_vsvm_migration.
 * @DRM_VSVM_ATTR_GRANULARITY: placement: how much moves at a time at most, log2 of
 *	pages, below 52; or %DRM_VSVM_GRANULARITY_DEFAULT.
 * @DRM_VSVM_ATTR_RESIDENCE: placement: how long data stays on a device before
 *	another one may have it, milliseconds; or %DRM_VSVM_RESIDENCE_DEFAULT.
 * @DRM_VSVM_ATTR_ACCESS: VM: how the device comes to the memory, an
 *	&enum drm_vsvm_mode.
 * @DRM_VSVM_ATTR_READ_ONLY: VM: 1: the device may not write, a job that tries ends
 *	with EACCES; 0.
 * @DRM_VSVM_ATTR_ATOMICS: VM: an &enum drm_vsvm_atomics.
 */
enum drm_vsvm_attr_type {
	DRM_VSVM_ATTR_LOCATION = 0,
	DRM_VSVM_ATTR_MIGRATION = 1,
	DRM_VSVM_ATTR_GRANULARITY = 2,
	DRM_VSVM_ATTR_RESIDENCE = 3,
	DRM_VSVM_ATTR_ACCESS = 4,
	DRM_VSVM_ATTR_READ_ONLY = 5,
	DRM_VSVM_ATTR_ATOMICS = 6,
};

/**
 * enum drm_vsvm_location - Where data should be
 * @DRM_VSVM_LOCATION_DEFAULT: Where it is used: a VM with %DRM_VSVM_VM_MIGRATE has
 *	it moved to its device. Not for DRM_VSVM_PREFETCH.
 * @DRM_VSVM_LOCATION_SYSTEM: In system memory.
 * @DRM_VSVM_LOCATION_DEVICE: In the memory of one device, whoever faults, as long
 *	as it is reached from there.
 */
enum drm_vsvm_location {
	DRM_VSVM_LOCATION_DEFAULT = 0,
	DRM_VSVM_LOCATION_SYSTEM = 1,
	DRM_VSVM_LOCATION_DEVICE = 2,
};

/**
 * enum drm_vsvm_migration - What faults may move
 * @DRM_VSVM_MIGRATION_ALL: Anything; the default.
 * @DRM_VSVM_MIGRATION_NEVER: Nothing, also not for %DRM_VSVM_ATOMICS_DEVICE.
 * @DRM_VSVM_MIGRATION_SYSTEM: What is in system memory, but nothing from one device
 *	to another.
 */
enum drm_vsvm_migration {
	DRM_VSVM_MIGRATION_ALL = 0,
	DRM_VSVM_MIGRATION_NEVER = 1,
	DRM_VSVM_MIGRATION_SYSTEM = 2,
};

/** DRM_VSVM_GRANULARITY_DEFAULT - No wish as to what moves at a time */
#define DRM_VSVM_GRANULARITY_DEFAULT	0xff
/** DRM_VSVM_RESIDENCE_DEFAULT - No wish as to how long data stays */
#define DRM_VSVM_RESIDENCE_DEFAULT	0xffffffffU

/**
 * enum drm_vsvm_mode - How a device comes to memory
 * @DRM_VSVM_MODE_DEFAULT: As the VM was created: on demand, or eagerly with
 *	%DRM_VSVM_VM_EAGER. Only to be set: what is got is one of those.
 * @DRM_VSVM_MODE_ON_DEMAND: By faults.
 * @DRM_VSVM_MODE_NONE: Not at all, a job that tries ends with EACCES.
 * @DRM_VSVM_MODE_EAGER: What another device faults in is mapped along.
 * @DRM_VSVM_MODE_IN_PLACE: By faults, and nothing is moved because of them.
 */
enum drm_vsvm_mode {
	DRM_VSVM_MODE_DEFAULT = 0,
	DRM_VSVM_MODE_ON_DEMAND = 1,
	DRM_VSVM_MODE_NONE = 2,
	DRM_VSVM_MODE_EAGER = 3,
	DRM_VSVM_MODE_IN_PLACE = 4,
};

/**
 * enum drm_vsvm_atomics - What atomic operations of the device are possible
 * @DRM_VSVM_ATOMICS_UNDEFINED: As the next but one; the default.
 * @DRM_VSVM_ATOMICS_DEVICE: Atomic with respect to this device. The data is moved
 *	into its memory and taken from all others before the operation. EACCES
 *	where that cannot be, a file or a VM without %DRM_VSVM_VM_MIGRATE, or must not
 *	be: %DRM_VSVM_MIGRATION_NEVER, %DRM_VSVM_MODE_IN_PLACE.
 * @DRM_VSVM_ATOMICS_GLOBAL: Atomic with respect to everybody, wherever the data is:
 *	these devices have a coherent path to it, and nothing has to be made
 *	exclusive for it.
 * @DRM_VSVM_ATOMICS_CPU: Atomic operations are the CPU's: a job that tries ends
 *	with EACCES.
 */
enum drm_vsvm_atomics {
	DRM_VSVM_ATOMICS_UNDEFINED = 0,
	DRM_VSVM_ATOMICS_DEVICE = 1,
	DRM_VSVM_ATOMICS_GLOBAL = 2,
	DRM_VSVM_ATOMICS_CPU = 3,
};

/** DRM_VSVM_ATTR_MIXED - Got: parts of the span differ, there is no value */
#define DRM_VSVM_ATTR_MIXED		(1 << 0)

/** DRM_VSVM_THIS_DEVICE - In place of a file descriptor: the VM's own device */
#define DRM_VSVM_THIS_DEVICE		(-1)

/** DRM_VSVM_OTHER_DEVICE - In place of an index: a device of another driver */
#define DRM_VSVM_OTHER_DEVICE		(-1)

/**
 * struct drm_vsvm_attr - An attribute
 *
 * The same structure is used to say and to ask. @device is of meaning for
 * %DRM_VSVM_LOCATION_DEVICE only and 0 otherwise; since file descriptors mean
 * nothing in an answer, it is one thing in a question and another in an answer.
 */
struct drm_vsvm_attr {
	/** @type: an &enum drm_vsvm_attr_type */
	__u32 type;
	/** @flags: set: must be zero; got: out: DRM_VSVM_ATTR_* */
	__u32 flags;
	/** @value: the value; got: out, 0 where it is mixed */
	__u32 value;
	/**
	 * @device: set: the device's file descriptor, or %DRM_VSVM_THIS_DEVICE;
	 * got: out: its &drm_vsvm_query.index, or %DRM_VSVM_OTHER_DEVICE
	 */
	__s32 device;
};

/**
 * struct drm_vsvm_attr_set - Say something about memory
 *
 * All of it is said, or nothing. When the call returns no device can do any more
 * what is forbidden now. Where nothing differs from before, nothing happens to
 * what is mapped.
 *
 * EINVAL: also flags or pad not zero, no or too many attributes, an unknown type,
 * a type that is there twice, an unknown value, @flags of an attribute not zero,
 * @device not 0 where it has no meaning, or a file that is no vsvm device. EBADF:
 * @device is not open. EOPNOTSUPP: also that device has no memory. EFAULT: @attrs
 * cannot be read, or nothing is mapped in a part of the span. ENOSPC: attributes of
 * the process name the memory of 64 devices already. ENODEV: also the device that
 * @device names was removed.
 */
struct drm_vsvm_attr_set {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: must be zero */
	__u32 flags;
	/** @start: first address of the span */
	__u64 start;
	/** @size: bytes */
	__u64 size;
	/** @attrs: user pointer to an array of &struct drm_vsvm_attr */
	__u64 attrs;
	/** @num_attrs: their number, 1 to %DRM_VSVM_MAX_ATTRS */
	__u32 num_attrs;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * struct drm_vsvm_attr_get - Ask what was said about memory
 *
 * The caller fills in the types of the array, any, and any number of times; the
 * rest of it is overwritten. Each is answered with the value that all of the
 * span has, or with %DRM_VSVM_ATTR_MIXED. Where nothing was said, or there is
 * no memory, defaults are got.
 *
 * EINVAL: also flags or pad not zero, no or too many attributes, an unknown type.
 * EFAULT: @attrs cannot be read or written.
 */
struct drm_vsvm_attr_get {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: must be zero */
	__u32 flags;
	/** @start: first address of the span */
	__u64 start;
	/** @size: bytes */
	__u64 size;
	/** @attrs: user pointer to an array of &struct drm_vsvm_attr */
	__u64 attrs;
	/** @num_attrs: their number, 1 to %DRM_VSVM_MAX_ATTRS */
	__u32 num_attrs;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * struct drm_vsvm_attr_next - Step through what was said
 *
 * For who wants to know it all: checkpoint tools, for example. Finds the first
 * interval at or after @start about which anything was said that this VM can
 * see, placement or its own access. Intervals that look the same to it are one.
 * None of the values is mixed. Begins with @start 0, goes on with @start + @size;
 * other threads may change attributes meanwhile.
 *
 * ENODATA: there is none. EINVAL: flags or pad not zero, @size not zero, @start
 * not a multiple of the page size, no or too many attributes, an unknown type.
 * EFAULT: @attrs cannot be read or written.
 */
struct drm_vsvm_attr_next {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: must be zero */
	__u32 flags;
	/** @start: where to look from; out: first address of the interval */
	__u64 start;
	/** @size: must be zero; out: bytes of the interval */
	__u64 size;
	/** @attrs: user pointer to an array of &struct drm_vsvm_attr, as for GET */
	__u64 attrs;
	/** @num_attrs: their number, 1 to %DRM_VSVM_MAX_ATTRS */
	__u32 num_attrs;
	/** @pad: must be zero */
	__u32 pad;
};

/**
 * struct drm_vsvm_attr_reset - Take back what was said about memory
 *
 * What was said about placement, through whichever VM, and about the access of
 * this VM. There need not be memory in the span.
 *
 * EINVAL: also flags not zero.
 */
struct drm_vsvm_attr_reset {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: must be zero */
	__u32 flags;
	/** @start: first address of the span */
	__u64 start;
	/** @size: bytes */
	__u64 size;
};

/** DRM_VSVM_PREFETCH_MAP - Map it on the VM, too, for reading at least */
#define DRM_VSVM_PREFETCH_MAP		(1 << 0)

/**
 * struct drm_vsvm_prefetch - Move memory to where it will be used
 *
 * Once: nothing keeps it there. Attributes about placement are not asked. What
 * cannot be moved (files, pages that somebody has pinned, more than there is
 * room for) stays where it is, and is no error. With %DRM_VSVM_PREFETCH_MAP all
 * of the span that the device may access is mapped, moved or not.
 *
 * Without a fence the call returns when it is done. With one, what is wrong with
 * the arguments is said at once, then the call returns; prefetches of a VM with a
 * fence are done one after the other, and as each is done the device writes the
 * fence as the last thing of a job, see &struct drm_vsvm_exec. Where it
 * failed the fence has %DRM_VSVM_FENCE_ERROR, and there is a record with
 * the number @job_id; its errors are EFAULT, EBUSY, ENOMEM as below.
 *
 * EINVAL: also an unknown flag or location, pad or @missed not zero, @device not 0
 * where it has no meaning, or a file that is no vsvm device, @fence_addr not
 * aligned to 8, @fence_value with %DRM_VSVM_FENCE_ERROR, or not 0 without
 * fence. EBADF: @device is not open. EOPNOTSUPP: also that device has no memory.
 * EFAULT: nothing is mapped in a part of the span; with a fence only in the record.
 * EBUSY: a part of the span was invalidated again and again. After this, ENOMEM and
 * EINTR any part may have been moved. ENODEV: also the device that @device names
 * was removed. EINTR: also a signal while the call with a fence waited for its
 * turn, see %DRM_VSVM_MAX_PREFETCHES.
 */
struct drm_vsvm_prefetch {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: DRM_VSVM_PREFETCH_* */
	__u32 flags;
	/** @start: first address of the span */
	__u64 start;
	/** @size: bytes */
	__u64 size;
	/** @location: an &enum drm_vsvm_location, where to */
	__u32 location;
	/**
	 * @device: for %DRM_VSVM_LOCATION_DEVICE: the device's file descriptor,
	 * or %DRM_VSVM_THIS_DEVICE; else 0
	 */
	__s32 device;
	/** @fence_addr: address of the user fence, 0: none */
	__u64 fence_addr;
	/** @fence_value: what is written there; must be 0 without fence */
	__u64 fence_value;
	/**
	 * @missed: must be zero; out: bytes that are not there, 0 with a fence.
	 * Bytes are counted in what moves at a time, as far as the driver knows.
	 */
	__u64 missed;
	/** @job_id: out: with a fence: number of the job that writes it */
	__u64 job_id;
	/** @pad: must be zero */
	__u64 pad;
};

/**
 * enum drm_vsvm_placement - Where an object should be
 * @DRM_VSVM_PLACEMENT_SYSTEM: In system memory.
 * @DRM_VSVM_PLACEMENT_DEVICE: In the memory of the device. The CPU cannot reach
 *	that: where it touches the object, this is moved to system memory, and
 *	back when a job of a VM without mirrors, or a bind, needs it next. Where
 *	the device has no room, or another device that cannot reach its memory
 *	uses the object, it stays in system memory, too.
 */
enum drm_vsvm_placement {
	DRM_VSVM_PLACEMENT_SYSTEM = 0,
	DRM_VSVM_PLACEMENT_DEVICE = 1,
};

/**
 * DRM_VSVM_GEM_VM - The object is for one VM
 *
 * It can be bound on the VM @vm_id, and on those that share its reservation
 * object, and cannot be exported. Its fences are those of the VM.
 */
#define DRM_VSVM_GEM_VM			(1 << 0)

/**
 * struct drm_vsvm_gem_create - Create a GEM object
 *
 * It holds zeros. Closed with DRM_IOCTL_GEM_CLOSE; exported and imported with
 * DRM_IOCTL_PRIME_HANDLE_TO_FD and DRM_IOCTL_PRIME_FD_TO_HANDLE.
 *
 * EINVAL: unknown flag or placement, @size zero or not a multiple of the page
 * size, @vm_id not zero without %DRM_VSVM_GEM_VM, pad not zero. ENOENT, EPERM: as
 * for any VM. EOPNOTSUPP: the device has no memory. ENOMEM: also where @size is
 * more than a quarter of the machine's memory.
 */
struct drm_vsvm_gem_create {
	/** @size: bytes */
	__u64 size;
	/** @placement: an &enum drm_vsvm_placement */
	__u32 placement;
	/** @flags: DRM_VSVM_GEM_* */
	__u32 flags;
	/** @vm_id: the VM, for %DRM_VSVM_GEM_VM */
	__u32 vm_id;
	/** @handle: out: the object's handle */
	__u32 handle;
	/** @pad: must be zero */
	__u64 pad;
};

/**
 * struct drm_vsvm_gem_mmap_offset - Where to mmap() an object
 *
 * Shared mappings only. EINVAL: flags or pad not zero, an imported object (it is
 * for its exporter to map). ENOENT: there is no such object. ENOMEM.
 */
struct drm_vsvm_gem_mmap_offset {
	/** @handle: the object */
	__u32 handle;
	/** @flags: must be zero */
	__u32 flags;
	/** @offset: out: offset for mmap() on the device's file */
	__u64 offset;
	/** @pad: must be zero */
	__u64 pad;
};

/**
 * enum drm_vsvm_bind_type - Operations of DRM_VSVM_VM_BIND
 *
 * Bindings and mirrored spans that are in the span of an operation only in part keep
 * the rest.
 *
 * @DRM_VSVM_BIND_MAP: Bind @range bytes of an object, from @offset, to the
 *	addresses from @addr. What was bound or mirrored there is not any more.
 * @DRM_VSVM_BIND_UNMAP: Nothing is bound any more at the addresses. What is
 *	mirrored there stays; but what was mirrored before something was bound there is
 *	not mirrored again.
 * @DRM_VSVM_BIND_MIRROR: The process's memory from @offset (an address of the
 *	CPU) is seen at the addresses, too, whether there is any yet or not. What was
 *	bound there is not any more.
 * @DRM_VSVM_BIND_UNMIRROR: It is not seen there any more. Nothing happens where it was
 *	not. An access to where nothing is seen nor bound ends the job with EFAULT.
 * @DRM_VSVM_BIND_USERPTR: Bind @range bytes of the process's memory, from @offset (an
 *	address of the CPU), to the addresses. What was bound there is not any more.
 *	There has to be memory when a job is submitted, see &struct drm_vsvm_exec; it
 *	is whatever the process has there at that time. For VMs without
 *	%DRM_VSVM_VM_MIRROR only, the two before it for VMs with it.
 */
enum drm_vsvm_bind_type {
	DRM_VSVM_BIND_MAP = 0,
	DRM_VSVM_BIND_UNMAP = 1,
	DRM_VSVM_BIND_MIRROR = 2,
	DRM_VSVM_BIND_UNMIRROR = 3,
	DRM_VSVM_BIND_USERPTR = 4,
};

/**
 * DRM_VSVM_BIND_READ_ONLY - The device may not write there; with what makes something
 * seen
 */
#define DRM_VSVM_BIND_READ_ONLY		(1 << 0)

/**
 * struct drm_vsvm_bind_op - One operation of DRM_VSVM_VM_BIND
 *
 * @addr, @range and @offset are multiples of the page size. Members that the
 * operation does not use must be zero.
 */
struct drm_vsvm_bind_op {
	/** @type: an &enum drm_vsvm_bind_type */
	__u32 type;
	/** @flags: DRM_VSVM_BIND_READ_ONLY, with MAP, MIRROR and USERPTR */
	__u32 flags;
	/** @handle: the object, for %DRM_VSVM_BIND_MAP */
	__u32 handle;
	/** @pad: must be zero */
	__u32 pad;
	/** @addr: first address of the VM */
	__u64 addr;
	/** @range: bytes, not 0 */
	__u64 range;
	/** @offset: offset in the object, or address of the CPU */
	__u64 offset;
};

/**
 * struct drm_vsvm_bind_vm - A further VM of DRM_VSVM_VM_BIND
 *
 * The VM, and the objects that its operations name, are those of the file @device.
 */
struct drm_vsvm_bind_vm {
	/**
	 * @device: file descriptor of a vsvm device, or %DRM_VSVM_THIS_DEVICE: the file
	 * that the call is made on
	 */
	__s32 device;
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @num_ops: number of operations, 1 to %DRM_VSVM_MAX_BIND_OPS */
	__u32 num_ops;
	/** @pad: must be zero */
	__u32 pad;
	/** @ops: user pointer to an array of &struct drm_vsvm_bind_op */
	__u64 ops;
};

/**
 * struct drm_vsvm_vm_bind - Change what is bound or mirrored at addresses of a VM
 *
 * Operations of one call take effect in their order, calls on one VM in the
 * order in which they were made: all of a call or, where it is refused, nothing.
 * The call does not wait until they have: it waits for nothing but memory, and
 * the syncobjs tell when; with ECANCELED, if the VM is destroyed while they still
 * wait for something that does not end with it. An access while a binding is being
 * replaced may find the old, the new, or none.
 *
 * What has to do with the process's memory is different, because it may wait for page
 * faults, and nothing that does may stand behind a fence: all calls on a VM with
 * %DRM_VSVM_VM_MIRROR, and those on others that bind, or unbind or replace a part of, a
 * user pointer. There it is the call that waits for the syncobjs and, on a VM without
 * mirrors, for its binds before this one and for its jobs that were submitted; the
 * operations have taken effect when it returns, and the syncobjs are signalled. An
 * access on a VM with mirrors finds the old or the new.
 *
 * A call may change further VMs of the process, on any devices, each with operations of
 * its own: those of all VMs, or none. All of them wait for the syncobjs, and each for
 * what was bound on its VM before; syncobjs of the call are completed when the
 * operations of all VMs have taken effect. Such a call must not have to do with the
 * process's memory, on any of its VMs.
 *
 * EINVAL: unknown type or flag, no or too many operations or syncs, an address,
 * range or offset that is not aligned, empty, beyond the end of the VM's address
 * space, the object or the CPU's address space, a member that must be zero,
 * an operation that the VM does not have, an object for another
 * VM. EEXIST: a mirror operation where something is mirrored already. ENOENT:
 * there is no such object; see also &struct drm_vsvm_sync. EFAULT: @ops or @syncs
 * cannot be read. EOPNOTSUPP: a VM with %DRM_VSVM_VM_MIRROR that does without the
 * manager. ENOSPC: the first user pointer of a VM, and all 64 places of the process's
 * manager are taken. EINTR: a signal came while
 * the call waited. ENOMEM. ECANCELED: the VM is being destroyed.
 *
 * With further VMs, all of these for each of them, and: EINVAL: too many VMs, a VM that
 * is there twice, a @device that is no vsvm device, pad not zero. EBADF: @device is not
 * open. EFAULT: @vms cannot be read. EOPNOTSUPP: a VM with %DRM_VSVM_VM_MIRROR, or a
 * user pointer that is bound, unbound or replaced. ENODEV: one of the devices was
 * removed.
 */
struct drm_vsvm_vm_bind {
	/** @vm_id: the VM */
	__u32 vm_id;
	/** @flags: must be zero */
	__u32 flags;
	/** @num_ops: number of operations, 1 to %DRM_VSVM_MAX_BIND_OPS */
	__u32 num_ops;
	/** @num_syncs: number of syncobjs, at most %DRM_VSVM_MAX_SYNCS */
	__u32 num_syncs;
	/** @ops: user pointer to an array of &struct drm_vsvm_bind_op */
	__u64 ops;
	/** @syncs: user pointer to an array of &struct drm_vsvm_sync */
	__u64 syncs;
	/**
	 * @vms: user pointer to an array of &struct drm_vsvm_bind_vm; 0 where there
	 * are none
	 */
	__u64 vms;
	/** @num_vms: number of further VMs, at most %DRM_VSVM_MAX_BIND_VMS */
	__u32 num_vms;
	/** @pad: must be zero */
	__u32 pad;
};

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_VSVM_DRM_H_ */
