//! `uri`: talks to a web service.

mod body;

use std::io::{Read, Seek};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::atomic::Replace;
use crate::file_args::{FileArgs, Stat};
use crate::http::{self, Follow, Request, Response, Url};
use crate::param::{NO_RULES, Rules};
use crate::upstream::{EntryKind, Search};
use crate::{Failure, Host, Map, Plan, Value, choices, map, params};

choices! {
    /// How the body is written.
    pub enum BodyFormat {
        Raw = "raw", Json = "json", Form = "form-urlencoded", Multipart = "form-multipart",
    }
}

choices! {
    /// Which redirects are followed.
    pub enum FollowRedirects {
        All = "all", None = "none", Safe = "safe", Urllib2 = "urllib2", Yes = "yes", No = "no",
    }
}

params! {
    /// Sends a request to a web service.
    pub struct Params for "ansible.builtin.uri" {
        /// The address.
        url: String,
        /// The method.
        method: String = "GET".to_owned(),
        /// The body: text, or what `body_format` makes of a mapping or list.
        body: Option<Value>,
        /// How the body is written.
        body_format: BodyFormat = BodyFormat::Raw,
        /// A file that is the body.
        src: Option<String>,
        /// `src` is on the host rather than beside the playbook.
        remote_src: bool = false,
        /// Header fields.
        headers: Option<Map>,
        /// Header fields that are not repeated to where a redirect leads.
        unredirected_headers: Vec<String>,
        /// Status codes that are success.
        status_code: Vec<i64> = vec![200],
        /// Return the body as `content`.
        return_content: bool = false,
        /// Write the body to this file.
        dest: Option<PathBuf>,
        /// Nothing is done if this exists.
        creates: Option<PathBuf>,
        /// Nothing is done unless this exists.
        removes: Option<PathBuf>,
        /// Which redirects are followed.
        follow_redirects: FollowRedirects = FollowRedirects::Safe,
        /// Do not take what a cache has.
        force: bool = false,
        /// Seconds that connecting and each pause may take.
        timeout: i64 = 30,
        /// User name.
        url_username | user: Option<String>,
        /// Password.
        url_password | password: Option<String>,
        /// Send them at once instead of after a 401.
        force_basic_auth: bool = false,
        /// The server's certificate must be valid.
        validate_certs: bool = true,
        /// PEM file of the authorities to trust.
        ca_path: Option<PathBuf>,
        /// PEM file of the client's certificate.
        client_cert: Option<PathBuf>,
        /// PEM file of the client's key.
        client_key: Option<PathBuf>,
        /// Cipher suites, as OpenSSL names them.
        ciphers: Vec<String>,
        /// Go through the proxies that the environment names.
        use_proxy: bool = true,
        /// Talk to this socket.
        unix_socket: Option<PathBuf>,
        /// What the client calls itself.
        http_agent: String = "ansible-httpget".to_owned(),
        /// Ask for gzip and unpack it.
        decompress: bool = true,
        /// Accepted for playbooks that set it; there is no netrc here.
        use_netrc: bool = true,
        /// Kerberos is not supported.
        use_gssapi: bool = false,
    }
    common file: FileArgs;
    rules Rules { exclusive: &[&["body", "src"]], ..NO_RULES }
}

/// Answers beyond this are not kept in memory.
const CONTENT_LIMIT: u64 = 64 << 20;
/// No file is larger.
const FILE_LIMIT: u64 = 1 << 40;

fn request(p: &Params) -> Result<Request, Failure> {
    let headers = p.headers.iter().flatten().map(|(name, value)| (name.to_string(), value.to_string()));
    let login = p.url_username.clone().map(|user| (user, p.url_password.clone().unwrap_or_default()));
    let mut request = Request {
        method: p.method.to_ascii_uppercase(),
        headers: headers.collect(),
        unredirected: p.unredirected_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
        body: Vec::new(),
        timeout: Duration::from_secs(u64::try_from(p.timeout).unwrap_or(0)),
        validate_certs: p.validate_certs,
        ca_path: p.ca_path.clone(),
        client_cert: p.client_cert.clone(),
        client_key: p.client_key.clone(),
        ciphers: p.ciphers.clone(),
        use_proxy: p.use_proxy,
        follow: match p.follow_redirects {
            FollowRedirects::All | FollowRedirects::Yes => Follow::All,
            FollowRedirects::None | FollowRedirects::No => Follow::None,
            FollowRedirects::Safe => Follow::Safe,
            FollowRedirects::Urllib2 => Follow::Urllib,
        },
        login,
        force_basic_auth: p.force_basic_auth,
        unix_socket: p.unix_socket.clone(),
        decompress: p.decompress,
    };
    if request.method.is_empty() || !request.method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(Failure::new(format!("uri: {:?} is no method", p.method)));
    }
    request.default_header("User-Agent", &p.http_agent);
    if p.force {
        request.default_header("Cache-Control", "no-cache");
    }
    Ok(request)
}

