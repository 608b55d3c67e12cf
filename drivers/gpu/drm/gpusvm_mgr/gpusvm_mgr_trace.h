/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM gpusvm_mgr

#if !defined(__GPUSVM_MGR_TRACE_H__) || defined(TRACE_HEADER_MULTI_READ)
#define __GPUSVM_MGR_TRACE_H__

#include <linux/tracepoint.h>

#include "gpusvm_mgr_internal.h"

DECLARE_EVENT_CLASS(gpusvm_mgr_instance,
	TP_PROTO(const struct drm_gpusvm_instance *instance),
	TP_ARGS(instance),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, slot)
		__string(name, instance->name)
	),
	TP_fast_assign(
		__entry->mgr = instance->mgr->id;
		__entry->slot = instance->slot;
		__assign_str(name);
	),
	TP_printk("mgr=%u slot=%u name=%s", __entry->mgr, __entry->slot,
		  __get_str(name))
);

DEFINE_EVENT(gpusvm_mgr_instance, gpusvm_mgr_attach,
	TP_PROTO(const struct drm_gpusvm_instance *instance),
	TP_ARGS(instance)
);

DEFINE_EVENT(gpusvm_mgr_instance, gpusvm_mgr_detach,
	TP_PROTO(const struct drm_gpusvm_instance *instance),
	TP_ARGS(instance)
);

DECLARE_EVENT_CLASS(gpusvm_mgr_range,
	TP_PROTO(const struct drm_gpusvm_mgr_range *range),
	TP_ARGS(range),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, seq)
		__field(unsigned long, present)
	),
	TP_fast_assign(
		__entry->mgr = range->mgr->id;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->seq = range->shadow.invalidate_seq;
		__entry->present = range->present;
	),
	TP_printk("mgr=%u [0x%lx-0x%lx) seq=%lu present=0x%lx", __entry->mgr,
		  __entry->start, __entry->end, __entry->seq, __entry->present)
);

DEFINE_EVENT(gpusvm_mgr_range, gpusvm_mgr_range_insert,
	TP_PROTO(const struct drm_gpusvm_mgr_range *range),
	TP_ARGS(range)
);

DEFINE_EVENT(gpusvm_mgr_range, gpusvm_mgr_range_kill,
	TP_PROTO(const struct drm_gpusvm_mgr_range *range),
	TP_ARGS(range)
);

DEFINE_EVENT(gpusvm_mgr_range, gpusvm_mgr_range_remove,
	TP_PROTO(const struct drm_gpusvm_mgr_range *range),
	TP_ARGS(range)
);

TRACE_EVENT(gpusvm_mgr_walk,
	TP_PROTO(const struct drm_gpusvm_mgr_range *range, bool write,
		 unsigned long seq, int err),
	TP_ARGS(range, write, seq, err),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(bool, write)
		__field(unsigned long, seq)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->mgr = range->mgr->id;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->write = write;
		__entry->seq = seq;
		__entry->err = err;
	),
	TP_printk("mgr=%u [0x%lx-0x%lx) write=%d seq=%lu err=%d", __entry->mgr,
		  __entry->start, __entry->end, __entry->write, __entry->seq,
		  __entry->err)
);

TRACE_EVENT(gpusvm_mgr_note,
	TP_PROTO(const struct drm_gpusvm_mgr *mgr, unsigned long start,
		 unsigned long last),
	TP_ARGS(mgr, start, last),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned long, start)
		__field(unsigned long, last)
	),
	TP_fast_assign(
		__entry->mgr = mgr->id;
		__entry->start = start;
		__entry->last = last;
	),
	TP_printk("mgr=%u [0x%lx-0x%lx]", __entry->mgr, __entry->start, __entry->last)
);

