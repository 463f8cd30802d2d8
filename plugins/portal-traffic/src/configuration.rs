use serde::Deserialize;

/// What a deployment may set; `configuration.schema.json` says what each is for and bounds it.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Configuration {
    pub(crate) channel_id: String,
    pub(crate) own_hosts: Vec<String>,
    pub(crate) robot_patterns: Vec<String>,
    pub(crate) people_patterns: Vec<String>,
    pub(crate) robot_families_max: usize,
}

impl Default for Configuration {
    fn default() -> Configuration {
        Configuration { channel_id: String::new(), own_hosts: Vec::new(), robot_patterns: Vec::new(), people_patterns: Vec::new(), robot_families_max: 20 }
    }
}
