//! Where a host is and how to get there, and the ssh command line that does it.

use std::path::PathBuf;

use debark_tunnel::Vpn;

use crate::through;

/// How to reach a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Name in the inventory, for messages.
    pub name: String,
    /// Whether it is this machine: no ssh.
    pub local: bool,
    /// What ssh connects to: a name, an address, or an alias of ssh_config.
    pub host: String,
    /// Port; `None`: as ssh_config says.
    pub port: Option<u16>,
    /// User; `None`: as ssh_config says.
    pub user: Option<String>,
    /// Private key file; `None`: as ssh_config says.
    pub key: Option<String>,
    /// `ansible_ssh_common_args` and `ansible_ssh_extra_args`, split into words.
    pub args: Vec<String>,
    /// Program to run instead of `ssh` (`ansible_ssh_executable`).
    pub program: Option<String>,
    /// Seconds for connecting, key exchange included.
    pub timeout: u32,
    /// The VPN that alone may lead there.
    pub vpn: Vpn,
    /// The words of the ProxyCommand that leads through it, as [`Ways::prepare`](crate::Ways::prepare) finds them.
    pub way: Option<Vec<String>>,
    /// Jump hosts of ssh_config, the first one first; those of `args` come before them.
    pub jumps: Vec<String>,
    /// The inventory's own file of host keys, which then alone counts; arguments that name another win over it.
    pub known_hosts: Option<PathBuf>,
    /// Whether a connection that is kept open is not to be used, although the arguments ask for it.
    pub fresh: bool,
}

/// Fixed for every connection. OpenSSH takes the first value it is given for an option, so whatever the inventory
/// or ssh_config says, none of these can be loosened (ssh_config(5), "the first obtained value will be used").
pub(crate) const FIXED: &[&str] = &[
    "BatchMode=yes",
    "PreferredAuthentications=publickey",
    "PubkeyAuthentication=yes",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "HostbasedAuthentication=no",
    "GSSAPIAuthentication=no",
    "StrictHostKeyChecking=yes",
    "NoHostAuthenticationForLocalhost=no",
    "VerifyHostKeyDNS=no",
    "UpdateHostKeys=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "GSSAPIDelegateCredentials=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "Tunnel=no",
    "ControlMaster=no",
    "ControlPath=none",
    "RemoteCommand=none",
    "RequestTTY=no",
    // Its debug lines carry what an error must show: the host key's fingerprint, the keys that were offered.
    "LogLevel=DEBUG1",
];

/// Seconds between signs of life, and how many may be missed.
const ALIVE: &[&str] = &["ServerAliveInterval=15", "ServerAliveCountMax=4"];

/// Options by which a user might mean to loosen what is fixed: worth a warning.
const LOOSENING: &[(&str, &[&str])] = &[
    ("stricthostkeychecking", &["no", "off", "accept-new", "ask"]),
    ("passwordauthentication", &["yes"]),
    ("kbdinteractiveauthentication", &["yes"]),
    ("preferredauthentications", &[]),
    ("forwardagent", &["yes"]),
    ("forwardx11", &["yes"]),
];

/// Flags that are left out, with the words for the warning. ssh obeys flags whatever an earlier `-o` said.
const DROPPED: &[(char, &str)] = &[
    ('A', "forwards the ssh agent"),
    ('X', "forwards X11"),
    ('Y', "forwards X11"),
    ('K', "forwards Kerberos credentials"),
    ('f', "puts ssh into the background"),
    ('n', "closes standard input"),
    ('N', "runs no command"),
    ('s', "asks for a subsystem"),
    ('t', "asks for a terminal"),
    ('T', "is given already"),
    ('M', "shares connections"),
    ('q', "hides errors"),
    ('g', "opens forwarded ports"),
    ('v', "is given already"),
];

/// The same, for flags with an argument.
const DROPPED_WITH: &[(char, &str)] = &[
    ('S', "shares connections"),
    ('O', "shares connections"),
    ('W', "forwards standard input"),
    ('w', "opens a tunnel"),
    ('L', "forwards a port"),
    ('R', "forwards a port"),
    ('D', "forwards a port"),
    ('E', "hides errors"),
    ('Q', "is a query"),
    ('e', "sets an escape character"),
];

