//! Kubeconfig documents. They are JSON, which every reader of YAML takes.
use serde_json::{Value, json};

/// How the client finds and trusts the apiserver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `host:port`.
    pub address: String,
    /// The name its certificate is verified under, whatever the address.
    pub tls_server_name: String,
    /// The cluster's name in the document.
    pub cluster: String,
}

/// PEM texts, base64-encoded in the document so that the file stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The user's name in the document.
    pub user: &'a str,
    /// The cluster's authority.
    pub authority: &'a str,
    /// The user's certificate.
    pub certificate: &'a str,
    /// Its key.
    pub key: &'a str,
}

/// A document that carries its credentials.
pub fn inline(server: &Server, credentials: Credentials<'_>) -> Value {
    document(
        server,
        credentials.user,
        ("certificate-authority-data", base64(credentials.authority.as_bytes()).into()),
        json!({
            "client-certificate-data": base64(credentials.certificate.as_bytes()),
            "client-key-data": base64(credentials.key.as_bytes()),
        }),
    )
}

/// A document that refers to files beside it.
pub fn by_path(server: &Server, user: &str, authority: &str, certificate: &str, key: &str) -> Value {
    document(
        server,
        user,
        ("certificate-authority", authority.into()),
        json!({ "client-certificate": certificate, "client-key": key }),
    )
}

fn document(server: &Server, user: &str, authority: (&str, Value), user_value: Value) -> Value {
    let mut cluster = json!({
        "server": format!("https://{}", server.address),
        "tls-server-name": server.tls_server_name,
    });
    cluster[authority.0] = authority.1;
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": server.cluster,
        "clusters": [{ "name": server.cluster, "cluster": cluster }],
        "users": [{ "name": user, "user": user_value }],
        "contexts": [{ "name": server.cluster, "context": { "cluster": server.cluster, "user": user } }],
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                let index = (bits >> (18 - 6 * digit) & 63) as usize;
                out.push(char::from(DIGITS[index]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn the_name_in_the_certificate_is_not_the_address() {
        let server = Server {
            address: "192.0.2.1:5050".into(),
            tls_server_name: "api.demo.mezzo".into(),
            cluster: "demo".into(),
        };
        let document = by_path(&server, "admin", "ca.crt", "a.crt", "a.key");
        assert_eq!(
            document["clusters"][0]["cluster"],
            json!({ "server": "https://192.0.2.1:5050", "tls-server-name": "api.demo.mezzo", "certificate-authority": "ca.crt" })
        );
    }
}
