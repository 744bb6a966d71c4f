//! From parser events to a tree, without recursion: how deep a file nests must not decide how much stack is used.

use std::collections::HashMap;
use std::sync::Arc;

use debark_value::Value;
use granit_parser::{Event, Parser, ScalarStyle};

use super::{Decrypt, Key, Kind, MAX_ALIASED, MAX_DEPTH, Node, Parsed, Style, Tag, explain, scalar};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// A collection that is not closed yet.
enum Frame {
    Seq {
        head: Head,
        items: Vec<Node>,
    },
    Map {
        head: Head,
        entries: Vec<(Key, Node)>,
        index: HashMap<Arc<str>, usize>,
        key: Option<KeyOrMerge>,
        merges: Vec<Node>,
    },
}

#[derive(Clone, Copy)]
struct Head {
    span: Span,
    tag: Option<Tag>,
    anchor: usize,
}

enum KeyOrMerge {
    Key(Key),
    Merge,
}

struct Builder<'a> {
    text: &'a str,
    file: u32,
    vault: &'a dyn Decrypt,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    aliased: usize,
    documents: Vec<Node>,
    warnings: Vec<Diagnostic>,
}

/// A finished anchored node with its size, which bounds what its aliases add.
struct Anchored {
    node: Node,
    count: usize,
    depth: usize,
}

/// Builds the trees of all documents.
pub fn build(text: &str, file: u32, vault: &dyn Decrypt) -> Result<Parsed, Diagnostic> {
    let options = granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        emit_comments: false,
        bom_inside_document_as_content: true,
    };
    let mut builder = Builder {
        text,
        file,
        vault,
        stack: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        documents: Vec::new(),
        warnings: Vec::new(),
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| explain::scan_error(&error, text, file))?;
        let span = builder.span(&span);
        builder.event(event, span)?;
    }
    Ok(Parsed { documents: builder.documents, warnings: builder.warnings })
}

