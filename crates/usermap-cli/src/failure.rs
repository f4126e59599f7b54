//! Why a command ends without success, and the exit code and message that bpftool gives then.
//!
//! bpftool hands the result of the failed call to `exit()`: a map operation that gives ENOENT ends
//! with 254 (-2), everything that it refuses by itself with 255 (-1).

use std::io;

/// The exit code of everything that is no failed map operation.
pub const REFUSED: u8 = 255;

/// The exit code of a process that dies of SIGPIPE, as shells report it.
pub const BROKEN_PIPE: u8 = 141;

/// Why a command ends without success.
#[derive(Debug)]
pub enum Failure {
    /// `Error: TEXT`, or `{"error":"TEXT"}`.
    Message {
        /// What is said.
        text: String,
        /// The exit code.
        code: u8,
        /// Whether the JSON is complete already, so that the text can only go to stderr.
        aside: bool,
    },
    /// The answer is printed already (`Not found`).
    Answered(u8),
    /// Like a message, with the usage of a map command below it (of the whole if there is none).
    Usage(String, &'static str),
    /// The output could not be written.
    Write(io::Error),
}

/// `Result` with [`Failure`].
pub type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// A refusal of usermap's own: exit code 255.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure::Message { text: text.into(), code: REFUSED, aside: false }
    }

    /// A failed map operation: bpftool's text, errno's text, then which map and which rule.
    pub fn operation(doing: &str, error: &usermap::Error) -> Failure {
        Failure::Message { text: explain(doing, error, ""), code: code(error), aside: false }
    }

    /// The same, with the offending operand.
    pub fn on(doing: &str, error: &usermap::Error, what: &str) -> Failure {
        Failure::Message { text: explain(doing, error, what), code: code(error), aside: false }
    }

    /// The same with exit code 255, as bpftool does where it opens and creates.
    pub fn refused(doing: &str, error: &usermap::Error, what: &str) -> Failure {
        Failure::new(explain(doing, error, what))
    }

    /// To be said on stderr, because the JSON is complete.
    pub fn aside(self) -> Failure {
        match self {
            Failure::Message { text, code, .. } => Failure::Message { text, code, aside: true },
            other => other,
        }
    }

    /// With the map's name, for refusals of what was said of it.
    pub fn of_map(self, map: &str) -> Failure {
        match self {
            Failure::Message { text, code, aside } => {
                Failure::Message { text: format!("{text} (map {map})"), code, aside }
            }
            other => other,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Write(error)
    }
}

/// What `exit(-errno)` leaves: the low eight bits.
pub fn code(error: &usermap::Error) -> u8 {
    match error.errno().wrapping_neg() as u8 {
        // A multiple of 256 must not look like success.
        0 => REFUSED,
        code => code,
    }
}

/// `strerror(errno)`.
pub fn strerror(errno: i32) -> String {
    without_number(&io::Error::from_raw_os_error(errno))
}

/// An I/O error's text without ` (os error 2)`.
pub fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn explain(doing: &str, error: &usermap::Error, what: &str) -> String {
    let detail = match error {
        // errno's text is there already.
        usermap::Error::Io { doing: step, path, .. } => {
            let path = path.display().to_string();
            // So may be the path, where it is what was opened or created.
            if doing.contains(&path) { (*step).to_owned() } else { format!("{path}: {step}") }
        }
        other => other.to_string(),
    };
    let what = if what.is_empty() { String::new() } else { format!("; {what}") };
    format!("{doing}: {} ({detail}{what})", strerror(error.errno()))
}

/// Text that is safe on a terminal: file names and regions can hold control characters.
pub fn clean(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control() && c != '\n';
            let plain = (!escaped).then_some(c);
            escaped.then(|| c.escape_default()).into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use usermap::{Error, Name, Reason};

    fn operation(reason: Reason) -> Error {
        Error::Operation { map: Name::new("flows").unwrap(), operation: "update", reason }
    }

    #[test]
    fn codes_are_bpftools() {
        assert_eq!(code(&operation(Reason::NotFound)), 254);
        assert_eq!(code(&operation(Reason::Exists)), 239);
        assert_eq!(code(&operation(Reason::Frozen)), 255);
        let kind = usermap::MapType::Queue;
        assert_eq!(code(&operation(Reason::Unsupported { kind, errno: 524 })), 244);
        assert_eq!(code(&operation(Reason::Unsupported { kind, errno: 256 })), 255);
    }

    #[test]
    fn messages_start_as_bpftools() {
        let Failure::Message { text, .. } =
            Failure::on("update failed", &operation(Reason::Exists), "key 01 00")
        else {
            panic!()
        };
        assert_eq!(
            text,
            "update failed: File exists (map flows: update: the key exists; key 01 00)"
        );
        assert_eq!(strerror(524), "Unknown error 524");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(clean("a\u{1b}[31m"), "a\\u{1b}[31m");
        assert_eq!(clean("plain"), "plain");
    }
}
