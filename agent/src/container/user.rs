//! Who a container runs as: numbers, looked up in the root filesystem's own passwd and group files, without following a
//! link out of it.
use std::io::Read as _;
use std::path::Path;

use pathrs::Root;
use pathrs::flags::OpenFlags;

/// Numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional: Vec<u32>,
}

/// `name`, `uid`, either with `:group`; nothing is root.
pub(crate) fn resolve(rootfs: &Path, text: &str) -> Result<User, String> {
    if text.is_empty() {
        return Ok(User::default());
    }
    find(text, &read(rootfs, "etc/passwd"), &read(rootfs, "etc/group"))
}

pub(crate) fn find(text: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (name, group_name) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let number = name.parse::<u32>().ok();
    let entry = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| {
        fields.len() >= 4 && (fields[0] == name || number.is_some() && fields[2].parse().ok() == number)
    });
    let (uid, own_group, login) = match &entry {
        Some(fields) => {
            let uid = fields[2].parse().map_err(|_| format!("user '{name}' has a malformed number"))?;
            (uid, fields[3].parse().unwrap_or(0), Some(fields[0]))
        }
        None => (number.ok_or_else(|| format!("the image has no user '{name}'"))?, 0, None),
    };
    let groups = || group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4);
    let gid = match group_name {
        None => own_group,
        Some(wanted) => match wanted.parse() {
            Ok(gid) => gid,
            Err(_) => groups()
                .find(|fields| fields[0] == wanted)
                .and_then(|fields| fields[2].parse().ok())
                .ok_or_else(|| format!("the image has no group '{wanted}'"))?,
        },
    };
    let additional = match (login, group_name) {
        (Some(login), None) => groups()
            .filter(|fields| fields[3].split(',').any(|member| member == login))
            .filter_map(|fields| fields[2].parse().ok())
            .filter(|extra| *extra != gid)
            .collect(),
        _ => Vec::new(),
    };
    Ok(User { uid, gid, additional })
}

/// Empty if it is not there.
fn read(rootfs: &Path, path: &str) -> String {
    let mut text = String::new();
    if let Ok(file) = Root::open(rootfs).and_then(|root| root.open_subpath(path, OpenFlags::O_RDONLY)) {
        // A user database larger than this is none.
        let _ = file.take(1 << 20).read_to_string(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/false\n";
        let group = "root:x:0:\nweb:x:34:\nlog:x:4:web,other\n";
        let user = |uid, gid, additional: &[u32]| Ok(User { uid, gid, additional: additional.to_vec() });
        assert_eq!(find("web", passwd, group), user(33, 34, &[4]));
        assert_eq!(find("33", passwd, group), user(33, 34, &[4]));
        assert_eq!(find("1000", passwd, group), user(1000, 0, &[]));
        assert_eq!(find("web:log", passwd, group), user(33, 4, &[]));
        assert_eq!(find("7:8", passwd, group), user(7, 8, &[]));
        assert!(find("nobody", passwd, group).is_err());
        assert!(find("web:none", passwd, group).is_err());
    }
}
