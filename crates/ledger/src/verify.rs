//! Whether a chain is what it claims to be: offline, from the first entry on.
//!
//! Each commit has to be signed by a key that the allowed signers file gives to the entry's actor at the entry's time, stand on exactly
//! one other, have the next sequence, and have the tree that its entry makes of the tree below.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use debark_order::{Digest, Environment, Identity, Sequence, sshsig};
use git2::{ObjectType, Oid, Repository};
use serde::Serialize;

use crate::entry::Entry;
use crate::error::LedgerError;
use crate::ledger::{Ledger, NAMESPACE, Settings};
use crate::memory::{self, Memory};
use crate::state::State;
use crate::{files, git, message};

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whose chain.
    pub environment: Environment,
    /// The last entry's commit; none: the chain is empty.
    pub tip: Option<String>,
    /// Entries.
    pub entries: u64,
    /// Of these, signatures that were checked before under the same allowed signers file.
    pub known: u64,
    /// What is wrong, oldest first.
    pub faults: Vec<Fault>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The entry's number, as far as it can be read.
    pub sequence: Option<Sequence>,
    /// Which kind.
    pub kind: FaultKind,
    /// One sentence.
    pub message: String,
}

/// Kinds of what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// There is no signature, or it is not that of the entry's actor.
    Signature,
    /// A commit with several parents.
    Merge,
    /// A number is missing, comes twice, or is not the next.
    Sequence,
    /// There is no entry, or it cannot be read, or it does not fit what is below it.
    Entry,
    /// The tree says something else than the entries come to.
    State,
    /// The commit's author, time or message is not that of its entry.
    Commit,
    /// Entries that were seen before are gone.
    Lost,
}

/// A commit as it is checked.
struct Link {
    oid: Oid,
    entry: Option<Entry>,
}

impl Ledger {
    /// What is so in an environment, if its chain is to be believed: as [`Self::state`], after a look at every entry since the one that
    /// was verified last.
    ///
    /// # Errors
    /// [`LedgerError::Unverified`] names the first entry that is wrong. Others: as for [`Self::verify`].
    pub fn trusted(&self, environment: &Environment) -> Result<State, LedgerError> {
        let repository = self.repository();
        // Before the branch, which others may move at any time: it has what was seen before.
        let remembered = self.seen(environment);
        let seen = git::tip(&repository, &git::seen(environment))?;
        let tip = git::tip(&repository, &git::branch(environment))?;
        let Some(tip) = tip else {
            return match seen {
                Some(seen) => Err(unverified(environment, lost(&repository, seen, "the branch is gone"))),
                None => Ok(State::empty(environment.clone())),
            };
        };
        let memory = self.memory(environment)?;
        let known = memory.recall().filter(|known| stands_on(&repository, tip, *known));
        let before = match known {
            None => State::empty(environment.clone()),
            Some(known) => git::state(&repository, environment, known)
                .map_err(|why| git::broken(environment, known, why))?,
        };
        let mut commits = git::chain(&repository, tip, known, usize::MAX)?;
        commits.reverse();
        let faults = check(&repository, &self.settings.allowed, before, &commits, 0)?;
        if let Some(fault) = faults.into_iter().next() {
            return Err(unverified(environment, fault));
        }
        if let Some(seen) = seen.filter(|seen| !stands_on(&repository, tip, *seen)) {
            let fault = lost(&repository, seen, "the branch does not have it any more");
            return Err(unverified(environment, fault));
        }
        if let Some((newest, path)) = remembered.cut_off(&repository, tip)? {
            return Err(unverified(environment, lost(&repository, newest, &is_remembered(&path))));
        }
        if !commits.is_empty() {
            git::swap(&repository, &git::seen(environment), seen, tip, "verified")?;
            memory.remember(tip);
        }
        remembered.remember(&repository, tip);
        self.state_at(&repository, environment, tip)
    }

