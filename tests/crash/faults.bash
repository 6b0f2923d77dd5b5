# Sourced by the faults_*.sh scripts: lib.sh's servers, and counted checks. SPDX-License-Identifier: Apache-2.0
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
FIRN_BUILD=${FIRN_BUILD:-${O:-build}}
. tests/crash/lib.sh
blocks=$build/tests/crash/blocks
skipped=0
. tests/checks.bash
for p in "$firnd" "$firnctl" "$bench" "$blocks"; do [ -x "$p" ] || { echo "skip: $p is not built"; exit 77; }; done
need jq python3

report() { # the closing line; the script's exit status
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
skip() { skipped=$((skipped + 1)); echo "skip: $*"; }
pool=$work/pool
socket=$pool/firnd.sock
begin() { # begin JOURNAL_SIZE [CONF LINES]: a pool in $pool, formatted; $CAPACITY, $REACTORS as conf() has them
    rm -rf "$pool"
    conf "$pool" "$1" "${2:-}"
    pool_format "$pool" || { bad "a pool cannot be formatted"; report; exit 1; }
}
up() { # serve $pool; or end the script
    server_start --config "$pool/firn.conf" "$@"
    server_wait 30 || { bad "no start"; report; exit 1; }
}
down() { # orderly
    local rc=0
    server_term || rc=$?
    [ $rc = 0 ] || { bad "SIGTERM: exit status $rc"; tail -n 3 "$work/firnd.log"; }
}
said() { tail -c "+$log_from" "$work/firnd.log"; } # by the last server
host() { timeout 60 "$blocks" "$port" "$@" || echo "exit $?"; } # host NQN VERB FIRST COUNT [STAMP...]
sums() { sha256sum "$pool"/journal "$pool"/hdd* 2>/dev/null; }
metric() { curl -s --unix-socket "$socket" http://x/metrics | awk -v m="$1" '{ name = $1; sub(/[{].*/, "", name) } name == m { sum += $NF } END { print sum + 0 }'; }
