#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Runs the selftests of drm_gpusvm_mgr, one program after the other, in a guest
# that has nothing else to do, as root. After each program the kernel's log must
# have no new report and each device no violation. Needs a POSIX shell and the
# usual small tools; busybox has them.
#
# Arguments: the programs to run (or T="program..."); default: all of them.
#
# A program may be followed by options of its own for the harness, separated by
# commas: hmm_rows,-t,anon_read,-v,four. With migrate/ before it, all VMs that it
# makes move data into device memory: migrate/hmm_rows. With upstream/ or two_pass/,
# they have a back end without the manager. What ends with a slash is several:
# all/ is what is run where no program is named, more/ what that leaves out of the
# programs that move data into device memory, full/ each program that has one on each
# of these back ends, and pci/ those to which it matters that devices are PCI
# functions behind an IOMMU. The program iommu is about nothing else. With zram/ before
# it, a program swaps to compressed memory, not to a disk.
#
# With DMA=none, strict, lazy or identity, each device must reach memory in that way, and
# the machine is one that has all that the tests want: what is skipped for want of
# something has failed. Without it, a test that lacks something is skipped.

cd "$(dirname "$0")" || exit 1

ALL="hmm_rows svm_range multi_gpu sysalloc lifecycle unplug dirty eager negative"
# Each number of devices, hives apart or not, much memory and little, huge pages or none.
ALL="$ALL migrate,-v,one,-v,two_apart_small migrate,-v,two_thp,-v,four_apart_thp"
ALL="$ALL mlocked,-v,two_thp,-v,two_apart_small"
ALL="$ALL huge,-v,two_thp,-v,two_apart_small,-v,four_apart_thp"
ALL="$ALL contend,-v,one_small_thp,-v,two_apart_small,-v,four_small"
ALL="$ALL bad_input attrs placement attr_input gem bind mixed iommu info fuzz"
ALL="$ALL migrate/hmm_rows,-v,two migrate/svm_range,-v,four migrate/multi_gpu,-v,four"
ALL="$ALL migrate/sysalloc migrate/lifecycle,-v,two migrate/dirty,-v,one"
ALL="$ALL migrate/attrs,-v,two migrate/mixed,-v,two"
MORE="migrate mlocked huge contend migrate/hmm_rows migrate/svm_range migrate/multi_gpu"
MORE="$MORE migrate/lifecycle migrate/dirty migrate/attrs migrate/mixed"
MORE="$MORE failnth reclaim zram/reclaim zram/migrate/svm_range"
# The back ends that are there for comparison: chosen so that each of them meets
# each program, and each program each number of devices and kind of memory.
ALL="$ALL upstream/hmm_rows,-v,two upstream/svm_range,-v,one two_pass/hmm_rows,-v,one"
ALL="$ALL two_pass/multi_gpu,-v,four upstream/multi_gpu,-v,two upstream/sysalloc,-v,two"
ALL="$ALL two_pass/sysalloc,-v,four two_pass/lifecycle,-v,two upstream/lifecycle,-v,one"
ALL="$ALL upstream/dirty,-v,four two_pass/dirty,-v,two two_pass/svm_range,-v,two"
ALL="$ALL upstream/migrate/hmm_rows,-v,one two_pass/migrate/multi_gpu,-v,two"
ALL="$ALL demo.sh bench_smoke.sh"
# What tries to break it: failing allocations, too little memory, random operations. The
# first one that fails within dma-debug switches that off for good, so these come late.
ALL="$ALL multibind userptr failnth,-v,one"
ALL="$ALL reclaim,-T,reaper zram/svm_range,-v,two"
ALL="$ALL torture.sh"
# What make torture does beside random operations, calls and programs.
BREAK="negative failnth reclaim zram/reclaim zram/migrate/svm_range multibind userptr torture.sh"
PCI="iommu hmm_rows,-v,four multi_gpu,-v,four dirty,-v,two unplug,-v,three_others"
PCI="$PCI migrate/hmm_rows,-v,two migrate,-v,two_apart_small negative"
LIMIT=${LIMIT:-900}
TMP=$(mktemp -d /tmp/gpusvm.XXXXXX) || exit 1
DEBUGFS=/sys/kernel/debug
TRACEFS=/sys/kernel/tracing
BROKEN=$DEBUGFS/drm_gpusvm_mgr/broken_steps
DRM_DEBUG=/sys/module/drm/parameters/debug
BOUNCE_COST=/sys/module/drm_gpusvm_mgr/parameters/bounce_cost
KMEMLEAK=$DEBUGFS/kmemleak

