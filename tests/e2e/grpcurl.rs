//! docs/grpcurl.md is so: its lines are run as they are printed, and print what stands below them.
//!
//! The page's `console` blocks are one session, in one bash and in an empty folder. What begins with `$ ` is a command, with
//! as many lines more as bash needs for a whole one; the rest is what it prints, errors too. There `…` stands for anything in
//! a line, and a line of nothing else for any lines. One thing is changed: the demo's address, for its port may be taken.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{self, Stdio},
};

use prost::Message;
use prost_types::FileDescriptorSet;
use runwright::grpc::proto::FILE_DESCRIPTOR_SET;
use tokio::process::Command;
use uuid::Uuid;

use crate::support::{process::Process, within_all};

const PAGE: &str = "docs/grpcurl.md";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const RUNWRIGHT: &str = env!("CARGO_BIN_EXE_runwright");
/// Where the page has the demo.
const ADDRESS: &str = "127.0.0.1:50051";
/// What stands for anything.
const ANYTHING: &str = "…";

/// A line of the page, or some lines that are one command, and what it is to print.
struct Line {
    number: usize,
    command: String,
    printed: Vec<String>,
}

/// The bash that plays the page. What it started ends with it.
struct Session {
    bash: tokio::process::Child,
    output: PathBuf,
}

#[tokio::test]
async fn its_lines_print_what_it_says() {
    within_all(async {
        let demo = start_demo();
        let told = demo.line("gRPC on ").await;
        let address = told.split(['(', ',', ' ']).find(|word| word.starts_with("127.0.0.1:")).unwrap();
        let lines = lines(&page());
        let printed = Session::play(&lines, address).await;
        let wrong: String =
            lines.iter().zip(&printed).filter_map(|(line, printed)| line.misses(printed)).collect();
        assert!(wrong.is_empty(), "{wrong}");
    })
    .await;
}

#[test]
fn it_calls_every_rpc() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let ours = files.iter().filter(|file| file.package() == "runwright.v1").flat_map(|file| &file.service);
    let rpcs: BTreeSet<String> = ours
        .flat_map(|service| {
            service.method.iter().map(|rpc| format!("runwright.v1.{}/{}", service.name(), rpc.name()))
        })
        .chain(["Check", "Watch"].map(|rpc| format!("grpc.health.v1.Health/{rpc}")))
        .collect();
    let commands: Vec<String> = lines(&page()).into_iter().map(|line| line.command).collect();
    let missing: Vec<&String> =
        rpcs.iter().filter(|rpc| !commands.iter().any(|command| calls(command, rpc))).collect();
    assert!(rpcs.len() > 10 && missing.is_empty(), "{missing:?}");
}

#[test]
fn it_installs_the_version_that_runs_here() {
    let line = format!("go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v{}\n", version());
    assert!(page().contains(&line), "{line}");
}

#[test]
fn what_prints_something_else_is_found() {
    let page = "```console\n$ echo 'a\n  b'; echo c\na\n…b\n$ echo d \\\n  e\n…\n  \"id\": \"…\",\n…\n```\n";
    let [first, second] = &lines(page)[..] else { panic!("two lines") };
    assert_eq!((first.number, first.command.as_str()), (2, "echo 'a\n  b'; echo c"));
    assert!(first.misses("a\n  b\n").is_none());
    assert!(first.misses("a\n  b\nc\n").is_some(), "a line more");
    assert!(first.misses("a\n").is_some(), "a line less");
    assert!(second.misses("{\n  \"id\": \"x\",\n}\n").is_none());
    assert!(second.misses("  \"id\": \"x\",\n").is_none(), "no other lines");
    assert!(second.misses("{\n  \"id\": \"x\"\n}\n").is_some(), "another end");
    assert!(second.misses("").is_some());
}

impl Line {
    /// What is wrong, if it printed something else.
    fn misses(&self, printed: &str) -> Option<String> {
        let got: Vec<&str> = printed.trim_end().lines().collect();
        let wanted: Vec<&str> = self.printed.iter().map(String::as_str).collect();
        let Self { number, command, .. } = self;
        let told =
            || format!("{PAGE}:{number}: $ {command}\nprints\n{printed}\nand not\n{}\n\n", wanted.join("\n"));
        (!are_like(&got, &wanted)).then(told)
    }
}

