//! `debark hosts trust`: host keys looked at, compared and recorded.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use debark_connect::known::{self, Known, Marker};
use debark_connect::{Problem, ProblemKind, Shown, Sshfp, Target, Vpn, fingerprint};
use debark_playbook::SourceMap;
use serde_json::{Value, json};

use super::evidence::Evidence;
use crate::chosen::{Chosen, Where, side_by_side};
use crate::common::{Common, refused};
use crate::exit;
use crate::signals::Signals;

/// Records the keys of new hosts, after showing or comparing their fingerprints
///
/// Hosts are reached as a run reaches them, through their VPN and jump hosts, and nobody logs in. Keys are recorded in
/// the file that `--known-hosts`, the ssh arguments, `debark_known_hosts` or debark.yml name, in `known_hosts` beside
/// the inventory if it is there, or in the user's own.
///
/// Exit codes: 0 all are trusted now, 1 bad input or nobody to ask, 3 a key is changed, revoked or not confirmed, 4 or
/// more a host cannot be reached.
#[derive(clap::Args)]
pub struct TrustArgs {
    /// The hosts: names, groups, patterns
    #[arg(value_name = "PATTERN", required_unless_present = "env")]
    pattern: Option<String>,
    #[command(flatten)]
    place: Where,
    /// The file that keys are recorded in
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// Record what hosts show, without asking
    #[arg(short, long)]
    yes: bool,
    /// Record only keys that DNS has (SSHFP), protected by DNSSEC
    #[arg(long, conflicts_with_all = ["yes", "from"])]
    sshfp: bool,
    /// Record only keys that this file has: a cloud's console output, SSHFP records, public keys or fingerprints
    #[arg(long, value_name = "FILE", conflicts_with = "yes")]
    from: Option<PathBuf>,
    /// Put new keys in the place of those that are known
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    common: Common,
}

/// What became of a host.
enum Fate {
    /// Its key is known already: what ssh calls it.
    Known(Option<String>),
    /// These are recorded now, as confirmed by something; those were replaced.
    Trusted { keys: Vec<Shown>, by: &'static str, replaced: Vec<Known> },
    /// It is not to be trusted, or cannot be reached.
    Not(Problem),
    /// The user said no.
    Declined,
}

/// Runs the command.
pub fn run(args: &TrustArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    let chosen = match args.place.idle(args.pattern.as_deref(), &args.common, &sources) {
        Ok(chosen) => chosen,
        Err(errors) => return refused(&errors, &sources, &signals),
    };
    let evidence = match args.from.as_deref().map(Evidence::read).transpose() {
        Ok(evidence) => evidence,
        Err(why) => return exit::usage(&why, None),
    };
    if chosen.hosts.len() > 1 && evidence.as_ref().is_some_and(|evidence| !evidence.is_named()) {
        let hint = "name one host; SSHFP records with names will do for several";
        return exit::usage("the file of `--from` does not say which host its keys are of", Some(hint));
    }
    let asks = !args.yes && !args.sshfp && evidence.is_none();
    let targets: Vec<_> = chosen.hosts.iter().map(|host| reach(args, &chosen, host)).collect();
    let at_once = chosen.site.options().forks;
    let looks = side_by_side(&targets, at_once, |target| match target {
        Ok(target) => look(target, args.replace),
        Err(problem) => Look::Not(problem.clone()),
    });
    let mut code = 0;
    for ((host, target), look) in chosen.hosts.iter().zip(&targets).zip(looks) {
        let fate = match (target, look) {
            (Ok(target), look) => Judge { args, target, evidence: evidence.as_ref(), asks }.fate(look),
            (Err(problem), _) => Fate::Not(problem.clone()),
        };
        let file = target.as_ref().map(Target::known_hosts_file).unwrap_or_default();
        show(host, &file, &fate, args.common.json);
        let own = match &fate {
            Fate::Known(_) | Fate::Trusted { .. } => 0,
            Fate::Declined => exit::REFUSED,
            Fate::Not(problem) if problem.kind.is_untrusted() => exit::REFUSED,
            Fate::Not(problem) if problem.kind == ProblemKind::Local => exit::BAD_INPUT,
            Fate::Not(problem) => problem.kind.code(),
        };
        // What is refused weighs more than what is not there.
        code = match (code, own) {
            (exit::REFUSED, _) | (_, exit::REFUSED) => exit::REFUSED,
            (code, own) => debark_connect::join(code, own),
        };
    }
    ExitCode::from(code)
}

fn reach(args: &TrustArgs, chosen: &Chosen, host: &str) -> Result<Target, Problem> {
    let mut target = chosen.target(host)?;
    if target.local {
        return Err(Problem::new(
            ProblemKind::Local,
            format!("{host} is this machine: it has no host key to record"),
        ));
    }
    if let Some(file) = &args.known_hosts {
        // Ahead of all others, which count only if nothing came before.
        let file = file.display().to_string().replace('"', "");
        target.args.splice(0..0, ["-o".to_owned(), format!("UserKnownHostsFile=\"{file}\"")]);
    }
    if args.sshfp && target.vpn != Vpn::None {
        let message =
            format!("{host} is behind a VPN, and this machine's resolver is not asked for its name");
        return Err(
            Problem::new(ProblemKind::Local, message).hint("give its SSHFP records in a file: --from FILE")
        );
    }
    Ok(target)
}

/// What was seen of a host before anybody is asked.
enum Look {
    Known(Option<String>),
    Shown(Vec<Shown>),
    Not(Problem),
}

fn look(target: &Target, replace: bool) -> Look {
    let problem = match target.greet() {
        Ok(greeting) => return Look::Known(greeting.host_key),
        Err(problem) => problem,
    };
    match problem.kind {
        ProblemKind::UnknownHostKey => {}
        ProblemKind::ChangedHostKey if replace => {}
        _ => return Look::Not(problem),
    }
    match target.scan() {
        Ok(shown) => Look::Shown(shown),
        Err(problem) => Look::Not(problem),
    }
}

struct Judge<'a> {
    args: &'a TrustArgs,
    target: &'a Target,
    evidence: Option<&'a Evidence>,
    asks: bool,
}

