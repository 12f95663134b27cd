//! Who may depend on whom. What is not listed here is forbidden; ARCHITECTURE.md says it in words.

use std::collections::BTreeSet;

use tidy::Workspace;

/// Packages of ours that a package may use to run.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("proto", &["model"]),
    ("daemon", &["model"]),
    ("catalog", &["model"]),
    ("master-core", &["model"]),
    ("agent-core", &["model"]),
    ("framework-core", &["model"]),
    ("kubernetes-core", &["model", "framework-core"]),
    ("master", &["master-core", "model", "proto", "daemon", "catalog"]),
    ("agent", &["agent-core", "model", "proto", "daemon", "executor"]),
    ("executor", &["model", "proto"]),
    ("framework-sdk", &["framework-core", "model", "proto", "daemon"]),
    ("services", &["framework-sdk", "model", "proto", "daemon"]),
    ("k8s-framework", &["kubernetes-core", "framework-sdk", "framework-core", "model", "daemon"]),
    ("mezzo", &["master", "agent", "executor", "services", "catalog", "proto", "model", "daemon"]),
    ("xtask", &[]),
    ("sim", &["master-core", "agent-core", "framework-core", "model"]),
    // Its scheduler of somebody else's package is written against what frameworks are given.
    ("e2e", &["framework-sdk", "proto", "model", "daemon"]),
    ("tidy", &[]),
    // It reads what everything reads.
    (
        "fuzz",
        &[
            "model",
            "proto",
            "daemon",
            "catalog",
            "master-core",
            "master",
            "agent-core",
            "agent",
            "executor",
            "framework-core",
            "framework-sdk",
            "services",
            "kubernetes-core",
            "k8s-framework",
            "mezzo",
        ],
    ),
];

/// What a core may use that is not ours.
const CORE_LIBRARIES: [&str; 2] = ["serde", "thiserror"];

const CORES: [&str; 4] = ["master-core", "agent-core", "framework-core", "kubernetes-core"];

/// A core of configuration files renders them too.
const MORE_FOR: [(&str, &[&str]); 1] = [("kubernetes-core", &["serde_json"])];

#[test]
fn every_package_is_in_the_table_of_directions() {
    let workspace = Workspace::open().expect("the workspace");
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(workspace.names(), listed);
}

#[test]
fn dependencies_between_packages_go_the_allowed_way() {
    let workspace = Workspace::open().expect("the workspace");
    let ours = workspace.names();
    let mut forbidden = Vec::new();
    for (name, allowed) in ALLOWED {
        for dependency in &workspace.package(name).dependencies {
            if ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                forbidden.push(format!("{name} -> {dependency}"));
            }
        }
    }
    assert!(forbidden.is_empty(), "not in the table: {forbidden:?}");
}

#[test]
fn cores_use_no_library_that_touches_the_world() {
    let workspace = Workspace::open().expect("the workspace");
    let ours = workspace.names();
    let mut forbidden = Vec::new();
    for core in CORES.into_iter().chain(["model"]) {
        let more = MORE_FOR.iter().find(|(name, _)| *name == core).map_or(&[][..], |(_, more)| more);
        for dependency in &workspace.package(core).dependencies {
            let known = ours.contains(dependency.as_str())
                || CORE_LIBRARIES.contains(&dependency.as_str())
                || more.contains(&dependency.as_str());
            if !known {
                forbidden.push(format!("{core} -> {dependency}"));
            }
        }
    }
    assert!(forbidden.is_empty(), "a core lists model, serde and thiserror: {forbidden:?}");
}

#[test]
fn every_package_takes_part_in_the_lints_of_the_workspace() {
    let workspace = Workspace::open().expect("the workspace");
    for package in &workspace.packages {
        let path = workspace.root.join(&package.folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).expect("a manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{} has lints of its own", package.name);
    }
}
