#!/usr/bin/env bash
# --dev: what keeps a pool from being made or read in a directory is said as it is, and nothing is left of a failed start.
. "$(dirname "$0")/lib.bash"

for p in "$firnd --check" "$firnd" "$firnctl check"; do
    exits 1 timeout 10 $p --dev /etc/passwd
    has "a file is no directory ($p)" "$out" '--dev: /etc/passwd is not a directory'
done

# Somebody else's pool is not an absent one.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
    chmod 755 "$T"
    cp "$firnd" "$firnctl" "$T"
    chmod 755 "$T/firnd" "$T/firnctl"
    start_dev
    stop
    for p in "firnd --check" firnd "firnctl check"; do
        exits 1 timeout 10 $nobody "$T"/$p --dev "$T/p"
        has "a closed directory ($p)" "$out" "$T/p cannot be read as uid 65534: Permission denied; run it as the user that owns it"
    done
    chmod 755 "$T/p"
    for p in firnd "firnctl check"; do
        exits 1 timeout 10 $nobody "$T"/$p --dev "$T/p"
        has "a closed pool ($p)" "$out" "journal\\\\?\" cannot be opened as uid 65534: Permission denied; run it as the user that owns it"
    done
    mkdir -m 755 "$T/empty"
    exits 1 timeout 10 $nobody "$T/firnd" --dev "$T/empty"
    has "a directory to read only" "$out" "$T/empty cannot be written as uid 65534: Permission denied; run it as the user that owns it"
    exits 1 timeout 10 $nobody "$T/firnd" --dev "$T/empty/deep"
    has "nor made in" "$out" "$T/empty/deep cannot be made as uid 65534: Permission denied; run it as the user that owns it"
fi
