//! A project as `debark init` makes it, and the jobs of its pipelines.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::{Ended, S3Server, debark, debark_program};
use debark_lab::Lab;
use debark_playbook::SourceMap;
use debark_playbook::yaml::{self, Node};

/// A repository that everybody clones, a bucket, a ledger's remote, and the secrets of the service.
pub struct Team<'a> {
    lab: &'a Lab,
    scratch: tempfile::TempDir,
    store: S3Server,
    secrets: BTreeMap<String, String>,
}

/// A job: which secrets it sees, and its steps.
pub struct Job {
    service: &'static str,
    name: String,
    /// Commands, with what the step adds to the environment.
    steps: Vec<(String, Vec<(String, String)>)>,
}

impl<'a> Team<'a> {
    pub fn new(lab: &'a Lab) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let team = Self { lab, scratch, store: S3Server::start_in(lab), secrets: BTreeMap::new() };
        let root = team.root();
        fs::create_dir_all(&root).unwrap();
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(team.path("ci"));
        assert!(keygen.status().unwrap().success());
        team.git(&["init", "-q", "-b", "main"]);
        team.git(&["config", "user.name", "Alice"]);
        team.git(&["config", "user.email", "alice@example.org"]);
        for service in ["circleci", "github", "gitlab"] {
            // What is there is left as it is; the project file alone may not be there.
            let _ = fs::remove_file(root.join("debark.yml"));
            let _ = team.debark(&["init", "--name", "hello", "--ci", service]).ends(0).says("name a bucket");
        }
        assert!(
            Command::new("git")
                .args(["init", "-q", "--bare"])
                .arg(team.path("ledger.git"))
                .status()
                .unwrap()
                .success()
        );
        let file = root.join("debark.yml");
        let text = fs::read_to_string(&file).unwrap();
        let remote = format!("ledger:\n  remote: {}\n", team.path("ledger.git").display());
        let text = text
            .replace("store: .debark/store\n", &format!("store: s3://packages/hello\n{remote}"))
            .replace("healthy_for: 3s", "healthy_for: 200ms");
        fs::write(&file, text).unwrap();
        let hosts = lab.inventory(&[]).unwrap();
        let rest = hosts.lines().skip_while(|line| !line.starts_with('[')).collect::<Vec<_>>().join("\n");
        for (environment, host) in [("staging", "h1 "), ("prod", "h2 ")] {
            let line = hosts.lines().find(|line| line.starts_with(host)).unwrap();
            fs::write(root.join("inventory").join(environment), format!("{line}\n\n{rest}\n")).unwrap();
        }
        let key = team.path("build.asc");
        let user = "hello builds <ci@example.org>";
        let new = ["keys", "new", key.to_str().unwrap(), "--user", user, "--no-passphrase"];
        let _ = team.debark(&new).ends(0);
        for environment in ["staging", "prod"] {
            let _ = team.debark(&["enroll", "--env", environment]).ends(0);
        }
        let read = |name: &str| fs::read_to_string(team.path(name)).unwrap();
        let secrets = [
            ("DEBARK_BUILD_KEY_ASC", read("build.asc")),
            ("DEBARK_KEY_SSH", read("ci")),
            ("DEBARK_KNOWN_HOSTS", "h1 ssh-ed25519 AAAA".to_owned()),
        ];
        let mut secrets: BTreeMap<String, String> =
            secrets.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        secrets.extend(team.store.environment().into_iter().map(|(name, value)| (name.to_owned(), value)));
        Self { secrets, ..team }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("hello")
    }

    fn git(&self, words: &[&str]) {
        let output = Command::new("git").args(words).current_dir(self.root()).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {output:?}");
    }

    fn debark(&self, words: &[&str]) -> Ended {
        let mut command = debark(self.lab, self.scratch.path());
        command.current_dir(self.root()).args(words).env("DEBARK_KEY", self.path("ci"));
        command.envs(self.store.environment());
        Ended::of(&command.output().unwrap())
    }

    /// Commits a version, and tags it: what starts a pipeline.
    pub fn tag(&self, version: &str) {
        let program = self.root().join("bin/hello");
        let text = fs::read_to_string(&program).unwrap();
        fs::write(&program, format!("{text}# {version}\n")).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", version]);
        self.git(&["tag", &format!("v{version}")]);
    }

    /// The bucket cannot be reached: nothing is touched. A plan needs it as little as the ledger's remote.
    pub fn without_a_store(self, version: &str) {
        let what = format!("hello@{version}");
        let deploy = ["deploy", &what, "--to", "staging"];
        let plan = [&deploy[..], &["--plan"]].concat();
        let _ = self.debark(&plan).ends(0).says("nothing is known here of that version: the store is asked");
        let environment = self.store.environment();
        let Self { store, scratch, lab, secrets } = self;
        drop(store);
        let debark = |words: &[&str]| {
            let mut command = debark(lab, scratch.path());
            command
                .current_dir(scratch.path().join("hello"))
                .args(words)
                .env("DEBARK_KEY", scratch.path().join("ci"));
            Ended::of(&command.envs(environment.clone()).output().unwrap())
        };
        let log = || lab.host("h1").unwrap().exec(&["md5sum", "/var/log/dpkg.log"]).unwrap().stdout;
        let before = log();
        let _ = debark(&deploy).ends(4);
        assert_eq!(log(), before);
        let _ = debark(&plan).ends(0).says("was asked ").says("the ledger's remote");
        drop(secrets);
    }

