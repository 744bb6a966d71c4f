//! Encodings: JSON, base64, hashes, identifiers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use debark_value::Order;
use debark_value::Value;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    strict("to_json", |_, v, args| json(&v, args, None, false)),
    strict("tojson", |_, v, args| json(&v, args, None, true)),
    strict("to_nice_json", |_, v, args| json(&v, args, Some(4), true)),
    strict("from_json", from_json),
    strict("b64encode", |_, v, _| Ok(V::from(STANDARD.encode(v.to_text()?.as_bytes())))),
    strict("b64decode", b64decode),
    strict("hash", hash),
    strict("checksum", |_, v, _| digest("sha1", v.to_text()?.as_bytes())),
    strict("sha1", |_, v, _| digest("sha1", v.to_text()?.as_bytes())),
    strict("md5", |_, v, _| digest("md5", v.to_text()?.as_bytes())),
    strict("to_uuid", to_uuid),
    strict("password_hash", password_hash),
];

/// Python's `json.dumps`.
struct Json {
    indent: Option<usize>,
    sort: bool,
    ascii: bool,
    item: String,
    colon: String,
}

impl Json {
    fn text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                c if (c as u32) < 0x20 || self.ascii && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * depth));
        }
    }

    fn value(&self, value: &Value, depth: usize, out: &mut String) -> Res<()> {
        match value {
            Value::Null | Value::Omit => out.push_str("null"),
            Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Float(number) if number.is_nan() => out.push_str("NaN"),
            Value::Float(number) if number.is_infinite() => {
                out.push_str(if *number > 0.0 { "Infinity" } else { "-Infinity" });
            }
            Value::Float(_) | Value::Int(_) => ops::repr(value, out)?,
            Value::Str(text) => self.text(text, out),
            Value::Unknown(reason) => return Err(Error::unknown(reason)),
            Value::List(items) if items.is_empty() => out.push_str("[]"),
            Value::Map(map) if map.is_empty() => out.push_str("{}"),
            Value::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { &self.item } else { "" });
                    self.line(depth + 1, out);
                    self.value(item, depth + 1, out)?;
                }
                self.line(depth, out);
                out.push(']');
            }
            Value::Map(map) => {
                out.push('{');
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort {
                    entries.order_by(|a, b| a.0.cmp(b.0));
                }
                for (index, (key, item)) in entries.into_iter().enumerate() {
                    out.push_str(if index > 0 { &self.item } else { "" });
                    self.line(depth + 1, out);
                    self.text(key, out);
                    out.push_str(&self.colon);
                    self.value(item, depth + 1, out)?;
                }
                self.line(depth, out);
                out.push('}');
            }
        }
        if out.len() > ops::LARGEST { Err(ops::too_large()) } else { Ok(()) }
    }
}

fn json(value: &V, args: &Args, indent: Option<usize>, sort: bool) -> Res<V> {
    let indent = args.count(usize::MAX, "indent")?.or(indent).map(|indent| indent.min(64));
    let separators = args.value(usize::MAX, "separators")?;
    let part =
        |at: usize| separators.as_ref().and_then(|pair| pair.as_list()?.get(at)?.as_str().map(str::to_owned));
    let json = Json {
        indent,
        sort: args.flag_or(usize::MAX, "sort_keys", sort)?,
        ascii: args.flag_or(usize::MAX, "ensure_ascii", true)?,
        item: part(0).unwrap_or_else(|| if indent.is_some() { ",".into() } else { ", ".into() }),
        colon: part(1).unwrap_or_else(|| ": ".into()),
    };
    let mut out = String::new();
    json.value(&value.to_value()?, 0, &mut out)?;
    Ok(V::from(out))
}

fn from_json(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let V::Data(Value::Str(text)) = &input else {
        return Err(Error::call(format!("needs a text, not {}", input.type_name())));
    };
    let parsed = serde_json::from_str(text).map_err(|error| {
        Error::call(format!("finds no JSON at line {} column {}", error.line(), error.column()))
    })?;
    Ok(V::Data(debark_value::from_json(parsed)))
}

