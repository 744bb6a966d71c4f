//! gzip on several processors: members of fixed size, one after the other, which every reader takes for one (RFC 1952, 2.2). The same bytes
//! whatever the number of threads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::thread::JoinHandle;

use flate2::{Compression, GzBuilder};

/// Bytes of a member before it is packed.
const MEMBER: usize = 1 << 20;

/// gzip -9.
pub struct Encoder<W: Write> {
    to: W,
    threads: usize,
    member: Vec<u8>,
    /// Members that are being packed, in their order.
    under_way: VecDeque<JoinHandle<io::Result<Vec<u8>>>>,
    written: bool,
}

impl<W: Write> Encoder<W> {
    /// Begins; with one thread everything is done by the caller.
    pub fn new(to: W, threads: usize) -> Self {
        Self { to, threads, member: Vec::new(), under_way: VecDeque::new(), written: false }
    }

    fn next(&mut self) -> io::Result<()> {
        let member = std::mem::take(&mut self.member);
        self.written = true;
        if self.threads <= 1 {
            return self.to.write_all(&packed(&member)?);
        }
        while self.under_way.len() > self.threads {
            self.settle()?;
        }
        self.under_way.push_back(std::thread::Builder::new().spawn(move || packed(&member))?);
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        let Some(first) = self.under_way.pop_front() else { return Ok(()) };
        let bytes = first.join().map_err(|_| io::Error::other("a thread that compresses has died"))??;
        self.to.write_all(&bytes)
    }

    /// Ends.
    ///
    /// # Errors
    /// As for writing.
    pub fn finish(mut self) -> io::Result<W> {
        // No member at all would be no archive.
        if !self.member.is_empty() || !self.written {
            self.next()?;
        }
        while !self.under_way.is_empty() {
            self.settle()?;
        }
        Ok(self.to)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.get(..bytes.len().min(MEMBER - self.member.len())).unwrap_or_default();
        if self.member.capacity() == 0 {
            self.member.reserve(MEMBER.min(part.len().max(64 << 10)));
        }
        self.member.extend_from_slice(part);
        if self.member.len() == MEMBER {
            self.next()?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn packed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let into = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut encoder = GzBuilder::new().mtime(0).write(into, Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn members_are_one_stream_whatever_the_number_of_threads() {
        let text: Vec<u8> = (0..900_000_u32).flat_map(|n| (n % 977).to_string().into_bytes()).collect();
        for bytes in [&text[..], &text[..MEMBER], b"", b"x"] {
            let pack = |threads| {
                let mut encoder = Encoder::new(Vec::new(), threads);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            };
            let one = pack(1);
            assert_eq!(one, pack(3));
            let mut read = Vec::new();
            flate2::read::MultiGzDecoder::new(&one[..]).read_to_end(&mut read).unwrap();
            assert!(read == bytes);
            let mut gzip = std::process::Command::new("gzip")
                .arg("-t")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            gzip.stdin.take().unwrap().write_all(&one).unwrap();
            assert!(gzip.wait().unwrap().success());
        }
    }
}
