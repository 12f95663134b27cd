//! The event stream: what there is, then every change of it. A reader that is too slow is told how much it missed and
//! gets everything anew; it never holds back the master or other readers, and what waits for it is bounded.
use std::sync::Arc;

use master_core::Delta;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::pool_event::Kind;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Context, describe};
use crate::limits;
use crate::view::View;

pub(super) type Events = ReceiverStream<Result<wire::PoolEvent, Status>>;

/// What a reader wants to hear of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    agents: bool,
    frameworks: bool,
    tasks: bool,
    roles: bool,
}

impl Wanted {
    /// From names of kinds; none: all.
    ///
    /// # Errors
    /// The name that is no kind.
    pub(super) fn parse(kinds: &[String]) -> Result<Self, &str> {
        if kinds.is_empty() {
            return Ok(Self { agents: true, frameworks: true, tasks: true, roles: true });
        }
        let mut wanted = Self { agents: false, frameworks: false, tasks: false, roles: false };
        for kind in kinds {
            match kind.as_str() {
                "agent" => wanted.agents = true,
                "framework" => wanted.frameworks = true,
                "task" => wanted.tasks = true,
                "role" => wanted.roles = true,
                other => return Err(other),
            }
        }
        Ok(wanted)
    }

    /// A change as its readers see it; `None`: they do not want to hear of it.
    fn event(self, view: &View, delta: &Delta) -> Option<Kind> {
        Some(match delta {
            Delta::Agent(agent) if self.agents => Kind::Agent(describe::agent(view, agent)),
            Delta::AgentRemoved(id) if self.agents => Kind::AgentRemoved(id.to_string()),
            Delta::Framework(framework) if self.frameworks => Kind::Framework(describe::framework(framework)),
            Delta::AgentOffers(lent) if self.agents => {
                Kind::Agent(describe::agent(view, view.agents.get(&lent.agent_id)?))
            }
            Delta::FrameworkOffers { framework_id, .. } if self.frameworks => {
                Kind::Framework(describe::framework(view.frameworks.get(framework_id)?))
            }
            Delta::FrameworkRemoved(id) if self.frameworks => Kind::FrameworkRemoved(id.to_string()),
            Delta::Task(task) if self.tasks => Kind::Task(describe::task(view, task)),
            Delta::TaskRemoved { framework_id, task_id } if self.tasks => Kind::TaskRemoved(wire::TaskRemoved {
                framework_id: framework_id.to_string(),
                task_id: task_id.to_string(),
            }),
            Delta::Role(role) if self.roles => Kind::Role(describe::role(view, role)),
            Delta::RoleRemoved(name) if self.roles => Kind::RoleRemoved(name.to_string()),
            Delta::Agent(_)
            | Delta::AgentRemoved(_)
            | Delta::Framework(_)
            | Delta::AgentOffers(_)
            | Delta::FrameworkOffers { .. }
            | Delta::FrameworkRemoved(_)
            | Delta::Task(_)
            | Delta::TaskRemoved { .. }
            | Delta::Role(_)
            | Delta::RoleRemoved(_)
            | Delta::OfferAdded(_)
            | Delta::OfferRemoved { .. }
            | Delta::Vip { .. } => return None,
        })
    }

    /// Everything there is, and the mark that it was all.
    fn snapshot(self, view: &View) -> Vec<Kind> {
        let mut all = Vec::new();
        if self.agents {
            all.extend(view.agents.values().map(|agent| Kind::Agent(describe::agent(view, agent))));
        }
        if self.frameworks {
            all.extend(view.frameworks.values().map(|framework| Kind::Framework(describe::framework(framework))));
        }
        if self.roles {
            all.extend(view.roles.values().map(|role| Kind::Role(describe::role(view, role))));
        }
        if self.tasks {
            all.extend(view.tasks.values().map(|task| Kind::Task(describe::task(view, task))));
        }
        all.push(Kind::SnapshotEnd(wire::Done {}));
        all
    }
}

/// Begins a stream. The permit counts readers and is held as long as this one reads.
pub(super) fn watch(context: Arc<Context>, wanted: Wanted, permit: OwnedSemaphorePermit) -> Events {
    let (queue, stream) = mpsc::channel(limits::WATCHER_QUEUE);
    tokio::spawn(async move {
        // The reader has gone, or the master is going.
        let _ = follow(&context, wanted, &queue).await;
        drop(permit);
    });
    ReceiverStream::new(stream)
}

/// The stream has ended.
struct Ended;

async fn follow(
    context: &Context,
    wanted: Wanted,
    queue: &mpsc::Sender<Result<wire::PoolEvent, Status>>,
) -> Result<(), Ended> {
    let send = async |kind: Kind| queue.send(Ok(wire::PoolEvent { kind: Some(kind) })).await.map_err(|_| Ended);
    loop {
        // Both at once: no change is between the snapshot and the first one heard of.
        let (snapshot, mut deltas) = {
            let view = context.view.read();
            (wanted.snapshot(&view), context.view.deltas())
        };
        for kind in snapshot {
            send(kind).await?;
        }
        let missed = loop {
            let next = tokio::select! {
                () = queue.closed() => return Err(Ended),
                next = tokio::time::timeout(limits::HEARTBEAT, deltas.recv()) => next,
            };
            match next {
                Ok(Ok(delta)) => {
                    let event = wanted.event(&context.view.read(), &delta);
                    if let Some(kind) = event {
                        send(kind).await?;
                    }
                }
                Ok(Err(RecvError::Lagged(missed))) => break missed,
                Ok(Err(RecvError::Closed)) => return Err(Ended),
                Err(_) => send(Kind::Heartbeat(wire::Done {})).await?,
            }
        };
        send(Kind::Missed(missed)).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_or_all() {
        let all = Wanted::parse(&[]).expect("all");
        assert!(all.agents && all.frameworks && all.tasks && all.roles);
        let some = Wanted::parse(&["task".to_owned()]).expect("tasks");
        assert!(some.tasks && !some.agents && !some.frameworks && !some.roles);
        assert_eq!(Wanted::parse(&["tasks".to_owned()]).expect_err("no such kind"), "tasks");
    }

    #[test]
    fn what_nobody_wants_is_not_said() {
        let view = View::default();
        let tasks = Wanted::parse(&["task".to_owned()]).expect("tasks");
        let role = Delta::RoleRemoved(model::RoleName::new("r").expect("a role"));
        assert_eq!(tasks.event(&view, &role), None);
        let roles = Wanted::parse(&["role".to_owned()]).expect("roles");
        assert_eq!(roles.event(&view, &role), Some(Kind::RoleRemoved("r".to_owned())));
        assert_eq!(roles.snapshot(&view), [Kind::SnapshotEnd(wire::Done {})]);
    }
}
