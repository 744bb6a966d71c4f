//! Answers: status, header fields, body; RFC 9112.

use std::io::{BufRead, BufReader, Read, Write};

use flate2::read::MultiGzDecoder;

use super::Request;
use super::connect::Stream;
use super::url::Url;

/// Header fields beyond this are no answer but an attack.
const HEAD_LIMIT: u64 = 256 << 10;

/// An answer.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// The server's word for it.
    pub reason: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Where it came from, after redirects.
    pub url: Url,
    /// What came after the header fields.
    pub body: Body,
}

impl Response {
    /// The first header field of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `404 Not Found`.
    pub fn status_line(&self) -> String {
        format!("{} {}", self.status, self.reason).trim().to_owned()
    }
}

/// A body, read as it comes.
pub struct Body {
    reader: Box<dyn Read>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Body {
    /// Writes it all to `out`.
    ///
    /// # Errors
    /// It is cut short, is longer than `limit`, or cannot be written.
    pub fn copy_to(&mut self, out: &mut dyn Write, limit: u64) -> Result<u64, String> {
        let copied = std::io::copy(&mut (&mut self.reader).take(limit.saturating_add(1)), out)
            .map_err(|error| told(&error))?;
        if copied > limit { Err(format!("the answer is longer than {limit} bytes")) } else { Ok(copied) }
    }

    /// All of it.
    ///
    /// # Errors
    /// It is cut short or longer than `limit`.
    pub fn to_vec(&mut self, limit: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        self.copy_to(&mut bytes, limit)?;
        Ok(bytes)
    }
}

fn told(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    if matches!(error.kind(), TimedOut | WouldBlock) {
        "nothing came within the time limit".into()
    } else {
        error.to_string()
    }
}

/// Reads the head of an answer. On failure the stream comes back, so that its owner can ask it why.
pub(super) fn read(stream: Stream, url: &Url, request: &Request) -> Result<Response, (Stream, String)> {
    let mut reader = BufReader::with_capacity(32 << 10, stream);
    let head = loop {
        match head(&mut reader) {
            // 100 Continue and 103 Early Hints announce the answer.
            Ok((status, ..)) if (100..200).contains(&status) => {}
            Ok(head) => break head,
            Err(why) => return Err((reader.into_inner(), why)),
        }
    };
    let (status, reason, headers) = head;
    let field = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let bodiless = request.method == "HEAD" || matches!(status, 204 | 304);
    let chunked = field("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
    let length = field("content-length").and_then(|v| v.trim().parse::<u64>().ok());
    let raw: Box<dyn Read> = match (bodiless, chunked, length) {
        (true, ..) => Box::new(std::io::empty()),
        (_, true, _) => Box::new(Chunked { reader, left: 0, done: false, started: false }),
        (_, _, Some(length)) => Box::new(Sized { reader, left: length }),
        _ => Box::new(reader),
    };
    let packed = field("content-encoding").is_some_and(|v| v.eq_ignore_ascii_case("gzip"));
    let unpack = packed && request.decompress && !bodiless;
    let reader: Box<dyn Read> = if unpack { Box::new(MultiGzDecoder::new(raw)) } else { raw };
    Ok(Response { status, reason, headers, url: url.clone(), body: Body { reader } })
}

type Head = (u16, String, Vec<(String, String)>);

fn head(reader: &mut impl BufRead) -> Result<Head, String> {
    let mut left = HEAD_LIMIT;
    let mut line = || -> Result<String, String> {
        let mut bytes = Vec::new();
        let count = reader.by_ref().take(left).read_until(b'\n', &mut bytes).map_err(|e| told(&e))?;
        left = left.saturating_sub(count as u64);
        if bytes.pop() != Some(b'\n') {
            let why = if left == 0 { "the answer's head is too long" } else { "the connection was closed" };
            return Err(why.into());
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned())
    };
    let first = line()?;
    let mut words = first.splitn(3, ' ');
    let status = words.next().filter(|w| w.starts_with("HTTP/1.")).and_then(|_| words.next()?.parse().ok());
    let Some(status) = status else { return Err("the answer is not HTTP".into()) };
    let reason = words.next().unwrap_or_default().to_owned();
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let field = line()?;
        if field.is_empty() {
            return Ok((status, reason, headers));
        }
        if let Some((name, value)) = field.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

fn short() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the answer was cut short")
}

struct Sized<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Sized<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        match (&mut self.reader).take(self.left).read(buffer)? {
            0 => Err(short()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

struct Chunked<R> {
    reader: R,
    left: u64,
    done: bool,
    started: bool,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.done || buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut line = Vec::new();
            if self.started {
                // The line break after the chunk before.
                (&mut self.reader).take(2).read_until(b'\n', &mut line)?;
                line.clear();
            }
            self.started = true;
            (&mut self.reader).take(1024).read_until(b'\n', &mut line)?;
            let text = String::from_utf8_lossy(&line);
            let digits = text.split(';').next().unwrap_or_default().trim();
            self.left = u64::from_str_radix(digits, 16).map_err(|_| short())?;
            if self.left == 0 {
                self.done = true;
                return Ok(0);
            }
        }
        match (&mut self.reader).take(self.left).read(buffer)? {
            0 => Err(short()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_must_end() {
        let read = |text: &str| {
            let mut out = String::new();
            let reader = BufReader::new(std::io::Cursor::new(text.as_bytes().to_vec()));
            Chunked { reader, left: 0, done: false, started: false }.read_to_string(&mut out).map(|_| out)
        };
        assert_eq!(read("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").unwrap(), "abcde");
        assert!(read("3\r\nab").is_err());
        assert!(read("3\r\nabc\r\n").is_err());
        assert!(read("zz\r\n").is_err());
    }

    #[test]
    fn heads_must_be_http() {
        let read = |text: &str| head(&mut BufReader::new(std::io::Cursor::new(text.as_bytes().to_vec())));
        let (status, reason, headers) = read("HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\n").unwrap();
        assert_eq!((status, reason.as_str(), headers[0].0.as_str()), (404, "Not Found", "x-a"));
        assert!(read("SSH-2.0-x\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 200 OK\r\nX: y\r\n").is_err());
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(60_000))).is_err());
    }
}
