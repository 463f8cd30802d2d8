use crate::{configuration::Configuration, proto::portal_traffic::v1::AudienceKind};

/// Tells people from robots by their user agents. The rule, with its order and its lists, stands at `GetAudience` in the proto.
pub(crate) struct Agents {
    people: Vec<String>,
    /// Configured patterns first, then the words that everyone shares.
    robots: Vec<String>,
}

/// A user agent's kind, and the family of a robot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: AudienceKind,
    pub(crate) family: Option<String>,
}

const ROBOT_WORDS: &[&str] = &[
    "bot",
    "crawl",
    "spider",
    "slurp",
    "feed",
    "rss",
    "fetch",
    "monitor",
    "archiver",
    "scrap",
    "phantom",
    "headless",
    "curl",
    "wget",
    "python",
    "libwww",
    "httpclient",
    "http-client",
    "okhttp",
    "go-http",
    "java/",
    "checker",
    "validator",
    "mediapartners",
    "externalhit",
    "embedly",
    "ezooms",
    "siteexplorer",
];

/// A robot names its keeper; a browser does not.
const KEEPER_MARKS: &[&str] = &["http://", "https://", "@"];

const BROWSER_WORDS: &[&str] = &["mozilla/", "opera/", "webkit/", "safari/", "midp", "wap", "ucweb", "ucbrowser", "micromessenger", "dalvik"];

/// A maker of phones whose name holds a robot word.
const PHONE_MAKER: &str = "cubot";

impl Agents {
    pub(crate) fn new(configuration: &Configuration) -> Agents {
        let lower = |patterns: &[String]| patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect::<Vec<_>>();
        let mut robots = lower(&configuration.robot_patterns);
        robots.extend(ROBOT_WORDS.iter().map(|word| (*word).to_owned()));
        Agents { people: lower(&configuration.people_patterns), robots }
    }

    pub(crate) fn judge(&self, agent: Option<&str>) -> Verdict {
        let agent = agent.unwrap_or_default().trim().to_ascii_lowercase();
        if agent.is_empty() || agent == "-" {
            return Verdict { kind: AudienceKind::Unknown, family: None };
        }
        if contains_any(&agent, &self.people) {
            return Verdict { kind: AudienceKind::People, family: None };
        }
        let named = agent.replace(PHONE_MAKER, "");
        let robot = contains_any(&named, &self.robots) || contains_any(&agent, KEEPER_MARKS) || !contains_any(&agent, BROWSER_WORDS);
        if robot { Verdict { kind: AudienceKind::Robots, family: Some(self.family(&named)) } } else { Verdict { kind: AudienceKind::People, family: None } }
    }

    fn family(&self, agent: &str) -> String {
        let mut words = agent.split(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c))).filter(|word| !word.is_empty());
        let telling = words.clone().find(|word| self.robots.iter().any(|robot| word.contains(robot.trim_end_matches('/'))));
        telling.or_else(|| words.next()).unwrap_or_default().to_owned()
    }
}

fn contains_any(agent: &str, words: &[impl AsRef<str>]) -> bool {
    words.iter().any(|word| agent.contains(word.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROME: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36";

    #[test]
    fn agents_of_the_real_log_are_told_apart() {
        let robots = [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "googlebot"),
            ("SAMSUNG-SGH-E250/1.0 Profile/MIDP-2.0 (GUI) MMP/2.0 (compatible; Googlebot-Mobile/2.1; +http://www.google.com/bot.html)", "googlebot-mobile"),
            ("UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/", "universalfeedparser"),
            ("Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)", "slurp"),
            ("Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)", "spider"),
            ("Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)", "ezooms"),
            ("Mozilla/5.0 (compatible; Linux x86_64; Mail.RU_Bot/2.0; +http://go.mail.ru/help/robots)", "mail.ru_bot"),
            ("Chef Client/10.18.2 (ruby-1.9.3-p327; ohai-6.16.0; x86_64-linux; +http://opscode.com)", "chef"),
            ("Feedbin - 1 subscribers", "feedbin"),
            ("fetch libfetch/2.0", "fetch"),
            ("Java/1.6.0_04", "java"),
            ("portscout/0.8.1", "portscout"),
            ("Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/534.34 (KHTML, like Gecko) PhantomJS/1.9.2 Safari/534.34", "phantomjs"),
            ("()!", ""),
        ];
        let agents = Agents::new(&Configuration::default());
        for (agent, family) in robots {
            assert_eq!(agents.judge(Some(agent)), Verdict { kind: AudienceKind::Robots, family: Some(family.to_owned()) }, "{agent}");
        }
        let people = [
            CHROME,
            "Opera/9.80 (MTK; Opera Mini/2.1199/34.1244; U; id) Presto/2.8.119 Version/11.10",
            "SAMSUNG-GT-E2232/1.0 Openwave/6.2.3 Profile/MIDP-2.0 Configuration/CLDC-1.1 UP.Browser/6.2.3.3.c.1.101 (GUI) MMP/2.0",
            "Safari/9537.73.11 CFNetwork/673.0.3 Darwin/13.0.0 (x86_64) (MacBookPro8%2C1)",
            "Mozilla/5.0 (Linux; Android 7.0; CUBOT_NOTE_S) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0 Mobile Safari/537.36",
            "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)",
        ];
        for agent in people {
            assert_eq!(agents.judge(Some(agent)).kind, AudienceKind::People, "{agent}");
        }
        for agent in [None, Some(""), Some("  "), Some("-")] {
            assert_eq!(agents.judge(agent).kind, AudienceKind::Unknown, "{agent:?}");
        }
    }

    #[test]
    fn configured_patterns_come_before_the_rule() {
        let configuration =
            Configuration { robot_patterns: vec!["Macintosh".to_owned()], people_patterns: vec!["FoshanApp".to_owned()], ..Configuration::default() };
        let agents = Agents::new(&configuration);
        assert_eq!(agents.judge(Some(CHROME)), Verdict { kind: AudienceKind::Robots, family: Some("macintosh".to_owned()) });
        assert_eq!(agents.judge(Some("foshanapp/2 okhttp/3")).kind, AudienceKind::People);
    }
}
