//! `debark modules`: what tasks can do, and with which parameters.

use std::process::ExitCode;

use clap::Args;
use debark_modules::builtin::builtin_specs;
use debark_modules::param::Spec;
use debark_modules::{names, short_name};
use debark_playbook::diagnostic::did_you_mean;
use serde_json::Value;

use crate::exit;

mod default;
mod page;

use page::Page;

/// Lists the modules, or shows one module's parameters
///
/// Names may be written with or without their collection: `apt`, `ansible.builtin.apt`.
#[derive(Debug, Args)]
pub struct ModulesArgs {
    /// The module to describe
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print Markdown: docs/reference/modules.md is made by this
    #[arg(long)]
    markdown: bool,
}

/// Runs the command.
pub fn run(args: &ModulesArgs) -> ExitCode {
    let all = pages();
    let Some(name) = &args.name else {
        match (args.json, args.markdown) {
            (true, _) => print_json(&Value::from(all.iter().map(Page::json).collect::<Vec<_>>())),
            (_, true) => anstream::print!("{}", page::markdown(&all)),
            _ => anstream::print!("{}", list(&all)),
        }
        return ExitCode::SUCCESS;
    };
    let short = short_name(name);
    let Some(page) = all.iter().find(|page| page.short == short || page.aliases.contains(&short)) else {
        let known =
            all.iter().flat_map(|page| std::iter::once(page.short).chain(page.aliases.iter().copied()));
        let hint = did_you_mean(short, known).unwrap_or_else(|| "`debark modules` lists them".into());
        return exit::usage(&format!("there is no module `{name}`"), Some(&hint));
    };
    match (args.json, args.markdown) {
        (true, _) => print_json(&page.json()),
        (_, true) => anstream::print!("{}", page.markdown()),
        _ => anstream::print!("{}", page.text()),
    }
    ExitCode::SUCCESS
}

/// Modules and actions by name.
fn pages() -> Vec<Page> {
    let modules = names().map(|module| (module.spec, module.aliases));
    let actions = builtin_specs().map(|spec| (spec, &[] as &'static [&'static str]));
    let mut all: Vec<Page> = modules.chain(actions).map(|(spec, aliases)| page_of(spec, aliases)).collect();
    all.sort_by_key(|page| page.short);
    all.dedup_by_key(|page| page.short);
    all
}

fn page_of(spec: &'static Spec, aliases: &'static [&'static str]) -> Page {
    let short = short_name(spec.name);
    let aliases = aliases.iter().copied().filter(|alias| *alias != short).collect();
    Page { spec, short, aliases }
}

fn list(all: &[Page]) -> String {
    let width = all.iter().map(|page| page.short.len()).max().unwrap_or(0);
    all.iter().map(|page| format!("{:width$}  {}\n", page.short, page.summary())).collect()
}

fn print_json(value: &Value) {
    // Alternate form is the pretty one.
    anstream::println!("{value:#}");
}
