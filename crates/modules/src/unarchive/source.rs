//! Where an archive comes from: the controller, the host, or an address.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use super::Params;
use crate::file_args::{FileKind, Stat};
use crate::http::{self, Request};
use crate::private_dir::PrivateDir;
use crate::upstream::{EntryKind, Search};
use crate::{Failure, Host};

/// No archive from an address is larger.
const LIMIT: u64 = 1 << 40;

/// An archive as a file of the host.
pub(super) struct Source {
    /// What the programs open.
    pub path: PathBuf,
    /// What the task calls it, without a login.
    pub shown: String,
    /// What came from elsewhere is kept here until it is unpacked.
    _held: Option<PrivateDir>,
}

impl Source {
    /// Brings it to the host if it is not there.
    pub fn open(params: &Params, host: &Host) -> Result<Self, Failure> {
        let on_host = params.copy.map_or(params.remote_src, |copy| !copy);
        let source = match on_host {
            true if params.src.contains("://") => download(params, host)?,
            true => {
                let path = crate::paths::expand(&params.src);
                let path = std::path::absolute(&path).map_err(|e| Failure::io("cannot look at", &path, e))?;
                Self { shown: path.to_string_lossy().into_owned(), path, _held: None }
            }
            false => receive(&params.src, host)?,
        };
        let stat = Stat::followed(&source.path)?
            .ok_or_else(|| Failure::new(format!("there is no {} on the host", source.shown)))?;
        if stat.kind != FileKind::File {
            return Err(Failure::new(format!("{} is no file", source.shown)));
        }
        if stat.size == 0 {
            return Err(Failure::new(format!("{} is no archive: it is empty", source.shown)));
        }
        Ok(source)
    }

    /// Whether it begins as zip files do (APPNOTE 4.3.7; an empty one begins with its end record).
    pub fn is_zip(&self) -> Result<bool, Failure> {
        let start = self.start()?;
        Ok(start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06"))
    }

    /// Whether it begins as what gzip(1) unpacks (RFC 1952, and compress(1)).
    pub fn is_gzip(&self) -> Result<bool, Failure> {
        let start = self.start()?;
        Ok(start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x1f, 0x9d]))
    }

    fn start(&self) -> Result<Vec<u8>, Failure> {
        let mut start = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(4).read_to_end(&mut start))
            .map_err(|e| Failure::io("cannot read", &self.path, e))?;
        Ok(start)
    }
}

fn receive(src: &str, host: &Host) -> Result<Source, Failure> {
    let tree = host.upstream.find(src, Search::Files)?;
    let (sha256, size) = match tree.entries.first().map(|entry| &entry.kind) {
        Some(EntryKind::File { sha256, size }) if !tree.directory => (sha256, *size),
        _ => return Err(Failure::new(format!("{src} is no file, so it cannot be unpacked"))),
    };
    hold(src.to_owned(), size, |file| host.upstream.content(sha256, file))
}

fn download(params: &Params, host: &Host) -> Result<Source, Failure> {
    let mut request =
        Request { validate_certs: params.validate_certs, decompress: false, ..Request::default() };
    request.default_header("User-Agent", "ansible-httpget");
    hold(http::url::without_login(&params.src), 0, |file| {
        http::download(host, &params.src, &request, file, LIMIT).map(drop)
    })
}

fn hold(
    shown: String,
    size: u64,
    fill: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<Source, Failure> {
    let dir = PrivateDir::new(size)?;
    let path = dir.path().join("source");
    let mut file = File::create_new(&path).map_err(|e| Failure::io("cannot write", &path, e))?;
    fill(&mut file)?;
    Ok(Source { path, shown, _held: Some(dir) })
}
