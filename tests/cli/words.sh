#!/usr/bin/env bash
# Errors say what, why and what to do; help is help.
. "$(dirname "$0")/lib.bash"
start_dev
exits 0 ctl volume create a --size 10MiB --iops 500
exits 1 ctl volume resize a --size 4MiB
exits 1 ctl volume show nope
has "a volume that is not there has a name" "$out" "there is no volume nope; .firnctl volume list. shows"
exits 1 ctl volume resize nope --size 20MiB
has "however it is asked for" "$out" "there is no volume nope;"
exits 1 ctl volume delete nope
has "to be deleted" "$out" "there is no volume nope;"
exits 1 ctl host allow nope '*'
has "to be opened" "$out" "there is no volume nope;"
exits 1 ctl volume resize a --size 4MiB
has "shrink" "$out" "volumes only grow; its size is 10.0 MiB now"
exits 1 ctl volume create a --size 20MiB --iops 500
has "conflict: size" "$out" "its size is 10.0 MiB, not 20.0 MiB"
exits 1 ctl volume create a --size 10MiB --iops 7
has "conflict: iops" "$out" "its iops is 500, not 7"
exits 0 ctl volume set a iops=700 tier=ssd
exits 0 ctl volume create a --size 10MiB
has "made before, and changed since: what is not asked for may be anything" "$out" "^exists a, 10.0 MiB"
exits 0 ctl volume create a --size 10MiB --iops 700 --lba 4096
exits 1 ctl volume create a --size 10MiB --iops 500
has "what is asked for is compared" "$out" "its iops is 700, not 500; choose another name"
exits 1 ctl volume create a --size 10MiB --tier auto
has "also where it is the default" "$out" "its tier is ssd, not auto"
exits 1 ctl volume create b --size 4KiB
has "least size" "$out" "1 MiB"
exits 1 ctl host deny a nqn.2014-08.org.example:none
has "deny of a stranger" "$out" "not on the list"
exits 0 ctl host allow a nqn.2014-08.org.example:h
exits 0 ctl host deny a nqn.2014-08.org.example:h
exits 0 ctl host allow a '*'
has "any host" "$(ctl volume show a)" '^hosts +\* \(any\)'
has "columns" "$(ctl volume list)" "CONNECTED"
kill -HUP "$pid"; sleep 0.3
stop
exits 1 ctl status
has "a server that is gone" "$out" "firnd.sock: (Connection refused|No such file or directory): is firnd running"
exits 0 "$firnctl" help
exits 0 "$firnctl" help volume
exits 0 "$firnctl" volume --help
has "its commands" "$out" "volume resize"
exits 0 "$firnctl" volume create --help
has "with its options" "$out" "Usage: .*--iops N"
for c in "heat" "heat a --svg f" "scrub start" "snapshot create a b" "volume clone a@b c" "volume restore a@b" "device add /dev/x --role cache" \
         "device evacuate x" "dump heat"; do
    exits 2 "$firnctl" $c
    has "commands to come: $c" "$out" "^firnctl: ${c%% *}.*: not in this version \\(see README, limits\\)$"
done
exits 2 "$firnctl" --json heat
has "behind an option" "$out" "heat: not in this version"
exits 2 "$firnctl" device frobnicate
has "others are unknown" "$out" "unknown command"
if [ -x "$O/firn-sim" ]; then
    exits 0 "$O/firn-sim" --version
    is "firn-sim has the version of the others" "${out#* }" "$("$firnd" --version | cut -d' ' -f2-)"
    for verb in explore "replay"; do
        exits 2 "$O/firn-sim" $verb --bogus
        has "firn-sim names itself" "$out" "^firn-sim.*--bogus"
        has "and its help" "$out" "see firn-sim.* --help"
    done
fi
exits 2 "$firnd" --colour
has "a hint" "$out" "firnd --help"

# A value with quotes stays one value.
printf 'node = "Node 1";\n' >"$T/f.conf"
cat >"$T/g.conf" <<END
reactors = 1;
pool: { metadata = "$T/m"; journal: { path = "$T/j"; size = "160MiB"; }; capacity: ( { path = "$T/c"; size = "256MiB"; } ); };
export: { listen = "127.0.0.1"; port = 0; discovery_port = 0; };
api: { unix = "$T/s"; listen = ""; };
END
exits 0 "$firnd" --format --config "$T/g.conf"
start --config "$T/g.conf"
kill -HUP "$pid"; sleep 0.4
is "a reload is one line" "$(grep -c 'msg="configuration read again"' "$log")" 1
cp "$T/f.conf" "$T/g.conf"
kill -HUP "$pid"; sleep 0.4
has "quotes are escaped" "$(cat "$log")" 'problem=".*\\"Node 1\\" is not a name'
stop
