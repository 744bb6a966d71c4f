//! The caching proxy through which hosts install packages: apt-cacher-ng on a loopback port, one for all labs of a
//! state directory, carried into each lab's namespace by a relay.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::background;
use crate::cgroup::Trees;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::sources;
use crate::store::{Store, make_dir, write_file};

/// Ports to choose from. apt-cacher-ng 3.7 cannot bind one of five digits.
const PORTS: std::ops::RangeInclusive<u16> = 3142..=3999;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    process: Process,
    port: u16,
}

/// The control group of the proxy. No lab's name begins like this.
fn group(store: &Store) -> String {
    format!("{}/_proxy", store.prefix())
}

fn config(dir: &Path, port: u16, upstream: Option<&str>) -> String {
    let dir = dir.display();
    let upstream = upstream.map(|url| format!("Proxy: {url}\n")).unwrap_or_default();
    format!(
        "CacheDir: {dir}/cache\nLogDir: {dir}/log\nSupportDir: /usr/lib/apt-cacher-ng\nSocketPath: {dir}/socket\n\
         Port: {port}\nBindAddress: 127.0.0.1\nForeGround: 1\nVerboseLog: 0\nExThreshold: 14\n{upstream}"
    )
}

fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

/// Starts the proxy unless it runs, and returns its address. The caller holds the lock of all labs.
pub fn ensure(store: &Store, trees: &Trees, program: &Path) -> Result<SocketAddr> {
    let dir = store.proxy();
    let state = dir.join("running.json");
    let running: Option<Running> =
        std::fs::read_to_string(&state).ok().and_then(|text| serde_json::from_str(&text).ok());
    if let Some(running) = running
        && running.process.is_alive()
        && answers(running.port)
    {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, running.port)));
    }
    stop(store, trees)?;
    for part in ["cache", "log", "conf"] {
        make_dir(&dir.join(part))?;
    }
    let free = PORTS.into_iter().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let port = free.ok_or_else(|| Error::Machine {
        what: format!("no loopback port from {} to {} is free", PORTS.start(), PORTS.end()),
        hint: "stop what listens there".into(),
    })?;
    write_file(&dir.join("conf/acng.conf"), &config(&dir, port, sources::machine_proxy().as_deref()))?;
    let args = ["apt-cacher-ng".into(), "-c".into(), dir.join("conf").into_os_string()];
    let log = dir.join("log/output");
    let pid = background::launch(program, &group(store), &args, &log)?;
    let up = background::wait_until(Duration::from_secs(20), || answers(port) || Process::of(pid).is_none());
    match Process::of(pid) {
        Some(process) if up && answers(port) => {
            let text = serde_json::to_string(&Running { process, port }).unwrap_or_default();
            write_file(&state, &text)?;
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        }
        _ => Err(Error::Command {
            command: "apt-cacher-ng".into(),
            status: "did not start".into(),
            stderr: std::fs::read_to_string(&log).unwrap_or_default(),
        }),
    }
}

/// Stops the proxy; fine if it does not run. Its cache stays.
pub fn stop(store: &Store, trees: &Trees) -> Result<()> {
    let group = group(store);
    background::kill_newborn(&["launch", &group]);
    trees.kill(&group)?;
    let dir = store.proxy();
    for name in ["running.json", "socket"] {
        let path = dir.join(name);
        match std::fs::remove_file(&path) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &path)(err));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_loopback_only() {
        let text = config(Path::new("/x/proxy"), 3142, Some("http://proxy.example:8080"));
        assert!(text.contains("BindAddress: 127.0.0.1\n") && text.contains("Port: 3142\n"), "{text}");
        assert!(text.ends_with("Proxy: http://proxy.example:8080\n"), "{text}");
    }
}
