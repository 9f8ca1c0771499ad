#!/bin/sh
# Shows what a server without traffic costs: processor time, wakes, and writes to its files.
# Usage: benches/idle.sh PROGRAM [SECONDS]   (Linux; the server gets a temporary database with 100 made-up keys)
set -eu
program=$(realpath "$1")
seconds=${2:-600}
folder=$(mktemp -d)
cd "$folder"
export DATABASE_URL="sqlite://$folder/pool.db" ADMIN_PASSWORD=idle-password-1 RUST_LOG=warn
"$program" migrate > log
"$program" settings set check_new_keys false >> log
seq 100 | awk '{ printf "AIzaSyIdle%029d\n", $1 }' | "$program" upstream-keys import - >> log
"$program" serve --listen 127.0.0.1:0 >> log 2>&1 &
server=$!
trap 'kill $server; wait $server || true; rm -r "$folder"' EXIT
sleep 25 # The start is over, and the threads that it needed have ended.

nanoseconds() { cat /proc/$server/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
wakes() { cat /proc/$server/task/*/status | awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }'; }
written() { awk '/^write_bytes/ { print $2 }' /proc/$server/io; }
files() { stat -c '%n: %s bytes, changed %y' pool.db*; }

time_before=$(nanoseconds) wakes_before=$(wakes) written_before=$(written) files_before=$(files)
sleep "$seconds"
awk -v time=$(($(nanoseconds) - time_before)) -v wakes=$(($(wakes) - wakes_before)) -v seconds="$seconds" 'BEGIN {
    printf "processor time: %.4f %% of a core\nwakes: %.0f a minute\n", time / seconds / 1e7, wakes * 60 / seconds
}'
echo "written to disk: $(($(written) - written_before)) bytes"
awk '/^VmRSS/ { print "memory: " $2 / 1024 " MiB" }' /proc/$server/status
if [ "$files_before" = "$(files)" ]; then
    echo "files: unchanged"
else
    printf 'files before:\n%s\nfiles after:\n%s\n' "$files_before" "$(files)"
fi