/// Checks the request. It is not sent in check mode, like a command: what it does is not known.
///
/// # Errors
/// No method, no URL, or a body that does not fit its format.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    if let Some(path) = params.creates.as_ref().filter(|path| path.exists()) {
        let reason = format!("skipped, since '{}' exists", path.display());
        return Ok(Plan::ok(map! { "stdout" => reason.clone(), "msg" => reason }));
    }
    if let Some(path) = params.removes.as_ref().filter(|path| !path.exists()) {
        let reason = format!("skipped, since '{}' does not exist", path.display());
        return Ok(Plan::ok(map! { "stdout" => reason.clone(), "msg" => reason }));
    }
    if params.use_gssapi {
        return Err(Failure::new("uri: use_gssapi is not supported"));
    }
    if params.unix_socket.is_none() {
        Url::parse(&params.url)?;
    }
    let mut request = request(&params)?;
    // In check mode a file of the host may not be there yet.
    if !host.is_check() || params.body_format != BodyFormat::Multipart {
        body::fill(&params, &mut request)?;
    }
    Ok(Plan::run(move |host| run(&params, request, host)))
}

/// The body from `src`.
fn source(p: &Params, host: &Host) -> Result<Vec<u8>, Failure> {
    let Some(src) = &p.src else { return Ok(Vec::new()) };
    if p.remote_src {
        let path = crate::paths::expand(src);
        return std::fs::read(&path).map_err(|e| Failure::io("cannot read", path, e));
    }
    let tree = host.upstream.find(src, Search::Files)?;
    match tree.entries.first().map(|entry| &entry.kind) {
        Some(EntryKind::File { sha256, .. }) if !tree.directory => {
            let mut bytes = Vec::new();
            host.upstream.content(sha256, &mut bytes)?;
            Ok(bytes)
        }
        _ => Err(Failure::new(format!("uri: {src} is no file"))),
    }
}

fn run(p: &Params, mut request: Request, host: &Host) -> Result<Map, Failure> {
    if p.src.is_some() {
        request.body = source(p, host)?;
    }
    if let Some(stat) = p.dest.as_ref().and_then(|dest| std::fs::metadata(dest).ok()).filter(|m| m.is_file())
    {
        request.default_header(
            "If-Modified-Since",
            &http::http_date(std::os::unix::fs::MetadataExt::mtime(&stat)),
        );
    }
    let started = Instant::now();
    let shown = http::url::without_login(&p.url);
    let mut response = http::send(host, &p.url, &request).map_err(|failure| {
        // `until: x.status == 200` looks at it while the service is not up yet.
        let why = failure.msg.clone();
        let wanted = Value::list(p.status_code.clone());
        Failure { msg: format!("Status code was -1 and not {wanted}: {why}"), ..failure }
            .with(map! { "status" => -1, "url" => shown.clone(), "elapsed" => started.elapsed().as_secs(), "redirected" => false })
    })?;
    let status = i64::from(response.status);
    let expected = p.status_code.contains(&status);
    let mut result = headers(&response);
    let final_url = response.url.to_string();
    let redirected = Url::parse(&p.url).is_ok_and(|first| first.to_string() != final_url);
    let length = response.header("content-length").unwrap_or("unknown");
    let message = match response.status {
        200..300 => format!("OK ({length} bytes)"),
        status => format!("HTTP Error {status}: {}", response.reason),
    };
    if let Some(location) = response.header("location") {
        let absolute =
            response.url.join(location).map_or_else(|_| location.to_owned(), |url| url.to_string());
        result.insert("location".into(), absolute.into());
    }
    result.extend(cookies(&response));
    result.extend(map! {
        "status" => status, "url" => final_url, "redirected" => redirected, "changed" => false, "msg" => message.clone(),
    });
    let kind = response.header("content-type").unwrap_or("application/octet-stream").to_ascii_lowercase();
    let subtype = kind.split([';', ',']).next().unwrap_or_default().trim().rsplit(['/', '+']).next();
    let maybe_json = matches!(subtype, Some("json" | "javascript"));
    let broken = |why: String| Failure::new(format!("{shown}: {why}"));
    let write = p.dest.is_some() && expected && status != 304;
    let mut content = None;
    if write {
        result.extend(store(p, &mut response, maybe_json || p.return_content, &mut content, host)?);
    } else if maybe_json || p.return_content || !expected || status >= 400 {
        content = Some(response.body.to_vec(CONTENT_LIMIT).map_err(broken)?);
    }
    result.insert("elapsed".into(), started.elapsed().as_secs().into());
    if let Some(dest) = p.dest.as_ref().filter(|_| !write) {
        result.insert("path".into(), dest.to_string_lossy().into_owned().into());
    }
    if let Some(bytes) = content {
        let text = text(&bytes, &kind);
        if maybe_json && let Ok(json) = serde_json::from_str(&text) {
            result.insert("json".into(), debark_value::from_json(json));
        }
        if status >= 400 && !maybe_json && !p.return_content {
            result.insert("body".into(), text.as_str().into());
        }
        if p.return_content || !expected {
            result.insert("content".into(), text.into());
        }
    }
    if expected {
        return Ok(result);
    }
    let wanted = Value::list(p.status_code.clone());
    result.shift_remove("msg");
    Err(Failure::new(format!("Status code was {status} and not {wanted}: {message}")).with(result))
}

