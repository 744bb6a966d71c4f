//! `ufw`: the uncomplicated firewall, ufw(8). Whether a rule changes anything is told by `ufw --dry-run`.

use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Plan, Value, choices, map, params};

choices! {
    /// What becomes of the firewall.
    pub enum State { Enabled = "enabled", Disabled = "disabled", Reloaded = "reloaded", Reset = "reset" }
}
choices! {
    /// What happens to packets.
    pub enum Policy { Allow = "allow", Deny = "deny", Reject = "reject" }
}
choices! {
    /// How much is logged.
    pub enum Logging { On = "on", Off = "off", Low = "low", Medium = "medium", High = "high", Full = "full" }
}
choices! {
    /// Which way packets go.
    pub enum Direction { In = "in", Incoming = "incoming", Out = "out", Outgoing = "outgoing", Routed = "routed" }
}
choices! {
    /// What a rule does.
    pub enum RuleKind { Allow = "allow", Deny = "deny", Limit = "limit", Reject = "reject" }
}
choices! {
    /// What `insert` counts from.
    pub enum Relative {
        Zero = "zero", FirstV4 = "first-ipv4", LastV4 = "last-ipv4", FirstV6 = "first-ipv6", LastV6 = "last-ipv6",
    }
}
choices! {
    /// Protocols that ufw knows.
    pub enum Proto {
        Any = "any", Tcp = "tcp", Udp = "udp", Ipv6 = "ipv6", Esp = "esp", Ah = "ah", Gre = "gre", Igmp = "igmp",
        Vrrp = "vrrp",
    }
}

params! {
    /// Manages the firewall with ufw.
    pub struct Params for "community.general.ufw" {
        /// What becomes of the firewall.
        state: Option<State>,
        /// What happens to packets that no rule takes.
        default | policy: Option<Policy>,
        /// How much is logged.
        logging: Option<Logging>,
        /// Which way packets go.
        direction: Option<Direction>,
        /// Remove the rule.
        delete: bool = false,
        /// The rule is for packets that pass through.
        route: bool = false,
        /// The rule's number.
        insert: Option<i64>,
        /// What `insert` counts from.
        insert_relative_to: Relative = Relative::Zero,
        /// What the rule does.
        rule: Option<RuleKind>,
        /// Interface.
        interface | r#if: Option<String>,
        /// Interface that packets come from.
        interface_in | if_in: Option<String>,
        /// Interface that packets leave by.
        interface_out | if_out: Option<String>,
        /// Log what the rule takes.
        log: bool = false,
        /// Source address.
        from_ip | from | src: String = "any".to_owned(),
        /// Source port.
        from_port: Option<String>,
        /// Destination address.
        to_ip | to | dest: String = "any".to_owned(),
        /// Destination port.
        to_port | port: Option<String>,
        /// Protocol.
        proto | protocol: Option<Proto>,
        /// Application profile.
        name | app: Option<String>,
        /// Comment.
        comment: Option<String>,
    }
    rules Rules {
        exclusive: &[&["name", "proto", "logging"], &["direction", "interface_in"], &["direction", "interface_out"]],
        one_of: &[&["state", "default", "rule", "logging"]],
        ..NO_RULES
    }
}

fn ufw() -> Cmd {
    Cmd::new("ufw").env("LC_ALL", "C").env("LANGUAGE", "C")
}

