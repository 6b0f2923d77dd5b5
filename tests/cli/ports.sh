#!/usr/bin/env bash
# A port belongs to one server: a second one refuses to start and says what to do; a restart gets its port back at once.
. "$(dirname "$0")/lib.bash"
free_port() { # that the kernel gives to nobody meanwhile
    local p
    for ((;;)); do p=$((10000 + RANDOM % 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || break; done
    echo $p
}
start --ram 16MiB --port "$(free_port)" --discovery-port "$(free_port)"
port=$(ready port) discovery=$(ready discovery_port)
exits 1 timeout 20 "$firnd" --ram 16MiB --port "$port" --discovery-port 0
has "the port is taken" "$out" "port $port: Address already in use; .*--port"
exits 1 timeout 20 "$firnd" --ram 16MiB --port 0 --discovery-port "$discovery"
has "so is the one for discovery" "$out" "port $discovery: Address already in use; .*--discovery-port"
exits 1 timeout 20 "$firnd" --dev "$T/p" $small --reactors 1 --port "$port" --discovery-port 0
has "a server with a pool refuses too" "$out" "Address already in use"
exec 3<>"/dev/tcp/127.0.0.1/$port"
stop
is "the first stops" $rc 0
start --ram 16MiB --port "$port" --discovery-port "$discovery"
is "and gets its port back while old connections linger" "$(ready port)" "$port"
exec 3>&-
stop
is "stops" $rc 0

# One socket for IPv6 and IPv4: a host is told of the address by which it came, in its own family.
if [ -e /proc/net/if_inet6 ]; then
    start --ram 16MiB --port 0 --listen ::
    is "a host over IPv4" "$("$O"/firn-bench list --port "$(ready port)" --json | jq -r '[.[] | select(.subtype == 2).address] | unique[]')" 127.0.0.1
    is "a host over IPv6" "$("$O"/firn-bench list --host ::1 --port "$(ready port)" --json | jq -r '[.[] | select(.subtype == 2).address] | unique[]')" ::1
    stop
fi
