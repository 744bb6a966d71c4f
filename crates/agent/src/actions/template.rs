//! `template`: rendered here, where facts and registers are; written by the module.

use std::sync::Arc;

use debark_expr::{ErrorKind, LayerKind, TemplateOptions};
use debark_value::{Value, map};
use debark_wire::{Place, TreeKind};

use super::Call;
use crate::task::Done;

/// Renders the source and passes the text on to the module.
pub fn template(call: &Call) -> Option<Done> {
    if let Some(reason) = call.args.values().find_map(Value::unknown) {
        return Some(Done::unknown(reason));
    }
    Some(match render(call) {
        Ok(Rendered::Text(text, mode)) => {
            let mut args = call.args.clone();
            args.insert("_content".into(), Value::from(text));
            if call.text("mode").as_deref() == Some("preserve") {
                args.insert("mode".into(), format!("{mode:04o}").into());
            }
            call.dispatch("template", args)
        }
        Ok(Rendered::Unknown(reason)) => Done::unknown(&reason),
        Err((why, hint)) => Done::failed(why, hint),
    })
}

enum Rendered {
    Text(String, u32),
    Unknown(Arc<str>),
}

fn render(call: &Call) -> Result<Rendered, (String, Option<String>)> {
    let plain = |why: String| (why, None);
    let src = call.text("src").ok_or_else(|| plain("template needs the parameter `src`".into()))?;
    let remote = &call.running.on.remote;
    let (source, tree) = remote.text(&src, Place::Templates).map_err(plain)?;
    let mode =
        tree.entries.first().filter(|e| matches!(e.kind, TreeKind::File { .. })).map_or(0o644, |e| e.mode);
    let options = options(call).map_err(plain)?;
    let mut scope = call.scope.clone();
    // No user, host or time: they would make every run differ from the last.
    scope.push(
        Arc::new(map! {
            "ansible_managed" => "Ansible managed",
            "template_path" => tree.path.as_str(),
            "template_fullpath" => tree.path.as_str(),
            "template_destpath" => call.text("dest").unwrap_or_default(),
            "template_host" => "controller",
        }),
        LayerKind::Plain,
    );
    if let Some((value, LayerKind::Templated)) = call.scope.get_raw("ansible_managed") {
        scope.push(Arc::new(map! { "ansible_managed" => value.clone() }), LayerKind::Templated);
    }
    let engine = &call.running.on.engine;
    let tera = debark_expr::is_tera(&tree.name);
    let rendered = match tera {
        true => engine.render_tera(&src, &source, &scope),
        false => engine.render_template(&source, &options, &scope),
    };
    match rendered {
        Ok(text) => Ok(Rendered::Text(text, mode)),
        Err(error) => match error.kind() {
            ErrorKind::Unknown { reason } => Ok(Rendered::Unknown(reason.clone())),
            _ => {
                if tera {
                    return Err((error.to_string(), error.hint().map(str::to_owned)));
                }
                let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
                Err((format!("{src}{line}: {error}"), error.hint().map(str::to_owned)))
            }
        },
    }
}

fn options(call: &Call) -> Result<TemplateOptions, String> {
    let mut options = TemplateOptions::default();
    options.trim_blocks = call.flag("trim_blocks", options.trim_blocks)?;
    options.lstrip_blocks = call.flag("lstrip_blocks", options.lstrip_blocks)?;
    let texts = [
        ("block_start_string", &mut options.block_start),
        ("block_end_string", &mut options.block_end),
        ("variable_start_string", &mut options.variable_start),
        ("variable_end_string", &mut options.variable_end),
        ("comment_start_string", &mut options.comment_start),
        ("comment_end_string", &mut options.comment_end),
    ];
    for (name, option) in texts {
        if let Some(text) = call.text(name) {
            *option = text;
        }
    }
    if let Some(text) = call.text("newline_sequence") {
        options.newline_sequence = text.replace("\\r", "\r").replace("\\n", "\n");
    }
    Ok(options)
}
