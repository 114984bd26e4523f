//! Just enough of Markdown: fenced blocks, tables, code spans, headings, links.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A Markdown file.
pub struct Document {
    pub path: PathBuf,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    pub language: String,
    /// The rest of the fence's line, after the language.
    pub info: String,
    pub text: String,
    /// The file and the line of the fence, for messages.
    pub place: String,
}

impl Document {
    /// A file of the repository.
    pub fn read(path: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text }
    }

    /// Every Markdown file of the repository, except those of installed packages.
    pub fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                    folders.push(path);
                } else if name.ends_with(".md") {
                    found.push(Self::read(path.strip_prefix(root).unwrap().to_str().unwrap()));
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// The fenced blocks in one of these languages, see [`Document::blocks_of_any`].
    pub fn blocks(&self, languages: &[&str]) -> Vec<Block> {
        let mut blocks = self.blocks_of_any();
        blocks.retain(|block| languages.contains(&block.language.as_str()));
        blocks
    }

    /// All fenced blocks, without the indentation of the fence.
    pub fn blocks_of_any(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(fence) = line.trim_start().strip_prefix("```") else { continue };
            let (language, info) = fence.split_once(' ').unwrap_or((fence, ""));
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim_start().starts_with("```"));
            let text = inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
            let place = format!("{}:{}", self.path.display(), number + 1);
            blocks.push(Block { language: language.to_owned(), info: info.to_owned(), text, place });
        }
        blocks
    }

    /// The text without fenced blocks.
    pub fn prose(&self) -> String {
        let outside = self.text.split("```").step_by(2);
        outside.collect()
    }

    /// The rows of the one table whose first column has this title.
    pub fn table(&self, title: &str) -> Vec<Vec<String>> {
        let tables = self.tables(title);
        assert_eq!(tables.len(), 1, "tables that begin with {title:?} in {}", self.path.display());
        tables.concat()
    }

    /// The rows of each table whose first column has this title.
    pub fn tables(&self, title: &str) -> Vec<Vec<Vec<String>>> {
        let prose = self.prose();
        let mut tables = Vec::new();
        let mut lines = prose.lines().map(cells);
        while let Some(head) = lines.next() {
            if head.first().is_none_or(|cell| cell != title) {
                continue;
            }
            let rows: Vec<Vec<String>> = lines.by_ref().skip(1).take_while(|cells| !cells.is_empty()).collect();
            assert!(!rows.is_empty(), "a table {title:?} is empty");
            let first: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
            assert_eq!(first.len(), rows.len(), "a table {title:?} has a row twice");
            tables.push(rows);
        }
        tables
    }

    /// The targets of all links.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
        targets.collect()
    }

    /// The anchors of all headings.
    pub fn anchors(&self) -> Vec<String> {
        let prose = self.prose();
        prose.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
    }
}

/// The texts between backticks.
pub fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The words of a shell command line, a list for each simple command. Expands nothing, and omits variable assignments.
pub fn shell_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut quote = None;
    for c in line.chars().chain([';']) {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, ' ' | '|' | '&' | ';') => {
                words.extend(word.take());
                if c != ' ' && !words.is_empty() {
                    commands.push(std::mem::take(&mut words));
                }
            }
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    let is_setting =
        |word: &String| word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains('-'));
    for words in &mut commands {
        let settings = words.iter().take_while(|word| is_setting(word)).count();
        words.drain(..settings);
    }
    commands
}

/// The cells of a line of a table; empty for any other line.
fn cells(line: &str) -> Vec<String> {
    let Some(row) = line.trim().strip_prefix('|') else { return Vec::new() };
    let row = row.strip_suffix('|').unwrap_or(row).replace("\\|", "\u{0}");
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// The anchor of a heading, as GitHub makes it: lower case, hyphens for blanks, no punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn markdown_is_read_as_it_is_shown() {
    let text =
        "# A `b`: c-d\n[x](y#z)\n   ```sh\n   | T |\n     $ a\n   ```\n| T | U |\n|-|-|\n| `a \\| b` | c |\n\n| V |\n";
    let document = Document { path: PathBuf::new(), text: text.to_owned() };
    assert_eq!(document.anchors(), ["a-b-c-d"]);
    assert_eq!(document.links(), ["y#z"]);
    assert_eq!(document.blocks(&["sh"])[0].text, "| T |\n  $ a\n");
    assert!(document.blocks(&["yaml"]).is_empty());
    assert_eq!(document.table("T"), [["`a | b`", "c"]]);
    assert_eq!(spans("`a | b` or `c`"), ["a | b", "c"]);
}

#[test]
fn shell_commands_are_taken_apart() {
    let commands = shell_commands("printf 'a | b' | S=x T=\"y z\" hooklatch sign --body=f & export A=b");
    assert_eq!(commands, [vec!["printf", "a | b"], vec!["hooklatch", "sign", "--body=f"], vec!["export", "A=b"]]);
}
