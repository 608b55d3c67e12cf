// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Debugfs: one file per manager.
 */

#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include <drm/drm_device.h>

#include "gpusvm_mgr_break.h"
#include "gpusvm_mgr_internal.h"

/**
 * DOC: debugfs
 *
 * Each manager has a file in ``drm_gpusvm_mgr`` of debugfs, named by the id of
 * the process that attached first and a number that is unique. Writing
 * ``validate`` to it runs the walker: the write fails with EUCLEAN where an
 * invariant does not hold, and the kernel log says which. Reading it lists, a line
 * each, with addresses in hexadecimal and ends exclusive:
 *
 * ``NAME: VALUE``
 *	The counters.
 * ``instance SLOT: DEVICE NAME eager=0|1 COUNTER=VALUE ...``
 *	The instances, by the name of the device's bus and that of the driver.
 * ``attr START-END: location=L writer=W migration=M granularity=G residence_ms=R``
 *	What was said of the placement of an interval, in ascending order; only
 *	intervals about which anything was said. L is ``default``, ``system`` or the
 *	name of a device. W is the slot of the instance through which that was set,
 *	``none`` where it is the default. M is ``all``, ``never`` or ``system``. G is
 *	log2 of pages, or ``default``; R may be ``default``.
 * ``access START-END SLOT: mode=M read_only=0|1 atomics=A``
 *	What was said of the access of an instance to that interval, after its
 *	``attr`` line; only instances of which anything was said. M is ``default``
 *	(as it was attached), ``on_demand``, ``none``, ``eager`` or ``in_place``; A is
 *	``undefined``, ``device``, ``global`` or ``cpu``.
 * ``range START-END: seq=N ready=0|1 dead=0|1 present=MASK``
 *	The ranges, with a bit for the slot of each instance that may map it.
 *
 * Tools pass over lines and values that they do not know. What was unmapped has no
 * attributes any more, as for a fault: reading the file drops those first.
 *
 * Only where CONFIG_DRM_GPUSVM_MGR_BREAK is set: ``broken_steps`` is a mask of
 * the protocol steps that are left out, a bit for each in the order of
 * enum gpusvm_mgr_step, so that a test sees that it would notice.
 *
 * Only where CONFIG_FAULT_INJECTION_DEBUG_FS is set: ``fail_dma_map`` lets the DMA
 * mapping of a run fail, or, behind an IOMMU, the sync at the end of all runs, see
 * Documentation/fault-injection/fault-injection.rst; the size of each is 1, so that
 * ``space`` counts them.
 */

static struct dentry *gpusvm_mgr_debugfs_root;

#if IS_ENABLED(CONFIG_FAULT_INJECTION)
static DECLARE_FAULT_ATTR(gpusvm_mgr_fail_map);

/**
 * gpusvm_mgr_map_fails() - Shall a step of a DMA mapping fail?
 *
 * Return: true only where a test asks for it.
 */
bool gpusvm_mgr_map_fails(void)
{
	return should_fail(&gpusvm_mgr_fail_map, 1);
}
#endif

static void gpusvm_mgr_show_stats(struct seq_file *file, struct drm_gpusvm_mgr *mgr)
{
	struct drm_gpusvm_mgr_stats stats;

	drm_gpusvm_mgr_read_stats(mgr, &stats);
	seq_printf(file, "exiting: %d\n", READ_ONCE(mgr->exiting));
	seq_printf(file, "invalidations: %llu\n", stats.invalidations);
	seq_printf(file, "invalidations_missed: %llu\n", stats.invalidations_missed);
	seq_printf(file, "nonblock_refused: %llu\n", stats.nonblock_refused);
	seq_printf(file, "finish_inline: %llu\n", stats.finish_inline);
	seq_printf(file, "walks: %llu\n", stats.walks);
	seq_printf(file, "snapshot_hits: %llu\n", stats.snapshot_hits);
	seq_printf(file, "seq_waits: %llu\n", stats.seq_waits);
	seq_printf(file, "seq_wait_ns: %llu\n", stats.seq_wait_ns);
	seq_printf(file, "ranges_made: %llu\n", stats.ranges_made);
	seq_printf(file, "ranges_removed: %llu\n", stats.ranges_removed);
	seq_printf(file, "ranges: %llu\n", stats.ranges);
	seq_printf(file, "instances: %llu\n", stats.instances);
	seq_printf(file, "migrations: %llu\n", stats.migrations);
	seq_printf(file, "migrations_failed: %llu\n", stats.migrations_failed);
	seq_printf(file, "moves_back: %llu\n", stats.moves_back);
	seq_printf(file, "refused_resident: %llu\n", stats.refused_resident);
	seq_printf(file, "refused_pinned: %llu\n", stats.refused_pinned);
	seq_printf(file, "refused_backoff: %llu\n", stats.refused_backoff);
	seq_printf(file, "pins: %llu\n", stats.pins);
	seq_printf(file, "prefetches: %llu\n", stats.prefetches);
	seq_printf(file, "attr_conflicts: %llu\n", stats.attr_conflicts);
	seq_printf(file, "attr_widened: %llu\n", stats.attr_widened);
}

