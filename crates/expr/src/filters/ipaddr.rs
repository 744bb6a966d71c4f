//! Addresses and networks: the `ipaddr` family of ansible.utils, on what the library `netaddr` for Python makes of them.

use debark_value::{Order, Value, map};

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::net::{Net, number};
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    strict("ipaddr", |_, v, args| family(&v, args, None)),
    strict("ipv4", |_, v, args| family(&v, args, Some(false))),
    strict("ipv6", |_, v, args| family(&v, args, Some(true))),
    strict("ipwrap", ipwrap),
    strict("ipsubnet", ipsubnet),
    strict("ipmath", ipmath),
    strict("nthhost", nthhost),
    strict("next_nth_usable", |_, v, args| nth_usable(&v, args, 1)),
    strict("previous_nth_usable", |_, v, args| nth_usable(&v, args, -1)),
    strict("network_in_network", |_, v, args| within(&v, args, Net::all)),
    strict("network_in_usable", |_, v, args| within(&v, args, |net| net.usable().unwrap_or(net.all()))),
    strict("reduce_on_network", reduce),
    strict("cidr_merge", merge),
    strict("usable_range", usable_range),
    strict("ip4_hex", ip4_hex),
];

const FALSE: V = V::Data(Value::Bool(false));

fn family(input: &V, args: &Args, v6: Option<bool>) -> Res<V> {
    let query = args.text(0, "query")?.unwrap_or_else(|| "".into());
    let version =
        args.value(1, "version")?.filter(Value::truthy).map(|version| ops::text(&version)).transpose()?;
    let v6 = v6.or(version.map(|version| version == "6"));
    each(&input.to_value()?, &query, v6).map(V::Data)
}

/// One address, or those of a list that fit.
fn each(value: &Value, query: &str, v6: Option<bool>) -> Res<Value> {
    let Value::List(items) = value else { return one(value, query, v6) };
    let mut found = Vec::new();
    for item in items.iter() {
        let item = each(item, query, v6)?;
        if item.truthy() {
            found.push(item);
        }
    }
    Ok(Value::from(found))
}

/// The network that a value spells, whether it says its prefix, and how it is written.
fn read(value: &Value) -> Option<(Net, bool, Value)> {
    let text = match value {
        Value::Int(_) | Value::Str(_) => ops::text(value).ok()?,
        _ => return None,
    };
    if let Ok(number) = text.parse::<u128>() {
        let net = Net::host(number > u128::from(u32::MAX), number);
        return Some((net, false, Value::from(net.text())));
    }
    if let Some(net) = Net::parse(&text) {
        return Some((net, text.contains('/'), value.clone()));
    }
    // A network whose address is a number.
    let (address, prefix) = text.split_once('/')?;
    let mut net = Net::host(false, address.parse().ok()?);
    net.v6 = net.ip > u128::from(u32::MAX);
    net.prefix = prefix.parse().ok().filter(|prefix| *prefix <= net.width())?;
    Some((net, true, Value::from(net.text())))
}

