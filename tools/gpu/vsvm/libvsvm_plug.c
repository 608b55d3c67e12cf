// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * libvsvm: pulling devices out, and putting them in again
 *
 * What each call does and returns is written down in libvsvm.h.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libvsvm.h"

#define DEBUGFS		"/sys/kernel/debug/vsvm"
#define PCI_DEVICES	"/sys/bus/pci/devices"
#define PCI_DRIVER	"/sys/bus/pci/drivers/vsvm"

/* QEMU's edu, which the driver makes GPUs of. */
#define PCI_ID		"0x1234\n0x11e8\n"

static bool pci_is_edu(const char *function)
{
	static const char * const files[] = { "vendor", "device" };
	char path[128], text[32] = "";
	size_t len = 0;

	for (unsigned int i = 0; i < 2; i++) {
		ssize_t got;
		int fd;

		snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", function, files[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return false;
		got = read(fd, text + len, sizeof(text) - 1 - len);
		close(fd);
		if (got < 0)
			return false;
		len += got;
	}
	return !strcmp(text, PCI_ID);
}

/*
 * NAME
 *	vsvm_pci_function - name of the PCI function that is a device
 */
int vsvm_pci_function(unsigned int nr, char name[VSVM_PCI_NAME])
{
	struct dirent **entries;
	int num, ret = -ENODEV;

	num = scandir(PCI_DEVICES, &entries, NULL, alphasort);
	if (num < 0)
		return -ENODEV;
	for (int i = 0; i < num; i++) {
		if (strlen(entries[i]->d_name) < VSVM_PCI_NAME &&
		    pci_is_edu(entries[i]->d_name) && ret && !nr--) {
			strcpy(name, entries[i]->d_name);
			ret = 0;
		}
		free(entries[i]);
	}
	free(entries);
	return ret;
}

static int plug_write(const char *path, const char *text)
{
	const ssize_t len = strlen(text);
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != len)
		ret = -errno;
	close(fd);
	return ret;
}

/* Devices of the faux bus have numbers, PCI functions have names. */
static int plug(unsigned int nr, const char *faux, const char *pci)
{
	char name[VSVM_PCI_NAME];

	if (!vsvm_pci_function(nr, name))
		return plug_write(pci, name);
	snprintf(name, sizeof(name), "%u", nr);
	return plug_write(faux, name);
}

/*
 * NAME
 *	vsvm_unplug - pull a device out
 * FILES
 *	vsvm/unplug in debugfs, unbind of the PCI driver
 */
int vsvm_unplug(unsigned int nr)
{
	return plug(nr, DEBUGFS "/unplug", PCI_DRIVER "/unbind");
}

/*
 * NAME
 *	vsvm_plug - put a device in
 * FILES
 *	vsvm/plug in debugfs, bind of the PCI driver
 */
int vsvm_plug(unsigned int nr)
{
	return plug(nr, DEBUGFS "/plug", PCI_DRIVER "/bind");
}
