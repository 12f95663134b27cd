//! Texts.
use crate::parts;

/// Regular expressions, one a line.
pub fn expressions() -> Vec<Vec<u8>> {
    ["node-[0-9]+\na|b\n", ".*", "(?i)rack-\\d{1,3}", "^a$", "[[:alpha:]]+\\w*?", "a{3,5}(b|c(d|e))"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

/// Amounts.
pub fn quantities() -> Vec<Vec<u8>> {
    [
        "4",
        "2.5",
        "6GiB",
        "1.5TiB",
        "cpus=4",
        "cpus=0.1,mem=64MiB,disk=0",
        "90s",
        "30d",
        "2027-01-31T22:00:00Z",
        "+2h",
        "5/10m",
        "10250,20000-29999",
        "cpus:1.5; mem:6144;ports:[20000-20009, 31000];fpga:2",
        "cpus:1;cpus(a/b):2;disk[path:/data]:100;disk(a/b)[mount:/mnt/x]:50;vlans:[1-9,20];keys:{x,y}",
        "path:/data",
        "mount:/mnt/a",
        "api:443",
        "/api:443",
        "10.96.0.0/16",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Files of options.
pub fn option_files() -> Vec<Vec<u8>> {
    let of = |kind: u8, text: &str, path: &str| parts::join(&[&[kind][..], text.as_bytes(), path.as_bytes()]);
    vec![
        of(0, "node_count = 2\n[node]\ncpus = 1.5\nlabels = { a = \"b\" }\n", "node.mem"),
        of(1, "node_count: 2\nnode: &n\n  cpus: 1.5\n  labels: {a: b}\nother: *n\n", "node.labels.a"),
        of(1, "- 1\n- [2, 3]\n- |\n  text\n- ? a\n  : b\n", "a"),
        of(2, "{\"node_count\": 2, \"node\": {\"cpus\": 1.5}}", "a.b.c.d"),
    ]
}

/// Files and messages of the kernel.
pub fn kernel() -> Vec<Vec<u8>> {
    let mounts = "31 30 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
                  33 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    let pressure = "some avg10=12.99 avg60=1.00 avg300=0.00 total=5\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=1\n";
    vec![mounts.into(), pressure.into(), connection()]
}

/// An entry of the table of connections.
fn connection() -> Vec<u8> {
    let attribute = |kind: u16, payload: &[u8]| {
        let length = u16::try_from(payload.len() + 4).expect("short");
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), payload].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let tuple = |from: [u8; 4], to: [u8; 4]| {
        let addresses = [attribute(1, &from), attribute(2, &to)].concat();
        let ports = [attribute(1, &[6]), attribute(2, &40_000_u16.to_be_bytes()), attribute(3, &443_u16.to_be_bytes())];
        [attribute(1, &addresses), attribute(2, &ports.concat())].concat()
    };
    let body = [
        vec![2, 0, 0, 0],
        attribute(1, &tuple([10, 0, 0, 1], [198, 18, 0, 1])),
        attribute(2, &tuple([10, 0, 0, 2], [10, 0, 0, 1])),
        attribute(12, &[1, 2, 3, 4]),
    ]
    .concat();
    let length = u32::try_from(16 + body.len()).expect("short");
    let head = [&length.to_ne_bytes()[..], &0x100_u16.to_ne_bytes(), &[2, 0], &7_u32.to_ne_bytes(), &[0; 4]].concat();
    [head, body].concat()
}
