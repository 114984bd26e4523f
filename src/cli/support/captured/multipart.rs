//! The fields of `curl -F`, as curl writes them in `multipart/form-data` (RFC 7578).
//!
//! Only the boundary is another one: curl makes it up anew each time. So a signature over the bytes cannot be judged, but one
//! that is a field of the form can.

use crate::text::plain;

/// Stands for the boundary that curl made up.
const BOUNDARY: &str = "------------------------hooklatchhooklatchhook";

/// Why the bytes are not known.
pub const LOST: &str = "curl -F makes up the boundary between the fields of a form anew each time, so the bytes that it sent \
     are not in the command: --trace keeps them";

/// The fields of a form.
#[derive(Debug, Default)]
pub struct Form(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: String,
    filename: Option<String>,
    kind: Option<String>,
    content: Vec<u8>,
}

impl Form {
    /// Adds a field whose value has no special characters (`--form-string`).
    ///
    /// # Errors
    /// There is no `=` in it.
    pub fn add_text(&mut self, field: &str) -> Result<(), String> {
        let (name, value) = parts(field)?;
        self.0.push(Field { name: name.to_owned(), filename: None, kind: None, content: value.as_bytes().to_vec() });
        Ok(())
    }

    /// Adds a field (`-F`): `name=text`, `name=@file` for a file, `name=<file` for its content; `;type=…` and `;filename=…`
    /// may follow. `open` reads a file.
    ///
    /// # Errors
    /// It has something else, or its file cannot be read.
    pub fn add(&mut self, field: &str, open: impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<(), String> {
        let (name, value) = parts(field)?;
        if value.starts_with('(') || (name.is_empty() && value == ")") {
            return Err(unknown("parts in a part"));
        }
        let mut pieces = value.split(';');
        let first = pieces.next().unwrap_or_default();
        let mut field = Field { name: name.to_owned(), filename: None, kind: None, content: Vec::new() };
        let mut text = first.to_owned();
        for piece in pieces {
            match piece.trim_start().split_once('=') {
                Some(("type", kind)) => field.kind = Some(kind.to_owned()),
                Some(("filename", name)) => field.filename = Some(unquoted(name)?.to_owned()),
                Some((option @ ("headers" | "encoder"), _)) => return Err(unknown(option)),
                // A semicolon of the text.
                _ => text = [&text, ";", piece].concat(),
            }
        }
        if let Some(path) = text.strip_prefix('@') {
            let path = unquoted(path)?;
            if path.contains(',') {
                return Err(unknown("several files in one field"));
            }
            let name = path.rsplit('/').next().unwrap_or_default();
            field.content = open(path)?;
            field.kind.get_or_insert_with(|| kind_of(name).to_owned());
            field.filename.get_or_insert_with(|| name.to_owned());
        } else if let Some(path) = text.strip_prefix('<') {
            field.content = open(unquoted(path)?)?;
        } else {
            field.content = unquoted(&text)?.as_bytes().to_vec();
        }
        self.0.push(field);
        Ok(())
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `Content-Type`; what a `-H` says of it stands before the boundary.
    pub fn content_type(own: Option<&str>) -> String {
        format!("{}; boundary={BOUNDARY}", own.unwrap_or("multipart/form-data"))
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for Field { name, filename, kind, content } in &self.0 {
            let mut head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{}\"", escaped(name));
            if let Some(filename) = filename {
                head.push_str(&format!("; filename=\"{}\"", escaped(filename)));
            }
            if let Some(kind) = kind {
                head.push_str(&format!("\r\nContent-Type: {kind}"));
            }
            body.extend([head.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat());
        }
        body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
        body
    }
}

fn parts(field: &str) -> Result<(&str, &str), String> {
    field.split_once('=').ok_or_else(|| "is a curl command with a field of a form without =".to_owned())
}

fn unknown(what: &str) -> String {
    format!(
        "is a curl command with a form that is not known here, for {}: capture the request with --trace",
        plain(what)
    )
}

/// A value without the quotes around it.
fn unquoted(value: &str) -> Result<&str, String> {
    let Some(inner) = value.strip_prefix('"') else { return Ok(value) };
    match inner.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])) {
        Some(inner) => Ok(inner),
        None => Err(unknown("quotes in a quoted value")),
    }
}

/// As WHATWG HTML has it, and curl since 7.81.
fn escaped(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// The type that curl takes a file for, by its name.
fn kind_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or_else(String::new, |(_, ending)| ending.to_ascii_lowercase());
    match ending.as_str() {
        "gif" => "image/gif",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain",
        "htm" | "html" => "text/html",
        "pdf" => "application/pdf",
        "xml" => "application/xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[&str]) -> Result<String, String> {
        let mut form = Form::default();
        for field in fields {
            form.add(field, |name| match name {
                "a/b.png" => Ok(b"PNG".to_vec()),
                _ => Err("no such file".to_owned()),
            })?;
        }
        Ok(String::from_utf8(form.body()).unwrap().replace(BOUNDARY, "B").replace("\r\n", "|"))
    }

    #[test]
    fn fields_are_written_as_curl_writes_them() {
        let part = |head: &str, content: &str| format!("--B|Content-Disposition: form-data; {head}||{content}|");
        for (field, expected) in [
            ("a=b", part("name=\"a\"", "b")),
            ("a=b;c;type=text/x", part("name=\"a\"|Content-Type: text/x", "b;c")),
            ("a=\"b\"", part("name=\"a\"", "b")),
            ("a\"=<a/b.png", part("name=\"a%22\"", "PNG")),
            ("a=@a/b.png", part("name=\"a\"; filename=\"b.png\"|Content-Type: image/png", "PNG")),
            ("a=@a/b.png;filename=c;type=x/y", part("name=\"a\"; filename=\"c\"|Content-Type: x/y", "PNG")),
        ] {
            assert_eq!(form(&[field]), Ok(format!("{expected}--B--|")), "{field}");
        }
        assert_eq!(form(&[]), Ok("--B--|".to_owned()));
        let mut text = Form::default();
        text.add_text("a=@b;type=c").unwrap();
        assert!(String::from_utf8(text.body()).unwrap().contains("\r\n\r\n@b;type=c\r\n"));
    }

    #[test]
    fn what_is_not_known_is_said() {
        for (field, why) in [
            ("a", "without ="),
            ("a=(;type=multipart/mixed", "parts in a part"),
            ("a=b;headers=\"X: y\"", "headers"),
            ("a=b;encoder=base64", "encoder"),
            ("a=@x,y", "several files"),
            ("a=@x", "no such file"),
            ("a=\"b\\\"c\"", "quotes in a quoted value"),
        ] {
            assert!(form(&[field]).is_err_and(|error| error.contains(why)), "{field}");
        }
    }
}
