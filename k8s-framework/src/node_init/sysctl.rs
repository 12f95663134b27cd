//! Machine-wide sysctls that a kubelet insists on setting. A node is a guest of its machine: it gets its own files in
//! their place, in its own mount namespace, and the machine keeps its values.
use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use tracing::warn;

use daemon::error::chain;

/// What the kubelet sets at its start, and refuses to run without.
const WANTED: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];
const DIR: &str = "/run/mezzo-sysctl";

/// Puts a file with the wanted value over every sysctl that has another one.
pub(super) fn shield() {
    for (name, wanted) in WANTED {
        let target = Path::new("/proc/sys").join(name);
        let Ok(present) = fs::read_to_string(&target) else { continue };
        if present.trim() == wanted {
            continue;
        }
        let file = Path::new(DIR).join(name.replace('/', "."));
        let result = fs::create_dir_all(DIR)
            .and_then(|()| fs::write(&file, format!("{wanted}\n")))
            .and_then(|()| Ok(mount(Some(&file), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?));
        if let Err(error) = result {
            warn!(error = %chain(&error), sysctl = name, "sysctl not shielded, the kubelet will set it for the machine");
        }
    }
}
