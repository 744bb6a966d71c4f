//! What opens and what closes: passwords of ansible-vault, identities and recipients of age.

use std::path::PathBuf;

use debark_age::Recipients;
use debark_playbook::Diagnostic;
use debark_playbook::vars::config::{self, Config};
use debark_playbook::vault::{Key, Sources, Vault};
use zeroize::Zeroizing;

use super::Outcome;
use crate::common::identities;

/// What opens encrypted texts.
#[derive(clap::Args, Default)]
pub struct OpenArgs {
    /// A file, or a program that prints the vault password
    #[arg(long, alias = "vault-pass-file", value_name = "FILE")]
    vault_password_file: Vec<PathBuf>,
    /// A vault password by label: LABEL@FILE or LABEL@prompt
    #[arg(long, value_name = "LABEL@SOURCE")]
    vault_id: Vec<String>,
    /// Ask for the vault password
    #[arg(short = 'J', long, alias = "ask-vault-password")]
    ask_vault_pass: bool,
    /// What opens files that age sealed: age identities or an SSH key [env: DEBARK_AGE_IDENTITY]
    #[arg(long, value_name = "FILE")]
    age_identity: Vec<PathBuf>,
}

/// For whom or with which password something is encrypted.
#[derive(clap::Args, Default)]
pub struct SealArgs {
    /// Encrypt with the password of this label, where there are several
    #[arg(long, value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
    /// Encrypt by age, for the recipients of the project (.debark/recipients) unless others are named
    #[arg(long, conflicts_with = "encrypt_vault_id")]
    age: bool,
    /// Encrypt by age for age1... or an SSH public key (may be given several times)
    #[arg(long, value_name = "RECIPIENT", conflicts_with = "encrypt_vault_id")]
    recipient: Vec<String>,
    /// Encrypt by age for all recipients in a file, one per line
    #[arg(long, value_name = "FILE", conflicts_with = "encrypt_vault_id")]
    recipients_file: Vec<PathBuf>,
}

/// A password to come.
#[derive(clap::Args, Default)]
pub struct NewArgs {
    /// The new vault password by label: LABEL@FILE or LABEL@prompt
    #[arg(long, value_name = "LABEL@SOURCE", conflicts_with_all = ["age", "recipient", "recipients_file"])]
    new_vault_id: Option<String>,
    /// A file, or a program that prints the new vault password
    #[arg(long, value_name = "FILE", conflicts_with_all = ["age", "recipient", "recipients_file", "new_vault_id"])]
    new_vault_password_file: Option<PathBuf>,
}

/// How something is closed.
pub enum Seal {
    /// By ansible-vault's format.
    Password(Key),
    /// By age.
    Age(Recipients),
}

impl Seal {
    /// The encrypted text; `armor`: it should be text if it is age's.
    pub fn seal(&self, plain: &[u8], armor: bool) -> Outcome<Vec<u8>> {
        match self {
            Self::Password(key) => key.encrypt(plain).map(String::into_bytes),
            Self::Age(recipients) => recipients
                .seal(plain, armor)
                .map_err(|error| Diagnostic::error(format!("age cannot encrypt this: {error}"))),
        }
    }
}

fn ask(question: &str) -> std::io::Result<String> {
    debark_controller::ask(question, false)
}

/// Asks twice: what is mistyped would lock its user out.
fn ask_new(question: &str) -> std::io::Result<String> {
    let rest = question.trim_start_matches('V');
    let typed = Zeroizing::new(ask(&format!("New v{rest}"))?);
    let again = Zeroizing::new(ask(&format!("Confirm new v{rest}"))?);
    if typed != again {
        return Err(std::io::Error::other("the two answers differ"));
    }
    Ok(typed.as_str().to_owned())
}

impl OpenArgs {
    fn sources(&self) -> Sources {
        config::vault_sources(&self.vault_id, &self.vault_password_file, self.ask_vault_pass)
    }

    /// What opens; asks for a password if one is needed and none is named.
    pub fn vault(&self, password: bool) -> Outcome<Vault> {
        let mut sources = self.sources();
        if !password {
            // Whoever has no password need not have one for what age sealed.
            sources = Sources::default();
        } else if sources.ids.is_empty() && sources.files.is_empty() {
            sources.ask = true;
        }
        Vault::open_with(&sources, &mut ask, identities(&self.age_identity))
    }
}

impl SealArgs {
    /// Whether age is to encrypt.
    pub fn wants_age(&self) -> bool {
        self.age || !self.recipient.is_empty() || !self.recipients_file.is_empty()
    }

    /// Those who are named, or else the project's.
    pub fn recipients(&self) -> Outcome<Recipients> {
        let mut all = Recipients::default();
        let wrong = |why: String| Diagnostic::error(why);
        for text in &self.recipient {
            all.add(text).map_err(|why| wrong(format!("the recipient {text:.40} {why}")))?;
        }
        for file in &self.recipients_file {
            all.add_file(file).map_err(wrong)?;
        }
        if all.is_empty() {
            let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
            if !all.add_project(&here).map_err(wrong)? {
                return Err(Diagnostic::error("nobody is named for whom age is to encrypt").hint(
                    "give --recipient or --recipients-file, or write recipients to .debark/recipients, one per line",
                ));
            }
        }
        Ok(all)
    }
}

/// What encrypts new texts.
pub fn seal(open: &OpenArgs, seal: &SealArgs) -> Outcome<Seal> {
    if seal.wants_age() {
        return seal.recipients().map(Seal::Age);
    }
    let mut sources = open.sources();
    sources.ask |= sources.ids.is_empty() && sources.files.is_empty();
    let vault = Vault::open_with(&sources, &mut ask_new, identities(&open.age_identity))?;
    chosen(&vault, seal.encrypt_vault_id.as_deref()).map(Seal::Password)
}

/// The password that encrypts: the one of a label, or the only one.
pub fn chosen(vault: &Vault, label: Option<&str>) -> Outcome<Key> {
    let configured =
        Config::load().get("ANSIBLE_VAULT_ENCRYPT_IDENTITY", "defaults", "vault_encrypt_identity");
    let label = label.map(str::to_owned).or(configured);
    let mut labels: Vec<&str> = vault.ids().collect();
    labels.sort_unstable();
    labels.dedup();
    if label.is_none() && labels.len() > 1 {
        return Err(Diagnostic::error(format!(
            "there are passwords of several labels: {}",
            labels.join(", ")
        ))
        .hint("say which is to encrypt: --encrypt-vault-id LABEL"));
    }
    vault.key(label.as_deref()).ok_or_else(|| {
        let label = label.unwrap_or_else(|| "default".into());
        Diagnostic::error(format!("no vault password is known for vault id `{label}`"))
            .hint(format!("give --vault-id {label}@SOURCE"))
    })
}

impl NewArgs {
    /// Whether one is named.
    pub fn given(&self) -> bool {
        self.new_vault_id.is_some() || self.new_vault_password_file.is_some()
    }

    /// The new password; asked for if none is named.
    pub fn key(&self, label: Option<&str>) -> Outcome<Key> {
        let sources = Sources {
            ids: self.new_vault_id.iter().cloned().collect(),
            files: self.new_vault_password_file.iter().cloned().collect(),
            ask: !self.given(),
            match_id: false,
        };
        let vault = Vault::open_with(&sources, &mut ask_new, identities(&[]))?;
        match label {
            Some(label) => chosen(&vault, Some(label)),
            None => vault.key(None).ok_or_else(|| Diagnostic::error("no new vault password is known")),
        }
    }
}
