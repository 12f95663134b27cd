//! What operators ask of an agent: logs, commands in containers, whether the machine is fit. Operators only.
mod exec;
mod logs;

use std::pin::Pin;
use std::sync::Arc;

use daemon::serve::Peer;
use futures::Stream;
use proto::mezzo::v1 as wire;
use tonic::{Request, Response, Status, Streaming};

use crate::pods::{Context, find_task};

/// The service.
pub(crate) struct Operators {
    pub(crate) context: Arc<Context>,
}

impl Operators {
    fn allowed<T>(request: &Request<T>) -> Result<(), Status> {
        let principal = request.extensions().get::<Peer>().and_then(|peer| peer.principal.as_ref());
        match principal {
            Some(principal) if principal.is_operator() => Ok(()),
            Some(principal) => Err(Status::permission_denied(format!("{principal} is no operator"))),
            None => Err(Status::unauthenticated("show an operator's certificate")),
        }
    }

    async fn find(&self, task_id: &str) -> Result<(std::path::PathBuf, wire::ContainerSpec), Status> {
        let (state_dir, wanted) = (self.context.state_dir.clone(), task_id.to_owned());
        tokio::task::spawn_blocking(move || find_task(&state_dir, &wanted))
            .await
            .map_err(|_| Status::internal("the search for the task broke off"))?
            .ok_or_else(|| {
                let words = format!("agent {} has no sandbox of task {task_id} (or not yet)", self.context.name);
                Status::not_found(words)
            })
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl wire::agent_operator_server::AgentOperator for Operators {
    type ReadLogStream = Out<wire::LogChunk>;
    type ExecStream = Out<wire::ExecOutput>;

    async fn read_log(&self, request: Request<wire::ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        Self::allowed(&request)?;
        let request = request.into_inner();
        let (dir, spec) = self.find(&request.task_id).await?;
        let path = match request.stream.as_str() {
            "" | "stdout" => spec.stdout_path.clone(),
            "stderr" => spec.stderr_path.clone(),
            other => return Err(Status::invalid_argument(format!("stream '{other}' is neither stdout nor stderr"))),
        };
        let stream = logs::read(path.into(), dir, request.task_id, request.tail_bytes, request.follow);
        Ok(Response::new(Box::pin(stream)))
    }

    async fn exec(&self, request: Request<Streaming<wire::ExecInput>>) -> Result<Response<Self::ExecStream>, Status> {
        Self::allowed(&request)?;
        let mut input = request.into_inner();
        let Some(wire::exec_input::Kind::Start(start)) = input.message().await?.and_then(|message| message.kind) else {
            return Err(Status::invalid_argument("the first message must say what to execute"));
        };
        if start.argv.is_empty() {
            return Err(Status::invalid_argument("argv is empty"));
        }
        let (dir, spec) = self.find(&start.task_id).await?;
        let stream = exec::run(&self.context.program, &dir, &spec.name, start, input)?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn preflight(
        &self,
        request: Request<wire::PreflightRequest>,
    ) -> Result<Response<wire::PreflightReport>, Status> {
        // The master asks before it takes an installation.
        let of_master = request.extensions().get::<Peer>().and_then(|peer| peer.principal.as_ref());
        if of_master.is_none_or(|principal| principal.as_str() != "master") {
            Self::allowed(&request)?;
        }
        let state_dir = self.context.state_dir.clone();
        let report = tokio::task::spawn_blocking(move || crate::preflight::preflight(&state_dir))
            .await
            .map_err(|_| Status::internal("the checks broke off"))?;
        Ok(Response::new(report))
    }
}