fn one(value: &Value, query: &str, v6: Option<bool>) -> Res<Value> {
    let no = Ok(Value::Bool(false));
    let Some((net, network, value)) = read(value) else { return no };
    if v6.is_some_and(|v6| v6 != net.v6) {
        return no;
    }
    let size = net.size();
    let (first, last) = net.all();
    let if_so = |holds: bool| if holds { value.clone() } else { Value::Null };
    let text = |holds: bool, text: String| if holds { Value::from(text) } else { Value::Null };
    let address = |ip: u128| Net { ip, ..net }.address();
    let with_prefix = format!("{}/{}", net.address(), net.prefix);
    let usable = || match (network, net.usable()) {
        (false, _) => Err(Error::call("needs a network, not an address")),
        (true, usable) => Ok(usable),
    };
    let between = |ip: Option<u128>, range: Option<(u128, u128)>| match (ip, range) {
        (Some(ip), Some((first, last))) if ip >= first && ip <= last => Value::from(address(ip)),
        _ => Value::Null,
    };
    Ok(match query {
        "" if network => Value::from(net.text()),
        "" => Value::from(net.address()),
        "address" | "ip" => text(size == 1 || net.ip != first || size == 2 || net.v6, net.address()),
        "address/prefix" | "gateway" | "gw" | "host/prefix" | "hostnet" | "router" => {
            if size > 2 && (net.ip == first || net.ip == last) {
                return no;
            }
            Value::from(with_prefix)
        }
        "ip/prefix" => text(size == 2 || size > 1 && net.ip != first, with_prefix),
        "ip_netmask" => text(
            size == 2 || size > 1 && net.ip != first,
            format!("{} {}", net.address(), address(net.mask())),
        ),
        "host" => text(size <= 2 || net.ip != first, with_prefix),
        "bool" => Value::Bool(true),
        "broadcast" => text(size > 2, address(last)),
        "cidr" => Value::from(net.text()),
        "first_usable" => between(Some(first + u128::from(size > 2)), usable()?),
        "last_usable" => match usable()? {
            Some((_, last)) => Value::from(address(last)),
            None => Value::Null,
        },
        "next_usable" => between(net.ip.checked_add(1), usable()?),
        "previous_usable" => between(net.ip.checked_sub(1), usable()?),
        "range_usable" => match usable()? {
            Some((first, last)) => Value::from(format!("{}-{}", address(first), address(last))),
            None => Value::Null,
        },
        "peer" => match (usable()?, size) {
            (_, 2) => Value::from(address(net.ip ^ 1)),
            (_, 4) if !matches!(net.ip % 4, 0 | 3) => Value::from(address(net.ip ^ 3)),
            _ => return Err(Error::call("needs a host of a point-to-point network")),
        },
        "hostmask" | "wildcard" => Value::from(address(!net.mask() & net.most())),
        "netmask" => Value::from(address(net.mask())),
        "network" | "network_id" => Value::from(address(first)),
        "network/prefix" | "subnet" => Value::from(net.cidr()),
        "network_netmask" => Value::from(format!("{} {}", address(first), address(net.mask()))),
        "network_wildcard" => {
            Value::from(format!("{} {}", address(first), address(!net.mask() & net.most())))
        }
        "net" => text(size > 1 && net.ip == first, net.cidr()),
        "int" if network => Value::from(format!("{}/{}", net.ip, net.prefix)),
        "int" => number(net.ip),
        "prefix" => Value::from(i64::from(net.prefix)),
        "size" => number(size),
        "size_usable" => number(if size > 2 { size - 2 } else { size - size % 2 }),
        "type" => Value::from(if size > 1 && net.ip == first { "network" } else { "address" }),
        "version" => Value::from(if net.v6 { 6 } else { 4 }),
        "revdns" => Value::from(net.reverse()),
        "wrap" if net.v6 && network => Value::from(format!("[{}]/{}", net.address(), net.prefix)),
        "wrap" if net.v6 => Value::from(format!("[{}]", net.address())),
        "wrap" => value,
        "link-local" => if_so(net.link_local()),
        "lo" | "loopback" => if_so(net.loopback()),
        "multicast" => if_so(net.multicast()),
        "unicast" => if_so(!net.multicast()),
        "private" => if_so(!net.global()),
        "public" => {
            let power = |ip: u128| ip & ip.wrapping_sub(1) == 0;
            let mask = power((net.ip ^ net.most()).wrapping_add(1)) || power(net.ip.wrapping_add(1));
            if_so(!net.multicast() && net.global() && !net.loopback() && !mask)
        }
        "ipv4" | "v4" if !net.v6 => value,
        "ipv4" | "v4" => match net.ip >> 32 {
            0 | 0xffff if net.prefix >= 96 => {
                Value::from(Net { v6: false, ip: net.ip & 0xffff_ffff, prefix: net.prefix - 96 }.text())
            }
            _ => return no,
        },
        "ipv6" | "v6" if net.v6 => value,
        "ipv6" | "v6" => {
            Value::from(Net { v6: true, ip: 0xffff_0000_0000 | net.ip, prefix: net.prefix + 96 }.text())
        }
        "6to4" if net.v6 => if_so(net.ip >> 112 == 0x2002),
        "6to4" if size > 1 && net.ip == first => return no,
        "6to4" => {
            let ip = (0x2002 << 112) | (net.ip << 80) | 1;
            Value::from(format!("2002:{:04x}:{:04x}::1/48", ip >> 96 & 0xffff, ip >> 80 & 0xffff))
        }
        other => {
            if let Some((around, ..)) = read(&Value::from(other)).filter(|_| other.parse::<u128>().is_err()) {
                return Ok(if_so(net.inside(around)));
            }
            let Ok(index) = other.parse::<i128>() else {
                return Err(Error::call(format!("knows no query '{other}'")));
            };
            match (size, net.nth(index)) {
                (1, _) if network => Value::from(net.text()),
                (1, _) => Value::from(net.address()),
                (_, Some(ip)) => Value::from(format!("{}/{}", address(ip), net.prefix)),
                (_, None) => return no,
            }
        }
    })
}

