//! The checks of a task: those of its extension, or, without one, those that Mesos itself knows. A plain check kills
//! nobody and is what readiness is here; a health check that fails too often ends the container.
use proto::mesos::v1 as mesos;
use proto::mezzo::v1 as wire;
use wire::check::Kind;

/// A task's two checks.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Checks {
    pub(crate) readiness: Option<wire::Check>,
    pub(crate) health: Option<wire::Check>,
}

/// What is to be asked of the task again and again.
///
/// # Errors
/// A check is of no kind that there is.
pub(crate) fn checks_of(info: &mesos::TaskInfo) -> Result<Checks, String> {
    let extension = info.mezzo.as_ref();
    let of_extension =
        |pick: fn(&wire::TaskExtension) -> &Option<wire::Check>| extension.and_then(|it| pick(it).clone());
    let readiness = match (of_extension(|it| &it.readiness), &info.check) {
        (Some(check), _) => Some(check),
        (None, Some(check)) => Some(plain(check)?),
        (None, None) => None,
    };
    let health = match (of_extension(|it| &it.health), &info.health_check) {
        (Some(check), _) => Some(check),
        (None, Some(check)) => Some(health(check)?),
        (None, None) => None,
    };
    Ok(Checks { readiness, health })
}

fn plain(check: &mesos::CheckInfo) -> Result<wire::Check, String> {
    use mesos::check_info::Type;
    let missing = || "its check lacks what its type says".to_owned();
    let kind = match check.r#type() {
        Type::Command => command(check.command.as_ref().map(|it| &it.command).ok_or_else(missing)?)?,
        Type::Http => {
            let it = check.http.as_ref().ok_or_else(missing)?;
            http("http", it.port, it.path())?
        }
        Type::Tcp => tcp(check.tcp.as_ref().ok_or_else(missing)?.port)?,
        Type::Unknown => return Err("its check is of a type that this agent does not know".to_owned()),
    };
    Ok(wire::Check {
        kind: Some(kind),
        delay_ms: milliseconds(check.delay_seconds()),
        interval_ms: milliseconds(check.interval_seconds()),
        timeout_ms: milliseconds(check.timeout_seconds()),
        ..wire::Check::default()
    })
}

fn health(check: &mesos::HealthCheck) -> Result<wire::Check, String> {
    use mesos::health_check::Type;
    let missing = || "its health check lacks what its type says".to_owned();
    let kind = match check.r#type() {
        Type::Command => command(check.command.as_ref().ok_or_else(missing)?)?,
        Type::Http => {
            let it = check.http.as_ref().ok_or_else(missing)?;
            http(it.scheme.as_deref().unwrap_or("http"), it.port, it.path())?
        }
        Type::Tcp => tcp(check.tcp.as_ref().ok_or_else(missing)?.port)?,
        Type::Unknown => return Err("its health check is of a type that this agent does not know".to_owned()),
    };
    Ok(wire::Check {
        kind: Some(kind),
        delay_ms: milliseconds(check.delay_seconds()),
        interval_ms: milliseconds(check.interval_seconds()),
        timeout_ms: milliseconds(check.timeout_seconds()),
        consecutive_failures: check.consecutive_failures(),
        grace_ms: milliseconds(check.grace_period_seconds()),
    })
}

fn command(command: &mesos::CommandInfo) -> Result<Kind, String> {
    let value = command.value.as_deref().unwrap_or_default();
    let argv: Vec<String> = if value.is_empty() {
        return Err("the command of its check is empty".to_owned());
    } else if command.shell() {
        ["/bin/sh", "-c", value].map(str::to_owned).to_vec()
    } else {
        // As in tasks, the first argument is the program's own name.
        std::iter::once(value.to_owned()).chain(command.arguments.iter().skip(1).cloned()).collect()
    };
    Ok(Kind::Command(wire::CommandCheck { argv }))
}

