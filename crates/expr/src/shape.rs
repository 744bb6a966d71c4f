//! What a text may come to, as far as its writing tells: which parts are fixed, and which come from variables.
//!
//! The controller holds what hosts ask for against it: a host renders, but may only ask what the text can mean.

use debark_value::Value;

use crate::engine::{TemplateOptions, is_template};
use crate::syntax::ast::{BinOp, CallArgs, Expr, Kind, Stmt};
use crate::syntax::{parse_expression, parse_template};

/// More ways than this to read one text are not told apart.
const WAYS: usize = 32;
/// A text has no more calls of lookups than this.
const CALLS: usize = 1000;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands there as it is.
    Text(String),
    /// A variable, and its members.
    Path(Vec<String>),
    /// Only rendering tells.
    Unknown,
}

/// A text, part by part.
pub type Pieces = Vec<Piece>;

/// One `lookup(...)`, `query(...)` or `q(...)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupCall {
    /// The call as written: an expression, or a text with a template where that makes a difference.
    pub source: String,
    /// What its name may be.
    pub names: Vec<Pieces>,
    /// What the texts in its terms may be.
    pub terms: Vec<Pieces>,
    /// Its options, and what the texts in them may be.
    pub options: Vec<(String, Vec<Pieces>)>,
    /// Whether terms or options are given by a variable as a whole (`*args`, `**options`).
    pub open: bool,
}

/// All ways in which a text can be read: one for each branch of a condition, for each default and each item of a list.
pub fn pieces(text: &str) -> Vec<Pieces> {
    if !is_template(text) {
        return vec![vec![Piece::Text(text.to_owned())]];
    }
    let Ok(template) = parse_template(text, &TemplateOptions::text()) else { return unknown() };
    let mut ways = vec![Vec::new()];
    for statement in &template.body {
        let next = match statement {
            Stmt::Data(text) => vec![vec![Piece::Text(text.to_string())]],
            Stmt::Emit(expr) => of(expr),
            _ => unknown(),
        };
        ways = product(&ways, &next);
    }
    ways
}

/// The lookups in a text: an expression, a text with templates, a template's source with whatever delimiters.
pub fn lookups(text: &str) -> Vec<LookupCall> {
    let mut found = Vec::new();
    for word in ["lookup", "query", "q"] {
        for (at, _) in text.match_indices(word) {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.')) {
                continue;
            }
            let Some(rest) = text.get(at..) else { continue };
            let after = rest.get(word.len()..).unwrap_or_default();
            if found.len() >= CALLS || !after.trim_start().starts_with('(') {
                continue;
            }
            let Some(written) = balanced(rest) else { continue };
            found.extend(call(written));
            // In a text of a playbook backslashes stand for themselves.
            if written.contains('\\') {
                found.extend(call(&format!("{{{{ {written} }}}}")));
            }
        }
    }
    found
}

/// From the beginning to the parenthesis that closes the first one.
fn balanced(text: &str) -> Option<&str> {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    for (at, c) in text.char_indices().take(64 << 10) {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return text.get(..=at);
                }
            }
            _ => {}
        }
    }
    None
}

fn call(source: &str) -> Option<LookupCall> {
    let template = match is_template(source) {
        true => parse_template(source, &TemplateOptions::text()).ok()?,
        false => parse_expression(source).ok()?,
    };
    let Some(Stmt::Emit(Expr { kind: Kind::Call(_, args), .. })) = template.body.first() else { return None };
    let CallArgs { pos, kw, star, star_star } = args;
    let (name, terms) = pos.split_first()?;
    Some(LookupCall {
        source: source.to_owned(),
        names: of(name),
        terms: terms.iter().flat_map(of).collect(),
        options: kw
            .iter()
            .filter(|(key, _)| !matches!(&**key, "wantlist" | "errors"))
            .map(|(key, value)| (key.to_string(), of(value)))
            .collect(),
        open: star.is_some() || star_star.is_some(),
    })
}

fn unknown() -> Vec<Pieces> {
    vec![vec![Piece::Unknown]]
}

fn product(left: &[Pieces], right: &[Pieces]) -> Vec<Pieces> {
    if left.len() * right.len() > WAYS {
        return unknown();
    }
    let both = |(one, other): (&Pieces, &Pieces)| one.iter().chain(other).cloned().collect();
    left.iter().flat_map(|one| right.iter().map(move |other| both((one, other)))).collect()
}

