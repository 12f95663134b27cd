//! `mezzo task exec`: a program in a task's container, with this terminal if there is one.
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use nix::sys::termios::{self, SetArg, Termios};
use proto::mezzo::v1::exec_input::Kind as Input;
use proto::mezzo::v1::exec_output::Kind as Output;
use proto::mezzo::v1::{ExecInput, ExecStart, WindowSize};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::Global;
use crate::limits;

pub(crate) async fn run(global: &Global, task: &str, argv: Vec<String>, tty: bool) -> Result<ExitCode> {
    let pool = Pool::connect(global)?;
    let found = pool.task(task).await?;
    let mut agent = pool.agent(&found.agent, &found.agent_address, found.agent_port)?;
    let tty = tty || (std::io::stdin().is_terminal() && std::io::stdout().is_terminal());
    // 8 messages of 32 KiB: enough to keep a link busy, little enough to feel its end.
    let (sender, receiver) = mpsc::channel(8);
    let send = |kind| ExecInput { kind: Some(kind) };
    let closed = |_| Failure::new("the session ended before it began", "", "try again");
    sender.send(send(Input::Start(ExecStart { task_id: found.id.clone(), argv, tty }))).await.map_err(closed)?;
    if tty {
        sender.send(send(Input::Resize(window()))).await.map_err(closed)?;
    }
    let refused =
        |status: &tonic::Status| Failure::status(&format!("agent {} at {}", found.agent, found.agent_address), status);
    let mut answers = agent.exec(ReceiverStream::new(receiver)).await.map_err(|status| refused(&status))?.into_inner();
    let _raw = if tty { RawTerminal::enter() } else { None };
    tokio::spawn(read_stdin(sender.clone()));
    if tty {
        tokio::spawn(watch_window(sender));
    }
    loop {
        let Some(answer) = answers.message().await.map_err(|status| refused(&status))? else {
            return Err(Failure::new(
                "the session ended without an exit code",
                "",
                "see how the task does with: mezzo task why",
            ));
        };
        let written = match answer.kind {
            Some(Output::Stdout(bytes)) => write(&mut std::io::stdout(), &bytes),
            Some(Output::Stderr(bytes)) => write(&mut std::io::stderr(), &bytes),
            Some(Output::ExitCode(code)) => return Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))),
            Some(Output::Refusal(refusal)) => {
                return Err(Failure::refusal(&model::Refusal::new(&refusal.code, refusal.message, refusal.next_step)));
            }
            None => Ok(()),
        };
        if written.is_err() {
            return Ok(ExitCode::FAILURE); // nobody reads
        }
    }
}

fn write(to: &mut impl std::io::Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

async fn read_stdin(sender: mpsc::Sender<ExecInput>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; limits::STDIN_CHUNK];
    loop {
        let kind = match stdin.read(&mut buffer).await {
            Ok(0) | Err(_) => Input::StdinClosed(true),
            Ok(length) => Input::Stdin(buffer[..length].to_vec().into()),
        };
        let ended = matches!(kind, Input::StdinClosed(_));
        if sender.send(ExecInput { kind: Some(kind) }).await.is_err() || ended {
            return;
        }
    }
}

async fn watch_window(sender: mpsc::Sender<ExecInput>) {
    let Ok(mut changed) = signal(SignalKind::window_change()) else { return };
    while changed.recv().await.is_some() {
        if sender.send(ExecInput { kind: Some(Input::Resize(window())) }).await.is_err() {
            return;
        }
    }
}

fn window() -> WindowSize {
    let (rows, columns) = dialoguer::console::Term::stdout().size();
    WindowSize { rows: rows.into(), columns: columns.into() }
}

/// The terminal passes every key on, until this is dropped.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before);
        let _ = std::io::stdout().flush();
    }
}
