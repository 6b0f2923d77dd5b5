#!/usr/bin/env bash
# faults.md B1 to B6, A4 on the real server: bytes flipped in the files of a stopped pool. What is damaged answers Unrecovered Read
# Error (2/81h), block by block, again after a restart; all else reads right; nothing is ever zeros, older or foreign; `firnctl check`
# names it and ends in 3. Of clean copies (B2), under the server: no error, no damage, and the copy is written anew.
. "$(dirname "$0")/faults.bash"
cat >"$work/flip.py" <<'END'
# flip.py FILE blocks LBA... : finds the 4096 bytes that stamp 1 or 2 gives a block, wherever they lie in FILE, and flips one byte of each copy
# flip.py FILE at OFFSET LENGTH : flips LENGTH bytes at OFFSET.  Prints how many places were changed.
import mmap, os, sys
def stamp(lba, s):
    x = ((((lba * 31337 + s * 7919) & 0xffffffff) * 2654435761) + 1) & 0xffffffff
    out = bytearray()
    for _ in range(16):
        x = (x * 1664525 + 1013904223) & 0xffffffff
        out.append(x >> 24)
    return bytes(out)
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, os.fstat(fd).st_size)
n = 0
if sys.argv[2] == "at":
    for i in range(int(sys.argv[3]), int(sys.argv[3]) + int(sys.argv[4])):
        m[i] ^= 0x5a; n += 1
else:
    for lba in map(int, sys.argv[4:]):
        at = -1
        while (at := m.find(stamp(lba, int(sys.argv[3])), at + 1)) >= 0:
            m[at + 1234] ^= 0x10; n += 1
m.flush()
print(n)
END
flip() { python3 "$work/flip.py" "$@"; }
line() { grep -E "^$1( |\$)" <<<"$2" || true; } # line OUTCOME TEXT
found() { "$firnctl" check --data --config "$pool/firn.conf"; }

# --- in the log: never destaged, the only copy (B1, B3, A4) ------------------------------------------------------------------
REACTORS=1 begin 160MiB
up
volume_make v 64MiB
nqn=$(volume_nqn v)
host "$nqn" write 0 400 1 >/dev/null
host "$nqn" write 0 200 2 >/dev/null # an older version of these lies in the log as well
server_kill
n=$(flip "$pool/journal" blocks 2 10 11 150)
is "three blocks were found in the log" "$n" 3
n=$(flip "$pool/journal" blocks 1 300)
is "and one more" "$n" 1
up
got=$(host "$nqn" read 0 400 2 1)
is "log: damaged blocks are unrecovered read errors" "$(line status-281 "$got")" "status-281 4 10 11 150 300"
is "log: the newest" "$(line good "$got" | cut -d' ' -f1,2)" "good 197"
is "log: the older half" "$(line stamp-1 "$got" | cut -d' ' -f1,2)" "stamp-1 199"
is "log: nothing else" "$(grep -cE '^(zeros|foreign|ended|exit)' <<<"$got")" 0
[ "$(metric firn_checksum_errors_total)" -ge 4 ] && ok || bad "firn_checksum_errors_total $(metric firn_checksum_errors_total)"
is "each damaged block is counted once" "$(metric firn_damaged_blocks)" 4
host "$nqn" read 10 2 2 >/dev/null
is "also when it is read again" "$(metric firn_damaged_blocks)" 4
has "a line in the log says where" "$(said)" 'level=warn msg="a read met damage" volume=v lba=150 lbas=1 kind=checksum device="[^"]*/journal" offset=[0-9]+ bytes=4096 .*firnctl check --data'
has "the status has an alert" "$("$firnctl" --socket "$socket" status)" '4 blocks of 4 KiB cannot be read'
has "the page has it too" "$(curl -s --unix-socket "$socket" http://firn/)" '<b>4 blocks of 4 KiB cannot be read'
server_kill
up
is "log: the same after a restart" "$(host "$nqn" read 0 400 2 1)" "$got"
host "$nqn" read 0 400 2 1 >/dev/null
damaged=$(metric firn_damaged_blocks)
is "a write mends a block" "$(host "$nqn" write 11 1 3; host "$nqn" read 10 3 3 2)" "$(printf 'good 1 11\ngood 1 11\nstamp-2 1 12\nstatus-281 1 10')"
is "and the gauge goes down" "$(metric firn_damaged_blocks)" $((damaged - 1))
down
exits 3 found
has "check names the blocks by volume, device and offset" "$out" "I11 loss: volume v lba 10\+1 \(4096 bytes\)"
up
got=$(host "$nqn" read 0 400 2 1)
is "after an orderly stop, too" "$(line status-281 "$got")" "status-281 3 10 150 300"
is "and nothing older shines through" "$(grep -cE '^(zeros|ended|exit)' <<<"$got")" 0
server_kill

