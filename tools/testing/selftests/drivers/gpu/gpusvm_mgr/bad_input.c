// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Input that is wrong: each errno that the ABI documents, with a line in the kernel's
 * log that names the member, and bytes that mean nothing, many of them. A refused call
 * changes nothing.
 *
 * Usage: bad_input [harness options]; the environment may set GPUSVM_SEED and
 * GPUSVM_CALLS.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include <xf86drm.h>

#include "gpusvm_test.h"

/*
 * Without refused() around it the driver has no line: the core of DRM refuses what never
 * comes to the driver (arguments at (void *)8, which cannot be read; an ioctl that it has not
 * got), and nothing is wrong with the arguments where there is no record yet (ENODATA), or
 * no fence in time (ETIME).
 */
static int call(int fd, unsigned long nr, void *arg)
{
	return drmIoctl(fd, nr, arg) ? -errno : 0;
}

/* What a refused call must leave as it was. */
static int same_state(struct gpu *gpu, const struct drm_vsvm_stats_data *before)
{
	struct drm_vsvm_stats_data now;
	int ret = vsvm_stats(&gpu->vm, &now);

	if (ret)
		return ret;
	return now.jobs == before->jobs && now.jobs_failed == before->jobs_failed &&
	       now.faults == before->faults && now.bytes_written == before->bytes_written &&
	       now.mgr_instances == before->mgr_instances &&
	       now.mgr_ranges_made == before->mgr_ranges_made ? 0 : -ESTALE;
}

#define BEFORE(gpu)								\
	struct drm_vsvm_stats_data before;					\
	ASSERT_EQ(0, vsvm_stats(&(gpu)->vm, &before))

#define AFTER(gpu)	ASSERT_EQ(0, same_state(gpu, &before))

/*
 * Can a line be found missing at all? Only one that has come since we began is taken, of
 * that device, while the messages are on.
 */
GPU_TEST(lines)
{
	struct drm_vsvm_query query = { 0 };

	for (unsigned int i = 0; i < self->g->n; i++) {
		int fd = self->gpu[i].dev.fd, other = self->gpu[(i + 1) % self->g->n].dev.fd;
		const char *line;
		struct dbg dbg;
		int ret;

		query.pad = 0x11;
		ASSERT_EQ(-EINVAL, refused(&self->gpu[i].dev, NULL,
					   call(fd, DRM_IOCTL_VSVM_QUERY, &query)));
		ret = dbg_begin(&dbg, &self->gpu[i].dev);
		if (ret)
			SKIP(return, "no messages of DRM can be read: %s", strerror(-ret));
		/* Nothing that leaves the test before they are off again. */
		EXPECT_EQ(0, dbg_switch(&dbg, false));
		query.pad = 0x12;
		EXPECT_EQ(-EINVAL, call(fd, DRM_IOCTL_VSVM_QUERY, &query));
		EXPECT_EQ(0, dbg_switch(&dbg, true));
		query.pad = 0x13;
		if (other != fd) {
			EXPECT_EQ(-EINVAL, call(other, DRM_IOCTL_VSVM_QUERY, &query));
		}
		query.pad = 0;
		EXPECT_EQ(0, call(fd, DRM_IOCTL_VSVM_QUERY, &query));
		query.pad = 0x14;
		EXPECT_EQ(-EINVAL, call(fd, DRM_IOCTL_VSVM_QUERY, &query));
		/* A worker of DRM may have something to say of the device, too. */
		do {
			line = dbg_line(&dbg);
		} while (line && !strstr(line, "pad 0x"));
		dbg_end(&dbg);

		ASSERT_NE(NULL, line);
		ASSERT_NE(NULL, strstr(line, "pad 0x14:")) {
			TH_LOG("first line of device %u: %s", i, line);
		}
		ASSERT_TRUE(dbg_names(line, "pad"));
		ASSERT_TRUE(dbg_names(line, "query.pad = 1"));
		ASSERT_TRUE(dbg_names(line, "query.index = 1; query.pad |= 1"));
		ASSERT_FALSE(dbg_names(line, "query.index = query.pad"));
		ASSERT_FALSE(dbg_names(line, "query.pa = 1"));
		ASSERT_FALSE(dbg_names(line, "query.pad2 = 1"));
		ASSERT_FALSE(dbg_names(line, "ad"));
	}
	/* A line, but about something else; no other one comes. */
	query.pad = 0x15;
	ASSERT_EQ(-ENOMSG, refused(&self->gpu[0].dev, "index",
				   call(self->gpu[0].dev.fd, DRM_IOCTL_VSVM_QUERY, &query)));
}

GPU_TEST(query)
{
	for_each_gpu(gpu, self) {
		struct drm_vsvm_query query = { 0 };

		BEFORE(gpu);
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_QUERY, &query));
		ASSERT_EQ(0, memcmp(&query, &gpu->dev.info, sizeof(query)));
		query.pad = 1;
		ASSERT_EQ(-EINVAL, refused(&gpu->dev, "pad",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_QUERY, &query)));
		ASSERT_EQ(-EFAULT, call(gpu->dev.fd, DRM_IOCTL_VSVM_QUERY, (void *)8));
		AFTER(gpu);
	}
}

