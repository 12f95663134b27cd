//! What an agent's process goes through before it becomes the agent: its network namespace, a mount namespace that
//! hides the other agents, the master and the operator, and a /sys of its network. Must run in a process of one thread.
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;

use crate::failure::{Failure, Result};
use crate::grammar::Enclose;

/// Enters and becomes the command; comes back only if that fails.
pub(crate) fn enter(arguments: &Enclose) -> Result<ExitCode> {
    let failed = |what: String| move |error: nix::errno::Errno| Failure::while_doing(what, &error);
    let netns = File::open(&arguments.netns)
        .map_err(|error| Failure::while_doing(format!("open {}", arguments.netns.display()), &error))?;
    setns(&netns, CloneFlags::CLONE_NEWNET).map_err(failed(format!("enter {}", arguments.netns.display())))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed("make a mount namespace".to_owned()))?;
    // What happens in the root namespace is seen here, and nothing the other way round.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .map_err(failed("separate the mount namespace".to_owned()))?;
    hide(&arguments.hide, &arguments.keep)?;
    own_sys(arguments.hide.first().map_or(Path::new("/mnt"), PathBuf::as_path))?;
    // Pods are routed to each other; /proc/sys/net shows the namespace of who looks.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")
        .map_err(|error| Failure::while_doing("switch on forwarding", &error))?;
    let argv =
        arguments.command.iter().map(|word| CString::new(word.as_str())).collect::<std::result::Result<Vec<_>, _>>();
    let argv = argv.map_err(|error| Failure::while_doing("read the command", &error))?;
    let Err(error): std::result::Result<Infallible, _> = nix::unistd::execv(&argv[0], &argv);
    Err(Failure::while_doing(format!("become {}", arguments.command[0]), &error))
}

/// Lays an empty tmpfs over every hidden directory, and puts the kept ones back into it.
fn hide(hidden: &[PathBuf], kept: &[PathBuf]) -> Result<()> {
    let failed = |what: String| move |error: nix::errno::Errno| Failure::while_doing(what, &error);
    let mut handles = Vec::new();
    for path in kept {
        let handle = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        handles.push((path, handle.map_err(failed(format!("open {}", path.display())))?));
    }
    for path in hidden.iter().filter(|path| path.is_dir()) {
        mount(
            Some("mezzo-hidden"),
            path,
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some("size=64k,mode=755"),
        )
        .map_err(failed(format!("hide {}", path.display())))?;
    }
    for (path, handle) in handles {
        std::fs::create_dir_all(path)
            .map_err(|error| Failure::while_doing(format!("make {}", path.display()), &error))?;
        // The handle leads below what was just laid over it.
        let source = format!("/proc/self/fd/{}", handle.as_raw_fd());
        mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
            .map_err(failed(format!("keep {}", path.display())))?;
    }
    Ok(())
}

/// /sys/class/net of the old /sys shows the network of whoever mounted it; the cgroup hierarchies are taken along. It is
/// put together below `place`, a directory nobody else sees, and then takes the old one's place: nothing is mounted twice.
fn own_sys(place: &Path) -> Result<()> {
    let failed = |what: &'static str| move |error: nix::errno::Errno| Failure::while_doing(what, &error);
    let new = place.join("sys");
    std::fs::create_dir_all(&new).map_err(|error| Failure::while_doing(format!("make {}", new.display()), &error))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("sysfs"), &new, Some("sysfs"), flags, None::<&str>).map_err(failed("mount a new /sys"))?;
    let (from, to) = (Path::new("/sys/fs/cgroup"), new.join("fs/cgroup"));
    mount(Some(from), &to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(failed("bring /sys/fs/cgroup along"))?;
    umount2("/sys", MntFlags::MNT_DETACH).map_err(failed("unmount the old /sys"))?;
    mount(Some(&new), "/sys", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(failed("put the new /sys in its place"))?;
    let _ = std::fs::remove_dir(&new);
    Ok(())
}
