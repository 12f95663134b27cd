//! Roles: who competes for resources. A role's name may be a path of components, `team/web`.
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A role's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(Arc<str>);

/// Why a text cannot be a role's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRole {
    /// No character, or more than 255 bytes.
    #[error("must have 1 to 255 bytes")]
    Length,
    /// A leading, trailing or double slash.
    #[error("must not have an empty component")]
    EmptyComponent,
    /// `.`, `..`, or `*` inside a path.
    #[error("must not have the component '{0}'")]
    Component(String),
    /// A component that begins with `-`, white space, or a control character.
    #[error("must not begin with '-' nor hold white space or control characters")]
    Character,
}

impl RoleName {
    /// Checks and takes a text (the rule of the Mesos v1 API; `*` alone is the default role).
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidRole> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > 255 {
            return Err(InvalidRole::Length);
        }
        if text != "*" {
            for component in text.split('/') {
                match component {
                    "" => return Err(InvalidRole::EmptyComponent),
                    "." | ".." | "*" => return Err(InvalidRole::Component(component.to_owned())),
                    _ if component.starts_with('-')
                        || component.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') =>
                    {
                        return Err(InvalidRole::Character);
                    }
                    _ => {}
                }
            }
        }
        Ok(Self(Arc::from(text)))
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The role right above: `team` of `team/web`. A top-level role has none.
    pub fn parent(&self) -> Option<RoleName> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(Arc::from(parent)))
    }
    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &RoleName) -> bool {
        self == other || self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}
impl TryFrom<String> for RoleName {
    type Error = InvalidRole;
    fn try_from(text: String) -> Result<Self, InvalidRole> {
        Self::new(text)
    }
}
impl From<RoleName> for String {
    fn from(role: RoleName) -> String {
        role.0.to_string()
    }
}
impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_names_follow_the_mesos_rule() {
        for good in ["*", "web", "team/web", "a.b"] {
            assert!(RoleName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a/../b", "a/*", "-a", "a b"] {
            assert!(RoleName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_is_within_itself_and_its_ancestors() {
        let role = |text| RoleName::new(text).expect("valid");
        assert!(role("a/b").is_within(&role("a")));
        assert!(role("a").is_within(&role("a")));
        assert!(!role("ab").is_within(&role("a")));
        assert_eq!((role("a/b/c").parent(), role("a").parent()), (Some(role("a/b")), None));
    }
}
