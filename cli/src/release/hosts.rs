//! The hosts of an environment: which they are, how they are reached, and tasks that run on them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use debark_connect::{Agents, Problem, Target, Ways};
use debark_controller::{Engine, Settings, Site, Ssh};
use debark_playbook::{Diagnostic, SourceMap};
use debark_project::{Tasks, Vpn};
use debark_value::{Map, Value};
use debark_wire::Logins;

use crate::common::Common;
use crate::drive::cache_dir;
use crate::{render, vpn};

/// Options about how hosts are reached.
#[derive(clap::Args, Clone, Default)]
pub struct ReachArgs {
    /// Log in as this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// The private key to log in with
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<String>,
    /// Seconds for connecting [default: 10]
    #[arg(short = 'T', long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
    /// Connect to this many hosts at once [default: 50]
    #[arg(short, long, value_name = "N")]
    pub forks: Option<usize>,
    /// Further arguments for ssh, below those of the inventory
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// A file, or a program that prints the vault password
    #[arg(long, value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// What opens files that age sealed: age identities or an SSH key [env: DEBARK_AGE_IDENTITY]
    #[arg(long, value_name = "FILE")]
    pub age_identity: Vec<PathBuf>,
}

impl ReachArgs {
    /// Hosts that are worked on at once.
    pub fn at_once(&self) -> usize {
        self.forks.unwrap_or(50).max(1)
    }

    fn common(&self, inventory: &[String], json: bool) -> Common {
        Common {
            inventory: inventory.to_vec(),
            user: self.user.clone(),
            private_key: self.private_key.clone(),
            timeout: self.timeout,
            forks: self.forks,
            ssh_common_args: self.ssh_common_args.clone(),
            vault_password_file: self.vault_password_file.clone(),
            age_identity: self.age_identity.clone(),
            json,
            ..Common::default()
        }
    }
}

/// Where hosts come from.
pub struct Place<'a> {
    /// As `debark run -i`.
    pub inventory: &'a [String],
    /// Patterns that all have to be met: the environment's, the deployment's.
    pub patterns: Vec<&'a str>,
    /// How they are reached.
    pub reach: &'a ReachArgs,
    /// Variables that tasks see.
    pub vars: Map,
    /// The environment's VPN, for hosts that declare none.
    pub vpn: &'a Vpn,
    /// The environment's file of host keys, for hosts that name none.
    pub known_hosts: Option<&'a Path>,
    /// Whether output is JSON.
    pub json: bool,
}

/// Hosts, ready to be reached.
pub struct Hosts {
    site: Site,
    ways: Ways,
    /// Their inventory names, in the inventory's order.
    pub names: Vec<String>,
}

