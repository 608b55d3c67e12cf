#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR MIT
#
# Programs of the distribution, which know nothing of GPUs, with vsvm-preload
# (tools/gpu/vsvm) and without: what they say and how they end must be the same, and
# devices must have faulted, moved and read. Settings:
#
#	PRELOAD_DISK	file system with the programs: a device or a file (/rootfs.ext2)
#	PRELOAD_RUNS	some of the names below (all)
#	PRELOAD_SEED	of what the devices do (1)
#	PRELOAD_RATE	rounds in a second at most, in each process (20)
#	PRELOAD_LIMIT	seconds that a program may take (900)

disk=${PRELOAD_DISK:-/rootfs.ext2}
all="sqlite python gcc xz openssl luajit vm mremap fork madvise mmap"
runs=${PRELOAD_RUNS:-$all closed static setuid hold flip}
limit=${PRELOAD_LIMIT:-900}
lib=$(command -v vsvm-preload.so) || lib=$(dirname "$0")/vsvm-preload.so
tmp=$(mktemp -d /tmp/preload.XXXXXX) || exit 1
root=$tmp/root
report=/tmp/report
loop=
# What was not done after that time is left.
stress="stress-ng -q --verify --seed 1 -t 60"

skip_all()
{
	echo "TAP version 13"
	echo "1..0 # SKIP $*"
	echo "# Totals: pass:0 fail:0 xfail:0 xpass:0 skip:1 error:0"
	exit 4
}

# It is there, and of no use.
fail_all()
{
	echo "TAP version 13"
	echo "1..1"
	echo "not ok 1 $*"
	echo "# Totals: pass:0 fail:1 xfail:0 xpass:0 skip:0 error:0"
	exit 1
}

[ -e "$lib" ] || skip_all "no vsvm-preload.so"
ls /dev/dri/renderD* >/dev/null 2>&1 || skip_all "no devices"
mkdir "$root"
if [ -b "$disk" ]; then
	mount -t ext2 "$disk" "$root" || fail_all "$disk cannot be mounted"
elif [ -e "$disk" ]; then
	# Not by mount: it keeps the device open for writing, which is refused.
	loop=$(losetup -f)
	if ! losetup "$loop" "$disk" || ! mount -t ext2 "$loop" "$root"; then
		fail_all "$disk cannot be mounted"
	fi
else
	skip_all "no file system with programs at $disk"
fi
mount -t proc none "$root/proc"
mount -t sysfs none "$root/sys"
mount -o rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 none "$root/tmp"
mkdir -p "$root/work"
cp "$lib" "$root/usr/lib/vsvm-preload.so"
cp /bin/busybox "$root/work/" 2>/dev/null

# shellcheck disable=SC2086 # a list
set -- $runs
echo "TAP version 13"
echo "1..$#"
nr=0 pass=0 fail=0

result()
{
	nr=$((nr + 1))
	if [ "$1" = 0 ]; then
		echo "ok $nr $2"
		pass=$((pass + 1))
	else
		echo "not ok $nr $2"
		fail=$((fail + 1))
	fi
}

