//! One request over one connection: TCP, a unix socket, or TLS through `openssl s_client`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::response::{self, Response};
use super::url::Url;
use super::{Request, basic, resolve};
use crate::{Failure, Host};

/// A connection; ending it ends the program that carries it.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(UnixStream, Box<Child>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) | Self::Tls(stream, _) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) | Self::Tls(stream, _) => stream.write(buffer),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Self::Tls(_, child) = self {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Stream {
    /// Why the TLS program gave up, in its own words; nothing for other connections.
    fn tls_error(&mut self) -> Option<String> {
        let Self::Tls(_, child) = self else { return None };
        let _ = child.kill();
        let mut text = Vec::new();
        let _ = child.stderr.take()?.take(64 << 10).read_to_end(&mut text);
        explain(&String::from_utf8_lossy(&text))
    }
}

/// OpenSSL's complaint without codes and source lines.
fn explain(text: &str) -> Option<String> {
    let verify = text.lines().find_map(|line| line.strip_prefix("verify error:"));
    if let Some(error) = verify {
        return Some(format!("its certificate is not valid: {}", error.rsplit(':').next().unwrap_or(error)));
    }
    let line = text.lines().find(|line| line.contains(":error:") || line.contains("errno="))?;
    // thread:error:code:library:function:reason:file:line:data
    let words: Vec<&str> = line.split(':').collect();
    let word = |at: usize| words.get(at).copied().filter(|word| !word.is_empty());
    let reason = match word(5) {
        // The system's own words are at the end: a name that is unknown, for one.
        Some("system lib") => word(8).or(word(4)),
        reason => reason,
    };
    Some(reason.unwrap_or(line).to_owned())
}

/// The proxy for a URL, from the task's environment or the agent's own.
fn proxy(host: &Host, url: &Url) -> Result<Option<Url>, Failure> {
    let variable = |name: &str| {
        let task = &host.options.borrow().environment;
        let given = task.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        given.or_else(|| std::env::var(name).ok()).filter(|value| !value.is_empty())
    };
    let either = |name: &str| variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
    // HTTP_PROXY in capitals is what a CGI client's Proxy field becomes: not for a task, but curl too ignores it.
    let address = if url.tls { either("https_proxy") } else { variable("http_proxy") };
    let Some(address) = address.or_else(|| either("all_proxy")) else { return Ok(None) };
    if either("no_proxy").is_some_and(|list| is_exempt(&list, &url.host)) {
        return Ok(None);
    }
    let address = if address.contains("://") { address } else { format!("http://{address}") };
    Url::parse(&address).map(Some)
}

