// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The engines of a device and what they run.
 *
 * A queue with a job to do is in the device's ready list. An engine takes the
 * first queue, runs its first job for a while, and puts the queue back at the
 * end, so that no job keeps another from running. An engine never waits for a
 * fault: it notes how far the job is, raises the fault and takes another queue.
 * When the fault was served, the queue is ready again.
 *
 *	engine				fault worker
 *	------				------------
 *	queue is RUNNING
 *	access faults
 *	raises the fault
 *					serves it at once
 *					queue is RUNNING: notes "resumed"
 *	lock: "resumed", so READY
 *
 * Without the note the queue would become STALLED after its fault was served,
 * for ever.
 *
 * A job of a VM without mirrors does not wait for faults, and may stand behind a
 * kernel fence. All that happens to it between its submission and its end is on
 * the path to that fence, for the engines and the teardown alike: nothing is
 * allocated there. A job is not endless, either: it has its time, and is ended.
 */

#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"
#include "vsvm_trace.h"

static unsigned int vsvm_job_timeout_ms = 30000;
module_param_named(job_timeout_ms, vsvm_job_timeout_ms, uint, 0644);
MODULE_PARM_DESC(job_timeout_ms,
		 "Longest time that a job behind a kernel fence may run (ms, default 30000)");

enum vsvm_run {
	/* The job has ended. */
	VSVM_RUN_DONE,
	/* It waits for a fault. */
	VSVM_RUN_STALL,
	/* There is more to do, but others shall have their turn. */
	VSVM_RUN_YIELD,
	/* The VM is dead; what happens to the job is not the engine's business. */
	VSVM_RUN_DEAD,
};

static void vsvm_queue_make_ready(struct vsvm_queue *queue)
{
	struct vsvm_device *dev = queue->vm->dev;

	lockdep_assert_held(&dev->lock);

	queue->state = VSVM_QUEUE_READY;
	list_add_tail(&queue->link, &dev->ready);
	wake_up(&dev->engine_wait);
}

/* The queue has a job to do, which may have to wait for fences first. */
static void vsvm_queue_next(struct vsvm_queue *queue)
{
	struct vsvm_job *job = list_first_entry(&queue->jobs, struct vsvm_job, link);

	lockdep_assert_held(&queue->vm->dev->lock);

	if (job->blocked)
		queue->state = VSVM_QUEUE_BLOCKED;
	else
		vsvm_queue_make_ready(queue);
}

/* All fences that a job waits for have signalled. */
static void vsvm_job_unblock(struct vsvm_deps *deps)
{
	struct vsvm_job *job = container_of(deps, struct vsvm_job, deps);
	struct vsvm_queue *queue = job->queue;
	struct vsvm_device *dev = job->vm->dev;

	spin_lock(&dev->lock);
	job->blocked = false;
	/* Where the VM is dead, the job may not be in the queue any more. */
	if (queue->state == VSVM_QUEUE_BLOCKED && !job->vm->dead &&
	    list_first_entry(&queue->jobs, struct vsvm_job, link) == job)
		vsvm_queue_make_ready(queue);
	spin_unlock(&dev->lock);
}

static void vsvm_job_resume(struct vsvm_fault_waiter *waiter, int err)
{
	struct vsvm_job *job = container_of(waiter, struct vsvm_job, waiter);
	struct vsvm_queue *queue = job->queue;

	lockdep_assert_held(&job->vm->dev->lock);

	job->fault_err = err;
	if (queue->state == VSVM_QUEUE_RUNNING)
		queue->resumed = true;
	else if (queue->state == VSVM_QUEUE_STALLED && !job->vm->dead)
		vsvm_queue_make_ready(queue);
}

/**
 * vsvm_job_free() - Free a job
 * @job: The job: ended, or never submitted. It is in no queue and waits for no fence.
 */
void vsvm_job_free(struct vsvm_job *job)
{
	vsvm_deps_fini(&job->deps);
	dma_fence_put(job->fence);
	kvfree(job->instrs);
	kfree(job->hist);
	kfree(job);
}

static u32 vsvm_job_errno(struct vsvm_job *job, int err)
{
	/* A process that goes away is no fault of the address. */
	if (err == -EFAULT && job->vm->svm->exiting(job->vm))
		err = -ECANCELED;
	/* Nobody promised more than these, see struct drm_vsvm_error. */
	if (err == -EINTR)
		err = -ECANCELED;
	if (err == -EHWPOISON)
		err = -EIO;
	return -err;
}