TRACE_EVENT(gpusvm_mgr_attr,
	TP_PROTO(const struct drm_gpusvm_instance *instance, unsigned long start,
		 unsigned long last, unsigned int fields),
	TP_ARGS(instance, start, last, fields),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, slot)
		__field(unsigned long, start)
		__field(unsigned long, last)
		__field(unsigned int, fields)
	),
	TP_fast_assign(
		__entry->mgr = instance->mgr->id;
		__entry->slot = instance->slot;
		__entry->start = start;
		__entry->last = last;
		__entry->fields = fields;
	),
	TP_printk("mgr=%u slot=%u [0x%lx-0x%lx] fields=0x%x", __entry->mgr,
		  __entry->slot, __entry->start, __entry->last, __entry->fields)
);

TRACE_EVENT(gpusvm_mgr_seq_wait,
	TP_PROTO(const struct drm_gpusvm_mgr_range *range, u64 ns),
	TP_ARGS(range, ns),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->mgr = range->mgr->id;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->ns = ns;
	),
	TP_printk("mgr=%u [0x%lx-0x%lx) ns=%llu", __entry->mgr, __entry->start,
		  __entry->end, __entry->ns)
);

DECLARE_EVENT_CLASS(gpusvm_mgr_mapping,
	TP_PROTO(const struct drm_gpusvm_mapping *mapping, unsigned long seq),
	TP_ARGS(mapping, seq),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, slot)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned int, nr_runs)
		__field(unsigned long, seq)
	),
	TP_fast_assign(
		__entry->mgr = mapping->instance->mgr->id;
		__entry->slot = mapping->instance->slot;
		__entry->start = mapping->start;
		__entry->end = mapping->end;
		__entry->nr_runs = mapping->nr_runs;
		__entry->seq = seq;
	),
	TP_printk("mgr=%u slot=%u [0x%lx-0x%lx) runs=%u seq=%lu", __entry->mgr,
		  __entry->slot, __entry->start, __entry->end, __entry->nr_runs,
		  __entry->seq)
);

DEFINE_EVENT(gpusvm_mgr_mapping, gpusvm_mgr_map,
	TP_PROTO(const struct drm_gpusvm_mapping *mapping, unsigned long seq),
	TP_ARGS(mapping, seq)
);

DEFINE_EVENT(gpusvm_mgr_mapping, gpusvm_mgr_zap,
	TP_PROTO(const struct drm_gpusvm_mapping *mapping, unsigned long seq),
	TP_ARGS(mapping, seq)
);

DEFINE_EVENT(gpusvm_mgr_mapping, gpusvm_mgr_unmap,
	TP_PROTO(const struct drm_gpusvm_mapping *mapping, unsigned long seq),
	TP_ARGS(mapping, seq)
);

TRACE_EVENT(gpusvm_mgr_flush,
	TP_PROTO(const struct drm_gpusvm_instance *instance, unsigned long start,
		 unsigned long end, u64 generation),
	TP_ARGS(instance, start, end, generation),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, slot)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(u64, generation)
	),
	TP_fast_assign(
		__entry->mgr = instance->mgr->id;
		__entry->slot = instance->slot;
		__entry->start = start;
		__entry->end = end;
		__entry->generation = generation;
	),
	TP_printk("mgr=%u slot=%u [0x%lx-0x%lx) generation=%llu", __entry->mgr,
		  __entry->slot, __entry->start, __entry->end,
		  __entry->generation)
);

TRACE_EVENT(gpusvm_mgr_flush_done,
	TP_PROTO(const struct drm_gpusvm_instance *instance, u64 generation),
	TP_ARGS(instance, generation),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, slot)
		__field(u64, generation)
	),
	TP_fast_assign(
		__entry->mgr = instance->mgr->id;
		__entry->slot = instance->slot;
		__entry->generation = generation;
	),
	TP_printk("mgr=%u slot=%u generation=%llu", __entry->mgr, __entry->slot,
		  __entry->generation)
);

