//! A small HTTP/1.1 client for `get_url`, `uri` and whatever else downloads.
//!
//! TLS is the host's own OpenSSL: `openssl s_client` carries the bytes. A TLS library in the agent would add 0.9 MB (half
//! a megabyte as sent) and a second trust store and cipher policy that the host's administrator and its security
//! updates do not reach. Debian's `ca-certificates`, without which there is nothing to verify against, depends on
//! `openssl`, so a host that can verify anything has it.

mod connect;
pub(crate) mod resolve;
mod response;
mod spool;
#[cfg(test)]
pub(crate) mod tests;
pub mod url;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;

pub(crate) use resolve::addresses;
pub use response::{Body, Response};
pub use spool::spool;
pub use url::Url;

use crate::{Failure, Host};

/// Redirects that are followed before it is taken for a circle.
const REDIRECTS: usize = 10;

/// Which redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// None: the redirect is the answer.
    None,
    /// Those of GET and HEAD.
    Safe,
    /// All.
    All,
    /// As Python's urllib: GET and HEAD, and POST turned into GET.
    Urllib,
}

/// A request, apart from its URL.
#[derive(Clone)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Header fields in the order in which they are sent.
    pub headers: Vec<(String, String)>,
    /// Names (in lower case) of fields that are not repeated to where a redirect leads.
    pub unredirected: Vec<String>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How long connecting, sending and each pause of the answer may take.
    pub timeout: Duration,
    /// Whether the server's certificate must be valid.
    pub validate_certs: bool,
    /// PEM file of the authorities to trust instead of the host's.
    pub ca_path: Option<PathBuf>,
    /// PEM file of the client's certificate, perhaps with its key.
    pub client_cert: Option<PathBuf>,
    /// PEM file of the client's key.
    pub client_key: Option<PathBuf>,
    /// Cipher suites, as OpenSSL names them.
    pub ciphers: Vec<String>,
    /// Whether `http_proxy`, `https_proxy` and `no_proxy` count.
    pub use_proxy: bool,
    /// Which redirects are followed.
    pub follow: Follow,
    /// User name and password for basic authentication.
    pub login: Option<(String, String)>,
    /// Send the login at once instead of after a 401.
    pub force_basic_auth: bool,
    /// Connect to this socket whatever the URL's host is.
    pub unix_socket: Option<PathBuf>,
    /// Ask for gzip, and unpack it.
    pub decompress: bool,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            headers: Vec::new(),
            unredirected: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            validate_certs: true,
            ca_path: None,
            client_cert: None,
            client_key: None,
            ciphers: Vec::new(),
            use_proxy: true,
            follow: Follow::Urllib,
            login: None,
            force_basic_auth: false,
            unix_socket: None,
            decompress: true,
        }
    }
}

/// Headers and logins stay out of messages.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Request {
    /// Adds a header field unless one of that name is there.
    pub fn default_header(&mut self, name: &str, value: &str) {
        if !self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            self.headers.push((name.into(), value.into()));
        }
    }
}

fn basic((user, password): &(String, String)) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Sends a request and follows redirects. An answer with any status is an answer.
///
/// # Errors
/// The URL is none, the name is unknown, nobody answers in time, the certificate is not valid, or what comes back is
/// not HTTP.
pub fn send(host: &Host, address: &str, request: &Request) -> Result<Response, Failure> {
    let mut url = Url::parse(address)?;
    let mut request = request.clone();
    if let Some(login) = url.login.take() {
        request.login.get_or_insert(login);
    }
    let bad = |text: &str| text.contains(['\r', '\n', '\0']);
    if request.headers.iter().any(|(name, value)| bad(name) || bad(value) || name.contains([':', ' '])) {
        return Err(Failure::new("a header field holds a line break or has no valid name"));
    }
    if request.force_basic_auth
        && let Some(login) = &request.login
    {
        let value = basic(login);
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        request.headers.push(("Authorization".into(), value));
    }
    let mut asked = request.force_basic_auth;
    for _ in 0..=REDIRECTS {
        let response = connect::exchange(host, &url, &request)?;
        let challenge = response.header("www-authenticate").unwrap_or_default().to_ascii_lowercase();
        if response.status == 401
            && !asked
            && challenge.contains("basic")
            && let Some(login) = &request.login
        {
            asked = true;
            let value = basic(login);
            request.headers.push(("Authorization".into(), value));
            continue;
        }
        let Some(location) = response.header("location").filter(|_| redirects(&response, &request)) else {
            return Ok(response);
        };
        let next = url.join(location)?;
        redirected(&mut request, response.status, &url, &next);
        url = next;
    }
    Err(Failure::new(format!("{} redirects in a circle", Url::parse(address)?)))
}

