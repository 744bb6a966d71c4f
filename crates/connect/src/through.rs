//! ssh's options for a host behind a VPN, where a ProxyCommand of debark's own is the only way out, and for one behind jump
//! hosts.
//!
//! With jump hosts it is the first of them that is reached through the VPN. OpenSSH's ProxyJump starts ssh processes that
//! know nothing of the VPN, and of what is said here of keys alone and strict host keys, so the chain is spelled out as
//! ProxyCommands.

use crate::target::{FIXED, Target, VALUED};

/// What becomes of the user's arguments.
pub(crate) struct Through {
    /// For `-o`.
    pub options: Vec<String>,
    /// What is left of the arguments.
    pub rest: Vec<String>,
    /// Sentences about what has no effect.
    pub warnings: Vec<String>,
}

/// The options that lead a target through its VPN; `args` are the user's, filtered.
pub(crate) fn options(target: &Target, args: Vec<String>) -> Through {
    let (mut rest, mut warnings, mut jumps) = (Vec::new(), Vec::new(), None);
    for argument in arguments(&args) {
        let text = argument.text;
        match argument.option() {
            Some((name, value)) if name == "proxyjump" => {
                jumps.get_or_insert_with(|| hops(value));
            }
            Some((name, _))
                if matches!(name.as_str(), "proxycommand" | "proxyusefdpass" | "canonicalizehostname") =>
            {
                warnings.push(format!(
                    "{}: the ssh option `{text}` has no effect: the host is behind a VPN; -J names a jump host",
                    target.name
                ));
            }
            _ => rest.extend(argument.words.iter().cloned()),
        }
    }
    let jumps = jumps.unwrap_or_else(|| target.jumps.clone());
    let mut command = first(target, !jumps.is_empty());
    for (number, hop) in jumps.iter().enumerate() {
        command = jump(target, &rest, hop, Some((&command, number == 0)));
    }
    let options = vec![
        format!("ProxyCommand={command}"),
        format!("ProxyUseFdpass={}", if jumps.is_empty() { "yes" } else { "no" }),
        // It would ask this machine's resolver for the name.
        "CanonicalizeHostname=no".to_owned(),
    ];
    Through { options, rest, warnings }
}

/// The arguments of a target without a VPN, with the jump hosts that they or ssh_config name spelled out.
pub(crate) fn without_vpn(target: &Target, args: Vec<String>) -> Vec<String> {
    let (mut rest, mut jumps) = (Vec::new(), None);
    for argument in arguments(&args) {
        match argument.option() {
            Some((name, value)) if name == "proxyjump" => {
                jumps.get_or_insert_with(|| hops(value));
            }
            // The user has a way of their own.
            Some((name, _)) if name == "proxycommand" => return args,
            _ => rest.extend(argument.words.iter().cloned()),
        }
    }
    let jumps = jumps.unwrap_or_else(|| target.jumps.clone());
    if jumps.is_empty() {
        return args;
    }
    let mut command = None;
    for hop in &jumps {
        command = Some(jump(target, &rest, hop, command.as_deref().map(|inner| (inner, false))));
    }
    let command = command.map(|command| ["-o".to_owned(), format!("ProxyCommand={command}")]);
    command.into_iter().flatten().chain(rest).collect()
}

/// The hosts of a ProxyJump, the first one first; `none` has none.
pub(crate) fn hops(text: &str) -> Vec<String> {
    let hops = text.split(',').map(str::trim).filter(|hop| !hop.is_empty() && *hop != "none");
    hops.map(ToOwned::to_owned).collect()
}

/// The command that goes through the VPN; without a way there it is one that fails.
fn first(target: &Target, jumps: bool) -> String {
    let Some(way) = &target.way else { return "exec false".into() };
    let words: Vec<String> = way.iter().map(|word| quote(&word.replace('%', "%%"))).collect();
    // The ssh in front of a jump host has its own clock, and the words of this one are the better ones.
    let seconds = u64::from(target.timeout.max(1));
    let millis = if jumps { seconds * 800 } else { seconds * 1000 };
    format!("{} %h %p {millis}", words.join(" "))
}

