//! Gives an executor a cgroup of its own in every hierarchy, so that whoever stops the agent by its cgroup (a service
//! manager) does not stop the tasks.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Moves a process. Hierarchies that refuse it are left as they are; the last refusal is told.
pub(super) fn place(pid: u32, cgroup: &str) -> Result<(), io::Error> {
    let mut last = Ok(());
    for mount in hierarchies(&fs::read_to_string("/proc/self/mountinfo")?) {
        let dir = mount.join(cgroup.trim_start_matches('/'));
        if let Err(error) = fs::create_dir_all(&dir).and_then(|()| fs::write(dir.join("cgroup.procs"), pid.to_string()))
        {
            last = Err(error);
        }
    }
    last
}

/// Mount points of hierarchies. A new cpuset has no processor: nobody can enter it, and it decides nothing here.
pub(crate) fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3);
            let (root, mount) = (fields.next()?, fields.next()?);
            let kind = after.split(' ').next()?;
            let is_cpuset =
                after.rsplit(' ').next().is_some_and(|options| options.split(',').any(|option| option == "cpuset"));
            (root == "/" && matches!(kind, "cgroup" | "cgroup2") && !is_cpuset).then(|| Path::new(mount).to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hierarchy_but_cpuset_is_entered() {
        let text = "31 30 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                    32 30 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                    33 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    34 30 0:29 /a /b rw - cgroup cgroup rw,pids\n\
                    35 30 0:30 / /proc rw - proc proc rw\n";
        assert_eq!(hierarchies(text), [Path::new("/sys/fs/cgroup/memory"), Path::new("/sys/fs/cgroup/unified")]);
    }
}
