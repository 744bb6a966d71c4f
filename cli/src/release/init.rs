//! `debark init`: a project file that works, a sample to package, and a pipeline.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use debark_order::{Identity, PackageName};
use debark_project::{FILE, Project, StoreLocation};
use serde_json::json;

use super::context::{self, Problem};

/// Writes a project file that works, a sample to package, and a pipeline
///
/// Files that are there are left as they are.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// Where [default: here]
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The package's name [default: the directory's]
    #[arg(long, value_name = "NAME")]
    name: Option<PackageName>,
    /// A pipeline for this service, too
    #[arg(long, value_enum, value_name = "SERVICE")]
    ci: Option<Ci>,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Ci {
    Circleci,
    Github,
    Gitlab,
}

/// Runs the command.
pub fn run(args: &InitArgs) -> ExitCode {
    context::finish(args.json, |sources| {
        let root = std::path::absolute(&args.directory).unwrap_or_else(|_| args.directory.clone());
        if root.join(FILE).exists() {
            return Err(Problem::input(format!("{} is there already", root.join(FILE).display()))
                .hint("edit it, or remove it first"));
        }
        let name = match &args.name {
            Some(name) => name.clone(),
            None => name_of(&root)?,
        };
        let (identity, maintainer, signer) = person(&root);
        let fill = |text: &str| {
            text.replace("@NAME@", name.as_str())
                .replace("@MAINTAINER@", &maintainer)
                .replace("@IDENTITY@", identity.as_str())
                .replace("@SIGNER@", &signer)
        };
        let mut files = vec![
            (FILE.to_owned(), fill(include_str!("../../../templates/init/debark.yml")), 0o644),
            (".debark/signers".to_owned(), fill(include_str!("../../../templates/init/signers")), 0o644),
            (
                ".debark/.gitignore".to_owned(),
                include_str!("../../../templates/init/gitignore").to_owned(),
                0o644,
            ),
            (format!("bin/{name}"), fill(include_str!("../../../templates/init/program")), 0o755),
            (
                format!("packaging/{name}.service"),
                fill(include_str!("../../../templates/init/service")),
                0o644,
            ),
            (format!("packaging/{name}.conf"), fill(include_str!("../../../templates/init/conf")), 0o644),
        ];
        for environment in ["staging", "prod"] {
            let text =
                include_str!("../../../templates/init/inventory").replace("@ENVIRONMENT@", environment);
            files.push((format!("inventory/{environment}"), text, 0o644));
        }
        if let Some(ci) = args.ci {
            let (path, text) = match ci {
                Ci::Circleci => {
                    (".circleci/config.yml", include_str!("../../../templates/init/circleci.yml"))
                }
                Ci::Github => {
                    (".github/workflows/release.yml", include_str!("../../../templates/init/github.yml"))
                }
                Ci::Gitlab => (".gitlab-ci.yml", include_str!("../../../templates/init/gitlab.yml")),
            };
            files.push((path.to_owned(), fill(text), 0o644));
            files.push((
                ".debark/ci".to_owned(),
                include_str!("../../../templates/init/ci").to_owned(),
                0o755,
            ));
        }
        let (mut written, mut kept) = (Vec::new(), Vec::new());
        for (path, text, mode) in files {
            if write(&root.join(&path), &text, mode)? { written.push(path) } else { kept.push(path) }
        }
        // What was written is what works.
        let project = Project::load(&root.join(FILE), sources)?;
        let missing = if args.ci.is_some() { missing(&project) } else { Vec::new() };
        if args.json {
            anstream::println!(
                "{}",
                json!({ "package": name, "identity": identity, "written": written, "kept": kept, "missing": missing })
            );
            return Ok(ExitCode::SUCCESS);
        }
        for path in &written {
            anstream::println!("wrote {path}");
        }
        for path in &kept {
            anstream::println!("kept  {path}");
        }
        anstream::println!(
            "\nnext:\n  debark keys new ~/.config/debark/{name}.asc --user '{name} builds <{identity}>'\n  git add . && git commit -m 'Release with debark' && git tag v1.0.0\n  debark build {name} --build-key ~/.config/debark/{name}.asc"
        );
        if !missing.is_empty() {
            anstream::println!("\nbefore the pipeline can run:");
            missing.iter().for_each(|what| anstream::println!("  {what}"));
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// What a pipeline needs and the project does not say: its jobs are machines that share nothing else.
fn missing(project: &Project) -> Vec<String> {
    let mut missing = Vec::new();
    let stores: Vec<_> =
        project.environments.values().map(|environment| &environment.store.location).collect();
    if stores.iter().any(|location| matches!(location, StoreLocation::Directory(_))) {
        missing.push(format!(
            "{FILE}: `store` is a directory of this machine; name a bucket: `store: s3://BUCKET/PREFIX`"
        ));
    }
    if project.ledger.remote.is_none() {
        missing.push(format!(
            "{FILE}: the ledger has no remote; name a git repository: `ledger: {{remote: URL}}`"
        ));
    }
    missing.push(
        "the service's secrets, as .debark/ci names them; its identity in .debark/signers and in `allow`"
            .into(),
    );
    missing
}

/// A file that is not there yet; whether it was written.
fn write(path: &Path, text: &str, mode: u32) -> Result<bool, Problem> {
    let failed = |error: std::io::Error| Problem::input(format!("{}: {error}", path.display()));
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(failed)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(failed),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// The directory's name, as a package's name.
fn name_of(root: &Path) -> Result<PackageName, Problem> {
    let name = root.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let fits =
        |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(fits).collect();
    name.trim_matches(['-', '.', '+'])
        .parse()
        .map_err(|error| Problem::input(format!("{error}")).hint("give the package's name with `--name`"))
}

/// Who works here, by git's configuration: identity, maintainer, and the line for the signers' file.
fn person(root: &Path) -> (Identity, String, String) {
    let get = |name: &str| {
        let output = Command::new("git").args(["config", "--get", name]).current_dir(root).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty() && !text.contains(['"', '\n', '\\'])).then_some(text)
    };
    let email: Option<Identity> = get("user.email").and_then(|email| email.parse().ok());
    // A literal that is an identity.
    let identity = email.or_else(|| "you@example.org".parse().ok());
    let Some(identity) = identity else { unreachable!("you@example.org is an identity") };
    let name =
        get("user.name").map(|name| name.replace(['<', '>', '@'], " ")).unwrap_or_else(|| "You".into());
    let key = std::env::var("DEBARK_KEY").ok().or_else(|| get("user.signingkey"));
    let public = key.and_then(|key| public_half(&key));
    let signer = match public {
        Some(key) => format!("{identity} namespaces=\"git,order@debark\" {key}"),
        None => format!("# {identity} namespaces=\"git,order@debark\" ssh-ed25519 AAAA..."),
    };
    (identity.clone(), format!("{name} <{identity}>"), signer)
}

/// Type and key of a public key's file; never a private one's text.
fn public_half(key: &str) -> Option<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let path =
        key.strip_prefix("~/").map_or_else(|| PathBuf::from(key), |below| Path::new(&home).join(below));
    let path = if path.extension().is_some_and(|extension| extension == "pub") {
        path
    } else {
        PathBuf::from(format!("{}.pub", path.display()))
    };
    let text = fs::read_to_string(path).ok()?;
    let mut words = text.split_whitespace();
    let (kind, key) = (words.next()?, words.next()?);
    debark_artifact::keyring::ssh_fingerprint(key)?;
    Some(format!("{kind} {key}"))
}
