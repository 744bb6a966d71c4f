//! What every command about releases begins with: the project file, the key to sign with, the ledger.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Once};

use debark_ledger::{AppendError, BranchNews, Ledger, LedgerError, Settings, Standing, State};
use debark_order::sshsig::Signer;
use debark_order::{Environment as EnvironmentName, PackageName, PackageVersion};
use debark_playbook::SourceMap;
use debark_playbook::diagnostic::did_you_mean;
use debark_project::{Environment, Project};

use crate::drive::cache_dir;

use super::context::{KeyArgs, Problem, ProjectArgs, finish, need_packages};

/// It was said that what was verified before is not believed.
static DISTRUST: Once = Once::new();

/// Options of all commands about releases that may sign.
#[derive(clap::Args, Clone)]
pub struct DeskArgs {
    #[command(flatten)]
    pub project: ProjectArgs,
    #[command(flatten)]
    pub key: KeyArgs,
}

/// A project that was read.
pub struct Desk {
    /// What it says.
    pub project: Project,
    /// Its text, for diagnostics.
    pub sources: Arc<SourceMap>,
    /// Whether output is JSON.
    pub json: bool,
    key: KeyArgs,
}

/// Runs a command: reads the project, and shows what goes wrong.
pub fn at_desk(args: &DeskArgs, work: impl FnOnce(&Desk) -> Result<ExitCode, Problem>) -> ExitCode {
    finish(args.project.json, |sources| {
        let project = args.project.load(sources)?;
        work(&Desk { project, sources: sources.clone(), json: args.project.json, key: args.key.clone() })
    })
}

impl Desk {
    /// A project that was read by other means than [`at_desk`].
    pub const fn new(project: Project, sources: Arc<SourceMap>, json: bool, key: KeyArgs) -> Self {
        Self { project, sources, json, key }
    }

    /// An environment of the project.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn environment(&self, name: &EnvironmentName) -> Result<&Environment, Problem> {
        self.project.environments.get(name).ok_or_else(|| {
            let names = self.project.environments.keys().map(EnvironmentName::as_str);
            let hint = did_you_mean(name.as_str(), names.clone())
                .unwrap_or_else(|| format!("it has {}", names.collect::<Vec<_>>().join(", ")));
            Problem::input(format!("{} has no environment `{name}`", self.project.file.display())).hint(hint)
        })
    }

    /// The package that is meant: the one that is named, or the only one of the project.
    ///
    /// # Errors
    /// There is none of that name, or none is named and there are several.
    pub fn package(&self, name: Option<&PackageName>) -> Result<PackageName, Problem> {
        need_packages(&self.project)?;
        let names: Vec<&str> = self.project.packages.keys().map(PackageName::as_str).collect();
        match name {
            Some(name) if self.project.packages.contains_key(name) => Ok(name.clone()),
            Some(name) => {
                let hint = did_you_mean(name.as_str(), names.iter().copied())
                    .unwrap_or_else(|| format!("it has {}", names.join(", ")));
                Err(Problem::input(format!("{} has no package `{name}`", self.project.file.display()))
                    .hint(hint))
            }
            None => {
                match self.project.packages.keys().collect::<Vec<_>>().as_slice() {
                    [only] => Ok((*only).clone()),
                    _ => Err(Problem::input("which package?")
                        .hint(format!("the project has {}", names.join(", ")))),
                }
            }
        }
    }

    /// Who signs.
    ///
    /// # Errors
    /// No key is named anywhere.
    pub fn signer(&self) -> Result<Signer, Problem> {
        self.key.signer()
    }

    /// The ledger, as an environment trusts it. Commands that only read need no key.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn ledger(&self, environment: &EnvironmentName) -> Result<Ledger, Problem> {
        let trust = &self.environment(environment)?.trust;
        self.open_ledger(&trust.signers)
    }

    fn open_ledger(&self, signers: &Path) -> Result<Ledger, Problem> {
        let settings = Settings {
            path: self.project.ledger.path.clone(),
            remote: self.project.ledger.remote.clone(),
            signer: self.signer().ok(),
            allowed: signers.to_owned(),
            memory: Some(cache_dir().join("verified")),
        };
        let ledger = Ledger::open(settings)?;
        if let Some(why) = ledger.distrusts_memory() {
            // A command opens the ledger as often as it has environments.
            DISTRUST.call_once(|| {
                anstream::eprintln!(
                    "warning: {why}: what is remembered there is not believed, so every entry is verified anew\n\
                     hint: remove it, and debark makes one that is yours alone"
                );
            });
        }
        Ok(ledger)
    }

    /// An environment's state by what decides: every entry of its chain is verified.
    ///
    /// # Errors
    /// It cannot be read, or the chain is not to be trusted; the remote is needed and does not answer, or does not agree with what is here.
    pub fn state(
        &self,
        ledger: &Ledger,
        environment: &EnvironmentName,
        remote: Remote,
    ) -> Result<State, Problem> {
        if self.project.ledger.remote.is_some() && remote != Remote::Unasked {
            let source = self.environment(environment)?.promote_from.as_ref();
            match ledger.fetch() {
                Ok(news) => {
                    for one in news {
                        let Some(problem) = disagrees(ledger, &one) else { continue };
                        let matters = one.environment == *environment || Some(&one.environment) == source;
                        if remote == Remote::Needed && matters {
                            return Err(problem);
                        }
                        anstream::eprintln!("warning: {}; going by what is known here", problem.message());
                    }
                }
                Err(error) if remote == Remote::Needed => return Err(error.into()),
                Err(error) => anstream::eprintln!("warning: {error}; going by what is known here"),
            }
        }
        Ok(ledger.trusted(environment)?)
    }

    /// An environment's state to be shown, with what the remote knows, if it answers.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(&self, ledger: &Ledger, environment: &EnvironmentName) -> Result<State, Problem> {
        if self.project.ledger.remote.is_some() {
            match ledger.fetch() {
                Ok(news) => {
                    for problem in news.iter().filter_map(|one| disagrees(ledger, one)) {
                        anstream::eprintln!("warning: {}; going by what is known here", problem.message());
                    }
                }
                Err(error) => anstream::eprintln!("warning: {error}; going by what is known here"),
            }
        }
        Ok(ledger.state(environment)?)
    }
}

