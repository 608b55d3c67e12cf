// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Hint: what was said of a process's memory, as faults and invalidations see it:
 * the attributes with their effect on what is mapped, the device memories that
 * they name, and the notes of what was unmapped.
 */

#include <linux/slab.h>

#include <drm/drm_device.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"
#include "gpusvm_mgr_trace.h"

/**
 * DOC: Advice
 *
 * Attributes belong to addresses, not to ranges, which come and go. A fault looks
 * them up, without a lock, and acts on them; so a change must reach those who
 * looked before it. Each instance has a generation for that, of its attributes
 * and its mirror map::
 *
 *	fault					change
 *	-----					------
 *	instance lock: read the generation	store the attributes
 *	look at attributes and mirror map	instance lock for write:
 *	migrate, walk				  generation + 1
 *	instance lock for read:			  zap what does not fit any more
 *	  generation as it was?			  start a flush
 *	  no: look again			wait for the flush
 *	  yes: write PTEs
 *
 * Either the fault commits before the change has the lock, then its PTEs are
 * zapped; or it finds another generation. When the call returns, no device can do
 * anything that the attributes forbid.
 *
 * Such a zap leaves the DMA mapping and the present bit. Who fills the mapping
 * next finds that, waits for the flush and unmaps before it maps again: it has
 * the range's fault mutex, which the change does not need, so that a change never
 * waits for a fault that user space keeps from ending.
 *
 * A range whose interval was cut by a change is zapped on all instances; the next
 * fault sees that it does not fit, and puts smaller ones in its place.
 *
 * What is unmapped loses its attributes. The start pass can neither allocate nor
 * wait for a change under way, so it only notes the span, if anything was said of
 * it, in one of a few places; where these do not suffice it makes one of them
 * wider, and attributes in between are dropped that need not be, which is
 * counted. Each fault and each call about attributes drops what was noted before
 * it looks at anything. A set holds the mmap lock for read while it stores, so that
 * the memory is there: an unmapping comes before it, and the set fails, or after
 * it, and takes its note after the store. mremap() unmaps the old addresses, also
 * with MREMAP_DONTUNMAP: their attributes go, and none come to the new ones.
 */

/**
 * gpusvm_mgr_hints_init() - Initialize: nothing was said
 * @mgr: The manager.
 *
 * Return: 0, or -ENOMEM.
 */
int gpusvm_mgr_hints_init(struct drm_gpusvm_mgr *mgr)
{
	struct gpusvm_mgr_hints *hints = &mgr->hints;

	mutex_init(&hints->lock);
	spin_lock_init(&hints->note_lock);
	return gpusvm_mgr_attrs_init(&hints->attrs);
}

/**
 * gpusvm_mgr_hints_fini() - Release everything
 * @mgr: The manager, of which nobody knows any more.
 */
void gpusvm_mgr_hints_fini(struct drm_gpusvm_mgr *mgr)
{
	struct gpusvm_mgr_hints *hints = &mgr->hints;
	unsigned int i;

	for (i = 0; i < GPUSVM_MGR_LOCATIONS; i++)
		drm_pagemap_put(hints->locations[i]);
	gpusvm_mgr_attrs_fini(&hints->attrs);
	mutex_destroy(&hints->lock);
}

/* Widens a note that is next to a span, or takes a free place for it. */
static bool gpusvm_mgr_note_add(struct gpusvm_mgr_hints *hints, unsigned long start,
				unsigned long last)
{
	struct gpusvm_mgr_note *note;
	unsigned int i;

	for (i = 0; i < hints->nr_notes; i++) {
		note = &hints->notes[i];
		if (start > note->last + 1 || (last < note->start - 1 && note->start))
			continue;
		note->start = min(note->start, start);
		note->last = max(note->last, last);
		return true;
	}
	if (hints->nr_notes == GPUSVM_MGR_NOTES)
		return false;

	hints->notes[hints->nr_notes++] = (struct gpusvm_mgr_note) {
		.start = start,
		.last = last,
	};
	return true;
}

/* The note that grows least when it takes a span in. */
static void gpusvm_mgr_note_widen(struct gpusvm_mgr_hints *hints, unsigned long start,
				  unsigned long last)
{
	unsigned long least = ULONG_MAX;
	struct gpusvm_mgr_note *best = &hints->notes[0];
	unsigned int i;

	for (i = 0; i < hints->nr_notes; i++) {
		struct gpusvm_mgr_note *note = &hints->notes[i];
		unsigned long gap = start > note->last ? start - note->last :
				    note->start - last;

		if (gap < least) {
			least = gap;
			best = note;
		}
	}
	best->start = min(best->start, start);
	best->last = max(best->last, last);
}

