#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# vsvm-torture (tools/gpu/vsvm): random operations of CPU threads and 1, 2 and 4
# GPUs, and whether a mistake would be found at all. How much is said by
#
#	TORTURE_OPS		operations of each run (4000)
#	TORTURE_SECONDS		no other operation begins after that time (40)
#	TORTURE_SEED		the seed of the first run, others count on from it; the same
#				one each time (make torture takes others)
#	TORTURE_RUNS		some of: one two apart four single plant (without apart)

torture=$(command -v vsvm-torture) || torture=$(dirname "$0")/vsvm-torture
ops=${TORTURE_OPS:-4000}
seconds=${TORTURE_SECONDS:-40}
seed=${TORTURE_SEED:-1795881421}
runs=${TORTURE_RUNS:-one two four single plant}
tmp=$(mktemp -d /tmp/torture.XXXXXX) || exit 1

# shellcheck disable=SC2086 # a list
set -- $runs
echo "TAP version 13"
if [ ! -x "$torture" ] || [ ! -w /sys/kernel/debug/vsvm/unplug ]; then
	echo "1..0 # SKIP no vsvm-torture, or no debugfs"
	echo "# Totals: pass:0 fail:0 xfail:0 xpass:0 skip:1 error:0"
	exit 4
fi
echo "1..$#"

nr=0 pass=0 fail=0 skip=0

result()
{
	nr=$((nr + 1))
	case $1 in
	0)	echo "ok $nr $2"; pass=$((pass + 1)) ;;
	4)	echo "ok $nr $2 # SKIP no devices as it wants them"; skip=$((skip + 1)) ;;
	*)	echo "not ok $nr $2"; fail=$((fail + 1)) ;;
	esac
}

run()
{
	name=$1
	shift
	"$torture" --seed $((seed + nr)) --ops "$ops" --seconds "$seconds" "$@"
	result $? "$name"
}

# A bit that is turned over in memory must be found, and with one thread so few
# operations be left that one can see why.
plant()
{
	"$torture" --seed $((seed + nr)) --ops 20 --gpus 1 --plant 20 --shrink >"$tmp/out"
	status=$?
	left=$(grep -c '^shrunk ' "$tmp/out")
	echo "# planted at operation 20: $left operations are left"
	if [ $status = 4 ]; then
		result 4 plant
	elif [ $status = 1 ] && [ "$left" -ge 1 ] && [ "$left" -le 3 ] &&
	     grep -q '^shrunk 20$' "$tmp/out"; then
		result 0 plant
	else
		sed 's/^/# /' "$tmp/out"
		result 1 plant
	fi
}

for name; do
	case $name in
	one)	run one --gpus 1 --threads 2 ;;
	two)	run two --gpus 2 --threads 3 ;;
	apart)	run apart --gpus 2 --threads 4 --hives 2 --vram 4 ;;
	four)	run four --gpus 4 --threads 4 --hives 2 ;;
	single)	run single --gpus 2 --threads 1 --vram 64 ;;
	plant)	plant ;;
	*)	result 1 "$name" ;;
	esac
done
rm -rf "$tmp"
echo "# Totals: pass:$pass fail:$fail xfail:0 xpass:0 skip:$skip error:0"
[ $fail = 0 ] || exit 1
[ $skip = 0 ] || [ $pass != 0 ] || exit 4
