//! `mezzo task`.
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// List tasks
    List {
        /// Only those of a framework, by name or id
        #[arg(long, default_value = "")]
        framework: String,
        /// Those that ended, too
        #[arg(long)]
        all: bool,
    },
    /// Show one task
    Show {
        /// Id, or the name if it is unique
        task: String,
    },
    /// Print what a task wrote
    Logs {
        /// Id, or the name if it is unique
        task: String,
        /// Go on as it writes
        #[arg(long, short)]
        follow: bool,
        /// stderr instead of stdout
        #[arg(long)]
        stderr: bool,
        /// Only about so many bytes of the end
        #[arg(long, value_name = "BYTES")]
        tail: Option<i64>,
    },
    /// Run a program in a task's container
    Exec {
        /// With a terminal [default: if stdin is one]
        #[arg(long, short)]
        tty: bool,
        /// Id, or the name if it is unique
        task: String,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Say why a task is in its state
    Why {
        /// Id, or the name if it is unique
        task: String,
    },
}
