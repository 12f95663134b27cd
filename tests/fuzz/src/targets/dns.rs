//! Questions to a cluster's DNS, by whatever runs in its pods.
use std::sync::LazyLock;

use kubernetes_core::dns::{Endpoint, Port, Service, Zone};

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let port = || Port { name: "https".to_owned(), protocol: "tcp".to_owned(), number: 443 };
    let plain = Service { address: Some([10, 96, 0, 1].into()), ports: vec![port()], ..Service::default() };
    let endpoint =
        Endpoint { address: [10, 100, 0, 7].into(), hostname: Some("etcd-0".to_owned()), ports: vec![port()] };
    let headless = Service { endpoints: vec![endpoint], ..Service::default() };
    let elsewhere = Service { external_name: Some("example.org".to_owned()), ..Service::default() };
    let name = |name: &str| ("default".to_owned(), name.to_owned());
    Zone::new("cluster.local", [(name("kubernetes"), plain), (name("etcd"), headless), (name("out"), elsewhere)])
});

/// One question.
pub fn target(data: &[u8]) {
    for zone in [Some(&*ZONE), None] {
        if let Some(answer) = k8s_framework::fuzzing::dns(data, zone) {
            assert_eq!(answer[..2], data[..2], "the answer is to another question");
            assert!(answer[2] & 0x80 != 0, "the answer is a question");
        }
    }
}
