//! Plans at work: their views for people, the order of their members.
pub(crate) mod coordinator;
pub mod strategy;
pub mod view;

pub use view::{PhaseView, PlanView, Status, StepView};
