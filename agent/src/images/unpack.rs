//! Unpacks one layer for overlayfs: the compressed bytes have the blob's digest, the plain ones the diff id, no entry
//! leaves the directory, whiteouts become overlayfs's own.
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use pathrs::{Handle, InodeType, Root};
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::ImageError;
use crate::limits;

/// Unpacks `packed` (plain, gzip or zstd) into the new directory `target`.
pub(crate) fn layer(packed: &Path, target: &Path, digest: &str, diff_id: &str) -> Result<(), ImageError> {
    fs::create_dir(target).map_err(ImageError::disk("make directory", target))?;
    fs::set_permissions(target, Permissions::from_mode(0o755)).map_err(ImageError::disk("set mode of", target))?;
    let file = File::open(packed).map_err(ImageError::disk("open", packed))?;
    let mut outer = Hashing::new(BufReader::with_capacity(1 << 18, file));
    let found = {
        let plain = decompress(&mut outer).map_err(ImageError::disk("read", packed))?;
        let mut inner = Hashing::new(Limited { inner: plain, left: limits::LAYER_UNPACKED_BYTES_MAX });
        let mut archive = tar::Archive::new(&mut inner);
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(true);
        archive.set_unpack_xattrs(true);
        archive.set_preserve_mtime(true);
        let root = Root::open(target).map_err(|error| ImageError::Disk {
            operation: "open",
            path: target.to_owned(),
            source: io::Error::other(error),
        })?;
        entries(&mut archive, &root, target, diff_id)?;
        // The archive ends before its stream: what follows counts for the digest.
        io::copy(&mut inner, &mut io::sink()).map_err(ImageError::disk("read", packed))?;
        inner.digest()
    };
    io::copy(&mut outer, &mut io::sink()).map_err(ImageError::disk("read", packed))?;
    let outer = outer.digest();
    if outer != digest {
        return Err(ImageError::Digest { what: "a layer", wanted: digest.to_owned(), found: outer });
    }
    if found != diff_id {
        return Err(ImageError::Digest { what: "an unpacked layer", wanted: diff_id.to_owned(), found });
    }
    Ok(())
}

/// Unpacks an archive of an OCI layout.
pub(crate) fn archive(packed: &Path, target: &Path) -> Result<(), ImageError> {
    fs::create_dir(target).map_err(ImageError::disk("make directory", target))?;
    let mut file = BufReader::with_capacity(1 << 18, File::open(packed).map_err(ImageError::disk("open", packed))?);
    let plain = decompress(&mut file).map_err(ImageError::disk("read", packed))?;
    let plain = Limited { inner: plain, left: limits::LAYER_UNPACKED_BYTES_MAX };
    tar::Archive::new(plain).unpack(target).map_err(ImageError::disk("unpack", packed))?;
    if !target.join("index.json").exists() {
        return Err(ImageError::Document {
            what: "the archive",
            name: packed.display().to_string(),
            problem: "is no OCI archive (it has no index.json): save the image in the OCI format".to_owned(),
        });
    }
    Ok(())
}

/// By its first bytes: gzip, zstd, or plain.
pub(crate) fn decompress<'a>(mut input: impl io::BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let start = input.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => Box::new(input),
    })
}

fn entries<R: Read>(archive: &mut tar::Archive<R>, root: &Root, target: &Path, layer: &str) -> Result<(), ImageError> {
    let bad = |path: &Path, problem: &str| ImageError::Layer {
        layer: layer.to_owned(),
        problem: format!("has an entry '{}' that {problem}", path.display()),
    };
    let broken = |source| ImageError::Disk { operation: "unpack layer to", path: target.to_owned(), source };
    let mut left = limits::LAYER_ENTRIES_MAX;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        left = left.checked_sub(1).ok_or_else(|| bad(Path::new(""), "is one too many"))?;
        let path = entry.path().map_err(broken)?.into_owned();
        if path.components().any(|part| matches!(part, Component::ParentDir)) {
            return Err(bad(&path, "leaves the layer"));
        }
        let path: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        let library = |error: pathrs::error::Error| broken(io::Error::other(error));
        let make_parent = || -> Result<(), ImageError> {
            if parent.as_os_str().is_empty() {
                return Ok(());
            }
            root.mkdir_all(&parent, &Permissions::from_mode(0o755)).map(|_| ()).map_err(library)
        };
        if name == ".wh..wh..opq" {
            make_parent()?;
            // Found as the kernel finds it inside of the layer: a link of this layer's must not lead out of it.
            let place = if parent.as_os_str().is_empty() { Path::new("/") } else { parent.as_path() };
            opaque(&root.resolve(place).map_err(library)?).map_err(broken)?;
            continue;
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            make_parent()?;
            // Device 0:0 is overlayfs's whiteout.
            root.create(parent.join(hidden), &InodeType::CharacterDevice(Permissions::from_mode(0o000), 0))
                .map_err(library)?;
            continue;
        }
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::Char | EntryType::Block | EntryType::Fifo) {
            make_parent()?;
            let mode = Permissions::from_mode(entry.header().mode().map_err(broken)? & 0o7777);
            let number = |part: Option<u32>| part.unwrap_or(0);
            let device = nix::sys::stat::makedev(
                number(entry.header().device_major().map_err(broken)?).into(),
                number(entry.header().device_minor().map_err(broken)?).into(),
            );
            let node = if kind == EntryType::Char {
                InodeType::CharacterDevice(mode, device)
            } else if kind == EntryType::Block {
                InodeType::BlockDevice(mode, device)
            } else {
                InodeType::Fifo(mode)
            };
            root.create(&path, &node).map_err(library)?;
            continue;
        }
        if !entry.unpack_in(target).map_err(broken)? {
            return Err(bad(&path, "leaves the layer"));
        }
    }
    Ok(())
}

