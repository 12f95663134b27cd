//! The package `hello-world`: a web server in some replicas. Also the smallest whole framework there is.
use framework_sdk::spec::{
    CheckKind, CheckSpec, DecommissionSpec, PodSpec, PortKind, PortSpec, Root, ServiceSpec, TaskSpec,
};
use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{Config, Framework, Handle, PodInstance, RenderedPod, RenderedTask, Sdk};
use model::{Milli, Refusal, RoleName, Span};

/// Key in the pod's configuration: what the servers say.
const MESSAGE: &str = "message";

/// `options.schema.json` of the package says what they mean and what they may be.
#[derive(serde::Deserialize)]
struct Options {
    count: u32,
    message: String,
    cpus: f64,
    mem: i64,
    image: String,
    replace_unreachable_after_seconds: u64,
}

struct Hello {
    name: String,
    role: RoleName,
    handle: Handle,
}

impl Hello {
    fn service(&self, settings: &str) -> Result<ServiceSpec, Refusal> {
        let options: Options = serde_json::from_str(settings).map_err(|error| {
            Refusal::new("SDK0001", format!("the options cannot be read: {error}"), "correct them, and update again")
        })?;
        #[allow(clippy::cast_possible_truncation)] // the schema bounds it
        let cpus = Milli((options.cpus * 1000.0).round() as i64);
        let server = TaskSpec {
            name: "server".to_owned(),
            root: Root::Image(options.image),
            cpus,
            mem: Milli::units(options.mem),
            ports: vec![PortSpec { name: "http".to_owned(), kind: PortKind::Any }],
            // As the first process of its container, httpd does not hear SIGTERM.
            kill_grace: Some(Span::millis(500)),
            readiness: Some(CheckSpec::new(CheckKind::http("http", "/"))),
            ..TaskSpec::default()
        };
        let web = PodSpec {
            name: "web".to_owned(),
            count: options.count,
            tasks: vec![server],
            executor_cpus: Milli(10),
            executor_mem: Milli::units(32),
            decommission: Some(DecommissionSpec::default()),
            replace_unreachable_after: Some(Span::seconds(options.replace_unreachable_after_seconds)),
            configuration: [(MESSAGE.to_owned(), options.message)].into(),
            ..PodSpec::default()
        };
        let service = ServiceSpec::new(&self.name, self.role.clone(), vec![web]);
        Ok(ServiceSpec { settings: Some(settings.to_owned()), ..service })
    }
}

impl Framework for Hello {
    async fn target(&self, _current: Option<&ServiceSpec>) -> Result<ServiceSpec, Refusal> {
        self.service(&self.handle.settings())
    }

    async fn preview(&self, options: &serde_json::Value) -> Result<Option<ServiceSpec>, Refusal> {
        self.service(&options.to_string()).map(Some)
    }

    async fn render(
        &self,
        instance: &PodInstance,
        placement: &Placement,
        _: &ServiceView,
    ) -> Result<RenderedPod, Refusal> {
        let port = placement.port("http").unwrap_or_default().to_string();
        // Of the pod, not of the options: while an update is under way, or was undone, they differ.
        let message = instance.pod.configuration.get(MESSAGE).map(String::as_str).unwrap_or_default();
        let page = format!("{message}\n{} on {}\n", instance.name, placement.agent_name);
        let server = RenderedTask::default().file("/www/index.html", page).argv([
            "/bin/busybox",
            "httpd",
            "-f",
            "-v",
            "-p",
            &port,
            "-h",
            "/www",
        ]);
        Ok(RenderedPod { tasks: [("server".to_owned(), server)].into() })
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let sdk = Sdk::new(Config::from_environment()?)?;
    let config = sdk.config();
    let hello = Hello { name: config.framework_name.clone(), role: sdk.role().clone(), handle: sdk.handle() };
    Ok(sdk.run(hello, daemon::shutdown::signal()).await?)
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    daemon::logging::init("mezzo-hello");
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = daemon::error::chain(&*error), "scheduler failed");
            std::process::ExitCode::FAILURE
        }
    }
}
