//! Runs a play on this host: its tree of tasks and blocks.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use debark_expr::{Engine, Scope};
use debark_modules::Host;
use debark_value::secrets::Secrets;
use debark_value::{Map, Value};
use debark_wire::{Answer, Block, Cost, Event, FromAgent, HostPlay, Node, Play, PlayEnd, Task};

use crate::context::Context;
use crate::foresight::Foresight;
use crate::guard::{self, Guarding};
use crate::handlers::Handlers;
use crate::journal::Journal;
use crate::link::Link;
use crate::progress::{GATHERING, Progress, Step};
use crate::services::AgentServices;
use crate::state::{HostState, PlayState};
use crate::upstream::{Remote, Store};
use crate::worker::Workers;

/// What comes after a task or block.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Flow {
    /// The next one.
    #[default]
    Next,
    /// A task failed: rescue, or the end of the play for this host.
    Failed,
    /// `meta: end_role`: the rest of this role is left out.
    EndRole,
    /// `meta: end_host`, `end_play`, `end_batch`: the rest of the play is left out.
    EndPlay,
    /// The host, or the one that a task was delegated to, could not be reached: the end of the play for this host, which no
    /// block rescues.
    Unreachable,
    /// Told to stop, or the connection is gone.
    Stop,
}

/// Runs plays on this host, one after the other.
pub struct Interpreter {
    /// The connection to the controller.
    pub link: Arc<Link>,
    /// Controller files known without asking.
    pub store: Arc<Store>,
    /// What expressions ask.
    pub services: Arc<AgentServices>,
    /// Expressions and templates.
    pub engine: Engine,
    /// This host.
    pub host: Host,
    /// Controller files for modules.
    pub remote: Rc<Remote>,
    /// Other users' workers.
    pub workers: RefCell<Workers>,
    /// What this host knows.
    pub state: RefCell<HostState>,
    /// What must not be shown.
    pub secrets: RefCell<Secrets>,
    /// What check mode has foreseen.
    pub foresight: RefCell<Foresight>,
    /// Who this process is.
    pub user: String,
    began: Instant,
}

/// A play while it runs.
pub struct Running<'a> {
    /// What lasts over plays.
    pub on: &'a Interpreter,
    /// The play.
    pub play: RefCell<PlayState>,
    /// Its handlers.
    pub handlers: RefCell<Handlers>,
    /// The host's record.
    pub journal: &'a RefCell<Journal>,
    /// The last failure, for `rescue`: `ansible_failed_task`, `ansible_failed_result`.
    pub failure: RefCell<Option<(Value, Value)>>,
    /// Whether something other than the main thread's own modules changed the host.
    pub stale: Cell<bool>,
    /// How many tasks were run and not skipped.
    pub ran: Cell<u64>,
    /// How far it is.
    pub progress: RefCell<Progress>,
    /// Whether it was told that handlers cannot be remembered.
    pub forgetful: Cell<bool>,
    /// The guard around the task that runs.
    pub guard: RefCell<Option<Guarding>>,
    once_ran: RefCell<HashSet<u32>>,
}

impl Interpreter {
    /// An interpreter at the end of a link.
    pub fn new(link: Arc<Link>) -> Self {
        let store = Arc::new(Store::default());
        let services = Arc::new(AgentServices::new(link.clone(), store.clone()));
        let remote = Rc::new(Remote { link: link.clone(), store: store.clone(), origin: RefCell::default() });
        Self {
            engine: Engine::new(services.clone()),
            host: Host::new(remote.clone()),
            user: current_user(),
            began: Instant::now(),
            workers: RefCell::default(),
            state: RefCell::default(),
            foresight: RefCell::default(),
            secrets: RefCell::default(),
            link,
            store,
            services,
            remote,
        }
    }

