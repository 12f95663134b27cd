//! The framework link: one stream per scheduler. Calls go to the core in order; what does not decode is refused with its
//! field, and only its own call is affected.
use std::sync::Arc;

use daemon::serve::Peer;
use master_core::{Event, SessionId, StateWrite};
use model::{Principal, Refusal};
use proto::convert;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::frameworks_server::Frameworks;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use super::{Context, known};
use crate::limits;
use crate::pace::Paced;
use crate::refusal;
use crate::runner::{CoreHandle, Outbound};

pub(super) struct Api {
    pub(super) context: Arc<Context>,
}

#[tonic::async_trait]
impl Frameworks for Api {
    type SessionStream = Paced<Result<wire::FrameworkEvent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::FrameworkCall>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let principal =
            may_schedule(request.extensions().get::<Peer>()).map_err(|refusal| refusal::status(&refusal))?;
        let (queue, outgoing) = mpsc::channel(limits::FRAMEWORK_QUEUE);
        let closed = CancellationToken::new();
        let session = self.context.core.next_session();
        let core = self.context.core.clone();
        debug!(session = session.0, %principal, "scheduler connected");
        let room = core.room();
        let out = Outbound { queue: queue.clone(), closed: closed.clone() };
        core.open_framework(session, principal.clone(), out, room.clone()).await;
        let reader = Reader { session, principal, core, queue };
        let calls = request.into_inner();
        tokio::spawn(async move { reader.read(calls, closed).await });
        Ok(Response::new(Paced { queue: outgoing, room }))
    }
}

/// Whose name a framework may use is the core's to decide; agents have no business here.
fn may_schedule(peer: Option<&Peer>) -> Result<Principal, Refusal> {
    let principal = known(peer)?;
    if principal.is_operator() || principal.as_str().starts_with("framework/") {
        return Ok(principal.clone());
    }
    Err(refusal::forbidden(format!("{principal} is not a framework"), "use the identity framework/<name>"))
}

struct Reader {
    session: SessionId,
    principal: Principal,
    core: CoreHandle,
    queue: mpsc::Sender<Result<wire::FrameworkEvent, Status>>,
}

impl Reader {
    async fn read(self, mut calls: Streaming<wire::FrameworkCall>, closed: CancellationToken) {
        loop {
            let message = tokio::select! {
                message = calls.message() => message,
                () = closed.cancelled() => break,
            };
            match message {
                Ok(Some(call)) => self.receive(call).await,
                Ok(None) => break,
                Err(status) => {
                    debug!(session = self.session.0, %status, "scheduler's stream broke");
                    // Told if the peer still listens, for instance that its message was too large.
                    let _ = self.queue.try_send(Err(status));
                    break;
                }
            }
        }
        self.core.tell(Event::FrameworkClosed { session: self.session }).await;
    }

    async fn receive(&self, message: wire::FrameworkCall) {
        let sequence = message.sequence;
        match decode(self.session, &self.principal, message) {
            Ok(event) => self.core.tell(event).await,
            Err(refusal) => {
                let refusal = Some(convert::refusal_to_wire(&refusal));
                let result = wire::framework_event::Kind::Result(wire::CallResult { sequence, refusal });
                // A scheduler that does not read its refusals is closed by the runner for what it does not read.
                let _ = self.queue.try_send(Ok(wire::FrameworkEvent { kind: Some(result) }));
            }
        }
    }
}

/// A call, checked as far as it can be without the core.
pub(crate) fn decode(
    session: SessionId,
    principal: &Principal,
    message: wire::FrameworkCall,
) -> Result<Event, Refusal> {
    if message.version != convert::link::VERSION {
        let (theirs, ours) = (message.version, convert::link::VERSION);
        return Err(refusal::malformed(
            "version",
            format!("the framework speaks version {theirs} of the link, this master version {ours}"),
        ));
    }
    let call = message.call.map(|call| convert::call::from_wire(&call, principal)).transpose();
    let call = call.map_err(|error| Refusal::from(error.within("call")))?;
    let writes = message.writes.into_iter();
    let writes = writes.map(|write| StateWrite { key: write.key, value: write.value.map(|value| value.to_vec()) });
    Ok(Event::FrameworkCalled {
        session,
        sequence: message.sequence,
        call,
        writes: writes.collect(),
        read_state: message.read_state,
    })
}