GPU_TEST(vm_create)
{
	for_each_gpu(gpu, self) {
		static const uint32_t bad_flags[] = {
			DRM_VSVM_VM_EAGER, DRM_VSVM_VM_MIGRATE,
			DRM_VSVM_VM_MIGRATE | DRM_VSVM_VM_SHARED_RESV, DRM_VSVM_VM_MIRROR | 1 << 4,
			DRM_VSVM_VM_MIRROR | 1u << 31, ~0u,
			DRM_VSVM_VM_UPSTREAM, DRM_VSVM_VM_TWO_PASS,
			DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_UPSTREAM | DRM_VSVM_VM_TWO_PASS,
			DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_UPSTREAM | DRM_VSVM_VM_EAGER,
			DRM_VSVM_VM_MIRROR | DRM_VSVM_VM_TWO_PASS | DRM_VSVM_VM_EAGER,
		};
		struct drm_vsvm_vm_create create;

		BEFORE(gpu);
		for (unsigned int i = 0; i < ARRAY_SIZE(bad_flags); i++) {
			create = (struct drm_vsvm_vm_create) { .flags = bad_flags[i] };
			ASSERT_EQ(-EINVAL,
				  refused(&gpu->dev, "flags",
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_VM_CREATE, &create)));
			ASSERT_EQ(0, create.vm_id);
		}
		for (unsigned int bit = 0; bit < 64; bit += 21) {
			create = (struct drm_vsvm_vm_create) {
				.flags = DRM_VSVM_VM_MIRROR, .pad = 1ULL << bit,
			};
			ASSERT_EQ(-EINVAL,
				  refused(&gpu->dev, "pad",
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_VM_CREATE, &create)));
		}
		ASSERT_EQ(-EFAULT, call(gpu->dev.fd, DRM_IOCTL_VSVM_VM_CREATE, (void *)8));
		AFTER(gpu);
	}
}

GPU_TEST(vm_destroy)
{
	for_each_gpu(gpu, self) {
		static const uint32_t bad_ids[] = { 0, 2, 255, 256, 257, 1u << 31, ~0u };
		struct drm_vsvm_vm_destroy destroy;

		BEFORE(gpu);
		for (unsigned int i = 0; i < ARRAY_SIZE(bad_ids); i++) {
			destroy = (struct drm_vsvm_vm_destroy) { .vm_id = bad_ids[i] };
			ASSERT_NE(gpu->vm.id, bad_ids[i]);
			ASSERT_EQ(-ENOENT,
				  refused(&gpu->dev, "vm_id",
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_VM_DESTROY, &destroy)));
		}
		destroy = (struct drm_vsvm_vm_destroy) { .vm_id = gpu->vm.id, .pad = 1 };
		ASSERT_EQ(-EINVAL, refused(&gpu->dev, "pad",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_VM_DESTROY, &destroy)));
		AFTER(gpu);
	}
}

/* A VM belongs to the file that made it, whatever the number. */
GPU_TEST(vm_of_another_file)
{
	for (unsigned int i = 0; i < self->g->n; i++) {
		struct drm_vsvm_vm_destroy destroy = { .vm_id = self->gpu[i].vm.id };
		struct vsvm_device dev;

		ASSERT_EQ(0, vsvm_open(&dev, i));
		ASSERT_EQ(-ENOENT, refused(&dev, "vm_id",
					   call(dev.fd, DRM_IOCTL_VSVM_VM_DESTROY, &destroy)));
		vsvm_close(&dev);
	}
	for_each_gpu(gpu, self) {
		ASSERT_EQ(0, gpu_write64(gpu, &gpu->result[0], 1));
	}
}

GPU_TEST(exec_arguments)
{
	for_each_gpu(gpu, self) {
		struct drm_vsvm_instr nop = { .op = DRM_VSVM_OP_NOP };
		const struct drm_vsvm_exec good = {
			.vm_id = gpu->vm.id, .num_instrs = 1, .instrs = (uintptr_t)&nop,
			.fence_addr = (uintptr_t)&gpu->fence[9], .fence_value = 1,
		};
		struct drm_vsvm_exec exec;

#define BAD(error__, ...)							\
		do {								\
			exec = good;						\
			__VA_ARGS__;						\
			ASSERT_EQ(-(error__),					\
				  refused(&gpu->dev, #__VA_ARGS__,		\
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_EXEC, &exec))) { \
				TH_LOG("%s", #__VA_ARGS__);			\
			}							\
			ASSERT_EQ(0, exec.job_id);				\
		} while (0)

		BEFORE(gpu);
		BAD(ENOENT, exec.vm_id = 0);
		BAD(ENOENT, exec.vm_id = 1000);
		BAD(EINVAL, exec.flags = 1);
		BAD(EINVAL, exec.flags = 1u << 31);
		BAD(EINVAL, exec.queue = DRM_VSVM_MAX_QUEUES);
		BAD(EINVAL, exec.queue = ~0u);
		BAD(EINVAL, exec.num_instrs = 0);
		BAD(EINVAL, exec.num_instrs = DRM_VSVM_MAX_INSTRS + 1);
		BAD(EINVAL, exec.num_instrs = ~0u);
		BAD(EFAULT, exec.instrs = 0);
		BAD(EFAULT, exec.instrs = 8);
		BAD(EFAULT, exec.instrs = ~0ULL - 7);
		BAD(EFAULT, exec.instrs = 1ULL << 63);
		BAD(EINVAL, exec.fence_addr += 4);
		BAD(EINVAL, exec.fence_addr += 1);
		BAD(EINVAL, exec.fence_value |= DRM_VSVM_FENCE_ERROR);
		BAD(EINVAL, exec.fence_addr = 0);
		BAD(EINVAL, exec.pad = 1);
		BAD(EINVAL, exec.pad = 1ULL << 63);
		BAD(EINVAL, exec.pad2 = 1);
		BAD(EINVAL, exec.num_syncs = 1);
		BAD(EINVAL, exec.num_syncs = ~0u);
		AFTER(gpu);
		ASSERT_EQ(0, gpu->fence[9]);
#undef BAD
		exec = good;
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_EXEC, &exec));
		ASSERT_LT(0, exec.job_id);
		ASSERT_EQ(0, vsvm_wait(&gpu->vm, &gpu->fence[9], 1, GPU_TIMEOUT_NS));
	}
}

