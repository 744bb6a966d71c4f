# Compares what comes as a tar archive on standard input with what is on this host, and puts it there: each file as a
# whole. Prints a line for each difference. $1: `check` changes nothing. Runs as root.
set -eu
umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
mode=$1
machine=$2
if [ "$(uname -m)" != "$machine" ]; then
    cat >/dev/null
    echo "error machine $(uname -m)"
    exit 0
fi
[ -d /run/systemd/system ] || { cat >/dev/null; echo "error systemd"; exit 0; }
for program in ssh-keygen dpkg-deb apt-get systemd-run; do
    command -v "$program" >/dev/null || { cat >/dev/null; echo "error program $program"; exit 0; }
done
command -v gpgv >/dev/null || command -v sqv >/dev/null || { cat >/dev/null; echo "error program gpgv"; exit 0; }

new=$(mktemp -d /run/debark-enroll.XXXXXX)
trap 'rm -rf "$new"' EXIT
tar -xf - -C "$new" --no-same-owner
units=
place() { # FILE PERMISSIONS
    from=$new/$1 to=/$1
    if [ ! -e "$to" ] && [ ! -L "$to" ]; then
        echo "new $to"
    elif [ -L "$to" ] || [ ! -f "$to" ]; then
        echo "replaced $to"
    elif ! cmp -s "$from" "$to"; then
        echo "changed $to"
    elif [ "$(stat -c '%u:%g %a' "$to")" != "0:0 $2" ]; then
        echo "owner $to"
    else
        return 0
    fi
    case $to in /etc/systemd/*) units=1 ;; esac
    [ "$mode" = check ] && return 0
    mkdir -p "$(dirname "$to")"
    rm -rf "$to.debark-new"
    install -m "$2" -o 0 -g 0 "$from" "$to.debark-new"
    sync "$to.debark-new"
    mv -fT "$to.debark-new" "$to"
}
if [ -d /etc/debark ] && [ "$(stat -c '%u:%g %a' /etc/debark)" != "0:0 755" ]; then
    echo "owner /etc/debark"
fi
if [ "$mode" != check ]; then
    for directory in /etc/debark /etc/debark/build-keys /usr/lib/debark /var/lib/debark; do
        [ ! -L "$directory" ] || rm "$directory"
        mkdir -p "$directory"
        chown 0:0 "$directory"
        chmod 755 "$directory"
    done
fi
# Keys that are trusted no more go first, and the gate comes last: what is there in between trusts less, not more.
for key in /etc/debark/build-keys/*; do
    [ -e "$key" ] || [ -L "$key" ] || continue
    [ ! -f "$new$key" ] || continue
    echo "gone $key"
    [ "$mode" = check ] || rm -rf "$key"
done
place etc/debark/revoked 644
for key in "$new"/etc/debark/build-keys/*; do
    [ ! -e "$key" ] || place "${key#"$new"/}" 644
done
place etc/debark/signers 644
place etc/debark/gate.json 644
# Sources of an environment that the host does not belong to any more, or that has none now, go with their keys.
for old in /etc/apt/sources.list.d/debark-*.sources /etc/apt/preferences.d/debark-* /etc/apt/keyrings/debark-*.gpg; do
    [ -e "$old" ] || [ -L "$old" ] || continue
    [ ! -f "$new$old" ] || continue
    echo "gone $old"
    [ "$mode" = check ] || rm -f "$old"
done
for directory in keyrings preferences.d sources.list.d; do
    for file in "$new/etc/apt/$directory"/*; do
        [ ! -e "$file" ] || place "${file#"$new"/}" 644
    done
done
place usr/lib/debark/debark-gate 755
place etc/systemd/system/debark-guard.service 644
if [ "$mode" != check ]; then
    [ -z "$units" ] || systemctl daemon-reload
    if ! systemctl is-enabled --quiet debark-guard.service; then
        systemctl enable --quiet debark-guard.service
        [ -n "$units" ] || echo "enabled debark-guard.service"
    fi
fi
echo "done"
