/// How a platform sends a feed. The contracts stand in `kernel/warehouse/feeds`; a file that does not fit them is a mistake here.
#[derive(Debug)]
pub struct Feed {
    pub name: &'static str,
    pub extension: &'static str,
    pub encoding: Encoding,
    pub gzip: bool,
    pub control_file: bool,
    /// The first line of CSV.
    pub header: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Gb18030,
}

pub const PORTAL_ACCESS: Feed =
    Feed { name: "portal.access", extension: "log", encoding: Encoding::Utf8, gzip: false, control_file: false, header: None };
pub const PORTAL_CLICK: Feed = Feed { name: "portal.click", extension: "json", encoding: Encoding::Utf8, gzip: true, control_file: true, header: None };
