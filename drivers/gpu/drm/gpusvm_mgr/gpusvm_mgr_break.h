/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_BREAK_H__
#define __GPUSVM_MGR_BREAK_H__

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/types.h>

/**
 * enum gpusvm_mgr_step - Protocol steps that a test can break
 * @GPUSVM_MGR_STEP_READY: Range usable before its sequence was copied.
 * @GPUSVM_MGR_STEP_STORE_FIRST: Sequence copied before the range is stored.
 * @GPUSVM_MGR_STEP_CMPXCHG: Sequence stored plainly, over a newer one.
 * @GPUSVM_MGR_STEP_SET_FIRST: Start pass looks up before it sets the sequence.
 * @GPUSVM_MGR_STEP_NOTE_FLUSH: Start pass ignores the flush of another one.
 * @GPUSVM_MGR_STEP_LEAVE_BIT: A failed commit clears the present bit.
 * @GPUSVM_MGR_STEP_SET_BIT: Commit checks the sequence before it sets the bit.
 * @GPUSVM_MGR_STEP_RECHECK: Commit does not check the sequence.
 * @GPUSVM_MGR_STEP_ERASE_LAST: Removal erases and unmaps before the flush.
 * @GPUSVM_MGR_STEP_ZAP_WHOLE: Start pass zaps only what the event covers.
 * @GPUSVM_MGR_STEP_DIRTY: Unmapping does not dirty what was writable.
 * @GPUSVM_MGR_STEP_FLUSH: Invalidations do not flush.
 * @GPUSVM_MGR_STEP_TWO_PASS: Each flush is waited for in the start pass.
 * @GPUSVM_MGR_STEP_MISS: The miss path takes the instance locks.
 * @GPUSVM_MGR_STEP_SHARE: No snapshot is shared.
 * @GPUSVM_MGR_STEP_OWN_RANGE: A hit sets the sequence of every range.
 * @GPUSVM_MGR_STEP_BURY_LAST: Start pass queues a dead range for removal before
 *	it sets its sequence.
 * @GPUSVM_MGR_STEP_GENERATION: A change of attributes or of the mirror map is not
 *	noticed by those who looked before it.
 * @GPUSVM_MGR_STEP_SETTLE: Faults do not drop the attributes of what was unmapped.
 * @GPUSVM_MGR_STEP_QUIESCE: Invalidations do not wait for jobs that do not fault.
 * @GPUSVM_MGR_STEP_UNMAP: DMA mappings of system memory are forgotten, not unmapped.
 * @GPUSVM_MGR_STEP_UNLOCK: Start pass waits for its flush with the instance lock held.
 *	While it is left out, waits with a lock held are counted, not reported.
 * @GPUSVM_MGR_STEP_ATTR_RETRY: A look at attributes is not repeated where they were
 *	changed meanwhile.
 */
enum gpusvm_mgr_step {
	GPUSVM_MGR_STEP_READY,
	GPUSVM_MGR_STEP_STORE_FIRST,
	GPUSVM_MGR_STEP_CMPXCHG,
	GPUSVM_MGR_STEP_SET_FIRST,
	GPUSVM_MGR_STEP_NOTE_FLUSH,
	GPUSVM_MGR_STEP_LEAVE_BIT,
	GPUSVM_MGR_STEP_SET_BIT,
	GPUSVM_MGR_STEP_RECHECK,
	GPUSVM_MGR_STEP_ERASE_LAST,
	GPUSVM_MGR_STEP_ZAP_WHOLE,
	GPUSVM_MGR_STEP_DIRTY,
	GPUSVM_MGR_STEP_FLUSH,
	GPUSVM_MGR_STEP_TWO_PASS,
	GPUSVM_MGR_STEP_MISS,
	GPUSVM_MGR_STEP_SHARE,
	GPUSVM_MGR_STEP_OWN_RANGE,
	GPUSVM_MGR_STEP_BURY_LAST,
	GPUSVM_MGR_STEP_GENERATION,
	GPUSVM_MGR_STEP_SETTLE,
	GPUSVM_MGR_STEP_QUIESCE,
	GPUSVM_MGR_STEP_UNMAP,
	GPUSVM_MGR_STEP_UNLOCK,
	GPUSVM_MGR_STEP_ATTR_RETRY,
};

