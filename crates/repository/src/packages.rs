//! `Packages` indices: one stanza per package and version (deb822(5), Debian Repository Format).

use std::cmp::Ordering;

use debark_order::{Digest, PackageName, PackageVersion};
use debversion::Version as Debian;

/// A version of a package, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The package.
    pub package: PackageName,
    /// Its version.
    pub version: PackageVersion,
    /// `amd64`, `all`, ...
    pub architecture: String,
    /// Of the whole .deb.
    pub digest: Digest,
    /// Of the .deb, in bytes.
    pub size: u64,
    /// Where the .deb is in the store.
    pub path: String,
    /// The commit that it was built from, if its provenance says so.
    pub commit: Option<String>,
    /// When it was built (RFC 3339), according to its provenance.
    pub built: Option<String>,
    /// When it was published (RFC 3339).
    pub published: String,
    /// Fingerprint of the key that signed it, in upper-case hexadecimal digits.
    pub key: String,
}

impl Entry {
    /// Where its provenance is in the store, if it has any.
    pub fn provenance(&self) -> String {
        format!("{}.intoto.json", self.path)
    }

    /// The stanza, from the package's own control fields.
    ///
    /// # Errors
    /// What is wrong with the control file.
    pub(crate) fn stanza(&self, control: &str) -> Result<String, String> {
        let mut text = String::with_capacity(control.len() + 512);
        let mut skipping = false;
        for line in control.trim_end().lines() {
            if line.trim().is_empty() || line.contains('\r') {
                return Err("its control file has an empty line or a carriage return".into());
            }
            if !line.starts_with([' ', '\t']) {
                let (name, _) = line.split_once(':').ok_or("its control file has a line that is no field")?;
                let own = ["filename", "size", "md5sum", "sha1", "sha256", "sha512"];
                let name = name.to_ascii_lowercase();
                skipping = own.contains(&name.as_str()) || name.starts_with("debark-");
            } else if text.is_empty() && !skipping {
                return Err("its control file begins with a continuation".into());
            }
            if !skipping {
                text.push_str(line);
                text.push('\n');
            }
        }
        let mut add = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str(": ");
            text.extend(value.chars().map(|c| if c.is_control() { ' ' } else { c }));
            text.push('\n');
        };
        add("Filename", &self.path);
        add("Size", &self.size.to_string());
        add("SHA256", &self.digest.hex());
        if let Some(commit) = &self.commit {
            add("Debark-Commit", commit);
        }
        if let Some(built) = &self.built {
            add("Debark-Built", built);
        }
        add("Debark-Published", &self.published);
        add("Debark-Key", &self.key);
        Ok(text)
    }

    fn parse(stanza: &str) -> Result<Self, String> {
        let field = |name: &str| field(stanza, name);
        let needed = |name: &str| field(name).ok_or_else(|| format!("a stanza without {name}"));
        let path = needed("Filename")?;
        if !is_path(path) {
            return Err(format!("the file name {path:?}"));
        }
        Ok(Self {
            package: needed("Package")?.parse().map_err(|error| format!("{error}"))?,
            version: needed("Version")?.parse().map_err(|error| format!("{error}"))?,
            architecture: needed("Architecture")?.to_owned(),
            digest: needed("SHA256")?.parse().map_err(|error| format!("{error}"))?,
            size: needed("Size")?.parse().map_err(|_| "a size that is no number".to_owned())?,
            path: path.to_owned(),
            commit: field("Debark-Commit").map(str::to_owned),
            built: field("Debark-Built").map(str::to_owned),
            published: field("Debark-Published").unwrap_or_default().to_owned(),
            key: field("Debark-Key").unwrap_or_default().to_owned(),
        })
    }
}

/// The value of a field of one line; names are compared as they are written here.
pub(crate) fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(rest.trim())
    })
}

/// A path within the store that leads nowhere else.
fn is_path(path: &str) -> bool {
    path.len() < 1024
        && path.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._~%:".contains(&byte))
        })
}

/// Versions as dpkg orders them (Debian Policy 5.6.12).
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (a.parse::<Debian>(), b.parse::<Debian>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// An index: stanzas ordered by package, then version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packages {
    stanzas: Vec<String>,
}

