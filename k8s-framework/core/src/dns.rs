//! Names of a cluster as its DNS specification has them: what a question about services and pods is answered with.
//! Plain values in, plain values out; the wire is the shell's.
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Seconds for which an answer may be kept.
pub const TTL: u32 = 5;
/// Version of the specification, as TXT of `dns-version.<domain>`.
pub const VERSION: &str = "1.1.0";

/// A port of a service or of its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// May be empty; then there is no SRV record.
    pub name: String,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// The number.
    pub number: u16,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Its address; `None`: headless.
    pub address: Option<Ipv4Addr>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Where it leads outside of the cluster (type ExternalName).
    pub external_name: Option<String>,
    /// Addresses behind it that count (ready, or published anyway).
    pub endpoints: Vec<Endpoint>,
}

/// An address behind a headless service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: Ipv4Addr,
    /// Its name, if it has one of its own.
    pub hostname: Option<String>,
    /// The ports there.
    pub ports: Vec<Port>,
}

impl Endpoint {
    /// Its own name, or its address with dashes.
    fn label(&self) -> String {
        self.hostname.clone().unwrap_or_else(|| self.address.to_string().replace('.', "-"))
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Addresses.
    A,
    /// Places of ports.
    Srv,
    /// Names of addresses.
    Ptr,
    /// Text.
    Txt,
    /// Anything else: names exist, but not with this.
    Other,
}

/// The value of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An address.
    A(Ipv4Addr),
    /// A port and the name it is at.
    Srv {
        /// The number.
        port: u16,
        /// The name.
        target: String,
    },
    /// A name.
    Ptr(String),
    /// Another name.
    Cname(String),
    /// Text.
    Txt(String),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Whose.
    pub name: String,
    /// What.
    pub data: Data,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The name exists; there may be no record of the kind.
    Found {
        /// What was asked for.
        records: Vec<Record>,
        /// What will be asked next: addresses of the targets.
        additional: Vec<Record>,
    },
    /// There is no such name in the cluster.
    NoSuchName,
    /// Not a name of the cluster: ask elsewhere.
    Elsewhere,
}

/// Everything that has a name, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zone {
    domain: String,
    /// By namespace and name.
    services: BTreeMap<String, BTreeMap<String, Service>>,
    /// Names of addresses.
    reverse: BTreeMap<Ipv4Addr, BTreeSet<String>>,
}

impl Zone {
    /// The zone of a domain (without the final dot).
    pub fn new(domain: &str, services: impl IntoIterator<Item = ((String, String), Service)>) -> Self {
        let mut zone = Self { domain: domain.to_ascii_lowercase(), ..Self::default() };
        for ((namespace, name), service) in services {
            let full = format!("{name}.{namespace}.svc.{}", zone.domain);
            if let Some(address) = service.address {
                zone.reverse.entry(address).or_default().insert(full);
            } else {
                for endpoint in service.endpoints.iter().filter(|endpoint| endpoint.hostname.is_some()) {
                    zone.reverse.entry(endpoint.address).or_default().insert(format!("{}.{full}", endpoint.label()));
                }
            }
            zone.services.entry(namespace).or_default().insert(name, service);
        }
        zone
    }

