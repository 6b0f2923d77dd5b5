#!/usr/bin/env bash
# The TCP port: every route with no, a wrong and the right token; no open port without a token; slow clients are cut.
. "$(dirname "$0")/lib.bash"
printf 'the-right-token-0123456789\n' >"$T/token"
chmod 600 "$T/token"
start_dev --api-port 0 --api-token-file "$T/token"
url=http://127.0.0.1:$(ready api_port)
code() { curl -s -o /dev/null -w '%{http_code}' --max-time 20 -X "$1" "${@:3}" "$url$2"; }
for r in "GET /" "GET /v1/status" "GET /v1/pool" "PATCH /v1/pool" "GET /v1/devices" "GET /v1/config" "PATCH /v1/config" "GET /v1/volumes" "POST /v1/volumes" \
         "GET /v1/volumes/a" "PATCH /v1/volumes/a" "DELETE /v1/volumes/a" "GET /v1/volumes/a/hosts" "PUT /v1/volumes/a/hosts/nqn.x" \
         "DELETE /v1/volumes/a/hosts/nqn.x" "GET /nothing" "DELETE /v1/volumes" "GET /v1/../v1/volumes"; do
    is "$r without a token" "$(code $r)" 401
    is "$r with a wrong token" "$(code $r -H 'Authorization: Bearer the-right-token-012345678')" 401
    is "$r with another scheme" "$(code $r -H 'Authorization: Basic the-right-token-0123456789')" 401
    c=$(code $r -H 'Authorization: Bearer the-right-token-0123456789')
    [ "$c" != 401 ] && ok || bad "$r with the token: $c"
done
for r in "GET /healthz" "GET /readyz" "GET /metrics"; do is "$r is open" "$(code $r)" 200; done
exits 0 "$firnctl" --url "$url" --token-file "$T/token" volume create a --size 1MiB
exits 2 timeout 10 "$firnd" --ram 64MiB --port 0 --api-listen 0.0.0.0 --api-port 0
has "also from memory an open API needs a token" "$out" 'api.listen: is open to other machines and there is no token'
exits 1 "$firnctl" --url "$url" volume list
has "and says what to do" "$out" 'token-file'
exits 1 "$firnctl" --url "$url" --token-file "$T/none" volume list
is "nobody saw the token" "$(grep -c the-right-token "$log")" 0
curl -s --unix-socket "$sock" http://x/v1/config >"$T/c"; is "the API neither" "$(grep -c the-right-token "$T/c")" 0

# A new token takes the old one's place on SIGHUP.
printf 'another-token\n' >"$T/token"
kill -HUP "$pid"; sleep 0.5
is "that is said" "$(grep -c 'msg=applied key=api.token_file' "$log")" 1
kill -HUP "$pid"; sleep 0.5
is "the same token is not" "$(grep -c 'msg=applied key=api.token_file' "$log")" 1
is "old token" "$(code GET /v1/volumes -H 'Authorization: Bearer the-right-token-0123456789')" 401
is "new token" "$(code GET /v1/volumes -H 'Authorization: Bearer another-token')" 200

# Clients that never finish: headers for 10 s, and everybody else is served meanwhile.
python3 - "${url##*:}" >"$T/slow" <<'END' &
import socket, sys, time
socks = []
for _ in range(40):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1]))); s.sendall(b"GET /healthz HTTP/1.1\r\nX: "); socks.append(s)
t = time.time(); cut = 0
while socks and time.time() - t < 20:
    for s in list(socks):
        try:
            s.sendall(b"a"); s.setblocking(False)
            try:
                if s.recv(100) == b"": raise OSError
            except BlockingIOError: pass
            s.setblocking(True)
        except OSError: socks.remove(s); cut += 1
    time.sleep(0.5)
print(cut, int(time.time() - t))
END
slow=$!
sleep 1
is "served while others dawdle" "$(code GET /healthz)" 200
wait $slow
read -r cut took <"$T/slow"
is "all slow clients were cut" "$cut" 40
[ "$took" -le 14 ] && ok || bad "after $took s"
stop
is "stopped" $rc 0

# Without a token only the open three; and never beyond loopback.
start_dev --api-port 0
url=http://127.0.0.1:$(ready api_port)
is "no token configured" "$(code GET /v1/volumes)" 401
is "an empty one does not match" "$(code GET /v1/volumes -H 'Authorization: Bearer ')" 401
is "health is open" "$(code GET /healthz)" 200
stop
exits 2 "$firnd" --dev "$T/p" --port 0 --api-listen 0.0.0.0 --api-port 0
has "refused to start" "$out" 'api.listen: is open to other machines and there is no token'
exits 2 "$firnd" --dev "$T/p" --port 0 --api-listen 0.0.0.0 --api-port 0 --api-token-file "$T/none"
: >"$T/empty"
exits 1 "$firnd" --dev "$T/p" --port 0 --api-port 0 --api-token-file "$T/empty"
has "an empty file is no token" "$out" 'holds no token'
