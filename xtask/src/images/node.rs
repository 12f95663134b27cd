//! `kubernetes-node:<version>`: what a machine that runs pods has. A small Debian with a container runtime, the node's
//! programs, images that pods need before they can reach a registry, and, last, our own program that holds it together:
//! it changes with every build, and only its own small layer with it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::components::{self, Components};
use super::layer::MODIFIED;
use super::layout::Description;
use super::store::Layer;
use super::{Kitchen, archive, busybox, digest};
use crate::apt;
use crate::tool::Tool;

const PACKAGES: &[&str] = &[
    "containerd",
    "runc",
    "containernetworking-plugins",
    "conntrack",
    "iptables",
    "nftables",
    "ebtables",
    "iproute2",
    "ethtool",
    "socat",
    "mount",
    "util-linux",
    "kmod",
    "procps",
    "ca-certificates",
];

const PROGRAMS: [&str; 3] = ["kubelet", "kube-proxy", "kubectl"];

/// The process that holds a pod's namespaces.
const PAUSE_SOURCE: &str = include_str!("../../../images/pause.c");
const PAUSE_IMAGE: &str = "k8s.gcr.io/pause:3.2";
const BUSYBOX_IMAGE: &str = "docker.io/library/busybox:1";

/// Our program in the node: its supervisor and its cluster DNS.
const OWN_PROGRAM: &str = "mezzo-kubernetes";

pub(super) fn image(kitchen: &Kitchen<'_>) -> Result<Description> {
    Ok(Description {
        tag: components::VERSION.to_owned(),
        layers: vec![system(kitchen)?, programs(kitchen)?, archives(kitchen)?, own_program(kitchen)?],
        command: vec!["/usr/local/bin/mezzo-kubernetes"],
    })
}

/// Debian's essential packages and those above.
fn system(kitchen: &Kitchen<'_>) -> Result<Layer> {
    let versions = apt::candidates(PACKAGES)?;
    kitchen.layers.get("node-system", &[&versions, "1"], |layer| {
        let scratch = kitchen.cache.scratch()?;
        let sources = scratch.path().join("debian.list");
        apt::write_sources(&apt::debian_sources()?, "deb", &sources)?;
        let archive = scratch.path().join("system.tar");
        let mut bootstrap = Tool::new("mmdebstrap")
            .args(["--mode=root", "--variant=essential", "--quiet"])
            .arg(format!("--include={}", PACKAGES.join(",")))
            .arg("--aptopt=APT::Install-Recommends \"false\"")
            .env("SOURCE_DATE_EPOCH", MODIFIED.to_string())
            .env("TMPDIR", scratch.path());
        for excluded in ["doc", "man", "info", "locale", "i18n"] {
            bootstrap = bootstrap.arg(format!("--dpkgopt=path-exclude=/usr/share/{excluded}/*"));
        }
        bootstrap.arg(apt::RELEASE).arg(&archive).arg(&sources).run()?;
        layer.import(&archive, belongs_in_an_image)
    })
}

/// Devices are the runtime's, and what describes one machine is the agent's.
fn belongs_in_an_image(path: &Path) -> bool {
    const FILES: [&str; 3] = ["etc/hostname", "etc/machine-id", "etc/resolv.conf"];
    const CONTENTS_OF: [&str; 5] =
        ["dev", "var/cache/apt/archives", "var/cache/debconf", "var/lib/apt/lists", "var/log"];
    let below = |directory: &str| path.starts_with(directory) && path != Path::new(directory);
    !FILES.iter().any(|file| path == Path::new(file)) && !CONTENTS_OF.into_iter().any(below)
}

fn programs(kitchen: &Kitchen<'_>) -> Result<Layer> {
    let components = Components::get(kitchen.cache)?;
    let key = components.key(&PROGRAMS)?;
    kitchen.layers.get("node-programs", &[&key, "1"], |layer| {
        for program in PROGRAMS {
            let path = format!("usr/local/bin/{program}");
            layer.copy(&path, 0o755, &components.program(program))?;
        }
        Ok(())
    })
}

/// Images for the node's own container runtime: without a registry there is no other way to a first pod.
fn archives(kitchen: &Kitchen<'_>) -> Result<Layer> {
    let versions = apt::installed(&["busybox-static", "libc6-dev"])?;
    let inputs = [versions.as_str(), PAUSE_SOURCE, "1"];
    kitchen.layers.get("node-archives", &inputs, |layer| {
        let scratch = kitchen.cache.scratch()?;
        let source = scratch.path().join("pause.c");
        let program = scratch.path().join("pause");
        fs::write(&source, PAUSE_SOURCE).with_context(|| format!("write {}", source.display()))?;
        Tool::new("gcc")
            .args(["-std=gnu11", "-Wall", "-Werror", "-Os", "-static", "-s", "-o"])
            .arg(&program)
            .arg(&source)
            .run()?;
        let pause = archive::docker_archive(PAUSE_IMAGE, &["/pause"], |layer| layer.copy("pause", 0o755, &program))?;
        let busybox = archive::docker_archive(BUSYBOX_IMAGE, &["/bin/sh"], busybox::fill)?;
        layer.file("images/pause.tar", 0o644, &pause)?;
        layer.file("images/busybox.tar", 0o644, &busybox)
    })
}

fn own_program(kitchen: &Kitchen<'_>) -> Result<Layer> {
    kitchen.workspace.build()?;
    let scratch = kitchen.cache.scratch()?;
    let stripped = scratch.path().join(OWN_PROGRAM);
    Tool::new("strip")
        .args(["--strip-debug", "-o"])
        .arg(&stripped)
        .arg(kitchen.workspace.program(OWN_PROGRAM))
        .quiet()
        .run()?;
    let contents = fs::read(&stripped).with_context(|| format!("read {}", stripped.display()))?;
    let inputs = [digest::of(&contents), "1".to_owned()];
    kitchen.layers.get("node-own-program", &[&inputs[0], &inputs[1]], |layer| {
        layer.file(&format!("usr/local/bin/{OWN_PROGRAM}"), 0o755, &contents)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_machine_is_left_out() {
        for (path, kept) in [
            ("dev", true),
            ("dev/null", false),
            ("etc/hosts", true),
            ("etc/resolv.conf", false),
            ("var/lib/dpkg/status", true),
            ("var/log", true),
            ("var/log/dpkg.log", false),
            ("usr/sbin/iptables", true),
        ] {
            assert_eq!(belongs_in_an_image(Path::new(path)), kept, "{path}");
        }
    }
}
