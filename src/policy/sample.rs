//! One request as a value, and how it is judged: what `explain`, `test` and the benches call.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};
use jiff::Timestamp;

use super::route::AuthnWord;
use super::{Admitted, BodyPlan, Policy, Progress, World};
use crate::decision::{Builtin, Decision, Outcome, RuleRef, Stage, Trace, Verdict};
use crate::facts::{Body, Certificate, Holder, Identity, RouteId, Scheme, upgrade_wanted};

/// A request that never was on a socket.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it is judged.
    pub now: Timestamp,
    /// The scheme of the connection it would have come over.
    pub scheme: Scheme,
    /// The method.
    pub method: Method,
    /// The request target, without a fragment.
    pub uri: Uri,
    /// Whether a fragment was sent with the target. [`Uri`] has no place for one.
    pub fragment: bool,
    /// The protocol version.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The certificate that the client showed in TLS, as verified.
    pub certificate: Option<Arc<Certificate>>,
    /// Who asks.
    pub caller: Caller,
}

/// Who asks, in a sample.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Whoever the header fields show.
    FromHeaders,
    /// This holder, as if its credential had been verified. Credentials in the fields are not read.
    Assumed(Arc<Holder>),
}

impl Policy {
    /// What a sample says about itself.
    pub fn admit_sample(&self, sample: &Sample) -> Admitted {
        let Sample { scheme, method, uri, fragment, version, headers, peer, .. } = sample;
        let mut admitted = self.admit(method, *scheme, uri, *version, headers, *peer);
        if *fragment {
            admitted.target.refuse(Builtin::Fragment, uri);
        }
        admitted
    }

    /// Who asks in a sample. Where a route reads no credentials, an assumed one is not read either.
    pub fn identify_sample(&self, route: Option<RouteId>, sample: &Sample, world: &World) -> Identity {
        match &sample.caller {
            Caller::Assumed(_) if self.route_authn(route) == AuthnWord::Off => Identity::Nobody,
            Caller::Assumed(holder) => Identity::Valid(Arc::new(self.roles.who(holder.clone()))),
            Caller::FromHeaders => {
                let shown = self.identify(route, &sample.headers, world, sample.now);
                match &sample.certificate {
                    Some(certificate)
                        if shown == Identity::Nobody && self.route_authn(route) != AuthnWord::Off =>
                    {
                        self.certified(certificate, world)
                    }
                    _ => shown,
                }
            }
        }
    }

    /// Asks all gates about a sample, in the order of the server.
    pub fn decide(&self, sample: &Sample, world: &World, mut trace: Option<&mut Trace>) -> Decision {
        let Sample { now, headers, body, .. } = sample;
        let mut admitted = self.admit_sample(sample);
        world.note_ban(&mut admitted.client);
        let mut progress = Progress::default();
        let (mut identity, mut read) = (Identity::Nobody, Body::Absent);
        let mut rule: RuleRef = Builtin::DefaultDeny.into();
        let upgrade = admitted.route.is_some_and(|id| self.routes.get(id).websocket)
            && upgrade_wanted(&sample.method, sample.version, headers);
        for stage in Stage::ALL {
            match stage {
                Stage::Authn => {
                    identity = self.identify_sample(admitted.route, sample, world);
                }
                Stage::WafBody if !body.is_empty() => {
                    let facts = self.facts(&admitted, headers, &identity, &read, *now);
                    read = match self.body_plan(&facts, upgrade) {
                        BodyPlan::Read(limit) if body.len() as u64 > limit => Body::TooLarge,
                        BodyPlan::Read(_) => Body::Whole(body.clone()),
                        BodyPlan::Pass(why) => {
                            progress.notes.waf.body = why;
                            Body::Unread
                        }
                    };
                    let limit = self.route(admitted.route).and_then(|route| route.body_limit);
                    if limit.is_some_and(|limit| body.len() as u64 > limit) {
                        read = Body::TooLarge;
                    }
                }
                _ => {}
            }
            let facts = self.facts(&admitted, headers, &identity, &read, *now);
            match self.check(stage, &facts, &mut progress, trace.as_deref_mut()) {
                Verdict::Deny(denial) => {
                    return Decision {
                        outcome: Outcome::Deny(denial),
                        notes: progress.notes,
                        policy: self.version,
                    };
                }
                Verdict::Answer(answer) => {
                    rule = answer.into();
                    break;
                }
                Verdict::Pass(passed) if stage == Stage::Rbac => rule = passed,
                Verdict::Pass(_) => {}
            }
        }
        Decision { outcome: Outcome::Allow(rule), notes: progress.notes, policy: self.version }
    }
}
