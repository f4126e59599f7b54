//! A JSON writer that lays its text out as bpftool does, `-p` included.

use super::plain::HEX;
use std::io::{self, Write};

/// Writes one JSON document. Whoever calls it keeps names and values in order.
pub struct Json<W: Write> {
    writer: Option<W>,
    pretty: bool,
    open: Vec<u8>,
    comma: bool,
    anything: bool,
}

impl<W: Write> Json<W> {
    /// Nothing is written yet.
    pub fn new(writer: W, pretty: bool) -> Json<W> {
        Json { writer: Some(writer), pretty, open: Vec::new(), comma: false, anything: false }
    }

    /// What it writes to.
    pub fn writer(&mut self) -> &mut W {
        self.writer.as_mut().unwrap_or_else(|| unreachable!("only taken when dropped"))
    }

    /// Leaks the writer, so that its destructor writes nothing.
    pub fn forget(&mut self) {
        std::mem::forget(self.writer.take());
    }

    fn line(&mut self) -> io::Result<()> {
        if self.pretty {
            let indent = 4 * self.open.len();
            write!(self.writer(), "\n{:indent$}", "")?;
        }
        Ok(())
    }

    /// The comma that may be due before a value.
    fn separate(&mut self) -> io::Result<()> {
        self.anything = true;
        if std::mem::replace(&mut self.comma, true) {
            self.writer().write_all(b",")?;
        }
        Ok(())
    }

    fn start(&mut self, bracket: u8, end: u8) -> io::Result<()> {
        self.separate()?;
        self.writer().write_all(&[bracket])?;
        self.open.push(end);
        self.comma = false;
        Ok(())
    }

    /// Starts an object.
    pub fn object(&mut self) -> io::Result<()> {
        self.start(b'{', b'}')
    }

    /// Starts an array.
    pub fn array(&mut self) -> io::Result<()> {
        self.start(b'[', b']')
    }

    /// Ends the innermost object or array.
    pub fn end(&mut self) -> io::Result<()> {
        let Some(end) = self.open.pop() else { return Ok(()) };
        if self.comma {
            self.line()?;
        }
        self.comma = true;
        self.writer().write_all(&[end])
    }

    /// The name of the value that comes next.
    pub fn name(&mut self, name: &str) -> io::Result<()> {
        self.separate()?;
        self.line()?;
        self.quoted(name)?;
        self.comma = false;
        let colon: &[u8] = if self.pretty { b": " } else { b":" };
        self.writer().write_all(colon)
    }

    /// A string.
    pub fn string(&mut self, text: &str) -> io::Result<()> {
        self.separate()?;
        self.quoted(text)
    }

    /// A number.
    pub fn number(&mut self, number: impl std::fmt::Display) -> io::Result<()> {
        self.separate()?;
        write!(self.writer(), "{number}")
    }

    /// `null`.
    pub fn null(&mut self) -> io::Result<()> {
        self.separate()?;
        self.writer().write_all(b"null")
    }

    /// Bytes, as bpftool shows them: `["0x01","0x02"]`.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.array()?;
        let mut text = Vec::with_capacity(bytes.len() * 7);
        for byte in bytes {
            text.extend_from_slice(if text.is_empty() { b"\"0x" } else { b",\"0x" });
            text.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            text.push(b'"');
        }
        self.comma = !bytes.is_empty();
        self.writer().write_all(&text)?;
        self.end()
    }

    /// `{"error":"..."}`, in place of the value that was to come.
    pub fn error(&mut self, text: &str) -> io::Result<()> {
        self.object()?;
        self.name("error")?;
        self.string(text)?;
        self.end()
    }

    /// Closes what is open, and ends the line.
    pub fn finish(&mut self) -> io::Result<()> {
        while !self.open.is_empty() {
            self.end()?;
        }
        self.comma = false;
        if std::mem::take(&mut self.anything) { self.writer().write_all(b"\n") } else { Ok(()) }
    }

    fn quoted(&mut self, text: &str) -> io::Result<()> {
        let mut quoted = String::with_capacity(text.len() + 2);
        quoted.push('"');
        for c in text.chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                '\r' => quoted.push_str("\\r"),
                c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        self.writer().write_all(quoted.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(pretty: bool, f: impl FnOnce(&mut Json<Vec<u8>>) -> io::Result<()>) -> String {
        let mut json = Json::new(Vec::new(), pretty);
        f(&mut json).unwrap();
        json.finish().unwrap();
        String::from_utf8(json.writer().clone()).unwrap()
    }

    fn sample(json: &mut Json<Vec<u8>>) -> io::Result<()> {
        json.array()?;
        for _ in 0..2 {
            json.object()?;
            json.name("key")?;
            json.bytes(&[1, 0xff])?;
            json.name("n")?;
            json.number(7)?;
            json.end()?;
        }
        json.end()
    }

    #[test]
    fn layout_is_bpftools() {
        assert_eq!(
            written(false, sample),
            "[{\"key\":[\"0x01\",\"0xff\"],\"n\":7},{\"key\":[\"0x01\",\"0xff\"],\"n\":7}]\n"
        );
        let entry = "{\n        \"key\": [\"0x01\",\"0xff\"\n        ],\n        \"n\": 7\n    }";
        assert_eq!(written(true, sample), format!("[{entry},{entry}\n]\n"));
        assert_eq!(written(true, |json| json.bytes(&[])), "[]\n");
        assert_eq!(written(false, |_| Ok(())), "");
    }

    #[test]
    fn what_is_open_is_closed() {
        let text = written(false, |json| {
            json.array()?;
            json.object()?;
            json.name("output")?;
            json.error("no")
        });
        assert_eq!(text, "[{\"output\":{\"error\":\"no\"}}]\n");
    }

    proptest! {
        #[test]
        fn any_text_is_valid_json(text: String, pretty: bool) {
            let written = written(pretty, |json| json.error(&text));
            let read: serde_json::Value = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read["error"].as_str(), Some(text.as_str()));
        }
    }
}
