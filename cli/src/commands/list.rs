//! `mezzo framework`, `mezzo service`.
use proto::mezzo::v1::{FrameworkDescription, ListFrameworksRequest, TeardownFrameworkRequest};
use serde::{Deserialize, Serialize};

use super::why;
use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::{Format, Framework, Global, Service};
use crate::output::{self, Rows};

pub(crate) async fn framework(verb: Framework, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    let fetch = async || {
        let answer = pool.operator().list_frameworks(ListFrameworksRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| pool.refused(&status))
    };
    match verb {
        Framework::List => output::data(global.output, &fetch().await?, |list| {
            let mut rows = Rows::new(&["NAME", "STATE", "TASKS", "OFFERS", "ROLES", "PRINCIPAL", "ID"]);
            for framework in &list.frameworks {
                rows.push([
                    framework.name.clone(),
                    framework.state.clone(),
                    framework.tasks.to_string(),
                    framework.offers.to_string(),
                    framework.roles.join(","),
                    framework.principal.clone(),
                    framework.id.clone(),
                ]);
            }
            rows
        }),
        Framework::Show { framework } => {
            let found = fetch().await?.frameworks.into_iter().find(|f| f.name == framework || f.id == framework);
            let found = found.ok_or_else(|| {
                Failure::not_found(
                    format!("there is no framework '{framework}'"),
                    "list them with: mezzo framework list",
                )
            })?;
            output::one(global.output, &found, |framework: &FrameworkDescription| {
                vec![
                    ("name", framework.name.clone()),
                    ("id", framework.id.clone()),
                    ("state", framework.state.clone()),
                    ("principal", framework.principal.clone()),
                    ("roles", framework.roles.join(",")),
                    ("tasks", framework.tasks.to_string()),
                    ("offers", framework.offers.to_string()),
                    ("api", framework.api_url.clone()),
                    ("failover", format!("{}s", framework.failover_timeout_seconds)),
                ]
            })
        }
        Framework::Teardown { framework } => {
            output::confirm(global.yes, &format!("kill all tasks of framework '{framework}' and forget it"))?;
            let request = TeardownFrameworkRequest { framework: framework.clone() };
            pool.operator().teardown_framework(request).await.map_err(|status| pool.refused(&status))?;
            output::note(&format!("framework '{framework}' is torn down"));
            Ok(())
        }
        Framework::Why { framework } => why(global, "framework", &framework).await,
    }
}

/// What the services framework says of a service.
#[derive(Debug, Serialize, Deserialize)]
struct ServiceStatus {
    name: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    instances: Vec<InstanceStatus>,
    /// Whatever else there is, for `--output json`.
    #[serde(flatten)]
    more: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InstanceStatus {
    name: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    task_id: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    message: String,
    #[serde(flatten)]
    more: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ServiceList {
    services: Vec<ServiceStatus>,
}

pub(crate) async fn service(verb: Service, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    match verb {
        Service::List => {
            let list: ServiceList = pool.framework_get("services", "/v1/services").await?;
            output::data(global.output, &list, |list| {
                let mut rows = Rows::new(&["NAME", "STATE", "KIND", "AGENT", "PACKAGE"]);
                for service in &list.services {
                    let mut agents: Vec<&str> =
                        service.instances.iter().map(|instance| instance.agent.as_str()).collect();
                    agents.dedup();
                    rows.push([
                        service.name.clone(),
                        service.state.clone(),
                        service.kind.clone(),
                        agents.join(","),
                        service.package.clone(),
                    ]);
                }
                rows
            })
        }
        Service::Show { service } => {
            let path = format!("/v1/services/{service}");
            let found: ServiceStatus = pool.framework_get("services", &path).await?;
            if global.output == Format::Json {
                return output::json(&found);
            }
            output::one(global.output, &found, |service| {
                let instances = service.instances.iter().map(|instance| {
                    let said =
                        if instance.message.is_empty() { String::new() } else { format!(" ({})", instance.message) };
                    format!(
                        "{} {} on {}, task {}{said}",
                        instance.name, instance.state, instance.agent, instance.task_id
                    )
                });
                vec![
                    ("name", service.name.clone()),
                    ("package", service.package.clone()),
                    ("kind", service.kind.clone()),
                    ("state", service.state.clone()),
                    ("instances", instances.collect::<Vec<_>>().join("\n")),
                ]
            })
        }
    }
}
