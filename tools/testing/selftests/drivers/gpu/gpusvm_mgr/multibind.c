// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Binds of several VMs in one call: of two and four devices, and of one. What is bound
 * is seen by all of them, what is refused by none; fences in and out; who locks in
 * another order; who goes meanwhile; input that is wrong.
 */
#include "gpusvm_bound.h"

#define SIZE	(256 * KIB)
#define MOST	(1 + DRM_VSVM_MAX_BIND_VMS)

/* The binds of a call: of each device's VM, in any order. */
struct call {
	struct drm_vsvm_bind_op ops[MOST][4];
	struct vsvm_bind bind[MOST];
	struct vsvm_bind_vm vms[MOST];
	uint32_t num;
};

static struct vsvm_bind *call_add(struct call *call, const struct vsvm_vm *vm)
{
	uint32_t i = call->num++;

	call->bind[i] = (struct vsvm_bind) { .ops = call->ops[i], .max = 4 };
	call->vms[i] = (struct vsvm_bind_vm) { .vm = vm, .bind = &call->bind[i] };
	return &call->bind[i];
}

/* An object of device @owner, on each device: its handle there. */
static int object_everywhere(struct bound *gpu, unsigned int n, unsigned int owner,
			     uint32_t placement, uint32_t *handle)
{
	int fd, ret;

	ret = vsvm_gem_create(&gpu[owner].dev, SIZE, placement, &handle[owner]);
	if (!ret)
		ret = vsvm_gem_export(&gpu[owner].dev, handle[owner], &fd);
	if (ret)
		return ret;
	for (unsigned int i = 0; i < n && !ret; i++)
		if (i != owner)
			ret = vsvm_gem_import(&gpu[i].dev, fd, &handle[i]);
	close(fd);
	return ret;
}

static void handles_close(struct bound *gpu, unsigned int n, const uint32_t *handle)
{
	for (unsigned int i = 0; i < n; i++)
		vsvm_gem_close(&gpu[i].dev, handle[i]);
}

/* All devices have a word of the same value at @va. */
static int all_read(struct bound *gpu, unsigned int n, uint64_t va, uint64_t expected)
{
	uint64_t value;
	int ret = 0;

	for (unsigned int i = 0; i < n && !ret; i++) {
		ret = bound_read(&gpu[i], va, &value);
		if (!ret && value != expected)
			ret = -EILSEQ;
	}
	return ret;
}

/*
 * A new object for all of them in one call, whichever of them makes it and in whichever
 * order. The object goes to the device's memory, and may have to come back for another
 * device of the same call.
 */
BOUND_TEST(all_see)
{
	for (unsigned int first = 0; first < self->n; first++) {
		uint32_t handle[4];
		uint64_t binds[4], value;
		struct call map = {}, unmap = {};

		ASSERT_EQ(0, object_everywhere(self->gpu, self->n, 0, self->placement, handle));
		for (unsigned int i = 0; i < self->n; i++) {
			unsigned int d = (first + i) % self->n;
			struct vsvm_bind *bind = call_add(&map, &self->gpu[d].vm);

			binds[d] = bound_stat(&self->gpu[d], binds);
			vsvm_bind_map(bind, VA, SIZE, handle[d], 0);
			vsvm_bind_map(bind, VA2, SIZE / 2, handle[d], SIZE / 2);
			vsvm_bind_unmap(call_add(&unmap, &self->gpu[d].vm), VA, SIZE / 2);
		}
		ASSERT_EQ(0, vsvm_vms_bind_wait(map.vms, map.num));
		for (unsigned int i = 0; i < self->n; i++)
			ASSERT_EQ(binds[i] + 2, bound_stat(&self->gpu[i], binds));
		ASSERT_EQ(0, all_read(self->gpu, self->n, VA + SIZE - 8, 0));
		for_each_bound(gpu, self)
			ASSERT_EQ(0, bound_add(gpu, VA, SIZE, 1));
		ASSERT_EQ(0, all_read(self->gpu, self->n, VA, self->n));
		ASSERT_EQ(0, all_read(self->gpu, self->n, VA2 + SIZE / 2 - 8, self->n));

		/* And half of it away again. */
		ASSERT_EQ(0, vsvm_vms_bind_wait(unmap.vms, unmap.num));
		for_each_bound(gpu, self)
			ASSERT_BOUND_ERROR(bound_read(gpu, VA, &value), gpu, EFAULT, VA);
		ASSERT_EQ(0, all_read(self->gpu, self->n, VA + SIZE / 2, self->n));
		handles_close(self->gpu, self->n, handle);
	}
}

