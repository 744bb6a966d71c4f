//! Calls: functions, macros, and methods, also those that change the list or dictionary they are called on.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use debark_value::Value;

use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::exec::Out;
use crate::methods;
use crate::ops;
use crate::syntax::ast::{CallArgs, Expr, Kind};
use crate::time;
use crate::value::{Thing, V};

impl Ctx<'_> {
    pub(crate) fn call(&mut self, callee: &Expr, args: &CallArgs, expr: &Expr) -> Res<V> {
        if let Kind::Attr(of, name) = &callee.kind {
            return self.call_method(of, name, args, callee);
        }
        let function = self.eval(callee)?;
        let args = self.args(args)?;
        let shown = callee.path().unwrap_or_else(|| "this".to_owned());
        self.call_value(&function, args, None, &shown).map_err(|error| self.locate(error, expr.at))
    }

    /// The call of a `{% call %}` block, with its body as `caller`.
    pub(crate) fn call_with_caller(&mut self, call: &Expr, caller: V) -> Res<V> {
        let Kind::Call(callee, args) = &call.kind else {
            return Err(Error::kind_of("'{% call %}' needs a call of a macro"));
        };
        let function = self.eval(callee)?;
        let args = self.args(args)?;
        let shown = callee.path().unwrap_or_else(|| "this".to_owned());
        self.call_value(&function, args, Some(caller), &shown).map_err(|error| self.locate(error, call.at))
    }

    fn call_value(&mut self, function: &V, args: Args, caller: Option<V>, shown: &str) -> Res<V> {
        function
            .usable()
            .map_err(|error| if function.is_undef() { no_function(error, shown) } else { error })?;
        let V::Thing(thing) = function else {
            return Err(Error::kind_of(format!("'{shown}' is not a function but {}", function.type_name())));
        };
        self.burn(8)?;
        match &**thing {
            Thing::Macro(makro) => self.call_macro(makro, args, caller),
            Thing::Global(name, run) => run(self, &args).map_err(|error| error.by("function", name)),
            Thing::Loop(state) => {
                let Some(items) = args.pos.first() else {
                    return Err(Error::kind_of("'loop(...)' needs the items to loop over"));
                };
                if !state.node.recursive {
                    return Err(Error::kind_of(
                        "'loop(...)' works only in a loop that is marked 'recursive'",
                    ));
                }
                let (node, depth) = (state.node.clone(), state.depth + 1);
                let items = self.iterate(items.clone())?;
                let mut out = Out::default();
                self.deeper(|ctx| ctx.run_loop(&node, items, depth, &mut out))?;
                out.into_text().map(V::from)
            }
            Thing::Joiner(separator, used) => {
                let first = !used.swap(true, Ordering::Relaxed);
                Ok(V::from(if first { "" } else { separator }))
            }
            Thing::Super(name, level) => {
                let mut out = Out::default();
                self.block(name, *level, &mut out)?;
                out.into_text().map(V::from)
            }
            _ => Err(Error::kind_of(format!("'{shown}' is not a function"))),
        }
    }

    fn call_method(&mut self, of: &Expr, name: &Arc<str>, args: &CallArgs, callee: &Expr) -> Res<V> {
        let object = self.eval(of)?;
        if let V::Undef(undef) = &object {
            return Err(self.locate(undef.error(), of.at));
        }
        let args = self.args(args)?;
        if object.unknown().is_some() {
            return Ok(object);
        }
        if let V::Thing(thing) = &object {
            return self.thing_method(thing, name, args, callee);
        }
        for arg in args.pos.iter().chain(args.kw.iter().map(|(_, value)| value)) {
            // `get` may hand on what is undefined or unknown.
            if &**name != "get" && &**name != "append" {
                arg.usable()?;
            }
        }
        let result = if methods::changes(&object, name) {
            self.change(of, object, name, &args)
        } else {
            let object = self.settle(object)?;
            self.burn(4)?;
            methods::call(&object, name, &args)
        };
        result.map_err(|error| error.by("method", name))
    }

    fn thing_method(&mut self, thing: &Thing, name: &Arc<str>, args: Args, callee: &Expr) -> Res<V> {
        match (thing, &**name) {
            (Thing::Loop(state), "cycle") => {
                let count = args.pos.len().max(1);
                args.pos
                    .get(state.index % count)
                    .cloned()
                    .ok_or_else(|| Error::kind_of("'loop.cycle' needs values"))
            }
            (Thing::Loop(state), "changed") => {
                let now = V::tuple(args.pos).to_value()?;
                let mut seen = state.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
                let changed = match &*seen {
                    Some(before) => !ops::equal(before, &now)?,
                    None => true,
                };
                *seen = Some(now);
                Ok(V::from(changed))
            }
            (Thing::Cycler(items, at), "next") => {
                let place = at.fetch_add(1, Ordering::Relaxed) % items.len().max(1);
                items.get(place).cloned().ok_or_else(|| Error::kind_of("the cycler has no items"))
            }
            (Thing::Cycler(_, at), "reset") => {
                at.store(0, Ordering::Relaxed);
                Ok(V::NULL)
            }
            (Thing::Date(date), _) if time::is_method(name) => {
                time::method(date, name, &args).map_err(|error| error.by("method", name))
            }
            (Thing::Delta(micros), "total_seconds") => Ok(V::from(*micros as f64 / 1e6)),
            (Thing::HostVars | Thing::Vars | Thing::Own, "get") => {
                let key = args.need_text(0, "key").map_err(|error| error.by("method", name))?;
                let object = V::thing(match thing {
                    Thing::Own => Thing::Own,
                    Thing::Vars => Thing::Vars,
                    _ => Thing::HostVars,
                });
                let found = self.attribute(&object, &key, callee)?;
                Ok(if found.is_undef() { args.get(1, "default").cloned().unwrap_or(V::NULL) } else { found })
            }
            (Thing::HostVars | Thing::Vars | Thing::Own, "keys") => {
                let object = V::thing(match thing {
                    Thing::Own => Thing::Own,
                    Thing::Vars => Thing::Vars,
                    _ => Thing::HostVars,
                });
                self.iterate(object).map(V::list)
            }
            (Thing::HostVars | Thing::Vars | Thing::Own, "items" | "values") => {
                let pairs = match thing {
                    Thing::HostVars => self.host_things()?,
                    thing => match self.whole(thing)? {
                        Value::Map(map) => map
                            .iter()
                            .map(|(key, value)| (Value::Str(key.clone()), V::Data(value.clone())))
                            .collect(),
                        _ => Vec::new(),
                    },
                };
                let pair = |(key, value): (Value, V)| match &**name {
                    "items" => V::tuple(vec![V::Data(key), value]),
                    _ => value,
                };
                Ok(V::list(pairs.into_iter().map(pair).collect()))
            }
            (Thing::Namespace(entries), "items" | "keys" | "values" | "get") => {
                let entries = entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let map: debark_value::Map = entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.to_value()?)))
                    .collect::<Res<_>>()?;
                methods::call(&V::from(map), name, &args)
            }
            _ => {
                let object = match thing {
                    Thing::Vars => self.variable(name)?.unwrap_or_else(|| V::undef(&**name)),
                    _ => self.thing_member(thing, name, callee)?,
                };
                let shown = callee.path().unwrap_or_else(|| name.to_string());
                self.call_value(&object, args, None, &shown)
            }
        }
    }

    /// Calls a method that changes the list or dictionary it belongs to, in its place if that is a local variable.
    fn change(&mut self, of: &Expr, object: V, name: &str, args: &Args) -> Res<V> {
        self.burn(4)?;
        let mut keys = Vec::new();
        if let Some(root) = self.place_of(of, &mut keys)?
            && let Some(slot) = self.local_mut(&root)
        {
            for arg in args.pos.iter().chain(args.kw.iter().map(|(_, value)| value)) {
                if let V::Data(value) = arg
                    && !ops::shallow(value)
                {
                    return Err(ops::too_deep());
                }
            }
            if let V::Thing(thing) = slot
                && let Thing::Namespace(entries) = &**thing
            {
                let first = keys.first().map(ops::key).transpose()?.unwrap_or_else(|| "".into());
                let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(slot) = entries.get_mut(&first)
                    && let Some(value) = descend(slot, keys.get(1..).unwrap_or_default())?
                {
                    return methods::change(value, name, args);
                }
            } else if let Some(value) = descend(slot, &keys)? {
                return methods::change(value, name, args);
            }
        }
        // A variable of the play, or the result of an expression: the change is seen by nobody.
        let mut value = self.force(object)?;
        methods::change(&mut value, name, args)
    }

    /// The variable and the keys that an expression like `a.b[0]` leads through.
    fn place_of(&mut self, expr: &Expr, keys: &mut Vec<Value>) -> Res<Option<Arc<str>>> {
        match &expr.kind {
            Kind::Name(name) => Ok(Some(name.clone())),
            Kind::Attr(of, name) => {
                let root = self.place_of(of, keys)?;
                keys.push(Value::Str(name.clone()));
                Ok(root)
            }
            Kind::Index(of, index) => {
                let root = self.place_of(of, keys)?;
                let index = self.eval(index)?;
                keys.push(self.force(index)?);
                Ok(root)
            }
            _ => Ok(None),
        }
    }
}

fn descend<'v>(slot: &'v mut V, keys: &[Value]) -> Res<Option<&'v mut Value>> {
    if !matches!(slot, V::Data(_)) {
        *slot = V::Data(slot.to_value()?);
    }
    let V::Data(mut_value) = slot else { return Ok(None) };
    let mut value = mut_value;
    for key in keys {
        let next = match value {
            Value::Map(map) => {
                let key = ops::key(key)?;
                Arc::make_mut(map).get_mut(&key)
            }
            Value::List(items) => {
                let place = key.as_int().and_then(|at| ops::place(at, items.len()));
                place.and_then(|place| Arc::make_mut(items).get_mut(place))
            }
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

fn no_function(error: Error, shown: &str) -> Error {
    match crate::filters::find(shown) {
        Some(_) => Error::kind_of(format!("there is no function '{shown}'"))
            .hinted(format!("'{shown}' is a filter: write '... | {shown}'")),
        None => error,
    }
}
