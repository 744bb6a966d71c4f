//! From one version to another, by apt or by dpkg alone, and what goes with it: locks, repairs, configuration files.

use std::cmp::Ordering;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use debark_order::gate::{Failure, FailureKind, Version};
use debark_order::{Action, PackageName, PackageVersion};

use crate::dpkg::{self, Database};
use crate::failure::{Failing as _, Result, fail, file};
use crate::journal::{self, Step};
use crate::state::{Open, State};
use crate::store::{self, Kept, Trace};
use crate::{command, locks, place, relations, trust, unit, units};

/// What a configuration file is called that the live version does not know.
pub const ASIDE: &str = ".dpkg-debark";
/// Nobody is asked anything, and local changes stay.
const CONFFILES: [&str; 2] = ["--force-confdef", "--force-confold"];

/// apt without its sources, as if only what is installed existed: it reads no lists, which is most of its time, and leaves
/// its caches on the disk alone.
const ALONE: [&str; 4] = [
    "Dir::Etc::SourceList=/dev/null",
    "Dir::Etc::SourceParts=/dev/null",
    "Dir::Cache::pkgcache=",
    "Dir::Cache::srcpkgcache=",
];

/// Going back, and rolling back, have at least that much time.
const PATIENCE_BACK: Duration = Duration::from_secs(120);

/// What may be done to reach a version.
struct Way<'a> {
    package: &'a PackageName,
    open: &'a Open,
    /// Whether the version may go down.
    down: bool,
    /// Whether the plan was that no other package changes: apt needs no sources then.
    alone: bool,
    /// The package, if it was hashed a moment ago.
    came: Option<&'a Trace>,
    within: Duration,
    deadline: Instant,
    lock_deadline: Instant,
}

impl<'a> Way<'a> {
    fn new(open: &'a Open, down: bool) -> Result<Self> {
        let within = Duration::from_secs(open.order.install_within.max(1).into());
        // What may take little time on the way forward is not to strand the host on its way back.
        let within = if down { within.max(PATIENCE_BACK) } else { within };
        let patience = Duration::from_secs(trust::enrolled()?.lock_timeout);
        let now = Instant::now();
        Ok(Self {
            package: &open.order.package,
            open,
            down,
            alone: false,
            came: None,
            within,
            deadline: now + within,
            lock_deadline: now + within.min(patience),
        })
    }

    fn step(&self, step: Step, note: &str) -> Result<()> {
        journal::step(&self.open.order, self.open.id, step, note)?;
        State::update(|state| {
            if let Some(open) = state.open.as_mut().filter(|open| open.id == self.open.id) {
                open.step = step;
            }
            Ok(())
        })
    }
}

/// Makes an open order's target live. `alone`: [`Plan::alone`] was true a moment ago; `came`: the package came a moment ago.
///
/// # Errors
/// It is not; what was done may have to be undone.
pub fn forward(open: &Open, alone: bool, came: Option<&Trace>) -> Result<unit::Outcome> {
    let way = Way { alone, came, ..Way::new(open, open.order.action != Action::Deploy)? };
    way.repair()?;
    way.step(Step::Installing, "")?;
    let notes = way.reach(open.target.as_ref())?;
    Ok(unit::Outcome { live: open.target.clone(), notes })
}

/// Makes live what was live before an open order.
///
/// # Errors
/// It is not.
pub fn back(open: &Open, why: &str) -> Result<unit::Outcome> {
    let way = Way::new(open, true)?;
    way.step(Step::Reverting, why)?;
    let notes = way.reach(open.back.as_ref())?;
    way.settle()?;
    Ok(unit::Outcome { live: open.back.clone(), notes })
}

