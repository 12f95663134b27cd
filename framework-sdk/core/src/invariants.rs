//! What must hold after every step. Ours, so a breach is a bug and ends the process.
use crate::limits;
use crate::scheduler::Scheduler;

/// Checks a scheduler.
///
/// # Panics
/// If something does not hold.
pub(crate) fn check(scheduler: &Scheduler) {
    for (task_id, (key, name)) in &scheduler.tasks {
        let record = scheduler.units.get(key).and_then(|unit| unit.tasks.get(name));
        assert_eq!(record.map(|task| &task.task_id), Some(task_id), "the index of {task_id} leads to its record");
    }
    for (launch, units) in &scheduler.launching {
        assert!(*launch <= scheduler.meta.launches, "launch {launch} has a number given before");
        for key in units {
            let is_launched = scheduler.units.get(key).is_some_and(|unit| unit.executor_id.is_some());
            assert!(is_launched, "{key} is being launched, so it has an executor");
        }
    }
    assert!(scheduler.verdicts.len() <= limits::VERDICTS_MAX, "verdicts are bounded");
    assert!(scheduler.agents.len() <= limits::AGENTS_REMEMBERED_MAX, "agents are bounded");
}
