//! `deb822_repository`: archives as `/etc/apt/sources.list.d/NAME.sources`, with their keys.

use std::path::{Path, PathBuf};

use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Map, Plan, Value, apt, choices, map, mode::Mode, params, textfile};

choices! {
    /// What should hold.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Adds archives to apt in the format of deb822(5).
    pub struct Params for "ansible.builtin.deb822_repository" {
        /// The archive's name; the file is called after it.
        name: String,
        /// Whether apt goes on when an archive stops being signed.
        allow_downgrade_to_insecure: Option<bool>,
        /// Whether an unsigned archive may be used.
        allow_insecure: Option<bool>,
        /// Whether weak signatures are good enough.
        allow_weak: Option<bool>,
        /// Architectures to fetch.
        architectures: Vec<String>,
        /// Whether indexes are fetched by hash.
        by_hash: Option<bool>,
        /// Whether a date in the future is refused.
        check_date: Option<bool>,
        /// Whether an expired archive is refused.
        check_valid_until: Option<bool>,
        /// Components (`main`).
        components: Vec<String>,
        /// How many seconds ahead the archive's clock may be.
        date_max_future: Option<i64>,
        /// Whether apt uses it.
        enabled: Option<bool>,
        /// Path to an InRelease file, relative to the distribution.
        inrelease_path: Option<String>,
        /// Languages to fetch.
        languages: Vec<String>,
        /// Whether differences of indexes are fetched.
        pdiffs: Option<bool>,
        /// The key: a path, a URL, a fingerprint, or the armored key itself.
        signed_by: Option<String>,
        /// Suites (`bookworm`), or a path that ends with a slash.
        suites: Vec<String>,
        /// What is fetched (`Packages`).
        targets: Vec<String>,
        /// Whether the archive counts as authenticated in any case.
        trusted: Option<bool>,
        /// `deb`, `deb-src` or both.
        types: Vec<String> = vec!["deb".to_owned()],
        /// Addresses.
        uris: Vec<String>,
        /// The file's mode.
        mode: Mode = Mode::Bits(0o644),
        /// What should hold.
        state: State = State::Present,
        /// Accepted; nothing needs to be installed for this.
        install_python_debian: bool = false,
    }
    rules NO_RULES
}

const SOURCES: &str = "/etc/apt/sources.list.d";
const KEYRINGS: &str = "/etc/apt/keyrings";

/// The file's name: lower case, blanks and underscores as dashes, nothing else special.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        if c == '_' || c.is_whitespace() {
            if !slug.ends_with('\n') {
                slug.push('\n');
            }
        } else {
            slug.push(c);
        }
    }
    slug.replace('\n', "-")
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
        .collect()
}

/// Compares the file and the key with what they should be.
///
/// # Errors
/// The key cannot be fetched, or a file cannot be read.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let slug = slug(&params.name);
    if slug.is_empty() {
        return Err(Failure::new(format!("deb822_repository: no file can be named after {:?}", params.name))
            .hint("`name` needs a letter or a digit"));
    }
    let dest = Path::new(SOURCES).join(format!("{slug}.sources"));
    let keys = ["asc", "gpg"].map(|end| Path::new(KEYRINGS).join(format!("{slug}.{end}")));
    if params.state == State::Absent {
        return absent(dest, keys);
    }
    if let Some(kind) = params.types.iter().find(|kind| *kind != "deb" && *kind != "deb-src") {
        return Err(Failure::new(format!(
            "deb822_repository: parameter `types` must be deb or deb-src, got {kind:?}"
        )));
    }
    let [asc, gpg] = keys;
    let key = match &params.signed_by {
        Some(url) if url.contains("://") && !url.trim().contains('\n') => {
            let content = download(url.trim(), host)?;
            let armored = content.windows(ARMOR.len()).any(|window| window == ARMOR);
            Some((if armored { asc } else { gpg }, content))
        }
        _ => None,
    };
    let signed_by = match (&key, &params.signed_by) {
        (Some((path, _)), _) => Some(path.display().to_string()),
        (None, given) => given.clone(),
    };
    let key_filename = key.as_ref().map(|(path, _)| path.display().to_string()).or_else(|| {
        params.signed_by.clone().filter(|given| given.starts_with('/') && Path::new(given).is_file())
    });
    let text = render(&params, signed_by.as_deref());
    let mut files: Vec<(PathBuf, Vec<u8>, u32)> = Vec::new();
    let mut diff = Vec::new();
    if let Some((path, content)) = key {
        let same =
            textfile::read(&path)?.as_deref() == Some(&content) && textfile::mode(&path) == Some(0o644);
        if !same {
            diff.push(Diff::property(path.display(), "key", "-", format!("{} bytes", content.len())));
            files.push((path, content, 0o644));
        }
    }
    let before = textfile::read_text(&dest)?;
    let old_mode = textfile::mode(&dest);
    let wanted = params.mode.resolve(old_mode.unwrap_or(0o644), false, 0o022);
    if before.as_deref() != Some(&text) || old_mode != Some(wanted) {
        diff.push(Diff::text(dest.display(), before.unwrap_or_default(), text.as_str()));
        files.push((dest.clone(), text.clone().into_bytes(), wanted));
    }
    let result = map! {
        "repo" => text, "dest" => dest.display().to_string(), "key_filename" => key_filename,
    };
    if files.is_empty() {
        return Ok(Plan::ok(result));
    }
    Ok(Plan::change(result, diff, move |_| {
        for (path, content, mode) in &files {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir).map_err(|error| Failure::io("cannot create", dir, error))?;
            }
            textfile::write(path, content, Some(*mode))?;
        }
        Ok(Map::new())
    }))
}

