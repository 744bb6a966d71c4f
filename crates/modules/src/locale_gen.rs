//! `locale_gen`: locales that are compiled on the host.

use std::path::Path;

use crate::edit::{Edit, Owner};
use crate::exec::Cmd;
use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Plan, Value, choices, map, params};

choices! {
    /// Whether the locales should exist.
    pub enum State { Present = "present", Absent = "absent" }
}

params! {
    /// Compiles locales, or removes them.
    pub struct Params for "community.general.locale_gen" {
        /// The locales (`de_CH.UTF-8`).
        name: Vec<String>,
        /// Whether they should exist.
        state: State = State::Present,
    }
    rules NO_RULES
}

const FILE: &str = "/etc/locale.gen";
const SUPPORTED: [&str; 2] = ["/usr/share/i18n/SUPPORTED", "/usr/local/share/i18n/SUPPORTED"];

/// As `locale -a` prints codesets: in lower case, without punctuation.
fn normal(name: &str) -> String {
    match name.split_once('.') {
        Some((language, rest)) => {
            let (codeset, modifier) = rest.split_once('@').map_or((rest, ""), |(c, m)| (c, m));
            let codeset: String =
                codeset.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
            let at = if modifier.is_empty() { "" } else { "@" };
            format!("{language}.{codeset}{at}{modifier}")
        }
        None => name.to_owned(),
    }
}

/// Name and character set of a line, commented out or not.
fn entry(line: &str) -> Option<(&str, &str)> {
    let mut words = line.trim().trim_start_matches('#').split_whitespace();
    let found = (words.next()?, words.next()?);
    words.next().is_none().then_some(found)
}

/// The file's new text. Locales that it does not list are added with the character set of `supported`.
fn edited(before: &str, names: &[String], enable: bool, supported: &str) -> String {
    let mut listed: Vec<&str> = Vec::new();
    let mut after = String::new();
    for line in before.lines() {
        match entry(line).filter(|(name, _)| names.iter().any(|wanted| wanted == name)) {
            Some((name, charset)) => {
                listed.push(name);
                let off = line.trim_start().starts_with('#');
                match (enable, off) {
                    (true, true) => after.push_str(&format!("{name} {charset}")),
                    (false, false) => after.push_str(&format!("# {name} {charset}")),
                    _ => after.push_str(line),
                }
            }
            None => after.push_str(line),
        }
        after.push('\n');
    }
    for name in names.iter().filter(|name| enable && !listed.contains(&name.as_str())) {
        if let Some((_, charset)) = supported.lines().filter_map(entry).find(|(known, _)| known == name) {
            after.push_str(&format!("{name} {charset}\n"));
        }
    }
    if after.lines().eq(before.lines()) { before.to_owned() } else { after }
}

/// Compares the compiled locales with what is declared.
///
/// # Errors
/// The package `locales` is missing, or a locale is not one that it knows.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let edit = Edit::read(Path::new(FILE))?;
    let result = map! { "name" => Value::list(params.name.clone()), "mechanism" => "glibc" };
    if !edit.exists() {
        // In check mode a task before this one may be about to install it.
        if host.may_come() && params.state == State::Present {
            let names = params.name.join(", ");
            let diff = vec![Diff::property("locales", "present", "", names)];
            return Ok(Plan::change(result, diff, |_| Ok(map! {})));
        }
        return Err(Failure::new(format!("{FILE} is missing")).hint("install the package locales"));
    }
    let compiled: Vec<String> =
        host.exec_ok(&Cmd::new("locale").arg("-a"))?.out().lines().map(normal).collect();
    let is_compiled = |name: &String| compiled.contains(&normal(name));
    let supported: String =
        SUPPORTED.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
    let known = |name: &str| {
        supported.lines().chain(edit.text().lines()).filter_map(entry).any(|(known, _)| known == name)
    };
    if let Some(unknown) = params.name.iter().find(|name| !known(name) && !is_compiled(name)) {
        return Err(Failure::new(format!("there is no locale {unknown}"))
            .hint("/usr/share/i18n/SUPPORTED lists those that there are"));
    }
    let present = params.state == State::Present;
    // As Ansible: the locales are present if all are compiled, and are dealt with together.
    if params.name.iter().all(is_compiled) == present {
        return Ok(Plan::ok(result));
    }
    let after = edited(edit.text(), &params.name, present, &supported);
    let mut diff = vec![edit.diff(&after)];
    if after == edit.text() {
        diff = vec![Diff::property("locales", params.state.word(), "", params.name.join(", "))];
    }
    Ok(Plan::change(result, diff, move |host| {
        if after != edit.text() {
            edit.write(host, &after, Owner::default(), false)?;
        }
        host.exec_ok(&Cmd::new("locale-gen"))?;
        Ok(map! {})
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_locale_prints_them() {
        assert_eq!(normal("de_CH.UTF-8"), "de_CH.utf8");
        assert_eq!(normal("de_DE.ISO-8859-15@euro"), "de_DE.iso885915@euro");
        assert_eq!(normal("C"), "C");
    }

    #[test]
    fn switches_lines_on_and_off() {
        let file = "# comment of several words\n# de_CH.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\n";
        let names = |name: &str| vec![name.to_owned()];
        assert!(edited(file, &names("de_CH.UTF-8"), true, "").contains("\nde_CH.UTF-8 UTF-8\n"));
        assert!(edited(file, &names("en_US.UTF-8"), false, "").ends_with("# en_US.UTF-8 UTF-8\n"));
        assert_eq!(edited(file, &names("en_US.UTF-8"), true, ""), file);
        assert!(
            edited(file, &names("fr_FR.UTF-8"), true, "fr_FR.UTF-8 UTF-8\n")
                .ends_with("\nfr_FR.UTF-8 UTF-8\n")
        );
    }
}
