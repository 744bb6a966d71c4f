//! Handlers: notified by tasks, run once, in the order in which they are defined.

use std::rc::Rc;

use debark_value::Value;
use debark_value::secrets::MASK;
use debark_wire::{Block, Event, Node, Task};

use crate::context::Context;
use crate::journal::Journal;
use crate::run::{Flow, Running};

/// A handler that notifies itself would run for ever; no sane play comes near this many rounds.
const ROUNDS: usize = 100;

/// The handlers of a play and which of them are notified.
#[derive(Default)]
pub struct Handlers {
    all: Vec<Handler>,
    /// What was notified and not run yet. Whom it means is decided when handlers run: an include may bring more.
    topics: Vec<String>,
    /// Whether handlers run: what they notify is meant at once.
    flushing: bool,
    /// Names the play in the host's record.
    pub key: String,
    /// What an earlier run left. It waits until the play's own tasks have run: before, variables that a handler
    /// needs may not be set, and one that fails would end the play before it could mend anything.
    pub left: Vec<String>,
}

/// What is notified at some time.
#[derive(Clone, Default)]
pub struct Marks(Vec<String>, Vec<bool>);

struct Handler {
    node: Rc<Node>,
    role: Option<u32>,
    /// Which list it stands in: of two with a name the list loaded last wins, and in it the first one.
    list: usize,
    notified: bool,
}

impl Handlers {
    /// The handlers of a play.
    pub fn new(nodes: Vec<Node>, key: String) -> Self {
        let mut handlers = Self { key, ..Self::default() };
        handlers.extend(nodes);
        handlers
    }

    /// Adds handlers of a dynamic include. Blocks are taken apart: each task in them is a handler of its own.
    pub fn extend(&mut self, nodes: Vec<Node>) {
        let mut list = self.all.last().map_or(0, |last| last.list + 1);
        let mut before = None;
        for node in nodes {
            let role = match &node {
                Node::Task(task) => task.role,
                Node::Block(block) => block.role,
            };
            list += usize::from(before.replace(role).is_some_and(|before| before != role));
            self.all.extend(apart(node).into_iter().map(|node| Handler {
                node: Rc::new(node),
                role,
                list,
                notified: false,
            }));
        }
    }

    /// The names of those that are notified, by this run or an earlier one.
    pub fn notified(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.all.iter().filter(|h| h.notified).flat_map(|h| names(&h.node)).collect();
        for name in self.left.iter().chain(&self.topics) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    /// Reads what an earlier run left.
    pub fn recall(&mut self, journal: &Journal) {
        self.left = journal.pending_of(&self.key);
    }

    /// What is notified.
    pub fn marks(&self) -> Marks {
        Marks(self.topics.clone(), self.all.iter().map(|handler| handler.notified).collect())
    }

    /// Back to what was notified then.
    pub fn unmark(&mut self, marks: Marks) {
        self.topics = marks.0;
        for (index, handler) in self.all.iter_mut().enumerate() {
            handler.notified = marks.1.get(index).copied().unwrap_or(false);
        }
    }

    /// Notifies by these names.
    pub fn mark_all(&mut self, names: &[String]) {
        for name in names {
            if !self.topics.contains(name) {
                self.topics.push(name.clone());
            }
        }
    }

    /// Marks the handlers that go by a name: one that is called so, and of those that listen to it one of each name
    /// (ansible-core's `search_handlers_by_notification`). Says if there are any.
    fn mark(&mut self, name: &str, running: &Running) -> bool {
        let found = self.meant(name, running);
        for index in &found {
            if let Some(handler) = self.all.get_mut(*index) {
                handler.notified = true;
            }
        }
        !found.is_empty()
    }

    fn meant(&self, name: &str, running: &Running) -> Vec<usize> {
        let mut order: Vec<(usize, &Handler)> = self.all.iter().enumerate().collect();
        order.sort_by_key(|(_, handler)| std::cmp::Reverse(handler.list));
        let called = |handler: &Handler| {
            names(&handler.node).iter().any(|own| is_called(own, handler.role, name, running))
        };
        let by_name = order.iter().find(|(_, handler)| called(handler)).map(|(index, _)| *index);
        let mut found: Vec<usize> = by_name.into_iter().collect();
        let mut seen = Vec::new();
        for (index, handler) in order {
            if !tasks(&handler.node).into_iter().any(|task| task.listen.iter().any(|topic| topic == name)) {
                continue;
            }
            let own = names(&handler.node);
            if own.is_empty() || !seen.contains(&own) {
                found.push(index);
                seen.push(own);
            }
        }
        found
    }
}

/// The tasks of a block (of a role, of an import), each within a block of its own that has the same keywords.
fn apart(node: Node) -> Vec<Node> {
    match node {
        Node::Block(mut block) if block.rescue.is_empty() && block.always.is_empty() => {
            let inner: Vec<Node> = std::mem::take(&mut block.block).into_iter().flat_map(apart).collect();
            let around = |node| Node::Block(Box::new(Block { block: vec![node], ..(*block).clone() }));
            inner.into_iter().map(around).collect()
        }
        whole => vec![whole],
    }
}

fn tasks(node: &Node) -> Vec<&Task> {
    match node {
        Node::Task(task) => vec![task],
        Node::Block(block) => block.block.iter().flat_map(tasks).collect(),
    }
}

fn names(node: &Node) -> Vec<String> {
    tasks(node).into_iter().map(|task| task.name.clone()).filter(|name| !name.is_empty()).collect()
}

/// Whether a handler with that name, perhaps a template, perhaps in a role, is meant.
fn is_called(own: &str, role: Option<u32>, wanted: &str, running: &Running) -> bool {
    if own == wanted {
        return true;
    }
    let play = running.play.borrow();
    let rendered = if debark_expr::is_template(own) {
        let context = Context { role, ..Context::default() };
        let scope = play.task_scope(&running.on.state.borrow(), &context, &Task::default());
        running.on.engine.render_str(own, &scope).map_or_else(|_| own.to_owned(), |value| value.to_string())
    } else {
        own.to_owned()
    };
    // The record on the host has names without their secrets.
    let masked = || wanted.contains(MASK) && running.on.scrub(&rendered) == wanted;
    rendered == wanted
        || masked()
        || play.role(role).is_some_and(|role| {
            let called = |name: &str| {
                wanted.strip_prefix(name).and_then(|rest| rest.strip_prefix(" : ")) == Some(&*rendered)
            };
            called(&role.name) || called(&role.full_name())
        })
}

impl Running<'_> {
    /// Notifies what a changed task names. The record on the host is written before the task is reported.
    ///
    /// # Errors
    /// A name that no handler has.
    pub fn notify(&self, topics: &[Value]) -> Result<(), String> {
        let names: Vec<String> = topics
            .iter()
            .flat_map(|topic| match topic {
                Value::List(items) => items.iter().map(Value::to_string).collect(),
                other => vec![other.to_string()],
            })
            .collect();
        let mut handlers = self.handlers.borrow_mut();
        let mut missing = None;
        for name in &names {
            if handlers.meant(name, self).is_empty() {
                missing = Some(name.clone());
            } else if handlers.flushing {
                handlers.mark(name, self);
            } else {
                handlers.mark_all(std::slice::from_ref(name));
            }
        }
        if !self.check() {
            self.keep_pending(&handlers.key, &handlers.notified());
        }
        drop(handlers);
        match missing {
            Some(name) => Err(format!(
                "the handler '{name}' is notified, but no handler has that name or listens to it"
            )),
            None => {
                self.progress.borrow().notified.borrow_mut().extend(names.iter().cloned());
                self.on.link.event(Event::Notified { handlers: names });
                Ok(())
            }
        }
    }

