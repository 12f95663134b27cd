//! The registry: facts that nobody can tell the master again, behind a trait so that another store can take redb's place.
//! It knows tables, keys and bytes; what records mean is in [`record`].
pub(crate) mod record;
mod redb;

use std::path::PathBuf;

use futures::future::BoxFuture;

pub(crate) use self::redb::RedbRegistry;

/// Format of every record written here. A reader refuses what is newer.
pub(crate) const FORMAT: u32 = 1;

/// What is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// The pool and the format.
    Pool,
    /// Key: agent id.
    Agents,
    /// Key: framework id.
    Frameworks,
    /// Key: framework id, 0x00, state key.
    State,
    /// Key: role.
    Weights,
    /// Key: role.
    Quotas,
    /// One key.
    Privileges,
    /// Key: framework id, 0x00, name.
    Vips,
    /// Key: SHA-256 of the token.
    Tokens,
    /// Key: the installation's name.
    Installations,
    /// Key: the artifact's name.
    ArtifactNames,
    /// Key: repository, 0x00, tag.
    ImageTags,
}

impl Table {
    pub(crate) const ALL: [Table; 12] = [
        Table::Pool,
        Table::Agents,
        Table::Frameworks,
        Table::State,
        Table::Weights,
        Table::Quotas,
        Table::Privileges,
        Table::Vips,
        Table::Tokens,
        Table::Installations,
        Table::ArtifactNames,
        Table::ImageTags,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Pool => "pool",
            Table::Agents => "agents",
            Table::Frameworks => "frameworks",
            Table::State => "state",
            Table::Weights => "weights",
            Table::Quotas => "quotas",
            Table::Privileges => "privileges",
            Table::Vips => "vips",
            Table::Tokens => "tokens",
            Table::Installations => "installations",
            Table::ArtifactNames => "artifact_names",
            Table::ImageTags => "image_tags",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Put { table: Table, key: Vec<u8>, value: Vec<u8> },
    Delete { table: Table, key: Vec<u8> },
    DeletePrefix { table: Table, prefix: Vec<u8> },
}

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file cannot be opened.
    #[error("open registry {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<::redb::Error>,
    },
    /// Its content is damaged.
    #[error(
        "registry {path} is corrupt ({problem}): restore it from a copy, or make the pool anew with `mezzo master init`"
    )]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A newer mezzo wrote it.
    #[error(
        "record {key} of registry table {table} has format {found}, this version of mezzo knows {FORMAT}: run the version that wrote it, or a newer one"
    )]
    Newer {
        /// Where.
        table: &'static str,
        /// Which.
        key: String,
        /// Its format.
        found: u32,
    },
    /// A record cannot be read.
    #[error("record {key} of registry table {table} is corrupt ({problem}): restore the registry from a copy")]
    Record {
        /// Where.
        table: &'static str,
        /// Which.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no pool in it.
    #[error("state directory {path} holds no pool: make one with `mezzo master init`")]
    NoPool {
        /// Which.
        path: PathBuf,
    },
    /// A pool would be overwritten.
    #[error("state directory {path} holds a pool already")]
    PoolExists {
        /// Which.
        path: PathBuf,
    },
    /// Reading failed.
    #[error("read the registry")]
    Read(#[source] Box<::redb::Error>),
    /// Writing failed. What is durable is unknown, so nothing may follow.
    #[error("write the registry")]
    Write(#[source] Box<::redb::Error>),
    /// Its writer has ended after an error told before.
    #[error("the registry is closed")]
    Closed,
}

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// Where facts are kept.
///
/// # Guarantees
/// A commit is atomic, and durable when its future is ready. Commits are applied in the order of their calls. Reads see
/// every commit that is ready.
pub(crate) trait Registry: Send + Sync + 'static {
    /// Writes all or nothing. The call itself takes the place in the order, not the first poll.
    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'static, Result<(), RegistryError>>;
    /// One value.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, RegistryError>;
    /// Every entry whose key begins with `prefix`, in order.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, RegistryError>;
}

#[cfg(test)]
mod bad_disk;
