//! A use of a role: by `roles`, a dependency, `import_role` or `include_role`.

use debark_value::{Map, Value};

use super::context::{Ctx, Scope};
use super::syntax;
use crate::source::Span;
use crate::yaml::{Key, Node};

/// A use of a role.
#[derive(Debug, Clone)]
pub(super) struct RoleRef {
    pub name: String,
    pub span: Span,
    /// Parameters: `vars` and what is no keyword.
    pub params: Map,
    /// `vars` given where it is used.
    pub inline: Map,
    /// `tasks_from`, `vars_from`, `defaults_from`, `handlers_from`.
    pub from: [Option<String>; 4],
    /// `allow_duplicates` where the role is used.
    pub allow_duplicates: Option<bool>,
    /// Whether argument specs are checked.
    pub validate: bool,
    /// `public`.
    pub public: bool,
    /// Whether it is imported or included, rather than listed.
    pub from_imports: bool,
}

pub(super) const TASKS: usize = 0;
pub(super) const VARS: usize = 1;
pub(super) const DEFAULTS: usize = 2;
pub(super) const HANDLERS: usize = 3;

impl RoleRef {
    pub fn new(name: String, span: Span) -> Self {
        Self {
            name,
            span,
            params: Map::new(),
            inline: Map::new(),
            from: [const { None }; 4],
            allow_duplicates: None,
            validate: true,
            public: true,
            from_imports: false,
        }
    }

    /// Whether later tasks see its variables.
    pub fn set_public(&mut self, public: bool) {
        self.public = public;
    }

    /// Reads the options of `import_role` and `include_role`.
    pub fn read_options(&mut self, ctx: &mut Ctx<'_>, args: &[(Key, Node)], scope: &Scope) {
        for (key, node) in args {
            let value = node.to_value();
            self.option(&key.name, &value, |text| syntax::render_static(text, &scope.vars)).unwrap_or_else(
                |why| {
                    ctx.error(node.span, format!("`{}` {why}", key.name));
                },
            );
        }
        self.from_imports = true;
        self.allow_duplicates.get_or_insert(true);
    }

    /// Takes one option.
    pub fn option(
        &mut self,
        name: &str,
        value: &Value,
        render: impl Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        let flag = |value: &Value, default: bool| match value {
            Value::Str(text) if syntax::is_template(text) => Ok(default),
            Value::Null => Ok(default),
            other => other.to_bool().map_err(|why| why.to_string()),
        };
        let index = match name {
            "tasks_from" => TASKS,
            "vars_from" => VARS,
            "defaults_from" => DEFAULTS,
            "handlers_from" => HANDLERS,
            "allow_duplicates" => {
                self.allow_duplicates = Some(flag(value, true)?);
                return Ok(());
            }
            "rolespec_validate" => {
                self.validate = flag(value, true)?;
                return Ok(());
            }
            "public" => {
                self.public = flag(value, true)?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        if value.is_null() {
            return Ok(());
        }
        let text = value.to_text().map_err(|why| why.to_string())?;
        if let Some(slot) = self.from.get_mut(index) {
            *slot = Some(render(&text).ok_or_else(|| format!("`{text}` is not known before the run"))?);
        }
        Ok(())
    }

    /// All that is given where it is used.
    pub fn given(&self) -> Map {
        let mut given = self.inline.clone();
        given.extend(self.params.iter().map(|(name, value)| (name.clone(), value.clone())));
        given
    }

    /// The same for equal uses.
    pub fn identity(&self) -> String {
        format!("{}|{:?}|{}", self.name, self.from, Value::from(self.given()))
    }
}