fn redirects(response: &Response, request: &Request) -> bool {
    let safe = matches!(request.method.as_str(), "GET" | "HEAD");
    let known = matches!(response.status, 301 | 302 | 303 | 307 | 308);
    match request.follow {
        Follow::None => false,
        Follow::Safe => known && safe,
        Follow::All => known,
        Follow::Urllib => known && (safe || request.method == "POST" && response.status <= 303),
    }
}

/// Prepares the request for where a redirect leads, RFC 9110 section 15.4.
fn redirected(request: &mut Request, status: u16, from: &Url, to: &Url) {
    let dropped = std::mem::take(&mut request.unredirected);
    request.headers.retain(|(name, _)| !dropped.contains(&name.to_ascii_lowercase()));
    // Secrets meant for one host are not told to another, nor sent in clear after they were encrypted.
    if (&from.host, from.port) != (&to.host, to.port) || from.tls != to.tls {
        request.headers.retain(|(name, _)| {
            !["authorization", "cookie", "proxy-authorization"].contains(&name.to_ascii_lowercase().as_str())
        });
        request.login = to.login.clone();
    }
    if matches!(status, 307 | 308) {
        return;
    }
    request.body.clear();
    request.headers.retain(|(name, _)| {
        !["content-length", "content-type", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str())
    });
    let becomes_get = match status {
        301 => request.method == "POST",
        _ => request.method != "HEAD",
    };
    if becomes_get {
        request.method = "GET".into();
    }
}

/// Writes what a URL yields to `out`; at most `limit` bytes. `file:` URLs are read from the host.
///
/// # Errors
/// As [`send`], a status other than 200, an answer that is cut short or longer than `limit`, or writing fails.
pub fn download(
    host: &Host,
    address: &str,
    request: &Request,
    out: &mut dyn Write,
    limit: u64,
) -> Result<u64, Failure> {
    if let Some(path) = address.strip_prefix("file://") {
        let path = PathBuf::from(url::percent_decode(path));
        let mut file = std::fs::File::open(&path).map_err(|e| Failure::io("cannot read", &path, e))?;
        return std::io::copy(&mut file, out).map_err(|e| Failure::io("cannot copy", &path, e));
    }
    let mut response = send(host, address, request)?;
    if response.status != 200 {
        let status = response.status_line();
        return Err(Failure::new(format!("{} answered {status}", Url::parse(address)?))
            .with(crate::map! { "status_code" => i64::from(response.status) }));
    }
    response.body.copy_to(out, limit).map_err(|why| Failure::new(format!("{}: {why}", response.url)))
}

/// The name that a `Content-Disposition` field gives, RFC 6266, without any directories.
pub fn disposition_name(field: &str) -> Option<String> {
    let (_, rest) = field.split_once("filename=")?;
    let rest = rest.trim_start();
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(';').next().map(str::trim),
    };
    let name = name?.rsplit('/').next()?;
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

/// A time as HTTP writes it, RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let date = crate::shadow::date(days);
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|m| m.parse::<usize>().ok()).and_then(|m| MONTHS.get(m.checked_sub(1)?));
    let weekday = usize::try_from(days.rem_euclid(7)).ok().and_then(|at| DAYS.get(at));
    format!(
        "{}, {} {} {} {:02}:{:02}:{:02} GMT",
        weekday.copied().unwrap_or_default(),
        day.unwrap_or_default(),
        month.copied().unwrap_or_default(),
        year.unwrap_or_default(),
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}