/// The command that goes on from a jump host, which is reached by itself or by an `inner` command; whether that one hands
/// over a descriptor.
fn jump(target: &Target, args: &[String], hop: &str, inner: Option<(&str, bool)>) -> String {
    let program = target.program.clone().unwrap_or_else(|| "ssh".into());
    let mut words = vec![program];
    let mut option = |text: String| words.extend(["-o".to_owned(), text]);
    FIXED.iter().filter(|text| !text.starts_with("LogLevel=")).for_each(|text| option((*text).into()));
    option("LogLevel=ERROR".into());
    option(format!("ConnectTimeout={}", target.timeout.max(1)));
    if let Some((inner, direct)) = inner {
        option(format!("ProxyCommand={inner}"));
        option(format!("ProxyUseFdpass={}", if direct { "yes" } else { "no" }));
        option("CanonicalizeHostname=no".into());
    }
    if let Some(key) = &target.key {
        option(format!("IdentityFile=\"{}\"", key.replace('"', "")));
    }
    words.extend(of_all(args));
    let (user, place) =
        hop.trim_start_matches("ssh://").rsplit_once('@').map_or((None, hop), |(u, p)| (Some(u), p));
    let (host, port) = place_of(place.trim_start_matches("ssh://"));
    words.extend(user.into_iter().flat_map(|user| ["-l".to_owned(), user.to_owned()]));
    words.extend(port.into_iter().flat_map(|port| ["-p".to_owned(), port]));
    let quoted: Vec<String> = words.iter().map(|word| quote(&word.replace('%', "%%"))).collect();
    format!("{} -W '[%h]:%p' -- {}", quoted.join(" "), quote(&host.replace('%', "%%")))
}

/// Of arguments those that are not for the last host alone.
fn of_all(args: &[String]) -> Vec<String> {
    const OWN: [&str; 4] = ["user", "port", "hostname", "hostkeyalias"];
    let own = |argument: &Argument<'_>| {
        matches!(argument.flag, 'l' | 'p')
            || argument.option().is_some_and(|(name, _)| OWN.contains(&name.as_str()))
    };
    arguments(args)
        .into_iter()
        .filter(|argument| !own(argument))
        .flat_map(|argument| argument.words.to_vec())
        .collect()
}

/// One of ssh's arguments.
pub(crate) struct Argument<'a> {
    /// As it was given: one word or two.
    pub words: &'a [String],
    /// Its letter.
    pub flag: char,
    /// Its value.
    pub text: &'a str,
}

impl<'a> Argument<'a> {
    /// Name, in small letters, and value of an option of ssh_config.
    pub fn option(&self) -> Option<(String, &'a str)> {
        match self.flag {
            'J' => Some(("proxyjump".to_owned(), self.text)),
            'o' => {
                let (name, value) = self.text.split_once(['=', ' '])?;
                Some((name.trim().to_lowercase(), value.trim().trim_matches('"')))
            }
            _ => None,
        }
    }
}

/// Reads ssh's arguments, each with its value (ssh(1)).
pub(crate) fn arguments(args: &[String]) -> Vec<Argument<'_>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(word) = args.get(at) {
        let flag = word.chars().nth(1).unwrap_or_default();
        let attached = word.get(2..).unwrap_or_default();
        let next = VALUED.contains(flag) && attached.is_empty() && at + 1 < args.len();
        let end = at + 1 + usize::from(next);
        let text = if next { args.get(at + 1).map_or("", String::as_str) } else { attached };
        found.push(Argument { words: args.get(at..end).unwrap_or_default(), flag, text });
        at = end;
    }
    found
}

/// Host and port of `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or an IPv6 address.
fn place_of(text: &str) -> (String, Option<String>) {
    if let Some((host, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host.to_owned(), port.strip_prefix(':').map(ToOwned::to_owned));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host.to_owned(), Some(port.to_owned())),
        _ => (text.to_owned(), None),
    }
}

