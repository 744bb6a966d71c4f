//! Writes what fuzzing begins with, made from the tests' own playbooks, templates and inventories:
//! `seeds REPOSITORY CORPUS`.

use std::fs;
use std::io::{self, Error};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use debark_playbook::yaml::NoVault;
use debark_playbook::{CompileOptions, Compiler, SourceMap};
use debark_wire::{Cost, FromAgent, HostPlay, PlayEnd, ToAgent, WireError};

/// Longer files teach a fuzzer little and cost it time.
const LONGEST: u64 = 8 << 10;

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(repository), Some(corpus)) = (args.next(), args.next()) else {
        return Err(Error::other("seeds REPOSITORY CORPUS"));
    };
    let mut files = Vec::new();
    for dir in ["tests/tests", "playbooks", "crates/playbook/tests", "crates/expr/tests"] {
        find(&repository.join(dir), &mut files)?;
    }
    for (number, path) in files.iter().enumerate() {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let seed =
            |target: &str, part: usize, bytes: &[u8]| save(&corpus.join(target), 2 * number + part, bytes);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yml" | "yaml") => {
                seed("yaml", 0, text.as_bytes())?;
                seed("playbook", 0, text.as_bytes())?;
                seed("inventory", 0, format!("all:&web*:!db\n{text}").as_bytes())?;
                messages(path, &seed)?;
            }
            Some("j2") => seed("template", 0, text.as_bytes())?,
            None | Some("ini") => seed("inventory", 0, format!("~w.*[0:3]\n{text}").as_bytes())?,
            _ => {}
        }
    }
    let spelled = fs::read_to_string(repository.join("crates/expr/tests/corpus/ansible.json"))?;
    // Every text in it, whatever it is there for.
    for (number, text) in spelled.split('"').filter(|text| text.contains(['{', '|', '('])).enumerate() {
        save(&corpus.join("expression"), number, text.replace("\\n", "\n").as_bytes())?;
        save(&corpus.join("template"), 100_000 + number, text.replace("\\n", "\n").as_bytes())?;
    }
    answers(&corpus)
}

fn messages(path: &Path, seed: &dyn Fn(&str, usize, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let compiler =
        Compiler::new(Arc::new(SourceMap::default()), Arc::new(NoVault), CompileOptions::default());
    let Ok(compiled) = compiler.compile(&[path.to_owned()]) else { return Ok(()) };
    let Some(play) = compiled.plays.first() else { return Ok(()) };
    let bytes = debark_wire::encode(&play.play).map_err(wire)?;
    seed("wire", 0, &[&[2], bytes.as_slice()].concat())?;
    let host = HostPlay { host: "web1".into(), ..HostPlay::default() };
    let whole = ToAgent::Play { shared: bytes.into(), host: Box::new(host) };
    seed("wire", 1, &[&[0], debark_wire::encode(&whole).map_err(wire)?.as_slice()].concat())
}

/// What agents say, as single messages and as a stream.
fn answers(corpus: &Path) -> io::Result<()> {
    let said = [
        FromAgent::Hello {
            machine: "x86_64".into(),
            user: "root".into(),
            pending_handlers: vec!["reload".into()],
        },
        FromAgent::PlayEnd { play: 0, end: PlayEnd::Done, cost: Cost::default() },
    ];
    let mut stream = vec![3];
    for (number, message) in said.iter().enumerate() {
        let bytes = debark_wire::encode(message).map_err(wire)?;
        save(&corpus.join("wire"), 100_000 + number, &[&[1], bytes.as_slice()].concat())?;
        debark_wire::write(&mut stream, message).map_err(wire)?;
    }
    save(&corpus.join("wire"), 200_000, &stream)
}

fn wire(error: WireError) -> Error {
    Error::other(error)
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        if kind.is_dir() {
            find(&entry.path(), files)?;
        } else if kind.len() <= LONGEST {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(())
}

fn save(dir: &Path, number: usize, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(format!("seed-{number}")), bytes)
}
