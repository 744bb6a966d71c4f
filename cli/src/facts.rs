//! `debark facts`: what is known of hosts.

use std::process::ExitCode;
use std::sync::Arc;

use debark_controller::Monitor;
use debark_playbook::SourceMap;
use serde_json::json;

use crate::common::{Common, refused};
use crate::drive::drive;
use crate::exec::Task;
use crate::render::{self, Facts};
use crate::signals::Signals;

/// Shows the facts of hosts as JSON
///
/// One object: names of hosts, and their facts. Hosts that cannot be reached are told on standard error.
#[derive(clap::Args)]
pub struct FactsArgs {
    /// The hosts: names, groups, patterns as in `hosts`
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Only facts with such names: `ansible_distribution*` (may be given several times)
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    filter: Vec<String>,
    /// Only facts of these kinds: `network`, `!hardware`, ... (may be given several times)
    #[arg(long = "subset", value_name = "SUBSET", value_delimiter = ',', allow_hyphen_values = true)]
    subsets: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub fn run(args: &FactsArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    let mut parameters = serde_json::Map::new();
    if !args.filter.is_empty() {
        parameters.insert("filter".into(), json!(args.filter));
    }
    if !args.subsets.is_empty() {
        parameters.insert("gather_subset".into(), json!(args.subsets));
    }
    let parameters = serde_json::Value::from(parameters).to_string();
    let task = Task { pattern: &args.pattern, module: "setup", args: &parameters };
    match task.prepared(&args.common, &sources) {
        Ok(site) => {
            let monitor: Box<dyn Monitor> =
                if args.common.json { render::json() } else { Box::new(Facts::default()) };
            drive(site, monitor, &signals)
        }
        Err(errors) => refused(&errors, &sources, &signals),
    }
}
