//! The ledger as its users see it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use debark_order::sshsig::{self, Signer};
use debark_order::{Environment, Identity, PackageName, Sequence};
use git2::{ObjectType, Oid, Repository};

use crate::entry::{Draft, Entry, FORMAT, Kind, MAX_REASON, Recorded, one_line};
use crate::error::{AppendError, LedgerError};
use crate::lease::{self, Alive, LeaseRecord};
use crate::remote::{Pushed, Remote};
use crate::state::State;
use crate::{files, git, message};

/// The namespace of git's signatures by SSH keys (gitformat-signature(5)).
pub(crate) const NAMESPACE: &str = "git";

/// Where the ledger is, and who writes to it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bare repository; made if there is none.
    pub path: PathBuf,
    /// URL of the repository that decides, as git takes it; a relative path is taken from the current directory.
    pub remote: Option<String>,
    /// Who signs; without it the ledger can only be read.
    pub signer: Option<Signer>,
    /// The allowed signers file (ssh-keygen(1)).
    pub allowed: PathBuf,
    /// A directory of the user's own where it is remembered what was verified; made when it is needed. Nothing in it is believed if it
    /// belongs to another user or can be written to by others. None: nothing is remembered.
    pub memory: Option<PathBuf>,
}

/// Whether an entry may stay here while the remote cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    /// No: a deployment must not begin that others do not see.
    Refuse,
    /// Yes, it is pushed later: rollbacks, and whatever says how something went.
    Allow,
}

/// An entry that was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The entry.
    pub entry: Entry,
    /// Its commit, 40 hexadecimal digits.
    pub commit: String,
    /// Why the remote does not have it yet; none: it has, or there is no remote.
    pub unpushed: Option<String>,
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// At most so many.
    pub limit: Option<usize>,
    /// Only those about that package.
    pub package: Option<PackageName>,
}

/// A ledger. May be used by several threads.
pub struct Ledger {
    pub(crate) settings: Settings,
    repository: Mutex<Repository>,
    actor: OnceLock<Identity>,
    alive: Mutex<HashMap<Environment, (Sequence, Alive)>>,
}

pub(crate) fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

impl Ledger {
    /// Opens the ledger; makes the repository if there is none. The remote is not asked.
    ///
    /// # Errors
    /// The repository cannot be opened or made.
    pub fn open(settings: Settings) -> Result<Self, LedgerError> {
        let repository = Mutex::new(git::open(&settings.path)?);
        Ok(Self { settings, repository, actor: OnceLock::new(), alive: Mutex::default() })
    }

