/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is in it.
    pub items: Vec<T>,
    /// The key after which the next part begins; none where this was the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of `all`, which come after the key that was asked for. `key` says where one stands.
    pub(crate) fn of(all: impl Iterator<Item = T>, limit: usize, key: impl Fn(&T) -> String) -> Self {
        let mut items: Vec<T> = all.take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(key);
        Self { items, next }
    }
}
