//! Runs the statements of a template.

use std::sync::{Arc, Mutex, PoisonError};

use debark_value::Value;
use indexmap::IndexMap;

use crate::engine::safe_eval;
use crate::error::{Error, ErrorKind, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::syntax::ast::{Block, Expr, For, Kind, Stmt, Target, Template};
use crate::value::{Frame, Loop, MacroThing, Thing, V};

/// A block with what overrides it, the most derived first.
pub(crate) struct BlockChain {
    pub name: Arc<str>,
    pub levels: Vec<(Arc<Block>, Arc<Template>)>,
}

/// How a statement ended.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flow {
    Next,
    Break,
    Continue,
}

/// What a template puts out. The value of a template that puts out one expression and nothing else is kept.
#[derive(Default)]
pub(crate) struct Out {
    pub text: String,
    pub single: Option<V>,
    /// Whether anything but one expression was put out.
    pub mixed: bool,
    /// Set once `{% extends %}` was met: what follows is not put out.
    pub muted: bool,
}

/// The text of a value within a larger text: nothing for `none`, as Ansible's finalizer does.
fn emitted(value: &V) -> Res<String> {
    match value {
        V::Data(Value::Null | Value::Omit) => Ok(String::new()),
        V::Data(Value::Str(text)) => Ok(text.to_string()),
        // Within a text a tuple is a list.
        V::Seq(_) | V::Tuple(_) => crate::ops::text(&value.to_value()?),
        other => other.to_text().map(|text| text.to_string()),
    }
}

impl Out {
    fn flush(&mut self) -> Res<()> {
        if let Some(single) = self.single.take() {
            self.text.push_str(&emitted(&single)?);
        }
        self.mixed = true;
        Ok(())
    }

    pub(crate) fn data(&mut self, text: &str) -> Res<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.flush()?;
        self.text.push_str(text);
        Ok(())
    }

    fn emit(&mut self, value: V) -> Res<()> {
        if !self.mixed && self.single.is_none() {
            self.single = Some(value);
            return Ok(());
        }
        self.flush()?;
        self.text.push_str(&emitted(&value)?);
        Ok(())
    }

    /// The text, with the newlines that `source` ends with. What put out nothing, or one thing that is no text, gets
    /// none: ansible-core 2.19 restores them to text alone.
    pub fn into_file(self, source: &str) -> Res<String> {
        let is_text = match &self.single {
            Some(single) => matches!(single, V::Data(Value::Str(_))),
            None => self.mixed || source == "\n",
        };
        let text = self.into_text()?;
        Ok(if is_text { restore_newlines(source, text) } else { text })
    }

    pub fn into_text(mut self) -> Res<String> {
        if let Some(reason) = self.single.as_ref().and_then(V::unknown) {
            return Err(Error::unknown(reason));
        }
        self.flush()?;
        Ok(self.text)
    }
}

