//! What is signed of an object whose hash is known.
//!
//! Invariants: the server compares what it gets with the hash that is signed, as it does with one
//! that the SDK makes: a name that lies is refused.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
};
use windlass_format::id::to_hex;

/// Signs this hash of the content rather than making it again; without one it is made.
#[derive(Debug)]
pub(super) struct Known(pub(super) Option<[u8; 32]>);

impl Intercept for Known {
    fn name(&self) -> &'static str {
        "Known"
    }

    fn modify_before_signing(
        &self,
        _request: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(sum) = &self.0 {
            let sum = PayloadSigningOverride::Precomputed(to_hex(sum));
            settings.interceptor_state().store_put(sum);
        }
        Ok(())
    }
}
