//! `mezzo up`: from nothing to a pool whose agents are registered, and back if anything fails on the way.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use proto::mezzo::v1::{AgentDescription, CreateJoinTokenRequest, GetMasterRequest, JoinToken, ListAgentsRequest};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::down::{absolute, clean};
use super::layout::Layout;
use super::leftovers::Leftovers;
use super::network;
use super::supervise::{self, Lock, MARK, Pids, ProcessId, Program};
use crate::client::{self, Pool};
use crate::daemons;
use crate::failure::{Failure, Result};
use crate::grammar::{Format, Global, Up};
use crate::{limits, output};

/// What agents offer: kubelet's and kube-proxy's own ports would be taken by other programs otherwise, so they are here.
const PORTS: &str = "10250,10256,20000-29999,30000-32767";

pub(crate) async fn run(arguments: &Up, global: &Global) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        let next = "try again with sudo; without root, no container and no network namespace can be made";
        return Err(Failure::new("only root can bring a pool up", "", next));
    }
    let layout = prepare(arguments, global)?;
    if arguments.detach && !arguments.supervise {
        return Box::pin(detach(arguments, global, &layout)).await;
    }
    if arguments.supervise {
        // Out of the terminal's reach; fails only if this is the leader of a group already, which does as well.
        let _ = nix::unistd::setsid();
    }
    let Some(_lock) = Lock::take(&layout.dir)? else { return Err(already_up(&layout)) };
    let layout = check(layout).await?;
    let result = Box::pin(supervise(arguments, global, &layout)).await;
    output::note("taking the pool down");
    let cleaned = clean(&layout).await;
    result.and(cleaned)
}

/// What is asked for, compared with what an earlier `mezzo up` made in the same directory.
fn prepare(arguments: &Up, global: &Global) -> Result<Layout> {
    let dir = absolute(&arguments.place.dir)?;
    let identity = match &global.identity {
        Some(identity) => absolute(identity)?,
        None => client::default_identity()?,
    };
    std::fs::create_dir_all(dir.join("logs"))
        .map_err(|error| Failure::while_doing(format!("make {}", dir.display()), &error))?;
    let mut layout = Layout {
        version: 1,
        name: arguments.name.clone(),
        dir,
        subnet: arguments.subnet,
        agents: arguments.agents,
        operator_identity: identity,
        made_netns_mount: !network::netns_is_mounted(),
    };
    if let Some(earlier) = Layout::load(&layout.dir)? {
        if earlier.name != layout.name || earlier.subnet != layout.subnet {
            let why = format!("it is named {} and uses {}", earlier.name, earlier.subnet);
            let what = format!("there is another pool in {}", layout.dir.display());
            return Err(Failure::new(
                what,
                why,
                "choose another --dir, or take that one away with: mezzo down --purge",
            ));
        }
        layout.operator_identity = earlier.operator_identity;
        layout.made_netns_mount |= earlier.made_netns_mount;
    }
    Ok(layout)
}

fn already_up(layout: &Layout) -> Failure {
    let next =
        format!("look at it with: mezzo agent list; or take it down with: mezzo down --dir {}", layout.dir.display());
    Failure::new(format!("the pool in {} is up already", layout.dir.display()), "", next)
}

/// Nothing of the pool may run, and nothing of the machine be in the way. Then it is written down.
async fn check(layout: Layout) -> Result<Layout> {
    let left = Leftovers::find(&layout)?;
    if let Some(dir) = left.other_pool(&layout) {
        let what = format!("there is another pool called '{}' on this machine", layout.name);
        let next = format!("choose another --name, or take that one down with: mezzo down --dir {}", dir.display());
        return Err(Failure::new(what, format!("its directory is {}", dir.display()), next));
    }
    if !left.processes.is_empty() {
        let why = format!("its supervisor is gone, but there are still {}", left.summary());
        let next = format!("take it down first, its state is kept: mezzo down --dir {}", layout.dir.display());
        return Err(Failure::new("a part of the pool is still up", why, next));
    }
    if !left.is_empty() {
        // Whoever made it was killed, and so was everything that used it.
        output::note(&format!("an earlier pool called '{}' was not taken down", layout.name));
        Box::pin(clean(&layout)).await?;
    }
    network::check_free(&layout)?;
    let is_new = !layout.master_dir().join("registry.redb").exists();
    if is_new && layout.operator_identity.join("cert.pem").exists() {
        let what = format!("there is an identity in {} already", layout.operator_identity.display());
        let why = "it belongs to another pool and would be lost";
        return Err(Failure::new(what, why, "move it away, or name another directory with --identity"));
    }
    layout.save()?;
    Ok(layout)
}

