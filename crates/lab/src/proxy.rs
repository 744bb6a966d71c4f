//! The caching proxy through which hosts install packages: apt-cacher-ng on a loopback port, one for all labs of a
//! state directory, carried into each lab's namespace by a relay.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::background;
use crate::cgroup::Trees;
use crate::error::{Error, Result};
use crate::process::Process;
use crate::sources::{self, Source};
use crate::state::Suite;
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

/// The proxy's configuration. It fetches from these archives and nowhere else: hosts have no other way out.
fn config(dir: &Path, port: u16, upstream: Option<&str>, sources: &[Source]) -> String {
    let dir = dir.display();
    let mut text = format!(
        "CacheDir: {dir}/cache\nLogDir: {dir}/log\nSupportDir: /usr/lib/apt-cacher-ng\nSocketPath: {dir}/socket\n\
         Port: {port}\nBindAddress: 127.0.0.1\nForeGround: 1\nVerboseLog: 0\nExThreshold: 14\nForceManaged: 1\n"
    );
    let mut archives: Vec<_> = sources.iter().map(|source| (source.host_uri(), &source.uri)).collect();
    archives.sort();
    archives.dedup();
    for (number, (asked, fetched)) in archives.into_iter().enumerate() {
        let _ = writeln!(text, "Remap-archive{number}: {asked} ; {fetched}");
    }
    if let Some(url) = upstream {
        let _ = writeln!(text, "Proxy: {url}");
    }
    text
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
    let archives: Vec<_> = Suite::ALL.iter().flat_map(|suite| sources::for_suite(*suite)).collect();
    let upstream = sources::machine_proxy();
    let wanted = |port: u16| config(&dir, port, upstream.as_deref(), &archives);
    let conf = dir.join("conf/acng.conf");
    let last = running.as_ref().map(|running| running.port);
    if let Some(running) = running
        && running.process.is_alive()
        && std::fs::read_to_string(&conf).is_ok_and(|text| text == wanted(running.port))
        && answers(running.port)
    {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, running.port)));
    }
    stop(store, trees)?;
    for part in ["cache", "log", "conf"] {
        make_dir(&dir.join(part))?;
    }
    // The last port first: relays of labs that are up lead there.
    let free =
        last.into_iter().chain(PORTS).find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let port = free.ok_or_else(|| Error::Machine {
        what: format!("no loopback port from {} to {} is free", PORTS.start(), PORTS.end()),
        hint: "stop what listens there".into(),
    })?;
    write_file(&conf, &wanted(port))?;
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
    fn it_listens_on_loopback_and_fetches_from_the_archives_only() {
        let source =
            |uri: &str, suite: &str| Source { uri: uri.into(), suite: suite.into(), components: vec![] };
        let sources = [
            source("https://m.example/debian", "a"),
            source("http://s.example/s", "a"),
            source("http://s.example/s", "b"),
        ];
        let text = config(Path::new("/x/proxy"), 3142, Some("http://proxy.example:8080"), &sources);
        assert!(text.contains("BindAddress: 127.0.0.1\n") && text.contains("Port: 3142\n"), "{text}");
        assert!(
            text.ends_with(
                "ForceManaged: 1\nRemap-archive0: http://m.example/debian ; https://m.example/debian\n\
             Remap-archive1: http://s.example/s ; http://s.example/s\nProxy: http://proxy.example:8080\n"
            ),
            "{text}"
        );
    }
}
