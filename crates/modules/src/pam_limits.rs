//! `pam_limits`: what users may use of a host, limits.conf(5).

use std::path::PathBuf;

use crate::edit::{Edit, Owner};
use crate::param::NO_RULES;
use crate::{Failure, Host, Plan, Value, choices, map, params};

choices! {
    /// Which of the two limits; `-` is both.
    pub enum Type { Hard = "hard", Soft = "soft", Both = "-" }
}

choices! {
    /// What is limited.
    pub enum Item {
        Core = "core", Data = "data", Fsize = "fsize", Memlock = "memlock", Nofile = "nofile", Rss = "rss", Stack = "stack",
        Cpu = "cpu", Nproc = "nproc", As = "as", Maxlogins = "maxlogins", Maxsyslogins = "maxsyslogins",
        Priority = "priority", Locks = "locks", Sigpending = "sigpending", Msgqueue = "msgqueue", Nice = "nice",
        Rtprio = "rtprio", Chroot = "chroot",
    }
}

params! {
    /// Sets limits of users and groups. The file is made if it is missing.
    pub struct Params for "community.general.pam_limits" {
        /// A user, an `@group`, `*`, or a range of ids.
        domain: String,
        /// Which of the two limits; `-` is both.
        limit_type: Type,
        /// What is limited.
        limit_item: Item,
        /// `unlimited`, `infinity` or `-1`, or a number of at least 0; for `nice` and `priority` from -20 to 19.
        value: String,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// Of this value and the file's, the smaller one.
        use_min: bool = false,
        /// Of this value and the file's, the larger one.
        use_max: bool = false,
        /// The file.
        dest: PathBuf = PathBuf::from("/etc/security/limits.conf"),
        /// A comment behind the limit; without it, the one that is there stays.
        comment: String = String::new(),
    }
    rules NO_RULES
}

const UNLIMITED: [&str; 3] = ["unlimited", "infinity", "-1"];

/// A limit that can be compared; unlimited is more than all others.
fn amount(item: Item, value: &str) -> Option<i128> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match item {
        Item::Nice | Item::Priority => value.parse().ok().filter(|number| (-20..=19).contains(number)),
        _ if UNLIMITED.contains(&value) => Some(i128::MAX),
        _ => digits(value).then(|| value.parse().ok())?,
    }
}

/// The file's new text, and the line that has the limit.
fn edited(before: &str, params: &Params, wanted: i128) -> (String, String) {
    let (kind, item) = (params.limit_type.word(), params.limit_item.word());
    let line_of = |value: &str, comment: &str| {
        let comment = comment.trim_end();
        let comment = if comment.is_empty() { String::new() } else { format!("\t#{comment}") };
        format!("{}\t{kind}\t{item}\t{value}{comment}\n", params.domain)
    };
    let (mut after, mut found) = (String::new(), None);
    for line in before.split_inclusive('\n') {
        let (limit, comment) = line.split_once('#').unwrap_or((line, ""));
        let fields: Vec<&str> = limit.split_whitespace().collect();
        let mut kept = line.to_owned();
        if let [domain, its_kind, its_item, now] = fields[..]
            && (domain, its_kind, its_item) == (params.domain.as_str(), kind, item)
        {
            // What cannot be compared is no limit to keep.
            let keeps = now == params.value
                || amount(params.limit_item, now).is_some_and(|now| {
                    now == wanted && (params.use_max || params.use_min)
                        || params.use_max && now > wanted
                        || params.use_min && now < wanted
                });
            if !keeps {
                let given = &params.comment;
                kept = line_of(&params.value, if given.is_empty() { comment } else { given });
            }
            found = Some(kept.clone());
        }
        after.push_str(&kept);
    }
    let line = found.unwrap_or_else(|| {
        let line = line_of(&params.value, &params.comment);
        if !after.is_empty() && !after.ends_with('\n') {
            after.push('\n');
        }
        after.push_str(&line);
        line
    });
    (after, line)
}

