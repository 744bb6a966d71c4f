//! The ways through VPNs: one tunnel per configuration and run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use debark_tunnel::{Config, Failure, Served, Stage, Vpn};
use zeroize::Zeroizing;

use crate::problem::Problem;
use crate::target::Target;
use crate::through::{arguments, hops};

/// The hidden command of debark that a ProxyCommand runs.
pub const CONNECT: &str = "vpn-connect";

/// Opens text that ansible-vault or age encrypted: gets it, its file's name and a declared age identity; a sentence and a hint
/// if it cannot.
pub type VaultOpener = Box<
    dyn Fn(&[u8], &str, Option<&Path>) -> Result<Zeroizing<Vec<u8>>, (String, Option<String>)> + Send + Sync,
>;

/// The tunnels of this process by configuration. Two with the same key would take each other's place at the gateway.
static OPEN: Mutex<Vec<(PathBuf, Weak<Served>)>> = Mutex::new(Vec::new());

/// All tunnels of a run; they end when it is dropped.
pub struct Ways {
    program: PathBuf,
    vault: VaultOpener,
    tunnels: Mutex<HashMap<Vpn, Result<Arc<Served>, Failure>>>,
    /// Sentences about configurations.
    warnings: Mutex<Vec<String>>,
}

impl Ways {
    /// `program` is debark itself, for ProxyCommands.
    pub fn new(program: PathBuf, vault: VaultOpener) -> Self {
        Self { program, vault, tunnels: Mutex::default(), warnings: Mutex::default() }
    }

    /// The tunnel of a VPN, opened the first time; nothing for one that is no embedded tunnel.
    ///
    /// # Errors
    /// Its configuration is wrong, or the system has no room for it; the same each time.
    pub fn tunnel(&self, vpn: &Vpn) -> Result<Option<Arc<Served>>, Failure> {
        let Vpn::Wireguard { config, identity } = vpn else { return Ok(None) };
        let mut tunnels = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        let tunnel = tunnels.entry(vpn.clone()).or_insert_with(|| self.open(config, identity.as_deref()));
        tunnel.clone().map(Some)
    }

    fn open(&self, path: &Path, identity: Option<&Path>) -> Result<Arc<Served>, Failure> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, served)| served.strong_count() > 0);
        if let Some(served) =
            open.iter().find(|(known, _)| known == path).and_then(|(_, served)| served.upgrade())
        {
            return Ok(served);
        }
        let mut config = Config::load(path, identity, &*self.vault)?;
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).append(&mut config.warnings);
        let served = Served::open(config).map_err(|error| {
            Failure::new(
                Stage::Local,
                format!("the tunnel of {} cannot be opened: {error}", path.display()),
                "",
            )
        })?;
        let served = Arc::new(served);
        open.push((path.to_owned(), Arc::downgrade(&served)));
        Ok(served)
    }

    /// Sentences about configurations that were read since the last time.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds the way to a host: the jump hosts that ssh_config names, and behind a VPN its tunnel, which is opened if it is
    /// not open yet.
    ///
    /// # Errors
    /// There is no way: nothing is sent to the host then.
    pub fn prepare(&self, target: &mut Target) -> Result<(), Problem> {
        if target.local {
            return Ok(());
        }
        if says_of_jumps(&target.args) {
            target.jumps = configured_jumps(target);
        }
        if target.vpn == Vpn::None {
            return Ok(());
        }
        let program = self.program.to_string_lossy().into_owned();
        let words = match (&target.vpn, self.tunnel(&target.vpn)?) {
            (Vpn::Interface(name), _) => vec![program, CONNECT.into(), "--interface".into(), name.clone()],
            (_, Some(tunnel)) => {
                let socket = tunnel.socket().to_string_lossy().into_owned();
                vec![program, CONNECT.into(), "--socket".into(), socket]
            }
            (_, None) => return Ok(()),
        };
        target.way = Some(words);
        Ok(())
    }
}

/// Whether an ssh_config may hold jump hosts: only then is ssh asked, as that takes a process per host.
fn says_of_jumps(args: &[String]) -> bool {
    let own = arguments(args).into_iter().find(|argument| argument.flag == 'F').map(|argument| argument.text);
    // With -F, ssh reads that file alone.
    if let Some(file) = own {
        return holds_jumps(Path::new(file));
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh/config"));
    let system = PathBuf::from("/etc/ssh/ssh_config");
    let parts = std::fs::read_dir("/etc/ssh/ssh_config.d").into_iter().flatten().flatten();
    home.into_iter().chain([system]).chain(parts.map(|entry| entry.path())).any(|file| holds_jumps(&file))
}

fn holds_jumps(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default().to_lowercase();
    text.lines().map(str::trim_start).any(|line| {
        let included = line.starts_with("include") && !line.contains("/etc/ssh/ssh_config.d/*.conf");
        line.starts_with("proxyjump") || included
    })
}

/// The jump hosts that ssh_config names for a host, as ssh itself tells.
fn configured_jumps(target: &Target) -> Vec<String> {
    let plain = Target { vpn: Vpn::None, ..target.clone() };
    let mut argv = plain.ssh().argv.into_iter();
    let mut command = Command::new(argv.next().unwrap_or_default());
    let output = command.arg("-G").args(argv).stdin(Stdio::null()).stderr(Stdio::null()).output();
    // What is wrong with the configuration is told when the host is connected to.
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("proxyjump ")).map(hops).unwrap_or_default()
}
