//! `debark vpn new-peer`: a key pair, and what either side has to know.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use debark_tunnel::{Cidr, Config, Public, SecretKey};

use crate::exit;

/// Makes a key pair for a new peer, its wg-quick file and the gateway's [Peer]
///
/// Writes NAME.conf for the new peer and NAME.peer.conf for the gateway, both for their owner alone (mode 0600): the
/// first holds the private key, both hold the preshared key. Neither is printed.
#[derive(clap::Args)]
pub struct NewPeerArgs {
    /// What the files are called
    name: String,
    /// The new peer's address inside the tunnel
    #[arg(long, value_name = "ADDRESS")]
    address: Cidr4,
    /// The gateway's public key
    #[arg(long, value_name = "KEY")]
    gateway_key: String,
    /// Where the gateway is: HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: String,
    /// What is reached through the gateway (comma-separated)
    #[arg(long, value_name = "NETWORKS")]
    allowed_ips: String,
    /// Name servers inside the tunnel, and search domains (comma-separated)
    #[arg(long, value_name = "ADDRESSES")]
    dns: Option<String>,
    /// The directory for the files
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

/// An address with a prefix, as an argument.
#[derive(Debug, Clone, Copy)]
struct Cidr4(Cidr);

impl std::str::FromStr for Cidr4 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|()| "no address")
    }
}

/// Runs the command.
pub fn run(args: &NewPeerArgs) -> ExitCode {
    match make(args) {
        Ok((key, files)) => {
            anstream::println!("public key  {key}");
            files.iter().for_each(|(path, what)| anstream::println!("{}  {what}", path.display()));
            ExitCode::SUCCESS
        }
        Err((why, hint)) => exit::usage(&why, hint.as_deref()),
    }
}

type Made = (Public, [(PathBuf, &'static str); 2]);

fn make(args: &NewPeerArgs) -> Result<Made, (String, Option<String>)> {
    let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if args.name.is_empty() || args.name.starts_with(['-', '.']) || !args.name.chars().all(good) {
        return Err((
            format!("`{}` cannot be the name of a peer", args.name),
            Some("use letters, digits, `-`, `_`".into()),
        ));
    }
    let (own, shared) = (SecretKey::generate(), SecretKey::generate());
    let address = args.address.0;
    let dns = args.dns.as_ref().map(|dns| format!("DNS = {dns}\n")).unwrap_or_default();
    let near = zeroize::Zeroizing::new(format!(
        "[Interface]\nPrivateKey = {}\nAddress = {address}\n{dns}\n[Peer]\nPublicKey = {}\nPresharedKey = {}\n\
         AllowedIPs = {}\nEndpoint = {}\nPersistentKeepalive = 25\n",
        *own.encoded(),
        args.gateway_key,
        *shared.encoded(),
        args.allowed_ips,
        args.endpoint
    ));
    // What is wrong with the arguments is found here, not by whoever gets the file.
    Config::parse(&near).map_err(|error| (error.message, error.hint))?;
    let far = zeroize::Zeroizing::new(format!(
        "# {}\n[Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = {}/{}\n",
        args.name,
        own.public(),
        *shared.encoded(),
        address.address,
        if address.address.is_ipv4() { 32 } else { 128 }
    ));
    let paths = [format!("{}.conf", args.name), format!("{}.peer.conf", args.name)]
        .map(|name| args.output.join(name));
    let [near_path, far_path] = paths;
    write(&near_path, &near)?;
    write(&far_path, &far)?;
    Ok((
        own.public(),
        [
            (near_path, "for the new peer: seal it with age, or keep it to yourself"),
            (far_path, "for the gateway"),
        ],
    ))
}

/// Never over what is there: it may be the only copy of a key.
fn write(path: &Path, text: &str) -> Result<(), (String, Option<String>)> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            (format!("{} is there already", path.display()), Some("choose another name, or remove it".into()))
        }
        _ => (format!("cannot write {}: {error}", path.display()), None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn both_sides_fit_and_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let gateway = SecretKey::generate();
        let args = NewPeerArgs {
            name: "ci".into(),
            address: "10.9.0.7/24".parse().unwrap(),
            gateway_key: gateway.public().to_string(),
            endpoint: "vpn.example.org:51820".into(),
            allowed_ips: "10.0.0.0/8".into(),
            dns: Some("10.0.0.1".into()),
            output: directory.path().to_owned(),
        };
        let (key, files) = make(&args).unwrap();
        for (path, _) in &files {
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        }
        let near = std::fs::read_to_string(&files[0].0).unwrap();
        let far = std::fs::read_to_string(&files[1].0).unwrap();
        assert_eq!(Config::parse(&near).unwrap().key.public(), key);
        assert!(
            far.contains(&format!("PublicKey = {key}")) && far.contains("AllowedIPs = 10.9.0.7/32"),
            "{far}"
        );
        assert!(make(&args).unwrap_err().0.ends_with("is there already"));
        let wrong = NewPeerArgs { name: "../x".into(), ..args };
        assert!(make(&wrong).is_err());
    }
}