fn ipwrap(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let query = args.text(0, "query")?.unwrap_or_else(|| "".into());
    let wrap = |value: &Value| -> Value {
        let found = each(value, &query, None).ok().filter(Value::truthy);
        found.and_then(|found| each(&found, "wrap", None).ok()).unwrap_or_else(|| value.clone())
    };
    Ok(V::Data(match input.to_value()? {
        Value::List(items) => Value::from(items.iter().map(wrap).collect::<Vec<_>>()),
        other => wrap(&other),
    }))
}

/// The network of a value whose prefix may be left out.
fn net(value: &Value) -> Option<Net> {
    read(value).map(|(net, ..)| net)
}

fn ipsubnet(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let Some(net) = net(&input.to_value()?) else { return Ok(FALSE) };
    let net = Net { ip: net.all().0, ..net };
    let query = args.text(0, "query")?.unwrap_or_else(|| "".into());
    let index = args.text(1, "index")?.map(|index| index.parse::<i128>());
    let index = index.transpose().map_err(|_| Error::call("needs an integer as index"))?;
    if query.is_empty() {
        return Ok(V::from(net.text()));
    }
    let Ok(prefix) = query.parse::<u32>() else { return place(net, &query) };
    if prefix > net.width() {
        return Ok(FALSE);
    }
    if net.size() == 1 {
        // The networks around an address, the widest first.
        let at = index.unwrap_or(0);
        let at = if at < 0 { at + i128::from(net.width()) } else { at + i128::from(prefix) };
        let around = u32::try_from(at).ok().filter(|at| (prefix..net.width()).contains(at));
        return Ok(around.map_or(FALSE, |prefix| V::from(Net { prefix, ..net }.cidr())));
    }
    let Some(bits) = prefix.checked_sub(net.prefix) else {
        return Err(Error::call(format!("cannot take /{prefix} out of {}", net.text())));
    };
    let count = 1u128.checked_shl(bits).unwrap_or(u128::MAX);
    let Some(index) = index else { return Ok(V::from(count.to_string())) };
    let index = if index < 0 { count.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) };
    Ok(match index.filter(|index| *index < count) {
        Some(index) => V::from(
            Net { ip: net.ip | index.checked_shl(net.width() - prefix).unwrap_or(0), prefix, ..net }.text(),
        ),
        None => FALSE,
    })
}

/// The how-manieth of its kind a network is within another.
fn place(inner: Net, around: &str) -> Res<V> {
    let outer = net(&Value::from(around))
        .ok_or_else(|| Error::call(format!("needs a prefix, a subnet or an address, not '{around}'")))?;
    if !inner.inside(outer) {
        return Err(Error::call(format!("does not find {} in {}", inner.cidr(), outer.cidr())));
    }
    let offset = inner.ip - outer.all().0;
    let before = offset.checked_shr(inner.width() - inner.prefix).unwrap_or(0);
    Ok(V::from(before.saturating_add(1).to_string()))
}

fn ipmath(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let value = input.to_value()?;
    let net = value.as_str().and_then(Net::parse);
    let net = net.ok_or_else(|| Error::call(format!("needs an address, not '{value}'")))?;
    let amount = i128::from(args.need(0, "amount")?.to_int()?);
    let ip = net.ip.checked_add_signed(amount).filter(|ip| *ip <= net.most());
    let ip = ip.ok_or_else(|| Error::call("leaves the range of addresses"))?;
    Ok(V::from(Net { ip, ..net }.address()))
}

