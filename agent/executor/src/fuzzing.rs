//! Doors for `tests/fuzz` to what this crate reads and keeps private; nothing else goes through them.
use bytes::BytesMut;
use proto::mezzo::v1 as wire;
use tokio::io::AsyncWriteExt as _;
use tokio_util::codec::Decoder as _;

use crate::core::{ContainerPlan, Report};
use crate::{link, shell};

/// Frames of the link that these bytes begin with.
///
/// # Errors
/// One is longer than frames may be.
pub fn frames(bytes: &[u8]) -> Result<Vec<Vec<u8>>, std::io::Error> {
    let (mut codec, mut buffer, mut frames) = (link::codec(), BytesMut::from(bytes), Vec::new());
    while let Some(frame) = codec.decode(&mut buffer)? {
        frames.push(frame.to_vec());
    }
    Ok(frames)
}

/// A container as the core is told of it.
pub fn plan(spec: &wire::ContainerSpec) -> ContainerPlan {
    shell::convert::plan(spec)
}

/// A report as the agent is told of it.
pub fn report(report: &Report) -> wire::ContainerReport {
    shell::convert::report(report)
}

/// What is made of a task's answer to a check.
///
/// # Errors
/// It is not the answer of something healthy.
pub async fn http_answer(answer: &[u8], path: &str) -> Result<String, String> {
    let (ours, mut theirs) = tokio::io::duplex(64 << 10);
    let answered = async {
        // The checker may hang up first.
        let _ = theirs.write_all(answer).await;
        let _ = theirs.shutdown().await;
    };
    let (checked, ()) = tokio::join!(shell::http::request(ours, "127.0.0.1", 80, path), answered);
    checked.map_err(|error| crate::chain(&error))
}
