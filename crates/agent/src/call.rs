//! Calls an action: renders its parameters, and has it run here, as another user, on another host or in the
//! background.

use debark_expr::Scope;
use debark_value::{Map, Value, map};
use debark_wire::{Answer, Invocation, Outcome, Request};
use zeroize::Zeroizing;

use crate::actions;
use crate::invoke::{failed, invoke, unreachable};
use crate::login::Elsewhere;
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
        if let Some(outcome) = self.absent().filter(|_| actions::needs_host(&task.action)) {
            match self.elsewhere(doing, scope) {
                Ok(None) => return Done::of(outcome),
                Ok(Some(_)) => {}
                Err(done) => return *done,
            }
        }
        if let Some(done) = actions::run(self, doing, &args, scope) {
            return done;
        }
        if let Some(reason) = args.values().find_map(Value::unknown) {
            return Done::unknown(reason);
        }
        match self.invocation(doing, task.action.clone(), args, scope) {
            Ok((invocation, elsewhere)) => self.dispatch(doing, invocation, elsewhere, scope),
            Err(done) => *done,
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
        if let Some(template) = &task.args_template {
            match render("args", template)? {
                Value::Map(map) => args.extend(map.iter().map(|(k, v)| (k.clone(), v.clone()))),
                Value::Null | Value::Omit => {}
                // `include_vars: "{{ file }}"`
                free_form => drop(args.insert("_raw_params".into(), free_form)),
            }
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
    ) -> Result<(Invocation, Option<Elsewhere>), Box<Done>> {
        let keywords = &doing.keywords;
        let options = self.play.borrow().host.options.clone();
        let elsewhere = self.elsewhere(doing, scope)?;
        let delegate = elsewhere.as_ref().filter(|elsewhere| !elsewhere.own);
        *doing.delegated.borrow_mut() = delegate.map(|elsewhere| elsewhere.host.clone());
        let check = self.flag(&keywords.check_mode, "check_mode", scope)?.unwrap_or(options.check);
        let invocation = Invocation {
            module,
            args,
            check,
            diff: self.flag(&keywords.diff, "diff", scope)?.unwrap_or(options.diff) && !doing.no_log,
            environment: self.environment(doing, scope)?,
            become_: self.becoming(doing, scope, elsewhere.as_ref())?,
            timeout: self
                .number(&keywords.timeout, "timeout", scope)?
                .filter(|s| *s > 0.0)
                .map(|s| s.ceil() as u64),
            secrets: Vec::new(),
            role_path: self.on.remote.origin.borrow().role_path.clone(),
            no_log: doing.no_log,
            fresh: self.stale.get(),
            foreseen: self.on.foresight.borrow().any,
            guard: None,
            background: actions::background(self, doing, scope)?.filter(|_| !check),
            become_password: None,
        };
        Ok((invocation, elsewhere))
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

    /// Runs a call where it belongs and takes up what it yields.
    pub fn dispatch(
        &self,
        doing: &Doing,
        mut invocation: Invocation,
        elsewhere: Option<Elsewhere>,
        scope: &Scope,
    ) -> Done {
        if let Some(outcome) = self.absent().filter(|_| elsewhere.is_none()) {
            return Done::of(outcome);
        }
        let check = invocation.check;
        let failure = |why| failed(why, None, Map::new());
        let here = elsewhere.as_ref().is_none_or(|elsewhere| elsewhere.own);
        let mut outcome = match elsewhere {
            Some(elsewhere) => self.send(doing, elsewhere, &mut invocation, scope).unwrap_or_else(failure),
            None if invocation.background.is_some() => {
                let outcome = self.in_background(doing, invocation, scope).unwrap_or_else(failure);
                debark_modules::units::settle(&self.on.host);
                return Done::of(outcome);
            }
            None => self.here(doing, &invocation, scope).unwrap_or_else(failure),
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
        if check && self.check() {
            outcome = self.on.foresight.borrow_mut().revise(&invocation, outcome, here);
            // Its fact is as open as itself.
            if let (Some(why), "getent", Some(database)) =
                (&outcome.unknown, invocation.module.as_str(), invocation.args.get("database"))
            {
                let fact = map! { format!("getent_{database}") => Value::Unknown(why.as_str().into()) };
                self.on.state.borrow_mut().returned(fact);
            }
        }
        self.take_facts(doing, &outcome, scope);
        Done::of(outcome)
    }

    /// Starts a call that goes on by itself.
    fn in_background(
        &self,
        doing: &Doing,
        mut invocation: Invocation,
        scope: &Scope,
    ) -> Result<Outcome, String> {
        self.gate(doing)?;
        invocation.become_password =
            invocation.become_.as_ref().and_then(|become_| self.password(become_, scope)).map(Into::into);
        invocation.secrets = self.on.hidden().needles().to_vec();
        self.on.link.flush();
        actions::in_background(&invocation)
    }

    /// Has a call run by the agent of another connection: another host's, or another login's.
    fn send(
        &self,
        doing: &Doing,
        Elsewhere { host, own, logins }: Elsewhere,
        invocation: &mut Invocation,
        scope: &Scope,
    ) -> Result<Outcome, String> {
        if !invocation.check {
            if own && self.is_guarded() {
                return Ok(failed(
                    "what a task changes by a login of its own cannot be put back by the guard around it",
                    Some("take the task out of the guarded block, or `become` somebody instead".into()),
                    Map::new(),
                ));
            }
            self.gate(doing)?;
        }
        if own && self.absent().is_none() {
            self.keep(doing, scope);
        }
        let password =
            |become_| if own { self.password(become_, scope) } else { self.password_elsewhere(scope) };
        invocation.become_password = invocation.become_.as_ref().and_then(password).map(Into::into);
        // The other agent learns of no others than those that it is sent anyway.
        let bytes = Zeroizing::new(debark_wire::encode(invocation).unwrap_or_default());
        invocation.secrets = self.on.hidden().within(&bytes);
        let (task, call) = (doing.task.id, Box::new(invocation.clone()));
        let request = Request::Delegate { task, host: host.clone(), logins, invocation: call };
        let answer = self.on.link.request(request)?;
        invocation.become_password = None;
        let Answer::Outcome(outcome) = answer else {
            return Err("the controller did not answer a delegated task with an outcome".into());
        };
        if own && outcome.changed && !invocation.check {
            debark_modules::units::settle(&self.on.host);
            self.on.host.forget_all();
            self.stale.set(true);
        }
        let facts_are_theirs =
            self.flag(&doing.keywords.delegate_facts, "delegate_facts", scope)?.unwrap_or(false);
        if facts_are_theirs && let Some(facts) = outcome.result.get("ansible_facts").and_then(Value::as_map) {
            self.on.link.request(Request::SetFacts { task, host, facts: facts.clone(), set: false })?;
        }
        Ok(*outcome)
    }

    /// What comes of whatever needs the host, if this agent only stands in for it.
    pub fn absent(&self) -> Option<Outcome> {
        let (why, hint) = self.play.borrow().host.absent.clone()?;
        Some(unreachable(why, hint))
    }

    /// Runs a call on this host, as whom it says.
    fn here(&self, doing: &Doing, invocation: &Invocation, scope: &Scope) -> Result<Outcome, String> {
        if let Some(outcome) = self.absent() {
            return Ok(outcome);
        }
        self.keep(doing, scope);
        match self.under_guard(invocation) {
            None => self.invoked(invocation, scope, &|| self.gate(doing)),
            Some(guarded) => {
                let gate = || self.gate(doing).map(|()| self.announce(&guarded));
                let outcome = self.invoked(&guarded, scope, &gate);
                self.was_armed(&guarded, outcome.as_ref());
                outcome
            }
        }
    }

    /// As [`Running::here`], whatever is to be asked before anything changes.
    ///
    /// # Errors
    /// Nobody could be become, or the one who was has ended.
    pub fn invoked(
        &self,
        invocation: &Invocation,
        scope: &Scope,
        gate: &dyn Fn() -> Result<(), String>,
    ) -> Result<Outcome, String> {
        let outcome = match &invocation.become_ {
            Some(become_) => {
                let password = self.password(become_, scope);
                let mut workers = self.on.workers.borrow_mut();
                let outcome = workers.get(become_, password.as_ref().map(|text| text.as_str()))?.run(
                    invocation,
                    &self.on.remote,
                    gate,
                );
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
                let outcome = Worker::start(None, None)?.run(invocation, &self.on.remote, gate)?;
                self.on.host.forget_all();
                outcome
            }
            None => invoke(&self.on.host, invocation, gate),
        };
        // Workers keep what they have read; from here on they must read again.
        if outcome.changed && !invocation.check {
            debark_modules::units::settle(&self.on.host);
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

    /// Waits until every other host of the batch has passed the tasks before this one, and until there is a place for one
    /// more that does something (`throttle`, `--forks`).
    ///
    /// # Errors
    /// The run is to stop, or the connection is gone.
    pub fn gate(&self, doing: &Doing) -> Result<(), String> {
        match self.pass(doing.task.id)? {
            Answer::Fail => Err("another host failed, and this one has to fail with it".into()),
            _ if doing.holds.get() => Ok(()),
            _ => self.places(doing, false),
        }
    }

    /// Takes the places that a task needs, or gives them back. Who has one of the run's never waits for another, so that
    /// nobody waits for ever.
    fn places(&self, doing: &Doing, done: bool) -> Result<(), String> {
        let (hosts, forks) = {
            let host = &self.play.borrow().host;
            (host.batch.len(), host.options.forks)
        };
        for (limit, forks) in [(doing.throttle, false), (forks, true)] {
            let Some(limit) = limit.filter(|limit| (*limit as usize) < hosts) else { continue };
            self.on.link.request(Request::Throttle { task: doing.task.id, limit, forks, done })?;
            doing.holds.set(!done);
        }
        Ok(())
    }

    /// A task is at its end: others may.
    pub fn make_room(&self, doing: &Doing) {
        if doing.holds.get() {
            // If nobody listens any more the connection is gone, and its places with it.
            let _ = self.places(doing, true);
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
