// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The real DMA engine: the one that QEMU's "edu" function has. It copies between
 * memory, by way of the IOMMU, and a buffer of its own, and is the one part of
 * these GPUs that is not a model: what it reaches is what a device reaches.
 *
 * It is slow (a tenth of a second for each transfer, whatever the size), and it
 * does not say that the IOMMU has turned it away: then the data does not arrive.
 * So before each read its buffer is filled with what the data is not likely to be.
 *
 * An access in the real engine is a *flight*. Like one of the model, it must be
 * over before a flush is acknowledged that covers its translation, but the gate
 * that the model's hold is a spinning lock, and nobody spins that long:
 *
 *	engine				flush thread
 *	------				------------
 *	gate (read)
 *	translation
 *	flight takes off
 *	gate (read) ends
 *					gate (write): TLB entry dropped
 *					flights so far: up to this one
 *	real transfer
 *					waits for those that overlap
 *	flight lands
 *					acknowledged: pages are unmapped
 *
 * A flight that takes off later has walked the page table later, which has no PTE
 * any more. A flight waits for the engine only, which answers in a bounded time
 * or is not asked again; it neither allocates nor touches user memory.
 */

#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/pci.h>
#include <linux/seq_file.h>

#include <drm/drm_print.h>

#include "vsvm_drv.h"

/* Registers; from EDU_DMA_SRC on, they are 64 bits wide. */
#define EDU_ID			0x00
#define EDU_ID_MASK		0xff
#define EDU_ID_EDU		0xed
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_ACK		0x64
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_CMD_RUN		BIT(0)
#define EDU_DMA_CMD_TO_MEMORY	BIT(1)
#define EDU_DMA_CMD_IRQ		BIT(2)
#define EDU_IRQ_DMA		0x100
#define EDU_BUFFER		0x40000

/* It takes 100 ms; the rest is for a machine that is busy otherwise. */
#define VSVM_EDU_TIMEOUT	(20 * HZ)

/**
 * vsvm_edu_init() - No engine yet
 * @edu: The engine.
 */
void vsvm_edu_init(struct vsvm_edu *edu)
{
	mutex_init(&edu->lock);
	mutex_init(&edu->check_lock);
	init_completion(&edu->done);
	spin_lock_init(&edu->flights_lock);
	INIT_LIST_HEAD(&edu->flights);
	init_waitqueue_head(&edu->landed);
}

static irqreturn_t vsvm_edu_irq(int irq, void *data)
{
	struct vsvm_edu *edu = data;
	u32 status = readl(edu->mmio + EDU_IRQ_STATUS);

	/* All ones: the function is not there any more. */
	if (!status || status == U32_MAX)
		return IRQ_NONE;

	writel(status, edu->mmio + EDU_IRQ_ACK);
	if (status & EDU_IRQ_DMA)
		complete(&edu->done);
	return IRQ_HANDLED;
}

static bool vsvm_edu_runs(struct vsvm_edu *edu)
{
	return readq(edu->mmio + EDU_DMA_CMD) & EDU_DMA_CMD_RUN;
}

/* One transfer between memory and the engine's buffer. */
static int vsvm_edu_transfer(struct vsvm_edu *edu, u64 addr, u32 len, bool to_memory)
{
	u64 cmd = EDU_DMA_CMD_RUN | EDU_DMA_CMD_IRQ;

	lockdep_assert_held(&edu->lock);

	if (edu->broken)
		return -EIO;

	reinit_completion(&edu->done);
	writeq(to_memory ? EDU_BUFFER : addr, edu->mmio + EDU_DMA_SRC);
	writeq(to_memory ? addr : EDU_BUFFER, edu->mmio + EDU_DMA_DST);
	writeq(len, edu->mmio + EDU_DMA_COUNT);
	writeq(to_memory ? cmd | EDU_DMA_CMD_TO_MEMORY : cmd, edu->mmio + EDU_DMA_CMD);

	if (!wait_for_completion_timeout(&edu->done, VSVM_EDU_TIMEOUT)) {
		if (vsvm_edu_runs(edu)) {
			struct vsvm_device *dev = container_of(edu, struct vsvm_device, edu);

			edu->broken = true;
			atomic64_inc(&edu->timeouts);
			/* Or it wakes up when the memory is somebody else's. */
			pci_clear_master(to_pci_dev(dev->drm.dev));
			return -ETIMEDOUT;
		}
		atomic64_inc(&edu->lost_irqs);
	}
	atomic64_inc(&edu->transfers);
	atomic64_add(len, &edu->bytes);
	return 0;
}

