//! Playbooks: their plays, and the playbooks that they import.

use std::path::{Path, PathBuf};

use debark_value::Map;
use debark_wire as wire;

use super::context::Ctx;
use super::{Compiled, CompiledPlay, Compiler, collection, syntax};
use crate::diagnostic::Diagnostic;
use crate::keywords::{self, on};
use crate::source::Span;
use crate::yaml::{self, Node};

/// Playbooks within playbooks.
const MAX_CHAIN: usize = 32;

/// What an `import_playbook` gives to the plays it brings.
#[derive(Clone, Default)]
pub(super) struct Around {
    pub(super) vars: Map,
    pub(super) tags: Vec<String>,
    pub(super) when: Vec<Node>,
    chain: Vec<(PathBuf, Span)>,
}

/// Everything that compiling several playbooks yields.
struct Run<'a> {
    compiler: &'a Compiler,
    plays: Vec<CompiledPlay>,
    diagnostics: Vec<Diagnostic>,
}

/// Compiles playbooks, one after the other.
pub(super) fn compile(compiler: &Compiler, paths: &[PathBuf]) -> Result<Compiled, Vec<Diagnostic>> {
    let mut run = Run { compiler, plays: Vec::new(), diagnostics: Vec::new() };
    for path in paths {
        run.playbook(path, None, &Around::default());
    }
    let (errors, warnings): (Vec<_>, Vec<_>) = run.diagnostics.into_iter().partition(Diagnostic::is_error);
    if !errors.is_empty() {
        return Err(errors.into_iter().chain(warnings).collect());
    }
    let mut compiled = Compiled { plays: run.plays, warnings };
    remember_facts(&mut compiled.plays);
    if let Some(name) = &compiler.options.start_at_task {
        super::start::start_at(&mut compiled, name).map_err(|error| vec![error])?;
    }
    Ok(compiled)
}

/// Facts last over plays: what a later play mentions and does not gather itself, the earlier ones gather for it.
fn remember_facts(plays: &mut [CompiledPlay]) {
    let mut later: Option<Vec<String>> = Some(Vec::new());
    let mut shared = false;
    for play in plays.iter_mut().rev() {
        let play = &mut play.play;
        let (own, own_shared, gathers) = (play.gather.mentions.clone(), play.share_vars, play.gather.enabled);
        play.gather.mentions = own.clone().zip(later.clone()).map(|(mut own, more)| {
            own.extend(more);
            own.sort_unstable();
            own.dedup();
            own
        });
        play.share_vars |= shared;
        if !gathers || own_shared {
            later = play.gather.mentions.clone();
        }
        shared |= own_shared;
    }
}

impl Run<'_> {
    fn playbook(&mut self, path: &Path, from: Option<Span>, around: &Around) {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(span) = from
            && (around.chain.len() >= MAX_CHAIN || around.chain.iter().any(|(other, _)| *other == canonical))
        {
            let mut error = Diagnostic::error(format!("{} imports itself", path.display())).at(span);
            for (_, via) in around.chain.iter().skip(1).take(5) {
                error = error.related(*via, "by way of this");
            }
            self.diagnostics.push(error);
            return;
        }
        let loaded = yaml::load(self.compiler.sources(), path, &*self.compiler.vault)
            .and_then(|(file, parsed)| parsed.single().map(|single| (file, single)));
        let (file, node) = match loaded {
            Ok((file, (node, warnings))) => {
                self.diagnostics.extend(warnings);
                (file, node)
            }
            Err(error) => {
                self.diagnostics.push(match from {
                    Some(span) => error.or_at(span),
                    None => error,
                });
                return;
            }
        };
        let Some(node) = node.filter(|node| !node.is_null()) else {
            let error = Diagnostic::error(format!("{} holds no plays", path.display()));
            self.diagnostics.push(error.hint("a playbook begins with `- hosts: ...`"));
            return;
        };
        let Some(items) = node.as_seq() else {
            self.diagnostics.push(
                Diagnostic::error(format!("a playbook is a list of plays, got {}", node.describe()))
                    .at(node.span)
                    .hint("each play begins with `- `: `- hosts: ...`"),
            );
            return;
        };
        let mut around = around.clone();
        around.chain.push((canonical, from.unwrap_or(Span::start_of(file))));
        let directory = crate::source::directory_of(path);
        for item in items {
            match item.as_map() {
                Some(entries) if entries.iter().any(|(key, _)| is_import(&key.name)) => {
                    self.import(item, &directory, &around);
                }
                Some(_) => {
                    let play = self.play(item, &directory, &around);
                    self.plays.push(play);
                }
                None => self.diagnostics.push(
                    Diagnostic::error(format!("a play is a mapping, got {}", item.describe()))
                        .at(item.span)
                        .hint("write `- hosts: ...`"),
                ),
            }
        }
    }

    fn import(&mut self, node: &Node, directory: &Path, around: &Around) {
        let mut ctx = Ctx::new(self.compiler, directory, wire::Next::default());
        let entries = node.as_map().unwrap_or_default();
        let mut inner = around.clone();
        let mut target = None;
        for (key, value) in entries {
            match &*key.name {
                name if is_import(name) => target = Some(value),
                "vars" => inner.vars.extend(ctx.vars(value)),
                "tags" => inner.tags.extend(ctx.tags(value)),
                "when" => {
                    drop(ctx.conditions(value));
                    inner.when.extend(value.as_seq().unwrap_or(std::slice::from_ref(value)).iter().cloned());
                }
                _ if keywords::find(&key.name, on::IMPORT).is_some() => {}
                _ => ctx.unknown_key("`import_playbook`", key, on::IMPORT),
            }
        }
        let mut known = inner.vars.clone();
        known.extend(self.compiler.options.extra_vars.clone());
        let target = target.and_then(|value| match value.as_str() {
            Some(text) => match syntax::render_static(text.trim(), &known) {
                Some(name) => Some((name, value.span)),
                None => {
                    ctx.error(value.span, format!("the name `{text}` is not known before the run"));
                    None
                }
            },
            None => {
                ctx.error(
                    value.span,
                    format!("`import_playbook` wants a file's name, got {}", value.describe()),
                );
                None
            }
        });
        self.diagnostics.append(&mut ctx.diagnostics);
        let Some((name, span)) = target else { return };
        let mut places = vec![directory.join(&name)];
        places.extend(collection::playbook_places(&name, self.compiler.collections()));
        match places.iter().find(|path| path.is_file()) {
            Some(path) => self.playbook(path, Some(span), &inner),
            None => {
                let tried: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
                self.diagnostics.push(
                    Diagnostic::error(format!("there is no playbook `{name}`"))
                        .at(span)
                        .hint(format!("looked for {}", tried.join(", "))),
                );
            }
        }
    }

    fn play(&mut self, node: &Node, directory: &Path, around: &Around) -> CompiledPlay {
        let mut ctx = Ctx::new(self.compiler, directory, wire::Next::default());
        let mut compiled = ctx.play(node, around);
        compiled.play.index = self.plays.len() as u32;
        self.diagnostics.append(&mut ctx.diagnostics);
        compiled
    }
}

fn is_import(name: &str) -> bool {
    debark_modules::short_name(name) == "import_playbook"
}
