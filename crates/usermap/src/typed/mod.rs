//! Typed maps: the untyped [`Map`](crate::Map) with keys and values as Rust types.
//!
//! A type can be a key or a value if it is plain bytes, as the traits of [`zerocopy`] tell: every
//! bit pattern is a value, and there is no padding. So a key with padding, which would make equal
//! keys differ, does not compile. Values are copied; no reference into shared memory is ever
//! given out.

mod array;
mod hash;
mod number;
mod per_cpu;
mod ring;
mod value_ref;

pub use array::Array;
pub use hash::{HashMap, Iter};
pub use number::Number;
pub use per_cpu::{PerCpuArray, PerCpuHashMap, PerCpuValues};
pub use ring::{PerCpuQueue, PerCpuStack, Queue, Stack};
pub use value_ref::ValueRef;

use crate::abi::MapType;
use crate::error::{Error, Result};
use crate::map::Map;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What keys and values are made of: any type with the three traits of [`zerocopy`], which can
/// be derived.
///
/// ```
/// use usermap::HashMap;
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Flow { source: [u8; 4], target: [u8; 4], ports: [u16; 2] }
///
/// let packets = HashMap::<Flow, u64>::create(1024)?;
/// let flow = Flow { source: [10, 0, 0, 1], target: [10, 0, 0, 2], ports: [4000, 80] };
/// assert_eq!(packets.inc_and_return(&flow, 1)?, 1);
/// # Ok::<(), usermap::Error>(())
/// ```
///
/// A type with padding is refused when compiling:
///
/// ```compile_fail
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(FromBytes, IntoBytes, Immutable)]
/// #[repr(C)]
/// struct Padded { port: u16, address: u32 }
/// ```
pub trait Plain: FromBytes + IntoBytes + Immutable {}

impl<T: FromBytes + IntoBytes + Immutable> Plain for T {}

/// Takes a map if it has this kind and these sizes.
fn checked(map: Map, kind: MapType, key_size: usize, value_size: usize) -> Result<Map> {
    let spec = map.spec();
    let fields = [
        ("map_type", spec.map_type as usize, kind as usize),
        ("key_size", spec.key_size as usize, key_size),
        ("value_size", spec.value_size as usize, value_size),
    ];
    match fields.into_iter().find(|(_, found, asked)| found != asked) {
        None => Ok(map),
        Some((field, found, asked)) => Err(Error::Differs {
            path: map.path().unwrap_or_default(),
            field,
            found: found as u64,
            asked: asked as u64,
        }),
    }
}

/// What every typed map has: how to make one, and the untyped map below.
macro_rules! common {
    ($name:ident<$($parameter:ident),+>, $kind:expr, $key_size:expr, $value_size:expr
        $(, $field:ident: $make:expr)?) => {
        impl<$($parameter: Plain),+> $name<$($parameter),+> {
            /// The specification of such a map, to add a name, flags or CPU slots to.
            pub fn spec(max_entries: u32) -> Spec {
                Spec::new($kind, $key_size as u32, $value_size as u32, max_entries)
            }

            /// A new map, as [`Map::create`].
            ///
            /// # Errors
            ///
            /// As [`Map::create`].
            pub fn create(max_entries: u32) -> Result<Self> {
                Self::from_map(Map::create(&Self::spec(max_entries))?)
            }

            /// The map of this name, made if there is none, as [`Map::open_or_create`].
            ///
            /// # Errors
            ///
            /// As [`Map::open_or_create`].
            pub fn open_or_create(path: impl AsRef<Path>, max_entries: u32) -> Result<Self> {
                Self::from_map(Map::open_or_create(path, &Self::spec(max_entries))?)
            }

            /// A map that exists already, if its kind and sizes are these.
            ///
            /// # Errors
            ///
            /// [`Error::Differs`](crate::Error::Differs) if they are not.
            pub fn from_map(map: Map) -> Result<Self> {
                let map = checked(map, $kind, $key_size, $value_size)?;
                Ok(Self { $($field: $make(&map)?,)? map, types: PhantomData })
            }

            /// The untyped map.
            pub fn map(&self) -> &Map {
                &self.map
            }

            /// Entries now, as [`Map::len`].
            pub fn len(&self) -> u64 {
                self.map.len()
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.map.is_empty()
            }

            /// Removes everything, as [`Map::clear`].
            ///
            /// # Errors
            ///
            /// As [`Map::clear`].
            pub fn clear(&self) -> Result<u64> {
                self.map.clear()
            }
        }

        impl<$($parameter: Plain),+> TryFrom<Map> for $name<$($parameter),+> {
            type Error = crate::Error;

            fn try_from(map: Map) -> Result<Self> {
                Self::from_map(map)
            }
        }

        impl<$($parameter),+> Clone for $name<$($parameter),+> {
            fn clone(&self) -> Self {
                Self { $($field: self.$field.clone(),)? map: self.map.clone(), types: PhantomData }
            }
        }

        impl<$($parameter),+> fmt::Debug for $name<$($parameter),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.map).finish()
            }
        }
    };
}
use common;
