#!/usr/bin/env bash
# --ram: one volume, no pool; and the directory of the API's socket.
. "$(dirname "$0")/lib.bash"
sock=$T/run/s
start --ram 16MiB --port 0 --reactors 1 --api-socket "$sock"
has "a directory that was made is told of" "$(<"$log")" "level=info msg=\"directory made for the API's socket\" path=\"?$T/run\"?"
has "one reactor is not several" "$(ctl status)" ' 1 reactor, '
exits 1 ctl volume create a --size 1MiB
has "it has one volume" "$out" '^firnctl: .*: the server runs from memory \(--ram\): it has the one volume ram$'
exits 1 ctl volume delete ram
has "and keeps it" "$out" 'it has the one volume ram$'
stop
is "stopped" $rc 0
start --ram 16MiB --port 0 --api-socket "$sock"
is "nothing is said of a directory that was there" "$(grep -c 'directory made' "$log")" 0
stop
exits 1 timeout 10 "$firnd" --ram 16MiB --port 0 --api-socket "$T/no/such/s"
has "one directory, and not a path" "$out" "$T/no/such/s.*No such file or directory"
is "none of it" "$(ls -d "$T/no" 2>/dev/null)" ""