fn nthhost(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let Some(net) = net(&input.to_value()?) else { return Ok(FALSE) };
    let nth = args.int(0, "query")?.filter(|nth| *nth != 0).and_then(|nth| net.nth(nth.into()));
    Ok(nth.map_or(FALSE, |ip| V::from(Net { ip, ..net }.address())))
}

fn nth_usable(input: &V, args: &Args, sign: i128) -> Res<V> {
    let Some(net) = net(&input.to_value()?) else { return Ok(FALSE) };
    let offset = i128::from(args.need(0, "offset")?.to_int()?) * sign;
    let Some((first, last)) = net.usable() else { return Ok(V::NULL) };
    let ip = net.ip.checked_add_signed(offset).filter(|ip| *ip >= first && *ip <= last);
    Ok(ip.map_or(V::NULL, |ip| V::from(Net { ip, ..net }.address())))
}

fn within(input: &V, args: &Args, range: impl Fn(Net) -> (u128, u128)) -> Res<V> {
    let test = args.need(0, "test")?.to_value()?;
    let (Some(outer), Some(inner)) = (net(&input.to_value()?), net(&test)) else { return Ok(FALSE) };
    let ((first, last), (low, high)) = (range(outer), inner.all());
    Ok(V::from(outer.v6 == inner.v6 && first <= low && high <= last))
}

fn reduce(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let around = args.need(0, "network")?.to_value()?;
    let around = net(&around).ok_or_else(|| Error::call(format!("needs a network, not '{around}'")))?;
    let mut items = input.to_items()?;
    items.retain(|item| net(item).is_some_and(|net| net.inside(around)));
    Ok(V::from(items))
}

fn merge(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let items = input.to_items()?;
    let mut nets = Vec::new();
    for item in &items {
        let net = item.as_str().and_then(Net::parse);
        nets.push(net.ok_or_else(|| Error::call(format!("needs networks, not '{item}'")))?);
    }
    nets.order_by(|a, b| (a.v6, a.all()).cmp(&(b.v6, b.all())));
    match &*args.text(0, "action")?.unwrap_or_else(|| "merge".into()) {
        "merge" => {}
        "span" => {
            let Some(&first) = nets.first() else { return Ok(V::NULL) };
            if nets.len() == 1 {
                return Ok(V::from(first.text()));
            }
            let mut around = first;
            for net in &nets {
                if net.v6 != first.v6 {
                    return Err(Error::call("finds no network around both IPv4 and IPv6"));
                }
                while !net.inside(around) {
                    around.prefix -= 1;
                }
            }
            return Ok(V::from(around.cidr()));
        }
        other => return Err(Error::call(format!("knows no action '{other}', only 'merge' and 'span'"))),
    }
    let mut merged: Vec<Net> = Vec::new();
    for net in nets {
        if merged.last().is_some_and(|last| net.inside(*last)) {
            continue;
        }
        merged.push(Net { ip: net.all().0, ..net });
        // Two halves are one.
        while let [.., a, b] = merged.as_slice()
            && let wider = (Net { prefix: a.prefix.saturating_sub(1), ..*a })
            && a.prefix == b.prefix
            && a.ip != b.ip
            && wider.ip == wider.all().0
            && b.inside(wider)
        {
            merged.truncate(merged.len() - 2);
            merged.push(wider);
        }
    }
    Ok(V::from(merged.iter().map(|net| Value::from(net.text())).collect::<Vec<_>>()))
}

fn usable_range(ctx: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let value = input.to_value()?;
    let net = value.as_str().and_then(Net::parse).filter(|net| net.ip == net.all().0);
    let net = net.ok_or_else(|| Error::call(format!("needs a network, not '{value}'")))?;
    let count = usize::try_from(net.size()).ok().filter(|count| *count <= 1 << 16);
    let count = count.ok_or_else(|| Error::call("needs a network of at most 65536 addresses"))?;
    ctx.burn(count)?;
    let ips =
        (0..count).filter_map(|at| net.nth(at as i128)).map(|ip| Value::from(Net { ip, ..net }.address()));
    Ok(V::Data(Value::from(
        map! { "usable_ips" => Value::from(ips.collect::<Vec<_>>()), "number_of_ips" => count },
    )))
}

