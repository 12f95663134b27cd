//! The package `hello-world`: a web server in some replicas. Also the smallest whole framework there is.
use framework_sdk::spec::{
    CheckKind, CheckSpec, DecommissionSpec, PodSpec, PortKind, PortSpec, Root, ServiceSpec, TaskSpec,
};
use framework_sdk::view::{Placement, ServiceView};
use framework_sdk::{Config, Framework, PodInstance, RenderedPod, RenderedTask, Sdk};
use model::{Milli, Refusal, RoleName, Span};

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
    options: Options,
}

impl Framework for Hello {
    async fn target(&self, _current: Option<&ServiceSpec>) -> Result<ServiceSpec, Refusal> {
        #[allow(clippy::cast_possible_truncation)] // the schema bounds it
        let cpus = Milli((self.options.cpus * 1000.0).round() as i64);
        let server = TaskSpec {
            name: "server".to_owned(),
            root: Root::Image(self.options.image.clone()),
            cpus,
            mem: Milli::units(self.options.mem),
            ports: vec![PortSpec { name: "http".to_owned(), kind: PortKind::Any }],
            // As the first process of its container, httpd does not hear SIGTERM.
            kill_grace: Some(Span::millis(500)),
            readiness: Some(CheckSpec::new(CheckKind::http("http", "/"))),
            ..TaskSpec::default()
        };
        let web = PodSpec {
            name: "web".to_owned(),
            count: self.options.count,
            tasks: vec![server],
            executor_cpus: Milli(10),
            executor_mem: Milli::units(32),
            decommission: Some(DecommissionSpec::default()),
            replace_unreachable_after: Some(Span::seconds(self.options.replace_unreachable_after_seconds)),
            configuration: [("message".to_owned(), self.options.message.clone())].into(),
            ..PodSpec::default()
        };
        Ok(ServiceSpec::new(&self.name, self.role.clone(), vec![web]))
    }

    async fn render(
        &self,
        instance: &PodInstance,
        placement: &Placement,
        _: &ServiceView,
    ) -> Result<RenderedPod, Refusal> {
        let port = placement.port("http").unwrap_or_default().to_string();
        let page = format!("{}\n{} on {}\n", self.options.message, instance.name, placement.agent_name);
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
    let hello = Hello {
        name: config.framework_name.clone(),
        role: sdk.role().clone(),
        options: serde_json::from_value(config.options.clone())?,
    };
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
