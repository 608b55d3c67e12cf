/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A model of the notifier protocol of drivers/gpu/drm/gpusvm_mgr, for SPIN.
 *
 * Documentation/gpu/drm-gpusvm-mgr-model.rst says what is modelled, ties each
 * step to the code and lists the bounds. tools/verification/gpusvm_mgr/run-model
 * runs it. Names in comments are those of the code, without "gpusvm_mgr_".
 *
 * Memory. SPIN itself is sequentially consistent, so what is touched outside of a
 * common lock lies in mem[] and is stored through a buffer per thread, which
 * another process, memory(), drains whenever it likes:
 *
 *   -DSC	no buffers
 *   -DTSO	first in, first out, atomic operations drain first: x86
 *   -DPSO	stores to different variables pass each other, but no store passes
 *		a release; atomic operations without a result are stores like
 *		others, a lock keeps nothing from being delayed into its section:
 *		what arm64 may do to stores
 *
 * Loads are done in program order. Where a barrier of the code orders loads, its
 * switch swaps them. Where a delayed store could only hide an error (PTEs and DMA
 * mappings that are made), it is done at once.
 *
 * Statements in one atomic are so because the code holds a lock, or because all
 * but one of them touch nothing that others see before the lock is released.
 */

/* ------------------------------------------------------------------- bounds */

#ifndef D
#define D	1	/* devices */
#endif
#ifndef R
#define R	1	/* range objects; each is used once */
#endif
#ifndef NP
#define NP	1	/* pages of a range; device faults are on page 0 */
#endif
#ifndef NI
#define NI	1	/* invalidations */
#endif
#ifndef NF
#define NF	1	/* fillers, a fault each */
#endif
#ifndef POOL
#define POOL	NI	/* finish objects */
#endif
#ifndef B
#define B	3	/* entries of a store buffer */
#endif
#ifndef FLUSHES
#define FLUSHES	0	/* spurious flushes that are under way at the beginning */
#endif

/* Events of an invalidation: bits, of which one is chosen. */
#define CLEAR	1	/* the page is replaced: MADV_DONTNEED, reclaim, migration */
#define UNMAP	2	/* munmap() */
#define REAP	4	/* CLEAR, but must not block: the OOM reaper */
#ifndef K0
#define K0	CLEAR
#endif
#ifndef K1
#define K1	CLEAR
#endif
#ifndef P1
#define P1	0	/* page of the second invalidation */
#endif
/* Devices of the fillers, and whether they write. */
#ifndef F0
#define F0	0
#endif
#ifndef F1
#define F1	(D - 1)
#endif
#ifndef F2
#define F2	0
#endif
#ifndef W0
#define W0	0
#endif
#ifndef W1
#define W1	0
#endif
#ifndef W2
#define W2	0
#endif

/* Threads, as numbers of buffers and bits. */
#define T_GC		(NI + NF)
#define T_DETACH	(NI + NF + 1)
#define T_CHANGE	(NI + NF + 1 + (DETACH))
#ifndef DETACH
#define DETACH	0	/* devices that are detached: those with the highest numbers */
#endif
#ifndef CHANGE
#define CHANGE	0	/* one change of attributes or of the mirror map, on device 0 */
#endif
#define NB		(NI + NF + 1 + (DETACH) + (CHANGE))

/* ------------------------------------------------------------------- memory */

#define V_MSEQ		0				/* mgr->notifier.invalidate_seq */
#define V_SLOT		1				/* the tree: range + 1 */
#define V_TLOCK		2				/* its lock */
#define V_RANGE(r)	(3 + (r) * (3 + 2 * D))
#define V_SSEQ(r)	(V_RANGE(r))			/* range->shadow.invalidate_seq */
#define V_READY(r)	(V_RANGE(r) + 1)
#define V_DEAD(r)	(V_RANGE(r) + 2)
#define V_PRES(r, d)	(V_RANGE(r) + 3 + (d))
#define V_DMA(r, d)	(V_RANGE(r) + 3 + D + (d))	/* in the IOMMU's tables */
#define V_PTE(d, p)	(3 + R * (3 + 2 * D) + (d) * NP + (p))
#define NV		(3 + R * (3 + 2 * D) + D * NP)

byte mem[NV];

#if !defined(SC) && !defined(TSO) && !defined(PSO)
#define TSO
#endif

#ifdef SC
#define EMPTY(t)	true
#define ACQ(t)		true
#define LD(t, v)	(mem[v])
#define ST(t, v, x)	mem[v] = (x)
#define ST_REL(t, v, x)	mem[v] = (x)
#else
byte bn[NB];		/* entries in use */
byte bv[NB * B];	/* variable; and */
#define REL	128	/* not before what is ahead of it */
byte bx[NB * B];	/* value */

#define AT(t, i)	((t) * B + (i))
#define EMPTY(t)	(bn[t] == 0)
#define HIT(t, i, v)	(bn[t] > (i) && (bv[AT(t, i)] & 127) == (v))
#define LD(t, v)	(HIT(t, 2, v) -> bx[AT(t, 2)] : \
			 (HIT(t, 1, v) -> bx[AT(t, 1)] : \
			  (HIT(t, 0, v) -> bx[AT(t, 0)] : mem[v])))
#define PUT(t, v, x)	bn[t] < B -> bv[AT(t, bn[t])] = (v); bx[AT(t, bn[t])] = (x); bn[t]++
#define ST(t, v, x)	PUT(t, v, x)
#ifdef TSO
#define ACQ(t)		EMPTY(t)
#define ST_REL(t, v, x)	PUT(t, v, x)
#else
#define ACQ(t)		true
#define ST_REL(t, v, x)	PUT(t, (v) | REL, x)
#endif
#endif

/* smp_mb(), and what implies it */
#define MB(t)		EMPTY(t)

/* ------------------------------------------------- the process and core mm */

/* struct mmu_notifier_subscriptions; under its spinlock */
byte subs = 2;			/* invalidate_seq */
byte invs;			/* active_invalidate_ranges */
byte sleep_subs;		/* threads on its wait queue */
bit registered = 1;
bit deferred;			/* a removal that the end of the epoch will do */

byte mm_readers;		/* mmap_lock; who writes does so in one step */
bit vma[NP] = 1;
byte cpte[NP];			/* the CPU's PTE: a page frame, 0: none */
byte next_pfn = 1;
short freed;			/* page frames that somebody else may have by now */
short dirty;			/* page frames that are dirty */
short wrote;			/* page frames that a device may have written */
byte window[NP];		/* invalidations that have returned and not ended */

/* ------------------------------------------------------------------ devices */

/* Under the instance lock: */
byte rd[D];			/* its readers */
bit wr[D];			/* its writer */
bit dead[D];
byte igen[D];			/* generation of attributes and mirror map */
byte fstart[D];			/* flush_started */
bit allowed[D] = 1;		/* the attributes, in a tree of their own */
bit forbidden[D];		/* the call that forbids it has returned */

byte freq[D];			/* the newest flush that the device was asked for */
byte fdone[D];			/* flush_done */
byte sleep_flush[D];		/* threads on flush_wait */
bit tlb[D * NP];		/* as much as a device may have cached: a PTE is cached at once */

bit slot[D] = 1;		/* mgr->slots[] */
bit detached[D];		/* no callback is allowed any more */
byte calls[D] = 1;		/* instance->active */