    /// Answers a question. Names come without the final dot; case does not matter.
    pub fn answer(&self, name: &str, kind: Kind) -> Answer {
        let name = name.to_ascii_lowercase();
        if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
            return self.reverse_of(&name, reversed, kind);
        }
        if name == self.domain {
            return found(Vec::new());
        }
        let Some(inner) = name.strip_suffix(&self.domain).and_then(|rest| rest.strip_suffix('.')) else {
            return Answer::Elsewhere;
        };
        let mut labels: Vec<&str> = inner.split('.').collect();
        labels.reverse();
        match labels.as_slice() {
            ["dns-version"] => match kind {
                Kind::Txt => found(vec![Record { name, data: Data::Txt(VERSION.to_owned()) }]),
                Kind::A | Kind::Srv | Kind::Ptr | Kind::Other => found(Vec::new()),
            },
            ["svc"] | ["pod"] => found(Vec::new()),
            ["svc", namespace] | ["pod", namespace] if self.services.contains_key(*namespace) => found(Vec::new()),
            ["svc", namespace, service, rest @ ..] => {
                match self.services.get(*namespace).and_then(|services| services.get(*service)) {
                    Some(found) => {
                        self.of_service(&name, &format!("{service}.{namespace}.svc.{}", self.domain), found, rest, kind)
                    }
                    None => Answer::NoSuchName,
                }
            }
            ["pod", _, dashed] => match dashed.replace('-', ".").parse() {
                Ok(address) if kind == Kind::A => found(vec![Record { name, data: Data::A(address) }]),
                Ok(_) => found(Vec::new()),
                Err(_) => Answer::NoSuchName,
            },
            _ => Answer::NoSuchName,
        }
    }

    fn of_service(&self, name: &str, full: &str, service: &Service, rest: &[&str], kind: Kind) -> Answer {
        let record = |data| Record { name: name.to_owned(), data };
        match rest {
            [] => {
                if let Some(target) = &service.external_name {
                    return found(vec![record(Data::Cname(target.clone()))]);
                }
                match kind {
                    Kind::A => found(addresses(service).into_iter().map(|address| record(Data::A(address))).collect()),
                    // Without port and protocol: all of them.
                    Kind::Srv => places(name, full, service, |_| true),
                    Kind::Ptr | Kind::Txt | Kind::Other => found(Vec::new()),
                }
            }
            [label] if !label.starts_with('_') => {
                let ours: BTreeSet<Ipv4Addr> = headless(service)
                    .filter(|endpoint| endpoint.label().eq_ignore_ascii_case(label))
                    .map(|endpoint| endpoint.address)
                    .collect();
                if ours.is_empty() {
                    return Answer::NoSuchName;
                }
                match kind {
                    Kind::A => found(ours.into_iter().map(|address| record(Data::A(address))).collect()),
                    Kind::Srv | Kind::Ptr | Kind::Txt | Kind::Other => found(Vec::new()),
                }
            }
            [protocol] => {
                let protocol = protocol.trim_start_matches('_');
                let has = service.ports.iter().any(|port| port.protocol == protocol);
                if has { found(Vec::new()) } else { Answer::NoSuchName }
            }
            [protocol, port] if protocol.starts_with('_') && port.starts_with('_') => {
                let (protocol, wanted) = (&protocol[1..], &port[1..]);
                let is_it = |port: &Port| port.protocol == protocol && port.name.eq_ignore_ascii_case(wanted);
                let exists = service.ports.iter().any(is_it)
                    || headless(service).any(|endpoint| endpoint.ports.iter().any(is_it));
                match (exists, kind) {
                    (false, _) => Answer::NoSuchName,
                    (true, Kind::Srv) => places(name, full, service, is_it),
                    (true, Kind::A | Kind::Ptr | Kind::Txt | Kind::Other) => found(Vec::new()),
                }
            }
            _ => Answer::NoSuchName,
        }
    }

    fn reverse_of(&self, name: &str, reversed: &str, kind: Kind) -> Answer {
        let mut parts: Vec<&str> = reversed.split('.').collect();
        parts.reverse();
        let Ok(address) = parts.join(".").parse::<Ipv4Addr>() else { return Answer::Elsewhere };
        let Some(names) = self.reverse.get(&address) else { return Answer::Elsewhere };
        match kind {
            Kind::Ptr => found(
                names.iter().map(|target| Record { name: name.to_owned(), data: Data::Ptr(target.clone()) }).collect(),
            ),
            Kind::A | Kind::Srv | Kind::Txt | Kind::Other => found(Vec::new()),
        }
    }
}

fn found(records: Vec<Record>) -> Answer {
    Answer::Found { records, additional: Vec::new() }
}

fn headless(service: &Service) -> impl Iterator<Item = &Endpoint> {
    let endpoints = if service.address.is_none() { service.endpoints.as_slice() } else { &[] };
    endpoints.iter()
}

fn addresses(service: &Service) -> BTreeSet<Ipv4Addr> {
    match service.address {
        Some(address) => BTreeSet::from([address]),
        None => service.endpoints.iter().map(|endpoint| endpoint.address).collect(),
    }
}

