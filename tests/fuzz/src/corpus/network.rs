//! First bytes of connections, and answers.
use daemon::identity::{CertificateAuthority, SigningRequest};
use model::Principal;

/// A name of DNS: labels behind their lengths.
fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a short label"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// Questions to a DNS server.
pub fn questions() -> Vec<Vec<u8>> {
    let of = |name: &str, kind: u16| {
        [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &labels(name), &kind.to_be_bytes(), &[0, 1]].concat()
    };
    vec![
        of("kubernetes.default.svc.cluster.local", 1),
        of("_https._tcp.kubernetes.default.svc.cluster.local", 33),
        of("etcd-0.etcd.default.svc.cluster.local", 28),
        of("out.default.svc.cluster.local", 1),
        of("1.0.96.10.in-addr.arpa", 12),
        of("nope.default.svc.cluster.local", 16),
        of("example.org", 1),
    ]
}

/// First messages of TLS.
pub fn hellos() -> Vec<Vec<u8>> {
    crate::prepare();
    ["api.demo.mezzo", "MASTER.mezzo"].into_iter().map(hello).collect()
}

/// As a client of ours would begin.
fn hello(name: &str) -> Vec<u8> {
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let config =
        rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("written to memory");
    bytes
}

/// Requests for certificates, and certificates.
pub fn identities() -> Vec<Vec<u8>> {
    let request = SigningRequest::create(&Principal::new("agent/fuzz")).expect("made");
    let authority = CertificateAuthority::create("other").expect("made");
    vec![request.csr_pem.into_bytes(), authority.ca_pem().as_bytes().to_vec()]
}

/// Answers of a task.
pub fn http_answers() -> Vec<Vec<u8>> {
    [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
        "HTTP/1.0 302 Found\r\nlocation: /x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nconnection: close\r\n\r\nbecause",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
