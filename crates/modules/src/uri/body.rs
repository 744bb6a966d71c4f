//! Bodies of requests: JSON, forms.

use std::path::Path;

use super::{BodyFormat, Params, Request, Value};
use crate::Failure;
use crate::http::url::form_encode;
use debark_value::Order;

/// Writes the body and says what it is.
pub(super) fn fill(p: &Params, request: &mut Request) -> Result<(), Failure> {
    let text = |value: &Value| match value {
        Value::Map(_) | Value::List(_) => debark_value::to_json_string(value),
        other => other.to_string(),
    };
    match (p.body_format, &p.body) {
        (BodyFormat::Raw, body) => request.body = body.as_ref().map(text).unwrap_or_default().into_bytes(),
        (BodyFormat::Json, body) => {
            // Text is taken as JSON already.
            request.body = match body {
                Some(Value::Str(text)) => text.as_bytes().to_vec(),
                Some(value) => debark_value::to_json_string(value).into_bytes(),
                None if p.src.is_some() => Vec::new(),
                None => b"null".to_vec(),
            };
            request.default_header("Content-Type", "application/json");
        }
        (BodyFormat::Form, body) => {
            request.body = body.as_ref().map(form).unwrap_or_default().into_bytes();
            request.default_header("Content-Type", "application/x-www-form-urlencoded");
        }
        (BodyFormat::Multipart, Some(Value::Map(fields))) => {
            let boundary = boundary()?;
            request.body = multipart(fields, &boundary)?;
            request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            request.default_header("Content-Type", &format!("multipart/form-data; boundary=\"{boundary}\""));
        }
        (BodyFormat::Multipart, _) => {
            return Err(Failure::new("uri: with form-multipart the body is a mapping of fields"));
        }
    }
    Ok(())
}

/// `a=1&b=2`; a list of values repeats the name, a list of pairs keeps their order.
fn form(body: &Value) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: &Value| {
        let values = value.as_list().map_or_else(|| vec![value.clone()], <[Value]>::to_vec);
        for value in values.iter().filter(|value| !value.is_null()) {
            pairs.push((name.to_owned(), value.to_string()));
        }
    };
    match body {
        Value::Map(map) => map.iter().for_each(|(name, value)| add(name, value)),
        Value::List(items) => items.iter().filter_map(Value::as_list).for_each(|pair| {
            if let [name, value] = pair {
                add(&name.to_string(), value);
            }
        }),
        other => return other.to_string(),
    }
    let encoded = pairs.iter().map(|(name, value)| format!("{}={}", form_encode(name), form_encode(value)));
    encoded.collect::<Vec<_>>().join("&")
}

fn boundary() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Failure::new(format!("the kernel gives no random bytes: {e}")))?;
    Ok(format!("==============={}==", crate::hash::hex(&bytes)))
}

/// RFC 7578. Fields are sorted by name, as Ansible writes them.
fn multipart(fields: &crate::Map, boundary: &str) -> Result<Vec<u8>, Failure> {
    let mut names: Vec<_> = fields.iter().collect();
    names.order_by(|a, b| a.0.cmp(b.0));
    let mut body = Vec::new();
    let quoted = |text: &str| text.replace(['"', '\r', '\n'], "_");
    for (name, value) in names {
        let part = |key: &str| value.get(key).map(Value::to_string).filter(|text| !text.is_empty());
        let (content, file, kind) = match value {
            Value::Map(_) => {
                let file = part("filename");
                let content = match (part("content"), &file) {
                    (Some(content), _) => content.into_bytes(),
                    (None, Some(file)) => {
                        std::fs::read(file).map_err(|e| Failure::io("cannot read", file, e))?
                    }
                    (None, None) => {
                        return Err(Failure::new(format!(
                            "uri: the field {name} has neither content nor filename"
                        )));
                    }
                };
                (content, file, part("mime_type").unwrap_or_else(|| "application/octet-stream".into()))
            }
            other => (other.to_string().into_bytes(), None, "text/plain".into()),
        };
        let base = file.as_deref().and_then(|file| Path::new(file).file_name()).map(|f| f.to_string_lossy());
        let file = base.map(|base| format!("; filename=\"{}\"", quoted(&base))).unwrap_or_default();
        let head = format!(
            "--{boundary}\r\nContent-Type: {}\r\nContent-Disposition: form-data; name=\"{}\"{file}\r\n\r\n",
            quoted(&kind),
            quoted(name)
        );
        body.extend(head.into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map;

    #[test]
    fn forms_are_encoded() {
        let body = Value::from(map! { "a b" => "c&d", "l" => Value::list([1, 2]), "n" => Value::Null });
        assert_eq!(form(&body), "a+b=c%26d&l=1&l=2");
        assert_eq!(form(&Value::list([Value::list(["z", "1"]), Value::list(["a", "ü"])])), "z=1&a=%C3%BC");
        assert_eq!(form(&"raw=1".into()), "raw=1");
    }

    #[test]
    fn multipart_has_its_parts() {
        let fields = map! { "b" => "text", "a" => map! { "content" => "x", "filename" => "dir/n\".txt", "mime_type" => "text/x" } };
        let body = String::from_utf8(multipart(&fields, "B").unwrap()).unwrap();
        assert_eq!(
            body,
            "--B\r\nContent-Type: text/x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"n_.txt\"\r\n\r\nx\r\n--B\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\ntext\r\n--B--\r\n"
        );
        assert!(multipart(&map! { "a" => map! {} }, "B").is_err());
    }
}
