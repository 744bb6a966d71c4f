//! Whether a package can take another version's place without apt having a look at dependencies.
//!
//! It can if it asks for exactly what the version asks for that is installed, as that is met; and if nobody asks for the
//! package. Going back is then one run of dpkg, which is what makes it fast. In all other cases apt decides.

use std::collections::BTreeMap;

use debark_order::{PackageName, PackageVersion};

use crate::dpkg::{self, Database, Stanza};
use crate::store::Kept;

/// What the package asks of others and gives to them.
const OWN: &[&str] = &["depends", "pre-depends", "conflicts", "breaks", "provides"];
/// What others may ask of it.
const OTHERS: &[&str] = &["depends", "pre-depends", "conflicts", "breaks"];

/// The relations of a control file.
pub fn of(stanza: &Stanza) -> BTreeMap<String, String> {
    let field = |name: &&str| Some(((*name).to_owned(), stanza.get(name)?.to_owned()));
    OWN.iter().filter_map(field).collect()
}

/// Whether the installed version of a package can be replaced by one with these relations.
pub fn can_replace(database: &Database, name: &PackageName, relations: &BTreeMap<String, String>) -> bool {
    let Some(installed) = database.package(name).filter(|stanza| stanza.is_present()) else { return false };
    if of(installed) != *relations {
        return false;
    }
    let present = || database.packages().filter(|stanza| stanza.is_present());
    present().all(|stanza| {
        stanza.get("package") == Some(name.as_str())
            || OTHERS.iter().all(|field| !names(stanza.get(field).unwrap_or_default(), name))
    })
}

/// Whether apt, asked to put that in the place of the installed version, has nothing else to do and no reason to refuse, given
/// [`can_replace`]. In doubt it is asked.
pub fn stays_whole(database: &Database, name: &PackageName, kept: &Kept) -> bool {
    let Some(installed) = database.package(name) else { return false };
    let met = |field| kept.relations.get(field).is_none_or(|text| are_met(database, text));
    // Held ones are apt's to refuse.
    installed.get("status").is_some_and(|status| status == "install ok installed")
        && installed.get("recommends").unwrap_or_default() == kept.recommends
        && installed.get("architecture") == Some(kept.architecture.as_str())
        && !database.interrupted
        && !database.others_in_trouble(name)
        && met("depends")
        && met("pre-depends")
}

/// Whether what is installed meets relations, without what other packages provide.
fn are_met(database: &Database, relations: &str) -> bool {
    relations.split(',').all(|group| group.split('|').any(|one| is_met(database, one.trim())))
}

fn is_met(database: &Database, relation: &str) -> bool {
    let (name, rest) = relation.split_once('(').map_or((relation, None), |(name, rest)| (name, Some(rest)));
    // What is qualified by an architecture is for apt to decide.
    let Ok(name) = name.trim().parse::<PackageName>() else { return false };
    let Some(found) =
        database.package(&name).filter(|stanza| stanza.is_present() && stanza.trouble().is_none())
    else {
        return false;
    };
    let Some(rest) = rest else { return true };
    let Some((operator, version)) = rest.trim_end_matches(')').trim().split_once(' ') else { return false };
    let (Some(found), Ok(wanted)) = (found.version(), version.trim().parse::<PackageVersion>()) else {
        return false;
    };
    let order = dpkg::compare(&found, &wanted);
    match operator {
        ">=" => order.is_ge(),
        "<=" => order.is_le(),
        "=" => order.is_eq(),
        ">>" => order.is_gt(),
        "<<" => order.is_lt(),
        _ => false,
    }
}

/// Whether a relation mentions a package.
fn names(relation: &str, name: &PackageName) -> bool {
    relation.split([',', '|']).any(|one| {
        let word = one.trim().split([' ', '(', '[', '<', ':', '\n']).next().unwrap_or_default();
        word == name.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_met_by_what_is_installed() {
        let database = Database::parse(
            "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n\n\
             Package: half\nStatus: install ok half-configured\nVersion: 1\n\n\
             Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
        );
        for yes in
            ["libc6", "libc6 (>= 2.36)", "gone | libc6 (<< 3)", "libc6(= 2.36-9)", "libc6, libc6 (>= 2)"]
        {
            assert!(are_met(&database, yes), "{yes}");
        }
        for no in ["half", "gone", "other", "libc6 (>= 3)", "libc6:any", "libc6, other", "libc6 (?? 1)", ""] {
            assert!(!are_met(&database, no), "{no}");
        }
    }

    #[test]
    fn relations_name_packages_and_not_parts_of_names() {
        let name: PackageName = "shop".parse().unwrap();
        for yes in ["shop", "a, shop (>= 1)", "a | shop:any", "shop(>= 1)", "b,\n shop [amd64]"] {
            assert!(names(yes, &name), "{yes}");
        }
        for no in ["", "shop-data", "a, workshop", "libshop1 (= shop)"] {
            assert!(!names(no, &name), "{no}");
        }
    }
}
