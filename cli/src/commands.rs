//! What each noun does against a pool.
pub(crate) mod agent;
pub(crate) mod artifact;
pub(crate) mod catalog;
pub(crate) mod event;
mod exec;
pub(crate) mod image;
pub(crate) mod kubernetes;
pub(crate) mod list;
pub(crate) mod maintenance;
pub(crate) mod master;
pub(crate) mod plan;
pub(crate) mod reservation;
pub(crate) mod role;
pub(crate) mod task;
pub(crate) mod vip;

use proto::mezzo::v1::ExplainRequest;

use crate::client::Pool;
use crate::failure::Result;
use crate::grammar::{Format, Global};
use crate::output;

/// Prints why something is so.
pub(crate) async fn why(global: &Global, kind: &str, name: &str) -> Result<()> {
    let pool = Pool::connect(global)?;
    let request = ExplainRequest { kind: kind.to_owned(), name: name.to_owned() };
    let explanation = pool.operator().explain(request).await.map_err(|status| pool.refused(&status))?.into_inner();
    if global.output == Format::Json {
        return output::json(&explanation);
    }
    let mut text = String::new();
    for line in &explanation.lines {
        text.push_str(&format!("{line}\n"));
    }
    for (number, remedy) in explanation.remedies.iter().enumerate() {
        let head = if number == 0 { "\nwhat helps, the cheapest first:\n" } else { "" };
        text.push_str(&format!("{head}  {}. {remedy}\n", number + 1));
    }
    output::out(&text)
}