impl Judge<'_> {
    fn fate(&self, look: Look) -> Fate {
        let shown = match look {
            Look::Known(key) => return Fate::Known(key),
            Look::Not(problem) => return Fate::Not(problem),
            Look::Shown(shown) => shown,
        };
        self.record(shown).unwrap_or_else(Fate::Not)
    }

    fn record(&self, shown: Vec<Shown>) -> Result<Fate, Problem> {
        let file = self.target.known_hosts_file();
        let local = |error: std::io::Error| format!("{}: {error}", file.display());
        let name = shown.first().map_or("", |key| key.name.as_str());
        let about = known::about(&file, name).map_err(local)?;
        self.refuse_revoked(&file, &shown)?;
        let plain: Vec<&Known> = about.iter().filter(|known| known.marker.is_none()).collect();
        let is_shown = |known: &Known| shown.iter().any(|key| key.key == known.key);
        if !self.args.replace && !plain.is_empty() && !plain.iter().any(|known| is_shown(known)) {
            return Err(self.changed(&file, &plain, &shown));
        }
        let gone: Vec<Known> = match self.args.replace {
            true => plain.iter().filter(|known| !is_shown(known)).map(|known| (*known).clone()).collect(),
            false => Vec::new(),
        };
        let (keys, by) = match self.confirmed(&file, shown, &gone)? {
            Some(confirmed) => confirmed,
            None => return Ok(Fate::Declined),
        };
        let new: Vec<_> = keys
            .iter()
            .filter(|key| !plain.iter().any(|known| known.key == key.key))
            .map(|key| (key.name.clone(), key.kind.clone(), key.key.clone()))
            .collect();
        known::record(&file, &new, &gone)?;
        Ok(Fate::Trusted { keys, by, replaced: gone })
    }

    fn refuse_revoked(&self, file: &Path, shown: &[Shown]) -> Result<(), Problem> {
        let all = known::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let revoked = all.iter().filter(|known| known.marker == Some(Marker::Revoked));
        for known in revoked {
            if shown.iter().any(|key| key.key == known.key) {
                let message = format!(
                    "the host key of {} is revoked by {}:{}: it shows {}",
                    self.target.address(),
                    file.display(),
                    known.line,
                    known.described().unwrap_or_default()
                );
                return Err(Problem::new(ProblemKind::RevokedHostKey, message).hint(
                    "whoever holds that key may not be the host: give the host a new key (ssh-keygen -A)",
                ));
            }
        }
        Ok(())
    }

    fn changed(&self, file: &Path, plain: &[&Known], shown: &[Shown]) -> Problem {
        let old: Vec<String> = plain
            .iter()
            .map(|known| {
                format!("{}:{} has {}", file.display(), known.line, known.described().unwrap_or_default())
            })
            .collect();
        let message = format!(
            "the host key of {} has changed: {}, the host shows {}",
            self.target.address(),
            old.join(", "),
            described(shown)
        );
        Problem::new(ProblemKind::ChangedHostKey, message)
            .hint("somebody may be in between; if the host was set up anew, compare fingerprints, then use --replace")
    }

    /// Those of the keys that are confirmed, and by what; `None`: the user said no.
    fn confirmed(
        &self,
        file: &Path,
        shown: Vec<Shown>,
        gone: &[Known],
    ) -> Result<Option<(Vec<Shown>, &'static str)>, Problem> {
        let refuse = |what: &str| {
            Problem::new(
                ProblemKind::UnknownHostKey,
                format!("{what} the host key of {}: it shows {}", self.target.address(), described(&shown)),
            )
        };
        if let Some(evidence) = self.evidence {
            let names = [self.target.name.as_str(), self.target.host.as_str()];
            let from = self.args.from.as_deref().unwrap_or(Path::new("")).display();
            let keys: Vec<Shown> =
                shown.iter().filter(|key| evidence.confirms(&names, key)).cloned().collect();
            return match keys.is_empty() {
                true => Err(refuse(&format!("{from} does not confirm"))
                    .hint("somebody may be in between, or the file is of another host")),
                false => Ok(Some((keys, "file"))),
            };
        }
        if self.args.sshfp {
            let mut keys = Vec::new();
            let mut unsigned = false;
            for key in &shown {
                match self.target.sshfp(&key.kind)? {
                    Sshfp::Confirmed => keys.push(key.clone()),
                    Sshfp::Unsigned => unsigned = true,
                    Sshfp::No => {}
                }
            }
            return match (keys.is_empty(), unsigned) {
                (false, _) => Ok(Some((keys, "sshfp"))),
                (true, true) => Err(refuse(
                    "the SSHFP records in DNS are not protected by DNSSEC and do not confirm",
                )
                .hint(
                    "a resolver that validates has to say so: `options edns0 trust-ad` in /etc/resolv.conf",
                )),
                (true, false) => Err(refuse("no SSHFP record in DNS confirms").hint(
                    "`ssh-keygen -r NAME` on the host prints them; a host named by its address has none",
                )),
            };
        }
        if !self.asks {
            return Ok(Some((shown, "nothing")));
        }
        if !debark_controller::is_terminal() {
            let message = format!(
                "there is no terminal to ask whether the key of {} is right: {}",
                self.target.name,
                described(&shown)
            );
            return Err(Problem::new(ProblemKind::Local, message).hint(
                "compare with `--from FILE` or `--sshfp`, or record whatever hosts show with `--yes`",
            ));
        }
        anstream::println!("{} ({}) shows", self.target.name, self.target.address());
        for key in &shown {
            anstream::println!("  {:<20} {}", key.kind, fingerprint(&key.key).unwrap_or_default());
        }
        for known in gone {
            anstream::println!(
                "  in the place of {}:{} {}",
                file.display(),
                known.line,
                known.described().unwrap_or_default()
            );
        }
        let question = format!("record in {}? [y/N] ", file.display());
        let answer = debark_controller::ask(&question, true)
            .map_err(|error| format!("cannot ask whether the keys are right: {error}"))?;
        let yes = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
        Ok(yes.then_some((shown, "user")))
    }
}

