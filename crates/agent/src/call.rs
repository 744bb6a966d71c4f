//! Calls an action: renders its parameters, and has it run here, as another user, on another host or in the
//! background.

use debark_expr::Scope;
use debark_value::{Map, Value, map};
use debark_wire::{Answer, Become, Invocation, Outcome, Request};

use crate::actions;
use crate::invoke::{failed, invoke};
use crate::run::Running;
use crate::task::{Doing, Done};
use crate::worker::Worker;

impl Running<'_> {
    /// One try of one item.
    pub fn execute(&self, doing: &Doing, scope: &Scope) -> Done {
        let task = doing.task;
        let args = match self.args(doing, scope) {
            Ok(args) => args,
            Err(done) => return *done,
        };
        if let Some(done) = actions::run(self, doing, &args, scope) {
            return done;
        }
        if let Some(reason) = args.values().find_map(Value::unknown) {
            return Done::unknown(reason);
        }
        match self.invocation(doing, task.action.clone(), args, scope) {
            Ok((invocation, target)) => self.dispatch(doing, invocation, target, scope),
            Err(why) => Done::failed(why, None),
        }
    }

    /// The task's rendered parameters: `module_defaults` below, `args:` as one template between, its own above.
    fn args(&self, doing: &Doing, scope: &Scope) -> Result<Map, Box<Done>> {
        let task = doing.task;
        let mut args = Map::new();
        let render = |name: &str, value: &Value| {
            self.on.engine.render_value(value, scope).map_err(|error| {
                let hint = error.hint().map(str::to_owned);
                Box::new(Done::failed(format!("the parameter `{name}` cannot be rendered: {error}"), hint))
            })
        };
        for (module, defaults) in &doing.keywords.module_defaults {
            if debark_modules::short_name(module) != task.action {
                continue;
            }
            if let Value::Map(map) = render(module, defaults)? {
                args.extend(map.iter().map(|(k, v)| (k.clone(), v.clone())));
            }
        }
        if let Some(template) = &task.args_template
            && let Value::Map(map) = render("args", template)?
        {
            args.extend(map.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        for (name, value) in &task.args {
            if actions::takes_raw(&task.action, name) {
                args.insert(name.clone(), value.clone());
            } else {
                let shown = match task.action == "set_fact" && debark_expr::is_template(name) {
                    true => render("name", &Value::from(&**name))?.to_string().into(),
                    false => name.clone(),
                };
                args.insert(shown, render(name, value)?);
            }
        }
        args.retain(|_, value| !matches!(value, Value::Omit));
        if let Some(module) = debark_modules::find(&task.action)
            && let Some(name) = module.spec.rules.free_form
            && let Some(raw) = args.shift_remove("_raw_params")
        {
            args.insert(name.into(), raw);
        }
        Ok(args)
    }

    /// A module call with everything that its keywords say, and where it is to run if not here.
    ///
    /// # Errors
    /// A keyword that cannot be rendered.
    pub fn invocation(
        &self,
        doing: &Doing,
        module: String,
        args: Map,
        scope: &Scope,
    ) -> Result<(Invocation, Option<String>), String> {
        let keywords = &doing.keywords;
        let options = self.play.borrow().host.options.clone();
        let target = match &keywords.delegate_to {
            Some(host) => {
                let host =
                    self.on.engine.render_value(host, scope).map_err(|e| format!("`delegate_to`: {e}"))?;
                Some(host.to_string())
                    .filter(|host| !host.is_empty() && *host != self.play.borrow().host.host)
            }
            None => None,
        };
        let invocation = Invocation {
            module,
            args,
            check: self.flag(&keywords.check_mode, "check_mode", scope)?.unwrap_or(options.check),
            diff: self.flag(&keywords.diff, "diff", scope)?.unwrap_or(options.diff) && !doing.no_log,
            environment: self.environment(doing, scope)?,
            become_: self.becoming(doing, scope)?,
            timeout: self
                .number(&keywords.timeout, "timeout", scope)?
                .filter(|s| *s > 0.0)
                .map(|s| s.ceil() as u64),
            secrets: Vec::new(),
            role_path: self.on.remote.origin.borrow().role_path.clone(),
            no_log: doing.no_log,
            fresh: self.stale.get(),
            foreseen: self.predicted.get(),
        };
        Ok((invocation, target))
    }

    fn environment(&self, doing: &Doing, scope: &Scope) -> Result<Vec<(String, String)>, String> {
        let mut variables = Vec::new();
        for level in &doing.keywords.environment {
            let level =
                self.on.engine.render_value(level, scope).map_err(|e| format!("`environment`: {e}"))?;
            let maps = match &level {
                Value::List(maps) => maps.to_vec(),
                other => vec![other.clone()],
            };
            for map in &maps {
                let Some(map) = map.as_map() else { continue };
                for (name, value) in map {
                    variables.retain(|(known, _): &(String, String)| **known != **name);
                    variables.push((name.to_string(), value.to_string()));
                }
            }
        }
        Ok(variables)
    }

    /// Whom to become: `ansible_become*` variables above keywords, as documented.
    fn becoming(&self, doing: &Doing, scope: &Scope) -> Result<Option<Become>, String> {
        let keywords = &doing.keywords;
        let variable = |name: &str| -> Result<Option<Value>, String> {
            if scope.get_raw(name).is_none() {
                return Ok(None);
            }
            self.on.engine.eval(name, scope).map(Some).map_err(|e| format!("`{name}`: {e}"))
        };
        let setting = |name: &str, keyword: &Option<Value>| -> Result<Option<String>, String> {
            let value = match (variable(name)?, keyword) {
                (Some(value), _) => Some(value),
                (None, Some(value)) => {
                    Some(self.on.engine.render_value(value, scope).map_err(|e| format!("`{name}`: {e}"))?)
                }
                (None, None) => None,
            };
            Ok(value
                .filter(|v| !v.is_null() && !matches!(v, Value::Omit))
                .map(|v| v.to_string())
                .filter(|v| !v.is_empty()))
        };
        let wanted = match variable("ansible_become")? {
            Some(value) => value.to_bool().map_err(|e| format!("`ansible_become` {e}"))?,
            None => self.flag(&keywords.become_, "become", scope)?.unwrap_or(false),
        };
        if !wanted {
            return self.remote_user(doing, scope);
        }
        let become_ = Become {
            method: setting("ansible_become_method", &keywords.become_method)?
                .map(|method| debark_modules::short_name(&method).to_owned())
                .unwrap_or_else(|| "sudo".into()),
            user: setting("ansible_become_user", &keywords.become_user)?.unwrap_or_else(|| "root".into()),
            exe: setting("ansible_become_exe", &keywords.become_exe)?,
            flags: setting("ansible_become_flags", &keywords.become_flags)?,
        };
        if !matches!(become_.method.as_str(), "sudo" | "su" | "doas") {
            return Err(format!("become_method `{}` is not known (sudo, su and doas are)", become_.method));
        }
        Ok(Some(become_).filter(|b| b.user != self.on.user))
    }

    /// `remote_user` of a task, where the connection is another user's: root can be anybody.
    fn remote_user(&self, doing: &Doing, scope: &Scope) -> Result<Option<Become>, String> {
        let named = ["ansible_user", "ansible_ssh_user"].iter().any(|name| scope.get_raw(name).is_some());
        let Some(user) = doing.keywords.remote_user.as_ref().filter(|_| !named) else { return Ok(None) };
        let user = self.on.engine.render_value(user, scope).map_err(|e| format!("`remote_user`: {e}"))?;
        let user = user.to_string();
        if user.is_empty() || user == self.on.user || self.play.borrow().host.local {
            return Ok(None);
        }
        if self.on.user != "root" {
            return Err(format!(
                "the task is for the user {user}, but the connection is {}'s: `remote_user` belongs to the play, or use `become_user`",
                self.on.user
            ));
        }
        Ok(Some(Become { method: "su".into(), user, exe: None, flags: None }))
    }

    fn password(&self, become_: &Become, scope: &Scope) -> Option<String> {
        let names = ["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"];
        let from_vars = names.iter().find_map(|name| {
            scope.get_raw(name)?;
            self.on.engine.eval(name, scope).ok().map(|value| value.to_string())
        });
        let play = self.play.borrow();
        let given = || {
            let known = &play.host.become_passwords;
            known
                .iter()
                .find(|(user, _)| *user == become_.user || user == "*")
                .map(|(_, password)| password.clone())
        };
        let password = from_vars.filter(|text| !text.is_empty()).or_else(given)?;
        self.on.secrets.borrow_mut().add(&password);
        Some(password)
    }

    /// Runs a call where it belongs and takes up what it yields.
    pub fn dispatch(
        &self,
        doing: &Doing,
        mut invocation: Invocation,
        target: Option<String>,
        scope: &Scope,
    ) -> Done {
        if let Some(done) = actions::background(self, doing, &invocation, scope) {
            return done;
        }
        let check = invocation.check;
        let outcome = match target {
            Some(host) => {
                invocation.secrets = self.on.secrets.borrow().needles().to_vec();
                self.delegate(doing, host, invocation, scope)
            }
            None => self.here(doing.task.id, &invocation, scope),
        };
        let mut outcome = match outcome {
            Ok(outcome) => outcome,
            Err(why) => failed(why, None, Map::new()),
        };
        if outcome.unknown.is_some() && !self.check() {
            // A task's own check mode in a run that is none: nothing will ever be known of it but that it was left out.
            outcome.unknown = None;
            let left_out = map! {
                "skipped" => true, "rc" => 0, "stdout" => "", "stderr" => "",
                "msg" => "Command would have run if not in check mode",
            };
            outcome.result.extend(left_out);
        }
        // What fails only because check mode left out what comes before it (a service of a package that would be
        // installed) is not known to fail.
        if outcome.failed && check && self.predicted.get() {
            let msg = outcome.result.get("msg").map(Value::to_string).unwrap_or_default();
            return Done::unknown(&format!(
                "it fails now ({msg}), but earlier tasks would change the host first"
            ));
        }
        self.take_facts(doing, &outcome, scope);
        Done::of(outcome)
    }

    fn delegate(
        &self,
        doing: &Doing,
        host: String,
        invocation: Invocation,
        scope: &Scope,
    ) -> Result<Outcome, String> {
        if !invocation.check {
            self.gate(doing.task.id)?;
        }
        let task = doing.task.id;
        let request = Request::Delegate { task, host: host.clone(), invocation: Box::new(invocation) };
        let answer = self.on.link.request(request)?;
        let Answer::Outcome(outcome) = answer else {
            return Err("the controller did not answer a delegated task with an outcome".into());
        };
        let facts_are_theirs =
            self.flag(&doing.keywords.delegate_facts, "delegate_facts", scope)?.unwrap_or(false);
        if facts_are_theirs && let Some(facts) = outcome.result.get("ansible_facts").and_then(Value::as_map) {
            self.on.link.request(Request::SetFacts { task, host, facts: facts.clone(), set: false })?;
        }
        Ok(*outcome)
    }

    /// Runs a call on this host, as whom it says.
    fn here(&self, task: u32, invocation: &Invocation, scope: &Scope) -> Result<Outcome, String> {
        let gate = || self.gate(task);
        let outcome = match &invocation.become_ {
            Some(become_) => {
                let password = self.password(become_, scope);
                let mut workers = self.on.workers.borrow_mut();
                let outcome =
                    workers.get(become_, password.as_deref())?.run(invocation, &self.on.remote, &gate);
                let killed = |outcome: &Outcome| outcome.result.contains_key("timedout");
                if outcome.as_ref().map_or(true, killed) {
                    workers.discard(become_);
                }
                let outcome = outcome?;
                if outcome.changed && !invocation.check {
                    self.on.host.forget_all();
                }
                return Ok(outcome);
            }
            None if invocation.timeout.is_some() => {
                let outcome = Worker::start(None, None)?.run(invocation, &self.on.remote, &gate)?;
                self.on.host.forget_all();
                outcome
            }
            None => invoke(&self.on.host, invocation, &gate),
        };
        // Workers keep what they have read; from here on they must read again.
        if outcome.changed && !invocation.check {
            self.stale.set(true);
        }
        Ok(outcome)
    }

    /// The host that gets a task's facts, if it is another one (`delegate_facts`).
    ///
    /// # Errors
    /// A keyword cannot be rendered.
    pub fn facts_go_to(&self, doing: &Doing, scope: &Scope) -> Result<Option<String>, String> {
        let Some(host) = &doing.keywords.delegate_to else { return Ok(None) };
        if !self.flag(&doing.keywords.delegate_facts, "delegate_facts", scope)?.unwrap_or(false) {
            return Ok(None);
        }
        let host = self.on.engine.render_value(host, scope).map_err(|e| format!("`delegate_to`: {e}"))?;
        Ok(Some(host.to_string()).filter(|host| *host != self.play.borrow().host.host))
    }

    /// Waits until every other host of the batch has passed the tasks before this one.
    ///
    /// # Errors
    /// The run is to stop, or the connection is gone.
    pub fn gate(&self, task: u32) -> Result<(), String> {
        match self.pass(task)? {
            Answer::Fail => Err("another host failed, and this one has to fail with it".into()),
            _ => Ok(()),
        }
    }

    /// As [`Running::gate`]; the answer may be [`Answer::Fail`].
    ///
    /// # Errors
    /// The run is to stop, or the connection is gone.
    pub fn pass(&self, task: u32) -> Result<Answer, String> {
        self.barrier(task).map_or(Ok(Answer::Done), |request| self.on.link.request(request))
    }

    /// What to ask before a task of hosts that go in step.
    pub fn barrier(&self, task: u32) -> Option<Request> {
        let play = self.play.borrow();
        let alone = play.play.free || play.host.batch.len() <= 1;
        (!alone).then_some(Request::Barrier { play: play.play.index, task })
    }

    /// Facts that a module returns become variables.
    fn take_facts(&self, doing: &Doing, outcome: &Outcome, scope: &Scope) {
        let Some(facts) = outcome.result.get("ansible_facts").and_then(Value::as_map) else { return };
        if self.flag(&doing.keywords.delegate_facts, "delegate_facts", scope).ok().flatten().unwrap_or(false)
        {
            return;
        }
        self.on.state.borrow_mut().returned(facts.clone());
        self.share(|| (*self.on.state.borrow().fact_vars).clone());
    }
}
