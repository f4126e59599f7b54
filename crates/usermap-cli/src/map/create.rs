//! create: a map under a file name, by its specification in words.

use crate::failure::{Failure, Result};
use crate::session::Session;
use crate::target::resolve;
use crate::words::{Words, number, text};
use std::borrow::Cow;
use usermap::abi::map_flags;
use usermap::{Error, Map, MapType, Spec};

/// The longest name; bpftool cuts longer ones, and so do we.
const NAME_LENGTH: usize = 15;

/// `create`.
pub fn run(session: &mut Session, words: &mut Words<'_>) -> Result {
    let found = words.len();
    let file = match words.take() {
        Some(file) if found >= 7 => file,
        _ => {
            return Err(Failure::new(format!(
                "'create' needs at least 7 arguments, {found} found"
            )));
        }
    };
    let given = parse(words)?;
    let Some(name) = given.name.as_deref() else {
        return Err(Failure::new("map name not specified"));
    };
    let name = match name.char_indices().find(|(at, c)| at + c.len_utf8() > NAME_LENGTH) {
        Some((end, _)) => {
            session
                .complain(&format!("Warning: the name {name} is cut to {NAME_LENGTH} bytes\n"))?;
            &name[..end]
        }
        None => name,
    };
    let Some(kind) = given.kind else { return Err(Failure::new("map type not specified")) };
    let failed = |error: Error| Failure::refused("map create failed", &error, "");
    let mut spec = Spec::new(
        kind,
        given.key.unwrap_or(0),
        given.value.unwrap_or(0),
        given.entries.unwrap_or(0),
    )
    .flags(given.flags.unwrap_or(0))
    .cpus(given.cpus.unwrap_or(0))
    .name(name)
    .map_err(|error| Failure::refused("map create failed", &error, &format!("name '{name}'")))?;
    spec.numa_node = given.numa_node.unwrap_or(0);
    spec.map_extra = given.map_extra.unwrap_or(0);
    spec.huge_pages = given.huge_pages.unwrap_or(false);
    spec.validate().map_err(failed)?;
    let path = resolve(file)?;
    Map::create_pinned(&path, &spec).map_err(|error| match error {
        Error::Io { .. } => {
            Failure::operation(&format!("can't pin the object ({})", path.display()), &error)
        }
        other => failed(other),
    })?;
    Ok(session.out.done()?)
}

/// What the words said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given<'a> {
    kind: Option<MapType>,
    name: Option<Cow<'a, str>>,
    key: Option<u32>,
    value: Option<u32>,
    entries: Option<u32>,
    flags: Option<u32>,
    cpus: Option<u32>,
    numa_node: Option<u32>,
    map_extra: Option<u64>,
    huge_pages: Option<bool>,
}

fn parse<'a>(words: &mut Words<'a>) -> Result<Given<'a>> {
    let mut given = Given::default();
    while let Some(word) = words.take() {
        let mut rest = words.clone();
        let Some(operand) = words.take() else {
            return Err(Failure::new(format!(
                "'{}' needs at least 2 arguments, 1 found",
                text(word)
            )));
        };
        let shown = text(operand);
        let is = |keyword: &str| crate::words::is_prefix(word, keyword);
        if is("type") {
            if given.kind.is_some() {
                return Err(Failure::new("map type already specified"));
            }
            let kind = MapType::from_name(&shown);
            given.kind = Some(kind.ok_or_else(|| {
                Failure::new(format!("unrecognized map type: {shown}{}", kinds()))
            })?);
        } else if is("name") {
            // The last one counts, as in bpftool.
            given.name = Some(shown);
        } else if is("key") {
            number_once(&mut given.key, &mut rest, "key size")?;
        } else if is("value") {
            number_once(&mut given.value, &mut rest, "value size")?;
        } else if is("entries") {
            number_once(&mut given.entries, &mut rest, "max entries")?;
        } else if is("flags") {
            match flag_names(&shown) {
                Some(flags) if given.flags.is_none() => given.flags = Some(flags),
                _ => number_once(&mut given.flags, &mut rest, "flags")?,
            }
        } else if is("cpus") {
            number_once(&mut given.cpus, &mut rest, "cpus")?;
        } else if is("numa_node") {
            number_once(&mut given.numa_node, &mut rest, "numa_node")?;
        } else if is("map_extra") {
            number_once(&mut given.map_extra, &mut rest, "map_extra")?;
        } else if is("pages") {
            given.huge_pages = Some(match &*shown {
                _ if given.huge_pages.is_some() => {
                    return Err(Failure::new("pages already specified"));
                }
                "4K" | "4k" => false,
                "2M" | "2m" => true,
                _ => return Err(Failure::new(format!("pages have 4K or 2M, not {shown}"))),
            });
        } else if is("dev") || is("inner_map") {
            return Err(Failure::new(format!("'{}' is not supported", text(word))));
        } else {
            return Err(Failure::new(format!("unknown arg {}", text(word))));
        }
    }
    Ok(given)
}

