//! The executor's two entry points as a program of its own, for this crate's tests.
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let mode = args.next().unwrap_or_default();
    if mode == "executor" {
        executor::main_executor(args.collect())
    } else if mode == "container" {
        executor::main_container(args.collect())
    } else {
        eprintln!("usage: mezzo-executor-harness executor|container ...");
        ExitCode::from(2)
    }
}