fn is_exempt(list: &str, host: &str) -> bool {
    list.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()).any(|name| {
        let name = name.trim_start_matches('.').to_ascii_lowercase();
        let host = host.to_ascii_lowercase();
        name == "*" || host == name || host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn tcp(host: &Host, name: &str, port: u16, timeout: Duration) -> Result<TcpStream, Failure> {
    let mut last = String::new();
    for address in resolve::addresses(host, name)? {
        match TcpStream::connect_timeout(&SocketAddr::new(address, port), timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(Failure::new(format!("cannot connect to {name} port {port}: {last}")))
}

/// The arguments of `openssl s_client`. Passwords go through the environment.
pub(super) fn tls_words(url: &Url, request: &Request, proxy: Option<&Url>) -> Vec<String> {
    // Without -nocommands a body that begins with R or Q would be taken as an order to s_client.
    let mut words: Vec<String> =
        ["s_client", "-quiet", "-nocommands", "-verify_quiet"].map(Into::into).to_vec();
    let mut option = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    let bracketed = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    option("-connect", format!("{bracketed}:{}", url.port));
    let literal = url.host.parse::<std::net::IpAddr>().is_ok();
    if !literal {
        option("-servername", url.host.clone());
    }
    if let Some(proxy) = proxy {
        option("-proxy", format!("{}:{}", proxy.host, proxy.port));
        if let Some((user, _)) = &proxy.login {
            option("-proxy_user", user.clone());
            option("-proxy_pass", "env:DEBARK_PROXY_PASSWORD".into());
        }
    }
    for (flag, path) in
        [("-CAfile", &request.ca_path), ("-cert", &request.client_cert), ("-key", &request.client_key)]
    {
        if let Some(path) = path {
            let flag = if flag == "-CAfile" && path.is_dir() { "-CApath" } else { flag };
            option(flag, path.to_string_lossy().into_owned());
        }
    }
    if !request.ciphers.is_empty() {
        option("-cipher", request.ciphers.join(":"));
    }
    if request.validate_certs {
        option(if literal { "-verify_ip" } else { "-verify_hostname" }, url.host.clone());
        words.push("-verify_return_error".into());
    }
    words
}

fn tls(url: &Url, request: &Request, proxy: Option<&Url>) -> Result<Stream, Failure> {
    let (own, other) =
        UnixStream::pair().map_err(|e| Failure::new(format!("cannot make a pair of sockets: {e}")))?;
    let end = |stream: UnixStream| Stdio::from(OwnedFd::from(stream));
    let copy = other.try_clone().map_err(|e| Failure::new(format!("cannot copy a socket: {e}")))?;
    let mut command = Command::new("openssl");
    command.args(tls_words(url, request, proxy)).stdin(end(other)).stdout(end(copy)).stderr(Stdio::piped());
    if let Some((_, password)) = proxy.and_then(|proxy| proxy.login.as_ref()) {
        command.env("DEBARK_PROXY_PASSWORD", password);
    }
    let child = command.spawn().map_err(|error| {
        Failure::new(format!("https needs the program openssl on the host: {error}"))
            .hint("install the package ca-certificates, which brings it")
    })?;
    Ok(Stream::Tls(own, Box::new(child)))
}

/// Sends one request and reads the head of the answer.
pub(super) fn exchange(host: &Host, url: &Url, request: &Request) -> Result<Response, Failure> {
    let proxy = if request.use_proxy && request.unix_socket.is_none() { proxy(host, url)? } else { None };
    let mut stream = match (&request.unix_socket, url.tls, &proxy) {
        (Some(path), ..) => UnixStream::connect(path)
            .map(Stream::Unix)
            .map_err(|e| Failure::io("cannot connect to", path, e))?,
        (None, true, proxy) => tls(url, request, proxy.as_ref())?,
        (None, false, Some(proxy)) => Stream::Tcp(tcp(host, &proxy.host, proxy.port, request.timeout)?),
        (None, false, None) => Stream::Tcp(tcp(host, &url.host, url.port, request.timeout)?),
    };
    let limit = Some(request.timeout).filter(|limit| !limit.is_zero());
    let timed = match &stream {
        Stream::Tcp(s) => s.set_read_timeout(limit).and_then(|()| s.set_write_timeout(limit)),
        Stream::Unix(s) | Stream::Tls(s, _) => {
            s.set_read_timeout(limit).and_then(|()| s.set_write_timeout(limit))
        }
    };
    timed.map_err(|e| Failure::new(format!("cannot set a time limit: {e}")))?;
    let head = head(url, request, proxy.as_ref());
    // A server may answer and close before it has read everything: the answer counts, if there is one.
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&request.body));
    match response::read(stream, url, request) {
        Ok(response) => Ok(response),
        Err((mut stream, why)) => {
            let tls = stream.tls_error();
            let why = tls.or_else(|| sent.err().map(|e| e.to_string())).unwrap_or(why);
            Err(Failure::new(format!("cannot ask {}: {why}", url.authority())))
        }
    }
}

fn head(url: &Url, request: &Request, proxy: Option<&Url>) -> String {
    let through = proxy.filter(|_| !url.tls);
    let target = if through.is_some() { url.to_string() } else { url.target.clone() };
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method);
    let mut field = |name: &str, value: &str| {
        head.push_str(&format!("{name}: {value}\r\n"));
    };
    let given = |name: &str| request.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if !given("host") {
        field("Host", &url.authority());
    }
    if !given("user-agent") {
        field("User-Agent", "ansible-httpget");
    }
    if request.decompress && !given("accept-encoding") {
        field("Accept-Encoding", "gzip");
    }
    if let Some(login) = through.and_then(|proxy| proxy.login.as_ref()) {
        field("Proxy-Authorization", &basic(login));
    }
    for (name, value) in &request.headers {
        if !["content-length", "connection", "transfer-encoding"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            field(name, value);
        }
    }
    if !request.body.is_empty() || matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
        field("Content-Length", &request.body.len().to_string());
    }
    field("Connection", "close");
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exempts_hosts_from_proxies() {
        assert!(is_exempt("localhost, .example.org", "a.Example.org"));
        assert!(is_exempt("example.org", "example.org") && is_exempt("*", "x"));
        assert!(!is_exempt("example.org", "badexample.org"));
    }

    #[test]
    fn complaints_lose_their_codes() {
        let told = |text: &str| explain(text).unwrap();
        let line = "40C7:error:10080002:BIO routines:BIO_lookup_ex:system lib:../crypto/bio/bio_addr.c:738:Name or service not known\nconnect:errno=2\n";
        assert_eq!(told(line), "Name or service not known");
        let line = "40C7:error:8000006F:system library:BIO_connect:Connection refused:../crypto/bio/bio_sock2.c:125:calling connect()\n";
        assert_eq!(told(line), "Connection refused");
        assert_eq!(
            told("verify error:num=10:certificate has expired\n"),
            "its certificate is not valid: certificate has expired"
        );
        assert_eq!(explain(""), None);
    }

    #[test]
    fn openssl_gets_the_exact_words() {
        let url = Url::parse("https://example.org/x").unwrap();
        let words = tls_words(&url, &Request::default(), None).join(" ");
        assert_eq!(
            words,
            "s_client -quiet -nocommands -verify_quiet -connect example.org:443 -servername example.org -verify_hostname example.org -verify_return_error"
        );
        let proxy = Url::parse("http://u:secret@proxy:3128").unwrap();
        let request = Request { validate_certs: false, ..Request::default() };
        let words = tls_words(&Url::parse("https://[::1]/").unwrap(), &request, Some(&proxy)).join(" ");
        assert!(words.contains("-connect [::1]:443 -proxy proxy:3128 -proxy_user u"), "{words}");
        assert!(!words.contains("secret") && !words.contains("-verify_ip"));
    }
}