/// SRV records of the ports that are meant, with the addresses of their targets.
fn places(name: &str, full: &str, service: &Service, is_meant: impl Fn(&Port) -> bool) -> Answer {
    let mut records = BTreeSet::new();
    let mut additional = BTreeSet::new();
    let mut add = |port: u16, target: String, address: Ipv4Addr| {
        records.insert(Record { name: name.to_owned(), data: Data::Srv { port, target: target.clone() } });
        additional.insert(Record { name: target, data: Data::A(address) });
    };
    if let Some(address) = service.address {
        for port in service.ports.iter().filter(|port| is_meant(port)) {
            add(port.number, full.to_owned(), address);
        }
    }
    for endpoint in headless(service) {
        for port in endpoint.ports.iter().filter(|port| is_meant(port)) {
            add(port.number, format!("{}.{full}", endpoint.label()), endpoint.address);
        }
    }
    Answer::Found { records: records.into_iter().collect(), additional: additional.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let port = |name: &str, number| Port { name: name.to_owned(), protocol: "tcp".to_owned(), number };
        let web = Service { address: Some([10, 96, 0, 7].into()), ports: vec![port("http", 80)], ..Service::default() };
        let endpoint = |last, hostname: Option<&str>| Endpoint {
            address: [10, 100, 1, last].into(),
            hostname: hostname.map(str::to_owned),
            ports: vec![port("db", 5432)],
        };
        let db = Service {
            ports: vec![port("db", 5432)],
            endpoints: vec![endpoint(2, Some("db-0")), endpoint(3, None)],
            ..Service::default()
        };
        let out = Service { external_name: Some("example.com".to_owned()), ..Service::default() };
        let key = |name: &str| ("default".to_owned(), name.to_owned());
        Zone::new("cluster.local", [(key("web"), web), (key("db"), db), (key("out"), out)])
    }

    fn text(answer: Answer) -> String {
        let line = |record: &Record| format!("{} {:?}", record.name, record.data);
        match answer {
            Answer::NoSuchName => "no such name".to_owned(),
            Answer::Elsewhere => "elsewhere".to_owned(),
            Answer::Found { records, additional } => {
                let lines: Vec<String> = records
                    .iter()
                    .map(line)
                    .chain(additional.iter().map(|record| format!("+ {}", line(record))))
                    .collect();
                lines.join("\n")
            }
        }
    }

    #[test]
    fn questions_are_answered_as_the_specification_says() {
        let zone = zone();
        for (name, kind, expected) in [
            ("web.default.svc.cluster.local", Kind::A, "web.default.svc.cluster.local A(10.96.0.7)"),
            ("WEB.default.svc.Cluster.local", Kind::A, "web.default.svc.cluster.local A(10.96.0.7)"),
            ("web.default.svc.cluster.local", Kind::Other, ""),
            ("nope.default.svc.cluster.local", Kind::A, "no such name"),
            ("web.other.svc.cluster.local", Kind::A, "no such name"),
            ("default.svc.cluster.local", Kind::A, ""),
            ("other.svc.cluster.local", Kind::A, "no such name"),
            ("svc.cluster.local", Kind::A, ""),
            ("example.com", Kind::A, "elsewhere"),
            ("notcluster.local", Kind::A, "elsewhere"),
            (
                "_http._tcp.web.default.svc.cluster.local",
                Kind::Srv,
                "_http._tcp.web.default.svc.cluster.local Srv { port: 80, target: \"web.default.svc.cluster.local\" }\n\
                 + web.default.svc.cluster.local A(10.96.0.7)",
            ),
            ("_http._udp.web.default.svc.cluster.local", Kind::Srv, "no such name"),
            (
                "db.default.svc.cluster.local",
                Kind::A,
                "db.default.svc.cluster.local A(10.100.1.2)\ndb.default.svc.cluster.local A(10.100.1.3)",
            ),
            ("db-0.db.default.svc.cluster.local", Kind::A, "db-0.db.default.svc.cluster.local A(10.100.1.2)"),
            (
                "10-100-1-3.db.default.svc.cluster.local",
                Kind::A,
                "10-100-1-3.db.default.svc.cluster.local A(10.100.1.3)",
            ),
            ("x.db.default.svc.cluster.local", Kind::A, "no such name"),
            ("out.default.svc.cluster.local", Kind::A, "out.default.svc.cluster.local Cname(\"example.com\")"),
            ("7.0.96.10.in-addr.arpa", Kind::Ptr, "7.0.96.10.in-addr.arpa Ptr(\"web.default.svc.cluster.local\")"),
            (
                "2.1.100.10.in-addr.arpa",
                Kind::Ptr,
                "2.1.100.10.in-addr.arpa Ptr(\"db-0.db.default.svc.cluster.local\")",
            ),
            ("9.9.9.9.in-addr.arpa", Kind::Ptr, "elsewhere"),
            ("10-1-2-3.default.pod.cluster.local", Kind::A, "10-1-2-3.default.pod.cluster.local A(10.1.2.3)"),
            ("dns-version.cluster.local", Kind::Txt, "dns-version.cluster.local Txt(\"1.1.0\")"),
        ] {
            assert_eq!(text(zone.answer(name, kind)), expected, "{name} {kind:?}");
        }
    }
}
