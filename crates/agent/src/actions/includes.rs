//! `include_tasks` and `include_role`: the controller compiles, the tasks run in place.

use std::rc::Rc;
use std::sync::Arc;

use debark_value::{Map, Value, map};
use debark_wire::{Answer, Event, Included, Keywords, Next, Node, Request};

use super::{Call, ok};
use crate::context::{Context, merge};
use crate::task::Done;

/// Includes within includes beyond this are taken for a recursion that never ends.
const DEEPEST: u32 = 100;

/// `include_tasks`.
pub fn tasks(call: &Call) -> Result<Done, String> {
    let file = call.text("file").or_else(|| call.text("_raw_params")).ok_or("include_tasks needs a file")?;
    let apply = apply(call)?;
    let origin = call.running.on.remote.origin.borrow().clone();
    let place = call.running.play.borrow().place(call.doing.task);
    let from = place.rsplit_once(':').map_or(place.as_str(), |(file, _)| file).to_owned();
    let request = Request::IncludeTasks {
        file: file.clone(),
        role_path: origin.role_path,
        from,
        role: call.doing.context.role,
        tags: tags(call, &apply),
        handlers: call.doing.context.handler,
        next: next(call),
    };
    include(call, &file, request, apply, call.doing.task.keywords.vars.clone())
}

/// `include_role`.
pub fn role(call: &Call) -> Result<Done, String> {
    let name =
        call.text("name").or_else(|| call.text("role")).ok_or("include_role needs the parameter `name`")?;
    let apply = apply(call)?;
    let origin = call.running.on.remote.origin.borrow().clone();
    let mut options = call.args.clone();
    options.shift_remove("apply");
    let request = Request::IncludeRole {
        name: name.clone(),
        options,
        // Rendered where they are used; the loop's item is known only here, so it goes along as it is.
        vars: Map::new(),
        parent: call.doing.context.role,
        role_path: origin.role_path,
        tags: tags(call, &apply),
        next: next(call),
    };
    include(call, &name, request, apply, call.doing.task.keywords.vars.clone())
}

fn next(call: &Call) -> Next {
    let play = &call.running.play.borrow().play;
    Next { task: play.next_task, role: play.roles.len() as u32, file: play.files.len() as u32 }
}

/// Tags of what is around the include and of its `apply`; its own are not inherited, as documented.
fn tags(call: &Call, apply: &Keywords) -> Vec<String> {
    call.doing.context.keywords.tags.iter().chain(&apply.tags).cloned().collect()
}

/// The keywords of `apply`.
fn apply(call: &Call) -> Result<Keywords, String> {
    let mut keywords = Keywords::default();
    let Some(Value::Map(apply)) = call.doing.task.args.get("apply") else { return Ok(keywords) };
    let list = |value: &Value| match value {
        Value::List(items) => items.to_vec(),
        other => vec![other.clone()],
    };
    for (name, value) in apply.iter() {
        let some = Some(value.clone());
        match &**name {
            "become" => keywords.become_ = some,
            "become_user" => keywords.become_user = some,
            "become_method" => keywords.become_method = some,
            "become_flags" => keywords.become_flags = some,
            "become_exe" => keywords.become_exe = some,
            "ignore_errors" => keywords.ignore_errors = some,
            "ignore_unreachable" => keywords.ignore_unreachable = some,
            "no_log" => keywords.no_log = some,
            "check_mode" => keywords.check_mode = some,
            "diff" => keywords.diff = some,
            "delegate_to" => keywords.delegate_to = some,
            "delegate_facts" => keywords.delegate_facts = some,
            "run_once" => keywords.run_once = some,
            "any_errors_fatal" => keywords.any_errors_fatal = some,
            "throttle" => keywords.throttle = some,
            "timeout" => keywords.timeout = some,
            "connection" => keywords.connection = some,
            "remote_user" => keywords.remote_user = some,
            "environment" => keywords.environment = list(value),
            "tags" => {
                let words = |value: &Value| {
                    value.to_string().split(',').map(|t| t.trim().to_owned()).collect::<Vec<_>>()
                };
                keywords.tags = list(value).iter().flat_map(words).collect();
            }
            "vars" => keywords.vars = value.as_map().cloned().unwrap_or_default(),
            "when" => {
                let condition = |value| debark_wire::Condition { value, span: call.doing.task.span };
                keywords.when = list(value).into_iter().map(condition).collect();
            }
            "debugger" => keywords.debugger = some,
            "collections" | "name" | "port" | "module_defaults" => {}
            other => return Err(format!("`apply` takes keywords of blocks; `{other}` is none")),
        }
    }
    Ok(keywords)
}

