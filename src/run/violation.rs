//! What is wrong with a request, field by field.

/// A field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field's path.
    pub field: String,
    /// What is wrong, and the way out; never a value.
    pub description: String,
    /// The kind.
    pub kind: ViolationKind,
    /// The server and the header that it is about; empty where it is about none.
    pub subject: (String, String),
    /// The servers that the agent uses, where it is about one that it does not; see `Agent::listed_servers`.
    pub used_servers: String,
}

/// The kinds of violations that have a reason of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// The field is wrong.
    Field,
    /// A server is not registered, or the agent does not use it.
    UnknownMcpServer,
    /// A header may not be sent to that server.
    HeaderNotAllowed,
    /// A server requires a header that the caller did not bring.
    RequiredHeaderMissing,
}

impl Violation {
    /// A field that is wrong.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
            kind: ViolationKind::Field,
            subject: Default::default(),
            used_servers: String::new(),
        }
    }
}

impl ViolationKind {
    /// The reason that the caller is told.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Field => "INVALID_REQUEST",
            Self::UnknownMcpServer => "UNKNOWN_MCP_SERVER",
            Self::HeaderNotAllowed => "HEADER_NOT_ALLOWED",
            Self::RequiredHeaderMissing => "REQUIRED_HEADER_MISSING",
        }
    }
}

/// All that is wrong with a request. The first [`Violations::MAX_KEPT`] are kept, the others counted: a request of a few
/// megabytes can be wrong in a million places.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    kept: Vec<Violation>,
    left_out: usize,
}

impl Violations {
    /// The most that are kept.
    pub const MAX_KEPT: usize = 256;

    /// Adds one.
    pub fn push(&mut self, violation: Violation) {
        if self.kept.len() < Self::MAX_KEPT {
            self.kept.push(violation);
        } else {
            self.left_out += 1;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Those that are kept.
    pub fn kept(&self) -> &[Violation] {
        &self.kept
    }

    /// Adds what else is wrong.
    pub fn append(&mut self, others: Self) {
        self.left_out += others.left_out;
        self.extend(others.kept);
    }

    /// How many there are, beside those that are kept.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The reason that the caller is told: one kind gives its own, several are an invalid request.
    pub fn reason(&self) -> &'static str {
        let first = self.kept.first().map_or(ViolationKind::Field, |violation| violation.kind);
        let same = self.kept.iter().all(|violation| violation.kind == first);
        if same { first.reason() } else { ViolationKind::Field.reason() }
    }
}

impl From<Violation> for Violations {
    fn from(only: Violation) -> Self {
        Self { kept: vec![only], left_out: 0 }
    }
}

impl Extend<Violation> for Violations {
    fn extend<T: IntoIterator<Item = Violation>>(&mut self, violations: T) {
        violations.into_iter().for_each(|violation| self.push(violation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let mut violations = Violations::default();
        violations.extend((0..300).map(|n| Violation::field(format!("f{n}"), "wrong")));
        assert_eq!((violations.kept().len(), violations.left_out()), (256, 44));
    }
}
