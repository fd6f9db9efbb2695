//! Pages of the list, and what they may cost.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{DETAILED, Item, PLAIN, Store, asked_for, failure, items_in};
use crate::error::Error;

/// How many Queries a page of the list takes at most, so that one request takes at most half of the
/// 3,000 read units that a partition gives each second: DynamoDB reads 1 MB per Query, which is 256
/// units.
const MAX_QUERIES: usize = 6;

/// How many Queries a page of the list may still take.
#[derive(Debug)]
pub struct QueryBudget {
    left: usize,
}

impl Default for QueryBudget {
    fn default() -> Self {
        Self { left: MAX_QUERIES }
    }
}

impl QueryBudget {
    /// Whether keys may be read: with `details`, a Query of usage must follow.
    pub fn allows_keys(&self, details: bool) -> bool {
        self.left > usize::from(details)
    }

    pub(super) fn allows_usage(&self) -> bool {
        self.left > 0
    }

    pub(super) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

/// Keys that were read together.
#[derive(Debug)]
pub struct Page {
    /// The items, oldest first.
    pub items: Vec<Item>,
    /// When the keys were last used, by ULID. `None` without details.
    pub last_used: Option<HashMap<String, String>>,
    /// The sort key after which the next page begins. `None` on the last page.
    pub next: Option<String>,
}

impl Store {
    /// At most `limit` keys, oldest first, after the ULID `after`; with `details`, also when they
    /// were last used. One strongly consistent Query of keys; with `details`, at least one of
    /// usage, and more while `queries` allows. If it doesn't, the page ends at the last key whose
    /// usage was read.
    pub async fn page(
        &self,
        after: Option<&str>,
        limit: Option<i32>,
        details: bool,
        queries: &mut QueryBudget,
    ) -> Result<Page, Error> {
        let mut page = self.keys_after(after, limit, details).await?;
        queries.spend();
        if !details {
            return Ok(page);
        }
        let (Some(first), Some(last)) = (page.items.first(), page.items.last()) else {
            return Ok(page);
        };
        let usage = self.last_used_between(&first.id, &last.id, queries).await?;
        if let Some(end) = usage.read_until.filter(|end| *end < last.id) {
            page.items.retain(|item| item.id <= end);
            page.next = page.items.last().map(|item| item.id.clone());
        }
        page.last_used = Some(usage.last_used);
        Ok(page)
    }

    async fn keys_after(
        &self,
        after: Option<&str>,
        limit: Option<i32>,
        details: bool,
    ) -> Result<Page, Error> {
        let condition = if after.is_some() {
            "service = :service AND id > :after"
        } else {
            "service = :service"
        };
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .set_limit(limit);
        request = request
            .key_condition_expression(condition)
            .projection_expression(if details { DETAILED } else { PLAIN });
        request = request
            .expression_attribute_values(":service", AttributeValue::S(self.service.clone()));
        if let Some(after) = after {
            request =
                request.expression_attribute_values(":after", AttributeValue::S(after.to_owned()));
        }
        let output = request.send().await.map_err(|error| failure(&error))?;
        let asked = |item| {
            let is_after = |id: &str| after.is_none_or(|after| id > after);
            asked_for(item, &self.service, after.unwrap_or("all"), is_after).map(Item::from)
        };
        let items = items_in(output.items, &self.service)?
            .into_iter()
            .map(asked)
            .collect::<Result<_, _>>()?;
        let next = output
            .last_evaluated_key
            .map(asked)
            .transpose()?
            .map(|item| item.id);
        Ok(Page {
            items,
            last_used: None,
            next,
        })
    }
}
