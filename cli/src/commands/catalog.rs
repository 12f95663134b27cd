//! `mezzo catalog`: packages and installations. Mutating verbs wait with a live step list.
use std::io::Read as _;
use std::path::Path;

use catalog::limits::OPTIONS_DEPTH_MAX;
use proto::mezzo::v1::{
    InstallPackageRequest, Installation, ListInstallationsRequest, PackageDetail, SearchCatalogRequest,
    ShowPackageRequest, UninstallPackageRequest, UpdatePackageRequest,
};
use serde_json::{Map, Value};

use crate::client::Pool;
use crate::failure::{Failure, Result};
use crate::grammar::{Catalog, Format, Global, Install, Options, Update};
use crate::output::{self, Rows};
use crate::{limits, steps};

pub(crate) async fn run(verb: Catalog, global: &Global) -> Result<()> {
    let pool = Pool::connect(global)?;
    match verb {
        Catalog::Search { text } => {
            let answer = pool.operator().search_catalog(SearchCatalogRequest { text }).await;
            let list = answer.map_err(|status| pool.refused(&status))?.into_inner();
            output::data(global.output, &list, |list| {
                let mut rows = Rows::new(&["NAME", "VERSIONS", "SUMMARY"]);
                for package in &list.packages {
                    rows.push([package.name.clone(), package.versions.join(", "), package.summary.clone()]);
                }
                rows
            })
        }
        Catalog::Show { package, version } => {
            let answer = pool.operator().show_package(ShowPackageRequest { name: package, version }).await;
            show(global, &answer.map_err(|status| pool.refused(&status))?.into_inner())
        }
        Catalog::List => {
            let list = installations(&pool).await?;
            output::data(global.output, &list, |list| {
                let mut rows = Rows::new(&["NAME", "PACKAGE", "VERSION", "STATE", "CHANGED", "WAITING FOR"]);
                for one in list {
                    rows.push([
                        one.name.clone(),
                        one.package.clone(),
                        one.version.clone(),
                        one.state.clone(),
                        output::ago(one.changed_unix_ms),
                        if one.waiting_for.is_empty() && !one.undone.is_empty() {
                            format!("the last update was undone: {}", one.undone)
                        } else {
                            one.waiting_for.clone()
                        },
                    ]);
                }
                rows
            })
        }
        Catalog::Install(arguments) => install(&pool, global, arguments).await,
        Catalog::Update(arguments) => update(&pool, global, arguments).await,
        Catalog::Uninstall { name, dry_run, waiting } => uninstall(&pool, global, name, dry_run, waiting.detach).await,
    }
}

/// Everything that is installed.
pub(crate) async fn installations(pool: &Pool) -> Result<Vec<Installation>> {
    let answer = pool.operator().list_installations(ListInstallationsRequest {}).await;
    Ok(answer.map_err(|status| pool.refused(&status))?.into_inner().installations)
}

async fn install(pool: &Pool, global: &Global, arguments: Install) -> Result<()> {
    let request = InstallPackageRequest {
        name: arguments.name.unwrap_or_else(|| arguments.package.clone()),
        package: arguments.package,
        version: arguments.version,
        options_json: read_options(&arguments.options)?.to_string(),
        dry_run: arguments.dry_run,
        force: arguments.force,
    };
    let answer = pool.operator().install_package(request).await.map_err(|status| pool.refused(&status))?.into_inner();
    if arguments.dry_run {
        output::note("dry run: nothing was installed. This would be:");
        return rendered(global, &answer);
    }
    output::note(&format!("installing {} {} as '{}'", answer.package, answer.version, answer.name));
    if arguments.waiting.detach {
        output::note(&format!("follow it with: mezzo plan show {} deploy --follow", answer.name));
    } else {
        steps::follow_installation(pool, &answer.name).await?;
        tell_next(&answer);
    }
    if global.output == Format::Json { output::json(&answer) } else { Ok(()) }
}

async fn update(pool: &Pool, global: &Global, arguments: Update) -> Result<()> {
    let before = installations(pool).await?.into_iter().find(|one| one.name == arguments.name);
    let Some(before) = before else { return Err(no_installation(&arguments.name)) };
    let request = UpdatePackageRequest {
        name: arguments.name,
        version: arguments.version,
        options_json: if arguments.rollback { String::new() } else { read_options(&arguments.options)?.to_string() },
        dry_run: true,
        rollback: arguments.rollback,
    };
    let checked =
        pool.operator().update_package(request.clone()).await.map_err(|status| pool.refused(&status))?.into_inner();
    let changes = differences(&before, &checked);
    if changes.is_empty() {
        output::note("nothing would change");
        return if global.output == Format::Json { output::json(&checked) } else { Ok(()) };
    }
    for change in &changes {
        output::note(&format!("  {change}"));
    }
    for line in foresee(pool, &checked).await? {
        output::note(&format!("  {line}"));
    }
    if arguments.dry_run {
        output::note("dry run: nothing was changed");
        return if global.output == Format::Json { output::json(&checked) } else { Ok(()) };
    }
    let request = UpdatePackageRequest { dry_run: false, ..request };
    let answer = pool.operator().update_package(request).await.map_err(|status| pool.refused(&status))?.into_inner();
    if arguments.waiting.detach {
        output::note(&format!("it goes on; see how far it is with: mezzo plan show {} deploy", answer.name));
    } else {
        steps::follow_update(pool, &answer.name).await?;
        tell_next(&answer);
    }
    if global.output == Format::Json { output::json(&answer) } else { Ok(()) }
}

