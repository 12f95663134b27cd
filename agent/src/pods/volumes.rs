//! Persistent volumes: `volumes/<role>/<id>/`. Made and destroyed only as the holdings say.
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent_core::VolumeKey;
use model::{RoleName, VolumeId};

/// Where a volume is. A role's name may be a path; as one component its slashes become commas, which no role
/// needs and two roles never share by accident: a comma in a name is doubled.
pub(crate) fn path_of(state_dir: &Path, role: &RoleName, id: &VolumeId) -> PathBuf {
    let role = role.as_str().replace(',', ",,").replace('/', ",");
    state_dir.join("volumes").join(role).join(id.as_str())
}

/// Makes the disk equal to the wanted set. Blocks; safe to repeat.
pub(crate) fn set_volumes(state_dir: &Path, wanted: &BTreeSet<VolumeKey>) -> io::Result<()> {
    let root = state_dir.join("volumes");
    fs::create_dir_all(&root)?;
    let wanted: BTreeSet<PathBuf> = wanted.iter().map(|key| path_of(state_dir, &key.role, &key.id)).collect();
    for role in fs::read_dir(&root)? {
        let role = role?.path();
        for volume in fs::read_dir(&role)? {
            let volume = volume?.path();
            if !wanted.contains(&volume) {
                fs::remove_dir_all(&volume)?;
            }
        }
        // Fails where volumes are left, and should.
        let _ = fs::remove_dir(&role);
    }
    for volume in &wanted {
        fs::create_dir_all(volume)?;
    }
    fs::File::open(&root)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_appear_and_disappear_with_the_holdings() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let key = |role: &str, id: &str| VolumeKey {
            role: RoleName::new(role).expect("valid"),
            id: VolumeId::new(id).expect("valid"),
        };
        let (a, b) = (key("team/web", "a"), key("team,web", "b"));
        set_volumes(dir.path(), &[a.clone(), b.clone()].into()).expect("made");
        let (at, bt) = (path_of(dir.path(), &a.role, &a.id), path_of(dir.path(), &b.role, &b.id));
        fs::write(at.join("data"), "x").expect("written");
        set_volumes(dir.path(), &[a].into()).expect("set");
        assert!(at.join("data").exists() && !bt.exists());
        set_volumes(dir.path(), &BTreeSet::new()).expect("set");
        assert!(!at.exists());
    }
}
