// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Attr: the attributes of a process's address space, interval by interval. Pure:
 * knows neither ranges nor devices, so that it can be tested on UML.
 */

#include <linux/jhash.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/xarray.h>

#include "gpusvm_mgr_attr.h"
#include "gpusvm_mgr_break.h"

/**
 * DOC: The attribute store
 *
 * A maple tree maps intervals to values. There is one value of a kind, and no
 * two neighbours have the same one, so equal intervals are always one, and two
 * intervals are equal where the pointers are. The bounds of an interval are known
 * to the tree only: what is stored over a part of an interval splits it without
 * more ado. Where nothing was ever said there is nothing.
 *
 * A change is one of many pieces: for each interval that it meets, or gap
 * between two, the value becomes another one. All that is needed is allocated
 * first; then each run of pieces that end up equal, widened by a neighbour that
 * is the same, is one store. Should one of the stores lack memory, those before
 * it are taken back by stores that may not fail.
 *
 * Writers exclude each other by a lock of the caller's. Readers walk under RCU,
 * and get a copy; one that comes while a change is being stored may see it done
 * in part. Who acts on what it saw checks a generation later, see DOC: Advice.
 */

/* No user address; keeps the tree from ever being empty. */
#define GPUSVM_MGR_ATTR_SENTINEL	xa_mk_value(0)
#define GPUSVM_MGR_ATTR_LAST		(ULONG_MAX - 1)

/* What holds where nothing was said. */
const struct gpusvm_mgr_attr gpusvm_mgr_attr_default = {
	.placement = {
		.granularity = GPUSVM_MGR_GRANULARITY_DEFAULT,
		.residence_ms = GPUSVM_MGR_RESIDENCE_DEFAULT,
	},
};

static const struct gpusvm_mgr_attr *gpusvm_mgr_value_attr(const struct gpusvm_mgr_value *value)
{
	return value ? &value->attr : &gpusvm_mgr_attr_default;
}

static unsigned int gpusvm_mgr_planes_get(const u64 *planes, unsigned int count,
					  unsigned int slot)
{
	unsigned int value = 0, i;

	for (i = 0; i < count; i++)
		value |= (planes[i] >> slot & 1) << i;
	return value;
}

static void gpusvm_mgr_planes_set(u64 *planes, unsigned int count, unsigned int slot,
				  unsigned int value)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		planes[i] &= ~BIT_ULL(slot);
		if (value >> i & 1)
			planes[i] |= BIT_ULL(slot);
	}
}

/**
 * gpusvm_mgr_attr_access() - What may an instance do?
 * @attr: The attributes.
 * @slot: The instance's slot.
 *
 * Return: its access.
 */
struct gpusvm_mgr_access gpusvm_mgr_attr_access(const struct gpusvm_mgr_attr *attr,
						unsigned int slot)
{
	return (struct gpusvm_mgr_access) {
		.mode = gpusvm_mgr_planes_get(&attr->planes[GPUSVM_MGR_PLANE_MODE],
					      GPUSVM_MGR_PLANES_MODE, slot),
		.read_only = gpusvm_mgr_planes_get(&attr->planes[GPUSVM_MGR_PLANE_READ_ONLY],
						   GPUSVM_MGR_PLANES_READ_ONLY, slot),
		.atomics = gpusvm_mgr_planes_get(&attr->planes[GPUSVM_MGR_PLANE_ATOMICS],
						 GPUSVM_MGR_PLANES_ATOMICS, slot),
	};
}

/**
 * gpusvm_mgr_attr_mode_slots() - Which instances have a mode?
 * @attr: The attributes.
 * @mode: The mode.
 *
 * Return: a bit per slot.
 */
u64 gpusvm_mgr_attr_mode_slots(const struct gpusvm_mgr_attr *attr, unsigned int mode)
{
	u64 slots = U64_MAX;
	unsigned int i;

	for (i = 0; i < GPUSVM_MGR_PLANES_MODE; i++) {
		u64 plane = attr->planes[GPUSVM_MGR_PLANE_MODE + i];

		slots &= mode >> i & 1 ? plane : ~plane;
	}
	return slots;
}

static bool gpusvm_mgr_attr_equal(const struct gpusvm_mgr_attr *one,
				  const struct gpusvm_mgr_attr *two)
{
	return !memcmp(one, two, sizeof(*one));
}

