//! Which VPN leads to hosts, as inventories and projects declare it.

use std::path::{Path, PathBuf};

use debark_value::Value;

/// A declared VPN.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Vpn {
    /// None, spelled out or not declared.
    #[default]
    None,
    /// The embedded tunnel.
    Wireguard {
        /// A wg-quick file, in plain text or sealed with age or ansible-vault.
        config: PathBuf,
        /// A file with age identities or an SSH key that opens it.
        identity: Option<PathBuf>,
    },
    /// An interface that the system runs.
    Interface(String),
}

impl Vpn {
    /// From `{wireguard: {config: PATH}}` or `{wireguard: PATH}`, `{interface: NAME}` or `none`; paths are relative to `base`.
    ///
    /// # Errors
    /// It is none of these: a sentence that goes on from the place's name (`is ...`).
    pub fn parse(value: &Value, base: &Path) -> Result<Self, String> {
        const FORMS: &str = "`{wireguard: {config: PATH}}`, `{interface: NAME}` or `none`";
        if value.as_str() == Some("none") {
            return Ok(Self::None);
        }
        let wrong = || format!("is not {FORMS}");
        let map = value.as_map().ok_or_else(wrong)?;
        let mut entries = map.iter();
        let (Some((name, inner)), None) = (entries.next(), entries.next()) else { return Err(wrong()) };
        match (&**name, inner) {
            ("interface", Value::Str(name)) => {
                // netdevice(7): 15 characters, no slash, no blank.
                let good = |letter: char| letter.is_ascii_graphic() && letter != '/';
                if name.is_empty() || name.len() > 15 || name.starts_with('-') || !name.chars().all(good) {
                    return Err("names no interface".into());
                }
                Ok(Self::Interface(name.to_string()))
            }
            ("wireguard", Value::Str(path)) if !path.is_empty() => {
                Ok(Self::Wireguard { config: place(path, base), identity: None })
            }
            ("wireguard", Value::Map(settings)) => {
                let (mut config, mut identity) = (None, None);
                for (name, value) in settings.iter() {
                    let path = value.as_str().filter(|path| !path.is_empty());
                    let path =
                        Some(place(path.ok_or_else(|| format!("has a `{name}` that is no path"))?, base));
                    match &**name {
                        "config" => config = path,
                        "identity" => identity = path,
                        other => return Err(format!("has `wireguard: {other}`, which means nothing")),
                    }
                }
                let config = config.ok_or("has `wireguard` without `config`")?;
                Ok(Self::Wireguard { config, identity })
            }
            _ => Err(wrong()),
        }
    }
}

fn place(path: &str, base: &Path) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => base.join(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use debark_value::map;

    #[test]
    fn the_three_forms_and_no_other() {
        let parse = |value: Value| Vpn::parse(&value, Path::new("/site"));
        assert_eq!(parse("none".into()), Ok(Vpn::None));
        assert_eq!(parse(map! { "interface" => "wg0" }.into()), Ok(Vpn::Interface("wg0".into())));
        let tunnel =
            map! { "wireguard" => Value::from(map! { "config" => "vpn/office.conf", "identity" => "/k" }) };
        let (config, identity) = ("/site/vpn/office.conf".into(), Some("/k".into()));
        assert_eq!(parse(tunnel.into()), Ok(Vpn::Wireguard { config, identity }));
        let plain = Ok(Vpn::Wireguard { config: "/site/wg.conf".into(), identity: None });
        assert_eq!(parse(map! { "wireguard" => "wg.conf" }.into()), plain);
        assert_eq!(parse(map! { "wireguard" => Value::from(map! { "config" => "wg.conf" }) }.into()), plain);
        for wrong in [
            Value::from("wg0"),
            Value::Null,
            map! { "interface" => "a/b" }.into(),
            map! { "interface" => "-x" }.into(),
            map! { "interface" => 1 }.into(),
            map! { "interface" => "wg0", "wireguard" => "x" }.into(),
            map! { "wireguard" => Value::from(map! { "identity" => "x" }) }.into(),
            map! { "wireguard" => Value::from(map! { "config" => "x", "conf" => "y" }) }.into(),
            map! { "openvpn" => "x" }.into(),
        ] {
            assert!(parse(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
