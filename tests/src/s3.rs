//! A real S3 server (tests/s3-server), on the loopback.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use debark_lab::Lab;

use crate::debark_program;

/// A server with the bucket `packages`, until it is dropped.
pub struct S3Server {
    server: Child,
    buckets: tempfile::TempDir,
    port: u16,
}

impl S3Server {
    /// Starts it on this machine's loopback.
    pub fn start() -> Self {
        Self::spawn(&mut Command::new(Self::program()))
    }

    /// Starts it on the loopback of a lab's controller.
    pub fn start_in(lab: &Lab) -> Self {
        Self::spawn(&mut lab.controller_command(Self::program()))
    }

    /// What a client needs.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test-secret".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
            ("no_proxy", "127.0.0.1".to_owned()),
        ]
    }

    fn program() -> PathBuf {
        let program = debark_program();
        let target = program.ancestors().nth(2).unwrap();
        let program = target.join("s3-server/debug/s3-server");
        assert!(
            program.is_file(),
            "{} is not built: run `cargo build --locked --manifest-path tests/s3-server/Cargo.toml --target-dir {}` \
             first, or `scripts/test`, which does",
            program.display(),
            target.join("s3-server").display()
        );
        program
    }

    fn spawn(command: &mut Command) -> Self {
        let buckets = tempfile::tempdir().unwrap();
        fs::create_dir(buckets.path().join("packages")).unwrap();
        command.arg(buckets.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse();
        let port = port.unwrap_or_else(|_| panic!("the S3 server said {line:?} and not its port"));
        Self { server, buckets, port }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The directory of the bucket's objects.
    pub fn bucket(&self) -> PathBuf {
        self.buckets.path().join("packages")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
