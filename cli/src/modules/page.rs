//! A module's reference: for terminals, as Markdown, as JSON. All from the table that checks playbooks.

use anstyle::{AnsiColor, Style};
use debark_modules::param::{Field, Kind, Spec};
use serde_json::{Value, json};

use super::default;

/// A module or action.
pub struct Page {
    /// Its parameters.
    pub spec: &'static Spec,
    /// Its name without collection.
    pub short: &'static str,
    /// Its other names.
    pub aliases: Vec<&'static str>,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Columns of running text.
const WIDTH: usize = 96;

impl Page {
    /// The first sentence or so of what it does.
    pub fn summary(&self) -> String {
        paragraphs(self.spec.doc).into_iter().next().unwrap_or_default()
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{BOLD}{}{BOLD:#}\n", self.spec.name);
        if !self.aliases.is_empty() {
            out += &format!("{DIM}also:{DIM:#} {}\n", self.aliases.join(", "));
        }
        for paragraph in paragraphs(self.spec.doc) {
            out += &format!("\n{}", wrapped(&paragraph, 0));
        }
        let fields: Vec<_> = shown(self.spec).collect();
        if !fields.is_empty() {
            out += &format!("\n{BOLD}Parameters{BOLD:#}\n");
        }
        let name_style = AnsiColor::Cyan.on_default();
        for field in fields {
            out += &format!("\n  {name_style}{}{name_style:#}  {DIM}{}{DIM:#}\n", field.name, facts(field));
            for paragraph in paragraphs(field.doc) {
                out += &wrapped(&paragraph, 4);
            }
        }
        let rules = rules(self.spec);
        if !rules.is_empty() {
            out += &format!("\n{BOLD}Rules{BOLD:#}\n\n");
            rules.iter().for_each(|rule| out += &wrapped(rule, 2));
        }
        out
    }

    /// As a section of the reference.
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n`{}`", self.short, self.spec.name);
        if !self.aliases.is_empty() {
            out += &format!(", also `{}`", self.aliases.join("`, `"));
        }
        out += "\n";
        for paragraph in paragraphs(self.spec.doc) {
            out += &format!("\n{paragraph}\n");
        }
        let mut fields = shown(self.spec).peekable();
        if fields.peek().is_some() {
            out += "\n| parameter | type | default | |\n|---|---|---|---|\n";
        }
        let cell = |text: String| text.replace('|', "\\|");
        for field in fields {
            let mut name = format!("`{}`", field.name);
            if !field.aliases.is_empty() {
                name += &format!(" (also `{}`)", field.aliases.join("`, `"));
            }
            let default = match default::value(field) {
                Some(value) => format!("`{}`", plain(&value)),
                None if field.required => "**required**".into(),
                None => String::new(),
            };
            let kind = match &field.kind {
                Kind::Choice(words) => format!("`{}`", words.join("`, `")),
                kind => kind.name(),
            };
            out += &format!(
                "| {} | {} | {} | {} |\n",
                name,
                cell(kind),
                cell(default),
                cell(paragraphs(field.doc).join(" "))
            );
        }
        let rules = rules(self.spec);
        if !rules.is_empty() {
            out += "\n";
            rules.iter().for_each(|rule| out += &format!("- {rule}\n"));
        }
        out
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let spec = self.spec;
        let parameters: Vec<Value> = shown(spec)
            .map(|field| {
                json!({
                    "name": field.name,
                    "aliases": field.aliases,
                    "type": type_word(&field.kind),
                    "elements": if let Kind::List(of) = field.kind { Some(type_word(of)) } else { None },
                    "choices": choices(&field.kind),
                    "required": field.required,
                    "default": default::value(field),
                    "doc": paragraphs(field.doc).join("\n\n"),
                })
            })
            .collect();
        json!({
            "name": spec.name,
            "short_name": self.short,
            "aliases": self.aliases,
            "doc": paragraphs(spec.doc).join("\n\n"),
            "parameters": parameters,
            "free_form": spec.rules.free_form.is_some(),
            "any_parameter": spec.rules.any_key,
            "exclusive": spec.rules.exclusive,
            "one_of": spec.rules.one_of,
            "together": spec.rules.together,
            "required_if": spec.rules.when.iter().map(|(name, value, needs)| json!({
                "parameter": name, "value": value, "needs": needs,
            })).collect::<Vec<_>>(),
        })
    }
}

/// All modules as one Markdown file.
pub fn markdown(all: &[Page]) -> String {
    let mut out = String::from(
        "# Modules\n\n<!-- Made by scripts/reference from the tables in crates/modules; do not edit. -->\n\n\
         What tasks can do. `debark modules NAME` shows the same in a terminal. Names of the collections\n\
         `ansible.builtin`, `ansible.legacy`, `ansible.posix` and `community.general` find them, too.\n\n",
    );
    for page in all {
        out += &format!("- [{}](#{}): {}\n", page.short, page.short, page.summary());
    }
    all.iter().for_each(|page| out += &format!("\n{}", page.markdown()));
    out
}

/// Parameters that a user can write: free-form text has no name of its own in playbooks.
fn shown(spec: &Spec) -> impl Iterator<Item = &'static Field> + use<> {
    spec.all().filter(|field| !field.name.starts_with('_'))
}

