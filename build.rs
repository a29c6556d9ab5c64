//! Compiles `proto/` without a `protoc`, and keeps the descriptor set, comments included, for reflection.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Messages that hold secrets: their `Debug` is written by hand in `src/grpc/proto.rs` and shows no value.
const WITHOUT_DEBUG: [&str; 5] = [
    "runwright.v1.HeaderSet",
    "runwright.v1.RunStarted",
    "runwright.v1.CancelRunRequest",
    "runwright.v1.UpdateRunHeadersRequest",
    "runwright.v1.SubmitRunInputRequest",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut protos = protox::Compiler::new([for_readers(&out)?])?;
    protos.include_imports(true).include_source_info(true).open_files([
        "runwright/v1/agent_service.proto",
        "runwright/v1/catalog_service.proto",
        "runwright/v1/error_reason.proto",
    ])?;

    let mut config = tonic_prost_build::Config::new();
    config.skip_debug(WITHOUT_DEBUG).btree_map(["."]).enable_type_names();
    tonic_prost_build::configure()
        .build_transport(false)
        .codec_path("crate::grpc::codec::SmallCodec")
        .compile_fds_with_config(protos.file_descriptor_set(), config)?;

    fs::write(out.join("runwright.v1.bin"), protos.encode_file_descriptor_set())?;
    Ok(())
}

/// Copies the contract, but for the comments that are for buf alone: people read the others in `grpcurl describe`.
fn for_readers(out: &Path) -> Result<PathBuf, std::io::Error> {
    let copies = out.join("proto");
    let package = copies.join("runwright/v1");
    fs::create_dir_all(&package)?;
    for file in fs::read_dir("proto/runwright/v1")? {
        let file = file?;
        let text = fs::read_to_string(file.path())?;
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("// buf:"));
        fs::write(package.join(file.file_name()), lines.collect::<Vec<_>>().join("\n"))?;
    }
    Ok(copies)
}
