//! The default system call filter of unprivileged containers: what ordinary programs need is allowed, the rest fails
//! with EPERM. New namespaces are refused; `clone3`, whose flags a filter cannot see, fails as if the kernel did not know
//! it, so that libraries fall back to `clone`.
use serde_json::{Value, json};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME cannot be asked for.
const NAMESPACE_FLAGS: u64 = 0x7E02_0080;

/// Grouped by what they are for; x86 and arm64 together, the library skips those a machine has not.
const ALLOWED: &[&str] = &[
    // files by descriptor
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "close",
    "close_range", "lseek", "_llseek", "dup", "dup2", "dup3", "fcntl", "fcntl64", "ioctl", "fsync", "fdatasync", "sync", "syncfs",
    "sync_file_range", "ftruncate", "ftruncate64", "fallocate", "fadvise64", "fadvise64_64", "readahead", "sendfile", "sendfile64",
    "splice", "tee", "vmsplice", "copy_file_range", "flock", "pipe", "pipe2", "memfd_create", "memfd_secret",
    // files by name
    "open", "openat", "openat2", "creat", "access", "faccessat", "faccessat2", "stat", "stat64", "lstat", "lstat64", "fstat",
    "fstat64", "fstatat64", "newfstatat", "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "truncate", "truncate64", "link",
    "linkat", "symlink", "symlinkat", "readlink", "readlinkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir",
    "mkdirat", "rmdir", "mknod", "mknodat", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "chown32", "fchown", "fchown32",
    "fchownat", "lchown", "lchown32", "utime", "utimes", "utimensat", "utimensat_time64", "futimesat", "getdents", "getdents64",
    "chdir", "fchdir", "getcwd", "chroot", "umask", "name_to_handle_at", "inotify_init", "inotify_init1", "inotify_add_watch",
    "inotify_rm_watch", "getxattr", "lgetxattr", "fgetxattr", "setxattr", "lsetxattr", "fsetxattr", "listxattr", "llistxattr",
    "flistxattr", "removexattr", "lremovexattr", "fremovexattr", "getxattrat", "setxattrat", "listxattrat", "removexattrat",
    "statmount", "listmount", "cachestat",
    // memory
    "brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "mincore", "msync", "mlock", "mlock2", "mlockall", "munlock",
    "munlockall", "remap_file_pages", "membarrier", "map_shadow_stack", "mseal", "pkey_alloc", "pkey_free", "pkey_mprotect",
    "process_mrelease",
    // processes and threads
    "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "waitpid", "getpid", "getppid", "gettid",
    "set_tid_address", "set_robust_list", "get_robust_list", "set_thread_area", "get_thread_area", "arch_prctl", "prctl", "rseq",
    "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "getpriority", "setpriority", "ioprio_get", "ioprio_set", "getrusage",
    "getrlimit", "ugetrlimit", "setrlimit", "prlimit64", "times", "capget", "capset", "pidfd_open", "pidfd_send_signal", "seccomp",
    "uname", "sysinfo", "getcpu", "getrandom", "restart_syscall", "modify_ldt", "landlock_create_ruleset", "landlock_add_rule",
    "landlock_restrict_self",
    // users
    "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32", "setuid", "setuid32", "setgid",
    "setgid32", "setreuid", "setreuid32", "setregid", "setregid32", "getresuid", "getresuid32", "setresuid", "setresuid32",
    "getresgid", "getresgid32", "setresgid", "setresgid32", "setfsuid", "setfsuid32", "setfsgid", "setfsgid32", "getgroups",
    "getgroups32", "setgroups", "setgroups32",
    // scheduling
    "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setparam", "sched_getscheduler",
    "sched_setscheduler", "sched_getattr", "sched_setattr", "sched_get_priority_max", "sched_get_priority_min",
    "sched_rr_get_interval", "sched_rr_get_interval_time64",
    // signals
    "kill", "tkill", "tgkill", "pause", "alarm", "sigaltstack", "sigreturn", "rt_sigreturn", "rt_sigaction", "rt_sigprocmask",
    "sigprocmask", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_sigqueueinfo",
    "rt_tgsigqueueinfo", "signalfd", "signalfd4",
    // time
    "time", "gettimeofday", "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "clock_nanosleep",
    "clock_nanosleep_time64", "nanosleep", "getitimer", "setitimer", "timer_create", "timer_settime", "timer_settime64",
    "timer_gettime", "timer_gettime64", "timer_getoverrun", "timer_delete", "timerfd_create", "timerfd_settime",
    "timerfd_settime64", "timerfd_gettime", "timerfd_gettime64", "adjtimex", "clock_adjtime",
    // waiting
    "select", "_newselect", "pselect6", "pselect6_time64", "poll", "ppoll", "ppoll_time64", "epoll_create", "epoll_create1",
    "epoll_ctl", "epoll_ctl_old", "epoll_wait", "epoll_wait_old", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "futex",
    "futex_time64", "futex_waitv", "futex_wait", "futex_wake", "futex_requeue", "io_setup", "io_destroy", "io_submit", "io_cancel",
    "io_getevents", "io_pgetevents", "io_pgetevents_time64",
    // sockets
    "socket", "socketcall", "socketpair", "bind", "listen", "accept", "accept4", "connect", "shutdown", "getsockname", "getpeername",
    "getsockopt", "setsockopt", "send", "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg", "recvmmsg",
    "recvmmsg_time64",
    // System V and POSIX interprocess communication
    "ipc", "shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semtimedop_time64", "semctl", "msgget", "msgsnd",
    "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedsend_time64", "mq_timedreceive",
    "mq_timedreceive_time64", "mq_notify", "mq_getsetattr",
];

/// Personalities that only change what programs see, not what the kernel guards.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// The profile as the OCI configuration has it.
pub(super) fn default_profile() -> Value {
    let mut rules = vec![
        json!({ "names": ALLOWED, "action": "SCMP_ACT_ALLOW" }),
        json!({
            "names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }],
        }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
    ];
    for personality in PERSONALITIES {
        rules.push(json!({
            "names": ["personality"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": personality, "op": "SCMP_CMP_EQ" }],
        }));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn architectures() -> Value {
    match std::env::consts::ARCH {
        "x86_64" => json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        "aarch64" => json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        _ => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_breaks_out_is_allowed() {
        let dangerous = [
            "mount", "umount2", "pivot_root", "unshare", "setns", "bpf", "ptrace", "kexec_load", "init_module", "finit_module",
            "delete_module", "reboot", "swapon", "keyctl", "add_key", "request_key", "open_by_handle_at", "perf_event_open",
            "userfaultfd", "iopl", "ioperm", "syslog", "quotactl", "acct", "settimeofday", "move_mount", "fsopen", "io_uring_setup",
        ];
        for name in dangerous {
            assert!(!ALLOWED.contains(&name), "{name}");
        }
        let mut sorted = ALLOWED.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted.windows(2).find(|pair| pair[0] == pair[1]), None, "once each");
    }
}
