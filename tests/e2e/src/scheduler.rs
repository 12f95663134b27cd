//! A scheduler that asks for what the SDK does not: it speaks to the master as any program could, one call after the other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use daemon::identity::Identity;
use model::call::{Call, Capability, Filter, FrameworkInfo, Offer, Operation, SchedulerEvent};
use model::constraint::OfferConstraints;
use model::{FrameworkId, Principal, Refusal, RoleName, Span, TaskState, TaskStatus};
use proto::convert;
use proto::mesos::v1 as mesos;
use proto::mezzo::v1::framework_event::Kind;
use proto::mezzo::v1::frameworks_client::FrameworksClient;
use proto::mezzo::v1::{FrameworkCall, FrameworkEvent};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const LIMIT: Duration = Duration::from_secs(60);

/// A session of one framework.
#[derive(Debug)]
pub struct Scheduler {
    info: FrameworkInfo,
    calls: mpsc::Sender<FrameworkCall>,
    events: Streaming<FrameworkEvent>,
    sequence: u64,
    /// What it was lent and has not answered.
    pub offers: Vec<Offer>,
    /// What it was told of its tasks.
    pub updates: Vec<TaskStatus>,
}

impl Scheduler {
    /// Subscribes as `name`, in the role of that name.
    ///
    /// # Errors
    /// If the master does not take it.
    pub async fn subscribe(master: &str, identity: &Path, name: &str) -> Result<Self> {
        daemon::tls::install_crypto_provider();
        let identity = Identity::load(identity).context("load the framework's identity")?;
        let channel = daemon::client::channel(master, "master.mezzo", &identity).context("reach the master")?;
        let (calls, outgoing) = mpsc::channel(64);
        let info = FrameworkInfo {
            id: None,
            name: name.to_owned(),
            roles: [RoleName::new(name).context("make a role of the name")?].into(),
            failover_timeout: Span::seconds(60),
            api_url: None,
            principal: Principal::new(format!("framework/{name}")),
            capabilities: std::collections::BTreeSet::new(),
            offer_filters: std::collections::BTreeMap::new(),
        };
        // The answer comes with the first message: the call must be there before.
        let subscribe = Call::Subscribe {
            info: info.clone(),
            suppressed: std::collections::BTreeSet::new(),
            constraints: OfferConstraints::default(),
        };
        calls.send(wire(1, &subscribe, None)?).await.context("subscribe")?;
        let mut client = FrameworksClient::new(channel);
        let events = client.session(ReceiverStream::new(outgoing)).await.context("begin a session")?.into_inner();
        let mut own = Self { info, calls, events, sequence: 1, offers: Vec::new(), updates: Vec::new() };
        own.until("the subscription", |own| own.info.id.clone()).await?;
        Ok(own)
    }

    /// Its id.
    ///
    /// # Panics
    /// If it did not subscribe.
    pub fn id(&self) -> &FrameworkId {
        self.info.id.as_ref().expect("it subscribed")
    }

