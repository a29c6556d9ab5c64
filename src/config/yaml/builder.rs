//! From the parser's events to trees.

use std::{collections::HashMap, path::Path, rc::Rc};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{Key, Kind, Mark, Node, keep_first, scalar};
use crate::config::problem::{Problem, join_index, join_key};

/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 64;
/// The most nodes of a file, what its aliases stand for included.
const MAX_NODES: usize = 1_000_000;

/// The tree as far as it is built.
struct Builder {
    file: Rc<Path>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: Vec<Node>,
    problems: Vec<Problem>,
}

/// A list or mapping whose end has not come.
struct Open {
    mark: Mark,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, key: Option<Key> },
}

/// Parses a file's documents. Repeated keys are added to `problems`; the first of each stays.
///
/// # Errors
/// The text is no YAML, or none that a configuration may be; the problem is added and nothing else comes of the file.
pub fn parse(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Result<Vec<Node>, ()> {
    let mut builder = Builder {
        file: file.into(),
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: Vec::new(),
        problems: Vec::new(),
    };
    let built = Parser::new_from_str(text).try_for_each(|event| {
        let (event, span) = event.map_err(|error| builder.syntax(&error, text))?;
        builder.take(event, builder.mark(span.start))
    });
    problems.append(&mut builder.problems);
    built.map_err(|problem| problems.push(problem))?;
    Ok(builder.documents)
}

impl Builder {
    fn take(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Problem> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style == ScalarStyle::Plain, anchor, tag.as_deref(), mark)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Content::List(Vec::new()), anchor, tag.as_deref(), mark)
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Content::Mapping { entries: Vec::new(), key: None }, anchor, tag.as_deref(), mark)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, &mark),
            Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
            Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        plain: bool,
        anchor: usize,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Result<(), Problem> {
        self.check_tag(tag, &mark)?;
        let is_text = tag.is_some_and(|tag| tag.suffix == "str" || tag.suffix == "!");
        let text_node = Node { mark, kind: Kind::Text(text.to_owned()) };
        if let Some(Open { content: Content::Mapping { key: key @ None, .. }, .. }) = self.open.last_mut() {
            *key = Some(Key { mark: text_node.mark.clone(), name: text.to_owned() });
            self.anchors.extend((anchor > 0).then_some((anchor, text_node)));
            return Ok(());
        }
        let kind = if plain && !is_text { scalar::resolve(text) } else { text_node.kind };
        self.add(Node { mark: text_node.mark, kind }, anchor)
    }

    fn start(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Result<(), Problem> {
        self.check_tag(tag, &mark)?;
        if let Some(Open { content: Content::Mapping { key: None, .. }, .. }) = self.open.last() {
            return Err(mark.problem(&self.path(), "a key must be text; put it in quotes"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(self.too_deep(&mark));
        }
        self.open.push(Open { mark, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { mark, anchor, content }) = self.open.pop() else { return Ok(()) };
        let kind = match content {
            Content::List(items) => Kind::List(items),
            Content::Mapping { mut entries, .. } => {
                keep_first(&mut entries, &self.path(), &mut self.problems);
                Kind::Mapping(entries)
            }
        };
        self.add(Node { mark, kind }, anchor)
    }

    fn alias(&mut self, anchor: usize, mark: &Mark) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(mark.problem(&self.path(), "the alias stands within its own anchor"));
        };
        let (depth, nodes) = node.extent();
        if self.open.len() + depth > MAX_DEPTH {
            return Err(self.too_deep(mark));
        }
        if self.nodes + nodes > MAX_NODES {
            return Err(self.too_many(mark));
        }
        let node = node.clone();
        self.nodes += nodes;
        match self.open.last_mut() {
            Some(Open { content: Content::Mapping { key: key @ None, .. }, .. }) => match node.kind {
                Kind::Text(name) => *key = Some(Key { mark: mark.clone(), name }),
                _ => return Err(mark.problem(&self.path(), "a key must be text")),
            },
            _ => self.add(node, 0)?,
        }
        Ok(())
    }

    /// Adds a node where the next one belongs, which is never a key.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.too_many(&node.mark));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Mapping { entries, key }) => entries.extend(key.take().map(|key| (key, node))),
        }
        Ok(())
    }

    /// Refuses a tag of the file's own, such as `!env`: to take what it stands for as a literal could surprise.
    fn check_tag(&self, tag: Option<&Tag>, mark: &Mark) -> Result<(), Problem> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema() && tag.suffix != "!" => {
                Err(mark.problem(&self.path(), "tags such as `!name` mean nothing here"))
            }
            _ => Ok(()),
        }
    }

    fn syntax(&self, error: &ScanError, text: &str) -> Problem {
        if let Some(mark) = self.tab(error, text) {
            return mark.problem(&self.path(), "a tab can't indent in YAML; use spaces");
        }
        let message = error.info().replace(char::is_control, "?");
        self.mark(*error.marker()).problem(&self.path(), message)
    }

    /// The tab that an error is about. The parser places it behind the tab, or where the text begins that the tab ends,
    /// which may be lines above.
    fn tab(&self, error: &ScanError, text: &str) -> Option<Mark> {
        if !error.info().split(' ').any(|word| matches!(word, "tab" | "tabs")) {
            return None;
        }
        let lines = text.lines().enumerate().skip(error.marker().line().saturating_sub(1));
        lines.into_iter().find_map(|(index, line)| {
            let content = line.trim_start_matches([' ', '\t']);
            let (indent, _) = line.split_at(line.len() - content.len());
            let tab = indent.find('\t').filter(|_| !content.is_empty() && !content.starts_with('#'))?;
            Some(Mark { file: self.file.clone(), line: index + 1, column: tab + 1 })
        })
    }

    fn too_deep(&self, mark: &Mark) -> Problem {
        mark.problem(&self.path(), format!("lists and mappings stand over {MAX_DEPTH} deep in each other"))
    }

    fn too_many(&self, mark: &Mark) -> Problem {
        mark.problem(&self.path(), format!("the file has over {MAX_NODES} nodes"))
    }

    fn mark(&self, marker: Marker) -> Mark {
        Mark { file: self.file.clone(), line: marker.line(), column: marker.col() + 1 }
    }

    fn path(&self) -> String {
        self.open.iter().fold(".".to_owned(), |path, open| match &open.content {
            Content::List(items) => join_index(&path, items.len()),
            Content::Mapping { key: Some(key), .. } => join_key(&path, &key.name),
            Content::Mapping { key: None, .. } => path,
        })
    }
}
