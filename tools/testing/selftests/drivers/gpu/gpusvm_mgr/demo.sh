#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# vsvm-demo (tools/gpu/vsvm) with each number of GPUs there is, eager ones, and such
# that move data; what it says as JSON; and whether it notices GPUs that go on reading
# what is gone, which do not flush their TLBs.

demo=$(command -v vsvm-demo) || demo=$(dirname "$0")/vsvm-demo
cost=/sys/module/drm_gpusvm_mgr/parameters/bounce_cost
suppress=$(ls /sys/kernel/debug/dri/*[!0-9]*/suppress_flush 2>/dev/null)
tmp=$(mktemp -d /tmp/demo.XXXXXX) || exit 1

echo "TAP version 13"
if [ ! -x "$demo" ] || [ -z "$suppress" ]; then
	echo "1..0 # SKIP no vsvm-demo, or no debugfs"
	echo "# Totals: pass:0 fail:0 xfail:0 xpass:0 skip:1 error:0"
	exit 4
fi
echo "1..8"

nr=0 pass=0 fail=0

# Status and output of the last run.
demo()
{
	"$demo" --rounds 1 --timeout 400 "$@" "$demo" >"$tmp/out" 2>&1
	status=$?
}

# What the last run had to do is after the name.
result()
{
	nr=$((nr + 1))
	name=$1
	shift
	if "$@"; then
		echo "ok $nr $name"; pass=$((pass + 1))
	else
		sed 's/^/# /' "$tmp/out"
		echo "not ok $nr $name # status $status"; fail=$((fail + 1))
	fi
}

passes()
{
	[ $status = 0 ] && grep -q PASS "$tmp/out"
}

# The first number with that name.
number()
{
	sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p" "$tmp/out" | head -n 1
}

counted()
{
	[ $status = 0 ] && grep -q '"result": "pass"' "$tmp/out" &&
		[ "$(number gpus)" = 2 ] && [ "$(number compared)" -gt 0 ] &&
		[ "$(number faults)" -gt 0 ] &&
		! grep -Eq '"(differences|failed_jobs|violations)": *[1-9]' "$tmp/out"
}

notices()
{
	[ $status = 1 ] && grep -q FAIL "$tmp/out"
}

for gpus in 1 2 4; do
	demo --gpus $gpus
	result "gpus $gpus" passes
done
demo --gpus 4 --eager
result "eager" passes
# As it is where nobody has changed it: a move of these takes long in a slow guest.
was=$(cat $cost)
echo 256 >$cost
demo --gpus 4 --migrate
echo "$was" >$cost
result "migrate" passes
demo --gpus 2 --json
result "json" counted

for file in $suppress; do
	echo 100000 >"$file"
done
demo --gpus 4 --rounds 2
for file in $suppress; do
	echo 0 >"$file"
	echo 0 >"${file%suppress_flush}violations"
done
result "no flushes" notices

# Those that are met in any run, and those that it takes more for.
met="attach detach range_insert range_kill range_remove walk map zap unmap flush flush_done"
met="$met invalidate_start invalidate_finish fault"
met_vsvm="job_submit job_start job_end fault_push fault_serve"
met_vsvm="$met_vsvm flush_start flush_done pte_map pte_zap"
there="note attr seq_wait migrate moved"
there_vsvm="populate evict gem_move violation"
TRACING=/sys/kernel/tracing

traced()
{
	[ $status = 0 ] || return 1
	awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^(gpusvm_mgr|vsvm)_[a-z_]*:$/) {
			print substr($i, 1, length($i) - 1); next } }' $TRACING/trace |
		sort -u >"$tmp/met"
	for event in $met; do
		grep -q "^gpusvm_mgr_$event\$" "$tmp/met" || missing="$missing gpusvm_mgr_$event"
	done
	for event in $met_vsvm; do
		grep -q "^vsvm_$event\$" "$tmp/met" || missing="$missing vsvm_$event"
	done
	for event in $there; do
		[ -d $TRACING/events/gpusvm_mgr/"gpusvm_mgr_$event" ] || missing="$missing $event"
	done
	for event in $there_vsvm; do
		[ -d $TRACING/events/vsvm/"vsvm_$event" ] || missing="$missing $event"
	done
	[ -z "$missing" ] && return 0
	echo "# missing:$missing"
	return 1
}

missing=
was=$(sed 's/ .*//' $TRACING/buffer_size_kb)
echo 65536 >$TRACING/buffer_size_kb
echo >$TRACING/trace
echo 1 >$TRACING/events/gpusvm_mgr/enable
echo 1 >$TRACING/events/vsvm/enable
demo --gpus 2 --threads 1
echo 0 >$TRACING/events/vsvm/enable
echo 0 >$TRACING/events/gpusvm_mgr/enable
result "tracepoints" traced
echo >$TRACING/trace
echo "$was" >$TRACING/buffer_size_kb

rm -rf "$tmp"
echo "# Totals: pass:$pass fail:$fail xfail:0 xpass:0 skip:0 error:0"
[ $fail = 0 ]
