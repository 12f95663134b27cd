//! Compiles the .proto files in pure Rust (no protoc needed) and derives JSON for mezzo's own messages.
use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    let files = [
        "proto/mesos/v1/mesos.proto",
        "proto/mesos/v1/scheduler.proto",
        "proto/mezzo/v1/task.proto",
        "proto/mezzo/v1/framework.proto",
        "proto/mezzo/v1/agent.proto",
        "proto/mezzo/v1/executor.proto",
        "proto/mezzo/v1/operator.proto",
        "proto/mezzo/v1/registry.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    let bytes = descriptors.encode_to_vec();
    std::fs::write(out.join("descriptors.bin"), &bytes)?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    pbjson_build::Builder::new()
        .register_descriptors(&bytes)?
        .ignore_unknown_fields()
        .build(&[".mezzo.v1", ".mesos.v1"])?;
    // pbjson writes the variant SELF as `Self`, which prost had to call `Self_`.
    let path = out.join("mesos.v1.serde.rs");
    let text = std::fs::read_to_string(&path)?
        .replace("Type::Self,", "Type::Self_,")
        .replace("Type::Self)", "Type::Self_)")
        .replace("Self::Self ", "Self::Self_ ");
    std::fs::write(path, text)?;
    Ok(())
}
