//! The agent as it travels: a Debian package (deb(5)) of one file.
//!
//! Every Debian host has dpkg, and dpkg unpacks xz by itself: xz makes the agent a quarter smaller than gzip does, and
//! xz-utils need not be on the host. Shared with the build script, which embeds the package into release builds.

use std::io::{self, Read, Write};

use liblzma::read::XzDecoder;
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use liblzma::write::XzEncoder;

/// The agent's name within the package.
pub const MEMBER: &str = "debark-agent";

/// No xz stream of ours needs more memory to unpack than this, in bytes.
const MEMORY: u64 = 128 << 20;

/// How hard to press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// As small as xz makes a program: seconds of work, for embedding.
    #[cfg_attr(not(test), allow(dead_code))] // what the build script uses
    Tight,
    /// Not at all: for a build tree, where every start of debark would pay for it.
    None,
}

/// Packs a binary.
///
/// # Errors
/// None in practice: writing to memory.
pub fn pack(binary: &[u8], press: Press) -> io::Result<Vec<u8>> {
    let control = archive(
        "./control",
        0o644,
        b"Package: debark-agent\nVersion: 0\nArchitecture: all\nMaintainer: debark\nDescription: agent\n",
    )?;
    let data = archive(MEMBER, 0o755, binary)?;
    let (name, data) = match press {
        Press::None => ("data.tar", data),
        Press::Tight => ("data.tar.xz", tight(&data)?),
    };
    let mut package = ar::Builder::new(Vec::with_capacity(data.len() + 4096));
    for (name, bytes) in
        [("debian-binary", b"2.0\n".as_slice()), ("control.tar", control.as_slice()), (name, data.as_slice())]
    {
        let mut header = ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64);
        header.set_mode(0o100_644);
        package.append(&header, bytes)?;
    }
    package.into_inner()
}

/// Writes the binary within a package of ours to `to`; yields its length in bytes.
///
/// # Errors
/// It is no such package, or `to` cannot be written.
pub fn unpack(package: &[u8], to: &mut impl Write) -> io::Result<u64> {
    let mut package = ar::Archive::new(package);
    while let Some(member) = package.next_entry() {
        let member = member?;
        match member.header().identifier() {
            b"data.tar" => return binary(member, to),
            b"data.tar.xz" => {
                let stream = Stream::new_stream_decoder(MEMORY, 0)?;
                return binary(XzDecoder::new_stream(member, stream), to);
            }
            _ => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the agent's package holds no data"))
}

fn binary(data: impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut data = tar::Archive::new(data);
    match data.entries()?.next() {
        Some(entry) => io::copy(&mut entry?, to),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the agent's package is empty")),
    }
}

fn archive(name: &str, mode: u32, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::with_capacity(bytes.len() + 4096));
    archive.append_data(&mut header, name, bytes)?;
    archive.into_inner()
}

fn tight(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // 9 with the extreme flag; the other two are what suits a program's bytes (xz(1), "lc" and "pb").
    let mut options = LzmaOptions::new_preset(9 | (1 << 31))?;
    options.literal_context_bits(4).position_bits(0);
    let mut filters = Filters::new();
    // Turns the targets of calls into absolute ones: 6 % less. Of no use, and no harm, on other machines.
    filters.x86().lzma2(&options);
    let mut encoder = XzEncoder::new_stream(Vec::new(), Stream::new_stream_encoder(&filters, Check::Crc32)?);
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkg_unpacks_what_is_packed() {
        let binary: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for press in [Press::None, Press::Tight] {
            let package = pack(&binary, press).unwrap();
            assert_eq!(package.len() < binary.len() / 2, press == Press::Tight);
            let mut unpacked = Vec::new();
            assert_eq!(unpack(&package, &mut unpacked).unwrap(), binary.len() as u64);
            assert!(unpacked == binary);

            // The very pipe of bootstrap.sh.
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, &package).unwrap();
            let output = std::process::Command::new("sh")
                .args(["-c", "dpkg-deb --fsys-tarfile - <$0 | tar -xO"])
                .arg(file.path())
                .output()
                .unwrap();
            assert!(output.status.success() && output.stdout == binary, "{press:?}");
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        for bytes in [&b""[..], b"!<arch>\n", b"rubbish", b"!<arch>\ndata.tar        0  0  0  0  9 `\n"] {
            assert!(unpack(bytes, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn the_agent_stays_small() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/agent/debark-agent");
        let binary = std::fs::read(&path).expect("the agent that scripts/build-agent makes");
        let packed = pack(&binary, Press::Tight).unwrap();
        println!("the agent has {} bytes, {} as sent", binary.len(), packed.len());
        assert!(binary.len() <= 4_000_000, "{} bytes", binary.len());
        assert!(packed.len() <= 1_500_000, "{} bytes as sent", packed.len());
    }
}
