//! The lookup `password`: a password that is made up once and kept in a file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;

use debark_expr::random::Dice;
use debark_value::{Map, Value};

use super::{Around, options, quiet};

const OPTIONS: &[&str] = &["length", "chars", "encrypt", "seed", "ident"];
/// More would only fill the disk.
const LONGEST: usize = 4096;
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS: &str = "0123456789";
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Hosts ask at the same time, and must all get the same.
static ONE: Mutex<()> = Mutex::new(());

pub(super) fn password(term: &str, kwargs: &Map, around: Around<'_>) -> Result<Value, String> {
    let (path, options) = options(term, kwargs, OPTIONS)?;
    if path.is_empty() {
        return Err("needs the path of a file".into());
    }
    let text = |name: &str| options.get(name).filter(|value| !value.is_null()).map(Value::to_string);
    let length = match text("length") {
        Some(length) => length.parse().ok().filter(|length| (1..=LONGEST).contains(length)),
        None => Some(20),
    };
    let length = length.ok_or_else(|| format!("`length` must be a number from 1 to {LONGEST}"))?;
    let chars = candidates(options.get("chars"));
    if chars.is_empty() {
        return Err("`chars` leaves nothing to choose from".into());
    }
    let path = around.playbook_dir.join(path);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let kept = path != Path::new("/dev/null");
    let stored = if kept { read(&path).map_err(failed)? } else { None };
    let fresh = stored.is_none();
    let content = match stored {
        Some(content) => content,
        None => generate(&chars, length, text("seed").as_deref())?,
    };
    let (password, mut salt) = match content.rsplit_once(" salt=") {
        Some((password, salt)) => {
            (password.to_owned(), Some(salt.split(" ident=").next().unwrap_or(salt).to_owned()))
        }
        None => (content.clone(), None),
    };
    let encrypt = text("encrypt").filter(|scheme| !scheme.is_empty());
    let salted = encrypt.is_some() && salt.is_none();
    if salted {
        let alphabet: Vec<char> = format!("{LOWER}{UPPER}{DIGITS}./").chars().collect();
        salt = Some(generate(&alphabet, 16, None)?);
    }
    let hash = match (&encrypt, &salt) {
        (Some(scheme), Some(salt)) => Some(hashed(&password, scheme, salt)?),
        _ => None,
    };
    if kept && (fresh || salted) {
        let line = match &salt {
            Some(salt) => format!("{password} salt={salt}\n"),
            None => format!("{password}\n"),
        };
        write(&path, &line, fresh).map_err(failed)?;
    }
    Ok(Value::from(hash.unwrap_or(password)))
}

fn candidates(chars: Option<&Value>) -> Vec<char> {
    let specs: Vec<String> = match chars {
        None | Some(Value::Null) => ["ascii_letters", "digits", ".,:-_"].map(String::from).to_vec(),
        Some(Value::List(items)) => items.iter().map(Value::to_string).collect(),
        Some(text) => {
            let text = text.to_string();
            let comma = text.contains(",,").then(|| ",".to_owned());
            let parts = text.replace(",,", ",");
            comma
                .into_iter()
                .chain(parts.split(',').filter(|part| !part.is_empty()).map(String::from))
                .collect()
        }
    };
    let mut all = String::new();
    for spec in &specs {
        match spec.as_str() {
            "ascii_letters" => all.extend([LOWER, UPPER]),
            "ascii_lowercase" => all += LOWER,
            "ascii_uppercase" => all += UPPER,
            "digits" => all += DIGITS,
            "hexdigits" => all += "0123456789abcdefABCDEF",
            "octdigits" => all += "01234567",
            "punctuation" => all += PUNCTUATION,
            "printable" => all.extend([DIGITS, LOWER, UPPER, PUNCTUATION]),
            other => all += other,
        }
    }
    // Quotes would end the strings that passwords are put into.
    all.chars().filter(|c| !matches!(c, '"' | '\'')).collect()
}

/// Random, or for a seed always the same, as with ansible-core.
fn generate(chars: &[char], length: usize, seed: Option<&str>) -> Result<String, String> {
    let count = chars.len().max(1) as u64;
    if let Some(seed) = seed {
        let mut dice = Dice::of_text(seed);
        return Ok((0..length).filter_map(|_| chars.get(dice.below(count) as usize)).collect());
    }
    let mut block = [0u8; 8];
    let mut password = String::new();
    let mut made = 0;
    while made < length {
        let got = rustix::rand::getrandom(&mut block[..], rustix::rand::GetRandomFlags::empty());
        if got.map_err(|error| format!("the system gives no random bytes: {error}"))? < block.len() {
            continue;
        }
        let number = u64::from_be_bytes(block);
        // The last, incomplete round would favour the first characters.
        if number >= u64::MAX - u64::MAX % count {
            continue;
        }
        password.extend(chars.get((number % count) as usize));
        made += 1;
    }
    Ok(password)
}

fn hashed(password: &str, scheme: &str, salt: &str) -> Result<String, String> {
    let vars = debark_value::map! { "password" => password, "scheme" => scheme, "salt" => salt };
    quiet("password | password_hash(scheme, salt)", vars).map(|hash| hash.to_string())
}

fn read(path: &Path) -> std::io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whole or not at all, and readable for nobody else at any time.
fn write(path: &Path, line: &str, fresh: bool) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_string_lossy();
    let temporary = directory.join(format!(".{name}.debark-{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
    // A link, unlike a rename, leaves alone what another run has made meanwhile.
    let placed = written
        .and_then(|()| if fresh { fs::hard_link(&temporary, path) } else { fs::rename(&temporary, path) });
    let _ = fs::remove_file(&temporary);
    placed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use debark_value::map;

    use super::*;

    #[test]
    fn made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let around = Around { playbook_dir: dir.path(), role_path: None, vault: None };
        let ask = |term: &str, kwargs: Map| password(term, &kwargs, around).map(|value| value.to_string());
        let first = ask("secret/one length=12 chars=digits", Map::new()).unwrap();
        assert!(first.len() == 12 && first.chars().all(|c| c.is_ascii_digit()), "{first}");
        assert_eq!(ask("secret/one", Map::new()).unwrap(), first);
        let path = dir.path().join("secret/one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        let hash = ask("secret/one", map! { "encrypt" => "sha256_crypt" }).unwrap();
        assert!(hash.starts_with("$5$rounds=535000$"), "{hash}");
        assert_eq!(ask("secret/one encrypt=sha256_crypt", Map::new()).unwrap(), hash);
        assert!(fs::read_to_string(&path).unwrap().starts_with(&format!("{first} salt=")));
        assert_eq!(ask("secret/one", Map::new()).unwrap(), first);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let seeded = || ask("/dev/null", map! { "seed" => "web1", "chars" => Value::list(["ab", "digits"]) });
        assert_eq!(seeded().unwrap(), seeded().unwrap());
        let seeded = map! { "seed" => "x", "chars" => Value::list(["ascii_lowercase"]), "length" => 8 };
        assert_eq!(ask("/dev/null", seeded).unwrap(), "ukttpcym");
        assert_ne!(ask("/dev/null", Map::new()).unwrap(), ask("/dev/null", Map::new()).unwrap());
        assert!(ask("x length=0", Map::new()).is_err());
        assert!(ask("x lenght=3", Map::new()).unwrap_err().contains("lenght"));
        assert!(!dir.path().join("x").exists());
    }
}
