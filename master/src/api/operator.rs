//! What people and tools ask of the pool. Lists come from the view; changes go to the core, the CA or the catalog.
use std::sync::Arc;
use std::time::Duration;

use daemon::serve::Peer;
use master_core::OperatorRequest;
use master_core::view::TaskView;
use model::call::Unavailability;
use model::{Principal, Refusal, Span, Timestamp};
use proto::mezzo::v1 as wire;
use proto::mezzo::v1::operator_server::Operator;
use tonic::{Request, Response, Status};
use tracing::info;

use super::{Context, describe, events, holdings, known, operator, quotas};
use crate::explain;
use crate::installs::Install;
use crate::limits;
use crate::pki;
use crate::refusal;
use crate::registry::record::millis;

pub(super) struct Api {
    pub(super) context: Arc<Context>,
}

type Reply<T> = Result<Response<T>, Status>;

/// Checks that an operator asks, and answers with a message or a refusal.
fn answer<T>(result: Result<T, Refusal>) -> Reply<T> {
    result.map(Response::new).map_err(|refusal| refusal::status(&refusal))
}

fn allowed<R>(request: Request<R>) -> Result<R, Status> {
    operator(request.extensions().get::<Peer>()).map_err(|refusal| refusal::status(&refusal))?;
    Ok(request.into_inner())
}

#[tonic::async_trait]
impl Operator for Api {
    async fn get_master(&self, request: Request<wire::GetMasterRequest>) -> Reply<wire::MasterDescription> {
        // Every member may know who leads: schedulers ask for the address to hand on.
        known(request.extensions().get::<Peer>()).map_err(|refusal| refusal::status(&refusal))?;
        Ok(Response::new(describe::master(&self.context)))
    }

    async fn list_agents(&self, request: Request<wire::ListAgentsRequest>) -> Reply<wire::AgentList> {
        allowed(request)?;
        let view = self.context.view.read();
        Ok(Response::new(wire::AgentList {
            agents: view.agents.values().map(|agent| describe::agent(&view, agent)).collect(),
        }))
    }

    async fn list_frameworks(&self, request: Request<wire::ListFrameworksRequest>) -> Reply<wire::FrameworkList> {
        allowed(request)?;
        let view = self.context.view.read();
        Ok(Response::new(wire::FrameworkList {
            frameworks: view.frameworks.values().map(describe::framework).collect(),
        }))
    }

    async fn list_roles(&self, request: Request<wire::ListRolesRequest>) -> Reply<wire::RoleList> {
        allowed(request)?;
        let view = self.context.view.read();
        Ok(Response::new(wire::RoleList {
            roles: view.roles.values().map(|role| describe::role(&view, role)).collect(),
        }))
    }

    async fn set_quotas(&self, request: Request<wire::SetQuotasRequest>) -> Reply<wire::QuotasSet> {
        let request = allowed(request)?;
        answer(quotas::set(&self.context, request).await)
    }

    async fn set_weight(&self, request: Request<wire::SetWeightRequest>) -> Reply<wire::Done> {
        let request = allowed(request)?;
        answer(quotas::set_weight(&self.context, &request).await.map(|()| wire::Done {}))
    }

    async fn list_tasks(&self, request: Request<wire::ListTasksRequest>) -> Reply<wire::TaskList> {
        let request = allowed(request)?;
        let view = self.context.view.read();
        let wanted = |task: &&TaskView| {
            let id = &task.framework_id;
            request.framework.is_empty()
                || id.as_str() == request.framework
                || view.framework_name(id) == request.framework
        };
        let ended = view.history.iter().filter(|_| request.all);
        let living = view.tasks.values().filter(|task| request.all || !task.status.state.is_terminal());
        let tasks = ended.chain(living).filter(wanted).map(|task| describe::task(&view, task)).collect();
        Ok(Response::new(wire::TaskList { tasks }))
    }

    async fn list_vips(&self, request: Request<wire::ListVipsRequest>) -> Reply<wire::VipList> {
        allowed(request)?;
        let view = self.context.view.read();
        Ok(Response::new(wire::VipList { vips: describe::vips(&view) }))
    }

    type WatchEventsStream = events::Events;

    async fn watch_events(
        &self,
        request: Request<wire::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let kinds = allowed(request)?.kinds;
        let wanted = events::Wanted::parse(&kinds).map_err(|kind| {
            let words = format!("'{kind}' is no kind of event");
            refusal::status(&Refusal::new("MST0101", words, "use agent, framework, task, role").at("kinds"))
        })?;
        let permit = self.context.view.watcher().ok_or_else(|| {
            let words = format!("{} readers of events are connected already", limits::WATCHERS_MAX);
            refusal::status(&Refusal::new("MST0010", words, "end one of them"))
        })?;
        Ok(Response::new(events::watch(self.context.clone(), wanted, permit)))
    }

