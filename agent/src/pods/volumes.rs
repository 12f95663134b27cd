//! Persistent volumes. On the disk on which the agent keeps everything else: `volumes/<role>/<id>/`; on a path that an
//! operator gave it: `<path>/mezzo/<agent>/<role>/<id>/`; a mount is the volume itself. Made and destroyed only as the
//! holdings say.
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent_core::VolumeKey;
use model::{Disk, RoleName};

/// Where an agent's volumes are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) state_dir: PathBuf,
    /// The agent's name: others on this machine may have the same path.
    pub(crate) agent: String,
    /// Disks beside the one with the state directory.
    pub(crate) disks: Vec<Disk>,
}

impl Places {
    /// Where a volume is.
    pub(crate) fn path_of(&self, key: &VolumeKey) -> PathBuf {
        match &key.disk {
            None => self.state_dir.join("volumes").join(component(&key.role)).join(key.id.as_str()),
            Some(disk @ Disk::Path(_)) => self.below(disk).join(component(&key.role)).join(key.id.as_str()),
            Some(Disk::Mount(root)) => PathBuf::from(root),
        }
    }
    fn below(&self, disk: &Disk) -> PathBuf {
        Path::new(disk.root()).join("mezzo").join(&self.agent)
    }
    /// The file that says whose a mount is: what is on a mount without one is not ours to delete.
    fn mark_of(&self, root: &str) -> PathBuf {
        self.state_dir.join("mounts").join(root.replace(',', ",,").replace('/', ","))
    }

    /// Makes the disks equal to the wanted set. Blocks; safe to repeat.
    pub(crate) fn set(&self, wanted: &BTreeSet<VolumeKey>) -> io::Result<()> {
        set_below(&self.state_dir.join("volumes"), &self.paths(wanted, None))?;
        for disk in &self.disks {
            if !Path::new(disk.root()).is_dir() {
                return Err(io::Error::new(io::ErrorKind::NotFound, format!("{disk} is not there")));
            }
            match disk {
                Disk::Path(_) => set_below(&self.below(disk), &self.paths(wanted, Some(disk)))?,
                Disk::Mount(root) => {
                    let owner = wanted.iter().find(|key| key.disk.as_ref() == Some(disk));
                    self.set_mount(root, owner)?;
                }
            }
        }
        Ok(())
    }

    fn paths(&self, wanted: &BTreeSet<VolumeKey>, disk: Option<&Disk>) -> BTreeSet<PathBuf> {
        wanted.iter().filter(|key| key.disk.as_ref() == disk).map(|key| self.path_of(key)).collect()
    }

    /// Empties a mount that was another's, and notes whose it is.
    fn set_mount(&self, root: &str, owner: Option<&VolumeKey>) -> io::Result<()> {
        let mark = self.mark_of(root);
        let said = owner.map(|key| format!("{}\n{}\n", key.role, key.id));
        let before = match fs::read_to_string(&mark) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if before == said {
            return Ok(());
        }
        if before.is_some() {
            clear(Path::new(root))?;
            fs::remove_file(&mark)?;
        }
        let marks = mark.parent().expect("below the state directory");
        fs::create_dir_all(marks)?;
        if let Some(text) = said {
            let new = mark.with_extension("new");
            fs::write(&new, text)?;
            fs::File::open(&new)?.sync_all()?;
            fs::rename(&new, &mark)?;
        }
        fs::File::open(marks)?.sync_all()
    }
}

/// A role's name may be a path; as one component its slashes become commas, which no role needs and two roles never
/// share by accident: a comma in a name is doubled.
fn component(role: &RoleName) -> String {
    role.as_str().replace(',', ",,").replace('/', ",")
}

/// Makes `<root>/<role>/<id>/` be exactly these.
fn set_below(root: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    fs::create_dir_all(root)?;
    for role in fs::read_dir(root)? {
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
    for volume in wanted {
        fs::create_dir_all(volume)?;
    }
    fs::File::open(root)?.sync_all()
}

/// Deletes what is on a file system, but for what belongs to the file system itself.
fn clear(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name() == "lost+found" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests {
    use model::VolumeId;

    use super::*;

    fn key(disk: Option<&Disk>, role: &str, id: &str) -> VolumeKey {
        VolumeKey {
            disk: disk.cloned(),
            role: RoleName::new(role).expect("valid"),
            id: VolumeId::new(id).expect("valid"),
        }
    }

    #[test]
    fn volumes_appear_and_disappear_with_the_holdings() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let places = Places { state_dir: dir.path().to_owned(), agent: "a1".to_owned(), disks: Vec::new() };
        let (a, b) = (key(None, "team/web", "a"), key(None, "team,web", "b"));
        places.set(&[a.clone(), b.clone()].into()).expect("made");
        let (at, bt) = (places.path_of(&a), places.path_of(&b));
        fs::write(at.join("data"), "x").expect("written");
        places.set(&[a].into()).expect("set");
        assert!(at.join("data").exists() && !bt.exists());
        places.set(&BTreeSet::new()).expect("set");
        assert!(!at.exists());
    }

    #[test]
    fn volumes_are_on_the_disk_that_they_were_made_of() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["state", "data", "mount"] {
            fs::create_dir(at(name)).expect("made");
        }
        fs::write(at("mount").join("foreign"), "x").expect("written");
        fs::create_dir(at("mount").join("lost+found")).expect("made");
        let path = Disk::Path(at("data").to_str().expect("text").to_owned());
        let mount = Disk::Mount(at("mount").to_str().expect("text").to_owned());
        let disks = vec![path.clone(), mount.clone()];
        let places = Places { state_dir: at("state"), agent: "a1".to_owned(), disks };
        places.set(&BTreeSet::new()).expect("set");
        assert!(at("mount").join("foreign").exists(), "nobody had it yet: it is not ours");
        let (p, m) = (key(Some(&path), "r", "p"), key(Some(&mount), "r", "m"));
        places.set(&[p.clone(), m.clone()].into()).expect("set");
        assert_eq!(places.path_of(&p), at("data").join("mezzo/a1/r/p"));
        assert_eq!(places.path_of(&m), at("mount"));
        for volume in [&p, &m] {
            fs::write(places.path_of(volume).join("kept"), "x").expect("written");
        }
        places.set(&[p.clone(), m.clone()].into()).expect("set again");
        assert!(places.path_of(&p).join("kept").exists() && places.path_of(&m).join("kept").exists());
        let other = key(Some(&mount), "r", "n");
        places.set(&[p.clone(), other].into()).expect("set");
        assert!(!at("mount").join("kept").exists(), "another volume finds nothing of the one before");
        assert!(at("mount").join("lost+found").exists(), "the file system's own stays");
        places.set(&BTreeSet::new()).expect("set");
        assert!(!places.path_of(&p).exists() && at("mount").exists());
        fs::remove_dir_all(at("data")).expect("removed");
        assert!(places.set(&[p].into()).is_err(), "a disk that is away is waited for");
    }
}
