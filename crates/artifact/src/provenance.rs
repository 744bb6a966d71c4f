//! Where a package comes from: an in-toto statement (v1) with SLSA's provenance (v1), in a DSSE envelope.
//!
//! Signed are not the JSON's bytes alone, but DSSE's pre-authentication encoding of them: `gpgv` and a few lines of shell
//! verify it without debark (see `docs/reference/provenance.md`).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use debark_order::Digest;
use serde::{Deserialize, Serialize};

use crate::Deb;
use crate::key::{BuildKey, KeyError};
use crate::keyring::{Distrust, Keyring, PublicKey};

/// The type of an envelope's payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// What debark's builds are: docs/reference/provenance.md.
const BUILD_TYPE: &str =
    "https://github.com/debark/debark/blob/main/docs/reference/provenance.md#build-type-v1";
/// The longest envelope that is read.
const MAX_ENVELOPE: u64 = 4 << 20;

/// What is said of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The .deb's name.
    pub file: String,
    /// Of the whole signed .deb.
    pub digest: Digest,
    /// Of what its signature is for.
    pub payload: Digest,
    /// Where the source is.
    pub repository: String,
    /// The commit.
    pub commit: String,
    /// The commit's tree.
    pub tree: String,
    /// Who built it: `CI job URL`, or `user@host`.
    pub builder: String,
    /// The job of a pipeline.
    pub job: Option<String>,
    /// Begin, in seconds since 1970.
    pub started: u64,
    /// End.
    pub finished: u64,
    /// Tests that were run.
    pub tests: Vec<TestRun>,
}

/// A test that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRun {
    /// Its name.
    pub name: String,
    /// Whether it succeeded.
    pub passed: bool,
    /// Milliseconds.
    pub took: u64,
    /// Of what it printed.
    pub output: Digest,
}

#[derive(Debug, Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

/// in-toto's ResourceDescriptor.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Resource {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    annotations: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: String,
    external_parameters: External,
    #[serde(default)]
    internal_parameters: serde_json::Map<String, serde_json::Value>,
    resolved_dependencies: Vec<Resource>,
}

#[derive(Debug, Serialize, Deserialize)]
struct External {
    package: String,
    version: String,
    repository: String,
    commit: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunDetails {
    builder: BuilderId,
    metadata: Metadata,
    #[serde(default)]
    byproducts: Vec<Resource>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BuilderId {
    id: String,
    #[serde(default)]
    version: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invocation_id: Option<String>,
    started_on: String,
    finished_on: String,
}

/// A DSSE envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// [`PAYLOAD_TYPE`].
    pub payload_type: String,
    /// The statement, in base64.
    pub payload: String,
    /// One or more.
    pub signatures: Vec<EnvelopeSignature>,
}

/// A signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The key's fingerprint.
    #[serde(default)]
    pub keyid: String,
    /// A detached binary OpenPGP signature of [`pae`], in base64.
    pub sig: String,
}

/// DSSE's pre-authentication encoding, version 1.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Why provenance does not count.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is of another package.
    #[error("the provenance is of another package: {0}")]
    Other(String),
    /// It is not signed by whom it has to be.
    #[error("the provenance does not count: {0}")]
    Distrust(#[from] Distrust),
}

impl Provenance {
    /// Where the provenance of a .deb is: beside it.
    pub fn path_of(deb: &Path) -> PathBuf {
        let mut name = deb.as_os_str().to_owned();
        name.push(".intoto.json");
        PathBuf::from(name)
    }

