#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# The fuzzer at length: runs of a bounded number of calls, each with a seed of its own
# and in a new process, until there were enough; after each the kernel's log and the
# devices are looked at, see run_all.sh. Ends with what was reached, all in all.
#
#	CALLS	calls of ioctl, all in all (default 100000)
#	EACH	of one test (default 10000); a run has two
#	SEED	first seed (default 1), counted up
#	CORPUS	file with the calls that have reached something, of an earlier boot; those
#		of this one are in it afterwards

cd "$(dirname "$0")" || exit 1

calls=${CALLS:-100000}
each=${EACH:-10000}
seed=${SEED:-1}
out=$(mktemp /tmp/fuzz.XXXXXX) || exit 1
made=0
passed=0
failed=0

export GPUSVM_CALLS="$each" LIMIT="${LIMIT:-3600}"
# What has reached something new is tried again in the next run.
export GPUSVM_CORPUS="${CORPUS:-$out.corpus}"
while [ "$made" -lt "$calls" ]; do
	GPUSVM_SEED=$seed ./run_all.sh fuzz >"$out.run" 2>&1
	status=$?
	cat "$out.run" >>"$out"
	grep -vE '^# (fuzz|swap|ext2|huge pages):' "$out.run" |
		grep -E 'not ok|^# .*:(abi|[a-z_]+):|^# (log|[0-9])|passed,'
	set -- "$(sed -n 's/^\([0-9]*\) passed, .*/\1/p' "$out.run")" \
		"$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed.*/\1/p' "$out.run")"
	passed=$((passed + ${1:-0}))
	failed=$((failed + ${2:-1}))
	if [ $status != 0 ]; then
		echo "# seed $seed failed; again: GPUSVM_SEED=$seed GPUSVM_CALLS=$each ./fuzz"
		break
	fi
	made=$((made + 2 * each))
	seed=$((seed + 1))
	echo "# $made calls"
done

echo "#"
printf '# %-24s %10s %10s\n' "call" "succeeded" "refused"
awk '/^# fuzz: [a-z]/ { if (!($3 in done)) order[n++] = $3; done[$3] += $5; refused[$3] += $7 }
	END {
		for (i = 0; i < n; i++) {
			printf "# %-24s %10d %10d\n", order[i], done[order[i]], refused[order[i]]
			if (order[i] !~ /\./) { d += done[order[i]]; r += refused[order[i]] }
		}
		printf "# %-24s %10d %10d\n", "all calls", d, r
	}' "$out"
grep '^# fuzz-cover' "$out" | tail -n 1
rm -f "$out" "$out.run"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
