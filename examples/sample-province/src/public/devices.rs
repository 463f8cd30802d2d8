use std::sync::LazyLock;

/// A handset model and what it can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub model: &'static str,
    pub brand: &'static str,
    /// `Android`, `iOS`, or `proprietary` for the feature phones, which are invented.
    pub os: &'static str,
    /// Pixels.
    pub screen_width: u32,
    pub screen_height: u32,
    /// False for one model alone.
    pub mms: bool,
    pub wap: bool,
    pub java: bool,
    pub streaming: bool,
    /// How many customers hold it, relative to the others.
    pub weight: u32,
}

/// The models, smartphones first.
pub fn devices() -> &'static [Device] {
    static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(|| include_str!("../../data/devices.csv").lines().skip(1).filter_map(device).collect());
    &DEVICES
}

fn device(line: &'static str) -> Option<Device> {
    let mut fields = line.split(',');
    Some(Device {
        model: fields.next()?,
        brand: fields.next()?,
        os: fields.next()?,
        screen_width: fields.next()?.parse().ok()?,
        screen_height: fields.next()?.parse().ok()?,
        mms: fields.next()? == "1",
        wap: fields.next()? == "1",
        java: fields.next()? == "1",
        streaming: fields.next()? == "1",
        weight: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_model_alone_cannot_receive_mms() {
        assert_eq!(devices().len(), 74);
        let without_mms = devices().iter().filter(|device| !device.mms).map(|device| device.model).collect::<Vec<_>>();
        assert_eq!(without_mms, ["Yunque Q3"]);
    }
}