/* The program's end is beyond what can be read. */
GPU_TEST(exec_program_cut)
{
	struct drm_vsvm_instr *program = buf_alloc(self->page);
	unsigned int fit = self->page / sizeof(*program);

	ASSERT_NE(NULL, program);
	for_each_gpu(gpu, self) {
		struct drm_vsvm_exec exec = {
			.vm_id = gpu->vm.id, .instrs = (uintptr_t)program,
		};

		BEFORE(gpu);
		exec.num_instrs = fit + 1;
		ASSERT_EQ(-EFAULT, refused(&gpu->dev, "instrs",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_EXEC, &exec)));
		exec.num_instrs = DRM_VSVM_MAX_INSTRS;
		ASSERT_EQ(-EFAULT, refused(&gpu->dev, "instrs",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_EXEC, &exec)));
		AFTER(gpu);
		exec.num_instrs = fit;
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_EXEC, &exec));
	}
	buf_free(program, self->page);
}

GPU_TEST(exec_instructions)
{
	const uint64_t a = 0x10000, big = DRM_VSVM_MAX_LEN;
	const struct {
		const char *member;
		struct drm_vsvm_instr instr;
	} bad[] = {
		{ "op", { .op = 9 } },
		{ "op", { .op = ~0u } },
		{ "flags", { .op = DRM_VSVM_OP_NOP, .flags = 1 } },
		{ "dst", { .op = DRM_VSVM_OP_NOP, .dst = 8 } },
		{ "src", { .op = DRM_VSVM_OP_NOP, .src = 8 } },
		{ "len", { .op = DRM_VSVM_OP_NOP, .len = 8 } },
		{ "value", { .op = DRM_VSVM_OP_NOP, .value = 8 } },
		{ "len", { .op = DRM_VSVM_OP_FILL, .dst = a, .len = 0 } },
		{ "len", { .op = DRM_VSVM_OP_FILL, .dst = a, .len = 4 } },
		{ "len", { .op = DRM_VSVM_OP_FILL, .dst = a, .len = big + 8 } },
		{ "len", { .op = DRM_VSVM_OP_FILL, .dst = a, .len = ~7ULL } },
		{ "src", { .op = DRM_VSVM_OP_FILL, .dst = a, .len = 8, .src = 8 } },
		{ "flags", { .op = DRM_VSVM_OP_FILL, .dst = a, .len = 8, .flags = 1u << 31 } },
		{ "len", { .op = DRM_VSVM_OP_COPY, .dst = a, .src = 2 * a, .len = 0 } },
		{ "len", { .op = DRM_VSVM_OP_COPY, .dst = a, .src = 2 * a, .len = big + 1 } },
		{ "value",
		  { .op = DRM_VSVM_OP_COPY, .dst = a, .src = 2 * a, .len = 8, .value = 1 } },
		{ "dst and src", { .op = DRM_VSVM_OP_COPY, .dst = a, .src = a, .len = 8 } },
		{ "dst and src", { .op = DRM_VSVM_OP_COPY, .dst = a, .src = a + 7, .len = 8 } },
		{ "dst and src", { .op = DRM_VSVM_OP_COPY, .dst = a + 7, .src = a, .len = 8 } },
		{ "len", { .op = DRM_VSVM_OP_ADD, .dst = a, .len = 12 } },
		{ "src", { .op = DRM_VSVM_OP_ADD, .dst = a, .len = 8, .src = 1 } },
		{ "len", { .op = DRM_VSVM_OP_CHECKSUM, .dst = a, .src = 2 * a, .len = 0 } },
		{ "value",
		  { .op = DRM_VSVM_OP_CHECKSUM, .dst = a, .src = 2 * a, .len = 1, .value = 1 } },
		{ "len",
		  { .op = DRM_VSVM_OP_COMPARE, .dst = a, .src = 2 * a, .len = 0, .value = a } },
		{ "len", { .op = DRM_VSVM_OP_ATOMIC_ADD, .dst = a, .len = 0, .value = 1 } },
		{ "len", { .op = DRM_VSVM_OP_ATOMIC_ADD, .dst = a, .len = big + 1, .value = 1 } },
		{ "src",
		  { .op = DRM_VSVM_OP_ATOMIC_ADD, .dst = a, .src = 1, .len = 1, .value = 1 } },
		{ "len", { .op = DRM_VSVM_OP_CHASE, .dst = a, .src = 2 * a, .len = 0 } },
		{ "value",
		  { .op = DRM_VSVM_OP_CHASE, .dst = a, .src = 2 * a, .len = 1, .value = 1 } },
		{ "len", { .op = DRM_VSVM_OP_HISTOGRAM, .dst = a, .src = 2 * a, .len = 0 } },
		{ "value",
		  { .op = DRM_VSVM_OP_HISTOGRAM, .dst = a, .src = 2 * a, .len = 1, .value = 1 } },
	};

	for_each_gpu(gpu, self) {
		BEFORE(gpu);
		for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
			char what[32];
			VSVM_JOB(job, 3);

			/* Behind a good one: none of the job may have run. */
			vsvm_job_fill(&job, &gpu->result[5], 8, 12345);
			vsvm_job_add_instr(&job, &bad[i].instr);
			vsvm_job_nop(&job);
			snprintf(what, sizeof(what), "instrs[1].%s:", bad[i].member);
			ASSERT_EQ(-EINVAL, refused(&gpu->dev, what,
						   vsvm_exec(&gpu->vm, 0, &job, &gpu->fence[9], 1,
							     NULL)))
				TH_LOG("instruction %u: %s", i, vsvm_op_name(bad[i].instr.op));
		}
		ASSERT_EQ(0, gpu->result[5]);
		ASSERT_EQ(0, gpu->fence[9]);
		AFTER(gpu);
	}
}