    /// Marks what an earlier run left, now that the play's tasks have run.
    pub fn resume_handlers(&self) {
        let mut handlers = self.handlers.borrow_mut();
        let left = std::mem::take(&mut handlers.left);
        let (known, gone): (Vec<String>, Vec<String>) =
            left.into_iter().partition(|name| handlers.mark(name, self));
        if !known.is_empty() {
            self.on.link.event(Event::Resumed { handlers: known });
        }
        for name in gone {
            self.on.link.event(Event::Warning(format!(
                "an earlier run notified the handler '{name}' and did not come to run it; the play has it no more"
            )));
        }
    }

    /// Runs what is notified. One that fails stays notified, and so does what comes after it. What a handler notifies
    /// that stands before it waits for the next time; the last time runs all.
    pub fn flush_handlers(&self, context: &Rc<Context>, last: bool) -> Flow {
        self.handlers.borrow_mut().flushing = true;
        let flow = self.notified_handlers(context, last);
        self.handlers.borrow_mut().flushing = false;
        flow
    }

    fn notified_handlers(&self, context: &Rc<Context>, last: bool) -> Flow {
        let context = Rc::new(Context { handler: true, ..(**context).clone() });
        for _ in 0..ROUNDS {
            let topics = std::mem::take(&mut self.handlers.borrow_mut().topics);
            for topic in &topics {
                self.handlers.borrow_mut().mark(topic, self);
            }
            let count = self.handlers.borrow().all.len();
            let mut ran = false;
            for index in 0..count {
                let due = self
                    .handlers
                    .borrow()
                    .all
                    .get(index)
                    .filter(|h| h.notified)
                    .map(|h| (h.node.clone(), h.role));
                let Some((node, role)) = due else { continue };
                ran = true;
                // Struck before it runs: a handler that it notifies in turn, even itself, must count. Put back if
                // it fails.
                self.mark_index(index, false);
                let context =
                    if role.is_some() { context.inside(&Default::default(), role) } else { context.clone() };
                let flow = self.nodes(std::slice::from_ref(&*node), &context);
                if matches!(flow, Flow::Failed | Flow::Unreachable | Flow::Stop) {
                    self.mark_index(index, true);
                    return flow;
                }
                if !self.check() {
                    let handlers = self.handlers.borrow();
                    self.keep_pending(&handlers.key, &handlers.notified());
                }
                if flow != Flow::Next {
                    return flow;
                }
            }
            if !ran || !last {
                return Flow::Next;
            }
        }
        self.on.link.event(Event::Warning(format!(
            "handlers notified one another {ROUNDS} times; the rest is left out"
        )));
        Flow::Failed
    }

    /// Writes down which handlers still have to run; says once if that cannot be done.
    pub fn keep_pending(&self, key: &str, pending: &[String]) {
        let pending: Vec<String> = pending.iter().map(|name| self.on.scrub(name)).collect();
        let kept = self.journal.borrow().set_pending(key, &pending);
        if let Err(why) = kept
            && !self.forgetful.replace(true)
        {
            self.on.link.event(Event::Warning(format!(
                "cannot keep note of the handlers that have to run ({why}): if this run breaks off, the next one does not know of them"
            )));
        }
    }

    fn mark_index(&self, index: usize, notified: bool) {
        if let Some(handler) = self.handlers.borrow_mut().all.get_mut(index) {
            handler.notified = notified;
        }
    }
}
