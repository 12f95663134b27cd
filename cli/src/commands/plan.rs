//! `mezzo plan`: where a framework stands, and what it waits for.
use serde_json::Value;

use crate::client::Pool;
use crate::failure::Result;
use crate::grammar::{Format, Global, Plan};
use crate::output::{self, Rows};
use crate::steps::{self, PlanView};

pub(crate) async fn run(verb: Plan, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    match verb {
        Plan::Show { framework, plan: Some(plan), follow: true, .. } => steps::follow(&pool, &framework, &plan).await,
        Plan::Show { framework, plan: Some(plan), timing, .. } => {
            let path = format!("/v1/plans/{plan}");
            if global.output == Format::Json {
                return output::json(&pool.framework_get::<Value>(&framework, &path).await?);
            }
            let plan: PlanView = pool.framework_get(&framework, &path).await?;
            show(&plan, timing)
        }
        Plan::Show { framework, plan: None, .. } => {
            let plans: Value = pool.framework_get(&framework, "/v1/plans").await?;
            if global.output == Format::Json {
                return output::json(&plans);
            }
            output::data(Format::Table, &steps::plans(&plans), |plans| {
                let mut rows = Rows::new(&["PLAN", "STATUS", "STEPS", "WAITING FOR"]);
                for plan in plans {
                    let (done, all) = plan.progress();
                    rows.push([plan.name.clone(), plan.status_text(), format!("{done} of {all}"), plan.waiting_for()]);
                }
                rows
            })
        }
        Plan::Pause { framework, plan } => {
            tell(&pool, &framework, &plan, "pause", "paused: nothing new is started").await
        }
        Plan::Resume { framework, plan } => tell(&pool, &framework, &plan, "resume", "resumed").await,
        Plan::Restart { framework, plan } => tell(&pool, &framework, &plan, "restart", "begun anew").await,
    }
}

async fn tell(pool: &Pool, framework: &str, plan: &str, verb: &str, done: &str) -> Result<()> {
    pool.framework_post(framework, &format!("/v1/plans/{plan}/{verb}"), &Value::Null).await?;
    output::note(&format!("plan '{plan}' of '{framework}' is {done}"));
    Ok(())
}

fn show(plan: &PlanView, timing: bool) -> Result<()> {
    output::out(&format!("plan {} ({}): {}\n", plan.name, plan.strategy, plan.status_text()))?;
    if !plan.note.is_empty() {
        output::out(&format!("{}\n", plan.note))?;
    }
    let header: &[&'static str] = if timing {
        &["PHASE", "STEP", "STATUS", "AGENT", "BEGAN", "LAUNCHED", "COMPLETE", "TOOK"]
    } else {
        &["PHASE", "STEP", "STATUS", "AGENT", "WAITING FOR"]
    };
    let mut rows = Rows::new(header);
    let first = plan.phases.iter().flat_map(|phase| &phase.steps).filter_map(|step| step.began_unix_ms).min();
    let since = |time: Option<i64>| match (time, first) {
        (Some(time), Some(first)) => format!("+{}", seconds(time - first)),
        _ => String::new(),
    };
    for phase in &plan.phases {
        for step in &phase.steps {
            let mut row = vec![phase.name.clone(), step.name.clone(), step.status.clone(), step.agent.clone()];
            if timing {
                row.extend([since(step.began_unix_ms), since(step.launched_unix_ms), since(step.completed_unix_ms)]);
                let took = step.began_unix_ms.zip(step.completed_unix_ms).map(|(began, done)| seconds(done - began));
                row.push(took.unwrap_or_default());
            } else {
                row.push(step.why.clone());
            }
            rows.push(row);
        }
    }
    output::data(Format::Table, &(), |()| rows)
}

fn seconds(milliseconds: i64) -> String {
    format!("{}.{:03}s", milliseconds / 1000, milliseconds.rem_euclid(1000))
}