/// Mesos never verifies certificates in checks.
fn http(scheme: &str, number: u32, path: &str) -> Result<Kind, String> {
    if !matches!(scheme, "http" | "https") {
        return Err(format!("its check speaks '{scheme}': http and https are known"));
    }
    let path = if path.is_empty() { "/" } else { path };
    let (scheme, path) = (scheme.to_owned(), path.to_owned());
    Ok(Kind::Http(wire::HttpCheck { scheme, port: port(number)?, path, ..wire::HttpCheck::default() }))
}

fn tcp(number: u32) -> Result<Kind, String> {
    Ok(Kind::Tcp(wire::TcpCheck { port: port(number)? }))
}

fn port(number: u32) -> Result<u32, String> {
    if (1..=65_535).contains(&number) {
        Ok(number)
    } else {
        Err(format!("its check names port {number}, which is none"))
    }
}

/// Nonsense is no time; zero means at once, as far as the executor goes that low.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded just before
fn milliseconds(seconds: f64) -> u32 {
    if seconds.is_finite() { (seconds.clamp(0.0, 4_000_000.0) * 1000.0) as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(value: &str) -> mesos::CommandInfo {
        mesos::CommandInfo { value: Some(value.to_owned()), ..mesos::CommandInfo::default() }
    }

    #[test]
    fn checks_of_mesos_are_understood_with_their_defaults_and_the_extension_s_come_first() {
        let check = mesos::CheckInfo {
            r#type: Some(mesos::check_info::Type::Command.into()),
            command: Some(mesos::check_info::Command { command: shell("true") }),
            ..mesos::CheckInfo::default()
        };
        let health_check = mesos::HealthCheck {
            r#type: Some(mesos::health_check::Type::Tcp.into()),
            tcp: Some(mesos::health_check::TcpCheckInfo { port: 80 }),
            interval_seconds: Some(0.5),
            ..mesos::HealthCheck::default()
        };
        let mut info =
            mesos::TaskInfo { check: Some(check), health_check: Some(health_check), ..mesos::TaskInfo::default() };
        let found = checks_of(&info).expect("valid");
        let argv = ["/bin/sh", "-c", "true"].map(str::to_owned).to_vec();
        let readiness = wire::Check {
            kind: Some(Kind::Command(wire::CommandCheck { argv })),
            delay_ms: 15_000,
            interval_ms: 10_000,
            timeout_ms: 20_000,
            ..wire::Check::default()
        };
        let health = wire::Check {
            kind: Some(Kind::Tcp(wire::TcpCheck { port: 80 })),
            delay_ms: 15_000,
            interval_ms: 500,
            timeout_ms: 20_000,
            consecutive_failures: 3,
            grace_ms: 10_000,
        };
        assert_eq!(found, Checks { readiness: Some(readiness), health: Some(health.clone()) });
        let own = wire::Check { interval_ms: 1, ..health };
        info.mezzo = Some(wire::TaskExtension { health: Some(own.clone()), ..wire::TaskExtension::default() });
        assert_eq!(checks_of(&info).expect("valid").health, Some(own));
    }

    #[test]
    fn a_check_of_no_known_kind_is_refused_in_words() {
        let of = |check| mesos::TaskInfo { health_check: Some(check), ..mesos::TaskInfo::default() };
        let http = |port, scheme: &str| mesos::HealthCheck {
            r#type: Some(mesos::health_check::Type::Http.into()),
            http: Some(mesos::health_check::HttpCheckInfo {
                port,
                scheme: Some(scheme.to_owned()),
                ..Default::default()
            }),
            ..mesos::HealthCheck::default()
        };
        for (check, words) in [
            (mesos::HealthCheck::default(), "does not know"),
            (http(0, "http"), "port 0"),
            (http(80, "gopher"), "gopher"),
            (mesos::HealthCheck { tcp: None, r#type: Some(3), ..mesos::HealthCheck::default() }, "lacks"),
        ] {
            let refused = checks_of(&of(check)).expect_err(words);
            assert!(refused.contains(words), "{refused}");
        }
    }
}
