//! The table of names and virtual addresses that agents follow: made once for all of them, whenever the view has changed.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use master_core::Pool;
use master_core::view::{AgentStateView, AgentView};
use model::Timestamp;
use model::gateway::{Backend, Silent, Table, Unheard, VipEntry};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::runner::now;
use crate::view::{SharedView, View};
use crate::vips;

/// A table as it is sent.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) tag: String,
    pub(crate) json: Bytes,
}

/// The newest table; none before the core has shown what it knows.
pub(crate) type Newest = watch::Receiver<Option<Arc<Published>>>;

/// Keeps the newest table until told to stop.
pub(crate) async fn publish(
    view: SharedView,
    pool: Pool,
    started: Timestamp,
    newest: watch::Sender<Option<Arc<Published>>>,
    stop: CancellationToken,
) {
    let mut changes = view.changes();
    // Then the agents that are not back are no longer waited for, though nothing else happens.
    let heard = tokio::time::sleep(limits::UNHEARD);
    let mut heard = std::pin::pin!(heard);
    let mut waits = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = &mut heard, if waits => waits = false,
        }
        let made = table(&view.read(), &pool, started, now());
        newest.send_if_modified(|known| {
            let is_new = known.as_ref().is_none_or(|known| known.tag != made.tag);
            if is_new {
                let json = serde_json::to_vec(&made).expect("names and addresses are JSON").into();
                *known = Some(Arc::new(Published { tag: made.tag, json }));
            }
            is_new
        });
        // The view changes with every status; a table is made at most ten times a second.
        tokio::time::sleep(limits::GATEWAY_PAUSE).await;
    }
}

/// What agents are to know.
pub(crate) fn table(view: &View, pool: &Pool, started: Timestamp, now: Timestamp) -> Table {
    let known = view.agents.values().filter(|agent| agent.state != AgentStateView::Gone);
    let mut routable: std::collections::BTreeSet<_> = known.map(|agent| format!("{}/32", agent.address)).collect();
    routable.insert(pool.pod_range.clone());
    let is_early = Duration::from_millis(now.since(started).0) < limits::UNHEARD;
    let unheard = view.agents.values().filter(|agent| is_early && agent.state == AgentStateView::Recovered);
    let mut table = Table {
        tag: String::new(),
        names: view.gateway_names(),
        unheard: unheard
            .filter_map(|agent| Some(Unheard { agent: agent.name.clone(), address: agent.address.parse().ok()? }))
            .collect(),
        silent: view.agents.values().filter(|agent| is_silent(agent)).filter_map(silent).collect(),
        vip_range: pool.vip_range.clone(),
        routable,
        vips: vips::all(view).into_iter().map(|vip| entry(vip, now)).collect(),
    };
    let json = serde_json::to_vec(&table).expect("names and addresses are JSON");
    table.tag = hex::encode(Sha256::digest(json));
    table
}

/// Whether an agent that was heard of since the master's start is not any more.
fn is_silent(agent: &AgentView) -> bool {
    match agent.state {
        AgentStateView::Connected | AgentStateView::Disconnected { .. } => agent.silent.is_some(),
        AgentStateView::Unreachable { .. } => true,
        AgentStateView::Recovered | AgentStateView::Gone => false,
    }
}

fn silent(agent: &AgentView) -> Option<Silent> {
    Some(Silent { agent: agent.name.clone(), address: agent.address.parse().ok()?, port: agent.port })
}

fn entry(vip: vips::Vip<'_>, now: Timestamp) -> VipEntry {
    let ports = vip.ports.into_iter().map(|(port, behind)| {
        let live = behind.into_iter().filter(|behind| behind.out(now).is_none());
        let backends = live.filter_map(|behind| {
            Some(Backend {
                task: behind.task.head.task_id.clone(),
                agent: behind.agent?.name.clone(),
                address: behind.address()?,
                port: behind.port,
            })
        });
        (port, backends.collect())
    });
    VipEntry {
        framework_id: vip.framework.id.clone(),
        name: vip.name.to_owned(),
        address: vip.address,
        ports: ports.collect(),
    }
}
