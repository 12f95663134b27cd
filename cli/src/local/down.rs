//! `mezzo down`: stops everything of the local pool and leaves nothing, whatever state it is in. May be repeated.
use std::path::Path;
use std::time::Instant;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::layout::Layout;
use super::leftovers::Leftovers;
use super::network;
use super::supervise::Pids;
use crate::failure::{Failure, Result};
use crate::grammar::{Down, Global};
use crate::{limits, output};

pub(crate) async fn run(arguments: &Down, global: &Global) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new("only root can take a pool down", "", "try again with sudo"));
    }
    let dir = absolute(&arguments.place.dir)?;
    if arguments.purge {
        output::confirm(global.yes, &format!("delete all state of the pool in {}", dir.display()))?;
    }
    match Layout::load(&dir)? {
        Some(layout) => clean(&layout).await?,
        None => output::note(&format!("there is no pool in {}", dir.display())),
    }
    if arguments.purge {
        purge(&dir)?;
    }
    Ok(())
}

pub(super) fn absolute(dir: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(dir).map_err(|error| Failure::while_doing(format!("find {}", dir.display()), &error))
}

/// Removes everything but state, and says so after a second look.
pub(super) async fn clean(layout: &Layout) -> Result<()> {
    // First the supervisor, or it would start again what is stopped.
    if let Some(supervisor) = Pids::load(&layout.dir).supervisor
        && supervisor.is_alive()
        && u32::try_from(supervisor.pid) != Ok(std::process::id())
    {
        let _ = kill(Pid::from_raw(supervisor.pid), Signal::SIGKILL);
    }
    let before = Leftovers::find(layout)?;
    end_daemons(&before).await;
    end_all(layout).await?;
    remove_cgroups(layout).await?;
    let found = Leftovers::find(layout)?;
    for path in found.mounts.iter().filter(|path| !path.starts_with("/run/netns")) {
        let _ = umount2(path, MntFlags::MNT_DETACH);
    }
    for name in &found.namespaces {
        network::remove_netns(name)?;
    }
    for link in &found.links {
        network::remove_link(link)?;
    }
    if layout.made_netns_mount && std::fs::read_dir("/run/netns").is_ok_and(|mut entries| entries.next().is_none()) {
        while network::netns_is_mounted() && umount2("/run/netns", MntFlags::MNT_DETACH).is_ok() {}
        let _ = std::fs::remove_dir("/run/netns");
    }
    let _ = std::fs::remove_file(Layout::pids(&layout.dir));
    let left = Leftovers::find(layout)?;
    if !left.is_empty() {
        let why = left.lines().join("\n  ");
        return Err(Failure::new(
            "something of the pool is left",
            format!("\n  {why}"),
            "try again; the state is untouched",
        ));
    }
    let removed = before.summary();
    let removed =
        if removed.is_empty() { "there was nothing to remove".to_owned() } else { format!("removed {removed}") };
    output::note(&format!(
        "{removed}\nlooked again: no process, network namespace, link, mount or cgroup of pool '{}' is left; its state is in {}",
        layout.name,
        layout.dir.display()
    ));
    Ok(())
}

/// Master and agents are asked first: they close their files.
async fn end_daemons(found: &Leftovers) {
    let daemons: Vec<_> = found
        .processes
        .iter()
        .filter(|(_, what)| {
            what.ends_with(" master run") || what.ends_with(" agent run") || what.ends_with(" services run")
        })
        .collect();
    for (id, _) in &daemons {
        let _ = kill(Pid::from_raw(id.pid), Signal::SIGTERM);
    }
    let deadline = Instant::now() + limits::TERM_TIME;
    while daemons.iter().any(|(id, _)| id.is_alive()) && Instant::now() < deadline {
        reap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Every other process, until none is left: what is killed may have started another meanwhile.
async fn end_all(layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + limits::KILL_TIME;
    loop {
        let processes = Leftovers::find(layout)?.processes;
        if processes.is_empty() {
            return Ok(());
        }
        for (id, _) in &processes {
            let _ = kill(Pid::from_raw(id.pid), Signal::SIGKILL);
        }
        if Instant::now() > deadline {
            let left: Vec<String> = processes.iter().map(|(id, what)| format!("{} ({what})", id.pid)).collect();
            return Err(Failure::new(
                "processes survive SIGKILL",
                left.join(", "),
                "they wait for the kernel; try again later",
            ));
        }
        reap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Children of a foreground supervisor that nobody waits for any more.
fn reap() {
    use nix::sys::wait::{WaitPidFlag, waitpid};
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status.pid().is_none() {
            return;
        }
    }
}

/// The kernel needs a moment after the last process of a cgroup has ended.
async fn remove_cgroups(layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + limits::KILL_TIME;
    loop {
        let found = Leftovers::find(layout)?.cgroups;
        if found.is_empty() {
            break;
        }
        for path in &found {
            let _ = std::fs::remove_dir(path);
        }
        if Instant::now() > deadline {
            break; // reported by the second look
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The common parent, unless another pool uses it: a cgroup with children cannot be removed.
    for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(entry.path().join("mezzo"));
    }
    let _ = std::fs::remove_dir("/sys/fs/cgroup/mezzo");
    Ok(())
}

/// Deletes what a pool keeps, and only that: the directory may have been a wrong one.
fn purge(dir: &Path) -> Result<()> {
    if !Layout::path(dir).exists() {
        return Ok(());
    }
    let layout = Layout::load(dir)?;
    let mut names: Vec<String> =
        ["master", "logs", "pids.json", "supervisor.lock", "pool.json"].iter().map(|name| (*name).to_owned()).collect();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // There may have been more agents once.
        names.extend(entry.file_name().into_string().ok().filter(|name| name.starts_with("agent-")));
    }
    for name in names {
        let path = dir.join(&name);
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::while_doing(format!("delete {}", path.display()), &error));
            }
            _ => {}
        }
    }
    let _ = std::fs::remove_dir(dir);
    // An identity of a pool that is no more is of no use, and would be in the way of the next.
    if let Some(layout) = layout {
        for file in ["ca.pem", "cert.pem", "key.pem"] {
            let _ = std::fs::remove_file(layout.operator_identity.join(file));
        }
        let _ = std::fs::remove_dir(&layout.operator_identity);
    }
    output::note(&format!("deleted the state in {}", dir.display()));
    Ok(())
}
