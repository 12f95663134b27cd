//! From service definitions to what the SDK keeps running: one pod per service, all of them at the same time.
use std::collections::BTreeMap;

use framework_sdk::spec::{
    ArtifactSpec, CheckKind, CheckSpec, DEPLOY, DecommissionSpec, DiscoverySpec, Goal, PhaseSpec, PlanSpec, PodSpec,
    PortKind, PortRef, PortSpec, RestartPolicy, Root, ServiceSpec, Strategy, TaskSpec,
};
use model::{Milli, RoleName, Span};

use crate::definition::{Kind, ServiceDefinition};
use crate::record::ServiceRecord;

/// The framework's own name.
pub const NAME: &str = "services";
/// The one task of every pod.
pub(crate) const TASK: &str = "main";
/// How long an unreachable agent is waited for before a service is started elsewhere.
const REPLACE_UNREACHABLE_AFTER: Span = Span::seconds(60);
/// The same for a framework's scheduler. While it is away nobody looks after its framework, which may have lost more on that
/// agent; and it can be in two places: the one that returns is refused by the master as superseded.
const REPLACE_SCHEDULER_AFTER: Span = Span::seconds(5);

/// The target: every service.
pub fn target(role: RoleName, records: &BTreeMap<String, ServiceRecord>) -> ServiceSpec {
    let pods: Vec<PodSpec> = records.values().map(pod).collect();
    let mut spec = ServiceSpec::new(NAME, role, pods);
    let phases = spec.pods.iter().map(|pod| PhaseSpec::pod(&pod.name, Strategy::Parallel)).collect();
    spec.plans = vec![PlanSpec { name: DEPLOY.to_owned(), strategy: Strategy::Parallel, phases }];
    spec
}

fn pod(record: &ServiceRecord) -> PodSpec {
    let definition = &record.definition;
    PodSpec {
        name: definition.name.clone(),
        count: definition.count,
        tasks: vec![task(definition)],
        executor_cpus: Milli(10),
        executor_mem: Milli::units(16),
        decommission: Some(DecommissionSpec::default()),
        replace_unreachable_after: Some(if definition.identity {
            REPLACE_SCHEDULER_AFTER
        } else {
            REPLACE_UNREACHABLE_AFTER
        }),
        // Options are not part of the task's specification (they may hold secrets), yet a change of them must roll it.
        configuration: BTreeMap::from([("generation".to_owned(), record.generation.to_string())]),
        ..PodSpec::default()
    }
}

fn task(definition: &ServiceDefinition) -> TaskSpec {
    let ports = definition
        .ports
        .iter()
        .map(|port| PortSpec { name: port.name.clone(), kind: port.number.map_or(PortKind::Any, PortKind::Fixed) });
    let artifacts = definition.artifacts.iter().map(|artifact| ArtifactSpec {
        uri: format!("artifact:{}", artifact.digest),
        output_file: Some(artifact.file.clone()),
        executable: artifact.executable,
        extract: artifact.extract,
    });
    let restart = match definition.kind {
        Kind::Service => RestartPolicy::InPlace {
            backoff_min: Span::millis(definition.restart.backoff_ms_min.into()),
            backoff_max: Span::millis(definition.restart.backoff_ms_max.into()),
        },
        Kind::Job => RestartPolicy::GroupDies,
    };
    let external: Vec<String> =
        definition.ports.iter().filter(|port| port.external).map(|port| port.name.clone()).collect();
    TaskSpec {
        name: TASK.to_owned(),
        goal: match definition.kind {
            Kind::Service => Goal::Running,
            Kind::Job => Goal::Finish,
        },
        root: definition.image.clone().map_or(Root::Host, Root::Image),
        argv: definition.command.argv.clone(),
        env: definition.environment.clone(),
        user: (!definition.command.user.is_empty()).then(|| definition.command.user.clone()),
        cpus: milli(definition.resources.cpus),
        mem: Milli::units(definition.resources.mem_mib.into()),
        disk: Milli::units(definition.resources.disk_mib.into()),
        gpus: Milli::units(definition.resources.gpus.into()),
        ports: ports.collect(),
        artifacts: artifacts.collect(),
        readiness: readiness(definition),
        restart,
        kill_grace: Some(Span::millis(definition.kill_grace_ms.into())),
        discovery: Some(DiscoverySpec { name: definition.name.clone(), external, vip: None }),
        ..TaskSpec::default()
    }
}