/// Makes everything, keeps it running until asked to stop. What was made is not removed here.
async fn supervise(arguments: &Up, global: &Global, layout: &Layout) -> Result<()> {
    let own = ProcessId::of(i32::try_from(std::process::id()).unwrap_or(0));
    Pids { supervisor: own }.save(&layout.dir)?;
    if !layout.master_dir().join("registry.redb").exists() {
        let mut init = master::MasterInit::new(layout.master_dir(), &layout.operator_identity);
        init.pool = layout.name.clone();
        let made = master::init(&init);
        made.map_err(|error| Failure::while_doing(format!("make a pool in {}", layout.dir.display()), &error))?;
    }
    network::make_bridge(layout)?;
    for number in layout.numbers() {
        network::make_netns(layout, number)?;
    }
    let (stop, stopped) = watch::channel(false);
    let mut programs = JoinSet::new();
    programs.spawn(supervise::keep_running(layout.clone(), master_program(arguments, layout)?, stopped.clone()));
    let work = async {
        let pool = Pool::with_identity(&layout.master_address(), &layout.operator_identity)?;
        wait_for_master(&pool, layout).await?;
        for number in layout.numbers() {
            let request = CreateJoinTokenRequest { valid_seconds: 3600 };
            let token =
                pool.operator().create_join_token(request).await.map_err(|status| pool.refused(&status))?.into_inner();
            let program = agent_program(arguments, layout, number, token)?;
            programs.spawn(supervise::keep_running(layout.clone(), program, stopped.clone()));
        }
        let agents = wait_for_agents(&pool, layout).await?;
        if !arguments.supervise {
            tell(global, layout, &agents)?;
            output::note("Ctrl-C takes the pool down");
        }
        std::future::pending::<Result<()>>().await
    };
    let result = tokio::select! {
        result = Box::pin(work) => result,
        () = daemon::shutdown::signal() => Ok(()),
    };
    let _ = stop.send(true);
    while programs.join_next().await.is_some() {}
    result
}

fn master_program(arguments: &Up, layout: &Layout) -> Result<Program> {
    let mut words = vec!["master".to_owned(), "run".to_owned(), "--dir".to_owned(), path(&layout.master_dir())];
    let address = layout.master_address();
    words.extend(["--listen".to_owned(), address.clone(), "--advertise".to_owned(), address]);
    // The address that everybody tries first, unless it is taken.
    if std::net::TcpListener::bind(client::MASTER).is_ok() {
        words.extend(["--listen".to_owned(), client::MASTER.to_owned()]);
    } else {
        output::note(&format!("note: {} is taken; use --master {}", client::MASTER, layout.master_address()));
    }
    for framework in &arguments.privileged {
        words.extend(["--privileged".to_owned(), framework.clone()]);
    }
    for folder in &arguments.catalog {
        words.extend(["--catalog".to_owned(), path(&absolute(folder)?)]);
    }
    Ok(Program { name: "master".to_owned(), path: daemons::program()?, arguments: words, environment: BTreeMap::new() })
}

/// What agents are told beside processors, memory and disk.
fn more_resources(arguments: &Up) -> Vec<String> {
    let pressure = arguments.preempt_at_pressure.map(|percent| percent.to_string());
    let flags = [
        ("--resources", arguments.resources.clone()),
        ("--oversubscribe", arguments.oversubscribe.clone()),
        ("--preempt-at-pressure", pressure),
    ];
    let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?]));
    given.flatten().collect()
}