    /// An entry of one's own stands on what was verified: then it is verified as well.
    pub(crate) fn verified_on(
        &self,
        repository: &Repository,
        environment: &Environment,
        below: Option<Oid>,
        new: Oid,
    ) {
        // Without it the next verification takes longer.
        if let Ok(memory) = self.memory(environment)
            && (below.is_none() || memory.recall() == below)
        {
            let seen = git::seen(environment);
            let old = git::tip(repository, &seen).ok().flatten();
            let _ = git::swap(repository, &seen, old, new, "verified");
            memory.remember(new);
            self.seen(environment).remember(repository, new);
        }
    }

    /// Where the verified tip is remembered, by what the allowed signers file is now.
    fn memory(&self, environment: &Environment) -> Result<Memory, LedgerError> {
        let allowed = &self.settings.allowed;
        let signers = std::fs::read(allowed).map_err(|error| {
            LedgerError::Signature(sshsig::SignatureError::Bad(format!("{}: {error}", allowed.display())))
        })?;
        let Settings { memory, path, .. } = &self.settings;
        Ok(Memory::new(memory.as_deref(), path, Digest::of(&signers), environment))
    }

    /// Why nothing that was verified before is believed, and every chain is verified from its first entry on, if that is so although
    /// there is a place to remember it.
    pub fn distrusts_memory(&self) -> Option<String> {
        memory::own(self.settings.memory.as_deref()?).err()
    }

    /// Verifies an environment's whole chain. With `anew`, nothing that was verified before is believed.
    ///
    /// What was verified is remembered in [`Settings::memory`], by the digest of the allowed signers file: a second verification checks the
    /// signatures of what came since.
    ///
    /// # Errors
    /// The repository or the allowed signers file cannot be read. What is wrong with the chain is no error, but in the result.
    pub fn verify(&self, environment: &Environment, anew: bool) -> Result<Verification, LedgerError> {
        let allowed = &self.settings.allowed;
        let memory = self.memory(environment)?;
        let repository = self.repository();
        let remembered = self.seen(environment);
        let seen = git::tip(&repository, &git::seen(environment))?;
        let tip = git::tip(&repository, &git::branch(environment))?;
        let mut faults = Vec::new();
        let Some(tip) = tip else {
            if let Some(seen) = seen {
                faults.push(lost(&repository, seen, "the branch is gone"));
            }
            let environment = environment.clone();
            return Ok(Verification { environment, tip: None, entries: 0, known: 0, faults });
        };
        let mut commits = git::chain(&repository, tip, None, usize::MAX)?;
        commits.reverse();
        let known = if anew { None } else { memory.recall() };
        let known =
            known.and_then(|known| commits.iter().position(|oid| *oid == known)).map_or(0, |at| at + 1);

        faults.extend(check(&repository, allowed, State::empty(environment.clone()), &commits, known)?);
        if let Some(seen) = seen.filter(|seen| !commits.contains(seen)) {
            faults.push(lost(&repository, seen, "the branch does not have it any more"));
        } else if let Some((newest, path)) = remembered.cut_off(&repository, tip)? {
            faults.push(lost(&repository, newest, &is_remembered(&path)));
        }
        if faults.is_empty() {
            git::swap(&repository, &git::seen(environment), seen, tip, "verified")?;
            memory.remember(tip);
            remembered.remember(&repository, tip);
        }
        Ok(Verification {
            environment: environment.clone(),
            tip: Some(tip.to_string()),
            entries: commits.len() as u64,
            known: known as u64,
            faults,
        })
    }
}

/// Whether a commit is another one, or above it.
pub(crate) fn stands_on(repository: &Repository, tip: Oid, below: Oid) -> bool {
    // One that is not here is below nothing.
    tip == below || repository.graph_descendant_of(tip, below).unwrap_or(false)
}

fn unverified(environment: &Environment, fault: Fault) -> LedgerError {
    LedgerError::Unverified {
        environment: environment.to_string(),
        number: fault.sequence.map_or_else(|| "?".into(), |sequence| sequence.to_string()),
        commit: fault.commit.chars().take(12).collect(),
        why: fault.message,
    }
}

fn is_remembered(path: &str) -> String {
    format!("the branch does not have it any more, and {path} remembers it")
}

