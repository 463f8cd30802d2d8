//! What the operator sells: the same for every seed, kept as CSV in `data/` and read once. Validity is counted in months from the first of the window.
//!
//! Start at [`Catalogue`]. Everything names its parts by index, so that a life holds no texts.

mod channels;
mod packages;
mod products;
mod table;
mod tariffs;

pub(crate) use channels::{Channel, Operation, Provider};
pub(crate) use packages::{Component, Measure, Package, Relation};
pub(crate) use products::{Needs, Product, Source};
pub(crate) use tariffs::Tariff;

#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) products: Vec<Product>,
    pub(crate) packages: Vec<Package>,
    pub(crate) relations: Vec<Relation>,
    pub(crate) tariffs: Vec<Tariff>,
    pub(crate) channels: Vec<Channel>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) providers: Vec<Provider>,
}

impl Catalogue {
    pub(crate) fn read() -> Catalogue {
        let products = products::read(include_str!("../data/products.csv"));
        let packages = packages::read(include_str!("../data/packages.csv"), include_str!("../data/components.csv"), &products);
        let relations = packages::read_relations(include_str!("../data/relations.csv"), &packages);
        Catalogue {
            products,
            packages,
            relations,
            tariffs: tariffs::read(include_str!("../data/tariffs.csv")),
            channels: channels::read_channels(include_str!("../data/channels.csv")),
            operations: channels::read_operations(include_str!("../data/operations.csv")),
            providers: channels::read_providers(include_str!("../data/providers.csv")),
        }
    }

    /// The place of a product in [`Catalogue::products`].
    pub(crate) fn product(&self, id: &str) -> usize {
        place(&self.products, |product| product.id == id)
    }

    pub(crate) fn package(&self, id: &str) -> usize {
        place(&self.packages, |package| package.id == id)
    }

    pub(crate) fn channel(&self, id: &str) -> usize {
        place(&self.channels, |channel| channel.id == id)
    }

    pub(crate) fn operation(&self, id: &str) -> usize {
        place(&self.operations, |operation| operation.id == id)
    }

    /// The terms of a tariff in a month.
    pub(crate) fn tariff(&self, id: &str, month: i32) -> Option<&Tariff> {
        self.tariffs.iter().find(|terms| terms.id == id && terms.from <= month && terms.to.is_none_or(|to| month < to))
    }

    /// The rule by which two packages may not be held together, either way round.
    pub(crate) fn exclusive(&self, one: usize, other: usize) -> Option<&Relation> {
        self.relations
            .iter()
            .find(|relation| relation.exclusive && ((relation.package, relation.other) == (one, other) || (relation.package, relation.other) == (other, one)))
    }
}

/// Invariant: our own code asks only for ids that `data/` has; a test asks for each of them.
fn place<T>(rows: &[T], is_it: impl Fn(&T) -> bool) -> usize {
    let found = rows.iter().position(is_it);
    debug_assert!(found.is_some(), "an id that the catalogue lacks");
    found.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        let catalogue = Catalogue::read();
        let lines = |text: &str| text.lines().count() - 1;
        assert_eq!(catalogue.products.len(), lines(include_str!("../data/products.csv")));
        assert_eq!(catalogue.packages.len(), lines(include_str!("../data/packages.csv")));
        let components: usize = catalogue.packages.iter().map(|package| package.components.len()).sum();
        assert_eq!(components, lines(include_str!("../data/components.csv")));
        assert_eq!(catalogue.relations.len(), lines(include_str!("../data/relations.csv")));
        assert_eq!(catalogue.tariffs.len(), lines(include_str!("../data/tariffs.csv")));
        assert_eq!(catalogue.channels.len(), lines(include_str!("../data/channels.csv")));
        assert_eq!(catalogue.operations.len(), lines(include_str!("../data/operations.csv")));
        assert_eq!(catalogue.providers.len(), lines(include_str!("../data/providers.csv")));
    }

    #[test]
    fn use_is_counted_in_what_the_components_measure() {
        let catalogue = Catalogue::read();
        for component in catalogue.packages.iter().flat_map(|package| &package.components) {
            let product = &catalogue.products[component.product];
            let mean = match component.measure {
                Measure::Events => product.typical.events,
                Measure::Quantity => product.typical.quantity,
                Measure::Seconds => product.typical.seconds,
                Measure::Kb => product.typical.kb,
            };
            assert!(mean > 0.0, "{} of {}", component.id, product.id);
        }
    }
}
