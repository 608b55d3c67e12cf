// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What mock devices meet: memory of a real mm, and threads that work on it. See
 * gpusvm_mgr_mock.h.
 */

#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <asm/tlb.h>

#include "gpusvm_mgr_mock.h"

/* Memory. */

/**
 * gpusvm_mock_mmap() - Map memory in the test's mm
 * @env: The environment.
 * @pages: Size.
 * @prot: PROT_*.
 * @flags: MAP_*; MAP_ANONYMOUS and MAP_FIXED are added.
 *
 * Return: the address, aligned to MOCK_LARGE. The neighbours are free.
 */
unsigned long gpusvm_mock_mmap(struct gpusvm_mock_env *env, unsigned long pages,
			       unsigned long prot, unsigned long flags)
{
	unsigned long size = pages << PAGE_SHIFT;
	unsigned long addr = env->next_addr;

	env->next_addr += ALIGN(size, MOCK_LARGE) + MOCK_LARGE;
	KUNIT_ASSERT_EQ(env->test, addr,
			vm_mmap(NULL, addr, size, prot,
				flags | MAP_ANONYMOUS | MAP_FIXED, 0));
	return addr;
}

/**
 * gpusvm_mock_anon() - Map private anonymous memory, and write to each page
 * @env: The environment.
 * @pages: Size.
 *
 * Return: the address, aligned to MOCK_LARGE.
 */
unsigned long gpusvm_mock_anon(struct gpusvm_mock_env *env, unsigned long pages)
{
	unsigned long addr = gpusvm_mock_mmap(env, pages, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE);
	unsigned long i;

	for (i = 0; i < pages; i++)
		gpusvm_mock_poke(env, addr + i * PAGE_SIZE, i);
	return addr;
}

/**
 * gpusvm_mock_poke() - Write a byte as the CPU
 * @env: The environment.
 * @addr: Address.
 * @value: The byte.
 */
void gpusvm_mock_poke(struct gpusvm_mock_env *env, unsigned long addr, u8 value)
{
	KUNIT_ASSERT_EQ(env->test, 0, put_user(value, (u8 __user *)addr));
}

/**
 * gpusvm_mock_peek() - Read a byte as the CPU
 * @env: The environment.
 * @addr: Address.
 *
 * Return: the byte.
 */
u8 gpusvm_mock_peek(struct gpusvm_mock_env *env, unsigned long addr)
{
	u8 value = 0;

	KUNIT_ASSERT_EQ(env->test, 0, get_user(value, (u8 __user *)addr));
	return value;
}

/**
 * gpusvm_mock_page() - The page at an address
 * @env: The environment.
 * @addr: Address.
 * @write: As for a write.
 *
 * Return: the page; it is held until the end of the test, so that it is not
 * somebody else's in the meantime.
 */
struct page *gpusvm_mock_page(struct gpusvm_mock_env *env, unsigned long addr,
			      bool write)
{
	struct page *page = NULL;
	u32 id;

	KUNIT_ASSERT_EQ(env->test, 1,
			get_user_pages_fast(addr, 1, write ? FOLL_WRITE : 0, &page));
	if (xa_alloc(&env->pages, &id, page, xa_limit_32b, GFP_KERNEL)) {
		put_page(page);
		KUNIT_FAIL_AND_ABORT(env->test, "no memory");
	}
	return page;
}

/**
 * gpusvm_mock_zap() - Drop the pages of an interval, as MADV_DONTNEED does
 * @mm: The mm.
 * @addr: Address.
 * @len: Length, within one VMA.
 *
 * Takes the mmap lock for read, so that it runs beside faults and insertions.
 *
 * Return: 0, or -EFAULT where there is no VMA.
 */
int gpusvm_mock_zap(struct mm_struct *mm, unsigned long addr, unsigned long len)
{
	struct vm_area_struct *vma;
	int err = -EFAULT;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, addr);
	if (vma && addr + len <= vma->vm_end) {
		zap_vma_range(vma, addr, len);
		err = 0;
	}
	mmap_read_unlock(mm);
	return err;
}

/**
 * gpusvm_mock_mprotect() - Change the protection of an interval
 * @mm: The mm.
 * @addr: Address.
 * @len: Length, within one VMA.
 * @write: Writable, else read-only.
 *
 * Return: 0 or an errno.
 */
int gpusvm_mock_mprotect(struct mm_struct *mm, unsigned long addr,
			 unsigned long len, bool write)
{
	struct vm_area_struct *vma, *prev;
	struct mmu_gather tlb;
	vm_flags_t flags;
	int err = -EFAULT;

	mmap_write_lock(mm);
	VMA_ITERATOR(vmi, mm, addr);
	vma = vma_find(&vmi, addr + len);
	if (vma && vma->vm_start <= addr && addr + len <= vma->vm_end) {
		flags = write ? vma->vm_flags | VM_WRITE :
				vma->vm_flags & ~VM_WRITE;
		prev = vma_prev(&vmi);
		vma_iter_set(&vmi, addr);
		vma = vma_find(&vmi, addr + len);
		if (addr > vma->vm_start)
			prev = vma;
		tlb_gather_mmu(&tlb, mm);
		err = mprotect_fixup(&vmi, &tlb, vma, &prev, addr, addr + len,
				     flags);
		tlb_finish_mmu(&tlb);
	}
	mmap_write_unlock(mm);
	return err;
}

/* Threads. */

