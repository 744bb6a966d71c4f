//! `debark keys`: keys that sign packages, and identities that sign orders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use debark_artifact::key::{self, BuildKey};
use debark_artifact::{KeyError, Keyring, PublicKey};
use debark_ledger::{Filter, KeyUse, Kind, Offline};
use debark_project::Trust;
use serde_json::{Value, json};

use super::context::{self, BuildKeyArgs, KeyArgs, Problem, ProjectArgs};
use super::desk::{Desk, Remote};
use super::records;

/// Keys that sign packages, and who may sign orders
#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, clap::Subcommand)]
enum KeysCommand {
    /// Make a key that signs packages, and trust it
    New {
        /// Where its secret half goes to: a file outside of the repository that is not there yet
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose it is: `Name <address>`
        #[arg(long, value_name = "USER")]
        user: String,
        /// Without a passphrase: for a pipeline that keeps the file secret itself
        #[arg(long)]
        no_passphrase: bool,
        #[command(flatten)]
        signer: KeyArgs,
    },
    /// Show trusted keys and identities
    List,
    /// Trust a key: packages that it signed are accepted; for a rotation, two keys count at once
    Trust {
        /// Its public half
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        signer: KeyArgs,
    },
    /// Trust a key no more, whatever it signed and when
    Revoke {
        /// Its fingerprint
        #[arg(value_name = "FINGERPRINT")]
        fingerprint: String,
        /// Why, for people and for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        signer: KeyArgs,
    },
}

/// Runs the command.
pub fn run(args: &KeysArgs) -> ExitCode {
    let json = args.project.json;
    context::finish(json, |sources| {
        let project = args.project.load(sources)?;
        let trust = project.trust.clone();
        let signer = match &args.command {
            KeysCommand::New { signer, .. }
            | KeysCommand::Trust { signer, .. }
            | KeysCommand::Revoke { signer, .. } => signer.clone(),
            KeysCommand::List => KeyArgs { key: None },
        };
        let desk = Desk::new(project, sources.clone(), json, signer);
        let trusted = |fingerprint: &str, reason: Option<&str>| {
            on_record(&desk, fingerprint, reason, true, |of| of.build_keys == desk.project.trust.build_keys)
        };
        match &args.command {
            KeysCommand::New { file, user, no_passphrase, .. } => {
                let fingerprint = new(&trust, file, user, *no_passphrase, json)?;
                trusted(&fingerprint, None)
            }
            KeysCommand::List => list(&trust, json),
            KeysCommand::Trust { file, reason, .. } => {
                let key = PublicKey::read(file).map_err(problem)?;
                let bytes = fs::read(file).map_err(|error| io(file, &error))?;
                if !bytes.starts_with(b"-----") {
                    return Err(Problem::input(format!("{} is not armored", file.display()))
                        .hint("`gpg --armor --export KEYID` writes it so"));
                }
                if debark_artifact::keyring::revoked_fingerprints(&trust.revoked)
                    .map_err(problem)?
                    .contains(&key.fingerprint)
                {
                    return Err(Problem::refused(format!("the key {} is revoked", key.fingerprint)).hint(
                        format!(
                            "nothing brings a revoked key back; make a new one with `debark keys new` ({})",
                            trust.revoked.display()
                        ),
                    ));
                }
                let path = put(&trust, &key.fingerprint, &bytes)?;
                said(
                    json,
                    &json!({ "trusted": key.fingerprint, "user": key.user, "file": path }),
                    &format!("{} {} is trusted: commit {}", key.fingerprint, key.user, path.display()),
                );
                trusted(&key.fingerprint, reason.as_deref())
            }
            KeysCommand::Revoke { fingerprint, reason, .. } => {
                let digits = revoke(&trust, fingerprint, reason.as_deref(), json)?;
                on_record(&desk, &digits, reason.as_deref(), false, |of| {
                    of.revoked == desk.project.trust.revoked
                })
            }
        }
    })
}

