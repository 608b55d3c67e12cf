#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Each case of vsvm-bench (tools/gpu/vsvm), small and once, on each back end:
# whether its counters and its data are right, not how long it takes.

bench=$(command -v vsvm-bench) || bench=$(dirname "$0")/vsvm-bench
if [ ! -x "$bench" ]; then
	echo "TAP version 13"
	echo "1..0 # SKIP no vsvm-bench"
	echo "# Totals: pass:0 fail:0 xfail:0 xpass:0 skip:1 error:0"
	exit 4
fi
exec "$bench" --smoke