/**
 * gpusvm_mgr_hints_note() - A span is being unmapped
 * @mgr: The manager.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * Does not sleep. See DOC: Advice.
 */
void gpusvm_mgr_hints_note(struct drm_gpusvm_mgr *mgr, unsigned long start,
			   unsigned long last)
{
	struct gpusvm_mgr_hints *hints = &mgr->hints;

	if (!gpusvm_mgr_attrs_any(&hints->attrs, start, last))
		return;

	spin_lock(&hints->note_lock);
	if (!gpusvm_mgr_note_add(hints, start, last)) {
		gpusvm_mgr_note_widen(hints, start, last);
		gpusvm_mgr_count(mgr, attr_widened);
	}
	WRITE_ONCE(hints->pending, true);
	spin_unlock(&hints->note_lock);
	trace_gpusvm_mgr_note(mgr, start, last);
}

/*
 * Drops the attributes of what was noted; the lock is held. Nobody has to look again
 * for that (I-2): the default forbids nothing that was allowed before, and a range
 * over an edge that is new is met by the next fault.
 */
static int gpusvm_mgr_hints_settle_locked(struct drm_gpusvm_mgr *mgr)
{
	const struct gpusvm_mgr_change reset = {
		.fields = GPUSVM_MGR_FIELD_RESET,
		.takes_back = true,
	};
	struct gpusvm_mgr_hints *hints = &mgr->hints;
	struct gpusvm_mgr_pieces pieces;
	struct gpusvm_mgr_note note;
	int err = 0;

	lockdep_assert_held(&hints->lock);

	/*
	 * Pending until all of them are done, so that nobody looks at what is about
	 * to be dropped. Ends: what is noted meanwhile was unmapped meanwhile.
	 */
	while (!err) {
		spin_lock(&hints->note_lock);
		if (!hints->nr_notes) {
			WRITE_ONCE(hints->pending, false);
			spin_unlock(&hints->note_lock);
			break;
		}
		note = hints->notes[--hints->nr_notes];
		spin_unlock(&hints->note_lock);

		err = gpusvm_mgr_attrs_change(&hints->attrs, note.start, note.last,
					      &reset, &pieces, GFP_KERNEL);
		if (err)
			gpusvm_mgr_hints_note(mgr, note.start, note.last);
		else
			gpusvm_mgr_pieces_free(&hints->attrs, &pieces);
	}

	return err;
}

/**
 * gpusvm_mgr_hints_settle() - Drop the attributes of what was unmapped
 * @mgr: The manager.
 *
 * May sleep; the caller holds no lock below &gpusvm_mgr_hints.lock. When the call
 * returns, also what another one was dropping is gone.
 *
 * Return: 0, or -ENOMEM.
 */
int gpusvm_mgr_hints_settle(struct drm_gpusvm_mgr *mgr)
{
	int err;

	if (likely(!READ_ONCE(mgr->hints.pending)) || gpusvm_mgr_broken(GPUSVM_MGR_STEP_SETTLE))
		return 0;

	mutex_lock(&mgr->hints.lock);
	err = gpusvm_mgr_hints_settle_locked(mgr);
	mutex_unlock(&mgr->hints.lock);
	return err;
}

/**
 * gpusvm_mgr_hints_look() - What holds for an instance at an address
 * @instance: The instance.
 * @va: The address of the process.
 * @hint: Out: what holds.
 *
 * Takes no lock, does not sleep.
 */
void gpusvm_mgr_hints_look(struct drm_gpusvm_instance *instance, unsigned long va,
			   struct gpusvm_mgr_hint *hint)
{
	struct drm_gpusvm_mgr *mgr = instance->mgr;
	struct gpusvm_mgr_attr attr;

