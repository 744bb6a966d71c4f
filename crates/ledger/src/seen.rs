//! The newest entry that was seen of a chain, remembered beside what was verified ([`crate::memory`]): a chain alone cannot show that its
//! end was cut off, and the ref that says so (`refs/debark/seen`) lies where whoever cuts can write.
//!
//! It counts for one place and one first entry. A ledger that is removed and begun anew has another first entry, and nothing of the old one
//! is missed; nor of one whose environment has no branch at all, as in a fresh copy that has fetched nothing yet.

use debark_order::Environment;
use git2::{Oid, Repository};

use crate::error::LedgerError;
use crate::git;
use crate::ledger::Ledger;
use crate::memory::{Note, place};
use crate::verify::stands_on;

pub(crate) struct Seen {
    note: Note,
    about: String,
    /// The first entry's commit, and that of the newest that was seen.
    known: Option<(Oid, Oid)>,
}

impl Seen {
    fn recall(note: &Note, about: &str) -> Option<(Oid, Oid)> {
        let text = note.read()?;
        let (first, tip) = text.strip_prefix(about)?.strip_suffix('\n')?.split_once("\ntip ")?;
        let whole = |name: &str| if name.len() == 40 { Oid::from_str(name).ok() } else { None };
        Some((whole(first)?, whole(tip)?))
    }

    /// The newest entry that was seen, if the chain up to `tip` is the same one and does not have it any more; and the file that says so.
    pub(crate) fn cut_off(
        &self,
        repository: &Repository,
        tip: Oid,
    ) -> Result<Option<(Oid, String)>, LedgerError> {
        let Some((first, newest)) = self.known.filter(|(_, newest)| !stands_on(repository, tip, *newest))
        else {
            return Ok(None);
        };
        let path = self.note.path().map(|path| path.display().to_string()).unwrap_or_default();
        Ok((git::chain(repository, tip, None, usize::MAX)?.last() == Some(&first)).then_some((newest, path)))
    }

    /// Remembers the newest entry. Without that less is missed: nothing that goes wrong here is told.
    pub(crate) fn remember(&self, repository: &Repository, tip: Oid) {
        let first = match self.known {
            Some((_, newest)) if newest == tip => return,
            Some((first, newest)) if stands_on(repository, tip, newest) => Some(first),
            _ => git::chain(repository, tip, None, usize::MAX).ok().and_then(|chain| chain.last().copied()),
        };
        if let Some(first) = first {
            let _ = self.note.write(&format!("{}{first}\ntip {tip}\n", self.about));
        }
    }
}

impl Ledger {
    /// What was seen by now. To be asked before the chain is read: others may append in between.
    pub(crate) fn seen(&self, environment: &Environment) -> Seen {
        let verified = self.settings.memory.as_deref();
        let name = format!("{}-{environment}", place(&self.settings.path).short());
        let note = Note { directory: verified.map(|verified| verified.with_file_name("seen")), name };
        let about = format!("debark seen 1\nenvironment {environment}\nfirst ");
        let known = Seen::recall(&note, &about);
        Seen { note, about, known }
    }
}
