//! The agent's life: greets, runs what it is sent, and ends.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use debark_modules::Host;
use debark_value::secrets::Secrets;
use debark_value::{Map, Value};
use debark_wire::{FromAgent, Invocation, MAGIC, Outcome, Play, Request, SILENCE};

use crate::actions;
use crate::invoke::{failed, invoke};
use crate::journal::Journal;
use crate::link::{Job, Link};
use crate::run::Interpreter;
use crate::upstream::{Origin, Remote};
use crate::worker::Worker;

/// Runs plays from standard input until there are no more.
pub fn agent() {
    greet();
    let mut input = std::io::stdin();
    let mut magic = [0; MAGIC.len()];
    if std::io::Read::read_exact(&mut input, &mut magic).is_err() || magic != MAGIC {
        return;
    }
    let (link, jobs) = Link::start(input, std::io::stdout(), Some(Duration::from_secs(SILENCE)), delegated);
    let interpreter = Interpreter::new(link.clone());
    let mut journal: Option<RefCell<Journal>> = None;
    link.send(&FromAgent::Hello {
        machine: machine(),
        user: interpreter.user.clone(),
        pending_handlers: Journal::open("", "").pending_all(),
    });
    while let Ok(Job::Play { shared, host }) = jobs.recv() {
        match debark_wire::decode::<Play>(&shared) {
            Ok(play) => {
                let options = &host.options;
                let journal = journal
                    .get_or_insert_with(|| RefCell::new(Journal::open(&options.run_id, &options.actor)));
                if host.absent.is_some() {
                    // This machine's record is none of that host's.
                    journal.replace(Journal::none());
                }
                interpreter.play(play, *host, journal);
            }
            Err(error) => {
                // No end of the play: the controller must not take for done what nobody could read.
                link.event(debark_wire::Event::Warning(format!("agent: {error}")));
                link.flush();
                std::process::exit(1);
            }
        }
        if link.is_lost() {
            break;
        }
    }
    link.wait_idle();
    link.flush();
}

/// Runs single modules for an agent that is another user.
pub fn worker() {
    greet();
    let (calls, todo) = mpsc::channel::<(Invocation, mpsc::Sender<Outcome>)>();
    let (link, jobs) = Link::start(std::io::stdin(), std::io::stdout(), None, move |_, invocation| {
        let (sender, receiver) = mpsc::channel();
        // What the host is known to be lives in one thread, or every call would have to read it again.
        let sent = calls.send((invocation, sender)).is_ok();
        let outcome = if sent { receiver.recv().ok() } else { None };
        outcome.unwrap_or_else(|| failed("the worker ended early", None, Map::new()))
    });
    let ending = link.clone();
    std::thread::spawn(move || {
        while let Ok(Job::Play { .. }) = jobs.recv() {}
        ending.wait_idle();
        ending.flush();
        std::process::exit(0);
    });
    let remote = Remote { link: link.clone(), store: Arc::default(), origin: RefCell::default() };
    let host = Host::new(std::rc::Rc::new(remote));
    while let Ok((invocation, sender)) = todo.recv() {
        if invocation.fresh {
            host.forget_all();
        }
        let gate = || link.request(Request::Barrier { play: 0, task: 0 }).map(drop);
        // A caller that is gone takes no outcome.
        let _ = sender.send(invoke(&host, &invocation, &gate));
    }
}

/// A call for another agent: of a host that delegates to this one, or of this one by another login.
fn delegated(link: &Arc<Link>, mut invocation: Invocation) -> Outcome {
    let origin = Origin { role_path: invocation.role_path.clone(), ..Origin::default() };
    let remote = Remote { link: link.clone(), store: Arc::default(), origin: origin.into() };
    let mut secrets = Secrets::default();
    secrets.add_value(&Value::list(invocation.secrets.iter().map(String::as_str)));
    let me = debark_modules::accounts::user_by_id(rustix::process::geteuid().as_raw()).map(|user| user.name);
    invocation.become_ = invocation.become_.filter(|b| Some(&b.user) != me.as_ref());
    let outcome = if invocation.module == "async_status" {
        actions::status_of(&invocation.args)
    } else if invocation.background.is_some() {
        actions::in_background(&invocation)
    } else if invocation.become_.is_some() || invocation.timeout.is_some() {
        // Not for whoever is become.
        let password = invocation.become_password.take();
        Worker::start(invocation.become_.as_ref(), password.as_deref())
            .and_then(|mut worker| worker.run(&invocation, &remote, &|| Ok(())))
    } else {
        Ok(invoke(&Host::new(std::rc::Rc::new(remote)), &invocation, &|| Ok(())))
    };
    let outcome = outcome.unwrap_or_else(|why| failed(why, None, Map::new()));
    // A delegate's words may end in its own records; the caller scrubs again for its own.
    Outcome { hint: outcome.hint.map(|hint| secrets.scrub(&hint)), ..outcome }
}

fn greet() {
    let mut out = std::io::stdout();
    // A far side that is gone is noticed at the next read.
    let _ = out.write_all(&MAGIC).and_then(|()| out.flush());
}

fn machine() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}