fn ip4_hex(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let value = input.to_value()?;
    let net = value.as_str().and_then(Net::parse).filter(|net| !net.v6);
    let net = net.ok_or_else(|| Error::call(format!("needs an IPv4 address, not '{value}'")))?;
    let delimiter = args.text(0, "delimiter")?.unwrap_or_else(|| "".into());
    let parts: Vec<String> = (net.ip as u32).to_be_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(V::from(parts.join(&delimiter)))
}

#[cfg(test)]
mod tests {
    use crate::filters::tests::rendered;

    #[test]
    fn addresses_are_what_netaddr_says() {
        for (expression, wanted) in [
            ("'192.168.1.10/24' | ipaddr('network/prefix')", "192.168.1.0/24"),
            ("'192.168.1.10/24' | ansible.utils.ipaddr('netmask')", "255.255.255.0"),
            ("'192.168.1.10/255.255.255.0' | ipaddr", "192.168.1.10/24"),
            ("'192.168.1.0/24' | ipaddr('-1')", "192.168.1.255/24"),
            ("'192.168.1.0/24' | ipaddr('range_usable')", "192.168.1.1-192.168.1.254"),
            ("'10.1.1.1' | ipaddr('192.168.1.0/24') is none", "True"),
            ("['10.0.0.1', 'x', '::1', 8] | ipaddr", "['10.0.0.1', '::1', '0.0.0.8']"),
            ("['10.0.0.1', '8.8.8.8', '::1'] | ipaddr('public')", "['8.8.8.8']"),
            ("'2001:db8::1' | ipwrap", "[2001:db8::1]"),
            ("'192.168.0.0/16' | ipsubnet(24, -1)", "192.168.255.0/24"),
            ("'192.168.0.0/16' | ipsubnet(24)", "256"),
            ("'192.168.1.5' | ipsubnet(20)", "192.168.0.0/20"),
            ("'192.168.3.0/24' | ipsubnet('192.168.0.0/16')", "4"),
            ("'10.0.0.0/8' | nthhost(305)", "10.0.1.49"),
            ("'192.168.1.1/24' | next_nth_usable(2)", "192.168.1.3"),
            ("'192.168.0.0/16' | network_in_usable('192.168.1.1')", "True"),
            ("'192.168.1.0/25' | network_in_network('192.168.1.0/24')", "False"),
            ("['10.0.1.0/24', '10.0.0.0/24', '10.0.2.0/23', '10.0.0.7'] | cidr_merge", "['10.0.0.0/22']"),
            ("['10.0.0.0/24', '10.0.3.0/24'] | cidr_merge('span')", "10.0.0.0/22"),
            ("'192.168.1.255' | ipmath(1)", "192.168.2.0"),
            ("'::/0' | ipaddr('size')", "340282366920938463463374607431768211455"),
            ("'255.255.255.255/0' | ipaddr('next_usable') is none", "True"),
            ("'1.2.3.4' | ipaddr('6to4')", "2002:0102:0304::1/48"),
            ("'1.2.3.4' | ip4_hex(':')", "01:02:03:04"),
            ("('192.168.1.0/30' | usable_range).number_of_ips", "4"),
        ] {
            assert_eq!(rendered(&format!("{{{{ {expression} }}}}")).unwrap(), wanted, "{expression}");
        }
        assert!(rendered("{{ '1.2.3.4' | ipaddr('nope') }}").unwrap_err().contains("nope"));
        assert!(rendered("{{ '255.255.255.255' | ipmath(1) }}").is_err());
        assert!(rendered("{{ '::/0' | usable_range }}").is_err());
        // At the end of all addresses nothing overflows.
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for filter in [
            "ipsubnet('::/0')",
            "ipaddr('next_usable')",
            "slaac('c2:31:b3:83:bf:2b')",
            "ipaddr('size')",
            "nthhost(1)",
        ] {
            for text in [last.to_owned(), format!("{last}/0"), format!("{last}/127")] {
                let _ = rendered(&format!("{{{{ '{text}' | {filter} }}}}"));
            }
        }
    }
}
