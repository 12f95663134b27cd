//! What resources can be beyond processors and memory, from an agent's flags to a file on its disk: gpus, further disks, volumes
//! that several tasks share, and what may be taken back.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::scheduler::{Scheduler, script};
use e2e::{Machine, Pool, Program, until};
use model::call::{Capability, Offer, Operation};
use model::resources::Volume;
use model::{Disk, Holding, Milli, Principal, Quantities, Reservation, Resources, RoleName, TaskState, VolumeId};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

const SOON: Duration = Duration::from_secs(60);
const AGENT: &str = "e2e-agent-1";

/// Ends when it is told to; as the first process of its container it would be deaf otherwise.
const UNTIL_TOLD: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// Two directories of the machine that are given to the agent: one to be divided, one whole file system.
struct Disks {
    place: tempfile::TempDir,
}

impl Disks {
    fn make() -> Result<Self> {
        let place = tempfile::Builder::new().prefix("mezzo-disks-").tempdir_in("/var/tmp").context("make a place")?;
        let disks = Self { place };
        for name in ["path", "whole"] {
            fs::create_dir(disks.at(name)).context("make a directory")?;
        }
        mount(Some("whole"), &disks.at("whole"), Some("tmpfs"), MsFlags::empty(), Some("size=64m")).context("mount")?;
        Ok(disks)
    }
    fn at(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }
    fn path(&self) -> Disk {
        Disk::Path(self.at("path").display().to_string())
    }
    fn whole(&self) -> Disk {
        Disk::Mount(self.at("whole").display().to_string())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.at("whole"), MntFlags::MNT_DETACH) {
            eprintln!("still mounted: {error}");
        }
    }
}

fn amount(cpus: i64, mem: i64) -> Quantities {
    Quantities { cpus: Milli(cpus), mem: Milli::units(mem), ..Quantities::default() }
}

fn together(parts: &[&Resources]) -> Resources {
    let mut sum = Resources::default();
    parts.iter().for_each(|part| sum.add(part));
    sum
}

fn reservation() -> Reservation {
    let role = RoleName::new("kern").expect("a plain name");
    Reservation::new(role, Principal::new("framework/kern"), std::collections::BTreeMap::new())
}

/// Reserved disk, and a volume of it that containers see as `data` in their sandbox.
fn volume(id: &str, disk: Disk, size: i64, shared: bool) -> (Resources, Resources) {
    let quantities = Quantities::of_disk(Some(disk), Milli::units(size));
    let volume = Volume { id: VolumeId::new(id).expect("a plain name"), container_path: "data".to_owned(), shared };
    let holding = Holding { volume: Some(volume), ..Holding::plain(reservation()) };
    (Resources::held_as(Holding::plain(reservation()), quantities.clone()), Resources::held_as(holding, quantities))
}

#[test]
fn rarer_resources_are_offered_and_used() -> Result<()> {
    let before = Machine::look()?;
    let disks = Disks::make()?;
    let resources =
        format!("gpus:2;disk[path:{}]:500;disk[mount:{}]:64", disks.at("path").display(), disks.at("whole").display());
    let pool = Pool::up(
        "kernel",
        1,
        &["--cpus", "2", "--mem", "1GiB", "--resources", &resources, "--oversubscribe", "cpus:2"],
    )?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("start")?;
    runtime.block_on(Box::pin(async {
        let identity = pool.scratch().join("kern");
        pool.mezzo(&["master", "identity", "framework/kern", "--to", &identity.display().to_string()]).run()?;
        let mut kern = Scheduler::subscribe(&pool.master()?, &identity, "kern").await?;
        gpus_are_for_those_who_say_that_they_want_some(&pool, &mut kern).await?;
        files_are_on_the_disk_that_was_asked_for(&disks, &mut kern).await?;
        a_shared_volume_is_not_destroyed_under_its_tasks(&disks, &mut kern).await?;
        what_may_be_taken_back_is_used(&mut kern).await?;
        a_service_takes_a_gpu(&pool, &mut kern).await?;
        kern.call(&model::call::Call::Teardown).await?.map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))
    }))?;
    drop(runtime);
    pool.expect_nothing_held("kern")?;
    pool.down()?;
    drop(disks);
    Machine::expect_nothing_new(&before)
}

