//! `debark run`: brings hosts to the state that playbooks declare.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_connect::Agents;
use debark_controller::{Engine, Monitor, Outcome, Settings, Site, SiteOptions, Ssh};
use debark_playbook::compile::{Selection, roles_path};
use debark_playbook::inventory::{Inventory, Limit, Options};
use debark_playbook::vars::{config, extra};
use debark_playbook::vault::Vault;
use debark_playbook::{CompileOptions, Compiled, Compiler, Diagnostic, SourceMap, diagnostic};
use debark_value::Map;
use debark_wire::RunOptions;

use crate::exit;
use crate::render;

/// Brings hosts to the state that playbooks declare
///
/// Reads everything before it contacts anyone, opens one SSH connection per host, and runs the play there.
///
/// Exit codes: 0 all went well, 1 bad input (nobody was contacted), 2 a task failed, 4 a host could not be reached,
/// 6 both, 130 interrupted.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Playbooks, one after the other
    #[arg(required = true, value_name = "PLAYBOOK")]
    playbooks: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Run only tasks with these tags
    #[arg(short = 't', long, value_name = "TAGS")]
    tags: Vec<String>,
    /// Leave out tasks with these tags
    #[arg(long, value_name = "TAGS")]
    skip_tags: Vec<String>,
    /// Begin with the task of this name
    #[arg(long, value_name = "NAME")]
    start_at_task: Option<String>,
    /// Run handlers even if a task fails
    #[arg(long)]
    force_handlers: bool,
    /// List the hosts that would be touched, and stop
    #[arg(long)]
    list_hosts: bool,
    /// List the tasks that would be run, and stop
    #[arg(long)]
    list_tasks: bool,
    /// List the tags there are, and stop
    #[arg(long)]
    list_tags: bool,
    /// Check the playbooks, and stop
    #[arg(long)]
    syntax_check: bool,
}

/// Options of all commands that contact hosts.
#[derive(clap::Args)]
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
    /// Connect to this many hosts at once
    #[arg(short, long, default_value_t = 50, value_name = "N")]
    pub forks: usize,
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
    /// Seconds for connecting
    #[arg(short = 'T', long, default_value_t = 10, value_name = "SECONDS")]
    pub timeout: u32,
    /// A file, or a program that prints the vault password
    #[arg(long, value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// A vault password by label: LABEL@FILE or LABEL@prompt
    #[arg(long, value_name = "LABEL@SOURCE")]
    pub vault_id: Vec<String>,
    /// Ask for the vault password
    #[arg(short = 'J', long)]
    pub ask_vault_pass: bool,
    /// Say more (up to -vvv)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// One JSON object per line on standard output
    #[arg(long)]
    pub json: bool,
}

/// What a command that contacts hosts begins with.
pub struct Opened {
    /// Passwords.
    pub vault: Arc<Vault>,
    /// Hosts.
    pub inventory: Arc<Inventory>,
    /// `-e`.
    pub extra_vars: Map,
}

impl Common {
    /// Reads vault passwords, `-e` and the inventory.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn open(&self, sources: &Arc<SourceMap>) -> Result<Opened, Vec<Diagnostic>> {
        let passwords = config::vault_sources(&self.vault_id, &self.vault_password_file, self.ask_vault_pass);
        let mut ask = |question: &str| debark_controller::ask(question, false);
        let vault = Arc::new(Vault::open(&passwords, &mut ask).map_err(|error| vec![error])?);
        let extra = extra::parse(&self.extra_vars, sources, &*vault)?;
        let extra_vars = extra.into_iter().map(|(name, var)| (name, var.value)).collect();
        let options = Options { vault: vault.clone(), sources: sources.clone(), ..Options::default() };
        let inventory = Arc::new(Inventory::load(&self.inventory, options)?);
        show(inventory.warnings(), sources);
        Ok(Opened { vault, inventory, extra_vars })
    }

    /// The settings of a run.
    ///
    /// # Errors
    /// A limit file that cannot be read, or no terminal to ask for a password on.
    pub fn site_options(&self, extra_vars: Map) -> Result<SiteOptions, Diagnostic> {
        let become_password =
            if self.ask_become_pass {
                let asked = debark_controller::ask("become password: ", false);
                Some(asked.map_err(|error| {
                    Diagnostic::error(format!("cannot ask for the become password: {error}"))
                })?)
            } else {
                None
            };
        Ok(SiteOptions {
            run: RunOptions {
                check: self.check,
                diff: self.diff,
                // A reader of JSON gets everything.
                verbosity: if self.json { self.verbose.max(1) } else { self.verbose },
                run_id: run_id(),
                actor: actor(),
                ..RunOptions::default()
            },
            limit: Limit::parse(self.limit.as_deref())?,
            limit_text: self.limit.clone(),
            inventory: self.inventory.clone(),
            forks: self.forks,
            become_: self.r#become,
            become_user: self.become_user.clone(),
            become_method: self.become_method.clone(),
            become_password,
            user: self.user.clone(),
            private_key: self.private_key.clone(),
            timeout: self.timeout,
            extra_vars,
        })
    }
}

