//! `debark vpn-connect`: what ssh runs as its ProxyCommand.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use debark_connect::VPN_FAILURE;
use debark_tunnel::{dial, dial_by};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Connects to a host through a running debark's tunnel, or by one interface only
#[derive(clap::Args)]
pub struct ConnectArgs {
    /// The tunnel's socket
    #[arg(long, value_name = "PATH", required_unless_present = "interface")]
    socket: Option<PathBuf>,
    /// The interface
    #[arg(long, value_name = "NAME", conflicts_with = "socket")]
    interface: Option<String>,
    /// The host
    host: String,
    /// Its port
    port: u16,
    /// How long it may take, in milliseconds
    #[arg(default_value_t = 10_000)]
    patience: u64,
}

/// Runs the command.
pub fn connect(args: &ConnectArgs) -> ExitCode {
    let patience = Duration::from_millis(args.patience);
    let dialed = match (&args.socket, &args.interface) {
        (Some(socket), _) => dial(socket, &args.host, args.port, patience),
        (None, interface) => {
            dial_by(interface.as_deref().unwrap_or_default(), &args.host, args.port, patience)
        }
    };
    let fd = match dialed {
        Ok(fd) => fd,
        Err(failure) => {
            eprintln!("{VPN_FAILURE}{}", failure.line());
            return ExitCode::FAILURE;
        }
    };
    // ssh with ProxyUseFdpass has a socket there: it gets the connection itself, and this process is not in its way.
    let passed = pass(&fd);
    let done = if passed.is_ok() { Ok(()) } else { relay(fd) };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Hands a descriptor over on standard output, as OpenSSH's mm_receive_fd takes it: with one byte.
fn pass(fd: &OwnedFd) -> rustix::io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(io::stdout(), &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Copies bytes both ways until both ends are over.
fn relay(fd: OwnedFd) -> io::Result<()> {
    let far = UnixStream::from(fd);
    let mut to = far.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut far, mut out, mut buffer) = (far, io::stdout().lock(), vec![0; 64 << 10]);
    loop {
        let length = far.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        out.write_all(buffer.get(..length).unwrap_or_default())?;
        out.flush()?;
    }
}