/* ------------------------------------------------------------------- ranges */

bit used[R];
byte kref[R];
bit gone[R];			/* freed */
bit fault_mutex[R];
bit snap[R];			/* range->snapshot, its sequence, whether it permits writes, */
byte snap_seq[R];
bit snap_write[R];
byte snap_pfn[R * NP];		/* and pages */
byte sleep_ready[R];		/* threads that wait for ready */
bit buried[R];			/* on the list of dead ranges, or taken from there */
bit queued[R];			/* on the list */

/* Mappings: under the instance lock, set with the fault mutex held, too. */
#define M(r, d)		((r) * D + (d))
bit linked[R * D];		/* on the list of the range */
bit ptes[R * D];
bit has_dma[R * D];
bit map_write[R * D];		/* mapped for writing */
#ifdef FREE
bit unlinked[R * D];		/* to be freed */
bit freed_map[R * D];		/* freed */
#endif

byte srcu;			/* readers, a bit per thread */
byte srcu_old;			/* those that detach waits for */
byte srcu_free;			/* those that the freeing of ranges waits for */
bit gc_lock;
bit attach_lock;
bit gc_pending;			/* gc_work is queued */
bit gc_running;
byte finishes = POOL;
byte alive;			/* threads that have not ended */

/* Lets others run within an atomic: where a switch takes the reason for it away. */
#if defined(BREAK_ZAP_THEN_FLUSH) || defined(BREAK_FINISH_LOCK)
#define YIELDS
byte yielded;
#endif
#define YIELD(t)	yielded = yielded | BIT(t); !(yielded & BIT(t))

/* Device 0 is one whose jobs do not fault, and filler 0 submits one. */
#ifdef FENCED
byte stops;			/* under the instance lock */
bit stale = 1;			/* likewise */
bit job;			/* a fence has not signalled */
#endif

#define BIT(t)		(1 << (t))
#define live(r)		assert(!gone[r])
#define callback(d)	assert(!detached[d])

/* The device has the page in its reach from here on. */
inline expose(r_, d_, p_)
{
	/* I-1: not while it is being taken away, and not what was given away */
	assert(window[p_] == 0);
	assert(!(freed & BIT(snap_pfn[(r_) * NP + p_])));
	assert(!forbidden[d_]);
	mem[V_PTE(d_, p_)] = snap_pfn[(r_) * NP + p_];
	tlb[(d_) * NP + p_] = 1;
	if
	:: snap_write[r_] -> wrote = wrote | BIT(snap_pfn[(r_) * NP + p_])
	:: else
	fi
}

inline srcu_lock(t)
{
	atomic {
		MB(t) -> srcu = srcu | BIT(t)
	}
}

inline srcu_unlock(t)
{
	atomic {
		MB(t) ->
		srcu = srcu & ~BIT(t);
		srcu_old = srcu_old & ~BIT(t);
		srcu_free = srcu_free & ~BIT(t)
	}
}

#define CAN_WRITE(d)	(rd[d] == 0 && !wr[d])
#define CAN_READ(d)	(!wr[d])

/* flush_wait(): a wait queue, whose wake-up can be missed */
inline flush_wait(t, d_, g_)
{
	do
	:: fdone[d_] >= g_ -> break
	:: else ->
		sleep_flush[d_] = sleep_flush[d_] | BIT(t);
		if
		:: fdone[d_] >= g_ ->
			sleep_flush[d_] = sleep_flush[d_] & ~BIT(t);
			break
		:: else ->
			!(sleep_flush[d_] & BIT(t))
		fi
	od
}

/*
 * mapping_zap_some(), mapping_zap_range() and mapping_flush(), with the lock held
 * for write: x_ is the range + 1 or 0, p_ the page of the event. Ends with the
 * lock released. Called from within an atomic.
 */
inline zap_locked(t, d_, x_, p_, g_)
{
	callback(d_);
	if
	:: x_ != 0 && LD(t, V_PRES(x_ - 1, d_)) && linked[M(x_ - 1, d_)] &&
	   ptes[M(x_ - 1, d_)] ->
		live(x_ - 1);
#ifdef FENCED
		/* It would have to fault now. */
		assert(!job);
#ifndef BREAK_STALE
		stale = 1;
#endif
#endif
#if NP == 1
		ST(t, V_PTE(d_, 0), 0);
#else
#ifdef BREAK_ZAP_WHOLE
		ST(t, V_PTE(d_, p_), 0);
#else
		ST(t, V_PTE(d_, 0), 0);
		ST(t, V_PTE(d_, 1), 0);
#endif
#endif
		ptes[M(x_ - 1, d_)] = 0;
#ifdef BREAK_ZAP_CLEARS_BIT
		MB(t);
		mem[V_PRES(x_ - 1, d_)] = 0;
#endif
#ifdef BREAK_ZAP_THEN_FLUSH
		MB(t) -> wr[d_] = 0;
		YIELD(t);
		CAN_WRITE(d_) -> wr[d_] = 1;
#endif
		fstart[d_]++;
		g_ = fstart[d_];
#ifndef BREAK_PTE_BEFORE_FLUSH
		MB(t);
#endif
#ifdef BREAK_FLUSH
		fdone[d_] = g_
#else
		freq[d_] = g_
#endif
	:: else ->
#ifdef BREAK_NOTE_FLUSH
		g_ = 0
#else
		g_ = fstart[d_]
#endif
	fi;
	MB(t) -> wr[d_] = 0
}

/* fenced_stop(), fenced_go() */
inline fenced_stop(t)
{
#ifdef FENCED
	atomic {
		ACQ(t) && CAN_WRITE(0);
#ifndef BREAK_STOP
		stops++
#endif
	}
#else
	skip
#endif
}

inline fenced_go(t)
{
#ifdef FENCED
	atomic {
		ACQ(t) && CAN_WRITE(0);
#ifndef BREAK_STOP
		stops--
#endif
	}
#ifndef BREAK_STOP_WAKE
	sleep_flush[0] = 0
#endif
#else
	skip
#endif
}

/* fenced_pause() */
inline fenced_pause(t)
{
#if defined(FENCED) && !defined(BREAK_PAUSE)
	fenced_stop(t);
	!job
#else
	skip
#endif
}

inline fenced_resume(t)
{
#if defined(FENCED) && !defined(BREAK_PAUSE)
	fenced_go(t)
#else
	skip
#endif
}

/* zap_span() outside of the start pass, zap_range() */
inline zap_span(t, d_, x_, g_)
{
	atomic {
		ACQ(t) && CAN_WRITE(d_) -> wr[d_] = 1;
		x_ = LD(t, V_SLOT);
		zap_locked(t, d_, x_, 0, g_)
	}
}

inline zap_range(t, d_, r_, g_)
{
	atomic {
		ACQ(t) && CAN_WRITE(d_) -> wr[d_] = 1;
		zap_locked(t, d_, r_ + 1, 0, g_)
	}
}

