//! What a service is: the JSON that packages render and that `PUT /v1/services/<name>` takes.
use std::collections::BTreeMap;

use model::Refusal;
use serde::{Deserialize, Serialize};

use crate::limits;

/// Something to keep running, or to run once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceDefinition {
    /// A DNS label of at most 24 characters; also its identity's name.
    pub name: String,
    /// Which package and version rendered it; for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub package: String,
    /// Kept running, or run to its end once.
    #[serde(default)]
    pub kind: Kind,
    /// How many instances. A framework's scheduler has one.
    #[serde(default = "one")]
    pub count: u32,
    /// What runs.
    pub command: Command,
    /// Files fetched into the sandbox before it starts.
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// The image it runs in; without one it sees the agent's own files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What one instance takes.
    pub resources: Resources,
    /// Ports it needs; each is told to it as `MEZZO_PORT_<NAME>`.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// More environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Put into a file whose path it finds in `MEZZO_OPTIONS`. Options may hold secrets and are kept as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<serde_json::Value>,
    /// Whether it is a framework's scheduler: it then gets the identity `framework/<name>` and the master's address.
    #[serde(default)]
    pub identity: bool,
    /// When it is ready. Without this: when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// How it is started again.
    #[serde(default)]
    pub restart: Restart,
    /// How long it has between SIGTERM and SIGKILL.
    #[serde(default = "kill_grace")]
    pub kill_grace_ms: u32,
}

fn one() -> u32 {
    1
}
fn is_zero(amount: &u32) -> bool {
    *amount == 0
}
fn kill_grace() -> u32 {
    5_000
}

/// What its end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Its end is a failure: it is started again.
    #[default]
    Service,
    /// It is run until it has ended well once.
    Job,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments; a relative program is looked for in the sandbox.
    pub argv: Vec<String>,
    /// The user, by name or number; root if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
}

/// A file of the pool's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// `sha256:<hex>`.
    pub digest: String,
    /// Its name in the sandbox.
    pub file: String,
    /// Whether it is made executable.
    #[serde(default)]
    pub executable: bool,
    /// Whether it is an archive to unpack.
    #[serde(default)]
    pub extract: bool,
}

/// What one instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processors.
    pub cpus: f64,
    /// Memory in MiB.
    pub mem_mib: u32,
    /// Disk in MiB.
    #[serde(default)]
    pub disk_mib: u32,
    /// Gpus, whole ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gpus: u32,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// `[a-z0-9-]`.
    pub name: String,
    /// A certain number; any free one without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// Whether the gateway passes TLS for `<name>.services.mezzo` through to it.
    #[serde(default)]
    pub external: bool,
}

/// When an instance is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// Name of one of its ports.
    pub port: String,
    /// With a path: an HTTPS GET of it succeeds. Without: the port can be connected to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Plain HTTP instead of HTTPS.
    #[serde(default)]
    pub plain: bool,
}

/// How an instance is started again: the pause doubles from the first to the second bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restart {
    /// The first pause.
    pub backoff_ms_min: u32,
    /// The longest pause.
    pub backoff_ms_max: u32,
}

impl Default for Restart {
    fn default() -> Self {
        Self { backoff_ms_min: 500, backoff_ms_max: 30_000 }
    }
}

