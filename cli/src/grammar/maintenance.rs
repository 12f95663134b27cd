//! `mezzo maintenance`.
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Maintenance {
    /// List agents with an announced window, and what their frameworks said of it
    List,
    /// Announce when agents will be maintained; nothing is ended by that
    Schedule(Schedule),
    /// Withdraw announced windows
    Cancel(Agents),
    /// Begin: the agents are emptied now, and nothing of them is offered until it is stopped
    Start(Agents),
    /// End: the windows are over and the agents are offered again
    Stop(Agents),
}

#[derive(Debug, Args)]
pub(crate) struct Agents {
    /// Names or ids
    #[arg(required = true, value_name = "AGENT")]
    pub(crate) agents: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Schedule {
    #[command(flatten)]
    pub(crate) agents: Agents,
    /// When: an instant like 2027-01-31T22:00:00Z, or in how long, like +2h
    #[arg(long, value_parser = crate::quantity::instant, value_name = "TIME")]
    pub(crate) start: std::time::SystemTime,
    /// For how long, e.g. 90s, 10m, 2h [default: nobody knows]
    #[arg(long, value_parser = crate::quantity::seconds, value_name = "TIME")]
    pub(crate) duration: Option<u32>,
}
