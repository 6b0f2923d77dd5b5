#!/usr/bin/env bash
# Configuration errors: golden messages, all at once, exit 2, nothing made.
. "$(dirname "$0")/lib.bash"
conf=$T/f.conf
golden() { # golden TEXT MESSAGE
    printf '%b' "$1" >"$conf"
    exits 2 "$firnd" --check --config "$conf"
    grep -qxF -- "$conf:$2" <<<"$out" && ok || bad "wanted \"$conf:$2\", got: $out"
}
pool='pool: { metadata = "'$T'/m"; journal: { path = "'$T'/j"; size = "64MiB"; }; capacity: ( { path = "'$T'/c"; size = "64MiB"; } ); };\n'
golden 'export: {\n  prot = 4420;\n};\n' '2: export.prot: unknown key; allowed here: listen port discovery_port announce poll queues connect_timeout send_timeout'
golden 'export: { port = 70000; };\n' '1: export.port: out of range; allowed: 0 to 65535'
golden 'export: { port = "4420"; };\n' '1: export.port: wrong type; allowed: a whole number'
golden '\n\nexport: { poll = "5"; };\n' '3: export.poll: "5" is not a duration such as "50us" (us ms s m h)'
golden 'journal: { group_max = "64MB"; };\n' '1: journal.group_max: "64MB" is not a size such as "64MiB" (KiB MiB GiB TiB, Ki Mi Gi Ti) or a number of bytes'
golden 'journal: { group_max = "2MiB"; };\n' '1: journal.group_max: out of range; allowed: 16KiB to 1MiB'
golden 'journal: { group_max = "64.1KiB"; };\n' '1: journal.group_max: "64.1KiB" is not a whole number of bytes'
golden 'tier: { dirty_max = "80"; };\n' '1: tier.dirty_max: wrong type; allowed: a percentage such as 60 or "60%"'
golden 'tier: { dirty_max = "80 %"; };\n' '1: tier.dirty_max: "80 %" is not a percentage such as 60'
golden 'tier: { fetch_size = 5000; };\n' '1: tier.fetch_size: not a multiple of 4KiB'
golden 'tier: { read_ahead_max = "4.5KiB"; };\n' '1: tier.read_ahead_max: not a multiple of 4KiB'
golden 'log: { level = "loud"; };\n' '1: log.level: "loud" is not a level; allowed: debug, info, warn, error'
golden 'node = "Node 1";\n' "1: node: \"Node 1\" is not a name; allowed: a-z, 0-9, '.' and '-', beginning with a letter or digit, at most 63"
golden 'tier: { profile = "fast"; };\n' '1: tier.profile: "fast" is not a profile; allowed: balanced, low-wear, mysql, cassandra, archive'
golden 'tier: { profil = "mysql"; };\n' '1: tier.profil: unknown key; allowed here: profile admit admit_blocks admit_again admit_memory stream_cutoff destage_victims stage_size fetch_size read_ahead_max write_bypass write_bypass_part write_bypass_rate dirty_start dirty_max io_deadline heat_half_life migrate_rate migrate_heat'
golden "${pool}tier: { dirty_start = 80; };\n" '2: tier.dirty_start: 80, not below tier.dirty_max, which tier.profile balanced has at 60; set that one higher, too'
golden "${pool}tier: { dirty_max = 30; };\n" '2: tier.dirty_max: 30, not above tier.dirty_start, which tier.profile balanced has at 40; set that one lower, too'
golden "${pool}\ntier: { dirty_max = 60; dirty_start = 60; };\n" '3: tier.dirty_start: 60, not below tier.dirty_max, which is 60'
golden "${pool}api: { listen = \"0.0.0.0\"; };\n" '2: api.listen: is open to other machines and there is no token; set api.token_file, or listen on 127.0.0.1'
golden 'reactors = 1;\n' '1: pool.capacity: missing; at least one device, such as ( { path = "/dev/sdb"; } )'
golden '@include "x"\n' '1: @include: files cannot include others; put the keys here'
golden 'reactors = = 1;\n' '1: syntax error: the file does not parse; settings look like  name = value;'

printf 'export: { port = -1; };\nlog: { level = 3; };\ncolour = 1;\n' >"$conf"
exits 2 "$firnd" --config "$conf"
is "all problems at once" "$(wc -l <<<"$out")" 3
printf 'journal: { group_max = 256;\nalign = 1024;\nsegment_size = "16.5MiB"; };\n' >"$conf"
exits 2 "$firnd" --check --config "$conf"
is "multiples as well as ranges" "$(sed "s|^$conf:||" <<<"$out" | sort | xargs -d '\n' printf '%s. ')" "1: journal.group_max: out of range; allowed: 16KiB to 1MiB. \
2: journal.align: neither 512 nor 4096. 3: journal.segment_size: not a whole number of MiB. "
exits 2 "$firnd" --config "$T/none.conf"
has "a missing file is named" "$out" "^$T/none.conf: .*No such file.*--config.*--dev"
exits 2 "$firnd" --config "$T"
printf 'node = "a";\0' >"$conf"
exits 2 "$firnd" --config "$conf"
printf '%b' "$pool" >"$conf"
exits 2 "$firnd" --config "$conf" --port 99999
has "options are checked like keys" "$out" '^firnd: --port: out of range; allowed: 0 to 65535'
exits 2 "$firnd" --dev "$T/x" --port abc
has "without a file too" "$out" '^firnd: --port: '
exits 2 "$firnd" --ram 1GiB --api-listen 0.0.0.0
has "and keys that an option set" "$out" '^firnd: api.listen: is open to other machines'
exits 2 "$firnd" --ram fast
has "sizes" "$out" '^firnd: --ram: "fast" is not a size'
rm -rf "$T/x"
printf 'pool: { metadata = "/m"; capacity: ( { path = "/c\377"; } ); };\n' >"$conf"
exits 2 "$firnd" --check --config "$conf"
has "a path that JSON and metrics cannot have" "$out" " is not a path; it begins with '/' or '.', and is UTF-8 without control characters$"
exits 2 "$firnd" --dev "$T/x" --model-hdd all
has "a modelled disk wants one reactor" "$out" '^firnd: --model-hdd: .*--reactors 1'
exits 2 "$firnd" --dev "$T/x" --model-ssd
has "and so does a modelled SSD" "$out" '^firnd: --model-ssd: .*--reactors 1'
exits 2 "$firnd" --dev "$T/x" --reactors 1 --model-hdd some
has "and is one of three" "$out" '^firnd: --model-hdd: capacity, all, or the number'
exits 2 "$firnd" --ram 1GiB --model-hdd all
exits 2 "$firnd" --ram 1GiB --model-ssd
has "RAM is no device" "$out" '^firnd: --model-hdd and --model-ssd belong to a pool'
rm -rf "$T/x"
exits 2 "$firnd" --colour
exits 2 "$firnd" --dev "$T/x" --ram 1GiB
exits 2 "$firnd" --ram fast
exits 2 "$firnd" --dev "$T/x" --force
exits 2 "$firnd" surplus
is "a refused configuration makes nothing" "$(ls "$T")" "f.conf"
exits 0 "$firnd" --help
exits 0 "$firnd" --version
