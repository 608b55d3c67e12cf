# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# The front door: `make help`. What is built for the kernel is built by the
# kernel's own kbuild, in a source tree of our own below $(BUILD).

ifneq ($(KERNELRELEASE),)
$(error this Makefile is not part of a kernel tree)
endif

SHELL	:= /bin/bash
BUILD	?= $(CURDIR)/build
override BUILD := $(abspath $(BUILD))
export BUILD
# Paths are taken from where make was called.
export KSRC	:= $(if $(KSRC),$(abspath $(KSRC)))
export KTARBALL	:= $(if $(KTARBALL),$(abspath $(KTARBALL)))
export JOBS	?= $(shell nproc)
# The kernel's own make must not see our command line.
MAKEOVERRIDES	:=
unexport MAKEFLAGS

OVERLAY	:= tools/overlay
LINUX	:= $(BUILD)/linux
GUEST	:= $(BUILD)/guest
LOGS	:= $(BUILD)/log

# A number, or pci: four PCI functions behind an IOMMU.
GPUS	?= 4
IOMMU	?= strict
MEMORY	?= 2G
CPUS	?= 2
SUITE	?= *svm*
T	?=
ONLY	?=
CMD	?= true
FILE	?=
PAGES	?= 4k 64k
TIMEOUT	?=
KERNEL	?= debug
CALLS	?=
SEED	?=

DIRS	:= drivers/gpu/drm/gpusvm_mgr/ drivers/gpu/drm/vsvm/

SELFTESTS := tools/testing/selftests/drivers/gpu/gpusvm_mgr
TOOLS	:= tools/gpu/vsvm
MODEL	:= tools/verification/gpusvm_mgr

image	= $(BUILD)/kernel/$(1)/arch/x86/boot/bzImage
locked	= flock -o $(BUILD)/.lock-$(1)

.PHONY: help
help:
	@sed -n 's/^##[ ]\{0,1\}//p' $(firstword $(MAKEFILE_LIST))

## Targets:
##   demo         build the lean kernel, boot it, run the demo  (GPUS=4, FILE=)
##   test         all tests; ends with the line "N passed, N failed"
##   test-full    what takes longer: all variants in device memory, back ends without
##                the manager, all selftests behind an IOMMU, each mode of it
##   kunit        KUnit suites in the debug kernel      (SUITE='*svm*', KERNEL=kcsan)
##   kunit-uml    KUnit suites of the pure objects, on UML
##   kunit-x86    the same through kunit.py --arch=x86_64
##   test-arm64   KUnit suites on arm64, with pages of 4 and 64 KiB (PAGES=64k)
##   selftest     user space tests in the debug kernel  (T=program, KERNEL=kcsan)
##   selftest-pci those about DMA, on four PCI functions behind an IOMMU
##                (IOMMU=strict, lazy, passthrough, amd, amd-lazy or amd-passthrough;
##                T=program, T=all/)
##   fuzz         random calls over vsvm's whole ABI       (CALLS=100000 SEED=1,
##                KERNEL=kcov: led by what they reach, CALLS=1000000)
##   lint         checkpatch, W=1, sparse, coccicheck, kernel-doc, shellcheck
##   model        check the SPIN model of the notifier protocol (ONLY=pattern)
##   model-full   the larger configurations, too
##   coverage     lines and branches that KUnit and the selftests reach
##   torture      all that tries to break it, for long, and a table of what was done:
##                the next two and fuzz, on several kernels, injected failures, the
##                model                       (OPS= SEED= STAGES='torture-ops fuzz')
##   torture-ops  random operations                    (KERNEL=debug, OPS=, SEED=;
##                KERNEL=kcsan: and data races, OPS=100000)
##   preload      programs of the distribution with GPUs behind their backs: root
##                only                                      (KERNEL=debug, ONLY=names)
##   bench        figures beside upstream's drm_gpusvm, into build/bench/report.md
##                and a table of all targets, summary.md
##   shell        a shell in the guest                          (KERNEL=debug)
##   guest        run one command in the guest                  (CMD='...')
##   kernel-lean, kernel-debug, kernel-coverage, kernel-stats, kernel-kcov,
##   kernel-kcsan build a kernel
##   objs         compile only our directories, with W=1
##   objs-arm64   the same for arm64, with pages of 64 KiB
##   build-checks the same with lazy and with RT preemption, too
##   apply        lay the overlay over a kernel tree of yours   (KSRC=tree)
##   unapply      take it out of that tree again                (KSRC=tree)
##   bare-machine try a target in a fresh Debian 12 chroot      (TARGET=demo)
##   clean        remove what was built, keep downloads and the compiler cache
##   distclean    remove build/ as a whole
##
## Variables:
##   KSRC=        a Linux 7.3 tree to use (it is copied, never changed)
##   KTARBALL=    a Linux 7.3 archive to use
##   BUILD=       where everything goes, default build/
##   JOBS=        parallel jobs, default one per CPU
##   MEMORY= CPUS= TIMEOUT=   of the guest; ACCEL=kvm or tcg instead of probing