static u32 gpusvm_mgr_attr_hash(const struct gpusvm_mgr_attr *attr)
{
	/* No padding: all members are compared and hashed as they lie there. */
	BUILD_BUG_ON(sizeof(*attr) != 8 + 8 * GPUSVM_MGR_PLANES);
	return jhash(attr, sizeof(*attr), 0);
}

/* The fields in which two differ. */
static unsigned int gpusvm_mgr_attr_diff(const struct gpusvm_mgr_attr *one,
					 const struct gpusvm_mgr_attr *two)
{
	unsigned int fields = 0, i;

	if (one->placement.location != two->placement.location)
		fields |= GPUSVM_MGR_FIELD_LOCATION;
	if (one->placement.policy != two->placement.policy)
		fields |= GPUSVM_MGR_FIELD_POLICY;
	if (one->placement.granularity != two->placement.granularity)
		fields |= GPUSVM_MGR_FIELD_GRANULARITY;
	if (one->placement.residence_ms != two->placement.residence_ms)
		fields |= GPUSVM_MGR_FIELD_RESIDENCE;

	for (i = 0; i < GPUSVM_MGR_PLANES; i++) {
		if (one->planes[i] == two->planes[i])
			continue;
		if (i < GPUSVM_MGR_PLANE_READ_ONLY)
			fields |= GPUSVM_MGR_FIELD_MODE;
		else if (i < GPUSVM_MGR_PLANE_ATOMICS)
			fields |= GPUSVM_MGR_FIELD_READ_ONLY;
		else
			fields |= GPUSVM_MGR_FIELD_ATOMICS;
	}
	return fields;
}

static void gpusvm_mgr_change_apply(const struct gpusvm_mgr_change *change,
				    struct gpusvm_mgr_attr *attr)
{
	struct gpusvm_mgr_placement *placement = &attr->placement;
	unsigned int fields = change->fields;

	if (fields & GPUSVM_MGR_FIELD_RESET)
		*attr = gpusvm_mgr_attr_default;

	/* Who says the same again has not changed it. */
	if (fields & GPUSVM_MGR_FIELD_LOCATION &&
	    placement->location != change->placement.location) {
		placement->location = change->placement.location;
		placement->writer = placement->location == GPUSVM_MGR_LOCATION_DEFAULT ?
			0 : change->slot + 1;
	}
	if (fields & GPUSVM_MGR_FIELD_POLICY)
		placement->policy = change->placement.policy;
	if (fields & GPUSVM_MGR_FIELD_GRANULARITY)
		placement->granularity = change->placement.granularity;
	if (fields & GPUSVM_MGR_FIELD_RESIDENCE)
		placement->residence_ms = change->placement.residence_ms;

	if (fields & GPUSVM_MGR_FIELD_MODE)
		gpusvm_mgr_planes_set(&attr->planes[GPUSVM_MGR_PLANE_MODE],
				      GPUSVM_MGR_PLANES_MODE, change->slot,
				      change->access.mode);
	if (fields & GPUSVM_MGR_FIELD_READ_ONLY)
		gpusvm_mgr_planes_set(&attr->planes[GPUSVM_MGR_PLANE_READ_ONLY],
				      GPUSVM_MGR_PLANES_READ_ONLY, change->slot,
				      change->access.read_only);
	if (fields & GPUSVM_MGR_FIELD_ATOMICS)
		gpusvm_mgr_planes_set(&attr->planes[GPUSVM_MGR_PLANE_ATOMICS],
				      GPUSVM_MGR_PLANES_ATOMICS, change->slot,
				      change->access.atomics);
}

/**
 * gpusvm_mgr_attrs_init() - Initialize an empty store
 * @attrs: The store.
 *
 * Return: 0, or -ENOMEM.
 */
int gpusvm_mgr_attrs_init(struct gpusvm_mgr_attrs *attrs)
{
	mt_init_flags(&attrs->mt, MT_FLAGS_USE_RCU);
	seqcount_spinlock_init(&attrs->seq, &attrs->mt.ma_lock);
	hash_init(attrs->values);
	attrs->nr_values = 0;
	attrs->nr_entries = 0;
	attrs->pins = 0;
	return mtree_insert(&attrs->mt, ULONG_MAX, GPUSVM_MGR_ATTR_SENTINEL, GFP_KERNEL);
}

