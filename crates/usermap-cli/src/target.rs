//! MAP: which map is meant. `id N`, `name NAME` and `pinned FILE` as in bpftool, or just FILE, or
//! just the name of a file in the default folder.

use crate::failure::{Failure, Result, clean, strerror, without_number};
use crate::words::{Words, is_prefix, number, text};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use usermap::{Access, Error, Map, default_folder};

/// A map that was opened, and the file that it was opened by.
pub struct Target {
    /// The map.
    pub map: Map,
    /// Its file.
    pub path: PathBuf,
}

impl Target {
    /// The name that messages have: the map's own, or its file's.
    pub fn label(&self) -> String {
        match self.map.spec().name.as_str() {
            "" => self.path.display().to_string(),
            name => name.to_owned(),
        }
    }
}

const HANDLES: [&str; 3] = ["id", "name", "pinned"];

/// Reads MAP and opens the one map that it says. `after` are the keywords that may follow.
pub fn open(words: &mut Words<'_>, access: Access, after: &[&str]) -> Result<Target> {
    let mut found = open_all(words, access, after)?;
    match found.pop() {
        Some(only) if found.is_empty() => Ok(only),
        _ => Err(Failure::new("several maps match this handle")),
    }
}

/// Reads MAP and opens every map that it says: a name can be that of several.
pub fn open_all(words: &mut Words<'_>, access: Access, after: &[&str]) -> Result<Vec<Target>> {
    let Some(word) = words.take() else {
        return Err(Failure::new("expected a map: 'id', 'name', 'pinned', a file or a name"));
    };
    let Some(handle) = handle(word, words, after) else {
        return Ok(vec![open_file(word, access)?]);
    };
    let Some(operand) = words.take() else {
        return Err(Failure::new(format!("what is '{}'?", text(word))));
    };
    match handle {
        "id" => {
            let id = number(&text(operand), 0)
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| Failure::new(format!("can't parse {} as ID", text(operand))))?;
            let found = folder()?.maps.into_iter().find(|target| target.map.info().id == id);
            let Some(found) = found else {
                return Err(Failure::new(format!("get map by id ({id}): {}", strerror(2))));
            };
            Ok(vec![open_file(found.path.as_os_str(), access)?])
        }
        "name" => open_named(operand, access),
        _ => Ok(vec![open_file(operand, access)?]),
    }
}

/// Which of the three handles a first word is. A shortened one must be followed by an operand;
/// else it is the bare name of a map.
fn handle(word: &OsStr, rest: &Words<'_>, after: &[&str]) -> Option<&'static str> {
    let handle = HANDLES.into_iter().find(|handle| is_prefix(word, handle))?;
    let whole = word.len() == handle.len();
    (whole || !rest.is_empty() && !rest.at_keyword(after)).then_some(handle)
}

fn open_file(file: &OsStr, access: Access) -> Result<Target> {
    if file.is_empty() {
        return Err(Failure::new("the name of the map's file is empty"));
    }
    let path = resolve(file)?;
    match Map::open(&path, access) {
        Ok(map) => Ok(Target { map, path }),
        Err(error) => {
            Err(Failure::refused(&format!("bpf obj get ({})", path.display()), &error, ""))
        }
    }
}

/// The path of FILE: a bare name is in the default folder.
pub fn resolve(file: &OsStr) -> Result<PathBuf> {
    if file.as_encoded_bytes().contains(&b'/') {
        return Ok(PathBuf::from(file));
    }
    default().map(|folder| folder.join(file))
}

fn default() -> Result<PathBuf> {
    default_folder().map_err(|error| Failure::refused("default folder", &error, ""))
}

/// A file of this name in the default folder, else all maps there that have this name themselves.
fn open_named(name: &OsStr, access: Access) -> Result<Vec<Target>> {
    if name.as_encoded_bytes().contains(&b'/') || default()?.join(name).exists() {
        return Ok(vec![open_file(name, access)?]);
    }
    let named: Vec<PathBuf> = folder()?
        .maps
        .into_iter()
        .filter(|target| target.map.spec().name.as_str() == text(name) && !name.is_empty())
        .map(|target| target.path)
        .collect();
    if named.is_empty() {
        let folder = default()?;
        return Err(Failure::new(format!(
            "get map by name ({}): {} (no such file or map in {})",
            text(name),
            strerror(2),
            folder.display()
        )));
    }
    named.iter().map(|path| open_file(path.as_os_str(), access)).collect()
}

/// What a folder holds.
pub struct Listing {
    /// Its maps, open for reading, by their files' names.
    pub maps: Vec<Target>,
    /// What else is there and should not be: damaged maps, files that may not be read.
    pub troubles: Vec<String>,
}

/// The default folder's maps; none if nobody has made it yet.
pub fn folder() -> Result<Listing> {
    let folder = default()?;
    if !folder.exists() {
        return Ok(Listing { maps: Vec::new(), troubles: Vec::new() });
    }
    list(&folder)
}

/// A folder's maps.
pub fn list(folder: &Path) -> Result<Listing> {
    let unreadable = |error: std::io::Error| {
        Failure::new(format!("reading {}: {}", folder.display(), without_number(&error)))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // Maps that are being made have hidden names; folders and sockets are no maps.
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && std::fs::metadata(entry.path()).is_ok_and(|file| file.is_file()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let mut listing = Listing { maps: Vec::new(), troubles: Vec::new() };
    for path in paths {
        match Map::open(&path, Access::ReadOnly) {
            Ok(map) => listing.maps.push(Target { map, path }),
            // Unpinned since the folder was read.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => listing.troubles.push(clean(&error.to_string())),
        }
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn read(line: &str) -> Option<&'static str> {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let mut words = Words::new(&words);
        let word = words.take().unwrap();
        handle(word, &words, &["key", "value"])
    }

    #[test]
    fn handles_and_bare_names() {
        assert_eq!(read("id 3"), Some("id"));
        assert_eq!(read("pinned"), Some("pinned"), "its operand is missing");
        assert_eq!(read("pinned key"), Some("pinned"), "a file may be called so");
        assert_eq!(read("pin /tmp/x"), Some("pinned"));
        assert_eq!(read("n flows key 1"), Some("name"));
        assert_eq!(read("n key 1"), None, "a map may be called n");
        assert_eq!(read("n"), None);
        assert_eq!(read("flows key 1"), None);
        assert_eq!(read("./id key"), None);
    }
}
