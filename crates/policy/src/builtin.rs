//! Documents that come with the server, as JSON text: for devices and gateways that nobody wrote a policy
//! for. They say what a certificate's owner may do by name alone.
//!
//! What they allow is what the server has always allowed by a certificate's name, but for *ordinary*
//! topics: those that begin neither with `$` nor with `telemetry/` or `fieldline/`. The policy language has
//! no "everything but", and a Deny on the rest would hit the device's own topics too. So there are two
//! ordinary places: `<thing>/…` for its own, and `site/…` for all. Who needs more writes a policy. Not
//! allowed either, for nobody listens there: `$aws/things/<thing>` itself and what is below
//! `$aws/rules/<rule>/<thing>`.
//!
//! A certificate without a thing has `site/…` only, and may not connect; by HTTP it can publish there.
//!
//! The names `telemetry`, `fieldline` and those that begin with `$` would turn `<thing>/…` into somebody
//! else's place. Things of the first two are denied everything; the engine keeps the third.
//!
//! What speaks for the server is not allowed by them: nothing on `fieldline/…` or to ask of commands, and
//! the answers of shadows and jobs are denied (`*/*ed` is accepted and rejected: one line fits AWS's quota
//! where two do not). The server itself refuses the first and the answers of shadows to everybody, whatever
//! policies say.

/// For a device with a certificate: its own telemetry, shadows, commands and topics.
pub const DEVICE: &str = include_str!("builtin/device.json");

/// For a gateway: what a device may, and the shadows and commands of any thing, for it speaks for the
/// devices behind it; the server itself keeps other gateways' from it. Attached beside [`DEVICE`], not instead of it: together they are too long for AWS's
/// quota.
pub const GATEWAY: &str = include_str!("builtin/gateway.json");
