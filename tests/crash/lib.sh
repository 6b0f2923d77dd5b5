# Functions for scripts that start, kill and question a server of their own. Sourced from the top of the checkout.
# FIRN_BUILD names the build directory; $work is the script's temporary directory.

build=${FIRN_BUILD:-build}
firnd=$build/firnd firnctl=$build/firnctl bench=$build/firn-bench
work=$(mktemp -d /tmp/firn-XXXXXX)
server=0
port=0

cleanup() {
    local p
    trap - EXIT INT TERM
    for p in $(jobs -p); do kill -9 "$p" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ -n "${KEEP:-}" ]; then echo "kept: $work" >&2; else rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

need() { # need PROGRAM...: else the script is skipped
    local p
    for p in "$@"; do
        command -v "$p" >/dev/null || { echo "skipped: $p is missing"; exit 77; }
    done
}

# A port that nobody listens on and that the kernel gives to nobody: for a server that is to come back where it was.
free_port() {
    local p
    for ((;;)); do
        p=$((10000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || break
    done
    echo $p
}

now_ms() { local t=${EPOCHREALTIME/[.,]/}; echo $((t / 1000)); }

# server_start ARGS...: runs firnd; sets $server (its process) and appends its words to $work/firnd.log. Does not wait.
# $pinned may hold a prefix that execs, such as taskset.
server_start() {
    log_from=$(($(stat -c %s "$work/firnd.log" 2>/dev/null || echo 0) + 1))
    started_ms=$(now_ms)
    # shellcheck disable=SC2086
    ${pinned:-} "$firnd" "$@" 2>>"$work/firnd.log" &
    server=$!
}

# server_wait SECONDS: until it says ready; sets $port and $ready_ms (time from start to ready). 1: it ended, or is late.
server_wait() {
    local limit=$((started_ms + $1 * 1000)) line
    while :; do
        line=$(tail -c "+$log_from" "$work/firnd.log" 2>/dev/null | grep -m 1 'msg=ready') && break
        if ! kill -0 "$server" 2>/dev/null || [ "$(now_ms)" -gt $limit ]; then
            echo "firnd is not ready; its last words:" >&2
            tail -n 5 "$work/firnd.log" >&2
            return 1
        fi
        sleep 0.01
    done
    ready_ms=$(($(now_ms) - started_ms))
    port=$(sed -E 's/.* port=([0-9]+).*/\1/' <<<"$line")
}

server_kill() { # SIGKILL and reap
    kill -9 "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=0
}

server_term() { # SIGTERM; its exit status
    local rc=0
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || rc=$?
    server=0
    return $rc
}

ctl() { "$firnctl" --socket "$socket" "$@"; }

volume_make() { # volume_make NAME SIZE [OPTION...]
    ctl --quiet volume create "$1" --size "${@:2}" >/dev/null && ctl --quiet host allow "$1" '*' >/dev/null
}

volume_nqn() { ctl --json volume show "$1" | jq -r '.nqn // .volume.nqn'; }

# A pool of files in DIR by configuration file: conf DIR JOURNAL_SIZE [LINES]
conf() {
    mkdir -p "$1"
    cat >"$1/firn.conf" <<CONF
node = "test";
reactors = ${REACTORS:-2};
pool: { name = "default"; metadata = "$1/meta"; journal: { path = "$1/journal"; size = "$2"; };
        capacity: ( { path = "$1/hdd"; size = "${CAPACITY:-4GiB}"; } ); };
export: { listen = "127.0.0.1"; port = ${PORT:-0}; discovery_port = 0; };
api: { unix = "$1/firnd.sock"; listen = ""; };
${3:-}
CONF
}

pool_format() { # pool_format DIR: what conf wrote; firnd's words only if it fails
    "$firnd" --config "$1/firn.conf" --format 2>"$work/format.log" || { cat "$work/format.log" >&2; return 1; }
}
