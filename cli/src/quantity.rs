//! Amounts as people type them.
use std::time::{Duration, SystemTime};

use model::{Milli, Quantities, Ranges};

/// `4`, `2.5`, `0.1`: at most three decimals.
pub(crate) fn cpus(text: &str) -> Result<Milli, String> {
    thousandths(text).map(Milli).ok_or_else(|| "a number of processors such as 4 or 2.5 is allowed".to_owned())
}

/// `6GiB`, `512MiB`, `1.5TiB`, in MiB.
pub(crate) fn mebibytes(text: &str) -> Result<Milli, String> {
    let wanted = || "a size such as 512MiB, 6GiB or 1TiB is allowed".to_owned();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wanted)?;
    let (number, unit) = text.split_at(split);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "mib" | "mi" | "m" => 1,
        "gib" | "gi" | "g" => 1024,
        "tib" | "ti" | "t" => 1024 * 1024,
        _ => return Err(wanted()),
    };
    let amount = thousandths(number.trim()).and_then(|amount| amount.checked_mul(factor)).ok_or_else(wanted)?;
    Ok(Milli(amount))
}

/// `cpus=4`, `mem=6GiB`, `bandwidth=100`.
pub(crate) fn scalar(text: &str) -> Result<(String, Milli), String> {
    let (name, amount) = pair(text).map_err(|_| "NAME=AMOUNT such as cpus=4 or mem=6GiB is allowed".to_owned())?;
    let amount = match name.as_str() {
        "mem" | "disk" if amount == "0" => Milli(0),
        "mem" | "disk" => mebibytes(&amount)?,
        _ => cpus(&amount).map_err(|_| format!("a number such as 4 or 2.5 is allowed for {name}"))?,
    };
    Ok((name, amount))
}

/// `cpus=0.1,mem=64MiB`.
pub(crate) fn scalars(text: &str) -> Result<Quantities, String> {
    let mut quantities = Quantities::default();
    for part in text.split(',') {
        let (name, amount) = scalar(part)?;
        quantities.set_scalar(&name, amount);
    }
    Ok(quantities)
}

/// `90s`, `10m`, `1h`, `30d`, in seconds.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let wanted = || "a time such as 90s, 10m, 1h or 30d is allowed".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wanted()),
    };
    number.parse::<u32>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wanted)
}

/// `2027-01-31T22:00:00Z`, or `+2h`: so long from now.
pub(crate) fn instant(text: &str) -> Result<SystemTime, String> {
    let wanted = || "an instant such as 2027-01-31T22:00:00Z, or a time from now such as +2h, is allowed".to_owned();
    match text.strip_prefix('+') {
        Some(span) => {
            let span = Duration::from_secs(seconds(span).map_err(|_| wanted())?.into());
            SystemTime::now().checked_add(span).ok_or_else(wanted)
        }
        None => humantime::parse_rfc3339_weak(text).map_err(|_| wanted()),
    }
}

/// `5/10m`: so many, in so many seconds.
pub(crate) fn rate(text: &str) -> Result<(u32, u32), String> {
    let wanted = || "a count and a time such as 5/10m is allowed".to_owned();
    let (count, time) = text.split_once('/').ok_or_else(wanted)?;
    match (count.parse(), seconds(time)) {
        (Ok(count), Ok(seconds)) if count > 0 && seconds > 0 => Ok((count, seconds)),
        _ => Err(wanted()),
    }
}

/// `10250,20000-29999`.
pub(crate) fn ports(text: &str) -> Result<Ranges, String> {
    let wanted = || "ranges such as 10250,20000-29999 are allowed".to_owned();
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (begin, end) = part.split_once('-').unwrap_or((part, part));
        let (begin, end): (u16, u16) =
            (begin.trim().parse().map_err(|_| wanted())?, end.trim().parse().map_err(|_| wanted())?);
        if begin == 0 || begin > end {
            return Err(wanted());
        }
        ranges.push((u64::from(begin), u64::from(end)));
    }
    Ok(ranges.into_iter().collect())
}

/// `name=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is allowed".to_owned()),
    }
}

fn thousandths(text: &str) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let decimals: i64 = format!("{decimals:0<3}").parse().ok()?;
    i64::from(whole).checked_mul(1000)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        assert_eq!([cpus("4"), cpus("2.5"), cpus("0.001")], [Ok(Milli(4000)), Ok(Milli(2500)), Ok(Milli(1))]);
        assert_eq!(
            [mebibytes("6GiB"), mebibytes("512MiB"), mebibytes("1.5t")].map(|m| m.map(|m| m.0)),
            [Ok(6_144_000), Ok(512_000), Ok(1_572_864_000)]
        );
        assert_eq!([seconds("90s"), seconds("10m"), seconds("2h"), seconds("7")], [Ok(90), Ok(600), Ok(7200), Ok(7)]);
        assert_eq!(ports("10250,20000-20001").map(|p| p.to_string()), Ok("10250,20000-20001".to_owned()));
        let day = |day: &str| instant(day).map(|at| humantime::format_rfc3339_seconds(at).to_string());
        assert_eq!(day("2027-01-31 22:00:00"), Ok("2027-01-31T22:00:00Z".to_owned()));
        assert!(instant("+2h").is_ok_and(|at| at > SystemTime::now() + Duration::from_secs(7000)));
        assert_eq!(rate("5/10m"), Ok((5, 600)));
        for wrong in ["", "5", "0/1m", "5/0", "/1m"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "+", "+x", "tomorrow", "2027-13-01T00:00:00Z"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
        assert_eq!(scalar("cpus=2.5"), Ok(("cpus".to_owned(), Milli(2500))));
        assert_eq!(scalar("mem=2GiB"), Ok(("mem".to_owned(), Milli::units(2048))));
        assert_eq!(scalars("cpus=1,mem=0").map(|q| q.to_string()), Ok("cpus 1".to_owned()));
        for wrong in ["", "cpus", "cpus=", "cpus=-1", "mem=6", "=4"] {
            assert!(scalar(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "-1", "1.2345", "x"] {
            assert!(cpus(wrong).is_err(), "{wrong}");
        }
        for wrong in ["6", "6KiB", "GiB", ""] {
            assert!(mebibytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "5-4", "70000", "a"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
