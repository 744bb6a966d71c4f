//! `cron`: jobs and variables in a user's crontab or a file of /etc/cron.d.
//!
//! Jobs are found by the comment above them; its wording is Ansible's, so that both tools manage the same files.

use std::path::{Path, PathBuf};

use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, Value, accounts, choices, map, params, textfile};

choices! {
    /// What should hold.
    pub enum State { Present = "present", Absent = "absent" }
}

choices! {
    /// Times with a name, as in crontab(5).
    pub enum Special {
        Reboot = "reboot", Yearly = "yearly", Annually = "annually", Monthly = "monthly", Weekly = "weekly",
        Daily = "daily", Hourly = "hourly",
    }
}

params! {
    /// Manages jobs and variables of cron.
    pub struct Params for "ansible.builtin.cron" {
        /// What the job is called, in a comment above it; with `env` the variable.
        name: String,
        /// Whose crontab; in a `cron_file`, who runs the job.
        user: Option<String>,
        /// The command, or the variable's value.
        job | value: Option<String>,
        /// A file in /etc/cron.d, or anywhere, instead of a user's crontab.
        cron_file: Option<PathBuf>,
        /// What should hold.
        state: State = State::Present,
        /// Whether the old content is kept in a file.
        backup: bool = false,
        /// Minutes.
        minute: String = "*".to_owned(),
        /// Hours.
        hour: String = "*".to_owned(),
        /// Days of the month.
        day | dom: String = "*".to_owned(),
        /// Months.
        month: String = "*".to_owned(),
        /// Days of the week.
        weekday | dow: String = "*".to_owned(),
        /// A time with a name.
        special_time: Option<Special>,
        /// Whether the job is commented out.
        disabled: bool = false,
        /// Whether it is a variable.
        env: bool = false,
        /// The variable after which a new one is put.
        insertafter: Option<String>,
        /// The variable before which a new one is put.
        insertbefore: Option<String>,
    }
    rules Rules { exclusive: &[&["insertafter", "insertbefore"]], ..NO_RULES }
}

const MARK: &str = "#Ansible: ";

/// Where the jobs are.
enum Place {
    File(PathBuf),
    User(String),
}

/// Compares the crontab with what it should be.
///
/// # Errors
/// Parameters that do not go together, or a crontab that cannot be read.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    check(&params)?;
    let place = place(&params)?;
    let before = read(&place, host)?;
    let old: Vec<String> = before.as_deref().unwrap_or_default().lines().map(str::to_owned).collect();
    let new = if params.env { variables(&params, old.clone())? } else { jobs(&params, old.clone()) };
    let marked = new.iter().filter_map(|line| line.strip_prefix(MARK));
    let names = new.iter().filter_map(|line| {
        let (name, _) = line.split_once('=')?;
        (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
    });
    let mut result = map! { "jobs" => Value::list(marked), "envs" => Value::list(names) };
    let mut warnings = Vec::new();
    if let Place::File(path) = &place {
        result.insert("cron_file".into(), params.cron_file.clone().map(|f| f.display().to_string()).into());
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            warnings.push(format!(
                "cron does not read a file called {name:?}: use letters, digits, - and _ only"
            ));
        }
    }
    if params.job.as_deref().is_some_and(|job| job.trim_matches(['\r', '\n']).contains(['\r', '\n'])) {
        warnings.push("a job is one line; this one has line breaks".to_owned());
    }
    if !warnings.is_empty() {
        result.insert("warnings".into(), Value::list(warnings));
    }
    let mut after = new.join("\n").trim_end_matches(['\r', '\n']).to_owned();
    if !after.is_empty() {
        after.push('\n');
    }
    // A last line without its end is one that cron ignores.
    let unended = before.as_deref().is_some_and(|text| !text.is_empty() && !text.ends_with('\n'));
    if new == old && !unended {
        return Ok(Plan::ok(result));
    }
    let gone = params.state == State::Absent && after.trim().is_empty() && matches!(place, Place::File(_));
    let title = match &place {
        Place::File(path) => path.display().to_string(),
        Place::User(user) => format!("crontab for user \"{user}\""),
    };
    let diff = vec![Diff::text(title, before.clone().unwrap_or_default(), after.as_str())];
    let backup = params.backup;
    Ok(Plan::change(result, diff, move |host| {
        let mut result = Map::new();
        if let Some(text) = before.filter(|_| backup) {
            let path = PathBuf::from(format!("/var/tmp/crontab-{}-{}", std::process::id(), stamp()));
            textfile::write(&path, text.as_bytes(), Some(0o600))?;
            result.insert("backup_file".into(), path.display().to_string().into());
        }
        match &place {
            Place::File(path) if gone => textfile::remove(path)?,
            // cron.d must not be writable by others, or cron ignores the file.
            Place::File(path) => textfile::write(path, after.as_bytes(), None)?,
            Place::User(user) => host.exec_ok(&install(user, &after)).map(drop)?,
        }
        Ok(result)
    }))
}