    /// The jobs of a service's pipeline, in their order.
    pub fn jobs(&self, service: &'static str) -> Vec<Job> {
        let path = match service {
            "circleci" => ".circleci/config.yml",
            "github" => ".github/workflows/release.yml",
            _ => ".gitlab-ci.yml",
        };
        let sources = SourceMap::default();
        let (_, parsed) = yaml::load(&sources, &self.root().join(path), &yaml::NoVault).unwrap();
        let (document, _) = parsed.single().unwrap();
        let document = document.unwrap();
        let before = document.get("default").and_then(|default| default.get("before_script"));
        let names = if service == "github" || service == "circleci" { Some("jobs") } else { None };
        let all = names.map_or(&document, |name| document.get(name).unwrap());
        let jobs = all.as_map().unwrap().iter();
        let jobs = jobs.filter(|(_, job)| job.get("steps").is_some() || job.get("script").is_some());
        jobs.map(|(key, job)| Job {
            service,
            name: key.name.to_string(),
            steps: steps(before, job, &self.secrets),
        })
        .collect()
    }
}

fn words(node: Option<&Node>) -> Vec<String> {
    let list = node.and_then(Node::as_seq).unwrap_or_default();
    list.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn steps(
    before: Option<&Node>,
    job: &Node,
    secrets: &BTreeMap<String, String>,
) -> Vec<(String, Vec<(String, String)>)> {
    if let Some(script) = job.get("script") {
        let lines = [words(before), words(Some(script))].concat();
        return vec![(lines.join("\n"), Vec::new())];
    }
    let steps = job.get("steps").and_then(Node::as_seq).unwrap().iter();
    steps
        .filter_map(|step| {
            let run = step.get("run")?.as_str()?.to_owned();
            let env = step.get("env").and_then(Node::as_map).unwrap_or_default();
            let value = |text: &str| {
                let name = text.trim_start_matches("${{ ").trim_end_matches(" }}").split_once('.').unwrap().1;
                secrets.get(name).cloned().unwrap_or_default()
            };
            let env = env.iter().map(|(key, text)| (key.name.to_string(), value(text.as_str().unwrap())));
            Some((run, env.collect()))
        })
        .collect()
}

impl Job {
    /// On a machine that has debark, and nothing else of the project.
    pub fn run(&self, team: &Team<'_>, version: &str) -> Ended {
        let machine = tempfile::tempdir().unwrap();
        let (home, clone) = (machine.path().join("home"), machine.path().join("clone"));
        fs::create_dir_all(home.join("bin")).unwrap();
        std::os::unix::fs::symlink(debark_program(), home.join("bin/debark")).unwrap();
        let tag = format!("v{version}");
        let mut git = Command::new("git");
        git.args(["clone", "-q", "--branch", &tag])
            .arg(team.root())
            .arg(&clone)
            .stderr(std::process::Stdio::null());
        assert!(git.status().unwrap().success());
        // Inventories are ignored by nobody; what `.debark/.gitignore` names is not there.
        assert!(!clone.join(".debark/store").exists() && !clone.join(".debark/ledger.git").exists());
        let (shell, exported) = (home.join("bash_env"), home.join("github_env"));
        for file in [&shell, &exported] {
            fs::write(file, "").unwrap();
        }
        let mut all = Ended { code: 0, out: String::new(), err: String::new() };
        for (script, own) in &self.steps {
            let mut command = team.lab.controller_command("bash");
            command.args(["-eo", "pipefail", "-c", script]).current_dir(&clone).env_clear();
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{path}", home.join("bin").display())).env("HOME", &home);
            command.envs(team.store.environment());
            match self.service {
                "circleci" => {
                    // A job's context holds what that job needs.
                    let build = self.name == "build";
                    let fits = |name: &str| (name == "DEBARK_BUILD_KEY_ASC") == build;
                    command.envs(team.secrets.iter().filter(|(name, _)| fits(name)));
                    command.env("BASH_ENV", &shell).env("CIRCLE_TAG", &tag);
                }
                "github" => {
                    command.env("GITHUB_ENV", &exported).env("GITHUB_REF_NAME", &tag);
                    let text = fs::read_to_string(&exported).unwrap();
                    command.envs(text.lines().filter_map(|line| line.split_once('=')));
                    command.envs(own.iter().map(|(name, value)| (name, value)));
                }
                _ => {
                    command.envs(&team.secrets).env("CI_COMMIT_TAG", &tag);
                }
            }
            let end = Ended::of(&command.output().unwrap());
            all.out.push_str(&format!("{} {} $ {script}\n{}", self.service, self.name, end.out));
            all.err.push_str(&end.err);
            all.code = end.code;
            if end.code != 0 {
                return all;
            }
        }
        secret(&home.join(".config/debark/ci"));
        all
    }
}

/// Nobody else can read what is in a directory.
fn secret(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}
