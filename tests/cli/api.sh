#!/usr/bin/env bash
# The HTTP API on the unix socket: statuses, error codes, idempotence, paging, limits.
. "$(dirname "$0")/lib.bash"
start_dev
is "socket mode" "$(stat -c %a "$sock")" 600
req() { # req METHOD PATH [BODY]: $code, $body
    if [ $# -gt 2 ]; then
        code=$(curl -s -o "$T/body" -w '%{http_code}' --max-time 20 --path-as-is --unix-socket "$sock" -X "$1" -d "$3" "http://x$2")
    else
        code=$(curl -s -o "$T/body" -w '%{http_code}' --max-time 20 --path-as-is --unix-socket "$sock" -X "$1" "http://x$2")
    fi
    body=$(cat "$T/body" 2>/dev/null); rm -f "$T/body"
}
want() { # want STATUS CODE METHOD PATH [BODY]
    local status=$1 ecode=$2
    shift 2
    req "$@"
    is "$* status" "$code" "$status"
    [ "$ecode" = - ] || is "$* code" "$(jq -r '.error.code' <<<"$body" 2>/dev/null)" "$ecode"
}
want 201 - POST /v1/volumes '{"name":"a","size":"10MiB"}'
want 200 - POST /v1/volumes '{"name":"a","size":10485760}'
want 409 exists POST /v1/volumes '{"name":"a","size":"20MiB"}'
want 409 exists POST /v1/volumes '{"name":"a","size":"10MiB","lba":512}'
want 201 - POST /v1/volumes '{"name":"half","size":"1MiB","lba":512,"iops":100}'
want 200 - POST /v1/volumes '{"name":"half","size":"1MiB","lba":512}'
want 409 exists POST /v1/volumes '{"name":"half","size":"1MiB"}'
want 204 - DELETE /v1/volumes/half
want 400 invalid POST /v1/volumes '{"name":"a"}'
want 400 invalid POST /v1/volumes '{"size":"10MiB"}'
want 400 invalid POST /v1/volumes '{"name":"../a","size":"10MiB"}'
want 400 invalid POST /v1/volumes '{"name":"a","size":"10MB"}'
want 400 invalid POST /v1/volumes '{"name":"a","size":"10MiB","colour":1}'
want 400 invalid POST /v1/volumes 'name=a'
want 400 invalid POST /v1/volumes '[]'
want 400 invalid POST /v1/volumes ''
want 400 invalid POST /v1/volumes "$(printf '{"a":%.0s' {1..17})1$(printf '}%.0s' {1..17})"
want 200 - GET /v1/volumes/a
want 404 not_found GET /v1/volumes/b
want 404 not_found DELETE /v1/volumes/b
want 404 not_found PATCH /v1/volumes/b '{"iops":1}'
want 200 - PATCH /v1/volumes/a '{"size":"20MiB","iops":500}'
is "both changes" "$(jq -c '[.size,.iops]' <<<"$body")" "[20971520,500]"
want 400 invalid PATCH /v1/volumes/a '{"size":"10MiB"}'
want 400 invalid PATCH /v1/volumes/a '{"iops":7,"size":"10MiB"}'
want 400 invalid PATCH /v1/volumes/a '{"iops":7,"size":"30MiB","tier":"nope"}'
want 400 invalid PATCH /v1/volumes/a '{"size":"30MiB","lba":512}'
req GET /v1/volumes/a
is "nothing of a bad change" "$(jq -c '[.size,.iops]' <<<"$body")" "[20971520,500]"
want 200 - PATCH /v1/volumes/a '{}'
want 200 - PATCH /v1/volumes/a '{"size":"20MiB"}'
for v in 200 '"200"' 1048575; do
    want 400 invalid PATCH /v1/volumes/a "{\"bandwidth\":$v}"
    want 400 invalid POST /v1/volumes "{\"name\":\"z\",\"size\":\"1MiB\",\"bandwidth\":$v}"
    has "a cap as small as that: what was understood" "$body" "bandwidth: ${v//\"/} bytes a second are too little; allowed: a size a second such as"
done
want 200 - PATCH /v1/volumes/a '{"bandwidth":0}'
want 200 - PATCH /v1/volumes/a '{"bandwidth":"5MiB"}'
is "one change" "$(jq -c '[.size,.iops,.bandwidth]' <<<"$body")" "[20971520,500,5242880]"
want 400 invalid PATCH /v1/volumes/a '{"lba":512}'
want 400 invalid PATCH /v1/volumes/a '{"name":"b"}'
want 200 - PUT /v1/volumes/a/hosts/nqn.x:1
want 200 - PUT /v1/volumes/a/hosts/%2a
is "hosts" "$(jq -c .hosts <<<"$body")" '["nqn.x:1","*"]'
want 200 - DELETE /v1/volumes/a/hosts/nqn.x:1
want 200 - DELETE /v1/volumes/a/hosts/nqn.x:1
want 200 - GET /v1/volumes/a/hosts
is "one left" "$(jq -c .hosts <<<"$body")" '["*"]'
want 400 invalid PUT /v1/volumes/a/hosts/me
want 404 not_found PUT /v1/volumes/b/hosts/nqn.x:1
for i in $(seq 1 31); do req PUT /v1/volumes/a/hosts/nqn.h:$i; done
want 503 no_resources PUT /v1/volumes/a/hosts/nqn.h:32

for v in b c d; do want 201 - POST /v1/volumes "{\"name\":\"$v\",\"size\":\"1MiB\"}"; done
want 200 - GET '/v1/volumes?limit=2'
is "first page" "$(jq -c '[[.volumes[].name],.next]' <<<"$body")" '[["a","b"],"b"]'
want 200 - GET '/v1/volumes?limit=3&after=b'
is "last page" "$(jq -c '[[.volumes[].name],.next]' <<<"$body")" '[["c","d"],null]'
want 400 invalid GET '/v1/volumes?limit=0'
want 400 invalid GET '/v1/volumes?colour=1'
want 204 - DELETE /v1/volumes/d
want 404 not_found DELETE /v1/volumes/d

want 405 method_not_allowed DELETE /v1/volumes
has "405 names the methods" "$(curl -si --unix-socket "$sock" -X DELETE http://x/v1/volumes)" '^Allow: GET, POST'
want 404 not_found GET /v1/nothing
for p in /v1/volumes/a/snapshots /v1/volumes/a/clone; do want 404 not_found POST $p '{}'; done
for p in /../etc/passwd /v1/volumes/..%2f..%2fetc /v1/volumes/%2e%2e /v1/volumes/a/../b //v1/volumes /v1/volumes/%00 /v1/volumes/%252e; do
    req GET "$p"
    [[ $code = 400 || $code = 404 ]] && ok || bad "$p: $code"
done
for p in /v1/pool /v1/devices /v1/status /v1/config /healthz /readyz /metrics /; do want 200 - GET $p; done
has "the page is HTML" "$body" '<!doctype html>'
want 200 - PATCH /v1/config '{"log.level":"debug"}'
is "applied" "$(jq -r '."log.level"' <<<"$body")" debug
want 400 invalid PATCH /v1/config '{"log.level":"loud"}'
want 400 invalid PATCH /v1/config '{"export.port":"1"}'
want 400 invalid PATCH /v1/config '{"nope":1}'
want 400 invalid PATCH /v1/config '{"log.level":"info","limits.volumes":2,"nope":1}'
want 400 invalid PATCH /v1/config '{"log.level":"info","export.port":1}'
want 400 invalid PATCH /v1/config '{"log.level":"info","limits.volumes":{}}'
req GET /v1/config
is "nothing of a bad change" "$(jq -r '."log.level"' <<<"$body")" debug
want 200 - PATCH /v1/config '{"limits.volumes":3}'
want 503 no_resources POST /v1/volumes '{"name":"e","size":"1MiB"}'
has "which limit, and what to do" "$body" '"message":"limits.volumes = 3 is reached; delete a volume, or raise it in firn.conf and reload"'
exits 1 ctl volume create e --size 1MiB
is "firnctl adds nothing to that" "$out" "firnctl: cannot create volume e: limits.volumes = 3 is reached; delete a volume, or raise it in firn.conf and reload"
req HEAD /healthz 2>/dev/null

# Limits.
head -c 65000 /dev/zero | tr '\0' ' ' >"$T/fits"
head -c 65537 /dev/zero | tr '\0' ' ' >"$T/big"
up() { curl -s -o /dev/null -w '%{http_code}' --max-time 20 --unix-socket "$sock" "$@" http://x/v1/volumes; }
is "64 KiB are read" "$(up -H Expect: --data-binary @"$T/fits")" 400
is "more are refused" "$(up -H Expect: --data-binary @"$T/big")" 413
is "also in chunks" "$(up -H Expect: -H 'Transfer-Encoding: chunked' --data-binary @"$T/big")" 413
is "long headers" "$(up -H "X-Long: $(head -c 9000 /dev/zero | tr '\0' a)")" 431
raw() { printf "$1" | timeout 60 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read()); s.settimeout(30)
d = b""
try:
    while True:
        c = s.recv(65536)
        if not c: break
        d += c
except OSError: pass
print(d.split(b"\r\n")[0].decode("latin1"), d.count(b"HTTP/1.1 "))' "$sock"; }
has "both lengths" "$(raw 'POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')" ' 400 .* 1$'
has "two lengths" "$(raw 'POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdeG')" ' 400 .* 1$'
has "odd encoding" "$(raw 'POST /v1/volumes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n')" ' 400 .* 1$'
has "no host" "$(raw 'GET /healthz HTTP/1.1\r\n\r\n')" ' 400 '
has "no HTTP" "$(raw 'hello\r\n\r\n')" '400|^ 0$'
has "a negative length" "$(raw 'POST /v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n')" '400|413|^ 0$'
want 200 - GET /healthz
stop
is "stopped" $rc 0
