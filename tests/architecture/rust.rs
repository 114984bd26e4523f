//! Just enough of Rust's syntax to see what a source names: comments and strings taken off, `use` trees expanded.

/// The code without comments and the contents of strings and characters; as many lines as before.
pub fn clean(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if next == '"' {
            string(rest, 0)
        } else if next == 'r' && !code.ends_with(|before: char| before.is_alphanumeric() && before != 'b') {
            raw_string(rest)
        } else if next == '\'' {
            character(rest)
        } else {
            0
        };
        if length == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..length].chars().filter(|c| *c == '\n'));
            rest = &rest[length..];
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let Some(next) = text[at..].find(['/', '*']) else { return text.len() };
        at += next;
        let step = &text[at..];
        depth += i32::from(step.starts_with("/*")) - i32::from(step.starts_with("*/"));
        at += if step.starts_with("/*") || step.starts_with("*/") { 2 } else { 1 };
        if depth == 0 {
            return at;
        }
    }
}

/// The length of a string that begins here and ends in a quote and so many hashes; no escapes if there are hashes.
fn string(text: &str, hashes: usize) -> usize {
    let mut escaped = false;
    let end = format!("\"{}", "#".repeat(hashes));
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if hashes == 0 => escaped = true,
            '"' if text[at..].starts_with(&end) => return at + end.len(),
            _ => {}
        }
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let body = &text[1 + hashes..];
    match (body.starts_with('"'), hashes) {
        (false, _) => 0,
        (true, 0) => 2 + body[1..].find('"').map_or(body.len() - 1, |at| at + 1),
        (true, _) => 1 + hashes + string(body, hashes),
    }
}

/// The length of a character; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            text[after..].find('\'').map_or(0, |end| after + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Cleaned code without the items that are compiled for tests only.
pub fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some((before, item)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        let mut depth = 0;
        let end = item.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0 && matches!(c, ';' | '}')
        });
        rest = end.map_or("", |(at, _)| &item[at + 1..]);
    }
    kept + rest
}

/// Words, `::` and single signs.
pub fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(next) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match next {
            _ if is_word(next) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => next.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Cleaned code without its `pub use` items, and those items alone.
pub fn split_reexports(code: &str) -> (String, String) {
    let (mut kept, mut taken, mut rest) = (String::new(), String::new(), code);
    while let Some((before, item)) = rest.split_once("pub") {
        kept.push_str(before);
        let visible = item.trim_start();
        let visible =
            visible.strip_prefix('(').and_then(|inner| inner.split_once(')')).map_or(visible, |(_, after)| after);
        match visible.trim_start().strip_prefix("use ").and_then(|tree| tree.split_once(';')) {
            Some((tree, after)) => {
                taken.push_str(&format!("use {tree};\n"));
                rest = after;
            }
            None => {
                kept.push_str("pub");
                rest = item;
            }
        }
    }
    (kept + rest, taken)
}

/// Every path of two or more words in the code, and each leaf of each `use`.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        // Not what a type captures, as in `use<'a>`.
        if tokens[at] == "use" && tokens.get(at + 1) != Some(&"<") {
            at = use_tree(&tokens, at + 1, &[], &mut found);
        } else if tokens.get(at + 1) == Some(&"::") && tokens[at].starts_with(|c: char| c.is_alphabetic() || c == '_') {
            let mut path = vec![tokens[at].to_owned()];
            while tokens.get(at + 1) == Some(&"::") && tokens.get(at + 2).is_some() {
                path.push(tokens[at + 2].to_owned());
                at += 2;
            }
            found.push(path);
        }
        at += 1;
    }
    found
}

/// Reads one branch of a `use`; returns where what follows it stands.
fn use_tree(tokens: &[&str], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).copied() {
            Some("::") => at += 1,
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| *token != "}") {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some("as") => at += 2,
            Some("self") if !path.is_empty() => at += 1,
            None | Some(";" | "," | "}") => {
                found.push(path);
                return at;
            }
            Some(word) => {
                path.push(word.to_owned());
                at += 1;
            }
        }
    }
}

/// A path from the crate's root; `None` for one of another crate, or of this module's own.
pub fn resolve(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => Some([&module[..module.len().checked_sub(supers)?], &path[supers..]].concat()),
        _ => None,
    }
}

pub fn begins(path: &[String], with: &str) -> bool {
    let with: Vec<&str> = with.split("::").collect();
    path.len() >= with.len() && path.iter().zip(with).all(|(a, b)| a == b)
}
