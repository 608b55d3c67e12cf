// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Mock devices over a real mm, and what a test needs to stop threads at a certain
 * place. See gpusvm_mgr_mock.h, and gpusvm_mgr_mock_mm.c for the other side.
 */

#include <linux/bitfield.h>
#include <linux/device/faux.h>
#include <linux/dma-mapping.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "gpusvm_mgr_mock.h"

/* An entry of the page table: permissions, the process's page, the page frame. */
#define MOCK_PTE_PERMISSIONS	GENMASK(2, 0)
#define MOCK_PTE_VA		GENMASK(37, 3)
#define MOCK_PTE_PFN		GENMASK(62, 38)

/* An entry of the TLB: when it was loaded, as flush generation, and the page. */
#define MOCK_TLB_STAMP		GENMASK(21, 0)
#define MOCK_TLB_VA		GENMASK(56, 22)

/**
 * struct gpusvm_mock_mapping - A mapping of the mock
 * @base: The mapping.
 * @written: All of its PTEs were written, and none cleared.
 */
struct gpusvm_mock_mapping {
	struct drm_gpusvm_mapping base;
	bool written;
};

/* The environment of the running test, for the hook, which has no argument. */
static struct gpusvm_mock_env *gpusvm_mock_running;

static const struct drm_driver gpusvm_mock_driver = {
	.name = "gpusvm_mock",
	.desc = "Mock device of the SVM manager's tests",
	.major = 1,
};

static void gpusvm_mock_count(struct gpusvm_mock_env *env,
			      enum gpusvm_mock_violation violation)
{
	atomic_inc(&env->violations[violation]);
}

static void gpusvm_mock_log(struct gpusvm_mock_env *env, struct gpusvm_mock *mock,
			    enum gpusvm_mock_event_type type,
			    unsigned long start, unsigned long end)
{
	spin_lock(&env->lock);
	if (env->nr_events < GPUSVM_MOCK_EVENTS)
		env->events[env->nr_events] = (struct gpusvm_mock_event) {
			.type = type,
			.mock = mock,
			.start = start,
			.end = end,
		};
	env->nr_events++;
	spin_unlock(&env->lock);
}

/* Stops a thread that comes by where a gate is closed. */
static void gpusvm_mock_window(struct gpusvm_mock_env *env, unsigned int window,
			       void *object)
{
	struct gpusvm_mock_gate *gate, *found = NULL;

	spin_lock(&env->lock);
	list_for_each_entry(gate, &env->gates, node) {
		if (!gate->armed || gate->window != window ||
		    (gate->object && gate->object != object) ||
		    (gate->thread && gate->thread->task != current))
			continue;
		gate->armed = false;
		gate->object = object;
		found = gate;
		break;
	}
	spin_unlock(&env->lock);
	if (!found)
		return;

	complete_all(&found->reached);
	if (!wait_for_completion_timeout(&found->go, 2 * GPUSVM_MOCK_LIMIT))
		atomic_inc(&env->rescued);
}

/* Counters. */

/**
 * gpusvm_mock_take() - Read and clear the counter of a violation
 * @env: The environment.
 * @violation: Which.
 *
 * What is not taken fails the test at its end.
 *
 * Return: how many there were.
 */
unsigned int gpusvm_mock_take(struct gpusvm_mock_env *env,
			      enum gpusvm_mock_violation violation)
{
	return atomic_xchg(&env->violations[violation], 0);
}

/**
 * gpusvm_mock_take_all() - Read and clear the counters of all violations
 * @env: The environment.
 *
 * Return: the sum.
 */
unsigned int gpusvm_mock_take_all(struct gpusvm_mock_env *env)
{
	unsigned int i, sum = 0;

	for (i = 0; i < GPUSVM_MOCK_VIOLATIONS; i++)
		sum += gpusvm_mock_take(env, i);
	return sum;
}

/**
 * gpusvm_mock_take_rescued() - Read and clear the count of rescues
 * @env: The environment.
 *
 * Return: how many flushes were not completed, and gates not opened, in time.
 */
unsigned int gpusvm_mock_take_rescued(struct gpusvm_mock_env *env)
{
	return atomic_xchg(&env->rescued, 0);
}

/* Page table and TLB. All with the lock of the mock held. */

/*
 * Is an entry of an interval of the process in a table that goes by the device's
 * addresses? These are the same, as long as nothing was mapped elsewhere.
 */
static bool __gpusvm_mock_find(struct gpusvm_mock *mock, struct xarray *table,
			       u64 field, unsigned long first, unsigned long last)
{
	unsigned long index;
	void *entry;

	lockdep_assert_held(&mock->lock);

	if (!mock->moved) {
		index = first;
		return xa_find(table, &index, last, XA_PRESENT);
	}
	xa_for_each(table, index, entry) {
		unsigned long va = (xa_to_value(entry) & field) >> __ffs64(field);

		if (va >= first && va <= last)
			return true;
	}
	return false;
}

static unsigned int __gpusvm_mock_reach(struct gpusvm_mock *mock,
					unsigned long start, unsigned long end)
{
	unsigned long first = start >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
	unsigned long index = first;
	unsigned int reach = 0;

	lockdep_assert_held(&mock->lock);

	if (xa_find(&mock->dma, &index, last, XA_PRESENT))
		reach |= GPUSVM_MOCK_DMA;
	if (__gpusvm_mock_find(mock, &mock->ptes, MOCK_PTE_VA, first, last))
		reach |= GPUSVM_MOCK_PTE;
	if (__gpusvm_mock_find(mock, &mock->tlb, MOCK_TLB_VA, first, last))
		reach |= GPUSVM_MOCK_TLB;
	return reach;
}

