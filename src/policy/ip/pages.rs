//! Numbers in large pages of memory, where there are many of them.
//!
//! A look-up in a list of a million networks waits for memory, and half of that for the translation of
//! addresses: megabytes in pages of 4 KiB do not fit what the processor remembers of them. The system is
//! asked for pages of 2 MiB (`madvise(2)`, `MADV_HUGEPAGE`); where it has none, all works as before.

use std::fmt::{self, Debug, Formatter};
use std::ops::Deref;
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::{Advice, Mmap, MmapMut};

/// Numbers that do not change any more.
#[derive(Clone)]
pub(super) struct Pages<T>(Kept<T>);

#[derive(Clone)]
enum Kept<T> {
    Few(Box<[T]>),
    Many { map: Arc<Mmap>, from: usize, to: usize },
}

/// A large page. Fewer bytes would leave most of one empty.
const LARGE: usize = 2 << 20;

impl<T: Pod> Pages<T> {
    fn mapped(numbers: &[T]) -> Option<Kept<T>> {
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        if bytes.len() < LARGE {
            return None;
        }
        // Room to begin at the border of a large page.
        let mut map = MmapMut::map_anon(bytes.len().next_multiple_of(LARGE) + LARGE).ok()?;
        // Only advice: an old system may not know it.
        let _ = map.advise(Advice::HugePage);
        let from = map.as_ptr().align_offset(LARGE);
        let to = from + bytes.len();
        map.get_mut(from..to)?.copy_from_slice(bytes);
        Some(Kept::Many { map: Arc::new(map.make_read_only().ok()?), from, to })
    }
}

impl<T: Pod> From<Vec<T>> for Pages<T> {
    fn from(numbers: Vec<T>) -> Pages<T> {
        Pages(Pages::mapped(&numbers).unwrap_or_else(|| Kept::Few(numbers.into())))
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Kept::Few(numbers) => numbers,
            Kept::Many { map, from, to } => {
                let bytes = map.get(*from..*to).unwrap_or_default();
                bytemuck::try_cast_slice(bytes).unwrap_or_default()
            }
        }
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Pages<T> {
        Pages(Kept::Few(Box::default()))
    }
}

impl<T: Pod + PartialEq> PartialEq for Pages<T> {
    fn eq(&self, other: &Pages<T>) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for Pages<T> {}

impl<T: Pod + Debug> Debug for Pages<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_given() {
        for count in [0, 1, LARGE / 4 - 1, LARGE / 4, LARGE / 4 + 1, LARGE] {
            let numbers: Vec<u32> =
                (0..count as u32).map(|number| number.wrapping_mul(2_654_435_761)).collect();
            let pages = Pages::from(numbers.clone());
            assert!(*pages == *numbers, "{count}");
            assert_eq!(matches!(pages.0, Kept::Many { .. }), count * 4 >= LARGE);
            assert!(pages == pages.clone());
            let mut other = numbers;
            if let Some(last) = other.last_mut() {
                *last ^= 1;
                assert!(pages != Pages::from(other), "{count}");
            }
        }
        let wide: Vec<u128> = (0..200_000).map(|number| number << 70).collect();
        assert!(*Pages::from(wide.clone()) == *wide);
    }
}
