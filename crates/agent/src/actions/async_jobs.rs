//! `async` with `poll: 0`, and `async_status`: calls that go on when the task is over.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use debark_expr::Scope;
use debark_modules::Host;
use debark_modules::upstream::NoUpstream;
use debark_value::{Map, Value, map};
use debark_wire::{Background, Invocation, Outcome};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Call;
use crate::invoke::{failed, invoke};
use crate::run::Running;
use crate::task::{Doing, Done};

/// Where results lie: below the home directory, as with Ansible, or where there is none in `/var/tmp`.
fn directory() -> PathBuf {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let uid = rustix::process::geteuid().as_raw();
    home.map_or_else(|| format!("/var/tmp/debark-async-{uid}").into(), |home| home.join(".ansible_async"))
}

/// How a task is to go on in the background, if it is.
///
/// # Errors
/// A keyword cannot be rendered.
pub fn asked(running: &Running, doing: &Doing, scope: &Scope) -> Result<Option<Background>, String> {
    let seconds = running.number(&doing.task.async_seconds, "async", scope)?;
    let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) else { return Ok(None) };
    let poll = running.number(&doing.task.poll, "poll", scope)?.unwrap_or(15.0);
    Ok(Some(Background { seconds, poll }))
}

/// Starts a call in the background, and waits for it if that is asked for.
///
/// # Errors
/// It cannot be started.
pub fn begin(invocation: &Invocation) -> Result<Outcome, String> {
    let Background { seconds, poll } =
        invocation.background.ok_or("nothing is to go on in the background")?;
    let (id, job) =
        launch(invocation, seconds).map_err(|e| format!("cannot start a job in the background: {e}"))?;
    if poll > 0.0 {
        return follow(&job, poll, seconds);
    }
    let result = map! {
        "ansible_job_id" => id, "started" => true, "finished" => false,
        "results_file" => job.path.to_string_lossy().into_owned(), "changed" => true,
    };
    Ok(Outcome { result, changed: true, ..Outcome::default() })
}

/// A job: where its result lies, and what opens it.
struct Job {
    path: PathBuf,
    key: String,
}

impl Job {
    /// Of an id: `jTIME.PID.KEY`. The key is with whoever waits for the job, and not on the disk.
    fn of(id: &str) -> Self {
        let (name, key) = match id.rsplit_once('.') {
            Some((name, key)) if name.contains('.') => (name, key),
            _ => (id, ""),
        };
        Self { path: directory().join(name), key: key.to_owned() }
    }

    /// Adds the key's stream: SHA-256 of the key and a counter, block after block. Twice is nothing.
    fn cipher(&self, bytes: &mut [u8]) {
        for (count, block) in (0u64..).zip(bytes.chunks_mut(32)) {
            let stream = Sha256::new().chain_update(&self.key).chain_update(count.to_le_bytes()).finalize();
            block.iter_mut().zip(stream).for_each(|(byte, other)| *byte ^= other);
        }
    }
}

/// What a result begins with that has secrets in it.
const SEALED: &[u8] = b"sealed\n";

fn launch(invocation: &Invocation, seconds: f64) -> std::io::Result<(String, Job)> {
    let dir = directory();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut key = [0; 16];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let id = format!("j{}.{}.{key}", now.as_nanos(), std::process::id());
    let job = Job::of(&id);
    let first = debark_value::to_json_string(&Value::from(
        map! { "started" => true, "finished" => false, "ansible_job_id" => id.as_str() },
    ));
    write(&job.path, first.as_bytes())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("--async").arg(&job.path).arg(format!("{}", seconds.ceil() as u64));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .current_dir("/");
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        let bytes = Zeroizing::new(debark_wire::encode(invocation).map_err(std::io::Error::other)?);
        input.write_all(key.as_bytes())?;
        input.write_all(&bytes)?;
    }
    // Nobody waits for it: it belongs to init when this agent ends.
    Ok((id, job))
}

/// Replaces the file at once, so that a reader never sees half a result.
fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    fs::rename(&new, path)
}

fn read(job: &Job) -> Result<Map, String> {
    let path = &job.path;
    let mut text = fs::read(path).map_err(|_| format!("could not find job {}", path.display()))?;
    if text.starts_with(SEALED) {
        text.drain(..SEALED.len());
        job.cipher(&mut text);
    }
    let json = serde_json::from_slice(&text)
        .map_err(|e| format!("{} is not a job's result: {e}", path.display()))?;
    debark_value::from_json(json)
        .as_map()
        .cloned()
        .ok_or_else(|| format!("{} is not a job's result", path.display()))
}

