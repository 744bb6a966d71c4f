//! The time zone of this machine.

/// The offset and name of the machine's time zone at a point in time, from `/etc/localtime` (RFC 8536).
pub(crate) fn zone_at(seconds: i64) -> (i64, String) {
    let utc = (0, "UTC".to_owned());
    let Ok(file) = std::fs::read("/etc/localtime") else { return utc };
    zone_in(&file, seconds).unwrap_or(utc)
}

fn zone_in(file: &[u8], seconds: i64) -> Option<(i64, String)> {
    let number = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    let counts = |at: usize| -> Option<[usize; 6]> {
        let mut counts = [0; 6];
        for (index, count) in counts.iter_mut().enumerate() {
            *count = number(at + 20 + 4 * index)?;
        }
        Some(counts)
    };
    if file.get(..4)? != b"TZif" {
        return None;
    }
    // The second part repeats the first with 64-bit times.
    let [isut, isstd, leap, times, types, chars] = counts(0)?;
    let second = 44 + times * 5 + types * 6 + chars + leap * 8 + isstd + isut;
    let [_, _, _, times, types, _] = counts(second)?;
    let start = second + 44;
    let mut kind = 0;
    for index in 0..times {
        let at = start + index * 8;
        let time = i64::from_be_bytes(file.get(at..at + 8)?.try_into().ok()?);
        if time > seconds {
            break;
        }
        kind = usize::from(*file.get(start + times * 8 + index)?);
    }
    let record = start + times * 9 + kind * 6;
    let offset = i32::from_be_bytes(file.get(record..record + 4)?.try_into().ok()?);
    let name = file.get(start + times * 9 + types * 6 + usize::from(*file.get(record + 5)?)..)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some((i64::from(offset), String::from_utf8_lossy(name.get(..end)?).into_owned()))
}
