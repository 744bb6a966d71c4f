//! Configuration files that only some versions have.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;

use debark_order::PackageVersion;

use super::Way;
use crate::dpkg::{self, Database};
use crate::failure::{Result, file};
use crate::state::State;
use crate::store::{self, Kept};

/// What a configuration file is called that the live version does not know.
pub const ASIDE: &str = ".dpkg-debark";
impl Way<'_> {
    /// Configuration files of the target that were put aside, back to their places: dpkg would take them for deleted.
    pub(super) fn bring_back(&self, kept: &Kept) -> Result<()> {
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
    pub(super) fn put_aside(
        &self,
        before: &Database,
        after: &Database,
        live: &PackageVersion,
    ) -> Result<Vec<String>> {
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