static int __gpusvm_mock_load(struct gpusvm_mock *mock, unsigned long page,
			      unsigned long pte)
{
	unsigned long value = FIELD_PREP(MOCK_TLB_VA, FIELD_GET(MOCK_PTE_VA, pte)) |
			      (mock->stamp & MOCK_TLB_STAMP);

	lockdep_assert_held(&mock->lock);

	return xa_err(xa_store(&mock->tlb, page, xa_mk_value(value),
			       GFP_ATOMIC | __GFP_NOWARN));
}

static void __gpusvm_mock_drop(struct gpusvm_mock *mock,
			       const struct gpusvm_mock_flush *flush)
{
	unsigned long index;
	void *entry;

	lockdep_assert_held(&mock->lock);

	/* What was loaded after the start of the flush stays. */
	xa_for_each_range(&mock->tlb, index, entry, flush->start >> PAGE_SHIFT,
			  (flush->end - 1) >> PAGE_SHIFT)
		if ((xa_to_value(entry) & MOCK_TLB_STAMP) <
		    (flush->generation & MOCK_TLB_STAMP))
			xa_erase(&mock->tlb, index);
}

/**
 * gpusvm_mock_reach() - What the device can reach of an interval
 * @mock: The mock.
 * @start: First address of the process.
 * @end: End address, exclusive.
 *
 * Return: a mask of GPUSVM_MOCK_PTE, _TLB, _DMA, for what is there anywhere in
 * the interval.
 */
unsigned int gpusvm_mock_reach(struct gpusvm_mock *mock, unsigned long start,
			       unsigned long end)
{
	unsigned int reach;

	spin_lock(&mock->lock);
	reach = __gpusvm_mock_reach(mock, start, end);
	spin_unlock(&mock->lock);
	return reach;
}

/**
 * gpusvm_mock_look() - What the PTE at an address allows
 * @mock: The mock.
 * @addr: Address of the device.
 *
 * Return: a mask of GPUSVM_MOCK_READ, _WRITE, _ATOMIC; 0 where there is none.
 */
unsigned int gpusvm_mock_look(struct gpusvm_mock *mock, unsigned long addr)
{
	void *entry;

	spin_lock(&mock->lock);
	entry = xa_load(&mock->ptes, addr >> PAGE_SHIFT);
	spin_unlock(&mock->lock);
	return entry ? xa_to_value(entry) & MOCK_PTE_PERMISSIONS : 0;
}

/**
 * gpusvm_mock_look_any() - What PTEs and TLB entries of an interval are there
 * @mock: The mock.
 * @start: First address of the device.
 * @end: End address, exclusive.
 *
 * Return: a mask of GPUSVM_MOCK_PTE and GPUSVM_MOCK_TLB.
 */
unsigned int gpusvm_mock_look_any(struct gpusvm_mock *mock, unsigned long start,
				  unsigned long end)
{
	unsigned long last = (end - 1) >> PAGE_SHIFT;
	unsigned long pte = start >> PAGE_SHIFT, tlb = pte;
	unsigned int found = 0;

	spin_lock(&mock->lock);
	if (xa_find(&mock->ptes, &pte, last, XA_PRESENT))
		found |= GPUSVM_MOCK_PTE;
	if (xa_find(&mock->tlb, &tlb, last, XA_PRESENT))
		found |= GPUSVM_MOCK_TLB;
	spin_unlock(&mock->lock);
	return found;
}

/**
 * gpusvm_mock_pte() - Read a PTE
 * @mock: The mock.
 * @addr: Address of the device.
 * @pfn: Out: the page frame, or NULL.
 * @write: Out: the device may write, or NULL.
 *
 * Return: true where there is one.
 */
bool gpusvm_mock_pte(struct gpusvm_mock *mock, unsigned long addr,
		     unsigned long *pfn, bool *write)
{
	unsigned long value = 0;
	void *entry;

	spin_lock(&mock->lock);
	entry = xa_load(&mock->ptes, addr >> PAGE_SHIFT);
	if (entry)
		value = xa_to_value(entry);
	spin_unlock(&mock->lock);

	if (pfn)
		*pfn = FIELD_GET(MOCK_PTE_PFN, value);
	if (write)
		*write = value & GPUSVM_MOCK_WRITE;
	return value & GPUSVM_MOCK_READ;
}

/**
 * gpusvm_mock_touch() - Access an address, which loads the TLB
 * @mock: The mock.
 * @addr: Address of the device.
 *
 * Return: true where a PTE or a TLB entry was there.
 */
bool gpusvm_mock_touch(struct gpusvm_mock *mock, unsigned long addr)
{
	unsigned long page = addr >> PAGE_SHIFT;
	bool hit = false;
	void *entry;

	spin_lock(&mock->lock);
	if (xa_load(&mock->tlb, page)) {
		hit = true;
	} else {
		entry = xa_load(&mock->ptes, page);
		if (entry)
			hit = !__gpusvm_mock_load(mock, page, xa_to_value(entry));
	}
	spin_unlock(&mock->lock);
	return hit;
}

/**
 * gpusvm_mock_check_gone() - Count what is still reachable in an interval
 * @env: The environment.
 * @start: First address.
 * @end: End address, exclusive.
 *
 * Between the return of an invalidation's start and its end, nothing may be.
 */