static int gpusvm_mock_thread_main(void *data)
{
	struct gpusvm_mock_thread *thread = data;
	struct mm_struct *mm = thread->env->mm;

	kthread_use_mm(mm);
	thread->ret = thread->func(thread);
	kthread_unuse_mm(mm);
	mmput(mm);
	complete(&thread->done);
	return 0;
}

/**
 * gpusvm_mock_thread() - Make a thread
 * @env: The environment.
 * @func: What it does; its result is in the @ret of the thread.
 *
 * Return: the thread, not started; it goes with the environment.
 */
struct gpusvm_mock_thread *
gpusvm_mock_thread(struct gpusvm_mock_env *env,
		   int (*func)(struct gpusvm_mock_thread *thread))
{
	struct gpusvm_mock_thread *thread;

	thread = kzalloc_obj(*thread);
	KUNIT_ASSERT_NOT_NULL(env->test, thread);
	thread->env = env;
	thread->func = func;
	init_completion(&thread->done);
	thread->task = kthread_create(gpusvm_mock_thread_main, thread, "gpusvm_mock");
	if (IS_ERR(thread->task)) {
		kfree(thread);
		thread = NULL;
	}
	KUNIT_ASSERT_NOT_NULL_MSG(env->test, thread, "no thread");
	get_task_struct(thread->task);
	/* Dropped by the thread. */
	mmget(env->mm);
	list_add_tail(&thread->node, &env->threads);
	return thread;
}

/**
 * gpusvm_mock_start() - Start a thread
 * @thread: The thread.
 */
void gpusvm_mock_start(struct gpusvm_mock_thread *thread)
{
	thread->started = true;
	wake_up_process(thread->task);
}

/**
 * gpusvm_mock_thread_done() - Is a thread through?
 * @thread: The thread.
 *
 * Return: true if it is.
 */
bool gpusvm_mock_thread_done(struct gpusvm_mock_thread *thread)
{
	return completion_done(&thread->done);
}

/**
 * gpusvm_mock_join() - Wait until a thread is through
 * @thread: The thread, started.
 *
 * Return: false after the limit.
 */
bool gpusvm_mock_join(struct gpusvm_mock_thread *thread)
{
	if (!wait_for_completion_timeout(&thread->done, GPUSVM_MOCK_LIMIT))
		return false;
	/* Once more for whoever else joins. */
	complete_all(&thread->done);
	return true;
}

static int gpusvm_mock_fault_func(struct gpusvm_mock_thread *thread)
{
	return gpusvm_mock_fault(thread->mock, thread->addr, thread->access);
}

/**
 * gpusvm_mock_fault_thread() - Make a thread that faults
 * @mock: The mock.
 * @addr: Address.
 * @access: What the device wants.
 *
 * Return: the thread, not started.
 */
struct gpusvm_mock_thread *
gpusvm_mock_fault_thread(struct gpusvm_mock *mock, unsigned long addr,
			 enum drm_gpusvm_access access)
{
	struct gpusvm_mock_thread *thread =
		gpusvm_mock_thread(mock->env, gpusvm_mock_fault_func);

	thread->mock = mock;
	thread->addr = addr;
	thread->access = access;
	return thread;
}

static int gpusvm_mock_munmap_func(struct gpusvm_mock_thread *thread)
{
	return vm_munmap(thread->addr, thread->len);
}

/**
 * gpusvm_mock_munmap_thread() - Make a thread that unmaps
 * @env: The environment.
 * @addr: Address.
 * @len: Length.
 *
 * Return: the thread, not started.
 */
struct gpusvm_mock_thread *
gpusvm_mock_munmap_thread(struct gpusvm_mock_env *env, unsigned long addr,
			  unsigned long len)
{
	struct gpusvm_mock_thread *thread =
		gpusvm_mock_thread(env, gpusvm_mock_munmap_func);

	thread->addr = addr;
	thread->len = len;
	return thread;
}

static int gpusvm_mock_zap_func(struct gpusvm_mock_thread *thread)
{
	return gpusvm_mock_zap(thread->env->mm, thread->addr, thread->len);
}

/**
 * gpusvm_mock_zap_thread() - Make a thread that drops pages
 * @env: The environment.
 * @addr: Address.
 * @len: Length, within one VMA.
 *
 * Return: the thread, not started.
 */
struct gpusvm_mock_thread *
gpusvm_mock_zap_thread(struct gpusvm_mock_env *env, unsigned long addr,
		       unsigned long len)
{
	struct gpusvm_mock_thread *thread =
		gpusvm_mock_thread(env, gpusvm_mock_zap_func);

	thread->addr = addr;
	thread->len = len;
	return thread;
}

static int gpusvm_mock_invalidate_func(struct gpusvm_mock_thread *thread)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, thread->event, 0, thread->env->mm,
				thread->addr, thread->addr + thread->len);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
	return 0;
}

/**
 * gpusvm_mock_invalidate_thread() - Make a thread that only invalidates
 * @env: The environment.
 * @addr: Address.
 * @len: Length.
 * @event: The event.
 *
 * It goes through the notifiers of the mm and changes nothing.
 *
 * Return: the thread, not started.
 */
struct gpusvm_mock_thread *
gpusvm_mock_invalidate_thread(struct gpusvm_mock_env *env, unsigned long addr,
			      unsigned long len, enum mmu_notifier_event event)
{
	struct gpusvm_mock_thread *thread =
		gpusvm_mock_thread(env, gpusvm_mock_invalidate_func);

	thread->addr = addr;
	thread->len = len;
	thread->event = event;
	return thread;
}