/**
 * gpusvm_mgr_attrs_fini() - Release a store
 * @attrs: The store; no reader and no writer is left.
 */
void gpusvm_mgr_attrs_fini(struct gpusvm_mgr_attrs *attrs)
{
	struct gpusvm_mgr_value *value;
	struct hlist_node *next;
	int bucket;

	mtree_destroy(&attrs->mt);
	hash_for_each_safe(attrs->values, bucket, next, value, hash) {
		hash_del(&value->hash);
		kfree(value);
	}
	attrs->nr_values = 0;
}

/* The value of a kind; made where there is none. NULL for the default. */
static int gpusvm_mgr_value_get(struct gpusvm_mgr_attrs *attrs,
				const struct gpusvm_mgr_attr *attr, gfp_t gfp,
				struct gpusvm_mgr_value **value)
{
	u32 hash = gpusvm_mgr_attr_hash(attr);
	struct gpusvm_mgr_value *found;

	if (gpusvm_mgr_attr_equal(attr, &gpusvm_mgr_attr_default)) {
		*value = NULL;
		return 0;
	}

	hash_for_each_possible(attrs->values, found, hash, hash) {
		if (gpusvm_mgr_attr_equal(&found->attr, attr)) {
			*value = found;
			return 0;
		}
	}

	found = kzalloc_obj(*found, gfp);
	if (!found)
		return -ENOMEM;
	found->attr = *attr;
	hash_add(attrs->values, &found->hash, hash);
	attrs->nr_values++;
	*value = found;
	return 0;
}

static void gpusvm_mgr_value_pin(struct gpusvm_mgr_attrs *attrs,
				 struct gpusvm_mgr_value *value)
{
	if (!value)
		return;
	value->refs++;
	attrs->pins++;
}

static void gpusvm_mgr_value_unpin(struct gpusvm_mgr_attrs *attrs,
				   struct gpusvm_mgr_value *value)
{
	if (!value)
		return;
	attrs->pins--;
	if (--value->refs)
		return;
	hash_del(&value->hash);
	attrs->nr_values--;
	/* Readers may still have it. */
	kfree_rcu(value, rcu);
}

/*
 * The interval around an address: its value and its bounds. Under the RCU read lock.
 *
 * A store may move the bound between two intervals in place, also where readers use
 * RCU (mas_wr_slot_store()): the new value first, then the bound. A walk reads a bound
 * twice, to find the interval and to say where it begins, and so may end up beside the
 * address (seen on arm64); and where the two stores arrive the other way round it finds
 * a value there that the address had never. So what came of a walk that met a store is
 * thrown away. A store is short: it does not wait for memory. There is one writer at a
 * time, and it does more than that between two stores, so a walk meets a few of them at
 * most; with PREEMPT_RT a reader that meets one waits for its lock.
 */
static struct gpusvm_mgr_value *gpusvm_mgr_attrs_walk(struct gpusvm_mgr_attrs *attrs,
						      unsigned long addr,
						      unsigned long *start,
						      unsigned long *last)
{
	struct gpusvm_mgr_value *value;
	unsigned int seq;

	do {
		MA_STATE(mas, &attrs->mt, addr, addr);

		seq = read_seqcount_begin(&attrs->seq);
		value = mas_walk(&mas);
		*start = mas.index;
		*last = min(mas.last, GPUSVM_MGR_ATTR_LAST);
		gpusvm_mgr_window(GPUSVM_MGR_WINDOW_ATTR_WALKED, attrs);
	} while (read_seqcount_retry(&attrs->seq, seq) &&
		 !gpusvm_mgr_broken(GPUSVM_MGR_STEP_ATTR_RETRY));
	return value;
}

/* The tree's own store, which readers with @seq do not see happening. */
static int gpusvm_mgr_attrs_write(struct gpusvm_mgr_attrs *attrs, unsigned long start,
				  unsigned long last, struct gpusvm_mgr_value *value,
				  gfp_t gfp)
{
	MA_STATE(mas, &attrs->mt, start, last);
	int err;

	mas_lock(&mas);
	do {
		/* A store of nothing that failed has left others there. */
		__mas_set_range(&mas, start, last);
		write_seqcount_begin(&attrs->seq);
		mas_store(&mas, value);
		write_seqcount_end(&attrs->seq);
	} while (mas_nomem(&mas, gfp));
	mas_unlock(&mas);
	err = mas_is_err(&mas) ? xa_err(mas.node) : 0;
	mas_destroy(&mas);
	return err;
}