void gpusvm_mock_check_gone(struct gpusvm_mock_env *env, unsigned long start,
			    unsigned long end)
{
	struct gpusvm_mock *mock;

	spin_lock(&env->lock);
	list_for_each_entry(mock, &env->mocks, node) {
		unsigned int reach = gpusvm_mock_reach(mock, start, end);

		if (reach & GPUSVM_MOCK_PTE)
			gpusvm_mock_count(env, GPUSVM_MOCK_STALE_PTE);
		if (reach & GPUSVM_MOCK_TLB)
			gpusvm_mock_count(env, GPUSVM_MOCK_STALE_TLB);
		if (reach & GPUSVM_MOCK_DMA)
			gpusvm_mock_count(env, GPUSVM_MOCK_STALE_DMA);
	}
	spin_unlock(&env->lock);
}

/* Flushes. */

/**
 * gpusvm_mock_flush_complete() - Complete the oldest flushes
 * @mock: The mock.
 * @count: How many at most.
 */
void gpusvm_mock_flush_complete(struct gpusvm_mock *mock, unsigned int count)
{
	struct gpusvm_mock_flush flush;

	while (count--) {
		spin_lock(&mock->lock);
		if (!mock->nr_flushes) {
			spin_unlock(&mock->lock);
			return;
		}
		flush = mock->flushes[0];
		mock->nr_flushes--;
		memmove(mock->flushes, mock->flushes + 1,
			mock->nr_flushes * sizeof(flush));
		__gpusvm_mock_drop(mock, &flush);
		spin_unlock(&mock->lock);

		gpusvm_mock_log(mock->env, mock, GPUSVM_MOCK_FLUSH_DONE,
				flush.start, flush.end);
		drm_gpusvm_instance_flush_done(&mock->base, flush.generation);
	}
}

static void gpusvm_mock_work(struct work_struct *work)
{
	struct gpusvm_mock *mock = container_of(work, struct gpusvm_mock, work);

	if (!READ_ONCE(mock->manual))
		gpusvm_mock_flush_complete(mock, UINT_MAX);
}

/* A test that has failed leaves flushes, and its mm is torn down then. */
static void gpusvm_mock_rescue(struct work_struct *work)
{
	struct gpusvm_mock *mock =
		container_of(work, struct gpusvm_mock, rescue.work);

	atomic_add(gpusvm_mock_flush_pending(mock), &mock->env->rescued);
	gpusvm_mock_flush_complete(mock, UINT_MAX);
}

/**
 * gpusvm_mock_set_manual() - Who completes flushes?
 * @mock: The mock.
 * @manual: The test does, with gpusvm_mock_flush_complete(). Else it is done at
 *	once, what is pending is done when the call returns.
 */
void gpusvm_mock_set_manual(struct gpusvm_mock *mock, bool manual)
{
	WRITE_ONCE(mock->manual, manual);
	if (manual)
		return;
	/* Pairs with the barrier in gpusvm_mock_flush(). */
	smp_mb();
	queue_work(mock->env->wq, &mock->work);
	flush_work(&mock->work);
}

/**
 * gpusvm_mock_flush_pending() - Count the flushes that are not completed
 * @mock: The mock.
 *
 * Return: their number.
 */
unsigned int gpusvm_mock_flush_pending(struct gpusvm_mock *mock)
{
	unsigned int pending;

	spin_lock(&mock->lock);
	pending = mock->nr_flushes;
	spin_unlock(&mock->lock);
	return pending;
}

/**
 * gpusvm_mock_flush_wait() - Wait until flushes are pending
 * @mock: The mock, in manual mode.
 * @count: How many.
 *
 * Return: true if there are as many, false after the limit.
 */
bool gpusvm_mock_flush_wait(struct gpusvm_mock *mock, unsigned int count)
{
	return wait_event_timeout(mock->queued,
				  gpusvm_mock_flush_pending(mock) >= count,
				  GPUSVM_MOCK_LIMIT);
}

/* The callbacks. */

static struct gpusvm_mock *to_mock(struct drm_gpusvm_instance *instance)
{
	struct gpusvm_mock *mock = container_of(instance, struct gpusvm_mock, base);

	if (!READ_ONCE(mock->attached))
		gpusvm_mock_count(mock->env, GPUSVM_MOCK_DETACHED);
	return mock;
}

static struct gpusvm_mock_mapping *to_mock_mapping(struct drm_gpusvm_mapping *mapping)
{
	return container_of(mapping, struct gpusvm_mock_mapping, base);
}

static struct drm_gpusvm_mapping *
gpusvm_mock_mapping_alloc(struct drm_gpusvm_instance *instance)
{
	struct gpusvm_mock_mapping *mapping = kzalloc_obj(*mapping);

	if (!mapping)
		return NULL;
	atomic_inc(&to_mock(instance)->mappings);
	return &mapping->base;
}

static void gpusvm_mock_mapping_free(struct drm_gpusvm_mapping *mapping)
{
	atomic_dec(&to_mock(mapping->instance)->mappings);
	kfree(to_mock_mapping(mapping));
}

static int gpusvm_mock_prepare(struct drm_gpusvm_instance *instance,
			       unsigned long start, unsigned long end)
{
	struct gpusvm_mock *mock = to_mock(instance);

	spin_lock(&mock->lock);
	mock->prepared[mock->nr_prepared++ % GPUSVM_MOCK_PREPARED] =
		(struct gpusvm_mock_flush){ .start = start, .end = end };
	spin_unlock(&mock->lock);
	gpusvm_mock_window(mock->env, GPUSVM_MOCK_WINDOW_PREPARE, mock);
	return READ_ONCE(mock->prepare_error);
}

static bool __gpusvm_mock_is_prepared(struct gpusvm_mock *mock, unsigned long start,
				      unsigned long end)
{
	unsigned int i;

	lockdep_assert_held(&mock->lock);

	for (i = 0; i < min(mock->nr_prepared, GPUSVM_MOCK_PREPARED); i++)
		if (mock->prepared[i].start <= start && mock->prepared[i].end >= end)
			return true;
	return false;
}

