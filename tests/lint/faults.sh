#!/usr/bin/env bash
# tests/FAULTS.md: every row of the fault model once; a row that is done here names tests; every test named exists.
set -u
cd "$(dirname "$0")/../.."
table=tests/FAULTS.md
bad=0
say() { echo "$table: $*"; bad=1; }

rows=$(for s in A:10 B:16 C:13 D:13 F:7; do for ((i = 1; i <= ${s#*:}; i++)); do echo "${s%:*}$i"; done; done)
there=$(grep -oE '^\| [A-F][0-9]+ \|' "$table" | tr -d '| ')
[ "$there" = "$rows" ] || { say "rows are missing, double or out of order:"; diff <(echo "$rows") <(echo "$there"); }

while IFS='|' read -r _ row _ here does tests rest; do
    row=${row// /} here=$(sed -E 's/^ +| +$//g' <<<"$here")
    case $here in
    yes | 'in part: '*)
        [ -n "${does// /}" ] || say "$row does not say what Firn does"
        grep -q '`' <<<"$tests" || say "$row names no test" ;;
    'later: '*) ;;
    *) say "$row: \"$here\" is neither yes nor \"in part: why\" nor \"later: why\"" ;;
    esac
done < <(grep -E '^\| [A-F][0-9]+ \|' "$table")

while read -r name; do
    file=${name%%:*} part=${name#*:}
    [ "$file" != "$name" ] || part=
    if [ ! -e "$file" ]; then say "$file does not exist"; continue; fi
    case $file in
    *.sh) [ -x "$file" ] || [ "$file" = tests/guest/steps.sh ] || say "$file is not executable, so nobody runs it" ;;
    esac
    [ -n "$part" ] || continue
    case $file in
    tests/unit/*) grep -qE "^(Test|ParameterizedTest|Theory)\(.*\b$part\b" "$file" ;;
    tools/sim/faults.h) grep -qE "^ +x\($part," "$file" ;;
    tests/raw/*.c) grep -qE "^static [a-z_ ]+\b$part\(" "$file" ;;
    tests/*.sh) grep -qE "^ *$part\(\) *\{" "$file" ;;
    *) grep -qw "$part" "$file" ;;
    esac || say "$file has no $part"
done < <(grep -E '^\| [A-F][0-9]+ \|' "$table" | grep -oE '`(tests|tools)/[^`]+`' | tr -d '`' | sort -u)
exit $bad
