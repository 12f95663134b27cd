//! The `mezzo` program; everything is in its library, so that tests reach what reads other people's bytes.

use std::process::ExitCode;

fn main() -> ExitCode {
    mezzo_cli::main()
}
