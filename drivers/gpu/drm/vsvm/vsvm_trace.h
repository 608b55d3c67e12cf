/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#if !defined(__VSVM_TRACE_H__) || defined(TRACE_HEADER_MULTI_READ)
#define __VSVM_TRACE_H__

#include <linux/tracepoint.h>

#include "vsvm_drv.h"

#undef TRACE_SYSTEM
#define TRACE_SYSTEM vsvm
#define TRACE_INCLUDE_FILE vsvm_trace

#define show_vsvm_access(access) \
	__print_symbolic(access, \
			 { DRM_GPUSVM_ACCESS_READ, "read" }, \
			 { DRM_GPUSVM_ACCESS_WRITE, "write" }, \
			 { DRM_GPUSVM_ACCESS_ATOMIC, "atomic" })

DECLARE_EVENT_CLASS(vsvm_job,
	TP_PROTO(struct vsvm_job *job, int err),
	TP_ARGS(job, err),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, vm)
		__field(u32, queue)
		__field(u64, job)
		__field(u32, instrs)
		__field(u32, pc)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->dev = job->vm->dev->index;
		__entry->vm = job->vm->id;
		__entry->queue = job->queue->index;
		__entry->job = job->id;
		__entry->instrs = job->num_instrs;
		__entry->pc = job->pc;
		__entry->err = err;
	),
	TP_printk("dev=%u vm=%u queue=%u job=%llu instrs=%u pc=%u err=%d",
		  __entry->dev, __entry->vm, __entry->queue, __entry->job,
		  __entry->instrs, __entry->pc, __entry->err)
);

DEFINE_EVENT(vsvm_job, vsvm_job_submit,
	TP_PROTO(struct vsvm_job *job, int err),
	TP_ARGS(job, err)
);

DEFINE_EVENT(vsvm_job, vsvm_job_start,
	TP_PROTO(struct vsvm_job *job, int err),
	TP_ARGS(job, err)
);

DEFINE_EVENT(vsvm_job, vsvm_job_end,
	TP_PROTO(struct vsvm_job *job, int err),
	TP_ARGS(job, err)
);

TRACE_EVENT(vsvm_populate,
	TP_PROTO(struct vsvm_device *dev, unsigned long start, unsigned long end, int err),
	TP_ARGS(dev, start, end, err),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->dev = dev->index;
		__entry->start = start;
		__entry->end = end;
		__entry->err = err;
	),
	TP_printk("dev=%u [0x%lx-0x%lx) err=%d", __entry->dev, __entry->start,
		  __entry->end, __entry->err)
);

TRACE_EVENT(vsvm_evict,
	TP_PROTO(struct vsvm_device *dev, u64 offset, u64 size, int err),
	TP_ARGS(dev, offset, size, err),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u64, offset)
		__field(u64, size)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->dev = dev->index;
		__entry->offset = offset;
		__entry->size = size;
		__entry->err = err;
	),
	TP_printk("dev=%u offset=0x%llx size=0x%llx err=%d", __entry->dev,
		  __entry->offset, __entry->size, __entry->err)
);

TRACE_EVENT(vsvm_fault_push,
	TP_PROTO(struct vsvm_vm *vm, u64 va, unsigned int access, const char *how),
	TP_ARGS(vm, va, access, how),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, vm)
		__field(u64, va)
		__field(unsigned int, access)
		__string(how, how)
	),
	TP_fast_assign(
		__entry->dev = vm->dev->index;
		__entry->vm = vm->id;
		__entry->va = va;
		__entry->access = access;
		__assign_str(how);
	),
	TP_printk("dev=%u vm=%u va=0x%llx access=%s how=%s",
		  __entry->dev, __entry->vm, __entry->va,
		  show_vsvm_access(__entry->access), __get_str(how))
);

TRACE_EVENT(vsvm_fault_serve,
	TP_PROTO(struct vsvm_vm *vm, u64 va, unsigned int access, int err),
	TP_ARGS(vm, va, access, err),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, vm)
		__field(u64, va)
		__field(unsigned int, access)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->dev = vm->dev->index;
		__entry->vm = vm->id;
		__entry->va = va;
		__entry->access = access;
		__entry->err = err;
	),
	TP_printk("dev=%u vm=%u va=0x%llx access=%s err=%d",
		  __entry->dev, __entry->vm, __entry->va,
		  show_vsvm_access(__entry->access), __entry->err)
);

