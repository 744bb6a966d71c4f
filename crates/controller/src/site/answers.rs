//! Answers to hosts: files, includes, lookups, inventory changes, prompts.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use debark_playbook::CompiledPlay;
use debark_playbook::compile::Asking;
use debark_value::secrets::Secrets;
use debark_value::{Map, Value};
use debark_wire::{Answer, HostPlay, Logins, Password, Request};
use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::{Site, fetches, lock, terminal};
use crate::lookups::{self, Around};
use crate::world::{Content, PlaySpec, Route, World};

impl World for Site {
    fn plays(&self) -> u32 {
        u32::try_from(self.plays.len()).unwrap_or(u32::MAX)
    }

    fn play(&self, index: u32, gone: &BTreeSet<String>) -> Result<PlaySpec, String> {
        self.spec(index, gone)
    }

    fn host_play(
        &self,
        play: &PlaySpec,
        host: &str,
        batch: &[String],
        known: &Map,
    ) -> Result<HostPlay, String> {
        self.part(play, host, batch, known)
    }

    fn local(&self, host: &str) -> bool {
        self.target(host).is_ok_and(|target| target.local)
    }

    fn route(&self, host: &str, logins: &Logins) -> Route {
        match self.target_by(host, logins) {
            Ok(target) => Route { way: format!("{target:?}"), address: target.address() },
            Err(why) => Route { way: why, address: host.to_owned() },
        }
    }

    fn become_password(&self, host: &str) -> Option<Password> {
        let own = self.connection(host).ok().and_then(|(connection, ..)| connection.become_password);
        own.map(Zeroizing::new).or_else(|| self.options.become_password.clone()).map(Into::into)
    }

    fn permit(&self, play: u32, host: &str, request: &Request) -> Result<(), String> {
        self.bounded(play, host, request)
    }

    fn host_vars(&self, play: u32, asker: &str, host: &str, known: &Map) -> Result<Map, String> {
        if !self.inventory.has_host(host) {
            return Err(format!("there is no host `{host}` in the inventory"));
        }
        let mentioned = self.mentioned(play, asker)?;
        let compiled = self.plays.get(play as usize);
        let vars = self.inventory_vars(host, compiled)?;
        let magic = self.magic(host, compiled.map(|play| play.playbook_dir.as_path()));
        let scope = self.scope(vars.clone(), Map::new(), magic.clone());
        // A variable that cannot be rendered for that host must not hide the others.
        let render =
            |value: &Value| self.engine.render_value(value, &scope).unwrap_or_else(|_| value.clone());
        let seen = |name: &str| mentioned.variable(name);
        let mut all: Map = vars
            .iter()
            .filter(|(name, _)| seen(name))
            .map(|(name, value)| (name.clone(), render(value)))
            .collect();
        // What every host knows of all others.
        all.extend(magic);
        all.extend(
            known.iter().filter(|(name, _)| seen(name)).map(|(name, value)| (name.clone(), value.clone())),
        );
        Ok(all)
    }

    fn answer(&self, play: u32, host: &str, request: Request) -> Result<Answer, String> {
        let (mut place, mut lookup) = (None, None);
        match &request {
            Request::Find { place: at, .. } => place = Some(*at),
            Request::Lookup { name, .. } => lookup = Some(name.clone()),
            _ => {}
        }
        let answer = self.fulfil(play, host, request)?;
        self.answered(play, host, place, lookup.as_deref(), &answer);
        Ok(answer)
    }

    fn groups(&self, host: &str) -> Map {
        let mut magic = self.inventory.magic(host);
        magic.retain(|name, _| matches!(&**name, "groups" | "group_names"));
        magic
    }

    fn content(&self, sha256: &str) -> Result<Content, String> {
        self.compiler.content(sha256)
    }

    fn secrets(&self) -> Arc<Secrets> {
        self.known_secrets()
    }

    fn taint(&self, texts: Vec<String>) {
        let texts = texts.into_iter().map(Value::from).collect::<Vec<_>>();
        lock(&self.secrets).add_value(&Value::from(texts));
    }
}

