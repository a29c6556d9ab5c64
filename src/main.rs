//! The `runwright` command; see `runwright --help`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    runwright::cli::run(collect)
}

/// Takes back what other threads have freed of this one's memory, and gives the system what is free.
#[expect(unsafe_code, reason = "mimalloc's crate has no safe name for it")]
fn collect() {
    // SAFETY: any thread may call it at any time, and it touches nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