static void gpusvm_mgr_show_instance(struct seq_file *file,
				     struct drm_gpusvm_instance *instance)
{
	const struct drm_gpusvm_instance_stats *stats = &instance->stats;

	seq_printf(file, "instance %u: %s %s eager=%d faults=%lld retries=%lld walks=%lld snapshot_hits=%lld maps=%lld unmaps=%lld eager_maps=%lld upgrades=%lld invalidations=%lld flushes=%lld flush_waits=%lld dma_bytes=%lld migrations=%lld migrations_failed=%lld resident=%lld pinned=%lld backed_off=%lld pins=%lld shared=%lld\n",
		   instance->slot, dev_name(instance->drm->dev), instance->name,
		   !!(instance->flags & DRM_GPUSVM_INSTANCE_EAGER),
		   atomic64_read(&stats->faults), atomic64_read(&stats->retries),
		   atomic64_read(&stats->walks),
		   atomic64_read(&stats->snapshot_hits),
		   atomic64_read(&stats->maps), atomic64_read(&stats->unmaps),
		   atomic64_read(&stats->eager_maps),
		   atomic64_read(&stats->upgrades),
		   atomic64_read(&stats->invalidations),
		   atomic64_read(&stats->flushes),
		   atomic64_read(&stats->flush_waits),
		   atomic64_read(&stats->dma_bytes),
		   atomic64_read(&stats->migrations),
		   atomic64_read(&stats->migrations_failed),
		   atomic64_read(&stats->migrations_resident),
		   atomic64_read(&stats->migrations_pinned),
		   atomic64_read(&stats->migrations_backed_off),
		   atomic64_read(&stats->pins),
		   atomic64_read(&stats->migrations_shared));
}

static void gpusvm_mgr_show_placement(struct seq_file *file, struct drm_gpusvm_mgr *mgr,
				      const struct gpusvm_mgr_placement *placement)
{
	static const char * const policies[] = {
		[DRM_GPUSVM_MIGRATION_ALL] = "all",
		[DRM_GPUSVM_MIGRATION_NEVER] = "never",
		[DRM_GPUSVM_MIGRATION_SYSTEM] = "system",
	};
	struct drm_pagemap *dpagemap;

	switch (placement->location) {
	case GPUSVM_MGR_LOCATION_DEFAULT:
		seq_puts(file, " location=default");
		break;
	case GPUSVM_MGR_LOCATION_SYSTEM:
		seq_puts(file, " location=system");
		break;
	default:
		dpagemap = gpusvm_mgr_location_get(mgr, placement->location);
		seq_printf(file, " location=%s",
			   dpagemap ? dev_name(dpagemap->drm->dev) : "gone");
		drm_pagemap_put(dpagemap);
	}

	if (placement->writer)
		seq_printf(file, " writer=%u", placement->writer - 1);
	else
		seq_puts(file, " writer=none");

	seq_printf(file, " migration=%s", policies[placement->policy]);

	if (placement->granularity == GPUSVM_MGR_GRANULARITY_DEFAULT)
		seq_puts(file, " granularity=default");
	else
		seq_printf(file, " granularity=%u", placement->granularity);

	if (placement->residence_ms == GPUSVM_MGR_RESIDENCE_DEFAULT)
		seq_puts(file, " residence_ms=default\n");
	else
		seq_printf(file, " residence_ms=%u\n", placement->residence_ms);
}

static void gpusvm_mgr_show_access(struct seq_file *file, const struct gpusvm_mgr_attr *attr,
				   unsigned long start, unsigned long last)
{
	static const char * const modes[] = {
		[DRM_GPUSVM_MODE_DEFAULT] = "default",
		[DRM_GPUSVM_MODE_ON_DEMAND] = "on_demand",
		[DRM_GPUSVM_MODE_NONE] = "none",
		[DRM_GPUSVM_MODE_EAGER] = "eager",
		[DRM_GPUSVM_MODE_IN_PLACE] = "in_place",
	};
	static const char * const atomics[] = {
		[DRM_GPUSVM_ATOMICS_UNDEFINED] = "undefined",
		[DRM_GPUSVM_ATOMICS_DEVICE] = "device",
		[DRM_GPUSVM_ATOMICS_GLOBAL] = "global",
		[DRM_GPUSVM_ATOMICS_CPU] = "cpu",
	};
	u64 slots = 0;
	unsigned int i;

	/* All defaults are 0: whoever has a bit anywhere. */
	for (i = 0; i < GPUSVM_MGR_PLANES; i++)
		slots |= attr->planes[i];

	for (i = 0; i < GPUSVM_MGR_SLOTS; i++) {
		struct gpusvm_mgr_access access = gpusvm_mgr_attr_access(attr, i);

		if (slots >> i & 1)
			seq_printf(file, "access 0x%lx-0x%lx %u: mode=%s read_only=%d atomics=%s\n",
				   start, last + 1, i, modes[access.mode], access.read_only,
				   atomics[access.atomics]);
	}
}

