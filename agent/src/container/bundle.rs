//! The OCI configuration of a container, unprivileged unless its framework was granted more. The executor's helper still
//! takes away what the machine itself does not have.
use serde_json::{Value, json};

use proto::mezzo::v1::TmpfsMount;
use proto::mezzo::v1::volume_option::Propagation;

use super::limits::{CPU_PERIOD_US, Limits};
use super::seccomp;
use super::user::User;

/// Everything an OCI configuration is made of.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) working_directory: String,
    pub(crate) user: User,
    pub(crate) hostname: String,
    pub(crate) privileged: bool,
    pub(crate) limits: Limits,
    /// Resolved binds, outer ones first.
    pub(crate) binds: Vec<Bind>,
    pub(crate) tmpfs: Vec<TmpfsMount>,
    pub(crate) share_pid_namespace: bool,
}

/// A bind mount with its source resolved.
#[derive(Debug, Clone)]
pub(crate) struct Bind {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) recursive: bool,
    pub(crate) propagation: Propagation,
}

/// What only a privileged task may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} needs privileges, and the task asks for none")]
pub(crate) struct PrivilegeNeeded(pub(crate) &'static str);

/// What an unprivileged root keeps: enough for the images there are.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// All there are; the helper drops what the machine's bounding set lacks.
const ALL_CAPABILITIES: [&str; 41] = [
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl Bundle {
    /// `config.json`; the root filesystem is `rootfs` beside it.
    pub(crate) fn config(&self) -> Value {
        json!({
            "ociVersion": "1.0.2",
            "hostname": self.hostname,
            "root": { "path": "rootfs", "readonly": false },
            "process": self.process(),
            "mounts": self.mounts(),
            "linux": self.linux(),
        })
    }

    fn process(&self) -> Value {
        let allowed: &[&str] = if self.privileged { &ALL_CAPABILITIES } else { &CAPABILITIES };
        // What a plain user cannot hold it must not be given by the kernel either, except through set-uid programs.
        let held: &[&str] = if self.user.uid == 0 { allowed } else { &[] };
        json!({
            "terminal": false,
            "cwd": self.working_directory,
            "args": self.argv,
            "env": self.environment,
            "user": { "uid": self.user.uid, "gid": self.user.gid, "additionalGids": self.user.additional },
            "capabilities": { "bounding": allowed, "effective": held, "permitted": held, "inheritable": [], "ambient": [] },
            "noNewPrivileges": !self.privileged,
        })
    }

    fn mounts(&self) -> Vec<Value> {
        let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": source, "options": options });
        let mut mounts = vec![mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])];
        if self.privileged {
            mounts.push(mount("/dev", "bind", "/dev", &["rbind", "rslave"]));
            mounts.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev"]));
            mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime"]));
        } else {
            let devpts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
            mounts.push(mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
            mounts.push(mount("/dev/pts", "devpts", "devpts", &devpts));
            mounts.push(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]));
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
            mounts.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]));
            mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
        }
        for tmpfs in &self.tmpfs {
            let mut options = vec!["nosuid".to_owned(), "nodev".to_owned(), "strictatime".to_owned()];
            options.push(format!("mode={:o}", if tmpfs.mode == 0 { 0o755 } else { tmpfs.mode & 0o7777 }));
            if tmpfs.size_bytes > 0 {
                options.push(format!("size={}", tmpfs.size_bytes));
            }
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            mounts.push(mount(&tmpfs.container_path, "tmpfs", "tmpfs", &options));
        }
        for bind in &self.binds {
            let mut options = vec![if bind.recursive { "rbind" } else { "bind" }];
            options.push(match bind.propagation {
                Propagation::Private => "rprivate",
                Propagation::Rslave => "rslave",
                Propagation::Rshared => "rshared",
            });
            if bind.read_only {
                options.push("ro");
            }
            mounts.push(mount(&bind.target, "bind", &bind.source, &options));
        }
        mounts
    }

    fn linux(&self) -> Value {
        let mut namespaces = vec!["ipc", "uts", "mount", "cgroup"];
        if !self.share_pid_namespace {
            namespaces.insert(0, "pid");
        }
        let namespaces: Vec<_> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
        let mut memory = json!({});
        if let Some(bytes) = self.limits.memory_bytes {
            // Swap would only hide that the limit is too low.
            memory = json!({ "limit": bytes, "swap": bytes });
        }
        if let Some(bytes) = self.limits.memory_soft_bytes {
            memory["reservation"] = json!(bytes);
        }
        let mut cpu = json!({ "shares": self.limits.cpu_shares, "period": CPU_PERIOD_US });
        if let Some(quota) = self.limits.cpu_quota_us {
            cpu["quota"] = quota.into();
        }
        // What is not allowed below is denied: without a first rule a container could open every device of the host.
        let devices = json!([{ "allow": self.privileged, "access": "rwm" }]);
        let mut linux = json!({
            "namespaces": namespaces,
            "resources": { "memory": memory, "cpu": cpu, "pids": { "limit": self.limits.pids }, "devices": devices },
        });
        if self.privileged {
            linux["rootfsPropagation"] = "shared".into();
        } else {
            linux["rootfsPropagation"] = "private".into();
            linux["maskedPaths"] = json!(MASKED);
            linux["readonlyPaths"] = json!(READ_ONLY);
            linux["seccomp"] = seccomp::default_profile();
        }
        linux
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(privileged: bool, uid: u32) -> Bundle {
        Bundle {
            argv: vec!["/bin/true".to_owned()],
            environment: vec!["A=b".to_owned()],
            working_directory: "/".to_owned(),
            user: User { uid, gid: 0, additional: vec![] },
            hostname: "a".to_owned(),
            privileged,
            limits: Limits {
                memory_bytes: Some(64 << 20),
                memory_soft_bytes: None,
                cpu_shares: 512,
                cpu_quota_us: None,
                pids: 64,
            },
            binds: vec![Bind {
                source: "/s".to_owned(),
                target: "/t".to_owned(),
                read_only: true,
                recursive: true,
                propagation: Propagation::Rshared,
            }],
            tmpfs: vec![TmpfsMount { container_path: "/run".to_owned(), size_bytes: 0, mode: 0 }],
            share_pid_namespace: false,
        }
    }

    #[test]
    fn every_form_is_a_specification_the_runtime_understands() {
        for (privileged, uid) in [(false, 0), (false, 1000), (true, 0)] {
            let spec: oci_spec::runtime::Spec =
                serde_json::from_value(bundle(privileged, uid).config()).expect("understood");
            let linux = spec.linux().as_ref().expect("there");
            assert_eq!(linux.seccomp().is_some(), !privileged);
            let devices = linux.resources().as_ref().and_then(|r| r.devices().clone()).expect("rules");
            assert_eq!(devices[0].allow(), privileged);
            let process = spec.process().as_ref().expect("there");
            assert_eq!(process.no_new_privileges(), Some(!privileged));
            let held = process.capabilities().as_ref().and_then(|c| c.effective().clone()).unwrap_or_default();
            assert_eq!(
                held.len(),
                if privileged {
                    41
                } else if uid == 0 {
                    14
                } else {
                    0
                }
            );
        }
    }
}
