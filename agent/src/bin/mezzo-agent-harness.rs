//! The agent and its executor as one small program, for this crate's tests: they kill it, which no test can do to itself.
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|mode| mode.to_str()) {
        Some("executor") => executor::main_executor(args.collect()),
        Some("container") => executor::main_container(args.collect()),
        Some("agent") => agent_main(args.filter_map(|arg| arg.into_string().ok()).collect()),
        Some(_) | None => {
            eprintln!("usage: mezzo-agent-harness executor|container|agent ...");
            ExitCode::from(2)
        }
    }
}

/// `agent <state dir> <name> <port> <master> <resources> <token> <ca sha256> <revocable> <percent of pressure>`
fn agent_main(args: Vec<String>) -> ExitCode {
    let Ok([state_dir, name, port, master, resources, token, ca_sha256, revocable, pressure]) =
        <[String; 9]>::try_from(args)
    else {
        eprintln!(
            "usage: mezzo-agent-harness agent STATE_DIR NAME PORT MASTER RESOURCES TOKEN CA_SHA256 REVOCABLE PRESSURE"
        );
        return ExitCode::from(2);
    };
    daemon::logging::init("agent");
    let config = agent::AgentConfig {
        state_dir: state_dir.into(),
        name,
        address: Some(std::net::Ipv4Addr::LOCALHOST),
        port: port.parse().unwrap_or(0),
        master,
        join: Some(agent::Join { token, ca_sha256 }),
        resources,
        revocable,
        pressure_percent: pressure.parse().ok(),
        attributes: std::collections::BTreeMap::new(),
        region: "r".to_owned(),
        zone: "z".to_owned(),
        program: std::env::current_exe().expect("this program has a path"),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
    match runtime.block_on(agent::run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", daemon::error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
