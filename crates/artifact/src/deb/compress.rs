//! Compression of members, with the settings of dpkg-deb(1): the same bytes whatever the number of threads.

use std::io::{self, Read, Write};

use debark_project::Compression;

/// The memory that unpacking may take, in bytes; xz -9 takes 65 MiB.
const MEMORY: u64 = 256 << 20;

/// Bytes that are packed by themselves: as many as xz -6 looks back, where xz itself takes three times as many, which leaves all
/// processors but one without work on most packages.
const BLOCK: u64 = 8 << 20;

/// The same for zstd: as many bytes as zstd -3 looks back. It is one frame all the same.
const JOB: u32 = 2 << 20;

/// Something that compresses into a writer.
pub enum Encoder<W: Write> {
    /// xz -6.
    Xz(liblzma::write::XzEncoder<W>),
    /// zstd -3.
    Zstd(zstd::Encoder<'static, W>),
    /// gzip -9.
    Gzip(super::gzip::Encoder<W>),
}

impl<W: Write> Encoder<W> {
    /// Begins; `large` takes all processors.
    ///
    /// # Errors
    /// The library has no memory.
    pub fn new(to: W, compression: Compression, large: bool) -> io::Result<Self> {
        let threads =
            if large { std::thread::available_parallelism().map_or(1, |n| n.get()).min(16) } else { 1 };
        Self::with_threads(to, compression, u32::try_from(threads).unwrap_or(1))
    }

    fn with_threads(to: W, compression: Compression, threads: u32) -> io::Result<Self> {
        Ok(match compression {
            Compression::Xz => {
                // The threaded encoder makes the same blocks however many threads there are.
                let stream = liblzma::stream::MtStreamBuilder::new()
                    .threads(threads)
                    .preset(6)
                    .block_size(BLOCK)
                    .check(liblzma::stream::Check::Crc64)
                    .encoder()
                    .map_err(io::Error::other)?;
                Self::Xz(liblzma::write::XzEncoder::new_stream(to, stream))
            }
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(to, 3)?;
                encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(JOB))?;
                // One worker at least: then, too, the output does not depend on their number. One more than processors, as who hands them work is
                // held up while all of them are busy.
                encoder.multithread(threads + 1)?;
                Self::Zstd(encoder)
            }
            Compression::Gzip => {
                Self::Gzip(super::gzip::Encoder::new(to, usize::try_from(threads).unwrap_or(1)))
            }
        })
    }

    /// Ends.
    ///
    /// # Errors
    /// As for writing.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Xz(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Gzip(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Xz(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

/// What a member's name ends with.
pub const fn suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::Xz => ".xz",
        Compression::Zstd => ".zst",
        Compression::Gzip => ".gz",
    }
}

/// Unpacks a member by the end of its name, within bounds of memory.
///
/// # Errors
/// Its compression is unknown.
pub fn decoder<'a>(name: &str, from: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match name.rsplit_once(".tar").map(|(_, suffix)| suffix) {
        Some("") => Box::new(from),
        Some(".gz") => Box::new(flate2::read::MultiGzDecoder::new(from)),
        Some(".xz") => {
            let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, 0).map_err(io::Error::other)?;
            Box::new(liblzma::read::XzDecoder::new_stream(from, stream))
        }
        Some(".zst") => {
            let mut decoder = zstd::Decoder::new(from)?;
            decoder.window_log_max(27)?;
            Box::new(decoder)
        }
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{name} is compressed in an unknown way"),
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of which every fourth is like no other.
    fn text(bytes: usize) -> Vec<u8> {
        let mut seed = 7_u64;
        let mut text = Vec::new();
        while text.len() < bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.extend_from_slice(format!("{seed:x}\n").as_bytes());
            text.extend_from_slice("a line as there are many others\n".repeat(3).as_bytes());
        }
        text
    }

    /// What dpkg-deb reads of a package with that data member.
    fn read_by_dpkg(name: &str, data: &[u8]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.deb");
        let mut deb = super::super::ar::MAGIC.to_vec();
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &[0; 1024]), (name, data)] {
            super::super::ar::header(&mut deb, name, bytes.len() as u64, 0).unwrap();
            deb.extend_from_slice(bytes);
            super::super::ar::pad(&mut deb, bytes.len() as u64).unwrap();
        }
        std::fs::write(&file, deb).unwrap();
        let output = std::process::Command::new("dpkg-deb").arg("--fsys-tarfile").arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    #[test]
    fn the_number_of_processors_does_not_matter_and_dpkg_reads_all_of_it() {
        // Each more than what is packed by itself.
        for (compression, bytes) in [
            (Compression::Gzip, 3 << 20),
            (Compression::Zstd, 3 * JOB as usize),
            (Compression::Xz, BLOCK as usize + (1 << 20)),
        ] {
            let text = text(bytes);
            let pack = |threads, piece: usize| {
                let mut encoder = Encoder::with_threads(Vec::new(), compression, threads).unwrap();
                text.chunks(piece).for_each(|part| encoder.write_all(part).unwrap());
                encoder.finish().unwrap()
            };
            let one = pack(1, 1 << 16);
            assert!(one == pack(3, 777), "{compression:?}");
            assert!(one.len() < text.len() / 2, "{compression:?}: {}", one.len());
            let name = format!("data.tar{}", suffix(compression));
            let mut read = Vec::new();
            decoder(&name, &one[..]).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == text, "{compression:?}");
            assert!(read_by_dpkg(&name, &one) == text, "{compression:?}");
        }
    }
}
