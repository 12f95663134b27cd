//! Backups of a cluster: what is in one, which are due and which are old, and what a restored cluster must have.
//!
//! A backup is a tar file: `secrets.json` (authorities, keys of service accounts, clients), then the etcd snapshot in parts of
//! bounded size (its length is not known before its end), then `manifest.json`. Without its manifest, which is written
//! last, it is no backup.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::images::Archive;
use crate::options::Options;

/// Format of the file that is written. A reader refuses what is newer.
pub const FORMAT: u32 = 1;
/// The keys.
pub const SECRETS: &str = "secrets.json";
/// What the rest is.
pub const MANIFEST: &str = "manifest.json";
/// Folder of the snapshot's parts.
pub const PARTS: &str = "etcd/";
/// Where the objects of a cluster lie in etcd.
pub const REGISTRY: &str = "/registry/";

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Unique: `<cluster>-<seconds>`.
    pub id: String,
    /// The cluster.
    pub cluster: String,
    /// When it was made (seconds since the epoch).
    pub created: u64,
    /// Why: `asked`, `scheduled`, `before-<what>`.
    pub reason: String,
    /// Version of `mezzo` that made it.
    pub made_by: String,
    /// Version of etcd.
    pub etcd_version: String,
    /// The cluster's options as they were, with the nodes it had.
    pub options: Options,
    /// Revision of etcd of which `objects` were counted; the snapshot holds it and perhaps later ones.
    pub revision: i64,
    /// How many objects of each kind there were.
    pub objects: BTreeMap<String, u64>,
    /// The image archives that were loaded. They are not in the backup.
    #[serde(default)]
    pub images: Vec<Archive>,
    /// The parts of the snapshot, in order.
    pub parts: Vec<Part>,
    /// Length of the whole snapshot.
    pub snapshot_bytes: u64,
    /// SHA-256 of the whole snapshot, in hex.
    pub snapshot_sha256: String,
    /// SHA-256 of the keys' file, in hex.
    pub secrets_sha256: String,
}

/// A part of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the file.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// Name of a part.
pub fn part_name(index: usize) -> String {
    format!("{PARTS}{index:05}")
}

/// The kind of the object at a key: `pods` of `/registry/pods/default/web`, `services/specs`,
/// `apps.example.org/things`. `None`: no object.
pub fn kind_of(key: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(key).ok()?.strip_prefix(REGISTRY)?;
    let mut segments = path.split('/');
    let first = segments.next().filter(|segment| !segment.is_empty())?;
    let second = segments.next()?;
    // A group is a domain; services have two kinds of records below one name.
    if first.contains('.') || first == "services" {
        return Some(format!("{first}/{second}"));
    }
    Some(first.to_owned())
}

/// What a restored cluster lacks, in words; empty: it is what the manifest says.
pub fn differences(manifest: &Manifest, revision: i64, objects: &BTreeMap<String, u64>) -> Vec<String> {
    let mut words = Vec::new();
    if revision < manifest.revision {
        words.push(format!("etcd is at revision {revision}, the backup at {}", manifest.revision));
    }
    for kind in manifest.objects.keys().chain(objects.keys().filter(|kind| !manifest.objects.contains_key(*kind))) {
        let (wanted, found) = (manifest.objects.get(kind).unwrap_or(&0), objects.get(kind).unwrap_or(&0));
        if wanted != found {
            words.push(format!("{found} {kind} instead of {wanted}"));
        }
    }
    words
}

/// A backup that is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stored {
    /// When it was made (seconds since the epoch).
    pub created: u64,
    /// Why.
    pub reason: String,
    /// The file's name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Reason of those that time asked for.
pub const SCHEDULED: &str = "scheduled";

/// Name of a file that is kept.
pub fn file_name(created: u64, reason: &str) -> String {
    let plain: String =
        reason.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).take(64).collect();
    format!("backup-{created:011}-{plain}.tar")
}

/// What a file's name says; `None`: it is no backup.
pub fn stored(name: &str, bytes: u64) -> Option<Stored> {
    let (created, reason) = name.strip_prefix("backup-")?.strip_suffix(".tar")?.split_once('-')?;
    Some(Stored { created: created.parse().ok()?, reason: reason.to_owned(), name: name.to_owned(), bytes })
}

