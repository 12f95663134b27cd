//! `etcd:<version>`: etcd and etcdctl from Debian's packages, with a shell.

use std::path::Path;

use anyhow::{Context, Result};

use super::layout::Description;
use super::{Kitchen, busybox, shared_objects};
use crate::apt;

const PROGRAMS: [&str; 2] = ["/usr/bin/etcd", "/usr/bin/etcdctl"];

pub(super) fn image(kitchen: &Kitchen<'_>) -> Result<Description> {
    let versions = apt::installed(&["etcd-server", "etcd-client", "libc6"])?;
    let layer = kitchen.layers.get("etcd", &[&versions, "1"], |layer| {
        for program in PROGRAMS {
            let name = program.rsplit('/').next().unwrap_or(program);
            layer.copy(&format!("usr/local/bin/{name}"), 0o755, Path::new(program))?;
        }
        shared_objects::copy(layer, &PROGRAMS)
    })?;
    Ok(Description {
        tag: upstream(&versions)?,
        layers: vec![busybox::layer(kitchen)?, layer],
        command: vec!["/usr/local/bin/etcd"],
    })
}

/// `3.4.23` from `etcd-server 3.4.23-4+b4`.
fn upstream(versions: &str) -> Result<String> {
    versions
        .lines()
        .find_map(|line| line.strip_prefix("etcd-server ")?.split('-').next())
        .map(str::to_owned)
        .context("read the version of etcd-server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_s_revision_is_not_part_of_the_tag() {
        let tag = upstream("etcd-client 3.4.23-4\netcd-server 3.4.23-4+b4\n").expect("a version");
        assert_eq!(tag, "3.4.23");
    }
}
