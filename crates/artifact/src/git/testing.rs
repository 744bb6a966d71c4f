//! What tests of several modules need of git.

use std::path::Path;
use std::process::Command;

/// Runs git, by nobody's configuration and always at the same time.
pub(crate) fn git(root: &Path, words: &[&str]) {
    let status = Command::new("git")
        .args(words)
        .current_dir(root)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Test")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "test@example.org")))
        .envs(["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, "2026-01-02T03:04:05Z")))
        .status();
    assert!(status.unwrap().success(), "git {words:?}");
}
