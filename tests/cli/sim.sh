#!/usr/bin/env bash
# firn-sim's command line: what is wrong ends in 2, with the option, the value and what is allowed; options belong to their verbs.
. "$(dirname "$0")/lib.bash"
sim=$O/firn-sim
[ -x "$sim" ] || { echo "skip: $sim is not built"; exit 77; }
wrong() { # wrong PATTERN ARGUMENTS...
    local p=$1
    shift
    exits 2 timeout 20 "$sim" "$@"
    has "$*" "$out" "^firn-sim: $p"
}
for v in x -1 99999999999999999999 ""; do wrong "--seed: \"$v\" is not valid; allowed: 0 to 18446744073709551615 " explore --seed "$v"; done
for o in seeds ops require-faults; do wrong "--$o: \"x\" is not valid; allowed: [01] to 4294967295 " explore "--$o" x; done
for o in seeds ops; do wrong "--$o: \"0\" is not valid; allowed: 1 to 4294967295 " explore "--$o" 0; done
for v in 0 1025; do wrong "--jobs: \"$v\" is not valid; allowed: 1 to 1024 " explore --jobs "$v"; done
wrong '--seconds: "0" is not valid; allowed: 1 to 86400 ' explore --seconds 0
wrong '--check-determinism: "0" is not valid; allowed: 1 to ' explore --check-determinism=0
wrong '--limit: "0" is not valid; allowed: 1 to ' bugs --limit 0
wrong "unknown profile, firn-sim list names them: fast" explore --profile fast
wrong "unknown planted bug, firn-sim list names them: fast" bugs --bug fast
wrong "explore does not take --limit" explore --limit 3
wrong "bugs does not take --seeds" bugs --seeds 3
wrong "bugs does not take --file" bugs --file "$T/none"
exits 0 "$O/firn-sim" list --json
is "list in JSON: as many of each as in words" "$(jq -c '[(.profiles, .bugs, .faults) | length]' <<<"$out")" \
    "$("$O/firn-sim" list | awk '{n[$1]++} END {printf "[%d,%d,%d]", n["profile"], n["bug"], n["fault"]}')"
wrong "list does not take --seed" list --seed 1
wrong "unexpected word: surplus" list surplus
wrong "unknown command; there are explore, bugs, faults, list, replay, size, peers, trace-gen: frobnicate" frobnicate
wrong "option '--seeds' requires an argument" explore --seeds
wrong "--file: $T/none: No such file or directory" explore --file "$T/none"
wrong "--file: $T: Is a directory" explore --file "$T"
exits 2 "$sim"
exits 0 "$sim" help

# Seeds from a file: a broken line is named, with those before it run.
printf '# nothing\n\n' >"$T/l"
wrong "there is no seed in the file: $T/l" explore --file "$T/l"
file() { # file LINE PATTERN TEXT
    printf "$3" >"$T/l"
    exits 2 timeout 60 "$sim" explore --file "$T/l" --ops 50
    has "$3" "$out" "^$T/l:$1: $2"
}
file 1 "not a seed: x " 'x\n'
file 2 "not a seed: -3 " '# one\n-3 # two\n'
file 2 "unknown profile: fast " '1\n2 fast\n'
file 1 "not a seed: 1 2 3 " '1 2 3\n'
wrong "--seed and --seeds are not taken with: --file" explore --file "$T/l" --seeds 3
printf '1 # the first\r\n\n2\n' >"$T/l"
exits 0 timeout 60 "$sim" explore --file "$T/l" --ops 50
has "both are run" "$out" "^2 passed, 0 failed, 0 skipped"
