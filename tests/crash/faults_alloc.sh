#!/usr/bin/env bash
# faults.md A7 on the real server: every place that allocates, at start, in each verb of the API and when hosts come, is refused memory once (first and last time). The server then
# refuses to start in one line, or the verb answers with an error, or nothing is felt; it never crashes, and no half-made volume stays.
# FAULT_SECONDS (30) bounds it; places are taken in random order, FAULT_SEED repeats one. FAULT_PLACE=PLACE,N tries one alone.
. "$(dirname "$0")/faults.bash"
shim=$work/alloc.so
"${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -O1 -fPIC -shared -fno-builtin -o "$shim" tests/crash/shim/alloc.c 2>"$work/cc" || { echo "skip: no library can be built: $(head -n 1 "$work/cc")"; exit 77; }
limit=${FAULT_SECONDS:-30}
seed=${FAULT_SEED:-$RANDOM}
pool=$work/p
socket=$pool/firnd.sock
serve() { server_start --dev "$pool" --journal-size 64MiB --capacity-size 256MiB --reactors 2 --port 0; }
serve
server_wait 20 || { bad "no start"; report; exit 1; }
volume_make keep 16MiB
is "written" "$(host "$(volume_nqn keep)" write 0 64 1 | cut -d' ' -f1,2)" "good 64"
nqn=$(volume_nqn keep)
down

call() { curl -s -o /dev/null -w '%{http_code} ' --max-time 15 --unix-socket "$socket" "$@"; }
verbs() { # every verb; 5xx and 400 are answers, 000 is none. A verb whose memory failed may be asked again.
    call -X POST -d '{"name":"t","size":"1MiB"}' http://x/v1/volumes
    call -X PUT 'http://x/v1/volumes/t/hosts/%2a'
    call -X PATCH -d '{"size":"2MiB","iops":5000}' http://x/v1/volumes/t
    call http://x/v1/volumes -o /dev/null http://x/v1/volumes/t -o /dev/null http://x/v1/status -o /dev/null http://x/v1/devices -o /dev/null http://x/v1/config \
        -o /dev/null http://x/metrics -o /dev/null http://x/
    call -X PATCH -d '{"log.level":"info"}' http://x/v1/config
    kill -HUP "$server" 2>/dev/null
    timeout 20 "$blocks" "$port" "$nqn" read 0 64 1 | cut -d' ' -f1,2 | tr '\n' ' '
    deny
    call -X DELETE http://x/v1/volumes/t
}
deny() { # asks again when it failed; once that is answered with success, nobody is let in
    local code
    code=$(call -X DELETE 'http://x/v1/volumes/t/hosts/%2a')
    [ "$code" = "200 " ] || code=$(call -X DELETE 'http://x/v1/volumes/t/hosts/%2a')
    printf %s "$code"
    if [ "$code" = "200 " ] && timeout 10 "$blocks" "$port" "${nqn%keep}t" read 0 1 1 >/dev/null 2>&1; then printf 'let-in '; fi
}

# which places there are
pinned="env LD_PRELOAD=$shim ALLOC_LIST=$work/list"
serve
server_wait 20 || { bad "no start with the library"; report; exit 1; }
is "nothing fails yet" "$(verbs)" "201 200 200 200 200 200 200 200 200 200 200 good 64 200 204 "
down
pinned=
[ "$(wc -l <"$work/list")" -gt 50 ] && ok || { bad "few places: $(cat "$work/list")"; report; exit 1; }
awk '{print $1, 1; if ($2 > 1) print $1, $2; if ($2 > 3) print $1, int($2 / 2)}' "$work/list" | grep -vE '^(\?|ld-linux|libc\.so)' |
    shuf --random-source=<(yes "$seed") >"$work/order"
[ -z "${FAULT_PLACE:-}" ] || tr ',' ' ' <<<"$FAULT_PLACE" >"$work/order"

one() { # one PLACE N: 0 if it was borne
    local rc=0 answers end
    rm -f "$work/done"
    pinned="env LD_PRELOAD=$shim ALLOC_FAIL=$1 ALLOC_NTH=$2 ALLOC_DONE=$work/done"
    serve
    pinned=
    if server_wait 20 2>/dev/null; then
        answers=$(verbs)
        if ! kill -0 "$server" 2>/dev/null; then wait "$server" || rc=$?; echo "ended by itself: exit $rc after $answers"; return 1; fi
        grep -q let-in <<<"$answers" && { echo "a denied host is let in: $answers"; return 1; }
        grep -q 'zeros\|foreign\|stamp' <<<"$answers" && { echo "wrong bytes: $answers"; return 1; }
        # a failed commit is final, and a volume whose allow-list was lost stays closed: both are said, both end with a restart
        final=$(said | grep -cE 'level=error msg="(metadata commit failed|allow-list not applied)')
        end=$(timeout 20 "$blocks" "$port" "$nqn" read 0 64 1 | cut -d' ' -f1,2 | tr '\n' ' ')
        [ "$end" = "good 64 " ] || [ "$final" != 0 ] || { echo "does not serve afterwards: $end ($answers)"; return 1; }
        call -X DELETE http://x/v1/volumes/t >/dev/null
        end=$(curl -s --max-time 15 --unix-socket "$socket" http://x/v1/volumes | jq -c '[.volumes[].name]' 2>/dev/null)
        [ "$end" = '["keep"]' ] || [ "$final" != 0 ] || { echo "volumes afterwards: $end ($answers)"; return 1; }
        server_term || said | grep -qE 'level=error msg="(does not stop|stopped without a commit)"' || { echo "SIGTERM: not 0, and not a word"; return 1; }
    else
        wait "$server" || rc=$?
        server=0
        [ $rc = 1 ] || [ $rc = 2 ] || { echo "no start, exit $rc"; return 1; }
        [ -n "$(said | grep -v 'level=info')" ] || { echo "no start and not a word"; return 1; }
    fi
}
until=$((EPOCHSECONDS + limit)) tried=0 fired=0
while read -r place n; do
    [ $EPOCHSECONDS -lt $until ] || break
    tried=$((tried + 1))
    if one "$place" "$n" >"$work/why"; then
        ok
    else
        bad "FAULT_PLACE=$place,$n: $(cat "$work/why"); $(said | grep -v level=info | tail -n 3)"
        [ "$server" = 0 ] || server_kill
    fi
    [ -e "$work/done" ] && fired=$((fired + 1))
done <"$work/order"
echo "places: $(wc -l <"$work/list"); tried $tried of $(wc -l <"$work/order"), $fired fired; seed $seed"
[ $((fired * 2)) -ge $tried ] && ok || bad "only $fired of $tried allocations were made again"
pinned=
serve
server_wait 20 || bad "no start at the end"
is "what was written is there" "$(host "$nqn" read 0 64 1 | cut -d' ' -f1,2)" "good 64"
down
exits 0 "$firnctl" check --data --dev "$pool"
report
