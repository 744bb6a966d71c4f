//! How templates reach each other: include, import, extends, blocks.

use std::sync::{Arc, OnceLock};

use debark_value::Value;

use crate::error::{Error, ErrorKind, Res};
use crate::eval::Ctx;
use crate::exec::Out;
use crate::ops;
use crate::syntax::ast::{Expr, Stmt, Template};
use crate::value::{Module, Thing, V};

impl Ctx<'_> {
    /// The template that an include, import or extends names.
    fn load(&mut self, name: &Expr, ignore_missing: bool) -> Res<Option<Arc<Template>>> {
        let value = self.eval(name)?;
        value.usable()?;
        let candidates = match self.force(value)? {
            Value::List(items) => items.to_vec(),
            other => vec![other],
        };
        let mut failure = None;
        for candidate in &candidates {
            let path = ops::text(candidate)?;
            match self.engine.services().file(&path) {
                Ok(source) => {
                    let template = self
                        .engine
                        .parse_file(&source)
                        .map_err(|error| Error::from(error).about(&format!("template '{path}'")))?;
                    return Ok(Some(template));
                }
                Err(reason) => failure = failure.or(Some(reason)),
            }
        }
        match failure {
            Some(reason) if !ignore_missing => {
                Err(self.locate(Error::new(ErrorKind::Lookup, reason), name.at))
            }
            _ => Ok(None),
        }
    }

    /// Runs another template within this rendering.
    pub(crate) fn within<T>(
        &mut self,
        template: Arc<Template>,
        run: impl FnOnce(&mut Self) -> Res<T>,
    ) -> Res<T> {
        let outer = std::mem::replace(&mut self.template, template);
        let result = self.deeper(|ctx| ctx.deeper(run));
        self.template = outer;
        result
    }

    pub(crate) fn include(&mut self, name: &Expr, ignore_missing: bool, out: &mut Out) -> Res<()> {
        let Some(template) = self.load(name, ignore_missing)? else { return Ok(()) };
        let blocks = std::mem::take(&mut self.blocks);
        self.frames.push(Vec::new());
        let mut inner = Out::default();
        let result = self.within(template, |ctx| ctx.run_template(&mut inner));
        self.frames.pop();
        self.blocks = blocks;
        result?;
        out.data(&inner.into_text()?)
    }

    pub(crate) fn import(&mut self, name: &Expr) -> Res<Arc<Module>> {
        let Some(template) = self.load(name, false)? else {
            return Err(Error::new(ErrorKind::Lookup, "the template to import was not found"));
        };
        let module = Arc::new(Module { frame: OnceLock::new() });
        self.modules.push(module.clone());
        let frames = std::mem::replace(&mut self.frames, vec![Vec::new()]);
        let base = std::mem::take(&mut self.base);
        let blocks = std::mem::take(&mut self.blocks);
        let mut inner = Out::default();
        let result = self.within(template, |ctx| ctx.run_template(&mut inner));
        let mut own = std::mem::replace(&mut self.frames, frames);
        (self.base, self.blocks) = (base, blocks);
        result?;
        let frame = own.drain(..).next().unwrap_or_default();
        // The cell was created above and filled nowhere else.
        let _ = module.frame.set(frame);
        Ok(module)
    }

    /// The module that is being imported, for the macros within it.
    pub(crate) fn importing(&self) -> Option<std::sync::Weak<Module>> {
        self.modules.iter().rev().find(|module| module.frame.get().is_none()).map(Arc::downgrade)
    }

    pub(crate) fn extends(&mut self, name: &Expr, out: &mut Out) -> Res<()> {
        if out.muted {
            return Err(self.locate(Error::kind_of("a template extends only one other"), name.at));
        }
        let Some(parent) = self.load(name, false)? else { return Ok(()) };
        // What the child sets after `extends` must be known to its blocks, which the parent runs.
        let template = self.template.clone();
        let mut silent = Out { muted: true, ..Out::default() };
        let rest =
            template.body.iter().skip_while(|statement| !matches!(statement, Stmt::Extends(_))).skip(1);
        for statement in rest {
            self.statement(statement, &mut silent)?;
        }
        self.within(parent, |ctx| ctx.run_template(out))?;
        out.muted = true;
        Ok(())
    }

    /// Puts out a block: that of the most derived template, or so many levels up.
    pub(crate) fn block(&mut self, name: &Arc<str>, level: usize, out: &mut Out) -> Res<()> {
        let chain = self.blocks.iter().find(|chain| chain.name == *name);
        let Some((block, template)) = chain.and_then(|chain| chain.levels.get(level)).cloned() else {
            return Err(Error::kind_of(format!("there is no parent block '{name}'")));
        };
        if block.required
            && block.body.iter().all(|statement| matches!(statement, Stmt::Data(_)))
            && level == 0
        {
            return Err(Error::kind_of(format!("the required block '{name}' is not filled")));
        }
        let parent = V::thing(Thing::Super(name.clone(), level + 1));
        self.within(template, |ctx| ctx.scoped(vec![(Arc::from("super"), parent)], &block.body, out))
            .map(|_| ())
    }
}
