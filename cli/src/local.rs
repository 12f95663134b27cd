//! A pool on this machine: a master here, agents in namespaces of their own, supervised as systemd would.
//!
//! `layout.rs` says where everything is and how it is called, `network.rs` makes links and namespaces, `enclose.rs` is
//! what an agent's process goes through before it becomes the agent, `supervise.rs` keeps the processes running, and
//! `leftovers.rs` finds whatever is left of a pool, without trusting anybody's memory.
pub(crate) mod down;
pub(crate) mod enclose;
mod layout;
mod leftovers;
mod network;
mod supervise;
pub(crate) mod up;

pub(crate) use layout::Subnet;