    /// The statement, as it is signed.
    pub fn statement(&self) -> Vec<u8> {
        let digest = |kind: &str, value: String| [(kind.to_owned(), value.into())].into_iter().collect();
        let sha256 = |of: Digest| digest("sha256", of.hex());
        let source = |digest| Resource {
            uri: Some(format!("git+{}@{}", self.repository, self.commit)),
            digest,
            ..Resource::default()
        };
        let mut commit: serde_json::Map<_, _> = digest("gitCommit", self.commit.clone());
        commit.insert("gitTree".into(), self.tree.clone().into());
        let byproduct = |test: &TestRun| Resource {
            name: Some(format!("test/{}", test.name)),
            digest: sha256(test.output),
            annotations: [
                ("result".to_owned(), if test.passed { "passed" } else { "failed" }.into()),
                ("milliseconds".to_owned(), test.took.into()),
            ]
            .into_iter()
            .collect(),
            ..Resource::default()
        };
        let statement = Statement {
            kind: STATEMENT.into(),
            subject: vec![
                Resource {
                    name: Some(self.file.clone()),
                    digest: sha256(self.digest),
                    ..Resource::default()
                },
                Resource {
                    name: Some(format!("{}#payload", self.file)),
                    digest: sha256(self.payload),
                    ..Resource::default()
                },
            ],
            predicate_type: PREDICATE.into(),
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE.into(),
                    external_parameters: External {
                        package: self.package.clone(),
                        version: self.version.clone(),
                        repository: self.repository.clone(),
                        commit: self.commit.clone(),
                    },
                    internal_parameters: serde_json::Map::new(),
                    resolved_dependencies: vec![source(commit)],
                },
                run_details: RunDetails {
                    builder: BuilderId {
                        id: self.builder.clone(),
                        version: digest("debark", env!("CARGO_PKG_VERSION").to_owned()),
                    },
                    metadata: Metadata {
                        invocation_id: self.job.clone(),
                        started_on: time(self.started),
                        finished_on: time(self.finished),
                    },
                    byproducts: self.tests.iter().map(byproduct).collect(),
                },
            },
        };
        // Plain data always has a JSON form.
        serde_json::to_vec(&statement).unwrap_or_default()
    }

    /// Reads a statement.
    ///
    /// # Errors
    /// It is none of debark's.
    pub fn parse(statement: &[u8]) -> Result<Self, ProvenanceError> {
        let bad = |what: &str| {
            ProvenanceError::Unreadable(format!("the provenance is no statement of debark's: {what}"))
        };
        let statement: Statement =
            serde_json::from_slice(statement).map_err(|error| bad(&error.to_string()))?;
        if statement.kind != STATEMENT
            || statement.predicate_type != PREDICATE
            || statement.predicate.build_definition.build_type != BUILD_TYPE
        {
            return Err(bad("its types are others"));
        }
        let sha256 = |resource: &Resource| resource.digest.get("sha256")?.as_str()?.parse::<Digest>().ok();
        let [whole, payload] = &statement.subject[..] else { return Err(bad("it has not two subjects")) };
        let definition = statement.predicate.build_definition;
        let details = statement.predicate.run_details;
        let tree = definition
            .resolved_dependencies
            .first()
            .and_then(|source| source.digest.get("gitTree")?.as_str().map(str::to_owned));
        let tests = details.byproducts.iter().filter_map(|resource| {
            Some(TestRun {
                name: resource.name.as_deref()?.strip_prefix("test/")?.to_owned(),
                passed: resource.annotations.get("result")?.as_str()? == "passed",
                took: resource
                    .annotations
                    .get("milliseconds")
                    .and_then(serde_json::Value::as_u64)
                    .unwrap_or(0),
                output: sha256(resource)?,
            })
        });
        Ok(Self {
            file: whole.name.clone().unwrap_or_default(),
            digest: sha256(whole).ok_or_else(|| bad("a subject has no digest"))?,
            payload: sha256(payload).ok_or_else(|| bad("a subject has no digest"))?,
            package: definition.external_parameters.package,
            version: definition.external_parameters.version,
            repository: definition.external_parameters.repository,
            commit: definition.external_parameters.commit,
            tree: tree.unwrap_or_default(),
            builder: details.builder.id,
            job: details.metadata.invocation_id,
            started: seconds(&details.metadata.started_on).ok_or_else(|| bad("it has no time"))?,
            finished: seconds(&details.metadata.finished_on).ok_or_else(|| bad("it has no time"))?,
            tests: tests.collect(),
        })
    }

    /// Seals it; without a key the envelope has no signature.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn seal(&self, key: Option<&BuildKey>) -> Result<Envelope, KeyError> {
        let statement = self.statement();
        let signatures = match key {
            None => Vec::new(),
            Some(key) => {
                let sig = key.sign(&mut &pae(PAYLOAD_TYPE, &statement)[..])?;
                vec![EnvelopeSignature { keyid: key.fingerprint(), sig: STANDARD.encode(sig) }]
            }
        };
        Ok(Envelope { payload_type: PAYLOAD_TYPE.into(), payload: STANDARD.encode(statement), signatures })
    }

    /// Whether it is of this package: both digests, name and version.
    ///
    /// # Errors
    /// It is not.
    pub fn is_of(&self, deb: &Deb) -> Result<(), ProvenanceError> {
        let same = |what: &str, said: String, is: String| {
            if said == is {
                Ok(())
            } else {
                Err(ProvenanceError::Other(format!("it says {what} {said}, and it is {is}")))
            }
        };
        same("package", self.package.clone(), deb.package.to_string())?;
        same("version", self.version.clone(), deb.version.to_string())?;
        same("payload", self.payload.to_string(), deb.payload.to_string())?;
        same("digest", self.digest.to_string(), deb.digest.to_string())
    }
}