    /// Runs one play and reports its end.
    pub fn play(&self, mut play: Play, host: HostPlay, journal: &RefCell<Journal>) {
        let index = play.index;
        self.hide(host.secrets.iter());
        host.become_passwords.iter().for_each(|(_, password)| self.secrets.borrow_mut().add(password));
        self.store.add(std::mem::take(&mut play.blobs), std::mem::take(&mut play.found));
        self.state.borrow_mut().noted();
        let progress = match &host.resumed {
            Some((told, seconds)) => match Progress::again(told, *seconds) {
                Ok(progress) => progress,
                Err(why) => {
                    self.link.event(Event::Warning(format!("the play cannot go on: {why}")));
                    let end = PlayEnd::Stopped { pending_handlers: Vec::new() };
                    self.link.send(&FromAgent::PlayEnd { play: index, end, cost: Cost::default() });
                    return self.link.flush();
                }
            },
            None => Progress::new(self.state.borrow().clone()),
        };
        let progress = if host.resumed.is_some() {
            *self.state.borrow_mut() = progress.before();
            self.link.mute(true);
            progress
        } else if host.restored.is_empty() {
            progress
        } else {
            let mut state = self.state.borrow_mut();
            for (name, value) in &host.restored {
                state.set(name, value.clone());
            }
            state.noted();
            Progress::new(state.clone())
        };
        journal.borrow_mut().lock(&host.host, host.resumed.is_some(), |holder| {
            self.link
                .event(Event::Warning(format!("waiting for {holder}, which is still at work on this host")));
            self.link.flush();
        });
        if host.absent.is_none() && !host.options.check {
            guard::wait_for_others(&self.link, &host.options.run_id);
        }
        // Another run may have been at work while this one waited.
        self.host.forget_all();
        let tasks = std::mem::take(&mut play.tasks);
        let mut units = Vec::new();
        tasks.iter().chain(&play.handlers).for_each(|node| announced_units(node, &mut units));
        if host.absent.is_none() {
            debark_modules::units::prefetch(&self.host, &units, host.batch.len() <= 1);
        }
        let handlers = Handlers::new(std::mem::take(&mut play.handlers), play_key(&play));
        let force = play.force_handlers || host.options.force_handlers;
        let keywords = play.keywords.clone();
        let running = Running {
            on: self,
            play: RefCell::new(PlayState::new(play, host)),
            handlers: RefCell::new(handlers),
            journal,
            failure: RefCell::default(),
            stale: Cell::new(false),
            ran: Cell::new(0),
            progress: RefCell::new(progress),
            forgetful: Cell::new(false),
            guard: RefCell::default(),
            once_ran: RefCell::default(),
        };
        let context = Context { keywords, ..Context::default() };
        // A play's own vars reach the agent merged per host; as a block's they would outrank the role's.
        let end = running.whole(&tasks, &Rc::new(context), force);
        self.link.finish();
        let cost = Cost {
            cpu_us: cpu_time(),
            wall_us: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        self.link.send(&FromAgent::PlayEnd { play: index, end, cost });
        self.link.flush();
    }

    /// Text without secrets.
    pub fn scrub(&self, text: &str) -> String {
        self.hidden().scrub(text)
    }

    /// What must not be shown, with what the controller has told since.
    pub fn hidden(&self) -> Ref<'_, Secrets> {
        let more = self.link.secrets();
        if !more.is_empty() {
            self.hide(more.iter());
        }
        self.secrets.borrow()
    }

    /// Adds to what must not be shown.
    pub fn hide<'a>(&self, texts: impl Iterator<Item = &'a String>) {
        let texts = texts.map(|text| Value::from(text.as_str())).collect::<Vec<_>>();
        self.secrets.borrow_mut().add_value(&Value::from(texts));
    }
}

/// Units that tasks will ask about, as far as their names are known: systemctl is then asked once for all of them.
fn announced_units(node: &Node, units: &mut Vec<String>) {
    match node {
        Node::Block(block) => {
            block
                .block
                .iter()
                .chain(&block.rescue)
                .chain(&block.always)
                .for_each(|node| announced_units(node, units));
        }
        Node::Task(task) if matches!(task.action.as_str(), "service" | "systemd" | "systemd_service") => {
            let items = task.looping.as_ref().and_then(|looping| looping.items.as_list()).unwrap_or_default();
            let names = items.iter().chain(task.args.get("name"));
            units.extend(names.filter_map(Value::as_str).map(str::to_owned));
        }
        Node::Task(_) => {}
    }
}

