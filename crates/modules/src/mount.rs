//! `mount`: file systems, in fstab(5) and mounted.

use std::path::{Path, PathBuf};

use crate::edit::{Edit, Owner};
use crate::exec::Cmd;
use crate::facts::mounts::unescape;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Plan, Value, choices, map, params};

choices! {
    /// What should hold.
    pub enum State {
        Absent = "absent", AbsentFromFstab = "absent_from_fstab", Mounted = "mounted", Present = "present",
        Unmounted = "unmounted", Remounted = "remounted", Ephemeral = "ephemeral",
    }
}

params! {
    /// Mounts file systems and keeps fstab.
    pub struct Params for "ansible.posix.mount" {
        /// Where it is mounted.
        path | name: PathBuf,
        /// `mounted`: in fstab and mounted; `present`: in fstab; `ephemeral`: mounted only; `unmounted`; `remounted`;
        /// `absent`: neither, and its directory is removed; `absent_from_fstab`.
        state: State,
        /// What is mounted.
        src: Option<String>,
        /// The file system's type.
        fstype: Option<String>,
        /// Options.
        opts: Option<String>,
        /// The options are secret.
        opts_no_log: bool = false,
        /// For dump(8).
        dump: String = "0".to_owned(),
        /// In which pass of fsck(8) it is checked.
        passno: String = "0".to_owned(),
        /// Mount it at boot.
        boot: bool = true,
        /// The file instead of `/etc/fstab`.
        fstab: Option<PathBuf>,
        /// Keep a copy of the file.
        backup: bool = false,
    }
    rules Rules {
        when: &[
            ("state", "mounted", &["src", "fstype"]),
            ("state", "present", &["src", "fstype"]),
            ("state", "ephemeral", &["src", "fstype"]),
        ],
        ..NO_RULES
    }
}

impl Params {
    fn options(&self) -> String {
        let given = self.opts.clone().unwrap_or_else(|| "defaults".into());
        let has = given.split(',').any(|option| option == "noauto");
        if self.boot || has { given } else { format!("{given},noauto") }
    }

    fn source(&self) -> String {
        self.src.clone().unwrap_or_default()
    }

