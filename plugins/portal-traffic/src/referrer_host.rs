/// The site that a referrer names, or `None` when it names none. The rule stands at `ListReferrers` in the proto.
pub(crate) fn referrer_host(referrer: &str) -> Option<String> {
    let (scheme, rest) = referrer.trim().split_once("://")?;
    if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    if let Some(bracketed) = address.strip_prefix('[') {
        let (inner, _) = bracketed.split_once(']')?;
        return Some(format!("[{}]", inner.to_ascii_lowercase()));
    }
    let host = address.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let host = host.strip_prefix("www.").unwrap_or(host);
    let readable = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c) || !c.is_ascii());
    readable.then(|| host.to_owned())
}

/// Whether `host` is `own` or below it.
pub(crate) fn belongs_to(host: &str, own: &str) -> bool {
    host.strip_suffix(own).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_in_a_referrer() {
        let cases = [
            ("http://www.semicomplete.com/blog/?a=b", Some("semicomplete.com")),
            ("https://user:pw@Example.COM.:8443#x", Some("example.com")),
            ("http://t.co?x=http://other/", Some("t.co")),
            ("android-app://com.google.android.googlequicksearchbox", Some("com.google.android.googlequicksearchbox")),
            ("http://[2001:DB8::1]:80/", Some("[2001:db8::1]")),
            ("http://佛山.中国/首页", Some("佛山.中国")),
            ("  http://a.b/ ", Some("a.b")),
            ("semicomplete.com/blog", None),
            ("://x/", None),
            ("http:///path", None),
            ("http://a b/", None),
            ("http://[broken", None),
            ("\u{0}http://x", None),
            ("http://<script>/", None),
            ("", None),
        ];
        for (referrer, host) in cases {
            assert_eq!(referrer_host(referrer).as_deref(), host, "{referrer:?}");
        }
    }

    #[test]
    fn a_subdomain_belongs_to_its_domain_and_a_longer_name_does_not() {
        assert!(belongs_to("semicomplete.com", "semicomplete.com"));
        assert!(belongs_to("blog.semicomplete.com", "semicomplete.com"));
        assert!(!belongs_to("notsemicomplete.com", "semicomplete.com"));
        assert!(!belongs_to("semicomplete.com", "blog.semicomplete.com"));
    }
}
