use crate::Encoding::{Gb18030, Utf8};

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
    /// What can go wrong with its rows; none for files that are kept by hand.
    pub flaw: Flaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Gb18030,
}

/// How a corrupt row of a feed is made, and which field carries a service number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// A field that must be a number, time or code holds a word; every other time the last field is missing.
    Separated {
        separator: char,
        broken_field: usize,
        number_field: Option<usize>,
    },
    /// The line ends in the middle.
    Json {
        number_field: &'static str,
    },
}

const fn boss(name: &'static str, broken_field: usize) -> Feed {
    let flaw = Flaw::Separated { separator: '|', broken_field, number_field: None };
    Feed { name, extension: "txt.gz", encoding: Gb18030, gzip: true, control_file: true, header: None, flaw }
}

const fn boss_reference(name: &'static str) -> Feed {
    Feed { name, extension: "txt.gz", encoding: Gb18030, gzip: true, control_file: true, header: None, flaw: Flaw::None }
}

const fn misc(name: &'static str, broken_field: usize, number_field: usize) -> Feed {
    let flaw = Flaw::Separated { separator: '\u{1}', broken_field, number_field: Some(number_field) };
    Feed { name, extension: "txt.gz", encoding: Utf8, gzip: true, control_file: true, header: None, flaw }
}

const fn csv(name: &'static str, broken_field: usize, number_field: usize, header: &'static str) -> Feed {
    let flaw = Flaw::Separated { separator: ',', broken_field, number_field: Some(number_field) };
    Feed { name, extension: "csv", encoding: Gb18030, gzip: false, control_file: true, header: Some(header), flaw }
}

const fn base(name: &'static str) -> Feed {
    let flaw = Flaw::Json { number_field: "msisdn" };
    Feed { name, extension: "jsonl.gz", encoding: Utf8, gzip: true, control_file: true, header: None, flaw }
}

const fn reference(name: &'static str, header: &'static str) -> Feed {
    Feed { name, extension: "csv", encoding: Utf8, gzip: false, control_file: false, header: Some(header), flaw: Flaw::None }
}

pub const BOSS_SUBSCRIBER: Feed = boss("boss.subscriber", 5);
pub const BOSS_NUMBER: Feed = boss("boss.number", 2);
pub const BOSS_ENROLMENT: Feed = boss("boss.enrolment", 7);
pub const BOSS_ORDER: Feed = boss("boss.order", 2);
pub const BOSS_CHARGE: Feed = boss("boss.charge", 9);
pub const BOSS_PACKAGE: Feed = boss_reference("boss.package");
pub const BOSS_COMPONENT: Feed = boss_reference("boss.component");
pub const BOSS_RELATION: Feed = boss_reference("boss.relation");
pub const BOSS_TARIFF: Feed = boss_reference("boss.tariff");
pub const BOSS_PRODUCT: Feed = boss_reference("boss.product");
pub const MISC_SUBSCRIPTION: Feed = misc("misc.subscription", 6, 2);
pub const MISC_USAGE: Feed = misc("misc.usage", 5, 0);
pub const RINGBACK_ORDER: Feed = csv("ringback.order", 2, 1, "order_no,msisdn,oper_time,oper_type,prod_code,access_type,cancel_order_no,result,err_code");
pub const RINGBACK_SETTING: Feed = csv("ringback.setting", 2, 1, "setting_no,msisdn,set_time,tone_code,set_scope,set_type");
pub const BASE_ACTIVITY: Feed = base("base.activity");
pub const BASE_DELIVERY: Feed = base("base.delivery");
pub const SERVICE_TICKET: Feed = csv(
    "service.ticket",
    2,
    1,
    "ticket_no,caller_no,accept_time,ticket_type,accept_channel,about_channel,prod_id,pkg_id,class_code,class_version,content,staff_id,close_time,close_type,satisfied",
);
pub const PORTAL_ACCESS: Feed =
    Feed { name: "portal.access", extension: "log", encoding: Utf8, gzip: false, control_file: false, header: None, flaw: Flaw::None };
pub const PORTAL_CLICK: Feed =
    Feed { name: "portal.click", extension: "jsonl", encoding: Utf8, gzip: false, control_file: false, header: None, flaw: Flaw::None };
pub const REF_CITY: Feed = reference("ref.city", "city,province,name_zh,name_en,latitude,longitude");
pub const REF_CHANNEL: Feed = reference("ref.channel", "channel_id,name_zh,family,kind,cost_fen_per_operation");
pub const REF_OPERATION: Feed = reference("ref.operation", "operation_id,name_zh,kind,standardised,risk");
pub const REF_CHANNEL_OFFER: Feed = reference("ref.channel_offer", "channel_id,operation_id,available");
pub const REF_SERVICE_PROVIDER: Feed = reference("ref.service_provider", "sp_id,name_zh,grade");
pub const REF_AGENT: Feed = reference("ref.agent", "city,agent_id,name,channel_id,stars");
pub const REF_STORE: Feed = reference("ref.store", "city,store_id,name,channel_id,stars");
pub const REF_HALL: Feed = reference("ref.hall", "city,hall_id,name,channel_id,stars");
pub const REF_TAXONOMY: Feed = reference("ref.taxonomy", "code,version,parent,level,name_zh,name_en,owner");
pub const REF_DEVICE: Feed = reference("ref.device", "model,brand,os,screen_width,screen_height,mms,wap,java,streaming");
pub const REF_FLOW: Feed = reference("ref.flow", "flow_id,version,step,operation_id,name_zh,page,decides,owner");
pub const REF_CAMPAIGN: Feed = reference("ref.campaign", "campaign_id,name_zh,stage,starts_on,ends_on,goal_metric,budget_fen");
