//! `url`: what is at an address, fetched by curl.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use debark_value::{Map, Value};
use zeroize::Zeroizing;

/// Options of Ansible's lookup that are followed (`ansible-doc -t lookup url`).
const KNOWN: [&str; 12] = [
    "ca_path",
    "ciphers",
    "follow_redirects",
    "force_basic_auth",
    "headers",
    "http_agent",
    "password",
    "split_lines",
    "timeout",
    "url_password",
    "username",
    "validate_certs",
];
/// Larger answers are refused.
const LARGEST: u64 = 64 << 20;

/// The lines of what is there, or with `split_lines=false` all of it as one text.
pub(super) fn url(term: &str, kwargs: &Map) -> Result<Vec<Value>, String> {
    if !term.starts_with("http://") && !term.starts_with("https://") {
        return Err(format!("`{}` is no http or https address", public(term)));
    }
    let config = config(term, kwargs)?;
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--fail", "--config", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run curl: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // If curl is gone already, what it says tells why.
        let _ = input.write_all(config.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("curl: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or("curl failed and does not say why");
        return Err(format!("{}: {}", public(term), last.trim_start_matches("curl: ")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(match flag(kwargs, "split_lines", true)? {
        true => text.lines().map(Value::from).collect(),
        false => vec![Value::from(&*text)],
    })
}

/// What curl is to do, as it reads it from its input: passwords and headers are no arguments of a process.
fn config(term: &str, kwargs: &Map) -> Result<Zeroizing<String>, String> {
    let mut config = Zeroizing::new(String::new());
    let mut odd = false;
    let mut set = |key: &str, value: &str| {
        odd |= value.chars().any(char::is_control);
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a string cannot fail.
        let _ = writeln!(config, "{key} = \"{value}\"");
    };
    let text = |name: &str| kwargs.get(name).filter(|value| !value.is_null()).map(Value::to_string);
    for name in kwargs.keys().filter(|name| !matches!(&***name, "wantlist" | "force")) {
        if !KNOWN.contains(&&**name) {
            return Err(format!("there is no option `{name}`"));
        }
    }
    set("url", term);
    set("max-time", &text("timeout").unwrap_or_else(|| "10".into()));
    set("max-filesize", &LARGEST.to_string());
    set("user-agent", &text("http_agent").unwrap_or_else(|| "ansible-httpget".into()));
    let user = text("username");
    if let Some(password) =
        text("password").or_else(|| text("url_password")).or_else(|| user.as_ref().map(|_| String::new()))
    {
        set("user", &format!("{}:{password}", user.unwrap_or_default()));
    }
    match kwargs.get("headers") {
        Some(Value::Map(headers)) => {
            headers.iter().for_each(|(name, value)| set("header", &format!("{name}: {value}")));
        }
        None | Some(Value::Null) => {}
        Some(_) => return Err("`headers` wants a mapping".into()),
    }
    if let Some(path) = text("ca_path") {
        set("cacert", &path);
    }
    if let Some(ciphers) = kwargs.get("ciphers").filter(|value| !value.is_null()) {
        let list = ciphers.to_list().map_err(|error| format!("`ciphers` {error}"))?;
        set("ciphers", &list.iter().map(Value::to_string).collect::<Vec<_>>().join(":"));
    }
    // It would be another header, or another option of curl.
    if odd {
        return Err(
            "neither the address nor an option may hold a line break or another control character".into()
        );
    }
    if text("follow_redirects").is_none_or(|word| !matches!(&*word, "no" | "none" | "False")) {
        config.push_str("location\n");
    }
    if !flag(kwargs, "validate_certs", true)? {
        config.push_str("insecure\n");
    }
    Ok(config)
}

fn flag(kwargs: &Map, name: &str, default: bool) -> Result<bool, String> {
    match kwargs.get(name).filter(|value| !value.is_null()) {
        Some(value) => value.to_bool().map_err(|error| format!("`{name}` {error}")),
        None => Ok(default),
    }
}

/// An address without a user and a password in it.
fn public(term: &str) -> String {
    let Some((scheme, rest)) = term.split_once("://") else { return term.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or(authority))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use debark_value::map;

    use super::*;

    /// A server for one request: its address, and what it was asked.
    fn server(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut asked, mut part) = (Vec::new(), [0; 1024]);
            while !asked.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut part).unwrap();
                asked.extend_from_slice(&part[..count]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        (address, asked)
    }

    const TWO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\none\ntwo\n";

    #[test]
    fn lines_or_all_of_it() {
        let (address, asked) = server(TWO);
        let options = map! {
            "headers" => map! { "X-A" => "b \"c\"" }, "username" => "kay", "password" => "p\\w", "wantlist" => true,
        };
        assert_eq!(url(&format!("http://{address}/x"), &options).unwrap(), ["one".into(), "two".into()]);
        let asked = asked.join().unwrap();
        assert!(asked.contains("X-A: b \"c\""), "{asked}");
        assert!(asked.contains("Authorization: Basic a2F5OnBcdw=="), "{asked}");
        let (address, _) = server(TWO);
        let whole = url(&format!("http://{address}/"), &map! { "split_lines" => false }).unwrap();
        assert_eq!(whole, [Value::from("one\ntwo\n")]);
    }

    #[test]
    fn errors_name_the_address_without_its_password() {
        let (address, _) = server("HTTP/1.1 404 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let why = url(&format!("http://me:qX7@{address}/x"), &Map::new()).unwrap_err();
        assert!(why.contains("404") && why.contains(&address) && !why.contains("qX7"), "{why}");
        let evil = map! { "headers" => map! { "X-A" => "b\nX-Evil: 1" } };
        assert!(url("http://127.0.0.1/", &evil).unwrap_err().contains("line break"));
        assert!(url("file:///etc/passwd", &Map::new()).is_err());
        assert!(url("http://127.0.0.1/", &map! { "nope" => 1 }).unwrap_err().contains("`nope`"));
    }
}
