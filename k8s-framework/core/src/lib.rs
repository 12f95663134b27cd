//! What the Kubernetes framework decides, as pure functions: options, what runs where, the flags of every component,
//! the certificates, the manifests, etcd's membership, which node leaves and what draining it means. Nothing here reads
//! a clock, a file or the network; the shell beside it does.
#![deny(clippy::float_arithmetic)]

pub mod backup;
pub mod certificates;
pub mod cidr;
pub mod cleanup;
pub mod dns;
pub mod drain;
pub mod extra_args;
pub mod flags;
pub mod images;
pub mod kubeconfig;
pub mod limits;
pub mod lost;
pub mod manifests;
pub mod membership;
pub mod node;
pub mod options;
pub mod pki;
pub mod readiness;
pub mod scale;

pub use cidr::Network;
pub use options::Options;
