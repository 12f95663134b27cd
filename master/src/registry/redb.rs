//! The registry in one file, by redb. One thread writes: it drains what waits, commits it as one transaction with one
//! flush, and answers everybody. Quick repair is on for every transaction: a killed master opens in milliseconds.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use redb::{Database, ReadableDatabase as _, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::{Entry, Registry, RegistryError, Table, Write};
use crate::limits;

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

struct Job {
    writes: Vec<Write>,
    done: oneshot::Sender<Result<(), RegistryError>>,
}

/// The registry in a file.
pub(crate) struct RedbRegistry {
    database: Arc<Database>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl RedbRegistry {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, RegistryError> {
        let is_empty = std::fs::metadata(path).is_ok_and(|file| file.len() == 0);
        if is_empty {
            // The library would begin anew in it, and what was known would be forgotten without a word.
            return Err(RegistryError::Corrupt { path: path.to_owned(), problem: "the file is empty".to_owned() });
        }
        let database = Arc::new(checked(path)?);
        // Every table exists from now on: readers need no special case.
        let prepare = || -> Result<(), redb::Error> {
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(true);
            for table in Table::ALL {
                transaction.open_table(definition(table))?;
            }
            transaction.commit()?;
            Ok(())
        };
        prepare().map_err(|error| named(path, error))?;
        let (jobs, waiting) = mpsc::unbounded_channel();
        let for_writer = database.clone();
        let writer = std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || write_all(&for_writer, waiting))
            .map_err(|error| open_error(path, redb::DatabaseError::Storage(redb::StorageError::Io(error))))?;
        Ok(Self { database, jobs: Some(jobs), writer: Some(writer) })
    }
}

impl Drop for RedbRegistry {
    /// Waits for the writer, so that the file can be opened again at once.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was told when it happened.
            let _ = writer.join();
        }
    }
}

impl Registry for RedbRegistry {
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'static, Result<(), RegistryError>> {
        let (done, waiting) = oneshot::channel();
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job { writes, done }).is_ok());
        async move { if sent { waiting.await.unwrap_or(Err(RegistryError::Closed)) } else { Err(RegistryError::Closed) } }
            .boxed()
    }
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, RegistryError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(definition(table))?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        };
        read().map_err(|error| RegistryError::Read(Box::new(error)))
    }
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, RegistryError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(definition(table))?;
            let mut found = Vec::new();
            for entry in table.range::<&[u8]>(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(found)
        };
        read().map_err(|error| RegistryError::Read(Box::new(error)))
    }
}

/// The writer's life: group commit until the registry is dropped or a write fails. After a failure nothing is written:
/// what is durable is unknown until the file is opened again.
fn write_all(database: &Database, mut waiting: mpsc::UnboundedReceiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < limits::WRITES_PER_COMMIT {
            match waiting.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        match write(database, &batch) {
            Ok(()) => {
                for job in batch {
                    // Whoever does not wait any more does not need to know.
                    let _ = job.done.send(Ok(()));
                }
            }
            Err(error) => {
                let mut error = Some(RegistryError::Write(Box::new(error)));
                for job in batch {
                    let _ = job.done.send(Err(error.take().unwrap_or(RegistryError::Closed)));
                }
                return;
            }
        }
    }
}

fn write(database: &Database, batch: &[Job]) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    for change in batch.iter().flat_map(|job| &job.writes) {
        match change {
            Write::Put { table, key, value } => {
                transaction.open_table(definition(*table))?.insert(key.as_slice(), value.as_slice())?;
            }
            Write::Delete { table, key } => {
                transaction.open_table(definition(*table))?.remove(key.as_slice())?;
            }
            Write::DeletePrefix { table, prefix } => {
                let end = successor(prefix);
                let mut table = transaction.open_table(definition(*table))?;
                table.retain_in::<&[u8], _>(prefix.as_slice()..end.as_slice(), |_, _| false)?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// The first key after all that begin with `prefix`. Our prefixes end in a zero byte, so the last byte has room.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.checked_add(1).expect("prefixes end in a zero byte");
    }
    end
}

/// Opens the file and reads all of it once: a damaged page is found now, and not when somebody acts on what it says. The
/// library panics on some damage; a panic would tell nobody what to do.
fn checked(path: &Path) -> Result<Database, RegistryError> {
    let open = || -> Result<(Database, bool), redb::Error> {
        let mut database = Database::builder().set_cache_size(limits::REGISTRY_CACHE_BYTES).create(path)?;
        let is_whole = database.check_integrity()?;
        Ok((database, is_whole))
    };
    let corrupt = |problem: &str| RegistryError::Corrupt { path: path.to_owned(), problem: problem.to_owned() };
    match std::panic::catch_unwind(open) {
        Ok(Ok((database, true))) => Ok(database),
        // It has repaired what can be derived from the rest, as after a crash.
        Ok(Ok((database, false))) => Ok(database),
        Ok(Err(error)) => Err(named(path, error)),
        Err(_) => Err(corrupt("its pages contradict each other")),
    }
}

fn open_error(path: &Path, error: redb::DatabaseError) -> RegistryError {
    named(path, error.into())
}

// The library's errors are not ours to list: whatever else it says, the registry cannot be opened.
#[expect(clippy::wildcard_enum_match_arm)]
fn named(path: &Path, error: redb::Error) -> RegistryError {
    let path: PathBuf = path.to_owned();
    match error {
        redb::Error::Corrupted(problem) => RegistryError::Corrupt { path, problem },
        redb::Error::UpgradeRequired(format) => {
            RegistryError::Corrupt { path, problem: format!("its file format {format} is not of this version") }
        }
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            RegistryError::Corrupt { path, problem: error.to_string() }
        }
        other => RegistryError::Open { path, source: Box::new(other) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Write {
        Write::Put { table: Table::State, key: key.into(), value: value.into() }
    }

    #[tokio::test]
    async fn what_was_committed_is_there_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("registry.redb");
        let registry = RedbRegistry::open(&path).expect("opened");
        let both = futures::future::join(
            registry.commit(vec![put("f1\0a", "1"), put("f1\0b", "2"), put("f2\0a", "3")]),
            registry
                .commit(vec![Write::DeletePrefix { table: Table::State, prefix: b"f1\0".to_vec() }, put("f1\0c", "4")]),
        );
        let (first, second) = both.await;
        first.and(second).expect("committed");
        drop(registry);
        let registry = RedbRegistry::open(&path).expect("opened again");
        let all = registry.scan(Table::State, b"").expect("read");
        let expected = [("f1\0c", "4"), ("f2\0a", "3")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(all, expected);
        assert_eq!(registry.scan(Table::State, b"f2").expect("read").len(), 1);
        assert_eq!(registry.get(Table::State, b"f1\0a").expect("read"), None);
    }

    #[test]
    fn a_file_that_is_no_registry_is_refused_in_words() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("registry.redb");
        std::fs::write(&path, vec![7; 10_000]).expect("written");
        let error = RedbRegistry::open(&path).err().expect("refused");
        assert!(matches!(error, RegistryError::Corrupt { .. }), "{error:?}");
    }
}
