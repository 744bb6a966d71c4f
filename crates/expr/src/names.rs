//! Finds variables, attributes and items; renders the variables that are templates where they are used.

use std::sync::{Arc, PoisonError};

use debark_value::{Map, Value};

use crate::engine::is_template;
use crate::error::{Error, ErrorKind, Res, nearest};
use crate::eval::Ctx;
use crate::globals;
use crate::ops;
use crate::scope::{Cached, LayerKind};
use crate::syntax::ast::Expr;
use crate::value::{Thing, Undef, V};

/// Whether anything within the value is a template.
pub(crate) fn has_template(value: &Value) -> bool {
    match value {
        Value::Str(text) => is_template(text),
        Value::List(items) => items.iter().any(has_template),
        Value::Map(map) => map.values().any(has_template),
        _ => false,
    }
}

impl Ctx<'_> {
    pub(crate) fn name(&mut self, name: &Arc<str>) -> Res<V> {
        if let Some(local) = self.local(name) {
            return Ok(local.clone());
        }
        if let Some(value) = self.variable(name)? {
            return Ok(value);
        }
        Ok(match &**name {
            "hostvars" => V::thing(Thing::HostVars),
            "vars" => V::thing(Thing::Vars),
            "omit" => V::Data(Value::Omit),
            "self" if !self.blocks.is_empty() => V::thing(Thing::Blocks),
            _ => match globals::find(name) {
                Some((name, run)) => V::thing(Thing::Global(name, run)),
                None => self.missing(name),
            },
        })
    }

    fn missing(&self, name: &str) -> V {
        let mut names: Vec<&str> = globals::names().collect();
        names.extend(self.scope.names().map(|name| &**name));
        names.extend(self.frames.iter().flatten().map(|(name, _)| &**name));
        let hint = nearest(name, names.into_iter()).map(|near| format!("did you mean '{near}'?"));
        V::Undef(Arc::new(Undef { name: name.to_owned(), soft: false, hint }))
    }

    pub(crate) fn local(&self, name: &str) -> Option<&V> {
        let visible = self.frames.get(self.base..).unwrap_or_default();
        let outermost = self.frames.get(..self.base.min(1)).unwrap_or_default();
        let find = |frames: &'_ [crate::value::Frame]| -> Option<(usize, usize)> {
            frames.iter().enumerate().rev().find_map(|(depth, frame)| {
                frame.iter().rposition(|(known, _)| &**known == name).map(|place| (depth, place))
            })
        };
        let (frames, (depth, place)) = match find(visible) {
            Some(found) => (visible, found),
            None => (outermost, find(outermost)?),
        };
        frames.get(depth)?.get(place).map(|(_, value)| value)
    }

    /// Where a local variable is kept.
    pub(crate) fn local_mut(&mut self, name: &str) -> Option<&mut V> {
        let base = self.base;
        self.frames
            .iter_mut()
            .enumerate()
            .rev()
            .filter(|(depth, _)| *depth >= base || *depth == 0)
            .find_map(|(_, frame)| frame.iter_mut().rev().find(|(known, _)| &**known == name))
            .map(|(_, value)| value)
    }

    /// A variable of the scope.
    pub(crate) fn variable(&mut self, name: &str) -> Res<Option<V>> {
        let scope = self.scope;
        let Some((raw, kind)) = scope.get_raw(name) else { return Ok(None) };
        if kind == LayerKind::Plain || !matches!(raw, Value::Str(_) | Value::List(_) | Value::Map(_)) {
            return Ok(Some(V::Data(raw.clone())));
        }
        if let Value::Str(text) = raw
            && !is_template(text)
        {
            return Ok(Some(V::Data(raw.clone())));
        }
        let name: Arc<str> = name.into();
        match scope.cached(&name) {
            Some(Cached::Plain) => return Ok(Some(V::Data(raw.clone()))),
            Some(Cached::Lazy) => return Ok(Some(V::Lazy(raw.clone()))),
            Some(Cached::Rendered(value)) => return Ok(Some(V::Data(value))),
            None => {}
        }
        if let Value::Str(text) = raw {
            let value = self.render_text(text, &name)?;
            if let V::Data(value) = &value {
                scope.remember(&name, Cached::Rendered(value.clone()));
            }
            return Ok(Some(value));
        }
        let lazy = has_template(raw);
        scope.remember(&name, if lazy { Cached::Lazy } else { Cached::Plain });
        Ok(Some(if lazy { V::Lazy(raw.clone()) } else { V::Data(raw.clone()) }))
    }

    /// Renders the text of a variable with nothing but the scope in view.
    fn render_text(&mut self, text: &Arc<str>, label: &Arc<str>) -> Res<V> {
        let id = text.as_ptr() as usize;
        if let Some(start) = self.rendering.iter().position(|(known, _)| *known == id) {
            let chain = self.rendering.iter().skip(start).map(|(_, name)| &**name).chain([&**label]);
            return Err(Error::new(
                ErrorKind::Recursion,
                format!("variables are defined by one another: {}", chain.collect::<Vec<_>>().join(" -> ")),
            ));
        }
        let template = self.engine.parse_text(text).map_err(|error| Error::from(error).through(label))?;
        self.rendering.push((id, label.clone()));
        let frames = std::mem::replace(&mut self.frames, vec![Vec::new()]);
        let base = std::mem::take(&mut self.base);
        let outer = std::mem::replace(&mut self.template, template);
        let blocks = std::mem::take(&mut self.blocks);
        let result = self.deeper(|ctx| ctx.native(text));
        (self.frames, self.base, self.template, self.blocks) = (frames, base, outer, blocks);
        self.rendering.pop();
        result.map_err(|error| match error.kind() {
            ErrorKind::Unknown { .. } | ErrorKind::Recursion => error,
            _ => error.through(label),
        })
    }

    /// A member of a templated container.
    fn child(&mut self, raw: &Value, label: &str) -> Res<V> {
        match raw {
            Value::Str(text) if is_template(text) => self.render_text(text, &label.into()),
            Value::List(_) | Value::Map(_) => Ok(V::Lazy(raw.clone())),
            other => Ok(V::Data(other.clone())),
        }
    }

    /// Every text within the value rendered.
    pub(crate) fn render_deep(&mut self, raw: &Value) -> Res<Value> {
        self.render_within(raw, "item")
    }

    fn render_within(&mut self, raw: &Value, label: &str) -> Res<Value> {
        match raw {
            Value::Str(text) if is_template(text) => {
                match self.render_text(text, &label.into()) {
                    Ok(value) => self.force(value),
                    // Unknown within a container leaves the rest of the container known.
                    Err(error) => match error.unknown_reason() {
                        Some(reason) => Ok(Value::Unknown(reason.clone())),
                        None => Err(error),
                    },
                }
            }
            Value::List(items) if has_template(raw) => self.deeper(|ctx| {
                let items = items.iter().map(|item| ctx.render_within(item, label));
                Ok(Value::from(items.collect::<Res<Vec<_>>>()?))
            }),
            Value::Map(map) if has_template(raw) => self.deeper(|ctx| {
                let mut rendered = Map::with_capacity(map.len());
                for (key, item) in map.iter() {
                    rendered.insert(key.clone(), ctx.render_within(item, key)?);
                }
                Ok(Value::from(rendered))
            }),
            other => Ok(other.clone()),
        }
    }

    /// `object.name`
    pub(crate) fn attribute(&mut self, object: &V, name: &Arc<str>, expr: &Expr) -> Res<V> {
        match object {
            V::Undef(_) | V::Data(Value::Unknown(_)) => Ok(object.clone()),
            V::Data(Value::Map(map)) => match map.get(&**name) {
                Some(value) => Ok(V::Data(value.clone())),
                None => Ok(absent(expr, name, map.keys().map(|key| &**key))),
            },
            V::Lazy(Value::Map(map)) => match map.get(&**name) {
                Some(value) => self.child(value, name),
                None => Ok(absent(expr, name, map.keys().map(|key| &**key))),
            },
            V::Thing(thing) => self.thing_member(thing, name, expr),
            _ => Ok(absent(expr, name, std::iter::empty())),
        }
    }

    pub(crate) fn thing_member(&mut self, thing: &Thing, name: &str, expr: &Expr) -> Res<V> {
        let found = match thing {
            Thing::Namespace(entries) => {
                entries.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
            }
            Thing::Loop(state) => Some(state.attribute(name)),
            Thing::Module(module) => module
                .frame
                .get()
                .and_then(|frame| frame.iter().rev().find(|(known, _)| &**known == name))
                .map(|(_, value)| value.clone()),
            Thing::Macro(makro) => match name {
                "name" => Some(V::from(&*makro.def.name)),
                "arguments" => {
                    Some(V::tuple(makro.def.args.iter().map(|(name, _)| V::from(&**name)).collect()))
                }
                _ => None,
            },
            Thing::Cycler(items, at) => match name {
                "current" => {
                    items.get(at.load(std::sync::atomic::Ordering::Relaxed) % items.len().max(1)).cloned()
                }
                _ => None,
            },
            Thing::Date(date) => date.attribute(name),
            Thing::Delta(micros) => crate::time::delta_attribute(*micros, name),
            Thing::Group(key, items) => match name {
                "grouper" | "0" => Some(V::Data(key.clone())),
                "list" | "1" => Some(V::Data(items.clone())),
                _ => None,
            },
            Thing::HostVars => return self.host(name, expr),
            Thing::Vars => self.variable(name)?,
            Thing::Own => self.own(name)?,
            Thing::Blocks => {
                let known = self.blocks.iter().any(|chain| &*chain.name == name);
                known.then(|| V::thing(Thing::Super(name.into(), 0)))
            }
            _ => None,
        };
        Ok(found.unwrap_or_else(|| absent(expr, name, std::iter::empty())))
    }

    /// `hostvars[host]`
    fn host(&mut self, host: &str, expr: &Expr) -> Res<V> {
        if let Some((Value::Str(own), _)) = self.scope.get_raw("inventory_hostname")
            && **own == *host
        {
            return Ok(V::thing(if self.scope.own().is_some() { Thing::Own } else { Thing::Vars }));
        }
        if let Some(known) = self.scope.known_hostvars().and_then(|hosts| hosts.get(host)) {
            return Ok(V::Data(known.clone()));
        }
        if self.nobody(host) {
            let hosts = self.hosts();
            return Ok(absent(expr, host, hosts.iter().filter_map(Value::as_str)));
        }
        let answer = self.engine.services().hostvars(host).map_err(Error::kind_of)?;
        let known = self.scope.known_hostvars();
        Ok(answer.map_or_else(
            || absent(expr, host, known.into_iter().flat_map(|hosts| hosts.keys().map(|key| &**key))),
            V::Data,
        ))
    }

    /// A variable of the host's own entry in `hostvars`. What is in there sees nothing else.
    fn own(&mut self, name: &str) -> Res<Option<V>> {
        let Some(own) = self.scope.own().cloned() else { return self.variable(name) };
        let Some((raw, kind)) = own.get_raw(name) else { return Ok(None) };
        self.burn(16)?;
        Ok(Some(V::Data(match kind {
            LayerKind::Templated => self.engine.render_value(raw, &own)?,
            LayerKind::Plain => raw.clone(),
        })))
    }

    /// Whether there is no such host, as far as is known without asking; `localhost` need not be named to be there.
    fn nobody(&self, name: &str) -> bool {
        let hosts = self.hosts();
        let local = matches!(name, "localhost" | "127.0.0.1" | "::1");
        !local && !hosts.is_empty() && !hosts.iter().any(|host| host.as_str() == Some(name))
    }

    /// The names of all hosts of the inventory.
    pub(crate) fn hosts(&self) -> Vec<Value> {
        if let Some(known) = self.scope.known_hostvars() {
            return known.keys().map(|name| Value::Str(name.clone())).collect();
        }
        let groups = self.scope.get_raw("groups").and_then(|(groups, _)| groups.get("all"));
        groups.and_then(Value::as_list).unwrap_or_default().to_vec()
    }

    /// The variables of each host.
    pub(crate) fn host_things(&mut self) -> Res<Vec<(Value, V)>> {
        let at = Expr { at: 0, kind: crate::syntax::ast::Kind::Const(Value::Null) };
        let mut all = Vec::new();
        for name in self.hosts() {
            let thing = self.host(&ops::text(&name)?, &at)?;
            all.push((name, thing));
        }
        Ok(all)
    }

    /// `hostvars` or `vars` as a dictionary. Variables that cannot be rendered are left out: nobody named them.
    pub(crate) fn whole(&mut self, thing: &Thing) -> Res<Value> {
        let mut map = Map::new();
        if matches!(thing, Thing::HostVars) {
            for (name, thing) in self.host_things()? {
                let value = match &thing {
                    V::Thing(vars) => self.deeper(|ctx| ctx.whole(vars))?,
                    other => other.to_value()?,
                };
                map.insert(ops::key(&name)?, value);
            }
            return Ok(Value::from(map));
        }
        let scope = self.scope.own().filter(|_| matches!(thing, Thing::Own)).map_or(self.scope, |own| own);
        let names: Vec<std::sync::Arc<str>> = scope.names().cloned().collect();
        for name in names {
            self.burn(4)?;
            let value = match thing {
                Thing::Own => self.own(&name),
                _ => self.variable(&name),
            };
            let value = value.and_then(|value| value.map(|value| self.force(value)).transpose());
            match value {
                Ok(value) => drop(value.map(|value| map.insert(name, value))),
                Err(error) if matches!(error.kind(), ErrorKind::Fuel) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(Value::from(map))
    }

    /// What a path like `a.b.0` leads to, also through the variables of hosts.
    pub(crate) fn path(&mut self, item: &V, path: &str) -> Res<V> {
        let V::Thing(thing) = item else { return Ok(crate::filters::attribute(item, path)) };
        let at = Expr { at: 0, kind: crate::syntax::ast::Kind::Const(Value::Null) };
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let found = self.thing_member(thing, first, &at)?;
        let found = self.settle(found)?;
        match rest {
            Some(rest) if !found.is_undef() => self.path(&found, rest),
            _ => Ok(found),
        }
    }

    /// `object[index]`
    pub(crate) fn item(&mut self, object: &V, index: &Value, expr: &Expr) -> Res<V> {
        if let V::Undef(_) | V::Data(Value::Unknown(_)) = object {
            return Ok(object.clone());
        }
        let shown = || ops::text(index).unwrap_or_default();
        if let V::Thing(thing) = object {
            return self.thing_member(thing, &shown(), expr);
        }
        let places = match object {
            V::Data(Value::Map(_)) | V::Lazy(Value::Map(_)) => {
                let key: Arc<str> = match index {
                    Value::Str(key) => key.clone(),
                    _ => shown().into(),
                };
                return self.attribute(object, &key, expr);
            }
            V::Data(Value::Str(text)) => {
                let chars = index.as_int().and_then(|at| ops::place(at, text.chars().count()));
                let found = chars.and_then(|at| text.chars().nth(at)).map(|c| V::from(c.to_string()));
                return Ok(found.unwrap_or_else(|| absent(expr, &shown(), std::iter::empty())));
            }
            V::Data(Value::List(items)) | V::Lazy(Value::List(items)) => items.len(),
            V::Seq(items) | V::Tuple(items) => items.len(),
            _ => 0,
        };
        let number = match index {
            Value::Int(number) => Some(*number),
            Value::Bool(flag) => Some(i64::from(*flag)),
            _ => None,
        };
        let place = number.and_then(|number| ops::place(number, places)).unwrap_or(usize::MAX);
        let found = match object {
            V::Data(Value::List(items)) => items.get(place).cloned().map(V::Data),
            V::Lazy(Value::List(items)) => match items.get(place) {
                Some(item) => Some(self.child(item, &shown())?),
                None => None,
            },
            V::Seq(items) | V::Tuple(items) => items.get(place).cloned(),
            _ => None,
        };
        Ok(found.unwrap_or_else(|| absent(expr, &shown(), std::iter::empty())))
    }

    /// What a loop goes through.
    pub(crate) fn iterate(&mut self, value: V) -> Res<Vec<V>> {
        value.usable()?;
        let items: Vec<V> = match value {
            V::Seq(items) | V::Tuple(items) => items.to_vec(),
            V::Lazy(Value::List(items)) => {
                let mut rendered = Vec::with_capacity(items.len());
                for item in items.iter() {
                    rendered.push(match self.child(item, "item") {
                        Ok(value) => value,
                        Err(error) => match error.unknown_reason() {
                            Some(reason) => V::Data(Value::Unknown(reason.clone())),
                            None => return Err(error),
                        },
                    });
                }
                rendered
            }
            V::Lazy(Value::Map(map)) | V::Data(Value::Map(map)) => {
                map.keys().map(|key| V::Data(Value::Str(key.clone()))).collect()
            }
            V::Data(Value::List(items)) => items.iter().cloned().map(V::Data).collect(),
            V::Data(Value::Str(text)) => text.chars().map(|c| V::from(c.to_string())).collect(),
            V::Thing(thing) => match &*thing {
                Thing::Vars => self.scope.names().map(|name| V::from(&**name)).collect(),
                Thing::Own => self
                    .scope
                    .own()
                    .into_iter()
                    .flat_map(|own| own.names())
                    .map(|name| V::from(&**name))
                    .collect(),
                Thing::HostVars => self.hosts().into_iter().map(V::Data).collect(),
                Thing::Group(key, items) => vec![V::Data(key.clone()), V::Data(items.clone())],
                _ => return Err(Error::kind_of("this is nothing to loop over")),
            },
            V::Data(other) => {
                return Err(Error::kind_of(format!("cannot loop over {}", ops::article(&other))));
            }
            V::Undef(_) | V::Lazy(_) => Vec::new(),
        };
        self.burn(items.len())?;
        Ok(items)
    }

    /// `in` on things that are not data.
    pub(crate) fn in_thing(&mut self, item: &V, container: &V) -> Res<Option<bool>> {
        let V::Thing(thing) = container else { return Ok(None) };
        let name = item.to_text()?;
        Ok(match &**thing {
            Thing::Vars => Some(self.scope.get_raw(&name).is_some()),
            Thing::Own => Some(self.scope.own().is_some_and(|own| own.get_raw(&name).is_some())),
            Thing::HostVars => {
                let known = self.scope.known_hostvars().is_some_and(|hosts| hosts.contains_key(&*name));
                let known = known || self.hosts().iter().any(|host| host.as_str() == Some(&*name));
                Some(
                    known
                        || !self.nobody(&name)
                            && self.engine.services().hostvars(&name).map_err(Error::kind_of)?.is_some(),
                )
            }
            _ => None,
        })
    }
}

/// An attribute or item that does not exist.
fn absent<'a>(expr: &Expr, name: &str, known: impl Iterator<Item = &'a str>) -> V {
    let hint = nearest(name, known).map(|near| format!("did you mean '{near}'?"));
    let path = expr.path().unwrap_or_else(|| format!("attribute {name}"));
    V::Undef(Arc::new(Undef { name: path, soft: false, hint }))
}

