// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mirror: which addresses of its process an instance sees, and at which of its
 * own. Pure: neither devices nor the process's memory are known here.
 */

#include <linux/kernel.h>
#include <linux/slab.h>

#include "gpusvm_mgr_mirror.h"

/**
 * DOC: Mirror maps
 *
 * Most instances see all of their process at the same addresses. But a driver
 * may take a span out, to have something else there, and may have a span of the
 * process seen at other addresses, also more than once. So an instance has a map
 * from its device's addresses, in which no two spans overlap; and the same by
 * the process's addresses, where they may, for the way from a range to all the
 * places where the device sees it.
 *
 * Both are interval trees, because of the overlaps. They are changed and read
 * under the instance lock, so that PTEs and map go together; what a change needs
 * is allocated before.
 */

static struct gpusvm_mgr_mirror_span *to_gpu_span(struct interval_tree_node *node)
{
	return node ? container_of(node, struct gpusvm_mgr_mirror_span, gpu) : NULL;
}

static struct gpusvm_mgr_mirror_span *to_cpu_span(struct interval_tree_node *node)
{
	return node ? container_of(node, struct gpusvm_mgr_mirror_span, cpu) : NULL;
}

static void gpusvm_mgr_mirror_insert(struct gpusvm_mgr_mirror *mirror,
				     struct gpusvm_mgr_mirror_span *span)
{
	interval_tree_insert(&span->gpu, &mirror->gpu);
	interval_tree_insert(&span->cpu, &mirror->cpu);
}

static void gpusvm_mgr_mirror_take(struct gpusvm_mgr_mirror *mirror,
				   struct gpusvm_mgr_mirror_span *span)
{
	interval_tree_remove(&span->gpu, &mirror->gpu);
	interval_tree_remove(&span->cpu, &mirror->cpu);
}

/* Makes a span of a part of another one, or of itself. */
static void gpusvm_mgr_mirror_cut(struct gpusvm_mgr_mirror_span *span,
				  const struct gpusvm_mgr_mirror_span *from,
				  unsigned long start, unsigned long last)
{
	unsigned long offset = from->cpu.start - from->gpu.start;

	span->gpu.start = start;
	span->gpu.last = last;
	span->cpu.start = start + offset;
	span->cpu.last = last + offset;
	span->read_only = from->read_only;
}

/**
 * gpusvm_mgr_mirror_init() - Initialize a map in which nothing is seen
 * @mirror: The map.
 */
void gpusvm_mgr_mirror_init(struct gpusvm_mgr_mirror *mirror)
{
	mirror->gpu = RB_ROOT_CACHED;
	mirror->cpu = RB_ROOT_CACHED;
}

/**
 * gpusvm_mgr_mirror_fini() - Release what a map holds
 * @mirror: The map.
 */
void gpusvm_mgr_mirror_fini(struct gpusvm_mgr_mirror *mirror)
{
	struct gpusvm_mgr_mirror_span *span;

	while ((span = gpusvm_mgr_mirror_next_gpu(mirror, NULL, 0, ULONG_MAX))) {
		gpusvm_mgr_mirror_take(mirror, span);
		kfree(span);
	}
}

/**
 * gpusvm_mgr_mirror_spares_init() - Allocate what changes may need
 * @spares: The spares. To be released in any case.
 * @changes: How many changes.
 *
 * Return: 0, or -ENOMEM.
 */
int gpusvm_mgr_mirror_spares_init(struct gpusvm_mgr_mirror_spares *spares,
				  unsigned int changes)
{
	struct gpusvm_mgr_mirror_span *span;

	INIT_LIST_HEAD(&spares->spans);
	/*
	 * A removal cuts one span in two, at most; an addition makes one. The process
	 * may have as many as it likes, on its own account.
	 */
	while (changes--) {
		span = kzalloc_obj(*span, GFP_KERNEL_ACCOUNT);
		if (!span)
			return -ENOMEM;
		list_add(&span->link, &spares->spans);
	}
	return 0;
}

/**
 * gpusvm_mgr_mirror_spares_fini() - Free what is left
 * @spares: The spares.
 */
void gpusvm_mgr_mirror_spares_fini(struct gpusvm_mgr_mirror_spares *spares)
{
	struct gpusvm_mgr_mirror_span *span, *next;

	list_for_each_entry_safe(span, next, &spares->spans, link)
		kfree(span);
	INIT_LIST_HEAD(&spares->spans);
}

static struct gpusvm_mgr_mirror_span *
gpusvm_mgr_mirror_spare(struct gpusvm_mgr_mirror_spares *spares)
{
	struct gpusvm_mgr_mirror_span *span =
		list_first_entry(&spares->spans, struct gpusvm_mgr_mirror_span, link);

	list_del(&span->link);
	return span;
}

/**
 * gpusvm_mgr_mirror_add() - Have a span seen
 * @mirror: The map.
 * @gpu: Its first address on the device.
 * @size: Bytes, not 0.
 * @cpu: Its first address in the process.
 * @read_only: The device may not write there.
 * @spares: Has one for each change.
 *
 * Return: 0, or -EEXIST where something is seen at these addresses already.
 */
