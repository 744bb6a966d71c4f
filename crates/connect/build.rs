//! Embeds the agent and the gate, compressed, into release builds.
//!
//! `cargo build --release` and `cargo install` must yield one file that works alone, so they are built here by a
//! cargo within cargo (with a target directory of its own: sharing one deadlocks). Debug builds embed nothing, as
//! every test would wait for it: they look for what `scripts/build-agent` left in `target/agent`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

#[allow(dead_code)] // the crate itself unpacks as well
#[path = "src/package.rs"]
mod package;

fn main() -> Result<(), Box<dyn Error>> {
    for file in ["build.rs", "src/package.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    println!("cargo::rerun-if-env-changed=DEBARK_EMBED_AGENT");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let target = env::var("TARGET")?;
    let built = if embeds() { Some(build(&out, &target)?) } else { None };
    let machine = target.split('-').next().unwrap_or("x86_64").to_owned();
    let mut source = String::new();
    for (program, constant, variable) in [
        ("debark-agent", "EMBEDDED", "DEBARK_AGENT_BINARY"),
        ("debark-gate", "EMBEDDED_GATES", "DEBARK_GATE_BINARY"),
    ] {
        println!("cargo::rerun-if-env-changed={variable}");
        let binary = match (env::var_os(variable), &built) {
            (Some(path), _) => {
                println!("cargo::rerun-if-changed={}", path.display());
                Some(PathBuf::from(path))
            }
            (None, Some(directory)) => Some(directory.join(program)),
            (None, None) => None,
        };
        let entry = match binary {
            Some(binary) => {
                let packed = out.join(format!("{program}.deb"));
                let (sha256, size) = pack(&binary, &packed)?;
                format!("({machine:?}, {sha256:?}, {size}, include_bytes!({packed:?}))")
            }
            None => String::new(),
        };
        source += &format!(
            "/// Each `{program}` within this binary: machine, SHA-256 and length of the binary, package. None in debug builds.\n\
             pub const {constant}: &[(&str, &str, u64, &[u8])] = &[{entry}];\n"
        );
    }
    fs::write(out.join("embedded.rs"), source)?;
    Ok(())
}

fn embeds() -> bool {
    match env::var("DEBARK_EMBED_AGENT").as_deref() {
        Ok("0" | "") => false,
        Ok(_) => true,
        Err(_) => env::var("PROFILE").is_ok_and(|profile| profile == "release"),
    }
}

fn build(out: &Path, target: &str) -> Result<PathBuf, Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?).join("../..");
    for part in [
        "Cargo.lock",
        "scripts/build-agent",
        "crates/agent",
        "crates/gate",
        "crates/order",
        "crates/modules",
        "crates/expr",
        "crates/wire",
        "crates/value",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    let directory = out.join("agent-target");
    let mut script = Command::new(root.join("scripts/build-agent"));
    // What the outer cargo set for this build must not leak into the inner one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_FEATURE_")
            || text == "DEBARK_AGENT_PROFILE"
            || text.starts_with("CARGO_CFG_")
            || text == "CARGO_ENCODED_RUSTFLAGS"
        {
            script.env_remove(&name);
        }
    }
    let programs = out.join("programs");
    let status = script
        .arg(&programs)
        .env("CARGO_TARGET_DIR", &directory)
        .env("CARGO_BUILD_BUILD_DIR", &directory)
        .env("DEBARK_AGENT_TARGET", target)
        .status()?;
    if !status.success() {
        return Err(format!("building the agent and the gate ended with {status}").into());
    }
    Ok(programs)
}

/// Compresses a program; yields its digest and length, so that no run has to work them out.
fn pack(binary: &Path, packed: &Path) -> Result<(String, usize), Box<dyn Error>> {
    let bytes = fs::read(binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    fs::write(packed, package::pack(&bytes, package::Press::Tight)?)?;
    let digest = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((digest, bytes.len()))
}
