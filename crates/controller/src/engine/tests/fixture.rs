//! A world, and agents in it that are threads and speak the real messages.

use std::sync::{Mutex, mpsc};

use debark_connect::{Problem, ProblemKind};
use debark_value::secrets::Secrets;
use debark_value::{Map, Value};
use debark_wire::{Event, HostPlay, Logins, MAGIC, Request, Status, TaskResult};

use crate::engine::*;
use crate::world::{Channel, Content, Route};

/// What an agent of a test does with a play: it may ask, tell and end.
pub(super) type Script = fn(&Agent) -> PlayEnd;

pub(super) struct Agent {
    pub(super) host: String,
    pub(super) play: u32,
    pub(super) batch: Vec<String>,
    tell: Arc<dyn Fn(Incoming) + Send + Sync>,
    inbox: Arc<Mutex<mpsc::Receiver<ToAgent>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    pub(super) fn say(&self, message: FromAgent) {
        (self.tell)(Incoming::Message(message));
    }

    pub(super) fn log(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.host));
    }

    pub(super) fn ask(&self, id: u32, request: Request) -> Result<Answer, String> {
        self.say(FromAgent::Request { id, request });
        loop {
            match self.inbox.lock().unwrap().recv().unwrap() {
                ToAgent::Answer { id: answered, answer } if answered == id => return answer,
                ToAgent::Stop { reason } => self.log(&format!("told to stop: {reason}")),
                _ => {}
            }
        }
    }

    pub(super) fn task(&self, task: u32, status: Status) {
        let name = format!("task {task}");
        let result = TaskResult {
            task,
            name,
            action: "ping".into(),
            place: "site.yml:1".into(),
            item: None,
            status,
            message: Some("the word is hunter22".into()),
            hint: None,
            diff: Vec::new(),
            result: Value::Null,
            elapsed_us: u64::from(task) * 1000,
            handler: false,
            delegated: None,
            no_log: false,
            fatal: false,
        };
        self.say(FromAgent::Event(Event::Task(Box::new(result))));
    }
}

pub(super) struct Test {
    hosts: Vec<String>,
    pub(super) spec: PlaySpec,
    pub(super) plays: u32,
    script: Script,
    pub(super) refused: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl World for Test {
    fn plays(&self) -> u32 {
        self.plays
    }

    fn play(&self, index: u32, _gone: &BTreeSet<String>) -> Result<PlaySpec, String> {
        let play = debark_wire::Play { index, ..debark_wire::Play::default() };
        let shared = debark_wire::encode(&play).unwrap().into();
        Ok(PlaySpec { index, shared, hosts: self.hosts.clone(), ..self.spec.clone() })
    }

    fn host_play(&self, _: &PlaySpec, host: &str, batch: &[String], _: &Map) -> Result<HostPlay, String> {
        Ok(HostPlay { host: host.into(), batch: batch.to_vec(), ..HostPlay::default() })
    }

    fn host_vars(&self, _: u32, _: &str, host: &str, known: &Map) -> Result<Map, String> {
        let mut vars = debark_value::map! { "color" => format!("{host}'s") };
        vars.extend(known.clone());
        Ok(vars)
    }

    fn local(&self, _: &str) -> bool {
        false
    }

    fn route(&self, host: &str, logins: &Logins) -> Route {
        let user = logins.keywords.user.as_deref().unwrap_or("me");
        Route { way: format!("{user} {host}"), address: format!("{user}@{host}") }
    }

    fn permit(&self, _: u32, host: &str, request: &Request) -> Result<(), String> {
        match request {
            Request::Lookup { name, .. } if name == "pipe" => Err("asks for a pipe".into()),
            Request::Delegate { host: other, .. } if other == "localhost" => {
                Err(format!("asks to run a task on {other} for {host}"))
            }
            Request::HostVars { host: other } if other == "secret" => Err("asks for too much".into()),
            _ => Ok(()),
        }
    }

    fn answer(&self, _: u32, host: &str, request: Request) -> Result<Answer, String> {
        match request {
            Request::Lookup { name, .. } => Ok(Answer::Value(Value::from(format!("{name} for {host}")))),
            _ => Err("not in this test".into()),
        }
    }

    fn content(&self, _: &str) -> Result<Content, String> {
        Err("not in this test".into())
    }

    fn secrets(&self) -> Arc<Secrets> {
        let mut secrets = Secrets::default();
        secrets.add("hunter22");
        Arc::new(secrets)
    }
}

struct Line(mpsc::Sender<u8>);

impl Channel for Line {
    fn send(&self, frame: Vec<Arc<[u8]>>) {
        frame.concat().into_iter().for_each(|byte| {
            let _ = self.0.send(byte);
        });
    }

