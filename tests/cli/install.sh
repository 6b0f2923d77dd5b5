#!/usr/bin/env bash
# `make install` into an empty root: every file, its mode, its words; what was edited stays; what is installed runs from there.
. "$(dirname "$0")/lib.bash"
put() { env -u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES make -s --no-print-directory O="$O" DESTDIR="$T/root" "$@" install; }
umask 077 # of an administrator who is careful: others must be able to run and read it all the same
exits 0 put PREFIX=/usr
root=$T/root
pages=$(cd etc/man && ls)
is "every program" "$(cd "$root/usr/bin" && stat -c '%a %n' ./* | tr '\n' ' ')" "755 ./firn-bench 755 ./firn-sim 755 ./firnctl 755 ./firnd "
for p in $pages; do
    f=$root/usr/share/man/man${p##*.}/$p
    cmp -s "etc/man/$p" "$f" && is "$p: mode" "$(stat -c %a "$f")" 644 || bad "$p is not installed as it is"
done
cmp -s etc/firn.conf "$root/etc/firn/firn.conf" && is "firn.conf: mode" "$(stat -c %a "$root/etc/firn/firn.conf")" 644 || bad "firn.conf"
is "nothing else" "$(cd "$root" && find . -type f | wc -l)" $((4 + $(wc -w <<<"$pages") + 1 + 1))
is "folders can be entered" "$(find "$root/usr" "$root/etc" "$root/var" -type d ! -perm -005)" ""
[ -d "$root/var/lib/firn" ] && ok || bad "/var/lib/firn, where firn.conf has the metadata"

# The service names programs and a configuration that are there, and pages that are.
unit=$root/usr/lib/systemd/system/firnd.service
is "service: mode" "$(stat -c %a "$unit")" 644
lines=0
while read -r exe words; do
    lines=$((lines + 1))
    [ -x "$root$exe" ] && ok || bad "the service starts $exe, which is not installed"
    [ -e "$root${words##*--config }" ] && ok || bad "the service reads ${words##*--config }, which is not installed"
done < <(sed -nE 's/^ExecStart(Pre)?=//p' "$unit")
is "checked, then started" $lines 2
for p in $(sed -n 's/^Documentation=//p' "$unit"); do
    [[ $p =~ ^man:(.*)\((.)\)$ ]] && [ -e "$root/usr/share/man/man${BASH_REMATCH[2]}/${BASH_REMATCH[1]}.${BASH_REMATCH[2]}" ] && ok || bad "$p"
done
grep -q /usr/local "$unit" && bad "the service knows another prefix" || ok

# What is installed runs from there; the example configuration is right but for its devices, and that is said.
for p in firnd firnctl firn-bench firn-sim; do
    exits 0 "$root/usr/bin/$p" --version
    is "$p: version" "$out" "$p $("$firnd" --version | cut -d' ' -f2)"
done
exits 1 "$root/usr/bin/firnd" --check --config "$root/etc/firn/firn.conf"
has "configuration" "$out" "^configuration: good"
has "devices: which" "$out" '^firnd: journal device "/dev/disk/by-id/nvme-A-part1": No such file or directory'
has "devices: what to do" "$out" "--format|correct its path in $root/etc/firn/firn.conf"
firnd=$root/usr/bin/firnd firnctl=$root/usr/bin/firnctl
start_dev
exits 0 ctl volume create a --size 10MiB
stop
is "served" $rc 0

# Once more, over an edited configuration, and with another prefix: the first stays as it is.
echo "# mine" >>"$root/etc/firn/firn.conf"
exits 0 put
is "what was edited stays" "$(tail -n 1 "$root/etc/firn/firn.conf")" "# mine"
has "the service of the default prefix" "$(cat "$root/usr/local/lib/systemd/system/firnd.service")" "^ExecStart=/usr/local/bin/firnd "
[ -x "$root/usr/local/bin/firnctl" ] && ok || bad "programs of the default prefix"