    async fn explain(&self, request: Request<wire::ExplainRequest>) -> Reply<wire::Explanation> {
        let request = allowed(request)?;
        answer(explain::explain(&self.context.view.read(), &request.kind, &request.name))
    }

    async fn teardown_framework(&self, request: Request<wire::TeardownFrameworkRequest>) -> Reply<wire::Done> {
        let framework = allowed(request)?.framework;
        answer(self.context.core.ask(OperatorRequest::Teardown { framework }).await.map(|()| wire::Done {}))
    }

    async fn deactivate_agent(&self, request: Request<wire::DeactivateAgentRequest>) -> Reply<wire::Done> {
        let agent = allowed(request)?.agent;
        answer(self.context.core.ask(OperatorRequest::DeactivateAgent { agent }).await.map(|()| wire::Done {}))
    }

    async fn reactivate_agent(&self, request: Request<wire::ReactivateAgentRequest>) -> Reply<wire::Done> {
        let agent = allowed(request)?.agent;
        answer(self.context.core.ask(OperatorRequest::ReactivateAgent { agent }).await.map(|()| wire::Done {}))
    }

    async fn drain_agent(&self, request: Request<wire::DrainAgentRequest>) -> Reply<wire::Done> {
        let wire::DrainAgentRequest { agent, max_grace_ms, mark_gone } = allowed(request)?;
        let ask = OperatorRequest::DrainAgent { agent, max_grace: Span::millis(max_grace_ms), mark_gone };
        answer(self.context.core.ask(ask).await.map(|()| wire::Done {}))
    }

    async fn mark_agent_gone(&self, request: Request<wire::MarkAgentGoneRequest>) -> Reply<wire::Done> {
        let agent = allowed(request)?.agent;
        answer(self.context.core.ask(OperatorRequest::MarkAgentGone { agent }).await.map(|()| wire::Done {}))
    }

    async fn change_holdings(&self, request: Request<wire::ChangeHoldingsRequest>) -> Reply<wire::Done> {
        let asker = operator(request.extensions().get::<Peer>()).map_err(|refusal| refusal::status(&refusal))?.clone();
        let ask = match holdings::change(request.into_inner(), &asker) {
            Ok(ask) => ask,
            Err(refusal) => return answer(Err(refusal)),
        };
        answer(self.context.core.ask(ask).await.map(|()| wire::Done {}))
    }

    async fn list_holdings(&self, request: Request<wire::ListHoldingsRequest>) -> Reply<wire::HoldingList> {
        let wanted = allowed(request)?.agent;
        let view = self.context.view.read();
        let is_meant = |id: &str, name: &str| wanted.is_empty() || wanted == id || wanted == name;
        let agents: Vec<_> = view.agents.values().filter(|it| is_meant(it.id.as_str(), &it.name)).collect();
        if agents.is_empty() && !wanted.is_empty() {
            return answer(Err(master_core::Rejected::UnknownAgent { agent: wanted }.refusal()));
        }
        Ok(Response::new(wire::HoldingList { holdings: agents.into_iter().flat_map(holdings::list).collect() }))
    }

    async fn schedule_maintenance(&self, request: Request<wire::ScheduleMaintenanceRequest>) -> Reply<wire::Done> {
        let wire::ScheduleMaintenanceRequest { agents, start_unix_ms, duration_ms } = allowed(request)?;
        let unsigned = |millis: i64, field: &str| {
            let found = u64::try_from(millis);
            let words = || format!("{millis} ms is before all times");
            found.map_err(|_| refusal::status(&refusal::malformed(field, words())))
        };
        let window = Unavailability {
            start: Timestamp(unsigned(start_unix_ms, "start_unix_ms")?),
            duration: Some(Span(unsigned(duration_ms, "duration_ms")?)).filter(|duration| duration.0 > 0),
        };
        let ask = OperatorRequest::ScheduleMaintenance { agents, window };
        answer(self.context.core.ask(ask).await.map(|()| wire::Done {}))
    }

    async fn cancel_maintenance(&self, request: Request<wire::CancelMaintenanceRequest>) -> Reply<wire::Done> {
        let agents = allowed(request)?.agents;
        answer(self.context.core.ask(OperatorRequest::CancelMaintenance { agents }).await.map(|()| wire::Done {}))
    }

    async fn start_maintenance(&self, request: Request<wire::StartMaintenanceRequest>) -> Reply<wire::Done> {
        let agents = allowed(request)?.agents;
        answer(self.context.core.ask(OperatorRequest::StartMaintenance { agents }).await.map(|()| wire::Done {}))
    }