/* As a program does it. */
BOUND_TEST(example)
{
	struct bound *gpu = self->gpu;
	unsigned int n = self->n;
	uint32_t handle[4];

	ASSERT_EQ(0, object_everywhere(gpu, n, 0, self->placement, handle));
	/* manual: vms */
	struct drm_vsvm_bind_op ops[4];
	struct vsvm_bind bind[4];
	struct vsvm_bind_vm vms[4];

	for (unsigned int i = 0; i < n; i++) {
		bind[i] = (struct vsvm_bind) { .ops = &ops[i], .max = 1 };
		vsvm_bind_map(&bind[i], VA, SIZE, handle[i], 0);
		vms[i] = (struct vsvm_bind_vm) { .vm = &gpu[i].vm, .bind = &bind[i] };
	}
	ASSERT_EQ(0, vsvm_vms_bind_wait(vms, n));
	/* manual: end */
	ASSERT_EQ(0, bound_fill(&gpu[n - 1], VA, SIZE, 9));
	ASSERT_EQ(0, all_read(gpu, n, VA + SIZE - 8, 9));
	handles_close(gpu, n, handle);
}

/* VMs of one file; and as many as a call may have. */
BOUND_TEST(most)
{
	struct bound vm[MOST];
	uint32_t handle[4];
	struct call call = {};
	uint64_t value;

	ASSERT_EQ(0, object_everywhere(self->gpu, self->n, self->n - 1, self->placement, handle));
	for (unsigned int i = 0; i < MOST; i++) {
		unsigned int d = i % self->n;
		struct vsvm_bind *bind;

		vm[i] = self->gpu[d];
		ASSERT_EQ(0, vsvm_vm_create(&vm[i].dev, variant->flags, &vm[i].vm));
		bind = call_add(&call, &vm[i].vm);
		vsvm_bind_map(bind, VA, SIZE, handle[d], 0);
		vsvm_bind_map(bind, VA_OUT, self->page, vm[i].out_handle, 0);
	}
	ASSERT_EQ(0, vsvm_vms_bind_wait(call.vms, call.num));
	for (unsigned int i = 0; i < MOST; i++) {
		ASSERT_EQ(0, bound_read(&vm[i], VA, &value));
		ASSERT_EQ(i, value);
		ASSERT_EQ(0, bound_add(&vm[i], VA, SIZE, 1));
	}
	/* The VM that the call is made on, in the words of the ABI. */
	{
		struct drm_vsvm_bind_op ops[2] = {
			{ .type = DRM_VSVM_BIND_UNMAP, .addr = VA, .range = SIZE },
			{ .type = DRM_VSVM_BIND_UNMAP, .addr = VA, .range = SIZE / 2 },
		};
		struct drm_vsvm_bind_vm other = {
			.device = DRM_VSVM_THIS_DEVICE, .vm_id = vm[self->n].vm.id,
			.num_ops = 1, .ops = (uintptr_t)&ops[1],
		};
		struct drm_vsvm_vm_bind args = {
			.vm_id = vm[0].vm.id, .num_ops = 1, .ops = (uintptr_t)&ops[0],
			.num_vms = 1, .vms = (uintptr_t)&other,
		};
		struct bound *second = &vm[self->n];

		ASSERT_EQ(0, drmIoctl(vm[0].dev.fd, DRM_IOCTL_VSVM_VM_BIND, &args));
		/* Each in the order of its VM. */
		ASSERT_EQ(0, unbind_now(&vm[0], VA2, SIZE));
		ASSERT_EQ(0, unbind_now(second, VA2, SIZE));
		ASSERT_BOUND_ERROR(bound_read(&vm[0], VA + SIZE - 8, &value), &vm[0], EFAULT,
				   VA + SIZE - 8);
		ASSERT_BOUND_ERROR(bound_read(second, VA, &value), second, EFAULT, VA);
		ASSERT_EQ(0, bound_read(second, VA + SIZE - 8, &value));
		ASSERT_EQ(MOST, value);
	}
	for (unsigned int i = 0; i < MOST; i++)
		ASSERT_EQ(0, vsvm_vm_destroy(&vm[i].vm));
	handles_close(self->gpu, self->n, handle);
}

/* ------------------------------------------------------------------------- fences */

/* A syncobj of the first device, as another one has it. */
static int syncobj_share(struct bound *gpu, uint32_t handle, struct bound *to, uint32_t *theirs)
{
	int fd, ret;

	if (drmSyncobjHandleToFD(gpu->dev.fd, handle, &fd))
		return -errno;
	ret = drmSyncobjFDToHandle(to->dev.fd, fd, theirs) ? -errno : 0;
	close(fd);
	return ret;
}

/*
 * The call waits for one fence, and its own stands for all: that of a job comes after it
 * on each device.
 */
