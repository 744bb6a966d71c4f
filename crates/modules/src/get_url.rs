//! `get_url`: a file from the web.
//!
//! What is not known to be there already is downloaded before the plan is made, into a file without a name: only
//! its content tells whether something would change.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::atomic::Replace;
use crate::file_args::{FileArgs, FileKind, Stat};
use crate::hash::{self, Algorithm};
use crate::http::{self, Request, Url};
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Map, Plan, Value, map, params};

params! {
    /// Downloads a file.
    pub struct Params for "ansible.builtin.get_url" {
        /// Where from.
        url: String,
        /// Where to; in a directory the file is named as the server says, or as in the URL.
        dest: PathBuf,
        /// `ALGORITHM:HEX`, or `ALGORITHM:URL` of a file of checksums.
        checksum: String = String::new(),
        /// Download although the file is there.
        force: bool = false,
        /// Keep a copy of what was there.
        backup: bool = false,
        /// Header fields.
        headers: Option<Map>,
        /// Header fields that are not repeated to where a redirect leads.
        unredirected_headers: Vec<String>,
        /// Seconds that connecting and each pause may take.
        timeout: i64 = 10,
        /// User name.
        url_username | username: Option<String>,
        /// Password.
        url_password | password: Option<String>,
        /// Send them at once instead of after a 401.
        force_basic_auth: bool = false,
        /// The server's certificate must be valid.
        validate_certs: bool = true,
        /// PEM file of the client's certificate.
        client_cert: Option<PathBuf>,
        /// PEM file of the client's key.
        client_key: Option<PathBuf>,
        /// Cipher suites, as OpenSSL names them.
        ciphers: Vec<String>,
        /// Go through the proxies that the environment names.
        use_proxy: bool = true,
        /// What the client calls itself.
        http_agent: String = "ansible-httpget".to_owned(),
        /// Ask for gzip and unpack it.
        decompress: bool = true,
        /// A directory for the download until it is in place.
        tmp_dest: Option<PathBuf>,
        /// Accepted for playbooks that set it; there is no netrc here.
        use_netrc: bool = true,
        /// Kerberos is not supported.
        use_gssapi: bool = false,
    }
    common file: FileArgs;
    rules NO_RULES
}

/// No download is larger.
const LIMIT: u64 = 1 << 40;

impl Params {
    fn request(&self) -> Request {
        let headers =
            self.headers.iter().flatten().map(|(name, value)| (name.to_string(), value.to_string()));
        let login =
            self.url_username.clone().map(|user| (user, self.url_password.clone().unwrap_or_default()));
        let mut request = Request {
            headers: headers.collect(),
            unredirected: self.unredirected_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            timeout: Duration::from_secs(u64::try_from(self.timeout).unwrap_or(0)),
            validate_certs: self.validate_certs,
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            ciphers: self.ciphers.clone(),
            use_proxy: self.use_proxy,
            login,
            force_basic_auth: self.force_basic_auth,
            decompress: self.decompress,
            ..Request::default()
        };
        request.default_header("User-Agent", &self.http_agent);
        if self.force {
            request.default_header("Cache-Control", "no-cache");
        }
        request
    }
}

/// Algorithm and digest of `checksum`.
fn checksum(params: &Params, host: &Host) -> Result<Option<(Algorithm, String)>, Failure> {
    if params.checksum.is_empty() {
        return Ok(None);
    }
    let wrong =
        || Failure::new(format!("get_url: the checksum {:?} is not ALGORITHM:DIGEST", params.checksum));
    let (name, value) = params.checksum.split_once(':').ok_or_else(wrong)?;
    let algorithm = Algorithm::of(name).ok_or_else(|| {
        Failure::new(format!("get_url: there is no checksum algorithm {name}")).hint("sha256, for example")
    })?;
    let digest = if ["http://", "https://", "file://"].iter().any(|scheme| value.starts_with(scheme)) {
        let mut bytes = Vec::new();
        http::download(host, value, &params.request(), &mut bytes, 16 << 20)?;
        let file = Url::parse(&params.url).map(|url| url.file_name()).unwrap_or_default();
        find_digest(&String::from_utf8_lossy(&bytes), &file).ok_or_else(|| {
            Failure::new(format!("{} has no checksum of {file}", http::url::without_login(value)))
        })?
    } else {
        value.to_owned()
    };
    // Blanks and zero-width spaces come along when digests are copied from web pages.
    let digest: String = digest.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    if digest.is_empty() || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    Ok(Some((algorithm, digest)))
}

/// The digest of a file in the output of sha256sum(1) and its like, or the only word there is.
fn find_digest(sums: &str, file: &str) -> Option<String> {
    let lines: Vec<&str> = sums.lines().filter(|line| !line.trim().is_empty()).collect();
    if let [only] = lines.as_slice()
        && only.split_whitespace().count() == 1
    {
        return Some(only.trim().to_owned());
    }
    lines.iter().find_map(|line| {
        let (digest, name) = line.split_once(' ')?;
        let name = name.strip_prefix([' ', '*']).unwrap_or(name).trim_start_matches(['.', '/']);
        (name == file).then(|| digest.to_owned())
    })
}

