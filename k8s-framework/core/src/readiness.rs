//! What components say about their health, in one short line: people read it as the reason for which a plan waits.

/// What is missing according to a health page (`/readyz`, `/healthz`); `None`: nothing.
///
/// The pages list checks as `[+]name ok` and `[-]name failed: reason withheld`.
pub fn missing(path: &str, status: u16, body: &str) -> Option<String> {
    if status == 200 {
        return None;
    }
    let failed: Vec<&str> = body
        .lines()
        .filter_map(|line| line.strip_prefix("[-]")?.split(' ').next())
        .map(|name| name.strip_prefix("poststarthook/").unwrap_or(name))
        .collect();
    Some(match (failed.as_slice(), status) {
        ([], 401 | 403) => format!("{path}: it does not know the framework ({status})"),
        ([], _) => format!("{path}: it answers {status}"),
        (names, _) => format!("{path}: {} not done", names.join(", ")),
    })
}

/// The chain of an error that a client of HTTP gives, as one line.
pub fn unreachable(error: &str) -> String {
    if error.contains("Connection refused") {
        return "it does not listen yet".to_owned();
    }
    if error.contains("deadline has elapsed") || error.contains("timed out") {
        return "it does not answer".to_owned();
    }
    let mut line = error.lines().next().unwrap_or_default().to_owned();
    if let Some((end, _)) = line.char_indices().nth(160) {
        line.truncate(end);
    }
    line
}

/// Whether a leader's lease is held now: who does not renew it in time leads no more.
pub fn is_led(holder: Option<&str>, renewed: u64, now: u64) -> bool {
    holder.is_some_and(|holder| !holder.is_empty()) && renewed.saturating_add(LEASE_SECONDS) >= now
}

/// For how long a leader's lease is good: the table of flags says the same.
const LEASE_SECONDS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_page_becomes_one_line() {
        let body = "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\n[+]shutdown ok\n[-]etcd failed: reason withheld\nreadyz check failed\n";
        assert_eq!(missing("/readyz", 500, body).as_deref(), Some("/readyz: rbac/bootstrap-roles, etcd not done"));
        assert_eq!(missing("/readyz", 200, "ok"), None);
        assert_eq!(missing("/healthz", 503, "").as_deref(), Some("/healthz: it answers 503"));
        assert!(missing("/healthz", 401, "Unauthorized").is_some_and(|words| words.contains("does not know")));
    }

    #[test]
    fn errors_are_one_short_line() {
        let refused = "ServiceError: client error (Connect): tcp connect error: Connection refused (os error 111)";
        assert_eq!(unreachable(refused), "it does not listen yet");
        assert_eq!(unreachable(&format!("a\n{refused}").replace(refused, "b")), "a");
        assert!(unreachable(&"é".repeat(500)).chars().count() <= 160);
    }

    #[test]
    fn an_old_lease_is_nobodys() {
        assert!(is_led(Some("a"), 100, 110));
        assert!(!is_led(Some("a"), 100, 111));
        assert!(!is_led(Some(""), 100, 100));
        assert!(!is_led(None, 100, 100));
    }
}