/// Latin-1 if the server says so, UTF-8 otherwise.
fn text(bytes: &[u8], kind: &str) -> String {
    let charset = kind.split_once("charset=").map(|(_, rest)| rest.trim_matches(['"', ' ']));
    match charset {
        Some(name) if name.starts_with("iso-8859-1") || name.starts_with("latin") => {
            bytes.iter().map(|byte| char::from(*byte)).collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Header fields under names that templates can write: lower case, underscores. Of several the values are joined.
fn headers(response: &Response) -> Map {
    let mut result = Map::new();
    for (name, value) in &response.headers {
        let name = name.replace('-', "_");
        let together = match result.get(name.as_str()) {
            Some(first) => format!("{first}, {value}"),
            None => value.clone(),
        };
        result.insert(name.into(), together.into());
    }
    result
}

fn cookies(response: &Response) -> Map {
    let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pairs: Vec<(&str, &str)> = set
        .filter_map(|(_, value)| value.split(';').next()?.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let string = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let cookies: Map = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    map! { "cookies" => cookies, "cookies_string" => string }
}

/// Writes the body to `dest`, keeping it in memory as well if it is looked at.
fn store(
    p: &Params,
    response: &mut Response,
    keep: bool,
    content: &mut Option<Vec<u8>>,
    host: &Host,
) -> Result<Map, Failure> {
    let mut dest = p.dest.clone().unwrap_or_default();
    if dest.is_dir() {
        let named = response.header("content-disposition").and_then(http::disposition_name);
        let name = named.unwrap_or_else(|| response.url.file_name());
        dest.push(if name.is_empty() { "index.html" } else { &name });
    }
    let dest = std::fs::canonicalize(&dest).unwrap_or(dest);
    let mut spool = http::spool(&dest.parent().into_iter().collect::<Vec<_>>())?;
    let broken = |why: String| Failure::new(format!("{}: {why}", response.url));
    response.body.copy_to(&mut spool, FILE_LIMIT).map_err(broken)?;
    let failed = |e: std::io::Error| Failure::io("cannot write", &dest, e);
    if keep {
        let mut bytes = Vec::new();
        spool.rewind().map_err(failed)?;
        (&mut spool).take(CONTENT_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        *content = Some(bytes);
    }
    crate::atomic::need_parent(host, &dest)?;
    let mut replace = Replace::observe(&dest)?;
    replace.wanted = p.file.resolve(host)?;
    replace.unsafe_writes = p.file.unsafe_writes;
    replace.commit(host, &mut |out| {
        spool
            .rewind()
            .and_then(|()| std::io::copy(&mut spool, out))
            .map(drop)
            .map_err(|e| Failure::io("cannot write", &dest, e))
    })?;
    let mut result = Map::new();
    if let Some(stat) = Stat::of(&dest)? {
        stat.report(&mut result);
    }
    result.extend(map! { "path" => dest.to_string_lossy().into_owned(), "changed" => true });
    Ok(result)
}

#[cfg(test)]
mod tests;