/// What the installation's scheduler says that the update would do. One that is away, or does not tell, is no reason not to
/// go on; one that refuses the options is.
async fn foresee(pool: &Pool, checked: &Installation) -> Result<Vec<String>> {
    let service: Value = serde_json::from_str(&checked.service_json).unwrap_or_default();
    let Some(options) = service.get("options").filter(|_| service["identity"] == true) else { return Ok(Vec::new()) };
    match pool.framework_post(&checked.name, "/v1/update/preview", options).await {
        Ok(answer) => Ok(answer["changes"].as_array().into_iter().flatten().map(foreseen).collect()),
        Err(failure) if failure.is_of("K8S0001") || failure.is_of("SDK0001") => Err(failure),
        Err(_) => Ok(Vec::new()),
    }
}

/// One pod of a preview, in words.
fn foreseen(change: &Value) -> String {
    let names =
        |key: &str| -> Vec<&str> { change[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let why = names("why").join(", ");
    let mut parts = Vec::new();
    let (rolled, added, removed) = (names("rolled"), names("added"), names("removed"));
    if !rolled.is_empty() {
        let before = change["before_stop"].as_str().filter(|action| !action.is_empty());
        let after = before.map(|action| format!(", each after {action}")).unwrap_or_default();
        parts.push(format!("launched anew, one at a time{after}: {} ({why})", rolled.join(", ")));
    }
    if !added.is_empty() {
        parts.push(format!("new: {}", added.join(", ")));
    }
    if !removed.is_empty() {
        parts.push(format!("taken away: {}", removed.join(", ")));
    }
    format!("{}: {}", change["pod"].as_str().unwrap_or_default(), parts.join("; "))
}

async fn uninstall(pool: &Pool, global: &Global, name: String, dry_run: bool, detach: bool) -> Result<()> {
    let Some(found) = installations(pool).await?.into_iter().find(|one| one.name == name) else {
        return Err(no_installation(&name));
    };
    let what = format!("{} {} installed as '{name}'", found.package, found.version);
    if !dry_run {
        output::confirm(global.yes, &format!("uninstall {what} and delete all its data"))?;
    }
    let request = UninstallPackageRequest { name: name.clone(), dry_run };
    pool.operator().uninstall_package(request).await.map_err(|status| pool.refused(&status))?;
    if dry_run {
        output::note(&format!("dry run: {what} would be removed, with all its tasks, reservations, volumes and state"));
        return Ok(());
    }
    if detach {
        output::note(&format!("'{name}' is being removed; it is gone when mezzo catalog list shows it no more"));
        return Ok(());
    }
    steps::follow_uninstall(pool, &name).await?;
    super::agent::leaving::tell_left_behind(pool, &name).await
}

fn no_installation(name: &str) -> Failure {
    Failure::not_found(format!("nothing is installed as '{name}'"), "list installations with: mezzo catalog list")
}

fn tell_next(installation: &Installation) {
    if !installation.next_steps.is_empty() {
        output::note("next:");
        for step in &installation.next_steps {
            output::note(&format!("  {step}"));
        }
    }
}

fn rendered(global: &Global, installation: &Installation) -> Result<()> {
    if global.output == Format::Json {
        return output::json(installation);
    }
    let pretty = |text: &str| match serde_json::from_str::<Value>(text) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned()),
        Err(_) => text.to_owned(),
    };
    output::one(global.output, installation, |one| {
        vec![
            ("name", one.name.clone()),
            ("package", format!("{} {}", one.package, one.version)),
            ("options", pretty(&one.options_json)),
            ("service", pretty(&one.service_json)),
        ]
    })
}

/// The options of the file, with those of `--set` over them.
pub(crate) fn read_options(arguments: &Options) -> Result<Value> {
    let mut options = match &arguments.options {
        Some(path) => read_file(path)?,
        None => Value::Object(Map::new()),
    };
    for (path, text) in &arguments.set {
        // What is no JSON is text: --set message=hello needs no quotes.
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
        set(&mut options, path, value)?;
    }
    Ok(options)
}

fn read_file(path: &Path) -> Result<Value> {
    let reading =
        |error: &dyn std::error::Error| Failure::while_doing(format!("read options from {}", path.display()), error);
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(limits::OPTIONS_BYTES_MAX).read_to_string(&mut text).map_err(|error| reading(&error))?;
    } else {
        let file = std::fs::File::open(path).map_err(|error| reading(&error))?;
        file.take(limits::OPTIONS_BYTES_MAX).read_to_string(&mut text).map_err(|error| reading(&error))?;
    }
    let value = parse(&text, path.extension().and_then(|end| end.to_str())).map_err(|error| reading(&*error))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Failure::usage(format!("{} holds no object of options", path.display()), ""))
    }
}