/* mapping_unmap() and mapping_dma_unmap(), likewise */
inline unmap_locked(t, d_, x_)
{
	callback(d_);
	if
	:: x_ != 0 && LD(t, V_PRES(x_ - 1, d_)) ->
		live(x_ - 1);
		if
#ifndef BREAK_UNMAP_LIVE
		:: linked[M(x_ - 1, d_)] && ptes[M(x_ - 1, d_)]
#endif
		:: else ->
			if
			:: linked[M(x_ - 1, d_)] && has_dma[M(x_ - 1, d_)] ->
				/* The policeman: nothing points to it any more. */
				assert(!tlb[(d_) * NP]);
				assert(!mem[V_PTE(d_, 0)]);
#if NP > 1
				assert(!tlb[(d_) * NP + 1]);
				assert(!mem[V_PTE(d_, 1)]);
#endif
#ifndef BREAK_DIRTY
				if
				:: map_write[M(x_ - 1, d_)] -> dirty = dirty | wrote
				:: else
				fi;
#endif
#ifdef BREAK_FINISH_LOCK
				YIELD(t);
				assert(has_dma[M(x_ - 1, d_)]);
#endif
				has_dma[M(x_ - 1, d_)] = 0;
#ifndef BREAK_DMA_UNMAP
				ST(t, V_DMA(x_ - 1, d_), 0);
#endif
			:: else
			fi;
#if defined(TSO) || !defined(BREAK_UNMAP_BEFORE_BIT)
			MB(t);
#endif
			ST(t, V_PRES(x_ - 1, d_), 0)
		fi
	:: else
	fi;
	MB(t) -> wr[d_] = 0
}

inline unmap_span(t, d_, x_)
{
	atomic {
		ACQ(t) && CAN_WRITE(d_) -> wr[d_] = 1;
		x_ = LD(t, V_SLOT);
		unmap_locked(t, d_, x_)
	}
}

inline unmap_range(t, d_, r_)
{
	atomic {
		ACQ(t) && CAN_WRITE(d_) -> wr[d_] = 1;
		unmap_locked(t, d_, r_ + 1)
	}
}

/* range_put() */
inline range_put(r_)
{
	atomic {
		live(r_);
		assert(kref[r_] > 0);
		kref[r_]--
	}
}

/* range_bury(): the list is lock-free, with full barriers. One remover only. */
inline bury(t, r_)
{
	atomic {
		MB(t);
		live(r_);
		assert(!buried[r_]);
		buried[r_] = 1;
		queued[r_] = 1
	}
}

/* gc_remove() */
inline gc_remove(t, r_, d_, g_, pres_)
{
#ifndef BREAK_GC_SRCU
	srcu_lock(t);
#endif
#ifdef BREAK_ERASE_LAST
	tree_erase(t, r_);
#endif
	atomic {
#ifndef BREAK_GC_MB
		MB(t);
#endif
		live(r_);
		pres_ = LD(t, V_PRES(r_, 0));
#if D > 1
		pres_ = pres_ | (LD(t, V_PRES(r_, 1)) << 1);
#endif
	}
	d_ = 0;
	do
	:: d_ == D -> break
	:: d_ < D && !(pres_ & BIT(d_)) -> d_++
	:: d_ < D && (pres_ & BIT(d_)) ->
		if
		:: slot[d_] ->
			fenced_pause(t);
			zap_range(t, d_, r_, g_);
			fenced_resume(t);
#ifndef BREAK_GC_FLUSH
			flush_wait(t, d_, g_);
#endif
			unmap_range(t, d_, r_)
		:: else
		fi;
		d_++
	od;
#ifndef BREAK_ERASE_LAST
	tree_erase(t, r_);
#endif
	/* mapping_unlink(), with its warning */
	atomic {
		assert(!ptes[M(r_, 0)] && !has_dma[M(r_, 0)]);
#ifdef FREE
		unlinked[M(r_, 0)] = linked[M(r_, 0)];
#endif
		linked[M(r_, 0)] = 0;
#if D > 1
		assert(!ptes[M(r_, 1)] && !has_dma[M(r_, 1)]);
		linked[M(r_, 1)] = 0;
#endif
	}
#ifndef BREAK_GC_SRCU
	srcu_unlock(t);
#endif
	range_put(r_)
}

/* tree_erase(): that of the maple tree's lock is all that orders it */
inline tree_erase(t, r_)
{
	atomic {
		ACQ(t) && mem[V_TLOCK] == 0 ->
		mem[V_TLOCK] = 1;
		assert(mem[V_SLOT] == r_ + 1);
		ST(t, V_SLOT, 0);
		ST_REL(t, V_TLOCK, 0)
	}
}

/* gc_run() */
inline gc_run(t, r_, d_, g_, pres_, todo_)
{
	atomic {
		ACQ(t) && !gc_lock ->
#ifndef BREAK_GC_LOCK
		gc_lock = 1;
#endif
		todo_ = queued[0];
		queued[0] = 0;
#if R > 1
		todo_ = todo_ | (queued[1] << 1);
		queued[1] = 0;
#endif
	}
	r_ = 0;
	do
	:: r_ == R -> break
	:: r_ < R && !(todo_ & BIT(r_)) -> r_++
	:: r_ < R && (todo_ & BIT(r_)) ->
		gc_remove(t, r_, d_, g_, pres_);
		r_++
	od;
	atomic {
		MB(t) -> gc_lock = 0;
		r_ = 0;
		d_ = 0;
		g_ = 0;
		pres_ = 0;
		todo_ = 0
	}
}

/* ------------------------------------------------------------- invalidation */

/* What I-1 and I-8 say of the moment in which a start pass with its finish is over */
inline returned(p_, d_, r_)
{
	d_step {
		d_ = 0;
		do
		:: d_ == D -> break
		:: else ->
			assert(!tlb[d_ * NP + p_]);
			assert(!mem[V_PTE(d_, p_)]);
			r_ = 0;
			do
			:: r_ == R -> break
			:: else ->
				assert(!mem[V_DMA(r_, d_)]);
				r_++
			od;
			d_++
		od;
		d_ = 0;
		r_ = 0;
		window[p_]++
	}
}

