//! The agent's connection: the newest one counts, older ones are closed.
use proto::mezzo::v1::{ExecutorHello, FromExecutor, ToExecutor, from_executor, to_executor};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::pod::Input;
use crate::chain;
use crate::limits::OUTBOUND_FRAMES_MAX;
use crate::link::{self, LinkError, VERSION};

/// The current connection, if any.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Rises with every connection: input of an older one is ignored.
    number: u64,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    outbound: mpsc::Sender<FromExecutor>,
    task: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub(super) fn accept(&mut self, stream: UnixStream, inbox: mpsc::Sender<Input>) {
        self.number += 1;
        let (outbound, frames) = mpsc::channel(OUTBOUND_FRAMES_MAX);
        let number = self.number;
        let task = tokio::task::spawn_local(async move {
            if let Err(err) = converse(stream, number, &inbox, frames).await {
                warn!(error = %chain(&err), "agent connection ended");
            }
            debug!(number, "agent disconnected");
        });
        self.connection = Some(Connection { outbound, task });
    }
    pub(super) fn is_current(&self, number: u64) -> bool {
        self.number == number && self.connection.is_some()
    }
    /// Best effort: what is not sent now is sent after the next connect.
    pub(super) fn send(&mut self, message: FromExecutor) {
        let Some(connection) = &self.connection else { return };
        if connection.outbound.try_send(message).is_err() {
            self.connection = None;
        }
    }
}

async fn converse(
    stream: UnixStream,
    connection: u64,
    inbox: &mpsc::Sender<Input>,
    mut frames: mpsc::Receiver<FromExecutor>,
) -> Result<(), LinkError> {
    let (mut sender, mut receiver) = link::split::<FromExecutor, ToExecutor>(stream);
    match receiver.recv().await?.and_then(|message| message.kind) {
        Some(to_executor::Kind::Hello(hello)) => debug!(version = hello.version, pid = hello.pid, "agent connected"),
        Some(_) | None => return Err(LinkError::NoHello),
    }
    let hello = ExecutorHello { version: VERSION, pid: std::process::id() };
    sender.send(&FromExecutor { kind: Some(from_executor::Kind::Hello(hello)) }).await?;
    if inbox.send(Input::Connected { connection }).await.is_err() {
        return Ok(());
    }
    loop {
        tokio::select! {
            message = receiver.recv() => match message? {
                None => return Ok(()),
                Some(ToExecutor { kind }) => {
                    // A kind this version does not know is not for it.
                    let Some(kind) = kind else { continue };
                    if inbox.send(Input::Told { connection, kind }).await.is_err() {
                        return Ok(());
                    }
                }
            },
            frame = frames.recv() => match frame {
                None => return Ok(()),
                Some(frame) => sender.send(&frame).await?,
            },
        }
    }
}
