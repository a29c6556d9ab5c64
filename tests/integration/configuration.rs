//! The reference of the configuration is what the decoder says.

use std::{env, fs};

use runwright::config;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

/// With `RUNWRIGHT_WRITE_DOCS` set it writes the page; `make docs` does that.
#[test]
fn its_reference_is_what_is_decoded() {
    let page = config::reference();
    if env::var_os("RUNWRIGHT_WRITE_DOCS").is_some() {
        fs::write(PAGE, &page).unwrap();
    }
    let written = fs::read_to_string(PAGE).unwrap_or_default();
    let differing = page.lines().zip(written.lines()).find(|(is, was)| is != was);
    assert!(page == written, "`make docs` writes docs/configuration.md anew: {differing:#?}");
}
