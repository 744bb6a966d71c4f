//! Fetch and push: what is here and what is at the remote, and that neither is ever overwritten.

use debark_order::Environment;
use git2::{Oid, Repository};

use crate::error::{AppendError, LedgerError};
use crate::ledger::Ledger;
use crate::remote::{BranchNews, Pushed, Remote, Standing};
use crate::state::State;
use crate::{git, lease, verify};

/// The file whose time says when the remote answered last.
const ASKED: &str = "asked";

impl Ledger {
    /// When the remote answered last, as far as is known here.
    pub fn asked(&self) -> Option<std::time::SystemTime> {
        std::fs::metadata(self.settings.path.join(ASKED)).and_then(|found| found.modified()).ok()
    }

    /// Fetches what others appended, verifies it, and takes it over where nothing is overwritten by that. Without a remote
    /// there is nothing to do.
    ///
    /// # Errors
    /// The remote cannot be reached, or the repository here not be written. What has diverged is no error, but in the result.
    pub fn fetch(&self) -> Result<Vec<BranchNews>, LedgerError> {
        let Some(remote) = self.remote() else { return Ok(Vec::new()) };
        let repository = self.repository();
        remote.fetch()?;
        // Only for people: how old is what is known here.
        let _ = std::fs::write(self.settings.path.join(ASKED), "");
        let mut news = Vec::new();
        for environment in self.all(&repository)? {
            let standing = self.take_over(&repository, &environment)?;
            news.push(BranchNews { environment, standing });
        }
        Ok(news)
    }

    /// Pushes entries that are only here; fetches first. With `restore`, also those that the remote had and has lost.
    ///
    /// # Errors
    /// As for [`Self::fetch`].
    pub fn push(&self, restore: bool) -> Result<Vec<BranchNews>, LedgerError> {
        let mut news = self.fetch()?;
        let Some(remote) = self.remote() else { return Ok(news) };
        let repository = self.repository();
        for BranchNews { environment, standing } in &mut news {
            let entries = match standing {
                Standing::Ahead { entries } => *entries,
                Standing::Rewound { lost } if restore => *lost,
                _ => continue,
            };
            let branch = git::branch(environment);
            let Some(tip) = git::tip(&repository, &branch)? else { continue };
            let there = git::tip(&repository, &git::incoming(environment))?;
            match remote.push(&[(&branch, there, tip)])? {
                Pushed::Done => {
                    let known = git::tip(&repository, &git::tracking(environment))?;
                    git::swap(&repository, &git::tracking(environment), known, tip, "pushed")?;
                    *standing = Standing::Pushed { entries };
                }
                // Somebody was faster; the next push sees what they did.
                Pushed::Stale => {}
                Pushed::Rejected(why) => {
                    return Err(LedgerError::Untrusted(format!(
                        "the ledger's remote refuses {environment}: {why}"
                    )));
                }
            }
        }
        Ok(news)
    }

