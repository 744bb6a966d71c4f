//! What expressions come to by what the controller itself knows of a host: nothing in it was said by a host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use debark_expr::shape::{self, Piece, Pieces};
use debark_expr::{Engine, Scope, Services, is_template};
use debark_value::{Map, Value};

use crate::care::{Care, fits};
use crate::site::lock;

/// Variables within variables beyond this are left open.
const DEEPEST: usize = 8;
/// More readings of one text are left open.
const WAYS: usize = 64;

/// Names that decide how and as whom a host is reached: no host may set them for another.
pub(crate) fn steers(name: &str) -> bool {
    const NAMES: &[&str] =
        &["ansible_connection", "ansible_host", "ansible_port", "ansible_user", "ansible_remote_user"];
    const BEGINNINGS: &[&str] = &[
        "ansible_ssh_",
        "ansible_become",
        "ansible_sudo",
        "ansible_su_",
        "ansible_python",
        "ansible_shell",
        "ansible_pass",
    ];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// What the controller knows around one place in a play.
pub(crate) struct Trusted {
    pub(crate) scope: Scope,
    /// Everything that may hold a text which a host repeats.
    pub(crate) words: Vec<Arc<Map>>,
    pub(crate) items: Vec<Value>,
    /// Paths that the controller told this host.
    pub(crate) given: BTreeSet<String>,
    pub(crate) settable: BTreeSet<String>,
    pub(crate) any_settable: bool,
    /// Where relative paths start: role and playbook.
    pub(crate) roots: Vec<PathBuf>,
}

impl Trusted {
    /// Whether a host may have a text where the play has this one.
    pub(crate) fn allows(&self, written: &str, text: &str, care: Care, kinds: &[&str]) -> bool {
        self.fit(&shape::pieces(written), text, care, kinds)
            || self.rendered(written).is_some_and(|value| value == text)
    }

    /// The same for any value: each text within it must be one of the texts within what is written.
    pub(crate) fn allows_value(&self, written: &Value, value: &Value, care: Care) -> bool {
        if written == value {
            return true;
        }
        let mut ways = Vec::new();
        leaves(written, &mut |leaf| match leaf {
            Value::Str(text) => ways.extend(shape::pieces(text)),
            Value::Int(_) | Value::Bool(_) | Value::Float(_) => {
                ways.push(vec![Piece::Text(leaf.to_string())])
            }
            _ => {}
        });
        let mut good = true;
        leaves(value, &mut |leaf| {
            good &= match leaf {
                Value::Null | Value::Omit => true,
                Value::Str(text) => self.fit(&ways, text, care, &["files", "templates"]),
                // A number or a boolean can only come from what is open, or be written so.
                other => {
                    let text = other.to_string();
                    ways.iter().any(|way| way.iter().any(|piece| !matches!(piece, Piece::Text(_))))
                        || self.fit(&ways, &text, care, &[])
                }
            };
        });
        good || written
            .as_str()
            .and_then(|text| Engine::new(Arc::new(Recorder::default())).render_str(text, &self.scope).ok())
            .is_some_and(|rendered| rendered == *value)
    }

    /// Whether a text fits one of these readings.
    pub(crate) fn fit(&self, ways: &[Pieces], text: &str, care: Care, kinds: &[&str]) -> bool {
        let known = |word: &str| self.known(word);
        ways.iter().flat_map(|way| self.resolved(way, 0)).any(|way| {
            let open = !way.iter().any(|piece| matches!(piece, Piece::Text(text) if !text.is_empty()));
            fits(&way, text, care, &known)
                || (open && matches!(care, Care::Path | Care::Options) && self.below(text, kinds))
        })
    }

    /// Whether a text stands as it is in a variable that the controller gave, or is a path that it told.
    pub(crate) fn known(&self, word: &str) -> bool {
        self.given.contains(word)
            || self.words.iter().any(|map| map.values().any(|value| holds(value, word)))
            || self.items.iter().any(|value| holds(value, word))
    }

    /// What a text comes to here, if nothing that only the host knows is needed for it.
    fn rendered(&self, written: &str) -> Option<String> {
        if !is_template(written) {
            return None;
        }
        let rendered = Engine::new(Arc::new(Recorder::default())).render_str(written, &self.scope).ok()?;
        matches!(rendered, Value::Str(_) | Value::Int(_)).then(|| rendered.to_string())
    }

    /// Variables replaced by what they hold, as far as no host can have changed them.
    fn resolved(&self, pieces: &[Piece], depth: usize) -> Vec<Pieces> {
        let mut ways: Vec<Pieces> = vec![Vec::new()];
        for piece in pieces {
            let next = match piece {
                Piece::Path(path) => self.variable(path, depth),
                other => vec![vec![other.clone()]],
            };
            if ways.len() * next.len() > WAYS {
                return vec![vec![Piece::Unknown]];
            }
            ways = ways
                .iter()
                .flat_map(|way| next.iter().map(move |more| way.iter().chain(more).cloned().collect()))
                .collect();
        }
        ways
    }

    fn variable(&self, path: &[String], depth: usize) -> Vec<Pieces> {
        let open = || vec![vec![Piece::Unknown]];
        let Some((name, members)) = path.split_first() else { return open() };
        if depth > DEEPEST || self.any_settable || self.settable.contains(name) {
            return open();
        }
        let Some((value, _)) = self.scope.get_raw(name) else { return open() };
        let mut value = value;
        for member in members {
            match value.get(member) {
                Some(inner) => value = inner,
                None => return open(),
            }
        }
        let mut ways = Vec::new();
        leaves(value, &mut |leaf| match leaf {
            Value::Str(text) if is_template(text) => {
                for way in shape::pieces(text) {
                    ways.extend(self.resolved(&way, depth + 1));
                }
            }
            other => ways.push(vec![Piece::Text(other.to_string())]),
        });
        if ways.is_empty() || ways.len() > WAYS { open() } else { ways }
    }

    /// Whether a path leads to where a play keeps its files, for a text of which nothing is fixed.
    fn below(&self, text: &str, kinds: &[&str]) -> bool {
        let path = Path::new(text);
        let plain = path
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::RootDir));
        if !plain || text.is_empty() || text.contains('\0') {
            return false;
        }
        for root in &self.roots {
            for kind in kinds {
                let directory = root.join(kind);
                let inside = match path.strip_prefix(&directory) {
                    Ok(rest) => !rest.as_os_str().is_empty(),
                    Err(_) => path.is_relative() && directory.join(path).exists(),
                };
                if inside {
                    return true;
                }
            }
            // What is beside `files/` would be found first.
            if path.is_relative() && root.join(path).exists() {
                return false;
            }
        }
        false
    }

    /// The lookups that an expression makes when it is evaluated here.
    pub(crate) fn asks(&self, evaluate: impl FnOnce(&Engine, &Scope)) -> Vec<(String, Vec<Value>, Map)> {
        let recorder = Arc::new(Recorder::default());
        evaluate(&Engine::new(recorder.clone()), &self.scope);
        std::mem::take(&mut *lock(&recorder.0))
    }
}

