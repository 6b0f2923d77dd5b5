#!/usr/bin/env bash
# No function over 100 lines, no file over 900: what grows past that holds more than one idea. Tables and tests are excepted.
set -u
cd "$(dirname "$0")/../.."
command -v ctags >/dev/null || { echo "skip: ctags is not installed"; exit 77; }
bad=0
long=$(git ls-files 'src/*.c' 'journal/*.c' 'tier/*.c' 'export/*.c' 'tools/*.c' | ctags -L - -f - --kinds-C=f --fields=+ne 2>/dev/null |
    awk -F'\t' '{l=0;e=0;for(i=4;i<=NF;i++){if($i~/^line:/)l=substr($i,6);if($i~/^end:/)e=substr($i,5)} if(e-l>=100)print $2":"l": "$1" has "e-l+1" lines"}')
[ -z "$long" ] || { echo "$long"; bad=1; }
big=$(git ls-files 'src/*.c' 'journal/*.c' 'tier/*.c' 'export/*.c' 'tools/*.c' | xargs wc -l | awk '$2!="total" && $1>900 {print $2": "$1" lines"}')
[ -z "$big" ] || { echo "$big"; bad=1; }
exit $bad