/// A framework's API listens on the agent's address alone, where its executor's checks do not look: it is probed from
/// here, under the name its identity has (`framework.rs`).
fn readiness(definition: &ServiceDefinition) -> Option<CheckSpec> {
    let readiness = definition.readiness.as_ref().filter(|_| !definition.identity)?;
    let port = PortRef::Name(readiness.port.clone());
    if readiness.path.is_empty() {
        return Some(CheckSpec::new(CheckKind::Tcp(port)));
    }
    let scheme = if readiness.plain { "http" } else { "https" };
    Some(CheckSpec::new(CheckKind::Http {
        scheme: scheme.to_owned(),
        host: String::new(),
        port,
        path: readiness.path.clone(),
        ca_file: String::new(),
        cert_file: String::new(),
        key_file: String::new(),
    }))
}

/// Thousandths, rounded up: nobody gets less than asked for.
#[allow(clippy::cast_possible_truncation)] // bounded by ServiceDefinition::parse
fn milli(cpus: f64) -> Milli {
    Milli((cpus * 1000.0 - 1e-6).ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(generation: u64) -> ServiceRecord {
        let definition = json!({
            "name": "web", "count": 2, "command": {"argv": ["./web", "-v"]}, "resources": {"cpus": 0.1, "mem_mib": 32, "disk_mib": 8},
            "ports": [{"name": "api", "external": true}, {"name": "fixed", "number": 25000}],
            "artifacts": [{"digest": format!("sha256:{}", "0".repeat(64)), "file": "web", "executable": true}],
            "readiness": {"port": "api", "path": "/v1/health"}, "identity": true, "options": {"password": "x"}
        });
        ServiceRecord {
            generation,
            definition: ServiceDefinition::parse(definition.to_string().as_bytes()).expect("valid"),
        }
    }

    #[test]
    fn a_service_becomes_a_valid_pod_that_tells_nothing_of_its_options() {
        let spec = target(RoleName::new(NAME).expect("valid"), &BTreeMap::from([("web".to_owned(), record(1))]));
        spec.validate().expect("valid");
        let pod = spec.pod("web").expect("there");
        let task = &pod.tasks[0];
        assert_eq!((pod.count, task.cpus, task.goal), (2, Milli(100), Goal::Running));
        assert_eq!(task.artifacts[0].uri, format!("artifact:sha256:{}", "0".repeat(64)));
        assert_eq!(task.ports[1].kind, PortKind::Fixed(25000));
        assert_eq!(task.readiness, None, "a framework is probed");
        assert_eq!(pod.replace_unreachable_after, Some(REPLACE_SCHEDULER_AFTER));
        assert!(!serde_json::to_string(&spec).expect("serializes").contains("password"));
    }

    #[test]
    fn new_options_roll_the_service() {
        let of = |generation| {
            target(RoleName::new(NAME).expect("valid"), &BTreeMap::from([("web".to_owned(), record(generation))]))
        };
        assert!(of(1).pods[0].runs_as(&of(1).pods[0]));
        assert!(!of(1).pods[0].runs_as(&of(2).pods[0]));
    }

    #[test]
    fn cpus_are_rounded_up_to_thousandths() {
        assert_eq!([0.1, 0.0011, 1.0, 2.5].map(|cpus| milli(cpus).0), [100, 2, 1000, 2500]);
    }
}
