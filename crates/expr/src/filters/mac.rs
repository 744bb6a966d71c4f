//! Hardware addresses: `hwaddr`, `macaddr` and `slaac` of ansible.utils.

use debark_value::Value;

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::net::Net;
use crate::value::V;

pub(super) const TABLE: &[Filter] =
    &[strict("hwaddr", hwaddr), strict("macaddr", hwaddr), strict("slaac", slaac)];

/// Six bytes, in groups of one, two, three or all of them.
fn parse(text: &str) -> Option<u64> {
    let groups: Vec<&str> = text.split([':', '-', '.']).collect();
    let digits = match groups.len() {
        count @ (1 | 2 | 3 | 6) => 12 / count,
        _ => return None,
    };
    let mut number = 0;
    for group in groups {
        let fits = !group.is_empty() && group.len() <= digits && group.bytes().all(|b| b.is_ascii_hexdigit());
        // Only bytes may be written without their first zero.
        if !fits || digits > 4 && group.len() != digits {
            return None;
        }
        number = number << (4 * digits) | u64::from_str_radix(group, 16).ok()?;
    }
    Some(number)
}

fn hwaddr(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let value = input.to_value()?;
    let query = args.text(0, "query")?.unwrap_or_else(|| "".into());
    let Some(mac) = value.as_str().and_then(parse) else {
        return match &*query {
            "" | "bool" => Ok(V::NULL),
            _ => Err(Error::call(format!("needs a hardware address, not '{value}'"))),
        };
    };
    let hex = format!("{mac:012x}");
    let grouped = |size: usize, between: &str| {
        let groups = hex.as_bytes().chunks(size).map(|group| String::from_utf8_lossy(group).into_owned());
        groups.collect::<Vec<_>>().join(between)
    };
    Ok(match &*query {
        "" => V::Data(value),
        "bool" => V::from(true),
        "int" => V::Data(Value::Int(mac as i64)),
        "bare" => V::from(hex.to_uppercase()),
        "cisco" => V::from(grouped(4, ".")),
        "eui48" | "win" => V::from(grouped(2, "-").to_uppercase()),
        "linux" => V::from(grouped(2, ":")),
        "pgsql" | "postgresql" | "psql" => V::from(grouped(6, ":")),
        "unix" => {
            let bytes = (0..6).rev().map(|at| format!("{:x}", mac >> (8 * at) & 0xff));
            V::from(bytes.collect::<Vec<_>>().join(":"))
        }
        other => return Err(Error::call(format!("knows no query '{other}'"))),
    })
}

/// The address that a host gives itself in a network (RFC 4862), by its hardware address.
fn slaac(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let net = input.to_value()?.as_str().and_then(Net::parse).filter(|net| net.v6);
    let mac = args.text(0, "query")?.and_then(|mac| parse(&mac));
    let (Some(net), Some(mac)) = (net, mac) else { return Ok(V::from(false)) };
    let id = (u128::from(mac >> 24) << 40 | 0xff_fe00_0000 | u128::from(mac & 0xff_ffff)) ^ (1 << 57);
    let ip = net.all().0.checked_add(id);
    Ok(ip.map_or(V::from(false), |ip| V::from(Net { ip, ..net }.address())))
}

#[cfg(test)]
mod tests {
    use crate::filters::tests::rendered;

    #[test]
    fn hardware_addresses_are_written_in_all_ways() {
        for (expression, wanted) in [
            ("'1a:2b:3c:4d:5e:6f' | hwaddr('cisco')", "1a2b.3c4d.5e6f"),
            ("'1a2b.3c4d.5e6f' | ansible.utils.hwaddr('linux')", "1a:2b:3c:4d:5e:6f"),
            ("'1A-02-3C-4D-5E-6F' | macaddr('unix')", "1a:2:3c:4d:5e:6f"),
            ("'1a2b3c4d5e6f' | hwaddr('win')", "1A-2B-3C-4D-5E-6F"),
            ("'1a2b3c4d5e6f' | hwaddr('int')", "28772997619311"),
            ("'nope' | hwaddr is none", "True"),
            (
                "'fdcf:1894:23b5:d38c::/64' | slaac('c2:31:b3:83:bf:2b')",
                "fdcf:1894:23b5:d38c:c031:b3ff:fe83:bf2b",
            ),
        ] {
            assert_eq!(rendered(&format!("{{{{ {expression} }}}}")).unwrap(), wanted, "{expression}");
        }
        assert!(rendered("{{ 'nope' | hwaddr('linux') }}").is_err());
    }
}