    pub(crate) fn repository(&self) -> MutexGuard<'_, Repository> {
        // A panic elsewhere leaves nothing half done in it: all that counts is on disk.
        self.repository.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remote(&self) -> Option<Remote<'_>> {
        let url = self.settings.remote.as_deref()?;
        Some(Remote { path: &self.settings.path, url })
    }

    /// The remote's URL without a password.
    pub fn remote_name(&self) -> Option<String> {
        self.settings.remote.as_deref().map(crate::remote::without_password)
    }

    /// Who signs, by the allowed signers file. Asked once: a token may want to be touched.
    ///
    /// # Errors
    /// There is no key, it does not sign, or it belongs to nobody.
    pub fn actor(&self) -> Result<Identity, LedgerError> {
        if let Some(actor) = self.actor.get() {
            return Ok(actor.clone());
        }
        let signer = self.settings.signer.as_ref().ok_or(LedgerError::NoSigner)?;
        let actor = signer.identity(&self.settings.allowed, NAMESPACE)?;
        Ok(self.actor.get_or_init(|| actor).clone())
    }

    /// Environments that have entries, by name.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn environments(&self) -> Result<Vec<Environment>, LedgerError> {
        git::environments(&self.repository(), "refs/heads/env/")
    }

    /// What is so in an environment, as far as is known here: from the tree at the tip, without a walk and without the remote
    /// (see [`Self::fetch`]). To be shown: what decides anything asks [`Self::trusted`].
    ///
    /// # Errors
    /// The repository or the state cannot be read.
    pub fn state(&self, environment: &Environment) -> Result<State, LedgerError> {
        let repository = self.repository();
        let Some(tip) = git::tip(&repository, &git::branch(environment))? else {
            return Ok(State::empty(environment.clone()));
        };
        self.state_at(&repository, environment, tip)
    }

    pub(crate) fn state_at(
        &self,
        repository: &Repository,
        environment: &Environment,
        tip: Oid,
    ) -> Result<State, LedgerError> {
        let broken = |why| git::broken(environment, tip, why);
        let mut state = git::state(repository, environment, tip).map_err(broken)?;
        let Some(open) = &mut state.open else { return Ok(state) };
        if let Some(lease) = git::tip(repository, &git::lease_branch(environment))? {
            // One that cannot be read prolongs nothing.
            if let Ok((lease, _)) = lease::read(repository, lease)
                && lease.of == open.sequence
                && lease.environment == *environment
                && lease.actor == open.by
            {
                // Prolonged for no longer than the lease is long: `until` is for people.
                open.renewed = Some(lease.renewed);
            }
        }
        let above = usize::try_from(state.sequence.saturating_sub(open.sequence)).unwrap_or(usize::MAX);
        let commits = git::chain(repository, tip, None, above.saturating_add(1))?;
        if let Some(commit) = commits.get(above) {
            open.abandoned =
                lease::abandoned(&self.settings.path, environment, open.sequence, &commit.to_string());
        }
        Ok(state)
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// The repository or an entry cannot be read.
    pub fn entries(&self, environment: &Environment, filter: &Filter) -> Result<Vec<Recorded>, LedgerError> {
        let repository = self.repository();
        let mut next = git::tip(&repository, &git::branch(environment))?;
        let limit = filter.limit.unwrap_or(usize::MAX);
        let mut found: Vec<Recorded> = Vec::new();
        // `finished` entries do not name their package: they wait for the `started` entry, which is below.
        let mut wanted: Vec<(Sequence, Recorded)> = Vec::new();
        while let Some(commit) = next.filter(|_| found.len() < limit || !wanted.is_empty()) {
            let entry =
                git::entry(&repository, commit).map_err(|why| git::broken(environment, commit, why))?;
            let about = match (&filter.package, &entry.kind) {
                (None, _) => true,
                (Some(_), kind) if kind.finishes().is_some() => {
                    let of = kind.finishes().map_or(0, |finished| finished.of);
                    wanted.push((of, Recorded { id: commit.to_string(), entry: entry.clone() }));
                    false
                }
                (Some(package), kind) => kind.package() == Some(package),
            };
            let sequence = entry.sequence;
            if let Some(at) = wanted.iter().position(|(of, _)| *of == sequence) {
                let (_, finished) = wanted.remove(at);
                if about {
                    found.push(finished);
                }
            }
            if about {
                found.push(Recorded { id: commit.to_string(), entry });
            }
            let commit = repository.find_commit(commit).map_err(|error| git::failed(&repository, &error))?;
            next = commit.parent_id(0).ok();
        }
        found.sort_by_key(|recorded| std::cmp::Reverse(recorded.entry.sequence));
        found.truncate(limit);
        Ok(found)
    }

    /// The entry with that number.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn entry(&self, environment: &Environment, sequence: Sequence) -> Result<Recorded, LedgerError> {
        let repository = self.repository();
        let none = || LedgerError::NoEntry { environment: environment.to_string(), sequence };
        let tip = git::tip(&repository, &git::branch(environment))?.ok_or_else(none)?;
        let top = git::entry(&repository, tip).map_err(|why| git::broken(environment, tip, why))?.sequence;
        let below = top.checked_sub(sequence).filter(|_| sequence > 0).ok_or_else(none)?;
        let below = usize::try_from(below).map_err(|_| none())?;
        let commits = git::chain(&repository, tip, None, below.saturating_add(1))?;
        let commit = *commits.get(below).ok_or_else(none)?;
        let entry = git::entry(&repository, commit).map_err(|why| git::broken(environment, commit, why))?;
        Ok(Recorded { id: commit.to_string(), entry })
    }

    /// Appends an entry to the chain, on top of the state `on`: by compare-and-swap, at the remote if there is one.
    ///
    /// Of all that are built on the same state, one is appended, and the others get [`AppendError::Conflict`]. Objects are on the
    /// disk before the branch moves, so a crash leaves either the entry or nothing.
    ///
    /// # Errors
    /// As [`AppendError`] says; the chain is as it was.
    pub fn append(
        &self,
        environment: &Environment,
        on: &State,
        draft: Draft,
        offline: Offline,
    ) -> Result<Appended, AppendError> {
        let conflict = || AppendError::Conflict { environment: environment.to_string() };
        if draft.sequence != on.sequence + 1 || on.environment != *environment {
            return Err(conflict());
        }
        let (actor, now) = (self.actor()?, now());
        if let (Kind::Started(_), Some(open)) = (&draft.kind, &on.open)
            && !open.is_over(now)
        {
            return Err(AppendError::Leased {
                environment: environment.to_string(),
                sequence: open.sequence,
                by: open.by.to_string(),
                seconds: open.lease_until().saturating_sub(now),
            });
        }
        let reason = draft.reason.as_deref().map(|reason| one_line(reason, MAX_REASON));
        let entry = Entry {
            format: FORMAT,
            environment: environment.clone(),
            sequence: draft.sequence,
            time: now.max(on.time),
            actor,
            reason: reason.filter(|reason| !reason.is_empty()),
            ci: crate::ci(),
            kind: draft.kind,
        };
        let mut next = on.clone();
        next.apply(&entry)?;

        let repository = self.repository();
        let branch = git::branch(environment);
        let old = git::tip(&repository, &branch)?;
        if old.map(|old| old.to_string()) != on.tip {
            return Err(conflict());
        }
        let mut alive = None;
        if matches!(entry.kind, Kind::Started(_)) {
            let path = &self.settings.path;
            let locked =
                Alive::lock(path, environment, entry.sequence).map_err(|error| LedgerError::Repository {
                    path: path.join("leases").display().to_string(),
                    why: error.to_string(),
                })?;
            alive = Some(locked.ok_or_else(conflict)?);
        }
        let (new, subject) = self.write(&repository, &entry, on, &next, old)?;
        if let Some(alive) = &mut alive {
            alive.name(new).map_err(|error| LedgerError::Repository {
                path: self.settings.path.join("leases").display().to_string(),
                why: error.to_string(),
            })?;
        }
        let unpushed = self.push_entry(&repository, environment, old, new, offline)?;
        if !git::swap(&repository, &branch, old, new, &subject)? {
            // At the remote it is on record; a fetch brings it here. Without a remote somebody else was first.
            if self.settings.remote.is_none() || unpushed.is_some() {
                return Err(conflict());
            }
        }
        self.remember_alive(environment, &entry, alive);
        self.verified_on(&repository, environment, old, new);
        if entry.sequence.is_multiple_of(512) {
            self.tidy();
        }
        Ok(Appended { entry, commit: new.to_string(), unpushed })
    }

    /// Appends an entry whose sequence nobody has to know beforehand: tried again on the newest state when others append.
    ///
    /// # Errors
    /// As for [`Self::append`], but no conflict unless others append a dozen times in between; and as for [`Self::trusted`]: nobody
    /// signs what stands on a forged entry.
    pub fn record(
        &self,
        environment: &Environment,
        reason: Option<String>,
        kind: Kind,
        offline: Offline,
    ) -> Result<Appended, AppendError> {
        let mut last = Err(AppendError::Conflict { environment: environment.to_string() });
        for _ in 0..12 {
            let state = self.trusted(environment)?;
            let draft = Draft { sequence: state.sequence + 1, reason: reason.clone(), kind: kind.clone() };
            last = self.append(environment, &state, draft, offline);
            match last {
                Err(AppendError::Conflict { .. }) if self.settings.remote.is_some() => {
                    self.catch_up(environment)?
                }
                Err(AppendError::Conflict { .. }) => {}
                _ => break,
            }
        }
        last
    }

    pub(crate) fn write(
        &self,
        repository: &Repository,
        entry: &Entry,
        before: &State,
        next: &State,
        parent: Option<Oid>,
    ) -> Result<(Oid, String), AppendError> {
        let git_failed = |error: git2::Error| git::append_failed(repository, &error);
        let mut ids = std::collections::BTreeMap::new();
        for (path, bytes) in files::write(next) {
            ids.insert(path, repository.blob(&bytes).map_err(git_failed)?);
        }
        let json = files::json(entry);
        // What cannot be read again must not be on record.
        if Entry::from_json(&json).as_ref() != Ok(entry) {
            return Err(git::broken(&entry.environment, Oid::ZERO_SHA1, "it cannot be written".into()).into());
        }
        ids.insert(files::ENTRY.to_owned(), repository.blob(&json).map_err(git_failed)?);
        let odb = repository.odb().map_err(git_failed)?;
        let mut put = |kind: ObjectType, bytes: &[u8]| odb.write(kind, bytes);
        let tree = git::tree(&ids, &mut put).map_err(git_failed)?;
        let message = message::message(entry, before);
        let commit = self.signed(repository, parent, tree, &entry.actor, entry.time, &message)?;
        Ok((commit, message::subject(entry, before)))
    }

    /// A signed commit; no branch has it yet.
    pub(crate) fn signed(
        &self,
        repository: &Repository,
        parent: Option<Oid>,
        tree: Oid,
        actor: &Identity,
        time: u64,
        message: &str,
    ) -> Result<Oid, AppendError> {
        let git_failed = |error: git2::Error| git::append_failed(repository, &error);
        let signer = self.settings.signer.as_ref().ok_or(LedgerError::NoSigner)?;
        let text =
            git::commit_text(repository, parent, tree, actor.as_str(), time, message).map_err(git_failed)?;
        let signature = signer.sign(NAMESPACE, &text)?;
        // An entry that others would not believe must not be made: it could never be taken away again.
        sshsig::verify(&self.settings.allowed, actor, NAMESPACE, &text, &signature, Some(time))?;
        let text = std::str::from_utf8(&text).map_err(|error| git::broken_text(&error))?;
        repository.commit_signed(text, signature.trim_end(), None).map_err(git_failed)
    }

    fn remember_alive(&self, environment: &Environment, entry: &Entry, alive: Option<Alive>) {
        let mut all = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        match (&entry.kind, alive) {
            (Kind::Started(_), Some(alive)) => {
                all.insert(environment.clone(), (entry.sequence, alive));
            }
            (Kind::Finished(finished), _)
                if all.get(environment).is_some_and(|(of, _)| *of == finished.of) =>
            {
                all.remove(environment);
            }
            _ => {}
        }
    }

    /// Why the remote does not have the commit, if that is allowed.
    fn push_entry(
        &self,
        repository: &Repository,
        environment: &Environment,
        old: Option<Oid>,
        new: Oid,
        offline: Offline,
    ) -> Result<Option<String>, AppendError> {
        let Some(remote) = self.remote() else { return Ok(None) };
        let branch = git::branch(environment);
        let known = git::tip(repository, &git::tracking(environment))?;
        // Entries that were made offline go with it: the remote is still where it was then, or they have diverged.
        match remote.push(&[(&branch, known, new)]) {
            Ok(Pushed::Done) => {
                git::swap(repository, &git::tracking(environment), known, new, "pushed")?;
                Ok(None)
            }
            Ok(Pushed::Rejected(why)) => Err(AppendError::Rejected(why)),
            Err(error @ LedgerError::RemoteDown { .. }) if offline == Offline::Allow => {
                Ok(Some(error.to_string()))
            }
            Err(error) => Err(error.into()),
            Ok(Pushed::Stale) => {
                // What others appended is fetched, so that the next attempt stands on it; entries that are
                // only here and theirs have nothing to do with each other.
                match self.take_in(repository, &remote, environment) {
                    // A rollback is not held up by that; it shows, and waits for somebody who decides.
                    Err(error @ AppendError::Diverged { .. })
                        if offline == Offline::Allow && known != old =>
                    {
                        Ok(Some(error.to_string()))
                    }
                    // Nor by what somebody did to the remote: what is here has been verified.
                    Err(
                        error
                        @ (AppendError::Rewound { .. } | AppendError::Ledger(LedgerError::Untrusted(_))),
                    ) if offline == Offline::Allow => Ok(Some(error.to_string())),
                    Err(error) => Err(error),
                    Ok(_) => Err(AppendError::Conflict { environment: environment.to_string() }),
                }
            }
        }
    }

    /// Prolongs the lease of a deployment that this actor began. Whether the remote was told is the second part of the result.
    ///
    /// # Errors
    /// [`AppendError::LeaseLost`]: the deployer has to stop. Others: it may try again.
    pub fn renew(
        &self,
        environment: &Environment,
        of: Sequence,
    ) -> Result<(LeaseRecord, Option<String>), AppendError> {
        let mut down = None;
        if self.settings.remote.is_some() {
            match self.catch_up(environment) {
                Ok(()) => {}
                // What is known here counts; the hosts decide in the end.
                Err(error) => down = Some(error.to_string()),
            }
        }
        let state = self.state(environment)?;
        let now = now();
        let lost = |why| AppendError::LeaseLost { environment: environment.to_string(), sequence: of, why };
        let open = match &state.open {
            Some(open) if open.sequence == of => open,
            Some(open) => return Err(lost(format!("entry {} by {} took over", open.sequence, open.by))),
            None => return Err(lost("it is finished".into())),
        };
        if now >= open.lease_until() {
            return Err(lost(format!("it ended {} s ago", now - open.lease_until())));
        }
        let actor = self.actor()?;
        if actor != open.by {
            return Err(lost(format!("it belongs to {}", open.by)));
        }
        let record = LeaseRecord {
            format: FORMAT,
            environment: environment.clone(),
            of,
            actor: actor.clone(),
            renewed: now,
            until: now + u64::from(open.lease_seconds),
        };
        let started = self.entry(environment, of)?;
        let repository = self.repository();
        let git_failed = |error: git2::Error| git::append_failed(&repository, &error);
        let parent = Oid::from_str(&started.id).map_err(git_failed)?;
        let blob = repository.blob(&files::json(&record)).map_err(git_failed)?;
        let odb = repository.odb().map_err(git_failed)?;
        let files = std::collections::BTreeMap::from([(lease::LEASE.to_owned(), blob)]);
        let tree = git::tree(&files, &mut |kind, bytes| odb.write(kind, bytes)).map_err(git_failed)?;
        let message = format!("lease of {environment} {of} until {}\n", record.until);
        let new = self.signed(&repository, Some(parent), tree, &actor, now, &message)?;
        let branch = git::lease_branch(environment);
        let old = git::tip(&repository, &branch)?;
        if let (Some(remote), None) = (self.remote(), &down) {
            match remote.push(&[(&branch, old, new)]) {
                Ok(Pushed::Done) => {}
                Ok(Pushed::Stale) => {
                    return Err(AppendError::Conflict { environment: environment.to_string() });
                }
                Ok(Pushed::Rejected(why)) => return Err(AppendError::Rejected(why)),
                Err(error) => down = Some(error.to_string()),
            }
        }
        if !git::swap(&repository, &branch, old, new, "renewed")? {
            return Err(AppendError::Conflict { environment: environment.to_string() });
        }
        Ok((record, down))
    }

    /// Packs loose objects once in a while; it is not needed for anything but space.
    fn tidy(&self) {
        let mut command = std::process::Command::new("git");
        command
            .env_remove("GIT_DIR")
            .arg("--git-dir")
            .arg(&self.settings.path)
            .args(["gc", "--auto", "--quiet"]);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        // If it cannot be run, the ledger takes more space.
        let _ = command.status();
    }
}
