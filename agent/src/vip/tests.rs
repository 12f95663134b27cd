//! Virtual addresses in real kernels: every host is a thread in a network namespace of its own, with real servers and
//! clients. They need root, and leave nothing.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use agent_core::vip::{Endpoint, Rules};
use nix::sched::{CloneFlags, unshare};

use super::kernel::{Kernel, KernelError};

/// Longer than anything here takes that is not wrong.
const DEADLINE: Duration = Duration::from_secs(10);
/// "At once", on a machine that does other things too.
const SOON: Duration = Duration::from_secs(2);
const SERVICE: Endpoint = (Ipv4Addr::new(198, 18, 3, 4), 443);
const PORT: u16 = 6443;

type Work = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace. The namespace goes with its last thread and socket.
struct Host {
    work: mpsc::Sender<Work>,
    thread: i32,
}

impl Host {
    fn new() -> Self {
        let (work, todo) = mpsc::channel::<Work>();
        let (told, thread) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            told.send(nix::unistd::gettid().as_raw()).expect("the test waits");
            ip("link set lo up");
            todo.into_iter().for_each(|work| work());
        });
        Self { work, thread: thread.recv().expect("a namespace") }
    }
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.work.send(Box::new(move || done.send(work()).expect("the test waits"))).expect("the host lives");
        result.recv().expect("the host did not panic")
    }
    fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        self.run(move || ip(&arguments));
    }
    /// Says who it is and who asks to everybody who connects, then answers lines with themselves.
    fn serve(&self, name: &'static str, address: Ipv4Addr) {
        self.run(move || {
            let listener = TcpListener::bind((address, PORT)).expect("a free port");
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.expect("a connection");
                    std::thread::spawn(move || {
                        let peer = stream.peer_addr().expect("a peer").ip();
                        writeln!(stream, "{name} {peer}").expect("the client reads");
                        let mut lines = BufReader::new(stream.try_clone().expect("another handle"));
                        let mut line = String::new();
                        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                            if stream.write_all(line.as_bytes()).is_err() {
                                return;
                            }
                            line.clear();
                        }
                    });
                }
            });
        });
    }
    fn connect(&self, to: Endpoint) -> std::io::Result<Client> {
        self.run(move || {
            let stream = TcpStream::connect_timeout(&SocketAddr::from(to), DEADLINE)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            let mut lines = BufReader::new(stream);
            let mut hello = String::new();
            lines.read_line(&mut hello)?;
            let (server, peer) = hello.trim().split_once(' ').expect("a server's words");
            Ok(Client { server: server.to_owned(), peer: peer.to_owned(), lines })
        })
    }
    /// Servers that so many connections reached, and as whom.
    fn ask(&self, to: Endpoint, times: usize) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for _ in 0..times {
            let client = self.connect(to).expect("an answer");
            found.entry(client.server).or_default().insert(client.peer);
        }
        found
    }
    fn output(&self, program: &'static str, arguments: &'static str) -> String {
        self.run(move || {
            let output = Command::new(program).args(arguments.split(' ')).output().expect("the program is there");
            assert!(output.status.success(), "{program} {arguments}: {output:?}");
            String::from_utf8(output.stdout).expect("text")
        })
    }
    fn forward(&self) {
        self.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a namespace of our own"));
    }
    /// Rules that are made here, and stay with the host.
    fn kernel(&self, own: Ipv4Addr) -> Rule<'_> {
        Rule { host: self, kernel: Some(Kernel::new(own)) }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2 is there");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

struct Client {
    server: String,
    peer: String,
    lines: BufReader<TcpStream>,
}

impl Client {
    /// Whether the connection ends, with an error, without the client saying anything.
    fn is_ended(&mut self) -> bool {
        let began = Instant::now();
        let ended = self
            .lines
            .read(&mut [0; 16])
            .is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted));
        ended && began.elapsed() < SOON
    }
    /// Whether the connection still carries something.
    fn echo(&mut self) -> std::io::Result<()> {
        self.lines.get_mut().write_all(b"x\n")?;
        let mut line = String::new();
        match self.lines.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// A kernel that is only spoken to by its host's thread.
struct Rule<'a> {
    host: &'a Host,
    kernel: Option<Kernel>,
}

