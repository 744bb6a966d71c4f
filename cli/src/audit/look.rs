//! What hosts show to whoever looks from here.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use debark_audit::{Check, Evidence, On, Probe, probes};
use debark_connect::{Target, Vpn};
use debark_value::{Value, map};

use super::Host;

/// How long a host may take to be seen outside of its VPN: one that is closed says nothing.
const OUTSIDE: Duration = Duration::from_secs(3);

/// What was seen of a host.
#[derive(Default)]
pub struct Seen {
    /// Evidence by check.
    evidence: HashMap<String, Evidence>,
    /// Why it could not be reached, if that was tried.
    pub lost: Option<String>,
}

impl Seen {
    /// The evidence for a check.
    pub fn of(&self, check: &Check) -> Evidence {
        self.evidence.get(&check.id).cloned().unwrap_or_else(|| Err("nothing was looked at".into()))
    }
}

/// The evidence of all checks that look from here.
pub fn all(host: &Host, checks: &[Check]) -> Seen {
    let own: Vec<&Check> = checks.iter().filter(|check| check.on == On::Controller).collect();
    let needs = |name: &str| own.iter().any(|check| matches!(check.probe, Probe::Named(own) if own == name));
    let target = match &host.target {
        Ok(target) => target,
        Err(problem) => {
            let why = &problem.message;
            let evidence = own.iter().map(|check| (check.id.clone(), Err(why.clone()))).collect();
            return Seen { evidence, lost: (!own.is_empty()).then(|| why.clone()) };
        }
    };
    // Nothing is known of what a host shows outside if it may be down: it has to answer inside as well.
    let beside = target.vpn != Vpn::None && needs("outside");
    // One that does not answer outside takes its time: meanwhile it is asked for its greeting.
    let (greeting, outside) = std::thread::scope(|scope| {
        let trying = scope.spawn(|| needs("outside").then(|| outside(target)));
        let greeting = (needs("ssh") || beside).then(|| greeting(target));
        (greeting, trying.join().ok().flatten())
    });
    let lost = match &greeting {
        Some(Err(NoGreeting::Unreachable(why))) => Some(why.clone()),
        _ => None,
    };
    let closed = |evidence: &Value| !evidence.get("reachable").is_some_and(Value::truthy);
    let outside = outside.map(|outside| match (outside, &lost) {
        (Ok(evidence), Some(why)) if closed(&evidence) => {
            Err(format!("it answers neither outside of the VPN nor inside: {why}"))
        }
        (outside, _) => outside,
    });
    let greeting = greeting.map(|greeting| greeting.map_err(NoGreeting::into_words));
    let missing = || Err("it was not tried".to_owned());
    let evidence = |check: &Check| match &check.probe {
        Probe::Named("ssh") => greeting.clone().unwrap_or_else(missing),
        Probe::Named("outside") => outside.clone().unwrap_or_else(missing),
        Probe::Named(_) => missing(),
        Probe::Command(command) => of_command(command, target),
    };
    Seen { evidence: own.iter().map(|check| (check.id.clone(), evidence(check))).collect(), lost }
}

/// Why there is no greeting.
#[derive(Clone)]
enum NoGreeting {
    /// The host could not be reached, as in a run.
    Unreachable(String),
    /// It tells nothing.
    Mute(&'static str),
}

impl NoGreeting {
    fn into_words(self) -> String {
        match self {
            Self::Unreachable(why) => why,
            Self::Mute(why) => why.into(),
        }
    }
}

/// How its SSH server greets somebody who offers nothing: ways to log in, key, algorithms.
fn greeting(target: &Target) -> Result<Value, NoGreeting> {
    if target.local {
        return Err(NoGreeting::Mute("this machine is not reached by ssh"));
    }
    let greeted = target.greet_and_tell();
    let (greeting, debug) = greeted.map_err(|problem| NoGreeting::Unreachable(problem.message))?;
    let mut found =
        probes::algorithms(&debug).ok_or(NoGreeting::Mute("ssh did not tell what the server offers"))?;
    let methods = match greeting.methods.is_empty() {
        // It let us in.
        true => vec!["none".to_owned()],
        false => greeting.methods,
    };
    found.insert("methods".into(), Value::list(methods));
    found.insert("host_key".into(), greeting.host_key.map_or(Value::Null, Value::from));
    Ok(Value::from(found))
}

/// Whether its SSH port answers outside of the VPN.
fn outside(target: &Target) -> Evidence {
    match target.vpn {
        Vpn::None => Err("no VPN is declared for it".into()),
        Vpn::Interface(_) => {
            Err("cannot be tried from here: the system's own VPN leads to its address".into())
        }
        Vpn::Wireguard { .. } => {
            let address = target.host.parse::<IpAddr>();
            let address = address
                .map_err(|_| "cannot be tried from here: its name is known inside the VPN only".to_owned())?;
            let place = SocketAddr::new(address, target.port.unwrap_or(22));
            let reachable = TcpStream::connect_timeout(&place, OUTSIDE).is_ok();
            Ok(Value::from(map! { "reachable" => reachable, "tried" => place.to_string() }))
        }
    }
}

/// A check's own command on this machine; DEBARK_HOST and DEBARK_ADDRESS say which host it is about.
fn of_command(command: &str, target: &Target) -> Evidence {
    let output = Command::new("sh")
        .args(["-c", command])
        .env("DEBARK_HOST", &target.name)
        .env("DEBARK_ADDRESS", &target.host)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run sh: {error}"))?;
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().chars().take(10_000).collect::<String>();
    Ok(Value::from(map! {
        "rc" => output.status.code().map_or(Value::Null, |code| Value::from(i64::from(code))),
        "stdout" => text(&output.stdout), "stderr" => text(&output.stderr),
    }))
}
