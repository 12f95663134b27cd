//! What tests run in pods: a server that says whom it saw, a client, a resolver, and an admission webhook over TLS. The shell of
//! a pod's image can do none of these well enough: its resolver is not that of the image, and it speaks no TLS.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => run(serve(port.parse().context("read the port")?)),
        ["webhook", port, directory] => run(webhook(port.parse().context("read the port")?, Path::new(directory))),
        ["get", host, port] => say(&fetch(host, port.parse().context("read the port")?)?),
        ["resolve", name] => {
            let addresses: BTreeSet<String> = resolve(name, 0)?.iter().map(|found| found.ip().to_string()).collect();
            say(&addresses.into_iter().collect::<Vec<_>>().join("\n"))
        }
        _ => bail!("serve PORT | webhook PORT DIRECTORY | get HOST PORT | resolve NAME"),
    }
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).context("print")
}

fn run(server: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start")?.block_on(async {
        tokio::select! {
            ended = server => ended,
            () = daemon::shutdown::signal() => Ok(()),
        }
    })
}

/// Every address of a name, by the resolver of the image.
fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs().with_context(|| format!("resolve {name}"))?.collect())
}

fn fetch(host: &str, port: u16) -> Result<String> {
    let address = *resolve(host, port)?.first().with_context(|| format!("find an address of {host}"))?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT)).context("set a time")?;
    write!(stream, "GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").context("ask")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read the answer")?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.0 200") => Ok(body.to_owned()),
        _ => bail!("{address} says {answer:?}"),
    }
}

/// Says its own name and the address it was asked from.
async fn serve(port: u16) -> Result<()> {
    let name = std::fs::read_to_string("/etc/hostname").context("read its own name")?.trim().to_owned();
    let page = move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
        let line = format!("{name} saw {}\n", peer.ip());
        // A log that is lost must not keep the page back.
        let _ = write!(std::io::stdout(), "{line}");
        line
    };
    let router = Router::new().route("/", get(page));
    let listener = tokio::net::TcpListener::bind((IpAddr::from([0, 0, 0, 0]), port)).await.context("listen")?;
    say("serving")?;
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.context("serve")
}

/// Refuses whatever is called `refused`.
async fn webhook(port: u16, directory: &Path) -> Result<()> {
    daemon::tls::install_crypto_provider();
    let identity = daemon::identity::Identity::load(directory).context("read the certificate")?;
    let tls = daemon::tls::server_config(&identity).context("use the certificate")?;
    let listener = tokio::net::TcpListener::bind((IpAddr::from([0, 0, 0, 0]), port)).await.context("listen")?;
    let router = Router::new().route("/", post(review));
    daemon::serve::serve(listener, tls, router, None, daemon::shutdown::signal()).await.context("serve")
}

async fn review(Json(question): Json<Value>) -> Json<Value> {
    let is_refused =
        question["request"]["name"] == "refused" || question["request"]["object"]["metadata"]["name"] == "refused";
    Json(json!({
        "apiVersion": question["apiVersion"],
        "kind": "AdmissionReview",
        "response": {
            "uid": question["request"]["uid"],
            "allowed": !is_refused,
            "status": {"message": "the pod at the gate says no"},
        },
    }))
}
