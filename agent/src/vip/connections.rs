//! Connections through virtual addresses that must end because their backend is none any more. The kernel would go on
//! sending them to where they began; without its entry the next packet is refused, and the client learns it at once. A
//! client on this host that only listens is told right away.
use std::io;
use std::net::Ipv4Addr;

use agent_core::vip::Endpoint;
use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::netlink::{Netlink, attribute, put};

const CONNTRACK_GET: u16 = 0x101;
const CONNTRACK_DELETE: u16 = 0x102;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const CONNTRACK_ID: u16 = 12;
const CONNTRACK_ZONE: u16 = 18;
const NESTED: u16 = 0x8000;
const SOCK_DESTROY: u16 = 21;
const INET: u8 = 2;
const TCP: u8 = 6;

/// A connection of a client to a service, and the backend it was led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(super) client: Endpoint,
    pub(super) service: Endpoint,
    pub(super) backend: Endpoint,
    original: Vec<u8>,
    id: Vec<u8>,
    zone: Option<Vec<u8>>,
}

/// Ends connections to addresses of a network (base, mask) unless they may stay; how many.
pub(super) fn end(network: (u32, u32), stays: impl Fn(Endpoint, Endpoint) -> bool) -> io::Result<usize> {
    let mut conntrack = Netlink::open(SockProtocol::NetlinkNetFilter)?;
    let mut doomed = Vec::new();
    conntrack.dump(CONNTRACK_GET, &[INET, 0, 0, 0], |payload| {
        if let Some(found) = payload.get(4..).and_then(connection)
            && u32::from(found.service.0) & network.1 == network.0
            && !stays(found.service, found.backend)
        {
            doomed.push(found);
        }
    })?;
    let mut diagnosis = Netlink::open(SockProtocol::NetlinkSockDiag)?;
    for connection in &doomed {
        forget(&mut conntrack, connection)?;
        // Not here, or the kernel cannot: the client's next packet is refused.
        let _ = diagnosis.order(SOCK_DESTROY, 0, &socket_of(connection));
    }
    Ok(doomed.len())
}

fn forget(conntrack: &mut Netlink, connection: &Connection) -> io::Result<()> {
    let mut message = vec![INET, 0, 0, 0];
    put(&mut message, TUPLE_ORIGINAL | NESTED, &connection.original);
    put(&mut message, CONNTRACK_ID, &connection.id);
    if let Some(zone) = &connection.zone {
        put(&mut message, CONNTRACK_ZONE, zone);
    }
    match conntrack.order(CONNTRACK_DELETE, 0, &message) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
        done => done,
    }
}

/// A TCP connection out of an entry.
pub(crate) fn connection(entry: &[u8]) -> Option<Connection> {
    let original = attribute(entry, TUPLE_ORIGINAL)?;
    let (client, service) = tuple(original)?;
    let (backend, _) = tuple(attribute(entry, TUPLE_REPLY)?)?;
    Some(Connection {
        client,
        service,
        backend,
        original: original.to_vec(),
        id: attribute(entry, CONNTRACK_ID)?.to_vec(),
        zone: attribute(entry, CONNTRACK_ZONE).map(<[u8]>::to_vec),
    })
}

/// Source and destination of a direction.
fn tuple(bytes: &[u8]) -> Option<(Endpoint, Endpoint)> {
    let (addresses, protocol) = (attribute(bytes, 1)?, attribute(bytes, 2)?);
    if attribute(protocol, 1)? != [TCP] {
        return None;
    }
    let address = |kind| Some(Ipv4Addr::from(<[u8; 4]>::try_from(attribute(addresses, kind)?).ok()?));
    let port = |kind| Some(u16::from_be_bytes(attribute(protocol, kind)?.try_into().ok()?));
    Some(((address(1)?, port(2)?), (address(2)?, port(3)?)))
}

/// The client's socket, if it is one of this host's.
fn socket_of(connection: &Connection) -> Vec<u8> {
    let mut message = vec![INET, TCP, 0, 0];
    message.extend_from_slice(&u32::MAX.to_ne_bytes());
    message.extend_from_slice(&connection.client.1.to_be_bytes());
    message.extend_from_slice(&connection.service.1.to_be_bytes());
    for address in [connection.client.0, connection.service.0] {
        message.extend_from_slice(&address.octets());
        message.extend_from_slice(&[0; 12]);
    }
    // Any interface, any cookie.
    message.extend_from_slice(&0u32.to_ne_bytes());
    message.extend_from_slice(&[0xff; 8]);
    message
}
