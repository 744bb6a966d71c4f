use super::*;

const KEY: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const PEER: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

fn whole() -> String {
    format!(
        "# office\n[Interface]\nPrivateKey = {KEY}\nAddress = 10.9.0.2/24, fd00::2/64 # both\nDNS = 10.9.0.1, corp.example.\n\
         MTU = 1380\nPostUp = iptables -A x\nTable = off\n\n[peer]\npublickey={PEER}\nPresharedKey = {KEY}\n\
         AllowedIPs = 10.0.0.0/8\nAllowedIPs = fd00::/8,192.0.2.7\nEndpoint = vpn.example.org:51820\nPersistentKeepalive = 25\n"
    )
}

#[test]
fn everything_that_a_file_may_say() {
    let config = Config::parse(&whole()).unwrap();
    assert_eq!(
        config.addresses.iter().map(Cidr::to_string).collect::<Vec<_>>(),
        ["10.9.0.2/24", "fd00::2/64"]
    );
    assert_eq!(config.dns, ["10.9.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!((config.search.as_slice(), config.mtu), (&["corp.example".to_owned()][..], Some(1380)));
    assert_eq!(config.warnings.len(), 1);
    let peer = &config.peers[0];
    assert_eq!(peer.key.to_string(), PEER);
    assert_eq!(peer.allowed.len(), 3);
    assert_eq!(peer.endpoint, Some(Endpoint::Name("vpn.example.org".into(), 51820)));
    assert_eq!(peer.keepalive, Some(25));
    assert!(!format!("{config:?}").contains("dwdt"));
}

#[track_caller]
fn wrong(from: &str, to: &str) -> (usize, String) {
    let error = Config::parse(&whole().replace(from, to)).unwrap_err();
    assert!(!error.message.contains(&KEY[..20]), "{}", error.message);
    (error.line, error.message)
}

#[test]
fn what_is_wrong_is_told_by_line_and_without_keys() {
    assert_eq!(
        wrong("PrivateKey = ", "PrivateKey = x"),
        (3, "`PrivateKey` is no key: 44 characters of base64 are wanted".into())
    );
    assert_eq!(wrong("PrivateKey = ", ""), (3, "[Interface] has no such setting".into()));
    assert_eq!(wrong("MTU = 1380", "MTU = 12").1, "`MTU` is `12`, which is no size of packets");
    assert_eq!(wrong("192.0.2.7", "192.0.2.700").0, 14);
    assert!(wrong("AllowedIPs = 10.0.0.0/8", &format!("AllowedIPs = {KEY}")).1.contains("(a key)"));
    assert_eq!(wrong("vpn.example.org:51820", "vpn.example.org").0, 15);
    assert_eq!(wrong("publickey", "pubkey"), (11, "[Peer] has no such setting as `pubkey`".into()));
    assert_eq!(wrong("[peer]", "[pear]").1, "there is no section [pear]");
    assert_eq!(wrong("Address = 10.9.0.2/24, fd00::2/64", "").1, "[Interface] has no `Address`");
    let own = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
    assert_eq!(
        wrong(PEER, own),
        (10, "this [Peer] has the public key of this side's own `PrivateKey`".into())
    );
    assert_eq!(Config::parse("").unwrap_err().message, "[Interface] has no `PrivateKey`");
}

#[test]
fn endpoints() {
    assert_eq!(endpoint("[2001:db8::1]:1"), Some(Endpoint::Address("[2001:db8::1]:1".parse().unwrap())));
    for text in ["a", "a:", "a:0", "1.2.3.4:0", "a b:1", ":1", "2001:db8::1", "a/b:1", "a:70000"] {
        assert_eq!(endpoint(text), None, "{text}");
    }
}
