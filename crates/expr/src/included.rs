//! The lookup `template`: another file, rendered with the variables of the task.

use std::sync::Arc;

use debark_value::{Map, Value};

use crate::engine::{TemplateOptions, normalize, safe_eval};
use crate::error::{Error, ErrorKind, Res};
use crate::eval::{Args, Ctx};
use crate::exec::Out;
use crate::ops;
use crate::syntax::parse_template;
use crate::value::{Frame, V};

/// Renders each of the files.
pub(crate) fn templates(ctx: &mut Ctx<'_>, terms: &[Value], args: &Args) -> Res<Value> {
    let flag = |name: &str, default: bool| -> Res<bool> {
        Ok(args.value(usize::MAX, name)?.map_or(default, |value| value.to_bool().unwrap_or(value.truthy())))
    };
    let mut options = TemplateOptions { trim_blocks: flag("trim_blocks", true)?, ..Default::default() };
    options.lstrip_blocks = flag("lstrip_blocks", false)?;
    for (name, place) in [
        ("variable_start_string", &mut options.variable_start),
        ("variable_end_string", &mut options.variable_end),
        ("comment_start_string", &mut options.comment_start),
        ("comment_end_string", &mut options.comment_end),
    ] {
        if let Some(mark) = args.text(usize::MAX, name)? {
            *place = mark.to_string();
        }
    }
    let convert = flag("convert_data", true)?;
    let mut own = Frame::new();
    if let Some(vars) = args.value(usize::MAX, "template_vars")? {
        own.extend(ops::as_map(&vars)?.iter().map(|(name, value)| (name.clone(), V::Data(value.clone()))));
    }
    let mut results = Vec::with_capacity(terms.len());
    for term in terms {
        let path = ops::text(term)?;
        let text = template(ctx, &path, &options, own.clone())
            .map_err(|error| error.about(&format!("template '{path}'")))?;
        results.push(match safe_eval(&text).filter(|_| convert) {
            Some(value) => value,
            None => Value::from(text),
        });
    }
    Ok(Value::from(results))
}

fn template(ctx: &mut Ctx<'_>, path: &str, options: &TemplateOptions, own: Frame) -> Res<String> {
    let source = ctx.engine.services().file(path).map_err(|reason| Error::new(ErrorKind::Lookup, reason))?;
    if crate::tera::is_tera(path) {
        let mut scope = ctx.scope.clone();
        let own: Map =
            own.iter().map(|(name, value)| Ok((name.clone(), value.to_value()?))).collect::<Res<_>>()?;
        scope.push(Arc::new(own), crate::scope::LayerKind::Plain);
        return ctx.engine.render_tera(path, &source, &scope);
    }
    let (options, body) = options.header(&source)?;
    let normal = normalize(body);
    let parsed = Arc::new(parse_template(normal.strip_suffix('\n').unwrap_or(&normal), &options)?);
    // It sees variables, not what the template around it has set.
    let frames = std::mem::replace(&mut ctx.frames, vec![own]);
    let base = std::mem::take(&mut ctx.base);
    let blocks = std::mem::take(&mut ctx.blocks);
    let mut out = Out::default();
    let result = ctx.within(parsed, |ctx| ctx.run_template(&mut out));
    (ctx.frames, ctx.base, ctx.blocks) = (frames, base, blocks);
    result?;
    if options.keep_trailing_newline { out.into_file(&normal) } else { out.into_text() }
}