BOUND_TEST(waits)
{
	uint32_t old[4], new[4], out = syncobj_new(&self->gpu[0]), theirs, done[4];
	struct drm_vsvm_sync syncs[2];
	struct call call = {};
	struct blocker b;
	VSVM_JOB(job, 1);

	ASSERT_EQ(0, object_everywhere(self->gpu, self->n, 0, self->placement, old));
	ASSERT_EQ(0, object_everywhere(self->gpu, self->n, 0, self->placement, new));
	for (unsigned int i = 0; i < self->n; i++) {
		ASSERT_EQ(0, bind_now(&self->gpu[i], VA, SIZE, old[i], 0));
		vsvm_bind_map(call_add(&call, &self->gpu[i].vm), VA, SIZE, new[i], 0);
	}
	ASSERT_EQ(0, bound_fill(&self->gpu[0], VA, SIZE, 7));
	ASSERT_EQ(0, block(&self->gpu[0], self->n - 1, &b));

	syncs[0] = vsvm_sync_in(b.syncobj, 0);
	syncs[1] = vsvm_sync_out(out, 0);
	ASSERT_EQ(0, vsvm_vms_bind(call.vms, call.num, syncs, 2));
	vsvm_job_copy(&job, (void *)VA_OUT, (void *)VA, 8);
	for (unsigned int i = 0; i < self->n; i++) {
		struct bound *gpu = &self->gpu[i];

		gpu->out[0] = 1234;
		done[i] = syncobj_new(gpu);
		theirs = out;
		if (i)
			ASSERT_EQ(0, syncobj_share(&self->gpu[0], out, gpu, &theirs));
		syncs[0] = vsvm_sync_in(theirs, 0);
		syncs[1] = vsvm_sync_out(done[i], 0);
		ASSERT_EQ(0, vsvm_exec_sync(&gpu->vm, 0, &job, syncs, 2, NULL));
	}
	/* Another queue does not wait, and finds what was there before. */
	for (unsigned int i = 0; i < self->n; i++) {
		struct bound *gpu = &self->gpu[i];
		VSVM_JOB(look, 1);

		ASSERT_EQ(0, vsvm_syncobj_status(gpu->dev.fd, done[i]));
		vsvm_job_copy(&look, (void *)(VA_OUT + 8), (void *)(VA + 8), 8);
		ASSERT_EQ(0, vsvm_run_sync(&gpu->vm, 1, &look));
		ASSERT_EQ(7, gpu->out[1]);
		ASSERT_EQ(1234, gpu->out[0]);
	}
	ASSERT_EQ(0, vsvm_syncobj_status(self->gpu[0].dev.fd, out));
	ASSERT_EQ(0, unblock(&b));
	for (unsigned int i = 0; i < self->n; i++) {
		ASSERT_EQ(0, syncobj_wait(&self->gpu[i], done[i], 0));
		ASSERT_EQ(0, self->gpu[i].out[0]);
	}
	ASSERT_EQ(1, vsvm_syncobj_status(self->gpu[0].dev.fd, out));
	handles_close(self->gpu, self->n, old);
	handles_close(self->gpu, self->n, new);
}

/* One of the VMs has a queue that waits: the others do not, the fence of the call does. */
BOUND_TEST(one_is_late)
{
	struct bound *late = &self->gpu[self->n - 1], *first = &self->gpu[0];
	uint32_t line = syncobj_new(first), handle[4];
	struct drm_vsvm_sync sync;
	struct call call = {};
	struct blocker b;
	uint64_t value, point = 1;
	VSVM_BIND(bind, 1);

	if (self->n < 2)
		SKIP(return, "needs two devices");
	ASSERT_EQ(0, object_everywhere(self->gpu, self->n, 0, self->placement, handle));
	ASSERT_EQ(0, block(late, self->n - 1, &b));
	sync = vsvm_sync_in(b.syncobj, 0);
	vsvm_bind_unmap(&bind, VA2, SIZE);
	ASSERT_EQ(0, vsvm_vm_bind(&late->vm, &bind, &sync, 1));

	for (unsigned int i = 0; i < self->n; i++)
		vsvm_bind_map(call_add(&call, &self->gpu[i].vm), VA, SIZE, handle[i], 0);
	sync = vsvm_sync_out(line, point);
	ASSERT_EQ(0, vsvm_vms_bind(call.vms, call.num, &sync, 1));
	for (unsigned int i = 0; i + 1 < self->n; i++) {
		/* What comes next in that queue has been performed. */
		ASSERT_EQ(0, unbind_now(&self->gpu[i], VA2, SIZE));
		ASSERT_EQ(0, bound_fill(&self->gpu[i], VA, SIZE, 5));
	}
	ASSERT_NE(0, drmSyncobjTimelineWait(first->dev.fd, &line, &point, 1, 0, 0, NULL));
	ASSERT_EQ(ETIME, errno);
	ASSERT_BOUND_ERROR(bound_read(late, VA, &value), late, EFAULT, VA);
	ASSERT_EQ(0, unblock(&b));
	ASSERT_EQ(0, syncobj_wait(first, line, point));
	ASSERT_EQ(0, all_read(self->gpu, self->n, VA, 5));
	handles_close(self->gpu, self->n, handle);
}

/*
 * Where reservation objects are shared the fences of all devices are in the one, from
 * one call; else each has its own only. (From calls of their own: bind.c.)
 */
