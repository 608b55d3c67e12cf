/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
#ifndef __GPUSVM_MGR_FAIL_H__
#define __GPUSVM_MGR_FAIL_H__

#include <kunit/test.h>

struct gpusvm_fail;

struct gpusvm_fail *gpusvm_fail_init(struct kunit *test);
void gpusvm_fail_begin(struct gpusvm_fail *knobs, unsigned int nth, bool for_good);
bool gpusvm_fail_end(struct gpusvm_fail *knobs);

#endif /* __GPUSVM_MGR_FAIL_H__ */