/* Fills in the pieces, or only counts them where there is no room for any. */
static unsigned int gpusvm_mgr_attrs_cut(struct gpusvm_mgr_attrs *attrs,
					 unsigned long start, unsigned long last,
					 struct gpusvm_mgr_piece *pieces)
{
	unsigned int count = 0;
	unsigned long addr = start;

	for (;;) {
		unsigned long first, end;
		struct gpusvm_mgr_value *value;

		rcu_read_lock();
		value = gpusvm_mgr_attrs_walk(attrs, addr, &first, &end);
		rcu_read_unlock();

		if (pieces)
			pieces[count] = (struct gpusvm_mgr_piece) {
				.start = addr,
				.last = min(end, last),
				.old = value,
			};
		count++;
		if (end >= last)
			return count;
		addr = end + 1;
	}
}

/*
 * What a store over an interval does to the references that entries hold: those
 * that lie in it whole go, one around it becomes two, and there is a new one.
 * With the sign turned round: undoes that, while the tree is as it was.
 */
static void gpusvm_mgr_attrs_account(struct gpusvm_mgr_attrs *attrs,
				     unsigned long start, unsigned long last,
				     struct gpusvm_mgr_value *value, int sign)
{
	MA_STATE(mas, &attrs->mt, start, start);
	struct gpusvm_mgr_value *entry;

	rcu_read_lock();
	mas_for_each(&mas, entry, last) {
		int left = mas.index < start, right = mas.last > last;

		entry->refs += sign * (left + right - 1);
		attrs->nr_entries += sign * (left + right - 1);
	}
	rcu_read_unlock();
	if (value) {
		value->refs += sign;
		attrs->nr_entries += sign;
	}
}

/*
 * Stores one value over an interval, together with a neighbour that has it
 * already. Values that lose their last entry here are pinned by the caller.
 */
static int gpusvm_mgr_attrs_store(struct gpusvm_mgr_attrs *attrs, unsigned long start,
				  unsigned long last, struct gpusvm_mgr_value *value,
				  gfp_t gfp)
{
	unsigned long first, end;
	int err;

	rcu_read_lock();
	if (value && start &&
	    gpusvm_mgr_attrs_walk(attrs, start - 1, &first, &end) == value)
		start = first;
	if (value && last < GPUSVM_MGR_ATTR_LAST &&
	    gpusvm_mgr_attrs_walk(attrs, last + 1, &first, &end) == value)
		last = end;
	rcu_read_unlock();

	gpusvm_mgr_attrs_account(attrs, start, last, value, 1);
	err = gpusvm_mgr_attrs_write(attrs, start, last, value, gfp);
	if (err) {
		/* It was not the value's last one: the caller has pinned it. */
		if (value) {
			value->refs--;
			attrs->nr_entries--;
		}
		gpusvm_mgr_attrs_account(attrs, start, last, NULL, -1);
	}
	return err;
}

/* Stores the pieces from @first on that end up equal; returns the one behind them. */
static int gpusvm_mgr_attrs_store_run(struct gpusvm_mgr_attrs *attrs,
				      const struct gpusvm_mgr_pieces *pieces,
				      unsigned int first, unsigned int *next, gfp_t gfp)
{
	const struct gpusvm_mgr_piece *piece = pieces->piece;
	struct gpusvm_mgr_value *value = piece[first].new;
	bool changed = false;
	unsigned int i;

	for (i = first; i < pieces->count && piece[i].new == value; i++)
		changed |= piece[i].old != value;
	*next = i;
	if (!changed)
		return 0;
	return gpusvm_mgr_attrs_store(attrs, piece[first].start, piece[i - 1].last,
				      value, gfp);
}

/* Puts back what the first @count pieces had. Cannot fail. */
static void gpusvm_mgr_attrs_undo(struct gpusvm_mgr_attrs *attrs,
				  const struct gpusvm_mgr_pieces *pieces,
				  unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		const struct gpusvm_mgr_piece *piece = &pieces->piece[i];

		if (piece->old != piece->new)
			gpusvm_mgr_attrs_store(attrs, piece->start, piece->last,
					       piece->old, GFP_KERNEL | __GFP_NOFAIL);
	}
}

