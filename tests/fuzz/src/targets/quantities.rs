//! Amounts as people type them: flags of `mezzo`, the agent's resources, disks, virtual addresses, networks.
use model::Disk;
use model::task::Vip;

use crate::check;

/// One text.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for (name, read) in mezzo_cli::fuzzing::quantities(text) {
        match read {
            Err(words) => check::words(&words.chars().take(1000).collect::<String>()),
            Ok(amount) => assert!(!amount.contains('-') || name == "ports" || text.contains('-'), "{text} is {amount}"),
        }
    }
    for read in [agent::config::amounts(text), agent::config::revocable(text)] {
        match read {
            Ok(read) => check::quantities(&read),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(read) = agent::config::resources(text, std::path::Path::new("/"), None) {
        check::resources(&read);
    }
    if let Ok(disk) = text.parse::<Disk>() {
        assert_eq!(disk.to_string(), text);
    }
    if let Ok(vip) = text.parse::<Vip>() {
        assert_eq!(vip.to_string().parse().as_ref(), Ok(&vip));
    }
}