static void vsvm_job_record(struct vsvm_job *job, int err, const struct vsvm_access *a)
{
	struct vsvm_error error = {
		.job_id = job->id,
		.instr = job->fencing ? job->num_instrs : job->pc,
		.error = vsvm_job_errno(job, err),
	};

	if (a) {
		error.addr = a->va;
		if (a->op != VSVM_ACCESS_READ)
			error.flags |= DRM_VSVM_ERROR_WRITE;
		if (a->op == VSVM_ACCESS_ATOMIC_ADD)
			error.flags |= DRM_VSVM_ERROR_ATOMIC;
	}
	if (job->fencing)
		error.flags |= DRM_VSVM_ERROR_FENCE;

	if (!job->error) {
		job->error = err;
		atomic64_inc(&job->vm->stats.jobs_failed);
	}
	vsvm_vm_error_add(job->vm, &error);
	drm_dbg(&job->vm->dev->drm, "VM %u, job %llu: instruction %u, error %u at 0x%llx, flags 0x%x\n",
		job->vm->id, job->id, error.instr, error.error, error.addr, error.flags);
}

/*
 * The program has ended, in whatever way. All that somebody who sees the fence
 * may look at, record and counters included, is in place before the fence is.
 */
static void vsvm_job_begin_fence(struct vsvm_job *job)
{
	/* What the program has used up is not the fence's. */
	job->replays = 0;
	job->busy = 0;
	job->fencing = true;
	atomic64_inc(&job->vm->stats.jobs);
	atomic64_inc(&job->vm->dev->jobs);
}

/* Whoever waits for the job can go on. */
static void vsvm_job_signal(struct vsvm_job *job)
{
	if (!job->fence)
		return;
	if (job->error)
		dma_fence_set_error(job->fence, job->error);
	dma_fence_signal(job->fence);
}

static int vsvm_job_step(struct vsvm_engine *engine, struct vsvm_job *job,
			 struct vsvm_access *a)
{
	int ret;

	if (job->fencing) {
		*a = (struct vsvm_access){
			.va = job->fence_addr,
			.len = sizeof(u64),
			.op = VSVM_ACCESS_RELEASE,
			.value = job->fence_value |
				 (job->error ? DRM_VSVM_FENCE_ERROR : 0),
		};
		return vsvm_access(job->vm, a);
	}

	ret = vsvm_program_step(engine, job, a);
	if (ret > 0) {
		job->pc++;
		job->pos = 0;
		memset(job->acc, 0, sizeof(job->acc));
		ret = 0;
	}
	return ret;
}

static enum vsvm_run vsvm_job_run(struct vsvm_engine *engine, struct vsvm_job *job)
{
	struct vsvm_device *dev = engine->dev;
	struct vsvm_vm *vm = job->vm;
	struct vsvm_access a = {};
	unsigned int steps = 0;
	int ret = 0;

	if (!job->started) {
		job->started = true;
		ret = job->outcome;
		job->deadline = ktime_add_ms(ktime_get(), READ_ONCE(vsvm_job_timeout_ms));
		trace_vsvm_job_start(job, 0);
	}

	/* How did the fault end that it waited for? */
	if (job->fault_err == -EBUSY && ++job->busy < VSVM_MAX_BUSY) {
		/*
		 * Not served in time: others kept changing the memory, or the
		 * machine is slow. Hardware would raise the fault again and
		 * again; this device does so, too, but not for ever.
		 */
		job->fault_err = 0;
	} else if (job->fault_err) {
		ret = job->fault_err;
		a.va = job->fault_va;
		a.op = job->fault_op;
		job->fault_err = 0;
	}

	for (;;) {
		/* Each step is bounded, so a dead VM is left soon. */
		if (READ_ONCE(vm->dead))
			return VSVM_RUN_DEAD;

		if (ret) {
			vsvm_job_record(job, ret, &a);
			if (job->fencing)
				return VSVM_RUN_DONE;
			vsvm_job_begin_fence(job);
		} else if (!job->fencing && job->pc == job->num_instrs) {
			vsvm_job_begin_fence(job);
		}
		if (job->fencing && !job->fence_addr)
			return VSVM_RUN_DONE;

		ret = vsvm_job_step(engine, job, &a);
		if (ret == -EAGAIN && vsvm_vm_bound_only(vm)) {
			ret = vsvm_bind_access_error(vm, a.va, a.op != VSVM_ACCESS_READ);
			/* It was written just now: once more, and no fault. */
			if (ret == -EAGAIN)
				ret = ++job->replays < VSVM_MAX_REPLAYS ? 0 : -EBUSY;
		} else if (ret == -EAGAIN) {
			if (++job->replays < VSVM_MAX_REPLAYS) {
				job->fault_va = a.va;
				job->fault_op = a.op;
				vsvm_fault_push(vm, &job->waiter, a.va,
						vsvm_access_kind(a.op));
				return VSVM_RUN_STALL;
			}
			/* Mapped and gone, over and over: somebody fights. */
			ret = -EBUSY;
		} else if (!ret) {
			job->replays = 0;
			job->busy = 0;
			if (job->fencing)
				return VSVM_RUN_DONE;
		}

		cond_resched();
		if (++steps >= VSVM_SLICE) {
			steps = 0;
			if (job->fence && !ret && !job->fencing &&
			    ktime_after(ktime_get(), job->deadline)) {
				a = (struct vsvm_access){};
				ret = -ETIME;
			}
			if (!ret && !list_empty(&dev->ready))
				return VSVM_RUN_YIELD;
		}
	}
}

