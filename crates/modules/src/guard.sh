# The guard of a block: puts back what its tasks changed on this host, unless that is confirmed in time.
# Run by the agent as `sh -c SCRIPT guard VERB ID ...`, and by the guard's unit as `sh /var/lib/debark/guard/ID/guard watch ID`.
# A record is complete before the change that it is for, and each step back is one that can be done twice.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077
home=/var/lib/debark/guard
# What the user of the connection may see: he need not be root to confirm.
open=/var/lib/debark-guard
units=/etc/systemd/system
verb=$1
id=$2
dir=$home/$id
unit=debark-guard-$id.service
# What commands change behind our back, as far as it can lock out.
whole='/etc/ssh /etc/network /etc/systemd /etc/netplan /etc/NetworkManager /etc/wireguard /etc/nftables.conf /etc/nftables.d
/etc/iptables /etc/ufw /etc/firewalld /etc/fail2ban /etc/default /etc/resolv.conf /etc/resolvconf /etc/hosts /etc/hosts.allow
/etc/hosts.deny /etc/hostname /etc/sysctl.conf /etc/sysctl.d /etc/pam.d /etc/security /etc/sudoers /etc/sudoers.d
/etc/rc0.d /etc/rc1.d /etc/rc2.d /etc/rc3.d /etc/rc4.d /etc/rc5.d /etc/rc6.d /etc/rcS.d /root/.ssh'

die() {
    # Half a record is none.
    [ "$verb" != arm ] || { rm -rf "$home/$id.new"; rmdir "$home" "$open" 2>/dev/null; }
    echo "$1" >&2
    exit 1
}
have() { command -v "$1" >/dev/null; }
is() { [ -e "$1" ] || [ -L "$1" ]; }
# In memory, where nobody removes it: a boot ends whoever holds it.
lock() { exec 9>>/run/debark-guard.lock && flock 9; }
note() {
    echo "debark guard $id: $1"
    echo "$(date +%FT%T%z) $1" >>"$dir/log"
}
durable() { find "$1" \( -type f -o -type d \) -exec sync {} +; }