/**
 * vsvm_edu_read() - Read memory as the device
 * @edu: The engine, which is there.
 * @addr: DMA address.
 * @buf: Where to.
 * @len: Bytes, 1 to %VSVM_EDU_MAX.
 *
 * Takes three transfers: the first fills the engine's buffer with another byte
 * each time, which is what is found in @buf where the IOMMU turns the second one
 * away (or zeros). The caller holds no lock that a flush, or memory, waits for.
 *
 * Return: 0, -EIO or -ETIMEDOUT.
 */
int vsvm_edu_read(struct vsvm_edu *edu, u64 addr, void *buf, u32 len)
{
	int ret;

	mutex_lock(&edu->lock);
	/* Neither 0 nor what was used last, nor a byte that text is made of. */
	edu->poison = 0x80 | (edu->poison * 5 + 3);
	memset(edu->page, edu->poison, len);
	ret = vsvm_edu_transfer(edu, edu->page_addr, len, false);
	if (!ret)
		ret = vsvm_edu_transfer(edu, addr, len, false);
	if (!ret)
		ret = vsvm_edu_transfer(edu, edu->page_addr, len, true);
	if (!ret)
		memcpy(buf, edu->page, len);
	mutex_unlock(&edu->lock);
	return ret;
}

/**
 * vsvm_edu_write() - Write memory as the device
 * @edu: The engine, which is there.
 * @addr: DMA address.
 * @buf: Where from.
 * @len: Bytes, 1 to %VSVM_EDU_MAX.
 *
 * Takes two transfers. Where the IOMMU turns the second one away, nothing is
 * written and nothing is said. Otherwise like vsvm_edu_read().
 *
 * Return: 0, -EIO or -ETIMEDOUT.
 */
int vsvm_edu_write(struct vsvm_edu *edu, u64 addr, const void *buf, u32 len)
{
	int ret;

	mutex_lock(&edu->lock);
	memcpy(edu->page, buf, len);
	ret = vsvm_edu_transfer(edu, edu->page_addr, len, false);
	if (!ret)
		ret = vsvm_edu_transfer(edu, addr, len, true);
	mutex_unlock(&edu->lock);
	return ret;
}

/**
 * vsvm_edu_takeoff() - An access in the real engine begins
 * @edu: The engine.
 * @flight: The flight, to be filled in.
 * @vm: Whose.
 * @va: Virtual address.
 * @len: Bytes.
 *
 * The caller holds the VM's gate, since before it translated.
 */
void vsvm_edu_takeoff(struct vsvm_edu *edu, struct vsvm_flight *flight,
		      struct vsvm_vm *vm, u64 va, u32 len)
{
	lockdep_assert_held(&vm->gate);

	flight->vm = vm;
	flight->va = va;
	flight->len = len;
	spin_lock(&edu->flights_lock);
	flight->number = ++edu->last_flight;
	list_add_tail(&flight->link, &edu->flights);
	spin_unlock(&edu->flights_lock);
}

/**
 * vsvm_edu_land() - An access in the real engine has ended
 * @edu: The engine.
 * @flight: The flight.
 */
void vsvm_edu_land(struct vsvm_edu *edu, struct vsvm_flight *flight)
{
	spin_lock(&edu->flights_lock);
	list_del(&flight->link);
	/* Under the lock: the VM, and with it the device, may go after this. */
	wake_up_all(&edu->landed);
	spin_unlock(&edu->flights_lock);
}

static bool vsvm_edu_clear(struct vsvm_edu *edu, struct vsvm_vm *vm, u64 start, u64 end,
			   u64 number)
{
	struct vsvm_flight *flight;
	bool clear = true;

	spin_lock(&edu->flights_lock);
	list_for_each_entry(flight, &edu->flights, link) {
		if (flight->number > number)
			break;
		if (flight->vm == vm && flight->va < end && flight->va + flight->len > start) {
			clear = false;
			break;
		}
	}
	spin_unlock(&edu->flights_lock);
	return clear;
}

