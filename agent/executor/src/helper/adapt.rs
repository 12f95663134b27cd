//! Fits the agent's container configuration to this machine: what the kernel would refuse to this process is not asked
//! for, or the whole create would fail. The agent's `config.json` is left alone; the adapted one is written beside.
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};

use super::HelperError;

/// Writes `<work>/config.json` from `<bundle>/config.json`.
pub(super) fn write_adapted_bundle(bundle: &Path, work: &Path, cgroup: &str) -> Result<(), HelperError> {
    let path = bundle.join("config.json");
    let text = fs::read(&path).map_err(|source| HelperError::File { operation: "read", path: path.clone(), source })?;
    let mut config: Value =
        serde_json::from_slice(&text).map_err(|source| HelperError::Parse { path: path.clone(), source })?;
    if !(config["process"].is_object() && config["root"]["path"].is_string() && config["linux"].is_object()) {
        return Err(HelperError::Configuration { path, why: "it needs process, root.path and linux" });
    }
    adapt(&mut config, bundle, cgroup, &Machine::look());
    let target = work.join("config.json");
    fs::write(&target, config.to_string()).map_err(|source| HelperError::File {
        operation: "write",
        path: target,
        source,
    })
}

/// What this process may ask for.
struct Machine {
    capabilities: u64,
    host_devices: fn() -> Vec<Value>,
    hard_limit: fn(&str) -> Option<u64>,
}

impl Machine {
    fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let capabilities = status
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or(u64::MAX);
        Self { capabilities, host_devices, hard_limit }
    }
    fn has(&self, bit: u32) -> bool {
        self.capabilities & (1 << bit) != 0
    }
}

fn adapt(config: &mut Value, bundle: &Path, cgroup: &str, machine: &Machine) {
    config["linux"]["cgroupsPath"] = json!(cgroup);
    let root = config["root"]["path"].as_str().unwrap_or_default().to_owned();
    config["root"]["path"] = json!(bundle.join(root));

    let process = &mut config["process"];
    if let Some(sets) = process.get_mut("capabilities").and_then(Value::as_object_mut) {
        for names in sets.values_mut().filter_map(Value::as_array_mut) {
            names.retain(|name| name.as_str().and_then(bit_of).is_some_and(|bit| machine.has(bit)));
        }
    }
    if !machine.has(CAP_SYS_RESOURCE) {
        for limit in process.get_mut("rlimits").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(hard) = limit["type"].as_str().and_then(machine.hard_limit) else { continue };
            for end in ["soft", "hard"] {
                if limit[end].as_u64().is_some_and(|asked| asked > hard) {
                    limit[end] = json!(hard);
                }
            }
        }
        if process.get("oomScoreAdj").and_then(Value::as_i64).is_some_and(|adj| adj < 0) {
            process.as_object_mut().map(|process| process.remove("oomScoreAdj"));
        }
    }
    // Without a first rule that denies, the container could open every device of the host it can make a node for.
    let rules = &mut config["linux"]["resources"]["devices"];
    if rules.as_array().is_none_or(Vec::is_empty) {
        *rules = json!([{ "allow": false, "access": "rwm" }]);
    }
    replace_host_dev(config, machine);
}

/// The library makes links and `/dev/ptmx` in `/dev`: on a bind mount of the host's it would change the host. A container that
/// asks for the host's `/dev` gets its own with the same devices.
fn replace_host_dev(config: &mut Value, machine: &Machine) {
    let Some(mounts) = config.get_mut("mounts").and_then(Value::as_array_mut) else { return };
    let is_bound = |mount: &Value| mount["destination"] == "/dev" && mount["source"] == "/dev";
    let Some(at) = mounts.iter().position(is_bound) else { return };
    mounts.retain(|mount| {
        !matches!(mount["destination"].as_str(), Some("/dev" | "/dev/pts" | "/dev/shm" | "/dev/mqueue"))
    });
    let at = at.min(mounts.len());
    let own = [
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]}),
    ];
    mounts.splice(at..at, own);
    let devices = &mut config["linux"]["devices"];
    if !devices.is_array() {
        *devices = json!([]);
    }
    let Some(devices) = devices.as_array_mut() else { return };
    for device in (machine.host_devices)() {
        if !devices.iter().any(|other| other["path"] == device["path"]) {
            devices.push(device);
        }
    }
}

/// Every device node below the host's `/dev`, without terminals and what the container gets anyway.
fn host_devices() -> Vec<Value> {
    let mut found = Vec::new();
    collect_devices(Path::new("/dev"), &mut found);
    found
}

fn collect_devices(dir: &Path, found: &mut Vec<Value>) {
    const SKIPPED: [&str; 12] =
        ["pts", "shm", "mqueue", "fd", "ptmx", "console", "null", "zero", "full", "random", "urandom", "tty"];
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let Ok(meta) = entry.metadata() else { continue };
        let kind = meta.file_type();
        if kind.is_dir() {
            collect_devices(&path, found);
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(json!({
                "path": path, "type": if kind.is_char_device() { "c" } else { "b" },
                "major": libc::major(meta.st_rdev()), "minor": libc::minor(meta.st_rdev()),
                "fileMode": meta.st_mode() & 0o777, "uid": meta.st_uid(), "gid": meta.st_gid(),
            }));
        }
    }
}

const CAP_SYS_RESOURCE: u32 = 24;

/// Capabilities in the kernel's order.
fn bit_of(name: &str) -> Option<u32> {
    const NAMES: [&str; 41] = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    NAMES.iter().position(|known| *known == name).and_then(|at| u32::try_from(at).ok())
}

fn hard_limit(kind: &str) -> Option<u64> {
    let resource = match kind {
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_AS" => Resource::RLIMIT_AS,
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        _ => return None,
    };
    getrlimit(resource).ok().map(|(_, hard)| hard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(capabilities: u64) -> Machine {
        Machine {
            capabilities,
            host_devices: || vec![json!({"path": "/dev/fuse"}), json!({"path": "/dev/own"})],
            hard_limit: |kind| (kind == "RLIMIT_NOFILE").then_some(20_000),
        }
    }

    #[test]
    fn asks_only_for_what_the_machine_has() {
        let mut config = json!({
            "process": {
                "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_NEW_THING"]},
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1_048_576}],
                "oomScoreAdj": -900
            },
            "root": {"path": "rootfs"}, "linux": {}
        });
        adapt(&mut config, Path::new("/b"), "/mezzo/x", &machine(!(1 << CAP_SYS_RESOURCE) & ((1 << 41) - 1)));
        let expected = json!({
            "process": {
                "capabilities": {"bounding": ["CAP_CHOWN"]},
                "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 20_000}]
            },
            "root": {"path": "/b/rootfs"},
            "linux": {"cgroupsPath": "/mezzo/x", "resources": {"devices": [{"allow": false, "access": "rwm"}]}}
        });
        assert_eq!(config, expected);
    }

    #[test]
    fn the_hosts_dev_is_replaced_by_its_devices() {
        let mut config = json!({
            "process": {}, "root": {"path": "/r"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]},
                {"destination": "/run", "type": "tmpfs", "source": "tmpfs"}
            ],
            "linux": {"devices": [{"path": "/dev/own", "major": 9}], "resources": {"devices": [{"allow": true, "access": "rwm"}]}}
        });
        adapt(&mut config, Path::new("/b"), "/c", &machine(u64::MAX));
        let at: Vec<&str> =
            config["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect();
        assert_eq!(at, ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/run"]);
        assert_eq!(config["linux"]["devices"], json!([{"path": "/dev/own", "major": 9}, {"path": "/dev/fuse"}]));
        assert_eq!(config["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    }
}
