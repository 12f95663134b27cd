//! Definitions of services: what packages render, and operators send.
use std::collections::BTreeMap;

use model::RoleName;
use services::ServiceDefinition;

use crate::check;

/// One definition.
pub fn target(data: &[u8]) {
    match ServiceDefinition::parse(data) {
        Err(refusal) => check::refusal(&refusal),
        Ok(definition) => {
            let text = serde_json::to_vec(&definition).expect("a definition is JSON");
            assert_eq!(ServiceDefinition::parse(&text).as_ref(), Ok(&definition));
            let name = definition.name.clone();
            let record = services::ServiceRecord { generation: 1, definition };
            let role = RoleName::new("services").expect("valid");
            let spec = services::spec::target(role, &BTreeMap::from([(name, record)]));
            match spec.validate() {
                Err(error) => check::words(&error.to_string()),
                Ok(()) => spec.pods.iter().for_each(|pod| check::quantities(&pod.quantities())),
            }
        }
    }
}