	gpusvm_mgr_attrs_lookup(&mgr->hints.attrs, va, &attr, &hint->start, &hint->last);
	hint->placement = attr.placement;
	hint->access = gpusvm_mgr_attr_access(&attr, instance->slot);
	if (hint->access.mode == DRM_GPUSVM_MODE_DEFAULT)
		hint->access.mode = instance->flags & DRM_GPUSVM_INSTANCE_EAGER ?
			DRM_GPUSVM_MODE_EAGER : DRM_GPUSVM_MODE_ON_DEMAND;
	hint->eager = gpusvm_mgr_attr_mode_slots(&attr, DRM_GPUSVM_MODE_EAGER) |
		(READ_ONCE(mgr->eager) &
		 gpusvm_mgr_attr_mode_slots(&attr, DRM_GPUSVM_MODE_DEFAULT));
}

/**
 * gpusvm_mgr_hints_target() - Into which memory is a fault to move data?
 * @instance: The instance that faulted.
 * @hint: What holds there.
 *
 * Return: the device memory, with a reference; NULL: into none.
 */
struct drm_pagemap *gpusvm_mgr_hints_target(struct drm_gpusvm_instance *instance,
					    const struct gpusvm_mgr_hint *hint)
{
	struct drm_pagemap *dpagemap;

	if (hint->placement.policy == DRM_GPUSVM_MIGRATION_NEVER ||
	    hint->placement.location == GPUSVM_MGR_LOCATION_SYSTEM ||
	    hint->access.mode == DRM_GPUSVM_MODE_IN_PLACE)
		return NULL;

	if (hint->placement.location == GPUSVM_MGR_LOCATION_DEFAULT)
		return drm_pagemap_get(instance->dpagemap);

	/* Where the device does not reach it there is no point in moving it. */
	dpagemap = gpusvm_mgr_location_get(instance->mgr, hint->placement.location);
	if (dpagemap && dpagemap->pagemap->owner != instance->owner) {
		drm_pagemap_put(dpagemap);
		dpagemap = NULL;
	}
	return dpagemap;
}

/**
 * gpusvm_mgr_location_get() - Which device memory is meant?
 * @mgr: The manager.
 * @number: From %GPUSVM_MGR_LOCATION_DEVICE on.
 *
 * Return: the memory, with a reference; or NULL, where the attribute with this
 * number is gone.
 */
struct drm_pagemap *gpusvm_mgr_location_get(struct drm_gpusvm_mgr *mgr,
					    unsigned int number)
{
	unsigned int i = number - GPUSVM_MGR_LOCATION_DEVICE;
	struct drm_pagemap *dpagemap;

	if (i >= GPUSVM_MGR_LOCATIONS)
		return NULL;

	spin_lock(&mgr->hints.note_lock);
	dpagemap = drm_pagemap_get(mgr->hints.locations[i]);
	spin_unlock(&mgr->hints.note_lock);
	return dpagemap;
}

/* Is there an attribute with this number? The lock is held. */
static bool gpusvm_mgr_location_used(struct drm_gpusvm_mgr *mgr, unsigned int number)
{
	struct gpusvm_mgr_value *value;
	int bucket;

	hash_for_each(mgr->hints.attrs.values, bucket, value, hash)
		if (value->attr.placement.location == number)
			return true;
	return false;
}

/**
 * gpusvm_mgr_location_number() - Give a device memory a number
 * @mgr: The manager. Its hints' lock is held until the number is stored.
 * @dpagemap: The memory.
 *
 * One that no attribute has any more is given out again. Who still acts on the
 * old attribute then goes to the wrong place, which is no more than a hint that
 * came late: it looks again when it commits.
 *
 * Return: the number; -ENOSPC where attributes name as many as there can be; or
 * -ENOMEM.
 */
int gpusvm_mgr_location_number(struct drm_gpusvm_mgr *mgr, struct drm_pagemap *dpagemap)
{
	struct gpusvm_mgr_hints *hints = &mgr->hints;
	struct drm_pagemap *old;
	int i, err, found = -1;

	lockdep_assert_held(&hints->lock);

	/* What was unmapped names nothing any more. */
	err = gpusvm_mgr_hints_settle_locked(mgr);
	if (err)
		return err;

	for (i = 0; i < GPUSVM_MGR_LOCATIONS; i++) {
		if (hints->locations[i] == dpagemap)
			return i + GPUSVM_MGR_LOCATION_DEVICE;
		if (found < 0 && !hints->locations[i])
			found = i;
	}
	for (i = 0; found < 0 && i < GPUSVM_MGR_LOCATIONS; i++)
		if (!gpusvm_mgr_location_used(mgr, i + GPUSVM_MGR_LOCATION_DEVICE))
			found = i;
	if (found < 0)
		return -ENOSPC;

	spin_lock(&hints->note_lock);
	old = hints->locations[found];
	hints->locations[found] = drm_pagemap_get(dpagemap);
	spin_unlock(&hints->note_lock);
	drm_pagemap_put(old);
	return found + GPUSVM_MGR_LOCATION_DEVICE;
}