impl Builder<'_> {
    fn span(&self, span: &granit_parser::Span) -> Span {
        let clamp = |offset: Option<usize>| offset.unwrap_or(0).min(self.text.len()) as u32;
        Span {
            file: self.file,
            line: span.start.line().max(1) as u32,
            column: span.start.col() as u32 + 1,
            start: clamp(span.start.byte_offset()),
            end: clamp(span.end.byte_offset()),
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), span)?;
                self.finish(node, anchor)?;
            }
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    return Err(Diagnostic::error("an anchor cannot hold an alias to itself").at(span));
                };
                self.aliased += anchored.count;
                if self.aliased > MAX_ALIASED {
                    return Err(Diagnostic::error("aliases in this file add up to more than can be meant")
                        .at(span)
                        .hint(format!("all aliases together may add {MAX_ALIASED} nodes")));
                }
                if self.stack.len() + anchored.depth > MAX_DEPTH {
                    return Err(too_deep(span));
                }
                let node = anchored.node.clone();
                self.finish(node, 0)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                let tag = self.tag(tag.as_deref(), span)?;
                self.push(Frame::Seq { head: Head { span, tag, anchor }, items: Vec::new() }, span)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let tag = self.tag(tag.as_deref(), span)?;
                let head = Head { span, tag, anchor };
                let frame = Frame::Map {
                    head,
                    entries: Vec::new(),
                    index: HashMap::new(),
                    key: None,
                    merges: Vec::new(),
                };
                self.push(frame, span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, frame: Frame, span: Span) -> Result<(), Diagnostic> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Diagnostic> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (head, kind) = match frame {
            Frame::Seq { head, items } => (head, Kind::Seq(items)),
            Frame::Map { head, entries, index, merges, .. } => {
                let entries = if merges.is_empty() { entries } else { self.merge(entries, &index, &merges)? };
                (head, Kind::Map(entries))
            }
        };
        let span = Span { end: end.start.max(head.span.start), ..head.span };
        self.finish(Node { span, tag: head.tag, kind }, head.anchor)
    }

    /// A node is complete: it goes where the innermost open collection wants it.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Diagnostic> {
        if anchor != 0 {
            let (count, depth) = measure(&node);
            self.anchors.insert(anchor, Anchored { node: node.clone(), count, depth });
        }
        match self.stack.last_mut() {
            None => self.documents.push(node),
            Some(Frame::Seq { items, .. }) => items.push(node),
            Some(Frame::Map { entries, index, key, merges, .. }) => match key.take() {
                None => *key = Some(as_key(node, self.text)?),
                Some(KeyOrMerge::Merge) => merges.push(node),
                Some(KeyOrMerge::Key(name)) => match index.get(&name.name) {
                    Some(&at) => {
                        if let Some(slot) = entries.get_mut(at) {
                            self.warnings.push(
                                Diagnostic::warning(format!(
                                    "the key `{}` is given twice; the last one counts",
                                    name.name
                                ))
                                .at(name.span)
                                .related(slot.0.span, "first given here"),
                            );
                            *slot = (name, node);
                        }
                    }
                    None => {
                        index.insert(name.name.clone(), entries.len());
                        entries.push((name, node));
                    }
                },
            },
        }
        Ok(())
    }

    /// `<<`: what is merged comes first, what is given here wins, of several merged ones the first.
    fn merge(
        &mut self,
        own: Vec<(Key, Node)>,
        index: &HashMap<Arc<str>, usize>,
        merges: &[Node],
    ) -> Result<Vec<(Key, Node)>, Diagnostic> {
        let mut seen: HashMap<Arc<str>, ()> = HashMap::new();
        let mut entries = Vec::new();
        for merged in merges {
            let maps = match &merged.kind {
                Kind::Seq(items) => items.as_slice(),
                _ => std::slice::from_ref(merged),
            };
            for map in maps {
                let Kind::Map(pairs) = &map.kind else {
                    return Err(Diagnostic::error(format!(
                        "`<<` wants a mapping or a list of them, got {}",
                        map.describe()
                    ))
                    .at(map.span));
                };
                for (key, node) in pairs {
                    if !index.contains_key(&key.name) && seen.insert(key.name.clone(), ()).is_none() {
                        entries.push((key.clone(), node.clone()));
                    }
                }
            }
        }
        entries.extend(own);
        Ok(entries)
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&granit_parser::Tag>,
        span: Span,
    ) -> Result<Node, Diagnostic> {
        let written = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
            _ => Style::Block,
        };
        if let Some(tag) = tag
            && let Some(core) = tag.core_suffix()
        {
            let value = match core {
                "int" | "float" => scalar::number(text)
                    .ok_or_else(|| Diagnostic::error(format!("`!!{core}` wants a number")).at(span))?,
                "bool" => Value::Bool(
                    Value::from(text)
                        .to_bool()
                        .map_err(|error| Diagnostic::error(format!("`!!bool` {error}")).at(span))?,
                ),
                "null" => Value::Null,
                _ => Value::from(text),
            };
            return Ok(Node { span, tag: None, kind: Kind::Scalar(value, written) });
        }
        let mut tag = self.tag(tag, span)?;
        let value = match tag {
            Some(Tag::Vault) => match self.vault.closed(text.as_bytes()) {
                // Nobody may need it: as with Ansible, using it is the error.
                Some(why) => {
                    tag = None;
                    let why = why.replace(['\\', '\''], "`");
                    Value::from(format!("{{{{ '{why}' | {} }}}}", debark_expr::CLOSED))
                }
                None => Value::from(self.decrypt(text, span)?),
            },
            Some(Tag::Unsafe) => Value::from(text),
            None if written == Style::Plain => scalar::plain(text),
            None => Value::from(text),
        };
        Ok(Node { span, tag, kind: Kind::Scalar(value, written) })
    }

    fn decrypt(&self, text: &str, span: Span) -> Result<String, Diagnostic> {
        let plain = self
            .vault
            .decrypt(text.as_bytes())
            .map_err(|error| Diagnostic::error(error.message).at(span).maybe_hint(error.hint))?;
        String::from_utf8(plain)
            .map_err(|_| Diagnostic::error("this vault text holds something other than UTF-8 text").at(span))
    }

    fn tag(&self, tag: Option<&granit_parser::Tag>, span: Span) -> Result<Option<Tag>, Diagnostic> {
        let Some(tag) = tag else { return Ok(None) };
        match (tag.handle(), tag.suffix()) {
            ("!", "vault" | "vault-encrypted" | "age") => Ok(Some(Tag::Vault)),
            ("!", "unsafe") => Ok(Some(Tag::Unsafe)),
            // `!!binary`, `!!set`, `!!omap`, `! text`: nothing that a playbook would notice.
            ("tag:yaml.org,2002:", _) | ("" | "!", "" | "!") => Ok(None),
            (handle, suffix) => Err(Diagnostic::error(format!("there is no tag `{handle}{suffix}`"))
                .at(span)
                .hint("known tags are `!vault`, `!age` and `!unsafe`; quote a value that begins with `!`")),
        }
    }
}

fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::error(format!("collections are nested more than {MAX_DEPTH} levels deep here")).at(span)
}

fn as_key(node: Node, text: &str) -> Result<KeyOrMerge, Diagnostic> {
    let span = node.span;
    match node.kind {
        Kind::Scalar(Value::Str(name), Style::Plain) if &*name == "<<" => Ok(KeyOrMerge::Merge),
        Kind::Scalar(Value::Str(name), _) => Ok(KeyOrMerge::Key(Key { name, span })),
        Kind::Scalar(Value::Null, _) => Ok(KeyOrMerge::Key(Key { name: "None".into(), span })),
        Kind::Scalar(value, _) => Ok(KeyOrMerge::Key(Key { name: value.to_string().into(), span })),
        Kind::Seq(_) | Kind::Map(_) => Err(explain::complex_key(text, span)),
    }
}

/// How many nodes, and how deep.
fn measure(node: &Node) -> (usize, usize) {
    // Depth is bounded by MAX_DEPTH, so recursion is fine here.
    let fold = |nodes: &mut dyn Iterator<Item = &Node>| {
        let (count, depth) =
            nodes.map(measure).fold((0, 0), |(count, deepest), (c, d)| (count + c, deepest.max(d)));
        (count + 1, depth + 1)
    };
    match &node.kind {
        Kind::Scalar(..) => (1, 0),
        Kind::Seq(items) => fold(&mut items.iter()),
        Kind::Map(entries) => fold(&mut entries.iter().map(|(_, node)| node)),
    }
}