/* Writes the PTEs of a run. */
static int __gpusvm_mock_map_run(struct gpusvm_mock *mock,
				 const struct drm_gpusvm_run *run)
{
	unsigned long va = run->view.va + (run->start - run->view.start);
	unsigned int permissions = GPUSVM_MOCK_READ |
				   (run->write ? GPUSVM_MOCK_WRITE : 0) |
				   (run->atomic ? GPUSVM_MOCK_ATOMIC : 0);
	unsigned long i;
	int err = 0;

	lockdep_assert_held(&mock->lock);

	mock->moved |= va != run->start;
	for (i = 0; i < run->size >> PAGE_SHIFT && !err; i++) {
		unsigned long page = (run->start >> PAGE_SHIFT) + i;
		unsigned long pfn = (run->addr >> PAGE_SHIFT) + i;
		unsigned long pte;

		if (!FIELD_FIT(MOCK_PTE_PFN, pfn))
			return -ERANGE;
		pte = FIELD_PREP(MOCK_PTE_PFN, pfn) |
		      FIELD_PREP(MOCK_PTE_VA, (va >> PAGE_SHIFT) + i) | permissions;
		if (xa_load(&mock->ptes, page))
			gpusvm_mock_count(mock->env, GPUSVM_MOCK_DOUBLE_MAP);
		err = xa_err(xa_store(&mock->ptes, page, xa_mk_value(pte),
				      GFP_ATOMIC | __GFP_NOWARN));
		/* A TLB may look ahead, and this one always does. */
		if (!err)
			err = __gpusvm_mock_load(mock, page, pte);
	}
	return err;
}

static int gpusvm_mock_map(struct drm_gpusvm_mapping *mapping)
{
	struct gpusvm_mock *mock = to_mock(mapping->instance);
	struct drm_gpusvm_view view;
	struct drm_gpusvm_run run;
	unsigned long page;
	int err = READ_ONCE(mock->map_error);

	if (err)
		return err;

	spin_lock(&mock->lock);
	if (__gpusvm_mock_reach(mock, mapping->start, mapping->end) &
	    (GPUSVM_MOCK_PTE | GPUSVM_MOCK_DMA))
		gpusvm_mock_count(mock->env, GPUSVM_MOCK_DOUBLE_MAP);
	for (page = mapping->start >> PAGE_SHIFT;
	     page < mapping->end >> PAGE_SHIFT && !err; page++)
		err = xa_err(xa_store(&mock->dma, page, xa_mk_value(1),
				      GFP_ATOMIC | __GFP_NOWARN));

	drm_gpusvm_mapping_for_each_view(mapping, &view)
		if (!__gpusvm_mock_is_prepared(mock, view.start, view.end))
			gpusvm_mock_count(mock->env, GPUSVM_MOCK_WRONG_VIEW);
	drm_gpusvm_mapping_for_each_run(mapping, &run)
		if (!err)
			err = __gpusvm_mock_map_run(mock, &run);
	/* What is written where it fails is zapped by the caller. */
	to_mock_mapping(mapping)->written = !err;
	spin_unlock(&mock->lock);

	if (!err)
		gpusvm_mock_log(mock->env, mock, GPUSVM_MOCK_MAP,
				mapping->start, mapping->end);
	return err;
}

static void gpusvm_mock_zap_ptes(struct drm_gpusvm_mapping *mapping)
{
	struct gpusvm_mock *mock = to_mock(mapping->instance);
	struct drm_gpusvm_view view;
	unsigned long page;

	spin_lock(&mock->lock);
	if (mock->jobs)
		gpusvm_mock_count(mock->env, GPUSVM_MOCK_ZAP_AT_WORK);
	drm_gpusvm_mapping_for_each_view(mapping, &view) {
		for (page = view.start >> PAGE_SHIFT; page < view.end >> PAGE_SHIFT; page++) {
			unsigned long va = (view.va >> PAGE_SHIFT) + page -
					   (view.start >> PAGE_SHIFT);
			void *entry = xa_erase(&mock->ptes, page);

			if (entry ? FIELD_GET(MOCK_PTE_VA, xa_to_value(entry)) != va :
				    to_mock_mapping(mapping)->written)
				gpusvm_mock_count(mock->env, GPUSVM_MOCK_WRONG_VIEW);
		}
	}
	to_mock_mapping(mapping)->written = false;
	spin_unlock(&mock->lock);

	gpusvm_mock_log(mock->env, mock, GPUSVM_MOCK_ZAP, mapping->start,
			mapping->end);
}

static void gpusvm_mock_flush(struct drm_gpusvm_instance *instance,
			      unsigned long start, unsigned long end,
			      u64 generation)
{
	struct gpusvm_mock *mock = to_mock(instance);
	struct gpusvm_mock_flush flush = {
		.start = start,
		.end = end,
		.generation = generation,
	};

	gpusvm_mock_log(mock->env, mock, GPUSVM_MOCK_FLUSH_START, start, end);

	spin_lock(&mock->lock);
	mock->stamp = generation;
	if (mock->nr_flushes == GPUSVM_MOCK_FLUSHES) {
		/* No room: one that is larger, and as late, does as well. */
		struct gpusvm_mock_flush *tail = &mock->flushes[mock->nr_flushes - 1];

		flush.start = min(flush.start, tail->start);
		flush.end = max(flush.end, tail->end);
		*tail = flush;
	} else {
		mock->flushes[mock->nr_flushes++] = flush;
	}
	spin_unlock(&mock->lock);

	/* Either this sees that the mode has changed, or the work sees the flush. */
	smp_mb();
	if (READ_ONCE(mock->manual))
		mod_delayed_work(mock->env->wq, &mock->rescue,
				 2 * GPUSVM_MOCK_LIMIT);
	else
		queue_work(mock->env->wq, &mock->work);
	wake_up_all(&mock->queued);
}