fn agent_program(arguments: &Up, layout: &Layout, number: u8, token: JoinToken) -> Result<Program> {
    let program = daemons::program()?;
    let dir = layout.agent_dir(number);
    std::fs::create_dir_all(&dir).map_err(|error| Failure::while_doing(format!("make {}", dir.display()), &error))?;
    let mut words = vec!["enclose".to_owned(), "--netns".to_owned(), path(&layout.netns_path(number))];
    words.extend(["--hide".to_owned(), path(&layout.dir), "--hide".to_owned(), path(&layout.operator_identity)]);
    words.extend(["--keep".to_owned(), path(&dir), "--".to_owned(), path(&program)]);
    words.extend(["agent".to_owned(), "run".to_owned(), "--dir".to_owned(), path(&dir)]);
    for (flag, value) in [
        ("--name", layout.agent(number)),
        ("--address", layout.subnet.agent(number).to_string()),
        ("--master", layout.master_address()),
        ("--cpus", arguments.cpus.to_string()),
        ("--mem", format!("{}MiB", arguments.mem)),
        ("--disk", format!("{}MiB", arguments.disk)),
        ("--ports", PORTS.to_owned()),
    ] {
        words.extend([flag.to_owned(), value]);
    }
    words.extend(more_resources(arguments));
    // Arguments can be read by everybody on the machine, the environment only by root.
    let environment =
        BTreeMap::from([("MEZZO_JOIN_TOKEN".to_owned(), token.token), ("MEZZO_CA_SHA256".to_owned(), token.ca_sha256)]);
    Ok(Program { name: layout.agent(number), path: program, arguments: words, environment })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

async fn wait_for_master(pool: &Pool, layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + limits::UP_TIME;
    loop {
        match pool.operator().get_master(GetMasterRequest {}).await {
            Ok(_) => return Ok(()),
            Err(status) if Instant::now() > deadline => {
                return Err(pool.refused(&status).next(format!("see {}", layout.log("master").display())));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn wait_for_agents(pool: &Pool, layout: &Layout) -> Result<Vec<AgentDescription>> {
    let deadline = Instant::now() + limits::UP_TIME;
    let wanted: Vec<String> = layout.numbers().map(|number| layout.agent(number)).collect();
    loop {
        let listed = pool.operator().list_agents(ListAgentsRequest {}).await;
        let agents: Vec<AgentDescription> = listed.map(|list| list.into_inner().agents).unwrap_or_default();
        let connected = |name: &String| agents.iter().any(|agent| agent.name == *name && agent.state == "connected");
        match wanted.iter().find(|name| !connected(name)) {
            None => return Ok(agents),
            Some(missing) if Instant::now() > deadline => {
                let next = format!("see {}", layout.log(missing).display());
                return Err(Failure::new(format!("agent {missing} has not registered"), "", next));
            }
            Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Starts the supervisor in the background and waits for what it brings about.
async fn detach(arguments: &Up, global: &Global, layout: &Layout) -> Result<()> {
    // Refusals are told here, by the process the user sees.
    match Lock::take(&layout.dir)? {
        Some(lock) => drop(lock),
        None => return Err(already_up(layout)),
    }
    let layout = check(layout.clone()).await?;
    let log_path = layout.log("supervisor");
    let mut child = start_supervisor(arguments, &layout, &log_path)?;
    let pool = async {
        // The identity is made by the supervisor.
        let deadline = Instant::now() + limits::UP_TIME;
        while !layout.operator_identity.join("key.pem").exists() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pool = Pool::with_identity(&layout.master_address(), &layout.operator_identity)?;
        wait_for_master(&pool, &layout).await?;
        wait_for_agents(&pool, &layout).await
    };
    let result = tokio::select! {
        agents = Box::pin(pool) => agents,
        ended = child.wait() => {
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(Failure::new("the pool did not come up", format!("its supervisor ended ({how}): {}", tail(&log_path)), format!("see {}", log_path.display())))
        }
        () = daemon::shutdown::signal() => Err(Failure::new("bringing the pool up was interrupted", "", "")),
    };
    match result {
        Ok(agents) => {
            tell(global, &layout, &agents)?;
            output::note(&format!(
                "the pool runs in the background; take it down with: mezzo down{}",
                dir_flag(&layout)
            ));
            Ok(())
        }
        Err(failure) => {
            output::note("taking the pool down");
            let _ = child.start_kill();
            let _ = child.wait().await;
            if let Err(left) = clean(&layout).await {
                output::note(&left.to_string());
            }
            Err(failure)
        }
    }
}

fn start_supervisor(arguments: &Up, layout: &Layout, log_path: &Path) -> Result<tokio::process::Child> {
    let failed = |error: std::io::Error| Failure::while_doing("start the supervisor", &error);
    let log = std::fs::File::create(log_path).map_err(failed)?;
    let errors = log.try_clone().map_err(failed)?;
    let mut command = tokio::process::Command::new(daemons::program()?);
    command.args(["up", "--supervise", "--dir"]).arg(&layout.dir).arg("--identity").arg(&layout.operator_identity);
    for (flag, value) in [
        ("--agents", arguments.agents.to_string()),
        ("--cpus", arguments.cpus.to_string()),
        ("--mem", format!("{}MiB", arguments.mem)),
        ("--disk", format!("{}MiB", arguments.disk)),
        ("--name", arguments.name.clone()),
        ("--subnet", arguments.subnet.to_string()),
    ] {
        command.args([flag, &value]);
    }
    command.args(more_resources(arguments));
    for framework in &arguments.privileged {
        command.args(["--privileged", framework]);
    }
    for folder in &arguments.catalog {
        command.arg("--catalog").arg(absolute(folder)?);
    }
    command.env(MARK, &layout.dir).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().map_err(failed)
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with("error:"))
        .or_else(|| text.lines().last())
        .unwrap_or("it said nothing")
        .to_owned()
}

fn dir_flag(layout: &Layout) -> String {
    if layout.dir == Path::new("/var/lib/mezzo") { String::new() } else { format!(" --dir {}", layout.dir.display()) }
}

fn tell(global: &Global, layout: &Layout, agents: &[AgentDescription]) -> Result<()> {
    let is_default: bool = client::default_identity().is_ok_and(|path: PathBuf| path == layout.operator_identity);
    let identity =
        if is_default { String::new() } else { format!(" --identity {}", layout.operator_identity.display()) };
    output::note(&format!(
        "pool '{}' is up: master {}, {} agents on bridge {} ({})\n  state and logs: {}\n  operator's identity: {}\n  next: mezzo --master {}{identity} catalog search",
        layout.name,
        layout.master_address(),
        layout.agents,
        layout.bridge(),
        layout.subnet,
        layout.dir.display(),
        layout.operator_identity.display(),
        layout.master_address(),
    ));
    let list = proto::mezzo::v1::AgentList { agents: agents.to_vec() };
    match global.output {
        Format::Json => output::json(&list),
        Format::Table => output::data(Format::Table, &list, |list| crate::commands::agent::rows(&list.agents)),
    }
}