/* With the lock, so that they are those of one moment. */
static int gpusvm_mgr_show_attrs(struct seq_file *file, struct drm_gpusvm_mgr *mgr)
{
	unsigned long addr = 0, start, last;
	struct gpusvm_mgr_attr attr;
	int err;

	err = gpusvm_mgr_hints_settle(mgr);
	if (!err)
		err = mutex_lock_killable(&mgr->hints.lock);
	if (err)
		return err;

	while (gpusvm_mgr_attrs_next(&mgr->hints.attrs, addr, &attr, &start, &last)) {
		seq_printf(file, "attr 0x%lx-0x%lx:", start, last + 1);
		gpusvm_mgr_show_placement(file, mgr, &attr.placement);
		gpusvm_mgr_show_access(file, &attr, start, last);
		addr = last + 1;
	}
	mutex_unlock(&mgr->hints.lock);
	return 0;
}

static int gpusvm_mgr_show(struct seq_file *file, void *unused)
{
	struct drm_gpusvm_mgr *mgr = file->private;
	struct drm_gpusvm_instance *instance;
	struct drm_gpusvm_mgr_range *range;
	unsigned long index = 0;
	unsigned int slot;
	int idx, err;

	gpusvm_mgr_show_stats(file, mgr);

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	for (slot = 0; slot < GPUSVM_MGR_SLOTS; slot++) {
		instance = gpusvm_mgr_instance_slot(mgr, slot);
		if (instance)
			gpusvm_mgr_show_instance(file, instance);
	}
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

	err = gpusvm_mgr_show_attrs(file, mgr);
	if (err)
		return err;

	idx = srcu_read_lock(&gpusvm_mgr_srcu);
	while ((range = gpusvm_mgr_tree_next(&mgr->tree, &index, ULONG_MAX)))
		seq_printf(file, "range 0x%lx-0x%lx: seq=%lu ready=%u dead=%d present=0x%lx\n",
			   range->start, range->end,
			   READ_ONCE(range->shadow.invalidate_seq),
			   READ_ONCE(range->ready),
			   gpusvm_mgr_range_is_dead(range),
			   gpusvm_mgr_range_present(range));
	srcu_read_unlock(&gpusvm_mgr_srcu, idx);

	return 0;
}

static int gpusvm_mgr_open(struct inode *inode, struct file *file)
{
	return single_open(file, gpusvm_mgr_show, inode->i_private);
}

static ssize_t gpusvm_mgr_write(struct file *file, const char __user *buf,
				size_t count, loff_t *pos)
{
	struct drm_gpusvm_mgr *mgr = ((struct seq_file *)file->private_data)->private;
	char word[16] = {};
	int err;

	if (count >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, buf, count))
		return -EFAULT;
	if (!sysfs_streq(word, "validate"))
		return -EINVAL;

	err = drm_gpusvm_mgr_validate(mgr);
	return err ?: count;
}

static const struct file_operations gpusvm_mgr_fops = {
	.owner = THIS_MODULE,
	.open = gpusvm_mgr_open,
	.read = seq_read,
	.write = gpusvm_mgr_write,
	.llseek = seq_lseek,
	.release = single_release,
};

/**
 * gpusvm_mgr_debugfs_add() - Make the file of a manager
 * @mgr: A new manager.
 */
void gpusvm_mgr_debugfs_add(struct drm_gpusvm_mgr *mgr)
{
	char name[32];

	snprintf(name, sizeof(name), "%d-%u", task_tgid_nr(current), mgr->id);
	mgr->debugfs = debugfs_create_file(name, 0600, gpusvm_mgr_debugfs_root,
					   mgr, &gpusvm_mgr_fops);
}

/**
 * gpusvm_mgr_debugfs_remove() - Remove the file of a manager
 * @mgr: The manager. Waits for those who are reading it: the caller holds no
 *	lock of the library.
 */
void gpusvm_mgr_debugfs_remove(struct drm_gpusvm_mgr *mgr)
{
	debugfs_remove(mgr->debugfs);
}

/**
 * gpusvm_mgr_debugfs_init() - Make the folder
 */
void gpusvm_mgr_debugfs_init(void)
{
	gpusvm_mgr_debugfs_root = debugfs_create_dir("drm_gpusvm_mgr", NULL);
#if IS_ENABLED(CONFIG_DRM_GPUSVM_MGR_BREAK)
	debugfs_create_ulong("broken_steps", 0600, gpusvm_mgr_debugfs_root,
			     &gpusvm_mgr_broken_steps);
#endif
#if IS_ENABLED(CONFIG_FAULT_INJECTION)
	fault_create_debugfs_attr("fail_dma_map", gpusvm_mgr_debugfs_root,
				  &gpusvm_mgr_fail_map);
#endif
}

/**
 * gpusvm_mgr_debugfs_exit() - Remove the folder
 */
void gpusvm_mgr_debugfs_exit(void)
{
	debugfs_remove(gpusvm_mgr_debugfs_root);
}