/// Whether the time for the next one has come. `interval`: 0 is never.
pub fn is_due(kept: &[Stored], interval: u64, now: u64) -> bool {
    let last = kept.iter().filter(|one| one.reason == SCHEDULED).map(|one| one.created).max();
    interval > 0 && last.is_none_or(|last| now.saturating_sub(last) >= interval || last > now)
}

/// Which are to be deleted so that the newest `retention` stay: of the scheduled ones, and of those made before a change,
/// apart, so that a busy day of changes does not cost last week's.
pub fn old(kept: &[Stored], retention: usize) -> Vec<String> {
    let (mut scheduled, mut others): (Vec<&Stored>, Vec<&Stored>) =
        kept.iter().partition(|one| one.reason == SCHEDULED);
    let mut names = Vec::new();
    for group in [&mut scheduled, &mut others] {
        group.sort_unstable();
        let surplus = group.len().saturating_sub(retention.max(1));
        names.extend(group.iter().take(surplus).map(|one| one.name.clone()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(revision: i64, objects: &[(&str, u64)]) -> Manifest {
        Manifest {
            format: FORMAT,
            id: "demo-7".to_owned(),
            cluster: "demo".to_owned(),
            created: 7,
            reason: "asked".to_owned(),
            made_by: "0.1.0".to_owned(),
            etcd_version: "3.4.23".to_owned(),
            options: Options::default(),
            revision,
            objects: counts(objects),
            images: Vec::new(),
            parts: Vec::new(),
            snapshot_bytes: 0,
            snapshot_sha256: String::new(),
            secrets_sha256: String::new(),
        }
    }
    fn counts(objects: &[(&str, u64)]) -> BTreeMap<String, u64> {
        objects.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    #[test]
    fn keys_are_counted_by_kind() {
        for (key, kind) in [
            ("/registry/pods/default/web", Some("pods")),
            ("/registry/namespaces/default", Some("namespaces")),
            ("/registry/services/specs/default/web", Some("services/specs")),
            (
                "/registry/apiextensions.k8s.io/customresourcedefinitions/x",
                Some("apiextensions.k8s.io/customresourcedefinitions"),
            ),
            ("/registry/example.org/things/default/a", Some("example.org/things")),
            ("/registry/", None),
            ("compact_rev_key", None),
        ] {
            assert_eq!(kind_of(key.as_bytes()).as_deref(), kind, "{key}");
        }
    }

    #[test]
    fn what_a_restored_cluster_lacks_is_said() {
        let wanted = manifest(10, &[("pods", 2), ("secrets", 5)]);
        assert!(differences(&wanted, 12, &counts(&[("pods", 2), ("secrets", 5)])).is_empty());
        assert_eq!(
            differences(&wanted, 9, &counts(&[("pods", 1), ("secrets", 5), ("nodes", 1)])),
            ["etcd is at revision 9, the backup at 10", "1 pods instead of 2", "1 nodes instead of 0"]
        );
    }

    #[test]
    fn a_manifest_survives_a_round_trip() {
        let made = manifest(10, &[("pods", 2)]);
        let text = serde_json::to_string(&made).expect("JSON");
        assert_eq!(serde_json::from_str::<Manifest>(&text).expect("readable"), made);
    }

    #[test]
    fn the_newest_stay_and_changes_do_not_cost_scheduled_ones() {
        let kept: Vec<Stored> =
            [(1, SCHEDULED), (2, "before-update"), (3, SCHEDULED), (4, "before-update"), (5, "before-x")]
                .iter()
                .map(|(created, reason)| stored(&file_name(*created, reason), 1).expect("a backup's name"))
                .collect();
        assert_eq!(old(&kept, 2), ["backup-00000000002-before-update.tar"]);
        assert_eq!(old(&kept, 1).len(), 3);
        assert!(old(&kept, 9).is_empty());
        assert_eq!(stored("other.tar", 1), None);
        assert_eq!(file_name(5, "before Removal/of etcd"), "backup-00000000005-before-removal-of-etcd.tar");
    }

    #[test]
    fn one_is_due_when_the_last_scheduled_one_is_old_enough() {
        let kept =
            [stored(&file_name(100, SCHEDULED), 1).expect("one"), stored(&file_name(190, "before-x"), 1).expect("one")];
        assert!(is_due(&[], 60, 0));
        assert!(!is_due(&[], 0, 1000));
        assert!(!is_due(&kept, 60, 159));
        assert!(is_due(&kept, 60, 160));
        // A clock that was set back.
        assert!(is_due(&kept, 60, 50));
    }
}
