//! `debark vpn proxy`: a SOCKS5 proxy of this machine into the tunnel.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use debark_connect::Vpn;
use debark_playbook::SourceMap;
use debark_tunnel::{Hello, Request, Served};

use crate::common::{Common, refused};
use crate::exec::Task;
use crate::exit;
use crate::signals::Signals;

/// What a client says first, it says within this time.
const GREETING: Duration = Duration::from_secs(10);

/// Offers a SOCKS5 proxy on this machine that leads into a VPN
///
/// For a browser or psql: names are resolved inside the tunnel. It runs until it is interrupted.
#[derive(clap::Args)]
pub struct ProxyArgs {
    /// The host of the inventory whose VPN it is
    #[arg(required_unless_present = "config")]
    host: Option<String>,
    /// A wg-quick file, in place of an inventory's
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    config: Option<PathBuf>,
    /// Where it listens: an address of this machine alone
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1080")]
    listen: SocketAddr,
    #[command(flatten)]
    common: Common,
}

/// Runs the command.
pub fn run(args: &ProxyArgs) -> ExitCode {
    let signals = Signals::watch();
    let sources = Arc::new(SourceMap::default());
    if !args.listen.ip().is_loopback() {
        let hint = Some("whoever reaches the proxy reaches the hosts: use 127.0.0.1 or ::1");
        return exit::usage(&format!("{} is not this machine alone", args.listen), hint);
    }
    let (vault, vpn) = match (&args.host, &args.config) {
        (Some(host), _) => {
            let task = Task { pattern: host, module: "ping", args: "" };
            match task.prepared(&args.common, &sources) {
                Ok(site) => match site.target(host) {
                    Ok(target) => (site.vault().clone(), target.vpn),
                    Err(why) => return exit::usage(&why, None),
                },
                Err(errors) => return refused(&errors, &sources, &signals),
            }
        }
        (None, config) => match args.common.open(&sources) {
            Ok(opened) => {
                (opened.vault, Vpn::Wireguard { config: config.clone().unwrap_or_default(), identity: None })
            }
            Err(errors) => return refused(&errors, &sources, &signals),
        },
    };
    let ways = super::ways(&vault);
    let served = match ways.tunnel(&vpn) {
        Ok(Some(served)) => served,
        Ok(None) => {
            return exit::usage(
                "that host has no embedded VPN",
                Some("see `debark_vpn` in docs/guide/vpn.md"),
            );
        }
        Err(failure) => {
            return exit::usage(
                &failure.message,
                Some(&failure.hint).filter(|h| !h.is_empty()).map(String::as_str),
            );
        }
    };
    match serve(args.listen, &served) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::usage(&format!("cannot listen on {}: {error}", args.listen), None),
    }
}

fn serve(listen: SocketAddr, served: &Arc<Served>) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    anstream::eprintln!("SOCKS5 on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        // One that went away before it was taken.
        let Ok(stream) = stream else { continue };
        let served = served.clone();
        std::thread::spawn(move || {
            // A client that speaks nonsense is left.
            if let (Ok((host, port)), Some(tunnel)) = (greet(&stream), served.tunnel()) {
                let patience = Duration::from_secs(15);
                tunnel.request(Request { host, port, patience, hello: Hello::Socks, fd: stream.into() });
            }
        });
    }
    Ok(())
}

/// Where a client wants to go (RFC 1928): no authentication, CONNECT only.
fn greet(stream: &TcpStream) -> io::Result<(String, u16)> {
    stream.set_read_timeout(Some(GREETING))?;
    let refuse = || io::Error::from(io::ErrorKind::InvalidData);
    let take = |length: usize| -> io::Result<Vec<u8>> {
        let (mut bytes, mut stream) = (vec![0; length], stream);
        stream.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    let head = take(2)?;
    let &[5, methods] = head.as_slice() else { return Err(refuse()) };
    let free = take(methods.into())?.contains(&0);
    let answer = if free { [5, 0] } else { [5, 0xff] };
    let mut out = stream;
    out.write_all(&answer)?;
    let head = take(4)?;
    let &[5, command, 0, kind] = head.as_slice() else { return Err(refuse()) };
    let host = match kind {
        1 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(take(4)?).map_err(|_| refuse())?)).to_string(),
        4 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(take(16)?).map_err(|_| refuse())?)).to_string(),
        3 => {
            let length = take(1)?.first().copied().unwrap_or(0);
            String::from_utf8(take(length.into())?).map_err(|_| refuse())?
        }
        _ => return Err(refuse()),
    };
    let port = u16::from_be_bytes(<[u8; 2]>::try_from(take(2)?).map_err(|_| refuse())?);
    if command != 1 {
        out.write_all(&[5, 7, 0, 1, 0, 0, 0, 0, 0, 0])?;
        return Err(refuse());
    }
    stream.set_read_timeout(None)?;
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> io::Result<(String, u16)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(bytes).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        greet(&listener.accept().unwrap().0)
    }

    #[test]
    fn where_a_client_wants_to_go() {
        let name = [&[5, 1, 0, 5, 1, 0, 3, 3][..], b"web", &[0, 80]].concat();
        assert_eq!(said(&name).unwrap(), ("web".into(), 80));
        assert_eq!(said(&[5, 1, 0, 5, 1, 0, 1, 10, 0, 0, 1, 0, 22]).unwrap(), ("10.0.0.1".into(), 22));
        for wrong in
            [&[4, 1, 0][..], &[5, 1, 0, 5, 2, 0, 1, 10, 0, 0, 1, 0, 22], &[5], &[5, 1, 0, 5, 1, 0, 9]]
        {
            assert!(said(wrong).is_err(), "{wrong:?}");
        }
    }
}