/* gpusvm_mgr_invalidate_start(), _finish(), and around them the core mm */
proctype inv(byte t, kinds, p)
{
	byte kind, seq, x, d, r, pres, busy;
	byte gen[D];
	bit killed, fin;
#ifdef FENCED
	bit fenced;
#endif

	if
	:: kinds & CLEAR -> kind = CLEAR
	:: kinds & UNMAP -> kind = UNMAP
	:: kinds & REAP -> kind = REAP
	fi;

	/* munmap(): takes the VMA out with the lock for write, goes on with it for read */
	if
	:: kind == UNMAP ->
		atomic {
			mm_readers == 0 ->
			if
			:: vma[p] ->
				vma[p] = 0;
				mm_readers++
			:: else -> goto out
			fi
		}
	:: else
	fi;

	/* mn_itree_inv_start_range() */
	atomic {
		invs++;
		if
		:: registered -> subs = subs | 1
		:: else -> goto pagetable
		fi;
		seq = subs
	}

	/* invalidate_start() */
#ifndef BREAK_INV_SRCU
	srcu_lock(t);
#endif
#if !defined(BREAK_SET_FIRST) && !defined(BREAK_SET_ALWAYS)
	atomic {
		ST(t, V_MSEQ, seq)
	}
#endif

	/* start_mark() */
	atomic {
#if !defined(BREAK_START_MB) && !defined(BREAK_SET_FIRST) && !defined(BREAK_SET_ALWAYS)
		MB(t);
#endif
		x = LD(t, V_SLOT)
	}
#ifdef BREAK_SET_FIRST
	atomic {
		ST(t, V_MSEQ, seq)
	}
	MB(t);
#endif
#ifdef BREAK_SET_ALWAYS
	if
	:: x != 0 ->
		atomic {
			ST(t, V_MSEQ, seq)
		}
	:: else
	fi;
#endif
	if
	:: x == 0 -> goto end_start
	:: else
	fi;
	live(x - 1);
	if
	:: kind == UNMAP ->
		/* range_mark_dead() */
		atomic {
			MB(t);
#ifdef BREAK_MARK_ONCE
			killed = 1;
#else
			killed = !mem[V_DEAD(x - 1)];
#endif
			mem[V_DEAD(x - 1)] = 1
		}
#ifdef BREAK_BURY_LAST
		if
		:: killed -> bury(t, x - 1)
		:: else
		fi;
#endif
	:: else
	fi;
#ifndef BREAK_MARK_SEQ
	atomic {
		ST(t, V_SSEQ(x - 1), seq)
	}
#endif
#ifndef BREAK_MARK_MB
	MB(t);
#endif
#ifndef BREAK_BURY_LAST
	if
	:: killed -> bury(t, x - 1)
	:: else
	fi;
#endif
	atomic {
		live(x - 1);
		pres = LD(t, V_PRES(x - 1, 0));
#if D > 1
		pres = pres | (LD(t, V_PRES(x - 1, 1)) << 1);
#endif
		if
		:: pres == 0 -> goto end_start
		:: else
		fi
	}
#ifndef BREAK_REAP
	if
	:: kind == REAP ->
		srcu_unlock(t);
		goto end_inv
	:: else
	fi;
#else
	if
	:: kind == REAP -> goto end_start
	:: else
	fi;
#endif

	/* finish_get() */
	atomic {
		if
		:: finishes > 0 ->
			finishes--;
			fin = 1
		:: else -> fin = 0
		fi;
		d = 0
	}

	/* those whose lock is free */
	do
	:: d == D -> break
	:: d < D && !(pres & BIT(d)) -> d++
	:: d < D && (pres & BIT(d)) ->
		if
		:: !slot[d] -> pres = pres & ~BIT(d)
#ifdef FENCED
		:: slot[d] -> fenced = 1
#else
		:: slot[d] && fin ->
			if
			:: atomic {
				ACQ(t) && CAN_WRITE(d) -> wr[d] = 1;
				x = LD(t, V_SLOT);
				zap_locked(t, d, x, p, gen[d])
			   }
			:: rd[d] > 0 || wr[d] -> busy = busy | BIT(d)
			fi
		:: slot[d] && !fin -> busy = busy | BIT(d)
#endif
		fi;
		d++
	od;
	/* the others */
	d = 0;
	do
	:: d == D -> break
	:: d < D && !(busy & BIT(d)) -> d++
	:: d < D && (busy & BIT(d)) ->
		if
		:: !slot[d] -> pres = pres & ~BIT(d)
		:: slot[d] ->
			atomic {
				ACQ(t) && CAN_WRITE(d) -> wr[d] = 1;
				x = LD(t, V_SLOT);
				zap_locked(t, d, x, p, gen[d])
			}
#ifndef BREAK_INLINE
			/* start_zap() without a finish object */
			if
			:: !fin -> flush_wait(t, d, gen[d])
			:: else
			fi
#endif
		fi;
		d++
	od;
	d = 0;
	busy = 0;
#ifdef FENCED
	if
	:: fenced && slot[0] -> fenced_stop(t)
	:: else
	fi;
#endif

	/* invalidate_finish() */
#ifdef FENCED
	/* zap_fenced() */
	if
	:: fenced && slot[0] ->
#ifndef BREAK_QUIESCE
		!job;
#endif
		atomic {
			ACQ(t) && CAN_WRITE(0) -> wr[0] = 1;
			x = LD(t, V_SLOT);
			zap_locked(t, 0, x, p, gen[0])
		}
		if
		:: !fin -> flush_wait(t, 0, gen[0])
		:: else
		fi;
		fenced_go(t)
	:: else
	fi;
	fenced = 0;
#endif
#ifndef BREAK_FINISH_WAIT
	if
	:: fin ->
		do
		:: d == D -> break
		:: d < D && !(pres & BIT(d) && slot[d]) -> d++
		:: d < D && pres & BIT(d) && slot[d] ->
			flush_wait(t, d, gen[d]);
			d++
		od
	:: else
	fi;
#endif
	d = 0;
	do
	:: d == D -> break
	:: d < D && !(pres & BIT(d) && slot[d]) -> d++
	:: d < D && pres & BIT(d) && slot[d] ->
#ifdef BREAK_FINISH_LOCK
		atomic {
			ACQ(t) && CAN_READ(d) -> rd[d]++;
			x = LD(t, V_SLOT);
		}
		atomic {
			unmap_locked(t, d, x);
			rd[d]--
		}
#else
		unmap_span(t, d, x);
#endif
		d++
	od;
	atomic {
		d = 0;
		if
		:: fin -> finishes++
		:: else
		fi
	}

end_start:
	/* invalidate_end() */
#ifndef BREAK_QUEUE_WORK
	if
	:: killed -> gc_pending = 1
	:: else
	fi;
#endif
#ifndef BREAK_INV_SRCU
	srcu_unlock(t);
#endif
	atomic {
		x = 0;
		pres = 0;
		killed = 0;
		fin = 0;
		d = 0
		do
		:: d == D -> break
		:: else -> gen[d] = 0; d++
		od;
		d = 0
	}

pagetable:
	/*
	 * The core mm goes on: the PTE goes, the page is given away. What a device
	 * may have written is to be written back, and is known by the dirty mark.
	 */
	returned(p, d, r);
	d_step {
		if
		:: cpte[p] ->
			assert(!(wrote & BIT(cpte[p])) || (dirty & BIT(cpte[p])));
			freed = freed | BIT(cpte[p]);
			cpte[p] = 0
		:: else
		fi
	}
	window[p]--;

end_inv:
	/* mn_itree_inv_end() */
	atomic {
		invs--;
		if
#ifdef BREAK_EPOCH
		:: subs & 1 ->
#else
		:: invs == 0 && (subs & 1) ->
#endif
			subs++;
			if
			:: deferred ->
				deferred = 0;
				registered = 0
			:: else
			fi;
#ifndef BREAK_SUBS_WAKE
			sleep_subs = 0
#endif
		:: else
		fi;
		if
		:: kind == UNMAP -> mm_readers--
		:: else
		fi
	}
#ifdef REMAP
	/* mmap() at the same place */
	if
	:: kind == UNMAP ->
		atomic {
			mm_readers == 0 -> vma[p] = 1
		}
	:: else
	fi;
#endif
out:
	alive--
}

/* -------------------------------------------------------------------- fault */

/* mmu_interval_read_begin() of the shadow */
inline read_begin(t, r_, s_)
{
	atomic {
		live(r_);
		s_ = LD(t, V_SSEQ(r_));
#ifdef BREAK_READY_ACQUIRE
		s_ = (early -> early - 1 : s_);
		early = 0;
#endif
#ifndef BREAK_READ_BEGIN
		if
		:: s_ == subs ->
			do
			:: subs != s_ -> break
			:: else ->
				sleep_subs = sleep_subs | BIT(t);
				if
				:: subs != s_ ->
					sleep_subs = sleep_subs & ~BIT(t);
					break
				:: else ->
					!(sleep_subs & BIT(t))
				fi
			od
		:: else
		fi
#endif
	}
}

