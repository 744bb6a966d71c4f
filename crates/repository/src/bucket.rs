//! A store in an S3-compatible bucket.
//!
//! Credentials and what else is about S3 come from the usual variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, ...). This is the one place of debark with an asynchronous
//! runtime: `object_store` wants it, and nobody outside of this file sees it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    RetryConfig, UpdateVersion,
};
use tokio::runtime::Runtime;

use crate::backend::{Backend, Found, Object};
use crate::error::{Error, ErrorKind, Result};

const CONNECT: Duration = Duration::from_secs(5);
/// For indices and questions.
const SMALL: Duration = Duration::from_secs(60);
/// For packages.
const LARGE: Duration = Duration::from_secs(15 * 60);
const LARGE_OBJECT: usize = 4 << 20;

pub(crate) struct Bucket {
    name: String,
    prefix: String,
    runtime: Runtime,
    small: Arc<AmazonS3>,
    large: Arc<AmazonS3>,
}

impl Bucket {
    pub(crate) fn open(
        bucket: &str,
        prefix: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<Self> {
        let name =
            if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
        let has = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let known = [
            "AWS_ACCESS_KEY_ID",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_METADATA_ENDPOINT",
            "AWS_SKIP_SIGNATURE",
        ];
        if !known.iter().any(|name| has(name)) {
            let what = format!("there are no credentials for the store {name}");
            return Err(Error::new(ErrorKind::BadInput, what)
                .hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"));
        }
        let bad =
            |why: String| Error::new(ErrorKind::BadInput, format!("cannot use the store {name}: {why}"));
        // Somebody may have chosen a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = endpoint.map(str::to_owned).or_else(|| {
            ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| variable(name))
        });
        let plain = endpoint.as_deref().is_some_and(|url| url.starts_with("http://"));
        if plain && variable("AWS_ALLOW_HTTP").is_none_or(|value| value != "true") {
            return Err(bad("its endpoint is http, and all could read along".into())
                .hint("use https, or set AWS_ALLOW_HTTP=true if nobody is in between"));
        }
        let build = |timeout: Duration| {
            let options = ClientOptions::new()
                .with_connect_timeout(CONNECT)
                .with_timeout(timeout)
                .with_allow_http(plain);
            let retry = RetryConfig {
                max_retries: 3,
                retry_timeout: SMALL,
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(100),
                    max_backoff: Duration::from_secs(2),
                    base: 2.0,
                },
            };
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_client_options(options)
                .with_retry(retry);
            if let Some(endpoint) = &endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(region) = region {
                builder = builder.with_region(region);
            }
            builder.build().map(Arc::new).map_err(|error| bad(last_cause(&error)))
        };
        let (small, large) = (build(SMALL)?, build(LARGE)?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| bad(error.to_string()))?;
        Ok(Self { name, prefix: prefix.to_owned(), runtime, small, large })
    }

    fn key(&self, path: &str) -> Path {
        let key = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        // As it is, if it can be: `from` would write ~ as %7E.
        Path::parse(&key).unwrap_or_else(|_| Path::from(key))
    }

    fn error(&self, path: &str, doing: &str, error: &object_store::Error) -> Error {
        let told = |kind, why: &str| {
            Error::new(kind, format!("cannot {doing} {path} in the store {}: {why}", self.name))
        };
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                told(ErrorKind::Failed, "permission denied")
                    .hint("check AWS_ACCESS_KEY_ID and what its policy allows")
            }
            object_store::Error::NotFound { .. } => told(ErrorKind::Failed, "the bucket does not exist")
                .hint("make the bucket, or correct its name"),
            error => {
                let why = last_cause(error);
                // Whatever has no answer of the server's in it: no name, no route, no connection, no reply in time.
                let mut cause: Option<&dyn std::error::Error> = Some(error);
                while let Some(inner) = cause {
                    if inner.is::<object_store::client::HttpError>() {
                        return told(ErrorKind::Unreachable, &why)
                            .hint("check the endpoint (AWS_ENDPOINT_URL) and the network");
                    }
                    cause = inner.source();
                }
                told(ErrorKind::Failed, &why)
            }
        }
    }

    fn put_with(&self, path: &str, bytes: &[u8], mode: PutMode) -> object_store::Result<()> {
        let store = if bytes.len() > LARGE_OBJECT { &self.large } else { &self.small };
        let payload = PutPayload::from(bytes.to_vec());
        let options = PutOptions { mode, ..PutOptions::default() };
        self.runtime.block_on(store.put_opts(&self.key(path), payload, options)).map(drop)
    }
}

