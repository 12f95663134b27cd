//! What the kernel is told to hold a container to: its resources, or the limits that the task gives instead.
use model::Resources;
use proto::mesos::v1 as mesos;

/// In the kernel's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory, and memory with swap.
    pub(crate) memory_bytes: Option<i64>,
    /// What it took, where it may use more: above that it is the first to give back.
    pub(crate) memory_soft_bytes: Option<i64>,
    pub(crate) cpu_shares: u64,
    pub(crate) cpu_quota_us: Option<i64>,
    pub(crate) pids: i64,
}

/// Of every 100 ms.
pub(crate) const CPU_PERIOD_US: u64 = 100_000;
/// A container needs this much to be started at all.
const MEMORY_BYTES_MIN: i64 = 6 << 20;

/// The limits of a task. Its `limits` may raise what its resources say, or lift it altogether (infinity).
pub(crate) fn limits_of(info: &mesos::TaskInfo, resources: &Resources, privileged: bool) -> Limits {
    let sum = resources.sum();
    let (cpus, memory) = (sum.cpus.0, sum.mem.0);
    let taken = (memory > 0).then(|| memory.saturating_mul(1 << 20) / 1000);
    let memory_bytes = match info.limits.get("mem").map(|scalar| scalar.value) {
        Some(value) => bounded(value, 1 << 20),
        None => taken,
    };
    // What can be taken back counts a hundredth beside what cannot.
    let revocable = resources.revocable.cpus.0;
    let shares = (cpus - revocable).saturating_mul(1024) + revocable.saturating_mul(10);
    let period = i64::try_from(CPU_PERIOD_US).expect("a small constant");
    let cpu_quota_us = match info.limits.get("cpus").map(|scalar| scalar.value) {
        Some(value) => bounded(value, period),
        None => (cpus > 0).then(|| cpus.saturating_mul(period) / 1000),
    };
    Limits {
        memory_bytes: memory_bytes.map(|bytes| bytes.max(MEMORY_BYTES_MIN)),
        memory_soft_bytes: taken.filter(|taken| memory_bytes.is_none_or(|bytes| bytes > *taken)),
        cpu_shares: u64::try_from(shares / 1000).unwrap_or(0).clamp(2, 262_144),
        // The kernel takes no quota below 1 ms.
        cpu_quota_us: cpu_quota_us.map(|quota| quota.max(1000)),
        pids: if privileged { crate::limits::PRIVILEGED_PIDS_MAX } else { crate::limits::PIDS_MAX },
    }
}

/// Units of the wire in units of the kernel; infinity and nonsense are no limit.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // bounded just before
fn bounded(value: f64, unit: i64) -> Option<i64> {
    (value.is_finite() && value > 0.0).then(|| (value.min(1.0e9) * unit as f64) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Milli, Quantities};

    #[test]
    fn limits_follow_resources_unless_the_task_says_otherwise() {
        let quantities = Quantities { cpus: Milli(1500), mem: Milli::units(64), ..Quantities::default() };
        let resources = Resources::from(quantities);
        let mut info = mesos::TaskInfo::default();
        let expected = Limits {
            memory_bytes: Some(64 << 20),
            memory_soft_bytes: None,
            cpu_shares: 1536,
            cpu_quota_us: Some(150_000),
            pids: 4096,
        };
        assert_eq!(limits_of(&info, &resources, false), expected);
        info.limits.insert("mem".to_owned(), mesos::value::Scalar { value: 128.0 });
        info.limits.insert("cpus".to_owned(), mesos::value::Scalar { value: f64::INFINITY });
        let raised = limits_of(&info, &resources, false);
        assert_eq!((raised.memory_bytes, raised.cpu_quota_us), (Some(128 << 20), None));
        assert_eq!((raised.memory_soft_bytes, raised.cpu_shares), (Some(64 << 20), 1536));
        let revocable = Resources { revocable: resources.unreserved, ..Resources::default() };
        assert_eq!(limits_of(&info, &revocable, false).cpu_shares, 15);
    }
}
