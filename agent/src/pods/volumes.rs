//! Persistent volumes. On the disk on which the agent keeps everything else: `volumes/<role>/<id>/`; on a path that an
//! operator gave it: `<path>/mezzo/<agent>/<role>/<id>/`; a mount is the volume itself. Made and destroyed only as the
//! holdings say, and only where the state directory says that they were made: what an agent before this one left on a path
//! is set aside, and another disk in the place of the one with the volumes is not taken for it.
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use agent_core::VolumeKey;
use model::{Disk, RoleName};
use tracing::warn;

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
                Disk::Path(root) => {
                    let volumes = self.paths(wanted, Some(disk));
                    self.own_path(root, &self.below(disk), !volumes.is_empty())?;
                    set_below(&self.below(disk), &volumes)?;
                }
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

    /// Sees that what is below a path was made by the agent with this state directory: both have the same mark.
    fn own_path(&self, root: &str, below: &Path, has_volumes: bool) -> io::Result<()> {
        let marks = self.state_dir.join("paths");
        let mark = marks.join(root.replace(',', ",,").replace('/', ","));
        let (ours, theirs) = (read_if_there(&mark)?, read_if_there(&below.join(OWNER))?);
        let begun = mark.with_added_extension("begun");
        let is_new = match (&ours, &theirs) {
            (Some(ours), Some(theirs)) if ours == theirs => return Ok(()),
            (Some(_), _) if has_volumes => {
                let words = format!(
                    "{root} is not the disk that this agent's volumes were made on: put that one back, or destroy the \
                     volumes (mezzo volume destroy)"
                );
                return Err(io::Error::other(words));
            }
            // Marking was interrupted.
            (None, Some(theirs)) if read_if_there(&begun)?.as_ref() == Some(theirs) => {
                return write_synced(&mark, theirs);
            }
            // Volumes that were made before there were marks.
            (None, None) => !has_volumes,
            (Some(_) | None, _) => true,
        };
        if is_new && holds_volumes(below)? {
            let aside = (1..)
                .map(|number| below.with_file_name(format!("{}.aside-{number}", self.agent)))
                .find(|path| !path.exists())
                .expect("numbers do not end");
            fs::rename(below, &aside)?;
            warn!(
                path = %aside.display(),
                "volumes that this agent's state directory knows nothing of were set aside; delete them when nobody needs them"
            );
        }
        fs::create_dir_all(below)?;
        fs::create_dir_all(&marks)?;
        let id = uuid::Uuid::new_v4().to_string();
        write_synced(&begun, &id)?;
        // The disk first: a mark without its other half says that the disk was changed.
        write_synced(&below.join(OWNER), &id)?;
        write_synced(&mark, &id)
    }

    /// Empties a mount that was another's, and notes whose it is.
    fn set_mount(&self, root: &str, owner: Option<&VolumeKey>) -> io::Result<()> {
        let mark = self.mark_of(root);
        let said = owner.map(|key| format!("{}\n{}\n", key.role, key.id));
        let before = read_if_there(&mark)?;
        if before == said {
            return Ok(());
        }
        if before.is_some() {
            clear(Path::new(root))?;
            fs::remove_file(&mark)?;
        }
        let marks = mark.parent().expect("below the state directory");
        fs::create_dir_all(marks)?;
        match said {
            Some(text) => write_synced(&mark, &text),
            None => fs::File::open(marks)?.sync_all(),
        }
    }
}

/// The mark on the disk. No role's directory has this name: none begins with a slash.
const OWNER: &str = ",owner";

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn holds_volumes(below: &Path) -> io::Result<bool> {
    Ok(below.is_dir() && fs::read_dir(below)?.any(|entry| entry.is_ok_and(|entry| !is_mark(&entry.path()))))
}
fn is_mark(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OWNER))
}

/// All of it or nothing, also if the power fails.
fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_added_extension("new");
    fs::write(&new, text)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(path.parent().expect("a file is in a directory"))?.sync_all()
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
        if is_mark(&role) {
            continue;
        }
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

    #[test]
    fn an_agent_that_lost_its_state_deletes_nothing_of_the_one_before() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let data = dir.path().join("data");
        fs::create_dir(&data).expect("made");
        let disk = Disk::Path(data.to_str().expect("text").to_owned());
        let places = |state: &str| {
            let state_dir = dir.path().join(state);
            fs::create_dir_all(&state_dir).expect("made");
            Places { state_dir, agent: "a1".to_owned(), disks: vec![disk.clone()] }
        };
        let volume = key(Some(&disk), "r", "v");
        let before = places("before");
        before.set(&[volume.clone()].into()).expect("set");
        fs::write(before.path_of(&volume).join("kept"), "x").expect("written");
        before.set(&[volume.clone()].into()).expect("after a restart");
        assert!(before.path_of(&volume).join("kept").exists());

        let after = places("after");
        after.set(&BTreeSet::new()).expect("set");
        assert!(data.join("mezzo/a1.aside-1/r/v/kept").exists(), "set aside, not deleted");
        after.set(&[volume.clone()].into()).expect("set");
        assert!(!after.path_of(&volume).join("kept").exists(), "a new volume is empty");
        let error = before.set(&[volume.clone()].into()).expect_err("another agent's");
        assert!(error.to_string().contains("is not the disk"), "{error}");

        // The disk was not mounted after a reboot: what is below the mount point is not taken for it.
        fs::rename(data.join("mezzo"), dir.path().join("unmounted")).expect("moved");
        let error = after.set(&[volume.clone()].into()).expect_err("the volume is not there");
        assert!(error.to_string().contains("is not the disk") && !data.join("mezzo").exists(), "{error}");
        fs::rename(dir.path().join("unmounted"), data.join("mezzo")).expect("moved");
        after.set(&[volume.clone()].into()).expect("it is back");
        // The state was lost, and a volume was made before the disk was looked at for the first time.
        fs::write(after.path_of(&volume).join("kept"), "x").expect("written");
        let third = places("third");
        third.set(&[volume.clone()].into()).expect("set");
        assert!(!third.path_of(&volume).join("kept").exists(), "a new volume is empty");
        assert!(data.join("mezzo/a1.aside-2/r/v/kept").exists(), "set aside, not deleted");
        // Marking was interrupted after the disk's half.
        let mark = dir.path().join("third/paths").join(disk.root().replace('/', ","));
        fs::remove_file(&mark).expect("marked");
        fs::write(third.path_of(&volume).join("kept"), "x").expect("written");
        third.set(&[volume.clone()].into()).expect("set");
        assert!(mark.exists() && third.path_of(&volume).join("kept").exists(), "the marking is ended");
        // Made before there were marks.
        let after = third;
        for mark in [data.join("mezzo/a1").join(OWNER), dir.path().join("third/paths")] {
            let _ = fs::remove_file(&mark);
            let _ = fs::remove_dir_all(&mark);
        }
        fs::write(after.path_of(&volume).join("old"), "x").expect("written");
        after.set(&[volume.clone()].into()).expect("adopted");
        assert!(after.path_of(&volume).join("old").exists());
    }
}
