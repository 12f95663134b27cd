//! `cargo xtask setup`: the Debian packages that building, testing and running on one machine need. Only what is missing is
//! installed, and nothing that is installed is started: the services belong to our tasks, not to the machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::tool::{self, Tool};

/// In groups, each for one purpose.
const PACKAGES: &[&str] = &[
    // Compiling our own crates: linker, system call filters, and the generator that etcd's client runs.
    "gcc",
    "libc6-dev",
    "make",
    "pkg-config",
    "libseccomp-dev",
    "libseccomp2",
    "protobuf-compiler",
    "libprotobuf-dev",
    "ca-certificates",
    "curl",
    // Compiling the components of a cluster from Debian's source package.
    "golang-go",
    "rsync",
    "jq",
    "dpkg-dev",
    "git",
    "patch",
    "xz-utils",
    // Where images get their programs from.
    "etcd-server",
    "etcd-client",
    "busybox-static",
    "mmdebstrap",
    // Running: networks of a local pool, and what the agent itself asks for.
    "iproute2",
    "nftables",
    "iptables",
    "conntrack",
    "procps",
    // Checking images by hand and in tests.
    "runc",
    "containerd",
    "containernetworking-plugins",
];

/// Debian's service start policy: a program asked before a package starts a service. 101 forbids.
const POLICY: &str = "/usr/sbin/policy-rc.d";

pub(crate) fn run() -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().cloned().collect::<Vec<_>>().join(" ");
    check_debian(&list)?;
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "these Debian packages are missing and only root can install them: {list}\nrun the same command as root, or first: apt-get install {list}"
        );
    }
    eprintln!("installing {} missing Debian packages: {list}", missing.len());
    apt::update()?;
    let policy = NoServiceStarts::hold()?;
    Tool::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends", "--quiet", "--option", "Dpkg::Use-Pty=0"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()?;
    drop(policy);
    leave_services_off(&missing)
}

fn missing() -> Result<BTreeSet<String>> {
    let installed = installed_packages()?;
    let mut missing: BTreeSet<String> =
        PACKAGES.iter().filter(|package| !installed.contains(**package)).map(|package| (*package).to_owned()).collect();
    // Several packages provide kubectl and conflict with each other: any that is there will do.
    if tool::find("kubectl").is_none() {
        missing.insert("kubernetes-client".to_owned());
    }
    Ok(missing)
}

fn installed_packages() -> Result<BTreeSet<String>> {
    if tool::find("dpkg-query").is_none() {
        return Ok(BTreeSet::new());
    }
    let text =
        Tool::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status} ${Package}\\n"]).quiet().output()?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect())
}

/// Only Debian 12 carries the source package that the images are made from.
fn check_debian(list: &str) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let (name, version) = (value("ID"), value("VERSION_ID"));
    if name != "debian" || version != "12" {
        bail!(
            "this machine is {} {version}, and the packages can only be installed on Debian 12\nthe missing ones are: {list}",
            if name.is_empty() { "not a known Linux distribution" } else { &name }
        );
    }
    Ok(())
}

/// While it lives, installing a package starts no service. A policy that the machine already has is left alone.
struct NoServiceStarts {
    ours: Option<PathBuf>,
}

impl NoServiceStarts {
    fn hold() -> Result<Self> {
        use std::io::Write;
        let path = PathBuf::from(POLICY);
        let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Ok(Self { ours: None });
            }
            Err(error) => return Err(error).context(format!("create {POLICY}")),
        };
        file.write_all(b"#!/bin/sh\nexit 101\n")
            .and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("write {POLICY}"))?;
        Ok(Self { ours: Some(path) })
    }
}

impl Drop for NoServiceStarts {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!("warning: {} is left behind: {error}", path.display());
        }
    }
}

/// A service that we just installed would start at the machine's next boot.
fn leave_services_off(installed: &BTreeSet<String>) -> Result<()> {
    if !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    for (package, service) in [("etcd-server", "etcd.service"), ("containerd", "containerd.service")] {
        if installed.contains(package) {
            Tool::new("systemctl").args(["disable", "--now", service]).run()?;
        }
    }
    Ok(())
}
