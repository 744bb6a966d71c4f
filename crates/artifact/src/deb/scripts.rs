//! Maintainer scripts: the project's own, and what systemd units need (Debian Policy 6 and 9.3,
//! deb-systemd-helper(1p), deb-systemd-invoke(1p)).
//!
//! `deb-systemd-helper` keeps what an administrator enabled or disabled over upgrades; `deb-systemd-invoke` heeds
//! policy-rc.d. Both are in init-system-helpers, which is essential. A unit that does not start is no failure of the
//! installation, as everywhere in Debian: whether a release serves is for health checks to say.

use debark_project::Unit;

/// Where a script says that the units' part belongs; without it, that part comes last.
const MARKS: [&str; 2] = ["#DEBARK#", "#DEBHELPER#"];

/// The parts of a package's scripts that its units need, by script.
pub fn for_units(script: &str, units: &[Unit]) -> String {
    // A template is nothing that could run.
    let real: Vec<&Unit> = units.iter().filter(|unit| !unit.name().contains("@.")).collect();
    let mut text = String::new();
    match script {
        "postinst" => {
            for unit in real.iter().filter(|unit| unit.enable) {
                text.push_str(&ENABLE.replace("UNIT", unit.name()));
            }
            let started: Vec<&str> = real.iter().filter(|unit| unit.start).map(|unit| unit.name()).collect();
            if !started.is_empty() {
                text.push_str(&START.replace("UNITS", &quoted(&started)));
            } else if !units.is_empty() {
                text.push_str(RELOAD);
            }
        }
        "prerm" => {
            let names: Vec<&str> = real.iter().map(|unit| unit.name()).collect();
            if !names.is_empty() {
                text.push_str(&STOP.replace("UNITS", &quoted(&names)));
            }
        }
        "postrm" if !units.is_empty() => {
            let enabled: Vec<&str> = real.iter().filter(|unit| unit.enable).map(|unit| unit.name()).collect();
            text.push_str(GONE);
            if !enabled.is_empty() {
                text.push_str(&PURGE.replace("UNITS", &quoted(&enabled)));
            }
        }
        _ => {}
    }
    text
}

const ENABLE: &str = "\
case \"$1\" in
configure|abort-upgrade|abort-deconfigure|abort-remove)
    deb-systemd-helper unmask 'UNIT' >/dev/null || true
    if deb-systemd-helper --quiet was-enabled 'UNIT'; then
        deb-systemd-helper enable 'UNIT' >/dev/null || true
    else
        deb-systemd-helper update-state 'UNIT' >/dev/null || true
    fi
    ;;
esac
";
const START: &str = "\
case \"$1\" in
configure|abort-upgrade|abort-deconfigure|abort-remove)
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload >/dev/null || true
        if [ -n \"$2\" ]; then
            deb-systemd-invoke restart UNITS >/dev/null || true
        else
            deb-systemd-invoke start UNITS >/dev/null || true
        fi
    fi
    ;;
esac
";
const RELOAD: &str = "\
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi
";
const STOP: &str = "\
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then
    deb-systemd-invoke stop UNITS >/dev/null || true
fi
";
const GONE: &str = "\
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi
";
const PURGE: &str = "\
if [ \"$1\" = purge ] && command -v deb-systemd-helper >/dev/null; then
    deb-systemd-helper purge UNITS >/dev/null || true
fi
";

/// Names of units hold no quotes: the project file was checked.
fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" ")
}

/// A whole script: the project's own, if there is one, and the units' part.
///
/// # Errors
/// The project's script has no `#!`, or is for no shell and does not say where the units' part belongs.
pub fn compose(own: Option<&str>, units: &str) -> Result<Option<String>, String> {
    let Some(own) = own else {
        return Ok((!units.is_empty()).then(|| format!("#!/bin/sh\nset -e\n{units}")));
    };
    let Some(first) = own.lines().next().filter(|line| line.starts_with("#!")) else {
        return Err("it does not begin with `#!` and an interpreter".into());
    };
    let own = own.replace("\r\n", "\n");
    let mark = |line: &str| MARKS.contains(&line.trim());
    if own.lines().any(mark) {
        let lines = own.lines().map(|line| if mark(line) { units.trim_end() } else { line });
        return Ok(Some(lines.collect::<Vec<_>>().join("\n") + "\n"));
    }
    if units.is_empty() {
        return Ok(Some(own));
    }
    let shell = first.split(['/', ' ']).any(|word| matches!(word, "sh" | "bash" | "dash"));
    if !shell {
        return Err(
            "it is for no shell, and what the units need cannot be added: put that into a script of its own"
                .into(),
        );
    }
    // A script that ends with `exit 0` would never get to what stands behind it.
    let body = own.trim_end();
    Ok(Some(match body.strip_suffix("exit 0").filter(|rest| rest.ends_with('\n')) {
        Some(rest) => format!("{rest}{units}exit 0\n"),
        None => format!("{body}\n{units}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(src: &str) -> Unit {
        Unit { src: src.into(), enable: true, start: true }
    }

    #[test]
    fn scripts_are_shell_also_with_ones_own() {
        let units = [unit("x/shop.service"), unit("shop@.service")];
        for name in ["preinst", "postinst", "prerm", "postrm"] {
            let part = for_units(name, &units);
            assert_eq!(part.is_empty(), name == "preinst");
            assert!(!part.contains("@."), "{part}");
            for own in [
                None,
                Some("#!/bin/sh\nset -e\necho hi\nexit 0\n"),
                Some("#!/bin/sh\n#DEBHELPER#\necho ho\n"),
            ] {
                let Some(script) = compose(own, &part).unwrap() else { continue };
                let directory = tempfile::tempdir().unwrap();
                let file = directory.path().join("script");
                std::fs::write(&file, &script).unwrap();
                assert!(
                    std::process::Command::new("sh").arg("-n").arg(&file).status().unwrap().success(),
                    "{script}"
                );
                assert!(
                    own.is_none_or(|own| !own.contains("exit 0")) || script.ends_with("exit 0\n"),
                    "{script}"
                );
            }
        }
        assert!(compose(Some("echo"), "").is_err());
        assert!(compose(Some("#!/usr/bin/perl\n"), "x\n").is_err());
        assert_eq!(compose(Some("#!/usr/bin/perl\n"), ""), Ok(Some("#!/usr/bin/perl\n".into())));
        assert_eq!(compose(None, ""), Ok(None));
    }
}