static struct vsvm_queue *vsvm_engine_take(struct vsvm_device *dev)
{
	struct vsvm_queue *queue;

	spin_lock(&dev->lock);
	queue = list_first_entry_or_null(&dev->ready, struct vsvm_queue, link);
	if (queue) {
		list_del_init(&queue->link);
		queue->state = VSVM_QUEUE_RUNNING;
		queue->resumed = false;
		WRITE_ONCE(queue->vm->running, queue->vm->running + 1);
	}
	spin_unlock(&dev->lock);
	return queue;
}

/* After this the VM may be gone, unless the caller knows better; not the job. */
static void vsvm_engine_leave(struct vsvm_device *dev, struct vsvm_queue *queue,
			      struct vsvm_job *job, enum vsvm_run how)
{
	struct vsvm_vm *vm = queue->vm;

	spin_lock(&dev->lock);
	if (how == VSVM_RUN_DONE) {
		list_del_init(&job->link);
		WRITE_ONCE(vm->unfinished, vm->unfinished - 1);
	}

	if (vm->dead || list_empty(&queue->jobs))
		queue->state = VSVM_QUEUE_IDLE;
	else if (how == VSVM_RUN_STALL && !queue->resumed)
		queue->state = VSVM_QUEUE_STALLED;
	else
		vsvm_queue_next(queue);
	WRITE_ONCE(vm->running, vm->running - 1);
	/* Under the lock, see vsvm_engine_reap_vm(). */
	if (how == VSVM_RUN_DONE || vm->dead)
		vsvm_vm_wake(vm);
	spin_unlock(&dev->lock);
}

static int vsvm_engine_thread(void *arg)
{
	struct vsvm_engine *engine = arg;
	struct vsvm_device *dev = engine->dev;

	while (!kthread_should_stop()) {
		struct vsvm_queue *queue;
		struct vsvm_job *job;
		enum vsvm_run how;
		bool cookie;

		queue = vsvm_engine_take(dev);
		if (!queue) {
			wait_event_idle_exclusive(dev->engine_wait,
						  !list_empty(&dev->ready) ||
						  kthread_should_stop());
			continue;
		}

		/* The first job of a queue that is RUNNING does not change. */
		job = list_first_entry(&queue->jobs, struct vsvm_job, link);
		cookie = dma_fence_begin_signalling();
		how = vsvm_job_run(engine, job);
		if (how == VSVM_RUN_DONE) {
			trace_vsvm_job_end(job, job->error);
			vsvm_job_signal(job);
		}
		vsvm_engine_leave(dev, queue, job, how);
		dma_fence_end_signalling(cookie);
		if (how == VSVM_RUN_DONE)
			vsvm_job_free(job);
		cond_resched();
	}
	return 0;
}

/**
 * vsvm_job_alloc() - Make a job
 * @vm: The VM.
 * @instrs: The program; belongs to the job if this succeeds.
 * @count: Number of instructions.
 * @hist: The program makes a histogram.
 *
 * Return: the job, NULL where there is no memory.
 */
struct vsvm_job *vsvm_job_alloc(struct vsvm_vm *vm, struct drm_vsvm_instr *instrs,
				u32 count, bool hist)
{
	struct vsvm_syncs none = {};
	struct vsvm_job *job;

	job = kzalloc_obj(*job);
	if (!job)
		return NULL;
	if (hist) {
		job->hist = kcalloc(256, sizeof(*job->hist), GFP_KERNEL);
		if (!job->hist) {
			kfree(job);
			return NULL;
		}
	}
	INIT_LIST_HEAD(&job->link);
	INIT_LIST_HEAD(&job->waiter.link);
	job->waiter.done = vsvm_job_resume;
	vsvm_deps_init(&job->deps, &none, vsvm_job_unblock);
	job->vm = vm;
	job->instrs = instrs;
	job->num_instrs = count;
	return job;
}

