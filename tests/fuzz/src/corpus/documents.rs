//! JSON documents, and what comes with them.
use std::collections::BTreeMap;

use agent_core::{AgentRecord, LaunchRecord, PodId, ProgressRecord, TaskLaunch};
use model::gateway::{Backend, Table, Unheard, VipEntry};
use model::link::FrameworkRef;
use model::{ExecutorId, FrameworkId, Principal, Resources, RoleName, TaskId, Timestamp};
use prost::Message as _;
use proto::convert;
use serde::Serialize;
use serde_json::json;

use super::wire::{some_resources, some_task};
use crate::parts;

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON")
}

/// Checkpoints of an agent.
pub fn checkpoints() -> Vec<Vec<u8>> {
    let agent = AgentRecord { version: 1, epoch_seen: 3, holdings: some_resources().holdings(), ..Default::default() };
    let task = convert::task::task_from_info(&some_task("web")).expect("a good task");
    let pod_id: PodId = serde_json::from_value(json!("1-pod")).expect("a pod's id");
    let framework = FrameworkRef {
        id: FrameworkId::new("f-1").expect("valid"),
        name: "fuzz".to_owned(),
        role: RoleName::new("team").expect("valid"),
        principal: Principal::new("framework/fuzz"),
    };
    let launch = LaunchRecord {
        version: 1,
        pod_id: pod_id.clone(),
        framework,
        executor_id: ExecutorId::new("pod.1").expect("valid"),
        executor: [].into(),
        executor_resources: Resources::default(),
        tasks: vec![TaskLaunch { head: task.head, payload: task.payload }],
        privileged_allowed: true,
        admitted: Timestamp(7),
    };
    let progress = ProgressRecord {
        version: 1,
        pod_id,
        started: true,
        ended: Some(Timestamp(9)),
        seen: 7,
        shut_down: false,
        tasks: Vec::new(),
    };
    vec![bytes(&agent), bytes(&launch), bytes(&progress)]
}

/// Entries of a scheduler's state.
pub fn framework_state() -> Vec<Vec<u8>> {
    let definition = json!({"name": "web", "command": {"argv": ["./web"]}, "resources": {"cpus": 0.1, "mem_mib": 32}});
    let definition = services::ServiceDefinition::parse(definition.to_string().as_bytes()).expect("valid");
    let record = services::ServiceRecord { generation: 1, definition };
    let role = RoleName::new("services").expect("valid");
    let target = services::spec::target(role, &BTreeMap::from([("web".to_owned(), record)]));
    [
        ("sdk/meta", bytes(&framework_core::record::Meta::default())),
        ("sdk/target", bytes(&target)),
        ("sdk/good", bytes(&target)),
        (
            "sdk/unit/web-0",
            json!({"key": {"instance": "web-0", "part": ""}, "record": framework_core::record::UnitRecord::default()})
                .to_string()
                .into(),
        ),
        ("sdk/decommission/web-0", b"{}".to_vec()),
        ("sdk/plan/deploy", b"{}".to_vec()),
    ]
    .map(|(key, value)| parts::join(&[key.as_bytes(), &value]))
    .into()
}

/// Tables of the gateway.
pub fn tables() -> Vec<Vec<u8>> {
    let backend = |agent: u8| Backend {
        task: TaskId::new(format!("api-{agent}")).expect("valid"),
        agent: format!("a{agent}"),
        address: [10, 0, 0, agent].into(),
        port: 6443,
    };
    let table = |agents: &[u8]| Table {
        tag: "t1".to_owned(),
        names: [("api.demo.mezzo".to_owned(), vec!["10.0.0.1:6443".parse().expect("an address")])].into(),
        unheard: vec![Unheard { agent: "a1".to_owned(), address: [10, 0, 0, 1].into() }],
        vip_range: "198.18.0.0/16".to_owned(),
        routable: ["10.9.0.0/16".to_owned()].into(),
        vips: vec![VipEntry {
            framework_id: FrameworkId::new("f-1").expect("valid"),
            name: "api".to_owned(),
            address: [198, 18, 0, 1].into(),
            ports: [(443, agents.iter().map(|agent| backend(*agent)).collect())].into(),
        }],
        ..Table::default()
    };
    vec![
        parts::join(&[bytes(&table(&[1, 2])), bytes(&table(&[2, 3]))]),
        parts::join(&[bytes(&Table::default()), bytes(&table(&[1]))]),
    ]
}

/// Definitions of services.
pub fn services() -> Vec<Vec<u8>> {
    let small = json!({"name": "web", "command": {"argv": ["./web"]}, "resources": {"cpus": 0.1, "mem_mib": 32}});
    let full = json!({
        "name": "web", "package": "p", "kind": "job", "count": 2, "image": "pool/web:1",
        "command": {"argv": ["./web", "-v"], "user": "web"}, "resources": {"cpus": 1.5, "mem_mib": 32, "disk_mib": 8},
        "ports": [{"name": "api", "external": true}, {"name": "fixed", "number": 25000}],
        "artifacts": [{"digest": format!("sha256:{}", "0".repeat(64)), "file": "web", "executable": true, "extract": false}],
        "environment": {"A": "b"}, "readiness": {"port": "api", "path": "/v1/health", "plain": true},
        "identity": true, "options": {"password": "x"}, "restart": {"backoff_ms_min": 1, "backoff_ms_max": 2},
        "kill_grace_ms": 100
    });
    vec![bytes(&small), bytes(&full)]
}

