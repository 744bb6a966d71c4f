//! `debark vault`: files and values that ansible-vault or age encrypt.

mod edit;
mod files;
mod keys;
mod string;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use debark_playbook::Diagnostic;
use zeroize::Zeroizing;

use crate::exit;
use edit::{CreateArgs, EditArgs};
use files::{STDIO, Target};
use keys::{NewArgs, OpenArgs, SealArgs};
use string::StringArgs;

/// A text, wiped when it is dropped.
type Bytes = Zeroizing<Vec<u8>>;

/// What a command ends with.
type Outcome<T = ()> = Result<T, Diagnostic>;

/// Encrypted files and values, of ansible-vault or age.
#[derive(clap::Subcommand)]
pub enum VaultCommand {
    Encrypt(EncryptArgs),
    Decrypt(DecryptArgs),
    View(ViewArgs),
    Edit(EditArgs),
    Create(CreateArgs),
    Rekey(RekeyArgs),
    #[command(alias = "encrypt_string")]
    EncryptString(StringArgs),
}

/// Encrypts files in place, or standard input to standard output
///
/// In ansible-vault's format, or with --age for recipients.
#[derive(clap::Args)]
pub struct EncryptArgs {
    /// Files; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write here in place of the file itself; `-` is standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    seal: SealArgs,
}

/// Decrypts files in place, or standard input to standard output
///
/// What is decrypted in place is readable by its owner only.
#[derive(clap::Args)]
pub struct DecryptArgs {
    /// Files; `-` is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write here in place of the file itself; `-` is standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
}

/// Shows what is in encrypted files
#[derive(clap::Args)]
pub struct ViewArgs {
    /// Files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
}

/// Encrypts files anew: with another password, or for other recipients
///
/// All of them are opened before any is written.
#[derive(clap::Args)]
pub struct RekeyArgs {
    /// Files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    new: NewArgs,
    #[command(flatten)]
    seal: SealArgs,
}

/// Runs the command.
pub fn run(command: &VaultCommand) -> ExitCode {
    let outcome = match command {
        VaultCommand::Encrypt(args) => encrypt(args),
        VaultCommand::Decrypt(args) => decrypt(args),
        VaultCommand::View(args) => view(args),
        VaultCommand::Edit(args) => return edit::edit(args),
        VaultCommand::Create(args) => return edit::create(args),
        VaultCommand::Rekey(args) => rekey(args),
        VaultCommand::EncryptString(args) => string::run(args),
    };
    ended(outcome)
}

fn ended(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::usage(&error.message, error.hint.as_deref()),
    }
}

/// What is read, and where what comes of it goes.
fn work(given: &[PathBuf], output: Option<&Path>) -> Outcome<Vec<(PathBuf, Target)>> {
    let stdin = [PathBuf::from(STDIO)];
    let files = if given.is_empty() { &stdin } else { given };
    match (output, files) {
        (Some(output), [file]) => Ok(vec![(file.clone(), Target::of(output))]),
        (Some(_), _) => {
            Err(Diagnostic::error("--output takes the result of one file, and there are several"))
        }
        (None, files) => Ok(files.iter().map(|file| (file.clone(), Target::of(file))).collect()),
    }
}

fn encrypt(args: &EncryptArgs) -> Outcome {
    let work = work(&args.files, args.output.as_deref())?;
    let mut texts = Vec::new();
    for (file, target) in work {
        let plain = files::read(&file)?;
        if debark_playbook::vault::is_vault(&plain) {
            return Err(Diagnostic::error(format!("{} is encrypted already", files::name(&file)))
                .hint("`debark vault rekey` encrypts it anew"));
        }
        texts.push((plain, target));
    }
    let seal = keys::seal(&args.open, &args.seal)?;
    for (plain, target) in texts {
        target.write(&seal.seal(&plain, std::str::from_utf8(&plain).is_ok())?, files::Kind::Sealed)?;
    }
    Ok(())
}

/// The plaintexts of files, each with what it was.
fn opened(args: &OpenArgs, given: &[PathBuf]) -> Outcome<Vec<(Bytes, Bytes)>> {
    let mut sealed = Vec::new();
    for file in given {
        let bytes = files::read(file)?;
        if !debark_playbook::vault::is_vault(&bytes) {
            return Err(Diagnostic::error(format!("{} is not encrypted", files::name(file)))
                .hint("single values in it (`!vault`) are shown by `debark inventory --show-secrets`"));
        }
        sealed.push(bytes);
    }
    let vault = args.vault(sealed.iter().any(|bytes| !debark_age::is_sealed(bytes)))?;
    let open = |(file, bytes): (&PathBuf, Bytes)| {
        vault.open_quietly(&bytes, &files::name(file)).map(|plain| (plain, bytes))
    };
    given.iter().zip(sealed).map(open).collect()
}

fn decrypt(args: &DecryptArgs) -> Outcome {
    let work = work(&args.files, args.output.as_deref())?;
    let (files, targets): (Vec<_>, Vec<_>) = work.into_iter().unzip();
    for ((plain, _), target) in opened(&args.open, &files)?.into_iter().zip(targets) {
        target.write(&plain, files::Kind::Plain)?;
    }
    Ok(())
}

fn view(args: &ViewArgs) -> Outcome {
    for (plain, _) in opened(&args.open, &args.files)? {
        files::show(&plain)?;
    }
    Ok(())
}

fn rekey(args: &RekeyArgs) -> Outcome {
    let opened = opened(&args.open, &args.files)?;
    // Without a word on how, each file stays of its kind.
    let of_age = opened.iter().all(|(_, before)| debark_age::is_sealed(before));
    let mixed = opened.iter().any(|(_, before)| debark_age::is_sealed(before)) && !of_age;
    let seal = if args.seal.wants_age() || of_age && !args.new.given() {
        keys::Seal::Age(args.seal.recipients()?)
    } else if mixed && !args.new.given() {
        return Err(Diagnostic::error("some of these files are age's and some ansible-vault's")
            .hint("say how they are to be encrypted: --age, --new-vault-id or --new-vault-password-file"));
    } else {
        keys::Seal::Password(args.new.key(args.seal.encrypt_vault_id.as_deref())?)
    };
    for (file, (plain, before)) in args.files.iter().zip(opened) {
        let armor = !debark_age::is_sealed(&before) || debark_age::is_armored(&before);
        let armor = armor && std::str::from_utf8(&plain).is_ok() || debark_age::is_armored(&before);
        Target::of(file).write(&seal.seal(&plain, armor)?, files::Kind::Anew)?;
    }
    Ok(())
}
