//! The packages that travel inside the binary, listed by the build script.
include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
