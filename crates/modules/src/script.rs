//! `script`: runs a script of the controller on the host.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::command::{self, needless};
use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::private_dir::{PrivateDir, may_execute};
use crate::upstream::{EntryKind, Search};
use crate::{Failure, Host, Map, Plan, Value, map, params, shlex};

params! {
    /// Sends a script to the host and runs it there.
    pub struct Params for "ansible.builtin.script" {
        /// The script on the controller, and its arguments.
        cmd | _raw_params | free_form: String,
        /// Directory to run it in; an absolute path.
        chdir: Option<PathBuf>,
        /// A path or pattern; if it exists, nothing is run.
        creates: Option<PathBuf>,
        /// A path or pattern; if it does not exist, nothing is run.
        removes: Option<PathBuf>,
        /// The program (and options) that runs the script, instead of its first line.
        executable: Option<String>,
        /// Whether a vault-encrypted script is sent decrypted; it always is.
        decrypt: bool = true,
    }
    rules Rules { free_form: Some("cmd"), ..NO_RULES }
}

/// Finds the script, and looks whether `creates` or `removes` makes it unnecessary.
///
/// # Errors
/// The controller has no such script, or `chdir` is relative.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    if let Some(dir) = params.chdir.as_deref().filter(|dir| dir.is_relative()) {
        return Err(Failure::new(format!("chdir {} must be an absolute path", dir.display())));
    }
    if let Some(reason) = needless(params.creates.as_deref(), params.removes.as_deref(), None) {
        return Ok(Plan::skip(reason.script()));
    }
    let words = shlex::split(params.cmd.trim())
        .map_err(|why| Failure::new(format!("the script's arguments cannot be split: {why}")))?;
    let source = words.first().ok_or_else(|| Failure::new("no script given"))?;
    let tree = host.upstream.find(source, Search::Files)?;
    let sha256 = match tree.entries.first().map(|entry| &entry.kind) {
        Some(EntryKind::File { sha256, .. }) if !tree.directory => sha256.clone(),
        _ => return Err(Failure::new(format!("{source} is no file, so it cannot be run as a script"))),
    };
    let name = Path::new(&tree.name).file_name().map(PathBuf::from).unwrap_or_else(|| "script".into());
    let certain = params.creates.is_some() || params.removes.is_some();
    let shell_line = params.cmd.trim().to_owned();
    let source = source.clone();
    let apply = move |host: &Host| {
        let script = Script::receive(host, &sha256, &name)?;
        let result = script.run(host, &shell_line, &source, &params);
        host.forget_all();
        result
    };
    if certain {
        let unknown = || Value::Unknown("the script was not run in check mode".into());
        let predicted = map! { "rc" => unknown(), "stdout" => unknown(), "stderr" => unknown(),
        "stdout_lines" => unknown(), "stderr_lines" => unknown() };
        Ok(Plan::change(predicted, Vec::new(), apply))
    } else {
        Ok(Plan::run(apply))
    }
}

/// A script in a private directory of its own, removed when dropped.
struct Script {
    dir: PrivateDir,
    file: PathBuf,
}

impl Script {
    /// Writes it where programs may be started if there is such a place.
    fn receive(host: &Host, sha256: &str, name: &Path) -> Result<Self, Failure> {
        let dir = PrivateDir::new(0)?;
        let script = Self { file: dir.path().join(name), dir };
        let io = |error| Failure::io("cannot write", &script.file, error);
        let mut file = File::create_new(&script.file).map_err(io)?;
        file.set_permissions(Permissions::from_mode(0o700)).map_err(io)?;
        host.upstream.content(sha256, &mut file)?;
        Ok(script)
    }