impl Rule<'_> {
    fn with<T: Send + 'static>(&mut self, work: impl FnOnce(&mut Kernel) -> T + Send + 'static) -> T {
        let mut kernel = self.kernel.take().expect("put back below");
        let (kernel, result) = self.host.run(move || {
            let result = work(&mut kernel);
            (kernel, result)
        });
        self.kernel = Some(kernel);
        result
    }
    fn set(&mut self, rules: Option<Rules>) -> bool {
        self.with(move |kernel| kernel.set(rules.as_ref())).expect("the rules are made")
    }
}

/// Hosts on one network, 10.77.0.1 and so on.
fn network(count: u8) -> Vec<Host> {
    let switch = Host::new();
    switch.ip("link add br0 type bridge");
    switch.ip("link set br0 up");
    let hosts: Vec<Host> = (1..=count).map(|_| Host::new()).collect();
    for (number, host) in (1..=count).zip(&hosts) {
        switch.ip(&format!("link add v{number} type veth peer name eth0 netns {}", host.thread));
        switch.ip(&format!("link set v{number} master br0 up"));
        host.ip(&format!("addr add {}/24 dev eth0", address(number)));
        host.ip("link set eth0 up");
    }
    // The switch lives as long as its namespace, which its ports hold.
    std::mem::forget(switch);
    hosts
}

