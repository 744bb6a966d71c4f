//! The control file: deb-control(5).

use debark_project::Control;

/// The fields of a paragraph, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of a field; names do not depend on case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Reads the only paragraph of a control file.
    ///
    /// # Errors
    /// A line is none of a field, or a field comes twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.trim_end().lines() {
            if line.starts_with([' ', '\t']) {
                let Some((_, value)) = fields.last_mut() else {
                    return Err("it begins with a continued line".into());
                };
                value.push('\n');
                value.push_str(line);
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(format!("{:?} is no field", line.chars().take(60).collect::<String>()));
            };
            let good = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && !name.starts_with(['#', '-']);
            if !good {
                return Err(format!("{:?} is no field", line.chars().take(60).collect::<String>()));
            }
            if fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return Err(format!("the field {name} comes twice"));
            }
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Self(fields))
    }
}

impl std::fmt::Display for Fields {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.0 {
            if value.starts_with('\n') {
                writeln!(to, "{name}:{value}")?
            } else {
                writeln!(to, "{name}: {value}")?
            }
        }
        Ok(())
    }
}

/// The control file of a package. `installed` is in KiB.
pub fn control_file(
    name: &str,
    version: &str,
    architecture: &str,
    installed: u64,
    control: &Control,
) -> Fields {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
    add("Package", name);
    add("Version", version);
    add("Architecture", architecture);
    add("Maintainer", &control.maintainer);
    add("Installed-Size", &installed.to_string());
    for (field, packages) in &control.relations {
        if !packages.is_empty() {
            add(field, &packages.join(", "));
        }
    }
    add("Section", control.section.as_deref().unwrap_or("misc"));
    add("Priority", control.priority.as_deref().unwrap_or("optional"));
    if let Some(homepage) = &control.homepage {
        add("Homepage", homepage);
    }
    for (name, value) in &control.fields {
        add(name, value);
    }
    add("Description", &description(&control.description));
    Fields(fields)
}

/// The synopsis, then lines each with a space; an empty one is a dot (Debian Policy 5.6.13).
fn description(text: &str) -> String {
    let mut lines = text.trim().lines();
    let mut out = lines.next().unwrap_or_default().trim().to_owned();
    for line in lines.skip_while(|line| line.trim().is_empty()) {
        let line = line.trim_end();
        out.push_str("\n ");
        out.push_str(if line.is_empty() { "." } else { line });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let control = Control {
            maintainer: "Shop <shop@example.org>".into(),
            description: "sells things\n\nIt sells\n\nthings.\n".into(),
            relations: [("Depends", vec!["perl-base".to_owned(), "adduser".to_owned()])]
                .into_iter()
                .collect(),
            ..Control::default()
        };
        let fields = control_file("shop", "1.0", "all", 12, &control);
        let text = fields.to_string();
        assert!(text.ends_with("Description: sells things\n It sells\n .\n things.\n"), "{text}");
        assert!(text.contains("Depends: perl-base, adduser\n"), "{text}");
        let read = Fields::parse(&text).unwrap();
        assert_eq!(read.get("installed-size"), Some("12"));
        assert_eq!(read.to_string(), text);
        for bad in [" a: b", "a", "a: b\nA: c", ": b", "-a: b"] {
            assert!(Fields::parse(bad).is_err(), "{bad:?}");
        }
    }
}