BOUND_TEST(fences)
{
	const bool shared = variant->flags & DRM_VSVM_VM_SHARED_RESV;
	struct bound *first = &self->gpu[0];
	struct drm_vsvm_sync sync;
	struct call call = {};
	char fences[4096], name[32];
	unsigned int resv;
	struct blocker b;

	ASSERT_EQ(0, block(first, 0, &b));
	for_each_bound(gpu, self) {
		uint32_t own;

		/* One for the VM, whose fences are the VM's. */
		ASSERT_EQ(0, vsvm_gem_create_private(&gpu->vm, SIZE, self->placement, &own));
		vsvm_bind_map(call_add(&call, &gpu->vm), VA, SIZE, own, 0);
	}
	sync = vsvm_sync_in(b.syncobj, 0);
	ASSERT_EQ(0, vsvm_vms_bind(call.vms, call.num, &sync, 1));
	for (unsigned int i = 0; i < self->n; i++) {
		ASSERT_EQ(0, bound_resv(&self->gpu[i], &resv, fences, sizeof(fences)));
		for (unsigned int d = 0; d < self->n; d++) {
			snprintf(name, sizeof(name), "vsvm.%u-bind", d);
			ASSERT_EQ(shared || d == i, !!strstr(fences, name))
				TH_LOG("VM %u: %s", i, fences);
		}
	}
	ASSERT_EQ(0, unblock(&b));
	for_each_bound(gpu, self) {
		ASSERT_EQ(0, unbind_now(gpu, VA2, SIZE));
		ASSERT_EQ(0, bound_fill(gpu, VA, SIZE, 3));
	}
}

/* ------------------------------------------------------------ all of it or nothing */

/* What a refused call must leave: the same bindings, data and counters everywhere. */
static int unchanged(struct bound *gpu, unsigned int n, const uint64_t *binds, uint64_t value)
{
	for (unsigned int i = 0; i < n; i++)
		if (bound_stat(&gpu[i], binds) != binds[i])
			return -ESTALE;
	return all_read(gpu, n, VA, value) ?: all_read(gpu, n, VA + SIZE - 8, value);
}

/* All devices have an object at VA that was written once; @other is not bound. */
static int with_objects(struct bound *gpu, unsigned int n, uint32_t placement, uint64_t value,
			uint32_t *handle, uint32_t *other, uint64_t *binds)
{
	int ret = object_everywhere(gpu, n, 0, placement, handle);

	if (!ret)
		ret = object_everywhere(gpu, n, n - 1, placement, other);
	for (unsigned int i = 0; i < n && !ret; i++) {
		ret = bind_now(&gpu[i], VA, SIZE, handle[i], 0);
		binds[i] = bound_stat(&gpu[i], binds);
	}
	return ret ? ret : bound_fill(&gpu[0], VA, SIZE, value);
}

/* Each VM in turn has an operation that is wrong, the others' would do something. */
BOUND_TEST(all_or_nothing)
{
	uint32_t handle[4], other[4], syncobj = syncobj_new(&self->gpu[0]);
	struct drm_vsvm_sync sync = vsvm_sync_out(syncobj, 0);
	uint64_t binds[4];
	struct call call;

	ASSERT_EQ(0, with_objects(self->gpu, self->n, self->placement, 11, handle, other, binds));
	for (unsigned int wrong = 0; wrong <= self->n; wrong++) {
		memset(&call, 0, sizeof(call));
		for (unsigned int i = 0; i < self->n; i++) {
			struct vsvm_bind *bind = call_add(&call, &self->gpu[i].vm);

			vsvm_bind_unmap(bind, VA, SIZE / 2);
			vsvm_bind_map(bind, VA + SIZE / 2, SIZE / 2, other[i], 0);
			if (i == wrong)
				vsvm_bind_map(bind, VA2, SIZE, i % 2 ? 1000 : other[i],
					      i % 2 ? 0 : self->page);
		}
		if (wrong < self->n) {
			ASSERT_EQ(wrong % 2 ? -ENOENT : -EINVAL,
				  vsvm_vms_bind(call.vms, call.num, &sync, 1));
			ASSERT_EQ(-EINVAL, vsvm_syncobj_status(self->gpu[0].dev.fd, syncobj));
			ASSERT_EQ(0, unchanged(self->gpu, self->n, binds, 11));
			continue;
		}
		/* It is not for another reason that it was refused. */
		ASSERT_EQ(0, vsvm_vms_bind(call.vms, call.num, &sync, 1));
		ASSERT_EQ(0, syncobj_wait(&self->gpu[0], syncobj, 0));
		ASSERT_EQ(0, all_read(self->gpu, self->n, VA + SIZE / 2, 0));
		ASSERT_EQ(-ESTALE, unchanged(self->gpu, self->n, binds, 11));
	}
	handles_close(self->gpu, self->n, handle);
	handles_close(self->gpu, self->n, other);
}

