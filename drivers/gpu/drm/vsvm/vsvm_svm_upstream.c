// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The back end for comparison: a VM on drm_gpusvm as it is upstream, used as its
 * manual says. Ranges of its own for each device, in notifiers of 512 MiB, that
 * are invalidated in one pass: zap, flush, wait and unmap, all of it with the
 * notifier_lock held for write.
 */

#include <linux/slab.h>

#include "vsvm_drv.h"
#include "vsvm_svm_device.h"

/**
 * struct vsvm_up_range - A range
 * @base: For drm_gpusvm.
 * @dev: What is common to the back ends without the manager.
 */
struct vsvm_up_range {
	struct drm_gpusvm_range base;
	struct vsvm_dev_range dev;
};

static struct vsvm_dev_svm *to_dev_svm(struct drm_gpusvm *gpusvm)
{
	return container_of(gpusvm, struct vsvm_dev_svm, svm);
}

static struct vsvm_up_range *to_up_range(struct drm_gpusvm_range *range)
{
	return container_of(range, struct vsvm_up_range, base);
}

static struct vsvm_up_range *dev_to_up_range(struct vsvm_dev_range *range)
{
	return container_of(range, struct vsvm_up_range, dev);
}

static struct drm_gpusvm_range *vsvm_up_range_alloc(struct drm_gpusvm *gpusvm)
{
	struct vsvm_up_range *range;

	range = kzalloc_obj(*range);
	if (!range)
		return NULL;
	if (vsvm_dev_range_init(&range->dev, to_dev_svm(gpusvm))) {
		kfree(range);
		return NULL;
	}
	return &range->base;
}

static void vsvm_up_range_free(struct drm_gpusvm_range *base)
{
	struct vsvm_up_range *range = to_up_range(base);

	vsvm_dev_range_fini(&range->dev);
	kfree(range);
}

static void vsvm_up_invalidate(struct drm_gpusvm *gpusvm,
			       struct drm_gpusvm_notifier *notifier,
			       const struct mmu_notifier_range *mmu_range)
{
	struct vsvm_dev_svm *svm = to_dev_svm(gpusvm);
	struct drm_gpusvm_range *base, *first;
	unsigned long start, end;
	struct vsvm_dev_zap zap = {};
	u64 generation;

	start = max(drm_gpusvm_notifier_start(notifier), mmu_range->start);
	end = min(drm_gpusvm_notifier_end(notifier), mmu_range->end);

	first = drm_gpusvm_range_find(notifier, start, end);
	if (!first)
		return;

	base = first;
	drm_gpusvm_for_each_range(base, notifier, start, end)
		vsvm_dev_range_zap(&to_up_range(base)->dev, &zap);

	generation = vsvm_dev_zap_flush(svm, &zap);
	if (zap.pending) {
		atomic64_inc(&svm->stats.invalidations);
		vsvm_dev_flush_wait(svm, generation);
	}

	base = first;
	drm_gpusvm_for_each_range(base, notifier, start, end) {
		struct vsvm_up_range *range = to_up_range(base);

		vsvm_dev_range_unmap(&range->dev);
		if (mmu_range->event != MMU_NOTIFY_UNMAP)
			continue;
		drm_gpusvm_range_set_unmapped(base, &range->dev.pages, 1, mmu_range);
		vsvm_dev_range_collect(&range->dev, mmu_range);
	}
}

static const struct drm_gpusvm_ops vsvm_up_gpusvm_ops = {
	.range_alloc = vsvm_up_range_alloc,
	.range_free = vsvm_up_range_free,
	.invalidate = vsvm_up_invalidate,
};

static struct vsvm_dev_range *
vsvm_up_range_get(struct vsvm_dev_svm *svm, unsigned long addr, unsigned long limit,
		  const struct drm_gpusvm_ctx *ctx)
{
	unsigned long start = ALIGN_DOWN(addr, limit);
	struct drm_gpusvm_range *base;
	struct vsvm_up_range *range;

	/* What is mirrored is all of it; but a smaller range may be wanted. */
	base = drm_gpusvm_range_find_or_insert(&svm->svm, addr, start, start + limit, ctx);
	if (IS_ERR(base))
		return ERR_CAST(base);

	range = to_up_range(base);
	if (!range->dev.notifier) {
		/* New. Nothing of it is mapped, so no invalidation has looked here. */
		range->dev.notifier = &base->notifier->notifier;
		range->dev.start = drm_gpusvm_range_start(base);
		range->dev.end = drm_gpusvm_range_end(base);
		range->dev.can_migrate = base->flags.migrate_devmem;
	}
	return &range->dev;
}

static void vsvm_up_range_remove(struct vsvm_dev_range *range)
{
	drm_gpusvm_range_remove(&range->svm->svm, &dev_to_up_range(range)->base);
}

static int vsvm_up_range_evict(struct vsvm_dev_range *range)
{
	return drm_gpusvm_range_evict(&range->svm->svm, &dev_to_up_range(range)->base);
}

static const struct vsvm_dev_svm_ops vsvm_up_dev_ops = {
	.range_get = vsvm_up_range_get,
	.range_remove = vsvm_up_range_remove,
	.range_evict = vsvm_up_range_evict,
};

static int vsvm_up_attach(struct vsvm_vm *vm)
{
	struct vsvm_dev_svm *svm;
	int ret;

	svm = kzalloc_obj(*svm);
	if (!svm)
		return -ENOMEM;

	ret = drm_gpusvm_init(&svm->svm, "vsvm", current->mm, 0, vsvm_va_end(),
			      VSVM_DEV_NOTIFIER_SIZE, &vsvm_up_gpusvm_ops, vsvm_dev_chunks,
			      vsvm_dev_num_chunks);
	if (ret)
		goto err_free;

	ret = vsvm_dev_svm_init(svm, vm, &vsvm_up_dev_ops);
	if (ret)
		goto err_fini;
	return 0;

err_fini:
	drm_gpusvm_fini(&svm->svm);
err_free:
	kfree(svm);
	return ret;
}

static void vsvm_up_detach(struct vsvm_vm *vm)
{
	struct vsvm_dev_svm *svm = vm->dev_svm;

	vsvm_dev_svm_quiesce(svm);
	mutex_lock(&svm->lock);
	drm_gpusvm_fini(&svm->svm);
	mutex_unlock(&svm->lock);
	vsvm_dev_svm_fini(svm);
	kfree(svm);
}

/* drm_gpusvm as a back end, one for each VM. */
const struct vsvm_svm_ops vsvm_svm_upstream_ops = {
	.attach = vsvm_up_attach,
	.kill = vsvm_dev_svm_kill,
	.detach = vsvm_up_detach,
	.check_current = vsvm_dev_svm_check_current,
	.exiting = vsvm_dev_svm_exiting,
	.fault_batch = vsvm_dev_svm_fault_batch,
	.flush_done = vsvm_dev_svm_flush_done,
	.read_stats = vsvm_dev_svm_read_stats,
};
