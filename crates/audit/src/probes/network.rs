//! Open ports and the firewall.

use debark_value::{Map, Value, map};

use super::Around;

/// The kernel's tables (proc(5), /proc/net/tcp).
pub const LISTENING: &str =
    "for p in tcp tcp6 udp udp6; do [ -r /proc/net/$p ] && sed \"s/^/$p /\" /proc/net/$p; done; :";

/// `ports`: `tcp/22`, ... that listen on more than the loopback; `sockets`: with their addresses.
pub fn listening(output: &str, _: &Around) -> Map {
    let (mut ports, mut sockets) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for line in output.lines() {
        let mut words = line.split_whitespace();
        let (Some(table), Some(_), Some(local), Some(_), Some(state)) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let protocol = table.trim_end_matches('6');
        // TCP_LISTEN; of UDP, what is connected to nobody.
        if state != if protocol == "tcp" { "0A" } else { "07" } {
            continue;
        }
        let Some((address, port)) = local.split_once(':') else { continue };
        let Ok(port) = u16::from_str_radix(port, 16) else { continue };
        let Some(address) = address_of(address).filter(|address| !address.is_loopback()) else { continue };
        ports.insert((protocol.to_owned(), port));
        sockets.insert(format!("{protocol}/{port} on {address}"));
    }
    let ports = ports.into_iter().map(|(protocol, port)| format!("{protocol}/{port}"));
    map! { "ports" => Value::list(ports), "sockets" => Value::list(sockets) }
}

/// An address as the kernel prints it: 32-bit words, each in the machine's order, which is little-endian on all that debark runs on.
fn address_of(hex: &str) -> Option<std::net::IpAddr> {
    let words: Option<Vec<[u8; 4]>> = hex
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_le_bytes()))
        .collect();
    let bytes: Vec<u8> = words?.concat();
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(std::net::IpAddr::from(four));
    }
    let six = std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?);
    Some(six.to_ipv4_mapped().map_or(std::net::IpAddr::V6(six), std::net::IpAddr::V4))
}

/// The rules of nftables, which are those of iptables-nft as well; those of iptables where there is no nft.
pub const FIREWALL: &str = "PATH=$PATH:/usr/sbin:/sbin; [ \"$(id -u)\" = 0 ] || { echo '!only root can read the firewall: -b'; exit; }
if command -v nft >/dev/null; then nft -s list ruleset 2>/dev/null | head -c 500000
elif command -v iptables >/dev/null; then iptables -S INPUT 2>/dev/null; fi; :";

/// `input`: what becomes of packets that no rule knows: `drop`, `reject`, `accept`; `tool`.
pub fn firewall(output: &str, _: &Around) -> Map {
    let mut input = "accept";
    let mut tool = "none";
    let (mut inside, mut policy, mut last) = (false, "accept", "");
    for line in output.lines().map(str::trim) {
        if let Some(word) = line.strip_prefix("-P INPUT ") {
            tool = "iptables";
            input = if word == "DROP" { "drop" } else { "accept" };
        } else if line == "-A INPUT -j DROP" {
            input = "drop";
        } else if line.starts_with("-A INPUT -j REJECT") {
            input = "reject";
        } else if line.starts_with("type filter hook input ") {
            tool = "nft";
            inside = true;
            policy = if line.contains("policy drop") { "drop" } else { "accept" };
            last = "";
        } else if inside && line == "}" {
            inside = false;
            // Chains are asked one after the other: one that drops is enough.
            if policy == "drop" || last == "drop" {
                input = "drop";
            } else if last.starts_with("reject") && input == "accept" {
                input = "reject";
            }
        } else if inside {
            // Counters say nothing.
            last = if line.starts_with("counter ") { line.rsplit(' ').next().unwrap_or(line) } else { line };
        }
    }
    map! { "input" => input, "tool" => tool }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_kernels_tables() {
        let text = "tcp   sl  local_address rem_address   st tx\ntcp    0: 0100007F:0019 00000000:0000 0A 0\n\
                    tcp    1: 00000000:0016 00000000:0000 0A 0\ntcp    2: 0B0210AC:0016 0100007F:1234 01 0\n\
                    tcp6   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0\n\
                    tcp6   1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 0\n\
                    udp    0: 00000000:0044 00000000:0000 07 0\n";
        let found = listening(text, &Around::default());
        assert_eq!(found["ports"], Value::list(["tcp/22", "tcp/8080", "udp/68"]));
        assert_eq!(
            found["sockets"],
            Value::list(["tcp/22 on 0.0.0.0", "tcp/8080 on ::", "udp/68 on 0.0.0.0"])
        );
    }

    #[test]
    fn what_becomes_of_unknown_packets() {
        let input = |text: &str| firewall(text, &Around::default())["input"].to_string();
        let chain = |policy: &str, rule: &str| {
            format!(
                "table inet filter {{\n\tchain input {{\n\t\ttype filter hook input priority filter; policy {policy};\n\t\ttcp dport 22 accept\n{rule}\t}}\n}}\n"
            )
        };
        assert_eq!(input(""), "accept");
        assert_eq!(input(&chain("drop", "")), "drop");
        assert_eq!(input(&chain("accept", "")), "accept");
        assert_eq!(input(&chain("accept", "\t\tcounter drop\n")), "drop");
        assert_eq!(input(&chain("accept", "\t\treject with icmpx admin-prohibited\n")), "reject");
        assert_eq!(input("-P INPUT DROP\n-A INPUT -p tcp -j ACCEPT\n"), "drop");
    }
}