impl Envelope {
    /// Reads an envelope from a file.
    ///
    /// # Errors
    /// It is none, or too long.
    pub fn read(path: &Path) -> Result<Self, ProvenanceError> {
        let bad = |why: String| ProvenanceError::Unreadable(format!("{}: {why}", path.display()));
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_ENVELOPE + 1).read_to_end(&mut bytes));
        read.map_err(|error| bad(error.to_string()))?;
        Self::parse(&bytes).map_err(|error| bad(error.to_string()))
    }

    /// As [`Self::read`], of bytes, which have to be as [`Self::to_json`] writes them: so nothing in them can be changed unseen.
    ///
    /// # Errors
    /// It is none, written in another way, or too long.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProvenanceError> {
        if bytes.len() as u64 > MAX_ENVELOPE {
            return Err(ProvenanceError::Unreadable("the provenance is too long".into()));
        }
        let envelope: Self = serde_json::from_slice(bytes)
            .map_err(|error| ProvenanceError::Unreadable(format!("no DSSE envelope: {error}")))?;
        if envelope.to_json().as_bytes() != bytes {
            return Err(ProvenanceError::Unreadable("the DSSE envelope is not as debark writes it".into()));
        }
        Ok(envelope)
    }

    /// As JSON, one line.
    pub fn to_json(&self) -> String {
        // Plain data always has a JSON form.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// What it holds, **without** looking at signatures.
    ///
    /// # Errors
    /// It is none of debark's.
    pub fn open(&self) -> Result<Provenance, ProvenanceError> {
        Provenance::parse(&self.bytes()?)
    }

    fn bytes(&self) -> Result<Vec<u8>, ProvenanceError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(ProvenanceError::Unreadable(format!(
                "the envelope holds {:?}, no in-toto statement",
                self.payload_type
            )));
        }
        STANDARD
            .decode(&self.payload)
            .map_err(|_| ProvenanceError::Unreadable("the envelope's payload is no base64".into()))
    }

    /// What it holds, if a trusted key has signed it and nothing else is in it.
    ///
    /// # Errors
    /// None has, or something is.
    pub fn verify<'a>(
        &self,
        keyring: &'a Keyring,
        now: u64,
    ) -> Result<(Provenance, &'a PublicKey), ProvenanceError> {
        let bytes = self.bytes()?;
        let encoded = pae(&self.payload_type, &bytes);
        let mut why = Distrust::Unsigned;
        for signature in self.signatures.iter().take(16) {
            let Ok(sig) = STANDARD.decode(&signature.sig) else {
                why = Distrust::Malformed("it is no base64");
                continue;
            };
            match keyring.verify(Some(&sig), &encoded[..], now) {
                Ok(key) if !key.has(&signature.keyid) || !key.is_bare(&sig) => {
                    why = Distrust::Malformed("something is in it that its key did not sign");
                }
                Ok(key) => return Ok((Provenance::parse(&bytes)?, key)),
                Err(error) => why = error,
            }
        }
        Err(why.into())
    }
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.unwrap_or_default().to_string()
}

