//! Further sessions with a host: for tasks whose login is not that of the host's own session.
//!
//! Each is an entry among the hosts, under a name that no host has, and runs nothing but the calls that it is sent. It is
//! opened by the first task that wants it and kept for the rest of the play.

use debark_connect::Problem;
use debark_wire::{Answer, Event, Logins, Request, ToAgent};

use super::Engine;
use crate::delegate::unreachable;
use crate::event::Note;
use crate::hosts::{Further, Host, Phase};

impl Engine<'_> {
    /// The name of the session with a host by a login: the host's own, unless that logged in otherwise.
    pub(crate) fn by_login(&mut self, host: &str, logins: Logins) -> String {
        if logins == Logins::default() || self.world.local(host) {
            return host.to_owned();
        }
        let route = self.world.route(host, &logins);
        let own = match self.hosts.get(host).filter(|host| host.phase != Phase::Waiting) {
            Some(host) => host.route.clone(),
            None => self.world.route(host, &Logins::default()).way,
        };
        if route.way == own {
            return host.to_owned();
        }
        let name = format!("{host}\0{}", route.way);
        let further = Further { host: host.to_owned(), logins, address: route.address };
        // What led to the same way in an earlier play may lead to another one now.
        self.hosts.entry(name.clone()).or_default().further = Some(further);
        name
    }

    /// The host that a session is with, and how it is told of.
    pub(crate) fn host_of(&self, name: &str) -> (String, String) {
        match self.hosts.get(name).and_then(|host| host.further.as_ref()) {
            Some(further) => (further.host.clone(), format!("{} ({})", further.host, further.address)),
            None => (name.to_owned(), name.to_owned()),
        }
    }

    pub(crate) fn is_further(&self, name: &str) -> bool {
        self.hosts.get(name).is_some_and(|host| host.further.is_some())
    }

    /// Why such a session may not ask that: calls ask for files, and nothing else.
    pub(crate) fn beyond(&self, name: &str, request: &Request) -> Option<String> {
        let files = matches!(
            request,
            Request::Find { .. }
                | Request::Content { .. }
                | Request::Store { .. }
                | Request::StoredSha1 { .. }
        );
        let refused = self.is_further(name) && !files;
        refused.then(|| "asks by a task's login for what no task needs".into())
    }

    /// What such a session tells by itself.
    pub(super) fn aside(&mut self, name: &str, event: &Event) {
        let (host, _) = self.host_of(name);
        if matches!(event, Event::Warning(_)) {
            self.monitor.note(&Note::Event { host: &host, event });
        }
    }

    /// It ended. Whoever waits for it is told; the next task of that login tries anew.
    pub(super) fn lost_further(&mut self, name: &str, problem: Option<Problem>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let Some(Further { host: real, address, .. }) = host.further.clone() else { return };
        host.phase = Phase::Waiting;
        host.channel = None;
        host.queued.clear();
        host.session = host.session.wrapping_add(1);
        self.stores.leave(name);
        let (why, hint) = match problem {
            Some(problem) if problem.message.contains(&address) => {
                (format!("{real}: {problem}"), problem.hint)
            }
            Some(problem) => (format!("{real} ({address}): {problem}"), problem.hint),
            None => (format!("{real}: the agent on {address} ended early"), None),
        };
        for (asker, request) in self.delegations.leave(name) {
            let outcome = debark_wire::Outcome { hint: hint.clone(), ..unreachable(&why) };
            self.answer(&asker, request, Ok(Answer::Outcome(Box::new(outcome))));
        }
        self.connect();
    }

    /// Ends such sessions as nothing runs in: those with one host, or all.
    pub(super) fn dismiss(&mut self, of: Option<&str>) {
        let idle = |(name, host): (&String, &Host)| {
            let further = host.further.as_ref()?;
            let meant = of.is_none_or(|of| further.host == of);
            (meant && host.channel.is_some() && !self.delegations.is_busy(name)).then(|| name.clone())
        };
        let idle: Vec<String> = self.hosts.iter().filter_map(idle).collect();
        idle.iter().for_each(|name| self.hang_up(name));
    }

    /// Ends a session; what it still says is not for the next one.
    pub(super) fn hang_up(&mut self, name: &str) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.send(&ToAgent::End);
        if let Some(channel) = host.channel.take() {
            channel.close();
            self.ending.push(channel);
        }
        host.phase = Phase::Waiting;
        host.session = host.session.wrapping_add(1);
        self.stores.leave(name);
    }
}