fn described(shown: &[Shown]) -> String {
    let keys: Vec<String> = shown
        .iter()
        .map(|key| format!("{} {}", key.kind, fingerprint(&key.key).unwrap_or_default()))
        .collect();
    keys.join(", ")
}

fn show(host: &str, file: &Path, fate: &Fate, json: bool) {
    if json {
        return anstream::println!("{}", event(host, file, fate));
    }
    match fate {
        Fate::Known(key) => anstream::println!(
            "{host}: known already{}",
            key.as_ref().map(|key| format!(" ({key})")).unwrap_or_default()
        ),
        Fate::Trusted { keys, by, replaced } => {
            let how = match *by {
                "file" => ", confirmed by the file",
                "sshfp" => ", confirmed by DNS",
                "user" => "",
                _ => ", not compared with anything",
            };
            let instead = match replaced.len() {
                0 => String::new(),
                count => format!(", in the place of {count}"),
            };
            anstream::println!("{host}: recorded in {}{how}{instead}", file.display());
            for key in keys {
                anstream::println!("  {:<20} {}", key.kind, fingerprint(&key.key).unwrap_or_default());
            }
        }
        Fate::Declined => anstream::println!("{host}: not recorded"),
        Fate::Not(problem) => {
            exit::usage(&problem.message, problem.hint.as_deref());
        }
    }
}

fn event(host: &str, file: &Path, fate: &Fate) -> Value {
    let event = |state: &str| json!({"event": "host_keys", "host": host, "state": state, "file": file});
    let mut line = match fate {
        Fate::Known(_) => event("known"),
        Fate::Trusted { .. } => event("trusted"),
        Fate::Declined => event("declined"),
        Fate::Not(problem) if problem.kind.is_untrusted() => event("refused"),
        Fate::Not(_) => event("unreachable"),
    };
    let mut set = |name: &str, value: Value| {
        if let Some(line) = line.as_object_mut() {
            line.insert(name.to_owned(), value);
        }
    };
    match fate {
        Fate::Known(key) => set("key", json!(key)),
        Fate::Trusted { keys, by, replaced } => {
            let keys: Vec<Value> = keys
                .iter()
                .map(|key| json!({"type": key.kind, "fingerprint": fingerprint(&key.key)}))
                .collect();
            set("keys", json!(keys));
            set("confirmed_by", json!(by));
            let old: Vec<Value> = replaced
                .iter()
                .map(|known| json!({"type": known.kind, "fingerprint": known.fingerprint(), "line": known.line}))
                .collect();
            set("replaced", json!(old));
        }
        Fate::Declined => {}
        Fate::Not(problem) => {
            set("kind", json!(problem.kind.word()));
            set("message", json!(problem.message));
            set("hint", json!(problem.hint));
        }
    }
    line
}
