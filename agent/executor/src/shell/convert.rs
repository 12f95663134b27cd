//! Between the wire and the core. Zeros on the wire become the defaults of `limits.rs` here and nowhere else.
use model::time::{Span, Timestamp};
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::container_report::Kind;
use proto::mezzo::v1::ended::How;

use crate::core::{CheckKind, CheckPlan, ContainerPlan, EndCause, Exit, Report, ReportKind, RestartPolicy};
use crate::limits::{BACKOFF_MS_MAX, BACKOFF_MS_MIN, CHECK_FAILURES, CHECK_INTERVAL_MS, CHECK_TIMEOUT_MS};

pub(crate) fn plan(spec: &wire::ContainerSpec) -> ContainerPlan {
    ContainerPlan {
        name: spec.name.clone(),
        restart: restart(spec.restart.as_ref()),
        readiness: spec.readiness.as_ref().map(check_plan),
        health: spec.health.as_ref().map(check_plan),
        kill_grace: Span(spec.kill_grace_ms),
        completion_max: (spec.completion_ms_max > 0).then_some(Span(spec.completion_ms_max)),
    }
}

pub(super) fn timeout(check: &wire::Check) -> std::time::Duration {
    std::time::Duration::from_millis(or(check.timeout_ms, CHECK_TIMEOUT_MS))
}

pub(crate) fn report(report: &Report) -> wire::ContainerReport {
    let kind = match &report.kind {
        ReportKind::Started { pid } => Kind::Started(wire::Started { pid: *pid }),
        ReportKind::Ended { exit, oom_kills, killed_on_request, why, cause } => Kind::Ended(wire::Ended {
            how: Some(match exit {
                Exit::Code(code) => How::ExitCode(*code),
                Exit::Signal(signal) => How::Signal(*signal),
                Exit::LaunchError(error) => How::LaunchError(error.clone()),
            }),
            oom_kills: *oom_kills,
            killed_on_request: *killed_on_request,
            why: why.clone(),
            cause: match cause {
                EndCause::Other => wire::ended::Cause::Other.into(),
                EndCause::OverTime => wire::ended::Cause::OverTime.into(),
                EndCause::Unhealthy => wire::ended::Cause::Unhealthy.into(),
            },
        }),
        ReportKind::Restarting { count, backoff, why } => {
            Kind::Restarting(wire::Restarting { count: *count, backoff_ms: backoff.0, why: why.clone() })
        }
        ReportKind::Checked { kind, passed, message } => Kind::Checked(wire::Checked {
            is_readiness: *kind == CheckKind::Readiness,
            passed: *passed,
            message: message.clone(),
        }),
    };
    let Timestamp(at) = report.at;
    wire::ContainerReport {
        number: report.number,
        task_id: report.task_id.clone(),
        kind: Some(kind),
        at_unix_ms: i64::try_from(at).unwrap_or(i64::MAX),
    }
}

fn restart(restart: Option<&wire::Restart>) -> RestartPolicy {
    match restart.map(|restart| (restart.policy(), restart)) {
        None | Some((wire::restart::Policy::GroupDies, _)) => RestartPolicy::GroupDies,
        Some((wire::restart::Policy::InPlace, restart)) => {
            let backoff_min = Span(or(restart.backoff_ms_min, BACKOFF_MS_MIN));
            let backoff_max = Span(or(restart.backoff_ms_max, BACKOFF_MS_MAX)).max(backoff_min);
            RestartPolicy::InPlace { backoff_min, backoff_max }
        }
    }
}

fn check_plan(check: &wire::Check) -> CheckPlan {
    CheckPlan {
        delay: Span(check.delay_ms.into()),
        interval: Span(or(check.interval_ms, CHECK_INTERVAL_MS)),
        consecutive_failures: if check.consecutive_failures == 0 { CHECK_FAILURES } else { check.consecutive_failures },
        grace: Span(check.grace_ms.into()),
    }
}

fn or(given: u32, default: u64) -> u64 {
    if given == 0 { default } else { given.into() }
}