static void gpusvm_mock_unmapped(struct drm_gpusvm_mapping *mapping)
{
	unsigned long first = mapping->start >> PAGE_SHIFT;
	unsigned long last = (mapping->end - 1) >> PAGE_SHIFT;
	struct gpusvm_mock *mock = to_mock(mapping->instance);
	unsigned long page, index;
	void *entry;

	spin_lock(&mock->lock);
	if (__gpusvm_mock_reach(mock, mapping->start, mapping->end) &
	    (GPUSVM_MOCK_PTE | GPUSVM_MOCK_TLB))
		gpusvm_mock_count(mock->env, GPUSVM_MOCK_EARLY_UNMAP);
	for (page = first; page <= last; page++)
		xa_erase(&mock->dma, page);
	/* One that was left is counted, and not met again. */
	if (__gpusvm_mock_find(mock, &mock->ptes, MOCK_PTE_VA, first, last))
		xa_for_each(&mock->ptes, index, entry) {
			page = FIELD_GET(MOCK_PTE_VA, xa_to_value(entry));
			if (page >= first && page <= last)
				xa_erase(&mock->ptes, index);
		}
	spin_unlock(&mock->lock);

	gpusvm_mock_log(mock->env, mock, GPUSVM_MOCK_UNMAPPED, mapping->start,
			mapping->end);
}

static unsigned int gpusvm_mock_jobs(struct gpusvm_mock *mock)
{
	unsigned int jobs;

	spin_lock(&mock->lock);
	jobs = mock->jobs;
	spin_unlock(&mock->lock);
	return jobs;
}

static void gpusvm_mock_quiesce(struct drm_gpusvm_instance *instance)
{
	struct gpusvm_mock *mock = to_mock(instance);

	spin_lock(&mock->lock);
	mock->quiesces++;
	spin_unlock(&mock->lock);
	wake_up_all(&mock->queued);
	if (!wait_event_timeout(mock->queued, !gpusvm_mock_jobs(mock), 2 * GPUSVM_MOCK_LIMIT))
		atomic_inc(&mock->env->rescued);
	gpusvm_mock_log(mock->env, mock, GPUSVM_MOCK_QUIESCED, 0, 0);
}

static const struct drm_gpusvm_instance_ops gpusvm_mock_ops = {
	.mapping_alloc = gpusvm_mock_mapping_alloc,
	.mapping_free = gpusvm_mock_mapping_free,
	.prepare = gpusvm_mock_prepare,
	.map = gpusvm_mock_map,
	.zap = gpusvm_mock_zap_ptes,
	.flush = gpusvm_mock_flush,
	.unmapped = gpusvm_mock_unmapped,
	.quiesce = gpusvm_mock_quiesce,
};

/* Devices and instances. */

/**
 * gpusvm_mock_device() - Make a device
 * @env: The environment.
 *
 * Return: the device; gone with the environment.
 */
struct gpusvm_mock_device *gpusvm_mock_device(struct gpusvm_mock_env *env)
{
	static atomic_t number;
	struct gpusvm_mock_device *device;
	struct faux_device *faux;
	char name[32];

	snprintf(name, sizeof(name), "gpusvm_mock.%d", atomic_inc_return(&number));
	faux = faux_device_create(name, NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(env->test, faux);

	device = devm_drm_dev_alloc(&faux->dev, &gpusvm_mock_driver,
				    struct gpusvm_mock_device, drm);
	if (IS_ERR(device))
		faux_device_destroy(faux);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(env->test, device);

	device->faux = faux;
	list_add_tail(&device->node, &env->devices);
	/* It sees what the CPU has in its caches; there are kernels that doubt it. */
	dev_set_dma_coherent(&faux->dev);
	KUNIT_ASSERT_EQ(env->test, 0,
			dma_coerce_mask_and_coherent(&faux->dev, DMA_BIT_MASK(64)));
	return device;
}

static const unsigned long gpusvm_mock_sizes[] = { MOCK_LARGE, MOCK_MIDDLE, PAGE_SIZE };

static const struct gpusvm_mgr_chunks gpusvm_mock_chunks = {
	.sizes = gpusvm_mock_sizes,
	.count = ARRAY_SIZE(gpusvm_mock_sizes),
};

/**
 * gpusvm_mock_params() - Fill in the parameters of an attach
 * @device: The device.
 * @params: Out.
 */
void gpusvm_mock_params(struct gpusvm_mock_device *device,
			struct drm_gpusvm_instance_params *params)
{
	*params = (struct drm_gpusvm_instance_params) {
		.drm = &device->drm,
		.owner = device->owner,
		.dpagemap = device->dpagemap,
		.ops = &gpusvm_mock_ops,
		.name = "mock",
	};
}

/**
 * gpusvm_mock_try_attach() - Attach an instance, which may fail
 * @env: The environment.
 * @device: The device.
 * @flags: DRM_GPUSVM_INSTANCE_*.
 * @out: Out: the mock; freed with the environment, also when it was detached.
 *
 * Also from the environment's threads.
 *
 * Return: what drm_gpusvm_instance_attach() returns, or -ENOMEM.
 */
int gpusvm_mock_try_attach(struct gpusvm_mock_env *env,
			   struct gpusvm_mock_device *device, unsigned int flags,
			   struct gpusvm_mock **out)
{
	struct drm_gpusvm_instance_params params;
	struct gpusvm_mock *mock;
	int err;