/* snapshot_walk(), hmm_range_fault_unlocked_timeout(); bad_: there is no memory */
inline walk(t, r_, s_, p_, write_, bad_)
{
	p_ = 0;
	do
	:: p_ == NP -> break
	:: else ->
		if
		:: p_ == 0 ->
			read_begin(t, r_, s_);
			mm_readers++
		:: else
		fi;
		atomic {
			if
			:: LD(t, V_SSEQ(r_)) != s_ ->
				/* -EBUSY: from the beginning */
				mm_readers--;
				p_ = 0
			:: else ->
				p_ = p_ + 10
			fi
		}
		if
		:: p_ < 10
		:: else ->
			/* the page table's lock; handle_mm_fault() where there is none */
			atomic {
				p_ = p_ - 10;
				if
				:: cpte[p_] == 0 && !vma[p_] ->
					bad_ = 1;
					mm_readers--;
					p_ = NP
				:: cpte[p_] == 0 && vma[p_] ->
					cpte[p_] = next_pfn;
					next_pfn++;
					/* and all over again, without waiting */
					if
					:: p_ > 0 ->
						p_ = 0;
						mm_readers--
					:: else -> mm_readers--
					fi
				:: else ->
					snap_pfn[(r_) * NP + p_] = cpte[p_];
					p_++;
					if
					:: p_ == NP ->
						mm_readers--;
						snap[r_] = 1;
						snap_seq[r_] = s_;
						snap_write[r_] = write_
					:: else
					fi
				fi
			}
		fi
	od;
	atomic {
		p_ = 0;
		s_ = 0
	}
}

/* mapping_revoke(); the fault mutex is held */
inline revoke(t, d_, r_, g_)
{
	fenced_pause(t);
	zap_range(t, d_, r_, g_);
	flush_wait(t, d_, g_);
	unmap_range(t, d_, r_);
	fenced_resume(t);
	g_ = 0
}

#define permits(r, d, write)	(!(write) || map_write[M(r, d)])

