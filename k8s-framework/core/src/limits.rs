//! Bounds of the Kubernetes framework, each with its reason.

/// Nodes of one cluster. One node is one agent for now, and every node's DNS is an address of the `kube-dns` endpoints:
/// 1000 addresses is what an Endpoints object may hold.
pub const NODES_MAX: u32 = 1000;

/// etcd members: 3 survive one loss; more only slow every write down.
pub const ETCD_MEMBERS_MAX: usize = 3;

/// Bytes of the options document; a full one is below 4 KiB.
pub const OPTIONS_BYTES_MAX: usize = 64 * 1024;

/// A service network wider than this is refused by the apiserver (its allocator keeps 2^20 bits).
pub const SERVICE_PREFIX_MIN: u8 = 12;

/// A narrower one has no room for the fixed addresses .1 (`kubernetes`) and .10 (`kube-dns`).
pub const SERVICE_PREFIX_MAX: u8 = 27;

/// MiB a node needs beyond its pods: kubelet 90 + containerd 60 + a shim of 12 for each of 8 system pods + page cache
/// that is not reclaimed in time + the eviction threshold. Less than this and the kubelet itself is killed.
pub const NODE_OVERHEAD_MEM_MIN: i64 = 256;

/// Image archives of one cluster: each is asked for at every node every few seconds, and the list is one state entry
/// (256 x 2 KiB).
pub const ARCHIVES_MAX: usize = 256;

/// Bytes of the file in an archive that names its images; a large one is some KiB.
pub const ARCHIVE_MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Flags that a user adds to one component.
pub const EXTRA_ARGS_MAX: usize = 64;
/// Letters of such a flag's name; the longest of Kubernetes has 51.
pub const EXTRA_ARG_NAME_MAX: usize = 64;
/// Bytes of its value: 64 of these for six components would be more than the options may have; those are checked, too.
pub const EXTRA_ARG_BYTES_MAX: usize = 4096;

/// Backups of one kind that the master keeps for a cluster: two kinds of these are below the 128 files of a framework.
pub const BACKUPS_MAX: u32 = 50;