    /// Says that it can live with more than before.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn declare(&mut self, capabilities: &[Capability]) -> Result<()> {
        self.info.capabilities.extend(capabilities);
        let call = Call::UpdateFramework {
            info: self.info.clone(),
            suppressed: std::collections::BTreeSet::new(),
            constraints: OfferConstraints::default(),
        };
        self.call(&call).await?.map_err(|refusal| anyhow::anyhow!("refused: {refusal:?}"))
    }

    /// Makes a call and waits for what the master says to it.
    ///
    /// # Errors
    /// If the session ends.
    pub async fn call(&mut self, call: &Call) -> Result<std::result::Result<(), Refusal>> {
        self.sequence += 1;
        let (sequence, id) = (self.sequence, self.info.id.clone());
        self.calls.send(wire(sequence, call, id.as_ref())?).await.context("make a call")?;
        loop {
            if let Some((answered, outcome)) = self.next().await?
                && answered == sequence
            {
                return Ok(outcome);
            }
        }
    }

    /// Uses an offer; what is left of it comes back at once.
    ///
    /// # Errors
    /// If the session ends.
    pub async fn accept(
        &mut self,
        offer: &Offer,
        operations: Vec<Operation>,
    ) -> Result<std::result::Result<(), Refusal>> {
        self.offers.retain(|one| one.id != offer.id);
        let offers = vec![offer.id.clone()];
        self.call(&Call::Accept { offers, operations, filter: Filter { refuse: Span(0) } }).await
    }

    /// Waits for an offer that is as wanted; others are given back.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn offer(&mut self, what: &str, is_wanted: impl Fn(&Offer) -> bool) -> Result<Offer> {
        let limit = tokio::time::Instant::now() + LIMIT;
        loop {
            if let Some(offer) = self.offers.iter().find(|offer| is_wanted(offer)) {
                return Ok(offer.clone());
            }
            let unwanted: Vec<_> = std::mem::take(&mut self.offers).into_iter().map(|offer| offer.id).collect();
            if !unwanted.is_empty() {
                let decline = Call::Decline { offers: unwanted, filter: Filter { refuse: Span(0) } };
                // What was taken back meanwhile is no matter.
                let _ = self.call(&decline).await?;
            }
            if self.offers.is_empty() {
                let next = tokio::time::timeout_at(limit, self.next()).await;
                next.with_context(|| format!("no offer in time: {what}"))??;
            }
        }
    }

    /// Waits for an update of a task.
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn told(&mut self, task: &str, state: TaskState) -> Result<TaskStatus> {
        let is_it = |status: &&TaskStatus| status.task_id.as_str() == task && status.state == state;
        let what = format!("task {task} is {state:?}");
        self.until(&what, |own| own.updates.iter().find(is_it).cloned()).await
    }

    async fn until<T>(&mut self, what: &str, find: impl Fn(&Self) -> Option<T>) -> Result<T> {
        let limit = tokio::time::Instant::now() + LIMIT;
        loop {
            if let Some(found) = find(self) {
                return Ok(found);
            }
            let next = tokio::time::timeout_at(limit, self.next()).await;
            next.with_context(|| format!("not in time: {what}; told: {:#?}", self.updates))??;
        }
    }

    /// One message: noted, if it is an event; an answer to a call is returned.
    async fn next(&mut self) -> Result<Option<(u64, std::result::Result<(), Refusal>)>> {
        let message =
            self.events.message().await.context("hear the master")?.context("the master ended the session")?;
        let event = match message.kind {
            Some(Kind::Result(result)) => {
                let outcome = result.refusal.map_or(Ok(()), |refusal| Err(convert::refusal_from_wire(refusal)));
                return Ok(Some((result.sequence, outcome)));
            }
            Some(Kind::Event(event)) => convert::event::from_wire(&event).context("understand an event")?,
            Some(Kind::State(_)) | None => None,
        };
        match event {
            Some(SchedulerEvent::Subscribed { framework_id }) => self.info.id = Some(framework_id),
            Some(SchedulerEvent::Offers(offers)) => self.offers.extend(offers.iter().map(|offer| (**offer).clone())),
            Some(SchedulerEvent::Rescind(id)) => self.offers.retain(|offer| offer.id != id),
            Some(SchedulerEvent::Update(status)) => self.heard(status).await?,
            Some(SchedulerEvent::Error(why)) => bail!("the master says: {why}"),
            Some(
                SchedulerEvent::InverseOffers(_)
                | SchedulerEvent::RescindInverseOffer(_)
                | SchedulerEvent::Failure { .. }
                | SchedulerEvent::OperationUpdate(_)
                | SchedulerEvent::NotYetKnown(_),
            )
            | None => {}
        }
        Ok(None)
    }

    async fn heard(&mut self, status: TaskStatus) -> Result<()> {
        if let (Some(uuid), Some(agent_id)) = (status.uuid, status.agent_id.clone()) {
            self.sequence += 1;
            let call = Call::Acknowledge { agent_id, task_id: status.task_id.clone(), uuid };
            self.calls.send(wire(self.sequence, &call, self.info.id.as_ref())?).await.context("acknowledge")?;
        }
        self.updates.push(status);
        Ok(())
    }
}

fn wire(sequence: u64, call: &Call, id: Option<&FrameworkId>) -> Result<FrameworkCall> {
    let call = convert::call::to_wire(call, id).context("write a call")?;
    Ok(FrameworkCall { version: 1, sequence, call: Some(call), writes: Vec::new(), read_state: false })
}

/// A pod of one task: a script that sees the agent's own files. Its volumes can be written, or only read.
///
/// # Errors
/// If that is no task.
pub fn script(offer: &Offer, id: &str, text: &str, takes: &model::Resources, reads_only: bool) -> Result<Operation> {
    let mut resources = convert::resources::to_wire(takes);
    for volume in resources.iter_mut().filter_map(|it| it.disk.as_mut()).filter_map(|disk| disk.volume.as_mut()) {
        if reads_only {
            volume.mode = mesos::volume::Mode::Ro.into();
        }
    }
    let info = mesos::TaskInfo {
        name: id.to_owned(),
        task_id: mesos::TaskId { value: id.to_owned() },
        agent_id: mesos::AgentId { value: offer.agent_id.to_string() },
        resources,
        command: Some(mesos::CommandInfo { value: Some(text.to_owned()), ..mesos::CommandInfo::default() }),
        mezzo: Some(proto::mezzo::v1::TaskExtension { host_root: true, ..Default::default() }),
        ..mesos::TaskInfo::default()
    };
    let executor = mesos::ExecutorInfo {
        executor_id: mesos::ExecutorId { value: format!("{id}-pod") },
        ..mesos::ExecutorInfo::default()
    };
    Ok(Operation::Launch(convert::task::pod_from_wire(Some(&executor), &[info]).context("make a pod")?))
}
