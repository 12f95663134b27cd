//! Compiles the .proto files in pure Rust (no protoc needed) and derives JSON for mezzo's own messages, and which messages are in
//! which.
use std::fmt::Write as _;

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{DescriptorProto, FileDescriptorSet};

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
    std::fs::write(out.join("kinds.rs"), kinds(&descriptors))?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    // Messages are measured before they are decoded.
    let path = out.join("mezzo.v1.rs");
    let text = std::fs::read_to_string(&path)?
        .replace("tonic_prost::ProstCodec::default()", "crate::bounds::Codec::default()");
    std::fs::write(path, text)?;
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

/// A message: its name on the wire, and in Rust; that of an entry of a map is nothing, its value is.
struct Found<'a> {
    name: String,
    path: Option<String>,
    message: &'a DescriptorProto,
}

fn collect<'a>(out: &mut Vec<Found<'a>>, name: &str, module: &str, messages: &'a [DescriptorProto]) {
    for message in messages {
        let own = message.name();
        let is_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        let path = (!is_entry).then(|| format!("{module}::{}", own.to_upper_camel_case()));
        let name = format!("{name}.{own}");
        collect(out, &name, &format!("{module}::{}", own.to_snake_case()), &message.nested_type);
        out.push(Found { name, path, message });
    }
}

/// The table of `src/bounds.rs`: which fields of a message hold messages, and what one more takes.
fn kinds(descriptors: &FileDescriptorSet) -> String {
    let mut all = Vec::new();
    for file in descriptors.file.iter().filter(|file| file.package().starts_with("me")) {
        let module = format!("crate::{}", file.package().replace('.', "::"));
        collect(&mut all, &format!(".{}", file.package()), &module, &file.message_type);
    }
    let index = |name: &str| all.iter().position(|found| found.name == name);
    let mut table = format!("static KINDS: [Kind; {}] = [\n", all.len());
    let mut names = String::new();
    for (number, found) in all.iter().enumerate() {
        table.push_str("    Kind { nested: &[");
        for field in &found.message.field {
            let Some(kind) = index(field.type_name()) else { continue };
            let is_repeated = field.label() == Label::Repeated;
            let cost = match &all[kind].path {
                // One that is not repeated is part of the message it is in.
                _ if !is_repeated => "0".to_owned(),
                Some(path) => format!("size_of::<{path}>()"),
                None => {
                    let value = all[kind].message.field.iter().find(|field| field.number() == 2);
                    let value = value.and_then(|value| all[index(value.type_name())?].path.as_ref());
                    value.map_or_else(|| "64".to_owned(), |path| format!("64 + size_of::<{path}>()"))
                }
            };
            write!(table, "({}, {kind}, {cost}), ", field.number()).expect("a string takes all");
        }
        table.push_str("] },\n");
        if let Some(path) = &found.path {
            writeln!(names, "impl Bounded for {path} {{\n    const KIND: usize = {number};\n}}")
                .expect("a string takes all");
        }
    }
    format!("{table}];\n{names}")
}