/// What came from the server.
struct Fetched {
    status: u16,
    message: String,
    /// Where it came from, after redirects.
    file_name: String,
    /// The content; nothing after HEAD and after 304.
    content: Option<File>,
}

fn fetch(params: &Params, host: &Host, request: &Request) -> Result<Fetched, Failure> {
    let mut dirs: Vec<&Path> = params.tmp_dest.iter().map(PathBuf::as_path).collect();
    dirs.extend(params.dest.parent());
    if let Some(path) = params.url.strip_prefix("file://") {
        let path = PathBuf::from(http::url::percent_decode(path));
        let file = File::open(&path).map_err(|e| Failure::io("cannot read", &path, e))?;
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let size = file.metadata().map_or(0, |meta| meta.len());
        return Ok(Fetched {
            status: 200,
            message: format!("OK ({size} bytes)"),
            file_name,
            content: Some(file),
        });
    }
    let mut response = http::send(host, &params.url, request)?;
    let length = response.header("content-length").unwrap_or("unknown");
    let message = match response.status {
        200 => format!("OK ({length} bytes)"),
        status => format!("HTTP Error {status}: {}", response.reason),
    };
    let named = response.header("content-disposition").and_then(http::disposition_name);
    let file_name = named.unwrap_or_else(|| response.url.file_name());
    let file_name = if file_name.is_empty() { "index.html".into() } else { file_name };
    let mut content = None;
    if response.status == 200 && request.method == "GET" {
        let mut file = http::spool(&dirs)?;
        response
            .body
            .copy_to(&mut file, LIMIT)
            .map_err(|why| Failure::new(format!("{}: {why}", response.url)))?;
        content = Some(file);
    }
    Ok(Fetched { status: response.status, message, file_name, content })
}

fn digests(file: &mut File, algorithms: &[Algorithm]) -> Result<Vec<String>, Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("cannot read the download: {e}"));
    file.rewind().map_err(failed)?;
    hash::read(file as &mut dyn Read, algorithms).map_err(failed)
}

/// Downloads and compares.
///
/// # Errors
/// The server refuses or cannot be reached, the checksum is another, the directory is missing.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let started = Instant::now();
    if params.use_gssapi {
        return Err(Failure::new("get_url: use_gssapi is not supported"));
    }
    let expected = checksum(&params, host)?;
    let is_dir = params.dest.is_dir();
    let mut request = params.request();
    let here = if is_dir { None } else { Stat::followed(&params.dest)? };
    let shown = http::url::without_login(&params.url);
    let mut result = map! {
        "url" => shown.clone(), "dest" => params.dest.to_string_lossy().into_owned(), "checksum_src" => Value::Null,
        "checksum_dest" => Value::Null,
    };
    if let Some(stat) = &here {
        let matches = match &expected {
            Some((algorithm, digest)) => {
                Some(hash::file(&params.dest, &[*algorithm])?.first() == Some(digest))
            }
            None => None,
        };
        if matches == Some(true) && !params.force {
            result.insert("msg".into(), "file already exists".into());
            return attributes_only(&params, host, &params.dest, result);
        }
        if !params.force && matches.is_none() {
            request.default_header("If-Modified-Since", &http::http_date(stat.mtime.0));
        }
    } else if host.is_check() && !is_dir {
        // That something would change is known; whether the server has it can be asked for less.
        request.method = "HEAD".into();
    }
    let mut fetched = fetch(&params, host, &request)?;
    result.extend(map! {
        "elapsed" => started.elapsed().as_secs(), "status_code" => i64::from(fetched.status), "msg" => fetched.message.clone(),
    });
    if fetched.status == 304 {
        return attributes_only(&params, host, &params.dest, result);
    }
    if fetched.status != 200 {
        result.shift_remove("msg");
        return Err(Failure::new(format!("{shown} answered: {}", fetched.message))
            .with(result)
            .with(map! { "response" => fetched.message }));
    }
    let dest = if is_dir { params.dest.join(&fetched.file_name) } else { params.dest.clone() };
    // A link is followed: the file it leads to is replaced.
    let dest = std::fs::canonicalize(&dest).unwrap_or(dest);
    result.insert("dest".into(), dest.to_string_lossy().into_owned().into());
    crate::atomic::need_parent(host, &dest)?;
    let mut replace = Replace::observe(&dest)?;
    replace.wanted = params.file.resolve(host)?;
    replace.backup = params.backup;
    replace.unsafe_writes = params.file.unsafe_writes;
    let before = if replace.seen.is_some() { Some(hash::sha1_of(&dest)?) } else { None };
    result.insert("checksum_dest".into(), Value::from(before.clone()));
    if let Some(file) = &mut fetched.content {
        let sums = digests(file, &[Algorithm::Sha1, Algorithm::Md5])?;
        let (sha1, md5) = (sums.first().cloned(), sums.get(1).cloned());
        if let Some((algorithm, digest)) = &expected {
            let got = digests(file, &[*algorithm])?.first().cloned().unwrap_or_default();
            if got != *digest {
                return Err(
                    Failure::new(format!("the checksum of {shown} is {got}, not {digest}")).with(result)
                );
            }
        }
        let same = before.is_some() && sha1 == before;
        result.extend(map! { "checksum_src" => Value::from(sha1), "md5sum" => Value::from(md5) });
        if same {
            return attributes_only(&params, host, &dest, result);
        }
    }
    let attrs = replace.attrs(host)?;
    let size = fetched.content.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len());
    Stat { size, ..attrs.after(&replace.base) }.report(&mut result);
    let from = before.unwrap_or_else(|| "absent".into());
    let to = result.get("checksum_src").and_then(Value::as_str).unwrap_or("downloaded").to_owned();
    let mut diff = vec![Diff::property(dest.display(), "sha1", from, to)];
    diff.extend(attrs.diffs());
    Ok(Plan::change(result, diff, move |host| {
        let mut file =
            fetched.content.ok_or_else(|| Failure::new("the download is only made when it is run"))?;
        let mut result = Map::new();
        let backup = replace.commit(host, &mut |out| {
            file.rewind()
                .and_then(|()| std::io::copy(&mut file, out))
                .map(drop)
                .map_err(|e| Failure::io("cannot write", &dest, e))
        })?;
        if let Some(backup) = backup {
            result.insert("backup_file".into(), backup.to_string_lossy().into_owned().into());
        }
        if let Some(stat) = Stat::of(&dest)? {
            stat.report(&mut result);
        }
        Ok(result)
    }))
}

