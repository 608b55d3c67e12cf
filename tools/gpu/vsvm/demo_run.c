// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-demo: the GPUs, the rounds, and whether the results are right
 *
 * The workers are the GPUs and, as the last one, this thread. In each round a
 * shard of the file goes to another worker than before. A round has two parts:
 *
 * 1. Each worker takes the checksum of its shards, counts their bytes into one
 *    histogram, copies them to the heap, adds a number to its nodes of the
 *    index (every n-th node, so that most pages have nodes of all workers) and
 *    adds to the counters.
 * 2. When copies and nodes are there, each worker follows the whole list, and
 *    compares copies that another worker made with the file.
 *
 * A GPU does all of that at the same time, in several queues.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "demo.h"

#define MESSAGES_MAX	20
#define JOB_INSTRS	1024U
#define COUNTER_ADDS	200U
#define POISON		0xa5

struct run {
	struct demo *d;
	unsigned int round;
	struct drm_vsvm_instr *instrs;	/* EXEC copies them: one array is enough */
	/* On the stack of demo_run(), and written by the GPUs: */
	uint64_t fence[DEMO_MAX_GPUS][DEMO_QUEUES];
	uint64_t value[DEMO_MAX_GPUS][DEMO_QUEUES];
	uint64_t chase[DEMO_MAX_GPUS + 1][2];
	uint64_t counter;
};

/* ------------------------------------------------------------------ GPUs */

int demo_gpus_open(struct demo *d)
{
	unsigned int want = d->num_gpus;
	uint32_t flags = DRM_VSVM_VM_MIRROR | (d->eager ? DRM_VSVM_VM_EAGER : 0) |
			 (d->migrate ? DRM_VSVM_VM_MIGRATE : 0);
	int num, ret = 0;

	for (unsigned int i = 0; i < DEMO_MAX_GPUS; i++)
		d->gpus[i].dev.fd = -1;
	d->num_gpus = 0;

	num = vsvm_list(NULL, 0);
	if (num < 0) {
		fprintf(stderr, "vsvm-demo: looking for GPUs: %s\n", strerror(-num));
		return num;
	}
	if (!num || (unsigned int)num < want) {
		fprintf(stderr, "vsvm-demo: %u GPU%s wanted, %d of the driver vsvm in /dev/dri\n",
			want ?: 1, want > 1 ? "s" : "", num);
		return -ENODEV;
	}
	if (!want)
		want = num;

	while (d->num_gpus < want) {
		struct demo_gpu *gpu = &d->gpus[d->num_gpus];
		const char *what = "opening it";

		ret = vsvm_open(&gpu->dev, d->num_gpus);
		if (ret)
			goto err_say;
		what = "creating a VM";
		ret = vsvm_vm_create(&gpu->dev, flags, &gpu->vm);
		if (!ret) {
			what = "reading counters";
			ret = vsvm_stats(&gpu->vm, &gpu->stats);
		}
		if (ret) {
			vsvm_close(&gpu->dev);
			goto err_say;
		}
		gpu->before = gpu->stats;
		d->num_gpus++;
		continue;

err_say:
		fprintf(stderr, "vsvm-demo: GPU %u: %s: %s\n", d->num_gpus, what, strerror(-ret));
		return ret;
	}
	return 0;
}

void demo_gpus_close(struct demo *d)
{
	for (unsigned int i = 0; i < DEMO_MAX_GPUS; i++) {
		struct demo_gpu *gpu = &d->gpus[i];

		if (gpu->dev.fd < 0)
			continue;
		if (gpu->vm.id && vsvm_vm_destroy(&gpu->vm)) {
			fprintf(stderr, "vsvm-demo: GPU %u: destroying the VM failed\n", i);
			atomic_set(&d->fatal, true);
		}
		vsvm_close(&gpu->dev);
	}
	atomic_set(&d->vms_gone, true);
}

int demo_exec(struct demo *d, unsigned int gpu, uint32_t queue, const struct vsvm_job *job,
	      uint64_t *fence, uint64_t value)
{
	int ret = vsvm_exec(&d->gpus[gpu].vm, queue, job, fence, value, NULL);

	if (ret) {
		fprintf(stderr, "vsvm-demo: GPU %u: submitting a job: %s\n", gpu, strerror(-ret));
		atomic_set(&d->fatal, true);
		return ret;
	}
	atomic_inc(&d->gpus[gpu].jobs_sent, 1);
	return 0;
}