/* drm_gpusvm_mgr_fault() */
proctype fill(byte t, own, write)
{
	byte d = own;
#ifdef EAGER
	bit eager;
#endif
	byte x, r, s, p, g, pres, todo, gen;
	byte gr, gd;
	bit bad, undo;
#ifdef BREAK_READY_ACQUIRE
	byte early;
#endif

	/* instance_enter() */
	atomic {
		if
		:: calls[d] > 0 ->
#ifndef BREAK_ENTER
			calls[d]++
#endif
		:: else -> goto out
		fi
	}

#ifdef FENCED
submit:
	/* submit_prepare(); by way of the fault */
	do
	:: stops == 0 -> break
	:: else ->
		sleep_flush[0] = sleep_flush[0] | BIT(t);
		if
		:: stops == 0 ->
			sleep_flush[0] = sleep_flush[0] & ~BIT(t);
			break
		:: else ->
			!(sleep_flush[0] & BIT(t))
		fi
	od;
	if
	:: stale ->
#ifndef BREAK_STALE_LATE
		atomic {
			ACQ(t) && CAN_WRITE(d) -> stale = 0
		}
#endif
	:: else -> goto submitted
	fi;
#endif

again:
	/* attempt_group(): fault_translate(), fault_allowed() */
	atomic {
		if
		:: dead[d] -> goto leave
		:: else
		fi;
	}
	atomic {
		ACQ(t) && CAN_READ(d) -> gen = igen[d]
	}
	if
	:: !allowed[d] -> goto leave
	:: else
	fi;

	/* tree_find() */
#if defined(FREE) && !defined(BREAK_FIND_SRCU)
	srcu_lock(t);
#endif
	atomic {
		x = LD(t, V_SLOT);
#ifdef FREE
	}
	atomic {
#endif
		if
#ifdef BREAK_KREF
		:: x != 0 ->
			live(x - 1);
			assert(kref[x - 1] > 0);
			r = x - 1;
			kref[r]++
#endif
		:: x != 0 && kref[x - 1] > 0 ->
			live(x - 1);
			r = x - 1;
			kref[r]++
		:: x != 0 && kref[x - 1] == 0 ->
			live(x - 1);
			x = 0
		:: else
		fi
	}
#if defined(FREE) && !defined(BREAK_FIND_SRCU)
	srcu_unlock(t);
#endif
	if
	:: x == 0 -> goto insert
	:: else
	fi;
	x = 0;
#ifdef BREAK_READY_ACQUIRE
	early = LD(t, V_SSEQ(r)) + 1;
#endif
#ifndef BREAK_FIND_READY
	do
	:: LD(t, V_READY(r)) -> break
	:: else ->
		sleep_ready[r] = sleep_ready[r] | BIT(t);
		if
		:: LD(t, V_READY(r)) ->
			sleep_ready[r] = sleep_ready[r] & ~BIT(t);
			break
		:: else ->
			!(sleep_ready[r] & BIT(t))
		fi
	od;
#endif
	if
	:: LD(t, V_DEAD(r)) ->
		range_put(r);
		r = 0;
		gc_run(t, gr, gd, g, pres, todo);
		goto again
	:: else -> goto lock
	fi;

insert:
	/* range_lookup(), range_make() */
	atomic {
		if
#ifndef BREAK_INSERT_VMA
		:: !vma[0] -> goto leave
#endif
		:: else -> mm_readers++
		fi;
		/* the next object */
		r = 0;
		do
		:: r == R ->
			/* out of bounds */
			mm_readers--;
			r = 0;
			goto leave
		:: r < R && used[r] -> r++
		:: r < R && !used[r] ->
			used[r] = 1;
			kref[r] = 2;
			break
		od
	}
	/* tree_insert() */
#ifdef BREAK_STORE_FIRST
	s = LD(t, V_MSEQ);
#endif
#ifdef BREAK_READY
	atomic {
		s = LD(t, V_MSEQ);
		MB(t);
		mem[V_SSEQ(r)] = s;
		mem[V_READY(r)] = 1;
		s = 0
	}
#endif
	atomic {
		ACQ(t) && mem[V_TLOCK] == 0 ->
#ifndef BREAK_EEXIST
		if
		:: LD(t, V_SLOT) != 0 ->
			/* -EEXIST: look for that one */
			used[r] = 0;
			kref[r] = 0;
			mem[V_READY(r)] = 0;
			mem[V_SSEQ(r)] = 0;
			r = 0;
			s = 0;
			mm_readers--;
			goto again
		:: else
		fi;
#endif
		mem[V_TLOCK] = 1;
		ST(t, V_SLOT, r + 1);
		ST_REL(t, V_TLOCK, 0)
	}
#ifndef BREAK_STORE_FIRST
	atomic {
#ifndef BREAK_INSERT_MB
		MB(t);
#endif
		s = LD(t, V_MSEQ)
	}
#endif
	/* cmpxchg(): a full barrier where it succeeds */
#if defined(BREAK_CMPXCHG) || defined(BREAK_READY)
	atomic {
		ST(t, V_SSEQ(r), s)
	}
#else
	if
	:: atomic {
		mem[V_SSEQ(r)] == 0 && MB(t) -> mem[V_SSEQ(r)] = s
	   }
	:: atomic {
		mem[V_SSEQ(r)] != 0 && ACQ(t)
	   }
	fi;
#endif
	/* store_release_wake_up() */
	atomic {
		s = 0;
#ifdef BREAK_READY_RELEASE
		ST(t, V_READY(r), 1)
#else
		ST_REL(t, V_READY(r), 1)
#endif
	}
#ifdef BREAK_READY_WAKE
	if
	:: sleep_ready[r] -> sleep_ready[r] = 0
	:: else
	fi;
	MB(t);
#else
	atomic {
		MB(t) -> sleep_ready[r] = 0
	}
#endif
	mm_readers--;

lock:
	atomic {
		live(r);
		ACQ(t) && !fault_mutex[r] ->
#ifndef BREAK_FAULT_MUTEX
		fault_mutex[r] = 1
#endif
	}

	/* range_serve() */
	if
	:: LD(t, V_DEAD(r)) -> goto unlock_again
	:: else
	fi;
	if
	:: !allowed[d] -> goto unlock
	:: else
	fi;
#ifndef STEPS
	/* mapping_ready(); not in drm_gpusvm_mgr_range_map() */
	atomic {
		ACQ(t) && CAN_READ(d) ->
		if
		:: linked[M(r, d)] && ptes[M(r, d)] && !LD(t, V_DEAD(r)) &&
		   igen[d] == gen && permits(r, d, write) ->
			bad = 1;
			goto unlock
		:: else
		fi
	}
#endif

	/* snapshot_get(): snapshot_usable(), else a walk */
	if
#ifdef BREAK_USABLE
	:: snap[r] && (!write || snap_write[r])
#else
	:: snap[r] && LD(t, V_SSEQ(r)) == snap_seq[r] && (!write || snap_write[r])
#endif
	:: else ->
		walk(t, r, s, p, write, bad);
		if
		:: bad ->
			bad = 0;
			goto unlock
		:: else
		fi
	fi;

mapping_fill:
#ifndef BREAK_FILL_SRCU
	srcu_lock(t);
#endif
	/* mapping_get(), under range->lock */
	atomic {
		if
		:: linked[M(r, d)]
#ifndef BREAK_LINK_DEAD
		:: !linked[M(r, d)] && LD(t, V_DEAD(r)) -> goto failed
		:: !linked[M(r, d)] && !LD(t, V_DEAD(r)) -> linked[M(r, d)] = 1
#else
		:: else -> linked[M(r, d)] = 1
#endif
		fi
	}
#ifndef BREAK_OUTDATED
	/* mapping_outdated() */
	if
	:: atomic {
		ACQ(t) && CAN_READ(d) &&
		(ptes[M(r, d)] -> !permits(r, d, write) :
		 (has_dma[M(r, d)] && LD(t, V_SSEQ(r)) == snap_seq[r]))
	   } ->
		revoke(t, d, r, g)
	:: atomic {
		ACQ(t) && CAN_READ(d) &&
		!(ptes[M(r, d)] -> !permits(r, d, write) :
		  (has_dma[M(r, d)] && LD(t, V_SSEQ(r)) == snap_seq[r]))
	   }
	fi;
#endif

	/* mapping_commit() */
	atomic {
		ACQ(t) && CAN_READ(d) ->
		callback(d);
#ifdef FREE
		assert(!freed_map[M(r, d)]);
#endif
		if
#ifndef BREAK_COMMIT_DEAD_INSTANCE
		:: dead[d] -> goto failed
#endif
#ifndef BREAK_COMMIT_DEAD_RANGE
		:: LD(t, V_DEAD(r)) -> goto failed
#endif
#ifndef BREAK_COMMIT_GENERATION
		:: igen[d] != gen -> goto failed
#endif
#ifndef BREAK_COMMIT_PTES
		:: ptes[M(r, d)] ->
			if
			:: permits(r, d, write) -> bad = 1; goto failed
			:: else -> goto failed
			fi
#endif
		:: else
		fi;
#ifndef BREAK_COMMIT_LOCK
		rd[d]++
#endif
	}
#if !defined(BREAK_SET_BIT) && !defined(BREAK_NO_BIT)
	/* set_bit() */
	atomic {
#ifdef TSO
		MB(t);
		mem[V_PRES(r, d)] = 1
#else
		ST(t, V_PRES(r, d), 1)
#endif
	}
#endif
	atomic {
#if !defined(BREAK_COMMIT_MB) && !defined(BREAK_SET_BIT)
		MB(t);
#endif
		live(r);
#ifdef BREAK_RECHECK
		bad = 0;
#else
		bad = LD(t, V_SSEQ(r)) != snap_seq[r];
#endif
	}
#ifdef BREAK_SET_BIT
	atomic {
		ST(t, V_PRES(r, d), 1)
	}
#endif
	if
	:: bad ->
		bad = 0;
#ifdef BREAK_LEAVE_BIT
		atomic {
			ST(t, V_PRES(r, d), 0)
		}
#endif
		atomic {
			MB(t);
#ifndef BREAK_COMMIT_LOCK
			rd[d]--;
#endif
			goto failed
		}
	:: else
	fi;
	atomic {
		/* WARN_ON_ONCE(mapping->pages.flags.has_dma_mapping) */
		assert(!has_dma[M(r, d)]);
		map_write[M(r, d)] = snap_write[r];
		has_dma[M(r, d)] = 1;
		mem[V_DMA(r, d)] = 1;
#ifdef MAP_FAILS
		if
		:: undo = 1
		:: undo = 0
		fi;
		if
		:: undo ->
			/* &drm_gpusvm_instance_ops.map has failed */
			ptes[M(r, d)] = 1
		:: else ->
#endif
			callback(d);
			ptes[M(r, d)] = 1;
			expose(r, d, 0);
#if NP > 1
			expose(r, d, 1);
#endif
#ifdef MAP_FAILS
		fi
#endif
	}
	atomic {
		MB(t);
#ifndef BREAK_COMMIT_LOCK
		rd[d]--;
#endif
	}
#ifdef MAP_FAILS
	if
	:: undo ->
		undo = 0;
#ifndef BREAK_UNDO
		revoke(t, d, r, g)
#endif
	:: else
	fi;
#endif
	bad = 1;

failed:
	/* bad: it is mapped, or it is an error; nothing to look at again */
#ifndef BREAK_FILL_SRCU
	srcu_unlock(t);
#endif
	if
	:: bad -> goto unlock
	:: else
	fi;
#ifdef EAGER
	/* What fails is left to a fault of its own. */
	if
	:: eager -> goto unlock
	:: else
	fi;
#endif

unlock_again:
	atomic {
		MB(t);
		fault_mutex[r] = 0
	}
	range_put(r);
	atomic {
		r = 0;
		gen = 0;
		goto again
	}

unlock:
#ifdef EAGER
	if
	:: eager ->
		/* done with it: instance_exit() */
		atomic {
#ifndef BREAK_EAGER_ENTER
			calls[d]--;
#endif
			d = own;
			gen = 0;
			bad = 0;
			eager = 0
		}
	:: !eager && bad ->
		/* fill_eager(): the other one, while the range is locked */
#ifndef BREAK_EAGER_SRCU
		srcu_lock(t);
#endif
		bad = 0;
		if
		:: slot[1 - own] ->
			/* instance_enter() */
			atomic {
				callback(1 - own);
				if
#ifndef BREAK_EAGER_ENTER
				:: !dead[1 - own] && calls[1 - own] > 0 ->
					calls[1 - own]++;
#else
				:: !dead[1 - own] ->
#endif
					d = 1 - own;
					eager = 1
				:: else
				fi
			}
		:: else
		fi;
#ifndef BREAK_EAGER_SRCU
		srcu_unlock(t);
#endif
		if
		:: eager ->
			/* fill_one(), mapping_ready() */
			atomic {
				ACQ(t) && CAN_READ(d) ->
				callback(d);
				gen = igen[d]
			}
			if
			:: allowed[d] && !ptes[M(r, d)] && snap[r] &&
			   LD(t, V_SSEQ(r)) == snap_seq[r] -> goto mapping_fill
			:: else -> goto unlock
			fi
		:: else
		fi
	:: !eager && !bad
	fi;
#endif
	atomic {
		MB(t);
		fault_mutex[r] = 0
	}
	range_put(r);

#ifdef FENCED
	if
	:: !bad -> goto leave
	:: else -> bad = 0
	fi;
#ifdef BREAK_STALE_LATE
	atomic {
		ACQ(t) && CAN_WRITE(d) -> stale = 0
	}
#endif
submitted:
	/* submit_begin(), submit_end() */
	atomic {
		ACQ(t) && CAN_READ(d) ->
		gen = 0;
		r = 0;
		if
		:: dead[d] -> goto leave
#ifndef BREAK_SUBMIT
		:: else ->
			if
			:: stops || stale -> goto submit
			:: else -> rd[d]++
			fi
#else
		:: else -> rd[d]++
#endif
		fi
	}
	job = 1;
	rd[d]--;
#endif

leave:
	/* instance_exit() */
	atomic {
		MB(t);
#ifndef BREAK_ENTER
		calls[d]--;
#endif
		r = 0;
		gen = 0;
		bad = 0
	}
out:
	alive--
}

