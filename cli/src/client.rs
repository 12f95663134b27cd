//! The way to the pool: address and identity, the operator API, frameworks' APIs behind the master, and agents.
use std::path::{Path, PathBuf};

use daemon::client::HttpClient;
use daemon::identity::Identity;
use proto::mezzo::v1::agent_operator_client::AgentOperatorClient;
use proto::mezzo::v1::operator_client::OperatorClient;
use proto::mezzo::v1::{ListTasksRequest, TaskDescription};
use serde::de::DeserializeOwned;
use tonic::transport::Channel;

use crate::failure::{Failure, Result};
use crate::grammar::Global;
use crate::limits;

/// Where a master is looked for if nobody says.
pub(crate) const MASTER: &str = "127.0.0.1:5050";
/// The name every master's certificate has.
const MASTER_NAME: &str = "master.mezzo";

/// An operator's connection to a pool.
pub(crate) struct Pool {
    pub(crate) address: String,
    identity: Identity,
    channel: Channel,
    http: HttpClient,
}

impl Pool {
    /// Reads the identity; nothing is dialled yet.
    pub(crate) fn connect(global: &Global) -> Result<Self> {
        let address = global.master.clone().unwrap_or_else(|| MASTER.to_owned());
        let directory = match &global.identity {
            Some(directory) => directory.clone(),
            None => default_identity()?,
        };
        Self::with_identity(&address, &directory)
    }
    /// With an identity of a certain directory.
    pub(crate) fn with_identity(address: &str, directory: &Path) -> Result<Self> {
        let identity = Identity::load(directory).map_err(|error| {
            Failure::while_doing("no identity to show to the master", &error)
                .next("mezzo up and mezzo master init make one; name another directory with --identity")
        })?;
        let tls =
            |error: daemon::tls::TlsError| Failure::while_doing(format!("talk to the master at {address}"), &error);
        let channel = daemon::client::channel(address, MASTER_NAME, &identity).map_err(tls)?;
        let http = HttpClient::new(address, MASTER_NAME, &identity).map_err(tls)?;
        Ok(Self { address: address.to_owned(), identity, channel, http })
    }
    /// The operator API.
    pub(crate) fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel.clone()).max_decoding_message_size(limits::ANSWER_BYTES_MAX)
    }
    /// The master's HTTP side.
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }
    /// A failure out of what the master said.
    pub(crate) fn refused(&self, status: &tonic::Status) -> Failure {
        Failure::status(&format!("the master at {}", self.address), status)
    }
    /// GET of a framework's API.
    pub(crate) async fn framework_get<T: DeserializeOwned>(&self, framework: &str, path: &str) -> Result<T> {
        let bytes = self.framework_bytes(framework, path).await?;
        decode(framework, &bytes)
    }
    /// GET of a framework's API, the bytes as they are.
    pub(crate) async fn framework_bytes(&self, framework: &str, path: &str) -> Result<Vec<u8>> {
        let url = framework_url(framework, path)?;
        let answer = self.http.get(&url, limits::ANSWER_BYTES_MAX).await;
        answer
            .map(|bytes| bytes.to_vec())
            .map_err(|error| Failure::http(&format!("ask framework '{framework}'"), &error))
    }
    /// POST of JSON to a framework's API; the answer as JSON, `null` if it is empty.
    pub(crate) async fn framework_post(
        &self,
        framework: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value> {
        let url = framework_url(framework, path)?;
        let answer = self.http.post(&url, "application/json", body.to_string(), limits::ANSWER_BYTES_MAX).await;
        let bytes = answer.map_err(|error| Failure::http(&format!("ask framework '{framework}'"), &error))?;
        if bytes.is_empty() { Ok(serde_json::Value::Null) } else { decode(framework, &bytes) }
    }
    /// The task of an id, or of a name that only one has.
    pub(crate) async fn task(&self, wanted: &str) -> Result<TaskDescription> {
        let request = ListTasksRequest { framework: String::new(), all: true };
        let tasks =
            self.operator().list_tasks(request).await.map_err(|status| self.refused(&status))?.into_inner().tasks;
        if let Some(task) = tasks.iter().find(|task| task.id == wanted) {
            return Ok(task.clone());
        }
        let named: Vec<&TaskDescription> = tasks.iter().filter(|task| task.name == wanted).collect();
        let alive: Vec<&TaskDescription> = named.iter().copied().filter(|task| task.ended_unix_ms == 0).collect();
        match (alive.as_slice(), named.as_slice()) {
            ([task], _) | ([], [task]) => Ok((*task).clone()),
            ([], []) => {
                Err(Failure::not_found(format!("there is no task '{wanted}'"), "list them with: mezzo task list --all"))
            }
            ([], many) | (many, _) => {
                let ids: Vec<&str> = many.iter().map(|task| task.id.as_str()).collect();
                Err(Failure::usage(
                    format!("{} tasks are named '{wanted}'", many.len()),
                    format!("name one by its id: {}", ids.join(", ")),
                ))
            }
        }
    }
    /// The agent of a task.
    pub(crate) fn agent(&self, name: &str, address: &str, port: u32) -> Result<AgentOperatorClient<Channel>> {
        let target = format!("{address}:{port}");
        let channel = daemon::client::channel(&target, &format!("{name}.agent.mezzo"), &self.identity)
            .map_err(|error| Failure::while_doing(format!("talk to agent {name} at {target}"), &error))?;
        Ok(AgentOperatorClient::new(channel).max_decoding_message_size(limits::ANSWER_BYTES_MAX))
    }
}

fn decode<T: DeserializeOwned>(framework: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::while_doing(format!("read the answer of framework '{framework}'"), &error)
            .next("the framework may be of another version: mezzo catalog update brings it to this one")
    })
}

fn framework_url(framework: &str, path: &str) -> Result<String> {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !plain(framework) {
        return Err(Failure::not_found(
            format!("there is no framework '{framework}'"),
            "list them with: mezzo framework list",
        ));
    }
    Ok(format!("/service/{framework}{path}"))
}

/// `~/.mezzo/identity`.
pub(crate) fn default_identity() -> Result<PathBuf> {
    match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".mezzo").join("identity")),
        None => Err(Failure::usage(
            "HOME is not set, so there is no default identity",
            "name its directory with --identity",
        )),
    }
}