/// The letters of ssh's flags with a value (ssh(1)).
pub(crate) const VALUED: &str = "BbcDEeFIiJLlmOopQRSWw";

/// A command line for ssh, and what was left out of the user's arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshCommand {
    /// The program and its arguments, without the remote command.
    pub argv: Vec<String>,
    /// Sentences about arguments that were ignored, and why.
    pub warnings: Vec<String>,
}

impl Target {
    /// The ssh command line; the remote command is to be appended.
    pub fn ssh(&self) -> SshCommand {
        let mut argv = vec![self.program.clone().unwrap_or_else(|| "ssh".into()), "-T".into()];
        let mut option = |text: String| argv.extend(["-o".to_owned(), text]);
        FIXED.iter().for_each(|text| option((*text).into()));
        option(format!("ConnectTimeout={}", self.timeout.max(1)));
        if let Some(port) = self.port {
            option(format!("Port={port}"));
        }
        if let Some(user) = &self.user {
            option(format!("User={user}"));
        }
        if let Some(key) = &self.key {
            // -o keeps a leading dash or blank from being anything but a path; quotes are ssh_config's.
            option(format!("IdentityFile=\"{}\"", key.replace('"', "")));
            option("IdentitiesOnly=yes".into());
        }
        let (mut kept, mut warnings) = self.filtered();
        // With the user's arguments, so that jump hosts are looked up there as well.
        if let Some(file) = self.known_hosts.as_ref().filter(|_| self.known_hosts_argument().is_none()) {
            let file = file.display().to_string().replace('"', "").replace('%', "%%");
            let own = [format!("UserKnownHostsFile=\"{file}\""), "GlobalKnownHostsFile=/dev/null".to_owned()];
            kept.extend(own.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        }
        let kept = if self.vpn == Vpn::None {
            through::without_vpn(self, kept)
        } else {
            // Ahead of the user's, who cannot lead around it.
            let through = through::options(self, kept);
            through.options.into_iter().for_each(|text| argv.extend(["-o".to_owned(), text]));
            warnings.extend(through.warnings);
            through.rest
        };
        argv.extend(kept);
        // Behind the user's, who may be more or less patient: the first that is given counts.
        argv.extend(ALIVE.iter().flat_map(|text| ["-o".to_owned(), (*text).to_owned()]));
        argv.extend(["--".into(), self.host.clone()]);
        SshCommand { argv, warnings }
    }

    /// The same for a person at a terminal.
    pub fn interactive(&self) -> SshCommand {
        let SshCommand { argv, warnings } = self.ssh();
        let mut kept: Vec<String> = Vec::new();
        for word in argv {
            let unattended = word == "-T"
                || ["BatchMode=", "LogLevel=DEBUG1", "RequestTTY=", "RemoteCommand="]
                    .iter()
                    .any(|own| word.starts_with(own));
            if !unattended {
                kept.push(word);
            } else if kept.last().is_some_and(|last| last == "-o") {
                kept.pop();
            }
        }
        SshCommand { argv: kept, warnings }
    }

    fn filtered(&self) -> (Vec<String>, Vec<String>) {
        let (mut kept, mut warnings) = (Vec::new(), Vec::new());
        let mut words = self.args.iter();
        while let Some(word) = words.next() {
            let mut letters = word.chars();
            let (dash, flag) = (letters.next(), letters.next());
            let (Some('-'), Some(flag)) = (dash, flag) else {
                warnings.push(format!(
                    "{}: the ssh argument `{word}` is left out: it is neither an option nor an option's value",
                    self.name
                ));
                continue;
            };
            let takes_value = VALUED.contains(flag);
            let attached: String = letters.collect();
            let value = (takes_value && attached.is_empty()).then(|| words.next()).flatten();
            let dropped = DROPPED.iter().chain(DROPPED_WITH).find(|(letter, _)| *letter == flag);
            // Letters of flags without value may be joined (-4A): any of them must be harmless.
            let joined = DROPPED.iter().find(|(letter, _)| !takes_value && attached.contains(*letter));
            if let Some((letter, why)) = dropped.or(joined) {
                warnings.push(format!("{}: the ssh argument `-{letter}` is left out: it {why}", self.name));
                continue;
            }
            if flag == 'o' {
                let text = value.map_or(attached.as_str(), String::as_str);
                warnings.extend(self.loosening(text));
            }
            kept.push(word.clone());
            kept.extend(value.cloned());
        }
        (kept, warnings)
    }

    fn loosening(&self, option: &str) -> Option<String> {
        let (name, value) = option.split_once(['=', ' '])?;
        let (name, value) = (name.trim().to_lowercase(), value.trim().to_lowercase());
        let (_, values) = LOOSENING.iter().find(|(loose, _)| *loose == name)?;
        // Any but what debark says itself.
        let other = values.is_empty() && value != "publickey";
        (other || values.contains(&value.as_str())).then(|| {
            format!(
                "{}: the ssh option `{option}` has no effect: debark always uses keys and checks hosts",
                self.name
            )
        })
    }

    /// What to call the far side in messages: `user@host:port` as far as it is known.
    pub fn address(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.filter(|port| *port != 22).map(|port| format!(":{port}")).unwrap_or_default();
        format!("{user}{}{port}", self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(args: &[&str]) -> Target {
        Target {
            name: "web1".into(),
            host: "10.0.0.5".into(),
            timeout: 10,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Target::default()
        }
    }

    #[test]
    fn the_command_line_is_this() {
        let target = Target {
            port: Some(2222),
            user: Some("deploy".into()),
            key: Some("/keys/id ed".into()),
            ..target(&["-o", "UserKnownHostsFile=/tmp/known"])
        };
        let argv = target.ssh().argv.join(" ");
        assert_eq!(
            argv,
            "ssh -T -o BatchMode=yes -o PreferredAuthentications=publickey -o PubkeyAuthentication=yes \
             -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o HostbasedAuthentication=no \
             -o GSSAPIAuthentication=no -o StrictHostKeyChecking=yes -o NoHostAuthenticationForLocalhost=no \
             -o VerifyHostKeyDNS=no -o UpdateHostKeys=no -o ForwardAgent=no -o ForwardX11=no \
             -o GSSAPIDelegateCredentials=no -o ClearAllForwardings=yes -o PermitLocalCommand=no -o Tunnel=no \
             -o ControlMaster=no -o ControlPath=none -o RemoteCommand=none -o RequestTTY=no -o LogLevel=DEBUG1 \
             -o ConnectTimeout=10 -o Port=2222 -o User=deploy -o IdentityFile=\"/keys/id ed\" -o IdentitiesOnly=yes \
             -o UserKnownHostsFile=/tmp/known -o ServerAliveInterval=15 -o ServerAliveCountMax=4 \
             -- 10.0.0.5"
        );
        assert_eq!(target.address(), "deploy@10.0.0.5:2222");
    }

    #[test]
    fn the_users_arguments_cannot_loosen_anything() {
        let command =
            target(&["-A", "-oStrictHostKeyChecking=no", "-4A", "-L", "1:a:2", "-S", "/tmp/x", "rm"]).ssh();
        let joined = command.argv.join(" ");
        let (strict, loose) =
            (joined.find("StrictHostKeyChecking=yes"), joined.find("StrictHostKeyChecking=no"));
        assert!(strict < loose, "ours is first, and the first one counts");
        assert!(
            joined.contains(" -oStrictHostKeyChecking=no ") && joined.ends_with(" -- 10.0.0.5"),
            "{joined}"
        );
        assert_eq!(command.warnings.len(), 6, "{:?}", command.warnings);
    }

    /// OpenSSH itself is asked what it makes of the command line.
    #[test]
    fn ssh_agrees() {
        let args =
            ["-o", "StrictHostKeyChecking=no", "-o", "PasswordAuthentication=yes", "-A", "-o", "User=joe"];
        let mut argv = target(&args).ssh().argv;
        argv.insert(1, "-G".into());
        let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        for line in [
            "stricthostkeychecking true",
            "passwordauthentication no",
            "forwardagent no",
            "batchmode yes",
            "preferredauthentications publickey",
            "user joe",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
