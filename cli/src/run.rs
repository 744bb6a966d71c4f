//! `debark run`: brings hosts to the state that playbooks declare.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_controller::Site;
use debark_playbook::compile::Selection;
use debark_playbook::inventory::{Inventory, Limit};
use debark_playbook::vars::config;
use debark_playbook::{CompileOptions, Compiled, CompiledPlay, Compiler, Diagnostic, SourceMap};
use debark_wire::Debugger;

use crate::common::{Common, refused, show};
use crate::drive::go;
use crate::signals::Signals;

/// Brings hosts to the state that playbooks declare
///
/// Reads everything before it contacts anyone, opens one SSH connection per host, and runs the play there.
///
/// Exit codes: 0 all went well, 1 bad input (nobody was contacted), 2 a task failed, 4 or more a host could not be
/// reached, 6 or more both, 130 interrupted.
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
    /// Ask before each task
    #[arg(long, conflicts_with = "json")]
    step: bool,
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

/// Runs the command.
pub fn run(args: &RunArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    match prepared(args, &sources) {
        Ok(Some((site, warnings))) => {
            show(&warnings, &sources);
            go(site, &args.common, &signals)
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(errors) => refused(&errors, &sources, &signals),
    }
}

type Ready = Option<(Site, Vec<Diagnostic>)>;

/// Reads everything; `None` if listing was all that was asked for.
fn prepared(args: &RunArgs, sources: &Arc<SourceMap>) -> Result<Ready, Vec<Diagnostic>> {
    if args.step && !debark_controller::is_terminal() {
        let error = Diagnostic::error("--step asks on a terminal, and standard input is none");
        return Err(vec![error]);
    }
    let opened = args.common.open(sources)?;
    let settings = &opened.settings;
    let words = |lists: &[String], default: &[String]| -> Vec<String> {
        let given = lists.iter().flat_map(|list| list.split(',')).map(|tag| tag.trim().to_owned());
        let given: Vec<String> = given.filter(|tag| !tag.is_empty()).collect();
        if given.is_empty() { default.to_vec() } else { given }
    };
    let selection = Selection {
        only: words(&args.tags, &settings.tags),
        skip: words(&args.skip_tags, &settings.skip_tags),
    };
    let force_handlers = args.force_handlers || settings.force_handlers;
    let attended = debark_controller::is_terminal() && !args.common.json;
    let options = CompileOptions {
        selection: selection.clone(),
        start_at_task: args.start_at_task.clone(),
        extra_vars: opened.extra_vars.clone(),
        roles_path: config::roles_path(),
        collections_path: config::collections_path(),
        plugin_paths: config::plugin_paths(),
        force_handlers,
        gather_explicitly: settings.gather_explicitly,
        strategy: settings.strategy.clone(),
        attended,
    };
    let compiler = Arc::new(Compiler::new(sources.clone(), opened.vault.clone(), options));
    let Compiled { plays, mut warnings } = compiler.compile(&args.playbooks)?;
    let dirs: Vec<PathBuf> = plays.iter().map(|play| play.playbook_dir.clone()).collect();
    let errors = opened.inventory.check(&dirs);
    if errors.iter().any(Diagnostic::is_error) {
        return Err(errors);
    }
    warnings.extend(errors);
    for play in plays.iter().take(debark_playbook::compile::foreseeable(&plays)) {
        warnings.extend(opened.inventory.unmatched(&play.hosts, &play.host_spans));
    }
    if args.list_hosts || args.list_tasks || args.list_tags {
        let odd = list(args, &plays, &opened.inventory).map_err(|error| vec![error])?;
        show(&odd, sources);
        return Ok(None);
    }
    if args.syntax_check {
        show(&warnings, sources);
        return Ok(None);
    }
    for_somebody(args, &plays, &opened.inventory)?;
    let mut site =
        args.common.site_options(&opened.settings, opened.extra_vars).map_err(|error| vec![error])?;
    site.run.tags = selection.only;
    site.run.skip_tags = selection.skip;
    site.run.force_handlers = force_handlers;
    site.run.step = args.step;
    site.run.debugger = match (attended, opened.settings.debugger) {
        (false, _) => Debugger::Off,
        (true, false) => Debugger::Stated,
        (true, true) => Debugger::Failing,
    };
    site.patterns_told = true;
    Ok(Some((Site::new(compiler, plays, opened.inventory, opened.vault, site), warnings)))
}

/// A limit that leaves no host of any play is a slip of the fingers: nothing would be done, and nobody told.
fn for_somebody(
    args: &RunArgs,
    plays: &[CompiledPlay],
    inventory: &Inventory,
) -> Result<(), Vec<Diagnostic>> {
    let Some(text) = &args.common.limit else { return Ok(()) };
    let limit = Limit::parse(Some(text)).map_err(|error| vec![error])?;
    let mut warnings = Vec::new();
    // What is only known in its turn (a template in `hosts`, hosts that tasks add) may be any of the inventory's.
    for pattern in plays.iter().map(|play| play.hosts.join(":")).chain(["all".to_owned()]) {
        let Ok(selected) = inventory.select(&pattern, &limit) else { return Ok(()) };
        if !selected.hosts.is_empty() {
            return Ok(());
        }
        warnings = selected.warnings;
    }
    let error = Diagnostic::error(format!("`--limit {text}` leaves no hosts"));
    let hint = warnings.into_iter().find_map(|warning| warning.hint);
    Err(vec![error.hint(hint.unwrap_or_else(|| "`debark inventory` shows what there is".into()))])
}

/// Prints what was asked for of each play, and returns what is odd about their hosts.
fn list(
    args: &RunArgs,
    plays: &[CompiledPlay],
    inventory: &Inventory,
) -> Result<Vec<Diagnostic>, Diagnostic> {
    let limit = Limit::parse(args.common.limit.as_deref())?;
    let mut warnings = Vec::new();
    for (number, play) in plays.iter().enumerate() {
        let listed = play.list();
        anstream::println!("{}", listed.heading(number + 1));
        if args.list_hosts {
            let selected = inventory.select(&play.hosts.join(":"), &limit)?;
            warnings.extend(selected.warnings);
            let hosts = selected.hosts;
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
    Ok(warnings)
}
