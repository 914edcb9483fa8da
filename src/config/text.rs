//! From text to a typed value and back: files, variables and flags all deliver text.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::choice::{Backend, Device, Dtype, LogFormat, Redaction, RendererChoice, Stats};
use super::secret::Secret;

/// A value that is written as text. `parse` answers with what it expected.
pub(super) trait Text: Sized {
    fn parse(text: &str) -> Result<Self, String>;
    fn show(&self) -> String;
}

impl Text for IpAddr {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "localhost" => Ok(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
            _ => text.parse().map_err(|_| "an IP address such as 0.0.0.0, 127.0.0.1 or ::".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for u16 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a whole number from 0 to 65535".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for usize {
    fn parse(text: &str) -> Result<Self, String> {
        text.replace('_', "").parse().map_err(|_| "a whole number, 0 or more".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for NonZeroUsize {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a whole number, 1 or more".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("true or false".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Text for HostPort {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| "HOST:PORT such as localhost:46435".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Text for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Text for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        let printable = |byte: u8| byte.is_ascii_graphic();
        if text.is_empty() || !text.bytes().all(printable) {
            return Err("a token of printable ASCII without blanks".to_owned());
        }
        Ok(Self::new(text.to_owned()))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// `off`, `none` and the empty text are nothing.
impl<T: Text> Text for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "off" | "none" => Ok(None),
            _ => match T::parse(text) {
                Ok(value) => Ok(Some(value)),
                Err(expected) => Err(format!("{expected}, or off")),
            },
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "off".to_owned(), Text::show)
    }
}

/// Separated by commas.
impl<T: Text> Text for Vec<T> {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "off" | "none" => Ok(Vec::new()),
            _ => text.split(',').map(|part| T::parse(part.trim())).collect(),
        }
    }

    fn show(&self) -> String {
        if self.is_empty() {
            return "off".to_owned();
        }
        self.iter().map(Text::show).collect::<Vec<_>>().join(",")
    }
}

/// A number with `us`, `ms`, `s`, `m` or `h`.
impl Text for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "a duration such as 250ms, 5s or 2m".to_owned();
        let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let number: f64 = number.trim().parse().map_err(|_| expected())?;
        let seconds = match unit {
            "us" => number / 1e6,
            "ms" => number / 1e3,
            "s" => number,
            "m" | "min" => number * 60.0,
            "h" => number * 3600.0,
            _ => return Err(expected()),
        };
        Self::try_from_secs_f64(seconds).map_err(|_| expected())
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// A count of bytes or pixels: `KiB`, `MiB`, `GiB`, or `k`, `M`, `G` for thousands.
impl Text for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "a whole number, or one with KiB, MiB, GiB, k, M or G".to_owned();
        let split = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let number: u64 = number.trim().replace('_', "").parse().map_err(|_| expected())?;
        let scale: u64 = match unit {
            "" | "B" => 1,
            "k" | "kB" => 1_000,
            "M" | "MB" => 1_000_000,
            "G" | "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(expected()),
        };
        number.checked_mul(scale).ok_or_else(expected)
    }

    fn show(&self) -> String {
        for (scale, unit) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if *self >= scale && self.is_multiple_of(scale) {
                return format!("{}{unit}", self / scale);
            }
        }
        self.to_string()
    }
}

impl Text for Device {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| "auto, cpu, cuda or cuda:N".to_owned()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Cpu => "cpu".to_owned(),
            Self::Cuda(ordinal) => format!("cuda:{ordinal}"),
        }
    }
}

impl Text for Stats {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("a path, `identity`, or `folder` for the model folder's own".to_owned()),
            "folder" => Ok(Self::Folder),
            "identity" => Ok(Self::Identity),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Folder => "folder".to_owned(),
            Self::Identity => "identity".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Gives a choice its words.
macro_rules! words {
    ($choice:ty, $($value:path => $word:literal),+ $(; $($alias:literal => $same:path),+)?) => {
        impl Text for $choice {
            fn parse(text: &str) -> Result<Self, String> {
                match text.to_ascii_lowercase().as_str() {
                    $($word => Ok($value),)+
                    $($($alias => Ok($same),)+)?
                    _ => Err(format!("one of {}", [$($word),+].join(", "))),
                }
            }

            fn show(&self) -> String {
                match self {
                    $($value => $word.to_owned(),)+
                }
            }
        }
    };
}

words!(
    Dtype,
    Dtype::Auto => "auto",
    Dtype::F32 => "f32",
    Dtype::Bf16 => "bf16",
    Dtype::F16 => "f16",
    Dtype::Int8 => "int8";
    "float32" => Dtype::F32,
    "bfloat16" => Dtype::Bf16,
    "float16" => Dtype::F16,
    "fp16" => Dtype::F16
);
words!(
    Backend,
    Backend::Auto => "auto",
    Backend::Cpu => "cpu",
    Backend::Candle => "candle",
    Backend::Zero => "zero"
);
words!(
    RendererChoice,
    RendererChoice::Embedded => "embedded",
    RendererChoice::External => "external",
    RendererChoice::Docker => "docker"
);
words!(LogFormat, LogFormat::Human => "human", LogFormat::Json => "json");
words!(Redaction, Redaction::Full => "full", Redaction::Hash => "hash", Redaction::None => "none");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them() {
        assert_eq!(Duration::parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(Duration::parse("1.5 s"), Ok(Duration::from_millis(1500)));
        assert!(Duration::parse("5").is_err(), "a bare number has no unit");
        assert!(Duration::parse("-1s").is_err());
        assert_eq!(u64::parse("32MiB"), Ok(32 << 20));
        assert_eq!(u64::parse("64_000_000"), Ok(64_000_000));
        assert!(u64::parse("99999999999GiB").is_err(), "does not fit");
        assert_eq!(Option::<usize>::parse("off"), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(bytes: u64, nanos in 0u64..10_000_000_000_000, ordinal in 0usize..64) {
            prop_assert_eq!(u64::parse(&bytes.show()), Ok(bytes));
            let duration = Duration::from_millis(nanos / 1_000_000);
            prop_assert_eq!(Duration::parse(&duration.show()), Ok(duration));
            prop_assert_eq!(Device::parse(&Device::Cuda(ordinal).show()), Ok(Device::Cuda(ordinal)));
        }
    }
}
