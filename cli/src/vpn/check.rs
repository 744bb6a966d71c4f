//! `debark vpn check`: whether the tunnel stands, and whether hosts are reached through it and only through it.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use debark_connect::{Problem, ProblemKind, Target, Vpn, Ways};
use debark_playbook::inventory::Limit;
use debark_playbook::{Diagnostic, SourceMap};
use debark_tunnel::{PeerStatus, dial_by};
use serde_json::json;

use crate::common::{Common, refused, show};
use crate::exec::Task;
use crate::signals::Signals;
use crate::{exit, vpn};

/// How long a host may take to be seen outside of the VPN: one that is closed says nothing.
const OUTSIDE: Duration = Duration::from_secs(3);
/// Hosts that are looked at at once.
const AT_ONCE: usize = 50;

/// Shows whether the VPN stands, and whether hosts can be reached inside and outside of it
///
/// To see whether a host is closed outside, one connection to it is tried outside, by its address, on purpose.
///
/// Exit codes: 0 all hosts are reached inside only, 1 bad input, 2 a host can be reached outside, 4 or more a host cannot
/// be reached inside (docs/reference/exit-codes.md), 6 or more both.
#[derive(clap::Args)]
pub struct CheckArgs {
    /// The hosts: names, groups, patterns
    #[arg(value_name = "PATTERN", default_value = "all")]
    pattern: String,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub fn run(args: &CheckArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    let prepared = (|| -> Result<_, Vec<Diagnostic>> {
        let opened = args.common.open(&sources)?;
        let limit = Limit::parse(args.common.limit.as_deref()).map_err(|error| vec![error])?;
        let selected = opened.inventory.select(&args.pattern, &limit).map_err(|error| vec![error])?;
        show(&selected.warnings, &sources);
        let task = Task { pattern: &args.pattern, module: "ping", args: "" };
        let hosts: Vec<String> = selected.hosts.iter().map(ToString::to_string).collect();
        Ok((hosts, task.prepared(&args.common, &sources)?))
    })();
    let (hosts, site) = match prepared {
        Ok(prepared) => prepared,
        Err(errors) => return refused(&errors, &sources, &signals),
    };
    let ways = vpn::ways(site.vault());
    let mut targets = Vec::new();
    for host in &hosts {
        match site.target(host) {
            Ok(target) => targets.push(target),
            Err(why) => return exit::usage(&why, None),
        }
    }
    let found = look(&targets, &ways);
    let mut vpns: Vec<&Vpn> =
        targets.iter().map(|target| &target.vpn).filter(|vpn| **vpn != Vpn::None).collect();
    let mut seen = std::collections::HashSet::new();
    vpns.retain(|vpn| seen.insert(*vpn));
    // The status is a moment old.
    std::thread::sleep(Duration::from_millis(150));
    for vpn in vpns {
        show_vpn(vpn, &ways, args.common.json);
    }
    ways.warnings().iter().for_each(|text| anstream::eprintln!("warning: {text}"));
    found.iter().for_each(|seen| seen.show(args.common.json));
    let away = found.iter().filter_map(|seen| seen.inside.as_ref().err());
    let unreachable = debark_connect::exit_code(away.map(|problem| Some(problem.kind)));
    let open = if found.iter().any(|seen| seen.vpn && seen.outside == Some(true)) { exit::FAILED } else { 0 };
    ExitCode::from(unreachable | open)
}

/// What was seen of a host.
struct Seen {
    host: String,
    /// Whether it is behind a VPN.
    vpn: bool,
    /// How long it took to answer, or why it does not.
    inside: Result<Duration, Problem>,
    /// Whether it answers outside; `None`: nobody can tell, or it is not to be closed there.
    outside: Option<bool>,
}

fn look(targets: &[Target], ways: &Ways) -> Vec<Seen> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut found: Vec<(usize, Seen)> = std::thread::scope(|scope| {
        let worker = || {
            let mut own = Vec::new();
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(target) = targets.get(number) else { return own };
                own.push((number, look_at(target, ways)));
            }
        };
        let workers: Vec<_> = (0..AT_ONCE.min(targets.len())).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, seen)| seen).collect()
}

