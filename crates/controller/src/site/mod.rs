//! The world of a run: playbooks and inventory as the engine asks for them.

mod answers;
mod bounds;
mod debugger;
mod fetches;
mod need;
mod play;
mod services;
mod step;
mod terminal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use debark_connect::{Target, Vpn};
use debark_expr::{Engine, LayerKind, Scope};
use debark_playbook::inventory::{Inventory, Limit};
use debark_playbook::vars::connection::{Connection, Kind};
use debark_playbook::vault::Vault;
use debark_playbook::yaml::NoVault;
use debark_playbook::{CompiledPlay, Compiler, SourceMap};
use debark_value::secrets::Secrets;
use debark_value::{Map, Value};
use debark_wire::{Keywords, Logins, RunOptions};
use zeroize::Zeroizing;

pub use terminal::{ask, cancel_questions, is_terminal, on_question};

use crate::fetches::Fetches;
pub(crate) use fetches::Quiet;
use services::SiteServices;

/// What the command line says of a run.
#[derive(Debug, Clone, Default)]
pub struct SiteOptions {
    /// How the run goes, for agents.
    pub run: RunOptions,
    /// `--limit`.
    pub limit: Limit,
    /// `--limit` as given.
    pub limit_text: Option<String>,
    /// Whether names in `hosts` that nothing has were told already, as far as they could be known.
    pub patterns_told: bool,
    /// `-i` as given.
    pub inventory: Vec<String>,
    /// `-f`.
    pub forks: usize,
    /// `-b`, `--become-user`, `--become-method`: where a play says nothing.
    pub become_: bool,
    /// `--become-user`.
    pub become_user: Option<String>,
    /// `--become-method`.
    pub become_method: Option<String>,
    /// The password of `-K`.
    pub become_password: Option<Zeroizing<String>>,
    /// `-u`.
    pub user: Option<String>,
    /// `--private-key`.
    pub private_key: Option<String>,
    /// Arguments for ssh, behind those of the inventory.
    pub ssh_args: Option<String>,
    /// Seconds for connecting.
    pub timeout: u32,
    /// `ansible_managed` of `ansible.cfg`, as a template.
    pub managed: Option<String>,
    /// The VPN that leads to hosts which declare none.
    pub vpn: Vpn,
    /// The file of host keys of hosts that name none themselves.
    pub known_hosts: Option<PathBuf>,
    /// Variables of `-e`.
    pub extra_vars: Map,
}

/// Playbooks and inventory of a run.
pub struct Site {
    compiler: Arc<Compiler>,
    plays: Vec<CompiledPlay>,
    inventory: Arc<Inventory>,
    vault: Arc<Vault>,
    options: SiteOptions,
    engine: Engine,
    services: Arc<SiteServices>,
    extra: Arc<Map>,
    secrets: Mutex<Secrets>,
    /// All secrets together, by how many texts they were made of.
    known: Mutex<((usize, usize), Arc<Secrets>)>,
    /// Answers to `vars_prompt`, by play.
    prompted: Mutex<HashMap<u32, Map>>,
    /// Where hosts may write, by play.
    fetched: Mutex<HashMap<u32, Fetches>>,
    /// `--step`.
    steps: Mutex<step::Steps>,
    /// The task debugger.
    debugging: debugger::Debugging,
    /// Secrets that stand in what all hosts of a play are sent, by play; and of how many it was looked for.
    shared_secrets: Mutex<HashMap<u32, (usize, Vec<String>)>>,
    /// All texts of a play, by play; nothing where more may come.
    texts: Mutex<HashMap<u32, Option<Arc<str>>>>,
    /// The play that runs, or ran last.
    current: AtomicU32,
    /// What hosts may ask.
    bounds: Mutex<bounds::Bounds>,
}

