//! Plays as the engine runs them: hosts, batches, and each host's part.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use debark_playbook::compile::{Prompt, Selection, foreseeable};
use debark_playbook::vars::prompt::{self, Terminal};
use debark_playbook::{CompiledPlay, Diagnostic};
use debark_value::{Map, Value};
use debark_wire::{HostPlay, Login, Node, Play, Task};

use super::{Site, fetches, lock, terminal};
use crate::batch::{Order, Size, ordered};
use crate::world::PlaySpec;

impl Site {
    /// The play of that number, as the inventory is now.
    pub(super) fn spec(&self, index: u32, _: &BTreeSet<String>) -> Result<PlaySpec, String> {
        let compiled = self.compiled(index)?;
        self.current.store(index, Ordering::Relaxed);
        lock(&self.services.dir).clone_from(&compiled.playbook_dir);
        let magic = self.magic("localhost", Some(&compiled.playbook_dir));
        let scope = self.scope(Arc::default(), compiled.vars.clone(), magic);
        let place =
            format!("{}:{}", compiled.play.files.first().map_or("?", String::as_str), compiled.span.line);
        let render = |value: &Value, keyword: &str| {
            self.engine.render_value(value, &scope).map_err(|error| format!("{place}: `{keyword}`: {error}"))
        };
        let mut patterns = Vec::new();
        for pattern in &compiled.hosts {
            match render(&pattern.as_str().into(), "hosts")? {
                Value::List(items) => patterns.extend(items.iter().map(Value::to_string)),
                other => patterns.push(other.to_string()),
            }
        }
        let selected = self
            .inventory
            .select(&patterns.join(":"), &self.options.limit)
            .map_err(|error| format!("{place}: {}", error.message))?;
        let order = match &compiled.order {
            Some(order) => {
                Order::parse(&render(order, "order")?.to_string()).map_err(|why| format!("{place}: {why}"))?
            }
            None => Order::default(),
        };
        let mut serial = Vec::new();
        for size in &compiled.serial {
            let sizes = match render(size, "serial")? {
                Value::List(items) => items.to_vec(),
                other => vec![other],
            };
            for size in sizes {
                serial.push(Size::parse(&size.to_string()).map_err(|why| format!("{place}: {why}"))?);
            }
        }
        let max_fail_percentage = match &compiled.max_fail_percentage {
            Some(value) => Some(
                render(value, "max_fail_percentage")?
                    .to_float()
                    .map_err(|e| format!("{place}: `max_fail_percentage` {e}"))?,
            ),
            None => None,
        };
        let any_errors_fatal = match &compiled.any_errors_fatal {
            Some(value) => render(value, "any_errors_fatal")?
                .to_bool()
                .map_err(|e| format!("{place}: `any_errors_fatal` {e}"))?,
            None => false,
        };
        let ignore_unreachable = match &compiled.play.keywords.ignore_unreachable {
            Some(value) => render(value, "ignore_unreachable")?
                .to_bool()
                .map_err(|e| format!("{place}: `ignore_unreachable` {e}"))?,
            None => false,
        };
        self.prompt(index, compiled)?;
        let mut play = compiled.play.clone();
        play.index = index;
        // Without lockstep, hosts do not fail with others (Ansible's strategy/free.py).
        let any_errors_fatal = any_errors_fatal && !play.free;
        let max_fail_percentage = max_fail_percentage.filter(|_| !play.free);
        play.lockstep |= any_errors_fatal || max_fail_percentage.is_some() || self.options.run.step;
        // The agent that comes after it must know what this one did.
        play.share_vars |= self.ways_differ();
        self.command_line_become(&mut play);
        let mut tasks = Tasks::default();
        play.tasks.iter().for_each(|node| tasks.add(node));
        let shared = tasks.ids.len();
        play.handlers.iter().for_each(|node| tasks.add(node));
        tasks.ids.truncate(shared);
        let hosts: Vec<String> = selected.hosts.iter().map(|host| host.to_string()).collect();
        let mut fetching = Vec::new();
        fetches::collect(&play.tasks, &[], &mut fetching);
        fetches::collect(&play.handlers, &[], &mut fetching);
        let role = |index: u32| play.roles.get(index as usize);
        self.declare((compiled, index), &fetching, &hosts, &role, true)?;
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| u64::from(t.subsec_nanos()));
        Ok(PlaySpec {
            index,
            name: if play.name.is_empty() {
                patterns.join(":")
            } else {
                render(&play.name.as_str().into(), "name")
                    .map_or_else(|_| play.name.clone(), |name| name.to_string())
            },
            shared: debark_wire::encode(&play).map_err(|error| format!("{place}: {error}"))?.into(),
            warnings: self.oddities(&self.untold(index, compiled, selected.warnings), hosts.is_empty()),
            active: Vec::new(),
            hosts: ordered(hosts, order, seed),
            serial,
            tasks: tasks.ids,
            forgives: tasks.forgives,
            delegates: tasks.delegates,
            max_fail_percentage,
            any_errors_fatal,
            ignore_unreachable,
            // Facts cannot be had of such a host, and not having them ends the play for it.
            forbearing: tasks.forbearing && !play.gather.enabled,
            fetches: self.fetches(index, &compiled.playbook_dir),
            patience: (!play.gather.enabled).then(|| patience(&play.tasks)).flatten(),
        })
    }

    /// Without what was told before the run.
    fn untold(&self, index: u32, compiled: &CompiledPlay, mut warnings: Vec<Diagnostic>) -> Vec<Diagnostic> {
        if self.options.patterns_told && (index as usize) < foreseeable(&self.plays) {
            let told = self.inventory.unmatched(&compiled.hosts, &compiled.host_spans);
            warnings.retain(|warning| !told.iter().any(|told| told.message == warning.message));
        }
        warnings
    }

    /// What to tell of a play's pattern.
    fn oddities(&self, warnings: &[Diagnostic], nobody: bool) -> Vec<String> {
        if nobody && self.inventory.hosts().is_empty() {
            return vec![
                "there are no hosts but this one, which `all` does not mean: name an inventory with -i"
                    .into(),
            ];
        }
        let one = |warning: &Diagnostic| match &warning.hint {
            Some(hint) => format!("{} ({hint})", warning.message),
            None => warning.message.clone(),
        };
        warnings.iter().map(one).collect()
    }

    fn command_line_become(&self, play: &mut Play) {
        let keywords = &mut play.keywords;
        if self.options.become_ {
            keywords.become_.get_or_insert(Value::Bool(true));
        }
        if let Some(user) = &self.options.become_user {
            keywords.become_user.get_or_insert(user.as_str().into());
        }
        if let Some(method) = &self.options.become_method {
            keywords.become_method.get_or_insert(method.as_str().into());
        }
    }

    /// Asks what `vars_prompt` wants to know, once per play.
    fn prompt(&self, index: u32, compiled: &CompiledPlay) -> Result<(), String> {
        if lock(&self.prompted).contains_key(&index) {
            return Ok(());
        }
        let mut ask = |text: &str, private: bool| terminal::ask(text, !private);
        let hash = |text: &str, prompt: &Prompt| self.hashed(text, prompt);
        let asking =
            Terminal { ask: terminal::is_terminal().then_some(&mut ask as prompt::Ask<'_>), hash: &hash };
        let answers = prompt::ask(&compiled.vars_prompt, &self.extra, asking).map_err(|wrong| {
            [Some(wrong.message), wrong.hint.map(String::from)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; ")
        })?;
        answers.secrets.iter().for_each(|text| lock(&self.secrets).add(text));
        lock(&self.prompted).insert(index, answers.vars);
        Ok(())
    }

    /// What `encrypt` of a prompt makes of an answer.
    fn hashed(&self, text: &str, prompt: &Prompt) -> Result<String, String> {
        let mut vars = Map::new();
        vars.insert("answer".into(), text.into());
        vars.insert("salt".into(), prompt.salt.clone().into());
        vars.insert("scheme".into(), prompt.encrypt.clone().into());
        let salt = match (&prompt.salt, prompt.salt_size) {
            (Some(_), _) => ", salt".to_owned(),
            (None, Some(size)) => format!(", salt_size={size}"),
            (None, None) => String::new(),
        };
        let mut scope = debark_expr::Scope::new();
        scope.push(Arc::new(vars), debark_expr::LayerKind::Plain);
        let hash = self.engine.eval(&format!("answer | password_hash(scheme{salt})"), &scope);
        hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
    }

    /// One host's part of a play.
    pub(super) fn part(
        &self,
        spec: &PlaySpec,
        host: &str,
        batch: &[String],
        known: &Map,
    ) -> Result<HostPlay, String> {
        let compiled = self.compiled(spec.index)?;
        let inventory = self.inventory_vars(host, Some(compiled))?;
        let mut magic = self.magic(host, Some(&compiled.playbook_dir));
        let names = |hosts: &[String]| Value::list(hosts.iter().map(String::as_str));
        magic.insert("ansible_play_hosts_all".into(), names(&spec.hosts));
        magic.insert("ansible_play_hosts".into(), names(&spec.active));
        magic.insert("ansible_play_batch".into(), names(batch));
        magic.insert("play_hosts".into(), names(batch));
        magic.insert("ansible_play_name".into(), spec.name.as_str().into());
        magic.insert(
            "ansible_play_role_names".into(),
            Value::list(compiled.role_names.iter().map(String::as_str)),
        );
        magic
            .insert("ansible_role_names".into(), Value::list(compiled.role_names.iter().map(String::as_str)));
        magic.insert("role_names".into(), Value::list(compiled.role_names.iter().map(String::as_str)));
        let play_vars = self.play_vars(spec.index, compiled, &inventory, &magic)?;
        let target = self.target(host).ok();
        lock(&self.steps).begin();
        let mut inventory = Map::clone(&inventory);
        if let Some(managed) = &self.options.managed {
            inventory.entry("ansible_managed".into()).or_insert_with(|| managed.as_str().into());
        }
        let mut part = HostPlay {
            absent: None,
            host: host.to_owned(),
            inventory,
            play_vars,
            magic,
            restored: known.clone(),
            resumed: None,
            local: target.as_ref().is_some_and(|target| target.local),
            login: target
                .map(|target| Login { user: target.user, port: target.port, ..Login::default() })
                .unwrap_or_default(),
            secrets: Vec::new(),
            options: self.options.run.clone(),
            batch: batch.to_vec(),
            first: batch.first().is_some_and(|first| first == host),
            become_passwords: self
                .options
                .become_password
                .iter()
                .map(|password| ("*".to_owned(), password.clone().into()))
                .collect(),
        };
        self.needed(spec, compiled, &mut part);
        part.secrets = self.own_secrets(spec, &part)?;
        Ok(part)
    }

    /// What a host must not show: of all secrets only those that it is sent anyway, in the play or in its own part. The
    /// others are none of its business.
    fn own_secrets(&self, spec: &PlaySpec, part: &HostPlay) -> Result<Vec<String>, String> {
        let secrets = self.known_secrets();
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        let count = secrets.needles().len();
        let mut shared = lock(&self.shared_secrets);
        let shared = match shared.get(&spec.index) {
            Some((known, found)) if *known == count => found.clone(),
            _ => {
                let found = secrets.within(&spec.shared);
                shared.insert(spec.index, (count, found.clone()));
                found
            }
        };
        let bytes = debark_wire::encode(part).map_err(|error| error.to_string())?;
        let mut own = secrets.within(&bytes);
        own.extend(shared);
        own.sort_unstable();
        own.dedup();
        Ok(own)
    }

    /// The variables of a play for a host: `vars`, answers to `vars_prompt`, `vars_files`.
    pub(super) fn play_vars(
        &self,
        index: u32,
        compiled: &CompiledPlay,
        inventory: &Arc<Map>,
        magic: &Map,
    ) -> Result<Map, String> {
        let mut vars = compiled.vars.clone();
        vars.extend(lock(&self.prompted).get(&index).cloned().unwrap_or_default());
        self.vars_files(compiled, inventory, &mut vars, magic)?;
        Ok(vars)
    }

    fn vars_files(
        &self,
        compiled: &CompiledPlay,
        inventory: &Arc<Map>,
        play_vars: &mut Map,
        magic: &Map,
    ) -> Result<(), String> {
        for entry in &compiled.vars_files {
            if let Some(loaded) = &entry.loaded {
                play_vars.extend(loaded.iter().map(|(k, v)| (k.clone(), v.clone())));
                continue;
            }
            let scope = self.scope(inventory.clone(), play_vars.clone(), magic.clone());
            let mut tried = Vec::new();
            let mut read = None;
            for candidate in &entry.candidates {
                // A name that needs facts cannot be known here; the next candidate may do.
                let Ok(name) = self.engine.render_str(candidate, &scope) else {
                    tried.push(candidate.clone());
                    continue;
                };
                let path = compiled.playbook_dir.join(name.to_string());
                tried.push(path.display().to_string());
                if path.is_file() {
                    let loaded = self.compiler.vars_file(&path);
                    read = Some(loaded.map_err(|error| error.one_line(self.compiler.sources()))?.0);
                    break;
                }
            }
            let vars = read.ok_or_else(|| format!("`vars_files`: none of {} is there", tried.join(", ")))?;
            play_vars.extend(vars);
        }
        Ok(())
    }

    /// Whether tags were given that the run selects by.
    pub fn selection(&self) -> &Selection {
        &self.compiler.options().selection
    }
}

/// For how long hosts need not answer: the first task's `timeout`, if that is `wait_for_connection`.
fn patience(nodes: &[Node]) -> Option<u64> {
    let task = first(nodes).filter(|task| task.action == "wait_for_connection")?;
    // The module's own default.
    let timeout = task.args.get("timeout").map_or(Ok(600.0), Value::to_float);
    timeout.ok().map(|seconds| seconds.clamp(0.0, 86_400.0) as u64)
}

fn first(nodes: &[Node]) -> Option<&Task> {
    nodes.iter().find_map(|node| match node {
        Node::Block(block) => first(&block.block),
        Node::Task(task) => Some(&**task).filter(|task| task.action != "meta"),
    })
}

#[derive(Default)]
struct Tasks {
    ids: Vec<u32>,
    forgives: bool,
    delegates: bool,
    forbearing: bool,
}

impl Tasks {
    fn add(&mut self, node: &Node) {
        match node {
            Node::Task(task) => {
                self.ids.push(task.id);
                self.forbearing |= task.keywords.ignore_unreachable.is_some();
                // What an include brings is not known yet.
                self.delegates |= task.keywords.delegate_to.is_some()
                    || matches!(task.action.as_str(), "include_tasks" | "include_role");
                self.forgives |= task.action == "meta"
                    && task.args.get("free_form").and_then(Value::as_str) == Some("clear_host_errors");
            }
            Node::Block(block) => {
                self.delegates |= block.keywords.delegate_to.is_some();
                self.forbearing |= block.keywords.ignore_unreachable.is_some();
                block.block.iter().chain(&block.rescue).chain(&block.always).for_each(|node| self.add(node));
            }
        }
    }
}