fn seconds(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            package: "shop".into(),
            version: "1.0".into(),
            file: "shop_1.0_all.deb".into(),
            digest: Digest::of(b"deb"),
            payload: Digest::of(b"payload"),
            repository: "https://git.example.org/shop.git".into(),
            commit: "0123456789012345678901234567890123456789".into(),
            tree: "9876543210987654321098765432109876543210".into(),
            builder: "alice@laptop".into(),
            job: None,
            started: 1_700_000_000,
            finished: 1_700_000_060,
            tests: vec![TestRun { name: "unit".into(), passed: true, took: 12, output: Digest::of(b"ok") }],
        }
    }

    #[test]
    fn the_encoding_is_dsse_s() {
        // The example of the specification (secure-systems-lab/dsse, protocol.md).
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn what_is_sealed_is_verified() {
        let directory = tempfile::tempdir().unwrap();
        let key = BuildKey::generate("Builds <builds@example.org>", None).unwrap();
        std::fs::write(directory.path().join("a.asc"), key.public().unwrap()).unwrap();
        let keyring = Keyring::load(directory.path(), Path::new("/nonexistent")).unwrap();
        let sealed = Envelope::parse(provenance().seal(Some(&key)).unwrap().to_json().as_bytes()).unwrap();
        let (read, by) = sealed.verify(&keyring, 0).unwrap();
        assert_eq!((read, by.fingerprint.clone()), (provenance(), key.fingerprint()));
        let unsigned = provenance().seal(None).unwrap();
        assert!(matches!(unsigned.verify(&keyring, 0), Err(ProvenanceError::Distrust(Distrust::Unsigned))));
        let other = Provenance { commit: "f".repeat(40), ..provenance() };
        let mut forged = sealed.clone();
        forged.signatures[0].keyid = "F".repeat(40);
        assert!(forged.verify(&keyring, 0).is_err());
        let forged = Envelope { payload: STANDARD.encode(other.statement()), ..sealed };
        assert!(matches!(forged.verify(&keyring, 0), Err(ProvenanceError::Distrust(Distrust::Bad(_)))));
    }

    #[test]
    fn every_flipped_byte_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let key = BuildKey::generate("Builds <builds@example.org>", None).unwrap();
        std::fs::write(directory.path().join("a.asc"), key.public().unwrap()).unwrap();
        let keyring = Keyring::load(directory.path(), Path::new("/nonexistent")).unwrap();
        let holds = |bytes: &[u8]| Envelope::parse(bytes).is_ok_and(|it| it.verify(&keyring, 0).is_ok());
        let sealed = provenance().seal(Some(&key)).unwrap();
        let bytes = sealed.to_json().into_bytes();
        assert!(holds(&bytes));
        // What is signed is one piece: some of its bytes stand for all.
        let payload = 100..100 + sealed.payload.len() - 200;
        for at in (0..bytes.len()).filter(|at| !payload.contains(at) || at % 64 == 0) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(!holds(&flipped), "byte {at}, {:?}", char::from(flipped[at]));
        }
        // All bits of the signature, some of which the base64 above does not reach.
        let signature = STANDARD.decode(&sealed.signatures[0].sig).unwrap();
        for bit in 0..signature.len() * 8 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut forged = sealed.clone();
            forged.signatures[0].sig = STANDARD.encode(&flipped);
            assert!(!holds(forged.to_json().as_bytes()), "bit {bit} of the signature");
        }
    }
}
