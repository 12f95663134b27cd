//! A door for `tests/fuzz` to what strangers say before they are known; nothing else goes through it.
use crate::hello;

/// The first words of a connection: the name asked for, and how many bytes were read to find it.
///
/// # Errors
/// Why the connection is not listened to.
pub async fn hello(bytes: &[u8]) -> Result<(Option<String>, usize), String> {
    match hello::read_all(bytes).await {
        Ok(hello) => Ok((hello.server_name, hello.bytes.len())),
        Err(error) => Err(crate::error::chain(&error)),
    }
}
