//! Trust in signatures, as `debark-artifact` has it.

use std::io::Read as _;
use std::path::Path;

use debark_artifact::provenance::Envelope;
use debark_artifact::{BuildKey, Deb, Keyring};
use debark_order::Digest;
use pgp::composed::{CleartextSignedMessage, DetachedSignature};
use pgp::ser::Serialize as _;

use crate::error::{Error, ErrorKind, Result};
use crate::publish::Upload;
use crate::store::{Keys, Seal, Signed};

/// The largest package that is published, in bytes: it is held in memory, and one PUT to S3 takes no more than 5 GB.
const MAX_PACKAGE: u64 = 2 << 30;

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs())
}

impl Keys for Keyring {
    fn open(&self, message: &str) -> Result<Signed, String> {
        let (parsed, _) =
            CleartextSignedMessage::from_string(message).map_err(|_| "it has no signature".to_owned())?;
        let text = parsed.signed_text();
        let mut why = "it has no signature".to_owned();
        for signature in parsed.signatures() {
            let bytes =
                DetachedSignature::new(signature.clone()).to_bytes().map_err(|error| error.to_string())?;
            match self.verify(Some(&bytes), text.as_bytes(), now()) {
                Ok(key) => {
                    return Ok(Signed { text: text.replace("\r\n", "\n"), key: key.fingerprint.clone() });
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }
}

impl Seal for BuildKey {
    fn seal(&self, text: &str) -> Result<String, String> {
        self.sign_clear(text).map_err(|error| error.message)
    }
}

impl Upload {
    /// Reads a .deb, and the provenance beside it if there is one, and checks the signatures of both.
    ///
    /// # Errors
    /// The file is no package; it is not signed, or by a key that is not trusted; the provenance is not that of this package.
    pub fn read(path: &Path, keys: &Keyring) -> Result<Self> {
        let bad = |why: String| Error::new(ErrorKind::BadInput, why);
        let deb = Deb::open(path).map_err(|error| bad(error.to_string()))?;
        let payload = deb.payload().map_err(|error| bad(format!("{}: {error}", path.display())))?;
        let refused = |why: String| Error::new(ErrorKind::Refused, format!("{}: {why}", path.display()));
        let key = keys.verify(deb.signature.as_deref(), payload, now()).map_err(|error| {
            refused(error.to_string()).hint("`debark build` signs with DEBARK_BUILD_KEY; `debark keys list` shows whom the project trusts")
        })?;
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_PACKAGE + 1).read_to_end(&mut bytes));
        read.map_err(|error| bad(format!("{}: {error}", path.display())))?;
        if bytes.len() as u64 > MAX_PACKAGE {
            return Err(bad(format!("{} has more than 2 GiB", path.display())));
        }
        // What was checked is what is published.
        if Digest::of(&bytes) != deb.digest {
            return Err(bad(format!("{} changes while it is read", path.display())));
        }
        let control = deb.control_files.get("control").map(|text| String::from_utf8_lossy(text).into_owned());
        let mut upload = Self {
            bytes,
            control: control.unwrap_or_default(),
            package: deb.package.clone(),
            version: deb.version.clone(),
            architecture: deb.architecture.clone(),
            key: key.fingerprint.clone(),
            commit: None,
            built: None,
            provenance: None,
        };
        let beside = debark_artifact::provenance::Provenance::path_of(path);
        if beside.is_file() {
            let envelope = Envelope::read(&beside).map_err(|error| bad(error.to_string()))?;
            let (provenance, _) = envelope
                .verify(keys, now())
                .map_err(|error| Error::new(ErrorKind::Refused, format!("{}: {error}", beside.display())))?;
            provenance
                .is_of(&deb)
                .map_err(|error| Error::new(ErrorKind::Refused, format!("{}: {error}", beside.display())))?;
            let built = i64::try_from(provenance.finished)
                .ok()
                .and_then(|time| jiff::Timestamp::from_second(time).ok());
            upload.built = built.map(|time| time.to_string());
            upload.commit = Some(provenance.commit);
            upload.provenance = Some(envelope.to_json().into_bytes());
        }
        Ok(upload)
    }
}
