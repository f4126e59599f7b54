//! Walks by key.

use crate::abi::errno;
use crate::error::{Reason, Result};
use crate::map::{Map, Tried, View};
use std::cell::RefCell;

thread_local! {
    /// The key that this thread's last `get_next_key` gave, and of which map.
    static LAST_KEY: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

impl Map {
    /// `BPF_MAP_GET_NEXT_KEY`: the key after this one, or the first.
    ///
    /// A walk that passes each key it got meets every entry that is there from its start to its
    /// end exactly once, whatever is inserted or deleted meanwhile, the key it stands on included:
    /// where Linux would start again, usermap goes on (`ZERO_SEED` maps start again, as Linux's). For
    /// a key that this thread was not given last and that is not there, the first key.
    ///
    /// # Errors
    ///
    /// ENOENT after the last, EPERM, EINVAL for queues and stacks.
    ///
    /// ```
    /// use usermap::{Map, MapType, Spec};
    /// let map = Map::create(&Spec::new(MapType::Array, 4, 8, 2))?;
    /// let mut key = [0; 4];
    /// map.get_next_key(None, &mut key)?;
    /// assert_eq!(u32::from_ne_bytes(key), 0);
    /// map.get_next_key(Some(&key.clone()), &mut key)?;
    /// assert_eq!(u32::from_ne_bytes(key), 1);
    /// assert!(map.get_next_key(Some(&key.clone()), &mut key).unwrap_err().is_not_found());
    /// # Ok::<(), usermap::Error>(())
    /// ```
    pub fn get_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<()> {
        self.try_get_next_key(key, next).map_err(|reason| self.error("get_next_key", reason))
    }

    pub(crate) fn try_get_next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Tried<()> {
        self.may_read()?;
        match self.inner.view() {
            View::Rings(_) => Err(self.unsupported(errno::EINVAL)),
            View::Array(_) => {
                self.check_key(next)?;
                let max_entries = self.spec().max_entries;
                let after = match key.map(|key| self.index(key)).transpose()? {
                    Some(index) if index == max_entries - 1 => return Err(Reason::NotFound),
                    Some(index) if index < max_entries => index + 1,
                    _ => 0,
                };
                next.copy_from_slice(&after.to_ne_bytes());
                Ok(())
            }
            View::Hash(hash) => {
                self.check_key(next)?;
                key.map_or(Ok(()), |key| self.check_key(key))?;
                let serial = self.inner.serial;
                // Gone in a thread that is being taken down: then a walk starts again.
                let resume = LAST_KEY.try_with(|last| {
                    let last = last.borrow();
                    last.0 == serial && key == Some(last.1.as_slice())
                });
                hash.next_key(key, resume.unwrap_or(false), next)?;
                let _ = LAST_KEY.try_with(|last| {
                    let mut last = last.borrow_mut();
                    last.0 = serial;
                    last.1.clear();
                    last.1.extend_from_slice(next);
                });
                Ok(())
            }
        }
    }
}
