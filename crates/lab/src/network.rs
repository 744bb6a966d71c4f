//! A lab's network: one namespace for the controller with a bridge in it, one per host, a veth pair between. Nothing
//! of it touches the machine's own network, and there is no way out: no uplink, no forwarding, no name server.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::thread::LinkNameSpaceType;

use crate::command::Cmd;
use crate::error::{Error, Result};
use crate::names::{Names, Range};
use crate::process::{self, Process};

/// The interface of a host.
pub const HOST_LINK: &str = "eth0";

/// Where a network namespace is mounted.
pub fn path(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// The controller's end of a host's cable.
pub fn port(number: usize) -> String {
    format!("port{number}")
}

/// The commands that make the namespace with the hosts' bridge.
pub fn bridge_commands(namespace: &str, range: Range) -> Vec<Cmd> {
    let batch = format!(
        "link set lo up\nlink add lab0 type bridge\naddr add {}/24 dev lab0\nlink set lab0 up\n",
        range.bridge()
    );
    vec![Cmd::new("ip").args(["netns", "add", namespace]), batch_in(namespace, batch)]
}

/// The commands that make a host's namespace and join it to the bridge.
pub fn host_commands(names: &Names, bridge: &str, range: Range, host: &str, number: usize) -> Vec<Cmd> {
    let namespace = names.host(host);
    let port = port(number);
    // A reset host keeps its hardware address: others that have it in their ARP tables would otherwise send into the
    // void for half a minute.
    let hardware = format!("02:db:00:00:{:02x}:{:02x}", (number >> 8) & 0xff, number & 0xff);
    let outside = format!(
        "link add {port} type veth peer name {HOST_LINK} address {hardware} netns {namespace}\n\
         link set {port} master lab0 up\n"
    );
    let inside = format!(
        "link set lo up\naddr add {}/24 dev {HOST_LINK}\nlink set {HOST_LINK} up\nroute add default via {}\n",
        range.host(number),
        range.bridge()
    );
    vec![
        Cmd::new("ip").args(["netns", "add", &namespace]),
        batch_in(bridge, outside),
        batch_in(&namespace, inside),
    ]
}

/// Plugs a host's cable in or out.
pub fn cable_command(bridge: &str, number: usize, plugged: bool) -> Cmd {
    let state = if plugged { "up" } else { "down" };
    Cmd::new("ip").args(["-n", bridge, "link", "set", &port(number), state])
}

pub(crate) fn batch_in(namespace: &str, lines: String) -> Cmd {
    Cmd::new("ip").args(["-n", namespace, "-batch", "-"]).stdin(lines)
}

/// Makes the namespace with the hosts' bridge unless it is there.
pub fn ensure_bridge(namespace: &str, range: Range) -> Result<()> {
    if exists(namespace) {
        return Ok(());
    }
    bridge_commands(namespace, range).iter().try_for_each(|cmd| cmd.run().map(drop))
}

/// Makes a host's namespace anew.
pub fn make_host(names: &Names, bridge: &str, range: Range, host: &str, number: usize) -> Result<()> {
    delete(&names.host(host))?;
    // The other end of a cable goes with the namespace, but not at once.
    let _ = Cmd::new("ip").args(["-n", bridge, "link", "delete", &port(number)]).output();
    host_commands(names, bridge, range, host, number).iter().try_for_each(|cmd| cmd.run().map(drop))
}

/// Whether a namespace of this name is there and usable; one whose mount is gone is a plain empty file.
pub fn exists(namespace: &str) -> bool {
    let Ok(file) = std::fs::File::open(path(namespace)) else { return false };
    rustix::fs::fstatfs(file.as_fd()).is_ok_and(|fs| fs.f_type as u64 == NSFS_MAGIC)
}

/// statfs(2), NSFS_MAGIC.
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// Removes a namespace; fine if there is none.
pub fn delete(namespace: &str) -> Result<()> {
    if !path(namespace).exists() {
        return Ok(());
    }
    Cmd::new("ip").args(["netns", "delete", namespace]).run().map(drop)
}

/// The namespaces of a lab that there are.
pub fn of_lab(names: &Names) -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| names.owns(name)).collect()
}

/// Kills what somebody left running in a namespace, an ssh master for example: it would keep the namespace alive
/// without a name. Spares the caller and those it was started by.
pub fn kill_strays(namespace: &str) {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(wanted) = std::fs::metadata(path(namespace)) else { return };
    let mut own = Vec::new();
    let mut next = Some(std::process::id());
    while let Some(pid) = next.filter(|pid| *pid > 1) {
        own.push(pid);
        next = Process::of(pid).and_then(Process::parent);
    }
    for process in process::all().filter(|process| !own.contains(&process.pid)) {
        let here = std::fs::metadata(format!("/proc/{}/ns/net", process.pid));
        if here.is_ok_and(|here| here.dev() == wanted.dev() && here.ino() == wanted.ino()) {
            process.kill();
        }
    }
}

/// Moves the calling thread into a namespace. Sockets that it makes from then on belong there.
pub fn enter(namespace: &str) -> Result<()> {
    let path = path(namespace);
    let file = std::fs::File::open(&path).map_err(Error::file("open", &path))?;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(Error::errno("enter", &path))
}

/// Runs something on a thread of its own inside a namespace.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| enter(namespace).map(|()| work()));
        thread.join().unwrap_or_else(|_| {
            Err(Error::Machine {
                what: format!("a thread inside the namespace {namespace} ended early"),
                hint: "report this".into(),
            })
        })
    })
}

/// Waits until an SSH server greets at this address, called inside the namespace. `still` says whether waiting makes
/// sense; it is asked between attempts.
pub fn wait_for_ssh(address: IpAddr, patience: Duration, still: &dyn Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline && still() {
        if greets(SocketAddr::new(address, 22)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut hello = [0; 4];
    let greeted = stream.read_exact(&mut hello).is_ok() && &hello == b"SSH-";
    // A polite goodbye keeps the host's journal free of "kex_exchange_identification" errors.
    let _ = stream.write_all(b"SSH-2.0-lab\r\n");
    greeted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_these() {
        let names = Names::new("debark", "x");
        let cmds = host_commands(&names, "debark-x", Range(3), "h2", 2);
        assert_eq!(cmds[0].line(), "ip netns add debark-x.h2");
        assert_eq!(cmds[1].line(), "ip -n debark-x -batch -");
        assert_eq!(
            cmds[1].stdin.as_deref().unwrap(),
            "link add port2 type veth peer name eth0 address 02:db:00:00:00:02 netns debark-x.h2\n\
             link set port2 master lab0 up\n"
        );
        assert!(cmds[2].stdin.as_deref().unwrap().contains("addr add 10.213.3.12/24 dev eth0\n"));
        assert_eq!(cable_command("debark-x", 2, false).line(), "ip -n debark-x link set port2 down");
    }

    #[test]
    fn a_namespace_that_is_not_there_does_not_exist() {
        assert!(!exists("no-such-namespace"));
        assert!(inside("no-such-namespace", || ()).is_err());
    }
}
