//! Closed lists of words: an enum whose every variant has one name in YAML, JSON and captures.
//!
//! The word and the variant are declared in one place, so that they cannot drift apart.

/// A closed list of named choices.
pub trait Word: Copy + Eq + Sized + 'static {
    /// What kind of thing is being named, for messages: `drop reason`, `mapping behaviour`.
    const KIND: &'static str;
    /// Every choice, in the order of its definition.
    const ALL: &'static [Self];
    /// The word in YAML, JSON and captures.
    fn as_str(self) -> &'static str;
    /// What the choice means, one line.
    fn meaning(self) -> &'static str;

    /// The choice of this name.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.as_str() == word)
    }
}

/// Declares an enum that is a [`Word`]: `Variant = "its-word", "its meaning";`.
#[macro_export]
macro_rules! words {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident: $kind:literal {
        $($variant:ident = $word:literal, $meaning:literal;)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name { $(#[doc = $meaning] $variant,)* }

        impl $crate::Word for $name {
            const KIND: &'static str = $kind;
            const ALL: &'static [Self] = &[$($name::$variant,)*];

            fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            fn meaning(self) -> &'static str {
                match self { $($name::$variant => $meaning,)* }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad($crate::Word::as_str(*self))
            }
        }
    };
}
