//! The parts in which the points of a series are held, brought together in order of time.

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::codec;
use super::heads::{Head, Segment};
use super::packs::{self, Place};
use super::shared::Shared;
use super::summary;
use crate::StoreError;
use crate::aggregate::Summary;
use crate::points::Points;

/// Points of one series that are held together.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Segment(Arc<Segment>),
    /// The part of a head that still grows.
    Open(Arc<Points>, (i64, i64)),
    Chunk(ChunkRow),
}

/// A row of the table `chunk`.
#[derive(Debug, Clone)]
pub(super) struct ChunkRow {
    pub(super) t0: i64,
    pub(super) t1: i64,
    pub(super) count: u64,
    pub(super) place: Place,
    pub(super) summary: Vec<u8>,
}

impl Piece {
    pub(super) fn span(&self) -> (i64, i64) {
        match self {
            Self::Segment(segment) => segment.span,
            Self::Open(_, span) => *span,
            Self::Chunk(chunk) => (chunk.t0, chunk.t1),
        }
    }

    /// What the points come to, if that is known without looking at them.
    pub(super) fn summary(&self) -> Option<Summary> {
        match self {
            Self::Segment(segment) => segment.summary.clone(),
            Self::Open(..) => None,
            Self::Chunk(chunk) => summary::decode(&chunk.summary, chunk.count),
        }
    }

    /// The points; none, and it is told, if they are damaged.
    pub(super) fn points(&self, connection: &Connection, shared: &Shared) -> Result<Arc<Points>, StoreError> {
        match self {
            Self::Segment(segment) => Ok(Arc::new(segment.points.clone())),
            Self::Open(points, _) => Ok(Arc::clone(points)),
            Self::Chunk(chunk) => {
                let bytes = packs::read(connection, chunk.place)?;
                let count = usize::try_from(chunk.count).unwrap_or(usize::MAX);
                let points = codec::decode(&bytes, count, chunk.t0).unwrap_or_else(|| {
                    tracing::error!(pack = chunk.place.pack, points = chunk.count, "a chunk is damaged");
                    shared.stats().damaged += 1;
                    Points::default()
                });
                Ok(Arc::new(points))
            }
        }
    }
}

/// The pieces of heads that overlap `[from, to)`.
pub(super) fn of_head(head: &Head, from: i64, to: i64, pieces: &mut Vec<Piece>) {
    for segment in &head.sealed {
        if segment.span.0 < to && from <= segment.span.1 {
            pieces.push(Piece::Segment(Arc::clone(segment)));
        }
    }
    if let Some(span) = head.open.span().filter(|span| span.0 < to && from <= span.1) {
        pieces.push(Piece::Open(Arc::clone(&head.open), span));
    }
}

/// Looks at a cluster and says whether to go on.
type Visit<'a> = dyn FnMut(&[Piece]) -> Result<ControlFlow<()>, StoreError> + 'a;

/// Visits all pieces of a series that overlap `[from, to)`, those of heads and those on disk, in
/// clusters: ascending in time, and no piece of one overlaps one of another.
///
/// `heads` have to be read before the transaction began in which `connection` is: what is flushed in
/// between is then seen twice, and not missed.
pub(super) fn clusters(
    connection: &Connection,
    series: u32,
    (from, to): (i64, i64),
    mut heads: Vec<Piece>,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    heads.sort_by_key(|piece| piece.span().0);
    let mut heads = heads.into_iter().peekable();
    let mut cluster = Cluster { pieces: Vec::new(), end: i64::MIN, visit };
    let mut statement = connection.prepare_cached(
        "SELECT t0, t1, n, pack, start, size, summary FROM chunk WHERE series = ?1 AND t0 < ?3
         AND t0 >= coalesce((SELECT max(t0) FROM chunk WHERE series = ?1 AND t0 <= ?2), ?2) ORDER BY t0",
    )?;
    let mut rows = statement.query(params![series, from, to])?;
    while let Some(row) = rows.next()? {
        let chunk = chunk_row(row)?;
        if chunk.t1 < from {
            continue;
        }
        while let Some(piece) = heads.next_if(|piece| piece.span().0 <= chunk.t0) {
            if cluster.add(piece)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if cluster.add(Piece::Chunk(chunk))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    for piece in heads {
        if cluster.add(piece)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    cluster.finish()
}

/// The last chunk of a series.
pub(super) fn last_chunk(connection: &Connection, series: u32) -> Result<Option<ChunkRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT t0, t1, n, pack, start, size, summary FROM chunk WHERE series = ? ORDER BY t0 DESC LIMIT 1",
    )?;
    let mut rows = statement.query([series])?;
    Ok(rows.next()?.map(chunk_row).transpose()?)
}

fn chunk_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<ChunkRow> {
    Ok(ChunkRow {
        t0: row.get(0)?,
        t1: row.get(1)?,
        count: row.get::<_, i64>(2)?.cast_unsigned(),
        place: Place::of(row, 3)?,
        summary: row.get(6)?,
    })
}

struct Cluster<'a, 'b> {
    pieces: Vec<Piece>,
    end: i64,
    visit: &'a mut Visit<'b>,
}

impl Cluster<'_, '_> {
    fn add(&mut self, piece: Piece) -> Result<ControlFlow<()>, StoreError> {
        let (start, end) = piece.span();
        if !self.pieces.is_empty() && start > self.end && self.finish()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.end = if self.pieces.is_empty() { end } else { self.end.max(end) };
        self.pieces.push(piece);
        Ok(ControlFlow::Continue(()))
    }

    fn finish(&mut self) -> Result<ControlFlow<()>, StoreError> {
        if self.pieces.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        let flow = (self.visit)(&self.pieces)?;
        self.pieces.clear();
        Ok(flow)
    }
}

/// All points of a cluster, tidy.
pub(super) fn merge(
    pieces: &[Piece],
    connection: &Connection,
    shared: &Shared,
) -> Result<Arc<Points>, StoreError> {
    if let [piece] = pieces {
        let points = piece.points(connection, shared)?;
        if points.is_tidy() {
            return Ok(points);
        }
    }
    // Chunks last: where a head and a chunk have one order number, the chunk has the flushed head.
    let (chunks, heads): (Vec<_>, Vec<_>) = pieces.iter().partition(|piece| matches!(piece, Piece::Chunk(_)));
    let mut all = Points::default();
    for piece in heads.into_iter().chain(chunks) {
        all.append(&*piece.points(connection, shared)?);
    }
    all.make_tidy();
    Ok(Arc::new(all))
}