/* Addresses are not looked at before the job runs: it is the job that fails. */
GPU_TEST(bad_words)
{
	for_each_gpu(gpu, self) {
		const uint64_t at = (uintptr_t)&gpu->result[32], from = (uintptr_t)&gpu->result[64];
		const uint64_t one = 1;
		const struct drm_vsvm_instr bad[] = {
			{ .op = DRM_VSVM_OP_FILL, .dst = at + 4, .len = 8 },
			{ .op = DRM_VSVM_OP_ADD, .dst = at + 1, .len = 8 },
			{ .op = DRM_VSVM_OP_ATOMIC_ADD, .dst = at + 2, .len = 1, .value = 1 },
			{ .op = DRM_VSVM_OP_CHECKSUM, .dst = at + 7, .src = from, .len = 1 },
			{ .op = DRM_VSVM_OP_COMPARE, .dst = at + 3, .src = from, .len = 1,
			  .value = from },
			{ .op = DRM_VSVM_OP_CHASE, .dst = at + 4, .src = from, .len = 1 },
			{ .op = DRM_VSVM_OP_HISTOGRAM, .dst = at + 6, .src = from, .len = 1 },
			/* The second word would be the one at 0. */
			{ .op = DRM_VSVM_OP_HISTOGRAM, .dst = -8ULL, .src = (uintptr_t)&one,
			  .len = 1 },
		};

		for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
			struct drm_vsvm_error error;
			VSVM_JOB(job, 1);

			vsvm_job_add_instr(&job, &bad[i]);
			ASSERT_EQ(-EIO, gpu_run(gpu, &job));
			ASSERT_EQ(0, vsvm_error_take(&gpu->vm, &error));
			ASSERT_EQ(EINVAL, error.error);
			ASSERT_EQ(bad[i].dst, error.addr);
			ASSERT_TRUE(error.flags & DRM_VSVM_ERROR_WRITE);
		}
		ASSERT_EQ(-1, buf_check_value(&gpu->result[30], 64, 0));
	}
}

GPU_TEST(wait_arguments)
{
	for_each_gpu(gpu, self) {
		const struct drm_vsvm_wait good = {
			.vm_id = gpu->vm.id, .addr = (uintptr_t)&gpu->fence[9],
		};
		struct drm_vsvm_wait wait;

#define TRY(error__, what__, ...)						\
		do {								\
			wait = good;						\
			__VA_ARGS__;						\
			ASSERT_EQ(-(error__),					\
				  refused(&gpu->dev, what__,			\
					  call(gpu->dev.fd, DRM_IOCTL_VSVM_WAIT, &wait))) { \
				TH_LOG("%s", #__VA_ARGS__);			\
			}							\
		} while (0)
#define BAD(error__, ...)	TRY(error__, #__VA_ARGS__, __VA_ARGS__)

		BEFORE(gpu);
		BAD(ENOENT, wait.vm_id = 0);
		BAD(ENOENT, wait.vm_id = ~0u);
		BAD(EINVAL, wait.pad = 1);
		BAD(EINVAL, wait.addr += 4);
		BAD(EINVAL, wait.value = DRM_VSVM_FENCE_ERROR);
		BAD(EINVAL, wait.value = ~0ULL);
		BAD(EFAULT, wait.addr = 0);
		BAD(EFAULT, wait.addr = 8; wait.timeout_ns = -1);
		BAD(EFAULT, wait.addr = ~7ULL);
		BAD(EFAULT, wait.addr = 1ULL << 63);
		TRY(ETIME, NULL, wait.value = 1);
		TRY(ETIME, NULL, wait.value = 1; wait.timeout_ns = 1);
#undef BAD
#undef TRY
		/* Done already, so no timeout matters. */
		wait = good;
		wait.timeout_ns = -1;
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_WAIT, &wait));
		wait.timeout_ns = INT64_MIN;
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_WAIT, &wait));
		wait.timeout_ns = INT64_MAX;
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_WAIT, &wait));
		AFTER(gpu);
	}
}

