//! Looks into an image archive while it streams by, without keeping it: which images does it hold? Plain or gzipped tar.
use std::io::{self, BufRead, BufReader, Read};

use kubernetes_core::images::{self, Content, DOCKER_MANIFEST, NoArchive, OCI_INDEX};
use kubernetes_core::limits::ARCHIVE_MANIFEST_BYTES_MAX;

/// Why a file is no archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// It does not come as a whole.
    #[error("it cannot be read to its end: {0}")]
    Read(io::Error),
    /// It is no tar file.
    #[error("it is no tar file")]
    NoTar,
    /// It is one of something else.
    #[error(transparent)]
    Content(#[from] NoArchive),
}

/// What an archive holds. Reads it to its end: `docker save` writes its manifest last.
///
/// # Errors
/// If it is no archive of images with names.
pub(crate) fn scan(file: &str, input: impl Read) -> Result<Content, ScanError> {
    let mut input = BufReader::with_capacity(256 * 1024, input);
    let is_gzip = input.fill_buf().map_err(ScanError::Read)?.starts_with(&[0x1f, 0x8b]);
    if is_gzip { scan_tar(file, flate2::bufread::MultiGzDecoder::new(input)) } else { scan_tar(file, input) }
}

fn scan_tar(file: &str, input: impl Read) -> Result<Content, ScanError> {
    let (mut docker, mut oci, mut entries) = (None, None, 0_u32);
    let mut tar = tar::Archive::new(input);
    for entry in tar.entries().map_err(ScanError::Read)? {
        let entry = entry.map_err(|error| if entries == 0 { ScanError::NoTar } else { ScanError::Read(error) })?;
        entries += 1;
        let path = entry.path().map_err(ScanError::Read)?;
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let slot = match path.to_str() {
            Some(DOCKER_MANIFEST) => &mut docker,
            Some(OCI_INDEX) => &mut oci,
            _ => continue,
        };
        let mut text = Vec::new();
        entry.take(ARCHIVE_MANIFEST_BYTES_MAX).read_to_end(&mut text).map_err(ScanError::Read)?;
        *slot = Some(text);
    }
    if entries == 0 {
        return Err(ScanError::NoTar);
    }
    Ok(images::content(file, docker.as_deref(), oci.as_deref())?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, path, *content).expect("appended");
        }
        builder.into_inner().expect("ended")
    }

    #[test]
    fn the_manifest_is_found_at_the_end_of_plain_and_gzipped_archives() {
        let plain = tar_of(&[("layer.tar", &[7; 5000]), ("./manifest.json", br#"[{"RepoTags":["app:1"]}]"#)]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).expect("compressed");
        for bytes in [plain, gzip.finish().expect("compressed")] {
            let found = scan("app.tar", bytes.as_slice()).expect("an archive");
            assert_eq!(found.images, ["docker.io/library/app:1"]);
        }
    }

    #[test]
    fn other_files_are_told_from_archives() {
        let words = |bytes: &[u8]| scan("x", bytes).expect_err("none").to_string();
        assert_eq!(
            words(b"hello, this is a letter and no archive at all. ".repeat(40).as_slice()),
            "it is no tar file"
        );
        assert_eq!(words(b""), "it is no tar file");
        assert!(words(&tar_of(&[("etc/passwd", b"x")])).contains("neither manifest.json"), "a tar of something else");
        let whole = tar_of(&[("a", &[1; 9000]), ("manifest.json", br#"[{"RepoTags":["app:1"]}]"#)]);
        assert!(words(&whole[..3000]).contains("cannot be read to its end"));
    }
}