/// What the ledger's remote, if there is one, has to do with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// It has to answer, and to agree with what is here.
    Needed,
    /// It is asked; what it says or does not say is no reason to wait: rollbacks.
    Welcome,
    /// What is here is enough: plans.
    Unasked,
}

/// Why the remote and what is here do not belong together, if so.
fn disagrees(ledger: &Ledger, news: &BranchNews) -> Option<Problem> {
    let (environment, url) = (news.environment.to_string(), ledger.remote_name().unwrap_or_default());
    let error = match news.standing {
        Standing::Diverged { local, remote } => AppendError::Diverged { environment, local, remote, url },
        Standing::Rewound { lost } => AppendError::Rewound { environment, lost, url },
        Standing::Untrusted { ref why } => LedgerError::Untrusted(why.clone()).into(),
        Standing::Same | Standing::Fetched { .. } | Standing::Ahead { .. } | Standing::Pushed { .. } => {
            return None;
        }
    };
    Some(error.into())
}

/// `PACKAGE` or `PACKAGE@VERSION`, as an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The package.
    pub package: PackageName,
    /// The version, if one is named.
    pub version: Option<PackageVersion>,
}

impl std::str::FromStr for Spec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (package, version) = match text.split_once(['@', '=']) {
            Some((package, version)) => (package, Some(version)),
            None => (text, None),
        };
        let package = package.parse().map_err(|error: debark_order::InvalidName| error.to_string())?;
        let version = version
            .map(str::parse)
            .transpose()
            .map_err(|error: debark_order::InvalidName| error.to_string())?;
        Ok(Self { package, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_and_maybe_its_version() {
        let spec: Spec = "shop@1:1.4.2-1".parse().unwrap();
        assert_eq!((spec.package.as_str(), spec.version.unwrap().as_str()), ("shop", "1:1.4.2-1"));
        assert_eq!("shop=1.0".parse::<Spec>().unwrap().version.unwrap().as_str(), "1.0");
        assert_eq!("shop".parse::<Spec>().unwrap().version, None);
        assert!("shop@latest".parse::<Spec>().unwrap_err().contains("is no version"));
        assert!("-x@1".parse::<Spec>().is_err());
    }
}