/// The words of a rule. `number`: where it is inserted.
fn rule_words(p: &Params, kind: RuleKind, number: Option<i64>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |given: &[&str]| words.extend(given.iter().map(|word| (*word).to_owned()));
    if p.route {
        add(&["route"]);
    }
    if p.delete {
        add(&["delete"]);
    }
    if let Some(number) = number.filter(|_| !p.delete) {
        add(&["insert", &number.to_string()]);
    }
    add(&[kind.word()]);
    if let Some(direction) = p.direction {
        add(&[direction.word()]);
    }
    if let Some(name) = &p.interface {
        add(&["on", name]);
    }
    if let Some(name) = &p.interface_in {
        add(&["in", "on", name]);
    }
    if let Some(name) = &p.interface_out {
        add(&["out", "on", name]);
    }
    if p.log {
        add(&["log"]);
    }
    add(&["from", &p.from_ip]);
    if let Some(port) = &p.from_port {
        add(&["port", port]);
    }
    add(&["to", &p.to_ip]);
    if let Some(port) = &p.to_port {
        add(&["port", port]);
    }
    if let Some(proto) = p.proto {
        add(&["proto", proto.word()]);
    }
    if let Some(name) = &p.name {
        add(&["app", name]);
    }
    if let Some(comment) = &p.comment {
        add(&["comment", comment]);
    }
    words
}

/// Where `insert` is, counted from what it is relative to; nothing for the end.
fn number(p: &Params, listed: &str) -> Option<i64> {
    let insert = p.insert?;
    if p.insert_relative_to == Relative::Zero {
        return Some(insert);
    }
    let rules: Vec<(i64, bool)> = listed
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.trim_start().strip_prefix('[')?.split_once(']')?;
            let v6 = rest.contains("(v6)")
                || rest
                    .split_whitespace()
                    .any(|w| w.split('/').next().is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok()));
            Some((number.trim().parse().ok()?, v6))
        })
        .collect();
    let last = rules.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let of = |v6: bool| rules.iter().filter(move |rule| rule.1 == v6).map(|rule| rule.0);
    let from = match p.insert_relative_to {
        Relative::Zero => 0,
        Relative::FirstV4 => 1,
        Relative::LastV4 => of(false).max().unwrap_or(1),
        Relative::FirstV6 => of(true).min().unwrap_or_else(|| of(false).max().map_or(1, |n| n + 1)),
        Relative::LastV6 => of(true).max().unwrap_or(last + 1),
    };
    // ufw refuses a number beyond the last rule's; without one the rule goes to the end.
    Some(insert.saturating_add(from)).filter(|number| *number <= last)
}

/// `Default: deny (incoming), allow (outgoing), disabled (routed)`.
fn default_of(status: &str, direction: &str) -> Option<String> {
    let line = status.lines().find_map(|line| line.strip_prefix("Default: "))?;
    line.split(", ").find_map(|part| {
        let (policy, way) = part.split_once(' ')?;
        (way.trim() == format!("({direction})")).then(|| policy.to_owned())
    })
}

/// The policy that ufw keeps for when it is active (ufw-framework(8)): `ufw status` tells it only then.
fn kept_default(text: &str, direction: &str) -> Option<String> {
    let name = match direction {
        "incoming" => "DEFAULT_INPUT_POLICY",
        "outgoing" => "DEFAULT_OUTPUT_POLICY",
        _ => "DEFAULT_FORWARD_POLICY",
    };
    let value = setting(text, name)?;
    let words = [("ACCEPT", "allow"), ("DROP", "deny"), ("REJECT", "reject")];
    words.iter().find(|(kept, _)| *kept == value).map(|(_, word)| (*word).to_owned())
}

/// The last value of a shell variable that a file of settings gives.
fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut values = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
    values.next_back().map(|value| value.trim_matches(['"', '\'', ' ']))
}

/// Whether `logging` differs from `Logging: on (low)`.
fn logging_differs(status: &str, wanted: Logging) -> bool {
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("Logging: ")) else {
        let text = std::fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
        let level = setting(&text, "LOGLEVEL");
        return match wanted {
            Logging::On => level.is_none_or(|level| level == "off"),
            wanted => level != Some(wanted.word()),
        };
    };
    let on = line.starts_with("on");
    let level = line.split_once('(').map(|(_, rest)| rest.trim_end_matches(')'));
    match wanted {
        Logging::Off => on,
        Logging::On => !on,
        level_wanted => !on || level != Some(level_wanted.word()),
    }
}