/* ------------------------------------------------------------- gc_work, SRCU */

#ifdef FENCED
/* The job: its fence waits for nothing. */
active proctype run_job()
{
end:
	do
	:: job ->
		assert(mem[V_PTE(0, 0)]);
		job = 0
	od
}
#endif

active proctype gc()
{
	byte gr, gd, g, pres, todo;

end:
	do
	:: atomic {
		gc_pending ->
		gc_pending = 0;
		gc_running = 1
	   }
		gc_run(T_GC, gr, gd, g, pres, todo);
		gc_running = 0
	od
}

#ifdef FREE
/* range_release(), range_free_rcu() */
active proctype free_range()
{
	byte r;

end:
	do
	:: atomic {
		kref[0] == 0 && used[0] && !gone[0] ->
		r = 0;
		srcu_free = srcu
	   }
		atomic {
			srcu_free == 0 -> gone[r] = 1
		}
#if R > 1
	:: atomic {
		kref[1] == 0 && used[1] && !gone[1] ->
		r = 1;
		srcu_free = srcu
	   }
		atomic {
			srcu_free == 0 -> gone[r] = 1;
			r = 0
		}
#endif
	/* mapping_free_rcu() of device 0's */
	:: atomic {
		unlinked[M(0, 0)] -> srcu_free = srcu
	   }
		atomic {
			srcu_free == 0 ->
			unlinked[M(0, 0)] = 0;
			freed_map[M(0, 0)] = 1
		}
#if R > 1
	:: atomic {
		unlinked[M(1, 0)] -> srcu_free = srcu
	   }
		atomic {
			srcu_free == 0 ->
			unlinked[M(1, 0)] = 0;
			freed_map[M(1, 0)] = 1
		}
#endif
	od
}
#endif

/* ------------------------------------------------------------------- detach */

#if DETACH > 0
#if D > 1
#define ALL_DETACHED	(detached[0] && detached[1])
#else
#define ALL_DETACHED	detached[0]
#endif

proctype detach(byte t, d)
{
	byte x, g, gr, gd, pres, todo;
	byte seq;

	/* instance_kill() */
	srcu_lock(t);
	fenced_pause(t);
#ifdef BREAK_KILL_DEAD
	zap_span(t, d, x, g);
	atomic {
		CAN_WRITE(d) -> dead[d] = 1
	}
#else
	atomic {
		ACQ(t) && CAN_WRITE(d) -> wr[d] = 1;
		dead[d] = 1;
		x = LD(t, V_SLOT);
		zap_locked(t, d, x, 0, g)
	}
#endif
	fenced_resume(t);
#ifndef BREAK_KILL_FLUSH
	flush_wait(t, d, g);
#endif
	unmap_span(t, d, x);
	srcu_unlock(t);
	/* what kill promises: nothing from here on, either, see expose() */
	d_step {
		assert(!tlb[d * NP]);
		assert(!mem[V_PTE(d, 0)]);
		g = 0;
		x = 0
	}

	/* detach() */
	atomic {
		calls[d]--
	}
#ifndef BREAK_DETACH_IDLE
	calls[d] == 0;
#endif
	atomic {
		!attach_lock -> attach_lock = 1
	}
	/* instance_unlink() */
	srcu_lock(t);
	atomic {
		x = LD(t, V_SLOT);
		if
		:: x != 0 ->
			live(x - 1);
			assert(!ptes[M(x - 1, d)] && !has_dma[M(x - 1, d)]);
#if defined(FREE) && D == 1
			unlinked[M(x - 1, d)] = linked[M(x - 1, d)];
#endif
			linked[M(x - 1, d)] = 0
		:: else
		fi
	}
	srcu_unlock(t);
	atomic {
		x = 0;
		slot[d] = 0;
		srcu_old = srcu
	}
#ifndef BREAK_DETACH_SYNC
	srcu_old == 0;
#endif
	detached[d] = 1;

	if
	:: ALL_DETACHED ->
		/* gc_all() */
#ifndef BREAK_GC_ALL
		srcu_lock(t);
		x = LD(t, V_SLOT);
		if
		:: x != 0 ->
			atomic {
				!fault_mutex[x - 1] -> fault_mutex[x - 1] = 1
			}
			/* range_kill() */
			atomic {
				live(x - 1);
				MB(t);
				if
				:: !mem[V_DEAD(x - 1)] ->
					mem[V_DEAD(x - 1)] = 1;
					bury(t, x - 1)
				:: else
				fi;
				fault_mutex[x - 1] = 0
			}
		:: else
		fi;
		srcu_unlock(t);
		x = 0;
#ifndef BREAK_GC_ALL_SYNC
		atomic {
			srcu_old = srcu
		}
		srcu_old == 0;
#endif
		gc_run(t, gr, gd, g, pres, todo);
		/* cancel_work_sync() */
		atomic {
			gc_pending = 0;
			!gc_running
		}
#endif
		/* mmu_interval_notifier_remove() */
		atomic {
			if
			:: subs & 1 ->
				deferred = 1;
				seq = subs
			:: else ->
				registered = 0
			fi
		}
		if
		:: seq -> subs != seq
		:: else
		fi;
		/* No range outlives the registration that its sequence is of. */
		assert(mem[V_SLOT] == 0)
	:: else
	fi;
	attach_lock = 0;
	alive--
}
#endif

/* ----------------------------------------- change of attributes, mirror map */