# What must not appear in the log. A program that provokes violations on purpose
# has the device say so in other words than these.
REPORTS='WARNING: |BUG: |BUG at |Oops|general protection|[Uu]nable to handle|KASAN: |KCSAN: '
REPORTS="$REPORTS"'|UBSAN: |ODEBUG: |INFO: task |INFO: possible |detected stall|soft lockup'
REPORTS="$REPORTS"'|hard LOCKUP|sleeping function called|scheduling while atomic'
REPORTS="$REPORTS"'|DEBUG_LOCKS_WARN_ON'
REPORTS="$REPORTS"'|locking correctness validator|refcount_t: |list_(add|del) corruption'
REPORTS="$REPORTS"'|unreferenced object|kmemleak: [0-9]+ new suspected|Out of memory: Killed'
# An IOMMU turned a device away; one program has that as its business, and counts
# what comes of it, not these lines, which are merged and limited.
FAULTS='DMAR: \[DMA |AMD-Vi: Event logged \[IO_PAGE_FAULT'

# What a test says that lacks something; not what is a property of the machine's devices.
LACKS='no |fewer than |pages cannot be moved|swap-in leaves no|GPUSVM_EXT2 names no'
case $DMA in
none)		PERMITTED='no IOMMU translates|no real engine|no memory above 4 GiB' ;;
identity)	PERMITTED='no IOMMU translates' ;;
*)		PERMITTED='nothing' ;;
esac

say()
{
	echo "# $*"
}

mounted()
{
	grep -q "^[^ ]* $1 " /proc/mounts
}

swap_off()
{
	[ -z "$SWAP" ] || swapoff "$SWAP" || return 1
	case $SWAP in
	/dev/loop0)	losetup -d /dev/loop0 ;;
	/dev/zram0)	echo 1 >/sys/block/zram0/reset ;;
	esac
	SWAP=
}

# Swaps to that device, loop or zram, and to no other that was here before.
swap_to()
{
	[ "$SWAP" != "/dev/${1}0" ] || return 0
	swap_off || return 1
	case $1 in
	loop)	[ -b /dev/ram0 ] && losetup /dev/loop0 /dev/ram0 2>/dev/null || return 1 ;;
	zram)	[ -w /sys/block/zram0/disksize ] &&
			echo 256M >/sys/block/zram0/disksize || return 1 ;;
	esac
	mkswap "/dev/${1}0" >/dev/null && swapon "/dev/${1}0" && SWAP=/dev/${1}0
}

set_up()
{
	mounted $DEBUGFS || mount -t debugfs none $DEBUGFS 2>/dev/null
	mounted $TRACEFS || mount -t tracefs none $TRACEFS 2>/dev/null
	mounted /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null
	# A timer for each switch is dear where CPUs are emulated, and tests nothing here.
	echo NO_HRTICK 2>/dev/null >$DEBUGFS/sched/features
	echo 3 >/proc/sys/vm/drop_caches 2>/dev/null
	echo 8 >/proc/sys/vm/nr_hugepages 2>/dev/null

	# Swap on a loop device: unlike zram and ram disks it is not synchronous,
	# and only then a page that was swapped in stays clean above its slot.
	[ -n "$(sed 1d /proc/swaps)" ] || swap_to loop || swap_to zram
	say "swap: $(sed 1d /proc/swaps | cut -d ' ' -f 1 | tr '\n' ' ')"

	# A file system with real write-back.
	if [ -b /dev/ram1 ] && mke2fs /dev/ram1 16384 >/dev/null 2>&1; then
		mkdir -p "$TMP/ext2"
		if mount -t ext2 /dev/ram1 "$TMP/ext2" 2>/dev/null; then
			export GPUSVM_EXT2="$TMP/ext2"
		fi
	fi
	say "ext2: ${GPUSVM_EXT2:-none}"
	say "huge pages: $(cat /proc/sys/vm/nr_hugepages 2>/dev/null)"

	# A guest may be so slow that any move is dear. A test that is about that asks for it.
	[ ! -w $BOUNCE_COST ] || echo 0 >$BOUNCE_COST
}