	mock = kzalloc_obj(*mock);
	if (!mock)
		return -ENOMEM;

	mock->env = env;
	mock->device = device;
	spin_lock_init(&mock->lock);
	xa_init(&mock->ptes);
	xa_init(&mock->tlb);
	xa_init(&mock->dma);
	init_waitqueue_head(&mock->queued);
	INIT_WORK(&mock->work, gpusvm_mock_work);
	INIT_DELAYED_WORK(&mock->rescue, gpusvm_mock_rescue);

	gpusvm_mock_params(device, &params);
	params.flags = flags;
	/* Faults of others may reach an eager one before attach returns. */
	mock->attached = true;
	spin_lock(&env->lock);
	list_add_tail(&mock->node, &env->mocks);
	spin_unlock(&env->lock);

	err = drm_gpusvm_instance_attach(&mock->base, &params);
	if (err) {
		spin_lock(&env->lock);
		list_del(&mock->node);
		spin_unlock(&env->lock);
		kfree(mock);
		return err;
	}

	/* It has no range yet, or has them already. */
	WRITE_ONCE(mock->base.mgr->chunks, &gpusvm_mock_chunks);
	*out = mock;
	return 0;
}

/**
 * gpusvm_mock_attach() - Attach an instance
 * @env: The environment.
 * @device: The device.
 * @flags: DRM_GPUSVM_INSTANCE_*.
 *
 * Return: the mock.
 */
struct gpusvm_mock *gpusvm_mock_attach(struct gpusvm_mock_env *env,
				       struct gpusvm_mock_device *device,
				       unsigned int flags)
{
	struct gpusvm_mock *mock = NULL;

	KUNIT_ASSERT_EQ(env->test, 0,
			gpusvm_mock_try_attach(env, device, flags, &mock));
	return mock;
}

/**
 * gpusvm_mock_new() - Attach an instance of a device of its own
 * @env: The environment.
 *
 * Return: the mock.
 */
struct gpusvm_mock *gpusvm_mock_new(struct gpusvm_mock_env *env)
{
	return gpusvm_mock_attach(env, gpusvm_mock_device(env), 0);
}

/**
 * gpusvm_mock_detach() - Detach an instance
 * @mock: The mock, attached. It can be looked at until the end of the test.
 */
void gpusvm_mock_detach(struct gpusvm_mock *mock)
{
	struct gpusvm_mock_env *env = mock->env;

	drm_gpusvm_instance_detach(&mock->base);
	WRITE_ONCE(mock->attached, false);
	cancel_work_sync(&mock->work);
	cancel_delayed_work_sync(&mock->rescue);

	if (!xa_empty(&mock->ptes) || !xa_empty(&mock->dma))
		gpusvm_mock_count(env, GPUSVM_MOCK_STALE_DMA);
	if (!xa_empty(&mock->tlb))
		gpusvm_mock_count(env, GPUSVM_MOCK_STALE_TLB);
	KUNIT_EXPECT_EQ_MSG(env->test, atomic_read(&mock->mappings), 0,
			    "mappings leaked");
}

/**
 * gpusvm_mock_fault() - Fault
 * @mock: The mock.
 * @addr: Address.
 * @access: What the device wants.
 *
 * Return: what drm_gpusvm_mgr_fault() returns.
 */
int gpusvm_mock_fault(struct gpusvm_mock *mock, unsigned long addr,
		      enum drm_gpusvm_access access)
{
	struct drm_gpusvm_fault fault = { .addr = addr, .access = access };

	return drm_gpusvm_mgr_fault(&mock->base, &fault);
}

/* Jobs that do not fault. */

/**
 * gpusvm_mock_job_begin() - A job is at work
 * @mock: The mock. Between begin and end of its submission.
 */
void gpusvm_mock_job_begin(struct gpusvm_mock *mock)
{
	spin_lock(&mock->lock);
	mock->jobs++;
	spin_unlock(&mock->lock);
}

/**
 * gpusvm_mock_job_end() - A job has ended
 * @mock: The mock.
 */
void gpusvm_mock_job_end(struct gpusvm_mock *mock)
{
	spin_lock(&mock->lock);
	mock->jobs--;
	spin_unlock(&mock->lock);
	wake_up_all(&mock->queued);
}

/**
 * gpusvm_mock_submit() - Submit a job
 * @mock: The mock. One thread at a time.
 *
 * Return: 0, and the job is at work until gpusvm_mock_job_end(); or what
 * drm_gpusvm_instance_submit_prepare() and drm_gpusvm_instance_submit_begin() return.
 */
int gpusvm_mock_submit(struct gpusvm_mock *mock)
{
	int err;

	do {
		err = drm_gpusvm_instance_submit_prepare(&mock->base);
		if (!err)
			err = drm_gpusvm_instance_submit_begin(&mock->base);
	} while (err == -EAGAIN);
	if (err)
		return err;
	gpusvm_mock_job_begin(mock);
	drm_gpusvm_instance_submit_end(&mock->base);
	return 0;
}

static bool gpusvm_mock_has_quiesced(struct gpusvm_mock *mock, unsigned int count)
{
	bool has;

	spin_lock(&mock->lock);
	has = mock->quiesces >= count;
	spin_unlock(&mock->lock);
	return has;
}

/**
 * gpusvm_mock_quiesce_wait() - Wait until somebody waits for the jobs
 * @mock: The mock.
 * @count: How many have to have begun to, since the attach.
 *
 * Return: false after the limit.
 */
bool gpusvm_mock_quiesce_wait(struct gpusvm_mock *mock, unsigned int count)
{
	return wait_event_timeout(mock->queued, gpusvm_mock_has_quiesced(mock, count),
				  GPUSVM_MOCK_LIMIT);
}

/* The log. */

/**
 * gpusvm_mock_events_reset() - Forget what was logged
 * @env: The environment.
 */
void gpusvm_mock_events_reset(struct gpusvm_mock_env *env)
{
	spin_lock(&env->lock);
	env->nr_events = 0;
	spin_unlock(&env->lock);
}

/**
 * gpusvm_mock_event() - Find an event
 * @env: The environment.
 * @mock: Whose, NULL: anyone's.
 * @type: Which.
 * @nth: Number among those that match, from 0.
 *
 * Return: its number in the log: what was earlier is smaller; or -ENOENT.
 */
int gpusvm_mock_event(struct gpusvm_mock_env *env, struct gpusvm_mock *mock,
		      enum gpusvm_mock_event_type type, unsigned int nth)
{
	int i, found = -ENOENT;

