//! Connections of this agent's tasks to a host that is lost. For the kernel they live until what was sent goes unanswered for
//! a quarter of an hour; whoever keeps several (a client of a replicated store) sends some of its requests into the dead one
//! all the time. So when the master hears nothing of an agent, and its host does not answer here either, they end at once: their
//! owners open others. What belongs to no task is left alone.
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::gateway::{Silent, Table};
use nix::sys::socket::SockProtocol;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{info, warn};

use super::netlink::Netlink;

/// A host of the pool's network that is there answers in milliseconds, if only by refusing.
const ANSWER_TIME: Duration = Duration::from_millis(500);

const SOCK_DIAG: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;
/// A set of states: only what is established.
const ESTABLISHED: u32 = 1 << 1;
/// Of an answer: where the socket's identity is, and in it the peer; then the number by which `/proc` knows it.
const IDENTITY: std::ops::Range<usize> = 4..52;
const PEER: std::ops::Range<usize> = 24..40;
const INODE: std::ops::Range<usize> = 68..72;

/// Looks after the table's silent agents until dropped.
pub(super) async fn watch(own: String, mut table: watch::Receiver<Arc<Table>>) {
    let mut known: BTreeSet<Silent> = BTreeSet::new();
    loop {
        let silent: BTreeSet<Silent> =
            table.borrow_and_update().silent.iter().filter(|other| other.agent != own).cloned().collect();
        for lost in silent.difference(&known) {
            if answers(lost).await {
                continue;
            }
            let (agent, address) = (own.clone(), lost.address);
            let ended = tokio::task::spawn_blocking(move || end(address, &sockets_of_tasks(&agent))).await;
            match ended.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(count) => info!(agent = lost.agent, %address, count, "its host does not answer: connections ended"),
                Err(error) => warn!(agent = lost.agent, %address, %error, "connections to a lost host not ended"),
            }
        }
        known = silent;
        if table.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the host itself is there, whatever has become of its agent.
async fn answers(silent: &Silent) -> bool {
    match tokio::time::timeout(ANSWER_TIME, TcpStream::connect((silent.address, silent.port))).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Err(_) => false,
    }
}

/// The numbers of all sockets that processes of an agent's tasks have open.
fn sockets_of_tasks(agent: &str) -> BTreeSet<u32> {
    let mark = format!("/mezzo/{agent}/");
    let mut found = BTreeSet::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        // It may end while it is looked at.
        let groups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        if groups.contains(&mark) {
            found.extend(sockets_of(&process.path()));
        }
    }
    found
}

fn sockets_of(process: &Path) -> BTreeSet<u32> {
    let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
    let targets = open
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<RawFd>().is_ok()))
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// Ends those of these sockets that are connected to an address; how many.
fn end(address: Ipv4Addr, sockets: &BTreeSet<u32>) -> io::Result<usize> {
    let mut diagnosis = Netlink::open(SockProtocol::NetlinkSockDiag)?;
    let mut doomed = Vec::new();
    for family in [INET, INET6] {
        diagnosis.dump(SOCK_DIAG, &request(family, ESTABLISHED, &[0; 48]), |answer| {
            let inode = answer.get(INODE).and_then(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?)));
            let is_of_task = inode.is_some_and(|inode| sockets.contains(&inode));
            if is_of_task
                && answer.get(PEER).is_some_and(|peer| is(address, family, peer))
                && let Some(identity) = answer.get(IDENTITY)
            {
                doomed.push((family, identity.to_vec()));
            }
        })?;
    }
    let mut ended = 0;
    for (family, identity) in doomed {
        match diagnosis.order(SOCK_DESTROY, 0, &request(family, u32::MAX, &identity)) {
            Ok(()) => ended += 1,
            // It ended by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

/// Family, protocol, nothing more to be told, states, which socket.
fn request(family: u8, states: u32, identity: &[u8]) -> Vec<u8> {
    let mut message = vec![family, TCP, 0, 0];
    message.extend_from_slice(&states.to_ne_bytes());
    message.extend_from_slice(identity);
    message
}

/// Whether the bytes of a peer are this address, which a socket of the newer family knows as a mapped one.
fn is(address: Ipv4Addr, family: u8, peer: &[u8]) -> bool {
    if family == INET {
        return peer.starts_with(&address.octets());
    }
    <[u8; 16]>::try_from(peer).is_ok_and(|bytes| IpAddr::from(bytes).to_canonical() == IpAddr::V4(address))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    /// A client and what was accepted for it.
    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        (client, listener.accept().expect("the other end").0)
    }

    fn number(stream: &TcpStream) -> u32 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).expect("a link");
        let text = link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')).expect("a socket");
        text.parse().expect("a number")
    }

    #[test]
    fn only_sockets_of_tasks_to_the_lost_host_end() {
        let (lost, other) = (Ipv4Addr::new(127, 85, 0, 9), Ipv4Addr::new(127, 85, 0, 10));
        let [at_lost, at_other] = [lost, other].map(|address| TcpListener::bind((address, 0)).expect("a port"));
        let (mut doomed, _one) = pair(&at_lost);
        let (of_nobody, _two) = pair(&at_lost);
        let (elsewhere, _three) = pair(&at_other);
        let sockets = sockets_of(Path::new("/proc/self"));
        assert!(sockets.is_superset(&[&doomed, &of_nobody, &elsewhere].map(number).into()));
        let of_tasks = BTreeSet::from([number(&doomed), number(&elsewhere)]);
        assert_eq!(end(lost, &of_tasks).expect("these tests need root"), 1);
        let error = doomed.read(&mut [0; 1]).expect_err("it was ended");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        for mut kept in [&of_nobody, &elsewhere] {
            kept.write_all(b"x").expect("it lives");
        }
    }

    #[test]
    fn a_mapped_address_is_the_same() {
        let address = Ipv4Addr::new(192, 0, 2, 7);
        assert!(is(address, INET, &[192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(is(address, INET6, &address.to_ipv6_mapped().octets()));
        assert!(!is(address, INET6, &[0; 16]));
    }
}