GPU_TEST(error_arguments)
{
	for_each_gpu(gpu, self) {
		struct drm_vsvm_error error;

		BEFORE(gpu);
		error = (struct drm_vsvm_error) { .vm_id = gpu->vm.id };
		ASSERT_EQ(-ENODATA, call(gpu->dev.fd, DRM_IOCTL_VSVM_ERROR, &error));
		error = (struct drm_vsvm_error) { .vm_id = 1000 };
		ASSERT_EQ(-ENOENT, refused(&gpu->dev, "vm_id",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_ERROR, &error)));
		AFTER(gpu);
		/* A call that is refused does not take the record. */
		ASSERT_EQ(-EIO, gpu_write64(gpu, (void *)16, 1));
		error = (struct drm_vsvm_error) { .vm_id = gpu->vm.id, .flags = 1 };
		ASSERT_EQ(-EINVAL, refused(&gpu->dev, "flags",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_ERROR, &error)));
		error = (struct drm_vsvm_error) { .vm_id = gpu->vm.id, .pad = 1 };
		ASSERT_EQ(-EINVAL, refused(&gpu->dev, "pad",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_ERROR, &error)));
		error = (struct drm_vsvm_error) { .vm_id = gpu->vm.id };
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_ERROR, &error));
		ASSERT_EQ(EFAULT, error.error);
		ASSERT_EQ(16, error.addr);
		ASSERT_EQ(0, error.lost);
		ASSERT_NO_MORE_ERRORS(gpu);
	}
}

GPU_TEST(stats_arguments)
{
	for_each_gpu(gpu, self) {
		struct drm_vsvm_stats_data data, full;
		struct drm_vsvm_stats stats;
		const uint32_t size = sizeof(data);

		ASSERT_EQ(0, vsvm_stats(&gpu->vm, &full));
		stats = (struct drm_vsvm_stats) { .vm_id = 1000, .data = (uintptr_t)&data };
		ASSERT_EQ(-ENOENT, refused(&gpu->dev, "vm_id",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_STATS, &stats)));
		stats = (struct drm_vsvm_stats) { .vm_id = gpu->vm.id, .flags = 1, .size = size,
						  .data = (uintptr_t)&data };
		ASSERT_EQ(-EINVAL, refused(&gpu->dev, "flags",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_STATS, &stats)));
		stats = (struct drm_vsvm_stats) { .vm_id = gpu->vm.id, .pad = 1, .size = size,
						  .data = (uintptr_t)&data };
		ASSERT_EQ(-EINVAL, refused(&gpu->dev, "pad",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_STATS, &stats)));
		stats = (struct drm_vsvm_stats) { .vm_id = gpu->vm.id, .size = size, .data = 8 };
		ASSERT_EQ(-EFAULT, refused(&gpu->dev, "data",
					   call(gpu->dev.fd, DRM_IOCTL_VSVM_STATS, &stats)));

		/* Less than all: not a byte more than that is written. */
		memset(&data, 0xaa, sizeof(data));
		stats = (struct drm_vsvm_stats) { .vm_id = gpu->vm.id, .size = 12,
						  .data = (uintptr_t)&data };
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_STATS, &stats));
		ASSERT_EQ(size, stats.size);
		ASSERT_EQ(full.jobs, data.jobs);
		ASSERT_EQ(0xaa, ((unsigned char *)&data)[12]);
		ASSERT_EQ(0xaa, ((unsigned char *)&data)[size - 1]);
		/* Nothing wanted, so no address is looked at. */
		stats = (struct drm_vsvm_stats) { .vm_id = gpu->vm.id };
		ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_STATS, &stats));
		ASSERT_EQ(size, stats.size);
		/* More than there is: the rest stays. */
		{
			unsigned char more[sizeof(data) + 64];

			memset(more, 0xaa, sizeof(more));
			stats = (struct drm_vsvm_stats) { .vm_id = gpu->vm.id,
							  .size = sizeof(more),
							  .data = (uintptr_t)more };
			ASSERT_EQ(0, call(gpu->dev.fd, DRM_IOCTL_VSVM_STATS, &stats));
			ASSERT_EQ(size, stats.size);
			ASSERT_EQ(0xaa, more[sizeof(data)]);
			ASSERT_EQ(0xaa, more[sizeof(more) - 1]);
		}
	}
}

