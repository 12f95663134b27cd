//! Doors for `tests/fuzz` to what this crate reads and keeps private; nothing else goes through them.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agent_core::vip::Rules;
use model::Resources;
use model::gateway::Table;
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};
use proto::convert;

use crate::container::{Bind, Bundle, environment, invocation, limits_of, tmpfs_of, user, volumes_of};
use crate::images::{ImageName, unpack};
use crate::{oversubscription, pods, vip};

fn words(error: &dyn std::error::Error) -> String {
    daemon::error::chain(error)
}

/// Unpacks a layer into the new directory `target`.
///
/// # Errors
/// Why it is refused.
pub fn layer(packed: &Path, target: &Path, digest: &str, diff_id: &str) -> Result<(), String> {
    unpack::layer(packed, target, digest, diff_id).map_err(|error| words(&error))
}

/// Unpacks an archive of an image into the new directory `target`.
///
/// # Errors
/// Why it is refused.
pub fn archive(packed: &Path, target: &Path) -> Result<(), String> {
    unpack::archive(packed, target).map_err(|error| words(&error))
}

/// Where an image of that name comes from.
///
/// # Errors
/// Why it is no name.
pub fn image_name(name: &str) -> Result<String, String> {
    ImageName::parse(name).map(|name| format!("{name:?}")).map_err(|error| words(&error))
}

/// Which of an image's documents these bytes are, each as far as it is read.
pub fn image_documents(bytes: &[u8]) -> [Result<usize, String>; 3] {
    let text = |error: serde_json::Error| error.to_string();
    [
        serde_json::from_slice::<ImageManifest>(bytes).map(|manifest| manifest.layers().len()).map_err(text),
        serde_json::from_slice::<ImageIndex>(bytes)
            .map(|index| index.manifests().iter().filter(|one| one.platform().is_some()).count())
            .map_err(text),
        serde_json::from_slice::<ImageConfiguration>(bytes)
            .map(|configuration| configuration.rootfs().diff_ids().len())
            .map_err(text),
    ]
}

/// What a container of this task and image is made of: its OCI configuration.
///
/// # Errors
/// Why it is none.
pub fn container(task: &[u8], image: &[u8], passwd: &str, group: &str) -> Result<serde_json::Value, String> {
    let info = convert::task::info_from_payload(task).map_err(|error| words(&error))?;
    let head = convert::task::head_from_info(&info).map_err(|error| words(&error))?;
    let image: Option<ImageConfiguration> =
        if image.is_empty() { None } else { Some(serde_json::from_slice(image).map_err(|error| words(&error))?) };
    let config = image.as_ref().and_then(|image| image.config().as_ref());
    let volumes = volumes_of(&info, &head.resources, &Resources::default())?;
    let invocation = invocation(&info, config)?;
    let environment = environment(&info, config, &BTreeMap::new())?;
    let user =
        if invocation.user.is_empty() { user::User::default() } else { user::find(&invocation.user, passwd, group)? };
    let bundle = Bundle {
        argv: invocation.argv,
        environment,
        working_directory: invocation.working_directory,
        user,
        hostname: "agent".to_owned(),
        privileged: head.privileged,
        limits: limits_of(&info, &head.resources, head.privileged),
        binds: volumes
            .iter()
            .map(|volume| Bind {
                source: format!("{:?}", volume.source),
                target: volume.target.clone(),
                read_only: volume.read_only,
                recursive: false,
                propagation: volume.propagation,
            })
            .collect(),
        tmpfs: tmpfs_of(&info)?,
        share_pid_namespace: false,
    };
    Ok(bundle.config())
}

/// A user of an image by its files.
///
/// # Errors
/// Why there is none.
pub fn user(text: &str, passwd: &str, group: &str) -> Result<(u32, u32), String> {
    user::find(text, passwd, group).map(|user| (user.uid, user.gid))
}

/// The script of rules that a table of the master's means on agent `agent`, and that which leads there from `before`.
pub fn rules(table: &Table, before: &Table, agent: &str) -> Vec<String> {
    let nothing = BTreeSet::new();
    let (rules, before) = (Rules::of(table, agent, &nothing), Rules::of(before, agent, &nothing));
    let mut scripts: Vec<String> = rules.iter().map(vip::script::whole).collect();
    if let (Some(rules), Some(before)) = (&rules, &before) {
        scripts.extend(before.edits_to(rules).map(|edits| vip::script::edits(&edits)));
    }
    scripts
}

/// Cgroup hierarchies of a `/proc/self/mountinfo`, and the percentage of a `/proc/pressure/memory`.
pub fn kernel_text(text: &str) -> (Vec<PathBuf>, Option<u32>) {
    (pods::cgroup::hierarchies(text), oversubscription::stalled_percent(text))
}

/// Messages of a netlink socket, each taken for an entry of the connections' table.
pub fn netlink(mut bytes: &[u8]) -> usize {
    let mut entries = 0;
    while let Some((_, _, payload, after)) = vip::netlink::message(bytes) {
        assert!(after.len() < bytes.len(), "a message has a length");
        bytes = after;
        entries += usize::from(payload.get(4..).and_then(vip::connections::connection).is_some());
    }
    entries
}
