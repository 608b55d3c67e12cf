// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Allocation failure: the nth allocation of a task fails, alone, or with all that
 * follow it (a maple tree tries twice). Atomic ones are passed over: none is the
 * library's, and dma-debug gives up for good with one.
 */

#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/sched.h>

#include "gpusvm_mgr_fail.h"

#if IS_ENABLED(CONFIG_FAILSLAB) && IS_ENABLED(CONFIG_FAULT_INJECTION_DEBUG_FS) && \
	IS_ENABLED(CONFIG_KPROBES)

struct gpusvm_fail {
	struct kprobe probe;
	struct task_struct *task;
	/* All that follow fail, too. */
	bool for_good;
	bool *spare_reclaim;
	unsigned long *verbose;
	bool old_spare_reclaim;
	unsigned long old_verbose;
};

/* A knob of fault injection: files cannot be opened yet, so by its dentry. */
static void *find_knob(const char *folder, const char *name)
{
	struct dentry *dir = debugfs_lookup(folder, NULL), *file;
	void *knob = NULL;

	if (!dir)
		return NULL;
	file = debugfs_lookup(name, dir);
	if (file) {
		knob = d_inode(file)->i_private;
		dput(file);
	}
	dput(dir);
	return knob;
}

/*
 * Before should_failslab() counts down: once more for what is passed over; from
 * the end again for what fails for good.
 */
static int adjust_count(struct kprobe *probe, struct pt_regs *regs)
{
	struct gpusvm_fail *knobs = container_of(probe, struct gpusvm_fail, probe);
	gfp_t gfp = (__force gfp_t)regs_get_kernel_argument(regs, 1);

	if (current != knobs->task || !in_task() || gfp & __GFP_NOFAIL)
		return 0;
	if (current->fail_nth && gfp & __GFP_HIGH)
		WRITE_ONCE(current->fail_nth, current->fail_nth + 1);
	else if (!current->fail_nth && knobs->for_good && !(gfp & __GFP_HIGH))
		WRITE_ONCE(current->fail_nth, 1);
	return 0;
}

static void restore_knobs(void *data)
{
	struct gpusvm_fail *knobs = data;

	unregister_kprobe(&knobs->probe);
	*knobs->spare_reclaim = knobs->old_spare_reclaim;
	*knobs->verbose = knobs->old_verbose;
}

/**
 * gpusvm_fail_init() - Prepare to let allocations fail
 * @test: The test; skipped where the kernel cannot do it.
 *
 * Return: the knobs, put back at the end of the test.
 */
struct gpusvm_fail *gpusvm_fail_init(struct kunit *test)
{
	struct gpusvm_fail *knobs = kunit_kzalloc(test, sizeof(*knobs), GFP_KERNEL);
	int err;

	KUNIT_ASSERT_NOT_NULL(test, knobs);
	knobs->spare_reclaim = find_knob("failslab", "ignore-gfp-wait");
	knobs->verbose = find_knob("failslab", "verbose");
	if (!knobs->spare_reclaim || !knobs->verbose)
		kunit_skip(test, "no knobs of failslab");

	knobs->task = current;
	knobs->probe.symbol_name = "should_failslab";
	knobs->probe.pre_handler = adjust_count;
	err = register_kprobe(&knobs->probe);
	KUNIT_ASSERT_EQ(test, err, 0);
	knobs->old_spare_reclaim = *knobs->spare_reclaim;
	knobs->old_verbose = *knobs->verbose;
	*knobs->spare_reclaim = false;
	*knobs->verbose = 0;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, restore_knobs, knobs));
	return knobs;
}

/**
 * gpusvm_fail_begin() - Let an allocation of the current task fail
 * @knobs: The knobs.
 * @nth: Which, from 1.
 * @for_good: All that follow it, too.
 */
void gpusvm_fail_begin(struct gpusvm_fail *knobs, unsigned int nth, bool for_good)
{
	WRITE_ONCE(current->fail_nth, nth);
	WRITE_ONCE(knobs->for_good, for_good);
}

/**
 * gpusvm_fail_end() - Let none fail any more
 * @knobs: The knobs.
 *
 * Return: true if the allocation was reached.
 */
bool gpusvm_fail_end(struct gpusvm_fail *knobs)
{
	bool reached;

	WRITE_ONCE(knobs->for_good, false);
	reached = !READ_ONCE(current->fail_nth);
	WRITE_ONCE(current->fail_nth, 0);
	return reached;
}

#else

struct gpusvm_fail *gpusvm_fail_init(struct kunit *test)
{
	kunit_skip(test, "needs CONFIG_FAILSLAB, _FAULT_INJECTION_DEBUG_FS, _KPROBES");
	return NULL;
}

void gpusvm_fail_begin(struct gpusvm_fail *knobs, unsigned int nth, bool for_good)
{
}

bool gpusvm_fail_end(struct gpusvm_fail *knobs)
{
	return false;
}

#endif
