//! `mezzo vip`: virtual addresses and the tasks behind them.
use proto::mezzo::v1::{ListVipsRequest, VipDescription};

use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::{Format, Global, Vip};
use crate::output::{self, Rows};

pub(crate) async fn run(verb: Vip, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    let answer = pool.operator().list_vips(ListVipsRequest {}).await.map_err(|status| pool.refused(&status))?;
    let mut list = answer.into_inner();
    match verb {
        Vip::List => output::data(global.output, &list, |list| {
            let mut rows = Rows::new(&["NAME", "FRAMEWORK", "ADDRESS", "IN", "OUT"]);
            for vip in &list.vips {
                let out = vip.backends.iter().filter(|backend| !backend.out.is_empty()).count();
                let (inside, out) = ((vip.backends.len() - out).to_string(), out.to_string());
                rows.push([vip.name.clone(), vip.framework.clone(), endpoint(vip), inside, out]);
            }
            rows
        }),
        Vip::Show { vip: wanted } => {
            list.vips.retain(|vip| vip.name == wanted || format!("{}/{}", vip.framework, vip.name) == wanted);
            let mut frameworks: Vec<&str> = list.vips.iter().map(|vip| vip.framework.as_str()).collect();
            frameworks.dedup();
            match frameworks.as_slice() {
                [] => Err(Failure::not_found(format!("there is no VIP '{wanted}'"), "list them with: mezzo vip list")),
                [_] => show(global, &list.vips),
                many => Err(Failure::usage(
                    format!("{} frameworks have a VIP '{wanted}'", many.len()),
                    format!("name one as <framework>/{wanted}, the framework one of: {}", many.join(", ")),
                )),
            }
        }
    }
}

/// All ports of one virtual address.
fn show(global: &Global, ports: &[VipDescription]) -> Result<()> {
    if global.output == Format::Json {
        return output::json(&ports);
    }
    let mut rows = Rows::new(&["ADDRESS", "TASK", "AGENT", "BACKEND", "STATE"]);
    for vip in ports {
        if vip.backends.is_empty() {
            let none = if vip.port == 0 { "no task names it" } else { "no task" };
            rows.push([endpoint(vip), String::new(), String::new(), String::new(), none.to_owned()]);
        }
        for backend in &vip.backends {
            let state = if backend.out.is_empty() { "in".to_owned() } else { format!("out: {}", backend.out) };
            rows.push([
                endpoint(vip),
                backend.task.clone(),
                backend.agent.clone(),
                format!("{}:{}", backend.address, backend.port),
                state,
            ]);
        }
    }
    if let Some(vip) = ports.first() {
        output::note(&format!("VIP {} of framework {}", vip.name, vip.framework));
    }
    output::data(global.output, &(), |()| rows)
}

/// The port is not known before a task names it.
fn endpoint(vip: &VipDescription) -> String {
    if vip.port == 0 { vip.address.clone() } else { format!("{}:{}", vip.address, vip.port) }
}
