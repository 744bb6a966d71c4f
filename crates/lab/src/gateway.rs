//! A WireGuard gateway between the controller and the hosts: `wireguard-go` in a namespace that also holds the hosts'
//! bridge. The controller's namespace has one link, to the gateway's outside address, and a default route by it, so that
//! whatever goes astray is seen there; the gateway takes nothing from it but what is for that address.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use debark_tunnel::{Public, SecretKey};

use crate::background;
use crate::command::Cmd;
use crate::error::{Error, Result};
use crate::lab::Lab;
use crate::names::{Names, Range};
use crate::network::{self, batch_in};
use crate::state::State;

/// Where the gateway listens.
const PORT: u16 = 51_820;
/// The link between controller and gateway, at both ends.
pub const OUTSIDE: &str = "outside";
/// How long wireguard-go may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// wireguard-go's socket, on which it is configured.
pub(crate) fn control(names: &Names) -> PathBuf {
    Path::new("/run/wireguard").join(format!("{}.sock", names.tunnel()))
}

/// The commands that make both namespaces and the link between them.
fn commands(names: &Names, range: Range) -> Vec<Cmd> {
    let (controller, gateway) = (names.controller(), names.gateway());
    let inner = format!(
        "link add {OUTSIDE} type veth peer name {OUTSIDE} netns {controller}\n\
         addr add {own}/24 dev {OUTSIDE}\nlink set {OUTSIDE} up\n\
         rule add pref 10 lookup local\n\
         rule add pref 1 iif {OUTSIDE} to {own} lookup local\n\
         rule add pref 2 iif {OUTSIDE} blackhole\n\
         rule del pref 0\n",
        own = range.gateway_outside()
    );
    let outer = format!(
        "link set lo up\naddr add {}/24 dev {OUTSIDE}\nlink set {OUTSIDE} up\nroute add default via {}\n",
        range.controller_outside(),
        range.gateway_outside()
    );
    let mut all = vec![Cmd::new("ip").args(["netns", "add", &controller])];
    all.extend(network::bridge_commands(&gateway, range));
    all.extend([batch_in(&gateway, inner), batch_in(&controller, outer)]);
    all
}

