//! `batch file FILE`: commands from a file, one a line, as bpftool reads them: `#` comments, lines
//! continued with a backslash, words in quotes.

use crate::failure::{Failure, Result, without_number};
use crate::session::Session;
use crate::words::{Words, text};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;

/// Longest command, as in bpftool; so that a file without line ends cannot fill the memory.
const LONGEST: usize = 65536;

/// Runs the file's commands until one fails.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    if words.len() < 2 {
        return Err(Failure::new("too few parameters for batch"));
    }
    if !words.take_keyword("file") {
        let got = words.peek().map(text).unwrap_or_default();
        return Err(Failure::new(format!("expected 'file', got: {got}")));
    }
    if words.len() > 1 {
        return Err(Failure::new("too many parameters for batch"));
    }
    let Some(file) = words.take() else { return Ok(()) };
    let mut input: Box<dyn BufRead> = if file == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file_error = |error: std::io::Error| {
            Failure::new(format!("Can't open file ({}): {}", text(file), without_number(&error)))
        };
        Box::new(BufReader::new(std::fs::File::open(file).map_err(file_error)?))
    };
    if session.out.is_json() {
        session.out.json().array()?;
    }
    let mut commands = 0u64;
    while let Some(line) = next_command(&mut input, commands)? {
        let words = split(&line).map_err(|rule| Failure::new(format!("{rule} {commands}")))?;
        if words.is_empty() {
            continue;
        }
        if session.out.is_json() {
            let json = session.out.json();
            json.object()?;
            json.name("command")?;
            json.array()?;
            for word in &words {
                json.string(&text(word))?;
            }
            json.end()?;
            json.name("output")?;
        }
        session.select(&mut Words::new(&words), false)?;
        if session.out.is_json() {
            session.out.json().end()?;
        }
        commands += 1;
    }
    if session.out.is_json() {
        return Ok(session.out.json().end()?);
    }
    Ok(session.out.text(&format!("processed {commands} commands\n"))?)
}

/// One command: a line and its continuations, without comment; `None` at the end.
fn next_command(input: &mut dyn BufRead, number: u64) -> Result<Option<Vec<u8>>> {
    let mut command = Vec::new();
    loop {
        let room = LONGEST.saturating_sub(command.len()) as u64;
        let mut line = Vec::new();
        Read::take(&mut *input, room).read_until(b'\n', &mut line).map_err(|error| {
            Failure::new(format!("reading batch file failed: {}", without_number(&error)))
        })?;
        if line.len() as u64 == room && line.last() != Some(&b'\n') {
            return Err(Failure::new(format!(
                "command {number} is too long: {LONGEST} bytes at most"
            )));
        }
        if line.is_empty() {
            if command.is_empty() {
                return Ok(None);
            }
            return Err(Failure::new(format!("missing continuation line on command {number}")));
        }
        let continued = line.ends_with(b"\\\n");
        line.truncate(line.len() - if continued { 2 } else { usize::from(line.ends_with(b"\n")) });
        let comment = comment(&line);
        command.extend_from_slice(&line[..comment.unwrap_or(line.len())]);
        // A comment hides the backslash at its end.
        if !continued || comment.is_some() {
            return Ok(Some(command));
        }
        // A continuation of nothing must not look like the end of the file.
        command.push(b' ');
    }
}

/// Where a comment starts: at a `#` outside quotes.
fn comment(line: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut at_start = true;
    line.iter().position(|byte| {
        match (quote, byte) {
            // As in split(): a quote within a word is a letter like any other.
            (None, b'\'' | b'"') if at_start => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
        at_start = blank(byte);
        quote.is_none() && *byte == b'#'
    })
}

fn blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The words of a command; a word that begins with a quote ends with it.
fn split(line: &[u8]) -> std::result::Result<Vec<OsString>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len());
        rest = &rest[start..];
        let Some(first) = rest.first() else { return Ok(words) };
        let (word, after) = if matches!(first, b'\'' | b'"') {
            let end = rest[1..]
                .iter()
                .position(|byte| byte == first)
                .ok_or("unterminated quoted string in command")?;
            (&rest[1..=end], end + 2)
        } else {
            let end = rest.iter().position(blank).unwrap_or(rest.len());
            (&rest[..end], end)
        };
        // execve cannot carry a NUL in a word, and no file name has one.
        if word.contains(&0) {
            return Err("a NUL byte in command");
        }
        words.push(OsString::from_vec(word.to_vec()));
        rest = &rest[after..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commands(file: &[u8]) -> std::result::Result<Vec<Vec<OsString>>, String> {
        let mut input = file;
        let mut found = Vec::new();
        loop {
            match next_command(&mut input, found.len() as u64) {
                Ok(Some(line)) => found.push(split(&line).map_err(str::to_owned)?),
                Ok(None) => return Ok(found),
                Err(Failure::Message { text, .. }) => return Err(text),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn lines_become_words() {
        let file = b"map show # all\n\n# nothing\nmap \\\n dump 'a b'\nlast \"#x\" y";
        let found = commands(file).unwrap();
        assert_eq!(
            found,
            [
                vec!["map", "show"],
                vec![],
                vec![],
                vec!["map", "dump", "a b"],
                vec!["last", "#x", "y"]
            ]
        );
        assert_eq!(commands(b"map \\\n").unwrap_err(), "missing continuation line on command 0");
        assert_eq!(commands(b"'open\n").unwrap_err(), "unterminated quoted string in command");
        assert!(commands(&vec![b'a'; LONGEST + 1]).unwrap_err().contains("too long"));
        assert_eq!(commands(b"").unwrap().len(), 0);
    }

    proptest! {
        #[test]
        fn no_file_panics(file: Vec<u8>) {
            let _ = commands(&file);
        }

        #[test]
        fn no_likely_file_panics(file in "[a-c '\"#\\\\\n\t]{0,60}") {
            let _ = commands(file.as_bytes());
        }
    }
}