/* Each allocation of such a call fails in turn. */
BOUND_TEST(no_memory)
{
	uint32_t handle[4], other[4], syncobj = syncobj_new(&self->gpu[0]);
	struct drm_vsvm_sync sync = vsvm_sync_out(syncobj, 1);
	struct call call = {}, back = {};
	unsigned int nth, failed;
	uint64_t binds[4];
	bool reached;
	int fd, ret;

	if (self->n != 2)
		SKIP(return, "two devices are enough, and needed");
	fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0 || fail_nth_begin()) {
		close(fd);
		SKIP(return, "no fault injection");
	}

	ASSERT_EQ(0, with_objects(self->gpu, self->n, self->placement, 11, handle, other, binds));
	for (unsigned int i = 0; i < self->n; i++) {
		struct vsvm_bind *bind = call_add(&call, &self->gpu[i].vm);

		vsvm_bind_unmap(bind, VA + SIZE / 2, self->page);
		vsvm_bind_map(bind, VA2, SIZE, other[i], 0);
		vsvm_bind_map(bind, VA, self->page, other[i], 0);
		bind = call_add(&back, &self->gpu[i].vm);
		vsvm_bind_map(bind, VA, SIZE, handle[i], 0);
		vsvm_bind_unmap(bind, VA2, SIZE);
	}
	for (nth = 1, failed = 0, reached = true; reached; nth++) {
		ASSERT_GT(4000, nth);
		sync.point = nth;
		ret = FAIL_NTH(fd, nth, reached, vsvm_vms_bind(call.vms, call.num, &sync, 1));
		if (ret) {
			failed++;
			ASSERT_EQ(-ENOMEM, ret);
			ASSERT_EQ(0, unchanged(self->gpu, self->n, binds, 11));
			continue;
		}
		/* The last one, or one that can be done without. */
		ASSERT_EQ(0, syncobj_wait(&self->gpu[0], syncobj, nth));
		ASSERT_EQ(0, all_read(self->gpu, self->n, VA, 0));
		ASSERT_EQ(0, all_read(self->gpu, self->n, VA2 + SIZE - 8, 0));
		ASSERT_EQ(0, vsvm_vms_bind_wait(back.vms, back.num));
		for (unsigned int i = 0; i < self->n; i++) {
			ASSERT_EQ(binds[i] + 5, bound_stat(&self->gpu[i], binds));
			binds[i] += 5;
		}
	}
	TH_LOG("VM_BIND: %u failed of %u", failed, nth);
	/* More than for one VM. */
	ASSERT_LT(20, failed);
	close(fd);
	fail_nth_end();
}

/* ------------------------------------------------------------------ at the same time */

/*
 * Who binds two objects on VMs of its own, in one of two orders of objects and VMs, and
 * then lets each of them count in both. Nothing but the objects is shared with others,
 * or the reservation object.
 */
struct binder {
	pthread_t thread;
	struct bound vm[4];
	unsigned int n;
	bool backwards;
	uint32_t handle[2][4];
	unsigned int rounds;
	int ret;
};

enum { ROUNDS = 12, MOST_ROUNDS = 1500 };

static uint64_t binder_retries(struct binder *b)
{
	uint64_t retries = 0;

	for (unsigned int i = 0; i < b->n; i++)
		retries += bound_stat(&b->vm[i], bind_retries);
	return retries;
}

static int binder_round(struct binder *b)
{
	struct call call = {};
	int ret;

	for (unsigned int i = 0; i < b->n; i++) {
		unsigned int d = b->backwards ? b->n - 1 - i : i;
		struct vsvm_bind *bind = call_add(&call, &b->vm[d].vm);

		for (unsigned int k = 0; k < 2; k++) {
			unsigned int o = b->backwards ? 1 - k : k;

			vsvm_bind_map(bind, o ? VA2 : VA, SIZE, b->handle[o][d], 0);
		}
	}
	ret = vsvm_vms_bind_wait(call.vms, call.num);
	for (unsigned int i = 0; i < b->n && !ret; i++) {
		VSVM_JOB(job, 2);

		vsvm_job_atomic_add(&job, (uint64_t *)VA, 1, 1);
		vsvm_job_atomic_add(&job, (uint64_t *)VA2, 1, 1);
		ret = vsvm_run_sync(&b->vm[i].vm, 0, &job);
	}
	return ret;
}

/* To the end, and then for as long as nobody ever met anybody. */
static void *binder_thread(void *arg)
{
	struct binder *b = arg;

	while (!b->ret && (b->rounds < ROUNDS || (b->rounds < MOST_ROUNDS &&
						  !binder_retries(b)))) {
		b->ret = binder_round(b);
		b->rounds++;
	}
	return NULL;
}

/* A device that has both objects, and is at work on them all the time. */
struct runner {
	pthread_t thread;
	struct bound *gpu;
	unsigned int rounds;
	bool stop;
	int ret;
};

static void *runner_thread(void *arg)
{
	struct runner *r = arg;
	VSVM_JOB(job, 2);

	vsvm_job_atomic_add(&job, (uint64_t *)VA, 1, 1);
	vsvm_job_atomic_add(&job, (uint64_t *)VA2, 1, 1);
	while (!r->ret && !__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		r->ret = vsvm_run_sync(&r->gpu->vm, 0, &job);
		r->rounds++;
	}
	return NULL;
}