/// Notes which lookups are made instead of making them.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, Vec<Value>, Map)>>);

impl Services for Recorder {
    fn lookup(&self, name: &str, args: &[Value], kwargs: &Map, _: &Scope) -> Result<Value, String> {
        lock(&self.0).push((name.to_owned(), args.to_vec(), kwargs.clone()));
        match (name, args) {
            // What is looked up within another lookup.
            ("env", [Value::Str(name)]) => Ok(std::env::var(&**name).unwrap_or_default().into()),
            _ => Err(format!("`{name}` is not asked beforehand")),
        }
    }

    fn hostvars(&self, _: &str) -> Result<Option<Value>, String> {
        Err("other hosts are not asked beforehand".into())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Err(format!("{path} is not read beforehand"))
    }
}

/// Everything in a value that is no list or dictionary.
pub(crate) fn leaves(value: &Value, found: &mut dyn FnMut(&Value)) {
    match value {
        Value::List(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Map(map) => map.values().for_each(|item| leaves(item, found)),
        other => found(other),
    }
}

fn holds(value: &Value, word: &str) -> bool {
    match value {
        Value::Str(text) => **text == *word && !is_template(text),
        Value::List(items) => items.iter().any(|item| holds(item, word)),
        Value::Map(map) => map.values().any(|item| holds(item, word)),
        _ => false,
    }
}