fn b64decode(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text: String = input.to_text()?.chars().filter(|c| !c.is_whitespace()).collect();
    let engine = if args.flag(usize::MAX, "urlsafe")? { URL_SAFE } else { STANDARD };
    let bytes = engine.decode(text).map_err(|_| Error::call("needs base64"))?;
    String::from_utf8(bytes).map(V::from).map_err(|_| Error::call("decodes to bytes that are no text"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(name: &str, data: &[u8]) -> Res<V> {
    Ok(V::from(match name {
        "md5" => hex(&md5::Md5::digest(data)),
        "sha1" => hex(&Sha1::digest(data)),
        "sha224" => hex(&Sha224::digest(data)),
        "sha256" => hex(&Sha256::digest(data)),
        "sha384" => hex(&Sha384::digest(data)),
        "sha512" => hex(&Sha512::digest(data)),
        other => {
            return Err(Error::call(format!(
                "knows md5, sha1, sha224, sha256, sha384 and sha512, not '{other}'"
            )));
        }
    }))
}

fn hash(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let kind = args.text(0, "hashtype")?.unwrap_or_else(|| "sha1".into());
    digest(&kind, input.to_text()?.as_bytes())
}

/// A version 5 UUID (RFC 9562), in Ansible's own namespace unless another is given.
fn to_uuid(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let namespace =
        args.text(0, "namespace")?.unwrap_or_else(|| "361E6D51-FAEC-444A-9079-341386DA8E2E".into());
    let digits: Vec<u8> = namespace.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    if digits.len() != 32 {
        return Err(Error::call("needs a UUID as the namespace"));
    }
    let mut data: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    data.extend_from_slice(input.to_text()?.as_bytes());
    let mut bytes = Sha1::digest(&data).to_vec();
    bytes.truncate(16);
    for (at, mask, bits) in [(6, 0x0f, 0x50), (8, 0x3f, 0x80)] {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = *byte & mask | bits;
        }
    }
    let text = hex(&bytes);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    Ok(V::from(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))))
}

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn password_hash(ctx: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let kind = args.text(0, "hashtype")?.unwrap_or_else(|| "sha512".into());
    let password = input.to_text()?;
    let salt = match args.text(1, "salt")? {
        Some(salt) => salt.chars().take(16).collect::<String>(),
        None => {
            let size = args.int(2, "salt_size")?.unwrap_or(16).clamp(1, 16);
            (0..size).map(|_| char::from(ALPHABET[super::random_below(64) as usize & 63])).collect()
        }
    };
    let rounds = args.int(3, "rounds")?;
    let rounds_used = rounds.unwrap_or(match &*kind {
        "sha512" | "sha512_crypt" => 656_000,
        _ => 535_000,
    });
    let rounds_used = usize::try_from(rounds_used.clamp(1000, 5_000_000)).unwrap_or(5000);
    // Each round digests the password, the salt and the last digest, in blocks of 64 or 128 bytes.
    if password.len() > 4096 {
        return Err(Error::call("needs a password of at most 4096 bytes"));
    }
    ctx.burn(rounds_used * 2 * (1 + password.len() / 48))?;
    let (mark, body) = match &*kind {
        "sha512" | "sha512_crypt" => {
            ("6", crypt::<Sha512>(password.as_bytes(), salt.as_bytes(), rounds_used, &ORDER_512))
        }
        "sha256" | "sha256_crypt" => {
            ("5", crypt::<Sha256>(password.as_bytes(), salt.as_bytes(), rounds_used, &ORDER_256))
        }
        "md5" | "md5_crypt" => {
            let salt: String = salt.chars().take(8).collect();
            return Ok(V::from(format!("$1${salt}${}", crypt_md5(password.as_bytes(), salt.as_bytes()))));
        }
        other => {
            return Err(Error::call(format!("makes sha512, sha256 and md5 hashes, not '{other}'")));
        }
    };
    let middle = if rounds_used == 5000 { String::new() } else { format!("rounds={rounds_used}$") };
    Ok(V::from(format!("${mark}${middle}{salt}${body}")))
}