int gpusvm_mgr_mirror_add(struct gpusvm_mgr_mirror *mirror, unsigned long gpu,
			  unsigned long size, unsigned long cpu, bool read_only,
			  struct gpusvm_mgr_mirror_spares *spares)
{
	struct gpusvm_mgr_mirror_span *span;

	if (gpusvm_mgr_mirror_next_gpu(mirror, NULL, gpu, gpu + size - 1))
		return -EEXIST;

	span = gpusvm_mgr_mirror_spare(spares);
	span->gpu.start = gpu;
	span->gpu.last = gpu + size - 1;
	span->cpu.start = cpu;
	span->cpu.last = cpu + size - 1;
	span->read_only = read_only;
	gpusvm_mgr_mirror_insert(mirror, span);
	return 0;
}

/**
 * gpusvm_mgr_mirror_remove() - Have a span not seen any more
 * @mirror: The map.
 * @start: First address on the device.
 * @last: Its last address, inclusive.
 * @spares: Has one for each change.
 *
 * Cannot fail. Where nothing is seen, nothing happens.
 */
void gpusvm_mgr_mirror_remove(struct gpusvm_mgr_mirror *mirror, unsigned long start,
			      unsigned long last,
			      struct gpusvm_mgr_mirror_spares *spares)
{
	struct gpusvm_mgr_mirror_span *span;

	while ((span = gpusvm_mgr_mirror_next_gpu(mirror, NULL, start, last))) {
		unsigned long first = span->gpu.start, end = span->gpu.last;
		struct gpusvm_mgr_mirror_span *right;

		gpusvm_mgr_mirror_take(mirror, span);
		if (end > last) {
			right = first < start ? gpusvm_mgr_mirror_spare(spares) : span;
			gpusvm_mgr_mirror_cut(right, span, last + 1, end);
			gpusvm_mgr_mirror_insert(mirror, right);
			if (right == span)
				continue;
		}
		if (first < start) {
			gpusvm_mgr_mirror_cut(span, span, first, start - 1);
			gpusvm_mgr_mirror_insert(mirror, span);
			continue;
		}
		list_add(&span->link, &spares->spans);
	}
}

/**
 * gpusvm_mgr_mirror_translate() - What is seen at an address?
 * @mirror: The map.
 * @gpu: The address on the device.
 * @cpu: Out: that of the process.
 *
 * Return: the span that it is in, NULL where nothing is seen.
 */
struct gpusvm_mgr_mirror_span *
gpusvm_mgr_mirror_translate(struct gpusvm_mgr_mirror *mirror, unsigned long gpu,
			    unsigned long *cpu)
{
	struct gpusvm_mgr_mirror_span *span =
		gpusvm_mgr_mirror_next_gpu(mirror, NULL, gpu, gpu);

	if (span)
		*cpu = span->cpu.start + (gpu - span->gpu.start);
	return span;
}

/**
 * gpusvm_mgr_mirror_next_gpu() - Step through the spans by the device's addresses
 * @mirror: The map.
 * @span: The one before, NULL to begin.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * Return: the next span that overlaps, or NULL.
 */
struct gpusvm_mgr_mirror_span *
gpusvm_mgr_mirror_next_gpu(struct gpusvm_mgr_mirror *mirror,
			   struct gpusvm_mgr_mirror_span *span, unsigned long start,
			   unsigned long last)
{
	return to_gpu_span(span ? interval_tree_iter_next(&span->gpu, start, last) :
			   interval_tree_iter_first(&mirror->gpu, start, last));
}

/**
 * gpusvm_mgr_mirror_next_cpu() - Step through the spans by the process's addresses
 * @mirror: The map.
 * @span: The one before, NULL to begin.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * Return: the next span that overlaps, or NULL.
 */
struct gpusvm_mgr_mirror_span *
gpusvm_mgr_mirror_next_cpu(struct gpusvm_mgr_mirror *mirror,
			   struct gpusvm_mgr_mirror_span *span, unsigned long start,
			   unsigned long last)
{
	return to_cpu_span(span ? interval_tree_iter_next(&span->cpu, start, last) :
			   interval_tree_iter_first(&mirror->cpu, start, last));
}

/**
 * gpusvm_mgr_mirror_validate() - Check the invariants of a map
 * @mirror: The map.
 *
 * No two spans overlap on the device, each is as long there as in the process,
 * and all of them are in both trees.
 *
 * Return: 0, or -EUCLEAN.
 */
int gpusvm_mgr_mirror_validate(struct gpusvm_mgr_mirror *mirror)
{
	struct gpusvm_mgr_mirror_span *span = NULL;
	unsigned long count = 0, end = 0;
	bool bad = false;

	while ((span = gpusvm_mgr_mirror_next_gpu(mirror, span, 0, ULONG_MAX))) {
		bad |= span->gpu.start > span->gpu.last;
		bad |= count && span->gpu.start <= end;
		bad |= span->gpu.last - span->gpu.start != span->cpu.last - span->cpu.start;
		end = span->gpu.last;
		count++;
	}
	while ((span = gpusvm_mgr_mirror_next_cpu(mirror, span, 0, ULONG_MAX)))
		count--;
	return bad || count ? -EUCLEAN : 0;
}
