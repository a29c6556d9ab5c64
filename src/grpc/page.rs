//! Pages of the catalogue. A page's token is the last name of the page before.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::run::{Failure, Violation};

const DEFAULT_SIZE: i32 = 100;
const MAX_SIZE: i32 = 1000;

/// The items of a page, and the token of the next; `items` are sorted by their names.
///
/// # Errors
/// The size is negative, or the token is not one of ours.
pub(super) fn page<T>(
    items: impl Iterator<Item = T>,
    name: impl Fn(&T) -> &str,
    size: i32,
    token: &str,
) -> Result<(Vec<T>, String), Failure> {
    let size = match size {
        0 => DEFAULT_SIZE,
        size => size.min(MAX_SIZE),
    };
    let size = usize::try_from(size).map_err(|_| wrong("page_size", "a page size is not negative"))?;
    let last = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
    let last = last.ok_or_else(|| wrong("page_token", "this is no `next_page_token` of an answer"))?;
    let mut rest = items.skip_while(|item| !last.is_empty() && name(item) <= last.as_str()).peekable();
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let next = match (rest.peek(), page.last()) {
        (Some(_), Some(last)) => BASE64_URL_SAFE_NO_PAD.encode(name(last)),
        _ => String::new(),
    };
    Ok((page, next))
}

fn wrong(field: &str, description: &str) -> Failure {
    Failure::Invalid(Violation::field(field, description).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let names = ["a", "b", "c", "d", "e"];
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (items, next) = page(names.iter(), |name| name, 2, &token).unwrap();
            seen.extend(items.into_iter().copied());
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, names);
    }

    #[test]
    fn a_bad_size_or_token_is_refused() {
        assert!(page(["a"].iter(), |name| name, -1, "").is_err());
        assert!(page(["a"].iter(), |name| name, 1, "!").is_err());
    }
}
