// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What a device shows in debugfs, in its directory dri/vsvm.N; tests and tools
 * rely on names and formats.
 *
 * violations		number of violations, 0 can be written
 * suppress_flush	flushes that shall be acknowledged but not performed
 * flush_latency_us	how long a flush takes
 * fail_alloc		allocations of device memory that shall fail
 * fail_split		huge pages that shall not be split when they should
 * fail_page		allocations of system pages for eviction that shall fail
 * fail_copy		copies that shall fail
 * fail_map		DMA mappings of the driver's own that shall fail: of an object,
 *			of a system page for eviction
 * fail_skip		how many of what one of these five is about pass before: with
 *			n - 1 here and 1 there the nth one fails, and no other
 * window_ms		how long windows of races shall be held open
 * copy_mib_per_s	bandwidth of the copy engine, 0: as fast as it can
 * dma			what stands between the device and memory, and the DMA
 *			mappings in force, "name value" per line
 * evict		writing 1 evicts what is in the device's memory, once
 * stats		counters of the whole device, "name value" per line
 * vms			one line per VM, "name value" pairs
 * resvs		per VM a line with the number of its reservation object, then
 *			one line per fence in there
 * tlb			one line per TLB entry, "name value" pairs
 *
 * Where there is a real DMA engine:
 *
 * dma_memory		memory as that engine reaches it: the offset is a DMA address
 * check_every		every so many accesses one goes through it, 0: none
 * check_wrong		checks that shall look at another address
 */

#include <linux/debugfs.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/seq_file.h>

#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_file.h>

#include "vsvm_drv.h"

/* Longer than this is a mistake, not a test. */
#define VSVM_MAX_LATENCY_US	(10 * USEC_PER_SEC)

static int vsvm_violations_get(void *data, u64 *val)
{
	struct vsvm_device *dev = data;

	*val = atomic64_read(&dev->violations);
	return 0;
}