impl Session {
    /// Runs all lines, with the demo at this address; what each has printed.
    async fn play(lines: &[Line], address: &str) -> Vec<String> {
        let (place, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let end = format!("\n{}\n", Uuid::new_v4());
        let script = place.path().join("session.sh");
        fs::write(&script, bash(lines, &end).replace(ADDRESS, address)).unwrap();
        let mut session = Self::start(&script, folder.path(), place.path().join("output"));
        session.bash.wait().await.unwrap();
        let output = fs::read_to_string(&session.output).unwrap();
        let mut printed: Vec<String> = output.split(&end).map(str::to_owned).collect();
        let unended = printed.pop().unwrap_or_default();
        assert_eq!(printed.len(), lines.len(), "the session ended early, with\n{unended}");
        printed
    }

    fn start(script: &Path, folder: &Path, output: PathBuf) -> Self {
        let file = File::create(&output).unwrap();
        let mut bash = Command::new("bash");
        bash.arg(script).current_dir(folder).env("PATH", path()).stdin(Stdio::null());
        bash.stderr(file.try_clone().unwrap()).stdout(file).process_group(0);
        Self { bash: bash.spawn().unwrap(), output }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nobody has waited for it: it hangs.
        if let Some(group) = self.bash.id() {
            eprintln!("{}", fs::read_to_string(&self.output).unwrap_or_default());
            let _ = process::Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
        }
    }
}

fn start_demo() -> Process {
    let demo = Path::new(RUNWRIGHT).with_file_name("examples").join("demo");
    let mut command = Command::new(demo);
    command.envs([("SERVE", "1"), ("LISTEN", "127.0.0.1:0")]).env_remove("OPENAI_API_KEY");
    Process::start("the demo", &mut command)
}

/// Where the session finds grpcurl and runwright, and all else.
fn path() -> OsString {
    let grpcurl = Path::new(ROOT).join(format!(".tools/grpcurl-{}", version()));
    let runwright = Path::new(RUNWRIGHT).parent().unwrap().to_owned();
    let inherited = env::var_os("PATH").unwrap_or_default();
    env::join_paths([grpcurl, runwright].into_iter().chain(env::split_paths(&inherited))).unwrap()
}

/// The version of grpcurl that `make e2e` installs.
fn version() -> String {
    let makefile = fs::read_to_string(Path::new(ROOT).join("Makefile")).unwrap();
    let line = makefile.lines().find_map(|line| line.strip_prefix("GRPCURL_VERSION := "));
    line.unwrap().to_owned()
}

fn page() -> String {
    fs::read_to_string(Path::new(ROOT).join(PAGE)).unwrap()
}

/// All lines of a page's `console` blocks.
fn lines(page: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut language = None;
    for (number, text) in (1..).zip(page.lines()) {
        match (text.strip_prefix("```"), language) {
            (Some(_), Some(_)) => language = None,
            (Some(of), None) => language = Some(of),
            (None, Some("console")) => read(&mut found, number, text),
            (None, _) => {}
        }
    }
    found
}

/// Reads one line of a `console` block: it begins a command, goes on with one, or is printed by the last.
fn read(found: &mut Vec<Line>, number: usize, text: &str) {
    match (text.strip_prefix("$ "), found.last_mut()) {
        (_, Some(last)) if last.printed.is_empty() && !is_whole(&last.command) => {
            last.command += "\n";
            last.command += text;
        }
        (Some(command), _) => {
            found.push(Line { number, command: command.to_owned(), printed: Vec::new() });
        }
        (None, Some(last)) => last.printed.push(text.to_owned()),
        (None, None) => panic!("{PAGE}:{number}: no command prints this"),
    }
}

/// Whether bash would not wait for another line.
fn is_whole(command: &str) -> bool {
    let mut bash = process::Command::new("bash");
    let mut bash = bash.arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(command.as_bytes()).unwrap();
    // It takes a here-document without its end, and only warns.
    let silent = bash.wait_with_output().unwrap().stderr.is_empty();
    silent && !command.ends_with('\\')
}

/// The session, which tells where each command's output ends. The status of each is left for the next.
fn bash(lines: &[Line], end: &str) -> String {
    let begin = format!("ended() {{ local status=$?; printf %s '{end}'; return $status; }}\n");
    let commands = lines.iter().map(|line| format!("{}\nended\n", line.command));
    [begin].into_iter().chain(commands).collect()
}

/// Whether a command line calls an RPC, and not another whose name begins in the same way.
fn calls(command: &str, rpc: &str) -> bool {
    command.split(|c: char| c.is_whitespace() || c == ')').any(|word| word == rpc)
}

fn are_like(lines: &[&str], wanted: &[&str]) -> bool {
    match wanted.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == ANYTHING => {
            (0..=lines.len()).any(|skipped| are_like(&lines[skipped..], rest))
        }
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| is_like(line, first) && are_like(lines, rest))
        }
    }
}

fn is_like(text: &str, wanted: &str) -> bool {
    let Some((before, after)) = wanted.split_once(ANYTHING) else { return text == wanted };
    let rest = text.strip_prefix(before);
    let ends = |rest: &str| rest.char_indices().map(|(at, _)| at).chain([rest.len()]).collect::<Vec<_>>();
    rest.is_some_and(|rest| ends(rest).into_iter().any(|at| is_like(&rest[at..], after)))
}
