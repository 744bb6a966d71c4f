//! `debark ssh-ca list` and `show`: what was signed, and what a certificate says.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_connect::certificate::{Certificate, Holder, time};
use serde_json::json;

use super::CaArgs;
use super::record::{self, Entry, Signed, now};
use crate::release::context::{Problem, finish};

/// Lists what the CA has signed and revoked
#[derive(clap::Args)]
pub struct ListArgs {
    /// Only certificates that hold now
    #[arg(long)]
    valid: bool,
    #[command(flatten)]
    ca: CaArgs,
}

/// Runs the command.
pub fn list(args: &ListArgs) -> ExitCode {
    finish(args.ca.json, |_| {
        let entries = record::read(&args.ca.file()?)?;
        let void = |serial: u64| {
            entries.iter().any(|entry| matches!(entry, Entry::Void { serial: own, .. } if *own == serial))
        };
        let holds = |signed: &Signed| now() < signed.valid_before && !void(signed.serial);
        for entry in &entries {
            if args.valid && !matches!(entry, Entry::Signed(signed) if holds(signed)) {
                continue;
            }
            if args.ca.json {
                let line =
                    serde_json::to_string(entry).map_err(|error| Problem::failed(error.to_string()))?;
                anstream::println!("{line}");
                continue;
            }
            match entry {
                Entry::Signed(signed) => anstream::println!(
                    "{:>5}  {}  {} {} for {}, until {}{}  by {}  {}",
                    signed.serial,
                    time(signed.time),
                    signed.holder,
                    signed.identity,
                    signed.principals.join(", "),
                    time(signed.valid_before),
                    if void(signed.serial) { " (not made)" } else { "" },
                    signed.by,
                    signed.options.join(" ")
                ),
                Entry::Void { .. } => {}
                Entry::Revoked { time: when, by, what, reason } => anstream::println!(
                    "       {}  revoked {what}  by {by}{}",
                    time(*when),
                    reason.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
                ),
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Shows what a certificate says
#[derive(clap::Args)]
pub struct ShowArgs {
    /// The certificate: a file that ends in -cert.pub
    #[arg(value_name = "CERT")]
    file: PathBuf,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn show(args: &ShowArgs) -> ExitCode {
    finish(args.json, |_| {
        let certificate = Certificate::read(&args.file)
            .map_err(|why| Problem::input(why).hint("a certificate's file ends in -cert.pub"))?;
        let holder = match certificate.holder {
            Holder::User => "user",
            Holder::Host => "host",
        };
        let now = now();
        let state = match (now < certificate.valid_after, now >= certificate.valid_before) {
            (true, _) => "not yet valid",
            (_, true) => "expired",
            _ => "valid",
        };
        let options: Vec<String> =
            certificate.critical.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if args.json {
            anstream::println!(
                "{}",
                json!({
                    "event": "certificate", "file": args.file, "type": certificate.kind, "holder": holder,
                    "serial": certificate.serial, "identity": certificate.id, "principals": certificate.principals,
                    "valid_after": certificate.valid_after, "valid_before": certificate.valid_before, "state": state,
                    "options": options, "extensions": certificate.extensions, "ca": certificate.ca,
                })
            );
            return Ok(ExitCode::SUCCESS);
        }
        let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        anstream::println!("{}  {} of {}", certificate.kind, holder, certificate.id);
        anstream::println!("  serial      {}", certificate.serial);
        anstream::println!("  for         {}", list(&certificate.principals));
        anstream::println!(
            "  {:<11} {} to {}",
            state,
            time(certificate.valid_after),
            time(certificate.valid_before)
        );
        anstream::println!("  only        {}", list(&options));
        anstream::println!("  allows      {}", list(&certificate.extensions));
        anstream::println!("  signed by   {}", certificate.ca);
        Ok(ExitCode::SUCCESS)
    })
}
