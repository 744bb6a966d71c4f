//! `debark inspect`: what is in a package, who signed it, where it comes from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use debark_artifact::deb::{PackedFile, tar::Kind};
use debark_artifact::provenance::{Envelope, Provenance};
use debark_artifact::{Deb, Distrust, Keyring};
use debark_order::{Environment, PackageName, PackageVersion};
use debark_playbook::source::SourceMap;
use debark_project::Project;
use debark_repository::Store;
use serde_json::{Value, json};

use super::context::{self, Problem, ProjectArgs, need_packages};
use super::desk::Spec;
use super::problem;

/// Shows a package: control file, files, scripts, signature, provenance
///
/// Of a file, or of a version in the artifact store. Ends with 3 if it is not signed by a key that the project trusts. Nothing of
/// the package is run or unpacked.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// A package's file, or one that the artifact store has: PACKAGE@VERSION, PACKAGE for its newest version, or the VERSION of the
    /// project's only package
    #[arg(value_name = "FILE|PACKAGE@VERSION|VERSION")]
    what: String,
    /// From the store of this environment [default: the project's]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<Environment>,
    /// Show maintainer scripts in full
    #[arg(long)]
    scripts: bool,
    #[command(flatten)]
    project: ProjectArgs,
}

/// What is said of the origin.
struct Origin {
    /// Fingerprint and user of the trusted key, or why there is none.
    signature: Result<(String, String), Distrust>,
    /// What the provenance beside it says, and whether it counts; `None`: there is none.
    provenance: Option<Result<Provenance, String>>,
}

/// Runs the command.
pub fn run(args: &InspectArgs) -> ExitCode {
    context::finish(args.project.json, |sources| {
        let fetched = fetched(args, sources)?;
        let file = fetched.as_ref().map_or_else(|| Path::new(&args.what), |(_, file)| file);
        let deb = Deb::open(file).map_err(|error| Problem::input(error.to_string()))?;
        let files = deb.files().map_err(|error| Problem::input(error.to_string()))?;
        let origin = origin(&deb, &keyring(args, sources)?)?;
        if args.project.json {
            anstream::println!("{}", as_json(&deb, &files, &origin));
        } else {
            print(args, &deb, &files, &origin);
        }
        let good = origin.signature.is_ok() && origin.provenance.as_ref().is_none_or(Result::is_ok);
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(crate::exit::REFUSED) })
    })
}

/// What is in the store, in a directory that is gone with the value; `None` if a file is meant.
fn fetched(
    args: &InspectArgs,
    sources: &Arc<SourceMap>,
) -> Result<Option<(tempfile::TempDir, PathBuf)>, Problem> {
    if Path::new(&args.what).exists() || args.what.contains('/') || args.what.ends_with(".deb") {
        return Ok(None);
    }
    let project = args.project.load(sources)?;
    let (place, trust) = problem::store_of(&project, args.env.as_ref())?;
    let (package, version) = named(&project, &args.what)?;
    let keyring = Keyring::load(&trust.build_keys, &trust.revoked)
        .map_err(|error| Problem::input(error.message).maybe_hint(error.hint))?;
    let store = Store::open(&place.location, &place.suite).map_err(problem::store)?;
    let entry = match version {
        Some(version) => store.find(&keyring, &package, &version).map_err(problem::store)?,
        None => {
            store.index(&keyring).map_err(problem::store)?.newest(&package).cloned().ok_or_else(|| {
                Problem::input(format!("the store {} has nothing of {package}", store.name()))
                    .hint("`debark releases` shows what it has")
            })?
        }
    };
    let failed = |error: std::io::Error| Problem::input(format!("a temporary directory: {error}"));
    let directory = tempfile::tempdir().map_err(failed)?;
    let path = directory.path().join(entry.path.rsplit('/').next().unwrap_or("package.deb"));
    store.download(&entry, &path).map_err(problem::store)?;
    if let Some(bytes) = store.provenance(&entry).map_err(problem::store)? {
        std::fs::write(Provenance::path_of(&path), bytes).map_err(failed)?;
    }
    Ok(Some((directory, path)))
}

/// Which package, and which version if one is named.
fn named(project: &Project, what: &str) -> Result<(PackageName, Option<PackageVersion>), Problem> {
    if what.contains(['@', '=']) || project.packages.keys().any(|name| name.as_str() == what) {
        let spec: Spec = what.parse().map_err(Problem::input)?;
        return Ok((spec.package, spec.version));
    }
    let names: Vec<&PackageName> = project.packages.keys().collect();
    match (names.as_slice(), what.parse::<PackageVersion>()) {
        ([only], Ok(version)) => Ok(((*only).clone(), Some(version))),
        (_, Ok(_)) => {
            need_packages(project)?;
            let names: Vec<&str> = names.into_iter().map(PackageName::as_str).collect();
            Err(Problem::input(format!("which package's {what}?"))
                .hint(format!("name it as PACKAGE@{what}; the project has {}", names.join(", "))))
        }
        (_, Err(_)) => Err(Problem::input(format!("{what} is neither a file nor a version of a package"))
            .hint("name a file, or PACKAGE@VERSION of what `debark releases` shows")),
    }
}