BOUND_TEST(opposite)
{
	struct binder binder[2] = {};
	struct runner runner[4] = {};
	uint64_t sum = 0, retries = 0;
	uint32_t handle[2][4];

	/* One of each end. */
	ASSERT_EQ(0, object_everywhere(self->gpu, self->n, 0, self->placement, handle[0]));
	ASSERT_EQ(0, object_everywhere(self->gpu, self->n, self->n - 1, SYSTEM, handle[1]));
	for (unsigned int t = 0; t < 2; t++) {
		binder[t].n = self->n;
		binder[t].backwards = t;
		memcpy(binder[t].handle, handle, sizeof(handle));
		for (unsigned int i = 0; i < self->n; i++) {
			binder[t].vm[i] = self->gpu[i];
			ASSERT_EQ(0, vsvm_vm_create(&self->gpu[i].dev, variant->flags,
						    &binder[t].vm[i].vm));
		}
	}
	for (unsigned int i = 0; i < self->n; i++) {
		ASSERT_EQ(0, bind_now(&self->gpu[i], VA, SIZE, handle[0][i], 0));
		ASSERT_EQ(0, bind_now(&self->gpu[i], VA2, SIZE, handle[1][i], 0));
		runner[i].gpu = &self->gpu[i];
		ASSERT_EQ(0, pthread_create(&runner[i].thread, NULL, runner_thread, &runner[i]));
	}
	for (unsigned int t = 0; t < 2; t++)
		ASSERT_EQ(0, pthread_create(&binder[t].thread, NULL, binder_thread, &binder[t]));
	for (unsigned int t = 0; t < 2; t++) {
		ASSERT_EQ(0, pthread_join(binder[t].thread, NULL));
		EXPECT_EQ(0, binder[t].ret);
		sum += (uint64_t)binder[t].rounds * self->n;
		retries += binder_retries(&binder[t]);
		TH_LOG("binder %u: %u rounds, %" PRIu64 " retries", t, binder[t].rounds,
		       binder_retries(&binder[t]));
	}
	for (unsigned int i = 0; i < self->n; i++) {
		__atomic_store_n(&runner[i].stop, true, __ATOMIC_RELAXED);
		ASSERT_EQ(0, pthread_join(runner[i].thread, NULL));
		EXPECT_EQ(0, runner[i].ret);
		sum += runner[i].rounds;
	}
	/* A kernel with lockdep lets every so many fail that might have to. */
	if (!access("/proc/lockdep_stats", F_OK))
		EXPECT_LT(0, retries);
	ASSERT_EQ(0, all_read(self->gpu, self->n, VA, sum));
	ASSERT_EQ(0, all_read(self->gpu, self->n, VA2, sum));
	for (unsigned int t = 0; t < 2; t++)
		for (unsigned int i = 0; i < self->n; i++)
			ASSERT_EQ(0, vsvm_vm_destroy(&binder[t].vm[i].vm));
}

/* ------------------------------------------------------------------- who goes meanwhile */

struct caller {
	pthread_t thread;
	struct call call;
	uint64_t accepted;
	unsigned int tries;
	int ret;
};

static void *caller_thread(void *arg)
{
	struct caller *c = arg;

	do {
		c->ret = vsvm_vms_bind(c->call.vms, c->call.num, NULL, 0);
		c->accepted += !c->ret;
		__atomic_add_fetch(&c->tries, 1, __ATOMIC_RELEASE);
	} while (!c->ret);
	return NULL;
}

/* What was said to be done on both was done on the one that stays, and nothing else. */
BOUND_TEST(destroyed)
{
	struct bound *last = &self->gpu[self->n - 1];

	for (unsigned int i = 0; i < 8; i++) {
		struct caller caller = {};
		struct vsvm_vm stays, goes;
		struct bound look = self->gpu[0];

		ASSERT_EQ(0, vsvm_vm_create(&self->gpu[0].dev, variant->flags, &stays));
		ASSERT_EQ(0, vsvm_vm_create(&last->dev, variant->flags, &goes));
		look.vm = stays;
		/* It is the one that the call is made on, or the other one. */
		for (unsigned int k = 0; k < 2; k++) {
			struct vsvm_bind *bind = call_add(&caller.call,
							  (i + k) % 2 ? &stays : &goes);

			vsvm_bind_map(bind, VA, self->page, (i + k) % 2 ?
				      self->gpu[0].out_handle : last->out_handle, 0);
			vsvm_bind_unmap(bind, VA, self->page);
		}
		ASSERT_EQ(0, pthread_create(&caller.thread, NULL, caller_thread, &caller));
		while (__atomic_load_n(&caller.tries, __ATOMIC_ACQUIRE) < i)
			sched_yield();
		ASSERT_EQ(0, vsvm_vm_destroy(&goes));
		ASSERT_EQ(0, pthread_join(caller.thread, NULL));
		ASSERT_TRUE(caller.ret == -ECANCELED || caller.ret == -ENOENT)
			TH_LOG("%d", caller.ret);
		ASSERT_EQ(2 * caller.accepted, bound_stat(&look, binds));
		ASSERT_EQ(0, vsvm_vm_destroy(&stays));
	}
}

