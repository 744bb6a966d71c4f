//! `wait_for`: waits for a port, a file, or the end of connections.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fancy_regex::Regex;

use crate::param::{NO_RULES, Rules};
use crate::{Failure, Host, Map, Plan, Value, choices, map, params};

choices! {
    /// What is waited for.
    pub enum State {
        Started = "started", Present = "present", Stopped = "stopped", Absent = "absent", Drained = "drained",
    }
}

params! {
    /// Waits until a condition holds; changes nothing.
    pub struct Params for "ansible.builtin.wait_for" {
        /// Host of the port, as the managed host sees it.
        host: String = "127.0.0.1".to_owned(),
        /// Port to connect to.
        port: Option<i64>,
        /// File to look for.
        path: Option<PathBuf>,
        /// What is waited for.
        state: State = State::Started,
        /// What must be in the file, or be said by whoever listens on the port.
        search_regex: Option<String>,
        /// Seconds before the first look.
        delay: i64 = 0,
        /// Seconds between looks.
        sleep: i64 = 1,
        /// Seconds until giving up.
        timeout: i64 = 300,
        /// Seconds that connecting may take.
        connect_timeout: i64 = 5,
        /// With `drained`: hosts whose connections do not count.
        exclude_hosts: Vec<String>,
        /// With `drained`: states that count.
        active_connection_states: Vec<String> =
            ["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "SYN_RECV", "SYN_SENT", "TIME_WAIT"].map(String::from).to_vec(),
        /// What to say when giving up.
        msg: Option<String>,
    }
    rules Rules { exclusive: &[&["port", "path"]], ..NO_RULES }
}

/// Output beyond this is not searched.
const LIMIT: u64 = 32 << 20;

fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

fn connect(addresses: &[IpAddr], port: u16, limit: Duration) -> Option<TcpStream> {
    let limit = limit.max(Duration::from_millis(1));
    addresses
        .iter()
        .find_map(|address| TcpStream::connect_timeout(&SocketAddr::new(*address, port), limit).ok())
}

/// Groups of the first match.
fn search(regex: &Regex, text: &str) -> Option<(Value, Map)> {
    let found = regex.captures(text).ok()??;
    let groups = (1..found.len()).map(|at| Value::from(found.get(at).map(|m| m.as_str().to_owned())));
    let named = regex
        .capture_names()
        .flatten()
        .map(|name| (name.into(), Value::from(found.name(name).map(|m| m.as_str().to_owned()))));
    Some((Value::list(groups), named.collect()))
}

/// Numbers of TCP states in `/proc/net/tcp`, include/net/tcp_states.h.
fn state_number(name: &str) -> Option<u8> {
    const STATES: [&str; 11] = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
    ];
    STATES.iter().position(|state| *state == name).and_then(|at| u8::try_from(at + 1).ok())
}

/// `0100007F:0016` of `/proc/net/tcp`: 32-bit groups in the machine's byte order.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let words: Vec<u32> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let address = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok()?.into(),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

fn active(table: &str, port: u16, local: &[IpAddr], exclude: &[IpAddr], states: &[u8]) -> usize {
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((
            endpoint(words.next()?)?,
            endpoint(words.next()?)?,
            u8::from_str_radix(words.next()?, 16).ok()?,
        ))
    });
    rows.filter(|((address, own), (peer, _), state)| {
        let here = local.is_empty() || local.contains(address) || address.is_unspecified();
        *own == port && here && states.contains(state) && !exclude.contains(peer)
    })
    .count()
}

