//! What a container is made of: a framework's task and an image's configuration and users, none of them ours.
use oci_spec::runtime::Spec;

use crate::{check, parts};

/// A `TaskInfo`, an image's configuration, its `etc/passwd` and `etc/group`.
pub fn target(data: &[u8]) {
    let [task, image, passwd, group] = parts::of(data);
    let (passwd, group) = (String::from_utf8_lossy(passwd), String::from_utf8_lossy(group));
    if let Ok((uid, _)) = agent::fuzzing::user("web", &passwd, &group) {
        assert!(passwd.contains(&uid.to_string()) || passwd.contains('+') || passwd.contains('0'));
    }
    match agent::fuzzing::container(task, image, &passwd, &group) {
        Err(words) => check::said(&words),
        Ok(config) => {
            let spec: Spec = serde_json::from_value(config).expect("the runtime understands it");
            for mount in spec.mounts().iter().flatten() {
                let target = mount.destination().to_string_lossy();
                assert!(target.starts_with('/') && !target.contains('\0'), "'{target}' is mounted");
                assert!(!target.split('/').any(|part| part == ".."), "'{target}' is mounted");
            }
            let process = spec.process().as_ref().expect("there is one");
            assert!(process.cwd().is_absolute());
            let words = process.args().iter().flatten().chain(process.env().iter().flatten());
            for word in words {
                assert!(!word.contains('\0'), "the kernel would cut '{}' off", word.escape_debug());
            }
        }
    }
}
