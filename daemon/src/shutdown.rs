//! When to stop: SIGTERM or SIGINT.
use tokio::signal::unix::{SignalKind, signal as listen};

/// Completes when the process is asked to stop. If signals cannot be listened to, never: the default action (to end
/// the process) is then in force.
pub async fn signal() {
    match (listen(SignalKind::terminate()), listen(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "signals cannot be listened to");
            std::future::pending::<()>().await;
        }
    }
}
