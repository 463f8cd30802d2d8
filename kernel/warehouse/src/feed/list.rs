use backplane_proto::ingest::v1::{Feed, ListFeedsRequest, ListFeedsResponse};
use kernel_base::Page;

use crate::{contracts::Contracts, error::WarehouseError};

/// Pages through the feeds, by name.
pub(crate) async fn list(contracts: &Contracts, request: ListFeedsRequest) -> Result<ListFeedsResponse, WarehouseError> {
    let page = Page::read(request.page_size, &request.page_token)?;
    let in_force = contracts.feeds();
    let rows = contracts.feed_rows().await?.into_iter().filter(|row| page.after.as_ref().is_none_or(|after| row.name > *after));
    let mut feeds = Vec::new();
    for row in rows.take(page.size + 1) {
        let contract = in_force.get(&row.name)?;
        feeds.push(Feed {
            name: row.name,
            platform: contract.platform.clone(),
            dataset: contract.dataset.name.clone(),
            file_name: contract.file_name.clone(),
            revision: row.revision,
            document: row.document,
        });
    }
    let next_page_token = page.finish(&mut feeds, |feed| feed.name.clone());
    Ok(ListFeedsResponse { feeds, next_page_token })
}