const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

fn absent(dest: PathBuf, keys: [PathBuf; 2]) -> Result<Plan, Failure> {
    let result = map! {
        "repo" => Value::Null, "dest" => dest.display().to_string(), "key_filename" => keys[1].display().to_string(),
    };
    let before = textfile::read_text(&dest)?.unwrap_or_default();
    let there: Vec<PathBuf> = [dest.clone()].into_iter().chain(keys).filter(|path| path.exists()).collect();
    if there.is_empty() {
        return Ok(Plan::ok(result));
    }
    let diff = vec![Diff::text(dest.display(), before, "")];
    Ok(Plan::change(result, diff, move |_| {
        there.iter().try_for_each(|path| textfile::remove(path)).map(|()| Map::new())
    }))
}

/// Fetches a small file with apt's own helper.
pub(crate) fn download(url: &str, host: &Host) -> Result<Vec<u8>, Failure> {
    let dir = apt::Downloads::new()?;
    let path = dir.path().join("key");
    apt::fetch(url, &path, host)?;
    textfile::read(&path)?.ok_or_else(|| Failure::new(format!("cannot fetch {url}: nothing came")))
}

/// The file's text, with fields in the order that Ansible writes them.
fn render(params: &Params, signed_by: Option<&str>) -> String {
    let flag = |value: Option<bool>| value.map(|value| if value { "yes" } else { "no" }.to_owned());
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(" "));
    let fields = [
        ("Allow-Downgrade-To-Insecure", flag(params.allow_downgrade_to_insecure)),
        ("Allow-Insecure", flag(params.allow_insecure)),
        ("Allow-Weak", flag(params.allow_weak)),
        ("Architectures", list(&params.architectures)),
        ("By-Hash", flag(params.by_hash)),
        ("Check-Date", flag(params.check_date)),
        ("Check-Valid-Until", flag(params.check_valid_until)),
        ("Components", list(&params.components)),
        ("Date-Max-Future", params.date_max_future.map(|seconds| seconds.to_string())),
        ("Enabled", flag(params.enabled)),
        ("Inrelease-Path", params.inrelease_path.clone()),
        ("Languages", list(&params.languages)),
        ("X-Repolib-Name", Some(params.name.clone())),
        ("Pdiffs", flag(params.pdiffs)),
        ("Signed-By", signed_by.map(str::to_owned)),
        ("Suites", list(&params.suites)),
        ("Targets", list(&params.targets)),
        ("Trusted", flag(params.trusted)),
        ("Types", list(&params.types)),
        ("URIs", list(&params.uris)),
    ];
    let mut text = String::new();
    for (name, value) in fields {
        let Some(value) = value else { continue };
        if value.trim().contains('\n') {
            text.push_str(&format!("{name}:\n"));
            for line in value.trim().lines().map(str::trim) {
                text.push_str(&format!("    {}\n", if line.is_empty() { "." } else { line }));
            }
        } else {
            text.push_str(&format!("{name}: {}\n", value.trim()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_as_ansible_does() {
        assert_eq!(slug("My Repo_1 (x)"), "my-repo-1-x");
        assert_eq!(slug("../../etc"), "etc");
    }

    #[test]
    fn renders_fields_in_order() {
        let args = map! {
            "name" => "x", "uris" => "http://a", "suites" => Value::list(["bookworm", "bookworm-updates"]),
            "components" => "main", "enabled" => true, "signed_by" => "-----BEGIN\n\nabc\n-----END\n",
        };
        let params = Params::parse(&args).unwrap();
        assert_eq!(
            render(&params, params.signed_by.as_deref()),
            "Components: main\nEnabled: yes\nX-Repolib-Name: x\nSigned-By:\n    -----BEGIN\n    .\n    abc\n    -----END\n\
             Suites: bookworm bookworm-updates\nTypes: deb\nURIs: http://a\n"
        );
    }
}
