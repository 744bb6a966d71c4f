//! The hosts that a command is about: of an inventory, or of an environment of the project.

use std::path::PathBuf;
use std::sync::Arc;

use debark_connect::{Target, Ways};
use debark_controller::Site;
use debark_playbook::diagnostic::did_you_mean;
use debark_playbook::inventory::Inventory;
use debark_playbook::{Diagnostic, SourceMap};
use debark_project::{Environment, Project};

use crate::common::{Common, show};
use crate::vpn;

/// Options of commands that look at hosts of an inventory or of an environment.
#[derive(clap::Args, Clone, Default)]
pub struct Where {
    /// The hosts of this environment of debark.yml
    #[arg(long, value_name = "NAME", conflicts_with = "inventory")]
    pub env: Option<String>,
    /// The project file [default: debark.yml, here or in a directory above]
    #[arg(long, value_name = "FILE", env = "DEBARK_PROJECT")]
    pub project: Option<PathBuf>,
}

/// What is to be done on the hosts.
pub enum Plays<'a> {
    /// A playbook's text, made of a pattern.
    Text(&'a dyn Fn(&str) -> String),
    /// Playbooks, as far as they are about these hosts.
    Files(&'a [PathBuf]),
}

/// Hosts, ready to be reached.
pub struct Chosen {
    /// What is known of them.
    pub site: Site,
    /// Ways through their VPNs.
    pub ways: Ways,
    /// Their names, in the inventory's order.
    pub hosts: Vec<String>,
    /// Where their variables are.
    pub inventory: Arc<Inventory>,
}

impl Where {
    /// Reads inventory, project and plays.
    ///
    /// # Errors
    /// Everything that is wrong with them; or no host matches.
    pub fn open(
        &self,
        pattern: Option<&str>,
        common: &Common,
        plays: &Plays<'_>,
        sources: &Arc<SourceMap>,
    ) -> Result<Chosen, Vec<Diagnostic>> {
        let mut common = common.clone();
        let environment = self.env.as_deref().map(|name| self.environment(name, sources)).transpose()?;
        let mut patterns: Vec<&str> = pattern.into_iter().collect();
        if let Some(environment) = &environment {
            common.inventory.clone_from(&environment.inventory);
            patterns.push(&environment.hosts);
        }
        let pattern = if patterns.is_empty() { "all".to_owned() } else { patterns.join(":&") };
        let one = |error| vec![error];
        let opened = common.open(sources)?;
        let files = match plays {
            Plays::Text(text) => {
                let path = PathBuf::from("<command line>");
                sources.add(&path, &text(&pattern), false);
                vec![path]
            }
            Plays::Files(files) => {
                common.limit.get_or_insert_with(|| pattern.clone());
                files.to_vec()
            }
        };
        let (compiler, compiled) = opened.compiled(&files, sources)?;
        let mut options = common.site_options(&opened.settings, opened.extra_vars).map_err(one)?;
        if let Some(environment) = &environment {
            options.vpn = vpn::declared(&environment.vpn);
            options.known_hosts.clone_from(&environment.known_hosts);
        }
        let selected = opened.inventory.select(&pattern, &options.limit).map_err(one)?;
        show(&selected.warnings, sources);
        options.patterns_told = true;
        // Agents send what modules return only if it is wanted.
        options.run.verbosity = options.run.verbosity.max(1);
        let hosts: Vec<String> = selected.hosts.iter().map(ToString::to_string).collect();
        if hosts.is_empty() {
            let error = Diagnostic::error(format!("no host matches `{pattern}`"));
            return Err(vec![error.hint("`debark inventory` shows what there is")]);
        }
        let ways = vpn::ways(&opened.vault);
        let inventory = opened.inventory.clone();
        let site = Site::new(compiler, compiled.plays, opened.inventory, opened.vault, options);
        Ok(Chosen { site, ways, hosts, inventory })
    }

    /// The same for plays that do nothing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn idle(
        &self,
        pattern: Option<&str>,
        common: &Common,
        sources: &Arc<SourceMap>,
    ) -> Result<Chosen, Vec<Diagnostic>> {
        self.open(pattern, common, &Plays::Text(&idle_play), sources)
    }

    fn environment(&self, name: &str, sources: &SourceMap) -> Result<Environment, Vec<Diagnostic>> {
        let file = match &self.project {
            Some(file) => file.clone(),
            None => debark_project::find(std::path::Path::new(".")).map_err(|error| vec![error])?,
        };
        let project = Project::load(&file, sources)?;
        show(&project.warnings, sources);
        let found = project.environments.iter().find(|(known, _)| known.as_str() == name);
        found.map(|(_, environment)| environment.clone()).ok_or_else(|| {
            let names: Vec<&str> = project.environments.keys().map(|name| name.as_str()).collect();
            let hint = did_you_mean(name, names.iter().copied())
                .unwrap_or_else(|| format!("it has {}", names.join(", ")));
            vec![Diagnostic::error(format!("{} has no environment `{name}`", file.display())).hint(hint)]
        })
    }
}

impl Chosen {
    /// How a host is reached; its VPN's tunnel is opened if it is not open yet.
    ///
    /// # Errors
    /// There is no way.
    pub fn target(&self, host: &str) -> Result<Target, debark_connect::Problem> {
        let mut target = self.site.target(host)?;
        let prepared = self.ways.prepare(&mut target);
        self.ways.warnings().iter().for_each(|text| anstream::eprintln!("warning: {text}"));
        prepared?;
        Ok(target)
    }
}

/// Does the same for all items, so many at once; results are in their order.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], at_once: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut own = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(item) = items.get(number) else { return own };
                own.push((number, work(item)));
            }
        };
        let workers: Vec<_> = (0..at_once.min(items.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A play that does nothing, as JSON, which is YAML: nothing in a pattern can end its place.
fn idle_play(pattern: &str) -> String {
    format!("[{{\"hosts\": {}, \"gather_facts\": false, \"tasks\": []}}]\n", serde_json::Value::from(pattern))
}