TRACE_EVENT(gpusvm_mgr_invalidate_start,
	TP_PROTO(const struct drm_gpusvm_mgr *mgr,
		 const struct mmu_notifier_range *event, unsigned long seq,
		 unsigned int ranges, unsigned long present),
	TP_ARGS(mgr, event, seq, ranges, present),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, event)
		__field(bool, blockable)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(unsigned long, seq)
		__field(unsigned int, ranges)
		__field(unsigned long, present)
	),
	TP_fast_assign(
		__entry->mgr = mgr->id;
		__entry->event = event->event;
		__entry->blockable = mmu_notifier_range_blockable(event);
		__entry->start = event->start;
		__entry->end = event->end;
		__entry->seq = seq;
		__entry->ranges = ranges;
		__entry->present = present;
	),
	TP_printk("mgr=%u event=%u blockable=%d [0x%lx-0x%lx) seq=%lu ranges=%u present=0x%lx",
		  __entry->mgr, __entry->event, __entry->blockable,
		  __entry->start, __entry->end, __entry->seq, __entry->ranges,
		  __entry->present)
);

TRACE_EVENT(gpusvm_mgr_invalidate_finish,
	TP_PROTO(const struct drm_gpusvm_mgr *mgr, unsigned long start,
		 unsigned long last, unsigned long slots),
	TP_ARGS(mgr, start, last, slots),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned long, start)
		__field(unsigned long, last)
		__field(unsigned long, slots)
	),
	TP_fast_assign(
		__entry->mgr = mgr->id;
		__entry->start = start;
		__entry->last = last;
		__entry->slots = slots;
	),
	TP_printk("mgr=%u [0x%lx-0x%lx] slots=0x%lx", __entry->mgr,
		  __entry->start, __entry->last, __entry->slots)
);

TRACE_EVENT(gpusvm_mgr_migrate,
	TP_PROTO(const struct drm_gpusvm_instance *instance,
		 const struct drm_gpusvm_mgr_range *range, int err),
	TP_ARGS(instance, range, err),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, slot)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->mgr = range->mgr->id;
		__entry->slot = instance->slot;
		__entry->start = range->start;
		__entry->end = range->end;
		__entry->err = err;
	),
	TP_printk("mgr=%u slot=%u [0x%lx-0x%lx) err=%d", __entry->mgr, __entry->slot,
		  __entry->start, __entry->end, __entry->err)
);

TRACE_EVENT(gpusvm_mgr_moved,
	TP_PROTO(const struct drm_gpusvm_mgr_range *range, const char *to, bool pinned),
	TP_ARGS(range, to, pinned),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__string(to, to ? to : "system")
		__field(bool, pinned)
	),
	TP_fast_assign(
		__entry->mgr = range->mgr->id;
		__entry->start = range->start;
		__entry->end = range->end;
		__assign_str(to);
		__entry->pinned = pinned;
	),
	TP_printk("mgr=%u [0x%lx-0x%lx) to=%s pinned=%d", __entry->mgr, __entry->start,
		  __entry->end, __get_str(to), __entry->pinned)
);

TRACE_EVENT(gpusvm_mgr_fault,
	TP_PROTO(const struct drm_gpusvm_instance *instance,
		 const struct drm_gpusvm_fault *fault),
	TP_ARGS(instance, fault),
	TP_STRUCT__entry(
		__field(unsigned int, mgr)
		__field(unsigned int, slot)
		__field(unsigned long, addr)
		__field(unsigned int, access)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->mgr = instance->mgr->id;
		__entry->slot = instance->slot;
		__entry->addr = fault->addr;
		__entry->access = fault->access;
		__entry->err = fault->err;
	),
	TP_printk("mgr=%u slot=%u addr=0x%lx access=%u err=%d", __entry->mgr,
		  __entry->slot, __entry->addr, __entry->access, __entry->err)
);

#endif /* __GPUSVM_MGR_TRACE_H__ */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH ../../drivers/gpu/drm/gpusvm_mgr
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE gpusvm_mgr_trace
#include <trace/define_trace.h>
