#!/usr/bin/env bash
# Manual pages name every option of --help and every key; the example file is what the program prints.
. "$(dirname "$0")/lib.bash"
mentions() { # mentions PAGE WORD: roff writes '-' as '\-'
    grep -qF -- "${2//-/\\-}" "etc/man/$1" && ok || bad "etc/man/$1 does not mention $2"
}
options() { grep -oE '(^|[ ,[])--[a-z][a-z-]*' | grep -oE -- '--[a-z-]+' | sort -u; }
for o in $("$firnd" --help | options); do mentions firnd.8 "$o"; done
for c in status "volume create" "volume list" "volume show" "volume resize" "volume set" "volume delete" "host allow" "host deny" "host list" \
         "device list" heat top check dump bundle; do
    for o in $("$firnctl" $c --help | options); do mentions firnctl.1 "$o"; done
    mentions firnctl.1 "$c"
    has "help lists $c" "$("$firnctl" --help)" "^  $c"
done
if [ -x "$O/firn-bench" ]; then for o in $("$O/firn-bench" --help | options); do mentions firn-bench.1 "$o"; done; fi
if [ -x "$O/firn-sim" ]; then for o in $({ "$O/firn-sim" --help; for v in replay size peers trace-gen; do "$O/firn-sim" $v --help; done; } | options); do mentions firn-sim.1 "$o"; done; fi

# And the other way round: no page names an option that no help knows; what firn-sim's usage names it explains.
known() { # known PAGE HELP...: options that stand at the head of a paragraph
    local o
    for o in $(sed -n 's/^\.B \(\\-\\-[a-z\\-]*\).*/\1/p' "etc/man/$1" | tr -d '\\' | sort -u); do
        grep -qE -- "(^|[^a-z-])$o([^a-z-]|$)" <<<"$2" && ok || bad "$1 names $o, which no help knows"
    done
}
known firnd.8 "$("$firnd" --help)"
known firnctl.1 "$(for c in "volume create" "volume resize" "volume delete" heat top check dump; do "$firnctl" $c --help; done)"
if [ -x "$O/firn-bench" ]; then known firn-bench.1 "$("$O/firn-bench" --help)"; fi
if [ -x "$O/firn-sim" ]; then
    known firn-sim.1 "$("$O/firn-sim" --help; for v in replay size peers trace-gen; do "$O/firn-sim" $v --help; done)"
    for o in $("$O/firn-sim" --help | sed '/^$/q' | grep -oE -- '--[a-z-]+' | grep -vE -- '--(trace|help)$' | sort -u); do
        has "firn-sim explains" "$("$O/firn-sim" --help)" "^  $o "
    done
fi
is "etc/firn.conf is what firnd prints" "$("$firnd" --print-config | diff - etc/firn.conf && echo same)" same
group=
while IFS= read -r line; do
    if [[ $line =~ ^([a-z]+):\ \{ ]]; then group=${BASH_REMATCH[1]}.
    elif [[ $line =~ ^\ \ journal:\ \{ ]]; then group=pool.journal.
    elif [[ $line =~ ^\ \ \}\; ]]; then group=pool.
    elif [[ $line =~ ^\}\; ]]; then group=
    elif [[ $line =~ ^\ *(#\ )?([a-z_]+)\ =  ]] || [[ $line =~ ^\ \ ()(cache|capacity):  ]]; then mentions firn.conf.5 "$group${BASH_REMATCH[2]}"
    fi
done <etc/firn.conf
"$firnd" --print-config >"$T/f.conf"
exits 1 "$firnd" --check --config "$T/f.conf"
has "its devices are missing, nothing else is wrong" "$out" 'nvme-A-part1'
