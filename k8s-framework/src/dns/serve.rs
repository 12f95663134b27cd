//! Sockets: questions by UDP and TCP, bounded in number, size and time; others' names are passed on byte for byte.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tracing::debug;

use super::wire::{Handled, handle};
use super::{DnsError, Shared};

/// Questions at work at one time: each holds at most two messages of 64 KiB.
const QUESTIONS_MAX: usize = 512;
const CONNECTIONS_MAX: usize = 128;
/// What a datagram may carry when the client says nothing of larger ones.
const DATAGRAM_MAX: usize = 512;
/// What is sent in one at most, whatever the client says: larger ones are fragmented and lost.
const DATAGRAM_LIMIT: usize = 1232;
const UPSTREAM_TIME: Duration = Duration::from_secs(2);
const IDLE_TIME: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Server {
    zone: Shared,
    upstream: Arc<[SocketAddr]>,
}

pub(super) async fn serve(listen: SocketAddr, zone: Shared, upstream: Vec<SocketAddr>) -> Result<(), DnsError> {
    let failed = |source| DnsError::Listen { address: listen, source };
    let udp = Arc::new(UdpSocket::bind(listen).await.map_err(failed)?);
    let tcp = TcpListener::bind(listen).await.map_err(failed)?;
    let server = Server { zone, upstream: upstream.into() };
    tokio::join!(serve_udp(udp, server.clone()), serve_tcp(tcp, server));
    Ok(())
}

async fn serve_udp(socket: Arc<UdpSocket>, server: Server) {
    let permits = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let mut buffer = vec![0u8; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        // Full: dropped, as a network would; the client asks again.
        let Ok(permit) = permits.clone().try_acquire_owned() else { continue };
        let (socket, server, question) = (socket.clone(), server.clone(), buffer[..length].to_vec());
        tokio::spawn(async move {
            if let Some(answer) = server.answer(&question, false).await
                && let Err(error) = socket.send_to(&answer, from).await
            {
                debug!(%error, "answer not sent");
            }
            drop(permit);
        });
    }
}

async fn serve_tcp(listener: TcpListener, server: Server) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let server = server.clone();
        tokio::spawn(async move {
            if let Err(error) = server.serve_connection(stream).await {
                debug!(%error, "connection ended");
            }
            drop(permit);
        });
    }
}

impl Server {
    async fn serve_connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let question = tokio::time::timeout(IDLE_TIME, read(&mut stream)).await??;
            let Some(answer) = self.answer(&question, true).await else { return Ok(()) };
            tokio::time::timeout(IDLE_TIME, write(&mut stream, &answer)).await??;
        }
    }

    /// The answer's bytes; `None` for what is no question.
    async fn answer(&self, question: &[u8], is_stream: bool) -> Option<Vec<u8>> {
        let request = Message::from_vec(question).ok()?;
        let zone = self.zone.read().expect("no holder of the lock panics").clone();
        match handle(&request, zone.as_deref()) {
            Handled::Reply(reply) => {
                let bytes = reply.to_vec().ok()?;
                let room = request
                    .edns
                    .as_ref()
                    .map_or(DATAGRAM_MAX, |edns| usize::from(edns.max_payload()).min(DATAGRAM_LIMIT));
                if is_stream || bytes.len() <= room.max(DATAGRAM_MAX) {
                    Some(bytes)
                } else {
                    reply.truncate().to_vec().ok()
                }
            }
            Handled::Forward => match self.forward(question, is_stream).await {
                Some(answer) => Some(answer),
                None => {
                    let mut reply =
                        Message::error_msg(request.metadata.id, request.metadata.op_code, ResponseCode::ServFail);
                    reply.add_queries(request.queries.iter().cloned());
                    reply.to_vec().ok()
                }
            },
        }
    }

    async fn forward(&self, question: &[u8], is_stream: bool) -> Option<Vec<u8>> {
        for server in self.upstream.iter() {
            let ask = async {
                if is_stream {
                    let mut stream = TcpStream::connect(server).await?;
                    write(&mut stream, question).await?;
                    read(&mut stream).await
                } else {
                    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                    let socket = UdpSocket::bind(any).await?;
                    socket.connect(server).await?;
                    socket.send(question).await?;
                    let mut buffer = vec![0u8; 4096];
                    loop {
                        let length = socket.recv(&mut buffer).await?;
                        // Of another question: somebody guesses.
                        if length >= 2 && buffer[..2] == question[..2] {
                            buffer.truncate(length);
                            return Ok(buffer);
                        }
                    }
                }
            };
            if let Ok(Ok(answer)) = tokio::time::timeout(UPSTREAM_TIME, ask).await {
                return Some(answer);
            }
        }
        None
    }
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0u8; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await
}