# --- what firn-bench verify and firnctl check call unreadable is the same, to the block --------------------------------------
cat >"$work/flip_units.py" <<'END'
# flip_units.py FILE UNIT... : flips one byte in every block that firn-bench stamped with that unit
import mmap, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, os.fstat(fd).st_size)
n = 0
for unit in map(int, sys.argv[2:]):
    at = -1
    while (at := m.find(struct.pack("<Q", unit), at + 1)) >= 0:
        if (at - 24) % 512 == 0 and m[at + 20:at + 24] == struct.pack("<I", 4096): # behind unit, write and run: the unit's size
            m[at + 1000] ^= 1; n += 1
m.flush()
print(n)
END
REACTORS=1 begin 160MiB
up
volume_make w 64MiB
wnqn=$(volume_nqn w)
"$bench" run --port "$port" --nqn "$wnqn" --rw write --bs 16KiB --ops 100 --verify --ack-log "$work/acks" --fresh >/dev/null 2>&1 || bad "the stamped load"
server_kill
# none in the newest group: damage there is a torn write to recovery
is "five stamped blocks were found" "$(python3 "$work/flip_units.py" "$pool/journal" 3 40 41 42 200)" 5
exits 3 found
is "check names the ranges" "$(grep -oE 'loss: volume w lba [0-9]+\+[0-9]+' <<<"$out" | grep -oE '[0-9]+\+[0-9]+' | sort -n | xargs)" "3+1 40+3 200+1"
up
got=$("$bench" verify --port "$port" --nqn "$wnqn" --ack-log "$work/acks" --json 2>/dev/null)
is "verify names the same, and judges all others" "$(jq -c '[[.unreadable[] | [.lba, .lbas]], .io_errors, .violations, .units_judged]' <<<"$got")" "[[[3,1],[40,3],[200,1]],5,0,395]"
down

# --- on the HDD: destaged, the log moved on (B4) -------------------------------------------------------------------------------
REACTORS=1 begin 160MiB 'journal: { segment_size = "16MiB"; }; tier: { dirty_start = 1; dirty_max = 10; };'
up
volume_make v 256MiB
nqn=$(volume_nqn v)
host "$nqn" write 0 512 1 >/dev/null # whole extents: the densest go first
# pushes all of it out of the log
"$bench" run --port "$port" --nqn "$nqn" --rw write --bs 64KiB --qd 8 --offset 8MiB --size 240MiB --bytes 480MiB --time 60s >/dev/null 2>&1 || bad "the load that pushes data out"
down
n=$(flip "$pool/hdd" blocks 1 20 21 22 399)
is "four blocks were found on the HDD" "$n" 4
in_log=$(flip "$pool/journal" blocks 1 20 21 22 399)
before=$(sums)
exits 3 found
has "check names damage on the HDD" "$out" "volume v lba 399\+1 \(4096 bytes\) on $pool/hdd at offset [0-9]+: fails its checksum"
has "neighbours are one range" "$out" "volume v lba 20\+3 \(12288 bytes\) on $pool/hdd at offset [0-9]+: fails its checksum"
is "check writes nothing" "$(sums)" "$before"
first=$out
exits 3 found
is "check says the same twice" "$out" "$first"
up
got=$(host "$nqn" read 0 400 1)
is "HDD: damaged blocks are unrecovered read errors (copies in the log flipped too: $in_log)" "$(line status-281 "$got")" "status-281 4 20 21 22 399"
is "HDD: all others are good" "$(line good "$got" | cut -d' ' -f1,2)" "good 396"
is "HDD: nothing else" "$(grep -cE '^(zeros|foreign|stamp|ended|exit)' <<<"$got")" 0
is "a whole write mends it" "$(host "$nqn" write 20 3 5; host "$nqn" read 20 3 5)" "$(printf 'good 3 20 21 22\ngood 3 20 21 22')"
down
flip "$pool/hdd" blocks 1 399 >/dev/null # flipped back: the pristine bytes
flip "$pool/journal" blocks 1 399 >/dev/null
up
is "mended from outside: it reads again, or stays an error" "$(host "$nqn" read 399 1 1 | grep -cE '^(good|status-281) 1 399')" 1
is "the three that were rewritten" "$(host "$nqn" read 20 3 5)" "good 3 20 21 22"
down

