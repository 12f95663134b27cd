//! Somebody else's framework: a scheduler that the pool does not come with, written against the public SDK alone. It keeps one
//! pod with a page running.

use framework_sdk::spec::{CheckKind, CheckSpec, PodSpec, PortKind, PortSpec, Root, ServiceSpec, TaskSpec};
use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{Config, Framework, PodInstance, RenderedPod, RenderedTask, Sdk};
use model::{Milli, Refusal, RoleName};

struct Counter {
    name: String,
    role: RoleName,
}

impl Framework for Counter {
    async fn target(&self, _current: Option<&ServiceSpec>) -> Result<ServiceSpec, Refusal> {
        let server = TaskSpec {
            name: "server".to_owned(),
            root: Root::Image("pool/busybox:1".to_owned()),
            cpus: Milli(50),
            mem: Milli::units(32),
            ports: vec![PortSpec { name: "http".to_owned(), kind: PortKind::Any }],
            readiness: Some(CheckSpec::new(CheckKind::http("http", "/index.html"))),
            ..TaskSpec::default()
        };
        let pod = PodSpec {
            name: "counter".to_owned(),
            count: 1,
            tasks: vec![server],
            executor_cpus: Milli(10),
            executor_mem: Milli::units(32),
            ..PodSpec::default()
        };
        Ok(ServiceSpec::new(&self.name, self.role.clone(), vec![pod]))
    }

    async fn render(&self, _: &PodInstance, placement: &Placement, _: &ServiceView) -> Result<RenderedPod, Refusal> {
        let port = placement.port("http").unwrap_or_default().to_string();
        let server = RenderedTask::default().file("/www/index.html", "somebody else's\n").argv([
            "/bin/busybox",
            "httpd",
            "-f",
            "-p",
            &port,
            "-h",
            "/www",
        ]);
        Ok(RenderedPod { tasks: [("server".to_owned(), server)].into() })
    }
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    daemon::logging::init("e2e-counter");
    match run().await {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = daemon::error::chain(&*error), "scheduler failed");
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let sdk = Sdk::new(Config::from_environment()?)?;
    let counter = Counter { name: sdk.config().framework_name.clone(), role: sdk.role().clone() };
    Ok(sdk.run(counter, daemon::shutdown::signal()).await?)
}