/**
 * enum gpusvm_mgr_window - Points where a test can step in
 * @GPUSVM_MGR_WINDOW_INSERT_COPY: Insert: before the range is stored in the
 *	tree; the object is the range.
 * @GPUSVM_MGR_WINDOW_INSERT_STORED: Insert: the range is in the tree, its
 *	sequence was read, not yet written; the object is the range.
 * @GPUSVM_MGR_WINDOW_START_SET: Start pass: between the manager's sequence and
 *	the lookup; the object is the manager.
 * @GPUSVM_MGR_WINDOW_START_DEAD: Start pass: a range was marked dead, its
 *	sequence not yet set; the object is the range.
 * @GPUSVM_MGR_WINDOW_START_ZAPPED: Start pass: all zapped, flushes started; the
 *	object is the manager.
 * @GPUSVM_MGR_WINDOW_START_FENCED: Start pass: it is known which instances are
 *	concerned, those whose jobs do not fault are not yet stopped; the object is
 *	the manager.
 * @GPUSVM_MGR_WINDOW_FINISH: Finish pass: flushes done, not yet unmapped; the
 *	object is the manager.
 * @GPUSVM_MGR_WINDOW_WALKED: Fault: the snapshot is there, not yet committed;
 *	the object is the range. The range's fault mutex is held.
 * @GPUSVM_MGR_WINDOW_ALIVE: Commit: the range is not dead, the present bit not
 *	yet set; the object is the mapping. The instance lock is held for read.
 * @GPUSVM_MGR_WINDOW_CHECKED: Commit: the sequence was checked; the object is
 *	the mapping. The instance lock is held for read.
 * @GPUSVM_MGR_WINDOW_GC_ZAPPED: Removal: zapped, the flush has been started;
 *	the object is the range.
 * @GPUSVM_MGR_WINDOW_ATTR_WALKED: Look at attributes: found, not yet known whether
 *	they were changed meanwhile; the object is the store. RCU is held for read.
 */
enum gpusvm_mgr_window {
	GPUSVM_MGR_WINDOW_INSERT_COPY,
	GPUSVM_MGR_WINDOW_INSERT_STORED,
	GPUSVM_MGR_WINDOW_START_SET,
	GPUSVM_MGR_WINDOW_START_ZAPPED,
	GPUSVM_MGR_WINDOW_FINISH,
	GPUSVM_MGR_WINDOW_WALKED,
	GPUSVM_MGR_WINDOW_CHECKED,
	GPUSVM_MGR_WINDOW_GC_ZAPPED,
	GPUSVM_MGR_WINDOW_START_DEAD,
	GPUSVM_MGR_WINDOW_ALIVE,
	GPUSVM_MGR_WINDOW_START_FENCED,
	GPUSVM_MGR_WINDOW_ATTR_WALKED,
};

#if IS_ENABLED(CONFIG_DRM_GPUSVM_MGR_BREAK)

extern unsigned long gpusvm_mgr_broken_steps;
extern atomic_t gpusvm_mgr_locked_waits;
extern void (*gpusvm_mgr_window_hook)(enum gpusvm_mgr_window window, void *object);

/**
 * gpusvm_mgr_broken() - Is a protocol step left out on purpose?
 * @step: The step.
 *
 * Return: true only in a kernel for tests, while a test asks for it.
 */
static inline bool gpusvm_mgr_broken(enum gpusvm_mgr_step step)
{
	return unlikely(READ_ONCE(gpusvm_mgr_broken_steps) & BIT(step));
}

/**
 * gpusvm_mgr_count_locked_wait() - Take note of a wait with a lock held
 *
 * Return: true only where a test has asked for one: then it is no mistake.
 */
static inline bool gpusvm_mgr_count_locked_wait(void)
{
	if (!gpusvm_mgr_broken(GPUSVM_MGR_STEP_UNLOCK))
		return false;
	atomic_inc(&gpusvm_mgr_locked_waits);
	return true;
}

/**
 * gpusvm_mgr_window() - Let a test step in
 * @window: Where.
 * @object: What is at hand there, see &enum gpusvm_mgr_window.
 */
static inline void gpusvm_mgr_window(enum gpusvm_mgr_window window, void *object)
{
	void (*hook)(enum gpusvm_mgr_window window, void *object) =
		READ_ONCE(gpusvm_mgr_window_hook);

	if (unlikely(hook))
		hook(window, object);
}

#else

static inline bool gpusvm_mgr_broken(enum gpusvm_mgr_step step)
{
	return false;
}

static inline bool gpusvm_mgr_count_locked_wait(void)
{
	return false;
}

static inline void gpusvm_mgr_window(enum gpusvm_mgr_window window, void *object)
{
}

#endif

#endif /* __GPUSVM_MGR_BREAK_H__ */
