//! Compares version numbers as the test `version` does.

use std::cmp::Ordering;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u128),
    Word(String),
}

/// Compares two versions of a kind: `loose` (the default), `strict`, `semver`, `semantic` or `pep440`.
pub(crate) fn compare(a: &str, b: &str, kind: &str) -> Result<Ordering, String> {
    if a.is_empty() || b.is_empty() {
        return Err("needs two versions that are not empty".into());
    }
    match kind {
        "loose" => loose(a, b),
        "strict" => Ok(strict(a)?.cmp(&strict(b)?)),
        "semver" | "semantic" => {
            let (a, b) = (semantic(a)?, semantic(b)?);
            Ok(a.0.cmp(&b.0).then_with(|| pre(&a.1, &b.1)))
        }
        "pep440" => Ok(pep440(a)?.cmp(&pep440(b)?)),
        other => Err(format!("does not know the version type '{other}'")),
    }
}

/// Numbers and words alternating, as `distutils.version.LooseVersion` splits them.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, tail) = rest.split_at(end);
            parts.push(Part::Number(digits.parse().unwrap_or(u128::MAX)));
            rest = tail;
        } else if first == '.' {
            rest = rest.get(1..).unwrap_or_default();
        } else if first.is_ascii_lowercase() {
            let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            parts.push(Part::Word(word.to_owned()));
            rest = tail;
        } else {
            let end = rest
                .find(|c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '.')
                .unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end.max(first.len_utf8()));
            parts.push(Part::Word(word.to_owned()));
            rest = tail;
        }
    }
    parts
}

pub(crate) fn loose(a: &str, b: &str) -> Result<Ordering, String> {
    let (own, other) = (parts(a), parts(b));
    for pair in own.iter().zip(&other) {
        match pair {
            (Part::Number(a), Part::Number(b)) if a == b => {}
            (Part::Number(a), Part::Number(b)) => return Ok(a.cmp(b)),
            (Part::Word(a), Part::Word(b)) if a == b => {}
            (Part::Word(a), Part::Word(b)) => return Ok(a.cmp(b)),
            _ => {
                return Err(format!(
                    "cannot compare '{a}' with '{b}': one has a number where the other has a word"
                ));
            }
        }
    }
    Ok(own.len().cmp(&other.len()))
}

/// `1.2`, `1.2.3`, `1.2a1`
type Strict = (Vec<u64>, Option<(char, u64)>);

fn strict(text: &str) -> Result<Strict, String> {
    let bad = || format!("needs a strict version number, not '{text}'");
    let (numbers, pre) = match text.find(['a', 'b']) {
        Some(at) => {
            let (numbers, tail) = text.split_at(at);
            let letter = tail.chars().next().ok_or_else(bad)?;
            (numbers, Some((letter, tail.get(1..).unwrap_or_default().parse().map_err(|_| bad())?)))
        }
        None => (text, None),
    };
    let mut numbers: Vec<u64> =
        numbers.split('.').map(|part| part.parse().map_err(|_| bad())).collect::<Result<_, _>>()?;
    if !(2..=3).contains(&numbers.len()) {
        return Err(bad());
    }
    numbers.resize(3, 0);
    // A release comes after its previews.
    Ok((numbers, Some(pre.unwrap_or(('z', 0)))))
}

type Semantic = (Vec<u64>, Vec<String>);

fn semantic(text: &str) -> Result<Semantic, String> {
    let bad = || format!("needs a semantic version, not '{text}'");
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let core = text.split('+').next().unwrap_or(text);
    let (core, pre) = core.split_once('-').map_or((core, None), |(core, pre)| (core, Some(pre)));
    let numbers: Vec<u64> =
        core.split('.').map(|part| part.parse().map_err(|_| bad())).collect::<Result<_, _>>()?;
    if numbers.len() != 3 {
        return Err(bad());
    }
    Ok((numbers, pre.map(|pre| pre.split('.').map(str::to_owned).collect()).unwrap_or_default()))
}

fn pre(a: &[String], b: &[String]) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        _ => {}
    }
    for (a, b) in a.iter().zip(b) {
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            _ => a.cmp(b),
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// Epoch, release, then how far from it: development, previews, the release itself, post releases (PEP 440).
type Pep = (u64, Vec<u64>, (i8, u64), (i8, u64), (i8, u64));

fn pep440(text: &str) -> Result<Pep, String> {
    let bad = || format!("needs a version as of PEP 440, not '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_prefix('v').unwrap_or(&lower);
    let lower = lower.split('+').next().unwrap_or(lower);
    let (epoch, rest) = match lower.split_once('!') {
        Some((epoch, rest)) => (epoch.parse().map_err(|_| bad())?, rest),
        None => (0, lower),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (numbers, mut tail) = rest.split_at(end);
    let mut release: Vec<u64> = numbers
        .trim_end_matches('.')
        .split('.')
        .map(|part| part.parse().map_err(|_| bad()))
        .collect::<Result<_, _>>()?;
    while release.len() > 1 && release.last() == Some(&0) {
        release.pop();
    }
    let (mut preview, mut post, mut dev) = ((9, 0), (0, 0), (9, 0));
    let mut previewed = false;
    while !tail.is_empty() {
        tail = tail.trim_start_matches(['.', '-', '_']);
        let end = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (word, after) = tail.split_at(end);
        let after = after.trim_start_matches(['.', '-', '_']);
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (digits, next) = after.split_at(end);
        let number = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| bad())? };
        match word {
            "a" | "alpha" => (preview, previewed) = ((1, number), true),
            "b" | "beta" => (preview, previewed) = ((2, number), true),
            "c" | "rc" | "pre" | "preview" => (preview, previewed) = ((3, number), true),
            "post" | "rev" | "r" | "" if !(word.is_empty() && digits.is_empty()) => post = (1, number),
            "dev" => dev = (1, number),
            _ => return Err(bad()),
        }
        tail = next;
    }
    // A development version without a preview comes before all previews.
    if dev.0 == 1 && !previewed && post.0 == 0 {
        preview = (0, 0);
    }
    Ok((epoch, release, preview, post, dev))
}