/// Without the capability it gets nothing of the agent, and is told why; with it, all of it.
async fn gpus_are_for_those_who_say_that_they_want_some(pool: &Pool, kern: &mut Scheduler) -> Result<()> {
    until("the reason is known", SOON, || {
        let why = pool.mezzo(&["agent", "why", AGENT]).run()?;
        Ok(why.contains("has gpus") && why.contains("GPU_RESOURCES"))
    })?;
    ensure!(kern.offers.is_empty(), "it was offered {:?}", kern.offers);
    kern.declare(&[Capability::GpuResources, Capability::RevocableResources, Capability::SharedResources]).await?;
    let offer = kern.offer("gpus", |offer| offer.resources.unreserved.gpus == Milli::units(2)).await?;
    ensure!(offer.agent_name == AGENT, "it is of {}", offer.agent_name);
    Ok(())
}

fn has_disk(offer: &Offer, disk: &Disk) -> bool {
    offer.resources.unreserved.disks.contains_key(disk)
}

async fn files_are_on_the_disk_that_was_asked_for(disks: &Disks, kern: &mut Scheduler) -> Result<()> {
    let some = Resources::from(amount(100, 32));
    for (id, disk, size) in [("p", disks.path(), 100), ("w", disks.whole(), 64)] {
        let offer = kern.offer("a further disk", |offer| has_disk(offer, &disk)).await?;
        let (reserved, volume) = volume(id, disk, size, false);
        let launch = script(&offer, id, &format!("echo {id} > data/word"), &together(&[&some, &volume]), false)?;
        let done = kern.accept(&offer, vec![Operation::Reserve(reserved), Operation::Create(volume), launch]).await?;
        ensure!(done.is_ok(), "volume {id}: {done:?}");
        kern.told(id, TaskState::Finished).await?;
    }
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    ensure!(read(&disks.at("path").join("mezzo").join(AGENT).join("kern/p/word"))? == "p\n");
    ensure!(read(&disks.at("whole").join("word"))? == "w\n");
    // Given back, they are empty.
    for (id, disk, size) in [("p", disks.path(), 100), ("w", disks.whole(), 64)] {
        let (reserved, volume) = volume(id, disk, size, false);
        let offer = kern.offer("the volume", |offer| offer.resources.contains(&volume)).await?;
        let done = kern.accept(&offer, vec![Operation::Destroy(volume), Operation::Unreserve(reserved)]).await?;
        ensure!(done.is_ok(), "volume {id}: {done:?}");
    }
    until("the disks are empty", SOON, || {
        Ok(!disks.at("path").join("mezzo").join(AGENT).join("kern/p").exists()
            && !disks.at("whole").join("word").exists())
    })
}

async fn a_shared_volume_is_not_destroyed_under_its_tasks(disks: &Disks, kern: &mut Scheduler) -> Result<()> {
    let some = Resources::from(amount(100, 32));
    let (reserved, shared) = volume("s", disks.path(), 50, true);
    let uses = together(&[&some, &shared]);
    let offer = kern.offer("a further disk", |offer| has_disk(offer, &disks.path())).await?;
    let write = format!("echo hello > data/word; {UNTIL_TOLD}");
    // It ends well if it finds the word and cannot change it.
    let read =
        "while ! test -s data/word; do sleep 0.1; done; ! echo x 2>/dev/null > data/word && grep -q hello data/word";
    let operations = vec![
        Operation::Reserve(reserved.clone()),
        Operation::Create(shared.clone()),
        script(&offer, "writer", &write, &uses, false)?,
        script(&offer, "reader", read, &uses, true)?,
    ];
    let done = kern.accept(&offer, operations).await?;
    ensure!(done.is_ok(), "{done:?}");
    kern.told("writer", TaskState::Running).await?;
    kern.told("reader", TaskState::Finished).await?;
    let offer = kern.offer("the shared volume", |offer| offer.resources.contains(&shared)).await?;
    let refusal = kern.accept(&offer, vec![Operation::Destroy(shared.clone())]).await?.expect_err("it is in use");
    ensure!(refusal.message.contains("is used by something that runs"), "{refusal:?}");
    let task_id = model::TaskId::new("writer").context("make an id")?;
    let kill = model::call::Call::Kill { task_id, agent_id: None, grace: None };
    ensure!(kern.call(&kill).await?.is_ok());
    kern.told("writer", TaskState::Killed).await?;
    // What it wrote is there for the next one.
    let offer = kern.offer("the shared volume", |offer| offer.resources.contains(&shared)).await?;
    let done = kern.accept(&offer, vec![script(&offer, "later", "grep -q hello data/word", &uses, false)?]).await?;
    ensure!(done.is_ok(), "{done:?}");
    kern.told("later", TaskState::Finished).await?;
    let offer = kern.offer("the shared volume", |offer| offer.resources.contains(&shared)).await?;
    let done = kern.accept(&offer, vec![Operation::Destroy(shared), Operation::Unreserve(reserved)]).await?;
    ensure!(done.is_ok(), "{done:?}");
    Ok(())
}