/**
 * vsvm_job_wait_for() - Let a job wait for fences
 * @job: The job, not submitted yet.
 * @syncs: Has the fences, which are taken over.
 */
void vsvm_job_wait_for(struct vsvm_job *job, struct vsvm_syncs *syncs)
{
	vsvm_deps_init(&job->deps, syncs, vsvm_job_unblock);
}

/**
 * vsvm_engine_reserve() - Get a place for a job
 * @vm: The VM.
 *
 * Waits while the VM has as many unfinished jobs as it may. The place is given to
 * vsvm_engine_submit(), or given up by vsvm_engine_unreserve().
 *
 * Return: 0, -EINTR, or the errno with which the VM died.
 */
int vsvm_engine_reserve(struct vsvm_vm *vm)
{
	struct vsvm_device *dev = vm->dev;
	int ret;

	for (;;) {
		spin_lock(&dev->lock);
		ret = vm->dead;
		if (!ret && vm->unfinished < DRM_VSVM_MAX_JOBS) {
			WRITE_ONCE(vm->unfinished, vm->unfinished + 1);
			spin_unlock(&dev->lock);
			return 0;
		}
		spin_unlock(&dev->lock);
		if (ret)
			return ret;

		if (wait_event_interruptible(vm->wait, READ_ONCE(vm->dead) ||
					     READ_ONCE(vm->unfinished) < DRM_VSVM_MAX_JOBS))
			return -EINTR;
	}
}

static void vsvm_engine_unreserve_locked(struct vsvm_vm *vm)
{
	lockdep_assert_held(&vm->dev->lock);

	/* The end of a VM gives up all places at once. */
	if (vm->unfinished)
		WRITE_ONCE(vm->unfinished, vm->unfinished - 1);
	vsvm_vm_wake(vm);
}

/**
 * vsvm_engine_unreserve() - Give a place up that was not used
 * @vm: The VM.
 */
void vsvm_engine_unreserve(struct vsvm_vm *vm)
{
	spin_lock(&vm->dev->lock);
	vsvm_engine_unreserve_locked(vm);
	spin_unlock(&vm->dev->lock);
}

/**
 * vsvm_engine_submit() - Put a job into its queue
 * @job: The job; freed when it has ended. It has a place.
 * @id: Out: its number.
 *
 * Return: 0, or the errno with which the VM died; then the place was given up, and
 * the job is the caller's, for vsvm_engine_refuse().
 */
int vsvm_engine_submit(struct vsvm_job *job, u64 *id)
{
	struct vsvm_queue *queue = job->queue;
	struct vsvm_vm *vm = job->vm;
	struct vsvm_device *dev = vm->dev;
	int ret;

	spin_lock(&dev->lock);
	ret = vm->dead;
	if (!ret) {
		if (!job->id)
			job->id = ++vm->next_job;
		*id = job->id;
		trace_vsvm_job_submit(job, 0);
		list_add_tail(&job->link, &queue->jobs);
		/* Here, because without the lock it may be gone. */
		if (job->deps.count) {
			job->blocked = true;
			vsvm_deps_start(&job->deps);
		}
		if (queue->state == VSVM_QUEUE_IDLE)
			vsvm_queue_next(queue);
	} else {
		vsvm_engine_unreserve_locked(vm);
	}
	spin_unlock(&dev->lock);
	return ret;
}

/**
 * vsvm_engine_refuse() - End a job that came too late
 * @job: The job, which vsvm_engine_submit() did not take; freed.
 * @err: What that returned.
 *
 * Waits for the engines, which leave the dead VM within one bounded step: whoever
 * waits for this job's fence takes those before it in its queue for signalled, too,
 * and may give away the memory that this step is about. So the caller holds nothing
 * that a step needs.
 */
void vsvm_engine_refuse(struct vsvm_job *job, int err)
{
	struct vsvm_vm *vm = job->vm;

	wait_event(vm->wait, !READ_ONCE(vm->running));
	job->error = err;
	vsvm_job_signal(job);
	vsvm_job_free(job);
}

/**
 * vsvm_engine_submit_wait() - Get a place for a job and put it into its queue
 * @job: The job; freed in any case, when it has ended or here.
 * @id: Out: its number.
 *
 * Return: 0, or as vsvm_engine_reserve() and vsvm_engine_submit().
 */
int vsvm_engine_submit_wait(struct vsvm_job *job, u64 *id)
{
	int ret = vsvm_engine_reserve(job->vm);

	if (ret) {
		vsvm_job_free(job);
		return ret;
	}
	ret = vsvm_engine_submit(job, id);
	if (ret)
		vsvm_engine_refuse(job, ret);
	return ret;
}

