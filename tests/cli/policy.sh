#!/usr/bin/env bash
# A volume's part of the places for copies on the SSD: set while it is in use, told, kept over a start, and refused where it cannot be.
. "$(dirname "$0")/lib.bash"
get() { ctl volume show "$1" --json | jq -rc '[.cache_min, .cache_max, .admit, .stream_cutoff]'; }

start_dev
ctl volume create a --size 16MiB --quiet
ctl volume create b --size 16MiB --quiet
is "nothing special at first" "$(get a)" '[0,0,"auto","auto"]'
is "and nothing is said of it" "$(ctl volume show a | grep -c -E '^(cache share|admit|stream cutoff)')" 0
exits 0 ctl volume set a cache_min=10% cache_max=50% admit=second stream_cutoff=1MiB
is "all at once" "$(get a)" '["10%","50%","second",1048576]'
has "in words" "$out" "^cache share +at least 10%, at most 50% of the places for copies$"
has "admission" "$out" "^admit +second$"
has "streams" "$out" "^stream cutoff +1.0 MiB$"
is "in one column" "$(cut -c1-14 <<<"$out" | grep -vc ' $')" 0
exits 0 ctl volume set a cache_max=0 stream_cutoff=none
is "one by one" "$(get a)" '["10%",0,"second","none"]'
exits 0 ctl volume set b cache_min=1MiB cache_max=1048577 admit=never
is "in bytes, rounded up" "$(get b)" '[1048576,2097152,"never","auto"]'
has "nothing is copied" "$out" "^admit +never: nothing is copied to the SSD$"

exits 1 ctl volume set b cache_min=60% cache_max=20%
has "a minimum above the maximum" "$out" "cache_min: 60% is more than cache_max, which is 20%; raise that one, too, or set it to 0, which is no limit"
exits 1 ctl volume set b cache_min=7MiB
has "against one that is there" "$out" "cache_min: 7.0 MiB is more than cache_max, which is 2.0 MiB"
exits 1 ctl volume set b cache_min=91% cache_max=0
has "more than all" "$out" "cache_min: 91% does not fit: other volumes of its reactor were promised 6.0 MiB of the 60.0 MiB that copies can have there at most; 54.0 MiB are left, which is 90%"
exits 1 ctl volume create new --size 4MiB --cache-min 95%
has "of one that is not there yet" "$out" "cache_min: 95% does not fit: other volumes of its reactor were promised 7.0 MiB of the 60.0 MiB .*; 53.0 MiB are left, which is 88%"
is "neither has changed anything" "$(get b)" '[1048576,2097152,"never","auto"]'
exits 0 ctl volume set b cache_min=80% cache_max=0
exits 1 ctl volume set a cache_min=30%
exits 0 ctl volume set b cache_min=60%
exits 0 ctl volume set a cache_min=30%
for v in 101% % -1% 1.5% 10MB 50 99999999999999999999% ""; do
    exits 2 ctl volume set a "cache_min=$v"
    has "$v" "$out" "^firnctl: cache_min: \"$v\" is not valid; allowed: a part of the places"
done
exits 2 ctl volume set a admit=fourth
has "admit" "$out" "allowed: auto, never, first, second, third$"
exits 2 ctl volume set a stream_cutoff=4KiB
has "stream_cutoff" "$out" "allowed: 64KiB to 1TiB such as 1MiB; auto: the pool's; none$"
exits 2 ctl volume set a stream_cutoff=0
exits 2 ctl volume set a admit=first admit=third
has "a key twice: which one?" "$out" '^firnctl: set: "admit=third" is not valid; allowed: each key once$'
exits 2 ctl volume set a colour=red
has "the keys are named" "$out" "allowed: tier, iops, bandwidth, cache_min, cache_max, admit, stream_cutoff$"

api() { curl -s --unix-socket "$sock" -X "$1" -d "$3" "http://x/v1/volumes$2" | jq -rc "${4:-.error.message}"; }
for v in '"101%"' '"x"' -1 50 '"1048575"' true null; do has "$v" "$(api PATCH /a "{\"cache_max\": $v}")" "^cache_max: not a valid value; allowed: a part"; done
has "admit" "$(api PATCH /a '{"admit": 2}')" "^admit: not a valid value; allowed: auto, never"
has "stream_cutoff" "$(api PATCH /a '{"stream_cutoff": "2TiB"}')" "^stream_cutoff: not a valid value; allowed: 64 KiB to 1 TiB"
has "as firn.conf has it, where it means none" "$(api PATCH /a '{"stream_cutoff": 0}')" "^stream_cutoff: not a valid value"
has "help tells all" "$("$firnctl" volume set --help)" "^stream_cutoff=SIZE"
is "made with a policy" "$(api POST '' '{"name": "c", "size": "4MiB", "cache_max": "5%", "admit": "first"}' '[.cache_max, .admit]')" '["5%","first"]'
is "again" "$(api POST '' '{"name": "c", "size": "4MiB", "cache_max": "5%"}' .cache_max)" "5%"
is "with another one" "$(api POST '' '{"name": "c", "size": "4MiB", "cache_max": "6%"}')" "a volume of that name exists: its cache_max is another one"

exits 0 ctl volume create d --size 4MiB --tier hdd --cache-min 1MiB --cache-max 5% --admit third --stream-cutoff 2MiB
is "made with all of it by the command line" "$(get d)" '[1048576,"5%","third",2097152]'
is "and its tier" "$(ctl volume show d --json | jq -r .tier)" hdd
exits 0 ctl volume create d --size 4MiB --admit third
has "again" "$out" "^exists d"
exits 1 ctl volume create d --size 4MiB --admit=second
has "with another one" "$out" "a volume of that name exists: its admit is another one"
exits 2 ctl volume create e --size 4MiB --cache-min 50
has "refused before a server is asked" "$out" '^firnctl: cache_min: "50" is not valid; allowed: a part'
exits 1 ctl volume create e --size 4MiB --cache-min 20% --cache-max 10%
has "refused by the server" "$out" "cache_min: 20% is more than cache_max, which is 10%;"
exits 1 ctl volume show e
exits 0 ctl volume delete d

stop
exits 0 "$firnctl" dump volumes --dev "$T/p"
has "in the metadata" "$out" "name=b .* hosts=0 cache_min=60% admit=never$"
exits 0 "$firnctl" check --dev "$T/p"
start_dev
is "kept" "$(get a) $(get b) $(get c)" '["30%",0,"second","none"] ["60%",0,"never","auto"] [0,"5%","first","auto"]'
exits 1 ctl volume set a cache_min=50%
exits 0 ctl volume delete b
exits 0 ctl volume set a cache_min=50%
stop
is "stops" $rc 0
