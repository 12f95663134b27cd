//! Whether a machine can be an agent: each thing found, and what to do where it is not enough.
use std::fs;
use std::path::Path;

use proto::mezzo::v1::{PreflightCheck, PreflightReport};

/// Looks at this machine.
pub fn preflight(state_dir: &Path) -> PreflightReport {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut checks = Vec::new();
    let mut check = |name: &str, passed: bool, found: String, remedy: &str| {
        let remedy = if passed { String::new() } else { remedy.to_owned() };
        checks.push(PreflightCheck { name: name.to_owned(), passed, found, remedy });
    };
    let root = nix::unistd::geteuid().is_root();
    check("root", root, if root { "yes" } else { "no" }.to_owned(), "run the agent as root");
    let overlay = read("/proc/filesystems").lines().any(|line| line.ends_with("\toverlay"));
    check("overlayfs", overlay, if overlay { "yes" } else { "no" }.to_owned(), "load the kernel module 'overlay'");
    let mounts = read("/proc/self/mountinfo");
    let kinds = |kind: &str| mounts.lines().filter(|line| line.contains(&format!(" - {kind} "))).count();
    let (v1, v2) = (kinds("cgroup"), kinds("cgroup2"));
    let found = format!("{v1} cgroup v1 and {v2} cgroup v2 hierarchies");
    check("cgroups", v1 + v2 > 0, found, "mount the cgroup filesystems");
    let memory = mounts.lines().any(|line| line.contains(" - cgroup ") && line.ends_with("memory"))
        || read("/sys/fs/cgroup/cgroup.controllers").split_whitespace().any(|name| name == "memory");
    let found = if memory { "yes" } else { "no" }.to_owned();
    check("memory limits", memory, found, "boot with the memory controller enabled (cgroup_enable=memory)");
    let seccomp = read("/proc/sys/kernel/seccomp/actions_avail").contains("errno");
    let found = if seccomp { "yes" } else { "no" }.to_owned();
    check("system call filters", seccomp, found, "use a kernel with CONFIG_SECCOMP_FILTER");
    let free =
        nix::sys::statvfs::statvfs(state_dir).map_or(0, |stat| (stat.blocks_available() * stat.fragment_size()) >> 20);
    check(
        "free disk",
        free >= 2048,
        format!("{free} MiB at {}", state_dir.display()),
        "free at least 2 GiB for images and sandboxes",
    );
    let forward = read("/proc/sys/net/ipv4/ip_forward");
    let writable = root && Path::new("/proc/sys/net/ipv4/ip_forward").exists();
    check(
        "forwarding",
        forward.trim() == "1" || writable,
        format!("ip_forward={}", forward.trim()),
        "allow net.ipv4.ip_forward=1",
    );
    let (dropping, found) = forwarding_policy();
    check(
        "forwarding policy",
        !dropping,
        found,
        "accept forwarded packets of the pods: iptables -P FORWARD ACCEPT, or a rule for the pool's pod range",
    );
    let unix_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    PreflightReport { checks, unix_ms: i64::try_from(unix_ms).unwrap_or(i64::MAX) }
}

/// Whether packets between pods of different machines would be dropped: the chain's policy says so and no rule of it
/// accepts any.
fn forwarding_policy() -> (bool, String) {
    let listed = std::process::Command::new("iptables").args(["-w", "2", "-S", "FORWARD"]).output();
    let Ok(listed) = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else {
        return (false, "no iptables here".to_owned());
    };
    let policy = listed.lines().next().and_then(|line| line.strip_prefix("-P FORWARD ")).unwrap_or("ACCEPT").to_owned();
    let accepts = listed.lines().skip(1).any(|line| line.ends_with("-j ACCEPT"));
    let dropping = policy != "ACCEPT" && !accepts;
    let rules = if accepts { " with rules that accept" } else { "" };
    (dropping, format!("{policy}{rules}"))
}
