//! What a message will take in memory, told before it is decoded. An empty task is two bytes on the wire and two thousand in
//! memory: a bound of bytes alone would let one peer take the memory of all.
use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::{DecodeError, Message};
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};

/// What the messages inside of one may take together, besides their share by length: 4096 tasks with ten resources each,
/// twice over.
const BYTES_MAX: usize = 64 << 20;
/// And for each byte on the wire.
const PER_BYTE_MAX: usize = 8;
/// Deeper, the decoder refuses.
const DEPTH_MAX: usize = 100;

/// A kind of message, as far as its size is concerned.
struct Kind {
    /// Fields that hold messages: number, kind, and what one more of them takes.
    nested: &'static [(u32, usize, usize)],
}

/// A message of ours.
pub trait Bounded: Message + Default {
    /// Its place in the table of kinds.
    #[doc(hidden)]
    const KIND: usize;
}

include!(concat!(env!("OUT_DIR"), "/kinds.rs"));

/// Why a message is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoundsError {
    /// It would become too large.
    #[error("a message of {length} bytes would take more than {allowed} bytes of memory: send it in parts")]
    TooLarge {
        /// On the wire.
        length: usize,
        /// In memory.
        allowed: usize,
    },
    /// What it holds cannot be measured: it breaks off, or has a group, which none of ours has.
    #[error("a message of {length} bytes breaks off, or has fields of a kind that no message of mezzo has")]
    Unmeasurable {
        /// On the wire.
        length: usize,
    },
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// Decodes a message that does not become too large.
///
/// # Errors
/// It would, or it is none.
pub fn decode<M: Bounded>(bytes: &[u8]) -> Result<M, BoundsError> {
    check::<M>(bytes)?;
    Ok(M::decode(bytes)?)
}

fn check<M: Bounded>(bytes: &[u8]) -> Result<(), BoundsError> {
    let allowed = BYTES_MAX.saturating_add(bytes.len().saturating_mul(PER_BYTE_MAX));
    let mut left = allowed;
    let measured = take(bytes, M::KIND, 0, &mut left);
    if left == 0 {
        return Err(BoundsError::TooLarge { length: bytes.len(), allowed });
    }
    // The decoder never sees what was not measured to its end: it may read on where this gave up, as it does behind groups.
    measured.ok_or(BoundsError::Unmeasurable { length: bytes.len() })
}

/// Subtracts what the messages in `bytes` take. `None`: they are not to be measured, or there is nothing left.
fn take(mut bytes: &[u8], kind: usize, depth: usize, left: &mut usize) -> Option<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        match tag & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => skip(&mut bytes, 8)?,
            5 => skip(&mut bytes, 4)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = bytes.get(..length)?;
                skip(&mut bytes, length)?;
                let number = u32::try_from(tag >> 3).ok()?;
                let nested = KINDS[kind].nested.iter().find(|(field, _, _)| *field == number);
                if let Some((_, kind, cost)) = nested
                    && depth < DEPTH_MAX
                {
                    *left = left.saturating_sub(*cost);
                    if *left == 0 {
                        return None;
                    }
                    take(inner, *kind, depth + 1, left)?;
                }
            }
            _ => return None,
        }
    }
    Some(())
}

fn skip(bytes: &mut &[u8], count: usize) -> Option<()> {
    *bytes = bytes.get(count..)?;
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.first()?;
        skip(bytes, 1)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// How the services of ours read and write messages.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Bounded + Send + 'static> tonic::codec::Codec for Codec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = Writer<T>;
    type Decoder = Reader<U>;

    fn encoder(&mut self) -> Writer<T> {
        Writer(PhantomData)
    }
    fn decoder(&mut self) -> Reader<U> {
        Reader(PhantomData)
    }
}

/// Writes messages.
#[derive(Debug)]
pub struct Writer<T>(PhantomData<T>);

impl<T: Message> Encoder for Writer<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(out).expect("the buffer grows");
        Ok(())
    }
}

/// Reads messages.
#[derive(Debug)]
pub struct Reader<U>(PhantomData<U>);

impl<U: Bounded> Decoder for Reader<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes: Bytes = buffer.copy_to_bytes(buffer.remaining());
        check::<U>(&bytes).map_err(|error| match error {
            BoundsError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
            BoundsError::Unmeasurable { .. } | BoundsError::Malformed(_) => Status::invalid_argument(error.to_string()),
        })?;
        U::decode(bytes).map(Some).map_err(|error| Status::invalid_argument(format!("no message: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesos::v1 as mesos;
    use crate::mezzo::v1 as wire;

    /// A call that launches so many tasks, all of them empty: two bytes each.
    fn call(tasks: usize) -> Vec<u8> {
        let bytes = [0x0a, 0x00].repeat(tasks);
        let mut message = wire::FrameworkCall {
            version: 1,
            call: Some(mesos::scheduler::Call {
                accept: Some(mesos::scheduler::call::Accept {
                    operations: vec![mesos::offer::Operation {
                        launch: Some(mesos::offer::operation::Launch { task_infos: Vec::new() }),
                        ..mesos::offer::Operation::default()
                    }],
                    ..mesos::scheduler::call::Accept::default()
                }),
                ..mesos::scheduler::Call::default()
            }),
            ..wire::FrameworkCall::default()
        };
        let accept = message.call.as_mut().and_then(|call| call.accept.as_mut()).expect("made above");
        let launch = accept.operations[0].launch.as_mut().expect("made above");
        *launch = mesos::offer::operation::Launch::decode(bytes.as_slice()).expect("empty tasks");
        message.encode_to_vec()
    }

    #[test]
    fn a_message_that_would_become_too_large_is_not_decoded() {
        assert!(decode::<wire::FrameworkCall>(&call(1000)).is_ok());
        let large = call(100_000);
        let error = decode::<wire::FrameworkCall>(&large).expect_err("refused");
        assert!(matches!(error, BoundsError::TooLarge { .. }), "{error}");
        assert_eq!(decode::<wire::FrameworkCall>(&large[..7]), Err(BoundsError::Unmeasurable { length: 7 }));
    }

    #[test]
    fn nothing_hides_behind_what_the_decoder_skips() {
        // A group of a field that nobody knows: begun, with something in it or with nothing, and ended.
        let groups: [&[u8]; 3] = [&[0xfb, 0x3e, 0xfc, 0x3e], &[0xfb, 0x3e, 0x08, 0x01, 0xfc, 0x3e], &[0xfc, 0x3e]];
        for group in groups {
            let small = [group, &call(1)].concat();
            assert_eq!(decode::<wire::FrameworkCall>(&small), Err(BoundsError::Unmeasurable { length: small.len() }));
            let large = [group, &call(100_000)].concat();
            assert!(decode::<wire::FrameworkCall>(&large).is_err());
        }
        assert!(wire::FrameworkCall::decode(&[groups[0], &call(1)].concat()[..]).is_ok(), "the decoder alone takes it");
    }

    #[test]
    fn text_is_not_taken_for_messages() {
        let state = wire::StateWrite { key: "k".to_owned(), value: Some([0x0a, 0x00].repeat(500_000).into()) };
        let message = wire::FrameworkCall { version: 1, writes: vec![state], ..wire::FrameworkCall::default() };
        assert!(decode::<wire::FrameworkCall>(&message.encode_to_vec()).is_ok());
    }
}
