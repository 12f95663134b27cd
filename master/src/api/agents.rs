//! The agent link: joining by token, one stream per agent, and secrets for the tasks that run on it.
use std::sync::Arc;

use daemon::identity::CertificateRequest;
use daemon::serve::Peer;
use master_core::Event;
use model::{FrameworkId, Principal, Refusal, TaskId};
use proto::convert;
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::agents_server::Agents;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info};

use super::{Context, known};
use crate::limits;
use crate::pki::is_dns_label;
use crate::refusal;
use crate::registry::{Table, record};
use crate::runner::Outbound;

pub(super) struct Api {
    pub(super) context: Arc<Context>,
}

#[tonic::async_trait]
impl Agents for Api {
    type SessionStream = ReceiverStream<Result<wire::MasterMessage, Status>>;

    async fn join(&self, request: Request<wire::JoinRequest>) -> Result<Response<wire::JoinReply>, Status> {
        self.admit(&request.into_inner()).await.map(Response::new).map_err(|refusal| refusal::status(&refusal))
    }

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let name = agent_name(request.extensions().get::<Peer>()).map_err(|refusal| refusal::status(&refusal))?;
        let (queue, outgoing) = mpsc::channel(limits::AGENT_QUEUE);
        let closed = CancellationToken::new();
        let core = self.context.core.clone();
        let session = core.next_session();
        let epoch = self.context.pool.epoch;
        debug!(session = session.0, name, "agent connected");
        core.open_agent(session, name, Outbound { queue: queue.clone(), closed: closed.clone() }).await;
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    message = messages.message() => message,
                    () = closed.cancelled() => break,
                };
                match message {
                    Ok(Some(message)) => match convert::link::from_agent_from_wire(&message) {
                        Ok(message) => core.tell(Event::AgentSaid { session, message }).await,
                        Err(error) => {
                            // An agent that cannot be understood cannot be trusted with tasks.
                            let refused = model::link::ToAgent::Refused(Refusal::from(error));
                            let _ = queue.try_send(Ok(convert::link::to_agent_to_wire(&refused, epoch)));
                            break;
                        }
                    },
                    Ok(None) => break,
                    Err(status) => {
                        debug!(session = session.0, %status, "agent's stream broke");
                        let _ = queue.try_send(Err(status));
                        break;
                    }
                }
            }
            core.tell(Event::AgentClosed { session }).await;
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn fetch_secret(
        &self,
        request: Request<wire::FetchSecretRequest>,
    ) -> Result<Response<wire::FetchSecretReply>, Status> {
        let name = agent_name(request.extensions().get::<Peer>()).map_err(|refusal| refusal::status(&refusal))?;
        let value = self.secret(&name, &request.into_inner()).map_err(|refusal| refusal::status(&refusal))?;
        Ok(Response::new(wire::FetchSecretReply { value }))
    }
}

impl Api {
    async fn admit(&self, request: &wire::JoinRequest) -> Result<wire::JoinReply, Refusal> {
        if !is_dns_label(&request.name) {
            let name = &request.name;
            return Err(refusal::malformed("name", format!("'{name}' is not a DNS label of a-z, 0-9 and '-'")));
        }
        let wanted = CertificateRequest {
            principal: Principal::new(format!("agent/{}", request.name)),
            dns_names: vec![format!("{}.agent.mezzo", request.name)],
            addresses: Vec::new(),
            valid: limits::IDENTITY_VALID,
        };
        // Signed before the token is used up: a malformed request costs no token. Nothing is sent before.
        let certificate_pem = self.context.authority.sign(&request.csr_pem, &wanted).map_err(|error| {
            refusal::malformed("csr_pem", format!("the signing request is malformed: {}", daemon::error::chain(&error)))
        })?;
        self.context.tokens.take(&request.token).await?;
        info!(name = request.name, "agent joined");
        Ok(wire::JoinReply { certificate_pem, ca_pem: self.context.authority.ca_pem().to_owned() })
    }

    /// A secret of a task that was launched on this agent and refers to it; nothing else, and no hint of what exists.
    fn secret(&self, agent: &str, request: &wire::FetchSecretRequest) -> Result<bytes::Bytes, Refusal> {
        let denied = || {
            refusal::forbidden(
                format!("task {} with the secret '{}' is not on agent {agent}", request.task_id, request.key),
                "ask for secrets of own tasks only",
            )
        };
        let framework_id = FrameworkId::new(&request.framework_id).map_err(|_| denied())?;
        let task_id = TaskId::new(&request.task_id).map_err(|_| denied())?;
        {
            let view = self.context.view.read();
            let task = view.tasks.get(&(framework_id.clone(), task_id)).ok_or_else(denied)?;
            let is_there = view.agents.get(&task.agent_id).is_some_and(|owner| owner.name == agent);
            if !is_there || task.status.state.is_terminal() || !task.head.secrets.contains(&request.key) {
                return Err(denied());
            }
        }
        let failed = |error| refusal::failed("read the secret", &error);
        let key = record::state_key(&framework_id, &request.key);
        let bytes = self.context.registry.get(Table::State, &key).map_err(failed)?.ok_or_else(|| {
            refusal::not_found(format!("the secret '{}' was deleted", request.key), "write it again, then launch again")
        })?;
        let found: wire::StateRecord = record::read(Table::State, &key, &bytes).map_err(failed)?;
        Ok(found.value)
    }
}

/// The name in an agent's certificate.
fn agent_name(peer: Option<&Peer>) -> Result<String, Refusal> {
    let principal = known(peer)?;
    let name = principal.as_str().strip_prefix("agent/");
    let name =
        name.ok_or_else(|| refusal::forbidden(format!("{principal} is not an agent"), "join the pool with a token"))?;
    Ok(name.to_owned())
}