/*
 * What a change does to ranges: which of an instance's mappings have to go; all of
 * them where there are no pieces. Ranges come in ascending order, as pieces do.
 */
struct gpusvm_mgr_effect {
	const struct gpusvm_mgr_pieces *pieces;
	unsigned int slot;
	unsigned int *next;
};

/* Does a range reach over the edge of an interval? */
static bool gpusvm_mgr_range_crosses(struct drm_gpusvm_mgr_range *range)
{
	struct gpusvm_mgr_attr attr;
	unsigned long start, last;

	gpusvm_mgr_attrs_lookup(&range->mgr->hints.attrs, range->start, &attr, &start,
				&last);
	return range->end - 1 > last;
}

static bool gpusvm_mgr_effect_hits(struct drm_gpusvm_instance *instance,
				   struct drm_gpusvm_mgr_range *range, const void *data)
{
	const struct gpusvm_mgr_effect *effect = data;
	const struct gpusvm_mgr_pieces *pieces = effect->pieces;
	unsigned int i;

	if (!pieces || gpusvm_mgr_range_crosses(range))
		return true;

	while (*effect->next < pieces->count &&
	       pieces->piece[*effect->next].last < range->start)
		(*effect->next)++;
	for (i = *effect->next; i < pieces->count; i++) {
		const struct gpusvm_mgr_piece *piece = &pieces->piece[i];

		if (piece->start >= range->end)
			break;
		if (piece->fields & GPUSVM_MGR_FIELDS_ACCESS && effect->slot == instance->slot)
			return true;
		/* Smaller ones are to take its place. */
		if (piece->fields & GPUSVM_MGR_FIELD_GRANULARITY)
			return true;
	}
	return false;
}

/*
 * Lets a change take effect: flushes are started on all devices before the first
 * one is waited for.
 */
static void gpusvm_mgr_hints_effect(struct drm_gpusvm_mgr *mgr, unsigned long start,
				    unsigned long last,
				    const struct gpusvm_mgr_pieces *pieces,
				    unsigned int changed)
{
	u64 generation[GPUSVM_MGR_SLOTS] = {};
	struct drm_gpusvm_instance *instance;
	unsigned int slot, next;
	struct gpusvm_mgr_effect effect = {
		.pieces = pieces,
		.slot = changed,
		.next = &next,
	};
	int idx;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	for (slot = 0; slot < GPUSVM_MGR_SLOTS; slot++) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (!instance)
			continue;
		next = 0;
		gpusvm_mgr_fenced_pause(instance);
		down_write(&instance->svm.notifier_lock);
		if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_GENERATION))
			WRITE_ONCE(instance->generation, instance->generation + 1);
		generation[slot] = gpusvm_mgr_mapping_zap_some(instance, start, last,
							       gpusvm_mgr_effect_hits,
							       &effect);
		up_write(&instance->svm.notifier_lock);
		gpusvm_mgr_fenced_resume(instance);
	}
	for (slot = 0; slot < GPUSVM_MGR_SLOTS; slot++) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		/* One that was attached meanwhile has not been there before. */
		if (!instance || !generation[slot])
			continue;
		gpusvm_mgr_flush_wait(instance, generation[slot]);
		gpusvm_mgr_mapping_tidy(instance, start, last);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);
}

/**
 * gpusvm_mgr_span_mapped() - Is there memory at each address of a span?
 * @mm: The process's mm. The mmap lock is held.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * Return: true if there is.
 */
bool gpusvm_mgr_span_mapped(struct mm_struct *mm, unsigned long start,
			    unsigned long last)
{
	VMA_ITERATOR(vmi, mm, start);
	struct vm_area_struct *vma;
	unsigned long next = start;

	mmap_assert_locked(mm);

	for_each_vma_range(vmi, vma, last + 1) {
		if (vma->vm_start > next)
			return false;
		next = vma->vm_end;
	}
	return next > last;
}

