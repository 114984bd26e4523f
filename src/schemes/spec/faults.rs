//! Faults of a scheme, each with its place.

/// A scheme that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct SpecError(pub Vec<SpecFault>);

/// One thing that is wrong with a scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SpecFault {
    /// Where in the scheme: `forms[0].content`.
    pub path: String,
    /// The fault, in words.
    pub message: String,
}

/// Collects faults, each with its place.
pub(super) struct Faults(pub(super) Vec<SpecFault>);

impl Faults {
    pub(super) fn when(&mut self, wrong: bool, path: impl Into<String>, message: impl Into<String>) {
        if wrong {
            self.0.push(SpecFault { path: path.into(), message: message.into() });
        }
    }
}

pub(super) fn fault(path: &str, message: &str) -> SpecError {
    SpecError(vec![SpecFault { path: path.to_owned(), message: message.to_owned() }])
}

fn lines(faults: &[SpecFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