fn include(call: &Call, what: &str, request: Request, apply: Keywords, vars: Map) -> Result<Done, String> {
    let running = call.running;
    let outer = call.doing.context;
    if outer.depth >= DEEPEST {
        return Err(format!("includes are nested {DEEPEST} deep; {what} probably includes itself"));
    }
    let handlers = !matches!(request, Request::IncludeTasks { .. });
    let Answer::Tasks(included) = running.on.link.request(request)? else {
        return Err("the controller did not answer with tasks".into());
    };
    let Included { tasks, handlers: new, mut roles, next_task, files, blobs, found } = *included;
    {
        let mut play = running.play.borrow_mut();
        if let Some(asker) = play.role(outer.role) {
            let above: Vec<String> = std::iter::once(asker.full_name().into_owned())
                .chain(asker.parents.iter().cloned())
                .collect();
            roles
                .iter_mut()
                .filter(|role| role.included)
                .for_each(|role| role.parents.extend_from_slice(&above));
        }
        play.play.next_task = next_task.max(play.play.next_task);
        play.play.files.extend(files);
        play.play.roles.extend(roles);
        play.publish();
    }
    running.on.store.extend(blobs, found);
    if handlers && !new.is_empty() {
        running.handlers.borrow_mut().extend(new);
    }
    running.on.link.event(Event::Included { task: call.doing.task.id, what: what.to_owned() });
    let context = Context {
        keywords: merge(&outer.keywords, &apply),
        include_vars: layers(call, &outer.include_vars, vars, &apply),
        depth: outer.depth + 1,
        // A file beside an included file is looked for there first.
        task_dir: task_dir(running.play.borrow().play.files.last().map(String::as_str), &tasks)
            .or_else(|| outer.task_dir.clone()),
        ..(**outer).clone()
    };
    let flow = running.nodes(&tasks, &Rc::new(context));
    // A task that failed in there has been reported and counted; the include itself did what it had to.
    Ok(Done { flow, ..ok(map! { "changed" => false, "include" => what }, false) })
}

fn task_dir(last: Option<&str>, tasks: &[Node]) -> Option<String> {
    if tasks.is_empty() {
        return None;
    }
    last.and_then(|file| file.rsplit_once('/')).map(|(dir, _)| dir.to_owned())
}

/// The include's variables, and the items of loops around it, which its tasks see as well.
fn layers(call: &Call, outer: &[Arc<Map>], vars: Map, apply: &Keywords) -> Vec<Arc<Map>> {
    let mut layers = outer.to_vec();
    if let Some(looping) = &call.doing.task.looping {
        let mut names = vec![looping.var.as_str(), "ansible_loop_var", "ansible_loop", "ansible_index_var"];
        names.extend(looping.index_var.as_deref());
        let item: Map = names
            .into_iter()
            .filter_map(|name| Some((Arc::from(name), plain(call.scope.get_raw(name)?.0))))
            .collect();
        layers.push(Arc::new(item));
    }
    for vars in [vars, apply.vars.clone()] {
        if !vars.is_empty() {
            layers.push(Arc::new(vars));
        }
    }
    layers
}

/// A value that stays as it is in a layer whose texts are templates.
fn plain(value: &Value) -> Value {
    match value {
        Value::Str(text) if debark_expr::is_template(text) => {
            let quoted = text.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n");
            Value::from(format!("{{{{ '{quoted}' }}}}"))
        }
        Value::List(items) => Value::from(items.iter().map(plain).collect::<Vec<_>>()),
        Value::Map(map) => Value::from(map.iter().map(|(k, v)| (k.clone(), plain(v))).collect::<Map>()),
        other => other.clone(),
    }
}
