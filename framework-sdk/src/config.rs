//! Where a scheduler learns who it is and whom to talk to: the environment an agent gives to every task.
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Everything a scheduler is told from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// `ip:port` of the master.
    pub master: String,
    /// Directory with `ca.pem`, `cert.pem`, `key.pem`.
    pub identity_dir: PathBuf,
    /// The framework's name.
    pub framework_name: String,
    /// The options as JSON; an empty object if none were given.
    pub options: serde_json::Value,
    /// Address at which the HTTP API is reached.
    pub address: IpAddr,
    /// Its port; 0: any.
    pub api_port: u16,
    /// Where the framework id is kept between restarts on the same agent, if anywhere.
    pub sandbox: Option<PathBuf>,
    /// How long tasks live on while the scheduler is away.
    pub failover_timeout: std::time::Duration,
}

/// Why the environment does not do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable is absent.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable is wrong.
    #[error("the environment variable {name} is '{value}', expected {expected}")]
    Invalid {
        /// Which.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The options cannot be read.
    #[error("read options {path}")]
    ReadOptions {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The options are not JSON.
    #[error("parse options {path}")]
    ParseOptions {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The same options are the same text, in whichever order they were written.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let members: std::collections::BTreeMap<&String, serde_json::Value> =
                map.iter().map(|(key, value)| (key, sorted(value))).collect();
            members.into_iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        serde_json::Value::Array(list) => list.iter().map(sorted).collect(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => value.clone(),
    }
}

impl Config {
    /// The options as a text to put into a [`ServiceSpec`](framework_core::spec::ServiceSpec)'s settings.
    pub fn settings(&self) -> String {
        sorted(&self.options).to_string()
    }

    /// Reads `MEZZO_MASTER`, `MEZZO_IDENTITY`, `MEZZO_FRAMEWORK_NAME`, `MEZZO_OPTIONS`, `MEZZO_ADDRESS`,
    /// `MEZZO_PORT_API` and `MEZZO_SANDBOX`.
    ///
    /// # Errors
    /// The first variable that is missing or wrong.
    pub fn from_environment() -> Result<Self, ConfigError> {
        let required = |name| std::env::var(name).ok().filter(|v| !v.is_empty()).ok_or(ConfigError::Missing(name));
        let address = match std::env::var("MEZZO_ADDRESS") {
            Ok(value) => value.parse().map_err(|_| ConfigError::Invalid {
                name: "MEZZO_ADDRESS",
                value,
                expected: "an IP address",
            })?,
            Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let api_port = match std::env::var("MEZZO_PORT_API") {
            Ok(value) => value.parse().map_err(|_| ConfigError::Invalid {
                name: "MEZZO_PORT_API",
                value,
                expected: "a port number",
            })?,
            Err(_) => 0,
        };
        let options = match std::env::var_os("MEZZO_OPTIONS").filter(|v| !v.is_empty()) {
            Some(path) => {
                let path = PathBuf::from(path);
                let text =
                    std::fs::read(&path).map_err(|source| ConfigError::ReadOptions { path: path.clone(), source })?;
                serde_json::from_slice(&text).map_err(|source| ConfigError::ParseOptions { path, source })?
            }
            None => serde_json::Value::Object(serde_json::Map::new()),
        };
        Ok(Self {
            master: required("MEZZO_MASTER")?,
            identity_dir: required("MEZZO_IDENTITY")?.into(),
            framework_name: required("MEZZO_FRAMEWORK_NAME")?,
            options,
            address,
            api_port,
            sandbox: std::env::var_os("MEZZO_SANDBOX").map(PathBuf::from),
            failover_timeout: std::time::Duration::from_secs(7 * 24 * 3600),
        })
    }
}
