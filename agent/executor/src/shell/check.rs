//! Runs one check and says whether it passed, in words. Timeouts are kept here; what a result means is decided in the core.
use std::io;
use std::process::Stdio;
use std::time::Duration;

use proto::mezzo::v1::{Check, CommandCheck, HttpCheck, TcpCheck, check};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

use super::convert;
use super::http;
use super::pod::Shared;
use crate::core::Exit;
use crate::exec::ExecCommand;
use crate::limits::MESSAGE_BYTES_MAX;

/// `Ok` is success; both carry words. `pid` is the container's init.
pub(super) async fn run(shared: &Shared, container: &str, pid: i32, check: &Check) -> Result<String, String> {
    let limit = convert::timeout(check);
    match &check.kind {
        None => Err("the check says not what to check".to_owned()),
        Some(check::Kind::Command(wanted)) => command(shared, container, wanted, limit).await,
        Some(check::Kind::Tcp(wanted)) => within(limit, tcp(wanted)).await,
        Some(check::Kind::Http(wanted)) => within(limit, get(pid, wanted)).await,
    }
}

async fn within(limit: Duration, check: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    tokio::time::timeout(limit, check)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} ms", limit.as_millis())))
}

async fn tcp(wanted: &TcpCheck) -> Result<String, String> {
    let port = u16::try_from(wanted.port).map_err(|_| format!("{} is no port", wanted.port))?;
    TcpStream::connect(("127.0.0.1", port))
        .await
        .map(|_| format!("port {port} accepts connections"))
        .map_err(|err| format!("connect to port {port}: {err}"))
}

async fn get(pid: i32, wanted: &HttpCheck) -> Result<String, String> {
    http::get(pid, wanted).await.map_err(|err| crate::chain(&err))
}

async fn command(shared: &Shared, container: &str, wanted: &CommandCheck, limit: Duration) -> Result<String, String> {
    let failed = |err: io::Error| format!("run the check's command: {err}");
    let args = ExecCommand::new("", shared.paths.dir(), container, wanted.argv.clone()).command();
    // The words `container exec` are the pinned program's to say.
    let mut command = shared.program.helper("exec");
    command.args(args.get_args().skip(2));
    let (reader, writer) = io::pipe().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let spawned = shared.reaper.spawn(&mut command);
    drop(command);
    let mut helper = spawned.map_err(failed)?;
    let output = tokio::task::spawn_local(head(reader.into()));
    let exit = helper.exit_within(limit).await;
    // What it wrote is in the pipe; a child it left behind may hold the pipe open.
    let said =
        tokio::time::timeout(Duration::from_millis(100), output).await.ok().and_then(Result::ok).unwrap_or_default();
    match exit {
        Some(Exit::Code(0)) => Ok(said),
        Some(exit) if said.is_empty() => Err(format!("the command {exit}")),
        Some(exit) => Err(format!("the command {exit}: {said}")),
        None => Err(format!("the command took longer than {} ms", limit.as_millis())),
    }
}

/// The first words of an output; the rest is read and dropped so that the writer does not hang.
async fn head(reader: std::os::fd::OwnedFd) -> String {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(reader) else { return String::new() };
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(length) = pipe.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        let room = MESSAGE_BYTES_MAX.saturating_sub(said.len()).min(length);
        said.extend_from_slice(&buffer[..room]);
    }
    String::from_utf8_lossy(&said).trim().to_owned()
}
