/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_MIRROR_H__
#define __GPUSVM_MGR_MIRROR_H__

#include <linux/interval_tree.h>
#include <linux/list.h>
#include <linux/rbtree.h>

/**
 * struct gpusvm_mgr_mirror - Which of a process's addresses a device sees where
 * @gpu: &struct gpusvm_mgr_mirror_span by address of the device; no two overlap.
 * @cpu: The same by address of the process; these may overlap.
 *
 * Protected by the instance lock.
 */
struct gpusvm_mgr_mirror {
	struct rb_root_cached gpu;
	struct rb_root_cached cpu;
};

/**
 * struct gpusvm_mgr_mirror_span - A span that is seen
 * @gpu: Addresses of the device.
 * @cpu: Addresses of the process.
 * @link: In the list of those to be freed.
 * @read_only: The device may not write there.
 */
struct gpusvm_mgr_mirror_span {
	struct interval_tree_node gpu;
	struct interval_tree_node cpu;
	struct list_head link;
	bool read_only;
};

/**
 * struct gpusvm_mgr_mirror_spares - What changes may need, allocated before
 * @spans: &struct gpusvm_mgr_mirror_span; those that went are here afterwards.
 */
struct gpusvm_mgr_mirror_spares {
	struct list_head spans;
};

void gpusvm_mgr_mirror_init(struct gpusvm_mgr_mirror *mirror);
void gpusvm_mgr_mirror_fini(struct gpusvm_mgr_mirror *mirror);
int gpusvm_mgr_mirror_spares_init(struct gpusvm_mgr_mirror_spares *spares,
				  unsigned int changes);
void gpusvm_mgr_mirror_spares_fini(struct gpusvm_mgr_mirror_spares *spares);
int gpusvm_mgr_mirror_add(struct gpusvm_mgr_mirror *mirror, unsigned long gpu,
			  unsigned long size, unsigned long cpu, bool read_only,
			  struct gpusvm_mgr_mirror_spares *spares);
void gpusvm_mgr_mirror_remove(struct gpusvm_mgr_mirror *mirror, unsigned long start,
			      unsigned long last,
			      struct gpusvm_mgr_mirror_spares *spares);
struct gpusvm_mgr_mirror_span *
gpusvm_mgr_mirror_translate(struct gpusvm_mgr_mirror *mirror, unsigned long gpu,
			    unsigned long *cpu);
struct gpusvm_mgr_mirror_span *
gpusvm_mgr_mirror_next_gpu(struct gpusvm_mgr_mirror *mirror,
			   struct gpusvm_mgr_mirror_span *span, unsigned long start,
			   unsigned long last);
struct gpusvm_mgr_mirror_span *
gpusvm_mgr_mirror_next_cpu(struct gpusvm_mgr_mirror *mirror,
			   struct gpusvm_mgr_mirror_span *span, unsigned long start,
			   unsigned long last);
int gpusvm_mgr_mirror_validate(struct gpusvm_mgr_mirror *mirror);

#endif /* __GPUSVM_MGR_MIRROR_H__ */
