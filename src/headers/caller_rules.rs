//! What a registration lets callers bring to its server.

use http::HeaderName;

/// A registration's `caller_headers`. They speak of what a request brings, in [`super::Layer::Run`] and
/// [`super::Layer::RunServer`]; what is configured is not bound by them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerRules {
    /// `None`: any name but those that are locked.
    allowed: Option<Vec<HeaderName>>,
    required: Vec<HeaderName>,
    locked: Vec<HeaderName>,
}

/// Why a caller may neither set nor remove a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It is locked.
    Locked,
    /// There is a list of those that are allowed, and it is not on it.
    NotAllowed,
}

impl CallerRules {
    /// Rules of names that are checked already; `allowed`: `None` for any but those that are locked. A name in `required`
    /// is one that callers may bring.
    pub fn new(allowed: Option<Vec<HeaderName>>, required: Vec<HeaderName>, locked: Vec<HeaderName>) -> Self {
        Self { allowed: allowed.map(sorted), required: sorted(required), locked: sorted(locked) }
    }

    /// The names that callers may set and remove, sorted; `None`: any but those that are locked.
    pub fn allowed(&self) -> Option<&[HeaderName]> {
        self.allowed.as_deref()
    }

    /// The names that a caller must bring a value of, sorted.
    pub fn required(&self) -> &[HeaderName] {
        &self.required
    }

    /// The names that callers may neither set nor remove, sorted.
    pub fn locked(&self) -> &[HeaderName] {
        &self.locked
    }

    /// Why a caller may not bring a header, in `headers` or in `remove`; `None`: it may.
    pub fn denial(&self, name: &HeaderName) -> Option<Denial> {
        if self.locked.contains(name) {
            return Some(Denial::Locked);
        }
        let allowed = self.allowed.as_ref().is_none_or(|allowed| allowed.contains(name));
        (!allowed).then_some(Denial::NotAllowed)
    }

    /// Whether the name stands in `allowed`: what goes to several servers needs that of each if it is a credential.
    pub fn allows_by_name(&self, name: &HeaderName) -> bool {
        self.allowed.as_ref().is_some_and(|allowed| allowed.contains(name))
    }
}

fn sorted(mut names: Vec<HeaderName>) -> Vec<HeaderName> {
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<const N: usize>(names: [&'static str; N]) -> Vec<HeaderName> {
        names.map(HeaderName::from_static).into()
    }

    #[test]
    fn a_name_is_denied_if_it_is_locked_or_not_on_the_list() {
        let a = HeaderName::from_static("x-a");
        for (allowed, locked, denial, by_name) in [
            (None, names([]), None, false),
            (None, names(["x-b"]), None, false),
            (None, names(["x-a"]), Some(Denial::Locked), false),
            (Some(names([])), names([]), Some(Denial::NotAllowed), false),
            (Some(names(["x-b"])), names([]), Some(Denial::NotAllowed), false),
            (Some(names(["x-b", "x-a"])), names(["x-c"]), None, true),
            (Some(names([])), names(["x-a"]), Some(Denial::Locked), false),
        ] {
            let rules = CallerRules::new(allowed, Vec::new(), locked);
            assert_eq!((rules.denial(&a), rules.allows_by_name(&a)), (denial, by_name), "{rules:?}");
        }
    }

    #[test]
    fn names_are_sorted() {
        let rules = CallerRules::new(Some(names(["b", "a"])), names(["d", "c"]), names(["f", "e"]));
        assert_eq!(rules.allowed(), Some(&*names(["a", "b"])));
        assert_eq!((rules.required(), rules.locked()), (&*names(["c", "d"]), &*names(["e", "f"])));
        assert_eq!(CallerRules::default().allowed(), None);
    }
}