/// A word of a shell.
fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-=:,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hosts_without_a_vpn_are_as_strict() {
        let args = ["-p", "2222", "-oUser=joe", "-J", "me@b1:23,b2", "-o", "UserKnownHostsFile=/x"];
        let words = Target { vpn: Vpn::None, ..target(&args) }.ssh().argv;
        let command = words.iter().find_map(|word| word.strip_prefix("ProxyCommand=")).unwrap();
        assert!(
            command.starts_with("ssh -o BatchMode=yes") && command.ends_with("-W '[%h]:%p' -- b2"),
            "{command}"
        );
        assert!(
            command.contains("-l me -p 23 ") && !command.contains("2222") && !command.contains("joe"),
            "{command}"
        );
        assert_eq!(command.matches("StrictHostKeyChecking=yes").count(), 2, "{command}");
        assert_eq!(command.matches("UserKnownHostsFile=/x").count(), 2, "{command}");
        assert!(words.contains(&"-oUser=joe".to_owned()) && !words.contains(&"-J".to_owned()));
        for untouched in [&["-o", "ProxyCommand=nc %h %p", "-J", "b"][..], &["-oProxyJump=none"], &["-4"]] {
            let target = Target { vpn: Vpn::None, ..target(untouched) };
            assert!(target.ssh().argv.join(" ").contains(&untouched.join(" ")));
        }
    }
    use debark_tunnel::Vpn;

    fn target(args: &[&str]) -> Target {
        Target {
            name: "web1".into(),
            host: "10.0.0.5".into(),
            timeout: 10,
            vpn: Vpn::Interface("wg0".into()),
            way: Some(vec!["/opt/a b/debark".into(), "vpn-connect".into(), "/tmp/x%/s".into()]),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Target::default()
        }
    }

    /// What OpenSSH itself makes of the command line.
    fn effective(target: &Target) -> Vec<String> {
        let mut argv = target.ssh().argv;
        argv.insert(1, "-G".into());
        let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn nothing_leads_around_the_vpn() {
        let target = target(&["-o", "ProxyCommand=nc %h %p", "-oCanonicalizeHostname=yes", "-o", "User=joe"]);
        let command = target.ssh();
        assert_eq!(command.warnings.len(), 2, "{:?}", command.warnings);
        let lines = effective(&target);
        assert!(
            lines.contains(&"proxycommand '/opt/a b/debark' vpn-connect /tmp/x%%/s %h %p 10000".to_owned()),
            "{lines:?}"
        );
        assert!(
            lines.contains(&"canonicalizehostname false".to_owned())
                && lines.contains(&"user joe".to_owned())
        );
        assert!(lines.contains(&"proxyusefdpass yes".to_owned()));
    }

    #[test]
    fn without_a_way_there_is_none() {
        let target = Target { way: None, ..target(&[]) };
        assert!(effective(&target).contains(&"proxycommand exec false".to_owned()));
    }

    #[test]
    fn the_first_jump_host_goes_through_the_vpn() {
        let target = Target {
            key: Some("/k".into()),
            ..target(&["-J", "joe@b1:2222,b2", "-o", "UserKnownHostsFile=/x"])
        };
        let lines = effective(&target);
        let command = lines.iter().find_map(|line| line.strip_prefix("proxycommand ")).unwrap();
        assert!(command.ends_with("-W '[%h]:%p' -- b2"), "{command}");
        assert!(!lines.iter().any(|line| line.starts_with("proxyjump")));
        // One level of the shell and of percent signs down is the command for b1.
        let script = format!("for word in {}; do printf '%s\\n' \"$word\"; done", command.replace("%%", "%"));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let inner = words.lines().find_map(|line| line.strip_prefix("ProxyCommand=")).unwrap();
        assert!(inner.ends_with("-l joe -p 2222 -W '[%h]:%p' -- b1"), "{inner}");
        assert!(inner.contains("vpn-connect /tmp/x%%%%/s %%h %%p 8000"), "{inner}");
        assert!(inner.contains("UserKnownHostsFile=/x") && inner.contains("StrictHostKeyChecking=yes"));
    }

    #[test]
    fn places_of_jump_hosts() {
        assert_eq!(place_of("b:22"), ("b".into(), Some("22".into())));
        assert_eq!(place_of("[::1]:22"), ("::1".into(), Some("22".into())));
        assert_eq!(place_of("fd00::1"), ("fd00::1".into(), None));
        assert_eq!(hops("none"), Vec::<String>::new());
    }
}