/// The innermost reason: what surrounds it is the library's own story.
fn last_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

impl Backend for Bucket {
    fn read(&self, path: &str, limit: u64) -> Result<Option<Found>> {
        let work = async {
            let answer = self.small.get(&self.key(path)).await?;
            let tag = answer.meta.e_tag.clone().unwrap_or_default();
            if answer.meta.size > limit {
                return Ok((None, tag));
            }
            answer.bytes().await.map(|bytes| (Some(bytes), tag))
        };
        match self.runtime.block_on(work) {
            Ok((Some(bytes), tag)) => Ok(Some(Found { bytes: bytes.into(), tag })),
            Ok((None, _)) => Err(Error::damaged(path, &self.name, format!("it has more than {limit} bytes"))),
            Err(object_store::Error::NotFound { source, .. }) if !no_bucket(&*source) => Ok(None),
            Err(error) => Err(self.error(path, "read", &error)),
        }
    }

    fn stream(&self, path: &str, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let answer = match self.runtime.block_on(self.large.get(&self.key(path))) {
            Ok(answer) => answer,
            Err(object_store::Error::NotFound { source, .. }) if !no_bucket(&*source) => return Ok(false),
            Err(error) => return Err(self.error(path, "read", &error)),
        };
        let mut pieces = answer.into_stream();
        while let Some(piece) = self.runtime.block_on(pieces.next()) {
            each(&piece.map_err(|error| self.error(path, "read", &error))?)?;
        }
        Ok(true)
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        match self.put_with(path, bytes, PutMode::Create) {
            Ok(()) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(false)
            }
            Err(error) => Err(self.error(path, "write", &error)),
        }
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_with(path, bytes, PutMode::Overwrite).map_err(|error| self.error(path, "write", &error))
    }

    fn replace(&self, path: &str, bytes: &[u8], expected: Option<&str>) -> Result<bool> {
        let Some(tag) = expected else { return self.create(path, bytes) };
        let version = UpdateVersion { e_tag: Some(tag.to_owned()), version: None };
        match self.put_with(path, bytes, PutMode::Update(version)) {
            Ok(()) => Ok(true),
            Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {
                Ok(false)
            }
            // The object that was to be replaced is gone: somebody was here, too.
            Err(object_store::Error::NotFound { source, .. }) if !no_bucket(&*source) => Ok(false),
            Err(error) => Err(self.error(path, "write", &error)),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        let from = self.key(prefix);
        let found = self.runtime.block_on(self.small.list(Some(&from)).try_collect::<Vec<_>>());
        let found = found.map_err(|error| self.error(prefix, "list", &error))?;
        let own = if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let mut objects: Vec<Object> = found
            .into_iter()
            .filter_map(|meta| {
                let path = meta.location.as_ref().strip_prefix(&own)?.to_owned();
                let modified = SystemTime::UNIX_EPOCH
                    + Duration::from_secs(u64::try_from(meta.last_modified.timestamp()).unwrap_or(0));
                Some(Object { path, size: meta.size, modified })
            })
            .collect();
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    fn remove(&self, path: &str) -> Result<()> {
        match self.runtime.block_on(self.small.delete(&self.key(path))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(path, "remove", &error)),
        }
    }

    fn sweep(&self) -> Result<()> {
        // A PUT is there as a whole or not at all.
        Ok(())
    }
}

/// Whether it is the bucket that is not there, and not the object.
fn no_bucket(error: &dyn std::error::Error) -> bool {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if inner.to_string().contains("NoSuchBucket") {
            return true;
        }
        cause = inner.source();
    }
    false
}
