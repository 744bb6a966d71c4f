//! The clock, backups, TLS.

use debark_value::{Map, Value, map};

use super::Around;

/// Whether the kernel's clock is disciplined (timedatectl(1)), and what it says.
pub const TIME: &str = "echo \"now $(date +%s)\"; s=$(timedatectl show -p NTPSynchronized --value 2>/dev/null); echo \"synchronized ${s:-unknown}\"";

/// `synchronized`; `offset`: seconds ahead of this machine.
pub fn time(output: &str, around: &Around) -> Map {
    let word = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let theirs = word("now ").and_then(|text| text.parse::<i64>().ok());
    let ours = i64::try_from(around.now).unwrap_or(0);
    let synchronized = match word("synchronized ") {
        Some("yes") => Value::from(true),
        Some("no") => Value::from(false),
        _ => Value::Unknown("there is no timedatectl to tell whether the clock is synchronized".into()),
    };
    let mut found = map! { "synchronized" => synchronized };
    if let Some(theirs) = theirs {
        found.insert("offset".into(), Value::from(theirs.saturating_sub(ours)));
    }
    found
}

/// Of each path of `debark_backups`: whether the device below is dm-crypt, and else how many files age or gpg sealed.
pub const BACKUPS: &str = "PATH=$PATH:/usr/sbin:/sbin; for p in {{ debark_backups | default([]) | map('quote') | join(' ') }}; do
[ -e \"$p\" ] || { printf 'absent\\t%s\\n' \"$p\"; continue; }
d=$(findmnt -no SOURCE -T \"$p\" 2>/dev/null | sed 's/\\[.*//')
if lsblk -nsro TYPE \"$d\" 2>/dev/null | grep -q '^crypt$'; then printf 'crypt\\t%s\\n' \"$p\"; continue; fi
find \"$p\" -xdev -type f 2>/dev/null | head -n 1000 | { n=0; while IFS= read -r f; do n=$((n+1)); h=$(head -c 36 \"$f\" 2>/dev/null | tr -d '\\0')
case $h in age-encryption.org/*|'-----BEGIN AGE ENCRYPTED FILE'*|'-----BEGIN PGP MESSAGE'*) continue;; esac
case $(od -An -tx1 -N1 \"$f\" | tr -d ' ') in 84|85|8c|c1|c3) case $f in *.gpg|*.pgp) continue;; esac;; esac
printf 'plain\\t%s\\n' \"$f\"; done; printf 'files\\t%s\\t%s\\n' \"$p\" $n; }
done; :";

/// `plain`: what is not encrypted; `paths`: each with what protects it.
pub fn backups(output: &str, _: &Around) -> Map {
    let (mut plain, mut paths) = (Vec::new(), Vec::new());
    for line in output.lines() {
        let mut parts = line.split('\t');
        let (kind, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match kind {
            "absent" => plain.push(format!("{path} is not there")),
            "plain" if plain.len() < 20 => plain.push(path.to_owned()),
            "crypt" => paths.push(format!("{path} on dm-crypt")),
            "files" => paths.push(format!("{path} with {} files", parts.next().unwrap_or("0"))),
            _ => {}
        }
    }
    map! { "plain" => Value::list(plain), "paths" => Value::list(paths) }
}

/// Of each of `debark_tls_endpoints` (`HOST:PORT`): which versions it takes, and when its certificate ends. Of a handshake that failed,
/// openssl-s_client(1) shows a session with the version that was asked for as well, but `New, (NONE)`.
pub const TLS: &str = "command -v openssl >/dev/null || { echo '!there is no openssl'; exit; }
for e in {{ debark_tls_endpoints | default([]) | map('quote') | join(' ') }}; do n=${e%:*}
c=$(openssl s_client -connect \"$e\" -servername \"$n\" -cipher 'ALL:@SECLEVEL=0' </dev/null 2>/dev/null)
t=$(printf '%s' \"$c\" | openssl x509 -noout -enddate 2>/dev/null | sed 's/^notAfter=//'); [ -n \"$t\" ] && t=$(date -d \"$t\" +%s)
v=; for o in tls1 tls1_1 tls1_2 tls1_3; do openssl s_client -connect \"$e\" -servername \"$n\" -$o -cipher 'ALL:@SECLEVEL=0' </dev/null 2>/dev/null | grep -q '^New, [^(]' && v=\"$v $o\"; done
printf '%s\\t%s\\t%s\\n' \"$e\" \"${t:-none}\" \"$v\"; done; :";

/// Certificates have to hold for so many days more.
const DAYS: i64 = 14;

/// `endpoints`; `bad`: each with what is wrong.
pub fn tls(output: &str, around: &Around) -> Map {
    let now = i64::try_from(around.now).unwrap_or(0);
    let (mut endpoints, mut bad) = (Vec::new(), Vec::new());
    for line in output.lines() {
        let mut parts = line.split('\t');
        let (Some(endpoint), Some(end), Some(versions)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let Ok(end) = end.parse::<i64>() else {
            bad.push(format!("{endpoint} shows no certificate"));
            continue;
        };
        let days = end.saturating_sub(now).div_euclid(86_400);
        let versions: Vec<&str> = versions.split_whitespace().collect();
        if days < DAYS {
            bad.push(match days < 0 {
                true => format!("{endpoint} has a certificate that expired {} days ago", -days),
                false => format!("{endpoint} has a certificate for {days} days more"),
            });
        }
        for old in versions.iter().filter(|version| matches!(**version, "tls1" | "tls1_1")) {
            bad.push(format!("{endpoint} takes {}", if *old == "tls1" { "TLS 1.0" } else { "TLS 1.1" }));
        }
        endpoints.push(format!("{endpoint} with {} and a certificate for {days} days", versions.join(" ")));
    }
    map! { "endpoints" => Value::list(endpoints), "bad" => Value::list(bad) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn clocks_and_endpoints() {
        let around = Around { now: 1_000_000, ..Around::default() };
        let found = time("now 1000007\nsynchronized yes\n", &around);
        assert_eq!((&found["synchronized"], &found["offset"]), (&Value::from(true), &Value::from(7)));
        assert!(matches!(time("now 1\nsynchronized unknown\n", &around)["synchronized"], Value::Unknown(_)));
        let found =
            tls("a:443\t9000000\t tls1_2 tls1_3\nb:443\t1000100\t tls1_1 tls1_2\nc:443\tnone\t\n", &around);
        assert_eq!(
            found["bad"],
            Value::list([
                "b:443 has a certificate for 0 days more",
                "b:443 takes TLS 1.1",
                "c:443 shows no certificate"
            ])
        );
        let found = backups("plain\t/b/x\nfiles\t/b\t3\ncrypt\t/c\nabsent\t/d\n", &around);
        assert_eq!(found["plain"], Value::list(["/b/x", "/d is not there"]));
    }

    /// The probe itself by this machine's shell, for one path; `tools` comes first where programs are looked for.
    fn probed(path: &Path, tools: &Path) -> String {
        let (begin, rest) = BACKUPS.split_once("{{").unwrap();
        let script = format!("{begin}'{}'{}", path.display(), rest.split_once("}}").unwrap().1);
        let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", &script]).env("PATH", path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Files that age and gpg really encrypted, in both their forms, and one that nobody did.
    #[test]
    fn files_that_are_sealed_and_those_that_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let (home, files) = (dir.path().join("gnupg"), dir.path().join("files"));
        std::fs::create_dir_all(&files).unwrap();
        let script = "set -e; mkdir -m 700 \"$1\"; cd \"$2\"; echo rows > ../dump
            age-keygen 2>/dev/null > ../key; r=$(age-keygen -y ../key)
            age -r $r -o dump.age ../dump; age -a -r $r -o dump.txt ../dump
            g='gpg --homedir '$1' --batch --quiet --pinentry-mode loopback --passphrase x --symmetric'
            $g -o dump.gpg ../dump; $g --armor -o dump.asc ../dump
            gpgconf --homedir \"$1\" --kill all";
        let status = Command::new("sh").args(["-c", script, "sh"]).arg(&home).arg(&files).status().unwrap();
        assert!(status.success());
        let found = backups(&probed(&files, dir.path()), &Around::default());
        assert_eq!(found["plain"], Value::list(Vec::<Value>::new()), "{found:?}");
        assert_eq!(found["paths"], Value::list([format!("{} with 4 files", files.display())]));
        // A name alone seals nothing.
        std::fs::copy(dir.path().join("dump"), files.join("other.gpg")).unwrap();
        let found = backups(&probed(&files, dir.path()), &Around::default());
        assert_eq!(found["plain"], Value::list([files.join("other.gpg").display().to_string()]));
    }

    /// LUKS on a partition, LVM on LUKS, LVM alone, a whole disk: what findmnt(8) and lsblk(8) say of them is given, as the kernels of labs
    /// need not have a device-mapper.
    #[test]
    fn volumes_below_a_path() {
        use std::os::unix::fs::PermissionsExt as _;
        for (source, types, crypt) in [
            ("/dev/mapper/backup", "crypt\npart\ndisk", true),
            ("/dev/mapper/vg0-backup[/srv/backup]", "lvm\ncrypt\npart\ndisk", true),
            ("/dev/mapper/vg0-backup", "lvm\npart\ndisk", false),
            ("/dev/vda", "disk", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let files = dir.path().join("files");
            std::fs::create_dir(&files).unwrap();
            std::fs::write(files.join("dump.sql"), "rows").unwrap();
            let device = source.split('[').next().unwrap();
            let lsblk = format!("[ \"$1 $2 $3\" = '-nsro TYPE {device}' ] && printf '{types}\\n'");
            for (name, body) in [("findmnt", format!("echo '{source}'")), ("lsblk", lsblk)] {
                let path = dir.path().join(name);
                std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
            let found = backups(&probed(&files, dir.path()), &Around::default());
            let plain = if crypt { vec![] } else { vec![files.join("dump.sql").display().to_string()] };
            assert_eq!(found["plain"], Value::list(plain), "{source}");
            let what = if crypt { "on dm-crypt" } else { "with 1 files" };
            assert_eq!(found["paths"], Value::list([format!("{} {what}", files.display())]), "{source}");
        }
    }
}