    async fn stop_maintenance(&self, request: Request<wire::StopMaintenanceRequest>) -> Reply<wire::Done> {
        let agents = allowed(request)?.agents;
        answer(self.context.core.ask(OperatorRequest::StopMaintenance { agents }).await.map(|()| wire::Done {}))
    }

    async fn create_join_token(&self, request: Request<wire::CreateJoinTokenRequest>) -> Reply<wire::JoinToken> {
        let valid = Duration::from_secs(allowed(request)?.valid_seconds.into());
        answer(self.context.tokens.create(valid).await.map(|(token, expires)| wire::JoinToken {
            token,
            expires_unix_ms: millis(expires),
            ca_sha256: self.context.ca_sha256.clone(),
            master: self.context.advertise.to_string(),
        }))
    }

    async fn issue_identity(&self, request: Request<wire::IssueIdentityRequest>) -> Reply<wire::Identity> {
        let principal = known(request.extensions().get::<Peer>()).cloned();
        let request = request.into_inner();
        answer(principal.and_then(|principal| self.issue(&principal, &request)))
    }

    async fn search_catalog(&self, request: Request<wire::SearchCatalogRequest>) -> Reply<wire::PackageList> {
        let text = allowed(request)?.text;
        let catalog = self.context.installs.catalog().await;
        answer(catalog.map(|catalog| {
            wire::PackageList {
                packages: catalog
                    .search(&text)
                    .into_iter()
                    .map(|found| wire::PackageSummary {
                        name: found.name,
                        versions: found.versions,
                        summary: found.summary,
                    })
                    .collect(),
            }
        }))
    }

    async fn show_package(&self, request: Request<wire::ShowPackageRequest>) -> Reply<wire::PackageDetail> {
        let request = allowed(request)?;
        let catalog = self.context.installs.catalog().await.map_err(|refusal| refusal::status(&refusal))?;
        answer(catalog.show(&request.name, &request.version).map(|package| wire::PackageDetail {
            name: package.about.name.clone(),
            version: package.about.version.clone(),
            summary: package.about.summary.clone(),
            description: package.about.description.clone(),
            options_schema_json: package.schema.to_string(),
            versions: catalog.versions(&request.name),
        }))
    }

    async fn install_package(&self, request: Request<wire::InstallPackageRequest>) -> Reply<wire::Installation> {
        let request = allowed(request)?;
        let name = if request.name.is_empty() { &request.package } else { &request.name };
        let ask = Install {
            package: &request.package,
            version: &request.version,
            name,
            options_json: &request.options_json,
            dry_run: request.dry_run,
            force: request.force,
        };
        answer(self.context.installs.install(ask).await)
    }

    async fn update_package(&self, request: Request<wire::UpdatePackageRequest>) -> Reply<wire::Installation> {
        let request = allowed(request)?;
        if request.rollback {
            return answer(self.context.installs.go_back(&request.name, request.dry_run).await);
        }
        let ask = Install {
            package: "",
            version: &request.version,
            name: &request.name,
            options_json: &request.options_json,
            dry_run: request.dry_run,
            force: true,
        };
        answer(self.context.installs.update(ask).await)
    }

    async fn uninstall_package(&self, request: Request<wire::UninstallPackageRequest>) -> Reply<wire::Done> {
        let request = allowed(request)?;
        answer(self.context.installs.uninstall(&request.name, request.dry_run).await.map(|()| wire::Done {}))
    }

    async fn list_installations(
        &self,
        request: Request<wire::ListInstallationsRequest>,
    ) -> Reply<wire::InstallationList> {
        allowed(request)?;
        answer(self.context.installs.list().map(|installations| wire::InstallationList { installations }))
    }
}

impl Api {
    /// Operators may name anybody; the services framework gives its services identities of frameworks.
    fn issue(&self, principal: &Principal, request: &wire::IssueIdentityRequest) -> Result<wire::Identity, Refusal> {
        let is_services = principal.as_str() == "framework/services" && request.principal.starts_with("framework/");
        if !principal.is_operator() && !is_services {
            return Err(refusal::forbidden(
                format!("{principal} may not give out the identity {}", request.principal),
                "use an operator's identity",
            ));
        }
        let valid = Duration::from_secs(request.valid_seconds.into());
        let wanted = pki::certificate_request(&request.principal, valid, &request.dns_names, &request.addresses)?;
        let identity =
            self.context.authority.issue(&wanted).map_err(|error| refusal::failed("make the identity", &error))?;
        info!(principal = request.principal, by = %principal, "identity given out");
        Ok(wire::Identity {
            certificate_pem: identity.cert_pem,
            private_key_pem: identity.key_pem,
            ca_pem: identity.ca_pem,
        })
    }
}
