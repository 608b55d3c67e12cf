// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Reservation objects of VMs: each VM has one that its fences are in, and its
 * private objects use. All VMs of a process that ask for it share one, on
 * whichever device they are: then one lock is enough for what concerns several of
 * them, and one look at its fences tells whether any of them is busy.
 */

#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

#include "vsvm_drv.h"

/**
 * struct vsvm_resv - A reservation object
 * @base: An object without memory, as drm_gpuvm wants it.
 * @link: In the list of those that are shared. Protected by vsvm_resvs_lock
 * @mm: Whose VMs share it, a reference to the struct only; NULL: it is not shared.
 *	Immutable
 * @id: For debugfs. Immutable
 */
struct vsvm_resv {
	struct drm_gem_object base;
	struct list_head link;
	struct mm_struct *mm;
	unsigned int id;
};

/* Protects the list. Taken inside everything but spinlocks. */
static DEFINE_MUTEX(vsvm_resvs_lock);
static LIST_HEAD(vsvm_resvs);
static atomic_t vsvm_resv_ids;

static void vsvm_resv_free(struct drm_gem_object *obj)
{
	struct vsvm_resv *resv = container_of(obj, struct vsvm_resv, base);
	struct drm_device *drm = obj->dev;

	if (resv->mm) {
		mutex_lock(&vsvm_resvs_lock);
		list_del(&resv->link);
		mutex_unlock(&vsvm_resvs_lock);
		mmdrop(resv->mm);
	}
	drm_gem_object_release(obj);
	kfree(resv);
	drm_dev_put(drm);
}

static const struct drm_gem_object_funcs vsvm_resv_funcs = {
	.free = vsvm_resv_free,
};

static struct vsvm_resv *vsvm_resv_create(struct drm_device *drm)
{
	struct vsvm_resv *resv = kzalloc_obj(*resv);

	if (!resv)
		return NULL;
	resv->base.funcs = &vsvm_resv_funcs;
	resv->id = atomic_inc_return(&vsvm_resv_ids);
	INIT_LIST_HEAD(&resv->link);
	/* VMs of other devices may need it when this one is gone. */
	drm_dev_get(drm);
	drm_gem_private_object_init(drm, &resv->base, 0);
	return resv;
}

static struct vsvm_resv *vsvm_resv_find(struct mm_struct *mm)
{
	struct vsvm_resv *resv;

	lockdep_assert_held(&vsvm_resvs_lock);

	list_for_each_entry(resv, &vsvm_resvs, link)
		if (resv->mm == mm && kref_get_unless_zero(&resv->base.refcount))
			return resv;
	return NULL;
}

/**
 * vsvm_resv_get() - Get a reservation object for a VM
 * @drm: The VM's device.
 * @shared: The one of the calling process, rather than one of its own.
 *
 * Return: the object that has it, with a reference; NULL: no memory.
 */
struct drm_gem_object *vsvm_resv_get(struct drm_device *drm, bool shared)
{
	struct vsvm_resv *resv;

	if (!shared) {
		resv = vsvm_resv_create(drm);
		return resv ? &resv->base : NULL;
	}

	mutex_lock(&vsvm_resvs_lock);
	resv = vsvm_resv_find(current->mm);
	if (!resv) {
		resv = vsvm_resv_create(drm);
		if (resv) {
			mmgrab(current->mm);
			resv->mm = current->mm;
			list_add(&resv->link, &vsvm_resvs);
		}
	}
	mutex_unlock(&vsvm_resvs_lock);
	return resv ? &resv->base : NULL;
}

/**
 * vsvm_resv_id() - A number to tell reservation objects apart
 * @obj: What vsvm_resv_get() returned.
 *
 * Return: the number, from 1.
 */
unsigned int vsvm_resv_id(struct drm_gem_object *obj)
{
	return container_of(obj, struct vsvm_resv, base)->id;
}
