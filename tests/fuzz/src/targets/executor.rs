//! The executor link, both ends, and what an executor makes of what it is told.
use executor::core::{Command, Core, Event, Exit};
use model::{Span, Timestamp};
use prost::Message as _;
use proto::mezzo::v1::{FromExecutor, ToExecutor, to_executor};

use crate::{check, parts};

/// More steps than that are of a loop.
const STEPS_MAX: usize = 2000;

/// A message to an executor, one from it, and frames.
pub fn target(data: &[u8]) {
    let [to, from, frames] = parts::of(data);
    if let Ok(message) = proto::bounds::decode::<ToExecutor>(to) {
        told(message);
    }
    if let Ok(message) = proto::bounds::decode::<FromExecutor>(from) {
        let bytes = message.encode_to_vec();
        assert_eq!(FromExecutor::decode(bytes.as_slice()).as_ref(), Ok(&message));
    }
    match executor::fuzzing::frames(frames) {
        Ok(read) => assert!(read.iter().map(|frame| frame.len() + 4).sum::<usize>() <= frames.len()),
        Err(error) => check::words(&error.to_string()),
    }
}

/// A pod that goes through what it was told to, with containers that fail and succeed in turn.
fn told(message: ToExecutor) {
    let mut now = Timestamp(1000);
    let mut core = Core::new(now);
    let mut waiting = match message.kind {
        Some(to_executor::Kind::Start(start)) => {
            let plans = start.containers.iter().map(|spec| (spec.task_id.clone(), executor::fuzzing::plan(spec)));
            let first = start.containers.first().map(|spec| spec.task_id.clone()).unwrap_or_default();
            let kill = Event::Kill { task_id: first, grace: Span(u64::MAX), reason: "because".to_owned() };
            vec![kill, Event::Start { containers: plans.collect() }]
        }
        Some(to_executor::Kind::Kill(kill)) => {
            vec![Event::Kill { task_id: kill.task_id, grace: Span(kill.grace_ms), reason: kill.reason }]
        }
        Some(to_executor::Kind::Seen(seen)) => vec![Event::Seen { number: seen.number }],
        Some(to_executor::Kind::Exit(_)) => vec![Event::ExitAsked],
        Some(to_executor::Kind::Hello(_)) | None => vec![Event::Connected],
    };
    let mut commands = Vec::new();
    for step in 0..STEPS_MAX {
        let Some(event) = waiting.pop() else {
            if step > STEPS_MAX / 4 {
                return;
            }
            let Some(deadline) = core.deadline() else { return };
            now = deadline.max(now);
            waiting.push(Event::Tick);
            continue;
        };
        core.step(now, now, event, &mut commands);
        for command in commands.drain(..) {
            match command {
                Command::Create { task_id, run } if step % 3 == 0 => {
                    waiting.push(Event::CreateFailed { task_id, run, error: "no".to_owned() });
                }
                Command::Create { task_id, run } => {
                    waiting.push(Event::Died { task_id: task_id.clone(), run, exit: Exit::Code(1) });
                    waiting.push(Event::Created { task_id, run, pid: 7 });
                }
                Command::Clean { task_id, run } => waiting.push(Event::Cleaned { task_id, run, oom_kills: 0 }),
                Command::Send(report) => {
                    executor::fuzzing::report(&report);
                }
                _ => {}
            }
        }
    }
}