impl Site {
    fn fulfil(&self, play: u32, host: &str, request: Request) -> Result<Answer, String> {
        let compiled = self.compiled(play)?;
        let dir = &compiled.playbook_dir;
        match request {
            Request::Find { path, place, role_path, task_dir } => {
                let found = self.compiler.find(
                    &path,
                    place,
                    dir,
                    role_path.as_deref().map(Path::new),
                    task_dir.as_deref().map(Path::new),
                );
                found.map(Answer::Tree)
            }
            Request::Lookup { name, args, kwargs, .. }
                if debark_expr::Engine::asks_filter(&name).is_some() =>
            {
                let filter = debark_expr::Engine::asks_filter(&name).unwrap_or_default();
                let answer = self.engine.answer_filter(filter, &args, &kwargs);
                answer.map(Answer::Value).map_err(|error| error.to_string())
            }
            Request::Lookup { name, args, .. } if name == debark_expr::TERA => {
                lookups::tera(&args).map(Answer::Value)
            }
            Request::Lookup { name, args, .. } if name == "inventory_hostnames" => {
                lookups::inventory_hostnames(&self.inventory, &args).map(super::single).map(Answer::Value)
            }
            Request::Lookup { name, args, kwargs, role_path } => {
                let around = Around {
                    playbook_dir: dir,
                    role_path: role_path.as_deref().map(Path::new),
                    vault: Some(&self.vault),
                };
                let value = super::single(lookups::lookup(&name, &args, &kwargs, around)?);
                if name == "password" {
                    lock(&self.secrets).add_value(&value);
                }
                Ok(Answer::Value(value))
            }
            Request::IncludeTasks { file, role_path, from, role, tags, handlers, next } => {
                let asking = Asking {
                    playbook_dir: dir,
                    collections: &compiled.collections,
                    role_path: role_path.as_deref().map(Path::new),
                    role,
                    from: &from,
                    tags: &tags,
                    handlers,
                    next,
                    vars: Map::new(),
                };
                self.included((compiled, play, host), next.role, self.compiler.include_tasks(&asking, &file))
            }
            Request::IncludeRole { name, options, parent, role_path, tags, next, .. } => {
                let asking = Asking {
                    playbook_dir: dir,
                    collections: &compiled.collections,
                    role_path: role_path.as_deref().map(Path::new),
                    role: parent,
                    from: compiled.play.files.first().map_or("", String::as_str),
                    tags: &tags,
                    handlers: false,
                    next,
                    vars: Map::new(),
                };
                let included = self.compiler.include_role(&asking, &name, &options, &Map::new());
                self.included((compiled, play, host), next.role, included)
            }
            Request::IncludeVars { args, role_path } => {
                let included =
                    self.compiler.include_vars(&args, dir, role_path.as_deref().map(Path::new), None)?;
                self.untouched(&self.fetches(play, dir), &included.files)?;
                lock(&self.secrets).add_value(&Value::from(included.secrets.clone()));
                Ok(Answer::Value(included.answer()))
            }
            Request::RefreshInventory => {
                self.inventory.refresh().map_err(|errors| {
                    let why: Vec<String> = errors.iter().map(|error| error.message.clone()).collect();
                    format!("the inventory cannot be read anew: {}", why.join("; "))
                })?;
                Ok(Answer::Value(true.into()))
            }
            Request::AddHost { hosts, groups, parents, vars } => {
                let mut changed = false;
                for host in &hosts {
                    if parents.is_empty() {
                        changed |= self.inventory.add_host(host, &groups, &vars)?;
                    } else {
                        for group in &groups {
                            changed |= self.inventory.group_by(host, group, &parents)?;
                        }
                    }
                }
                Ok(Answer::Value(changed.into()))
            }
            Request::Pause { prompt, seconds, echo } => pause(prompt.as_deref(), seconds, echo),
            Request::StoredSha1 { dest } => {
                let path = self.fetches(play, dir).allow(&dest)?;
                sha1(&path).map(Answer::Value)
            }
            // A host must not ask just because it wants to.
            Request::Step { task, name } if self.options.run.step => {
                let name = self.known_secrets().scrub(&name);
                let runs = lock(&self.steps).may(play, task, &name, host)?;
                Ok(if runs { Answer::Run } else { Answer::Done })
            }
            Request::Debug { name, text } => {
                let secrets = self.known_secrets();
                self.debugging.command(host, &secrets.scrub(&name), &secrets.scrub(&text))
            }
            other => Err(format!("this controller cannot answer a request of this kind ({})", word(&other))),
        }
    }

    fn included(
        &self,
        (compiled, play, host): (&CompiledPlay, u32, &str),
        first_role: u32,
        included: Result<debark_wire::Included, Vec<debark_playbook::Diagnostic>>,
    ) -> Result<Answer, String> {
        let one_line = |e: &debark_playbook::Diagnostic| e.one_line(self.compiler.sources());
        match included {
            Ok(included) => {
                self.untouched(&self.fetches(play, &compiled.playbook_dir), &included.files)?;
                let mut fetching = Vec::new();
                fetches::collect(&included.tasks, &[], &mut fetching);
                fetches::collect(&included.handlers, &[], &mut fetching);
                let role = |index: u32| match index.checked_sub(first_role) {
                    Some(new) => included.roles.get(new as usize),
                    None => compiled.play.roles.get(index as usize),
                };
                // The host gave the parameters of the role, so they must not say where it may write.
                self.declare((compiled, play), &fetching, &[host.to_owned()], &role, false)?;
                Ok(Answer::Tasks(Box::new(included)))
            }
            Err(errors) => {
                Err(errors.iter().filter(|e| e.is_error()).map(one_line).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

fn pause(prompt: Option<&str>, seconds: Option<u64>, echo: bool) -> Result<Answer, String> {
    if !terminal::is_terminal() {
        // Nobody is there to press a key: as Ansible does, go on (after the time, if one was given).
        std::thread::sleep(std::time::Duration::from_secs(seconds.unwrap_or(0)));
        return Ok(Answer::Value(Value::from("")));
    }
    let question = format!("{}: ", prompt.unwrap_or("press Enter to go on"));
    let typed = match seconds {
        Some(seconds) => terminal::ask_for(&question, echo, std::time::Duration::from_secs(seconds)),
        None => terminal::ask(&question, echo),
    };
    typed.map(|typed| Answer::Value(Value::from(typed))).map_err(|error| error.to_string())
}

/// SHA-1 of a file, in hex; null if it is not there.
fn sha1(path: &Path) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Value::Null),
        Err(error) => return Err(failed(error)),
    };
    let mut hash = Sha1::new();
    let mut part = vec![0; 1 << 16];
    loop {
        match file.read(&mut part).map_err(failed)? {
            0 => break,
            count => hash.update(part.get(..count).unwrap_or_default()),
        }
    }
    Ok(Value::from(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn word(request: &Request) -> &'static str {
    match request {
        Request::Reconnect { .. } => "reconnect",
        _ => "unexpected",
    }
}
