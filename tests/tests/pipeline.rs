//! The pipeline that releases debark: its steps are calls that exist, and they do on a lab what they do in CI.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "pipeline/generated.rs"]
mod generated;

use std::fs;
use std::process::Command;

use debark_e2e::{Ended, Releases, debark_program, lab, workspace};

/// Every command of the configuration is a script of this tree, or sets Rust up.
#[test]
fn steps_are_calls_that_exist() {
    let text = fs::read_to_string(workspace().join(".circleci/config.yml")).unwrap();
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("command: "))
        .map(|(_, rest)| rest.trim_end_matches('}'))
        .collect();
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let script = command.split_whitespace().find(|word| word.starts_with("scripts/"));
        let known = script.map_or(
            command == "|"
                || command.starts_with("cargo install")
                || command.starts_with("templates/init/ci "),
            |script| workspace().join(script.trim_end_matches(',')).is_file(),
        );
        assert!(known, "{command}");
    }
}

/// Built, published, deployed, promoted: by the script that CI calls.
#[test]
fn the_steps_release_a_package() {
    let lab = lab("pipeline", 2, &[]);
    let project = Releases::new(&lab, "");
    let file = project.dir.join("debark.yml");
    let text = fs::read_to_string(&file).unwrap();
    // The same program that is tested is what the package holds.
    fs::copy(debark_program(), project.dir.join("debark")).unwrap();
    let text = text.replace("  shop:\n", "  debark:\n").replace("prod:", "production:").replace(
        "        - {src: release,",
        "        - {src: debark, dst: /usr/bin/debark, mode: \"0755\"}\n        - {src: release,",
    );
    fs::write(
        &file,
        text.replace("architecture: all", "architecture: amd64")
            .replace("test:", "version: 1.0.0\n    test:"),
    )
    .unwrap();
    project.commit("1.0.0", true);
    for environment in ["staging", "production"] {
        let _ = project.debark("alice", &["enroll", "--env", environment]).ends(0);
    }
    let step = |args: &[&str]| {
        let mut command = lab.controller_command(workspace().join("scripts/release"));
        command
            .args(args)
            .env("HOME", &project.home)
            .env("DEBARK", debark_program())
            .env("DEBARK_PROJECT", &file);
        command.env("DEBARK_KEY", project.key("alice")).env("DEBARK_BUILD_KEY", project.build_key());
        command
            .env("DEBARK_OUTPUT", project.dir.join("out"))
            .env("CIRCLE_BUILD_URL", "https://ci.example.org/7");
        Ended::of(&command.output().unwrap())
    };
    let _ = step(&["build"]).ends(0);
    let _ = step(&["publish"]).ends(0);
    let _ = step(&["deploy", "staging"]).ends(0).says("debark 1.0.0 is live in staging");
    let _ = step(&["promote", "staging", "production"]).ends(0).says("debark 1.0.0 is live in production");
    let version = project.on("h2", "/usr/bin/debark --version").ends(0).out;
    let own = Command::new(debark_program()).arg("--version").output().unwrap();
    assert_eq!(version, String::from_utf8_lossy(&own.stdout));
    let history = project.debark("alice", &["history", "--env", "production"]).ends(0);
    let _ = history.says("https://ci.example.org/7");
    assert_eq!(step(&["nonsense"]).code, 1);
}

/// The pipelines that `debark init` writes, run as they are written: each job on a machine of its own, which has nothing but a fresh
/// clone and the service's secrets; artifact store and ledger are what they share.
#[test]
fn generated_pipelines_release_a_package() {
    let lab = lab("generated", 2, &[]);
    let team = generated::Team::new(&lab);
    for (number, service) in ["circleci", "github", "gitlab"].into_iter().enumerate() {
        let version = format!("1.{number}.0");
        team.tag(&version);
        for job in team.jobs(service) {
            let end = job.run(&team, &version);
            let _ = end.ends(0);
        }
        for host in ["h1", "h2"] {
            let found =
                lab.host(host).unwrap().exec(&["dpkg-query", "-W", "-f", "${Version}", "hello"]).unwrap();
            assert_eq!(String::from_utf8_lossy(&found.stdout), version, "{service}");
        }
    }
    team.without_a_store("1.2.0");
}
