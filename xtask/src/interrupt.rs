//! Ctrl-C and SIGTERM: remembered, not obeyed at once, so that a half-made pool is taken down before the program ends.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on a first SIGINT or SIGTERM only sets the flag that [`requested`] reads; a second one ends the program.
pub(crate) fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupts, mut terminations) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                if REQUESTED.swap(true, Ordering::SeqCst) {
                    eprintln!("interrupted again: leaving everything as it is");
                    std::process::exit(130);
                }
            }
        });
    })?;
    Ok(())
}

pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
