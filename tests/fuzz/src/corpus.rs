//! Good inputs, made by our own encoders where there are some: damage to them gets far.
pub mod archives;
pub mod documents;
pub mod network;
pub mod texts;
pub mod wire;
