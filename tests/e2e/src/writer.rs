//! A client that writes ten times a second, through an unmodified kubectl, and remembers what was acknowledged and when.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::kubectl::{Kubectl, items, name};
use crate::program::Running;
use crate::wait::eventually;

const PERIOD: Duration = Duration::from_millis(100);

/// A write without an answer for so long is not acknowledged; the next is tried.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes until it is finished.
#[derive(Debug)]
pub struct Writer {
    title: &'static str,
    stop: Sender<()>,
    thread: JoinHandle<Written>,
    _proxy: Running,
}

/// What a writer saw.
#[derive(Debug)]
struct Written {
    acknowledged: Vec<String>,
    longest: Silence,
}

/// From one acknowledgement to the next.
#[derive(Debug, Default)]
struct Silence {
    lasted: Duration,
    /// What was said instead, and when.
    failures: Vec<(Duration, String)>,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.lasted.as_secs_f64())?;
        self.failures.iter().try_for_each(|(after, why)| write!(f, "; after {:.1} s: {why}", after.as_secs_f64()))
    }
}

impl Writer {
    /// Begins to write; every writer has a title of its own.
    ///
    /// # Errors
    /// If `kubectl proxy` does not run.
    pub fn start(kubectl: &Kubectl, title: &'static str) -> Result<Self> {
        let proxy = kubectl.command(&["proxy", "--port=0"]).start()?;
        let address = eventually("the address of kubectl proxy", Duration::from_secs(20), || {
            let said = proxy.said();
            Ok(said.split_whitespace().find_map(|word| word.parse::<SocketAddr>().ok()))
        })?;
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || write(address, title, &stopped));
        Ok(Self { title, stop, thread, _proxy: proxy })
    }

    /// Ends it: every acknowledged write must be there, and no silence was longer than allowed.
    ///
    /// # Errors
    /// If one is missing, or a silence was longer.
    pub fn finish(self, kubectl: &Kubectl, silence: Duration) -> Result<()> {
        let title = self.title;
        self.stop.send(()).context("stop the writer")?;
        let written = self.thread.join().ok().context("wait for the writer")?;
        let count = written.acknowledged.len();
        let longest = written.longest;
        eprintln!("{title}: {count} writes acknowledged; the longest silence lasted {longest}");
        ensure!(count > 0, "nothing was written");
        let list = kubectl.get(&["configmaps", "--selector", &format!("writer={title}")])?;
        let present: BTreeSet<String> = items(&list).iter().map(name).collect();
        let lost: Vec<_> = written.acknowledged.iter().filter(|name| !present.contains(*name)).collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        ensure!(longest.lasted <= silence, "no write was acknowledged for {longest}");
        Ok(())
    }
}

fn write(address: SocketAddr, title: &str, stopped: &Receiver<()>) -> Written {
    let mut written = Written { acknowledged: Vec::new(), longest: Silence::default() };
    let mut last = Instant::now();
    let mut failures = Vec::new();
    let mut number = 0;
    while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        number += 1;
        let name = format!("{title}-{number}");
        let created = create(address, title, &name);
        // From one acknowledgement to the next, however long the one took that came.
        let lasted = last.elapsed();
        let is_acknowledged = created.is_ok();
        failures.extend(created.err().map(|error| (lasted, format!("{error:#}"))));
        if lasted > written.longest.lasted {
            written.longest = Silence { lasted, failures: failures.clone() };
        }
        if is_acknowledged {
            written.acknowledged.push(name);
            failures.clear();
            last = Instant::now();
        }
    }
    written
}

fn create(address: SocketAddr, title: &str, name: &str) -> Result<()> {
    let body = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "labels": { "writer": title } },
    })
    .to_string();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE)).context("set a time")?;
    let length = body.len();
    let head = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    write!(stream, "{head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .context("ask")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).context("hear the answer")?;
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.ends_with(" 201") {
        let mut words = String::new();
        // It may break off: what was heard is told.
        let _ = stream.read_to_string(&mut words);
        bail!("answered {head}: {}", words.rsplit("\r\n").next().unwrap_or_default());
    }
    Ok(())
}
