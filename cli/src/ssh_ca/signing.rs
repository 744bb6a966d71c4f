//! One certificate: numbered, put on record, signed by ssh-keygen.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use debark_connect::certificate::Certificate;
use serde_json::json;

use super::record::{Entry, Record, Signed, now};
use super::{CaArgs, beside};
use crate::release::context::Problem;

/// Clocks of hosts may be behind by so much.
const SKEW: u64 = 300;

/// What is to be signed.
pub struct Request<'a> {
    /// The public key's file.
    pub public: &'a Path,
    /// Whether it is a host's.
    pub host: bool,
    /// Whose it is.
    pub identity: &'a str,
    /// Names of users or of hosts; never empty.
    pub principals: &'a [String],
    /// For how long.
    pub valid: Duration,
    /// For `-O`.
    pub options: Vec<String>,
}

/// Signs; the certificate's file and what it says.
///
/// # Errors
/// There is no such CA or key, or ssh-keygen says no.
pub fn sign(args: &CaArgs, request: &Request<'_>) -> Result<(PathBuf, Certificate), Problem> {
    let ca = args.file()?;
    let public_ca = beside(&ca, "pub");
    if !public_ca.is_file() {
        return Err(Problem::input(format!("there is no CA at {}", ca.display()))
            .hint("`debark ssh-ca init` makes one"));
    }
    sane("identity", request.identity)?;
    if request.principals.is_empty() {
        return Err(
            Problem::input("a certificate without principals would be good for everybody").hint("name some")
        );
    }
    request.principals.iter().try_for_each(|name| sane("principal", name))?;
    let text = std::fs::read_to_string(request.public)
        .map_err(|error| Problem::input(format!("{}: {error}", request.public.display())))?;
    let key = text.split_whitespace().nth(1).and_then(debark_connect::fingerprint);
    let key =
        key.filter(|_| !text.contains("PRIVATE KEY") && !text.contains("-cert-v01@")).ok_or_else(|| {
            Problem::input(format!("{} is no public key", request.public.display()))
                .hint("it is the file that ends in .pub")
        })?;
    let mut record = Record::open(&ca)?;
    let (serial, time) = (record.next(), now());
    let (after, before) = (time.saturating_sub(SKEW), time.saturating_add(request.valid.as_secs()));
    record.add(Entry::Signed(Signed {
        serial,
        time,
        by: crate::common::actor(),
        holder: if request.host { "host" } else { "user" }.into(),
        identity: request.identity.into(),
        principals: request.principals.to_vec(),
        valid_after: after,
        valid_before: before,
        key,
        options: request.options.clone(),
    }))?;
    let mut command = Command::new("ssh-keygen");
    command.arg("-q");
    // A key that is not here is in the agent (ssh-keygen(1), -U).
    match ca.is_file() {
        true => command.arg("-s").arg(&ca),
        false => command.arg("-U").arg("-s").arg(&public_ca),
    };
    if request.host {
        command.arg("-h");
    }
    command.arg("-I").arg(request.identity).arg("-n").arg(request.principals.join(","));
    command.arg("-z").arg(serial.to_string());
    // Times without a zone are local ones (ssh-keygen(1), -V).
    command.env("TZ", "UTC").arg("-V").arg(format!("{}:{}", stamp(after), stamp(before)));
    request.options.iter().for_each(|option| {
        command.arg("-O").arg(option);
    });
    let output = command.arg(request.public).output();
    let why = match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
        Err(error) => Some(format!("cannot run ssh-keygen: {error}")),
    };
    if let Some(why) = why {
        record.add(Entry::Void { serial, time: now(), why: why.clone() })?;
        let hint = match ca.is_file() {
            true => "a CA key with a passphrase asks for it on the terminal; ssh-add puts it into the agent",
            false => "the agent has to hold the CA's key: ssh-add",
        };
        return Err(Problem::failed(format!("ssh-keygen does not sign: {why}")).hint(hint));
    }
    let certificate = certificate_of(request.public);
    let read = Certificate::read(&certificate).map_err(Problem::failed)?;
    if read.serial != serial {
        return Err(Problem::failed(format!("{} is not what was signed", certificate.display())));
    }
    Ok((certificate, read))
}

/// Where ssh-keygen puts the certificate of a public key.
fn certificate_of(public: &Path) -> PathBuf {
    let text = public.display().to_string();
    PathBuf::from(format!("{}-cert.pub", text.strip_suffix(".pub").unwrap_or(&text)))
}

fn sane(what: &str, text: &str) -> Result<(), Problem> {
    let odd = |letter: char| letter.is_control() || letter.is_whitespace() || letter == ',' || letter == '"';
    match text.is_empty() || text.starts_with('-') || text.contains(odd) {
        true => {
            Err(Problem::input(format!("{text:?} is no {what}")).hint("a word such as alice@example.org"))
        }
        false => Ok(()),
    }
}

/// `20260131120000`.
fn stamp(seconds: u64) -> String {
    debark_connect::certificate::time(seconds).chars().filter(char::is_ascii_digit).collect()
}

/// Prints what was signed.
pub fn tell(json: bool, file: &Path, certificate: &Certificate) {
    let until = debark_connect::certificate::time(certificate.valid_before);
    if json {
        let line = json!({
            "event": "certificate", "file": file, "serial": certificate.serial, "identity": certificate.id,
            "principals": certificate.principals, "valid_after": certificate.valid_after,
            "valid_before": certificate.valid_before, "ca": certificate.ca,
        });
        return anstream::println!("{line}");
    }
    anstream::println!(
        "{}: {} for {}, serial {}, until {until}",
        file.display(),
        certificate.id,
        certificate.principals.join(", "),
        certificate.serial
    );
}

/// `30m`, `8h`, `30d`, `52w`: at least a minute, at most ten years.
///
/// # Errors
/// A sentence.
pub fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err("write a number with s, m, h, d or w, such as 8h".into()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 60..=315_360_000) => Ok(Duration::from_secs(seconds)),
        _ => Err("it is between a minute and ten years".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("8h").unwrap().as_secs(), 28_800);
        assert_eq!(duration("2w").unwrap().as_secs(), 1_209_600);
        for wrong in ["", "8", "h", "5s", "99999w", "8 h", "-1h", "forever", "99999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_in_certificates() {
        assert!(sane("identity", "alice@example.org").is_ok());
        for wrong in ["", "-n", "a,b", "a b", "a\nb"] {
            assert!(sane("identity", wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(stamp(0), "19700101000000");
        assert_eq!(certificate_of(Path::new("/a/id.pub")), Path::new("/a/id-cert.pub"));
    }
}