    /// Runs it through a shell, with its path put in the place of its name, so that quoting in the arguments is the
    /// shell's, as in Ansible.
    fn run(&self, host: &Host, line: &str, source: &str, params: &Params) -> Result<Map, Failure> {
        let path = shlex::quote(&self.file.to_string_lossy());
        let arguments = match line.find(source) {
            // The name may be in quotes, which end right after it.
            Some(at) => {
                line.get(at + source.len()..).unwrap_or_default().trim_start_matches(['"', '\'']).to_owned()
            }
            None => shlex::split(line)
                .unwrap_or_default()
                .iter()
                .skip(1)
                .map(|word| format!(" {}", shlex::quote(word)))
                .collect(),
        };
        let interpreter = match &params.executable {
            Some(program) => Some(program.clone()),
            None if may_execute(self.dir.path()) => None,
            // On a `noexec` file system only its interpreter can be started.
            None => Some(self.interpreter()),
        };
        let target = match interpreter {
            Some(program) => format!("{program} {path}{arguments}"),
            None => format!("{path}{arguments}"),
        };
        let mut cmd = Cmd::new("/bin/sh").arg("-c").arg(target);
        cmd.cwd.clone_from(&params.chdir);
        let mut output = host.exec(&cmd)?;
        let mut result = map! { "changed" => true };
        result.extend(command::printed(&mut output, false));
        if output.rc == 0 { Ok(result) } else { Err(Failure::new("non-zero return code").with(result)) }
    }

    /// What the first line names; `/bin/sh` without one, as a shell does it.
    fn interpreter(&self) -> String {
        use std::io::Read;
        let mut start = Vec::new();
        if let Ok(file) = File::open(&self.file) {
            // A first line that cannot be read leaves the default.
            let _ = file.take(256).read_to_end(&mut start);
        }
        let start = String::from_utf8_lossy(&start);
        let line = start.lines().next().and_then(|line| line.strip_prefix("#!")).map(str::trim);
        line.filter(|line| !line.is_empty()).unwrap_or("/bin/sh").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::rc::Rc;

    use super::*;
    use crate::Action;
    use crate::upstream::{Entry, Tree, Upstream};

    struct One(&'static [u8]);

    impl Upstream for One {
        fn find(&self, path: &str, _: Search) -> Result<Tree, Failure> {
            let kind = EntryKind::File { sha256: "x".into(), size: 1 };
            let name = Path::new(path).file_name().unwrap().to_string_lossy().into_owned();
            Ok(Tree { name, entries: vec![Entry { path: "".into(), kind, mode: 0o644 }], directory: false })
        }
        fn content(&self, _: &str, out: &mut dyn Write) -> Result<(), Failure> {
            out.write_all(self.0).map_err(|e| Failure::new(e.to_string()))
        }
        fn store(&self, _: &Path, _: u64, _: &mut dyn Read) -> Result<(), Failure> {
            Ok(())
        }
        fn stored_sha1(&self, _: &Path) -> Result<Option<String>, Failure> {
            Ok(None)
        }
    }

    fn run(content: &'static [u8], args: Map) -> Result<Map, Failure> {
        let host = Host::new(Rc::new(One(content)));
        match plan(Params::parse(&args)?, &host)?.action {
            Action::Run(apply) | Action::Change(apply) => apply(&host),
            Action::Skip(reason) => Err(Failure::new(reason)),
            Action::Nothing | Action::Prepare(_) => Ok(Map::new()),
        }
    }

    #[test]
    fn runs_with_arguments_and_cleans_up() {
        let result =
            run(b"#!/bin/sh\necho \"$#:$1:$0\"\n", map! { "cmd" => "'dir/my script.sh' 'a b' c" }).unwrap();
        let out = result.get("stdout").and_then(Value::as_str).unwrap().trim().to_owned();
        let (count, path) = out.split_once(":a b:").unwrap();
        assert_eq!(count, "2");
        assert!(path.ends_with("/my script.sh") && !Path::new(path).exists());
    }

    #[test]
    fn executable_creates_and_failure() {
        let result = run(b"import nothing", map! { "cmd" => "x.py", "executable" => "cat" }).unwrap();
        assert_eq!(result.get("stdout").and_then(Value::as_str), Some("import nothing"));
        let reason = run(b"", map! { "cmd" => "x.sh", "creates" => "/etc/passwd" }).unwrap_err().msg;
        assert_eq!(reason, "/etc/passwd exists, matching creates option");
        let failure = run(b"#!/bin/sh\nexit 4\n", map! { "cmd" => "x.sh" }).unwrap_err();
        assert_eq!(failure.result.get("rc"), Some(&Value::Int(4)));
    }
}
