//! `debark inventory`: which hosts there are, what is known of them, and who says so.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use debark_playbook::diagnostic::{self, Diagnostic};
use debark_playbook::inventory::{Inventory, Limit, Options, render};
use debark_playbook::source::SourceMap;
use debark_playbook::vars::{config, extra, layer::Layer};
use debark_playbook::vault::Vault;
use debark_value::Value;
use debark_value::secrets::MASK;

use crate::exit;

/// Arguments of `debark inventory`.
#[derive(Debug, Args)]
pub struct InventoryArgs {
    #[command(subcommand)]
    command: Option<InventoryCommand>,
    #[command(flatten)]
    common: Common,
    /// Show groups and hosts as a tree (the default)
    #[arg(long, conflicts_with_all = ["list", "host"])]
    graph: bool,
    /// Print everything as JSON, as an inventory script would
    #[arg(long, conflicts_with = "host")]
    list: bool,
    /// Print one host's variables as JSON
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Show variables in the tree
    #[arg(long)]
    vars: bool,
    /// Where the tree starts
    #[arg(value_name = "GROUP", default_value = "all")]
    group: String,
}

/// Subcommands of `debark inventory`.
#[derive(Debug, Subcommand)]
enum InventoryCommand {
    /// Show every place that sets a variable for a host, and which one wins
    Explain {
        /// The variable
        var: String,
        /// The host
        host: String,
        /// Variables of the command line, which win over all others
        #[arg(short, long, value_name = "VARS")]
        extra_vars: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Inventory file, directory or script, or host names with a comma
    #[arg(short, long, value_name = "SOURCE", global = true)]
    inventory: Vec<String>,
    /// Only these hosts
    #[arg(short, long, value_name = "PATTERN", global = true)]
    limit: Option<String>,
    /// Where the playbooks are: group_vars and host_vars there count as well
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    playbook_dir: PathBuf,
    /// Show what came out of a vault
    #[arg(long, global = true)]
    show_secrets: bool,
    /// File or script with a vault password
    #[arg(long, value_name = "FILE", global = true)]
    vault_password_file: Vec<PathBuf>,
    /// Vault password with a label: LABEL@FILE
    #[arg(long, value_name = "LABEL@SOURCE", global = true)]
    vault_id: Vec<String>,
    /// What opens files that age sealed: age identities or an SSH key [env: DEBARK_AGE_IDENTITY]
    #[arg(long, value_name = "FILE", global = true)]
    age_identity: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: InventoryArgs) -> ExitCode {
    let sources = Arc::new(SourceMap::default());
    match execute(args, &sources) {
        Ok(text) => {
            anstream::println!("{text}");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            anstream::eprint!("{}", diagnostic::render(&errors, &sources, true));
            ExitCode::from(exit::BAD_INPUT)
        }
    }
}

fn execute(args: InventoryArgs, sources: &Arc<SourceMap>) -> Result<String, Vec<Diagnostic>> {
    let common = &args.common;
    if let Some(InventoryCommand::Explain { var, host, extra_vars }) = args.command {
        let (inventory, vault) = common.load(sources)?;
        let extra = extra::parse(&extra_vars, sources, &*vault)?;
        implicit(&inventory, &host);
        let above = [(Layer::Extra, "command line".into(), Arc::new(extra))];
        let origins = inventory.explain(&var, &host, std::slice::from_ref(&common.playbook_dir), &above)?;
        if origins.is_empty() {
            return Ok(format!("nothing sets {var} for {host}"));
        }
        // A file that stands beside both the inventory and the playbook is read as either; it need be told once.
        let again = |index: usize, place: &Option<String>| {
            place.is_some() && origins.iter().skip(index + 1).any(|later| later.place == *place)
        };
        let told = origins.iter().enumerate().filter(|(index, origin)| !again(*index, &origin.place));
        let lines = told.map(|(_, origin)| {
            let mark = if origin.wins { "=>" } else { "  " };
            let value = match (&origin.value, origin.secret && !common.show_secrets) {
                (_, true) => MASK.to_owned(),
                (Value::Str(text), _) => format!("{text:?}"),
                (value, _) => debark_value::to_json_string(value),
            };
            let place = origin.place.as_deref().unwrap_or("-");
            format!("{mark} {value}  {place}  ({})", origin.description)
        });
        return Ok(lines.collect::<Vec<_>>().join("\n"));
    }
    let (inventory, _) = common.load(sources)?;
    let dirs = [common.playbook_dir.clone()];
    let reveal = common.show_secrets;
    if let Some(host) = &args.host {
        implicit(&inventory, host);
        return Ok(render::to_json(&inventory.shown_vars(host, &dirs, reveal)?));
    }
    if args.list {
        let limit = Limit::parse(common.limit.as_deref()).map_err(|error| vec![error])?;
        return Ok(render::to_json(&inventory.list(&limit, &dirs, reveal)?));
    }
    inventory.graph(&args.group, args.vars.then_some(&dirs[..]))
}

/// `localhost` is there even if no source names it: a pattern that means it brings it about.
fn implicit(inventory: &Inventory, host: &str) {
    if !inventory.has_host(host) {
        // Whatever else is wrong with the name is told by what looks it up.
        let _ = inventory.select(host, &Limit::default());
    }
}

impl Common {
    fn load(&self, sources: &Arc<SourceMap>) -> Result<(Inventory, Arc<Vault>), Vec<Diagnostic>> {
        let passwords = config::vault_sources(&self.vault_id, &self.vault_password_file, false);
        let mut ask = |_: &str| Err(std::io::Error::other("this command does not ask; name a file"));
        let vault = Vault::open_with(&passwords, &mut ask, crate::common::identities(&self.age_identity));
        let vault = Arc::new(vault.map_err(|error| vec![error])?);
        let options = Options {
            vault: vault.clone(),
            sources: sources.clone(),
            script_timeout: config::inventory_timeout(),
            ..Options::default()
        };
        let inventory = Inventory::load(&self.inventory, options)?;
        anstream::eprint!("{}", diagnostic::render(inventory.warnings(), sources, true));
        Ok((inventory, vault))
    }
}
