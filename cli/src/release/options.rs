//! Options of the commands that change what is live.

use std::time::Duration;

use super::desk::Remote;

/// What deploy, promote and rollback have in common.
#[derive(clap::Args, Clone, Default)]
pub struct DeployArgs {
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Print what would happen per host, by what is known on this machine, and stop: nobody is asked
    #[arg(long)]
    pub plan: bool,
    /// Show every step of every host
    #[arg(short, long)]
    pub verbose: bool,
    /// How long nobody else may begin after the last sign of life [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub lease: Option<Duration>,
}

impl DeployArgs {
    /// Whether the ledger's remote has to answer: nothing begins that others do not see.
    pub fn remote(&self) -> Remote {
        if self.plan { Remote::Unasked } else { Remote::Needed }
    }

    /// The same for what cannot wait for it.
    pub fn welcome(&self) -> Remote {
        if self.plan { Remote::Unasked } else { Remote::Welcome }
    }

    /// Seconds of a lease.
    pub fn lease_seconds(&self) -> u32 {
        self.lease.map_or(180, |lease| u32::try_from(lease.as_secs()).unwrap_or(u32::MAX))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = debark_project::parse_duration(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(5)..=Duration::from_secs(3600)).contains(&duration) {
        Ok(duration)
    } else {
        Err("a lease is between 5s and 1h".into())
    }
}
