//! What the kernel says: its files as text, its tables as messages.

/// One file, or one answer.
pub fn target(data: &[u8]) {
    assert!(agent::fuzzing::netlink(data) <= data.len());
    let text = String::from_utf8_lossy(data);
    let (hierarchies, _) = agent::fuzzing::kernel_text(&text);
    assert!(hierarchies.len() <= text.lines().count());
}
