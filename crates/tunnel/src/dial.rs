//! What a ProxyCommand does: asks a tunnel for a connection, or makes one that is bound to an interface.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::{Failure, Stage};
use crate::hello::LINE;
use crate::route;

/// Answers are a line of so many bytes at most.
const ANSWER: usize = 4096;

/// Asks the tunnel behind a socket for a connection.
///
/// # Errors
/// Why it cannot be had.
pub fn dial(socket: &Path, host: &str, port: u16, patience: Duration) -> Result<OwnedFd, Failure> {
    let gone = |error: &io::Error| {
        Failure::new(
            Stage::Local,
            format!("the tunnel is not there: {}: {error}", socket.display()),
            "the debark that opened it has ended; nothing is sent outside of it",
        )
    };
    let request = format!("{host} {port} {}\n", patience.as_millis());
    if request.len() > LINE || host.contains([' ', '\n']) {
        return Err(Failure::new(Stage::Name, format!("{host} is no name of a host"), "set ansible_host"));
    }
    let mut stream = UnixStream::connect(socket).map_err(|error| gone(&error))?;
    stream.write_all(request.as_bytes()).map_err(|error| gone(&error))?;
    let (mut line, mut byte) = (Vec::new(), [0]);
    // Byte by byte: what follows the line is the host's.
    while line.len() < ANSWER {
        match stream.read(&mut byte) {
            Ok(0) => return Err(gone(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(gone(&error)),
        }
    }
    let line = String::from_utf8_lossy(&line);
    if line == "ok" {
        return Ok(stream.into());
    }
    Err(Failure::of_line(&line)
        .unwrap_or_else(|| Failure::new(Stage::Local, "the tunnel answers in words that mean nothing", "")))
}

/// Connects to an address by this interface only: the kernel's route must leave by it, and the socket is bound to it, so
/// that nothing leaves elsewhere even if the route changes.
///
/// # Errors
/// Why it cannot be had.
pub fn dial_by(interface: &str, host: &str, port: u16, patience: Duration) -> Result<OwnedFd, Failure> {
    let address: IpAddr = host.parse().map_err(|_| {
        Failure::new(
            Stage::Name,
            format!("{host} is a name, and behind the interface {interface} only addresses are contacted"),
            "set ansible_host to its address: a name would be asked of this machine's own resolver",
        )
    })?;
    let far = SocketAddr::new(address, port);
    check(interface, address)?;
    let bound = (|| {
        let socket = Socket::new(Domain::for_address(far), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        Ok(socket)
    })();
    let socket: Socket = bound.map_err(|error: io::Error| {
        Failure::new(
            Stage::Local,
            format!("a connection cannot be bound to the interface {interface}: {error}"),
            "unprivileged users may do that from Linux 5.7 on",
        )
    })?;
    socket.connect_timeout(&far.into(), patience.max(Duration::from_millis(1))).map_err(
        |error| match error.kind() {
            io::ErrorKind::ConnectionRefused => Failure::new(
                Stage::Refused,
                format!("{far} refuses the connection: nothing listens there, or a firewall says no"),
                "is sshd running there, and is ansible_port right?",
            ),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::new(
                Stage::TimedOut,
                format!("{far} does not answer by {interface} within {} s", patience.as_secs()),
                "is the host up, and does the VPN lead there?",
            ),
            _ => Failure::new(
                Stage::TimedOut,
                format!("{far} cannot be reached by {interface}: {error}"),
                "is the VPN up?",
            ),
        },
    )?;
    Ok(socket.into())
}

/// Whether an address is reached by this interface.
///
/// # Errors
/// There is no such interface, or the route leaves by another.
pub fn check(interface: &str, address: IpAddr) -> Result<(), Failure> {
    let refused = |message: String| {
        Failure::new(Stage::Route, message, "is the VPN up, and does it hold the host's address?")
    };
    if !route::exists(interface) {
        return Err(refused(format!(
            "there is no interface {interface}, by which alone {address} may be reached"
        )));
    }
    match route::leaves_by(address) {
        Some(other) if other == interface => Ok(()),
        Some(other) => Err(refused(format!("the route to {address} leaves by {other}, not by {interface}"))),
        None => Err(refused(format!("there is no route to {address}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_by_the_interface_that_was_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let second = Duration::from_secs(20);
        assert!(dial_by("lo", "127.0.0.1", port, second).is_ok());
        let refused = |interface: &str, host: &str| dial_by(interface, host, port, second).unwrap_err();
        assert_eq!(refused("no-such-if", "127.0.0.1").stage, Stage::Route);
        assert_eq!(refused("lo", "localhost").stage, Stage::Name);
        drop(listener);
        assert_eq!(refused("lo", "127.0.0.1").stage, Stage::Refused);
    }

    #[test]
    fn a_socket_that_a_killed_run_left_refuses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let failure = dial(&path, "h1", 22, Duration::from_secs(1)).unwrap_err();
        assert_eq!(failure.stage, Stage::Local);
        assert_eq!(dial(&path, "h 1", 22, Duration::from_secs(1)).unwrap_err().stage, Stage::Name);
    }
}
