//! A tunnel as the rest of the program sees it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use debark_value::wiping;
use rustix::event::EventfdFlags;

use crate::config::Config;
use crate::engine::{Command, Engine, ring};
use crate::failure::{Failure, Stage};
use crate::hello::{Hello, Request};
use crate::status::Status;
use crate::wire::Wire;

/// An open tunnel: one thread. Dropping it closes all its connections.
pub struct Tunnel {
    commands: Sender<Command>,
    bell: Arc<OwnedFd>,
    status: Arc<Mutex<Status>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel(..)")
    }
}

impl Tunnel {
    /// Opens a tunnel and begins to agree on keys with its peers. With a listener other processes are served on it.
    ///
    /// # Errors
    /// The system gives no socket or thread.
    pub fn open(config: Config, listener: Option<UnixListener>) -> io::Result<Self> {
        if let Some(listener) = &listener {
            listener.set_nonblocking(true)?;
        }
        let wire = Wire::open(config.port)?;
        let bell = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (commands, heard) = channel();
        let status = Arc::<Mutex<Status>>::default();
        let engine =
            Engine::new(config, wire, listener, (commands.clone(), heard), bell.clone(), status.clone());
        let thread = std::thread::Builder::new().name("tunnel".into()).spawn(move || {
            engine.run();
            // The system keeps stacks of threads for the next ones.
            wiping::stack();
        })?;
        wiping::stack();
        Ok(Self { commands, bell, status, thread: Some(thread) })
    }

    /// Asks for a connection; the answer goes where [`Request::hello`] says.
    pub fn request(&self, request: Request) {
        // Without an engine the request's socket is closed, which tells.
        let _ = self.commands.send(Command::Connect(request));
        ring(&self.bell);
    }

    /// Connects and waits for it: the stream, and the address that was reached.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn connect(
        &self,
        host: &str,
        port: u16,
        patience: Duration,
    ) -> Result<(UnixStream, SocketAddr), Failure> {
        let local = |error: io::Error| Failure::new(Stage::Local, format!("no socket: {error}"), "");
        let (near, far) = UnixStream::pair().map_err(local)?;
        let (sender, answer) = channel();
        self.request(Request {
            host: host.into(),
            port,
            patience,
            hello: Hello::Tell(sender),
            fd: far.into(),
        });
        match answer.recv() {
            Ok(Ok(address)) => Ok((near, address)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::new(Stage::Local, "the tunnel is not there any more", "")),
        }
    }

    /// How it fares; a moment old.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        ring(&self.bell);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}