/// Reads a number that may be given once.
fn number_once<N: TryFrom<u64>>(into: &mut Option<N>, words: &mut Words<'_>, what: &str) -> Result {
    if into.is_some() {
        return Err(Failure::new(format!("{what} already specified")));
    }
    let shown = words.take().map(text).unwrap_or_default();
    let parsed = number(&shown, 0).and_then(|n| N::try_from(n).ok());
    *into = Some(parsed.ok_or_else(|| Failure::new(format!("can't parse {shown} as {what}")))?);
    Ok(())
}

const FLAGS: [(&str, u32); 8] = [
    ("no_prealloc", map_flags::NO_PREALLOC),
    ("numa_node", map_flags::NUMA_NODE),
    ("rdonly", map_flags::RDONLY),
    ("wronly", map_flags::WRONLY),
    ("zero_seed", map_flags::ZERO_SEED),
    ("rdonly_prog", map_flags::RDONLY_PROG),
    ("wronly_prog", map_flags::WRONLY_PROG),
    ("mmapable", map_flags::MMAPABLE),
];

/// Flags by their names, with commas between; `None` if any is no name.
fn flag_names(text: &str) -> Option<u32> {
    text.split(',').try_fold(0, |flags, name| {
        let (_, flag) = FLAGS.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
        Some(flags | flag)
    })
}

fn kinds() -> String {
    let names: Vec<&str> = MapType::ALL.into_iter().map(MapType::name).collect();
    format!(" (there are {})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;

    fn with_words<R>(line: &str, f: impl FnOnce(Result<Given<'_>>) -> R) -> R {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        f(parse(&mut Words::new(&words)))
    }

    fn error(line: &str) -> String {
        with_words(line, |result| match result {
            Err(Failure::Message { text, .. }) => text,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn words_become_a_specification() {
        with_words(
            "ty hash k 4 value 0x8 ent 16 name x name y fl no_prealloc,zero_seed",
            |given| {
                let given = given.unwrap();
                assert_eq!(given.kind, Some(MapType::Hash));
                assert_eq!((given.key, given.value, given.entries), (Some(4), Some(8), Some(16)));
                assert_eq!((given.name.as_deref(), given.flags), (Some("y"), Some(0x41)));
            },
        );
        with_words("cpus 2 flags 0x400", |given| {
            let given = given.unwrap();
            assert_eq!((given.cpus, given.flags), (Some(2), Some(0x400)));
        });
        with_words("pages 2M", |given| assert_eq!(given.unwrap().huge_pages, Some(true)));
    }

    #[test]
    fn refusals_are_bpftools() {
        assert!(error("type bogus").starts_with("unrecognized map type: bogus"));
        assert_eq!(error("key abc"), "can't parse abc as key size");
        assert_eq!(error("key 4294967296"), "can't parse 4294967296 as key size");
        assert_eq!(error("key 4 key 4"), "key size already specified");
        assert_eq!(error("type hash type hash"), "map type already specified");
        assert_eq!(error("foo 4"), "unknown arg foo");
        assert_eq!(error("flags nonsense"), "can't parse nonsense as flags");
        assert_eq!(error("pages 1G"), "pages have 4K or 2M, not 1G");
        assert_eq!(error("pages 4K pages 2M"), "pages already specified");
        assert_eq!(error("key"), "'key' needs at least 2 arguments, 1 found");
    }

    proptest! {
        #[test]
        fn no_words_panic(line in "((type|key|value|entries|name|flags|cpus) ?[0-9a-z,]{0,6} ?){0,8}") {
            with_words(&line, |result| drop(result));
        }
    }
}