/*
 * A failed job is no reason to give up: it is counted, by the GPU. Nor is the
 * end of the time where the caller would wait @again.
 */
int demo_wait(struct demo *d, unsigned int gpu, const uint64_t *fence, uint64_t value,
	      int64_t timeout_ns, bool again)
{
	int ret = vsvm_wait(&d->gpus[gpu].vm, fence, value, timeout_ns);

	if (ret == -ETIME && again)
		return ret;
	if (ret == -EIO) {
		atomic_inc(&d->failed_waits, 1);
	} else if (ret) {
		if (!atomic_get(&d->fatal))
			fprintf(stderr, "vsvm-demo: GPU %u: waiting for a job: %s\n", gpu,
				strerror(-ret));
		atomic_set(&d->fatal, true);
		atomic_set(&d->stop, true);
	}
	return ret;
}

/* ---------------------------------------------------------------- checks */

bool demo_check(struct demo *d, enum demo_check check, uint64_t got, uint64_t want,
		const char *what, uint64_t nr)
{
	static unsigned int messages;

	atomic_inc(&d->compared[check], 1);
	if (got == want)
		return true;

	atomic_inc(&d->differences[check], 1);
	if (atomic_inc(&messages, 1) < MESSAGES_MAX)
		fprintf(stderr, "vsvm-demo: %s %" PRIu64 ": 0x%" PRIx64 ", not 0x%" PRIx64 "\n",
			what, nr, got, want);
	return false;
}

/* ----------------------------------------------------------- what to do */

static void run_submit(struct run *r, unsigned int gpu, enum demo_queue queue,
		       struct vsvm_job *job)
{
	if (!atomic_get(&r->d->fatal))
		demo_exec(r->d, gpu, queue, job, &r->fence[gpu][queue], ++r->value[gpu][queue]);
	vsvm_job_reset(job);
}

static void run_wait(struct run *r, enum demo_queue queue)
{
	for (unsigned int gpu = 0; gpu < r->d->num_gpus && !atomic_get(&r->d->fatal); gpu++)
		demo_wait(r->d, gpu, &r->fence[gpu][queue], r->value[gpu][queue],
			  r->d->timeout_ns, false);
}

static unsigned int shard_worker(const struct run *r, unsigned int shard)
{
	return (shard + r->round) % demo_workers(r->d);
}

/* Never the worker that made the copy, unless there is only one GPU. */
static unsigned int shard_comparer(const struct run *r, unsigned int shard)
{
	return (shard_worker(r, shard) + 1) % r->d->num_gpus;
}

static uint64_t round_add(const struct run *r, unsigned int worker)
{
	return (uint64_t)r->round * demo_workers(r->d) + worker + 1;
}

static void shard_submit(struct run *r, struct vsvm_job *job, unsigned int gpu,
			 struct demo_shard *shard)
{
	vsvm_job_checksum(job, &shard->got[0], shard->src, shard->len);
	run_submit(r, gpu, Q_CHECKSUM, job);
	vsvm_job_histogram(job, r->d->histogram, shard->src, shard->len);
	run_submit(r, gpu, Q_HISTOGRAM, job);
	vsvm_job_copy(job, shard->copy, shard->src, shard->len);
	run_submit(r, gpu, Q_COPY, job);
}

static void shard_by_cpu(struct run *r, struct demo_shard *shard)
{
	shard->got[0] = vsvm_checksum(shard->src, shard->len);
	for (size_t i = 0; i < shard->len; i++)
		atomic_inc(&r->d->histogram[shard->src[i]], 1);
	memcpy(shard->copy, shard->src, shard->len);
}

static void index_submit(struct run *r, struct vsvm_job *job, unsigned int gpu)
{
	struct demo *d = r->d;

	for (size_t i = gpu; i < d->num_nodes; i += demo_workers(d)) {
		vsvm_job_add(job, &d->nodes[i]->base.value, sizeof(uint64_t), round_add(r, gpu));
		if (job->num == job->max)
			run_submit(r, gpu, Q_INDEX, job);
	}
	if (job->num)
		run_submit(r, gpu, Q_INDEX, job);
}