    fn send_content(&self, _: u32, _: Content) {}

    fn close(&self) {}

    fn kill(&self) {}
}

/// Bytes as a stream: the agent sees exactly what goes over a real channel.
struct Stream(mpsc::Receiver<u8>);

impl std::io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match (self.0.recv(), buffer.first_mut()) {
            (Ok(byte), Some(first)) => {
                *first = byte;
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}

impl Connector for Test {
    fn confirm(
        &self,
        _: &str,
        _: debark_connect::guard::Guard,
        tell: crate::world::Tell,
    ) -> Result<(), Problem> {
        tell(Some(debark_connect::guard::Verdict::Gone));
        Ok(())
    }

    fn stand_in(
        &self,
        _: Vec<Arc<[u8]>>,
        _: Box<dyn Fn(Incoming) + Send>,
    ) -> Result<Box<dyn Channel>, Problem> {
        Err(Problem::new(ProblemKind::Local, "nobody stands in"))
    }

    fn open(
        &self,
        host: &str,
        logins: &Logins,
        first: Vec<Arc<[u8]>>,
        tell: Box<dyn Fn(Incoming) + Send>,
    ) -> Result<Box<dyn Channel>, Problem> {
        let login = logins.keywords.user.as_deref();
        if self.refused.iter().any(|refused| refused == host || Some(refused.as_str()) == login) {
            return Err(Problem::new(ProblemKind::Refused, format!("{host} refuses the connection")));
        }
        assert_eq!(MAGIC.len(), 8);
        let (line, bytes) = mpsc::channel();
        let channel = Line(line);
        channel.send(first);
        let name = login.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
        if login.is_some() {
            self.log.lock().unwrap().push(format!("connected {name}"));
        }
        let (script, log) = (self.script, self.log.clone());
        let tell = Mutex::new(tell);
        let tell: Arc<dyn Fn(Incoming) + Send + Sync> =
            Arc::new(move |incoming| tell.lock().unwrap()(incoming));
        std::thread::spawn(move || {
            tell(Incoming::Started { noise: None });
            let (messages, inbox) = mpsc::channel();
            let inbox = Arc::new(Mutex::new(inbox));
            let mut stream = Stream(bytes);
            let mut threads = Vec::new();
            while let Ok(message) = debark_wire::read::<ToAgent>(&mut stream) {
                match message {
                    ToAgent::Play { shared, host } => {
                        let play = debark_wire::decode::<debark_wire::Play>(&shared).unwrap().index;
                        let agent = Agent {
                            host: name.clone(),
                            play,
                            batch: host.batch,
                            tell: tell.clone(),
                            inbox: inbox.clone(),
                            log: log.clone(),
                        };
                        threads.push(std::thread::spawn(move || {
                            let end = script(&agent);
                            agent.say(FromAgent::PlayEnd {
                                play: agent.play,
                                end,
                                cost: debark_wire::Cost::default(),
                            });
                        }));
                    }
                    ToAgent::Invoke { id, invocation } => {
                        let result =
                            debark_value::map! { "ran" => format!("{} on {name}", invocation.module) };
                        let outcome = debark_wire::Outcome { result, ..Default::default() };
                        tell(Incoming::Message(FromAgent::Invoked { id, outcome }));
                    }
                    ToAgent::End => {
                        // It ends once the plays have run; until then their answers still arrive.
                        let (threads, tell) = (std::mem::take(&mut threads), tell.clone());
                        std::thread::spawn(move || {
                            threads
                                .into_iter()
                                .for_each(|thread: std::thread::JoinHandle<()>| thread.join().unwrap());
                            tell(Incoming::Closed(None));
                        });
                    }
                    other => drop(messages.send(other)),
                }
            }
        });
        Ok(Box::new(channel))
    }
}

#[derive(Default)]
struct Notes(Vec<String>);

impl Monitor for Notes {
    fn note(&mut self, note: &Note<'_>) {
        self.0.push(format!("{note:?}"));
    }
}

pub(super) fn test(hosts: &[&str], script: Script) -> Test {
    Test {
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        spec: PlaySpec { tasks: (0..10).collect(), ..PlaySpec::default() },
        plays: 1,
        script,
        refused: Vec::new(),
        log: Arc::default(),
    }
}

pub(super) fn run(test: Test) -> (Outcome, Vec<String>, Vec<String>) {
    let test = Arc::new(test);
    let mut notes = Notes::default();
    let outcome = Engine::new(test.clone(), &*test, &mut notes, Settings::default()).run();
    let log = test.log.lock().unwrap().clone();
    (outcome, log, notes.0)
}

pub(super) fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
