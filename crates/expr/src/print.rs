//! How values of templates alone, such as dates, macros and modules, are shown and become data.

use debark_value::Value;

use crate::error::{Error, Res};
use crate::time::delta_text;
use crate::value::{Thing, V};

impl Thing {
    /// As data: dates as text.
    pub fn to_value(&self, what: &str) -> Res<Value> {
        match self {
            Self::Date(date) => Ok(Value::from(date.print(' '))),
            Self::Delta(micros) => Ok(Value::from(delta_text(*micros))),
            Self::Group(key, items) => Ok(Value::list([key.clone(), items.clone()])),
            Self::Namespace(_) | Self::HostVars | Self::Vars | Self::Own => {
                Err(Error::kind_of(format!("'{what}' as a whole is no value; name what you need from it")))
            }
            _ => Err(Error::kind_of(format!("a {what} is no value")).hinted("call it with '(...)'")),
        }
    }
}

impl V {
    /// What dates and spans are compared by.
    pub fn moment(&self) -> Option<i64> {
        match self {
            Self::Thing(thing) => match &**thing {
                Thing::Date(date) => Some(date.micros()),
                Thing::Delta(micros) => Some(*micros),
                _ => None,
            },
            _ => None,
        }
    }

    /// Python's `str()`.
    pub fn print(&self) -> Res<String> {
        self.usable()?;
        match self {
            Self::Data(value) | Self::Lazy(value) => crate::ops::text(value),
            Self::Thing(thing) => crate::ops::text(&thing.to_value(self.type_name())?),
            Self::Undef(_) => Ok(String::new()),
            Self::Seq(_) | Self::Tuple(_) => {
                let mut out = String::new();
                self.repr(&mut out)?;
                Ok(out)
            }
        }
    }

    fn repr(&self, out: &mut String) -> Res<()> {
        let (items, open, close) = match self {
            Self::Seq(items) => (items, "[", "]"),
            Self::Tuple(items) => (items, "(", ")"),
            other => return crate::ops::repr(&other.to_value()?, out),
        };
        out.push_str(open);
        for (index, item) in items.iter().enumerate() {
            out.push_str(if index > 0 { ", " } else { "" });
            item.repr(out)?;
            if out.len() > crate::ops::LARGEST {
                return Err(crate::ops::too_large());
            }
        }
        out.push_str(if open == "(" && items.len() == 1 { "," } else { "" });
        out.push_str(close);
        Ok(())
    }
}