/**
 * vsvm_engine_kill_vm() - No job of a VM shall go on
 * @vm: The VM.
 * @err: Negative errno with which its jobs end; the first call decides.
 *
 * Does not wait: vsvm_engine_reap_vm() does. After this no queue of the VM
 * becomes ready, no fault is raised, no job accepted.
 */
void vsvm_engine_kill_vm(struct vsvm_vm *vm, int err)
{
	struct vsvm_device *dev = vm->dev;
	unsigned int i;

	spin_lock(&dev->lock);
	if (!vm->dead)
		WRITE_ONCE(vm->dead, err);
	for (i = 0; i < VSVM_QUEUES; i++) {
		struct vsvm_queue *queue = &vm->queues[i];

		if (queue->state == VSVM_QUEUE_READY) {
			list_del_init(&queue->link);
			queue->state = VSVM_QUEUE_IDLE;
		}
	}
	spin_unlock(&dev->lock);

	vsvm_vm_wake(vm);
}

/**
 * vsvm_engine_reap_vm() - End all jobs of a dead VM
 * @vm: The VM.
 *
 * Waits for the engines, which leave it within one bounded step. When this
 * returns, no engine touches the VM or its memory. May be called again, and by
 * several at once, of which one ends the jobs.
 */
void vsvm_engine_reap_vm(struct vsvm_vm *vm)
{
	struct vsvm_device *dev = vm->dev;
	struct vsvm_job *job, *next;
	LIST_HEAD(jobs);
	unsigned int i;

	wait_event(vm->wait, !READ_ONCE(vm->running));

	/*
	 * The engine that was last is still in its wake-up, under the lock;
	 * having the lock means that it is out of it.
	 */
	spin_lock(&dev->lock);
	for (i = 0; i < VSVM_QUEUES; i++) {
		struct vsvm_queue *queue = &vm->queues[i];

		list_for_each_entry(job, &queue->jobs, link)
			list_del_init(&job->waiter.link);
		list_splice_tail_init(&queue->jobs, &jobs);
		queue->state = VSVM_QUEUE_IDLE;
	}
	WRITE_ONCE(vm->unfinished, 0);
	spin_unlock(&dev->lock);

	list_for_each_entry_safe(job, next, &jobs, link) {
		list_del(&job->link);
		if (!job->fencing) {
			atomic64_inc(&vm->stats.jobs);
			atomic64_inc(&dev->jobs);
		}
		vsvm_job_record(job, vm->dead, NULL);
		trace_vsvm_job_end(job, job->error);
		vsvm_job_signal(job);
		/* Not before: the fences are others', and take their time. */
		vsvm_deps_cancel(&job->deps);
		vsvm_job_free(job);
	}

	vsvm_fault_drop_pending(vm);
	vsvm_vm_wake(vm);
}

/**
 * vsvm_engines_start() - Start the engines
 * @dev: The device.
 * @count: Their number, 1 to %VSVM_MAX_ENGINES.
 *
 * Return: 0, or a negative errno; vsvm_engines_stop() is called in either case.
 */
int vsvm_engines_start(struct vsvm_device *dev, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct vsvm_engine *engine = &dev->engines[i];
		struct task_struct *thread;

		engine->dev = dev;
		engine->index = i;
		engine->bounce[0] = kmalloc(VSVM_ACCESS_MAX, GFP_KERNEL);
		engine->bounce[1] = kmalloc(VSVM_ACCESS_MAX, GFP_KERNEL);
		dev->num_engines = i + 1;
		if (!engine->bounce[0] || !engine->bounce[1])
			return -ENOMEM;

		thread = kthread_run(vsvm_engine_thread, engine, "vsvm-engine/%u.%u",
				     dev->index, i);
		if (IS_ERR(thread))
			return PTR_ERR(thread);
		engine->thread = thread;
	}
	return 0;
}

/**
 * vsvm_engines_stop() - Stop the engines
 * @dev: The device; all its VMs are torn down.
 */
void vsvm_engines_stop(struct vsvm_device *dev)
{
	unsigned int i;

	for (i = 0; i < dev->num_engines; i++) {
		struct vsvm_engine *engine = &dev->engines[i];

		if (engine->thread)
			kthread_stop(engine->thread);
		engine->thread = NULL;
		kfree(engine->bounce[0]);
		kfree(engine->bounce[1]);
		engine->bounce[0] = NULL;
		engine->bounce[1] = NULL;
	}
}
