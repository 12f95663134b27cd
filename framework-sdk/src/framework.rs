//! What a framework adds to the SDK: its target, and hooks for what is only known while it runs.
use std::collections::BTreeMap;
use std::future::Future;

use framework_core::spec::{ArtifactSpec, InstanceName, PodSpec, ServiceSpec, VolumeSpec};
use framework_core::view::{Placement, ServiceView};
use model::{ExecutorId, Refusal, TaskId};

/// A framework. Hooks run beside each other and must be idempotent: after a restart of the scheduler they are asked
/// again. They may use the [`Handle`](crate::Handle) freely, except that waiting in a hook for a plan never ends.
pub trait Framework: Send + Sync + 'static {
    /// The service as it should be now, made of [`Handle::settings`](crate::Handle::settings). Asked after every (re)connection, when the state has been read; what it returns
    /// is set as the target. `current` is the stored target, if there is one: a framework whose target was changed at
    /// run time returns it with its options applied.
    fn target(&self, current: Option<&ServiceSpec>) -> impl Future<Output = Result<ServiceSpec, Refusal>> + Send;

    /// The service as it would be with other options, so that people can be told what an update would do. `None`: it does
    /// not tell.
    ///
    /// # Errors
    /// If the options cannot be used.
    fn preview(
        &self,
        options: &serde_json::Value,
    ) -> impl Future<Output = Result<Option<ServiceSpec>, Refusal>> + Send {
        let _ = options;
        async { Ok(None) }
    }

    /// What a pod needs beyond its specification, now that its place is known. Files become state entries, stored
    /// together with the launch, and appear in the container (0400, on a tmpfs).
    ///
    /// # Errors
    /// A refusal delays the launch and is shown as the step's reason.
    fn render(
        &self,
        instance: &PodInstance,
        placement: &Placement,
        view: &ServiceView,
    ) -> impl Future<Output = Result<RenderedPod, Refusal>> + Send {
        let _ = (instance, placement, view);
        async { Ok(RenderedPod::default()) }
    }

    /// Whether an instance whose tasks are ready does its work. Gates COMPLETE of its step; asked until it is
    /// [`Progress::Done`].
    fn probe(&self, request: &ProbeRequest, view: &ServiceView) -> impl Future<Output = Progress> + Send {
        let _ = (request, view);
        async { Progress::Done }
    }

    /// Does an action named in a plan, in `DecommissionSpec` or in `uninstall_*`; asked until it is [`Progress::Done`].
    fn act(&self, request: &ActionRequest, view: &ServiceView) -> impl Future<Output = Progress> + Send {
        let _ = view;
        let words = format!("the framework has no action '{}'", request.name);
        async { Progress::Failed(words) }
    }

    /// Whether a person may have an instance end and be launched again, with `replace` without its data.
    ///
    /// # Errors
    /// A refusal says why not, and what to do instead.
    fn may_restart(
        &self,
        instance: &InstanceName,
        replace: bool,
        view: &ServiceView,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let _ = (instance, replace, view);
        async { Ok(()) }
    }

    /// Routes added to the HTTP API. Who calls is in the request extension [`Caller`](crate::framework::Caller).
    fn routes(&self) -> axum::Router {
        axum::Router::new()
    }
}

/// Who calls the HTTP API: the principal the master vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub model::Principal);

/// A pod about to be launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodInstance {
    /// Its name.
    pub name: InstanceName,
    /// Its specification, as of the target.
    pub pod: PodSpec,
    /// The tasks launched now and their ids.
    pub tasks: BTreeMap<String, TaskId>,
    /// The executor.
    pub executor_id: ExecutorId,
    /// Whether volumes are made with this launch: nothing that earlier launches kept is there.
    pub has_new_volumes: bool,
}

/// What the renderer adds, by task name. Tasks that need nothing may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenderedPod {
    /// The tasks.
    pub tasks: BTreeMap<String, RenderedTask>,
}

/// What the renderer adds to a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RenderedTask {
    /// Replaces the specification's argv.
    pub argv: Option<Vec<String>>,
    /// Added to the environment.
    pub env: BTreeMap<String, String>,
    /// Files.
    pub files: Vec<RenderedFile>,
    /// Added to the volumes.
    pub volumes: Vec<VolumeSpec>,
    /// Fetched into its sandbox beside those of the specification.
    pub artifacts: Vec<ArtifactSpec>,
    /// The container's host name (shown inside only).
    pub hostname: Option<String>,
}

impl RenderedTask {
    /// Adds a file.
    #[must_use]
    pub fn file(mut self, container_path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.push(RenderedFile { container_path: container_path.into(), content: content.into() });
        self
    }
    /// Adds a variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }
    /// Replaces the argv.
    #[must_use]
    pub fn argv<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.argv = Some(argv.into_iter().map(Into::into).collect());
        self
    }
}

/// A file in the container: configuration or secret, never shown anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Absolute path in the container.
    pub container_path: String,
    /// What is in it.
    pub content: Vec<u8>,
}
impl std::fmt::Debug for RenderedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.container_path, self.content.len())
    }
}

/// A step whose tasks are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRequest {
    /// The plan that asks: `deploy`, `recovery`, or one of the framework's own.
    pub plan: String,
    /// The instance.
    pub instance: InstanceName,
    /// The tasks launched together.
    pub tasks: Vec<String>,
    /// Where it is.
    pub placement: Placement,
    /// From 1.
    pub attempt: u32,
}

/// An action to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionRequest {
    /// Its name.
    pub name: String,
    /// The plan that asks.
    pub plan: String,
    /// The instance, if it is about one.
    pub instance: Option<InstanceName>,
    /// Where the instance is or was.
    pub placement: Option<Placement>,
    /// From 1.
    pub attempt: u32,
}

/// What a probe or an action says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Ready; done.
    Done,
    /// Not yet, and what is missing. It is asked again after a backoff.
    NotYet(String),
    /// It went wrong. An action is tried again after a longer backoff; the words are shown as an error.
    Failed(String),
}
