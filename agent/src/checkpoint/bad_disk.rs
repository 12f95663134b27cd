//! Checkpoints on a disk that is full, or damaged: refused in words that name the file, or what was written is there.
use agent_core::{AgentRecord, ProgressRecord};
use model::Timestamp;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::*;

fn agent(epoch_seen: u64) -> AgentRecord {
    AgentRecord { version: VERSION, epoch_seen, next_pod: epoch_seen, ..AgentRecord::default() }
}

#[test]
fn a_truncated_checkpoint_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = Store::open(dir.path()).expect("opened");
    store.write(&[Write::Agent(agent(7))]).expect("written");
    let path = dir.path().join("agent.json");
    let bytes = fs::read(&path).expect("read");
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).expect("truncated");
        let error = store.load().expect_err("refused");
        assert!(matches!(&error, CheckpointError::Damaged { path: named, .. } if *named == path), "{length}: {error}");
    }
    fs::write(&path, [0xff; 64]).expect("damaged");
    assert!(store.load().is_err());
}

#[test]
fn a_single_flipped_bit_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = Store::open(dir.path()).expect("opened");
    // A name in which a flipped bit makes another good name.
    let named = AgentRecord { pod_subnet: "10.9.1.0/24".to_owned(), ..agent(7) };
    store.write(&[Write::Agent(named)]).expect("written");
    let path = dir.path().join("agent.json");
    let bytes = fs::read(&path).expect("read");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let believed = unsealed(&flipped).ok().and_then(|json| serde_json::from_slice::<AgentRecord>(json).ok());
        assert_eq!(believed, None, "bit {bit}");
    }
    let mut flipped = bytes.clone();
    let place = bytes.len() - 1 - bytes.iter().rev().position(|byte| *byte == b'9').expect("in the name");
    flipped[place] ^= 1;
    fs::write(&path, &flipped).expect("damaged");
    let error = store.load().expect_err("refused").to_string();
    assert!(error.contains("agent.json is damaged (its checksum is not that of its contents)"), "{error}");
    fs::write(&path, &bytes).expect("as it was");
    store.load().expect("read");
}

#[test]
fn a_launch_that_is_damaged_is_refused_and_progress_alone_means_nothing() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = Store::open(dir.path()).expect("opened");
    let pods = dir.path().join("pods");
    fs::write(pods.join("p1-e.progress.json"), "{").expect("written");
    assert!(store.load().expect("read").pods.is_empty());
    fs::write(pods.join("p1-e.launch.json.new"), "{").expect("written");
    assert!(store.load().expect("what was never renamed is not there").pods.is_empty());
    fs::write(pods.join("p1-e.launch.json"), "{\"version\": 1}").expect("written");
    let error = store.load().expect_err("refused");
    assert!(error.to_string().contains("p1-e.launch.json"), "{error}");
}

#[test]
fn a_full_disk_refuses_and_the_last_checkpoint_stays() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let small = dir.path().join("small");
    fs::create_dir(&small).expect("made");
    mount(Some("small"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).expect("mounted, as root");
    let store = Store::open(&small).expect("opened");
    store.write(&[Write::Agent(agent(1))]).expect("written");
    fs::write(small.join("balloon"), vec![1; 256 * 1024]).expect_err("the disk is full");
    let progress = ProgressRecord {
        version: VERSION,
        pod_id: PodId::from_name("1-e"),
        started: true,
        ended: Some(Timestamp(1)),
        seen: 1,
        shut_down: false,
        tasks: Vec::new(),
    };
    for writes in [vec![Write::Agent(agent(2))], vec![Write::Progress(progress)]] {
        let error = store.write(&writes).expect_err("refused");
        assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
    }
    assert_eq!(Store::open(&small).expect("opened").load().expect("read").agent, agent(1));
    fs::remove_file(small.join("balloon")).expect("made room");
    store.write(&[Write::Agent(agent(2))]).expect("written");
    assert_eq!(store.load().expect("read").agent, agent(2));
    umount2(&small, MntFlags::MNT_DETACH).expect("unmounted");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("meta");
    fs::write(&file, "not a directory").expect("written");
    let error = Store::open(&file).expect_err("refused");
    assert!(matches!(&error, CheckpointError::Write { path, .. } if path.starts_with(&file)), "{error}");
}