static int vsvm_violations_set(void *data, u64 val)
{
	struct vsvm_device *dev = data;

	if (val)
		return -EINVAL;
	atomic64_set(&dev->violations, 0);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(vsvm_violations_fops, vsvm_violations_get, vsvm_violations_set,
			 "%llu\n");

/* A counter that tests set and the device counts down. */
static int vsvm_atomic_get(void *data, u64 *val)
{
	*val = atomic_read(data);
	return 0;
}

static int vsvm_atomic_set(void *data, u64 val)
{
	if (val > INT_MAX)
		return -EINVAL;
	atomic_set(data, val);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(vsvm_atomic_fops, vsvm_atomic_get, vsvm_atomic_set, "%llu\n");

static int vsvm_evict_set(void *data, u64 val)
{
	if (val != 1)
		return -EINVAL;
	vsvm_vram_evict_some(data);
	vsvm_gem_evict_some(data);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(vsvm_evict_fops, NULL, vsvm_evict_set, "%llu\n");

static int vsvm_latency_get(void *data, u64 *val)
{
	struct vsvm_device *dev = data;

	*val = READ_ONCE(dev->flush.latency_us);
	return 0;
}

static int vsvm_latency_set(void *data, u64 val)
{
	struct vsvm_device *dev = data;

	if (val > VSVM_MAX_LATENCY_US)
		return -EINVAL;
	WRITE_ONCE(dev->flush.latency_us, val);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(vsvm_latency_fops, vsvm_latency_get, vsvm_latency_set, "%llu\n");

static int vsvm_stats_show(struct seq_file *m, void *unused)
{
	struct vsvm_device *dev = m->private;
	unsigned int vms = 0, ring = 0, pending = 0, serving = 0, ready = 0, i;
	struct vsvm_queue *queue;
	struct vsvm_vm *vm;

	mutex_lock(&dev->vms_lock);
	spin_lock(&dev->lock);
	list_for_each_entry(vm, &dev->vms, link) {
		vms++;
		for (i = 0; i < VSVM_QUEUES; i++)
			pending += vm->faults[i].state == VSVM_FAULT_PENDING;
		serving += vm->serving;
	}
	list_for_each_entry(queue, &dev->ready, link)
		ready++;
	for (i = 0; i < dev->faults.size; i++)
		ring += dev->faults.slots[i].state == VSVM_FAULT_PENDING;
	spin_unlock(&dev->lock);
	mutex_unlock(&dev->vms_lock);

	seq_printf(m, "index %u\n", dev->index);
	seq_printf(m, "engines %u\n", dev->num_engines);
	seq_printf(m, "tlb_entries %u\n", vsvm_tlb_size(&dev->tlb));
	seq_printf(m, "vms %u\n", vms);
	seq_printf(m, "queues_ready %u\n", ready);
	seq_printf(m, "fault_ring %u\n", dev->faults.size);
	seq_printf(m, "faults_in_ring %u\n", ring);
	seq_printf(m, "faults_pending %u\n", pending);
	seq_printf(m, "faults_serving %u\n", serving);
	seq_printf(m, "jobs %lld\n", atomic64_read(&dev->jobs));
	seq_printf(m, "fault_batches %lld\n", atomic64_read(&dev->batches));
	seq_printf(m, "fault_overflows %lld\n", atomic64_read(&dev->overflows));
	seq_printf(m, "flushes %lld\n", atomic64_read(&dev->flushes));
	seq_printf(m, "flushes_merged %lld\n", atomic64_read(&dev->flushes_merged));
	seq_printf(m, "flushes_suppressed %lld\n", atomic64_read(&dev->flushes_suppressed));
	seq_printf(m, "violations %lld\n", atomic64_read(&dev->violations));
	seq_printf(m, "hive %u\n", dev->hive);
	seq_printf(m, "vram_size %llu\n", dev->vram.size);
	seq_printf(m, "vram_used %lld\n", atomic64_read(&dev->vram.used));
	seq_printf(m, "vram_mapped_runs %lld\n", atomic64_read(&dev->vram.mapped));
	seq_printf(m, "vram_evictions %lld\n", atomic64_read(&dev->vram.evictions));
	seq_printf(m, "vram_allocations %lld\n", atomic64_read(&dev->vram.allocations));
	seq_printf(m, "vram_arrivals %lld\n", atomic64_read(&dev->vram.arrivals));
	seq_printf(m, "vram_splits %lld\n", atomic64_read(&dev->vram.splits));
	seq_printf(m, "copies %lld\n", atomic64_read(&dev->copy.copies));
	seq_printf(m, "copies_failed %lld\n", atomic64_read(&dev->copy.failed));
	seq_printf(m, "copy_bytes_in %lld\n", atomic64_read(&dev->copy.bytes_in));
	seq_printf(m, "copy_bytes_out %lld\n", atomic64_read(&dev->copy.bytes_out));
	seq_printf(m, "copy_bytes_peer %lld\n", atomic64_read(&dev->copy.bytes_peer));
	seq_printf(m, "gem_moves %lld\n", atomic64_read(&dev->gem.moves));
	seq_printf(m, "copy_bytes_cleared %lld\n", atomic64_read(&dev->copy.bytes_cleared));
	vsvm_edu_show(m, dev);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vsvm_stats);

static int vsvm_vms_show(struct seq_file *m, void *unused)
{
	struct vsvm_device *dev = m->private;
	struct vsvm_vm *vm;

	mutex_lock(&dev->vms_lock);
	list_for_each_entry(vm, &dev->vms, link) {
		struct vsvm_vm_stats *stats = &vm->stats;

		seq_printf(m, "vm %u asid %u pid %d comm %s flags 0x%x dead %d unfinished %u jobs %lld failed %lld faults %lld merged %lld batches %lld tlb_hits %lld tlb_misses %lld tlb_flushes %lld tables %d\n",
			   vm->id, vm->asid, vm->pid, vm->comm, vm->flags, -READ_ONCE(vm->dead),
			   READ_ONCE(vm->unfinished),
			   atomic64_read(&stats->jobs), atomic64_read(&stats->jobs_failed),
			   atomic64_read(&stats->faults),
			   atomic64_read(&stats->faults_merged),
			   atomic64_read(&stats->batches), atomic64_read(&stats->tlb_hits),
			   atomic64_read(&stats->tlb_misses),
			   atomic64_read(&stats->tlb_flushes),
			   atomic_read(&vm->pt.tables));
	}
	mutex_unlock(&dev->vms_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vsvm_vms);

static int vsvm_resvs_show(struct seq_file *m, void *unused)
{
	struct vsvm_device *dev = m->private;
	struct dma_resv_iter cursor;
	struct dma_fence *fence;
	struct vsvm_vm *vm;

	mutex_lock(&dev->vms_lock);
	list_for_each_entry(vm, &dev->vms, link) {
		struct dma_resv *resv = vm->bind.resv->resv;

		seq_printf(m, "vm %u pid %d resv %u\n", vm->id, vm->pid,
			   vsvm_resv_id(vm->bind.resv));
		dma_resv_lock(resv, NULL);
		/* All of them, dma_resv_describe() leaves ours out. */
		dma_resv_for_each_fence(&cursor, resv, DMA_RESV_USAGE_BOOKKEEP, fence)
			dma_fence_describe(fence, m);
		dma_resv_unlock(resv);
	}
	mutex_unlock(&dev->vms_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vsvm_resvs);

static int vsvm_tlb_show(struct seq_file *m, void *unused)
{
	struct vsvm_device *dev = m->private;
	unsigned int i;

	for (i = 0; i < vsvm_tlb_size(&dev->tlb); i++) {
		struct vsvm_tlb_entry e;

		spin_lock(&dev->tlb.lock);
		e = dev->tlb.entries[i];
		spin_unlock(&dev->tlb.lock);
		if (e.asid)
			seq_printf(m, "asid %u va 0x%llx size 0x%llx addr 0x%llx write %d cookie 0x%llx spared %d\n",
				   e.asid, e.t.va, vsvm_pt_level_size(e.t.level), e.t.addr,
				   e.t.write, e.t.cookie, e.t.spared);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vsvm_tlb);

static int vsvm_dma_show(struct seq_file *m, void *unused)
{
	struct vsvm_device *dev = m->private;
	unsigned int mappings = 0;
	struct vsvm_vm *vm;

	mutex_lock(&dev->vms_lock);
	list_for_each_entry(vm, &dev->vms, link)
		mappings += vsvm_police_count(&vm->police);
	mutex_unlock(&dev->vms_lock);

	seq_printf(m, "iommu %s\n", vsvm_mem_dma_name(dev));
	seq_printf(m, "mappings %u\n", mappings);
	seq_printf(m, "mask 0x%llx\n", dma_get_mask(dev->drm.dev));
	seq_printf(m, "skew %u\n", dev->mem.num_skew);
	seq_printf(m, "engine %s\n", dev->edu.mmio ? "edu" : "none");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vsvm_dma);

/*
 * No lock is held where the memory of the caller is touched, and no more than one
 * transfer is done for one call: the rest is for the next one.
 */
static ssize_t vsvm_dma_memory_read(struct file *file, char __user *data, size_t size,
				    loff_t *pos)
{
	struct vsvm_device *dev = file->private_data;
	size_t len = min(size, VSVM_EDU_MAX);
	void *buf;
	int ret;

	if (!len)
		return 0;
	buf = kmalloc(len, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	ret = vsvm_edu_read(&dev->edu, *pos, buf, len);
	if (!ret && copy_to_user(data, buf, len))
		ret = -EFAULT;
	kfree(buf);
	if (ret)
		return ret;
	*pos += len;
	return len;
}

static ssize_t vsvm_dma_memory_write(struct file *file, const char __user *data, size_t size,
				     loff_t *pos)
{
	struct vsvm_device *dev = file->private_data;
	size_t len = min(size, VSVM_EDU_MAX);
	void *buf;
	int ret;

	if (!len)
		return 0;
	buf = memdup_user(data, len);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	ret = vsvm_edu_write(&dev->edu, *pos, buf, len);
	kfree(buf);
	if (ret)
		return ret;
	*pos += len;
	return len;
}

static const struct file_operations vsvm_dma_memory_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = vsvm_dma_memory_read,
	.write = vsvm_dma_memory_write,
	.llseek = default_llseek,
};

/**
 * vsvm_debugfs_init() - Make the files of a device
 * @minor: Its primary minor; all minors share one directory.
 */
void vsvm_debugfs_init(struct drm_minor *minor)
{
	struct dentry *root = minor->debugfs_root;
	struct vsvm_device *dev = to_vsvm(minor->dev);

	debugfs_create_file_unsafe("violations", 0644, root, dev, &vsvm_violations_fops);
	debugfs_create_file_unsafe("suppress_flush", 0600, root, &dev->flush.suppress,
				   &vsvm_atomic_fops);
	debugfs_create_file_unsafe("flush_latency_us", 0644, root, dev, &vsvm_latency_fops);
	debugfs_create_file_unsafe("fail_alloc", 0600, root, &dev->vram.fail_alloc,
				   &vsvm_atomic_fops);
	debugfs_create_file_unsafe("fail_split", 0600, root, &dev->vram.fail_split,
				   &vsvm_atomic_fops);
	debugfs_create_file_unsafe("fail_page", 0600, root, &dev->vram.fail_page,
				   &vsvm_atomic_fops);
	debugfs_create_u32("window_ms", 0600, root, &dev->vram.window_ms);
	debugfs_create_file_unsafe("fail_copy", 0600, root, &dev->copy.fail,
				   &vsvm_atomic_fops);
	debugfs_create_file_unsafe("fail_map", 0600, root, &dev->mem.fail_map,
				   &vsvm_atomic_fops);
	debugfs_create_file_unsafe("fail_skip", 0600, root, &dev->fail_skip,
				   &vsvm_atomic_fops);
	debugfs_create_u32("copy_mib_per_s", 0644, root, &dev->copy.mib_per_s);
	debugfs_create_file_unsafe("evict", 0200, root, dev, &vsvm_evict_fops);
	debugfs_create_file("stats", 0444, root, dev, &vsvm_stats_fops);
	debugfs_create_file("vms", 0444, root, dev, &vsvm_vms_fops);
	debugfs_create_file("resvs", 0444, root, dev, &vsvm_resvs_fops);
	debugfs_create_file("tlb", 0400, root, dev, &vsvm_tlb_fops);
	debugfs_create_file("dma", 0444, root, dev, &vsvm_dma_fops);
	if (!dev->edu.mmio)
		return;
	debugfs_create_file("dma_memory", 0600, root, dev, &vsvm_dma_memory_fops);
	debugfs_create_u32("check_every", 0644, root, &dev->edu.check_every);
	debugfs_create_file_unsafe("check_wrong", 0600, root, &dev->edu.check_wrong,
				   &vsvm_atomic_fops);
}