/// Puts it on record in every environment whose trust has changed by it; what is on record already is not put there twice.
///
/// The files count, and they are written: without a key to sign with it is only said that nothing is on record.
fn on_record(
    desk: &Desk,
    fingerprint: &str,
    reason: Option<&str>,
    trusted: bool,
    concerns: impl Fn(&Trust) -> bool,
) -> Result<ExitCode, Problem> {
    let fingerprint = fingerprint.to_owned();
    let kind = if trusted {
        Kind::KeyTrusted { r#use: KeyUse::Build, fingerprint }
    } else {
        Kind::KeyRevoked { r#use: KeyUse::Build, fingerprint }
    };
    let environments: Vec<_> =
        desk.project.environments.values().filter(|environment| concerns(&environment.trust)).collect();
    for environment in environments {
        let name = &environment.name;
        let ledger = desk.ledger(name)?;
        let known = desk.signer().and_then(|_| Ok(ledger.actor()?));
        if let Err(problem) = known {
            anstream::eprintln!(
                "warning: it is not on record in any ledger: {}; the same command with --key puts it there",
                problem.message()
            );
            return Ok(ExitCode::SUCCESS);
        }
        desk.state(&ledger, name, Remote::Welcome)?;
        let last = ledger.entries(name, &Filter::default())?.into_iter().map(|recorded| recorded.entry.kind);
        let about = |found: &Kind| match (found, &kind) {
            (
                Kind::KeyTrusted { fingerprint, .. } | Kind::KeyRevoked { fingerprint, .. },
                Kind::KeyTrusted { fingerprint: own, .. } | Kind::KeyRevoked { fingerprint: own, .. },
            ) => fingerprint == own,
            _ => false,
        };
        if last.into_iter().find(about).as_ref() == Some(&kind) {
            continue;
        }
        let reason = reason.map(str::to_owned);
        let appended = ledger.record(name, reason, kind.clone(), Offline::Allow)?;
        records::appended(desk, &appended);
    }
    Ok(ExitCode::SUCCESS)
}

fn problem(error: KeyError) -> Problem {
    Problem::input(error.message).maybe_hint(error.hint)
}

fn io(path: &Path, error: &std::io::Error) -> Problem {
    Problem::input(format!("{}: {error}", path.display()))
}

fn said(json: bool, value: &Value, text: &str) {
    if json { anstream::println!("{value}") } else { anstream::println!("{text}") }
}

/// Puts a public key among the trusted ones.
fn put(trust: &Trust, fingerprint: &str, bytes: &[u8]) -> Result<PathBuf, Problem> {
    let path = trust.build_keys.join(format!("{fingerprint}.asc"));
    fs::create_dir_all(&trust.build_keys)
        .and_then(|()| fs::write(&path, bytes))
        .map_err(|error| io(&path, &error))?;
    Ok(path)
}

fn new(trust: &Trust, file: &Path, user: &str, no_passphrase: bool, json: bool) -> Result<String, Problem> {
    if !user.contains('@') || user.contains(['\n', '\0']) {
        return Err(Problem::input(format!("{user:?} is no name with an address"))
            .hint("write it as `Shop builds <builds@example.org>`"));
    }
    if file.exists() {
        return Err(Problem::input(format!("{} is there already", file.display()))
            .hint("keys are never replaced: name another file"));
    }
    let passphrase = if no_passphrase { None } else { Some(BuildKeyArgs::new_passphrase()?) };
    let made = BuildKey::generate(user, passphrase.as_ref()).map_err(problem)?;
    let public = made.public().map_err(problem)?;
    if let Some(above) = file.parent().filter(|above| !above.as_os_str().is_empty()) {
        fs::create_dir_all(above).map_err(|error| io(above, &error))?;
    }
    key::write_secret(file, &made.secret().map_err(problem)?).map_err(|error| io(file, &error))?;
    let path = put(trust, &made.fingerprint(), public.as_bytes())?;
    said(
        json,
        &json!({ "key": made.fingerprint(), "user": user, "secret": file, "public": path }),
        &format!(
            "{} {user}\nsecret half: {} (set DEBARK_BUILD_KEY to it; keep a copy elsewhere)\ntrusted:     {} (commit it)",
            made.fingerprint(),
            file.display(),
            path.display()
        ),
    );
    Ok(made.fingerprint())
}

fn revoke(trust: &Trust, fingerprint: &str, reason: Option<&str>, json: bool) -> Result<String, Problem> {
    let digits: String =
        fingerprint.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
    if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Problem::input(format!("{fingerprint:?} is no fingerprint of a build key")).hint(
            format!(
                "`debark keys list` shows them; for a person's key, give its line in {} a `valid-before`",
                trust.signers.display()
            ),
        ));
    }
    let revoked = debark_artifact::keyring::revoked_fingerprints(&trust.revoked).map_err(problem)?;
    if !revoked.contains(&digits) {
        let mut text = match fs::read_to_string(&trust.revoked) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| io(&trust.revoked, &error))?,
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let reason =
            reason.map(|reason| format!("  # {}", reason.replace(['\n', '\r'], " "))).unwrap_or_default();
        text.push_str(&format!("{digits}{reason}\n"));
        if let Some(above) = trust.revoked.parent() {
            fs::create_dir_all(above).map_err(|error| io(above, &error))?;
        }
        fs::write(&trust.revoked, text).map_err(|error| io(&trust.revoked, &error))?;
    }
    said(
        json,
        &json!({ "revoked": digits, "file": trust.revoked }),
        &format!(
            "{digits} is revoked: commit {}, and run `debark enroll` for every environment, so that hosts know",
            trust.revoked.display()
        ),
    );
    Ok(digits)
}

