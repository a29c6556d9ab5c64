//! Keys: what a mapping of the configuration may have.
//!
//! A key's name, what stands in where it is left out, and what it means stand at one place, beside what decodes it. The
//! decoder takes the first two from there, and the reference ([`super::reference`]) all three.

use std::{net::SocketAddr, time::Duration};

use super::units;

/// A key of a mapping, by what `D` is where it is left out.
pub struct Key<D> {
    /// Its name.
    pub name: &'static str,
    /// What stands in for its value.
    pub default: D,
    /// What it means, for the reference: Markdown for the cell of a table.
    pub means: &'static str,
}

/// It can't be left out.
pub struct Required;

/// Nothing stands in; the key's meaning tells what that means, where it is not plain.
pub struct Optional;

/// What stands in depends, in these words of the reference.
pub struct Depends(pub &'static str);

/// A size in bytes that stands in.
pub struct Bytes(pub usize);

/// The keys of a mapping, in the order of the reference.
pub type Keys<'k> = &'k [&'static dyn Listed];

/// A key, whatever its default.
pub trait Listed {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What stands in for its value, as the reference shows it.
    fn default(&self) -> String;
    /// What it means.
    fn means(&self) -> &'static str;
}

/// What is known of a value that is left out.
pub trait Default {
    /// It, as the reference shows it.
    fn shown(&self) -> String;
}

/// A value that always stands in.
pub trait Fixed: Default {
    /// What is decoded.
    type Value;
    /// It.
    fn value(&self) -> Self::Value;
}

impl Key<Required> {
    /// A key that must be there.
    pub const fn required(name: &'static str, means: &'static str) -> Self {
        Self { name, default: Required, means }
    }
}

impl Key<Optional> {
    /// A key that nothing stands in for.
    pub const fn optional(name: &'static str, means: &'static str) -> Self {
        Self { name, default: Optional, means }
    }
}

impl<D> Key<D> {
    /// A key that something stands in for.
    pub const fn or(name: &'static str, default: D, means: &'static str) -> Self {
        Self { name, default, means }
    }
}

impl<D: Default> Listed for Key<D> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default(&self) -> String {
        self.default.shown()
    }

    fn means(&self) -> &'static str {
        self.means
    }
}

impl Default for Required {
    fn shown(&self) -> String {
        "required".to_owned()
    }
}

impl Default for Optional {
    fn shown(&self) -> String {
        String::new()
    }
}

impl Default for Depends {
    fn shown(&self) -> String {
        self.0.to_owned()
    }
}

/// Values that stand for themselves, and how the configuration writes them.
macro_rules! fixed {
    ($($default:ty => $value:ty, |$this:ident| $given:expr, $written:expr;)*) => {$(
        impl Default for $default {
            fn shown(&self) -> String {
                let $this = self;
                format!("`{}`", $written)
            }
        }

        impl Fixed for $default {
            type Value = $value;

            fn value(&self) -> $value {
                let $this = self;
                $given
            }
        }
    )*};
}

fixed! {
    bool => bool, |this| *this, this;
    u32 => u32, |this| *this, this;
    usize => usize, |this| *this, this;
    f64 => f64, |this| *this, format_args!("{this:?}");
    &'static str => String, |this| (*this).to_owned(), this;
    SocketAddr => SocketAddr, |this| *this, this;
    Duration => Duration, |this| *this, units::written_duration(*this);
    Bytes => usize, |this| this.0, units::written_size(this.0);
}

/// One of some words, with what it stands for.
impl<T> Default for (&'static str, T) {
    fn shown(&self) -> String {
        format!("`{}`", self.0)
    }
}

impl<T: Copy> Fixed for (&'static str, T) {
    type Value = T;

    fn value(&self) -> T {
        self.1
    }
}
