//! `iptables`: rules of the packet filter, iptables(8); each compared with `-C`.

use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, Value, choices, map, params};

choices! {
    /// Whether the rule should be there.
    pub enum State { Present = "present", Absent = "absent" }
}
choices! {
    /// Where a new rule goes.
    pub enum Place { Append = "append", Insert = "insert" }
}
choices! {
    /// Which protocol's rules.
    pub enum IpVersion { V4 = "ipv4", V6 = "ipv6" }
}
choices! {
    /// Whether the packet opens a connection.
    pub enum Syn { Ignore = "ignore", Match = "match", Negate = "negate" }
}
choices! {
    /// The tables there are.
    pub enum Table { Filter = "filter", Nat = "nat", Mangle = "mangle", Raw = "raw", Security = "security" }
}
choices! {
    /// What a chain does with packets that no rule takes.
    pub enum Policy { Accept = "ACCEPT", Drop = "DROP", Queue = "QUEUE", Return = "RETURN" }
}

params! {
    /// Manages rules of the running packet filter. They are gone after a boot.
    pub struct Params for "ansible.builtin.iptables" {
        /// The table.
        table: Table = Table::Filter,
        /// Whether the rule should be there.
        state: State = State::Present,
        /// Where a new rule goes.
        action: Place = Place::Append,
        /// With `action: insert`, before which rule.
        rule_num: Option<String>,
        /// Which protocol's rules.
        ip_version: IpVersion = IpVersion::V4,
        /// The chain.
        chain: Option<String>,
        /// Protocol; `!` before it negates, as with most that follow.
        protocol: Option<String>,
        /// Seconds to wait for the lock.
        wait: Option<String>,
        /// Source address.
        source: Option<String>,
        /// New source address (SNAT).
        to_source: Option<String>,
        /// Destination address.
        destination: Option<String>,
        /// New destination address (DNAT).
        to_destination: Option<String>,
        /// Extensions to load.
        r#match: Vec<String>,
        /// `flags` to look at and `flags_set` that must be set.
        tcp_flags: Option<Map>,
        /// Target.
        jump: Option<String>,
        /// For the target TEE.
        gateway: Option<String>,
        /// For the target LOG.
        log_prefix: Option<String>,
        /// For the target LOG.
        log_level: Option<String>,
        /// Chain to go to.
        goto: Option<String>,
        /// Interface that it came from.
        in_interface: Option<String>,
        /// Interface that it leaves by.
        out_interface: Option<String>,
        /// Fragments.
        fragment: Option<String>,
        /// Counters to begin with.
        set_counters: Option<String>,
        /// Source port or range.
        source_port: Option<String>,
        /// Destination port or range.
        destination_port: Option<String>,
        /// Several destination ports.
        destination_ports: Vec<String>,
        /// New port or range (REDIRECT).
        to_ports: Option<String>,
        /// DSCP mark to set.
        set_dscp_mark: Option<String>,
        /// DSCP class to set.
        set_dscp_mark_class: Option<String>,
        /// Comment.
        comment: Option<String>,
        /// States of the connection.
        ctstate: Vec<String>,
        /// Range of source addresses.
        src_range: Option<String>,
        /// Range of destination addresses.
        dst_range: Option<String>,
        /// Set of ipset(8).
        match_set: Option<String>,
        /// What of the packet is looked up in the set.
        match_set_flags: Option<String>,
        /// Average rate.
        limit: Option<String>,
        /// Burst before the rate counts.
        limit_burst: Option<String>,
        /// User that sent it.
        uid_owner: Option<String>,
        /// Group that sent it.
        gid_owner: Option<String>,
        /// What REJECT answers.
        reject_with: Option<String>,
        /// ICMP type.
        icmp_type: Option<String>,
        /// Whether the packet opens a connection.
        syn: Syn = Syn::Ignore,
        /// Remove all rules.
        flush: bool = false,
        /// What the chain does with packets that no rule takes.
        policy: Option<Policy>,
        /// Without a rule: make or remove the chain itself.
        chain_management: bool = false,
        /// Do not look up names when listing.
        numeric: bool = false,
    }
    rules Rules {
        exclusive: &[&["set_dscp_mark", "set_dscp_mark_class"], &["flush", "policy"]],
        when: &[("jump", "TEE", &["gateway"]), ("jump", "tee", &["gateway"])],
        ..NO_RULES
    }
}

/// The words of a rule as they are put together.
#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// A flag with a value; `!` before the value negates.
    fn param(&mut self, flag: &str, value: &Option<String>) {
        match value.as_deref().map(|value| value.strip_prefix('!').ok_or(value)) {
            Some(Ok(value)) => self.add(&["!", flag, value]),
            Some(Err(value)) => self.add(&[flag, value]),
            None => {}
        }
    }

    fn load(&mut self, wanted: bool, extension: &str) {
        if wanted {
            self.add(&["-m", extension]);
        }
    }

    fn list(&mut self, flag: &str, values: &[String]) {
        if !values.is_empty() {
            self.add(&[flag, &values.join(",")]);
        }
    }
}

