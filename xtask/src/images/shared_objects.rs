//! The shared libraries that a program of this machine needs to run in an image that has none.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use super::layer::LayerBuilder;
use crate::tool::Tool;

/// Copies the libraries and the loader of `programs` to the paths under which the programs look for them.
pub(super) fn copy<W: Write>(layer: &mut LayerBuilder<W>, programs: &[&str]) -> Result<()> {
    let mut libraries = BTreeMap::new();
    for program in programs {
        let text = Tool::new("ldd").arg(program).quiet().output()?;
        for path in text.lines().filter_map(library) {
            libraries.insert(path.to_owned(), PathBuf::from(path));
        }
    }
    for (path, source) in &libraries {
        layer.copy(path.trim_start_matches('/'), 0o755, source)?;
    }
    Ok(())
}

/// From a line of `ldd`: `libc.so.6 => /lib/libc.so.6 (0x…)` or, for the loader, `/lib64/ld.so (0x…)`.
fn library(line: &str) -> Option<&str> {
    let line = line.trim();
    let path = line.split_once("=> ").map_or(line, |(_, path)| path);
    path.split_whitespace().next().filter(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernel_s_object_is_not() {
        let text = "\tlinux-vdso.so.1 (0x00007fabc9606000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fabc9413000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007fabc9608000)\n";
        let found: Vec<_> = text.lines().filter_map(library).collect();
        assert_eq!(found, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }
}
