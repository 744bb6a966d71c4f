//! URLs, RFC 3986, as far as HTTP needs them.

use std::fmt;

use crate::Failure;

/// An `http` or `https` URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, as sent.
    pub target: String,
    /// User name and password before the host.
    pub login: Option<(String, String)>,
}

impl Url {
    /// Reads a URL. Blanks are escaped, a fragment is dropped.
    ///
    /// # Errors
    /// Another scheme, no host, or a bad port. The message does not show a password in the URL.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let shown = || without_login(text);
        let (scheme, rest) =
            text.trim().split_once("://").ok_or_else(|| Failure::new(format!("{} is no URL", shown())))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => {
                return Err(Failure::new(format!("{}: the scheme {other} is not supported", shown()))
                    .hint("use http or https"));
            }
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':').unwrap_or_default()),
            None => place.split_once(':').unwrap_or((place, "")),
        };
        let known = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(known) || host.starts_with('-') {
            return Err(Failure::new(format!("{} names no valid host", shown())));
        }
        let port = match port {
            "" if tls => 443,
            "" => 80,
            port => port.parse().map_err(|_| Failure::new(format!("{} has no valid port", shown())))?,
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (percent_decode(user), percent_decode(password))
        });
        Ok(Self { tls, host: host.to_owned(), port, target: format!("{slash}{}", escape(target)), login })
    }

    /// Where a `Location` leads from here.
    ///
    /// # Errors
    /// It leads out of HTTP.
    pub fn join(&self, location: &str) -> Result<Self, Failure> {
        let scheme = if self.tls { "https" } else { "http" };
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let target = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{path}{location}")
        } else {
            format!("{}/{location}", path.rsplit_once('/').map_or("", |(dir, _)| dir))
        };
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/').skip(1) {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        Ok(Self { target: escape(&format!("/{}{query}", parts.join("/"))), ..self.clone() })
    }

    /// Host and port for the `Host` field: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }

    /// The last component of the path, decoded; empty if it ends in a slash.
    pub fn file_name(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let name = percent_decode(path.rsplit('/').next().unwrap_or_default());
        // What decodes to a path or to a directory is no file's name.
        if name.contains(['/', '\0']) || name == "." || name == ".." { String::new() } else { name }
    }
}

/// The URL without its login.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.tls { "s" } else { "" }, self.authority(), self.target)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text of a URL without the login in it.
pub fn without_login(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if let Some((_, place)) = authority.rsplit_once('@') {
                return format!("{scheme}://{place}{tail}");
            }
            // A slash that is not escaped ends no password, whatever the standard says: what follows the host is no port.
            let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
            let cut = |login: &str| {
                !port.bytes().all(|byte| byte.is_ascii_digit() || byte == b']')
                    && !login.contains(char::is_whitespace)
            };
            let place =
                rest.rsplit_once('@').filter(|(login, _)| cut(login)).map_or(rest, |(_, place)| place);
            format!("{scheme}://{place}")
        }
        None => text.to_owned(),
    }
}

/// Escapes what may not be in a request line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Undoes `%41`.
pub fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let code = rest.get(..2).filter(|_| first == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        out.push(code.unwrap_or(first));
        bytes = if code.is_some() { rest.get(2..).unwrap_or_default() } else { rest };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Escapes for `application/x-www-form-urlencoded`, as Python's `urlencode`.
pub fn form_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_joins() {
        let url = Url::parse("https://ann:p%40ss@example.org:8443/a/b c?q=1#x").unwrap();
        assert_eq!(url.to_string(), "https://example.org:8443/a/b%20c?q=1");
        assert_eq!(url.login, Some(("ann".into(), "p@ss".into())));
        assert_eq!(url.join("../d?e").unwrap().target, "/d?e");
        assert_eq!(url.join("/f").unwrap().target, "/f");
        assert_eq!(url.join("//h/g").unwrap().to_string(), "https://h/g");
        assert_eq!(url.join("http://i").unwrap().to_string(), "http://i/");
        let v6 = Url::parse("http://[::1]:81").unwrap();
        assert_eq!((v6.host.as_str(), v6.authority().as_str()), ("::1", "[::1]:81"));
        assert_eq!(Url::parse("http://h/a/x%20y.deb?z").unwrap().file_name(), "x y.deb");
        assert_eq!(Url::parse("http://h/a/%2e%2e%2fetc").unwrap().file_name(), "");
    }

    #[test]
    fn refuses_what_is_no_url_and_hides_passwords() {
        for text in ["example.org", "ftp://h/x", "http://", "http://h:99999/", "http://a b/", "http://-x/"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        let error = Url::parse("http://ann:secret@h:bad/").unwrap_err();
        assert!(!error.msg.contains("secret"), "{}", error.msg);
    }
}
