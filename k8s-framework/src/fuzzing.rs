//! Doors for `tests/fuzz` to what this crate reads and keeps private; nothing else goes through them.
use hickory_proto::op::Message;
use http::{HeaderMap, HeaderValue};
use kubernetes_core::dns::Zone;
use kubernetes_core::images::Content;

use crate::dns::wire::{Handled, handle};
use crate::{archive, image_service};

/// What an archive of images holds.
///
/// # Errors
/// It is none.
pub fn archive(file: &str, bytes: &[u8]) -> Result<Content, String> {
    archive::scan(file, bytes).map_err(|error| error.to_string())
}

/// A DNS question and what it is answered with; `None`: it is no message, or somebody else's to answer.
pub fn dns(question: &[u8], zone: Option<&Zone>) -> Option<Vec<u8>> {
    let request = Message::from_vec(question).ok()?;
    match handle(&request, zone) {
        Handled::Reply(reply) => {
            let whole = reply.to_vec().ok()?;
            let short = reply.truncate().to_vec().ok()?;
            assert!(short.len() <= whole.len(), "what is cut off is not longer");
            Some(whole)
        }
        Handled::Forward => None,
    }
}

/// The header that describes an archive which follows: the file's name, and the header that is made of it again.
pub fn description(header: &[u8]) -> Option<(String, String)> {
    let mut headers = HeaderMap::new();
    headers.insert(image_service::DESCRIPTION, HeaderValue::from_bytes(header).ok()?);
    let read = image_service::Description::from_headers(&headers)?;
    let again = read.to_header().ok()?;
    Some((read.file, again))
}