/// Nothing of lower layers is seen in this directory.
fn opaque(dir: &Handle) -> io::Result<()> {
    xattr::set(&PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd())))
}

mod xattr {
    //! The one extended attribute that is set without an archive saying so.
    use std::io;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    #[allow(unsafe_code)] // no crate of ours sets extended attributes
    pub(super) fn set(dir: &Path) -> io::Result<()> {
        let path = std::ffi::CString::new(dir.as_os_str().as_bytes()).map_err(io::Error::other)?;
        // SAFETY: the pointers are valid for the call, and the kernel reads one byte of the value.
        let done =
            unsafe { libc::setxattr(path.as_ptr(), c"trusted.overlay.opaque".as_ptr(), c"y".as_ptr().cast(), 1, 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Fails once more was read than is allowed: some bytes of a compressed file can be any number of them.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it is larger than a layer may be when it is unpacked"))?;
        Ok(count)
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }
    fn digest(self) -> String {
        format!("sha256:{}", hex::encode(self.hash.finalize()))
    }
}
impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
impl<R: io::BufRead> io::BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }
    fn consume(&mut self, count: usize) {
        // Whoever consumes has just filled: the bytes are still there.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.hash.update(&buffer[..count]);
        }
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
    }
    fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // Written raw: the builder itself refuses paths that leave.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).expect("appended");
    }

    #[test]
    fn a_compressed_layer_unpacks_once_its_digests_fit() {
        use std::os::unix::fs::FileTypeExt as _;
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, "etc/hello", b"hi");
        add(&mut builder, "etc/.wh.gone", b"");
        let plain = builder.into_inner().expect("built");
        let packed = zstd::encode_all(plain.as_slice(), 0).expect("compressed");
        let blob = dir.path().join("blob");
        fs::write(&blob, &packed).expect("written");
        let target = dir.path().join("layer");
        layer(&blob, &target, &digest(&packed), &digest(&plain)).expect("unpacked");
        assert_eq!(fs::read(target.join("etc/hello")).expect("there"), b"hi");
        assert!(fs::metadata(target.join("etc/gone")).expect("whiteout").file_type().is_char_device());
        let other = layer(&blob, &dir.path().join("other"), &digest(&packed), &digest(b"x"));
        assert!(matches!(other, Err(ImageError::Digest { what: "an unpacked layer", .. })));
    }

    #[test]
    fn a_directory_outside_is_not_made_opaque_through_a_link() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("sub")).expect("made");
        // Inside of the layer there is a directory of the same path: that is what the link leads to.
        let within = format!("{}/sub/file", outside.display()).trim_start_matches('/').to_owned();
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, &within, b"hi");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_path("link").expect("a short path");
        header.set_link_name_literal(outside.display().to_string()).expect("a short path");
        header.set_cksum();
        builder.append(&header, &b""[..]).expect("appended");
        add(&mut builder, "link/sub/.wh..wh..opq", b"");
        let plain = builder.into_inner().expect("built");
        let blob = dir.path().join("blob");
        fs::write(&blob, &plain).expect("written");
        let target = dir.path().join("layer");
        layer(&blob, &target, &digest(&plain), &digest(&plain)).expect("unpacked");
        let is_opaque = |path: &Path| {
            let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero");
            let name = c"trusted.overlay.opaque";
            #[allow(unsafe_code)] // SAFETY: the pointers are valid for the call, and no value is written.
            let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
            length >= 0
        };
        // As anybody finds it who does not look from inside of the layer.
        let led = target.join("link/sub").canonicalize().expect("a directory");
        assert_eq!(led, outside.join("sub").canonicalize().expect("a directory"));
        assert!(!is_opaque(&led), "the directory outside has the attribute");
        let own = target.join(Path::new(&within).parent().expect("a directory"));
        assert!(is_opaque(&own), "the directory of the layer has none");
    }

    #[test]
    fn more_than_a_layer_may_have_is_not_read() {
        let mut limited = Limited { inner: io::repeat(7), left: 1000 };
        let error = io::copy(&mut limited, &mut io::sink()).expect_err("too much");
        assert!(error.to_string().contains("larger than a layer"), "{error}");
    }

    #[test]
    fn an_entry_that_leaves_the_layer_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, "../escaped", b"hi");
        let plain = builder.into_inner().expect("built");
        let blob = dir.path().join("blob");
        fs::write(&blob, &plain).expect("written");
        let result = layer(&blob, &dir.path().join("layer"), &digest(&plain), &digest(&plain));
        assert!(matches!(result, Err(ImageError::Layer { .. })), "{result:?}");
        assert!(!dir.path().join("escaped").exists());
    }
}
