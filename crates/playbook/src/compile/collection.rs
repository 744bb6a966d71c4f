//! Collections: where the roles and playbooks of `namespace.collection` lie (Ansible's
//! `_collection_finder.AnsibleCollectionRef`).

use std::path::{Path, PathBuf};

use super::keyword::is_identifier;

/// `namespace.collection.name`, with what stands before the last dot as directories: `a.b.web.front` is `web/front` of `a.b`.
struct Reference<'a> {
    collection: (&'a str, &'a str),
    resource: PathBuf,
}

impl<'a> Reference<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let mut words = name.split('.');
        // Words have neither slashes nor dots, and so lead nowhere else.
        if !words.clone().all(is_identifier) {
            return None;
        }
        let collection = (words.next()?, words.next()?);
        let resource: PathBuf = words.collect();
        (resource.as_os_str() != "").then_some(Self { collection, resource })
    }

    /// Its directories in all places where collections are.
    fn places(&self, roots: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
        let (namespace, collection) = self.collection;
        roots.iter().map(move |root| root.join(namespace).join(collection))
    }
}

/// Whether a name can only be one of something in a collection.
pub(super) fn is_qualified(name: &str) -> bool {
    Reference::parse(name).is_some()
}

/// The collection that a role's directory is in.
pub(super) fn of(role: &Path) -> Option<String> {
    let mut words = role.iter().rev().map(|word| word.to_str().unwrap_or_default());
    words.by_ref().find(|word| *word == "roles")?;
    let (collection, namespace) = (words.next()?, words.next()?);
    (words.next()? == "ansible_collections").then(|| format!("{namespace}.{collection}"))
}

/// The `ansible_collections` directories: beside the playbooks that the run is of, then those of the settings.
pub(super) fn roots(playbooks: &[PathBuf], paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = Vec::new();
    let beside = playbooks.iter().map(|path| crate::source::directory_of(path).join("collections"));
    for path in beside.chain(paths.iter().cloned()) {
        let whole = path.ends_with("ansible_collections");
        let root = if whole { path } else { path.join("ansible_collections") };
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    roots
}

/// Where the role may be: as it is named, or, by a name without dots, in the collections that the play lists.
pub(super) fn role_places(name: &str, collections: &[String], roots: &[PathBuf]) -> Vec<PathBuf> {
    let full = match name.contains('.') {
        true => vec![name.to_owned()],
        false => collections.iter().map(|collection| format!("{collection}.{name}")).collect(),
    };
    full.iter()
        .filter_map(|name| Reference::parse(name))
        .flat_map(|of| {
            of.places(roots).map(|place| place.join("roles").join(&of.resource)).collect::<Vec<_>>()
        })
        .collect()
}

/// Where the playbook of a collection may be.
pub(super) fn playbook_places(name: &str, roots: &[PathBuf]) -> Vec<PathBuf> {
    let bare = [".yml", ".yaml"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let Some(of) = Reference::parse(bare) else { return Vec::new() };
    of.places(roots)
        .flat_map(|place| {
            let file = place.join("playbooks").join(&of.resource);
            ["yml", "yaml"].map(|extension| file.with_extension(extension))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_into_collections_and_nowhere_else() {
        let paths = [PathBuf::from("/c"), PathBuf::from("/d/ansible_collections")];
        let roots = roots(&[PathBuf::from("/p/site.yml"), PathBuf::from("/p/other.yml")], &paths);
        let role = |name: &str, listed: &[&str]| {
            let listed: Vec<String> = listed.iter().map(|name| (*name).to_owned()).collect();
            let places = role_places(name, &listed, &roots);
            places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            role("a.b.web", &[]),
            "/p/collections/ansible_collections/a/b/roles/web /c/ansible_collections/a/b/roles/web /d/ansible_collections/a/b/roles/web"
        );
        assert!(role("a.b.web.front", &[]).contains("/c/ansible_collections/a/b/roles/web/front"));
        assert!(role("web", &["a.b"]).contains("/c/ansible_collections/a/b/roles/web"));
        for none in ["web", "a.b", "a..b.c", "a.b./etc", "../a.b.c", "a.b.c/d", ""] {
            assert_eq!(role(none, &[]), "", "{none}");
        }
        assert_eq!(role("../../x", &["a.b"]), "");
        assert_eq!(of(Path::new("/c/ansible_collections/a/b/roles/web/front")).as_deref(), Some("a.b"));
        assert_eq!(of(Path::new("/p/roles/web")), None);
        let books = playbook_places("a.b.site", &roots);
        assert_eq!(books[2], Path::new("/c/ansible_collections/a/b/playbooks/site.yml"));
        assert_eq!(books.len(), 6);
        assert!(playbook_places("site.yml", &roots).is_empty());
    }
}