# What a program is, as a script for the shell in there. Nothing in it may depend on
# time, numbers of processes or addresses.
script()
{
	case $1 in
	sqlite)	cat <<-'END'
		sqlite3 test.db <<'SQL'
		PRAGMA mmap_size=67108864;
		PRAGMA journal_mode=WAL;
		CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT, v INTEGER, b BLOB);
		WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000)
		INSERT INTO t SELECT x, printf('key-%08d', x * 7919 % 100003), x * x % 10007,
			zeroblob(x % 200) FROM c;
		CREATE INDEX k ON t(k);
		CREATE INDEX v ON t(v, k);
		UPDATE t SET v = v + 1, k = k || '-' || v WHERE id % 3 = 0;
		DELETE FROM t WHERE id % 7 = 0;
		PRAGMA integrity_check;
		SELECT count(*), sum(v), sum(length(b)), min(k), max(k) FROM t;
		VACUUM;
		.sha3sum
		SQL
		sqlite3 test.db 'PRAGMA integrity_check; SELECT k FROM t WHERE v > 9990 ORDER BY k;'
		END
		;;
	python)	cat <<-'END'
		python3 - <<'PY'
		import hashlib, mmap, multiprocessing, os, subprocess, sys, threading

		def work(seed, rounds=30000):
		    table, value = {}, seed
		    for i in range(rounds):
		        value = (value * 6364136223846793005 + 1442695040888963407) % 2**64
		        table[value >> 44] = table.get(value >> 44, 0) + i
		    return hashlib.sha256(repr(sorted(table.items())).encode()).hexdigest()

		results = [None] * 4
		def one(i):
		    results[i] = work(i)
		threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
		for t in threads: t.start()
		for i in range(4):
		    print(subprocess.run([sys.executable, "-c", "print(sum(range(%d000)))" % i],
		                         capture_output=True, text=True).stdout.strip())
		for t in threads: t.join()
		print(*results)
		with multiprocessing.get_context("fork").Pool(2) as pool:
		    print(*pool.map(work, range(10, 14)))
		with open("/work/input", "rb") as f:
		    print(hashlib.sha256(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)).hexdigest())
		data = bytearray(range(256)) * 8192
		r, w = os.pipe()
		pid = os.fork()
		if not pid:
		    data[::4096] = bytes(len(data[::4096]))
		    os.write(w, hashlib.sha256(data).hexdigest().encode())
		    os._exit(7)
		print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.read(r, 64).decode())
		print(hashlib.sha256(data).hexdigest())
		PY
		END
		;;
	gcc)	cat <<-'END'
		i=0
		{
			echo '#include <stdio.h>'
			while [ $i -lt 80 ]; do
				echo "unsigned long f$i(unsigned long x, unsigned long *a) {"
				echo "	for (int i = 0; i < 64; i++) {"
				echo "		x = x * ${i}1 + (x >> $((i % 13 + 1)));"
				echo "		a[x % 64] ^= x; if (a[i] & 1) x += a[63 - i]; }"
				echo "	return x; }"
				i=$((i + 1))
			done
			echo 'int main(void) { unsigned long a[64] = { 1, 2, 3 }, x = 42;'
			i=0
			while [ $i -lt 80 ]; do
				echo "	x = f$i(x, a);"
				i=$((i + 1))
			done
			echo '	printf("%lu\\n", x); return 0; }'
		} >test.c
		gcc -O2 -Wall -c test.c -o test.o && cksum test.o
		gcc -o program test.o && ./program
		END
		;;
	xz)	cat <<-'END'
		head -c 4000000 /work/input >data
		xz -2 -T2 --block-size=1MiB -k data
		sha256sum data.xz
		xz -dc -T2 data.xz | cmp - data && xz -t data.xz
		END
		;;
	openssl) cat <<-'END'
		openssl dgst -sha256 /work/input
		openssl dgst -sha3-512 /work/input
		key="-aes-128-ctr -K 00112233445566778899aabbccddeeff"
		key="$key -iv 0123456789abcdef0123456789abcdef"
		openssl enc $key -in /work/input -out cipher
		openssl enc -d $key -in cipher | cmp - /work/input
		openssl dgst -blake2b512 cipher
		END
		;;
	luajit)	cat <<-'END'
		cat >test.lua <<'LUA'
		local ffi, bit = require("ffi"), require("bit")
		local n = 1000000
		local sieve = ffi.new("uint8_t[?]", n + 1)
		local count = 0
		for i = 2, n do
			if sieve[i] == 0 then
				count = count + 1
				for j = i + i, n, i do sieve[j] = 1 end
			end
		end
		print(count)
		local words, hash = {}, 0
		for i = 1, 100000 do
			local s = string.format("%x", bit.bxor(i * 2654435761 % 4294967296, i))
			words[s] = (words[s] or 0) + i
			hash = bit.bxor(bit.rol(hash, 5), #s + i)
		end
		local sum = 0
		for _, v in pairs(words) do sum = sum + v end
		print(sum, hash)
		local x = 0
		for i = 1, 20000000 do x = (x + i * 7) % 1000003 end
		print(x)
		LUA
		luajit test.lua
		END
		;;
	vm)	echo "$stress --vm 1 --vm-bytes 8M --vm-ops 20" ;;
	mremap)	echo "$stress --mremap 1 --mremap-bytes 4M --mremap-ops 10" ;;
	fork)	echo "$stress --fork 1 --fork-ops 100" ;;
	madvise) echo "$stress --madvise 1 --madvise-ops 2" ;;
	mmap)	echo "$stress --mmap 1 --mmap-bytes 4M --mmap-ops 2" ;;
	closed)	cat <<-'END'
		python3 - <<'PY'
		import hashlib, os, time
		os.closerange(3, 4096)
		fd = os.open("/work/input", os.O_RDONLY)
		print(fd)
		for i in range(20):
		    time.sleep(0.05)
		print(hashlib.sha256(os.read(fd, 1 << 20)).hexdigest())
		PY
		END
		;;
	static)	echo "exec /work/busybox sha256sum /work/input" ;;
	setuid)	echo "chroot --userspec=nobody:nogroup / passwd -S nobody" ;;
	# As often as it takes for a change to be seen, or for HOLD rounds.
	hold|flip) cat <<-'END'
		python3 - <<'PY'
		import hashlib, os, time
		data = bytearray(bytes(range(256)) * (24 << 12))
		first = last = hashlib.sha256(data).hexdigest()
		for i in range(int(os.environ.get("HOLD", "1"))):
		    time.sleep(0.2)
		    last = hashlib.sha256(data).hexdigest()
		    if last != first:
		        break
		print(first, last)
		PY
		END
		;;
	esac
}