/* The new value of a piece, and what is different then. */
static int gpusvm_mgr_piece_change(struct gpusvm_mgr_attrs *attrs,
				   const struct gpusvm_mgr_change *change,
				   struct gpusvm_mgr_pieces *pieces, unsigned int index,
				   gfp_t gfp)
{
	struct gpusvm_mgr_piece *piece = &pieces->piece[index];
	const struct gpusvm_mgr_attr *old = gpusvm_mgr_value_attr(piece->old);
	struct gpusvm_mgr_attr attr = *old;
	int err;

	gpusvm_mgr_change_apply(change, &attr);
	err = gpusvm_mgr_value_get(attrs, &attr, gfp, &piece->new);
	if (err)
		return err;

	gpusvm_mgr_value_pin(attrs, piece->old);
	gpusvm_mgr_value_pin(attrs, piece->new);
	piece->fields = gpusvm_mgr_attr_diff(old, &attr);
	if (piece->fields & GPUSVM_MGR_FIELD_LOCATION && old->placement.writer &&
	    attr.placement.writer && old->placement.writer != attr.placement.writer)
		pieces->conflicts++;
	return 0;
}

/**
 * gpusvm_mgr_attrs_change() - Change attributes over a span
 * @attrs: The store. The caller is its one writer.
 * @start: First address.
 * @last: Last address, inclusive, below ULONG_MAX.
 * @change: What to change.
 * @pieces: Out: what was changed; to be freed with gpusvm_mgr_pieces_free();
 *	others may change the store before that. Zeroed on failure.
 * @gfp: Where memory comes from, with %__GFP_DIRECT_RECLAIM. With %__GFP_NOFAIL
 *	the call cannot fail.
 *
 * Changes all of the span, or nothing. What keeps its value is not stored again.
 *
 * Return: 0; -ENOMEM; or -ENOSPC where there are too many intervals.
 */
int gpusvm_mgr_attrs_change(struct gpusvm_mgr_attrs *attrs, unsigned long start,
			    unsigned long last, const struct gpusvm_mgr_change *change,
			    struct gpusvm_mgr_pieces *pieces, gfp_t gfp)
{
	unsigned int count = gpusvm_mgr_attrs_cut(attrs, start, last, NULL);
	unsigned int done = 0, first = 0;
	int err;

	*pieces = (struct gpusvm_mgr_pieces){};
	if (attrs->nr_entries >= GPUSVM_MGR_ATTRS_MAX && !change->takes_back)
		return -ENOSPC;

	pieces->piece = kvmalloc_objs(*pieces->piece, count, gfp);
	if (!pieces->piece)
		return -ENOMEM;
	gpusvm_mgr_attrs_cut(attrs, start, last, pieces->piece);

	while (pieces->count < count) {
		err = gpusvm_mgr_piece_change(attrs, change, pieces, pieces->count, gfp);
		if (err)
			goto free_pieces;
		pieces->count++;
	}

	while (first < count) {
		done = first;
		err = gpusvm_mgr_attrs_store_run(attrs, pieces, done, &first, gfp);
		if (err)
			goto undo;
	}
	return 0;

undo:
	gpusvm_mgr_attrs_undo(attrs, pieces, done);
free_pieces:
	gpusvm_mgr_pieces_free(attrs, pieces);
	pieces->undone = done;
	return err;
}

/**
 * gpusvm_mgr_pieces_free() - Forget what was changed
 * @attrs: The store. The caller is its one writer.
 * @pieces: What gpusvm_mgr_attrs_change() returned.
 */
void gpusvm_mgr_pieces_free(struct gpusvm_mgr_attrs *attrs,
			    struct gpusvm_mgr_pieces *pieces)
{
	unsigned int i;

	for (i = 0; i < pieces->count; i++) {
		gpusvm_mgr_value_unpin(attrs, pieces->piece[i].old);
		gpusvm_mgr_value_unpin(attrs, pieces->piece[i].new);
	}
	kvfree(pieces->piece);
	*pieces = (struct gpusvm_mgr_pieces){};
}

