//! From options to a service. Templates see `name`, `options` (complete), `package` and `artifacts` (name -> digest),
//! and have the filter `json`; whatever they name and is not there is an error, and the result must be JSON.
use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use model::Refusal;
use serde_json::{Value, json};

use crate::limits::{OPTIONS_BYTES_MAX, SERVICE_BYTES_MAX, TEMPLATE_STEPS_MAX};
use crate::options::{OptionError, fill_defaults, validate};
use crate::package::Package;
use crate::preflight::Needs;

/// An installation as the services framework and the registry will have it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The user's options over the defaults.
    pub options_with_defaults: Value,
    /// A `ServiceDefinition` of the services framework.
    pub service_json: String,
    /// Whether its framework asks for privileged tasks.
    pub privileged: bool,
    /// What to tell the user afterwards.
    pub next_steps: Vec<String>,
    /// What its pods need, if the package says so.
    pub needs: Option<Needs>,
}

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// Name, package or version.
    #[error(transparent)]
    Refused(Refusal),
    /// Options at fault, all of them.
    #[error("{}", list(.0))]
    Options(Vec<OptionError>),
    /// Artifacts the package needs and the pool has not.
    #[error("the pool has no artifact named {}", .names.join(", "))]
    Artifacts {
        /// Their names.
        names: Vec<String>,
    },
    /// The package's template is wrong.
    #[error("render {file} of package {package}")]
    Template {
        /// Which package.
        package: String,
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// The template gave something else than a JSON object.
    #[error("{file} of package {package} does not render to a JSON object")]
    NotJson {
        /// Which package.
        package: String,
        /// Which file.
        file: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The template gave more than [`SERVICE_BYTES_MAX`].
    #[error("{file} of package {package} renders to more than {SERVICE_BYTES_MAX} bytes")]
    TooLarge {
        /// Which package.
        package: String,
        /// Which file.
        file: String,
    },
}

impl RenderError {
    /// In words for a person.
    pub fn refusal(&self) -> Refusal {
        match self {
            RenderError::Refused(refusal) => refusal.clone(),
            RenderError::Options(errors) => options_refusal(errors),
            RenderError::Artifacts { names } => Refusal::new(
                "CAT0005",
                self.to_string(),
                names.iter().map(|name| format!("mezzo artifact push {name} FILE")).collect::<Vec<_>>().join("; "),
            ),
            RenderError::Template { source, .. } => Refusal::new(
                "CAT0006",
                format!("{self}: {source}"),
                "this is a fault of the package: correct its template",
            ),
            RenderError::NotJson { source, .. } => Refusal::new(
                "CAT0006",
                format!("{self}: {source}"),
                "this is a fault of the package: correct its template",
            ),
            RenderError::TooLarge { .. } => {
                Refusal::new("CAT0006", self.to_string(), "this is a fault of the package: correct its template")
            }
        }
    }
}

/// Options at fault, in words for a person.
pub fn options_refusal(errors: &[OptionError]) -> Refusal {
    let field = errors.first().map(|error| error.path.clone()).unwrap_or_default();
    Refusal::new(
        "CAT0004",
        list(errors),
        "correct the options; mezzo catalog show PACKAGE lists them with their defaults",
    )
    .at(field)
}

fn list(errors: &[OptionError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Renders an installation of `package` as `name`. `options` are the user's (`null` means none).
///
/// # Errors
/// [`RenderError`]; nothing was created.
pub fn render(
    package: &Package,
    name: &str,
    options: &Value,
    artifact_digests: &dyn Fn(&str) -> Option<String>,
) -> Result<Rendered, RenderError> {
    crate::name::check_installation(name).map_err(RenderError::Refused)?;
    let mut options = if options.is_null() { json!({}) } else { options.clone() };
    if options.to_string().len() > OPTIONS_BYTES_MAX {
        let allowed = format!("options may have {OPTIONS_BYTES_MAX} bytes at most");
        return Err(RenderError::Options(vec![OptionError { path: String::new(), value: String::new(), allowed }]));
    }
    fill_defaults(&package.schema, &mut options);
    let errors = validate(&package.schema, &options);
    if !errors.is_empty() {
        return Err(RenderError::Options(errors));
    }
    let mut artifacts = BTreeMap::new();
    let mut missing = Vec::new();
    for artifact in &package.about.artifacts {
        match artifact_digests(artifact) {
            Some(digest) => {
                artifacts.insert(artifact.clone(), digest);
            }
            None => missing.push(artifact.clone()),
        }
    }
    if !missing.is_empty() {
        return Err(RenderError::Artifacts { names: missing });
    }
    let service = fill_template(package, &package.about.service, name, &options, &artifacts)?;
    let needs = if package.about.preflight.is_empty() {
        None
    } else {
        let file = &package.about.preflight;
        let text = fill_template(package, file, name, &options, &artifacts)?;
        Some(serde_json::from_value(Value::Object(text)).map_err(|source| not_json(package, file, source))?)
    };
    let service_json = Value::Object(service).to_string();
    let next_steps = package.about.next_steps.iter().map(|line| line.replace("{name}", name)).collect();
    let privileged = package.about.privileged;
    Ok(Rendered { options_with_defaults: options, service_json, privileged, next_steps, needs })
}

fn not_json(package: &Package, file: &str, source: serde_json::Error) -> RenderError {
    RenderError::NotJson { package: package.about.name.clone(), file: file.to_owned(), source }
}

fn fill_template(
    package: &Package,
    file: &str,
    name: &str,
    options: &Value,
    artifacts: &BTreeMap<String, String>,
) -> Result<serde_json::Map<String, Value>, RenderError> {
    let template_error = |source| RenderError::Template {
        package: package.about.name.clone(),
        file: file.to_owned(),
        source: Box::new(source),
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(TEMPLATE_STEPS_MAX));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.add_filter("json", |value: Serde<Value>| value.0.to_string());
    for (file, text) in &package.templates {
        environment.add_template(file, text).map_err(template_error)?;
    }
    let context = json!({
        "name": name,
        "options": options,
        "package": {"name": package.about.name, "version": package.about.version},
        "artifacts": artifacts,
    });
    let text =
        environment.get_template(file).and_then(|template| template.render(Serde(context))).map_err(template_error)?;
    if text.len() > SERVICE_BYTES_MAX {
        return Err(RenderError::TooLarge { package: package.about.name.clone(), file: file.to_owned() });
    }
    // Parsed and printed again: one canonical form to compare and to store.
    serde_json::from_str(&text).map_err(|source| not_json(package, file, source))
}