	spin_lock(&env->lock);
	for (i = 0; i < min(env->nr_events, GPUSVM_MOCK_EVENTS); i++) {
		if (env->events[i].type != type ||
		    (mock && env->events[i].mock != mock))
			continue;
		if (nth--)
			continue;
		found = i;
		break;
	}
	spin_unlock(&env->lock);
	return found;
}

/**
 * gpusvm_mock_events() - Count events
 * @env: The environment.
 * @mock: Whose, NULL: anyone's.
 * @type: Which.
 *
 * Return: how many were logged since the last reset.
 */
unsigned int gpusvm_mock_events(struct gpusvm_mock_env *env,
				struct gpusvm_mock *mock,
				enum gpusvm_mock_event_type type)
{
	unsigned int count = 0;

	while (gpusvm_mock_event(env, mock, type, count) >= 0)
		count++;
	return count;
}

/* Gates. */

static void gpusvm_mock_hook(enum gpusvm_mgr_window window, void *object)
{
	struct gpusvm_mock_env *env = READ_ONCE(gpusvm_mock_running);

	if (env)
		gpusvm_mock_window(env, window, object);
}

/**
 * gpusvm_mock_gate() - Put a gate up
 * @env: The environment.
 * @window: Where: a &enum gpusvm_mgr_window or a &enum gpusvm_mock_window.
 * @thread: Whom it stops, NULL: the first who comes by.
 *
 * Return: the gate, closed; it goes with the environment.
 */
struct gpusvm_mock_gate *gpusvm_mock_gate(struct gpusvm_mock_env *env,
					  unsigned int window,
					  struct gpusvm_mock_thread *thread)
{
	struct gpusvm_mock_gate *gate;

	gate = kzalloc_obj(*gate);
	KUNIT_ASSERT_NOT_NULL(env->test, gate);
	gate->window = window;
	gate->thread = thread;
	gate->armed = true;
	init_completion(&gate->reached);
	init_completion(&gate->go);
	spin_lock(&env->lock);
	list_add_tail(&gate->node, &env->gates);
	spin_unlock(&env->lock);
	return gate;
}

/**
 * gpusvm_mock_gate_reached() - Wait until somebody stands before a gate
 * @gate: The gate.
 *
 * Return: false after the limit.
 */
bool gpusvm_mock_gate_reached(struct gpusvm_mock_gate *gate)
{
	return wait_for_completion_timeout(&gate->reached, GPUSVM_MOCK_LIMIT);
}

/**
 * gpusvm_mock_gate_open() - Open a gate for good
 * @gate: The gate.
 */
void gpusvm_mock_gate_open(struct gpusvm_mock_gate *gate)
{
	complete_all(&gate->go);
}

/**
 * gpusvm_mock_break() - Leave a step of the protocol out, or put it in again
 * @env: The environment.
 * @step: The step.
 * @broken: Leave it out.
 */
void gpusvm_mock_break(struct gpusvm_mock_env *env, enum gpusvm_mgr_step step,
		       bool broken)
{
	WRITE_ONCE(gpusvm_mgr_broken_steps,
		   broken ? gpusvm_mgr_broken_steps | BIT(step) :
			    gpusvm_mgr_broken_steps & ~BIT(step));
}

/* The probe: a notifier that is called when the manager's two passes are through. */

static int gpusvm_mock_probe_start(struct mmu_notifier *probe,
				   const struct mmu_notifier_range *range)
{
	struct gpusvm_mock_env *env =
		container_of(probe, struct gpusvm_mock_env, probe);

	gpusvm_mock_check_gone(env, range->start, range->end);
	gpusvm_mock_log(env, NULL, GPUSVM_MOCK_INVALIDATED, range->start,
			range->end);
	if (mmu_notifier_range_blockable(range))
		gpusvm_mock_window(env, GPUSVM_MOCK_WINDOW_INVALIDATED, env);
	return 0;
}

static void gpusvm_mock_probe_release(struct mmu_notifier *probe,
				      struct mm_struct *mm)
{
	struct gpusvm_mock_env *env =
		container_of(probe, struct gpusvm_mock_env, probe);

