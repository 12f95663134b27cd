//! Virtual addresses on this agent: the master's table and what the agent itself knows of its tasks, brought into the kernel's
//! rules whenever either changes. While the master is away the last table stands.
//!
//! Rules are made by the program `nft`: it is the one encoder of rules that knows all of them, one script is one
//! transaction of the kernel's, and a change of some milliseconds is rare. Connections and the route go by netlink.
pub(crate) mod connections;
mod kernel;
mod lost;
pub(crate) mod netlink;
mod route;
pub(crate) mod script;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use agent_core::vip::Rules;
use model::gateway::Table;
use model::{FrameworkId, TaskId};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::limits;
use kernel::{Kernel, KernelError};

type Serving = BTreeSet<(FrameworkId, TaskId)>;

/// The keeper of the rules.
#[derive(Debug)]
pub(crate) struct Vips {
    serving: watch::Sender<Option<Serving>>,
    end: oneshot::Sender<bool>,
    keeper: JoinHandle<()>,
    /// Ends what leads to hosts that are lost.
    lost: JoinHandle<()>,
}

impl Vips {
    /// Begins when the agent has said what it serves.
    pub(crate) fn start(name: String, own: Ipv4Addr, table: watch::Receiver<Arc<Table>>) -> Self {
        let (serving, seen) = watch::channel(None);
        let (end, ended) = oneshot::channel();
        let lost = tokio::spawn(lost::watch(name.clone(), table.clone()));
        let keeper = Keeper { name, kernel: Some(Kernel::new(own)), table, serving: seen };
        Self { serving, end, keeper: tokio::spawn(keeper.keep(ended)), lost }
    }
    /// The agent's own tasks behind virtual addresses that are ready.
    pub(crate) fn serve(&self, tasks: Serving) {
        self.serving.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&tasks);
            if changed {
                *known = Some(tasks);
            }
            changed
        });
    }
    /// Ends. What is in the kernel stays for the agent's next life if tasks do.
    pub(crate) async fn end(self, leave_nothing: bool) {
        self.lost.abort();
        // An error: the keeper has ended.
        let _ = self.end.send(leave_nothing);
        if let Err(error) = self.keeper.await {
            warn!(%error, "the keeper of virtual addresses did not end well");
        }
    }
}

struct Keeper {
    name: String,
    /// Away while a thread works with it; gone if that thread panicked.
    kernel: Option<Kernel>,
    table: watch::Receiver<Arc<Table>>,
    serving: watch::Receiver<Option<Serving>>,
}

impl Keeper {
    async fn keep(mut self, mut end: oneshot::Receiver<bool>) {
        let mut failing = None;
        loop {
            let wanted = self.wanted();
            let done = match wanted.clone() {
                Some(rules) => self.with_kernel(move |kernel| kernel.set(rules.as_ref())).await,
                None => Ok(false),
            };
            let wake = match done {
                Ok(withdrew) => {
                    failing = None;
                    // A connection that was being made while its backend was withdrawn is found by a second look.
                    if withdrew { limits::VIP_SECOND_LOOK } else { limits::VIP_VERIFY }
                }
                Err(error) => {
                    let pause = failing.map_or(limits::RETRY_MIN, |pause: std::time::Duration| pause * 2);
                    if failing.is_none() {
                        warn!(error = %daemon::error::chain(&error), "virtual addresses do not work here, trying again");
                    }
                    failing = Some(pause.min(limits::RETRY_MAX));
                    pause.min(limits::RETRY_MAX)
                }
            };
            let mut wake = wake;
            loop {
                tokio::select! {
                    leave_nothing = &mut end => return self.last(leave_nothing.unwrap_or(false)).await,
                    changed = self.table.changed() => if changed.is_err() { return },
                    changed = self.serving.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(wake), if failing.is_none() => {
                        let look = wake == limits::VIP_SECOND_LOOK;
                        let looked = self.with_kernel(move |kernel| if look { kernel.sweep() } else { kernel.verify() });
                        match looked.await {
                            Ok(()) => {
                                wake = limits::VIP_VERIFY;
                                continue;
                            }
                            Err(error) => {
                                warn!(error = %daemon::error::chain(&error), "virtual addresses not looked after");
                            }
                        }
                    }
                    () = tokio::time::sleep(wake), if failing.is_some() => {}
                }
                break;
            }
        }
    }

    /// What should be; `None`: not known yet.
    fn wanted(&mut self) -> Option<Option<Rules>> {
        let serving = self.serving.borrow_and_update();
        let table = self.table.borrow_and_update();
        serving.as_ref().map(|serving| Rules::of(&table, &self.name, serving))
    }

    async fn last(mut self, leave_nothing: bool) {
        if leave_nothing && let Err(error) = self.with_kernel(Kernel::remove).await {
            warn!(error = %daemon::error::chain(&error), "virtual addresses not removed");
        }
        info!(leave_nothing, "virtual addresses are no longer looked after");
    }

    async fn with_kernel<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let mut kernel = self.kernel.take().expect("it is put back by whoever takes it");
        let (kernel, done) = tokio::task::spawn_blocking(move || {
            let done = work(&mut kernel);
            (kernel, done)
        })
        .await
        .expect("work with the kernel does not panic");
        self.kernel = Some(kernel);
        done
    }
}

#[cfg(test)]
mod tests;