# ---------------------------------------------------------------- preparation

.PHONY: packages linux overlay
packages:
	@mkdir -p $(LOGS)
	@$(locked)packages $(OVERLAY)/install-packages

linux: packages
	@$(locked)linux $(OVERLAY)/fetch linux

overlay: linux
	@$(locked)linux $(OVERLAY)/overlay --quiet --force apply $(LINUX)

.PHONY: apply unapply
apply unapply:
	@if [ -z "$(KSRC)" ]; then echo "make $@ needs KSRC=<a Linux 7.3 tree>" >&2; exit 1; fi
	@$(OVERLAY)/overlay $@ $(if $(FORCE),--force) $(KSRC)

# --------------------------------------------------------------------- kernels

.PHONY: kernel-lean kernel-debug kernel-stats kernel-coverage kernel-kcov kernel-kcsan
.PHONY: objs objs-arm64
kernel-lean kernel-debug kernel-stats: kernel-%: overlay
	@$(OVERLAY)/kernel $*

objects-of-ours = $(patsubst %.c,$(1)_%.o=y,$(notdir $(wildcard $(DIRS:%=%*.c))))

kernel-coverage: overlay
	@$(OVERLAY)/kernel coverage bzImage $(call objects-of-ours,GCOV_PROFILE)

kernel-kcov: overlay
	@$(OVERLAY)/kernel kcov bzImage $(call objects-of-ours,KCOV_INSTRUMENT)

# Ours and what they are built on: of all plain accesses in a kernel one in thousands is
# ours, and few can be watched. All others have barriers that must be known.
KCSAN := drm_gpusvm drm_pagemap drm_pagemap_util drm_gpuvm drm_buddy
KCSAN_BARRIERS := mutex rwsem percpu-rwsem semaphore spinlock rtmutex_api srcutree tree update \
	workqueue maple_tree xarray llist dma-fence dma-fence-array dma-fence-chain dma-resv \
	drm_syncobj drm_exec sched_main sched_entity sched_fence mmu_notifier hmm migrate_device

kernel-kcsan: overlay
	@$(OVERLAY)/kernel kcsan bzImage KCSAN_SANITIZE=n \
		$(call objects-of-ours,KCSAN_SANITIZE) $(KCSAN:%=KCSAN_SANITIZE_%.o=y) \
		$(KCSAN_BARRIERS:%=KCSAN_INSTRUMENT_BARRIERS_%.o=y)

objs: overlay
	@$(OVERLAY)/kernel lint W=1 $(DIRS)

objs-arm64: overlay
	@$(OVERLAY)/lint arm64

# Full preemption is what the first one and the debug kernel have.
.PHONY: build-checks
build-checks: overlay
	@mkdir -p $(LOGS); passed=0 failed=0; for name in lint lazy rt; do \
		said=$(LOGS)/build-checks-$$name.txt; \
		if $(OVERLAY)/kernel $$name W=1 $(DIRS) 2>$$said && [ ! -s $$said ]; then \
			passed=$$((passed + 1)); \
		else \
			failed=$$((failed + 1)); cat $$said; \
		fi; \
	done; echo "$$passed passed, $$failed failed"; [ $$failed = 0 ]

# ------------------------------------------------------------ guest user space

# Where the pieces are not there yet, the guest does without.
.PHONY: headers tools selftests initramfs base-initramfs demo-initramfs
headers: overlay
	@stamp=$(BUILD)/headers/.stamp; \
	if [ -n "$$(find $(LINUX)/include/uapi/drm -newer $$stamp 2>&1 | head -n 1)" ]; then \
		$(OVERLAY)/kernel headers headers_install INSTALL_HDR_PATH=$(BUILD)/headers && \
		touch $$stamp; \
	fi

user_make = $(MAKE) --no-print-directory -s KHDR_INCLUDES="-isystem $(BUILD)/headers/include" \
	EXTRA_CFLAGS=-static CC=gcc

tools: headers
	@if [ -e $(TOOLS)/Makefile ]; then \
		mkdir -p $(BUILD)/tools && \
		$(locked)tools $(user_make) -C $(LINUX)/$(TOOLS) OUTPUT=$(BUILD)/tools/; \
	fi

