#!/usr/bin/env bash
# The life of volumes by firnctl on firnd --dev: made, listed, grown, changed, allowed, deleted; all of it survives a restart.
. "$(dirname "$0")/lib.bash"
start_dev
is "listens on a port of the kernel's choice" "$([ "$(ready port)" -gt 0 ] && echo yes)" yes
exits 0 ctl volume create a --size 100MiB
has "created" "$out" '^created a, 100.0 MiB'
exits 0 ctl --json volume create a --size 100MiB
is "the same again is the same volume" "$(jq -r .name <<<"$out")" a
uuid=$(jq -r .uuid <<<"$out")
is "serial: first 20 digits of the UUID" "$(jq -r .serial <<<"$out")" "$(tr -d - <<<"$uuid" | cut -c1-20)"
has "NQN" "$(jq -r .nqn <<<"$out")" '^nqn\.2026-11\.io\.firn:[a-z0-9.-]+:a$'
is "no host at first" "$(jq -c .hosts <<<"$out")" "[]"
exits 1 ctl volume create a --size 200MiB
has "other parameters: an error of one line" "$out" '^firnctl: cannot create volume a: .*; choose another name'
exits 0 ctl volume create b --size 10MiB --lba 512 --tier ssd --iops 1000 --bandwidth 10MiB
exits 0 ctl volume show b --json
is "parameters are kept" "$(jq -c '[.lba,.tier,.iops,.bandwidth,.size]' <<<"$out")" '[512,"ssd",1000,10485760,10485760]'
exits 0 ctl volume list --json
is "list, in order" "$(jq -c '[.volumes[].name]' <<<"$out")" '["a","b"]'
exits 0 ctl volume resize a --size 200MiB
exits 1 ctl volume resize a --size 10MiB
exits 0 ctl volume set b iops=0 tier=auto
is "set" "$(ctl volume show b --json | jq -c '[.tier,.iops,.bandwidth]')" '["auto",0,10485760]'
host=nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-000000000001
exits 0 ctl host allow a $host
exits 0 ctl host allow a $host
exits 0 ctl host allow a '*'
is "hosts" "$(ctl host list a | sort | tr '\n' ' ')" "* $host "
exits 0 ctl host deny a '*'
exits 1 ctl host deny a '*'
exits 1 ctl volume show nope
has "not found says what to do" "$out" 'firnctl volume list'
for i in $(seq 1 40); do ctl volume create "v$i" --size 1MiB --quiet || bad "create v$i"; done
is "pages of a list come together" "$(ctl volume list --json | jq '.volumes | length')" 42
exits 0 ctl status
has "status names the pool" "$out" '^pool default'
exits 0 ctl status --json
is "status counts" "$(jq .pool.volumes <<<"$out")" 42
exits 0 ctl device list
exits 0 ctl top --count 1 --json
is "top has a row a volume" "$(jq '.volumes | length' <<<"$out")" 42
exits 0 ctl bundle "$T/bundle"
is "bundle is JSON with its parts" "$(jq -r 'keys | join(" ")' "$T/bundle")" "config devices firnctl metrics status system volumes"
exits 1 ctl bundle "$T/bundle"
is "a file that was there stays" "$(jq -r .firnctl "$T/bundle")" "$("$firnctl" --version | grep -oE '[0-9.]+')"
exits 1 sh -c "trap '' XFSZ; ulimit -f 8; exec '$firnctl' --socket '$sock' bundle '$T/half'"
has "a bundle that does not fit" "$out" 'half cannot be written \(File too large\); name a new file'
is "leaves no part of itself" "$(ls "$T" | grep -c half)" 0
exits 0 ctl bundle "$T/a \"quoted\" name" --json
is "whatever the file's name, the answer is JSON" "$(jq -r .file <<<"$out")" "$T/a \"quoted\" name"
stop
is "SIGTERM ends in 0" $rc 0
is "the socket is gone" "$([ -e "$sock" ] && echo there)" ""
exits 0 "$firnctl" check --dev "$T/p"

start_dev
exits 0 ctl volume show a --json
is "identity and size survive" "$(jq -c '[.uuid,.size,.hosts]' <<<"$out")" "[\"$uuid\",209715200,[\"$host\"]]"
for v in $(ctl volume list --json | jq -r '.volumes[].name'); do ctl volume delete "$v" --quiet || bad "delete $v"; done
is "all deleted" "$(ctl volume list --json | jq '.volumes | length')" 0
exits 0 ctl volume create a --size 1MiB
is "the name is free, the identity is new" "$([ "$(ctl volume show a --json | jq -r .uuid)" != "$uuid" ] && echo new)" new
kill -9 "$pid"; wait "$pid" 2>/dev/null; pid=
start_dev
is "a kill loses nothing" "$(ctl volume list --json | jq -c '[.volumes[].name]')" '["a"]'
stop
is "stopped" $rc 0

# The command line itself.
exits 2 "$firnctl"
exits 2 "$firnctl" snapshot create a s
has "a later command is told of" "$out" 'snapshot: not in this version'
exits 2 "$firnctl" frobnicate
has "an unknown command names what exists" "$out" 'there are status, volume, host, device, loss, heat, top, check, dump, bundle,'
exits 2 "$firnctl" volume frobnicate a b
has "an unknown verb names the verbs" "$out" 'volume create,'
exits 2 "$firnctl" volume create
exits 2 "$firnctl" volume create 'Bad Name' --size 1GiB
exits 2 "$firnctl" volume create a --size 1GB
exits 2 "$firnctl" volume list --size 1GiB
exits 2 "$firnctl" --socket /x --url http://y status
exits 2 "$firnctl" dump nothing --dev "$T/p"
exits 1 "$firnctl" --socket "$T/nobody" status
has "nobody answers" "$out" '^firnctl: cannot get the status: .*: No such file or directory: is firnd running'
exits 0 "$firnctl" --help
exits 0 "$firnctl" volume create --help