fn follow(job: &Job, poll: f64, seconds: f64) -> Result<Outcome, String> {
    let deadline = std::time::Instant::now() + Duration::from_secs_f64(seconds + 5.0);
    // The first looks come quickly: most jobs are short, and `poll` is a bound, not a wish.
    let mut pause = 0.05;
    loop {
        match read(job) {
            Ok(result) if result.get("finished").is_some_and(Value::truthy) => {
                let _ = fs::remove_file(&job.path);
                return Ok(outcome(result));
            }
            Ok(_) if std::time::Instant::now() < deadline => {
                std::thread::sleep(Duration::from_secs_f64(pause))
            }
            Ok(_) => return Err(format!("the job did not end within {seconds} s")),
            Err(why) => return Err(why),
        }
        pause = (pause * 2.0).min(poll);
    }
}

fn outcome(result: Map) -> Outcome {
    let flag = |name: &str| result.get(name).is_some_and(Value::truthy);
    let (failed, changed) = (flag("failed"), flag("changed"));
    Outcome { failed, changed, result, ..Outcome::default() }
}

impl Call<'_> {
    /// `async_status`: what became of a job, wherever that was started.
    pub fn async_status(&self) -> Result<Done, String> {
        let (running, action) = (self.running, "async_status".to_owned());
        match running.invocation(self.doing, action, self.args.clone(), self.scope) {
            Ok((_, None)) => status_of(self.args).map(Done::of),
            Ok((call, elsewhere)) => Ok(running.dispatch(self.doing, call, elsewhere, self.scope)),
            Err(done) => Ok(*done),
        }
    }
}

/// What became of the job that these parameters of `async_status` name.
///
/// # Errors
/// There is no such job here.
pub fn status_of(args: &Map) -> Result<Outcome, String> {
    let text = |name: &str| args.get(name).filter(|value| !value.is_null()).map(Value::to_string);
    let id = text("jid").ok_or("async_status needs the parameter `jid`")?;
    if id.is_empty() || id.contains('/') || id.contains("..") {
        return Err(format!("`{id}` is no job id"));
    }
    let job = Job::of(&id);
    let path = &job.path;
    if text("mode").as_deref() == Some("cleanup") {
        let _ = fs::remove_file(path);
        let erased = path.to_string_lossy().into_owned();
        let result = map! { "changed" => false, "ansible_job_id" => id.as_str(), "erased" => erased };
        return Ok(outcome(result));
    }
    let mut result = read(&job)?;
    result.insert("ansible_job_id".into(), id.as_str().into());
    result.entry("started".into()).or_insert(Value::Bool(true));
    result.insert("results_file".into(), path.to_string_lossy().into_owned().into());
    Ok(outcome(result))
}

/// The other side of [`start`]: runs the call from standard input and writes down what came of it.
pub fn async_job() {
    let mut args = std::env::args().skip(2);
    let (Some(path), Some(seconds)) = (args.next().map(PathBuf::from), args.next()) else { return };
    let mut bytes = Zeroizing::new(Vec::new());
    if std::io::stdin().read_to_end(&mut bytes).is_err() {
        return;
    }
    let Some((key, bytes)) = bytes.split_at_checked(32) else { return };
    let job = Job { path, key: String::from_utf8_lossy(key).into_owned() };
    let path = &job.path;
    let Ok(mut invocation) = debark_wire::decode::<Invocation>(bytes) else { return };
    invocation.timeout = seconds.parse().ok();
    // Whoever waits for the session must not wait for the job.
    let _ = rustix::process::setsid();
    // Not for whoever is become.
    let password = invocation.become_password.take();
    let outcome = if let Some(become_) = invocation.become_.clone() {
        let remote = offline();
        crate::worker::Worker::start(Some(&become_), password.as_deref())
            .and_then(|mut worker| worker.run(&invocation, &remote, &|| Ok(())))
            .unwrap_or_else(|why| failed(why, None, Map::new()))
    } else {
        invoke(&Host::new(std::rc::Rc::new(NoUpstream)), &invocation, &|| Ok(()))
    };
    let mut result = outcome.result;
    result.insert("finished".into(), true.into());
    result.insert("started".into(), true.into());
    result.insert("failed".into(), outcome.failed.into());
    if let Some(id) = path.file_name() {
        result.insert("ansible_job_id".into(), id.to_string_lossy().into_owned().into());
    }
    // There is nobody left to tell if it cannot be written; `async_status` will say that it never finished.
    let mut text = debark_value::to_json_string(&Value::from(result)).into_bytes();
    let shown = String::from_utf8_lossy(&text);
    if invocation.secrets.iter().any(|secret| shown.contains(secret.as_str())) {
        job.cipher(&mut text);
        text.splice(..0, SEALED.iter().copied());
    }
    let _ = write(path, &text);
}

/// A way to a controller that is gone: every request is refused at once.
fn offline() -> crate::upstream::Remote {
    let (link, _) =
        crate::link::Link::start(std::io::empty(), std::io::sink(), None, |_, _| Outcome::default());
    crate::upstream::Remote { link, store: Default::default(), origin: Default::default() }
}
