// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * vsvm-demo: the file, its index on the heap, and what must come out
 *
 * The index is a list with a node for each small piece of the file. A node is
 * an ordinary malloc'ed structure. In between lie blocks that CPU threads free,
 * grow and write all the time, so that a page with nodes is seldom left alone.
 * The list is linked in a random order: following it goes all over the heap.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo.h"

#define PIECE_MIN	512U		/* bytes of the file for a node, at least */
#define NODES_MAX	65536U		/* and no more nodes than about this */
#define SHARD_MIN	4096U

int demo_data_open(struct demo *d)
{
	struct stat st;
	int ret;

	d->page_size = sysconf(_SC_PAGESIZE);
	d->file_fd = open(d->path, O_RDONLY | O_CLOEXEC);
	if (d->file_fd < 0 || fstat(d->file_fd, &st)) {
		ret = -errno;
		goto err_say;
	}
	ret = -EINVAL;
	if (!S_ISREG(st.st_mode) || !st.st_size)
		goto err_say;

	d->file_size = st.st_size;
	d->file_mapped = (d->file_size + d->page_size - 1) & ~(d->page_size - 1);
	d->file = mmap(NULL, d->file_mapped, PROT_READ, MAP_PRIVATE, d->file_fd, 0);
	if (d->file == MAP_FAILED) {
		ret = -errno;
		d->file = NULL;
		goto err_say;
	}
	return 0;

err_say:
	fprintf(stderr, "vsvm-demo: %s: %s\n", d->path,
		ret == -EINVAL ? "not a file with something in it" : strerror(-ret));
	return ret;
}

/* What is in a block is a function of its seed: nobody else may have been at it. */
static size_t block_step(const struct demo_block *block)
{
	return block->size > 4096 ? 512 : sizeof(uint64_t);
}

void demo_block_fill(const struct demo_block *block)
{
	for (size_t at = 0; at + 8 <= block->size; at += block_step(block))
		*(uint64_t *)((char *)block->mem + at) = block->seed + at;
}

bool demo_block_check(const struct demo_block *block)
{
	for (size_t at = 0; at + 8 <= block->size; at += block_step(block))
		if (*(uint64_t *)((char *)block->mem + at) != block->seed + at)
			return false;
	return true;
}

static int build_shards(struct demo *d)
{
	size_t num = DEMO_SHARDS_EACH * demo_workers(d), each;

	each = (d->file_size + num - 1) / num;
	if (each < SHARD_MIN)
		each = SHARD_MIN;
	num = (d->file_size + each - 1) / each;

	d->shards = calloc(num, sizeof(*d->shards));
	if (!d->shards)
		return -ENOMEM;
	d->num_shards = num;

	for (size_t i = 0; i < num; i++) {
		struct demo_shard *shard = &d->shards[i];

		shard->src = d->file + i * each;
		shard->len = i + 1 < num ? each : d->file_size - i * each;
		shard->want = vsvm_checksum(shard->src, shard->len);
		shard->got = calloc(2, sizeof(*shard->got));
		shard->copy_mem = malloc(shard->len + 8);
		if (!shard->got || !shard->copy_mem)
			return -ENOMEM;
		shard->copy = (uint8_t *)shard->copy_mem + i % 8;
	}
	for (size_t i = 0; i < d->file_size; i++)
		d->want_histogram[d->file[i]]++;
	return 0;
}

static int build_index(struct demo *d)
{
	uint64_t random = d->seed;
	size_t piece = PIECE_MIN, num;
	struct demo_node **order;

	while (d->file_size / piece > NODES_MAX)
		piece *= 2;
	num = (d->file_size + piece - 1) / piece;

	d->nodes = calloc(num, sizeof(*d->nodes));
	d->blocks = calloc(num, sizeof(*d->blocks));
	d->node_added = calloc(demo_workers(d), sizeof(*d->node_added));
	if (!d->nodes || !d->blocks || !d->node_added)
		return -ENOMEM;

	for (size_t i = 0; i < num; i++) {
		struct demo_node *node = malloc(sizeof(*node) + demo_random_below(&random, 64));
		struct demo_block *block = &d->blocks[i];

		if (!node)
			return -ENOMEM;
		d->nodes[d->num_nodes++] = node;
		node->offset = i * piece;
		node->len = i + 1 < num ? piece : d->file_size - i * piece;
		node->base.next = NULL;
		node->base.value = vsvm_checksum(d->file + node->offset, node->len);
		d->want_index_sum += node->base.value;

		block->size = 16 + demo_random_below(&random, 256);
		block->seed = demo_random(&random);
		block->mem = malloc(block->size);
		if (!block->mem)
			return -ENOMEM;
		d->num_blocks++;
		demo_block_fill(block);
	}

	order = malloc(num * sizeof(*order));
	if (!order)
		return -ENOMEM;
	memcpy(order, d->nodes, num * sizeof(*order));
	for (size_t i = num - 1; i > 0; i--) {
		size_t with = demo_random_below(&random, i + 1);
		struct demo_node *node = order[i];

		order[i] = order[with];
		order[with] = node;
	}
	for (size_t i = 0; i + 1 < num; i++)
		order[i]->base.next = &order[i + 1]->base;
	d->head = order[0];
	free(order);
	return 0;
}

/* The counters on the stack and in static memory are those of demo_run(). */
int demo_data_build(struct demo *d)
{
	void *shared;
	int ret;

	ret = build_shards(d);
	if (!ret)
		ret = build_index(d);
	if (ret)
		goto out;

	d->histogram_mapped = 2 * d->page_size;
	shared = mmap(NULL, d->histogram_mapped, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		ret = -errno;
		goto out;
	}
	/* Across the edge of the two pages; the counter is the last word. */
	d->histogram = (uint64_t *)((char *)shared + d->page_size) - 128;
	d->counters[0] = (uint64_t *)((char *)shared + d->histogram_mapped) - 1;
	d->counters[1] = calloc(1, sizeof(uint64_t));
	if (!d->counters[1])
		ret = -ENOMEM;
out:
	if (ret)
		fprintf(stderr, "vsvm-demo: building the index: %s\n", strerror(-ret));
	return ret;
}

void demo_data_free(struct demo *d)
{
	for (unsigned int i = 0; i < d->num_shards; i++) {
		free(d->shards[i].got);
		free(d->shards[i].copy_mem);
	}
	free(d->shards);
	for (size_t i = 0; i < d->num_nodes; i++)
		free(d->nodes[i]);
	free(d->nodes);
	for (size_t i = 0; i < d->num_blocks; i++)
		free(d->blocks[i].mem);
	free(d->blocks);
	free(d->node_added);
	free(d->counters[1]);
	if (d->counters[0])
		munmap((char *)(d->counters[0] + 1) - d->histogram_mapped, d->histogram_mapped);
	if (d->file)
		munmap(d->file, d->file_mapped);
	if (d->file_fd >= 0)
		close(d->file_fd);
}