impl Ctx<'_> {
    /// Runs the current template and keeps the type of its result, as ansible-core 2.19 does; a longer result that
    /// reads as a list or dictionary becomes one, as it did until 2.18.
    pub(crate) fn native(&mut self, source: &str) -> Res<V> {
        let mut out = Out::default();
        self.run_template(&mut out)?;
        if let Some(single) = out.single.take() {
            if let V::Data(Value::Str(text)) = &single {
                return Ok(V::from(restore_newlines(source, text.to_string())));
            }
            return Ok(single);
        }
        if !out.mixed && source != "\n" {
            return Ok(V::from(""));
        }
        Ok(match safe_eval(&out.text) {
            Some(value) => V::Data(value),
            None => V::from(restore_newlines(source, out.text)),
        })
    }

    /// Runs the current template, its parents included.
    pub(crate) fn run_template(&mut self, out: &mut Out) -> Res<()> {
        let template = self.template.clone();
        self.add_blocks(&template);
        self.body(&template.body, out)?;
        Ok(())
    }

    fn add_blocks(&mut self, template: &Arc<Template>) {
        for block in &template.blocks {
            let level = (block.clone(), template.clone());
            match self.blocks.iter_mut().find(|chain| chain.name == block.name) {
                Some(chain) => chain.levels.push(level),
                None => self.blocks.push(BlockChain { name: block.name.clone(), levels: vec![level] }),
            }
        }
    }

    pub(crate) fn body(&mut self, body: &[Stmt], out: &mut Out) -> Res<Flow> {
        for statement in body {
            self.burn(1)?;
            let flow = self.statement(statement, out)?;
            if out.text.len() > ops::LARGEST {
                return Err(ops::too_large());
            }
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// Runs a body with a frame of its own.
    pub(crate) fn scoped(&mut self, frame: Frame, body: &[Stmt], out: &mut Out) -> Res<Flow> {
        self.frames.push(frame);
        let result = self.deeper(|ctx| ctx.body(body, out));
        self.frames.pop();
        result
    }

    pub(crate) fn statement(&mut self, statement: &Stmt, out: &mut Out) -> Res<Flow> {
        match statement {
            Stmt::Data(text) => {
                if !out.muted {
                    self.burn(text.len() / 64)?;
                    out.data(text)?;
                }
            }
            Stmt::Emit(expr) => {
                if !out.muted {
                    let value = self.eval(expr)?;
                    self.emit(value, out).map_err(|error| self.locate(error, expr.at))?;
                }
            }
            Stmt::If(branches, otherwise) => {
                for (test, body) in branches {
                    let value = self.eval(test)?;
                    if self.truthy(&value).map_err(|error| self.locate(error, test.at))? {
                        return self.deeper(|ctx| ctx.body(body, out));
                    }
                }
                return self.deeper(|ctx| ctx.body(otherwise, out));
            }
            Stmt::For(node) => self.for_loop(node, out)?,
            Stmt::Set(target, expr) => {
                let value = self.eval(expr)?;
                let value = self.settle(value)?;
                self.assign(target, value).map_err(|error| self.locate(error, expr.at))?;
            }
            Stmt::SetBlock(target, filter, body) => {
                let mut inner = Out::default();
                self.scoped(Vec::new(), body, &mut inner)?;
                let mut value = V::from(inner.into_text()?);
                if let Some(filter) = filter {
                    value = self.filter_chain(filter, value)?;
                }
                self.assign(target, value)?;
            }
            Stmt::Macro(def) => {
                let makro = MacroThing {
                    def: def.clone(),
                    template: self.template.clone(),
                    module: self.importing(),
                    frames: None,
                };
                self.assign(&Target::Name(def.name.clone()), V::thing(Thing::Macro(makro)))?;
            }
            Stmt::CallBlock(def, call) => {
                let caller = V::thing(Thing::Macro(MacroThing {
                    def: def.clone(),
                    template: self.template.clone(),
                    module: None,
                    frames: Some(self.frames.clone()),
                }));
                let value = self.call_with_caller(call, caller)?;
                self.emit(value, out)?;
            }
            Stmt::FilterBlock(filter, body) => {
                let mut inner = Out::default();
                self.scoped(Vec::new(), body, &mut inner)?;
                let value = self.filter_chain(filter, V::from(inner.into_text()?))?;
                self.emit(value, out)?;
            }
            Stmt::With(values, body) => {
                let mut frame = Vec::new();
                for (target, expr) in values {
                    let value = self.eval(expr)?;
                    let value = self.settle(value)?;
                    self.unpack(target, value, &mut frame)?;
                }
                return self.scoped(frame, body, out);
            }
            Stmt::Scoped(body) => return self.scoped(Vec::new(), body, out),
            Stmt::Do(expr) => {
                let value = self.eval(expr)?;
                value.usable().map_err(|error| self.locate(error, expr.at))?;
            }
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
            Stmt::Include { name, ignore_missing } => self.include(name, *ignore_missing, out)?,
            Stmt::Import { name, target } => {
                let module = self.import(name)?;
                self.assign(&Target::Name(target.clone()), V::thing(Thing::Module(module)))?;
            }
            Stmt::FromImport { name, names } => {
                let module = self.import(name)?;
                for (wanted, target) in names {
                    let found =
                        module.frame.get().and_then(|frame| frame.iter().rev().find(|(n, _)| n == wanted));
                    let value = found.map_or_else(|| V::undef(&**wanted), |(_, value)| value.clone());
                    self.assign(&Target::Name(target.clone()), value)?;
                }
            }
            Stmt::Extends(name) => self.extends(name, out)?,
            Stmt::Block(block) => {
                if !out.muted {
                    self.block(&block.name, 0, out)?;
                }
            }
        }
        Ok(Flow::Next)
    }

    fn emit(&mut self, value: V, out: &mut Out) -> Res<()> {
        if let V::Undef(undef) = &value {
            return if undef.soft { out.emit(V::from("")) } else { Err(undef.error()) };
        }
        let value = self.settle(value)?;
        let value = match value {
            V::Thing(_) => V::Data(value.to_value()?),
            other => other,
        };
        if let V::Data(Value::Str(text)) = &value {
            self.produced = self.produced.saturating_add(text.len());
            if self.produced > 4 * ops::LARGEST {
                return Err(ops::too_large());
            }
        }
        out.emit(value)
    }

    fn filter_chain(&mut self, filter: &Expr, value: V) -> Res<V> {
        let Kind::Filter(input, name, args) = &filter.kind else {
            return Err(Error::new(ErrorKind::Syntax, "a filter is missing"));
        };
        let value = match input {
            Some(inner) => self.filter_chain(inner, value)?,
            None => value,
        };
        let args = self.args(args)?;
        self.filter(name, value, args).map_err(|error| self.locate(error, filter.at))
    }

    fn for_loop(&mut self, node: &Arc<For>, out: &mut Out) -> Res<()> {
        let items = self.eval(&node.iter)?;
        let items = self.iterate(items).map_err(|error| self.locate(error, node.iter.at))?;
        self.run_loop(node, items, 0, out)
    }

    pub(crate) fn run_loop(
        &mut self,
        node: &Arc<For>,
        mut items: Vec<V>,
        depth: usize,
        out: &mut Out,
    ) -> Res<()> {
        if let Some(filter) = &node.filter {
            let mut kept = Vec::new();
            for item in items {
                let mut frame = Vec::new();
                self.unpack(&node.target, item.clone(), &mut frame)?;
                self.frames.push(frame);
                let keep = self.eval(filter).and_then(|value| self.truthy(&value));
                self.frames.pop();
                if keep? {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            self.scoped(Vec::new(), &node.otherwise, out)?;
            return Ok(());
        }
        let items = Arc::new(items);
        let last_seen = Arc::new(Mutex::new(None));
        for (index, item) in items.iter().enumerate() {
            let state =
                Loop { index, items: items.clone(), depth, node: node.clone(), last_seen: last_seen.clone() };
            let mut frame = vec![(Arc::from("loop"), V::thing(Thing::Loop(state)))];
            self.unpack(&node.target, item.clone(), &mut frame)
                .map_err(|error| self.locate(error, node.iter.at))?;
            if self.scoped(frame, &node.body, out)? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    /// Assigns the parts of a value to the names of a target.
    fn unpack(&mut self, target: &Target, value: V, frame: &mut Frame) -> Res<()> {
        match target {
            Target::Name(name) => {
                match frame.iter_mut().find(|(known, _)| known == name) {
                    Some((_, slot)) => *slot = value,
                    None => frame.push((name.clone(), value)),
                }
                Ok(())
            }
            Target::Attr(..) => Err(Error::kind_of("only 'set' can assign to an attribute")),
            Target::Tuple(targets) => {
                let items = self.iterate(value)?;
                if items.len() != targets.len() {
                    return Err(Error::kind_of(format!(
                        "{} names cannot take {} values",
                        targets.len(),
                        items.len()
                    )));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.unpack(target, item, frame)?;
                }
                Ok(())
            }
        }
    }

    fn assign(&mut self, target: &Target, value: V) -> Res<()> {
        if let Target::Attr(object, name) = target {
            if value.to_value().is_ok_and(|value| !ops::shallow(&value)) {
                return Err(ops::too_deep());
            }
            let holder = self.name(object)?;
            let V::Thing(thing) = &holder else {
                return Err(Error::kind_of(format!(
                    "'{object}' is not a namespace, so '{name}' cannot be set in it"
                ))
                .hinted(format!("create it with '{{% set {object} = namespace() %}}'")));
            };
            let Thing::Namespace(entries) = &**thing else {
                return Err(Error::kind_of(format!("'{object}' is not a namespace")));
            };
            entries.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), value);
            return Ok(());
        }
        if let (Target::Tuple(targets), V::Tuple(_) | V::Seq(_) | V::Data(_)) = (target, &value)
            && targets.iter().any(|target| matches!(target, Target::Attr(..)))
        {
            let items = self.iterate(value)?;
            for (target, item) in targets.iter().zip(items) {
                self.assign(target, item)?;
            }
            return Ok(());
        }
        let mut frame = self.frames.pop().unwrap_or_default();
        let result = self.unpack(target, value, &mut frame);
        self.frames.push(frame);
        result
    }

    /// Calls a macro.
    pub(crate) fn call_macro(&mut self, makro: &MacroThing, args: Args, caller: Option<V>) -> Res<V> {
        let def = &makro.def;
        let mut args = args;
        let caller = caller.or_else(|| {
            args.kw.iter().position(|(name, _)| &**name == "caller").map(|at| args.kw.remove(at).1)
        });
        let mut frame: Frame = Vec::with_capacity(def.args.len() + 3);
        let extra = args.pos.split_off(def.args.len().min(args.pos.len()));
        let given = args.pos.len();
        for ((name, _), value) in def.args.iter().zip(args.pos) {
            frame.push((name.clone(), value));
        }
        let mut named: IndexMap<Arc<str>, V> = args.kw.into_iter().collect();
        let frames = match (&makro.frames, &makro.module) {
            (Some(frames), _) => Some(std::mem::replace(&mut self.frames, frames.clone())),
            (None, Some(module)) => {
                let own = module.upgrade().and_then(|module| module.frame.get().cloned());
                own.map(|own| std::mem::replace(&mut self.frames, vec![own]))
            }
            _ => None,
        };
        let base = self.base;
        if makro.frames.is_none() {
            self.base = self.frames.len();
        }
        self.frames.push(frame);
        let result = self.within(makro.template.clone(), |ctx| {
            for (name, default) in def.args.iter().skip(given) {
                let value = match (named.shift_remove(name), default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => ctx.eval(default)?,
                    (None, None) => V::undef(&**name),
                };
                ctx.set_local(name.clone(), value);
            }
            if let Some(caller) = caller {
                ctx.set_local("caller".into(), caller);
            }
            ctx.set_local("varargs".into(), V::tuple(extra));
            let rest: Res<debark_value::Map> =
                named.iter().map(|(name, value)| Ok((name.clone(), value.to_value()?))).collect();
            ctx.set_local("kwargs".into(), V::from(rest?));
            let mut out = Out::default();
            ctx.body(&def.body, &mut out)?;
            out.into_text()
        });
        self.frames.pop();
        self.base = base;
        if let Some(frames) = frames {
            self.frames = frames;
        }
        result.map(V::from)
    }

    fn set_local(&mut self, name: Arc<str>, value: V) {
        if let Some(frame) = self.frames.last_mut() {
            frame.push((name, value));
        }
    }
}

/// Jinja2 drops the last newline of a template; Ansible puts back those the source ended with.
pub(crate) fn restore_newlines(source: &str, mut result: String) -> String {
    let count = |text: &str| text.len() - text.trim_end_matches('\n').len();
    let missing = count(source).saturating_sub(count(&result));
    result.push_str(&"\n".repeat(missing));
    result
}

impl Loop {
    /// `loop.name`
    pub(crate) fn attribute(&self, name: &str) -> V {
        let (index, length) = (self.index as i64, self.items.len() as i64);
        match name {
            "index" => V::from(index + 1),
            "index0" => V::from(index),
            "revindex" => V::from(length - index),
            "revindex0" => V::from(length - index - 1),
            "first" => V::from(index == 0),
            "last" => V::from(index + 1 == length),
            "length" => V::from(length),
            "depth" => V::from(self.depth as i64 + 1),
            "depth0" => V::from(self.depth as i64),
            "previtem" => match self.index.checked_sub(1).and_then(|at| self.items.get(at)) {
                Some(item) => item.clone(),
                None => V::undef("loop.previtem"),
            },
            "nextitem" => match self.items.get(self.index + 1) {
                Some(item) => item.clone(),
                None => V::undef("loop.nextitem"),
            },
            other => V::undef(format!("loop.{other}")),
        }
    }
}
