//! The first words of a connection: read within bounds, looked at, and handed on unread.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::{HELLO_BYTES_MAX, HELLO_TIME};

/// Why a connection was not listened to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("client hello did not arrive in time")]
    TooSlow,
    #[error("client hello is longer than {HELLO_BYTES_MAX} bytes")]
    TooLong,
    #[error("connection ended before its client hello")]
    Closed,
    #[error("client hello is malformed")]
    Malformed(#[source] rustls::Error),
    #[error("read client hello")]
    Read(#[source] io::Error),
}

/// A connection whose ClientHello was read: the name it asks for, and the bytes read so far.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) server_name: Option<String>,
    pub(crate) bytes: Bytes,
}

/// Reads until the ClientHello is complete.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Hello, HelloError> {
    tokio::time::timeout(HELLO_TIME, read_all(stream)).await.unwrap_or(Err(HelloError::TooSlow))
}

pub(crate) async fn read_all(mut stream: impl AsyncRead + Unpin) -> Result<Hello, HelloError> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut bytes = Vec::with_capacity(2048);
    let mut fed = 0;
    loop {
        // What rustls did not take at once is offered again.
        while fed < bytes.len() {
            let mut rest = &bytes[fed..];
            match acceptor.read_tls(&mut rest).map_err(HelloError::Read)? {
                0 => break,
                taken => fed += taken,
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let server_name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                return Ok(Hello { server_name, bytes: bytes.into() });
            }
            Ok(None) => {}
            Err((error, _alert)) => return Err(HelloError::Malformed(error)),
        }
        let room = HELLO_BYTES_MAX - bytes.len();
        if room == 0 {
            return Err(HelloError::TooLong);
        }
        let read = (&mut stream).take(room as u64).read_buf(&mut bytes).await.map_err(HelloError::Read)?;
        if read == 0 {
            return Err(HelloError::Closed);
        }
    }
}

/// A connection with bytes put back in front of it.
#[derive(Debug)]
pub(crate) struct Rewound {
    prefix: Bytes,
    stream: TcpStream,
}

impl Rewound {
    pub(crate) fn new(prefix: Bytes, stream: TcpStream) -> Self {
        Self { prefix, stream }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let taken = self.prefix.len().min(out.remaining());
        out.put_slice(&self.prefix[..taken]);
        self.prefix.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
