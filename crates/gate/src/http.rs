//! One question over HTTP/1.1, asked by the host itself, with an end to everything.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::command;

/// No more of an answer is read, in bytes.
const LIMIT: usize = 1 << 20;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body, as text.
    pub body: String,
}

/// Where an URL leads: host, port, path with query.
///
/// # Errors
/// It is none of `http:`.
pub fn parse(url: &str) -> Result<(String, u16, String), String> {
    let bad = || format!("{url:?} is no URL of http://");
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or_else(bad)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("80")).ok_or_else(bad)?)
        }
        None => authority.split_once(':').unwrap_or((authority, "80")),
    };
    let clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if host.is_empty() || host.contains('@') || !clean(host) || !clean(&path) {
        return Err(bad());
    }
    Ok((host.to_owned(), port.parse().map_err(|_| bad())?, path))
}

/// Connects.
///
/// # Errors
/// Nobody answers in time: a few words.
pub fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let deadline = Instant::now() + timeout;
    let mut last = format!("the name {host} is not known");
    for address in addresses(host, timeout) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let address = SocketAddr::new(address, port);
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("{address}: {}", words(&error)),
        }
    }
    Err(last)
}

/// A static binary has no resolver: names are /etc/hosts' and, through getent, whatever the host asks.
fn addresses(host: &str, timeout: Duration) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    if host == "localhost" {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    if host.starts_with('-') {
        return Vec::new();
    }
    let Ok(ended) = command::output(&["getent", "ahosts", host], None, timeout) else { return Vec::new() };
    let mut found: Vec<IpAddr> = Vec::new();
    for address in ended.stdout.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// Asks.
///
/// # Errors
/// No answer of HTTP comes in time: a few words.
pub fn get(url: &str, host: Option<&str>, timeout: Duration) -> Result<Answer, String> {
    let deadline = Instant::now() + timeout;
    let (name, port, path) = parse(url)?;
    let mut stream = connect(&name, port, timeout)?;
    let own = if name.contains(':') { format!("[{name}]") } else { name };
    let own = if port == 80 { own } else { format!("{own}:{port}") };
    let host = host.unwrap_or(&own);
    if !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{host:?} is no name of a host"));
    }
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: debark-gate\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let patience = |stream: &TcpStream| {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        stream.set_read_timeout(Some(left))?;
        stream.set_write_timeout(Some(left))
    };
    let mut bytes = Vec::new();
    let exchanged = (|| {
        patience(&stream)?;
        stream.write_all(request.as_bytes())?;
        let mut buffer = [0; 16 << 10];
        loop {
            patience(&stream)?;
            let read = stream.read(&mut buffer)?;
            bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if read == 0 || bytes.len() > LIMIT || whole(&bytes) {
                return Ok(());
            }
        }
    })();
    match exchanged {
        Ok(()) => answer(&bytes).ok_or_else(|| "what answers does not speak HTTP".into()),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".into(),
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        _ => error.to_string(),
    }
}

fn head(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(bytes.get(..end)?).into_owned(), bytes.get(end + 4..)?))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Whether all of an answer is there, for servers that keep the connection in spite of what they are told.
fn whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = head(bytes) else { return false };
    match header(&head, "content-length").and_then(|text| text.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => header(&head, "transfer-encoding").is_some() && body.ends_with(b"0\r\n\r\n"),
    }
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let (head, body) = head(bytes)?;
    let mut words = head.lines().next()?.split_whitespace();
    let version = words.next()?;
    let status = words.next()?.parse().ok()?;
    let chunked = header(&head, "transfer-encoding").is_some_and(|text| text.eq_ignore_ascii_case("chunked"));
    let body = if chunked { chunks(body) } else { body.to_vec() };
    version
        .starts_with("HTTP/1.")
        .then(|| Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

fn chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let line = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
        let length =
            usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let from = end + 2;
        let Some(chunk) = from.checked_add(length).and_then(|to| rest.get(from..to)) else { break };
        if chunk.is_empty() {
            break;
        }
        body.extend_from_slice(chunk);
        rest = rest.get(from + length..).and_then(|rest| rest.strip_prefix(b"\r\n")).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn urls() {
        let ok = |host: &str, port, path: &str| Ok((host.to_owned(), port, path.to_owned()));
        assert_eq!(parse("http://127.0.0.1:8080/health?a=1#x"), ok("127.0.0.1", 8080, "/health?a=1"));
        assert_eq!(parse("http://[::1]:81"), ok("::1", 81, "/"));
        assert_eq!(parse("http://a?b"), ok("a", 80, "/?b"));
        for bad in [
            "https://a",
            "http://",
            "http://a:b",
            "http://u@a/",
            "http://a/ b",
            "http://a/\r\nX: y",
            "ftp://a",
        ] {
            parse(bad).unwrap_err();
        }
    }

    #[test]
    fn answers() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert!(whole(plain) && !whole(&plain[..plain.len() - 1]));
        assert_eq!(answer(plain), Some(Answer { status: 200, body: "ok".into() }));
        let chunked =
            b"HTTP/1.1 503 No\r\ntransfer-encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert!(whole(chunked));
        assert_eq!(answer(chunked), Some(Answer { status: 503, body: "abc".into() }));
        assert_eq!(answer(b"SSH-2.0\r\n\r\n"), None);
        assert_eq!(chunks(b"fffffffffffffffff\r\n"), b"");
        assert_eq!(chunks(b"ffffffffffffffff\r\nab"), b"");
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(get(&url, None, Duration::from_millis(50)), Err("no answer in time".into()));
        drop(listener);
        assert!(get(&url, None, Duration::from_secs(5)).unwrap_err().ends_with("connection refused"));
    }
}
