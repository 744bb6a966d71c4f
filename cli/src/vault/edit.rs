//! `debark vault edit` and `create`: the plaintext is in a private file in memory while an editor has it, and nowhere after.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use debark_playbook::Diagnostic;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use zeroize::Zeroizing;

use super::files::{self, Kind, Target};
use super::keys::{self, OpenArgs, Seal, SealArgs};
use super::{Outcome, ended};
use crate::exit;

/// The file systems of this magic number are in memory (statfs(2), `TMPFS_MAGIC`).
const TMPFS: i64 = 0x0102_1994;

/// Opens an encrypted file in an editor, and encrypts it again
///
/// With $VISUAL or $EDITOR. Nothing is written if nothing was changed, or if the editor fails.
#[derive(clap::Args)]
pub struct EditArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    seal: SealArgs,
}

/// Writes a new encrypted file in an editor
#[derive(clap::Args)]
pub struct CreateArgs {
    /// The file, which must not be there yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    seal: SealArgs,
}

/// Edits a file.
pub fn edit(args: &EditArgs) -> ExitCode {
    let stopped = Stopped::watch();
    let outcome = (|| {
        let before = files::read(&args.file)?;
        if !debark_playbook::vault::is_vault(&before) {
            return Err(Diagnostic::error(format!("{} is not encrypted", args.file.display()))
                .hint("`debark vault encrypt` encrypts it"));
        }
        let name = args.file.display().to_string();
        let of_age = debark_age::is_sealed(&before);
        let vault = args.open.vault(!of_age)?;
        // How it is closed is known before anybody has typed anything.
        let (plain, seal) = if args.seal.wants_age() || of_age {
            (vault.open_quietly(&before, &name)?, Seal::Age(args.seal.recipients()?))
        } else {
            let (plain, key) = vault.open_by_password(&before, &name)?;
            let key = match &args.seal.encrypt_vault_id {
                Some(label) => keys::chosen(&vault, Some(label))?,
                None => key,
            };
            (plain, Seal::Password(key))
        };
        let armor = !of_age || debark_age::is_armored(&before);
        Session { file: &args.file, seal, armor, before: Some(before) }.run(&plain, &stopped)
    })();
    stopped.code(outcome)
}

/// Makes a file.
pub fn create(args: &CreateArgs) -> ExitCode {
    let stopped = Stopped::watch();
    let outcome = (|| {
        if fs::symlink_metadata(&args.file).is_ok() {
            return Err(Diagnostic::error(format!("{} is there already", args.file.display()))
                .hint("`debark vault edit` changes it"));
        }
        let seal = keys::seal(&args.open, &args.seal)?;
        Session { file: &args.file, seal, armor: true, before: None }.run(&[], &stopped)
    })();
    stopped.code(outcome)
}

/// Signals that would end the process: it has a plaintext to wipe first, and an editor to end.
struct Stopped {
    came: Arc<AtomicBool>,
    editor: Arc<AtomicI32>,
}

impl Stopped {
    fn watch() -> Self {
        let stopped = Self { came: Arc::default(), editor: Arc::default() };
        let (came, editor) = (stopped.came.clone(), stopped.editor.clone());
        // Where signals cannot be had, they kill, as they do by default.
        if let Ok(mut all) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT]) {
            std::thread::spawn(move || {
                for signal in all.forever() {
                    let pid = Pid::from_raw(editor.load(Ordering::SeqCst));
                    match pid {
                        // The terminal sends these to the editor as well, which knows what they mean to it.
                        Some(_) if signal == SIGINT || signal == SIGQUIT => {}
                        Some(pid) => {
                            came.store(true, Ordering::SeqCst);
                            let _ = kill_process(pid, Signal::TERM);
                        }
                        None => {
                            came.store(true, Ordering::SeqCst);
                            debark_controller::cancel_questions();
                        }
                    }
                }
            });
        }
        stopped
    }

    fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }

    fn code(&self, outcome: Outcome) -> ExitCode {
        let code = ended(outcome);
        if self.came() { ExitCode::from(exit::INTERRUPTED) } else { code }
    }
}

struct Session<'a> {
    file: &'a Path,
    seal: Seal,
    armor: bool,
    /// What the file held, if it was there.
    before: Option<Zeroizing<Vec<u8>>>,
}