selftests: headers tools
	@if [ -e $(SELFTESTS)/Makefile ]; then \
		mkdir -p $(BUILD)/selftests $(GUEST)/selftests && \
		$(locked)selftests $(user_make) -C $(LINUX)/$(SELFTESTS) OUTPUT=$(BUILD)/selftests && \
		$(locked)selftests $(user_make) -C $(LINUX)/$(SELFTESTS) OUTPUT=$(BUILD)/selftests \
			INSTALL_PATH=$(GUEST)/selftests install >/dev/null; \
	fi

# Without our own programs: does for KUnit, whatever state those are in.
base-initramfs: packages
	@mkdir -p $(GUEST)
	@$(locked)initramfs $(OVERLAY)/mkinitramfs -o $(GUEST)/base.cpio

guest-bin = rm -rf $(GUEST)/bin && mkdir -p $(GUEST)/bin $(BUILD)/tools && \
	find $(BUILD)/tools -maxdepth 1 -type f -perm -u+x -exec cp -p -t $(GUEST)/bin {} +

demo-initramfs: tools
	@$(locked)initramfs sh -c '$(guest-bin) && \
		$(OVERLAY)/mkinitramfs -o $(GUEST)/demo.cpio $(GUEST)/bin:/usr/bin'

initramfs: tools selftests
	@mkdir -p $(GUEST)/selftests
	@$(locked)initramfs sh -c '$(guest-bin) && \
		$(OVERLAY)/mkinitramfs -o $(GUEST)/initramfs.cpio \
			$(GUEST)/bin:/usr/bin $(GUEST)/selftests:/selftests'

# ------------------------------------------------------------------ in a guest

run = $(OVERLAY)/run-guest --kernel $(call image,$(1)) --initramfs $(GUEST)/$(2).cpio \
	--memory $(MEMORY) --cpus $(CPUS)
behind-iommu = --iommu $(IOMMU) --edu $(1)

.PHONY: demo kunit kunit-uml kunit-x86 test-arm64 selftest selftest-pci fuzz shell guest
demo: kernel-lean demo-initramfs
	@$(call run,lean,demo) --log $(LOGS)/demo.log --timeout $(or $(TIMEOUT),300) \
		--file $(or $(FILE),$(call image,lean)):/boot/vmlinuz \
		$(if $(filter pci,$(GPUS)),$(call behind-iommu,4),--append vsvm.devices=$(GPUS)) -- \
		vsvm-demo --gpus $(GPUS:pci=4) $(DEMO_FLAGS) /boot/vmlinuz

kunit: kernel-$(KERNEL) base-initramfs
	@log=$(LOGS)/kunit-$$$$.log; \
	$(call run,$(KERNEL),base) --log $$log --timeout $(or $(TIMEOUT),900) \
		--append 'kunit.enable=1 kunit.autorun=1 kunit.filter_glob=$(SUITE)' -- true; \
	status=$$?; $(OVERLAY)/ktap $(if $(V),--verbose) $$log || status=1; \
	mv $$log $(LOGS)/kunit.log; exit $$status

kunit-uml: overlay
	@$(locked)uml $(OVERLAY)/kunit-py um

kunit-x86: overlay
	@$(locked)kunit-x86 $(OVERLAY)/kunit-py x86_64

test-arm64: overlay
	@SUITE='$(SUITE)' MEMORY=$(MEMORY) CPUS=$(CPUS) TIMEOUT=$(TIMEOUT) V=$(V) \
		$(OVERLAY)/kunit-arm64 $(PAGES)

# The debug kernel and its guest have all that the tests want.
complete = $(if $(filter debug,$(KERNEL)),DMA=$(1))
dma-strict := strict
dma-lazy := lazy
dma-passthrough := identity
dma-amd := strict
dma-amd-lazy := lazy
dma-amd-passthrough := identity

selftest: kernel-$(KERNEL) initramfs
	@$(call run,$(KERNEL),initramfs) --log $(LOGS)/selftest.log --timeout $(or $(TIMEOUT),5000) -- \
		'cd /selftests && $(call complete,none) ./run_all.sh $(T)'

# With memory above 4 GiB: what a device with short addresses cannot reach alone.
selftest-pci: kernel-$(KERNEL) initramfs
	@$(call run,$(KERNEL),initramfs) $(call behind-iommu,4) --memory 3G \
		--log $(LOGS)/selftest-pci.log --timeout $(or $(TIMEOUT),6000) -- \
		'cd /selftests && $(call complete,$(dma-$(IOMMU))) ./run_all.sh $(or $(T),pci/)'

