use std::{fmt, str::FromStr};

use crate::{Code, Fault, Reason};

/// A city of the province, or the province itself, by its six-digit code of GB/T 2260. The tenancy key of every dataset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct City(u32);

/// Code and names of a city, for messages and for checking codes.
#[derive(Debug, Clone, Copy)]
pub struct CityInfo {
    pub code: u32,
    pub name_zh: &'static str,
    pub name_en: &'static str,
}

/// The province and its cities (GB/T 2260, Guangdong). The reference dataset `city` holds the rest that is known of them.
pub const CITIES: &[CityInfo] = &[
    info(440_000, "广东省", "Guangdong"),
    info(440_100, "广州市", "Guangzhou"),
    info(440_200, "韶关市", "Shaoguan"),
    info(440_300, "深圳市", "Shenzhen"),
    info(440_400, "珠海市", "Zhuhai"),
    info(440_500, "汕头市", "Shantou"),
    info(440_600, "佛山市", "Foshan"),
    info(440_700, "江门市", "Jiangmen"),
    info(440_800, "湛江市", "Zhanjiang"),
    info(440_900, "茂名市", "Maoming"),
    info(441_200, "肇庆市", "Zhaoqing"),
    info(441_300, "惠州市", "Huizhou"),
    info(441_400, "梅州市", "Meizhou"),
    info(441_500, "汕尾市", "Shanwei"),
    info(441_600, "河源市", "Heyuan"),
    info(441_700, "阳江市", "Yangjiang"),
    info(441_800, "清远市", "Qingyuan"),
    info(441_900, "东莞市", "Dongguan"),
    info(442_000, "中山市", "Zhongshan"),
    info(445_100, "潮州市", "Chaozhou"),
    info(445_200, "揭阳市", "Jieyang"),
    info(445_300, "云浮市", "Yunfu"),
];

const fn info(code: u32, name_zh: &'static str, name_en: &'static str) -> CityInfo {
    CityInfo { code, name_zh, name_en }
}

impl City {
    /// `440000`: province reference rows, which every city may read, and the deployment that serves cities without their own.
    pub const PROVINCE: City = City(440_000);

    /// The names of the city.
    pub fn info(self) -> &'static CityInfo {
        CITIES.iter().find(|city| city.code == self.0).unwrap_or(&CITIES[0])
    }

    /// Every city, without the province.
    pub fn all() -> impl Iterator<Item = City> {
        CITIES.iter().skip(1).map(|city| City(city.code))
    }
}

impl FromStr for City {
    type Err = CityUnknown;

    fn from_str(text: &str) -> Result<Self, CityUnknown> {
        let unknown = || CityUnknown { text: text.chars().take(40).collect() };
        if text.len() != 6 {
            return Err(unknown());
        }
        let code = text.parse().map_err(|_| unknown())?;
        let known = CITIES.iter().any(|city| city.code == code);
        if known { Ok(City(code)) } else { Err(unknown()) }
    }
}

impl fmt::Display for City {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl fmt::Debug for City {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no code of a city of the province.
#[derive(Debug, thiserror::Error)]
#[error("city '{text}' is unknown: give a six-digit code of GB/T 2260 such as 440600 (Foshan), or 440000 for the province")]
pub struct CityUnknown {
    text: String,
}

impl Fault for CityUnknown {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }
    fn reason(&self) -> Reason {
        Reason::CityUnknown
    }
    fn place(&self) -> Vec<(&'static str, String)> {
        vec![("city", self.text.clone())]
    }
}