/// The rule lines that ufw keeps, of the files where it keeps them.
fn rules_now() -> String {
    let dirs = ["/lib/ufw", "/etc/ufw", "/var/lib/ufw"];
    let text: String = dirs
        .iter()
        .flat_map(|dir| ["user.rules", "user6.rules"].map(|file| format!("{dir}/{file}")))
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    tuples(&text)
}

fn tuples(text: &str) -> String {
    text.lines().filter(|line| line.starts_with("### tuple")).map(|line| format!("{line}\n")).collect()
}

/// Whether a dry run's output differs from the rules there are. A dry run prints only the rules of the protocol that
/// it is about.
fn rules_differ(p: &Params, dry: &str, now: &str) -> bool {
    if !dry.trim().is_empty() && dry.lines().all(|line| line.contains("Skipping")) {
        return false;
    }
    let address = |text: &str| text.split('/').next().unwrap_or_default().parse::<std::net::IpAddr>().ok();
    let v4 = |line: &&str| line.split_whitespace().any(|word| address(word).is_some_and(|a| a.is_ipv4()));
    let v6 = |line: &&str| line.split_whitespace().any(|word| address(word).is_some_and(|a| a.is_ipv6()));
    let family = address(&p.from_ip).or_else(|| address(&p.to_ip));
    let dry = tuples(dry);
    match family {
        Some(a) if a.is_ipv4() => !now.lines().filter(v4).eq(dry.lines().filter(v4)),
        Some(_) => !now.lines().filter(v6).eq(dry.lines().filter(v6)),
        None => now != dry,
    }
}

