//! From a scheme file, or a scheme within another document, to a [`Spec`].

use super::faults::{SpecError, fault};
use super::scheme::Spec;
use super::{sense, words};

impl Spec {
    /// Reads a scheme file.
    ///
    /// # Errors
    /// Every fault that was found. See the [module's documentation](self).
    pub fn parse(yaml: &str) -> Result<Self, SpecError> {
        let spec = Self::from_value(words::read_yaml(yaml)?)?;
        let faults = sense::catalogue_faults(&spec);
        if faults.is_empty() { Ok(spec) } else { Err(SpecError(faults)) }
    }

    /// Takes a scheme that stands in another document, under `name`. It needs no title, documentation or sample.
    ///
    /// # Errors
    /// As for [`Spec::parse`].
    pub fn custom(name: &str, scheme: serde_json::Value) -> Result<Self, SpecError> {
        let mut spec = Self::from_value(scheme)?;
        if !spec.name.is_empty() && spec.name != name {
            return Err(fault("name", "differs from the key that the scheme stands under"));
        }
        name.clone_into(&mut spec.name);
        if spec.title.is_empty() {
            name.clone_into(&mut spec.title);
        }
        let faults = sense::name_faults(&spec);
        if faults.is_empty() { Ok(spec) } else { Err(SpecError(faults)) }
    }

    fn from_value(scheme: serde_json::Value) -> Result<Self, SpecError> {
        let mut spec: Self = serde_path_to_error::deserialize(scheme)
            .map_err(|error| fault(&error.path().to_string(), &error.inner().to_string()))?;
        spec.ways = spec.resolve()?;
        let faults = sense::faults(&spec);
        if faults.is_empty() { Ok(spec) } else { Err(SpecError(faults)) }
    }
}