impl Ctx<'_> {
    /// Renders a value that is no variable: what the parameters of a task hold.
    pub(crate) fn render_members(&mut self, value: &Value) -> Res<Value> {
        match value {
            Value::Str(text) if is_template(text) => {
                let template = self.engine.parse_text(text)?;
                let outer = std::mem::replace(&mut self.template, template);
                let frames = std::mem::replace(&mut self.frames, vec![Vec::new()]);
                let result = self.native(text).and_then(|value| self.force(value));
                (self.template, self.frames) = (outer, frames);
                match result {
                    Err(error) => match error.unknown_reason() {
                        Some(reason) => Ok(Value::Unknown(reason.clone())),
                        None => Err(error),
                    },
                    ok => ok,
                }
            }
            Value::List(items) if has_template(value) => self.deeper(|ctx| {
                let items = items.iter().map(|item| ctx.render_members(item));
                Ok(Value::from(items.collect::<Res<Vec<_>>>()?))
            }),
            Value::Map(map) if has_template(value) => self.deeper(|ctx| {
                let mut rendered = Map::with_capacity(map.len());
                for (key, item) in map.iter() {
                    let key = match is_template(key) {
                        true => ops::key(&ctx.render_members(&Value::Str(key.clone()))?)?,
                        false => key.clone(),
                    };
                    rendered.insert(key, ctx.render_members(item)?);
                }
                Ok(Value::from(rendered))
            }),
            other => Ok(other.clone()),
        }
    }
}
