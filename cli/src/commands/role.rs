//! `mezzo role`: shares, quotas and weights.
use std::collections::BTreeMap;

use model::Milli;
use proto::mezzo::v1::{
    Amounts, LimitInForce, ListRolesRequest, RoleDescription, RoleQuota as WireQuota, SetQuotasRequest,
    SetWeightRequest,
};

use super::why;
use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::Global;
use crate::grammar::role::{Role, RoleQuota, RoleWeight, SetQuota};
use crate::output::{self, Rows};

pub(crate) async fn run(verb: Role, global: &Global) -> Result<()> {
    match verb {
        Role::Why { role } => why(global, "role", &role).await,
        Role::List => {
            let pool = Pool::connect(global)?;
            let answer = pool.operator().list_roles(ListRolesRequest {}).await;
            let list = answer.map_err(|status| pool.refused(&status))?.into_inner();
            output::data(global.output, &list, |list| rows(&list.roles))
        }
        Role::Show { role } => {
            let found = find(&Pool::connect(global)?, &role).await?;
            output::one(global.output, &found, fields)
        }
        Role::Quota(RoleQuota::Set(quota)) => set(&Pool::connect(global)?, global, quota).await,
        Role::Quota(RoleQuota::Clear { role }) => {
            let nothing = || Some(Amounts::default());
            let quota = WireQuota { role: role.clone(), guarantees: nothing(), limits: nothing() };
            ask(&Pool::connect(global)?, quota, false).await?;
            output::note(&format!("role '{role}' has neither guarantees nor limits"));
            Ok(())
        }
        Role::Weight(RoleWeight::Set { role, weight }) => {
            let pool = Pool::connect(global)?;
            let request = SetWeightRequest { role: role.clone(), weight: units(weight) };
            pool.operator().set_weight(request).await.map_err(|status| pool.refused(&status))?;
            output::note(&format!("role '{role}' has weight {weight}"));
            Ok(())
        }
    }
}

async fn find(pool: &Pool, role: &str) -> Result<RoleDescription> {
    let answer = pool.operator().list_roles(ListRolesRequest {}).await;
    let roles = answer.map_err(|status| pool.refused(&status))?.into_inner().roles;
    roles
        .into_iter()
        .find(|found| found.name == role)
        .ok_or_else(|| Failure::not_found(format!("there is no role '{role}'"), "list them with: mezzo role list"))
}

async fn set(pool: &Pool, global: &Global, quota: SetQuota) -> Result<()> {
    let amounts = |given: &[(String, Milli)]| {
        let scalars = given.iter().map(|(name, amount)| (name.clone(), units(*amount))).collect();
        (!given.is_empty()).then_some(Amounts { scalars })
    };
    let (guarantees, limits) = (amounts(&quota.guarantee), amounts(&quota.limit));
    ask(pool, WireQuota { role: quota.role.clone(), guarantees, limits }, quota.force).await?;
    output::one(global.output, &find(pool, &quota.role).await?, fields)
}

async fn ask(pool: &Pool, quota: WireQuota, force: bool) -> Result<()> {
    let request = SetQuotasRequest { quotas: vec![quota], force };
    let answer = pool.operator().set_quotas(request).await.map_err(|status| pool.refused(&status))?;
    for warning in answer.into_inner().warnings {
        output::note(&format!("note: {warning}"));
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // exact to 2^53 thousandths
fn units(amount: Milli) -> f64 {
    amount.0 as f64 / 1000.0
}

fn share(role: &RoleDescription) -> String {
    format!("{}.{:02} %", role.share_ppm / 10_000, role.share_ppm / 100 % 100)
}

/// `cpus 4; mem 512 MiB`, in the order of names.
fn text(amounts: &Option<Amounts>) -> String {
    let scalars: BTreeMap<&String, &f64> = amounts.iter().flat_map(|amounts| &amounts.scalars).collect();
    let one = |(name, amount): (&String, &f64)| match name.as_str() {
        "mem" | "disk" => format!("{name} {amount} MiB"),
        _ => format!("{name} {amount}"),
    };
    scalars.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

fn rows(roles: &[RoleDescription]) -> Rows {
    let mut rows = Rows::new(&["NAME", "WEIGHT", "SHARE", "FRAMEWORKS", "ALLOCATED", "GUARANTEE", "LIMIT", "COUNTED"]);
    for role in roles {
        let has_quota = [&role.guarantees, &role.limits].iter().any(|amounts| !text(amounts).is_empty());
        rows.push([
            role.name.clone(),
            role.weight.to_string(),
            share(role),
            role.frameworks.to_string(),
            role.allocated.as_ref().map(|q| q.text.clone()).unwrap_or_default(),
            text(&role.guarantees),
            text(&role.limits),
            if has_quota { text(&role.counted) } else { String::new() },
        ]);
    }
    rows
}

fn fields(role: &RoleDescription) -> Vec<(&'static str, String)> {
    let in_force =
        |limit: &LimitInForce| format!("{} {} of role {}, {} left", limit.name, limit.limit, limit.role, limit.left);
    vec![
        ("name", role.name.clone()),
        ("weight", role.weight.to_string()),
        ("dominant share", share(role)),
        ("frameworks", role.frameworks.to_string()),
        ("allocated", role.allocated.as_ref().map(|q| q.text.clone()).unwrap_or_default()),
        ("guarantees", text(&role.guarantees)),
        ("limits", text(&role.limits)),
        ("limits in force", role.limits_in_force.iter().map(in_force).collect::<Vec<_>>().join("\n")),
        ("counted", text(&role.counted)),
    ]
}
