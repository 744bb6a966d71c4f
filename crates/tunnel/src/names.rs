//! Host names inside a tunnel: asked of its own name servers, through it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Stage};
use crate::message::{self, A, AAAA};

/// Before a question is asked again, of the next server.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked.
const TRIES: usize = 5;
/// Names that are remembered.
const KEPT: usize = 4096;

/// A datagram for a name server.
pub(crate) struct Question {
    pub server: IpAddr,
    pub bytes: Vec<u8>,
}

/// One question, in one family.
struct Asked {
    id: u16,
    kind: u16,
    found: Option<Vec<IpAddr>>,
}

struct Lookup {
    /// What is asked for now; the rest are tried if there is no such name.
    name: String,
    rest: Vec<String>,
    asked: Vec<Asked>,
    tries: usize,
    due: Instant,
    ttl: u32,
    /// A server said that it cannot answer.
    refused: Option<u8>,
}

/// All names that are being looked up, and those that were.
pub(crate) struct Names {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    kinds: Vec<u16>,
    running: HashMap<String, Lookup>,
    known: HashMap<String, (Vec<IpAddr>, Instant)>,
}

pub(crate) type Found = Result<Vec<IpAddr>, Failure>;

impl Names {
    /// `four` and `six`: the families that the tunnel has addresses of.
    pub fn new(servers: Vec<IpAddr>, search: Vec<String>, four: bool, six: bool) -> Self {
        let kinds = [(four, A), (six, AAAA)].into_iter().filter(|(has, _)| *has).map(|(_, kind)| kind);
        Self { servers, search, kinds: kinds.collect(), running: HashMap::new(), known: HashMap::new() }
    }

    /// What is known of a name; otherwise it is being looked up from here on.
    pub fn find(&mut self, name: &str, now: Instant) -> Option<Found> {
        if let Some((addresses, until)) = self.known.get(name)
            && now < *until
        {
            return Some(Ok(addresses.clone()));
        }
        if self.running.contains_key(name) {
            return None;
        }
        if self.servers.is_empty() {
            return Some(Err(Failure::new(
                Stage::Name,
                format!("{name} is a name, and the tunnel's configuration has no `DNS`"),
                "add `DNS = ADDRESS` to its [Interface], or set ansible_host to an address; names of hosts behind a \
                 VPN are never asked of this machine's own resolver",
            )));
        }
        let mut candidates = self.candidates(name);
        candidates.retain(|name| message::query(0, name, A).is_some());
        candidates.reverse();
        let Some(first) = candidates.pop() else {
            return Some(Err(Failure::new(
                Stage::Name,
                format!("{name} is no name of a host"),
                "set ansible_host",
            )));
        };
        let mut lookup = Lookup {
            name: String::new(),
            rest: candidates,
            asked: Vec::new(),
            tries: 0,
            due: now,
            ttl: 300,
            refused: None,
        };
        lookup.ask_for(first, &self.kinds, now);
        self.running.insert(name.to_owned(), lookup);
        None
    }

    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let own = std::iter::once(name.to_owned());
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        // As resolv.conf(5) with `ndots:1`.
        if name.contains('.') { own.chain(searched).collect() } else { searched.chain(own).collect() }
    }

    /// Questions that are due now.
    pub fn questions(&mut self, now: Instant) -> Vec<Question> {
        let mut due = Vec::new();
        for lookup in self.running.values_mut().filter(|lookup| lookup.due <= now && lookup.tries < TRIES) {
            let number = lookup.tries.checked_rem(self.servers.len()).unwrap_or_default();
            let Some(server) = self.servers.get(number) else { continue };
            for asked in lookup.asked.iter().filter(|asked| asked.found.is_none()) {
                let bytes = message::query(asked.id, &lookup.name, asked.kind).unwrap_or_default();
                due.push(Question { server: *server, bytes });
            }
            lookup.tries += 1;
            lookup.due = now + AGAIN;
        }
        due
    }

    /// Takes a datagram from a name server.
    pub fn take(&mut self, from: IpAddr, bytes: &[u8], now: Instant) {
        let Some(reply) = message::reply(bytes).filter(|_| self.servers.contains(&from)) else { return };
        let kinds = self.kinds.clone();
        for lookup in self.running.values_mut().filter(|lookup| lookup.name.eq_ignore_ascii_case(&reply.name))
        {
            let fits = |asked: &&mut Asked| asked.id == reply.id && asked.kind == reply.kind;
            let Some(asked) = lookup.asked.iter_mut().find(fits) else { continue };
            match reply.code {
                0 | 3 => asked.found = Some(reply.addresses.clone()),
                // The next server may know better, at once.
                code => {
                    lookup.refused = Some(code);
                    lookup.due = now;
                }
            }
            lookup.ttl = lookup.ttl.min(reply.ttl);
            let none = lookup.asked.iter().all(|asked| asked.found.as_ref().is_some_and(Vec::is_empty));
            if none && let Some(next) = lookup.rest.pop() {
                lookup.ask_for(next, &kinds, now);
            }
        }
    }

    /// Names that are settled since the last time.
    pub fn settled(&mut self, now: Instant) -> Vec<(String, Found)> {
        let servers = self.servers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        let mut settled = Vec::new();
        self.running.retain(|name, lookup| {
            let Some(found) = lookup.outcome(name, &servers, now) else { return true };
            settled.push((name.clone(), found, lookup.ttl));
            false
        });
        if self.known.len() > KEPT {
            self.known.clear();
        }
        let keep = |(name, found, ttl): (String, Found, u32)| {
            if let Ok(addresses) = &found {
                let until = now + Duration::from_secs(u64::from(ttl.clamp(5, 3600)));
                self.known.insert(name.clone(), (addresses.clone(), until));
            }
            (name, found)
        };
        settled.into_iter().map(keep).collect()
    }

    /// When something is to be done next.
    pub fn next(&self) -> Option<Instant> {
        self.running.values().map(|lookup| lookup.due).min()
    }
}