impl Session<'_> {
    fn run(&self, plain: &[u8], stopped: &Stopped) -> Outcome {
        let name = self.file.file_name().unwrap_or_default();
        let place = Private::new(Path::new(name), plain).map_err(|error| {
            Diagnostic::error(format!("cannot make a private place for the editor: {error}"))
        })?;
        if stopped.came() {
            return Err(Diagnostic::error(format!("interrupted; {} is as it was", self.file.display())));
        }
        let status = editor(&place.file, stopped)?;
        let edited = files::read(&place.file);
        drop(place);
        let edited = match edited {
            Ok(edited) => edited,
            Err(_) if !status.success() => return Err(self.failed(status, None)),
            Err(error) => return Err(error),
        };
        let changed = *edited != *plain || self.before.is_none();
        if !status.success() || stopped.came() {
            let sealed = if *edited == *plain { None } else { Some(self.seal.seal(&edited, self.armor)?) };
            return Err(self.failed(status, sealed.as_deref()));
        }
        if !changed {
            return Ok(());
        }
        let sealed = self.seal.seal(&edited, self.armor)?;
        // Somebody else may have been quicker.
        let now = if self.file.exists() { Some(files::read(self.file)?) } else { None };
        if now != self.before {
            let error =
                Diagnostic::error(format!("{} was changed meanwhile by somebody else", self.file.display()));
            return Err(self.kept(error, &sealed));
        }
        Target::of(self.file).write(&sealed, Kind::Anew).map_err(|error| self.kept(error, &sealed))
    }

    fn failed(&self, status: ExitStatus, sealed: Option<&[u8]>) -> Diagnostic {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        let file = self.file.display();
        let still = if self.before.is_some() { "is as it was" } else { "was not made" };
        let error = Diagnostic::error(format!("the editor {how}; {file} {still}"));
        match sealed {
            Some(sealed) => self.kept(error, sealed),
            None => error,
        }
    }

    /// What was typed is not lost: it is kept encrypted, beside the file or else where temporary files are.
    fn kept(&self, error: Diagnostic, sealed: &[u8]) -> Diagnostic {
        let Ok(random) = files::random() else { return error };
        let name = format!("{}.edited-{random}", self.file.file_name().unwrap_or_default().to_string_lossy());
        let beside = self.file.with_file_name(&name);
        let elsewhere = std::env::temp_dir().join(&name);
        for path in [beside, elsewhere] {
            match files::create(&path, sealed).and_then(|file| file.sync_all()) {
                Ok(()) => return error.hint(format!("what was typed is in {}, encrypted", path.display())),
                Err(_) => drop(fs::remove_file(&path)),
            }
        }
        error
    }
}

/// Runs the editor on a file.
fn editor(file: &Path, stopped: &Stopped) -> Outcome<ExitStatus> {
    let named = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|command| !command.trim().is_empty()));
    // Debian's own choice stands behind `editor`.
    let fallback =
        || if Path::new("/usr/bin/editor").exists() { "editor".to_owned() } else { "vi".to_owned() };
    let command = named.unwrap_or_else(fallback);
    let words = debark_modules::shlex::split(&command)
        .map_err(|why| Diagnostic::error(format!("EDITOR is `{command}`, and that is no command: {why}")))?;
    let Some((program, args)) = words.split_first() else {
        return Err(Diagnostic::error("EDITOR names no command"));
    };
    let failed = |error: io::Error| {
        Diagnostic::error(format!("cannot run the editor {program}: {error}")).hint("set VISUAL or EDITOR")
    };
    let mut child = Command::new(program).args(args).arg(file).spawn().map_err(failed)?;
    stopped.editor.store(child.id().cast_signed(), Ordering::SeqCst);
    let status = child.wait().map_err(failed);
    stopped.editor.store(0, Ordering::SeqCst);
    status
}

/// A directory of its own in memory with one file, readable by its owner only; wiped when it is dropped.
struct Private {
    directory: PathBuf,
    file: PathBuf,
}

impl Private {
    fn new(name: &Path, plain: &[u8]) -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let in_memory = |path: &PathBuf| rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type == TMPFS);
        let places = [Some(PathBuf::from("/dev/shm")), runtime].into_iter().flatten().filter(in_memory);
        let mut last = None;
        for place in places.chain([std::env::temp_dir()]) {
            let directory = place.join(format!("debark-edit-{}", files::random()?));
            if let Err(error) = fs::DirBuilder::new().mode(0o700).create(&directory) {
                last = Some(error);
                continue;
            }
            let file = directory.join(name);
            let private = Self { directory, file };
            files::create(&private.file, plain)?;
            return Ok(private);
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Editors leave copies beside it.
        wipe(&self.directory, 0);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn wipe(directory: &Path, depth: usize) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < 8 {
            wipe(&entry.path(), depth + 1);
        } else if kind.is_file()
            && entry.metadata().is_ok_and(|meta| meta.nlink() == 1)
            && let Ok(file) = OpenOptions::new().write(true).open(entry.path())
        {
            files::wiped(file);
        }
    }
}
