//! The kernel's side of virtual addresses in this network namespace: our table, our route, and the connections through
//! them. Blocking; whoever calls it has a thread for it.
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};

use agent_core::vip::Rules;
use tracing::{info, warn};

use super::{connections, route, script};

/// Why the kernel does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// Another agent of this network namespace has the table.
    #[error(
        "another agent of this network namespace keeps its virtual addresses; give every agent a network namespace of its own"
    )]
    Taken,
    /// No `nft`.
    #[error("start nft: install the package nftables")]
    NoNft(#[source] io::Error),
    /// `nft` could not be spoken to.
    #[error("run nft")]
    Run(#[source] io::Error),
    /// `nft` refused.
    #[error("nft refuses the rules of virtual addresses: {0}")]
    Refused(String),
    /// The range is none.
    #[error("'{0}' is no network of virtual addresses")]
    Range(String),
    /// The claim could not be made.
    #[error("claim the virtual addresses of this network namespace")]
    Claim(#[source] io::Error),
    /// The route.
    #[error("set the route to virtual addresses {range}")]
    Route {
        /// The network.
        range: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Connections.
    #[error("end connections to backends that are none any more")]
    Connections(#[source] io::Error),
}

/// What was made of it.
#[derive(Debug)]
pub(crate) struct Kernel {
    own: Ipv4Addr,
    applied: Option<Rules>,
    /// Whether what a former life of the agent left is known to be gone or ours.
    is_fresh: bool,
    /// Held as long as the table is ours. Such names belong to a network namespace, and go with the process.
    claim: Option<UnixDatagram>,
}

impl Kernel {
    /// Nothing is done yet. `own` is this agent's address.
    pub(crate) fn new(own: Ipv4Addr) -> Self {
        Self { own, applied: None, is_fresh: true, claim: None }
    }

    /// Makes the rules be these. Says whether a backend was withdrawn.
    pub(crate) fn set(&mut self, wanted: Option<&Rules>) -> Result<bool, KernelError> {
        match wanted {
            Some(rules) => self.apply(rules),
            None if self.applied.is_some() || self.is_fresh => self.remove().map(|()| false),
            None => Ok(false),
        }
    }

    fn apply(&mut self, rules: &Rules) -> Result<bool, KernelError> {
        let network = network(&rules.range)?;
        self.claim()?;
        let before = self.applied.take();
        match before.as_ref().map(|before| before.edits_to(rules)) {
            Some(Some(edits)) if edits.is_empty() => {}
            Some(Some(edits)) => {
                if let Err(error) = nft(&script::edits(&edits)) {
                    warn!(error = %daemon::error::chain(&error), "rules of virtual addresses are made anew");
                    nft(&script::whole(rules))?;
                }
            }
            Some(None) | None => nft(&script::whole(rules))?,
        }
        let withdraws = before.as_ref().is_none_or(|before| before.withdraws(rules));
        if let Some(before) = before.filter(|before| before.range != rules.range) {
            drop_route(&before.range)?;
        }
        route::set(network, self.own).map_err(|source| KernelError::Route { range: rules.range.clone(), source })?;
        self.is_fresh = false;
        self.applied = Some(rules.clone());
        if withdraws {
            self.sweep()?;
        }
        Ok(withdraws)
    }

    /// Ends connections to backends that are none.
    pub(crate) fn sweep(&self) -> Result<(), KernelError> {
        let Some(rules) = &self.applied else { return Ok(()) };
        let (base, length) = network(&rules.range)?;
        let mask = u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0);
        let ended = connections::end((base.into(), mask), |service, backend| rules.leads(service, backend));
        match ended.map_err(KernelError::Connections)? {
            0 => {}
            ended => info!(ended, "connections to withdrawn backends ended"),
        }
        Ok(())
    }

    /// Puts back what somebody else removed.
    pub(crate) fn verify(&mut self) -> Result<(), KernelError> {
        let Some(rules) = self.applied.take() else { return Ok(()) };
        if exists()? {
            route::set(network(&rules.range)?, self.own)
                .map_err(|source| KernelError::Route { range: rules.range.clone(), source })?;
            self.applied = Some(rules);
            return Ok(());
        }
        warn!("the table of virtual addresses is gone, made anew");
        self.apply(&rules).map(|_| ())
    }

    /// Leaves nothing: no table, no route, no connection.
    pub(crate) fn remove(&mut self) -> Result<(), KernelError> {
        if self.claim.is_none() {
            // What is here may be another agent's, which says so; or there is nothing to do and nothing to do it with.
            match self.claim().and_then(|()| exists()) {
                Ok(true) => {}
                Ok(false) | Err(KernelError::Taken | KernelError::NoNft(_)) => {
                    (self.is_fresh, self.claim) = (false, None);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(rules) = &mut self.applied {
            rules.services.clear();
        }
        self.sweep()?;
        nft(&script::nothing())?;
        if let Some(rules) = &self.applied {
            drop_route(&rules.range)?;
        }
        (self.applied, self.is_fresh, self.claim) = (None, false, None);
        info!("no virtual addresses here any more");
        Ok(())
    }

    fn claim(&mut self) -> Result<(), KernelError> {
        if self.claim.is_some() {
            return Ok(());
        }
        let name = SocketAddr::from_abstract_name(script::TABLE).map_err(KernelError::Claim)?;
        let socket = UnixDatagram::bind_addr(&name).map_err(|error| {
            if error.kind() == io::ErrorKind::AddrInUse { KernelError::Taken } else { KernelError::Claim(error) }
        })?;
        self.claim = Some(socket);
        Ok(())
    }
}

fn drop_route(range: &str) -> Result<(), KernelError> {
    route::remove(network(range)?).map_err(|source| KernelError::Route { range: range.to_owned(), source })
}

fn network(range: &str) -> Result<(Ipv4Addr, u8), KernelError> {
    let parse = || {
        let (address, length) = range.split_once('/')?;
        let length: u8 = length.parse().ok().filter(|length| *length <= 32)?;
        let mask = u32::MAX.checked_shl(u32::from(32 - length)).unwrap_or(0);
        Some((Ipv4Addr::from(u32::from(address.parse::<Ipv4Addr>().ok()?) & mask), length))
    };
    parse().ok_or_else(|| KernelError::Range(range.to_owned()))
}

/// Whether the table is there.
fn exists() -> Result<bool, KernelError> {
    let mut list = Command::new("nft");
    list.args(["-t", "list", "table", "ip", script::TABLE]).stdin(Stdio::null()).stdout(Stdio::null());
    list.stderr(Stdio::null()).status().map(|status| status.success()).map_err(start)
}

/// One transaction.
fn nft(script: &str) -> Result<(), KernelError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    // nft reads everything before it says anything.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(KernelError::Run)?;
    written.map_err(KernelError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    Err(KernelError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn start(error: io::Error) -> KernelError {
    if error.kind() == io::ErrorKind::NotFound { KernelError::NoNft(error) } else { KernelError::Run(error) }
}
