//! `packages`.

use debark_order::PackageName;
use debark_playbook::yaml::Node;
use indexmap::IndexMap;

use super::{Fields, Reader};
use crate::package::{
    Build, Compression, Control, Entry, EntryKind, FileTree, Package, Scripts, Source, Test, Unit,
};
use crate::tables;

/// Control fields that debark sets itself.
const OWN_FIELDS: [&str; 8] = [
    "package",
    "version",
    "architecture",
    "installed-size",
    "maintainer",
    "description",
    "section",
    "priority",
];

impl Reader<'_> {
    pub fn package(&self, name: PackageName, node: &Node) -> Option<Package> {
        let fields = self.fields(node, &tables::PACKAGE)?;
        Some(Package {
            source: fields
                .get("source")
                .map_or_else(|| Some(Source::Directory(self.root.to_owned())), |node| self.source(node))?,
            version: fields.get("version").and_then(|node| self.name(node)),
            tests: fields.get("test").map(|node| self.tests(node)).unwrap_or_default(),
            build: self.build(fields.get("build")?)?,
            deploy: fields.get("deploy").map(|node| self.deploy(node)).unwrap_or_default(),
            name,
        })
    }

    fn source(&self, node: &Node) -> Option<Source> {
        let text = self.line(node)?;
        // As git tells URLs from paths: `scheme://`, or `host:path` without a slash before the colon.
        let scp = text.split_once(':').is_some_and(|(host, _)| !host.contains('/') && !host.is_empty());
        if text.starts_with('-') {
            self.bad(
                node.span,
                format!("{text:?} is no directory and no URL"),
                "write `./` before it if it is a directory",
            );
            return None;
        }
        if text.contains("://") || scp {
            Some(Source::Repository(text))
        } else {
            self.path(node).map(Source::Directory)
        }
    }

    fn tests(&self, node: &Node) -> Vec<Test> {
        let read = |node: &Node| {
            if node.as_map().is_none() {
                let run = self.program(node)?;
                return Some((node.span, Test { name: run.to_string().trim().to_owned(), run }));
            }
            let fields = self.fields(node, &tables::TEST)?;
            let test = Test { name: self.line(fields.get("name")?)?, run: self.program(fields.get("run")?)? };
            Some((node.span, test))
        };
        // `test: make check` is one test, and so is the list of its words only within a list.
        let mut tests: Vec<Test> = Vec::new();
        for (span, test) in self.items(node).iter().filter_map(read) {
            if tests.iter().any(|other| other.name == test.name) {
                self.bad(
                    span,
                    format!("there are two tests {:?}", test.name),
                    "give one of them another `name`",
                );
            }
            tests.push(test);
        }
        tests
    }

    fn build(&self, node: &Node) -> Option<Build> {
        if node.as_str() == Some("cargo-deb") {
            return Some(Build::CargoDeb { args: Vec::new() });
        }
        let fields = self.fields(node, &tables::BUILD)?;
        // `cargo-deb:` with nothing behind it means no further arguments.
        if fields.key("cargo-deb").is_some() && fields.get("cargo-deb").is_none() {
            self.alone(&fields, "cargo-deb", &[]);
            return Some(Build::CargoDeb { args: Vec::new() });
        }
        match self.one_of(&fields, &["files", "cargo-deb", "command"])? {
            ("cargo-deb", node) => {
                self.alone(&fields, "cargo-deb", &[]);
                Some(Build::CargoDeb { args: self.words(node) })
            }
            ("command", node) => {
                self.alone(&fields, "command", &["output"]);
                let output = fields.get("output").and_then(|node| self.inner(node));
                Some(Build::Command {
                    run: self.program(node)?,
                    output: output.unwrap_or_else(|| "*.deb".into()),
                })
            }
            (_, node) => {
                if let Some(span) = fields.key("output") {
                    self.bad(span, "`output` is for `command`", "remove it");
                }
                self.file_tree(&fields, node).map(|tree| Build::Files(Box::new(tree)))
            }
        }
    }

    /// Other keys say nothing where a program makes the .deb.
    fn alone(&self, fields: &Fields<'_>, kind: &str, also: &[&str]) {
        for (key, span) in fields.keys() {
            let known = fields.table.keys.iter().any(|known| known.name == key);
            if known && key != kind && !also.contains(&key) {
                self.bad(
                    span,
                    format!("`{key}` has no meaning where `{kind}` makes the package"),
                    "say it to the program that makes the package",
                );
            }
        }
    }

    fn file_tree(&self, fields: &Fields<'_>, files: &Node) -> Option<FileTree> {
        for key in ["maintainer", "description"] {
            if fields.get(key).is_none() {
                let doc =
                    fields.table.keys.iter().find(|known| known.name == key).map_or("", |known| known.doc);
                self.bad(fields.span, format!("a build from `files` needs `{key}`"), doc);
            }
        }
        Some(FileTree {
            prepare: fields.get("prepare").and_then(|node| self.program(node)),
            entries: self.list(files, "`files`").iter().filter_map(|node| self.entry(node)).collect(),
            scripts: fields.get("scripts").and_then(|node| self.scripts(node)).unwrap_or_default(),
            units: fields.get("units").map(|node| self.units(node)).unwrap_or_default(),
            conffiles: fields
                .get("conffiles")
                .map(|node| self.items(node).iter().filter_map(|node| self.destination(node)).collect())
                .unwrap_or_default(),
            compression: fields
                .get("compression")
                .and_then(|node| {
                    self.choice(
                        node,
                        "a compression",
                        &["xz", "zstd", "gzip"],
                        &[Compression::Xz, Compression::Zstd, Compression::Gzip],
                    )
                })
                .unwrap_or_default(),
            control: self.control(fields)?,
        })
    }

    fn control(&self, fields: &Fields<'_>) -> Option<Control> {
        let line = |name: &str| fields.get(name).and_then(|node| self.line(node));
        let maintainer = fields.get("maintainer");
        let name = maintainer.and_then(|node| self.line(node));
        if let (Some(node), Some(name)) = (maintainer, &name) {
            let address = name.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
            if !address.is_some_and(|address| address.contains('@')) {
                self.bad(
                    node.span,
                    format!("{name:?} is no name with an address"),
                    "write it as `Alice Doe <alice@example.org>`",
                );
            }
        }
        let mut control = Control {
            maintainer: name?,
            description: fields.get("description").and_then(|node| self.text(node))?.trim().to_owned(),
            section: line("section"),
            priority: fields.get("priority").and_then(|node| {
                let words = ["required", "important", "standard", "optional", "extra"];
                self.choice(node, "a priority", &words, &words).map(str::to_owned)
            }),
            architecture: line("architecture"),
            homepage: fields.get("homepage").and_then(|node| self.url(node)),
            copyright: fields.get("copyright").and_then(|node| self.inner(node)),
            ..Control::default()
        };
        if let Some(node) = fields.get("architecture")
            && let Some(name) = &control.architecture
            && !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            self.bad(node.span, format!("{name:?} is no architecture"), "write `all`, `amd64`, `arm64`, ...");
        }
        for (key, field) in tables::RELATIONS {
            if let Some(node) = fields.get(key) {
                control.relations.insert(field, self.relations(node));
            }
        }
        if let Some(node) = fields.get("fields") {
            control.fields = self.further(node);
        }
        Some(control)
    }

    /// `a, b (>= 1)`, alone or in a list.
    fn relations(&self, node: &Node) -> Vec<String> {
        let split = |text: String| text.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        let mut found = Vec::new();
        for node in self.items(node) {
            for part in self.line(node).map(split).unwrap_or_default() {
                if is_relation(&part) {
                    found.push(part);
                } else {
                    self.bad(
                        node.span,
                        format!("{part:?} is no relation to a package"),
                        "write it as `NAME`, `NAME (>= VERSION)` or `NAME | OTHER`",
                    );
                }
            }
        }
        found
    }

    fn further(&self, node: &Node) -> IndexMap<String, String> {
        let mut found = IndexMap::new();
        let Some(entries) = node.as_map() else {
            self.bad(node.span, "`fields` is a mapping", "write `Name: text`");
            return found;
        };
        for (key, node) in entries {
            let good = key.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !key.name.starts_with('-');
            let own = OWN_FIELDS.contains(&&*key.name.to_lowercase())
                || tables::RELATIONS.iter().any(|(name, _)| name.eq_ignore_ascii_case(&key.name));
            if !good || key.name.is_empty() {
                self.bad(
                    key.span,
                    format!("{:?} is no name of a control field", key.name),
                    "letters, digits and `-` may be in it",
                );
            } else if own {
                self.bad(
                    key.span,
                    format!("`{}` has a key of its own, or is set by debark", key.name),
                    "remove it here",
                );
            } else if let Some(text) = self.line(node) {
                found.insert(key.name.to_string(), text);
            }
        }
        found
    }

    fn entry(&self, node: &Node) -> Option<Entry> {
        let fields = self.fields(node, &tables::ENTRY)?;
        let kinds = ["file", "config", "dir", "symlink"];
        let kind =
            fields.get("type").map_or(Some("file"), |node| self.choice(node, "a type", &kinds, &kinds))?;
        let dst = self.destination(fields.get("dst")?)?;
        let src = || {
            let node = fields.get("src");
            if node.is_none() {
                self.bad(
                    fields.span,
                    format!("a file of a package of type `{kind}` needs `src`"),
                    "name a file of the source",
                );
            }
            node
        };
        let kind = match kind {
            "dir" => {
                if let Some(node) = fields.get("src") {
                    self.bad(
                        node.span,
                        "an entry of type `dir` is an empty directory, and has no `src`",
                        "leave `type` out to take a directory with all that is below it",
                    );
                }
                EntryKind::Directory
            }
            "symlink" => EntryKind::Symlink { target: self.line(src()?)? },
            "config" => EntryKind::Config { src: self.inner(src()?)? },
            _ => EntryKind::File { src: self.inner(src()?)? },
        };
        let name =
            |key: &str| fields.get(key).and_then(|node| self.line(node)).unwrap_or_else(|| "root".into());
        Some(Entry {
            mode: fields.get("mode").and_then(|node| self.mode(node)),
            owner: name("owner"),
            group: name("group"),
            kind,
            dst,
        })
    }

    fn scripts(&self, node: &Node) -> Option<Scripts> {
        let fields = self.fields(node, &tables::SCRIPTS)?;
        let get = |name: &str| fields.get(name).and_then(|node| self.inner(node));
        Some(Scripts {
            preinst: get("preinst"),
            postinst: get("postinst"),
            prerm: get("prerm"),
            postrm: get("postrm"),
        })
    }

    fn units(&self, node: &Node) -> Vec<Unit> {
        let read = |node: &Node| {
            let unit = if node.as_map().is_none() {
                Unit { src: self.inner(node)?, enable: true, start: true }
            } else {
                let fields = self.fields(node, &tables::UNIT)?;
                let yes = |name: &str| fields.get(name).and_then(|node| self.bool(node)).unwrap_or(true);
                Unit { src: self.inner(fields.get("src")?)?, enable: yes("enable"), start: yes("start") }
            };
            if !is_unit(unit.name()) {
                self.bad(
                    node.span,
                    format!("{:?} is no systemd unit", unit.name()),
                    "name a file such as `shop.service`",
                );
                return None;
            }
            Some(unit)
        };
        self.items(node).iter().filter_map(read).collect()
    }
}

