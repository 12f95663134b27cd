//! `mezzo artifact push`: a file into the pool's store, under a name that packages refer to.
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::{Format, Global};
use crate::output;

pub(crate) async fn push(global: &Global, name: &str, file: &Path) -> Result<()> {
    let pool = Pool::connect(global)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(Failure::usage(
            format!("'{name}' cannot be the name of an artifact"),
            "use a-z, 0-9, '-', '_' and '.'",
        ));
    }
    let digest = upload(&pool, file).await?;
    let path = format!("/artifacts/names/{name}");
    let named = pool.http().put(&path, "text/plain", format!("sha256:{digest}")).await;
    named.map_err(|error| Failure::http(&format!("name artifact {name}"), &error))?;
    output::note(&format!("artifact '{name}' is sha256:{digest}"));
    if global.output == Format::Json {
        return output::json(&serde_json::json!({ "name": name, "digest": format!("sha256:{digest}") }));
    }
    output::out(&format!("sha256:{digest}\n"))
}

/// Uploads a file unless the pool has it; its SHA-256 in hex.
pub(crate) async fn upload(pool: &Pool, file: &Path) -> Result<String> {
    let path = file.to_owned();
    let hashed = tokio::task::spawn_blocking(move || sha256(&path)).await;
    let hashed = hashed.map_err(|error| Failure::while_doing("hash a file", &error))?;
    let digest = hashed.map_err(|error| Failure::while_doing(format!("read {}", file.display()), &error))?;
    send(pool, file, &digest).await?;
    Ok(digest)
}

/// Uploads a file of a known digest unless the pool has it.
pub(crate) async fn send(pool: &Pool, file: &Path, digest: &str) -> Result<()> {
    let path = format!("/artifacts/sha256/{digest}");
    let doing = format!("upload {}", file.display());
    let head = http::Request::head(&path).body(daemon::client::Body::empty());
    let head = head.map_err(|error| Failure::while_doing(&doing, &error))?;
    let answer = pool.http().request(head).await.map_err(|error| Failure::http(&doing, &error))?;
    if answer.status().is_success() {
        return Ok(());
    }
    pool.http().put_file(&path, file).await.map(drop).map_err(|error| Failure::http(&doing, &error))
}

pub(crate) fn sha256(file: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(hasher.finalize())),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
