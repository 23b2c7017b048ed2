#!/bin/bash
# How long a NOOP takes while the same worker sends files from a disk that is throttled and stores others on it.
#
#   cargo build --release -p ringftpd -p loadtest
#   benches/noop-beside-cold-reads.sh [MEBIBYTES-A-SECOND]
#
# Wants root, curl, two cores, and control groups (version 1 or 2) that throttle the disk which target/ lies on. Printed are the lines
# of NOOP, at 500 a second in open loop, without and with the load, and what was read from the disk meanwhile. All clients share one
# core; the one that measures goes before the others there, so that it does not measure its own waiting for them.
set -euo pipefail
cd "$(dirname "$0")/.."

rate=$((${1:-20} << 20))
release=${CARGO_TARGET_DIR:-target}/release
files=8
folder=$(mktemp -d "${CARGO_TARGET_DIR:-target}/cold-XXXXXX")
device=$(lsblk --noheadings --output MAJ:MIN "$(df --output=source "$folder" | tail -1)" | head -1 | tr -d ' ')
if [ -d /sys/fs/cgroup/blkio ]; then
    group=/sys/fs/cgroup/blkio/ringftpd-cold
    mkdir -p "$group"
    for direction in read write; do echo "$device $rate" > "$group/blkio.throttle.${direction}_bps_device"; done
    bytes_read() { awk '$2 == "Read" { bytes += $3 } END { print bytes + 0 }' "$group/blkio.throttle.io_service_bytes"; }
else
    group=/sys/fs/cgroup/ringftpd-cold
    echo +io > /sys/fs/cgroup/cgroup.subtree_control
    mkdir -p "$group"
    echo "$device rbps=$rate wbps=$rate" > "$group/io.max"
    bytes_read() { sed -n "s/^$device rbytes=\([0-9]*\).*/\1/p" "$group/io.stat"; }
fi

for number in $(seq $files); do
    dd if=/dev/urandom of="$folder/$number" bs=64M count=1 iflag=fullblock conv=fdatasync status=none
done
mkdir "$folder/up"

started=()
end() {
    for process in "${started[@]}"; do kill "$process" 2> /dev/null || true; done
    wait
    rm -r "$folder"
    rmdir "$group"
}
trap end EXIT

port=$((20000 + RANDOM % 10000))
sh -c 'echo $$ > "$0/cgroup.procs" && exec taskset -c 1 "$@"' "$group" "$release/ringftpd" serve "$folder" --workers 1 \
    --anonymous write --log-level warn --listen "127.0.0.1:$port" &
server=$!
started+=($server)
sleep 1

noop() {
    taskset -c 0 chrt --fifo 1 "$release/loadtest" noop --target "ftp://127.0.0.1:$port/" --server-pid $server --workers 1 --sessions 8 \
        --rate 500 --duration 10s | grep -E '^  (latency|unit)|round trips|tester'
}

echo "alone:"
noop

for number in $(seq $files); do dd if="$folder/$number" iflag=nocache count=0 status=none; done
load() {
    taskset -c 0 "$release/loadtest" "$@" --server-pid $server --workers 1 --duration 14s > /dev/null 2>&1 &
    started+=($!)
}
for number in $(seq 1 4); do load download --sessions 1 --target "ftp://127.0.0.1:$port/$number"; done
# Peers that are slower than the disk: windows are sent while the next ones are being read.
for number in $(seq 5 $files); do
    taskset -c 0 curl --silent --limit-rate 1M --output /dev/null "ftp://127.0.0.1:$port/$number" &
    started+=($!)
done
load upload --sessions 2 --upload-size 16M --target "ftp://127.0.0.1:$port/" --upload-to /up
sleep 2
before=$(bytes_read)
echo "beside $files cold downloads, half of them slow, and 2 uploads, on a disk of $((rate >> 20)) MiB/s:"
noop
echo "  $((($(bytes_read) - before) >> 20)) MiB read from the disk meanwhile"
