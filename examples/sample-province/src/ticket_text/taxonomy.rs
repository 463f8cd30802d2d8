use std::sync::LazyLock;

/// A row of `ref.taxonomy`, version and owner left to the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaxonomyNode {
    pub code: &'static str,
    /// None for a business, which is the top.
    pub parent: Option<&'static str>,
    /// `business`, `stage` or `cause`.
    pub level: &'static str,
    pub name_zh: &'static str,
    pub name_en: &'static str,
}

/// Business, stage and cause of tickets, parents before children.
pub fn taxonomy() -> &'static [TaxonomyNode] {
    static TAXONOMY: LazyLock<Vec<TaxonomyNode>> = LazyLock::new(|| include_str!("../../data/taxonomy.csv").lines().skip(1).filter_map(node).collect());
    &TAXONOMY
}

fn node(line: &'static str) -> Option<TaxonomyNode> {
    let mut fields = line.split(',');
    Some(TaxonomyNode {
        code: fields.next()?,
        parent: Some(fields.next()?).filter(|parent| !parent.is_empty()),
        level: fields.next()?,
        name_zh: fields.next()?,
        name_en: fields.next()?,
    })
}