#if CHANGE > 0
proctype change(byte t, d)
{
	byte x, g;
	bit forbid;

	if
	:: forbid = 1
	:: forbid = 0
	fi;

	/* hints_change(): stored first */
#ifndef BREAK_CHANGE_ORDER
	if
	:: forbid -> allowed[d] = 0
	:: else
	fi;
#endif
	/* hints_effect() */
	srcu_lock(t);
	fenced_pause(t);
	atomic {
		ACQ(t) && CAN_WRITE(d) -> wr[d] = 1;
#ifndef BREAK_GENERATION
		igen[d]++;
#endif
		x = LD(t, V_SLOT);
		zap_locked(t, d, x, 0, g)
	}
	fenced_resume(t);
#ifdef BREAK_CHANGE_ORDER
	if
	:: forbid -> allowed[d] = 0
	:: else
	fi;
#endif
#ifndef BREAK_CHANGE_FLUSH
	flush_wait(t, d, g);
#endif
	/* "When the call returns", but for the tidying up */
	atomic {
		if
		:: forbid ->
			assert(!tlb[d * NP]);
			assert(!mem[V_PTE(d, 0)]);
			forbidden[d] = 1
		:: else
		fi;
		g = 0
	}
	/* mapping_tidy() */
	x = LD(t, V_SLOT);
	if
	:: x != 0 ->
		if
		:: LD(t, V_PRES(x - 1, d)) ->
			if
			:: atomic {
				ACQ(t) && !fault_mutex[x - 1] ->
#ifndef BREAK_TIDY_MUTEX
				fault_mutex[x - 1] = 1
#endif
			   }
				live(x - 1);
				if
				:: linked[M(x - 1, d)] && !ptes[M(x - 1, d)] ->
					revoke(t, d, x - 1, g)
				:: else
				fi;
#ifndef BREAK_TIDY_MUTEX
				atomic {
					MB(t);
					fault_mutex[x - 1] = 0
				}
#endif
			:: fault_mutex[x - 1]
			fi
		:: else
		fi
	:: else
	fi;
	x = 0;
	srcu_unlock(t);
	alive--
}
#endif

/* ------------------------------------------------------------------ devices */

/* The flush thread of a device, and flush_done() */
proctype device(byte d)
{
	byte g;

end:
	do
	:: atomic {
		freq[d] > fdone[d] ->
		g = freq[d]
	   }
#ifdef BREAK_DONE_EARLY
		fdone[d] = g;
#endif
		/* Entries go; what is in the page table may come again at once. */
		d_step {
			tlb[d * NP] = (mem[V_PTE(d, 0)] != 0);
#if NP > 1
			tlb[d * NP + 1] = (mem[V_PTE(d, 1)] != 0);
#endif
		}
		fdone[d] = g;
#ifndef BREAK_FLUSH_WAKE
		sleep_flush[d] = 0;
#endif
		g = 0
	od
}

/* ------------------------------------------------------------ store buffers */

#ifndef SC
#define FIRST(t)	AT(t, 0)
/* Takes entry i out. */
#define SHIFT(t, i) \
	mem[bv[AT(t, i)] & 127] = bx[AT(t, i)]; \
	k = (i); \
	do \
	:: k + 1 < bn[t] -> \
		bv[AT(t, k)] = bv[AT(t, k + 1)]; \
		bx[AT(t, k)] = bx[AT(t, k + 1)]; \
		k++ \
	:: else -> break \
	od; \
	bn[t]--; \
	bv[AT(t, bn[t])] = 0; \
	bx[AT(t, bn[t])] = 0; \
	k = 0

#define SAME(t, i, j)	((bv[AT(t, i)] & 127) == (bv[AT(t, j)] & 127))

#define DRAIN0(t) \
	:: d_step { bn[t] > 0 -> SHIFT(t, 0) }
#ifdef PSO
#define DRAIN1(t) \
	:: d_step { bn[t] > 1 && !(bv[AT(t, 1)] & REL) && !SAME(t, 0, 1) -> SHIFT(t, 1) }
#define DRAIN2(t) \
	:: d_step { bn[t] > 2 && !(bv[AT(t, 2)] & REL) && !SAME(t, 0, 2) && !SAME(t, 1, 2) -> \
		SHIFT(t, 2) }
#else
#define DRAIN1(t)
#define DRAIN2(t)
#endif
#define DRAIN(t)	DRAIN0(t) DRAIN1(t) DRAIN2(t)

active proctype memory()
{
	byte k;

end:
	do
	DRAIN(0)
	DRAIN(1)
#if NB > 2
	DRAIN(2)
#endif
#if NB > 3
	DRAIN(3)
#endif
#if NB > 4
	DRAIN(4)
#endif
#if NB > 5
	DRAIN(5)
#endif
#if NB > 6
	DRAIN(6)
#endif
	od
}
#endif

#ifdef YIELDS
active proctype yield()
{
end:
	do
	:: yielded -> yielded = 0
	od
}
#endif

/* ------------------------------------------------------- start and final look */

/*
 * When nothing moves any more: all have ended, no dead range is left, and what a
 * device has mapped is what the CPU has. If not all have ended this is a deadlock
 * or a wake-up that was lost.
 */
inline final_look()
{
	assert(alive == 0);
	assert(srcu == 0 && !gc_lock && mm_readers == 0 && finishes == POOL);
	assert(mem[V_SLOT] == 0 || !mem[V_DEAD(mem[V_SLOT] - 1)]);
	d = 0;
	do
	:: d == D -> break
	:: else ->
		assert(rd[d] == 0 && !wr[d]);
		/* What is mapped, or could be, is found by an invalidation. */
		p = 0;
		do
		:: p == R -> break
		:: else ->
			assert(!(linked[M(p, d)] || ptes[M(p, d)] || has_dma[M(p, d)]) ||
			       mem[V_SLOT] == p + 1);
			assert(!has_dma[M(p, d)] || mem[V_PRES(p, d)]);
			assert(!ptes[M(p, d)] || mem[V_PTE(d, 0)]);
			p++
		od;
		p = 0;
		do
		:: p == NP -> break
		:: else ->
			assert(!mem[V_PTE(d, p)] || mem[V_PTE(d, p)] == cpte[p]);
			p++
		od;
		d++
	od
}

init {
	byte d, p;

	atomic {
		/* What mmu_interval_notifier_insert() says where nothing is active. */
		mem[V_MSEQ] = 1;
		alive = NI + NF + DETACH + CHANGE;
		cpte[0] = next_pfn;
		next_pfn++;
#if NP > 1
		cpte[1] = next_pfn;
		next_pfn++;
#endif
		run device(0);
#if D > 1
		run device(1);
#endif
#if NI > 0
		run inv(0, K0, 0);
#endif
#if NI > 1
		run inv(1, K1, P1);
#endif
		run fill(NI, F0, W0);
#if NF > 1
		run fill(NI + 1, F1, W1);
#endif
#if NF > 2
		run fill(NI + 2, F2, W2);
#endif
#if DETACH > 0
		run detach(T_DETACH, D - 1);
#endif
#if DETACH > 1
		run detach(T_DETACH + 1, 0);
#endif
#if CHANGE > 0
		run change(T_CHANGE, 0);
#endif
	}
#ifndef NP_CYCLES
	/* Nobody can move. */
	timeout ->
	d_step {
		final_look()
	}
#endif
}