# Seconds that are left. Within a boot the clock on the wall does not count; after one nothing else is there.
left() {
    read -r within <"$dir/within"
    read -r wall <"$dir/wall"
    read -r up <"$dir/up"
    if [ "$(cat "$dir/boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
        read -r now _ </proc/uptime
        echo $((up + within - ${now%.*}))
    else
        rest=$((wall + within - $(date +%s)))
        [ "$rest" -le "$within" ] || rest=$within
        echo "$rest"
    fi
}

# keep PATH shallow|deep: what is there now. Of a directory all that is below it, or owner and mode alone.
keep() {
    case $1 in /*) p=$1 ;; *) p=$PWD/$1 ;; esac
    sum=$(printf %s "$p" | sha256sum)
    sum=$2-${sum%% *}
    for known in "$dir/rec"/*-"$sum"; do
        [ ! -d "$known" ] || return 0
    done
    new=$dir/rec/.new
    rm -rf "$new" && mkdir "$new" && printf %s "$p" >"$new/path" || return 1
    if [ "$2" = shallow ] && [ -d "$p" ] && [ ! -L "$p" ]; then
        mkdir "$new/was" && chown --reference="$p" "$new/was" && chmod --reference="$p" "$new/was" && : >"$new/shallow" || return 1
    elif is "$p"; then
        cp -a -- "$p" "$new/was" || return 1
    fi
    durable "$new" || return 1
    count=$(($(find "$dir/rec" -maxdepth 1 -name '*-*' | wc -l) + 100001))
    mv "$new" "$dir/rec/$count-$sum" && sync "$dir/rec"
}

# PATH, a tab, and what is to be put back: kind, mode, owner, target of a link; or a file's content.
listed() {
    {
        find $whole -xdev -printf '%p\t%y %m %U %G %l\n'
        find $whole -xdev -type f -exec sha256sum {} + | sed -E 's/^([0-9a-f]*)  (.*)/\2\t\1/'
    } 2>/dev/null | sort
}
keep_whole() {
    mkdir "$dir/whole" && listed >"$dir/listed" || return 1
    for path in $whole; do
        ! is "$path" || (cd / && cp -a --parents -- "${path#/}" "$dir/whole") || return 1
    done
}

active() {
    systemctl list-units --plain --no-legend --full --no-pager --state=active --type=service,socket,timer,path |
        cut -d' ' -f1 | grep -Ev '^(user@|user-runtime-dir@|ssh@|sshd@|debark-|systemd-(tmpfiles|update|timedated|hostnamed|localed))' | sort
}

routes() { ip -"$1" route 2>/dev/null | sed -E 's/ (linkdown|dead|offload|trap|rt_offload|rt_trap)//g; s/ expires [^ ]+//; s/ +$//' | grep -Ev 'proto ra|^multicast' | sort; }
rules() { ip -"$1" rule 2>/dev/null | sed -E 's/^([0-9]+):[[:space:]]*/pref \1 /; s/ +$//; s/ lookup / table /' | sort; }
# DEVICE FAMILY ADDRESS [peer ..] [metric ..] [brd ..] scope SCOPE
addresses() {
    ip -o addr | sed -nE 's/^[0-9]+: +([^ ]+) +(inet6?) (.* scope [a-z0-9]+) .*/\1 \2 \3/p' | grep -v ' scope link' | sort
}
tables() { iptables-save 2>/dev/null; ip6tables-save 2>/dev/null; }
plain() { sed 's/\[[0-9:]*\]//; /^#/d'; }
kernel() { sysctl -a -r '^net\.ipv[46]\.(conf\.|ip_|icmp|tcp_)' 2>/dev/null | sort; }

save_network() {
    ! have sysctl || kernel >"$1/sysctl"
    if have ip; then
        for link in /sys/class/net/*; do
            [ -e "$link/flags" ] || continue
            master=$(readlink "$link/master" || :)
            echo "${link##*/} $(($(cat "$link/flags") & 1)) $(cat "$link/mtu") ${master##*/}"
        done >"$1/links"
        addresses >"$1/addresses"
        for v in 4 6; do routes $v >"$1/routes$v"; rules $v >"$1/rules$v"; done
    fi
    if have iptables-save; then
        iptables-save >"$1/iptables4" 2>/dev/null
        ip6tables-save >"$1/iptables6" 2>/dev/null
        tables | plain >"$1/tables"
    fi
    : >"$1/ruleset"
    if have nft; then
        # A kernel without it has nothing to put back.
        nft -s list ruleset >"$1/seen" 2>/dev/null || { : >"$1/without"; return 0; }
        nft list tables | while read -r _ family table; do
            nft list table "$family" "$table" >"$1/table" || exit 1
            # What iptables made has parts that nft can print and not read.
            have iptables-save && grep -Eq '^# Warning: table .*iptables|xt_|xt (match|target)' "$1/table" ||
                cat "$1/table" >>"$1/ruleset"
        done || return 1
    fi
}

# arm SECONDS UID first|again SCRIPT
arm() {
    if [ "$3" = again ]; then
        [ -d "$dir" ] && [ ! -e "$dir/reverting" ] && [ "$(left)" -gt 0 ] || die "the time of the guard around this task is over: reverted on the host"
        exit 0
    fi
    [ "$(id -u)" = 0 ] || die "a guarded task must run as root: it has no \`become: true\`, or becomes somebody else"
    [ -d /run/systemd/system ] && have systemctl && have flock || die "a guard needs systemd and flock on the host"
    for other in "$home"/*/within; do
        [ ! -e "$other" ] || die "the guard of another run still waits on this host (${other%/within})"
    done
    rm -rf "$home"/*.new "$open"/* "$units"/debark-guard-*.service "$units/multi-user.target.wants"/debark-guard-*.service
    mkdir -p "$home" "$open" && chmod 755 "$open" && mkdir "$dir.new" "$dir.new/rec" || die "no room for the guard in $home"
    real=$dir
    dir=$dir.new
    keep_whole || die "cannot keep a copy of the host's settings in $dir"
    active >"$dir/active" && save_network "$dir" || die "cannot tell the state of units, firewall and network"
    printf '%s\n' "$4" >"$dir/guard" && echo "$1" >"$dir/within" && echo "$2" >"$dir/uid" && : >"$dir/units" &&
        cat /proc/sys/kernel/random/boot_id >"$dir/boot" && date +%s >"$dir/wall" && cut -d. -f1 /proc/uptime >"$dir/up" &&
        durable "$dir" && mv "$dir" "$real" && sync "$home" || die "cannot write the guard's record in $home"
    dir=$real
    : >"$open/$id" && chmod 644 "$open/$id"
    {
        echo '[Unit]'
        echo "Description=Puts back what debark changed under guard, unless it is confirmed in time"
        echo 'RequiresMountsFor=/var/lib'
        echo 'StartLimitIntervalSec=0'
        echo "ConditionPathExists=$dir/guard"
        echo '[Service]'
        echo 'Type=exec'
        echo "ExecStart=/bin/sh $dir/guard watch $id"
        echo 'Restart=on-failure'
        # Whoever kills it, and how, it goes on.
        echo 'RestartForceExitStatus=SIGTERM SIGINT SIGHUP SIGPIPE'
        echo 'RestartSec=1'
        echo 'OOMScoreAdjust=-900'
        echo '[Install]'
        echo 'WantedBy=multi-user.target'
    } >"$units/$unit" && chmod 644 "$units/$unit" && mkdir -p -m 755 "$units/multi-user.target.wants" &&
        ln -sf "$units/$unit" "$units/multi-user.target.wants/$unit" &&
        sync "$units/$unit" "$units" "$units/multi-user.target.wants" && systemctl start "$unit" ||
        { wipe; die "cannot start $unit"; }
    note "armed for $1 s"
}

# All is over: nothing stays behind.
wipe() {
    # In one step it is over; what is left then is in nobody's way.
    mv -T "$dir" "$dir.new"
    rm -f "$units/$unit" "$units/multi-user.target.wants/$unit" "$open/$id" "$open/$id.ok"
    rm -rf "$dir.new"
    rmdir "$open" "$home" 2>/dev/null
    # The guard's own unit ends by itself.
    [ "$verb" = watch ] || systemctl stop "$unit" 2>/dev/null
    # Somebody else's daemon-reload may have tied it to what it was wanted by; so may one be left that was killed right here.
    [ -z "$(systemctl list-units --all --plain --no-legend 'debark-guard-*')" ] || systemctl daemon-reload
}

confirmed() {
    [ -e "$dir/confirmed" ] && return 0
    [ -e "$dir/reverting" ] && return 1
    [ "$(head -c 2 "$open/$id.ok" 2>/dev/null)" = ok ] && : >"$dir/confirmed" && sync "$dir/confirmed" "$dir"
}

same() {
    [ "$(stat -c '%f %u %g' -- "$1" 2>/dev/null)" = "$(stat -c '%f %u %g' -- "$2")" ] || return 1
    if [ -L "$2" ]; then
        [ "$(readlink -- "$1")" = "$(readlink -- "$2")" ]
    elif [ -f "$2" ]; then
        cmp -s -- "$1" "$2"
    fi
}
touched() { printf '%s\n' "$1" >>"$dir/touched"; }

# put SAVED PATH: the one entry, without what is below it
put() {
    ! same "$2" "$1" || return 0
    touched "$2"
    if [ -d "$1" ] && [ ! -L "$1" ]; then
        if [ ! -d "$2" ] || [ -L "$2" ]; then rm -rf --one-file-system -- "$2" && mkdir -p -- "$2" || return 1; fi
        chown --reference="$1" -- "$2" && chmod --reference="$1" -- "$2"
        return
    fi
    parent=${2%/*}
    t=$parent/.debark-guard-$$
    rm -rf -- "$t"
    mkdir -p -- "$parent/" && cp -a -- "$1" "$t" || return 1
    [ -L "$t" ] || sync "$t"
    if [ -d "$2" ] && [ ! -L "$2" ]; then rm -rf --one-file-system -- "$2"; fi
    # A file that something is mounted on cannot be replaced, but written.
    mv -fT -- "$t" "$2" 2>/dev/null || { rm -f -- "$t"; cat -- "$1" >"$2"; } || return 1
    sync "$parent/"
}
gone() {
    ! is "$1" || { touched "$1" && rm -rf --one-file-system -- "$1" && sync "${1%/*}/"; }
}

files() {
    for rec in $(ls -r "$dir/rec"); do
        rec=$dir/rec/$rec
        path=$(cat "$rec/path"; echo .)
        path=${path%.}
        if ! is "$rec/was"; then
            gone "$path" || return 1
        elif [ -d "$rec/was" ] && [ ! -L "$rec/was" ] && [ ! -e "$rec/shallow" ]; then
            t=${path%/*}/.debark-guard-$$
            touched "$path"
            rm -rf -- "$t" && mkdir -p -- "${path%/*}/" && cp -a -- "$rec/was" "$t" && gone "$path" && mv -T -- "$t" "$path" || return 1
        else
            put "$rec/was" "$path" || return 1
        fi
    done
    listed >"$dir/now"
    # What is above comes first.
    comm -3 "$dir/listed" "$dir/now" | sed 's/^\t//; s/\t.*//' | sort -u >"$dir/differ"
    while IFS= read -r path; do
        case ${path##*/} in debark-guard-*) continue ;; esac
        if is "$dir/whole$path"; then
            put "$dir/whole$path" "$path" || return 1
        else
            gone "$path" || return 1
        fi
    done <"$dir/differ"
}

firewall() {
    [ -e "$dir/seen" ] || : >"$dir/seen"
    if have nft && [ ! -e "$dir/without" ] && ! nft -s list ruleset | cmp -s - "$dir/seen"; then
        note 'the ruleset of nftables is put back'
        { echo 'flush ruleset'; cat "$dir/ruleset"; } | nft -f - || nft flush ruleset
    fi
    [ -e "$dir/tables" ] && have iptables-save || return 0
    if ! tables | plain | cmp -s - "$dir/tables"; then
        note 'the rules of iptables are put back'
        [ ! -s "$dir/iptables4" ] || iptables-restore <"$dir/iptables4"
        [ ! -s "$dir/iptables6" ] || ip6tables-restore <"$dir/iptables6"
    fi
}

# only A B: lines of A that are not in B
only() { comm -23 "$1" "$2"; }

network() {
    if [ -e "$dir/sysctl" ]; then
        kernel >"$dir/now"
        only "$dir/sysctl" "$dir/now" | while read -r name _ value; do sysctl -q -w "$name=$value" || :; done
    fi
    [ -e "$dir/links" ] && have ip || return 0
    while read -r link was mtu master; do
        at=/sys/class/net/$link
        [ -e "$at/flags" ] || continue
        now=$(readlink "$at/master" || :)
        now=${now##*/}
        if [ "$now" != "$master" ]; then
            if [ -n "$master" ]; then ip link set dev "$link" master "$master"; else ip link set dev "$link" nomaster; fi
        fi
        [ "$(cat "$at/mtu")" = "$mtu" ] || ip link set dev "$link" mtu "$mtu"
        if [ $(($(cat "$at/flags") & 1)) != "$was" ]; then
            note "the interface $link is put back"
            if [ "$was" = 1 ]; then ip link set dev "$link" up; else ip link set dev "$link" down; fi
        fi
    done <"$dir/links"
    addresses >"$dir/now"
    only "$dir/now" "$dir/addresses" | while read -r link _ address _; do ip addr del "$address" dev "$link"; done
    addresses >"$dir/now"
    only "$dir/addresses" "$dir/now" | while read -r link _ rest; do
        # Its lifetime is whoever's who set it: what is put back stays.
        ip addr add $rest dev "$link"
    done
    for v in 4 6; do
        rules $v >"$dir/now"
        only "$dir/now" "$dir/rules$v" | while read -r rule; do ip -$v rule del $rule; done
        only "$dir/rules$v" "$dir/now" | while read -r rule; do ip -$v rule add $rule; done
        # Twice: a gateway's own route may come after the one that needs it.
        for _ in 1 2; do
            routes $v >"$dir/now"
            only "$dir/routes$v" "$dir/now" | while read -r route; do ip -$v route replace $route 2>/dev/null; done
        done
        routes $v >"$dir/now"
        only "$dir/now" "$dir/routes$v" | grep -v 'proto kernel' | while read -r route; do ip -$v route del $route; done
    done
    return 0
}

# Units that have to read their files again, or were moved by the tasks.
concerned() {
    sort -u "$dir/units"
    [ -e "$dir/touched" ] || return 0
    sort -u "$dir/touched" | while read -r path; do
        case $path in
        /etc/ssh/* | /etc/default/ssh) echo ssh.service ssh.socket ;;
        /etc/systemd/network/*) echo systemd-networkd.service ;;
        /etc/systemd/resolved*) echo systemd-resolved.service ;;
        /etc/systemd/system/*/*.conf) path=${path#/etc/systemd/system/}; echo "${path%%.d/*}" ;;
        /etc/systemd/system/*/*) ;;
        /etc/systemd/system/*.*) echo "${path##*/}" ;;
        /etc/wireguard/*.conf) path=${path##*/}; echo "wg-quick@${path%.conf}.service" ;;
        /etc/NetworkManager/*) echo NetworkManager.service ;;
        /etc/fail2ban/*) echo fail2ban.service ;;
        esac
    done | tr ' ' '\n'
}

services() {
    active >"$dir/now"
    for name in $(sort -u "$dir/units"); do
        ! grep -Fqx "$name" "$dir/now" || grep -Fqx "$name" "$dir/active" || timeout 90 systemctl stop "$name"
    done
    # A socket does not start while the service that it starts runs.
    again=$(concerned | grep -Fx -f "$dir/active" | sort -u)
    case " $(echo $again) " in *' ssh.socket '*) systemctl stop ssh.service ;; esac
    for name in $(echo "$again" | grep '^ssh\.' | sort -r) $(echo "$again" | grep -v '^ssh\.'); do
        note "$name is restarted"
        systemctl reset-failed "$name" 2>/dev/null
        timeout 90 systemctl restart "$name" || note "$name does not start"
    done
    active >"$dir/now"
    for name in $(only "$dir/active" "$dir/now"); do
        note "$name is started"
        timeout 90 systemctl start "$name" || note "$name does not start"
    done
}

revert() {
    [ -e "$dir/reverting" ] || { : >"$dir/reverting" && sync "$dir/reverting" "$dir"; } || exit 1
    rm -f "$open/$id.ok"
    note 'reverts'
    files || { note 'files could not be put back; it is tried again'; exit 1; }
    systemctl daemon-reload
    firewall
    network
    services
    note 'reverted'
    printf '{"action":"guard","guard":"%s","status":"reverted","time":%s}\n' "$id" "$(date +%s)" >>/var/lib/debark/journal.jsonl
    mkdir -p "$open" && chmod 755 "$open" && cp "$dir/log" "$open/$id.reverted" && chmod 644 "$open/$id.reverted"
    wipe
}

# Confirmed or late: it is over. Called with the lock.
due() {
    if confirmed; then
        wipe
        exit 0
    fi
    [ -e "$dir/reverting" ] || [ "$(left)" -le 0 ] || return 0
    # Whoever has opened the file meanwhile finds it gone afterwards.
    if [ ! -e "$dir/reverting" ] && mv "$open/$id.ok" "$dir/taken" 2>/dev/null && [ "$(head -c 2 "$dir/taken")" = ok ]; then
        : >"$dir/confirmed"
        wipe
        exit 0
    fi
    revert
    exit 0
}

case $verb in
arm)
    shift 2
    arm "$@"
    ;;
keep)
    [ -d "$dir" ] && [ ! -e "$dir/reverting" ] || die "the time of the guard around this task is over: reverted on the host"
    keep "$3" "$4" || die "cannot keep a copy of $3 in $dir"
    ;;
unit)
    [ -d "$dir" ] && [ ! -e "$dir/reverting" ] || die "the time of the guard around this task is over: reverted on the host"
    case $3 in *.*) echo "$3" ;; *) echo "$3.service" ;; esac >>"$dir/units" && sync "$dir/units"
    ;;
ready)
    # All tasks are done: from here on it can be confirmed.
    [ -d "$dir" ] || exit 3
    lock
    [ ! -e "$dir/reverting" ] || exit 3
    : >"$dir/ok" && chown "$(cat "$dir/uid")" "$dir/ok" && chmod 600 "$dir/ok" && mv "$dir/ok" "$open/$id.ok"
    ;;
settle | revert)
    while [ -d "$dir" ]; do
        lock
        [ -d "$dir" ] || break
        if [ $verb = revert ]; then
            (revert) || exit 4
        else
            (due) || exit 4
            flock -u 9
            sleep 0.2
        fi
    done
    [ -e "$open/$id.reverted" ] || exit 0
    # Whoever runs this has lost the connection: then another one asks what became of it.
    [ -n "${3-}" ] || exit 3
    rm -f "$open/$id.reverted"
    rmdir "$open" 2>/dev/null
    exit 3
    ;;
watch)
    while [ -d "$dir" ]; do
        lock
        [ -d "$dir" ] || exit 0
        due
        flock -u 9
        sleep 1
    done
    ;;
esac