fn rule(p: &Params) -> Vec<String> {
    let mut words = Words::default();
    words.param("-p", &p.protocol);
    words.param("-s", &p.source);
    words.param("-d", &p.destination);
    for extension in &p.r#match {
        words.param("-m", &Some(extension.clone()));
    }
    if let Some(flags) = &p.tcp_flags {
        let list = |name: &str| {
            let items = flags.get(name).and_then(|value| value.to_list().ok())?;
            Some(items.iter().map(Value::to_string).collect::<Vec<_>>().join(","))
        };
        if let (Some(mask), Some(set)) = (list("flags"), list("flags_set")) {
            words.add(&["--tcp-flags", &mask, &set]);
        }
    }
    words.param("-j", &p.jump);
    let jumps = |name: &str| p.jump.as_ref().is_some_and(|jump| jump.eq_ignore_ascii_case(name));
    if jumps("tee") {
        words.param("--gateway", &p.gateway);
    }
    words.param("--log-prefix", &p.log_prefix);
    words.param("--log-level", &p.log_level);
    words.param("--to-destination", &p.to_destination);
    words.load(!p.destination_ports.is_empty(), "multiport");
    words.list("--dports", &p.destination_ports);
    words.param("--to-source", &p.to_source);
    words.param("-g", &p.goto);
    words.param("-i", &p.in_interface);
    words.param("-o", &p.out_interface);
    words.param("-f", &p.fragment);
    words.param("-c", &p.set_counters);
    words.param("--source-port", &p.source_port);
    words.param("--destination-port", &p.destination_port);
    words.param("--to-ports", &p.to_ports);
    words.param("--set-dscp", &p.set_dscp_mark);
    words.param("--set-dscp-class", &p.set_dscp_mark_class);
    match p.syn {
        Syn::Ignore => {}
        Syn::Match => words.add(&["--syn"]),
        Syn::Negate => words.add(&["!", "--syn"]),
    }
    let loaded = |name: &str| p.r#match.iter().any(|extension| extension == name);
    if !loaded("conntrack") && loaded("state") {
        words.list("--state", &p.ctstate);
    } else {
        words.load(!p.ctstate.is_empty() && !loaded("conntrack"), "conntrack");
        words.list("--ctstate", &p.ctstate);
    }
    words.load((p.src_range.is_some() || p.dst_range.is_some()) && !loaded("iprange"), "iprange");
    words.param("--src-range", &p.src_range);
    words.param("--dst-range", &p.dst_range);
    words.load(p.match_set.is_some() && !loaded("set"), "set");
    words.param("--match-set", &p.match_set);
    if let Some(flags) = p.match_set_flags.as_ref().filter(|_| p.match_set.is_some()) {
        words.add(&[flags]);
    }
    words.load((p.limit.is_some() || p.limit_burst.is_some()) && !loaded("limit"), "limit");
    words.param("--limit", &p.limit);
    words.param("--limit-burst", &p.limit_burst);
    words.load((p.uid_owner.is_some() || p.gid_owner.is_some()) && !loaded("owner"), "owner");
    words.param("--uid-owner", &p.uid_owner);
    words.param("--gid-owner", &p.gid_owner);
    if p.jump.is_none() {
        if p.reject_with.is_some() {
            words.add(&["-j", "REJECT"]);
        } else if p.set_dscp_mark.is_some() || p.set_dscp_mark_class.is_some() {
            words.add(&["-j", "DSCP"]);
        }
    }
    words.param("--reject-with", &p.reject_with);
    let icmp = if p.ip_version == IpVersion::V4 { "--icmp-type" } else { "--icmpv6-type" };
    words.param(icmp, &p.icmp_type);
    words.load(p.comment.is_some() && !loaded("comment"), "comment");
    if let Some(comment) = &p.comment {
        // A comment may begin with an exclamation mark without being negated.
        words.add(&["--comment", comment]);
    }
    words.0
}

fn command(p: &Params, action: &str, rest: &[String]) -> Cmd {
    let program = if p.ip_version == IpVersion::V4 { "iptables" } else { "ip6tables" };
    let mut cmd = Cmd::new(program).env("LC_ALL", "C");
    if let Some(seconds) = &p.wait {
        cmd = cmd.arg("-w").arg(seconds);
    }
    cmd.args(["-t", p.table.word(), action]).args(&p.chain).args(rest)
}

fn present(host: &Host, cmd: &Cmd) -> Result<bool, Failure> {
    let output = host.exec(cmd)?;
    match output.rc {
        0 => Ok(true),
        // 2 is a bad rule, 3 a kernel without the filter, 4 a lock: only 1 says that it is not there.
        1 => Ok(false),
        _ => Err(output.failure(cmd)),
    }
}

