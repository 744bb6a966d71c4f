//! The agent's end of the wire: events out, requests and their answers, what the controller sends by itself.
//!
//! One thread reads and sorts what arrives; whoever asked for something waits for its answer. Events are buffered
//! and leave when somebody waits, when the buffer is full, or by a ticker twenty times a second, so that a play
//! that changes nothing costs a handful of writes.

use std::collections::HashMap;
use std::io::{BufWriter, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use debark_value::Map;
use debark_wire::{Answer, Event, FromAgent, HostPlay, Invocation, Request, ToAgent, WireError};

/// How long an event may wait in the buffer.
const TICK: Duration = Duration::from_millis(50);

/// What the controller sends for the main thread to do.
pub enum Job {
    /// Run a play.
    Play {
        /// An encoded play.
        shared: Arc<[u8]>,
        /// This host's part of it.
        host: Box<HostPlay>,
    },
    /// No more plays.
    End,
    /// The connection is gone.
    Lost,
}

/// The task that runs, for displays.
struct Current {
    task: u32,
    name: String,
    seen: bool,
}

type Reply = Result<Answer, String>;

/// The connection to the controller.
pub struct Link {
    out: Mutex<BufWriter<Box<dyn Write + Send>>>,
    dirty: AtomicBool,
    waiting: Mutex<HashMap<u32, Sender<Reply>>>,
    next: AtomicU32,
    lost: AtomicBool,
    stop: Mutex<Option<String>>,
    muted: AtomicBool,
    current: Mutex<Option<Current>>,
    magic: Mutex<(u32, Map)>,
    given: Mutex<Vec<(Map, bool)>>,
    secrets: Mutex<Vec<String>>,
    busy: Mutex<usize>,
    idle: Condvar,
    /// When something was heard last.
    heard: Mutex<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked elsewhere must not silence the agent; each guarded value is whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Variables of a play that the controller has changed since the last call.
    pub fn magic(&self, play: u32) -> Map {
        let mut magic = lock(&self.magic);
        if magic.0 == play { std::mem::take(&mut magic.1) } else { Map::new() }
    }

    /// Variables that other hosts have set for this one since the last call, and whether as `set_fact` does.
    pub fn given(&self) -> Vec<(Map, bool)> {
        std::mem::take(&mut *lock(&self.given))
    }

    /// Secrets that the controller has told since the last call.
    pub fn secrets(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.secrets))
    }

    /// Starts reading and ticking; jobs arrive at the receiver, invocations for other hosts at `invoke`. If nothing is
    /// heard for as long as `silence`, the connection is taken for lost.
    pub fn start(
        input: impl Read + Send + 'static,
        out: impl Write + Send + 'static,
        silence: Option<Duration>,
        invoke: impl Fn(&Arc<Link>, Invocation) -> debark_wire::Outcome + Send + Sync + 'static,
    ) -> (Arc<Self>, Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel();
        let link = Arc::new(Self {
            out: Mutex::new(BufWriter::with_capacity(64 << 10, Box::new(out))),
            dirty: AtomicBool::new(false),
            waiting: Mutex::default(),
            next: AtomicU32::new(1),
            lost: AtomicBool::new(false),
            stop: Mutex::default(),
            muted: AtomicBool::new(false),
            magic: Mutex::default(),
            given: Mutex::default(),
            secrets: Mutex::default(),
            current: Mutex::default(),
            busy: Mutex::new(0),
            idle: Condvar::new(),
            heard: Mutex::new(Instant::now()),
        });
        let ticker = Arc::downgrade(&link);
        let silent = jobs.clone();
        std::thread::spawn(move || {
            while let Some(link) = ticker.upgrade() {
                link.announce();
                if silence.is_some_and(|silence| lock(&link.heard).elapsed() > silence) {
                    link.lose();
                    drop(silent.send(Job::Lost));
                    return;
                }
                if link.dirty.load(Ordering::Relaxed) {
                    link.flush();
                }
                drop(link);
                std::thread::sleep(TICK);
            }
        });
        let reader = link.clone();
        std::thread::spawn(move || reader.read(input, &jobs, &Arc::new(invoke)));
        (link, receiver)
    }

    fn read(
        self: &Arc<Self>,
        mut input: impl Read,
        jobs: &Sender<Job>,
        invoke: &Arc<impl Fn(&Arc<Link>, Invocation) -> debark_wire::Outcome + Send + Sync + 'static>,
    ) {
        loop {
            // The main thread may be gone already: then nobody wants jobs any more.
            let message = debark_wire::read::<ToAgent>(&mut input);
            *lock(&self.heard) = Instant::now();
            match message {
                Ok(ToAgent::Play { shared, host }) => drop(jobs.send(Job::Play { shared, host })),
                Ok(ToAgent::Answer { id, answer }) => self.answered(id, answer),
                Ok(ToAgent::Magic { play, vars }) => {
                    let mut magic = lock(&self.magic);
                    if magic.0 != play {
                        *magic = (play, Map::new());
                    }
                    magic.1.extend(vars);
                }
                Ok(ToAgent::Facts { facts, set }) => lock(&self.given).push((facts, set)),
                Ok(ToAgent::Secrets(more)) => lock(&self.secrets).extend(more),
                Ok(ToAgent::Stop { reason }) => *lock(&self.stop) = Some(reason),
                Ok(ToAgent::Invoke { id, invocation }) => {
                    let (link, invoke) = (self.clone(), invoke.clone());
                    *lock(&self.busy) += 1;
                    std::thread::spawn(move || {
                        let outcome = invoke(&link, *invocation);
                        link.send(&FromAgent::Invoked { id, outcome });
                        link.flush();
                        *lock(&link.busy) -= 1;
                        link.idle.notify_all();
                    });
                }
                Ok(ToAgent::Ping) => {}
                Ok(ToAgent::End) => drop(jobs.send(Job::End)),
                Err(error) => {
                    if !matches!(error, WireError::Closed) {
                        self.event(Event::Warning(format!("agent: {error}")));
                    }
                    self.lose();
                    drop(jobs.send(Job::Lost));
                    return;
                }
            }
        }
    }

    fn answered(&self, id: u32, answer: Reply) {
        let more = matches!(answer, Ok(Answer::Content { last: false, .. }));
        let mut waiting = lock(&self.waiting);
        if let Some(sender) = waiting.get(&id) {
            // Whoever asked may have given up.
            let _ = sender.send(answer);
            if !more {
                waiting.remove(&id);
            }
        }
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
        // Dropping the senders wakes everybody who waits.
        lock(&self.waiting).clear();
    }

    /// A task begins. Displays hear of it only if it lasts: most tasks of a converged host are over in a millisecond.
    pub fn begin(&self, task: u32, name: &str) {
        *lock(&self.current) = Some(Current { task, name: name.to_owned(), seen: false });
    }

    /// The task is over.
    pub fn finish(&self) {
        *lock(&self.current) = None;
    }

    fn announce(&self) {
        let mut current = lock(&self.current);
        let lasting = current.take_if(|current| std::mem::replace(&mut current.seen, true));
        drop(current);
        if let Some(Current { task, name, .. }) = lasting {
            self.event(Event::Started { task, name });
        }
    }

    /// Whether the connection is gone.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Why the run is to stop after the current task, if it is.
    pub fn stop_reason(&self) -> Option<String> {
        lock(&self.stop).clone()
    }

    /// Queues a message. A connection that is gone swallows it: the journal on the host has what matters.
    pub fn send(&self, message: &FromAgent) {
        let mut out = lock(&self.out);
        if debark_wire::write(&mut *out, message).is_err() {
            drop(out);
            self.lose();
        }
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// Whether events are swallowed: what is repeated was told before.
    pub fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::SeqCst);
    }

    /// Queues an event.
    pub fn event(&self, event: Event) {
        if self.muted.load(Ordering::SeqCst) {
            return;
        }
        self.send(&FromAgent::Event(event));
    }

    /// Sends what is queued.
    pub fn flush(&self) {
        let mut out = lock(&self.out);
        self.dirty.store(false, Ordering::Relaxed);
        if out.flush().is_err() {
            drop(out);
            self.lose();
        }
    }

    /// Asks the controller and waits.
    ///
    /// # Errors
    /// What the controller says, or that it cannot be asked any more.
    pub fn request(&self, request: Request) -> Reply {
        self.ask(request).recv().unwrap_or_else(|_| Err("the connection to the controller is gone".into()))
    }

    /// Asks the controller; answers in parts arrive one by one.
    pub fn ask(&self, request: Request) -> Receiver<Reply> {
        let (sender, receiver) = mpsc::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.waiting).insert(id, sender);
        self.send(&FromAgent::Request { id, request });
        self.flush();
        if self.is_lost() {
            lock(&self.waiting).remove(&id);
        }
        receiver
    }

    /// Waits until no invocation for another host runs.
    pub fn wait_idle(&self) {
        let mut busy = lock(&self.busy);
        while *busy > 0 {
            busy = self.idle.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_side_that_says_nothing_is_gone() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let silence = Duration::from_millis(200);
        let (link, jobs) = Link::start(reader, std::io::sink(), Some(silence), |_, _| Default::default());
        assert!(!link.is_lost());
        assert!(matches!(jobs.recv(), Ok(Job::Lost)));
        assert!(link.is_lost());
        assert!(link.request(Request::RefreshInventory).is_err());
    }
}
