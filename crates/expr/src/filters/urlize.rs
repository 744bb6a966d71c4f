//! `urlize`: links for the addresses in a text.

use std::sync::OnceLock;

use fancy_regex::Regex;

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[strict("urlize", urlize)];

/// What Jinja2 takes as an address of the web.
const WEB: &str = r"^((https?://|www\.)(([\w%-]+\.)+)?([a-z]{2,63}|xn--[\w%]{2,59})|([\w%-]{2,63}\.)+(com|net|int|edu|gov|org|info|mil)|(https?://)(([\d]{1,3})(\.[\d]{1,3}){3}|(\[([\da-f]{0,4}:){2}([\da-f]{0,4}:?){1,6}])))(?::[\d]{1,5})?(?:[/?#]\S*)?$";
const MAIL: &str = r"^\S+@\w[\w.-]*\.\w+$";

fn matches(regex: &'static OnceLock<Option<Regex>>, source: &str, text: &str) -> bool {
    let regex = regex.get_or_init(|| Regex::new(&format!("(?i){source}")).ok());
    regex.as_ref().is_some_and(|regex| regex.is_match(text).unwrap_or(false))
}

fn urlize(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    static IS_WEB: OnceLock<Option<Regex>> = OnceLock::new();
    static IS_MAIL: OnceLock<Option<Regex>> = OnceLock::new();
    let limit = args.count(0, "trim_url_limit")?;
    let mut rel: Vec<String> = vec!["noopener".into()];
    if args.flag(1, "nofollow")? {
        rel.push("nofollow".into());
    }
    rel.extend(args.text(3, "rel")?.iter().flat_map(|rel| rel.split_whitespace().map(str::to_owned)));
    rel.sort();
    rel.dedup();
    let mut attributes = format!(" rel=\"{}\"", super::text::escape(&rel.join(" ")));
    if let Some(target) = args.text(2, "target")? {
        attributes.push_str(&format!(" target=\"{}\"", super::text::escape(&target)));
    }
    let schemes = match args.get(4, "extra_schemes").filter(|schemes| !schemes.is_null()) {
        Some(schemes) => schemes.to_items()?,
        None => Vec::new(),
    };
    let shown = |url: &str| match limit {
        Some(limit) if url.chars().count() > limit => url.chars().take(limit).chain("...".chars()).collect(),
        _ => url.to_owned(),
    };
    let text = super::text::escape(&input.to_text()?);
    ctx.burn(text.len() / 8)?;
    if text.len() > 1 << 20 {
        return Err(Error::call("needs a text of at most 1 MB"));
    }
    let mut out = String::new();
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        let (head, mut middle, mut tail) = parts(word);
        for (open, close) in [("(", ")"), ("&lt;", "&gt;")] {
            let mut missing = middle.matches(open).count().saturating_sub(middle.matches(close).count());
            missing =
                if missing > 0 { middle.matches(open).count().min(tail.matches(close).count()) } else { 0 };
            let last = missing.checked_sub(1).and_then(|nth| tail.match_indices(close).nth(nth));
            if let Some(end) = last.map(|(at, _)| at + close.len()) {
                let rest = tail.split_off(end);
                middle.push_str(&std::mem::replace(&mut tail, rest));
            }
        }
        let linked = if matches(&IS_WEB, WEB, &middle) {
            let scheme =
                if middle.starts_with("http://") || middle.starts_with("https://") { "" } else { "https://" };
            format!("<a href=\"{scheme}{middle}\"{attributes}>{}</a>", shown(&middle))
        } else if let Some(mail) = middle.strip_prefix("mailto:").filter(|mail| matches(&IS_MAIL, MAIL, mail))
        {
            format!("<a href=\"{middle}\">{mail}</a>")
        } else if !middle.starts_with("www.")
            && !middle.starts_with('@')
            && !middle.contains(':')
            && matches(&IS_MAIL, MAIL, &middle)
        {
            format!("<a href=\"mailto:{middle}\">{middle}</a>")
        } else if schemes.iter().filter_map(|s| s.as_str()).any(|s| middle != s && middle.starts_with(s)) {
            format!("<a href=\"{middle}\"{attributes}>{middle}</a>")
        } else {
            middle
        };
        out.push_str(&head);
        out.push_str(&linked);
        out.push_str(&tail);
        out.push_str(piece.get(word.len()..).unwrap_or_default());
    }
    Ok(V::from(out))
}

/// A word without the brackets before it and the punctuation behind it.
fn parts(word: &str) -> (String, String, String) {
    let mut start = 0;
    while let Some(rest) = word.get(start..) {
        match ["(", "&lt;"].iter().find(|open| rest.starts_with(**open)) {
            Some(open) => start += open.len(),
            None => break,
        }
    }
    let mut end = word.len();
    while let Some(rest) = word.get(start..end) {
        match [")", ".", ",", "&gt;"].iter().find(|close| rest.ends_with(**close)) {
            Some(close) => end -= close.len(),
            None => break,
        }
    }
    let part = |from: usize, to: usize| word.get(from..to).unwrap_or_default().to_owned();
    (part(0, start), part(start, end), part(end, word.len()))
}

#[cfg(test)]
mod tests {
    use crate::filters::tests::rendered;

    #[test]
    fn addresses_become_links() {
        for (expression, wanted) in [
            (
                "'see http://a.io now' | urlize",
                "see <a href=\"http://a.io\" rel=\"noopener\">http://a.io</a> now",
            ),
            (
                "'(www.x.org/a_(b)),' | urlize",
                "(<a href=\"https://www.x.org/a_(b)\" rel=\"noopener\">www.x.org/a_(b)</a>),",
            ),
            ("'a@b.io <x>' | urlize", "<a href=\"mailto:a@b.io\">a@b.io</a> &lt;x&gt;"),
            (
                "'https://example.com/long' | urlize(10, true)",
                "<a href=\"https://example.com/long\" rel=\"nofollow noopener\">https://ex...</a>",
            ),
            ("'nothing: here' | urlize", "nothing: here"),
        ] {
            assert_eq!(rendered(&format!("{{{{ {expression} }}}}")).unwrap(), wanted, "{expression}");
        }
    }
}
