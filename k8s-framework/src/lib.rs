//! The Kubernetes framework: the scheduler of a cluster, and the programs that run in its containers (`node-init`,
//! `node-cleanup`, `dns`, `add-ons`). What is decided is in `kubernetes-core`; what a framework is, in `framework-sdk`.

pub mod add_ons;
mod archive;
mod certificates;
pub mod dns;
#[doc(hidden)]
pub mod fuzzing;
pub mod image_service;
pub mod kube_client;
pub mod node_cleanup;
pub mod node_init;
pub mod pki;
pub mod scheduler;
pub mod topology;
