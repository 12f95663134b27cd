//! `cargo xtask chaos`: a pool of its own under a load of tasks, whose masters, agents, executors and framework are killed,
//! paused, cut off and left without disk, as a seed says. Then everything is mended, and every task is accounted for: the
//! framework's journal, the master, the agents' checkpoints and the processes of this machine must tell one story, no task may
//! have started twice, and in the end nothing may be left.

mod audit;
mod breaking;
mod pool;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::interrupt;
use crate::paths::Workspace;
use audit::{Journal, Starts};
use breaking::{Breaking, Random};
use pool::Pool;

/// How long everything may take to agree when nothing breaks any more: an agent that is away counts as lost after 75 s, and
/// comes back at most a minute after it can.
const SETTLE_WITHIN: Duration = Duration::from_secs(240);
/// What agrees has to go on doing so.
const SETTLED_FOR: Duration = Duration::from_secs(3);
const FINISH_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long things break
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What breaks when
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Take our own programs from the target directory as they are there
    #[arg(long)]
    as_built: bool,
    /// Leave the pool as it is when something is wrong, to look at it
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let workspace = Workspace::find()?;
    if options.as_built {
        workspace.take_as_built();
    }
    workspace.build()?;
    let directory = tempfile::Builder::new()
        .prefix("mezzo-chaos-")
        .tempdir_in("/var/tmp")
        .context("create a directory for the pool")?;
    let begun = Instant::now();
    let mut pool = Pool::up(&workspace, directory.path(), options.seed)?;
    let outcome = break_and_mend(&mut pool, options);
    let is_wrong = outcome.as_ref().map_or(true, |(_, wrong)| !wrong.is_empty());
    let is_kept = options.keep && is_wrong && !interrupt::requested();
    if is_kept {
        pool.leave();
        let path = directory.keep();
        eprintln!("the pool is left in {}", path.display());
    } else {
        pool.down()?;
    }
    let (summary, wrong) = outcome?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{summary}; {} s in all", begun.elapsed().as_secs())?;
    for what in &wrong {
        writeln!(out, "wrong: {what}")?;
    }
    if !wrong.is_empty() {
        bail!("seed {}: {} things are wrong", options.seed, wrong.len());
    }
    Ok(())
}

/// What happened in one line, and what is wrong.
fn break_and_mend(pool: &mut Pool, options: &Options) -> Result<(String, Vec<String>)> {
    let (mut starts, mut wrong) = (Starts::default(), Vec::new());
    let mut breaking = Breaking::new(Random::new(options.seed));
    let begun = Instant::now();
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    while begun.elapsed() < length && !interrupt::requested() {
        breaking.advance(pool, begun.elapsed())?;
        starts.look(pool)?;
        pool.keep_load_running()?;
        wait(LOOK_EVERY);
    }
    breaking.mend(pool, begun.elapsed())?;
    eprintln!("+{:.1} s everything is mended; it has to settle", begun.elapsed().as_secs_f64());
    pool.set_phase("settle")?;
    wrong.extend(agree(pool, &mut starts, SETTLE_WITHIN, audit::disagreements)?);
    let settled = Journal::read(&pool.journal())?.live().len();
    pool.set_phase("finish")?;
    wrong.extend(agree(pool, &mut starts, FINISH_WITHIN, audit::remains)?);
    let journal = Journal::read(&pool.journal())?;
    wrong.extend(audit::unaccounted(&journal, &starts));
    let mut verdicts: BTreeMap<&str, usize> = BTreeMap::new();
    for state in journal.tasks.values() {
        *verdicts.entry(state.as_str()).or_default() += 1;
    }
    let verdicts: Vec<String> = verdicts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let summary = format!(
        "seed {}, {:.1} min: {}; {} tasks launched, {} started, {settled} ran through to the end; in the end {}",
        options.seed,
        options.minutes,
        breaking.summary(),
        journal.tasks.len(),
        starts.count(),
        verdicts.join(", "),
    );
    Ok((summary, wrong))
}

/// Waits until nothing is found for a while; what is still found at the deadline.
fn agree(
    pool: &mut Pool,
    starts: &mut Starts,
    within: Duration,
    find: impl Fn(&Pool, &Journal) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let begun = Instant::now();
    let mut since: Option<Instant> = None;
    loop {
        pool.keep_load_running()?;
        starts.look(pool)?;
        let journal = Journal::read(&pool.journal())?;
        // A command that fails now may work in a moment; at the deadline it counts.
        let found = find(pool, &journal).unwrap_or_else(|error| vec![format!("{error:#}")]);
        if found.is_empty() {
            let since = since.get_or_insert_with(Instant::now);
            if since.elapsed() >= SETTLED_FOR {
                eprintln!("  agreed after {} s", begun.elapsed().as_secs());
                return Ok(Vec::new());
            }
        } else {
            since = None;
            if begun.elapsed() > within || interrupt::requested() {
                return Ok(found);
            }
        }
        wait(LOOK_EVERY);
    }
}

/// Between two looks, which have deadlines of their own.
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// A file's text, or nothing.
fn read_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
