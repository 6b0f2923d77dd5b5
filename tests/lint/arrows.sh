#!/usr/bin/env bash
# The arrows of the design: which room may include which. One line a violation; silent when the house stands.
set -u
cd "$(dirname "$0")/../.."
bad=0

# room folder, then the include prefixes it may use (its own included)
while read -r dir allowed; do
    [ -d "$dir" ] || continue
    while IFS=: read -r file line text; do
        inc=$(sed -E 's/.*"([^"]+)".*/\1/' <<<"$text")
        case "$inc" in
        base/*) room=base ;;
        rt/*) room=rt ;;
        journal/*) room=journal ;;
        tier/*) room=tier ;;
        export/*) room=export ;;
        daemon/*) room=daemon ;;
        csi/*) room=csi ;;
        tools/*) room=tools ;;
        *) echo "$file:$line: include \"$inc\" without its room"; bad=1; continue ;;
        esac
        grep -qw "$room" <<<"$allowed" || { echo "$file:$line: $dir may not include $inc"; bad=1; }
    done < <(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' -r "$dir" --include='*.[ch]' /dev/null)
done <<'RULES'
src/base    base
src/rt      base rt
journal     base rt journal
tier        base rt journal tier
export      base rt export
src/daemon  base rt journal tier export daemon
csi         base csi
RULES

# Bytes on media are one file's business: priv.h stays inside its folder.
while IFS=: read -r file line text; do
    inc=$(sed -E 's/.*"([^"]+)".*/\1/' <<<"$text")
    owner=${inc%/priv.h}
    case "$file" in
    "$owner"/* | "src/$owner"/* | tests/*) ;;
    *) echo "$file:$line: $inc is private to its folder"; bad=1 ;;
    esac
done < <(grep -nE '#[[:space:]]*include[[:space:]]*"[a-z]+/priv\.h"' -r src journal tier export tools --include='*.[ch]')

# Of tier/ others see what its README names; what its flows say to each other is their business.
grep -nE '#[[:space:]]*include[[:space:]]*"tier/' -r src journal export tools --include='*.[ch]' |
    grep -vE '"tier/(tier|meta|format|label)\.h"' | sed 's/$/   <- private to tier\//' | grep . && bad=1
exit $bad