fn look_at(target: &Target, ways: &Ways) -> Seen {
    let port = target.port.unwrap_or(22);
    let patience = Duration::from_secs(target.timeout.max(1).into());
    let begun = Instant::now();
    let plain = |message: &str| Problem::new(ProblemKind::Vpn, message);
    let inside = match &target.vpn {
        Vpn::Interface(name) => dial_by(name, &target.host, port, patience),
        vpn => match ways.tunnel(vpn) {
            Ok(Some(served)) => match served.tunnel() {
                Some(tunnel) => tunnel.connect(&target.host, port, patience).map(|(stream, _)| stream.into()),
                None => {
                    return Seen {
                        host: target.name.clone(),
                        vpn: true,
                        inside: Err(plain("no tunnel")),
                        outside: None,
                    };
                }
            },
            Ok(None) => {
                let reached =
                    if target.local { Ok(Duration::ZERO) } else { Err(plain("no VPN is declared for it")) };
                return Seen { host: target.name.clone(), vpn: false, inside: reached, outside: None };
            }
            Err(failure) => Err(failure),
        },
    };
    let inside = match inside {
        Ok(fd) => match greets(fd, patience) {
            true => Ok(begun.elapsed()),
            false => {
                Err(Problem::new(ProblemKind::Garbage, "it takes the connection, and no SSH server greets"))
            }
        },
        Err(failure) => Err(failure.into()),
    };
    let address = target.host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port));
    // By an interface that the system runs there is no outside to look from.
    let outside = match target.vpn {
        Vpn::Wireguard { .. } => address.map(|address| TcpStream::connect_timeout(&address, OUTSIDE).is_ok()),
        _ => None,
    };
    Seen { host: target.name.clone(), vpn: true, inside, outside }
}

/// Whether an SSH server is at the other end.
fn greets(fd: OwnedFd, patience: Duration) -> bool {
    let mut stream = UnixStream::from(fd);
    let mut word = [0; 4];
    stream.set_read_timeout(Some(patience)).is_ok()
        && stream.read_exact(&mut word).is_ok()
        && &word == b"SSH-"
}

impl Seen {
    fn show(&self, json: bool) {
        if json {
            let (took, why) = match &self.inside {
                Ok(took) => (Some(millis(*took)), None),
                Err(problem) => (None, Some(&problem.message)),
            };
            let line = json!({"event": "host", "host": self.host, "vpn": self.vpn, "inside": took.is_some(), "inside_ms": took, "message": why, "outside": self.outside});
            return anstream::println!("{line}");
        }
        let outside = match self.outside {
            Some(true) => "open outside of the VPN",
            Some(false) => "closed outside",
            None => "",
        };
        match &self.inside {
            Ok(took) => anstream::println!(
                "{}",
                format!("{}  inside in {} ms  {outside}", self.host, millis(*took)).trim_end()
            ),
            Err(Problem { message: why, hint, .. }) => {
                anstream::println!("{}", format!("{}  not reached: {why}  {outside}", self.host).trim_end());
                if let Some(hint) = hint {
                    anstream::println!("    hint: {hint}");
                }
            }
        }
    }
}

fn show_vpn(vpn: &Vpn, ways: &Ways, json: bool) {
    let name = match vpn {
        Vpn::Wireguard { config, .. } => config.display().to_string(),
        Vpn::Interface(name) => name.clone(),
        Vpn::None => return,
    };
    let Ok(Some(served)) = ways.tunnel(vpn) else { return };
    let status = served.tunnel().map(debark_tunnel::Tunnel::status).unwrap_or_default();
    for peer in &status.peers {
        show_peer(&name, peer, json);
    }
}

fn show_peer(name: &str, peer: &PeerStatus, json: bool) {
    let took = peer.handshake.map(|(_, took)| millis(took));
    let address = peer.address.map(|address| address.to_string());
    if json {
        let line = json!({"event": "peer", "vpn": name, "key": peer.key.to_string(), "endpoint": peer.endpoint, "address": address, "handshake_ms": took, "sent": peer.sent, "received": peer.received});
        return anstream::println!("{line}");
    }
    let endpoint = peer.endpoint.clone().or(address.clone()).unwrap_or_else(|| "no endpoint".into());
    let place = match address {
        Some(address) if address != endpoint => format!("{endpoint} ({address})"),
        _ => endpoint,
    };
    let stands = took.map_or("no handshake".to_owned(), |took| format!("handshake in {took} ms"));
    anstream::println!("{name}  {place}  {stands}  {} bytes sent, {} received", peer.sent, peer.received);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
