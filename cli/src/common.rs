//! What the commands that contact hosts have in common: options, what they open, and settings of a run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_connect::Vpn;
use debark_controller::SiteOptions;
use debark_playbook::inventory::{Inventory, Limit, Options};
use debark_playbook::vars::config::{self, Settings};
use debark_playbook::vars::extra;
use debark_playbook::vault::{Identities, Vault};
use debark_playbook::{CompileOptions, Compiled, Compiler, Diagnostic, SourceMap, diagnostic};
use debark_value::Map;
use debark_wire::RunOptions;
use zeroize::Zeroizing;

use crate::exit;
use crate::signals::Signals;

/// How many hosts are connected to at once. Ansible's 5 bound whole tasks; here it is handshakes only.
const FORKS: usize = 50;
/// Seconds for connecting.
const TIMEOUT: u32 = 10;

/// Options of all commands that contact hosts.
#[derive(clap::Args, Clone, Default)]
pub struct Common {
    /// An inventory: a file, a directory, a script, or hosts as `a,b,` (may be given several times)
    #[arg(short, long, value_name = "INVENTORY")]
    pub inventory: Vec<String>,
    /// Only these hosts: a pattern, or @FILE
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Variables above all others: `k=v`, YAML, JSON or @FILE
    #[arg(short, long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// Change nothing; say what would change
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Show what changes
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Do something on this many hosts at once at most; without it on all, 50 of which are connected to at a time
    #[arg(short, long, value_name = "N")]
    pub forks: Option<usize>,
    /// Log in as this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Become another user (root unless --become-user says else)
    #[arg(short, long = "become")]
    pub r#become: bool,
    /// Whom to become
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,
    /// How: sudo, su or doas
    #[arg(long, value_name = "METHOD", value_parser = ["sudo", "su", "doas"])]
    pub become_method: Option<String>,
    /// Ask for the password to become another user with
    #[arg(short = 'K', long)]
    pub ask_become_pass: bool,
    /// The private key to log in with
    #[arg(long, visible_alias = "key-file", value_name = "FILE")]
    pub private_key: Option<String>,
    /// Seconds for connecting [default: 10]
    #[arg(short = 'T', long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
    /// Further arguments for ssh, below those of the inventory
    #[arg(long, visible_alias = "ssh-extra-args", value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// Accepted and not needed: facts are not kept between runs
    #[arg(long, hide = true)]
    pub flush_cache: bool,
    /// A file, or a program that prints the vault password
    #[arg(long, alias = "vault-pass-file", value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// A vault password by label: LABEL@FILE or LABEL@prompt
    #[arg(long, value_name = "LABEL@SOURCE")]
    pub vault_id: Vec<String>,
    /// Ask for the vault password
    #[arg(short = 'J', long, alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
    /// What opens files that age sealed: age identities or an SSH key [env: DEBARK_AGE_IDENTITY]
    #[arg(long, value_name = "FILE")]
    pub age_identity: Vec<PathBuf>,
    /// Say more: -v every task and what modules return, -vv connections and notifications, -vvv how ssh is called
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// One JSON object per line on standard output
    #[arg(long)]
    pub json: bool,
}

/// What a command that contacts hosts begins with.
pub struct Opened {
    /// What `ansible.cfg` and the environment say.
    pub settings: Settings,
    /// Passwords.
    pub vault: Arc<Vault>,
    /// Hosts.
    pub inventory: Arc<Inventory>,
    /// `-e`.
    pub extra_vars: Map,
}

impl Opened {
    /// Compiles playbooks, and reads the variables that lie beside them; warnings are shown.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn compiled(
        &self,
        files: &[PathBuf],
        sources: &Arc<SourceMap>,
    ) -> Result<(Arc<Compiler>, Compiled), Vec<Diagnostic>> {
        let options = CompileOptions {
            extra_vars: self.extra_vars.clone(),
            roles_path: config::roles_path(),
            collections_path: config::collections_path(),
            plugin_paths: config::plugin_paths(),
            ..CompileOptions::default()
        };
        let compiler = Arc::new(Compiler::new(sources.clone(), self.vault.clone(), options));
        let compiled = compiler.compile(files)?;
        show(&compiled.warnings, sources);
        let dirs: Vec<PathBuf> = compiled.plays.iter().map(|play| play.playbook_dir.clone()).collect();
        let found = self.inventory.check(&dirs);
        if found.iter().any(Diagnostic::is_error) {
            return Err(found);
        }
        show(&found, sources);
        Ok((compiler, compiled))
    }
}