fn first_task(node: &Node) -> Option<u32> {
    match node {
        Node::Task(task) => Some(task.id),
        Node::Block(block) => {
            block.block.iter().chain(&block.rescue).chain(&block.always).find_map(first_task)
        }
    }
}

/// Names a play in the record of pending handlers.
fn play_key(play: &Play) -> String {
    let file = play.files.first().map_or("", String::as_str);
    match play.name.as_str() {
        "" => format!("{file}#{}", play.index + 1),
        name => format!("{file}#{name}"),
    }
}

fn current_user() -> String {
    let uid = rustix::process::geteuid().as_raw();
    debark_modules::accounts::user_by_id(uid).map_or_else(|| uid.to_string(), |user| user.name)
}

/// CPU time of this process and its ended children, in microseconds. Children are counted in ticks of 10 ms (`cutime`
/// and `cstime` of proc(5)), as getrusage(2) cannot be had without `unsafe`.
fn cpu_time() -> u64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let own = own.tv_sec.unsigned_abs() * 1_000_000 + own.tv_nsec.unsigned_abs() / 1000;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // After the name: state is field 0, cutime 13, cstime 14; in ticks of 1/100 s (USER_HZ).
    let ticks: u64 =
        fields.get(13..15).unwrap_or_default().iter().filter_map(|f| f.parse::<u64>().ok()).sum();
    own + ticks * 10_000
}