/// Waits. Even in check mode nothing would change, but an earlier task may be what makes it true: it is not run there.
///
/// # Errors
/// A combination that makes no sense, a regular expression that is none; later, that the time is up.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    if params.path.is_some() && matches!(params.state, State::Stopped | State::Drained) {
        return Err(Failure::new(format!(
            "wait_for: `state: {}` is about a port, not a path",
            params.state.word()
        )));
    }
    if !params.exclude_hosts.is_empty() && params.state != State::Drained {
        return Err(Failure::new("wait_for: `exclude_hosts` goes with `state: drained`"));
    }
    let port = params.port.map(u16::try_from).transpose();
    let port = port.map_err(|_| Failure::new("wait_for: the port is none: it is not between 0 and 65535"))?;
    let regex = params.search_regex.as_ref().map(|text| {
        Regex::new(&format!("(?m){text}")).map_err(|e| Failure::new(format!("wait_for: search_regex: {e}")))
    });
    let regex = regex.transpose()?;
    let unknown = params.active_connection_states.iter().find(|name| state_number(name).is_none());
    if let Some(name) = unknown {
        return Err(Failure::new(format!("wait_for: there is no connection state {name}")));
    }
    Ok(Plan::run(move |host| wait(&params, port, regex.as_ref(), host)))
}

fn wait(params: &Params, port: Option<u16>, regex: Option<&Regex>, host: &Host) -> Result<Map, Failure> {
    let started = Instant::now();
    std::thread::sleep(seconds(params.delay));
    let end = started + seconds(params.timeout);
    let nothing = port.is_none() && params.path.is_none() && params.state != State::Drained;
    let mut groups = (Value::list([] as [Value; 0]), Map::new());
    if nothing {
        std::thread::sleep(seconds(params.timeout));
    } else {
        loop {
            match look(params, port, regex, host, end)? {
                Some(found) => {
                    groups = found;
                    break;
                }
                None if Instant::now() >= end => return Err(timed_out(params, started)),
                None => {
                    let left = end.saturating_duration_since(Instant::now());
                    std::thread::sleep(seconds(params.sleep).max(Duration::from_millis(10)).min(left));
                }
            }
        }
    }
    Ok(map! {
        "changed" => false, "state" => params.state.word(), "port" => params.port,
        "search_regex" => Value::from(params.search_regex.clone()), "match_groups" => groups.0,
        "match_groupdict" => groups.1, "elapsed" => started.elapsed().as_secs(),
        "path" => Value::from(params.path.as_ref().map(|path| path.to_string_lossy().into_owned())),
    })
}

type Found = Option<(Value, Map)>;

/// Looks once: the match's groups if the condition holds.
fn look(
    params: &Params,
    port: Option<u16>,
    regex: Option<&Regex>,
    host: &Host,
    end: Instant,
) -> Result<Found, Failure> {
    let yes = || Some((Value::list([] as [Value; 0]), Map::new()));
    let stop = matches!(params.state, State::Stopped | State::Absent);
    if let Some(path) = &params.path {
        return Ok(match (std::fs::metadata(path), stop) {
            (Err(error), false) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::io("cannot look at", path, error));
            }
            (Err(_), stop) => stop.then(yes).flatten(),
            (Ok(_), true) => None,
            (Ok(_), false) => match regex {
                None => yes(),
                Some(regex) => {
                    let mut bytes = Vec::new();
                    let read = std::fs::File::open(path).and_then(|f| f.take(LIMIT).read_to_end(&mut bytes));
                    read.ok().and_then(|_| search(regex, &String::from_utf8_lossy(&bytes)))
                }
            },
        });
    }
    let Some(port) = port else {
        return Err(Failure::new("wait_for: `state: drained` needs the parameter `port`"));
    };
    // A name that does not resolve yet may do so later: nobody answers there now.
    let addresses = crate::http::addresses(host, &params.host).unwrap_or_default();
    if params.state == State::Drained {
        let local: Vec<IpAddr> = addresses.into_iter().filter(|a| !a.is_unspecified()).collect();
        let excluded: Vec<IpAddr> = params
            .exclude_hosts
            .iter()
            .flat_map(|name| crate::http::addresses(host, name).unwrap_or_default())
            .collect();
        let states: Vec<u8> =
            params.active_connection_states.iter().filter_map(|s| state_number(s)).collect();
        let tables =
            ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let count: usize = tables.iter().map(|t| active(t, port, &local, &excluded, &states)).sum();
        return Ok((count == 0).then(yes).flatten());
    }
    let left = end.saturating_duration_since(Instant::now());
    let stream = connect(&addresses, port, seconds(params.connect_timeout).min(left));
    Ok(match (stream, stop, regex) {
        (stream, true, _) => stream.is_none().then(yes).flatten(),
        (Some(stream), false, Some(regex)) => listen(stream, regex, end),
        (Some(_), false, None) => yes(),
        (None, false, _) => None,
    })
}