static void index_by_cpu(struct run *r, unsigned int worker)
{
	struct demo *d = r->d;

	for (size_t i = worker; i < d->num_nodes; i += demo_workers(d))
		d->nodes[i]->base.value += round_add(r, worker);
}

static void chase_by_cpu(struct run *r, uint64_t *result)
{
	result[0] = 0;
	result[1] = 0;
	for (const struct vsvm_node *node = &r->d->head->base; node; node = node->next) {
		result[0]++;
		result[1] += node->value;
	}
}

/* What the GPUs must write over; the CPU writes here while they still map it. */
static void round_prepare(struct run *r)
{
	struct demo *d = r->d;

	for (unsigned int i = 0; i < d->num_shards; i++) {
		struct demo_shard *shard = &d->shards[i];

		shard->got[0] = ~shard->want;
		shard->got[1] = 0;
		memset(shard->copy, POISON, shard->len);
	}
	memset(d->histogram, 0, sizeof(d->want_histogram));
	memset(r->chase, POISON, sizeof(r->chase));

	for (unsigned int w = 0; w < demo_workers(d); w++) {
		size_t nodes = (d->num_nodes + demo_workers(d) - 1 - w) / demo_workers(d);

		d->node_added[w] += round_add(r, w);
		d->want_index_sum += round_add(r, w) * nodes;
	}
}

static void round_first(struct run *r, struct vsvm_job *job)
{
	struct demo *d = r->d;
	const unsigned int cpu = d->num_gpus;

	for (unsigned int gpu = 0; gpu < d->num_gpus; gpu++) {
		for (unsigned int i = 0; i < d->num_shards; i++)
			if (shard_worker(r, i) == gpu)
				shard_submit(r, job, gpu, &d->shards[i]);
		index_submit(r, job, gpu);
		for (unsigned int c = 0; c < DEMO_COUNTERS; c++)
			vsvm_job_atomic_add(job, d->counters[c], gpu + 1, COUNTER_ADDS);
		run_submit(r, gpu, Q_COUNTER, job);
		atomic_inc(&d->counter_added, (uint64_t)(gpu + 1) * COUNTER_ADDS);
	}

	for (unsigned int i = 0; i < d->num_shards; i++)
		if (shard_worker(r, i) == cpu)
			shard_by_cpu(r, &d->shards[i]);
	index_by_cpu(r, cpu);

	run_wait(r, Q_COPY);
	run_wait(r, Q_INDEX);
}

static void round_second(struct run *r, struct vsvm_job *job)
{
	struct demo *d = r->d;

	for (unsigned int gpu = 0; gpu < d->num_gpus; gpu++) {
		vsvm_job_chase(job, r->chase[gpu], &d->head->base, d->num_nodes + 1);
		run_submit(r, gpu, Q_INDEX, job);
		for (unsigned int i = 0; i < d->num_shards; i++) {
			struct demo_shard *shard = &d->shards[i];

			if (shard_comparer(r, i) != gpu)
				continue;
			vsvm_job_compare(job, &shard->got[1], shard->copy, shard->src, shard->len);
			run_submit(r, gpu, Q_COPY, job);
		}
	}
	chase_by_cpu(r, r->chase[d->num_gpus]);

	for (unsigned int queue = 0; queue < DEMO_QUEUES; queue++)
		run_wait(r, queue);
}

static void round_check(struct run *r)
{
	struct demo *d = r->d;

	for (unsigned int i = 0; i < d->num_shards; i++) {
		const struct demo_shard *shard = &d->shards[i];

		demo_check(d, CHECK_CHECKSUM, shard->got[0], shard->want, "checksum of shard", i);
		demo_check(d, CHECK_COMPARE, shard->got[1], ~0ULL,
			   "offset where a GPU sees a difference in shard", i);
		demo_check(d, CHECK_COPY, !memcmp(shard->copy, shard->src, shard->len), true,
			   "copy of shard", i);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(d->want_histogram); i++)
		demo_check(d, CHECK_HISTOGRAM, d->histogram[i], d->want_histogram[i],
			   "how often there is the byte", i);
	for (unsigned int w = 0; w < demo_workers(d); w++) {
		demo_check(d, CHECK_CHASE, r->chase[w][0], d->num_nodes,
			   "nodes found by worker", w);
		demo_check(d, CHECK_CHASE, r->chase[w][1], d->want_index_sum,
			   "sum found by worker", w);
	}
}