/// The ways to read an expression; of a list or dictionary the texts within it.
fn of(expr: &Expr) -> Vec<Pieces> {
    let ways = match &expr.kind {
        Kind::Const(value @ (Value::Str(_) | Value::Int(_) | Value::Bool(_))) => {
            vec![vec![Piece::Text(value.to_string())]]
        }
        Kind::Name(_) | Kind::Attr(..) | Kind::Index(..) => match path(expr) {
            Some(path) => vec![vec![Piece::Path(path)]],
            None => unknown(),
        },
        Kind::Concat(parts) => parts.iter().fold(vec![Vec::new()], |ways, part| product(&ways, &of(part))),
        // Of lists it is the items of both; as a text is no list, either reading is safe to offer.
        Kind::Binary(BinOp::Add, left, right) if list(left) || list(right) => [of(left), of(right)].concat(),
        Kind::Binary(BinOp::Add, left, right) => product(&of(left), &of(right)),
        Kind::Cond(_, then, otherwise) => {
            let mut ways = of(then);
            ways.extend(otherwise.iter().flat_map(|otherwise| of(otherwise)));
            ways
        }
        Kind::Or(left, right) => [of(left), of(right)].concat(),
        Kind::List(items) | Kind::Tuple(items) => items.iter().flat_map(of).collect(),
        Kind::Dict(entries) => entries.iter().flat_map(|(_, value)| of(value)).collect(),
        Kind::Filter(Some(input), name, args) => match &**name {
            "default" | "d" => {
                let mut ways = of(input);
                ways.extend(args.pos.first().into_iter().flat_map(of));
                ways
            }
            "string" | "mandatory" | "first" | "last" | "list" | "flatten" | "unique" => of(input),
            _ => unknown(),
        },
        _ => unknown(),
    };
    if ways.len() > WAYS * 8 { unknown() } else { ways }
}

fn list(expr: &Expr) -> bool {
    matches!(expr.kind, Kind::List(_) | Kind::Tuple(_))
}

fn path(expr: &Expr) -> Option<Vec<String>> {
    match &expr.kind {
        Kind::Name(name) => Some(vec![name.to_string()]),
        Kind::Attr(object, name) => {
            let mut path = path(object)?;
            path.push(name.to_string());
            Some(path)
        }
        Kind::Index(object, index) => {
            let Kind::Const(Value::Str(name)) = &index.kind else { return None };
            let mut path = path(object)?;
            path.push(name.to_string());
            Some(path)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.into())
    }

    fn name(path: &[&str]) -> Piece {
        Piece::Path(path.iter().map(|part| (*part).into()).collect())
    }

    #[test]
    fn fixed_parts_and_variables_are_told_apart() {
        assert_eq!(pieces("plain"), [[text("plain")]]);
        assert_eq!(pieces("a/{{ x.y['z'] }}.conf"), [[text("a/"), name(&["x", "y", "z"]), text(".conf")]]);
        assert_eq!(pieces("{{ 'k/' ~ u + '.pub' }}"), [[text("k/"), name(&["u"]), text(".pub")]]);
        assert_eq!(pieces("{{ x | default('d') }}"), [[name(&["x"])], [text("d")]]);
        assert_eq!(pieces("{{ 'a' if c else 'b' }}/x"), [[text("a"), text("/x")], [text("b"), text("/x")]]);
        assert_eq!(pieces("{{ x | upper }}"), [[Piece::Unknown]]);
        assert_eq!(pieces("{% if a %}b{% endif %}"), [[Piece::Unknown]]);
        assert_eq!(pieces("{{ broken"), [[Piece::Unknown]]);
    }

    #[test]
    fn lookups_are_found_wherever_they_stand() {
        let source =
            "# x\n<% lookup('file', 'a)b' ~ x, rstrip=false) %> {{ q('env', 'HOME') | upper }} my_query('z')";
        let found = lookups(source);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].names, [[text("file")]]);
        assert_eq!(found[0].terms, [[text("a)b"), name(&["x"])]]);
        assert_eq!(found[0].options, [("rstrip".to_owned(), vec![vec![text("False")]])]);
        assert_eq!(found[1].source, "q('env', 'HOME')");
        let nested = lookups("lookup('file', lookup('env', 'X') ~ '/y')");
        assert_eq!(nested.len(), 2);
        assert_eq!(nested[0].terms, [[Piece::Unknown, text("/y")]]);
        assert!(lookups("lookup lookup( lookup('x'").is_empty());
        // As an expression reads it, and as a text of a playbook does.
        let both = lookups(r"{{ lookup('pipe', 'printf a\\b') }}");
        let terms: Vec<_> = both.iter().map(|call| call.terms.clone()).collect();
        assert_eq!(terms, [[[text(r"printf a\b")]], [[text(r"printf a\\b")]]]);
        assert_eq!(lookups("q('first_found', {'files': ['a', b], 'paths': p})")[0].terms.len(), 3);
    }
}
