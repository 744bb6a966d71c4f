//! Evaluates expressions.

use std::sync::Arc;

use debark_value::{Map, Value};

pub(crate) use crate::args::Args;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Res};
use crate::exec::BlockChain;
use crate::ops;
use crate::scope::Scope;
use crate::syntax::ast::{BinOp, CallArgs, CmpOp, Expr, Kind, Template};
use crate::value::{Frame, Module, Thing, Undef, V};
use crate::{filters, tests_};

/// Steps one rendering may take: some seconds' worth.
const FUEL: u64 = 20_000_000;

/// Deeper nesting of expressions, macros and variables within one another is refused: it costs stack.
const DEEPEST: usize = 160;

/// Before the name of a filter where it is asked for as a lookup.
pub const ASKED: &str = "filter:";

/// One rendering.
pub(crate) struct Ctx<'a> {
    pub engine: &'a Engine,
    pub scope: &'a Scope,
    pub frames: Vec<Frame>,
    /// Frames below this one are hidden, except for the outermost: so macros see only what is their own.
    pub base: usize,
    pub fuel: u64,
    pub depth: usize,
    /// The texts of variables that are being rendered, with their names.
    pub rendering: Vec<(usize, Arc<str>)>,
    pub template: Arc<Template>,
    pub blocks: Vec<BlockChain>,
    pub modules: Vec<Arc<Module>>,
    pub produced: usize,
}

impl<'a> Ctx<'a> {
    pub fn new(engine: &'a Engine, scope: &'a Scope, template: Arc<Template>) -> Self {
        Self {
            engine,
            scope,
            frames: vec![Vec::new()],
            base: 0,
            fuel: FUEL,
            depth: 0,
            rendering: Vec::new(),
            template,
            blocks: Vec::new(),
            modules: Vec::new(),
            produced: 0,
        }
    }

    /// Pays for so many steps.
    pub fn burn(&mut self, steps: usize) -> Res<()> {
        self.fuel = self.fuel.saturating_sub(steps as u64);
        if self.fuel == 0 {
            return Err(Error::new(ErrorKind::Fuel, "the template takes too long")
                .hinted("look for a loop over too many items"));
        }
        Ok(())
    }

