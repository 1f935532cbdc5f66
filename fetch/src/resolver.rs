//! Resolves names, and gives addresses only where all of them may be connected to.

use crate::address::AddressRules;
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The connection goes to the addresses that this gives; nobody resolves the name a second time.
#[derive(Debug)]
pub(crate) struct CheckedResolver<R> {
    pub inner: R,
    pub rules: AddressRules,
}

impl<R: Resolver> Resolver for CheckedResolver<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let addresses = self.inner.resolve(uri, config, timeout)?;
        for address in &*addresses {
            self.rules.check(address.ip()).map_err(|denied| Error::Other(Box::new(denied)))?;
        }
        Ok(addresses)
    }
}
