//! Choices out of bytes: how a structured target reads its input.
//!
//! Bytes that are missing are zero, so that every input means something. A choice among things that have names goes by
//! the hash of the name nearest above the bytes read: a list that grows changes few of the choices that stored inputs
//! make.

/// What is left of an input.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    pub fn new(data: &'a [u8]) -> Input<'a> {
        Input(data)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// The next two bytes, big-endian.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A bit of the next byte.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// One of several; the slice must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// As many bytes as the next two say, or as are left.
    pub fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.short()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// One of several that have names, by two bytes; the slice must not be empty.
    pub fn pick_named<'c, T>(&mut self, choices: &'c [Named<T>]) -> &'c T {
        let wanted = self.short();
        let nearest = choices.iter().min_by_key(|choice| choice.mark.wrapping_sub(wanted));
        &nearest.unwrap_or(&choices[0]).thing
    }
}

/// Something that is chosen by its name.
pub struct Named<T> {
    mark: u16,
    thing: T,
}

impl<T> Named<T> {
    /// It, by this name.
    pub fn new(name: &str, thing: T) -> Named<T> {
        let hash = hash(name.as_bytes());
        Named { mark: (hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48) as u16, thing }
    }
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
