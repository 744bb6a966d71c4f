//! What apt-get would do: `apt-get --simulate` takes no lock and changes nothing.

use std::time::Duration;

use super::{Params, get};
use crate::{Diff, Failure, Host};
use debark_value::Order;

/// One package that would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

pub(super) struct Simulated {
    pub(super) steps: Vec<Step>,
    /// Packages that are only configured count as a change as well.
    configures: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Simulated {
    pub(super) fn changes(&self) -> bool {
        !self.steps.is_empty() || self.configures
    }
}

/// Asks apt-get.
pub(super) fn run(params: &Params, words: &[String], host: &Host) -> Result<Simulated, Failure> {
    let cmd = get::command(params, words).timeout(Duration::from_secs(300));
    let mut cmd = cmd;
    // Behind the subcommand's own `--`, an option would be a name.
    cmd.argv.insert(1, "--simulate".into());
    let output = host.exec(&cmd)?;
    if output.rc != 0 {
        return Err(get::failure(words, &output, host).with(output.result()));
    }
    let stdout = output.out();
    let steps = steps(&stdout);
    let configures = stdout.lines().any(|line| line.starts_with("Conf "));
    Ok(Simulated { steps, configures, stderr: output.err(), stdout })
}

/// Reads `Inst name [old] (new archive [arch])`, `Remv name [old]`, `Purg name [old]` and `Del name version [size]`.
pub(super) fn steps(stdout: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in stdout.lines() {
        let mut words = line.split(' ');
        let (Some(verb), Some(name)) = (words.next(), words.next()) else { continue };
        let rest: Vec<&str> = words.collect();
        let bracketed =
            rest.first().and_then(|word| word.strip_prefix('[')?.strip_suffix(']')).map(str::to_owned);
        let name = name.to_owned();
        match verb {
            "Inst" => {
                let after = rest.iter().find_map(|word| word.strip_prefix('(')).map(str::to_owned);
                steps.push(Step { name, before: bracketed, after });
            }
            "Remv" | "Purg" => steps.push(Step { name, before: bracketed, after: None }),
            "Del" => {
                let before = rest.first().map(|version| (*version).to_owned());
                steps.push(Step { name: format!("{name} (package file)"), before, after: None });
            }
            _ => {}
        }
    }
    steps
}

/// The steps as a list of packages before and after.
pub(super) fn diff(steps: &[Step]) -> Vec<Diff> {
    if steps.is_empty() {
        return Vec::new();
    }
    let mut sorted: Vec<&Step> = steps.iter().collect();
    sorted.order_by(|a, b| a.name.cmp(&b.name));
    let text = |version: &dyn Fn(&Step) -> Option<String>| {
        let lines = sorted.iter().filter_map(|step| Some(format!("{} {}\n", step.name, version(step)?)));
        lines.collect::<String>()
    };
    let before = text(&|step| step.before.clone());
    let after = text(&|step| step.after.clone());
    vec![Diff::text("packages", before, after)]
}
