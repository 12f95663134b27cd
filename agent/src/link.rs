//! The stream to the master: one task per connection. It turns messages into events and says when it is over; when to
//! connect, and whether to believe what is said, the core decides.
use std::time::Duration;

use agent_core::Event;
use model::link::FromAgent;
use proto::convert;
use proto::mezzo::v1::agents_client::AgentsClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::warn;

use crate::limits;

/// A connection, or the attempt at one. Dropping it ends it without a word to the core.
#[derive(Debug)]
pub(crate) struct Link {
    outbound: mpsc::Sender<proto::mezzo::v1::AgentMessage>,
    task: tokio::task::JoinHandle<()>,
    events: mpsc::Sender<Event>,
}

impl Link {
    /// Dials after a pause.
    pub(crate) fn connect(channel: Channel, after: Duration, events: mpsc::Sender<Event>) -> Self {
        let (outbound, said) = mpsc::channel(limits::OUTBOUND_MAX);
        let task = tokio::spawn({
            let events = events.clone();
            async move {
                tokio::time::sleep(after).await;
                let why = Box::pin(session(channel, said, &events)).await;
                let _ = events.send(Event::LinkDown { why }).await;
            }
        });
        Self { outbound, task, events }
    }

    /// Says something to the master. A master that does not listen loses the connection.
    pub(crate) fn send(&self, message: &FromAgent) {
        if self.outbound.try_send(convert::link::from_agent_to_wire(message)).is_err() {
            self.close("the master does not read");
        }
    }

    /// Ends the connection; `LinkDown` follows.
    pub(crate) fn close(&self, why: &'static str) {
        if self.task.is_finished() {
            return;
        }
        self.task.abort();
        let events = self.events.clone();
        tokio::spawn(async move { events.send(Event::LinkDown { why: why.to_owned() }).await });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// From the first word to the last; returns why it is over.
async fn session(
    channel: Channel,
    said: mpsc::Receiver<proto::mezzo::v1::AgentMessage>,
    events: &mpsc::Sender<Event>,
) -> String {
    let mut client = AgentsClient::new(channel)
        .max_decoding_message_size(limits::LINK_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::SAID_BYTES_MAX);
    // The core registers now: the master may wait for it before it answers the call.
    let _ = events.send(Event::LinkUp).await;
    let mut heard = match client.session(ReceiverStream::new(said)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return format!("{}: {}", status.code(), status.message()),
    };
    loop {
        match heard.message().await {
            Ok(Some(message)) => match convert::link::to_agent_from_wire(&message) {
                Ok((epoch, message)) => {
                    let _ = events.send(Event::Master { epoch, message }).await;
                }
                // Only what cannot be understood is lost; the master hears no answer and asks again or reports it.
                Err(error) => warn!(%error, "message of the master not understood"),
            },
            Ok(None) => return "the master ended the session".to_owned(),
            Err(status) => return format!("{}: {}", status.code(), status.message()),
        }
    }
}
