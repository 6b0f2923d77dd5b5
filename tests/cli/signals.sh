#!/usr/bin/env bash
# SIGHUP applies what may change and names what may not; a bad file changes nothing; SIGTERM and SIGINT end in 0, soon.
. "$(dirname "$0")/lib.bash"
conf=$T/f.conf
write() { # write EXPORT-QUEUES LEVEL
    cat >"$conf" <<END
reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; }; capacity: ( { path = "$T/c"; size = "256MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; queues = $1; };
api: { unix = "$T/s"; listen = ""; token_file = "$T/token"; };
log: { level = "$2"; };
END
}
(umask 077; echo first-token >"$T/token")
write 8 info
exits 0 "$firnd" --format --config "$conf"
start --config "$conf"
sock=$T/s
key() { curl -s --unix-socket "$sock" http://x/v1/config | jq -r ".\"$1\""; }
is "as configured" "$(key log.level)" info
write 4 debug
kill -HUP "$pid"; sleep 0.5
is "the level changed" "$(key log.level)" debug
is "the queues did not" "$(key export.queues)" 8
has "and that is said" "$(cat "$log")" 'msg="not applied" key=export.queues from="8" to="4" why="is read at the start alone; set it in firn.conf and restart firnd"$'
has "with what was and what is" "$(cat "$log")" 'level=info msg=applied key=log.level from="info" to="debug"$'
has "and how much" "$(cat "$log")" 'msg="configuration read again" file="'"$conf"'" changed=2 applied=1$'
is "the token did not" "$(grep -c 'key=api.token_file' "$log")" 0
is "of its devices nothing" "$(grep -c 'key=pool' "$log")" 0
sed -i "s|$T/c\"|$T/other\"|" "$conf"
kill -HUP "$pid"; sleep 0.5
has "another device" "$(cat "$log")" 'msg="not applied" key=pool.capacity from="'"$T/c 256MiB"'" to="'"$T/other 256MiB"'" why="its devices are taken when a pool is formatted'
sed -i "s|$T/other\"|$T/c\"|; s|256MiB|262148KiB|" "$conf"
kill -HUP "$pid"; sleep 0.5
has "or another size of it, though by a block" "$(cat "$log")" 'msg="not applied" key=pool.capacity from="'"$T/c 256MiB"'" to="'"$T/c 262148KiB"'" why='
sed -i "s|262148KiB|256MiB|" "$conf"
echo second-token >"$T/token"
kill -HUP "$pid"; sleep 0.5
has "another token under the old name" "$(cat "$log")" 'msg=applied key=api.token_file file="'"$T/token"'" what="another token"$'
has "which changes no key" "$(cat "$log")" 'changed=1 applied=0$'
profile() { sed -i '/^tier/d' "$conf"; echo "tier: { $1 };" >>"$conf"; kill -HUP "$pid"; sleep 0.5; }
profile 'profile = "low-wear"; admit_again = 2;'
is "a profile, and a key that wins" "$(key tier.admit_blocks) $(key tier.admit_again)" "true 2"
has "its keys are told" "$(cat "$log")" 'msg=applied key=tier.admit_blocks from="false" to="true"$'
profile 'profile = "mysql";'
is "another one takes back what the first one said" "$(key tier.destage_victims) $(key tier.admit_again) $(key tier.fetch_size)" "false 3 64KiB"
patch() { curl -s --unix-socket "$sock" -X PATCH -d "$1" http://x/v1/config | jq -r "${2:-.error.message}"; }
is "by request" "$(patch '{"tier.profile": "archive", "tier.admit": 1, "mover.hours": "22:00-06:00"}' '[."tier.admit", ."tier.dirty_start", ."mover.hours"] | join(" ")')" "1 20 22:00-06:00"
is "what was asked for outlasts a profile" "$(patch '{"tier.profile": "low-wear", "tier.admit_blocks": false}' '[."tier.admit", ."tier.admit_blocks", ."tier.admit_again"] | join(" ")')" "1 false 4"
is "both or none" "$(patch '{"tier.dirty_start": 90, "tier.admit": 4}')" "tier.dirty_start: 90, not below tier.dirty_max, which tier.profile low-wear has at 70; set that one higher, too"
is "none" "$(key tier.admit) $([ "$(key tier.dirty_start)" -lt 90 ] && echo lower)" "1 lower"
is "the key of several that is wrong" "$(patch '{"tier.admit": 1, "tier.dirty_max": 96}')" "tier.dirty_max: out of range; allowed: 2 to 95"
is "a key that is no plain value" "$(patch '{"pool.cache": "/dev/x"}')" "pool.cache: is read at the start alone; name the device in firn.conf, stop firnd, take an empty one in with \`firnd --add-cache\`, start it"
is "a key of the start" "$(patch '{"export.queues": 4}')" "export.queues: is read at the start alone; set it in firn.conf and restart firnd"
is "no such profile" "$(patch '{"tier.profile": "fast"}')" 'tier.profile: "fast" is not a profile; allowed: balanced, low-wear, mysql, cassandra, archive'
profile ''
is "the file has the last word" "$(key tier.profile) $(key tier.admit) $(key tier.admit_again) $(key mover.hours)" "balanced 2 3 "
write 4 loud
kill -HUP "$pid"; sleep 0.5
is "a bad file changes nothing" "$(key log.level)" debug
has "and is said" "$(cat "$log")" 'problem="'"$conf"':5: log.level: '
is "it still serves" "$(curl -s --unix-socket "$sock" http://x/readyz)" ok
begin=$SECONDS
stop
is "SIGTERM" $rc 0
write 4 info
start --config "$conf" --log-level debug --api-socket "$T/o"
sock=$T/o
kill -HUP "$pid"; sleep 0.5
is "what the command line says stays" "$(key log.level) $(key api.unix)" "debug $T/o"
is "and changes nothing" "$(grep -c 'changed=0 applied=0' "$log")" 1
stop
sock=$T/s
[ $((SECONDS - begin)) -le 5 ] && ok || bad "took $((SECONDS - begin)) s"
write 4 info
start --config "$conf"
kill -INT "$pid"; wait "$pid"; rc=$?; pid=
is "SIGINT" $rc 0

# A full standard error does not stop it.
if [ -w /dev/full ]; then
    "$firnd" --config "$conf" 2>/dev/full &
    pid=$!
    for i in $(seq 1 100); do [ -S "$sock" ] && break; sleep 0.05; done
    is "serves without a log" "$(curl -s --retry 5 --retry-connrefused --unix-socket "$sock" http://x/healthz)" ok
    stop
    is "and stops" $rc 0
fi

# From memory: one volume, no pool.
start --ram 64MiB --port 0 --api-socket "$T/r"
sock=$T/r
is "its volume" "$(ctl volume list --json | jq -c '[.volumes[] | [.name,.size]]')" '[["ram",67108864]]'
exits 1 ctl volume create a --size 1MiB
exits 1 ctl volume delete ram
has "status says so" "$(ctl status)" 'runs from memory'
stop
is "stops" $rc 0
