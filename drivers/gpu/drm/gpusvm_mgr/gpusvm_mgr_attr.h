/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_ATTR_H__
#define __GPUSVM_MGR_ATTR_H__

#include <linux/bits.h>
#include <linux/gfp_types.h>
#include <linux/hashtable.h>
#include <linux/maple_tree.h>
#include <linux/rcupdate.h>
#include <linux/types.h>

/* Where data is preferred: a number, whose meaning is kept by gpusvm_mgr_advise.c. */
#define GPUSVM_MGR_LOCATION_DEFAULT	0
#define GPUSVM_MGR_LOCATION_SYSTEM	1
/* From here on: a device's memory. */
#define GPUSVM_MGR_LOCATION_DEVICE	2

/* No wish as to granularity, or residence. */
#define GPUSVM_MGR_GRANULARITY_DEFAULT	0xff
#define GPUSVM_MGR_RESIDENCE_DEFAULT	U32_MAX

/* What has been said of an instance's access; 0: what it was attached with. */
#define GPUSVM_MGR_MODE_DEFAULT		0

/**
 * struct gpusvm_mgr_placement - Where the data of an interval should be
 * @location: GPUSVM_MGR_LOCATION_*.
 * @writer: Slot of the instance through which @location was set, plus one; 0
 *	where it is the default.
 * @policy: An &enum drm_gpusvm_migration.
 * @granularity: log2 of the pages that move at a time, at most.
 * @residence_ms: How long data stays before another device may have it.
 */
struct gpusvm_mgr_placement {
	u8 location;
	u8 writer;
	u8 policy;
	u8 granularity;
	u32 residence_ms;
};

/* The planes of &struct gpusvm_mgr_attr.planes; a field is one or more of them. */
#define GPUSVM_MGR_PLANE_MODE		0
#define GPUSVM_MGR_PLANES_MODE		3
#define GPUSVM_MGR_PLANE_READ_ONLY	3
#define GPUSVM_MGR_PLANES_READ_ONLY	1
#define GPUSVM_MGR_PLANE_ATOMICS	4
#define GPUSVM_MGR_PLANES_ATOMICS	2
#define GPUSVM_MGR_PLANES		6

/**
 * struct gpusvm_mgr_attr - All attributes of an interval
 * @placement: Of the process.
 * @planes: Of the instances: bit S of each plane belongs to the instance in slot
 *	S, so that all that are to be mapped eagerly are found at once.
 */
struct gpusvm_mgr_attr {
	struct gpusvm_mgr_placement placement;
	u64 planes[GPUSVM_MGR_PLANES];
};

/* What one instance may do with an interval. */
struct gpusvm_mgr_access {
	u8 mode;
	bool read_only;
	u8 atomics;
};

/* The fields that a change is about. */
#define GPUSVM_MGR_FIELD_LOCATION	BIT(0)
#define GPUSVM_MGR_FIELD_POLICY		BIT(1)
#define GPUSVM_MGR_FIELD_GRANULARITY	BIT(2)
#define GPUSVM_MGR_FIELD_RESIDENCE	BIT(3)
#define GPUSVM_MGR_FIELD_MODE		BIT(4)
#define GPUSVM_MGR_FIELD_READ_ONLY	BIT(5)
#define GPUSVM_MGR_FIELD_ATOMICS	BIT(6)
/* Everything, of all instances, becomes the default. */
#define GPUSVM_MGR_FIELD_RESET		BIT(7)

#define GPUSVM_MGR_FIELDS_PLACEMENT					\
	(GPUSVM_MGR_FIELD_LOCATION | GPUSVM_MGR_FIELD_POLICY |		\
	 GPUSVM_MGR_FIELD_GRANULARITY | GPUSVM_MGR_FIELD_RESIDENCE)
#define GPUSVM_MGR_FIELDS_ACCESS					\
	(GPUSVM_MGR_FIELD_MODE | GPUSVM_MGR_FIELD_READ_ONLY |		\
	 GPUSVM_MGR_FIELD_ATOMICS)

/**
 * struct gpusvm_mgr_change - What is to be changed
 * @fields: GPUSVM_MGR_FIELD_*.
 * @slot: Of the instance through which it is said.
 * @placement: New values, for the fields of the placement.
 * @access: New values, for the fields of the access.
 * @takes_back: All of them are the defaults: never refused for there being too many
 *	intervals.
 */