impl Common {
    /// Reads vault passwords, `-e` and the inventory.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn open(&self, sources: &Arc<SourceMap>) -> Result<Opened, Vec<Diagnostic>> {
        let settings = Settings::load();
        if settings.notes.iter().any(Diagnostic::is_error) {
            return Err(settings.notes);
        }
        show(&settings.notes, sources);
        let passwords = config::vault_sources(&self.vault_id, &self.vault_password_file, self.ask_vault_pass);
        let mut ask = |question: &str| debark_controller::ask(question, false);
        let vault = Vault::open_with(&passwords, &mut ask, identities(&self.age_identity));
        let vault = Arc::new(vault.map_err(|error| vec![error])?);
        let extra = extra::parse(&self.extra_vars, sources, &*vault)?;
        let extra_vars = extra.into_iter().map(|(name, var)| (name, var.value)).collect();
        let options = Options {
            vault: vault.clone(),
            sources: sources.clone(),
            script_timeout: config::inventory_timeout(),
            ..Options::default()
        };
        let inventory = Arc::new(Inventory::load(&self.inventory, options)?);
        show(inventory.warnings(), sources);
        Ok(Opened { settings, vault, inventory, extra_vars })
    }

    /// `-v` count: what a reader of JSON sees does not depend on it.
    pub fn verbosity(&self, settings: &Settings) -> u8 {
        let asked = self.verbose.max(settings.verbosity);
        if self.json { asked.max(1) } else { asked }
    }

    /// The settings of a run.
    ///
    /// # Errors
    /// A limit file that cannot be read, or no terminal to ask for a password on.
    pub fn site_options(&self, settings: &Settings, extra_vars: Map) -> Result<SiteOptions, Diagnostic> {
        let become_password = if self.ask_become_pass || settings.ask_become_pass {
            let asked = debark_controller::ask("become password: ", false);
            Some(asked.map(Zeroizing::new).map_err(|error| {
                Diagnostic::error(format!("cannot ask for the become password: {error}")).hint(
                    "without a terminal, give it as the variable `ansible_become_password`, from a vault",
                )
            })?)
        } else {
            None
        };
        let or = |own: &Option<String>, default: &Option<String>| own.clone().or_else(|| default.clone());
        Ok(SiteOptions {
            run: RunOptions {
                check: self.check,
                diff: self.diff || settings.diff,
                verbosity: self.verbosity(settings),
                run_id: run_id(),
                actor: actor(),
                forks: self.forks.map(|forks| u32::try_from(forks.max(1)).unwrap_or(u32::MAX)),
                ..RunOptions::default()
            },
            limit: Limit::parse(self.limit.as_deref())?,
            limit_text: self.limit.clone(),
            patterns_told: false,
            inventory: self.inventory.clone(),
            forks: self.forks.or(settings.forks).unwrap_or(FORKS).max(1),
            become_: self.r#become || settings.become_,
            become_user: or(&self.become_user, &settings.become_user),
            become_method: or(&self.become_method, &settings.become_method),
            become_password,
            user: or(&self.user, &settings.user),
            private_key: or(&self.private_key, &settings.private_key),
            ssh_args: or(&self.ssh_common_args, &settings.ssh_args),
            timeout: self.timeout.or(settings.timeout).unwrap_or(TIMEOUT),
            managed: settings.managed.clone(),
            vpn: Vpn::None,
            known_hosts: None,
            extra_vars,
        })
    }
}

/// What opens files that age sealed.
pub fn identities(files: &[PathBuf]) -> Identities {
    let ask = |question: &str| debark_controller::ask(question, false).map(Zeroizing::new);
    Identities::new(files.to_vec(), Arc::new(ask))
}

/// What a command ends with that could not begin: its errors, unless the user stopped it.
pub fn refused(errors: &[Diagnostic], sources: &SourceMap, signals: &Signals) -> ExitCode {
    if signals.came() {
        return ExitCode::from(exit::INTERRUPTED);
    }
    show(errors, sources);
    ExitCode::from(exit::BAD_INPUT)
}

/// Shows diagnostics on standard error.
pub fn show(diagnostics: &[Diagnostic], sources: &SourceMap) {
    if !diagnostics.is_empty() {
        anstream::eprint!("{}", diagnostic::render(diagnostics, sources, true));
    }
}

/// Names a run: its second and process, short enough for a journal.
fn run_id() -> String {
    let seconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    format!("{seconds:x}-{}", std::process::id())
}

/// Who runs it: `SUDO_USER` or `USER`, at this machine.
pub fn actor() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    format!("{}@{}", user.unwrap_or_else(|| "unknown".into()), host.trim())
}