fn stamp() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_nanos()
}

fn check(params: &Params) -> Result<(), Failure> {
    let fail = |msg: &str| Err(Failure::new(msg));
    let times = [&params.minute, &params.hour, &params.day, &params.month, &params.weekday];
    if params.cron_file.as_deref() == Some(Path::new("/etc/crontab")) {
        return fail("Will not manage /etc/crontab via cron_file, see documentation.");
    }
    if params.special_time.is_some() && times.iter().any(|time| *time != "*") {
        return fail("You must specify time and date fields or special time.");
    }
    if times.iter().any(|time| time.is_empty() || time.contains(char::is_whitespace)) {
        return fail("cron: a time field is one word without blanks, such as */5 or 1,15");
    }
    if params.name.contains(['\n', '\r']) {
        return fail("cron: `name` is one line");
    }
    if params.env && params.name.contains(' ') {
        return fail("Invalid name for environment variable");
    }
    if params.state == State::Absent {
        return Ok(());
    }
    if params.cron_file.is_some() && params.user.is_none() && !params.env {
        return fail("To use cron_file=... parameter you must specify user=... as well");
    }
    if params.job.is_none() {
        return fail("You must specify 'job' to install a new cron job or variable");
    }
    if (params.insertafter.is_some() || params.insertbefore.is_some()) && !params.env {
        return fail("Insertafter and insertbefore parameters are valid only with env=yes");
    }
    Ok(())
}

fn place(params: &Params) -> Result<Place, Failure> {
    if let Some(file) = &params.cron_file {
        return Ok(Place::File(Path::new("/etc/cron.d").join(file)));
    }
    let me = rustix::process::geteuid().as_raw();
    let user = match &params.user {
        Some(user) => user.clone(),
        None => accounts::user_by_id(me).map(|user| user.name).unwrap_or_else(|| me.to_string()),
    };
    if user.is_empty() || user.starts_with('-') || user.contains('/') {
        return Err(Failure::new(format!("cron: {user:?} is no user's name")));
    }
    Ok(Place::User(user))
}

/// The text of the crontab; of a user's one without the heading that crontab(1) writes above it.
fn read(place: &Place, host: &Host) -> Result<Option<String>, Failure> {
    let path = match place {
        Place::File(path) => return textfile::read_text(path),
        Place::User(user) => Path::new("/var/spool/cron/crontabs").join(user),
    };
    if rustix::process::geteuid().is_root() {
        return Ok(textfile::read_text(&path)?.map(|text| without_heading(&text)));
    }
    let output = host.exec(&Cmd::new("crontab").arg("-l"))?;
    Ok((output.rc == 0).then(|| without_heading(&output.out())))
}

fn without_heading(text: &str) -> String {
    let is_heading = |line: &str| {
        line.starts_with("# DO NOT EDIT THIS FILE - edit the master and reinstall.")
            || line.starts_with("# (") && (line.contains("installed on") || line.contains("version"))
    };
    let lines = text.split_inclusive('\n').enumerate();
    lines.filter(|(number, line)| *number > 2 || !is_heading(line)).map(|(_, line)| line).collect()
}

fn install(user: &str, text: &str) -> Cmd {
    let own = accounts::user_by_id(rustix::process::geteuid().as_raw()).is_some_and(|me| me.name == user);
    let cmd = Cmd::new("crontab").stdin(text);
    if own { cmd.arg("-") } else { cmd.arg("-u").arg(user).arg("-") }
}

fn job_line(params: &Params) -> String {
    let job = params.job.as_deref().unwrap_or_default().trim_matches(['\r', '\n']);
    let time = match params.special_time {
        Some(special) => format!("@{}", special.word()),
        None => {
            format!("{} {} {} {} {}", params.minute, params.hour, params.day, params.month, params.weekday)
        }
    };
    let user = match (&params.cron_file, &params.user) {
        (Some(_), Some(user)) => format!(" {user}"),
        _ => String::new(),
    };
    format!("{}{time}{user} {job}", if params.disabled { "#" } else { "" })
}

fn jobs(params: &Params, mut lines: Vec<String>) -> Vec<String> {
    let mark = format!("{MARK}{}", params.name);
    let job = job_line(params);
    if params.state == State::Present && !lines.contains(&mark) {
        match lines.iter().position(|line| *line == job) {
            // The same job without a name gets its name.
            Some(at) if at == 0 || !lines.get(at - 1).is_some_and(|line| line.starts_with(MARK)) => {
                lines.insert(at, mark);
            }
            Some(at)
                if lines.get(at - 1).is_some_and(|line| matches!(line.as_str(), "#Ansible: None" | MARK)) =>
            {
                if let Some(line) = lines.get_mut(at - 1) {
                    *line = mark;
                }
            }
            _ => lines.extend([mark, job]),
        }
        return lines;
    }
    let mut new = Vec::with_capacity(lines.len());
    let mut rest = lines.into_iter();
    while let Some(line) = rest.next() {
        if line != mark {
            new.push(line);
            continue;
        }
        // The line below the comment is the job.
        rest.next();
        if params.state == State::Present {
            new.extend([line, job.clone()]);
        }
    }
    new
}

