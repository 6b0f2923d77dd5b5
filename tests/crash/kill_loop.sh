#!/usr/bin/env bash
# Kills the server at random instants under load, and proves after every few kills that nothing acknowledged is missing.
# Usage: tests/crash/kill_loop.sh [CYCLES] [small|large|both]; KILL_CYCLES gives the default (20), KILL_SEED the chance.
#
# small: a journal of few segments, so that destage and reclaim never rest. large: everything stays in the log.
# One cycle: a random time after ready (5 to 300 ms) or, every fourth time, a random time after start, hence inside
# recovery: SIGKILL; restart; the loads reconnect by themselves. A cycle passes when the server came back, and the check
# that covers it found every acknowledged write whole.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/crash/lib.sh
need jq

cycles=${1:-${KILL_CYCLES:-20}}
modes=${2:-both}
verify_every=${VERIFY_EVERY:-5}
RANDOM=${KILL_SEED:-$$}
volumes=3
passed=0 failed=0 skipped=0 ready_max=0 acked=0 in_recovery=0

between() { echo $(($1 + (RANDOM * 32768 + RANDOM) % ($2 - $1 + 1))); }
snooze_ms() { sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))"; }

pool_make() { # pool_make DIR MODE
    if [ "$2" = small ]; then
        REACTORS=1 conf "$1" 256MiB 'journal: { segment_size = "16MiB"; };  tier: { dirty_start = 20; dirty_max = 50; };'
    else
        conf "$1" 2GiB
    fi
    pool_format "$1"
    socket=$1/firnd.sock
}

declare -a nqns loads
loads_start() { # one load a volume, each of another shape; they stop at SIGTERM
    local v new shapes=("--bs 4KiB --qd 16 --trim-pct 5 --zero-pct 5" "--bs 64KiB --qd 4 --rw write" "--bs 4KiB --qd 8 --flush-every 16 --hdgst --ddgst")
    for ((v = 0; v < volumes; v++)); do
        new=$([ -e "$work/acks.$v" ] || echo --fresh)
        # shellcheck disable=SC2086
        "$bench" run --port "$fixed_port" --nqn "${nqns[v]}" --rw randmixed --read-pct 30 ${shapes[v % 3]} --size 96MiB --rate "${KILL_RATE:-3000}" \
            --time 3600s --seed "$RANDOM" --verify $new --ack-log "$work/acks.$v" --reconnect 60s --json >"$work/run.$v.json" 2>>"$work/bench.log" &
        loads[v]=$!
    done
}

loads_stop() { # 0: every load ended well
    local v rc=0
    for ((v = 0; v < volumes; v++)); do kill -TERM "${loads[v]}" 2>/dev/null || true; done
    for ((v = 0; v < volumes; v++)); do
        if ! wait "${loads[v]}"; then
            rc=1
            echo "load on volume $v failed: $(jq -c '{error, violations, io_errors, protocol_faults, findings}' "$work/run.$v.json" 2>/dev/null)"
        fi
        acked=$((acked + $(jq '.writes_acked // 0' "$work/run.$v.json" 2>/dev/null || echo 0)))
    done
    return $rc
}

verify_all() {
    local v rc=0
    for ((v = 0; v < volumes; v++)); do
        if ! "$bench" verify --port "$fixed_port" --nqn "${nqns[v]}" --ack-log "$work/acks.$v" --reconnect 10s >"$work/verify.$v.txt" 2>&1; then
            rc=1
            cat "$work/verify.$v.txt"
        fi
    done
    return $rc
}

check_clean() {
    "$firnctl" check --data --config "$pool/firn.conf" >"$work/check.txt" 2>&1 && return
    echo "firnctl check:"
    head -n 20 "$work/check.txt"
    tail -n 1 "$work/check.txt"
    return 1
}

note_ready() { [ "$ready_ms" -le "$ready_max" ] || ready_max=$ready_ms; }

one_kill() { # 0: the server came back
    local n=$1
    snooze_ms "$(between 5 300)"
    server_kill
    server_start --config "$pool/firn.conf"
    if [ $((n % 4)) = 0 ]; then # a second kill, wherever the start has got to
        snooze_ms "$(between 1 60)"
        in_recovery=$((in_recovery + 1))
        server_kill
        server_start --config "$pool/firn.conf"
    fi
    server_wait 60 || return 1
    note_ready
}

run_mode() { # run_mode MODE CYCLES
    local n=0 v batch before
    pool=$work/pool-$1
    rm -f "$work"/acks.*
    PORT=$(free_port) pool_make "$pool" "$1"
    server_start --config "$pool/firn.conf"
    server_wait 60 || { failed=$((failed + $2)); return; }
    fixed_port=$port
    for ((v = 0; v < volumes; v++)); do
        volume_make "v$v" 256MiB
        nqns[v]=$(volume_nqn "v$v")
    done
    while [ $n -lt "$2" ]; do
        batch=0 before=$acked
        loads_start
        snooze_ms 200
        while [ $batch -lt "$verify_every" ] && [ $n -lt "$2" ]; do
            n=$((n + 1)) batch=$((batch + 1))
            one_kill $n || { failed=$((failed + $2 - n + batch)); loads_stop || true; return; }
        done
        snooze_ms "$(between 100 400)"
        if loads_stop && [ "$acked" -gt "$before" ] && verify_all; then
            passed=$((passed + batch))
        else
            failed=$((failed + batch))
            echo "FAILED: $1 journal, kills up to $n; logs in $work (KEEP=1 keeps them)"
            [ -z "${STOP_ON_FAILURE:-}" ] || { KEEP=1; exit 1; }
        fi
    done
    server_term || { echo "SIGTERM: exit status $?; firnd's last words:"; tail -n 4 "$work/firnd.log"; failed=$((failed + 1)); }
    check_clean || failed=$((failed + 1))
    rm -rf "$pool"
}

case $modes in
both) run_mode small $((cycles - cycles / 2)); run_mode large $((cycles / 2)) ;;
small | large) run_mode "$modes" "$cycles" ;;
*) echo "usage: tests/crash/kill_loop.sh [CYCLES] [small|large|both]" >&2; exit 2 ;;
esac
echo "writes acknowledged: $acked; kills during start: $in_recovery; longest time to ready: $ready_max ms"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
