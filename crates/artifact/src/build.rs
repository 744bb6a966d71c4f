//! From a commit to a signed package with its provenance.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use debark_order::PackageVersion;
use debark_project::{Build, Package, Program};

use crate::deb::read::Digests;
use crate::deb::sign::SignError;
use crate::deb::source::Directory;
use crate::deb::{self, Deb, DebError};
use crate::git::{Checkout, SourceError};
use crate::key::{BuildKey, KeyError};
use crate::program;
use crate::provenance::{Provenance, TestRun};

/// What to build.
pub struct Builder<'a> {
    /// Which package.
    pub package: &'a Package,
    /// Which commit, as in gitrevisions(7); `None`: `HEAD`.
    pub revision: Option<&'a str>,
    /// Which version; `None`: that of the project file, or of the commit's tag.
    pub version: Option<PackageVersion>,
    /// Where the package goes to; made if it is not there.
    pub output: &'a Path,
    /// Whether changes that are not committed are left out silently; otherwise they are an error.
    pub allow_dirty: bool,
    /// Signs; `None`: not signed.
    pub key: Option<&'a BuildKey>,
    /// Who builds: `user@host`, or a pipeline.
    pub builder: String,
    /// The pipeline's job.
    pub job: Option<String>,
}

/// What happens.
#[derive(Debug)]
pub enum Step<'a> {
    /// A test begins.
    Test(&'a str),
    /// The build begins, with this version.
    Build(&'a PackageVersion),
    /// A line of a program.
    Line(&'a str),
    /// Changes that are not committed are left out.
    Dirty(&'a [String]),
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The package.
    pub deb: Deb,
    /// Where its provenance is.
    pub provenance_file: PathBuf,
    /// Its provenance.
    pub provenance: Provenance,
}

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Changes that are not committed.
    #[error("{} from the commit: {}", count(.0.len()), .0.first().map(String::as_str).unwrap_or_default())]
    Dirty(Vec<String>),
    /// A test failed.
    #[error("the test {name:?} {how}")]
    Test {
        /// Its name.
        name: String,
        /// `ended with 2`.
        how: String,
    },
    /// The build failed.
    #[error("the build of {package} {how}")]
    Program {
        /// Of which package.
        package: String,
        /// `ended with 2`.
        how: String,
    },
    /// The package that a program left is none, or another one.
    #[error("{0}")]
    Output(String),
    /// The package cannot be written or read.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file or program.
    #[error("{0}: {1}")]
    Io(String, io::Error),
}

fn count(files: usize) -> String {
    if files == 1 { "a file differs".into() } else { format!("{files} files differ") }
}

impl From<SignError> for BuildError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::Deb(error) => Self::Deb(error),
            SignError::Key(error) => Self::Key(error),
        }
    }
}

impl BuildError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint.clone(),
            Self::Key(error) => error.hint.clone(),
            Self::Dirty(_) => Some("commit them; `--allow-dirty` builds the commit without them".into()),
            Self::Test { .. } => Some("nothing is built of a commit whose tests fail".into()),
            _ => None,
        }
    }

    /// Whether a test or a build program failed, rather than what it was told.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Test { .. } | Self::Program { .. })
    }
}

/// How a build without a checkout went.
enum Straight {
    /// Something of the source is to be run, and needs its files.
    Unfit,
    /// What is wrong shows with a checkout.
    Failed,
    /// The package is there.
    Built(Option<Digests>),
}