/// The project's keys; none without a project.
fn keyring(args: &InspectArgs, sources: &SourceMap) -> Result<Keyring, Problem> {
    if args.project.project.is_none() && debark_project::find(Path::new(".")).is_err() {
        return Ok(Keyring::default());
    }
    let trust = args.project.load(sources)?.trust;
    Keyring::load(&trust.build_keys, &trust.revoked)
        .map_err(|error| Problem::input(error.message).maybe_hint(error.hint))
}

fn origin(deb: &Deb, keyring: &Keyring) -> Result<Origin, Problem> {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let payload =
        deb.payload().map_err(|error| Problem::input(format!("{}: {error}", deb.path.display())))?;
    let signature = keyring.verify(deb.signature.as_deref(), payload, now);
    let path = Provenance::path_of(&deb.path);
    let provenance = path.exists().then(|| {
        let envelope = Envelope::read(&path).map_err(|error| error.to_string())?;
        let (said, _) = envelope.verify(keyring, now).map_err(|error| error.to_string())?;
        said.is_of(deb).map_err(|error| error.to_string())?;
        Ok(said)
    });
    Ok(Origin { signature: signature.map(|key| (key.fingerprint.clone(), key.user.clone())), provenance })
}

const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

fn as_json(deb: &Deb, files: &[PackedFile], origin: &Origin) -> Value {
    let control: serde_json::Map<String, Value> =
        deb.control.0.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let scripts: serde_json::Map<String, Value> = SCRIPTS
        .iter()
        .filter_map(|name| {
            Some(((*name).to_owned(), String::from_utf8_lossy(deb.control_files.get(*name)?).into()))
        })
        .collect();
    let files: Vec<Value> = files
        .iter()
        .map(|file| {
            json!({ "path": file.path, "kind": kind(file.kind), "mode": format!("{:04o}", file.mode), "owner": file.owner,
                "group": file.group, "size": file.size, "link": (!file.link.is_empty()).then_some(&file.link) })
        })
        .collect();
    let signature = match &origin.signature {
        Ok((key, user)) => json!({ "trusted": true, "key": key, "user": user }),
        Err(why) => json!({ "trusted": false, "problem": why.to_string() }),
    };
    let provenance = origin.provenance.as_ref().map(|said| match said {
        Ok(said) => json!({ "trusted": true, "commit": said.commit, "tree": said.tree, "repository": said.repository, "builder": said.builder,
            "job": said.job, "started": said.started, "finished": said.finished, "tests": said.tests }),
        Err(why) => json!({ "trusted": false, "problem": why }),
    });
    json!({
        "package": deb.package, "version": deb.version, "architecture": deb.architecture, "size": deb.size, "digest": deb.digest,
        "payload": deb.payload, "control": control, "files": files, "conffiles": deb.conffiles(), "scripts": scripts,
        "signature": signature, "provenance": provenance,
    })
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Other(_) => "other",
    }
}

/// Text of a stranger's, without what could steer a terminal.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn print(args: &InspectArgs, deb: &Deb, files: &[PackedFile], origin: &Origin) {
    let bold = anstyle::Style::new().bold();
    let mut out = format!("{bold}{} {} {}{bold:#}\n", deb.package, deb.version, deb.architecture);
    out.push_str(&format!("digest      {}\nsize        {} bytes\n", deb.digest, deb.size));
    match &origin.signature {
        Ok((key, user)) => out.push_str(&format!("signature   good, by {key} {}\n", safe(user))),
        Err(why) => out.push_str(&format!("signature   not trusted: {why}\n")),
    }
    match &origin.provenance {
        None => out.push_str("provenance  none beside it\n"),
        Some(Err(why)) => out.push_str(&format!("provenance  not trusted: {}\n", safe(why))),
        Some(Ok(said)) => {
            out.push_str(&format!("provenance  commit {} of {}\n", said.commit, safe(&said.repository)));
            out.push_str(&format!(
                "            built by {}{}\n",
                safe(&said.builder),
                said.job.as_ref().map(|job| format!(", {}", safe(job))).unwrap_or_default()
            ));
            for test in &said.tests {
                let word = if test.passed { "passed" } else { "failed" };
                out.push_str(&format!("            test {}: {word}, {} ms\n", safe(&test.name), test.took));
            }
        }
    }
    out.push_str(&format!("\n{bold}control{bold:#}\n"));
    for line in deb.control.to_string().lines() {
        out.push_str(&format!("  {}\n", safe(line)));
    }
    out.push_str(&format!("\n{bold}files{bold:#}\n"));
    let conffiles = deb.conffiles();
    for file in files {
        let mut note = if conffiles.contains(&file.path) { "  (conffile)".to_owned() } else { String::new() };
        if !file.link.is_empty() {
            note = format!(" -> {}", safe(&file.link));
        }
        let mark = match file.kind {
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::File => '-',
            Kind::Other(_) => '?',
        };
        out.push_str(&format!(
            "  {mark}{:04o} {:<17} {:>10} {}{note}\n",
            file.mode,
            format!("{}/{}", safe(&file.owner), safe(&file.group)),
            file.size,
            safe(&file.path)
        ));
    }
    for name in SCRIPTS {
        let Some(text) = deb.control_files.get(name) else { continue };
        let text = String::from_utf8_lossy(text);
        out.push_str(&format!("\n{bold}{name}{bold:#} ({} lines)\n", text.lines().count()));
        if args.scripts {
            text.lines().for_each(|line| out.push_str(&format!("  {}\n", safe(line))));
        }
    }
    anstream::print!("{out}");
}
