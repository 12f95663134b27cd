//! `mezzo plan`.
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// Show the plans of a framework, or one of them
    Show {
        /// The framework
        framework: String,
        /// The plan
        plan: Option<String>,
        /// When each step began, launched and was complete
        #[arg(long)]
        timing: bool,
        /// Go on until the plan is complete
        #[arg(long, requires = "plan")]
        follow: bool,
    },
    /// Start nothing new
    Pause {
        /// The framework
        framework: String,
        /// The plan
        #[arg(default_value = "deploy")]
        plan: String,
    },
    /// Go on
    Resume {
        /// The framework
        framework: String,
        /// The plan
        #[arg(default_value = "deploy")]
        plan: String,
    },
    /// Begin anew
    Restart {
        /// The framework
        framework: String,
        /// The plan
        #[arg(default_value = "deploy")]
        plan: String,
    },
}