/// A line of the file of allowed signers.
struct Signer {
    who: String,
    options: String,
    kind: String,
    fingerprint: String,
}

/// Identities with their keys (ssh-keygen(1), ALLOWED SIGNERS); lines that are none are left out.
fn signers(path: &Path) -> Result<Vec<Signer>, Problem> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(|error| io(path, &error))?,
    };
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| {
            word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-")
        })?;
        let fingerprint = debark_artifact::keyring::ssh_fingerprint(words.get(at + 1)?)?;
        Some(Signer {
            who: (*words.first().filter(|_| at > 0)?).to_owned(),
            options: words.get(1..at)?.join(" "),
            kind: (*words.get(at)?).to_owned(),
            fingerprint,
        })
    };
    Ok(text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(read).collect())
}

fn list(trust: &Trust, json: bool) -> Result<ExitCode, Problem> {
    let keyring = Keyring::load(&trust.build_keys, &trust.revoked).map_err(problem)?;
    let signers = signers(&trust.signers)?;
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let state = |key: &PublicKey| match (key.revoked, key.expires.is_some_and(|expires| expires <= now)) {
        (true, _) => "revoked",
        (_, true) => "expired",
        _ => "trusted",
    };
    if json {
        let keys: Vec<_> = keyring
            .keys
            .iter()
            .map(|key| json!({ "fingerprint": key.fingerprint, "user": key.user, "state": state(key), "created": key.created, "expires": key.expires, "file": key.file }))
            .collect();
        let people: Vec<_> = signers
            .iter()
            .map(|signer| json!({ "identity": signer.who, "options": signer.options, "type": signer.kind, "fingerprint": signer.fingerprint }))
            .collect();
        anstream::println!("{}", json!({ "build_keys": keys, "identities": people }));
        return Ok(ExitCode::SUCCESS);
    }
    if keyring.keys.is_empty() {
        anstream::println!("no build keys: `debark keys new` makes one");
    }
    for key in &keyring.keys {
        anstream::println!(
            "{:<8} {} {}",
            state(key),
            key.fingerprint,
            key.user.replace(char::is_control, "?")
        );
    }
    for signer in &signers {
        anstream::println!(
            "identity {} {} {} {}",
            signer.fingerprint,
            signer.kind,
            signer.who,
            signer.options
        );
    }
    Ok(ExitCode::SUCCESS)
}
