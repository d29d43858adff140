//! Values that few sessions have, kept beside the records by session index.
//!
//! Costs nothing until the first is set, and then what one value takes for each record up to the highest index.

/// A value for some sessions.
pub(crate) struct Aside<T>(Vec<Option<T>>);

impl<T> Default for Aside<T> {
    fn default() -> Aside<T> {
        Aside(Vec::new())
    }
}

impl<T> Aside<T> {
    pub(crate) fn get(&self, session: u32) -> Option<&T> {
        self.0.get(session as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, session: u32) -> Option<&mut T> {
        self.0.get_mut(session as usize)?.as_mut()
    }

    pub(crate) fn set(&mut self, session: u32, value: T) {
        let at = session as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at] = Some(value);
    }

    /// A session has another index from now on, where nobody's value is.
    pub(crate) fn rename(&mut self, from: u32, to: u32) {
        let value = self.0.get_mut(from as usize).and_then(Option::take);
        self.clear(to);
        value.into_iter().for_each(|value| self.set(to, value));
    }

    /// Forgets a session's value.
    pub(crate) fn clear(&mut self, session: u32) {
        if let Some(value) = self.0.get_mut(session as usize) {
            *value = None;
        }
    }
}