/// What stands between the expressions of templates: it stays as it is when they are rendered.
fn literals(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| literals(item, found)),
        Value::Map(map) => map.values().for_each(|item| literals(item, found)),
        Value::Str(text) if debark_expr::is_template(text) => {
            let mut rest = &**text;
            while !rest.is_empty() {
                let next = ["{{", "{%", "{#"].iter().filter_map(|open| rest.find(open)).min();
                let (literal, inner) = rest.split_at(next.unwrap_or(rest.len()));
                let lines = literal.lines().map(str::trim).filter(|line| line.len() >= debark_wire::HIDDEN);
                found.extend(lines.map(Value::from));
                let close = ["}}", "%}", "#}"].iter().filter_map(|close| inner.find(close)).min();
                rest = close.and_then(|at| inner.get(at + 2..)).unwrap_or_default();
            }
        }
        _ => {}
    }
}

/// A lookup's result as expressions take it: one result by itself, several as a list.
fn single(found: Value) -> Value {
    match &found {
        Value::List(items) if items.len() == 1 => items.first().cloned().unwrap_or_default(),
        _ => found,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole between statements, so a thread that panicked leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Facts that variables of the inventory mention are gathered like those that plays do.
fn mention(plays: &mut [CompiledPlay], inventory: &Inventory) {
    for play in plays.iter_mut().filter(|play| play.play.gather.mentions.is_some()) {
        let dirs = Site::dirs(Some(play));
        for host in inventory.hosts() {
            // What is wrong with them is told where they are used.
            let Ok(vars) = inventory.vars(&host, &dirs) else { continue };
            vars.values().for_each(|value| play.mention(value));
        }
    }
}

impl Site {
    /// The world of these plays and hosts.
    pub fn new(
        compiler: Arc<Compiler>,
        mut plays: Vec<CompiledPlay>,
        inventory: Arc<Inventory>,
        vault: Arc<Vault>,
        options: SiteOptions,
    ) -> Self {
        mention(&mut plays, &inventory);
        let services = Arc::new(SiteServices::new(inventory.clone(), vault.clone()));
        let mut secrets = Secrets::default();
        if let Some(password) = &options.become_password {
            secrets.add(password);
        }
        Self {
            engine: Engine::new(services.clone()),
            extra: Arc::new(options.extra_vars.clone()),
            secrets: Mutex::new(secrets),
            known: Mutex::default(),
            prompted: Mutex::default(),
            fetched: Mutex::default(),
            steps: Mutex::default(),
            debugging: debugger::Debugging::default(),
            shared_secrets: Mutex::default(),
            texts: Mutex::default(),
            current: AtomicU32::new(0),
            bounds: Mutex::default(),
            compiler,
            plays,
            inventory,
            vault,
            options,
            services,
        }
    }

    /// Everything secret that is known by now. Of an encrypted file of variables each value counts by itself.
    fn known_secrets(&self) -> Arc<Secrets> {
        let opened = self.vault.secrets();
        let own = lock(&self.secrets).clone();
        // Asked for at every event, and the same nearly every time.
        let mut known = lock(&self.known);
        if known.0 == (opened.len(), own.needles().len()) {
            return known.1.clone();
        }
        let counts = (opened.len(), own.needles().len());
        let mut secrets = own;
        let mut all = Vec::new();
        for text in opened {
            let sources = SourceMap::default();
            let file = sources.add(Path::new("vault"), &text, true);
            let parsed =
                debark_playbook::yaml::parse(&sources, file, &NoVault).and_then(|parsed| parsed.single());
            match parsed {
                Ok((Some(node), _)) if node.as_map().is_some() => {
                    all.push(Value::from(node.to_map()));
                }
                _ => all.push(Value::from(text)),
            }
        }
        let mut literals = Vec::new();
        all.iter().for_each(|value| self::literals(value, &mut literals));
        all.extend(literals);
        secrets.add_value(&Value::from(all));
        *known = (counts, Arc::new(secrets));
        known.1.clone()
    }

    /// The passwords of its vaults.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// What the command line says.
    pub fn options(&self) -> &SiteOptions {
        &self.options
    }

    fn compiled(&self, index: u32) -> Result<&CompiledPlay, String> {
        self.plays.get(index as usize).ok_or_else(|| format!("there is no play number {index}"))
    }

    /// Directories whose `group_vars` and `host_vars` count for a play.
    fn dirs(play: Option<&CompiledPlay>) -> Vec<PathBuf> {
        play.map(|play| play.playbook_dir.clone()).into_iter().collect()
    }

    fn inventory_vars(&self, host: &str, play: Option<&CompiledPlay>) -> Result<Arc<Map>, String> {
        self.inventory.vars(host, &Self::dirs(play)).map_err(|errors| self.sentences(&errors))
    }

    fn sentences(&self, errors: &[debark_playbook::Diagnostic]) -> String {
        let sources = self.inventory.sources();
        let lines: Vec<String> =
            errors.iter().filter(|e| e.is_error()).map(|e| e.one_line(sources)).collect();
        lines.join("; ")
    }

    fn magic(&self, host: &str, dir: Option<&Path>) -> Map {
        let options = &self.options;
        let mut magic = debark_playbook::vars::magic::of_run(&debark_playbook::vars::magic::Run {
            playbook_dir: dir,
            check: options.run.check,
            diff: options.run.diff,
            forks: options.forks,
            verbosity: options.run.verbosity,
            limit: options.limit_text.as_deref(),
            inventory: &options.inventory,
            tags: &options.run.tags,
            skip_tags: &options.run.skip_tags,
        });
        magic.extend(self.inventory.magic(host));
        magic
    }

    /// What expressions about a host see on the controller: its inventory variables, `vars` of the play, `-e`, magic.
    fn scope(&self, inventory: Arc<Map>, play: Map, magic: Map) -> Scope {
        let mut scope = Scope::new();
        scope.push(inventory, LayerKind::Templated);
        scope.push(Arc::new(play), LayerKind::Templated);
        scope.push(self.extra.clone(), LayerKind::Templated);
        scope.push(Arc::new(magic), LayerKind::Plain);
        scope
    }

    /// Whether plays differ in how hosts are reached: then a host's connection may end between two of them.
    fn ways_differ(&self) -> bool {
        let way = |play: &CompiledPlay| {
            let Keywords { connection, remote_user, port, .. } = &play.play.keywords;
            let files = play.vars_files.iter().filter_map(|entry| entry.loaded.as_ref());
            let all = files.chain([&play.vars]).flatten().filter(|(name, _)| name.starts_with("ansible_"));
            let vars: Map = all.map(|(name, value)| (name.clone(), value.clone())).collect();
            (connection.clone(), remote_user.clone(), port.clone(), vars)
        };
        self.plays.windows(2).any(|pair| matches!(pair, [one, other] if way(one) != way(other)))
    }

    /// Whether a play is for a host, as far as its pattern tells without facts.
    fn plays_on(&self, play: &CompiledPlay, host: &str) -> bool {
        let scope = self.scope(Arc::default(), play.vars.clone(), Map::new());
        let mut patterns = Vec::new();
        for pattern in &play.hosts {
            match self.engine.render_str(pattern, &scope) {
                Ok(Value::List(items)) => patterns.extend(items.iter().map(Value::to_string)),
                Ok(other) => patterns.push(other.to_string()),
                Err(_) => return false,
            }
        }
        let selected = self.inventory.select(&patterns.join(":"), &Limit::default());
        selected.is_ok_and(|selected| selected.hosts.iter().any(|name| **name == *host))
    }

    /// The play that runs, if a host has part in it.
    fn current_on(&self, host: &str) -> Option<(u32, &CompiledPlay)> {
        let index = self.current.load(Ordering::Relaxed);
        let play = self.plays.get(index as usize).filter(|play| self.plays_on(play, host));
        play.map(|play| (index, play))
    }

    /// What a host's variables say of its connection, those of the play that runs included; and what they see.
    fn connection(&self, host: &str) -> Result<(Connection, Arc<Map>, Scope), String> {
        self.inventory.add_implicit(host);
        let vars = self.inventory_vars(host, self.plays.first())?;
        let magic = self.magic(host, None);
        let of_play = self.current_on(host).map(|(index, play)| self.play_vars(index, play, &vars, &magic));
        // A file that cannot be read is told of where the play begins.
        let of_play = of_play.and_then(Result::ok).unwrap_or_default();
        let mut all = Map::clone(&vars);
        let above = of_play.iter().chain(self.extra.iter());
        all.extend(above.map(|(name, value)| (name.clone(), value.clone())));
        let scope = self.scope(vars.clone(), of_play, magic);
        let render =
            |value: &Value| self.engine.render_value(value, &scope).map_err(|error| error.to_string());
        Ok((Connection::of(host, &all, &render)?, vars, scope))
    }

    /// Where and how a host is reached.
    ///
    /// # Errors
    /// A connection variable cannot be rendered or means nothing.
    pub fn target(&self, host: &str) -> Result<Target, String> {
        self.target_by(host, &Logins::default())
    }

    /// The same, by the login of a task.
    ///
    /// # Errors
    /// As [`Site::target`].
    pub fn target_by(&self, host: &str, logins: &Logins) -> Result<Target, String> {
        let (connection, vars, scope) = self.connection(host)?;
        let render =
            |value: &Value| self.engine.render_value(value, &scope).map_err(|error| error.to_string());
        let current = self.current_on(host).map(|(_, play)| play);
        // A host that has no part in the play that runs is reached as the first of its own plays says.
        let keyword = |read: fn(&Keywords) -> Option<&Value>| -> Option<String> {
            let mut stating = self.plays.iter().filter(|play| read(&play.play.keywords).is_some());
            let play = current.or_else(|| stating.find(|play| self.plays_on(play, host)))?;
            read(&play.play.keywords).and_then(|value| render(value).ok()).map(|value| value.to_string())
        };
        let port = match (connection.port, keyword(|k| k.port.as_ref())) {
            (Some(port), _) => Some(port),
            (None, None) => None,
            (None, Some(text)) => match text.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(format!("`port` of a play on {host} is `{text}`, which is no port")),
            },
        };
        let local = match connection.kind {
            Some(kind) => kind == Kind::Local,
            None => match keyword(|k| k.connection.as_ref()).as_deref() {
                Some(word) => word.ends_with("local"),
                // As Ansible's implicit localhost: no ssh unless the inventory says where it is.
                None => {
                    matches!(host, "localhost" | "127.0.0.1" | "::1")
                        && connection.host == host
                        && port.is_none()
                }
            },
        };
        let words = |text: Option<String>| -> Result<Vec<String>, String> {
            let Some(text) = text else { return Ok(Vec::new()) };
            debark_modules::shlex::split(&text).map_err(|why| format!("the ssh arguments of {host}: {why}"))
        };
        let mut args = words(connection.ssh_common_args)?;
        args.extend(words(connection.ssh_extra_args)?);
        args.extend(words(self.options.ssh_args.clone())?);
        let vpn = match &connection.vpn {
            None => self.options.vpn.clone(),
            Some(value) => {
                let base = vars.get("inventory_dir").and_then(Value::as_str).unwrap_or(".");
                Vpn::parse(value, Path::new(base))
                    .map_err(|why| format!("`debark_vpn` of host {host} {why}"))?
            }
        };
        let beside = |file: &str| {
            let base = vars.get("inventory_dir").and_then(Value::as_str).unwrap_or(".");
            // ssh knows what `~` is.
            if file.starts_with('~') { PathBuf::from(file) } else { Path::new(base).join(file) }
        };
        let known_hosts = match connection.known_hosts {
            Some(file) => Some(beside(&file)),
            None => self.options.known_hosts.clone(),
        };
        // Whoever keeps host keys beside the inventory wants these to count.
        let known_hosts = known_hosts.or_else(|| Some(beside("known_hosts")).filter(|file| file.is_file()));
        let Logins { variables: said, keywords } = logins.clone();
        let port = said.port.or(connection.port).or(keywords.port).or(port);
        Ok(Target {
            name: host.to_owned(),
            local,
            host: said.host.unwrap_or(connection.host),
            port,
            user: said
                .user
                .or(connection.user)
                .or(keywords.user)
                .or_else(|| keyword(|k| k.remote_user.as_ref()))
                .or_else(|| self.options.user.clone()),
            key: said.key.or(connection.key_file).or_else(|| self.options.private_key.clone()),
            args,
            program: None,
            timeout: self.options.timeout,
            vpn,
            way: None,
            jumps: Vec::new(),
            known_hosts,
            fresh: false,
        })
    }
}
