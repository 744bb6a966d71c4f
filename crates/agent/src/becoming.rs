//! Whom a task becomes: `become`, and `remote_user` where the connection is root's.

use debark_expr::{LayerKind, Scope};
use debark_value::Value;
use debark_wire::Become;
use zeroize::Zeroizing;

use crate::login::Elsewhere;
use crate::run::Running;
use crate::task::Doing;

/// Variables with the password.
const PASSWORDS: [&str; 3] = ["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"];

impl Running<'_> {
    /// Whom to become: `ansible_become*` variables above keywords, as documented. Who the agent of another connection is
    /// is for that agent to find out.
    pub fn becoming(
        &self,
        doing: &Doing,
        scope: &Scope,
        elsewhere: Option<&Elsewhere>,
    ) -> Result<Option<Become>, String> {
        let keywords = &doing.keywords;
        let variable = |name: &str| -> Result<Option<Value>, String> {
            if scope.get_raw(name).is_none() {
                return Ok(None);
            }
            self.on.engine.eval(name, scope).map(Some).map_err(|e| format!("`{name}`: {e}"))
        };
        let setting = |name: &str, keyword: &Option<Value>| -> Result<Option<String>, String> {
            let value = match (variable(name)?, keyword) {
                (Some(value), _) => Some(value),
                (None, Some(value)) => {
                    Some(self.on.engine.render_value(value, scope).map_err(|e| format!("`{name}`: {e}"))?)
                }
                (None, None) => None,
            };
            Ok(value
                .filter(|v| !v.is_null() && !matches!(v, Value::Omit))
                .map(|v| v.to_string())
                .filter(|v| !v.is_empty()))
        };
        let wanted = match variable("ansible_become")? {
            Some(value) => value.to_bool().map_err(|e| format!("`ansible_become` {e}"))?,
            None => self.flag(&keywords.become_, "become", scope)?.unwrap_or(false),
        };
        if !wanted {
            return if elsewhere.is_some() { Ok(None) } else { self.remote_user(doing, scope) };
        }
        let become_ = Become {
            method: setting("ansible_become_method", &keywords.become_method)?
                .map(|method| debark_modules::short_name(&method).to_owned())
                .unwrap_or_else(|| "sudo".into()),
            user: setting("ansible_become_user", &keywords.become_user)?.unwrap_or_else(|| "root".into()),
            exe: setting("ansible_become_exe", &keywords.become_exe)?,
            flags: setting("ansible_become_flags", &keywords.become_flags)?,
        };
        if !matches!(become_.method.as_str(), "sudo" | "su" | "doas") {
            return Err(format!("become_method `{}` is not known (sudo, su and doas are)", become_.method));
        }
        Ok(Some(become_).filter(|b| elsewhere.is_some() || b.user != self.on.user))
    }

    /// `remote_user` of a task, where the connection is root's, who can be anybody.
    fn remote_user(&self, doing: &Doing, scope: &Scope) -> Result<Option<Become>, String> {
        let named = ["ansible_user", "ansible_ssh_user"].iter().any(|name| scope.get_raw(name).is_some());
        let Some(user) = doing.keywords.remote_user.as_ref().filter(|_| !named) else { return Ok(None) };
        let user = self.on.engine.render_value(user, scope).map_err(|e| format!("`remote_user`: {e}"))?;
        let user = user.to_string();
        if user.is_empty() || self.on.user != "root" || self.is_me(&user) || self.play.borrow().host.local {
            return Ok(None);
        }
        Ok(Some(Become { method: "su".into(), user, exe: None, flags: None }))
    }

    /// The password with which somebody is become, if one is known. This copy is wiped; what masks it in the output stays for the run.
    pub fn password(&self, become_: &Become, scope: &Scope) -> Option<Zeroizing<String>> {
        let from_vars = PASSWORDS.iter().find_map(|name| {
            scope.get_raw(name)?;
            self.on.engine.eval(name, scope).ok().map(|value| Zeroizing::new(value.to_string()))
        });
        let play = self.play.borrow();
        let given = || {
            let known = &play.host.become_passwords;
            known
                .iter()
                .find(|(user, _)| *user == become_.user || user == "*")
                .map(|(_, password)| Zeroizing::new(password.to_string()))
        };
        let password = from_vars.filter(|text| !text.is_empty()).or_else(given)?;
        self.on.secrets.borrow_mut().add(&password);
        Some(password)
    }

    /// The same for another host, as far as the play itself says: this host's password is not for others, and what the
    /// controller knows of that host it adds.
    pub fn password_elsewhere(&self, scope: &Scope) -> Option<Zeroizing<String>> {
        let inventory = |layer: &_| self.play.borrow().is_inventory(layer);
        let text = PASSWORDS.iter().find_map(|name| {
            let counts = |layer: &_, kind| kind == LayerKind::Templated && !inventory(layer);
            let (value, ..) = scope.get_of(name, counts)?;
            self.on.engine.render_value(value, scope).ok().map(|value| value.to_string())
        })?;
        let password = Zeroizing::new(text);
        self.on.secrets.borrow_mut().add(&password);
        Some(password).filter(|text| !text.is_empty())
    }
}
