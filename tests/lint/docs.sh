#!/usr/bin/env bash
# Every room has its page, whose map is whole; every format has its FORMAT.md with the five sections; the man pages parse.
set -u
cd "$(dirname "$0")/../.."
bad=0
for d in src/base src/rt src/daemon journal tier export tools/bench tools/sim tools/firnctl; do
    [ -e "$d/README.md" ] || { echo "$d/README.md is missing"; bad=1; continue; }
    # Its map: every file, a header and its code counting as one; and none that has gone.
    while read -r f; do
        grep -qE "\`$f\.[ch]\`" "$d/README.md" || { echo "$d/README.md does not name $f"; bad=1; }
    done < <(git ls-files "$d/*.c" "$d/*.h" | sed -E 's|.*/||; s|\.[ch]$||' | sort -u)
    while read -r f; do
        [ -n "$(git ls-files "*/$f")" ] || { echo "a page in $d names $f, which is not there"; bad=1; }
    done < <(cat "$d"/*.md | grep -oE '`[a-z_0-9]+\.[ch]`' | tr -d '\`' | sort -u)
done
for f in journal/FORMAT.md tier/FORMAT.md; do
    [ -e "$f" ] || { echo "$f is missing"; bad=1; continue; }
    grep -qi 'if and only if' "$f" || { echo "$f: no validity rule"; bad=1; }
    for w in 'byte' 'flush' 'crash' 'feature'; do
        grep -qiE "^#+ .*$w" "$f" || { echo "$f: no section about $w"; bad=1; }
    done
done
for p in firnd.8 firnctl.1 firn-bench.1 firn-sim.1 firn.conf.5 firn-metrics.5; do
    [ -e "etc/man/$p" ] || { echo "etc/man/$p is missing"; bad=1; continue; }
    if command -v mandoc >/dev/null; then mandoc -T lint -W error "etc/man/$p" || bad=1; fi
done
exit $bad
