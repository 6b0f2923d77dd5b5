# Sourced by the scripts of this folder: a place to work in, a server, and counted checks. SPDX-License-Identifier: Apache-2.0
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
O=${O:-build}
firnd=$O/firnd
firnctl=$O/firnctl
for p in "$firnd" "$firnctl"; do [ -x "$p" ] || { echo "skip: $p is not built"; exit 77; }; done
for p in curl jq; do command -v $p >/dev/null || { echo "skip: $p is not installed"; exit 77; }; done
T=$(mktemp -d /tmp/firn-cli.XXXXXX)
pid=
. tests/checks.bash
export TSAN_OPTIONS=log_path=$T/sanitizer ASAN_OPTIONS=log_path=$T/sanitizer UBSAN_OPTIONS=log_path=$T/sanitizer

end() {
    [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
    for f in "$T"/sanitizer.*; do [ ! -e "$f" ] || { bad "a sanitizer's report"; head -n 400 "$f"; }; done
    rm -rf "$T"
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
    exit $?
}
trap end EXIT

small="--journal-size 64MiB --capacity-size 256MiB"
wait_ready() { # wait_ready LOG
    local i
    for ((i = 0; i < 200; i++)); do
        grep -q 'msg=ready' "$1" && return 0
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    echo "the server did not start:"; cat "$1"
    exit 1
}
start() { # start ARGUMENTS...: $pid, $log
    log=$T/log
    : >"$log"
    "$firnd" "$@" 2>"$log" &
    pid=$!
    wait_ready "$log"
}
start_dev() { # start_dev [ARGUMENTS...]: a pool in $T/p; $sock
    sock=$T/p/firnd.sock
    start --dev "$T/p" $small --reactors 2 --port 0 "$@"
}
stop() { # stop: SIGTERM; $rc
    kill -TERM "$pid"
    wait "$pid"
    rc=$?
    pid=
}
ready() { grep -o "msg=ready.*" "$log" | grep -oE "(^| )$1=[^ ]*" | head -n 1 | sed 's/.*=//; s/"//g'; } # ready KEY
ctl() { "$firnctl" --socket "$sock" "$@"; }
