//! Words of a host line, as Python's `shlex.split(line, comments=True)` takes them apart.

/// The words, without quotes; what follows a `#` is a comment, wherever it stands outside quotes. With each word comes
/// the byte offset at which it starts.
///
/// # Errors
/// A quote is not closed, or the line ends with a backslash.
pub fn split(line: &str) -> Result<Vec<(usize, String)>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<(usize, String)> = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' => break,
            '\\' => {
                let (_, escaped) = chars.next().ok_or("no character after the last backslash")?;
                word.get_or_insert((at, String::new())).1.push(escaped);
            }
            '\'' | '"' => quoted(c, &mut chars, &mut word.get_or_insert((at, String::new())).1)?,
            c => word.get_or_insert((at, String::new())).1.push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(quote: char, chars: &mut std::str::CharIndices<'_>, word: &mut String) -> Result<(), &'static str> {
    while let Some((_, c)) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some((_, escaped @ ('"' | '\\'))) => word.push(escaped),
                Some((_, other)) => word.extend(['\\', other]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap().into_iter().map(|(_, word)| word).collect()
    }

    #[test]
    fn as_shlex_splits() {
        assert_eq!(words(r#"web a="x y" b='it"s' # all"#), ["web", "a=x y", "b=it\"s"]);
        assert_eq!(words("web a=b#c d=e"), ["web", "a=b"]);
        assert_eq!(words(r#"a\ b "c\"d\e" 'f\g'"#), ["a b", r#"c"d\e"#, r"f\g"]);
        assert_eq!(words(r#"a="" ''"#), ["a=", ""]);
        assert_eq!(words(r##"a="{'b': '#c'}""##), ["a={'b': '#c'}"]);
        assert!(split("a='b").is_err() && split("a\\").is_err());
        assert_eq!(split("ab  cd").unwrap()[1].0, 4);
    }
}
