//! What Ansible accepts where a type is asked for (`ansible.module_utils.common.validation`, `parsing.convert_bool`).

use crate::Value;

/// Why a value does not fit the type that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wants {wanted}, got {got}")]
pub struct Coercion {
    /// What was asked for, in a user's words (`a boolean`).
    pub wanted: &'static str,
    /// What was given, type and text.
    pub got: String,
}

impl Coercion {
    /// The mismatch between what was `wanted` and the `value` that was given.
    pub fn new(wanted: &'static str, value: &Value) -> Self {
        let got = match value {
            Value::Str(text) if text.chars().count() <= 60 => format!("{text:?}"),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => format!("{} {value}", value.type_name()),
            other => other.type_name().to_owned(),
        };
        Self { wanted, got }
    }
}

const TRUE: [&str; 6] = ["y", "yes", "on", "1", "true", "t"];
const FALSE: [&str; 6] = ["n", "no", "off", "0", "false", "f"];

impl Value {
    /// A boolean: also `yes`, `no`, `on`, `off`, `y`, `n`, `t`, `f`, 1 and 0, in any case.
    ///
    /// # Errors
    /// Anything else.
    pub fn to_bool(&self) -> Result<bool, Coercion> {
        let wanted = || Coercion::new("a boolean", self);
        match self {
            Self::Bool(flag) => Ok(*flag),
            Self::Int(0) => Ok(false),
            Self::Int(1) => Ok(true),
            Self::Float(number) if *number == 0.0 => Ok(false),
            Self::Float(number) if *number == 1.0 => Ok(true),
            Self::Str(text) => {
                let text = text.trim().to_ascii_lowercase();
                if TRUE.contains(&text.as_str()) {
                    Ok(true)
                } else if FALSE.contains(&text.as_str()) {
                    Ok(false)
                } else {
                    Err(wanted())
                }
            }
            _ => Err(wanted()),
        }
    }

    /// A whole number: also its decimal text, and a float without a fraction.
    ///
    /// # Errors
    /// Anything else.
    pub fn to_int(&self) -> Result<i64, Coercion> {
        let wanted = || Coercion::new("a whole number", self);
        match self {
            Self::Int(number) => Ok(*number),
            Self::Bool(flag) => Ok(i64::from(*flag)),
            Self::Float(number) if number.fract() == 0.0 && number.abs() < 9.0e15 => Ok(*number as i64),
            Self::Str(text) => text.trim().parse().map_err(|_| wanted()),
            _ => Err(wanted()),
        }
    }

    /// A number: also its decimal text.
    ///
    /// # Errors
    /// Anything else.
    pub fn to_float(&self) -> Result<f64, Coercion> {
        let wanted = || Coercion::new("a number", self);
        match self {
            Self::Int(number) => Ok(*number as f64),
            Self::Float(number) => Ok(*number),
            Self::Str(text) => text.trim().parse().map_err(|_| wanted()),
            _ => Err(wanted()),
        }
    }

    /// Text: also numbers and booleans, as Python prints them.
    ///
    /// # Errors
    /// Null, lists and maps.
    pub fn to_text(&self) -> Result<String, Coercion> {
        match self {
            Self::Str(text) => Ok(text.to_string()),
            Self::Int(_) | Self::Float(_) | Self::Bool(_) => Ok(self.to_string()),
            _ => Err(Coercion::new("text", self)),
        }
    }

    /// A list: also text that is split at commas, and one number.
    ///
    /// # Errors
    /// Null, booleans and maps.
    pub fn to_list(&self) -> Result<Vec<Value>, Coercion> {
        match self {
            Self::List(items) => Ok(items.to_vec()),
            Self::Str(text) if text.is_empty() => Ok(Vec::new()),
            Self::Str(text) => Ok(text.split(',').map(|part| Self::from(part.trim())).collect()),
            Self::Int(_) | Self::Float(_) => Ok(vec![Self::from(self.to_string())]),
            _ => Err(Coercion::new("a list", self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_as_ansible_reads_them() {
        for text in ["yes", "On", "TRUE", "1", "t", "y"] {
            assert_eq!(Value::from(text).to_bool(), Ok(true), "{text}");
        }
        assert_eq!(Value::from("off").to_bool(), Ok(false));
        assert_eq!(Value::from("maybe").to_bool().unwrap_err().to_string(), "wants a boolean, got \"maybe\"");
        assert!(Value::from(2).to_bool().is_err());
    }

    #[test]
    fn lists_split_at_commas() {
        assert_eq!(Value::from("a, b").to_list().unwrap(), [Value::from("a"), Value::from("b")]);
        assert!(Value::Null.to_list().is_err());
    }
}
