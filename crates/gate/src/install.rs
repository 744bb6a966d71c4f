//! From one version to another, by apt or by dpkg alone, and what goes with it: locks, repairs, configuration files.

mod apt;
mod conffiles;
mod log;
mod plan;
mod said;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use debark_order::gate::{FailureKind, Version};
use debark_order::{Action, PackageName};

use self::apt::{apt_get, archives};
pub use self::conffiles::ASIDE;
pub use self::plan::plan;
use self::said::{explained, kept_changes};
use crate::dpkg::{self, Database};
use crate::failure::{Failing as _, Result, fail, file};
use crate::journal::{self, Step};
use crate::state::{Open, State};
use crate::store::{self, Kept, Trace};
use crate::{command, locks, place, relations, trust, unit, units};

/// Nobody is asked anything, and local changes stay.
const CONFFILES: [&str; 2] = ["--force-confdef", "--force-confold"];

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

/// Makes an open order's target live. `alone`: [`plan::Plan::alone`] was true a moment ago; `came`: the package came a moment ago.
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
            log::say(&format!("the version before cannot be put back: {failure}"));
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
        let begin = log::length();
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
            return Err(dpkg::not_live(self.package, &target.version, &after).log(log::lines(begin)));
        }
        let mut notes = kept_changes(&log::text(begin));
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
        let from = log::length();
        let (program, words) = argv.split_first().unwrap_or((&"true", &[]));
        let log = log::open()?;
        let cloned = log.try_clone().map_err(|error| file(&place::run(log::NAME), &error))?;
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
            .log(log::lines(from)));
        };
        if status.success() {
            return Ok(());
        }
        Err(explained(self.package, program, &log::text(from)))
    }
}
