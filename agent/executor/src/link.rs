//! The executor link: frames of a big-endian u32 length and a message, on a Unix socket in the pod's directory.
//! Owns encoding, bounds and the exchange of hellos; what the messages mean is decided in `core.rs` and in the agent.
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use prost::Message;
use proto::mezzo::v1::{ExecutorHello, FromExecutor, ToExecutor, from_executor, to_executor};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

use crate::limits::FRAME_BYTES_MAX;

/// The version this program speaks. An agent must speak every version since 1.
pub const VERSION: u32 = 1;
/// The socket's name in the pod's directory.
pub const SOCKET: &str = "executor.sock";

/// Why the link failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The pod's directory cannot be opened.
    #[error("open pod directory {path}")]
    OpenDir {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody listens.
    #[error("connect to executor of {path}")]
    Connect {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket failed, or a frame was too long.
    #[error("read from the executor link")]
    Read(#[source] io::Error),
    /// The socket failed.
    #[error("write to the executor link")]
    Write(#[source] io::Error),
    /// The frame is no message.
    #[error("decode a frame of {length} bytes of the executor link")]
    Decode {
        /// Its length.
        length: usize,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// The first frame was something else, or none came.
    #[error("the peer of the executor link did not say hello")]
    NoHello,
}

/// One direction: messages to the peer.
#[derive(Debug)]
pub struct Sender<M> {
    frames: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    message: PhantomData<fn(M)>,
}

/// The other direction: messages of the peer.
#[derive(Debug)]
pub struct Receiver<M> {
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    message: PhantomData<fn() -> M>,
}

/// The agent's end, after both hellos.
#[derive(Debug)]
pub struct AgentEnd {
    /// What the executor said of itself.
    pub hello: ExecutorHello,
    /// To the executor.
    pub sender: Sender<ToExecutor>,
    /// From the executor: first every unseen report, then new ones as they happen.
    pub receiver: Receiver<FromExecutor>,
}

impl AgentEnd {
    /// Connects to the executor of a pod. The newest connection wins; an older one is closed by the executor.
    pub async fn connect(pod_dir: &Path) -> Result<Self, LinkError> {
        // A socket address holds 107 bytes, a state directory may be deeper: go through a descriptor of the directory.
        let dir =
            std::fs::File::open(pod_dir).map_err(|source| LinkError::OpenDir { path: pod_dir.to_owned(), source })?;
        let address = short_address(&dir);
        let stream = UnixStream::connect(address)
            .await
            .map_err(|source| LinkError::Connect { path: pod_dir.to_owned(), source })?;
        let (mut sender, mut receiver) = split::<ToExecutor, FromExecutor>(stream);
        let ours = ExecutorHello { version: VERSION, pid: std::process::id() };
        sender.send(&ToExecutor { kind: Some(to_executor::Kind::Hello(ours)) }).await?;
        match receiver.recv().await?.and_then(|message| message.kind) {
            Some(from_executor::Kind::Hello(hello)) => Ok(Self { hello, sender, receiver }),
            Some(from_executor::Kind::Report(_)) | None => Err(LinkError::NoHello),
        }
    }
}

/// Both directions of a fresh connection, before any hello.
pub(crate) fn split<Out, In>(stream: UnixStream) -> (Sender<Out>, Receiver<In>) {
    let (read, write) = stream.into_split();
    let sender = Sender { frames: FramedWrite::new(write, codec()), message: PhantomData };
    let receiver = Receiver { frames: FramedRead::with_capacity(read, codec(), 4096), message: PhantomData };
    (sender, receiver)
}

/// A path of the socket that always fits a socket address, valid while `dir` is open.
pub(crate) fn short_address(dir: &std::fs::File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

impl<M: Message> Sender<M> {
    /// Sends one message.
    pub async fn send(&mut self, message: &M) -> Result<(), LinkError> {
        let mut frame = BytesMut::with_capacity(message.encoded_len());
        message.encode(&mut frame).expect("the buffer grows");
        self.frames.send(frame.freeze()).await.map_err(LinkError::Write)
    }
}

impl<M: Message + Default> Receiver<M> {
    /// The next message; nothing at the end of the stream.
    ///
    /// Cancel safe: a half-read frame stays in the buffer.
    pub async fn recv(&mut self) -> Result<Option<M>, LinkError> {
        match self.frames.next().await {
            None => Ok(None),
            Some(Err(err)) => Err(LinkError::Read(err)),
            Some(Ok(frame)) => {
                let length = frame.len();
                M::decode(frame).map(Some).map_err(|source| LinkError::Decode { length, source })
            }
        }
    }
}

pub(crate) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_type::<u32>().max_frame_length(FRAME_BYTES_MAX).new_codec()
}
