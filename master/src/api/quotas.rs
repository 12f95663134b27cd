//! Quotas and weights of roles, as operators say them.
use std::collections::BTreeMap;

use master_core::{OperatorRequest, Quota};
use model::{Milli, Refusal, RoleName};
use proto::mezzo::v1 as wire;

use super::Context;
use crate::refusal;
use crate::view::View;

/// Far above any pool: a thousand million units.
const UNITS_MAX: f64 = 1.0e9;

pub(super) async fn set(context: &Context, request: wire::SetQuotasRequest) -> Result<wire::QuotasSet, Refusal> {
    let mut quotas = Vec::new();
    for (i, asked) in request.quotas.iter().enumerate() {
        let at = |field: &str| format!("quotas[{i}].{field}");
        let role = role(&asked.role, &at("role"))?;
        let mut quota = context.view.read().roles.get(&role).map(|role| role.quota.clone()).unwrap_or_default();
        if let Some(guarantees) = &asked.guarantees {
            quota.guarantees = amounts(guarantees, &at("guarantees"))?;
        }
        if let Some(limits) = &asked.limits {
            quota.limits = amounts(limits, &at("limits"))?;
        }
        // A guarantee of nothing is none.
        quota.guarantees.retain(|_, amount| amount.0 > 0);
        quotas.push((role, quota));
    }
    let warnings = warnings(&context.view.read(), &quotas);
    context.core.ask(OperatorRequest::SetQuotas { quotas, force: request.force }).await?;
    Ok(wire::QuotasSet { warnings })
}

pub(super) async fn set_weight(context: &Context, request: &wire::SetWeightRequest) -> Result<(), Refusal> {
    let role = role(&request.role, "role")?;
    let weight = milli(request.weight, "weight")?;
    let weight_milli = u64::try_from(weight.0).unwrap_or_default();
    context.core.ask(OperatorRequest::SetWeight { role, weight_milli }).await
}

pub(super) fn role(name: &str, field: &str) -> Result<RoleName, Refusal> {
    RoleName::new(name).map_err(|error| refusal::malformed(field, format!("'{name}' is no role: it {error}")))
}

pub(super) fn amounts(amounts: &wire::Amounts, field: &str) -> Result<BTreeMap<String, Milli>, Refusal> {
    let one = |(name, units): (&String, &f64)| Ok((name.clone(), milli(*units, &format!("{field}[{name}]"))?));
    amounts.scalars.iter().map(one).collect()
}

#[allow(clippy::cast_possible_truncation)] // bounded just before
pub(super) fn milli(units: f64, field: &str) -> Result<Milli, Refusal> {
    if !(0.0..=UNITS_MAX).contains(&units) {
        return Err(refusal::malformed(field, format!("{units} is no amount")));
    }
    Ok(Milli((units * 1000.0).round() as i64))
}

/// Limits that say less than they seem to: the smallest along a path counts.
fn warnings(view: &View, quotas: &[(RoleName, Quota)]) -> Vec<String> {
    let mut all: BTreeMap<&RoleName, &Quota> = view.roles.values().map(|role| (&role.name, &role.quota)).collect();
    all.extend(quotas.iter().map(|(role, quota)| (role, quota)));
    let mut warnings = Vec::new();
    for (role, quota) in &all {
        for above in std::iter::successors(role.parent(), RoleName::parent) {
            if !quotas.iter().any(|(changed, _)| changed == *role || *changed == above) {
                continue;
            }
            let Some(limits) = all.get(&above).map(|quota| &quota.limits) else { continue };
            for (name, limit) in &quota.limits {
                if let Some(less) = limits.get(name).filter(|less| *less < limit) {
                    warnings.push(format!(
                        "the limit of role {role} ({limit} {name}) is above that of role {above} ({less}), which counts"
                    ));
                }
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_above_that_of_a_role_above_is_warned_of() {
        let role = |name: &str| RoleName::new(name).expect("valid");
        let limit = |cpus| Quota { limits: [("cpus".to_owned(), Milli::units(cpus))].into(), ..Quota::default() };
        let quotas = [(role("team"), limit(4)), (role("team/web"), limit(6)), (role("team/batch"), limit(2))];
        let expected = "the limit of role team/web (6 cpus) is above that of role team (4), which counts";
        assert_eq!(warnings(&View::default(), &quotas), [expected]);
    }

    #[test]
    fn amounts_are_exact_to_a_thousandth_or_refused() {
        assert_eq!(milli(0.0, "f"), Ok(Milli(0)));
        assert_eq!(milli(2.5, "f"), Ok(Milli(2500)));
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert!(milli(bad, "f").is_err(), "{bad}");
        }
    }
}
