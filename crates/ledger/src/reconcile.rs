//! Entries that were made offline while others made entries too are put behind theirs.

use std::collections::BTreeMap;

use debark_order::{Environment, Sequence};
use git2::Oid;

use crate::entry::{Entry, FORMAT, Kind, MAX_REASON, Moved, one_line};
use crate::error::{AppendError, LedgerError};
use crate::git;
use crate::ledger::{Ledger, now};
use crate::remote::{Pushed, without_password};

impl Ledger {
    /// Puts the entries that are only here behind those of the remote, each as a [`Kind::Moved`] signed anew; how many. The
    /// branch as it was stays as `diverged/NAME-COMMIT`, here and at the remote. Nothing is done if nothing has diverged.
    ///
    /// What others did and what was done offline both happened: the state afterwards is as if the latter came last. Whether
    /// hosts agree, `debark status` tells.
    ///
    /// # Errors
    /// The remote cannot be reached or cannot be trusted; somebody is deploying.
    pub fn reconcile(&self, environment: &Environment, reason: &str) -> Result<usize, AppendError> {
        let Some(remote) = self.remote() else { return Ok(0) };
        let actor = self.actor()?;
        let repository = self.repository();
        let conflict = || AppendError::Conflict { environment: environment.to_string() };
        remote.fetch()?;
        let branch = git::branch(environment);
        let known = git::tip(&repository, &git::tracking(environment))?;
        let tips = (git::tip(&repository, &branch)?, git::tip(&repository, &git::incoming(environment))?);
        let (Some(local), Some(incoming)) = tips else { return Ok(0) };
        if let Some(known) = known {
            let (lost, _) = git::ahead(&repository, known, Some(incoming))?;
            if lost > 0 {
                let url = without_password(remote.url);
                return Err(AppendError::Rewound { environment: environment.to_string(), lost, url });
            }
        }
        let (only_here, only_there) = git::ahead(&repository, local, Some(incoming))?;
        if only_here == 0 || only_there == 0 {
            return Ok(0);
        }
        // Where they parted; none if they have nothing in common.
        let base = repository.merge_base(local, incoming).ok();
        for (tip, place) in [(incoming, "at the remote"), (local, "here")] {
            if let Some(why) = self.distrust(&repository, environment, base, tip, place)? {
                return Err(LedgerError::Untrusted(why).into());
            }
        }
        let broken = |commit: Oid, why| git::broken(environment, commit, why);
        let mut state =
            git::state(&repository, environment, incoming).map_err(|why| broken(incoming, why))?;
        let now = now();
        if let Some(open) = state.open.as_ref().filter(|open| !open.is_over(now)) {
            return Err(AppendError::Leased {
                environment: environment.to_string(),
                sequence: open.sequence,
                by: open.by.to_string(),
                seconds: open.lease_until().saturating_sub(now),
            });
        }
        let mut commits = git::chain(&repository, local, base, usize::MAX)?;
        commits.reverse();
        let mut numbers: BTreeMap<Sequence, Sequence> = BTreeMap::new();
        let mut tip = incoming;
        for commit in &commits {
            let old = git::entry(&repository, *commit).map_err(|why| broken(*commit, why))?;
            let mut kind = match old.kind {
                Kind::Moved(moved) => *moved.entry,
                kind => kind,
            };
            // One agrees to what one sees: that is done anew.
            if matches!(kind, Kind::Approved { .. }) {
                kind = Kind::Note;
            }
            if let Kind::Finished(finished) = &mut kind {
                finished.of = numbers.get(&finished.of).copied().unwrap_or(finished.of);
            }
            let entry = Entry {
                format: FORMAT,
                environment: environment.clone(),
                sequence: state.sequence + 1,
                time: now.max(state.time),
                actor: actor.clone(),
                reason: Some(one_line(reason, MAX_REASON)),
                ci: crate::ci(),
                kind: Kind::Moved(Moved {
                    commit: commit.to_string(),
                    number: old.sequence,
                    by: old.actor,
                    made: old.time,
                    entry: Box::new(kind),
                }),
            };
            numbers.insert(old.sequence, entry.sequence);
            let mut next = state.clone();
            next.apply(&entry)?;
            (tip, _) = self.write(&repository, &entry, &state, &next, Some(tip))?;
            state = next;
        }
        let short: String = local.to_string().chars().take(12).collect();
        let aside = format!("refs/heads/diverged/{environment}-{short}");
        if git::tip(&repository, &aside)? != Some(local)
            && !git::swap(&repository, &aside, None, local, "diverged")?
        {
            return Err(conflict());
        }
        match remote.push(&[(&branch, Some(incoming), tip), (&aside, None, local)])? {
            Pushed::Done => {}
            Pushed::Stale => return Err(conflict()),
            Pushed::Rejected(why) => return Err(AppendError::Rejected(why)),
        }
        // Should it not get further, the next fetch finds the moved entries there and those of before set aside.
        git::swap(&repository, &git::tracking(environment), known, tip, "reconciled")?;
        if !git::swap(&repository, &branch, Some(local), tip, "reconciled")? {
            return Err(conflict());
        }
        // Theirs were verified above, the others are one's own; what they take the place of is not missed.
        self.verified_on(&repository, environment, None, tip);
        Ok(commits.len())
    }
}
