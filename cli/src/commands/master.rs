//! `mezzo master`.
use std::path::PathBuf;

use proto::mezzo::v1::{CreateJoinTokenRequest, GetMasterRequest, IssueIdentityRequest};

use crate::client::{self, Pool};
use crate::daemons;
use crate::failure::{Failure, Result};
use crate::grammar::{Format, Global, Master, MasterInit};
use crate::output;

pub(crate) async fn run(verb: Master, global: &Global) -> Result<()> {
    match verb {
        Master::Init(arguments) => init(arguments),
        Master::Run(arguments) => Box::pin(daemons::master(arguments)).await,
        Master::Show => show(global).await,
        Master::Token { valid } => token(global, valid).await,
        Master::Identity { principal, to, valid } => identity(global, principal, to, valid).await,
    }
}

fn init(arguments: MasterInit) -> Result<()> {
    let identity = match arguments.operator_identity {
        Some(directory) => directory,
        None => client::default_identity()?,
    };
    let mut config = ::master::MasterInit::new(&arguments.dir, &identity);
    config.pool = arguments.pool;
    if let Some(range) = arguments.pod_range {
        config.pod_range = range;
    }
    if let Some(range) = arguments.vip_range {
        config.vip_range = range;
    }
    let made = ::master::init(&config)
        .map_err(|error| Failure::while_doing(format!("make a pool in {}", arguments.dir.display()), &error))?;
    output::note(&format!(
        "pool '{}' made in {}\n  SHA-256 of its CA: {}\n  operator's identity: {}\n  next: mezzo master run --dir {}",
        config.pool,
        arguments.dir.display(),
        made.ca_sha256,
        made.operator_identity.display(),
        arguments.dir.display(),
    ));
    Ok(())
}

async fn show(global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    let answer =
        pool.operator().get_master(GetMasterRequest {}).await.map_err(|status| pool.refused(&status))?.into_inner();
    let ours = env!("CARGO_PKG_VERSION");
    if !answer.version.starts_with(ours) {
        output::note(&format!("note: the master is of version {}, this program of {ours}", answer.version));
    }
    output::one(global.output, &answer, |master| {
        vec![
            ("pool", master.pool.clone()),
            ("id", master.id.clone()),
            ("address", master.address.clone()),
            ("version", master.version.clone()),
            ("epoch", master.epoch.to_string()),
            ("up", output::ago(master.started_unix_ms)),
            ("agents", master.agents.to_string()),
            ("frameworks", master.frameworks.to_string()),
            ("tasks", master.tasks.to_string()),
        ]
    })
}

async fn token(global: &Global, valid: u32) -> Result<()> {
    let pool = Pool::connect(global)?;
    let request = CreateJoinTokenRequest { valid_seconds: valid };
    let token = pool.operator().create_join_token(request).await.map_err(|status| pool.refused(&status))?.into_inner();
    if global.output == Format::Json {
        return output::json(&token);
    }
    output::note(&format!(
        "one agent may join within {}:\n  MEZZO_JOIN_TOKEN={} mezzo agent run --master {} --ca-sha256 {}",
        output::span(token.expires_unix_ms - output::now_ms() + 500),
        token.token,
        token.master,
        token.ca_sha256,
    ));
    output::out(&format!("{}\n", token.token))
}

async fn identity(global: &Global, principal: String, to: PathBuf, valid: u32) -> Result<()> {
    let pool = Pool::connect(global)?;
    let request =
        IssueIdentityRequest { principal: principal.clone(), valid_seconds: valid, ..IssueIdentityRequest::default() };
    let issued = pool.operator().issue_identity(request).await.map_err(|status| pool.refused(&status))?.into_inner();
    let identity = daemon::identity::Identity {
        ca_pem: issued.ca_pem,
        cert_pem: issued.certificate_pem,
        key_pem: issued.private_key_pem,
    };
    identity
        .save(&to)
        .map_err(|error| Failure::while_doing(format!("write the identity to {}", to.display()), &error))?;
    output::note(&format!("{principal} is {}\n  use it with --identity or MEZZO_IDENTITY", to.display()));
    Ok(())
}
