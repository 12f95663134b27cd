//! What an operator says about a master: when a pool is made, and whenever the master starts.
use std::net::SocketAddr;
use std::path::PathBuf;

/// A pool to be made.
#[derive(Debug, Clone)]
pub struct MasterInit {
    /// Where the master keeps everything; created, and must hold no pool.
    pub state_dir: PathBuf,
    /// The pool's name.
    pub pool: String,
    /// Agents' subnets are cut from this CIDR. It cannot change later.
    pub pod_range: String,
    /// Length of the prefix of an agent's subnet.
    pub pod_prefix_length: u8,
    /// Frameworks' virtual addresses are taken from this CIDR. It cannot change later.
    pub vip_range: String,
    /// Name of the first operator.
    pub operator: String,
    /// Where the first operator's identity goes.
    pub operator_identity: PathBuf,
}

impl MasterInit {
    /// A pool with the usual names and ranges.
    pub fn new(state_dir: impl Into<PathBuf>, operator_identity: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            pool: "mezzo".to_owned(),
            pod_range: "10.100.0.0/14".to_owned(),
            pod_prefix_length: 24,
            vip_range: master_core::registry::VIP_RANGE.to_owned(),
            operator: "admin".to_owned(),
            operator_identity: operator_identity.into(),
        }
    }
}

/// A master to be run.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// Where [`crate::init`] made the pool.
    pub state_dir: PathBuf,
    /// Where to listen; port 0 takes any.
    pub listen: Vec<SocketAddr>,
    /// Where agents, frameworks and operators reach this master. `None`: the first address it listens on.
    pub advertise: Option<SocketAddr>,
    /// More DNS names for the master's certificate than `master.mezzo` and `localhost`.
    pub names: Vec<String>,
    /// Folders of packages beside those built in; later ones win.
    pub catalog_dirs: Vec<PathBuf>,
    /// The `mezzo` program, of which `services run` is started as a child. `None`: no services framework.
    pub services: Option<PathBuf>,
    /// What may be set about decisions; among it the privileged principals and the offer timeout.
    pub core: master_core::Config,
}

impl MasterConfig {
    /// A master on the usual port of every address, without the services framework.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 5050))],
            advertise: None,
            names: Vec::new(),
            catalog_dirs: Vec::new(),
            services: None,
            core: master_core::Config::default(),
        }
    }
}