tear_down()
{
	[ -z "$GPUSVM_EXT2" ] || umount "$GPUSVM_EXT2"
	swap_off
	echo 0 >/proc/sys/vm/nr_hugepages 2>/dev/null
	rm -rf "$TMP"
}

# Only moves the place from which dmesg shows the log; nothing is thrown away.
log_clear()
{
	dmesg -C 2>/dev/null || dmesg -c >/dev/null
}

# A data race is ours where the function of one of the accesses is.
log_reports()
{
	pattern="$REPORTS|$FAULTS"
	[ "$1" != iommu ] || pattern=$REPORTS
	dmesg | awk '!/ KCSAN: .* in / || /gpusvm|vsvm/' | grep -E "$pattern"
}

# Each device once: numbers are links to the directories with names.
violations()
{
	for file in "$DEBUGFS"/dri/*/violations; do
		[ -e "$file" ] || continue
		case $(basename "$(dirname "$file")") in
		*[!0-9]*) ;;
		*)	continue ;;
		esac
		value=$(cat "$file") || value=unreadable
		[ "$value" = 0 ] || echo "$file: $value"
	done
}

# Numbers of the last totals line that the harness prints.
total()
{
	sed -n "s/.*Totals:.* $1:\([0-9]*\).*/\1/p" "$TMP/out" | tail -n 1
}

# drm_gpusvm does not tell the DMA debugging code that devices share pages, which
# then takes each page that two of them map for a mistake. It has a filter.
dma_debug()
{
	[ ! -w $DEBUGFS/dma-api/driver_filter ] ||
		echo "${1:+no driver}" >$DEBUGFS/dma-api/driver_filter
}