impl Way<'_> {
    /// Puts in order what an interrupted dpkg has left, before anything else is done.
    fn repair(&self) -> Result<()> {
        let database = Database::read()?;
        let own = database.package(self.package).is_some_and(|stanza| stanza.trouble().is_some());
        if !own && !database.interrupted && !database.others_in_trouble(self.package) {
            return Ok(());
        }
        self.step(Step::Repairing, "")?;
        // apt does nothing while a package wants to be reinstalled: first what was good before, then the rest.
        if own && let Err(failure) = self.reach(self.open.back.as_ref()) {
            let busy = matches!(failure.kind, FailureKind::Busy | FailureKind::Timeout | FailureKind::Disk);
            if busy {
                return Err(failure);
            }
            self.say(&format!("the version before cannot be put back: {failure}"));
        }
        self.settle()
    }

    /// `dpkg --configure -a`, if there is anything that it could do.
    fn settle(&self) -> Result<()> {
        let database = Database::read()?;
        let own = database.package(self.package).is_some_and(|stanza| stanza.trouble().is_some());
        if database.interrupted || (!own && database.others_in_trouble(self.package)) {
            let mut argv = vec!["dpkg"];
            argv.extend(CONFFILES);
            argv.extend(["--configure", "-a"]);
            self.dpkg(&argv)?;
        }
        Ok(())
    }

    /// Makes a version live, or the package absent.
    fn reach(&self, target: Option<&Version>) -> Result<Vec<String>> {
        let before = Database::read()?;
        let Some(target) = target else { return self.remove(&before) };
        let kept = match &target.digest {
            Some(digest) => match store::verified(digest, &trust::keyring()?, self.came) {
                Ok(kept) => Some(kept),
                Err(failure) if failure.kind == FailureKind::NotKept => None,
                Err(failure) => return Err(failure),
            },
            None => None,
        };
        if let Some(kept) = &kept {
            store::room(Path::new("/usr"), kept.installed_size.saturating_mul(1024), "the installation")?;
            self.bring_back(kept)?;
        }
        let log_from = log_length();
        match &kept {
            Some(kept) if self.is_direct(&before, kept) => {
                let path = store::path(&kept.digest);
                let path = path.to_string_lossy();
                let mut argv = vec!["dpkg"];
                argv.extend(CONFFILES);
                argv.extend(["--force-downgrade", "--install", &path]);
                self.dpkg(&argv)?;
            }
            _ => self.apt(target, kept.as_ref(), &before)?,
        }
        let after = Database::read()?;
        if !after.is_live(self.package, &target.version) {
            return Err(dpkg::not_live(self.package, &target.version, &after).log(log_lines(log_from)));
        }
        let mut notes = kept_changes(&log_from_text(log_from));
        notes.extend(self.put_aside(&before, &after, &target.version)?);
        notes.extend(units::outdated(self.package, after.architecture()));
        Ok(notes)
    }

    /// Whether dpkg alone does it: on the way back only, as on the way forward apt's hooks are to see what happens.
    fn is_direct(&self, database: &Database, kept: &Kept) -> bool {
        let trouble = database.package(self.package).is_some_and(|stanza| stanza.trouble().is_some());
        trouble || (self.down && relations::can_replace(database, self.package, &kept.relations))
    }

    fn remove(&self, database: &Database) -> Result<Vec<String>> {
        let Some(stanza) = database.package(self.package).filter(|stanza| stanza.is_present()) else {
            return Ok(Vec::new());
        };
        let mut argv = vec!["dpkg"];
        if stanza.trouble().is_some_and(|trouble| trouble.contains("reinstreq")) {
            argv.push("--force-remove-reinstreq");
        }
        argv.extend(["--remove", self.package.as_str()]);
        self.dpkg(&argv)?;
        let left = stanza.conffiles().into_iter().filter(|conffile| Path::new(&conffile.path).exists());
        Ok(left.map(|conffile| format!("{} is left of the removed package", conffile.path)).collect())
    }

    fn dpkg(&self, argv: &[&str]) -> Result<()> {
        let _frontend = locks::take_frontend(self.lock_deadline)?;
        self.run(argv, &[("DPKG_FRONTEND_LOCKED", "1")])
    }

    fn apt(&self, target: &Version, kept: Option<&Kept>, before: &Database) -> Result<()> {
        if self.alone && kept.is_some() {
            match self.apt_once(target, kept, before, true) {
                // What is installed has changed since the plan: apt is to look further.
                Err(failure) if failure.kind == FailureKind::Dependencies => {}
                done => return done,
            }
        }
        self.apt_once(target, kept, before, false)
    }

    fn apt_once(&self, target: &Version, kept: Option<&Kept>, before: &Database, alone: bool) -> Result<()> {
        locks::wait_for_apt(self.lock_deadline)?;
        let seconds = self.lock_deadline.saturating_duration_since(Instant::now()).as_secs();
        let what = match kept {
            Some(kept) => store::path(&kept.digest).to_string_lossy().into_owned(),
            None => format!("{}={}", self.package, target.version),
        };
        let mut argv = apt_get(alone);
        argv.extend(["-o".into(), format!("DPkg::Lock::Timeout={seconds}")]);
        if let Some(kept) = kept.filter(|_| alone) {
            argv.extend(["-o".into(), format!("Dir::Cache::Archives={}/", archives(kept)?.display())]);
        }
        if self.down {
            argv.push("--allow-downgrades".into());
        }
        if before.version(self.package).as_ref() == Some(&target.version) {
            argv.push("--reinstall".into());
        }
        argv.extend(["install".into(), what]);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        self.run(&argv, &[])
    }

    /// Runs a program whose output goes to the log, until its time is over.
    fn run(&self, argv: &[&str], more: &[(&str, &str)]) -> Result<()> {
        let from = log_length();
        let (program, words) = argv.split_first().unwrap_or((&"true", &[]));
        let path = place::run("work.log");
        let log =
            OpenOptions::new().append(true).create(true).open(&path).map_err(|error| file(&path, &error))?;
        let cloned = log.try_clone().map_err(|error| file(&path, &error))?;
        let internal =
            |error: std::io::Error| fail(FailureKind::Internal, format!("cannot run {program}: {error}"));
        let mut child = Command::new(program)
            .args(words)
            .env_clear()
            .envs([
                ("PATH", crate::PATH),
                ("HOME", "/root"),
                ("LC_ALL", "C.UTF-8"),
                ("DEBIAN_FRONTEND", "noninteractive"),
                ("APT_LISTCHANGES_FRONTEND", "none"),
                // It lists what wants a restart, and restarts nothing: the package's own scripts do that.
                ("NEEDRESTART_MODE", "l"),
                ("UCF_FORCE_CONFFOLD", "1"),
            ])
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(cloned)
            .spawn()
            .map_err(internal)?;
        let status = command::wait(&mut child, self.deadline).map_err(internal)?;
        let Some(status) = status else {
            command::end_companions(&mut child);
            return Err(fail(
                FailureKind::Timeout,
                format!(
                    "installing {} took longer than {} s and was ended",
                    self.package,
                    self.within.as_secs()
                ),
            )
            .hint("a maintainer script may wait for something; `install_within` is the time that it has")
            .log(log_lines(from)));
        };
        if status.success() {
            return Ok(());
        }
        Err(explained(self.package, program, &log_from_text(from)))
    }

    fn say(&self, text: &str) {
        use std::io::Write as _;
        if let Ok(mut log) = OpenOptions::new().append(true).open(place::run("work.log")) {
            let _ = writeln!(log, "{text}");
        }
    }

    /// Configuration files of the target that were put aside, back to their places: dpkg would take them for deleted.
    fn bring_back(&self, kept: &Kept) -> Result<()> {
        let aside = State::load()?.aside;
        for (path, _) in
            aside.iter().filter(|(path, owner)| *owner == self.package && kept.conffiles.contains(path))
        {
            let (place, other) = (Path::new(path), format!("{path}{ASIDE}"));
            if !place.exists() && Path::new(&other).exists() {
                fs::rename(&other, place).map_err(|error| file(place, &error))?;
            }
            State::update(|state| {
                state.aside.remove(path);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Configuration files that a newer version has left and that the live one does not know: out of the way.
    fn put_aside(&self, before: &Database, after: &Database, live: &PackageVersion) -> Result<Vec<String>> {
        let obsolete = after.package(self.package).map(dpkg::Stanza::conffiles).unwrap_or_default();
        let obsolete: Vec<String> =
            obsolete.into_iter().filter(|one| one.obsolete).map(|one| one.path).collect();
        if obsolete.is_empty() {
            return Ok(Vec::new());
        }
        let old = before.package(self.package);
        let down = old
            .and_then(dpkg::Stanza::version)
            .is_some_and(|old| dpkg::compare(&old, live) == Ordering::Greater);
        let was_known = |path: &str| {
            old.map(dpkg::Stanza::conffiles)
                .unwrap_or_default()
                .iter()
                .any(|one| one.path == path && !one.obsolete)
        };
        let newer: Vec<Kept> = store::all()?
            .into_iter()
            .filter(|kept| {
                kept.package == *self.package && dpkg::compare(&kept.version, live) == Ordering::Greater
            })
            .collect();
        let mut notes = Vec::new();
        for path in obsolete {
            let of_newer = newer.iter().any(|kept| kept.conffiles.contains(&path));
            if !(of_newer || (down && was_known(&path))) || !Path::new(&path).exists() {
                continue;
            }
            State::update(|state| {
                state.aside.insert(path.clone(), self.package.clone());
                Ok(())
            })?;
            fs::rename(&path, format!("{path}{ASIDE}")).map_err(|error| file(Path::new(&path), &error))?;
            notes.push(format!("{path} is of a newer version: it is now {path}{ASIDE}"));
        }
        Ok(notes)
    }
}

/// What apt would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Sentences.
    pub steps: Vec<String>,
    /// No other package changes, nor would one if apt knew its sources.
    pub alone: bool,
}

/// What apt would do.
///
/// # Errors
/// [`FailureKind::Dependencies`].
pub fn plan(package: &PackageName, kept: &Kept, down: bool) -> Result<Plan> {
    let database = Database::read()?;
    let from = database.version(package);
    let own = match &from {
        Some(from) if *from == kept.version => format!("installs {package} {from} again"),
        Some(from) if dpkg::compare(from, &kept.version) == Ordering::Greater => {
            format!("downgrades {package} from {from} to {}", kept.version)
        }
        Some(from) => format!("upgrades {package} from {from} to {}", kept.version),
        None => format!("installs {package} {}", kept.version),
    };
    if let Some(trouble) = database.package(package).and_then(dpkg::Stanza::trouble) {
        // apt says nothing while a package wants to be reinstalled.
        let steps = vec![format!("repairs {package}, which is {trouble}"), own];
        return Ok(Plan { steps, alone: false });
    }
    if relations::can_replace(&database, package, &kept.relations)
        && (down || relations::stays_whole(&database, package, kept))
    {
        return Ok(Plan { steps: vec![own], alone: true });
    }
    let mut words = Vec::new();
    if down {
        words.push("--allow-downgrades".to_owned());
    }
    if from.as_ref() == Some(&kept.version) {
        words.push("--reinstall".into());
    }
    words.extend(["install".into(), store::path(&kept.digest).to_string_lossy().into_owned()]);
    // With the sources apt finds the same, only later, if all that is depended on is there. What is recommended and is not
    // there might come from them.
    let near = simulated(&words, true)?;
    if near.is_fine()
        && !near.stdout.contains("\nRecommended packages:\n")
        && sentences(&near.stdout, package).is_empty()
    {
        return Ok(Plan { steps: vec![own], alone: true });
    }
    let ended = simulated(&words, false)?;
    if !ended.is_fine() {
        return Err(explained(package, "apt-get", &format!("{}\n{}", ended.stdout, ended.stderr)));
    }
    let mut steps = sentences(&ended.stdout, package);
    steps.push(own);
    Ok(Plan { steps, alone: false })
}

fn simulated(words: &[String], alone: bool) -> Result<command::Ended> {
    let mut argv = apt_get(alone);
    argv.push("--simulate".into());
    argv.extend_from_slice(words);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    command::output(&argv, None, Duration::from_secs(300))
        .map_err(|error| fail(FailureKind::Internal, format!("cannot run apt-get: {error}")))
}

fn apt_get(alone: bool) -> Vec<String> {
    let mut argv: Vec<String> =
        ["apt-get", "--assume-yes", "--quiet", "--no-remove"].map(String::from).into();
    for option in CONFFILES {
        argv.extend(["-o".into(), format!("Dpkg::Options::={option}")]);
    }
    // No terminal of dpkg's own; and apt's own user may not look into the store.
    for option in ["Dpkg::Use-Pty=0", "APT::Sandbox::User=root", "APT::Color=0"] {
        argv.extend(["-o".into(), option.into()]);
    }
    for option in ALONE.iter().filter(|_| alone) {
        argv.extend(["-o".into(), (*option).into()]);
    }
    argv
}

/// A directory of archives, as apt knows them, that has a kept package: apt computes four digests of what it fetches, and
/// none of what it has (pkgAcqArchive::QueueNext of apt's apt-pkg/acquire-item.cc: by name and size). This one was
/// hashed a moment ago. Should an apt not find it there, it takes the file that it is given.
fn archives(kept: &Kept) -> Result<std::path::PathBuf> {
    let directory = place::run("archives");
    let made = || {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let version = kept.version.as_str().replace('_', "%5f").replace(':', "%3a");
        let name = format!("{}_{version}_{}.deb", kept.package, kept.architecture);
        std::os::unix::fs::symlink(store::path(&kept.digest), directory.join(name))
    };
    made().map_err(|error| file(&directory, &error))?;
    Ok(directory)
}

/// `Inst` and `Remv` lines of other packages.
fn sentences(text: &str, package: &PackageName) -> Vec<String> {
    let word = |line: &str| {
        let mut words = line.split_whitespace();
        let (what, name) = (words.next()?, words.next()?);
        let version =
            line.split_once('(').and_then(|(_, rest)| rest.split([' ', ')']).next()).unwrap_or_default();
        let verb = match what {
            "Inst" if words.next().is_some_and(|word| word.starts_with('[')) => "upgrades",
            "Inst" => "installs",
            "Remv" => "removes",
            _ => return None,
        };
        (name != package.as_str()).then(|| format!("{verb} {name} {version}").trim_end().to_owned())
    };
    text.lines().filter_map(word).collect()
}

/// What went wrong, from what apt or dpkg said.
fn explained(package: &PackageName, program: &str, text: &str) -> Failure {
    let lines = command::last_lines(text, 30);
    let has = |words: &[&str]| text.lines().any(|line| words.iter().any(|word| line.contains(word)));
    let failure = if has(&[
        "Could not get lock",
        "is locked by another process",
        "was locked by another process",
    ]) {
        let line = text.lines().find(|line| line.contains("lock")).unwrap_or_default().trim();
        fail(FailureKind::Busy, format!("another process works on packages: {line}"))
    } else if has(&["No space left on device", "You don't have enough free space"]) {
        fail(FailureKind::Disk, format!("there is no room on the host to install {package}"))
            .hint("make room on the host, then try again")
    } else if has(&[
        "unmet dependencies",
        "Unable to correct problems",
        "Packages need to be removed but remove is disabled",
        "dependency problems",
        "Unable to locate package",
    ]) {
        let missing: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| {
                ["Depends:", "PreDepends:", "Pre-Depends:", "Conflicts:", "Breaks:", " depends on "]
                    .iter()
                    .any(|word| line.contains(word))
            })
            .take(3)
            .collect();
        let what = if missing.is_empty() { String::new() } else { format!(": {}", missing.join("; ")) };
        fail(FailureKind::Dependencies, format!("the dependencies of {package} cannot be met{what}")).hint(
            "see `apt-cache policy` on the host: is the source of what is missing there, and up to date?",
        )
    } else {
        let script = text.lines().rev().find(|line| {
            line.contains("script subprocess")
                || line.contains("pre-removal script")
                || line.contains("maintainer script")
        });
        let what = script.map_or_else(|| format!("{program} failed"), |line| line.trim().to_owned());
        fail(FailureKind::Install, format!("{package} cannot be installed: {what}"))
    };
    failure.log(lines)
}

/// Configuration files whose local changes were kept, from dpkg's words.
fn kept_changes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut path = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Configuration file '") {
            path = rest.split('\'').next();
        } else if ["==> Keeping old config file", "==> Using current old file"]
            .iter()
            .any(|words| line.contains(words))
            && let Some(path) = path.take()
        {
            notes.push(format!(
                "{path} was changed on this host: it is kept, and the package's is {path}.dpkg-dist"
            ));
        }
    }
    notes
}

