//! The gateway's table, from the master or from the agent's disk, and the rules of the kernel that are made of it: nothing in
//! it may become a command of its own.
use model::gateway::Table;

use crate::parts;

/// The table before, and the one after.
pub fn target(data: &[u8]) {
    let [before, after] = parts::of(data);
    let read = |bytes: &[u8]| serde_json::from_slice::<Table>(bytes).ok();
    let Some(after) = read(after) else { return };
    let before = read(before).unwrap_or_default();
    let after = after.after(&before);
    let text = serde_json::to_vec(&after).expect("a table can be written");
    assert_eq!(read(&text).as_ref(), Some(&after));
    for script in agent::fuzzing::rules(&after, &before, "a1") {
        for line in script.lines() {
            let mut words = line.split_whitespace().skip(2);
            assert_eq!((words.next(), words.next()), (Some("ip"), Some("mezzo_vip")), "{line}");
            assert!(!line.contains(';') || line.contains("{ type "), "{line}");
        }
    }
}
