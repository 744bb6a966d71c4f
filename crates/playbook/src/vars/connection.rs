//! How to reach a host, as its variables say.

use debark_value::{Map, Value};

/// How the play reaches the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// OpenSSH.
    #[default]
    Ssh,
    /// This machine, without a network.
    Local,
}

/// The connection settings of a host. `None`: not set, so that the command line or ssh's own configuration decides.
#[derive(Clone, Default, PartialEq)]
pub struct Connection {
    /// `ansible_host`, or else the host's name.
    pub host: String,
    /// `ansible_port`.
    pub port: Option<u16>,
    /// `ansible_user`.
    pub user: Option<String>,
    /// `ansible_ssh_private_key_file`.
    pub key_file: Option<String>,
    /// `ansible_ssh_common_args`, not split.
    pub ssh_common_args: Option<String>,
    /// `ansible_ssh_extra_args`, not split.
    pub ssh_extra_args: Option<String>,
    /// `ansible_connection`.
    pub kind: Option<Kind>,
    /// `ansible_become`.
    pub become_: Option<bool>,
    /// `ansible_become_user`.
    pub become_user: Option<String>,
    /// `ansible_become_method`.
    pub become_method: Option<String>,
    /// `ansible_become_flags`.
    pub become_flags: Option<String>,
    /// `debark_vpn`, as it stands.
    pub vpn: Option<Value>,
    /// `debark_known_hosts`.
    pub known_hosts: Option<String>,
    /// `ansible_become_password`. Secret.
    pub become_password: Option<String>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("kind", &self.kind)
            .field("become_user", &self.become_user)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// From a host's variables. `render` renders the templates of one value.
    ///
    /// # Errors
    /// Says which variable is wrong and why.
    pub fn of(
        name: &str,
        vars: &Map,
        render: &dyn Fn(&Value) -> Result<Value, String>,
    ) -> Result<Self, String> {
        let get = |names: &[&str]| -> Result<Option<(String, Value)>, String> {
            let Some((key, value)) = names.iter().find_map(|name| vars.get_key_value(*name)) else {
                return Ok(None);
            };
            let value = render(value).map_err(|why| format!("`{key}` of host {name}: {why}"))?;
            Ok(Some((key.to_string(), value)).filter(|(_, value)| !value.is_null()))
        };
        let text = |names: &[&str]| -> Result<Option<String>, String> {
            let Some((key, value)) = get(names)? else { return Ok(None) };
            let text = value.to_text().map_err(|why| format!("`{key}` of host {name} {why}"))?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        };
        let port = match get(&["ansible_port", "ansible_ssh_port"])? {
            None => None,
            Some((key, value)) => {
                let port =
                    value.to_int().ok().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                Some(port.ok_or_else(|| format!("`{key}` of host {name} is `{value}`, which is no port"))?)
            }
        };
        let become_ = match get(&["ansible_become"])? {
            None => None,
            Some((key, value)) => {
                Some(value.to_bool().map_err(|why| format!("`{key}` of host {name} {why}"))?)
            }
        };
        let kind = match text(&["ansible_connection"])?.as_deref() {
            None => None,
            Some("local" | "ansible.builtin.local") => Some(Kind::Local),
            Some("ssh" | "smart" | "ansible.builtin.ssh" | "paramiko" | "paramiko_ssh") => Some(Kind::Ssh),
            Some(other) => {
                return Err(format!(
                    "`ansible_connection` of host {name} is `{other}`; debark knows ssh and local"
                ));
            }
        };
        Ok(Self {
            host: text(&["ansible_host", "ansible_ssh_host"])?.unwrap_or_else(|| name.to_owned()),
            port,
            user: text(&["ansible_user", "ansible_ssh_user"])?,
            key_file: text(&["ansible_private_key_file", "ansible_ssh_private_key_file"])?,
            ssh_common_args: text(&["ansible_ssh_common_args"])?,
            ssh_extra_args: text(&["ansible_ssh_extra_args"])?,
            kind,
            vpn: get(&["debark_vpn"])?.map(|(_, value)| value),
            known_hosts: text(&["debark_known_hosts"])?,
            become_,
            become_user: text(&["ansible_become_user"])?,
            become_method: text(&["ansible_become_method"])?,
            become_flags: text(&["ansible_become_flags"])?,
            become_password: text(&[
                "ansible_become_password",
                "ansible_become_pass",
                "ansible_sudo_pass",
                "ansible_su_pass",
            ])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_variables() {
        let vars = debark_value::map! {
            "ansible_host" => "10.0.0.1", "ansible_port" => "2222", "ansible_become" => "yes",
            "ansible_become_pass" => "hunter22", "ansible_connection" => "ssh",
        };
        let plain = |value: &Value| Ok(value.clone());
        let connection = Connection::of("web1", &vars, &plain).unwrap();
        assert_eq!(
            (connection.host.as_str(), connection.port, connection.become_),
            ("10.0.0.1", Some(2222), Some(true))
        );
        assert!(!format!("{connection:?}").contains("hunter22"));
        let wrong = debark_value::map! { "ansible_port" => 70000 };
        let error = Connection::of("web1", &wrong, &plain).unwrap_err();
        assert_eq!(error, "`ansible_port` of host web1 is `70000`, which is no port");
        assert_eq!(Connection::of("web1", &Map::new(), &plain).unwrap().host, "web1");
    }
}