/* One of the devices is gone. */
BOUND_TEST(unplugged)
{
	unsigned int last = self->n - 1;
	uint32_t handle[4], other[4];
	uint64_t binds[4];
	struct call call = {};

	if (self->n < 2)
		SKIP(return, "needs two devices");
	ASSERT_EQ(0, with_objects(self->gpu, self->n, self->placement, 11, handle, other, binds));
	for (unsigned int i = 0; i < self->n; i++)
		vsvm_bind_map(call_add(&call, &self->gpu[i].vm), VA, SIZE, other[i], 0);
	ASSERT_EQ(0, vsvm_unplug(last));
	ASSERT_EQ(-ENODEV, vsvm_vms_bind(call.vms, call.num, NULL, 0));
	ASSERT_EQ(0, unchanged(self->gpu, last, binds, 11));
	/* What is left goes on. */
	ASSERT_EQ(0, vsvm_vms_bind_wait(call.vms, last));
	ASSERT_EQ(0, all_read(self->gpu, last, VA, 0));

	munmap((void *)self->gpu[last].out, self->page);
	self->gpu[last].out = NULL;
	vsvm_close(&self->gpu[last].dev);
	ASSERT_EQ(0, vsvm_plug(last));
	ASSERT_EQ(0, bound_open(&self->gpu[last], last, variant->flags));
}

/* ------------------------------------------------------------------------- bad input */

/* In another process, with the files of this one: what it is told. */
static int from_child(void *arg)
{
	struct call *call = arg;

	CHECK(vsvm_vms_bind(call->vms, call->num, NULL, 0) == -EPERM);
	return 0;
}

/* Leaves a VM behind, of a process that is gone. */
static int vm_of_child(void *arg)
{
	struct bound *gpu = arg;
	struct vsvm_vm vm;

	return vsvm_vm_create(&gpu->dev, 0, &vm) ? 0 : (int)vm.id;
}

BOUND_TEST(bad_vms)
{
	struct bound *gpu = &self->gpu[0], *last = &self->gpu[self->n - 1];
	uint32_t handle[4], other[4], syncobj = syncobj_new(gpu);
	struct drm_vsvm_bind_op op[3], user;
	struct drm_vsvm_bind_vm vms[MOST];
	struct drm_vsvm_vm_bind args;
	struct drm_vsvm_sync sync;
	struct vsvm_vm mirror, upstream, pointer, second;
	int null, closed, orphan;
	uint64_t binds[4];
	struct call call = {};

	ASSERT_EQ(0, with_objects(self->gpu, self->n, self->placement, 11, handle, other, binds));
	ASSERT_EQ(0, vsvm_vm_create(&last->dev, DRM_VSVM_VM_MIRROR, &mirror));
	ASSERT_EQ(0, vsvm_vm_create(&last->dev, DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_UPSTREAM,
				    &upstream));
	ASSERT_EQ(0, vsvm_vm_create(&last->dev, 0, &second));
	/* A VM with a user pointer at VA. */
	ASSERT_EQ(0, vsvm_vm_create(&last->dev, 0, &pointer));
	user = (struct drm_vsvm_bind_op) {
		.type = DRM_VSVM_BIND_USERPTR, .addr = VA, .range = self->page,
		.offset = (uintptr_t)self->gpu[0].out & ~(self->page - 1),
	};
	args = (struct drm_vsvm_vm_bind) {
		.vm_id = pointer.id, .num_ops = 1, .ops = (uintptr_t)&user,
	};
	ASSERT_EQ(0, drmIoctl(last->dev.fd, DRM_IOCTL_VSVM_VM_BIND, &args));
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	closed = dup(null);
	close(closed);
	orphan = run_child(vm_of_child, last);
	ASSERT_LT(0, orphan);

	/* Two that would do something; the second VM is that of the last device. */
#define BAD(error__, ...)							\
	do {									\
		for (unsigned int i__ = 0; i__ < 2; i__++)			\
			op[i__] = (struct drm_vsvm_bind_op) {			\
				.type = DRM_VSVM_BIND_MAP, .addr = VA,		\
				.range = SIZE, .handle = i__ ? other[self->n - 1] : other[0], \
			};							\
		op[2] = op[1];							\
		sync = vsvm_sync_out(syncobj, 0);				\
		vms[0] = (struct drm_vsvm_bind_vm) {				\
			.device = last->dev.fd, .vm_id = second.id, .num_ops = 1, \
			.ops = (uintptr_t)&op[1],				\
		};								\
		vms[1] = vms[0];						\
		args = (struct drm_vsvm_vm_bind) {				\
			.vm_id = gpu->vm.id, .num_ops = 1, .ops = (uintptr_t)&op[0], \
			.num_syncs = 1, .syncs = (uintptr_t)&sync,		\
			.num_vms = 1, .vms = (uintptr_t)vms,			\
		};								\
		__VA_ARGS__;							\
		ASSERT_EQ(-1, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_VM_BIND, &args)); \
		ASSERT_EQ(error__, errno);					\
		ASSERT_EQ(-EINVAL, vsvm_syncobj_status(gpu->dev.fd, syncobj));	\
	} while (0)

	BAD(EINVAL, args.flags = 1);
	BAD(EINVAL, args.pad = 1);
	BAD(EINVAL, args.pad = 1u << 31);
	BAD(EINVAL, args.num_vms = 0);
	BAD(EINVAL, args.num_vms = MOST);
	BAD(EINVAL, args.num_vms = ~0u);
	BAD(EFAULT, args.vms = 0);
	BAD(EFAULT, args.vms = 8);
	BAD(EFAULT, args.vms = 1ULL << 63);
	BAD(EFAULT, args.vms = ~7ULL);
	BAD(EINVAL, args.num_ops = 0);
	BAD(EINVAL, args.num_ops = DRM_VSVM_MAX_BIND_OPS + 1);
	BAD(EFAULT, args.ops = 8);
	BAD(ENOENT, args.vm_id = 1000);
	BAD(EINVAL, sync.flags = 0);

	BAD(EINVAL, vms[0].pad = 1);
	BAD(EINVAL, vms[0].num_ops = 0);
	BAD(EINVAL, vms[0].num_ops = DRM_VSVM_MAX_BIND_OPS + 1);
	BAD(EINVAL, vms[0].num_ops = ~0u);
	BAD(EFAULT, vms[0].ops = 0);
	BAD(EFAULT, vms[0].ops = 1ULL << 63);
	BAD(ENOENT, vms[0].vm_id = 0);
	BAD(ENOENT, vms[0].vm_id = 1000);
	/* Ids are of a file. */
	BAD(ENOENT, vms[0].device = DRM_VSVM_THIS_DEVICE; vms[0].vm_id = 1000);
	BAD(EBADF, vms[0].device = -2);
	BAD(EBADF, vms[0].device = INT32_MIN);
	BAD(EBADF, vms[0].device = closed);
	BAD(EBADF, vms[0].device = 1 << 20);
	BAD(EINVAL, vms[0].device = null);
	/* The same VM twice, of the call or of the others. */
	BAD(EINVAL, vms[0].device = gpu->dev.fd; vms[0].vm_id = gpu->vm.id;
	    vms[0].ops = (uintptr_t)&op[0]);
	BAD(EINVAL, vms[0].device = DRM_VSVM_THIS_DEVICE; vms[0].vm_id = gpu->vm.id;
	    vms[0].ops = (uintptr_t)&op[0]);
	BAD(EINVAL, args.num_vms = 2);
	/* One of another process. */
	BAD(EPERM, vms[0].vm_id = orphan);
	/* What has to do with the process's memory. */
	BAD(EOPNOTSUPP, vms[0].vm_id = mirror.id);
	BAD(EOPNOTSUPP, vms[0].vm_id = upstream.id);
	BAD(EOPNOTSUPP, vms[0].ops = (uintptr_t)&user);
	BAD(EOPNOTSUPP, vms[0].vm_id = pointer.id);
	/* An operation of the other one. */
	BAD(EINVAL, op[1].type = DRM_VSVM_BIND_MIRROR; op[1].handle = 0);
	BAD(EINVAL, op[1].pad = 1);
	BAD(EINVAL, op[1].flags = 2);
	BAD(EINVAL, op[1].range = 0);
	BAD(EINVAL, op[1].range += self->page);
	BAD(EINVAL, op[1].offset = self->page);
	BAD(ENOENT, op[1].handle = 1000);
	BAD(ENOENT, op[1].handle = 0);
