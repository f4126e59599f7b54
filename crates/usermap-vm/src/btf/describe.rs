//! Types as C spells them.

use super::types::{Int, Kind};
use super::{Btf, DEPTH};

impl Btf {
    /// The type as C spells it, for people to read: `struct flow_key`, `const char *`, `__u32[4]`.
    pub fn describe(&self, id: u32) -> String {
        let mut id = id;
        let mut front = String::new();
        let mut back = String::new();
        for _ in 0..DEPTH {
            let name = self.name(id);
            let (word, next) = match self.kind(id) {
                None => ("?", None),
                Some(Kind::Void) => ("void", None),
                Some(Kind::Int(_) | Kind::Float { .. } | Kind::Typedef(_)) => (name, None),
                Some(Kind::Struct(_) | Kind::Forward { union: false }) => ("struct", None),
                Some(Kind::Union(_) | Kind::Forward { union: true }) => ("union", None),
                Some(Kind::Enum(_)) => ("enum", None),
                Some(Kind::Const(inner)) => ("const ", Some(*inner)),
                Some(Kind::Volatile(inner)) => ("volatile ", Some(*inner)),
                Some(Kind::Restrict(inner) | Kind::TypeTag(inner)) => ("", Some(*inner)),
                Some(Kind::Variable { type_id, .. }) => ("", Some(*type_id)),
                Some(Kind::Pointer(inner)) => {
                    back.insert_str(0, if back.starts_with('[') { " (*)" } else { " *" });
                    ("", Some(*inner))
                }
                Some(Kind::Array { element, count, .. }) => {
                    back.push_str(&format!("[{count}]"));
                    ("", Some(*element))
                }
                Some(Kind::Function { .. } | Kind::Prototype { .. }) => ("function", None),
                Some(Kind::Section { .. }) => ("section", None),
                Some(Kind::DeclTag { target, .. }) => ("", Some(*target)),
            };
            front.push_str(word);
            match next {
                Some(next) => id = next,
                None => {
                    if !name.is_empty() && word != name {
                        front.push(' ');
                        front.push_str(name);
                    }
                    break;
                }
            }
        }
        front + &back
    }

    /// The integer that a type is, behind typedefs and the like.
    pub(crate) fn int(&self, id: u32) -> Option<Int> {
        match self.resolved(id) {
            Kind::Int(int) => Some(*int),
            _ => None,
        }
    }
}
