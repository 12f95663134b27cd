//! Lists `packages/<name>/<version>/` so that the packages of this release travel inside the binary.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("packages");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut text = String::from("pub(crate) static FILES: &[(&str, &[(&str, &str)])] = &[\n");
    for package in sorted(&root)? {
        println!("cargo:rerun-if-changed={}", package.display());
        for version in sorted(&package)? {
            println!("cargo:rerun-if-changed={}", version.display());
            if !version.join("package.toml").is_file() {
                continue;
            }
            let label = version.strip_prefix(&root).expect("listed below it").display().to_string();
            writeln!(text, "    ({label:?}, &[").expect("a String takes everything");
            for file in sorted(&version)?.into_iter().filter(|path| path.is_file()) {
                println!("cargo:rerun-if-changed={}", file.display());
                let name = file.file_name().and_then(|name| name.to_str()).expect("package files have plain names");
                writeln!(text, "        ({name:?}, include_str!({:?})),", file.display().to_string())
                    .expect("as above");
            }
            text.push_str("    ]),\n");
        }
    }
    text.push_str("];\n");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo")).join("embedded.rs");
    std::fs::write(out, text)
}

fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}
