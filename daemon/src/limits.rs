//! Bounds of what a peer may make this process do before it is known.
use std::time::Duration;

/// A ClientHello with post-quantum key shares and many extensions has about 2 KiB; what is longer than 16 KiB (one TLS
/// record) is no greeting.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// From the first byte of a connection to the last of its ClientHello.
pub const HELLO_TIME: Duration = Duration::from_secs(5);
/// From the ClientHello to the end of the handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Connections at once. 8192 = 1000 agents x (1 session + a few downloads) + gateway connections; each costs two
/// descriptors when it is passed through, below the usual hard limit of 20000.
pub const CONNECTIONS_MAX: usize = 8192;
/// HTTP/2 streams per connection: a session, a few reads beside it.
pub const STREAMS_MAX: u32 = 256;
/// Time to connect to a peer.
pub const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time to connect to one backend of the gateway: it is in the pool, so a second and a retransmission are plenty.
pub const BACKEND_CONNECT_TIME: Duration = Duration::from_secs(2);
/// A client that is silent for longer, even to the kernel's probes, is gone: it may be behind a slow line.
pub const PEER_SILENCE: Duration = Duration::from_secs(90);
/// A backend that is silent for longer, even to the kernel's probes, is gone: users of a highly available service must be led
/// to another within 10 s.
pub const BACKEND_SILENCE: Duration = Duration::from_secs(3);
/// HTTP/2 pings: a peer that vanished is noticed within the sum of both.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a ping may stay unanswered.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open requests may go on after shutdown began.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);
/// Text of a refusing response kept for the error message.
pub const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;
