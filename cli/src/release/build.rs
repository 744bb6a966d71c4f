//! `debark build`: a signed package from a commit, with its provenance.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_artifact::build::{BuildError, Builder, Built, Step};
use debark_order::{PackageName, PackageVersion};
use debark_playbook::diagnostic::did_you_mean;
use debark_project::{Package, Project};
use serde_json::json;

use super::context::{self, BuildKeyArgs, Problem, ProjectArgs, need_packages};

/// Builds a package from a commit: tests, .deb, signature, provenance
///
/// The commit is checked out into a clean directory; what is not committed is no part of it. The same commit gives the
/// same package, byte for byte.
#[derive(Debug, clap::Args)]
pub struct BuildArgs {
    /// Which package; the only one, if the project has but one
    #[arg(value_name = "PACKAGE")]
    package: Option<String>,
    /// Which commit, as git names it [default: HEAD]
    #[arg(long, value_name = "REV")]
    commit: Option<String>,
    /// Which version [default: the project file's, or that of the commit's tag]
    #[arg(long, value_name = "VERSION")]
    version: Option<PackageVersion>,
    /// Where the package goes to
    #[arg(short, long, value_name = "DIR", default_value = "dist")]
    output: PathBuf,
    /// Build the commit although files differ from it; they are left out
    #[arg(long)]
    allow_dirty: bool,
    /// Do not sign: hosts will refuse the package
    #[arg(long)]
    no_sign: bool,
    #[command(flatten)]
    key: BuildKeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub fn run(args: &BuildArgs) -> ExitCode {
    context::finish(args.project.json, |sources| {
        let project = args.project.load(sources)?;
        let package = choose(&project, args.package.as_deref())?;
        let key = if args.no_sign { None } else { Some(args.key.open()?) };
        own_directory(&args.output)?;
        let (builder, job) = context::builder();
        let build = Builder {
            package,
            revision: args.commit.as_deref(),
            version: args.version.clone(),
            output: &args.output,
            allow_dirty: args.allow_dirty,
            key: key.as_ref(),
            builder,
            job,
        };
        let built = build.build(&mut |step| show(package, &step)).map_err(problem)?;
        tell(args, &built, key.as_ref().map(|key| key.fingerprint()));
        Ok(ExitCode::SUCCESS)
    })
}

/// The package of that name, or the only one.
///
/// # Errors
/// There is no such package, or several and none is named.
pub fn choose<'a>(project: &'a Project, name: Option<&str>) -> Result<&'a Package, Problem> {
    need_packages(project)?;
    let known = || project.packages.keys().map(PackageName::as_str);
    match name {
        Some(name) => {
            project.packages.values().find(|package| package.name.as_str() == name).ok_or_else(|| {
                let hint = did_you_mean(name, known())
                    .unwrap_or_else(|| format!("it has {}", known().collect::<Vec<_>>().join(", ")));
                Problem::input(format!("the project has no package {name:?}")).hint(hint)
            })
        }
        None => match &project.packages.values().collect::<Vec<_>>()[..] {
            [one] => Ok(one),
            _ => Err(Problem::input("the project has several packages")
                .hint(format!("name one: {}", known().collect::<Vec<_>>().join(", ")))),
        },
    }
}

/// A directory that is made here is none of the source's: git is told to ignore it.
fn own_directory(path: &std::path::Path) -> Result<(), Problem> {
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::write(path.join(".gitignore"), "*\n"))
        .map_err(|error| Problem::input(format!("{}: {error}", path.display())))
}

fn show(package: &Package, step: &Step<'_>) {
    match step {
        Step::Test(name) => anstream::eprintln!("test {name}"),
        Step::Build(version) => anstream::eprintln!("build {} {version}", package.name),
        Step::Line(line) => anstream::eprintln!("  {line}"),
        Step::Dirty(files) => {
            let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
            anstream::eprintln!(
                "{yellow}warning{yellow:#}: left out, as they are not committed: {}",
                files.join(", ")
            );
        }
    }
}

fn problem(error: BuildError) -> Problem {
    let said = if error.is_failure() {
        Problem::failed(error.to_string())
    } else {
        Problem::input(error.to_string())
    };
    said.maybe_hint(error.hint())
}

fn tell(args: &BuildArgs, built: &Built, key: Option<String>) {
    let deb = &built.deb;
    if args.project.json {
        let tests: Vec<_> = built
            .provenance
            .tests
            .iter()
            .map(|test| json!({ "name": test.name, "passed": test.passed, "milliseconds": test.took }))
            .collect();
        anstream::println!(
            "{}",
            json!({
                "package": deb.package, "version": deb.version, "architecture": deb.architecture,
                "file": deb.path, "size": deb.size, "digest": deb.digest, "commit": built.provenance.commit,
                "provenance": built.provenance_file, "key": key, "tests": tests,
            })
        );
        return;
    }
    anstream::println!("{}", deb.path.display());
    anstream::eprintln!(
        "{} {} {}, {} bytes, {}",
        deb.package,
        deb.version,
        deb.architecture,
        deb.size,
        deb.digest
    );
    anstream::eprintln!("commit {}", built.provenance.commit);
    match key {
        Some(key) => anstream::eprintln!("signed by {key}"),
        None => anstream::eprintln!("not signed: hosts will refuse it"),
    }
}