/// Type, default and other names in one phrase.
fn facts(field: &Field) -> String {
    let mut facts = vec![field.kind.name()];
    if field.required {
        facts.push("required".into());
    }
    if let Some(value) = default::value(field) {
        facts.push(format!("default {}", plain(&value)));
    }
    let aliases: Vec<_> = field.aliases.iter().copied().filter(|alias| !alias.starts_with('_')).collect();
    if !aliases.is_empty() {
        facts.push(format!("also {}", aliases.join(", ")));
    }
    facts.join(", ")
}

/// A value as in YAML, texts without quotes where that is clear.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn rules(spec: &Spec) -> Vec<String> {
    let names = |group: &[&str]| format!("`{}`", group.join("`, `"));
    let rules = &spec.rules;
    let mut out = Vec::new();
    out.extend(rules.exclusive.iter().map(|group| format!("At most one of {}.", names(&named(group)))));
    out.extend(rules.one_of.iter().map(|group| format!("At least one of {}.", names(&named(group)))));
    out.extend(rules.together.iter().map(|group| format!("{} go together.", names(&named(group)))));
    out.extend(
        rules
            .when
            .iter()
            .map(|(name, value, needs)| format!("`{name}: {value}` needs {}.", names(&named(needs)))),
    );
    if let Some(name) = rules.free_form {
        out.push(match name.starts_with('_') {
            true => format!("Text after the name: `{}: text`.", debark_modules::short_name(spec.name)),
            false => {
                format!("Text after the name is `{name}`: `{}: text`.", debark_modules::short_name(spec.name))
            }
        });
    }
    if rules.any_key {
        out.push("Takes parameters of any other name.".into());
    }
    out
}

/// Names of a rule, with the free-form text called what it is.
fn named<'a>(group: &[&'a str]) -> Vec<&'a str> {
    group.iter().map(|name| if name.starts_with('_') { "text after the name" } else { name }).collect()
}

fn type_word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Str | Kind::Choice(_) => "str",
        Kind::Bool => "bool",
        Kind::Int => "int",
        Kind::Float => "float",
        Kind::Path => "path",
        Kind::List(_) => "list",
        Kind::Dict => "dict",
        Kind::Raw => "any",
        Kind::Mode => "mode",
    }
}

fn choices(kind: &Kind) -> Option<&'static [&'static str]> {
    match kind {
        Kind::Choice(words) => Some(words),
        Kind::List(of) => choices(of),
        _ => None,
    }
}

/// Doc comments: lines of a paragraph joined, markup of the source kept.
fn paragraphs(doc: &str) -> Vec<String> {
    let text: Vec<&str> = doc.lines().map(str::trim).collect();
    text.split(|line| line.is_empty())
        .map(|lines| lines.join(" "))
        .filter(|paragraph| !paragraph.is_empty())
        .collect()
}

fn wrapped(text: &str, indent: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && indent + column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(&" ".repeat(indent));
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_with_its_indent() {
        let text = "word ".repeat(40);
        let wrapped = wrapped(&text, 4);
        assert!(wrapped.lines().count() > 1);
        assert!(wrapped.lines().all(|line| line.starts_with("    word") && line.len() <= WIDTH), "{wrapped}");
    }

    #[test]
    fn paragraphs_are_joined_lines() {
        assert_eq!(paragraphs(" A\n b.\n\n C.\n"), ["A b.", "C."]);
    }
}