/// Compares the file with what is declared.
///
/// # Errors
/// The value is none that limits.conf(5) knows for the item; the file cannot be read, or its directory is missing.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let item = params.limit_item;
    let Some(wanted) = amount(item, &params.value) else {
        let hint = match item {
            Item::Nice | Item::Priority => "a number from -20 to 19",
            _ => "a number of at least 0, or `unlimited`",
        };
        return Err(Failure::new(format!("{:?} is no value of {}", params.value, item.word())).hint(hint));
    };
    if params.use_min && params.use_max {
        return Err(Failure::new("`use_min` and `use_max` exclude each other"));
    }
    if params.domain.is_empty() || params.domain.contains(char::is_whitespace) {
        return Err(Failure::new(format!("{:?} is no user, group or range", params.domain)));
    }
    if params.comment.contains('\n') {
        return Err(Failure::new("`comment` holds a line break"));
    }
    let edit = Edit::read(&params.dest)?;
    let (after, line) = edited(edit.text(), &params, wanted);
    let result = map! { "msg" => line };
    if after == edit.text() {
        return Ok(Plan::ok(result));
    }
    let diff = vec![edit.diff(&after)];
    Ok(Plan::change(result, diff, move |host| {
        let saved = edit.write(host, &after, Owner::default(), params.backup)?;
        Ok(saved
            .map(|path| ("backup_file".into(), Value::from(path.display().to_string())))
            .into_iter()
            .collect())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(value: &str, how: &str) -> Params {
        let args = map! {
            "domain" => "joe", "limit_type" => "soft", "limit_item" => "nofile", "value" => value,
            "use_max" => how == "max", "use_min" => how == "min", "comment" => if how == "why" { "why" } else { "" },
        };
        Params::parse(&args).unwrap()
    }

    fn after(before: &str, value: &str, how: &str) -> String {
        edited(before, &params(value, how), amount(Item::Nofile, value).unwrap()).0
    }

    #[test]
    fn changes_one_limit_and_nothing_else() {
        let file = "# joe soft nofile 1\n* hard core 0\njoe   soft nofile 1024 # old\nshort line\n";
        let changed = |value: &str| {
            file.replace("joe   soft nofile 1024 # old", &format!("joe\tsoft\tnofile\t{value}"))
        };
        assert_eq!(after(file, "1024", ""), file);
        assert_eq!(after(file, "64000", ""), changed("64000\t# old"));
        assert_eq!(after(file, "64000", "why"), changed("64000\t#why"));
        assert_eq!(after("* - core 0", "5", "why"), "* - core 0\njoe\tsoft\tnofile\t5\t#why\n");
        assert_eq!(after("", "5", ""), "joe\tsoft\tnofile\t5\n");
    }

    #[test]
    fn keeps_the_larger_or_the_smaller_one() {
        let file = "joe soft nofile 1024\n";
        let now = |text: &str| text.split_whitespace().nth(3).unwrap().to_owned();
        assert_eq!(now(&after(file, "512", "max")), "1024");
        assert_eq!(now(&after(file, "unlimited", "max")), "unlimited");
        assert_eq!(now(&after(file, "512", "min")), "512");
        assert_eq!(now(&after(file, "-1", "min")), "1024");
        let unlimited = "joe soft nofile infinity\n";
        assert_eq!(after(unlimited, "unlimited", "max"), unlimited);
        assert_eq!(after(unlimited, "unlimited", "min"), unlimited);
        assert_eq!(now(&after(unlimited, "7", "min")), "7");
    }

    #[test]
    fn knows_values() {
        assert_eq!(amount(Item::Nice, "-20"), Some(-20));
        for (item, value) in [
            (Item::Nice, "20"),
            (Item::Nice, "unlimited"),
            (Item::Core, "-2"),
            (Item::Core, ""),
            (Item::Core, "4k"),
        ] {
            assert_eq!(amount(item, value), None, "{value}");
        }
        assert_eq!(amount(Item::Core, &"9".repeat(60)), None);
    }
}