/* Numbers that the driver does not have, sizes that it does not expect. */
GPU_TEST(unknown_ioctls)
{
	const unsigned long create_short = DRM_IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
						   DRM_COMMAND_BASE + DRM_VSVM_GEM_CREATE, 4);
	unsigned char buf[256];

	for_each_gpu(gpu, self) {
		BEFORE(gpu);
		for (unsigned int nr = DRM_VSVM_PREFETCH + 1; nr < 0x60; nr++) {
			memset(buf, 0, sizeof(buf));
			ASSERT_EQ(-EINVAL, call(gpu->dev.fd,
						DRM_IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
							DRM_COMMAND_BASE + nr, 64), buf));
		}
		/* A short argument is filled up with zeros: no size, so EINVAL. */
		memset(buf, 0xff, sizeof(buf));
		memset(buf, 0, 4);
		ASSERT_EQ(-EINVAL, refused(&gpu->dev, "size",
					   call(gpu->dev.fd, create_short, buf)));
		AFTER(gpu);
	}
}

/* ------------------------------------------------------------- random bytes */

static const struct {
	unsigned long nr;
	size_t size;
} ioctls[] = {
	{ DRM_IOCTL_VSVM_QUERY, sizeof(struct drm_vsvm_query) },
	{ DRM_IOCTL_VSVM_VM_CREATE, sizeof(struct drm_vsvm_vm_create) },
	{ DRM_IOCTL_VSVM_VM_DESTROY, sizeof(struct drm_vsvm_vm_destroy) },
	{ DRM_IOCTL_VSVM_EXEC, sizeof(struct drm_vsvm_exec) },
	{ DRM_IOCTL_VSVM_WAIT, sizeof(struct drm_vsvm_wait) },
	{ DRM_IOCTL_VSVM_ERROR, sizeof(struct drm_vsvm_error) },
	{ DRM_IOCTL_VSVM_STATS, sizeof(struct drm_vsvm_stats) },
	{ DRM_IOCTL_VSVM_GEM_CREATE, sizeof(struct drm_vsvm_gem_create) },
	{ DRM_IOCTL_VSVM_GEM_MMAP_OFFSET, sizeof(struct drm_vsvm_gem_mmap_offset) },
	{ DRM_IOCTL_VSVM_VM_BIND, sizeof(struct drm_vsvm_vm_bind) },
};

union argument {
	struct drm_vsvm_query query;
	struct drm_vsvm_vm_create create;
	struct drm_vsvm_vm_destroy destroy;
	struct drm_vsvm_exec exec;
	struct drm_vsvm_wait wait;
	struct drm_vsvm_error error;
	struct drm_vsvm_stats stats;
	struct drm_vsvm_gem_create gem;
	struct drm_vsvm_gem_mmap_offset offset;
	struct drm_vsvm_vm_bind bind;
	unsigned char bytes[128];
};

#define PLAY_SIZE	(64 * KIB)

struct fuzz {
	uint64_t seed;
	/* Memory that random programs find now and then. */
	char *play;
	struct drm_vsvm_instr program[8];
	struct drm_vsvm_bind_op ops[4];
	struct drm_vsvm_sync syncs[2];
	struct drm_vsvm_stats_data data;
	/* A VM without mirrors, an object and a syncobj, on this device. */
	struct vsvm_vm bound;
	uint32_t handle;
	uint32_t syncobj;
	/* The VM that was made last, on this device. */
	uint32_t last;
	uint64_t done[ARRAY_SIZE(ioctls)], refused[ARRAY_SIZE(ioctls)];
};

/* Small, large, close to a border, or anything. */
static uint64_t odd_number(uint64_t *seed)
{
	static const uint64_t odd[] = {
		0, 1, 2, 7, 8, 15, 16, 63, 64, 255, 256, 4095, 4096, 4097, 1ULL << 31,
		1ULL << 32, (1ULL << 32) + 1, 1ULL << 47, 1ULL << 63, ~0ULL, ~7ULL,
	};
	uint64_t r = rnd(seed);

	switch (r % 4) {
	case 0:
		return odd[(r >> 8) % ARRAY_SIZE(odd)];
	case 1:
		return odd[(r >> 8) % ARRAY_SIZE(odd)] - (r >> 40) % 3 + 1;
	case 2:
		return 1ULL << (r >> 8) % 64;
	default:
		return rnd(seed);
	}
}

static uint64_t odd_address(struct fuzz *f)
{
	uint64_t r = rnd(&f->seed);

	if (r % 4)
		return (uintptr_t)f->play + (r >> 8) % (PLAY_SIZE + 2 * page_size()) - page_size();
	return odd_number(&f->seed);
}

/* A program that is right but for what chance made of it. */
static void odd_program(struct fuzz *f, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		struct drm_vsvm_instr *instr = &f->program[i];
		uint64_t r = rnd(&f->seed);

		memset(instr, 0, sizeof(*instr));
		instr->op = r % 9;
		instr->dst = odd_address(f) & (r & 1 << 8 ? ~0ULL : ~7ULL);
		instr->len = 8 * (1 + (r >> 16) % 64);
		switch (instr->op) {
		case DRM_VSVM_OP_NOP:
			instr->dst = 0;
			instr->len = 0;
			break;
		case DRM_VSVM_OP_FILL:
		case DRM_VSVM_OP_ADD:
		case DRM_VSVM_OP_ATOMIC_ADD:
			instr->value = r;
			break;
		case DRM_VSVM_OP_COMPARE:
			instr->src = odd_address(f);
			instr->value = odd_address(f);
			break;
		default:
			instr->src = odd_address(f);
			break;
		}
		/*
		 * Lengths stay small, since a job that runs for an hour proves
		 * nothing, and half an address may be one of the test itself.
		 */
		if (r >> 60 == 0)
			instr->op = odd_number(&f->seed);
		if (r >> 60 == 1)
			instr->flags = odd_number(&f->seed);
	}
}

