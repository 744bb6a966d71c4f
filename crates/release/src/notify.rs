//! Telling others: webhooks and commands. What is told never decides how a deployment goes.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use debark_ledger::{Ci, HostResult};
use serde::Serialize;

/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// The notice is posted there as JSON. The address is a secret: whoever has it may write.
    Webhook(String),
    /// The notice comes as JSON on its standard input.
    Command(Vec<String>),
}

/// What others are told.
#[derive(Debug, Clone, Serialize)]
pub struct Notice<'a> {
    /// `deploy`, `promote`, `rollback`, `abort`, `approved`, `held`, `released`, `frozen`, `thawed`.
    pub event: &'a str,
    /// One line for people: `shop 1.4.2 is live in prod on 2 of 2 hosts`.
    pub text: &'a str,
    /// Where.
    pub environment: &'a str,
    /// Which package, if one is concerned.
    pub package: Option<&'a str>,
    /// Which version.
    pub version: Option<&'a str>,
    /// Of the .deb.
    pub digest: Option<String>,
    /// The git commit.
    pub commit: Option<&'a str>,
    /// Who.
    pub actor: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// `succeeded`, `reverted`, ...
    pub result: Option<&'a str>,
    /// Number of the ledger's entry.
    pub sequence: u64,
    /// Milliseconds.
    pub took_ms: u64,
    /// Per host.
    pub hosts: &'a [HostResult],
    /// The job that did it.
    pub ci: Option<&'a Ci>,
}

/// Tells everybody, side by side; sentences about those who could not be told.
pub fn notify(channels: &[Channel], notice: &Notice<'_>) -> Vec<String> {
    let Ok(text) = serde_json::to_vec(notice) else { return vec!["a notice that is no JSON".into()] };
    let told = crate::fleet::each(channels, 8, |channel| match channel {
        Channel::Webhook(url) => post(url, &text),
        Channel::Command(argv) => run(argv, &text),
    });
    told.into_iter().filter_map(Result::err).collect()
}

fn post(url: &str, text: &[u8]) -> Result<(), String> {
    static PROVIDER: Once = Once::new();
    // It fails only where somebody has chosen one already.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let parsed = reqwest::Url::parse(url).map_err(|_| "the webhook's address is none".to_owned())?;
    let name = format!("the webhook at {}", parsed.host_str().unwrap_or("?"));
    let client = reqwest::blocking::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("{name}: {}", error.without_url()))?;
    let request = client.post(parsed).header("content-type", "application/json").body(text.to_vec());
    // reqwest's words name the whole address, which may be all the secret there is.
    let answer =
        request.send().map_err(|error| format!("{name} was not told: {}", deepest(&error.without_url())))?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("{name} answers {}", answer.status())) }
}

fn deepest(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn run(argv: &[String], text: &[u8]) -> Result<(), String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("a notification's command is empty".into());
    };
    let failed = |why: String| format!("{program} was not told: {why}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        scope.spawn(move || {
            // It need not read it.
            let _ = stdin.map(|mut stdin| stdin.write_all(text));
        });
        let deadline = Instant::now() + PATIENCE;
        loop {
            match child.try_wait().map_err(|error| failed(error.to_string()))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(failed(status.to_string())),
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(failed(format!("it takes more than {} s", PATIENCE.as_secs())));
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    const NOTICE: Notice<'_> = Notice {
        event: "deploy",
        text: "shop 1.0.0 is live",
        environment: "prod",
        package: Some("shop"),
        version: Some("1.0.0"),
        digest: None,
        commit: None,
        actor: "alice@example.org",
        reason: None,
        result: Some("succeeded"),
        sequence: 7,
        took_ms: 1,
        hosts: &[],
        ci: None,
    };

    #[test]
    fn a_command_hears_the_notice_and_failures_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("heard");
        let shell = |script: String| Channel::Command(vec!["sh".into(), "-c".into(), script]);
        let channels = [
            shell(format!("cat > '{}'", file.display())),
            shell("exit 3".into()),
            Channel::Command(vec!["/none".into()]),
        ];
        let problems = notify(&channels, &NOTICE);
        assert_eq!(problems.len(), 2, "{problems:?}");
        let heard: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(heard["text"], "shop 1.0.0 is live");
        assert_eq!(heard["sequence"], 7);
    }

    #[test]
    fn a_webhook_is_posted_to_and_its_address_is_not_shown() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/services/SECRET", server.local_addr().unwrap());
        let heard = thread::spawn(move || {
            let mut bodies = Vec::new();
            for status in ["204 No Content", "403 Forbidden"] {
                let (mut stream, _) = server.accept().unwrap();
                let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
                while !text.ends_with(b"}") {
                    let length = stream.read(&mut buffer).unwrap();
                    text.extend_from_slice(&buffer[..length]);
                }
                bodies.push(String::from_utf8(text).unwrap());
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .unwrap();
            }
            bodies
        });
        assert_eq!(notify(&[Channel::Webhook(url.clone())], &NOTICE), Vec::<String>::new());
        let refused = notify(&[Channel::Webhook(url)], &NOTICE);
        assert!(
            refused.len() == 1 && refused[0].contains("403") && !refused[0].contains("SECRET"),
            "{refused:?}"
        );
        let bodies = heard.join().unwrap();
        assert!(bodies[0].starts_with("POST /services/SECRET") && bodies[0].contains("shop 1.0.0 is live"));
        let gone = notify(&[Channel::Webhook("http://127.0.0.1:1/SECRET".into())], &NOTICE);
        assert!(gone.len() == 1 && !gone[0].contains("SECRET"), "{gone:?}");
    }
}