/// Reads what is said on a connection until it matches, ends, or the time is up.
fn listen(mut stream: TcpStream, regex: &Regex, end: Instant) -> Found {
    let mut heard = Vec::new();
    let mut chunk = [0u8; 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || heard.len() as u64 > LIMIT || stream.set_read_timeout(Some(left)).is_err() {
            return None;
        }
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => heard.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            _ => return None,
        }
        if let Some(found) = search(regex, &String::from_utf8_lossy(&heard)) {
            return Some(found);
        }
    }
}

fn timed_out(params: &Params, started: Instant) -> Failure {
    let what = match (&params.path, params.port) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(port)) => format!("{}:{port}", params.host),
        (None, None) => params.host.clone(),
    };
    let text = params.search_regex.as_ref().map(|text| format!("search string {text} in "));
    let words = match params.state {
        State::Started | State::Present if params.path.is_some() && text.is_none() => format!("file {what}"),
        State::Started | State::Present => format!("{}{what}", text.unwrap_or_default()),
        State::Absent if params.path.is_some() => format!("{what} to be absent"),
        State::Stopped | State::Absent => format!("{what} to stop"),
        State::Drained => format!("{what} to drain"),
    };
    let msg = params.msg.clone().unwrap_or_else(|| format!("timeout when waiting for {words}"));
    Failure::new(msg).with(map! { "elapsed" => started.elapsed().as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;
    use std::io::Write;

    fn run(args: Map) -> Result<Map, Failure> {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        match plan(Params::parse(&args)?, &host)?.action {
            Action::Run(apply) => apply(&host),
            _ => panic!("it should run"),
        }
    }

    #[test]
    fn ports_files_and_what_they_say() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = i64::from(listener.local_addr().unwrap().port());
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let _ = stream.unwrap().write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            }
        });
        assert_eq!(run(map! { "port" => port, "timeout" => 5 }).unwrap()["elapsed"], 0.into());
        let found =
            run(map! { "port" => port, "timeout" => 5, "search_regex" => "OpenSSH_(?P<v>\\d+)" }).unwrap();
        assert_eq!(found["match_groupdict"].get("v"), Some(&"9".into()));
        server.join().unwrap();
        assert!(run(map! { "port" => port, "timeout" => 5, "state" => "stopped" }).is_ok());
        let error = run(map! { "port" => port, "timeout" => 0 }).unwrap_err();
        assert_eq!(error.msg, format!("timeout when waiting for 127.0.0.1:{port}"));
        assert!(run(map! { "path" => "/etc/passwd", "search_regex" => "^root:", "timeout" => 1 }).is_ok());
        assert!(run(map! { "path" => "/no/such", "state" => "absent" }).is_ok());
        assert!(
            run(map! { "path" => "/no/such", "timeout" => 0, "msg" => "not yet" }).unwrap_err().msg
                == "not yet"
        );
    }

    #[test]
    fn counts_connections() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:0016 0200007F:C001 01 x\n   1: 0100007F:0016 0300007F:C002 06 x\n";
        let local = ["127.0.0.1".parse().unwrap()];
        assert_eq!(active(table, 22, &local, &[], &[1, 6]), 2);
        assert_eq!(active(table, 22, &local, &["127.0.0.2".parse().unwrap()], &[1]), 0);
        assert_eq!(active(table, 23, &local, &[], &[1, 6]), 0);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        assert!(run(map! { "path" => "/x", "state" => "drained" }).is_err());
        assert!(run(map! { "port" => 99999 }).is_err());
        assert!(run(map! { "port" => 1, "search_regex" => "(" }).is_err());
    }
}
