//! Where a task runs if not through this agent's connection: on another host, or on this one by another login.
//!
//! A play has one connection per host, opened as inventory, play and `-e` say. What tasks, blocks and roles say of the login
//! (`remote_user`, `port`), and what variables say that came later (`vars` of a task, `set_fact`), is found out here, task by
//! task; the controller keeps a further connection for each login. As in Ansible, variables win over keywords.

use debark_expr::{LayerKind, Scope};
use debark_value::Value;
use debark_wire::{Login, Logins};

use crate::run::Running;
use crate::task::{Doing, Done};

const USER: &[&str] = &["ansible_user", "ansible_ssh_user"];
const PORT: &[&str] = &["ansible_port", "ansible_ssh_port"];
const HOST: &[&str] = &["ansible_host", "ansible_ssh_host"];
const KEY: &[&str] = &["ansible_private_key_file", "ansible_ssh_private_key_file"];

/// Another connection than this agent's.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// The host.
    pub host: String,
    /// Whether it is this agent's own, by another login.
    pub own: bool,
    /// The login, as far as the task says.
    pub logins: Logins,
}

impl Running<'_> {
    /// Where a task runs, if not through this agent's own connection.
    ///
    /// # Errors
    /// A keyword or a variable cannot be rendered, or is open in check mode.
    pub fn elsewhere(&self, doing: &Doing, scope: &Scope) -> Result<Option<Elsewhere>, Box<Done>> {
        let own = self.play.borrow().host.host.clone();
        let delegate = match &doing.keywords.delegate_to {
            Some(host) => {
                let host =
                    self.on.engine.render_value(host, scope).map_err(|e| format!("`delegate_to`: {e}"))?;
                Some(host.to_string()).filter(|host| !host.is_empty() && *host != own)
            }
            None => None,
        };
        if let Some(host) = delegate {
            let variables = self.variables(scope, false)?;
            let keywords = self.keywords(doing, scope, |_, _| true)?;
            return Ok(Some(Elsewhere { host, own: false, logins: Logins { variables, keywords } }));
        }
        if self.play.borrow().host.local {
            return Ok(None);
        }
        let variables = self.variables(scope, true)?;
        let named = |names: &[&str]| names.iter().any(|name| scope.get_raw(name).is_some());
        let keywords = self.keywords(doing, scope, |name, value| {
            // The play's own were followed when the connection was opened.
            let said = &self.play.borrow().play.keywords;
            let (said, names) = if name == "port" { (&said.port, PORT) } else { (&said.remote_user, USER) };
            said.as_ref() != Some(value) && !named(names)
        })?;
        let logins = Logins { variables, keywords };
        Ok(self.differs(&logins).then_some(Elsewhere { host: own, own: true, logins }))
    }

    /// Whether a login is another one than that of the connection.
    fn differs(&self, Logins { variables, keywords }: &Logins) -> bool {
        let user = variables.user.as_ref().or(keywords.user.as_ref());
        let port = variables.port.or(keywords.port);
        let way = port.is_some() && port != self.play.borrow().host.login.port
            || variables.host.is_some()
            || variables.key.is_some();
        match user {
            Some(user) if !self.is_me(user) => {
                // Root can be anybody without another connection.
                way || variables.user.is_some() || self.on.user != "root" || self.absent().is_some()
            }
            _ => way,
        }
    }

    /// Whether the connection is a user's.
    pub fn is_me(&self, user: &str) -> bool {
        let host = &self.play.borrow().host;
        host.login.user.as_deref() == Some(user) || host.absent.is_none() && user == self.on.user
    }

    /// What variables say that the controller did not know when it connected; for another host, none that are of this one.
    fn variables(&self, scope: &Scope, own: bool) -> Result<Login, Box<Done>> {
        let text = |names: &[&str]| -> Result<Option<String>, Box<Done>> {
            let play = self.play.borrow();
            let found = names.iter().find_map(|name| {
                let counts =
                    |layer: &_, kind| own || kind == LayerKind::Templated && !play.is_inventory(layer);
                scope.get_of(name, counts).map(|(value, layer, kind)| (name, value, layer, kind))
            });
            let found = found.filter(|(_, _, layer, _)| !play.is_foreknown(layer, own));
            drop(play);
            let Some((name, value, _, kind)) = found else { return Ok(None) };
            let value = match kind {
                LayerKind::Plain => value.clone(),
                LayerKind::Templated => {
                    self.on.engine.render_value(value, scope).map_err(|e| format!("`{name}`: {e}"))?
                }
            };
            self.said(&value)
        };
        let port = text(PORT)?.map(|text| port("ansible_port", &text)).transpose()?;
        Ok(Login { user: text(USER)?, port, host: text(HOST)?, key: text(KEY)? })
    }

    /// What keywords say, those that count.
    fn keywords(
        &self,
        doing: &Doing,
        scope: &Scope,
        counts: impl Fn(&str, &Value) -> bool,
    ) -> Result<Login, Box<Done>> {
        let text = |name: &str, value: &Option<Value>| -> Result<Option<String>, Box<Done>> {
            let Some(value) = value.as_ref().filter(|value| counts(name, value)) else { return Ok(None) };
            let value = self.on.engine.render_value(value, scope).map_err(|e| format!("`{name}`: {e}"))?;
            self.said(&value)
        };
        let port = text("port", &doing.keywords.port)?.map(|text| port("port", &text)).transpose()?;
        Ok(Login { user: text("remote_user", &doing.keywords.remote_user)?, port, ..Login::default() })
    }

    fn said(&self, value: &Value) -> Result<Option<String>, Box<Done>> {
        if let Some(reason) = value.unknown() {
            return Err(Box::new(Done::unknown(reason)));
        }
        let nothing = matches!(value, Value::Null | Value::Omit);
        Ok(Some(value.to_string()).filter(|text| !nothing && !text.is_empty()))
    }
}

fn port(name: &str, text: &str) -> Result<u16, String> {
    let port = text.trim().parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("`{name}` is `{text}`, which is no port"))
}