/// A host behind another one, as a pod is: 10.88.0.2 behind 10.77.0.1.
fn pod_of(host: &Host) -> Host {
    let pod = Host::new();
    host.ip(&format!("link add pod type veth peer name eth0 netns {}", pod.thread));
    host.ip("addr add 10.88.0.1/24 dev pod");
    host.ip("link set pod up");
    host.forward();
    pod.ip("addr add 10.88.0.2/24 dev eth0");
    pod.ip("link set eth0 up");
    pod.ip("route add default via 10.88.0.1");
    pod
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

/// Rules that lead to these hosts.
fn rules(hosts: &[u8]) -> Rules {
    let backends: BTreeSet<Endpoint> = hosts.iter().map(|number| (address(*number), PORT)).collect();
    Rules {
        range: "198.18.0.0/16".to_owned(),
        routable: (1..=9).map(|number| format!("{}/32", address(number))).collect(),
        hairpins: backends.iter().map(|(address, _)| *address).collect(),
        services: if backends.is_empty() { BTreeMap::new() } else { [(SERVICE, backends)].into() },
    }
}

fn servers(found: &BTreeMap<String, BTreeSet<String>>) -> Vec<&str> {
    found.keys().map(String::as_str).collect()
}

#[test]
fn connections_are_spread_over_backends_and_keep_their_source() {
    let hosts = network(3);
    hosts[1].serve("two", address(2));
    hosts[2].serve("three", address(3));
    let mut kernel = hosts[0].kernel(address(1));
    assert!(kernel.set(Some(rules(&[2, 3]))));
    // Forty tosses that all fall the same way would be a miracle.
    let found = hosts[0].ask(SERVICE, 40);
    assert_eq!(servers(&found), ["three", "two"]);
    assert!(found.values().flatten().all(|peer| peer == "10.77.0.1"), "{found:?}");
    assert!(!kernel.set(Some(rules(&[2, 3]))), "nothing changed");
}

#[test]
fn a_pod_reaches_a_service_as_itself_or_as_its_host_if_nobody_could_answer_it() {
    let hosts = network(2);
    let pod = pod_of(&hosts[0]);
    hosts[1].serve("two", address(2));
    let mut kernel = hosts[0].kernel(address(1));
    kernel.set(Some(rules(&[2])));
    assert_eq!(pod.ask(SERVICE, 3)["two"], ["10.77.0.1".to_owned()].into(), "the backend knows no way to 10.88.0.0/24");
    hosts[1].ip("route add 10.88.0.0/24 via 10.77.0.1");
    let mut reached = rules(&[2]);
    reached.routable.insert("10.88.0.0/24".to_owned());
    assert!(!kernel.set(Some(reached)), "no backend was withdrawn");
    assert_eq!(pod.ask(SERVICE, 3)["two"], ["10.88.0.2".to_owned()].into());
}

#[test]
fn a_backend_reaches_itself() {
    let hosts = network(2);
    hosts[0].serve("one", address(1));
    let mut kernel = hosts[0].kernel(address(1));
    kernel.set(Some(rules(&[1])));
    assert_eq!(servers(&hosts[0].ask(SERVICE, 5)), ["one"]);
    // From a pod of its own, which comes in from outside.
    let pod = pod_of(&hosts[0]);
    assert_eq!(servers(&pod.ask(SERVICE, 5)), ["one"]);
    // And a host that is sent back to itself by another one.
    hosts[1].serve("two", address(2));
    hosts[1].ip("route add 198.18.0.0/16 via 10.77.0.1");
    kernel.set(Some(rules(&[2])));
    assert_eq!(servers(&hosts[1].ask(SERVICE, 5)), ["two"]);
}

#[test]
fn a_withdrawn_backend_loses_its_connections_at_once_and_new_ones_go_elsewhere() {
    let hosts = network(3);
    let pod = pod_of(&hosts[0]);
    hosts[1].serve("two", address(2));
    hosts[2].serve("three", address(3));
    let mut kernel = hosts[0].kernel(address(1));
    kernel.set(Some(rules(&[2])));
    let mut local = hosts[0].connect(SERVICE).expect("connected");
    let mut forwarded = pod.connect(SERVICE).expect("connected");
    kernel.set(Some(rules(&[2, 3])));
    let mut staying = loop {
        let client = hosts[0].connect(SERVICE).expect("connected");
        if client.server == "three" {
            break client;
        }
    };
    local.echo().expect("a backend that joins disturbs nobody");
    // The host of the backend is gone as far as anybody can tell.
    hosts[1].ip("link set eth0 down");
    assert!(kernel.set(Some(rules(&[3]))), "a backend was withdrawn");
    assert!(local.is_ended(), "a client that only listens is told");
    let began = Instant::now();
    // The first word is refused; it is the next look that finds out.
    let refused = forwarded.echo().and_then(|()| forwarded.echo());
    assert!(refused.is_err() && began.elapsed() < SOON, "{refused:?} after {:?}", began.elapsed());
    staying.echo().expect("connections to other backends go on");
    assert_eq!(servers(&hosts[0].ask(SERVICE, 10)), ["three"]);
    assert_eq!(servers(&pod.ask(SERVICE, 10)), ["three"]);
}

#[test]
fn a_service_without_backends_is_refused_at_once() {
    let hosts = network(2);
    let pod = pod_of(&hosts[0]);
    hosts[1].serve("two", address(2));
    let mut kernel = hosts[0].kernel(address(1));
    kernel.set(Some(rules(&[])));
    let other = (Ipv4Addr::new(198, 18, 9, 9), 80);
    for (who, host) in [("host", &hosts[0]), ("pod", &pod)] {
        for to in [SERVICE, other] {
            let began = Instant::now();
            let refused = host.connect(to).err().map(|error| error.kind());
            assert_eq!(refused, Some(ErrorKind::ConnectionRefused), "{who} {to:?}");
            assert!(began.elapsed() < SOON, "{who} {to:?}: {:?}", began.elapsed());
        }
    }
    kernel.set(Some(rules(&[2])));
    let mut client = hosts[0].connect(SERVICE).expect("a backend came");
    kernel.set(Some(rules(&[])));
    assert!(client.is_ended());
    let refused = hosts[0].connect(SERVICE).err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
}

#[test]
fn what_is_not_ours_stays_as_it_is_and_nothing_of_ours_is_left() {
    let hosts = network(2);
    let host = &hosts[0];
    for line in [
        "add table ip other",
        "add chain ip other nat { type nat hook output priority -100 ; }",
        "add rule ip other nat ip daddr 203.0.113.1 tcp dport 80 counter dnat to 10.77.0.2:6443",
    ] {
        host.run(move || assert!(Command::new("nft").arg(line).status().expect("nft is there").success()));
    }
    host.ip("route add 203.0.113.0/24 dev eth0");
    hosts[1].serve("two", address(2));
    let state = || (host.output("nft", "-a list ruleset"), host.output("ip", "-details route show table all"));
    let before = state();
    let others = host.output("nft", "-a list table ip other");
    let mut kernel = host.kernel(address(1));
    assert!(!kernel.set(None), "nothing to be done");
    assert_eq!(state(), before);
    kernel.set(Some(rules(&[2])));
    let two = (Ipv4Addr::new(198, 18, 3, 5), 80);
    let both = |backends: &[u8]| {
        let mut both = rules(backends);
        both.services.insert(two, [(address(2), PORT)].into());
        both
    };
    kernel.set(Some(both(&[2])));
    let untouched = host.output("nft", "-a list chain ip mezzo_vip v_198_18_3_5_80");
    kernel.set(Some(both(&[1, 2])));
    kernel.set(Some(both(&[])));
    assert_eq!(host.output("nft", "-a list chain ip mezzo_vip v_198_18_3_5_80"), untouched, "edits, not all anew");
    assert_eq!(host.output("nft", "-a list table ip other"), others);
    assert_eq!(servers(&host.ask((Ipv4Addr::new(203, 0, 113, 1), 80), 2)), ["two"]);
    assert_eq!(servers(&host.ask(two, 3)), ["two"]);
    kernel.set(None);
    let after = state();
    // Counters and numbers of rules are what they are; everything else is as it was.
    assert_eq!(after.1, before.1);
    assert_eq!(host.output("nft", "list tables"), "table ip other\n");
}

#[test]
fn what_somebody_else_removes_is_put_back_and_a_restarted_agent_takes_over() {
    let hosts = network(2);
    hosts[1].serve("two", address(2));
    let mut kernel = hosts[0].kernel(address(1));
    kernel.set(Some(rules(&[2])));
    let mut client = hosts[0].connect(SERVICE).expect("connected");
    hosts[0].run(|| assert!(Command::new("nft").args(["flush", "ruleset"]).status().expect("nft is there").success()));
    hosts[0].ip("route del 198.18.0.0/16");
    kernel.with(Kernel::verify).expect("made anew");
    client.echo().expect("its connection is the same");
    assert_eq!(servers(&hosts[0].ask(SERVICE, 3)), ["two"]);
    // A change on top of rules that are gone.
    hosts[0].run(|| assert!(Command::new("nft").args(["flush", "ruleset"]).status().expect("nft is there").success()));
    kernel.set(Some(rules(&[1, 2])));
    kernel.set(Some(rules(&[2])));
    assert_eq!(servers(&hosts[0].ask(SERVICE, 3)), ["two"]);

    let mut second = hosts[0].kernel(address(1));
    let taken = second.with(|kernel| kernel.set(Some(&rules(&[2]))));
    assert!(matches!(taken, Err(KernelError::Taken)), "{taken:?}");
    // The first one dies; what it left serves on, and is taken over without a gap.
    drop(kernel);
    client.echo().expect("the rules are the kernel's");
    second.set(Some(rules(&[2])));
    client.echo().expect("its backend is still one");
    second.set(Some(rules(&[])));
    assert!(client.is_ended());
}

#[test]
fn an_agent_without_virtual_addresses_removes_what_a_dead_one_left() {
    let hosts = network(1);
    let mut dead = hosts[0].kernel(address(1));
    dead.set(Some(rules(&[])));
    drop(dead);
    assert_eq!(hosts[0].output("nft", "list tables"), "table ip mezzo_vip\n");
    hosts[0].kernel(address(1)).set(None);
    assert_eq!(hosts[0].output("nft", "list tables"), "");
}
