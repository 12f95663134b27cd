//! Certificates of a cluster: when each ends, their renewal, and the change of authorities.
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cluster;
use crate::client::Pool;
use crate::failure::Result;
use crate::grammar::{CertificateVerb, Certificates, Format, Global};
use crate::limits;
use crate::output::{self, Rows};

/// What the framework tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Shown {
    phase: String,
    doing: String,
    certificates: Vec<Certificate>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Certificate {
    of: String,
    name: String,
    subject: String,
    issued: u64,
    expires: u64,
    renewed_from: Option<u64>,
    outdated: Option<String>,
    signs: Option<bool>,
}

const PATH: &str = "/v1/cluster/certificates";

/// `list`, `renew` or `rotate-ca`.
pub(super) async fn run(pool: &Pool, global: &Global, arguments: Certificates) -> Result<()> {
    let name = &arguments.name;
    cluster(pool, name).await?;
    let (verb, question) = match arguments.verb {
        None => return list(pool, global, name).await,
        Some(CertificateVerb::Renew) => ("renew", format!("restart every pod of '{name}', one at a time")),
        Some(CertificateVerb::RotateCa) => {
            ("rotate-ca", format!("restart every pod of '{name}', one at a time, three times"))
        }
    };
    output::confirm(global.yes, &question)?;
    pool.framework_post(name, &format!("{PATH}/{verb}"), &json!({ "force": arguments.force })).await?;
    if verb == "rotate-ca" {
        output::note("kubeconfigs made before the end of it hold the old authority: fetch new ones afterwards");
    }
    if arguments.waiting.detach {
        output::note(&format!("follow it with: mezzo kubernetes certificates {name}"));
        return Ok(());
    }
    follow(pool, name).await
}

/// One line for every change, until nothing is left to do.
async fn follow(pool: &Pool, name: &str) -> Result<()> {
    let mut said = String::new();
    loop {
        // The scheduler itself may be started anew meanwhile.
        if let Ok(shown) = pool.framework_get::<Shown>(name, PATH).await {
            let left = outdated(&shown);
            if left == 0 && shown.phase == "settled" {
                output::note(&format!("every certificate of '{name}' is fresh"));
                return Ok(());
            }
            let words = match shown.phase.as_str() {
                "settled" => format!("{left} pods left; {}", shown.doing),
                phase => format!("{phase}: {left} pods left; {}", shown.doing),
            };
            if words != said {
                output::note(&words);
                said = words;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(limits::POLL) => {}
            _ = tokio::signal::ctrl_c() => {
                output::note(&format!("it goes on; see how far it is with: mezzo kubernetes certificates {name}"));
                return Ok(());
            }
        }
    }
}

fn outdated(shown: &Shown) -> usize {
    let of = shown.certificates.iter().filter(|one| one.outdated.is_some()).map(|one| one.of.as_str());
    of.collect::<std::collections::BTreeSet<_>>().len()
}

async fn list(pool: &Pool, global: &Global, name: &str) -> Result<()> {
    let shown: Shown = pool.framework_get(name, PATH).await?;
    if global.output == Format::Table {
        if shown.phase != "settled" {
            output::note(&format!("the authorities are changing: {}", shown.phase));
        }
        if !shown.doing.is_empty() {
            output::note(&shown.doing);
        }
    }
    let now = u64::try_from(output::now_ms() / 1000).unwrap_or_default();
    output::data(global.output, &shown, |shown| {
        let mut rows = Rows::new(&["OF", "CERTIFICATE", "NAMES", "ENDS IN", "RENEWED IN", "WHY SOON"]);
        for one in &shown.certificates {
            let note = match (&one.outdated, one.signs) {
                (Some(why), _) => why.clone(),
                (None, Some(false)) => "believed, signs nothing".to_owned(),
                (None, Some(true) | None) => String::new(),
            };
            rows.push([
                one.of.clone(),
                one.name.clone(),
                one.subject.clone(),
                until(one.expires, now),
                one.renewed_from.map(|due| until(due, now)).unwrap_or_default(),
                note,
            ]);
        }
        rows
    })
}

/// `11m`, `243d`; `over` if it is.
fn until(moment: u64, now: u64) -> String {
    match moment.checked_sub(now).filter(|left| *left > 0) {
        None => "over".to_owned(),
        Some(left) => output::span(i64::try_from(left).unwrap_or(i64::MAX).saturating_mul(1000)),
    }
}

/// One line for the status of the cluster.
pub(super) fn line(summary: &Value) -> String {
    let now = u64::try_from(output::now_ms() / 1000).unwrap_or_default();
    let Some(expires) = summary["first_expires"].as_u64() else { return String::new() };
    let mut line = format!("the first ends in {}", until(expires, now));
    if let Some(of) = summary["first_of"].as_str() {
        line.push_str(&format!(" ({of})"));
    }
    if let Some(phase) = summary["authorities"].as_str().filter(|phase| *phase != "settled") {
        line.push_str(&format!("; authorities are changing: {phase}"));
    }
    if let Some(doing) = summary["doing"].as_str().filter(|doing| !doing.is_empty()) {
        line.push_str(&format!("; {doing}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_over() {
        assert_eq!(until(10, 10), "over");
        assert_eq!(until(70, 10), "60s");
    }

    #[test]
    fn pods_are_counted_once() {
        let one = |of: &str, why: Option<&str>| Certificate {
            of: of.to_owned(),
            outdated: why.map(str::to_owned),
            ..Certificate::default()
        };
        let shown = Shown {
            certificates: vec![one("node-0", Some("old")), one("node-0", Some("old")), one("node-1", None)],
            ..Shown::default()
        };
        assert_eq!(outdated(&shown), 1);
    }
}
