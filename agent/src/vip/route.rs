//! The route to the virtual addresses. The kernel asks for one before it asks our rules where a connection of this host
//! really goes, and takes the source address from it. What our rules do not lead elsewhere ends at the loopback device.
use std::io;
use std::net::Ipv4Addr;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::netlink::{CREATE_OR_REPLACE, Netlink, put};

const NEW: u16 = 24;
const DELETE: u16 = 25;
const DESTINATION: u16 = 1;
const OUTPUT_INTERFACE: u16 = 4;
const PREFERRED_SOURCE: u16 = 7;
/// The loopback device of every network namespace.
const LOOPBACK: u32 = 1;
/// Marks routes as ours, as those to other agents' pods are.
const PROTOCOL: u8 = 77;

/// Makes it; making it again changes nothing.
pub(super) fn set(network: (Ipv4Addr, u8), source: Ipv4Addr) -> io::Result<()> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let mut message = describe(network);
    let plain = message.clone();
    put(&mut message, PREFERRED_SOURCE, &source.octets());
    match netlink.order(NEW, CREATE_OR_REPLACE, &message) {
        // The address is another machine's that forwards to this one: the kernel chooses among those it has.
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
            netlink.order(NEW, CREATE_OR_REPLACE, &plain)
        }
        done => done,
    }
}

/// Removes it, if it is there.
pub(super) fn remove(network: (Ipv4Addr, u8)) -> io::Result<()> {
    match Netlink::open(SockProtocol::NetlinkRoute)?.order(DELETE, 0, &describe(network)) {
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(()),
        done => done,
    }
}

fn describe((base, length): (Ipv4Addr, u8)) -> Vec<u8> {
    // IPv4, main table, ours, link scope, unicast.
    let mut message = vec![2, length, 0, 0, 254, PROTOCOL, 253, 1, 0, 0, 0, 0];
    put(&mut message, DESTINATION, &base.octets());
    put(&mut message, OUTPUT_INTERFACE, &LOOPBACK.to_ne_bytes());
    message
}