fn log_length() -> u64 {
    fs::metadata(place::run("work.log")).map_or(0, |found| found.len())
}

fn log_from_text(from: u64) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut bytes = Vec::new();
    if let Ok(mut log) = fs::File::open(place::run("work.log")) {
        let length = log.metadata().map_or(0, |found| found.len());
        let _ = log.seek(SeekFrom::Start(from.max(length.saturating_sub(1 << 20))));
        let _ = log.take(1 << 20).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn log_lines(from: u64) -> Vec<String> {
    command::last_lines(&log_from_text(from), 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> PackageName {
        "shop".parse().unwrap()
    }

    #[test]
    fn what_apt_and_dpkg_say_is_told_apart() {
        let kind = |text: &str| explained(&shop(), "apt-get", text).kind;
        assert_eq!(
            kind("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (x)"),
            FailureKind::Busy
        );
        assert_eq!(kind("tar: shop: Cannot write: No space left on device"), FailureKind::Disk);
        let missing = explained(
            &shop(),
            "apt-get",
            "The following packages have unmet dependencies:\n shop : Depends: nix but it is not installable\n",
        );
        assert_eq!(missing.kind, FailureKind::Dependencies);
        assert!(missing.message.ends_with(": shop : Depends: nix but it is not installable"), "{missing}");
        let text = " installed shop package post-installation script subprocess returned error exit status 1\nErrors were encountered\n";
        let failure = explained(&shop(), "dpkg", text);
        assert_eq!(failure.kind, FailureKind::Install);
        assert!(failure.message.contains("post-installation script"), "{failure}");
    }

    #[test]
    fn simulations_become_sentences() {
        let text = "NOTE\nInst libfoo1 (1.2 Debian:12 [amd64])\nInst shop [1] (2 local-deb [all])\nRemv old [3]\nConf shop\n";
        assert_eq!(sentences(text, &shop()), ["installs libfoo1 1.2", "removes old"]);
        let kept = "Configuration file '/etc/a'\n ==> Modified (by you or by a script) since installation.\n ==> Package distributor has shipped an updated version.\n ==> Using current old file as you requested.\n";
        assert_eq!(
            kept_changes(kept),
            ["/etc/a was changed on this host: it is kept, and the package's is /etc/a.dpkg-dist"]
        );
    }
}
