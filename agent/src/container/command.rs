//! What a container executes, and its environment.
use std::collections::BTreeMap;

use oci_spec::image::Config;
use proto::mesos::v1 as mesos;

/// The command line and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) argv: Vec<String>,
    pub(crate) working_directory: String,
    /// As in the image or the command: a name or number, perhaps with a group.
    pub(crate) user: String,
}

/// The task's command over the image's own. As in Mesos, `arguments[0]` is the program's own name when there is a value.
pub(crate) fn invocation(info: &mesos::TaskInfo, image: Option<&Config>) -> Result<Invocation, String> {
    let nothing = mesos::CommandInfo::default();
    let command = info.command.as_ref().unwrap_or(&nothing);
    let value = command.value.as_deref().filter(|value| !value.is_empty());
    let of_image = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    let argv = match value {
        // Without a command there is no shell to be asked for.
        Some(value) if command.shell() => vec!["/bin/sh".to_owned(), "-c".to_owned(), value.to_owned()],
        Some(value) => {
            let mut argv = vec![value.to_owned()];
            argv.extend(command.arguments.iter().skip(1).cloned());
            argv
        }
        None => {
            let mut argv = of_image(image.and_then(|config| config.entrypoint().as_ref()));
            if command.arguments.is_empty() {
                argv.extend(of_image(image.and_then(|config| config.cmd().as_ref())));
            } else {
                argv.extend(command.arguments.iter().cloned());
            }
            argv
        }
    };
    if argv.is_empty() {
        return Err("there is nothing to execute: neither the task nor its image has a command".to_owned());
    }
    let own = info.mezzo.as_ref().map(|extension| extension.working_directory.clone()).filter(|dir| !dir.is_empty());
    let of_image = image.and_then(|config| config.working_dir().clone()).filter(|dir| !dir.is_empty());
    let fallback = if image.is_some() { "/" } else { super::SANDBOX };
    let working_directory = own.or(of_image).unwrap_or_else(|| fallback.to_owned());
    if !working_directory.starts_with('/') {
        return Err(format!("working directory '{working_directory}' is not absolute"));
    }
    let user = command.user.clone().filter(|user| !user.is_empty());
    let user = user.or_else(|| image.and_then(|config| config.user().clone())).unwrap_or_default();
    Ok(Invocation { argv, working_directory, user })
}

/// The image's environment, then the agent's, then the task's.
pub(crate) fn environment(
    info: &mesos::TaskInfo,
    image: Option<&Config>,
    agent: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.insert("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    for pair in image.and_then(|config| config.env().as_ref()).into_iter().flatten() {
        if let Some((name, value)) = pair.split_once('=') {
            all.insert(name.to_owned(), value.to_owned());
        }
    }
    all.extend(agent.iter().map(|(name, value)| (name.clone(), value.clone())));
    for port in info.discovery.iter().flat_map(|discovery| &discovery.ports).flat_map(|ports| &ports.ports) {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let name: String =
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
            all.insert(format!("MEZZO_PORT_{name}"), port.number.to_string());
        }
    }
    let command = info.command.as_ref().and_then(|command| command.environment.as_ref());
    for variable in command.into_iter().flat_map(|environment| &environment.variables) {
        if variable.secret.is_some() {
            // It would stand in the container's configuration on the disk.
            return Err(format!(
                "variable {} is a secret: secrets are files, use a volume with source SECRET",
                variable.name
            ));
        }
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
            return Err(format!("'{}' is no name of a variable", variable.name));
        }
        all.insert(variable.name.clone(), variable.value.clone().unwrap_or_default());
    }
    Ok(all.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::image::ConfigBuilder;

    fn info(value: Option<&str>, shell: bool, arguments: &[&str]) -> mesos::TaskInfo {
        mesos::TaskInfo {
            command: Some(mesos::CommandInfo {
                value: value.map(str::to_owned),
                shell: Some(shell),
                arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
                ..mesos::CommandInfo::default()
            }),
            ..mesos::TaskInfo::default()
        }
    }

    #[test]
    fn a_command_line_is_made_as_in_mesos() {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let image = ConfigBuilder::default()
            .entrypoint(strings(&["/entry"]))
            .cmd(strings(&["default"]))
            .build()
            .expect("complete");
        for (info, expected) in [
            (info(Some("echo hi"), true, &[]), vec!["/bin/sh", "-c", "echo hi"]),
            (info(Some("/bin/x"), false, &["x", "-v"]), vec!["/bin/x", "-v"]),
            (info(None, false, &["-v"]), vec!["/entry", "-v"]),
            (mesos::TaskInfo::default(), vec!["/entry", "default"]),
        ] {
            assert_eq!(invocation(&info, Some(&image)).expect("made").argv, expected);
        }
        assert!(invocation(&mesos::TaskInfo::default(), None).is_err());
    }
}
