// SPDX-License-Identifier: GPL-2.0-only OR MIT
#include <kunit/test.h>
#include <linux/module.h>

#include "../vsvm_pt.h"
MODULE_DESCRIPTION("Tests of the page table and the TLB of vsvm");
MODULE_LICENSE("Dual MIT/GPL");
