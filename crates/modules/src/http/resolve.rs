//! Names to addresses without NSS: a static program cannot load glibc's resolver modules, `getent` can.

use std::net::IpAddr;

use crate::exec::Cmd;
use crate::{Failure, Host};

/// The addresses of a name, in the resolver's order of preference.
///
/// # Errors
/// The name is unknown.
pub(crate) fn addresses(host: &Host, name: &str) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = in_hosts(&hosts, name);
    if !known.is_empty() {
        return Ok(known);
    }
    let cmd = Cmd::new("getent").args(["ahosts", "--", name]).timeout(std::time::Duration::from_secs(30));
    let output = host.exec(&cmd)?;
    let mut found: Vec<IpAddr> = Vec::new();
    for line in output.out().lines() {
        if let Some(address) = line.split_whitespace().next().and_then(|word| word.parse().ok())
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    if found.is_empty() {
        return Err(Failure::new(format!("the host cannot resolve the name {name}"))
            .hint(format!("`getent hosts {name}` on the host should print its address")));
    }
    Ok(found)
}

fn in_hosts(content: &str, name: &str) -> Vec<IpAddr> {
    let lines = content.lines().filter_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_and_hosts() {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        assert_eq!(addresses(&host, "192.0.2.1").unwrap().len(), 1);
        assert!(addresses(&host, "localhost").unwrap()[0].is_loopback());
        assert_eq!(in_hosts("192.0.2.7 a b # c\n", "B").len(), 1);
        assert!(in_hosts("192.0.2.7 a b # c\n", "c").is_empty());
    }
}