fn lost(repository: &Repository, seen: Oid, why: &str) -> Fault {
    let sequence = git::entry(repository, seen).ok().map(|entry| entry.sequence);
    Fault {
        commit: seen.to_string(),
        sequence,
        kind: FaultKind::Lost,
        message: format!("an entry that was here is lost: {why}"),
    }
}

/// Checks commits, oldest first, that stand on the state `before`; the signatures of the first `known` are believed.
pub(crate) fn check(
    repository: &Repository,
    allowed: &Path,
    mut before: State,
    commits: &[Oid],
    known: usize,
) -> Result<Vec<Fault>, LedgerError> {
    let mut faults = Vec::new();
    let mut links = Vec::with_capacity(commits.len());
    for oid in commits {
        let entry = structure(repository, &mut before, *oid, &mut faults)?;
        links.push(Link { oid: *oid, entry });
    }
    faults.extend(signatures(repository.path(), allowed, links.get(known..).unwrap_or_default())?);
    let place: BTreeMap<String, usize> =
        commits.iter().enumerate().map(|(place, oid)| (oid.to_string(), place)).collect();
    faults.sort_by_key(|fault| place.get(&fault.commit).copied());
    Ok(faults)
}

/// All but the signature; `before` becomes the state after the entry.
fn structure(
    repository: &Repository,
    before: &mut State,
    oid: Oid,
    faults: &mut Vec<Fault>,
) -> Result<Option<Entry>, LedgerError> {
    let failed = |error: git2::Error| git::failed(repository, &error);
    let commit = repository.find_commit(oid).map_err(failed)?;
    let environment = before.environment.clone();
    let mut sequence = None;
    let mut fault = |sequence, kind, message: String| {
        faults.push(Fault { commit: oid.to_string(), sequence, kind, message });
    };
    let entry = git::entry(repository, oid);
    if let Ok(entry) = &entry {
        sequence = Some(entry.sequence);
    }
    if commit.parent_count() > 1 {
        fault(sequence, FaultKind::Merge, format!("it is a merge of {} commits", commit.parent_count()));
    }
    let entry = match entry {
        Ok(entry) => entry,
        Err(why) => {
            fault(None, FaultKind::Entry, why);
            *before = adopt(repository, &environment, oid, before.sequence + 1);
            return Ok(None);
        }
    };
    let expected = message::message(&entry, before);
    if commit.message_raw_bytes() != expected.as_bytes() {
        fault(sequence, FaultKind::Commit, "its message is not that of its entry".into());
    }
    for who in [commit.author(), commit.committer()] {
        let fits = who.email_bytes() == entry.actor.as_str().as_bytes()
            && u64::try_from(who.when().seconds()) == Ok(entry.time);
        if !fits {
            fault(
                sequence,
                FaultKind::Commit,
                format!("it is by {who} and its entry by {}, or their times differ", entry.actor),
            );
            break;
        }
    }
    let mut next = before.clone();
    if let Err(error) = next.apply(&entry) {
        let kind = match error {
            crate::Inconsistent::Sequence { .. } => FaultKind::Sequence,
            _ => FaultKind::Entry,
        };
        fault(sequence, kind, error.to_string());
        *before = adopt(repository, &environment, oid, entry.sequence);
        return Ok(Some(entry));
    }
    let wanted = files::write(&next);
    let hash = |kind, bytes: &[u8]| Oid::hash_object(kind, bytes);
    let mut ids = BTreeMap::new();
    for (path, bytes) in &wanted {
        ids.insert(path.clone(), hash(ObjectType::Blob, bytes).map_err(failed)?);
    }
    let tree = commit.tree().map_err(failed)?;
    let own = tree.get_name(files::ENTRY).map(|entry| entry.id());
    ids.extend(own.map(|own| (files::ENTRY.to_owned(), own)));
    if git::tree(&ids, &mut |kind, bytes| hash(kind, bytes)).map_err(failed)? != tree.id() {
        let what = difference(repository, &tree, &wanted);
        fault(sequence, FaultKind::State, format!("its tree is not what the entries come to: {what}"));
    }
    *before = next;
    Ok(Some(entry))
}