#undef BAD
	ASSERT_EQ(0, unchanged(self->gpu, self->n, binds, 11));

	/* Elsewhere on the VM with a user pointer is nobody's business. */
	op[0].addr = VA2;
	op[1].addr = VA2;
	vms[0].vm_id = pointer.id;
	args = (struct drm_vsvm_vm_bind) {
		.vm_id = gpu->vm.id, .num_ops = 1, .ops = (uintptr_t)&op[0],
		.num_vms = 1, .vms = (uintptr_t)vms,
	};
	op[1].handle = other[self->n - 1];
	ASSERT_EQ(0, drmIoctl(gpu->dev.fd, DRM_IOCTL_VSVM_VM_BIND, &args));
	ASSERT_EQ(0, unbind_now(gpu, VA2, SIZE));

	/* The library's own. */
	ASSERT_EQ(-EINVAL, vsvm_vms_bind(call.vms, 0, NULL, 0));
	ASSERT_EQ(-EINVAL, vsvm_vms_bind(call.vms, MOST + 1, NULL, 0));
	vsvm_bind_unmap(call_add(&call, &gpu->vm), VA, SIZE);
	vsvm_bind_unmap(call_add(&call, &second), VA, SIZE);
	ASSERT_EQ(0, run_child(from_child, &call));
	while (!call.bind[1].error)
		vsvm_bind_unmap(&call.bind[1], VA, SIZE);
	ASSERT_EQ(-ENOSPC, vsvm_vms_bind(call.vms, call.num, NULL, 0));
	ASSERT_EQ(0, all_read(self->gpu, self->n, VA, 11));
	close(null);
	ASSERT_EQ(0, vsvm_vm_destroy(&mirror));
	ASSERT_EQ(0, vsvm_vm_destroy(&upstream));
	ASSERT_EQ(0, vsvm_vm_destroy(&pointer));
	ASSERT_EQ(0, vsvm_vm_destroy(&second));
	handles_close(self->gpu, self->n, handle);
	handles_close(self->gpu, self->n, other);
}

TEST_HARNESS_MAIN
