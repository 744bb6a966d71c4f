//! Names that arrive from outside, each checked when it is made: none can be an option, a path or a line break.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {why}")]
pub struct InvalidName {
    /// What it should have been: `package name`, `version`, ...
    pub what: &'static str,
    /// What it is, shortened.
    pub text: String,
    /// Why not.
    pub why: &'static str,
}

fn invalid(what: &'static str, text: &str, why: &'static str) -> InvalidName {
    InvalidName { what, text: text.chars().take(80).collect(), why }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(why) => Err(invalid($what, text, why)),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A binary package's name (Debian Policy 5.6.1, 5.6.7), at most 128 bytes.
    PackageName, "package name", package_name
}
name! {
    /// A package's version, `[epoch:]upstream[-revision]` (Debian Policy 5.6.12), at most 128 bytes. Equality is that
    /// of the text; order is dpkg's, see crate `debversion`.
    PackageVersion, "version", package_version
}
name! {
    /// An environment's name: lower-case letters, digits and hyphens, at most 63 bytes. It is part of a branch's name.
    Environment, "environment name", environment
}
name! {
    /// Who: a principal of ssh-keygen(1)'s allowed signers, such as `alice@example.org`, at most 128 bytes.
    Identity, "identity", identity
}

fn package_name(text: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    match text.as_bytes() {
        [] | [_] => Err("it needs two characters at least"),
        bytes if bytes.len() > 128 => Err("it is longer than 128 characters"),
        [first, ..] if !(first.is_ascii_lowercase() || first.is_ascii_digit()) => {
            Err("it must begin with a lower-case letter or a digit")
        }
        bytes if !bytes.iter().all(|byte| fits(*byte)) => Err("only a-z, 0-9, '+', '-' and '.' may be in it"),
        _ => Ok(()),
    }
}

fn package_version(text: &str) -> Result<(), &'static str> {
    if text.len() > 128 {
        return Err("it is longer than 128 characters");
    }
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) => (Some(epoch), rest),
        None => (None, text),
    };
    if epoch.is_some_and(|epoch| {
        epoch.is_empty() || !epoch.bytes().all(|byte| byte.is_ascii_digit()) || epoch.len() > 9
    }) {
        return Err("the epoch, before ':', must be a number");
    }
    let (upstream, revision) = match rest.rsplit_once('-') {
        Some((upstream, revision)) => (upstream, Some(revision)),
        None => (rest, None),
    };
    let fits = |byte: u8, more: &[u8]| {
        byte.is_ascii_alphanumeric() || b"+.~".contains(&byte) || more.contains(&byte)
    };
    match upstream.as_bytes() {
        [] => Err("it has no upstream version"),
        [first, ..] if !first.is_ascii_digit() => Err("it must begin with a digit"),
        bytes if !bytes.iter().all(|byte| fits(*byte, b"-:")) => {
            Err("only letters, digits, '.', '+', '-' and '~' may be in it")
        }
        _ if revision.is_some_and(|text| text.is_empty() || !text.bytes().all(|byte| fits(byte, b""))) => {
            Err("the revision, after the last '-', has only letters, digits, '.', '+' and '~'")
        }
        _ => Ok(()),
    }
}

fn environment(text: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text.as_bytes() {
        [] => Err("it is empty"),
        bytes if bytes.len() > 63 => Err("it is longer than 63 characters"),
        bytes if !bytes.iter().all(|byte| fits(*byte)) => Err("only a-z, 0-9 and '-' may be in it"),
        [b'-', ..] | [.., b'-'] => Err("it may not begin or end with '-'"),
        _ => Ok(()),
    }
}

fn identity(text: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte);
    match text.as_bytes() {
        [] => Err("it is empty"),
        bytes if bytes.len() > 128 => Err("it is longer than 128 characters"),
        // Patterns and lists mean something in an allowed signers file; options begin with a hyphen.
        bytes if !bytes.iter().all(|byte| fits(*byte)) => {
            Err("only letters, digits, '@', '.', '_', '+' and '-' may be in it")
        }
        [first, ..] if !first.is_ascii_alphanumeric() => Err("it must begin with a letter or a digit"),
        _ => Ok(()),
    }
}

/// A number that grows by one with each entry of an environment's ledger: the fencing token that hosts compare.
pub type Sequence = u64;

/// A SHA-256 digest. As text: `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of all these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// From its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits: a file's name.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first 12 digits, for people.
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }
}

impl FromStr for Digest {
    type Err = InvalidName;
    /// With or without `sha256:`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = |why| invalid("SHA-256 digest", text, why);
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() != 64 {
            return Err(bad("it has not 64 hexadecimal digits"));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair)
                .map_err(|_| bad("it has other characters than hexadecimal digits"))?;
            if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(bad("it has other characters than hexadecimal digits"));
            }
            *byte = u8::from_str_radix(pair, 16)
                .map_err(|_| bad("it has other characters than hexadecimal digits"))?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "sha256:{}", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is<T: FromStr>(text: &str) -> bool {
        text.parse::<T>().is_ok()
    }

    #[test]
    fn versions_are_those_of_debian_policy() {
        for good in ["1", "1.4.2", "1:2.0-1", "0~rc1", "1.0+git20240101-0ubuntu1~bpo1", "2.0-rc1-1"] {
            assert!(is::<PackageVersion>(good), "{good}");
        }
        for bad in [
            "", "v1", "1.0 ", "1.0;rm", "../1", "1/2", "a:1", ":1", "1:", "1-", "-1", "1\n", "1.0-a_b",
            "latest",
        ] {
            assert!(!is::<PackageVersion>(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_no_options_paths_or_lines() {
        for bad in ["", "a", "-x", "../x", "Shop", "shop/x", "shop x", "shop\n", "shop=1"] {
            assert!(!is::<PackageName>(bad), "{bad:?}");
            assert!(bad == "a" || !is::<Environment>(bad), "{bad:?}");
        }
        assert!(is::<PackageName>("libstdc++6") && is::<PackageName>("0ad"));
        assert!(
            is::<Identity>("alice+ci@example.org")
                && !is::<Identity>("*@example.org")
                && !is::<Identity>("-a")
        );
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        assert_eq!(digest.hex().to_uppercase().parse::<Digest>(), Ok(digest));
        assert!(
            is::<Digest>(&digest.hex()) && !is::<Digest>(&"é".repeat(32)) && !is::<Digest>(&"+1".repeat(32))
        );
    }
}