/// What wireguard-go is told on its socket (WireGuard's cross-platform userspace interface).
fn settings(own: &SecretKey, peer: Public, allowed: std::net::Ipv4Addr) -> String {
    let hex = |text: &str| -> String {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    format!(
        "set=1\nprivate_key={}\nlisten_port={PORT}\nreplace_peers=true\npublic_key={}\nallowed_ip={allowed}/32\n\n",
        hex(&own.encoded()),
        hex(&peer.to_string())
    )
}

impl Lab {
    /// Makes what is missing of the gateway.
    pub(crate) fn ensure_gateway(&self, state: &State) -> Result<()> {
        if !network::exists(&self.names.gateway()) || !network::exists(&state.controller) {
            network::delete(&self.names.gateway())?;
            network::delete(&state.controller)?;
            commands(&self.names, state.range()).iter().try_for_each(|cmd| cmd.run().map(drop))?;
        }
        let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
        network::inside(&self.names.gateway(), || std::fs::write(forward, "1"))?
            .map_err(Error::file("write", forward))?;
        if UnixStream::connect(control(&self.names)).is_err() {
            self.launch_gateway(state)?;
        }
        Ok(())
    }

    fn gateway_group(&self) -> String {
        format!("{}/gateway", self.names.cgroup())
    }

    fn launch_gateway(&self, state: &State) -> Result<()> {
        let (own, peer) = self.gateway_keys(state)?;
        let name = self.names.tunnel();
        let argv =
            ["ip", "netns", "exec", &self.names.gateway(), "wireguard-go", "-f", &name].map(Into::into);
        background::launch(&self.program, &self.gateway_group(), &argv, &self.dir.path.join("gateway.log"))?;
        let control = control(&self.names);
        let failed = |why: String| Error::Machine {
            what: format!("the gateway of lab {} did not start: {why}", self.name),
            hint: format!("see {}", self.dir.path.join("gateway.log").display()),
        };
        if !background::wait_until(PATIENCE, || UnixStream::connect(&control).is_ok()) {
            return Err(failed("wireguard-go does not answer".into()));
        }
        let answer = (|| {
            let mut socket = UnixStream::connect(&control)?;
            socket.write_all(settings(&own, peer, state.range().controller_inside()).as_bytes())?;
            socket.shutdown(Shutdown::Write)?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).map(|_| answer)
        })()
        .map_err(Error::file("write", &control))?;
        if answer.trim() != "errno=0" {
            return Err(failed(format!("it takes no configuration: {}", answer.trim())));
        }
        let batch = format!(
            "addr add {}/24 dev {name}\nlink set {name} mtu 1420 up\n",
            state.range().gateway_inside()
        );
        batch_in(&self.names.gateway(), batch).run().map(drop)
    }

    /// The gateway's private key and the controller's public one; made the first time, with the controller's file.
    fn gateway_keys(&self, state: &State) -> Result<(SecretKey, Public)> {
        let (path, file) = (self.dir.gateway_key(), self.dir.wireguard());
        let known = || {
            let text = zeroize::Zeroizing::new(std::fs::read_to_string(&path).ok()?);
            let (own, peer) = text.split_once('\n')?;
            Some((SecretKey::parse(own)?, Public::parse(peer)?)).filter(|_| file.exists())
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        let (own, controller) = (SecretKey::generate(), SecretKey::generate());
        let text = zeroize::Zeroizing::new(format!(
            "[Interface]\nPrivateKey = {}\nAddress = {}/32\n\n[Peer]\nPublicKey = {}\nAllowedIPs = {}/24, {}/32\n\
             Endpoint = {}:{PORT}\nPersistentKeepalive = 25\n",
            *controller.encoded(),
            state.range().controller_inside(),
            own.public(),
            state.range().bridge(),
            state.range().gateway_inside(),
            state.range().gateway_outside(),
        ));
        private(&file, &text)?;
        private(&path, &zeroize::Zeroizing::new(format!("{}\n{}\n", *own.encoded(), controller.public())))?;
        Ok((own, controller.public()))
    }

    /// The controller's wg-quick file for the gateway.
    pub fn wireguard_path(&self) -> PathBuf {
        self.dir.wireguard()
    }

    /// Kills the gateway's WireGuard, as a crash would: its keys in use are lost.
    ///
    /// # Errors
    /// The processes cannot be killed.
    pub fn stop_gateway(&self) -> Result<()> {
        self.trees.kill(&self.gateway_group())
    }

    /// Starts it again.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_gateway(&self) -> Result<()> {
        self.launch_gateway(&self.state()?)
    }
}

/// Writes a file for its owner alone.
fn private(path: &Path, text: &str) -> Result<()> {
    let _ = std::fs::remove_file(path);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_gateway_itself_is_reached_from_outside() {
        let all = commands(&Names::new("debark", "x"), Range(3));
        let lines: Vec<String> = all.iter().map(Cmd::line).collect();
        assert_eq!(lines[0], "ip netns add debark-x");
        assert_eq!(lines[1], "ip netns add debark-x.gw");
        let inner = all[3].stdin.as_deref().unwrap();
        assert!(inner.contains("rule add pref 2 iif outside blackhole\n"), "{inner}");
        assert!(inner.contains("iif outside to 10.214.3.1 lookup local\n"), "{inner}");
    }

    #[test]
    fn the_gateways_settings_are_in_hex() {
        let key = SecretKey::parse("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=").unwrap();
        let text = settings(&key, key.public(), Range(3).controller_inside());
        assert!(
            text.contains("private_key=77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a\n")
        );
        assert!(text.ends_with("allowed_ip=10.215.3.2/32\n\n"), "{text}");
    }
}
