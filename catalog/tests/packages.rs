//! The packages of this release: each is sound, renders with its defaults, and says no in words.
use catalog::{Catalog, RenderError};
use serde_json::{Value, json};

fn digest(_: &str) -> Option<String> {
    Some(format!("sha256:{}", "ab".repeat(32)))
}

#[test]
fn every_package_renders_with_its_defaults() {
    let catalog = Catalog::embedded().expect("the packages of this release are sound");
    for summary in catalog.search("") {
        for version in &summary.versions {
            let rendered =
                catalog.render(&summary.name, version, "demo", &Value::Null, &digest).expect("defaults are enough");
            let service: Value = serde_json::from_str(&rendered.service_json).expect("JSON");
            assert_eq!(service["name"], "demo", "{} {version}", summary.name);
            let again = catalog
                .render(&summary.name, version, "demo", &rendered.options_with_defaults, &digest)
                .expect("complete");
            assert_eq!(again, rendered, "rendering is a function of its input");
        }
    }
}

#[test]
fn hello_world_becomes_a_service_with_its_own_identity() {
    let catalog = Catalog::embedded().expect("sound");
    let rendered = catalog.render("hello-world", "", "web", &json!({"count": 2}), &digest).expect("valid");
    let service: Value = serde_json::from_str(&rendered.service_json).expect("JSON");
    let expected = json!({
        "name": "web",
        "package": "hello-world 0.1.0",
        "command": {"argv": ["./mezzo-hello"]},
        "artifacts": [{"digest": format!("sha256:{}", "ab".repeat(32)), "file": "mezzo-hello", "executable": true}],
        "resources": {"cpus": 0.1, "mem_mib": 128, "disk_mib": 64},
        "ports": [{"name": "api"}],
        "identity": true,
        "options": {"count": 2, "message": "hello, world", "cpus": 0.1, "mem": 32, "image": "pool/busybox:1",
                    "replace_unreachable_after_seconds": 60,
                    "scheduler": {"cpus": 0.1, "mem": 128}},
        "readiness": {"port": "api", "path": "/v1/health"},
    });
    assert_eq!(service, expected);
    assert!(!rendered.privileged);
    assert_eq!(rendered.next_steps[0], "mezzo plan show web deploy");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_created() {
    let catalog = Catalog::embedded().expect("sound");
    let refused =
        |package: &str, version: &str, name: &str, options: Value, digest: &dyn Fn(&str) -> Option<String>| {
            let error: RenderError = catalog.render(package, version, name, &options, digest).expect_err("refused");
            let refusal = error.refusal();
            format!("{} {} -> {}", refusal.code, refusal.message, refusal.next_step)
        };
    assert_eq!(
        refused("hello-word", "", "web", json!({}), &digest),
        "CAT0002 there is no package 'hello-word' (did you mean 'hello-world'?) -> list packages with: mezzo catalog search"
    );
    assert_eq!(
        refused("hello-world", "9", "web", json!({}), &digest),
        "CAT0003 package 'hello-world' has no version '9' -> its versions are: 0.1.0"
    );
    assert_eq!(
        refused("hello-world", "", "web", json!({"count": 0, "mesage": "hi"}), &digest),
        "CAT0004 mesage = \"hi\": there is no such option; did you mean 'message'?\ncount = 0: must be 1 or more \
         -> correct the options; mezzo catalog show PACKAGE lists them with their defaults"
    );
    assert_eq!(
        refused("hello-world", "", "web", json!({}), &|_| None),
        "CAT0005 the pool has no artifact named mezzo-hello -> mezzo artifact push mezzo-hello FILE"
    );
    assert!(refused("hello-world", "", "Web", json!({}), &digest).starts_with("CAT0001 'Web' cannot be a name"));
}

#[test]
fn a_folder_written_by_anybody_is_a_package() {
    let folder = std::env::temp_dir().join(format!("mezzo-catalog-{}", std::process::id()));
    let package = folder.join("mine/2.0");
    std::fs::create_dir_all(&package).expect("a folder");
    let write = |file: &str, text: &str| std::fs::write(package.join(file), text).expect("a file");
    write("package.toml", "name = 'mine'\nversion = '2.0'\nsummary = 's'\nservice = 'service.json.j2'\n");
    write(
        "options.schema.json",
        r#"{"type": "object", "properties": {"zone": {"type": "string", "default": "a\"b"}}}"#,
    );
    write("service.json.j2", r#"{"name": {{ name | json }}, "zone": {{ options.zone | json }}}"#);
    let mut catalog = Catalog::embedded().expect("sound");
    catalog.merge(Catalog::load_dir(&folder).expect("sound"));
    let rendered = catalog.render("mine", "", "x", &json!({}), &digest);
    write("service.json.j2", "{{ nothing }}");
    let broken = Catalog::load_dir(&folder).expect("parses").render("mine", "", "x", &json!({}), &digest);
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(rendered.expect("valid").service_json, r#"{"name":"x","zone":"a\"b"}"#);
    assert_eq!(broken.expect_err("undefined").refusal().code, "CAT0006");
}