# Of bounded length: a run that fails ends it. What has reached something is kept for the
# next one, where the kernel tells; not that of one that failed, which is to be repeated.
fuzz: kernel-$(KERNEL) initramfs
	@mkdir -p $(BUILD)/fuzz && corpus=$(BUILD)/fuzz/corpus && \
	$(call run,$(KERNEL),initramfs) --log $(LOGS)/fuzz.log --timeout $(or $(TIMEOUT),7200) \
		$$([ ! -s $$corpus ] || echo --file $$corpus:/corpus) --collect $$corpus.new -- \
		'cd /selftests && CORPUS=/corpus CALLS=$(CALLS) SEED=$(SEED) ./fuzz.sh; \
		status=$$?; stty -F /dev/ttyS3 raw -echo; \
		[ ! -s /corpus ] || cat /corpus >/dev/ttyS3; exit $$status'; \
	status=$$?; if [ $$status = 0 ] && [ -s $$corpus.new ]; then \
		mv $$corpus.new $$corpus; \
	fi; exit $$status

shell: kernel-$(KERNEL) initramfs
	@echo "log: $(LOGS)/shell.log; leave with exit"
	@$(call run,$(KERNEL),initramfs) --log $(LOGS)/shell.log --timeout $(or $(TIMEOUT),86400) \
		--interactive --no-leak-check -- 'exec sh -i'

guest: kernel-$(KERNEL) initramfs
	@$(call run,$(KERNEL),initramfs) --log $(LOGS)/guest.log --timeout $(or $(TIMEOUT),600) $(RUN) -- '$(CMD)'

# ---------------------------------------------------------------- all together

# A lean kernel does ten times as many in the same time. Who interrupts it goes on later.
.PHONY: torture torture-ops preload rootfs
torture: packages
	@OPS=$(OPS) SEED=$(SEED) $(OVERLAY)/run-tests torture

torture-ops: ops = $(or $(OPS),$(if $(filter lean,$(KERNEL)),10000000,1000000))
torture-ops: kernel-$(KERNEL) initramfs
	@mkdir -p $(LOGS)
	@$(OVERLAY)/torture --ops $(ops) --state $(BUILD)/torture-$(KERNEL)-$(ops).json \
		$(if $(SEED),--seed $(SEED)) $(if $(RUN_OPS),--run $(RUN_OPS)) --logs $(LOGS) \
		--kernel $(call image,$(KERNEL)) --initramfs $(GUEST)/initramfs.cpio \
		--memory $(MEMORY) --cpus $(CPUS)

rootfs: packages
	@$(locked)rootfs $(OVERLAY)/mkrootfs $(BUILD)/rootfs/rootfs.ext2

# The guest has the whole file system in memory.
preload: kernel-$(KERNEL) initramfs rootfs
	@$(call run,$(KERNEL),initramfs) --memory 4G --log $(LOGS)/preload.log \
		--timeout $(or $(TIMEOUT),5400) --file $(BUILD)/rootfs/rootfs.ext2:/rootfs.ext2 -- \
		'cd /selftests && LIMIT=5000 PRELOAD_RUNS="$(ONLY)" PRELOAD_SEED=$(SEED) \
		./run_all.sh preload.sh'

.PHONY: bench
bench: kernel-lean kernel-stats demo-initramfs
	@$(OVERLAY)/bench

.PHONY: test test-full test-overlay test-runner model model-full lint coverage bare-machine
test: packages
	@$(OVERLAY)/run-tests

test-full: packages
	@$(OVERLAY)/run-tests full

# The programs of tools/overlay themselves.
test-overlay: linux
	@$(OVERLAY)/test-overlay

test-runner: kernel-debug base-initramfs
	@$(OVERLAY)/test-runner $(call image,debug) $(GUEST)/base.cpio

# The counterexample of what should have held is left in $(LOGS).
run-model = $(MODEL)/run-model --trails $(LOGS) --jobs $(JOBS)

model: packages
	@$(run-model) $(ONLY)

model-full: packages
	@$(run-model) --full --limit 3600 --memory $(or $(MODEL_MEMORY),12000) $(ONLY)

lint: overlay headers
	@$(locked)linux $(OVERLAY)/fetch sparse
	@$(OVERLAY)/lint

coverage: kernel-coverage base-initramfs initramfs
	@$(OVERLAY)/coverage

bare-machine: packages
	@$(OVERLAY)/bare-machine $(or $(TARGET),demo)

# --------------------------------------------------------------------- tidying

.PHONY: clean distclean
clean:
	@rm -rf $(addprefix $(BUILD)/,kernel linux linux.from linux.new headers tools selftests \
		guest log bench coverage sparse sparse.new) $(BUILD)/kvm-*

distclean:
	@rm -rf $(BUILD)