/**
 * gpusvm_mgr_hints_change() - Change attributes, and what is mapped
 * @instance: The instance through which it is said.
 * @start: First address, aligned to PAGE_SIZE.
 * @last: Last address, inclusive.
 * @change: What to change.
 * @holes: There need not be memory in all of the span.
 * @pieces: Out: what was changed, to be freed; empty on failure.
 *
 * The hints' lock is held. When the call returns, no device can do what the new
 * attributes forbid.
 *
 * Return: 0; -EFAULT: there is no memory in a part of the span; -ENOSPC: there are
 * too many intervals; -ENOMEM. Nothing
 * was changed then.
 */
int gpusvm_mgr_hints_change(struct drm_gpusvm_instance *instance, unsigned long start,
			    unsigned long last, const struct gpusvm_mgr_change *change,
			    bool holes, struct gpusvm_mgr_pieces *pieces)
{
	struct drm_gpusvm_mgr *mgr = instance->mgr;
	struct gpusvm_mgr_hints *hints = &mgr->hints;
	unsigned int fields = 0, i;
	int err;

	lockdep_assert_held(&hints->lock);

	*pieces = (struct gpusvm_mgr_pieces){};
	err = gpusvm_mgr_hints_settle_locked(mgr);
	if (err)
		return err;

	/* What is there now is unmapped later, and then noted. */
	mmap_read_lock(mgr->mm);
	if (!holes && !gpusvm_mgr_span_mapped(mgr->mm, start, last))
		err = -EFAULT;
	else
		err = gpusvm_mgr_attrs_change(&hints->attrs, start, last, change, pieces,
					      GFP_KERNEL_ACCOUNT);
	mmap_read_unlock(mgr->mm);
	/* Somebody may have acted on what was in force for a moment. */
	if (pieces->undone)
		gpusvm_mgr_hints_effect(mgr, start, last, NULL, instance->slot);
	if (err)
		return err;

	for (i = 0; i < pieces->count; i++) {
		const struct gpusvm_mgr_piece *piece = &pieces->piece[i];

		if (piece->fields)
			trace_gpusvm_mgr_attr(instance, piece->start, piece->last,
					      piece->fields);
		fields |= piece->fields;
	}
	gpusvm_mgr_add(mgr, attr_conflicts, pieces->conflicts);
	if (fields)
		gpusvm_mgr_hints_effect(mgr, start, last, pieces, instance->slot);
	return 0;
}

/* Changes all of the address space; cannot fail. */
static void gpusvm_mgr_hints_change_all(struct drm_gpusvm_mgr *mgr,
					const struct gpusvm_mgr_change *change)
{
	struct gpusvm_mgr_hints *hints = &mgr->hints;
	struct gpusvm_mgr_pieces pieces;

	mutex_lock(&hints->lock);
	if (gpusvm_mgr_attrs_any(&hints->attrs, 0, ULONG_MAX)) {
		gpusvm_mgr_attrs_change(&hints->attrs, 0, ULONG_MAX - 1, change, &pieces,
					GFP_KERNEL | __GFP_NOFAIL);
		gpusvm_mgr_pieces_free(&hints->attrs, &pieces);
	}
	mutex_unlock(&hints->lock);
}

/**
 * gpusvm_mgr_hints_forget() - An instance goes
 * @mgr: The manager.
 * @slot: The instance's slot. It is dead, and no call on it is under way.
 *
 * What was said of its access is of no meaning for who has the slot next.
 */
void gpusvm_mgr_hints_forget(struct drm_gpusvm_mgr *mgr, unsigned int slot)
{
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELDS_ACCESS,
		.slot = slot,
		.takes_back = true,
	};

	gpusvm_mgr_hints_change_all(mgr, &change);
}

/**
 * gpusvm_mgr_hints_forget_all() - The last instance has gone
 * @mgr: The manager, whose notifier is not registered any more: nobody notices what
 *	is unmapped from here on.
 */
void gpusvm_mgr_hints_forget_all(struct drm_gpusvm_mgr *mgr)
{
	const struct gpusvm_mgr_change change = {
		.fields = GPUSVM_MGR_FIELD_RESET,
		.takes_back = true,
	};

	gpusvm_mgr_hints_change_all(mgr, &change);
	spin_lock(&mgr->hints.note_lock);
	mgr->hints.nr_notes = 0;
	WRITE_ONCE(mgr->hints.pending, false);
	spin_unlock(&mgr->hints.note_lock);
}
