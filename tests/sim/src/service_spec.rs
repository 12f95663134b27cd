//! What the service of the simulator wants to be: servers with a readiness check, one with data on its agent, and a job
//! that ends.
use framework_core::spec::{
    CheckKind, CheckSpec, DecommissionSpec, Goal, PlacementRule, PodSpec, PortKind, PortSpec, Propagation, ServiceSpec,
    TaskSpec, VolumeSource, VolumeSpec,
};
use model::{Milli, RoleName, Span};

/// Tasks of this name report that they are ready a while after they started.
pub(crate) const SERVER: &str = "server";
/// Tasks of this name end by themselves.
pub(crate) const JOB: &str = "job";

fn task(name: &str) -> TaskSpec {
    TaskSpec {
        name: name.to_owned(),
        argv: vec!["/bin/serve".to_owned()],
        cpus: Milli(250),
        mem: Milli::units(64),
        kill_grace: Some(Span::millis(200)),
        ..TaskSpec::default()
    }
}

fn pod(name: &str, count: u32, tasks: Vec<TaskSpec>) -> PodSpec {
    PodSpec {
        name: name.to_owned(),
        count,
        tasks,
        executor_cpus: Milli(50),
        executor_mem: Milli::units(16),
        decommission: Some(DecommissionSpec {
            before_kill: Some("drain".to_owned()),
            after_kill: Some("forget".to_owned()),
        }),
        replace_unreachable_after: Some(Span::seconds(45)),
        ..PodSpec::default()
    }
}

/// The target, with so many web servers of such a configuration.
pub(crate) fn spec(name: &str, role: RoleName, servers: u32, configuration: u64) -> ServiceSpec {
    let mut server = task(SERVER);
    server.ports.push(PortSpec { name: "http".to_owned(), kind: PortKind::Any });
    server.readiness = Some(CheckSpec::new(CheckKind::http("http", "/")));
    let mut web = pod("web", servers, vec![server, task("sidecar")]);
    web.configuration.insert("version".to_owned(), configuration.to_string());
    let mut keeper = task("keeper");
    keeper.volumes.push(VolumeSpec {
        container_path: "/data".to_owned(),
        source: VolumeSource::Persistent { name: "data".to_owned(), size_mib: 40 },
        propagation: Propagation::Private,
        read_only: false,
    });
    let mut data = pod("data", 1, vec![keeper]);
    data.placement.push(PlacementRule::UniquePerAgent);
    let mut job = task(JOB);
    job.goal = Goal::Finish;
    let mut service = ServiceSpec::new(name, role, vec![data, pod("setup", 1, vec![job]), web]);
    service.uninstall_before_kill = vec!["farewell".to_owned()];
    service
}