impl Running<'_> {
    fn whole(&self, tasks: &[Node], context: &Rc<Context>, force_handlers: bool) -> PlayEnd {
        if self.progress.borrow().repeats() {
            let mut handlers = self.handlers.borrow_mut();
            // The agent whose connection was lost has noted what its last task notified.
            if self.progress.borrow().lost() {
                handlers.recall(&self.journal.borrow());
            }
            let told = self.progress.borrow().left.clone();
            let new = told.into_iter().filter(|name| !handlers.left.contains(name)).collect::<Vec<_>>();
            handlers.left.extend(new);
        } else {
            self.handlers.borrow_mut().recall(&self.journal.borrow());
            self.progress.borrow_mut().left.clone_from(&self.handlers.borrow().left);
        }
        let mut flow = match self.taken_over(GATHERING) {
            Some(flow) => flow,
            None => {
                let flow = self.gather();
                self.note(GATHERING, flow.clone(), false);
                flow
            }
        };
        if flow == Flow::Next {
            flow = self.nodes(tasks, context);
        }
        if matches!(flow, Flow::Next | Flow::EndRole) || flow == Flow::Failed && force_handlers {
            self.resume_handlers();
            let flushed = self.flush_handlers(context, true);
            if flow != Flow::Failed {
                flow = flushed;
            }
        }
        let pending = self.handlers.borrow().notified();
        if flow == Flow::Next && !self.check() {
            self.keep_pending(&self.handlers.borrow().key, &pending);
        }
        let pending_handlers = if self.check() { Vec::new() } else { pending };
        match flow {
            Flow::Next | Flow::EndRole => PlayEnd::Done,
            Flow::Failed | Flow::Unreachable => PlayEnd::Failed { pending_handlers },
            Flow::EndPlay => PlayEnd::Ended,
            Flow::Stop => PlayEnd::Stopped { pending_handlers },
        }
    }

    /// Whether the whole run is a check.
    pub fn check(&self) -> bool {
        self.play.borrow().host.options.check
    }

    /// Runs nodes in order until something else than the next follows.
    pub fn nodes(&self, nodes: &[Node], context: &Rc<Context>) -> Flow {
        for node in nodes {
            let flow = match node {
                Node::Task(task) => self.task(task, context),
                Node::Block(block) if block.guard.is_some() => self.guarded(block, context),
                Node::Block(block) => self.block(block, context),
            };
            if flow != Flow::Next {
                return flow;
            }
        }
        Flow::Next
    }

    /// Runs a block.
    pub fn block(&self, block: &Block, outer: &Rc<Context>) -> Flow {
        if block.once.is_some_and(|number| self.once_ran.borrow().contains(&number)) {
            return Flow::Next;
        }
        let context = outer.inside(&block.keywords, block.role);
        let inner = if block.rescue.is_empty() {
            context.clone()
        } else {
            Rc::new(Context { rescued: true, ..(*context).clone() })
        };
        let before = self.ran.get();
        let mut flow = self.nodes(&block.block, &inner);
        if flow == Flow::Next && (!block.rescue.is_empty() || !block.always.is_empty()) {
            flow = self.leave_block(block);
        }
        if flow == Flow::Failed && !block.rescue.is_empty() {
            self.show_failure();
            flow = self.nodes(&block.rescue, &context);
        }
        // The end of the play or of a role leaves out what is left of it, `always` included.
        if !block.always.is_empty() && matches!(flow, Flow::Next | Flow::Failed) {
            let after = self.nodes(&block.always, &context);
            // A failure in `always` counts even if the block went well; a good `always` heals nothing.
            if after != Flow::Next {
                flow = after;
            }
        }
        if let Some(number) = block.once.filter(|_| self.ran.get() > before) {
            self.once_ran.borrow_mut().insert(number);
        }
        // The end of a role is the end of the block that the role is.
        if flow == Flow::EndRole && block.role != outer.role { Flow::Next } else { flow }
    }

    /// Hosts that go in step leave a block together: one that is to fail with another does so while it is in there.
    fn leave_block(&self, block: &Block) -> Flow {
        let next = block.rescue.iter().chain(&block.always).find_map(first_task);
        let lockstep = self.play.borrow().play.lockstep && !self.progress.borrow().repeats();
        let Some(next) = next.filter(|_| lockstep) else { return Flow::Next };
        match self.pass(next) {
            Ok(Answer::Fail) => Flow::Failed,
            Ok(_) => Flow::Next,
            Err(_) => Flow::Stop,
        }
    }

    /// Lets `rescue` and `always` see what failed.
    fn show_failure(&self) {
        let Some((task, result)) = self.failure.borrow().clone() else { return };
        let vars: Map =
            debark_value::map! { "ansible_failed_task" => task, "ansible_failed_result" => result };
        // Results are data: a template-like text in them must stay what it is, so they go where registers are.
        let mut state = self.on.state.borrow_mut();
        for (name, value) in vars {
            state.set(&name, value);
        }
    }

    /// Takes over what the controller has changed among the variables that nothing overrides.
    pub fn take_magic(&self) {
        let mut play = self.play.borrow_mut();
        let index = play.play.index;
        play.take_magic(self.on.link.magic(index));
    }

    /// What another agent did before this one, as if it had been done here.
    pub fn taken_over(&self, task: u32) -> Option<Flow> {
        let step = self.progress.borrow_mut().take(task)?;
        let mut state = self.on.state.borrow_mut();
        state.noted();
        step.changes.into_iter().for_each(|change| state.apply(change));
        state.noted();
        drop(state);
        self.handlers.borrow_mut().mark_all(&step.notified);
        if step.failure.is_some() {
            *self.failure.borrow_mut() = step.failure;
        }
        self.ran.set(self.ran.get() + u64::from(step.ran));
        Some(step.flow)
    }

    /// Notes what a task did, for the agent that may have to go on.
    pub fn note(&self, task: u32, flow: Flow, ran: bool) {
        let changes = self.on.state.borrow_mut().noted();
        let mut progress = self.progress.borrow_mut();
        let notified = progress.notified.take();
        let failure = self.failure.borrow().clone().filter(|_| flow == Flow::Failed);
        progress.note(Step { task, changes, notified, flow, ran, failure, returned: None });
    }

    /// The scope of a task.
    pub fn scope(&self, context: &Context, task: &Task) -> Scope {
        self.play.borrow().task_scope(&self.on.state.borrow(), context, task)
    }

    /// Renders text for display: what cannot be rendered is shown as written.
    pub fn label(&self, text: &str, scope: &Scope) -> String {
        if !debark_expr::is_template(text) {
            return text.to_owned();
        }
        let shown = self
            .on
            .engine
            .render_str(text, scope)
            .map_or_else(|_| text.to_owned(), |value| value.to_string());
        self.on.scrub(&shown)
    }
}