/// systemd.unit(5).
fn is_unit(name: &str) -> bool {
    let kinds = ["service", "socket", "timer", "path", "target", "mount", "slice"];
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    name.rsplit_once('.').is_some_and(|(stem, kind)| {
        !stem.is_empty() && !stem.starts_with('-') && stem.bytes().all(fits) && kinds.contains(&kind)
    })
}

/// Debian Policy 7.1, without build profiles: `name:any (>= 1.0) | other`.
fn is_relation(text: &str) -> bool {
    !text.is_empty() && text.split('|').all(|alternative| is_alternative(alternative.trim()))
}

fn is_alternative(text: &str) -> bool {
    let (name, version) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => match rest.strip_suffix(')') {
            Some(version) => (name.trim_end(), Some(version.trim())),
            None => return false,
        },
    };
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let version = version.is_none_or(|text| {
        let operator = ["<<", "<=", ">=", ">>", "="].into_iter().find_map(|op| text.strip_prefix(op));
        operator.is_some_and(|version| version.trim().parse::<debark_order::PackageVersion>().is_ok())
    });
    version && name.parse::<PackageName>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_of_policy() {
        for good in ["adduser", "libc6 (>= 2.36)", "perl:any", "a2 | b2 (<< 1:2-3)", "perl-base (= 1.0~rc1)"]
        {
            assert!(is_relation(good), "{good}");
        }
        for bad in ["", "A", "libc6 >= 2", "libc6 (2.36)", "libc6 (>= )", "a2 |", "x\ny", "libc6 (>= 2.36"] {
            assert!(!is_relation(bad), "{bad:?}");
        }
        assert!(
            is_unit("shop.service") && is_unit("shop@.service") && !is_unit("shop") && !is_unit(".service")
        );
    }
}