/// Runs the command.
pub fn run(args: &RunArgs) -> ExitCode {
    let sources = Arc::new(SourceMap::default());
    match prepared(args, &sources) {
        Ok(Some((site, compiled))) => {
            show(&compiled, &sources);
            go(site, &args.common)
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(errors) => {
            show(&errors, &sources);
            ExitCode::from(exit::BAD_INPUT)
        }
    }
}

/// Runs a site to its end, and draws it as for `debark run`.
pub fn go(site: Site, common: &Common) -> ExitCode {
    let monitor = render::monitor(&render::Options {
        json: common.json,
        verbosity: common.verbose,
        check: common.check,
    });
    drive(site, common, monitor)
}

/// Runs a site to its end.
pub fn drive(site: Site, common: &Common, mut monitor: Box<dyn Monitor>) -> ExitCode {
    let agents = match Agents::find() {
        Ok(agents) => agents,
        Err(why) => {
            return exit::usage(&why, Some("run scripts/build-agent, or use a release build of debark"));
        }
    };
    let site = Arc::new(site);
    let reach = site.clone();
    let connector = Ssh { agents, cache: cache_dir(), target: move |host: &str| reach.target(host) };
    let settings = Settings { forks: common.forks.max(1), ..Settings::default() };
    let engine = Engine::new(site, &connector, monitor.as_mut(), settings);
    let interrupter = engine.interrupter();
    if let Ok(mut signals) =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
    {
        std::thread::spawn(move || {
            for _ in signals.forever() {
                interrupter.interrupt();
            }
        });
    }
    code(&engine.run())
}

fn code(outcome: &Outcome) -> ExitCode {
    if let Some(error) = &outcome.error {
        return exit::usage(error, None);
    }
    if outcome.interrupted > 0 {
        return ExitCode::from(exit::INTERRUPTED);
    }
    let failed = if outcome.failed.is_empty() { 0 } else { exit::FAILED };
    let unreachable = if outcome.unreachable.is_empty() { 0 } else { exit::UNREACHABLE };
    ExitCode::from(failed | unreachable)
}

type Ready = Option<(Site, Vec<Diagnostic>)>;

/// Reads everything; `None` if listing was all that was asked for.
fn prepared(args: &RunArgs, sources: &Arc<SourceMap>) -> Result<Ready, Vec<Diagnostic>> {
    let opened = args.common.open(sources)?;
    let words = |lists: &[String]| -> Vec<String> {
        lists
            .iter()
            .flat_map(|list| list.split(','))
            .map(|tag| tag.trim().to_owned())
            .filter(|tag| !tag.is_empty())
            .collect()
    };
    let selection = Selection { only: words(&args.tags), skip: words(&args.skip_tags) };
    let options = CompileOptions {
        selection: selection.clone(),
        start_at_task: args.start_at_task.clone(),
        extra_vars: opened.extra_vars.clone(),
        roles_path: roles_path(),
        force_handlers: args.force_handlers,
    };
    let compiler = Arc::new(Compiler::new(sources.clone(), opened.vault.clone(), options));
    let Compiled { plays, mut warnings } = compiler.compile(&args.playbooks)?;
    let dirs: Vec<PathBuf> = plays.iter().map(|play| play.playbook_dir.clone()).collect();
    let errors = opened.inventory.check(&dirs);
    if errors.iter().any(Diagnostic::is_error) {
        return Err(errors);
    }
    warnings.extend(errors);
    let limit = Limit::parse(args.common.limit.as_deref()).map_err(|error| vec![error])?;
    if args.list_hosts || args.list_tasks || args.list_tags {
        for (number, play) in plays.iter().enumerate() {
            let listed = play.list();
            anstream::println!("{}", listed.heading(number + 1));
            if args.list_hosts {
                let hosts = opened
                    .inventory
                    .select(&play.hosts.join(":"), &limit)
                    .map_err(|error| vec![error])?
                    .hosts;
                anstream::println!("    hosts ({}):", hosts.len());
                hosts.iter().for_each(|host| anstream::println!("      {host}"));
            }
            if args.list_tasks {
                anstream::print!("{}", listed.task_lines());
            }
            if args.list_tags {
                anstream::println!("{}", listed.tag_line());
            }
        }
        return Ok(None);
    }
    if args.syntax_check {
        show(&warnings, sources);
        return Ok(None);
    }
    let mut site = args.common.site_options(opened.extra_vars).map_err(|error| vec![error])?;
    site.run.tags = selection.only;
    site.run.skip_tags = selection.skip;
    site.run.force_handlers = args.force_handlers;
    Ok(Some((Site::new(compiler, plays, opened.inventory, opened.vault, site), warnings)))
}

/// Shows diagnostics on standard error.
pub fn show(diagnostics: &[Diagnostic], sources: &SourceMap) {
    if !diagnostics.is_empty() {
        anstream::eprint!("{}", diagnostic::render(diagnostics, sources, true));
    }
}

/// Where this machine's own agent is kept: the XDG cache directory.
fn cache_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home);
    base.unwrap_or_else(|| PathBuf::from("/var/cache")).join("debark")
}

/// Names a run: its second and process, short enough for a journal.
fn run_id() -> String {
    let seconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    format!("{seconds:x}-{}", std::process::id())
}

/// Who runs it: `SUDO_USER` or `USER`, at this machine.
fn actor() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    format!("{}@{}", user.unwrap_or_else(|| "unknown".into()), host.trim())
}