# run NAME WITH|WITHOUT [VARIABLE=...]
run()
{
	where=$tmp/$1.$2
	name=$1
	shift 2
	rm -rf "$root/work/run"
	mkdir "$root/work/run"
	script "$name" >"$root/work/run/script"
	timeout -s KILL "$limit" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/work LANG=C.UTF-8 \
		"$@" chroot "$root" /bin/sh -c 'cd /work/run && exec sh ./script' \
		>"$where" 2>&1 </dev/null
	echo "status $?" >>"$where"
}

# A counter, over all processes of the run
sum()
{
	sed -n "s/.* $1=\([0-9]*\).*/\1/p" "$root$report" 2>/dev/null |
		awk '{ n += $1 } END { printf "%.0f\n", n }'
}

run_with()
{
	name=$1
	shift
	rm -f "$root$report"
	# The library is not there yet where the variable is set: only in the chroot.
	run "$name" with LD_PRELOAD=/usr/lib/vsvm-preload.so VSVM_PRELOAD_REPORT=$report \
		VSVM_PRELOAD_SEED="${PRELOAD_SEED:-1}" VSVM_PRELOAD_RATE="${PRELOAD_RATE:-20}" "$@"
}

tell()
{
	text="$1:"
	for counter in rounds faults invalidations moves reads bytes prefetches writes attrs binds \
			refused wrong; do
		text="$text $counter $(sum $counter),"
	done
	echo "# $text $(grep -c . "$root$report" 2>/dev/null) processes"
}

# Same output, and counters that say that something was done.
same()
{
	bad=
	if ! cmp -s "$tmp/$1.without" "$tmp/$1.with"; then
		echo "# $1: without, and with the library:"
		diff "$tmp/$1.without" "$tmp/$1.with" | sed 's/^/#   /;40q'
		bad=1
	fi
	if grep -q '^status [^0]' "$tmp/$1.without"; then
		echo "# $1: fails without the library, too:"
		sed 's/^/#   /;40q' "$tmp/$1.without"
		bad=1
	fi
	tell "$1"
	if grep -E 'state=(hangs|no-)| wrong=[1-9]' "$root$report" | sed 's/ *$//;s/^/# /' |
			grep .; then
		bad=1
	fi
	[ -z "$bad" ]
}

worked()
{
	bad=
	for counter in faults invalidations moves reads; do
		if [ "$(sum $counter)" = 0 ]; then
			echo "# $1: no $counter"
			bad=1
		fi
	done
	[ -z "$bad" ]
}

seq 1 1500000 >"$root/work/input"
for name; do
	begin=$(date +%s)
	case $name in
	closed)
		# It goes on, and the library has noticed.
		run closed without
		run_with closed
		same closed && grep -q 'state=closed' "$root$report"
		result $? closed
		;;
	static)
		run static without
		run_with static
		# The shell twice, by its name and for the script, and what it became not.
		same static && [ "$(grep -c . "$root$report")" = 2 ]
		result $? static
		;;
	setuid)
		run setuid without
		run_with setuid
		same setuid
		result $? setuid
		;;
	flip)
		# The same program, and bits of it are changed: that must make a difference.
		run flip without
		run_with flip VSVM_PRELOAD_FLIP=1 HOLD=1000
		tell flip
		[ "$(sum flips)" != 0 ] && ! cmp -s "$tmp/flip.without" "$tmp/flip.with" &&
			grep -q '^status 0' "$tmp/flip.with"
		status=$?
		[ $status = 0 ] || sed "s/^/# $(sum flips) flips: /;20q" "$tmp/flip.with"
		result $status flip
		;;
	*)
		run "$name" without
		middle=$(date +%s)
		run_with "$name" HOLD=20
		same "$name" && worked "$name"
		result $? "$name"
		echo "# $name: $((middle - begin)) s without, $(($(date +%s) - middle)) s with it"
		;;
	esac
done

for mount in tmp dev sys proc; do
	umount -l "$root/$mount"
done
umount "$root" || umount -l "$root"
[ -z "$loop" ] || losetup -d "$loop"
rm -rf "$tmp"
echo "# Totals: pass:$pass fail:$fail xfail:0 xpass:0 skip:0 error:0"
[ $fail = 0 ]
