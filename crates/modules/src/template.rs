//! `template`: a file whose text the interpreter has rendered.

use std::path::{Path, PathBuf};

use debark_value::Map;

use crate::copy::{Item, file};
use crate::file_args::{FileArgs, path_value};
use crate::mode::Mode;
use crate::param::NO_RULES;
use crate::plan::Failure;
use crate::upstream::Search;
use crate::{Host, Plan, params};

params! {
    /// Renders a template beside the playbook into a file of the host.
    pub struct Params for "ansible.builtin.template" {
        /// The template.
        src: String,
        /// Where to: a file, or a directory if it is one or ends in a slash.
        dest: PathBuf,
        /// The rendered text.
        _content: Option<String>,
        /// Keep a dated copy of what is replaced.
        backup: bool = false,
        /// Replace what differs; without it only what is missing is made.
        force: bool = true,
        /// Follow a link at the destination.
        follow: bool = false,
        /// A command that must accept the new content; `%s` is the file.
        validate: Option<String>,
        /// What ends lines: `\n`, `\r` or `\r\n`.
        newline_sequence: String = "\n".to_owned(),
        /// Drop the first newline after a block.
        trim_blocks: bool = true,
        /// Drop blanks before a block.
        lstrip_blocks: bool = false,
        /// What begins a block.
        block_start_string: Option<String>,
        /// What ends a block.
        block_end_string: Option<String>,
        /// What begins a printed expression.
        variable_start_string: Option<String>,
        /// What ends a printed expression.
        variable_end_string: Option<String>,
        /// What begins a comment.
        comment_start_string: Option<String>,
        /// What ends a comment.
        comment_end_string: Option<String>,
        /// The encoding of the file; only UTF-8 is written.
        output_encoding: String = "utf-8".to_owned(),
    }
    common file: FileArgs;
    rules NO_RULES
}

/// Compares the rendered text with the file.
///
/// # Errors
/// As copy; the text was not rendered; another encoding is wanted.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let Some(mut text) = params._content.clone() else {
        return Err(Failure::new(format!("the template {} was not rendered", params.src)));
    };
    if !["utf-8", "utf8", "ascii"].contains(&params.output_encoding.to_ascii_lowercase().as_str()) {
        return Err(Failure::new(format!(
            "templates are written as utf-8, not as {}",
            params.output_encoding
        )));
    }
    match params.newline_sequence.as_str() {
        "\n" | "\\n" => {}
        "\r\n" | "\\r\\n" => text = text.replace("\r\n", "\n").replace('\n', "\r\n"),
        "\r" | "\\r" => text = text.replace("\r\n", "\n").replace('\n', "\r"),
        other => {
            return Err(Failure::new(format!("newline_sequence must be \\n, \\r or \\r\\n, got {other:?}")));
        }
    }
    let mut item = Item::bytes(text.into_bytes());
    if params.file.mode == Some(Mode::Preserve) {
        let tree = host.upstream.find(&params.src, Search::Templates)?;
        item.mode = tree.entries.first().map_or(item.mode, |entry| entry.mode & 0o7777);
    }
    let slash = params.dest.as_os_str().to_string_lossy().ends_with('/');
    let dest = match Path::new(&params.src).file_name() {
        Some(name) if slash || params.dest.is_dir() => params.dest.join(name),
        _ => params.dest.clone(),
    };
    let mut args = Map::new();
    args.insert("dest".into(), path_value(&dest));
    args.insert("content".into(), "".into());
    let mut copy = crate::copy::Params::parse(&args)?;
    copy.force = params.force;
    copy.follow = params.follow;
    copy.backup = params.backup;
    copy.validate = params.validate;
    copy.file = params.file;
    file(host, &copy, &dest, item, true)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::map;
    use crate::plan::Action;
    use crate::upstream::NoUpstream;

    #[test]
    fn rendered_text_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(Rc::new(NoUpstream));
        let args = map! {
            "src" => "a.j2", "dest" => path_value(dir.path()), "_content" => "a\nb\n", "newline_sequence" => "\\r\\n",
        };
        let first = plan(Params::parse(&args).unwrap(), &host).unwrap();
        let Action::Change(apply) = first.action else { panic!("no change") };
        apply(&host).unwrap();
        assert_eq!(std::fs::read(dir.path().join("a.j2")).unwrap(), b"a\r\nb\r\n");
        assert!(!plan(Params::parse(&args).unwrap(), &host).unwrap().changes());
    }
}
