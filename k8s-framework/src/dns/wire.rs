//! Between the wire and the core's answers.
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use kubernetes_core::dns::{self, Answer, Data, Kind, TTL, Zone};

/// What becomes of a question.
#[derive(Debug)]
pub(crate) enum Handled {
    /// The answer.
    Reply(Message),
    /// Somebody else knows.
    Forward,
}

/// Answers a message from the zone; without a zone the cluster was not seen yet, and nothing may be denied.
pub(crate) fn handle(request: &Message, zone: Option<&Zone>) -> Handled {
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.add_queries(request.queries.iter().cloned());
    let fail = |mut reply: Message, code| {
        reply.metadata.response_code = code;
        Handled::Reply(reply)
    };
    if request.metadata.op_code != OpCode::Query {
        return fail(reply, ResponseCode::NotImp);
    }
    let [query] = request.queries.as_slice() else { return fail(reply, ResponseCode::FormErr) };
    let Some(zone) = zone else { return fail(reply, ResponseCode::ServFail) };
    let name = query.name().to_utf8();
    let answer = zone.answer(name.trim_end_matches('.'), kind(query));
    reply.metadata.authoritative = true;
    match answer {
        Answer::Elsewhere => Handled::Forward,
        Answer::NoSuchName => {
            reply.authorities.extend(authority(query.name()));
            fail(reply, ResponseCode::NXDomain)
        }
        Answer::Found { records, additional } => {
            reply.answers.extend(records.iter().filter_map(|record| to_wire(record, query.name())));
            reply.additionals.extend(additional.iter().filter_map(|record| to_wire(record, query.name())));
            if reply.answers.is_empty() {
                reply.authorities.extend(authority(query.name()));
            }
            Handled::Reply(reply)
        }
    }
}

// The library's list of kinds grows; whatever it holds, a cluster has records of these four alone.
#[allow(clippy::wildcard_enum_match_arm)]
fn kind(query: &Query) -> Kind {
    match query.query_type() {
        RecordType::A => Kind::A,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::TXT => Kind::Txt,
        _ => Kind::Other,
    }
}

/// The owner keeps the letters of the question, for clients that compare them.
fn to_wire(record: &dns::Record, asked: &Name) -> Option<Record> {
    let name = |text: &str| Name::from_utf8(format!("{text}.")).ok();
    let owner = name(&record.name)?;
    let owner = if owner == *asked { asked.clone() } else { owner };
    let data = match &record.data {
        Data::A(address) => RData::A(A(*address)),
        Data::Srv { port, target } => RData::SRV(SRV::new(0, 100, *port, name(target)?)),
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Cname(target) => RData::CNAME(CNAME(name(target.trim_end_matches('.'))?)),
        Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
    };
    Some(Record::from_rdata(owner, TTL, data))
}

/// With it a denial may be kept for as long as an answer.
fn authority(asked: &Name) -> Option<Record> {
    let labels = asked.num_labels();
    let zone = asked.trim_to(usize::from(labels.min(2)));
    let server = Name::from_utf8(format!("ns.dns.{zone}")).ok()?;
    let mailbox = Name::from_utf8(format!("hostmaster.{zone}")).ok()?;
    let ttl = i32::try_from(TTL).unwrap_or(i32::MAX);
    Some(Record::from_rdata(zone, TTL, RData::SOA(SOA::new(server, mailbox, 1, 7200, 1800, 86400, ttl.unsigned_abs()))))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::MessageType;

    use super::*;

    fn ask(name: &str, kind: RecordType) -> Message {
        let mut request = Message::new(7, MessageType::Query, OpCode::Query);
        request.add_query(Query::query(Name::from_utf8(name).expect("a name"), kind));
        request
    }

    #[test]
    fn a_service_is_found_a_stranger_is_denied_and_the_rest_is_forwarded() {
        let service = dns::Service { address: Some([10, 96, 0, 1].into()), ..dns::Service::default() };
        let zone = Zone::new("cluster.local", [(("default".to_owned(), "kubernetes".to_owned()), service)]);
        let Handled::Reply(reply) = handle(&ask("kubernetes.default.svc.cluster.local.", RecordType::A), Some(&zone))
        else {
            panic!("ours")
        };
        assert_eq!(reply.metadata.id, 7);
        assert_eq!(reply.answers.len(), 1);
        let Handled::Reply(reply) = handle(&ask("nope.default.svc.cluster.local.", RecordType::A), Some(&zone)) else {
            panic!("ours")
        };
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(reply.authorities.len(), 1);
        assert!(matches!(handle(&ask("example.com.", RecordType::A), Some(&zone)), Handled::Forward));
    }

    #[test]
    fn before_the_cluster_was_seen_nothing_is_denied() {
        let Handled::Reply(reply) = handle(&ask("kubernetes.default.svc.cluster.local.", RecordType::A), None) else {
            panic!("ours")
        };
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }
}