impl Packages {
    pub(crate) fn parse(text: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(text).map_err(|_| "it is no UTF-8")?;
        let stanzas =
            text.split("\n\n").map(|stanza| stanza.trim_matches('\n')).filter(|stanza| !stanza.is_empty());
        Ok(Self { stanzas: stanzas.map(|stanza| format!("{stanza}\n")).collect() })
    }

    pub(crate) fn entries(&self) -> Result<Vec<Entry>, String> {
        self.stanzas.iter().map(|stanza| Entry::parse(stanza)).collect()
    }

    fn key(stanza: &str) -> (&str, &str) {
        (field(stanza, "Package").unwrap_or_default(), field(stanza, "Version").unwrap_or_default())
    }

    fn position(&self, package: &str, version: &str) -> Result<usize, usize> {
        self.stanzas.binary_search_by(|stanza| {
            let (name, other) = Self::key(stanza);
            name.cmp(package).then_with(|| compare_versions(other, version))
        })
    }

    /// The version, if it is there.
    pub(crate) fn find(
        &self,
        package: &PackageName,
        version: &PackageVersion,
    ) -> Result<Option<Entry>, String> {
        match self.position(package.as_str(), version.as_str()) {
            Ok(at) => self.stanzas.get(at).map(|stanza| Entry::parse(stanza)).transpose(),
            Err(_) => Ok(None),
        }
    }

    /// Adds a version that is not there.
    pub(crate) fn insert(&mut self, entry: &Entry, stanza: String) {
        let at = self.position(entry.package.as_str(), entry.version.as_str());
        self.stanzas.insert(at.unwrap_or_else(|at| at), stanza);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.stanzas.retain(|stanza| Entry::parse(stanza).map_or(true, |entry| keep(&entry)));
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.stanzas.iter().map(|stanza| stanza.len() + 1).sum());
        for stanza in &self.stanzas {
            text.push_str(stanza);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: &str) -> Entry {
        let digest = Digest::of(version.as_bytes());
        Entry {
            package: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
            architecture: "amd64".into(),
            digest,
            size: 7,
            path: format!("pool/main/s/shop/{}/shop_{version}_amd64.deb", digest.hex()),
            commit: Some("abc".into()),
            built: None,
            published: "2026-01-01T00:00:00Z".into(),
            key: "AB".into(),
        }
    }

    fn control(version: &str) -> String {
        format!(
            "Package: shop\nVersion: {version}\nArchitecture: amd64\nFilename: ../evil\nDebark-Key: forged\n more\nDescription: x\n .\n y\n"
        )
    }

    #[test]
    fn what_is_inserted_is_found_in_the_order_of_versions() {
        let mut packages = Packages::default();
        for version in ["1.10", "1.9", "1.9~rc1", "1:0.1"] {
            let entry = entry(version);
            packages.insert(&entry, entry.stanza(&control(version)).unwrap());
        }
        let read = Packages::parse(packages.text().into_bytes()).unwrap();
        assert_eq!(read.text(), packages.text());
        let versions: Vec<_> =
            read.entries().unwrap().iter().map(|entry| entry.version.to_string()).collect();
        assert_eq!(versions, ["1.9~rc1", "1.9", "1.10", "1:0.1"]);
        let found = read.find(&"shop".parse().unwrap(), &"1.10".parse().unwrap()).unwrap().unwrap();
        assert_eq!(found, entry("1.10"));
        assert!(
            !read.text().contains("forged")
                && !read.text().contains("evil")
                && !read.text().contains(" more")
        );
    }

    #[test]
    fn control_files_cannot_bring_stanzas_of_their_own() {
        for bad in
            ["Package: shop\n\nPackage: bash\n", "Package: shop\n \nVersion: 1\n", "shop\n", "Pack\rage: a\n"]
        {
            entry("1").stanza(bad).unwrap_err();
        }
        for bad in ["../x", "/etc/passwd", "pool//x", "pool/.x", "pool/a b"] {
            assert!(!is_path(bad), "{bad}");
        }
    }
}
