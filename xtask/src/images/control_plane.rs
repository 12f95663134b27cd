//! `kube-control-plane:<version>`: the three programs that make up a cluster's control plane beside etcd, and kubectl for the
//! short tasks that install add-ons.

use anyhow::Result;

use super::components::{self, Components};
use super::layout::Description;
use super::{Kitchen, busybox};

const PROGRAMS: [&str; 4] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];

pub(super) fn image(kitchen: &Kitchen<'_>) -> Result<Description> {
    let components = Components::get(kitchen.cache)?;
    let key = components.key(&PROGRAMS)?;
    let layer = kitchen.layers.get("kube-control-plane", &[&key, "1"], |layer| {
        for program in PROGRAMS {
            layer.copy(&format!("usr/local/bin/{program}"), 0o755, &components.program(program))?;
        }
        Ok(())
    })?;
    Ok(Description {
        tag: components::VERSION.to_owned(),
        layers: vec![busybox::layer(kitchen)?, layer],
        command: vec!["/bin/sh"],
    })
}
