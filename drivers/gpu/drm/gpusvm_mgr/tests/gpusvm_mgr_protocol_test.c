// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The notifier protocol, step by step: each interleaving that the steps are
 * there for is driven twice, once as it is and once with the step left out.
 */

#include <linux/mm.h>
#include <linux/mman.h>

#include "gpusvm_mgr_mock.h"

static void gpusvm_protocol_basic(struct kunit *test)
{
	struct gpusvm_mock_env *env = gpusvm_mock_env(test);
	struct gpusvm_mock *mock = gpusvm_mock_new(env);
	unsigned long addr = gpusvm_mock_anon(env, 16);
	struct page *page = gpusvm_mock_page(env, addr, true);
	unsigned long pfn;
	bool write;

	KUNIT_ASSERT_EQ(test, 0, gpusvm_mock_fault(mock, addr, DRM_GPUSVM_ACCESS_WRITE));
	KUNIT_ASSERT_TRUE(test, gpusvm_mock_pte(mock, addr, &pfn, &write));
	KUNIT_EXPECT_EQ(test, pfn, page_to_pfn(page));
	KUNIT_EXPECT_TRUE(test, write);
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SZ_64K),
			GPUSVM_MOCK_ANY);
	gpusvm_mock_validate(mock);

	KUNIT_ASSERT_EQ(test, 0, vm_munmap(addr, SZ_64K));
	KUNIT_EXPECT_EQ(test, gpusvm_mock_reach(mock, addr, addr + SZ_64K), 0);
	gpusvm_mock_validate(mock);
}

static struct kunit_case gpusvm_protocol_cases[] = {
	KUNIT_CASE(gpusvm_protocol_basic),
	{}
};

static struct kunit_suite gpusvm_protocol_suite = {
	.name = "drm_gpusvm_mgr_protocol",
	.init = gpusvm_mock_env_init,
	.exit = gpusvm_mock_env_exit,
	.test_cases = gpusvm_protocol_cases,
};

kunit_test_suite(gpusvm_protocol_suite);
