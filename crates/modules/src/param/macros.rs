//! How modules declare their parameters.

/// Declares a module's parameters: a struct, its [`Spec`] and how to read it from arguments.
///
/// A type that is neither `Option`, `Vec` nor has a default (`= value`) is required. `name | alias` gives aliases.
/// `common file: FileArgs;` embeds a shared group. Rules are a `Rules` expression after `rules`.
///
/// ```
/// use debark_modules::{params, param::NO_RULES};
/// params! {
///     /// Waits a little.
///     pub struct Params for "debark.example" {
///         /// How long, in seconds.
///         seconds | delay: i64 = 1,
///         /// Why.
///         reason: Option<String>,
///     }
///     rules NO_RULES
/// }
/// ```
#[macro_export]
macro_rules! params {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident for $module:literal {
            $(
                $(#[doc = $fdoc:literal])*
                $field:ident $(| $alias:tt)* : $ty:ty $(= $default:expr)?
            ),* $(,)?
        }
        $(common $common:ident : $common_ty:ty;)?
        rules $rules:expr
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $fdoc])* pub $field: $ty, )*
            $( #[doc = "Parameters shared with other modules."] pub $common: $common_ty, )?
        }

        impl $name {
            /// Its own parameters, for modules that share them.
            pub const FIELDS: &'static [$crate::param::Field] = &[ $( $crate::param::Field {
                name: $crate::field_name!($field),
                aliases: &[ $( $crate::alias_name!($alias) ),* ],
                kind: <$ty as $crate::param::Param>::KIND,
                required: !<$ty as $crate::param::Param>::OPTIONAL && concat!($(stringify!($default))?).is_empty(),
                default: concat!($(stringify!($default))?),
                doc: if cfg!(feature = "docs") { concat!($($fdoc, "\n"),*) } else { "" },
            } ),* ];

            /// The parameters as users see them.
            pub const SPEC: $crate::param::Spec = $crate::param::Spec {
                name: $module,
                doc: if cfg!(feature = "docs") { concat!($($doc, "\n"),*) } else { "" },
                fields: Self::FIELDS,
                common: { let none: &[$crate::param::Field] = &[]; let _ = none; $crate::common_fields!($($common_ty)?) },
                rules: $rules,
            };

            /// Reads the parameters from rendered arguments.
            ///
            /// # Errors
            /// An unknown, missing or ill-typed parameter, or a rule among them that does not hold.
            #[inline(never)]
            pub fn parse(args: &$crate::Map) -> Result<Self, $crate::plan::Failure> {
                let spec = &Self::SPEC;
                Self::take(spec, &spec.normalise(args)?)
            }

            /// Reads the parameters from normalised arguments of a module that shares them.
            ///
            /// # Errors
            /// An ill-typed parameter.
            pub fn take(spec: &$crate::param::Spec, args: &$crate::Map) -> Result<Self, $crate::plan::Failure> {
                // A module without parameters reads none.
                let _ = (spec, args);
                Ok(Self {
                    $( $field: $crate::param::take(spec, args, $crate::field_name!($field), $crate::default_of!($($default)?))?, )*
                    $( $common: <$common_ty>::take(spec, args)?, )?
                })
            }
        }
    };
}

/// `stringify!` without the `r#` of a raw identifier.
#[doc(hidden)]
#[macro_export]
macro_rules! field_name {
    (r#type) => {
        "type"
    };
    (r#match) => {
        "match"
    };
    (r#use) => {
        "use"
    };
    (r#virtual) => {
        "virtual"
    };
    ($field:ident) => {
        stringify!($field)
    };
}

/// An alias: a word, or text for what is no Rust identifier (`"update-cache"`).
#[doc(hidden)]
#[macro_export]
macro_rules! alias_name {
    ($alias:literal) => {
        $alias
    };
    ($alias:ident) => {
        stringify!($alias)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! default_of {
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! common_fields {
    () => {
        &[]
    };
    ($ty:ty) => {
        <$ty>::FIELDS
    };
}

/// Declares a parameter type that is one of some words.
///
/// ```
/// debark_modules::choices! { /// What should hold.
///     pub enum State { Present = "present", Absent = "absent" } }
/// ```
#[macro_export]
macro_rules! choices {
    ($(#[doc = $doc:literal])* pub enum $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum $name { $($variant),* }

        impl $crate::param::Param for $name {
            const KIND: $crate::param::Kind = $crate::param::Kind::Choice(&[$($word),*]);
            fn from_value(value: &$crate::Value) -> Result<Self, String> {
                const WORDS: &[&str] = &[$($word),*];
                const VARIANTS: &[$name] = &[$($name::$variant),*];
                // One as long as the other.
                $crate::param::choice(WORDS, value).map(|index| VARIANTS[index])
            }
        }

        impl $name {
            /// The word that users write.
            #[allow(dead_code, reason = "not every module reports the word back")]
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),* }
            }
        }
    };
}
