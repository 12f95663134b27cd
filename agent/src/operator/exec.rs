//! A command in a running container, for an operator: the runtime helper enters it, bytes go both ways, with a terminal
//! if wanted. The command dies with the stream.
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use futures::Stream;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::mezzo::v1 as wire;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use wire::exec_input::Kind as In;
use wire::exec_output::Kind as Out;

use crate::limits;

type Outbound = mpsc::Sender<Result<wire::ExecOutput, Status>>;

/// Starts the command and returns what it says.
pub(super) fn run(
    program: &Path,
    pod_dir: &Path,
    container: &str,
    start: wire::ExecStart,
    input: Streaming<wire::ExecInput>,
) -> Result<impl Stream<Item = Result<wire::ExecOutput, Status>> + Send + use<>, Status> {
    let broken = |error: &dyn std::fmt::Display| Status::internal(format!("the command cannot be started: {error}"));
    let mut command = executor::ExecCommand::new(program, pod_dir, container, start.argv);
    if start.tty {
        command = command.env("TERM", "xterm-256color");
    }
    let mut command = command.command();
    let mut terminal = None;
    if start.tty {
        let OpenptyResult { master, slave } = openpty(None, None).map_err(|error| broken(&error))?;
        let copy = |fd: &OwnedFd| fd.try_clone().map(Stdio::from);
        command.stdin(copy(&slave).map_err(|error| broken(&error))?);
        command.stdout(copy(&slave).map_err(|error| broken(&error))?);
        command.stderr(Stdio::from(slave));
        terminal = Some(master);
    } else {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let mut command = tokio::process::Command::from(command);
    let child = command.kill_on_drop(true).spawn().map_err(|error| broken(&error))?;
    // The command holds our copies of the terminal's other end: they must be closed for its end to be seen.
    drop(command);
    // 16 chunks of 64 KiB: a slow reader slows the command down, not the agent.
    let (sender, receiver) = mpsc::channel(16);
    match terminal {
        Some(master) => {
            let (reader, writer) = split(master).map_err(|error| broken(&error))?;
            tokio::spawn(Box::pin(with_terminal(child, reader, writer, input, sender)));
        }
        None => drop(tokio::spawn(Box::pin(with_pipes(child, input, sender)))),
    }
    Ok(ReceiverStream::new(receiver))
}

fn split(master: OwnedFd) -> std::io::Result<(tokio::fs::File, tokio::fs::File)> {
    let other = master.try_clone()?;
    Ok((tokio::fs::File::from_std(master.into()), tokio::fs::File::from_std(other.into())))
}

async fn with_terminal(
    mut child: Child,
    reader: tokio::fs::File,
    mut writer: tokio::fs::File,
    mut input: Streaming<wire::ExecInput>,
    sender: Outbound,
) {
    let output = tokio::spawn(copy(reader, sender.clone(), Out::Stdout));
    loop {
        tokio::select! {
            message = input.message() => match message.ok().flatten().and_then(|message| message.kind) {
                Some(In::Stdin(bytes)) => {
                    if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() { break; }
                }
                Some(In::Resize(size)) => resize(&writer, size),
                // A terminal's end of input is a character.
                Some(In::StdinClosed(_)) => { let _ = writer.write_all(&[4]).await; let _ = writer.flush().await; }
                Some(In::Start(_)) => {}
                None => { stop(&mut child).await; break; }
            },
            status = child.wait() => {
                finish(status, &sender, [output]).await;
                return;
            }
        }
    }
    let status = child.wait().await;
    finish(status, &sender, [output]).await;
}

async fn with_pipes(mut child: Child, mut input: Streaming<wire::ExecInput>, sender: Outbound) {
    let mut stdin = child.stdin.take();
    let stdout = child.stdout.take().map(|pipe| tokio::spawn(copy(pipe, sender.clone(), Out::Stdout)));
    let stderr = child.stderr.take().map(|pipe| tokio::spawn(copy(pipe, sender.clone(), Out::Stderr)));
    let outputs = stdout.into_iter().chain(stderr);
    loop {
        tokio::select! {
            message = input.message() => match message.ok().flatten().and_then(|message| message.kind) {
                Some(In::Stdin(bytes)) => {
                    if let Some(pipe) = &mut stdin && pipe.write_all(&bytes).await.is_err() { stdin = None; }
                }
                Some(In::StdinClosed(_)) => stdin = None,
                Some(In::Resize(_) | In::Start(_)) => {}
                None => { stop(&mut child).await; break; }
            },
            status = child.wait() => {
                finish(status, &sender, outputs).await;
                return;
            }
        }
    }
    drop(stdin);
    let status = child.wait().await;
    finish(status, &sender, outputs).await;
}

/// The client is gone, or has nothing more to say and ended its stream: the helper kills the command and ends.
async fn stop(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGHUP);
    }
    if tokio::time::timeout(limits::EXECUTOR_EXIT_TIME, child.wait()).await.is_err() {
        let _ = child.start_kill();
    }
}

async fn finish(
    status: std::io::Result<std::process::ExitStatus>,
    sender: &Outbound,
    outputs: impl IntoIterator<Item = tokio::task::JoinHandle<()>>,
) {
    // What is in the pipes is read first; something the command left behind may hold them open, and is not waited for.
    for output in outputs {
        let _ = tokio::time::timeout(limits::EXECUTOR_EXIT_TIME, output).await;
    }
    let kind = match status {
        Ok(status) => Ok(Out::ExitCode(status.code().unwrap_or(128))),
        Err(error) => Err(Status::internal(format!("the command's end was not seen: {error}"))),
    };
    let _ = sender.send(kind.map(|kind| wire::ExecOutput { kind: Some(kind) })).await;
}

async fn copy(mut from: impl AsyncRead + Unpin + Send + 'static, to: Outbound, kind: fn(Bytes) -> Out) {
    let mut chunk = vec![0; limits::CHUNK_BYTES];
    // A terminal whose other end is closed reads as an error: the end all the same.
    while let Ok(count) = from.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        let message = wire::ExecOutput { kind: Some(kind(Bytes::copy_from_slice(&chunk[..count]))) };
        if to.send(Ok(message)).await.is_err() {
            break;
        }
    }
}

#[allow(unsafe_code)] // no crate of ours sets a terminal's size
fn resize(terminal: &(impl AsyncWrite + std::os::fd::AsFd), size: wire::WindowSize) {
    use std::os::fd::AsRawFd as _;
    let cells = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
    let size = Winsize { ws_row: cells(size.rows), ws_col: cells(size.columns), ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open and the kernel only reads the structure. A failure leaves the old size.
    unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
}
