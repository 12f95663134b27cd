//! The gateway's table: `<discovery name>.<framework>.mezzo` leads to that framework's running tasks.
use std::net::SocketAddr;

use daemon::serve::Passthrough;

use crate::view::SharedView;

/// The gateway of a master, answered from the view.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) view: SharedView,
}

/// Names of the processes themselves, never of a framework's tasks.
const OWN: [&str; 2] = ["agent", "framework"];

impl Passthrough for Gateway {
    fn backends(&self, server_name: &str) -> Option<Vec<SocketAddr>> {
        let (discovery, framework) = server_name.strip_suffix(".mezzo")?.rsplit_once('.')?;
        if OWN.contains(&framework) {
            return None;
        }
        self.view.read().backends(framework, discovery)
    }
}