/// That it is taken back when memory is short shows the agent's own test.
async fn what_may_be_taken_back_is_used(kern: &mut Scheduler) -> Result<()> {
    let loan = Resources { revocable: amount(1000, 0), ..Resources::default() };
    let (firm, memory) = (Resources::from(amount(200, 32)), Resources::from(amount(0, 32)));
    let is_lent = |offer: &Offer| offer.resources.revocable.cpus == Milli::units(2);
    let offer = kern.offer("what may be taken back", is_lent).await?;
    let operations = vec![
        script(&offer, "firm", UNTIL_TOLD, &firm, false)?,
        script(&offer, "lent", UNTIL_TOLD, &together(&[&loan, &memory]), false)?,
    ];
    let done = kern.accept(&offer, operations).await?;
    ensure!(done.is_ok(), "{done:?}");
    for task in ["firm", "lent"] {
        kern.told(task, TaskState::Running).await?;
    }
    for task in ["firm", "lent"] {
        let task_id = model::TaskId::new(task).context("make an id")?;
        ensure!(kern.call(&model::call::Call::Kill { task_id, agent_id: None, grace: None }).await?.is_ok());
        kern.told(task, TaskState::Killed).await?;
    }
    Ok(())
}

/// The framework that keeps services running is one of the SDK: it says that it wants gpus when a service asks for one.
async fn a_service_takes_a_gpu(pool: &Pool, kern: &mut Scheduler) -> Result<()> {
    let suppress = model::call::Call::Suppress { roles: std::collections::BTreeSet::new() };
    ensure!(kern.call(&suppress).await?.is_ok());
    let held: Vec<_> = std::mem::take(&mut kern.offers).into_iter().map(|offer| offer.id).collect();
    if !held.is_empty() {
        let decline = model::call::Call::Decline { offers: held, filter: model::call::Filter::default() };
        ensure!(kern.call(&decline).await?.is_ok());
    }
    let service = |verb: &str, body: Option<&str>| -> Result<String> {
        let identity = pool.scratch().join(".mezzo/identity");
        let file = |name: &str| identity.join(name).display().to_string();
        let master = pool.master()?;
        let address = master.split(':').next().context("read the master's address")?;
        let program = Program::new("curl").args(["--silent", "--show-error", "--fail-with-body", "--max-time", "10"]);
        let program =
            program.args(["--cacert", &file("ca.pem"), "--cert", &file("cert.pem"), "--key", &file("key.pem")]);
        let program = program.args(["--resolve", &format!("master.mezzo:5050:{address}"), "--request", verb]);
        let program = match body {
            Some(body) => program.args(["--data", body]),
            None => program,
        };
        program.args(["https://master.mezzo:5050/service/services/v1/services/learning"]).run()
    };
    let definition = |gpus: &str| {
        format!(
            r#"{{"name": "learning", "command": {{"argv": ["/bin/sh", "-c", "{UNTIL_TOLD}"]}},
                "resources": {{"cpus": 0.1, "mem_mib": 32, "gpus": {gpus}}}}}"#
        )
    };
    ensure!(service("PUT", Some(&definition("0.5"))).is_err(), "half a gpu was accepted");
    service("PUT", Some(&definition("1")))?;
    until("the service runs", SOON, || {
        Ok(pool
            .tasks("services", false)?
            .iter()
            .any(|task| task.name.starts_with("learning") && task.state == "running"))
    })?;
    let agents = pool.json(&["agent", "show", AGENT])?;
    ensure!(agents.to_string().contains("gpus"), "the agent does not say what is used: {agents}");
    service("DELETE", None)?;
    until("the service is gone", SOON, || Ok(pool.tasks("services", false)?.is_empty()))
}