/* Binds that are right but for what chance made of them. */
static void odd_binds(struct fuzz *f, unsigned int num)
{
	for (unsigned int i = 0; i < num; i++) {
		struct drm_vsvm_bind_op *op = &f->ops[i];
		uint64_t r = rnd(&f->seed);

		memset(op, 0, sizeof(*op));
		op->type = r % 8 ? r % 2 : r >> 8 & 7;
		op->addr = page_size() * (r >> 16 & 63);
		op->range = page_size() * (1 + (r >> 24 & 7));
		if (op->type == DRM_VSVM_BIND_MAP) {
			op->handle = f->handle;
			op->offset = page_size() * (r >> 32 & 7);
		}
		if (r >> 60 == 0)
			op->addr = odd_address(f);
		if (r >> 60 == 1)
			op->range = odd_number(&f->seed);
		if (r >> 60 == 2)
			op->offset = odd_number(&f->seed);
		if (r >> 60 == 3)
			op->handle = r >> 40 & 31;
	}
}

static void odd_syncs(struct fuzz *f, __u32 *num, __u64 *user)
{
	uint64_t r = rnd(&f->seed);

	*num = r % 3;
	*user = (uintptr_t)f->syncs;
	for (unsigned int i = 0; i < 2; i++) {
		f->syncs[i] = r >> (8 + i) & 1 ? vsvm_sync_out(f->syncobj, 0) :
						 vsvm_sync_in(f->syncobj, 0);
		if (r >> 60 == i)
			f->syncs[i].handle = odd_number(&f->seed);
		if (r >> 60 == i + 2)
			f->syncs[i].point = odd_number(&f->seed);
	}
}

static void valid_argument(struct fuzz *f, struct gpu *gpu, unsigned int which, union argument *arg)
{
	uint64_t r = rnd(&f->seed);

	memset(arg, 0, sizeof(*arg));
	switch (which) {
	case 1:
		if (r & 2)
			arg->create.flags = DRM_VSVM_VM_MIRROR | (r & 1 ? DRM_VSVM_VM_EAGER : 0);
		if (r & 4)
			arg->create.flags |= DRM_VSVM_VM_SHARED_RESV;
		break;
	case 2:
		/* Now and then one that is there, but not the test's own. */
		arg->destroy.vm_id = r % 4 ? gpu->vm.id + (uint32_t)(r >> 40) : f->last;
		break;
	case 3:
		arg->exec.vm_id = gpu->vm.id;
		arg->exec.queue = r % DRM_VSVM_MAX_QUEUES;
		arg->exec.num_instrs = 1 + (r >> 8) % ARRAY_SIZE(f->program);
		arg->exec.instrs = (uintptr_t)f->program;
		odd_program(f, arg->exec.num_instrs);
		if (r >> 32 & 1) {
			arg->exec.fence_addr = odd_address(f) & ~7ULL;
			arg->exec.fence_value = r >> 40;
		}
		if (r >> 33 & 1) {
			arg->exec.vm_id = f->bound.id;
			odd_syncs(f, &arg->exec.num_syncs, &arg->exec.syncs);
		}
		break;
	case 4:
		arg->wait.vm_id = gpu->vm.id;
		arg->wait.addr = odd_address(f) & ~7ULL;
		arg->wait.value = odd_number(&f->seed) >> 1;
		break;
	case 5:
		arg->error.vm_id = gpu->vm.id;
		break;
	case 6:
		arg->stats.vm_id = gpu->vm.id;
		arg->stats.size = sizeof(f->data);
		arg->stats.data = (uintptr_t)&f->data;
		break;
	case 7:
		arg->gem.size = page_size() * (1 + r % 16);
		arg->gem.placement = r >> 8 & 1;
		if (r >> 9 & 1) {
			arg->gem.flags = DRM_VSVM_GEM_VM;
			arg->gem.vm_id = f->bound.id;
		}
		break;
	case 8:
		arg->offset.handle = f->handle;
		break;
	case 9:
		arg->bind.vm_id = f->bound.id;
		arg->bind.num_ops = 1 + r % ARRAY_SIZE(f->ops);
		arg->bind.ops = (uintptr_t)f->ops;
		odd_binds(f, arg->bind.num_ops);
		odd_syncs(f, &arg->bind.num_syncs, &arg->bind.syncs);
		break;
	}
}

