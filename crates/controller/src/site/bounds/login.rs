//! By which logins a host may have tasks run: those that the play says for them.

use debark_value::Value;
use debark_wire::{Login, Logins};

use super::said::{Said, Stated};
use super::trusted::Trusted;
use super::{Local, View};
use crate::care::Care;
use crate::site::lock;

impl View<'_> {
    /// Whether a task may run by such a login. Nothing that only the host knows may be part of a user's name or a key's, and
    /// nothing such be an address.
    pub(super) fn login(
        &self,
        local: &Local,
        (trusted, stated): (&Trusted, &Stated),
        host: &str,
        logins: &Logins,
    ) -> Result<(), String> {
        let Logins { variables, keywords } = logins;
        let port = |login: &Login| login.port.map(|port| port.to_string());
        let (of_variables, of_keywords) = (port(variables), port(keywords));
        let asked: [(&Option<String>, &[&str], Care); 6] = [
            (&variables.user, &["ansible_user", "ansible_ssh_user"], Care::Exact),
            (&variables.key, &["ansible_private_key_file", "ansible_ssh_private_key_file"], Care::Exact),
            (&variables.host, &["ansible_host", "ansible_ssh_host"], Care::Name),
            (&of_variables, &["ansible_port", "ansible_ssh_port"], Care::Word),
            (&keywords.user, &["remote_user"], Care::Exact),
            (&of_keywords, &["port"], Care::Word),
        ];
        for (text, names, care) in asked {
            let Some(text) = text else { continue };
            let written = self.written(local, (trusted, stated), names);
            if !written.iter().any(|written| trusted.allows(&written.to_string(), text, care, &[])) {
                let name = names.first().copied().unwrap_or_default();
                return Err(format!(
                    "asks to run a task on {host} with `{name}` as {text}, which is not what the play says"
                ));
            }
        }
        Ok(())
    }

    /// What plays say there for a task: in its own keywords, in variables that it sees, in those that it and earlier tasks
    /// set, and in what includes hand down.
    fn written(&self, local: &Local, (trusted, stated): (&Trusted, &Stated), names: &[&str]) -> Vec<Value> {
        let said = [&*self.said, &local.said];
        let all = || said.into_iter().flat_map(|said| said.tasks.iter().chain(&said.others));
        let includes = || all().map(|stated| &stated.task).filter(|task| task.action.starts_with("include_"));
        let mut found: Vec<Value> = Vec::new();
        for name in names {
            let keyword = match *name {
                "remote_user" => Some(&stated.keywords.remote_user),
                "port" => Some(&stated.keywords.port),
                _ => None,
            };
            if let Some(keyword) = keyword {
                found.extend(keyword.clone());
                found.extend(includes().filter_map(|task| task.args.get("apply")?.get(name).cloned()));
                continue;
            }
            found.extend(trusted.scope.get_raw(name).map(|(value, _)| value.clone()));
            let set = |said: &Said| -> Vec<Value> {
                let all = said.tasks.iter().chain(&said.others).map(|stated| &stated.task);
                let all = all.filter(|task| task.action == "set_fact");
                all.filter_map(|task| task.args.get(*name).cloned()).collect()
            };
            found.extend(set(&self.said));
            found.extend(set(&local.said));
            for (index, earlier) in (0..self.compiled.play.index).zip(&self.site.plays) {
                found.extend(set(&self.site.said(index, earlier)));
                found.extend(set(&lock(&self.site.local(index, self.host)).said));
            }
            found.extend(includes().filter_map(|task| task.keywords.vars.get(*name).cloned()));
            found.extend(
                includes().filter_map(|task| task.args.get("apply")?.get("vars")?.get(name).cloned()),
            );
        }
        found
    }
}