impl Builder<'_> {
    /// Builds.
    ///
    /// # Errors
    /// See [`BuildError`]; the output directory is as it was.
    pub fn build(&self, step: &mut dyn FnMut(Step<'_>)) -> Result<Built, BuildError> {
        let started = now();
        let source = Checkout::open(&self.package.source, self.revision)?;
        let version = match self.version.clone().or_else(|| self.package.version.clone()) {
            Some(version) => version,
            None => source.version(&self.package.name)?,
        };
        let work = tempfile::Builder::new().prefix("debark-build-").tempdir();
        let work = work.map_err(|error| BuildError::Io("a temporary directory".into(), error))?;
        let (tree, out) = (work.path().join("source"), work.path().join("package.deb"));
        let identity = deb::build::Identity {
            name: &self.package.name,
            version: &version,
            epoch: source.epoch,
            commit: &source.commit,
        };
        let straight = self.straight(&source, &identity, &out, step)?;
        if matches!(straight, Straight::Unfit) {
            self.clean(&source, step)?;
            self.export(&source, &tree)?;
        }
        let variables = [
            ("SOURCE_DATE_EPOCH", source.epoch.to_string()),
            ("DEBARK_PACKAGE", self.package.name.to_string()),
            ("DEBARK_VERSION", version.to_string()),
            ("DEBARK_COMMIT", source.commit.clone()),
        ];
        let tests = self.test(&tree, &variables, step)?;
        if matches!(straight, Straight::Unfit) {
            step(Step::Build(&version));
        }
        let mut known = None;
        let made = match &self.package.build {
            Build::Files(files) => {
                if let Straight::Built(digests) = straight {
                    known = digests;
                } else {
                    // What tests leave behind is no part of the package.
                    let clean = if tests.is_empty() { tree } else { work.path().join("clean") };
                    if matches!(straight, Straight::Failed) || !tests.is_empty() {
                        self.export(&source, &clean)?;
                    }
                    if let Some(program) = &files.prepare {
                        self.run(program, &clean, &variables, step)?;
                    }
                    known = deb::build::build(&Directory::open(&clean)?, files, &identity, &out)?;
                }
                out
            }
            Build::CargoDeb { args } => {
                let out = work.path().join("out");
                let mut words: Vec<String> =
                    ["cargo", "deb", "--quiet", "--deb-version"].map(str::to_owned).into();
                words.extend([version.to_string(), "--output".into(), out.display().to_string()]);
                words.extend(args.iter().cloned());
                fs::create_dir(&out).map_err(|error| BuildError::Io(out.display().to_string(), error))?;
                self.run(&Program::Argv(words), &tree, &variables, step)?;
                only(&out, "*.deb")?
            }
            Build::Command { run, output } => {
                self.run(run, &tree, &variables, step)?;
                only(&tree, output)?
            }
        };
        let made = Deb::made(&made, known)?;
        if made.package != self.package.name || made.version != version {
            return Err(BuildError::Output(format!(
                "the build left {} {} where {} {version} was to be built",
                made.package, made.version, self.package.name
            )));
        }
        self.hand_over(made, &source, tests, started)
    }

    /// Builds without a checkout, while it is found out whether the working tree differs; whether that was done.
    /// What is unclear without a checkout is clear with one, errors included.
    fn straight(
        &self,
        source: &Checkout,
        identity: &deb::build::Identity<'_>,
        out: &Path,
        step: &mut dyn FnMut(Step<'_>),
    ) -> Result<Straight, BuildError> {
        let Build::Files(files) = &self.package.build else { return Ok(Straight::Unfit) };
        if !self.package.tests.is_empty() || files.prepare.is_some() {
            return Ok(Straight::Unfit);
        }
        let (own, stopped) = (source.again().ok(), Arc::new(AtomicBool::new(false)));
        std::thread::scope(|scope| {
            let packing = own.map(|own| {
                let stopped = Arc::clone(&stopped);
                scope.spawn(move || deb::build::build(&own.objects(stopped).ok()?, files, identity, out).ok())
            });
            if let Err(error) = self.clean(source, step) {
                stopped.store(true, Ordering::Relaxed);
                return Err(error);
            }
            step(Step::Build(identity.version));
            let built = packing.and_then(|packing| packing.join().ok()?);
            Ok(built.map_or(Straight::Failed, Straight::Built))
        })
    }

    /// What is not committed is an error, or told.
    fn clean(&self, source: &Checkout, step: &mut dyn FnMut(Step<'_>)) -> Result<(), BuildError> {
        let dirty = source.dirty()?;
        if dirty.is_empty() {
            return Ok(());
        }
        if !self.allow_dirty {
            return Err(BuildError::Dirty(dirty));
        }
        step(Step::Dirty(&dirty));
        Ok(())
    }

    /// Signs the package and puts it with its provenance where it belongs: the package last.
    fn hand_over(
        &self,
        made: Deb,
        source: &Checkout,
        tests: Vec<TestRun>,
        started: u64,
    ) -> Result<Built, BuildError> {
        let io = |path: &Path, error: io::Error| BuildError::Io(path.display().to_string(), error);
        fs::create_dir_all(self.output).map_err(|error| io(self.output, error))?;
        let staged = tempfile::Builder::new()
            .prefix(".debark-")
            .tempdir_in(self.output)
            .map_err(|error| io(self.output, error))?;
        let path = staged.path().join(made.file_name());
        take(&made.path, &path).map_err(|error| io(&path, error))?;
        let mut deb = Deb { path: path.clone(), ..made };
        if let Some(key) = self.key {
            deb::sign::sign(&deb, key, source.epoch)?;
            deb = Deb::open(&path)?;
        }
        let provenance = Provenance {
            package: deb.package.to_string(),
            version: deb.version.to_string(),
            file: deb.file_name(),
            digest: deb.digest,
            payload: deb.payload,
            repository: source.url.clone(),
            commit: source.commit.clone(),
            tree: source.tree.clone(),
            builder: self.builder.clone(),
            job: self.job.clone(),
            started,
            finished: now().max(started),
            tests,
        };
        let text = provenance.seal(self.key)?.to_json();
        let out = self.output.join(deb.file_name());
        let provenance_file = Provenance::path_of(&out);
        let staged_provenance = Provenance::path_of(&path);
        fs::write(&staged_provenance, text).map_err(|error| io(&staged_provenance, error))?;
        fs::rename(&staged_provenance, &provenance_file).map_err(|error| io(&provenance_file, error))?;
        fs::rename(&path, &out).map_err(|error| io(&out, error))?;
        deb.path = out;
        Ok(Built { deb, provenance_file, provenance })
    }

    fn export(&self, source: &Checkout, to: &Path) -> Result<(), BuildError> {
        fs::create_dir(to).map_err(|error| BuildError::Io(to.display().to_string(), error))?;
        Ok(source.export(to)?)
    }

    fn test(
        &self,
        tree: &Path,
        variables: &[(&str, String)],
        step: &mut dyn FnMut(Step<'_>),
    ) -> Result<Vec<TestRun>, BuildError> {
        let mut results = Vec::new();
        for test in &self.package.tests {
            step(Step::Test(&test.name));
            let ended = program::run(&test.run, tree, variables, &mut |line| step(Step::Line(line)));
            let ended = ended.map_err(|error| BuildError::Io(format!("the test {:?}", test.name), error))?;
            if !ended.status.success() {
                return Err(BuildError::Test { name: test.name.clone(), how: ended.how() });
            }
            results.push(TestRun {
                name: test.name.clone(),
                passed: true,
                took: ended.took,
                output: ended.output,
            });
        }
        Ok(results)
    }

    fn run(
        &self,
        program: &Program,
        tree: &Path,
        variables: &[(&str, String)],
        step: &mut dyn FnMut(Step<'_>),
    ) -> Result<(), BuildError> {
        let ended = program::run(program, tree, variables, &mut |line| step(Step::Line(line)));
        let ended = ended.map_err(|error| BuildError::Io(program.to_string(), error))?;
        if ended.status.success() {
            return Ok(());
        }
        Err(BuildError::Program { package: self.package.name.to_string(), how: ended.how() })
    }
}

/// Moves what was built, as it is thrown away with everything around it; copies what is elsewhere, or somebody else's as well.
fn take(from: &Path, to: &Path) -> io::Result<()> {
    let about = from.symlink_metadata()?;
    if about.is_file() && about.nlink() == 1 && fs::rename(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).map(drop)
}

/// The only file that a name with `*` means.
fn only(directory: &Path, pattern: &str) -> Result<PathBuf, BuildError> {
    let (below, pattern) = pattern
        .rsplit_once('/')
        .map_or((directory.to_owned(), pattern), |(below, name)| (directory.join(below), name));
    let none = || BuildError::Output(format!("the build left no {pattern}"));
    let mut found = Vec::new();
    for entry in fs::read_dir(&below).map_err(|_| none())?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| deb::tree::fits(pattern, name)) {
            found.push(entry.path());
        }
    }
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(none()),
        several => Err(BuildError::Output(format!(
            "the build left {} files {pattern}, and one is wanted",
            several.len()
        ))),
    }
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
