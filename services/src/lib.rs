//! The framework that keeps services running and runs jobs. Package schedulers are its services.
//!
//! It is a framework like any other, written against the public SDK, and runs as a child process of the leading master.
mod api;
pub mod definition;
mod framework;
pub mod limits;
mod record;
pub mod spec;

use model::RoleName;
use proto::mezzo::v1::operator_client::OperatorClient;

pub use definition::ServiceDefinition;
pub use framework::Services;
pub use record::ServiceRecord;

/// Why the framework ended.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The environment does not say who it is.
    #[error("read the environment of the services framework")]
    Config(#[from] framework_sdk::ConfigError),
    /// The identity cannot be read.
    #[error("read the identity of the services framework")]
    Identity(#[from] daemon::identity::IdentityError),
    /// TLS cannot be spoken with it.
    #[error("use the identity of the services framework")]
    Tls(#[from] daemon::tls::TlsError),
    /// The scheduler ended.
    #[error("run the services framework")]
    Sdk(#[from] framework_sdk::SdkError),
}

/// Runs until SIGTERM or SIGINT. Its environment is that of every scheduler: `MEZZO_MASTER`, `MEZZO_IDENTITY`,
/// `MEZZO_FRAMEWORK_NAME` (`services`), and perhaps `MEZZO_PORT_API`.
///
/// # Errors
/// If it cannot start, or the master refuses it for good.
pub async fn run() -> Result<(), ServicesError> {
    let config = framework_sdk::Config::from_environment()?;
    let identity = daemon::identity::Identity::load(&config.identity_dir)?;
    let master = OperatorClient::new(daemon::client::channel(&config.master, "master.mezzo", &identity)?);
    let role = RoleName::new(spec::NAME).expect("a valid role name");
    let sdk = framework_sdk::Sdk::new(config)?;
    let services = Services::new(sdk.handle(), role, master, identity);
    Ok(sdk.run(services, daemon::shutdown::signal()).await?)
}
