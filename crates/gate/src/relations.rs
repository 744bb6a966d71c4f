//! Whether a package can take another version's place without apt having a look at dependencies.
//!
//! It can if it asks for exactly what the version asks for that is installed, as that is met; and if nobody asks for the
//! package. Going back is then one run of dpkg, which is what makes it fast. In all other cases apt decides.

use std::collections::BTreeMap;

use debark_order::PackageName;

use crate::dpkg::{Database, Stanza};

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