/// The state that a tree claims, so that one fault is not told once per entry above it.
fn adopt(repository: &Repository, environment: &Environment, oid: Oid, sequence: Sequence) -> State {
    let empty = || State { sequence, ..State::empty(environment.clone()) };
    let mut state = git::state(repository, environment, oid).unwrap_or_else(|_| empty());
    state.sequence = sequence;
    state
}

/// The first path in which a tree differs from what it should have.
fn difference(repository: &Repository, tree: &git2::Tree<'_>, wanted: &BTreeMap<String, Vec<u8>>) -> String {
    for (path, bytes) in wanted {
        match git::file(repository, tree, path, files::MAX_FILE) {
            Ok(Some(found)) if found == *bytes => {}
            Ok(Some(_)) => return format!("{path} has been edited"),
            Ok(None) => return format!("{path} is missing"),
            Err(why) => return why,
        }
    }
    let mut extra = None;
    // Only to name it: a tree that cannot be walked is wrong all the same.
    let _ = tree.walk(git2::TreeWalkMode::PreOrder, |directory, entry| {
        let path = format!("{directory}{}", String::from_utf8_lossy(entry.name_bytes()));
        let known = path == files::ENTRY || wanted.contains_key(&path);
        if entry.kind() != Some(ObjectType::Tree) && !known {
            extra = Some(path);
            return git2::TreeWalkResult::Abort;
        }
        git2::TreeWalkResult::Ok
    });
    extra.map_or_else(|| "modes or names".into(), |path| format!("{path:?} does not belong there"))
}

/// Checks signatures, by several `ssh-keygen` at once.
fn signatures(repository: &Path, allowed: &Path, links: &[Link]) -> Result<Vec<Fault>, LedgerError> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let failure = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(1, 16);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(links.len()) {
            scope.spawn(|| {
                let repository = match Repository::open_bare(repository) {
                    Ok(repository) => repository,
                    Err(error) => return keep(&failure, error.message().to_owned()),
                };
                while let Some(link) = links.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(entry) = &link.entry else { continue };
                    match signature(&repository, allowed, link.oid, &entry.actor, entry.time) {
                        Ok(()) => {}
                        Err(sshsig::SignatureError::Bad(why)) => {
                            let message = format!("it is not signed by {}: {why}", entry.actor);
                            let fault = Fault {
                                commit: link.oid.to_string(),
                                sequence: Some(entry.sequence),
                                kind: FaultKind::Signature,
                                message,
                            };
                            if let Ok(mut faults) = faults.lock() {
                                faults.push(fault);
                            }
                        }
                        Err(error) => return keep(&failure, error.to_string()),
                    }
                }
            });
        }
    });
    if let Some(why) = failure.into_inner().ok().flatten() {
        return Err(LedgerError::Repository { path: repository.display().to_string(), why });
    }
    faults.into_inner().map_err(|_| LedgerError::Repository {
        path: repository.display().to_string(),
        why: "a thread that checks signatures has panicked".into(),
    })
}

fn keep(failure: &Mutex<Option<String>>, why: String) {
    if let Ok(mut failure) = failure.lock() {
        failure.get_or_insert(why);
    }
}

/// Checks that a commit is signed by `actor`, with a key that was theirs at `time`.
pub(crate) fn signature(
    repository: &Repository,
    allowed: &Path,
    commit: Oid,
    actor: &Identity,
    time: u64,
) -> Result<(), sshsig::SignatureError> {
    let bad = |error: git2::Error| match error.code() {
        git2::ErrorCode::NotFound => sshsig::SignatureError::Bad("it has no signature".into()),
        _ => sshsig::SignatureError::Bad(error.message().to_owned()),
    };
    let (signature, text) = repository.extract_signature(&commit, None).map_err(bad)?;
    let signature = String::from_utf8_lossy(&signature);
    sshsig::verify(allowed, actor, NAMESPACE, &text, &signature, Some(time))
}
