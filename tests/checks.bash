# Sourced by the scripts of tests/cli and tests/crash: checks that are counted. SPDX-License-Identifier: Apache-2.0
passed=0 failed=0 out=
ok() { passed=$((passed + 1)); }
bad() { local why="$*"; failed=$((failed + 1)); echo "FAILED: ${why:0:900}"; }
is() { # is WHAT GOT WANTED
    if [ "$2" = "$3" ]; then ok; else bad "$1: got \"$2\", wanted \"$3\""; fi
}
has() { # has WHAT TEXT PATTERN(extended regular expression)
    if grep -qE -- "$3" <<<"$2"; then ok; else bad "$1: no \"$3\" in: $2"; fi
}
exits() { # exits STATUS COMMAND...: its output goes to $out
    local want=$1 rc=0
    shift
    out=$("$@" 2>&1) || rc=$?
    if [ $rc = "$want" ]; then ok; else bad "exit $rc, wanted $want: $* : ${out:0:600}"; fi
}