# --- labels (B6) and metadata (B5) --------------------------------------------------------------------------------------------------
for at in 0 4096; do flip "$pool/hdd" at $at 64 >/dev/null; flip "$pool/journal" at $at 64 >/dev/null; done
up
is "one of three copies of each label is enough" "$(host "$nqn" read 0 10 1)" "good 10 0 1 2 3 4 5 6 7 8 9"
down
exits "$("$firnctl" check --config "$pool/firn.conf" >/dev/null 2>&1; echo $?)" "$firnctl" check --config "$pool/firn.conf"
is "and the start has made them good" "$("$firnctl" check --config "$pool/firn.conf" 2>&1 | grep -ci label)" 0
mkdir "$work/kept" "$work/kept/meta"
cp "$pool/meta/data.mdb" "$work/kept/meta"
cp --sparse=always "$pool/journal" "$pool/hdd" "$work/kept"
crashed=0 silent=0 started=0
size=$(stat -c %s "$pool/meta/data.mdb")
for ((i = 0; i < 12; i++)); do
    flip "$pool/meta/data.mdb" at $((i * 661 % (size / 64) * 64 + i)) 4 >/dev/null
    server_start --config "$pool/firn.conf"
    if server_wait 20 2>/dev/null; then
        started=$((started + 1))
        got=$(host "$nqn" read 0 60 1 5)
        grep -qE '^(zeros|foreign|ended|exit)' <<<"$got" && { silent=$((silent + 1)); echo "flip $i: $got"; }
        server_kill
    else
        rc=0; wait "$server" || rc=$?
        [ $rc = 1 ] || { crashed=$((crashed + 1)); echo "flip $i: exit $rc"; }
        said | grep -qE 'cannot start.*why="..' || silent=$((silent + 1))
    fi
    rc=0; "$firnctl" check --config "$pool/firn.conf" >"$work/check" 2>&1 || rc=$?
    [ $rc -le 3 ] || { crashed=$((crashed + 1)); echo "flip $i: check exit $rc"; }
    cp "$work/kept/meta/data.mdb" "$pool/meta/data.mdb" # with the devices: a start that went on has named its batches there
    cp --sparse=always "$work/kept/journal" "$work/kept/hdd" "$pool"
done
rm -rf "$work/kept"
is "rotten metadata: crashes" $crashed 0
is "rotten metadata: wrong bytes or wordless refusals (started $started of 12)" $silent 0
up
is "with the metadata back, all is there" "$(host "$nqn" read 0 10 1)" "good 10 0 1 2 3 4 5 6 7 8 9"
down

# --- clean copies in slot segments of the SSD, while it is served (B2) ----------------------------------------------------------
REACTORS=1 begin 160MiB 'journal: { segment_size = "16MiB"; }; tier: { dirty_start = 1; dirty_max = 10; admit = 1; stage_size = "256KiB"; };'
up --model-hdd capacity
volume_make v 128MiB
nqn=$(volume_nqn v)
host "$nqn" write 0 512 1 >/dev/null
ctl --quiet volume set v tier=hdd # destages all of it at once
for ((i = 0; i < 100; i++)); do [ "$(ctl --json volume show v | jq .dirty)" = 0 ] && break; sleep 0.1; done
is "copies: all is destaged" "$(ctl --json volume show v | jq .dirty)" 0
ctl --quiet volume set v tier=auto
volume_make other 64MiB # what is written there takes the log's segments
"$bench" run --port "$port" --nqn "$(volume_nqn other)" --rw write --bs 64KiB --qd 8 --bytes 480MiB --time 60s >/dev/null 2>&1 || bad "the load that pushes data out"
slot_hits() { # of a pass over the blocks; all of them must be good
    local before
    before=$(metric firn_tier_slot_hit_blocks_total)
    is "copies: all bytes are right" "$(host "$nqn" read 0 64x8 1 | cut -d' ' -f1,2)" "good 64"
    hits=$(($(metric firn_tier_slot_hit_blocks_total) - before))
}
for ((i = 0; i < 40; i++)); do # the log has some of them still
    slot_hits
    [ $hits -ge 48 ] && break
    sleep 0.2
done
[ $hits -ge 32 ] && ok || bad "copies: only $hits of 64 reads are answered from slot segments"
had=$hits
stale=$(metric firn_tier_slots_stale_total)
lbas=$(seq 0 8 511)
# shellcheck disable=SC2086
[ "$(flip "$pool/journal" blocks 1 $lbas)" -ge "$had" ] && ok || bad "copies: they are not found on the SSD"
slot_hits
dropped=$(($(metric firn_tier_slots_stale_total) - stale))
[ $dropped -ge "$had" ] && ok || bad "copies: of $had rotten ones $dropped were dropped"
is "copies: nothing is damaged, nobody was told of an error" "$(metric firn_damaged_blocks) $(metric firn_tier_read_errors_total)" "0 0"
sleep 0.3
slot_hits
[ $hits -ge "$had" ] && ok || bad "copies: of $had only $hits were written anew"
is "copies: and well" $(($(metric firn_tier_slots_stale_total) - stale)) $dropped
down
# shellcheck disable=SC2086
flip "$pool/journal" blocks 1 $lbas >/dev/null
exits 0 found
up --model-hdd capacity
[ "$(metric firn_tier_slots_found_total)" -ge "$had" ] && ok || bad "copies: a start found $(metric firn_tier_slots_found_total)"
slot_hits
is "copies: rotten at the start: no error either" "$(metric firn_damaged_blocks) $(metric firn_tier_read_errors_total)" "0 0"
server_kill
report
