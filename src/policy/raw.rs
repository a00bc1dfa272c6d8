//! The policy tables of a file as written, and files put together.
//!
//! Every value is of the right type and form here; names are not resolved yet.

use super::authn::RawAuthn;
use super::decode::table;
use super::disclosure::{RawContact, RawDisclosure};
use super::ip::RawIp;
use super::lint::RawLint;
use super::network::RawNetwork;
use super::rbac::RawRbac;
use super::route::RawRoute;
use super::waf::RawWaf;

table! {
    /// The policy tables; they may stand in the main file or in included ones.
    pub struct RawPolicy as "a policy file" {
        /// Addresses by name.
        map network: RawNetwork,
        /// Which addresses are welcome at all.
        opt ip: RawIp,
        /// Which upstream serves which requests.
        list route: RawRoute,
        /// Who is believed.
        opt authn: RawAuthn,
        /// Who may do what.
        opt rbac: RawRbac,
        /// Rules on the text of requests.
        opt waf: RawWaf,
        /// How much a refusal tells whom.
        list disclosure: RawDisclosure,
        /// Whom a refused caller can ask.
        opt contact: RawContact,
        /// What `check` looks for, and what it finds and is to leave alone.
        opt lint: RawLint,
    }
}