/// The order in which the digest's bytes are written, and how many characters each group makes.
const ORDER_512: [u8; 64] = [
    0, 21, 42, 22, 43, 1, 44, 2, 23, 3, 24, 45, 25, 46, 4, 47, 5, 26, 6, 27, 48, 28, 49, 7, 50, 8, 29, 9, 30,
    51, 31, 52, 10, 53, 11, 32, 12, 33, 54, 34, 55, 13, 56, 14, 35, 15, 36, 57, 37, 58, 16, 59, 17, 38, 18,
    39, 60, 40, 61, 19, 62, 20, 41, 63,
];
const ORDER_256: [u8; 32] = [
    0, 10, 20, 21, 1, 11, 12, 22, 2, 3, 13, 23, 24, 4, 14, 15, 25, 5, 6, 16, 26, 27, 7, 17, 18, 28, 8, 9, 19,
    29, 31, 30,
];

/// MD5-crypt, as the C library makes it: for systems that know nothing better.
fn crypt_md5(password: &[u8], salt: &[u8]) -> String {
    let second = md5::Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = md5::Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    password.chunks(16).for_each(|part| first.update(&second[..part.len()]));
    let mut length = password.len();
    while length > 0 {
        first.update(if length & 1 == 1 { &[0][..] } else { password.get(..1).unwrap_or_default() });
        length >>= 1;
    }
    let mut result = first.finalize();
    for round in 0..1000 {
        let mut next = md5::Md5::new();
        let parts = [password, &result[..]];
        next.update(parts[usize::from(round % 2 == 0)]);
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(parts[usize::from(round % 2 == 1)]);
        result = next.finalize();
    }
    written(&result, &[0, 6, 12, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 5, 11])
}

/// SHA-crypt, as specified in <https://www.akkadia.org/drepper/SHA-crypt.txt>.
fn crypt<D: Digest>(password: &[u8], salt: &[u8], rounds: usize, order: &[u8]) -> String {
    let repeat =
        |digest: &[u8], length: usize| digest.iter().copied().cycle().take(length).collect::<Vec<u8>>();
    let second = D::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = D::new().chain_update(password).chain_update(salt);
    first.update(repeat(&second, password.len()));
    let mut length = password.len();
    while length > 0 {
        if length & 1 == 1 {
            first.update(&second[..])
        } else {
            first.update(password)
        }
        length >>= 1;
    }
    let mut result = first.finalize();
    let mut of_password = D::new();
    password.iter().for_each(|_| of_password.update(password));
    let p = repeat(&of_password.finalize(), password.len());
    let mut of_salt = D::new();
    let times = 16 + usize::from(result.first().copied().unwrap_or(0));
    (0..times).for_each(|_| of_salt.update(salt));
    let s = repeat(&of_salt.finalize(), salt.len());
    for round in 0..rounds {
        let mut next = D::new();
        if round % 2 == 1 {
            next.update(&p)
        } else {
            next.update(&result[..])
        }
        if round % 3 != 0 {
            next.update(&s);
        }
        if round % 7 != 0 {
            next.update(&p);
        }
        if round % 2 == 1 {
            next.update(&result[..])
        } else {
            next.update(&p)
        }
        result = next.finalize();
    }
    written(&result, order)
}

/// The characters that stand for a digest whose bytes are taken in this order.
fn written(result: &[u8], order: &[u8]) -> String {
    let mut out = String::new();
    for group in order.chunks(3) {
        let bits = group
            .iter()
            .fold(0u32, |bits, at| bits << 8 | u32::from(result.get(usize::from(*at)).copied().unwrap_or(0)));
        let count = [0, 2, 3, 4].get(group.len()).copied().unwrap_or(4);
        for place in 0..count {
            out.push(char::from(ALPHABET[(bits >> (6 * place) & 63) as usize]));
        }
    }
    out
}
