#!/usr/bin/env bash
# Calls that have a better one here, each with its replacement; unfinished marks; paths and lines that must not land.
set -u
cd "$(dirname "$0")/../.."
bad=0
ban() { # ban REGEX WHERE... -- WHY
    local re=$1 why hits
    shift
    local where=()
    while [ "$1" != -- ]; do where+=("$1"); shift; done
    why=$2
    hits=$(grep -nE "$re" -r "${where[@]}" --include='*.[ch]' 2>/dev/null | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(\*|//|/\*)')
    [ -z "$hits" ] || { sed "s|\$|   <- $why|" <<<"$hits"; bad=1; }
}
all=(src journal tier export tools)
ban '\b(strcpy|strcat|sprintf|vsprintf|gets|strtok)\(' "${all[@]}" -- 'use snprintf, memcpy with a known length, strbuf'
ban '\b(atoi|atol|atoll|atof)\(' "${all[@]}" -- 'use size_parse or strtoul with checks'
ban '(^|[^>._a-z0-9])(rand|random|srand|drand48)\(' "${all[@]}" -- 'use env_random'
ban '\balloca\(' "${all[@]}" -- 'no variable stack'
ban '\b(clock_gettime|gettimeofday|time|getrandom|nanosleep|usleep)\(' journal tier export -- 'use env.h'
ban '\b(system|popen)\(' src journal tier export tools/firnctl -- 'no shell'
ban '\b(TODO|FIXME|XXX|HACK)\b' "${all[@]}" tests -- 'finish it or file an issue'
# Data-path files of journal/ and export/ take from pools; only open and new functions allocate.
for f in journal/append.c tier/read*.c tier/write.c tier/rmw.c export/queue_rx.c export/queue_tx.c export/io.c; do
    [ -e "$f" ] && ban '\b(malloc|calloc|realloc|strdup)\(' "$f" -- 'the data path allocates nothing'
done
while IFS= read -r f; do
    head -n 2 "$f" | grep -q 'SPDX-License-Identifier' || { echo "$f: no SPDX line"; bad=1; }
done < <(git ls-files '*.c' '*.h')
long=$(git ls-files '*.c' '*.h' | xargs awk 'length($0) > 140 {print FILENAME":"FNR": "length($0)" columns"}')
[ -z "$long" ] || { echo "$long"; bad=1; }
exit $bad