/// The rule for names of services and their ports.
pub(crate) fn is_label(text: &str, length_max: usize) -> bool {
    !text.is_empty()
        && text.len() <= length_max
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl ServiceDefinition {
    /// Reads a definition and checks all of it.
    ///
    /// # Errors
    /// A [`Refusal`] naming the field at fault.
    pub fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let refuse = |field: &str, message: String| {
            Err(Refusal::new("SVC0001", message, "correct the definition and send it again").at(field))
        };
        let definition: Self = match serde_json::from_slice(json) {
            Ok(definition) => definition,
            Err(error) => return refuse("", format!("this is no service definition: {error}")),
        };
        if !is_label(&definition.name, limits::NAME_LENGTH_MAX) {
            return refuse(
                "name",
                format!("'{}' is no DNS label of at most {} characters", definition.name, limits::NAME_LENGTH_MAX),
            );
        }
        if definition.count > limits::INSTANCES_MAX {
            return refuse("count", format!("{} instances are more than {}", definition.count, limits::INSTANCES_MAX));
        }
        if definition.command.argv.first().is_none_or(String::is_empty) {
            return refuse("command.argv", "there is no program to run".to_owned());
        }
        if !(definition.resources.cpus.is_finite()
            && definition.resources.cpus >= 0.001
            && definition.resources.cpus <= 100_000.0)
        {
            return refuse("resources.cpus", format!("{} is no number of processors", definition.resources.cpus));
        }
        if definition.resources.mem_mib == 0 {
            return refuse("resources.mem_mib", "a service without memory cannot run".to_owned());
        }
        for (index, port) in definition.ports.iter().enumerate() {
            if !is_label(&port.name, limits::NAME_LENGTH_MAX)
                || definition.ports[..index].iter().any(|other| other.name == port.name)
            {
                return refuse(
                    &format!("ports[{index}].name"),
                    format!("'{}' is no unique port name of a-z, 0-9 and '-'", port.name),
                );
            }
        }
        for (index, artifact) in definition.artifacts.iter().enumerate() {
            let hex = artifact.digest.strip_prefix("sha256:").unwrap_or_default();
            if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                return refuse(
                    &format!("artifacts[{index}].digest"),
                    format!("'{}' is no sha256:<64 hex digits>", artifact.digest),
                );
            }
            if artifact.file.is_empty() || artifact.file.contains('/') || artifact.file == ".." || artifact.file == "."
            {
                return refuse(
                    &format!("artifacts[{index}].file"),
                    format!("'{}' is no plain file name", artifact.file),
                );
            }
        }
        if let Some(readiness) = &definition.readiness
            && !definition.ports.iter().any(|port| port.name == readiness.port)
        {
            return refuse("readiness.port", format!("there is no port named '{}'", readiness.port));
        }
        Ok(definition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn minimal() -> serde_json::Value {
        json!({"name": "web", "command": {"argv": ["./web"]}, "resources": {"cpus": 0.1, "mem_mib": 32}})
    }

    #[test]
    fn a_minimal_definition_is_a_service_of_one() {
        let definition = ServiceDefinition::parse(minimal().to_string().as_bytes()).expect("valid");
        assert_eq!((definition.kind, definition.count, definition.restart.backoff_ms_min), (Kind::Service, 1, 500));
        let again = ServiceDefinition::parse(&serde_json::to_vec(&definition).expect("serializes")).expect("valid");
        assert_eq!(again, definition);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        for (pointer, value, field) in [
            ("/name", json!("Web"), "name"),
            ("/count", json!(100_000), "count"),
            ("/command/argv", json!([]), "command.argv"),
            ("/resources/cpus", json!(-1), "resources.cpus"),
            ("/resources/mem_mib", json!(0), "resources.mem_mib"),
            ("/ports", json!([{"name": "a"}, {"name": "a"}]), "ports[1].name"),
            ("/artifacts", json!([{"digest": "sha256:12", "file": "x"}]), "artifacts[0].digest"),
            (
                "/artifacts",
                json!([{"digest": format!("sha256:{}", "0".repeat(64)), "file": "../x"}]),
                "artifacts[0].file",
            ),
            ("/readiness", json!({"port": "api"}), "readiness.port"),
            ("/unknown", json!(1), ""),
        ] {
            let mut json = minimal();
            match json.pointer_mut(pointer) {
                Some(place) => *place = value,
                None => json[&pointer[1..]] = value,
            }
            let refusal = ServiceDefinition::parse(json.to_string().as_bytes()).expect_err(pointer);
            assert_eq!((refusal.code.as_str(), refusal.field.as_str()), ("SVC0001", field), "{pointer}");
        }
    }
}