/// The content is right; owner, mode and attributes may not be.
fn attributes_only(params: &Params, host: &Host, path: &Path, mut result: Map) -> Result<Plan, Failure> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let now =
        Stat::of(&path)?.unwrap_or_else(|| Stat::fresh(FileKind::File, crate::atomic::parent_of(&path)));
    let attrs = params.file.resolve(host)?.diff(host, &path, &now, true)?;
    attrs.after(&now).report(&mut result);
    if attrs.is_empty() {
        return Ok(Plan::ok(result));
    }
    let diff = attrs.diffs();
    Ok(Plan::change(result, diff, move |host| attrs.apply(host).map(|()| map! {})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn finds_digests_in_lists() {
        assert_eq!(find_digest("abc\n", "x").as_deref(), Some("abc"));
        assert_eq!(find_digest("aa  a\nbb *./x\n", "x").as_deref(), Some("bb"));
        assert_eq!(find_digest("aa  a\nbb  y\n", "x"), None);
    }

    fn apply(args: &Map, check: bool) -> Result<(bool, Map), Failure> {
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        host.options.borrow_mut().check = check;
        let plan = plan(Params::parse(args)?, &host)?;
        let mut result = plan.result;
        let changed = !matches!(plan.action, Action::Nothing);
        if let (Action::Change(apply), false) = (plan.action, check) {
            result.extend(apply(&host)?);
        }
        Ok((changed, result))
    }

    #[test]
    fn downloads_once() {
        let (_server, port) = crate::http::tests::serve();
        let dir = std::env::temp_dir().join(format!("debark-get-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let dest = dir.join("file");
        let base = format!("http://127.0.0.1:{port}");
        let mut args = map! {
            "url" => format!("{base}/file"), "dest" => dest.to_str().unwrap(), "mode" => "0640", "use_proxy" => false,
        };
        assert!(apply(&args, true).unwrap().0 && !dest.exists());
        let (changed, result) = apply(&args, false).unwrap();
        assert!(changed && result["status_code"] == 200.into() && result["mode"] == "0640".into());
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "content\n");
        // 304, then by checksum, then by force: nothing changes.
        let (changed, result) = apply(&args, false).unwrap();
        assert!(!changed && result["status_code"] == 304.into());
        args.insert("checksum".into(), format!("sha256:{base}/sums").into());
        assert!(!apply(&args, false).unwrap().0);
        args.insert("force".into(), true.into());
        assert!(!apply(&args, true).unwrap().0);
        // A wrong mode is mended, a wrong checksum refused, and the file stays.
        std::fs::set_permissions(&dest, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(apply(&args, false).unwrap().0);
        args.insert("checksum".into(), "sha256:00".into());
        let error = apply(&args, false).unwrap_err();
        assert!(error.msg.contains("not 00"), "{}", error.msg);
        // Into a directory, under the name that the server gives; a backup of what was there.
        let named = map! { "url" => format!("{base}/file"), "dest" => dir.to_str().unwrap(), "use_proxy" => false, "backup" => true };
        std::fs::write(dir.join("named.txt"), "old").unwrap();
        let (changed, result) =
            apply(&Map::from_iter(named.into_iter().chain(map! { "force" => true })), false).unwrap();
        assert!(
            changed && dir.join("named.txt").exists() && result.contains_key("backup_file"),
            "{result:?}"
        );
        let missing = map! { "url" => format!("{base}/nope"), "dest" => dir.join("x").to_str().unwrap(), "use_proxy" => false };
        let error = apply(&missing, true).unwrap_err();
        assert_eq!(error.result["status_code"], 404.into());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