/* The driver's messages stay off: these are thousands of calls. */
GPU_TEST(random_bytes)
{
	struct fuzz *f = buf_alloc(sizeof(*f));
	const char *text = getenv("GPUSVM_SEED");
	uint64_t calls = 10000 / self->g->n, value;
	union argument arg;
	int ret;

	ASSERT_NE(NULL, f);
	f->play = buf_alloc(PLAY_SIZE);
	ASSERT_NE(NULL, f->play);
	f->seed = text ? strtoull(text, NULL, 0) : 20250611;
	text = getenv("GPUSVM_CALLS");
	if (text)
		calls = strtoull(text, NULL, 0);
	TH_LOG("seed %" PRIu64 ", %" PRIu64 " calls per device", f->seed, calls);
	f->seed += !f->seed;
	for_each_gpu(gpu, self) {
		f->last = 0;
		ASSERT_EQ(0, vsvm_vm_create(&gpu->dev, 0, &f->bound));
		ASSERT_EQ(0, vsvm_gem_create(&gpu->dev, 16 * page_size(), 0, &f->handle));
		ASSERT_EQ(0, drmSyncobjCreate(gpu->dev.fd, DRM_SYNCOBJ_CREATE_SIGNALED,
					      &f->syncobj));
		for (uint64_t i = 0; i < calls; i++) {
			unsigned int which = rnd(&f->seed) % ARRAY_SIZE(ioctls);
			uint64_t how = rnd(&f->seed);

			valid_argument(f, gpu, which, &arg);
			if (how % 4 == 0) {
				/* Bytes, nothing but bytes. */
				for (unsigned int b = 0; b < sizeof(arg); b += 8) {
					value = rnd(&f->seed);
					memcpy(arg.bytes + b, &value, 8);
				}
			} else if (how % 4 == 1) {
				/* One word of it is wrong. */
				uint32_t odd = odd_number(&f->seed);

				memcpy(arg.bytes + (how >> 8) % (ioctls[which].size / 4) * 4,
				       &odd, sizeof(odd));
			}
			/* No fence into the middle of the test's own memory. */
			if (which == 3 && arg.exec.fence_addr > ~0U &&
			    !(arg.exec.fence_addr >> 47))
				arg.exec.fence_addr = (uintptr_t)f->play +
						      arg.exec.fence_addr % PLAY_SIZE;
			/* A wait has to end, and the VM of the test has to live. */
			if (which == 4 && (arg.wait.timeout_ns < 0 ||
					   arg.wait.timeout_ns > 1000))
				arg.wait.timeout_ns = how >> 20 & 1023;
			if (which == 2 && (arg.destroy.vm_id == gpu->vm.id ||
					   arg.destroy.vm_id == f->bound.id))
				arg.destroy.vm_id = 0;
			/* All objects together have to fit. */
			if (which == 7 && arg.gem.size < 1ULL << 40)
				arg.gem.size %= 256 * KIB;
			ret = call(gpu->dev.fd, ioctls[which].nr, &arg);
			if (!ret && which == 1)
				f->last = arg.create.vm_id;
			if (ret)
				f->refused[which]++;
			else
				f->done[which]++;
			switch (ret) {
			case 0:
			case -EINVAL:
			case -ENOENT:
			case -EFAULT:
			case -ENOSPC:
			case -ENODATA:
			case -ETIME:
			case -EIO:
			case -ENOMEM:
			case -EOPNOTSUPP:
				break;
			default:
				ASSERT_EQ(0, ret) {
					TH_LOG("call %" PRIu64 " of ioctl %u", i, which);
				}
			}
		}
	}
	/* All were reached, all were refused; and the devices are well. */
	for (unsigned int i = 0; i < ARRAY_SIZE(ioctls); i++) {
		EXPECT_LT(0, f->done[i])
			TH_LOG("ioctl %u never succeeded", i);
		EXPECT_LT(0, f->refused[i])
			TH_LOG("ioctl %u was never refused", i);
	}
	for_each_gpu(gpu, self) {
		struct drm_vsvm_error error;

		/*
		 * Jobs of VMs that chance made must not write any more, ...
		 * A refused call may have used up a number.
		 */
		for (uint32_t id = 1; id < 300 + calls; id++) {
			struct drm_vsvm_vm_destroy destroy = { .vm_id = id };

			if (id == gpu->vm.id)
				continue;
			ret = call(gpu->dev.fd, DRM_IOCTL_VSVM_VM_DESTROY, &destroy);
			ASSERT_TRUE(!ret || ret == -ENOENT);
		}
		/* ... nor those that are in the queues still. */
		for (unsigned int q = 0; q < DRM_VSVM_MAX_QUEUES; q++) {
			VSVM_JOB(job, 1);

			vsvm_job_nop(&job);
			ASSERT_EQ(0, gpu_start(gpu, q, &job));
			ASSERT_EQ(0, gpu_finish(gpu, q));
		}
		while (!vsvm_error_take(&gpu->vm, &error)) {
			ASSERT_TRUE(error.error == EFAULT || error.error == EPERM ||
				    error.error == EINVAL)
				TH_LOG("error %u", error.error);
		}
	}
	ASSERT_EQ(self->g->n, gpus_sum(self->g, mgr_instances) / self->g->n);
	for_each_gpu(gpu, self) {
		buf_init(f->play, PLAY_SIZE, 1);
		ASSERT_EQ(0, gpu_add(gpu, f->play, PLAY_SIZE, 1));
		ASSERT_EQ(-1, buf_check(f->play, PLAY_SIZE, 1, 1));
	}
	buf_free(f->play, PLAY_SIZE);
	buf_free(f, sizeof(*f));
}

TEST_HARNESS_MAIN
