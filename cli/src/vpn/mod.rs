//! `debark vpn`: the tunnel that leads to hosts, looked at and used by hand.

mod check;
mod connect;
mod new_peer;
mod proxy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use debark_connect::{Vpn, Ways};
use debark_playbook::vault::Vault;

pub use connect::{ConnectArgs, connect};

/// The VPN that leads to hosts.
#[derive(clap::Subcommand)]
pub enum VpnCommand {
    Check(Box<check::CheckArgs>),
    Proxy(Box<proxy::ProxyArgs>),
    NewPeer(new_peer::NewPeerArgs),
}

/// Runs the command.
pub fn run(command: VpnCommand) -> ExitCode {
    match command {
        VpnCommand::Check(args) => check::run(&args),
        VpnCommand::Proxy(args) => proxy::run(&args),
        VpnCommand::NewPeer(args) => new_peer::run(&args),
    }
}

/// The ways through VPNs, with tunnels that are opened when they are needed.
pub fn ways(vault: &Arc<Vault>) -> Ways {
    // Whoever has no path of its own is found by name.
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("debark"));
    let vault = vault.clone();
    let open = move |text: &[u8], name: &str, identity: Option<&Path>| {
        let opened = match identity {
            Some(file) => {
                Vault::clone(&vault).with_identities(vault.identities().only(file)).open_quietly(text, name)
            }
            // Its keys stay in the tunnel; its other words need not be kept out of what is shown.
            None => vault.open_quietly(text, name),
        };
        opened.map_err(|error| (error.message, error.hint.map(String::from)))
    };
    Ways::new(program, Box::new(open))
}

/// An environment's VPN.
pub fn declared(vpn: &debark_project::Vpn) -> Vpn {
    match vpn {
        debark_project::Vpn::None => Vpn::None,
        debark_project::Vpn::Wireguard { config, identity } => {
            Vpn::Wireguard { config: config.clone(), identity: identity.clone() }
        }
        debark_project::Vpn::Interface(name) => Vpn::Interface(name.clone()),
    }
}