/// Compares rule, policy or chain with what is declared.
///
/// # Errors
/// No chain is named, the rule is refused, or iptables is missing.
pub fn plan(mut params: Params, host: &Host) -> Result<Plan, Failure> {
    if params.log_prefix.is_some() || params.log_level.is_some() {
        let jump = params.jump.get_or_insert_with(|| "LOG".into());
        if jump != "LOG" {
            return Err(Failure::new("log_prefix and log_level go with the target LOG only"));
        }
    }
    if params.chain.is_none() && !params.flush {
        return Err(Failure::new("iptables needs the parameter `chain`, unless it flushes a table"));
    }
    let words = rule(&params);
    let title = format!("{} {}", params.table.word(), params.chain.as_deref().unwrap_or("(all chains)"));
    let result = map! {
        "ip_version" => params.ip_version.word(), "table" => params.table.word(),
        "chain" => Value::from(params.chain.clone()), "flush" => params.flush, "rule" => words.join(" "),
        "state" => params.state.word(), "chain_management" => params.chain_management,
        "wait" => Value::from(params.wait.clone()),
    };
    let wanted = params.state == State::Present;
    let word = |there: bool| if there { "present" } else { "absent" };
    let (cmd, diff) = if params.flush {
        (command(&params, "-F", &[]), Diff::property(title, "rules", "(any)", "none"))
    } else if let Some(policy) = params.policy {
        let listed = host.exec_ok(&command(&params, "-S", &[]))?.out();
        let first = listed
            .lines()
            .find_map(|line| line.strip_prefix("-P ")?.split_whitespace().nth(1).map(str::to_owned));
        let now =
            first.ok_or_else(|| Failure::new(format!("{title} has no policy: it is no built-in chain")))?;
        if now == policy.word() {
            return Ok(Plan::ok(result));
        }
        (
            command(&params, "-P", &[policy.word().to_owned()]),
            Diff::property(title, "policy", now, policy.word()),
        )
    } else if words.is_empty() {
        // Without a rule it is about the chain; without chain_management Ansible only tells the difference.
        let there = present(host, &command(&params, "-S", &[]))?;
        if there == wanted || !params.chain_management {
            return Ok(Plan::ok(result));
        }
        (
            command(&params, if wanted { "-N" } else { "-X" }, &[]),
            Diff::property(title, "chain", word(there), word(wanted)),
        )
    } else {
        let there = present(host, &command(&params, "-C", &words))?;
        if there == wanted {
            return Ok(Plan::ok(result));
        }
        let action = match (wanted, params.action) {
            (false, _) => "-D",
            (true, Place::Append) => "-A",
            (true, Place::Insert) => "-I",
        };
        let number = params.rule_num.iter().filter(|_| action == "-I").cloned();
        let rest: Vec<String> = number.chain(words.iter().cloned()).collect();
        let line = format!("{}\n", words.join(" "));
        let diff = if wanted { Diff::text(title, "", line) } else { Diff::text(title, line, "") };
        (command(&params, action, &rest), diff)
    };
    Ok(Plan::change(result, vec![diff], move |host| host.exec_ok(&cmd).map(|_| map! {})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: Map) -> String {
        rule(&Params::parse(&args).unwrap()).join(" ")
    }

    #[test]
    fn rules_have_the_exact_words() {
        assert_eq!(
            words(map! {
                "chain" => "INPUT", "protocol" => "tcp", "destination_port" => 22, "source" => "!10.0.0.0/8",
                "ctstate" => "NEW,ESTABLISHED", "jump" => "ACCEPT", "comment" => "let in",
            }),
            "-p tcp ! -s 10.0.0.0/8 -j ACCEPT --destination-port 22 -m conntrack --ctstate NEW,ESTABLISHED -m comment --comment let in"
        );
        assert_eq!(
            words(
                map! { "chain" => "INPUT", "protocol" => "tcp", "destination_ports" => "80,443", "jump" => "ACCEPT" }
            ),
            "-p tcp -j ACCEPT -m multiport --dports 80,443"
        );
        assert_eq!(
            words(map! { "chain" => "INPUT", "reject_with" => "tcp-reset", "syn" => "negate" }),
            "! --syn -j REJECT --reject-with tcp-reset"
        );
        let flags = Value::from(map! { "flags" => "ALL", "flags_set" => Value::list(["ACK", "SYN"]) });
        assert_eq!(words(map! { "chain" => "INPUT", "tcp_flags" => flags }), "--tcp-flags ALL ACK,SYN");
        assert_eq!(
            words(map! { "chain" => "INPUT", "match" => "state", "ctstate" => "NEW" }),
            "-m state --state NEW"
        );
    }

    #[test]
    fn commands_name_table_and_chain() {
        let params =
            Params::parse(&map! { "chain" => "INPUT", "ip_version" => "ipv6", "wait" => 5 }).unwrap();
        let cmd = command(&params, "-C", &["-j".into(), "DROP".into()]);
        assert_eq!(cmd.argv.join(" ".as_ref()), "ip6tables -w 5 -t filter -C INPUT -j DROP");
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        assert!(plan(Params::parse(&map! { "jump" => "DROP" }).unwrap(), &host).is_err());
    }
}
