//! Every decoder that a stranger's bytes reach, each with what must hold of it.
pub mod agent_link;
pub mod archives;
pub mod call;
pub mod checkpoint;
pub mod constraint;
pub mod container;
pub mod dns;
pub mod event;
pub mod executor;
pub mod framework_state;
pub mod hello;
pub mod http_answer;
pub mod identity;
pub mod image;
pub mod kernel_text;
pub mod kubernetes_options;
pub mod layer;
pub mod master_link;
pub mod operator;
pub mod option_file;
pub mod package;
pub mod quantities;
pub mod registry;
pub mod requests;
pub mod resources;
pub mod rules;
pub mod service;
pub mod task;

use crate::corpus;
use crate::mutate::Shape;

/// One decoder, or a few that read the same.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As one names it.
    pub name: &'static str,
    /// What its inputs look like.
    pub shape: Shape,
    /// Good inputs to begin with, made by our own encoders where there are some.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Reads an input; panics if something does not hold.
    pub run: fn(&[u8]),
    /// How many inputs a second are tried, roughly: those that touch the disk are slower.
    pub is_slow: bool,
}

macro_rules! targets {
    ($($name:ident: $shape:expr, $seeds:path $(, $slow:ident)?;)*) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            shape: $shape,
            seeds: $seeds,
            run: $name::target,
            is_slow: targets!(@slow $($slow)?),
        }),*];
    };
    (@slow) => { false };
    (@slow slow) => { true };
}

targets! {
    call: Shape::Wire, corpus::wire::calls;
    event: Shape::Wire, corpus::wire::events;
    agent_link: Shape::Wire, corpus::wire::agent_messages;
    master_link: Shape::Wire, corpus::wire::master_messages;
    task: Shape::Parts(&[Shape::Wire, Shape::Wire]), corpus::wire::tasks;
    resources: Shape::Wire, corpus::wire::resources;
    constraint: Shape::Text, corpus::texts::expressions;
    executor: Shape::Parts(&[Shape::Wire, Shape::Wire, Shape::Bytes]), corpus::wire::executor;
    operator: Shape::Parts(&[Shape::Bytes, Shape::Wire]), corpus::wire::operator;
    requests: Shape::Parts(&[Shape::Bytes, Shape::Wire]), corpus::wire::requests;
    registry: Shape::Parts(&[Shape::Bytes, Shape::Bytes, Shape::Wire]), corpus::wire::registry;
    checkpoint: Shape::Json, corpus::documents::checkpoints;
    framework_state: Shape::Parts(&[Shape::Text, Shape::Json]), corpus::documents::framework_state;
    rules: Shape::Parts(&[Shape::Json, Shape::Json]), corpus::documents::tables;
    service: Shape::Json, corpus::documents::services;
    package: Shape::Parts(&[Shape::Text, Shape::Json, Shape::Text, Shape::Json]), corpus::documents::packages;
    kubernetes_options: Shape::Json, corpus::documents::options;
    option_file: Shape::Parts(&[Shape::Bytes, Shape::Text, Shape::Text]), corpus::texts::option_files;
    quantities: Shape::Text, corpus::texts::quantities;
    kernel_text: Shape::Bytes, corpus::texts::kernel;
    image: Shape::Parts(&[Shape::Json, Shape::Text]), corpus::documents::images;
    container: Shape::Parts(&[Shape::Wire, Shape::Json, Shape::Text, Shape::Text]), corpus::documents::containers;
    layer: Shape::Parts(&[Shape::Bytes, Shape::Tar]), corpus::archives::layers, slow;
    archives: Shape::Tar, corpus::archives::archives, slow;
    hello: Shape::Bytes, corpus::network::hellos;
    identity: Shape::Text, corpus::network::identities;
    dns: Shape::Bytes, corpus::network::questions;
    http_answer: Shape::Bytes, corpus::network::http_answers;
}