run_one()
{
	program=${1%%,*}
	GPUSVM_MIGRATE=
	GPUSVM_BACKEND=
	case $program in
	zram/*)
		program=${program#zram/}
		if ! swap_to zram; then
			echo "not ok $program # cannot swap to zram"
			failed=$((failed + 1))
			return
		fi
		;;
	*)	[ "$SWAP" != /dev/zram0 ] || swap_to loop || : ;;
	esac
	case $program in
	upstream/*|two_pass/*)	GPUSVM_BACKEND=${program%%/*}; program=${program#*/} ;;
	esac
	case $program in
	migrate/*)	GPUSVM_MIGRATE=1; program=${program#migrate/} ;;
	esac
	export GPUSVM_MIGRATE GPUSVM_BACKEND
	dma_debug "$GPUSVM_BACKEND"
	options=
	case $1 in
	*,*)	options=$(echo "${1#*,}" | tr ',' ' ') ;;
	esac
	bad=
	begin=$(date +%s)

	if [ ! -x "./$program" ]; then
		echo "not ok $program # no such program"
		failed=$((failed + 1))
		return
	fi
	log_clear
	echo "gpusvm_mgr selftest $1" >/dev/kmsg
	{
		# shellcheck disable=SC2086
		timeout -s KILL "$LIMIT" "./$program" $options 2>&1
		echo $? >"$TMP/status"
	} | tee "$TMP/out"
	status=$(cat "$TMP/status")
	end=$(date +%s)

	pass=$(total pass)
	fail=$(total fail)
	skip=$(total skip)
	error=$(total error)
	if [ -z "$pass" ]; then
		bad="$bad, ended with status $status before its totals"
		pass=$(grep -c '^ok ' "$TMP/out")
		fail=$(grep -c '^not ok ' "$TMP/out")
		skip=0
		error=0
	fi
	fail=$((fail + error))
	if [ -n "$DMA" ]; then
		# A test, or a script as a whole.
		lacks=$(grep -E "^(ok|1\.\.0) .*# SKIP ($LACKS)" "$TMP/out" |
			grep -cvE "# SKIP ($PERMITTED)")
		[ "$lacks" = 0 ] || bad="$bad, $lacks lack what this machine should have"
		fail=$((fail + lacks))
		skip=$((skip - lacks))
	fi
	passed=$((passed + pass))
	failed=$((failed + fail))
	skipped=$((skipped + skip))
	[ "$fail" = 0 ] || bad="$bad, $fail failed"
	[ $((pass + fail + skip)) != 0 ] || bad="$bad, no such test"
	[ "$status" = 0 ] || [ "$status" = 4 ] || [ "$fail" != 0 ] || bad="$bad, status $status"

	# A program that was killed cannot have put it back.
	[ ! -w $BROKEN ] || echo 0 >$BROKEN
	[ -z "$debug" ] || echo "$debug" >$DRM_DEBUG
	for file in "$DEBUGFS"/dri/*/fail_*; do
		[ ! -w "$file" ] || echo 0 >"$file"
	done
	# What is reported by a worker may come a moment later.
	sleep 1
	# Of what is a few seconds old only: a leak of a program that was so short is
	# found after the next one, and that of the last one by whoever runs this. A
	# scan takes ten seconds; for a back end that is not the manager the next will do.
	[ ! -w $KMEMLEAK ] || [ -n "$GPUSVM_BACKEND" ] || echo scan >$KMEMLEAK
	reports=$(log_reports "$program")
	if [ -n "$reports" ]; then
		echo "$reports" | sed 's/^/# log: /'
		[ ! -r $KMEMLEAK ] || sed 's/^/# leak: /;40q' $KMEMLEAK
		bad="$bad, reports in the log"
	fi
	counted=$(violations)
	if [ -n "$counted" ]; then
		echo "$counted" | sed 's/^/# /'
		bad="$bad, violations"
		for file in "$DEBUGFS"/dri/*/violations; do
			echo 0 >"$file"
		done
	fi

	say "$1: $((end - begin)) s, and $(($(date +%s) - end)) s to look for reports and leaks"
	if [ -z "$bad" ]; then
		echo "ok $program"
	else
		echo "not ok $program # ${bad#, }"
		# It counts also where each single test passed.
		[ "$fail" != 0 ] || failed=$((failed + 1))
	fi
}

passed=0
failed=0
skipped=0
SWAP=
GPUSVM_EXT2=

full()
{
	for back in upstream two_pass; do
		for program in hmm_rows svm_range multi_gpu sysalloc lifecycle dirty; do
			echo $back/$program $back/migrate/$program
		done
	done
}

# shellcheck disable=SC2086
[ $# != 0 ] || set -- ${T:-$ALL}

expand()
{
	for item; do
		case $item in
		all/)	echo "$ALL" ;;
		more/)	echo "$MORE" ;;
		full/)	full ;;
		break/)	echo "$BREAK" ;;
		pci/)	echo "$PCI" ;;
		*)	echo "$item" ;;
		esac
	done
}

set_up
debug=$(cat $DRM_DEBUG 2>/dev/null)
# How many, and how they reach memory.
for file in "$DEBUGFS"/dri/*[!0-9]*/dma; do
	[ ! -e "$file" ] || say "$(basename "$(dirname "$file")"): $(tr '\n' ' ' <"$file")"
done
for file in "$DEBUGFS"/dri/*[!0-9]*/dma; do
	if [ -n "$DMA" ] && ! grep -q "^iommu $DMA\$" "$file"; then
		echo "not ok $file # must be: iommu $DMA"
		failed=$((failed + 1))
	fi
done
# shellcheck disable=SC2046
for item in $(expand "$@"); do
	run_one "$item"
done
tear_down

if [ $skipped = 0 ]; then
	echo "$passed passed, $failed failed"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed = 0 ]