/**
 * vsvm_edu_wait() - Wait for flights through what a flush covers
 * @edu: The engine.
 * @vm: The VM; its gate was held for write after the TLB entries were dropped.
 * @start: First address.
 * @end: End address, exclusive.
 *
 * Later flights are not waited for.
 */
void vsvm_edu_wait(struct vsvm_edu *edu, struct vsvm_vm *vm, u64 start, u64 end)
{
	u64 number;

	spin_lock(&edu->flights_lock);
	number = edu->last_flight;
	spin_unlock(&edu->flights_lock);
	if (number)
		wait_event_idle(edu->landed, vsvm_edu_clear(edu, vm, start, end, number));
}

/**
 * vsvm_edu_start() - Take over the engine of a PCI function
 * @dev: The GPU.
 * @pdev: The function, enabled.
 *
 * Return: 0, or a negative errno; vsvm_edu_stop() undoes it.
 */
int vsvm_edu_start(struct vsvm_device *dev, struct pci_dev *pdev)
{
	struct vsvm_edu *edu = &dev->edu;
	void __iomem *mmio;
	int ret;

	mmio = pcim_iomap_region(pdev, 0, "vsvm");
	if (IS_ERR(mmio))
		return PTR_ERR(mmio);
	if ((readl(mmio) & EDU_ID_MASK) != EDU_ID_EDU) {
		drm_err(&dev->drm, "not an edu function: 0x%08x\n", readl(mmio + EDU_ID));
		return -ENODEV;
	}

	edu->model = devm_kmalloc(&pdev->dev, VSVM_ACCESS_MAX, GFP_KERNEL);
	edu->real = devm_kmalloc(&pdev->dev, VSVM_ACCESS_MAX, GFP_KERNEL);
	edu->page = dmam_alloc_coherent(&pdev->dev, PAGE_SIZE, &edu->page_addr, GFP_KERNEL);
	if (!edu->model || !edu->real || !edu->page)
		return -ENOMEM;

	ret = pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSI | PCI_IRQ_INTX);
	if (ret < 0)
		return ret;
	edu->msi = pdev->msi_enabled;
	edu->irq = pci_irq_vector(pdev, 0);
	edu->mmio = mmio;
	ret = request_irq(edu->irq, vsvm_edu_irq, edu->msi ? 0 : IRQF_SHARED, "vsvm", edu);
	if (ret) {
		edu->mmio = NULL;
		pci_free_irq_vectors(pdev);
	}
	return ret;
}

/**
 * vsvm_edu_stop() - Leave the engine alone
 * @dev: The GPU; nobody uses it any more, but for the flush thread.
 * @pdev: The function.
 */
void vsvm_edu_stop(struct vsvm_device *dev, struct pci_dev *pdev)
{
	struct vsvm_edu *edu = &dev->edu;

	drm_WARN_ON(&dev->drm, !list_empty(&edu->flights));
	/* Whatever it may still be at, it is not to be at it any more. */
	pci_clear_master(pdev);
	free_irq(edu->irq, edu);
	pci_free_irq_vectors(pdev);
}

/**
 * vsvm_edu_show() - Show its counters
 * @m: Where.
 * @dev: The GPU.
 */
void vsvm_edu_show(struct seq_file *m, struct vsvm_device *dev)
{
	struct vsvm_edu *edu = &dev->edu;

	seq_printf(m, "engine_msi %d\n", edu->msi);
	seq_printf(m, "engine_transfers %lld\n", atomic64_read(&edu->transfers));
	seq_printf(m, "engine_bytes %lld\n", atomic64_read(&edu->bytes));
	seq_printf(m, "engine_timeouts %lld\n", atomic64_read(&edu->timeouts));
	seq_printf(m, "engine_lost_irqs %lld\n", atomic64_read(&edu->lost_irqs));
	seq_printf(m, "checks %lld\n", atomic64_read(&edu->checks));
	seq_printf(m, "check_races %lld\n", atomic64_read(&edu->races));
	seq_printf(m, "check_mismatches %lld\n", atomic64_read(&edu->mismatches));
}