/// What was typed, as far as it fits a line.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(100).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A file of options by its name's end.
pub(crate) fn parse(text: &str, extension: Option<&str>) -> std::result::Result<Value, Box<dyn std::error::Error>> {
    Ok(match extension {
        Some("toml") => toml::from_str(text)?,
        // YAML holds JSON.
        Some("yaml" | "yml") => serde_saphyr::from_str(text)?,
        _ => serde_json::from_str(text)?,
    })
}

pub(crate) fn set(options: &mut Value, path: &str, value: Value) -> Result<()> {
    let depth = path.split('.').count();
    if depth > OPTIONS_DEPTH_MAX || path.split('.').any(str::is_empty) {
        let words = format!("--set {}: names of options joined by '.', at most {OPTIONS_DEPTH_MAX}", shown(path));
        return Err(Failure::usage(words, ""));
    }
    let mut place = options;
    for key in path.split('.') {
        let Value::Object(map) = place else {
            return Err(Failure::usage(format!("--set {path}: '{key}' is inside something that is no object"), ""));
        };
        place = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
    *place = value;
    Ok(())
}

/// What an update changes, one line each.
fn differences(before: &Installation, after: &Installation) -> Vec<String> {
    let mut lines = Vec::new();
    if before.version != after.version {
        lines.push(format!("version: {} -> {}", before.version, after.version));
    }
    let parse = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    compare("", &parse(&before.options_json), &parse(&after.options_json), &mut lines);
    lines
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    if before == after {
        return;
    }
    if let (Some(old), Some(new)) = (before.as_object(), after.as_object()) {
        let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            compare(&path, old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null), lines);
        }
        return;
    }
    lines.push(format!("{path}: {before} -> {after}"));
}

fn show(global: &Global, package: &PackageDetail) -> Result<()> {
    if global.output == Format::Json {
        return output::json(package);
    }
    output::one(global.output, package, |package| {
        vec![
            ("name", package.name.clone()),
            ("version", package.version.clone()),
            ("versions", package.versions.join(", ")),
            ("summary", package.summary.clone()),
            ("description", package.description.trim().to_owned()),
        ]
    })?;
    let schema: Value = serde_json::from_str(&package.options_schema_json).unwrap_or(Value::Null);
    let mut rows = Rows::new(&["OPTION", "DEFAULT", "", "MEANING"]);
    options("", &schema, &mut rows);
    if rows.is_empty() {
        return Ok(());
    }
    output::out("\n")?;
    output::data(Format::Table, &(), |()| rows)
}

fn options(path: &str, schema: &Value, rows: &mut Rows) {
    for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if schema.get("properties").is_some_and(|inner| inner.as_object().is_some_and(|inner| !inner.is_empty())) {
            options(&path, schema, rows);
            continue;
        }
        let fixed = match schema.get("immutable") {
            Some(Value::Bool(true)) => "fixed once installed".to_owned(),
            Some(rule) => rule.get("once").map(|value| format!("fixed once {value}")).unwrap_or_default(),
            None => String::new(),
        };
        rows.push([
            path,
            schema.get("default").map(ToString::to_string).unwrap_or_default(),
            fixed,
            schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn set_takes_json_or_text_and_makes_the_path() {
        let arguments = Options {
            options: None,
            set: [("count", "2"), ("message", "hello you"), ("node.cpus", "1.5"), ("quoted", "\"2\"")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .to_vec(),
        };
        let expected = json!({"count": 2, "message": "hello you", "node": {"cpus": 1.5}, "quoted": "2"});
        assert_eq!(read_options(&arguments).expect("valid"), expected);
        let through = Options { options: None, set: vec![("a".into(), "1".into()), ("a.b".into(), "1".into())] };
        assert!(read_options(&through).is_err());
    }

    #[test]
    fn a_preview_is_told_in_words() {
        let change = json!({
            "pod": "node", "rolled": ["node-0", "node-1"], "added": ["node-2"], "removed": [],
            "before_stop": "empty-node", "why": ["memory of node: 2560 -> 3072"],
        });
        assert_eq!(
            foreseen(&change),
            "node: launched anew, one at a time, each after empty-node: node-0, node-1 (memory of node: 2560 -> 3072); \
             new: node-2"
        );
    }

    #[test]
    fn an_update_shows_what_changes() {
        let of = |version: &str, options: Value| Installation {
            version: version.to_owned(),
            options_json: options.to_string(),
            ..Installation::default()
        };
        let before = of("1", json!({"a": 1, "b": {"c": 2, "d": 3}}));
        let after = of("2", json!({"a": 1, "b": {"c": 4, "d": 3}, "e": "x"}));
        assert_eq!(differences(&before, &after), ["version: 1 -> 2", "b.c: 2 -> 4", "e: null -> \"x\""]);
    }
}