/// Compares firewall, policy, logging and rule with what is declared.
///
/// # Errors
/// ufw is missing or refuses the rule; a direction that does not go with what is asked.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let short = matches!(params.direction, Some(Direction::In | Direction::Out));
    if params.default.is_some() && short {
        return Err(Failure::new("for a default policy the direction is incoming, outgoing or routed"));
    }
    if params.rule.is_some() && params.direction.is_some() && !short {
        return Err(Failure::new("for a rule the direction is in or out"));
    }
    if params.interface.is_some() && params.direction.is_none() {
        return Err(Failure::new("ufw: `interface` needs the parameter `direction`"));
    }
    if !params.route && params.interface_in.is_some() && params.interface_out.is_some() {
        return Err(Failure::new("only a rule with `route` can have both interface_in and interface_out"));
    }
    let status = host.exec_ok(&ufw().args(["status", "verbose"]))?.out();
    let mut cmds: Vec<Cmd> = Vec::new();
    let mut diff = Vec::new();
    let mut change = |cmd: Cmd, name: &str, before: &str, after: &str| {
        cmds.push(cmd);
        diff.push(Diff::property("ufw", name, before, after));
    };
    if let Some(kind) = params.rule {
        let listed = if params.insert.is_some() && params.insert_relative_to != Relative::Zero {
            host.exec_ok(&ufw().args(["status", "numbered"]))?.out()
        } else {
            String::new()
        };
        let words = rule_words(&params, kind, number(&params, &listed));
        let dry = host.exec_ok(&ufw().arg("--dry-run").args(&words))?.out();
        if rules_differ(&params, &dry, &rules_now()) {
            change(ufw().args(&words), "rule", "", &words.join(" "));
        }
    }
    if let Some(policy) = params.default {
        let direction = params.direction.map_or("incoming", Direction::word);
        let now = default_of(&status, direction).or_else(|| {
            let text = std::fs::read_to_string("/etc/default/ufw").ok()?;
            kept_default(&text, direction)
        });
        if now.as_ref().is_none_or(|now| now != policy.word()) {
            let cmd = ufw().args(["default", policy.word(), direction]);
            change(cmd, "default", now.as_deref().unwrap_or("unknown"), policy.word());
        }
    }
    if let Some(logging) = params.logging.filter(|logging| logging_differs(&status, *logging)) {
        change(ufw().args(["logging", logging.word()]), "logging", "otherwise", logging.word());
    }
    if let Some(state) = params.state {
        let active = status.lines().any(|line| line.trim() == "Status: active");
        let words = match state {
            State::Enabled if !active => Some("enable"),
            State::Disabled if active => Some("disable"),
            State::Reloaded => Some("reload"),
            State::Reset => Some("reset"),
            _ => None,
        };
        if let Some(word) = words {
            let before = if active { "active" } else { "inactive" };
            change(ufw().args(["--force", word]), "state", before, state.word());
        }
    }
    let words =
        |cmd: &Cmd| cmd.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let result = map! { "commands" => Value::list(cmds.iter().map(words)), "msg" => status.trim_end() };
    if cmds.is_empty() {
        return Ok(Plan::ok(result));
    }
    Ok(Plan::change(result, diff, move |host| {
        for cmd in &cmds {
            host.exec_ok(cmd)?;
        }
        let status = host.exec_ok(&ufw().args(["status", "verbose"]))?.out();
        Ok(map! { "msg" => status.trim_end() })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Map;

    const STATUS: &str = "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing), disabled (routed)\nNew profiles: skip\n";

    fn params(args: Map) -> Params {
        Params::parse(&args).unwrap()
    }

    #[test]
    fn rules_have_the_exact_words() {
        let p = params(map! { "rule" => "allow", "port" => 22, "proto" => "tcp", "comment" => "let in" });
        assert_eq!(
            rule_words(&p, RuleKind::Allow, None).join(" "),
            "allow from any to any port 22 proto tcp comment let in"
        );
        let p = params(map! {
            "rule" => "deny", "route" => true, "interface_in" => "eth0", "interface_out" => "eth1", "src" => "10.0.0.0/8",
            "delete" => true, "insert" => 1, "log" => true,
        });
        assert_eq!(
            rule_words(&p, RuleKind::Deny, Some(1)).join(" "),
            "route delete deny in on eth0 out on eth1 log from 10.0.0.0/8 to any"
        );
    }

    #[test]
    fn reads_the_status() {
        let kept =
            "# DEFAULT_INPUT_POLICY=\"x\"\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=ACCEPT\n";
        assert_eq!(kept_default(kept, "incoming").as_deref(), Some("deny"));
        assert_eq!(kept_default(kept, "outgoing").as_deref(), Some("allow"));
        assert_eq!(kept_default(kept, "routed"), None);
        assert_eq!(default_of(STATUS, "outgoing").as_deref(), Some("allow"));
        assert!(!logging_differs(STATUS, Logging::Low) && !logging_differs(STATUS, Logging::On));
        assert!(logging_differs(STATUS, Logging::Full) && logging_differs(STATUS, Logging::Off));
    }

    #[test]
    fn counts_rules_by_protocol() {
        let listed = "[ 1] 22/tcp ALLOW IN Anywhere\n[ 2] 80 ALLOW IN Anywhere\n[ 3] 22/tcp (v6) ALLOW IN Anywhere (v6)\n";
        let at = |relative: &str, insert: i64| {
            number(
                &params(map! { "rule" => "allow", "insert" => insert, "insert_relative_to" => relative }),
                listed,
            )
        };
        assert_eq!(at("first-ipv6", 0), Some(3));
        assert_eq!(at("last-ipv4", 0), Some(2));
        assert_eq!(at("last-ipv6", 1), None);
        assert_eq!(at("zero", 5), Some(5));
    }

    #[test]
    fn a_dry_run_tells_the_difference() {
        let p = params(map! { "rule" => "allow", "port" => 22 });
        let now = "### tuple ### allow any 22 0.0.0.0/0 any 0.0.0.0/0 in\n### tuple ### allow any 22 ::/0 any ::/0 in\n";
        assert!(!rules_differ(
            &p,
            "Skipping adding existing rule\nSkipping adding existing rule (v6)\n",
            now
        ));
        assert!(rules_differ(
            &p,
            &format!("*filter\n{now}### tuple ### allow any 80 ::/0 any ::/0 in\n"),
            now
        ));
        assert!(!rules_differ(&p, &format!("*filter\n{now}COMMIT\n"), now));
    }
}