/* What can only be looked at when everybody has stopped. */
static void final_check(struct demo *d)
{
	for (size_t i = 0; i < d->num_nodes; i++) {
		const struct demo_node *node = d->nodes[i];
		uint64_t want = vsvm_checksum(d->file + node->offset, node->len) +
				d->node_added[i % demo_workers(d)];

		demo_check(d, CHECK_INDEX, node->base.value, want, "node", i);
	}
	for (unsigned int c = 0; c < DEMO_COUNTERS; c++)
		demo_check(d, CHECK_COUNTER, *d->counters[c], d->counter_added, "counter", c);
	for (size_t i = 0; i < d->num_blocks; i++)
		demo_check(d, CHECK_HEAP, demo_block_check(&d->blocks[i]), true,
			   "block of the heap", i);
}

/* --------------------------------------------------------------- the run */

static void collect(struct demo *d)
{
	for (unsigned int i = 0; i < d->num_gpus; i++) {
		struct demo_gpu *gpu = &d->gpus[i];
		struct drm_vsvm_error error;
		int ret;

		while (!vsvm_error_take(&gpu->vm, &error)) {
			vsvm_error_format(&error, gpu->last_error, sizeof(gpu->last_error));
			fprintf(stderr, "vsvm-demo: GPU %u: %s\n", i, gpu->last_error);
		}
		ret = vsvm_stats(&gpu->vm, &gpu->stats);
		if (ret) {
			fprintf(stderr, "vsvm-demo: GPU %u: reading counters: %s\n", i,
				strerror(-ret));
			atomic_set(&d->fatal, true);
		}
		/* These are the device's, and may be older than this run. */
		gpu->violations = gpu->stats.violations - gpu->before.violations;
		gpu->stats.copy_bytes_in -= gpu->before.copy_bytes_in;
		gpu->stats.copy_bytes_out -= gpu->before.copy_bytes_out;
		gpu->stats.copy_bytes_peer -= gpu->before.copy_bytes_peer;
		gpu->stats.vram_evictions -= gpu->before.vram_evictions;
		d->failed_jobs += gpu->stats.jobs_failed;
	}
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Never leaves while a GPU could still write to what is on this stack. */
void demo_run(struct demo *d)
{
	static uint64_t static_counter;
	struct run r = { .d = d };
	struct vsvm_job job;
	struct demo_churn *churn;
	double start = now();

	r.instrs = calloc(JOB_INSTRS, sizeof(*r.instrs));
	if (!r.instrs) {
		fprintf(stderr, "vsvm-demo: %s\n", strerror(ENOMEM));
		atomic_set(&d->fatal, true);
		return;
	}
	vsvm_job_init(&job, r.instrs, JOB_INSTRS);
	d->counters[2] = &static_counter;
	d->counters[3] = &r.counter;
	d->ran = true;

	churn = demo_churn_start(d);
	for (r.round = 0; r.round < d->rounds && !atomic_get(&d->fatal); r.round++) {
		round_prepare(&r);
		round_first(&r, &job);
		round_second(&r, &job);
		if (!atomic_get(&d->fatal))
			round_check(&r);
		if (!d->json)
			fprintf(stderr, "vsvm-demo: round %u of %u, %.1f s\n", r.round + 1,
				d->rounds, now() - start);
	}
	atomic_set(&d->stop, true);

	/*
	 * Threads that ran out of patience wait for the VMs to go; the counters
	 * go with them.
	 */
	if (atomic_get(&d->fatal)) {
		collect(d);
		demo_gpus_close(d);
		demo_churn_join(churn);
	} else {
		demo_churn_join(churn);
		collect(d);
		demo_gpus_close(d);
		final_check(d);
	}
	d->seconds = now() - start;
	free(r.instrs);
}
