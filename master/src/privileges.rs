//! Whose tasks may be privileged: the principals an operator configured, and those of installed packages that declare
//! the need. The list changes while the master runs, so the shell checks it, before a call reaches the core.
use std::collections::BTreeSet;
use std::sync::RwLock;

use master_core::{Config, Rejected};
use model::call::{Call, Operation};
use model::{Principal, Refusal};

/// The list.
#[derive(Debug)]
pub(crate) struct Privileges {
    configured: Config,
    granted: RwLock<BTreeSet<String>>,
}

impl Privileges {
    /// What is configured and what installed packages have; and the core's configuration, which leaves the check here.
    pub(crate) fn new(configured: Config, granted: BTreeSet<String>) -> (Self, Config) {
        let core = Config { privileged_principals: BTreeSet::from(["*".to_owned()]), ..configured.clone() };
        (Self { configured, granted: RwLock::new(granted) }, core)
    }

    /// Replaces what installed packages have.
    pub(crate) fn grant(&self, principals: BTreeSet<String>) {
        *self.granted.write().expect("nobody panics while holding the list") = principals;
    }

    fn has(&self, principal: &Principal) -> bool {
        let granted = self.granted.read().expect("nobody panics while holding the list");
        self.configured.is_privileged(principal) || granted.contains(principal.as_str())
    }

    /// Refuses an accept that launches a privileged task for somebody who may not.
    pub(crate) fn check(&self, principal: &Principal, call: &Call) -> Result<(), Refusal> {
        let Call::Accept { operations, .. } = call else { return Ok(()) };
        for (i, operation) in operations.iter().enumerate() {
            let Operation::Launch(pod) = operation else { continue };
            let asking = pod.tasks.iter().find(|task| task.head.privileged);
            if let Some(task) = asking
                && !self.has(principal)
            {
                let task_id = task.head.task_id.clone();
                let rejected = Rejected::NotPrivileged { task_id, principal: principal.clone() };
                return Err(rejected.refusal().at(format!("operations[{i}]")));
            }
        }
        Ok(())
    }
}