/**
 * gpusvm_mgr_attrs_lookup() - The attributes at an address
 * @attrs: The store.
 * @addr: The address, below ULONG_MAX.
 * @attr: Out: a copy.
 * @start: Out: first address of the interval that has them.
 * @last: Out: its last address, inclusive.
 *
 * Takes no lock, does not sleep.
 */
void gpusvm_mgr_attrs_lookup(struct gpusvm_mgr_attrs *attrs, unsigned long addr,
			     struct gpusvm_mgr_attr *attr, unsigned long *start,
			     unsigned long *last)
{
	rcu_read_lock();
	*attr = *gpusvm_mgr_value_attr(gpusvm_mgr_attrs_walk(attrs, addr, start, last));
	rcu_read_unlock();
}

/**
 * gpusvm_mgr_attrs_any() - Was anything said of a span?
 * @attrs: The store.
 * @start: First address.
 * @last: Last address, inclusive.
 *
 * Takes no lock, does not sleep.
 *
 * Return: true if a part of it has attributes.
 */
bool gpusvm_mgr_attrs_any(struct gpusvm_mgr_attrs *attrs, unsigned long start,
			  unsigned long last)
{
	unsigned int seq;
	bool any;

	do {
		unsigned long index = start;

		seq = read_seqcount_begin(&attrs->seq);
		/* Never step onto the sentinel. */
		any = mt_find(&attrs->mt, &index, min(last, GPUSVM_MGR_ATTR_LAST));
	} while (read_seqcount_retry(&attrs->seq, seq));
	return any;
}

/**
 * gpusvm_mgr_attrs_next() - The next interval about which anything was said
 * @attrs: The store.
 * @addr: Where to look from.
 * @attr: Out: a copy of its attributes.
 * @start: Out: its first address, which is before @addr where it covers that.
 * @last: Out: its last address, inclusive.
 *
 * Takes no lock, does not sleep.
 *
 * Return: false: there is none at @addr or behind it.
 */
bool gpusvm_mgr_attrs_next(struct gpusvm_mgr_attrs *attrs, unsigned long addr,
			   struct gpusvm_mgr_attr *attr, unsigned long *start,
			   unsigned long *last)
{
	struct gpusvm_mgr_value *value;
	unsigned int seq;

	if (addr > GPUSVM_MGR_ATTR_LAST)
		return false;

	rcu_read_lock();
	do {
		MA_STATE(mas, &attrs->mt, addr, addr);

		seq = read_seqcount_begin(&attrs->seq);
		/* Never step onto the sentinel. */
		value = mas_find(&mas, GPUSVM_MGR_ATTR_LAST);
		*start = mas.index;
		*last = mas.last;
	} while (read_seqcount_retry(&attrs->seq, seq));
	if (value)
		*attr = value->attr;
	rcu_read_unlock();

	return value;
}

/**
 * gpusvm_mgr_attrs_validate() - Check the invariants of a store
 * @attrs: The store. The caller is its one writer.
 *
 * No default is stored, neighbours differ, each value is there once, and is
 * referred to by as many entries and pieces as it counts.
 *
 * Return: 0, or -EUCLEAN.
 */
int gpusvm_mgr_attrs_validate(struct gpusvm_mgr_attrs *attrs)
{
	MA_STATE(mas, &attrs->mt, 0, 0);
	struct gpusvm_mgr_value *value, *other, *previous = NULL;
	unsigned long end = 0, entries = 0, refs = 0;
	unsigned int values = 0;
	bool bad = false;
	int bucket;

	rcu_read_lock();
	mas_for_each(&mas, value, GPUSVM_MGR_ATTR_LAST) {
		bad |= gpusvm_mgr_attr_equal(&value->attr, &gpusvm_mgr_attr_default);
		bad |= previous == value && end == mas.index - 1;
		bad |= !value->refs;
		previous = value;
		end = mas.last;
		entries++;
	}
	rcu_read_unlock();

	hash_for_each(attrs->values, bucket, value, hash) {
		hash_for_each_possible(attrs->values, other, hash,
				       gpusvm_mgr_attr_hash(&value->attr))
			bad |= other != value &&
			       gpusvm_mgr_attr_equal(&other->attr, &value->attr);
		refs += value->refs;
		values++;
	}
	bad |= attrs->nr_entries != entries;
	bad |= refs != entries + attrs->pins || values != attrs->nr_values;

	return bad ? -EUCLEAN : 0;
}