TRACE_EVENT(vsvm_flush_start,
	TP_PROTO(struct vsvm_vm *vm, u64 start, u64 end, u64 generation, bool merged),
	TP_ARGS(vm, start, end, generation, merged),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, vm)
		__field(u64, start)
		__field(u64, end)
		__field(u64, generation)
		__field(bool, merged)
	),
	TP_fast_assign(
		__entry->dev = vm->dev->index;
		__entry->vm = vm->id;
		__entry->start = start;
		__entry->end = end;
		__entry->generation = generation;
		__entry->merged = merged;
	),
	TP_printk("dev=%u vm=%u start=0x%llx end=0x%llx generation=%llu merged=%d",
		  __entry->dev, __entry->vm, __entry->start, __entry->end,
		  __entry->generation, __entry->merged)
);

TRACE_EVENT(vsvm_flush_done,
	TP_PROTO(struct vsvm_vm *vm, u64 start, u64 end, u64 generation,
		 unsigned int dropped, bool suppressed),
	TP_ARGS(vm, start, end, generation, dropped, suppressed),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, vm)
		__field(u64, start)
		__field(u64, end)
		__field(u64, generation)
		__field(unsigned int, dropped)
		__field(bool, suppressed)
	),
	TP_fast_assign(
		__entry->dev = vm->dev->index;
		__entry->vm = vm->id;
		__entry->start = start;
		__entry->end = end;
		__entry->generation = generation;
		__entry->dropped = dropped;
		__entry->suppressed = suppressed;
	),
	TP_printk("dev=%u vm=%u start=0x%llx end=0x%llx generation=%llu dropped=%u suppressed=%d",
		  __entry->dev, __entry->vm, __entry->start, __entry->end,
		  __entry->generation, __entry->dropped, __entry->suppressed)
);

DECLARE_EVENT_CLASS(vsvm_pte,
	TP_PROTO(struct vsvm_vm *vm, u64 start, u64 end, unsigned int count, u64 cookie),
	TP_ARGS(vm, start, end, count, cookie),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, vm)
		__field(u64, start)
		__field(u64, end)
		__field(unsigned int, count)
		__field(u64, cookie)
	),
	TP_fast_assign(
		__entry->dev = vm->dev->index;
		__entry->vm = vm->id;
		__entry->start = start;
		__entry->end = end;
		__entry->count = count;
		__entry->cookie = cookie;
	),
	TP_printk("dev=%u vm=%u start=0x%llx end=0x%llx count=%u cookie=0x%llx",
		  __entry->dev, __entry->vm, __entry->start, __entry->end,
		  __entry->count, __entry->cookie)
);

DEFINE_EVENT(vsvm_pte, vsvm_pte_map,
	TP_PROTO(struct vsvm_vm *vm, u64 start, u64 end, unsigned int count, u64 cookie),
	TP_ARGS(vm, start, end, count, cookie)
);

DEFINE_EVENT(vsvm_pte, vsvm_pte_zap,
	TP_PROTO(struct vsvm_vm *vm, u64 start, u64 end, unsigned int count, u64 cookie),
	TP_ARGS(vm, start, end, count, cookie)
);

TRACE_EVENT(vsvm_gem_move,
	TP_PROTO(struct vsvm_device *dev, size_t size, bool to_device),
	TP_ARGS(dev, size, to_device),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(size_t, size)
		__field(bool, to_device)
	),
	TP_fast_assign(
		__entry->dev = dev->index;
		__entry->size = size;
		__entry->to_device = to_device;
	),
	TP_printk("dev=%u size=%zu to_device=%d", __entry->dev, __entry->size,
		  __entry->to_device)
);

TRACE_EVENT(vsvm_violation,
	TP_PROTO(struct vsvm_vm *vm, const char *what, u64 va, u64 cookie, bool provoked),
	TP_ARGS(vm, what, va, cookie, provoked),
	TP_STRUCT__entry(
		__field(u32, dev)
		__field(u32, vm)
		__string(what, what)
		__field(u64, va)
		__field(u64, cookie)
		__field(bool, provoked)
	),
	TP_fast_assign(
		__entry->dev = vm->dev->index;
		__entry->vm = vm->id;
		__assign_str(what);
		__entry->va = va;
		__entry->cookie = cookie;
		__entry->provoked = provoked;
	),
	TP_printk("dev=%u vm=%u what=\"%s\" va=0x%llx cookie=0x%llx provoked=%d",
		  __entry->dev, __entry->vm, __get_str(what), __entry->va,
		  __entry->cookie, __entry->provoked)
);

#endif /* __VSVM_TRACE_H__ */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../../drivers/gpu/drm/vsvm
#include <trace/define_trace.h>