	gpusvm_mock_check_gone(env, 0, ULONG_MAX);
}

static const struct mmu_notifier_ops gpusvm_mock_probe_ops = {
	.invalidate_range_start = gpusvm_mock_probe_start,
	.release = gpusvm_mock_probe_release,
};

/* The environment. */

/**
 * gpusvm_mock_env_init() - Give a test an mm and an environment
 * @test: The test.
 *
 * Return: 0 or an errno.
 */
int gpusvm_mock_env_init(struct kunit *test)
{
	struct gpusvm_mock_env *env;
	int err;

	err = kunit_attach_mm();
	if (err)
		return err;

	env = kzalloc_obj(*env);
	if (!env)
		return -ENOMEM;
	env->events = kvcalloc(GPUSVM_MOCK_EVENTS, sizeof(*env->events), GFP_KERNEL);
	if (!env->events) {
		err = -ENOMEM;
		goto free_env;
	}
	env->wq = alloc_workqueue("gpusvm_mock", WQ_UNBOUND | WQ_HIGHPRI |
				  WQ_MEM_RECLAIM, 0);
	if (!env->wq) {
		err = -ENOMEM;
		goto free_events;
	}

	env->test = test;
	env->mm = current->mm;
	env->next_addr = SZ_1G;
	spin_lock_init(&env->lock);
	INIT_LIST_HEAD(&env->devices);
	INIT_LIST_HEAD(&env->mocks);
	INIT_LIST_HEAD(&env->threads);
	INIT_LIST_HEAD(&env->gates);
	xa_init_flags(&env->pages, XA_FLAGS_ALLOC);

	env->probe.ops = &gpusvm_mock_probe_ops;
	err = mmu_notifier_register(&env->probe, env->mm);
	if (err)
		goto free_wq;

	/*
	 * The thread's own reference, from kthread_use_mm(), which nobody drops where a
	 * thread ends with the mm, is ours from here on: while the thread lives, that of
	 * its mm_users does.
	 */
	test->priv = env;
	WRITE_ONCE(gpusvm_mock_running, env);
	WRITE_ONCE(gpusvm_mgr_window_hook, gpusvm_mock_hook);
	return 0;

free_wq:
	destroy_workqueue(env->wq);
free_events:
	kvfree(env->events);
free_env:
	kfree(env);
	return err;
}

static bool gpusvm_mock_env_join(struct gpusvm_mock_env *env)
{
	struct gpusvm_mock_thread *thread, *next;

	list_for_each_entry_safe(thread, next, &env->threads, node) {
		if (!thread->started) {
			kthread_stop(thread->task);
			mmput(env->mm);
		} else if (!gpusvm_mock_join(thread)) {
			return false;
		}
		put_task_struct(thread->task);
		list_del(&thread->node);
		kfree(thread);
	}
	return true;
}

static void gpusvm_mock_env_expect(struct gpusvm_mock_env *env)
{
	static const char * const names[GPUSVM_MOCK_VIOLATIONS] = {
		[GPUSVM_MOCK_STALE_PTE] = "stale PTE",
		[GPUSVM_MOCK_STALE_TLB] = "stale TLB entry",
		[GPUSVM_MOCK_STALE_DMA] = "stale DMA mapping",
		[GPUSVM_MOCK_EARLY_UNMAP] = "unmapped before the flush",
		[GPUSVM_MOCK_DOUBLE_MAP] = "mapped over a mapping",
		[GPUSVM_MOCK_DETACHED] = "callback after detach",
		[GPUSVM_MOCK_WRONG_VIEW] = "zapped or mapped at a wrong place",
		[GPUSVM_MOCK_ZAP_AT_WORK] = "zapped under a job that does not fault",
	};
	unsigned int i;

	for (i = 0; i < GPUSVM_MOCK_VIOLATIONS; i++)
		KUNIT_EXPECT_EQ_MSG(env->test, gpusvm_mock_take(env, i), 0,
				    "%s", names[i]);
	KUNIT_EXPECT_EQ_MSG(env->test, gpusvm_mock_take_rescued(env), 0,
			    "a flush or a gate was left waiting");
}

/**
 * gpusvm_mock_env_exit() - Clear up behind a test
 * @test: The test; its thread is gone, and so are the users of its mm.
 */
void gpusvm_mock_env_exit(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock_device *device, *next_device;
	struct gpusvm_mock_gate *gate, *next_gate;
	struct gpusvm_mock *mock, *next_mock;
	struct page *page;
	unsigned long id;

	if (!env)
		return;

	WRITE_ONCE(gpusvm_mgr_broken_steps, 0);
	WRITE_ONCE(gpusvm_mgr_window_hook, NULL);
	spin_lock(&env->lock);
	list_for_each_entry(gate, &env->gates, node) {
		gate->armed = false;
		complete_all(&gate->go);
	}
	spin_unlock(&env->lock);
	list_for_each_entry(mock, &env->mocks, node) {
		while (gpusvm_mock_jobs(mock))
			gpusvm_mock_job_end(mock);
		gpusvm_mock_set_manual(mock, false);
	}

	if (!gpusvm_mock_env_join(env)) {
		/* Everything stays: the thread may still be using it. */
		KUNIT_FAIL(test, "a thread hangs");
		return;
	}

	list_for_each_entry(mock, &env->mocks, node)
		if (mock->attached)
			gpusvm_mock_detach(mock);
	mmu_notifier_unregister(&env->probe, env->mm);
	WRITE_ONCE(gpusvm_mock_running, NULL);
	gpusvm_mock_env_expect(env);

	destroy_workqueue(env->wq);
	list_for_each_entry_safe(mock, next_mock, &env->mocks, node) {
		xa_destroy(&mock->ptes);
		xa_destroy(&mock->tlb);
		xa_destroy(&mock->dma);
		kfree(mock);
	}
	/* The DRM device goes with what it hangs on. */
	list_for_each_entry_safe(device, next_device, &env->devices, node)
		faux_device_destroy(device->faux);
	list_for_each_entry_safe(gate, next_gate, &env->gates, node)
		kfree(gate);
	xa_for_each(&env->pages, id, page)
		put_page(page);
	xa_destroy(&env->pages);
	mmdrop(env->mm);
	kvfree(env->events);
	kfree(env);
	test->priv = NULL;
}