fn variables(params: &Params, mut lines: Vec<String>) -> Result<Vec<String>, Failure> {
    let find = |lines: &[String], name: &str| {
        lines.iter().position(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
    };
    let here = find(&lines, &params.name);
    if params.state == State::Absent {
        while let Some(at) = find(&lines, &params.name) {
            lines.remove(at);
        }
        return Ok(lines);
    }
    let declaration = format!("{}=\"{}\"", params.name, params.job.as_deref().unwrap_or_default());
    if let Some(line) = here.and_then(|at| lines.get_mut(at)) {
        *line = declaration;
        return Ok(lines);
    }
    let at = match (&params.insertafter, &params.insertbefore) {
        (None, None) => 0,
        (Some(other), _) | (None, Some(other)) => {
            let found = find(&lines, other)
                .ok_or_else(|| Failure::new(format!("Variable named '{other}' not found.")))?;
            found + usize::from(params.insertafter.is_some())
        }
    };
    lines.insert(at, declaration);
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs_of(args: Map, text: &str) -> String {
        let params = Params::parse(&args).unwrap();
        check(&params).unwrap();
        let lines = text.lines().map(str::to_owned).collect();
        let new = if params.env { variables(&params, lines).unwrap() } else { jobs(&params, lines) };
        new.join("\n")
    }

    #[test]
    fn adds_updates_and_removes_jobs() {
        let args = map! { "name" => "x", "job" => "true", "hour" => "5,2" };
        let text = jobs_of(args.clone(), "# mine\n1 * * * * a");
        assert_eq!(text, "# mine\n1 * * * * a\n#Ansible: x\n* 5,2 * * * true");
        assert_eq!(jobs_of(args, &text), text);
        let args = map! { "name" => "x", "job" => "false", "special_time" => "reboot", "disabled" => true };
        assert_eq!(jobs_of(args, &text), "# mine\n1 * * * * a\n#Ansible: x\n#@reboot false");
        assert_eq!(jobs_of(map! { "name" => "x", "state" => "absent" }, &text), "# mine\n1 * * * * a");
        assert_eq!(jobs_of(map! { "name" => "y", "state" => "absent" }, &text), text);
    }

    #[test]
    fn a_job_without_a_name_gets_one() {
        let args = map! { "name" => "x", "job" => "a", "minute" => "1" };
        assert_eq!(jobs_of(args, "1 * * * * a"), "#Ansible: x\n1 * * * * a");
    }

    #[test]
    fn files_name_the_user() {
        let args = map! { "name" => "x", "job" => "a", "cron_file" => "f", "user" => "root" };
        assert_eq!(jobs_of(args, ""), "#Ansible: x\n* * * * * root a");
    }

    #[test]
    fn variables_have_an_order() {
        let args = map! { "name" => "B", "value" => "2", "env" => true, "insertafter" => "A" };
        assert_eq!(jobs_of(args.clone(), "A=\"1\"\nC=\"3\""), "A=\"1\"\nB=\"2\"\nC=\"3\"");
        assert_eq!(jobs_of(map! { "name" => "B", "job" => "9", "env" => true }, "B=1"), "B=\"9\"");
        assert_eq!(jobs_of(map! { "name" => "B", "env" => true, "state" => "absent" }, "B=1\nBB=2"), "BB=2");
        assert!(variables(&Params::parse(&args).unwrap(), Vec::new()).is_err());
    }

    #[test]
    fn refuses_what_does_not_go_together() {
        let message = |args: Map| check(&Params::parse(&args).unwrap()).unwrap_err().msg;
        assert!(message(map! { "name" => "x" }).contains("specify 'job'"));
        assert!(message(map! { "name" => "x", "job" => "a", "cron_file" => "f" }).contains("user="));
        assert!(
            message(map! { "name" => "x", "job" => "a", "cron_file" => "/etc/crontab" })
                .contains("/etc/crontab")
        );
        assert!(message(map! { "name" => "x", "job" => "a", "minute" => "1 2" }).contains("one word"));
    }

    #[test]
    fn the_heading_of_crontab_is_no_content() {
        let text = "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# (/tmp/x installed on Mon)\n\
                    # (Cron version -- $Id$)\n#Ansible: x\n1 * * * * a\n";
        assert_eq!(without_heading(text), "#Ansible: x\n1 * * * * a\n");
    }
}