impl Lookup {
    fn ask_for(&mut self, name: String, kinds: &[u16], now: Instant) {
        self.asked =
            kinds.iter().map(|kind| Asked { id: rand::random(), kind: *kind, found: None }).collect();
        (self.name, self.tries, self.due, self.refused) = (name, 0, now, None);
    }

    fn outcome(&self, name: &str, servers: &str, now: Instant) -> Option<Found> {
        if self.asked.iter().all(|asked| asked.found.is_some()) {
            let addresses: Vec<_> =
                self.asked.iter().flat_map(|asked| asked.found.iter().flatten().copied()).collect();
            if addresses.is_empty() {
                return Some(Err(Failure::new(
                    Stage::Name,
                    format!("the tunnel's name server ({servers}) knows no address of {name}"),
                    "mend the name, or set ansible_host to an address",
                )));
            }
            return Some(Ok(addresses));
        }
        if self.tries < TRIES || now < self.due {
            return None;
        }
        let some: Vec<_> = self.asked.iter().filter_map(|asked| asked.found.clone()).flatten().collect();
        if !some.is_empty() {
            return Some(Ok(some));
        }
        let why = match self.refused {
            Some(code) => format!("cannot tell the address of {name} (code {code})"),
            None => format!("does not answer, so that {name} has no address"),
        };
        Some(Err(Failure::new(
            Stage::Dns,
            format!("the tunnel's name server ({servers}) {why}"),
            "is `DNS` in the tunnel's configuration right, does a peer's AllowedIPs hold it, and does it run?",
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let servers = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        Names::new(servers, vec!["corp".into()], true, false)
    }

    fn answer(question: &Question, code: u8, address: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = question.bytes.clone();
        (bytes[2], bytes[3]) = (0x81, 0x80 | code);
        if let Some(address) = address {
            bytes[7] = 1;
            bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            bytes.extend(address);
        }
        bytes
    }

    #[test]
    fn the_search_domain_and_then_the_name_itself() {
        let (mut names, now) = (names(), Instant::now());
        assert!(names.find("web", now).is_none());
        let first = names.questions(now);
        assert_eq!(first.len(), 1);
        names.take(first[0].server, &answer(&first[0], 3, None), now);
        assert!(names.settled(now).is_empty(), "web is still to be asked for");
        let second = names.questions(now);
        names.take(second[0].server, &answer(&second[0], 0, Some([10, 0, 0, 9])), now);
        let settled = names.settled(now);
        assert_eq!(settled[0].1, Ok(vec!["10.0.0.9".parse().unwrap()]));
        assert_eq!(names.find("web", now).unwrap(), settled[0].1, "it is remembered");
        assert!(names.find("web", now + Duration::from_secs(61)).is_none(), "but not for ever");
    }

    #[test]
    fn servers_that_say_nothing() {
        let (mut names, mut now) = (names(), Instant::now());
        assert!(names.find("a.corp", now).is_none());
        let mut asked = Vec::new();
        for _ in 0..20 {
            asked.extend(names.questions(now).into_iter().map(|question| question.server.to_string()));
            if let Some((_, found)) = names.settled(now).pop() {
                assert_eq!(found.unwrap_err().stage, Stage::Dns);
                assert_eq!(asked, ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.1"]);
                return;
            }
            now += Duration::from_millis(500);
        }
        panic!("never settled");
    }

    #[test]
    fn strangers_and_other_names_are_not_believed() {
        let (mut names, now) = (names(), Instant::now());
        assert!(names.find("web.corp", now).is_none());
        let question = names.questions(now).remove(0);
        let good = answer(&question, 0, Some([6, 6, 6, 6]));
        names.take("10.0.0.66".parse().unwrap(), &good, now);
        let mut other = good.clone();
        other[0] ^= 1;
        names.take(question.server, &other, now);
        assert!(names.settled(now).is_empty());
    }

    #[test]
    fn without_servers_names_are_refused_at_once() {
        let mut names = Names::new(Vec::new(), Vec::new(), true, true);
        let refused = names.find("web", Instant::now()).unwrap().unwrap_err();
        assert_eq!(refused.stage, Stage::Name);
    }
}