    /// Runs something one level deeper.
    pub fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        if self.depth >= DEEPEST {
            return Err(Error::new(ErrorKind::Recursion, "this is nested too deeply"));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    pub fn eval(&mut self, expr: &Expr) -> Res<V> {
        self.burn(1)?;
        if let Kind::Const(value) = &expr.kind {
            return Ok(V::Data(value.clone()));
        }
        let result = self.deeper(|ctx| ctx.kind(expr));
        result.map_err(|error| self.locate(error, expr.at))
    }

    pub fn locate(&self, error: Error, at: u32) -> Error {
        match self.template.line(at) {
            Some(line) => error.at_line(line),
            None => error,
        }
    }

    fn kind(&mut self, expr: &Expr) -> Res<V> {
        match &expr.kind {
            Kind::Const(value) => Ok(V::Data(value.clone())),
            Kind::Name(name) => self.name(name),
            Kind::List(items) => Ok(V::list(self.all(items)?)),
            Kind::Tuple(items) => Ok(V::tuple(self.all(items)?)),
            Kind::Dict(entries) => self.dict(entries),
            Kind::Attr(of, name) => {
                let object = self.eval(of)?;
                self.attribute(&object, name, expr)
            }
            Kind::Index(of, index) => self.index(of, index, expr),
            Kind::Slice(of, parts) => self.slice(of, parts),
            Kind::Call(callee, args) => self.call(callee, args, expr),
            Kind::Filter(Some(input), name, args) => {
                let input = self.eval(input)?;
                let args = self.args(args)?;
                self.filter(name, input, args)
            }
            Kind::Filter(None, ..) => Err(Error::kind_of("a filter has no input")),
            Kind::Test(input, name, args) => {
                let input = self.eval(input)?;
                let args = self.args(args)?;
                self.test(name, input, args).map(V::from)
            }
            Kind::Neg(inner) => {
                let value = self.data(inner)?;
                ops::negate(&value)
            }
            Kind::Pos(inner) => self.data(inner).map(V::Data),
            Kind::Not(inner) => {
                let value = self.eval(inner)?;
                Ok(V::from(!self.truthy(&value)?))
            }
            Kind::And(left, right) => {
                let left = self.eval(left)?;
                if self.truthy(&left)? { self.eval(right) } else { Ok(left) }
            }
            Kind::Or(left, right) => {
                let left = self.eval(left)?;
                if self.truthy(&left)? { Ok(left) } else { self.eval(right) }
            }
            Kind::Binary(op, left, right) => self.binary(*op, left, right),
            Kind::Concat(parts) => self.concat(parts),
            Kind::Compare(first, rest) => self.compare(first, rest),
            Kind::Cond(test, then, otherwise) => {
                let test = self.eval(test)?;
                if self.truthy(&test)? {
                    return self.eval(then);
                }
                match otherwise {
                    Some(otherwise) => self.eval(otherwise),
                    None => Ok(V::Undef(Arc::new(Undef {
                        name: "the value of an inline 'if' without 'else'".into(),
                        soft: true,
                        hint: None,
                    }))),
                }
            }
        }
    }

    fn all(&mut self, items: &[Expr]) -> Res<Vec<V>> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            let value = self.eval(item)?;
            values.push(self.settle(value)?);
        }
        Ok(values)
    }

    /// The value with everything within rendered; what is undefined stays so.
    pub fn settle(&mut self, value: V) -> Res<V> {
        match value {
            V::Lazy(raw) => self.render_deep(&raw).map(V::Data),
            other => Ok(other),
        }
    }

    /// The value as data, rendered.
    pub fn force(&mut self, value: V) -> Res<Value> {
        self.settle(value)?.to_value()
    }

    /// The value of an operand: data, not undefined, not unknown.
    fn data(&mut self, expr: &Expr) -> Res<Value> {
        let value = self.eval(expr)?;
        value.usable()?;
        self.force(value)
    }

    fn dict(&mut self, entries: &[(Expr, Expr)]) -> Res<V> {
        let mut map = Map::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.data(key)?;
            let value = self.eval(value)?;
            map.insert(ops::key(&key)?, self.force(value)?);
        }
        Ok(V::from(map))
    }

    pub fn truthy(&mut self, value: &V) -> Res<bool> {
        value.usable()?;
        Ok(match value {
            V::Data(value) | V::Lazy(value) => value.truthy(),
            V::Seq(items) | V::Tuple(items) => !items.is_empty(),
            V::Undef(_) => false,
            _ => true,
        })
    }

    fn binary(&mut self, op: BinOp, left: &Expr, right: &Expr) -> Res<V> {
        let (left_value, right_value) = (self.eval(left)?, self.eval(right)?);
        left_value.usable()?;
        right_value.usable()?;
        let mut sides = [left_value, right_value];
        for side in &mut sides {
            let value = std::mem::replace(side, V::NULL);
            let keeps = matches!(value, V::Thing(_)) || matches!(value, V::Tuple(_)) && op == BinOp::Mod;
            *side = if keeps { value } else { V::Data(self.force(value)?) };
        }
        let [a, b] = &sides;
        let result = ops::binary(op, a, b).map_err(|error| named(error, &[left, right]))?;
        if let V::Data(Value::Str(text)) = &result {
            self.burn(text.len() / 64)?;
        } else if let V::Data(Value::List(items)) = &result {
            self.burn(items.len())?;
        }
        Ok(result)
    }

    fn concat(&mut self, parts: &[Expr]) -> Res<V> {
        let mut text = String::new();
        for part in parts {
            let value = self.eval(part)?;
            value.usable()?;
            let value = self.settle(value)?;
            text.push_str(&value.to_text()?);
            if text.len() > ops::LARGEST {
                return Err(ops::too_large());
            }
        }
        self.burn(text.len() / 64)?;
        Ok(V::from(text))
    }

    fn compare(&mut self, first: &Expr, rest: &[(CmpOp, Expr)]) -> Res<V> {
        let mut left = self.eval(first)?;
        let mut left_expr = first;
        for (op, expr) in rest {
            let right = self.eval(expr)?;
            if !self.compare_two(*op, &left, &right).map_err(|error| named(error, &[left_expr, expr]))? {
                return Ok(V::from(false));
            }
            (left, left_expr) = (right, expr);
        }
        Ok(V::from(true))
    }

    fn compare_two(&mut self, op: CmpOp, left: &V, right: &V) -> Res<bool> {
        left.usable()?;
        right.usable()?;
        if matches!(op, CmpOp::In | CmpOp::NotIn)
            && let Some(found) = self.in_thing(left, right)?
        {
            return Ok(found == (op == CmpOp::In));
        }
        let (a, b) = if let (Some(a), Some(b)) = (left.moment(), right.moment()) {
            (Value::Int(a), Value::Int(b))
        } else {
            (self.force(left.clone())?, self.force(right.clone())?)
        };
        Ok(match op {
            CmpOp::Eq => ops::equal(&a, &b)?,
            CmpOp::Ne => !ops::equal(&a, &b)?,
            CmpOp::Lt => ops::order(&a, &b)?.is_lt(),
            CmpOp::Le => ops::order(&a, &b)?.is_le(),
            CmpOp::Gt => ops::order(&a, &b)?.is_gt(),
            CmpOp::Ge => ops::order(&a, &b)?.is_ge(),
            CmpOp::In => ops::contains(&b, &a)?,
            CmpOp::NotIn => !ops::contains(&b, &a)?,
        })
    }

    fn index(&mut self, of: &Expr, index: &Expr, expr: &Expr) -> Res<V> {
        let object = self.eval(of)?;
        let index = self.eval(index)?;
        if object.is_undef() || object.unknown().is_some() {
            return Ok(object);
        }
        index.usable()?;
        let index = self.force(index)?;
        self.item(&object, &index, expr)
    }

    fn slice(&mut self, of: &Expr, parts: &[Option<Expr>; 3]) -> Res<V> {
        let object = self.eval(of)?;
        if object.is_undef() || object.unknown().is_some() {
            return Ok(object);
        }
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            if let Some(part) = part {
                let value = self.data(part)?;
                *bound = match value {
                    Value::Null => None,
                    Value::Int(number) => Some(number),
                    other => {
                        return Err(Error::kind_of(format!(
                            "a slice needs integers, not {}",
                            ops::article(&other)
                        )));
                    }
                };
            }
        }
        let [start, stop, step] = bounds;
        if let V::Seq(items) | V::Tuple(items) = &object {
            let places = ops::slice(start, stop, step, items.len())?;
            let picked = places.iter().filter_map(|place| items.get(*place).cloned()).collect();
            return Ok(if matches!(object, V::Tuple(_)) { V::tuple(picked) } else { V::list(picked) });
        }
        match self.force(object)? {
            Value::Str(text) => {
                let chars: Vec<char> = text.chars().collect();
                let places = ops::slice(start, stop, step, chars.len())?;
                Ok(V::from(places.iter().filter_map(|place| chars.get(*place)).collect::<String>()))
            }
            Value::List(items) => {
                let places = ops::slice(start, stop, step, items.len())?;
                Ok(V::from(places.iter().filter_map(|place| items.get(*place).cloned()).collect::<Vec<_>>()))
            }
            other => Err(Error::kind_of(format!("{} has no slices", ops::article(&other)))),
        }
    }

    /// The arguments of a call.
    pub fn args(&mut self, args: &CallArgs) -> Res<Args> {
        let mut result = Args { pos: Vec::with_capacity(args.pos.len()), kw: Vec::new() };
        for arg in &args.pos {
            let value = self.eval(arg)?;
            result.pos.push(self.settle(value)?);
        }
        if let Some(star) = &args.star {
            let value = self.eval(star)?;
            result.pos.extend(self.iterate(value)?);
        }
        for (name, arg) in &args.kw {
            let value = self.eval(arg)?;
            result.kw.push((name.clone(), self.settle(value)?));
        }
        if let Some(star) = &args.star_star {
            let value = self.data(star)?;
            let map = value.as_map().ok_or_else(|| Error::kind_of("'**' needs a dictionary"))?;
            result.kw.extend(map.iter().map(|(key, value)| (key.clone(), V::Data(value.clone()))));
        }
        Ok(result)
    }

    /// Applies a filter.
    pub fn filter(&mut self, name: &str, input: V, args: Args) -> Res<V> {
        let found = filters::find(name);
        let elsewhere = if found.is_some() { None } else { filters::elsewhere(name) };
        if found.is_none() && elsewhere.is_none() {
            let error = Error::new(ErrorKind::Syntax, format!("there is no filter '{name}'"));
            return Err(match filters::suggest(name) {
                Some(near) => error.hinted(near),
                None => error,
            });
        }
        self.burn(4)?;
        let mut input = self.settle(input)?;
        const OF_DICTIONARIES: [&str; 10] = [
            "dict2items",
            "combine",
            "items",
            "dictsort",
            "to_json",
            "to_nice_json",
            "to_yaml",
            "to_nice_yaml",
            "json_query",
            "pprint",
        ];
        if let V::Thing(thing) = &input
            && matches!(**thing, Thing::HostVars | Thing::Vars | Thing::Own)
            && OF_DICTIONARIES.contains(&filters::short(name))
        {
            input = V::Data(self.whole(&thing.clone())?);
        }
        if found.is_none_or(|filter| !filter.tolerant) {
            input.usable()?;
            for value in
                std::iter::once(&input).chain(&args.pos).chain(args.kw.iter().map(|(_, value)| value))
            {
                value.usable()?;
                if let V::Data(data @ (Value::List(_) | Value::Map(_))) = value
                    && let Some(reason) = data.unknown()
                {
                    return Err(Error::unknown(reason));
                }
            }
        }
        match (found, elsewhere) {
            (Some(filter), _) => (filter.run)(self, input, &args).map_err(|error| error.by("filter", name)),
            (None, known) => self.asked(known.unwrap_or_default(), &input, &args),
        }
    }

    /// A filter that is not built in.
    fn asked(&mut self, name: &str, input: &V, args: &Args) -> Res<V> {
        let given = std::iter::once(input).chain(&args.pos).map(V::to_value).collect::<Res<Vec<_>>>()?;
        let named = args.kw.iter().map(|(key, value)| Ok((key.clone(), value.to_value()?)));
        let answer = self.engine.services().lookup(
            &format!("{ASKED}{name}"),
            &given,
            &named.collect::<Res<Map>>()?,
            self.scope,
        );
        answer.map(V::Data).map_err(|reason| Error::new(ErrorKind::Lookup, reason))
    }

    /// Applies a test.
    pub fn test(&mut self, name: &str, input: V, args: Args) -> Res<bool> {
        let Some(test) = tests_::find(name) else {
            let error = Error::new(ErrorKind::Syntax, format!("there is no test '{name}'"));
            return Err(match tests_::suggest(name) {
                Some(near) => error.hinted(near),
                None => error,
            });
        };
        let input = self.settle(input)?;
        if !test.tolerant {
            input.usable()?;
            for value in args.pos.iter().chain(args.kw.iter().map(|(_, value)| value)) {
                value.usable()?;
            }
        }
        (test.run)(self, input, &args).map_err(|error| error.by("test", name))
    }
}

/// Names the expressions an operator was used on, where they are plain paths.
fn named(error: Error, operands: &[&Expr]) -> Error {
    if *error.kind() != ErrorKind::Type || !error.via().is_empty() || error.line().is_some() {
        return error;
    }
    let paths: Vec<String> =
        operands.iter().filter_map(|expr| expr.path()).map(|path| format!("'{path}'")).collect();
    if paths.is_empty() {
        return error;
    }
    error.about(&paths.join(" and "))
}
