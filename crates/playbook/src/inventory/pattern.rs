//! Which hosts a pattern means: `web:&staging:!db1`, `~(web|db)\d+`, `web[0:4]`, `*.example.com`.
//!
//! The rules are those of ansible-core's `inventory/manager.py`.

use std::collections::HashSet;

use super::address;
use super::data::{ALL, Data, HostId, LOCALHOST};
use super::glob::Glob;
use crate::diagnostic::{Diagnostic, did_you_mean};

/// The parts of a pattern, which commas separate, or else colons.
pub fn split(pattern: &str) -> Vec<String> {
    if pattern.contains(',') {
        return pattern
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
    }
    if address::parse(pattern).is_some() {
        return vec![pattern.to_owned()];
    }
    // Colons within brackets belong to a range.
    let mut parts = vec![String::new()];
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let bracket = if c == '[' { rest.find(']').map(|end| end + 1) } else { None };
        let (head, tail) = rest.split_at(bracket.unwrap_or(c.len_utf8()));
        rest = tail;
        match (bracket, parts.last_mut()) {
            (None, _) if c.is_whitespace() || matches!(c, ':' | '[' | ']') => parts.push(String::new()),
            (_, Some(part)) => part.push_str(head),
            (_, None) => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// What a pattern means.
#[derive(Debug, Default)]
pub struct Matched {
    /// The hosts, in inventory order, each once.
    pub hosts: Vec<HostId>,
    /// A name of this machine that was asked for and is in no inventory.
    pub implicit: Option<String>,
    /// Parts that match nothing.
    pub warnings: Vec<Diagnostic>,
}

/// The hosts that the parts of a pattern mean together: all plain parts, of those what every `&` part has, without
/// what a `!` part has.
///
/// # Errors
/// A regular expression that is none; a subscript beyond the hosts.
pub fn evaluate(data: &Data, parts: &[String]) -> Result<Matched, Diagnostic> {
    let mut matched = Matched::default();
    let is_plain = |part: &&String| !part.starts_with(['!', '&']);
    let mut chosen: Vec<HostId> = Vec::new();
    let mut seen: HashSet<HostId> = HashSet::new();
    let everything = "all".to_owned();
    let nothing_plain = !parts.iter().any(|part| is_plain(&part));
    let plain = parts.iter().filter(is_plain).chain(nothing_plain.then_some(&everything));
    for part in plain {
        let hosts = match data.host_id(part).filter(|id| !data.host(*id).implicit) {
            Some(id) => vec![id],
            None => one(data, part, &mut matched)?,
        };
        chosen.extend(hosts.into_iter().filter(|id| seen.insert(*id)));
    }
    for (sign, keep) in [('&', true), ('!', false)] {
        for part in parts.iter().filter_map(|part| part.strip_prefix(sign)).filter(|part| !part.is_empty()) {
            let hosts: HashSet<HostId> = one(data, part, &mut matched)?.into_iter().collect();
            chosen.retain(|id| hosts.contains(id) == keep);
        }
    }
    matched.hosts = chosen;
    Ok(matched)
}

/// The hosts that one part means.
fn one(data: &Data, part: &str, matched: &mut Matched) -> Result<Vec<HostId>, Diagnostic> {
    let (name, subscript) = subscript(part);
    let hosts = enumerate(data, name, matched)?;
    let Some((start, end)) = subscript.filter(|_| !hosts.is_empty()) else { return Ok(hosts) };
    let count = hosts.len() as i64;
    let picked = match end {
        Some(end) => {
            let end = if end == -1 { count } else { end.saturating_add(1).min(count) };
            hosts.get(start.min(end) as usize..end as usize).unwrap_or_default().to_vec()
        }
        None => {
            let at = if start < 0 { start.saturating_add(count) } else { start };
            let at = usize::try_from(at).ok().and_then(|at| hosts.get(at));
            vec![*at.ok_or_else(|| {
                Diagnostic::error(format!("pattern `{part}` asks for a host beyond the {count} of `{name}`"))
            })?]
        }
    };
    Ok(picked)
}

/// A pattern without its `[n]`, `[from:to]` or `[from:]`, and those; `to` is the last that counts, -1 the very last.
fn subscript(part: &str) -> (&str, Option<(i64, Option<i64>)>) {
    let found = || {
        if part.starts_with('~') {
            return None;
        }
        let (name, inner) = part.strip_suffix(']')?.rsplit_once('[')?;
        if name.is_empty() {
            return None;
        }
        let digits = |text: &str| -> Option<i64> {
            let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            all.then(|| text.parse().unwrap_or(i64::MAX))
        };
        if let Some(index) = digits(inner.strip_prefix('-').unwrap_or(inner)) {
            return Some((name, (if inner.starts_with('-') { -index } else { index }, None)));
        }
        let (start, end) = inner.split_once([':', '-'])?;
        let end = if end.is_empty() { -1 } else { digits(end)? };
        // Ansible takes a last index of 0 for none at all, which comes to the same for `[0:0]`.
        Some((name, (digits(start)?, if end == 0 { None } else { Some(end) })))
    };
    match found() {
        Some((name, range)) => (name, Some(range)),
        None => (part, None),
    }
}

enum Matcher {
    Exact(String),
    Glob(Glob),
    Regex(fancy_regex::Regex),
}

impl Matcher {
    fn new(pattern: &str) -> Result<Self, Diagnostic> {
        if let Some(regex) = pattern.strip_prefix('~') {
            let anchored = format!("^(?:{regex})");
            let compiled = fancy_regex::Regex::new(&anchored).map_err(|error| {
                Diagnostic::error(format!("pattern `{pattern}` is no regular expression: {error}"))
            })?;
            return Ok(Self::Regex(compiled));
        }
        Ok(if Glob::is_special(pattern) {
            Self::Glob(Glob::new(pattern))
        } else {
            Self::Exact(pattern.to_owned())
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Glob(glob) => glob.matches(name),
            // One that gives up for its own complexity does not match.
            Self::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

fn enumerate(data: &Data, pattern: &str, matched: &mut Matched) -> Result<Vec<HostId>, Diagnostic> {
    let matcher = Matcher::new(pattern)?;
    let mut hosts: Vec<HostId> = Vec::new();
    let mut any_group = false;
    for (id, _) in data.groups.iter().enumerate().filter(|(_, group)| matcher.matches(&group.name)) {
        any_group = true;
        // Numbers of groups are places in that list.
        hosts.extend(data.members(id as u32));
    }
    if !any_group || pattern.starts_with('~') || pattern.contains(['.', '?', '*', '[']) {
        match &matcher {
            Matcher::Exact(name) => hosts.extend(data.host_id(name).filter(|id| !data.host(*id).implicit)),
            matcher => hosts.extend(
                data.hosts
                    .iter()
                    .enumerate()
                    .filter(|(_, host)| !host.implicit && matcher.matches(&host.name))
                    .map(|(id, _)| id as HostId),
            ),
        }
    }
    let mut seen = HashSet::new();
    hosts.retain(|id| seen.insert(*id));
    if hosts.is_empty() && LOCALHOST.contains(&pattern) {
        // Another name of this machine that the inventory has will do.
        match data.hosts.iter().position(|host| LOCALHOST.contains(&&*host.name)) {
            Some(id) => hosts.push(id as HostId),
            None => matched.implicit = Some(pattern.to_owned()),
        }
    } else if hosts.is_empty() && !any_group && pattern != "all" {
        let names =
            data.groups.iter().map(|group| &*group.name).chain(data.hosts.iter().map(|host| &*host.name));
        let hint = if data.group(ALL).hosts.is_empty() && data.hosts.is_empty() {
            Some("the inventory has no hosts".to_owned())
        } else {
            did_you_mean(pattern, names)
        };
        matched
            .warnings
            .push(Diagnostic::warning(format!("no host or group matches `{pattern}`")).maybe_hint(hint));
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::ini;

    fn data() -> Data {
        let text = "lone\n[web]\nw[1:4].x.org\n[db]\nd1\nd2\nw1.x.org\n[prod:children]\nweb\n";
        let mut data = Data::default();
        ini::read(&mut data, text, 0, 0, false).unwrap();
        data.settle().unwrap();
        data
    }

    fn hosts(pattern: &str) -> String {
        let data = data();
        let matched = evaluate(&data, &split(pattern)).unwrap();
        matched
            .hosts
            .iter()
            .map(|id| data.host(*id).name.split('.').next().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn patterns() {
        for (pattern, expected) in [
            ("all", "lone d1 d2 w1 w2 w3 w4"),
            ("*", "lone d1 d2 w1 w2 w3 w4"),
            ("web:&db", "w1"),
            ("web:!db", "w2 w3 w4"),
            ("!web", "lone d1 d2"),
            ("&db,web", "w1"),
            ("db , lone", "d1 d2 w1 lone"),
            ("web[0]", "w1"),
            ("web[-1]", "w4"),
            ("web[1:2]", "w2 w3"),
            ("web[2:]", "w3 w4"),
            ("web[1:99]", "w2 w3 w4"),
            ("web[0:0]", "w1"),
            ("~d[0-9]$", "d1 d2"),
            ("~(web|lone)", "w1 w2 w3 w4 lone"),
            ("w?.x.org[1:2]", "w2 w3"),
            ("*.org:!w[23].*", "w1 w4"),
            ("prod:!w1.x.org", "w2 w3 w4"),
            ("nothing", ""),
        ] {
            assert_eq!(hosts(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_matches_nothing_is_said() {
        let data = data();
        let matched = evaluate(&data, &split("weeb:!db")).unwrap();
        assert_eq!(matched.warnings[0].message, "no host or group matches `weeb`");
        assert_eq!(matched.warnings[0].hint.as_deref(), Some("did you mean `web`?"));
        assert!(evaluate(&data, &split("web[9]")).unwrap_err().message.contains("beyond the 4 of `web`"));
        assert!(evaluate(&data, &split("~(")).unwrap_err().message.contains("no regular expression"));
        assert_eq!(evaluate(&data, &split("localhost")).unwrap().implicit.as_deref(), Some("localhost"));
    }

    #[test]
    fn splits_as_ansible_does() {
        assert_eq!(split("a:b[0:2]:!c"), ["a", "b[0:2]", "!c"]);
        assert_eq!(split("2001:db8::1"), ["2001:db8::1"]);
        assert_eq!(split("web[1:3]"), ["web[1:3]"]);
        assert_eq!(split(" a , b "), ["a", "b"]);
        assert_eq!(split("a:::b"), ["a", "b"]);
    }
}
