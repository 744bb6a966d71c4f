//! `debark lab`: throwaway real Debian hosts.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use debark_lab::{Error, Lab, Options, Result, Say, Suite};

mod check;
mod verdict;

/// Where this exit code comes up: the lab itself failed, or was asked for what it cannot do.
const FAILED: u8 = 1;

/// Throwaway real Debian hosts on this machine: systemd, sshd, apt, in namespaces of their own.
///
/// Every host has the users root, debian (sudo without a password) and plain (sudo asks for the password `plain`),
/// all opened by the lab's key only.
#[derive(Debug, clap::Subcommand)]
pub enum LabCommand {
    /// Make a lab of so many hosts, or grow the one there is
    Up {
        /// How many hosts the lab has then: h1, h2, ...
        #[arg(value_name = "N")]
        hosts: usize,
        /// The Debian release of new hosts: bookworm or trixie
        #[arg(long, default_value = "bookworm")]
        suite: Suite,
        #[command(flatten)]
        lab: Name,
        /// New hosts run sshd without systemd: for many hosts, booted quickly
        #[arg(long)]
        bare: bool,
        /// A WireGuard gateway stands between the controller and the hosts, so that only a VPN leads there
        #[arg(long)]
        gateway: bool,
        /// New hosts have these packages too (comma-separated, repeatable)
        #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
        with: Vec<String>,
        /// New hosts have python3, as Ansible needs it
        #[arg(long)]
        python: bool,
    },
    /// List the labs and their hosts
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the lab's inventory
    Inventory {
        #[command(flatten)]
        lab: Name,
        /// Print JSON, as an inventory script does
        #[arg(long)]
        json: bool,
    },
    /// Log in to a host by ssh, or run a command there
    Ssh {
        #[command(flatten)]
        lab: Name,
        /// The host, or USER@HOST
        host: String,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Run a command in the controller's network namespace, from which the hosts can be reached
    Exec {
        #[command(flatten)]
        lab: Name,
        /// The command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
    /// Give hosts fresh disks and boot them: all, unless some are named
    Reset {
        #[command(flatten)]
        lab: Name,
        /// The hosts
        hosts: Vec<String>,
    },
    /// Print an address in the controller's namespace that leads to a host's sshd with a delay
    Delay {
        #[command(flatten)]
        lab: Name,
        /// The host
        host: String,
        /// The round trip to add, in milliseconds
        #[arg(value_name = "MS")]
        round_trip: u64,
    },
    /// Remove a lab and everything of it
    Down {
        #[command(flatten)]
        lab: Name,
        /// Remove all labs
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Boot hosts, apply a playbook twice, verify, and remove the hosts
    Test(check::Arguments),
    /// What supervisors and relays run as
    #[command(hide = true)]
    Background {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// Which lab.
#[derive(Debug, clap::Args)]
pub struct Name {
    /// The lab's name
    #[arg(long, default_value = "default")]
    name: String,
}

/// Runs the command. Errors are printed with a hint.
pub fn run(command: LabCommand) -> ExitCode {
    match dispatch(command) {
        Ok(code) => code,
        Err(err) => {
            anstream::eprintln!("error: {err}");
            if let Some(hint) = err.hint() {
                anstream::eprintln!("hint: {hint}");
            }
            ExitCode::from(FAILED)
        }
    }
}

/// Progress, one line at a time, beside whatever the command prints.
fn say() -> Say {
    Box::new(|line| anstream::eprintln!("{line}"))
}

fn dispatch(command: LabCommand) -> Result<ExitCode> {
    match command {
        LabCommand::Up { hosts, suite, lab, bare, gateway, mut with, python } => {
            if python {
                with.push("python3".to_owned());
            }
            let options = Options {
                suite,
                bare,
                gateway,
                packages: with,
                say: say(),
                ..Options::new(&lab.name, hosts)
            };
            Lab::up(options)?.keep();
        }
        LabCommand::List { json } => list(json)?,
        LabCommand::Inventory { lab, json } => {
            let lab = Lab::open(&lab.name, None)?;
            if json {
                anstream::println!("{:#}", lab.inventory_json()?);
            } else {
                anstream::print!("{}", lab.inventory(&[])?);
            }
        }
        LabCommand::Ssh { lab, host, command } => {
            let lab = Lab::open(&lab.name, None)?;
            lab.host(host.rsplit_once('@').map_or(host.as_str(), |(_, host)| host))?;
            let mut words =
                vec!["ssh".into(), "-F".into(), lab.ssh_config_path().into_os_string(), host.into()];
            words.extend(command);
            return Err(replace(&lab.bridge_namespace(), words));
        }
        LabCommand::Exec { lab, command } => {
            return Err(replace(&Lab::open(&lab.name, None)?.controller_namespace(), command));
        }
        LabCommand::Reset { lab, hosts } => Lab::open(&lab.name, None)?.reset(&hosts, &say())?,
        LabCommand::Delay { lab, host, round_trip } => {
            let lab = Lab::open(&lab.name, None)?;
            anstream::println!("{}", lab.host(&host)?.delay(round_trip)?);
        }
        LabCommand::Down { lab, all } => down(&lab.name, all)?,
        LabCommand::Test(arguments) => return check::run(arguments),
        LabCommand::Background { words } => return Ok(debark_lab::background::main(words)),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Result<()> {
    let states = Lab::all(None)?;
    if json {
        let value = serde_json::to_value(&states).unwrap_or_default();
        anstream::println!("{value:#}");
        return Ok(());
    }
    for state in states {
        let lab = Lab::open(&state.name, None)?;
        for host in lab.hosts()? {
            let what = if host.is_up() { "up" } else { "down" };
            let kind = if host.state().bare { " bare" } else { "" };
            let packages = host.state().packages.join(",");
            let line = format!(
                "{}  {}  {}  {}{kind}  {what}  {packages}",
                state.name,
                host.name(),
                host.address(),
                host.state().suite
            );
            anstream::println!("{}", line.trim_end());
        }
        if state.hosts.is_empty() {
            anstream::println!("{}  (no hosts)", state.name);
        }
    }
    Ok(())
}

fn down(name: &str, all: bool) -> Result<()> {
    let names = if all { Lab::all_names(None)? } else { vec![name.to_owned()] };
    for name in names {
        if !Lab::remove(&name, None)? {
            anstream::eprintln!("there was no lab named `{name}`");
        }
    }
    Ok(())
}

/// Becomes the command inside the lab's namespace, so that its exit code and signals are its own. Returns only why
/// it could not.
fn replace(namespace: &str, words: Vec<OsString>) -> Error {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    if let Err(err) = debark_lab::enter_namespace(namespace) {
        return err;
    }
    let source = std::process::Command::new(&program).args(words).exec();
    Error::File { action: "run", path: PathBuf::from(program), source }
}
