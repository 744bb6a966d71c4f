//! `debark exec`: one module on many hosts, without a playbook.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_controller::{Monitor, Site};
use debark_modules::builtin::{builtin_spec, builtin_specs};
use debark_modules::{find, names, short_name};
use debark_playbook::diagnostic::did_you_mean;
use debark_playbook::inventory::Limit;
use debark_playbook::{Diagnostic, SourceMap};

use crate::common::{Common, refused, show};
use crate::drive::drive;
use crate::exit;
use crate::render::{self, Adhoc};
use crate::signals::Signals;

/// Runs one module on hosts, without a playbook
///
/// As with `debark run`, parameters are checked before any host is contacted, and --check and --diff tell what would
/// change.
///
/// Exit codes: 0 all went well, 1 bad input (nobody was contacted), 2 it failed on some host, 4 or more a
/// host could not be reached, 6 or more both, 130 interrupted.
#[derive(clap::Args)]
pub struct ExecArgs {
    /// The hosts: names, groups, patterns as in `hosts`
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// The module
    #[arg(
        short,
        long = "module-name",
        visible_alias = "module",
        value_name = "MODULE",
        default_value = "command"
    )]
    module: String,
    /// Its parameters: `k=v` text, a command line, or a JSON object
    #[arg(
        short,
        long,
        value_name = "ARGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    args: String,
    #[command(flatten)]
    common: Common,
    /// List the hosts that the pattern means, and stop
    #[arg(long)]
    list_hosts: bool,
}

/// Runs the command.
pub fn run(args: &ExecArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    if args.list_hosts {
        return match list_hosts(args, &sources) {
            Ok(()) => ExitCode::SUCCESS,
            Err(errors) => refused(&errors, &sources, &signals),
        };
    }
    if let Err(error) = known(&args.module) {
        show(&[error], &sources);
        return ExitCode::from(exit::BAD_INPUT);
    }
    let task = Task { pattern: &args.pattern, module: &args.module, args: &args.args };
    match task.prepared(&args.common, &sources) {
        Ok(site) => {
            let monitor: Box<dyn Monitor> =
                if args.common.json { render::json() } else { Box::new(Adhoc::new(&args.common)) };
            drive(site, monitor, &signals)
        }
        Err(errors) => refused(&errors, &sources, &signals),
    }
}

/// Prints hosts as `ansible --list-hosts` does.
fn list_hosts(args: &ExecArgs, sources: &Arc<SourceMap>) -> Result<(), Vec<Diagnostic>> {
    let opened = args.common.open(sources)?;
    let one = |error| vec![error];
    let limit = Limit::parse(args.common.limit.as_deref()).map_err(one)?;
    let selected = opened.inventory.select(&args.pattern, &limit).map_err(one)?;
    show(&selected.warnings, sources);
    anstream::println!("  hosts ({}):", selected.hosts.len());
    selected.hosts.iter().for_each(|host| anstream::println!("    {host}"));
    Ok(())
}

fn known(module: &str) -> Result<(), Diagnostic> {
    let short = short_name(module);
    let is_import = matches!(short, "import_playbook" | "import_tasks" | "import_role");
    if is_import {
        return Err(Diagnostic::error(format!("`{module}` makes sense in a playbook only")));
    }
    if find(module).is_some() || builtin_spec(module).is_some() {
        return Ok(());
    }
    let specs = names().map(|module| module.spec).chain(builtin_specs());
    let hint = did_you_mean(short, specs.map(|spec| short_name(spec.name)));
    Err(Diagnostic::error(format!("there is no module `{module}`"))
        .hint(hint.unwrap_or_else(|| "`debark modules` lists them".into())))
}

/// A play of one task.
pub struct Task<'a> {
    /// `hosts`.
    pub pattern: &'a str,
    /// A module that exists.
    pub module: &'a str,
    /// `k=v` text, free text, or a JSON object.
    pub args: &'a str,
}

impl Task<'_> {
    /// The play as YAML. JSON texts are YAML's double-quoted ones, so nothing in a word can end its place.
    fn playbook(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let args = match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(self.args) {
            Ok(object) => serde_json::Value::from(object).to_string(),
            Err(_) if self.args.trim().is_empty() => String::new(),
            Err(_) => quoted(self.args),
        };
        format!(
            "- hosts: {}\n  gather_facts: false\n  tasks:\n    - {}: {args}\n",
            quoted(self.pattern),
            quoted(self.module),
        )
    }

    /// Compiles it; files that it names are looked for from the current directory.
    ///
    /// # Errors
    /// Everything that is wrong with the command line, the inventory or its variables.
    pub fn prepared(&self, common: &Common, sources: &Arc<SourceMap>) -> Result<Site, Vec<Diagnostic>> {
        let opened = common.open(sources)?;
        // What is in memory under that name is not looked for on disk.
        let path = PathBuf::from("<command line>");
        sources.add(&path, &self.playbook(), false);
        let (compiler, compiled) = opened.compiled(&[path], sources)?;
        let mut options =
            common.site_options(&opened.settings, opened.extra_vars).map_err(|error| vec![error])?;
        let hosts = opened.inventory.select(self.pattern, &options.limit).map_err(|error| vec![error])?.hosts;
        if hosts.is_empty() {
            let error = Diagnostic::error(format!("no host matches `{}`", self.pattern));
            return Err(vec![error.hint("`debark inventory` shows what there is")]);
        }
        // Agents send what modules return only if it is wanted, and here it is what the command is for.
        options.run.verbosity = options.run.verbosity.max(1);
        Ok(Site::new(compiler, compiled.plays, opened.inventory, opened.vault, options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playbook(module: &str, args: &str) -> String {
        Task { pattern: "web:!h1", module, args }.playbook()
    }

    #[test]
    fn words_cannot_leave_their_place() {
        let text = playbook("command", "echo \"a\"\n- hosts: all");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.ends_with("- \"command\": \"echo \\\"a\\\"\\n- hosts: all\"\n"), "{text}");
    }

    #[test]
    fn json_objects_are_parameters() {
        assert!(playbook("apt", "{\"name\": [\"a\"]}").ends_with("- \"apt\": {\"name\":[\"a\"]}\n"));
        assert!(playbook("ping", "").ends_with("- \"ping\": \n"));
        assert!(playbook("debug", "{{ x }}").ends_with("- \"debug\": \"{{ x }}\"\n"));
    }

    #[test]
    fn wrong_modules_are_told_with_the_right_one() {
        assert!(known("ansible.builtin.ping").is_ok() && known("debug").is_ok());
        assert_eq!(known("pign").unwrap_err().hint.as_deref(), Some("did you mean `ping`?"));
        assert!(known("import_tasks").is_err());
    }
}