    fn target(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

fn escape(field: &str) -> String {
    let mut out = String::new();
    for c in field.chars() {
        match c {
            ' ' | '\t' | '\\' | '&' => out.push_str(&format!("\\{:03o}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// Whether a line is the entry of this mount; swap has no mount point and goes by its source.
fn is_own(line: &str, params: &Params) -> bool {
    let text = line.split('#').next().unwrap_or_default();
    let fields: Vec<String> = text.split_whitespace().map(unescape).collect();
    match fields.as_slice() {
        [src, target, kind, _, rest @ ..] if rest.len() <= 2 => {
            *target == params.target()
                && !(target == "none" && kind == "swap" && params.src.as_ref().is_some_and(|s| s != src))
        }
        _ => false,
    }
}

/// fstab's new text, with the entry or without.
fn edited(before: &str, params: &Params, present: bool) -> String {
    let wanted = [
        params.source(),
        params.target(),
        params.fstype.clone().unwrap_or_default(),
        params.options(),
        params.dump.clone(),
        params.passno.clone(),
    ];
    let line = wanted.each_ref().map(|field| escape(field)).join(" ");
    let mut after = String::new();
    let mut found = false;
    for old in before.lines() {
        if !is_own(old, params) {
            after.push_str(old);
        } else if present {
            found = true;
            let text = old.split('#').next().unwrap_or_default();
            let mut fields: Vec<String> = text.split_whitespace().map(unescape).collect();
            fields.resize(6, "0".into());
            after.push_str(if fields == wanted { old } else { &line });
        } else {
            found = true;
            continue;
        }
        after.push('\n');
    }
    if present && !found {
        after.push_str(&line);
        after.push('\n');
    }
    if after.lines().eq(before.lines()) { before.to_owned() } else { after }
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq)]
struct Mounted {
    target: String,
    /// The device, or for a bind mount the directory that is bound.
    source: String,
    device: String,
}

/// What is mounted, the last of each place.
fn mounted(info: &str, target: &str) -> Option<Mounted> {
    let entries: Vec<Vec<&str>> = info.lines().map(|line| line.split(' ').collect()).collect();
    let field = |entry: &[&str], at: usize| entry.get(at).map(|text| unescape(text)).unwrap_or_default();
    let own = entries.iter().rev().find(|entry| field(entry, 4) == target)?;
    let device = own.iter().position(|word| *word == "-").map(|at| field(own, at + 2)).unwrap_or_default();
    let root = field(own, 3);
    // Whose root is below that of another mount of the same file system is a bind of that directory.
    let source = if root == "/" {
        device.clone()
    } else {
        let beneath =
            entries.iter().filter(|entry| field(entry, 2) == field(own, 2) && field(entry, 4) != target);
        let mut found = beneath.filter_map(|entry| {
            let (base, place) = (field(entry, 3), field(entry, 4));
            let rest = root.strip_prefix(base.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/'))
                .then(|| format!("{}{rest}", place.trim_end_matches('/')))
        });
        found.next_back().unwrap_or_else(|| device.clone())
    };
    Some(Mounted { target: target.to_owned(), source, device })
}

fn fstab_words(params: &Params) -> Vec<String> {
    match &params.fstab {
        Some(file) if file != Path::new("/etc/fstab") => {
            vec!["-T".into(), file.to_string_lossy().into_owned()]
        }
        _ => Vec::new(),
    }
}

fn mount_command(params: &Params) -> Cmd {
    let mut cmd = Cmd::new("mount");
    if params.state == State::Ephemeral {
        cmd = cmd.arg("-t").arg(params.fstype.clone().unwrap_or_default());
        if params.options() != "defaults" {
            cmd = cmd.arg("-o").arg(params.options());
        }
        return cmd.arg("--").arg(params.source()).arg(&params.path);
    }
    cmd.args(fstab_words(params)).arg("--").arg(&params.path)
}

fn remount_command(params: &Params) -> Cmd {
    let given = params.opts.as_ref().filter(|opts| *opts != "defaults" && params.state == State::Remounted);
    let options = given.map_or_else(|| "remount".to_owned(), |opts| format!("remount,{opts}"));
    let cmd = Cmd::new("mount").args(["-o", &options]).args(fstab_words(params));
    if params.state == State::Ephemeral {
        let cmd = cmd.arg("-t").arg(params.fstype.clone().unwrap_or_default());
        let cmd = if params.options() == "defaults" { cmd } else { cmd.arg("-o").arg(params.options()) };
        return cmd.arg("--").arg(params.source()).arg(&params.path);
    }
    cmd.arg("--").arg(&params.path)
}

fn unmount(host: &Host, path: &Path) -> Result<(), Failure> {
    host.exec_ok(&Cmd::new("umount").arg("--").arg(path)).map(drop)
}

/// Remounts, or where a file system cannot, unmounts and mounts.
fn remount(host: &Host, params: &Params) -> Result<(), Failure> {
    let failure = match host.exec_ok(&remount_command(params)) {
        Ok(_) => return Ok(()),
        Err(failure) => failure,
    };
    if params.state == State::Remounted && params.opts.as_ref().is_some_and(|opts| opts != "defaults") {
        // Mounted anew it would have fstab's options, not those that were asked for.
        return Err(failure);
    }
    unmount(host, &params.path)?;
    host.exec_ok(&mount_command(params)).map(drop)
}

/// What the apply step does besides fstab.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Nothing,
    Mount,
    Remount,
    Unmount,
    /// Unmount and remove the directory.
    Remove,
}

/// Compares fstab and mounts with what is declared.
///
/// # Errors
/// fstab cannot be read, a field holds a line break, or an ephemeral mount's place is taken by another source.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let fields =
        [params.source(), params.target(), params.options(), params.dump.clone(), params.passno.clone()];
    let fields = fields.iter().chain(&params.fstype);
    if fields.into_iter().any(|field| field.contains(['\n', '\0'])) {
        return Err(Failure::new(format!("the mount of {} has a line break in a field", params.target())));
    }
    let file = params.fstab.clone().unwrap_or_else(|| "/etc/fstab".into());
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let place = std::fs::canonicalize(&params.path).unwrap_or_else(|_| params.path.clone());
    let now = mounted(&info, &place.to_string_lossy());
    let edit = Edit::read(&file)?;
    let after = match params.state {
        State::Mounted | State::Present => edited(edit.text(), &params, true),
        State::Absent | State::AbsentFromFstab => edited(edit.text(), &params, false),
        State::Unmounted | State::Remounted | State::Ephemeral => edit.text().to_owned(),
    };
    let write = after != edit.text();
    let step = match (params.state, &now) {
        (State::Mounted, None) => Step::Mount,
        (State::Mounted, Some(_)) if write => Step::Remount,
        (State::Ephemeral, None) => Step::Mount,
        (State::Ephemeral, Some(now)) if [&now.source, &now.device].contains(&&params.source()) => {
            Step::Remount
        }
        (State::Ephemeral, Some(now)) => {
            return Err(Failure::new(format!("{} is mounted on {} already", now.source, params.target()))
                .hint("unmount it first with `state: unmounted`"));
        }
        (State::Remounted, _) => Step::Remount,
        (State::Unmounted, Some(_)) => Step::Unmount,
        // As Ansible: what fstab never had is left mounted.
        (State::Absent, _) if write => Step::Remove,
        _ => Step::Nothing,
    };
    let result = map! {
        "name" => params.target(), "src" => Value::from(params.src.clone()), "fstab" => file.to_string_lossy().into_owned(),
        "fstype" => Value::from(params.fstype.clone()),
        "opts" => if params.opts_no_log { "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER".to_owned() } else { params.options() },
        "dump" => params.dump.clone(), "passno" => params.passno.clone(),
        "boot" => if params.boot { "yes" } else { "no" }, "backup_file" => "",
    };
    if !write && step == Step::Nothing {
        return Ok(Plan::ok(result));
    }
    let mut diff = Vec::new();
    if write && params.opts_no_log {
        diff.push(Diff::property(file.display(), "entry", "(hidden)", "(hidden, new)"));
    } else if write {
        diff.push(edit.diff(&after));
    }
    let source = |now: &Option<Mounted>| now.as_ref().map_or("nothing".to_owned(), |now| now.source.clone());
    match step {
        Step::Mount => diff.push(Diff::property(params.target(), "mounted", source(&now), params.source())),
        Step::Remount => {
            diff.push(Diff::property(params.target(), "mounted", source(&now), "the same, remounted"))
        }
        Step::Unmount | Step::Remove if now.is_some() => {
            diff.push(Diff::property(params.target(), "mounted", source(&now), "nothing"));
        }
        _ => {}
    }
    Ok(Plan::change(result, diff, move |host| {
        let mut backup = None;
        if write {
            backup = edit.write(host, &after, Owner::default(), params.backup)?;
        }
        let done = match step {
            Step::Nothing => Ok(()),
            Step::Mount => make_dirs(&params.path).and_then(|made| {
                host.exec_ok(&mount_command(&params)).map(drop).inspect_err(|_| {
                    // What was made for the mount goes with it; a directory that got something in it stays.
                    made.iter().rev().for_each(|dir| drop(std::fs::remove_dir(dir)));
                })
            }),
            Step::Remount => remount(host, &params),
            Step::Unmount => unmount(host, &params.path),
            Step::Remove => {
                if now.is_some() {
                    unmount(host, &params.path)?;
                }
                match std::fs::remove_dir(&params.path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(Failure::io("cannot remove", &params.path, e))
                    }
                    _ => Ok(()),
                }
            }
        };
        if let (Err(_), true, true) = (&done, write, matches!(step, Step::Mount | Step::Remount)) {
            // An entry that cannot be mounted may stop the next boot: fstab becomes what it was.
            let written = Edit::read(edit.path())?;
            written.write(host, edit.text(), Owner::default(), false)?;
        }
        done?;
        let backup = backup.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(map! { "backup_file" => backup })
    }))
}

/// Makes the missing directories of a path; yields those that it made.
fn make_dirs(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|dir| !dir.exists() && !dir.as_os_str().is_empty())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    for dir in &missing {
        std::fs::create_dir(dir).map_err(|e| Failure::io("cannot create", dir, e))?;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Map;

    const FSTAB: &str = "# <file system>\nUUID=1 / ext4 errors=remount-ro 0 1\n/dev/sdb1\t/srv/a\\040b\text4\tdefaults\t0\t2\n/swap none swap sw 0 0\n";

    fn params(args: Map) -> Params {
        let mut all = map! { "state" => "mounted", "src" => "/dev/sdb1", "fstype" => "ext4" };
        all.extend(args);
        Params::parse(&all).unwrap()
    }

    fn words(cmd: &Cmd) -> String {
        cmd.argv.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn edits_its_entry_only() {
        let same = params(map! { "path" => "/srv/a b", "passno" => "2" });
        assert_eq!(edited(FSTAB, &same, true), FSTAB);
        let other =
            edited(FSTAB, &params(map! { "path" => "/srv/a b", "opts" => "ro", "boot" => false }), true);
        assert!(other.contains("\n/dev/sdb1 /srv/a\\040b ext4 ro,noauto 0 0\n/swap"), "{other}");
        assert!(
            edited(FSTAB, &params(map! { "path" => "/mnt" }), true)
                .ends_with("\n/dev/sdb1 /mnt ext4 defaults 0 0\n")
        );
        assert!(!edited(FSTAB, &same, false).contains("sdb1"));
        assert_eq!(edited(FSTAB, &params(map! { "path" => "/mnt" }), false), FSTAB);
        // Another swap is another entry.
        let swap = params(map! { "path" => "none", "src" => "/swap2", "fstype" => "swap", "opts" => "sw" });
        assert!(edited(FSTAB, &swap, true).contains("/swap none swap sw 0 0\n/swap2 none swap sw 0 0\n"));
    }

    #[test]
    fn knows_binds_from_devices() {
        let info = "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n30 22 254:1 /data/x /mnt/b rw - ext4 /dev/vda1 rw\n31 22 0:9 / /tmp rw - tmpfs tmpfs rw\n";
        assert_eq!(mounted(info, "/mnt/b").unwrap().source, "/data/x");
        assert_eq!(mounted(info, "/tmp").unwrap().source, "tmpfs");
        assert_eq!(mounted(info, "/nope"), None);
    }

    #[test]
    fn says_the_exact_words() {
        assert_eq!(words(&mount_command(&params(map! { "path" => "/mnt" }))), "mount -- /mnt");
        let tab = params(map! { "path" => "/mnt", "fstab" => "/x" });
        assert_eq!(words(&mount_command(&tab)), "mount -T /x -- /mnt");
        let once = params(map! { "path" => "/mnt", "state" => "ephemeral", "opts" => "ro" });
        assert_eq!(words(&mount_command(&once)), "mount -t ext4 -o ro -- /dev/sdb1 /mnt");
        let again = params(map! { "path" => "/mnt", "state" => "remounted", "opts" => "ro" });
        assert_eq!(words(&remount_command(&again)), "mount -o remount,ro -- /mnt");
    }
}
