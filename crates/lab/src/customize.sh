set -eu
root="$1"
in_root() { chroot "$root" "$@"; }

rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/apt/sources.list" "$root/etc/hostname"
printf '%s\n' "$LAB_SOURCES" >"$root/etc/apt/sources.list.d/debian.sources"
printf 'Acquire::Languages "none";\n' >"$root/etc/apt/apt.conf.d/80lab-languages"
printf '# This host has no name server: its archives are behind the proxy of apt.conf.d.\n' >"$root/etc/resolv.conf"

in_root useradd --create-home --shell /bin/bash --uid 1000 debian
in_root useradd --create-home --shell /bin/bash --uid 1001 --groups sudo plain
in_root passwd --quiet --lock root
printf 'plain:%s\n' "$LAB_PLAIN_PASSWORD" | in_root chpasswd
printf 'debian ALL=(ALL:ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/debian"
chmod 0440 "$root/etc/sudoers.d/debian"

cat >"$root/etc/ssh/sshd_config.d/10-lab.conf" <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthenticationMethods publickey
CONF

# Timers that would take apt's lock or the processor at times of their own, and a console that nobody sits at.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    rm -f "$root/etc/systemd/system/timers.target.wants/$unit"
done
ln -sf /dev/null "$root/etc/systemd/system/console-getty.service"

# The presets have been applied: a boot is never the first one.
touch "$root/etc/.updated" "$root/var/.updated"