    /// Entries that the remote does not have, as far as is known here.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn unpushed(&self, environment: &Environment) -> Result<usize, LedgerError> {
        if self.settings.remote.is_none() {
            return Ok(0);
        }
        let repository = self.repository();
        let Some(tip) = git::tip(&repository, &git::branch(environment))? else { return Ok(0) };
        let known = git::tip(&repository, &git::tracking(environment))?;
        Ok(git::ahead(&repository, tip, known)?.0)
    }

    /// Fetches, and demands that the environment can be appended to.
    pub(crate) fn catch_up(&self, environment: &Environment) -> Result<(), AppendError> {
        let Some(remote) = self.remote() else { return Ok(()) };
        let repository = self.repository();
        self.take_in(&repository, &remote, environment)
    }

    pub(crate) fn take_in(
        &self,
        repository: &Repository,
        remote: &Remote<'_>,
        environment: &Environment,
    ) -> Result<(), AppendError> {
        remote.fetch()?;
        let url = || crate::remote::without_password(remote.url);
        let environment_name = environment.to_string();
        match self.take_over(repository, environment)? {
            Standing::Diverged { local, remote } => {
                Err(AppendError::Diverged { environment: environment_name, local, remote, url: url() })
            }
            Standing::Rewound { lost } => {
                Err(AppendError::Rewound { environment: environment_name, lost, url: url() })
            }
            Standing::Untrusted { why } => Err(LedgerError::Untrusted(why).into()),
            _ => Ok(()),
        }
    }

    fn all(&self, repository: &Repository) -> Result<Vec<Environment>, LedgerError> {
        let mut all = git::environments(repository, "refs/heads/env/")?;
        all.extend(git::environments(repository, "refs/debark/incoming/env/")?);
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Compares what came with what is here, and moves the branch here forward if that is all that is to be done.
    fn take_over(&self, repository: &Repository, environment: &Environment) -> Result<Standing, LedgerError> {
        let (branch, tracking) = (git::branch(environment), git::tracking(environment));
        let local = git::tip(repository, &branch)?;
        let known = git::tip(repository, &tracking)?;
        let incoming = git::tip(repository, &git::incoming(environment))?;
        if let Some(known) = known {
            let (lost, _) = git::ahead(repository, known, incoming)?;
            if lost > 0 {
                return Ok(Standing::Rewound { lost });
            }
        }
        let standing = match (local, incoming) {
            (None, None) => Standing::Same,
            (Some(local), None) => Standing::Ahead { entries: git::ahead(repository, local, None)?.0 },
            (local, Some(incoming)) => {
                let (new, only_here) = git::ahead(repository, incoming, local)?;
                match (new, only_here) {
                    (0, 0) => Standing::Same,
                    (0, entries) => Standing::Ahead { entries },
                    (remote, local) if local > 0 => return Ok(Standing::Diverged { local, remote }),
                    (entries, _) => {
                        if let Some(why) =
                            self.distrust(repository, environment, local, incoming, "at the remote")?
                        {
                            return Ok(Standing::Untrusted { why });
                        }
                        if !git::swap(repository, &branch, local, incoming, "fetched")? {
                            // Somebody appends here at this moment: their push will find out.
                            return Ok(Standing::Same);
                        }
                        Standing::Fetched { entries }
                    }
                }
            }
        };
        if let Some(incoming) = incoming {
            git::swap(repository, &tracking, known, incoming, "fetched")?;
        }
        self.take_lease(repository, environment)?;
        Ok(standing)
    }

    /// Why what came is not to be believed, if it is not.
    pub(crate) fn distrust(
        &self,
        repository: &Repository,
        environment: &Environment,
        local: Option<Oid>,
        incoming: Oid,
        place: &str,
    ) -> Result<Option<String>, LedgerError> {
        let before = match local {
            None => State::empty(environment.clone()),
            Some(tip) => {
                git::state(repository, environment, tip).map_err(|why| git::broken(environment, tip, why))?
            }
        };
        let mut commits = git::chain(repository, incoming, local, usize::MAX)?;
        commits.reverse();
        let faults = verify::check(repository, &self.settings.allowed, before, &commits, 0)?;
        Ok(faults.first().map(|fault| {
            let commit: String = fault.commit.chars().take(12).collect();
            let number = fault.sequence.map_or_else(|| "?".into(), |sequence| sequence.to_string());
            format!(
                "entry {number} of {environment} (commit {commit}) {place} is not to be trusted: {}",
                fault.message
            )
        }))
    }

    /// Takes over a lease that is signed by the one whose deployment it prolongs.
    fn take_lease(&self, repository: &Repository, environment: &Environment) -> Result<(), LedgerError> {
        let branch = git::lease_branch(environment);
        let Some(incoming) = git::tip(repository, &git::incoming_lease(environment))? else { return Ok(()) };
        let own = git::tip(repository, &branch)?;
        if own == Some(incoming) {
            return Ok(());
        }
        let Ok((new, Some(parent))) = lease::read(repository, incoming) else { return Ok(()) };
        let newer = own
            .and_then(|own| lease::read(repository, own).ok())
            .is_none_or(|(old, _)| (old.of, old.renewed) <= (new.of, new.renewed));
        let fits = git::entry(repository, parent).is_ok_and(|entry| {
            entry.sequence == new.of && entry.actor == new.actor && entry.environment == *environment
        }) && new.environment == *environment;
        let signed = || {
            verify::signature(repository, &self.settings.allowed, incoming, &new.actor, new.renewed).is_ok()
        };
        // One that is not to be believed prolongs nothing.
        if newer && fits && signed() {
            git::swap(repository, &branch, own, incoming, "fetched")?;
        }
        Ok(())
    }
}