struct gpusvm_mgr_change {
	unsigned int fields;
	unsigned int slot;
	struct gpusvm_mgr_placement placement;
	struct gpusvm_mgr_access access;
	bool takes_back;
};

/**
 * struct gpusvm_mgr_value - Attributes that one or more intervals have
 * @attr: The attributes. Immutable once it is in the tree.
 * @refs: Entries of the tree that point here, and pieces that do.
 * @hash: To find those that are equal.
 * @rcu: For the freeing.
 */
struct gpusvm_mgr_value {
	struct gpusvm_mgr_attr attr;
	unsigned long refs;
	struct hlist_node hash;
	struct rcu_head rcu;
};

/**
 * struct gpusvm_mgr_piece - A part of a span, before and after a change
 * @start: First address.
 * @last: Last address, inclusive.
 * @old: Before; NULL: the default. With a reference
 * @new: After; likewise
 * @fields: GPUSVM_MGR_FIELD_* that are different.
 */
struct gpusvm_mgr_piece {
	unsigned long start;
	unsigned long last;
	struct gpusvm_mgr_value *old;
	struct gpusvm_mgr_value *new;
	unsigned int fields;
};

/**
 * struct gpusvm_mgr_pieces - What a change has changed
 * @piece: In ascending order; they cover the whole span.
 * @count: Number of these.
 * @conflicts: Those where a preference of another instance was overwritten.
 * @undone: The change has failed, and a part of it was in force for a moment.
 */
struct gpusvm_mgr_pieces {
	struct gpusvm_mgr_piece *piece;
	unsigned int count;
	unsigned int conflicts;
	bool undone;
};

/**
 * struct gpusvm_mgr_attrs - The attributes of a process
 * @mt: From address to &struct gpusvm_mgr_value; nothing there: the default. Has
 *	its own lock; never empty, as that of the ranges.
 * @seq: Odd while @mt is written to. Under @mt's lock
 * @values: All values, one of a kind. Protected by the caller's lock.
 * @nr_values: Number of these. Likewise
 * @nr_entries: Entries of the tree. Likewise
 * @pins: References that pieces hold. Likewise
 */
struct gpusvm_mgr_attrs {
	struct maple_tree mt;
	seqcount_spinlock_t seq;
	DECLARE_HASHTABLE(values, 6);
	unsigned int nr_values;
	unsigned long nr_entries;
	unsigned long pins;
};

/* Most intervals of a process; a change may end with a few more. */
#define GPUSVM_MGR_ATTRS_MAX	65536

extern const struct gpusvm_mgr_attr gpusvm_mgr_attr_default;

int gpusvm_mgr_attrs_init(struct gpusvm_mgr_attrs *attrs);
void gpusvm_mgr_attrs_fini(struct gpusvm_mgr_attrs *attrs);
int gpusvm_mgr_attrs_change(struct gpusvm_mgr_attrs *attrs, unsigned long start,
			    unsigned long last, const struct gpusvm_mgr_change *change,
			    struct gpusvm_mgr_pieces *pieces, gfp_t gfp);
void gpusvm_mgr_pieces_free(struct gpusvm_mgr_attrs *attrs,
			    struct gpusvm_mgr_pieces *pieces);
void gpusvm_mgr_attrs_lookup(struct gpusvm_mgr_attrs *attrs, unsigned long addr,
			     struct gpusvm_mgr_attr *attr, unsigned long *start,
			     unsigned long *last);
bool gpusvm_mgr_attrs_any(struct gpusvm_mgr_attrs *attrs, unsigned long start,
			  unsigned long last);
bool gpusvm_mgr_attrs_next(struct gpusvm_mgr_attrs *attrs, unsigned long addr,
			   struct gpusvm_mgr_attr *attr, unsigned long *start,
			   unsigned long *last);
int gpusvm_mgr_attrs_validate(struct gpusvm_mgr_attrs *attrs);

struct gpusvm_mgr_access gpusvm_mgr_attr_access(const struct gpusvm_mgr_attr *attr,
						unsigned int slot);
u64 gpusvm_mgr_attr_mode_slots(const struct gpusvm_mgr_attr *attr, unsigned int mode);

#endif /* __GPUSVM_MGR_ATTR_H__ */