impl Place<'_> {
    fn open(&self, text: &str, sources: &Arc<SourceMap>) -> Result<(Site, Vec<String>), Vec<Diagnostic>> {
        let common = self.reach.common(self.inventory, self.json);
        let mut opened = common.open(sources)?;
        let path = PathBuf::from("<debark.yml>");
        sources.add(&path, text, false);
        opened.extra_vars.extend(self.vars.iter().map(|(name, value)| (name.clone(), value.clone())));
        let (compiler, compiled) = opened.compiled(&[path], sources)?;
        let mut options =
            common.site_options(&opened.settings, opened.extra_vars).map_err(|error| vec![error])?;
        options.patterns_told = true;
        options.vpn = vpn::declared(self.vpn);
        options.known_hosts = self.known_hosts.map(Path::to_owned);
        let pattern = self.pattern();
        let names = opened.inventory.select(&pattern, &options.limit).map_err(|error| vec![error])?.hosts;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Ok((Site::new(compiler, compiled.plays, opened.inventory, opened.vault, options), names))
    }

    /// All patterns at once: `a:&b`.
    fn pattern(&self) -> String {
        self.patterns.join(":&")
    }

    /// Reads the inventory.
    ///
    /// # Errors
    /// Everything that is wrong with it; or no host matches.
    pub fn hosts(&self, sources: &Arc<SourceMap>) -> Result<Hosts, Vec<Diagnostic>> {
        let (site, names) = self.open(&play(&self.pattern(), None), sources)?;
        if names.is_empty() {
            let error = Diagnostic::error(format!("no host matches `{}`", self.pattern()));
            let given: Vec<String> =
                self.inventory.iter().map(|inventory| format!("-i {inventory}")).collect();
            return Err(vec![
                error.hint(format!("`debark inventory {} --graph` shows what there is", given.join(" "))),
            ]);
        }
        let ways = vpn::ways(site.vault());
        Ok(Hosts { site, ways, names })
    }

    /// Checks tasks without running them, so that what is wrong with them shows before anything is touched.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn check(&self, tasks: &Tasks, sources: &Arc<SourceMap>) -> Result<(), Vec<Diagnostic>> {
        if tasks.0.is_empty() {
            Ok(())
        } else {
            self.open(&play(&self.pattern(), Some(tasks)), sources).map(drop)
        }
    }

    /// Runs tasks on some hosts.
    ///
    /// # Errors
    /// One sentence: where they failed.
    pub fn run(&self, tasks: &Tasks, hosts: &[String]) -> Result<(), String> {
        if tasks.0.is_empty() {
            return Ok(());
        }
        let sources = Arc::new(SourceMap::default());
        let opened = self.open(&play(&hosts.join(":"), Some(tasks)), &sources);
        let (site, _) = opened.map_err(|errors| {
            errors.first().map_or_else(|| "they cannot be read".to_owned(), |error| error.message.clone())
        })?;
        let mut monitor = render::monitor(&render::Options { json: self.json, verbosity: 0, check: false });
        let agents = Agents::find()?;
        let site = Arc::new(site);
        let reach = site.clone();
        let ways = vpn::ways(site.vault());
        let target = move |host: &str, logins: &Logins| -> Result<Target, Problem> {
            let mut target = reach.target_by(host, logins)?;
            ways.prepare(&mut target)?;
            Ok(target)
        };
        let connector = Ssh::new(agents, cache_dir(), target);
        let settings = Settings { forks: self.reach.at_once(), ..Settings::default() };
        let outcome = Engine::new(site, &connector, monitor.as_mut(), settings).run();
        drop(monitor);
        if let Some(error) = outcome.error {
            return Err(error);
        }
        let on = |what: &str, hosts: Vec<String>| {
            (!hosts.is_empty()).then(|| format!("{what} {}", hosts.join(", ")))
        };
        let names = |hosts: &mut dyn Iterator<Item = String>| hosts.collect::<Vec<_>>();
        let failed = on("a task failed on", names(&mut outcome.failed.iter().map(ToString::to_string)));
        let lost = on("no way to", names(&mut outcome.unreachable.keys().map(ToString::to_string)));
        match failed.or(lost) {
            Some(text) => Err(text),
            None if outcome.interrupted > 0 => Err("interrupted".into()),
            None => Ok(()),
        }
    }
}

impl Hosts {
    /// How a host is reached.
    ///
    /// # Errors
    /// Its connection variables make no sense; one sentence.
    pub fn target(&self, host: &str) -> Result<Target, String> {
        let mut target = self.site.target(host)?;
        self.ways.prepare(&mut target).map_err(|problem| match problem.hint {
            Some(hint) => format!("{}; {hint}", problem.message),
            None => problem.message,
        })?;
        Ok(target)
    }
}

/// A play as JSON, which is YAML: nothing in a name can end its place.
fn play(pattern: &str, tasks: Option<&Tasks>) -> String {
    let tasks = tasks.map_or(Value::from(Vec::<Value>::new()), Tasks::to_value);
    format!(
        "[{{\"hosts\": {}, \"gather_facts\": false, \"tasks\": {}}}]\n",
        serde_json::Value::from(pattern),
        debark_value::to_json_string(&tasks)
    )
}