/// Packages.
pub fn packages() -> Vec<Vec<u8>> {
    let about = "name = \"hello\"\nversion = \"0.1.0\"\nsummary = \"s\"\nservice = \"service.json.j2\"\nartifacts = [\"hello\"]\nnext_steps = [\"go to {name}\"]\n";
    let schema = json!({"type": "object", "properties": {
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2},
        "message": {"type": "string", "pattern": "^[a-z]+$", "default": "hello", "immutable": true},
        "node": {"type": "object", "properties": {"labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
        "list": {"type": "array", "items": {"enum": ["a", "b"]}, "default": ["a"], "uniqueItems": true},
    }});
    let template = "{\"name\": {{ name|json }}, \"count\": {{ options.count }}, \"digest\": {{ artifacts.hello|json }},\n\
                    {% for item in options.list %}\"{{ item }}\": {{ loop.index }},{% endfor %}\n\
                    {% if options.node.labels %}\"labels\": {{ options.node.labels|json }},{% endif %}\n\
                    \"message\": {{ options.message|json }}, \"version\": \"{{ package.version }}\"}";
    let of = |options: serde_json::Value| {
        parts::join(&[
            about.as_bytes(),
            schema.to_string().as_bytes(),
            template.as_bytes(),
            options.to_string().as_bytes(),
        ])
    };
    vec![of(json!({})), of(json!({"count": 3, "message": "hi", "list": ["a", "b"], "node": {"labels": {"x": "y"}}}))]
}

/// Options of clusters, and a backup's manifest.
pub fn options() -> Vec<Vec<u8>> {
    let options = kubernetes_core::Options::default();
    let manifest = json!({
        "format": 1, "id": "demo-7", "cluster": "demo", "created": 7, "reason": "asked", "made_by": "0.1.0",
        "etcd_version": "3.4.23", "options": options, "revision": 9, "objects": {"pods": 1}, "images": [],
        "parts": [{"name": "etcd/00000", "bytes": 3, "sha256": "00"}], "snapshot_bytes": 3, "snapshot_sha256": "00",
        "secrets_sha256": "00",
    });
    let some = json!({"node_count": 3, "high_availability": true, "node": {"cpus": 1.5, "labels": {"a": "b"},
        "kubelet_extra_args": {"v": 4}}, "kube_apiserver": {"extra_args": {"audit-log-maxage": 30}},
        "service_cidr": "10.97.0.0/16", "cluster_domain": "example.local", "backup": {"interval": 60, "retention": 3}});
    vec![
        bytes(&options),
        bytes(&manifest),
        bytes(&some),
        b"{}".to_vec(),
        b"10.96.0.0/12".to_vec(),
        b"/registry/services/specs/default/web".to_vec(),
        b"backup-00000000007-scheduled.tar".to_vec(),
    ]
}

fn digest(fill: &str) -> String {
    format!("sha256:{}", fill.repeat(64))
}

fn image_configuration() -> serde_json::Value {
    json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest("1")]},
        "config": {"User": "web:log", "Env": ["A=b", "PATH=/bin"], "Entrypoint": ["/entry"], "Cmd": ["x"], "WorkingDir": "/srv"}})
}

/// Documents of images, and names.
pub fn images() -> Vec<Vec<u8>> {
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest("0"), "size": 7},
        "layers": [{"mediaType": layer, "digest": digest("1"), "size": 9}]});
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest("0"), "size": 7, "platform": {"architecture": "amd64", "os": "linux"}}]});
    let header = "eyJmaWxlIjoiYXBwLnRhciIsImltYWdlcyI6WyJhOjEiXSwiYmFzZSI6bnVsbH0=";
    let of =
        |document: &serde_json::Value, name: &str| parts::join(&[document.to_string().as_bytes(), name.as_bytes()]);
    vec![
        of(&manifest, "pool/node:1.20.2"),
        of(&index, "oci:/srv/x.tar:v1"),
        of(
            &image_configuration(),
            "registry.example:5000/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ),
        of(&json!(null), header),
    ]
}

/// Tasks with what their images say.
pub fn containers() -> Vec<Vec<u8>> {
    let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\n";
    let group = "root:x:0:\nweb:x:34:\nlog:x:4:web,other\n";
    let task = some_task("web");
    let mut bare = task.clone();
    bare.command = None;
    let of = |task: &proto::mesos::v1::TaskInfo| {
        let image = image_configuration().to_string();
        parts::join(&[&task.encode_to_vec()[..], image.as_bytes(), passwd.as_bytes(), group.as_bytes()])
    };
    vec![of(&task), of(&bare)]
}
