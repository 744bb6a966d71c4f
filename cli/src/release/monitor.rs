//! How a deployment is shown while it goes on.

use std::sync::Mutex;
use std::time::Instant;

use debark_release::{Event, Monitor};

/// Lines for people, on standard output.
pub struct Lines {
    environment: String,
    verbose: bool,
    began: Instant,
    // Lines of several hosts must not mix.
    out: Mutex<()>,
}

impl Lines {
    /// For an environment; `verbose` shows each step of each host.
    pub fn new(environment: &str, verbose: bool) -> Self {
        Self { environment: environment.to_owned(), verbose, began: Instant::now(), out: Mutex::new(()) }
    }
}

impl Monitor for Lines {
    fn event(&self, event: Event) {
        let _only = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let seconds = self.began.elapsed().as_secs_f64();
        match event {
            Event::Started(sequence) => anstream::println!("{} #{sequence} is on record", self.environment),
            Event::Preparing(1) => anstream::println!("asking 1 host"),
            Event::Preparing(hosts) => anstream::println!("asking {hosts} hosts"),
            Event::Wave { number, of, hosts } => {
                anstream::println!("wave {number} of {of}: {}", hosts.join(", "))
            }
            Event::Host(host, text) if self.verbose => anstream::println!("  {host}: {text}"),
            Event::Host(..) => {}
            Event::Note(host, text) => anstream::println!("  {host}: note: {text}"),
            Event::Healthy(host) => anstream::println!("  {host}: healthy ({seconds:.1} s)"),
            Event::Reverting(why) => anstream::println!("putting everything back: {why}"),
            Event::Reverted(host) => anstream::println!("  {host}: as before"),
            Event::Warning(text) => anstream::eprintln!("warning: {text}"),
            Event::Trouble { host, message, hint, log } => {
                let red = anstyle::AnsiColor::Red.on_default().bold();
                // Messages that name their host need not have it twice.
                let place = if message.contains(&host) { String::new() } else { format!("{host}: ") };
                anstream::println!("  {red}{place}{message}{red:#}");
                log.iter().for_each(|line| anstream::println!("    | {}", printable(line)));
                if let Some(hint) = hint {
                    anstream::println!("    hint: {hint}");
                }
            }
        }
    }
}

/// What hosts say cannot steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// One JSON object per line.
#[derive(Default)]
pub struct Json(Mutex<()>);

impl Monitor for Json {
    fn event(&self, event: Event) {
        let value = match event {
            Event::Started(sequence) => serde_json::json!({"event": "started", "sequence": sequence}),
            Event::Preparing(hosts) => serde_json::json!({"event": "preparing", "hosts": hosts}),
            Event::Wave { number, of, hosts } => {
                serde_json::json!({"event": "wave", "number": number, "of": of, "hosts": hosts})
            }
            Event::Host(host, text) => serde_json::json!({"event": "progress", "host": host, "text": text}),
            Event::Note(host, text) => serde_json::json!({"event": "note", "host": host, "text": text}),
            Event::Healthy(host) => serde_json::json!({"event": "healthy", "host": host}),
            Event::Reverting(why) => serde_json::json!({"event": "reverting", "why": why}),
            Event::Reverted(host) => serde_json::json!({"event": "reverted", "host": host}),
            Event::Warning(text) => serde_json::json!({"event": "warning", "text": text}),
            Event::Trouble { host, message, hint, log } => serde_json::json!({
                "event": "trouble", "host": host, "message": message, "hint": hint, "log": log,
            }),
        };
        let _only = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        anstream::println!("{value}");
    }
}
